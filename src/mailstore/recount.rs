//! What is counted of a mailbox's messages, counted anew from their rows: for stores that are put together rather than
//! written order by order.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::error::{Error, Result};
use super::snapshot::{Counters, Members, span_of};
use crate::types::{FlagSet, Keyword};

/// All interned sets of flags by their numbers.
pub fn flagsets(conn: &Connection) -> Result<HashMap<u32, FlagSet>> {
    let mut query = conn.prepare("SELECT id, bits, names FROM flagset")?;
    let mut rows = query.query([])?;
    let mut sets = HashMap::new();
    while let Some(row) = rows.next()? {
        let names: String = row.get(2)?;
        let keywords = names.split_ascii_whitespace().filter_map(Keyword::new).collect();
        sets.insert(row.get(0)?, FlagSet::from_parts(row.get(1)?, keywords));
    }
    Ok(sets)
}

/// Writes the spans and the counters of a mailbox. Its own row is there already.
pub fn recount(conn: &Connection, mailbox: i64, sets: &HashMap<u32, FlagSet>) -> Result<()> {
    conn.prepare_cached("DELETE FROM span WHERE mbox = ?")?.execute([mailbox])?;
    let mut query =
        conn.prepare_cached("SELECT uid, flagset, size, modseq FROM message WHERE mbox = ? ORDER BY uid")?;
    let mut rows = query.query([mailbox])?;
    let mut span: Option<(Members, Counters, i64)> = None;
    let (mut messages, mut all) = (0u32, Counters::default());
    while let Some(row) = rows.next()? {
        let (uid, flagset, size, modseq): (u32, u32, u32, i64) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let set = sets.get(&flagset).ok_or_else(|| Error::Fault(format!("flag set {flagset} is missing")))?;
        let adds = Counters::of(set, size);
        let lo = span_of(uid);
        let mut here = match span.take() {
            Some(here) if here.0.lo == lo => here,
            full => {
                write_span(conn, mailbox, full.as_ref())?;
                (Members::empty(lo), Counters::default(), 0)
            }
        };
        here.0.insert(uid);
        here.1.add(&adds);
        here.2 = here.2.max(modseq);
        span = Some(here);
        messages += 1;
        all.add(&adds);
    }
    write_span(conn, mailbox, span.as_ref())?;
    conn.prepare_cached(
        "UPDATE mailbox SET messages = ?, unseen = ?, deleted = ?, deleted_bytes = ?, bytes = ? WHERE id = ?",
    )?
    .execute(params![messages, all.unseen, all.deleted, all.deleted_bytes as i64, all.bytes as i64, mailbox])?;
    Ok(())
}

fn write_span(conn: &Connection, mailbox: i64, span: Option<&(Members, Counters, i64)>) -> Result<()> {
    let Some((members, counters, modseq)) = span else { return Ok(()) };
    conn.prepare_cached(
        "INSERT INTO span(mbox, lo, count, unseen, deleted, deleted_bytes, bytes, max_modseq, members)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        mailbox,
        members.lo,
        members.count,
        counters.unseen,
        counters.deleted,
        counters.deleted_bytes as i64,
        counters.bytes as i64,
        modseq,
        members.stored(),
    ])?;
    Ok(())
}

/// Makes a table that never gives a number twice go on above `last`.
pub fn raise_sequence(conn: &Connection, table: &str, last: i64) -> Result<()> {
    let raised = conn.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", params![last, table])?;
    if raised == 0 {
        conn.execute("INSERT INTO sqlite_sequence(name, seq) VALUES (?, ?)", params![table, last])?;
    }
    Ok(())
}
