//! SORT (RFC 5256, RFC 5957): messages are added with what is known of them, and come out as numbers in order.
//! All criteria of a message become one key that compares octet by octet, made once when it is added; the keys lie
//! one behind the other in one buffer, so that comparing allocates nothing and looks nowhere else.

use super::Collation;
use crate::types::{SortCriterion, SortKey};

/// Octets of one text that are compared.
const TEXT_OCTETS: usize = 4096;
/// Octets of keys held for one sort. When more are needed texts are compared by half of what they were before.
const KEYS_OCTETS: usize = 128 << 20;
/// Octets of one text that are compared whatever it costs.
const LEAST_TEXT_OCTETS: usize = 64;

/// What is stored of a message that a criterion may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SortColumn {
    Arrival,
    Sent,
    Size,
    Subject,
    From,
    To,
    Cc,
    FromDisplay,
    ToDisplay,
}

/// The columns the criteria look at, each once: what has to be read of each message.
pub fn sort_columns(criteria: &[SortCriterion]) -> Vec<SortColumn> {
    let mut columns = Vec::new();
    for criterion in criteria {
        let (column, more) = match criterion.key {
            SortKey::Arrival => (SortColumn::Arrival, None),
            // RFC 5256 §2.2: without a sent date the internal date is used.
            SortKey::Date => (SortColumn::Sent, Some(SortColumn::Arrival)),
            SortKey::Size => (SortColumn::Size, None),
            SortKey::Subject => (SortColumn::Subject, None),
            SortKey::From => (SortColumn::From, None),
            SortKey::To => (SortColumn::To, None),
            SortKey::Cc => (SortColumn::Cc, None),
            SortKey::DisplayFrom => (SortColumn::FromDisplay, None),
            SortKey::DisplayTo => (SortColumn::ToDisplay, None),
        };
        columns.extend(Some(column).into_iter().chain(more));
    }
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// What is known of one message. Only what [`sort_columns`] names is looked at; the rest may be left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SortFacts<'a> {
    /// INTERNALDATE in seconds since 1970, UTC.
    pub arrival: i64,
    /// The Date field in seconds since 1970, UTC; `None` when it cannot be read.
    pub sent: Option<i64>,
    /// Octets.
    pub size: u64,
    /// The base subject.
    pub subject: &'a str,
    /// The mailbox of the first address; so are `to` and `cc`.
    pub from: &'a str,
    pub to: &'a str,
    pub cc: &'a str,
    /// The first address as people see it (RFC 5957 §3).
    pub from_display: &'a str,
    pub to_display: &'a str,
}

/// Sorts messages. Memory: 24 octets and a key for each; all keys together take at most `KEYS_OCTETS`, or what
/// `LEAST_TEXT_OCTETS` of each text come to.
#[derive(Debug)]
pub struct Sorter {
    criteria: Vec<SortCriterion>,
    collation: Collation,
    rows: Vec<Row>,
    /// The keys in the order of the rows.
    keys: Vec<u8>,
    /// How many octets `keys` may hold before texts are cut shorter.
    keys_octets: usize,
    /// How much of a text goes into a key.
    text_octets: usize,
    /// The collation's key of one text, kept to spare allocations.
    folded: String,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    /// The first octets of the key, which decide most comparisons without a look at the keys.
    first: u64,
    start: usize,
    octets: u32,
    number: u32,
}

impl Sorter {
    /// The first criterion decides, the next where the first finds no difference.
    pub fn new(criteria: &[SortCriterion], collation: Collation) -> Sorter {
        let mut sorter = Sorter {
            criteria: Vec::new(),
            collation,
            rows: Vec::new(),
            keys: Vec::new(),
            keys_octets: KEYS_OCTETS,
            text_octets: TEXT_OCTETS,
            folded: String::new(),
        };
        for criterion in criteria {
            // A key that was equal is equal when it is named again.
            if sorter.criteria.iter().all(|known| known.key != criterion.key) {
                sorter.criteria.push(*criterion);
            }
        }
        sorter
    }

