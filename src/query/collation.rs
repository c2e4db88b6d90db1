//! Collations (RFC 4790): how SORT and THREAD compare texts, and SEARCH for a client that asks for one.
//! Each is a function from a text to its key. Two keys compare octet by octet as the collation orders their texts,
//! are the same when it calls the texts equal, and one holds the other when it finds the one text in the other.
//! What SEARCH does without being asked is wider and lies in `fold.rs`.

use icu_casemap::CaseMapper;
use icu_normalizer::DecomposingNormalizerBorrowed;

/// How texts are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Collation {
    /// `i;octet`: the octets of the text in UTF-8 as they are.
    Octet,
    /// `i;ascii-casemap`: a to z are A to Z.
    AsciiCasemap,
    /// `i;unicode-casemap`: without regard to case and to compatibility forms, in all scripts.
    // RFC 5256 §7: what SORT and THREAD use when the client has not chosen.
    #[default]
    UnicodeCasemap,
}

impl Collation {
    /// All of them.
    pub const ALL: [Collation; 3] = [Collation::Octet, Collation::AsciiCasemap, Collation::UnicodeCasemap];

    /// The identifier as registered.
    pub const fn identifier(self) -> &'static str {
        match self {
            Collation::Octet => "i;octet",
            Collation::AsciiCasemap => "i;ascii-casemap",
            Collation::UnicodeCasemap => "i;unicode-casemap",
        }
    }

    /// The key of a text: at most 11 times its octets, and those of a text in ASCII exactly.
    pub fn key(self, text: &str) -> String {
        let mut key = String::with_capacity(text.len());
        self.key_onto(text, &mut key);
        key
    }

    /// Appends the key of `text` to `out`.
    pub fn key_onto(self, text: &str, out: &mut String) {
        match self {
            Collation::Octet => out.push_str(text),
            // RFC 4790 §9.2.1: small letters become capitals, in ASCII only.
            Collation::AsciiCasemap => push_capitals(text, out),
            Collation::UnicodeCasemap => push_unicode_casemap(text, out),
        }
    }
}

fn push_capitals(text: &str, out: &mut String) {
    let start = out.len();
    out.push_str(text);
    out[start..].make_ascii_uppercase();
}

