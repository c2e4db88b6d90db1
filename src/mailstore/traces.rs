//! Where the contents of removed messages are and were: what tells a message that was moved from one that is gone. There
//! is no record of a MOVE; it shows in the rows, which one order wrote in the same second.

use std::collections::HashMap;

use rusqlite::Connection;

use super::error::Result;
use super::undelete::Gone;
use crate::types::MailboxId;

/// Where the contents of removed messages are and were.
pub(super) struct Traces(HashMap<u32, Vec<Trace>>);

impl Traces {
    pub fn read(conn: &Connection) -> Result<Self> {
        let mut traces: HashMap<u32, Vec<Trace>> = HashMap::new();
        // `removed` comes first: of messages only those with a content that was removed somewhere matter.
        for (table, went) in [("removed", "at, gone"), ("message", "NULL, NULL")] {
            let sql = format!("SELECT mbox, uid, saved, modseq, idate, cid, {went} FROM {table}");
            let mut query = conn.prepare_cached(&sql)?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let cid = row.get(5)?;
                let at: Option<i64> = row.get(6)?;
                let went = at.map(|at| Ok::<_, rusqlite::Error>((at, row.get(7)?))).transpose()?;
                if went.is_some() || traces.contains_key(&cid) {
                    traces.entry(cid).or_default().push(Trace {
                        mbox: row.get(0)?,
                        uid: row.get(1)?,
                        saved: row.get(2)?,
                        modseq: row.get(3)?,
                        idate: row.get(4)?,
                        went,
                    });
                }
            }
        }
        Ok(Traces(traces))
    }

    fn of(&self, row: &Gone) -> impl Iterator<Item = &Trace> {
        self.0.get(&row.cid).into_iter().flatten()
    }

    /// MOVE makes the new row and takes the old one in one order: the same second, and a modseq no older.
    pub fn was_moved(&self, row: &Gone) -> bool {
        self.of(row).any(|trace| {
            let is_itself = trace.went.is_some() && trace.mbox == row.mbox && trace.uid == row.uid;
            !is_itself && trace.saved == row.at && trace.modseq >= row.gone
        })
    }

    pub fn is_somewhere(&self, row: &Gone) -> bool {
        self.of(row).any(|trace| trace.went.is_none())
    }

    /// The rows from which MOVE after MOVE brought a removed message to where it was last.
    pub fn moved_from(&self, row: &Gone) -> Vec<(i64, u32, i64)> {
        let traces = self.0.get(&row.cid).map_or(&[][..], Vec::as_slice);
        let mut found: Vec<(i64, u32, i64)> = Vec::new();
        let mut last = traces.iter().find(|trace| trace.mbox == row.mbox && trace.uid == row.uid);
        while let Some(to) = last {
            last = traces.iter().find(|from| {
                let is_new = (from.mbox, from.uid) != (row.mbox, row.uid)
                    && found.iter().all(|(mbox, uid, _)| (from.mbox, from.uid) != (*mbox, *uid));
                is_new && from.went.is_some_and(|(at, gone)| at == to.saved && gone <= to.modseq)
            });
            found.extend(last.and_then(|from| Some((from.mbox, from.uid, from.went?.1))));
        }
        found
    }

    /// True when `mbox` has the same message already.
    pub fn is_in(&self, mbox: MailboxId, row: &Gone) -> bool {
        self.of(row).any(|t| t.went.is_none() && t.mbox == mbox.0 && t.idate == row.date.unix_seconds)
    }
}

/// A place where a content is or was: of a row in `message` or `removed`.
struct Trace {
    mbox: i64,
    uid: u32,
    saved: i64,
    modseq: i64,
    idate: i64,
    /// Of a row in `removed`: the second and the modseq with which it went.
    went: Option<(i64, i64)>,
}
