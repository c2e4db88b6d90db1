//! Reading what a FETCH needs beyond the hot columns: one visit fills one page of bounded size, and
//! large bodies stream in pieces outside any transaction, so that a slow client holds nothing.

use std::ops::Range;
use std::sync::Arc;

use rusqlite::blob::Blob;
use rusqlite::{Connection, MAIN_DB, OptionalExtension, params};

use super::account::AccountState;
use super::blobs;
use super::error::{Error, Result};
use super::owner::lock;
use super::snapshot::Row;
use super::view::View;
use crate::message::{self, Located, PartTable, filter_header, locate};
use crate::metrics::METRICS;
use crate::types::date::DateTime;
use crate::types::{ContentId, MailboxId, SectionText, Uid};

/// A page is closed once it holds this much; one more message may go over it.
pub const PAGE_BYTES: usize = 64 * 1024;
/// What a page carries of one message at most; more is streamed.
const IN_PAGE_BYTES: u64 = 128 * 1024;
/// A header block larger than this is not filtered by field: nobody but an attacker has one.
pub(super) const HEADER_BYTES: u64 = 8 << 20;
/// A streamed body comes in pieces of this size.
pub(super) const PIECE_BYTES: usize = 256 * 1024;

/// One section a client asked for.
#[derive(Debug, Clone)]
pub struct WantedSection {
    pub path: Vec<u32>,
    pub text: SectionText,
    /// First octet and most octets.
    pub partial: Option<(u64, u64)>,
}

/// What a page has to hold for each message.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub internal_date: bool,
    pub envelope: bool,
    pub bodystructure: bool,
    pub sections: Vec<WantedSection>,
}

/// The octets of a section, or where to get them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The message has no such part.
    Missing,
    /// In the page's octets.
    Octets(Range<usize>),
    /// Too large for a page: see [`View::stream`].
    Stream { offset: u64, octets: u64 },
}

/// One message in a page; the ranges are of the page's octets.
#[derive(Debug, Clone)]
pub struct PageRow {
    pub internal_date: Option<DateTime>,
    pub envelope: Range<usize>,
    pub bodystructure: Range<usize>,
    /// As many as were wanted, in that order.
    pub sections: Vec<Piece>,
}

/// Answers for the first so many of the rows asked for, never for none of them.
#[derive(Debug, Default)]
pub struct Page {
    pub octets: Vec<u8>,
    pub rows: Vec<PageRow>,
}

impl View {
    /// Begins to read a page about the first of `rows` (sorted by UID); the visit is under way when this returns.
    pub fn page(
        &self,
        rows: Arc<[Row]>,
        from: usize,
        wanted: Arc<Wanted>,
    ) -> impl Future<Output = Result<Page>> + Send + use<> {
        let mailbox = self.mailbox();
        self.account().state.visit_later(move |conn, account| {
            let mut reader = Reader::new(conn, account);
            reader.page(mailbox, rows.get(from..).unwrap_or(&[]), &wanted)
        })
    }

    /// Begins to stream octets of a message's body.
    pub fn stream(&self, content: ContentId, size: u32, offset: u64, octets: u64) -> BodyStream {
        let is_whole = offset == 0 && octets == u64::from(size);
        BodyStream {
            account: self.account().state,
            content,
            at: offset,
            left: octets,
            check: is_whole.then(|| Box::new(blake3::Hasher::new())),
            source: None,
        }
    }
}

/// A body that comes in pieces. When the whole of it was asked for, the last piece comes only after
/// the hash was found right; until then the caller must not have ended the literal.
pub struct BodyStream {
    account: Arc<AccountState>,
    content: ContentId,
    at: u64,
    left: u64,
    check: Option<Box<blake3::Hasher>>,
    source: Option<([u8; 32], Option<String>)>,
}

impl BodyStream {
    /// The next piece, or `None` at the end. `Corrupt`: the octets are not what was stored.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        if self.left == 0 {
            return Ok(None);
        }
        let (content, at) = (self.content, self.at);
        let octets = self.left.min(PIECE_BYTES as u64) as usize;
        let source = self.source.take();
        let (piece, source) = self
            .account
            .visit(move |conn, account| {
                let source = match source {
                    Some(source) => source,
                    None => source_of(conn, content)?,
                };
                let piece = match &source.1 {
                    Some(file) => blobs::read_piece(&account.dir, file, content, at, octets)?,
                    None => {
                        let blob = conn.blob_open(MAIN_DB, "body", "data", i64::from(content.0), true)?;
                        let mut piece = vec![0; octets];
                        blob.read_at_exact(&mut piece, at as usize).map_err(|_| Error::Corrupt(content))?;
                        piece
                    }
                };
                Ok((piece, source))
            })
            .await
            .inspect_err(|error| note_corruption(&self.account, error))?;
        let is_short = piece.len() < octets;
        self.at += piece.len() as u64;
        self.left -= piece.len() as u64;
        if let Some(hasher) = &mut self.check {
            hasher.update(&piece);
        }
        let is_wrong = self.left == 0 && self.check.as_ref().is_some_and(|h| *h.finalize().as_bytes() != source.0);
        if is_short || is_wrong {
            let error = Error::Corrupt(content);
            note_corruption(&self.account, &error);
            return Err(error);
        }
        self.source = Some(source);
        Ok(Some(piece))
    }
}

