//! `pillarbox check`: every invariant of an account's store, verified against the rows and files themselves.
//! It reads one moment of the database and changes nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use rusqlite::Connection;

use super::account::AccountState;
use super::blobs;
use super::error::Result;
use super::retold;
use super::snapshot::{Counters, Members, SPAN_UIDS, span_of};
use crate::message::{PartTable, Retelling};
use crate::types::{ContentId, FlagSet};

/// Most findings reported for one account; a broken store need not fill the disk with complaints.
const MOST_FINDINGS: usize = 1000;
/// A file without a row younger than this is not a finding: it is a draft, or the sweep will take it.
const YOUNG_SECS: i64 = 2 * 86_400;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Each a sentence about one thing that is not as it must be.
    pub problems: Vec<String>,
    pub mailboxes: u64,
    pub messages: u64,
    pub contents: u64,
    pub body_bytes: u64,
    /// Files without a row that are too young to be a problem.
    pub young_files: u64,
}

impl Findings {
    fn add(&mut self, problem: String) {
        if self.problems.len() < MOST_FINDINGS {
            self.problems.push(problem);
        }
    }
}

struct Counted {
    messages: u32,
    counters: Counters,
    highest_uid: u32,
    highest_modseq: i64,
}

struct SpanCount {
    members: Members,
    counters: Counters,
    max_modseq: i64,
}

/// Checks one account. The connection is used for one long read transaction.
pub fn check(account: &AccountState, conn: &Connection) -> Result<Findings> {
    check_files_of(&account.dir, account.shared.clock.now_secs(), conn)
}

/// The same for files that no server has open.
pub fn check_files_of(dir: &Path, now_secs: i64, conn: &Connection) -> Result<Findings> {
    let mut findings = Findings::default();
    conn.execute_batch("BEGIN")?;
    let outcome = check_all(dir, now_secs, conn, &mut findings);
    conn.execute_batch("COMMIT")?;
    outcome.map(|()| findings)
}

/// As far as the rows of mailboxes and messages tell: no page is looked at for itself, and no body.
pub fn check_rows(conn: &Connection) -> Result<Findings> {
    let mut findings = Findings::default();
    let flagsets = check_flagsets(conn, &mut findings)?;
    let (counted, _) = check_messages(conn, &flagsets, &mut findings)?;
    check_mailboxes(conn, &counted, &mut findings)?;
    Ok(findings)
}

fn check_all(dir: &Path, now_secs: i64, conn: &Connection, findings: &mut Findings) -> Result<()> {
    check_sqlite(conn, findings)?;
    let flagsets = check_flagsets(conn, findings)?;
    let (counted, refs) = check_messages(conn, &flagsets, findings)?;
    check_mailboxes(conn, &counted, findings)?;
    check_contents(dir, conn, &refs, findings)?;
    check_files(dir, now_secs, conn, findings)
}

/// Whether all pages fit together.
pub fn check_sqlite(conn: &Connection, findings: &mut Findings) -> Result<()> {
    let mut query = conn.prepare("PRAGMA integrity_check(100)")?;
    let rows = query.query_map([], |row| row.get::<_, String>(0))?;
    for row in rows {
        let text = row?;
        if text != "ok" {
            findings.add(format!("SQLite: {text}"));
        }
    }
    Ok(())
}

