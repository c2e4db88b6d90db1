//! The small parsers everybody shares: atoms, strings, numbers, sets and flags. Each carries its rule of RFC 3501 §9.
//! Input is one framed command, so there is never more to wait for.

use std::borrow::Cow;

use nom::Parser;
use nom::bytes::complete::{take_while, take_while1};

use super::garbled::{Parsed, Wrong, expected, fail};
use crate::types::{Flag, Keyword, ModSeq, NumSet, ObjectId, PartialRange, SetBound, SystemFlag, UidRuns};

/// ATOM-CHAR = <any CHAR except atom-specials>
pub(super) fn is_atom_char(b: u8) -> bool {
    b > 0x20 && b < 0x7f && !matches!(b, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// ASTRING-CHAR = ATOM-CHAR / resp-specials
pub(super) fn is_astring_char(b: u8) -> bool {
    is_atom_char(b) || b == b']'
}

/// list-char = ATOM-CHAR / list-wildcards / resp-specials
pub(super) fn is_list_char(b: u8) -> bool {
    is_astring_char(b) || b == b'%' || b == b'*'
}

/// All of these are ASCII, so this never loses anything.
pub(super) fn ascii(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap_or("")
}

/// SP, exactly one (RFC 3501 §9, note 2).
pub(super) fn space(i: &[u8]) -> Parsed<'_, ()> {
    match i {
        [b' ', b' ', ..] => fail(&i[1..], "a single space"),
        [b' ', rest @ ..] => Ok((rest, ())),
        _ => fail(i, "a space"),
    }
}

/// One octet of punctuation; `what` names it.
pub(super) fn mark<'a>(b: u8, what: &'static str) -> impl FnMut(&'a [u8]) -> Parsed<'a, ()> {
    move |i| match i.split_first() {
        Some((first, rest)) if *first == b => Ok((rest, ())),
        _ => fail(i, what),
    }
}

pub(super) fn open(i: &[u8]) -> Parsed<'_, ()> {
    mark(b'(', "\"(\"")(i)
}

pub(super) fn close(i: &[u8]) -> Parsed<'_, ()> {
    mark(b')', "\")\"")(i)
}

/// The octets in front of the next thing that is no letter, digit, `.` or `-`: a keyword to look up.
pub(super) fn word(i: &[u8]) -> Parsed<'_, &[u8]> {
    take_while(|b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-').parse(i)
}

/// `element *(SP element)` without the parentheses around it.
pub(super) fn spaced<'a, T>(i: &'a [u8], mut element: impl FnMut(&'a [u8]) -> Parsed<'a, T>) -> Parsed<'a, Vec<T>> {
    let (mut i, first) = element(i)?;
    let mut all = vec![first];
    while i.first() == Some(&b' ') {
        let (rest, ()) = space(i)?;
        let (rest, next) = element(rest)?;
        all.push(next);
        i = rest;
    }
    Ok((i, all))
}

/// "(" element *(SP element) ")"
pub(super) fn listed<'a, T>(i: &'a [u8], element: impl FnMut(&'a [u8]) -> Parsed<'a, T>) -> Parsed<'a, Vec<T>> {
    let (i, ()) = open(i)?;
    let (i, all) = spaced(i, element)?;
    let (i, ()) = expected("a space or \")\"", close).parse(i)?;
    Ok((i, all))
}

/// "(" [element *(SP element)] ")"
pub(super) fn listed_or_none<'a, T>(i: &'a [u8], element: impl FnMut(&'a [u8]) -> Parsed<'a, T>) -> Parsed<'a, Vec<T>> {
    match i.strip_prefix(b"()") {
        Some(rest) => Ok((rest, Vec::new())),
        None => listed(i, element),
    }
}

/// atom = 1*ATOM-CHAR
pub(super) fn atom(i: &[u8]) -> Parsed<'_, &str> {
    expected("an atom", take_while1(is_atom_char)).map(ascii).parse(i)
}

/// tag = 1*<any ASTRING-CHAR except "+">
pub(super) fn tag(i: &[u8]) -> Parsed<'_, &str> {
    expected("a tag", take_while1(|b| is_astring_char(b) && b != b'+')).map(ascii).parse(i)
}

