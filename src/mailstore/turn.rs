//! One writer's turn: the orders of a transaction, each in a savepoint, working on copies of the
//! published states. What they changed is written back and published together, or not at all.

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rusqlite::{Connection, params};

use super::account::{AccountState, Live, Loaded, Mailbox, State, Tree};
use super::error::{Error, Result};
use super::events::{Event, Kinds, What};
use super::flagsets::TurnSets;
use super::owner::Queued;
use super::quota::{QuotaLimits, Usage};
use super::snapshot::{Chunk, Counters, Membership, Row, SPAN_UIDS, Span, span_of};
use crate::metrics::METRICS;
use crate::types::{ContentId, FlagSet, Keyword, MailboxId, MailboxName, ModSeq, Uid};

/// A mailbox under change.
#[derive(Debug, Clone)]
pub struct Work {
    pub live: Arc<Live>,
    pub state: State,
    pub spans: Vec<Arc<Span>>,
    pub(super) dirty_spans: BTreeSet<u32>,
    pub(super) is_dirty: bool,
    pub(super) members_changed: bool,
    /// What the order at hand has done to its messages.
    kinds: Kinds,
}

impl Work {
    /// Where the span of `lo` stands, made if it is not there.
    fn span_at(&mut self, lo: u32) -> usize {
        match self.spans.binary_search_by_key(&lo, |s| s.lo()) {
            Ok(at) => at,
            Err(at) => {
                self.spans.insert(at, Arc::new(Span::empty(lo)));
                at
            }
        }
    }

    fn edit_span(&mut self, at: usize) -> &mut Span {
        self.dirty_spans.insert(self.spans[at].lo());
        self.is_dirty = true;
        Arc::make_mut(&mut self.spans[at])
    }
}

/// The changes of one transaction so far.
pub struct Turn<'a> {
    pub conn: &'a Connection,
    pub account: &'a Arc<AccountState>,
    pub sets: TurnSets,
    pub now: i64,
    pub(super) modseq: u64,
    pub(super) first_modseq: u64,
    pub(super) works: HashMap<MailboxId, Work>,
    undo: Vec<(MailboxId, Option<Work>)>,
    pub(super) tree: Option<Arc<Tree>>,
    undo_tree: Option<Option<Arc<Tree>>>,
    pub(super) has_written: bool,
    pub(super) events: Vec<Event>,
    /// By how much the account uses more than before this turn.
    pub growth: Usage,
    pub new_quota: Option<QuotaLimits>,
}

impl<'a> Turn<'a> {
    pub fn new(conn: &'a Connection, account: &'a Arc<AccountState>) -> Result<Self> {
        let ModSeq(modseq) = newest_modseq(conn)?;
        Ok(Turn {
            conn,
            account,
            sets: TurnSets::new(&account.flagsets),
            now: account.shared.clock.now_secs(),
            modseq,
            first_modseq: modseq,
            works: HashMap::new(),
            undo: Vec::new(),
            tree: None,
            undo_tree: None,
            has_written: false,
            events: Vec::new(),
            growth: Usage::default(),
            new_quota: None,
        })
    }

    /// Runs one order in a savepoint. The outer error means that the transaction is lost.
    pub fn run(&mut self, order: &mut dyn Queued) -> Result<Result<()>> {
        self.conn.prepare_cached("SAVEPOINT one_order")?.execute([])?;
        let (mark, modseq, growth, events) = (self.sets.mark(), self.modseq, self.growth, self.events.len());
        self.undo.clear();
        self.undo_tree = None;
        let outcome = catch_unwind(AssertUnwindSafe(|| order.run(self)))
            .unwrap_or_else(|_| Err(Error::Fault("an order ended in a panic".into())))
            .and_then(|()| self.within_quota(growth));
        if outcome.is_err() {
            if self.conn.is_autocommit() || outcome == Err(Error::DiskFull) {
                // SQLite has given up the whole transaction, or soon would.
                return outcome.map(Ok);
            }
            self.conn.prepare_cached("ROLLBACK TO one_order")?.execute([])?;
            for (id, before) in self.undo.drain(..).rev() {
                match before {
                    Some(work) => self.works.insert(id, work),
                    None => self.works.remove(&id),
                };
            }
            if let Some(tree) = self.undo_tree.take() {
                self.tree = tree;
            }
            self.sets.undo_to(mark);
            (self.modseq, self.growth) = (modseq, growth);
            self.events.truncate(events);
        } else {
            self.note_messages();
        }
        self.conn.prepare_cached("RELEASE one_order")?.execute([])?;
        if let Err(Error::Fault(text)) = &outcome {
            METRICS.store_faults.add(1);
            tracing::error!(account = self.account.id.0, fault = %text, "store order failed");
        }
        Ok(outcome)
    }

