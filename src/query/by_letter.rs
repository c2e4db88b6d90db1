//! For tests: THREAD as RFC 5256 §3 has it, word for word and slowly, to compare the quick way with; and small
//! mailboxes whose threads are known.

use proptest::prelude::*;

use super::Collation;
use super::thread::{ThreadFacts, Threader};
use crate::types::{ThreadAlgorithm, ThreadNode};

/// The facts of a message, owned.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub arrival: i64,
    pub sent: Option<i64>,
    pub subject: String,
    pub is_reply: bool,
    pub own_id: Option<u64>,
    pub references: Vec<u64>,
    pub in_reply_to: Option<u64>,
}

impl Known {
    fn date(&self) -> i64 {
        self.sent.unwrap_or(self.arrival)
    }

    fn key(&self) -> String {
        Collation::default().key(&self.subject)
    }
}

/// The quick way. Messages are numbered from 1.
pub(super) fn threaded(algorithm: ThreadAlgorithm, messages: &[Known]) -> Vec<ThreadNode> {
    let mut threader = Threader::new(algorithm, Collation::default());
    for (known, number) in messages.iter().zip(1..) {
        let facts = ThreadFacts {
            arrival: known.arrival,
            sent: known.sent,
            subject: &known.subject,
            is_reply: known.is_reply,
            own_id: known.own_id,
            references: &known.references,
            in_reply_to: known.in_reply_to,
        };
        threader.add(number, &facts);
    }
    threader.finish()
}

/// One node, and which of the messages it is; a dummy is none of them.
#[derive(Debug, Default)]
struct Node {
    message: Option<usize>,
    parent: Option<usize>,
    children: Vec<usize>,
}

struct Tree<'a> {
    messages: &'a [Known],
    nodes: Vec<Node>,
}

/// The node all threads stand below.
const ROOT: usize = 0;

