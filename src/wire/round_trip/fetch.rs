//! FETCH as a client writes it, values of every kind, and its answers read back.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::answer::{Item, read, word};
use super::common::{listed, mod_seqs, object_ids, partial_ranges, partial_text, set, sets, text};
use crate::types::{DateTime, Fetch, FetchItem, FlagSet, Section, SectionText, Seq, Uid};
use crate::wire::date::write_date_time;
use crate::wire::fetch::{Items, write_section_spec};
use crate::wire::{Dialect, write};

pub(super) fn fetch(out: &mut Vec<u8>, fetch: &Fetch) {
    text(out, if fetch.uid { "UID FETCH " } else { "FETCH " });
    set(out, &fetch.set);
    out.push(b' ');
    match &fetch.items[..] {
        [one] if !fetch.uid => item(out, one),
        items => listed(out, items, item),
    }
    let mut modifiers = Vec::new();
    modifiers.extend(fetch.partial.map(|range| format!("PARTIAL {}", partial_text(range))));
    modifiers.extend(fetch.vanished.then(|| "VANISHED".to_owned()));
    modifiers.extend(fetch.changed_since.map(|since| format!("CHANGEDSINCE {since}")));
    if !modifiers.is_empty() {
        text(out, &format!(" ({})", modifiers.join(" ")));
    }
}

pub(super) fn item(out: &mut Vec<u8>, item: &FetchItem) {
    match item {
        FetchItem::Uid => text(out, "UID"),
        FetchItem::Flags => text(out, "FLAGS"),
        FetchItem::InternalDate => text(out, "INTERNALDATE"),
        FetchItem::Rfc822Size => text(out, "RFC822.SIZE"),
        FetchItem::Envelope => text(out, "ENVELOPE"),
        FetchItem::Body => text(out, "BODY"),
        FetchItem::BodyStructure => text(out, "BODYSTRUCTURE"),
        FetchItem::ModSeq => text(out, "MODSEQ"),
        FetchItem::SaveDate => text(out, "SAVEDATE"),
        FetchItem::Preview { lazy } => text(out, if *lazy { "PREVIEW (LAZY)" } else { "PREVIEW" }),
        FetchItem::EmailId => text(out, "EMAILID"),
        FetchItem::ThreadId => text(out, "THREADID"),
        FetchItem::Binary { path, peek, partial } => {
            text(out, if *peek { "BINARY.PEEK" } else { "BINARY" });
            text(out, &format!("[{}]", path_text(path)));
            octets(out, *partial);
        }
        FetchItem::BinarySize { path } => {
            text(out, &format!("BINARY.SIZE[{}]", path_text(path)));
        }
        FetchItem::Rfc822 => text(out, "RFC822"),
        FetchItem::Rfc822Header => text(out, "RFC822.HEADER"),
        FetchItem::Rfc822Text => text(out, "RFC822.TEXT"),
        FetchItem::Rfc822Peek => text(out, "RFC822.PEEK"),
        FetchItem::Rfc822TextPeek => text(out, "rfc822.text.peek"),
        FetchItem::Rfc822HeaderLines { names, not } => {
            text(out, if *not { "RFC822.HEADER.LINES.NOT " } else { "RFC822.HEADER.LINES " });
            listed(out, names, |out, name| write::astring(out, name.as_bytes()));
        }
        FetchItem::Section { section, peek, partial } => {
            text(out, if *peek { "BODY.PEEK[" } else { "BODY[" });
            write_section_spec(out, section);
            out.push(b']');
            octets(out, *partial);
        }
    }
}

