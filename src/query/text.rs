//! The texts SEARCH looks into: a header block as decoded, folded fields, and a body that comes in pieces of any
//! size and is decoded window by window, so that no message makes memory grow with its size.

use std::cell::OnceCell;

use memchr::memmem::Finder;

use super::fold::{fold, fold_onto};
use crate::message::{
    Care, MediaKind, Part, TransferDecoder, decode_charset, decode_header_value, fields, html_to_text,
};

/// A decoded window of a body is folded and searched when it has so many octets.
const WINDOW_OCTETS: usize = 128 * 1024;
/// HTML is read whole, because a tag may stand across any cut; what comes after so many octets of one part is not
/// searched.
const HTML_OCTETS: usize = 8 << 20;

/// A folded text to look for.
#[derive(Debug, Clone)]
pub struct Needle {
    folded: String,
    finder: Finder<'static>,
}

impl Needle {
    pub fn new(text: &str) -> Needle {
        let folded = fold(text);
        let finder = Finder::new(folded.as_bytes()).into_owned();
        Needle { folded, finder }
    }

    /// True when the folded text `hay` holds it. An empty needle stands everywhere.
    pub fn is_in(&self, hay: &str) -> bool {
        self.finder.find(hay.as_bytes()).is_some()
    }

    /// Octets of the folded needle.
    pub fn octets(&self) -> usize {
        self.folded.len()
    }
}

impl PartialEq for Needle {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

/// The fields of one header block. Each is decoded and folded when it is asked about: most questions are about one.
#[derive(Debug, Clone, Default)]
pub struct HeaderText {
    block: Vec<u8>,
    /// All of them as `name: value`, once a question was about the whole.
    all: OnceCell<Vec<String>>,
}

impl HeaderText {
    /// Takes a block as it is stored.
    pub fn read(block: Vec<u8>) -> HeaderText {
        HeaderText { block, all: OnceCell::new() }
    }

    /// True when a field of this name, in any case, holds the needle. An empty needle asks whether the field
    /// is there at all (RFC 3501 §6.4.4).
    pub fn field_has(&self, name: &str, needle: &Needle) -> bool {
        let mut own = fields(&self.block).filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
        own.any(|field| needle.is_in(&fold(&decode_header_value(field.value))))
    }

    /// True when some field holds the needle, its name counted as text.
    pub fn has(&self, needle: &Needle) -> bool {
        let all = self.all.get_or_init(|| {
            let folded = fields(&self.block).map(|field| {
                let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
                let value = fold(&decode_header_value(field.value));
                format!("{name}: {value}")
            });
            folded.collect()
        });
        all.iter().any(|field| needle.is_in(field))
    }
}

/// Decodes the body of one text part that comes in pieces, and gives it out folded, window by window. Windows
/// overlap by what a needle may need, so a needle never falls between two.
pub struct TextReader {
    kind: MediaKind,
    charset: String,
    decoder: TransferDecoder,
    decoded: Vec<u8>,
    window: String,
    overlap: usize,
}

impl TextReader {
    /// `overlap`: octets of the longest folded needle.
    pub fn new(part: &Part, overlap: usize) -> TextReader {
        TextReader {
            kind: part.kind,
            charset: part.charset.as_deref().unwrap_or("").to_string(),
            decoder: TransferDecoder::new(part.encoding, Care::Tolerant),
            decoded: Vec::new(),
            window: String::new(),
            overlap,
        }
    }

    /// Takes in stored octets. The window, if one became full.
    pub fn feed(&mut self, piece: &[u8]) -> Option<&str> {
        if self.kind == MediaKind::Html && self.decoded.len() >= HTML_OCTETS {
            return None;
        }
        // A tolerant decoder has no errors.
        let _ = self.decoder.feed(piece, &mut self.decoded);
        if self.kind == MediaKind::Html || self.decoded.len() < WINDOW_OCTETS {
            return None;
        }
        let cut = self.safe_cut();
        let rest = self.decoded.split_off(cut);
        let decoded = std::mem::replace(&mut self.decoded, rest);
        Some(self.take_in(&decoded))
    }

    /// The end of the part: the last window.
    pub fn finish(&mut self) -> &str {
        let end = TransferDecoder::new(crate::message::Encoding::Binary, Care::Tolerant);
        let _ = std::mem::replace(&mut self.decoder, end).finish(&mut self.decoded);
        let decoded = std::mem::take(&mut self.decoded);
        self.take_in(&decoded)
    }

