//! Files and directories of a backup: made for their owner only, durable before anything speaks of them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Copies go in pieces of this size.
const PIECE_BYTES: usize = 256 * 1024;
/// Behind the name of a file that is not whole yet.
pub const PART: &str = ".part";

/// Makes a directory and what is missing above it.
pub fn make_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Makes the names in a directory durable.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The path with `.part` behind it.
pub fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(PART);
    name.into()
}

/// Writes a whole file in the place of another: there is the old one or the new one.
pub fn write_durably(path: &Path, octets: &[u8]) -> io::Result<()> {
    let part = part_of(path);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(octets)?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// What a copy found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    Whole,
    /// The octets are not what they were; there is no copy.
    Damaged,
}

/// Copies a file whose hash is known. It has its name only when it is whole and on the disk; the directory's own
/// `sync_dir` is left to the caller, who copies many.
pub fn copy_verified(from: &Path, to: &Path, hash: &[u8; 32], advance: &mut dyn FnMut(u64)) -> io::Result<Copied> {
    let mut source = File::open(from)?;
    let part = part_of(to);
    let mut target = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let octets = match source.read(&mut piece) {
            Ok(0) => break,
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&piece[..octets]);
        target.write_all(&piece[..octets])?;
        advance(octets as u64);
    }
    if hasher.finalize().as_bytes() != hash {
        fs::remove_file(&part)?;
        return Ok(Copied::Damaged);
    }
    target.sync_data()?;
    fs::rename(&part, to)?;
    Ok(Copied::Whole)
}

/// The hash and the length of a file.
pub fn hash_file(path: &Path, advance: &mut dyn FnMut(u64)) -> io::Result<(blake3::Hash, u64)> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let (mut piece, mut all) = (vec![0; PIECE_BYTES], 0);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok((hasher.finalize(), all)),
            Ok(octets) => {
                hasher.update(&piece[..octets]);
                all += octets as u64;
                advance(octets as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Gives a tree to whoever owns `like`, when root made it: the server must be able to open its own files.
pub fn give_to_owner(tree: &Path, like: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = fs::metadata(like)?;
    let mut left = vec![tree.to_path_buf()];
    while let Some(path) = left.pop() {
        std::os::unix::fs::lchown(&path, Some(owner.uid()), Some(owner.gid()))?;
        if fs::symlink_metadata(&path)?.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        }
    }
    Ok(())
}

/// Takes a directory for this process alone, until the file is dropped. `None`: somebody else has it.
pub fn lock_dir(path: &Path) -> io::Result<Option<File>> {
    let file = File::open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_copy_has_its_name_only_when_it_is_whole() {
        let home = tempfile::tempdir().expect("a folder");
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        let octets = vec![7u8; 600_000];
        fs::write(&from, &octets).expect("written");
        let mut advanced = 0;
        let hash = *blake3::hash(&octets).as_bytes();
        assert_eq!(copy_verified(&from, &to, &[0; 32], &mut |_| {}).expect("read"), Copied::Damaged);
        assert!(!to.exists() && !part_of(&to).exists());
        assert_eq!(copy_verified(&from, &to, &hash, &mut |n| advanced += n).expect("read"), Copied::Whole);
        assert_eq!((fs::read(&to).expect("there"), advanced), (octets, 600_000));
        assert_eq!(fs::metadata(&to).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(hash_file(&to, &mut |_| {}).expect("read"), (blake3::Hash::from(hash), 600_000));
    }

    #[test]
    fn a_directory_is_locked_by_one() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("a/b");
        make_dir(&path).expect("made");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o700);
        let lock = lock_dir(&path).expect("locked").expect("free");
        assert!(lock_dir(&path).expect("asked").is_none());
        drop(lock);
        assert!(lock_dir(&path).expect("asked").is_some());
    }
}
