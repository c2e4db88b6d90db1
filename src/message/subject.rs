//! The base subject of RFC 5256 §2.1: what is left when "Re:", "Fwd:", "(fwd)" and list tags are gone.
//! The RFC describes a loop over the text; here two bounds move inwards instead, so any subject costs one pass.

use super::words::decode_header_value;

/// Longest base subject kept, in octets of UTF-8.
pub const BASE_SUBJECT_OCTETS: usize = 4096;

/// A subject made ready for sorting and threading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BaseSubject {
    /// Case is kept: comparing is the business of the collation.
    pub text: String,
    /// Something that marks a reply or a forward was taken away.
    pub is_reply: bool,
}

/// Derives the base subject of a Subject field's raw value.
pub fn base_subject(raw: &[u8]) -> BaseSubject {
    base_of(&spaced(&decode_header_value(raw)))
}

// RFC 5256 §2.1 (1): tabs and continuations to spaces, several spaces to one.
fn spaced(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let character = if matches!(character, '\t' | '\r' | '\n') { ' ' } else { character };
        if character != ' ' || !out.ends_with(' ') {
            out.push(character);
        }
    }
    out
}

fn base_of(subject: &str) -> BaseSubject {
    let mut text = subject.as_bytes();
    let mut is_reply = false;
    loop {
        // (2) subj-trailer = "(fwd)" / WSP, as often as it comes.
        loop {
            if let Some(shorter) = strip_end(text, b"(fwd)") {
                is_reply = true;
                text = shorter;
            } else if let [shorter @ .., b' '] = text {
                text = shorter;
            } else {
                break;
            }
        }
        // (3) to (5). All blobs in a row are passed at once: looking for "re:" behind them after each one
        // that (4) removes would find the same place again and cost a square.
        loop {
            text = trim_spaces(text);
            let after_blobs = skip_blobs(text);
            if let Some(rest) = strip_refwd(after_blobs) {
                is_reply = true;
                text = rest;
            } else if after_blobs.len() < text.len() {
                text = if after_blobs.is_empty() { last_blob(text) } else { after_blobs };
                break;
            } else {
                break;
            }
        }
        // (6) "[fwd:" ... "]"
        match strip_start(text, b"[fwd:").and_then(|inner| strip_end(inner, b"]")) {
            Some(inner) => {
                is_reply = true;
                text = inner;
            }
            None => break,
        }
    }
    // Only whole ASCII pieces were cut off, so what is left is still UTF-8.
    let mut text = String::from_utf8_lossy(text).into_owned();
    text.truncate(text.floor_char_boundary(BASE_SUBJECT_OCTETS));
    BaseSubject { text, is_reply }
}

// RFC 5234's WSP; tabs have become spaces already.
fn trim_spaces(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|b| **b == b' ').count();
    &text[blanks..]
}

// subj-blob = "[" *BLOBCHAR "]" *WSP
fn strip_blob(text: &[u8]) -> Option<&[u8]> {
    let inner = text.strip_prefix(b"[")?;
    let end = memchr::memchr2(b'[', b']', inner)?;
    (inner[end] == b']').then(|| trim_spaces(&inner[end + 1..]))
}

fn skip_blobs(mut text: &[u8]) -> &[u8] {
    while let Some(rest) = strip_blob(text) {
        text = rest;
    }
    text
}

// (4): a blob is only removed if something is left, so the last of a row of nothing but blobs stays.
fn last_blob(mut text: &[u8]) -> &[u8] {
    while let Some(rest) = strip_blob(text).filter(|rest| !rest.is_empty()) {
        text = rest;
    }
    text
}

// subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"
fn strip_refwd(text: &[u8]) -> Option<&[u8]> {
    let rest = strip_start(text, b"re").or_else(|| {
        let rest = strip_start(text, b"fw")?;
        Some(strip_start(rest, b"d").unwrap_or(rest))
    })?;
    let rest = trim_spaces(rest);
    strip_blob(rest).unwrap_or(rest).strip_prefix(b":")
}

// RFC 5234 §2.3: literal text in a grammar matches in either case.
fn strip_start<'a>(text: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(start.len())?;
    head.eq_ignore_ascii_case(start).then_some(rest)
}