fn check_flagsets(conn: &Connection, findings: &mut Findings) -> Result<HashMap<u32, FlagSet>> {
    let mut query = conn.prepare("SELECT id, bits, names FROM flagset")?;
    let mut rows = query.query([])?;
    let mut sets = HashMap::new();
    while let Some(row) = rows.next()? {
        let (id, bits, names): (u32, u8, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let keywords: Vec<_> = names.split_ascii_whitespace().map(crate::types::Keyword::new).collect();
        if keywords.iter().any(Option::is_none) || bits > 0x1f {
            findings.add(format!("flag set {id} holds what is no flag: {bits} {names:?}"));
        }
        sets.insert(id, FlagSet::from_parts(bits, keywords.into_iter().flatten().collect()));
    }
    Ok(sets)
}

type References = HashMap<u32, i64>;

/// Counts messages by mailbox and by span, and compares the spans.
fn check_messages(
    conn: &Connection,
    flagsets: &HashMap<u32, FlagSet>,
    findings: &mut Findings,
) -> Result<(BTreeMap<i64, Counted>, References)> {
    let mut counted: BTreeMap<i64, Counted> = BTreeMap::new();
    let mut spans: BTreeMap<(i64, u32), SpanCount> = BTreeMap::new();
    let mut refs = References::new();
    let mut query = conn.prepare("SELECT mbox, uid, modseq, flagset, size, cid FROM message")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (mbox, uid, modseq): (i64, u32, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (flagset, size, cid): (u32, u32, u32) = (row.get(3)?, row.get(4)?, row.get(5)?);
        if uid == 0 {
            findings.add(format!("mailbox {mbox} has a message with UID 0"));
            continue;
        }
        let Some(flags) = flagsets.get(&flagset) else {
            findings.add(format!("message {uid} of mailbox {mbox} has flag set {flagset}, which is missing"));
            continue;
        };
        findings.messages += 1;
        *refs.entry(cid).or_default() += 1;
        let adds = Counters::of(flags, size);
        let all = counted.entry(mbox).or_insert(Counted {
            messages: 0,
            counters: Counters::default(),
            highest_uid: 0,
            highest_modseq: 0,
        });
        all.messages += 1;
        all.counters.add(&adds);
        all.highest_uid = all.highest_uid.max(uid);
        all.highest_modseq = all.highest_modseq.max(modseq);
        let lo = span_of(uid);
        let span = spans.entry((mbox, lo)).or_insert_with(|| SpanCount {
            members: Members::empty(lo),
            counters: Counters::default(),
            max_modseq: 0,
        });
        span.members.insert(uid);
        span.counters.add(&adds);
        span.max_modseq = span.max_modseq.max(modseq);
    }
    let mut query =
        conn.prepare("SELECT mbox, lo, count, unseen, deleted, bytes, max_modseq, members, deleted_bytes FROM span")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (mbox, lo, count): (i64, u32, u32) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let max_modseq: i64 = row.get(6)?;
        let stored: Option<Vec<u8>> = row.get(7)?;
        let members = Members::restore(lo, count, stored.as_deref());
        let Some(real) = spans.remove(&(mbox, lo)) else {
            findings.add(format!("mailbox {mbox} has a span at {lo} without messages"));
            continue;
        };
        if members.as_ref() != Some(&real.members) {
            findings.add(format!("mailbox {mbox}: the members of span {lo} are not its messages"));
        }
        let told = counters_of(row, [3, 4, 8, 5])?;
        if told != real.counters {
            findings.add(format!("mailbox {mbox}: the counters of span {lo} are wrong"));
        }
        if max_modseq < real.max_modseq {
            findings
                .add(format!("mailbox {mbox}: span {lo} has modseq {max_modseq}, a message has {}", real.max_modseq));
        }
    }
    for (mbox, lo) in spans.keys() {
        findings.add(format!("mailbox {mbox}: messages {lo} to {} have no span", lo.saturating_add(SPAN_UIDS - 1)));
    }
    let mut query = conn.prepare("SELECT cid, count(*) FROM removed GROUP BY cid")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        *refs.entry(row.get(0)?).or_default() += row.get::<_, i64>(1)?;
    }
    Ok((counted, refs))
}

/// Counters from the columns of unseen, deleted, deleted_bytes and bytes.
fn counters_of(row: &rusqlite::Row<'_>, columns: [usize; 4]) -> Result<Counters> {
    let [unseen, deleted, deleted_bytes, bytes] = columns;
    let (deleted_bytes, bytes): (i64, i64) = (row.get(deleted_bytes)?, row.get(bytes)?);
    Ok(Counters {
        unseen: row.get(unseen)?,
        deleted: row.get(deleted)?,
        deleted_bytes: deleted_bytes as u64,
        bytes: bytes as u64,
    })
}

