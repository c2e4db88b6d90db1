//! A row in a mailbox for content that the store has already: what undelete and restore end with. The row gets
//! the next UID, so that whatever any client has ever been told stays true.

use rusqlite::params;

use super::error::Result;
use super::snapshot::Row;
use super::turn::Turn;
use crate::types::date::DateTime;
use crate::types::{ContentId, FlagSet, MailboxId, ModSeq, Uid};

/// A message that comes back.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub content: ContentId,
    /// Octets of the content.
    pub size: u32,
    pub flags: FlagSet,
    /// INTERNALDATE, as it was.
    pub date: DateTime,
}

impl Turn<'_> {
    /// Gives `arrival` the next UID of `mailbox`. Whoever calls counts the reference to the content.
    pub fn arrive(&mut self, mailbox: MailboxId, arrival: &Arrival, modseq: ModSeq) -> Result<Uid> {
        let flagset = self.intern(&arrival.flags)?;
        let uid = self.next_uid(mailbox)?;
        // RFC 8514 §3: SAVEDATE is when the message came into this mailbox, which is now.
        self.conn
            .prepare_cached(
                "INSERT INTO message(mbox, uid, modseq, flagset, idate, idate_zone, saved, size, cid)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                mailbox.0,
                uid.0,
                modseq.0 as i64,
                flagset,
                arrival.date.unix_seconds,
                arrival.date.zone_minutes,
                self.now,
                arrival.size,
                arrival.content.0,
            ])?;
        self.add_row(mailbox, Row { modseq, uid, flagset, content: arrival.content, size: arrival.size })?;
        Ok(uid)
    }
}
