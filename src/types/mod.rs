//! The nouns of IMAP as plain data: no bytes of the wire, no disk, no clock.
//! Everything above speaks in these, so a number never changes its meaning on the way.

pub mod flags;
pub mod ids;
pub mod mailbox_name;
pub mod secret;
pub mod sets;

pub use flags::{Flag, FlagSet, Keyword, SystemFlag};
pub use ids::{AccountId, ContentId, MailboxId, ModSeq, Seq, Uid, UidValidity};
pub use mailbox_name::{BadMailboxName, MailboxName};
pub use secret::Secret;
pub use sets::{NumSet, SetBound, UidRuns};
