//! STATUS and its items (RFC 3501 §6.3.10).

use super::MailboxArgument;

/// The STATUS command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub mailbox: MailboxArgument,
    /// In the order asked, at least one.
    pub items: Vec<StatusItem>,
}

/// One number STATUS can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    /// RFC 7162 §3.1.7
    HighestModSeq,
}

impl StatusItem {
    /// All of them.
    pub const ALL: [StatusItem; 6] = [
        StatusItem::Messages,
        StatusItem::Recent,
        StatusItem::UidNext,
        StatusItem::UidValidity,
        StatusItem::Unseen,
        StatusItem::HighestModSeq,
    ];

    /// The name as written on the wire.
    pub const fn wire(self) -> &'static str {
        match self {
            StatusItem::Messages => "MESSAGES",
            StatusItem::Recent => "RECENT",
            StatusItem::UidNext => "UIDNEXT",
            StatusItem::UidValidity => "UIDVALIDITY",
            StatusItem::Unseen => "UNSEEN",
            StatusItem::HighestModSeq => "HIGHESTMODSEQ",
        }
    }
}
