//! Quota and UIDBATCHES as a client writes them, values of every kind, and their answers read back.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::answer::{Item, quoted, read, word};
use super::common::{listed, mailboxes, octets, text};
use crate::types::quota::UnknownResource;
use crate::types::{Resource, ResourceUsage, SetQuota, UidBatches};
use crate::wire::{Dialect, quota, uid_batches, write};

pub(super) fn set_quota(out: &mut Vec<u8>, args: &SetQuota) {
    text(out, "SETQUOTA ");
    write::astring(out, &args.root);
    out.push(b' ');
    listed(out, &args.limits, |out, (resource, limit)| {
        match resource {
            Ok(known) => text(out, &known.wire().to_ascii_lowercase()),
            Err(UnknownResource(name)) => text(out, name),
        }
        text(out, &format!(" {limit}"));
    });
}

pub(super) fn batches(out: &mut Vec<u8>, args: &UidBatches) {
    text(out, &format!("UIDBATCHES {}", args.size));
    if let Some((first, last)) = args.range {
        text(out, &format!(" {first}:{last}"));
    }
}

pub(super) fn set_quotas() -> impl Strategy<Value = SetQuota> {
    let known = subsequence(&Resource::ALL[..], 0..=4);
    (octets(), known, option::of("[A-Z]{12}"), 0u64..1 << 63).prop_map(|(root, known, unknown, limit)| {
        let unknown = unknown.map(|name| Err(UnknownResource(name)));
        SetQuota { root, limits: known.into_iter().map(Ok).chain(unknown).map(|name| (name, limit)).collect() }
    })
}

pub(super) fn all_batches() -> impl Strategy<Value = UidBatches> {
    (1u32.., option::of((1u32.., 1u32..))).prop_map(|(size, range)| UidBatches { size, range })
}

proptest! {
    #[test]
    fn quota_lines_are_read_the_same(
        roots in vec("[a-z#/ \"ü]{0,9}", 0..4),
        resources in subsequence(&Resource::ALL[..], 0..=4),
        (used, limit) in (any::<u64>(), any::<u64>()),
        mailbox in mailboxes(),
    ) {
        let text = |item: Option<Item>| match item {
            Some(Item::Word(word)) => word.into_bytes(),
            Some(Item::Text(text)) => text,
            other => panic!("no astring: {other:?}"),
        };
        let usages: Vec<_> = resources.iter().map(|resource| ResourceUsage { resource: *resource, used, limit }).collect();
        let expected = resources.iter().flat_map(|resource| [word(resource.wire()), word(used), word(limit)]).collect();
        let root = roots.first().map_or("", String::as_str);
        let mut out = Vec::new();
        quota::write_quota(&mut out, root, &usages);
        let mut items = read(&out).into_iter();
        prop_assert_eq!(items.next(), Some(word("QUOTA")));
        prop_assert_eq!(text(items.next()), root.as_bytes());
        prop_assert_eq!((items.next(), items.next()), (Some(Item::List(expected)), None));

        let (dialect, mailbox) = (Dialect::default(), mailbox.expect("good"));
        let mut out = Vec::new();
        quota::write_quota_root(&mut out, &mailbox, &roots.iter().map(String::as_str).collect::<Vec<_>>(), dialect);
        let mut items = read(&out).into_iter();
        prop_assert_eq!(items.next(), Some(word("QUOTAROOT")));
        prop_assert_eq!(dialect.mailbox_name(&text(items.next())), Ok(mailbox));
        for root in &roots {
            prop_assert_eq!(text(items.next()), root.as_bytes());
        }
        prop_assert_eq!(items.next(), None);
    }

    #[test]
    fn batches_are_read_the_same(batches in vec((1u32.., 1u32..), 0..5)) {
        let mut out = Vec::new();
        uid_batches::write_line(&mut out, "A1", batches.iter().copied());
        let mut expected = vec![word("UIDBATCHES"), Item::List(vec![word("TAG"), quoted("A1")])];
        let set: Vec<_> = batches.iter().map(|(high, low)| format!("{high}:{low}")).collect();
        expected.extend((!set.is_empty()).then(|| word(set.join(","))));
        prop_assert_eq!(read(&out), expected);
    }
}
