//! `pillarbox restore`: an account, or a folder of one, out of a backup. All the copying is done beside what is there;
//! then the account is closed for the moment in which it is made to go on above what was given out, and exchanged. At
//! every point before that a crash leaves the old account, and after it the new one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backup::{KEY, MANIFEST, OF_ACCOUNT, TOP, account_backup};
use super::files::{self, Copied};
use super::manifest::{Manifest, Vouched};
use super::owner::{Held, Owner};
use super::{Watch, counted};
use crate::mailstore::backup::{BlobFile, database_of, each_file};
use crate::mailstore::directory::Directory;
use crate::mailstore::lock::account_dir;
use crate::mailstore::repair::{self, Repaired};
use crate::mailstore::restore::{Continued, Old, check_staged, continue_above, look_at};
use crate::mailstore::take_in::{Target, extract, import_dir};
use crate::mailstore::{Kept, Purpose, crash, is_pending, staged_dir};
use crate::types::{AccountId, MailboxName};

/// So much must stay free besides what is copied, in octets.
const ROOM_BYTES: u64 = 64 << 20;

/// A backup that was opened to restore from.
pub struct Source {
    dir: PathBuf,
    top: Manifest,
}

impl Source {
    pub fn open(dir: &Path) -> Result<Source, String> {
        let dir = dir.canonicalize().map_err(|error| format!("{}: {error}", dir.display()))?;
        let top = Manifest::read(&dir.join(MANIFEST), TOP)?
            .ok_or_else(|| format!("{} has no manifest: no backup into it was ever finished", dir.display()))?;
        Ok(Source { dir, top })
    }

    /// The users as they were, in a directory of their own below `room`, which is removed with the value.
    pub fn users(&self, room: &Path) -> Result<Users, String> {
        let server = self.top.file("server").ok_or("the manifest names no server.db")?;
        let home = room.join("restore.users");
        let trouble = |error: std::io::Error| format!("{}: {error}", home.display());
        let _ = fs::remove_dir_all(&home);
        files::make_dir(&home).map_err(trouble)?;
        let users = Users { home };
        copy_vouched(&self.dir, &server, &Directory::path(&users.home), &mut |_| {})?;
        Ok(users)
    }

    /// Lays users and key where no server has ever run. After it every account has the number it had.
    pub fn install_users(&self, data_dir: &Path) -> Result<(), String> {
        let (users, key) = (Directory::path(data_dir), data_dir.join(KEY));
        if users.exists() || key.exists() {
            return Err(format!("{} has users already; restore them one by one", data_dir.display()));
        }
        let server = self.top.file("server").ok_or("the manifest names no server.db")?;
        let octets = fs::read(self.dir.join(KEY)).map_err(|error| format!("{KEY}: {error}"))?;
        files::write_durably(&key, &octets).map_err(|error| format!("{}: {error}", key.display()))?;
        copy_vouched(&self.dir, &server, &users, &mut |_| {})?;
        let give = |path: &Path| files::give_to_owner(path, data_dir).map_err(|error| error.to_string());
        give(&key)?;
        give(&users)?;
        files::sync_dir(data_dir).map_err(|error| error.to_string())
    }

    fn account(&self, id: AccountId) -> Result<(PathBuf, Manifest, Vouched), String> {
        let dir = account_backup(&self.dir, id);
        let manifest =
            Manifest::read(&dir.join(MANIFEST), OF_ACCOUNT)?.ok_or("the backup holds no mail of this user")?;
        let database = manifest.file("database").ok_or("the backup of this user was never finished")?;
        Ok((dir, manifest, database))
    }

    fn has_key_of(&self, data_dir: &Path) -> bool {
        match (fs::read(self.dir.join(KEY)), fs::read(data_dir.join(KEY))) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        }
    }
}

/// Users of a backup, for looking up.
pub struct Users {
    home: PathBuf,
}

impl Users {
    pub fn open(&self) -> Result<Directory, String> {
        Directory::open_existing(&self.home).map_err(|error| error.to_string())
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        // What stays is found and removed by the next restore.
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// Whose mail, and into which account.
pub struct Order<'a> {
    pub source: &'a Source,
    pub data_dir: &'a Path,
    /// The account in the backup.
    pub from: AccountId,
    /// The account here.
    pub to: AccountId,
    /// How its user is called, for the person who asked.
    pub name: &'a str,
    /// Seconds since 1970.
    pub now_secs: i64,
}

/// Copies a file that a manifest vouches for.
fn copy_vouched(dir: &Path, file: &Vouched, to: &Path, advance: &mut dyn FnMut(u64)) -> Result<(), String> {
    let from = dir.join(&file.name);
    match files::copy_verified(&from, to, file.hash.as_bytes(), advance) {
        Ok(Copied::Whole) => Ok(()),
        Ok(Copied::Damaged) => Err(format!("{} is damaged", from.display())),
        Err(error) => Err(format!("{}: {error}", from.display())),
    }
}

/// Takes the right to stage files of accounts, and clears what a killed command left behind of this one.
pub(super) fn begin(data_dir: &Path, id: AccountId) -> Result<fs::File, String> {
    let accounts = data_dir.join("accounts");
    let trouble = |error: std::io::Error| format!("{}: {error}", accounts.display());
    let lock = files::lock_dir(&accounts).map_err(trouble)?.ok_or("another restore or repair is at work")?;
    if is_pending(data_dir, id) {
        return Err(
            "an exchange of this account's files was interrupted; start the server anew, which finishes it".into()
        );
    }
    for left in [staged_dir(data_dir, id), repair::workshop_dir(&accounts, id.0), import_dir(data_dir, id)] {
        match fs::remove_dir_all(&left) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(trouble(error)),
            _ => {}
        }
    }
    Ok(lock)
}