    /// Notes what the order that has just run did to messages.
    fn note_messages(&mut self) {
        for (id, _) in &self.undo {
            let Some(work) = self.works.get_mut(id).filter(|work| !work.kinds.is_none()) else { continue };
            let what = What::Messages { mailbox: *id, kinds: std::mem::take(&mut work.kinds) };
            self.events.push(Event { modseq: ModSeq(self.modseq), what });
        }
    }

    /// Where the modseqs of an order begin; see [`Turn::modseqs_since`].
    pub fn mark(&self) -> ModSeq {
        ModSeq(self.modseq)
    }

    /// The modseqs given out since `mark`.
    pub fn modseqs_since(&self, mark: ModSeq) -> ModSeqs {
        ModSeqs { after: mark, until: ModSeq(self.modseq) }
    }

    /// The next modseq; an order takes one for all it does.
    pub fn next_modseq(&mut self) -> ModSeq {
        self.modseq += 1;
        ModSeq(self.modseq)
    }

    /// Says that something was written, so that the turn has to be committed.
    pub fn wrote(&mut self) {
        self.has_written = true;
    }

    pub fn tree(&self) -> Arc<Tree> {
        self.tree.clone().unwrap_or_else(|| self.account.tree())
    }

    /// The tree for changing.
    pub fn tree_mut(&mut self) -> &mut Tree {
        if self.undo_tree.is_none() {
            self.undo_tree = Some(self.tree.clone());
        }
        self.has_written = true;
        let account = self.account;
        Arc::make_mut(self.tree.get_or_insert_with(|| account.tree()))
    }

    /// A mailbox that can hold messages.
    pub fn selectable(&self, name: &MailboxName) -> Result<Arc<Mailbox>> {
        let mailbox = self.tree().named(name).cloned().ok_or(Error::NoSuchMailbox)?;
        if mailbox.is_noselect { Err(Error::NotSelectable) } else { Ok(mailbox) }
    }

    /// Begins to change a mailbox, or goes on with it.
    pub fn work(&mut self, id: MailboxId) -> Result<&mut Work> {
        if !self.works.contains_key(&id) {
            let mailbox = self.tree().with_id(id).cloned().ok_or(Error::NoSuchMailbox)?;
            let mut state = (*mailbox.live.state()).clone();
            let loaded = match state.loaded.take() {
                Some(loaded) => loaded,
                None => Loaded::read(self.conn, id)?,
            };
            let work = Work {
                live: mailbox.live.clone(),
                spans: loaded.spans.clone(),
                state: State { loaded: Some(loaded), ..state },
                dirty_spans: BTreeSet::new(),
                is_dirty: false,
                members_changed: false,
                kinds: Kinds::default(),
            };
            self.undo.push((id, None));
            self.works.insert(id, work);
        } else if !self.undo.iter().any(|(touched, _)| *touched == id) {
            self.undo.push((id, self.works.get(&id).cloned()));
        }
        self.works.get_mut(&id).ok_or(Error::NoSuchMailbox)
    }

    /// Where the messages of a mailbox stand now, with this turn's own changes.
    pub fn membership(&mut self, id: MailboxId) -> Result<Arc<Membership>> {
        let work = self.work(id)?;
        if work.members_changed {
            return Ok(Arc::new(Membership::new(work.spans.iter().map(|s| s.members.clone()).collect())));
        }
        Ok(match &work.state.loaded {
            Some(loaded) => loaded.membership.clone(),
            None => Loaded::new(work.spans.clone()).membership,
        })
    }

