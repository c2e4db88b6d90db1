//! A mailbox name as this server keeps it: Unicode text, `/` between levels, INBOX in capitals.

use std::fmt;

/// A valid, canonical mailbox name. `INBOX` as the first level is always in capitals (RFC 3501 §5.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxName(Box<str>);

/// Why a text is no mailbox name; the text is a sentence for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadMailboxName {
    Empty,
    TooLong,
    TooDeep,
    EmptyLevel,
    ControlCharacter,
    /// Not in the strict form of modified UTF-7 (RFC 3501 §5.1.3), or not UTF-8 where that is spoken.
    Encoding,
}

impl fmt::Display for BadMailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadMailboxName::Empty => f.write_str("a mailbox name cannot be empty"),
            BadMailboxName::TooLong => write!(f, "a mailbox name has at most {} octets", MailboxName::MAX_OCTETS),
            BadMailboxName::TooDeep => write!(f, "a mailbox name has at most {} levels", MailboxName::MAX_LEVELS),
            BadMailboxName::EmptyLevel => f.write_str("a mailbox name has no empty level between two \"/\""),
            BadMailboxName::ControlCharacter => f.write_str("a mailbox name has no control characters"),
            BadMailboxName::Encoding => {
                f.write_str("the mailbox name is not in modified UTF-7, nor in UTF-8 where that was enabled")
            }
        }
    }
}

impl std::error::Error for BadMailboxName {}

impl MailboxName {
    /// What stands between two levels, in every namespace.
    pub const SEPARATOR: char = '/';
    /// Longest name in octets of UTF-8.
    pub const MAX_OCTETS: usize = 1000;
    /// Most levels of one name.
    pub const MAX_LEVELS: usize = 100;

    /// Reads a decoded name. One separator at the end is dropped: clients write it to say that
    /// children are to follow (RFC 3501 §6.3.3).
    pub fn new(text: &str) -> Result<Self, BadMailboxName> {
        let text = text.strip_suffix(Self::SEPARATOR).unwrap_or(text);
        if text.is_empty() {
            return Err(BadMailboxName::Empty);
        }
        if text.len() > Self::MAX_OCTETS {
            return Err(BadMailboxName::TooLong);
        }
        if text.chars().any(|c| c.is_control() || c == '\u{2028}' || c == '\u{2029}') {
            return Err(BadMailboxName::ControlCharacter);
        }
        let mut levels = text.split(Self::SEPARATOR);
        if levels.clone().any(str::is_empty) {
            return Err(BadMailboxName::EmptyLevel);
        }
        if levels.clone().count() > Self::MAX_LEVELS {
            return Err(BadMailboxName::TooDeep);
        }
        let first = levels.next().unwrap_or("");
        if first.eq_ignore_ascii_case("INBOX") {
            return Ok(MailboxName(format!("INBOX{}", &text[5..]).into()));
        }
        Ok(MailboxName(text.into()))
    }

    pub fn inbox() -> Self {
        MailboxName("INBOX".into())
    }

    pub fn is_inbox(&self) -> bool {
        &*self.0 == "INBOX"
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels from the root down.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split(Self::SEPARATOR)
    }

    /// The last level.
    pub fn leaf(&self) -> &str {
        self.0.rsplit(Self::SEPARATOR).next().unwrap_or(&self.0)
    }

    /// The name one level up, if there is one.
    pub fn parent(&self) -> Option<MailboxName> {
        self.0.rfind(Self::SEPARATOR).map(|at| MailboxName(self.0[..at].into()))
    }

    /// True when this name lies somewhere below `other`.
    pub fn is_below(&self, other: &MailboxName) -> bool {
        self.0.len() > other.0.len() && self.0.starts_with(&*other.0) && self.0.as_bytes()[other.0.len()] == b'/'
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbox_is_always_in_capitals() {
        assert_eq!(MailboxName::new("inBoX").map(|n| n.to_string()), Ok("INBOX".into()));
        assert_eq!(MailboxName::new("inbox/Sub").map(|n| n.to_string()), Ok("INBOX/Sub".into()));
        assert_eq!(MailboxName::new("inboxes").map(|n| n.to_string()), Ok("inboxes".into()));
    }

    #[test]
    fn what_is_no_name_says_why() {
        assert_eq!(MailboxName::new(""), Err(BadMailboxName::Empty));
        assert_eq!(MailboxName::new("/"), Err(BadMailboxName::Empty));
        assert_eq!(MailboxName::new("a//b"), Err(BadMailboxName::EmptyLevel));
        assert_eq!(MailboxName::new("/a"), Err(BadMailboxName::EmptyLevel));
        assert_eq!(MailboxName::new("a\u{0}b"), Err(BadMailboxName::ControlCharacter));
        assert_eq!(MailboxName::new(&"x".repeat(1001)), Err(BadMailboxName::TooLong));
        assert_eq!(MailboxName::new(&vec!["x"; 101].join("/")), Err(BadMailboxName::TooDeep));
        assert_eq!(MailboxName::new("Foo/").map(|n| n.to_string()), Ok("Foo".into()));
    }

    #[test]
    fn below_means_a_whole_level() {
        let name = |s| MailboxName::new(s).expect("a name");
        assert!(name("a/b").is_below(&name("a")));
        assert!(!name("ab").is_below(&name("a")));
        assert_eq!(name("a/b/c").parent(), Some(name("a/b")));
        assert_eq!(name("a/b/c").leaf(), "c");
    }
}
