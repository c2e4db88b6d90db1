//! FETCH: its items and sections, and the pieces its answers are put together from.
//!
//! An answer is [`write_open`], items in any number, [`write_close`]; each item brings the space in front of it.
//! A body of any size is [`write_section`] (or [`write_name`]), [`write::literal_head`] and its octets, in pieces.

use nom::Parser;
use nom::bytes::complete::tag as exactly;

use super::date::write_date_time;
use super::garbled::{Parsed, Wrong, expected, fail, wrong};
use super::lexical::{astring, listed, mark, mod_seq, num_set, number, nz_number, space, spaced, word};
use super::write;
use crate::types::{Body, DateTime, Fetch, FetchItem, FlagSet, ModSeq, Section, SectionText, Seq, Uid};

/// fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")")
///         [SP "(" fetch-modifier *(SP fetch-modifier) ")"] (RFC 4466 §2.4)
pub(super) fn command(i: &[u8], uid: bool) -> Parsed<'_, Body> {
    let (i, ()) = space(i)?;
    let (i, set) = num_set(i)?;
    let (i, ()) = space(i)?;
    let (rest, items) = if i.first() == Some(&b'(') { listed(i, item)? } else { single(i)? };
    if items.len() > Fetch::MAX_ITEMS {
        return fail(i, "at most 256 items");
    }
    let mut fetch = Fetch { set, uid, items, changed_since: None, vanished: false };
    let i = if rest.is_empty() { rest } else { modifiers(rest, &mut fetch)? };
    Ok((i, Body::Fetch(fetch)))
}

/// A macro, or one item without parentheses. A macro stands alone (RFC 3501 §6.4.5).
fn single(i: &[u8]) -> Parsed<'_, Vec<FetchItem>> {
    use FetchItem::{Body, Envelope, Flags, InternalDate, Rfc822Size};
    let (rest, name) = word(i)?;
    if name.eq_ignore_ascii_case(b"FAST") {
        Ok((rest, vec![Flags, InternalDate, Rfc822Size]))
    } else if name.eq_ignore_ascii_case(b"ALL") {
        Ok((rest, vec![Flags, InternalDate, Rfc822Size, Envelope]))
    } else if name.eq_ignore_ascii_case(b"FULL") {
        Ok((rest, vec![Flags, InternalDate, Rfc822Size, Envelope, Body]))
    } else {
        item(i).map(|(i, item)| (i, vec![item]))
    }
}

/// fetch-att
fn item(i: &[u8]) -> Parsed<'_, FetchItem> {
    const PLAIN: [(&str, FetchItem); 11] = [
        ("FLAGS", FetchItem::Flags),
        ("UID", FetchItem::Uid),
        ("MODSEQ", FetchItem::ModSeq),
        ("ENVELOPE", FetchItem::Envelope),
        ("INTERNALDATE", FetchItem::InternalDate),
        ("RFC822.SIZE", FetchItem::Rfc822Size),
        ("BODYSTRUCTURE", FetchItem::BodyStructure),
        ("BODY", FetchItem::Body),
        ("RFC822", FetchItem::Rfc822),
        ("RFC822.HEADER", FetchItem::Rfc822Header),
        ("RFC822.TEXT", FetchItem::Rfc822Text),
    ];
    let (rest, name) = word(i)?;
    if rest.first() == Some(&b'[') {
        let peek = name.eq_ignore_ascii_case(b"BODY.PEEK");
        if !peek && !name.eq_ignore_ascii_case(b"BODY") {
            return fail(i, "BODY or BODY.PEEK in front of a section");
        }
        let (i, section) = section(rest)?;
        let (i, partial) = partial(i)?;
        return Ok((i, FetchItem::Section { section, peek, partial }));
    }
    match PLAIN.iter().find(|(plain, _)| name.eq_ignore_ascii_case(plain.as_bytes())) {
        Some((_, item)) => Ok((rest, item.clone())),
        None if name.eq_ignore_ascii_case(b"BODY.PEEK") => fail(rest, "\"[\""),
        None => fail(i, "a FETCH item"),
    }
}

