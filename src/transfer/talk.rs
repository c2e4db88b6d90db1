//! What the two sides of a transfer say to each other, as frames: a letter, a length, and the fields. Pure functions;
//! what cannot be a frame is refused, whatever octets come.

use crate::mailstore::{Followed, ImportKey};
use crate::types::date::DateTime;
use crate::types::{FlagSet, Keyword, MailboxName, Uid, UidValidity};

/// Longest frame after its head, in octets: a message with as many keywords as any setting allows. Both sides belong
/// to one owner, so the bound is against accidents.
pub const MOST_FRAME_BYTES: usize = 32 << 20;
/// A frame's letter and length.
pub const HEAD_BYTES: usize = 5;
/// Most octets of a message in one frame.
pub const PIECE_BYTES: usize = 64 * 1024;
/// Most keys asked about at once.
pub const MOST_KEYS: usize = 4096;

/// What the side without the store asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// What follows is for this mailbox, which is made if it is not there. Answer: `Adopted`.
    Adopt { name: MailboxName, uid_validity: Option<UidValidity>, is_subscribed: Option<bool> },
    /// Which of these were taken before? At most [`MOST_KEYS`]. Answer: `Known`.
    Known(Vec<ImportKey>),
    /// The next octets of a message.
    Octets(Vec<u8>),
    /// The message is whole. Answer, after a while: one `Fate` for each, in order.
    Place { key: ImportKey, uid: Option<Uid>, flags: FlagSet, date: Option<DateTime> },
    /// The octets since the last `Place` are not to be a message.
    Discard,
    /// Make durable what was placed, and tell the fates.
    Settle,
    /// The mailbox's mail comes from the folder with this key, whose changes are followed. Answer: `Mark`.
    Follow(ImportKey),
    /// Messages of that folder have these flags now. Answer: `Followed`.
    Flags(Vec<(u32, FlagSet)>),
    /// Between these UIDs the folder has no others; what was taken of it and is not there is removed. `Followed`.
    Gone { from: u32, to: u32, present: Vec<u32> },
    /// All changes of the folder up to this HIGHESTMODSEQ were followed.
    Mark(u64),
    /// The mailbox is through; its source's UIDNEXT, if its UIDs are kept. Fates, then `Done`.
    Finish { uid_next: Option<u32> },
    /// All mailboxes, please. Answer: a `Mailbox` for each, then `Done`.
    List,
    /// All messages of this one, please. Answer: for each a `Message`, its `Octets`, and `End` or `Spoiled`; then `Done`.
    Read(MailboxName),
}

/// What the side with the store answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tell {
    Adopted {
        keeps_uids: bool,
    },
    Known(Vec<bool>),
    /// What [`Ask::Mark`] said last; 0: nothing.
    Mark(u64),
    Followed(Followed),
    Fate(Fate),
    /// UIDs are not kept in this mailbox any more.
    Renumbered,
    Mailbox(MailboxLine),
    Message(MessageLine),
    Octets(Vec<u8>),
    /// The message is whole.
    End,
    /// The message cannot be read whole; why.
    Spoiled(String),
    /// All of the answer.
    Done,
    /// The talk is over; why.
    Failed(String),
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    Placed,
    /// Placed, but its keywords are one too many for the mailbox.
    PlacedWithoutKeywords,
    /// It was taken before.
    Known,
    Refused(String),
}

/// A mailbox that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxLine {
    pub name: MailboxName,
    pub is_subscribed: bool,
    pub uid_validity: UidValidity,
    pub uid_next: u32,
    pub messages: u32,
    pub octets: u64,
}

/// What is told of a message before its octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageLine {
    pub uid: Uid,
    pub size: u32,
    pub flags: FlagSet,
    /// INTERNALDATE; `None` when it cannot be read either.
    pub date: Option<DateTime>,
}

/// A frame under construction.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    from: usize,
}

impl<'a> Writer<'a> {
    fn begin(out: &'a mut Vec<u8>, letter: u8) -> Self {
        let from = out.len();
        out.extend_from_slice(&[letter, 0, 0, 0, 0]);
        Writer { out, from }
    }

