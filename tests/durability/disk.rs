//! What a disk may hold after the power went at some moment of a recording. Stricter than the common file
//! systems, so that the server leans on nothing it was not promised:
//! * a file's bytes are durable once a sync of the file has returned that began after the write ended; a
//!   new name, a removed name and a rename only by a sync of their directory, never by one of the file;
//! * of the rest each directory keeps some prefix of its changes, independent of other directories;
//! * each 512-byte sector of a file holds what it held after some of the writes that touched it, each on
//!   its own, and the length is that of some moment since the last sync. A rename is never half done.

use std::collections::BTreeMap;
use std::path::Path;

use crate::random::Random;
use crate::recorded::{Event, Node, NodeId, Operation, ROOT, Recording};

const SECTOR_BYTES: u64 = 512;

/// How lucky the rest, all that no sync has covered, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Luck {
    /// None of it arrived: what a server that forgets a sync cannot survive.
    Nothing,
    /// All of it arrived, as if the process had been killed.
    Everything,
    /// Each piece for itself.
    Mixed,
}

/// The tree as it may be found: only what can be reached from the root.
pub struct Disk<'a> {
    recording: &'a Recording,
    names: Vec<BTreeMap<String, NodeId>>,
    files: BTreeMap<NodeId, Vec<u8>>,
}

impl<'a> Disk<'a> {
    /// The power goes between moment `cut - 1` and moment `cut`.
    pub fn after_power_cut(recording: &'a Recording, cut: usize, luck: Luck, random: &mut Random) -> Self {
        let mut synced = vec![0; recording.nodes.len()];
        for event in &recording.events {
            if let Operation::Sync { node } = event.operation
                && event.end < cut
            {
                synced[node] = synced[node].max(event.start);
            }
        }
        let begun: Vec<&Event> = recording.events.iter().filter(|event| event.start < cut).collect();
        let mut disk =
            Self { recording, names: directories(recording, &begun, &synced, luck, random), files: BTreeMap::new() };
        let mut by_file: BTreeMap<NodeId, Vec<&Event>> = BTreeMap::new();
        for event in begun {
            if let Operation::Write { file, .. } | Operation::Resize { file, .. } = event.operation {
                by_file.entry(file).or_default().push(event);
            }
        }
        let mut waiting = vec![ROOT];
        while let Some(node) = waiting.pop() {
            match &recording.nodes[node] {
                Node::Directory(_) => waiting.extend(disk.names[node].values()),
                Node::File(base) => {
                    let changes = by_file.get(&node).map_or(&[][..], Vec::as_slice);
                    let durable = changes.iter().filter(|event| event.end < synced[node]).count();
                    disk.files.entry(node).or_insert_with(|| contents(base, changes, durable, luck, random));
                }
            }
        }
        disk
    }

    /// Writes the tree below `target`, which must be empty. Shared-memory files do not survive a power
    /// cut in any useful sense, and SQLite rebuilds them: they are left out.
    pub fn write_to(&self, target: &Path) -> std::io::Result<()> {
        self.write_directory(ROOT, target)
    }

    fn write_directory(&self, directory: NodeId, target: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(target)?;
        for (name, node) in &self.names[directory] {
            let path = target.join(name);
            match &self.recording.nodes[*node] {
                Node::Directory(_) => self.write_directory(*node, &path)?,
                Node::File(_) if name.ends_with("-shm") => {}
                Node::File(_) => std::fs::write(path, &self.files[node])?,
            }
        }
        Ok(())
    }

    #[cfg(test)]
    fn file(&self, path: &str) -> Option<&[u8]> {
        let node = path.split('/').try_fold(ROOT, |directory, name| self.names[directory].get(name).copied())?;
        self.files.get(&node).map(Vec::as_slice)
    }
}

