//! The rows of the new store that are not bodies: mailboxes with their counters and spans, messages, flags, what was
//! removed, and the counters of the account.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::{Connection, params, params_from_iter};

use super::build::Kept;
use super::collect::{Collected, MailboxRow};
use super::imports::write_imports;
use crate::mailstore::account::ATTR_NOSELECT;
use crate::mailstore::error::{Error, Result};
use crate::mailstore::recount::{flagsets, raise_sequence, recount};
use crate::types::date::DateTime;
use crate::types::{FlagSet, Keyword, MailboxName};

/// A message of the new store.
#[derive(Debug, Clone)]
pub struct NewMessage {
    pub kept: Kept,
    pub flags: FlagSet,
    pub date: DateTime,
    pub saved: i64,
    pub modseq: i64,
    /// The one its row had; 0: it had none.
    pub had_modseq: i64,
}

/// A mailbox of the new store.
#[derive(Debug, Clone)]
pub struct NewMailbox {
    parent: i64,
    leaf: String,
    pub path: String,
    row: MailboxRow,
    pub uid_validity: i64,
    pub is_noselect: bool,
    /// Its UIDs are those its clients know.
    pub is_trusted: bool,
    /// Something in it is not as its clients know it.
    pub is_changed: bool,
    /// It was there before, so that somebody may know it.
    pub had_messages: bool,
    pub messages: BTreeMap<u32, NewMessage>,
    /// What comes behind all others: notes, and what was found.
    pub replacements: Vec<NewMessage>,
    /// UIDs of messages that were damaged.
    pub lost: HashSet<u32>,
    /// Some message has no flags any more.
    pub lost_flags: bool,
    /// UIDs are other ones than they were.
    is_renumbered: bool,
}

impl NewMailbox {
    pub fn of(row: MailboxRow, parent: i64, leaf: String, path: String, is_trusted: bool) -> NewMailbox {
        // INBOX can always be opened, whatever its row says.
        let is_noselect = row.is_noselect && path != "INBOX";
        NewMailbox {
            parent,
            leaf,
            path,
            uid_validity: row.uid_validity,
            is_noselect,
            is_trusted,
            is_changed: false,
            had_messages: true,
            messages: BTreeMap::new(),
            replacements: Vec::new(),
            lost: HashSet::new(),
            lost_flags: false,
            is_renumbered: false,
            row,
        }
    }

    /// One that nobody knows.
    pub fn fresh(leaf: String, path: String) -> NewMailbox {
        let row = MailboxRow::bare(0, leaf.clone());
        NewMailbox { had_messages: false, ..NewMailbox::of(row, 0, leaf, path, false) }
    }

    /// The message that had this UID, if it has it still.
    pub fn kept_uid(&self, uid: u32) -> Option<&NewMessage> {
        self.messages.get(&uid).filter(|_| !self.is_renumbered)
    }

    /// True unless the message that had this UID was lost.
    pub fn is_accounted_for(&self, uid: u32, is_expunged: bool) -> bool {
        !self.lost.contains(&uid) && (is_expunged || self.is_renumbered || self.messages.contains_key(&uid))
    }

    /// Gives what comes behind its UIDs. `highest`: the highest UID known to have been given out.
    fn number(&mut self, highest: i64) -> Result<i64> {
        let last = self.messages.keys().next_back().copied().map_or(0, i64::from);
        // Under a new UIDVALIDITY nothing binds to a UIDNEXT that may be the very thing that is wrong.
        let told = if self.is_trusted { self.row.uid_next } else { 1 };
        let mut next = told.max(last + 1).max(highest + 1);
        if next + self.replacements.len() as i64 > i64::from(u32::MAX) {
            // No number is left behind the last: all are numbered anew, under the new UIDVALIDITY that this asks for.
            self.is_trusted = false;
            self.is_renumbered = true;
            let messages = std::mem::take(&mut self.messages);
            self.messages = (1..).zip(messages.into_values()).collect();
            next = self.messages.len() as i64 + 1;
        }
        self.is_changed |= !self.replacements.is_empty();
        for message in std::mem::take(&mut self.replacements) {
            let uid = u32::try_from(next).map_err(|_| Error::UidsUsedUp)?;
            self.messages.insert(uid, message);
            next += 1;
        }
        Ok(next)
    }
}

/// What is given out while writing.
#[derive(Debug, Clone)]
pub struct Written {
    /// What everything that changed has.
    pub modseq: i64,
    /// The UIDVALIDITY given last.
    pub validity: i64,
    pub now: i64,
    pub next_mailbox: i64,
    pub next_flagset: i64,
}

