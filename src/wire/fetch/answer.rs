//! The pieces the answers to FETCH are put together from.
//!
//! An answer is [`write_open`], items in any number, [`write_close`]; each item brings the space in front of it.
//! A body of any size is [`write_section`] (or [`write_name`]), [`write::literal_head`] and its octets, in pieces.

use super::section::{write_path, write_section_spec};
use crate::types::{DateTime, FlagSet, ModSeq, ObjectId, Section, Seq, Uid};
use crate::wire::date::write_date_time;
use crate::wire::write;

/// `* n FETCH (`
pub fn write_open(out: &mut Vec<u8>, seq: Seq) {
    out.extend_from_slice(b"* ");
    write::number(out, seq.0);
    out.extend_from_slice(b" FETCH (");
}

/// `* uid UIDFETCH (`, which stands for FETCH in every answer once the client has enabled UIDONLY (RFC 9586 §3.3).
pub fn write_open_uid(out: &mut Vec<u8>, uid: Uid) {
    out.extend_from_slice(b"* ");
    write::number(out, uid.0);
    out.extend_from_slice(b" UIDFETCH (");
}

/// `)` and the line's end.
pub fn write_close(out: &mut Vec<u8>) {
    out.extend_from_slice(b")\r\n");
}

/// An item's name and the space behind it; the value is to follow. `name` has its final letters.
pub fn write_name(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'(') {
        out.push(b' ');
    }
    out.extend_from_slice(name.as_bytes());
    out.push(b' ');
}

/// `UID n`
pub fn write_uid(out: &mut Vec<u8>, uid: Uid) {
    write_name(out, "UID");
    write::number(out, uid.0);
}

/// `FLAGS (...)`
pub fn write_flags(out: &mut Vec<u8>, flags: &FlagSet, is_recent: bool) {
    write_name(out, "FLAGS");
    write::flag_set(out, flags, is_recent);
}

/// `INTERNALDATE "..."`
pub fn write_internal_date(out: &mut Vec<u8>, date: DateTime) {
    write_name(out, "INTERNALDATE");
    write_date_time(out, date);
}

/// `RFC822.SIZE n`
pub fn write_size(out: &mut Vec<u8>, octets: u64) {
    write_name(out, "RFC822.SIZE");
    write::number(out, octets);
}

/// `MODSEQ (n)`
pub fn write_mod_seq(out: &mut Vec<u8>, mod_seq: ModSeq) {
    write_name(out, "MODSEQ");
    out.push(b'(');
    write::number(out, mod_seq.0);
    out.push(b')');
}

/// `SAVEDATE "..."`, or NIL where the mailbox knows no save dates (RFC 8514 §4.2).
pub fn write_save_date(out: &mut Vec<u8>, date: Option<DateTime>) {
    write_name(out, "SAVEDATE");
    match date {
        Some(date) => write_date_time(out, date),
        None => write::nil(out),
    }
}

/// `EMAILID (id)` (RFC 8474 §5.3)
pub fn write_email_id(out: &mut Vec<u8>, id: &ObjectId) {
    write_name(out, "EMAILID");
    write::object_id(out, id);
}

/// `THREADID (id)`, or NIL where there are no threads.
pub fn write_thread_id(out: &mut Vec<u8>, id: Option<&ObjectId>) {
    write_name(out, "THREADID");
    match id {
        Some(id) => write::object_id(out, id),
        None => write::nil(out),
    }
}

/// `PREVIEW text`. NIL is only for clients that said LAZY (RFC 8970 §3.2).
pub fn write_preview(out: &mut Vec<u8>, text: Option<&str>) {
    write_name(out, "PREVIEW");
    write::nstring(out, text.map(str::as_bytes));
}

/// `ENVELOPE`, `BODY` or `BODYSTRUCTURE`, with a value already in the form of the wire.
pub fn write_ready(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    write_name(out, name);
    out.extend_from_slice(value);
}

/// `BODY[...]` as it was asked, with `<origin>` if a part of it was asked for; the octets are to follow.
/// `.PEEK` and the count are never sent back (RFC 3501 §7.4.2).
pub fn write_section(out: &mut Vec<u8>, section: &Section, origin: Option<u32>) {
    if out.last() != Some(&b'(') {
        out.push(b' ');
    }
    out.extend_from_slice(b"BODY[");
    write_section_spec(out, section);
    close_section(out, origin);
}

/// `BINARY[...]` as it was asked, with `<origin>` if a part of it was asked for; the decoded octets are to follow,
/// as [`write::binary_content`], or behind [`write::literal_head`] or, if there is a NUL among them,
/// [`write::literal8_head`] (RFC 3516 §4.3).
pub fn write_binary(out: &mut Vec<u8>, path: &[u32], origin: Option<u32>) {
    if out.last() != Some(&b'(') {
        out.push(b' ');
    }
    out.extend_from_slice(b"BINARY[");
    write_path(out, path);
    close_section(out, origin);
}

