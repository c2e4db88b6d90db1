//! `pillarbox backup`: a copy of every account while its clients write. The database first, as it is at one moment;
//! then the bodies in files, which never change, so that what is there already is left out; all under a lease that
//! keeps the sweep from letting any of them go. An account's copy counts from the moment its manifest is in place, and
//! until then the one before it does.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{self, Copied, PART};
use super::manifest::{Manifest, Vouched};
use super::moment::written;
use super::owner::{Held, Owner};
use super::{Watch, counted};
use crate::mailstore::backup::database_of;
use crate::mailstore::backup::{self, BlobFile};
use crate::mailstore::lock::account_dir;
use crate::mailstore::{Purpose, compact_time, crash};
use crate::types::AccountId;

pub(super) const TOP: &str = "pillarbox-backup";
pub(super) const OF_ACCOUNT: &str = "pillarbox-account";
pub(super) const MANIFEST: &str = "manifest";
pub(super) const KEY: &str = "hash.key";
/// How often an account is begun anew when its lease was lost on the way.
const ATTEMPTS: u32 = 3;
/// Most faults of one account written down.
const MOST_FAULTS: usize = 100;

/// What is to be backed up, and where to.
pub struct Order<'a> {
    pub data_dir: &'a Path,
    pub dir: &'a Path,
    /// Each with its user's name; empty for an account whose user was removed.
    pub accounts: Vec<(AccountId, String)>,
    /// Whether to take away what the newest copies no longer need.
    pub prune: bool,
    /// Seconds since 1970.
    pub now_secs: i64,
}

/// How it went, by number of accounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    pub complete: u64,
    pub incomplete: u64,
    /// There is no new copy at all; an older one was left as it is.
    pub failed: u64,
}

/// Where the backup of an account lies.
pub(super) fn account_backup(dir: &Path, account: AccountId) -> PathBuf {
    dir.join("accounts").join(account.to_string())
}

/// Backs up `server.db` and the accounts. `Err`: nothing could be begun; what goes wrong with one account does not
/// keep the others from theirs.
pub fn backup(order: &Order<'_>, owner: &Arc<dyn Owner>, watch: &mut dyn Watch) -> Result<Outcome, String> {
    let dir = prepare(order)?;
    let _lock = files::lock_dir(&dir)
        .map_err(|error| format!("{}: {error}", dir.display()))?
        .ok_or_else(|| format!("another backup is writing to {}", dir.display()))?;
    let key = copy_key(order, &dir)?;
    let server = copy_server(order, &dir)?;
    let mut outcome = Outcome::default();
    for (account, user) in &order.accounts {
        let name = if user.is_empty() { format!("account {account}") } else { user.clone() };
        let source = account_dir(order.data_dir, *account);
        if !source.exists() {
            watch.say(&format!("{name}: has no mail yet"));
            continue;
        }
        let one =
            One { order, owner, account: *account, user, name: &name, source, dir: account_backup(&dir, *account) };
        match one.run(watch) {
            Ok(manifest) if manifest.value("state") == Some("complete") => {
                outcome.complete += 1;
                watch.say(&format!("{name}: complete, {}", told(&manifest)));
            }
            Ok(manifest) => {
                outcome.incomplete += 1;
                watch.say(&format!("{name}: INCOMPLETE, {}", told(&manifest)));
                manifest.values("fault").for_each(|fault| watch.say(&format!("{name}: {fault}")));
            }
            Err(reason) => {
                outcome.failed += 1;
                watch.say(&format!("{name}: NOT BACKED UP: {reason}"));
            }
        }
    }
    finish(order, &dir, &key, &server).map_err(|error| format!("{}: {error}", dir.display()))?;
    Ok(outcome)
}

fn prepare(order: &Order<'_>) -> Result<PathBuf, String> {
    let trouble = |error: std::io::Error| format!("{}: {error}", order.dir.display());
    files::make_dir(order.dir).map_err(trouble)?;
    let dir = order.dir.canonicalize().map_err(trouble)?;
    if dir.starts_with(order.data_dir) {
        return Err(format!("{} lies in the data directory; what takes one away takes both", dir.display()));
    }
    files::make_dir(&dir.join("accounts")).map_err(trouble)?;
    Ok(dir)
}

