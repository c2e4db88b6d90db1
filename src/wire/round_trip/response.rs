//! Response codes read back: whatever they hold, the line stays one line, the code ends where it should, and its
//! arguments are what was given.

use proptest::option;
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::answer::{Item, quoted, read, word};
use super::common::object_ids;
use crate::types::{Code, Condition, EventName, Progress, Uid};
use crate::wire::response::{StatusResponse, write_status};

/// A code and the items that are to come back for it.
fn codes() -> impl Strategy<Value = (Code, Vec<Item>)> {
    let bare = [
        Code::NotSaved,
        Code::UnknownCte,
        Code::CompressionActive,
        Code::NotificationOverflow,
        Code::UseAttr,
        Code::HasChildren,
        Code::UidRequired,
        Code::TooFew,
        Code::TooMany,
    ];
    let progress = (option::of("[A-Za-z0-9.]{1,6}"), any::<u32>(), option::of(1u32..)).prop_map(|(tag, done, goal)| {
        let done_told = goal.map_or(done, |goal| done.min(goal - 1));
        let nil = |n: Option<u32>| n.map_or(word("NIL"), word);
        let told = vec![tag.as_deref().map_or(word("NIL"), quoted), word(done_told), nil(goal)];
        (Code::InProgress { tag, progress: Some(Progress { done, goal }) }, vec![Item::List(told)])
    });
    prop_oneof![
        proptest::sample::select(bare.to_vec()).prop_map(|code| (code, vec![])),
        progress,
        subsequence(&EventName::ALL[..], 1..5).prop_map(|names| {
            let told = names.iter().map(|name| word(name.wire())).collect();
            (Code::BadEvent(names), vec![Item::List(told)])
        }),
        object_ids().prop_map(|id| (Code::MailboxId(id.clone()), vec![Item::List(vec![word(id)])])),
        "[A-Za-z0-9.]{1,6}".prop_map(|tag| (Code::NoUpdate(tag.clone()), vec![quoted(&tag)])),
        (1u32.., option::of(1u32..)).prop_map(|(limit, lowest)| {
            let told = [limit].into_iter().chain(lowest).map(word).collect();
            (Code::MessageLimit { limit, lowest: lowest.map(Uid) }, told)
        }),
    ]
}

fn line(code: &Code) -> String {
    let mut out = Vec::new();
    write_status(&mut out, &StatusResponse { tag: None, condition: Condition::Ok, code: Some(code), text: "text" });
    String::from_utf8(out).expect("ASCII")
}

proptest! {
    #[test]
    fn a_code_is_read_the_same((code, expected) in codes()) {
        let line = line(&code);
        let inner = line.strip_prefix("* OK [").and_then(|rest| rest.strip_suffix("] text\r\n"));
        let items = read(format!("* {}\r\n", inner.expect("a code")).as_bytes());
        prop_assert_eq!(&items[0], &word(code.word()));
        prop_assert_eq!(&items[1..], &expected[..]);
    }

    #[test]
    fn no_url_breaks_a_line(url in any::<String>()) {
        let line = line(&Code::BadUrl(url.clone()));
        let inner = line.strip_prefix("* OK [BADURL ").and_then(|rest| rest.strip_suffix("] text\r\n")).expect("a code");
        prop_assert!(inner.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b']'), "{}", line);
        if url.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b']') {
            prop_assert_eq!(inner, url);
        }
    }
}
