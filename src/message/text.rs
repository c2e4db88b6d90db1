//! The text of a part as people read it, for search and display: transfer encoding and charset undone.
//! The caller decides how many octets of a part it reads, and so bounds the work.

use super::html::html_to_text;
use super::parts::{MediaKind, Part};
use super::transfer::decode_tolerantly;
use super::words::decode_charset;

/// Decodes octets of a part's body, from its beginning. What cannot be decoded is skipped or replaced.
pub fn decode_text(part: &Part, body: &[u8]) -> String {
    let octets = decode_tolerantly(part.encoding, body);
    decode_charset(part.charset.as_deref().unwrap_or("").as_bytes(), &octets)
}

/// Like [`decode_text`], and of HTML only what a reader would see.
pub fn readable_text(part: &Part, body: &[u8]) -> String {
    let text = decode_text(part, body);
    if part.kind == MediaKind::Html { html_to_text(&text, usize::MAX) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Encoding;

    #[test]
    fn a_part_is_decoded_as_it_says() {
        let part = |kind, encoding, charset: &str| Part {
            kind,
            encoding,
            charset: Some(charset.into()),
            header: 0..0,
            body: 0..0,
            lines: 0,
            told_in_base64: None,
        };
        let plain = part(MediaKind::Text, Encoding::QuotedPrintable, "iso-8859-1");
        assert_eq!(decode_text(&plain, b"caf=E9"), "café");
        let html = part(MediaKind::Html, Encoding::Base64, "utf-8");
        assert_eq!(decode_text(&html, b"PHA+Y2Fmw6k8L3A+"), "<p>café</p>");
        assert_eq!(readable_text(&html, b"PHA+Y2Fmw6k8L3A+"), "café");
        let japanese = part(MediaKind::Text, Encoding::SevenBit, "iso-2022-jp");
        assert_eq!(decode_text(&japanese, b"\x1b$BF|K\\\x1b(B"), "日本");
    }
}
