//! Sections of a message, `[1.2.HEADER]`, read and written.

use nom::Parser;

use crate::types::{Section, SectionText};
use crate::wire::garbled::{Parsed, expected, fail};
use crate::wire::lexical::{astring, listed, mark, nz_number, space, word};
use crate::wire::write;

/// section = "[" [section-spec] "]"; section-spec = section-msgtext / (section-part ["." section-text])
pub(in crate::wire) fn section(i: &[u8]) -> Parsed<'_, Section> {
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

/// section-binary = "[" [section-part] "]" (RFC 3516 §7)
pub(super) fn section_binary(i: &[u8]) -> Parsed<'_, Vec<u32>> {
    let (mut i, ()) = mark(b'[', "\"[\"")(i)?;
    let mut path = Vec::new();
    if let Some(rest) = i.strip_prefix(b"]") {
        return Ok((rest, path));
    }
    loop {
        let (rest, part) = expected("a part number from 1 on", nz_number).parse(i)?;
        path.push(part);
        match rest.split_first() {
            Some((b'.', behind)) => i = behind,
            Some((b']', behind)) => return Ok((behind, path)),
            _ => return fail(rest, "\".\" or \"]\""),
        }
    }
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
pub(super) fn field_name(i: &[u8]) -> Parsed<'_, String> {
    let (rest, name) = expected("the name of a header field", astring).parse(i)?;
    match std::str::from_utf8(&name) {
        Ok(name) if name.bytes().all(|b| (0x20..0x7f).contains(&b)) => Ok((rest, name.to_owned())),
        _ => fail(i, "the name of a header field in ASCII"),
    }
}

/// What stands between the brackets: keywords in capitals, field names as the client wrote them.
pub(in crate::wire) fn write_section_spec(out: &mut Vec<u8>, section: &Section) {
    write_path(out, &section.path);
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

/// section-part = nz-number *("." nz-number)
pub(super) fn write_path(out: &mut Vec<u8>, path: &[u32]) {
    for (at, part) in path.iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        write::number(out, *part);
    }
}
