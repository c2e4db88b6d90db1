//! What may be a user name, and its one form in the directory.

use std::fmt;

/// Longest user name, in octets.
pub const MOST_NAME_OCTETS: usize = 255;

/// Why a text is no user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadUserName {
    Empty,
    TooLong,
    /// A control character, a space or a slash.
    Character,
    /// `.` or `..`, or nothing before or behind an `@`.
    Form,
}

impl fmt::Display for BadUserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadUserName::Empty => f.write_str("a user name cannot be empty"),
            BadUserName::TooLong => write!(f, "a user name has at most {MOST_NAME_OCTETS} octets"),
            BadUserName::Character => f.write_str("a user name has no spaces, slashes or control characters"),
            BadUserName::Form => f.write_str("a user name is written \"user\" or \"user@domain\""),
        }
    }
}

/// The one form of a name: in lower case, within bounds, usable nowhere as a path of its own.
pub fn canonical_name(name: &str) -> Result<String, BadUserName> {
    // Bounded before any work: the name comes from strangers. Lower case may be longer, so it is checked again.
    if name.len() > MOST_NAME_OCTETS {
        return Err(BadUserName::TooLong);
    }
    let name = name.to_lowercase();
    if name.is_empty() {
        return Err(BadUserName::Empty);
    }
    if name.len() > MOST_NAME_OCTETS {
        return Err(BadUserName::TooLong);
    }
    if name.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | '\\' | '\u{fffd}')) {
        return Err(BadUserName::Character);
    }
    let (local, domain) = match name.split_once('@') {
        Some((local, domain)) => (local, Some(domain)),
        None => (name.as_str(), None),
    };
    let is_whole = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('@');
    if !is_whole(local) || domain.is_some_and(|domain| !is_whole(domain)) {
        return Err(BadUserName::Form);
    }
    Ok(name)
}
