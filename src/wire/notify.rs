//! NOTIFY: its groups of mailboxes and events. What it causes to be told are the lines of other commands.

use nom::Parser;
use nom::bytes::complete::take_while1;

use super::dialect::Dialect;
use super::fetch::item;
use super::garbled::{Parsed, Wrong, expected, fail};
use super::lexical::{ascii, close, is_atom_char, listed, open, space, spaced, word};
use super::mailbox::mailbox;
use crate::types::{
    Body, EventGroup, EventName, Events, Fetch, FetchItem, MailboxArgument, MailboxFilter, Notify, NotifySet,
};

/// notify = "NOTIFY" SP ("SET" [SP "STATUS"] SP event-group *(SP event-group) / "NONE") (RFC 5465 §8)
pub(super) fn command(i: &[u8], dialect: Dialect) -> Parsed<'_, Body> {
    let (i, ()) = space(i)?;
    let (rest, name) = word(i)?;
    if name.eq_ignore_ascii_case(b"NONE") {
        return Ok((rest, Body::Notify(Notify::None)));
    }
    if !name.eq_ignore_ascii_case(b"SET") {
        return fail(i, "SET or NONE");
    }
    let (mut i, ()) = space(rest)?;
    let (rest, name) = word(i)?;
    let status = name.eq_ignore_ascii_case(b"STATUS");
    if status {
        i = space(rest)?.0;
    }
    let (rest, groups) = spaced(i, |i| group(i, dialect))?;
    if groups.len() > NotifySet::MAX_GROUPS {
        return fail(i, "at most 100 groups of events");
    }
    let named = |group: &EventGroup| match &group.mailboxes {
        MailboxFilter::Subtree(names) | MailboxFilter::Mailboxes(names) => names.len(),
        _ => 0,
    };
    if groups.iter().map(named).sum::<usize>() > NotifySet::MAX_MAILBOXES {
        return fail(i, "at most 1000 mailboxes");
    }
    // RFC 5465 §6.1: only one of the specifiers of the selected mailbox can be given.
    if groups.iter().filter(|group| group.mailboxes.is_selected()).count() > 1 {
        return fail(i, "only one group for the selected mailbox");
    }
    Ok((rest, Body::Notify(Notify::Set(NotifySet { status, groups }))))
}

/// event-group = "(" filter-mailboxes SP events ")"
fn group(i: &[u8], dialect: Dialect) -> Parsed<'_, EventGroup> {
    let (i, ()) = open(i)?;
    let (i, mailboxes) = filter(i, dialect)?;
    let (i, ()) = space(i)?;
    let (i, events) = events(i, &mailboxes)?;
    let (i, ()) = close(i)?;
    Ok((i, EventGroup { mailboxes, events }))
}

/// filter-mailboxes = "selected" / "selected-delayed" / "inboxes" / "personal" / "subscribed" /
///                    "subtree" SP one-or-more-mailbox / "mailboxes" SP one-or-more-mailbox
fn filter(i: &[u8], dialect: Dialect) -> Parsed<'_, MailboxFilter> {
    let (rest, name) = word(i)?;
    let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
    match () {
        () if is("SELECTED") => Ok((rest, MailboxFilter::Selected)),
        () if is("SELECTED-DELAYED") => Ok((rest, MailboxFilter::SelectedDelayed)),
        () if is("INBOXES") => Ok((rest, MailboxFilter::Inboxes)),
        () if is("PERSONAL") => Ok((rest, MailboxFilter::Personal)),
        () if is("SUBSCRIBED") => Ok((rest, MailboxFilter::Subscribed)),
        () if is("SUBTREE") => mailboxes(rest, dialect).map(|(i, names)| (i, MailboxFilter::Subtree(names))),
        () if is("MAILBOXES") => mailboxes(rest, dialect).map(|(i, names)| (i, MailboxFilter::Mailboxes(names))),
        () => fail(i, "SELECTED, SELECTED-DELAYED, INBOXES, PERSONAL, SUBSCRIBED, SUBTREE or MAILBOXES"),
    }
}

/// SP one-or-more-mailbox; one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")"
fn mailboxes(i: &[u8], dialect: Dialect) -> Parsed<'_, Vec<MailboxArgument>> {
    let (i, ()) = space(i)?;
    if i.first() == Some(&b'(') {
        return listed(i, |i| mailbox(i, dialect));
    }
    mailbox(i, dialect).map(|(i, name)| (i, vec![name]))
}

