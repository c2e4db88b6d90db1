//! LIST, XLIST and LSUB: their patterns and options, and the lines that answer them.

use std::borrow::Cow;

use nom::Parser;
use nom::bytes::complete::take_while1;

use super::dialect::Dialect;
use super::garbled::{Parsed, Wrong, expected, fail, wrong};
use super::lexical::{astring, is_list_char, listed, listed_or_none, space, string, word};
use super::metadata::entry_name;
use super::{status, write};
use crate::types::{Body, ChildInfo, List, ListReturn, ListSelect, ListWord, Lsub, MailboxName, Pattern};

/// list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts] (RFC 5258 §6)
pub(super) fn command(i: &[u8], dialect: Dialect) -> Parsed<'_, Body> {
    let (mut i, mut is_extended, mut select, mut returns) = (i, false, ListSelect::default(), ListReturn::default());
    if i.starts_with(b" (") {
        is_extended = true;
        (i, select) = select_options(&i[1..])?;
    }
    let (i, ()) = space(i)?;
    let (i, reference) = expected("a reference name", astring).parse(i)?;
    let (rest, ()) = space(i)?;
    let (mut i, mailboxes) = mailbox_or_patterns(rest)?;
    if mailboxes.len() > List::MAX_PATTERNS {
        return fail(rest, "at most 100 patterns");
    }
    is_extended |= rest.first() == Some(&b'(');
    if !i.is_empty() {
        is_extended = true;
        (i, returns) = return_options(i, dialect)?;
    }
    // RFC 5258 §3.1, RFC 6154 §2: what is selected by is told too.
    returns.subscribed |= select.subscribed;
    returns.special_use |= select.special_use;
    let pattern = |mailbox: &Cow<'_, [u8]>| match is_extended && mailbox.is_empty() {
        // RFC 5258 §3: in an extended LIST the empty name asks for no root, and matches nothing.
        true => Pattern::nothing(),
        false => pattern_of(&reference, mailbox, dialect),
    };
    let patterns = mailboxes.iter().map(pattern).collect();
    Ok((i, Body::List(List { is_xlist: false, is_extended, patterns, select, returns })))
}

/// "XLIST" SP mailbox SP list-mailbox, as an old Outlook has it from Gmail
pub(super) fn xlist(i: &[u8], dialect: Dialect) -> Parsed<'_, Body> {
    let (i, pattern) = pattern(i, dialect)?;
    let (select, returns) = (ListSelect::default(), ListReturn::default());
    Ok((i, Body::List(List { is_xlist: true, is_extended: false, patterns: vec![pattern], select, returns })))
}

/// lsub = "LSUB" SP mailbox SP list-mailbox
pub(super) fn lsub(i: &[u8], dialect: Dialect) -> Parsed<'_, Body> {
    let (i, pattern) = pattern(i, dialect)?;
    Ok((i, Body::Lsub(Lsub { pattern })))
}

/// SP mailbox SP list-mailbox
fn pattern(i: &[u8], dialect: Dialect) -> Parsed<'_, Pattern> {
    let (i, ()) = space(i)?;
    let (i, reference) = expected("a reference name", astring).parse(i)?;
    let (i, ()) = space(i)?;
    let (i, mailbox) = expected("a mailbox name or pattern", list_mailbox).parse(i)?;
    Ok((i, pattern_of(&reference, &mailbox, dialect)))
}

/// What is not in the client's encoding matches nothing: an error would cost such a client its folder list.
fn pattern_of(reference: &[u8], mailbox: &[u8], dialect: Dialect) -> Pattern {
    match (dialect.decode(reference), dialect.decode(mailbox)) {
        (Ok(reference), Ok(mailbox)) => Pattern::new(&reference, &mailbox),
        _ => Pattern::nothing(),
    }
}

/// mbox-or-pat = list-mailbox / patterns; patterns = "(" list-mailbox *(SP list-mailbox) ")"
fn mailbox_or_patterns(i: &[u8]) -> Parsed<'_, Vec<Cow<'_, [u8]>>> {
    let one = |i| expected("a mailbox name or pattern", list_mailbox).parse(i);
    if i.first() == Some(&b'(') {
        return listed(i, one);
    }
    one(i).map(|(i, mailbox)| (i, vec![mailbox]))
}

