//! One account in memory: its tree of mailboxes, their newest published state, its interned flag
//! sets, and its queue. Everything here can be read anew from `mail.db` at any time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use rusqlite::Connection;

use super::error::{Error, Result};
use super::events::Events;
use super::flagsets::FlagSets;
use super::gate::Gate;
use super::owner::{Queue, lock};
use super::quota::{QuotaLimits, Usage};
use super::retold::Retold;
use super::shared::Shared;
use super::snapshot::{Counters, Members, Membership, Span};
use super::turn::newest_modseq;
use crate::types::{AccountId, ContentId, Keyword, MailboxId, MailboxName, ModSeq, UidValidity};

/// `attrs` bit: the mailbox is there for its children only.
pub const ATTR_NOSELECT: i64 = 1;

/// A mailbox's place in the tree. Replaced, never changed; `live` goes along.
#[derive(Debug, Clone)]
pub struct Mailbox {
    pub id: MailboxId,
    pub name: MailboxName,
    pub uid_validity: UidValidity,
    pub is_noselect: bool,
    /// A special-use attribute such as `\Sent`, or empty (RFC 6154 §2).
    pub special_use: Arc<str>,
    pub live: Arc<Live>,
}

/// What changes in a mailbox: the newest state, and who reads it.
#[derive(Debug)]
pub struct Live {
    pub id: MailboxId,
    state: RwLock<Arc<State>>,
    /// UIDs from here on have not been shown as `\Recent` to anyone.
    pub recent_from: AtomicU32,
    /// Open views with the modseq each was last told, so that the sweep keeps what they still read.
    views: Mutex<HashMap<u64, ModSeq>>,
}

impl Live {
    pub fn new(id: MailboxId, state: State, recent_from: u32) -> Self {
        Live {
            id,
            state: RwLock::new(Arc::new(state)),
            recent_from: AtomicU32::new(recent_from),
            views: Mutex::default(),
        }
    }

    pub fn state(&self) -> Arc<State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn publish(&self, state: Arc<State>) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    pub fn register_view(&self, view: u64, told: ModSeq) {
        lock(&self.views).insert(view, told);
    }

    /// True while anyone has the mailbox open.
    pub fn has_views(&self) -> bool {
        !lock(&self.views).is_empty()
    }

    pub fn forget_view(&self, view: u64) {
        lock(&self.views).remove(&view);
    }

    /// The lowest modseq any open view stands at.
    pub fn oldest_view(&self) -> Option<ModSeq> {
        lock(&self.views).values().min().copied()
    }
}

/// A mailbox at one commit.
#[derive(Debug, Clone)]
pub struct State {
    pub uid_next: u32,
    /// HIGHESTMODSEQ.
    pub modseq: ModSeq,
    pub messages: u32,
    pub counters: Counters,
    /// Keywords in use here, in the order they first came.
    pub keywords: Arc<Vec<Keyword>>,
    /// Expunges up to this modseq may have been forgotten.
    pub expunged_floor: ModSeq,
    pub expunged_rows: u32,
    /// The mailbox was deleted; those who had it open go on reading.
    pub is_gone: bool,
    /// Known once someone opened the mailbox or changed it.
    pub loaded: Option<Loaded>,
}

impl State {
    /// A mailbox that was made just now.
    pub fn fresh() -> Self {
        State {
            uid_next: 1,
            modseq: ModSeq::FIRST,
            messages: 0,
            counters: Counters::default(),
            keywords: Arc::default(),
            expunged_floor: ModSeq(0),
            expunged_rows: 0,
            is_gone: false,
            loaded: Some(Loaded::new(Vec::new())),
        }
    }
}

/// The part of a state that is read from the span rows.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub spans: Vec<Arc<Span>>,
    pub membership: Arc<Membership>,
}

impl Loaded {
    pub fn new(spans: Vec<Arc<Span>>) -> Self {
        let membership = Arc::new(Membership::new(spans.iter().map(|s| s.members.clone()).collect()));
        Loaded { spans, membership }
    }