impl Tree<'_> {
    fn new_node(&mut self, message: Option<usize>) -> usize {
        self.nodes.push(Node { message, ..Node::default() });
        self.nodes.len() - 1
    }

    fn message(&self, node: usize) -> Option<&Known> {
        self.nodes[node].message.map(|message| &self.messages[message])
    }

    fn is_dummy(&self, node: usize) -> bool {
        self.nodes[node].message.is_none()
    }

    fn is_reply(&self, node: usize) -> bool {
        self.message(node).is_some_and(|known| known.is_reply)
    }

    fn is_descendant(&self, node: usize, of: usize) -> bool {
        std::iter::successors(Some(node), |at| self.nodes[*at].parent).any(|at| at == of)
    }

    fn unlink(&mut self, child: usize) {
        if let Some(parent) = self.nodes[child].parent.take() {
            self.nodes[parent].children.retain(|other| *other != child);
        }
    }

    fn link(&mut self, parent: usize, child: usize) {
        self.unlink(child);
        self.nodes[child].parent = Some(parent);
        self.nodes[parent].children.push(child);
    }

    /// "Do not create a parent/child link if creating that link would introduce a loop."
    fn link_unless_loop(&mut self, parent: usize, child: usize) {
        if !self.is_descendant(parent, child) {
            self.link(parent, child);
        }
    }

    // (1)
    fn link_all(&mut self) {
        let mut ids: Vec<(u64, usize)> = Vec::new();
        let mut nodes = Vec::new();
        for (at, known) in self.messages.iter().enumerate() {
            let node = self.new_node(Some(at));
            nodes.push(node);
            if let Some(id) = known.own_id.filter(|id| ids.iter().all(|(other, _)| other != id)) {
                ids.push((id, node));
            }
        }
        for (known, node) in self.messages.iter().zip(nodes) {
            let parent = known.in_reply_to.into_iter().collect();
            let references = if known.references.is_empty() { parent } else { known.references.clone() };
            let mut chain = Vec::new();
            for id in references {
                let found = ids.iter().find(|(other, _)| *other == id).map(|(_, node)| *node);
                chain.push(found.unwrap_or_else(|| {
                    let dummy = self.new_node(None);
                    ids.push((id, dummy));
                    dummy
                }));
            }
            for pair in chain.windows(2) {
                if self.nodes[pair[1]].parent.is_none() {
                    self.link_unless_loop(pair[0], pair[1]);
                }
            }
            self.unlink(node);
            if let Some(last) = chain.last() {
                self.link_unless_loop(*last, node);
            }
        }
    }

    // (2)
    fn gather(&mut self) {
        for node in 1..self.nodes.len() {
            if self.nodes[node].parent.is_none() {
                self.link(ROOT, node);
            }
        }
    }

    // (3), again and again until nothing changes: the RFC does not say in which order nodes are visited.
    fn prune(&mut self) {
        loop {
            let found = (1..self.nodes.len()).find(|node| {
                let Node { message, parent, children } = &self.nodes[*node];
                let is_below_root = *parent == Some(ROOT);
                message.is_none() && parent.is_some() && (!is_below_root || children.len() <= 1)
            });
            let Some(dummy) = found else { return };
            let parent = self.nodes[dummy].parent.expect("it stands below something");
            for child in self.nodes[dummy].children.clone() {
                self.link(parent, child);
            }
            self.unlink(dummy);
        }
    }

    /// The message that stands for a node among siblings: itself, or the first child of a dummy.
    fn head(&self, node: usize) -> usize {
        self.nodes[node].message.unwrap_or_else(|| self.head(self.nodes[node].children[0]))
    }

    fn sort_children(&mut self, node: usize) {
        let mut children = std::mem::take(&mut self.nodes[node].children);
        children.sort_by_key(|child| {
            let head = self.head(*child);
            (self.messages[head].date(), head)
        });
        self.nodes[node].children = children;
    }

    // (4)
    fn sort_threads(&mut self) {
        for node in self.nodes[ROOT].children.clone() {
            if self.is_dummy(node) {
                self.sort_children(node);
            }
        }
        self.sort_children(ROOT);
    }

    // (5)
    fn gather_subjects(&mut self) {
        let mut table: Vec<(String, usize)> = Vec::new();
        for current in self.nodes[ROOT].children.clone() {
            let subject = self.messages[self.head(current)].key();
            if subject.is_empty() {
                continue;
            }
            let Some(at) = table.iter().position(|(other, _)| *other == subject) else {
                table.push((subject, current));
                continue;
            };
            let entry = table[at].1;
            if !self.is_dummy(entry) && (self.is_dummy(current) || (self.is_reply(entry) && !self.is_reply(current))) {
                table[at].1 = current;
            }
        }
        for current in self.nodes[ROOT].children.clone() {
            let subject = self.messages[self.head(current)].key();
            let Some(at) = table.iter().position(|(other, _)| *other == subject) else { continue };
            let entry = table[at].1;
            if entry == current {
                continue;
            }
            assert_eq!(self.nodes[current].parent, Some(ROOT), "it is still a child of the root");
            if self.is_dummy(entry) && self.is_dummy(current) {
                for child in self.nodes[current].children.clone() {
                    self.link(entry, child);
                }
                self.unlink(current);
            } else if self.is_dummy(entry) || (self.is_reply(current) && !self.is_reply(entry)) {
                self.link(entry, current);
            } else {
                let dummy = self.new_node(None);
                self.link(ROOT, dummy);
                self.link(dummy, current);
                self.link(dummy, entry);
                table[at].1 = dummy;
            }
        }
    }

    // (6)
    fn sort_all(&mut self, node: usize) {
        for child in self.nodes[node].children.clone() {
            self.sort_all(child);
        }
        self.sort_children(node);
    }

    /// REFS: by the newest arrival in each thread.
    fn sort_by_newest(&mut self) {
        let mut threads = self.nodes[ROOT].children.clone();
        threads.sort_by_key(|thread| {
            let within = (0..self.nodes.len()).filter(|node| self.is_descendant(*node, *thread));
            within.filter_map(|node| self.nodes[node].message).map(|at| (self.messages[at].arrival, at)).max()
        });
        self.nodes[ROOT].children = threads;
    }

    fn write(&self, node: usize, depth: u32, out: &mut Vec<ThreadNode>) {
        for child in &self.nodes[node].children {
            out.push(ThreadNode { depth, number: self.nodes[*child].message.map(|at| at as u32 + 1) });
            self.write(*child, depth + 1, out);
        }
    }
}

