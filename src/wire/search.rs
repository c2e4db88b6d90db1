//! SEARCH: its keys, and the line that answers it.
//!
//! Rows of OR and of NOT are read in a loop, whatever their length; only parentheses, and keys below a NOT that
//! stands in an OR, nest, and they nest to a depth that is written down.

use nom::Parser;

use super::date::date;
use super::dialect::Dialect;
use super::esearch::return_options;
use super::garbled::{Parsed, expected, fail};
use super::lexical::{
    ascii, astring, close, keyword, mod_seq, num_set, number64, nz_number, object_id, open, quoted, space, word,
};
use super::write;
use crate::types::{Body, DateOf, ModSeq, Search, SearchKey, SystemFlag, Uid};

/// search = "SEARCH" [SP "RETURN" SP search-return-opts] SP search-program;
/// search-program = ["CHARSET" SP charset SP] search-key *(SP search-key) (RFC 4466 §3)
///
/// The charset is taken in front of RETURN too. Neither word is a key, so nothing else can be meant.
pub(super) fn command(i: &[u8], dialect: Dialect, uid: bool) -> Parsed<'_, Body> {
    let (mut i, ()) = space(i)?;
    let (mut charset, mut returns) = (None, None);
    loop {
        let rest = if charset.is_none() && is_word(i, b"CHARSET") {
            if dialect.needs_no_charset() {
                // RFC 9755 §3: a client that has enabled UTF8=ACCEPT must not name a charset.
                return fail(i, "no charset once UTF8=ACCEPT is enabled");
            }
            let (rest, ()) = space(&i[b"CHARSET".len()..])?;
            let (rest, name) = self::charset(rest)?;
            charset = Some(name);
            rest
        } else if returns.is_none() && is_word(i, b"RETURN") {
            let (rest, options) = return_options(i)?;
            returns = Some(options);
            rest
        } else {
            break;
        };
        i = space(rest)?.0;
    }
    let (i, key) = keys(i, dialect)?;
    Ok((i, Body::Search(Search { uid, charset, returns, key })))
}

/// charset = atom / quoted, and as a literal too
fn charset(i: &[u8]) -> Parsed<'_, String> {
    let (i, name) = expected("the name of a charset", astring).parse(i)?;
    Ok((i, String::from_utf8_lossy(&name).into_owned()))
}

/// search-criteria = charset 1*(SP search-key) (RFC 5256 §5), to the end of the command
pub(super) fn criteria(i: &[u8], dialect: Dialect) -> Parsed<'_, (String, SearchKey)> {
    let (rest, charset) = charset(i)?;
    // RFC 9755 §3: where the charset cannot be left out, it is UTF-8.
    if dialect.needs_no_charset() && !charset.eq_ignore_ascii_case("UTF-8") {
        return fail(i, "UTF-8, once UTF8=ACCEPT is enabled");
    }
    let (rest, ()) = space(rest)?;
    let (rest, key) = keys(rest, dialect)?;
    Ok((rest, (charset, key)))
}

/// search-key *(SP search-key), to the end of the command
fn keys(i: &[u8], dialect: Dialect) -> Parsed<'_, SearchKey> {
    Keys { left: Search::MAX_KEYS, has_recent: !dialect.rev2 }.row(i, Search::MAX_DEPTH)
}

/// Reads keys and counts them.
struct Keys {
    /// How many more may come.
    left: usize,
    /// RFC 9051 appendix E: IMAP4rev2 has no `\Recent`, and no key that asks for it.
    has_recent: bool,
}