/// list-mailbox = 1*list-char / string
fn list_mailbox(i: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    match i.first() {
        Some(b'"' | b'{') => string(i),
        _ => take_while1::<_, _, Wrong>(is_list_char).map(Cow::Borrowed).parse(i),
    }
}

/// list-select-opts = "(" [list-select-opt *(SP list-select-opt)] ")"
///
/// RFC 5258 §3: an option given twice counts once, an unknown one is BAD.
fn select_options(i: &[u8]) -> Parsed<'_, ListSelect> {
    let mut select = ListSelect::default();
    let (rest, _) = listed_or_none(i, |i| {
        let (rest, name) = word(i)?;
        let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
        match () {
            () if is("SUBSCRIBED") => select.subscribed = true,
            () if is("REMOTE") => select.remote = true,
            () if is("RECURSIVEMATCH") => select.recursive_match = true,
            () if is("SPECIAL-USE") => select.special_use = true,
            () => return fail(i, "SUBSCRIBED, REMOTE, RECURSIVEMATCH or SPECIAL-USE"),
        }
        Ok((rest, ()))
    })?;
    // RFC 5258 §3.1: RECURSIVEMATCH MUST NOT be the only option, or only with REMOTE. SPECIAL-USE satisfies that
    // text, though RFC 6154 §6 puts it beside REMOTE in the grammar: "folders with a Sent below" can be meant.
    if select.recursive_match && !select.subscribed && !select.special_use {
        return fail(i, "SUBSCRIBED or SPECIAL-USE together with RECURSIVEMATCH");
    }
    Ok((rest, select))
}

/// SP list-return-opts = "RETURN" SP "(" [return-option *(SP return-option)] ")"
fn return_options(i: &[u8], dialect: Dialect) -> Parsed<'_, ListReturn> {
    let (i, ()) = expected("a space or the end of the command", space).parse(i)?;
    let (rest, name) = word(i)?;
    if !name.eq_ignore_ascii_case(b"RETURN") {
        return fail(i, "RETURN or the end of the command");
    }
    let (i, ()) = space(rest)?;
    let mut returns = ListReturn::default();
    let (i, _) = listed_or_none(i, |i| return_option(i, &mut returns, dialect))?;
    Ok((i, returns))
}

/// return-option = "SUBSCRIBED" / "CHILDREN" / "SPECIAL-USE" (RFC 6154 §6) / "MYRIGHTS" (RFC 8440 §5) /
/// "STATUS" SP "(" status-att *(SP status-att) ")" (RFC 5819 §4) /
/// "METADATA" SP "(" entry *(SP entry) ")" (RFC 9590 §5)
fn return_option<'a>(i: &'a [u8], returns: &mut ListReturn, dialect: Dialect) -> Parsed<'a, ()> {
    let (mut rest, name) = word(i)?;
    let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
    match () {
        () if is("SUBSCRIBED") => returns.subscribed = true,
        () if is("CHILDREN") => returns.children = true,
        () if is("SPECIAL-USE") => returns.special_use = true,
        () if is("MYRIGHTS") => returns.my_rights = true,
        () if is("STATUS") => {
            let (behind, items) = status::items(space(rest)?.0, dialect)?;
            rest = behind;
            add_new(&mut returns.status, items);
        }
        () if is("METADATA") => {
            let (list, ()) = space(rest)?;
            let (behind, entries) = listed(list, entry_name)?;
            rest = behind;
            add_new(&mut returns.metadata, entries);
            if returns.metadata.len() > ListReturn::MAX_METADATA {
                return Err(wrong(list, "at most 100 annotations"));
            }
        }
        () => return fail(i, "SUBSCRIBED, CHILDREN, SPECIAL-USE, STATUS, MYRIGHTS or METADATA"),
    }
    Ok((rest, ()))
}

/// Each mailbox is told the same thing only once.
fn add_new<T: PartialEq>(known: &mut Vec<T>, more: Vec<T>) {
    for item in more {
        if !known.contains(&item) {
            known.push(item);
        }
    }
}

