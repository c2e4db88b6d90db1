//! The small writers everybody shares, and the short untagged lines. All append to a buffer and cannot fail;
//! none goes through `fmt`, because a FETCH of a large mailbox is made of these.

use super::dialect::Dialect;
use super::lexical::is_atom_char;
use crate::types::{FlagSet, MailboxName, ObjectId, Seq, SystemFlag, UidRuns};

/// Longest text written as a quoted string; longer ones are literals.
const QUOTED_OCTETS: usize = 1000;

/// A number in decimal.
pub fn number(out: &mut Vec<u8>, n: impl Into<u64>) {
    let mut n = n.into();
    // 2^64-1 has twenty digits.
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// `%XX` (RFC 3986 §2.1)
pub(super) fn percent(out: &mut Vec<u8>, b: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]);
}

/// The line's end.
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// `NIL`
pub fn nil(out: &mut Vec<u8>) {
    out.extend_from_slice(b"NIL");
}

/// A string: quoted when it is short printable ASCII, else a literal.
pub fn string(out: &mut Vec<u8>, octets: &[u8]) {
    if octets.len() <= QUOTED_OCTETS && octets.iter().all(|b| (0x20..0x7f).contains(b)) {
        quoted(out, octets);
    } else {
        literal_head(out, octets.len() as u64);
        out.extend_from_slice(octets);
    }
}

/// A text: as [`string`], but quoted as well when it holds UTF-8 and the client speaks it (RFC 9755 §3).
pub fn text(out: &mut Vec<u8>, text: &str, dialect: Dialect) {
    let fits = text.len() <= QUOTED_OCTETS && !text.chars().any(char::is_control);
    if fits && dialect.speaks_utf8() { quoted(out, text.as_bytes()) } else { string(out, text.as_bytes()) }
}

/// A string, or NIL for none.
pub fn nstring(out: &mut Vec<u8>, octets: Option<&[u8]>) {
    match octets {
        Some(octets) => string(out, octets),
        None => nil(out),
    }
}

/// An atom where that is possible, else a string. What reads as NIL is quoted.
pub fn astring(out: &mut Vec<u8>, octets: &[u8]) {
    let is_atom = !octets.is_empty() && octets.iter().all(|b| is_atom_char(*b)) && !octets.eq_ignore_ascii_case(b"NIL");
    if is_atom { out.extend_from_slice(octets) } else { string(out, octets) }
}

/// The content of a message or a part of one: a literal whatever it holds, or `""` when it is empty.
pub fn content(out: &mut Vec<u8>, octets: &[u8]) {
    if octets.is_empty() {
        out.extend_from_slice(b"\"\"");
        return;
    }
    literal_head(out, octets.len() as u64);
    out.extend_from_slice(octets);
}

/// A value that may hold any octet: a string, or a literal8 when there is a NUL in it (RFC 3516 §4.3).
pub fn binary_string(out: &mut Vec<u8>, octets: &[u8]) {
    if octets.contains(&0) {
        literal8_head(out, octets.len() as u64);
        out.extend_from_slice(octets);
    } else {
        string(out, octets);
    }
}

/// Decoded content: a literal8 only when there is a NUL in it, so that the client need not look for one
/// (RFC 3516 §4.3), else as [`content`].
pub fn binary_content(out: &mut Vec<u8>, octets: &[u8]) {
    if octets.contains(&0) { binary_string(out, octets) } else { content(out, octets) }
}

/// `~{n}` and the line's end; exactly `octets` octets must follow, NUL among them or not.
pub fn literal8_head(out: &mut Vec<u8>, octets: u64) {
    out.push(b'~');
    literal_head(out, octets);
}

/// `{n}` and the line's end; exactly `octets` octets must follow.
pub fn literal_head(out: &mut Vec<u8>, octets: u64) {
    out.push(b'{');
    number(out, octets);
    out.extend_from_slice(b"}\r\n");
}

/// A quoted string; what it holds must fit into one.
pub(super) fn quoted(out: &mut Vec<u8>, octets: &[u8]) {
    out.push(b'"');
    for b in octets {
        if matches!(b, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*b);
    }
    out.push(b'"');
}

