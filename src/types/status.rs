//! STATUS, its items and their values (RFC 3501 §6.3.10).

use super::{MailboxArgument, ObjectId};

/// The STATUS command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub mailbox: MailboxArgument,
    /// In the order asked, at least one.
    pub items: Vec<StatusItem>,
}

impl Status {
    /// Most items in one list.
    pub const MAX_ITEMS: usize = 64;
}

/// One thing STATUS can tell of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    /// RFC 7162 §3.1.7
    HighestModSeq,
    /// Octets of all messages together, or somewhat more (RFC 8438 §3).
    Size,
    /// Messages with `\Deleted` (RFC 9208 §4.1.4).
    Deleted,
    /// Octets that expunging them would free.
    DeletedStorage,
    /// Octets of the largest message that may be appended; NIL when there is no bound (RFC 7889 §3.1).
    AppendLimit,
    /// RFC 8474 §4.3
    MailboxId,
}

/// The value of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusValue {
    /// Below 2^63.
    Number(u64),
    Nil,
    Id(ObjectId),
}

impl StatusItem {
    /// All of them.
    pub const ALL: [StatusItem; 11] = [
        StatusItem::Messages,
        StatusItem::Recent,
        StatusItem::UidNext,
        StatusItem::UidValidity,
        StatusItem::Unseen,
        StatusItem::HighestModSeq,
        StatusItem::Size,
        StatusItem::Deleted,
        StatusItem::DeletedStorage,
        StatusItem::AppendLimit,
        StatusItem::MailboxId,
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
            StatusItem::Size => "SIZE",
            StatusItem::Deleted => "DELETED",
            StatusItem::DeletedStorage => "DELETED-STORAGE",
            StatusItem::AppendLimit => "APPENDLIMIT",
            StatusItem::MailboxId => "MAILBOXID",
        }
    }
}