fn check_mailboxes(conn: &Connection, counted: &BTreeMap<i64, Counted>, findings: &mut Findings) -> Result<()> {
    let last_modseq: i64 = conn.query_row("SELECT value FROM meta WHERE key = 'modseq'", [], |row| row.get(0))?;
    let last_validity: i64 =
        conn.query_row("SELECT value FROM meta WHERE key = 'uidvalidity'", [], |row| row.get(0))?;
    let mut query = conn.prepare(
        "SELECT id, parent, name, uidvalidity, uidnext, modseq, messages, unseen, deleted, bytes,
                (SELECT max(uid) FROM removed WHERE removed.mbox = mailbox.id), deleted_bytes FROM mailbox",
    )?;
    let mut rows = query.query([])?;
    let (mut ids, mut parents, mut validities) = (HashSet::new(), HashMap::new(), HashSet::new());
    let mut has_inbox = false;
    while let Some(row) = rows.next()? {
        let (id, parent, name): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        findings.mailboxes += 1;
        ids.insert(id);
        has_inbox |= parent == 0 && name == "INBOX";
        parents.insert(id, parent);
        let (validity, uid_next, modseq): (i64, i64, i64) = (row.get(3)?, row.get(4)?, row.get(5)?);
        if validity == 0 || validity > last_validity || !validities.insert(validity) {
            findings.add(format!("mailbox {id} ({name}): UIDVALIDITY {validity} was given twice or never"));
        }
        let removed: Option<i64> = row.get(10)?;
        let real = counted.get(&id);
        let highest = real.map_or(0, |r| i64::from(r.highest_uid)).max(removed.unwrap_or(0));
        if uid_next <= highest {
            findings.add(format!("mailbox {id} ({name}): UIDNEXT is {uid_next}, but UID {highest} was given"));
        }
        if modseq < real.map_or(1, |r| r.highest_modseq) || modseq > last_modseq {
            findings.add(format!("mailbox {id} ({name}): HIGHESTMODSEQ {modseq} does not cover its messages"));
        }
        let told: (u32, Counters) = (row.get(6)?, counters_of(row, [7, 8, 11, 9])?);
        let counts = real.map_or((0, Counters::default()), |r| (r.messages, r.counters));
        if told != counts {
            findings.add(format!("mailbox {id} ({name}): counters say {told:?}, its messages {counts:?}"));
        }
    }
    if !has_inbox {
        findings.add("there is no INBOX".into());
    }
    for (id, parent) in &parents {
        let mut at = *parent;
        for _ in 0..=parents.len() {
            match parents.get(&at) {
                Some(above) => at = *above,
                None => break,
            }
        }
        if at != 0 {
            findings.add(format!("mailbox {id}: its ancestors do not lead to the root"));
        }
    }
    for mbox in counted.keys().filter(|mbox| !ids.contains(mbox)) {
        findings.add(format!("there are messages in mailbox {mbox}, which is missing"));
    }
    let sql = "SELECT e.mbox, e.lo, e.hi FROM expunged e JOIN mailbox m ON m.id = e.mbox WHERE e.hi >= m.uidnext
               OR EXISTS (SELECT 1 FROM message WHERE message.mbox = e.mbox AND message.uid BETWEEN e.lo AND e.hi)";
    let mut query = conn.prepare(sql)?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (mbox, lo, hi): (i64, u32, u32) = (row.get(0)?, row.get(1)?, row.get(2)?);
        findings.add(format!("mailbox {mbox}: {lo}:{hi} are remembered as expunged but are there"));
    }
    Ok(())
}

