//! What one session sees of one mailbox: the membership it was last told and the modseq it was told.
//! Numbers and membership come from here, values from the newest state, or from `removed` when the
//! message is gone but this session does not know it yet.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Account;
use super::account::{AccountState, Live, Mailbox, State};
use super::error::{Error, Result};
use super::flagsets::Table;
use super::object_ids;
use super::shared::Shared;
use super::snapshot::{Chunk, Membership, Row, SPAN_UIDS, Span, find, span_of};
use super::turn::{read_chunk, read_row};
use crate::hub::Listener;
use crate::types::{FlagSet, Keyword, MailboxId, MailboxName, ModSeq, ObjectId, SystemFlag, UidRuns, UidValidity};

/// How often a chunk is read again because a commit came between, before it is used without being kept.
const CHUNK_READS: usize = 3;

/// An open mailbox as one session was told of it.
#[derive(Debug)]
pub struct View {
    account: Arc<AccountState>,
    mailbox: Arc<Mailbox>,
    id: u64,
    claims_recent: bool,
    membership: Arc<Membership>,
    modseq: ModSeq,
    uid_next: u32,
    keywords: Arc<Vec<Keyword>>,
    recent: UidRuns,
}

/// What a session at a view has not been told yet.
#[derive(Debug)]
pub struct Changes {
    state: Arc<State>,
    membership: Arc<Membership>,
    /// Messages that are gone.
    pub expunged: UidRuns,
    /// Messages known to this session whose flags changed: their newest rows.
    pub changed: Vec<Row>,
    /// The keywords of the mailbox, when there are new ones.
    pub keywords: Option<Arc<Vec<Keyword>>>,
    /// True when messages came.
    pub has_new: bool,
    /// The mailbox itself was deleted.
    pub is_gone: bool,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.expunged.is_empty() && self.changed.is_empty() && self.keywords.is_none() && !self.has_new && !self.is_gone
    }

    /// HIGHESTMODSEQ after these changes.
    pub fn modseq(&self) -> ModSeq {
        self.state.modseq
    }

    /// How many messages there are after these changes.
    pub fn count(&self) -> u32 {
        self.membership.count()
    }
}

impl Account {
    /// Opens a mailbox. `is_examine` leaves `\Recent` to others (RFC 3501 §6.3.2).
    pub async fn open(&self, name: &MailboxName, is_examine: bool) -> Result<View> {
        let state = &self.state;
        let mailbox = state.tree().named(name).cloned().ok_or(Error::NoSuchMailbox)?;
        if mailbox.is_noselect {
            return Err(Error::NotSelectable);
        }
        let id = state.new_view_id();
        // Registered before the state is looked at, so that the sweep cannot take what this view is about to see.
        mailbox.live.register_view(id, ModSeq(0));
        let mut view = View {
            account: state.clone(),
            id,
            claims_recent: !is_examine,
            membership: Arc::default(),
            modseq: ModSeq(0),
            uid_next: 1,
            keywords: Arc::default(),
            recent: UidRuns::new(),
            mailbox,
        };
        let newest = state.loaded_state(&view.mailbox).await?;
        if newest.is_gone {
            return Err(Error::NoSuchMailbox);
        }
        let membership = newest.loaded.as_ref().map(|l| l.membership.clone()).unwrap_or_default();
        view.move_to(&newest, membership);
        Ok(view)
    }
}

impl AccountState {
    /// The newest state of a mailbox with its spans, which are read first when they have to be.
    pub async fn loaded_state(self: &Arc<Self>, mailbox: &Arc<Mailbox>) -> Result<Arc<State>> {
        let state = mailbox.live.state();
        if state.loaded.is_some() || state.is_gone {
            return Ok(state);
        }
        let id = mailbox.id;
        match self.order(move |turn| turn.work(id).map(|_| ())).await {
            Ok(()) | Err(Error::NoSuchMailbox) => Ok(mailbox.live.state()),
            Err(error) => Err(error),
        }
    }

