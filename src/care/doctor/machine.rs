//! What the server stands on: its directory and keys, the disk, the clock, memory, and how many files it may open.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Find;
use crate::care::moment::written;
use crate::config::Config;
use crate::mailstore::lock;

/// With less memory than this at hand the machine will swap or kill.
const LITTLE_MEMORY_BYTES: u64 = 256 << 20;
/// Files an account's database needs while it is open: itself, its log, and the log's index.
const FILES_OF_A_CONNECTION: u64 = 3;
/// Files a delivery may need: its connection and its draft.
const FILES_OF_A_DELIVERY: u64 = 2;
/// Files the program needs besides.
const FILES_BESIDES: u64 = 100;
/// A clock before this day is wrong: the program is younger. 2026-01-01.
const EARLIEST_SECS: i64 = 1_767_225_600;
/// A file from so far in the future was written under another clock.
const AHEAD_SECS: i64 = 3600;

/// Looks at all of it. `now_secs`: what the clock says.
pub fn machine(config: &Config, now_secs: i64) -> Vec<Find> {
    let mut finds = Vec::new();
    match lock::find(&config.data_dir) {
        Ok(data_dir) => {
            finds.extend(directory(&data_dir));
            finds.extend(file_system(&data_dir));
            finds.extend(room(&data_dir, config));
            finds.extend(keys(&data_dir, config));
            finds.push(clock(&data_dir, now_secs));
        }
        Err(error @ lock::LockError::Network { .. }) => {
            finds.push(Find::fail(error.to_string(), "move data_dir to a local disk"));
        }
        Err(error) => finds.push(Find::fail(error.to_string(), "make it with `pillarbox user add`, or mend data_dir")),
    }
    finds.push(memory(config));
    finds
}

fn directory(data_dir: &Path) -> Vec<Find> {
    let shown = data_dir.display();
    let found = match fs::metadata(data_dir) {
        Ok(found) => found,
        Err(error) => return vec![Find::fail(format!("{shown}: {error}"), "mend its permissions")],
    };
    let mut finds = Vec::new();
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        let what = format!("{shown} has mode {mode:o}: others of this machine can get at mail");
        finds.push(Find::fail(what, format!("chmod 700 {shown}")));
    } else {
        finds.push(Find::pass(format!("{shown} is for its owner only")));
    }
    let strangers = ["accounts", "server.db", "hash.key", "lock"]
        .into_iter()
        .filter(|name| fs::metadata(data_dir.join(name)).is_ok_and(|inside| inside.uid() != found.uid()));
    let strangers: Vec<&str> = strangers.collect();
    if strangers.is_empty() {
        finds.push(Find::pass(format!("all in it belongs to user {}", found.uid())));
    } else {
        let what = format!("{} in it belong to another user than {shown} itself", strangers.join(", "));
        finds.push(Find::fail(what, format!("chown -R {}:{} {shown}", found.uid(), found.gid())));
    }
    finds
}

/// The kind of file system, by its number in statfs(2). Those on which SQLite's log does not work are refused before.
fn file_system(data_dir: &Path) -> Vec<Find> {
    let Ok(found) = rustix::fs::statfs(data_dir) else { return Vec::new() };
    let find = match found.f_type as u32 {
        0x0102_1994 => Find::fail("data_dir lies in memory (tmpfs)", "all mail is gone at the next start; use a disk"),
        0x794c_7630 => Find::warn(
            "data_dir lies on an overlay, which a container loses when it is made anew",
            "give the container a volume for it",
        ),
        0x6573_5546 => Find::warn("data_dir lies on FUSE", "make sure that fsync reaches the disk there"),
        0xef53 => Find::pass("data_dir lies on ext4"),
        0x5846_5342 => Find::pass("data_dir lies on XFS"),
        0x9123_683e => Find::pass("data_dir lies on btrfs"),
        0x2fc1_2fc1 => Find::pass("data_dir lies on ZFS"),
        0xf2f5_2010 => Find::pass("data_dir lies on F2FS"),
        other => Find::warn(
            format!("data_dir lies on a file system this program does not know (0x{other:x})"),
            "make sure that fsync reaches the disk there",
        ),
    };
    vec![find]
}

