//! The table of a message's parts: where each lies in the stored octets, and how to read it.
//! It is stored beside the message in a compact form of its own, so that BODY[1.2] reads its range and nothing
//! else. Section numbers are those of RFC 3501 §6.4.5.

use std::fmt;
use std::ops::Range;

use super::transfer::Encoding;

/// Most parts of one message; what comes after belongs to the last of them.
pub const PARTS: usize = 10_000;
/// Most levels of parts within parts; what is deeper is a leaf.
pub const DEPTH: usize = 100;
/// Longest charset name kept, in octets.
const CHARSET_OCTETS: usize = 64;
/// First octet of the stored form.
const FORMAT: u8 = 1;
/// Said with a part's kind and encoding: where its word `binary` stands comes last.
const RETOLD: u64 = 1 << 6;

/// What a part is, as far as reading it is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MediaKind {
    Multipart = 0,
    /// An encapsulated message (message/rfc822, message/global) whose own parts can be asked for.
    Message = 1,
    /// text/* other than HTML.
    Text = 2,
    /// text/html
    Html = 3,
    /// All else: a leaf that is no text.
    Other = 4,
}

impl MediaKind {
    fn from_code(code: u64) -> Option<MediaKind> {
        use MediaKind::*;
        [Multipart, Message, Text, Html, Other].into_iter().find(|kind| *kind as u64 == code)
    }

    pub fn is_text(self) -> bool {
        matches!(self, MediaKind::Text | MediaKind::Html)
    }
}

/// One part. Offsets count the octets of the whole stored message from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub kind: MediaKind,
    pub encoding: Encoding,
    /// In small letters; `None` when the part names none.
    pub charset: Option<Box<str>>,
    /// The part's own header with its blank line; for the outermost part, the message's.
    pub header: Range<u64>,
    /// The content as stored, transfer encoding and all.
    pub body: Range<u64>,
    /// Line ends in the body, as stored.
    pub lines: u64,
    /// For a leaf that clients are told in base64, where the word `binary` of its header begins; see
    /// [`Retelling`](super::Retelling).
    pub told_in_base64: Option<u64>,
}

/// All parts of one message. An encapsulated message is two parts: the one that carries it, and its own outermost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartTable {
    rows: Vec<Row>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    part: Part,
    parent: Option<usize>,
    /// Which child of its parent this is, from 1.
    ordinal: u32,
    /// The row after the last one below this one.
    end: usize,
}

/// The stored bytes are no part table of a known format. The message must be described again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPartTable;

impl fmt::Display for BadPartTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stored part table cannot be read")
    }
}

impl std::error::Error for BadPartTable {}

impl PartTable {
    /// Builds a table of parts in the order they stand in the message, each with the row of its parent.
    /// The first has none, every other one must; parents come before children and families stay together.
    pub(super) fn new(parts: Vec<(Part, Option<usize>)>) -> Result<PartTable, BadPartTable> {
        let mut rows: Vec<Row> = Vec::with_capacity(parts.len());
        let mut open: Vec<(usize, u32)> = Vec::new();
        for (part, parent) in parts {
            let at = rows.len();
            while open.last().is_some_and(|(row, _)| Some(*row) != parent) {
                open.pop();
            }
            let ordinal = match open.last_mut() {
                Some((row, children)) => {
                    *children += 1;
                    match rows[*row].part.kind {
                        MediaKind::Multipart => *children,
                        MediaKind::Message if *children == 1 => 1,
                        _ => return Err(BadPartTable),
                    }
                }
                None if at == 0 && parent.is_none() => 1,
                None => return Err(BadPartTable),
            };
            if rows.first().is_some_and(|top| part.body.end > top.part.body.end) {
                return Err(BadPartTable);
            }
            open.push((at, 0));
            rows.push(Row { part, parent, ordinal, end: at + 1 });
        }
        for at in (0..rows.len()).rev() {
            let end = rows[at].end;
            if let Some(parent) = rows[at].parent {
                rows[parent].end = rows[parent].end.max(end);
            }
        }
        if rows.is_empty() || rows.len() > PARTS { Err(BadPartTable) } else { Ok(PartTable { rows }) }
    }