fn path_text(path: &[u32]) -> String {
    path.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

fn octets(out: &mut Vec<u8>, partial: Option<(u64, u64)>) {
    if let Some((first, count)) = partial {
        text(out, &format!("<{first}.{count}>"));
    }
}

pub(super) fn sections() -> impl Strategy<Value = Section> {
    let fields = (vec("[!-~]{1,10}|[a-z ]{0,4}", 1..4), any::<bool>());
    let text = prop_oneof![
        Just(SectionText::Whole),
        Just(SectionText::Header),
        Just(SectionText::Text),
        Just(SectionText::Mime),
        fields.prop_map(|(names, not)| SectionText::HeaderFields { names, not }),
    ];
    (vec(1u32.., 0..4), text).prop_map(|(path, text)| {
        let text = if path.is_empty() && text == SectionText::Mime { SectionText::Whole } else { text };
        Section { path, text }
    })
}

/// At least one.
pub(super) fn items() -> impl Strategy<Value = Vec<FetchItem>> {
    let item = prop_oneof![
        Just(FetchItem::Uid),
        Just(FetchItem::Flags),
        Just(FetchItem::InternalDate),
        Just(FetchItem::Rfc822Size),
        Just(FetchItem::Envelope),
        Just(FetchItem::Body),
        Just(FetchItem::BodyStructure),
        Just(FetchItem::ModSeq),
        Just(FetchItem::SaveDate),
        Just(FetchItem::EmailId),
        Just(FetchItem::ThreadId),
        any::<bool>().prop_map(|lazy| FetchItem::Preview { lazy }),
        (vec(1u32.., 0..4), any::<bool>(), option::of((0u64..1 << 63, 1u64..1 << 63)))
            .prop_map(|(path, peek, partial)| FetchItem::Binary { path, peek, partial }),
        vec(1u32.., 0..4).prop_map(|path| FetchItem::BinarySize { path }),
        Just(FetchItem::Rfc822),
        Just(FetchItem::Rfc822Header),
        Just(FetchItem::Rfc822Text),
        Just(FetchItem::Rfc822Peek),
        Just(FetchItem::Rfc822TextPeek),
        (vec("[A-Za-z -]{1,9}", 1..3), any::<bool>())
            .prop_map(|(names, not)| FetchItem::Rfc822HeaderLines { names, not }),
        (sections(), any::<bool>(), option::of((0u64..1 << 63, 1u64..1 << 63)))
            .prop_map(|(section, peek, partial)| FetchItem::Section { section, peek, partial }),
    ];
    vec(item, 1..6)
}

pub(super) fn fetches() -> impl Strategy<Value = Fetch> {
    (sets(), any::<bool>(), items(), option::of(mod_seqs()), any::<bool>(), option::of(partial_ranges())).prop_map(
        |(set, uid, items, changed_since, vanished, partial)| {
            let vanished = vanished && uid && changed_since.is_some();
            Fetch { set, uid, items, changed_since, vanished, partial }
        },
    )
}

proptest! {
    #[test]
    fn an_answer_is_read_the_same(
        number in 1u32..,
        by_uid in any::<bool>(),
        (mod_seq, size) in (mod_seqs(), any::<u64>()),
        (id, thread) in (object_ids(), option::of(object_ids())),
        utf8 in any::<bool>(),
        preview in option::of("[a-z \"ü\r\n]{0,12}"),
        saved in option::of(-60_000_000_000i64..250_000_000_000),
        (path, origin, content) in (vec(1u32.., 0..4), option::of(0u64..1 << 63), vec(any::<u8>(), 0..12)),
    ) {
        let nstring = |text: Option<&[u8]>| text.map_or(word("NIL"), |text| Item::Text(text.to_vec()));
        let mut out = Vec::new();
        let mut items =
            if by_uid { Items::open_uid(&mut out, Uid(number)) } else { Items::open(&mut out, Seq(number)) };
        items.uid(&mut out, Uid(number));
        items.flags(&mut out, &FlagSet::new(), true);
        items.mod_seq(&mut out, mod_seq);
        items.email_id(&mut out, &id);
        items.thread_id(&mut out, thread.as_ref());
        items.preview(&mut out, preview.as_deref(), Dialect { utf8, rev2: false });
        items.save_date(&mut out, saved.map(DateTime::utc));
        items.binary_size(&mut out, &path, size);
        items.binary(&mut out, &path, origin);
        write::binary_content(&mut out, &content);
        items.section(&mut out, &Section { path: path.clone(), text: SectionText::Header }, origin);
        write::nil(&mut out);
        items.close(&mut out);
        let items = read(&out);
        prop_assert_eq!(&items[..2], &[word(number), word(if by_uid { "UIDFETCH" } else { "FETCH" })]);
        let date = saved.map(|seconds| {
            let mut out = Vec::new();
            write_date_time(&mut out, DateTime::utc(seconds));
            out[1..out.len() - 1].to_vec()
        });
        let (path, dot) = (path_text(&path), if path.is_empty() { "" } else { "." });
        let origin = origin.map_or(String::new(), |origin| format!("<{origin}>"));
        let content = if content.contains(&0) { Item::Binary(content) } else { Item::Text(content) };
        let list = |item| Item::List(vec![item]);
        let expected = vec![
            word("UID"),
            word(number),
            word("FLAGS"),
            list(word("\\Recent")),
            word("MODSEQ"),
            list(word(mod_seq)),
            word("EMAILID"),
            list(word(id)),
            word("THREADID"),
            thread.map_or(word("NIL"), |id| list(word(id))),
            word("PREVIEW"),
            nstring(preview.as_deref().map(str::as_bytes)),
            word("SAVEDATE"),
            nstring(date.as_deref()),
            word(format!("BINARY.SIZE[{path}]")),
            word(size),
            word(format!("BINARY[{path}]{origin}")),
            content,
            word(format!("BODY[{path}{dot}HEADER]{origin}")),
            word("NIL"),
        ];
        prop_assert_eq!(&items[2..], &[Item::List(expected)]);
    }
}
