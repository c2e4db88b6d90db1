//! SEARCH as a question made ready: strings decoded and folded, sets resolved, cheap tests before dear ones.
//! It is asked three times: of a whole span by its counters, of a message by its hot columns, and only if those
//! leave it open of the stored text, which is read as far as the answer needs and no further.

use super::text::Needle;
use crate::types::{
    Date, DateOf, DateTime, FlagSet, Keyword, ModSeq, NumSet, ObjectId, SearchKey, SystemFlag, UidRuns,
};

/// One thing that is asked of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    Uids(UidRuns),
    Flag(SystemFlag),
    Keyword(Keyword),
    Recent(UidRuns),
    Larger(u64),
    Smaller(u64),
    /// Changed at this modseq or later.
    ModSeq(ModSeq),
    Before(DateOf, Date),
    On(DateOf, Date),
    Since(DateOf, Date),
    /// Arrived at this second or before.
    ArrivedUntil(i64),
    /// Arrived at this second or after.
    ArrivedFrom(i64),
    EmailId(ObjectId),
    ThreadId(ObjectId),
    /// A header field by its name in small letters.
    Field(String, Needle),
    Body(Needle),
    Text(Needle),
}

/// What a test costs; the order is from cheap to dear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    Hot,
    Columns,
    Header,
    Body,
}

impl Test {
    fn cost(&self) -> Cost {
        match self {
            Test::Uids(_) | Test::Flag(_) | Test::Keyword(_) | Test::Recent(_) => Cost::Hot,
            Test::Larger(_) | Test::Smaller(_) | Test::ModSeq(_) => Cost::Hot,
            Test::Before(..) | Test::On(..) | Test::Since(..) => Cost::Columns,
            Test::ArrivedUntil(_) | Test::ArrivedFrom(_) | Test::EmailId(_) | Test::ThreadId(_) => Cost::Columns,
            Test::Field(..) => Cost::Header,
            Test::Body(_) | Test::Text(_) => Cost::Body,
        }
    }
}

#[derive(Debug, Clone)]
enum Node {
    All,
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Test(Box<Test>),
}

impl Node {
    fn cost(&self) -> Cost {
        match self {
            Node::All => Cost::Hot,
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().map(Node::cost).max().unwrap_or(Cost::Hot),
            Node::Not(node) => node.cost(),
            Node::Test(test) => test.cost(),
        }
    }

    /// `None`: what is known does not decide it.
    fn judge(&self, known: &mut impl FnMut(&Test) -> Option<bool>) -> Option<bool> {
        match self {
            Node::All => Some(true),
            Node::Not(node) => node.judge(known).map(|holds| !holds),
            Node::Test(test) => known(test),
            Node::And(nodes) => one_decides(nodes, false, known),
            Node::Or(nodes) => one_decides(nodes, true, known),
        }
    }