    /// The outermost part: its header is the message's, its body all the rest.
    pub fn top(&self) -> &Part {
        &self.rows[0].part
    }

    /// Octets of the whole message.
    pub fn message_octets(&self) -> u64 {
        self.top().body.end
    }

    /// The part that BODY[path] names, `None` when there is none. An empty path names no part.
    pub fn find(&self, path: &[u32]) -> Option<&Part> {
        self.row(path).map(|row| &self.rows[row].part)
    }

    /// The outermost part of the message that `path` carries; with an empty path, of the message itself.
    pub fn inner(&self, path: &[u32]) -> Option<&Part> {
        if path.is_empty() {
            return Some(self.top());
        }
        let row = self.row(path)?;
        let carries = self.rows[row].part.kind == MediaKind::Message;
        carries.then(|| self.only_child(row)).flatten().map(|inner| &self.rows[inner].part)
    }

    fn only_child(&self, row: usize) -> Option<usize> {
        (self.rows[row].end > row + 1).then_some(row + 1)
    }

    // RFC 3501 §6.4.5: a message that is no multipart has a part 1; numbers below a part of type message are
    // those of the message it carries.
    fn row(&self, path: &[u32]) -> Option<usize> {
        let mut here: Option<usize> = None;
        for &number in path {
            let scope = match here {
                None => 0,
                Some(row) if self.rows[row].part.kind == MediaKind::Message => self.only_child(row)?,
                Some(row) => row,
            };
            let is_part = here == Some(scope);
            here = match self.rows.get(scope)?.part.kind {
                MediaKind::Multipart => Some(self.child(scope, number)?),
                _ if !is_part && number == 1 => Some(scope),
                _ => return None,
            };
        }
        here
    }

    fn child(&self, row: usize, number: u32) -> Option<usize> {
        let mut child = row + 1;
        let end = self.rows[row].end;
        for _ in 1..number {
            child = self.rows.get(child).filter(|_| child < end)?.end;
        }
        (number > 0 && child < end).then_some(child)
    }

    /// All parts in the order they stand in the message, each with what carries it: nothing for the outermost.
    pub fn all(&self) -> impl Iterator<Item = (&Part, Option<MediaKind>)> {
        self.rows.iter().map(|row| (&row.part, row.parent.map(|parent| self.rows[parent].part.kind)))
    }

    /// Every part that a number names, in order, with its number.
    pub fn iter(&self) -> impl Iterator<Item = (Vec<u32>, &Part)> {
        self.rows.iter().enumerate().filter_map(|(at, row)| Some((self.path(at)?, &row.part)))
    }

    /// `None` for a multipart that is the outermost part of a message: it has no number of its own.
    fn path(&self, row: usize) -> Option<Vec<u32>> {
        let mut path = Vec::new();
        let mut here = row;
        loop {
            let Row { part, parent, ordinal, .. } = &self.rows[here];
            match parent.filter(|parent| self.rows[*parent].part.kind == MediaKind::Multipart) {
                Some(_) => path.push(*ordinal),
                None if part.kind != MediaKind::Multipart => path.push(1),
                None if here == row => return None,
                None => {}
            }
            match parent {
                Some(parent) => here = *parent,
                None => break,
            }
        }
        path.reverse();
        Some(path)
    }

