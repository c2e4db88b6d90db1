//! `server.db`: which users there are, their credentials, and which account each opens.
//! The server and the commands may both write it; [`Directory::version`] tells cheaply whether anything changed.
//! Names and credentials are kept as given: what they mean is for `login` and `auth` to say. All calls block.

mod app_passwords;
mod names;

pub use app_passwords::{AppPassword, MOST_APP_PASSWORDS, MOST_DEVICE_OCTETS};
pub use names::{BadUserName, MOST_NAME_OCTETS, canonical_name};

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};

use super::lock;
use crate::types::AccountId;

/// The newest schema this program knows.
const SCHEMA: i64 = 2;

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
    /// May act for others.
    pub is_master: bool,
    pub credentials: Vec<Credential>,
    /// By device. Empty in lists of users.
    pub app_passwords: Vec<AppPassword>,
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
    /// A hash that another server made, `{SCHEME}...`; replaced at the first good log-in.
    Imported,
}

impl CredentialKind {
    fn word(self) -> &'static str {
        match self {
            CredentialKind::Argon2id => "argon2id",
            CredentialKind::ScramSha256 => "scram-sha-256",
            CredentialKind::Imported => "imported",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        let kinds = [CredentialKind::Argon2id, CredentialKind::ScramSha256, CredentialKind::Imported];
        kinds.into_iter().find(|kind| kind.word() == word)
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
    /// The name of a device is empty, too long, or holds control characters.
    BadDevice,
    /// This user has an app password for such a device already.
    DeviceTaken(String),
    /// This user has no app password for such a device.
    NoDevice(String),
    TooManyDevices,
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
            DirectoryError::BadDevice => {
                write!(f, "a device's name has 1 to {MOST_DEVICE_OCTETS} octets and no control characters")
            }
            DirectoryError::DeviceTaken(device) => write!(f, "there is an app password for {device} already"),
            DirectoryError::NoDevice(device) => write!(f, "there is no app password for {device}"),
            DirectoryError::TooManyDevices => {
                write!(f, "a user has at most {MOST_APP_PASSWORDS} app passwords; remove one first")
            }
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
            transaction.execute_batch(include_str!("../schema/server.sql"))?;
        }
        let found: i64 = transaction.query_row("SELECT value FROM meta WHERE key='schema'", [], |row| row.get(0))?;
        if found > SCHEMA {
            return Err(DirectoryError::TooNew { found });
        }
        if found == 1 {
            // Within the same transaction: a kill leaves the old file or the new one, nothing between.
            transaction.execute_batch(include_str!("../schema/server-2.sql"))?;
        }
        transaction.commit()?;
        Ok(Directory { database: Mutex::new(Database { connection, own_writes: 0 }) })
    }

    /// Makes a user with a fresh account. The name is taken in its canonical form, which is returned.
    pub fn add_user(&self, name: &str, credentials: &[Credential]) -> Result<UserRecord, DirectoryError> {
        self.add_user_as(name, credentials, false)
    }

    /// The same, and the user may be barred from the first moment on.
    pub fn add_user_as(
        &self,
        name: &str,
        credentials: &[Credential],
        is_disabled: bool,
    ) -> Result<UserRecord, DirectoryError> {
        let name = canonical_name(name).map_err(DirectoryError::BadName)?;
        self.write(|change| {
            if user_row(change, &name)?.is_some() {
                return Err(DirectoryError::Taken(name.clone()));
            }
            let now = seconds_now();
            change.execute("INSERT INTO account (created) VALUES (?1)", params![now])?;
            let account = change.last_insert_rowid();
            change.execute(
                "INSERT INTO user (name, account, created, disabled) VALUES (?1, ?2, ?3, ?4)",
                params![name, account, now, is_disabled],
            )?;
            store_credentials(change, &name, credentials)?;
            let credentials = credentials.to_vec();
            Ok(UserRecord {
                name: name.clone(),
                account: AccountId(account),
                is_disabled,
                is_master: false,
                credentials,
                app_passwords: Vec::new(),
            })
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

    /// Replaces the imported hash `old` by credentials made of the same password. False: it is not there any more.
    /// Whoever proved to know the password then proves it now, so the version stays.
    pub fn replace_imported(&self, name: &str, old: &str, newer: &[Credential]) -> Result<bool, DirectoryError> {
        self.write_quietly(|change| {
            let (imported, kind) =
                (CredentialKind::Imported.word(), "DELETE FROM credential WHERE user=?1 AND kind=?2");
            if change.execute(&format!("{kind} AND value=?3"), params![name, imported, old])? == 0 {
                return Ok(false);
            }
            for credential in newer {
                change.execute(kind, params![name, credential.kind.word()])?;
            }
            store_credentials(change, name, newer)?;
            Ok(true)
        })
    }

    /// Lets a user act for all others, or no longer.
    pub fn set_master(&self, name: &str, is_master: bool) -> Result<UserRecord, DirectoryError> {
        let name = canonical_name(name).map_err(DirectoryError::BadName)?;
        self.write(|change| {
            let mut user = user_row(change, &name)?.ok_or_else(|| DirectoryError::Missing(name.clone()))?;
            change.execute("UPDATE user SET master=?2 WHERE name=?1", params![name, is_master])?;
            user.is_master = is_master;
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
            change.execute("DELETE FROM app_password WHERE user=?1", params![name])?;
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
        user.app_passwords = app_passwords::app_passwords(&database.connection, &name)?;
        Ok(Some(user))
    }

    /// All users by name, without their credentials.
    pub fn users(&self) -> Result<Vec<UserRecord>, DirectoryError> {
        let database = self.lock();
        let mut query =
            database.connection.prepare("SELECT name, account, disabled, master FROM user ORDER BY name")?;
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
            (
                "SELECT user FROM app_password WHERE user NOT IN (SELECT name FROM user)",
                "an app password without its user",
            ),
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
        let done = self.write_quietly(change)?;
        self.lock().own_writes += 1;
        Ok(done)
    }

    /// A change after which everything that was remembered of the directory is still right.
    fn write_quietly<T, E: From<rusqlite::Error>>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut database = self.lock();
        let transaction = database.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = change(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Database> {
        // A panic in a visit rolled its transaction back while it unwound: the connection is as good as before.
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn user_row(connection: &Connection, name: &str) -> Result<Option<UserRecord>, DirectoryError> {
    let mut query = connection.prepare_cached("SELECT name, account, disabled, master FROM user WHERE name=?1")?;
    Ok(query.query_row(params![name], read_user).optional()?)
}

pub(super) fn read_user(row: &rusqlite::Row<'_>) -> rusqlite::Result<UserRecord> {
    Ok(UserRecord {
        name: row.get(0)?,
        account: AccountId(row.get(1)?),
        is_disabled: row.get(2)?,
        is_master: row.get(3)?,
        credentials: Vec::new(),
        app_passwords: Vec::new(),
    })
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
mod tests;
