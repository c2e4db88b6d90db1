//! SORT: a search whose answer has an order (RFC 5256, RFC 5957, RFC 5267).

use super::{SearchKey, SearchReturn};

/// SORT and UID SORT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    /// The answer holds UIDs.
    pub uid: bool,
    /// What `RETURN (...)` asks for; without it the answer is `* SORT`.
    pub returns: Option<SearchReturn>,
    /// The first decides, the next where the first finds no difference; at least one.
    pub criteria: Vec<SortCriterion>,
    /// The charset of all strings in the key, as written.
    pub charset: String,
    pub key: SearchKey,
}

impl Sort {
    /// Most criteria in one command: each key once in both directions, and some to spare.
    pub const MAX_CRITERIA: usize = 32;
}

/// One thing to sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SortCriterion {
    /// `REVERSE`: the highest first.
    pub reverse: bool,
    pub key: SortKey,
}

/// What of a message is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SortKey {
    /// INTERNALDATE with its time.
    Arrival,
    /// The mailbox part of the first address; so are `From` and `To`.
    Cc,
    /// The `Date:` header field with its time.
    Date,
    From,
    Size,
    /// The base subject.
    Subject,
    To,
    /// The name shown for the first sender (RFC 5957 §4).
    DisplayFrom,
    /// The name shown for the first recipient (RFC 5957 §4).
    DisplayTo,
}

impl SortKey {
    /// All of them.
    pub const ALL: [SortKey; 9] = [
        SortKey::Arrival,
        SortKey::Cc,
        SortKey::Date,
        SortKey::From,
        SortKey::Size,
        SortKey::Subject,
        SortKey::To,
        SortKey::DisplayFrom,
        SortKey::DisplayTo,
    ];

    /// The word as written on the wire.
    pub const fn wire(self) -> &'static str {
        match self {
            SortKey::Arrival => "ARRIVAL",
            SortKey::Cc => "CC",
            SortKey::Date => "DATE",
            SortKey::From => "FROM",
            SortKey::Size => "SIZE",
            SortKey::Subject => "SUBJECT",
            SortKey::To => "TO",
            SortKey::DisplayFrom => "DISPLAYFROM",
            SortKey::DisplayTo => "DISPLAYTO",
        }
    }
}
