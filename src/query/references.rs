//! THREAD=REFERENCES (RFC 5256 §3): who answers whom, by message ids and then by subjects. REFS is the same without
//! the subjects. The steps are those of the RFC, in its order, each in time that grows as its input.

use std::collections::HashMap;
use std::num::NonZeroU64;

use super::forest::Forest;
use super::thread::{Message, Threads};

/// Message ids that are kept besides `IDS_PER_MESSAGE`. A reference to one more, that no message before had or
/// mentioned, is passed over: messages that only it would join stay apart, and all are still told.
const SPARE_IDS: usize = 1_000_000;
/// Message ids that are kept for each message; real mailboxes mention one or two.
const IDS_PER_MESSAGE: usize = 4;

/// Messages linked by their ids: step (1).
#[derive(Debug, Default)]
pub(super) struct Links {
    /// Messages and ids without a message.
    forest: Forest,
    /// By node the message that it is; `None` for an id only mentioned.
    messages: Vec<Option<u32>>,
    nodes: HashMap<u64, u32>,
    count: u32,
}

impl Links {
    /// Takes in the next message: its own id, and those it refers to, the nearest last.
    pub fn add(&mut self, own_id: Option<u64>, references: &[u64]) {
        let node = self.of_message(own_id);
        // (1) (A): each reference is the parent of the next, where that has none yet and no loop comes of it.
        let mut last = None;
        for id in references {
            let Some(next) = self.of_id(*id) else { continue };
            if let (Some(last), None) = (last, self.forest.parent(next)) {
                self.forest.adopt(next, last);
            }
            last = Some(next);
        }
        // (1) (B): the last is the message's parent, whatever was believed before; again without loops.
        if self.forest.parent(node) != last {
            self.forest.orphan(node);
            if let Some(last) = last {
                self.forest.adopt(node, last);
            }
        }
    }

    /// The node of a new message. Who comes later with the same id, or has none, is known by none.
    fn of_message(&mut self, own_id: Option<u64>) -> u32 {
        let known = own_id.and_then(|id| self.nodes.get(&id).copied());
        let node = known.filter(|node| self.messages[*node as usize].is_none()).unwrap_or_else(|| {
            let node = self.new_node();
            if let (Some(id), None) = (own_id, known) {
                self.nodes.insert(id, node);
            }
            node
        });
        self.messages[node as usize] = Some(self.count);
        self.count += 1;
        node
    }

    /// The node of an id that is referred to; `None` when it is new and there are too many.
    fn of_id(&mut self, id: u64) -> Option<u32> {
        if let Some(node) = self.nodes.get(&id) {
            return Some(*node);
        }
        if self.nodes.len() >= SPARE_IDS + IDS_PER_MESSAGE * self.count as usize {
            return None;
        }
        let node = self.new_node();
        self.nodes.insert(id, node);
        Some(node)
    }

    fn new_node(&mut self) -> u32 {
        self.messages.push(None);
        self.forest.add()
    }

    /// Steps (2) and (3): what is left when ids without a message are gone. Those between messages go, their
    /// children move up; a topmost one stays if it holds more than one thread together.
    pub fn finish(self) -> Threads {
        let Links { forest, messages, nodes, count } = self;
        drop(nodes);
        let mut parents = forest.into_parents();
        let mut held = vec![0u32; parents.len()];
        for node in (0..parents.len()).filter(|node| messages[*node].is_some()) {
            let top = nearest(&mut parents, &messages, node);
            parents[node] = top;
            if let Some(top) = top.filter(|top| messages[*top as usize].is_none()) {
                held[top as usize] += 1;
            }
        }
        // Numbers for those that stay.
        let mut missing = 0;
        let stays: Vec<Option<u32>> = held
            .into_iter()
            .map(|children| {
                let number = (children > 1).then_some(count + missing);
                missing += u32::from(number.is_some());
                number
            })
            .collect();
        let mut above = vec![None; count as usize];
        for (message, parent) in messages.iter().zip(parents) {
            let parent = parent.and_then(|parent| messages[parent as usize].or(stays[parent as usize]));
            if let Some(message) = message {
                above[*message as usize] = parent;
            }
        }
        Threads { above, missing }
    }
}

