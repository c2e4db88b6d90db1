//! What happened since a modseq, for sessions that come back (RFC 7162 §3.2.5, §3.2.6).

use rusqlite::params;

use super::error::Result;
use super::snapshot::Row;
use super::view::View;
use crate::types::{ModSeq, UidRuns};

impl View {
    /// False when nothing in the span at `lo` changed after `since`; costs no visit.
    pub fn may_have_changed(&self, lo: u32, since: ModSeq) -> bool {
        let state = self.state();
        state.loaded.as_ref().and_then(|l| l.span(lo)).is_none_or(|span| span.max_modseq > since.0)
    }

    /// The rows of this view's messages that changed after `since`. Reads only the spans that did, and where they went
    /// those that are gone while nobody was told of it yet: they are counted, so they have to be known.
    pub async fn changed_since(&self, since: ModSeq) -> Result<Vec<Row>> {
        let state = self.state();
        let mut rows = Vec::new();
        let Some(loaded) = &state.loaded else { return Ok(rows) };
        for span in loaded.spans.iter().filter(|span| span.max_modseq > since.0) {
            let chunk = self.account().state.chunk(self.mailbox(), span).await?;
            let changed = chunk.iter().filter(|row| row.modseq > since && self.membership().contains(row.uid.0));
            rows.extend(changed);
        }
        let gone = self.membership().gone_in(&loaded.membership);
        if gone.is_empty() {
            return Ok(rows);
        }
        for (span, piece) in self.by_span(&gone) {
            rows.extend(self.rows(span, &piece).await?.iter().filter(|row| row.modseq > since));
        }
        rows.sort_unstable_by_key(|row| row.uid);
        Ok(rows)
    }

    /// The UIDs among `known` that were expunged after `since`. Where the memory of expunges does not reach
    /// back so far, every one of them that is not here is named: too many is allowed, too few is not.
    pub async fn vanished_since(&self, since: ModSeq, known: UidRuns) -> Result<UidRuns> {
        let gone = known.difference(&self.membership().select(&known));
        let gone = gone.intersection(&UidRuns::range(1, self.uid_next().saturating_sub(1)));
        if gone.is_empty() {
            return Ok(gone);
        }
        let mailbox = self.mailbox();
        let vanished = self
            .account()
            .state
            .visit(move |conn, _| {
                // One statement, so that how far back the memory reaches is known of the very moment it is read in.
                let mut query = conn.prepare_cached(
                    "SELECT m.expunged_floor, e.lo, e.hi FROM mailbox m
                     LEFT JOIN expunged e ON e.mbox = m.id AND e.modseq > ?2 WHERE m.id = ?1",
                )?;
                let mut rows = query.query(params![mailbox.0, since.0 as i64])?;
                // The mailbox was deleted after it was opened, and its memory with it.
                let mut reaches = false;
                let mut vanished: Vec<(u32, u32)> = Vec::new();
                while let Some(row) = rows.next()? {
                    let floor: i64 = row.get(0)?;
                    reaches = since.0 >= floor as u64;
                    if let Some(lo) = row.get(1)? {
                        vanished.push((lo, row.get(2)?));
                    }
                }
                Ok(reaches.then(|| vanished.into_iter().collect::<UidRuns>()))
            })
            .await?;
        Ok(vanished.map_or_else(|| gone.clone(), |vanished| gone.intersection(&vanished)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailstore::{MailStore, Options};
    use crate::types::{AccountId, MailboxName};

    /// An account with so many messages in a mailbox, which is not INBOX.
    async fn account_with(store: &MailStore, name: &MailboxName, count: u32) -> crate::mailstore::Account {
        let account = store.account(AccountId(1)).await.expect("an account");
        for n in 0..count {
            let mut draft = account.draft();
            draft.write(format!("Subject: {n}\r\n\r\n").as_bytes()).await.expect("taken");
            let prepared = draft.finish().await.expect("whole");
            let message = crate::mailstore::NewMessage { prepared, flags: Default::default(), internal_date: None };
            account.place(name, vec![message]).await.expect("placed");
        }
        account
    }

    fn options() -> Options {
        Options { min_free_bytes: 0, ..Options::default() }
    }

    /// Another session deletes the mailbox between its opening and the question what vanished, and the memory of
    /// expunges goes with it.
    #[tokio::test]
    async fn what_vanished_from_a_mailbox_that_was_deleted_meanwhile_is_told() {
        let home = tempfile::tempdir().expect("a folder");
        let store = MailStore::open(home.path(), options()).expect("opens");
        let name = MailboxName::new("Archive").expect("a name");
        let account = account_with(&store, &name, 4).await;
        let before = account.open(&name, true).await.expect("opens");
        before.move_to_mailbox(UidRuns::range(2, 3), &MailboxName::inbox()).await.expect("moved");
        let view = account.open(&name, true).await.expect("opens");
        let known = UidRuns::range(1, 4);
        let vanished = async |since| view.vanished_since(since, known.clone()).await.expect("told").wire();
        assert_eq!((vanished(before.modseq()).await, vanished(view.modseq()).await), ("2:3".into(), String::new()));
        account.delete(&name).await.expect("deleted");
        assert_eq!(vanished(before.modseq()).await, "2:3");
    }

    /// The memory of expunges is bounded, and forgets while somebody asks.
    #[tokio::test]
    async fn what_vanished_before_the_memory_begins_is_told() {
        let home = tempfile::tempdir().expect("a folder");
        let store = MailStore::open(home.path(), Options { expunged_ranges: 10, ..options() }).expect("opens");
        let account = account_with(&store, &MailboxName::inbox(), 40).await;
        let before = account.open(&MailboxName::inbox(), true).await.expect("opens");
        let archive = MailboxName::new("Archive").expect("a name");
        for uid in (2..=40).step_by(2) {
            before.move_to_mailbox(UidRuns::one(uid), &archive).await.expect("moved");
        }
        let view = account.open(&MailboxName::inbox(), true).await.expect("opens");
        let vanished = view.vanished_since(before.modseq(), UidRuns::range(1, 40)).await.expect("told");
        assert_eq!(vanished.count(), 20, "{}", vanished.wire());
    }

    #[tokio::test]
    async fn what_is_gone_and_not_told_yet_is_among_what_changed() {
        let home = tempfile::tempdir().expect("a folder");
        let store = MailStore::open(home.path(), options()).expect("opens");
        let inbox = MailboxName::inbox();
        let account = account_with(&store, &inbox, 2).await;
        let view = account.open(&inbox, true).await.expect("opens");
        view.move_to_mailbox(UidRuns::one(1), &MailboxName::new("Archive").expect("a name")).await.expect("moved");
        let uids = |rows: Vec<Row>| rows.iter().map(|row| row.uid.0).collect::<Vec<_>>();
        assert_eq!(uids(view.changed_since(ModSeq(1)).await.expect("told")), [1, 2]);
        assert_eq!(uids(view.changed_since(view.modseq()).await.expect("told")), [0; 0]);
    }
}