fn room(data_dir: &Path, config: &Config) -> Vec<Find> {
    let Ok(found) = rustix::fs::statvfs(data_dir) else { return Vec::new() };
    let (free, total) = (found.f_bavail.saturating_mul(found.f_frsize), found.f_blocks.saturating_mul(found.f_frsize));
    let mib = free >> 20;
    let mut finds = Vec::new();
    if free < config.limits.min_free_bytes {
        let what = format!("{mib} MiB are free, less than min_free_bytes: no new mail is taken");
        finds.push(Find::fail(what, "make room on the disk"));
    } else if free < total / 10 {
        finds.push(Find::warn(format!("{mib} MiB are free, under a tenth of the disk"), "make room before it is full"));
    } else {
        finds.push(Find::pass(format!("{mib} MiB are free on the disk")));
    }
    if found.f_files > 0 && found.f_favail < found.f_files / 20 {
        let what = format!("{} file names are left on the disk", found.f_favail);
        finds.push(Find::warn(what, "large messages are a file each; remove small files elsewhere on it"));
    }
    finds
}

fn keys(data_dir: &Path, config: &Config) -> Vec<Find> {
    if !config.needs_tls() {
        return Vec::new();
    }
    let keys = std::iter::once(&config.tls.key).chain(config.tls.additional.iter().map(|pair| &pair.key));
    keys.map(|path| key(data_dir, path)).collect()
}

fn key(data_dir: &Path, path: &Path) -> Find {
    let shown = path.display();
    let (found, owner) = match (fs::metadata(path), fs::metadata(data_dir)) {
        (Ok(found), Ok(owner)) => (found, owner),
        (Err(error), _) | (_, Err(error)) => return Find::fail(format!("{shown}: {error}"), "see [tls] key"),
    };
    let mode = found.mode() & 0o777;
    if mode & 0o007 != 0 {
        let what = format!("{shown} has mode {mode:o}: everybody on this machine can take the key");
        return Find::fail(what, format!("chmod o= {shown}"));
    }
    // The server runs as the owner of its directory; root reads everything.
    let is_readable = owner.uid() == 0
        || found.uid() == owner.uid() && mode & 0o400 != 0
        || found.gid() == owner.gid() && mode & 0o040 != 0;
    if is_readable {
        Find::pass(format!("{shown} can be read by the server and not by everybody"))
    } else {
        let what = format!("{shown} may not be readable for user {}, who owns data_dir", owner.uid());
        Find::warn(what, "let the server's user or group read it")
    }
}

fn clock(data_dir: &Path, now_secs: i64) -> Find {
    let shown = written(now_secs);
    if now_secs < EARLIEST_SECS {
        return Find::fail(format!("the clock says {shown}"), "set it, and have it kept by NTP");
    }
    let files = ["server.db", "server.db-wal", "accounts", "lock"];
    let newest = files.iter().filter_map(|name| fs::metadata(data_dir.join(name)).ok()).map(|f| f.mtime()).max();
    if newest.is_some_and(|newest| newest > now_secs + AHEAD_SECS) {
        let newest = written(newest.unwrap_or(0));
        return Find::fail(
            format!("the clock says {shown}, but the mail store was written at {newest}"),
            "one of the two is wrong: set the clock, and have it kept by NTP",
        );
    }
    let signs =
        ["/run/systemd/timesync/synchronized", "/run/chrony", "/var/lib/chrony/drift", "/var/lib/ntp/ntp.drift"];
    if signs.iter().any(|sign| Path::new(sign).exists()) {
        Find::pass(format!("the clock says {shown} and is kept by a time server"))
    } else {
        Find::warn(format!("the clock says {shown}; nothing shows that it is kept"), "run chrony or systemd-timesyncd")
    }
}

/// Whether enough files may be open. `server`: the process that serves; without one this process stands for it.
pub fn open_files(config: &Config, server: Option<u32>) -> Find {
    let own = || rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let limit = match server.map(limit_of) {
        None => own(),
        Some(Some(limit)) => limit,
        Some(None) => return Find::skip("the running server's limits cannot be read by this user"),
    };
    let connections = config.limits.account_connections as u64 * FILES_OF_A_CONNECTION;
    let deliveries = config.lmtp.connections as u64 * FILES_OF_A_DELIVERY;
    let besides = connections + deliveries + FILES_BESIDES;
    let needed = config.limits.sessions as u64 + besides;
    // Most servers never see limits.sessions; who has room for some thousands is well off.
    if limit >= needed {
        Find::pass(format!("{limit} files may be open, enough for all sessions that are allowed"))
    } else if limit >= besides + 1000 {
        let sessions = limit - besides;
        Find::pass(format!("{limit} files may be open, enough for {sessions} sessions"))
    } else {
        Find::fail(
            format!("{limit} files may be open, and {needed} may be needed"),
            "set LimitNOFILE= in the unit, or lower limits.sessions and limits.account_connections",
        )
    }
}