/// What a restore of an account will do, in sentences for the person who has to agree, and what it will replace.
pub fn announce(order: &Order<'_>) -> Result<(Vec<String>, Old), String> {
    let (_, manifest, _) = order.source.account(order.from)?;
    let name = order.name;
    let messages = counted(manifest.number("messages").unwrap_or(0), "message");
    let taken = manifest.value("taken").unwrap_or("an unknown time");
    let mut lines = vec![format!("the backup of {taken} has {messages} of {name}")];
    if manifest.value("state") != Some("complete") {
        lines.push("it is marked incomplete; what is missing in it comes back as notes that say so".into());
    }
    let old = look_at(&account_dir(order.data_dir, order.to));
    match &old {
        Old::None => lines.push(format!(
            "{name} has no mail here, so nobody knows which UIDs were given out since: every folder gets a new \
             UIDVALIDITY, and mail programs load everything again"
        )),
        Old::Readable { messages } => lines.push(format!(
            "it takes the place of the {} that {name} has here now; those are kept aside, and sessions of {name} end",
            counted(*messages, "message")
        )),
        Old::Unreadable(why) => lines.push(format!(
            "the mail {name} has here cannot be read ({why}), so nobody knows which UIDs were given out: every folder \
             gets a new UIDVALIDITY, and mail programs load everything again; the damaged files are kept aside"
        )),
    }
    Ok((lines, old))
}

/// Restores an account over what [`announce`] saw. The sentences say what was done.
pub fn restore_account(
    order: &Order<'_>,
    old: &Old,
    owner: &Arc<dyn Owner>,
    watch: &mut dyn Watch,
) -> Result<Vec<String>, String> {
    let live = account_dir(order.data_dir, order.to);
    let _lock = begin(order.data_dir, order.to)?;
    let mut lines = stage(order, watch)?;
    let staged = staged_dir(order.data_dir, order.to);
    crash::point("restore.after_stage");
    let held = Held::begin(owner, order.to, Purpose::Exchange)?;
    if *old == Old::None && database_of(&live).exists() {
        return Err("mail has come in since this began; begin again".into());
    }
    let old = matches!(old, Old::Readable { .. }).then_some(live.as_path());
    let continued = continue_above(&staged, old, order.now_secs).map_err(|error| error.to_string())?;
    files::give_to_owner(&staged, &order.data_dir.join("accounts")).map_err(|error| error.to_string())?;
    crash::point("restore.after_continue");
    if !held.is_unbroken() {
        return Err("the account was not left alone meanwhile; nothing was changed, begin again".into());
    }
    let kept = owner.exchange(order.to, Kept::Replaced)?;
    drop(held);
    lines.extend(told(order, &continued, kept.as_deref()));
    Ok(lines)
}

fn told(order: &Order<'_>, continued: &Continued, kept: Option<&str>) -> Vec<String> {
    let (messages, mailboxes) = (counted(continued.messages, "message"), counted(continued.mailboxes, "folder"));
    let mut lines = vec![format!("{}: {messages} in {mailboxes} restored", order.name)];
    if continued.new_validities > 0 {
        lines.push(format!("{} got a new UIDVALIDITY", counted(continued.new_validities, "folder")));
    }
    if continued.new_uids > 0 {
        lines.push(format!("{} that had gone since came back under new UIDs", counted(continued.new_uids, "message")));
    }
    if let Some(kept) = kept {
        let path = order.data_dir.join("accounts").join(kept);
        lines.push(format!("what was there is kept in {}; delete it when it is not missed", path.display()));
    }
    lines
}