// RFC 5051 §2: titlecase, then decompose. §4: where the letters of one sequence are put into canonical order, as
// NFKD does, that is allowed, and it makes texts alike that look alike.
fn push_unicode_casemap(text: &str, out: &mut String) {
    let mapper = CaseMapper::new();
    let normalizer = DecomposingNormalizerBorrowed::new_nfkd();
    let mut rest = text;
    while !rest.is_empty() {
        // A character of ASCII is its own decomposition, and no mark is ever moved before it: a run of them needs
        // no tables, and what lies between two runs can be decomposed alone.
        let plain = rest.bytes().position(|b| !b.is_ascii()).unwrap_or(rest.len());
        let (ascii, other) = rest.split_at(plain);
        push_capitals(ascii, out);
        let until = other.bytes().position(|b| b.is_ascii()).unwrap_or(other.len());
        let (other, behind) = other.split_at(until);
        let titles = other.chars().map(|character| mapper.simple_titlecase(character));
        out.extend(normalizer.normalize_iter(titles));
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Ordering;

    use Collation::{AsciiCasemap, Octet, UnicodeCasemap};

    #[test]
    fn keys() {
        let table = [
            ("", "", "", ""),
            ("Hello, World!", "Hello, World!", "HELLO, WORLD!", "HELLO, WORLD!"),
            // RFC 5051 §2, the example.
            ("\u{1c4}", "\u{1c4}", "\u{1c4}", "Dz\u{30c}"),
            ("\u{1c6}", "\u{1c6}", "\u{1c6}", "Dz\u{30c}"),
            ("na\u{ef}ve", "na\u{ef}ve", "NA\u{ef}VE", "NAI\u{308}VE"),
            ("nai\u{308}ve", "nai\u{308}ve", "NAI\u{308}VE", "NAI\u{308}VE"),
            // Simple mappings only: there is one character that has no capital of one character.
            ("Straße", "Straße", "STRAßE", "STRAßE"),
            // Decomposition comes after the case: the letters inside a ligature stay small.
            ("ﬁn", "ﬁn", "ﬁN", "fiN"),
            ("ｱ①½", "ｱ①½", "ｱ①½", "ア11⁄2"),
            ("Σίσυφος", "Σίσυφος", "Σίσυφος", "ΣΙ\u{301}ΣΥΦΟΣ"),
            ("ı ſ", "ı ſ", "ı ſ", "I S"),
            ("한", "한", "한", "\u{1112}\u{1161}\u{11ab}"),
            // Georgian has capitals, but its titlecase is the small letter.
            ("\u{10d0}", "\u{10d0}", "\u{10d0}", "\u{10d0}"),
            ("Nul\0", "Nul\0", "NUL\0", "NUL\0"),
        ];
        for (text, octet, ascii, unicode) in table {
            assert_eq!(Octet.key(text), octet, "{text}");
            assert_eq!(AsciiCasemap.key(text), ascii, "{text}");
            assert_eq!(UnicodeCasemap.key(text), unicode, "{text}");
        }
    }

    #[test]
    fn order() {
        let compare =
            |collation: Collation, a: &str, b: &str| collation.key(a).as_bytes().cmp(collation.key(b).as_bytes());
        // RFC 4790 §9.3.1: the empty string first, a beginning before what goes on.
        assert_eq!(compare(Octet, "", "a"), Ordering::Less);
        assert_eq!(compare(Octet, "a", "a\0"), Ordering::Less);
        assert_eq!(compare(Octet, "a", "B"), Ordering::Greater);
        assert_eq!(compare(AsciiCasemap, "a", "B"), Ordering::Less);
        assert_eq!(compare(AsciiCasemap, "hello", "HELLO"), Ordering::Equal);
        // Capitals, not small letters: what lies between Z and a comes behind the letters.
        assert_eq!(compare(AsciiCasemap, "a", "_"), Ordering::Less);
        assert_eq!(compare(UnicodeCasemap, "ä", "B"), Ordering::Less);
        assert_eq!(compare(UnicodeCasemap, "Ä", "ä"), Ordering::Equal);
        // RFC 5255 §4.6, the example: (4) before (2).
        assert_eq!(compare(UnicodeCasemap, "Алексей", "сЕРГЕЙ"), Ordering::Less);
        // UTF-8 keeps the order of code points beyond the first plane.
        assert_eq!(compare(UnicodeCasemap, "\u{ffff}", "\u{10000}"), Ordering::Less);
    }

    #[test]
    fn every_character_has_a_key() {
        for character in '\0'..=char::MAX {
            let text = character.to_string();
            for collation in Collation::ALL {
                let key = collation.key(&text);
                assert!(!key.is_empty() && key.len() <= 11 * text.len(), "{character:?} {}", collation.identifier());
            }
        }
    }

    /// The whole text at once, without a look at what is ASCII.
    fn plainly(text: &str) -> String {
        let titles = text.chars().map(|character| CaseMapper::new().simple_titlecase(character));
        DecomposingNormalizerBorrowed::new_nfkd().normalize_iter(titles).collect()
    }

    proptest! {
        #[test]
        fn the_fast_way_is_the_plain_way(text in "([a-zA-Z ]|[\u{300}-\u{345}]|[à-ž]|\\PC){0,30}") {
            prop_assert_eq!(UnicodeCasemap.key(&text), plainly(&text));
        }

        #[test]
        fn a_text_in_another_case_has_the_same_key(text in "[\\p{Lu}\\p{Lt}\\p{Ll}]{0,30}") {
            let other: String = text.chars().map(|c| CaseMapper::new().simple_titlecase(c)).collect();
            prop_assert_eq!(UnicodeCasemap.key(&text), UnicodeCasemap.key(&other));
            prop_assert_eq!(AsciiCasemap.key(&text), AsciiCasemap.key(&text.to_ascii_lowercase()));
        }

        #[test]
        fn keys_are_their_own(text in "\\PC{0,30}") {
            for collation in [Octet, AsciiCasemap] {
                prop_assert_eq!(collation.key(&collation.key(&text)), collation.key(&text));
            }
            // Not so i;unicode-casemap, which decomposes after it has cased; but what it gives is decomposed.
            let key = UnicodeCasemap.key(&text);
            prop_assert!(DecomposingNormalizerBorrowed::new_nfkd().is_normalized(&key));
        }

        // RFC 4790 §4.2.3: a text is found where its key is found.
        #[test]
        fn words_are_found(before in "[a-zA-Zà-ž ]{0,9}", word in "[a-zA-Zà-ž]{1,9}", behind in "[a-zA-Zà-ž ]{0,9}") {
            let text = format!("{before}{word}{behind}");
            for collation in Collation::ALL {
                prop_assert!(collation.key(&text).contains(&collation.key(&word)));
            }
            let capitals: String = word.chars().map(|c| CaseMapper::new().simple_titlecase(c)).collect();
            prop_assert!(UnicodeCasemap.key(&text).contains(&UnicodeCasemap.key(&capitals)));
        }
    }
}