/// The names in every directory: all that was synced, and a prefix of the rest.
fn directories(
    recording: &Recording,
    begun: &[&Event],
    synced: &[usize],
    luck: Luck,
    random: &mut Random,
) -> Vec<BTreeMap<String, NodeId>> {
    let mut changes: Vec<Vec<&Event>> = vec![Vec::new(); recording.nodes.len()];
    for event in begun {
        for directory in directories_of(event) {
            changes[directory].push(event);
        }
    }
    let is_rename = |event: &&&Event| matches!(event.operation, Operation::Rename { .. });
    let place = |directory: NodeId, event: &Event| {
        changes[directory].iter().position(|other| std::ptr::eq(*other, event)).unwrap_or(0)
    };
    let mut kept: Vec<usize> = changes
        .iter()
        .enumerate()
        .map(|(directory, list)| list.iter().filter(|event| event.end < synced[directory]).count())
        .collect();
    // A rename that is durable on one side is so on the other, with all that came before it there.
    loop {
        let before = kept.clone();
        for directory in 0..changes.len() {
            for event in changes[directory][..kept[directory]].iter().filter(is_rename) {
                for other in directories_of(event) {
                    kept[other] = kept[other].max(place(other, event) + 1);
                }
            }
        }
        if kept == before {
            break;
        }
    }
    for (directory, list) in changes.iter().enumerate() {
        kept[directory] = match luck {
            Luck::Nothing => kept[directory],
            Luck::Everything => list.len(),
            Luck::Mixed => random.range(kept[directory] as u64, list.len() as u64 + 1) as usize,
        };
    }
    // What was kept of a rename on one side only is given up: it cannot have been durable.
    loop {
        let before = kept.clone();
        for directory in 0..changes.len() {
            let torn = changes[directory][..kept[directory]].iter().position(|event| {
                is_rename(&event) && directories_of(event).iter().any(|other| place(*other, event) >= kept[*other])
            });
            kept[directory] = torn.unwrap_or(kept[directory]);
        }
        if kept == before {
            break;
        }
    }
    let mut names = Vec::with_capacity(changes.len());
    for (directory, list) in changes.iter().enumerate() {
        let mut found = match &recording.nodes[directory] {
            Node::Directory(names) => names.clone(),
            Node::File(_) => BTreeMap::new(),
        };
        list[..kept[directory]].iter().for_each(|event| apply_to_directory(&mut found, directory, &event.operation));
        names.push(found);
    }
    names
}

fn directories_of(event: &Event) -> Vec<NodeId> {
    match &event.operation {
        Operation::Enter { directory, .. } | Operation::Leave { directory, .. } => vec![*directory],
        Operation::Rename { from, to, .. } if from.0 == to.0 => vec![from.0],
        Operation::Rename { from, to, .. } => vec![from.0, to.0],
        _ => Vec::new(),
    }
}

fn apply_to_directory(names: &mut BTreeMap<String, NodeId>, directory: NodeId, operation: &Operation) {
    match operation {
        Operation::Enter { name, node, .. } => {
            names.insert(name.clone(), *node);
        }
        Operation::Leave { name, .. } => {
            names.remove(name);
        }
        Operation::Rename { from, to, node } => {
            if from.0 == directory {
                names.remove(&from.1);
            }
            if to.0 == directory {
                names.insert(to.1.clone(), *node);
            }
        }
        _ => {}
    }
}