    /// Makes sure that the rows of the span at `lo` are in memory, and lends them.
    pub fn rows(&mut self, id: MailboxId, lo: u32) -> Result<Arc<Chunk>> {
        let conn = self.conn;
        let work = self.work(id)?;
        let Ok(at) = work.spans.binary_search_by_key(&lo, |s| s.lo()) else { return Ok(Arc::default()) };
        if let Some(chunk) = work.spans[at].chunk() {
            return Ok(chunk);
        }
        let chunk = Arc::new(read_chunk(conn, id, lo)?);
        if !work.spans[at].fill(chunk.clone()) {
            return Err(Error::Fault(format!("span {lo} of mailbox {id} disagrees with its messages")));
        }
        Ok(chunk)
    }

    /// Gives out the next UID of a mailbox.
    pub fn next_uid(&mut self, id: MailboxId) -> Result<Uid> {
        let work = self.work(id)?;
        let uid = work.state.uid_next;
        // RFC 3501 §2.3.1.1: UIDNEXT itself must stay a valid UID.
        work.state.uid_next = uid.checked_add(1).ok_or(Error::UidsUsedUp)?;
        work.is_dirty = true;
        Ok(Uid(uid))
    }

    /// Lets `uid` be the next one given out, if it is above the next now: the ones between are never given.
    pub fn skip_uids(&mut self, id: MailboxId, uid: u32) -> Result<()> {
        let work = self.work(id)?;
        if uid > work.state.uid_next {
            work.state.uid_next = uid;
            work.is_dirty = true;
        }
        Ok(())
    }

    /// Adds a message that was just given its row in `message`.
    pub fn add_row(&mut self, id: MailboxId, row: Row) -> Result<()> {
        let set = self.flags_of(row.flagset)?;
        self.learn_keywords(id, set.keywords())?;
        let work = self.work(id)?;
        let at = work.span_at(span_of(row.uid.0));
        let span = work.edit_span(at);
        span.members_mut().insert(row.uid.0);
        if let Some(chunk) = span.chunk_mut() {
            match chunk.last() {
                Some(last) if last.uid >= row.uid => {
                    let at = chunk.partition_point(|r| r.uid < row.uid);
                    chunk.insert(at, row);
                }
                _ => chunk.push(row),
            }
        }
        let added = Counters::of(&set, row.size);
        span.counters.add(&added);
        span.max_modseq = span.max_modseq.max(row.modseq.0);
        work.state.messages += 1;
        work.state.counters.add(&added);
        work.kinds.came = true;
        work.state.modseq = work.state.modseq.max(row.modseq);
        work.members_changed = true;
        self.has_written = true;
        self.growth.bytes += i64::from(row.size);
        self.growth.messages += 1;
        Ok(())
    }

    /// Takes messages of one span out of the counts; their rows were moved away just now.
    pub fn take_rows(&mut self, id: MailboxId, lo: u32, gone: &[Row], modseq: ModSeq) -> Result<()> {
        let mut taken = Counters::default();
        for row in gone {
            taken.add(&Counters::of(&self.flags_of(row.flagset)?, row.size));
        }
        let work = self.work(id)?;
        let at = work.span_at(lo);
        let span = work.edit_span(at);
        for row in gone {
            span.members_mut().remove(row.uid.0);
        }
        if let Some(chunk) = span.chunk_mut() {
            let mut going = gone.iter().map(|r| r.uid).peekable();
            chunk.retain(|row| {
                while going.peek().is_some_and(|uid| *uid < row.uid) {
                    going.next();
                }
                going.peek() != Some(&row.uid)
            });
        }
        span.counters.take(&taken);
        work.state.messages -= gone.len() as u32;
        work.kinds.went = true;
        work.state.counters.take(&taken);
        work.state.modseq = work.state.modseq.max(modseq);
        work.members_changed = true;
        self.has_written = true;
        self.growth.bytes -= taken.bytes as i64;
        self.growth.messages -= gone.len() as i64;
        Ok(())
    }

