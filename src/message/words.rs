//! Header text as people read it: charsets, and the encoded words of RFC 2047.
//! Everything is one pass over the octets; nothing here fails, for a header must be shown whatever it holds.

use std::borrow::Cow;

use mail_parser::decoders::charsets::map::charset_decoder;
use memchr::{memchr, memmem};

use super::transfer::{Encoding, decode_tolerantly, hex};

/// Longest charset name looked at, in octets.
const CHARSET_OCTETS: usize = 64;

/// Turns octets of a named charset into text. An unknown name: UTF-8 if it is that, else windows-1252.
pub fn decode_charset(name: &[u8], octets: &[u8]) -> String {
    let name = name.trim_ascii();
    if name.is_empty() || name.len() > CHARSET_OCTETS {
        return guess(octets, None).into_owned();
    }
    if name.eq_ignore_ascii_case(b"us-ascii") || name.eq_ignore_ascii_case(b"ascii") {
        // What calls itself ASCII and has eight bits is more often UTF-8 than the windows-1252 the web takes it for.
        return guess(octets, None).into_owned();
    }
    if let Some(encoding) = encoding_rs::Encoding::for_label(name) {
        return encoding.decode(octets).0.into_owned();
    }
    // The web knows no UTF-7 and few of the old code pages; mail still does.
    match charset_decoder(name) {
        Some(decode) => decode(octets),
        None => guess(octets, None).into_owned(),
    }
}

/// Text of octets that nobody labelled: UTF-8 if valid, else `declared`, else windows-1252.
pub(super) fn guess<'a>(octets: &'a [u8], declared: Option<&str>) -> Cow<'a, str> {
    if let Ok(text) = std::str::from_utf8(octets) {
        return Cow::Borrowed(text);
    }
    let declared = declared.and_then(|name| encoding_rs::Encoding::for_label(name.as_bytes()));
    let encoding = declared.filter(|e| e.is_ascii_compatible()).unwrap_or(encoding_rs::WINDOWS_1252);
    encoding.decode_without_bom_handling(octets).0
}

/// A field's value on one line: line ends and NULs taken out, blanks at both ends too.
// RFC 5322 §2.2.3: unfolding removes the line end and leaves the blank after it.
pub fn unfold(value: &[u8]) -> Vec<u8> {
    let mut line: Vec<u8> = value.trim_ascii().to_vec();
    if memchr::memchr3(b'\r', b'\n', 0, &line).is_some() {
        line.retain(|octet| !matches!(octet, b'\r' | b'\n' | 0));
    }
    line
}

/// A header field's value as text: unfolded, encoded words decoded, 8-bit octets guessed.
pub fn decode_header_value(raw: &[u8]) -> String {
    decode_words(&unfold(raw), None)
}

/// Decodes the encoded words of an unfolded text; `declared` is the charset to try for bare 8-bit octets.
// RFC 2047 §6.2: blanks between two encoded words are not shown.
pub(super) fn decode_words(text: &[u8], declared: Option<&str>) -> String {
    let mut out = String::with_capacity(text.len());
    // Octets of words in one charset are joined before decoding: many mailers cut characters in two.
    let mut pending: Option<(&[u8], Vec<u8>)> = None;
    let flush = |out: &mut String, pending: &mut Option<(&[u8], Vec<u8>)>| {
        if let Some((charset, octets)) = pending.take() {
            out.push_str(&decode_charset(charset, &octets));
        }
    };
    let (mut shown, mut at) = (0, 0);
    while let Some(found) = memmem::find(&text[at..], b"=?") {
        let start = at + found;
        let Some(word) = EncodedWord::at(text, start) else {
            at = start + 2;
            continue;
        };
        let between = &text[shown..start];
        let joins = pending.is_some() && between.trim_ascii().is_empty();
        if !joins {
            flush(&mut out, &mut pending);
            out.push_str(&guess(between, declared));
        }
        if pending.as_ref().is_some_and(|(charset, _)| !charset.eq_ignore_ascii_case(word.charset)) {
            flush(&mut out, &mut pending);
        }
        pending.get_or_insert_with(|| (word.charset, Vec::new())).1.extend(word.octets());
        shown = word.end;
        at = word.end;
    }
    flush(&mut out, &mut pending);
    out.push_str(&guess(&text[shown..], declared));
    out
}

