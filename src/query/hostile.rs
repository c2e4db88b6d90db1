//! For tests: mailboxes made to hurt, and random ones. Each is threaded within its time, and no message is lost.

use std::time::Duration;

use proptest::prelude::*;

use super::by_letter::{Known, threaded};
use crate::message::processor_time;
use crate::types::{ThreadAlgorithm, ThreadNode};

/// What one mailbox of a hundred thousand messages may cost the processor, in a debug build at opt-level 1.
const ALLOWED: Duration = Duration::from_secs(2);

/// Complains when the forest does not tell each message once, or is no forest.
pub(super) fn check(count: usize, forest: &[ThreadNode]) -> Result<(), String> {
    let mut numbers: Vec<u32> = forest.iter().filter_map(|node| node.number).collect();
    numbers.sort_unstable();
    if !numbers.iter().copied().eq(1..=count as u32) {
        return Err(format!("{count} messages went in, {} numbers came out", numbers.len()));
    }
    let mut before = None;
    for (at, node) in forest.iter().enumerate() {
        if node.depth > before.map_or(0, |depth| depth + 1) {
            return Err(format!("place {at} is too deep"));
        }
        // What is missing stands at the top only, and holds two at least.
        if node.number.is_none() {
            let below = forest[at + 1..].iter().take_while(|next| next.depth > node.depth);
            if node.depth > 0 || below.filter(|next| next.depth == 1).count() < 2 {
                return Err(format!("place {at} should not be there"));
            }
        }
        before = Some(node.depth);
    }
    Ok(())
}

fn survive(name: &str, messages: &[Known]) {
    for algorithm in ThreadAlgorithm::ALL {
        let begun = processor_time();
        let forest = threaded(algorithm, messages);
        let spent = processor_time() - begun;
        assert_eq!(check(messages.len(), &forest), Ok(()), "{name} {algorithm:?}");
        assert!(spent < ALLOWED, "{name} {algorithm:?}: {spent:?}");
    }
}

const MANY: u64 = 100_000;

