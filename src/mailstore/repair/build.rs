//! The new store while it is being made: contents are put into it whole or not at all, each once. Nothing here is
//! durable until the end; until then nobody looks at it.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use crate::mailstore::blobs::{self, INLINE_BYTES, Spill};
use crate::mailstore::error::{Error, Result};
use crate::mailstore::migrate;
use crate::mailstore::place::{About, describe};
use crate::message::{Description, Scanner};

/// Rows of one transaction.
const BATCH: u32 = 2000;
/// A file is read in pieces of this size.
const PIECE_BYTES: usize = 256 * 1024;

/// Takes the pieces of a message that is being made.
pub type Out<'o> = dyn FnMut(&[u8]) -> Result<()> + 'o;

/// A content of the new store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    pub id: u32,
    pub size: u32,
}

/// The new store.
pub struct Builder {
    pub conn: Connection,
    dir: PathBuf,
    key: [u8; 16],
    /// Contents by their hash: one that is there twice is one.
    known: HashMap<[u8; 32], Kept>,
    /// Shelves of `blobs/` with new names in them.
    shelves: HashSet<PathBuf>,
    next_id: u32,
    in_batch: u32,
}

/// Octets read once: their hash, their number, and what kind of message they are.
pub struct Seen {
    pub hash: [u8; 32],
    pub size: u64,
    pub description: Description,
}

/// Reads a file to its end.
pub fn see_file(path: &Path) -> std::io::Result<Seen> {
    let mut file = File::open(path)?;
    let (mut hasher, mut scanner) = (blake3::Hasher::new(), Scanner::new());
    let (mut piece, mut size) = (vec![0; PIECE_BYTES], 0);
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(octets) => {
                hasher.update(&piece[..octets]);
                scanner.feed(&piece[..octets]);
                size += octets as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Seen { hash: *hasher.finalize().as_bytes(), size, description: scanner.finish() })
}

impl Builder {
    /// An empty store in `dir`, whose content ids begin at `first_id`.
    pub fn new(dir: &Path, key: [u8; 16], first_id: u32) -> Result<Builder> {
        blobs::make_dir(&dir.join("tmp"))?;
        let conn = migrate::open(&dir.join("mail.db"))?;
        // Without a log and without syncs while it grows; all of it is synced before anybody believes it.
        conn.execute_batch("PRAGMA journal_mode=DELETE; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; BEGIN")?;
        Ok(Builder {
            conn,
            dir: dir.to_path_buf(),
            key,
            known: HashMap::new(),
            shelves: HashSet::new(),
            next_id: first_id,
            in_batch: 0,
        })
    }

    fn step(&mut self) -> Result<()> {
        self.in_batch += 1;
        if self.in_batch >= BATCH {
            self.conn.execute_batch("COMMIT; BEGIN")?;
            self.in_batch = 0;
        }
        Ok(())
    }

    /// The id for a content: the one it had, or a new one.
    fn id(&mut self, had: Option<u32>) -> Result<u32> {
        match had {
            Some(id) => Ok(id),
            None => {
                let id = self.next_id;
                self.next_id = id.checked_add(1).ok_or(Error::Limit("message contents"))?;
                Ok(id)
            }
        }
    }

    /// The content with this hash, if it is here.
    pub fn known(&self, hash: &[u8; 32]) -> Option<Kept> {
        self.known.get(hash).copied()
    }

    /// Puts a short body in.
    pub fn keep_inline(&mut self, had: Option<u32>, octets: &[u8], thread: Option<i64>) -> Result<Kept> {
        let mut scanner = Scanner::new();
        scanner.feed(octets);
        let (hash, size) = (*blake3::hash(octets).as_bytes(), octets.len() as u64);
        let seen = Seen { hash, size, description: scanner.finish() };
        self.keep(had, &seen, None, Some(octets), thread)
    }