/// One encoded word: `=?charset?encoding?encoded-text?=`.
pub(super) struct EncodedWord<'a> {
    charset: &'a [u8],
    is_base64: bool,
    text: &'a [u8],
    /// Where the text goes on after it.
    pub(super) end: usize,
}

impl<'a> EncodedWord<'a> {
    /// The word that begins at `start`, if one does.
    // RFC 2047 §2; §5 forbids `?` in the text, which also keeps the search for its end linear.
    pub(super) fn at(text: &'a [u8], start: usize) -> Option<EncodedWord<'a>> {
        let rest = text.get(start..)?.strip_prefix(b"=?")?;
        let charset_end = memchr(b'?', &rest[..rest.len().min(CHARSET_OCTETS + 1)])?;
        let charset = &rest[..charset_end];
        if charset.is_empty() || charset.iter().any(|b| b.is_ascii_whitespace() || !b.is_ascii_graphic()) {
            return None;
        }
        let (&letter, rest) = rest[charset_end + 1..].split_first()?;
        let is_base64 = match letter {
            b'b' | b'B' => true,
            b'q' | b'Q' => false,
            _ => return None,
        };
        let rest = rest.strip_prefix(b"?")?;
        let text_end = memchr(b'?', rest)?;
        if rest.get(text_end + 1) != Some(&b'=') {
            return None;
        }
        // RFC 2231 §5: a language may follow the charset after `*`.
        let charset = charset.split(|b| *b == b'*').next().unwrap_or(charset);
        let end = start + 2 + charset_end + 1 + 1 + 1 + text_end + 2;
        Some(EncodedWord { charset, is_base64, text: &rest[..text_end], end })
    }

    fn octets(&self) -> Vec<u8> {
        if self.is_base64 {
            return decode_tolerantly(Encoding::Base64, self.text);
        }
        // RFC 2047 §4.2: `_` is a space, `=XX` an octet.
        let mut out = Vec::with_capacity(self.text.len());
        let mut rest = self.text;
        while let Some((&octet, tail)) = rest.split_first() {
            rest = tail;
            match (octet, tail) {
                (b'_', _) => out.push(b' '),
                (b'=', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                    (Some(high), Some(low)) => {
                        out.push(high << 4 | low);
                        rest = after;
                    }
                    _ => out.push(b'='),
                },
                _ => out.push(octet),
            }
        }
        out
    }
}

/// Writes text as encoded words in UTF-8, each of at most 75 octets, with a space between.
// RFC 2047 §2: the limit; §5 (3): the letters that are safe in a phrase too.
pub(super) fn encode_words(text: &str) -> String {
    const ROOM: usize = 75 - "=?UTF-8?Q?".len() - "?=".len();
    let is_safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'!' | b'*' | b'+' | b'-' | b'/');
    let is_cheap_as_q = text.bytes().filter(|b| !is_safe(*b) && *b != b' ').count() * 3 < text.len();
    let mut out = String::with_capacity(text.len() * 2);
    let mut word = String::with_capacity(ROOM);
    let mut octets: Vec<u8> = Vec::new();
    for character in text.chars() {
        let mut buffer = [0; 4];
        let letters = character.encode_utf8(&mut buffer).as_bytes();
        if is_cheap_as_q {
            let cost: usize = letters.iter().map(|b| if is_safe(*b) || *b == b' ' { 1 } else { 3 }).sum();
            if word.len() + cost > ROOM {
                push_word(&mut out, 'Q', &word);
                word.clear();
            }
            for &octet in letters {
                match octet {
                    b' ' => word.push('_'),
                    octet if is_safe(octet) => word.push(char::from(octet)),
                    octet => word.push_str(&format!("={octet:02X}")),
                }
            }
        } else {
            if (octets.len() + letters.len()).div_ceil(3) * 4 > ROOM {
                push_word(&mut out, 'B', &base64_text(&octets));
                octets.clear();
            }
            octets.extend_from_slice(letters);
        }
    }
    if !word.is_empty() {
        push_word(&mut out, 'Q', &word);
    }
    if !octets.is_empty() {
        push_word(&mut out, 'B', &base64_text(&octets));
    }
    out
}