/// events = "(" event *(SP event) ")" / "NONE"
fn events<'a>(i: &'a [u8], mailboxes: &MailboxFilter) -> Parsed<'a, Events> {
    let mut events = Events::default();
    if let Ok((rest, name)) = word(i)
        && name.eq_ignore_ascii_case(b"NONE")
    {
        return Ok((rest, events));
    }
    let is_selected = mailboxes.is_selected();
    let list = |i| listed(i, |i| event(i, is_selected, &mut events));
    let (rest, _) = expected("NONE or a list of events", list).parse(i)?;
    // RFC 5465 §5: both of MessageNew and MessageExpunge or none, and FlagChange and AnnotationChange only with both.
    let (new, expunge) = (events.has(EventName::MessageNew), events.has(EventName::MessageExpunge));
    let needs_both = events.names.iter().any(|name| name.is_of_messages());
    if needs_both && !(new && expunge) {
        return fail(i, "MessageNew and MessageExpunge together, and with every other event of messages");
    }
    Ok((rest, events))
}

/// event = "MessageNew" [SP "(" fetch-att *(SP fetch-att) ")"] / "MessageExpunge" / "FlagChange" /
///         "AnnotationChange" / "MailboxName" / "SubscriptionChange" / "MailboxMetadataChange" /
///         "ServerMetadataChange" / atom
fn event<'a>(i: &'a [u8], is_selected: bool, events: &mut Events) -> Parsed<'a, ()> {
    let (mut rest, name) = take_while1::<_, _, Wrong>(is_atom_char).parse(i).or_else(|_| fail(i, "an event"))?;
    let known = EventName::ALL.into_iter().find(|known| name.eq_ignore_ascii_case(known.wire().as_bytes()));
    let Some(known) = known else {
        events.unknown.get_or_insert_with(|| ascii(name).to_owned());
        return Ok((rest, ()));
    };
    if is_selected && !known.is_of_messages() {
        return fail(i, "an event of messages with the selected mailbox");
    }
    if events.has(known) {
        return fail(i, "each event only once");
    }
    if known == EventName::MessageNew && rest.starts_with(b" (") {
        // RFC 5465 §8: the list may only be present for the selected mailbox.
        if !is_selected {
            return fail(&rest[1..], "FETCH items only with the selected mailbox");
        }
        (rest, events.fetch) = fetch_items(&rest[1..])?;
    }
    events.names.push(known);
    Ok((rest, ()))
}

