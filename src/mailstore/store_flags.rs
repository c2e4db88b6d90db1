//! STORE: new flags for messages, all in one transaction, with the UNCHANGEDSINCE test of RFC 7162 §3.1.3.

use std::collections::HashMap;

use rusqlite::params;

use super::error::Result;
use super::flagsets::apply;
use super::snapshot::Row;
use super::turn::Turn;
use crate::types::command::FlagChange;
use crate::types::{FlagSet, MailboxId, ModSeq, Uid, UidRuns};

/// What is to be done to whose flags.
#[derive(Debug, Clone)]
pub struct SetFlags {
    pub uids: UidRuns,
    pub change: FlagChange,
    pub flags: FlagSet,
    /// Messages changed after this modseq are left alone and named in the answer.
    pub unchanged_since: Option<ModSeq>,
    /// The modseq the session was last told, and its own orders since: what others changed after it is news.
    pub told: ModSeq,
    pub own: Vec<ModSeq>,
}

/// What STORE did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlagsSet {
    /// The modseq the changed messages have now; `None` when nothing changed.
    pub modseq: Option<ModSeq>,
    /// Messages whose flags are different now.
    pub changed: UidRuns,
    /// Messages that failed UNCHANGEDSINCE, for the MODIFIED response code.
    pub modified: UidRuns,
    /// Messages asked for that are not there any more.
    pub vanished: UidRuns,
    /// Changed messages that somebody else had changed before, unknown to this session. Even a silent order
    /// has to tell their flags: by their modseq they look like the session's own from now on.
    pub news: UidRuns,
}

impl Turn<'_> {
    pub fn set_flags(&mut self, id: MailboxId, order: &SetFlags) -> Result<FlagsSet> {
        let mut done = FlagsSet::default();
        let mut renumbered: HashMap<u32, u32> = HashMap::new();
        let mut plan: Vec<(u32, Vec<(Row, u32)>)> = Vec::new();
        let membership = self.membership(id)?;
        done.vanished = order.uids.difference(&membership.select(&order.uids));
        for (lo, rows) in self.rows_of(id, &order.uids)? {
            let mut changed = Vec::new();
            for row in rows {
                if self.is_modified(order, &row)? {
                    done.modified.push(row.uid.0);
                    continue;
                }
                let new = match renumbered.get(&row.flagset) {
                    Some(new) => *new,
                    None => {
                        let set = apply(order.change, &self.flags_of(row.flagset)?, &order.flags);
                        let new = self.intern(&set)?;
                        renumbered.insert(row.flagset, new);
                        new
                    }
                };
                if new != row.flagset {
                    done.changed.push(row.uid.0);
                    if row.modseq > order.told && !order.own.contains(&row.modseq) {
                        done.news.push(row.uid.0);
                    }
                    changed.push((row, new));
                }
            }
            if !changed.is_empty() {
                plan.push((lo, changed));
            }
        }
        if plan.is_empty() {
            return Ok(done);
        }
        let modseq = self.next_modseq();
        for (lo, changed) in &plan {
            self.write_flags(id, changed, modseq)?;
            self.change_rows(id, *lo, changed, modseq)?;
        }
        done.modseq = Some(modseq);
        Ok(done)
    }

    /// The test of UNCHANGEDSINCE.
    fn is_modified(&self, order: &SetFlags, row: &Row) -> Result<bool> {
        Ok(match order.unchanged_since {
            None => false,
            // RFC 7162 §3.1.3: 0 fails for whatever is there, and a system flag counts as there, set or not.
            Some(ModSeq(0)) if order.change != FlagChange::Replace && order.flags.bits() == 0 => {
                let own = self.flags_of(row.flagset)?;
                order.flags.keywords().iter().any(|keyword| own.has_keyword(keyword))
            }
            Some(since) => row.modseq > since,
        })
    }

    /// Runs of neighbours that get the same set are one statement each.
    fn write_flags(&mut self, id: MailboxId, changed: &[(Row, u32)], modseq: ModSeq) -> Result<()> {
        let mut update = self
            .conn
            .prepare_cached("UPDATE message SET flagset = ?, modseq = ? WHERE mbox = ? AND uid BETWEEN ? AND ?")?;
        let mut at = 0;
        while let Some((first, flagset)) = changed.get(at) {
            let follows = |pair: &[(Row, u32)]| pair[0].0.uid.0 + 1 == pair[1].0.uid.0 && pair[1].1 == *flagset;
            let run = 1 + changed[at..].windows(2).take_while(|pair| follows(pair)).count();
            let Uid(last) = changed[at + run - 1].0.uid;
            update.execute(params![flagset, modseq.0 as i64, id.0, first.uid.0, last])?;
            at += run;
        }
        Ok(())
    }
}
