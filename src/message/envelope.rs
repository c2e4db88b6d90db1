//! ENVELOPE (RFC 3501 §7.4.2) as ready wire bytes, made from one header block.
//! Whatever the block holds, what comes out is well-formed: clients that meet a broken one lose mail.

use super::address::{Entry, addresses};
use super::header::fields;
use super::media::MimeHeader;
use super::strings::{Letters, write_optional_text, write_ready, write_text};
use super::words::unfold;

/// The fields of a header block that ENVELOPE, sorting and threading look at, as raw values.
#[derive(Debug, Default)]
pub(super) struct EnvelopeFields<'a> {
    pub(super) date: Option<&'a [u8]>,
    pub(super) subject: Option<&'a [u8]>,
    pub(super) from: Option<&'a [u8]>,
    pub(super) sender: Option<&'a [u8]>,
    pub(super) reply_to: Option<&'a [u8]>,
    pub(super) to: Vec<&'a [u8]>,
    pub(super) cc: Vec<&'a [u8]>,
    pub(super) bcc: Vec<&'a [u8]>,
    pub(super) in_reply_to: Option<&'a [u8]>,
    pub(super) message_id: Option<&'a [u8]>,
    pub(super) references: Option<&'a [u8]>,
}

impl<'a> EnvelopeFields<'a> {
    pub(super) fn of(block: &'a [u8]) -> Self {
        let mut found = EnvelopeFields::default();
        for field in fields(block) {
            // Of fields that may stand only once the first counts. RFC 5322 §4.5.3: several destination
            // fields are read as one list.
            let lower = field.name.to_ascii_lowercase();
            let once = match lower.as_slice() {
                b"date" => &mut found.date,
                b"subject" => &mut found.subject,
                b"from" => &mut found.from,
                b"sender" => &mut found.sender,
                b"reply-to" => &mut found.reply_to,
                b"in-reply-to" => &mut found.in_reply_to,
                b"message-id" => &mut found.message_id,
                b"references" => &mut found.references,
                b"to" => {
                    found.to.push(field.value);
                    continue;
                }
                b"cc" => {
                    found.cc.push(field.value);
                    continue;
                }
                b"bcc" => {
                    found.bcc.push(field.value);
                    continue;
                }
                _ => continue,
            };
            once.get_or_insert(field.value);
        }
        found
    }

    /// Writes the envelope. `declared` is the charset to try for bare 8-bit text that is not UTF-8.
    pub(super) fn write(&self, out: &mut Vec<u8>, letters: Letters, declared: Option<&str>) {
        let text = |out: &mut Vec<u8>, value: Option<&[u8]>| {
            write_optional_text(out, value.map(unfold).as_deref(), letters, declared);
        };
        let list = |values: &[&[u8]]| addresses_wire(&addresses(values.iter().copied()), letters, declared);
        out.push(b'(');
        text(out, self.date);
        out.push(b' ');
        text(out, self.subject);
        let from = list(self.from.as_slice());
        // RFC 3501 §7.4.2: sender and reply-to default to from, also when their fields are empty.
        let or_from = |value: Option<&[u8]>| Some(list(value.as_slice())).filter(|list| list != b"NIL");
        let sender = or_from(self.sender);
        let reply_to = or_from(self.reply_to);
        for list in [
            &from,
            sender.as_ref().unwrap_or(&from),
            reply_to.as_ref().unwrap_or(&from),
            &list(&self.to),
            &list(&self.cc),
            &list(&self.bcc),
        ] {
            out.push(b' ');
            out.extend_from_slice(list);
        }
        out.push(b' ');
        text(out, self.in_reply_to);
        out.push(b' ');
        text(out, self.message_id);
        out.push(b')');
    }
}

/// ENVELOPE of a header block, for a client that was promised `letters`. The stored envelope is the one for
/// [`Letters::SevenBit`]; this makes the other kind from the header when it is asked for.
pub fn envelope(block: &[u8], letters: Letters) -> Vec<u8> {
    let content_type = MimeHeader::parse(block).content_type;
    let charset = content_type.and_then(|content_type| content_type.parameters.charset());
    let mut out = Vec::new();
    EnvelopeFields::of(block).write(&mut out, letters, charset.as_deref());
    out
}

