//! NOTIFY as a client writes it, and values of every kind.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::common::{joined, listed, mailboxes, text};
use super::fetch::{item, items};
use crate::types::{EventGroup, EventName, Events, MailboxArgument, MailboxFilter, Notify, NotifySet};
use crate::wire::{Dialect, write};

pub(super) fn notify(out: &mut Vec<u8>, notify: &Notify, dialect: Dialect) {
    let Notify::Set(set) = notify else { return text(out, "NOTIFY NONE") };
    text(out, if set.status { "NOTIFY SET STATUS " } else { "notify set " });
    joined(out, &set.groups, |out, group| {
        out.push(b'(');
        filter(out, &group.mailboxes, dialect);
        out.push(b' ');
        events(out, &group.events);
        out.push(b')');
    });
}

fn filter(out: &mut Vec<u8>, filter: &MailboxFilter, dialect: Dialect) {
    let mut named = |word: &str, names: &[MailboxArgument]| {
        let name = |out: &mut Vec<u8>, name: &MailboxArgument| {
            write::mailbox(out, name.as_ref().expect("only good names are made"), dialect);
        };
        text(out, word);
        match names {
            [one] => name(out, one),
            many => listed(out, many, name),
        }
    };
    match filter {
        MailboxFilter::Selected => text(out, "Selected"),
        MailboxFilter::SelectedDelayed => text(out, "SELECTED-DELAYED"),
        MailboxFilter::Inboxes => text(out, "inboxes"),
        MailboxFilter::Personal => text(out, "personal"),
        MailboxFilter::Subscribed => text(out, "subscribed"),
        MailboxFilter::Subtree(names) => named("subtree ", names),
        MailboxFilter::Mailboxes(names) => named("mailboxes ", names),
    }
}

fn events(out: &mut Vec<u8>, events: &Events) {
    if events.names.is_empty() && events.unknown.is_none() {
        return text(out, "none");
    }
    let words: Vec<&str> = events.names.iter().map(|name| name.wire()).chain(events.unknown.as_deref()).collect();
    listed(out, &words, |out, word| {
        text(out, word);
        if *word == "MessageNew" && !events.fetch.is_empty() {
            out.push(b' ');
            listed(out, &events.fetch, item);
        }
    });
}

pub(super) fn notifies() -> impl Strategy<Value = Notify> {
    let names = || vec(mailboxes(), 1..4);
    let selected = prop_oneof![Just(MailboxFilter::Selected), Just(MailboxFilter::SelectedDelayed)];
    let other = prop_oneof![
        Just(MailboxFilter::Inboxes),
        Just(MailboxFilter::Personal),
        Just(MailboxFilter::Subscribed),
        names().prop_map(MailboxFilter::Subtree),
        names().prop_map(MailboxFilter::Mailboxes),
    ];
    let of_messages = || {
        let both = [EventName::MessageExpunge, EventName::MessageNew];
        let more = subsequence(&[EventName::FlagChange, EventName::AnnotationChange][..], 0..=2);
        option::of(more).prop_map(move |more| more.map_or(vec![], |more| [&both[..], &more].concat()))
    };
    let of_mailboxes = subsequence(&EventName::ALL[4..], 0..=4);
    let unknown = || option::of("[A-Z]{9}");
    let selected = (selected, of_messages(), items(), unknown()).prop_map(|(mailboxes, names, fetch, unknown)| {
        let fetch = if names.is_empty() { vec![] } else { fetch };
        EventGroup { mailboxes, events: Events { names, fetch, unknown } }
    });
    let other = (other, of_messages(), of_mailboxes, unknown()).prop_map(|(mailboxes, messages, more, unknown)| {
        let events = Events { names: [more, messages].concat(), fetch: vec![], unknown };
        EventGroup { mailboxes, events }
    });
    let set = (any::<bool>(), option::of(selected), vec(other, 0..4)).prop_map(|(status, selected, others)| {
        let groups: Vec<_> = selected.into_iter().chain(others).collect();
        match groups.is_empty() {
            true => Notify::None,
            false => Notify::Set(NotifySet { status, groups }),
        }
    });
    prop_oneof![1 => Just(Notify::None), 5 => set]
}
