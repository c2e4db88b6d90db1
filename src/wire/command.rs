//! One framed command -> [`Command`]: the tag, the table of words, and that nothing is left over.

use nom::Parser;

use super::dialect::Dialect;
use super::garbled::{Garbled, Parsed, Wrong, expected, fail, wrong};
use super::{
    append, fetch, lexical, list, login, mailbox, notify, old, quota, search, select, sort, status, store, thread,
    uid_batches,
};
use crate::types::{Body, Command};

/// Reads the arguments of one command. The input begins right behind the command's word.
type Arguments = fn(&[u8], Dialect) -> Parsed<'_, Body>;

/// Every command's word and the parser of what follows it. Often sent ones come first.
const COMMANDS: &[(&str, Arguments)] = &[
    ("UID", uid),
    ("FETCH", |i, _| fetch::command(i, false)),
    ("STORE", |i, _| store::store(i, false)),
    ("SEARCH", |i, dialect| search::command(i, dialect, false)),
    ("NOOP", |i, _| Ok((i, Body::Noop))),
    ("IDLE", |i, _| Ok((i, Body::Idle))),
    ("STATUS", status::command),
    ("SELECT", |i, dialect| select::command(i, dialect).map(|(i, select)| (i, Body::Select(select)))),
    ("EXAMINE", |i, dialect| select::command(i, dialect).map(|(i, select)| (i, Body::Examine(select)))),
    ("LIST", list::command),
    ("XLIST", list::xlist),
    ("LSUB", list::lsub),
    ("SORT", |i, dialect| sort::command(i, dialect, false)),
    ("THREAD", |i, dialect| thread::command(i, dialect, false)),
    ("COPY", |i, dialect| store::copy(i, dialect, false).map(|(i, copy)| (i, Body::Copy(copy)))),
    ("MOVE", |i, dialect| store::copy(i, dialect, false).map(|(i, copy)| (i, Body::Move(copy)))),
    ("EXPUNGE", |i, _| Ok((i, Body::Expunge))),
    ("CHECK", |i, _| Ok((i, Body::Check))),
    ("CLOSE", |i, _| Ok((i, Body::Close))),
    ("UNSELECT", |i, _| Ok((i, Body::Unselect))),
    ("CREATE", mailbox::create),
    ("DELETE", |i, dialect| mailbox::delete(i, dialect)),
    ("RENAME", mailbox::rename),
    ("SUBSCRIBE", |i, dialect| old::subscribed(i, dialect).map(|(i, name)| (i, Body::Subscribe(name)))),
    ("UNSUBSCRIBE", |i, dialect| old::subscribed(i, dialect).map(|(i, name)| (i, Body::Unsubscribe(name)))),
    ("NAMESPACE", |i, _| Ok((i, Body::Namespace))),
    ("NOTIFY", notify::command),
    ("COMPRESS", |i, _| compress(i)),
    ("GETQUOTA", |i, _| quota::get(i)),
    ("GETQUOTAROOT", quota::get_root),
    ("SETQUOTA", |i, _| quota::set(i)),
    ("UIDBATCHES", |i, _| uid_batches::command(i)),
    ("ENABLE", |i, _| login::enable(i)),
    ("ID", |i, _| login::id(i)),
    ("CAPABILITY", |i, _| Ok((i, Body::Capability))),
    ("LOGIN", |i, _| login::login(i)),
    ("AUTHENTICATE", |i, _| login::authenticate(i)),
    ("STARTTLS", |i, _| Ok((i, Body::StartTls))),
    ("UNAUTHENTICATE", |i, _| Ok((i, Body::Unauthenticate))),
    ("LOGOUT", |i, _| Ok((i, Body::Logout))),
    ("PARTIAL", |i, _| old::partial(i)),
    ("FIND", old::find),
    ("BBOARD", old::bboard),
    ("APPEND", append::append),
    ("REPLACE", |i, dialect| append::replace(i, dialect, false)),
];

