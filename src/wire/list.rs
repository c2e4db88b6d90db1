//! LIST, XLIST and LSUB: their patterns, and the lines that answer them.

use nom::Parser;
use nom::bytes::complete::take_while1;
use std::borrow::Cow;

use super::dialect::Dialect;
use super::garbled::{Parsed, Wrong, expected};
use super::lexical::{astring, is_list_char, space, string};
use super::write;
use crate::types::{Body, List, ListWord, Lsub, MailboxName, Pattern};

/// list = "LIST" SP mailbox SP list-mailbox
pub(super) fn command(i: &[u8], dialect: Dialect, is_xlist: bool) -> Parsed<'_, Body> {
    let (i, pattern) = pattern(i, dialect)?;
    Ok((i, Body::List(List { is_xlist, patterns: vec![pattern] })))
}

/// lsub = "LSUB" SP mailbox SP list-mailbox
pub(super) fn lsub(i: &[u8], dialect: Dialect) -> Parsed<'_, Body> {
    let (i, pattern) = pattern(i, dialect)?;
    Ok((i, Body::Lsub(Lsub { pattern })))
}

/// SP mailbox SP list-mailbox
///
/// What is not in the client's encoding matches nothing: an error would cost such a client its folder list.
fn pattern(i: &[u8], dialect: Dialect) -> Parsed<'_, Pattern> {
    let (i, ()) = space(i)?;
    let (i, reference) = expected("a reference name", astring).parse(i)?;
    let (i, ()) = space(i)?;
    let (i, mailbox) = expected("a mailbox name or pattern", list_mailbox).parse(i)?;
    let pattern = match (dialect.decode(&reference), dialect.decode(&mailbox)) {
        (Ok(reference), Ok(mailbox)) => Pattern::new(&reference, &mailbox),
        _ => Pattern::nothing(),
    };
    Ok((i, pattern))
}

/// list-mailbox = 1*list-char / string
fn list_mailbox(i: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    match i.first() {
        Some(b'"' | b'{') => string(i),
        _ => take_while1::<_, _, Wrong>(is_list_char).map(Cow::Borrowed).parse(i),
    }
}

/// A mailbox as it is told: `* LIST (attributes) "/" name` (RFC 3501 §7.2.2).
#[derive(Debug, Clone, Copy)]
pub struct ListLine<'a> {
    pub word: ListWord,
    /// With their backslashes.
    pub attributes: &'a [&'a str],
    pub name: &'a MailboxName,
}

/// Writes it.
pub fn write_line(out: &mut Vec<u8>, line: &ListLine<'_>, dialect: Dialect) {
    head(out, line.word, line.attributes);
    write::mailbox(out, line.name, dialect);
    write::end(out);
}

/// `* LIST (\Noselect) "/" ""`: the answer when the pattern asks for the root (RFC 3501 §6.3.8).
pub fn write_root(out: &mut Vec<u8>, word: ListWord) {
    head(out, word, &["\\Noselect"]);
    out.extend_from_slice(b"\"\"");
    write::end(out);
}

fn head(out: &mut Vec<u8>, word: ListWord, attributes: &[&str]) {
    out.extend_from_slice(b"* ");
    out.extend_from_slice(word.wire().as_bytes());
    out.extend_from_slice(b" (");
    for (at, attribute) in attributes.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(attribute.as_bytes());
    }
    out.extend_from_slice(b") \"/\" ");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parse;

    fn pattern_of(line: &str) -> Option<Pattern> {
        match parse(line.as_bytes()).ok()?.body {
            Body::List(mut list) => list.patterns.pop(),
            Body::Lsub(lsub) => Some(lsub.pattern),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn patterns_come_in_every_form() {
        for line in ["a LIST \"\" *", "a lsub \"\" \"*\"", "a XLIST \"\" {1}\r\n*", "a LIST {0}\r\n \"*%\""] {
            assert_eq!(pattern_of(line), Some(Pattern::new("", "*")), "{line}");
        }
        assert_eq!(pattern_of("a LIST a/ b]%"), Some(Pattern::new("a/", "b]%")));
        assert!(pattern_of("a LIST \"\" \"\"").is_some_and(|p| p.asks_for_root()));
        assert!(pattern_of("a LIST \"\" Entw&APw-rf%").is_some_and(|p| p.matches("Entwürfe")));
        assert_eq!(pattern_of("a LIST \"\" \"&Jjo!*\""), Some(Pattern::nothing()));
        assert_eq!(pattern_of("a LIST \"&\" *"), Some(Pattern::nothing()));
        for bad in [
            "a LIST",
            "a LIST \"\"",
            "a LIST \"\" ",
            "a LIST \"\"  *",
            "a LIST * *",
            "a LIST \"\" (*)",
            "a LIST \"\" * *",
        ] {
            assert_eq!(pattern_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn lines() {
        let mut out = Vec::new();
        let mut line = |word, attributes: &[&str], name| {
            let name = MailboxName::new(name).expect("a name");
            write_line(&mut out, &ListLine { word, attributes, name: &name }, Dialect::default());
        };
        line(ListWord::List, &["\\HasNoChildren", "\\Sent"], "Sent");
        line(ListWord::Lsub, &[], "Entwürfe für \"mich\"");
        write_root(&mut out, ListWord::Xlist);
        let expected = "* LIST (\\HasNoChildren \\Sent) \"/\" Sent\r\n\
                        * LSUB () \"/\" \"Entw&APw-rfe f&APw-r \\\"mich\\\"\"\r\n\
                        * XLIST (\\Noselect) \"/\" \"\"\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}
