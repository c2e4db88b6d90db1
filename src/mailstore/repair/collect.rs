//! What could be read of a damaged database, row by row made plausible: a number that cannot be what it says is
//! replaced or its row left out, and nothing is kept that the running server would stumble over.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::types::Value;

use super::imports::{Imports, READ_THROUGH_TREES};
use super::source::{Source, Table};
use crate::mailstore::snapshot::Members;
use crate::types::date::DateTime;
use crate::types::{FlagSet, Keyword};

/// Numbers of mailboxes and contents above this were never given out: no account gets so far.
const MOST_ID: i64 = 1 << 31;
/// Modseqs above this were never given out.
const MOST_MODSEQ: i64 = 1 << 60;
/// UIDNEXT so far above every UID known is a wrong number, not a busy mailbox.
const MOST_UID_GAP: i64 = 1 << 28;
/// A UIDVALIDITY is a time of day when it was given; so far ahead of the present none can be.
const MOST_VALIDITY_AHEAD: i64 = 10 * 366 * 86_400;
/// Years 1 to 9999.
const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// The tables that are read into something of their own, with all their columns: a column that is added to the schema
/// must be added here too, and a test says so.
#[cfg(test)]
const UNDERSTOOD: [(&str, &[&str]); 10] = [
    ("meta", &["key", "value"]),
    (
        "mailbox",
        &[
            "id",
            "parent",
            "name",
            "uidvalidity",
            "uidnext",
            "modseq",
            "recent_from",
            "attrs",
            "special_use",
            "seen_per_user",
            "messages",
            "unseen",
            "deleted",
            "deleted_bytes",
            "bytes",
            "keywords",
            "expunged_floor",
            "expunged_rows",
        ],
    ),
    ("message", &["mbox", "uid", "modseq", "flagset", "idate", "idate_zone", "saved", "size", "cid"]),
    ("removed", &["mbox", "uid", "modseq", "flagset", "idate", "idate_zone", "saved", "size", "cid", "at", "gone"]),
    ("span", &["mbox", "lo", "count", "unseen", "deleted", "deleted_bytes", "bytes", "max_modseq", "members"]),
    ("flagset", &["id", "bits", "names"]),
    ("expunged", &["mbox", "modseq", "lo", "hi"]),
    ("content", &["id", "hash", "refs", "size", "place", "stored", "file"]),
    ("body", &["id", "data"]),
    ("subscription", &["name"]),
];

/// A mailbox's row.
#[derive(Debug, Clone)]
pub struct MailboxRow {
    pub parent: i64,
    pub name: String,
    /// 0: it cannot be known.
    pub uid_validity: i64,
    pub uid_next: i64,
    pub modseq: i64,
    pub recent_from: i64,
    pub is_noselect: bool,
    pub special_use: String,
    pub seen_per_user: i64,
    pub keywords: Vec<Keyword>,
    pub expunged_floor: i64,
}

impl MailboxRow {
    /// One of which nothing is known but its place.
    pub fn bare(parent: i64, name: String) -> MailboxRow {
        MailboxRow {
            parent,
            name,
            uid_validity: 0,
            uid_next: 1,
            modseq: 1,
            recent_from: 1,
            is_noselect: false,
            special_use: String::new(),
            seen_per_user: 0,
            keywords: Vec::new(),
            expunged_floor: 0,
        }
    }
}

/// A message's row, there or removed.
#[derive(Debug, Clone)]
pub struct MessageRow {
    /// 0: it cannot be known.
    pub modseq: i64,
    pub flagset: i64,
    pub date: DateTime,
    pub saved: i64,
    pub size: i64,
    pub cid: i64,
}

/// What else `removed` says.
#[derive(Debug, Clone)]
pub struct RemovedRow {
    pub row: MessageRow,
    pub at: i64,
    pub gone: i64,
}

