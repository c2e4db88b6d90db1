//! SORT: its criteria, and the line that answers it. What it shares with SEARCH is in `search.rs` and `esearch.rs`.

use nom::Parser;

use super::dialect::Dialect;
use super::esearch::return_options;
use super::garbled::{Parsed, expected, fail};
use super::lexical::{listed, space, word};
use super::search::{is_word, numbered_line};
use crate::types::{Body, ModSeq, Sort, SortCriterion, SortKey};

/// sort = "SORT" [SP "RETURN" SP search-return-opts] SP sort-criteria SP charset 1*(SP search-key)
/// (RFC 5256 §5, RFC 5267 §5)
pub(super) fn command(i: &[u8], dialect: Dialect, uid: bool) -> Parsed<'_, Body> {
    let (mut i, ()) = space(i)?;
    let mut returns = None;
    if is_word(i, b"RETURN") {
        let (rest, options) = return_options(i)?;
        returns = Some(options);
        i = space(rest)?.0;
    }
    // sort-criteria = "(" sort-criterion *(SP sort-criterion) ")"
    let (rest, criteria) = expected("a list of sort criteria", |i| listed(i, criterion)).parse(i)?;
    if criteria.len() > Sort::MAX_CRITERIA {
        return fail(i, "at most 32 sort criteria");
    }
    let (i, ()) = space(rest)?;
    let (i, (charset, key)) = super::search::criteria(i, dialect)?;
    Ok((i, Body::Sort(Sort { uid, returns, criteria, charset, key })))
}

/// sort-criterion = ["REVERSE" SP] sort-key
fn criterion(i: &[u8]) -> Parsed<'_, SortCriterion> {
    let (mut i, reverse) = (i, is_word(i, b"REVERSE"));
    if reverse {
        i = space(&i[b"REVERSE".len()..])?.0;
    }
    let (rest, name) = word(i)?;
    match SortKey::ALL.into_iter().find(|key| name.eq_ignore_ascii_case(key.wire().as_bytes())) {
        Some(key) => Ok((rest, SortCriterion { reverse, key })),
        None => fail(i, "a sort criterion"),
    }
}

/// `* SORT n n n`, in order, all on one line, and sent when nothing was found too.
/// `mod_seq` is the highest of those found, told when the search asked for modseqs (RFC 7162 §3.1.6).
pub fn write_line(out: &mut Vec<u8>, numbers: impl IntoIterator<Item = u32>, mod_seq: Option<ModSeq>) {
    numbered_line(out, b"* SORT", numbers, mod_seq);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::SearchKey;
    use crate::wire::parse;

    fn sort(arguments: &str) -> Result<Sort, String> {
        match parse(format!("a {arguments}").as_bytes()).map_err(|e| e.to_string())?.body {
            Body::Sort(sort) => Ok(sort),
            other => panic!("{arguments}: {other:?}"),
        }
    }

    fn criteria(text: &str) -> Result<Vec<(bool, &'static str)>, String> {
        let sort = sort(&format!("SORT {text} UTF-8 ALL"))?;
        Ok(sort.criteria.iter().map(|criterion| (criterion.reverse, criterion.key.wire())).collect())
    }

    #[test]
    fn criteria_in_order() {
        assert_eq!(criteria("(subject Reverse date)"), Ok(vec![(false, "SUBJECT"), (true, "DATE")]));
        let words: Vec<_> = SortKey::ALL.iter().map(|key| key.wire()).collect();
        assert_eq!(criteria(&format!("({})", words.join(" "))).map(|all| all.len()), Ok(9));
        let bad = [
            ("ARRIVAL", "expected a list of sort criteria at octet 8"),
            ("()", "expected a sort criterion at octet 9"),
            ("(REVERSE)", "expected a space at octet 16"),
            ("(REVERSE REVERSE DATE)", "expected a sort criterion at octet 17"),
            ("(DATE  SIZE)", "expected a single space at octet 14"),
            ("(DATE SIZE )", "expected a sort criterion at octet 19"),
            ("(BCC)", "expected a sort criterion at octet 9"),
            ("(DATE", "expected a sort criterion at octet 14"),
        ];
        for (text, expected) in bad {
            assert_eq!(criteria(text), Err(expected.to_owned()), "{text}");
        }
        let many = |n: usize| format!("({})", vec!["REVERSE TO"; n].join(" "));
        assert!(criteria(&many(32)).is_ok());
        assert!(criteria(&many(33)).is_err_and(|e| e.contains("at most 32")));
    }

    #[test]
    fn commands() {
        let plain = sort("SORT (DATE) UTF-8 UNSEEN").expect("a command");
        assert!(!plain.uid && plain.returns.is_none() && plain.charset == "UTF-8");
        let full = sort("uid sort return (partial 1:10 count) (REVERSE DATE) \"us-ascii\" ALL 1:5").expect("a command");
        assert!(full.uid && full.returns.is_some_and(|r| r.count && r.partial.is_some()) && full.charset == "us-ascii");
        assert!(matches!(full.key, SearchKey::And(_)));
        let bad = [
            "SORT",
            "SORT (DATE)",
            "SORT (DATE) UTF-8",
            "SORT (DATE) UTF-8 ",
            "SORT (DATE) CHARSET UTF-8 ALL",
            "SORT RETURN (DATE) UTF-8 ALL",
            "SORT RETURN () UTF-8 ALL",
            "SORT (DATE) RETURN () UTF-8 ALL",
            "SORT  (DATE) UTF-8 ALL",
            "SORT (DATE) UTF-8 FROB",
        ];
        for arguments in bad {
            assert!(sort(arguments).is_err(), "{arguments}");
        }
    }

    #[test]
    fn lines() {
        let line = |numbers: &[u32], mod_seq| {
            let mut out = Vec::new();
            write_line(&mut out, numbers.iter().copied(), mod_seq);
            String::from_utf8(out).expect("ASCII")
        };
        assert_eq!(line(&[5, 3, 4], None), "* SORT 5 3 4\r\n");
        assert_eq!(line(&[], Some(ModSeq(5))), "* SORT\r\n");
        assert_eq!(line(&[5, 3], Some(ModSeq(917_162_500))), "* SORT 5 3 (MODSEQ 917162500)\r\n");
    }
}
