//! Rows read straight from the pages of a database file, for when its trees are broken: every leaf page says by itself
//! what rows it holds. Nothing is believed: each length and pointer is held against the file before it is followed, so
//! any octets whatever give some rows or none, in time bounded by the file's size.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::types::Value;

/// The page size of this program's databases, for a file whose header is lost.
const USUAL_PAGE: usize = 4096;
/// Longest record put together, in octets: longer ones are no rows of ours.
const MOST_RECORD_BYTES: u64 = 32 << 20;
/// Most columns of a record.
const MOST_COLUMNS: usize = 64;
/// A frame of a write-ahead log begins with so many octets, the log itself with more.
const FRAME_HEAD: u64 = 24;
const LOG_HEAD: u64 = 32;

/// First octet of a leaf page of a table that has row numbers, and of one that has none.
const TABLE_LEAF: u8 = 0x0d;
const INDEX_LEAF: u8 = 0x0a;
/// An inner page of a table without row numbers holds rows too.
const INDEX_INNER: u8 = 0x02;
/// What the page map says of a page on the free list.
const MAP_FREE: u8 = 2;

/// A row as it stands on a page.
#[derive(Debug, Clone, PartialEq)]
pub struct RawRow {
    /// Its number, in a table that has them.
    pub rowid: Option<i64>,
    pub values: Vec<Value>,
    /// Where it can be read again; `None` when it came from the log.
    pub place: Option<Place>,
}

/// Where a row stands: the number of the page, and where on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    page: u64,
    at: usize,
    has_rowid: bool,
}

/// A database file and what is left of its write-ahead log.
pub struct RawFile {
    file: File,
    log: Option<File>,
    page: usize,
    pages: u64,
    frames: u64,
    /// Octets of overflow pages that may still be read: broken pointers may lead to the same ones again and again.
    budget: Cell<u64>,
}

impl RawFile {
    /// Opens the files as they are. `log` may be missing.
    pub fn open(database: &Path, log: &Path) -> io::Result<RawFile> {
        let file = File::open(database)?;
        let mut head = [0u8; 32];
        let read = file.read_at(&mut head, 0)?;
        // Two octets at 16; 1 stands for 65,536.
        let told = match u16::from_be_bytes([head[16], head[17]]) {
            1 => 65_536,
            size => usize::from(size),
        };
        let is_size = read >= 18 && told.is_power_of_two() && (512..=65_536).contains(&told);
        let page = if is_size { told } else { USUAL_PAGE };
        let pages = file.metadata()?.len() / page as u64;
        let log = File::open(log).ok();
        let octets = log.as_ref().and_then(|log| log.metadata().ok()).map_or(0, |found| found.len());
        let frames = octets.saturating_sub(LOG_HEAD) / (FRAME_HEAD + page as u64);
        let all = (pages + frames) * page as u64;
        Ok(RawFile { file, log, page, pages, frames, budget: Cell::new(all * 4 + MOST_RECORD_BYTES) })
    }

    /// Every row of every page that is in use. Rows of the log come last; the newest come last of those.
    pub fn each_row(&self, see: &mut dyn FnMut(RawRow)) {
        for number in 1..=self.pages {
            if !self.is_free(number)
                && let Some(page) = self.read_page(number)
            {
                self.rows_of(&page, number, false, see);
            }
        }
        for frame in 0..self.frames {
            let Some(log) = &self.log else { return };
            let mut octets = vec![0; self.page];
            let at = LOG_HEAD + frame * (FRAME_HEAD + self.page as u64);
            let mut number = [0; 4];
            if log.read_exact_at(&mut number, at).is_ok() && log.read_exact_at(&mut octets, at + FRAME_HEAD).is_ok() {
                self.rows_of(&octets, u64::from(u32::from_be_bytes(number)), true, see);
            }
        }
    }

    /// A row once more.
    pub fn again(&self, place: Place) -> Option<RawRow> {
        self.row_at(&self.read_page(place.page)?, place)
    }

    fn read_page(&self, number: u64) -> Option<Vec<u8>> {
        if number == 0 || number > self.pages {
            return None;
        }
        let mut octets = vec![0; self.page];
        self.file.read_exact_at(&mut octets, (number - 1) * self.page as u64).ok()?;
        Some(octets)
    }

    /// The map of pages says which hold nothing any more; what they held was deleted.
    fn is_free(&self, number: u64) -> bool {
        if number <= 2 {
            return false;
        }
        // Each map page describes the pages behind it, five octets for each.
        let described = self.page as u64 / 5;
        let map = 2 + (number - 2) / (described + 1) * (described + 1);
        if map == number {
            return true;
        }
        let at = (map - 1) * self.page as u64 + 5 * (number - map - 1);
        let mut kind = [0];
        self.file.read_exact_at(&mut kind, at).is_ok() && kind[0] == MAP_FREE
    }

