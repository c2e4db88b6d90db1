//! Reading one stored message within a visit: its dates, its description, its octets.

use std::ops::Range;

use rusqlite::blob::Blob;
use rusqlite::{Connection, MAIN_DB, OptionalExtension, params};

use super::account::AccountState;
use super::blobs;
use super::error::{Error, Result};
use super::owner::lock;
use super::pages::Wanted;
use super::snapshot::Row;
use super::streams::{PIECE_BYTES, source_of};
use crate::message::{Letters, PartTable, Scanner, envelope, top_header};
use crate::types::date::DateTime;
use crate::types::{MailboxId, Uid};

/// A header block larger than this is not looked through: nobody but an attacker has one.
pub const HEADER_BYTES: u64 = 8 << 20;

/// When a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dates {
    /// INTERNALDATE.
    pub arrived: DateTime,
    /// When it came into its mailbox, in seconds since 1970 (RFC 8514).
    pub saved: i64,
}

/// What a visit reads messages with.
pub struct Reader<'c> {
    pub conn: &'c Connection,
    pub account: &'c AccountState,
    /// Reopened from body to body, which costs less than opening.
    blob: Option<Blob<'c>>,
    /// For header blocks on their way, one after another.
    pub scratch: Vec<u8>,
}

impl<'c> Reader<'c> {
    pub fn new(conn: &'c Connection, account: &'c AccountState) -> Self {
        Reader { conn, account, blob: None, scratch: Vec::new() }
    }

    /// Appends ENVELOPE and BODYSTRUCTURE in the form of the wire, as far as they are wanted.
    pub fn description(
        &mut self,
        row: &Row,
        wanted: &Wanted,
        out: &mut Vec<u8>,
    ) -> Result<(Range<usize>, Range<usize>)> {
        let corrupt = || Error::Corrupt(row.content);
        let sql = match (wanted.envelope, wanted.bodystructure) {
            (true, false) => "SELECT has_8bit, envelope, x'' FROM structure WHERE cid = ?",
            (false, _) => "SELECT has_8bit, x'', bodystructure FROM structure WHERE cid = ?",
            (true, true) => "SELECT has_8bit, envelope, bodystructure FROM structure WHERE cid = ?",
        };
        let from = out.len();
        let mut query = self.conn.prepare_cached(sql)?;
        let mut found = query.query([row.content.0])?;
        let stored = found.next()?.ok_or_else(corrupt)?;
        if wanted.letters == Letters::Utf8 && stored.get(0)? {
            drop(found);
            drop(query);
            return self.description_in_utf8(row, wanted, out);
        }
        out.extend_from_slice(stored.get_ref(1)?.as_blob().map_err(|_| corrupt())?);
        let between = out.len();
        out.extend_from_slice(stored.get_ref(2)?.as_blob().map_err(|_| corrupt())?);
        Ok((from..between, between..out.len()))
    }

    /// What is stored is for all clients; one that reads UTF-8 is told of 8-bit headers as they are (RFC 9755 §3).
    fn description_in_utf8(
        &mut self,
        row: &Row,
        wanted: &Wanted,
        out: &mut Vec<u8>,
    ) -> Result<(Range<usize>, Range<usize>)> {
        let (from, mut piece) = (out.len(), Vec::new());
        if wanted.envelope {
            let header = self.part_table(row)?.top().header.clone();
            self.read(row, header.start..header.end.min(header.start + HEADER_BYTES), &mut piece)?;
            out.extend_from_slice(&envelope(&piece, Letters::Utf8));
        }
        let between = out.len();
        if wanted.bodystructure {
            let mut scanner = Scanner::with_letters(Letters::Utf8);
            let (mut at, size) = (0, u64::from(row.size));
            while at < size {
                let to = size.min(at + PIECE_BYTES as u64);
                piece.clear();
                self.read(row, at..to, &mut piece)?;
                scanner.feed(&piece);
                at = to;
            }
            out.extend_from_slice(&scanner.finish().bodystructure);
        }
        Ok((from..between, between..out.len()))
    }

    /// Appends the preview; nothing when the message has no text to show.
    pub fn preview(&self, row: &Row, out: &mut Vec<u8>) -> Result<()> {
        let preview: Option<Option<String>> = self
            .conn
            .prepare_cached("SELECT preview FROM structure WHERE cid = ?")?
            .query_row([row.content.0], |row| row.get(0))
            .optional()?;
        out.extend_from_slice(preview.ok_or(Error::Corrupt(row.content))?.unwrap_or_default().as_bytes());
        Ok(())
    }

