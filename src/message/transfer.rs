//! Content transfer encodings (RFC 2045 §6), undone piece by piece.
//! The decoder holds a few octets between pieces and never looks back, so a part of any size passes
//! through in constant memory. It is strict when a client asked for BINARY, tolerant when we want text.

use std::fmt;

/// How the body of a part was made fit for the mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    SevenBit = 0,
    EightBit = 1,
    Binary = 2,
    QuotedPrintable = 3,
    Base64 = 4,
    /// A word we cannot undo. Its octets are passed on as they are.
    Unknown = 5,
}

impl Encoding {
    /// Reads the word of a Content-Transfer-Encoding field. An empty one means 7bit (RFC 2045 §6.1).
    pub fn from_word(word: &[u8]) -> Encoding {
        const WORDS: [(&str, Encoding); 9] = [
            ("7bit", Encoding::SevenBit),
            ("8bit", Encoding::EightBit),
            ("binary", Encoding::Binary),
            ("quoted-printable", Encoding::QuotedPrintable),
            ("base64", Encoding::Base64),
            // Written by programs that never read RFC 2045, and clear enough.
            ("7-bit", Encoding::SevenBit),
            ("8-bit", Encoding::EightBit),
            ("none", Encoding::SevenBit),
            ("", Encoding::SevenBit),
        ];
        let known = WORDS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        known.map_or(Encoding::Unknown, |(_, encoding)| *encoding)
    }

    /// True when the stored octets are the content itself.
    pub fn is_identity(self) -> bool {
        matches!(self, Encoding::SevenBit | Encoding::EightBit | Encoding::Binary)
    }

    /// The word as it stands in BODYSTRUCTURE; `None` for a word we do not know.
    pub fn wire(self) -> Option<&'static str> {
        match self {
            Encoding::SevenBit => Some("7BIT"),
            Encoding::EightBit => Some("8BIT"),
            Encoding::Binary => Some("BINARY"),
            Encoding::QuotedPrintable => Some("QUOTED-PRINTABLE"),
            Encoding::Base64 => Some("BASE64"),
            Encoding::Unknown => None,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Encoding> {
        use Encoding::*;
        [SevenBit, EightBit, Binary, QuotedPrintable, Base64, Unknown].into_iter().find(|e| *e as u8 == code)
    }
}

/// The encoded text breaks the rules of its encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadEncoding {
    /// Octets of encoded text read before the flaw.
    pub at: u64,
}

impl fmt::Display for BadEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the part cannot be decoded at octet {}", self.at)
    }
}

impl std::error::Error for BadEncoding {}

/// What to do about text that breaks the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// Stop with [`BadEncoding`]: the answer to BINARY must be exact (RFC 3516 §4.3).
    Strict,
    /// Skip what makes no sense: a preview or a search wants whatever can be read.
    Tolerant,
}

/// Blanks held back in one line of quoted-printable before they count as text.
const HELD_BLANKS: usize = 1024;

/// Where the decoder stands between two octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Text,
    /// quoted-printable: after `=`.
    Equals,
    /// quoted-printable: after `=` and one hexadecimal digit.
    Digit(u8),
    /// quoted-printable: after `=` and blanks; only a line end makes sense now.
    Blank,
    /// quoted-printable: after `=` and CR.
    Return,
    /// base64: this many `=` have been seen, this many must come.
    Padding {
        seen: u8,
        needed: u8,
    },
}

/// Undoes a transfer encoding, in pieces of any size.
#[derive(Debug, Clone)]
pub struct TransferDecoder {
    encoding: Encoding,
    care: Care,
    at: At,
    /// Octets read so far, for the error.
    read: u64,
    /// base64: bits collected and how many groups of six.
    bits: u32,
    sextets: u8,
    /// quoted-printable: blanks that are dropped if the line ends here.
    blanks: Vec<u8>,
}

impl TransferDecoder {
    pub fn new(encoding: Encoding, care: Care) -> Self {
        TransferDecoder { encoding, care, at: At::Text, read: 0, bits: 0, sextets: 0, blanks: Vec::new() }
    }