/// Numbers that look as hashes do.
fn id(n: u64) -> u64 {
    (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Message `n` of a mailbox, with references to others by their number.
fn message(n: u64, references: impl IntoIterator<Item = u64>) -> Known {
    Known {
        arrival: n as i64,
        sent: Some(n as i64),
        subject: format!("subject {n}"),
        is_reply: n % 2 == 1,
        own_id: Some(id(n)),
        references: references.into_iter().map(id).collect(),
        in_reply_to: None,
    }
}

fn mailbox(of: impl Fn(u64) -> Known) -> Vec<Known> {
    (0..MANY).map(of).collect()
}

/// A permutation of the numbers below [`MANY`].
fn shuffled(n: u64) -> u64 {
    n * 48_271 % MANY
}

#[test]
fn chains_without_end() {
    survive("down", &mailbox(|n| message(n, n.checked_sub(1))));
    survive("up", &mailbox(|n| message(n, Some(n + 1).filter(|next| *next < MANY))));
    survive("mixed", &mailbox(|n| message(shuffled(n), shuffled(n).checked_sub(1))));
    survive("with the ten nearest", &mailbox(|n| message(shuffled(n), shuffled(n).saturating_sub(10)..shuffled(n))));
    // Every second message of the chain is not there.
    survive("with holes", &mailbox(|n| message(2 * n, [(2 * n).saturating_sub(2), (2 * n).saturating_sub(1)])));
    let missing: Vec<u64> = (MANY..2 * MANY).rev().collect();
    survive("of what is not there", &[message(1, missing.clone()), message(2, missing)]);
}

#[test]
fn loops() {
    survive("a ring", &mailbox(|n| message(n, [(n + 1) % MANY])));
    survive("both neighbours", &mailbox(|n| message(n, [(n + 1) % MANY, (n + MANY - 1) % MANY])));
    survive("oneself", &mailbox(|n| message(n, [n, n, n])));
    survive("oneself between others", &mailbox(|n| message(n, [n.saturating_sub(1), n, n + 1, n])));
    // A chain whose first is over and over said to stand below its last.
    survive("the end above the start", &mailbox(|n| message(n, [MANY - 1, 0, n.saturating_sub(1)])));
}

#[test]
fn links_made_and_broken() {
    // First a message says how a long chain goes, then each of the chain says otherwise, from the middle on.
    let told: Vec<u64> = (1..MANY / 2).collect();
    let elsewhere = |n: u64| match n {
        0 => message(MANY, told.clone()),
        n if n < MANY / 2 => message(MANY / 2 - n, [(MANY / 2 - n) / 2]),
        n => message(n + MANY, [n + 2 * MANY]),
    };
    survive("each elsewhere", &mailbox(elsewhere));
    // Long chains that are hung on the end of one another, then taken off again.
    let comb = |n: u64| match n % 4 {
        0 => message(n, n.checked_sub(4)),
        1 => message(n, [n + 1]),
        2 => message(n, [MANY - 4]),
        _ => message(n, [n - 2, n - 1, MANY - 4, n - 3]),
    };
    survive("a comb", &mailbox(comb));
}

#[test]
fn many_references() {
    let some = |n: u64| (0..400).map(move |at| (n * 7919 + at * at * 31) % 1000);
    survive("known ones", &(0..1000).map(|n| message(n, some(n))).collect::<Vec<_>>());
    let others = |n: u64| (0..400).map(move |at| 1000 + n * 400 + at);
    survive("of one's own", &(0..1000).map(|n| message(n, others(n))).collect::<Vec<_>>());
    let same = || (0..400).rev();
    survive("the same", &(0..1000).map(|n| message(1000 + n, same())).collect::<Vec<_>>());
    // Far more ids than are kept.
    survive("too many", &(0..2000).map(|n| message(n, (0..1000).map(|at| MANY + n * 1000 + at))).collect::<Vec<_>>());
}

#[test]
fn all_the_same() {
    let same_id = |n| Known { own_id: Some(7), ..message(n, []) };
    survive("one id", &mailbox(same_id));
    survive("one id, and answers to it", &mailbox(|n| Known { references: vec![7], ..same_id(n) }));
    let same_subject = |n| Known { subject: "the same".into(), ..message(n, []) };
    survive("one subject", &mailbox(same_subject));
    survive("one subject, all replies", &mailbox(|n| Known { is_reply: true, ..same_subject(n) }));
    survive("one subject, no reply", &mailbox(|n| Known { is_reply: false, ..same_subject(n) }));
    let pairs = |n| Known { references: vec![id(MANY + n / 2)], ..same_subject(n) };
    survive("one subject, below those that are not there", &mailbox(pairs));
    survive("one date", &mailbox(|n| Known { sent: Some(0), arrival: 0, ..message(n, n.checked_sub(2)) }));
    survive("nothing known", &mailbox(|_| Known::default()));
}

fn some_message() -> impl Strategy<Value = Known> {
    let id = || prop_oneof![4 => 0..60u64, 1 => any::<u64>()];
    let ids = (proptest::option::of(id()), proptest::collection::vec(id(), 0..9), proptest::option::of(id()));
    (any::<i64>(), any::<Option<i64>>(), "\\PC{0,3}", any::<bool>(), ids).prop_map(
        |(arrival, sent, subject, is_reply, (own_id, references, in_reply_to))| Known {
            arrival,
            sent,
            subject,
            is_reply,
            own_id,
            references,
            in_reply_to,
        },
    )
}

proptest! {
    #[test]
    fn no_garbage_loses_a_message(messages in proptest::collection::vec(some_message(), 0..60)) {
        for algorithm in ThreadAlgorithm::ALL {
            prop_assert_eq!(check(messages.len(), &threaded(algorithm, &messages)), Ok(()), "{:?}", algorithm);
        }
    }
}
