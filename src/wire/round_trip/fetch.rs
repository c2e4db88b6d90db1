//! FETCH items as a client writes them, and of every kind.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::common::{mod_seqs, sets, text};
use crate::types::{Fetch, FetchItem, Section, SectionText};
use crate::wire::fetch::write_section_spec;

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
        FetchItem::Rfc822 => text(out, "RFC822"),
        FetchItem::Rfc822Header => text(out, "RFC822.HEADER"),
        FetchItem::Rfc822Text => text(out, "RFC822.TEXT"),
        FetchItem::Section { section, peek, partial } => {
            text(out, if *peek { "BODY.PEEK[" } else { "BODY[" });
            write_section_spec(out, section);
            out.push(b']');
            if let Some((first, count)) = partial {
                text(out, &format!("<{first}.{count}>"));
            }
        }
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

pub(super) fn fetches() -> impl Strategy<Value = Fetch> {
    let item = prop_oneof![
        Just(FetchItem::Uid),
        Just(FetchItem::Flags),
        Just(FetchItem::InternalDate),
        Just(FetchItem::Rfc822Size),
        Just(FetchItem::Envelope),
        Just(FetchItem::Body),
        Just(FetchItem::BodyStructure),
        Just(FetchItem::ModSeq),
        Just(FetchItem::Rfc822),
        Just(FetchItem::Rfc822Header),
        Just(FetchItem::Rfc822Text),
        (sections(), any::<bool>(), option::of((any::<u32>(), 1u32..)))
            .prop_map(|(section, peek, partial)| FetchItem::Section { section, peek, partial }),
    ];
    (sets(), any::<bool>(), vec(item, 1..6), option::of(mod_seqs()), any::<bool>()).prop_map(
        |(set, uid, items, changed_since, vanished)| {
            let vanished = vanished && uid && changed_since.is_some();
            Fetch { set, uid, items, changed_since, vanished }
        },
    )
}
