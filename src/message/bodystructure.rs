//! BODYSTRUCTURE (RFC 3501 §7.4.2) as ready wire bytes, and BODY made from it.
//! Both go over a list with a stack of their own: how deep a message nests is its sender's choice.

use std::borrow::Cow;

use super::media::{ContentType, MimeHeader};
use super::parameters::decoded_value;
use super::parts::MediaKind;
use super::strings::{Letters, write_optional_text, write_ready};
use super::tree::Node;

/// What BODYSTRUCTURE says of one part, apart from sizes and children.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// A multipart's subtype; of other parts all from the type to the encoding.
    head: Vec<u8>,
    /// The extension data.
    tail: Vec<u8>,
}

impl Wire {
    pub(super) fn new(kind: MediaKind, content_type: &ContentType, mime: &MimeHeader, letters: Letters) -> Wire {
        let charset = content_type.parameters.charset();
        let declared = charset.as_deref();
        let mut wire = Wire::default();
        let Wire { head, tail } = &mut wire;
        if kind == MediaKind::Multipart {
            write_ready(head, content_type.subtype.as_bytes());
            content_type.parameters.write(tail, false, letters, declared);
        } else {
            write_ready(head, content_type.kind.as_bytes());
            head.push(b' ');
            write_ready(head, content_type.subtype.as_bytes());
            head.push(b' ');
            content_type.parameters.write(head, kind.is_text(), letters, declared);
            head.push(b' ');
            write_optional_text(head, mime.id.as_deref(), letters, declared);
            head.push(b' ');
            write_optional_text(head, mime.description.as_deref(), letters, declared);
            head.push(b' ');
            // Never NIL: RFC 3501 wants a string here, and the Gmail app an encoding it knows.
            write_ready(head, mime.encoding().wire().map_or(&mime.encoding_word[..], str::as_bytes));
            write_optional_text(tail, mime.md5.as_deref(), letters, declared);
        }
        tail.push(b' ');
        match &mime.disposition {
            Some(disposition) => {
                tail.push(b'(');
                write_ready(tail, disposition.kind.as_bytes());
                tail.push(b' ');
                disposition.parameters.write(tail, false, letters, declared);
                tail.push(b')');
            }
            None => tail.extend_from_slice(b"NIL"),
        }
        for (at, language) in mime.languages.iter().enumerate() {
            tail.extend_from_slice(if at == 0 { b" (" } else { b" " });
            write_ready(tail, language);
        }
        tail.extend_from_slice(if mime.languages.is_empty() { b" NIL " } else { b") " });
        write_optional_text(tail, mime.location.as_deref(), letters, declared);
        wire
    }

    /// The part is told in another encoding than it is stored in.
    pub(super) fn tell_base64(&mut self) {
        if let Some(before) = self.head.strip_suffix(b"\"BINARY\"").map(<[u8]>::len) {
            self.head.truncate(before);
            self.head.extend_from_slice(b"\"BASE64\"");
        }
    }
}

/// Writes the whole structure. The nodes stand in the order of the message, parents first.
pub(super) fn write(nodes: &[Node]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        while let Some(done) = open.pop_if(|last| Some(*last) != node.parent) {
            close(&mut out, &nodes[done]);
        }
        if let (Some(envelope), Some(_)) = (&node.envelope, node.parent) {
            out.extend_from_slice(envelope);
            out.push(b' ');
        }
        out.push(b'(');
        let part = &node.part;
        if part.kind != MediaKind::Multipart {
            out.extend_from_slice(&node.wire.head);
            out.extend_from_slice(format!(" {}", part.body.end - part.body.start + node.growth.octets).as_bytes());
        }
        match part.kind {
            MediaKind::Multipart | MediaKind::Message => {
                if part.kind == MediaKind::Message {
                    out.push(b' ');
                }
                open.push(index);
            }
            MediaKind::Text | MediaKind::Html => {
                out.extend_from_slice(format!(" {} ", told_lines(node)).as_bytes());
                out.extend_from_slice(&node.wire.tail);
                out.push(b')');
            }
            MediaKind::Other => {
                out.push(b' ');
                out.extend_from_slice(&node.wire.tail);
                out.push(b')');
            }
        }
    }
    while let Some(done) = open.pop() {
        close(&mut out, &nodes[done]);
    }
    out
}

/// Writes what follows the children of a multipart, or the one child of a message.
fn close(out: &mut Vec<u8>, node: &Node) {
    out.push(b' ');
    if node.part.kind == MediaKind::Message {
        out.extend_from_slice(told_lines(node).to_string().as_bytes());
    } else {
        out.extend_from_slice(&node.wire.head);
    }
    out.push(b' ');
    out.extend_from_slice(&node.wire.tail);
    out.push(b')');
}