    /// Puts a file in under the name it has: a second name for the same file, or a copy where that is not possible.
    pub fn keep_file(
        &mut self,
        had: Option<u32>,
        from: &Path,
        name: &str,
        seen: &Seen,
        thread: Option<i64>,
    ) -> Result<Kept> {
        if let Some(kept) = self.known(&seen.hash) {
            return Ok(kept);
        }
        let target = self.dir.join("blobs").join(name);
        let shelf = target.parent().unwrap_or(&self.dir).to_path_buf();
        if !self.shelves.contains(&shelf) {
            blobs::make_dir(&self.dir.join("blobs"))?;
            blobs::make_dir(&shelf)?;
            self.shelves.insert(shelf);
        }
        if fs::hard_link(from, &target).is_err() {
            fs::copy(from, &target)?;
            File::open(&target)?.sync_all()?;
        }
        self.keep(had, seen, Some(name), None, thread)
    }

    /// Puts in what `write` writes.
    pub fn keep_made(&mut self, write: &mut dyn FnMut(&mut Out<'_>) -> Result<()>) -> Result<Kept> {
        let (mut held, mut spill) = (Vec::new(), None::<Spill>);
        let (mut hasher, mut scanner, mut size) = (blake3::Hasher::new(), Scanner::new(), 0u64);
        let dir = self.dir.clone();
        write(&mut |piece| {
            hasher.update(piece);
            scanner.feed(piece);
            size += piece.len() as u64;
            if spill.is_none() && held.len() + piece.len() <= INLINE_BYTES {
                held.extend_from_slice(piece);
                return Ok(());
            }
            let file = match &mut spill {
                Some(file) => file,
                None => spill.insert(Spill::begin(&dir)?),
            };
            file.write(&std::mem::take(&mut held))?;
            file.write(piece)
        })?;
        let seen = Seen { hash: *hasher.finalize().as_bytes(), size, description: scanner.finish() };
        match spill {
            None => self.keep(None, &seen, None, Some(&held), None),
            Some(file) => {
                let name = file.settle(&dir, &seen.hash)?;
                self.keep(None, &seen, Some(&name), None, None)
            }
        }
    }

    fn keep(
        &mut self,
        had: Option<u32>,
        seen: &Seen,
        file: Option<&str>,
        octets: Option<&[u8]>,
        thread: Option<i64>,
    ) -> Result<Kept> {
        if let Some(kept) = self.known(&seen.hash) {
            return Ok(kept);
        }
        let kept = Kept { id: self.id(had)?, size: u32::try_from(seen.size).map_err(|_| Error::TooLarge)? };
        self.conn
            .prepare_cached(
                "INSERT INTO content(id, hash, refs, size, place, stored, file) VALUES (?, ?, 0, ?, ?, ?, ?)",
            )?
            .execute(params![kept.id, seen.hash, kept.size, i64::from(file.is_some()), kept.size, file])?;
        if let Some(octets) = octets {
            self.conn.prepare_cached("INSERT INTO body(id, data) VALUES (?, ?)")?.execute(params![kept.id, octets])?;
        }
        let about = About { id: kept.id, hash: &seen.hash, description: &seen.description, thread };
        describe(&self.conn, &self.key, &about)?;
        self.known.insert(seen.hash, kept);
        self.step()?;
        Ok(kept)
    }

    /// Ends the building: what is here is on the disk when this returns.
    pub fn finish(self) -> Result<()> {
        self.conn.execute_batch("COMMIT")?;
        self.conn.query_row("PRAGMA journal_mode=WAL", [], |_| Ok(()))?;
        drop(self.conn);
        File::open(self.dir.join("mail.db"))?.sync_all()?;
        for shelf in &self.shelves {
            blobs::sync_dir(shelf)?;
        }
        if self.dir.join("blobs").exists() {
            blobs::sync_dir(&self.dir.join("blobs"))?;
        }
        blobs::sync_dir(&self.dir)
    }
}
