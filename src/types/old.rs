//! Commands of IMAP2, IMAP2bis and RFC 1730 that later editions dropped and old programs still send
//! (RFC 1176, RFC 2061, RFC 2062).

use super::{FetchItem, Pattern};

/// PARTIAL: some octets of one item of one message (RFC 2062, section 6.4.OBS.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partial {
    /// The sequence number.
    pub number: u32,
    /// RFC822, RFC822.HEADER, RFC822.TEXT or a section, with or without PEEK and without a part of its own. The
    /// answer is that of FETCH, and does not say where the octets begin.
    pub item: FetchItem,
    /// The first octet, counted from 1.
    pub first: u32,
    /// How many octets.
    pub count: u32,
}

/// FIND: names that match a pattern of the old kind ([`Pattern::old`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Find {
    pub what: FindWhat,
    pub pattern: Pattern,
}

/// Which names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FindWhat {
    /// Subscribed mailboxes: LSUB with an empty reference (RFC 2062, section 6.3.OBS.2).
    Mailboxes,
    /// All mailboxes: LIST with an empty reference (RFC 2062, section 6.3.OBS.1).
    AllMailboxes,
    /// Bulletin boards, names for BBOARD (RFC 1176).
    BBoards,
}

impl FindWhat {
    /// All of them.
    pub const ALL: [FindWhat; 3] = [FindWhat::Mailboxes, FindWhat::AllMailboxes, FindWhat::BBoards];

    /// The word behind FIND as written on the wire.
    pub const fn wire(self) -> &'static str {
        match self {
            FindWhat::Mailboxes => "MAILBOXES",
            FindWhat::AllMailboxes => "ALL.MAILBOXES",
            FindWhat::BBoards => "BBOARDS",
        }
    }
}