/// A mailbox name in the client's dialect.
pub fn mailbox(out: &mut Vec<u8>, name: &MailboxName, dialect: Dialect) {
    self::name(out, name.as_str(), dialect);
}

/// A text that is, or once was, the name of a mailbox, in the client's dialect.
pub(super) fn name(out: &mut Vec<u8>, name: &str, dialect: Dialect) {
    let text = dialect.encode(name);
    if text.is_ascii() { astring(out, text.as_bytes()) } else { name_string(out, &text) }
}

/// A name, or the beginning of one, already encoded: always a string. UTF-8 may stand in quotes, but only comes
/// here when the client speaks it (RFC 6855 §3); control characters are in no name.
pub(super) fn name_string(out: &mut Vec<u8>, text: &str) {
    if text.is_ascii() || text.len() > QUOTED_OCTETS {
        string(out, text.as_bytes());
    } else {
        quoted(out, text.as_bytes());
    }
}

/// `(id)` (RFC 8474 §7)
pub fn object_id(out: &mut Vec<u8>, id: &ObjectId) {
    out.push(b'(');
    out.extend_from_slice(id.as_str().as_bytes());
    out.push(b')');
}

/// `(\Recent \Seen $x)`, from a set.
pub fn flag_set(out: &mut Vec<u8>, flags: &FlagSet, is_recent: bool) {
    flag_list(out, flags.bits(), flags.keywords().iter().map(|k| k.as_str()), is_recent);
}

/// `(\Recent \Seen $x)`, from system flags as [`FlagSet::bits`] has them, and keywords.
pub fn flag_list<'a>(out: &mut Vec<u8>, bits: u8, keywords: impl IntoIterator<Item = &'a str>, is_recent: bool) {
    out.push(b'(');
    let first = out.len();
    let mut put = |flag: &str| {
        if out.len() > first {
            out.push(b' ');
        }
        out.extend_from_slice(flag.as_bytes());
    };
    if is_recent {
        put("\\Recent");
    }
    for flag in SystemFlag::ALL {
        if bits & flag as u8 != 0 {
            put(flag.wire());
        }
    }
    keywords.into_iter().for_each(put);
    out.push(b')');
}

/// A set of numbers, `1:3,7`. IMAP has no empty one: do not call with it.
pub fn runs(out: &mut Vec<u8>, runs: &UidRuns) {
    for (at, (lo, hi)) in runs.runs().iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        number(out, *lo);
        if hi > lo {
            out.push(b':');
            number(out, *hi);
        }
    }
}

/// `* FLAGS (...)` (RFC 3501 §7.2.6)
pub fn flags_line(out: &mut Vec<u8>, flags: &FlagSet) {
    out.extend_from_slice(b"* FLAGS ");
    flag_set(out, flags, false);
    end(out);
}

/// `* n EXISTS` (RFC 3501 §7.3.1)
pub fn exists(out: &mut Vec<u8>, count: u32) {
    numbered(out, count, b" EXISTS\r\n");
}

/// `* n RECENT` (RFC 3501 §7.3.2)
pub fn recent(out: &mut Vec<u8>, count: u32) {
    numbered(out, count, b" RECENT\r\n");
}

/// `* n EXPUNGE` (RFC 3501 §7.4.1)
pub fn expunge(out: &mut Vec<u8>, seq: Seq) {
    numbered(out, seq.0, b" EXPUNGE\r\n");
}

fn numbered(out: &mut Vec<u8>, n: u32, rest: &[u8]) {
    out.extend_from_slice(b"* ");
    number(out, n);
    out.extend_from_slice(rest);
}

