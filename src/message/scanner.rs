//! Reads a message once, in pieces of any size, and describes it: the way from octets to lines to parts.
//! Bodies are only searched for boundary lines, at the speed of memory; headers are kept up to a bound,
//! bodies never. The description does not depend on how the message was cut into pieces.

use memchr::{memchr, memmem};

use super::Description;
use super::bodystructure;
use super::envelope::EnvelopeFields;
use super::parts::PartTable;
use super::preview::PreviewFinder;
use super::sortkeys::{Reference, SortKeys, references};
use super::strings::Letters;
use super::tree::{BOUNDARY_OCTETS, Begun, Delimiter, Header, Place, Tree};

/// Octets kept of one header block, of one field in it, and of all blocks of a message together. What is over is
/// part of the stored header like all else; ENVELOPE, BODYSTRUCTURE and the sort keys do not see it.
const BLOCK_OCTETS: usize = 1 << 20;
const FIELD_OCTETS: usize = 128 << 10;
const ALL_BLOCKS_OCTETS: usize = 4 << 20;
/// Longest line that can be a boundary: dashes, the boundary, and some blanks that gateways add.
const LINE_OCTETS: usize = BOUNDARY_OCTETS + 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Header,
    /// In a body, at a line's start or in the part of a line that has been read.
    LineStart,
    /// In a body, in a line that cannot be a boundary.
    InLine,
}

/// Reads one message. See the [module](self).
#[derive(Debug)]
pub struct Scanner {
    mode: Mode,
    tree: Tree,
    preview: PreviewFinder,
    newline_dashes: memmem::Finder<'static>,
    /// Octets read, and the line ends in them.
    here: Place,
    /// The octet before `here`, and whether the line that `line` holds came after CRLF rather than a bare LF.
    last_octet: u8,
    follows_crlf: bool,
    /// The line that is being read, as far as it matters, and where it began.
    line: Vec<u8>,
    line_octets: u64,
    line_start: Place,
    block: Block,
    top: Option<(SortKeys, Vec<Reference>)>,
    has_nul: bool,
    has_8bit_header: bool,
}

/// The header block that is being read, as much of it as is kept.
#[derive(Debug, Default)]
struct Block {
    kept: Vec<u8>,
    field_octets: usize,
    all_octets: usize,
    start: u64,
    /// Octets kept when the current line began.
    line_start: usize,
}

impl Block {
    fn begin(&mut self, start: u64) {
        self.kept.clear();
        (self.field_octets, self.line_start, self.start) = (0, 0, start);
    }

