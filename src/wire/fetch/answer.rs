//! The answers to FETCH, item by item.
//!
//! An answer is [`Items::open`], items in any number, [`Items::close`]. A body of any size is [`Items::section`] (or
//! [`Items::name`]), [`write::literal_head`] and its octets, in pieces.

use super::section::{write_path, write_section_spec};
use crate::types::{DateTime, FlagSet, ModSeq, ObjectId, Section, Seq, Uid};
use crate::wire::date::write_date_time;
use crate::wire::{Dialect, write};

/// An answer that is being written: it knows whether a space has to stand before the next item. What was written last
/// cannot tell, since a body may end in any octet.
#[derive(Debug)]
pub struct Items {
    has_any: bool,
}

impl Items {
    /// `* n FETCH (`
    pub fn open(out: &mut Vec<u8>, seq: Seq) -> Items {
        open(out, seq.0, b" FETCH (")
    }

    /// `* uid UIDFETCH (`, which stands for FETCH in every answer once the client has enabled UIDONLY (RFC 9586 §3.3).
    pub fn open_uid(out: &mut Vec<u8>, uid: Uid) -> Items {
        open(out, uid.0, b" UIDFETCH (")
    }

    /// `)` and the line's end.
    pub fn close(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b")\r\n");
    }

    /// An item's name and the space behind it; the value is to follow. `name` has its final letters.
    pub fn name(&mut self, out: &mut Vec<u8>, name: &str) {
        self.begin(out, name);
        out.push(b' ');
    }

    /// The space in front of an item, and its name up to where a section begins.
    fn begin(&mut self, out: &mut Vec<u8>, name: &str) {
        if std::mem::replace(&mut self.has_any, true) {
            out.push(b' ');
        }
        out.extend_from_slice(name.as_bytes());
    }

    /// `UID n`
    pub fn uid(&mut self, out: &mut Vec<u8>, uid: Uid) {
        self.name(out, "UID");
        write::number(out, uid.0);
    }

    /// `FLAGS (...)`
    pub fn flags(&mut self, out: &mut Vec<u8>, flags: &FlagSet, is_recent: bool) {
        self.name(out, "FLAGS");
        write::flag_set(out, flags, is_recent);
    }

    /// `INTERNALDATE "..."`
    pub fn internal_date(&mut self, out: &mut Vec<u8>, date: DateTime) {
        self.name(out, "INTERNALDATE");
        write_date_time(out, date);
    }

    /// `RFC822.SIZE n`
    pub fn size(&mut self, out: &mut Vec<u8>, octets: u64) {
        self.name(out, "RFC822.SIZE");
        write::number(out, octets);
    }

    /// `MODSEQ (n)`
    pub fn mod_seq(&mut self, out: &mut Vec<u8>, mod_seq: ModSeq) {
        self.name(out, "MODSEQ");
        out.push(b'(');
        write::number(out, mod_seq.0);
        out.push(b')');
    }

    /// `SAVEDATE "..."`, or NIL where the mailbox knows no save dates (RFC 8514 §4.2).
    pub fn save_date(&mut self, out: &mut Vec<u8>, date: Option<DateTime>) {
        self.name(out, "SAVEDATE");
        match date {
            Some(date) => write_date_time(out, date),
            None => write::nil(out),
        }
    }

    /// `EMAILID (id)` (RFC 8474 §5.3)
    pub fn email_id(&mut self, out: &mut Vec<u8>, id: &ObjectId) {
        self.name(out, "EMAILID");
        write::object_id(out, id);
    }

    /// `THREADID (id)`, or NIL where there are no threads.
    pub fn thread_id(&mut self, out: &mut Vec<u8>, id: Option<&ObjectId>) {
        self.name(out, "THREADID");
        match id {
            Some(id) => write::object_id(out, id),
            None => write::nil(out),
        }
    }

    /// `PREVIEW text`. NIL is only for clients that said LAZY (RFC 8970 §3.2).
    pub fn preview(&mut self, out: &mut Vec<u8>, text: Option<&str>, dialect: Dialect) {
        self.name(out, "PREVIEW");
        match text {
            Some(text) => write::text(out, text, dialect),
            None => write::nil(out),
        }
    }

    /// `ENVELOPE`, `BODY` or `BODYSTRUCTURE`, with a value already in the form of the wire.
    pub fn ready(&mut self, out: &mut Vec<u8>, name: &str, value: &[u8]) {
        self.name(out, name);
        out.extend_from_slice(value);
    }

    /// `BODY[...]` as it was asked, with `<origin>` if a part of it was asked for; the octets are to follow.
    /// `.PEEK` and the count are never sent back (RFC 3501 §7.4.2).
    pub fn section(&mut self, out: &mut Vec<u8>, section: &Section, origin: Option<u64>) {
        self.begin(out, "BODY[");
        write_section_spec(out, section);
        close_section(out, origin);
    }

    /// `BINARY[...]` as it was asked, with `<origin>` if a part of it was asked for; the decoded octets are to follow,
    /// as [`write::binary_content`], or behind [`write::literal_head`] or, if there is a NUL among them,
    /// [`write::literal8_head`] (RFC 3516 §4.3).
    pub fn binary(&mut self, out: &mut Vec<u8>, path: &[u32], origin: Option<u64>) {
        self.begin(out, "BINARY[");
        write_path(out, path);
        close_section(out, origin);
    }

    /// `BINARY.SIZE[...] n`
    pub fn binary_size(&mut self, out: &mut Vec<u8>, path: &[u32], octets: u64) {
        self.begin(out, "BINARY.SIZE[");
        write_path(out, path);
        close_section(out, None);
        write::number(out, octets);
    }
}