    fn number(&mut self, n: u64) -> &mut Self {
        self.out.extend_from_slice(&n.to_le_bytes());
        self
    }

    fn octets(&mut self, octets: &[u8]) -> &mut Self {
        self.number(octets.len() as u64);
        self.out.extend_from_slice(octets);
        self
    }

    /// 0 for nothing; every number given is stored one higher.
    fn maybe(&mut self, n: Option<u32>) -> &mut Self {
        self.number(n.map_or(0, |n| u64::from(n) + 1))
    }

    fn flags(&mut self, flags: &FlagSet) -> &mut Self {
        let keywords: Vec<&str> = flags.keywords().iter().map(Keyword::as_str).collect();
        self.number(u64::from(flags.bits())).octets(keywords.join(" ").as_bytes())
    }

    fn date(&mut self, date: Option<DateTime>) -> &mut Self {
        match date {
            None => self.number(0),
            Some(date) => self.number(1).number(date.unix_seconds as u64).number(i64::from(date.zone_minutes) as u64),
        }
    }

    fn end(&mut self) {
        let octets = (self.out.len() - self.from - HEAD_BYTES) as u32;
        self.out[self.from + 1..self.from + HEAD_BYTES].copy_from_slice(&octets.to_le_bytes());
    }
}

/// The fields of a frame that came.
struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let (number, left) = self.left.split_first_chunk()?;
        self.left = left;
        Some(u64::from_le_bytes(*number))
    }

    fn small(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn octets(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.number()?).ok()?;
        let (octets, left) = self.left.split_at_checked(count)?;
        self.left = left;
        Some(octets)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.octets()?).ok()
    }

    fn maybe(&mut self) -> Option<Option<u32>> {
        match self.number()? {
            0 => Some(None),
            n => Some(Some(u32::try_from(n - 1).ok()?)),
        }
    }

    fn truth(&mut self) -> Option<bool> {
        match self.number()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn mailbox(&mut self) -> Option<MailboxName> {
        MailboxName::new(self.text()?).ok()
    }

    fn flags(&mut self) -> Option<FlagSet> {
        let bits = u8::try_from(self.number()?).ok()?;
        let words = self.text()?.split(' ').filter(|word| !word.is_empty());
        let keywords: Option<Vec<Keyword>> = words.map(Keyword::new).collect();
        Some(FlagSet::from_parts(bits, keywords?))
    }

    fn date(&mut self) -> Option<Option<DateTime>> {
        if !self.truth()? {
            return Some(None);
        }
        let unix_seconds = self.number()? as i64;
        let zone_minutes = i16::try_from(self.number()? as i64).ok()?;
        Some(Some(DateTime { unix_seconds, zone_minutes }))
    }

    /// The value, if the frame ends behind it.
    fn end<T>(self, value: T) -> Option<T> {
        self.left.is_empty().then_some(value)
    }
}

/// The letter and the length in a frame's head; `None` when it is no frame.
pub fn head(head: [u8; HEAD_BYTES]) -> Option<(u8, usize)> {
    let [letter, length @ ..] = head;
    let length = u32::from_le_bytes(length) as usize;
    (length <= MOST_FRAME_BYTES).then_some((letter, length))
}

