//! UIDBATCHES: the selected mailbox cut into pieces of so many messages (RFC 10022).

/// The UIDBATCHES command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UidBatches {
    /// Messages in each batch, at least 1.
    pub size: u32,
    /// Only these batches, counted from the newest, which is 1. As written: a range written backwards is refused
    /// with a code of its own (RFC 10022 §3.1), so it is no syntax error.
    pub range: Option<(u32, u32)>,
}