    /// Decodes one piece onto the end of `out`.
    ///
    /// # Errors
    /// In [`Care::Strict`] at the first flaw; what was decoded before it is in `out`.
    pub fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), BadEncoding> {
        match self.encoding {
            Encoding::Base64 => self.base64(piece, out),
            Encoding::QuotedPrintable => self.quoted_printable(piece, out),
            _ => {
                out.extend_from_slice(piece);
                self.read += piece.len() as u64;
                Ok(())
            }
        }
    }

    /// Says that the text ends here, and gives out what was held back.
    ///
    /// # Errors
    /// In [`Care::Strict`] when the text ends in the middle of something.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), BadEncoding> {
        match (self.encoding, self.at) {
            (Encoding::Base64, At::Padding { seen, needed }) if seen < needed => self.flaw(),
            (Encoding::Base64, At::Text) => {
                // Missing padding leaves no doubt about the octets; a single sextet is no octet at all.
                let lonely = self.sextets == 1;
                self.flush_sextets(out);
                if lonely { self.flaw() } else { Ok(()) }
            }
            (Encoding::QuotedPrintable, At::Digit(digit)) => {
                out.extend_from_slice(&[b'=', digit]);
                self.flaw()
            }
            // `=` as the very last octet is a soft line break whose line end was lost, and blanks at the end are padding.
            _ => Ok(()),
        }
    }

    fn flaw(&self) -> Result<(), BadEncoding> {
        match self.care {
            Care::Strict => Err(BadEncoding { at: self.read }),
            Care::Tolerant => Ok(()),
        }
    }

    // RFC 2045 §6.8: line ends and other foreign octets are ignored; `=` ends the text.
    fn base64(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), BadEncoding> {
        out.reserve(piece.len() / 4 * 3 + 3);
        let mut rest = piece;
        while let Some((&octet, tail)) = rest.split_first() {
            // Four good letters at once are nearly all there is.
            if self.sextets == 0
                && self.at == At::Text
                && let Some((quad, tail)) = rest.split_first_chunk::<4>()
            {
                let [a, b, c, d] = quad.map(|letter| SEXTETS[letter as usize]);
                if (a | b | c | d) & 0x80 == 0 {
                    out.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
                    self.read += 4;
                    rest = tail;
                    continue;
                }
            }
            let sextet = SEXTETS[octet as usize];
            match (self.at, octet) {
                (_, b' ' | b'\t' | b'\r' | b'\n') => {}
                (At::Padding { seen, needed }, b'=') if seen < needed => {
                    self.at = At::Padding { seen: seen + 1, needed };
                }
                (At::Text, b'=') if self.sextets >= 2 => {
                    self.at = At::Padding { seen: 1, needed: 4 - self.sextets };
                    self.flush_sextets(out);
                }
                (At::Text, _) if sextet < 64 => self.push_sextet(sextet, out),
                (At::Padding { .. }, _) if sextet < 64 => {
                    self.flaw()?;
                    // Several encoded texts one after the other: the tolerant reader takes them all.
                    self.at = At::Text;
                    self.push_sextet(sextet, out);
                }
                _ => self.flaw()?,
            }
            self.read += 1;
            rest = tail;
        }
        Ok(())
    }

    fn push_sextet(&mut self, sextet: u8, out: &mut Vec<u8>) {
        self.bits = self.bits << 6 | u32::from(sextet);
        self.sextets += 1;
        if self.sextets == 4 {
            out.extend_from_slice(&self.bits.to_be_bytes()[1..]);
            (self.bits, self.sextets) = (0, 0);
        }
    }

    fn flush_sextets(&mut self, out: &mut Vec<u8>) {
        match self.sextets {
            2 => out.push((self.bits >> 4) as u8),
            3 => out.extend_from_slice(&[(self.bits >> 10) as u8, (self.bits >> 2) as u8]),
            _ => {}
        }
        (self.bits, self.sextets) = (0, 0);
    }

    // RFC 2045 §6.7: `=XX` is an octet, `=` at a line's end joins lines, blanks at a line's end are not content.
    fn quoted_printable(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), BadEncoding> {
        out.reserve(piece.len());
        for &octet in piece {
            match (self.at, octet) {
                (At::Equals, b' ' | b'\t') => self.at = At::Blank,
                (At::Equals | At::Blank, b'\r') => self.at = At::Return,
                (At::Equals | At::Blank | At::Return, b'\n') => self.at = At::Text,
                (At::Blank, b' ' | b'\t') => {}
                (At::Equals, digit) if hex(digit).is_some() => self.at = At::Digit(digit),
                (At::Digit(high), low) => {
                    self.at = At::Text;
                    match (hex(high), hex(low)) {
                        (Some(high), Some(low)) => out.push(high << 4 | low),
                        _ => {
                            self.flaw()?;
                            out.extend_from_slice(&[b'=', high]);
                            self.plain(octet, out);
                        }
                    }
                }
                (At::Text | At::Padding { .. }, _) => self.plain(octet, out),
                (At::Equals, _) => {
                    self.flaw()?;
                    out.push(b'=');
                    self.at = At::Text;
                    self.plain(octet, out);
                }
                (At::Blank | At::Return, _) => {
                    // `=`, blanks and then text: the line was not meant to end, or it ended in a bare CR.
                    self.flaw()?;
                    self.at = At::Text;
                    self.plain(octet, out);
                }
            }
            self.read += 1;
        }
        Ok(())
    }

    fn plain(&mut self, octet: u8, out: &mut Vec<u8>) {
        match octet {
            b' ' | b'\t' => {
                if self.blanks.len() >= HELD_BLANKS {
                    out.append(&mut self.blanks);
                }
                self.blanks.push(octet);
                return;
            }
            b'\r' | b'\n' => self.blanks.clear(),
            _ => out.append(&mut self.blanks),
        }
        if octet == b'=' { self.at = At::Equals } else { out.push(octet) }
    }
}