fn strip_end<'a>(text: &'a [u8], end: &[u8]) -> Option<&'a [u8]> {
    let (rest, tail) = text.split_at_checked(text.len().checked_sub(end.len())?)?;
    tail.eq_ignore_ascii_case(end).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn base_subjects() {
        let table = [
            ("", "", false),
            ("hello", "hello", false),
            ("Re: hello", "hello", true),
            ("RE: re:Fw: fwd : hello (FWD) (fwd)  ", "hello", true),
            ("re[2]: hello", "hello", true),
            ("Re [list] : hello", "hello", true),
            ("[list] Re: [list] hello", "hello", true),
            ("[list] hello", "hello", false),
            ("[a][b] [c]", "[c]", false),
            ("[a] [b]Re: [c]", "[c]", true),
            ("[fwd: hello]", "hello", true),
            ("[Fwd: [Fwd: Re: hello (fwd)]]", "hello", true),
            ("[fwd: hello] there", "there", false),
            ("[fwd: a[b]]", "a[b]", true),
            ("Reply: hello", "Reply: hello", false),
            ("re hello", "re hello", false),
            ("Re:", "", true),
            ("(fwd)", "", true),
            ("a \t b\r\n  c", "a b c", false),
            ("=?utf-8?Q?Re:_caf=C3=A9?=", "café", true),
            ("AW: hello", "AW: hello", false),
            ("[open hello", "[open hello", false),
            ("Re: [fwd: Re: x]", "x", true),
        ];
        for (raw, text, is_reply) in table {
            assert_eq!(base_subject(raw.as_bytes()), BaseSubject { text: text.into(), is_reply }, "{raw}");
        }
    }

    /// The loop of RFC 5256 §2.1 word for word, to compare with.
    fn by_the_letter(subject: &str) -> BaseSubject {
        let mut text = subject.as_bytes();
        let mut is_reply = false;
        loop {
            loop {
                if let Some(shorter) = strip_end(text, b"(fwd)") {
                    (text, is_reply) = (shorter, true);
                } else if let [shorter @ .., b' '] = text {
                    text = shorter;
                } else {
                    break;
                }
            }
            loop {
                let before = text.len();
                text = text.strip_prefix(b" ").unwrap_or(text);
                if let Some(rest) = strip_refwd(skip_blobs(text)) {
                    (text, is_reply) = (rest, true);
                }
                if let Some(rest) = strip_blob(text).filter(|rest| !rest.is_empty()) {
                    text = rest;
                }
                if text.len() == before {
                    break;
                }
            }
            match strip_start(text, b"[fwd:").and_then(|inner| strip_end(inner, b"]")) {
                Some(inner) => (text, is_reply) = (inner, true),
                None => break,
            }
        }
        BaseSubject { text: String::from_utf8_lossy(text).into_owned(), is_reply }
    }

    proptest! {
        #[test]
        fn the_fast_way_is_the_rfc_way(words in proptest::collection::vec(
            prop_oneof!["re", "fw", "fwd", ":", "\\[", "\\]", " ", "\\(fwd\\)", "\\[fwd:", "\\[x\\]", "y"], 0..14)) {
            let subject = spaced(&words.concat());
            prop_assert_eq!(base_of(&subject), by_the_letter(&subject), "{}", subject);
        }
    }

    #[test]
    fn floods_cost_one_pass_and_are_cut() {
        let begun = std::time::Instant::now();
        for flood in ["[a]", "re:", "[fwd:", "(fwd)", "[", "re[", " ", "re[a]:[b]"] {
            base_subject(flood.repeat(200_000).as_bytes());
        }
        let nested = format!("{}x{}", "[fwd:".repeat(100_000), "]".repeat(100_000));
        assert_eq!(base_subject(nested.as_bytes()).text, "x");
        assert_eq!(base_subject("é".repeat(9_000).as_bytes()).text.len(), BASE_SUBJECT_OCTETS);
        assert!(begun.elapsed().as_secs() < 2, "{:?}", begun.elapsed());
    }
}