    fn rows_of(&self, page: &[u8], number: u64, is_log: bool, see: &mut dyn FnMut(RawRow)) {
        // The file's own header stands before the first page's.
        let head = if number == 1 { 100 } else { 0 };
        let kind = page.get(head).copied().unwrap_or(0);
        // An inner page has four octets more in its header, and before each cell the number of a page below.
        let (list, skip) = match kind {
            TABLE_LEAF | INDEX_LEAF => (head + 8, 0),
            INDEX_INNER => (head + 12, 4),
            _ => return,
        };
        let cells = usize::from(short(page, head + 3).unwrap_or(0));
        for cell in 0..cells {
            let Some(at) = short(page, list + 2 * cell) else { return };
            let place = Place { page: number, at: usize::from(at) + skip, has_rowid: kind == TABLE_LEAF };
            if let Some(row) = self.row_at(page, place) {
                see(RawRow { place: row.place.filter(|_| !is_log), ..row });
            }
        }
    }

    fn row_at(&self, page: &[u8], place: Place) -> Option<RawRow> {
        let mut cell = page.get(place.at..)?;
        let length = u64::try_from(varint(&mut cell)?).ok().filter(|length| *length <= MOST_RECORD_BYTES)?;
        let rowid = if place.has_rowid { Some(varint(&mut cell)?) } else { None };
        let payload = self.payload(cell, usize::try_from(length).ok()?, place.has_rowid)?;
        Some(RawRow { rowid, values: record(&payload)?, place: Some(place) })
    }

    /// A record's octets: those in the cell, and those on the overflow pages behind it.
    fn payload(&self, cell: &[u8], length: usize, is_table: bool) -> Option<Vec<u8>> {
        let usable = self.page;
        let most = if is_table { usable - 35 } else { (usable - 12) * 64 / 255 - 23 };
        if length <= most {
            return Some(cell.get(..length)?.to_vec());
        }
        let least = (usable - 12) * 32 / 255 - 23;
        let fitting = least + (length - least) % (usable - 4);
        let local = if fitting <= most { fitting } else { least };
        let mut octets = cell.get(..local)?.to_vec();
        let mut next = long(cell, local)?;
        while octets.len() < length {
            // A ring of pages ends too: each page adds to what is bounded by `length`.
            self.budget.set(self.budget.get().checked_sub(usable as u64)?);
            let page = self.read_page(u64::from(next))?;
            next = long(&page, 0)?;
            let take = (length - octets.len()).min(usable - 4);
            octets.extend_from_slice(page.get(4..4 + take)?);
        }
        Some(octets)
    }
}

fn short(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(octets.get(at..at + 2)?.try_into().ok()?))
}

fn long(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(octets.get(at..at + 4)?.try_into().ok()?))
}

/// One to nine octets, seven bits in each but the ninth.
fn varint(octets: &mut &[u8]) -> Option<i64> {
    let mut value: u64 = 0;
    for index in 0..9 {
        let (first, rest) = octets.split_first()?;
        *octets = rest;
        if index == 8 {
            return Some((value << 8 | u64::from(*first)) as i64);
        }
        value = value << 7 | u64::from(first & 0x7f);
        if first & 0x80 == 0 {
            break;
        }
    }
    Some(value as i64)
}

/// A record: the length of its head, a type for each column, and then the columns.
fn record(payload: &[u8]) -> Option<Vec<Value>> {
    let mut head = payload;
    let length = usize::try_from(varint(&mut head)?).ok()?;
    let own = payload.len() - head.len();
    let (mut types, mut body) = (payload.get(own..length)?, payload.get(length..)?);
    let mut values = Vec::new();
    while !types.is_empty() {
        if values.len() >= MOST_COLUMNS {
            return None;
        }
        let kind = varint(&mut types)?;
        let mut take = |octets: usize| {
            let taken = body.get(..octets)?;
            body = body.get(octets..)?;
            Some(taken)
        };
        let value = match kind {
            0 => Value::Null,
            1..=6 => Value::Integer(integer(take([1, 2, 3, 4, 6, 8][kind as usize - 1])?)),
            7 => Value::Real(f64::from_be_bytes(take(8)?.try_into().ok()?)),
            8 => Value::Integer(0),
            9 => Value::Integer(1),
            12.. => {
                let octets = take(usize::try_from((kind - 12) / 2).ok()?)?;
                match kind % 2 {
                    0 => Value::Blob(octets.to_vec()),
                    _ => Value::Text(String::from_utf8_lossy(octets).into_owned()),
                }
            }
            _ => return None,
        };
        values.push(value);
    }
    Some(values)
}