/// A mailbox as it is told: `* LIST (attributes) "/" name` (RFC 3501 §7.2.2).
#[derive(Debug, Clone, Copy)]
pub struct ListLine<'a> {
    pub word: ListWord,
    /// With their backslashes.
    pub attributes: &'a [&'a str],
    pub name: &'a MailboxName,
}

/// Writes it.
pub fn write_line(out: &mut Vec<u8>, line: &ListLine<'_>, dialect: Dialect) {
    write_extended(out, line, &Extended::default(), dialect);
}

/// What a LIST line can say behind the name. Only for clients that have sent an extended LIST, NOTIFY, or have
/// enabled IMAP4rev2 (RFC 5258 §3).
#[derive(Debug, Clone, Copy, Default)]
pub struct Extended<'a> {
    /// The selection options that something below the name satisfies.
    pub child_info: &'a [ChildInfo],
    /// The name the mailbox had before, or under which the client asked for it; as text (RFC 9051 §6.3.9.7).
    pub old_name: Option<&'a str>,
}

/// `* LIST (attributes) "/" name ("CHILDINFO" ("SUBSCRIBED") "OLDNAME" ("old"))`
///
/// mbox-list-extended = "(" [mbox-list-extended-item *(SP mbox-list-extended-item)] ")" (RFC 5258 §6)
pub fn write_extended(out: &mut Vec<u8>, line: &ListLine<'_>, extended: &Extended<'_>, dialect: Dialect) {
    head(out, line.word, line.attributes);
    write::mailbox(out, line.name, dialect);
    let begin = out.len();
    if !extended.child_info.is_empty() {
        out.extend_from_slice(b" (\"CHILDINFO\" (");
        for (at, option) in extended.child_info.iter().enumerate() {
            if at > 0 {
                out.push(b' ');
            }
            // The options are always quoted here, unlike in the command.
            write::quoted(out, option.wire().as_bytes());
        }
        out.push(b')');
    }
    if let Some(old_name) = extended.old_name {
        out.extend_from_slice(if out.len() == begin { b" (" } else { b" " });
        out.extend_from_slice(b"\"OLDNAME\" (");
        write::name(out, old_name, dialect);
        out.push(b')');
    }
    if out.len() > begin {
        out.push(b')');
    }
    write::end(out);
}

/// `* LIST (\Noselect) "/" ""`: the answer when the pattern asks for the root (RFC 3501 §6.3.8).
pub fn write_root(out: &mut Vec<u8>, word: ListWord) {
    head(out, word, &["\\Noselect"]);
    out.extend_from_slice(b"\"\"");
    write::end(out);
}

