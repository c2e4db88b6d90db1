//! SEARCH as a client writes it, and keys of every kind.

use proptest::collection::vec;
use proptest::prelude::*;

use super::common::{date, dates, joined, keywords, listed, mod_seqs, octets, set, sets, text};
use crate::types::{DateOf, SearchKey, SystemFlag};
use crate::wire::write;

pub(super) fn key(out: &mut Vec<u8>, search: &SearchKey) {
    let date_of = |of: DateOf| if of == DateOf::Sent { "SENT" } else { "" };
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
        SearchKey::Larger(octets) => text(out, &format!("LARGER {octets}")),
        SearchKey::Smaller(octets) => text(out, &format!("SMALLER {octets}")),
        SearchKey::ModSeq(mod_seq) => text(out, &format!("MODSEQ {mod_seq}")),
    }
}

pub(super) fn search_keys() -> impl Strategy<Value = SearchKey> {
    let of = || prop_oneof![Just(DateOf::Arrival), Just(DateOf::Sent)];
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
