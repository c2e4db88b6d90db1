//! What extended SEARCH and SORT add to both: the options of RETURN, and the ESEARCH line that answers them
//! (RFC 4466 §2.6, RFC 4731, RFC 5182, RFC 5267 §3, RFC 9394).

use super::garbled::{Parsed, fail};
use super::lexical::{listed_or_none, partial_range, space, word};
use super::write;
use crate::types::{ModSeq, PartialRange, SearchReturn, UidRuns};

/// "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")"; the word was seen already
pub(super) fn return_options(i: &[u8]) -> Parsed<'_, SearchReturn> {
    let (i, _) = word(i)?;
    let (i, ()) = space(i)?;
    let mut options = SearchReturn::default();
    let (i, _) = listed_or_none(i, |i| return_option(i, &mut options))?;
    // RFC 4731 §3.1: the empty list is equivalent to "(ALL)".
    options.all |= options == SearchReturn::default();
    Ok((i, options))
}

/// search-return-opt = "MIN" / "MAX" / "ALL" / "COUNT" / "SAVE" / "PARTIAL" SP partial-range
fn return_option<'a>(i: &'a [u8], options: &mut SearchReturn) -> Parsed<'a, ()> {
    let (mut rest, name) = word(i)?;
    let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
    let is_again = if is("PARTIAL") {
        let (behind, ()) = space(rest)?;
        let (behind, range) = partial_range(behind)?;
        rest = behind;
        options.partial.replace(range).is_some()
    } else {
        let option = match () {
            () if is("MIN") => &mut options.min,
            () if is("MAX") => &mut options.max,
            () if is("ALL") => &mut options.all,
            () if is("COUNT") => &mut options.count,
            () if is("SAVE") => &mut options.save,
            () => return fail(i, "MIN, MAX, ALL, COUNT, SAVE or PARTIAL"),
        };
        std::mem::replace(option, true)
    };
    if is_again {
        return fail(i, "each option only once");
    }
    // RFC 9394 §3.1: a single command contains either PARTIAL or ALL.
    if options.all && options.partial.is_some() {
        return fail(i, "ALL or PARTIAL, not both");
    }
    Ok((rest, ()))
}

/// Numbers or UIDs that were found, in the order of the answer.
#[derive(Debug, Clone, Copy)]
pub enum Found<'a> {
    /// In the order of the mailbox.
    Runs(&'a UidRuns),
    /// In the order of a SORT.
    Sorted(&'a [u32]),
}

impl Found<'_> {
    fn is_empty(self) -> bool {
        match self {
            Found::Runs(runs) => runs.is_empty(),
            Found::Sorted(numbers) => numbers.is_empty(),
        }
    }

    /// sequence-set. RFC 5267 §3.2: a range stands only for numbers that come in rising order.
    fn write(self, out: &mut Vec<u8>) {
        let numbers = match self {
            Found::Runs(runs) => return write::runs(out, runs),
            Found::Sorted(numbers) => numbers,
        };
        let is_first = out.len();
        let mut left = numbers;
        while let Some((low, rest)) = left.split_first() {
            let next = |high: &u32, n: &u32| high.checked_add(1) == Some(*n);
            let (mut high, mut rest) = (low, rest);
            while let Some((n, behind)) = rest.split_first().filter(|(n, _)| next(high, n)) {
                (high, rest) = (n, behind);
            }
            if out.len() > is_first {
                out.push(b',');
            }
            write::number(out, *low);
            if high > low {
                out.push(b':');
                write::number(out, *high);
            }
            left = rest;
        }
    }
}

/// The answer to an extended SEARCH or SORT. What was not asked for is `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ESearch<'a> {
    /// The tag of the command.
    pub tag: Option<&'a str>,
    /// The numbers are UIDs.
    pub uid: bool,
    /// The lowest and the highest, or with SORT the first and the last; `None` too when nothing was found.
    pub min: Option<u32>,
    pub max: Option<u32>,
    /// Left out of the line when it is empty (RFC 4731 §3.1).
    pub all: Option<Found<'a>>,
    pub count: Option<u32>,
    /// The range as it was asked, and what of the result lies in it.
    pub partial: Option<(PartialRange, Found<'a>)>,
    /// The highest of the messages told here, when the search asked for modseqs (RFC 4731 §3.2).
    pub mod_seq: Option<ModSeq>,
}

/// `* ESEARCH (TAG "a1") UID MIN n MAX n ALL set COUNT n PARTIAL (range set) MODSEQ n`
///
/// The tag is always quoted: a widely used client fails without the quotes.
pub fn write_line(out: &mut Vec<u8>, answer: &ESearch<'_>) {
    out.extend_from_slice(b"* ESEARCH");
    if let Some(tag) = answer.tag {
        out.extend_from_slice(b" (TAG ");
        write::quoted(out, tag.as_bytes());
        out.push(b')');
    }
    if answer.uid {
        out.extend_from_slice(b" UID");
    }
    write_number(out, b" MIN ", answer.min);
    write_number(out, b" MAX ", answer.max);
    if let Some(all) = answer.all.filter(|all| !all.is_empty()) {
        out.extend_from_slice(b" ALL ");
        all.write(out);
    }
    write_number(out, b" COUNT ", answer.count);
    if let Some((range, found)) = answer.partial {
        out.extend_from_slice(b" PARTIAL (");
        write_range(out, range);
        out.push(b' ');
        if found.is_empty() {
            write::nil(out)
        } else {
            found.write(out)
        }
        out.push(b')');
    }
    if let Some(mod_seq) = answer.mod_seq {
        out.extend_from_slice(b" MODSEQ ");
        write::number(out, mod_seq.0);
    }
    write::end(out);
}