/// Decodes a whole text at once, skipping what makes no sense.
pub fn decode_tolerantly(encoding: Encoding, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut decoder = TransferDecoder::new(encoding, Care::Tolerant);
    let fed = decoder.feed(text, &mut out);
    let finished = decoder.finish(&mut out);
    debug_assert!(fed.is_ok() && finished.is_ok(), "a tolerant decoder never refuses");
    out
}

pub(super) fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

const SEXTETS: [u8; 256] = sextets();

const fn sextets() -> [u8; 256] {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut table = [0x80; 256];
    let mut value = 0;
    while value < 64 {
        table[letters[value as usize] as usize] = value;
        value += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strictly(encoding: Encoding, text: &[u8]) -> Result<Vec<u8>, BadEncoding> {
        let mut out = Vec::new();
        let mut decoder = TransferDecoder::new(encoding, Care::Strict);
        decoder.feed(text, &mut out)?;
        decoder.finish(&mut out)?;
        Ok(out)
    }

    #[test]
    fn base64_by_the_book() {
        let table: [(&[u8], &[u8]); 6] = [
            (b"", b""),
            (b"Zg==", b"f"),
            (b"Zm8=", b"fo"),
            (b"Zm9v\r\nYmFy\r\n", b"foobar"),
            (b"Z m\t9\nv", b"foo"),
            (b"Zm8", b"fo"),
        ];
        for (text, content) in table {
            assert_eq!(strictly(Encoding::Base64, text).as_deref(), Ok(content), "{:?}", text.escape_ascii());
        }
    }

    #[test]
    fn flaws_in_base64_stop_the_strict_and_are_skipped_by_the_tolerant() {
        let table: [(&[u8], u64, &[u8]); 6] = [
            (b"Zm9v!YmFy", 4, b"foobar"),
            (b"Zg==Zg==", 4, b"ff"),
            (b"Zg=", 3, b"f"),
            (b"Z", 1, b""),
            (b"=Zm9v", 0, b"foo"),
            (b"Zm9v\0YmFy", 4, b"foobar"),
        ];
        for (text, at, content) in table {
            assert_eq!(strictly(Encoding::Base64, text), Err(BadEncoding { at }), "{:?}", text.escape_ascii());
            assert_eq!(decode_tolerantly(Encoding::Base64, text), content, "{:?}", text.escape_ascii());
        }
    }

    #[test]
    fn quoted_printable_by_the_book() {
        let table: [(&[u8], &[u8]); 7] = [
            (b"caf=C3=A9", "café".as_bytes()),
            (b"caf=c3=a9", "café".as_bytes()),
            (b"one=\r\ntwo", b"onetwo"),
            (b"one=  \r\ntwo", b"onetwo"),
            (b"one  \t\r\ntwo \n", b"one\r\ntwo\n"),
            (b"a b=20\r\n", b"a b \r\n"),
            (b"end=", b"end"),
        ];
        for (text, content) in table {
            assert_eq!(strictly(Encoding::QuotedPrintable, text).as_deref(), Ok(content), "{:?}", text.escape_ascii());
        }
    }

    #[test]
    fn flaws_in_quoted_printable() {
        let table: [(&[u8], u64, &[u8]); 4] =
            [(b"a=ZZb", 2, b"a=ZZb"), (b"a=4Zb", 3, b"a=4Zb"), (b"a=4", 3, b"a=4"), (b"a==41", 2, b"a=A")];
        for (text, at, content) in table {
            assert_eq!(strictly(Encoding::QuotedPrintable, text), Err(BadEncoding { at }), "{:?}", text.escape_ascii());
            assert_eq!(decode_tolerantly(Encoding::QuotedPrintable, text), content, "{:?}", text.escape_ascii());
        }
    }

    #[test]
    fn words_of_the_field() {
        assert_eq!(Encoding::from_word(b"BASE64"), Encoding::Base64);
        assert_eq!(Encoding::from_word(b""), Encoding::SevenBit);
        assert_eq!(Encoding::from_word(b"x-uuencode"), Encoding::Unknown);
        assert_eq!(Encoding::from_code(Encoding::Base64 as u8), Some(Encoding::Base64));
        assert_eq!(Encoding::from_code(9), None);
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(text in proptest::collection::vec(
            prop_oneof![Just(b'='), Just(b'\r'), Just(b'\n'), Just(b' '), b'A'..=b'Z', any::<u8>()], 0..200), cut in 1usize..9) {
            for encoding in [Encoding::Base64, Encoding::QuotedPrintable] {
                let whole = decode_tolerantly(encoding, &text);
                let mut out = Vec::new();
                let mut decoder = TransferDecoder::new(encoding, Care::Tolerant);
                for piece in text.chunks(cut) {
                    decoder.feed(piece, &mut out).expect("tolerant");
                }
                decoder.finish(&mut out).expect("tolerant");
                prop_assert_eq!(out, whole);
            }
        }

        #[test]
        fn base64_round_trip(content in proptest::collection::vec(any::<u8>(), 0..300)) {
            use base64::Engine;
            let text = base64::engine::general_purpose::STANDARD.encode(&content);
            prop_assert_eq!(strictly(Encoding::Base64, text.as_bytes()), Ok(content));
        }
    }
}
