//! UIDBATCHES (RFC 10022): where to cut the selected mailbox into pieces of so many messages, newest first. The k-th
//! UID is found by counting bits, so asking again costs nothing worth refusing.

use crate::imap::answer::{Answer, Done, Stop, no};
use crate::imap::session::Selected;
use crate::types::{Code, Condition, UidBatches};
use crate::wire::uid_batches::write_line;

/// Smaller batches are refused. RFC 10022 §3.1.1: at most 500.
const LEAST: u32 = 10;
/// Most ranges in one answer; with the smallest batches that is more than 100,000 messages' worth (RFC 10022 §3.1.2).
const MOST_RANGES: u32 = 100_000;

pub fn uid_batches(cx: Selected<'_>, tag: &str, arguments: UidBatches) -> Answer {
    if arguments.size < LEAST {
        return Err(no(Code::TooFew, format!("a batch has {LEAST} messages at least")));
    }
    if arguments.range.is_some_and(|(first, last)| first > last) {
        return Err(Stop::Refused {
            condition: Condition::Bad,
            code: Some(Code::ClientBug),
            text: "expected the range of batches in rising order".into(),
        });
    }
    let membership = cx.selection.view.membership();
    let count = membership.count();
    let batches = count.div_ceil(arguments.size);
    let (first, last) = arguments.range.unwrap_or((1, batches));
    let last = last.min(batches);
    if last.saturating_sub(first) >= MOST_RANGES {
        return Err(no(Code::TooMany, format!("ask for {MOST_RANGES} batches at most")));
    }
    // Batch n ends where batch n - 1 began; the last one reaches down to 1, which tells that it is the last.
    let highest = |batch: u32| membership.uid(count - (batch - 1) * arguments.size).unwrap_or(1);
    let lowest = |batch: u32| if batch == batches { 1 } else { highest(batch + 1) + 1 };
    write_line(&mut cx.channel.out, tag, (first..=last).map(|batch| (highest(batch), lowest(batch))));
    Ok(Done::default())
}