/// section = "[" [section-spec] "]"; section-spec = section-msgtext / (section-part ["." section-text])
fn section(i: &[u8]) -> Parsed<'_, Section> {
    let (mut i, ()) = mark(b'[', "\"[\"")(i)?;
    let mut section = Section::default();
    // section-part = nz-number *("." nz-number)
    while i.first().is_some_and(u8::is_ascii_digit) {
        let (rest, part) = nz_number(i)?;
        section.path.push(part);
        match rest.strip_prefix(b".") {
            Some([b']', ..]) => return fail(&rest[1..], "a part number, HEADER, TEXT or MIME"),
            Some(behind) => i = behind,
            None => {
                let (i, ()) = expected("\".\" or \"]\"", mark(b']', "")).parse(rest)?;
                return Ok((i, section));
            }
        }
    }
    if i.first() != Some(&b']') {
        (i, section.text) = section_text(i, !section.path.is_empty())?;
    }
    let (i, ()) = mark(b']', "\"]\"")(i)?;
    Ok((i, section))
}

/// section-text = section-msgtext / "MIME"
/// section-msgtext = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT"
fn section_text(i: &[u8], is_part: bool) -> Parsed<'_, SectionText> {
    let (rest, name) = word(i)?;
    let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
    if is("HEADER") {
        Ok((rest, SectionText::Header))
    } else if is("TEXT") {
        Ok((rest, SectionText::Text))
    } else if is("MIME") && is_part {
        Ok((rest, SectionText::Mime))
    } else if is("HEADER.FIELDS") || is("HEADER.FIELDS.NOT") {
        let (i, ()) = space(rest)?;
        // header-list = "(" header-fld-name *(SP header-fld-name) ")"
        let (i, names) = listed(i, field_name)?;
        Ok((i, SectionText::HeaderFields { names, not: is("HEADER.FIELDS.NOT") }))
    } else if is_part {
        fail(i, "a part number, HEADER, HEADER.FIELDS, TEXT or MIME")
    } else {
        fail(i, "a part number, HEADER, HEADER.FIELDS, TEXT or \"]\"")
    }
}

/// header-fld-name = astring, which here must be printable: it is sent back as written.
fn field_name(i: &[u8]) -> Parsed<'_, String> {
    let (rest, name) = expected("the name of a header field", astring).parse(i)?;
    match std::str::from_utf8(&name) {
        Ok(name) if name.bytes().all(|b| (0x20..0x7f).contains(&b)) => Ok((rest, name.to_owned())),
        _ => fail(i, "the name of a header field in ASCII"),
    }
}

/// ["<" number "." nz-number ">"]
fn partial(i: &[u8]) -> Parsed<'_, Option<(u32, u32)>> {
    let Some(i) = i.strip_prefix(b"<") else { return Ok((i, None)) };
    let (i, first) = number(i)?;
    let (i, ()) = mark(b'.', "\".\" and a number of octets")(i)?;
    let (i, count) = nz_number(i)?;
    let (i, ()) = mark(b'>', "\">\"")(i)?;
    Ok((i, Some((first, count))))
}

/// SP "(" fetch-modifier *(SP fetch-modifier) ")", to the end of the command
fn modifiers<'a>(i: &'a [u8], fetch: &mut Fetch) -> Result<&'a [u8], nom::Err<Wrong>> {
    let (i, ()) = expected("a space or the end of the command", exactly(" (")).map(|_| ()).parse(i)?;
    let (rest, all) = spaced(i, modifier)?;
    for modifier in all {
        match modifier {
            Modifier::ChangedSince(mod_seq) if fetch.changed_since.is_none() => fetch.changed_since = Some(mod_seq),
            Modifier::Vanished if !fetch.vanished => fetch.vanished = true,
            _ => return Err(wrong(i, "each modifier only once")),
        }
    }
    // RFC 7162 §3.2.6: only in UID FETCH, and only together with CHANGEDSINCE.
    if fetch.vanished && (!fetch.uid || fetch.changed_since.is_none()) {
        return Err(wrong(i, "VANISHED only in UID FETCH and with CHANGEDSINCE"));
    }
    expected("a space or \")\"", mark(b')', "")).parse(rest).map(|(i, ())| i)
}

