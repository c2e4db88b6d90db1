//! What a part says about itself: Content-Type, Content-Disposition (RFC 2045 §5.1, RFC 2183) and the other Content
//! fields, read from headers that may hold anything. Their parameters are next door.

use super::header::fields;
use super::parameters::{Cursor, Parameters};
use super::transfer::Encoding;
use super::words::unfold;

/// Language tags kept of one Content-Language field.
const LANGUAGES: usize = 100;

/// A media type with its parameters. Words are in capitals, as RFC 3501 prints them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContentType {
    pub(super) kind: String,
    pub(super) subtype: String,
    pub(super) parameters: Parameters,
}

impl ContentType {
    pub(super) fn new(kind: &str, subtype: &str) -> Self {
        ContentType { kind: kind.into(), subtype: subtype.into(), parameters: Parameters::default() }
    }

    /// Reads a field's value. `None` when there is no `type/subtype` in it: the part is then taken as if the
    /// field were absent (RFC 2045 §5.2).
    pub(super) fn parse(value: &[u8]) -> Option<ContentType> {
        let line = unfold(value);
        let mut cursor = Cursor::new(&line);
        let kind = cursor.word()?;
        cursor.skip_blanks();
        if cursor.peek() != Some(b'/') {
            return None;
        }
        cursor.at += 1;
        let subtype = cursor.word()?;
        Some(ContentType { kind, subtype, parameters: Parameters::parse(&mut cursor) })
    }
}

/// A disposition with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disposition {
    pub(super) kind: String,
    pub(super) parameters: Parameters,
}

impl Disposition {
    /// Reads a field's value. One with parameters and no word is an attachment (RFC 2183 §2.8: so is every
    /// disposition that is not understood); one with nothing at all is no disposition.
    pub(super) fn parse(value: &[u8]) -> Option<Disposition> {
        let line = unfold(value);
        let mut cursor = Cursor::new(&line);
        let kind = cursor.word();
        let parameters = Parameters::parse(&mut cursor);
        if kind.is_none() && parameters.is_empty() {
            return None;
        }
        Some(Disposition { kind: kind.unwrap_or_else(|| "ATTACHMENT".into()), parameters })
    }
}

/// The Content-* fields of one part's header, each where it stands first.
#[derive(Debug, Default)]
pub(super) struct MimeHeader {
    pub(super) content_type: Option<ContentType>,
    pub(super) encoding_word: Vec<u8>,
    pub(super) disposition: Option<Disposition>,
    pub(super) id: Option<Vec<u8>>,
    pub(super) description: Option<Vec<u8>>,
    pub(super) md5: Option<Vec<u8>>,
    pub(super) location: Option<Vec<u8>>,
    pub(super) languages: Vec<Vec<u8>>,
}

impl MimeHeader {
    pub(super) fn parse(block: &[u8]) -> MimeHeader {
        let mut header = MimeHeader::default();
        let mut seen = [false; 8];
        for field in fields(block) {
            const NAMES: [&str; 8] =
                ["type", "transfer-encoding", "disposition", "id", "description", "md5", "location", "language"];
            let Some((prefix, name)) = field.name.split_at_checked(8) else { continue };
            if !prefix.eq_ignore_ascii_case(b"content-") {
                continue;
            }
            let Some(which) = NAMES.iter().position(|n| name.eq_ignore_ascii_case(n.as_bytes())) else { continue };
            if std::mem::replace(&mut seen[which], true) {
                continue;
            }
            match which {
                0 => header.content_type = ContentType::parse(field.value),
                1 => {
                    let line = unfold(field.value);
                    header.encoding_word = Cursor::new(&line).word().unwrap_or_default().into_bytes();
                }
                2 => header.disposition = Disposition::parse(field.value),
                3 => header.id = Some(unfold(field.value)),
                4 => header.description = Some(unfold(field.value)),
                5 => header.md5 = Some(unfold(field.value)),
                // RFC 2557 §4.4.2: blanks inside come from folding and are no part of the URI.
                6 => {
                    let mut location = unfold(field.value);
                    location.retain(|b| !b.is_ascii_whitespace());
                    header.location = Some(location);
                }
                _ => header.languages = languages(&unfold(field.value)),
            }
        }
        header
    }

    pub(super) fn encoding(&self) -> Encoding {
        Encoding::from_word(&self.encoding_word)
    }

    /// Where in the block the word `binary` stands that is its encoding.
    pub(super) fn place_of_binary(block: &[u8]) -> Option<usize> {
        let mut at = 0;
        for field in fields(block) {
            if field.is("Content-Transfer-Encoding") {
                let value = at + memchr::memchr(b':', field.whole)? + 1;
                let mut cursor = Cursor::new(field.value);
                cursor.skip_blanks();
                let begin = cursor.at;
                return cursor.word().filter(|word| word == "BINARY").map(|_| value + begin);
            }
            at += field.whole.len();
        }
        None
    }
}

// RFC 3282 §2: tags with commas between, comments allowed.
fn languages(line: &[u8]) -> Vec<Vec<u8>> {
    let mut cursor = Cursor::new(line);
    let mut tags = Vec::new();
    while tags.len() < LANGUAGES && cursor.at < line.len() {
        cursor.skip_blanks();
        let rest = &line[cursor.at..];
        let length = rest.iter().position(|b| matches!(b, b',' | b'(') || b.is_ascii_whitespace());
        let tag = &rest[..length.unwrap_or(rest.len())];
        if !tag.is_empty() && tag.iter().all(u8::is_ascii_graphic) {
            tags.push(tag.to_vec());
        }
        cursor.at += tag.len().max(1);
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_type_is_none() {
        for bad in ["", "text", "/plain", "text/", "text plain", "\"text\"/plain", "(text/plain", ";"] {
            assert_eq!(ContentType::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn dispositions() {
        let disposition = |value: &[u8]| Disposition::parse(value).map(|d| d.kind);
        assert_eq!(disposition(b" inline"), Some("INLINE".into()));
        assert_eq!(disposition(b"; filename=x"), Some("ATTACHMENT".into()));
        assert_eq!(disposition(b"  "), None);
    }

    #[test]
    fn the_first_of_two_fields_counts() {
        let header = MimeHeader::parse(
            b"content-type: a/b\r\nContent-Type: c/d\r\nContent-Language: en, de (x)\r\n ,fr\r\n\
              Content-Location: http://a/\r\n b\r\nContent-Transfer-Encoding: BASE64; x\r\n\r\n",
        );
        assert!(header.content_type.as_ref().is_some_and(|t| t.kind == "A" && t.subtype == "B"));
        assert_eq!(header.languages, [b"en".to_vec(), b"de".to_vec(), b"fr".to_vec()]);
        assert_eq!(header.location.as_deref(), Some(&b"http://a/b"[..]));
        assert_eq!(header.encoding(), Encoding::Base64);
    }
}
