//! Placing messages: content once, then a row with a UID for each, in one transaction (RFC 3501 §6.3.11).

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::Account;
use super::blobs::INLINE_BYTES;
use super::crash;
use super::draft::{Body, Prepared};
use super::error::{Error, Result};
use super::retold;
use super::snapshot::Row;
use super::turn::Turn;
use super::view::View;
use crate::message::{DESCRIPTION_VERSION, Description, ReferenceRole};
use crate::metrics::METRICS;
use crate::types::date::DateTime;
use crate::types::{ContentId, FlagSet, MailboxId, MailboxName, ModSeq, Uid, UidRuns, UidValidity};

/// How many of a message's references are looked up to find its thread, from the nearest on.
const THREAD_REFERENCES: usize = 32;

/// Drafts of one command that are together larger than this are written ahead of their placing.
const AHEAD_BYTES: usize = 4 << 20;

/// A message with what the client says about it.
#[derive(Debug)]
pub struct NewMessage {
    pub prepared: Prepared,
    pub flags: FlagSet,
    /// INTERNALDATE; `None`: now.
    pub internal_date: Option<DateTime>,
}

/// Where messages were placed, as APPENDUID tells it (RFC 4315 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub uid_validity: UidValidity,
    /// Ascending, in the order of the messages.
    pub uids: UidRuns,
    pub modseq: ModSeq,
}

impl Account {
    /// Places messages into a mailbox, all or none. When this returns they would survive a power cut.
    pub async fn place(&self, mailbox: &MailboxName, messages: Vec<NewMessage>) -> Result<Placed> {
        self.room()?;
        let bytes: usize = messages.iter().map(|m| m.prepared.inline_bytes()).sum();
        let messages = Arc::new(messages);
        let mut ahead = Ahead { account: self, contents: Vec::new() };
        if bytes > AHEAD_BYTES {
            ahead.write(&messages).await?;
        }
        let (mailbox, count) = (mailbox.clone(), messages.len());
        let placed = self
            .state
            .growing_order(if ahead.contents.is_empty() { bytes } else { 0 }, move |turn| {
                turn.place(&mailbox, &messages)
            })
            .await?;
        METRICS.messages_placed.add(count as u64);
        Ok(placed)
    }
}

impl View {
    /// REPLACE (RFC 8508): places a message and takes another one of this view away, both or neither.
    pub async fn replace(&self, uid: u32, mailbox: &MailboxName, message: NewMessage) -> Result<Placed> {
        let account = self.account();
        account.room()?;
        let (source, mailbox, bytes) = (self.mailbox(), mailbox.clone(), message.prepared.inline_bytes());
        let messages = [message];
        let order = account.state.growing_order(bytes, move |turn| {
            if !turn.membership(source)?.contains(uid) {
                return Err(Error::NoSuchMessage);
            }
            let placed = turn.place(&mailbox, &messages)?;
            turn.remove(source, &UidRuns::one(uid), placed.modseq)?;
            Ok(placed)
        });
        let placed = order.await?;
        METRICS.messages_placed.add(1);
        Ok(placed)
    }
}

/// Contents of a large command, written in transactions of a few MiB before the small one that places them.
/// Until that one is through the sweep has to leave them alone.
struct Ahead<'a> {
    account: &'a Account,
    contents: Vec<ContentId>,
}

impl Ahead<'_> {
    async fn write(&mut self, messages: &Arc<Vec<NewMessage>>) -> Result<()> {
        let mut from = 0;
        while from < messages.len() {
            let mut to = from;
            let mut bytes = 0;
            while to < messages.len() && (to == from || bytes + messages[to].prepared.inline_bytes() <= AHEAD_BYTES) {
                bytes += messages[to].prepared.inline_bytes();
                to += 1;
            }
            let all = messages.clone();
            let written = self
                .account
                .state
                .growing_order(bytes, move |turn| {
                    let mut contents = Vec::new();
                    for message in &all[from..to] {
                        let content = turn.content(&message.prepared, 0)?;
                        *super::owner::lock(&turn.account.contents_in_flight).entry(content.0).or_default() += 1;
                        contents.push(content);
                    }
                    Ok(contents)
                })
                .await?;
            self.contents.extend(written);
            from = to;
        }
        Ok(())
    }
}