    /// The span of `lo`, if it has ever had a message.
    pub fn span(&self, lo: u32) -> Option<&Arc<Span>> {
        self.spans.binary_search_by_key(&lo, |s| s.lo()).ok().map(|at| &self.spans[at])
    }

    /// Reads a mailbox's spans.
    pub fn read(conn: &Connection, mailbox: MailboxId) -> Result<Self> {
        let mut query = conn.prepare_cached(
            "SELECT lo, count, unseen, deleted, deleted_bytes, bytes, max_modseq, members
             FROM span WHERE mbox = ? ORDER BY lo",
        )?;
        let mut rows = query.query([mailbox.0])?;
        let mut spans = Vec::new();
        while let Some(row) = rows.next()? {
            let (lo, count): (u32, u32) = (row.get(0)?, row.get(1)?);
            let stored: Option<Vec<u8>> = row.get(7)?;
            let members = Members::restore(lo, count, stored.as_deref())
                .ok_or_else(|| Error::Fault(format!("span {lo} of mailbox {mailbox} is damaged")))?;
            let (deleted_bytes, bytes, max_modseq): (i64, i64, i64) = (row.get(4)?, row.get(5)?, row.get(6)?);
            spans.push(Arc::new(Span::stored(
                members,
                Counters {
                    unseen: row.get(2)?,
                    deleted: row.get(3)?,
                    deleted_bytes: deleted_bytes as u64,
                    bytes: bytes as u64,
                },
                max_modseq as u64,
            )));
        }
        Ok(Loaded::new(spans))
    }
}

/// All mailboxes of an account by name and by id, and the names subscribed to.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    by_name: BTreeMap<Arc<str>, Arc<Mailbox>>,
    by_id: HashMap<MailboxId, Arc<Mailbox>>,
    pub subscriptions: Arc<BTreeSet<Arc<str>>>,
}

impl Tree {
    pub fn named(&self, name: &MailboxName) -> Option<&Arc<Mailbox>> {
        self.by_name.get(name.as_str())
    }

    pub fn with_id(&self, id: MailboxId) -> Option<&Arc<Mailbox>> {
        self.by_id.get(&id)
    }