/// `BINARY.SIZE[...] n`
pub fn write_binary_size(out: &mut Vec<u8>, path: &[u32], octets: u64) {
    if out.last() != Some(&b'(') {
        out.push(b' ');
    }
    out.extend_from_slice(b"BINARY.SIZE[");
    write_path(out, path);
    close_section(out, None);
    write::number(out, octets);
}

fn close_section(out: &mut Vec<u8>, origin: Option<u32>) {
    out.push(b']');
    if let Some(origin) = origin {
        out.push(b'<');
        write::number(out, origin);
        out.push(b'>');
    }
    out.push(b' ');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Body, FetchItem};
    use crate::wire::parse;

    fn echo(items: &str) -> String {
        let mut out = Vec::new();
        write_open(&mut out, Seq(1));
        let Ok(Body::Fetch(fetch)) = parse(format!("a FETCH 1 {items}").as_bytes()).map(|c| c.body) else {
            panic!("{items}")
        };
        for item in fetch.items {
            let FetchItem::Section { section, partial, .. } = item else { panic!("{items}") };
            write_section(&mut out, &section, partial.map(|p| p.0));
            write::content(&mut out, b"");
        }
        write_close(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn sections_are_sent_back_as_asked() {
        assert_eq!(echo("BODY[]"), "* 1 FETCH (BODY[] \"\")\r\n");
        assert_eq!(echo("BODY.PEEK[1]<999.393216>"), "* 1 FETCH (BODY[1]<999> \"\")\r\n");
        assert_eq!(echo("body[1.2.mime]"), "* 1 FETCH (BODY[1.2.MIME] \"\")\r\n");
        assert_eq!(
            echo("(Body.Peek[header.fields (From to \"a b\")] BODY[3.HEADER.FIELDS.NOT (x)]<0.10>)"),
            "* 1 FETCH (BODY[HEADER.FIELDS (From to \"a b\")] \"\" BODY[3.HEADER.FIELDS.NOT (x)]<0> \"\")\r\n"
        );
    }

    #[test]
    fn an_answer() {
        let mut out = Vec::new();
        write_open(&mut out, Seq(7));
        write_uid(&mut out, Uid(4_294_967_295));
        let seen = FlagSet::from_parts(crate::types::SystemFlag::Seen as u8, vec![]);
        write_flags(&mut out, &seen, true);
        write_size(&mut out, 5_000_000_000);
        write_internal_date(&mut out, DateTime::utc(0));
        write_mod_seq(&mut out, ModSeq(12));
        write_ready(&mut out, "ENVELOPE", b"(NIL)");
        write_section(&mut out, &Section::default(), None);
        write::content(&mut out, b"a\r\n");
        write_close(&mut out);
        let expected = "* 7 FETCH (UID 4294967295 FLAGS (\\Recent \\Seen) RFC822.SIZE 5000000000 \
                        INTERNALDATE \"01-Jan-1970 00:00:00 +0000\" MODSEQ (12) ENVELOPE (NIL) BODY[] {3}\r\na\r\n)\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn an_answer_of_extensions() {
        let mut out = Vec::new();
        let id = ObjectId::new("M6d99").expect("an id");
        write_open_uid(&mut out, Uid(311));
        write_email_id(&mut out, &id);
        write_thread_id(&mut out, Some(&id));
        write_thread_id(&mut out, None);
        write_save_date(&mut out, Some(DateTime::utc(0)));
        write_save_date(&mut out, None);
        write_preview(&mut out, Some("Hello"));
        write_preview(&mut out, Some("Grün"));
        write_preview(&mut out, Some(""));
        write_preview(&mut out, None);
        write_binary_size(&mut out, &[1, 2], 5_000_000_000);
        write_binary(&mut out, &[1, 2], Some(7));
        write::binary_content(&mut out, b"a\0b");
        write_binary(&mut out, &[], None);
        write::binary_content(&mut out, b"ab");
        write_binary(&mut out, &[3], None);
        write::binary_content(&mut out, b"");
        write_close(&mut out);
        let expected = "* 311 UIDFETCH (EMAILID (M6d99) THREADID (M6d99) THREADID NIL \
                        SAVEDATE \"01-Jan-1970 00:00:00 +0000\" SAVEDATE NIL \
                        PREVIEW \"Hello\" PREVIEW {5}\r\nGrün PREVIEW \"\" PREVIEW NIL \
                        BINARY.SIZE[1.2] 5000000000 BINARY[1.2]<7> ~{3}\r\na\0b BINARY[] {2}\r\nab BINARY[3] \"\")\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}