impl Drop for Ahead<'_> {
    fn drop(&mut self) {
        let mut held = super::owner::lock(&self.account.state.contents_in_flight);
        for content in &self.contents {
            if let Some(count) = held.get_mut(&content.0) {
                *count -= 1;
                if *count == 0 {
                    held.remove(&content.0);
                }
            }
        }
    }
}

impl Prepared {
    pub(super) fn inline_bytes(&self) -> usize {
        match &self.body {
            Body::Inline(octets) => octets.len(),
            Body::File(_) => 0,
        }
    }
}

/// The role of In-Reply-To: behind all that may stand in References.
pub const IN_REPLY_TO: i64 = 32_767;

/// A reference's role as its row has it; `place` is where it stands among them all.
fn role_number(role: ReferenceRole, place: usize) -> i64 {
    match role {
        ReferenceRole::MessageId => 0,
        ReferenceRole::References => place as i64 + 1,
        ReferenceRole::InReplyTo => IN_REPLY_TO,
    }
}

impl Turn<'_> {
    pub fn place(&mut self, mailbox: &MailboxName, messages: &[NewMessage]) -> Result<Placed> {
        self.place_each(mailbox, messages.iter().map(|m| (&m.prepared, &m.flags, m.internal_date)))
    }

    /// Adds one message under the next UID. Without an INTERNALDATE it came now.
    pub fn place_one(
        &mut self,
        mailbox: MailboxId,
        (prepared, flags, date): (&Prepared, &FlagSet, Option<DateTime>),
        modseq: ModSeq,
    ) -> Result<Uid> {
        let content = self.content(prepared, 1)?;
        let flagset = self.intern(flags)?;
        let uid = self.next_uid(mailbox)?;
        let date = date.unwrap_or(DateTime::utc(self.now));
        self.conn
            .prepare_cached(
                "INSERT INTO message(mbox, uid, modseq, flagset, idate, idate_zone, saved, size, cid)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                mailbox.0,
                uid.0,
                modseq.0 as i64,
                flagset,
                date.unix_seconds,
                date.zone_minutes,
                self.now,
                prepared.size,
                content.0,
            ])?;
        self.add_row(mailbox, Row { modseq, uid, flagset, content, size: prepared.size })?;
        Ok(uid)
    }

    /// The same for messages that somebody else holds, each with its flags and its INTERNALDATE.
    pub fn place_each<'m>(
        &mut self,
        mailbox: &MailboxName,
        messages: impl Iterator<Item = (&'m Prepared, &'m FlagSet, Option<DateTime>)>,
    ) -> Result<Placed> {
        let mailbox = self.selectable(mailbox)?;
        let modseq = self.next_modseq();
        let mut uids = UidRuns::new();
        for (prepared, flags, date) in messages {
            let uid = self.place_one(mailbox.id, (prepared, flags, date), modseq)?;
            uids.push(uid.0);
        }
        crash::point("place.before_commit");
        Ok(Placed { uid_validity: mailbox.uid_validity, uids, modseq })
    }

    /// The content row of a message, with `refs` more references. Whether it is there already is
    /// decided here and nowhere else, because only one turn at a time runs.
    pub fn content(&mut self, prepared: &Prepared, refs: u32) -> Result<ContentId> {
        self.wrote();
        let known: Option<u32> = self
            .conn
            .prepare_cached("SELECT id FROM content WHERE hash = ?")?
            .query_row([prepared.hash], |row| row.get(0))
            .optional()?;
        if let Some(id) = known {
            self.conn.prepare_cached("UPDATE content SET refs = refs + ? WHERE id = ?")?.execute(params![refs, id])?;
            return Ok(ContentId(id));
        }
        let (place, stored, file) = match &prepared.body {
            Body::Inline(octets) => (0, octets.len(), None),
            Body::File(name) => (1, prepared.size as usize, Some(name)),
        };
        self.conn
            .prepare_cached("INSERT INTO content(hash, refs, size, place, stored, file) VALUES (?, ?, ?, ?, ?, ?)")?
            .execute(params![prepared.hash, refs, prepared.size, place, stored as i64, file])?;
        let id = u32::try_from(self.conn.last_insert_rowid()).map_err(|_| Error::Limit("message contents"))?;
        if let Body::Inline(octets) = &prepared.body {
            debug_assert!(octets.len() <= INLINE_BYTES, "a large body is a file");
            self.conn.prepare_cached("INSERT INTO body(id, data) VALUES (?, ?)")?.execute(params![id, octets])?;
        }
        self.describe(id, prepared)?;
        Ok(ContentId(id))
    }

    fn describe(&mut self, id: u32, prepared: &Prepared) -> Result<()> {
        let about = About { id, hash: &prepared.hash, description: &prepared.description, thread: None };
        describe(self.conn, &self.account.shared.hash_key, &about)?;
        self.account.retold.note(ContentId(id), growth_of(&prepared.description)?);
        Ok(())
    }
}