/// A content's row.
#[derive(Debug, Clone)]
pub struct ContentRow {
    pub hash: Option<[u8; 32]>,
    pub refs: i64,
    pub file: Option<String>,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Collected {
    pub meta: HashMap<String, i64>,
    pub mailboxes: BTreeMap<i64, MailboxRow>,
    pub messages: BTreeMap<(i64, u32), MessageRow>,
    pub removed: BTreeMap<(i64, u32), RemovedRow>,
    /// What each span's row says of its members; `None`: nothing that could be.
    pub members: HashMap<(i64, u32), Option<Members>>,
    pub flagsets: BTreeMap<i64, FlagSet>,
    pub expunged: Vec<(i64, i64, u32, u32)>,
    pub contents: BTreeMap<i64, ContentRow>,
    pub subscriptions: Vec<String>,
    /// Rows of tables that are taken over as they are.
    pub others: BTreeMap<String, Vec<Vec<Value>>>,
    /// Tables of which nothing is missing.
    pub whole: HashSet<String>,
    /// Rows that said what cannot be.
    pub odd_rows: u64,
    pub threads: HashMap<i64, i64>,
    pub sequences: HashMap<String, i64>,
    pub imports: Imports,
    now: i64,
}

impl Collected {
    /// Reads everything but bodies.
    pub fn read(source: &mut Source, tables: &[Table], now: i64) -> Collected {
        let mut all = Collected { now, ..Collected::default() };
        let derived = ["structure", "sortkey", "msgref", "body"];
        for table in tables.iter().filter(|table| !derived.contains(&table.name.as_str())) {
            if source.scan(table, &mut |values| all.take(table, values, false)) {
                all.whole.insert(table.name.clone());
            }
        }
        let broken = |table: &&Table| !all.whole.contains(&table.name) && !derived.contains(&table.name.as_str());
        let wanted: Vec<&str> = tables.iter().filter(broken).map(|table| table.name.as_str()).collect();
        let on_pages: Vec<&Table> =
            tables.iter().filter(|table| !READ_THROUGH_TREES.contains(&table.name.as_str())).collect();
        // Also when only bodies are broken: where they stand is found on the way.
        source.scan_pages(&on_pages, &wanted, &mut |table, values, is_newer| all.take(table, values, is_newer));
        source.read_hashes();
        all.threads = source.threads();
        all.sequences = source.sequences();
        all
    }

    pub fn is_whole(&self, table: &str) -> bool {
        self.whole.contains(table)
    }

    /// True when no message can have lost its row.
    pub fn has_all_messages(&self) -> bool {
        ["message", "removed", "mailbox"].iter().all(|table| self.is_whole(table))
    }

    fn take(&mut self, table: &Table, values: Vec<Value>, is_newer: bool) {
        let row = Row { table, values: &values };
        if let Some(taken) = self.imports.take(&row) {
            self.odd_rows += u64::from(taken.is_none());
            return;
        }
        let taken = match table.name.as_str() {
            "meta" => self.take_meta(&row),
            "mailbox" => self.take_mailbox(&row, is_newer),
            "message" => self.take_message(&row, is_newer),
            "removed" => self.take_removed(&row, is_newer),
            "span" => self.take_span(&row),
            "flagset" => self.take_flagset(&row),
            "expunged" => self.take_expunged(&row),
            "content" => self.take_content(&row, is_newer),
            "subscription" => row.text("name").map(|name| self.subscriptions.push(name.to_owned())),
            other => {
                self.others.entry(other.to_owned()).or_default().push(values);
                Some(())
            }
        };
        self.odd_rows += u64::from(taken.is_none());
    }

    fn take_meta(&mut self, row: &Row<'_>) -> Option<()> {
        let (key, value) = (row.text("key")?.to_owned(), row.int("value")?);
        let known = self.meta.entry(key).or_insert(value);
        // Read twice, from a tree and from pages: the later one is the larger one, for both counters.
        *known = (*known).max(value);
        Some(())
    }

    fn take_mailbox(&mut self, row: &Row<'_>, is_newer: bool) -> Option<()> {
        let id = row.int("id").filter(|id| (1..=MOST_ID).contains(id))?;
        let latest_validity = (self.now + MOST_VALIDITY_AHEAD).min(i64::from(u32::MAX));
        let uid_validity = row.int("uidvalidity").filter(|value| (1..=latest_validity).contains(value));
        let keywords = row.text("keywords").unwrap_or("").split_ascii_whitespace();
        let mailbox = MailboxRow {
            parent: row.int("parent").unwrap_or(0),
            name: row.text("name").unwrap_or("").to_owned(),
            uid_validity: uid_validity.unwrap_or(0),
            uid_next: row.int("uidnext").filter(|next| (1..=i64::from(u32::MAX)).contains(next)).unwrap_or(0),
            modseq: modseq(row.int("modseq")),
            recent_from: row.int("recent_from").filter(|from| (1..=i64::from(u32::MAX)).contains(from)).unwrap_or(1),
            is_noselect: row.int("attrs").unwrap_or(0) & crate::mailstore::account::ATTR_NOSELECT != 0,
            special_use: row.text("special_use").unwrap_or("").to_owned(),
            seen_per_user: row.int("seen_per_user").unwrap_or(0) & 1,
            keywords: keywords.filter_map(Keyword::new).collect(),
            expunged_floor: modseq(row.int("expunged_floor")),
        };
        put(&mut self.mailboxes, id, mailbox, is_newer);
        Some(())
    }

