//! Copying databases while they are in use, and looking into the copies. A copy shows one moment, whatever is written
//! meanwhile: it is read from one snapshot, in small steps, and in WAL mode no writer and no reader ever waits for that.
//! Works from any process that may read the data directory; it owns nothing and changes nothing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::connection;
use super::error::{Error, Result};
use crate::types::AccountId;

/// Pages copied in one step, 1 MiB; between steps the watcher is asked whether to go on.
const STEP_PAGES: i32 = 256;
/// How long to wait when a step found the source locked, which in WAL mode is only while it is being recovered.
const BUSY_WAIT: Duration = Duration::from_millis(20);
/// While the snapshot is held the log cannot be cut off. Past this length the copy is given up.
const MOST_WAL_BYTES: u64 = 4 << 30;
/// Most damaged bodies named.
const MOST_NAMED: usize = 20;

/// What is in a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    pub mailboxes: u64,
    pub messages: u64,
    /// Expunged messages that can still be brought back.
    pub removed: u64,
    pub contents: u64,
    /// Octets of all contents, inline and in files.
    pub body_bytes: u64,
    /// Bodies in files of their own.
    pub files: u64,
    /// Each a sentence about something that is not as it must be. A damaged body is one; a damaged structure is not:
    /// then there is no copy.
    pub problems: Vec<String>,
}

/// A body that is a file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobFile {
    /// Its name below `blobs/`.
    pub name: String,
    pub hash: [u8; 32],
    /// In octets.
    pub size: u64,
}

/// The accounts that have a directory.
pub fn accounts_in(data_dir: &Path) -> std::io::Result<Vec<AccountId>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(data_dir.join("accounts"))? {
        if let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            ids.push(AccountId(id));
        }
    }
    ids.sort();
    Ok(ids)
}

/// Where an account's database lies.
pub fn database_of(account_dir: &Path) -> PathBuf {
    account_dir.join("mail.db")
}

/// Copies a database to `target`, which is made anew, in the form in which it needs no log. `watch` is told the octets
/// copied and those in all after each step; `false` stops the copy. When this returns the copy is sound and durable.
pub fn copy_database(source: &Path, target: &Path, watch: &mut dyn FnMut(u64, u64) -> bool) -> Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let left = PathBuf::from(format!("{}{suffix}", target.display()));
        if left.exists() {
            fs::remove_file(left)?;
        }
    }
    let from = connection::open_to_read(source)?;
    let wal = PathBuf::from(format!("{}-wal", source.display()));
    // The read transaction is the snapshot: without it every commit of somebody else would start the copy over.
    from.execute_batch("BEGIN")?;
    let page_bytes: u64 = from.query_row("PRAGMA page_size", [], |row| row.get::<_, i64>(0))? as u64;
    from.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let mut to = Connection::open(target)?;
    to.execute_batch("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")?;
    {
        let copy = Backup::new(&from, &mut to)?;
        loop {
            let step = copy.step(STEP_PAGES)?;
            super::crash::point("backup.step");
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => std::thread::sleep(BUSY_WAIT),
            }
            let progress = copy.progress();
            let pages = |count: i32| u64::try_from(count).unwrap_or(0) * page_bytes;
            let total = pages(progress.pagecount);
            if !watch(total.saturating_sub(pages(progress.remaining)), total) {
                return Err(Error::Unavailable);
            }
            if fs::metadata(&wal).is_ok_and(|log| log.len() > MOST_WAL_BYTES) {
                return Err(Error::Limit("what is written during a backup"));
            }
        }
    }
    drop(from);
    // The copy says of itself that it has a log; without one it is a single file for ever.
    to.query_row("PRAGMA journal_mode=DELETE", [], |_| Ok(()))?;
    drop(to);
    verify_structure(&connection::open_resting(target)?)?;
    File::open(target)?.sync_all()?;
    Ok(())
}

