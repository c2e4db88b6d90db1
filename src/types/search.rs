//! SEARCH as a tree of keys (RFC 3501 §6.4.4). Trees are kept in one canonical form, so that equal
//! questions are equal values: no AND inside an AND, no OR inside an OR, no NOT of a NOT.

use super::{Date, Keyword, ModSeq, NumSet, ObjectId, PartialRange, SystemFlag, Uid};

/// SEARCH and UID SEARCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// The answer holds UIDs.
    pub uid: bool,
    /// The charset of all strings, as written.
    pub charset: Option<String>,
    /// What `RETURN (...)` asks for; without it the answer is `* SEARCH`.
    pub returns: Option<SearchReturn>,
    pub key: SearchKey,
}

/// What an extended SEARCH or SORT wants to know (RFC 4731 §3.1). Never empty: `RETURN ()` is read as
/// `RETURN (ALL)`, which is what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SearchReturn {
    pub min: bool,
    pub max: bool,
    pub all: bool,
    pub count: bool,
    /// Keep the result as `$` (RFC 5182). Alone it wants no ESEARCH at all.
    pub save: bool,
    /// Never together with `all` (RFC 9394 §3.1).
    pub partial: Option<PartialRange>,
}

impl SearchReturn {
    /// True when an ESEARCH has to be sent: something besides SAVE was asked for.
    pub fn wants_answer(self) -> bool {
        self.min || self.max || self.all || self.count || self.partial.is_some()
    }
}

impl Search {
    /// Deepest nesting of keys, so that walking a tree cannot exhaust the stack.
    pub const MAX_DEPTH: usize = 32;
    /// Most keys in one search.
    pub const MAX_KEYS: usize = 4096;
}

/// One question about a message. Strings are octets in the search's charset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchKey {
    All,
    /// All of these; two or more.
    And(Vec<SearchKey>),
    /// Any of these; two or more.
    Or(Vec<SearchKey>),
    Not(Box<SearchKey>),

    /// Sequence numbers.
    Numbers(NumSet),
    Uids(NumSet),

    Flag(SystemFlag),
    Keyword(Keyword),
    /// The session holds the message as `\Recent`.
    Recent,

    Before(DateOf, Date),
    On(DateOf, Date),
    Since(DateOf, Date),
    /// Arrived that many seconds ago or earlier, at least 1 (RFC 5032 §2).
    Older(u32),
    /// Arrived that many seconds ago or later, at least 1.
    Younger(u32),
    /// All messages where the mailbox knows save dates, else none (RFC 8514 §4.3).
    SaveDateSupported,
    /// More octets than this.
    Larger(u64),
    /// Fewer octets than this.
    Smaller(u64),
    /// Changed at this modseq or later; 0 is everything (RFC 7162 §3.1.5).
    ModSeq(ModSeq),
    /// RFC 8474 §6
    EmailId(ObjectId),
    ThreadId(ObjectId),
    /// UIDs above this one; unlike `n+1:*` none at all when there are none (RFC 9738 §3.2).
    UidAfter(Uid),
    /// UIDs below this one.
    UidBefore(Uid),

    Bcc(Vec<u8>),
    Cc(Vec<u8>),
    From(Vec<u8>),
    To(Vec<u8>),
    Subject(Vec<u8>),
    /// An empty value asks only whether the field is there.
    Header {
        name: Vec<u8>,
        value: Vec<u8>,
    },
    Body(Vec<u8>),
    Text(Vec<u8>),
}

/// Which of a message's dates, read without its time and zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateOf {
    /// INTERNALDATE
    Arrival,
    /// The `Date:` header field.
    Sent,
    /// When it came into this mailbox (RFC 8514).
    Saved,
}

impl SearchKey {
    /// All of `keys`. None at all is [`SearchKey::All`].
    pub fn and(keys: Vec<SearchKey>) -> SearchKey {
        let mut flat = Vec::with_capacity(keys.len());
        for key in keys {
            match key {
                SearchKey::And(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match flat.len() {
            0 => SearchKey::All,
            1 => flat.remove(0),
            _ => SearchKey::And(flat),
        }
    }

    /// Any of `keys`. None at all is the opposite of [`SearchKey::All`].
    pub fn or(keys: Vec<SearchKey>) -> SearchKey {
        let mut flat = Vec::with_capacity(keys.len());
        for key in keys {
            match key {
                SearchKey::Or(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match flat.len() {
            0 => SearchKey::negated(SearchKey::All),
            1 => flat.remove(0),
            _ => SearchKey::Or(flat),
        }
    }

    /// The opposite of `key`.
    pub fn negated(key: SearchKey) -> SearchKey {
        match key {
            SearchKey::Not(inner) => *inner,
            other => SearchKey::Not(Box::new(other)),
        }
    }
}

impl SearchKey {
    /// How many AND, OR and NOT stand inside each other at the deepest place. Walks without recursion.
    pub fn depth(&self) -> usize {
        let mut deepest = 0;
        let mut left = vec![(self, 0)];
        while let Some((key, depth)) = left.pop() {
            deepest = deepest.max(depth);
            match key {
                SearchKey::And(keys) | SearchKey::Or(keys) => left.extend(keys.iter().map(|key| (key, depth + 1))),
                SearchKey::Not(key) => left.push((key, depth + 1)),
                _ => {}
            }
        }
        deepest
    }

    /// True when it asks for modseqs (RFC 7162 §3.1.5).
    pub fn has_mod_seq(&self) -> bool {
        let mut left = vec![self];
        while let Some(key) = left.pop() {
            match key {
                SearchKey::And(keys) | SearchKey::Or(keys) => left.extend(keys),
                SearchKey::Not(key) => left.push(key),
                SearchKey::ModSeq(_) => return true,
                _ => {}
            }
        }
        false
    }

    /// True when it names messages by their sequence numbers.
    pub fn has_numbers(&self) -> bool {
        let mut left = vec![self];
        while let Some(key) = left.pop() {
            match key {
                SearchKey::And(keys) | SearchKey::Or(keys) => left.extend(keys),
                SearchKey::Not(key) => left.push(key),
                SearchKey::Numbers(set) if *set != NumSet::Saved => return true,
                _ => {}
            }
        }
        false
    }

    /// The sets of numbers and UIDs in it.
    pub fn sets(&self) -> Vec<&NumSet> {
        let mut sets = Vec::new();
        let mut left = vec![self];
        while let Some(key) = left.pop() {
            match key {
                SearchKey::And(keys) | SearchKey::Or(keys) => left.extend(keys),
                SearchKey::Not(key) => left.push(key),
                SearchKey::Numbers(set) | SearchKey::Uids(set) => sets.push(set),
                _ => {}
            }
        }
        sets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_canonical() {
        let flag = SearchKey::Flag;
        let (a, b, c) = (flag(SystemFlag::Seen), flag(SystemFlag::Draft), flag(SystemFlag::Deleted));
        let nested = SearchKey::and(vec![SearchKey::and(vec![a.clone(), b.clone()]), c.clone()]);
        assert_eq!(nested, SearchKey::And(vec![a.clone(), b.clone(), c.clone()]));
        let nested = SearchKey::or(vec![a.clone(), SearchKey::or(vec![b.clone(), c.clone()])]);
        assert_eq!(nested, SearchKey::Or(vec![a.clone(), b, c]));
        assert_eq!(SearchKey::negated(SearchKey::negated(a.clone())), a.clone());
        assert_eq!(SearchKey::and(vec![a.clone()]), a);
        assert_eq!(SearchKey::and(vec![]), SearchKey::All);
    }
}
