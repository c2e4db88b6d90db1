//! One writer's turn: the orders of a transaction, each in a savepoint, working on copies of the
//! published states. What they changed is written back and published together, or not at all.

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, params};

use super::account::{AccountState, Live, Loaded, Mailbox, State, Tree};
use super::crash;
use super::error::{Error, Result};
use super::flagsets::TurnSets;
use super::owner::Queued;
use super::snapshot::{Chunk, Membership, Row, SPAN_UIDS, Span, span_of};
use crate::metrics::METRICS;
use crate::types::{ContentId, FlagSet, Keyword, MailboxId, MailboxName, ModSeq, SystemFlag, Uid};

/// A mailbox under change.
#[derive(Debug, Clone)]
pub struct Work {
    pub live: Arc<Live>,
    pub state: State,
    pub spans: Vec<Arc<Span>>,
    dirty_spans: BTreeSet<u32>,
    is_dirty: bool,
    members_changed: bool,
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
    modseq: u64,
    first_modseq: u64,
    works: HashMap<MailboxId, Work>,
    undo: Vec<(MailboxId, Option<Work>)>,
    tree: Option<Arc<Tree>>,
    undo_tree: Option<Option<Arc<Tree>>>,
    has_written: bool,
}

impl<'a> Turn<'a> {
    pub fn new(conn: &'a Connection, account: &'a Arc<AccountState>) -> Result<Self> {
        let modseq: i64 =
            conn.prepare_cached("SELECT value FROM meta WHERE key = 'modseq'")?.query_row([], |row| row.get(0))?;
        Ok(Turn {
            conn,
            account,
            sets: TurnSets::new(&account.flagsets),
            now: account.shared.clock.now_secs(),
            modseq: modseq as u64,
            first_modseq: modseq as u64,
            works: HashMap::new(),
            undo: Vec::new(),
            tree: None,
            undo_tree: None,
            has_written: false,
        })
    }

