//! `server.db`: which users there are, their credentials, and which account each opens.
//! The server and the commands may both write it; [`Directory::version`] tells cheaply whether anything changed.
//! Names and credentials are kept as given: what they mean is for `login` and `auth` to say. All calls block.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};

use super::lock;
use crate::types::AccountId;

/// The newest schema this program knows.
const SCHEMA: i64 = 1;

/// Longest user name, in octets.
pub const MOST_NAME_OCTETS: usize = 255;

/// The users of this server. Cheap to share; each call takes the connection for its own short time.
pub struct Directory {
    database: Mutex<Database>,
}

pub(super) struct Database {
    pub(super) connection: Connection,
    /// How often this handle itself wrote: SQLite's own `data_version` counts only the others.
    own_writes: u64,
}

/// What a look-up finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    pub name: String,
    pub account: AccountId,
    pub is_disabled: bool,
    pub credentials: Vec<Credential>,
}

impl UserRecord {
    /// The credential of one kind.
    pub fn credential(&self, kind: CredentialKind) -> Option<&str> {
        self.credentials.iter().find(|credential| credential.kind == kind).map(|credential| credential.value.as_str())
    }
}

/// One way to prove who one is.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    pub kind: CredentialKind,
    /// A hash or verifier in its text form, never a password.
    pub value: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({}, ..)", self.kind.word())
    }
}

/// The kinds of credentials the directory keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialKind {
    Argon2id,
    ScramSha256,
}

impl CredentialKind {
    fn word(self) -> &'static str {
        match self {
            CredentialKind::Argon2id => "argon2id",
            CredentialKind::ScramSha256 => "scram-sha-256",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [CredentialKind::Argon2id, CredentialKind::ScramSha256].into_iter().find(|kind| kind.word() == word)
    }
}

/// A state of the directory; equal states hold the same users and credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DirectoryVersion {
    others: i64,
    own: u64,
}

/// Why the directory could not do what was asked.
#[derive(Debug)]
pub enum DirectoryError {
    /// There is such a user already.
    Taken(String),
    /// There is no such user.
    Missing(String),
    BadName(BadUserName),
    /// Nobody has made a directory yet.
    NoDirectory(PathBuf),
    /// A newer program wrote this file; it must not be touched.
    TooNew {
        found: i64,
    },
    /// The disk or the database is in trouble: full, locked for too long, damaged.
    Trouble(String),
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DirectoryError::Taken(name) => write!(f, "there is a user {name} already"),
            DirectoryError::Missing(name) => write!(f, "there is no user {name}"),
            DirectoryError::BadName(bad) => bad.fmt(f),
            DirectoryError::NoDirectory(path) => {
                write!(f, "there is no {} yet; `pillarbox user add` makes it", path.display())
            }
            DirectoryError::TooNew { found } => {
                write!(f, "server.db has schema {found}, this program knows {SCHEMA}: a newer Pillarbox wrote it")
            }
            DirectoryError::Trouble(text) => write!(f, "server.db: {text}"),
        }
    }
}

impl std::error::Error for DirectoryError {}

impl From<rusqlite::Error> for DirectoryError {
    fn from(error: rusqlite::Error) -> Self {
        DirectoryError::Trouble(error.to_string())
    }
}

/// Why a text is no user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadUserName {
    Empty,
    TooLong,
    /// A control character, a space or a slash.
    Character,
    /// `.` or `..`, or nothing before or behind an `@`.
    Form,
}

impl fmt::Display for BadUserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadUserName::Empty => f.write_str("a user name cannot be empty"),
            BadUserName::TooLong => write!(f, "a user name has at most {MOST_NAME_OCTETS} octets"),
            BadUserName::Character => f.write_str("a user name has no spaces, slashes or control characters"),
            BadUserName::Form => f.write_str("a user name is written \"user\" or \"user@domain\""),
        }
    }
}

/// The one form of a name: in lower case, within bounds, usable nowhere as a path of its own.
pub fn canonical_name(name: &str) -> Result<String, BadUserName> {
    // Bounded before any work: the name comes from strangers. Lower case may be longer, so it is checked again.
    if name.len() > MOST_NAME_OCTETS {
        return Err(BadUserName::TooLong);
    }
    let name = name.to_lowercase();
    if name.is_empty() {
        return Err(BadUserName::Empty);
    }
    if name.len() > MOST_NAME_OCTETS {
        return Err(BadUserName::TooLong);
    }
    if name.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | '\\' | '\u{fffd}')) {
        return Err(BadUserName::Character);
    }
    let (local, domain) = match name.split_once('@') {
        Some((local, domain)) => (local, Some(domain)),
        None => (name.as_str(), None),
    };
    let is_whole = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('@');
    if !is_whole(local) || domain.is_some_and(|domain| !is_whole(domain)) {
        return Err(BadUserName::Form);
    }
    Ok(name)
}

