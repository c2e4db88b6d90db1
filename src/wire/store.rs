//! The commands that change messages by set: STORE, COPY, MOVE, UID EXPUNGE.

use super::dialect::Dialect;
use super::garbled::{Parsed, fail};
use super::lexical::{Recent, flag, flag_list, listed, mod_seq, num_set, space, spaced, word};
use super::mailbox::only;
use crate::types::command::{Copy, FlagChange, Store};
use crate::types::{Body, Flag, ModSeq};

/// store = "STORE" SP sequence-set [SP store-modifiers] SP store-att-flags (RFC 4466 §2.5)
pub(super) fn store(i: &[u8], uid: bool) -> Parsed<'_, Body> {
    let (i, ()) = space(i)?;
    let (i, set) = num_set(i)?;
    let (mut i, ()) = space(i)?;
    let mut unchanged_since = None;
    if i.first() == Some(&b'(') {
        let (rest, modifiers) = listed(i, modifier)?;
        if modifiers.len() > 1 {
            // RFC 7162 §7: Only a single "UNCHANGEDSINCE" may be specified in a STORE operation.
            return fail(i, "UNCHANGEDSINCE only once");
        }
        unchanged_since = modifiers.first().copied();
        i = space(rest)?.0;
    }
    let (i, (change, silent)) = flag_operation(i)?;
    let (i, ()) = space(i)?;
    let (i, flags) = flags(i)?;
    Ok((i, Body::Store(Store { set, uid, change, silent, flags, unchanged_since })))
}

/// store-modifier =/ "UNCHANGEDSINCE" SP mod-sequence-valzer (RFC 7162 §7)
fn modifier(i: &[u8]) -> Parsed<'_, ModSeq> {
    let (rest, name) = word(i)?;
    if !name.eq_ignore_ascii_case(b"UNCHANGEDSINCE") {
        return fail(i, "UNCHANGEDSINCE");
    }
    let (i, ()) = space(rest)?;
    mod_seq(i)
}

/// ["+" / "-"] "FLAGS" [".SILENT"]
fn flag_operation(i: &[u8]) -> Parsed<'_, (FlagChange, bool)> {
    let (change, rest) = match i {
        [b'+', rest @ ..] => (FlagChange::Add, rest),
        [b'-', rest @ ..] => (FlagChange::Remove, rest),
        _ => (FlagChange::Replace, i),
    };
    let (rest, name) = word(rest)?;
    if name.eq_ignore_ascii_case(b"FLAGS") {
        Ok((rest, (change, false)))
    } else if name.eq_ignore_ascii_case(b"FLAGS.SILENT") {
        Ok((rest, (change, true)))
    } else {
        fail(i, "FLAGS, +FLAGS or -FLAGS, or one of them with .SILENT")
    }
}

/// flag-list / (flag *(SP flag))
fn flags(i: &[u8]) -> Parsed<'_, Vec<Flag>> {
    if i.first() == Some(&b'(') {
        return flag_list(i, Recent::Refused);
    }
    let (i, flags) = spaced(i, |i| flag(i, Recent::Refused))?;
    Ok((i, flags.into_iter().flatten().collect()))
}

/// copy = "COPY" SP sequence-set SP mailbox, and MOVE the same (RFC 6851 §4)
pub(super) fn copy(i: &[u8], dialect: Dialect, uid: bool) -> Parsed<'_, Copy> {
    let (i, ()) = space(i)?;
    let (i, set) = num_set(i)?;
    let (i, mailbox) = only(i, dialect)?;
    Ok((i, Copy { set, uid, mailbox }))
}

/// uid-expunge = "UID" SP "EXPUNGE" SP sequence-set (RFC 4315 §4)
pub(super) fn uid_expunge(i: &[u8]) -> Parsed<'_, Body> {
    let (i, ()) = space(i)?;
    num_set(i).map(|(i, set)| (i, Body::UidExpunge(set)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::NumSet;
    use crate::wire::parse;

    fn body(line: &str) -> Option<Body> {
        parse(line.as_bytes()).ok().map(|c| c.body)
    }

    fn store_of(line: &str) -> Option<(FlagChange, bool, String, Option<ModSeq>)> {
        match body(line)? {
            Body::Store(store) => {
                let flags: Vec<_> = store.flags.iter().map(Flag::wire).collect();
                Some((store.change, store.silent, flags.join(" "), store.unchanged_since))
            }
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn store_takes_lists_and_bare_flags() {
        use FlagChange::{Add, Remove, Replace};
        let cases = [
            ("a STORE 1 FLAGS ()", (Replace, false, "", None)),
            ("a store 1:* +flags.silent (\\deleted)", (Add, true, "\\Deleted", None)),
            ("a UID STORE 1,3 -FLAGS \\Seen $x", (Remove, false, "\\Seen $x", None)),
            ("a STORE 7 (UNCHANGEDSINCE 0) FLAGS x", (Replace, false, "x", Some(ModSeq(0)))),
        ];
        for (line, (change, silent, flags, since)) in cases {
            assert_eq!(store_of(line), Some((change, silent, flags.to_owned(), since)), "{line}");
        }
        let bad = [
            "FLAGS",
            "FLAGS ",
            "+FLAGS",
            "FLAGS (\\Recent)",
            "FLAGS \\Recent",
            "FLAGS (\\Seen",
            "FLAGS (\\Seen))",
            "FLAGS \\Seen ",
            "FLAG (\\Seen)",
            "FLAGS.LOUD (\\Seen)",
            "* FLAGS (\\Seen)",
            "FLAGS  (\\Seen)",
            "(UNCHANGEDSINCE) FLAGS (\\Seen)",
            "() FLAGS (\\Seen)",
            "(UNCHANGEDSINCE 1 UNCHANGEDSINCE 2) FLAGS (\\Seen)",
            "(UNCHANGEDSINCE 1)FLAGS (\\Seen)",
        ];
        for arguments in bad {
            assert_eq!(store_of(&format!("a STORE 1 {arguments}")), None, "{arguments}");
        }
    }

    #[test]
    fn copy_and_move() {
        let Some(Body::Copy(copy)) = body("a UID COPY 1:2 Sent") else { panic!("no COPY") };
        assert!(copy.uid && copy.mailbox.is_ok());
        let Some(Body::Move(moved)) = body("a move 5 \"Old Mail\"") else { panic!("no MOVE") };
        assert!(!moved.uid && moved.set == NumSet::one(5));
        assert_eq!(body("a UID EXPUNGE 3"), Some(Body::UidExpunge(NumSet::one(3))));
        for bad in ["a COPY 1", "a COPY x Sent", "a COPY 1 Sent x", "a UID EXPUNGE", "a EXPUNGE 3", "a MOVE 0 x"] {
            assert_eq!(body(bad), None, "{bad}");
        }
    }
}
