//! Folding for substring search: compatibility forms apart, case gone, blanks in a row one space.
//! Text and needle go through the same function, so that what looks alike is found.

use icu_casemap::CaseMapper;
use icu_normalizer::DecomposingNormalizerBorrowed;

/// Folds a text: NFKD, then case folding; every run of white space becomes one space, because where a line ends
/// is an accident of how a message was written.
pub fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    fold_onto(text, &mut out);
    out
}

/// Appends the folded `text` to `out`. A run of white space that begins in `out` goes on.
pub fn fold_onto(text: &str, out: &mut String) {
    let mut rest = text;
    while !rest.is_empty() {
        // Most mail is ASCII most of the time; a piece of it needs no tables.
        let plain = rest.bytes().position(|b| !b.is_ascii()).unwrap_or(rest.len());
        // A letter may combine with what follows it, so the last one goes with the rest.
        let plain = if plain == rest.len() { plain } else { plain.saturating_sub(1) };
        let (ascii, other) = rest.split_at(plain);
        for b in ascii.bytes() {
            push(out, char::from(b.to_ascii_lowercase()));
        }
        let until = other.bytes().skip(1).position(|b| b.is_ascii()).map_or(other.len(), |at| at + 1);
        let (other, behind) = other.split_at(until);
        if !other.is_empty() {
            let apart = DecomposingNormalizerBorrowed::new_nfkd().normalize(other);
            CaseMapper::new().fold_string(&apart).chars().for_each(|character| push(out, character));
        }
        rest = behind;
    }
}

fn push(out: &mut String, character: char) {
    if !character.is_whitespace() {
        out.push(character);
    } else if !out.ends_with(' ') {
        out.push(' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_looks_alike_is_alike() {
        let pairs = [
            ("HELLO", "hello"),
            ("Straße", "STRASSE"),
            ("ﬁne", "FINE"),
            ("Ｆｕｌｌ", "full"),
            ("cafe\u{301}", "CAFÉ"),
            ("a \r\n\t b", "A b"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("日本", "日本"),
        ];
        for (a, b) in pairs {
            assert_eq!(fold(a), fold(b), "{a} {b}");
        }
        assert_ne!(fold("a b"), fold("ab"));
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,40}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }

        #[test]
        fn ascii_is_the_same_by_both_ways(text in "[ -~]{0,40}") {
            let collapsed = text.split(' ').enumerate().fold(String::new(), |mut sum, (at, word)| {
                if at > 0 && !sum.ends_with(' ') { sum.push(' ') }
                sum + word
            });
            prop_assert_eq!(fold(&text), collapsed.to_ascii_lowercase());
        }
    }
}
