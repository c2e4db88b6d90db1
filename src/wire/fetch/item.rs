//! The items of FETCH.

use super::section::section;
use crate::types::FetchItem;
use crate::wire::garbled::{Parsed, fail};
use crate::wire::lexical::{mark, number, nz_number, word};

/// fetch-att
pub(super) fn item(i: &[u8]) -> Parsed<'_, FetchItem> {
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

/// ["<" number "." nz-number ">"]
fn partial(i: &[u8]) -> Parsed<'_, Option<(u32, u32)>> {
    let Some(i) = i.strip_prefix(b"<") else { return Ok((i, None)) };
    let (i, first) = number(i)?;
    let (i, ()) = mark(b'.', "\".\" and a number of octets")(i)?;
    let (i, count) = nz_number(i)?;
    let (i, ()) = mark(b'>', "\">\"")(i)?;
    Ok((i, Some((first, count))))
}
