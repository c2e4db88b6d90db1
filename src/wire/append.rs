//! APPEND, read in pieces: the line up to a message's literal, what stands between two messages of a MULTIAPPEND,
//! and the end. The messages themselves stream past the parser.
//!
//! A *head* is what [`Announced`](super::Announced) carries: the line so far, without the `{n}` at its end.

use nom::Parser;
use nom::bytes::complete::tag_no_case;

use super::date::date_time;
use super::dialect::Dialect;
use super::garbled::{Garbled, Parsed, Wrong, fail};
use super::lexical::{Recent, astring, close, flag_list, space, tag};
use super::mailbox::mailbox;
use crate::types::{AppendHead, AppendMessage, MailboxArgument};

/// What a literal that was just announced is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiteralUse {
    /// A message to be appended: check with [`parse_head`], then stream it.
    AppendMessage,
    /// A part of a command that is parsed as a whole: hold it.
    Hold,
}

/// Tells the two apart by the head. A faulty APPEND counts as one: [`parse_head`] then says what is wrong.
pub fn literal_use(head: &[u8]) -> LiteralUse {
    match verb_and_mailbox(head) {
        // The space shows that the mailbox is complete and not itself the literal.
        Ok((rest, ())) if rest.first() == Some(&b' ') => LiteralUse::AppendMessage,
        _ => LiteralUse::Hold,
    }
}

fn verb_and_mailbox(i: &[u8]) -> Parsed<'_, ()> {
    let (i, _) = tag(i)?;
    let (i, ()) = append_word(i)?;
    let (i, _) = astring(i)?;
    Ok((i, ()))
}

/// SP "APPEND" SP
fn append_word(i: &[u8]) -> Parsed<'_, ()> {
    let (i, ()) = space(i)?;
    let (i, _) = tag_no_case("APPEND").parse(i)?;
    space(i)
}

/// Reads the head of an APPEND up to its first message.
///
/// # Errors
/// [`Garbled`] when this is no APPEND or not in order.
pub fn parse_head(head: &[u8], dialect: Dialect) -> Result<AppendHead, Garbled> {
    let (rest, tag) = tag(head).map_err(|e| Garbled::new(None, head, e))?;
    match head_after_tag(rest, dialect) {
        Ok((_, (mailbox, message))) => Ok(AppendHead { tag: tag.to_owned(), mailbox, message }),
        Err(e) => Err(Garbled::new(Some(tag), head, e)),
    }
}

fn head_after_tag(i: &[u8], dialect: Dialect) -> Parsed<'_, (MailboxArgument, AppendMessage)> {
    let (i, ()) = append_word(i)?;
    let (i, mailbox) = mailbox(i, dialect)?;
    let (i, message) = message(i)?;
    Ok((i, (mailbox, message)))
}

/// Reads the head of the next message of the same APPEND (RFC 3502 §6.3.11): everything since the last message's
/// octets. `previous` is that message.
///
/// # Errors
/// [`Garbled`], without a tag: the caller knows it from the first head.
pub fn parse_next(head: &[u8], previous: &AppendMessage) -> Result<AppendMessage, Garbled> {
    let parsed = behind(head, previous).and_then(|(i, ())| message(i));
    parsed.map(|(_, message)| message).map_err(|e| Garbled::new(None, head, e))
}

/// Reads what stands behind the last message: nothing, or the `)` of `UTF8 (...)`.
///
/// # Errors
/// [`Garbled`], without a tag, when there is anything else.
pub fn parse_end(line: &[u8], previous: &AppendMessage) -> Result<(), Garbled> {
    match behind(line, previous) {
        Ok((&[], ())) => Ok(()),
        Ok((rest, ())) => {
            let wrong = Wrong { left: rest.len(), expected: "the end of the command or another literal" };
            Err(Garbled::new(None, line, nom::Err::Error(wrong)))
        }
        Err(e) => Err(Garbled::new(None, line, e)),
    }
}

fn behind<'a>(i: &'a [u8], previous: &AppendMessage) -> Parsed<'a, ()> {
    if previous.utf8 { close(i) } else { Ok((i, ())) }
}

/// The arguments of an APPEND without any literal, to say what is wrong with it.
pub(super) fn arguments(i: &[u8], dialect: Dialect) -> Parsed<'_, ()> {
    let (i, ()) = space(i)?;
    let (i, _) = mailbox(i, dialect)?;
    Ok((i, ()))
}