impl Keys {
    /// search-key *(SP search-key), all of which must hold
    fn row<'a>(&mut self, i: &'a [u8], depth: usize) -> Parsed<'a, SearchKey> {
        let (mut i, first) = self.key(i, depth)?;
        let mut keys = vec![first];
        while i.first() == Some(&b' ') {
            let (rest, ()) = space(i)?;
            let (rest, key) = self.key(rest, depth)?;
            keys.push(key);
            i = rest;
        }
        Ok((i, SearchKey::and(keys)))
    }

    /// search-key, the ones made of others: "NOT" SP search-key / "OR" SP search-key SP search-key /
    /// "(" search-key *(SP search-key) ")"
    fn key<'a>(&mut self, i: &'a [u8], depth: usize) -> Parsed<'a, SearchKey> {
        if self.left == 0 {
            return fail(i, "at most 4096 search keys");
        }
        if depth == 0 {
            return fail(i, "search keys nested at most 32 deep");
        }
        if i.first() == Some(&b'(') {
            let (i, ()) = open(i)?;
            let (i, key) = self.row(i, depth - 1)?;
            let (i, ()) = expected("a space or \")\"", close).parse(i)?;
            return Ok((i, key));
        }
        if is_word(i, b"NOT") {
            let (mut i, mut is_negated) = (i, false);
            while is_word(i, b"NOT") {
                i = space(&i[3..])?.0;
                is_negated = !is_negated;
            }
            let (i, key) = self.key(i, depth - 1)?;
            return Ok((i, if is_negated { SearchKey::negated(key) } else { key }));
        }
        if is_word(i, b"OR") {
            return self.alternatives(i, depth);
        }
        self.left -= 1;
        if !self.has_recent && [&b"RECENT"[..], b"NEW", b"OLD"].iter().any(|word| is_word(i, word)) {
            return fail(i, "a search key of IMAP4rev2");
        }
        simple_key(i)
    }

    /// A key that begins with OR. Each OR among its keys wants one key more: `OR OR a b c` is any of three.
    /// Clients that look for fifty senders nest fifty of them.
    fn alternatives<'a>(&mut self, i: &'a [u8], depth: usize) -> Parsed<'a, SearchKey> {
        let (mut i, mut wanted, mut keys) = (i, 1, Vec::new());
        loop {
            if is_word(i, b"OR") {
                i = &i[2..];
                wanted += 1;
            } else {
                let (rest, key) = self.key(i, depth - 1)?;
                keys.push(key);
                wanted -= 1;
                i = rest;
            }
            if wanted == 0 {
                return Ok((i, SearchKey::or(keys)));
            }
            i = space(i)?.0;
        }
    }
}

pub(super) fn is_word(i: &[u8], expected: &[u8]) -> bool {
    word(i).is_ok_and(|(_, word)| word.eq_ignore_ascii_case(expected))
}

/// search-key, the ones that stand for themselves
fn simple_key(i: &[u8]) -> Parsed<'_, SearchKey> {
    use SearchKey as Key;
    use SystemFlag::{Answered, Deleted, Draft, Flagged, Seen};
    if matches!(i.first(), Some(b'0'..=b'9' | b'*' | b'$')) {
        return num_set(i).map(|(i, set)| (i, Key::Numbers(set)));
    }
    let what = "a search key";
    let (rest, name) = word(i)?;
    let mut upper = [0u8; 20];
    let Some(upper) = upper.get_mut(..name.len()) else { return fail(i, what) };
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();

    let done = |key| Ok((rest, key));
    let flag = |flag| Ok((rest, Key::Flag(flag)));
    let no_flag = |flag| Ok((rest, Key::negated(Key::Flag(flag))));
    match ascii(upper) {
        "ALL" => done(Key::All),
        "ANSWERED" => flag(Answered),
        "DELETED" => flag(Deleted),
        "DRAFT" => flag(Draft),
        "FLAGGED" => flag(Flagged),
        "SEEN" => flag(Seen),
        "UNANSWERED" => no_flag(Answered),
        "UNDELETED" => no_flag(Deleted),
        "UNDRAFT" => no_flag(Draft),
        "UNFLAGGED" => no_flag(Flagged),
        "UNSEEN" => no_flag(Seen),
        "RECENT" => done(Key::Recent),
        // RFC 3501 §6.4.4: OLD is "NOT RECENT", NEW is "(RECENT UNSEEN)".
        "OLD" => done(Key::negated(Key::Recent)),
        "NEW" => done(Key::and(vec![Key::Recent, Key::negated(Key::Flag(Seen))])),
        "KEYWORD" => argument(rest, keyword, Key::Keyword),
        "UNKEYWORD" => argument(rest, keyword, |k| Key::negated(Key::Keyword(k))),
        "BEFORE" => argument(rest, date, |d| Key::Before(DateOf::Arrival, d)),
        "ON" => argument(rest, date, |d| Key::On(DateOf::Arrival, d)),
        "SINCE" => argument(rest, date, |d| Key::Since(DateOf::Arrival, d)),
        "SENTBEFORE" => argument(rest, date, |d| Key::Before(DateOf::Sent, d)),
        "SENTON" => argument(rest, date, |d| Key::On(DateOf::Sent, d)),
        "SENTSINCE" => argument(rest, date, |d| Key::Since(DateOf::Sent, d)),
        "SAVEDBEFORE" => argument(rest, date, |d| Key::Before(DateOf::Saved, d)),
        "SAVEDON" => argument(rest, date, |d| Key::On(DateOf::Saved, d)),
        "SAVEDSINCE" => argument(rest, date, |d| Key::Since(DateOf::Saved, d)),
        "SAVEDATESUPPORTED" => done(Key::SaveDateSupported),
        "OLDER" => argument(rest, nz_number, Key::Older),
        "YOUNGER" => argument(rest, nz_number, Key::Younger),
        "LARGER" => argument(rest, number64, Key::Larger),
        "SMALLER" => argument(rest, number64, Key::Smaller),
        "UID" => argument(rest, num_set, Key::Uids),
        "UIDAFTER" => argument(rest, nz_number, |n| Key::UidAfter(Uid(n))),
        "UIDBEFORE" => argument(rest, nz_number, |n| Key::UidBefore(Uid(n))),
        "EMAILID" => argument(rest, object_id, Key::EmailId),
        "THREADID" => argument(rest, object_id, Key::ThreadId),
        "BCC" => argument(rest, text, Key::Bcc),
        "CC" => argument(rest, text, Key::Cc),
        "FROM" => argument(rest, text, Key::From),
        "TO" => argument(rest, text, Key::To),
        "SUBJECT" => argument(rest, text, Key::Subject),
        "BODY" => argument(rest, text, Key::Body),
        "TEXT" => argument(rest, text, Key::Text),
        "HEADER" => {
            let (i, ()) = space(rest)?;
            let (i, name) = expected("the name of a header field", text).parse(i)?;
            argument(i, text, |value| Key::Header { name, value })
        }
        "MODSEQ" => modified_since(rest),
        _ => fail(i, what),
    }
}

