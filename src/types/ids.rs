//! The numbers of IMAP, each its own type, so that none is ever taken for another.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A message's unique identifier in its mailbox, 1 to 2^32-1 (RFC 3501 §2.3.1.1).
    Uid(u32)
);
number!(
    /// A message sequence number as one session counts it, from 1 (RFC 3501 §2.3.1.2).
    Seq(u32)
);
number!(
    /// What makes a UID valid for ever together with the mailbox name, never 0 (RFC 3501 §2.3.1.1).
    UidValidity(u32)
);
number!(
    /// A modification sequence, 1 to 2^63-1; one counter per account, one value per order (RFC 7162 §3.1).
    ModSeq(u64)
);
number!(
    /// A mailbox within its account; kept over RENAME, never given out twice.
    MailboxId(i64)
);
number!(
    /// A stored message's content within its account; shared by copies, never given out twice.
    ContentId(u32)
);
number!(
    /// An account of this server; never given out twice.
    AccountId(i64)
);

impl ModSeq {
    /// The highest modseq of a mailbox nothing has happened in yet: never 0 (RFC 7162 §3.1.2.1).
    pub const FIRST: ModSeq = ModSeq(1);
}