impl Ask {
    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Ask::Adopt { name, uid_validity, is_subscribed } => Writer::begin(out, b'A')
                .octets(name.as_str().as_bytes())
                .maybe(uid_validity.map(|value| value.0))
                .maybe(is_subscribed.map(u32::from))
                .end(),
            Ask::Known(keys) => {
                let mut frame = Writer::begin(out, b'K');
                keys.iter().for_each(|key| frame.out.extend_from_slice(&key.0));
                frame.end();
            }
            Ask::Octets(octets) => write_piece(octets, out),
            Ask::Place { key, uid, flags, date } => {
                Writer::begin(out, b'P').octets(&key.0).maybe(uid.map(|uid| uid.0)).flags(flags).date(*date).end()
            }
            Ask::Discard => Writer::begin(out, b'D').end(),
            Ask::Settle => Writer::begin(out, b'S').end(),
            Ask::Follow(key) => Writer::begin(out, b'W').octets(&key.0).end(),
            Ask::Flags(messages) => {
                let mut frame = Writer::begin(out, b'G');
                messages.iter().for_each(|(uid, flags)| _ = frame.number(u64::from(*uid)).flags(flags));
                frame.end();
            }
            Ask::Gone { from, to, present } => {
                let mut frame = Writer::begin(out, b'X');
                frame.number(u64::from(*from)).number(u64::from(*to));
                present.iter().for_each(|uid| _ = frame.number(u64::from(*uid)));
                frame.end();
            }
            Ask::Mark(mark) => Writer::begin(out, b'M').number(*mark).end(),
            Ask::Finish { uid_next } => Writer::begin(out, b'F').maybe(*uid_next).end(),
            Ask::List => Writer::begin(out, b'L').end(),
            Ask::Read(name) => Writer::begin(out, b'R').octets(name.as_str().as_bytes()).end(),
        }
    }

    /// Reads a frame of this letter; `None` when it cannot be one.
    pub fn read(letter: u8, fields: &[u8]) -> Option<Ask> {
        let mut reader = Reader { left: fields };
        let ask = match letter {
            b'A' => {
                let name = reader.mailbox()?;
                let uid_validity = reader.maybe()?.map(UidValidity);
                let is_subscribed = match reader.maybe()? {
                    None => None,
                    Some(n @ (0 | 1)) => Some(n == 1),
                    Some(_) => return None,
                };
                Ask::Adopt { name, uid_validity, is_subscribed }
            }
            b'K' => return read_keys(fields).map(Ask::Known),
            b'O' => return read_piece(fields).map(Ask::Octets),
            b'P' => {
                let key = ImportKey(reader.octets()?.try_into().ok()?);
                let uid = reader.maybe()?.map(Uid);
                Ask::Place { key, uid, flags: reader.flags()?, date: reader.date()? }
            }
            b'D' => Ask::Discard,
            b'S' => Ask::Settle,
            b'W' => Ask::Follow(ImportKey(reader.octets()?.try_into().ok()?)),
            b'G' => {
                let mut messages = Vec::new();
                while !reader.left.is_empty() {
                    messages.push((reader.small()?, reader.flags()?));
                }
                Ask::Flags(messages)
            }
            b'X' => {
                let (from, to) = (reader.small()?, reader.small()?);
                let mut present = Vec::new();
                while !reader.left.is_empty() {
                    present.push(reader.small()?);
                }
                Ask::Gone { from, to, present }
            }
            b'M' => Ask::Mark(reader.number()?),
            b'F' => Ask::Finish { uid_next: reader.maybe()? },
            b'L' => Ask::List,
            b'R' => Ask::Read(reader.mailbox()?),
            _ => return None,
        };
        reader.end(ask)
    }
}

/// Appends a frame with octets of a message, whichever side sends it.
pub fn write_piece(octets: &[u8], out: &mut Vec<u8>) {
    let mut frame = Writer::begin(out, b'O');
    frame.out.extend_from_slice(octets);
    frame.end();
}

fn read_piece(fields: &[u8]) -> Option<Vec<u8>> {
    (fields.len() <= PIECE_BYTES).then(|| fields.to_vec())
}

fn read_keys(fields: &[u8]) -> Option<Vec<ImportKey>> {
    let (keys, rest) = fields.as_chunks();
    (rest.is_empty() && keys.len() <= MOST_KEYS).then(|| keys.iter().map(|key| ImportKey(*key)).collect())
}