    /// Gives messages of one span new flags; their rows in `message` were changed just now.
    pub fn change_rows(&mut self, id: MailboxId, lo: u32, changed: &[(Row, u32)], modseq: ModSeq) -> Result<()> {
        let (mut before, mut after) = (Counters::default(), Counters::default());
        let mut sets: Vec<u32> = Vec::new();
        for (row, flagset) in changed {
            before.add(&Counters::of(&self.flags_of(row.flagset)?, row.size));
            after.add(&Counters::of(&self.flags_of(*flagset)?, row.size));
            if !sets.contains(flagset) {
                sets.push(*flagset);
            }
        }
        for set in sets {
            let keywords = self.flags_of(set)?.keywords().to_vec();
            self.learn_keywords(id, &keywords)?;
        }
        let work = self.work(id)?;
        let at = work.span_at(lo);
        let span = work.edit_span(at);
        if let Some(chunk) = span.chunk_mut() {
            let mut at = 0;
            for (old, flagset) in changed {
                while chunk.get(at).is_some_and(|row| row.uid < old.uid) {
                    at += 1;
                }
                if let Some(row) = chunk.get_mut(at).filter(|row| row.uid == old.uid) {
                    row.flagset = *flagset;
                    row.modseq = modseq;
                }
            }
        }
        span.max_modseq = span.max_modseq.max(modseq.0);
        span.counters.take(&before);
        span.counters.add(&after);
        work.kinds.flags = true;
        work.state.counters.take(&before);
        work.state.counters.add(&after);
        work.state.modseq = work.state.modseq.max(modseq);
        self.has_written = true;
        Ok(())
    }

    /// Remembers ranges that were expunged, as a QRESYNC client will ask for them.
    pub fn remember_expunged(&mut self, id: MailboxId, modseq: ModSeq, runs: &[(u32, u32)]) -> Result<()> {
        let conn = self.conn;
        let cap = self.account.shared.options.expunged_ranges;
        let mut insert = conn.prepare_cached("INSERT INTO expunged(mbox, modseq, lo, hi) VALUES (?, ?, ?, ?)")?;
        for (lo, hi) in runs {
            insert.execute(params![id.0, modseq.0 as i64, lo, hi])?;
        }
        let work = self.work(id)?;
        work.state.expunged_rows += runs.len() as u32;
        work.is_dirty = true;
        if work.state.expunged_rows > cap {
            // Oldest first, and a tenth at once, so that this is rare. The floor says what is not known any more.
            let forget = work.state.expunged_rows - cap + cap / 10;
            let floor: i64 = conn
                .prepare_cached("SELECT modseq FROM expunged WHERE mbox = ? ORDER BY modseq, lo LIMIT 1 OFFSET ?")?
                .query_row(params![id.0, forget.saturating_sub(1)], |row| row.get(0))?;
            let forgotten = conn
                .prepare_cached("DELETE FROM expunged WHERE mbox = ? AND modseq <= ?")?
                .execute(params![id.0, floor])?;
            work.state.expunged_rows = work.state.expunged_rows.saturating_sub(forgotten as u32);
            work.state.expunged_floor = ModSeq(floor as u64);
        }
        self.has_written = true;
        Ok(())
    }

    pub fn flags_of(&self, flagset: u32) -> Result<FlagSet> {
        let set = self.sets.table().set(flagset);
        set.map(|s| s.set.clone()).ok_or_else(|| Error::Fault(format!("flag set {flagset} is missing")))
    }

    /// Adds keywords that are new to a mailbox, within its bound.
    fn learn_keywords(&mut self, id: MailboxId, keywords: &[Keyword]) -> Result<()> {
        if keywords.is_empty() {
            return Ok(());
        }
        let bound = self.account.shared.options.keywords_per_mailbox;
        let work = self.work(id)?;
        for keyword in keywords {
            if !work.state.keywords.contains(keyword) {
                if work.state.keywords.len() >= bound {
                    return Err(Error::Limit("keywords in a mailbox"));
                }
                Arc::make_mut(&mut work.state.keywords).push(keyword.clone());
                work.is_dirty = true;
            }
        }
        Ok(())
    }