/// Refuses a database whose pages do not fit together.
fn verify_structure(conn: &Connection) -> Result<()> {
    let verdict: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(Error::Fault(format!("the database is damaged: {verdict}"))) }
}

/// Counts what is in the copy of an account's database and verifies its inline bodies. `Err`: it cannot be read.
pub fn inspect(database: &Path) -> Result<Inspection> {
    let conn = connection::open_resting(database)?;
    verify_structure(&conn)?;
    let count = |sql: &str| -> Result<u64> { Ok(conn.query_row(sql, [], |row| row.get::<_, i64>(0))? as u64) };
    let mut found = Inspection {
        mailboxes: count("SELECT count(*) FROM mailbox")?,
        messages: count("SELECT count(*) FROM message")?,
        removed: count("SELECT count(*) FROM removed")?,
        contents: count("SELECT count(*) FROM content")?,
        body_bytes: count("SELECT coalesce(sum(size), 0) FROM content")?,
        files: count("SELECT count(*) FROM content WHERE file IS NOT NULL")?,
        problems: Vec::new(),
    };
    let mut damaged: Vec<i64> = Vec::new();
    let mut query = conn.prepare(
        "SELECT c.id, c.hash, b.data FROM content c LEFT JOIN body b ON b.id = c.id
         WHERE c.file IS NULL AND c.refs > 0",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let hash = row.get_ref(1)?.as_blob().unwrap_or_default();
        let is_whole = row.get_ref(2)?.as_blob().is_ok_and(|body| blake3::hash(body).as_bytes() == hash);
        if !is_whole {
            damaged.push(row.get(0)?);
        }
    }
    if !damaged.is_empty() {
        let named: Vec<String> = damaged.iter().take(MOST_NAMED).map(i64::to_string).collect();
        let more = if damaged.len() > MOST_NAMED { ", ..." } else { "" };
        found.problems.push(format!(
            "{} stored bodies are damaged or missing in the database (content {}{more})",
            damaged.len(),
            named.join(", ")
        ));
    }
    let lost = count("SELECT count(*) FROM message WHERE cid NOT IN (SELECT id FROM content)")?;
    if lost > 0 {
        found.problems.push(format!("{lost} messages refer to content that is not there"));
    }
    Ok(found)
}

/// Names every body that is a file and that some message, there or expunged, refers to.
pub fn each_file(
    database: &Path,
    see: &mut dyn FnMut(BlobFile) -> std::result::Result<(), String>,
) -> std::result::Result<(), String> {
    let mut read = || -> Result<std::result::Result<(), String>> {
        let conn = connection::open_resting(database)?;
        let mut query =
            conn.prepare("SELECT file, hash, size FROM content WHERE file IS NOT NULL AND refs > 0 ORDER BY file")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let (name, hash, size): (String, [u8; 32], i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if !is_blob_name(&name) {
                return Ok(Err(format!("{name:?} is no name of a body")));
            }
            if let Err(stop) = see(BlobFile { name, hash, size: size as u64 }) {
                return Ok(Err(stop));
            }
        }
        Ok(Ok(()))
    };
    read().map_err(|error| error.to_string())?
}