impl Written {
    /// The next UIDVALIDITY: the time of day, but never one that was given before.
    pub fn next_validity(&mut self) -> Result<i64> {
        self.validity = self.now.clamp(1, i64::from(u32::MAX)).max(self.validity + 1);
        if self.validity > i64::from(u32::MAX) { Err(Error::Limit("UIDVALIDITY values")) } else { Ok(self.validity) }
    }
}

/// Writes all of it.
pub fn write_all(
    conn: &Connection,
    mailboxes: &mut BTreeMap<i64, NewMailbox>,
    all: &Collected,
    whole: &HashMap<i64, Kept>,
    written: &mut Written,
    mut told: impl FnMut(String),
) -> Result<()> {
    let mut sets = Sets::write(conn, all, written)?;
    let mut refs: HashMap<u32, i64> = HashMap::new();
    for (id, mailbox) in mailboxes.iter_mut() {
        let uid_next = mailbox.number(all.highest_uid(*id))?;
        if !mailbox.is_trusted {
            mailbox.uid_validity = written.next_validity()?;
            if mailbox.had_messages {
                told(format!("{}: a new UIDVALIDITY, because its UIDs cannot be trusted", mailbox.path));
            }
        }
        write_mailbox(conn, *id, mailbox, uid_next, all, written)?;
        write_messages(conn, *id, mailbox, &mut sets, &mut refs)?;
    }
    let known = flagsets(conn)?;
    for id in mailboxes.keys() {
        recount(conn, *id, &known)?;
    }
    for ((mbox, uid), removed) in &all.removed {
        let is_there = mailboxes.get(mbox).is_some_and(|mailbox| mailbox.messages.contains_key(uid));
        let (Some(kept), false) = (whole.get(&removed.row.cid), is_there) else { continue };
        let flags = all.flagsets.get(&removed.row.flagset).cloned().unwrap_or_default();
        let row = &removed.row;
        conn.prepare_cached("INSERT INTO removed VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?.execute(params![
            mbox,
            uid,
            row.modseq.max(1),
            sets.id(conn, &flags)?,
            row.date.unix_seconds,
            row.date.zone_minutes,
            row.saved,
            kept.size,
            kept.id,
            removed.at,
            removed.gone.max(1),
        ])?;
        *refs.entry(kept.id).or_default() += 1;
    }
    let mut count = conn.prepare_cached("UPDATE content SET refs = ? WHERE id = ?")?;
    for (id, refs) in refs {
        count.execute(params![refs, id])?;
    }
    write_others(conn, all, written)?;
    write_imports(conn, all, mailboxes, written)?;
    write_counters(conn, all, written)
}

fn write_mailbox(
    conn: &Connection,
    id: i64,
    mailbox: &mut NewMailbox,
    uid_next: i64,
    all: &Collected,
    written: &Written,
) -> Result<()> {
    let known: Vec<&(i64, i64, u32, u32)> = all.expunged.iter().filter(|expunged| expunged.0 == id).collect();
    let is_wrong = |(_, _, lo, hi): &(i64, i64, u32, u32)| {
        i64::from(*hi) >= uid_next || mailbox.messages.range(*lo..=*hi).next().is_some()
    };
    let highest = mailbox.messages.values().map(|message| message.modseq).max().unwrap_or(1);
    mailbox.is_changed |= !mailbox.is_trusted
        || !all.is_whole("expunged")
        || mailbox.row.modseq < highest
        || known.iter().any(|expunged| is_wrong(expunged));
    if !mailbox.is_trusted {
        mailbox.messages.values_mut().for_each(|message| message.modseq = written.modseq);
    }
    // With a floor at the newest modseq a client that comes back is told what is gone by comparing all it knows.
    let (modseq, floor) = match mailbox.is_changed {
        true => (written.modseq, written.modseq),
        false => (mailbox.row.modseq.max(1), mailbox.row.expunged_floor),
    };
    let mut remembered = 0;
    if !mailbox.is_changed {
        let mut insert =
            conn.prepare_cached("INSERT OR IGNORE INTO expunged(mbox, modseq, lo, hi) VALUES (?, ?, ?, ?)")?;
        for (_, modseq, lo, hi) in known {
            remembered += insert.execute(params![id, modseq, lo, hi])?;
        }
    }
    let mut keywords = mailbox.row.keywords.clone();
    for keyword in mailbox.messages.values().flat_map(|message| message.flags.keywords()) {
        if !keywords.contains(keyword) {
            keywords.push(keyword.clone());
        }
    }
    let keywords: Vec<&str> = keywords.iter().map(Keyword::as_str).collect();
    conn.prepare_cached(
        "INSERT INTO mailbox(id, parent, name, uidvalidity, uidnext, modseq, recent_from, attrs, special_use,
                             seen_per_user, keywords, expunged_floor, expunged_rows)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        id,
        mailbox.parent,
        mailbox.leaf,
        mailbox.uid_validity,
        uid_next,
        modseq,
        mailbox.row.recent_from.min(uid_next),
        if mailbox.is_noselect && mailbox.messages.is_empty() { ATTR_NOSELECT } else { 0 },
        mailbox.row.special_use,
        mailbox.row.seen_per_user,
        keywords.join(" "),
        floor,
        remembered as i64,
    ])?;
    Ok(())
}

