//! Taking messages out of mailboxes: their rows move to `removed`, where sessions that have not been told
//! still read them. No content is touched; only the sweep lets content go.

use rusqlite::params;

use super::account::Mailbox;
use super::error::Result;
use super::snapshot::{Row, find, span_of};
use super::turn::Turn;
use crate::types::{MailboxId, ModSeq, SystemFlag, UidRuns};

impl Turn<'_> {
    /// The members among `wanted`, span by span, with their rows.
    pub fn rows_of(&mut self, id: MailboxId, wanted: &UidRuns) -> Result<Vec<(u32, Vec<Row>)>> {
        let membership = self.membership(id)?;
        let there = membership.select(wanted);
        let mut spans: Vec<(u32, Vec<Row>)> = Vec::new();
        let mut chunk = None;
        for uid in there.iter() {
            let lo = span_of(uid);
            if spans.last().map(|s| s.0) != Some(lo) {
                chunk = Some(self.rows(id, lo)?);
                spans.push((lo, Vec::new()));
            }
            if let (Some(row), Some(last)) = (chunk.as_ref().and_then(|c| find(c, uid)), spans.last_mut()) {
                last.1.push(*row);
            }
        }
        Ok(spans)
    }

    /// EXPUNGE of those among `wanted` that are marked `\Deleted`. Gives what went, and the modseq if anything did.
    pub fn expunge_deleted(&mut self, id: MailboxId, wanted: &UidRuns) -> Result<(UidRuns, Option<ModSeq>)> {
        let mut doomed = UidRuns::new();
        for (_, rows) in self.rows_of_spans_with_deleted(id, wanted)? {
            for row in rows {
                if self.flags_of(row.flagset)?.has(SystemFlag::Deleted) {
                    doomed.push(row.uid.0);
                }
            }
        }
        if doomed.is_empty() {
            return Ok((doomed, None));
        }
        let modseq = self.next_modseq();
        self.remove(id, &doomed, modseq)?;
        Ok((doomed, Some(modseq)))
    }

    /// As [`Turn::rows_of`], without reading spans whose counter says that nothing there is deleted.
    fn rows_of_spans_with_deleted(&mut self, id: MailboxId, wanted: &UidRuns) -> Result<Vec<(u32, Vec<Row>)>> {
        let work = self.work(id)?;
        let marked: UidRuns = work
            .spans
            .iter()
            .filter(|span| span.counters.deleted > 0)
            .map(|span| (span.lo(), span.lo().saturating_add(super::snapshot::SPAN_UIDS - 1)))
            .collect();
        self.rows_of(id, &wanted.intersection(&marked))
    }

    /// Moves messages to `removed`.
    pub fn remove(&mut self, id: MailboxId, uids: &UidRuns, modseq: ModSeq) -> Result<()> {
        let spans = self.rows_of(id, uids)?;
        self.remove_stored(id, uids, modseq)?;
        for (lo, rows) in &spans {
            self.take_rows(id, *lo, rows, modseq)?;
        }
        self.remember_expunged(id, modseq, uids.runs())
    }

    /// The same for a mailbox that goes altogether.
    pub fn remove_all_messages(&mut self, mailbox: &Mailbox, modseq: ModSeq) -> Result<()> {
        self.remove_stored(mailbox.id, &UidRuns::range(1, u32::MAX), modseq)
    }

    fn remove_stored(&mut self, id: MailboxId, uids: &UidRuns, modseq: ModSeq) -> Result<()> {
        self.wrote();
        let mut keep = self.conn.prepare_cached(
            "INSERT INTO removed(mbox, uid, modseq, flagset, idate, idate_zone, saved, size, cid, at, gone)
             SELECT mbox, uid, modseq, flagset, idate, idate_zone, saved, size, cid, ?4, ?5
             FROM message WHERE mbox = ?1 AND uid BETWEEN ?2 AND ?3",
        )?;
        let mut take = self.conn.prepare_cached("DELETE FROM message WHERE mbox = ?1 AND uid BETWEEN ?2 AND ?3")?;
        for (lo, hi) in uids.runs() {
            keep.execute(params![id.0, lo, hi, self.now, modseq.0 as i64])?;
            take.execute(params![id.0, lo, hi])?;
        }
        Ok(())
    }
}