    fn decide<R: Reading>(&self, message: &mut R) -> Result<bool, R::Error> {
        match self {
            Node::All => Ok(true),
            Node::Not(node) => Ok(!node.decide(message)?),
            Node::Test(test) => message.answer(test),
            Node::And(nodes) => {
                for node in nodes {
                    if !node.decide(message)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Node::Or(nodes) => {
                for node in nodes {
                    if node.decide(message)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    fn any(&self, is_it: &impl Fn(&Test) -> bool) -> bool {
        match self {
            Node::All => false,
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().any(|node| node.any(is_it)),
            Node::Not(node) => node.any(is_it),
            Node::Test(test) => is_it(test),
        }
    }
}

/// One of `nodes` that gives `decisive` decides for all; otherwise all must be known.
fn one_decides(nodes: &[Node], decisive: bool, known: &mut impl FnMut(&Test) -> Option<bool>) -> Option<bool> {
    let mut outcome = Some(!decisive);
    for node in nodes {
        match node.judge(known) {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => outcome = None,
        }
    }
    outcome
}

/// Why a search cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswerable {
    /// The charset is none we know (RFC 3501 §6.4.4: BADCHARSET).
    Charset,
    /// The octets of a string are not of the charset they are said to be in.
    Text,
}

/// What else a search is about: the session and the time it is asked in.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'m> {
    /// The UIDs that are `\Recent` here.
    pub recent: &'m UidRuns,
    /// Seconds since 1970.
    pub now: i64,
}

/// What a span's counters or a message's hot columns say about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Matches,
    DoesNot,
    /// More has to be read.
    Open,
}

impl From<Option<bool>> for Verdict {
    fn from(holds: Option<bool>) -> Self {
        match holds {
            Some(true) => Verdict::Matches,
            Some(false) => Verdict::DoesNot,
            None => Verdict::Open,
        }
    }
}

/// The counters of up to 1,024 messages at once.
#[derive(Debug, Clone, Copy)]
pub struct SpanFacts {
    /// First and last UID that may be in it.
    pub uids: (u32, u32),
    pub messages: u32,
    pub unseen: u32,
    pub deleted: u32,
    pub max_modseq: ModSeq,
}

/// The hot columns of one message.
#[derive(Debug, Clone, Copy)]
pub struct HotFacts<'f> {
    pub uid: u32,
    pub size: u32,
    pub modseq: ModSeq,
    pub flags: &'f FlagSet,
}

/// A message that is read as far as its answers need.
pub trait Reading {
    type Error;
    /// Whether the test holds.
    fn answer(&mut self, test: &Test) -> Result<bool, Self::Error>;
}

/// A search made ready.
#[derive(Debug, Clone)]
pub struct Question {
    root: Node,
    longest_needle: usize,
}

impl Question {
    /// Makes a search ready. `resolve` turns a set (true: of UIDs) into UIDs that exist. Strings are in `charset`, or
    /// without one in UTF-8, of which US-ASCII is a part.
    pub fn new<E: From<Unanswerable>>(
        key: &SearchKey,
        charset: Option<&str>,
        moment: Moment<'_>,
        resolve: &impl Fn(&NumSet, bool) -> Result<UidRuns, E>,
    ) -> Result<Question, E> {
        let charset = Charset::named(charset)?;
        let mut making = Making { charset, moment, resolve, longest_needle: 0 };
        let root = making.node(key)?;
        Ok(Question { root, longest_needle: making.longest_needle })
    }

    /// True when messages' modseqs are asked for (RFC 7162 §3.1.5).
    pub fn asks_for_mod_seq(&self) -> bool {
        self.root.any(&|test| matches!(test, Test::ModSeq(_)))
    }

    /// True when it is about the day a message came, or was saved.
    pub fn asks_for_arrival(&self) -> bool {
        self.root.any(&|test| match test {
            Test::ArrivedUntil(_) | Test::ArrivedFrom(_) => true,
            Test::Before(of, _) | Test::On(of, _) | Test::Since(of, _) => *of != DateOf::Sent,
            _ => false,
        })
    }

    /// Those of `uids` that it is asked of: a set it demands outright leaves out the others.
    pub fn within(&self, uids: UidRuns) -> UidRuns {
        let demanded = |node: &Node| match node {
            Node::Test(test) => match &**test {
                Test::Uids(uids) => Some(uids.clone()),
                _ => None,
            },
            _ => None,
        };
        match &self.root {
            Node::And(nodes) => nodes.iter().filter_map(demanded).fold(uids, |left, set| left.intersection(&set)),
            node => demanded(node).map_or_else(|| uids.clone(), |set| uids.intersection(&set)),
        }
    }

    /// Octets of the longest folded needle.
    pub fn longest_needle(&self) -> usize {
        self.longest_needle
    }

    /// Asks all messages of a span at once.
    pub fn of_span(&self, span: &SpanFacts) -> Verdict {
        let all_or_none = |count: u32| match count {
            0 => Some(false),
            count if count == span.messages => Some(true),
            _ => None,
        };
        let among = |uids: &UidRuns| {
            let (lo, hi) = span.uids;
            let first = uids.runs().partition_point(|run| run.1 < lo);
            match uids.runs().get(first) {
                Some((from, to)) if *from <= lo && hi <= *to => Some(true),
                Some((from, _)) if *from <= hi => None,
                _ => Some(false),
            }
        };
        let mut known = |test: &Test| match test {
            Test::Uids(uids) | Test::Recent(uids) => among(uids),
            Test::Flag(SystemFlag::Seen) => all_or_none(span.unseen).map(|unseen| !unseen),
            Test::Flag(SystemFlag::Deleted) => all_or_none(span.deleted),
            Test::ModSeq(since) if span.max_modseq < *since => Some(false),
            _ => None,
        };
        self.root.judge(&mut known).into()
    }

    /// Asks one message by its hot columns.
    pub fn of_message(&self, message: &HotFacts<'_>) -> Verdict {
        self.root.judge(&mut |test| hot(test, message)).into()
    }

    /// Asks one message that can be read.
    pub fn of_text<R: Reading>(&self, message: &mut R) -> Result<bool, R::Error> {
        self.root.decide(message)
    }
}

/// What hot columns say; [`Reading::answer`] begins with it.
pub fn hot(test: &Test, message: &HotFacts<'_>) -> Option<bool> {
    match test {
        Test::Uids(uids) | Test::Recent(uids) => Some(uids.contains(message.uid)),
        Test::Flag(flag) => Some(message.flags.has(*flag)),
        Test::Keyword(keyword) => Some(message.flags.has_keyword(keyword)),
        Test::Larger(octets) => Some(u64::from(message.size) > *octets),
        Test::Smaller(octets) => Some(u64::from(message.size) < *octets),
        Test::ModSeq(since) => Some(message.modseq >= *since),
        Test::Before(..) | Test::On(..) | Test::Since(..) | Test::ArrivedUntil(_) | Test::ArrivedFrom(_) => None,
        Test::EmailId(_) | Test::ThreadId(_) | Test::Field(..) | Test::Body(_) | Test::Text(_) => None,
    }
}

/// Compares a message's date, "disregarding time and timezone" (RFC 3501 §6.4.4). A message without the date
/// matches nothing that is asked of it.
pub fn of_date(test: &Test, date: Option<DateTime>) -> bool {
    let Some(date) = date.map(DateTime::date) else { return false };
    match test {
        Test::Before(_, day) => date < *day,
        Test::On(_, day) => date == *day,
        Test::Since(_, day) => date >= *day,
        _ => false,
    }
}

/// How the strings of a search are encoded.
enum Charset {
    Utf8,
    Other(&'static encoding_rs::Encoding),
}

impl Charset {
    fn named(name: Option<&str>) -> Result<Charset, Unanswerable> {
        let Some(name) = name else { return Ok(Charset::Utf8) };
        match encoding_rs::Encoding::for_label(name.trim().as_bytes()) {
            _ if name.eq_ignore_ascii_case("US-ASCII") => Ok(Charset::Utf8),
            Some(encoding) if encoding == encoding_rs::UTF_8 => Ok(Charset::Utf8),
            // Labels such as "utf-7" or "hz-gb-2312" stand for an encoding that decodes nothing.
            Some(encoding) if encoding == encoding_rs::REPLACEMENT => Err(Unanswerable::Charset),
            Some(encoding) => Ok(Charset::Other(encoding)),
            None => Err(Unanswerable::Charset),
        }
    }

    fn decode(&self, octets: &[u8]) -> Result<String, Unanswerable> {
        match self {
            Charset::Utf8 => String::from_utf8(octets.to_vec()).map_err(|_| Unanswerable::Text),
            Charset::Other(encoding) => {
                let text = encoding.decode_without_bom_handling_and_without_replacement(octets);
                text.map(|text| text.into_owned()).ok_or(Unanswerable::Text)
            }
        }
    }
}

struct Making<'m, R> {
    charset: Charset,
    moment: Moment<'m>,
    resolve: &'m R,
    longest_needle: usize,
}

impl<R> Making<'_, R> {
    /// Recursion is bounded by [`crate::types::Search::MAX_DEPTH`].
    fn node<E: From<Unanswerable>>(&mut self, key: &SearchKey) -> Result<Node, E>
    where
        R: Fn(&NumSet, bool) -> Result<UidRuns, E>,
    {
        let test = match key {
            SearchKey::All => return Ok(Node::All),
            SearchKey::Not(key) => return Ok(Node::Not(Box::new(self.node(key)?))),
            SearchKey::And(keys) => return Ok(Node::And(self.nodes(keys)?)),
            SearchKey::Or(keys) => return Ok(Node::Or(self.nodes(keys)?)),
            SearchKey::Numbers(set) => Test::Uids((self.resolve)(set, false)?),
            SearchKey::Uids(set) => Test::Uids((self.resolve)(set, true)?),
            SearchKey::Flag(flag) => Test::Flag(*flag),
            SearchKey::Keyword(keyword) => Test::Keyword(keyword.clone()),
            SearchKey::Recent => Test::Recent(self.moment.recent.clone()),
            SearchKey::Before(of, day) => Test::Before(*of, *day),
            SearchKey::On(of, day) => Test::On(*of, *day),
            SearchKey::Since(of, day) => Test::Since(*of, *day),
            // RFC 5032 §2: at least, or at most, that many seconds ago.
            SearchKey::Older(seconds) => Test::ArrivedUntil(self.moment.now - i64::from(*seconds)),
            SearchKey::Younger(seconds) => Test::ArrivedFrom(self.moment.now - i64::from(*seconds)),
            // RFC 8514 §4.3: every mailbox here knows when its messages came.
            SearchKey::SaveDateSupported => return Ok(Node::All),
            SearchKey::EmailId(id) => Test::EmailId(id.clone()),
            SearchKey::ThreadId(id) => Test::ThreadId(id.clone()),
            SearchKey::UidAfter(uid) => Test::Uids(UidRuns::range(uid.0.saturating_add(1), u32::MAX)),
            SearchKey::UidBefore(uid) => Test::Uids(UidRuns::range(1, uid.0.saturating_sub(1))),
            SearchKey::Larger(octets) => Test::Larger(*octets),
            SearchKey::Smaller(octets) => Test::Smaller(*octets),
            SearchKey::ModSeq(since) => Test::ModSeq(*since),
            SearchKey::Bcc(text) => Test::Field("bcc".into(), self.needle(text)?),
            SearchKey::Cc(text) => Test::Field("cc".into(), self.needle(text)?),
            SearchKey::From(text) => Test::Field("from".into(), self.needle(text)?),
            SearchKey::To(text) => Test::Field("to".into(), self.needle(text)?),
            SearchKey::Subject(text) => Test::Field("subject".into(), self.needle(text)?),
            SearchKey::Header { name, value } => {
                // RFC 5322 §2.2: a field's name is ASCII; another one names no field.
                let name = String::from_utf8_lossy(name).trim_end_matches(':').to_ascii_lowercase();
                Test::Field(name, self.needle(value)?)
            }
            SearchKey::Body(text) => Test::Body(self.needle(text)?),
            SearchKey::Text(text) => Test::Text(self.needle(text)?),
        };
        Ok(Node::Test(Box::new(test)))
    }

    fn nodes<E: From<Unanswerable>>(&mut self, keys: &[SearchKey]) -> Result<Vec<Node>, E>
    where
        R: Fn(&NumSet, bool) -> Result<UidRuns, E>,
    {
        let mut nodes = keys.iter().map(|key| self.node(key)).collect::<Result<Vec<_>, E>>()?;
        nodes.sort_by_key(Node::cost);
        Ok(nodes)
    }

    fn needle(&mut self, octets: &[u8]) -> Result<Needle, Unanswerable> {
        let needle = Needle::new(&self.charset.decode(octets)?);
        self.longest_needle = self.longest_needle.max(needle.octets());
        Ok(needle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Flag;

    impl From<Unanswerable> for String {
        fn from(why: Unanswerable) -> String {
            format!("{why:?}")
        }
    }

    fn question(key: SearchKey) -> Question {
        charset_question(key, None).expect("can be asked")
    }

    fn charset_question(key: SearchKey, charset: Option<&str>) -> Result<Question, String> {
        let moment = Moment { recent: &UidRuns::range(9, 9), now: 1_000_000 };
        Question::new(&key, charset, moment, &|set: &NumSet, _| Ok(set.resolve(10)))
    }

    fn seen() -> SearchKey {
        SearchKey::Flag(SystemFlag::Seen)
    }

    fn hot_of(question: &Question, uid: u32, flags: &FlagSet) -> Verdict {
        question.of_message(&HotFacts { uid, size: 100, modseq: ModSeq(7), flags })
    }

    #[test]
    fn hot_columns_decide_what_they_can() {
        let (none, seen_set) = (FlagSet::new(), FlagSet::from_iter([Flag::System(SystemFlag::Seen)]));
        let unseen = question(SearchKey::negated(seen()));
        assert_eq!(hot_of(&unseen, 1, &none), Verdict::Matches);
        assert_eq!(hot_of(&unseen, 1, &seen_set), Verdict::DoesNot);
        let body = question(SearchKey::and(vec![SearchKey::Body(b"x".to_vec()), seen()]));
        assert_eq!(hot_of(&body, 1, &none), Verdict::DoesNot);
        assert_eq!(hot_of(&body, 1, &seen_set), Verdict::Open);
        let either = question(SearchKey::or(vec![SearchKey::Body(b"x".to_vec()), SearchKey::Recent]));
        assert_eq!(hot_of(&either, 9, &none), Verdict::Matches);
        assert_eq!(hot_of(&either, 8, &none), Verdict::Open);
        // RFC 3501 §6.4.4: what is in parentheses holds together, so this is "not both".
        let not_both = SearchKey::negated(SearchKey::and(vec![seen(), SearchKey::Flag(SystemFlag::Answered)]));
        assert_eq!(hot_of(&question(not_both), 1, &seen_set), Verdict::Matches);
    }

    #[test]
    fn counters_decide_for_a_whole_span() {
        let span = SpanFacts { uids: (1, 1024), messages: 1000, unseen: 0, deleted: 3, max_modseq: ModSeq(5) };
        assert_eq!(question(seen()).of_span(&span), Verdict::Matches);
        assert_eq!(question(SearchKey::Flag(SystemFlag::Deleted)).of_span(&span), Verdict::Open);
        assert_eq!(question(SearchKey::ModSeq(ModSeq(6))).of_span(&span), Verdict::DoesNot);
        assert_eq!(question(SearchKey::Uids(NumSet::one(5))).of_span(&span), Verdict::Open);
        let two = question(SearchKey::and(vec![SearchKey::negated(seen()), SearchKey::Body(b"x".to_vec())]));
        assert_eq!(two.of_span(&span), Verdict::DoesNot);
        let far = SpanFacts { uids: (1025, 2048), ..span };
        assert_eq!(question(SearchKey::Uids(NumSet::one(5))).of_span(&far), Verdict::DoesNot);
        assert_eq!(question(SearchKey::All).of_span(&span), Verdict::Matches);
    }

    #[test]
    fn charsets_are_decoded_or_refused() {
        let subject = |octets: &[u8]| SearchKey::Subject(octets.to_vec());
        assert_eq!(charset_question(subject(b"x"), Some("KLINGON")).expect_err("unknown"), "Charset");
        assert_eq!(charset_question(subject(b"x"), Some("utf-7")).expect_err("not decoded"), "Charset");
        assert_eq!(charset_question(subject(b"\xe9"), Some("UTF-8")).expect_err("not UTF-8"), "Text");
        assert_eq!(charset_question(subject(b"\xe9"), None).expect_err("not UTF-8"), "Text");
        let latin = charset_question(subject(b"caf\xe9"), Some("ISO-8859-1")).expect("is decoded");
        let utf8 = charset_question(subject("CAFÉ".as_bytes()), Some("utf-8")).expect("is decoded");
        assert_eq!(format!("{:?}", latin.root), format!("{:?}", utf8.root));
    }

    #[test]
    fn cheap_tests_come_first() {
        struct Counting(Vec<&'static str>);
        impl Reading for Counting {
            type Error = ();
            fn answer(&mut self, test: &Test) -> Result<bool, ()> {
                self.0.push(match test {
                    Test::Body(_) => "body",
                    Test::Field(..) => "field",
                    _ => "other",
                });
                Ok(false)
            }
        }
        let mut asked = Counting(Vec::new());
        let key = SearchKey::or(vec![SearchKey::Body(b"a".to_vec()), SearchKey::From(b"b".to_vec()), seen()]);
        assert_eq!(question(key).of_text(&mut asked), Ok(false));
        assert_eq!(asked.0, ["other", "field", "body"]);
    }
}