    /// Takes in a message by the number it is to be told by: all sequence numbers or all UIDs.
    pub fn add(&mut self, number: u32, facts: &SortFacts<'_>) {
        let start = self.keys.len();
        for at in 0..self.criteria.len() {
            let SortCriterion { key, reverse } = self.criteria[at];
            let from = self.keys.len();
            match key {
                SortKey::Arrival => self.push_date(facts.arrival),
                SortKey::Date => self.push_date(facts.sent.unwrap_or(facts.arrival)),
                SortKey::Size => self.keys.extend(facts.size.to_be_bytes()),
                SortKey::Subject => self.push_text(facts.subject),
                SortKey::From => self.push_text(facts.from),
                SortKey::To => self.push_text(facts.to),
                SortKey::Cc => self.push_text(facts.cc),
                SortKey::DisplayFrom => self.push_text(facts.from_display),
                SortKey::DisplayTo => self.push_text(facts.to_display),
            }
            if reverse {
                self.keys[from..].iter_mut().for_each(|octet| *octet = !*octet);
            }
        }
        let key = &self.keys[start..];
        let mut first = [0; 8];
        let known = key.len().min(8);
        first[..known].copy_from_slice(&key[..known]);
        // Nine keys of a few KiB at most.
        let octets = key.len() as u32;
        self.rows.push(Row { first: u64::from_be_bytes(first), start, octets, number });
        if self.keys.len() > self.keys_octets && self.text_octets > LEAST_TEXT_OCTETS {
            self.shorten();
        }
    }

    /// Eight octets, earlier before later.
    fn push_date(&mut self, secs: i64) {
        self.keys.extend((secs as u64 ^ 1 << 63).to_be_bytes());
    }

    /// The octets of the collation's key, each one higher, and a zero: the end comes before anything that goes on.
    /// The highest octet of UTF-8 is 0xf4, so there is room.
    fn push_text(&mut self, text: &str) {
        self.folded.clear();
        self.collation.key_onto(text, &mut self.folded);
        let octets = &self.folded.as_bytes()[..self.folded.len().min(self.text_octets)];
        self.keys.extend(octets.iter().map(|octet| octet + 1));
        self.keys.push(0);
    }

    /// Halves what is compared of long texts, so that very many of them cannot take the memory of all.
    fn shorten(&mut self) {
        self.text_octets = (self.text_octets / 2).max(LEAST_TEXT_OCTETS);
        let mut end = 0;
        for row in &mut self.rows {
            let mut from = row.start;
            row.start = end;
            for criterion in &self.criteria {
                let (octets, kept) = match criterion.key {
                    SortKey::Arrival | SortKey::Date | SortKey::Size => (8, 8),
                    _ => {
                        let stop = if criterion.reverse { !0 } else { 0 };
                        let text = memchr::memchr(stop, &self.keys[from..]).expect("each text has its end");
                        (text + 1, text.min(self.text_octets))
                    }
                };
                self.keys.copy_within(from..from + kept, end);
                end += kept;
                if kept < octets {
                    self.keys[end] = self.keys[from + octets - 1];
                    end += 1;
                }
                from += octets;
            }
            row.octets = (end - row.start) as u32;
        }
        self.keys.truncate(end);
    }

    /// False once texts are cut shorter because there are too many.
    pub fn is_exact(&self) -> bool {
        self.text_octets == TEXT_OCTETS
    }

