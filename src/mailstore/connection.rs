//! Opening an account's SQLite file, with the settings that durability and speed were measured under.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::error::Result;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Reader,
    Writer,
}

/// What `PRAGMA auto_vacuum` says of a file that was made with it.
const INCREMENTAL: i64 = 2;

/// Opens `path`, making an empty file of the right page layout when there is none.
pub fn open(path: &Path, role: Role) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(std::time::Duration::from_millis(5000))?;
    // The bundled build knows STAT4, for which a statement is prepared anew each time another value is bound to it: that
    // was a sixth of the time of reading bodies. We never ANALYZE, so the plan would be the same.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    if conn.pragma_query_value(None, "auto_vacuum", |row| row.get::<_, i64>(0))? != INCREMENTAL {
        // Both count only before the first table, and in a file that is there already the second writes its first page, and
        // syncs it, each time it is said. The pointer map that incremental vacuum keeps also lets SQLite jump along a large
        // body's pages.
        conn.execute_batch("PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL;")?;
    }
    let cache_kib = if role == Role::Writer { 4096 } else { 1024 };
    conn.execute_batch(&format!(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;
         PRAGMA journal_size_limit=67108864; PRAGMA cache_size=-{cache_kib};
         PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=OFF; PRAGMA trusted_schema=OFF;"
    ))?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

/// Opens a database that somebody else may be using, to read it and to leave it as it is: no page is written, and its
/// write-ahead log is not taken over at the close.
pub fn open_to_read(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(std::time::Duration::from_millis(5000))?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.execute_batch(
        "PRAGMA query_only=ON; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-4096; PRAGMA mmap_size=0;
         PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;",
    )?;
    Ok(conn)
}

/// Opens a database that nobody writes, such as one in a backup, which may lie on a disk that is read-only.
pub fn open_resting(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.execute_batch(
        "PRAGMA cache_size=-4096; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF;
         PRAGMA cell_size_check=ON;",
    )?;
    Ok(conn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::StatementStatus;

    #[test]
    fn opening_a_file_that_is_there_writes_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, wal) = (dir.path().join("mail.db"), dir.path().join("mail.db-wal"));
        let first = open(&path, Role::Writer).expect("made");
        first.execute_batch("CREATE TABLE a(id INTEGER PRIMARY KEY)").expect("a table");
        let length = || std::fs::metadata(&wal).expect("there").len();
        let before = length();
        for role in [Role::Writer, Role::Reader] {
            let conn = open(&path, role).expect("opens");
            let layout = ["page_size", "auto_vacuum"]
                .map(|what| conn.pragma_query_value(None, what, |row| row.get::<_, i64>(0)).expect("a number"));
            assert_eq!((layout, length()), ([4096, INCREMENTAL], before));
        }
        assert!(before > 0);
    }

    #[test]
    fn a_statement_is_prepared_once_whatever_is_bound_to_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let conn = open(&dir.path().join("mail.db"), Role::Reader).expect("opens");
        conn.execute_batch(
            "CREATE TABLE a(id INTEGER PRIMARY KEY); CREATE TABLE b(id INTEGER PRIMARY KEY, data BLOB);",
        )
        .expect("tables");
        let mut query =
            conn.prepare("SELECT a.id, b.data FROM a LEFT JOIN b ON b.id = a.id WHERE a.id = ?").expect("a statement");
        for id in 0..10 {
            assert!(!query.exists([id]).expect("runs"));
        }
        assert_eq!(query.get_status(StatementStatus::RePrepare), 0);
    }
}
