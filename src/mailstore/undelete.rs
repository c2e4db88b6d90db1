//! Bringing removed messages back. What EXPUNGE, DELETE and a MOVE take away stays in `removed` for a while; from
//! there it returns with its flags, under a new UID, into the folder it was in. What a MOVE took is still where it was
//! moved to, so it is left out, and so by default is whatever has its content in some folder today.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, params};

use super::Account;
use super::arrive::Arrival;
use super::error::{Error, Result};
use super::traces::Traces;
use super::turn::Turn;
use crate::message::decode_header_value;
use crate::types::date::DateTime;
use crate::types::{ContentId, FlagSet, MailboxId, MailboxName, ModSeq, SystemFlag};

/// Where a message goes whose folder nobody remembers.
const LOST_FOLDER: &str = "Recovered";

/// Which removed messages are meant; the default means all.
#[derive(Debug, Clone, Default)]
pub struct RemovedFilter {
    /// Only what was removed then or later, in seconds since 1970.
    pub since: Option<i64>,
    /// Only what was in this folder; naming one also brings back what another folder still has.
    pub mailbox: Option<MailboxName>,
    /// Also what is still in some other folder.
    pub with_copies: bool,
}

/// A message that can be brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedMessage {
    /// The folder it was in.
    pub mailbox: String,
    /// Seconds since 1970 when it was removed.
    pub removed_at: i64,
    /// INTERNALDATE.
    pub date: DateTime,
    /// In octets.
    pub size: u32,
    /// Decoded; empty when it has none.
    pub subject: String,
}

/// What an undelete did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undeleted {
    /// How many messages came back into which folder.
    pub mailboxes: BTreeMap<String, u64>,
    /// Folders that were made for it.
    pub created: Vec<String>,
    /// Messages left out because their content is in a folder still, or again.
    pub still_there: u64,
}

/// A row of `removed`.
pub(super) struct Gone {
    pub mbox: i64,
    pub uid: u32,
    flagset: u32,
    pub date: DateTime,
    size: u32,
    pub cid: u32,
    pub at: i64,
    pub gone: i64,
}

#[cfg(test)]
impl Gone {
    /// A row of which only these matter.
    pub fn in_test((mbox, uid): (i64, u32), date: DateTime, cid: u32, (at, gone): (i64, i64)) -> Gone {
        Gone { mbox, uid, flagset: 0, date, size: 1, cid, at, gone }
    }
}

/// Decided from one moment of the database.
struct Plan {
    rows: Vec<Gone>,
    /// The folder each mailbox number was, by its name now or when it was deleted, and its use.
    folders: HashMap<i64, (String, String)>,
    still_there: u64,
}

impl Account {
    /// What [`Account::undelete`] would bring back, newest removal first, at most `most` of it; and how many are
    /// left out because their content is still in a folder.
    pub async fn removed(&self, filter: RemovedFilter, most: usize) -> Result<(Vec<RemovedMessage>, Undeleted)> {
        self.state
            .long_visit(move |conn, _| {
                let transaction = conn.unchecked_transaction()?;
                let mut plan = Plan::make(conn, &filter)?;
                let mut summary = Undeleted { still_there: plan.still_there, ..Undeleted::default() };
                for row in &plan.rows {
                    *summary.mailboxes.entry(plan.folder(row.mbox)).or_default() += 1;
                }
                plan.rows.sort_by_key(|row| std::cmp::Reverse((row.at, row.mbox, row.uid)));
                let mut listed = Vec::new();
                for row in plan.rows.iter().take(most) {
                    listed.push(RemovedMessage {
                        mailbox: plan.folder(row.mbox),
                        removed_at: row.at,
                        date: row.date,
                        size: row.size,
                        subject: subject_of(conn, row.cid)?,
                    });
                }
                drop(transaction);
                Ok((listed, summary))
            })
            .await
    }

    /// Brings removed messages back, all or none of those meant: into the folders they were in, which are made again
    /// if need be, or all of them into `to`. Done twice it changes nothing the second time.
    pub async fn undelete(&self, filter: RemovedFilter, to: Option<MailboxName>) -> Result<Undeleted> {
        self.state.order(move |turn| turn.undelete(&filter, to.as_ref())).await
    }
}