fn open(out: &mut Vec<u8>, number: u32, word: &[u8]) -> Items {
    out.extend_from_slice(b"* ");
    write::number(out, number);
    out.extend_from_slice(word);
    Items { has_any: false }
}

fn close_section(out: &mut Vec<u8>, origin: Option<u64>) {
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

    fn echo(asked: &str) -> String {
        let mut out = Vec::new();
        let mut items = Items::open(&mut out, Seq(1));
        let Ok(Body::Fetch(fetch)) = parse(format!("a FETCH 1 {asked}").as_bytes()).map(|c| c.body) else {
            panic!("{asked}")
        };
        for item in fetch.items {
            let FetchItem::Section { section, partial, .. } = item else { panic!("{asked}") };
            items.section(&mut out, &section, partial.map(|p| p.0));
            write::content(&mut out, b"");
        }
        items.close(&mut out);
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
        let mut items = Items::open(&mut out, Seq(7));
        items.uid(&mut out, Uid(4_294_967_295));
        let seen = FlagSet::from_parts(crate::types::SystemFlag::Seen as u8, vec![]);
        items.flags(&mut out, &seen, true);
        items.size(&mut out, 5_000_000_000);
        items.internal_date(&mut out, DateTime::utc(0));
        items.mod_seq(&mut out, ModSeq(12));
        items.ready(&mut out, "ENVELOPE", b"(NIL)");
        items.section(&mut out, &Section::default(), None);
        write::content(&mut out, b"a\r\n");
        items.close(&mut out);
        let expected = "* 7 FETCH (UID 4294967295 FLAGS (\\Recent \\Seen) RFC822.SIZE 5000000000 \
                        INTERNALDATE \"01-Jan-1970 00:00:00 +0000\" MODSEQ (12) ENVELOPE (NIL) BODY[] {3}\r\na\r\n)\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn an_answer_of_extensions() {
        let mut out = Vec::new();
        let id = ObjectId::new("M6d99").expect("an id");
        let mut items = Items::open_uid(&mut out, Uid(311));
        items.email_id(&mut out, &id);
        items.thread_id(&mut out, Some(&id));
        items.thread_id(&mut out, None);
        items.save_date(&mut out, Some(DateTime::utc(0)));
        items.save_date(&mut out, None);
        items.preview(&mut out, Some("Hello"), Dialect::default());
        items.preview(&mut out, Some("Grün"), Dialect::default());
        items.preview(&mut out, Some(""), Dialect::default());
        items.preview(&mut out, None, Dialect::default());
        items.binary_size(&mut out, &[1, 2], 5_000_000_000);
        items.binary(&mut out, &[1, 2], Some(7));
        write::binary_content(&mut out, b"a\0b");
        items.binary(&mut out, &[], None);
        write::binary_content(&mut out, b"ab");
        items.binary(&mut out, &[3], None);
        write::binary_content(&mut out, b"");
        items.close(&mut out);
        let expected = "* 311 UIDFETCH (EMAILID (M6d99) THREADID (M6d99) THREADID NIL \
                        SAVEDATE \"01-Jan-1970 00:00:00 +0000\" SAVEDATE NIL \
                        PREVIEW \"Hello\" PREVIEW {5}\r\nGrün PREVIEW \"\" PREVIEW NIL \
                        BINARY.SIZE[1.2] 5000000000 BINARY[1.2]<7> ~{3}\r\na\0b BINARY[] {2}\r\nab BINARY[3] \"\")\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn a_body_that_ends_in_a_parenthesis_is_followed_by_a_space() {
        let mut out = Vec::new();
        let mut items = Items::open(&mut out, Seq(1));
        items.section(&mut out, &Section::default(), None);
        write::content(&mut out, b"(");
        items.name(&mut out, "RFC822");
        write::content(&mut out, b"* 1 FETCH (");
        items.uid(&mut out, Uid(5));
        items.close(&mut out);
        let expected = "* 1 FETCH (BODY[] {1}\r\n( RFC822 {11}\r\n* 1 FETCH ( UID 5)\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}
