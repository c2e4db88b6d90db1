//! PARTIAL, FIND and BBOARD, and SUBSCRIBE as old programs write it; with the lines MAILBOX and BBOARD
//! (RFC 1176, RFC 2062).

use nom::Parser;
use nom::bytes::complete::take_while1;

use super::dialect::Dialect;
use super::fetch::item;
use super::garbled::{Parsed, Wrong, expected, fail};
use super::lexical::{is_list_char, number, nz_number, space, string, word};
use super::mailbox::only;
use super::write;
use crate::types::old::{Find, FindWhat, Partial};
use crate::types::{Body, FetchItem, MailboxArgument, MailboxName, Pattern};

/// partial ::= "PARTIAL" SPACE nz_number SPACE fetch_text_old SPACE number SPACE number (RFC 2062)
pub(super) fn partial(i: &[u8]) -> Parsed<'_, Body> {
    let (i, ()) = space(i)?;
    let (i, number) = nz_number(i)?;
    let (i, ()) = space(i)?;
    let (rest, item) = item(i)?;
    // fetch_text_old ::= "BODY" [".PEEK"] section / "RFC822" [".HEADER" / ".TEXT" [".PEEK"]]
    let is_text = matches!(
        item,
        FetchItem::Rfc822
            | FetchItem::Rfc822Peek
            | FetchItem::Rfc822Header
            | FetchItem::Rfc822Text
            | FetchItem::Rfc822TextPeek
            | FetchItem::Section { partial: None, .. }
    );
    if !is_text {
        return fail(i, "RFC822, RFC822.HEADER, RFC822.TEXT or BODY[...]");
    }
    let (i, ()) = space(rest)?;
    // RFC 2062, section 6.4.OBS.1: the minimum for the starting octet is octet 1.
    let (i, first) = nz_number(i)?;
    let (i, ()) = space(i)?;
    let (i, count) = self::number(i)?;
    Ok((i, Body::Partial(Partial { number, item, first, count })))
}

/// find ::= "FIND" SPACE ["ALL."] "MAILBOXES" SPACE list_mailbox (RFC 2062) / "FIND" SP "BBOARDS" SP string (RFC 1176)
pub(super) fn find(i: &[u8], dialect: Dialect) -> Parsed<'_, Body> {
    let (i, ()) = space(i)?;
    let (rest, name) = word(i)?;
    let Some(what) = FindWhat::ALL.into_iter().find(|known| name.eq_ignore_ascii_case(known.wire().as_bytes())) else {
        return fail(i, "MAILBOXES, ALL.MAILBOXES or BBOARDS");
    };
    let (i, ()) = space(rest)?;
    let (i, pattern) = match i.first() {
        Some(b'"' | b'{') => string(i)?,
        _ => expected("a pattern", take_while1::<_, _, Wrong>(is_list_char)).parse(i).map(|(i, p)| (i, p.into()))?,
    };
    // As with LIST, what is not in the client's encoding matches nothing.
    let pattern = dialect.decode(&pattern).map_or_else(|_| Pattern::nothing(), |pattern| Pattern::old(&pattern));
    Ok((i, Body::Find(Find { what, pattern })))
}

/// bboard ::= "BBOARD" SP string (RFC 1176)
pub(super) fn bboard(i: &[u8], dialect: Dialect) -> Parsed<'_, Body> {
    only(i, dialect).map(|(i, name)| (i, Body::BBoard(name)))
}

/// subscribe = "SUBSCRIBE" SP mailbox; subscribe_old ::= "SUBSCRIBE" SPACE "MAILBOX" SPACE mailbox (RFC 2062), and
/// UNSUBSCRIBE the same
///
/// RFC 2062, section 6.3.OBS.3: a mailbox called MAILBOX has to be told from the old form, by what follows.
pub(super) fn subscribed(i: &[u8], dialect: Dialect) -> Parsed<'_, MailboxArgument> {
    let (first, ()) = space(i)?;
    match word(first) {
        Ok((rest, name)) if name.eq_ignore_ascii_case(b"MAILBOX") && rest.first() == Some(&b' ') => only(rest, dialect),
        _ => only(i, dialect),
    }
}

/// `* MAILBOX name` (RFC 2062, section 7.2.OBS.1)
pub fn write_mailbox_line(out: &mut Vec<u8>, name: &MailboxName, dialect: Dialect) {
    line(out, b"* MAILBOX ", name, dialect);
}

/// `* BBOARD name` (RFC 1176)
pub fn write_bboard_line(out: &mut Vec<u8>, name: &MailboxName, dialect: Dialect) {
    line(out, b"* BBOARD ", name, dialect);
}