/// number = 1*DIGIT, below `limit`.
fn digits<'a>(i: &'a [u8], limit: u64, what: &'static str) -> Parsed<'a, u64> {
    let (rest, digits) = expected(what, take_while1(|b: u8| b.is_ascii_digit())).parse(i)?;
    let mut n: u64 = 0;
    for d in digits {
        n = match n.checked_mul(10).and_then(|n| n.checked_add(u64::from(d - b'0'))) {
            Some(n) if n < limit => n,
            _ => return fail(i, what),
        };
    }
    Ok((rest, n))
}

/// number = 1*DIGIT ; Unsigned 32-bit integer
pub(super) fn number(i: &[u8]) -> Parsed<'_, u32> {
    digits(i, 1 << 32, "a number below 4294967296").map(|(i, n)| (i, n as u32))
}

/// number64 = 1*DIGIT ; Unsigned 63-bit integer (RFC 9051 §9)
pub(super) fn number64(i: &[u8]) -> Parsed<'_, u64> {
    digits(i, 1 << 63, "a number below 9223372036854775808")
}

/// nz-number = digit-nz *DIGIT
pub(super) fn nz_number(i: &[u8]) -> Parsed<'_, u32> {
    let what = "a number from 1 to 4294967295 without a leading 0";
    if i.first() == Some(&b'0') {
        return fail(i, what);
    }
    digits(i, 1 << 32, what).map(|(i, n)| (i, n as u32))
}

/// nz-number64 = digit-nz *DIGIT ; Unsigned 63-bit integer (RFC 9051 §9)
pub(super) fn nz_number64(i: &[u8]) -> Parsed<'_, u64> {
    let what = "a number from 1 to 9223372036854775807 without a leading 0";
    if i.first() == Some(&b'0') {
        return fail(i, what);
    }
    digits(i, 1 << 63, what)
}

/// objectid = 1*255(ALPHA / DIGIT / "_" / "-") (RFC 8474 §7)
pub(super) fn object_id(i: &[u8]) -> Parsed<'_, ObjectId> {
    let what = "an object identifier";
    let (rest, id) = expected(what, take_while1(ObjectId::is_octet)).parse(i)?;
    match ObjectId::new(ascii(id)) {
        Some(id) => Ok((rest, id)),
        None => fail(i, "an object identifier of at most 255 octets"),
    }
}

/// partial-range = nz-number ":" nz-number / "-" nz-number ":" "-" nz-number (RFC 9394 §4)
pub(super) fn partial_range(i: &[u8]) -> Parsed<'_, PartialRange> {
    let from_last = i.first() == Some(&b'-');
    let position = |i| match from_last {
        true => mark(b'-', "\"-\" and a position")(i).and_then(|(i, ())| nz_number(i)),
        false => nz_number(i),
    };
    let (i, first) = position(i)?;
    let (i, ()) = mark(b':', "\":\" and a second position")(i)?;
    let (i, second) = position(i)?;
    Ok((i, PartialRange { from_last, first, second }))
}

/// mod-sequence-valzer = "0" / mod-sequence-value (RFC 7162 §7)
pub(super) fn mod_seq(i: &[u8]) -> Parsed<'_, ModSeq> {
    digits(i, 1 << 63, "a modification sequence").map(|(i, n)| (i, ModSeq(n)))
}

/// quoted = DQUOTE *QUOTED-CHAR DQUOTE; QUOTED-CHAR = <any TEXT-CHAR except quoted-specials> / "\" quoted-specials
///
/// Octets above 127 are let through: passwords come in UTF-8, and what reads a name checks its encoding anyway.
pub(super) fn quoted(i: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    let (body, ()) = mark(b'"', "a quoted string")(i)?;
    let plain = |b: u8| !matches!(b, b'"' | b'\\' | b'\r' | b'\n' | 0);
    let (mut rest, first) = take_while(plain).parse(body)?;
    let mut text = Cow::Borrowed(first);
    loop {
        match rest {
            [b'"', after @ ..] => return Ok((after, text)),
            [b'\\', special @ (b'"' | b'\\'), after @ ..] => {
                let (after, more) = take_while(plain).parse(after)?;
                let text = text.to_mut();
                text.push(*special);
                text.extend_from_slice(more);
                rest = after;
            }
            [b'\\', after @ ..] => return fail(after, "\"\\\" or '\"' behind a backslash"),
            _ => return fail(rest, "the closing quote of a string"),
        }
    }
}

