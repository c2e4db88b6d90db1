//! THREAD (RFC 5256): messages are added in the order of the mailbox with what is known of them, and come out as
//! the places of a forest. Each message that went in comes out once, whatever it refers to. This file has what all
//! algorithms share, and ORDEREDSUBJECT; the others lie in `references.rs`.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::num::NonZeroU64;

use super::Collation;
use super::references::{Links, gather_subjects};
use crate::types::{ThreadAlgorithm, ThreadNode};

/// What is known of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ThreadFacts<'a> {
    /// INTERNALDATE in seconds since 1970, UTC.
    pub arrival: i64,
    /// The Date field in seconds since 1970, UTC; `None` when it cannot be read.
    pub sent: Option<i64>,
    /// The base subject. REFS does not look at it.
    pub subject: &'a str,
    /// The subject is that of a reply or forward. Only REFERENCES looks at it.
    pub is_reply: bool,
    /// The message's own id under its keyed hash. ORDEREDSUBJECT does not look at this nor at the next two.
    pub own_id: Option<u64>,
    /// The ids of References in the order of the field.
    pub references: &'a [u64],
    /// The first id of In-Reply-To; counts when there is none in References.
    pub in_reply_to: Option<u64>,
}

/// Threads messages. Memory: some 80 octets for each, and some 60 for each message id, of which `references.rs`
/// keeps so many and no more.
#[derive(Debug)]
pub struct Threader {
    algorithm: ThreadAlgorithm,
    collation: Collation,
    messages: Vec<Message>,
    links: Links,
    subjects: RandomState,
    /// The collation's key of one subject, kept to spare allocations.
    folded: String,
}

/// What is kept of a message that was added.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message {
    number: u32,
    pub is_reply: bool,
    /// The sent date, or what stands for it.
    sent: i64,
    arrival: i64,
    /// The subject under a hash that nobody outside can foresee; `None` for the empty one.
    pub subject: Option<NonZeroU64>,
}

impl Threader {
    pub fn new(algorithm: ThreadAlgorithm, collation: Collation) -> Threader {
        Threader {
            algorithm,
            collation,
            messages: Vec::new(),
            links: Links::default(),
            subjects: RandomState::new(),
            folded: String::new(),
        }
    }

    /// Takes in a message by the number it is to be told by, a sequence number or a UID. They come in ascending
    /// order: of several with the same message id the first has it.
    pub fn add(&mut self, number: u32, facts: &ThreadFacts<'_>) {
        if looks_at_references(self.algorithm) {
            // RFC 5256 §3: In-Reply-To counts when References has no id.
            let parent = facts.in_reply_to.as_slice();
            self.links.add(facts.own_id, if facts.references.is_empty() { parent } else { facts.references });
        }
        let subject = if looks_at_subjects(self.algorithm) { self.subject(facts.subject) } else { None };
        // RFC 5256 §2.2: without a sent date the internal date is used.
        let sent = facts.sent.unwrap_or(facts.arrival);
        self.messages.push(Message { number, is_reply: facts.is_reply, sent, arrival: facts.arrival, subject });
    }

    fn subject(&mut self, text: &str) -> Option<NonZeroU64> {
        self.folded.clear();
        self.collation.key_onto(text, &mut self.folded);
        let is_empty = self.folded.is_empty();
        // 0 is taken for 1, which of 2^64 is as good as none.
        (!is_empty).then(|| NonZeroU64::new(self.subjects.hash_one(&self.folded)).unwrap_or(NonZeroU64::MIN))
    }

    /// The forest.
    pub fn finish(self) -> Vec<ThreadNode> {
        let Threader { algorithm, messages, links, .. } = self;
        let mut by_sent: Vec<u32> = (0..messages.len() as u32).collect();
        by_sent.sort_unstable_by_key(|at| {
            let message = &messages[*at as usize];
            (message.sent, message.number)
        });
        let mut threads = match algorithm {
            ThreadAlgorithm::OrderedSubject => by_subject(&messages, &by_sent),
            ThreadAlgorithm::References | ThreadAlgorithm::Refs => links.finish(),
        };
        if algorithm == ThreadAlgorithm::References {
            gather_subjects(&mut threads, &messages, &by_sent);
        }
        let mut places = threads.spread(&by_sent);
        drop((threads, by_sent));
        if algorithm == ThreadAlgorithm::Refs {
            places = newest_last(&places, &messages);
        }
        let node = |place: Place| ThreadNode {
            depth: place.depth,
            number: messages.get(place.of as usize).map(|message| message.number),
        };
        places.into_iter().map(node).collect()
    }
}

