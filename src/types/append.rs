//! APPEND (RFC 3501 §6.3.11) and REPLACE (RFC 8508): where messages go, and what they are put together from.
//! The octets the client sends stream past, they are never held here.

use super::{DateTime, Flag, MailboxArgument, SetBound};

/// An APPEND or REPLACE that brings no octets of its own: all its messages are made of stored ones. Any other is
/// told piece by piece, see `wire::append`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    pub target: AppendTarget,
    /// As the pieces of other APPENDs have them, without [`AppendItem::Octets`].
    pub items: Vec<AppendItem>,
}

/// Where the messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendTarget {
    pub mailbox: MailboxArgument,
    /// The name as the client wrote it, where it is kept in another spelling and the client is to be told so
    /// (RFC 9051 §6.3.12).
    pub spelt: Option<Box<str>>,
    /// REPLACE: the message of the selected mailbox that the new one takes the place of. Then there is only one.
    pub replaced: Option<Replaced>,
}

/// What REPLACE replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaced {
    pub number: SetBound,
    /// The number is a UID.
    pub uid: bool,
}

/// What comes next in the command. A message is [`AppendItem::Message`], its parts, [`AppendItem::MessageEnd`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendItem {
    /// A message begins.
    Message(AppendMessage),
    /// What this IMAP URL names is the next part; the URL as written, good or bad (RFC 4469 §3).
    Url(String),
    /// The octets of the literal just announced are the message, or its next part.
    Octets {
        /// They stand in `UTF8 (...)` (RFC 6855 §4).
        utf8: bool,
    },
    /// The message is complete.
    MessageEnd,
}

/// What is said about one message before its parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AppendMessage {
    /// As written. `\Recent` is left out: nobody may set it, and imapsync sends it.
    pub flags: Vec<Flag>,
    pub date: Option<DateTime>,
    /// `CATENATE (...)`: any number of parts from 1 on; without it exactly one, of octets.
    pub is_catenated: bool,
}

impl AppendMessage {
    /// Most parts of one message.
    pub const MAX_PARTS: usize = 1000;
}