/// Finds a quoted string that is not UTF-8 in a line that a parser has taken: what is to be read from there on.
///
/// RFC 9755 §3: once UTF-8 is spoken, octets above 127 in a quoted string that are not well-formed UTF-8 are BAD. In a
/// line that follows the grammar a quote outside strings and literals can only begin a string.
pub(super) fn ill_formed_quoted(line: &[u8]) -> Option<&[u8]> {
    if line.is_ascii() {
        return None;
    }
    let mut i = line;
    while let Some(at) = i.iter().position(|b| matches!(b, b'"' | b'{')) {
        let begin = &i[at..];
        i = match begin[0] {
            b'"' => match quoted(begin) {
                Ok((_, text)) if std::str::from_utf8(&text).is_err() => return Some(begin),
                Ok((rest, _)) => rest,
                Err(_) => return None,
            },
            _ => match literal(begin) {
                Ok((rest, _)) => rest,
                Err(_) => return None,
            },
        };
    }
    None
}

/// literal = "{" number ["+"] "}" CRLF *CHAR8 (RFC 7888 §8), held in the line by the framer.
pub(super) fn literal(i: &[u8]) -> Parsed<'_, &[u8]> {
    let (rest, ()) = mark(b'{', "a literal")(i)?;
    let (rest, octets) = number(rest)?;
    let rest = rest.strip_prefix(b"+").unwrap_or(rest);
    let (rest, ()) = mark(b'}', "\"}\"")(rest)?;
    // The framer takes a bare LF for a line's end as well.
    let rest = rest.strip_prefix(b"\r").unwrap_or(rest);
    let (rest, ()) = mark(b'\n', "a line's end behind the literal's size")(rest)?;
    match rest.split_at_checked(octets as usize) {
        // CHAR8 = %x01-ff: NUL is for literal8 only.
        Some((octets, _)) if octets.contains(&0) => fail(rest, "a literal without NUL"),
        Some((octets, rest)) => Ok((rest, octets)),
        None => fail(rest, "as many octets as the literal announced"),
    }
}

/// string = quoted / literal
pub(super) fn string(i: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    match i.first() {
        Some(b'"') => quoted(i),
        Some(b'{') => literal(i).map(|(i, octets)| (i, Cow::Borrowed(octets))),
        _ => fail(i, "a string"),
    }
}

/// astring = 1*ASTRING-CHAR / string
pub(super) fn astring(i: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    match i.first() {
        Some(b'"' | b'{') => string(i),
        _ => take_while1(is_astring_char)
            .map(Cow::Borrowed)
            .parse(i)
            .map_err(|e| e.map(|wrong: Wrong| Wrong { expected: "an atom or a string", ..wrong })),
    }
}

/// nstring = string / nil
pub(super) fn nstring(i: &[u8]) -> Parsed<'_, Option<Cow<'_, [u8]>>> {
    match nil(i) {
        Ok((i, ())) => Ok((i, None)),
        Err(_) => expected("a string or NIL", string).map(Some).parse(i),
    }
}

/// nil = "NIL"
pub(super) fn nil(i: &[u8]) -> Parsed<'_, ()> {
    match i.split_at_checked(3) {
        Some((nil, rest)) if nil.eq_ignore_ascii_case(b"NIL") => Ok((rest, ())),
        _ => fail(i, "NIL"),
    }
}

/// seq-number = nz-number / "*"
pub(super) fn set_bound(i: &[u8]) -> Parsed<'_, SetBound> {
    match i.first() {
        Some(b'*') => Ok((&i[1..], SetBound::Star)),
        Some(b'0'..=b'9') => nz_number(i).map(|(i, n)| (i, SetBound::Number(n))),
        _ => fail(i, "a message number or \"*\""),
    }
}

/// sequence-set = (seq-number / seq-range) *("," sequence-set) / "$"; seq-range = seq-number ":" seq-number
///
/// `$` is a set of its own (RFC 5182 §3), never a member of a longer one.
pub(super) fn num_set(i: &[u8]) -> Parsed<'_, NumSet> {
    match i.strip_prefix(b"$") {
        Some(rest) => Ok((rest, NumSet::Saved)),
        None => written_set(i),
    }
}