/// Whether an algorithm needs the message ids, which are stored apart.
pub const fn looks_at_references(algorithm: ThreadAlgorithm) -> bool {
    matches!(algorithm, ThreadAlgorithm::References | ThreadAlgorithm::Refs)
}

/// Whether an algorithm needs the base subjects.
pub const fn looks_at_subjects(algorithm: ThreadAlgorithm) -> bool {
    matches!(algorithm, ThreadAlgorithm::References | ThreadAlgorithm::OrderedSubject)
}

/// What stands below what. Messages are numbered in the order they were added, from 0; those that are missing and
/// hold others together follow, and stand below nothing.
#[derive(Debug)]
pub(super) struct Threads {
    /// For each message what it stands below.
    pub above: Vec<Option<u32>>,
    /// How many are missing.
    pub missing: u32,
}

/// A message or a missing one at its depth in the forest.
#[derive(Debug, Clone, Copy)]
struct Place {
    depth: u32,
    of: u32,
}

impl Threads {
    pub fn is_missing(&self, of: u32) -> bool {
        of as usize >= self.above.len()
    }

    /// The places of the forest, siblings in the order given, a missing message by the first of its children.
    // RFC 5256 §3, REFERENCES (6). Filling all lists from one sorted list sorts each of them.
    fn spread(&self, order: &[u32]) -> Vec<Place> {
        let mut lists = Lists::new(self.above.len() + self.missing as usize);
        for &message in order {
            let above = self.above[message as usize];
            if let Some(missing) = above.filter(|of| self.is_missing(*of) && lists.is_empty(*of)) {
                lists.append(None, missing);
            }
            lists.append(above, message);
        }
        lists.walk()
    }
}

/// Children as linked lists, and one of the roots.
struct Lists {
    roots: List,
    children: Vec<List>,
    next: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

const NONE: u32 = u32::MAX;

impl Lists {
    fn new(count: usize) -> Lists {
        let empty = List { first: NONE, last: NONE };
        Lists { roots: empty, children: vec![empty; count], next: vec![NONE; count] }
    }

    fn is_empty(&self, of: u32) -> bool {
        self.children[of as usize].first == NONE
    }

    fn append(&mut self, parent: Option<u32>, child: u32) {
        let list = parent.map_or(&mut self.roots, |parent| &mut self.children[parent as usize]);
        if list.first == NONE {
            list.first = child;
        } else {
            self.next[list.last as usize] = child;
        }
        list.last = child;
    }

    /// Each thread from its root down, a parent before its children.
    fn walk(&self) -> Vec<Place> {
        let mut places = Vec::with_capacity(self.next.len());
        let mut path: Vec<u32> = Vec::new();
        let mut at = self.roots.first;
        loop {
            if at != NONE {
                places.push(Place { depth: path.len() as u32, of: at });
                path.push(at);
                at = self.children[at as usize].first;
            } else if let Some(done) = path.pop() {
                at = self.next[done as usize];
            } else {
                return places;
            }
        }
    }
}

// RFC 5256 §3, ORDEREDSUBJECT: the first by date of each subject is a root, the others are its children. What has
// no subject is one thread too.
fn by_subject(messages: &[Message], by_sent: &[u32]) -> Threads {
    let mut first: HashMap<Option<NonZeroU64>, u32> = HashMap::new();
    let mut above = vec![None; messages.len()];
    for &at in by_sent {
        let first = *first.entry(messages[at as usize].subject).or_insert(at);
        above[at as usize] = (first != at).then_some(first);
    }
    Threads { above, missing: 0 }
}

/// Threads in the order of when the newest message of each arrived.
// draft-ietf-morg-inthread-01, REFS: by INTERNALDATE, so that a new message brings its thread to the end; within a
// thread the sent date decides as in REFERENCES.
fn newest_last(places: &[Place], messages: &[Message]) -> Vec<Place> {
    let mut threads: Vec<((i64, u32), &[Place])> = places
        .chunk_by(|_, next| next.depth > 0)
        .map(|thread| {
            let arrivals = thread.iter().filter_map(|place| messages.get(place.of as usize));
            let newest = arrivals.map(|message| (message.arrival, message.number)).max();
            (newest.unwrap_or_default(), thread)
        })
        .collect();
    threads.sort_unstable_by_key(|(newest, _)| *newest);
    threads.into_iter().flat_map(|(_, thread)| thread).copied().collect()
}