fn addresses_wire(entries: &[Entry], letters: Letters, declared: Option<&str>) -> Vec<u8> {
    if entries.is_empty() {
        return b"NIL".to_vec();
    }
    let mut out = vec![b'('];
    for entry in entries {
        match entry {
            Entry::Mailbox(mailbox) => {
                out.push(b'(');
                write_optional_text(&mut out, mailbox.name.as_deref(), letters, declared);
                out.push(b' ');
                write_optional_text(&mut out, mailbox.route.as_deref(), letters, declared);
                out.push(b' ');
                write_text(&mut out, &mailbox.local, letters, declared);
                out.push(b' ');
                write_text(&mut out, &mailbox.domain, letters, declared);
                out.push(b')');
            }
            // RFC 3501 §7.4.2: a group begins with a NIL host and its name as mailbox, and ends with all NIL.
            Entry::GroupStart(name) => {
                out.extend_from_slice(b"(NIL NIL ");
                // Without a name it must still not look like the end of a group.
                if name.is_empty() {
                    write_ready(&mut out, b"")
                } else {
                    write_text(&mut out, name, letters, declared)
                }
                out.extend_from_slice(b" NIL)");
            }
            Entry::GroupEnd => out.extend_from_slice(b"(NIL NIL NIL NIL)"),
        }
    }
    out.push(b')');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(block: &str) -> String {
        String::from_utf8(envelope(block.as_bytes(), Letters::SevenBit)).expect("ASCII")
    }

    #[test]
    fn the_example_of_rfc_3501_section_8() {
        let block = "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\n\
            Subject: IMAP4rev1 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n\
            cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n\
            Message-Id: <B27397-0100000@cac.washington.edu>\r\n\r\n";
        let gray = r#"(("Terry Gray" NIL "gray" "cac.washington.edu"))"#;
        assert_eq!(
            wire(block),
            format!(
                "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" {gray} {gray} {gray} \
                 ((NIL NIL \"imap\" \"cac.washington.edu\")) ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")\
                 (\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \"<B27397-0100000@cac.washington.edu>\")"
            )
        );
    }

    #[test]
    fn absent_is_nil_and_empty_is_empty() {
        assert_eq!(wire(""), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
        assert_eq!(
            wire("Date:\r\nSubject:\r\nFrom:\r\nTo:\r\nIn-Reply-To:\r\nMessage-ID: \r\n\r\n"),
            r#"("" "" NIL NIL NIL NIL NIL NIL "" "")"#
        );
        assert_eq!(wire("From: a@b\r\nReply-To: \r\n"), {
            let from = r#"((NIL NIL "a" "b"))"#;
            format!("(NIL NIL {from} {from} {from} NIL NIL NIL NIL NIL)")
        });
    }

    #[test]
    fn groups_and_repeated_destinations() {
        assert_eq!(
            wire("To: G: a@b;\r\nTo: c@d\r\nSubject: one\r\nSubject: two\r\n"),
            "(NIL \"one\" NIL NIL NIL ((NIL NIL \"G\" NIL)(NIL NIL \"a\" \"b\")(NIL NIL NIL NIL)(NIL NIL \"c\" \"d\")) \
             NIL NIL NIL NIL)"
        );
        assert_eq!(wire("Cc: :;\r\n"), "(NIL NIL NIL NIL NIL NIL ((NIL NIL \"\" NIL)(NIL NIL NIL NIL)) NIL NIL NIL)");
    }

    #[test]
    fn eight_bits_are_encoded_or_not() {
        let block = "Subject: cafés\r\nFrom: Zoë Miller <zoë@x.test>\r\n";
        let name = "((\"=?UTF-8?Q?Zo=C3=AB_Miller?=\" NIL \"=?UTF-8?B?em/Dqw==?=\" \"x.test\"))";
        assert_eq!(wire(block), format!("(NIL \"=?UTF-8?B?Y2Fmw6lz?=\" {name} {name} {name} NIL NIL NIL NIL NIL)"));
        let utf8 = envelope(block.as_bytes(), Letters::Utf8);
        assert!(String::from_utf8_lossy(&utf8).contains("\"cafés\" ((\"Zoë Miller\" NIL \"zoë\" \"x.test\"))"));
    }
}