/// The bytes of one file: `base`, the first `durable` changes, and of the rest what luck leaves.
fn contents(base: &[u8], changes: &[&Event], durable: usize, luck: Luck, random: &mut Random) -> Vec<u8> {
    let mut disk = base.to_vec();
    changes[..durable].iter().for_each(|event| apply_to_file(&mut disk, &event.operation));
    let rest = &changes[durable..];
    // How many of the rest the length has seen.
    let seen = match luck {
        Luck::Nothing => 0,
        Luck::Everything => rest.len(),
        Luck::Mixed => random.range(0, rest.len() as u64 + 1) as usize,
    };
    // `cache` is the file as programs saw it. A sector goes to the disk as it is in the cache at the
    // moment of a write to it, so it can never hold a later write without the earlier ones.
    let mut cache = disk.clone();
    let mut length = disk.len() as u64;
    // Past a cut the length has not seen, nothing written later can be reached: those are other blocks.
    let mut unseen_cut = u64::MAX;
    for (place, event) in rest.iter().enumerate() {
        apply_to_file(&mut cache, &event.operation);
        match &event.operation {
            Operation::Write { offset, bytes, .. } => {
                let end = offset + bytes.len() as u64;
                if place < seen {
                    length = length.max(end);
                }
                let arrived = random.range(0, 3);
                for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
                    let has_arrived = match luck {
                        Luck::Nothing => false,
                        Luck::Everything => true,
                        // A third of the writes each: not at all, wholly, in part.
                        Luck::Mixed => arrived == 1 || (arrived == 2 && random.chance(50)),
                    };
                    let from = sector * SECTOR_BYTES;
                    if has_arrived && from < unseen_cut {
                        let to = (from + SECTOR_BYTES).min(cache.len() as u64);
                        if (disk.len() as u64) < to {
                            disk.resize(to as usize, 0);
                        }
                        let sector = from as usize..to as usize;
                        disk[sector.clone()].copy_from_slice(&cache[sector]);
                    }
                }
            }
            Operation::Resize { length: cut, .. } if place < seen => {
                length = *cut;
                disk.resize(*cut as usize, 0);
            }
            Operation::Resize { length: cut, .. } => unseen_cut = unseen_cut.min(*cut),
            _ => {}
        }
    }
    disk.resize(length as usize, 0);
    disk
}