fn by_references(algorithm: ThreadAlgorithm, messages: &[Known]) -> Vec<ThreadNode> {
    let mut tree = Tree { messages, nodes: vec![Node::default()] };
    tree.link_all();
    tree.gather();
    tree.prune();
    if algorithm == ThreadAlgorithm::References {
        tree.sort_threads();
        tree.gather_subjects();
    }
    tree.sort_all(ROOT);
    if algorithm == ThreadAlgorithm::Refs {
        tree.sort_by_newest();
    }
    let mut out = Vec::new();
    tree.write(ROOT, 0, &mut out);
    out
}

fn by_ordered_subject(messages: &[Known]) -> Vec<ThreadNode> {
    let mut sorted: Vec<(String, i64, u32)> =
        messages.iter().zip(1..).map(|(known, number)| (known.key(), known.date(), number)).collect();
    sorted.sort();
    let mut threads: Vec<&[(String, i64, u32)]> = sorted.chunk_by(|a, b| a.0 == b.0).collect();
    threads.sort_by_key(|thread| (thread[0].1, thread[0].2));
    let place =
        |(at, message): (usize, &(String, i64, u32))| ThreadNode { depth: u32::from(at > 0), number: Some(message.2) };
    threads.into_iter().flat_map(|thread| thread.iter().enumerate().map(place)).collect()
}

pub(super) fn by_letter(algorithm: ThreadAlgorithm, messages: &[Known]) -> Vec<ThreadNode> {
    match algorithm {
        ThreadAlgorithm::OrderedSubject => by_ordered_subject(messages),
        ThreadAlgorithm::References | ThreadAlgorithm::Refs => by_references(algorithm, messages),
    }
}