    /// All mailboxes by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Mailbox>> {
        self.by_name.values()
    }

    /// The mailboxes somewhere below `name`.
    pub fn below<'a>(&'a self, name: &'a MailboxName) -> impl Iterator<Item = &'a Arc<Mailbox>> + 'a {
        let from: Arc<str> = format!("{name}/").into();
        self.by_name.range(from..).map(|(_, mailbox)| mailbox).take_while(|m| m.name.is_below(name))
    }

    pub fn has_children(&self, name: &MailboxName) -> bool {
        self.below(name).next().is_some()
    }

    pub fn count(&self) -> usize {
        self.by_name.len()
    }

    pub fn insert(&mut self, mailbox: Arc<Mailbox>) {
        self.by_id.insert(mailbox.id, mailbox.clone());
        self.by_name.insert(mailbox.name.as_str().into(), mailbox);
    }

    pub fn remove(&mut self, name: &MailboxName) -> Option<Arc<Mailbox>> {
        let mailbox = self.by_name.remove(name.as_str())?;
        self.by_id.remove(&mailbox.id);
        Some(mailbox)
    }

    /// Reads the whole tree. Mailboxes that `known` holds keep their `Live`, so that open views stay attached.
    fn read(conn: &Connection, known: &Tree) -> Result<Self> {
        struct Stored {
            parent: i64,
            name: String,
            mailbox: (MailboxId, UidValidity, bool, Arc<str>, State, u32),
        }
        let mut query = conn.prepare_cached(
            "SELECT id, parent, name, uidvalidity, uidnext, modseq, recent_from, attrs, special_use, messages, unseen,
                    deleted, bytes, keywords, expunged_floor, expunged_rows, deleted_bytes FROM mailbox",
        )?;
        let mut rows = query.query([])?;
        let mut stored: HashMap<i64, Stored> = HashMap::new();
        while let Some(row) = rows.next()? {
            let (modseq, bytes, floor): (i64, i64, i64) = (row.get(5)?, row.get(12)?, row.get(14)?);
            let deleted_bytes: i64 = row.get(16)?;
            let keywords: String = row.get(13)?;
            let state = State {
                uid_next: row.get(4)?,
                modseq: ModSeq(modseq as u64),
                messages: row.get(9)?,
                counters: Counters {
                    unseen: row.get(10)?,
                    deleted: row.get(11)?,
                    deleted_bytes: deleted_bytes as u64,
                    bytes: bytes as u64,
                },
                keywords: Arc::new(keywords.split_ascii_whitespace().filter_map(Keyword::new).collect()),
                expunged_floor: ModSeq(floor as u64),
                expunged_rows: row.get(15)?,
                is_gone: false,
                loaded: None,
            };
            let special: String = row.get(8)?;
            let is_noselect = row.get::<_, i64>(7)? & ATTR_NOSELECT != 0;
            let id = row.get(0)?;
            let mailbox =
                (MailboxId(id), UidValidity(row.get(3)?), is_noselect, special.into(), state, row.get::<_, u32>(6)?);
            stored.insert(id, Stored { parent: row.get(1)?, name: row.get(2)?, mailbox });
        }
        let path = |id: i64| -> Result<String> {
            let (mut levels, mut at) = (Vec::new(), id);
            while at != 0 {
                let here = stored.get(&at).ok_or_else(|| Error::Fault(format!("mailbox {at} is missing")))?;
                levels.push(here.name.as_str());
                at = here.parent;
                if levels.len() > MailboxName::MAX_LEVELS {
                    return Err(Error::Fault(format!("mailbox {id} is its own ancestor")));
                }
            }
            levels.reverse();
            Ok(levels.join("/"))
        };
        let mut tree = Tree::default();
        for (id, row) in &stored {
            let name = MailboxName::new(&path(*id)?).map_err(|bad| Error::Fault(format!("mailbox {id}: {bad}")))?;
            let (id, uid_validity, is_noselect, special_use, state, recent_from) = row.mailbox.clone();
            let live = match known.with_id(id) {
                Some(old) => {
                    let mut state = state;
                    if old.live.state().loaded.is_some() {
                        state.loaded = Some(Loaded::read(conn, id)?);
                    }
                    old.live.publish(Arc::new(state));
                    old.live.clone()
                }
                None => Arc::new(Live::new(id, state, recent_from)),
            };
            tree.insert(Arc::new(Mailbox { id, name, uid_validity, is_noselect, special_use, live }));
        }
        let mut query = conn.prepare_cached("SELECT name FROM subscription")?;
        let names = query.query_map([], |row| row.get::<_, String>(0))?;
        tree.subscriptions = Arc::new(names.map(|n| n.map(Arc::from)).collect::<rusqlite::Result<_>>()?);
        Ok(tree)
    }
}

/// An account with its queue, its connections and its memory.
pub struct AccountState {
    pub id: AccountId,
    pub dir: PathBuf,
    pub shared: Arc<Shared>,
    /// Passed by every visit and turn; shut when the files are about to be exchanged.
    pub gate: Gate,
    pub queue: Mutex<Queue>,
    pub writer: Mutex<Option<Connection>>,
    pub reader_connections: Mutex<Vec<Connection>>,
    /// Grows when pooled connections are closed; a borrowed one of an older generation is not given back.
    pub generation: AtomicU64,
    /// After a failed commit: memory has to be read anew before it is believed.
    pub is_distrusted: AtomicBool,
    /// Odd while a commit is being published, so a reader can tell whether what it read is what memory says.
    pub commits: AtomicU64,
    tree: RwLock<Arc<Tree>>,
    pub flagsets: FlagSets,
    /// Messages that are told otherwise than they are stored.
    pub retold: Retold,
    pub events: Events,
    /// What all mailboxes use together.
    pub usage: RwLock<Usage>,
    /// Limits of this account's own.
    pub quota: RwLock<Option<QuotaLimits>>,
    /// Files of bodies that are on disk but whose row is not committed yet: the sweep leaves them.
    pub files_in_flight: Mutex<BTreeSet<String>>,
    /// Content rows written ahead of their messages: the sweep leaves them.
    pub contents_in_flight: Mutex<HashMap<u32, u32>>,
    /// Files that lost their purpose and may be unlinked by the next sweep.
    pub orphans: Mutex<Vec<String>>,
    /// Contents whose octets were found damaged: the next reader is told at once.
    pub corrupt: Mutex<BTreeSet<ContentId>>,
    /// Deleted mailboxes that someone may still have open.
    pub gone_mailboxes: Mutex<Vec<Weak<Live>>>,
    /// Whether the rules on old mail were carried out since the account was opened.
    pub was_emptied: AtomicBool,
    last_touched: AtomicI64,
    next_view: AtomicU64,
}

