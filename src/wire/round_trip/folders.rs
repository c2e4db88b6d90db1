//! SELECT, CREATE, LIST and STATUS as a client writes them, values of every kind, and their answers read back.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select as one_of, subsequence};

use super::answer::{Item, quoted, read, word};
use super::common::{listed, mailboxes, mod_seqs, name, object_ids, runs, text};
use crate::types::command::{Create, QResync, Select};
use crate::types::{
    Attribute, ChildInfo, EntryName, List, ListReturn, ListSelect, ListWord, MailboxName, ObjectId, Pattern,
    SpecialUse, Status, StatusItem, StatusValue, UidValidity, UnknownUse,
};
use crate::wire::list::{Extended, ListLine, write_extended};
use crate::wire::{Dialect, acl, metadata, status, write};

/// Patterns cannot be written back, they are only matched. So a command is made together with its text for them.
pub(super) const PATTERNS: [(&str, &str); 4] = [("", "*"), ("a/", "%"), ("", ""), ("x y", "b*%c")];

pub(super) fn select(out: &mut Vec<u8>, word: &str, select: &Select, dialect: Dialect) {
    text(out, word);
    name(out, &select.mailbox, dialect);
    let mut parameters = Vec::new();
    if select.condstore {
        parameters.push("CONDSTORE".to_owned());
    }
    if let Some(known) = &select.qresync {
        let uids = known.known_uids.as_ref().map_or(String::new(), |uids| format!(" {}", uids.wire()));
        let pairs = known.known_pairs.as_ref();
        let pairs = pairs.map_or(String::new(), |(seqs, uids)| format!(" ({} {})", seqs.wire(), uids.wire()));
        parameters.push(format!("QRESYNC ({} {}{uids}{pairs})", known.uid_validity, known.mod_seq));
    }
    if !parameters.is_empty() {
        text(out, &format!(" ({})", parameters.join(" ")));
    }
}

pub(super) fn pattern(out: &mut Vec<u8>, word: &str, pattern: &Pattern) {
    let known = PATTERNS.iter().find(|(reference, mailbox)| *pattern == Pattern::new(reference, mailbox));
    let (reference, mailbox) = known.expect("only these are made");
    text(out, &format!("{word} \"{reference}\" \"{mailbox}\""));
}

pub(super) fn create(out: &mut Vec<u8>, create: &Create, dialect: Dialect) {
    text(out, "CREATE");
    name(out, &create.mailbox, dialect);
    if !create.uses.is_empty() {
        text(out, " (use ");
        listed(out, &create.uses, |out, special_use| match special_use {
            Ok(known) => text(out, known.wire()),
            Err(UnknownUse(unknown)) => text(out, unknown),
        });
        out.push(b')');
    }
}

fn status_items(out: &mut Vec<u8>, items: &[StatusItem]) {
    listed(out, items, |out, item| text(out, item.wire()));
}

pub(super) fn status(out: &mut Vec<u8>, status: &Status, dialect: Dialect) {
    text(out, "STATUS");
    name(out, &status.mailbox, dialect);
    out.push(b' ');
    status_items(out, &status.items);
}

pub(super) fn list(out: &mut Vec<u8>, list: &List) {
    if !list.is_extended {
        return pattern(out, if list.is_xlist { "XLIST" } else { "LIST" }, &list.patterns[0]);
    }
    let ListSelect { subscribed, remote, recursive_match, special_use } = list.select;
    let options = [
        (recursive_match, "RECURSIVEMATCH"),
        (subscribed, "subscribed"),
        (special_use, "SPECIAL-USE"),
        (remote, "REMOTE"),
    ];
    let options: Vec<_> = options.iter().filter(|(is_asked, _)| *is_asked).collect();
    text(out, "LIST ");
    listed(out, &options, |out, (_, word)| text(out, word));
    text(out, " \"\" ");
    listed(out, &list.patterns, |out, pattern| {
        let known = MAILBOXES.iter().find(|mailbox| *pattern == Pattern::new("", mailbox));
        text(out, known.expect("only these are made"));
    });
    text(out, " RETURN (CHILDREN");
    let ListReturn { subscribed, children: _, special_use, my_rights, status, metadata } = &list.returns;
    for (is_asked, word) in [(subscribed, " SUBSCRIBED"), (special_use, " SPECIAL-USE"), (my_rights, " MYRIGHTS")] {
        text(out, if *is_asked { word } else { "" });
    }
    if !status.is_empty() {
        text(out, " STATUS ");
        status_items(out, status);
    }
    if !metadata.is_empty() {
        text(out, " METADATA ");
        listed(out, metadata, |out, entry| write::astring(out, entry.as_str().as_bytes()));
    }
    out.push(b')');
}