    /// The rows of one span of a state, from memory or from disk.
    pub async fn chunk(self: &Arc<Self>, mailbox: MailboxId, span: &Arc<Span>) -> Result<Arc<Chunk>> {
        if let Some(chunk) = span.chunk() {
            return Ok(chunk);
        }
        let span = span.clone();
        self.visit(move |conn, account| {
            for attempt in 1.. {
                let before = account.commits.load(Ordering::Acquire);
                let chunk = Arc::new(read_chunk(conn, mailbox, span.lo())?);
                let is_same = before % 2 == 0 && account.commits.load(Ordering::Acquire) == before;
                // Only rows that are surely those of the published span may be shared; newer values
                // are still true ones, so they can be used once.
                let newest = account.tree().with_id(mailbox).map(|m| m.live.state());
                let published = newest.as_ref().and_then(|s| s.loaded.as_ref()).and_then(|l| l.span(span.lo()));
                if is_same && published.is_some_and(|p| Arc::ptr_eq(p, &span)) && span.fill(chunk.clone()) {
                    account.shared.chunks.hold(&span);
                    return Ok(chunk);
                }
                if attempt == CHUNK_READS || is_same {
                    return Ok(chunk);
                }
            }
            Err(Error::Unavailable)
        })
        .await
    }
}

impl View {
    pub fn mailbox(&self) -> MailboxId {
        self.mailbox.id
    }

    pub fn account(&self) -> Account {
        Account { state: self.account.clone() }
    }

    /// The mailbox's MAILBOXID (RFC 8474).
    pub fn mailbox_id(&self) -> ObjectId {
        object_ids::of_mailbox(self.account.id, &self.mailbox)
    }

    pub fn uid_validity(&self) -> UidValidity {
        self.mailbox.uid_validity
    }

    pub fn membership(&self) -> &Arc<Membership> {
        &self.membership
    }

    /// The modseq this session was last told.
    pub fn modseq(&self) -> ModSeq {
        self.modseq
    }

    /// UIDNEXT as last told.
    pub fn uid_next(&self) -> u32 {
        self.uid_next
    }

    pub fn keywords(&self) -> &Arc<Vec<Keyword>> {
        &self.keywords
    }

    pub(super) fn live(&self) -> &Arc<Live> {
        &self.mailbox.live
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.account.shared
    }

    /// The mailbox's newest state.
    pub(super) fn state(&self) -> Arc<State> {
        self.mailbox.live.state()
    }

    /// The keywords of the newest state.
    pub fn newest_keywords(&self) -> Arc<Vec<Keyword>> {
        self.mailbox.live.state().keywords.clone()
    }

    /// The session was told of these keywords ahead of the other changes.
    pub fn know_keywords(&mut self, keywords: Arc<Vec<Keyword>>) {
        self.keywords = keywords;
    }

    /// The messages that are `\Recent` in this session (RFC 3501 §2.3.2).
    pub fn recent(&self) -> &UidRuns {
        &self.recent
    }

    /// How many messages are recent here.
    pub fn recent_count(&self) -> u64 {
        self.membership.select(&self.recent).count()
    }

    /// True once the mailbox was deleted by someone.
    pub fn is_gone(&self) -> bool {
        self.mailbox.live.state().is_gone
    }

    /// True when there may be something to tell. Costs no visit.
    pub fn is_behind(&self) -> bool {
        let state = self.mailbox.live.state();
        state.modseq != self.modseq || state.is_gone
    }

    /// Waits for the next change of this mailbox, with the listener of before if it did so too.
    pub fn listen(&self, before: Option<Listener>) -> Listener {
        self.account.shared.hub.listen_on(before, self.account.id, Some(self.mailbox.id))
    }

    /// The sequence number of the first message without `\Seen`, for SELECT's UNSEEN code.
    pub async fn first_unseen(&self) -> Result<Option<u32>> {
        let state = self.mailbox.live.state();
        let Some(loaded) = &state.loaded else { return Ok(None) };
        for span in loaded.spans.iter().filter(|s| s.counters.unseen > 0) {
            let chunk = self.account.chunk(self.mailbox.id, span).await?;
            let sets = self.account.flagsets.table();
            let unseen = |row: &&Row| sets.set(row.flagset).is_some_and(|s| !s.set.has(SystemFlag::Seen));
            if let Some(seq) = chunk.iter().filter(unseen).find_map(|row| self.membership.seq(row.uid.0)) {
                return Ok(Some(seq));
            }
        }
        Ok(None)
    }

    /// What happened since this session was last told. `own` are the modseqs its own orders returned:
    /// those changes it knows.
    pub async fn changes(&self, own: &[ModSeq]) -> Result<Changes> {
        self.changes_until(self.mailbox.live.state(), own).await
    }

