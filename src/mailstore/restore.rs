//! An account out of a backup in the place of the one there is. Clients have seen more than the backup knows of: UIDs,
//! modseqs and ids that were given out since. So everything goes on above the higher of both: a message that both have
//! keeps its UID, one that was expunged since comes back under a new one, and every message gets a modseq nobody has
//! seen. Where the old store cannot be read nobody knows what was given out, and every mailbox gets a new UIDVALIDITY.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::backup::database_of;
use super::check::{check_files_of, check_rows, check_sqlite};
use super::connection::{self, Role};
use super::error::{Error, Result};
use super::recount::{flagsets, raise_sequence, recount};
use super::{blobs, migrate};
use crate::types::MailboxName;

/// Where ids go on when nobody can say how far they had come.
const ID_GAP: i64 = 1 << 20;
/// UIDVALIDITYs run ahead of the time when many mailboxes are made at once; none has run a day ahead.
const VALIDITY_GAP: i64 = 86_400;

/// What can be said of the store that is about to be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Old {
    /// There is none: nobody has used this account, or its files are gone.
    None,
    /// Its numbers can be believed.
    Readable { messages: u64 },
    /// They cannot; the text says why.
    Unreadable(String),
}

/// What a restore changed of the numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Continued {
    pub mailboxes: u64,
    pub messages: u64,
    /// Mailboxes that got a new UIDVALIDITY.
    pub new_validities: u64,
    /// Messages that came back under a new UID.
    pub new_uids: u64,
}

/// Looks at an account's store without changing it. Works beside a running server.
pub fn look_at(account_dir: &Path) -> Old {
    let database = database_of(account_dir);
    match std::fs::metadata(&database) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Old::None,
        Err(error) => return Old::Unreadable(error.to_string()),
        Ok(found) if found.len() == 0 => return Old::Unreadable("its database is empty".into()),
        Ok(_) => {}
    }
    let look = || -> Result<std::result::Result<u64, String>> {
        let conn = connection::open_to_read(&database)?;
        conn.execute_batch("BEGIN")?;
        let mut found = check_rows(&conn)?;
        check_sqlite(&conn, &mut found)?;
        Ok(found.problems.into_iter().next().map_or(Ok(found.messages), Err))
    };
    match look() {
        Ok(Ok(messages)) => Old::Readable { messages },
        Ok(Err(problem)) => Old::Unreadable(problem),
        Err(error) => Old::Unreadable(error.to_string()),
    }
}

/// The finds of a check of staged files, which are brought to this program's schema first.
pub fn check_staged(dir: &Path, now_secs: i64) -> Result<Vec<String>> {
    let database = database_of(dir);
    drop(migrate::open(&database)?);
    let conn = connection::open(&database, Role::Reader)?;
    Ok(check_files_of(dir, now_secs, &conn)?.problems)
}

/// Makes a staged account go on above what `old`, the one it is to replace, has given out. `None`: nobody can say what
/// that was. When this returns the staged database is durable; nothing else in it has changed.
pub fn continue_above(staged: &Path, old: Option<&Path>, now_secs: i64) -> Result<Continued> {
    let database = database_of(staged);
    let conn = migrate::open(&database)?;
    let known = match old {
        Some(dir) => Some(Known::read(&connection::open_to_read(&database_of(dir))?)?),
        None => None,
    };
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let mut renewal = Renewal::new(&conn, known, now_secs)?;
    let continued = renewal.run(old)?;
    conn.execute_batch("COMMIT")?;
    let left = check_rows(&conn)?.problems;
    if !left.is_empty() {
        return Err(Error::Fault(format!("the restored account is not sound: {}", left.join("; "))));
    }
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    drop(conn);
    std::fs::File::open(&database)?.sync_all()?;
    blobs::sync_dir(staged)?;
    Ok(continued)
}

/// A mailbox of either store.
#[derive(Debug, Clone)]
struct Folder {
    path: String,
    uid_validity: i64,
    uid_next: i64,
    recent_from: i64,
}

/// What the old store has given out.
struct Known {
    modseq: i64,
    validity: i64,
    folders: BTreeMap<i64, Folder>,
    sequences: HashMap<String, i64>,
}

impl Known {
    fn read(conn: &Connection) -> Result<Known> {
        let meta = |key: &str| -> Result<i64> {
            Ok(conn.query_row("SELECT value FROM meta WHERE key = ?", [key], |row| row.get(0))?)
        };
        let mut query = conn.prepare("SELECT name, seq FROM sqlite_sequence")?;
        let sequences = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Known {
            modseq: meta("modseq")?,
            validity: meta("uidvalidity")?,
            folders: folders(conn)?,
            sequences: sequences.collect::<rusqlite::Result<_>>()?,
        })
    }
}

/// All mailboxes with their whole names.
fn folders(conn: &Connection) -> Result<BTreeMap<i64, Folder>> {
    struct Level {
        parent: i64,
        name: String,
    }
    let mut levels: HashMap<i64, Level> = HashMap::new();
    let mut found: BTreeMap<i64, Folder> = BTreeMap::new();
    let mut query = conn.prepare("SELECT id, parent, name, uidvalidity, uidnext, recent_from FROM mailbox")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        levels.insert(id, Level { parent: row.get(1)?, name: row.get(2)? });
        let (uid_validity, uid_next, recent_from) = (row.get(3)?, row.get(4)?, row.get(5)?);
        found.insert(id, Folder { path: String::new(), uid_validity, uid_next, recent_from });
    }
    for (id, mailbox) in &mut found {
        let (mut path, mut at) = (Vec::new(), *id);
        while let Some(level) = levels.get(&at).filter(|_| path.len() <= MailboxName::MAX_LEVELS) {
            path.push(level.name.as_str());
            at = level.parent;
        }
        path.reverse();
        mailbox.path = path.join("/");
    }
    Ok(found)
}

