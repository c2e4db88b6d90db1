//! How a message is told that has binary parts: each part that says `binary` and holds a NUL is told in base64, and its
//! header says so. What is stored stays as it came; from here come the octets a client reads in their place.
//!
//! `base64` is as long as `binary`, so only bodies grow, and each line of one stands for 57 octets of the other: any
//! piece of what is told is found without reading what lies before it.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::parts::PartTable;

/// The word that is told in the place of `binary`.
const WORD: &[u8; 6] = b"base64";
/// Stored octets of one told line, and told octets of a full one (RFC 2045 §6.8: 76 characters at most, then CRLF).
const STORED_LINE: u64 = 57;
const TOLD_LINE: u64 = 78;

/// No message is larger, so no sum here overflows.
const MOST_OCTETS: u64 = 1 << 48;

/// Told octets of so many stored ones; every line has its CRLF, the last one too.
pub(super) fn told_octets(stored: u64) -> u64 {
    stored.div_ceil(3) * 4 + 2 * told_lines(stored)
}

/// Lines of base64 for so many stored octets.
pub(super) fn told_lines(stored: u64) -> u64 {
    stored.div_ceil(STORED_LINE)
}

/// A part that is told in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Retold {
    /// Where the word `binary` begins in its header.
    word: u64,
    body: Range<u64>,
}

impl Retold {
    fn octets(&self) -> u64 {
        told_octets(self.body.end - self.body.start)
    }
}

/// The parts of a message that are told otherwise than they are stored; see the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retelling {
    /// In the order they stand; they are leaves, so none lies in another.
    parts: Vec<Retold>,
}

/// Where told octets come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// These stored octets, given to a [`Reteller`] that begins at the first of them, hold all that is wanted.
    pub stored: Range<u64>,
    /// Told octets of them that are passed over.
    pub skip: u64,
}

impl Retelling {
    /// `None` for nearly every message: it is told as it is stored.
    pub fn of(table: &PartTable) -> Option<Retelling> {
        let mut parts: Vec<Retold> = Vec::new();
        for (part, _) in table.all() {
            let Some(word) = part.told_in_base64 else { continue };
            let before = parts.last().map_or(0, |last| last.body.end);
            // Always so, unless the stored table is damaged.
            let is_in_order = before <= word && word + WORD.len() as u64 <= part.body.start;
            if is_in_order && part.body.end < MOST_OCTETS {
                parts.push(Retold { word, body: part.body.clone() });
            }
        }
        (!parts.is_empty()).then_some(Retelling { parts })
    }

    /// Told octets more than are stored.
    pub fn growth(&self) -> u64 {
        self.parts.iter().map(|part| part.octets() - (part.body.end - part.body.start)).sum()
    }

    /// Where a header, a body or the whole message lies in what is told.
    pub fn told(&self, stored: Range<u64>) -> Range<u64> {
        self.told_at(stored.start)..self.told_at(stored.end)
    }

    /// `stored` is where some part begins or ends, so it never lies within a body that is told otherwise.
    fn told_at(&self, stored: u64) -> u64 {
        let before = self.parts.iter().take_while(|part| part.body.end <= stored && part.body.start < stored);
        before.fold(stored, |at, part| at + part.octets() - (part.body.end - part.body.start))
    }

    /// Where a piece of what is told comes from.
    pub fn source(&self, told: Range<u64>) -> Source {
        let (start, skip) = self.stored_at(told.start);
        let (end, over) = self.stored_at(told.end);
        let end = match self.parts.iter().find(|part| over > 0 && part.body.contains(&end)) {
            // Some of a line needs all of it.
            Some(part) => (end + STORED_LINE).min(part.body.end),
            None => end,
        };
        Source { stored: start..end.max(start), skip }
    }

    /// What is stored at a told octet, or the first octet of its line and how far it is into the line.
    fn stored_at(&self, told: u64) -> (u64, u64) {
        let mut grown = 0;
        for part in &self.parts {
            let start = part.body.start + grown;
            if told <= start {
                break;
            }
            if told < start + part.octets() {
                let line = (told - start) / TOLD_LINE;
                return (part.body.start + line * STORED_LINE, (told - start) % TOLD_LINE);
            }
            grown += part.octets() - (part.body.end - part.body.start);
        }
        (told - grown, 0)
    }

    /// Begins to tell from a stored octet on, which a [`Source`] gave.
    pub fn begin(&self, stored: u64) -> Reteller {
        let parts = self.parts.iter().filter(|part| part.body.end > stored).cloned().collect();
        Reteller { parts, next: 0, at: stored, line: Vec::new() }
    }
}