fn write_number(out: &mut Vec<u8>, head: &[u8], n: Option<u32>) {
    if let Some(n) = n {
        out.extend_from_slice(head);
        write::number(out, n);
    }
}

/// partial-range
pub(super) fn write_range(out: &mut Vec<u8>, range: PartialRange) {
    for (at, n) in [range.first, range.second].into_iter().enumerate() {
        if at > 0 {
            out.push(b':');
        }
        if range.from_last {
            out.push(b'-');
        }
        write::number(out, n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Result<SearchReturn, &'static str> {
        let line = format!("RETURN {text}");
        match return_options(line.as_bytes()) {
            Ok((b"", options)) => Ok(options),
            Ok(_) => Err("more behind it"),
            Err(nom::Err::Error(wrong)) => Err(wrong.expected),
            Err(_) => Err("something else"),
        }
    }

    #[test]
    fn options_of_return() {
        let none = SearchReturn::default();
        assert_eq!(options("()"), Ok(SearchReturn { all: true, ..none }));
        assert_eq!(options("(all)"), options("()"));
        assert_eq!(options("(SAVE)"), Ok(SearchReturn { save: true, ..none }));
        assert!(!options("(SAVE)").expect("an option").wants_answer());
        let all = SearchReturn { min: true, max: true, all: true, count: true, save: true, partial: None };
        assert_eq!(options("(Min MAX All COUNT save)"), Ok(all));
        let partial = Some(PartialRange { from_last: true, first: 1, second: 50 });
        assert_eq!(options("(PARTIAL -1:-50 COUNT)"), Ok(SearchReturn { count: true, partial, ..none }));
        let bad = [
            ("", "\"(\""),
            ("ALL", "\"(\""),
            ("(", "MIN, MAX, ALL, COUNT, SAVE or PARTIAL"),
            ("( ALL)", "MIN, MAX, ALL, COUNT, SAVE or PARTIAL"),
            ("(ALL )", "MIN, MAX, ALL, COUNT, SAVE or PARTIAL"),
            ("(ALL  MIN)", "a single space"),
            ("(ALL", "a space or \")\""),
            ("(ALL,MIN)", "a space or \")\""),
            ("(UPDATE)", "MIN, MAX, ALL, COUNT, SAVE or PARTIAL"),
            ("(MIN MIN)", "each option only once"),
            ("(PARTIAL 1:2 PARTIAL 1:2)", "each option only once"),
            ("(PARTIAL 1:2 ALL)", "ALL or PARTIAL, not both"),
            ("(ALL PARTIAL 1:2)", "ALL or PARTIAL, not both"),
            ("(PARTIAL)", "a space"),
            ("(PARTIAL 1)", "\":\" and a second position"),
            ("(PARTIAL (1:2))", "a number from 1 to 4294967295 without a leading 0"),
        ];
        for (text, expected) in bad {
            assert_eq!(options(text), Err(expected), "{text}");
        }
    }

    fn line(answer: &ESearch<'_>) -> String {
        let mut out = Vec::new();
        write_line(&mut out, answer);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn lines() {
        let runs: UidRuns = [4, 5, 6, 19, 21].into_iter().collect();
        let (all, none) = (Found::Runs(&runs), Found::Sorted(&[]));
        let tag = Some("a\"1");
        let full = ESearch {
            tag,
            uid: true,
            min: Some(4),
            max: Some(21),
            all: Some(all),
            count: Some(5),
            partial: Some((PartialRange { from_last: true, first: 1, second: 50 }, all)),
            mod_seq: Some(ModSeq(7)),
        };
        let expected = "* ESEARCH (TAG \"a\\\"1\") UID MIN 4 MAX 21 ALL 4:6,19,21 COUNT 5 \
                        PARTIAL (-1:-50 4:6,19,21) MODSEQ 7\r\n";
        assert_eq!(line(&full), expected);
        let partial = Some((PartialRange { from_last: false, first: 8001, second: 8050 }, none));
        assert_eq!(line(&ESearch { partial, ..ESearch::default() }), "* ESEARCH PARTIAL (8001:8050 NIL)\r\n");
        assert_eq!(line(&ESearch { all: Some(none), count: Some(0), ..ESearch::default() }), "* ESEARCH COUNT 0\r\n");
        assert_eq!(line(&ESearch { tag: Some("A1"), ..ESearch::default() }), "* ESEARCH (TAG \"A1\")\r\n");
    }

    #[test]
    fn ranges_of_a_sort_only_rise() {
        let line = |numbers| line(&ESearch { all: Some(Found::Sorted(numbers)), ..ESearch::default() });
        assert_eq!(line(&[23_765, 23_764, 23_763, 23_761]), "* ESEARCH ALL 23765,23764,23763,23761\r\n");
        assert_eq!(line(&[9, 2, 3, 4, 4, 5, 1]), "* ESEARCH ALL 9,2:4,4:5,1\r\n");
        assert_eq!(line(&[u32::MAX - 1, u32::MAX, 7]), "* ESEARCH ALL 4294967294:4294967295,7\r\n");
    }
}
