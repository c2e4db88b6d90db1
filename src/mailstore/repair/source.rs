//! The damaged database, table by table: through SQLite as far as its trees carry, from both ends, and for what is
//! left from the pages themselves. The tables and their columns are those of this program's own schema; a column
//! that the damaged file does not have reads as nothing.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::limits::Limit;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, MAIN_DB};

use super::raw::{Place, RawFile, RawRow};
use crate::mailstore::connection;
use crate::mailstore::error::Result;

/// Longest value taken out of a damaged file, in octets; an inline body is far shorter.
const MOST_VALUE_BYTES: i32 = 64 << 20;
/// A body that SQLite cannot read as a whole is read in pieces of this size, up to where it breaks.
const PIECE_BYTES: usize = 1024;
/// What is made anew from the messages, so that nothing of it is read.
const DERIVED: [&str; 4] = ["span", "structure", "sortkey", "msgref"];

/// A table of the schema.
#[derive(Debug, Clone)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    has_rowid: bool,
}

#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    kind: Kind,
    may_be_null: bool,
    /// Its place in the key, from 1; 0: it is not in it.
    key: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    Text,
    Blob,
    Any,
}

impl Table {
    /// Where a column stands.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    fn is_derived(&self) -> bool {
        DERIVED.contains(&self.name.as_str())
    }

    /// A row number is stored beside the record, in which its column is empty.
    fn is_row_number(&self, column: &Column) -> bool {
        self.has_rowid && column.key == 1 && column.kind == Kind::Integer
    }

    /// The values of a raw row, if it can be one of this table.
    fn fitting(&self, row: &RawRow) -> Option<Vec<Value>> {
        if self.has_rowid != row.rowid.is_some() || row.values.len() != self.columns.len() {
            return None;
        }
        let mut values = Vec::with_capacity(self.columns.len());
        for (column, value) in self.columns.iter().zip(&row.values) {
            let fits = match (column.kind, value) {
                (_, Value::Null) => column.may_be_null || self.is_row_number(column),
                (Kind::Integer, Value::Integer(_)) | (Kind::Text, Value::Text(_)) | (Kind::Blob, Value::Blob(_)) => {
                    true
                }
                (Kind::Any, _) => true,
                _ => false,
            };
            if !fits {
                return None;
            }
            values.push(match (row.rowid, self.is_row_number(column)) {
                (Some(rowid), true) => Value::Integer(rowid),
                _ => value.clone(),
            });
        }
        Some(values)
    }
}

/// The tables of a database that was made just now.
pub fn tables(fresh: &Connection) -> Result<Vec<Table>> {
    let mut query = fresh.prepare(
        "SELECT name, sql LIKE '%WITHOUT ROWID%' FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    )?;
    let names = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)))?;
    let mut tables = Vec::new();
    for found in names {
        let (name, is_without) = found?;
        let mut query = fresh.prepare("SELECT name, type, \"notnull\", pk FROM pragma_table_info(?)")?;
        let columns = query.query_map([&name], |row| {
            let kind = match row.get::<_, String>(1)?.as_str() {
                "INTEGER" => Kind::Integer,
                "TEXT" => Kind::Text,
                "BLOB" => Kind::Blob,
                _ => Kind::Any,
            };
            Ok(Column { name: row.get(0)?, kind, may_be_null: !row.get::<_, bool>(2)?, key: row.get(3)? })
        })?;
        tables.push(Table { columns: columns.collect::<rusqlite::Result<_>>()?, has_rowid: !is_without, name });
    }
    Ok(tables)
}

/// A damaged database, copied so that nothing done here touches it.
pub struct Source {
    conn: Option<Connection>,
    raw: Option<RawFile>,
    /// Where bodies stand on the pages, once that was looked for.
    bodies: HashMap<i64, Vec<Place>>,
    /// Hashes with the contents whose they are, as pages of the index on them tell.
    hashes: HashMap<i64, Vec<[u8; 32]>>,
}

/// How much of a body could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// So it says; its hash tells.
    All(Vec<u8>),
    /// It broke off after these.
    Beginning(Vec<u8>),
    None,
}

impl Source {
    /// Opens `mail.db` in a directory, if it can be opened at all.
    pub fn open(dir: &Path) -> Source {
        let (database, log) = (dir.join("mail.db"), dir.join("mail.db-wal"));
        let conn = open(&database).ok();
        let raw = RawFile::open(&database, &log).ok();
        Source { conn, raw, bodies: HashMap::new(), hashes: HashMap::new() }
    }

    /// True when SQLite can do something with it.
    pub fn has_trees(&self) -> bool {
        self.conn.is_some()
    }

