//! Mailbox names with wildcards, as LIST and LSUB ask with them (RFC 3501 §6.3.8).
//! A pattern is matched in time proportional to the name, whatever wildcards it holds.

/// A mailbox name with wildcards: `*` is anything, `%` is anything within one level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    tokens: Vec<Token>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Octet(u8),
    /// `*`
    Any,
    /// `%`
    AnyInLevel,
    /// `?`, and `%` in patterns of the old kind: one character, whatever it is.
    AnyOne,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Names,
    Root,
    Nothing,
}

impl Pattern {
    /// Reads the two arguments of LIST, decoded. The pattern is the one text put behind the other
    /// (RFC 3501 §6.3.8); wildcards count in `mailbox` only. An empty `mailbox` asks for the root.
    pub fn new(reference: &str, mailbox: &str) -> Pattern {
        if mailbox.is_empty() {
            return Pattern { tokens: Vec::new(), kind: Kind::Root };
        }
        let mut tokens: Vec<Token> = reference.bytes().map(Token::Octet).collect();
        for b in mailbox.bytes() {
            let last = tokens.last_mut();
            match (b, last) {
                // Wildcards in a row are one: `*` if there is a `*` among them (`*%` is what Emacs sends), else `%`.
                (b'*', Some(last @ (Token::Any | Token::AnyInLevel))) => *last = Token::Any,
                (b'%', Some(Token::Any | Token::AnyInLevel)) => {}
                (b'*', _) => tokens.push(Token::Any),
                (b'%', _) => tokens.push(Token::AnyInLevel),
                (b, _) => tokens.push(Token::Octet(b)),
            }
        }
        Pattern { tokens, kind: Kind::Names }
    }

    /// Reads a pattern of FIND, decoded: `*` is anything, `%` and `?` are a single character (RFC 2062, section
    /// 6.3.OBS.1). An empty one matches nothing.
    pub fn old(mailbox: &str) -> Pattern {
        let mut tokens = Vec::with_capacity(mailbox.len());
        for b in mailbox.bytes() {
            match (b, tokens.last()) {
                (b'*', Some(Token::Any)) => {}
                (b'*', _) => tokens.push(Token::Any),
                (b'%' | b'?', _) => tokens.push(Token::AnyOne),
                (b, _) => tokens.push(Token::Octet(b)),
            }
        }
        let kind = if tokens.is_empty() { Kind::Nothing } else { Kind::Names };
        Pattern { tokens, kind }
    }

    /// The pattern no mailbox matches: what a pattern in a broken encoding stands for.
    pub fn nothing() -> Pattern {
        Pattern { tokens: Vec::new(), kind: Kind::Nothing }
    }

    /// `LIST "" ""`: the client asks for the separator and the root, not for mailboxes.
    pub fn asks_for_root(&self) -> bool {
        self.kind == Kind::Root
    }

    /// The text all matching names begin with, up to the first wildcard; a shortcut for walking a sorted list.
    /// Not to be used when it is a prefix of INBOX in other letters: that one matches in any case.
    pub fn fixed_prefix(&self) -> Vec<u8> {
        self.tokens.iter().map_while(|t| if let Token::Octet(b) = t { Some(*b) } else { None }).collect()
    }

    /// Makes it ready to be matched against many names.
    pub fn matcher(&self) -> Matcher {
        Matcher::new(self)
    }

    /// True when `name` (decoded, canonical) matches. For more than a few names use [`Pattern::matcher`].
    pub fn matches(&self, name: &str) -> bool {
        self.matcher().matches(name)
    }
}

/// A pattern as a machine that is in many states at once, one bit each: bit `i` is set while the first `i`
/// tokens fit what was read so far. Each octet of a name costs one pass over the bits, and nothing ever goes back.
#[derive(Debug, Clone)]
pub struct Matcher {
    words: usize,
    accepted: usize,
    /// For each octet that occurs, the states that read it. Octets that do not occur read index 0, all zero.
    of_octet: Vec<u64>,
    index: Box<[u16; 256]>,
    any: Vec<u64>,
    any_in_level: Vec<u64>,
    any_one: Vec<u64>,
    /// The states behind those: they read the rest of a character of several octets.
    behind_one: Vec<u64>,
    is_names: bool,
    states: Vec<u64>,
}

