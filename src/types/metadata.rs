//! Names of annotations (RFC 5464 §3.2).

use std::fmt;

/// The name of an annotation, `/private/comment`. Its case is kept and does not matter in comparisons.
#[derive(Debug, Clone)]
pub struct EntryName(Box<str>);

impl EntryName {
    /// Longest name, in octets.
    pub const MAX_OCTETS: usize = 1000;

    /// `None` unless `text` is a name of RFC 5464 §3.2: levels of printable ASCII without wildcards, the first of
    /// them `private` or `shared`, none of them empty, at least two.
    pub fn new(text: &str) -> Option<EntryName> {
        let levels = text.strip_prefix('/')?;
        let (scope, rest) = levels.split_once('/')?;
        let is_scope = scope.eq_ignore_ascii_case("private") || scope.eq_ignore_ascii_case("shared");
        let is_plain = |b: u8| (0x20..0x7f).contains(&b) && b != b'*' && b != b'%';
        let fits = text.len() <= Self::MAX_OCTETS && text.bytes().all(is_plain);
        let is_name = is_scope && fits && rest.split('/').all(|level| !level.is_empty());
        is_name.then(|| EntryName(text.into()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when every user has a value of his own.
    pub fn is_private(&self) -> bool {
        self.0.as_bytes().get(1).is_some_and(|b| b.eq_ignore_ascii_case(&b'p'))
    }
}

impl PartialEq for EntryName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}
impl Eq for EntryName {}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let name = |text| EntryName::new(text).expect(text);
        assert_eq!(name("/shared/comment"), name("/SHARED/Comment"));
        assert!(name("/Private/vendor/pillarbox/color").is_private() && !name("/shared/x").is_private());
        assert_eq!(name("/shared/a b").as_str(), "/shared/a b");
        let bad = ["", "/", "/shared", "/shared/", "/shared//x", "/shared/x/", "shared/x", "/public/x", "//shared/x"];
        for bad in bad {
            assert!(EntryName::new(bad).is_none(), "{bad}");
        }
        for bad in ["/shared/*", "/shared/a%", "/shared/ä", "/shared/\u{1}", "/shared/\u{7f}"] {
            assert!(EntryName::new(bad).is_none(), "{bad}");
        }
        assert!(EntryName::new(&format!("/shared/{}", "x".repeat(1000))).is_none());
    }
}