fn line(out: &mut Vec<u8>, head: &[u8], name: &MailboxName, dialect: Dialect) {
    out.extend_from_slice(head);
    write::mailbox(out, name, dialect);
    write::end(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Section, SectionText};
    use crate::wire::parse;

    fn body(line: &str) -> Result<Body, String> {
        parse(line.as_bytes()).map(|command| command.body).map_err(|garbled| garbled.to_string())
    }

    #[test]
    fn partial_of_old_items() {
        let partial = |item| Ok(Body::Partial(Partial { number: 4, item, first: 1, count: 1024 }));
        assert_eq!(body("a PARTIAL 4 RFC822 1 1024"), partial(FetchItem::Rfc822));
        assert_eq!(body("a partial 4 rfc822.peek 1 1024"), partial(FetchItem::Rfc822Peek));
        assert_eq!(body("a PARTIAL 4 RFC822.HEADER 1 1024"), partial(FetchItem::Rfc822Header));
        assert_eq!(body("a PARTIAL 4 RFC822.TEXT 1 1024"), partial(FetchItem::Rfc822Text));
        assert_eq!(body("a PARTIAL 4 RFC822.TEXT.PEEK 1 1024"), partial(FetchItem::Rfc822TextPeek));
        let section = Section { path: vec![1], text: SectionText::Mime };
        let section = FetchItem::Section { section, peek: true, partial: None };
        assert_eq!(body("a PARTIAL 4 BODY.PEEK[1.MIME] 1 1024"), partial(section));
        assert!(body("a PARTIAL 4 RFC822 1 0").is_ok());
        let items = "RFC822, RFC822.HEADER, RFC822.TEXT or BODY[...]";
        let bad = [
            ("", "a space at octet 10".to_owned()),
            (" 0 RFC822 1 2", "a number from 1 to 4294967295 without a leading 0 at octet 11".into()),
            (" 1:2 RFC822 1 2", "a space at octet 12".into()),
            (" 1 RFC822.SIZE 1 2", format!("{items} at octet 13")),
            (" 1 FLAGS 1 2", format!("{items} at octet 13")),
            (" 1 BODY 1 2", format!("{items} at octet 13")),
            (" 1 BODY[]<0.1> 1 2", format!("{items} at octet 13")),
            (" 1 BINARY[1] 1 2", format!("{items} at octet 13")),
            (" 1 (RFC822) 1 2", "a FETCH item at octet 13".into()),
            (" 1 RFC822 0 2", "a number from 1 to 4294967295 without a leading 0 at octet 20".into()),
            (" 1 RFC822 1", "a space at octet 21".into()),
            (" 1 RFC822 1 2 3", "the end of the command at octet 23".into()),
            (" 1  RFC822 1 2", "a single space at octet 13".into()),
        ];
        for (arguments, expected) in bad {
            assert_eq!(body(&format!("a PARTIAL{arguments}")), Err(format!("expected {expected}")), "{arguments}");
        }
        assert!(body("a UID PARTIAL 1 RFC822 1 2").is_err());
    }

    #[test]
    fn find_takes_patterns_of_its_own() {
        let find = |line: &str| match body(line) {
            Ok(Body::Find(find)) => Ok((find.what, find.pattern)),
            Ok(other) => panic!("{line}: {other:?}"),
            Err(text) => Err(text),
        };
        assert_eq!(find("a FIND MAILBOXES *"), Ok((FindWhat::Mailboxes, Pattern::old("*"))));
        assert_eq!(find("a find all.mailboxes \"a?b%\""), Ok((FindWhat::AllMailboxes, Pattern::old("a?b%"))));
        assert_eq!(find("a FIND BBOARDS {1}\r\n*"), Ok((FindWhat::BBoards, Pattern::old("*"))));
        assert_eq!(find("a FIND MAILBOXES &"), Ok((FindWhat::Mailboxes, Pattern::nothing())));
        let bad = [
            ("a FIND", "a space at octet 7"),
            ("a FIND *", "MAILBOXES, ALL.MAILBOXES or BBOARDS at octet 8"),
            ("a FIND MAILBOXES", "a space at octet 17"),
            ("a FIND MAILBOXES ", "a pattern at octet 18"),
            ("a FIND MAILBOXES (*)", "a pattern at octet 18"),
            ("a FIND MAILBOXES \"\" *", "the end of the command at octet 20"),
            ("a FIND ALL MAILBOXES *", "MAILBOXES, ALL.MAILBOXES or BBOARDS at octet 8"),
        ];
        for (line, expected) in bad {
            assert_eq!(find(line), Err(format!("expected {expected}")), "{line}");
        }
    }

    #[test]
    fn subscribe_has_an_old_form() {
        let name = |text| MailboxName::new(text);
        assert_eq!(body("a SUBSCRIBE mailbox \"x y\""), Ok(Body::Subscribe(name("x y"))));
        assert_eq!(body("a UNSUBSCRIBE MAILBOX x"), Ok(Body::Unsubscribe(name("x"))));
        assert_eq!(body("a SUBSCRIBE MAILBOX"), Ok(Body::Subscribe(name("MAILBOX"))));
        assert_eq!(body("a UNSUBSCRIBE MAILBOX MAILBOX"), Ok(Body::Unsubscribe(name("MAILBOX"))));
        assert_eq!(body("a SUBSCRIBE MAILBOX/x"), Ok(Body::Subscribe(name("MAILBOX/x"))));
        assert_eq!(body("a BBOARD general"), Ok(Body::BBoard(name("general"))));
        let bad =
            ["a SUBSCRIBE MAILBOX ", "a SUBSCRIBE MAILBOX x y", "a SUBSCRIBE \"MAILBOX\" x", "a SUBSCRIBE x MAILBOX"];
        for line in bad.into_iter().chain(["a BBOARD", "a BBOARD x y", "a SUBSCRIBE MAILBOX  x", "a CREATE MAILBOX x"])
        {
            assert!(body(line).is_err(), "{line}");
        }
    }

    #[test]
    fn lines() {
        let mut out = Vec::new();
        write_mailbox_line(&mut out, &MailboxName::new("blurdy bloop").expect("a name"), Dialect::default());
        write_bboard_line(&mut out, &MailboxName::new("Übung").expect("a name"), Dialect::default());
        assert_eq!(out, b"* MAILBOX \"blurdy bloop\"\r\n* BBOARD &ANw-bung\r\n");
    }
}