/// The words that may follow UID (RFC 3501 §6.4.8, RFC 4315 §2.1, RFC 5256 §3, RFC 6851 §3.2, RFC 8508 §3.3).
const UID_COMMANDS: &[(&str, Arguments)] = &[
    ("FETCH", |i, _| fetch::command(i, true)),
    ("STORE", |i, _| store::store(i, true)),
    ("SEARCH", |i, dialect| search::command(i, dialect, true)),
    ("SORT", |i, dialect| sort::command(i, dialect, true)),
    ("THREAD", |i, dialect| thread::command(i, dialect, true)),
    ("COPY", |i, dialect| store::copy(i, dialect, true).map(|(i, copy)| (i, Body::Copy(copy)))),
    ("MOVE", |i, dialect| store::copy(i, dialect, true).map(|(i, copy)| (i, Body::Move(copy)))),
    ("REPLACE", |i, dialect| append::replace(i, dialect, true)),
    ("EXPUNGE", |i, _| store::uid_expunge(i)),
];

/// Parses one framed command of a client that speaks plain IMAP4rev1; see [`parse_in`].
///
/// # Errors
/// [`Garbled`] when the command does not follow the grammar: answer BAD.
pub fn parse(command: &[u8]) -> Result<Command, Garbled> {
    parse_in(command, Dialect::default())
}

/// Parses one framed command: its line without the final CRLF, held literals in place. An APPEND or REPLACE that
/// brings octets never comes here as a whole, see [`super::append`].
///
/// # Errors
/// [`Garbled`] when the command does not follow the grammar: answer BAD.
pub fn parse_in(command: &[u8], dialect: Dialect) -> Result<Command, Garbled> {
    let (rest, tag) = lexical::tag(command).map_err(|e| Garbled::new(None, command, e))?;
    let body = body(rest, dialect).and_then(|(_, body)| in_utf8(rest, dialect).map(|()| body));
    match body {
        Ok(body) => Ok(Command { tag: tag.to_owned(), body }),
        // What merely begins like a tag is none: an answer under it would be taken for another command's.
        Err(e) => Err(Garbled::new(tag_of(command), command, e)),
    }
}

/// Fails at a quoted string that is not UTF-8, if that is what the client has said it speaks.
pub(super) fn in_utf8(i: &[u8], dialect: Dialect) -> Result<(), nom::Err<Wrong>> {
    if !dialect.speaks_utf8() {
        return Ok(());
    }
    match lexical::ill_formed_quoted(i) {
        Some(begin) => Err(wrong(begin, "UTF-8 in a quoted string")),
        None => Ok(()),
    }
}

/// The tag at the head of a line whose rest may be anything.
pub fn tag_of(line: &[u8]) -> Option<&str> {
    lexical::tag(line).ok().filter(|(rest, _)| rest.is_empty() || rest[0] == b' ').map(|(_, tag)| tag)
}

/// True when the line is the `DONE` that ends IDLE (RFC 2177 §3).
pub fn is_done(line: &[u8]) -> bool {
    line.eq_ignore_ascii_case(b"DONE")
}

/// command = tag SP (command-any / command-auth / command-nonauth / command-select) CRLF
fn body(i: &[u8], dialect: Dialect) -> Parsed<'_, Body> {
    let (i, ()) = lexical::space(i)?;
    let (i, body) = look_up(i, dialect, COMMANDS, "a command")?;
    if !i.is_empty() {
        return fail(i, "the end of the command");
    }
    Ok((i, body))
}

/// uid = "UID" SP (copy / fetch / search / store)
fn uid(i: &[u8], dialect: Dialect) -> Parsed<'_, Body> {
    let (i, ()) = lexical::space(i)?;
    look_up(i, dialect, UID_COMMANDS, "FETCH, STORE, SEARCH, SORT, THREAD, COPY, MOVE, REPLACE or EXPUNGE")
}

/// compress = "COMPRESS" SP algorithm; algorithm = "DEFLATE" (RFC 4978 §5)
fn compress(i: &[u8]) -> Parsed<'_, Body> {
    let (i, ()) = lexical::space(i)?;
    let (rest, name) = lexical::word(i)?;
    if name.eq_ignore_ascii_case(b"DEFLATE") { Ok((rest, Body::Compress)) } else { fail(i, "DEFLATE") }
}