/// Big-endian, the first bit being the sign.
fn integer(octets: &[u8]) -> i64 {
    let sign = if octets.first().is_some_and(|first| first & 0x80 != 0) { -1 } else { 0 };
    octets.iter().fold(sign, |value: i64, octet| value << 8 | i64::from(*octet))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    fn database(home: &tempfile::TempDir, sql: &str) -> std::path::PathBuf {
        let path = home.path().join("x.db");
        let conn = Connection::open(&path).expect("opens");
        conn.execute_batch("PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL;").expect("set");
        conn.execute_batch(sql).expect("made");
        path
    }

    fn rows(path: &Path) -> Vec<RawRow> {
        let mut rows = Vec::new();
        RawFile::open(path, &path.with_extension("none")).expect("opens").each_row(&mut |row| rows.push(row));
        rows
    }

    #[test]
    fn rows_are_read_as_sqlite_wrote_them() {
        let home = tempfile::tempdir().expect("a folder");
        let path = database(
            &home,
            "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, text TEXT, octets BLOB);
             CREATE TABLE w(a INTEGER, b TEXT, c INTEGER, PRIMARY KEY(a, b)) WITHOUT ROWID;
             INSERT INTO t VALUES (1, -5, 'é', x'00ff'), (900000000000, 9223372036854775807, '', zeroblob(300000));
             INSERT INTO t VALUES (7, NULL, 'seven', randomblob(4061)), (8, 0, 'x', randomblob(4062));
             INSERT INTO w VALUES (1, 'key', -9223372036854775808);
             INSERT INTO w VALUES (2, hex(zeroblob(9000)), 1);",
        );
        let conn = Connection::open(&path).expect("opens");
        let found = rows(&path);
        let mut query = conn.prepare("SELECT id, n, text, octets FROM t").expect("prepared");
        let mut stored = query.query([]).expect("asked");
        let mut count = 0;
        while let Some(row) = stored.next().expect("read") {
            let id: i64 = row.get(0).expect("a number");
            let raw = found.iter().find(|raw| raw.rowid == Some(id) && raw.values.len() == 4).expect("found");
            let value = |at| row.get::<_, Value>(at).expect("a value");
            assert_eq!(raw.values, [Value::Null, value(1), value(2), value(3)], "row {id}");
            count += 1;
        }
        assert_eq!(count, 4);
        let keys = |a: i64| found.iter().find(|raw| raw.rowid.is_none() && raw.values[0] == Value::Integer(a));
        assert_eq!(keys(1).expect("found").values[2], Value::Integer(i64::MIN));
        assert_eq!(keys(2).expect("found").values[1], Value::Text("00".repeat(9000)));
    }

    #[test]
    fn rows_on_inner_pages_are_found_too_and_any_can_be_read_again() {
        let home = tempfile::tempdir().expect("a folder");
        let path = database(
            &home,
            "CREATE TABLE w(a INTEGER PRIMARY KEY, b TEXT) WITHOUT ROWID;
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
             INSERT INTO w SELECT i, 'text of row ' || i FROM n;",
        );
        let file = RawFile::open(&path, &path.with_extension("none")).expect("opens");
        let mut numbers = Vec::new();
        file.each_row(&mut |row| {
            if row.rowid.is_none()
                && let [Value::Integer(number), Value::Text(_)] = row.values[..]
            {
                numbers.push(number);
                assert_eq!(file.again(row.place.expect("not of the log")), Some(row));
            }
        });
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=3000).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_deleted_does_not_come_back_from_free_pages() {
        let home = tempfile::tempdir().expect("a folder");
        let path = database(
            &home,
            "CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
             INSERT INTO t SELECT i, 'row number ' || i FROM n;
             DELETE FROM t WHERE id > 100;",
        );
        let ids: Vec<i64> =
            rows(&path).iter().filter(|raw| raw.values.len() == 2).filter_map(|raw| raw.rowid).collect();
        assert_eq!(ids, (1..=100).collect::<Vec<_>>());
    }

    #[test]
    fn any_octets_give_some_rows_or_none() {
        let home = tempfile::tempdir().expect("a folder");
        let path = database(
            &home,
            "CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
             INSERT INTO t SELECT i, hex(zeroblob(i * 20)) FROM n;",
        );
        let good = std::fs::read(&path).expect("read");
        let mut seed = 1u64;
        for _ in 0..300 {
            let mut bad = good.clone();
            for _ in 0..40 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = (seed >> 20) as usize % bad.len();
                bad[at] = (seed >> 12) as u8;
            }
            std::fs::write(&path, &bad).expect("written");
            rows(&path);
        }
        for cut in [0, 1, 17, 99, 100, 4096, 5000] {
            std::fs::write(&path, &good[..cut]).expect("written");
            rows(&path);
        }
    }
}
