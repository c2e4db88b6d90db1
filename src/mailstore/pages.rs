//! Reading what a FETCH needs beyond the hot columns: one visit fills one page of bounded size, and
//! large bodies stream in pieces outside any transaction, so that a slow client holds nothing.

use std::ops::Range;
use std::sync::Arc;

use super::error::{Error, Result};
use super::object_ids;
use super::reading::{HEADER_BYTES, Reader};
use super::snapshot::Row;
use super::streams::{DecodedPart, note_corruption};
use super::view::View;
use crate::message::{self, Letters, Located, PartTable, Retelling, filter_header, locate};
use crate::types::date::DateTime;
use crate::types::{MailboxId, ObjectId, SectionText};

/// A page is closed once it holds this much; one more message may go over it.
pub const PAGE_BYTES: usize = 64 * 1024;
/// What a page carries of one message at most; more is streamed.
pub const IN_PAGE_BYTES: u64 = 128 * 1024;

/// One section a client asked for.
#[derive(Debug, Clone)]
pub struct WantedSection {
    pub path: Vec<u32>,
    pub text: SectionText,
    /// First octet and most octets.
    pub partial: Option<(u64, u64)>,
}

/// A part whose decoded octets, or only their number, a client asked for (RFC 3516).
#[derive(Debug, Clone)]
pub struct WantedBinary {
    /// Empty for the message itself.
    pub path: Vec<u32>,
    /// First decoded octet and most octets.
    pub partial: Option<(u64, u64)>,
    pub is_size_only: bool,
}

/// What a page has to hold for each message.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// INTERNALDATE and the save date.
    pub dates: bool,
    pub envelope: bool,
    pub bodystructure: bool,
    /// How ENVELOPE and BODYSTRUCTURE are written.
    pub letters: Letters,
    /// Sections are given as they are stored, NUL and all.
    pub keeps_nul: bool,
    /// With that, binary parts in base64 all the same, as every client is told them.
    pub retells: bool,
    pub preview: bool,
    pub email_id: bool,
    pub thread_id: bool,
    pub sections: Vec<WantedSection>,
    pub binaries: Vec<WantedBinary>,
}

impl Wanted {
    /// True when the hot columns are not enough.
    pub fn is_anything(&self) -> bool {
        self.dates || self.is_described() || self.preview || self.email_id || self.thread_id || self.is_octets()
    }

    fn is_described(&self) -> bool {
        self.envelope || self.bodystructure
    }

    fn is_octets(&self) -> bool {
        !self.sections.is_empty() || !self.binaries.is_empty()
    }
}

/// The octets of a section, or where to get them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The message has no such part.
    Missing,
    /// In the page's octets.
    Octets(Range<usize>),
    /// Too large for a page: see [`View::stream_told`].
    Stream { offset: u64, octets: u64 },
}

/// The decoded octets of a part, or where to get them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// The message has no such part.
    Missing,
    /// Its encoding is unknown or broken.
    Undecodable,
    /// How many there are; that was all that was asked.
    Size(u64),
    /// In the page's octets.
    Octets(Range<usize>),
    /// Too large for a page: see [`View::stream_decoded`].
    Stream(DecodedPart),
}

/// One message in a page; the ranges are of the page's octets.
#[derive(Debug, Clone, Default)]
pub struct PageRow {
    /// INTERNALDATE, and the save date in seconds since 1970.
    pub dates: Option<(DateTime, i64)>,
    pub envelope: Range<usize>,
    pub bodystructure: Range<usize>,
    /// UTF-8.
    pub preview: Range<usize>,
    pub email_id: Option<ObjectId>,
    pub thread_id: Option<ObjectId>,
    /// As many as were wanted, in that order.
    pub sections: Vec<Piece>,
    /// When the sections are told otherwise than they are stored.
    pub retelling: Option<Arc<Retelling>>,
    pub binaries: Vec<Decoded>,
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
        // Decoding takes long for a large part, and must not keep others waiting.
        let is_long = !wanted.binaries.is_empty();
        self.account().state.visit_later(is_long, move |conn, account| {
            let mut reader = Reader::new(conn, account);
            reader.page(mailbox, rows.get(from..).unwrap_or(&[]), &wanted)
        })
    }
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