impl Matcher {
    fn new(pattern: &Pattern) -> Matcher {
        let words = pattern.tokens.len() / 64 + 1;
        let mut matcher = Matcher {
            words,
            accepted: pattern.tokens.len(),
            of_octet: vec![0; words],
            index: Box::new([0; 256]),
            any: vec![0; words],
            any_in_level: vec![0; words],
            any_one: vec![0; words],
            behind_one: vec![0; words],
            is_names: pattern.kind == Kind::Names,
            states: vec![0; words],
        };
        for (i, token) in pattern.tokens.iter().enumerate() {
            let (word, bit) = (i / 64, 1u64 << (i % 64));
            match token {
                Token::Octet(b) => {
                    let index = &mut matcher.index[usize::from(*b)];
                    if *index == 0 {
                        *index = (matcher.of_octet.len() / words) as u16;
                        matcher.of_octet.resize(matcher.of_octet.len() + words, 0);
                    }
                    matcher.of_octet[usize::from(*index) * words + word] |= bit;
                }
                Token::Any => matcher.any[word] |= bit,
                Token::AnyInLevel => matcher.any_in_level[word] |= bit,
                Token::AnyOne => {
                    matcher.any_one[word] |= bit;
                    matcher.behind_one[(i + 1) / 64] |= 1 << ((i + 1) % 64);
                }
            }
        }
        matcher
    }

    /// True when `name` (decoded, canonical) matches.
    pub fn matches(&mut self, name: &str) -> bool {
        if !self.is_names {
            return false;
        }
        self.states.fill(0);
        self.states[0] = 1;
        self.skip_wildcards();
        // RFC 3501 §5.1: INBOX is the same in any case, as the first level of a name too.
        let caseless = if name == "INBOX" || name.starts_with("INBOX/") { 5 } else { 0 };
        for (at, b) in name.bytes().enumerate() {
            let other = if at < caseless { b.to_ascii_lowercase() } else { b };
            if !self.step(b, other) {
                return false;
            }
        }
        self.states[self.accepted / 64] & (1 << (self.accepted % 64)) != 0
    }

    /// Reads one octet that may also be taken for `other`. False when no state is left.
    fn step(&mut self, b: u8, other: u8) -> bool {
        let masks = usize::from(self.index[usize::from(b)]) * self.words;
        let other_masks = usize::from(self.index[usize::from(other)]) * self.words;
        let (mut carry, mut alive) = (0, 0);
        for w in 0..self.words {
            let states = self.states[w];
            let mut read = states & (self.of_octet[masks + w] | self.of_octet[other_masks + w]);
            let mut stay = states & self.any[w];
            // A name is whole UTF-8, so an octet 10xxxxxx follows the first of its character at once.
            if b & 0xc0 == 0x80 {
                stay |= states & self.behind_one[w];
            } else {
                read |= states & self.any_one[w];
            }
            if b != b'/' {
                stay |= states & self.any_in_level[w];
            }
            self.states[w] = (read << 1) | carry | stay;
            carry = read >> 63;
            alive |= self.states[w];
        }
        self.skip_wildcards();
        alive != 0
    }