    /// The same up to a state that was the newest a moment ago.
    async fn changes_until(&self, state: Arc<State>, own: &[ModSeq]) -> Result<Changes> {
        let known = self.membership.clone();
        let mut changes = Changes {
            expunged: UidRuns::new(),
            changed: Vec::new(),
            keywords: (state.keywords.len() != self.keywords.len()).then(|| state.keywords.clone()),
            has_new: false,
            is_gone: state.is_gone,
            membership: known.clone(),
            state: state.clone(),
        };
        let Some(loaded) = state.loaded.as_ref().filter(|_| !state.is_gone) else { return Ok(changes) };
        changes.membership = loaded.membership.clone();
        if !Arc::ptr_eq(&known, &loaded.membership) {
            changes.expunged = known.gone_in(&loaded.membership);
            changes.has_new = loaded.membership.count() + changes.expunged.count() as u32 > known.count();
        }
        let since = self.modseq;
        // RFC 7162 §6: a client that was told of a change takes all before it for told. A chunk that is read from the disk
        // may show a later change than those this state has; it is told with all that came before it, next time.
        let told = |modseq: ModSeq| since < modseq && modseq <= state.modseq;
        for span in loaded.spans.iter().filter(|span| span.max_modseq > since.0) {
            let chunk = self.account.chunk(self.mailbox.id, span).await?;
            let is_news = |row: &&Row| told(row.modseq) && !own.contains(&row.modseq) && known.contains(row.uid.0);
            changes.changed.extend(chunk.iter().filter(is_news));
        }
        Ok(changes)
    }

    /// Moves this view on: the session is being told all of `changes`.
    pub fn advance(&mut self, changes: &Changes) {
        if changes.is_gone {
            self.modseq = changes.state.modseq;
            return;
        }
        let (state, membership) = (changes.state.clone(), changes.membership.clone());
        self.move_to(&state, membership);
    }

    fn move_to(&mut self, state: &State, membership: Arc<Membership>) {
        self.membership = membership;
        self.modseq = state.modseq;
        self.uid_next = state.uid_next;
        self.keywords = state.keywords.clone();
        self.mailbox.live.register_view(self.id, state.modseq);
        let live = &self.mailbox.live;
        // \Recent goes to the one session that moves the mark; an EXAMINE looks without moving it.
        let from = if self.claims_recent {
            live.recent_from.fetch_max(state.uid_next, Ordering::AcqRel)
        } else {
            live.recent_from.load(Ordering::Acquire)
        };
        if from < state.uid_next {
            self.recent = self.recent.union(&UidRuns::range(from, state.uid_next - 1));
        }
    }

    /// The interned flag sets, for the numbers in rows.
    pub fn flag_table(&self) -> Arc<Table> {
        self.account.flagsets.table()
    }

    /// Cuts a set of UIDs at span bounds: the pieces [`View::rows`] takes.
    pub fn by_span(&self, uids: &UidRuns) -> Vec<(u32, UidRuns)> {
        let mut pieces: Vec<(u32, UidRuns)> = Vec::new();
        for &(mut lo, hi) in uids.runs() {
            while lo <= hi {
                let span = span_of(lo);
                let end = span.saturating_add(SPAN_UIDS - 1).min(hi);
                match pieces.last_mut() {
                    Some((last, runs)) if *last == span => runs.push_run(lo, end),
                    _ => pieces.push((span, UidRuns::range(lo, end))),
                }
                match end.checked_add(1) {
                    Some(next) => lo = next,
                    None => break,
                }
            }
        }
        pieces
    }

