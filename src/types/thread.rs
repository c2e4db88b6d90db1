//! THREAD: a search whose answer is a forest (RFC 5256).

use super::SearchKey;

/// THREAD and UID THREAD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// The answer holds UIDs.
    pub uid: bool,
    pub algorithm: ThreadAlgorithm,
    /// The charset of all strings in the key, as written.
    pub charset: String,
    pub key: SearchKey,
}

/// How messages are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ThreadAlgorithm {
    OrderedSubject,
    References,
    /// REFERENCES without looking at subjects; threads in the order of their newest message.
    Refs,
}

impl ThreadAlgorithm {
    /// All of them.
    pub const ALL: [ThreadAlgorithm; 3] =
        [ThreadAlgorithm::OrderedSubject, ThreadAlgorithm::References, ThreadAlgorithm::Refs];

    /// The word as written on the wire.
    pub const fn wire(self) -> &'static str {
        match self {
            ThreadAlgorithm::OrderedSubject => "ORDEREDSUBJECT",
            ThreadAlgorithm::References => "REFERENCES",
            ThreadAlgorithm::Refs => "REFS",
        }
    }
}

/// One place in a forest. A forest is a list of them, each thread from its root down, a message before its
/// replies: `[0 a, 1 b, 2 c, 1 d, 0 e]` is `a` with the replies `b` and `d`, `c` below `b`, and `e` alone.
/// So a chain of any depth is a flat list, and nothing that walks it needs to recurse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadNode {
    /// 0 for a root; at most one more than the node before it.
    pub depth: u32,
    /// The message's number or UID; `None` for a message that is not there but holds its replies together.
    pub number: Option<u32>,
}