fn write_messages(
    conn: &Connection,
    id: i64,
    mailbox: &NewMailbox,
    sets: &mut Sets,
    refs: &mut HashMap<u32, i64>,
) -> Result<()> {
    let mut insert = conn.prepare_cached("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    for (uid, message) in &mailbox.messages {
        insert.execute(params![
            id,
            uid,
            message.modseq,
            sets.id(conn, &message.flags)?,
            message.date.unix_seconds,
            message.date.zone_minutes,
            message.saved,
            message.kept.size,
            message.kept.id,
        ])?;
        *refs.entry(message.kept.id).or_default() += 1;
    }
    Ok(())
}

/// Sets of flags by their numbers.
struct Sets {
    ids: HashMap<FlagSet, i64>,
    next: i64,
}

impl Sets {
    /// Writes the sets that were read, under the numbers they had.
    fn write(conn: &Connection, all: &Collected, written: &Written) -> Result<Sets> {
        let mut sets = Sets { ids: HashMap::new(), next: written.next_flagset };
        for (id, set) in &all.flagsets {
            if !sets.ids.contains_key(set) {
                sets.insert(conn, *id, set)?;
            }
        }
        Ok(sets)
    }

    fn insert(&mut self, conn: &Connection, id: i64, set: &FlagSet) -> Result<()> {
        let names: Vec<&str> = set.keywords().iter().map(Keyword::as_str).collect();
        conn.prepare_cached("INSERT INTO flagset(id, bits, names) VALUES (?, ?, ?)")?.execute(params![
            id,
            set.bits(),
            names.join(" ")
        ])?;
        self.ids.insert(set.clone(), id);
        Ok(())
    }

    fn id(&mut self, conn: &Connection, set: &FlagSet) -> Result<i64> {
        if let Some(id) = self.ids.get(set) {
            return Ok(*id);
        }
        let id = self.next;
        self.next += 1;
        self.insert(conn, id, set)?;
        Ok(id)
    }
}

/// What is taken over as it is, without what belongs to mailboxes that are no more.
fn write_others(conn: &Connection, all: &Collected, written: &Written) -> Result<()> {
    for (table, rows) in &all.others {
        for values in rows {
            let places = vec!["?"; values.len()].join(", ");
            // A row that the schema refuses says what cannot be.
            conn.prepare_cached(&format!("INSERT OR IGNORE INTO {table} VALUES ({places})"))?
                .execute(params_from_iter(values))?;
        }
    }
    for table in ["seen", "acl", "annotation", "urlauth"] {
        conn.execute(&format!("DELETE FROM {table} WHERE mbox > 0 AND mbox NOT IN (SELECT id FROM mailbox)"), [])?;
    }
    conn.execute("DELETE FROM mailbox_change WHERE modseq > ?", [written.modseq])?;
    conn.execute("DELETE FROM removed_mailbox WHERE id IN (SELECT id FROM mailbox)", [])?;
    let mut subscribe = conn.prepare_cached("INSERT OR IGNORE INTO subscription(name) VALUES (?)")?;
    for name in
        all.subscriptions.iter().filter(|name| MailboxName::new(name).is_ok_and(|known| known.as_str() == **name))
    {
        subscribe.execute([name])?;
    }
    Ok(())
}

fn write_counters(conn: &Connection, all: &Collected, written: &Written) -> Result<()> {
    for (key, value) in &all.meta {
        if !["schema", "modseq", "uidvalidity"].contains(&key.as_str()) {
            conn.execute("INSERT OR IGNORE INTO meta(key, value) VALUES (?, ?)", params![key, value])?;
        }
    }
    for (key, value) in [("modseq", written.modseq), ("uidvalidity", written.validity)] {
        conn.execute("UPDATE meta SET value = ? WHERE key = ?", params![value, key])?;
    }
    for (table, next) in [("mailbox", written.next_mailbox), ("flagset", written.next_flagset)] {
        raise_sequence(conn, table, next - 1)?;
    }
    Ok(())
}