    /// Runs one order in a savepoint. The outer error means that the transaction is lost.
    pub fn run(&mut self, order: &mut dyn Queued) -> Result<Result<()>> {
        self.conn.prepare_cached("SAVEPOINT one_order")?.execute([])?;
        let (mark, modseq) = (self.sets.mark(), self.modseq);
        self.undo.clear();
        self.undo_tree = None;
        let outcome = catch_unwind(AssertUnwindSafe(|| order.run(self)))
            .unwrap_or_else(|_| Err(Error::Fault("an order ended in a panic".into())));
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
            self.modseq = modseq;
        }
        self.conn.prepare_cached("RELEASE one_order")?.execute([])?;
        if let Err(Error::Fault(text)) = &outcome {
            METRICS.store_faults.add(1);
            tracing::error!(account = self.account.id.0, fault = %text, "store order failed");
        }
        Ok(outcome)
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
        let (unseen, deleted) = (!set.has(SystemFlag::Seen), set.has(SystemFlag::Deleted));
        span.unseen += u32::from(unseen);
        span.deleted += u32::from(deleted);
        span.bytes += u64::from(row.size);
        span.max_modseq = span.max_modseq.max(row.modseq.0);
        work.state.messages += 1;
        work.state.unseen += u32::from(unseen);
        work.state.deleted += u32::from(deleted);
        work.state.bytes += u64::from(row.size);
        work.state.modseq = work.state.modseq.max(row.modseq);
        work.members_changed = true;
        self.has_written = true;
        Ok(())
    }

    /// Takes messages of one span out of the counts; their rows were moved away just now.
    pub fn take_rows(&mut self, id: MailboxId, lo: u32, gone: &[Row], modseq: ModSeq) -> Result<()> {
        let (mut unseen, mut deleted, mut bytes) = (0, 0, 0);
        for row in gone {
            let set = self.flags_of(row.flagset)?;
            unseen += u32::from(!set.has(SystemFlag::Seen));
            deleted += u32::from(set.has(SystemFlag::Deleted));
            bytes += u64::from(row.size);
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
        span.unseen -= unseen;
        span.deleted -= deleted;
        span.bytes -= bytes;
        work.state.messages -= gone.len() as u32;
        work.state.unseen -= unseen;
        work.state.deleted -= deleted;
        work.state.bytes -= bytes;
        work.state.modseq = work.state.modseq.max(modseq);
        work.members_changed = true;
        self.has_written = true;
        Ok(())
    }

    /// Gives messages of one span new flags; their rows in `message` were changed just now.
    pub fn change_rows(&mut self, id: MailboxId, lo: u32, changed: &[(Row, u32)], modseq: ModSeq) -> Result<()> {
        let (mut unseen, mut deleted) = (0i64, 0i64);
        let mut sets: Vec<u32> = Vec::new();
        for (row, flagset) in changed {
            let (old, new) = (self.flags_of(row.flagset)?, self.flags_of(*flagset)?);
            unseen += i64::from(!new.has(SystemFlag::Seen)) - i64::from(!old.has(SystemFlag::Seen));
            deleted += i64::from(new.has(SystemFlag::Deleted)) - i64::from(old.has(SystemFlag::Deleted));
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
        let moved = |n: u32, by: i64| u32::try_from(i64::from(n) + by).unwrap_or(0);
        span.unseen = moved(span.unseen, unseen);
        span.deleted = moved(span.deleted, deleted);
        span.max_modseq = span.max_modseq.max(modseq.0);
        work.state.unseen = moved(work.state.unseen, unseen);
        work.state.deleted = moved(work.state.deleted, deleted);
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
        work.state.modseq = work.state.modseq.max(modseq);
        work.is_dirty = true;
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
        Ok(())
    }

    /// Writes back what changed, commits, publishes, and tells the hub.
    pub fn commit(mut self) -> Result<()> {
        let mut changed: Vec<MailboxId> = self.works.iter().filter(|(_, w)| w.is_dirty).map(|(id, _)| *id).collect();
        changed.sort();
        for id in &changed {
            self.write_back(*id)?;
        }
        let must_commit = self.has_written || !changed.is_empty();
        if must_commit {
            if self.modseq != self.first_modseq {
                self.conn
                    .prepare_cached("UPDATE meta SET value = ? WHERE key = 'modseq'")?
                    .execute([self.modseq as i64])?;
            }
            crash::point("order.before_commit");
            self.account.commits.fetch_add(1, Ordering::AcqRel);
            let committed = self.conn.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
            if let Err(error) = committed {
                self.account.commits.fetch_add(1, Ordering::AcqRel);
                let _ = self.conn.execute_batch("ROLLBACK");
                return Err(error.into());
            }
            METRICS.store_commits.add(1);
            crash::point("order.after_commit");
        } else {
            self.conn.prepare_cached("ROLLBACK")?.execute([])?;
        }
        crash::point("order.before_publish");
        self.publish(must_commit);
        Ok(())
    }

    fn publish(self, is_change: bool) {
        let Turn { account, sets, works, tree, .. } = self;
        sets.publish(&account.flagsets);
        let mut told = Vec::new();
        for (id, mut work) in works {
            work.spans.retain(|span| span.members.count > 0);
            let mut state = work.state;
            let old = state.loaded.take();
            let membership = match old {
                Some(old) if !work.members_changed => old.membership,
                _ => Loaded::new(work.spans.clone()).membership,
            };
            for span in work.spans.iter().filter(|s| work.dirty_spans.contains(&s.lo()) && s.chunk().is_some()) {
                account.shared.chunks.hold(span);
            }
            if work.is_dirty {
                told.push((id, state.modseq));
            }
            state.loaded = Some(Loaded { spans: work.spans, membership });
            if state.is_gone {
                super::owner::lock(&account.gone_mailboxes).push(Arc::downgrade(&work.live));
            }
            work.live.publish(Arc::new(state));
        }
        if let Some(tree) = tree {
            account.publish_tree(tree);
        }
        if is_change {
            account.commits.fetch_add(1, Ordering::AcqRel);
        }
        for (id, modseq) in told {
            account.shared.hub.tell(account.id, id, modseq);
        }
    }

    fn write_back(&mut self, id: MailboxId) -> Result<()> {
        let Some(work) = self.works.get(&id) else { return Ok(()) };
        if work.state.is_gone {
            return Ok(());
        }
        let mut write = self.conn.prepare_cached(
            "INSERT OR REPLACE INTO span(mbox, lo, count, unseen, deleted, bytes, max_modseq, members)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        for lo in &work.dirty_spans {
            let Ok(at) = work.spans.binary_search_by_key(lo, |s| s.lo()) else { continue };
            let span = &work.spans[at];
            if span.members.count == 0 {
                self.conn.prepare_cached("DELETE FROM span WHERE mbox = ? AND lo = ?")?.execute(params![id.0, lo])?;
                continue;
            }
            write.execute(params![
                id.0,
                lo,
                span.members.count,
                span.unseen,
                span.deleted,
                span.bytes as i64,
                span.max_modseq as i64,
                span.members.stored(),
            ])?;
        }
        let state = &work.state;
        let keywords: Vec<&str> = state.keywords.iter().map(Keyword::as_str).collect();
        self.conn
            .prepare_cached(
                "UPDATE mailbox SET uidnext = ?, modseq = ?, recent_from = ?, messages = ?, unseen = ?, deleted = ?,
                        bytes = ?, keywords = ?, expunged_floor = ?, expunged_rows = ? WHERE id = ?",
            )?
            .execute(params![
                state.uid_next,
                state.modseq.0 as i64,
                work.live.recent_from.load(Ordering::Relaxed),
                state.messages,
                state.unseen,
                state.deleted,
                state.bytes as i64,
                keywords.join(" "),
                state.expunged_floor.0 as i64,
                state.expunged_rows,
                id.0,
            ])?;
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
