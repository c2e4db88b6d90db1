//! What old programs send, as they write it, values of every kind, and the answers read back.

use proptest::prelude::*;
use proptest::sample::select;

use super::answer::{Item, read, word};
use super::common::{mailboxes, text};
use super::fetch::item;
use crate::types::{FetchItem, Find, FindWhat, Partial, Pattern, Section};
use crate::wire::{Dialect, old};

/// Patterns cannot be written back, they are only matched.
const PATTERNS: [&str; 4] = ["*", "a?b%", "INBOX", "x y*"];

pub(super) fn partial(out: &mut Vec<u8>, args: &Partial) {
    text(out, &format!("PARTIAL {} ", args.number));
    item(out, &args.item);
    text(out, &format!(" {} {}", args.first, args.count));
}

pub(super) fn find(out: &mut Vec<u8>, args: &Find) {
    let pattern = PATTERNS.iter().find(|pattern| args.pattern == Pattern::old(pattern));
    text(out, &format!("find {} \"{}\"", args.what.wire(), pattern.expect("only these are made")));
}

pub(super) fn partials() -> impl Strategy<Value = Partial> {
    let section = (proptest::collection::vec(1u32.., 0..3), any::<bool>()).prop_map(|(path, peek)| {
        FetchItem::Section { section: Section { path, ..Section::default() }, peek, partial: None }
    });
    let item = prop_oneof![
        Just(FetchItem::Rfc822),
        Just(FetchItem::Rfc822Peek),
        Just(FetchItem::Rfc822Header),
        Just(FetchItem::Rfc822Text),
        Just(FetchItem::Rfc822TextPeek),
        section,
    ];
    (1u32.., item, 1u32.., any::<u32>()).prop_map(|(number, item, first, count)| Partial { number, item, first, count })
}

pub(super) fn finds() -> impl Strategy<Value = Find> {
    (select(&FindWhat::ALL[..]), select(&PATTERNS[..]))
        .prop_map(|(what, pattern)| Find { what, pattern: Pattern::old(pattern) })
}

proptest! {
    #[test]
    fn old_lines_are_read_the_same(mailbox in mailboxes(), utf8 in any::<bool>()) {
        let (dialect, mailbox) = (Dialect { utf8, rev2: false }, mailbox.expect("good"));
        for (name, write) in [("MAILBOX", old::write_mailbox_line as fn(&mut Vec<u8>, _, _)), ("BBOARD", old::write_bboard_line)] {
            let mut out = Vec::new();
            write(&mut out, &mailbox, dialect);
            let items = read(&out);
            prop_assert_eq!(&items[0], &word(name));
            let octets = match &items[1] {
                Item::Word(word) => word.clone().into_bytes(),
                Item::Text(text) => text.clone(),
                other => panic!("no name: {other:?}"),
            };
            prop_assert_eq!(dialect.mailbox_name(&octets), Ok(mailbox.clone()));
            prop_assert_eq!(items.len(), 2);
        }
    }
}