/// How many files a process may have open.
fn limit_of(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/limits")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?;
    if value == "unlimited" { Some(u64::MAX) } else { value.parse().ok() }
}

fn memory(config: &Config) -> Find {
    let Ok(available) = available_memory() else { return Find::warn("/proc/meminfo cannot be read", "mount /proc") };
    let (mib, wanted) = (available >> 20, config.limits.snapshot_bytes + LITTLE_MEMORY_BYTES);
    if available < wanted {
        let advice = "lower limits.snapshot_bytes, or give the machine more memory";
        Find::warn(format!("{mib} MiB of memory are at hand, less than {} MiB", wanted >> 20), advice)
    } else {
        Find::pass(format!("{mib} MiB of memory are at hand"))
    }
}

fn available_memory() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other("no MemAvailable"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::care::doctor::Weight;
    use std::os::unix::fs::PermissionsExt;

    const NOW: i64 = 1_900_000_000;

    #[test]
    fn a_directory_that_others_can_read_is_a_failure_with_the_command_that_mends_it() {
        let home = tempfile::tempdir().expect("a folder");
        let data_dir = lock::prepare(&home.path().join("data")).expect("made");
        assert!(directory(&data_dir).iter().all(|find| find.weight == Weight::Pass));
        fs::set_permissions(&data_dir, fs::Permissions::from_mode(0o755)).expect("set");
        let finds = directory(&data_dir);
        assert_eq!(finds[0].weight, Weight::Fail);
        assert_eq!(finds[0].advice, format!("chmod 700 {}", data_dir.display()));
    }

    #[test]
    fn a_key_for_everybody_is_a_failure() {
        let home = tempfile::tempdir().expect("a folder");
        let mut config = Config::default();
        config.tls.key = home.path().join("key.pem");
        assert_eq!(key(home.path(), &config.tls.key).weight, Weight::Fail, "there is none");
        fs::write(&config.tls.key, "x").expect("written");
        for (mode, weight) in [(0o644, Weight::Fail), (0o600, Weight::Pass), (0o640, Weight::Pass)] {
            fs::set_permissions(&config.tls.key, fs::Permissions::from_mode(mode)).expect("set");
            assert_eq!(key(home.path(), &config.tls.key).weight, weight, "{mode:o}");
        }
    }

    #[test]
    fn a_clock_that_cannot_be_right_is_a_failure() {
        let home = tempfile::tempdir().expect("a folder");
        assert_eq!(clock(home.path(), 1000).weight, Weight::Fail);
        assert_ne!(clock(home.path(), NOW).weight, Weight::Fail);
        let lock = home.path().join("lock");
        fs::write(&lock, "").expect("written");
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(NOW as u64 + 100_000);
        fs::File::options().write(true).open(&lock).expect("opened").set_modified(time).expect("set");
        assert!(clock(home.path(), NOW).what.contains("was written at"));
    }

    #[test]
    fn too_few_open_files_are_a_failure_and_those_of_a_running_server_count() {
        let own = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        assert_eq!(limit_of(std::process::id()), Some(own));
        let mut config = Config::default();
        config.limits.sessions = 1;
        config.limits.account_connections = 1;
        assert_eq!(open_files(&config, Some(std::process::id())).weight, Weight::Pass);
        config.limits.account_connections = 1 << 40;
        assert_eq!(open_files(&config, None).weight, Weight::Fail);
        // No process has this number: it is above what the kernel gives out.
        assert_eq!(open_files(&config, Some(u32::MAX)).weight, Weight::Skip);
    }

    #[test]
    fn a_full_disk_and_a_missing_directory_are_failures() {
        let home = tempfile::tempdir().expect("a folder");
        let mut config = Config::default();
        config.limits.min_free_bytes = u64::MAX;
        assert_eq!(room(home.path(), &config)[0].weight, Weight::Fail);
        config.data_dir = home.path().join("none");
        assert!(machine(&config, NOW).iter().any(|find| find.weight == Weight::Fail));
    }
}
