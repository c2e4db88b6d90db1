//! Mailbox names as arguments and in answers, and the commands that take nothing else:
//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE.

use nom::Parser;

use super::dialect::Dialect;
use super::garbled::{Parsed, expected, fail};
use super::lexical::{ascii, astring, atom, listed, listed_or_none, mark, space, word};
use crate::types::command::{Create, Delete, Rename};
use crate::types::{Body, MailboxArgument, SpecialUse, UnknownUse, UseArgument};

/// mailbox = "INBOX" / astring
///
/// A string that is no mailbox name is no syntax error: the name is the argument's value or its flaw.
pub(super) fn mailbox(i: &[u8], dialect: Dialect) -> Parsed<'_, MailboxArgument> {
    let (i, octets) = expected("a mailbox name", astring).parse(i)?;
    Ok((i, dialect.mailbox_name(&octets)))
}

/// SP mailbox
pub(super) fn only(i: &[u8], dialect: Dialect) -> Parsed<'_, MailboxArgument> {
    let (i, ()) = space(i)?;
    mailbox(i, dialect)
}

/// The same, and its spelling where that is not the one it is kept in (see [`Dialect::spelling`]).
pub(super) fn spelt(i: &[u8], dialect: Dialect) -> Parsed<'_, (MailboxArgument, Option<Box<str>>)> {
    let (i, octets) = expected("a mailbox name", astring).parse(i)?;
    let mailbox = dialect.mailbox_name(&octets);
    let spelling = mailbox.as_ref().ok().and_then(|name| dialect.spelling(&octets, name));
    Ok((i, (mailbox, spelling)))
}

/// create = "CREATE" SP mailbox [SP "(" create-param *(SP create-param) ")"] (RFC 4466 §2.2)
pub(super) fn create(i: &[u8], dialect: Dialect) -> Parsed<'_, Body> {
    let (i, ()) = space(i)?;
    let (mut i, (mailbox, spelt)) = spelt(i, dialect)?;
    let mut uses = Vec::new();
    if i.starts_with(b" (") {
        let mut parameters;
        (i, parameters) = listed(&i[1..], uses_of)?;
        if parameters.len() > 1 {
            return fail(i, "USE only once");
        }
        uses = parameters.pop().unwrap_or_default();
    }
    Ok((i, Body::Create(Create { mailbox, spelt, uses })))
}

/// create-param =/ "USE" SP "(" [use-attr *(SP use-attr)] ")" (RFC 6154 §6)
fn uses_of(i: &[u8]) -> Parsed<'_, Vec<UseArgument>> {
    let (rest, name) = word(i)?;
    if !name.eq_ignore_ascii_case(b"USE") {
        return fail(i, "USE");
    }
    let (i, ()) = space(rest)?;
    let mut uses: Vec<UseArgument> = Vec::new();
    let (i, _) = listed_or_none(i, |i| {
        let (rest, special_use) = special_use(i)?;
        if !uses.contains(&special_use) {
            if uses.len() == MAX_USES {
                return fail(i, "at most 16 special uses");
            }
            uses.push(special_use);
        }
        Ok((rest, ()))
    })?;
    Ok((i, uses))
}

/// Most different special uses in one CREATE; more than there are.
const MAX_USES: usize = 16;

/// use-attr = "\All" / "\Archive" / ... / "\" atom
fn special_use(i: &[u8]) -> Parsed<'_, UseArgument> {
    let (rest, ()) = mark(b'\\', "a special use like \\Sent")(i)?;
    let (rest, _) = atom(rest)?;
    let attribute = ascii(&i[..i.len() - rest.len()]);
    Ok((rest, SpecialUse::from_wire(attribute).ok_or_else(|| UnknownUse(attribute.to_owned()))))
}

/// delete = "DELETE" SP mailbox
pub(super) fn delete(i: &[u8], dialect: Dialect) -> Parsed<'_, Body> {
    let (i, ()) = space(i)?;
    let (i, (mailbox, spelt)) = spelt(i, dialect)?;
    Ok((i, Body::Delete(Delete { mailbox, spelt })))
}