/// The key under which Message-IDs are hashed. It also tells one installation from another.
fn copy_key(order: &Order<'_>, dir: &Path) -> Result<blake3::Hash, String> {
    let (own, kept) = (order.data_dir.join(KEY), dir.join(KEY));
    let octets = fs::read(&own).map_err(|error| format!("{}: {error}", own.display()))?;
    match fs::read(&kept) {
        Ok(other) if other != octets => {
            return Err(format!("{} holds the backup of another installation", dir.display()));
        }
        Ok(_) => {}
        Err(_) => files::write_durably(&kept, &octets).map_err(|error| format!("{}: {error}", kept.display()))?,
    }
    Ok(blake3::hash(&octets))
}

fn copy_server(order: &Order<'_>, dir: &Path) -> Result<Vouched, String> {
    let name = free_name(dir, "server", order.now_secs);
    let target = dir.join(&name);
    backup::copy_database(&order.data_dir.join("server.db"), &target, &mut |_, _| true)
        .map_err(|error| format!("server.db cannot be copied: {error}"))?;
    vouch(&target, name).map_err(|error| format!("{}: {error}", target.display()))
}

fn vouch(path: &Path, name: String) -> std::io::Result<Vouched> {
    let (hash, size) = files::hash_file(path, &mut |_| {})?;
    Ok(Vouched { name, hash, size })
}

/// `mail-20260102T030405Z.db`, and on with a number while that is taken.
fn free_name(dir: &Path, word: &str, now_secs: i64) -> String {
    let time = compact_time(now_secs);
    let names = std::iter::once(format!("{word}-{time}.db")).chain((2..).map(|n| format!("{word}-{time}-{n}.db")));
    names.into_iter().find(|name| !dir.join(name).exists()).unwrap_or_default()
}

fn told(manifest: &Manifest) -> String {
    let number = |word: &str| manifest.number(word).unwrap_or(0);
    let new = counted(number("new-files"), "new file");
    format!("{} in {}, {new}", counted(number("messages"), "message"), counted(number("mailboxes"), "folder"))
}

/// The manifest of the whole: written last, from what the accounts' own ones say.
fn finish(order: &Order<'_>, dir: &Path, key: &blake3::Hash, server: &Vouched) -> std::io::Result<()> {
    let mut manifest = Manifest::default();
    manifest.add(TOP, 1);
    manifest.add("program", env!("CARGO_PKG_VERSION"));
    manifest.add("taken", written(order.now_secs));
    manifest.add("key", key.to_hex());
    manifest.add_file("server", server);
    let mut accounts: Vec<i64> = Vec::new();
    for entry in fs::read_dir(dir.join("accounts"))? {
        accounts.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i64>().ok()));
    }
    accounts.sort_unstable();
    for account in accounts {
        let path = account_backup(dir, AccountId(account)).join(MANIFEST);
        let (state, taken, user) = match Manifest::read(&path, OF_ACCOUNT) {
            Ok(Some(own)) => {
                let value = |word: &str| own.value(word).unwrap_or("-").to_owned();
                (value("state"), value("taken"), value("user"))
            }
            Ok(None) | Err(_) => ("incomplete".into(), "-".into(), "-".into()),
        };
        manifest.add("account", format_args!("{account} {state} {taken} {user}"));
    }
    crash::point("backup.before_manifest");
    manifest.write(&dir.join(MANIFEST))?;
    // Databases of users that no manifest names any more.
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("server-") && name != server.name {
            fs::remove_file(entry.path())?;
        }
    }
    files::sync_dir(dir)
}

/// One account on its way into the backup.
struct One<'a> {
    order: &'a Order<'a>,
    owner: &'a Arc<dyn Owner>,
    account: AccountId,
    user: &'a str,
    name: &'a str,
    source: PathBuf,
    dir: PathBuf,
}

/// A copied database with what has to go along with it.
struct Taken {
    database: Vouched,
    found: backup::Inspection,
    faults: Vec<String>,
    new_files: u64,
}