struct Renewal<'c> {
    conn: &'c Connection,
    known: Option<Known>,
    modseq: i64,
    validity: i64,
    now: i64,
}

impl<'c> Renewal<'c> {
    fn new(conn: &'c Connection, known: Option<Known>, now: i64) -> Result<Self> {
        let own = Known::read(conn)?;
        let told = known.as_ref().map_or(0, |known| known.modseq);
        let validity = match &known {
            Some(known) => own.validity.max(known.validity),
            None => own.validity.max(now + VALIDITY_GAP),
        };
        Ok(Renewal { conn, known, modseq: own.modseq.max(told) + 1, validity, now })
    }

    fn run(&mut self, old: Option<&Path>) -> Result<Continued> {
        let mut done = Continued::default();
        let old = old.map(|dir| connection::open_to_read(&database_of(dir))).transpose()?;
        let sets = flagsets(self.conn)?;
        for (id, mailbox) in folders(self.conn)? {
            done.mailboxes += 1;
            // The same mailbox under the same name: everywhere else a client would take other messages for those it has.
            let before = self.known.as_ref().and_then(|known| known.folders.get(&id)).cloned();
            let before = before.filter(|b| b.uid_validity == mailbox.uid_validity && b.path == mailbox.path);
            let uid_next = match (&old, &before) {
                (Some(old), Some(before)) => {
                    self.new_uids(old, id, mailbox.uid_next.max(before.uid_next), &mut done)?
                }
                _ => None,
            };
            let recent_from = before.map_or(1, |before| before.recent_from).max(mailbox.recent_from);
            let (uid_validity, uid_next) = match uid_next {
                Some(uid_next) => (mailbox.uid_validity, uid_next),
                None => {
                    done.new_validities += 1;
                    (self.next_validity()?, mailbox.uid_next)
                }
            };
            // With the floor at the newest modseq a client that comes back compares all UIDs it knows.
            self.conn.execute("DELETE FROM expunged WHERE mbox = ?", [id])?;
            self.conn.execute("UPDATE message SET modseq = ? WHERE mbox = ?", params![self.modseq, id])?;
            self.conn
                .prepare_cached(
                    "UPDATE mailbox SET uidvalidity = ?, uidnext = ?, recent_from = ?, modseq = ?, expunged_floor = ?,
                            expunged_rows = 0 WHERE id = ?",
                )?
                .execute(params![uid_validity, uid_next, recent_from.min(uid_next), self.modseq, self.modseq, id])?;
            recount(self.conn, id, &sets)?;
        }
        done.messages = self.conn.query_row("SELECT count(*) FROM message", [], |row| row.get::<_, i64>(0))? as u64;
        self.write_counters()?;
        Ok(done)
    }

    /// Gives new UIDs to the messages that the old store does not have under theirs. `None`: there are not enough.
    fn new_uids(&self, old: &Connection, mailbox: i64, mut next: i64, done: &mut Continued) -> Result<Option<i64>> {
        let mut there = old.prepare_cached(
            "SELECT c.hash FROM message m JOIN content c ON c.id = m.cid WHERE m.mbox = ? AND m.uid = ?",
        )?;
        let mut query = self.conn.prepare_cached(
            "SELECT m.uid, c.hash FROM message m JOIN content c ON c.id = m.cid WHERE m.mbox = ? ORDER BY m.uid",
        )?;
        let mut rows = query.query([mailbox])?;
        let mut moved: Vec<u32> = Vec::new();
        while let Some(row) = rows.next()? {
            let (uid, hash): (u32, [u8; 32]) = (row.get(0)?, row.get(1)?);
            let known: Option<[u8; 32]> = there.query_row(params![mailbox, uid], |row| row.get(0)).optional()?;
            if known != Some(hash) {
                moved.push(uid);
            }
        }
        if next + moved.len() as i64 > i64::from(u32::MAX) {
            return Ok(None);
        }
        let mut update = self.conn.prepare_cached("UPDATE message SET uid = ? WHERE mbox = ? AND uid = ?")?;
        for uid in moved {
            update.execute(params![next, mailbox, uid])?;
            next += 1;
            done.new_uids += 1;
        }
        Ok(Some(next))
    }

    fn next_validity(&mut self) -> Result<i64> {
        self.validity = self.now.clamp(1, i64::from(u32::MAX)).max(self.validity + 1);
        if self.validity > i64::from(u32::MAX) { Err(Error::Limit("UIDVALIDITY values")) } else { Ok(self.validity) }
    }

    fn write_counters(&self) -> Result<()> {
        // What watchers of the tree were told is not what they would be told of the restored one.
        self.conn.execute("DELETE FROM mailbox_change", [])?;
        for (key, value) in [("modseq", self.modseq), ("uidvalidity", self.validity)] {
            self.conn.execute("UPDATE meta SET value = ? WHERE key = ?", params![value, key])?;
        }
        for table in ["mailbox", "content", "flagset"] {
            let last = match &self.known {
                Some(known) => known.sequences.get(table).copied().unwrap_or(0),
                None => {
                    let sql = format!("SELECT coalesce(max(id), 0) FROM {table}");
                    self.conn.query_row(&sql, [], |row| row.get::<_, i64>(0))? + ID_GAP
                }
            };
            raise_sequence(self.conn, table, last)?;
        }
        Ok(())
    }
}