/// A sequence-set that says which numbers it holds.
fn written_set(i: &[u8]) -> Parsed<'_, NumSet> {
    let mut ranges = Vec::new();
    let mut i = i;
    loop {
        let (rest, from) = set_bound(i)?;
        let (rest, to) = match rest.strip_prefix(b":") {
            Some(rest) => set_bound(rest)?,
            None => (rest, from),
        };
        ranges.push((from, to));
        match rest.strip_prefix(b",") {
            Some(rest) => i = rest,
            None => return Ok((rest, NumSet::Ranges(ranges))),
        }
    }
}

/// A sequence-set in which "*" is not allowed: uid-set, known-uids and their like (RFC 4315 §4, RFC 7162 §7).
pub(super) fn runs(i: &[u8]) -> Parsed<'_, UidRuns> {
    let (rest, set) = written_set(i)?;
    if set.has_star() {
        return fail(i, "a set without \"*\"");
    }
    Ok((rest, set.resolve(u32::MAX)))
}

/// What to do with `\Recent` where flags are set. The grammar's `flag` does not include it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Recent {
    Refused,
    /// Read as if it were not there.
    Ignored,
}

/// flag = "\Answered" / "\Flagged" / "\Deleted" / "\Seen" / "\Draft" / flag-keyword / flag-extension
///
/// A flag-extension nobody has defined is refused: it could not be kept.
pub(super) fn flag(i: &[u8], recent: Recent) -> Parsed<'_, Option<Flag>> {
    let Some(rest) = i.strip_prefix(b"\\") else {
        return keyword(i).map(|(i, keyword)| (i, Some(Flag::Keyword(keyword))));
    };
    let (rest, _) = expected("a flag", take_while1(is_atom_char)).parse(rest)?;
    let name = &i[..i.len() - rest.len()];
    if recent == Recent::Ignored && name.eq_ignore_ascii_case(b"\\Recent") {
        return Ok((rest, None));
    }
    match SystemFlag::ALL.into_iter().find(|flag| name.eq_ignore_ascii_case(flag.wire().as_bytes())) {
        Some(flag) => Ok((rest, Some(Flag::System(flag)))),
        None => fail(i, "a known system flag"),
    }
}

/// flag-keyword = atom
pub(super) fn keyword(i: &[u8]) -> Parsed<'_, Keyword> {
    let (rest, name) = expected("a flag", atom).parse(i)?;
    match Keyword::new(name) {
        Some(keyword) => Ok((rest, keyword)),
        None => fail(i, "a keyword of at most 255 octets"),
    }
}

