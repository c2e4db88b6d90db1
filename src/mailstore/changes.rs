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
        if gone.is_empty() || since < self.expunged_floor() {
            return Ok(gone);
        }
        let mailbox = self.mailbox();
        let vanished = self
            .account()
            .state
            .visit(move |conn, _| {
                let mut query = conn.prepare_cached("SELECT lo, hi FROM expunged WHERE mbox = ? AND modseq > ?")?;
                let rows = query.query_map(params![mailbox.0, since.0 as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
                Ok(rows.collect::<rusqlite::Result<UidRuns>>()?)
            })
            .await?;
        Ok(gone.intersection(&vanished))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailstore::{MailStore, Options};
    use crate::types::{AccountId, MailboxName};

    #[tokio::test]
    async fn what_is_gone_and_not_told_yet_is_among_what_changed() {
        let home = tempfile::tempdir().expect("a folder");
        let store = MailStore::open(home.path(), Options { min_free_bytes: 0, ..Options::default() }).expect("opens");
        let account = store.account(AccountId(1)).await.expect("an account");
        let inbox = MailboxName::inbox();
        for text in ["Subject: one\r\n\r\n", "Subject: two\r\n\r\n"] {
            let mut draft = account.draft();
            draft.write(text.as_bytes()).await.expect("taken");
            let prepared = draft.finish().await.expect("whole");
            let message = crate::mailstore::NewMessage { prepared, flags: Default::default(), internal_date: None };
            account.place(&inbox, vec![message]).await.expect("placed");
        }
        let view = account.open(&inbox, true).await.expect("opens");
        view.move_to_mailbox(UidRuns::one(1), &MailboxName::new("Archive").expect("a name")).await.expect("moved");
        let uids = |rows: Vec<Row>| rows.iter().map(|row| row.uid.0).collect::<Vec<_>>();
        assert_eq!(uids(view.changed_since(ModSeq(1)).await.expect("told")), [1, 2]);
        assert_eq!(uids(view.changed_since(view.modseq()).await.expect("told")), [0; 0]);
    }
}