/// The patterns of extended LISTs.
const MAILBOXES: [&str; 4] = ["*", "%", "INBOX", "a/%"];

fn entry_names() -> impl Strategy<Value = EntryName> {
    "/(private|Shared)/[a-z]{1,4}(/[a-z \"\\\\&]{1,4})?".prop_map(|name| EntryName::new(&name).expect("a name"))
}

fn extended_lists() -> impl Strategy<Value = List> {
    let patterns = vec(one_of(&MAILBOXES[..]).prop_map(|mailbox| Pattern::new("", mailbox)), 1..4);
    let status = prop_oneof![Just(vec![]), subsequence(&StatusItem::ALL[..], 1..5)];
    let metadata = prop_oneof![Just(vec![]), entry_names().prop_map(|name| vec![name])];
    (patterns, any::<[bool; 7]>(), status, metadata).prop_map(|(patterns, asked, status, metadata)| {
        let [subscribed, remote, recursive, special_use, my_rights, also_subscribed, also_special] = asked;
        let recursive_match = recursive && (subscribed || special_use);
        List {
            is_xlist: false,
            is_extended: true,
            patterns,
            select: ListSelect { subscribed, remote, recursive_match, special_use },
            returns: ListReturn {
                subscribed: subscribed || also_subscribed,
                children: true,
                special_use: special_use || also_special,
                my_rights,
                status,
                metadata,
            },
        }
    })
}

pub(super) fn lists() -> impl Strategy<Value = List> {
    let basic = (any::<bool>(), one_of(&PATTERNS[..])).prop_map(|(is_xlist, (reference, mailbox))| List {
        is_xlist,
        is_extended: false,
        patterns: vec![Pattern::new(reference, mailbox)],
        select: ListSelect::default(),
        returns: ListReturn::default(),
    });
    prop_oneof![basic, extended_lists()]
}

pub(super) fn statuses() -> impl Strategy<Value = Status> {
    (mailboxes(), vec(one_of(&StatusItem::ALL[..]), 1..7)).prop_map(|(mailbox, items)| Status { mailbox, items })
}

pub(super) fn creates() -> impl Strategy<Value = Create> {
    let unknown = "[A-Z]{12}".prop_map(|word| UnknownUse(format!("\\{word}")));
    (mailboxes(), subsequence(&SpecialUse::ALL[..], 0..4), option::of(unknown)).prop_map(|(mailbox, known, unknown)| {
        let uses = known.into_iter().map(Ok).chain(unknown.map(Err)).collect();
        Create { mailbox, uses }
    })
}

pub(super) fn selects() -> impl Strategy<Value = Select> {
    let qresync =
        (1u32.., mod_seqs(), option::of(runs()), option::of(runs())).prop_map(|(validity, mod_seq, uids, pairs)| {
            let known_pairs = pairs.map(|runs| (runs.clone(), runs));
            QResync { uid_validity: UidValidity(validity), mod_seq, known_uids: uids, known_pairs }
        });
    (mailboxes(), any::<bool>(), option::of(qresync)).prop_map(|(mailbox, condstore, qresync)| Select {
        mailbox,
        condstore,
        qresync,
    })
}

/// The name in an answer, decoded.
fn name_in(item: Option<Item>, dialect: Dialect) -> MailboxName {
    let octets = match item {
        Some(Item::Word(word)) => word.into_bytes(),
        Some(Item::Text(text)) => text,
        other => panic!("no name: {other:?}"),
    };
    dialect.mailbox_name(&octets).expect("a name")
}

fn attributes() -> impl Strategy<Value = Vec<Attribute>> {
    use Attribute::{
        HasChildren, HasNoChildren, Marked, NoAccess, NoInferiors, NoSelect, NonExistent, Remote, Subscribed, Unmarked,
        Use,
    };
    let mut all = vec![NoInferiors, NoSelect, NonExistent, Marked, Unmarked, HasChildren, HasNoChildren, Subscribed];
    all.extend([Remote, NoAccess]);
    all.extend(SpecialUse::ALL.map(Use));
    subsequence(all, 0..5)
}