/// flag-list = "(" [flag *(SP flag)] ")"
pub(super) fn flag_list(i: &[u8], recent: Recent) -> Parsed<'_, Vec<Flag>> {
    listed_or_none(i, |i| flag(i, recent)).map(|(i, flags)| (i, flags.into_iter().flatten().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole<'a, T>(parsed: Parsed<'a, T>) -> Option<T> {
        parsed.ok().filter(|(rest, _)| rest.is_empty()).map(|(_, value)| value)
    }

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(whole(number(b"4294967295")), Some(u32::MAX));
        assert_eq!(whole(number(b"007")), Some(7));
        assert_eq!(whole(mod_seq(b"9223372036854775807")), Some(ModSeq(i64::MAX as u64)));
        for bad in ["4294967296", "99999999999999999999999", "", "x", "-1"] {
            assert_eq!(whole(number(bad.as_bytes())), None, "{bad}");
        }
        for bad in ["0", "01"] {
            assert_eq!(whole(nz_number(bad.as_bytes())), None, "{bad}");
        }
        assert_eq!(whole(mod_seq(b"9223372036854775808")), None);
    }

    #[test]
    fn strings() {
        let text = |i: &'static [u8]| whole(string(i)).map(Cow::into_owned);
        assert_eq!(text(br#""a \"b\\ c""#).as_deref(), Some(&br#"a "b\ c"#[..]));
        assert_eq!(text(b"\"\"").as_deref(), Some(&b""[..]));
        assert_eq!(text(b"{3}\r\na\r\n").as_deref(), Some(&b"a\r\n"[..]));
        assert_eq!(text(b"{1+}\nx").as_deref(), Some(&b"x"[..]));
        assert_eq!(text("\"gr\u{fc}n\"".as_bytes()).as_deref(), Some("gr\u{fc}n".as_bytes()));
        let bad: [&[u8]; 9] =
            [b"\"a", b"\"a\\n\"", b"\"a\rb\"", b"\"a\0\"", b"{2}\r\nx", b"{1}\r\n\0", b"{1}x", b"a", b"{-1}\r\n"];
        for i in bad {
            assert!(whole(string(i)).is_none(), "{i:?}");
        }
    }

    #[test]
    fn quoted_strings_that_are_not_utf8_are_found() {
        let found = |line: &[u8]| ill_formed_quoted(line).map(|rest| line.len() - rest.len());
        assert_eq!(found(b"a \"gr\xc3\xbcn\" \"\xff\""), Some(10));
        assert_eq!(found(b"a \"\\\"\xff\""), Some(2));
        assert_eq!(found(b"a {2}\r\n\"\xff \"\xc3\xbc\""), None);
        assert_eq!(found(b"a {2}\r\n\"\xff \"\xc3\""), Some(10));
        assert_eq!(found(b"a \"b\" c"), None);
    }

    #[test]
    fn atoms_end_at_specials() {
        assert_eq!(whole(astring(b"a]b+c")).as_deref(), Some(&b"a]b+c"[..]));
        assert_eq!(whole(atom(b"a]b")), None);
        assert_eq!(whole(tag(b"a+1")), None);
        for bad in ["a b", "a%", "a*", "a(", "a\u{fc}", "a\x7f", "a\\b", "a{"] {
            assert_eq!(whole(astring(bad.as_bytes())), None, "{bad}");
        }
    }

    #[test]
    fn sets() {
        use SetBound::{Number, Star};
        let set = |text: &'static str| whole(num_set(text.as_bytes()));
        assert_eq!(set("5,1:*,*"), Some(NumSet::Ranges(vec![(Number(5), Number(5)), (Number(1), Star), (Star, Star)])));
        for bad in ["", "0", "1,", "1:", ":1", "1::2", "1,,2", "a", "1;2", "4294967296", "$,1", "1,$", "$:5", "$$"] {
            assert_eq!(set(bad), None, "{bad}");
        }
        assert_eq!(set("$"), Some(NumSet::Saved));
        assert_eq!(whole(runs(b"$")), None);
        assert_eq!(whole(runs(b"9,3:1")).map(|r| r.wire()).as_deref(), Some("1:3,9"));
        assert_eq!(whole(runs(b"1:*")), None);
    }

    #[test]
    fn slices_and_identifiers() {
        let slice = |text: &'static str| whole(partial_range(text.as_bytes()));
        assert_eq!(slice("500:400"), Some(PartialRange { from_last: false, first: 500, second: 400 }));
        assert_eq!(slice("-1:-50"), Some(PartialRange { from_last: true, first: 1, second: 50 }));
        for bad in ["", "1", "-1", "0:1", "1:0", "-1:1", "1:-1", "1:*", "-0:-1", "1:2,3:4", "1:4294967296", "--1:-2"] {
            assert_eq!(slice(bad), None, "{bad}");
        }
        assert_eq!(whole(object_id(b"M6d_-")), ObjectId::new("M6d_-"));
        assert!(whole(object_id(&[b'x'; 255])).is_some());
        assert!(object_id(&[b'x'; 256]).is_err());
        for bad in ["", "a.b", "\"a\""] {
            assert_eq!(whole(object_id(bad.as_bytes())), None, "{bad}");
        }
    }

    #[test]
    fn flags_are_known_or_keywords() {
        let wire = |i: &'static str, recent| {
            whole(flag_list(i.as_bytes(), recent))
                .map(|flags| flags.iter().map(|f| f.wire().to_owned()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(wire("(\\SEEN $Forwarded)", Recent::Refused).as_deref(), Some("\\Seen $Forwarded"));
        assert_eq!(wire("()", Recent::Refused).as_deref(), Some(""));
        assert_eq!(wire("(\\Recent a)", Recent::Ignored).as_deref(), Some("a"));
        for bad in ["(\\Recent)", "(\\Foo)", "(\\*)", "( )", "(a )", "(a  b)", "(", "a", "(a", "(\\)"] {
            assert_eq!(wire(bad, Recent::Refused), None, "{bad}");
        }
    }
}