impl Directory {
    /// Where the file lies.
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("server.db")
    }

    /// Opens `server.db`, made on first use. `data_dir` must be there.
    pub fn open(data_dir: &Path) -> Result<Directory, DirectoryError> {
        let path = Self::path(data_dir);
        lock::make_private_file(&path).map_err(|error| DirectoryError::Trouble(error.to_string()))?;
        Self::open_file(&path)
    }

    /// Opens `server.db` only if it is there: for commands that must not make a data directory by a slip in `--config`.
    pub fn open_existing(data_dir: &Path) -> Result<Directory, DirectoryError> {
        let path = Self::path(data_dir);
        if !path.exists() {
            return Err(DirectoryError::NoDirectory(path));
        }
        Self::open_file(&path)
    }

    fn open_file(path: &Path) -> Result<Directory, DirectoryError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        // page_size and auto_vacuum take effect only before the first table, and change nothing afterwards.
        connection.execute_batch(
            "PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
             PRAGMA journal_size_limit=67108864; PRAGMA cache_size=-1024; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY;
             PRAGMA foreign_keys=OFF; PRAGMA trusted_schema=OFF;",
        )?;
        // Immediate: of two programs that meet a fresh file only one makes the tables.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let is_fresh: bool =
            transaction.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))?;
        if is_fresh {
            transaction.execute_batch(include_str!("schema/server.sql"))?;
        }
        let found: i64 = transaction.query_row("SELECT value FROM meta WHERE key='schema'", [], |row| row.get(0))?;
        if found > SCHEMA {
            return Err(DirectoryError::TooNew { found });
        }
        transaction.commit()?;
        Ok(Directory { database: Mutex::new(Database { connection, own_writes: 0 }) })
    }

    /// Makes a user with a fresh account. The name is taken in its canonical form, which is returned.
    pub fn add_user(&self, name: &str, credentials: &[Credential]) -> Result<UserRecord, DirectoryError> {
        let name = canonical_name(name).map_err(DirectoryError::BadName)?;
        self.write(|change| {
            if user_row(change, &name)?.is_some() {
                return Err(DirectoryError::Taken(name.clone()));
            }
            let now = seconds_now();
            change.execute("INSERT INTO account (created) VALUES (?1)", params![now])?;
            let account = change.last_insert_rowid();
            change.execute(
                "INSERT INTO user (name, account, created) VALUES (?1, ?2, ?3)",
                params![name, account, now],
            )?;
            store_credentials(change, &name, credentials)?;
            let (account, credentials) = (AccountId(account), credentials.to_vec());
            Ok(UserRecord { name: name.clone(), account, is_disabled: false, credentials })
        })
    }

    /// Replaces all credentials of a user.
    pub fn set_credentials(&self, name: &str, credentials: &[Credential]) -> Result<UserRecord, DirectoryError> {
        let name = canonical_name(name).map_err(DirectoryError::BadName)?;
        self.write(|change| {
            let mut user = user_row(change, &name)?.ok_or_else(|| DirectoryError::Missing(name.clone()))?;
            change.execute("DELETE FROM credential WHERE user=?1", params![name])?;
            store_credentials(change, &name, credentials)?;
            user.credentials = credentials.to_vec();
            Ok(user)
        })
    }

    /// Bars a user from logging in, or lets him in again.
    pub fn set_disabled(&self, name: &str, is_disabled: bool) -> Result<UserRecord, DirectoryError> {
        let name = canonical_name(name).map_err(DirectoryError::BadName)?;
        self.write(|change| {
            let mut user = user_row(change, &name)?.ok_or_else(|| DirectoryError::Missing(name.clone()))?;
            change.execute("UPDATE user SET disabled=?2 WHERE name=?1", params![name, is_disabled])?;
            user.is_disabled = is_disabled;
            Ok(user)
        })
    }

    /// Removes a user and marks his account as removed. The mail stays on the disk; the account's number is never
    /// given out again, so a new user of the same name starts with an empty account.
    pub fn remove(&self, name: &str) -> Result<UserRecord, DirectoryError> {
        let name = canonical_name(name).map_err(DirectoryError::BadName)?;
        self.write(|change| {
            let user = user_row(change, &name)?.ok_or_else(|| DirectoryError::Missing(name.clone()))?;
            change.execute("DELETE FROM credential WHERE user=?1", params![name])?;
            change.execute("DELETE FROM alias WHERE user=?1", params![name])?;
            change.execute("DELETE FROM user WHERE name=?1", params![name])?;
            change.execute(
                "UPDATE account SET removed=?2 WHERE id=?1 AND NOT EXISTS (SELECT 1 FROM user WHERE account=?1)",
                params![user.account.0, seconds_now()],
            )?;
            Ok(user)
        })
    }

    /// The user of that name with his credentials. A text that is no name is a user that is not there.
    pub fn look_up(&self, name: &str) -> Result<Option<UserRecord>, DirectoryError> {
        let Ok(name) = canonical_name(name) else { return Ok(None) };
        let database = self.lock();
        let Some(mut user) = user_row(&database.connection, &name)? else { return Ok(None) };
        let mut query = database.connection.prepare_cached("SELECT kind, value FROM credential WHERE user=?1")?;
        let mut rows = query.query(params![name])?;
        while let Some(row) = rows.next()? {
            // A kind that is unknown was written by a newer program; the known ones still serve.
            if let Some(kind) = CredentialKind::from_word(&row.get::<_, String>(0)?) {
                user.credentials.push(Credential { kind, value: row.get(1)? });
            }
        }
        Ok(Some(user))
    }

    /// All users by name, without their credentials.
    pub fn users(&self) -> Result<Vec<UserRecord>, DirectoryError> {
        let database = self.lock();
        let mut query = database.connection.prepare("SELECT name, account, disabled FROM user ORDER BY name")?;
        let users = query.query_map([], read_user)?.collect::<Result<_, _>>()?;
        Ok(users)
    }

    /// Whether the account is one of a user who is still there.
    pub fn is_removed(&self, account: AccountId) -> Result<bool, DirectoryError> {
        let database = self.lock();
        let query = "SELECT NOT EXISTS (SELECT 1 FROM user WHERE account=?1)";
        Ok(database.connection.query_row(query, params![account.0], |row| row.get(0))?)
    }

    /// The state now. Microseconds: it reads no page.
    pub fn version(&self) -> Result<DirectoryVersion, DirectoryError> {
        let database = self.lock();
        let mut query = database.connection.prepare_cached("PRAGMA data_version")?;
        let others = query.query_row([], |row| row.get(0))?;
        Ok(DirectoryVersion { others, own: database.own_writes })
    }

    /// Looks for damage and for rows that contradict each other; one sentence for each find.
    pub fn check(&self) -> Result<Vec<String>, DirectoryError> {
        let database = self.lock();
        let connection = &database.connection;
        let mut finds: Vec<String> = Vec::new();
        let mut query = connection.prepare("PRAGMA integrity_check(20)")?;
        for line in query.query_map([], |row| row.get::<_, String>(0))? {
            let line = line?;
            if line != "ok" {
                finds.push(format!("server.db: {line}"));
            }
        }
        let contradictions = [
            ("SELECT name FROM user WHERE account NOT IN (SELECT id FROM account)", "the user's account is missing"),
            (
                "SELECT name FROM user JOIN account ON account.id=user.account WHERE account.removed IS NOT NULL",
                "the user's account is marked as removed",
            ),
            ("SELECT user FROM credential WHERE user NOT IN (SELECT name FROM user)", "a credential without its user"),
            ("SELECT user FROM alias WHERE user NOT IN (SELECT name FROM user)", "an alias without its user"),
        ];
        for (sql, sentence) in contradictions {
            let mut query = connection.prepare(sql)?;
            for name in query.query_map([], |row| row.get::<_, String>(0))? {
                finds.push(format!("server.db: {}: {sentence}", name?));
            }
        }
        Ok(finds)
    }

    /// Makes a change, whole or not at all.
    pub(super) fn write<T, E: From<rusqlite::Error>>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut database = self.lock();
        let transaction = database.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = change(&transaction)?;
        transaction.commit()?;
        database.own_writes += 1;
        Ok(done)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Database> {
        // A panic in a visit rolled its transaction back while it unwound: the connection is as good as before.
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn user_row(connection: &Connection, name: &str) -> Result<Option<UserRecord>, DirectoryError> {
    let mut query = connection.prepare_cached("SELECT name, account, disabled FROM user WHERE name=?1")?;
    Ok(query.query_row(params![name], read_user).optional()?)
}

pub(super) fn read_user(row: &rusqlite::Row<'_>) -> rusqlite::Result<UserRecord> {
    let account = AccountId(row.get(1)?);
    Ok(UserRecord { name: row.get(0)?, account, is_disabled: row.get(2)?, credentials: Vec::new() })
}

fn store_credentials(change: &Transaction<'_>, name: &str, credentials: &[Credential]) -> Result<(), DirectoryError> {
    for credential in credentials {
        change.execute(
            "INSERT INTO credential (user, kind, value) VALUES (?1, ?2, ?3)",
            params![name, credential.kind.word(), credential.value],
        )?;
    }
    Ok(())
}

fn seconds_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> (tempfile::TempDir, Directory) {
        let home = tempfile::tempdir().expect("a directory");
        let directory = Directory::open(home.path()).expect("opened");
        (home, directory)
    }

    fn password(value: &str) -> Vec<Credential> {
        vec![Credential { kind: CredentialKind::Argon2id, value: value.into() }]
    }

    #[test]
    fn a_user_is_added_found_changed_and_removed() {
        let (_home, directory) = open();
        let added = directory.add_user("Alice@Example.org", &password("one")).expect("added");
        assert_eq!(added.name, "alice@example.org");
        assert_eq!(directory.look_up("ALICE@example.ORG").expect("looked up"), Some(added.clone()));
        assert!(matches!(directory.add_user("alice@EXAMPLE.org", &[]), Err(DirectoryError::Taken(_))));

        directory.set_credentials("alice@example.org", &password("two")).expect("set");
        let found = directory.look_up("alice@example.org").expect("looked up").expect("there");
        assert_eq!(found.credential(CredentialKind::Argon2id), Some("two"));
        assert_eq!(found.credential(CredentialKind::ScramSha256), None);

        directory.set_disabled("alice@example.org", true).expect("disabled");
        assert!(directory.users().expect("listed")[0].is_disabled);

        assert_eq!(directory.remove("alice@example.org").expect("removed").account, added.account);
        assert_eq!(directory.look_up("alice@example.org").expect("looked up"), None);
        assert!(directory.is_removed(added.account).expect("asked"));
        assert!(matches!(directory.remove("alice@example.org"), Err(DirectoryError::Missing(_))));
        assert!(matches!(directory.set_credentials("alice@example.org", &[]), Err(DirectoryError::Missing(_))));
        assert_eq!(directory.check().expect("checked"), Vec::<String>::new());
    }

    #[test]
    fn an_account_number_is_never_given_out_twice() {
        let (home, directory) = open();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..5 {
            assert!(seen.insert(directory.add_user("bob", &[]).expect("added").account));
            directory.remove("bob").expect("removed");
        }
        drop(directory);
        let directory = Directory::open(home.path()).expect("opened again");
        assert!(seen.insert(directory.add_user("bob", &[]).expect("added").account));
    }

    #[test]
    fn the_version_tells_of_own_and_foreign_changes_and_of_nothing_else() {
        let (home, directory) = open();
        let other = Directory::open(home.path()).expect("a second handle");
        let before = directory.version().expect("a version");
        directory.look_up("alice").expect("looked up");
        assert_eq!(directory.version().expect("a version"), before);
        other.add_user("alice", &[]).expect("added");
        let after_foreign = directory.version().expect("a version");
        assert_ne!(after_foreign, before);
        directory.add_user("bob", &[]).expect("added");
        assert_ne!(directory.version().expect("a version"), after_foreign);
    }

    #[test]
    fn hostile_names_are_users_that_are_not_there() {
        let (_home, directory) = open();
        directory.add_user("alice", &[]).expect("added");
        let long = "x".repeat(10_240);
        let hostile = [
            "",
            "'",
            "' OR 1=1 --",
            "%",
            "*",
            "a)",
            "a\0b",
            "a\nb",
            "..",
            ".",
            "../alice",
            "a/b",
            "@",
            "a@",
            "@b",
            &long,
        ];
        for name in hostile {
            assert_eq!(directory.look_up(name).expect("no trouble"), None, "{name:?}");
        }
        for name in ["", "a\0b", "a b", "a/b", "..", "@b", "a@", "a@b@c", "a@..", &long] {
            assert!(matches!(directory.add_user(name, &[]), Err(DirectoryError::BadName(_))), "{name:?}");
        }
        // Odd, but a name.
        directory.add_user("o'brien%", &[]).expect("added");
        assert!(directory.look_up("O'Brien%").expect("looked up").is_some());
    }

    #[test]
    fn a_newer_file_is_refused_and_a_missing_one_is_not_made() {
        let (home, directory) = open();
        directory.lock().connection.execute("UPDATE meta SET value=99 WHERE key='schema'", []).expect("written");
        drop(directory);
        assert!(matches!(Directory::open(home.path()), Err(DirectoryError::TooNew { found: 99 })));
        let empty = tempfile::tempdir().expect("a directory");
        assert!(matches!(Directory::open_existing(empty.path()), Err(DirectoryError::NoDirectory(_))));
        assert!(!Directory::path(empty.path()).exists());
    }

    #[test]
    fn the_file_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let (home, directory) = open();
        directory.add_user("alice", &[]).expect("added");
        for name in ["server.db", "server.db-wal", "server.db-shm"] {
            let mode = std::fs::metadata(home.path().join(name)).expect(name).permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn check_finds_what_was_broken() {
        let (_home, directory) = open();
        directory.add_user("alice", &password("x")).expect("added");
        directory.lock().connection.execute("DELETE FROM account", []).expect("broken");
        let finds = directory.check().expect("checked");
        assert_eq!(finds, ["server.db: alice: the user's account is missing"]);
    }
}
