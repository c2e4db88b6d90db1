//! What a mailbox is for: the special uses of RFC 6154 and of the documents that add to them.

use std::fmt;

/// One special use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpecialUse {
    All,
    Archive,
    Drafts,
    Flagged,
    Junk,
    Sent,
    Trash,
    /// RFC 8457
    Important,
    // RFC 9979: registered there without a backslash, but in LIST nothing else can stand.
    Memos,
    Scheduled,
    Snoozed,
}

impl SpecialUse {
    /// All of them.
    pub const ALL: [SpecialUse; 11] = [
        SpecialUse::All,
        SpecialUse::Archive,
        SpecialUse::Drafts,
        SpecialUse::Flagged,
        SpecialUse::Junk,
        SpecialUse::Sent,
        SpecialUse::Trash,
        SpecialUse::Important,
        SpecialUse::Memos,
        SpecialUse::Scheduled,
        SpecialUse::Snoozed,
    ];

    /// The attribute as written on the wire, with its backslash.
    pub const fn wire(self) -> &'static str {
        match self {
            SpecialUse::All => "\\All",
            SpecialUse::Archive => "\\Archive",
            SpecialUse::Drafts => "\\Drafts",
            SpecialUse::Flagged => "\\Flagged",
            SpecialUse::Junk => "\\Junk",
            SpecialUse::Sent => "\\Sent",
            SpecialUse::Trash => "\\Trash",
            SpecialUse::Important => "\\Important",
            SpecialUse::Memos => "\\Memos",
            SpecialUse::Scheduled => "\\Scheduled",
            SpecialUse::Snoozed => "\\Snoozed",
        }
    }

    /// The use an attribute names, in any case; `None` for one that nobody has defined.
    pub fn from_wire(attribute: &str) -> Option<SpecialUse> {
        SpecialUse::ALL.into_iter().find(|known| attribute.eq_ignore_ascii_case(known.wire()))
    }
}

/// An attribute that is none of them, as the client wrote it. No syntax error: it is answered NO (RFC 6154 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownUse(pub String);

impl fmt::Display for UnknownUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a use a mailbox can have", self.0)
    }
}

impl std::error::Error for UnknownUse {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back_in_any_case() {
        for known in SpecialUse::ALL {
            assert_eq!(SpecialUse::from_wire(known.wire()), Some(known));
            assert_eq!(SpecialUse::from_wire(&known.wire().to_uppercase()), Some(known));
        }
        for unknown in ["Sent", "\\Inbox", "\\", "", "\\HasChildren"] {
            assert_eq!(SpecialUse::from_wire(unknown), None, "{unknown}");
        }
    }
}