    /// False: SQLite says that there is no such table.
    pub fn may_have(&self, table: &Table) -> bool {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?";
        let count = self.conn.as_ref().map(|conn| conn.query_row(sql, [&table.name], |row| row.get::<_, i64>(0)));
        !matches!(count, Some(Ok(0)))
    }

    /// Reads a table through SQLite, from both ends if it breaks in the middle. True: nothing of it is missing.
    pub fn scan(&self, table: &Table, see: &mut dyn FnMut(Vec<Value>)) -> bool {
        let Some(conn) = &self.conn else { return false };
        for direction in ["ASC", "DESC"] {
            match scan_from(conn, table, direction, see) {
                Ok(()) => return true,
                Err(error) => tracing::debug!(table = table.name, %error, "a table cannot be read to its end"),
            }
        }
        false
    }

    /// Reads all pages once, and gives the rows that can be of one of `wanted`; also remembers where bodies are.
    pub fn scan_pages(&mut self, tables: &[&Table], wanted: &[&str], see: &mut dyn FnMut(&Table, Vec<Value>, bool)) {
        let Some(raw) = &self.raw else { return };
        let (bodies, hashes) = (&mut self.bodies, &mut self.hashes);
        let body = tables.iter().find(|table| table.name == "body");
        raw.each_row(&mut |row| {
            if let (None, [Value::Blob(hash), Value::Integer(id)]) = (row.rowid, &row.values[..])
                && let Ok(hash) = hash.as_slice().try_into()
            {
                hashes.entry(*id).or_default().push(hash);
            }
            if let (Some(id), Some(place)) = (row.rowid, row.place)
                && body.is_some_and(|body| body.fitting(&row).is_some())
            {
                bodies.entry(id).or_default().push(place);
                return;
            }
            let mut fitting = tables.iter().filter(|table| !table.is_derived()).filter_map(|table| {
                let values = table.fitting(&row)?;
                (table.name != "quota" || !is_of_meta(&values)).then_some((table, values))
            });
            if let (Some((table, values)), None) = (fitting.next(), fitting.next())
                && wanted.contains(&table.name.as_str())
            {
                see(table, values, row.place.is_none());
            }
        });
    }

    /// The numbers of all inline bodies.
    pub fn body_ids(&self) -> Vec<i64> {
        let mut ids: Vec<i64> = self.bodies.keys().copied().collect();
        if let Some(conn) = &self.conn {
            for direction in ["ASC", "DESC"] {
                let sql = format!("SELECT id FROM body NOT INDEXED ORDER BY id {direction}");
                let Ok(mut query) = conn.prepare(&sql) else { break };
                let Ok(rows) = query.query_map([], |row| row.get::<_, i64>(0)) else { break };
                ids.extend(rows.map_while(std::result::Result::ok));
            }
        }
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// An inline body. With a hash the octets that have it are looked for wherever they may be.
    pub fn body(&self, id: i64, hash: Option<&[u8; 32]>) -> Body {
        let is_right = |octets: &[u8]| hash.is_none_or(|hash| blake3::hash(octets).as_bytes() == hash);
        let through_tree = self.conn.as_ref().map_or(Body::None, |conn| body_through_tree(conn, id));
        if let Body::All(octets) = &through_tree
            && is_right(octets)
        {
            return through_tree;
        }
        let places = self.bodies.get(&id).into_iter().flatten();
        let mut raw = places.filter_map(|place| match self.raw.as_ref()?.again(*place)?.values.pop()? {
            Value::Blob(octets) => Some(octets),
            _ => None,
        });
        match (raw.find(|octets| is_right(octets)), through_tree) {
            (Some(octets), _) => Body::All(octets),
            (None, Body::None) => {
                // Wrong octets are more than none.
                let places = self.bodies.get(&id).into_iter().flatten();
                let any = places.filter_map(|place| self.raw.as_ref()?.again(*place)?.values.pop()).next();
                if let Some(Value::Blob(octets)) = any { Body::All(octets) } else { Body::None }
            }
            (None, through_tree) => through_tree,
        }
    }

    /// Reads the index on hashes. It is a second place where each stands: when the row disagrees with the octets, it
    /// tells whether the octets are wrong or the hash.
    pub fn read_hashes(&mut self) {
        let Some(conn) = &self.conn else { return };
        for direction in ["ASC", "DESC"] {
            let sql =
                format!("SELECT hash, id FROM content INDEXED BY sqlite_autoindex_content_1 ORDER BY hash {direction}");
            let Ok(mut query) = conn.prepare(&sql) else { return };
            let Ok(rows) = query.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))) else {
                return;
            };
            for (hash, id) in rows.map_while(std::result::Result::ok) {
                if let Ok(hash) = hash.try_into() {
                    self.hashes.entry(id).or_default().push(hash);
                }
            }
        }
    }

    /// True when the index on hashes says that this is the content's.
    pub fn vouches(&self, id: i64, hash: &[u8; 32]) -> bool {
        self.hashes.get(&id).is_some_and(|hashes| hashes.contains(hash))
    }

    /// True when the index says something of the content's hash, whatever that is.
    pub fn has_hash(&self, id: i64) -> bool {
        self.hashes.contains_key(&id)
    }

    /// The stored ENVELOPE of a content, for telling a person what is lost.
    pub fn envelope(&self, cid: i64) -> Option<Vec<u8>> {
        let conn = self.conn.as_ref()?;
        conn.query_row("SELECT envelope FROM structure WHERE cid = ?", [cid], |row| row.get(0)).ok()
    }

    /// Which thread each content was found to belong to.
    pub fn threads(&self) -> HashMap<i64, i64> {
        let mut threads = HashMap::new();
        let Some(conn) = &self.conn else { return threads };
        for direction in ["ASC", "DESC"] {
            let sql = format!("SELECT cid, thread FROM sortkey NOT INDEXED ORDER BY cid {direction}");
            let Ok(mut query) = conn.prepare(&sql) else { break };
            let Ok(rows) = query.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))) else { break };
            threads.extend(rows.map_while(std::result::Result::ok));
        }
        threads
    }

    /// The numbers given out last by tables that never give one twice.
    pub fn sequences(&self) -> HashMap<String, i64> {
        let Some(conn) = &self.conn else { return HashMap::new() };
        let read = || -> rusqlite::Result<HashMap<String, i64>> {
            let mut query = conn.prepare("SELECT name, seq FROM sqlite_sequence")?;
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        read().unwrap_or_default()
    }
}

