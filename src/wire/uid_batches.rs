//! UIDBATCHES, and the line that answers it (RFC 10022).

use super::garbled::{Parsed, fail};
use super::lexical::{mark, nz_number, space};
use super::write;
use crate::types::{Body, UidBatches};

/// "UIDBATCHES" SP nz-number [SP nz-number ":" nz-number] (RFC 10022 §4)
pub(super) fn command(i: &[u8]) -> Parsed<'_, Body> {
    let (i, ()) = space(i)?;
    let (mut i, size) = nz_number(i)?;
    let mut range = None;
    if i.first() == Some(&b' ') {
        let (rest, ()) = space(i)?;
        let (rest, first) = nz_number(rest)?;
        let (rest, ()) = mark(b':', "\":\" and a second batch")(rest)?;
        let (rest, last) = nz_number(rest)?;
        range = Some((first, last));
        i = rest;
    }
    if !i.is_empty() {
        return fail(i, "a range of batches or the end of the command");
    }
    Ok((i, Body::UidBatches(UidBatches { size, range })))
}

/// `* UIDBATCHES (TAG "a1") high:low,high:low`, from the newest down; sent without batches too. A batch of one
/// message is written with both its ends (RFC 10022 §3.1, §4).
pub fn write_line(out: &mut Vec<u8>, tag: &str, batches: impl IntoIterator<Item = (u32, u32)>) {
    out.extend_from_slice(b"* UIDBATCHES (TAG ");
    write::quoted(out, tag.as_bytes());
    out.push(b')');
    for (at, (high, low)) in batches.into_iter().enumerate() {
        out.push(if at == 0 { b' ' } else { b',' });
        write::number(out, high);
        out.push(b':');
        write::number(out, low);
    }
    write::end(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parse;

    #[test]
    fn commands() {
        let batches = |arguments: &str| match parse(format!("a UIDBATCHES{arguments}").as_bytes()).map(|c| c.body) {
            Ok(Body::UidBatches(batches)) => Ok((batches.size, batches.range)),
            Ok(other) => panic!("{arguments}: {other:?}"),
            Err(garbled) => Err(garbled.to_string()),
        };
        assert_eq!(batches(" 1000"), Ok((1000, None)));
        assert_eq!(batches(" 1000 9:12"), Ok((1000, Some((9, 12)))));
        assert_eq!(batches(" 1 12:9"), Ok((1, Some((12, 9)))));
        let bad = [
            ("", "a space at octet 13"),
            (" 0", "a number from 1 to 4294967295 without a leading 0 at octet 14"),
            (" *", "a number from 1 to 4294967295 without a leading 0 at octet 14"),
            (" 5 9", "\":\" and a second batch at octet 17"),
            (" 5 9:*", "a number from 1 to 4294967295 without a leading 0 at octet 18"),
            (" 5 0:9", "a number from 1 to 4294967295 without a leading 0 at octet 16"),
            (" 5  1:9", "a single space at octet 16"),
            (" 5 1:9,2:3", "a range of batches or the end of the command at octet 19"),
            (" 5 1:9 ", "a range of batches or the end of the command at octet 19"),
        ];
        for (arguments, expected) in bad {
            assert_eq!(batches(arguments), Err(format!("expected {expected}")), "{arguments}");
        }
    }

    #[test]
    fn lines() {
        let mut out = Vec::new();
        write_line(&mut out, "b1", [(48_211, 39_007), (77, 77)]);
        write_line(&mut out, "b2", []);
        assert_eq!(out, b"* UIDBATCHES (TAG \"b1\") 48211:39007,77:77\r\n* UIDBATCHES (TAG \"b2\")\r\n");
    }
}
