//! FETCH: the command with its modifiers here, its items, its sections and its answers in a file each.

mod answer;
mod item;
mod section;

use nom::Parser;
use nom::bytes::complete::tag as exactly;

pub use self::answer::Items;
pub(super) use self::item::item;
pub(super) use self::section::{section, write_section_spec};
use super::garbled::{Parsed, Wrong, expected, fail, wrong};
use super::lexical::{listed, mark, mod_seq, num_set, partial_range, space, spaced, word};
use crate::types::{Body, Fetch, FetchItem, ModSeq, PartialRange};

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
    let mut fetch = Fetch { set, uid, items, changed_since: None, vanished: false, partial: None };
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

/// SP "(" fetch-modifier *(SP fetch-modifier) ")", to the end of the command
fn modifiers<'a>(i: &'a [u8], fetch: &mut Fetch) -> Result<&'a [u8], nom::Err<Wrong>> {
    let (i, ()) = expected("a space or the end of the command", exactly(" (")).map(|_| ()).parse(i)?;
    let (rest, all) = spaced(i, modifier)?;
    for modifier in all {
        match modifier {
            Modifier::ChangedSince(mod_seq) if fetch.changed_since.is_none() => fetch.changed_since = Some(mod_seq),
            Modifier::Vanished if !fetch.vanished => fetch.vanished = true,
            Modifier::Partial(range) if fetch.partial.is_none() => fetch.partial = Some(range),
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
    Partial(PartialRange),
}

/// fetch-modifier =/ "CHANGEDSINCE" SP mod-sequence-value / "VANISHED" (RFC 7162 §7)
/// / "PARTIAL" SP partial-range (RFC 9394 §4)
fn modifier(i: &[u8]) -> Parsed<'_, Modifier> {
    let (rest, name) = word(i)?;
    if name.eq_ignore_ascii_case(b"CHANGEDSINCE") {
        let (i, ()) = space(rest)?;
        // The grammar wants 1 or more, but iPhones send 0 and mean everything.
        mod_seq(i).map(|(i, mod_seq)| (i, Modifier::ChangedSince(mod_seq)))
    } else if name.eq_ignore_ascii_case(b"VANISHED") {
        Ok((rest, Modifier::Vanished))
    } else if name.eq_ignore_ascii_case(b"PARTIAL") {
        // RFC 9394 §3.3 speaks of UID FETCH only, its grammar of both; there is no harm in both.
        let (i, ()) = space(rest)?;
        partial_range(i).map(|(i, range)| (i, Modifier::Partial(range)))
    } else {
        fail(i, "CHANGEDSINCE, VANISHED or PARTIAL")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::NumSet;
    use crate::wire::parse;

    fn fetch(line: &str) -> Result<Fetch, String> {
        match parse(line.as_bytes()).map_err(|e| e.to_string())?.body {
            Body::Fetch(fetch) => Ok(fetch),
            other => panic!("{line}: {other:?}"),
        }
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
            "RFC822.HEADER.PEEK",
            "RFC822.HEADER.LINES",
            "RFC822.HEADER.LINES ()",
            "RFC822.HEADER.LINES.NOT x",
            "RFC822.HEADER.LINES(x)",
            "RFC822[]",
            "BODY.PEEK",
            "BODY[]<0.0>",
            "BODY[]<0>",
            "BODY[]<9223372036854775808.1>",
            "BODY[]<0.9223372036854775808>",
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
    fn items_of_extensions() {
        let items = |items: &str| fetch(&format!("a UID FETCH $ {items}")).map(|f| f.items);
        let asked =
            items("(SaveDate EMAILID threadid PREVIEW PREVIEW (Lazy) BINARY[1.2] BINARY.PEEK[]<0.5> binary.size[3])");
        let expected = vec![
            FetchItem::SaveDate,
            FetchItem::EmailId,
            FetchItem::ThreadId,
            FetchItem::Preview { lazy: false },
            FetchItem::Preview { lazy: true },
            FetchItem::Binary { path: vec![1, 2], peek: false, partial: None },
            FetchItem::Binary { path: vec![], peek: true, partial: Some((0, 5)) },
            FetchItem::BinarySize { path: vec![3] },
        ];
        assert_eq!(asked, Ok(expected));
        assert_eq!(items("PREVIEW (LAZY)"), Ok(vec![FetchItem::Preview { lazy: true }]));
        let lone = fetch("a FETCH 1 PREVIEW (CHANGEDSINCE 5)").expect("modified");
        assert_eq!((lone.items, lone.changed_since), (vec![FetchItem::Preview { lazy: false }], Some(ModSeq(5))));
        let both = fetch("a FETCH 1 PREVIEW (LAZY) (PARTIAL 1:2)").expect("modified");
        assert!(both.items == [FetchItem::Preview { lazy: true }] && both.partial.is_some());
        let bad = [
            ("BINARY", "expected \"[\" at octet 21"),
            ("BINARY.SIZE", "expected \"[\" at octet 26"),
            ("BINARY.SIZE[1]<0.1>", "expected a space or the end of the command at octet 29"),
            ("BINARY[1.MIME]", "expected a part number from 1 on at octet 24"),
            ("BINARY[TEXT]", "expected a part number from 1 on at octet 22"),
            ("BINARY[0]", "expected a part number from 1 on at octet 22"),
            ("BINARY[1.]", "expected a part number from 1 on at octet 24"),
            ("BINARY[1", "expected \".\" or \"]\" at octet 23"),
            ("BINARY[1]<0.0>", "expected a number from 1 to 9223372036854775807 without a leading 0 at octet 27"),
            (
                "BINARY.TEXT[1]",
                "expected BODY or BINARY, with or without .PEEK, or BINARY.SIZE in front of a section at octet 15",
            ),
            ("(PREVIEW (FOO))", "expected a FETCH item at octet 24"),
            ("(PREVIEW (LAZY)", "expected a space or \")\" at octet 30"),
            ("PREVIEW (LAZY FOO)", "expected LAZY at octet 29"),
            ("PREVIEW(LAZY)", "expected a space or the end of the command at octet 22"),
            (
                "EMAILID[1]",
                "expected BODY or BINARY, with or without .PEEK, or BINARY.SIZE in front of a section at octet 15",
            ),
        ];
        for (text, expected) in bad {
            assert_eq!(items(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn items_of_old_programs() {
        let items = |items: &str| fetch(&format!("a FETCH 1 {items}")).map(|f| f.items);
        assert_eq!(items("(RFC822.PEEK rfc822.text.peek)"), Ok(vec![FetchItem::Rfc822Peek, FetchItem::Rfc822TextPeek]));
        let lines = |names: &[&str], not| {
            let names = names.iter().map(|name| name.to_string()).collect();
            Ok(vec![FetchItem::Rfc822HeaderLines { names, not }])
        };
        assert_eq!(items("RFC822.HEADER.LINES (DATE From)"), lines(&["DATE", "From"], false));
        assert_eq!(items("(rfc822.header.lines.not (\"a b\"))"), lines(&["a b"], true));
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
        let all = fetch("a UID FETCH 1:* ALL (PARTIAL -1:-2 VANISHED CHANGEDSINCE 12)").expect("in any order");
        let last_two = PartialRange { from_last: true, first: 1, second: 2 };
        assert_eq!((all.partial, all.vanished, all.changed_since), (Some(last_two), true, Some(ModSeq(12))));
        assert!(fetch("a FETCH $ ALL (partial 5:1)").is_ok_and(|f| f.set == NumSet::Saved && f.partial.is_some()));
        let bad = [
            "a FETCH 1 FLAGS (PARTIAL 1:2 PARTIAL 1:2)",
            "a FETCH 1 FLAGS (PARTIAL)",
            "a FETCH 1 FLAGS (PARTIAL 1)",
            "a FETCH 1 FLAGS (PARTIAL 1:*)",
            "a UID FETCH 1 FLAGS (PARTIAL 1:2 VANISHED)",
            "a FETCH $,1 FLAGS",
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
}
