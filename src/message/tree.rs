//! The parts of a message while it is being read: which are open, whose boundaries end them, and what each of
//! them says about itself. It hears of headers and boundary lines from the scanner and never sees a body.
//! Two bounds, [`DEPTH`] and [`PARTS`], hold whatever the message does.

use std::collections::HashMap;

use super::bodystructure::Wire;
use super::envelope::EnvelopeFields;
use super::media::{ContentType, MimeHeader};
use super::parts::{DEPTH, MediaKind, PARTS, Part};
use super::retelling::{told_lines, told_octets};
use super::strings::Letters;
use super::transfer::Encoding;

/// Longest boundary believed, in octets. RFC 2046 §5.1.1 allows 70; a line of RFC 5322 has at most 998.
pub(super) const BOUNDARY_OCTETS: usize = 990;

/// A part as the tree keeps it: its place, and what BODYSTRUCTURE will say about it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) part: Part,
    pub(super) parent: Option<usize>,
    /// Ready pieces of BODYSTRUCTURE: what is written before the size or the children, and what comes last.
    pub(super) wire: Wire,
    /// For the outermost part of a message, that message's ENVELOPE.
    pub(super) envelope: Option<Vec<u8>>,
    /// What is told of the body more than is stored, parts inside included; lines may be fewer.
    pub(super) growth: Growth,
    /// Where the word `binary` stands in the header of a leaf with that encoding.
    binary_word: Option<u64>,
    has_nul: bool,
    /// Marked as something to save, not to read.
    pub(super) is_attachment: bool,
    is_digest: bool,
    /// Line ends before the body, counted from the start of the message.
    lines_before: u64,
    has_children: bool,
}

/// See [`Node::growth`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Growth {
    pub(super) octets: u64,
    pub(super) lines: i64,
}

/// A multipart or message that has begun and not ended.
#[derive(Debug)]
struct Open {
    node: usize,
    /// While this multipart still waits for its boundary.
    boundary: Option<Vec<u8>>,
    /// The level outside that has the same boundary and must wait.
    shadowed: Option<usize>,
}

/// A place in the message as the scanner sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) offset: u64,
    /// Line ends before it.
    pub(super) lines: u64,
}

/// Where parts end that end together, from the innermost out.
struct Ending {
    end: Place,
    /// The beginning of the boundary line that ends them.
    line: Place,
}

/// A header block that has been read to its end.
#[derive(Debug)]
pub(super) struct Header<'a> {
    pub(super) block: &'a [u8],
    pub(super) start: u64,
    /// Where the body begins.
    pub(super) end: Place,
}

/// A line that is a boundary of an open multipart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delimiter {
    level: usize,
    pub(super) is_close: bool,
}

/// What begins after a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    /// The header of the message that this part carries.
    Header,
    /// A body that is read for boundaries only.
    Multipart,
    /// A body without parts; the number is its node.
    Leaf(usize),
}

#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    open: Vec<Open>,
    /// The leaf that is being read.
    leaf: Option<usize>,
    /// Open boundaries, each with the innermost level that has it.
    boundaries: HashMap<Vec<u8>, usize>,
    letters: Letters,
}

impl Tree {
    pub(super) fn new(letters: Letters) -> Tree {
        Tree { letters, ..Tree::default() }
    }

    pub(super) fn has_boundaries(&self) -> bool {
        !self.boundaries.is_empty()
    }

    /// No further part can be told; the rest belongs to the last one.
    pub(super) fn is_full(&self) -> bool {
        self.nodes.len() >= PARTS
    }

