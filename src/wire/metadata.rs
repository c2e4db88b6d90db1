//! Annotations: their names as arguments, and the line that tells their values (RFC 5464).

use nom::Parser;

use super::dialect::Dialect;
use super::garbled::{Parsed, expected, fail};
use super::lexical::astring;
use super::write;
use crate::types::{EntryName, MailboxName};

/// entry = astring, a slash-separated path
///
/// RFC 5464 §3.2: invalid entry names result in a BAD response in any command in which they are used.
pub(super) fn entry_name(i: &[u8]) -> Parsed<'_, EntryName> {
    let what = "the name of an annotation like /private/comment";
    let (rest, name) = expected(what, astring).parse(i)?;
    match std::str::from_utf8(&name).ok().and_then(EntryName::new) {
        Some(name) => Ok((rest, name)),
        None => fail(i, what),
    }
}

/// `* METADATA name (entry value ...)`, with NIL for what has no value (RFC 5464 §4.4.1). Without a mailbox the
/// annotations are the server's. At least one entry.
pub fn write_line(
    out: &mut Vec<u8>,
    mailbox: Option<&MailboxName>,
    values: &[(&EntryName, Option<&[u8]>)],
    dialect: Dialect,
) {
    out.extend_from_slice(b"* METADATA ");
    match mailbox {
        Some(name) => write::mailbox(out, name, dialect),
        None => out.extend_from_slice(b"\"\""),
    }
    out.extend_from_slice(b" (");
    for (at, (name, value)) in values.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        write::astring(out, name.as_str().as_bytes());
        out.push(b' ');
        match value {
            Some(value) => write::binary_string(out, value),
            None => write::nil(out),
        }
    }
    out.push(b')');
    write::end(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let (comment, other) = (EntryName::new("/shared/comment"), EntryName::new("/private/a b"));
        let (comment, other) = (comment.expect("a name"), other.expect("a name"));
        let mut out = Vec::new();
        let values: [(_, Option<&[u8]>); 2] = [(&comment, None), (&other, Some(b"x \"y\""))];
        write_line(&mut out, Some(&MailboxName::inbox()), &values, Dialect::default());
        write_line(&mut out, None, &[(&comment, Some(b"a\0"))], Dialect::default());
        let expected = "* METADATA INBOX (/shared/comment NIL \"/private/a b\" \"x \\\"y\\\"\")\r\n\
                        * METADATA \"\" (/shared/comment ~{2}\r\na\0)\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}