fn base64_text(octets: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(octets)
}

fn push_word(out: &mut String, letter: char, text: &str) {
    if !out.is_empty() {
        out.push(' ');
    }
    out.push_str("=?UTF-8?");
    out.push(letter);
    out.push('?');
    out.push_str(text);
    out.push_str("?=");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn encoded_words_of_rfc_2047_section_8() {
        let table = [
            ("=?ISO-8859-1?Q?a?=", "a"),
            ("=?ISO-8859-1?Q?a?= b", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a?=\r\n  =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a_b?=", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
            ("=?ISO-8859-1?Q?Patrik_F=E4ltstr=F6m?= <x>", "Patrik Fältström <x>"),
            ("=?ISO-8859-8?b?7eXs+SDv4SDp7Oj08A==?=", "םולש ןב ילטפנ"),
        ];
        for (raw, text) in table {
            assert_eq!(decode_header_value(raw.as_bytes()), text, "{raw}");
        }
    }

    #[test]
    fn what_mailers_really_send() {
        let table: [(&[u8], &str); 9] = [
            // A character cut in two by the limit of 75.
            (b"=?utf-8?Q?caf=C3?= =?utf-8?Q?=A9?=", "café"),
            (b"=?utf-8*fr?Q?caf=C3=A9?=", "café"),
            (b"=?utf-8?Q?two words?=", "two words"),
            (b"=?x-nobody-knows?Q?caf=C3=A9?=", "café"),
            (b"=?utf-7?Q?+AOk-?=", "é"),
            (b"caf\xe9", "café"),
            (b"caf\xc3\xa9", "café"),
            (b"=?utf-8?X?no?= =?utf-8?Q?unfinished", "=?utf-8?X?no?= =?utf-8?Q?unfinished"),
            (b"=?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=", "日本"),
        ];
        for (raw, text) in table {
            assert_eq!(decode_header_value(raw), text, "{:?}", raw.escape_ascii());
        }
    }

    #[test]
    fn a_folded_value_is_one_line_without_nul() {
        assert_eq!(unfold(b" one\r\n two\n\tthree\0 \r\n"), b"one two\tthree");
    }

    #[test]
    fn a_declared_charset_decides_about_bare_octets() {
        assert_eq!(guess(b"\xd0\xd2\xc9", Some("koi8-r")), "при");
        assert_eq!(guess(b"\xe9", Some("no such charset")), "é");
        // ISO-2022-JP could turn quotes and brackets into others: it is never guessed.
        assert_eq!(guess(b"\xe9", Some("utf-16")), "é");
    }

    #[test]
    fn openings_without_ends_cost_one_pass() {
        let begun = std::time::Instant::now();
        let text = "=?a?q?x".repeat(200_000);
        assert_eq!(decode_header_value(text.as_bytes()), text);
        assert!(begun.elapsed().as_secs() < 1, "{:?}", begun.elapsed());
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(text in "\\PC{1,200}") {
            let words = encode_words(&text);
            prop_assert!(words.split(' ').all(|word| word.len() <= 75), "{}", words);
            prop_assert!(words.is_ascii());
            prop_assert_eq!(decode_words(words.as_bytes(), None), text);
        }
    }
}
