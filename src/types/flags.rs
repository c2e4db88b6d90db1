//! Flags and keywords (RFC 3501 §2.3.2). `\Recent` is not here: it belongs to a session, not to a message.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// The flags the RFC defines and a client may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SystemFlag {
    Answered = 1,
    Flagged = 2,
    Deleted = 4,
    Seen = 8,
    Draft = 16,
}

impl SystemFlag {
    /// All of them, in the order they are written.
    pub const ALL: [SystemFlag; 5] =
        [SystemFlag::Answered, SystemFlag::Flagged, SystemFlag::Deleted, SystemFlag::Seen, SystemFlag::Draft];

    /// The name as written on the wire, with its backslash.
    pub const fn wire(self) -> &'static str {
        match self {
            SystemFlag::Answered => "\\Answered",
            SystemFlag::Flagged => "\\Flagged",
            SystemFlag::Deleted => "\\Deleted",
            SystemFlag::Seen => "\\Seen",
            SystemFlag::Draft => "\\Draft",
        }
    }
}

/// A keyword: an atom that people and programs make up. Its case is kept and does not matter in comparisons.
#[derive(Debug, Clone)]
pub struct Keyword(Box<str>);

impl Keyword {
    /// Longest keyword taken, in octets.
    pub const MAX_OCTETS: usize = 255;

    /// `None` unless `name` is a flag-keyword of RFC 3501 §9 (an atom) of at most [`Keyword::MAX_OCTETS`].
    pub fn new(name: &str) -> Option<Self> {
        let is_atom =
            |b: u8| b > 0x20 && b < 0x7f && !matches!(b, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']');
        let fits = !name.is_empty() && name.len() <= Self::MAX_OCTETS && name.bytes().all(is_atom);
        fits.then(|| Keyword(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn folded(name: &str) -> impl Iterator<Item = u8> + '_ {
    name.bytes().map(|b| b.to_ascii_lowercase())
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}
impl Eq for Keyword {}
impl PartialOrd for Keyword {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Keyword {
    fn cmp(&self, other: &Self) -> Ordering {
        folded(&self.0).cmp(folded(&other.0))
    }
}
impl Hash for Keyword {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for b in folded(&self.0) {
            state.write_u8(b);
        }
        state.write_u8(0xff);
    }
}
impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One flag as a client writes it in STORE or APPEND.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    System(SystemFlag),
    Keyword(Keyword),
}

impl Flag {
    /// The flag of this name, a system flag in any case; `None`: there is none, `\Recent` and flag-extensions included.
    pub fn named(name: &str) -> Option<Flag> {
        let system = SystemFlag::ALL.into_iter().find(|flag| flag.wire().eq_ignore_ascii_case(name));
        system.map(Flag::System).or_else(|| Keyword::new(name).map(Flag::Keyword))
    }

    pub fn wire(&self) -> &str {
        match self {
            Flag::System(flag) => flag.wire(),
            Flag::Keyword(keyword) => keyword.as_str(),
        }
    }
}

/// The flags and keywords of one message. Keywords are sorted and distinct.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FlagSet {
    bits: u8,
    keywords: Vec<Keyword>,
}

impl FlagSet {
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a set together again from what [`FlagSet::bits`] and [`FlagSet::keywords`] gave.
    pub fn from_parts(bits: u8, mut keywords: Vec<Keyword>) -> Self {
        keywords.sort();
        keywords.dedup();
        FlagSet { bits: bits & 0x1f, keywords }
    }

    /// The system flags as the sum of [`SystemFlag`] values.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    pub fn keywords(&self) -> &[Keyword] {
        &self.keywords
    }

    pub fn is_empty(&self) -> bool {
        self.bits == 0 && self.keywords.is_empty()
    }

    pub fn has(&self, flag: SystemFlag) -> bool {
        self.bits & flag as u8 != 0
    }

    pub fn has_keyword(&self, keyword: &Keyword) -> bool {
        self.keywords.binary_search(keyword).is_ok()
    }

    /// Adds one flag. A keyword that is there already in other letters stays as it was written first.
    pub fn insert(&mut self, flag: Flag) {
        match flag {
            Flag::System(flag) => self.bits |= flag as u8,
            Flag::Keyword(keyword) => {
                if let Err(at) = self.keywords.binary_search(&keyword) {
                    self.keywords.insert(at, keyword);
                }
            }
        }
    }

    /// This set with all of `other` added.
    pub fn union(&self, other: &FlagSet) -> FlagSet {
        let mut sum = self.clone();
        sum.bits |= other.bits;
        for keyword in &other.keywords {
            sum.insert(Flag::Keyword(keyword.clone()));
        }
        sum
    }

    /// This set with all of `other` taken away.
    pub fn difference(&self, other: &FlagSet) -> FlagSet {
        let keywords = self.keywords.iter().filter(|k| !other.has_keyword(k)).cloned().collect();
        FlagSet { bits: self.bits & !other.bits, keywords }
    }

    /// The flags as they stand between the parentheses of `FLAGS (...)`.
    pub fn wire(&self) -> String {
        let system = SystemFlag::ALL.iter().filter(|f| self.has(**f)).map(|f| f.wire());
        let words: Vec<&str> = system.chain(self.keywords.iter().map(Keyword::as_str)).collect();
        words.join(" ")
    }
}

impl FromIterator<Flag> for FlagSet {
    fn from_iter<I: IntoIterator<Item = Flag>>(flags: I) -> Self {
        let mut set = FlagSet::new();
        for flag in flags {
            set.insert(flag);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyword(name: &str) -> Flag {
        Flag::Keyword(Keyword::new(name).expect("an atom"))
    }

    #[test]
    fn keywords_keep_their_first_case_and_match_in_any() {
        let set: FlagSet = [keyword("$Forwarded"), keyword("$forwarded"), keyword("Junk")].into_iter().collect();
        assert_eq!(set.wire(), "$Forwarded Junk");
        assert!(set.has_keyword(&Keyword::new("JUNK").expect("an atom")));
    }

    #[test]
    fn what_is_no_atom_is_no_keyword() {
        for bad in ["", "a b", "a]", "\\Seen", "ä", "a(", "%"] {
            assert!(Keyword::new(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn union_and_difference() {
        let a: FlagSet = [Flag::System(SystemFlag::Seen), keyword("x")].into_iter().collect();
        let b: FlagSet = [Flag::System(SystemFlag::Deleted), keyword("X"), keyword("y")].into_iter().collect();
        assert_eq!(a.union(&b).wire(), "\\Deleted \\Seen x y");
        assert_eq!(a.difference(&b).wire(), "\\Seen");
    }
}