/// Makes told octets of stored ones, piece by piece; it holds less than a line.
#[derive(Debug)]
pub struct Reteller {
    parts: Vec<Retold>,
    next: usize,
    at: u64,
    /// Octets of a body that are no whole line yet.
    line: Vec<u8>,
}

impl Reteller {
    /// Takes the next stored octets, and adds to `out` what is told for them.
    pub fn feed(&mut self, mut octets: &[u8], out: &mut Vec<u8>) {
        while !octets.is_empty() {
            let part = self.parts.get(self.next);
            let (is_body, end) = match part {
                Some(part) if self.at < part.body.start => (false, part.body.start),
                Some(part) => (true, part.body.end),
                None => (false, u64::MAX),
            };
            let here = usize::try_from(end - self.at).map_or(octets.len(), |left| left.min(octets.len()));
            let (now, rest) = octets.split_at(here);
            octets = rest;
            if is_body {
                self.encode(now, out);
            } else {
                let begin = out.len();
                out.extend_from_slice(now);
                if let Some(part) = part {
                    put_word(&mut out[begin..], self.at, part.word);
                }
            }
            self.at += here as u64;
            if is_body && self.at == end {
                write_line(&std::mem::take(&mut self.line), out);
                self.next += 1;
            }
        }
    }

    fn encode(&mut self, mut octets: &[u8], out: &mut Vec<u8>) {
        const LINE: usize = STORED_LINE as usize;
        if !self.line.is_empty() {
            let (some, rest) = octets.split_at(octets.len().min(LINE - self.line.len()));
            self.line.extend_from_slice(some);
            octets = rest;
            if self.line.len() < LINE {
                return;
            }
            write_line(&std::mem::take(&mut self.line), out);
        }
        let lines = octets.chunks_exact(LINE);
        self.line.extend_from_slice(lines.remainder());
        lines.for_each(|line| write_line(line, out));
    }
}

fn write_line(stored: &[u8], out: &mut Vec<u8>) {
    if stored.is_empty() {
        return;
    }
    let mut line = [0; TOLD_LINE as usize];
    let length = STANDARD.encode_slice(stored, &mut line).expect("a line has room for 57 octets");
    out.extend_from_slice(&line[..length]);
    out.extend_from_slice(b"\r\n");
}

