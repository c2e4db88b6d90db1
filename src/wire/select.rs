//! SELECT and EXAMINE with their parameters.

use nom::Parser;

use super::dialect::Dialect;
use super::garbled::{Parsed, expected, fail};
use super::lexical::{close, listed, mod_seq, nz_number, open, runs, space, word};
use super::mailbox::spelt;
use crate::types::command::{QResync, Select};
use crate::types::{UidRuns, UidValidity};

enum Parameter {
    CondStore,
    QResync(QResync),
}

/// select = "SELECT" SP mailbox [SP "(" select-param *(SP select-param) ")"] (RFC 4466 §2.1)
pub(super) fn command(i: &[u8], dialect: Dialect) -> Parsed<'_, Select> {
    let (i, ()) = space(i)?;
    let (i, (mailbox, spelt)) = spelt(i, dialect)?;
    let mut select = Select { mailbox, spelt, condstore: false, qresync: None };
    if i.is_empty() {
        return Ok((i, select));
    }
    let (i, ()) = space(i)?;
    let (rest, parameters) = listed(i, parameter)?;
    for parameter in parameters {
        match parameter {
            Parameter::CondStore if !select.condstore => select.condstore = true,
            Parameter::QResync(known) if select.qresync.is_none() => select.qresync = Some(known),
            _ => return fail(i, "each parameter only once"),
        }
    }
    Ok((rest, select))
}

/// select-param =/ "CONDSTORE" / "QRESYNC" SP "(" uidvalidity SP mod-sequence-value [SP known-uids]
///                 [SP seq-match-data] ")" (RFC 7162 §7)
fn parameter(i: &[u8]) -> Parsed<'_, Parameter> {
    let (rest, name) = word(i)?;
    if name.eq_ignore_ascii_case(b"CONDSTORE") {
        return Ok((rest, Parameter::CondStore));
    }
    if !name.eq_ignore_ascii_case(b"QRESYNC") {
        return fail(i, "CONDSTORE or QRESYNC");
    }
    let (i, ()) = space(rest)?;
    let (i, ()) = open(i)?;
    let (i, uid_validity) = nz_number(i)?;
    let (i, ()) = space(i)?;
    // The grammar wants 1 or more; 0 is what a client has that never learnt a modseq, and means it all the same.
    let (mut i, mod_seq) = mod_seq(i)?;
    let mut known = QResync { uid_validity: UidValidity(uid_validity), mod_seq, known_uids: None, known_pairs: None };
    if matches!(i, [b' ', b'0'..=b'9' | b'*', ..]) {
        let (rest, uids) = runs(&i[1..])?;
        known.known_uids = Some(uids);
        i = rest;
    }
    if i.first() == Some(&b' ') {
        let (rest, ()) = space(i)?;
        let (rest, pairs) = expected("a set of UIDs or \"(\"", known_pairs).parse(rest)?;
        known.known_pairs = Some(pairs);
        i = rest;
    }
    let (i, ()) = expected("a space or \")\"", close).parse(i)?;
    Ok((i, Parameter::QResync(known)))
}

/// seq-match-data = "(" known-sequence-set SP known-uid-set ")"
fn known_pairs(i: &[u8]) -> Parsed<'_, (UidRuns, UidRuns)> {
    let (i, ()) = open(i)?;
    let (i, numbers) = runs(i)?;
    let (i, ()) = space(i)?;
    let (rest, uids) = runs(i)?;
    // RFC 7162 §3.2.5.2: they are read side by side, so there must be as many of the one as of the other.
    if numbers.count() != uids.count() {
        return fail(i, "as many UIDs as sequence numbers");
    }
    let (rest, ()) = close(rest)?;
    Ok((rest, (numbers, uids)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Body, ModSeq};
    use crate::wire::parse;

    fn select(line: &str) -> Select {
        match parse(line.as_bytes()).map(|c| c.body) {
            Ok(Body::Select(select)) => select,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn parameters() {
        assert!(!select("a SELECT INBOX").condstore);
        assert!(select("a select INBOX (condstore)").condstore);
        let known = select("a SELECT INBOX (QRESYNC (67890007 90060115194045000 41,43:211 (1,3 41,43)) CONDSTORE)");
        let runs = |numbers: &[(u32, u32)]| numbers.iter().copied().collect::<UidRuns>();
        let expected = QResync {
            uid_validity: UidValidity(67_890_007),
            mod_seq: ModSeq(90_060_115_194_045_000),
            known_uids: Some(runs(&[(41, 41), (43, 211)])),
            known_pairs: Some((runs(&[(1, 1), (3, 3)]), runs(&[(41, 41), (43, 43)]))),
        };
        assert!(known.condstore);
        assert_eq!(known.qresync, Some(expected));
        let known = select("a SELECT INBOX (QRESYNC (1 2 (5 6)))").qresync.expect("given");
        assert_eq!((known.known_uids, known.known_pairs), (None, Some((runs(&[(5, 5)]), runs(&[(6, 6)])))));
        assert!(matches!(parse(b"a EXAMINE x").map(|c| c.body), Ok(Body::Examine(_))));
    }

    #[test]
    fn bad_parameters() {
        let bad = [
            "()",
            "CONDSTORE",
            "(CONDSTORE",
            "(CONDSTORE CONDSTORE)",
            "(FOO)",
            "(QRESYNC)",
            "(QRESYNC (0 1))",
            "(QRESYNC (1))",
            "(QRESYNC (1 2 1:*))",
            "(QRESYNC (1 2 3 (1:2 5)))",
            "(QRESYNC (1 2 3 4))",
            "(QRESYNC (1 2 )",
            "(QRESYNC (1 2  3))",
        ];
        for parameters in bad {
            let line = format!("a SELECT INBOX {parameters}");
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
    }
}