/// A content with what is stored about it.
pub struct About<'a> {
    pub id: u32,
    pub hash: &'a [u8; 32],
    pub description: &'a Description,
    /// The thread it was found to belong to before; `None`: it is new.
    pub thread: Option<i64>,
}

fn growth_of(description: &Description) -> Result<u32> {
    u32::try_from(description.growth).map_err(|_| Error::TooLarge)
}

/// Stores what is known of a content beside it. `key` is the one under which ids are hashed.
pub fn describe(conn: &Connection, key: &[u8; 16], about: &About<'_>) -> Result<()> {
    let described = about.description;
    conn.prepare_cached(
        "INSERT INTO structure(cid, version, envelope, bodystructure, parts, has_8bit, preview)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        about.id,
        DESCRIPTION_VERSION,
        described.envelope,
        described.bodystructure,
        described.parts,
        described.has_8bit_header,
        described.preview,
    ])?;
    let growth = growth_of(described)?;
    if growth > 0 {
        retold::store(conn, about.id, growth)?;
    }
    let sort = &described.sort;
    let references = described.reference_hashes(key);
    let thread = match about.thread {
        Some(thread) => thread,
        None => thread_of(conn, &references, about.hash)?,
    };
    conn.prepare_cached(
        "INSERT INTO sortkey(cid, thread, sent, sent_zone, subject, is_reply, from_, to_, cc, from_name, to_name)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        about.id,
        thread,
        sort.sent.as_ref().map(|s| s.utc_secs),
        sort.sent.as_ref().map(|s| s.zone_minutes),
        sort.subject,
        sort.is_reply,
        sort.from,
        sort.to,
        sort.cc,
        sort.from_display,
        sort.to_display,
    ])?;
    let mut refer = conn.prepare_cached("INSERT OR IGNORE INTO msgref(idhash, cid, role) VALUES (?, ?, ?)")?;
    for (place, (hash, role)) in references.into_iter().enumerate() {
        refer.execute(params![hash as i64, about.id, role_number(role, place)])?;
    }
    Ok(())
}

/// The thread a new message belongs to (RFC 8474 §5.2): that of the nearest message it refers to, else that of
/// one that refers to it or to the same ones, else one of its own, numbered by its content. What was told once
/// never changes, so two threads that turn out to be one stay two for the messages that came before.
fn thread_of(conn: &Connection, references: &[(u64, ReferenceRole)], hash: &[u8; 32]) -> Result<i64> {
    let mut query = conn.prepare_cached(
        "SELECT s.thread FROM msgref r JOIN sortkey s ON s.cid = r.cid WHERE r.idhash = ? ORDER BY r.role LIMIT 1",
    )?;
    let nearest = references.iter().rev().take(THREAD_REFERENCES);
    for (id, _) in nearest {
        if let Some(thread) = query.query_row([*id as i64], |row| row.get(0)).optional()? {
            return Ok(thread);
        }
    }
    let (first, _) = hash.split_at(8);
    let number = first.iter().fold(0u64, |sum, octet| sum << 8 | u64::from(*octet));
    Ok((number >> 1) as i64)
}