/// `* VANISHED [(EARLIER)] set` (RFC 7162 §3.2.10). Nothing at all is written for an empty set.
pub fn vanished(out: &mut Vec<u8>, uids: &UidRuns, earlier: bool) {
    if uids.is_empty() {
        return;
    }
    out.extend_from_slice(if earlier { b"* VANISHED (EARLIER) " } else { b"* VANISHED " });
    runs(out, uids);
    end(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::lexical;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn strings_take_the_shortest_safe_form() {
        assert_eq!(written(|out| string(out, b"a \"b\\")), r#""a \"b\\""#);
        assert_eq!(written(|out| string(out, b"a\r\n")), "{3}\r\na\r\n");
        assert_eq!(written(|out| string(out, "ü".as_bytes())), "{2}\r\nü");
        assert_eq!(written(|out| string(out, &[b'x'; 1001])).len(), 8 + 1001);
        assert_eq!(written(|out| astring(out, b"From")), "From");
        assert_eq!(written(|out| astring(out, b"nil")), "\"nil\"");
        assert_eq!(written(|out| astring(out, b"")), "\"\"");
        assert_eq!(written(|out| nstring(out, None)), "NIL");
        let (rev1, rev2) = (Dialect::default(), Dialect { utf8: false, rev2: true });
        assert_eq!(written(|out| text(out, "ü\"", rev1)), "{3}\r\nü\"");
        assert_eq!(written(|out| text(out, "ü\"", rev2)), "\"ü\\\"\"");
        assert_eq!(written(|out| text(out, "a\r\n", rev2)), "{3}\r\na\r\n");
        assert_eq!(written(|out| binary_string(out, b"a b")), "\"a b\"");
        assert_eq!(written(|out| binary_string(out, b"a\0")), "~{2}\r\na\0");
    }

    #[test]
    fn mailbox_names_follow_the_dialect() {
        let name = MailboxName::new("Entwürfe").expect("a name");
        assert_eq!(written(|out| mailbox(out, &name, Dialect::default())), "Entw&APw-rfe");
        assert_eq!(written(|out| mailbox(out, &name, Dialect { utf8: true, rev2: false })), "\"Entwürfe\"");
        assert_eq!(written(|out| mailbox(out, &MailboxName::inbox(), Dialect::default())), "INBOX");
        let name = MailboxName::new("a*]").expect("a name");
        assert_eq!(written(|out| mailbox(out, &name, Dialect::default())), "\"a*]\"");
    }

    #[test]
    fn short_lines() {
        assert_eq!(written(|out| exists(out, 0)), "* 0 EXISTS\r\n");
        assert_eq!(written(|out| recent(out, 5)), "* 5 RECENT\r\n");
        assert_eq!(written(|out| expunge(out, Seq(44))), "* 44 EXPUNGE\r\n");
        assert_eq!(
            written(|out| flags_line(out, &FlagSet::from_parts(0x1f, vec![]))),
            "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n"
        );
        let uids: UidRuns = [41, 43, 44, 45].into_iter().collect();
        assert_eq!(written(|out| vanished(out, &uids, true)), "* VANISHED (EARLIER) 41,43:45\r\n");
        assert_eq!(written(|out| vanished(out, &UidRuns::new(), false)), "");
        assert_eq!(written(|out| flag_list(out, 0, [], true)), "(\\Recent)");
        assert_eq!(written(|out| flag_list(out, 8, ["$x", "y"], false)), "(\\Seen $x y)");
    }

    proptest! {
        #[test]
        fn numbers_read_as_they_were(n in any::<u64>()) {
            prop_assert_eq!(written(|out| number(out, n)), n.to_string());
        }

        #[test]
        fn strings_read_as_they_were(octets in proptest::collection::vec(1u8.., 0..40)) {
            let mut out = Vec::new();
            string(&mut out, &octets);
            out.push(b' ');
            astring(&mut out, &octets);
            let (rest, first) = lexical::string(&out).expect("a string");
            let (rest, second) = lexical::astring(&rest[1..]).expect("an astring");
            prop_assert!(rest.is_empty());
            prop_assert_eq!(&*first, &octets[..]);
            prop_assert_eq!(&*second, &octets[..]);
        }

        #[test]
        fn names_read_as_they_were(text in "[a-zA-Z &ü€😀%*\"\\\\\\]]{1,12}", utf8 in any::<bool>()) {
            let Ok(name) = MailboxName::new(&text) else { return Ok(()) };
            let dialect = Dialect { utf8, rev2: false };
            let mut out = Vec::new();
            mailbox(&mut out, &name, dialect);
            let (rest, read) = crate::wire::mailbox::mailbox(&out, dialect).expect("a mailbox");
            prop_assert!(rest.is_empty());
            prop_assert_eq!(read, Ok(name));
        }
    }
}