    /// Numbers a set of flags for a message.
    pub fn intern(&mut self, set: &FlagSet) -> Result<u32> {
        self.sets.intern(self.conn, set)
    }

    /// Marks a mailbox as deleted for those who have it open: its rows are all in `removed` now.
    pub fn mark_gone(&mut self, id: MailboxId, modseq: ModSeq) -> Result<()> {
        let work = self.work(id)?;
        work.spans.clear();
        work.dirty_spans.clear();
        work.members_changed = true;
        work.state.is_gone = true;
        work.kinds.went = true;
        work.state.modseq = work.state.modseq.max(modseq);
        work.is_dirty = true;
        let (bytes, messages) = (work.state.counters.bytes, work.state.messages);
        self.growth.bytes -= bytes as i64;
        self.growth.messages -= i64::from(messages);
        Ok(())
    }

    /// Notes a change of the tree for NOTIFY and other sessions.
    pub fn note_change(&mut self, modseq: ModSeq, change: &TreeChange<'_>) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO mailbox_change(modseq, mbox, kind, name, old_name) VALUES (?, ?, ?, ?, ?)",
            )?
            .execute(params![modseq.0 as i64, change.mailbox.0, change.kind as i64, change.name, change.old_name])?;
        self.conn
            .prepare_cached("DELETE FROM mailbox_change WHERE modseq <= ?")?
            .execute([modseq.0 as i64 - TREE_CHANGES_KEPT])?;
        self.has_written = true;
        let (name, old_name) = (change.name.into(), change.old_name.map(Arc::from));
        self.events.push(Event { modseq, what: What::Tree { kind: change.kind, name, old_name } });
        Ok(())
    }
}

/// How far back changes of the tree are remembered, in modseqs.
const TREE_CHANGES_KEPT: i64 = 100_000;

/// What happened to a mailbox's place; numbers as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeChangeKind {
    Create = 1,
    Delete = 2,
    Rename = 3,
    Subscribe = 4,
    Unsubscribe = 5,
}

/// The modseqs one order took: a session knows its own changes by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModSeqs {
    pub after: ModSeq,
    pub until: ModSeq,
}

impl ModSeqs {
    pub fn contains(self, modseq: ModSeq) -> bool {
        self.after < modseq && modseq <= self.until
    }
}

/// The modseq of the account's last change.
pub fn newest_modseq(conn: &Connection) -> Result<ModSeq> {
    let newest: i64 =
        conn.prepare_cached("SELECT value FROM meta WHERE key = 'modseq'")?.query_row([], |row| row.get(0))?;
    Ok(ModSeq(newest as u64))
}

/// A row of `mailbox_change`.
pub struct TreeChange<'a> {
    pub mailbox: MailboxId,
    pub kind: TreeChangeKind,
    pub name: &'a str,
    pub old_name: Option<&'a str>,
}

/// Reads the rows of the span at `lo`.
pub fn read_chunk(conn: &Connection, mailbox: MailboxId, lo: u32) -> Result<Chunk> {
    let mut query = conn.prepare_cached(
        "SELECT uid, modseq, flagset, cid, size FROM message WHERE mbox = ? AND uid BETWEEN ? AND ? ORDER BY uid",
    )?;
    let mut rows = query.query(params![mailbox.0, lo, lo.saturating_add(SPAN_UIDS - 1)])?;
    let mut chunk = Chunk::new();
    while let Some(row) = rows.next()? {
        chunk.push(read_row(row)?);
    }
    Ok(chunk)
}

/// A row from columns uid, modseq, flagset, cid, size.
pub fn read_row(row: &rusqlite::Row<'_>) -> Result<Row> {
    let modseq: i64 = row.get(1)?;
    Ok(Row {
        uid: Uid(row.get(0)?),
        modseq: ModSeq(modseq as u64),
        flagset: row.get(2)?,
        content: ContentId(row.get(3)?),
        size: row.get(4)?,
    })
}
