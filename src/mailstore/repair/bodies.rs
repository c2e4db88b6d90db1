//! Which octets of which content survived. Each is held against its hash, wherever it may be: in its row, in its file,
//! in another file of the same hash, on a page no tree leads to any more. What is not whole is kept for the note that
//! will carry it.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::build::{Builder, Kept, see_file};
use super::collect::ContentRow;
use super::source::{Body, Source};
use crate::mailstore::backup::is_blob_name;
use crate::mailstore::error::{Error, Result};

/// A file below `blobs/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobFile {
    pub name: String,
    /// What its name says.
    pub hash: [u8; 32],
    /// When its octets were last written, in seconds since 1970.
    pub written: i64,
    /// In octets.
    pub size: u64,
}

/// All files of bodies, by what their names say.
#[derive(Debug, Default)]
pub struct Files {
    dir: PathBuf,
    pub all: Vec<BlobFile>,
    by_hash: HashMap<[u8; 32], Vec<usize>>,
}

impl Files {
    /// Lists `blobs/`. A name that is none of ours is left where it is.
    pub fn list(dir: &Path) -> std::io::Result<Files> {
        let mut files = Files { dir: dir.to_path_buf(), ..Files::default() };
        let shelves = match fs::read_dir(dir) {
            Ok(shelves) => shelves,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(files),
            Err(error) => return Err(error),
        };
        for shelf in shelves {
            let shelf = shelf?;
            let Ok(entries) = fs::read_dir(shelf.path()) else { continue };
            for entry in entries {
                let entry = entry?;
                let name = format!("{}/{}", shelf.file_name().to_string_lossy(), entry.file_name().to_string_lossy());
                let hash = name.get(3..67).and_then(|hex| blake3::Hash::from_hex(hex).ok());
                if let (true, Some(hash), Ok(found)) = (is_blob_name(&name), hash, entry.metadata()) {
                    files.by_hash.entry(*hash.as_bytes()).or_default().push(files.all.len());
                    files.all.push(BlobFile {
                        name,
                        hash: *hash.as_bytes(),
                        written: found.mtime(),
                        size: found.len(),
                    });
                }
            }
        }
        files.all.sort_by(|a, b| a.name.cmp(&b.name));
        files.by_hash.clear();
        for (at, file) in files.all.iter().enumerate() {
            files.by_hash.entry(file.hash).or_default().push(at);
        }
        Ok(files)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// What became of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// A hash says so.
    Whole(Kept),
    /// Its hash is lost, and its size is right.
    Likely(Kept),
    Damaged(Remains),
}

/// What is left of a damaged content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remains {
    pub octets: Octets,
    /// They only begin it.
    pub is_beginning: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Octets {
    #[default]
    None,
    Here(Vec<u8>),
    File(PathBuf),
}

/// A content as it is asked for.
pub struct Asked<'a> {
    pub cid: i64,
    pub row: Option<&'a ContentRow>,
    /// What its messages say of its size; negative: nothing.
    pub size: i64,
    /// A file that can only be this content's.
    pub likely_file: Option<String>,
    pub thread: Option<i64>,
}

/// Finds the octets of a content and puts them into the new store, if they are whole.
pub fn save(builder: &mut Builder, source: &Source, files: &Files, asked: &Asked<'_>) -> Result<Fate> {
    let hash = asked.row.and_then(|row| row.hash);
    let had = u32::try_from(asked.cid).ok();
    if let Some(kept) = hash.and_then(|hash| builder.known(&hash)) {
        return Ok(Fate::Whole(kept));
    }
    let mut remains = Remains::default();
    let named = asked.row.and_then(|row| row.file.as_deref()).filter(|name| is_blob_name(name));
    let vouched = files.all.iter().filter(|file| asked.row.is_none() && source.vouches(asked.cid, &file.hash));
    let likely = vouched.map(|file| file.name.as_str()).chain(asked.likely_file.as_deref());
    for name in named.into_iter().chain(of_hash(files, hash)).chain(likely) {
        let path = files.path(name);
        let Ok(seen) = see_file(&path) else { continue };
        let own = blake3::Hash::from_hex(&name[3..67]).map_err(|_| Error::Unavailable)?;
        // A file whose octets fit its name is whole. That it is this content's, its row or the index says; or its size.
        if *own.as_bytes() == seen.hash {
            let is_told = hash == Some(seen.hash) || source.vouches(asked.cid, &seen.hash);
            if is_told || seen.size as i64 == asked.size {
                let kept = builder.keep_file(had, &path, name, &seen, asked.thread)?;
                return Ok(if is_told { Fate::Whole(kept) } else { Fate::Likely(kept) });
            }
        }
        if remains == Remains::default() {
            remains.octets = Octets::File(path);
        }
    }
    match source.body(asked.cid, hash.as_ref()) {
        Body::All(octets) => {
            let own = *blake3::hash(&octets).as_bytes();
            let is_told = hash == Some(own) || source.vouches(asked.cid, &own);
            let is_unknown = hash.is_none() && !source.has_hash(asked.cid);
            if is_told || is_unknown && octets.len() as i64 == asked.size {
                let kept = builder.keep_inline(had, &octets, asked.thread)?;
                return Ok(if is_told { Fate::Whole(kept) } else { Fate::Likely(kept) });
            }
            remains = Remains { octets: Octets::Here(octets), is_beginning: false };
        }
        Body::Beginning(octets) if remains == Remains::default() => {
            remains = Remains { octets: Octets::Here(octets), is_beginning: true };
        }
        Body::Beginning(_) | Body::None => {}
    }
    Ok(Fate::Damaged(remains))
}

fn of_hash(files: &Files, hash: Option<[u8; 32]>) -> impl Iterator<Item = &str> {
    let places = hash.and_then(|hash| files.by_hash.get(&hash)).into_iter().flatten();
    places.map(|at| files.all[*at].name.as_str())
}