    /// Takes a part's header, and says what begins after it.
    pub(super) fn begin_part(&mut self, header: &Header<'_>) -> Begun {
        let parent = self.open.last().map(|open| open.node);
        let mut mime = MimeHeader::parse(header.block);
        let declared_type = mime.content_type.take();
        let (kind, content_type) = self.judge(parent, declared_type, mime.encoding());
        let encoding = if kind == MediaKind::Multipart { Encoding::SevenBit } else { mime.encoding() };
        let charset = content_type.parameters.charset();
        let is_message = parent.is_none_or(|parent| self.nodes[parent].part.kind == MediaKind::Message);
        let envelope = is_message.then(|| {
            let mut out = Vec::new();
            EnvelopeFields::of(header.block).write(&mut out, self.letters, charset.as_deref());
            out
        });
        let boundary = content_type.parameters.octets("BOUNDARY").filter(|_| kind == MediaKind::Multipart);
        let end = header.end.offset;
        let is_leaf = !matches!(kind, MediaKind::Multipart | MediaKind::Message);
        // A header of which something was left out does not say where a word stands.
        let is_whole = header.block.len() as u64 == end - header.start;
        let binary_word = match encoding {
            Encoding::Binary if is_leaf && is_whole => MimeHeader::place_of_binary(header.block),
            _ => None,
        };
        let part = Part {
            kind,
            encoding,
            charset: charset.as_deref().filter(|_| kind.is_text()).map(Into::into),
            header: header.start..end,
            body: end..end,
            lines: 0,
            told_in_base64: None,
        };
        let node = self.push(Node {
            part,
            parent,
            wire: Wire::new(kind, &content_type, &mime, self.letters),
            envelope,
            growth: Growth::default(),
            binary_word: binary_word.map(|place| header.start + place as u64),
            has_nul: false,
            is_attachment: mime.disposition.as_ref().is_some_and(|disposition| disposition.kind == "ATTACHMENT"),
            is_digest: kind == MediaKind::Multipart && content_type.subtype == "DIGEST",
            lines_before: header.end.lines,
            has_children: false,
        });
        match kind {
            MediaKind::Multipart => {
                let boundary = boundary.unwrap_or_default().trim_ascii_end().to_vec();
                let shadowed = self.boundaries.insert(boundary.clone(), self.open.len());
                self.open.push(Open { node, boundary: Some(boundary), shadowed });
                Begun::Multipart
            }
            MediaKind::Message => {
                self.open.push(Open { node, boundary: None, shadowed: None });
                Begun::Header
            }
            _ => {
                self.leaf = Some(node);
                if self.is_full() {
                    self.boundaries.clear();
                }
                Begun::Leaf(node)
            }
        }
    }

    /// The leaf that is being read, if it matters whether there is a NUL in it.
    pub(super) fn binary_leaf(&self) -> Option<usize> {
        self.leaf.filter(|leaf| self.nodes[*leaf].binary_word.is_some() && !self.nodes[*leaf].has_nul)
    }

    pub(super) fn note_nul(&mut self, leaf: usize) {
        self.nodes[leaf].has_nul = true;
    }

    /// Says, when all parts have ended, which are told in base64; gives the told octets that are more than the stored.
    // RFC 3516 §6: "as though the binary-encoded sections are encoded in a CTE acceptable to the IMAP4 base
    // specification". RFC 3501 §4.3.1: what it does not accept are strings with NUL.
    pub(super) fn settle(&mut self) -> u64 {
        let mut octets = 0;
        for leaf in 0..self.nodes.len() {
            let node = &mut self.nodes[leaf];
            let Some(word) = node.binary_word.filter(|_| node.has_nul) else { continue };
            node.part.told_in_base64 = Some(word);
            node.wire.tell_base64();
            let stored = node.part.body.end - node.part.body.start;
            let growth = Growth {
                octets: told_octets(stored) - stored,
                lines: told_lines(stored) as i64 - node.part.lines as i64,
            };
            octets += growth.octets;
            let mut here = Some(leaf);
            while let Some(at) = here {
                self.nodes[at].growth.octets += growth.octets;
                self.nodes[at].growth.lines += growth.lines;
                here = self.nodes[at].parent;
            }
        }
        octets
    }