    /// The numbers in order.
    pub fn finish(self) -> Vec<u32> {
        let Sorter { mut rows, keys, .. } = self;
        let key = |row: &Row| &keys[row.start..row.start + row.octets as usize];
        rows.sort_unstable_by(|a, b| {
            let by_key = || key(a).cmp(key(b));
            // RFC 5256 §3: what is equal by all criteria stands as in the mailbox, also under REVERSE.
            a.first.cmp(&b.first).then_with(by_key).then(a.number.cmp(&b.number))
        });
        rows.into_iter().map(|row| row.number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::processor_time;
    use proptest::prelude::*;
    use std::cmp::Ordering;
    use std::time::Duration;

    fn up(key: SortKey) -> SortCriterion {
        SortCriterion { reverse: false, key }
    }

    fn down(key: SortKey) -> SortCriterion {
        SortCriterion { reverse: true, key }
    }

    fn sorted(criteria: &[SortCriterion], messages: &[SortFacts<'_>]) -> Vec<u32> {
        let mut sorter = Sorter::new(criteria, Collation::default());
        for (facts, number) in messages.iter().zip(1..) {
            sorter.add(number, facts);
        }
        sorter.finish()
    }

    #[test]
    fn each_key_looks_at_its_own() {
        let low = SortFacts {
            arrival: -5,
            sent: Some(-5),
            size: 1,
            subject: "a",
            from: "a",
            to: "a",
            cc: "a",
            from_display: "a",
            to_display: "a",
        };
        for key in SortKey::ALL {
            let mut high = low;
            match key {
                SortKey::Arrival => high.arrival = 5,
                SortKey::Date => high.sent = Some(5),
                SortKey::Size => high.size = 1 << 40,
                SortKey::Subject => high.subject = "B",
                SortKey::From => high.from = "B",
                SortKey::To => high.to = "B",
                SortKey::Cc => high.cc = "B",
                SortKey::DisplayFrom => high.from_display = "B",
                SortKey::DisplayTo => high.to_display = "B",
            }
            let messages = [high, low, high, low];
            assert_eq!(sorted(&[up(key)], &messages), [2, 4, 1, 3], "{key:?}");
            // RFC 5256 §3: REVERSE leaves the order of equals alone.
            assert_eq!(sorted(&[down(key)], &messages), [1, 3, 2, 4], "{key:?}");
            for other in SortKey::ALL.into_iter().filter(|other| *other != key) {
                assert_eq!(sorted(&[up(other)], &messages), [1, 2, 3, 4], "{key:?} {other:?}");
            }
        }
    }

    #[test]
    fn without_a_sent_date_the_arrival_counts() {
        let of = |sent, arrival| SortFacts { sent, arrival, ..SortFacts::default() };
        let messages = [of(Some(7), 0), of(None, 5), of(Some(3), 9)];
        assert_eq!(sorted(&[up(SortKey::Date)], &messages), [3, 2, 1]);
        assert_eq!(sort_columns(&[up(SortKey::Date)]), [SortColumn::Arrival, SortColumn::Sent]);
    }

    #[test]
    fn columns_are_those_of_the_criteria() {
        let criteria = [down(SortKey::Subject), up(SortKey::Arrival), up(SortKey::Subject)];
        assert_eq!(sort_columns(&criteria), [SortColumn::Arrival, SortColumn::Subject]);
        assert_eq!(sort_columns(&SortKey::ALL.map(up)).len(), 9);
    }

    #[test]
    fn texts() {
        let of = |subject| SortFacts { subject, ..SortFacts::default() };
        // The empty text first, a beginning before what goes on, NUL being a character as any.
        let messages = [of("b"), of("aé"), of("A"), of(""), of("a\0"), of("AE"), of("日本"), of("Z")];
        assert_eq!(sorted(&[up(SortKey::Subject)], &messages), [4, 3, 5, 6, 2, 1, 8, 7]);
        assert_eq!(sorted(&[down(SortKey::Subject)], &messages), [7, 8, 1, 2, 6, 5, 3, 4]);
    }

    /// The order by comparing facts, one criterion after the other.
    fn plainly(criteria: &[SortCriterion], messages: &[SortFacts<'_>]) -> Vec<u32> {
        let text = |a: &str, b: &str| Collation::default().key(a).cmp(&Collation::default().key(b));
        let by = |criterion: &SortCriterion, a: &SortFacts<'_>, b: &SortFacts<'_>| {
            let order = match criterion.key {
                SortKey::Arrival => a.arrival.cmp(&b.arrival),
                SortKey::Date => a.sent.unwrap_or(a.arrival).cmp(&b.sent.unwrap_or(b.arrival)),
                SortKey::Size => a.size.cmp(&b.size),
                SortKey::Subject => text(a.subject, b.subject),
                SortKey::From => text(a.from, b.from),
                SortKey::To => text(a.to, b.to),
                SortKey::Cc => text(a.cc, b.cc),
                SortKey::DisplayFrom => text(a.from_display, b.from_display),
                SortKey::DisplayTo => text(a.to_display, b.to_display),
            };
            if criterion.reverse { order.reverse() } else { order }
        };
        let mut numbers: Vec<u32> = (1..=messages.len() as u32).collect();
        numbers.sort_by(|a, b| {
            let (a, b) = (&messages[*a as usize - 1], &messages[*b as usize - 1]);
            criteria.iter().fold(Ordering::Equal, |order, criterion| order.then_with(|| by(criterion, a, b)))
        });
        numbers
    }

    type Known = (i64, Option<i64>, u64, [String; 6]);

    fn facts((arrival, sent, size, texts): &Known) -> SortFacts<'_> {
        let [subject, from, to, cc, from_display, to_display] = texts;
        SortFacts { arrival: *arrival, sent: *sent, size: *size, subject, from, to, cc, from_display, to_display }
    }

    fn some_messages() -> impl Strategy<Value = Vec<Known>> {
        let text = || prop_oneof!["[aAbé]{0,2}", "\\PC{0,12}"];
        let texts = [text(), text(), text(), text(), text(), text()];
        proptest::collection::vec((-2..2i64, proptest::option::of(-2..2i64), 0..3u64, texts), 0..70)
    }

    fn some_criteria() -> impl Strategy<Value = Vec<SortCriterion>> {
        let criterion = (any::<bool>(), proptest::sample::select(&SortKey::ALL));
        proptest::collection::vec(criterion.prop_map(|(reverse, key)| SortCriterion { reverse, key }), 1..6)
    }

    proptest! {
        #[test]
        fn keys_order_as_facts_do(messages in some_messages(), criteria in some_criteria()) {
            let messages: Vec<SortFacts<'_>> = messages.iter().map(facts).collect();
            prop_assert_eq!(sorted(&criteria, &messages), plainly(&criteria, &messages));
        }

        #[test]
        fn short_of_room_long_texts_are_compared_by_their_beginning(
            lengths in proptest::collection::vec((0usize..300, 0i64..3), 1..40), reverse: bool,
        ) {
            let long: Vec<(String, i64)> = lengths.iter().map(|(n, size)| ("x".repeat(*n), *size)).collect();
            let of = |subject, size| SortFacts { subject, arrival: size, ..SortFacts::default() };
            let criteria = [SortCriterion { reverse, key: SortKey::Subject }, up(SortKey::Arrival)];
            let mut sorter = Sorter::new(&criteria, Collation::default());
            sorter.keys_octets = 1;
            for ((subject, size), number) in long.iter().zip(1..) {
                sorter.add(number, &of(subject, *size));
            }
            prop_assert!(sorter.text_octets < TEXT_OCTETS && !sorter.is_exact());
            let cut: Vec<SortFacts<'_>> =
                long.iter().map(|(text, size)| of(&text[..text.len().min(sorter.text_octets)], *size)).collect();
            prop_assert!(sorter.keys.len() <= long.len() * (sorter.text_octets + 9));
            prop_assert_eq!(sorter.finish(), sorted(&criteria, &cut));
        }
    }

    #[test]
    fn long_texts_take_no_more_than_their_room() {
        let subject = "ﷺ".repeat(1300);
        let mut sorter = Sorter::new(&[up(SortKey::Subject)], Collation::default());
        sorter.keys_octets = 1 << 17;
        for number in 1..=300 {
            sorter.add(number, &SortFacts { subject: &subject, ..SortFacts::default() });
            assert!(sorter.keys.len() <= 1 << 17);
        }
        assert!((LEAST_TEXT_OCTETS..TEXT_OCTETS).contains(&sorter.text_octets));
        assert_eq!(sorter.finish(), Vec::from_iter(1..=300));
    }

    #[test]
    fn a_hundred_thousand_messages() {
        let subjects: Vec<String> = (0..100_000u64)
            .map(|n| format!("[list] {} about the {} of {n}", n.wrapping_mul(0x9e37_79b9) % 997, n % 13))
            .collect();
        let same = "the same subject for all of them, and long enough for the first octets not to decide";
        for criteria in
            [&[up(SortKey::Subject)][..], &[down(SortKey::Date)], &[up(SortKey::Subject), down(SortKey::Date)]]
        {
            let begun = processor_time();
            let mut sorter = Sorter::new(criteria, Collation::default());
            for (subject, number) in subjects.iter().zip(1..) {
                let subject = if number % 2 == 0 { same } else { subject };
                let sent = Some(i64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15u64 as i64));
                sorter.add(number, &SortFacts { subject, sent, ..SortFacts::default() });
            }
            assert_eq!(sorter.finish().len(), 100_000);
            let spent = processor_time() - begun;
            assert!(spent < Duration::from_secs(1), "{criteria:?}: {spent:?}");
        }
    }
}
