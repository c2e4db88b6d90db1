//! Folders that empty themselves: what lies longer in one of a use (`\Trash`, `\Junk`) than its rule says is expunged.
//! It goes the way every expunge goes: sessions are told, and undelete brings it back for as long as it brings
//! anything back. Small orders, so that nobody waits for it.

use std::sync::Arc;

use rusqlite::params;

use super::account::AccountState;
use super::error::Result;
use crate::metrics::METRICS;
use crate::types::{MailboxId, UidRuns};

/// Messages one order takes at most.
const BATCH: usize = 500;

/// A rule: what came into a mailbox of this use so long ago goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmptyAfter {
    /// The special use with its backslash, such as `\Trash` (RFC 6154 §2).
    pub special_use: String,
    /// Seconds since a message came into the mailbox, which its SAVEDATE tells.
    pub secs: i64,
}

impl AccountState {
    /// Carries the rules out. Gives how many messages were expunged.
    pub async fn empty_old(self: &Arc<Self>) -> Result<u64> {
        let mut expunged = 0;
        for rule in &self.shared.options.empty_after {
            let until = self.shared.clock.now_secs().saturating_sub(rule.secs);
            let tree = self.tree();
            let mailboxes = tree.iter().filter(|mailbox| *mailbox.special_use == *rule.special_use);
            for mailbox in mailboxes.filter(|mailbox| mailbox.live.state().messages > 0) {
                expunged += self.empty_mailbox(mailbox.id, until).await?;
            }
        }
        METRICS.messages_expired.add(expunged);
        Ok(expunged)
    }

    async fn empty_mailbox(self: &Arc<Self>, mailbox: MailboxId, until: i64) -> Result<u64> {
        let mut expunged = 0;
        loop {
            // Looked for on a reader: nothing in the database finds them without reading the whole mailbox.
            let old = self.visit(move |conn, _| old_messages(conn, mailbox, until)).await?;
            let is_last = old.count() < BATCH as u64;
            let gone = self.order(move |turn| {
                // Expunged, moved or deleted with its mailbox meanwhile: then that is what happened to it.
                if turn.tree().with_id(mailbox).is_none() {
                    return Ok(0);
                }
                let there = turn.membership(mailbox)?.select(&old);
                if !there.is_empty() {
                    let modseq = turn.next_modseq();
                    turn.remove(mailbox, &there, modseq)?;
                }
                Ok(there.count())
            });
            let gone = gone.await?;
            expunged += gone;
            // Nothing went although something should: memory and disk disagree, which is for `check` to tell.
            if is_last || gone == 0 {
                return Ok(expunged);
            }
        }
    }
}

fn old_messages(conn: &rusqlite::Connection, mailbox: MailboxId, until: i64) -> Result<UidRuns> {
    let mut query =
        conn.prepare_cached("SELECT uid FROM message WHERE mbox = ? AND saved <= ? ORDER BY uid LIMIT ?")?;
    let uids = query.query_map(params![mailbox.0, until, BATCH as i64], |row| row.get::<_, u32>(0))?;
    Ok(uids.collect::<rusqlite::Result<UidRuns>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::mailstore::{MailStore, NewMessage, Options, RemovedFilter};
    use crate::types::{AccountId, FlagSet, MailboxName};

    const DAY: i64 = 86_400;

    #[tokio::test]
    async fn trash_is_emptied_by_the_day_things_came_there_and_can_be_brought_back() {
        let home = tempfile::tempdir().expect("a folder");
        let clock = Clock::fixed(1_800_000_000);
        let empty_after = vec![EmptyAfter { special_use: "\\Trash".into(), secs: 30 * DAY }];
        let options = Options { clock: clock.clone(), min_free_bytes: 0, empty_after, ..Options::default() };
        let store = MailStore::open(home.path(), options).expect("opens");
        let account = store.account(AccountId(1)).await.expect("opens");
        let (inbox, trash) = (MailboxName::inbox(), MailboxName::new("Trash").expect("a name"));
        for text in ["old", "older"] {
            let mut messages = Vec::new();
            for n in 0..700 {
                let mut draft = account.draft();
                draft.write(format!("Subject: {text} {n}\r\n\r\n").as_bytes()).await.expect("taken");
                let prepared = draft.finish().await.expect("taken");
                messages.push(NewMessage { prepared, flags: FlagSet::new(), internal_date: None });
            }
            account.place(&inbox, messages).await.expect("placed");
        }
        let view = account.open(&inbox, false).await.expect("opens");
        clock.advance(20 * DAY);
        view.move_to_mailbox(UidRuns::range(1, 1100), &trash).await.expect("moved");
        let mut watcher = account.open(&trash, false).await.expect("opens");
        clock.advance(15 * DAY);
        view.move_to_mailbox(UidRuns::range(1101, 1200), &trash).await.expect("moved");

        // 15 days in Trash, whatever the age of the message: nothing goes.
        assert_eq!(account.state.empty_old().await, Ok(0));
        clock.advance(15 * DAY);
        assert_eq!(account.state.empty_old().await, Ok(1100));
        assert_eq!(account.status(&trash).await.expect("told").messages, 100);
        assert_eq!(account.status(&inbox).await.expect("told").messages, 200);
        let changes = watcher.changes(&[]).await.expect("told");
        assert_eq!(changes.expunged.count(), 1100, "an open session is told");
        watcher.advance(&changes);
        assert_eq!(account.state.empty_old().await, Ok(0));

        let back = account.undelete(RemovedFilter::default(), None).await.expect("undeleted");
        assert_eq!(back.mailboxes.get("Trash"), Some(&1100));
        assert_eq!(account.state.empty_old().await, Ok(0), "what came back has its time again");
        assert_eq!(store.check(AccountId(1)).await.expect("checked").problems, Vec::<String>::new());
    }
}
