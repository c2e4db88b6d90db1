//! For tests: real mailboxes when PILLARBOX_CORPUS names a folder of them (see `message/corpus.rs`), sorted and
//! threaded as the slow way has it.

use super::by_letter::{Known, by_letter, threaded};
use super::hostile::check;
use super::{Collation, SortFacts, Sorter};
use crate::message::{ReferenceRole, corpus_folder, describe, each_real_message, processor_time};
use crate::types::{SortCriterion, SortKey, ThreadAlgorithm};

fn known(message: &[u8], arrival: i64) -> Known {
    let description = describe(message);
    let mut known = Known {
        arrival,
        sent: description.sort.sent.map(|sent| sent.utc_secs),
        subject: description.sort.subject.clone(),
        is_reply: description.sort.is_reply,
        ..Known::default()
    };
    for (id, role) in description.reference_hashes(&[7; 16]) {
        match role {
            ReferenceRole::MessageId => known.own_id = Some(id),
            ReferenceRole::References => known.references.push(id),
            ReferenceRole::InReplyTo => known.in_reply_to = Some(id),
        }
    }
    known
}

#[test]
fn real_mailboxes() {
    let Some(corpus) = corpus_folder() else { return };
    let mut messages = Vec::new();
    each_real_message(&corpus, |_, message| messages.push(known(message, messages.len() as i64)));
    assert!(messages.len() > 7000, "{}", messages.len());
    for algorithm in ThreadAlgorithm::ALL {
        let begun = processor_time();
        let forest = threaded(algorithm, &messages);
        let spent = processor_time() - begun;
        assert_eq!(check(messages.len(), &forest), Ok(()), "{algorithm:?}");
        assert_eq!(forest, by_letter(algorithm, &messages), "{algorithm:?}");
        let threads = forest.iter().filter(|node| node.depth == 0).count();
        eprintln!("{algorithm:?}: {} messages in {threads} threads, {spent:?}", messages.len());
        assert!(threads < messages.len());
    }
    let mut sorter = Sorter::new(&[SortCriterion { reverse: false, key: SortKey::Subject }], Collation::default());
    for (known, number) in messages.iter().zip(0..) {
        sorter.add(number, &SortFacts { subject: &known.subject, ..SortFacts::default() });
    }
    let keys = sorter.finish().into_iter().map(|n| (Collation::default().key(&messages[n as usize].subject), n));
    let keys: Vec<(String, u32)> = keys.collect();
    assert!(keys.len() == messages.len() && keys.is_sorted());
}
