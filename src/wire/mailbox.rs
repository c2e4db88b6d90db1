//! Mailbox names as arguments and in answers, and the commands that take nothing else:
//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE.

use nom::Parser;

use super::dialect::Dialect;
use super::garbled::{Parsed, expected};
use super::lexical::{astring, space};
use crate::types::command::{Create, Rename};
use crate::types::{Body, MailboxArgument};

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

/// create = "CREATE" SP mailbox
pub(super) fn create(i: &[u8], dialect: Dialect) -> Parsed<'_, Body> {
    only(i, dialect).map(|(i, mailbox)| (i, Body::Create(Create { mailbox })))
}

/// rename = "RENAME" SP mailbox SP mailbox
pub(super) fn rename(i: &[u8], dialect: Dialect) -> Parsed<'_, Body> {
    let (i, from) = only(i, dialect)?;
    let (i, to) = only(i, dialect)?;
    Ok((i, Body::Rename(Rename { from, to })))
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
    fn rename_wants_two_names() {
        let (from, to) = (MailboxName::new("a"), MailboxName::new("b c"));
        assert_eq!(parse(b"t RENAME a \"b c\"").map(|c| c.body), Ok(Body::Rename(Rename { from, to })));
        assert_eq!(parse(b"t RENAME a").expect_err("one name").to_string(), "expected a space at octet 11");
        assert_eq!(parse(b"t RENAME a  b").expect_err("two spaces").to_string(), "expected a single space at octet 12");
        assert_eq!(
            parse(b"t DELETE a*").expect_err("wildcard").to_string(),
            "expected the end of the command at octet 11"
        );
        assert_eq!(parse(b"t DELETE (a").expect_err("no name").to_string(), "expected a mailbox name at octet 10");
    }
}