    /// The newest rows of some members of one span. A message that is gone is read where it went,
    /// as long as this view has not been moved past its end.
    pub async fn rows(&self, span: u32, uids: &UidRuns) -> Result<Vec<Row>> {
        let state = self.mailbox.live.state();
        let published = state.loaded.as_ref().and_then(|l| l.span(span)).cloned();
        let chunk = match &published {
            Some(span) => self.account.chunk(self.mailbox.id, span).await?,
            None => Arc::default(),
        };
        let wanted = uids.count() as usize;
        if wanted == chunk.len()
            && let (Some(first), Some(last)) = (chunk.first(), chunk.last())
            && uids.first() == Some(first.uid.0)
            && uids.last() == Some(last.uid.0)
        {
            let rows = (*chunk).clone();
            if rows.iter().map(|r| r.uid.0).eq(uids.iter()) {
                return Ok(rows);
            }
        }
        let mut rows = Vec::with_capacity(wanted);
        let mut missing = UidRuns::new();
        for uid in uids.iter() {
            match find(&chunk, uid) {
                Some(row) => rows.push(*row),
                None => missing.push(uid),
            }
        }
        if !missing.is_empty() {
            let mailbox = self.mailbox.id;
            let removed = self
                .account
                .visit(move |conn, _| {
                    let mut query = conn.prepare_cached(
                        "SELECT uid, modseq, flagset, cid, size FROM removed WHERE mbox = ? AND uid BETWEEN ? AND ?",
                    )?;
                    let mut removed = Vec::new();
                    for (lo, hi) in missing.runs() {
                        let mut found = query.query(rusqlite::params![mailbox.0, lo, hi])?;
                        while let Some(row) = found.next()? {
                            removed.push(read_row(row)?);
                        }
                    }
                    Ok(removed)
                })
                .await?;
            rows.extend(removed);
            rows.sort_unstable_by_key(|row| row.uid);
        }
        Ok(rows)
    }

    /// The newest row of a member, if it is in memory. Costs no visit.
    pub fn row_at_hand(&self, uid: u32) -> Option<Row> {
        let state = self.mailbox.live.state();
        let chunk = state.loaded.as_ref()?.span(span_of(uid))?.chunk()?;
        find(&chunk, uid).copied()
    }

    /// RFC822.SIZE of a message: the octets of its BODY[], which for a few are not those that are stored.
    pub fn told_size(&self, row: &Row) -> u32 {
        self.account.told_size(row)
    }

    /// The flags of a row.
    pub fn flags(&self, row: &Row) -> FlagSet {
        self.account.flagsets.table().set(row.flagset).map(|s| s.set.clone()).unwrap_or_default()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.mailbox.live.forget_view(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailstore::account::Loaded;
    use crate::mailstore::{MailStore, NewMessage, Options, SetFlags};
    use crate::types::command::FlagChange;
    use crate::types::{AccountId, Flag};

    async fn change(view: &View, uid: u32, change: FlagChange) -> ModSeq {
        let order = SetFlags {
            uids: UidRuns::one(uid),
            change,
            flags: FlagSet::from_iter([Flag::System(SystemFlag::Flagged)]),
            unchanged_since: None,
            told: view.modseq(),
            own: Vec::new(),
        };
        view.set_flags(order).await.expect("stored").modseq.expect("a change")
    }

    /// Between the look at the newest state and the reading of its rows another session commits.
    #[tokio::test]
    async fn no_change_is_told_ahead_of_those_before_it() {
        let home = tempfile::tempdir().expect("a folder");
        let options = Options { min_free_bytes: 0, ..Options::default() };
        let store = MailStore::open(home.path(), options).expect("opens");
        let account = store.account(AccountId(1)).await.expect("an account");
        let inbox = MailboxName::inbox();
        for _ in 0..3 {
            let mut draft = account.draft();
            draft.write(b"\r\nx\r\n").await.expect("taken");
            let prepared = draft.finish().await.expect("whole");
            let message = NewMessage { prepared, flags: FlagSet::new(), internal_date: None };
            account.place(&inbox, vec![message]).await.expect("placed");
        }
        let mut view = account.open(&inbox, true).await.expect("open");
        let first = change(&view, 1, FlagChange::Add).await;
        let mut then = (*view.state()).clone();
        let mailbox = view.mailbox();
        // Its rows are not in memory.
        then.loaded = Some(account.state.visit(move |conn, _| Loaded::read(conn, mailbox)).await.expect("read"));
        let second = change(&view, 2, FlagChange::Add).await;
        let third = change(&view, 1, FlagChange::Remove).await;
        assert!(first < second && second <= third);

        let changes = view.changes_until(then.into(), &[]).await.expect("changes");
        let ahead: Vec<&Row> = changes.changed.iter().filter(|row| row.modseq > changes.modseq()).collect();
        assert!(ahead.is_empty(), "told {ahead:?} when the state is {:?}", changes.modseq());
        view.advance(&changes);
        let rest = view.changes(&[]).await.expect("changes");
        let told: Vec<u32> = changes.changed.iter().chain(&rest.changed).map(|row| row.uid.0).collect();
        assert_eq!((told, rest.modseq()), (vec![1, 2], third), "each is told, with its newest value");
        store.close();
    }
}