    /// True when no more of this part will be looked at.
    pub fn is_full(&self) -> bool {
        self.kind == MediaKind::Html && self.decoded.len() >= HTML_OCTETS
    }

    /// Where decoded octets may be cut: behind a line's end, where every charset of mail but UTF-16 begins anew.
    fn safe_cut(&self) -> usize {
        let octets = &self.decoded;
        if self.charset.starts_with("utf-16") || self.charset.starts_with("utf-32") {
            return octets.len() / 4 * 4;
        }
        match memchr::memrchr(b'\n', octets) {
            Some(at) => at + 1,
            // A line of 128 KiB: at least no character of UTF-8 is cut.
            None => {
                let back = octets.iter().rev().take(4).position(|b| b & 0xc0 != 0x80).map_or(0, |n| n + 1);
                let start = octets.len() - back;
                if octets[start] >= 0xc0 { start } else { octets.len() }
            }
        }
    }

    fn take_in(&mut self, decoded: &[u8]) -> &str {
        let mut keep = self.window.len().saturating_sub(self.overlap);
        while !self.window.is_char_boundary(keep) {
            keep -= 1;
        }
        self.window.drain(..keep);
        let text = decode_charset(self.charset.as_bytes(), decoded);
        if self.kind == MediaKind::Html {
            fold_onto(&html_to_text(&text, usize::MAX), &mut self.window);
        } else {
            fold_onto(&text, &mut self.window);
        }
        &self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Encoding;

    fn part(kind: MediaKind, encoding: Encoding, charset: &str) -> Part {
        Part { kind, encoding, charset: Some(charset.into()), header: 0..0, body: 0..0, lines: 0, told_in_base64: None }
    }

    #[test]
    fn fields_are_decoded_and_folded() {
        let header = HeaderText::read(
            b"Subject: =?iso-8859-1?Q?Caf=E9?=\r\n =?utf-8?Q?_Open?=\r\nFrom: Ada <ADA@x.test>\r\nX-Empty:\r\n\r\n"
                .to_vec(),
        );
        assert!(header.field_has("subject", &Needle::new("CAFÉ OPEN")));
        assert!(header.field_has("from", &Needle::new("ada@X")));
        assert!(header.field_has("x-empty", &Needle::new("")));
        assert!(!header.field_has("x-absent", &Needle::new("")));
        assert!(header.has(&Needle::new("from: ada")));
        assert!(!header.has(&Needle::new("bob")));
    }

    fn found(part: &Part, body: &[u8], piece: usize, needle: &str) -> bool {
        let needle = Needle::new(needle);
        let mut reader = TextReader::new(part, needle.octets());
        for piece in body.chunks(piece) {
            if reader.feed(piece).is_some_and(|window| needle.is_in(window)) {
                return true;
            }
        }
        needle.is_in(reader.finish())
    }

    #[test]
    fn a_needle_on_a_window_s_edge_is_found() {
        let plain = part(MediaKind::Text, Encoding::EightBit, "utf-8");
        let filler = "zeile für zeile\r\n".repeat(WINDOW_OCTETS / 17);
        for shift in 0..40 {
            let text = format!("{filler}{}Needle\r\nin the hay{}", "x".repeat(shift), filler);
            assert!(found(&plain, text.as_bytes(), 1000, "needle IN the"), "{shift}");
        }
        let long = format!("{}ö needle {}", "ö".repeat(WINDOW_OCTETS), "ö".repeat(WINDOW_OCTETS));
        assert!(found(&plain, long.as_bytes(), 777, "ö needle ö"));
        assert!(!found(&plain, long.as_bytes(), 777, "needless"));
    }

    #[test]
    fn encodings_charsets_and_html() {
        let quoted = part(MediaKind::Text, Encoding::QuotedPrintable, "iso-8859-1");
        assert!(found(&quoted, b"caf=E9 ol=\r\ne", 3, "CAFÉ OLE"));
        let html = part(MediaKind::Html, Encoding::Base64, "utf-8");
        assert!(found(&html, b"PHA+Y2FmJmVhY3V0ZTsgPGI+bm93PC9iPjwvcD4=", 5, "café now"));
        assert!(!found(&html, b"PHA+Y2FmJmVhY3V0ZTsgPGI+bm93PC9iPjwvcD4=", 5, "<b>"));
    }
}
