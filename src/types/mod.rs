//! The nouns of IMAP as plain data: no bytes of the wire, no disk, no clock.
//! Everything above speaks in these, so a number never changes its meaning on the way.

pub mod append;
pub mod command;
pub mod date;
pub mod fetch;
pub mod flags;
pub mod ids;
pub mod list;
pub mod mailbox_name;
pub mod metadata;
pub mod object_id;
pub mod partial_range;
pub mod pattern;
pub mod response;
pub mod search;
pub mod secret;
pub mod sets;
pub mod sort;
pub mod special_use;
pub mod status;
pub mod thread;

pub use append::{AppendHead, AppendMessage};
pub use command::{Body, Command, MailboxArgument, UseArgument};
pub use date::{Date, DateTime};
pub use fetch::{Fetch, FetchItem, Section, SectionText};
pub use flags::{Flag, FlagSet, Keyword, SystemFlag};
pub use ids::{AccountId, ContentId, MailboxId, ModSeq, Seq, Uid, UidValidity};
pub use list::{Attribute, ChildInfo, List, ListReturn, ListSelect, ListWord, Lsub};
pub use mailbox_name::{BadMailboxName, MailboxName};
pub use metadata::EntryName;
pub use object_id::ObjectId;
pub use partial_range::PartialRange;
pub use pattern::{Matcher, Pattern};
pub use response::{Code, Condition};
pub use search::{DateOf, Search, SearchKey, SearchReturn};
pub use secret::Secret;
pub use sets::{NumSet, SetBound, UidRuns};
pub use sort::{Sort, SortCriterion, SortKey};
pub use special_use::{SpecialUse, UnknownUse};
pub use status::{Status, StatusItem, StatusValue};
pub use thread::{Thread, ThreadAlgorithm, ThreadNode};
