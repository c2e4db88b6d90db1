//! COPY and MOVE within an account: rows only, one transaction, all or nothing (RFC 3501 §6.4.7, RFC 6851).

use rusqlite::params;

use super::error::{Error, Result};
use super::snapshot::Row;
use super::turn::Turn;
use crate::types::{MailboxId, ModSeq, Uid, UidRuns, UidValidity};

/// What COPY or MOVE did, as COPYUID tells it (RFC 4315 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    pub uid_validity: UidValidity,
    /// Source UIDs in ascending order, and as many target UIDs in the same order.
    pub from: UidRuns,
    pub to: UidRuns,
    pub modseq: Option<ModSeq>,
}

impl Turn<'_> {
    /// Copies the members among `uids` into `target`, which may be the same mailbox.
    pub fn copy_rows(
        &mut self,
        source: MailboxId,
        target: MailboxId,
        uids: &UidRuns,
        modseq: ModSeq,
    ) -> Result<Copied> {
        let mut copied = self.nothing_copied(target)?;
        let spans = self.rows_of(source, uids)?;
        self.wrote();
        let mut insert = self.conn.prepare_cached(
            "INSERT INTO message(mbox, uid, modseq, flagset, idate, idate_zone, saved, size, cid)
             SELECT ?1, uid + ?2, ?3, flagset, idate, idate_zone, ?4, size, cid
             FROM message WHERE mbox = ?5 AND uid BETWEEN ?6 AND ?7",
        )?;
        let mut refer = self.conn.prepare_cached("UPDATE content SET refs = refs + 1 WHERE id = ?")?;
        for (_, rows) in &spans {
            let mut at = 0;
            while let Some(first) = rows.get(at) {
                let follows = |pair: &[Row]| pair[0].uid.0 + 1 == pair[1].uid.0;
                let run = 1 + rows[at..].windows(2).take_while(|pair| follows(pair)).count();
                let mut shift = 0;
                for row in &rows[at..at + run] {
                    let Uid(uid) = self.next_uid(target)?;
                    shift = i64::from(uid) - i64::from(row.uid.0);
                    copied.from.push(row.uid.0);
                    copied.to.push(uid);
                }
                let last = rows[at + run - 1].uid.0;
                insert.execute(params![target.0, shift, modseq.0 as i64, self.now, source.0, first.uid.0, last])?;
                for row in &rows[at..at + run] {
                    refer.execute([row.content.0])?;
                    let uid = i64::from(row.uid.0) + shift;
                    let uid = Uid(u32::try_from(uid).map_err(|_| Error::UidsUsedUp)?);
                    self.add_row(target, Row { uid, modseq, ..*row })?;
                }
                at += run;
            }
        }
        copied.modseq = (!copied.from.is_empty()).then_some(modseq);
        Ok(copied)
    }

    /// Moves the members among `uids` into `target`. Into the same mailbox means new UIDs.
    pub fn move_rows(
        &mut self,
        source: MailboxId,
        target: MailboxId,
        uids: &UidRuns,
        modseq: ModSeq,
    ) -> Result<Copied> {
        let copied = self.copy_rows(source, target, uids, modseq)?;
        if !copied.from.is_empty() {
            self.remove(source, &copied.from, modseq)?;
        }
        Ok(copied)
    }

    fn nothing_copied(&mut self, target: MailboxId) -> Result<Copied> {
        let mailbox = self.tree().with_id(target).cloned().ok_or(Error::NoSuchMailbox)?;
        Ok(Copied { uid_validity: mailbox.uid_validity, from: UidRuns::new(), to: UidRuns::new(), modseq: None })
    }
}