fn told_lines(node: &Node) -> u64 {
    node.part.lines.saturating_add_signed(node.growth.lines)
}

/// BODY from the wire bytes of BODYSTRUCTURE: the same without extension data (RFC 3501 §7.4.2).
/// `None` when the bytes are no BODYSTRUCTURE, which only damage in the store can cause.
pub fn body_without_extensions(bodystructure: &[u8]) -> Option<Vec<u8>> {
    rewritten(bodystructure, Rewriting { drops_extensions: true, decodes_parameters: false })
}

/// BODYSTRUCTURE as IMAP4rev2 wants it: the values of body parameters in UTF-8, under the name with the star.
/// `None` when there is nothing to decode, as in nearly all messages, or when the bytes are no BODYSTRUCTURE.
// RFC 9051 §7.5.2: charsets are decoded in body parameters; of the parameters of a disposition only the pieces are
// joined, which they are in what is stored. RFC 3501 clients decode the values themselves (RFC 2231 §6).
pub fn with_decoded_parameters(bodystructure: &[u8]) -> Option<Vec<u8>> {
    memchr::memmem::find(bodystructure, b"*\" ")?;
    let rewriting = Rewriting { drops_extensions: false, decodes_parameters: true };
    rewritten(bodystructure, rewriting).filter(|decoded| decoded != bodystructure)
}

/// What is made of a BODYSTRUCTURE that was written here.
#[derive(Debug, Clone, Copy)]
struct Rewriting {
    drops_extensions: bool,
    decodes_parameters: bool,
}

fn rewritten(bodystructure: &[u8], rewriting: Rewriting) -> Option<Vec<u8>> {
    #[derive(PartialEq)]
    enum Inside {
        Multipart,
        Message,
    }
    let mut copy = Copy { text: bodystructure, at: 0, rewriting, out: Vec::with_capacity(bodystructure.len()) };
    let mut open = Vec::new();
    loop {
        // A body begins.
        copy.keep(b'(')?;
        if copy.peek() == Some(b'(') {
            open.push(Inside::Multipart);
            continue;
        }
        let kind = copy.value()?;
        let subtype = copy.next_value()?;
        copy.next_parameters()?;
        // Id, description, encoding, size.
        for _ in 0..4 {
            copy.next_value()?;
        }
        let is_message = kind == b"\"MESSAGE\"" && matches!(subtype, b"\"RFC822\"" | b"\"GLOBAL\"");
        if is_message {
            copy.next_value()?;
            copy.keep(b' ')?;
            open.push(Inside::Message);
            continue;
        }
        if kind == b"\"TEXT\"" {
            copy.next_value()?;
        }
        copy.extensions()?;
        // A body has ended, and perhaps with it those around it.
        loop {
            match open.last() {
                None => return (copy.at == bodystructure.len()).then_some(copy.out),
                Some(Inside::Multipart) if copy.peek() == Some(b'(') => break,
                Some(inside) => {
                    let begins_with_parameters = *inside == Inside::Multipart && !rewriting.drops_extensions;
                    open.pop();
                    // The subtype of the multipart, the lines of the message.
                    copy.next_value()?;
                    if begins_with_parameters {
                        copy.next_parameters()?;
                    }
                    copy.extensions()?;
                }
            }
        }
    }
}

/// Copies wire bytes value by value.
struct Copy<'a> {
    text: &'a [u8],
    at: usize,
    rewriting: Rewriting,
    out: Vec<u8>,
}

impl<'a> Copy<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn keep(&mut self, octet: u8) -> Option<()> {
        (self.peek()? == octet).then(|| {
            self.at += 1;
            self.out.push(octet);
        })
    }

    fn next_value(&mut self) -> Option<&'a [u8]> {
        self.keep(b' ')?;
        self.value()
    }

    fn value(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        self.at = value_end(self.text, start)?;
        self.out.extend_from_slice(&self.text[start..self.at]);
        Some(&self.text[start..self.at])
    }

    /// The extension data up to the closing parenthesis, kept or left out, and the parenthesis.
    fn extensions(&mut self) -> Option<()> {
        while self.peek()? == b' ' {
            if self.rewriting.drops_extensions {
                self.at = value_end(self.text, self.at + 1)?;
            } else {
                self.next_value()?;
            }
        }
        self.keep(b')')
    }

    /// The next value, which is a list of parameters or NIL.
    fn next_parameters(&mut self) -> Option<()> {
        if !self.rewriting.decodes_parameters {
            return self.next_value().map(drop);
        }
        self.keep(b' ')?;
        if self.peek()? != b'(' {
            return self.value().map(drop);
        }
        self.keep(b'(')?;
        loop {
            let is_extended = self.value()?.ends_with(b"*\"");
            self.keep(b' ')?;
            let start = self.at;
            let end = value_end(self.text, start)?;
            match decoded_value(string_of(&self.text[start..end])?.as_ref()).filter(|_| is_extended) {
                Some(text) => {
                    write_ready(&mut self.out, text.as_bytes());
                    self.at = end;
                }
                None => drop(self.value()?),
            }
            if self.peek()? != b' ' {
                return self.keep(b')');
            }
            self.keep(b' ')?;
        }
    }
}