impl Plan {
    fn make(conn: &Connection, filter: &RemovedFilter) -> Result<Plan> {
        let folders = folders(conn)?;
        let mut plan = Plan { rows: Vec::new(), folders, still_there: 0 };
        let traces = Traces::read(conn)?;
        let mut query = conn.prepare_cached(
            "SELECT mbox, uid, flagset, idate, idate_zone, size, cid, at, gone FROM removed WHERE at >= ?
             ORDER BY mbox, uid",
        )?;
        let mut rows = query.query([filter.since.unwrap_or(i64::MIN)])?;
        while let Some(row) = rows.next()? {
            let date = DateTime { unix_seconds: row.get(3)?, zone_minutes: row.get(4)? };
            let row = Gone {
                mbox: row.get(0)?,
                uid: row.get(1)?,
                flagset: row.get(2)?,
                date,
                size: row.get(5)?,
                cid: row.get(6)?,
                at: row.get(7)?,
                gone: row.get(8)?,
            };
            let is_meant = filter.mailbox.as_ref().is_none_or(|name| plan.folder(row.mbox) == name.as_str());
            if !is_meant || traces.was_moved(&row) {
                continue;
            }
            let takes_copies = filter.with_copies || filter.mailbox.is_some();
            if !takes_copies && traces.is_somewhere(&row) {
                plan.still_there += 1;
                continue;
            }
            plan.rows.push(row);
        }
        Ok(plan)
    }

    fn folder(&self, mbox: i64) -> String {
        self.folders.get(&mbox).map_or_else(|| LOST_FOLDER.to_owned(), |(path, _)| path.clone())
    }
}

/// The names of all mailboxes there are, and of those that were deleted.
fn folders(conn: &Connection) -> Result<HashMap<i64, (String, String)>> {
    let mut levels: HashMap<i64, (i64, String, String)> = HashMap::new();
    let mut query = conn.prepare_cached("SELECT id, parent, name, special_use FROM mailbox")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        levels.insert(row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?));
    }
    let mut folders = HashMap::new();
    for (id, (_, _, special_use)) in &levels {
        let (mut path, mut at) = (Vec::new(), *id);
        while let Some((parent, name, _)) = levels.get(&at).filter(|_| path.len() <= MailboxName::MAX_LEVELS) {
            path.push(name.as_str());
            at = *parent;
        }
        path.reverse();
        folders.insert(*id, (path.join("/"), special_use.clone()));
    }
    let mut query = conn.prepare_cached("SELECT id, path, special_use FROM removed_mailbox")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        folders.entry(row.get(0)?).or_insert((row.get(1)?, row.get(2)?));
    }
    Ok(folders)
}

impl Turn<'_> {
    fn undelete(&mut self, filter: &RemovedFilter, to: Option<&MailboxName>) -> Result<Undeleted> {
        let plan = Plan::make(self.conn, filter)?;
        let mut done = Undeleted { still_there: plan.still_there, ..Undeleted::default() };
        let mut traces = Traces::read(self.conn)?;
        let mut targets: HashMap<i64, (MailboxId, String)> = HashMap::new();
        let mut modseq: Option<ModSeq> = None;
        for row in &plan.rows {
            let (target, name) = match targets.get(&row.mbox) {
                Some(target) => target.clone(),
                None => {
                    let target = self.target(&plan, row.mbox, to, &mut done.created)?;
                    targets.insert(row.mbox, target.clone());
                    target
                }
            };
            if traces.is_in(target, row) {
                done.still_there += 1;
                continue;
            }
            let modseq = match modseq {
                Some(modseq) => modseq,
                None => *modseq.insert(self.next_modseq()),
            };
            let arrival = Arrival {
                content: ContentId(row.cid),
                size: row.size,
                flags: without_deleted(&self.flags_of(row.flagset)?),
                date: row.date,
            };
            self.arrive(target, &arrival, modseq)?;
            // A session that was not told of the removal still reads the old row; then both refer to the content.
            if self.is_still_read(MailboxId(row.mbox), ModSeq(row.gone as u64)) {
                self.conn.prepare_cached("UPDATE content SET refs = refs + 1 WHERE id = ?")?.execute([row.cid])?;
            } else {
                self.conn
                    .prepare_cached("DELETE FROM removed WHERE mbox = ? AND uid = ?")?
                    .execute(params![row.mbox, row.uid])?;
                self.forget_moves(&mut traces, row)?;
            }
            *done.mailboxes.entry(name).or_default() += 1;
        }
        Ok(done)
    }

    /// With the row of a message that came back goes what tells that older rows of it were moved there. Those go too, or
    /// the next undelete would take each for a message of its own.
    fn forget_moves(&mut self, traces: &mut Traces, row: &Gone) -> Result<()> {
        for (mbox, uid, gone) in traces.moved_from(row) {
            if self.is_still_read(MailboxId(mbox), ModSeq(gone as u64)) {
                continue;
            }
            let mut forget = self.conn.prepare_cached("DELETE FROM removed WHERE mbox = ? AND uid = ?")?;
            if forget.execute(params![mbox, uid])? == 1 {
                self.conn.prepare_cached("UPDATE content SET refs = refs - 1 WHERE id = ?")?.execute([row.cid])?;
            }
        }
        Ok(())
    }

    /// The folder that messages of `mbox` come back into.
    fn target(
        &mut self,
        plan: &Plan,
        mbox: i64,
        to: Option<&MailboxName>,
        created: &mut Vec<String>,
    ) -> Result<(MailboxId, String)> {
        if to.is_none()
            && let Some(mailbox) = self.tree().with_id(MailboxId(mbox))
            && !mailbox.is_noselect
        {
            return Ok((mailbox.id, mailbox.name.to_string()));
        }
        let lost = || (LOST_FOLDER.to_owned(), String::new());
        let (path, special_use) = match to {
            Some(name) => (name.to_string(), String::new()),
            None => plan.folders.get(&mbox).cloned().unwrap_or_else(lost),
        };
        let name = MailboxName::new(&path).map_err(|bad| Error::Fault(format!("mailbox {mbox}: {bad}")))?;
        match self.selectable(&name) {
            Ok(mailbox) => return Ok((mailbox.id, path)),
            Err(Error::NoSuchMailbox | Error::NotSelectable) => {}
            Err(error) => return Err(error),
        }
        // RFC 6154 §5.3: a use belongs to one mailbox of an account here; another may have taken it meanwhile.
        let is_taken = self.tree().iter().any(|mailbox| *mailbox.special_use == *special_use);
        let made = self.create(&name, if is_taken { "" } else { &special_use })?;
        created.push(path.clone());
        Ok((made.id, path))
    }
}