    /// The compact form that is stored: numbers of seven bits an octet, each part told against the one before.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        write_number(&mut out, self.rows.len() as u64);
        let mut before = 0;
        for (at, Row { part, parent, .. }) in self.rows.iter().enumerate() {
            write_number(&mut out, parent.map_or(0, |parent| (at - parent) as u64));
            let is_retold = part.told_in_base64.map_or(0, |_| RETOLD);
            write_number(&mut out, part.kind as u64 | (part.encoding as u64) << 3 | is_retold);
            write_number(&mut out, part.header.start.saturating_sub(before));
            write_number(&mut out, part.header.end - part.header.start);
            write_number(&mut out, part.body.end - part.body.start);
            write_number(&mut out, part.lines);
            let charset = part.charset.as_deref().filter(|name| name.len() <= CHARSET_OCTETS).unwrap_or("");
            write_number(&mut out, charset.len() as u64);
            out.extend_from_slice(charset.as_bytes());
            if let Some(word) = part.told_in_base64 {
                write_number(&mut out, word.saturating_sub(part.header.start));
            }
            before = part.header.start;
        }
        out
    }

    /// Reads what [`PartTable::encode`] wrote.
    ///
    /// # Errors
    /// [`BadPartTable`] for anything else; nothing in it can make this panic or take more memory than a table may.
    pub fn decode(stored: &[u8]) -> Result<PartTable, BadPartTable> {
        PartTable::new(read_rows(stored).ok_or(BadPartTable)?)
    }
}

