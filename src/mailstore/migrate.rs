//! Schema versions. An older file is copied, the copy is migrated and verified, and only then takes
//! the original's place; the original stays beside it. A newer file than this program knows is refused.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::blobs::sync_dir;
use super::connection::{self, Role};
use super::error::{Error, Result};

const SCHEMA: &str = include_str!("schema/mail.sql");

/// The steps from each version to the next; the first leads from version 1 to version 2.
type Step = fn(&Connection) -> rusqlite::Result<()>;
const STEPS: &[Step] = &[];

/// Opens `mail.db` at the version of this program, making or migrating it first if need be.
pub fn open(path: &Path) -> Result<Connection> {
    open_with(path, STEPS)
}

fn version(conn: &Connection) -> Result<i64> {
    Ok(conn.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

fn open_with(path: &Path, steps: &[Step]) -> Result<Connection> {
    let target = steps.len() as i64 + 1;
    let conn = connection::open(path, Role::Writer)?;
    let found = version(&conn)?;
    if found == target {
        return Ok(conn);
    }
    if found > target {
        return Err(Error::Fault(format!(
            "{} has schema version {found}, this program knows {target} at most; use a newer Pillarbox",
            path.display()
        )));
    }
    if found == 0 {
        // New, or killed before the one transaction that makes the schema was through.
        conn.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = 1; COMMIT;"))?;
        sync_dir(path.parent().unwrap_or(path))?;
        drop(conn);
        return open_with(path, steps);
    }
    migrate(conn, path, found, steps)?;
    connection::open(path, Role::Writer)
}

/// Where the file of an older version is kept.
fn kept_name(path: &Path, version: i64) -> PathBuf {
    path.with_extension(format!("db.v{version}"))
}

fn migrate(conn: Connection, path: &Path, found: i64, steps: &[Step]) -> Result<()> {
    tracing::info!(file = %path.display(), from = found, to = steps.len() + 1, "migrating the mail store");
    let copy = path.with_extension("db.migrating");
    for suffix in ["", "-wal", "-shm"] {
        let left = PathBuf::from(format!("{}{suffix}", copy.display()));
        if left.exists() {
            fs::remove_file(left)?;
        }
    }
    conn.execute("VACUUM INTO ?", [copy.display().to_string()])?;
    drop(conn);
    let fresh = connection::open(&copy, Role::Writer)?;
    for (index, step) in steps.iter().enumerate().skip(found as usize - 1) {
        fresh.execute_batch("BEGIN IMMEDIATE")?;
        step(&fresh)?;
        let version = index as i64 + 2;
        fresh.execute_batch(&format!(
            "UPDATE meta SET value = {version} WHERE key = 'schema'; PRAGMA user_version = {version}; COMMIT"
        ))?;
    }
    let verdict: String = fresh.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(Error::Fault(format!("the migrated copy of {} is not sound: {verdict}", path.display())));
    }
    fresh.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    drop(fresh);
    fs::File::open(&copy)?.sync_all()?;
    let kept = kept_name(path, found);
    if !kept.exists() {
        fs::hard_link(path, &kept)?;
    }
    fs::rename(&copy, path)?;
    sync_dir(path.parent().unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: i64 = STEPS.len() as i64 + 1;

    fn stored(version: i64) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/stores/mail-v{version}.db"))
    }

    /// Makes the stored file of the present version, when PILLARBOX_STORE_FILE is set: to be done once, when a version
    /// is released, and never again for it.
    #[test]
    fn the_present_version_can_be_stored() {
        use crate::mailstore::{MailStore, NewMessage, Options, View};
        use crate::types::{AccountId, Flag, FlagSet, MailboxName, SystemFlag, UidRuns};

        let dir = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let place = async |store: &MailStore| -> Result<View> {
            let account = store.account(AccountId(1)).await?;
            for (number, text) in ["one", "two", "three", "four"].iter().enumerate() {
                let mut draft = account.draft();
                let subject = format!("Subject: {text}\r\nMessage-ID: <{number}@x.test>\r\n\r\n{text}\r\n");
                draft.write(subject.as_bytes()).await?;
                let flag = if number == 3 { Flag::System(SystemFlag::Deleted) } else { Flag::System(SystemFlag::Seen) };
                let flags = FlagSet::from_iter([flag]);
                let message = NewMessage { prepared: draft.finish().await?, flags, internal_date: None };
                account.place(&MailboxName::inbox(), vec![message]).await?;
            }
            let view = account.open(&MailboxName::inbox(), false).await?;
            view.expunge(Some(UidRuns::range(1, 9))).await?;
            Ok(view)
        };
        let store = MailStore::open(dir.path(), Options::default()).expect("opens");
        let count = runtime.block_on(place(&store)).expect("is placed").membership().count();
        store.close();
        assert_eq!(count, 4, "this view was not told of the expunge");
        let file = dir.path().join("accounts/1/mail.db");
        assert_eq!(version(&open(&file).expect("opens again")), Ok(VERSION));
        if std::env::var_os("PILLARBOX_STORE_FILE").is_some() {
            fs::copy(&file, stored(VERSION)).expect("is stored");
        }
    }

    /// Every version ever released opens with this program, with what was in it.
    #[test]
    fn every_stored_old_file_opens() {
        for old in 1..=VERSION {
            let dir = tempfile::tempdir().expect("a folder");
            let path = dir.path().join("mail.db");
            fs::copy(stored(old), &path).expect("the stored file is in the tree");
            let conn = open(&path).expect("opens");
            assert_eq!(version(&conn), Ok(VERSION));
            let subjects: i64 =
                conn.query_row("SELECT count(*) FROM message", [], |row| row.get(0)).expect("is a mail store");
            assert_eq!(subjects, 3, "version {old}");
        }
    }

    #[test]
    fn the_old_file_stays_until_the_new_one_is_verified() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("mail.db");
        drop(open(&path).expect("is made"));
        let broken: Step = |_| Err(rusqlite::Error::InvalidQuery);
        assert!(open_with(&path, &[broken]).is_err());
        assert_eq!(version(&open(&path).expect("still opens")), Ok(1));
        let works: Step = |conn| conn.execute_batch("CREATE TABLE added(x INTEGER)");
        let conn = open_with(&path, &[works]).expect("migrates");
        assert_eq!(version(&conn), Ok(2));
        conn.query_row("SELECT count(*) FROM added", [], |_| Ok(())).expect("the step was taken");
        assert!(kept_name(&path, 1).exists());
    }

    #[test]
    fn a_newer_file_is_refused_with_a_clear_word() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("mail.db");
        let conn = open(&path).expect("is made");
        conn.execute_batch("PRAGMA user_version = 99").expect("is written");
        drop(conn);
        let text = open(&path).expect_err("is refused").to_string();
        assert!(text.contains("99") && text.contains("newer"), "{text}");
    }
}
