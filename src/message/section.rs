//! Sections: from what stands between the brackets of `BODY[...]` to a range of the stored octets.
//! RFC 3501 §6.4.5 decides everything here. Nothing is read: the table of parts is enough.

use std::ops::Range;

use super::parts::PartTable;

/// What is asked of a part, or with an empty path of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SectionText {
    /// `BODY[]` or `BODY[1.2]`
    Whole,
    /// `HEADER`
    Header,
    /// `HEADER.FIELDS` and `HEADER.FIELDS.NOT`; the names go to [`filter_header`](super::filter_header).
    HeaderFields,
    /// `TEXT`
    Text,
    /// `MIME`
    Mime,
}

/// Where the answer is, in octets of the stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Located {
    /// These octets are the answer.
    Octets(Range<u64>),
    /// These octets are a header block; the answer is [`filter_header`](super::filter_header) of it.
    HeaderBlock(Range<u64>),
}

/// Finds a section. `None`: the message has no such part, and FETCH answers NIL.
pub fn locate(table: &PartTable, path: &[u32], text: SectionText) -> Option<Located> {
    match text {
        SectionText::Whole if path.is_empty() => Some(Located::Octets(0..table.message_octets())),
        SectionText::Whole => table.find(path).map(|part| Located::Octets(part.body.clone())),
        // "provided that the numeric part specifier refers to a part of type MESSAGE/RFC822"
        SectionText::Header => table.inner(path).map(|part| Located::Octets(part.header.clone())),
        SectionText::HeaderFields => table.inner(path).map(|part| Located::HeaderBlock(part.header.clone())),
        SectionText::Text => table.inner(path).map(|part| Located::Octets(part.body.clone())),
        // "The MIME part specifier MUST be prefixed by one or more numeric part specifiers." It is the part's
        // header also when the part is a message: mox 39c21f8 answered with the inner one, and clients broke.
        SectionText::Mime => table.find(path).map(|part| Located::Octets(part.header.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Scanner;

    #[test]
    fn sections_of_a_nested_message() {
        let message = include_bytes!("../../tests/messages/nested.eml");
        let mut scanner = Scanner::new();
        scanner.feed(message);
        let table = PartTable::decode(&scanner.finish().parts).expect("our own table");
        let text = |path: &[u32], text| {
            locate(&table, path, text).map(|found| {
                let (Located::Octets(range) | Located::HeaderBlock(range)) = found;
                String::from_utf8_lossy(&message[range.start as usize..range.end as usize]).into_owned()
            })
        };
        use SectionText::*;
        assert_eq!(text(&[], Whole).map(|whole| whole.len()), Some(message.len()));
        let header = text(&[], Header).expect("a header");
        assert!(header.starts_with("From: Ada") && header.ends_with("\r\n\r\n"));
        assert_eq!(text(&[], HeaderFields), Some(header.clone()));
        assert_eq!(text(&[], Text).map(|body| header + &body).map(|whole| whole.len()), Some(message.len()));
        assert_eq!(text(&[], Mime), None);
        assert_eq!(text(&[1], Whole).as_deref(), Some("See the message below.\r\n"));
        assert_eq!(text(&[1], Header), None);
        assert_eq!(text(&[1], Text), None);
        assert!(text(&[1], Mime).is_some_and(|mime| mime.starts_with("Content-Type: text/plain")));
        assert!(text(&[2], Mime).is_some_and(|mime| mime.contains("message/rfc822") && !mime.contains("From:")));
        assert!(
            text(&[2], Header).is_some_and(|inner| inner.starts_with("From: Grace") && inner.ends_with("\r\n\r\n"))
        );
        assert!(text(&[2], Text).is_some_and(|inner| inner.starts_with("--inner\r\n") && inner.ends_with("--inner--")));
        assert_eq!(text(&[2, 1], Whole).as_deref(), Some("The first text inside."));
        assert_eq!(text(&[2, 2], Whole).as_deref(), Some("<p>The second text inside.</p>"));
        assert!(text(&[2, 2], Mime).is_some_and(|mime| mime.starts_with("Content-Type: text/html")));
        assert_eq!(text(&[2, 3], Whole), None);
        assert_eq!(text(&[3], Whole), None);
        assert_eq!(text(&[2, 1], Header), None);
    }
}