/// Copies an account out of the backup, checks it, and puts what is damaged in it right. Leaves it staged.
fn stage(order: &Order<'_>, watch: &mut dyn Watch) -> Result<Vec<String>, String> {
    let (dir, manifest, database) = order.source.account(order.from)?;
    let accounts = order.data_dir.join("accounts");
    has_room(&accounts, database.size + manifest.number("body-bytes").unwrap_or(0))?;
    let workshop = repair::workshop_dir(&accounts, order.to.0);
    let copy = workshop.join("backup");
    let trouble = |error: std::io::Error| format!("{}: {error}", copy.display());
    files::make_dir(&copy).map_err(trouble)?;
    let what = format!("{}: database", order.name);
    let mut done = 0;
    copy_vouched(&dir, &database, &copy.join("mail.db"), &mut |octets| {
        done += octets;
        watch.progress(&what, done, database.size);
    })?;
    let mut wanted: Vec<BlobFile> = Vec::new();
    each_file(&copy.join("mail.db"), &mut |file| {
        wanted.push(file);
        Ok(())
    })?;
    copy_blobs(&dir, &copy, &wanted, order.name, watch)?;
    let staged = staged_dir(order.data_dir, order.to);
    let finds = check_staged(&copy, order.now_secs).unwrap_or_else(|error| vec![error.to_string()]);
    let mut lines = Vec::new();
    if finds.is_empty() && order.source.has_key_of(order.data_dir) {
        fs::rename(&copy, &staged).map_err(trouble)?;
        files::sync_dir(&accounts).map_err(trouble)?;
    } else {
        // Another key hashes Message-IDs in another way, so all that is derived is made anew.
        let key = repair::key_of(order.data_dir).map_err(|error| error.to_string())?;
        let bench = workshop.join("bench");
        let repaired = repair::repair_always(&copy, &bench, &staged, &key, order.now_secs);
        if let Repaired::Staged { report, .. } = repaired.map_err(|error| error.to_string())? {
            lines.extend(report.lines);
        }
    }
    fs::remove_dir_all(&workshop).map_err(trouble)?;
    files::give_to_owner(&staged, &accounts).map_err(trouble)?;
    Ok(lines)
}

/// Refuses what would fill the disk, before anything is copied.
fn has_room(dir: &Path, needed: u64) -> Result<(), String> {
    let free = rustix::fs::statvfs(dir).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    if free < needed.saturating_add(ROOM_BYTES) {
        return Err(format!("{needed} octets are needed beside what is there, and {free} are free"));
    }
    Ok(())
}

/// Copies bodies out of the backup. One that is damaged there is left out; the check will find it missing.
fn copy_blobs(from: &Path, to: &Path, wanted: &[BlobFile], name: &str, watch: &mut dyn Watch) -> Result<(), String> {
    let total = wanted.iter().map(|file| file.size).sum();
    let what = format!("{name}: large messages");
    let (mut done, mut shelves) = (0, std::collections::BTreeSet::new());
    for file in wanted {
        let target = to.join("blobs").join(&file.name);
        let shelf = target.parent().unwrap_or(to).to_path_buf();
        let trouble = |error: std::io::Error| format!("{}: {error}", target.display());
        files::make_dir(&shelf).map_err(trouble)?;
        let source = from.join("blobs").join(&file.name);
        let mut advance = |octets| {
            done += octets;
            watch.progress(&what, done, total);
        };
        match files::copy_verified(&source, &target, &file.hash, &mut advance) {
            Ok(Copied::Whole) => _ = shelves.insert(shelf),
            Ok(Copied::Damaged) => watch.say(&format!("{} is damaged in the backup", file.name)),
            Err(error) if fs::File::open(&source).is_err() => watch.say(&format!("{}: {error}", source.display())),
            Err(error) => return Err(trouble(error)),
        }
    }
    for shelf in shelves {
        files::sync_dir(&shelf).map_err(|error| format!("{}: {error}", shelf.display()))?;
    }
    Ok(())
}

/// Restores a folder and those below it, beside what is there.
pub fn restore_folder(
    order: &Order<'_>,
    target: &Target,
    owner: &Arc<dyn Owner>,
    watch: &mut dyn Watch,
) -> Result<String, String> {
    let (dir, _, database) = order.source.account(order.from)?;
    let _lock = begin(order.data_dir, order.to)?;
    let import = import_dir(order.data_dir, order.to);
    let trouble = |error: std::io::Error| format!("{}: {error}", import.display());
    files::make_dir(&import).map_err(trouble)?;
    let path = dir.join(&database.name);
    let found = extract(&path, &import, &target.from).map_err(|error| match error {
        crate::mailstore::Error::NoSuchMailbox => format!("the backup has no folder {}", target.from),
        error => format!("{}: {error}", path.display()),
    });
    let restored = found.and_then(|found| {
        copy_blobs(&dir, &import, &found.files, order.name, watch)?;
        files::give_to_owner(&import, &order.data_dir.join("accounts")).map_err(trouble)?;
        crash::point("restore.before_take_in");
        owner.take_in(order.to, target)
    });
    fs::remove_dir_all(&import).map_err(trouble)?;
    restored
}

/// The name a restored folder gets when nobody says: its own, and the day of the backup.
pub fn usual_name(source: &Source, from: AccountId, folder: &MailboxName) -> Result<MailboxName, String> {
    let (_, manifest, _) = source.account(from)?;
    let taken = manifest.value("taken").unwrap_or("");
    let day = taken.split('T').next().filter(|day| !day.is_empty()).unwrap_or("backup");
    MailboxName::new(&format!("{} (restored {day})", folder.leaf())).map_err(|bad| bad.to_string())
}
