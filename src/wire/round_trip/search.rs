//! SEARCH, SORT and THREAD as a client writes them, values of every kind, and their answers read back.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::answer::{Item, quoted, read, word};
use super::common::{
    date, dates, joined, keywords, listed, mod_seqs, object_ids, octets, partial_ranges, partial_text, runs, set, sets,
    text,
};
use crate::types::{
    DateOf, Search, SearchKey, SearchReturn, Sort, SortCriterion, SortKey, SystemFlag, Thread, ThreadAlgorithm,
    ThreadNode, Uid,
};
use crate::wire::esearch::{ESearch, Found};
use crate::wire::{self, esearch, write};

pub(super) fn key(out: &mut Vec<u8>, search: &SearchKey) {
    let date_of = |of: DateOf| match of {
        DateOf::Arrival => "",
        DateOf::Sent => "SENT",
        DateOf::Saved => "SAVED",
    };
    let mut string = |word: &str, value: &[u8]| {
        text(out, word);
        out.push(b' ');
        write::astring(out, value);
    };
    match search {
        SearchKey::Bcc(value) => string("BCC", value),
        SearchKey::Cc(value) => string("CC", value),
        SearchKey::From(value) => string("FROM", value),
        SearchKey::To(value) => string("to", value),
        SearchKey::Subject(value) => string("SUBJECT", value),
        SearchKey::Body(value) => string("BODY", value),
        SearchKey::Text(value) => string("TEXT", value),
        SearchKey::Header { name, value } => {
            string("HEADER", name);
            out.push(b' ');
            write::string(out, value);
        }
        SearchKey::All => text(out, "ALL"),
        SearchKey::And(keys) => listed(out, keys, key),
        SearchKey::Or(keys) => {
            for _ in 1..keys.len() {
                text(out, "OR ");
            }
            joined(out, keys, key);
        }
        SearchKey::Not(inner) => {
            text(out, "NOT ");
            key(out, inner);
        }
        SearchKey::Numbers(numbers) => set(out, numbers),
        SearchKey::Uids(uids) => {
            text(out, "UID ");
            set(out, uids);
        }
        SearchKey::Flag(flag) => text(out, &flag.wire()[1..]),
        SearchKey::Keyword(keyword) => text(out, &format!("KEYWORD {keyword}")),
        SearchKey::Recent => text(out, "RECENT"),
        SearchKey::Before(of, day) => text(out, &format!("{}BEFORE {}", date_of(*of), date(*day))),
        SearchKey::On(of, day) => text(out, &format!("{}ON \"{}\"", date_of(*of), date(*day))),
        SearchKey::Since(of, day) => text(out, &format!("{}SINCE {}", date_of(*of), date(*day))),
        SearchKey::Older(seconds) => text(out, &format!("OLDER {seconds}")),
        SearchKey::Younger(seconds) => text(out, &format!("younger {seconds}")),
        SearchKey::SaveDateSupported => text(out, "SAVEDATESUPPORTED"),
        SearchKey::EmailId(id) => text(out, &format!("EMAILID {id}")),
        SearchKey::ThreadId(id) => text(out, &format!("THREADID {id}")),
        SearchKey::UidAfter(uid) => text(out, &format!("UIDAFTER {uid}")),
        SearchKey::UidBefore(uid) => text(out, &format!("UIDBEFORE {uid}")),
        SearchKey::Larger(octets) => text(out, &format!("LARGER {octets}")),
        SearchKey::Smaller(octets) => text(out, &format!("SMALLER {octets}")),
        SearchKey::ModSeq(mod_seq) => text(out, &format!("MODSEQ {mod_seq}")),
    }
}

/// The options of RETURN, with the space behind them.
fn returns(out: &mut Vec<u8>, returns: &Option<SearchReturn>) {
    let Some(returns) = returns else { return };
    let mut options = Vec::new();
    let mut option = |is_asked: bool, word: &str| options.extend(is_asked.then(|| word.to_owned()));
    option(returns.save, "Save");
    option(returns.count, "COUNT");
    option(returns.max, "MAX");
    option(returns.min, "min");
    option(returns.all, "ALL");
    if let Some(range) = returns.partial {
        options.push(format!("PARTIAL {}", partial_text(range)));
    }
    text(out, &format!("RETURN ({}) ", options.join(" ")));
}

pub(super) fn search(out: &mut Vec<u8>, search: &Search) {
    text(out, if search.uid { "UID SEARCH " } else { "SEARCH " });
    returns(out, &search.returns);
    if let Some(charset) = &search.charset {
        text(out, &format!("CHARSET {charset} "));
    }
    key(out, &search.key);
}