/// rename = "RENAME" SP mailbox SP mailbox
pub(super) fn rename(i: &[u8], dialect: Dialect) -> Parsed<'_, Body> {
    let (i, ()) = space(i)?;
    let (i, (from, from_spelt)) = spelt(i, dialect)?;
    let (i, ()) = space(i)?;
    let (i, (to, to_spelt)) = spelt(i, dialect)?;
    // RFC 9051 §6.3.6: the old name as it was written is told for either of them.
    let spelt = from_spelt.or_else(|| to_spelt.and_then(|_| from.as_ref().ok().map(|name| name.as_str().into())));
    Ok((i, Body::Rename(Rename { from, to, spelt })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BadMailboxName, MailboxName};
    use crate::wire::parse;

    #[test]
    fn names_are_decoded_and_bad_names_are_values() {
        let name = |line: &str| match parse(line.as_bytes()).map(|c| c.body) {
            Ok(Body::Create(create)) => create.mailbox.map(|n| n.to_string()),
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(name("a CREATE inbox").as_deref(), Ok("INBOX"));
        assert_eq!(name("a create \"Entw&APw-rfe/\"").as_deref(), Ok("Entwürfe"));
        assert_eq!(name("a CREATE {4}\r\na \"b").as_deref(), Ok("a \"b"));
        assert_eq!(name("a CREATE \"\""), Err(BadMailboxName::Empty));
        assert_eq!(name("a CREATE &Jjo!"), Err(BadMailboxName::Encoding));
        assert_eq!(name("a CREATE a//b"), Err(BadMailboxName::EmptyLevel));
    }

    #[test]
    fn create_takes_uses() {
        let uses = |parameters: &str| match parse(format!("a CREATE x {parameters}").as_bytes()).map(|c| c.body) {
            Ok(Body::Create(create)) => Ok(create.uses),
            Ok(other) => panic!("{parameters}: {other:?}"),
            Err(garbled) => Err(garbled.to_string()),
        };
        let both = vec![Ok(SpecialUse::Drafts), Ok(SpecialUse::Sent)];
        assert_eq!(uses("(use (\\drafts \\Sent \\DRAFTS))"), Ok(both));
        assert_eq!(uses("(USE (\\Cat))"), Ok(vec![Err(UnknownUse("\\Cat".into()))]));
        assert_eq!(uses("(USE ())"), Ok(vec![]));
        let bad = [
            ("", "expected the end of the command at octet 11"),
            ("()", "expected USE at octet 13"),
            ("(USE)", "expected a space at octet 16"),
            ("(USE \\Sent)", "expected \"(\" at octet 17"),
            ("(USE (Sent))", "expected a special use like \\Sent at octet 18"),
            ("(USE (\\))", "expected an atom at octet 19"),
            ("(USE (\\Sent )", "expected a special use like \\Sent at octet 24"),
            ("(USE (\\Sent)", "expected a space or \")\" at octet 24"),
            ("(USE () USE ())", "expected USE only once at octet 27"),
            ("(FOO)", "expected USE at octet 13"),
            ("(USE ()) x", "expected the end of the command at octet 20"),
        ];
        for (parameters, expected) in bad {
            assert_eq!(uses(parameters), Err(expected.to_owned()), "{parameters}");
        }
        let many: Vec<String> = (0..17).map(|n| format!("\\A{n}")).collect();
        assert!(uses(&format!("(USE ({}))", many.join(" "))).is_err_and(|e| e.contains("at most 16")));
        assert!(uses(&format!("(USE ({}))", many[1..].join(" "))).is_ok());
        for other in ["a RENAME b c (USE ())", "a DELETE b (USE ())", "a SUBSCRIBE b ()"] {
            assert!(parse(other.as_bytes()).is_err(), "{other}");
        }
    }

    #[test]
    fn rename_wants_two_names() {
        let (from, to) = (MailboxName::new("a"), MailboxName::new("b c"));
        assert_eq!(parse(b"t RENAME a \"b c\"").map(|c| c.body), Ok(Body::Rename(Rename { from, to, spelt: None })));
        assert_eq!(parse(b"t RENAME a").expect_err("one name").to_string(), "expected a space at octet 11");
        assert_eq!(parse(b"t RENAME a  b").expect_err("two spaces").to_string(), "expected a single space at octet 12");
        assert_eq!(
            parse(b"t DELETE a*").expect_err("wildcard").to_string(),
            "expected the end of the command at octet 11"
        );
        assert_eq!(parse(b"t DELETE (a").expect_err("no name").to_string(), "expected a mailbox name at octet 10");
    }
}