impl Tell {
    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Tell::Adopted { keeps_uids } => Writer::begin(out, b'A').number(u64::from(*keeps_uids)).end(),
            Tell::Known(known) => {
                let mut frame = Writer::begin(out, b'K');
                frame.out.extend(known.iter().map(|is| u8::from(*is)));
                frame.end();
            }
            Tell::Mark(mark) => Writer::begin(out, b'W').number(*mark).end(),
            Tell::Followed(followed) => Writer::begin(out, b'V').number(followed.done).number(followed.kept).end(),
            Tell::Fate(fate) => {
                let (number, why) = match fate {
                    Fate::Placed => (0, ""),
                    Fate::PlacedWithoutKeywords => (1, ""),
                    Fate::Known => (2, ""),
                    Fate::Refused(why) => (3, why.as_str()),
                };
                Writer::begin(out, b'P').number(number).octets(why.as_bytes()).end();
            }
            Tell::Renumbered => Writer::begin(out, b'U').end(),
            Tell::Mailbox(line) => {
                Writer::begin(out, b'B')
                    .octets(line.name.as_str().as_bytes())
                    .number(u64::from(line.is_subscribed))
                    .number(u64::from(line.uid_validity.0))
                    .number(u64::from(line.uid_next))
                    .number(u64::from(line.messages))
                    .number(line.octets)
                    .end();
            }
            Tell::Message(line) => Writer::begin(out, b'M')
                .number(u64::from(line.uid.0))
                .number(u64::from(line.size))
                .flags(&line.flags)
                .date(line.date)
                .end(),
            Tell::Octets(octets) => write_piece(octets, out),
            Tell::End => Writer::begin(out, b'E').end(),
            Tell::Spoiled(why) => Writer::begin(out, b'X').octets(why.as_bytes()).end(),
            Tell::Done => Writer::begin(out, b'D').end(),
            Tell::Failed(why) => Writer::begin(out, b'!').octets(why.as_bytes()).end(),
        }
    }

    /// Reads a frame of this letter; `None` when it cannot be one.
    pub fn read(letter: u8, fields: &[u8]) -> Option<Tell> {
        let mut reader = Reader { left: fields };
        let tell = match letter {
            b'A' => Tell::Adopted { keeps_uids: reader.truth()? },
            b'K' => return read_known(fields).map(Tell::Known),
            b'P' => {
                let (number, why) = (reader.number()?, reader.text()?);
                Tell::Fate(match number {
                    0 => Fate::Placed,
                    1 => Fate::PlacedWithoutKeywords,
                    2 => Fate::Known,
                    3 => Fate::Refused(why.to_owned()),
                    _ => return None,
                })
            }
            b'W' => Tell::Mark(reader.number()?),
            b'V' => Tell::Followed(Followed { done: reader.number()?, kept: reader.number()? }),
            b'U' => Tell::Renumbered,
            b'B' => Tell::Mailbox(MailboxLine {
                name: reader.mailbox()?,
                is_subscribed: reader.truth()?,
                uid_validity: UidValidity(reader.small()?),
                uid_next: reader.small()?,
                messages: reader.small()?,
                octets: reader.number()?,
            }),
            b'M' => Tell::Message(MessageLine {
                uid: Uid(reader.small()?),
                size: reader.small()?,
                flags: reader.flags()?,
                date: reader.date()?,
            }),
            b'O' => return read_piece(fields).map(Tell::Octets),
            b'E' => Tell::End,
            b'X' => Tell::Spoiled(reader.text()?.to_owned()),
            b'D' => Tell::Done,
            b'!' => Tell::Failed(reader.text()?.to_owned()),
            _ => return None,
        };
        reader.end(tell)
    }
}

