//! Following a folder of another server: mail that was taken from it is brought up to date at the next pass. The rule: a
//! message that was not changed here since it was taken, or since it was last followed, gets the flags it has there; one
//! that was changed here stays as it is. Its modseq tells: it is remembered in the order that places or changes it.

use std::collections::BTreeMap;

use rusqlite::params;

use super::Account;
use super::error::Result;
use super::import::ImportKey;
use super::snapshot::Row;
use super::store_flags::SetFlags;
use super::turn::Turn;
use crate::types::command::FlagChange;
use crate::types::{FlagSet, Keyword, MailboxId, MailboxName, ModSeq, UidRuns};

/// Most messages that one order lets go.
const MOST_GONE: usize = 4096;

/// A folder of another server, as this account knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceId(i64);

/// What [`Account::follow`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Following {
    pub source: SourceId,
    /// The source's HIGHESTMODSEQ up to which all of it was followed; 0: nobody knows.
    pub mark: u64,
}

/// What following did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Followed {
    /// Messages that have other flags now, or are gone.
    pub done: u64,
    /// Messages that were left alone because they were changed here.
    pub kept: u64,
}

/// A message that was taken: its UID at the source and the modseq it had here when it was last followed.
#[derive(Debug, Clone, Copy)]
struct Taken {
    there: u32,
    modseq: ModSeq,
}

impl Account {
    /// The folder of another server whose mail comes into this mailbox. `key` is a hash of where it stands.
    pub async fn follow(&self, mailbox: &MailboxName, key: ImportKey) -> Result<Following> {
        let mailbox = mailbox.clone();
        self.state.growing_order(0, move |turn| turn.follow(&mailbox, key)).await
    }

    /// Gives messages the flags they have at the source, by their UIDs there. Those that were never taken are passed over.
    pub async fn follow_flags(
        &self,
        mailbox: &MailboxName,
        source: SourceId,
        flags: Vec<(u32, FlagSet)>,
    ) -> Result<Followed> {
        let mailbox = mailbox.clone();
        self.state.growing_order(0, move |turn| turn.follow_flags(&mailbox, source, &flags)).await
    }

    /// Removes what was taken from `from..=to` of the source and is not among `present`, which ascends, any more. It can
    /// be brought back as anything that is expunged.
    pub async fn follow_gone(
        &self,
        mailbox: &MailboxName,
        source: SourceId,
        (mut from, to): (u32, u32),
        present: Vec<u32>,
    ) -> Result<Followed> {
        let present = std::sync::Arc::new(present);
        let mut sum = Followed::default();
        loop {
            let (mailbox, present) = (mailbox.clone(), present.clone());
            let gone = self.state.order(move |turn| turn.follow_gone(&mailbox, source, (from, to), &present)).await?;
            sum.done += gone.0.done;
            sum.kept += gone.0.kept;
            match gone.1.and_then(|last| last.checked_add(1)) {
                Some(next) if next <= to => from = next,
                _ => return Ok(sum),
            }
        }
    }

    /// Remembers that all changes up to this HIGHESTMODSEQ of the source were followed.
    pub async fn followed_up_to(&self, source: SourceId, mark: u64) -> Result<()> {
        let order = self.state.order(move |turn| {
            turn.wrote();
            let mut set = turn.conn.prepare_cached("UPDATE import_source SET mark = ? WHERE id = ?")?;
            set.execute(params![mark as i64, source.0])?;
            Ok(())
        });
        order.await
    }
}