/// Where a section lies among the stored octets.
pub(super) fn located(table: &PartTable, wanted: &WantedSection) -> Option<Located> {
    locate(table, &wanted.path, place_of(&wanted.text))
}

/// Appends the fields of a header block that were asked for.
pub(super) fn header_fields(block: &[u8], wanted: &WantedSection, out: &mut Vec<u8>) -> Piece {
    let SectionText::HeaderFields { names, not } = &wanted.text else { return Piece::Missing };
    let filtered = filter_header(block, names, *not);
    let (from, most) = wanted.partial.unwrap_or((0, u64::MAX));
    let start = usize::try_from(from).unwrap_or(usize::MAX).min(filtered.len());
    let end = start.saturating_add(usize::try_from(most).unwrap_or(usize::MAX)).min(filtered.len());
    let at = out.len();
    out.extend_from_slice(&filtered[start..end]);
    Piece::Octets(at..out.len())
}

/// A literal cannot carry NUL (RFC 3501 §9, CHAR8), and a message may hold some all the same: BINARY tells it as it
/// is, and elsewhere each stands as another octet, so that sizes stay true.
pub fn without_nul(octets: &mut [u8]) {
    let mut from = 0;
    while let Some(at) = octets.get(from..).and_then(|rest| memchr::memchr(0, rest)) {
        octets[from + at] = 0x80;
        from += at + 1;
    }
}

impl Reader<'_> {
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
        let mut one = PageRow::default();
        if wanted.dates {
            one.dates = Some(self.dates(mailbox, row.uid)?);
        }
        if wanted.envelope || wanted.bodystructure {
            (one.envelope, one.bodystructure) = self.description(row, wanted, out)?;
        }
        if wanted.preview {
            let from = out.len();
            self.preview(row, out)?;
            one.preview = from..out.len();
        }
        if wanted.email_id {
            one.email_id = Some(object_ids::email_of(self.conn, row.content)?);
        }
        if wanted.thread_id {
            one.thread_id = Some(object_ids::thread_of(self.conn, row.content)?);
        }
        let mut parts = None;
        if !wanted.sections.is_empty() && (wanted.retells || !wanted.keeps_nul) {
            one.retelling = self.retelling(row, &mut parts)?;
        }
        for section in &wanted.sections {
            let from = out.len();
            one.sections.push(match &one.retelling {
                None => self.section(section, row, &mut parts, out)?,
                Some(retelling) => self.retold_section(retelling, section, row, &mut parts, out)?,
            });
            if !wanted.keeps_nul {
                without_nul(&mut out[from..]);
            }
        }
        for binary in &wanted.binaries {
            one.binaries.push(self.binary(binary, row, &mut parts, out)?);
        }
        Ok(one)
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
            let from = out.len();
            return Ok(match self.whole(row, out)? {
                true => Piece::Octets(from..out.len()),
                false => Piece::Stream { offset: 0, octets: u64::from(row.size) },
            });
        }
        let located = if is_whole {
            Some(Located::Octets(0..u64::from(row.size)))
        } else {
            located(self.table(row, parts)?, wanted)
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
                let mut block = Vec::new();
                self.header_block(header, row, &mut block)?;
                Ok(header_fields(&block, wanted, out))
            }
        }
    }

    pub(super) fn header_block(&mut self, header: Range<u64>, row: &Row, block: &mut Vec<u8>) -> Result<()> {
        if header.end - header.start > HEADER_BYTES {
            return Err(Error::TooLarge);
        }
        self.read(row, header, block)
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

    /// The message's table of parts, read when it is first needed.
    pub fn table<'t>(&self, row: &Row, parts: &'t mut Option<PartTable>) -> Result<&'t PartTable> {
        match parts {
            Some(table) => Ok(table),
            None => Ok(parts.insert(self.part_table(row)?)),
        }
    }
}
