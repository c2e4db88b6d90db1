//! How much room the disk has left, and the ballast: 16 MiB kept in hand so that a full disk can be emptied.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

const BALLAST_BYTES: u64 = 16 << 20;
/// With less than this a database may not open any more, because the index of its WAL takes some blocks.
const NEEDED_BYTES: u64 = 1 << 20;
/// How long a reading of the free space is believed.
const READING_MILLIS: u64 = 200;

/// Watches the file system that holds the data directory.
#[derive(Debug)]
pub struct Space {
    dir: PathBuf,
    min_free_bytes: u64,
    started: Instant,
    read_at_millis: AtomicI64,
    free: AtomicU64,
    has_ballast: AtomicBool,
}

impl Space {
    pub fn new(dir: &Path, min_free_bytes: u64) -> Self {
        let space = Space {
            dir: dir.to_path_buf(),
            min_free_bytes,
            started: Instant::now(),
            read_at_millis: AtomicI64::new(i64::MIN),
            free: AtomicU64::new(u64::MAX),
            has_ballast: AtomicBool::new(false),
        };
        space.lay_ballast();
        space
    }

    fn ballast(&self) -> PathBuf {
        self.dir.join("ballast")
    }

    /// Bytes free for us, read at most five times a second.
    pub fn free_bytes(&self) -> u64 {
        let now = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let read_at = self.read_at_millis.load(Ordering::Relaxed);
        if read_at == i64::MIN || now - read_at >= READING_MILLIS as i64 {
            self.read_at_millis.store(now, Ordering::Relaxed);
            match rustix::fs::statvfs(&self.dir) {
                Ok(stat) => self.free.store(stat.f_bavail.saturating_mul(stat.f_frsize), Ordering::Relaxed),
                Err(error) => tracing::warn!(%error, "the free disk space cannot be read"),
            }
        }
        self.free.load(Ordering::Relaxed)
    }

    /// True when what grows has to be refused: little room is left, or the ballast was needed and the room it
    /// gave is for emptying the disk.
    pub fn is_low(&self) -> bool {
        let has_ballast = self.has_ballast.load(Ordering::Relaxed);
        self.free_bytes() < self.min_free_bytes.max(if has_ballast { 0 } else { BALLAST_BYTES })
    }

    /// True when the disk is full to the last blocks, by a reading made now.
    pub fn is_full(&self) -> bool {
        is_full(&self.dir)
    }

    /// Writes the ballast file if it is missing and there is room for it twice over.
    pub fn lay_ballast(&self) {
        let path = self.ballast();
        let room = self.min_free_bytes.saturating_add(2 * BALLAST_BYTES);
        let is_there = std::fs::metadata(&path).is_ok_and(|m| m.len() >= BALLAST_BYTES);
        self.has_ballast.store(is_there, Ordering::Relaxed);
        if is_there || self.free_bytes() < room {
            return;
        }
        // Real octets, not a hole: a hole would free nothing.
        let written = OpenOptions::new().write(true).create(true).truncate(true).open(&path).and_then(|mut file| {
            let block = vec![0x5a; 1 << 20];
            (0..BALLAST_BYTES >> 20).try_for_each(|_| file.write_all(&block))?;
            file.sync_all()
        });
        match written {
            Ok(()) => self.has_ballast.store(true, Ordering::Relaxed),
            Err(error) => {
                tracing::warn!(%error, "the ballast file cannot be written");
                let _ = std::fs::remove_file(&path);
            }
        }
        self.read_at_millis.store(i64::MIN, Ordering::Relaxed);
    }

    /// Gives the ballast's room to the file system. False when there was none left.
    pub fn release_ballast(&self) -> bool {
        let released = release_ballast(&self.dir);
        if released {
            self.has_ballast.store(false, Ordering::Relaxed);
            self.read_at_millis.store(i64::MIN, Ordering::Relaxed);
        }
        released
    }
}

/// For the start on a disk that is full to the last block, where not even a database can be opened: gives the
/// ballast away if that is so. False: it was not, or there was none.
pub fn make_room_to_start(data_dir: &Path) -> bool {
    is_full(data_dir) && release_ballast(data_dir)
}

fn is_full(dir: &Path) -> bool {
    let free = rustix::fs::statvfs(dir).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    free < NEEDED_BYTES
}

fn release_ballast(data_dir: &Path) -> bool {
    let released = std::fs::remove_file(data_dir.join("ballast")).is_ok();
    if released {
        tracing::error!("the disk is full: the ballast file was released so that mail can be expunged");
    }
    released
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ballast_is_real_and_given_back_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let space = Space::new(dir.path(), 0);
        assert_eq!(std::fs::metadata(dir.path().join("ballast")).map(|m| m.len()).ok(), Some(BALLAST_BYTES));
        assert!(space.release_ballast());
        assert!(!space.release_ballast());
        assert_eq!(space.is_low(), space.free_bytes() < BALLAST_BYTES);
        assert!(Space::new(dir.path(), u64::MAX).is_low());
    }
}