fn some_message() -> impl Strategy<Value = Known> {
    let date = || -2..4i64;
    let id = || 0..8u64;
    let subject = prop_oneof![2 => Just(""), 3 => Just("a"), 1 => Just("A"), 2 => Just("b")];
    let dates = (date(), proptest::option::of(date()));
    let ids = (
        proptest::option::weighted(0.8, id()),
        proptest::collection::vec(id(), 0..5),
        proptest::option::weighted(0.3, id()),
    );
    (dates, subject, any::<bool>(), ids).prop_map(
        |((arrival, sent), subject, is_reply, (own_id, references, in_reply_to))| Known {
            arrival,
            sent,
            subject: subject.into(),
            is_reply,
            own_id,
            references,
            in_reply_to,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn the_quick_way_is_the_rfc_way(messages in proptest::collection::vec(some_message(), 0..14)) {
        for algorithm in ThreadAlgorithm::ALL {
            prop_assert_eq!(threaded(algorithm, &messages), by_letter(algorithm, &messages), "{:?}", algorithm);
        }
    }
}

proptest! {
    // Long enough for equal dates to lose their order in a sort that does not keep it.
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn so_it_is_in_larger_mailboxes(messages in proptest::collection::vec(some_message(), 40..80)) {
        for algorithm in ThreadAlgorithm::ALL {
            prop_assert_eq!(threaded(algorithm, &messages), by_letter(algorithm, &messages), "{:?}", algorithm);
        }
    }
}

/// `2 .3 ..4 -`: a dot for each step down, a dash for a missing message.
fn shown(forest: &[ThreadNode]) -> String {
    let place = |node: &ThreadNode| {
        let number = node.number.map_or("-".to_string(), |number| number.to_string());
        format!("{}{number}", ".".repeat(node.depth as usize))
    };
    forest.iter().map(place).collect::<Vec<_>>().join(" ")
}

/// A message that arrived and was sent at `date`.
fn message(date: i64, subject: &str, own_id: u64, references: &[u64]) -> Known {
    let base = subject.trim_start_matches("Re: ");
    Known {
        arrival: date,
        sent: Some(date),
        subject: base.into(),
        is_reply: base.len() < subject.len(),
        own_id: Some(own_id),
        references: references.into(),
        in_reply_to: None,
    }
}

#[test]
fn threads_that_are_known() {
    let table: [(&str, Vec<Known>, &str, &str, &str); 11] = [
        ("nothing", vec![], "", "", ""),
        (
            "answers to answers",
            vec![message(1, "a", 1, &[]), message(2, "Re: a", 2, &[1]), message(3, "Re: a", 3, &[1, 2])],
            "1 .2 .3",
            "1 .2 ..3",
            "1 .2 ..3",
        ),
        (
            "an answer that came before, and siblings by date",
            vec![message(9, "a", 3, &[1]), message(2, "a", 2, &[1]), message(1, "a", 1, &[])],
            "3 .2 .1",
            "3 .2 .1",
            "3 .2 .1",
        ),
        (
            "siblings of a parent that is not there",
            vec![message(1, "a", 2, &[1]), message(2, "b", 3, &[1])],
            "1 2",
            "- .1 .2",
            "- .1 .2",
        ),
        (
            "a chain of those that are not there, with one at its end",
            vec![message(1, "a", 5, &[1, 2, 3])],
            "1",
            "1",
            "1",
        ),
        (
            "one that is not there in the midst of a thread",
            vec![message(1, "a", 1, &[]), message(2, "b", 4, &[1, 2, 3]), message(3, "c", 5, &[1, 2, 3])],
            "1 2 3",
            "1 .2 .3",
            "1 .2 .3",
        ),
        (
            "the second with an id is somebody else",
            vec![message(1, "a", 1, &[]), message(2, "b", 1, &[]), message(3, "c", 2, &[1])],
            "1 2 3",
            "1 .3 2",
            "2 1 .3",
        ),
        (
            "each says it answers the other",
            vec![message(1, "a", 1, &[2]), message(2, "b", 2, &[1])],
            "1 2",
            "2 .1",
            "2 .1",
        ),
        ("its own answer", vec![message(1, "a", 1, &[1, 1])], "1", "1", "1"),
        (
            "subjects put together a question and its answers, and two questions as equals",
            vec![
                message(1, "a", 1, &[]),
                message(2, "Re: A", 2, &[]),
                message(3, "b", 3, &[]),
                message(4, "b", 4, &[]),
                message(5, "", 5, &[]),
                message(6, "", 6, &[]),
            ],
            "1 .2 3 .4 5 .6",
            "1 .2 - .3 .4 5 6",
            "1 2 3 4 5 6",
        ),
        (
            "a new message brings its thread to the end of REFS only",
            vec![message(1, "a", 1, &[]), message(2, "b", 2, &[]), message(3, "Re: a", 3, &[1])],
            "1 .3 2",
            "1 .3 2",
            "2 1 .3",
        ),
    ];
    for (name, messages, by_subject, references, refs) in table {
        assert_eq!(shown(&threaded(ThreadAlgorithm::OrderedSubject, &messages)), by_subject, "{name}");
        assert_eq!(shown(&threaded(ThreadAlgorithm::References, &messages)), references, "{name}");
        assert_eq!(shown(&threaded(ThreadAlgorithm::Refs, &messages)), refs, "{name}");
    }
}

#[test]
fn refs_go_by_arrival_and_siblings_by_sent_date() {
    let mut messages =
        vec![message(1, "a", 1, &[]), message(2, "b", 2, &[]), message(3, "c", 3, &[1]), message(4, "d", 4, &[1])];
    // Written late, arrived early.
    (messages[1].arrival, messages[1].sent) = (0, Some(99));
    (messages[2].arrival, messages[2].sent) = (5, Some(50));
    assert_eq!(shown(&threaded(ThreadAlgorithm::Refs, &messages)), "2 1 .4 .3");
    // RFC 5256 §2.2: without a Date the arrival is the date.
    messages[2].sent = None;
    messages[3].sent = Some(6);
    assert_eq!(shown(&threaded(ThreadAlgorithm::Refs, &messages)), "2 1 .3 .4");
}

#[test]
fn in_reply_to_counts_without_references() {
    let mut answer = message(2, "b", 2, &[]);
    answer.in_reply_to = Some(1);
    let messages = [message(1, "a", 1, &[]), answer.clone()];
    assert_eq!(shown(&threaded(ThreadAlgorithm::References, &messages)), "1 .2");
    answer.references = vec![7];
    let messages = [message(1, "a", 1, &[]), answer];
    assert_eq!(shown(&threaded(ThreadAlgorithm::References, &messages)), "1 2");
}
