//! Strings as they stand in ENVELOPE and BODYSTRUCTURE, made of header octets that may be anything.
//! What comes out is always a well-formed `nstring` of RFC 3501 §9: no CR, LF or NUL inside, and in
//! [`Letters::SevenBit`] no octet above 127.

use std::borrow::Cow;

use super::words;

/// Which letters a client was promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Letters {
    /// Every client: bare 8-bit text is written as encoded words (RFC 2047) or extended parameters (RFC 2231).
    #[default]
    SevenBit,
    /// A client that said ENABLE UTF8=ACCEPT or IMAP4rev2: the same text as UTF-8 (RFC 6855 §3).
    Utf8,
}

/// Longest text written between quotes, in octets; longer ones are literals.
const QUOTED_OCTETS: usize = 1000;

/// Writes human text: a subject, a name, a description.
pub(super) fn write_text(out: &mut Vec<u8>, text: &[u8], letters: Letters, declared: Option<&str>) {
    if text.is_ascii() {
        return write_ready(out, text);
    }
    match letters {
        Letters::SevenBit => write_ready(out, words::encode_words(&words::decode_words(text, declared)).as_bytes()),
        Letters::Utf8 => write_ready(out, words::guess(text, declared).as_bytes()),
    }
}

/// Writes human text, or NIL where there is no field.
pub(super) fn write_optional_text(out: &mut Vec<u8>, text: Option<&[u8]>, letters: Letters, declared: Option<&str>) {
    match text {
        Some(text) => write_text(out, text, letters, declared),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Writes text that is ASCII, or UTF-8 where that was promised.
// RFC 3501 §9: a quoted string has no CR or LF, a literal no NUL. Tabs, mostly of folded lines, become spaces as
// well: old clients choke on controls between quotes, and a literal for each folded subject would be wasteful.
pub(super) fn write_ready(out: &mut Vec<u8>, text: &[u8]) {
    let is_odd = |b: &u8| matches!(b, 0 | b'\t' | b'\r' | b'\n');
    let text = if text.iter().any(is_odd) {
        Cow::Owned(text.iter().filter(|b| **b != 0).map(|b| if is_odd(b) { b' ' } else { *b }).collect())
    } else {
        Cow::Borrowed(text)
    };
    if text.len() <= QUOTED_OCTETS && !text.iter().any(u8::is_ascii_control) {
        out.push(b'"');
        let mut rest = &*text;
        while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(&[b'\\', rest[at]]);
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
        out.push(b'"');
    } else {
        out.extend_from_slice(format!("{{{}}}\r\n", text.len()).as_bytes());
        out.extend_from_slice(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seven_bit(text: &[u8]) -> String {
        let mut out = Vec::new();
        write_text(&mut out, text, Letters::SevenBit, None);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn quoted_where_it_can_be() {
        assert_eq!(seven_bit(b""), "\"\"");
        assert_eq!(seven_bit(br#"a "b" \c"#), r#""a \"b\" \\c""#);
        assert_eq!(seven_bit(b"a\tb\r\nc\0d"), "\"a b  cd\"");
    }

    #[test]
    fn literal_where_it_must_be() {
        assert_eq!(seven_bit(b"\x1b$B"), "{3}\r\n\x1b$B");
        assert!(seven_bit(&[b'x'; 1001]).starts_with("{1001}\r\nxxx"));
    }

    #[test]
    fn eight_bits_become_words_or_stay_utf8() {
        assert_eq!(seven_bit(b"caf\xe9"), "\"=?UTF-8?B?Y2Fmw6k=?=\"");
        let mut out = Vec::new();
        write_text(&mut out, b"caf\xe9", Letters::Utf8, None);
        assert_eq!(out, "\"café\"".as_bytes());
    }

    proptest! {
        #[test]
        fn any_octets_give_a_seven_bit_string(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let wire = seven_bit(&text);
            prop_assert!(wire.is_ascii() && !wire.contains('\0'));
            let is_quoted = wire.starts_with('"') && wire.ends_with('"') && !wire.contains('\n');
            prop_assert!(is_quoted || wire.as_bytes()[0] == b'{', "{}", wire);
        }
    }
}