fn check_contents(dir: &Path, conn: &Connection, refs: &References, findings: &mut Findings) -> Result<()> {
    let mut query = conn.prepare(
        "SELECT c.id, c.hash, c.refs, c.size, c.place, c.stored, c.file, b.data, s.parts, k.cid
         FROM content c LEFT JOIN body b ON b.id = c.id LEFT JOIN structure s ON s.cid = c.id
         LEFT JOIN sortkey k ON k.cid = c.id",
    )?;
    let mut rows = query.query([])?;
    let mut known = HashSet::new();
    let mut growths = retold::stored(conn)?;
    while let Some(row) = rows.next()? {
        let (id, hash, told): (u32, Vec<u8>, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (size, place, stored): (i64, i64, i64) = (row.get(3)?, row.get(4)?, row.get(5)?);
        let (file, body): (Option<String>, Option<Vec<u8>>) = (row.get(6)?, row.get(7)?);
        let parts: Option<Vec<u8>> = row.get(8)?;
        known.insert(id);
        findings.contents += 1;
        findings.body_bytes += size as u64;
        let real = refs.get(&id).copied().unwrap_or(0);
        if told != real {
            findings.add(format!("content {id}: {told} references are counted, there are {real}"));
        }
        // What a client is told is longer by this, in sizes and in octets alike.
        let grows = growths.remove(&ContentId(id)).map_or(0, u64::from);
        match parts.and_then(|parts| PartTable::decode(&parts).ok()) {
            None => findings.add(format!("content {id}: its structure is missing or cannot be read")),
            Some(table) => {
                let real = Retelling::of(&table).map_or(0, |retelling| retelling.growth());
                if grows != real {
                    findings.add(format!("content {id}: it is told {grows} octets longer than stored, not {real}"));
                }
            }
        }
        if row.get::<_, Option<i64>>(9)?.is_none() {
            findings.add(format!("content {id}: its sort keys are missing"));
        }
        let measured = match (place, &file, &body) {
            (0, None, Some(body)) => Some((*blake3::hash(body).as_bytes(), body.len() as u64)),
            (1, Some(file), None) => match blobs::hash_file(&dir.join("blobs").join(file)) {
                Ok(measured) => Some(measured),
                Err(error) => {
                    findings.add(format!("content {id}: its file {file} cannot be read: {error}"));
                    continue;
                }
            },
            _ => None,
        };
        match measured {
            None => findings.add(format!("content {id}: its body is missing or in two places")),
            Some((real, _)) if real[..] != hash[..] => {
                findings.add(format!("content {id}: its octets do not match its hash"))
            }
            Some((_, octets)) if octets != size as u64 || stored != size => {
                findings.add(format!("content {id}: {octets} octets are stored, its row says {size}"));
            }
            Some(_) => {}
        }
    }
    for cid in refs.keys().filter(|cid| !known.contains(cid)) {
        findings.add(format!("content {cid} is missing, but messages refer to it"));
    }
    for ContentId(cid) in growths.into_keys() {
        findings.add(format!("retold has a row for content {cid}, which is missing"));
    }
    for (table, key) in [("body", "id"), ("structure", "cid"), ("sortkey", "cid"), ("msgref", "cid")] {
        let sql = format!("SELECT DISTINCT {key} FROM {table} WHERE {key} NOT IN (SELECT id FROM content)");
        let mut query = conn.prepare(&sql)?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            findings.add(format!("{table} has a row for content {}, which is missing", row.get::<_, i64>(0)?));
        }
    }
    Ok(())
}

fn check_files(dir: &Path, now_secs: i64, conn: &Connection, findings: &mut Findings) -> Result<()> {
    let mut query = conn.prepare("SELECT file FROM content WHERE file IS NOT NULL")?;
    let named: HashSet<String> = query.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for (file, ctime) in blobs::files_with_ctime(dir)? {
        if named.contains(&file) {
            continue;
        }
        if now_secs - ctime < YOUNG_SECS {
            findings.young_files += 1;
        } else {
            findings.add(format!("the file blobs/{file} has no row and was not swept"));
        }
    }
    Ok(())
}