/// SP and one argument, made into a key
fn argument<'a, T>(
    i: &'a [u8],
    parser: impl FnOnce(&'a [u8]) -> Parsed<'a, T>,
    key: impl FnOnce(T) -> SearchKey,
) -> Parsed<'a, SearchKey> {
    let (i, ()) = space(i)?;
    let (i, value) = parser(i)?;
    Ok((i, key(value)))
}

fn text(i: &[u8]) -> Parsed<'_, Vec<u8>> {
    astring(i).map(|(i, text)| (i, text.into_owned()))
}

/// search-modsequence = "MODSEQ" [SP entry-name SP entry-type-req] SP mod-sequence-valzer (RFC 7162 §7)
fn modified_since(i: &[u8]) -> Parsed<'_, SearchKey> {
    let (mut i, ()) = space(i)?;
    if i.first() == Some(&b'"') {
        let (rest, entry) = quoted(i)?;
        if !entry.get(..7).is_some_and(|head| head.eq_ignore_ascii_case(b"/flags/")) || entry.len() == 7 {
            return fail(i, "an entry name like \"/flags/\\\\seen\"");
        }
        let (rest, ()) = space(rest)?;
        let (behind, kind) = word(rest)?;
        if ![&b"priv"[..], b"shared", b"all"].iter().any(|known| kind.eq_ignore_ascii_case(known)) {
            return fail(rest, "priv, shared or all");
        }
        // RFC 7162 §3.1.5: with one modseq for the whole message, name and type are read and ignored.
        i = space(behind)?.0;
    }
    mod_seq(i).map(|(i, mod_seq)| (i, SearchKey::ModSeq(mod_seq)))
}

/// `* SEARCH n n n`, all on one line, and sent when nothing was found too (RFC 3501 §7.2.5).
/// `mod_seq` is the highest of those found, told when the search asked for modseqs (RFC 7162 §3.1.6).
pub fn write_line(out: &mut Vec<u8>, numbers: impl IntoIterator<Item = u32>, mod_seq: Option<ModSeq>) {
    numbered_line(out, b"* SEARCH", numbers, mod_seq);
}

