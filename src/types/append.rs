//! APPEND up to a message's literal (RFC 3501 §6.3.11). The message itself streams past, it is never held here.

use super::{DateTime, Flag, MailboxArgument};

/// The line up to the first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendHead {
    pub tag: String,
    pub mailbox: MailboxArgument,
    pub message: AppendMessage,
}

/// What is said about one message before its octets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AppendMessage {
    /// As written. `\Recent` is left out: nobody may set it, and imapsync sends it.
    pub flags: Vec<Flag>,
    pub date: Option<DateTime>,
    /// The literal stands in `UTF8 (...)` (RFC 6855 §4), so a `)` follows it.
    pub utf8: bool,
}