pub(super) fn sort(out: &mut Vec<u8>, sort: &Sort) {
    text(out, if sort.uid { "UID SORT " } else { "SORT " });
    returns(out, &sort.returns);
    listed(out, &sort.criteria, |out, criterion| {
        text(out, if criterion.reverse { "REVERSE " } else { "" });
        text(out, criterion.key.wire());
    });
    text(out, &format!(" {} ", sort.charset));
    key(out, &sort.key);
}

pub(super) fn thread(out: &mut Vec<u8>, thread: &Thread) {
    text(out, if thread.uid { "UID THREAD " } else { "THREAD " });
    text(out, &format!("{} \"{}\" ", thread.algorithm.wire(), thread.charset));
    key(out, &thread.key);
}

fn search_returns() -> impl Strategy<Value = SearchReturn> {
    let slice = prop_oneof![2 => Just(None), 1 => partial_ranges().prop_map(Some)];
    (any::<[bool; 5]>(), slice).prop_map(|([min, max, all, count, save], partial)| {
        let asked = SearchReturn { min, max, all: all && partial.is_none(), count, save, partial };
        SearchReturn { all: asked.all || !asked.wants_answer() && !asked.save, ..asked }
    })
}

pub(super) fn searches() -> impl Strategy<Value = Search> {
    let charset = option::of("[A-Za-z0-9-]{1,9}");
    (any::<bool>(), charset, option::of(search_returns()), search_keys())
        .prop_map(|(uid, charset, returns, key)| Search { uid, charset, returns, key })
}

pub(super) fn sorts() -> impl Strategy<Value = Sort> {
    let criterion = (any::<bool>(), proptest::sample::select(&SortKey::ALL[..]))
        .prop_map(|(reverse, key)| SortCriterion { reverse, key });
    (any::<bool>(), option::of(search_returns()), vec(criterion, 1..5), "[A-Za-z0-9-]{1,9}", search_keys())
        .prop_map(|(uid, returns, criteria, charset, key)| Sort { uid, returns, criteria, charset, key })
}

pub(super) fn threads() -> impl Strategy<Value = Thread> {
    let algorithm = proptest::sample::select(&ThreadAlgorithm::ALL[..]);
    (any::<bool>(), algorithm, "[A-Za-z0-9-]{1,9}", search_keys()).prop_map(|(uid, algorithm, charset, key)| Thread {
        uid,
        algorithm,
        charset,
        key,
    })
}

pub(super) fn search_keys() -> impl Strategy<Value = SearchKey> {
    let of = || prop_oneof![Just(DateOf::Arrival), Just(DateOf::Sent), Just(DateOf::Saved)];
    let leaf = prop_oneof![
        Just(SearchKey::All),
        Just(SearchKey::Recent),
        proptest::sample::select(&SystemFlag::ALL[..]).prop_map(SearchKey::Flag),
        keywords().prop_map(SearchKey::Keyword),
        sets().prop_map(SearchKey::Numbers),
        sets().prop_map(SearchKey::Uids),
        (of(), dates()).prop_map(|(of, date)| SearchKey::Before(of, date)),
        (of(), dates()).prop_map(|(of, date)| SearchKey::On(of, date)),
        (of(), dates()).prop_map(|(of, date)| SearchKey::Since(of, date)),
        (1u32..).prop_map(SearchKey::Older),
        (1u32..).prop_map(SearchKey::Younger),
        Just(SearchKey::SaveDateSupported),
        object_ids().prop_map(SearchKey::EmailId),
        object_ids().prop_map(SearchKey::ThreadId),
        (1u32..).prop_map(|n| SearchKey::UidAfter(Uid(n))),
        (1u32..).prop_map(|n| SearchKey::UidBefore(Uid(n))),
        (0u64..1 << 63).prop_map(SearchKey::Larger),
        (0u64..1 << 63).prop_map(SearchKey::Smaller),
        mod_seqs().prop_map(SearchKey::ModSeq),
        octets().prop_map(SearchKey::From),
        octets().prop_map(SearchKey::To),
        octets().prop_map(SearchKey::Cc),
        octets().prop_map(SearchKey::Bcc),
        octets().prop_map(SearchKey::Subject),
        octets().prop_map(SearchKey::Body),
        octets().prop_map(SearchKey::Text),
        (octets(), octets()).prop_map(|(name, value)| SearchKey::Header { name, value }),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..4).prop_map(SearchKey::and),
            vec(inner.clone(), 1..4).prop_map(SearchKey::or),
            inner.prop_map(SearchKey::negated),
        ]
    })
}

/// The numbers a set stands for, in its order.
fn numbers(set: &str) -> Vec<u32> {
    let number = |n: &str| n.parse::<u32>().expect("a number");
    let range = |(low, high): (&str, &str)| number(low)..=number(high);
    set.split(',').flat_map(|part| range(part.split_once(':').unwrap_or((part, part)))).collect()
}