    fn message(&self, row: &Row<'_>) -> Option<((i64, u32), MessageRow)> {
        let mbox = row.int("mbox").filter(|id| (1..=MOST_ID).contains(id))?;
        let uid = u32::try_from(row.int("uid")?).ok().filter(|uid| *uid > 0)?;
        let saved = row.int("saved").filter(|secs| TIMES.contains(secs)).unwrap_or(self.now);
        let date = DateTime {
            unix_seconds: row.int("idate").filter(|secs| TIMES.contains(secs)).unwrap_or(saved),
            zone_minutes: row.int("idate_zone").filter(|zone| (-1440..=1440).contains(zone)).unwrap_or(0) as i16,
        };
        let message = MessageRow {
            modseq: modseq(row.int("modseq")),
            flagset: row.int("flagset").unwrap_or(0),
            date,
            saved,
            size: row.int("size").unwrap_or(-1),
            cid: row.int("cid").unwrap_or(0),
        };
        Some(((mbox, uid), message))
    }

    fn take_message(&mut self, row: &Row<'_>, is_newer: bool) -> Option<()> {
        let (key, message) = self.message(row)?;
        put(&mut self.messages, key, message, is_newer);
        Some(())
    }

    fn take_removed(&mut self, row: &Row<'_>, is_newer: bool) -> Option<()> {
        let (key, message) = self.message(row)?;
        let at = row.int("at").filter(|secs| TIMES.contains(secs)).unwrap_or(self.now);
        put(&mut self.removed, key, RemovedRow { row: message, at, gone: modseq(row.int("gone")) }, is_newer);
        Some(())
    }

    fn take_span(&mut self, row: &Row<'_>) -> Option<()> {
        let (mbox, lo) = (row.int("mbox")?, u32::try_from(row.int("lo")?).ok()?);
        let count = u32::try_from(row.int("count")?).ok();
        let stored = row.blob("members");
        let members = count.filter(|_| lo % crate::mailstore::snapshot::SPAN_UIDS == 1);
        self.members.entry((mbox, lo)).or_insert_with(|| Members::restore(lo, members?, stored));
        Some(())
    }

    fn take_flagset(&mut self, row: &Row<'_>) -> Option<()> {
        let id = row.int("id").filter(|id| (1..=MOST_ID).contains(id))?;
        let bits = u8::try_from(row.int("bits")?).ok()?;
        let keywords = row.text("names")?.split_ascii_whitespace().filter_map(Keyword::new).collect();
        self.flagsets.entry(id).or_insert_with(|| FlagSet::from_parts(bits, keywords));
        Some(())
    }

    fn take_expunged(&mut self, row: &Row<'_>) -> Option<()> {
        let (lo, hi) = (u32::try_from(row.int("lo")?).ok()?, u32::try_from(row.int("hi")?).ok()?);
        let modseq = Some(modseq(row.int("modseq"))).filter(|modseq| *modseq > 0)?;
        (lo > 0 && lo <= hi).then(|| self.expunged.push((row.int("mbox").unwrap_or(0), modseq, lo, hi)))
    }

    fn take_content(&mut self, row: &Row<'_>, is_newer: bool) -> Option<()> {
        let id = row.int("id").filter(|id| (1..=MOST_ID).contains(id))?;
        let content = ContentRow {
            hash: row.blob("hash").and_then(|hash| hash.try_into().ok()),
            refs: row.int("refs").unwrap_or(1),
            file: row.text("file").map(str::to_owned),
        };
        put(&mut self.contents, id, content, is_newer);
        Some(())
    }

    /// The highest UID a mailbox is known to have given out.
    pub fn highest_uid(&self, mbox: i64) -> i64 {
        let range = (mbox, 0)..=(mbox, u32::MAX);
        let there = self.messages.range(range.clone()).next_back().map(|((_, uid), _)| *uid);
        let removed = self.removed.range(range).next_back().map(|((_, uid), _)| *uid);
        i64::from(there.max(removed).unwrap_or(0))
    }