    fn push(&mut self, node: Node) -> usize {
        if let Some(parent) = node.parent {
            self.nodes[parent].has_children = true;
        }
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// What a part is taken for, which is not always what it says.
    fn judge(
        &self,
        parent: Option<usize>,
        declared: Option<ContentType>,
        encoding: Encoding,
    ) -> (MediaKind, ContentType) {
        let content_type = declared.unwrap_or_else(|| {
            // RFC 2046 §5.1.5: in a digest the default is message/rfc822.
            let is_in_digest = parent.is_some_and(|parent| self.nodes[parent].is_digest);
            if is_in_digest { ContentType::new("MESSAGE", "RFC822") } else { ContentType::new("TEXT", "PLAIN") }
        });
        // A multipart or message needs room for itself and for one part inside.
        let has_room = self.open.len() < DEPTH && self.nodes.len() + 2 <= PARTS;
        let opaque = |content_type: ContentType| {
            let octets =
                ContentType { parameters: content_type.parameters, ..ContentType::new("APPLICATION", "OCTET-STREAM") };
            (MediaKind::Other, octets)
        };
        match (content_type.kind.as_str(), content_type.subtype.as_str()) {
            ("MULTIPART", _) => {
                let boundary = content_type.parameters.octets("BOUNDARY").unwrap_or_default();
                let is_usable = (1..=BOUNDARY_OCTETS).contains(&boundary.trim_ascii_end().len());
                match (is_usable, has_room) {
                    (true, true) => (MediaKind::Multipart, content_type),
                    (true, false) => opaque(content_type),
                    // RFC 2045 §5.2: a type that makes no sense is text, so at least everything can be seen.
                    (false, _) => (MediaKind::Text, ContentType::new("TEXT", "PLAIN")),
                }
            }
            // RFC 9051 §7.5.2: message/global is told like message/rfc822. RFC 3501 §9: a message that is told
            // as a basic part must not be called MESSAGE/RFC822; RFC 2046 §5.2.1 forbids encoding it at all.
            ("MESSAGE", "RFC822" | "GLOBAL") => {
                if encoding.is_identity() && has_room {
                    (MediaKind::Message, content_type)
                } else {
                    opaque(content_type)
                }
            }
            ("TEXT", "HTML") => (MediaKind::Html, content_type),
            ("TEXT", _) => (MediaKind::Text, content_type),
            _ => (MediaKind::Other, content_type),
        }
    }

    /// Which boundary a line is, if any; `line` begins with `--` and has no line end.
    // RFC 2046 §5.1.1: blanks may follow a boundary; of boundaries that match, the innermost is meant. The RFC would
    // let any text follow, but mailers nest boundaries that begin alike, so other text makes it another line.
    pub(super) fn delimiter(&self, line: &[u8]) -> Option<Delimiter> {
        let text = line.strip_prefix(b"--")?.trim_ascii_end();
        let opening = self.boundaries.get(text).map(|level| Delimiter { level: *level, is_close: false });
        let closing = text.strip_suffix(b"--").and_then(|text| self.boundaries.get(text.trim_ascii_end()));
        let closing = closing.map(|level| Delimiter { level: *level, is_close: true });
        match (opening, closing) {
            (Some(opening), Some(closing)) if closing.level > opening.level => Some(closing),
            (opening, closing) => opening.or(closing),
        }
    }

    /// Ends all parts inside the multipart that the boundary belongs to. `line` is where the boundary line begins,
    /// `end` where the parts before it end: the line end between belongs to the boundary (RFC 2046 §5.1.1).
    pub(super) fn end_parts(&mut self, delimiter: Delimiter, line: Place, end: u64) {
        let mut ending = Ending { end: Place { offset: end, lines: line.lines.saturating_sub(1) }, line };
        self.close_leaf(&mut ending);
        while self.open.len() > delimiter.level + 1 {
            self.close_innermost(&mut ending);
        }
        if delimiter.is_close {
            self.forget_boundary(delimiter.level);
        }
    }

    /// Ends everything at the end of the message.
    pub(super) fn end_all(&mut self, end: Place) {
        let mut ending = Ending { end, line: end };
        self.close_leaf(&mut ending);
        while !self.open.is_empty() {
            self.close_innermost(&mut ending);
        }
    }

    fn close_leaf(&mut self, ending: &mut Ending) {
        if let Some(leaf) = self.leaf.take() {
            self.close(leaf, ending);
        }
    }

    fn close_innermost(&mut self, ending: &mut Ending) {
        self.forget_boundary(self.open.len() - 1);
        let Some(open) = self.open.pop() else { return };
        self.close(open.node, ending);
        if self.nodes[open.node].part.kind == MediaKind::Multipart && !self.nodes[open.node].has_children {
            // A multipart without parts cannot be written; an empty text stands for what is missing.
            let body_end = self.nodes[open.node].part.body.end;
            let part = Part {
                kind: MediaKind::Text,
                encoding: Encoding::SevenBit,
                charset: None,
                header: body_end..body_end,
                body: body_end..body_end,
                lines: 0,
                told_in_base64: None,
            };
            self.push(Node {
                part,
                parent: Some(open.node),
                wire: Wire::new(
                    MediaKind::Text,
                    &ContentType::new("TEXT", "PLAIN"),
                    &MimeHeader::default(),
                    self.letters,
                ),
                envelope: None,
                growth: Growth::default(),
                binary_word: None,
                has_nul: false,
                is_attachment: false,
                is_digest: false,
                lines_before: ending.end.lines,
                has_children: false,
            });
        }
    }

    fn close(&mut self, node: usize, ending: &mut Ending) {
        let node = &mut self.nodes[node];
        if node.part.body.start > ending.end.offset {
            // A boundary right after a header's blank line: that line ends the header and belongs to the boundary
            // too. The part keeps it, and so do all around it, or they would end before what is in them.
            ending.end = ending.line;
        }
        node.part.body.end = ending.end.offset;
        node.part.lines = ending.end.lines.saturating_sub(node.lines_before);
    }

    fn forget_boundary(&mut self, level: usize) {
        let Some(open) = self.open.get_mut(level) else { return };
        let Some(boundary) = open.boundary.take() else { return };
        match open.shadowed {
            // When the tree is full all boundaries are gone, and none comes back.
            Some(outer) if !self.boundaries.is_empty() => {
                self.boundaries.insert(boundary, outer);
            }
            _ => {
                self.boundaries.remove(&boundary);
            }
        }
    }
}