impl Turn<'_> {
    fn follow(&mut self, mailbox: &MailboxName, key: ImportKey) -> Result<Following> {
        let id = self.selectable(mailbox)?.id;
        self.wrote();
        self.conn
            .prepare_cached("INSERT INTO import_source(mbox, key, mark) VALUES (?, ?, 0) ON CONFLICT DO NOTHING")?
            .execute(params![id.0, key.0])?;
        let mut query = self.conn.prepare_cached("SELECT id, mark FROM import_source WHERE mbox = ? AND key = ?")?;
        let found = query.query_row(params![id.0, key.0], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
        Ok(Following { source: SourceId(found.0), mark: found.1 as u64 })
    }

    /// Remembers a message that was placed just now.
    pub(super) fn note_taken(&mut self, source: SourceId, there: u32, here: u32, modseq: ModSeq) -> Result<()> {
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO followed(source, there, here, modseq) VALUES (?, ?, ?, ?)")?
            .execute(params![source.0, there, here, modseq.0 as i64])?;
        Ok(())
    }

    fn follow_flags(&mut self, mailbox: &MailboxName, source: SourceId, flags: &[(u32, FlagSet)]) -> Result<Followed> {
        let mailbox = self.selectable(mailbox)?;
        let (mut taken, mut wanted) = (BTreeMap::new(), BTreeMap::new());
        for (there, set) in flags {
            let mut query =
                self.conn.prepare_cached("SELECT here, modseq FROM followed WHERE source = ? AND there = ?")?;
            let mut rows = query.query(params![source.0, there])?;
            if let Some(row) = rows.next()? {
                let here: u32 = row.get(0)?;
                taken.insert(here, Taken { there: *there, modseq: ModSeq(row.get::<_, i64>(1)? as u64) });
                wanted.insert(here, set);
            }
        }
        let mut done = Followed::default();
        let mut plan: BTreeMap<FlagSet, UidRuns> = BTreeMap::new();
        for row in self.rows_among(mailbox.id, &taken)? {
            let Some(set) = wanted.get(&row.uid.0) else { continue };
            let set = self.that_fits(mailbox.id, set)?;
            if self.intern(&set)? == row.flagset {
                continue;
            }
            match is_unchanged(&row, &taken) {
                true => plan.entry(set).or_default().push(row.uid.0),
                false => done.kept += 1,
            }
        }
        for (set, uids) in plan {
            let order = SetFlags {
                uids,
                change: FlagChange::Replace,
                flags: set,
                unchanged_since: None,
                told: ModSeq(0),
                own: Vec::new(),
            };
            let changed = self.set_flags(mailbox.id, &order)?;
            let Some(modseq) = changed.modseq else { continue };
            done.done += changed.changed.count();
            for here in changed.changed.iter() {
                let Some(message) = taken.get(&here) else { continue };
                self.conn
                    .prepare_cached("UPDATE followed SET modseq = ? WHERE source = ? AND there = ?")?
                    .execute(params![modseq.0 as i64, source.0, message.there])?;
            }
        }
        Ok(done)
    }

    /// Also the last UID looked at, when there may be more.
    fn follow_gone(
        &mut self,
        mailbox: &MailboxName,
        source: SourceId,
        (from, to): (u32, u32),
        present: &[u32],
    ) -> Result<(Followed, Option<u32>)> {
        let mailbox = self.selectable(mailbox)?;
        let (mut gone, mut last) = (BTreeMap::new(), None);
        {
            let mut query = self.conn.prepare_cached(
                "SELECT there, here, modseq FROM followed WHERE source = ? AND there BETWEEN ? AND ? ORDER BY there",
            )?;
            let mut rows = query.query(params![source.0, from, to])?;
            while let Some(row) = rows.next()? {
                let there: u32 = row.get(0)?;
                if present.binary_search(&there).is_ok() {
                    continue;
                }
                let modseq = ModSeq(row.get::<_, i64>(2)? as u64);
                gone.insert(row.get::<_, u32>(1)?, Taken { there, modseq });
                if gone.len() >= MOST_GONE {
                    last = Some(there);
                    break;
                }
            }
        }
        let (mut done, mut doomed) = (Followed::default(), UidRuns::new());
        for row in self.rows_among(mailbox.id, &gone)? {
            match is_unchanged(&row, &gone) {
                true => doomed.push(row.uid.0),
                false => done.kept += 1,
            }
        }
        if !doomed.is_empty() {
            let modseq = self.next_modseq();
            self.remove(mailbox.id, &doomed, modseq)?;
            done.done = doomed.count();
        }
        for here in doomed.iter() {
            let Some(message) = gone.get(&here) else { continue };
            self.conn
                .prepare_cached("DELETE FROM followed WHERE source = ? AND there = ?")?
                .execute(params![source.0, message.there])?;
        }
        Ok((done, last))
    }

    /// Those of the messages that are in the mailbox still.
    fn rows_among(&mut self, id: MailboxId, taken: &BTreeMap<u32, Taken>) -> Result<Vec<Row>> {
        let mut uids = UidRuns::new();
        taken.keys().for_each(|here| uids.push(*here));
        Ok(self.rows_of(id, &uids)?.into_iter().flat_map(|(_, rows)| rows).collect())
    }

    /// The set, without keywords that would be one too many for the mailbox.
    fn that_fits(&mut self, id: MailboxId, set: &FlagSet) -> Result<FlagSet> {
        let bound = self.account.shared.options.keywords_per_mailbox;
        let known = self.work(id)?.state.keywords.clone();
        let new = set.keywords().iter().filter(|keyword| !known.contains(keyword)).count();
        if known.len() + new <= bound {
            return Ok(set.clone());
        }
        let keywords: Vec<Keyword> = set.keywords().iter().filter(|keyword| known.contains(keyword)).cloned().collect();
        Ok(FlagSet::from_parts(set.bits(), keywords))
    }
}

fn is_unchanged(row: &Row, taken: &BTreeMap<u32, Taken>) -> bool {
    taken.get(&row.uid.0).is_some_and(|message| row.modseq <= message.modseq)
}
