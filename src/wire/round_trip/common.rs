//! What all families of commands are made of, as a client writes it, and values of every kind.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::types::{
    Date, Flag, Keyword, MailboxArgument, MailboxName, ModSeq, NumSet, ObjectId, PartialRange, SetBound, SystemFlag,
    UidRuns,
};
use crate::wire::{Dialect, write};

pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn name(out: &mut Vec<u8>, mailbox: &MailboxArgument, dialect: Dialect) {
    out.push(b' ');
    write::mailbox(out, mailbox.as_ref().expect("only good names are made"), dialect);
}

pub(super) fn set(out: &mut Vec<u8>, set: &NumSet) {
    let NumSet::Ranges(ranges) = set else { return out.push(b'$') };
    let bound = |bound: SetBound| match bound {
        SetBound::Number(n) => n.to_string(),
        SetBound::Star => "*".to_owned(),
    };
    let ranges: Vec<String> =
        ranges.iter().map(|(a, b)| if a == b { bound(*a) } else { format!("{}:{}", bound(*a), bound(*b)) }).collect();
    text(out, &ranges.join(","));
}

pub(super) fn joined<T>(out: &mut Vec<u8>, items: &[T], mut one: impl FnMut(&mut Vec<u8>, &T)) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        one(out, item);
    }
}

pub(super) fn listed<T>(out: &mut Vec<u8>, items: &[T], one: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'(');
    joined(out, items, one);
    out.push(b')');
}

pub(super) fn date(date: Date) -> String {
    const MONTHS: [&str; 12] = ["jan", "FEB", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    format!("{}-{}-{:04}", date.day(), MONTHS[usize::from(date.month()) - 1], date.year())
}

pub(super) fn mailboxes() -> impl Strategy<Value = MailboxArgument> {
    "[a-zA-Z.&€ü😀 \"\\\\%]{1,8}(/[a-z]{1,3}){0,2}".prop_map(|name| Ok(MailboxName::new(&name).expect("a name")))
}

pub(super) fn sets() -> impl Strategy<Value = NumSet> {
    let bound = prop_oneof![4 => (1u32..).prop_map(SetBound::Number), 1 => Just(SetBound::Star)];
    prop_oneof![9 => vec((bound.clone(), bound), 1..5).prop_map(NumSet::Ranges), 1 => Just(NumSet::Saved)]
}

/// Never none.
pub(super) fn runs() -> impl Strategy<Value = UidRuns> {
    vec(1u32..500, 1..6).prop_map(|numbers| numbers.into_iter().collect())
}

pub(super) fn object_ids() -> impl Strategy<Value = ObjectId> {
    "[A-Za-z0-9_-]{1,12}".prop_map(|id| ObjectId::new(&id).expect("an id"))
}

pub(super) fn mod_seqs() -> impl Strategy<Value = ModSeq> {
    (0u64..1 << 63).prop_map(ModSeq)
}

pub(super) fn keywords() -> impl Strategy<Value = Keyword> {
    "[$a-zA-Z0-9._-]{1,12}".prop_map(|name| Keyword::new(&name).expect("an atom"))
}

pub(super) fn flags() -> impl Strategy<Value = Flag> {
    let system = proptest::sample::select(&SystemFlag::ALL[..]).prop_map(Flag::System);
    prop_oneof![system, keywords().prop_map(Flag::Keyword)]
}

pub(super) fn octets() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof!["[a-z \"\\\\(){]{0,12}".prop_map(String::into_bytes), vec(1u8.., 0..12)]
}

pub(super) fn dates() -> impl Strategy<Value = Date> {
    (-700_000i64..2_900_000).prop_map(Date::from_days_since_1970)
}

pub(super) fn partial_ranges() -> impl Strategy<Value = PartialRange> {
    (any::<bool>(), 1u32.., 1u32..).prop_map(|(from_last, first, second)| PartialRange { from_last, first, second })
}

pub(super) fn partial_text(range: PartialRange) -> String {
    let sign = if range.from_last { "-" } else { "" };
    format!("{sign}{}:{sign}{}", range.first, range.second)
}