/// A message that came back marked as deleted would be gone again at the next EXPUNGE.
fn without_deleted(flags: &FlagSet) -> FlagSet {
    FlagSet::from_parts(flags.bits() & !(SystemFlag::Deleted as u8), flags.keywords().to_vec())
}

fn subject_of(conn: &Connection, cid: u32) -> Result<String> {
    let envelope: Option<Vec<u8>> = conn
        .prepare_cached("SELECT envelope FROM structure WHERE cid = ?")?
        .query_row([cid], |row| row.get(0))
        .optional()?;
    Ok(decode_header_value(&envelope.as_deref().and_then(subject_in).unwrap_or_default()))
}

/// The subject in a stored ENVELOPE, as it stood in the header.
pub fn subject_in(envelope: &[u8]) -> Option<Vec<u8>> {
    let (_date, rest) = nstring(envelope.strip_prefix(b"(")?)?;
    Some(nstring(rest.strip_prefix(b" ")?)?.0)
}

/// Reads one nstring of a stored ENVELOPE; gives its octets, none for NIL, and what stands behind it.
// RFC 3501 §9: nstring = string / nil; string = quoted / literal
fn nstring(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    if let Some(rest) = text.strip_prefix(b"NIL") {
        return Some((Vec::new(), rest));
    }
    if let Some(rest) = text.strip_prefix(b"{") {
        let end = rest.iter().position(|octet| *octet == b'}')?;
        let octets: usize = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
        let literal = rest[end..].strip_prefix(b"}\r\n")?;
        return Some((literal.get(..octets)?.to_vec(), literal.get(octets..)?));
    }
    let (mut value, mut rest) = (Vec::new(), text.strip_prefix(b"\"")?);
    loop {
        match rest {
            [b'"', after @ ..] => return Some((value, after)),
            [b'\\', octet, after @ ..] | [octet, after @ ..] => {
                value.push(*octet);
                rest = after;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::mailstore::{MailStore, NewMessage, Options, View};
    use crate::types::command::FlagChange;
    use crate::types::{AccountId, Flag, UidRuns};

    struct House {
        _home: tempfile::TempDir,
        store: MailStore,
        account: Account,
        clock: Clock,
    }

    async fn house() -> House {
        let home = tempfile::tempdir().expect("a folder");
        let clock = Clock::fixed(1_800_000_000);
        let options = Options { clock: clock.clone(), min_free_bytes: 0, ..Options::default() };
        let store = MailStore::open(home.path(), options).expect("opens");
        let account = store.account(AccountId(1)).await.expect("opens");
        House { _home: home, store, account, clock }
    }

    fn name(text: &str) -> MailboxName {
        MailboxName::new(text).expect("a name")
    }

    fn flags(words: &[&str]) -> FlagSet {
        words.iter().map(|word| Flag::named(word).expect("a flag")).collect()
    }

    impl House {
        async fn place(&self, mailbox: &str, subject: &str, words: &[&str]) {
            let mut draft = self.account.draft();
            draft.write(format!("Subject: {subject}\r\n\r\nbody of {subject}\r\n").as_bytes()).await.expect("taken");
            let prepared = draft.finish().await.expect("taken");
            let internal_date = Some(DateTime { unix_seconds: 1_700_000_000, zone_minutes: 60 });
            let message = NewMessage { prepared, flags: flags(words), internal_date };
            self.account.place(&name(mailbox), vec![message]).await.expect("placed");
        }

        async fn open(&self, mailbox: &str) -> View {
            self.account.open(&name(mailbox), false).await.expect("opens")
        }

        async fn expunge(&self, mailbox: &str) {
            let view = self.open(mailbox).await;
            let order = crate::mailstore::SetFlags {
                uids: view.membership().all(),
                change: FlagChange::Add,
                flags: flags(&["\\Deleted"]),
                unchanged_since: None,
                told: view.modseq(),
                own: Vec::new(),
            };
            view.set_flags(order).await.expect("set");
            view.expunge(None).await.expect("expunged");
        }

        /// UIDs, flags and sizes of a mailbox.
        async fn rows(&self, mailbox: &str) -> Vec<(u32, String)> {
            let view = self.open(mailbox).await;
            let mut rows = Vec::new();
            for (span, piece) in view.by_span(&view.membership().all()) {
                for row in view.rows(span, &piece).await.expect("read") {
                    rows.push((row.uid.0, view.flags(&row).wire()));
                }
            }
            rows
        }

        async fn undelete(&self, filter: RemovedFilter) -> Undeleted {
            self.account.undelete(filter, None).await.expect("undeleted")
        }

        async fn is_sound(&self) {
            assert_eq!(self.store.check(AccountId(1)).await.expect("checked").problems, Vec::<String>::new());
        }
    }

    #[tokio::test]
    async fn what_a_client_expunged_by_mistake_comes_back_once() {
        let house = house().await;
        for subject in ["one", "two", "=?utf-8?q?dr=C3=BC?="] {
            house.place("INBOX", subject, &["\\Flagged", "$Work"]).await;
        }
        house.expunge("INBOX").await;
        house.clock.advance(60);
        house.place("INBOX", "new", &[]).await;

        let (listed, summary) = house.account.removed(RemovedFilter::default(), 100).await.expect("listed");
        let subjects: Vec<&str> = listed.iter().map(|message| message.subject.as_str()).collect();
        assert_eq!(subjects, ["drü", "two", "one"], "newest first");
        assert_eq!(listed[0].date, DateTime { unix_seconds: 1_700_000_000, zone_minutes: 60 });
        assert_eq!(listed[0].removed_at, 1_800_000_000);
        assert_eq!(summary.mailboxes, BTreeMap::from([("INBOX".to_owned(), 3)]));

        let done = house.undelete(RemovedFilter::default()).await;
        assert_eq!((done.mailboxes, done.still_there), (BTreeMap::from([("INBOX".to_owned(), 3)]), 0));
        let back = "\\Flagged $Work".to_owned();
        let expected = vec![(4, String::new()), (5, back.clone()), (6, back.clone()), (7, back)];
        assert_eq!(house.rows("INBOX").await, expected, "new UIDs, the old flags, and no \\Deleted");
        assert_eq!(house.undelete(RemovedFilter::default()).await, Undeleted::default());
        house.is_sound().await;
    }

    #[tokio::test]
    async fn a_session_that_was_not_told_goes_on_reading_and_nothing_comes_twice() {
        let house = house().await;
        house.place("INBOX", "one", &[]).await;
        let reader = house.open("INBOX").await;
        house.expunge("INBOX").await;
        house.clock.advance(1);
        let done = house.undelete(RemovedFilter::default()).await;
        assert_eq!(done.mailboxes.values().sum::<u64>(), 1);
        let old = reader.rows(1, &UidRuns::one(1)).await.expect("read");
        assert_eq!((old.len(), old[0].uid.0), (1, 1), "the reader still has the UID it knows");
        for filter in [RemovedFilter::default(), RemovedFilter { with_copies: true, ..RemovedFilter::default() }] {
            let again = house.undelete(filter).await;
            assert_eq!((again.mailboxes.len(), again.still_there), (0, 1));
        }
        house.is_sound().await;
        drop(reader);
        house.clock.advance(10 * 86_400);
        house.account.sweep(3600).await.expect("swept");
        house.is_sound().await;
        assert_eq!(house.rows("INBOX").await.len(), 1);
    }

    #[tokio::test]
    async fn a_deleted_folder_is_made_again_with_its_use() {
        let house = house().await;
        house.account.create(&name("Work/2025/Q1"), "").await.expect("created");
        house.place("Work/2025/Q1", "plan", &["\\Seen"]).await;
        house.place("Sent", "letter", &[]).await;
        for gone in ["Work/2025/Q1", "Work/2025", "Work", "Sent"] {
            house.account.delete(&name(gone)).await.expect("deleted");
        }
        let done = house.undelete(RemovedFilter::default()).await;
        assert_eq!(done.created, ["Sent", "Work/2025/Q1"]);
        assert_eq!(house.rows("Work/2025/Q1").await, [(1, "\\Seen".to_owned())]);
        let sent = house.account.mailboxes().0.into_iter().find(|listed| listed.name == name("Sent"));
        assert_eq!(sent.expect("there").special_use.as_ref(), "\\Sent");
        house.is_sound().await;
    }

    #[tokio::test]
    async fn what_was_moved_stays_moved_and_copies_come_only_when_asked_for() {
        let house = house().await;
        for subject in ["moved", "copied"] {
            house.place("INBOX", subject, &[]).await;
        }
        let view = house.open("INBOX").await;
        view.move_to_mailbox(UidRuns::one(1), &name("Archive")).await.expect("moved");
        house.clock.advance(5);
        view.copy(UidRuns::one(2), &name("Trash")).await.expect("copied");
        drop(view);
        house.clock.advance(5);
        house.expunge("INBOX").await;
        let done = house.undelete(RemovedFilter::default()).await;
        assert_eq!((done.mailboxes.len(), done.still_there), (0, 1), "the copy is still in Trash");
        let filter = RemovedFilter { mailbox: Some(name("INBOX")), ..RemovedFilter::default() };
        assert_eq!(house.undelete(filter.clone()).await.mailboxes, BTreeMap::from([("INBOX".to_owned(), 1)]));
        assert_eq!(house.undelete(filter).await.mailboxes, BTreeMap::new());
        // What was moved and then expunged comes back where it was last.
        house.expunge("Archive").await;
        let done = house.undelete(RemovedFilter::default()).await;
        assert_eq!(done.mailboxes, BTreeMap::from([("Archive".to_owned(), 1)]));
        // Its way there is forgotten: however often it goes and comes, it comes once and not to where it was before.
        for _ in 0..2 {
            house.clock.advance(5);
            assert_eq!(house.undelete(RemovedFilter::default()).await, Undeleted::default());
            house.expunge("Archive").await;
            house.clock.advance(5);
            let done = house.undelete(RemovedFilter::default()).await;
            assert_eq!(done.mailboxes, BTreeMap::from([("Archive".to_owned(), 1)]));
        }
        house.is_sound().await;
    }

    #[tokio::test]
    async fn the_time_and_another_folder_may_be_named() {
        let house = house().await;
        house.place("INBOX", "early", &[]).await;
        house.expunge("INBOX").await;
        house.clock.advance(3600);
        house.place("INBOX", "late", &[]).await;
        house.expunge("INBOX").await;
        let filter = RemovedFilter { since: Some(1_800_000_001), ..RemovedFilter::default() };
        let to = Some(name("Back/Again"));
        let done = house.account.undelete(filter, to.clone()).await.expect("undeleted");
        assert_eq!(done.created, ["Back/Again"]);
        assert_eq!(house.rows("Back/Again").await.len(), 1);
        assert_eq!(house.rows("INBOX").await.len(), 0);
        house.is_sound().await;
    }

    #[test]
    fn a_subject_is_read_from_any_envelope() {
        let read = |text: &[u8]| nstring(text).map(|(value, rest)| (value, rest.to_vec()));
        assert_eq!(read(b"NIL x"), Some((Vec::new(), b" x".to_vec())));
        assert_eq!(read(b"\"a\\\"b\\\\\" x"), Some((b"a\"b\\".to_vec(), b" x".to_vec())));
        assert_eq!(read(b"{3}\r\na)\" x"), Some((b"a)\"".to_vec(), b" x".to_vec())));
        for broken in [&b""[..], b"\"a", b"{9}\r\nabc", b"{x}\r\n", b"{3}abc", b"\"a\\"] {
            assert_eq!(read(broken), None, "{broken:?}");
        }
    }
}