fn read_rows(stored: &[u8]) -> Option<Vec<(Part, Option<usize>)>> {
    let mut rest = stored.strip_prefix(&[FORMAT])?;
    let count = usize::try_from(read_number(&mut rest)?).ok().filter(|count| *count <= PARTS)?;
    let mut parts = Vec::with_capacity(count);
    let mut before = 0u64;
    for at in 0..count {
        let parent = match usize::try_from(read_number(&mut rest)?).ok()? {
            0 => None,
            back => Some(at.checked_sub(back)?),
        };
        let code = read_number(&mut rest)?;
        let is_retold = code & RETOLD != 0;
        let code = code & !RETOLD;
        let (kind, encoding) = (MediaKind::from_code(code & 7)?, Encoding::from_code(u8::try_from(code >> 3).ok()?)?);
        let header_start = before.checked_add(read_number(&mut rest)?)?;
        let body_start = header_start.checked_add(read_number(&mut rest)?)?;
        let body_end = body_start.checked_add(read_number(&mut rest)?)?;
        let lines = read_number(&mut rest)?;
        let charset_octets = usize::try_from(read_number(&mut rest)?).ok().filter(|n| *n <= CHARSET_OCTETS)?;
        let (charset, after) = rest.split_at_checked(charset_octets)?;
        rest = after;
        let charset = std::str::from_utf8(charset).ok()?;
        let charset = (!charset.is_empty()).then(|| charset.into());
        let told_in_base64 = match is_retold {
            true => Some(header_start.checked_add(read_number(&mut rest)?).filter(|word| *word < body_start)?),
            false => None,
        };
        let (header, body) = (header_start..body_start, body_start..body_end);
        parts.push((Part { kind, encoding, charset, header, body, lines, told_in_base64 }, parent));
        before = header_start;
    }
    rest.is_empty().then_some(parts)
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&octet, after) = rest.split_first()?;
        *rest = after;
        let bits = u64::from(octet & 0x7f);
        number |= bits.checked_shl(shift).filter(|value| value >> shift == bits)?;
        if octet & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(kind: MediaKind, from: u64, to: u64) -> Part {
        let charset = kind.is_text().then(|| "utf-8".into());
        Part {
            kind,
            encoding: Encoding::Base64,
            charset,
            header: from..from + 2,
            body: from + 2..to,
            lines: 3,
            told_in_base64: (from == 10).then_some(11),
        }
    }

    /// The example of RFC 3501 §6.4.5.
    fn example() -> PartTable {
        use MediaKind::*;
        let kinds = [
            (Multipart, None),
            (Text, Some(0)),
            (Other, Some(0)),
            (Message, Some(0)),
            (Multipart, Some(3)),
            (Text, Some(4)),
            (Other, Some(4)),
            (Multipart, Some(0)),
            (Other, Some(7)),
            (Message, Some(7)),
            (Multipart, Some(9)),
            (Text, Some(10)),
            (Multipart, Some(10)),
            (Text, Some(12)),
            (Html, Some(12)),
        ];
        let rows = kinds.iter().enumerate().map(|(at, (kind, parent))| {
            let from = at as u64 * 10;
            (part(*kind, from, if at == 0 { 200 } else { from + 9 }), *parent)
        });
        PartTable::new(rows.collect()).expect("a tree")
    }

    #[test]
    fn numbers_are_those_of_the_rfc() {
        let table = example();
        let paths: Vec<String> = table
            .iter()
            .map(|(path, part)| {
                let words: Vec<String> = path.iter().map(u32::to_string).collect();
                format!("{} {:?}", words.join("."), part.kind)
            })
            .collect();
        let wanted = [
            "1 Text",
            "2 Other",
            "3 Message",
            "3.1 Text",
            "3.2 Other",
            "4 Multipart",
            "4.1 Other",
            "4.2 Message",
            "4.2.1 Text",
            "4.2.2 Multipart",
            "4.2.2.1 Text",
            "4.2.2.2 Html",
        ];
        assert_eq!(paths, wanted);
        for (path, part) in table.iter() {
            assert_eq!(table.find(&path), Some(part), "{path:?}");
        }
    }

    #[test]
    fn what_no_number_names() {
        let table = example();
        for path in [&[][..], &[0], &[5], &[1, 1], &[3, 3], &[4, 2, 2, 3], &[4, 0], &[2, 1, 1], &[u32::MAX]] {
            assert_eq!(table.find(path), None, "{path:?}");
        }
        assert_eq!(table.inner(&[3]).map(|part| part.header.start), Some(40));
        assert_eq!(table.inner(&[]).map(|part| part.header.start), Some(0));
        assert_eq!(table.inner(&[4]), None);
    }

    #[test]
    fn a_message_that_is_no_multipart_has_part_one() {
        use MediaKind::*;
        let table = PartTable::new(vec![(part(Message, 0, 30), None), (part(Text, 4, 30), Some(0))]).expect("a tree");
        let paths: Vec<Vec<u32>> = table.iter().map(|(path, _)| path).collect();
        assert_eq!(paths, [vec![1], vec![1, 1]]);
        assert_eq!(table.find(&[1, 1]).map(|p| p.kind), Some(Text));
        assert_eq!(table.find(&[1, 1, 1]), None);
        assert_eq!(table.find(&[2]), None);
    }

    #[test]
    fn stored_and_read_back() {
        let table = example();
        assert_eq!(PartTable::decode(&table.encode()), Ok(table.clone()));
        let stored = table.encode();
        for cut in 0..stored.len() {
            assert_eq!(PartTable::decode(&stored[..cut]), Err(BadPartTable));
        }
        assert!(stored.len() < 15 * 16, "{}", stored.len());
    }

    #[test]
    fn a_table_of_nonsense_is_refused() {
        for bad in [&[][..], &[1], &[1, 0], &[9, 1], &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(PartTable::decode(bad), Err(BadPartTable), "{bad:?}");
        }
        let orphan = PartTable::new(vec![(part(MediaKind::Text, 0, 9), None), (part(MediaKind::Text, 0, 9), None)]);
        assert_eq!(orphan, Err(BadPartTable));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(mut bytes in proptest::collection::vec(0u8..20, 0..60)) {
            bytes.insert(0, FORMAT);
            if let Ok(table) = PartTable::decode(&bytes) {
                for (path, part) in table.iter() {
                    prop_assert!(table.find(&path).is_some(), "{:?} {:?}", path, part);
                }
            }
        }

        #[test]
        fn numbers_survive(number in any::<u64>()) {
            let mut out = Vec::new();
            write_number(&mut out, number);
            prop_assert_eq!(read_number(&mut &out[..]), Some(number));
        }
    }
}