/// Where the value that begins at `at` ends: a string, a number, NIL, or a list of such.
fn value_end(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0usize;
    loop {
        match text.get(at)? {
            b'(' => depth += 1,
            b')' => depth = depth.checked_sub(1)?,
            b' ' if depth > 0 => {}
            b'"' => {
                at += 1;
                while text.get(at)? != &b'"' {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'{' => {
                let end = at + memchr::memchr(b'}', &text[at..])?;
                let octets: usize = std::str::from_utf8(&text[at + 1..end]).ok()?.parse().ok()?;
                // "}", CR, LF, and then the octets, of which the last is where we are.
                at = end.checked_add(2)?.checked_add(octets)?;
            }
            octet if octet.is_ascii_alphanumeric() => {
                while text.get(at + 1).is_some_and(u8::is_ascii_alphanumeric) {
                    at += 1;
                }
            }
            _ => return None,
        }
        at += 1;
        if depth == 0 {
            return (at <= text.len()).then_some(at);
        }
    }
}

/// The octets of a quoted string or a literal.
fn string_of(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(inside) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        let end = memchr::memchr(b'\n', value.strip_prefix(b"{")?)?;
        return Some(Cow::Borrowed(&value[end + 2..]));
    };
    if memchr::memchr(b'\\', inside).is_none() {
        return Some(Cow::Borrowed(inside));
    }
    let mut octets = Vec::with_capacity(inside.len());
    let mut rest = inside.iter();
    while let Some(octet) = rest.next() {
        octets.push(if *octet == b'\\' { *rest.next()? } else { *octet });
    }
    Some(Cow::Owned(octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::describe;

    fn structure(message: &str) -> String {
        String::from_utf8(describe(message.as_bytes()).bodystructure).expect("ASCII")
    }

    fn body(message: &str) -> String {
        let body = body_without_extensions(structure(message).as_bytes()).expect("our own");
        String::from_utf8(body).expect("ASCII")
    }

    #[test]
    fn a_plain_text() {
        let message = "Subject: x\r\n\r\none\r\ntwo\r\n";
        assert_eq!(
            structure(message),
            r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 10 2 NIL NIL NIL NIL)"#
        );
        assert_eq!(body(message), r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 10 2)"#);
    }

    #[test]
    fn everything_a_part_can_say() {
        let message = "Content-Type: image/png; name=a.png\r\nContent-ID: <i@d>\r\nContent-Description: a \"b\"\r\n\
            Content-Transfer-Encoding: base64\r\nContent-MD5: abc=\r\nContent-Disposition: attachment; filename=a.png\r\n\
            Content-Language: en, de\r\nContent-Location: http://x/\r\n\r\nAAAA";
        let basic = r#"("IMAGE" "PNG" ("NAME" "a.png") "<i@d>" "a \"b\"" "BASE64" 4"#;
        let extension = r#"("ATTACHMENT" ("FILENAME" "a.png")) ("en" "de") "http://x/")"#;
        assert_eq!(structure(message), format!("{basic} \"abc=\" {extension}"));
        assert_eq!(body(message), format!("{basic})"));
    }

    #[test]
    fn multiparts_and_messages() {
        let message = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\
            Content-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>\r\n\r\n--b--\r\n";
        let text = r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3 0"#;
        let outer = r#"("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 60 (NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL)"#;
        let inner = r#"("TEXT" "HTML" ("CHARSET" "utf-8") NIL NIL "7BIT" 5 1"#;
        let tail = "NIL NIL NIL NIL)";
        assert_eq!(
            structure(message),
            format!(r#"({text} {tail}{outer} {inner} {tail} 4 {tail} "MIXED" ("BOUNDARY" "b") NIL NIL NIL)"#)
        );
        assert_eq!(body(message), format!(r#"({text}){outer} {inner}) 4) "MIXED")"#));
    }

    #[test]
    fn what_cannot_be_written_is_told_as_something_else() {
        let empty = r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 0 0 NIL NIL NIL NIL)"#;
        let table = [
            // A multipart without parts has one that is empty.
            (
                "Content-Type: multipart/alternative; boundary=b\r\n\r\nnothing\r\n",
                format!(r#"({empty} "ALTERNATIVE" ("BOUNDARY" "b") NIL NIL NIL)"#),
            ),
            // Without a boundary it is text, so that at least everything can be seen.
            (
                "Content-Type: multipart/mixed\r\n\r\nseen\r\n",
                r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 6 1 NIL NIL NIL NIL)"#.into(),
            ),
            // Nobody may encode a message; a client would look for parts in it.
            (
                "Content-Type: message/rfc822; name=m\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA",
                r#"("APPLICATION" "OCTET-STREAM" ("NAME" "m") NIL NIL "BASE64" 4 NIL NIL NIL NIL)"#.into(),
            ),
            (
                "Content-Type: nonsense\r\nContent-Transfer-Encoding: x-odd\r\n\r\n",
                r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "X-ODD" 0 0 NIL NIL NIL NIL)"#.into(),
            ),
            (
                "Content-Type: text/x; charset=utf-8\r\nContent-Disposition: ;\r\nContent-Transfer-Encoding: \"\r\n\r\n",
                r#"("TEXT" "X" ("CHARSET" "utf-8") NIL NIL "7BIT" 0 0 NIL NIL NIL NIL)"#.into(),
            ),
            ("", empty.to_owned()),
        ];
        for (message, wire) in table {
            assert_eq!(structure(message), wire, "{message}");
            assert!(body(message).len() < wire.len());
        }
    }

    #[test]
    fn in_a_digest_a_part_is_a_message() {
        let message =
            "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: in\r\n\r\ntext\r\n--b--\r\n";
        assert!(structure(message).starts_with(r#"(("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 19 (NIL "in" "#));
    }

    #[test]
    fn parameters_are_decoded_where_they_are_wanted() {
        let decoded = |message: &str| {
            let bytes = with_decoded_parameters(structure(message).as_bytes())?;
            assert!(body_without_extensions(&bytes).is_some(), "{message}");
            Some(String::from_utf8(bytes).expect("UTF-8"))
        };
        let message = "Content-Type: image/png; name*0*=iso-8859-1'fr'caf%E9%20; name*1*=%22x%22; a=\"50%25'x'\"\r\n\
            Content-Description: not*\r\nContent-Disposition: attachment; filename*=utf-8''caf%C3%A9\r\n\r\nAAAA";
        let wanted = concat!(
            r#"("IMAGE" "PNG" ("NAME*" "café \"x\"" "A" "50%25'x'") NIL "not*" "7BIT" 4"#,
            r#" NIL ("ATTACHMENT" ("FILENAME*" "utf-8''caf%C3%A9")) NIL NIL)"#
        );
        assert_eq!(decoded(message).as_deref(), Some(wanted));
        let message = "Content-Type: multipart/x; boundary=b; x*=''%E2%82%AC\r\n\r\n--b\r\nContent-Type: message/rfc822; \
            n*=koi8-r'ru'%C4%C1\r\n\r\nSubject: x*\r\n\r\n--b--\r\n";
        let text = decoded(message).expect("something to decode");
        assert!(text.contains(r#"("N*" "да")"#) && text.contains(r#"("BOUNDARY" "b" "X*" "€")"#), "{text}");
        // A value with a line end in it would have to be a literal; it becomes a space, as everywhere.
        let message = format!("Content-Type: a/b; n*=utf-8''a%0D%0Ab; m*=utf-8''{}\r\n\r\n", "%C3%A9".repeat(600));
        let text = decoded(&message).expect("something to decode");
        assert!(text.contains(r#""N*" "a  b""#) && text.contains("{1200}\r\néé"), "{text}");
        for message in
            ["Subject: a*\r\n\r\n", "Content-Description: a*\r\n\r\n", "Content-Type: a/b; n=\"x*\"; m=1\r\n\r\n"]
        {
            assert_eq!(decoded(message), None, "{message}");
        }
    }

    #[test]
    fn damaged_bytes_give_nothing() {
        let whole = describe(include_bytes!("../../tests/messages/nested.eml")).bodystructure;
        for cut in 0..whole.len() {
            assert_eq!(body_without_extensions(&whole[..cut]), None);
        }
        assert_eq!(body_without_extensions(b"({99999999999999999999}\r\n"), None);
        assert_eq!(body_without_extensions(&b"(".repeat(1_000_000)), None);
    }
}