/// Both have a word and a number; these are the words of `meta`.
fn is_of_meta(values: &[Value]) -> bool {
    matches!(values.first(), Some(Value::Text(key)) if ["schema", "modseq", "uidvalidity"].contains(&key.as_str()))
}

fn open(database: &Path) -> Result<Connection> {
    // An empty file would be taken for a new database, and its log thrown away.
    if std::fs::metadata(database)?.len() == 0 {
        return Err(crate::mailstore::Error::Fault("the file is empty".into()));
    }
    let conn = connection::open_to_read(database)?;
    conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, MOST_VALUE_BYTES)?;
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
    Ok(conn)
}

fn scan_from(
    conn: &Connection,
    table: &Table,
    direction: &str,
    see: &mut dyn FnMut(Vec<Value>),
) -> rusqlite::Result<()> {
    let there: Vec<String> = conn
        .prepare("SELECT name FROM pragma_table_info(?)")?
        .query_map([&table.name], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    if there.is_empty() {
        return Err(rusqlite::Error::QueryReturnedNoRows);
    }
    let columns: Vec<&str> = table
        .columns
        .iter()
        .map(|column| if there.contains(&column.name) { column.name.as_str() } else { "NULL" })
        .collect();
    let mut keys: Vec<&Column> = table.columns.iter().filter(|column| column.key > 0).collect();
    keys.sort_by_key(|column| column.key);
    let order: Vec<String> = keys.iter().map(|column| format!("{} {direction}", column.name)).collect();
    let sql = format!("SELECT {} FROM {} NOT INDEXED ORDER BY {}", columns.join(", "), table.name, order.join(", "));
    let mut query = conn.prepare(&sql)?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let value = |at: usize| {
            Ok(match row.get_ref(at)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => Value::Integer(number),
                ValueRef::Real(number) => Value::Real(number),
                ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
                ValueRef::Blob(octets) => Value::Blob(octets.to_vec()),
            })
        };
        see((0..columns.len()).map(value).collect::<rusqlite::Result<_>>()?);
    }
    Ok(())
}

fn body_through_tree(conn: &Connection, id: i64) -> Body {
    let whole = conn.query_row("SELECT data FROM body WHERE id = ?", [id], |row| row.get::<_, Vec<u8>>(0));
    if let Ok(octets) = whole {
        return Body::All(octets);
    }
    let Ok(blob) = conn.blob_open(MAIN_DB, "body", "data", id, true) else { return Body::None };
    let mut octets = vec![0; blob.len().min(MOST_VALUE_BYTES as usize)];
    let mut read = 0;
    while read < octets.len() {
        let end = octets.len().min(read + PIECE_BYTES);
        if blob.read_at_exact(&mut octets[read..end], read).is_err() {
            break;
        }
        read = end;
    }
    octets.truncate(read);
    if octets.is_empty() { Body::None } else { Body::Beginning(octets) }
}