/// Puts as much of the word as lies in `octets`, of which the first is at `at`.
fn put_word(octets: &mut [u8], at: u64, word: u64) {
    for (n, letter) in WORD.iter().enumerate() {
        let place = (word + n as u64).checked_sub(at).and_then(|place| usize::try_from(place).ok());
        if let Some(octet) = place.and_then(|place| octets.get_mut(place)) {
            *octet = *letter;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::describe;
    use proptest::prelude::*;

    fn table(message: &[u8]) -> PartTable {
        PartTable::decode(&describe(message).parts).expect("our own table")
    }

    /// All that is told of a message.
    fn told(message: &[u8]) -> Vec<u8> {
        let Some(retelling) = Retelling::of(&table(message)) else { return message.to_vec() };
        let mut out = Vec::new();
        retelling.begin(0).feed(message, &mut out);
        out
    }

    const ONE: &[u8] = b"Content-Type: x/y\r\nContent-Transfer-Encoding: binary\r\n\r\na\0b\r\nc\0d\0\r\n";

    #[test]
    fn a_binary_part_is_told_in_base64() {
        let expected = b"Content-Type: x/y\r\nContent-Transfer-Encoding: base64\r\n\r\nYQBiDQpjAGQADQo=\r\n";
        assert_eq!(told(ONE).escape_ascii().to_string(), expected.escape_ascii().to_string());
        let structure = String::from_utf8(describe(ONE).bodystructure).expect("ASCII");
        assert_eq!(structure, r#"("X" "Y" NIL NIL NIL "BASE64" 18 NIL NIL NIL NIL)"#);
    }

    #[test]
    fn nothing_else_is() {
        let same: [&[u8]; 6] = [
            b"Content-Transfer-Encoding: binary\r\n\r\nno NUL\r\n",
            b"Content-Transfer-Encoding: 8bit\r\n\r\na\0b\r\n",
            b"Subject: a\0b\r\n\r\na\0b\r\n",
            b"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: binary\r\n\r\na\0\r\n--b\r\n\r\nx\r\n--b--\r\n\0",
            b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\nSubject: a\r\n\r\na\0b\r\n",
            b"Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: binary\r\n\r\na\0b\r\n",
        ];
        for message in same {
            assert_eq!(told(message), message, "{}", message.escape_ascii());
        }
    }

    #[test]
    fn the_word_is_found_wherever_it_stands() {
        let with = |field: &str| [field.as_bytes(), b"\r\n\r\n\0"].concat();
        let fields = [
            ("content-transfer-encoding:BINARY", "content-transfer-encoding:base64"),
            (
                "A: binary\r\nContent-Transfer-Encoding : (binary\r\n (x))\r\n Binary (8bit)",
                "A: binary\r\nContent-Transfer-Encoding : (binary\r\n (x))\r\n base64 (8bit)",
            ),
            ("Content-Transfer-Encoding: binary; x=y", "Content-Transfer-Encoding: base64; x=y"),
        ];
        for (stored, expected) in fields {
            let expected = [expected.as_bytes(), b"\r\n\r\nAA==\r\n"].concat();
            assert_eq!(told(&with(stored)).escape_ascii().to_string(), expected.escape_ascii().to_string());
        }
    }

    /// Messages in which some parts are told otherwise.
    fn messages() -> impl Strategy<Value = Vec<u8>> {
        let body = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            proptest::collection::vec(prop_oneof![Just(0u8), Just(b'\n'), Just(b'-'), Just(b'\r')], 50..70),
        ];
        let types = prop_oneof![Just("text/plain"), Just("text/html"), Just("image/png")];
        let words = prop_oneof![Just("binary"), Just("BINARY"), Just("8bit"), Just("base64")];
        let part = (types, words, body).prop_map(|(kind, word, body)| {
            let head = format!("Content-Type: {kind}\r\nContent-Transfer-Encoding: {word}\r\n\r\n");
            [head.as_bytes(), &body].concat()
        });
        part.prop_recursive(3, 12, 3, |inner| {
            (proptest::collection::vec(inner, 1..4), "[a-z]{3}", any::<bool>()).prop_map(
                |(parts, boundary, is_message)| {
                    let mut out = format!(
                    "Content-Type: multipart/mixed; boundary={boundary}\r\nContent-Transfer-Encoding: binary\r\n\r\n"
                )
                .into_bytes();
                    for part in parts {
                        out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
                        if is_message {
                            out.extend_from_slice(
                                b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\n",
                            );
                        }
                        out.extend_from_slice(&part);
                        out.extend_from_slice(b"\r\n");
                    }
                    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
                    out
                },
            )
        })
    }

    proptest! {
        // RFC 3516 §6: what BODYSTRUCTURE says is what BODY sends. It is held against the description of the told
        // message, which has nothing binary in it any more.
        #[test]
        fn the_description_is_that_of_what_is_told(message in messages()) {
            let (stored, told) = (describe(&message), told(&message));
            let again = describe(&told);
            prop_assert_eq!(String::from_utf8_lossy(&stored.bodystructure), String::from_utf8_lossy(&again.bodystructure));
            prop_assert_eq!(&stored.envelope, &again.envelope);
            prop_assert_eq!(stored.size + stored.growth, told.len() as u64);
            prop_assert_eq!(again.growth, 0);
            let (here, there) = (table(&message), table(&told));
            if let Some(retelling) = Retelling::of(&here) {
                prop_assert_eq!(retelling.growth(), stored.growth);
                for ((part, _), (as_told, _)) in here.all().zip(there.all()) {
                    prop_assert_eq!(retelling.told(part.header.clone()), as_told.header.clone());
                    prop_assert_eq!(retelling.told(part.body.clone()), as_told.body.clone());
                }
            }
        }

        #[test]
        fn any_piece_is_the_same_as_in_the_whole(message in messages(), from in 0u64..2000, most in 0u64..300, cut in 1usize..90) {
            let whole = told(&message);
            if let Some(retelling) = Retelling::of(&table(&message)) {
                let start = from.min(whole.len() as u64);
                let end = (start + most).min(whole.len() as u64);
                let Source { stored, skip } = retelling.source(start..end);
                let mut reteller = retelling.begin(stored.start);
                let mut out = Vec::new();
                for piece in message[stored.start as usize..stored.end as usize].chunks(cut) {
                    reteller.feed(piece, &mut out);
                }
                let out = &out[skip as usize..];
                prop_assert!(out.len() as u64 >= end - start);
                prop_assert_eq!(&out[..(end - start) as usize], &whole[start as usize..end as usize]);
            }
        }
    }
}