fn look_up<'a>(i: &'a [u8], dialect: Dialect, table: &[(&str, Arguments)], what: &'static str) -> Parsed<'a, Body> {
    let (rest, word) = expected(what, lexical::atom).parse(i)?;
    match table.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
        Some((_, arguments)) => arguments(rest, dialect),
        None => fail(i, what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(line: &str) -> String {
        parse(line.as_bytes()).expect_err(line).to_string()
    }

    #[test]
    fn words_match_in_any_case() {
        for line in ["a1 NOOP", "a1 noop", "a1 nOoP"] {
            assert_eq!(parse(line.as_bytes()), Ok(Command { tag: "a1".into(), body: Body::Noop }));
        }
        assert!(is_done(b"done") && !is_done(b"DONE "));
    }

    #[test]
    fn every_bare_command() {
        let bare = [
            ("CAPABILITY", Body::Capability),
            ("NOOP", Body::Noop),
            ("LOGOUT", Body::Logout),
            ("STARTTLS", Body::StartTls),
            ("CHECK", Body::Check),
            ("CLOSE", Body::Close),
            ("UNSELECT", Body::Unselect),
            ("EXPUNGE", Body::Expunge),
            ("IDLE", Body::Idle),
            ("NAMESPACE", Body::Namespace),
            ("UNAUTHENTICATE", Body::Unauthenticate),
            ("COMPRESS DEFLATE", Body::Compress),
        ];
        for (word, body) in bare {
            assert_eq!(parse(format!("t {word}").as_bytes()).map(|c| c.body), Ok(body));
            assert_eq!(
                bad(&format!("t {word} x")),
                format!("expected the end of the command at octet {}", word.len() + 3)
            );
            assert_eq!(
                bad(&format!("t {word} ")),
                format!("expected the end of the command at octet {}", word.len() + 3)
            );
        }
    }

    #[test]
    fn a_bad_says_what_was_expected_and_where() {
        assert_eq!(bad("a1 FROB x"), "expected a command at octet 4");
        assert_eq!(bad("a1  NOOP"), "expected a single space at octet 4");
        assert_eq!(bad("a1"), "expected a space at octet 3");
        assert_eq!(
            bad("a1 UID NOOP"),
            "expected FETCH, STORE, SEARCH, SORT, THREAD, COPY, MOVE, REPLACE or EXPUNGE at octet 8"
        );
        assert_eq!(bad("a1 COMPRESS"), "expected a space at octet 12");
        assert_eq!(bad("a1 COMPRESS GZIP"), "expected DEFLATE at octet 13");
        assert_eq!(bad("a1 COMPRESS DEFLATE9"), "expected DEFLATE at octet 13");
        assert_eq!(bad("a1 SELECT "), "expected a mailbox name at octet 11");
        assert_eq!(bad("a1 APPEND INBOX"), "expected a literal with the message at octet 16");
        assert_eq!(bad("a1 NOOP (((((((("), "expected the end of the command at octet 8");
        assert_eq!(bad("+ NOOP"), "expected a tag at octet 1");
    }

    #[test]
    fn utf8_has_to_be_well_formed_once_it_is_spoken() {
        let (utf8, rev2) = (Dialect { utf8: true, rev2: false }, Dialect { utf8: false, rev2: true });
        for line in [&b"a LOGIN x \"\xff\""[..], b"a SEARCH TEXT \"\xc3(\"", b"a CREATE \"\xed\xa0\x80\""] {
            assert!(parse(line).is_ok(), "as before, what reads the string decides");
            for dialect in [utf8, rev2] {
                let garbled = parse_in(line, dialect).expect_err("not UTF-8").to_string();
                assert!(garbled.starts_with("expected UTF-8 in a quoted string at octet "), "{garbled}");
            }
        }
        for dialect in [utf8, rev2] {
            let name = match parse_in("a CREATE \"Entw\u{fc}rfe\"".as_bytes(), dialect).map(|c| c.body) {
                Ok(Body::Create(create)) => create.mailbox,
                other => panic!("{other:?}"),
            };
            assert_eq!(name.as_ref().map(|name| name.as_str()), Ok("Entw\u{fc}rfe"));
            assert!(parse_in(b"a SEARCH TEXT {1}\r\n\xff", dialect).is_ok(), "a literal may hold anything");
            assert!(parse_in("a CREATE Entw\u{fc}rfe".as_bytes(), dialect).is_err(), "atoms stay ASCII");
        }
    }

    #[test]
    fn the_tag_is_kept_when_the_rest_is_bad() {
        assert_eq!(parse(b"a1 FROB").expect_err("no command").tag.as_deref(), Some("a1"));
        assert_eq!(parse(b"* NOOP").expect_err("no tag").tag, None);
        assert_eq!(parse(b"a+1 NOOP").expect_err("no tag").tag, None);
        assert_eq!(tag_of(b"a1 FROB \xff"), Some("a1"));
        assert_eq!(tag_of(b"\x16\x03\x01"), None);
    }
}