fn head(out: &mut Vec<u8>, word: ListWord, attributes: &[&str]) {
    out.extend_from_slice(b"* ");
    out.extend_from_slice(word.wire().as_bytes());
    out.extend_from_slice(b" (");
    for (at, attribute) in attributes.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(attribute.as_bytes());
    }
    out.extend_from_slice(b") \"/\" ");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Attribute, EntryName, SpecialUse, StatusItem};
    use crate::wire::parse;

    fn pattern_in(line: &str) -> Option<Pattern> {
        match parse(line.as_bytes()).ok()?.body {
            Body::List(mut list) => list.patterns.pop(),
            Body::Lsub(lsub) => Some(lsub.pattern),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn list(arguments: &str) -> Result<List, String> {
        match parse(format!("a LIST {arguments}").as_bytes()).map_err(|e| e.to_string())?.body {
            Body::List(list) => Ok(list),
            other => panic!("{arguments}: {other:?}"),
        }
    }

    #[test]
    fn patterns_come_in_every_form() {
        for line in ["a LIST \"\" *", "a lsub \"\" \"*\"", "a XLIST \"\" {1}\r\n*", "a LIST {0}\r\n \"*%\""] {
            assert_eq!(pattern_in(line), Some(Pattern::new("", "*")), "{line}");
        }
        assert_eq!(pattern_in("a LIST a/ b]%"), Some(Pattern::new("a/", "b]%")));
        assert!(pattern_in("a LIST \"\" \"\"").is_some_and(|p| p.asks_for_root()));
        assert!(pattern_in("a LIST \"\" Entw&APw-rf%").is_some_and(|p| p.matches("Entwürfe")));
        assert_eq!(pattern_in("a LIST \"\" \"&Jjo!*\""), Some(Pattern::nothing()));
        assert_eq!(pattern_in("a LIST \"&\" *"), Some(Pattern::nothing()));
        for bad in [
            "a LIST",
            "a LIST \"\"",
            "a LIST \"\" ",
            "a LIST \"\"  *",
            "a LIST * *",
            "a LIST \"\" * *",
            "a LIST \"\" *(",
            "a XLIST \"\" (*)",
            "a XLIST () \"\" *",
            "a XLIST \"\" * RETURN ()",
            "a LSUB \"\" (*)",
            "a LSUB \"\" * RETURN ()",
        ] {
            assert_eq!(pattern_in(bad), None, "{bad}");
        }
    }

    #[test]
    fn three_ways_make_a_list_extended() {
        assert!(!list("\"\" *").expect("basic").is_extended);
        let many = list("\"\" (INBOX Drafts \"Sent/%\" \"\")").expect("patterns");
        let names = ["INBOX", "Drafts", "Sent/%"].map(|name| Pattern::new("", name));
        assert!(many.is_extended && many.patterns[..3] == names && many.patterns[3] == Pattern::nothing());
        for extended in ["() \"\" \"\"", "\"\" (\"\")", "\"\" \"\" RETURN ()"] {
            let list = list(extended).expect(extended);
            assert!(list.is_extended && list.patterns == [Pattern::nothing()], "{extended}");
        }
        let many = |n| format!("\"\" ({})", vec!["a"; n].join(" "));
        assert!(list(&many(100)).is_ok());
        assert_eq!(list(&many(101)), Err("expected at most 100 patterns at octet 11".into()));
    }

    #[test]
    fn selection_options() {
        let select = |options: &str| list(&format!("{options} \"\" *")).map(|list| list.select);
        let none = ListSelect::default();
        assert_eq!(select("()"), Ok(none));
        assert_eq!(select("(remote)"), Ok(ListSelect { remote: true, ..none }));
        let subscribed = ListSelect { subscribed: true, recursive_match: true, ..none };
        assert_eq!(select("(SUBSCRIBED RECURSIVEMATCH)"), Ok(subscribed));
        assert_eq!(select("(RECURSIVEMATCH SUBSCRIBED RECURSIVEMATCH)"), Ok(subscribed));
        let special = ListSelect { special_use: true, recursive_match: true, ..none };
        assert_eq!(select("(SPECIAL-USE RECURSIVEMATCH)"), Ok(special));
        let implied = list("(SUBSCRIBED SPECIAL-USE) \"\" *").expect("options").returns;
        assert!(implied.subscribed && implied.special_use && !implied.children);
        let alone = "expected SUBSCRIBED or SPECIAL-USE together with RECURSIVEMATCH at octet 8";
        assert_eq!(select("(RECURSIVEMATCH)"), Err(alone.into()));
        assert_eq!(select("(RECURSIVEMATCH REMOTE)"), Err(alone.into()));
        let known = "SUBSCRIBED, REMOTE, RECURSIVEMATCH or SPECIAL-USE";
        assert_eq!(select("(FOO)"), Err(format!("expected {known} at octet 9")));
        assert_eq!(select("(REMOTE FOO)"), Err(format!("expected {known} at octet 16")));
        for bad in
            ["( REMOTE)", "(REMOTE )", "(REMOTE", "(REMOTE  SUBSCRIBED)", "(REMOTE) ", "(CHILDREN)", "((REMOTE))"]
        {
            assert!(select(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn return_options() {
        let returns = |options: &str| list(&format!("\"\" * {options}")).map(|list| list.returns);
        let full = ListReturn {
            subscribed: true,
            children: true,
            special_use: true,
            my_rights: true,
            status: vec![StatusItem::Messages, StatusItem::Unseen, StatusItem::Size],
            metadata: vec![EntryName::new("/shared/comment").expect("a name")],
        };
        let text = "return (Children SUBSCRIBED STATUS (MESSAGES UNSEEN) SPECIAL-USE MYRIGHTS \
                    METADATA (/shared/comment) STATUS (SIZE MESSAGES) METADATA (\"/Shared/Comment\"))";
        assert_eq!(returns(text), Ok(full));
        assert_eq!(returns("RETURN ()"), Ok(ListReturn::default()));
        let known = "SUBSCRIBED, CHILDREN, SPECIAL-USE, STATUS, MYRIGHTS or METADATA";
        let bad = [
            ("RETURN", "a space at octet 19".to_owned()),
            ("RETURN CHILDREN", "\"(\" at octet 20".into()),
            ("RETURN (FOO)", format!("{known} at octet 21")),
            ("RETURN (CHILDREN )", format!("{known} at octet 30")),
            ("RETURN (RECURSIVEMATCH)", format!("{known} at octet 21")),
            ("RETURN (STATUS)", "a space at octet 27".into()),
            ("RETURN (STATUS ())", "a STATUS item at octet 29".into()),
            ("RETURN (METADATA ())", "the name of an annotation like /private/comment at octet 31".into()),
            ("RETURN (METADATA (/x/y))", "the name of an annotation like /private/comment at octet 31".into()),
            ("RETURN (CHILDREN", "a space or \")\" at octet 29".into()),
            ("RETURN () RETURN ()", "the end of the command at octet 22".into()),
            ("FOO", "RETURN or the end of the command at octet 13".into()),
        ];
        for (options, expected) in bad {
            assert_eq!(returns(options), Err(format!("expected {expected}")), "{options}");
        }
        let many = |n: usize| {
            let names: Vec<_> = (0..n).map(|n| format!("/shared/{n}")).collect();
            format!("RETURN (METADATA ({}))", names.join(" "))
        };
        assert!(returns(&many(100)).is_ok());
        assert!(returns(&many(101)).is_err_and(|e| e.contains("at most 100 annotations")));
    }

    #[test]
    fn lines() {
        let mut out = Vec::new();
        let mut line = |word, attributes: &[&str], name| {
            let name = MailboxName::new(name).expect("a name");
            write_line(&mut out, &ListLine { word, attributes, name: &name }, Dialect::default());
        };
        line(ListWord::List, &["\\HasNoChildren", "\\Sent"], "Sent");
        line(ListWord::Lsub, &[], "Entwürfe für \"mich\"");
        write_root(&mut out, ListWord::Xlist);
        let expected = "* LIST (\\HasNoChildren \\Sent) \"/\" Sent\r\n\
                        * LSUB () \"/\" \"Entw&APw-rfe f&APw-r \\\"mich\\\"\"\r\n\
                        * XLIST (\\Noselect) \"/\" \"\"\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn lines_with_extended_data() {
        let line = |attributes: &[Attribute], child_info: &[ChildInfo], old_name| {
            let attributes: Vec<_> = attributes.iter().map(|attribute| attribute.wire()).collect();
            let name = MailboxName::new("Foo").expect("a name");
            let line = ListLine { word: ListWord::List, attributes: &attributes, name: &name };
            let mut out = Vec::new();
            write_extended(&mut out, &line, &Extended { child_info, old_name }, Dialect::default());
            String::from_utf8(out).expect("ASCII")
        };
        use Attribute::{HasChildren, NonExistent, Subscribed, Use};
        assert_eq!(
            line(&[NonExistent, HasChildren], &[ChildInfo::Subscribed], None),
            "* LIST (\\NonExistent \\HasChildren) \"/\" Foo (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n"
        );
        assert_eq!(
            line(&[Use(SpecialUse::Snoozed), Subscribed], &[], Some("Übung")),
            "* LIST (\\Snoozed \\Subscribed) \"/\" Foo (\"OLDNAME\" (&ANw-bung))\r\n"
        );
        assert_eq!(
            line(&[], &[ChildInfo::Subscribed, ChildInfo::SpecialUse], Some("a b")),
            "* LIST () \"/\" Foo (\"CHILDINFO\" (\"SUBSCRIBED\" \"SPECIAL-USE\") \"OLDNAME\" (\"a b\"))\r\n"
        );
    }
}
