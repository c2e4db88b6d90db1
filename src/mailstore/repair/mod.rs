//! Repair of an account's files: what can be read of them is put together anew beside them, checked, and only then may
//! take their place. The damaged files themselves are never opened by SQLite and never written: all reading is done
//! from a copy of the database, and bodies in files are taken over under second names.

mod bodies;
mod build;
mod collect;
mod imports;
mod note;
mod raw;
mod rebuild;
mod source;
mod tree;
mod write;

#[cfg(test)]
mod damage_tests;

use std::fs;
use std::path::{Path, PathBuf};

pub(super) use build::see_file;
use collect::Collected;
use source::Table;

use super::check::check_files_of;
use super::error::{Error, Result};
use super::{blobs, connection, migrate};

/// Most lines of a report; a broken store need not fill the screen.
const MOST_LINES: usize = 1000;

/// What a repair is made of.
pub struct Rescue<'a> {
    /// Holds a copy of the damaged database and its log.
    pub source: &'a Path,
    /// The account's bodies in files; read only.
    pub blobs: &'a Path,
    /// Where the new store is made: an empty directory on the same file system as `blobs`.
    pub target: &'a Path,
    /// Under which Message-IDs are hashed.
    pub key: &'a [u8; 16],
    /// Seconds since 1970.
    pub now: i64,
}

/// What a repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Each a sentence for the operator.
    pub lines: Vec<String>,
    /// Messages that had a row.
    pub messages: u64,
    /// Messages whose octets are not what they were; a note stands for each.
    pub damaged: u64,
    /// Of those, messages of which no octet could be read.
    pub lost: u64,
    /// Messages that no folder had any more, found by their contents.
    pub recovered: u64,
    /// Messages whose flags were lost.
    pub flagless: u64,
    damaged_contents: u64,
}

impl Report {
    fn say(&mut self, line: String) {
        if self.lines.len() < MOST_LINES {
            self.lines.push(line);
        }
    }

    fn about_tables(&mut self, tables: &[Table], all: &Collected, has_trees: bool) {
        if !has_trees {
            self.say("SQLite cannot open the database; its rows were read from its pages".into());
            return;
        }
        let derived = ["structure", "sortkey", "msgref", "body", "span"];
        for table in tables.iter().map(|table| table.name.as_str()).filter(|name| !derived.contains(name)) {
            if !all.is_whole(table) {
                self.say(format!("the table {table} is damaged; its rows were read as far as they can be"));
            }
        }
        if all.odd_rows > 0 {
            self.say(format!("{} rows said what cannot be and were left out", all.odd_rows));
        }
    }
}

/// How a repair went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repaired {
    /// There was nothing to repair; nothing is staged.
    NotNeeded,
    /// The new store is staged, durable, and was found clean.
    Staged { found: Vec<String>, report: Report },
}

/// Looks an account's files through and, if anything is wrong with them, makes a whole store of what can be read, in
/// `staged`. `workshop` is room for the work; both must not be there. Nobody may use the account meanwhile.
pub fn repair(account_dir: &Path, workshop: &Path, staged: &Path, key: &[u8; 16], now: i64) -> Result<Repaired> {
    put_together(account_dir, workshop, staged, &Rules { key, now, is_forced: false })
}

/// The same, also when nothing is wrong: all that is derived is made anew, under this key.
pub fn repair_always(account_dir: &Path, workshop: &Path, staged: &Path, key: &[u8; 16], now: i64) -> Result<Repaired> {
    put_together(account_dir, workshop, staged, &Rules { key, now, is_forced: true })
}

struct Rules<'a> {
    key: &'a [u8; 16],
    now: i64,
    is_forced: bool,
}

fn put_together(account_dir: &Path, workshop: &Path, staged: &Path, rules: &Rules<'_>) -> Result<Repaired> {
    let Rules { key, now, is_forced } = *rules;
    let (source, target) = (workshop.join("source"), workshop.join("new"));
    for dir in [workshop, &source, &target] {
        blobs::make_dir(dir)?;
    }
    copy_database(account_dir, &source)?;
    let bodies = account_dir.join("blobs");
    // The check reads bodies where they are; nothing writes through this name.
    std::os::unix::fs::symlink(&bodies, source.join("blobs"))?;
    let found = match inspect(&source, now) {
        Ok(found) if found.is_empty() && !is_forced => return Ok(Repaired::NotNeeded),
        Ok(found) => found,
        Err(error) => vec![error.to_string()],
    };
    let mut report = Report::default();
    // What the check did to the copy is undone: the repair sees the files as they are.
    copy_database(account_dir, &source)?;
    rebuild::rebuild(&Rescue { source: &source, blobs: &bodies, target: &target, key, now }, &mut report)?;
    let left = inspect(&target, now)?;
    if !left.is_empty() {
        return Err(Error::Fault(format!("what was put together is not sound: {}", left.join("; "))));
    }
    super::crash::point("repair.before_stage");
    fs::rename(&target, staged)?;
    blobs::sync_dir(workshop)?;
    blobs::sync_dir(staged.parent().unwrap_or(staged))?;
    Ok(Repaired::Staged { found, report })
}

/// The database and its log, as they are now.
fn copy_database(from: &Path, to: &Path) -> Result<()> {
    for name in ["mail.db", "mail.db-wal"] {
        let target = to.join(name);
        match fs::copy(from.join(name), &target) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => match fs::remove_file(&target) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            },
            Err(error) => return Err(error.into()),
        }
    }
    match fs::remove_file(to.join("mail.db-shm")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The finds of a check of files that nobody uses.
fn inspect(dir: &Path, now: i64) -> Result<Vec<String>> {
    let database = dir.join("mail.db");
    if fs::metadata(&database).map_or(0, |found| found.len()) == 0 {
        return Err(Error::Fault("the database is gone".into()));
    }
    // An older version is brought up to this one first, as the server would do.
    drop(migrate::open(&database)?);
    let conn = connection::open(&database, connection::Role::Reader)?;
    Ok(check_files_of(dir, now, &conn)?.problems)
}

/// Where the work on an account is done.
pub fn workshop_dir(accounts: &Path, account: i64) -> PathBuf {
    accounts.join(format!("{account}.workshop"))
}

/// The key under which the Message-IDs of a data directory are hashed.
pub fn key_of(data_dir: &Path) -> Result<[u8; 16]> {
    let octets = fs::read(data_dir.join("hash.key"))?;
    octets.try_into().map_err(|_| Error::Fault("hash.key has not 16 octets".into()))
}
