//! The selected mailbox as this client knows it: its view, whether it may change anything, and which
//! changes it made itself and so need not be told of.

use super::answer::{Stop, bad, no};
use crate::mailstore::{Row, View};
use crate::types::{Code, ModSeq, NumSet, UidRuns};

/// How many of its own changes a session remembers until it is told of others.
const OWN_CHANGES: usize = 1024;

/// A mailbox in use by one session.
#[derive(Debug)]
pub struct Selection {
    pub view: View,
    pub is_read_only: bool,
    /// RFC 9051 knows no `\Recent`.
    pub tells_recent: bool,
    /// Modseqs of this session's own orders since the view last moved.
    pub own: Vec<ModSeq>,
    /// The highest MODSEQ that FETCH and STORE told since it was last said how far that goes.
    pub ahead: Option<ModSeq>,
    /// The result kept as `$` (RFC 5182). What is expunged falls out when it is used.
    pub saved: UidRuns,
}

impl Selection {
    /// Remembers a change this session made, and was told of by its own answer.
    pub fn remember_own(&mut self, modseq: Option<ModSeq>) {
        self.own.extend(modseq);
        if self.own.len() > OWN_CHANGES {
            // What is forgotten is told once more, which does no harm.
            self.own.drain(..OWN_CHANGES / 2);
        }
    }

    /// Notes that these rows are told with their MODSEQ, which may be ahead of what else was told.
    pub fn note_told(&mut self, rows: &[Row]) {
        self.ahead = rows.iter().map(|row| row.modseq).max().max(self.ahead);
    }

    /// The UIDs a client's set means. With UIDs, those that are not there are no error (RFC 3501 §6.4.8);
    /// a sequence number that was never told is.
    pub fn resolve(&self, set: &NumSet, is_uid: bool) -> Result<UidRuns, Stop> {
        let membership = self.view.membership();
        if *set == NumSet::Saved {
            return Ok(membership.select(&self.saved));
        }
        if is_uid {
            let largest = membership.last_uid().unwrap_or(0);
            return Ok(membership.select(&set.resolve(largest)));
        }
        let count = membership.count();
        if count == 0 && set.has_star() {
            // "1:*" of an empty mailbox: mail programs send it without looking.
            return Ok(UidRuns::new());
        }
        if set.exceeds(count) {
            return Err(bad(format!("there is no message with this number; the mailbox has {count}")));
        }
        Ok(membership.uids_of(&set.resolve(count)))
    }

    /// Refuses what EXAMINE does not allow.
    pub fn writable(&self) -> Result<(), Stop> {
        if self.is_read_only {
            return Err(no(Code::NoPerm, "the mailbox is open for reading only"));
        }
        Ok(())
    }

    /// Refuses when the mailbox was deleted meanwhile: it can be read, not changed.
    pub fn present(&self) -> Result<(), Stop> {
        if self.view.is_gone() {
            return Err(no(Code::NonExistent, "this mailbox was deleted; select another"));
        }
        Ok(())
    }
}