    /// True when a mailbox's UIDs are surely those its clients know.
    pub fn can_trust_uids(&self, mbox: i64, row: &MailboxRow) -> bool {
        let tables = ["mailbox", "message"];
        let highest = self.highest_uid(mbox);
        let is_next = row.uid_next > highest && row.uid_next <= highest + MOST_UID_GAP;
        let of_mailbox = |expunged: &&(i64, i64, u32, u32)| expunged.0 == mbox;
        let is_above_expunged =
            self.expunged.iter().filter(of_mailbox).all(|(_, _, _, hi)| i64::from(*hi) < row.uid_next);
        tables.iter().all(|table| self.is_whole(table))
            && row.uid_validity > 0
            && is_next
            && is_above_expunged
            && (!self.is_whole("span") || self.agrees_with_spans(mbox))
    }

    /// Spans and messages say the same of which UIDs there are. If not, one of them is wrong, and nobody knows which.
    fn agrees_with_spans(&self, mbox: i64) -> bool {
        let mut real: BTreeMap<u32, Members> = BTreeMap::new();
        for (_, uid) in self.messages.range((mbox, 0)..=(mbox, u32::MAX)).map(|(key, _)| key) {
            let lo = crate::mailstore::snapshot::span_of(*uid);
            real.entry(lo).or_insert_with(|| Members::empty(lo)).insert(*uid);
        }
        let told = self.members.iter().filter(|((of, _), _)| *of == mbox);
        let mut spans = 0;
        for ((_, lo), members) in told {
            spans += 1;
            if members.is_none() || real.get(lo) != members.as_ref() {
                return false;
            }
        }
        spans == real.len()
    }

    /// The highest modseq of anything.
    pub fn highest_modseq(&self) -> i64 {
        let meta = modseq(self.meta.get("modseq").copied());
        let mailboxes = self.mailboxes.values().map(|row| row.modseq.max(row.expunged_floor));
        let messages = self.messages.values().map(|row| row.modseq);
        let removed = self.removed.values().map(|row| row.row.modseq.max(row.gone));
        let expunged = self.expunged.iter().map(|(_, modseq, _, _)| *modseq);
        mailboxes.chain(messages).chain(removed).chain(expunged).max().unwrap_or(0).max(meta)
    }
}

/// What came first stands, unless the other is surely newer.
fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: V, is_newer: bool) {
    if is_newer {
        map.insert(key, value);
    } else {
        map.entry(key).or_insert(value);
    }
}

/// A modseq that can be one, else 0.
fn modseq(value: Option<i64>) -> i64 {
    value.filter(|value| (0..=MOST_MODSEQ).contains(value)).unwrap_or(0)
}

/// A row with names for its columns.
pub struct Row<'a> {
    pub table: &'a Table,
    values: &'a [Value],
}

impl Row<'_> {
    fn value(&self, column: &str) -> Option<&Value> {
        self.values.get(self.table.column(column)?)
    }

    pub fn int(&self, column: &str) -> Option<i64> {
        match self.value(column)? {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    fn text(&self, column: &str) -> Option<&str> {
        match self.value(column)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn blob(&self, column: &str) -> Option<&[u8]> {
        match self.value(column)? {
            Value::Blob(octets) => Some(octets),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailstore::migrate;
    use crate::mailstore::repair::source::tables;

    /// Whoever adds a column or a table to the schema is sent here: decide what a repair does with it.
    #[test]
    fn every_column_of_the_schema_is_understood_or_taken_over() {
        const TAKEN_OVER: [&str; 6] = ["removed_mailbox", "mailbox_change", "seen", "acl", "annotation", "urlauth"];
        const MADE_ANEW: [(&str, usize); 3] = [("structure", 7), ("sortkey", 11), ("msgref", 3)];
        let home = tempfile::tempdir().expect("a folder");
        let fresh = migrate::open(&home.path().join("mail.db")).expect("made");
        for table in tables(&fresh).expect("read") {
            let columns: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
            let name = table.name.as_str();
            if let Some((_, understood)) = UNDERSTOOD.iter().find(|(of, _)| *of == name) {
                assert_eq!(columns, *understood, "{name}");
            } else if let Some((_, count)) = MADE_ANEW.iter().find(|(of, _)| *of == name) {
                assert_eq!(columns.len(), *count, "{name}: {columns:?}");
            } else {
                assert!(TAKEN_OVER.contains(&name) || name == "quota", "{name} is new to repair");
            }
        }
    }
}