/// The line of SEARCH and that of SORT, which differ in their word.
pub(super) fn numbered_line(
    out: &mut Vec<u8>,
    head: &[u8],
    numbers: impl IntoIterator<Item = u32>,
    mod_seq: Option<ModSeq>,
) {
    out.extend_from_slice(head);
    let mut is_empty = true;
    for n in numbers {
        is_empty = false;
        out.push(b' ');
        write::number(out, n);
    }
    if let Some(mod_seq) = mod_seq.filter(|_| !is_empty) {
        out.extend_from_slice(b" (MODSEQ ");
        write::number(out, mod_seq.0);
        out.push(b')');
    }
    write::end(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Date, NumSet, ObjectId};
    use crate::wire::{parse, parse_in};

    fn search(keys: &str) -> Result<Search, String> {
        match parse(format!("a SEARCH {keys}").as_bytes()).map_err(|e| e.to_string())?.body {
            Body::Search(search) => Ok(search),
            other => panic!("{keys}: {other:?}"),
        }
    }

    fn key(keys: &str) -> SearchKey {
        search(keys).expect(keys).key
    }

    #[test]
    fn simple_keys() {
        let day = Date::new(1994, 2, 1).expect("a day");
        assert_eq!(key("all"), SearchKey::All);
        assert_eq!(key("UNSEEN"), SearchKey::negated(SearchKey::Flag(SystemFlag::Seen)));
        assert_eq!(key("NEW"), key("(RECENT UNSEEN)"));
        assert_eq!(key("OLD"), key("NOT RECENT"));
        assert_eq!(key("SINCE 1-Feb-1994"), SearchKey::Since(DateOf::Arrival, day));
        assert_eq!(key("sentbefore \"01-feb-1994\""), SearchKey::Before(DateOf::Sent, day));
        assert_eq!(key("FROM \"a b\""), SearchKey::From(b"a b".to_vec()));
        assert_eq!(key("SUBJECT {3}\r\n\u{20ac}"), SearchKey::Subject("€".into()));
        let header = SearchKey::Header { name: b"Message-ID".to_vec(), value: vec![] };
        assert_eq!(key("HEADER Message-ID \"\""), header);
        assert_eq!(key("LARGER 5000000000"), SearchKey::Larger(5_000_000_000));
        assert_eq!(key("UID 5"), SearchKey::Uids(NumSet::one(5)));
        assert_eq!(key("MODSEQ 0"), SearchKey::ModSeq(ModSeq(0)));
        assert_eq!(key("modseq \"/flags/\\\\draft\" all 620162338"), SearchKey::ModSeq(ModSeq(620_162_338)));
        assert_eq!(key("5 NOT DELETED"), SearchKey::and(vec![key("5"), key("UNDELETED")]));
        assert!(search("CHARSET utf-8 TEXT x").is_ok_and(|s| s.charset.as_deref() == Some("utf-8")));
    }

    #[test]
    fn keys_of_extensions() {
        let day = Date::new(1994, 2, 1).expect("a day");
        assert_eq!(key("savedbefore 1-Feb-1994"), SearchKey::Before(DateOf::Saved, day));
        assert_eq!(key("SAVEDON 1-Feb-1994"), SearchKey::On(DateOf::Saved, day));
        assert_eq!(key("SAVEDSINCE \"1-Feb-1994\""), SearchKey::Since(DateOf::Saved, day));
        assert_eq!(key("SaveDateSupported"), SearchKey::SaveDateSupported);
        assert_eq!(key("OLDER 259200"), SearchKey::Older(259_200));
        assert_eq!(key("YOUNGER 1"), SearchKey::Younger(1));
        assert_eq!(key("EMAILID M6d-_"), SearchKey::EmailId(ObjectId::new("M6d-_").expect("an id")));
        assert_eq!(key("THREADID 5"), SearchKey::ThreadId(ObjectId::new("5").expect("an id")));
        assert_eq!(key("UIDAFTER 25000"), SearchKey::UidAfter(Uid(25_000)));
        assert_eq!(key("UIDBEFORE 1"), SearchKey::UidBefore(Uid(1)));
        assert_eq!(key("$"), SearchKey::Numbers(NumSet::Saved));
        assert_eq!(
            key("OR UID $ 1,3000:3021"),
            SearchKey::or(vec![SearchKey::Uids(NumSet::Saved), key("1,3000:3021")])
        );
        for bad in ["OLDER 0", "OLDER", "YOUNGER -1", "YOUNGER x", "SAVEDON", "SAVEDON x", "EMAILID", "EMAILID \"\""] {
            assert!(search(bad).is_err(), "{bad}");
        }
        for bad in ["SAVEDATESUPPORTED x", "THREADID a.b", "UIDAFTER 0", "UIDAFTER *", "UIDBEFORE 1:2", "$,1", "UID $$"]
        {
            assert!(search(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dialects() {
        let read = |line: &str, utf8, rev2| {
            parse_in(format!("a {line}").as_bytes(), Dialect { utf8, rev2 }).map(|_| ()).map_err(|e| e.to_string())
        };
        for line in ["SEARCH RECENT", "SEARCH NOT NEW", "UID SEARCH RETURN () OLD", "SORT (DATE) UTF-8 OLD"] {
            assert_eq!(read(line, true, false), Ok(()), "{line}");
            assert!(read(line, false, true).is_err_and(|e| e.contains("a search key of IMAP4rev2")), "{line}");
        }
        let charset = "expected no charset once UTF8=ACCEPT is enabled at octet 10";
        assert_eq!(read("SEARCH CHARSET UTF-8 ALL", true, false), Err(charset.into()));
        assert_eq!(read("SEARCH CHARSET UTF-8 ALL", false, true), Ok(()));
        assert_eq!(read("SEARCH CHARSET UTF-8 ALL", true, true), Ok(()));
        for (line, at) in [("SORT (DATE) US-ASCII ALL", 15), ("THREAD REFS US-ASCII ALL", 15)] {
            assert_eq!(
                read(line, true, false),
                Err(format!("expected UTF-8, once UTF8=ACCEPT is enabled at octet {at}"))
            );
            assert_eq!(read(line, false, true), Ok(()));
            assert_eq!(read(&line.replace("US-ASCII", "utf-8"), true, false), Ok(()));
        }
    }

    #[test]
    fn a_charset_goes_before_or_behind_return() {
        let both = search("RETURN (COUNT) CHARSET utf-8 ALL").expect("in order");
        assert_eq!(search("CHARSET utf-8 RETURN (COUNT) ALL"), Ok(both.clone()));
        assert!(both.charset.as_deref() == Some("utf-8") && both.returns.is_some_and(|returns| returns.count));
        assert_eq!(search("return () all").expect("empty").returns, search("RETURN (ALL) ALL").expect("all").returns);
        let bad = [
            "RETURN ()",
            "RETURN () RETURN () ALL",
            "RETURN ALL",
            "RETURN(ALL) ALL",
            "RETURN  () ALL",
            "RETURN ()  ALL",
            "RETURN () CHARSET ALL",
            "ALL RETURN ()",
        ];
        for keys in bad {
            assert!(search(keys).is_err(), "{keys}");
        }
    }

    #[test]
    fn bad_keys() {
        let bad = [
            "",
            "FROB",
            "ALL ",
            " ALL",
            "ALL  SEEN",
            "()",
            "(ALL",
            "ALL)",
            "( ALL)",
            "NOT",
            "OR ALL",
            "OR ALL  ALL",
            "FROM",
            "FROM ",
            "FROM a b",
            "SINCE 31-Feb-2024",
            "SINCE x",
            "KEYWORD \\Seen",
            "KEYWORD",
            "LARGER x",
            "LARGER -1",
            "0",
            "1,",
            "UID 0",
            "UID",
            "HEADER x",
            "MODSEQ",
            "MODSEQ x",
            "MODSEQ \"/flags/\\\\seen\" 5",
            "MODSEQ \"/flags/\" all 5",
            "MODSEQ \"x\" all 5",
            "CHARSET UTF-8",
            "CHARSET",
            "CHARSET UTF-8 CHARSET UTF-8 ALL",
            "AVERYLONGWORDTHATISNOKEY",
        ];
        for keys in bad {
            assert!(search(keys).is_err(), "{keys:?}");
        }
        assert_eq!(search("UNSEEN FROB").expect_err("no key"), "expected a search key at octet 17");
        assert_eq!(search("SINCE 31-Feb-2024").expect_err("no day"), "expected a date like 1-Feb-1994 at octet 16");
    }

    #[test]
    fn long_rows_are_flat_and_deep_nests_are_refused() {
        let SearchKey::Or(keys) = key(&("OR SEEN ".repeat(3000) + "DRAFT")) else { panic!("no OR") };
        assert_eq!(keys.len(), 3001);
        assert_eq!(key("OR OR 1 2 OR 3 4"), key("OR 1 OR 2 OR 3 4"));
        assert_eq!(key(&("NOT ".repeat(100_001) + "SEEN")), key("UNSEEN"));
        assert_eq!(key(&("(".repeat(31) + "SEEN" + &")".repeat(31))), key("SEEN"));
        for deep in ["(", "NOT (", "OR (", "NOT OR "] {
            assert!(search(&(deep.repeat(1_000_000) + "SEEN")).is_err_and(|e| e.contains("nested at most 32 deep")));
        }
        assert!(search(&"1 ".repeat(5000)).is_err_and(|e| e.contains("at most 4096")));
    }

    #[test]
    fn lines() {
        let line = |numbers: &[u32], mod_seq| {
            let mut out = Vec::new();
            write_line(&mut out, numbers.iter().copied(), mod_seq);
            String::from_utf8(out).expect("ASCII")
        };
        assert_eq!(line(&[2, 84, 882], None), "* SEARCH 2 84 882\r\n");
        assert_eq!(line(&[], Some(ModSeq(5))), "* SEARCH\r\n");
        assert_eq!(line(&[2], Some(ModSeq(917_162_500))), "* SEARCH 2 (MODSEQ 917162500)\r\n");
    }
}