enum Modifier {
    ChangedSince(ModSeq),
    Vanished,
}

/// fetch-modifier =/ "CHANGEDSINCE" SP mod-sequence-value / "VANISHED" (RFC 7162 §7)
fn modifier(i: &[u8]) -> Parsed<'_, Modifier> {
    let (rest, name) = word(i)?;
    if name.eq_ignore_ascii_case(b"VANISHED") {
        return Ok((rest, Modifier::Vanished));
    }
    if !name.eq_ignore_ascii_case(b"CHANGEDSINCE") {
        return fail(i, "CHANGEDSINCE or VANISHED");
    }
    let (i, ()) = space(rest)?;
    // The grammar wants 1 or more, but iPhones send 0 and mean everything.
    mod_seq(i).map(|(i, mod_seq)| (i, Modifier::ChangedSince(mod_seq)))
}

/// `* n FETCH (`
pub fn write_open(out: &mut Vec<u8>, seq: Seq) {
    out.extend_from_slice(b"* ");
    write::number(out, seq.0);
    out.extend_from_slice(b" FETCH (");
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
    out.push(b']');
    if let Some(origin) = origin {
        out.push(b'<');
        write::number(out, origin);
        out.push(b'>');
    }
    out.push(b' ');
}

/// What stands between the brackets: keywords in capitals, field names as the client wrote them.
pub(super) fn write_section_spec(out: &mut Vec<u8>, section: &Section) {
    for (at, part) in section.path.iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        write::number(out, *part);
    }
    let text: &[u8] = match &section.text {
        SectionText::Whole => return,
        SectionText::Header => b"HEADER",
        SectionText::HeaderFields { not: false, .. } => b"HEADER.FIELDS",
        SectionText::HeaderFields { not: true, .. } => b"HEADER.FIELDS.NOT",
        SectionText::Text => b"TEXT",
        SectionText::Mime => b"MIME",
    };
    if !section.path.is_empty() {
        out.push(b'.');
    }
    out.extend_from_slice(text);
    if let SectionText::HeaderFields { names, .. } = &section.text {
        for (at, name) in names.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b" (" } else { b" " });
            write::astring(out, name.as_bytes());
        }
        out.push(b')');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parse;

    fn fetch(line: &str) -> Result<Fetch, String> {
        match parse(line.as_bytes()).map_err(|e| e.to_string())?.body {
            Body::Fetch(fetch) => Ok(fetch),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn echo(items: &str) -> String {
        let mut out = Vec::new();
        write_open(&mut out, Seq(1));
        for item in fetch(&format!("a FETCH 1 {items}")).expect(items).items {
            let FetchItem::Section { section, partial, .. } = item else { panic!("{items}") };
            write_section(&mut out, &section, partial.map(|p| p.0));
            write::content(&mut out, b"");
        }
        write_close(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn items_and_macros() {
        use FetchItem::{
            Body, BodyStructure, Envelope, Flags, InternalDate, Rfc822, Rfc822Header, Rfc822Size, Rfc822Text, Uid,
        };
        let items = |items: &str| fetch(&format!("a FETCH 1 {items}")).map(|f| f.items);
        assert_eq!(items("FULL"), Ok(vec![Flags, InternalDate, Rfc822Size, Envelope, Body]));
        assert_eq!(items("all"), Ok(vec![Flags, InternalDate, Rfc822Size, Envelope]));
        assert_eq!(items("Fast"), Ok(vec![Flags, InternalDate, Rfc822Size]));
        assert_eq!(items("flags"), Ok(vec![Flags]));
        let asked = items("(RFC822 rfc822.header RFC822.TEXT BODYSTRUCTURE UID MODSEQ UID)");
        let expected = vec![Rfc822, Rfc822Header, Rfc822Text, BodyStructure, Uid, FetchItem::ModSeq, Uid];
        assert_eq!(asked, Ok(expected));
        let bad = [
            "",
            "()",
            "(ALL)",
            "(FLAGS ALL)",
            "ALL FLAGS",
            "FLAGS UID",
            "(FLAGS",
            "(FLAGS )",
            "(FLAGS  UID)",
            "( FLAGS)",
            "FLAGGS",
            "RFC822.PEEK",
            "RFC822[]",
            "BODY.PEEK",
            "BODY[]<0.0>",
            "BODY[]<0>",
            "BODY[]<.1>",
            "BODY<0.1>",
            "BODY[",
            "BODY[0]",
            "BODY[1.0]",
            "BODY[01]",
            "BODY[1.]",
            "BODY[.1]",
            "BODY[MIME]",
            "BODY[1.FOO]",
            "BODY[TEXT.1]",
            "BODY[HEADER.FIELDS]",
            "BODY[HEADER.FIELDS ()]",
            "BODY[HEADER.FIELDS (a]",
            "BODY[HEADER.FIELDS(a)]",
            "BODY[HEADER.FIELDS (a) ]",
            "BODY[HEADER.FIELDS (\"\u{fc}\")]",
            "BODY[1 ]",
            "BODY[1]x",
        ];
        for bad in bad {
            assert!(items(bad).is_err(), "{bad}");
        }
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
    fn a_mistake_is_named_where_it_is() {
        let message = |items: &str| fetch(&format!("a FETCH 1 {items}")).expect_err(items);
        assert_eq!(message("BODY[0]"), "expected a number from 1 to 4294967295 without a leading 0 at octet 16");
        assert_eq!(message("(FLAGS FROB)"), "expected a FETCH item at octet 18");
        assert_eq!(message("BODY[1.]"), "expected a part number, HEADER, TEXT or MIME at octet 18");
        assert_eq!(message("FLAGS UID"), "expected a space or the end of the command at octet 16");
        let many = vec!["UID"; 257].join(" ");
        assert_eq!(message(&format!("({many})")), "expected at most 256 items at octet 11");
        assert!(fetch(&format!("a FETCH 1 ({})", vec!["UID"; 256].join(" "))).is_ok());
    }

    #[test]
    fn modifiers_of_condstore_and_qresync() {
        let of = |line: &str| fetch(line).map(|f| (f.changed_since, f.vanished));
        assert_eq!(of("a FETCH 1:* (FLAGS) (CHANGEDSINCE 0)"), Ok((Some(ModSeq(0)), false)));
        assert_eq!(of("a UID FETCH 1:* FLAGS (changedsince 12 vanished)"), Ok((Some(ModSeq(12)), true)));
        assert_eq!(of("a UID FETCH 1:* ALL (VANISHED CHANGEDSINCE 12)"), Ok((Some(ModSeq(12)), true)));
        let bad = [
            "a FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)",
            "a UID FETCH 1 FLAGS (VANISHED)",
            "a FETCH 1 FLAGS (CHANGEDSINCE 1 CHANGEDSINCE 2)",
            "a FETCH 1 FLAGS (CHANGEDSINCE)",
            "a FETCH 1 FLAGS (CHANGEDSINCE -1)",
            "a FETCH 1 FLAGS ()",
            "a FETCH 1 FLAGS (FOO)",
            "a FETCH 1 FLAGS CHANGEDSINCE 1",
            "a FETCH 1 FLAGS (CHANGEDSINCE 1) x",
        ];
        for line in bad {
            assert!(fetch(line).is_err(), "{line}");
        }
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
}