/// "(" fetch-att *(SP fetch-att) ")"
fn fetch_items(i: &[u8]) -> Parsed<'_, Vec<FetchItem>> {
    let (rest, items) = listed(i, item)?;
    if items.len() > Fetch::MAX_ITEMS {
        return fail(i, "at most 256 items");
    }
    Ok((rest, items))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::MailboxName;
    use crate::wire::parse;
    use EventName::{FlagChange, MailboxName as NameChange, MessageExpunge, MessageNew, SubscriptionChange};

    fn notify(arguments: &str) -> Result<Notify, String> {
        match parse(format!("a NOTIFY {arguments}").as_bytes()).map_err(|e| e.to_string())?.body {
            Body::Notify(notify) => Ok(notify),
            other => panic!("{arguments}: {other:?}"),
        }
    }

    fn set(arguments: &str) -> NotifySet {
        match notify(arguments) {
            Ok(Notify::Set(set)) => set,
            other => panic!("{arguments}: {other:?}"),
        }
    }

    #[test]
    fn what_a_desktop_program_sends() {
        let line = "SET (selected (MessageNew (UID RFC822.SIZE RFC822.HEADER FLAGS BODYSTRUCTURE PREVIEW) MessageExpunge \
                    FlagChange)) (personal (MessageNew MessageExpunge MailboxName SubscriptionChange))";
        let set = set(line);
        assert!(!set.status && set.groups.len() == 2);
        assert_eq!(set.groups[0].mailboxes, MailboxFilter::Selected);
        assert_eq!(set.groups[0].events.names, [MessageNew, MessageExpunge, FlagChange]);
        assert_eq!(set.groups[0].events.fetch.len(), 6);
        assert_eq!(set.groups[1].mailboxes, MailboxFilter::Personal);
        assert_eq!(set.groups[1].events.names, [MessageNew, MessageExpunge, NameChange, SubscriptionChange]);
    }

    #[test]
    fn groups_of_every_kind() {
        assert_eq!(notify("none"), Ok(Notify::None));
        let name = |text| MailboxName::new(text);
        let filters: Vec<_> =
            set("set status (Selected-Delayed NONE) (inboxes NONE) (subscribed none) (subtree a NONE) \
             (mailboxes (a \"b c\" &) (SubscriptionChange))")
            .groups
            .into_iter()
            .map(|group| group.mailboxes)
            .collect();
        let bad = Err(crate::types::BadMailboxName::Encoding);
        let expected = [
            MailboxFilter::SelectedDelayed,
            MailboxFilter::Inboxes,
            MailboxFilter::Subscribed,
            MailboxFilter::Subtree(vec![name("a")]),
            MailboxFilter::Mailboxes(vec![name("a"), name("b c"), bad]),
        ];
        assert_eq!(filters, expected);
        assert!(set("SET STATUS (personal NONE)").status);
        let unknown = set("SET (personal (MessageNew Foo.1 MessageExpunge Bar))");
        assert_eq!(unknown.groups[0].events.unknown.as_deref(), Some("Foo.1"));
        assert!(set("SET (personal (annotationchange messagenew messageexpunge))").groups[0].events.names.len() == 3);
    }

    #[test]
    fn what_cannot_be_asked() {
        let filters = "SELECTED, SELECTED-DELAYED, INBOXES, PERSONAL, SUBSCRIBED, SUBTREE or MAILBOXES";
        let together = "MessageNew and MessageExpunge together, and with every other event of messages";
        let bad = [
            ("", "SET or NONE at octet 10".to_owned()),
            ("FOO", "SET or NONE at octet 10".into()),
            ("NONE x", "the end of the command at octet 14".into()),
            ("SET", "a space at octet 13".into()),
            ("SET STATUS", "a space at octet 20".into()),
            ("SET ()", format!("{filters} at octet 15")),
            ("SET (all NONE)", format!("{filters} at octet 15")),
            ("SET (personal)", "a space at octet 23".into()),
            ("SET (personal ())", "an event at octet 25".into()),
            ("SET (personal MessageNew)", "NONE or a list of events at octet 24".into()),
            ("SET (personal (NONE)x", "\")\" at octet 30".into()),
            ("SET (personal (MessageNew))", format!("{together} at octet 24")),
            ("SET (personal (MessageExpunge))", format!("{together} at octet 24")),
            ("SET (personal (FlagChange))", format!("{together} at octet 24")),
            ("SET (personal (MailboxName MailboxName))", "each event only once at octet 37".into()),
            (
                "SET (personal (MessageNew (UID) MessageExpunge))",
                "FETCH items only with the selected mailbox at octet 36".into(),
            ),
            ("SET (selected (MailboxName))", "an event of messages with the selected mailbox at octet 25".into()),
            ("SET (selected (MessageNew () MessageExpunge))", "a FETCH item at octet 37".into()),
            ("SET (selected (MessageNew (ALL) MessageExpunge))", "a FETCH item at octet 37".into()),
            (
                "SET (selected NONE) (selected-delayed NONE)",
                "only one group for the selected mailbox at octet 14".into(),
            ),
            ("SET (selected NONE)(personal NONE)", "the end of the command at octet 29".into()),
            ("SET (subtree NONE)", "a space at octet 27".into()),
            ("SET (mailboxes () NONE)", "a mailbox name at octet 26".into()),
            ("SET (mailboxes (a  b) NONE)", "a single space at octet 28".into()),
        ];
        for (arguments, expected) in bad {
            assert_eq!(notify(arguments), Err(format!("expected {expected}")), "{arguments}");
        }
        let many = |n: usize| format!("SET {}", vec!["(personal NONE)"; n].join(" "));
        assert!(notify(&many(100)).is_ok() && notify(&many(101)).is_err_and(|e| e.contains("at most 100")));
        let many = |n: usize| format!("SET (subtree ({}) NONE)", vec!["a"; n].join(" "));
        assert!(notify(&many(1000)).is_ok() && notify(&many(1001)).is_err_and(|e| e.contains("at most 1000")));
    }
}
