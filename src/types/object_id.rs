//! Object identifiers of mailboxes, messages and threads (RFC 8474). What they are made of is for others to say.

use std::fmt;

/// An object identifier: 1 to 255 letters, digits, `_` and `-`. Case matters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(Box<str>);

impl ObjectId {
    /// Longest identifier, in octets.
    pub const MAX_OCTETS: usize = 255;

    /// `None` unless `text` is an objectid of RFC 8474 §7.
    pub fn new(text: &str) -> Option<ObjectId> {
        let fits = (1..=Self::MAX_OCTETS).contains(&text.len()) && text.bytes().all(ObjectId::is_octet);
        fits.then(|| ObjectId(text.into()))
    }

    /// True for an octet an identifier may hold.
    pub const fn is_octet(b: u8) -> bool {
        b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_letters_digits_and_two_marks() {
        assert_eq!(ObjectId::new("M_6-d9").as_ref().map(ObjectId::as_str), Some("M_6-d9"));
        assert_ne!(ObjectId::new("m1"), ObjectId::new("M1"));
        assert!(ObjectId::new(&"x".repeat(255)).is_some());
        for bad in ["", "a b", "a.b", "ä", "(x)", &"x".repeat(256)] {
            assert_eq!(ObjectId::new(bad), None, "{bad}");
        }
    }
}