    fn push(&mut self, octets: &[u8], is_line_start: bool) {
        if is_line_start {
            if !matches!(octets.first(), Some(b' ' | b'\t')) {
                self.field_octets = 0;
                // The field before was cut: its line end went with the rest.
                if self.kept.last().is_some_and(|last| *last != b'\n') && self.kept.len() < BLOCK_OCTETS {
                    self.kept.push(b'\n');
                }
            }
            self.line_start = self.kept.len();
        }
        let room = (FIELD_OCTETS - self.field_octets)
            .min(BLOCK_OCTETS - self.kept.len())
            .min(ALL_BLOCKS_OCTETS - self.all_octets);
        let taken = &octets[..octets.len().min(room)];
        self.kept.extend_from_slice(taken);
        self.field_octets += taken.len();
        self.all_octets += taken.len();
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner whose description suits every client.
    pub fn new() -> Scanner {
        Scanner::with_letters(Letters::SevenBit)
    }

    /// A scanner that writes ENVELOPE and BODYSTRUCTURE for clients that were promised `letters`.
    pub fn with_letters(letters: Letters) -> Scanner {
        let start = Place { offset: 0, lines: 0 };
        Scanner {
            mode: Mode::Header,
            tree: Tree::new(letters),
            preview: PreviewFinder::default(),
            newline_dashes: memmem::Finder::new(b"\n--"),
            here: start,
            last_octet: 0,
            follows_crlf: false,
            line: Vec::new(),
            line_octets: 0,
            line_start: start,
            block: Block::default(),
            top: None,
            has_nul: false,
            has_8bit_header: false,
        }
    }

    /// Reads the next octets of the message.
    pub fn feed(&mut self, piece: &[u8]) {
        self.has_nul = self.has_nul || memchr(0, piece).is_some();
        let mut rest = piece;
        while !rest.is_empty() {
            let was_in_body = self.mode != Mode::Header;
            let binary_leaf = self.tree.binary_leaf();
            let taken = match self.mode {
                Mode::Header => self.take_header(rest),
                Mode::LineStart if self.tree.has_boundaries() => self.take_line(rest),
                Mode::InLine if self.tree.has_boundaries() => self.take_lines(rest),
                // Nothing can end this body any more.
                Mode::LineStart | Mode::InLine => self.take(rest),
            };
            if was_in_body {
                // A boundary line ended the part before this; then nobody listens.
                self.preview.feed(&rest[..taken]);
            }
            if let Some(leaf) = binary_leaf.filter(|_| memchr(0, &rest[..taken]).is_some()) {
                self.tree.note_nul(leaf);
            }
            rest = &rest[taken..];
        }
    }

    /// Moves on over octets of a body, counting.
    fn take(&mut self, octets: &[u8]) -> usize {
        self.here.offset += octets.len() as u64;
        self.here.lines += memchr::memchr_iter(b'\n', octets).count() as u64;
        self.last_octet = octets.last().copied().unwrap_or(self.last_octet);
        octets.len()
    }

    fn begin_line(&mut self) {
        self.line.clear();
        self.line_octets = 0;
        self.line_start = self.here;
    }

    /// Takes the rest of the current line, or what is there of it, into `line`; says whether it is complete.
    fn take_into_line(&mut self, rest: &[u8]) -> (usize, bool) {
        if self.line_octets == 0 {
            self.line_start = self.here;
        }
        let end = memchr(b'\n', rest);
        let chunk = &rest[..end.map_or(rest.len(), |end| end + 1)];
        let room = (LINE_OCTETS + 2).saturating_sub(self.line.len());
        self.line.extend_from_slice(&chunk[..chunk.len().min(room)]);
        self.line_octets += chunk.len() as u64;
        (chunk.len(), end.is_some())
    }

    fn take_header(&mut self, rest: &[u8]) -> usize {
        let is_line_start = self.line_octets == 0;
        let (taken, is_complete) = self.take_into_line(rest);
        self.block.push(&rest[..taken], is_line_start);
        self.has_8bit_header = self.has_8bit_header || !rest[..taken].is_ascii();
        let follows_crlf = self.follows_crlf;
        if is_complete {
            self.follows_crlf = taken > 1 && rest[taken - 2] == b'\r' || taken == 1 && self.last_octet == b'\r';
        }
        self.take(&rest[..taken]);
        if is_complete {
            if matches!(self.line.as_slice(), b"\n" | b"\r\n") {
                self.end_header(self.here);
            } else if let Some(delimiter) = self.delimiter() {
                self.end_header_at_boundary(delimiter, follows_crlf);
            }
            self.begin_line();
        }
        taken
    }

    /// Which boundary the line in hand is.
    fn delimiter(&self) -> Option<Delimiter> {
        if self.line_octets > LINE_OCTETS as u64 || !self.line.starts_with(b"--") {
            return None;
        }
        self.tree.delimiter(&self.line)
    }

    /// A part began at `block.start` and its header ends here.
    fn end_header(&mut self, end: Place) {
        if self.top.is_none() {
            let fields = EnvelopeFields::of(&self.block.kept);
            self.top = Some((SortKeys::of(&fields), references(&fields)));
        }
        let header = Header { block: &self.block.kept, start: self.block.start, end };
        match self.tree.begin_part(&header) {
            Begun::Header => self.block.begin(end.offset),
            Begun::Multipart => self.mode = Mode::LineStart,
            Begun::Leaf(node) => {
                self.mode = Mode::LineStart;
                self.preview.begin(node, &self.tree.nodes[node]);
            }
        }
    }

    /// A boundary line stands where the header should have gone on: the part has no body, and if it is a message
    /// not even a header inside.
    fn end_header_at_boundary(&mut self, delimiter: Delimiter, follows_crlf: bool) {
        self.block.kept.truncate(self.block.line_start);
        // The line end before the boundary belongs to the boundary, unless it ended the header above.
        let start = self.block.start;
        let end = Place { offset: self.part_end(follows_crlf).max(start), ..self.line_start };
        self.end_header(end);
        while self.mode == Mode::Header {
            self.block.kept.clear();
            self.end_header(end);
        }
        self.boundary(delimiter, follows_crlf);
    }

    /// Where a part ends that the line in hand ends.
    fn part_end(&self, follows_crlf: bool) -> u64 {
        self.line_start.offset.saturating_sub(if follows_crlf { 2 } else { 1 })
    }

    /// The line in hand is a boundary line, and has been read.
    fn boundary(&mut self, delimiter: Delimiter, follows_crlf: bool) {
        if self.tree.is_full() {
            self.mode = Mode::LineStart;
            return;
        }
        let end = self.part_end(follows_crlf);
        self.tree.end_parts(delimiter, self.line_start, end);
        self.preview.end(&self.tree.nodes);
        if delimiter.is_close {
            self.mode = Mode::LineStart;
        } else {
            self.mode = Mode::Header;
            self.block.begin(self.here.offset);
        }
    }

    /// Reads on in a line of a body that may be a boundary.
    fn take_line(&mut self, rest: &[u8]) -> usize {
        if self.line_octets == 0 && rest[0] != b'-' {
            self.mode = Mode::InLine;
            return self.take_lines(rest);
        }
        let (taken, is_complete) = self.take_into_line(rest);
        let follows_crlf = self.follows_crlf;
        if is_complete {
            self.follows_crlf = taken > 1 && rest[taken - 2] == b'\r' || taken == 1 && self.last_octet == b'\r';
        }
        let may_be_boundary = self.line.starts_with(&b"--"[..self.line.len().min(2)]);
        self.take(&rest[..taken]);
        if is_complete {
            if let Some(delimiter) = self.delimiter() {
                self.boundary(delimiter, follows_crlf);
            }
            self.begin_line();
        } else if !may_be_boundary || self.line_octets > LINE_OCTETS as u64 {
            self.mode = Mode::InLine;
        }
        taken
    }

    /// Reads on in the middle of a line of a body, up to the next line that begins with dashes.
    fn take_lines(&mut self, rest: &[u8]) -> usize {
        let found = self.newline_dashes.find(rest);
        let end = match found {
            Some(at) => at + 1,
            None if rest.ends_with(b"\n-") => rest.len() - 1,
            None => rest.len(),
        };
        if rest[end - 1] == b'\n' {
            self.follows_crlf = if end > 1 { rest[end - 2] == b'\r' } else { self.last_octet == b'\r' };
            self.mode = Mode::LineStart;
        }
        self.take(&rest[..end]);
        if self.mode == Mode::LineStart {
            self.begin_line();
        }
        end
    }

    /// Says that the message ends here.
    pub fn finish(mut self) -> Description {
        // A last line without a line end may still be a boundary.
        let delimiter = if self.mode == Mode::InLine || self.line_octets == 0 { None } else { self.delimiter() };
        match (self.mode, delimiter) {
            (Mode::Header, Some(delimiter)) => self.end_header_at_boundary(delimiter, self.follows_crlf),
            (_, Some(delimiter)) => self.boundary(delimiter, self.follows_crlf),
            _ => {}
        }
        // A header that never ended: what was read of it is all there is, and so for a message inside.
        while self.mode == Mode::Header {
            self.end_header(self.here);
            self.block.begin(self.here.offset);
        }
        self.tree.end_all(self.here);
        self.preview.end(&self.tree.nodes);
        let growth = self.tree.settle();

        let bodystructure = bodystructure::write(&self.tree.nodes);
        let envelope = self.tree.nodes.first_mut().and_then(|top| top.envelope.take()).unwrap_or_default();
        let rows = self.tree.nodes.into_iter().map(|node| (node.part, node.parent)).collect();
        let table = PartTable::new(rows).expect("the tree has a top, parents before children, and bounds");
        let (sort, references) = self.top.unwrap_or_default();
        Description {
            envelope,
            bodystructure,
            parts: table.encode(),
            sort,
            references,
            preview: self.preview.finish(),
            size: self.here.offset,
            growth,
            has_nul: self.has_nul,
            has_8bit_header: self.has_8bit_header,
        }
    }
}