impl std::fmt::Debug for AccountState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccountState({})", self.id)
    }
}

impl AccountState {
    /// An account whose `mail.db` is there and of this program's schema.
    pub fn read(id: AccountId, dir: PathBuf, shared: Arc<Shared>, conn: Connection) -> Result<Self> {
        let state = AccountState {
            id,
            dir,
            gate: Gate::default(),
            queue: Mutex::default(),
            writer: Mutex::default(),
            reader_connections: Mutex::default(),
            generation: AtomicU64::new(0),
            is_distrusted: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            tree: RwLock::default(),
            flagsets: FlagSets::default(),
            retold: Retold::default(),
            events: Events::default(),
            usage: RwLock::default(),
            quota: RwLock::default(),
            files_in_flight: Mutex::default(),
            contents_in_flight: Mutex::default(),
            orphans: Mutex::default(),
            corrupt: Mutex::default(),
            gone_mailboxes: Mutex::default(),
            was_emptied: AtomicBool::new(false),
            last_touched: AtomicI64::new(shared.clock.now_secs()),
            next_view: AtomicU64::new(1),
            shared,
        };
        state.reload(&conn)?;
        state.events.start(newest_modseq(&conn)?);
        *lock(&state.writer) = Some(conn);
        state.shared.connection_opened(id);
        Ok(state)
    }

    /// Believes what is on disk, and nothing else.
    pub fn reload(&self, conn: &Connection) -> Result<()> {
        self.flagsets.read(conn)?;
        self.retold.read(conn)?;
        self.shared.kept_orders.forget(self.id);
        self.publish_quota(Self::read_quota(conn)?);
        let tree = Tree::read(conn, &self.tree())?;
        self.publish_usage(Usage::of(&tree));
        self.publish_tree(Arc::new(tree));
        self.is_distrusted.store(false, Ordering::Release);
        Ok(())
    }

    pub fn mail_db(&self) -> PathBuf {
        self.dir.join("mail.db")
    }

    pub fn tree(&self) -> Arc<Tree> {
        self.tree.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn publish_tree(&self, tree: Arc<Tree>) {
        *self.tree.write().unwrap_or_else(PoisonError::into_inner) = tree;
    }

    /// Closes what is not in use just now; a turn that is running keeps its connection.
    pub fn close_idle_connections(&self) {
        let mut closed = lock(&self.reader_connections).drain(..).count();
        if let Ok(mut writer) = self.writer.try_lock() {
            closed += usize::from(writer.take().is_some());
        }
        self.shared.connections_closed(closed);
    }

    pub fn new_view_id(&self) -> u64 {
        self.next_view.fetch_add(1, Ordering::Relaxed)
    }

    pub fn touch(&self) {
        self.last_touched.store(self.shared.clock.now_secs(), Ordering::Relaxed);
    }

    /// Puts the time of the last use back: housekeeping is no use.
    pub fn untouch(&self, secs: i64) {
        self.last_touched.store(secs, Ordering::Relaxed);
    }

    /// The length of the write-ahead log in bytes.
    pub fn wal_bytes(&self) -> u64 {
        std::fs::metadata(self.dir.join("mail.db-wal")).map_or(0, |m| m.len())
    }

    /// Seconds since 1970 of the last visit or order.
    pub fn last_touched(&self) -> i64 {
        self.last_touched.load(Ordering::Relaxed)
    }
}