impl One<'_> {
    fn run(&self, watch: &mut dyn Watch) -> Result<Manifest, String> {
        let trouble = |error: std::io::Error| format!("{}: {error}", self.dir.display());
        files::make_dir(&self.dir).map_err(trouble)?;
        let before = Manifest::read(&self.dir.join(MANIFEST), OF_ACCOUNT);
        remove_parts(&self.dir).map_err(trouble)?;
        // With a manifest that cannot be read nobody knows which database is the good one: then none goes yet.
        if let Ok(before) = &before {
            self.keep_only(before.iter()).map_err(trouble)?;
        }
        let before = before.ok().flatten();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let held = Held::begin(self.owner, self.account, Purpose::Backup)?;
            let taken = self.take(&held, watch);
            let is_unbroken = held.is_unbroken();
            match taken {
                Ok(taken) if is_unbroken => return self.commit(before, taken).map_err(trouble),
                Err(reason) if is_unbroken => return self.give_up(before, reason),
                _ if attempts == ATTEMPTS => {
                    return self.give_up(before, "the server did not leave the account alone for long enough".into());
                }
                _ => watch.say(&format!("{}: the server was started anew meanwhile; once more", self.name)),
            }
        }
    }

    /// Without a sound copy of the database there is none of the account. One that is there stays; where there was
    /// none before, a manifest says that this is not a backup.
    fn give_up(&self, before: Option<Manifest>, reason: String) -> Result<Manifest, String> {
        if let Some(before) = before.as_ref().filter(|before| before.file("database").is_some()) {
            let taken = before.value("taken").unwrap_or("an unknown time");
            return Err(format!("{reason}; the copy of {taken} stays"));
        }
        let mut manifest = self.head("incomplete");
        manifest.add("fault", &reason);
        let written = manifest.write(&self.dir.join(MANIFEST));
        written.map_err(|error| format!("{}: {error}", self.dir.display()))?;
        Err(reason)
    }

    fn head(&self, state: &str) -> Manifest {
        let mut manifest = Manifest::default();
        manifest.add(OF_ACCOUNT, 1);
        manifest.add("account", self.account);
        manifest.add("user", if self.user.is_empty() { "-" } else { self.user });
        manifest.add("taken", written(self.order.now_secs));
        manifest.add("state", state);
        manifest
    }

    fn take(&self, held: &Held, watch: &mut dyn Watch) -> Result<Taken, String> {
        let name = free_name(&self.dir, "mail", self.order.now_secs);
        let target = self.dir.join(&name);
        let source = database_of(&self.source);
        if !source.exists() {
            return Err("its database is gone; see `pillarbox check --repair`".into());
        }
        let copied = backup::copy_database(&source, &target, &mut |done, total| {
            watch.progress(&format!("{}: database", self.name), done, total);
            !held.is_lost()
        });
        let described = copied.and_then(|()| backup::inspect(&target));
        let found = described.map_err(|error| {
            // What is left of it is nothing to restore from.
            let _ = fs::remove_file(&target);
            format!("its database cannot be copied: {error}")
        })?;
        crash::point("backup.after_database");
        let mut faults = found.problems.clone();
        let new_files = self.copy_blobs(&target, &mut faults, watch)?;
        let database = vouch(&target, name).map_err(|error| format!("{}: {error}", target.display()))?;
        Ok(Taken { database, found, faults, new_files })
    }

    /// Copies the bodies that are not there yet. Gives how many; what is wrong with single ones goes to `faults`.
    fn copy_blobs(&self, database: &Path, faults: &mut Vec<String>, watch: &mut dyn Watch) -> Result<u64, String> {
        let target = self.dir.join("blobs");
        let mut missing: Vec<BlobFile> = Vec::new();
        let mut total = 0;
        backup::each_file(database, &mut |file| {
            let there = fs::metadata(target.join(&file.name)).is_ok_and(|found| found.len() == file.size);
            if !there {
                total += file.size;
                missing.push(file);
            }
            Ok(())
        })?;
        let trouble = |error: std::io::Error| format!("{}: {error}", target.display());
        let mut shelves: HashSet<PathBuf> = HashSet::new();
        let (mut done, mut copied) = (0, 0);
        let what = format!("{}: large messages", self.name);
        for file in &missing {
            let to = target.join(&file.name);
            let shelf = to.parent().unwrap_or(&target).to_path_buf();
            if !shelves.contains(&shelf) {
                files::make_dir(&shelf).map_err(trouble)?;
            }
            let from = self.source.join("blobs").join(&file.name);
            let mut advance = |octets| {
                done += octets;
                watch.progress(&what, done, total);
            };
            let fault = match files::copy_verified(&from, &to, &file.hash, &mut advance) {
                Ok(Copied::Whole) => None,
                Ok(Copied::Damaged) => Some(format!("the body {} is damaged in the store", file.name)),
                // The target's disk is everybody's trouble; a file that cannot be read is one message's.
                Err(error) if !from.exists() || fs::File::open(&from).is_err() => {
                    Some(format!("the body {} cannot be read: {error}", file.name))
                }
                Err(error) => return Err(format!("{}: {error}", to.display())),
            };
            match fault {
                None => copied += 1,
                Some(fault) if faults.len() < MOST_FAULTS => faults.push(fault),
                Some(_) => {}
            }
            shelves.insert(shelf);
            crash::point("backup.after_blob");
        }
        for shelf in &shelves {
            files::sync_dir(shelf).map_err(trouble)?;
        }
        Ok(copied)
    }

    fn commit(&self, before: Option<Manifest>, taken: Taken) -> std::io::Result<Manifest> {
        let is_complete = taken.faults.is_empty();
        let mut manifest = self.head(if is_complete { "complete" } else { "incomplete" });
        manifest.add_file("database", &taken.database);
        let counts = [
            ("mailboxes", taken.found.mailboxes),
            ("messages", taken.found.messages),
            ("removed", taken.found.removed),
            ("contents", taken.found.contents),
            ("body-bytes", taken.found.body_bytes),
            ("files", taken.found.files),
            ("new-files", taken.new_files),
        ];
        counts.iter().for_each(|(word, count)| manifest.add(word, count));
        taken.faults.iter().for_each(|fault| manifest.add("fault", fault));
        // An incomplete copy never takes the last complete one away.
        let complete = before.as_ref().and_then(|before| match before.value("state") {
            Some("complete") => before.file("database"),
            _ => before.file("complete-before"),
        });
        if let Some(complete) = complete.filter(|_| !is_complete) {
            manifest.add_file("complete-before", &complete);
        }
        files::sync_dir(&self.dir)?;
        crash::point("backup.before_commit");
        manifest.write(&self.dir.join(MANIFEST))?;
        crash::point("backup.after_commit");
        self.keep_only(std::iter::once(&manifest))?;
        if self.order.prune && is_complete {
            self.prune(&taken.database)?;
        }
        Ok(manifest)
    }

    /// Takes away databases that no manifest names.
    fn keep_only<'m>(&self, manifests: impl Iterator<Item = &'m Manifest>) -> std::io::Result<()> {
        let named = |manifest: &Manifest| [manifest.file("database"), manifest.file("complete-before")];
        let kept: HashSet<String> = manifests.flat_map(named).flatten().map(|file| file.name).collect();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("mail-") && !kept.contains(&name) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Takes away bodies that the newest copy does not need.
    fn prune(&self, database: &Vouched) -> std::io::Result<()> {
        let mut needed = HashSet::new();
        let read = backup::each_file(&self.dir.join(&database.name), &mut |file| {
            needed.insert(file.name);
            Ok(())
        });
        read.map_err(std::io::Error::other)?;
        for_each_blob(&self.dir, &mut |name, path| {
            if needed.contains(name) { Ok(()) } else { fs::remove_file(path) }
        })
    }
}

/// Files that a backup left half written when it was killed.
fn remove_parts(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.as_os_str().to_string_lossy().ends_with(PART) {
            fs::remove_file(path)?;
        }
    }
    for_each_blob(dir, &mut |name, path| if name.ends_with(PART) { fs::remove_file(path) } else { Ok(()) })
}

/// Every file below `blobs/`, by its name there and its path.
pub(super) fn for_each_blob(
    dir: &Path,
    see: &mut dyn FnMut(&str, &Path) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let Ok(shelves) = fs::read_dir(dir.join("blobs")) else { return Ok(()) };
    for shelf in shelves {
        let shelf = shelf?;
        if !shelf.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(shelf.path())? {
            let file = file?;
            let name = format!("{}/{}", shelf.file_name().to_string_lossy(), file.file_name().to_string_lossy());
            see(&name, &file.path())?;
        }
    }
    Ok(())
}