/// `ab/<64 hex digits>-<16 hex digits>`: names come out of a file that somebody may have made, and become paths.
pub fn is_blob_name(name: &str) -> bool {
    let is_hex = |text: &str, digits: usize| text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    let Some((shelf, rest)) = name.split_once('/') else { return false };
    let Some((hash, random)) = rest.split_once('-') else { return false };
    is_hex(shelf, 2) && is_hex(hash, 64) && is_hex(random, 16) && hash.starts_with(shelf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailstore::{Account, MailStore, NewMessage, Options};
    use crate::types::{FlagSet, MailboxName};

    async fn place(account: &Account, text: &str, octets: usize) {
        let mut draft = account.draft();
        draft
            .write(format!("Subject: {text}\r\n\r\n{}", text.repeat(octets / text.len())).as_bytes())
            .await
            .expect("ok");
        let prepared = draft.finish().await.expect("ok");
        let message = NewMessage { prepared, flags: FlagSet::new(), internal_date: None };
        account.place(&MailboxName::inbox(), vec![message]).await.expect("placed");
    }

    /// The step is in the middle of the copy; an order that had to wait for it would never be answered.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_copy_shows_one_moment_and_nobody_waits_for_it() {
        let home = tempfile::tempdir().expect("a folder");
        let store = MailStore::open(home.path(), Options { min_free_bytes: 0, ..Options::default() }).expect("opens");
        let account = store.account(AccountId(1)).await.expect("opens");
        for n in 0..60 {
            place(&account, &format!("message {n} "), 100_000).await;
        }
        place(&account, "large ", 300_000).await;
        let (source, target) = (database_of(&home.path().join("accounts/1")), home.path().join("copy.db"));
        let handle = tokio::runtime::Handle::current();
        let copied = tokio::task::spawn_blocking({
            let (account, target) = (account.clone(), target.clone());
            move || {
                let mut steps = 0;
                copy_database(&source, &target, &mut |done, total| {
                    steps += 1;
                    assert!(done <= total);
                    handle.block_on(place(&account, &format!("during {steps} "), 50_000));
                    true
                })
                .map(|()| steps)
            }
        });
        let steps = copied.await.expect("joined").expect("copied");
        assert!(steps > 3, "{steps} steps");
        let found = inspect(&target).expect("inspected");
        assert_eq!((found.messages, found.files, found.mailboxes), (61, 1, 6), "nothing of what came during the copy");
        assert_eq!(found.problems, Vec::<String>::new());
        assert!(!home.path().join("copy.db-wal").exists(), "one file is all");
        let mut files = Vec::new();
        each_file(&target, &mut |file| {
            files.push(file);
            Ok(())
        })
        .expect("listed");
        let stored = home.path().join("accounts/1/blobs").join(&files[0].name);
        assert_eq!(crate::mailstore::blobs::hash_file(&stored).expect("there"), (files[0].hash, files[0].size));
    }

    #[tokio::test]
    async fn a_stopped_copy_and_a_damaged_source_are_told() {
        let home = tempfile::tempdir().expect("a folder");
        let store = MailStore::open(home.path(), Options { min_free_bytes: 0, ..Options::default() }).expect("opens");
        let account = store.account(AccountId(1)).await.expect("opens");
        for n in 0..40 {
            place(&account, &format!("message {n} "), 60_000).await;
        }
        store.close();
        let (source, target) = (database_of(&home.path().join("accounts/1")), home.path().join("copy.db"));
        assert_eq!(copy_database(&source, &target, &mut |_, _| false), Err(Error::Unavailable));
        copy_database(&source, &target, &mut |_, _| true).expect("copied over what was left");

        let mut octets = fs::read(&target).expect("read");
        // So long a run of it is only in the body, not in what was stored about it.
        let text = "message 7 ".repeat(200).into_bytes();
        let at = octets.windows(text.len()).position(|window| window == text).expect("a body");
        octets[at] ^= 1;
        fs::write(&target, &octets).expect("written");
        let found = inspect(&target).expect("its structure is whole");
        assert_eq!(found.problems.len(), 1);
        let page = octets.len() / 2 / 4096 * 4096;
        octets[page..page + 4096].fill(0xff);
        octets[4096 * 2..4096 * 3].fill(0xff);
        fs::write(&source, &octets).expect("written");
        assert!(matches!(copy_database(&source, &target, &mut |_, _| true), Err(Error::Fault(_))));
    }

    #[test]
    fn only_names_of_bodies_become_paths() {
        let name = format!("ab/ab{}-{}", "0".repeat(62), "1".repeat(16));
        assert!(is_blob_name(&name));
        for bad in ["", "ab/x", "../../etc/passwd", &name[1..], &name.replace('-', "/"), &format!("{name}0"), "ac/ab"] {
            assert!(!is_blob_name(bad), "{bad}");
        }
    }
}
