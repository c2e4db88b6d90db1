//! A FETCH worked out: what is sent in which order, and what has to be read for it. A pure function of the command.

use std::sync::Arc;

use crate::imap::updates::Enabled;
use crate::mailstore::{Wanted, WantedBinary, WantedSection};
use crate::message::Letters;
use crate::types::{Fetch, FetchItem, Section, SectionText};

/// One item of the answer, in the order it is sent.
pub enum Slot {
    Flags,
    InternalDate,
    SaveDate,
    Size,
    ModSeq,
    EmailId,
    ThreadId,
    Preview,
    Envelope,
    Body,
    BodyStructure,
    /// The n-th of the wanted binaries is a size.
    BinarySize(usize, Vec<u32>),
    /// The n-th of the wanted sections, and how its name is written.
    Section(usize, SectionName),
    /// The n-th of the wanted binaries, its part and the first octet asked for.
    Binary(usize, Vec<u32>, Option<u64>),
}

impl Slot {
    /// Long items go behind short ones: there are programs that rely on it.
    fn is_long(&self) -> bool {
        matches!(self, Slot::Section(..) | Slot::Binary(..))
    }
}

/// How the name of a section is written.
pub enum SectionName {
    Asked(Section, Option<u64>),
    Old(&'static str),
}

/// See the file's head.
pub struct Plan {
    pub slots: Vec<Slot>,
    pub with_uid: bool,
    pub tells_flags: bool,
    pub sets_seen: bool,
    pub wanted: Arc<Wanted>,
}

impl Plan {
    pub fn new(arguments: &Fetch, may_set_seen: bool, enabled: Enabled) -> Self {
        let letters = if enabled.utf8 { Letters::Utf8 } else { Letters::SevenBit };
        let mut making =
            Making { wanted: Wanted { letters, ..Wanted::default() }, slots: Vec::new(), sets_seen: false };
        for item in &arguments.items {
            making.add(item);
        }
        let Making { wanted, mut slots, sets_seen } = making;
        // RFC 7162 §3.1: from its first use on, every answer about a message carries MODSEQ.
        if enabled.condstore && !slots.iter().any(|slot| matches!(slot, Slot::ModSeq)) {
            slots.push(Slot::ModSeq);
        }
        slots.sort_by_key(Slot::is_long);
        Plan {
            // RFC 9586 §3.3: UIDFETCH begins with it.
            with_uid: (arguments.uid && !enabled.uid_only) || arguments.items.contains(&FetchItem::Uid),
            tells_flags: slots.iter().any(|slot| matches!(slot, Slot::Flags)),
            sets_seen: sets_seen && may_set_seen,
            slots,
            wanted: Arc::new(wanted),
        }
    }
}

impl Plan {
    /// PARTIAL: these octets of the only section, which the answer does not say (RFC 2062, section 6.4.OBS.1).
    pub fn cut(mut self, from: u64, most: u64) -> Self {
        let mut wanted = (*self.wanted).clone();
        for section in &mut wanted.sections {
            section.partial = Some((from, most));
        }
        self.wanted = Arc::new(wanted);
        self
    }
}

struct Making {
    wanted: Wanted,
    slots: Vec<Slot>,
    sets_seen: bool,
}

impl Making {
    fn add(&mut self, item: &FetchItem) {
        let wanted = &mut self.wanted;
        let slot = match item {
            FetchItem::Uid => return,
            FetchItem::Flags => Slot::Flags,
            FetchItem::InternalDate => {
                wanted.dates = true;
                Slot::InternalDate
            }
            FetchItem::SaveDate => {
                wanted.dates = true;
                Slot::SaveDate
            }
            FetchItem::Rfc822Size => Slot::Size,
            FetchItem::ModSeq => Slot::ModSeq,
            FetchItem::EmailId => {
                wanted.email_id = true;
                Slot::EmailId
            }
            FetchItem::ThreadId => {
                wanted.thread_id = true;
                Slot::ThreadId
            }
            // RFC 8970 §3.1: it was made when the message came, so LAZY makes no difference.
            FetchItem::Preview { .. } => {
                wanted.preview = true;
                Slot::Preview
            }
            FetchItem::Envelope => {
                wanted.envelope = true;
                Slot::Envelope
            }
            FetchItem::Body => {
                wanted.bodystructure = true;
                Slot::Body
            }
            FetchItem::BodyStructure => {
                wanted.bodystructure = true;
                Slot::BodyStructure
            }
            FetchItem::Section { section, peek, partial } => {
                let name = SectionName::Asked(section.clone(), partial.map(|(from, _)| from));
                return self.section(section.clone(), *partial, name, !peek);
            }
            FetchItem::Binary { path, peek, partial } => {
                self.sets_seen |= !peek;
                let at = self.binary(path, *partial, false);
                Slot::Binary(at, path.clone(), partial.map(|(from, _)| from))
            }
            FetchItem::BinarySize { path } => Slot::BinarySize(self.binary(path, None, true), path.clone()),
            FetchItem::Rfc822 => return self.old("RFC822", SectionText::Whole, true),
            // RFC 3501 §6.4.5: the header may be looked at without reading the message.
            FetchItem::Rfc822Header => return self.old("RFC822.HEADER", SectionText::Header, false),
            FetchItem::Rfc822Text => return self.old("RFC822.TEXT", SectionText::Text, true),
            // RFC 2062, section 6.4.5.OBS.1: the names of the answers are those of the items above.
            FetchItem::Rfc822Peek => return self.old("RFC822", SectionText::Whole, false),
            FetchItem::Rfc822TextPeek => return self.old("RFC822.TEXT", SectionText::Text, false),
            FetchItem::Rfc822HeaderLines { names, not } => {
                let text = SectionText::HeaderFields { names: names.clone(), not: *not };
                return self.old("RFC822.HEADER", text, false);
            }
        };
        self.slots.push(slot);
    }

    fn section(&mut self, section: Section, partial: Option<(u64, u64)>, name: SectionName, reads: bool) {
        self.sets_seen |= reads;
        self.wanted.sections.push(WantedSection { path: section.path, text: section.text, partial });
        self.slots.push(Slot::Section(self.wanted.sections.len() - 1, name));
    }

    fn old(&mut self, name: &'static str, text: SectionText, reads: bool) {
        self.section(Section { path: Vec::new(), text }, None, SectionName::Old(name), reads);
    }

    fn binary(&mut self, path: &[u32], partial: Option<(u64, u64)>, is_size_only: bool) -> usize {
        self.wanted.binaries.push(WantedBinary { path: path.to_vec(), partial, is_size_only });
        self.wanted.binaries.len() - 1
    }
}