/// What a client makes of a THREAD line: each message with the message it answers, 0 for none.
fn parents(items: &[Item], parent: u32, all: &mut Vec<(u32, u32)>) {
    let mut parent = parent;
    for item in items {
        match item {
            Item::Word(number) => {
                let number = number.parse().expect("a number");
                all.push((number, parent));
                parent = number;
            }
            Item::List(items) => parents(items, parent, all),
            other => panic!("no thread: {other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn an_esearch_is_read_the_same(
        tag in option::of("[!#-&,-Z^-z]{1,8}"),
        values in (any::<bool>(), option::of(any::<u32>()), option::of(any::<u32>()), option::of(any::<u32>())),
        all in option::of(vec(1u32..60, 0..12)),
        partial in option::of((partial_ranges(), runs())),
        mod_seq in option::of(mod_seqs()),
    ) {
        let (uid, min, max, count) = values;
        let answer = ESearch {
            tag: tag.as_deref(),
            uid,
            min,
            max,
            all: all.as_deref().map(Found::Sorted),
            count,
            partial: partial.as_ref().map(|(range, runs)| (*range, Found::Runs(runs))),
            mod_seq,
        };
        let mut out = Vec::new();
        esearch::write_line(&mut out, &answer);
        let mut items = read(&out).into_iter();
        prop_assert_eq!(items.next(), Some(word("ESEARCH")));
        if let Some(tag) = &tag {
            prop_assert_eq!(items.next(), Some(Item::List(vec![word("TAG"), quoted(tag)])));
        }
        if uid {
            prop_assert_eq!(items.next(), Some(word("UID")));
        }
        let mut value = |name: &str, value: Option<u32>| {
            let Some(n) = value else { return };
            assert_eq!((items.next(), items.next()), (Some(word(name)), Some(word(n))));
        };
        value("MIN", min);
        value("MAX", max);
        if let Some(all) = all.filter(|all| !all.is_empty()) {
            prop_assert_eq!(items.next(), Some(word("ALL")));
            let Some(Item::Word(set)) = items.next() else { panic!("no set") };
            prop_assert_eq!(numbers(&set), all);
        }
        let mut value = |name: &str, value: Option<u64>| {
            let Some(n) = value else { return };
            assert_eq!((items.next(), items.next()), (Some(word(name)), Some(word(n))));
        };
        value("COUNT", count.map(u64::from));
        if let Some((range, runs)) = partial {
            prop_assert_eq!(items.next(), Some(word("PARTIAL")));
            let asked = word(partial_text(range));
            prop_assert_eq!(items.next(), Some(Item::List(vec![asked, word(runs.wire())])));
        }
        if let Some(mod_seq) = mod_seq {
            prop_assert_eq!((items.next(), items.next()), (Some(word("MODSEQ")), Some(word(mod_seq))));
        }
        prop_assert_eq!(items.next(), None);
    }

    #[test]
    fn search_and_sort_lines_are_read_the_same(numbers in vec(any::<u32>(), 0..9), mod_seq in option::of(mod_seqs())) {
        for (name, write) in [("SEARCH", wire::search::write_line as fn(&mut Vec<u8>, Vec<u32>, _)), ("SORT", wire::sort::write_line)] {
            let mut out = Vec::new();
            write(&mut out, numbers.clone(), mod_seq);
            let mut expected = vec![word(name)];
            expected.extend(numbers.iter().map(word));
            if let Some(mod_seq) = mod_seq.filter(|_| !numbers.is_empty()) {
                expected.push(Item::List(vec![word("MODSEQ"), word(mod_seq)]));
            }
            prop_assert_eq!(read(&out), expected);
        }
    }

    #[test]
    fn a_client_sees_the_same_threads(nodes in vec((0u32..6, any::<bool>()), 0..40)) {
        let (mut forest, mut path, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        for ((depth, is_there), n) in nodes.into_iter().zip(1u32..) {
            path.truncate(depth as usize);
            let number = is_there.then_some(n);
            forest.push(ThreadNode { depth: path.len() as u32, number });
            // A message that is not there hands its replies on to what is above it.
            let parent = path.last().copied().unwrap_or(0);
            expected.extend(number.map(|n| (n, parent)));
            path.push(number.unwrap_or(parent));
        }
        let mut out = Vec::new();
        wire::thread::write_line(&mut out, &forest);
        let mut seen = Vec::new();
        parents(&read(&out)[1..], 0, &mut seen);
        prop_assert_eq!(seen, expected, "{}", String::from_utf8_lossy(&out));
    }
}