/// append = "APPEND" SP mailbox [SP flag-list] [SP date-time] SP literal, from behind the mailbox;
/// with utf8-literal = "UTF8" SP "(" literal8 ")" (RFC 6855 §4)
fn message(i: &[u8]) -> Parsed<'_, AppendMessage> {
    let mut message = AppendMessage::default();
    let (mut i, ()) = space(i)?;
    if i.first() == Some(&b'(') {
        // RFC 3501 §6.3.11: `\Recent` cannot be set; imapsync copies it over all the same.
        let (rest, flags) = flag_list(i, Recent::Ignored)?;
        message.flags = flags;
        i = space(rest)?.0;
    }
    if i.first() == Some(&b'"') {
        let (rest, date) = date_time(i)?;
        message.date = Some(date);
        i = space(rest)?.0;
    }
    if let Ok((rest, _)) = tag_no_case::<_, _, Wrong>("UTF8 (").parse(i) {
        message.utf8 = true;
        i = rest;
    }
    if i.is_empty() {
        return Ok((i, message));
    }
    fail(
        i,
        match (message.flags.is_empty(), message.date) {
            (true, None) => "a flag list, a date-time or a literal",
            (_, None) => "a date-time or a literal",
            (_, Some(_)) => "a literal",
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::BadMailboxName;

    fn head(line: &str) -> Result<AppendHead, String> {
        parse_head(line.as_bytes(), Dialect::default()).map_err(|e| e.to_string())
    }

    #[test]
    fn heads() {
        let full = head("a1 append \"INBOX\" (\\Seen \\Recent $x) \"17-Jul-1996 02:44:25 -0700\" ").expect("a head");
        assert_eq!(full.tag, "a1");
        assert!(full.mailbox.is_ok_and(|name| name.is_inbox()));
        let flags: Vec<_> = full.message.flags.iter().map(|f| f.wire()).collect();
        assert_eq!(flags, ["\\Seen", "$x"]);
        assert_eq!(full.message.date.map(|d| d.unix_seconds), Some(837_596_665));
        assert_eq!(head("a APPEND x ").map(|h| h.message), Ok(AppendMessage::default()));
        assert_eq!(head("a APPEND x () ").map(|h| h.message), Ok(AppendMessage::default()));
        assert!(head("a APPEND {3}\r\na b (\\Seen) ").is_ok_and(|h| h.mailbox.is_ok()));
        assert!(head("a APPEND Sent (\\Seen) UTF8 (").is_ok_and(|h| h.message.utf8));
        assert_eq!(head("a APPEND &Jjo! ").map(|h| h.mailbox), Ok(Err(BadMailboxName::Encoding)));
    }

    #[test]
    fn bad_heads() {
        let message = |line| head(line).expect_err(line);
        assert_eq!(message("a APPEND x"), "expected a space at octet 11");
        assert_eq!(message("a APPEND x y "), "expected a flag list, a date-time or a literal at octet 12");
        assert_eq!(message("a APPEND x (\\Foo) "), "expected a known system flag at octet 13");
        assert_eq!(message("a APPEND x (\\Seen)"), "expected a space at octet 19");
        assert_eq!(message("a APPEND x (\\Seen) y "), "expected a date-time or a literal at octet 20");
        assert_eq!(
            message("a APPEND x \"1-Jul-1996 02:44:25 -0700\" "),
            "expected a date-time like \"17-Jul-1996 02:44:25 -0700\" at octet 12"
        );
        assert_eq!(message("a APPEND x  "), "expected a single space at octet 12");
        assert!(head("a NOOP ").is_err());
    }

    #[test]
    fn only_a_message_is_streamed() {
        let of = |line: &str| literal_use(line.as_bytes());
        assert_eq!(of("a APPEND INBOX "), LiteralUse::AppendMessage);
        assert_eq!(of("a append {5}\r\nINBOX (\\Seen) "), LiteralUse::AppendMessage);
        assert_eq!(of("a APPEND INBOX rubbish"), LiteralUse::AppendMessage);
        for line in ["a APPEND ", "a APPEND INBOX", "a LOGIN x ", "a APPENDIX INBOX ", "", "\u{1}", "a SEARCH TEXT "] {
            assert_eq!(of(line), LiteralUse::Hold, "{line}");
        }
    }

    #[test]
    fn between_and_behind_messages() {
        let plain = AppendMessage::default();
        let utf8 = AppendMessage { utf8: true, ..AppendMessage::default() };
        assert_eq!(parse_next(b" ", &plain), Ok(plain.clone()));
        assert!(parse_next(b" (\\Seen) ", &plain).is_ok_and(|m| m.flags.len() == 1));
        assert!(parse_next(b") (\\Seen) UTF8 (", &utf8).is_ok_and(|m| m.utf8));
        assert!(parse_next(b"", &plain).is_err());
        assert!(parse_next(b" ", &utf8).is_err());
        assert_eq!(parse_end(b"", &plain), Ok(()));
        assert_eq!(parse_end(b")", &utf8), Ok(()));
        assert!(parse_end(b"", &utf8).is_err());
        let message = parse_end(b" x", &plain).expect_err("more").to_string();
        assert_eq!(message, "expected the end of the command or another literal at octet 1");
    }
}
