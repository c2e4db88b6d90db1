//! FETCH: which messages, which items, and the names of body sections (RFC 3501 §6.4.5).

use super::{ModSeq, NumSet, PartialRange};

/// FETCH and UID FETCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    pub set: NumSet,
    /// The set holds UIDs.
    pub uid: bool,
    /// In the order asked, at least one, macros expanded. UID FETCH does not add [`FetchItem::Uid`] here.
    pub items: Vec<FetchItem>,
    /// Only what changed after this; 0 is everything (RFC 7162 §3.1.4).
    pub changed_since: Option<ModSeq>,
    /// Tell also what has vanished (RFC 7162 §3.2.6). Only in UID FETCH with `changed_since`.
    pub vanished: bool,
    /// Only these of the messages the set names, counted among those that are there (RFC 9394 §3.3).
    pub partial: Option<PartialRange>,
}

impl Fetch {
    /// Most items in one FETCH; each can cost a pass over the message.
    pub const MAX_ITEMS: usize = 256;
}

/// One thing FETCH can tell of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchItem {
    Uid,
    Flags,
    InternalDate,
    Rfc822Size,
    Envelope,
    /// `BODY` without a section: the structure without extension data.
    Body,
    BodyStructure,
    /// RFC 7162 §3.1.4.2
    ModSeq,
    /// RFC 8514 §4.2; NIL where the mailbox knows no save dates.
    SaveDate,
    /// The beginning of the text (RFC 8970).
    Preview {
        /// NIL is a good answer when it is not at hand.
        lazy: bool,
    },
    /// RFC 8474 §5.3
    EmailId,
    /// NIL where there are no threads.
    ThreadId,
    /// `BODY[...]` and `BODY.PEEK[...]`
    Section {
        section: Section,
        /// Leaves `\Seen` alone.
        peek: bool,
        /// First octet, and how many: at least 1.
        partial: Option<(u64, u64)>,
    },
    /// `BINARY[...]` and `BINARY.PEEK[...]`: a part without its transfer encoding (RFC 3516 §4.2).
    Binary {
        /// Part numbers from the outermost in, each at least 1; empty for the message itself.
        path: Vec<u32>,
        /// Leaves `\Seen` alone.
        peek: bool,
        /// First decoded octet, and how many: at least 1.
        partial: Option<(u64, u64)>,
    },
    /// `BINARY.SIZE[...]`: how many octets that would be.
    BinarySize {
        path: Vec<u32>,
    },
    Rfc822,
    Rfc822Header,
    Rfc822Text,

    // RFC 2062, section 6.4.5.OBS.1: obsolete, answered under the names RFC822, RFC822.TEXT and RFC822.HEADER.
    /// `RFC822` that leaves `\Seen` alone.
    Rfc822Peek,
    /// `RFC822.TEXT` that leaves `\Seen` alone.
    Rfc822TextPeek,
    /// `RFC822.HEADER.LINES (...)`: some fields of the header, or with `.NOT` all others; leaves `\Seen` alone.
    Rfc822HeaderLines {
        /// As the client wrote them, at least one; printable ASCII.
        names: Vec<String>,
        not: bool,
    },
}

/// The part of a message between the brackets of `BODY[...]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Section {
    /// Part numbers from the outermost in, each at least 1; empty for the message itself.
    pub path: Vec<u32>,
    pub text: SectionText,
}

/// What of that part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SectionText {
    /// All of it.
    #[default]
    Whole,
    Header,
    HeaderFields {
        /// As the client wrote them, at least one; printable ASCII.
        names: Vec<String>,
        /// `HEADER.FIELDS.NOT`: all but these.
        not: bool,
    },
    Text,
    /// The part's own MIME header; never with an empty path.
    Mime,
}
