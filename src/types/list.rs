//! LIST, LSUB and XLIST (RFC 3501 §6.3.8).

use super::Pattern;

/// LIST and XLIST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// It was asked as XLIST, and is answered so: LIST of an old Outlook.
    pub is_xlist: bool,
    /// At least one; a mailbox is listed when it matches any.
    pub patterns: Vec<Pattern>,
}

/// LSUB (RFC 3501 §6.3.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lsub {
    pub pattern: Pattern,
}

/// The word a mailbox is told with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListWord {
    List,
    Lsub,
    Xlist,
}

impl ListWord {
    pub const fn wire(self) -> &'static str {
        match self {
            ListWord::List => "LIST",
            ListWord::Lsub => "LSUB",
            ListWord::Xlist => "XLIST",
        }
    }
}