    /// A wildcard may stand for nothing. One step is enough: no two wildcards are neighbours.
    fn skip_wildcards(&mut self) {
        let mut carry = 0;
        for w in 0..self.words {
            let wild = self.states[w] & (self.any[w] | self.any_in_level[w]);
            self.states[w] |= (wild << 1) | carry;
            carry = wild >> 63;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new("", pattern).matches(name)
    }

    #[test]
    fn wildcards() {
        let yes = [
            ("*", "a/b/c"),
            ("%", "a"),
            ("a/%", "a/b"),
            ("*%", "a/b"),
            ("%*", "a/b"),
            ("a*c", "a/b/c"),
            ("%/%", "a/b"),
        ];
        for (pattern, name) in yes {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        let no = [("%", "a/b"), ("a/%", "a"), ("a/%", "a/b/c"), ("A", "a"), ("a", "ab"), ("%%", "a/b"), ("a%c", "a/c")];
        for (pattern, name) in no {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn inbox_matches_in_any_case_and_nothing_else_does() {
        for pattern in ["inbox", "iNbOx", "INBOX", "in*", "%", "*ox"] {
            assert!(matches(pattern, "INBOX"), "{pattern}");
        }
        assert!(matches("inbox/%", "INBOX/Sub"));
        assert!(!matches("inbox/sub", "INBOX/Sub"));
        assert!(!matches("inboxes", "INBOXES"));
    }

    #[test]
    fn the_reference_is_a_prefix_without_wildcards() {
        assert!(Pattern::new("a/", "%").matches("a/b"));
        assert!(Pattern::new("*", "%").matches("*b"));
        assert!(!Pattern::new("*", "%").matches("ab"));
        assert!(Pattern::new("a/", "").asks_for_root() && !Pattern::new("", "").matches(""));
        assert!(!Pattern::nothing().matches("INBOX"));
        assert_eq!(Pattern::new("a/", "b%c").fixed_prefix(), b"a/b");
    }

    #[test]
    fn many_wildcards_cost_no_more_than_the_name_is_long() {
        // Backtracking over this would outlive us; see also the property below.
        let pattern = Pattern::new("", &"%a*b".repeat(250));
        let name = "ab/".repeat(300);
        let mut matcher = pattern.matcher();
        for _ in 0..100 {
            assert!(!matcher.matches(&name));
        }
    }

    /// The definition, by recursion.
    fn by_definition(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some((b'*', rest)), _) => (0..=name.len()).any(|n| by_definition(rest, &name[n..])),
            (Some((b'%', rest)), _) => {
                let level = name.iter().position(|b| *b == b'/').unwrap_or(name.len());
                (0..=level).any(|n| by_definition(rest, &name[n..]))
            }
            (Some((p, pattern)), Some((n, name))) => p == n && by_definition(pattern, name),
            (Some(_), None) => false,
        }
    }

    #[test]
    fn old_patterns() {
        let matches = |pattern: &str, name: &str| Pattern::old(pattern).matches(name);
        for (pattern, name) in
            [("FOO*BAR", "FOOD/ON/BAR"), ("FOO%BAR", "FOO.BAR"), ("?", "ü"), ("a?c*", "a/c"), ("*", "x")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("FOO%BAR", "FOOBAR"), ("?", "ab"), ("??", "ü"), ("?", ""), ("", "a"), ("%", "a/b")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        assert!(matches("in?ox", "INBOX"));
        assert_eq!(Pattern::old("a?b").fixed_prefix(), b"a");
    }

    /// The definition for patterns of the old kind, by recursion over characters.
    fn old_by_definition(pattern: &[char], name: &[char]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, _) => name.is_empty(),
            (Some(('*', rest)), _) => (0..=name.len()).any(|n| old_by_definition(rest, &name[n..])),
            (Some(('?' | '%', pattern)), Some((_, name))) => old_by_definition(pattern, name),
            (Some((p, pattern)), Some((n, name))) => p == n && old_by_definition(pattern, name),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn old_patterns_agree_with_their_definition(fill in 0usize..80, pattern in "[ab/%*?ü€]{1,9}", name in "[ab/ü€😀]{0,9}") {
            let (pattern, name) = ("x".repeat(fill) + &pattern, "x".repeat(fill) + &name);
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(Pattern::old(&pattern).matches(&name), old_by_definition(&chars(&pattern), &chars(&name)));
        }

        #[test]
        fn agrees_with_the_definition(pattern in "[ab/%*]{1,9}", name in "[ab/]{0,9}") {
            prop_assert_eq!(matches(&pattern, &name), by_definition(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn long_patterns_agree_too(fill in 50usize..80, tail in "[ab%*]{1,6}", name in "[ab]{0,6}") {
            let (pattern, name) = ("x".repeat(fill) + &tail, "x".repeat(fill) + &name);
            prop_assert_eq!(matches(&pattern, &name), by_definition(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