fn note_corruption(account: &AccountState, error: &Error) {
    if let Error::Corrupt(content) = error {
        METRICS.bodies_corrupt.add(1);
        tracing::error!(account = account.id.0, content = content.0, "a stored body does not match its hash");
        lock(&account.corrupt).insert(*content);
    }
}

fn source_of(conn: &Connection, content: ContentId) -> Result<([u8; 32], Option<String>)> {
    conn.prepare_cached("SELECT hash, file FROM content WHERE id = ?")?
        .query_row([content.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or(Error::Corrupt(content))
}

/// Where a section's text lies, as the message room names it.
fn place_of(text: &SectionText) -> message::SectionText {
    match text {
        SectionText::Whole => message::SectionText::Whole,
        SectionText::Header => message::SectionText::Header,
        SectionText::HeaderFields { .. } => message::SectionText::HeaderFields,
        SectionText::Text => message::SectionText::Text,
        SectionText::Mime => message::SectionText::Mime,
    }
}

pub(super) struct Reader<'c> {
    pub conn: &'c Connection,
    pub account: &'c AccountState,
    /// Reopened from body to body, which costs less than opening.
    blob: Option<Blob<'c>>,
}

impl<'c> Reader<'c> {
    pub fn new(conn: &'c Connection, account: &'c AccountState) -> Self {
        Reader { conn, account, blob: None }
    }

    fn page(&mut self, mailbox: MailboxId, rows: &[Row], wanted: &Wanted) -> Result<Page> {
        let mut page = Page::default();
        let conn = self.conn;
        // One read transaction, so that a page shows one moment.
        let transaction = (rows.len() > 1).then(|| conn.unchecked_transaction()).transpose()?;
        for row in rows {
            let one =
                self.one(mailbox, row, wanted, &mut page.octets).inspect_err(|e| note_corruption(self.account, e));
            match one {
                Ok(one) => page.rows.push(one),
                // What came before is answered first; the next page then begins with this one and fails.
                Err(_) if !page.rows.is_empty() => break,
                Err(error) => return Err(error),
            }
            if page.octets.len() >= PAGE_BYTES {
                break;
            }
        }
        drop(transaction);
        Ok(page)
    }

    fn one(&mut self, mailbox: MailboxId, row: &Row, wanted: &Wanted, out: &mut Vec<u8>) -> Result<PageRow> {
        let internal_date = wanted.internal_date.then(|| self.internal_date(mailbox, row.uid)).transpose()?;
        let envelope = self.described(wanted.envelope, "SELECT envelope FROM structure WHERE cid = ?", row, out)?;
        let bodystructure =
            self.described(wanted.bodystructure, "SELECT bodystructure FROM structure WHERE cid = ?", row, out)?;
        let mut parts = None;
        let mut sections = Vec::with_capacity(wanted.sections.len());
        for section in &wanted.sections {
            sections.push(self.section(section, row, &mut parts, out)?);
        }
        Ok(PageRow { internal_date, envelope, bodystructure, sections })
    }

    fn described(&self, is_wanted: bool, sql: &str, row: &Row, out: &mut Vec<u8>) -> Result<Range<usize>> {
        let from = out.len();
        if is_wanted {
            let mut query = self.conn.prepare_cached(sql)?;
            let mut found = query.query([row.content.0])?;
            let stored = found.next()?.ok_or(Error::Corrupt(row.content))?;
            out.extend_from_slice(stored.get_ref(0)?.as_blob().map_err(|_| Error::Corrupt(row.content))?);
        }
        Ok(from..out.len())
    }

    pub fn internal_date(&self, mailbox: MailboxId, uid: Uid) -> Result<DateTime> {
        self.dates(mailbox, uid).map(|(arrived, _)| arrived)
    }

    /// When the message came into this mailbox, in seconds since 1970 (RFC 8514).
    pub fn save_date(&self, mailbox: MailboxId, uid: Uid) -> Result<i64> {
        self.dates(mailbox, uid).map(|(_, saved)| saved)
    }

    fn dates(&self, mailbox: MailboxId, uid: Uid) -> Result<(DateTime, i64)> {
        for sql in [
            "SELECT idate, idate_zone, saved FROM message WHERE mbox = ? AND uid = ?",
            "SELECT idate, idate_zone, saved FROM removed WHERE mbox = ? AND uid = ?",
        ] {
            let found = self
                .conn
                .prepare_cached(sql)?
                .query_row(params![mailbox.0, uid.0], |row| {
                    Ok((DateTime { unix_seconds: row.get(0)?, zone_minutes: row.get(1)? }, row.get(2)?))
                })
                .optional()?;
            if let Some(dates) = found {
                return Ok(dates);
            }
        }
        Err(Error::Fault(format!("message {uid} of mailbox {mailbox} is neither here nor removed")))
    }

    fn section(
        &mut self,
        wanted: &WantedSection,
        row: &Row,
        parts: &mut Option<PartTable>,
        out: &mut Vec<u8>,
    ) -> Result<Piece> {
        let is_whole = wanted.path.is_empty() && matches!(wanted.text, SectionText::Whole);
        if is_whole && wanted.partial.is_none() {
            return self.whole(row, out);
        }
        let located = if is_whole {
            Some(Located::Octets(0..u64::from(row.size)))
        } else {
            let table = match parts {
                Some(table) => table,
                None => parts.insert(self.part_table(row)?),
            };
            locate(table, &wanted.path, place_of(&wanted.text))
        };
        match located {
            None => Ok(Piece::Missing),
            Some(Located::Octets(range)) => {
                let (from, most) = wanted.partial.unwrap_or((0, u64::MAX));
                let start = range.start.saturating_add(from).min(range.end);
                let end = start.saturating_add(most).min(range.end);
                self.octets(row, start..end, out)
            }
            Some(Located::HeaderBlock(header)) => {
                let SectionText::HeaderFields { names, not } = &wanted.text else { return Ok(Piece::Missing) };
                if header.end - header.start > HEADER_BYTES {
                    return Err(Error::TooLarge);
                }
                let mut block = Vec::new();
                self.read(row, header, &mut block)?;
                let filtered = filter_header(&block, names, *not);
                let (from, most) = wanted.partial.unwrap_or((0, u64::MAX));
                let start = usize::try_from(from).unwrap_or(usize::MAX).min(filtered.len());
                let end = start.saturating_add(usize::try_from(most).unwrap_or(usize::MAX)).min(filtered.len());
                let at = out.len();
                out.extend_from_slice(&filtered[start..end]);
                Ok(Piece::Octets(at..out.len()))
            }
        }
    }

    pub fn part_table(&self, row: &Row) -> Result<PartTable> {
        let stored: Option<Vec<u8>> = self
            .conn
            .prepare_cached("SELECT parts FROM structure WHERE cid = ?")?
            .query_row([row.content.0], |row| row.get(0))
            .optional()?;
        stored.and_then(|octets| PartTable::decode(&octets).ok()).ok_or(Error::Corrupt(row.content))
    }

    /// A whole inline body is verified before its first octet goes out; a file while it streams.
    fn whole(&mut self, row: &Row, out: &mut Vec<u8>) -> Result<Piece> {
        if lock(&self.account.corrupt).contains(&row.content) {
            return Err(Error::Corrupt(row.content));
        }
        let mut query = self.conn.prepare_cached(
            "SELECT c.hash, c.file, b.data FROM content c LEFT JOIN body b ON b.id = c.id WHERE c.id = ?",
        )?;
        let mut found = query.query([row.content.0])?;
        let stored = found.next()?.ok_or(Error::Corrupt(row.content))?;
        if stored.get_ref(1)?.as_str_or_null().is_ok_and(|file| file.is_some()) {
            return Ok(Piece::Stream { offset: 0, octets: u64::from(row.size) });
        }
        let body = stored.get_ref(2)?.as_blob().map_err(|_| Error::Corrupt(row.content))?;
        let hash = stored.get_ref(0)?.as_blob().map_err(|_| Error::Corrupt(row.content))?;
        if blake3::hash(body).as_bytes() != hash || body.len() != row.size as usize {
            return Err(Error::Corrupt(row.content));
        }
        let from = out.len();
        out.extend_from_slice(body);
        Ok(Piece::Octets(from..out.len()))
    }

    fn octets(&mut self, row: &Row, range: Range<u64>, out: &mut Vec<u8>) -> Result<Piece> {
        let octets = range.end - range.start;
        if octets > IN_PAGE_BYTES {
            return Ok(Piece::Stream { offset: range.start, octets });
        }
        let from = out.len();
        self.read(row, range, out)?;
        Ok(Piece::Octets(from..out.len()))
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
