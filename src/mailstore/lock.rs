//! The data directory: made, checked, and owned by one process at a time.
//! Two owners would each remember what the other changes, so the lock is taken before anything is opened. It is the
//! kernel's lock on an open file: it ends with the process, however that ends, and no stale file can block a start.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::types::AccountId;

/// Owning the data directory. Dropped, somebody else may own it.
#[derive(Debug)]
pub struct DataLock {
    data_dir: PathBuf,
    /// Held open: the lock lives as long as this file.
    _file: File,
}

/// Why the data directory cannot be used.
#[derive(Debug)]
pub enum LockError {
    /// Another process owns it; `pid` is the text it left, empty when it cannot be read.
    Held { data_dir: PathBuf, pid: String },
    /// It lies on a file system over which SQLite's write-ahead log does not work.
    Network { data_dir: PathBuf, kind: &'static str },
    /// It is not there.
    Missing(PathBuf),
    /// The system refused something.
    Trouble { path: PathBuf, error: io::Error },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Held { data_dir, pid } => {
                let who = if pid.is_empty() { "another process".to_owned() } else { format!("process {pid}") };
                write!(f, "{} is in use by {who}", data_dir.display())
            }
            LockError::Network { data_dir, kind } => write!(
                f,
                "{} lies on {kind}, over which the database cannot be kept safe; use a local disk",
                data_dir.display()
            ),
            LockError::Missing(path) => {
                write!(f, "there is no {} yet; `pillarbox user add` makes it", path.display())
            }
            LockError::Trouble { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for LockError {}

impl DataLock {
    /// Takes the lock of a directory that [`prepare`] or [`find`] gave. Does not wait.
    pub fn take(data_dir: &Path) -> Result<DataLock, LockError> {
        let path = data_dir.join("lock");
        let trouble = |error| LockError::Trouble { path: path.clone(), error };
        make_private_file(&path).map_err(trouble)?;
        let mut file = OpenOptions::new().read(true).write(true).open(&path).map_err(trouble)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Whoever holds it may be writing its number right now; the message does without then.
                let _ = file.take(20).read_to_string(&mut pid);
                let pid = pid.trim().chars().filter(char::is_ascii_digit).collect();
                return Err(LockError::Held { data_dir: data_dir.into(), pid });
            }
            Err(TryLockError::Error(error)) => return Err(trouble(error)),
        }
        let write_pid = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        // On a full disk the number does not fit. The lock holds all the same, and mail must stay reachable.
        let _ = write_pid(&mut file);
        Ok(DataLock { data_dir: data_dir.into(), _file: file })
    }

    /// The directory this is the lock of, canonical.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }
}

/// Makes the data directory if it is missing, with its `accounts`, for its owner only. Gives its canonical path.
pub fn prepare(data_dir: &Path) -> Result<PathBuf, LockError> {
    make_private_dir(data_dir).map_err(|error| LockError::Trouble { path: data_dir.into(), error })?;
    let data_dir = find(data_dir)?;
    let accounts = data_dir.join("accounts");
    make_private_dir(&accounts).map_err(|error| LockError::Trouble { path: accounts.clone(), error })?;
    Ok(data_dir)
}

/// The canonical path of a data directory that is there, on a file system that will do.
pub fn find(data_dir: &Path) -> Result<PathBuf, LockError> {
    let trouble = |error| LockError::Trouble { path: data_dir.into(), error };
    let canonical = match fs::canonicalize(data_dir) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(LockError::Missing(data_dir.into())),
        Err(error) => return Err(trouble(error)),
    };
    let kind = rustix::fs::statfs(&canonical).map_err(|errno| trouble(errno.into()))?.f_type;
    // Some systems give the number as signed 32 bits: compare the low 32 bits as they are.
    match network_name(kind as u32) {
        Some(kind) => Err(LockError::Network { data_dir: canonical, kind }),
        None => Ok(canonical),
    }
}

