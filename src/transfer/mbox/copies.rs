//! How often each message was seen in a file: equal ones in one mbox are as many messages. The first ones are counted in
//! memory, and what is more in a table on the disk, so that a file of any size costs no more.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::mailstore::ImportKey;
use crate::transfer::Stopped;
use crate::transfer::sorter::{no_room, unnamed_file};

/// Most different messages that are counted in memory.
const MOST_HELD: usize = 64 * 1024;
/// Places of the table when it is begun. It doubles when half of them are taken.
const FIRST_PLACES: u64 = 4 * MOST_HELD as u64;
/// A place: a key, and how often it was seen; never 0 where there is one.
const PLACE_BYTES: usize = 24;

/// How often each key was seen.
pub(super) struct Copies {
    held: HashMap<ImportKey, u64>,
    most_held: usize,
    table: Option<Table>,
}

/// Keys by their own octets, which are a hash already; one that finds its place taken goes into the next.
struct Table {
    file: File,
    places: u64,
    taken: u64,
}

impl Default for Copies {
    fn default() -> Self {
        Copies { held: HashMap::new(), most_held: MOST_HELD, table: None }
    }
}

impl Copies {
    /// Sees a key once more; how often it was seen with that.
    pub fn see(&mut self, key: ImportKey) -> Result<u64, Stopped> {
        if let Some(times) = self.held.get_mut(&key) {
            *times += 1;
            return Ok(*times);
        }
        if self.held.len() < self.most_held {
            self.held.insert(key, 1);
            return Ok(1);
        }
        self.see_in_table(key).map_err(no_room)
    }

    fn see_in_table(&mut self, key: ImportKey) -> io::Result<u64> {
        let table = match &mut self.table {
            Some(table) if table.taken * 2 >= table.places => {
                let larger = table.doubled()?;
                self.table.insert(larger)
            }
            Some(table) => table,
            None => self.table.insert(Table::of(FIRST_PLACES)?),
        };
        let (at, times) = table.find(key)?;
        table.put(at, key, times + 1)?;
        table.taken += u64::from(times == 0);
        Ok(times + 1)
    }
}

impl Table {
    fn of(places: u64) -> io::Result<Table> {
        let file = unnamed_file()?;
        file.set_len(places * PLACE_BYTES as u64)?;
        Ok(Table { file, places, taken: 0 })
    }

    /// Where the key stands, or would, and how often it was seen.
    fn find(&self, key: ImportKey) -> io::Result<(u64, u64)> {
        let first = u64::from_le_bytes(*key.0.first_chunk().unwrap_or(&[0; 8]));
        let mut at = first % self.places;
        loop {
            let (there, times) = self.get(at)?;
            // Half of the places are free, so the search ends.
            if times == 0 || there == key {
                return Ok((at, times));
            }
            at = (at + 1) % self.places;
        }
    }

    fn get(&self, at: u64) -> io::Result<(ImportKey, u64)> {
        let mut place = [0; PLACE_BYTES];
        self.file.read_exact_at(&mut place, at * PLACE_BYTES as u64)?;
        let (mut key, mut times) = ([0; 16], [0; 8]);
        key.copy_from_slice(&place[..16]);
        times.copy_from_slice(&place[16..]);
        Ok((ImportKey(key), u64::from_le_bytes(times)))
    }

    fn put(&self, at: u64, key: ImportKey, times: u64) -> io::Result<()> {
        let mut place = [0; PLACE_BYTES];
        place[..16].copy_from_slice(&key.0);
        place[16..].copy_from_slice(&times.to_le_bytes());
        self.file.write_all_at(&place, at * PLACE_BYTES as u64)
    }

    fn doubled(&self) -> io::Result<Table> {
        let mut larger = Table::of(self.places * 2)?;
        for at in 0..self.places {
            let (key, times) = self.get(at)?;
            if times > 0 {
                let (free, _) = larger.find(key)?;
                larger.put(free, key, times)?;
                larger.taken += 1;
            }
        }
        Ok(larger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::keys;

    #[test]
    fn copies_are_counted_alike_in_memory_and_on_the_disk() {
        // Few places, so that keys meet and the table grows.
        let table = Some(Table::of(4).expect("made"));
        let mut copies = Copies { most_held: 10, table, ..Copies::default() };
        for times in 1..=3 {
            for n in 0u32..300 {
                let key = keys::of(&[&n.to_le_bytes()]);
                assert_eq!(copies.see(key).expect("counted"), times, "{n}");
                assert!(copies.held.len() <= 10);
            }
        }
        let table = copies.table.expect("begun");
        assert_eq!(table.taken, 290);
        assert!(table.places >= 580 && table.places <= 1024, "{}", table.places);
    }
}
