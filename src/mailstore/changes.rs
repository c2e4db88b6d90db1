//! What happened since a modseq, for sessions that come back (RFC 7162 §3.2.5, §3.2.6).

use rusqlite::params;

use super::error::Result;
use super::view::View;
use crate::types::{ModSeq, UidRuns};

impl View {
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
