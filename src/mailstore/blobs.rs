//! Large bodies: one immutable file each, `blobs/ab/<hash>-<random>`, named in its content row.
//! Files are made durable before the row that names them; only the sweep unlinks.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::crash;
use super::error::{Error, Result};
use crate::types::ContentId;

/// Bodies of at most so many octets are rows, larger ones files. A starting value, measured in the benchmark.
pub const INLINE_BYTES: usize = 128 * 1024;

pub fn hex(octets: &[u8]) -> String {
    octets.iter().map(|b| format!("{b:02x}")).collect()
}

/// Sixteen hex digits nobody can guess.
pub fn random_name() -> Result<String> {
    let mut octets = [0u8; 8];
    getrandom::fill(&mut octets).map_err(|error| Error::Fault(error.to_string()))?;
    Ok(hex(&octets))
}

/// Makes a folder that only we may enter, and makes its name durable.
pub fn make_dir(path: &Path) -> Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {
            crash::point("create.after_mkdir");
            sync_dir(path.parent().unwrap_or(path))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes the names in a folder durable.
pub fn sync_dir(path: &Path) -> Result<()> {
    Ok(File::open(path)?.sync_all()?)
}

/// A body that is being written.
#[derive(Debug)]
pub struct Spill {
    file: Option<File>,
    path: PathBuf,
}

impl Spill {
    pub fn begin(account_dir: &Path) -> Result<Self> {
        let tmp = account_dir.join("tmp");
        make_dir(&tmp)?;
        let path = tmp.join(random_name()?);
        let file = OpenOptions::new().write(true).read(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Spill { file: Some(file), path })
    }

    pub fn write(&mut self, octets: &[u8]) -> Result<()> {
        match &mut self.file {
            Some(file) => Ok(std::io::Write::write_all(file, octets)?),
            None => Err(Error::Unavailable),
        }
    }

    /// Gives the file its final name, durably; gives that name, relative to `blobs/`.
    pub fn settle(mut self, account_dir: &Path, hash: &[u8; 32]) -> Result<String> {
        let Some(file) = self.file.take() else { return Err(Error::Unavailable) };
        crash::point("blob.after_write");
        file.sync_data()?;
        crash::point("blob.after_sync");
        let hash = hex(hash);
        let blobs = account_dir.join("blobs");
        make_dir(&blobs)?;
        let shelf = blobs.join(&hash[..2]);
        make_dir(&shelf)?;
        let name = format!("{}/{hash}-{}", &hash[..2], random_name()?);
        fs::rename(&self.path, blobs.join(&name))?;
        crash::point("blob.after_link");
        sync_dir(&shelf)?;
        crash::point("blob.after_dirsync");
        Ok(name)
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A second name for another account's file, so that a body delivered to many is stored once.
/// `None` when the file system cannot: then it has to be copied.
pub fn link_from(source_dir: &Path, file: &str, target_dir: &Path) -> Result<Option<String>> {
    let shelf_name = file.get(..2).ok_or_else(|| Error::Fault(format!("{file} is no blob's name")))?;
    let hash = file.get(3..67).ok_or_else(|| Error::Fault(format!("{file} is no blob's name")))?;
    let blobs = target_dir.join("blobs");
    make_dir(&blobs)?;
    let shelf = blobs.join(shelf_name);
    make_dir(&shelf)?;
    let name = format!("{shelf_name}/{hash}-{}", random_name()?);
    match fs::hard_link(source_dir.join("blobs").join(file), blobs.join(&name)) {
        Ok(()) => {
            sync_dir(&shelf)?;
            Ok(Some(name))
        }
        Err(error) if matches!(error.kind(), std::io::ErrorKind::TooManyLinks | std::io::ErrorKind::CrossesDevices) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The same where linking is not possible: the octets once more, durable when this returns.
pub fn copy_from(source_dir: &Path, file: &str, target_dir: &Path) -> Result<String> {
    let mut source = File::open(source_dir.join("blobs").join(file))?;
    let mut copy = Spill::begin(target_dir)?;
    let (mut piece, mut hasher) = (vec![0; 256 * 1024], blake3::Hasher::new());
    loop {
        match source.read(&mut piece) {
            Ok(0) => break,
            Ok(octets) => {
                hasher.update(&piece[..octets]);
                copy.write(&piece[..octets])?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let hash = hasher.finalize();
    if file.get(3..67) != Some(hash.to_hex().as_str()) {
        return Err(Error::Fault(format!("{file} is not what its name says")));
    }
    copy.settle(target_dir, hash.as_bytes())
}

/// Reads a piece of a stored file. Short only at its end.
pub fn read_piece(account_dir: &Path, file: &str, content: ContentId, offset: u64, octets: usize) -> Result<Vec<u8>> {
    let opened = File::open(account_dir.join("blobs").join(file));
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Error::Corrupt(content)),
        Err(error) => return Err(error.into()),
    };
    let mut piece = vec![0; octets];
    let mut filled = 0;
    while filled < octets {
        match opened.read_at(&mut piece[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    piece.truncate(filled);
    Ok(piece)
}

/// The hash and length of a stored file.
pub fn hash_file(path: &Path) -> std::io::Result<([u8; 32], u64)> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let (mut piece, mut octets) = (vec![0; 256 * 1024], 0);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((*hasher.finalize().as_bytes(), octets)),
            n => {
                hasher.update(&piece[..n]);
                octets += n as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spill_leaves_nothing_behind_unless_it_settles() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut dropped = Spill::begin(dir.path()).expect("begins");
        dropped.write(b"abc").expect("writes");
        drop(dropped);
        assert_eq!(fs::read_dir(dir.path().join("tmp")).expect("is there").count(), 0);

        let mut kept = Spill::begin(dir.path()).expect("begins");
        kept.write(b"abc").expect("writes");
        let hash = *blake3::hash(b"abc").as_bytes();
        let name = kept.settle(dir.path(), &hash).expect("settles");
        assert_eq!(hash_file(&dir.path().join("blobs").join(&name)).expect("reads"), (hash, 3));
        assert_eq!(read_piece(dir.path(), &name, ContentId(1), 1, 10).expect("reads"), b"bc");
        assert_eq!(read_piece(dir.path(), "ab/none", ContentId(1), 0, 1), Err(Error::Corrupt(ContentId(1))));
        let other = tempfile::tempdir().expect("a folder");
        let linked = link_from(dir.path(), &name, other.path()).expect("links").expect("same file system");
        assert_eq!(read_piece(other.path(), &linked, ContentId(1), 0, 10).expect("reads"), b"abc");
        let copied = copy_from(dir.path(), &name, other.path()).expect("copies");
        assert_ne!(copied, linked);
        assert_eq!(hash_file(&other.path().join("blobs").join(&copied)).expect("reads"), (hash, 3));
        fs::write(dir.path().join("blobs").join(&name), b"abd").expect("damaged");
        assert!(matches!(copy_from(dir.path(), &name, other.path()), Err(Error::Fault(_))));
    }
}