proptest! {
    #[test]
    fn a_list_line_is_read_the_same(
        (mailbox, old_name) in (mailboxes(), option::of(mailboxes())),
        attributes in attributes(),
        child_info in subsequence(&[ChildInfo::Subscribed, ChildInfo::SpecialUse][..], 0..=2),
        utf8 in any::<bool>(),
    ) {
        let (dialect, mailbox, old_name) = (Dialect { utf8, rev2: false }, mailbox.expect("good"), old_name.map(|n| n.expect("good")));
        let words: Vec<_> = attributes.iter().map(|attribute| attribute.wire()).collect();
        let line = ListLine { word: ListWord::List, attributes: &words, name: &mailbox };
        let extended = Extended { child_info: &child_info, old_name: old_name.as_ref().map(MailboxName::as_str) };
        let mut out = Vec::new();
        write_extended(&mut out, &line, &extended, dialect);
        let mut items = read(&out).into_iter();
        let head = [word("LIST"), Item::List(words.iter().map(word).collect()), quoted("/")];
        prop_assert_eq!(items.by_ref().take(3).collect::<Vec<_>>(), head);
        prop_assert_eq!(name_in(items.next(), dialect), mailbox);
        let mut data = match items.next() {
            Some(Item::List(data)) => data.into_iter(),
            None => vec![].into_iter(),
            other => panic!("no extended data: {other:?}"),
        };
        if !child_info.is_empty() {
            let options = child_info.iter().map(|option| quoted(option.wire())).collect();
            prop_assert_eq!((data.next(), data.next()), (Some(quoted("CHILDINFO")), Some(Item::List(options))));
        }
        if let Some(old_name) = old_name {
            prop_assert_eq!(data.next(), Some(quoted("OLDNAME")));
            let Some(Item::List(mut names)) = data.next() else { panic!("no name") };
            prop_assert_eq!(name_in(names.pop(), dialect), old_name);
        }
        prop_assert_eq!((data.next(), items.next()), (None, None));
    }

    #[test]
    fn status_metadata_and_rights_are_read_the_same(
        mailbox in mailboxes(),
        values in vec((one_of(&StatusItem::ALL[..]), any::<u64>(), option::of(object_ids())), 1..5),
        (entry, value) in (entry_names(), option::of(vec(any::<u8>(), 0..9))),
        utf8 in any::<bool>(),
    ) {
        let (dialect, mailbox) = (Dialect { utf8, rev2: false }, mailbox.expect("good"));
        let value_of = |n: u64, id: Option<ObjectId>| match id {
            Some(id) => (StatusValue::Id(id.clone()), Item::List(vec![word(id)])),
            None if n.is_multiple_of(5) => (StatusValue::Nil, word("NIL")),
            None => (StatusValue::Number(n), word(n)),
        };
        let (mut given, mut expected) = (Vec::new(), Vec::new());
        for (item, n, id) in values {
            let (value, read) = value_of(n, id);
            given.push((item, value));
            expected.extend([word(item.wire()), read]);
        }
        let mut out = Vec::new();
        status::write_line(&mut out, &mailbox, &given, dialect);
        let mut items = read(&out).into_iter();
        prop_assert_eq!(items.next(), Some(word("STATUS")));
        prop_assert_eq!(name_in(items.next(), dialect), mailbox.clone());
        prop_assert_eq!((items.next(), items.next()), (Some(Item::List(expected)), None));

        let mut out = Vec::new();
        metadata::write_line(&mut out, Some(&mailbox), &[(&entry, value.as_deref())], dialect);
        let mut items = read(&out).into_iter();
        prop_assert_eq!(items.next(), Some(word("METADATA")));
        prop_assert_eq!(name_in(items.next(), dialect), mailbox.clone());
        let expected = match value {
            Some(value) if value.contains(&0) => Item::Binary(value),
            Some(value) => Item::Text(value),
            None => word("NIL"),
        };
        let Some(Item::List(pair)) = items.next() else { panic!("no values") };
        let name = match &pair[0] {
            Item::Word(name) => name.clone().into_bytes(),
            Item::Text(name) => name.clone(),
            other => panic!("no name: {other:?}"),
        };
        prop_assert_eq!((name, &pair[1]), (entry.as_str().as_bytes().to_vec(), &expected));

        let mut out = Vec::new();
        acl::write_my_rights(&mut out, &mailbox, "lrs", dialect);
        let mut items = read(&out).into_iter();
        prop_assert_eq!(items.next(), Some(word("MYRIGHTS")));
        prop_assert_eq!(name_in(items.next(), dialect), mailbox);
        prop_assert_eq!((items.next(), items.next()), (Some(word("lrs")), None));
    }
}