    /// The dates of messages that rise by UID, read in one pass.
    pub fn dates(&self, mailbox: MailboxId, rows: &[Row]) -> Result<Vec<Dates>> {
        let (first, last) = match rows {
            [] => return Ok(Vec::new()),
            [row] => return Ok(vec![self.dates_of(mailbox, row.uid)?]),
            [first, .., last] => (first.uid.0, last.uid.0),
        };
        let sql =
            "SELECT uid, idate, idate_zone, saved FROM message WHERE mbox = ? AND uid BETWEEN ? AND ? ORDER BY uid";
        // A few far apart are asked for one by one.
        let mut query = self.conn.prepare_cached(sql)?;
        let is_dense = u64::from(last - first) < 8 * rows.len() as u64;
        let mut found = if is_dense { Some(query.query(params![mailbox.0, first, last])?) } else { None };
        let mut all = Vec::with_capacity(rows.len());
        let mut next: Option<(u32, Dates)> = None;
        for row in rows {
            while let Some(found) = found.as_mut().filter(|_| next.is_none_or(|(uid, _)| uid < row.uid.0)) {
                let Some(message) = found.next()? else { break };
                let arrived = DateTime { unix_seconds: message.get(1)?, zone_minutes: message.get(2)? };
                next = Some((message.get(0)?, Dates { arrived, saved: message.get(3)? }));
            }
            all.push(match next {
                Some((uid, dates)) if uid == row.uid.0 => dates,
                // Also one that was expunged since this session was told of it.
                _ => self.dates_of(mailbox, row.uid)?,
            });
        }
        Ok(all)
    }

    fn dates_of(&self, mailbox: MailboxId, uid: Uid) -> Result<Dates> {
        for sql in [
            "SELECT idate, idate_zone, saved FROM message WHERE mbox = ? AND uid = ?",
            "SELECT idate, idate_zone, saved FROM removed WHERE mbox = ? AND uid = ?",
        ] {
            let found = self
                .conn
                .prepare_cached(sql)?
                .query_row(params![mailbox.0, uid.0], |row| {
                    let arrived = DateTime { unix_seconds: row.get(0)?, zone_minutes: row.get(1)? };
                    Ok(Dates { arrived, saved: row.get(2)? })
                })
                .optional()?;
            if let Some(dates) = found {
                return Ok(dates);
            }
        }
        Err(Error::Fault(format!("message {uid} of mailbox {mailbox} is neither here nor removed")))
    }

    pub fn part_table(&self, row: &Row) -> Result<PartTable> {
        let stored: Option<Vec<u8>> = self
            .conn
            .prepare_cached("SELECT parts FROM structure WHERE cid = ?")?
            .query_row([row.content.0], |row| row.get(0))
            .optional()?;
        stored.and_then(|octets| PartTable::decode(&octets).ok()).ok_or(Error::Corrupt(row.content))
    }

    /// Where the message's own header lies.
    pub fn top_header(&self, row: &Row) -> Result<Range<u64>> {
        let mut query = self.conn.prepare_cached("SELECT parts FROM structure WHERE cid = ?")?;
        let mut found = query.query([row.content.0])?;
        let stored = found.next()?.and_then(|stored| top_header(stored.get_ref(0).ok()?.as_blob().ok()?).ok());
        stored.ok_or(Error::Corrupt(row.content))
    }

    /// Appends a whole inline body, verified. False: the body is a file, which is verified while it streams.
    pub fn whole(&mut self, row: &Row, out: &mut Vec<u8>) -> Result<bool> {
        if lock(&self.account.corrupt).contains(&row.content) {
            return Err(Error::Corrupt(row.content));
        }
        let mut query = self.conn.prepare_cached(
            "SELECT c.hash, c.file, b.data FROM content c LEFT JOIN body b ON b.id = c.id WHERE c.id = ?",
        )?;
        let mut found = query.query([row.content.0])?;
        let stored = found.next()?.ok_or(Error::Corrupt(row.content))?;
        if stored.get_ref(1)?.as_str_or_null().is_ok_and(|file| file.is_some()) {
            return Ok(false);
        }
        let body = stored.get_ref(2)?.as_blob().map_err(|_| Error::Corrupt(row.content))?;
        let hash = stored.get_ref(0)?.as_blob().map_err(|_| Error::Corrupt(row.content))?;
        if blake3::hash(body).as_bytes() != hash || body.len() != row.size as usize {
            return Err(Error::Corrupt(row.content));
        }
        out.extend_from_slice(body);
        Ok(true)
    }

    /// Appends octets of a message as stored.
    pub fn read(&mut self, row: &Row, range: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        let octets = usize::try_from(range.end - range.start).map_err(|_| Error::TooLarge)?;
        if octets == 0 {
            return Ok(());
        }
        if row.size as usize > blobs::INLINE_BYTES {
            let (_, file) = source_of(self.conn, row.content)?;
            let file = file.ok_or(Error::Corrupt(row.content))?;
            let piece = blobs::read_piece(&self.account.dir, &file, row.content, range.start, octets)?;
            if piece.len() < octets {
                return Err(Error::Corrupt(row.content));
            }
            out.extend_from_slice(&piece);
            return Ok(());
        }
        let id = i64::from(row.content.0);
        match &mut self.blob {
            Some(blob) => blob.reopen(id)?,
            None => self.blob = Some(self.conn.blob_open(MAIN_DB, "body", "data", id, true)?),
        }
        let Some(blob) = &self.blob else { return Err(Error::Unavailable) };
        let from = out.len();
        out.resize(from + octets, 0);
        blob.read_at_exact(&mut out[from..], range.start as usize).map_err(|_| Error::Corrupt(row.content))
    }
}
