//! Lists of any length in bounded memory: records are sorted in runs, and what is more than one run holds lies in
//! files without a name until it is read. A folder with ten million messages costs a command no more memory than one
//! with a hundred thousand.

use std::collections::BinaryHeap;
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Stopped;

/// Most octets of records that one list holds in memory.
const HELD_BYTES: usize = 8 << 20;
/// Most runs in files before they are made one.
const MOST_RUNS: usize = 32;
/// What is read of a run at a time.
const BUFFER_BYTES: usize = 64 * 1024;
/// Longest record.
const MOST_RECORD_BYTES: usize = 1 << 20;

/// Records on their way to be sorted, as octets.
pub struct Sorter {
    held: Vec<u8>,
    /// Where each record of `held` begins and ends.
    places: Vec<(u32, u32)>,
    runs: Vec<File>,
    most_held: usize,
}

/// All records of a [`Sorter`], in order; equal ones come as often as they were pushed.
pub struct Sorted {
    held: Vec<u8>,
    places: std::vec::IntoIter<(u32, u32)>,
    runs: Vec<BufReader<File>>,
    /// The first record of each run, the least of them on top.
    first: BinaryHeap<std::cmp::Reverse<(Vec<u8>, usize)>>,
}

impl Default for Sorter {
    fn default() -> Self {
        Sorter::holding(HELD_BYTES)
    }
}

impl Sorter {
    fn holding(most_held: usize) -> Sorter {
        Sorter { held: Vec::new(), places: Vec::new(), runs: Vec::new(), most_held }
    }

    /// Adds a record.
    pub fn push(&mut self, record: &[u8]) -> Result<(), Stopped> {
        if record.len() > MOST_RECORD_BYTES {
            return Err(no_room(io::Error::from(ErrorKind::FileTooLarge)));
        }
        let weight = self.held.len() + record.len() + size_of::<(u32, u32)>() * (self.places.len() + 1);
        if weight > self.most_held && !self.places.is_empty() {
            self.spill().map_err(no_room)?;
        }
        let from = self.held.len() as u32;
        self.held.extend_from_slice(record);
        self.places.push((from, self.held.len() as u32));
        Ok(())
    }

    /// Sorts, and gives the records.
    pub fn sorted(mut self) -> Result<Sorted, Stopped> {
        if !self.runs.is_empty() {
            self.spill().map_err(no_room)?;
            return merge(self.runs).map_err(no_room);
        }
        self.sort();
        Ok(Sorted { held: self.held, places: self.places.into_iter(), runs: Vec::new(), first: BinaryHeap::new() })
    }

    fn sort(&mut self) {
        let held = &self.held;
        self.places.sort_unstable_by_key(|(from, to)| &held[*from as usize..*to as usize]);
    }

    /// Writes what is held into a file.
    fn spill(&mut self) -> io::Result<()> {
        self.sort();
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, unnamed_file()?);
        for (from, to) in self.places.drain(..) {
            write_record(&mut out, &self.held[from as usize..to as usize])?;
        }
        self.held.clear();
        self.runs.push(rewound(out)?);
        if self.runs.len() >= MOST_RUNS {
            let mut all = merge(std::mem::take(&mut self.runs))?;
            let mut out = BufWriter::with_capacity(BUFFER_BYTES, unnamed_file()?);
            while let Some(record) = all.take()? {
                write_record(&mut out, &record)?;
            }
            self.runs.push(rewound(out)?);
        }
        Ok(())
    }
}

impl Sorted {
    /// The next record.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, Stopped> {
        self.take().map_err(no_room)
    }

    /// Up to `most` of the next records; none when there are no more.
    pub fn next_some(&mut self, most: usize) -> Result<Vec<Vec<u8>>, Stopped> {
        let mut some = Vec::new();
        while some.len() < most
            && let Some(record) = self.next()?
        {
            some.push(record);
        }
        Ok(some)
    }

    fn take(&mut self) -> io::Result<Option<Vec<u8>>> {
        if let Some((from, to)) = self.places.next() {
            return Ok(Some(self.held[from as usize..to as usize].to_vec()));
        }
        let Some(std::cmp::Reverse((record, run))) = self.first.pop() else { return Ok(None) };
        if let Some(next) = read_record(&mut self.runs[run])? {
            self.first.push(std::cmp::Reverse((next, run)));
        }
        Ok(Some(record))
    }
}

fn merge(files: Vec<File>) -> io::Result<Sorted> {
    let mut runs: Vec<_> = files.into_iter().map(|file| BufReader::with_capacity(BUFFER_BYTES, file)).collect();
    let mut first = BinaryHeap::new();
    for (at, run) in runs.iter_mut().enumerate() {
        if let Some(record) = read_record(run)? {
            first.push(std::cmp::Reverse((record, at)));
        }
    }
    Ok(Sorted { held: Vec::new(), places: Vec::new().into_iter(), runs, first })
}

fn write_record(out: &mut impl Write, record: &[u8]) -> io::Result<()> {
    out.write_all(&(record.len() as u32).to_le_bytes())?;
    out.write_all(record)
}

fn read_record(run: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match run.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        outcome => outcome?,
    }
    let mut record = vec![0; u32::from_le_bytes(length) as usize];
    run.read_exact(&mut record)?;
    Ok(Some(record))
}

fn rewound(out: BufWriter<File>) -> io::Result<File> {
    let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

/// A new file that only this process has, and that is gone with it.
pub(super) fn unnamed_file() -> io::Result<File> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("pillarbox-{}-{number}", std::process::id()));
        // Names of folders and files are somebody's: nobody else is to read them.
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(file);
            }
        }
    }
}

/// The list cannot be kept.
pub(super) fn no_room(error: io::Error) -> Stopped {
    let place = env::temp_dir();
    Stopped::Outside(format!(
        "a list of what is to be taken cannot be kept in {} ({error}); TMPDIR names another directory",
        place.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in an order that looks like none.
    fn scattered(count: u64) -> impl Iterator<Item = [u8; 8]> {
        (0..count).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes())
    }

    #[test]
    fn what_is_more_than_memory_may_hold_comes_back_in_order() {
        for count in [0, 40, 1000, 9000] {
            let mut sorter = Sorter::holding(1024);
            let mut expected: Vec<Vec<u8>> = scattered(count).map(|record| record.to_vec()).collect();
            for record in &expected {
                sorter.push(record).expect("kept");
                assert!(sorter.held.len() + 8 * sorter.places.len() <= 1024 && sorter.runs.len() < MOST_RUNS);
            }
            assert_eq!(sorter.runs.is_empty(), count <= 64, "files are made only when they are needed");
            expected.sort();
            let mut sorted = sorter.sorted().expect("sorted");
            for record in expected {
                assert_eq!(sorted.next().expect("read"), Some(record));
            }
            assert_eq!(sorted.next().expect("read"), None);
        }
    }

    #[test]
    fn records_of_any_length_and_equal_ones_are_kept() {
        let mut sorter = Sorter::holding(64);
        let records: [&[u8]; 5] = [b"b", b"", &[7; 300], b"b", b"a\0"];
        records.iter().for_each(|record| sorter.push(record).expect("kept"));
        let mut sorted = sorter.sorted().expect("sorted");
        assert_eq!(sorted.next_some(2).expect("read"), [b"".to_vec(), vec![7; 300]]);
        assert_eq!(sorted.next_some(9).expect("read"), [b"a\0".to_vec(), b"b".to_vec(), b"b".to_vec()]);
        assert!(sorted.next_some(9).expect("read").is_empty());
        assert!(Sorter::default().push(&vec![0; MOST_RECORD_BYTES + 1]).is_err());
    }
}