/// The nearest message above a node, else the topmost id without a message, else nothing. Ids that were passed on
/// the way point to it from then on, so that no way is gone twice.
fn nearest(parents: &mut [Option<u32>], messages: &[Option<u32>], node: usize) -> Option<u32> {
    let mut top = parents[node]?;
    while let (None, Some(above)) = (messages[top as usize], parents[top as usize]) {
        top = above;
    }
    let mut at = parents[node];
    while let Some(passed) = at.filter(|at| *at != top) {
        at = parents[passed as usize].replace(top);
    }
    Some(top)
}

/// Steps (4) and (5): threads with the same subject become one.
pub(super) fn gather_subjects(threads: &mut Threads, messages: &[Message], by_sent: &[u32]) {
    let roots = roots(threads, messages, by_sent);
    let is_reply = |of: u32| messages.get(of as usize).is_some_and(|message| message.is_reply);
    // (5) (B): for each subject the thread that the others join: a missing message before any other, then what is no
    // reply, then the earliest.
    let mut table: HashMap<NonZeroU64, u32> = HashMap::new();
    for root in &roots {
        let chosen = table.entry(root.subject).or_insert(root.of);
        if !threads.is_missing(*chosen) && (threads.is_missing(root.of) || (is_reply(*chosen) && !is_reply(root.of))) {
            *chosen = root.of;
        }
    }
    // (5) (C)
    let mut joined: HashMap<u32, u32> = HashMap::new();
    for root in roots {
        let Some(chosen) = table.get_mut(&root.subject).filter(|chosen| **chosen != root.of) else { continue };
        if threads.is_missing(root.of) {
            // The one chosen is missing too, and takes over the children.
            joined.insert(root.of, *chosen);
            continue;
        }
        if !threads.is_missing(*chosen) && (!is_reply(root.of) || is_reply(*chosen)) {
            // Neither answers the other: both become children of a new one that is missing.
            let new = messages.len() as u32 + threads.missing;
            threads.missing += 1;
            threads.above[*chosen as usize] = Some(new);
            *chosen = new;
        }
        threads.above[root.of as usize] = Some(*chosen);
    }
    for above in &mut threads.above {
        *above = above.map(|of| joined.get(&of).copied().unwrap_or(of));
    }
}

/// The head of a thread.
struct Root {
    of: u32,
    /// That of the message, or of the first child of a missing one.
    subject: NonZeroU64,
}

// (4), (5) (B) (i) and (ii): the heads in the order of their sent dates, without those that have no subject.
fn roots(threads: &Threads, messages: &[Message], by_sent: &[u32]) -> Vec<Root> {
    let mut is_known = vec![false; threads.missing as usize];
    let mut roots = Vec::new();
    for &message in by_sent {
        let of = match threads.above[message as usize] {
            None => message,
            Some(above) if threads.is_missing(above) => {
                if std::mem::replace(&mut is_known[above as usize - messages.len()], true) {
                    continue;
                }
                above
            }
            Some(_) => continue,
        };
        if let Some(subject) = messages[message as usize].subject {
            roots.push(Root { of, subject });
        }
    }
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_without_a_message_are_bounded_and_known_ones_still_count() {
        let mut links = Links::default();
        links.add(Some(0), &[]);
        let own = |n: u64| (n + 1) << 32;
        for message in 0..1200 {
            let strangers: Vec<u64> = (1..1000).map(|at| own(message) + at).collect();
            links.add(Some(own(message)), &[&strangers[..], &[0]].concat());
        }
        let bound = SPARE_IDS + IDS_PER_MESSAGE * 1201;
        assert!((SPARE_IDS..=bound + 1201).contains(&links.nodes.len()), "{}", links.nodes.len());
        assert_eq!(links.messages.len(), links.nodes.len());
        assert_eq!(links.finish().above[1..], [Some(0); 1200]);
    }
}