fn read_known(fields: &[u8]) -> Option<Vec<bool>> {
    let is_known = |octet: &u8| match octet {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    };
    fields.iter().map(is_known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = MailboxName> {
        "[a-zä/]{1,9}".prop_filter_map("no name", |text| MailboxName::new(&text).ok())
    }

    fn flags() -> impl Strategy<Value = FlagSet> {
        (0u8..32, proptest::collection::vec("[$a-z]{1,5}", 0..4)).prop_map(|(bits, words)| {
            FlagSet::from_parts(bits, words.iter().filter_map(|word| Keyword::new(word)).collect())
        })
    }

    fn date() -> impl Strategy<Value = Option<DateTime>> {
        proptest::option::of(
            (any::<i64>(), any::<i16>())
                .prop_map(|(unix_seconds, zone_minutes)| DateTime { unix_seconds, zone_minutes }),
        )
    }

    fn ask() -> impl Strategy<Value = Ask> {
        prop_oneof![
            (name(), any::<Option<u32>>(), any::<Option<bool>>()).prop_map(|(name, validity, is_subscribed)| {
                Ask::Adopt { name, uid_validity: validity.map(UidValidity), is_subscribed }
            }),
            proptest::collection::vec(any::<[u8; 16]>().prop_map(ImportKey), 0..9).prop_map(Ask::Known),
            proptest::collection::vec(any::<u8>(), 0..99).prop_map(Ask::Octets),
            (any::<[u8; 16]>(), any::<Option<u32>>(), flags(), date()).prop_map(|(key, uid, flags, date)| {
                Ask::Place { key: ImportKey(key), uid: uid.map(Uid), flags, date }
            }),
            Just(Ask::Discard),
            Just(Ask::Settle),
            any::<Option<u32>>().prop_map(|uid_next| Ask::Finish { uid_next }),
            any::<[u8; 16]>().prop_map(|key| Ask::Follow(ImportKey(key))),
            proptest::collection::vec((any::<u32>(), flags()), 0..5).prop_map(Ask::Flags),
            (any::<u32>(), any::<u32>(), proptest::collection::vec(any::<u32>(), 0..5))
                .prop_map(|(from, to, present)| Ask::Gone { from, to, present }),
            any::<u64>().prop_map(Ask::Mark),
            Just(Ask::List),
            name().prop_map(Ask::Read),
        ]
    }

    fn tell() -> impl Strategy<Value = Tell> {
        let line = (name(), any::<bool>(), any::<[u32; 3]>(), any::<u64>());
        prop_oneof![
            any::<bool>().prop_map(|keeps_uids| Tell::Adopted { keeps_uids }),
            proptest::collection::vec(any::<bool>(), 0..9).prop_map(Tell::Known),
            any::<u64>().prop_map(Tell::Mark),
            any::<[u64; 2]>().prop_map(|[done, kept]| Tell::Followed(Followed { done, kept })),
            Just(Tell::Fate(Fate::Placed)),
            Just(Tell::Fate(Fate::PlacedWithoutKeywords)),
            Just(Tell::Fate(Fate::Known)),
            any::<String>().prop_map(|why| Tell::Fate(Fate::Refused(why))),
            Just(Tell::Renumbered),
            line.prop_map(|(name, is_subscribed, [validity, uid_next, messages], octets)| {
                let uid_validity = UidValidity(validity);
                Tell::Mailbox(MailboxLine { name, is_subscribed, uid_validity, uid_next, messages, octets })
            }),
            (any::<u32>(), any::<u32>(), flags(), date())
                .prop_map(|(uid, size, flags, date)| Tell::Message(MessageLine { uid: Uid(uid), size, flags, date })),
            proptest::collection::vec(any::<u8>(), 0..99).prop_map(Tell::Octets),
            Just(Tell::End),
            any::<String>().prop_map(Tell::Spoiled),
            Just(Tell::Done),
            any::<String>().prop_map(Tell::Failed),
        ]
    }

    fn take(frame: &[u8]) -> (u8, &[u8]) {
        let (first, fields) = frame.split_first_chunk().expect("a head");
        let (letter, length) = head(*first).expect("within bounds");
        assert_eq!(length, fields.len());
        (letter, fields)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_the_same(ask in ask(), tell in tell()) {
            let mut frame = Vec::new();
            ask.write(&mut frame);
            let (letter, fields) = take(&frame);
            prop_assert_eq!(Ask::read(letter, fields), Some(ask));
            frame.clear();
            tell.write(&mut frame);
            let (letter, fields) = take(&frame);
            prop_assert_eq!(Tell::read(letter, fields), Some(tell));
        }

        #[test]
        fn any_octets_are_a_frame_or_none(letter in any::<u8>(), fields in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(ask) = Ask::read(letter, &fields) {
                let mut again = Vec::new();
                ask.write(&mut again);
                prop_assert_eq!(Ask::read(letter, take(&again).1), Some(ask));
            }
            let _ = Tell::read(letter, &fields);
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_none() {
        assert_eq!(head([b'O', 0, 0, 0, 2]), Some((b'O', MOST_FRAME_BYTES)));
        assert_eq!(head([b'O', 1, 0, 0, 2]), None);
        assert_eq!(Ask::read(b'O', &vec![0; PIECE_BYTES + 1]), None);
    }
}