fn apply_to_file(bytes: &mut Vec<u8>, operation: &Operation) {
    match operation {
        Operation::Write { offset, bytes: new, .. } => {
            let (from, to) = (*offset as usize, *offset as usize + new.len());
            if bytes.len() < to {
                bytes.resize(to, 0);
            }
            bytes[from..to].copy_from_slice(new);
        }
        Operation::Resize { length, .. } => bytes.resize(*length as usize, 0),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strace;

    /// A recording over an empty directory /d, from log lines with plain paths and bytes.
    fn recording(lines: &[&str]) -> Recording {
        let hex = |text: &str| text.bytes().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
        let log: Vec<String> = lines
            .iter()
            .map(|line| {
                let mut pieces = line.split('\'');
                let mut out = pieces.next().unwrap_or_default().to_owned();
                while let (Some(quoted), Some(plain)) = (pieces.next(), pieces.next()) {
                    out.push_str(&format!("\"{}\"{plain}", hex(quoted)));
                }
                format!("1 {out}")
            })
            .collect();
        let calls = strace::calls(&log.join("\n")).expect("a log");
        let empty = tempfile::tempdir().expect("a directory");
        Recording::new(Path::new("/d"), empty.path(), &calls).expect("a recording")
    }

    fn cut(recording: &Recording, cut: usize, luck: Luck) -> Disk<'_> {
        Disk::after_power_cut(recording, cut, luck, &mut Random::new(cut as u64))
    }

    #[test]
    fn a_synced_file_without_a_synced_name_is_lost() {
        let recording = recording(&[
            "openat(AT_FDCWD, '/d', O_RDONLY|O_DIRECTORY) = 3",
            "openat(AT_FDCWD, '/d/f', O_RDWR|O_CREAT, 0600) = 4",
            "write(4, 'hello', 5) = 5",
            "fdatasync(4) = 0",
            "fsync(3) = 0",
        ]);
        assert_eq!(cut(&recording, 4, Luck::Nothing).file("f"), None);
        assert_eq!(cut(&recording, 5, Luck::Nothing).file("f"), Some(&b"hello"[..]));
        assert_eq!(cut(&recording, 3, Luck::Everything).file("f"), Some(&b"hello"[..]));
        assert_eq!(cut(&recording, 2, Luck::Everything).file("f"), Some(&b""[..]));
    }

    #[test]
    fn a_sync_covers_only_what_had_ended_before_it_began() {
        let recording = recording(&[
            "openat(AT_FDCWD, '/d', O_RDONLY|O_DIRECTORY) = 3",
            "openat(AT_FDCWD, '/d/f', O_RDWR|O_CREAT, 0600) = 4",
            "fsync(3) = 0",
            "pwrite64(4, 'aa', 2, 0) = 2",
            "fdatasync(4 <unfinished ...>",
            "<... fdatasync resumed>) = 0",
            "pwrite64(4, 'bb', 2, 0) = 2",
            "ftruncate(4, 1) = 0",
        ]);
        assert_eq!(cut(&recording, 5, Luck::Nothing).file("f"), Some(&b""[..]));
        assert_eq!(cut(&recording, 6, Luck::Nothing).file("f"), Some(&b"aa"[..]));
        assert_eq!(cut(&recording, 8, Luck::Nothing).file("f"), Some(&b"aa"[..]));
        assert_eq!(cut(&recording, 8, Luck::Everything).file("f"), Some(&b"b"[..]));
        let mixed: std::collections::BTreeSet<Vec<u8>> = (0..200)
            .filter_map(|seed| {
                let disk = Disk::after_power_cut(&recording, 8, Luck::Mixed, &mut Random::new(seed));
                disk.file("f").map(<[u8]>::to_vec)
            })
            .collect();
        let possible = [b"a".to_vec(), b"aa".to_vec(), b"b".to_vec(), b"bb".to_vec()];
        assert_eq!(mixed.into_iter().collect::<Vec<_>>(), possible);
    }

    #[test]
    fn sectors_are_torn_one_by_one_but_never_out_of_order() {
        let big = |letter: &str| letter.repeat(2048);
        let recording = recording(&[
            "openat(AT_FDCWD, '/d', O_RDONLY|O_DIRECTORY) = 3",
            "openat(AT_FDCWD, '/d/f', O_RDWR|O_CREAT, 0600) = 4",
            "fsync(3) = 0",
            &format!("pwrite64(4, '{}', 2048, 0) = 2048", big("a")),
            "fsync(4) = 0",
            &format!("pwrite64(4, '{}', 2048, 0) = 2048", big("b")),
            "pwrite64(4, 'ccc', 3, 600) = 3",
        ]);
        let mut was_torn = false;
        for seed in 0..200 {
            let disk = Disk::after_power_cut(&recording, 7, Luck::Mixed, &mut Random::new(seed));
            let file = disk.file("f").expect("its name was synced").to_vec();
            assert_eq!(file.len(), 2048);
            let sectors: Vec<_> = file.chunks(512).map(|sector| sector[0]).collect();
            was_torn |= sectors.contains(&b'a') && sectors.contains(&b'b');
            assert!(file.chunks(512).all(|sector| sector[511] == sector[0]), "a sector is whole");
            // Who has the later write has the earlier one around it.
            assert!(file[600] != b'c' || file[512] == b'b');
        }
        assert!(was_torn);
    }

    #[test]
    fn a_rename_is_never_half_done_and_a_link_may_be_kept_alone() {
        let recording = recording(&[
            "mkdir('/d/tmp', 0700) = 0",
            "mkdir('/d/blobs', 0700) = 0",
            "openat(AT_FDCWD, '/d', O_RDONLY|O_DIRECTORY) = 3",
            "fsync(3) = 0",
            "openat(AT_FDCWD, '/d/tmp/x', O_RDWR|O_CREAT, 0600) = 4",
            "rename('/d/tmp/x', '/d/blobs/y') = 0",
            "openat(AT_FDCWD, '/d/blobs', O_RDONLY|O_DIRECTORY) = 5",
            "fsync(5) = 0",
            "link('/d/blobs/y', '/d/tmp/z') = 0",
        ]);
        for seed in 0..100 {
            let mut random = Random::new(seed);
            let disk = Disk::after_power_cut(&recording, 6, Luck::Mixed, &mut random);
            assert!(disk.file("tmp/x").is_none() || disk.file("blobs/y").is_none());
            let disk = Disk::after_power_cut(&recording, 9, Luck::Mixed, &mut random);
            assert!(disk.file("blobs/y").is_some() && disk.file("tmp/x").is_none());
        }
        assert!(cut(&recording, 9, Luck::Everything).file("tmp/z").is_some());
        assert!(cut(&recording, 9, Luck::Nothing).file("tmp/z").is_none());
    }
}