/// The name of a network file system by its number in statfs(2).
fn network_name(kind: u32) -> Option<&'static str> {
    match kind {
        0x6969 => Some("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("SMB"),
        0x0102_1997 => Some("9p"),
        0x5346_414f | 0x6b41_4653 => Some("AFS"),
        0x00c3_6400 => Some("Ceph"),
        _ => None,
    }
}

/// Where an account's files lie.
pub fn account_dir(data_dir: &Path, account: AccountId) -> PathBuf {
    data_dir.join("accounts").join(account.to_string())
}

/// Deletes all mail of an account that nobody has open. True: there was some. The directory is first renamed, so that
/// a crash on the way leaves no half account under a name that means something.
pub fn delete_account_files(data_dir: &Path, account: AccountId) -> io::Result<bool> {
    let home = account_dir(data_dir, account);
    let doomed = home.with_extension("deleted");
    let mut found = doomed.exists();
    if found {
        fs::remove_dir_all(&doomed)?;
    }
    match fs::rename(&home, &doomed) {
        Ok(()) => {
            found = true;
            File::open(data_dir.join("accounts"))?.sync_all()?;
            fs::remove_dir_all(&doomed)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(found)
}

/// Makes an empty file with mode 0600 if there is none, owned by whoever owns its directory.
pub(super) fn make_private_file(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => {
            give_to_owner_of_parent(path)?;
            sync_parent(path)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn make_private_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent.filter(|parent| !parent.exists()) {
        // What lies above is not ours: made as `mkdir -p` would.
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {
            give_to_owner_of_parent(path)?;
            sync_parent(path)
        }
        // Two commands at once: the other one made it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// An administrator runs the commands as root while the server runs as its own user: what root makes inside the
/// server's directory must belong to the server, or it cannot open its own database.
fn give_to_owner_of_parent(path: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    let owner = fs::metadata(parent)?;
    std::os::unix::fs::lchown(path, Some(owner.uid()), Some(owner.gid()))
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_second_owner_is_told_the_pid_of_the_first() {
        let home = tempfile::tempdir().expect("a directory");
        let data_dir = prepare(&home.path().join("data")).expect("made");
        let first = DataLock::take(&data_dir).expect("free");
        let told = DataLock::take(&data_dir).expect_err("taken").to_string();
        assert!(told.ends_with(&format!("is in use by process {}", std::process::id())), "{told}");
        drop(first);
        DataLock::take(&data_dir).expect("free again");
    }

    #[test]
    fn the_directory_is_private_and_its_path_canonical() {
        let home = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink(home.path(), home.path().join("link")).expect("a link");
        let data_dir = prepare(&home.path().join("link/a/data")).expect("made");
        assert_eq!(data_dir, fs::canonicalize(home.path()).expect("canonical").join("a/data"));
        for path in [data_dir.clone(), data_dir.join("accounts")] {
            assert_eq!(fs::metadata(path).expect("there").permissions().mode() & 0o777, 0o700);
        }
        DataLock::take(&data_dir).expect("free");
        assert_eq!(fs::metadata(data_dir.join("lock")).expect("there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_directory_that_is_not_there_is_not_made_by_looking() {
        let home = tempfile::tempdir().expect("a directory");
        assert!(matches!(find(&home.path().join("none")), Err(LockError::Missing(_))));
    }

    #[test]
    fn network_file_systems_are_known_by_number() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        assert_eq!(network_name(0xff53_4d42), Some("SMB"));
        assert_eq!(network_name(0xef53), None, "ext4");
        assert_eq!(network_name(0x0102_1994), None, "tmpfs");
    }

    #[test]
    fn mail_of_an_account_is_deleted_whole() {
        let home = tempfile::tempdir().expect("a directory");
        let data_dir = prepare(home.path()).expect("made");
        fs::create_dir_all(account_dir(&data_dir, AccountId(7)).join("blobs/ab")).expect("made");
        assert!(delete_account_files(&data_dir, AccountId(7)).expect("deleted"));
        assert!(!delete_account_files(&data_dir, AccountId(7)).expect("nothing left"));
        assert_eq!(fs::read_dir(data_dir.join("accounts")).expect("listed").count(), 0);
    }
}
