//! Search matching, sorting and collations as pure functions over facts about messages: the mail store reads, this
//! room decides.

mod collation;
mod fold;
mod search;
mod sort;
mod text;

pub use collation::Collation;
pub use fold::{fold, fold_onto};
pub use search::{HotFacts, Moment, Question, Reading, SpanFacts, Test, Unanswerable, Verdict, hot, of_date};
pub use sort::{SortColumn, SortFacts, Sorter, sort_columns};
pub use text::{HeaderText, Needle, TextReader};
