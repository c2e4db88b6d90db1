//! Search matching, sorting, threading and collations as pure functions over facts about messages: the mail store
//! reads, this room decides.

mod collation;
mod fold;
mod forest;
mod placing;
mod references;
mod search;
mod sort;
mod text;
mod thread;

#[cfg(test)]
mod by_letter;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod hostile;

pub use collation::Collation;
pub use fold::{fold, fold_onto};
pub use placing::Placing;
pub use search::{HotFacts, Moment, Question, Reading, SpanFacts, Test, Unanswerable, Verdict, hot, of_date};
pub use sort::{SortColumn, SortFacts, Sorter, sort_columns};
pub use text::{HeaderText, Needle, TextReader};
pub use thread::{ThreadFacts, Threader, looks_at_references, looks_at_subjects};
