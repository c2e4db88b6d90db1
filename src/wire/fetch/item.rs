//! The items of FETCH.

use super::section::{field_name, section, section_binary};
use crate::types::FetchItem;
use crate::wire::garbled::{Parsed, fail};
use crate::wire::lexical::{listed, mark, number64, nz_number64, space, word};

/// fetch-att
pub(in crate::wire) fn item(i: &[u8]) -> Parsed<'_, FetchItem> {
    const PLAIN: [(&str, FetchItem); 17] = [
        ("FLAGS", FetchItem::Flags),
        ("UID", FetchItem::Uid),
        ("MODSEQ", FetchItem::ModSeq),
        ("ENVELOPE", FetchItem::Envelope),
        ("INTERNALDATE", FetchItem::InternalDate),
        ("RFC822.SIZE", FetchItem::Rfc822Size),
        ("BODYSTRUCTURE", FetchItem::BodyStructure),
        ("BODY", FetchItem::Body),
        ("PREVIEW", FetchItem::Preview { lazy: false }),
        ("SAVEDATE", FetchItem::SaveDate),
        ("EMAILID", FetchItem::EmailId),
        ("THREADID", FetchItem::ThreadId),
        ("RFC822", FetchItem::Rfc822),
        ("RFC822.HEADER", FetchItem::Rfc822Header),
        ("RFC822.TEXT", FetchItem::Rfc822Text),
        ("RFC822.PEEK", FetchItem::Rfc822Peek),
        ("RFC822.TEXT.PEEK", FetchItem::Rfc822TextPeek),
    ];
    /// Items that are nothing without a section.
    const SECTIONED: [&str; 4] = ["BODY.PEEK", "BINARY", "BINARY.PEEK", "BINARY.SIZE"];
    let (rest, name) = word(i)?;
    let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
    if rest.first() == Some(&b'[') {
        return sectioned(i, name, rest);
    }
    match PLAIN.iter().find(|(plain, _)| is(plain)) {
        Some((_, FetchItem::Preview { .. })) => preview(rest),
        Some((_, item)) => Ok((rest, item.clone())),
        None if is("RFC822.HEADER.LINES") => header_lines(rest, false),
        None if is("RFC822.HEADER.LINES.NOT") => header_lines(rest, true),
        None if SECTIONED.iter().any(|known| is(known)) => fail(rest, "\"[\""),
        None => fail(i, "a FETCH item"),
    }
}

/// "BODY" [".PEEK"] section [partial] / "BINARY" [".PEEK"] section-binary [partial] / "BINARY.SIZE" section-binary
/// (RFC 3516 §7); the name has been read up to `rest`.
fn sectioned<'a>(i: &'a [u8], name: &[u8], rest: &'a [u8]) -> Parsed<'a, FetchItem> {
    let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
    let peek = is("BODY.PEEK") || is("BINARY.PEEK");
    if is("BODY") || is("BODY.PEEK") {
        let (i, section) = section(rest)?;
        let (i, partial) = partial(i)?;
        Ok((i, FetchItem::Section { section, peek, partial }))
    } else if is("BINARY") || is("BINARY.PEEK") {
        let (i, path) = section_binary(rest)?;
        let (i, partial) = partial(i)?;
        Ok((i, FetchItem::Binary { path, peek, partial }))
    } else if is("BINARY.SIZE") {
        let (i, path) = section_binary(rest)?;
        Ok((i, FetchItem::BinarySize { path }))
    } else {
        fail(i, "BODY or BINARY, with or without .PEEK, or BINARY.SIZE in front of a section")
    }
}

/// SPACE header_list, behind "RFC822.HEADER.LINES" [".NOT"] (RFC 2062)
fn header_lines(i: &[u8], not: bool) -> Parsed<'_, FetchItem> {
    let (i, ()) = space(i)?;
    let (i, names) = listed(i, field_name)?;
    Ok((i, FetchItem::Rfc822HeaderLines { names, not }))
}

/// "PREVIEW" [SP "(" preview-mod *(SP preview-mod) ")"] (RFC 8970 §6), behind the word
///
/// A lone PREVIEW may also be followed by modifiers of the command, so the list is looked into first.
fn preview(i: &[u8]) -> Parsed<'_, FetchItem> {
    let is_modified = i.strip_prefix(b" (").is_some_and(|list| preview_modifier(list).is_ok());
    if !is_modified {
        return Ok((i, FetchItem::Preview { lazy: false }));
    }
    let (i, _) = listed(&i[1..], preview_modifier)?;
    Ok((i, FetchItem::Preview { lazy: true }))
}

/// preview-mod = "LAZY"
fn preview_modifier(i: &[u8]) -> Parsed<'_, ()> {
    let (rest, name) = word(i)?;
    if name.eq_ignore_ascii_case(b"LAZY") { Ok((rest, ())) } else { fail(i, "LAZY") }
}

/// ["<" number64 "." nz-number64 ">"]: of 64 bits since RFC 9051 §9, and taken so from everybody
fn partial(i: &[u8]) -> Parsed<'_, Option<(u64, u64)>> {
    let Some(i) = i.strip_prefix(b"<") else { return Ok((i, None)) };
    let (i, first) = number64(i)?;
    let (i, ()) = mark(b'.', "\".\" and a number of octets")(i)?;
    let (i, count) = nz_number64(i)?;
    let (i, ()) = mark(b'>', "\">\"")(i)?;
    Ok((i, Some((first, count))))
}
