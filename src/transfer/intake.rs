//! The side of a transfer that brings mail: it sends messages, keeps the store busy while it reads the next, and tells
//! what becomes of each. Blocking; made for the commands.

use std::collections::VecDeque;
use std::io::{self, BufReader, BufWriter, Read, Write};

use super::talk::{self, Ask, Fate, HEAD_BYTES, PIECE_BYTES, Tell};
use super::{Stopped, Tally, Watch, names};
use crate::mailstore::{Followed, ImportKey};
use crate::types::date::DateTime;
use crate::types::{FlagSet, MailboxName, Uid, UidValidity};

/// After so many messages, or so many octets, the store is asked to make them durable. While it does, the next lot is
/// sent; a third one waits. So the fates that nobody has read yet are few, and neither side ever waits for the other to
/// read.
const LOT_MESSAGES: usize = 128;
const LOT_BYTES: u64 = 2 << 20;

/// The way to the side that has the store.
pub struct Line {
    reader: BufReader<Box<dyn Read + Send>>,
    writer: BufWriter<Box<dyn Write + Send>>,
    frame: Vec<u8>,
}

impl Line {
    /// `reader` and `writer` are the two directions of one stream; [`super::host::serve`] is at its other end.
    pub fn new(reader: Box<dyn Read + Send>, writer: Box<dyn Write + Send>) -> Line {
        Line {
            reader: BufReader::with_capacity(PIECE_BYTES, reader),
            writer: BufWriter::with_capacity(PIECE_BYTES, writer),
            frame: Vec::new(),
        }
    }

    pub(super) fn ask(&mut self, ask: &Ask) -> Result<(), Stopped> {
        self.frame.clear();
        ask.write(&mut self.frame);
        match self.writer.write_all(&self.frame) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.last_word(error)),
        }
    }

    fn octets(&mut self, octets: &[u8]) -> Result<(), Stopped> {
        for piece in octets.chunks(PIECE_BYTES) {
            self.frame.clear();
            talk::write_piece(piece, &mut self.frame);
            if let Err(error) = self.writer.write_all(&self.frame) {
                return Err(self.last_word(error));
            }
        }
        Ok(())
    }

    /// The next answer. `Failed` is an error here.
    pub(super) fn hear(&mut self) -> Result<Tell, Stopped> {
        if let Err(error) = self.writer.flush() {
            return Err(self.last_word(error));
        }
        match self.read() {
            Ok(Tell::Failed(why)) => Err(Stopped::Host(why)),
            Ok(tell) => Ok(tell),
            Err(error) => Err(Stopped::Gone(error)),
        }
    }

    /// The other side hung up on what is being sent. It may have said why before.
    fn last_word(&mut self, error: io::Error) -> Stopped {
        loop {
            match self.read() {
                Ok(Tell::Failed(why)) => return Stopped::Host(why),
                Ok(_) => {}
                Err(_) => return Stopped::Gone(error),
            }
        }
    }

    fn read(&mut self) -> io::Result<Tell> {
        let no_frame = || io::Error::new(io::ErrorKind::InvalidData, "not a frame of a transfer");
        let mut head = [0; HEAD_BYTES];
        self.reader.read_exact(&mut head)?;
        let (letter, length) = talk::head(head).ok_or_else(no_frame)?;
        self.frame.resize(length, 0);
        self.reader.read_exact(&mut self.frame)?;
        Tell::read(letter, &self.frame).ok_or_else(no_frame)
    }
}

/// What a message is besides its octets.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// For the report: where it stood, such as a file's name.
    pub label: String,
    pub key: ImportKey,
    pub uid: Option<Uid>,
    pub flags: FlagSet,
    pub date: Option<DateTime>,
    /// What it weighs in the progress.
    pub weight: u64,
}

/// Mail on its way in.
pub struct Intake<'a> {
    line: Line,
    watch: &'a mut dyn Watch,
    tally: Tally,
    mailbox: String,
    /// Messages whose fate was not told yet: label, octets, weight in the progress.
    waiting: VecDeque<(String, u64, u64)>,
    /// Octets of the message under way.
    octets: u64,
    /// Messages and octets of the lot being sent.
    lot: (usize, u64),
}

impl<'a> Intake<'a> {
    pub fn new(line: Line, watch: &'a mut dyn Watch) -> Intake<'a> {
        Intake {
            line,
            watch,
            tally: Tally::default(),
            mailbox: String::new(),
            waiting: VecDeque::new(),
            octets: 0,
            lot: (0, 0),
        }
    }

    pub fn watch(&mut self) -> &mut dyn Watch {
        self.watch
    }

    /// What was done so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Tells that something is not taken.
    pub fn miss(&mut self, what: &str, why: &str) {
        self.tally.missed += 1;
        self.watch.miss(what, why);
    }

    /// The mailbox for a folder of these levels, `label` for the report; `None`: there can be none, and it was told.
    pub fn name(&mut self, label: &str, levels: &[String], prefix: Option<&MailboxName>) -> Option<MailboxName> {
        let fit = names::fit(levels.iter().map(String::as_str));
        let Some((name, is_changed)) = fit.and_then(|(name, changed)| Some((names::below(prefix, name)?, changed)))
        else {
            self.miss(label, "its name is too long or has too many levels");
            return None;
        };
        if is_changed {
            self.watch.note(label, &format!("becomes {name}: its own name is none here"));
        }
        Some(name)
    }

    /// Begins a mailbox. `uid_validity`: the source's, if its UIDs are to be kept; gives whether they are.
    pub fn adopt(
        &mut self,
        name: &MailboxName,
        uid_validity: Option<UidValidity>,
        is_subscribed: Option<bool>,
    ) -> Result<bool, Stopped> {
        self.watch.enter(name.as_str());
        self.mailbox = name.to_string();
        self.line.ask(&Ask::Adopt { name: name.clone(), uid_validity, is_subscribed })?;
        match self.answer()? {
            Tell::Adopted { keeps_uids } => {
                self.tally.mailboxes += 1;
                if uid_validity.is_some() && !keeps_uids {
                    let how = "gets new UIDs: it held mail already, or its UIDVALIDITY was used here before";
                    self.watch.note(name.as_str(), how);
                }
                Ok(keeps_uids)
            }
            _ => Err(out_of_turn()),
        }
    }

    /// Which of these were taken before.
    pub fn known(&mut self, keys: &[ImportKey]) -> Result<Vec<bool>, Stopped> {
        let mut all = Vec::with_capacity(keys.len());
        for keys in keys.chunks(talk::MOST_KEYS) {
            self.line.ask(&Ask::Known(keys.to_vec()))?;
            match self.answer()? {
                Tell::Known(known) if known.len() == keys.len() => all.extend(known),
                _ => return Err(out_of_turn()),
            }
        }
        Ok(all)
    }

    /// Begins to follow the folder with this key; gives the HIGHESTMODSEQ up to which it was followed before, or 0.
    pub fn follow(&mut self, key: ImportKey) -> Result<u64, Stopped> {
        self.line.ask(&Ask::Follow(key))?;
        match self.answer()? {
            Tell::Mark(mark) => Ok(mark),
            _ => Err(out_of_turn()),
        }
    }

    /// Gives messages that were taken before the flags they have at the source, by their UIDs there.
    pub fn flags(&mut self, messages: Vec<(u32, FlagSet)>) -> Result<(), Stopped> {
        let followed = self.followed(&Ask::Flags(messages))?;
        self.tally.changed += followed.done;
        self.tally.kept += followed.kept;
        Ok(())
    }

    /// Says which UIDs between two the source has; what was taken of others there is removed.
    pub fn gone(&mut self, from: u32, to: u32, present: Vec<u32>) -> Result<(), Stopped> {
        let followed = self.followed(&Ask::Gone { from, to, present })?;
        self.tally.gone += followed.done;
        self.tally.kept += followed.kept;
        Ok(())
    }

    /// All changes of the folder up to this HIGHESTMODSEQ were followed.
    pub fn mark(&mut self, mark: u64) -> Result<(), Stopped> {
        self.line.ask(&Ask::Mark(mark))
    }

    fn followed(&mut self, ask: &Ask) -> Result<Followed, Stopped> {
        self.line.ask(ask)?;
        match self.answer()? {
            Tell::Followed(followed) => Ok(followed),
            _ => Err(out_of_turn()),
        }
    }

    /// Counts messages that were found to be known.
    pub fn note_known(&mut self, messages: u64) {
        self.tally.known += messages;
    }

    /// Sends octets of the message under way.
    pub fn octets(&mut self, octets: &[u8]) -> Result<(), Stopped> {
        self.octets += octets.len() as u64;
        self.line.octets(octets)
    }

    /// What was sent of the message under way is not to be one.
    pub fn discard(&mut self) -> Result<(), Stopped> {
        self.octets = 0;
        self.line.ask(&Ask::Discard)
    }

    /// The message is whole.
    pub fn place(&mut self, arrival: Arrival) -> Result<(), Stopped> {
        let Arrival { label, key, uid, flags, date, weight } = arrival;
        self.line.ask(&Ask::Place { key, uid, flags, date })?;
        let octets = std::mem::take(&mut self.octets);
        self.waiting.push_back((label, octets, weight));
        self.lot = (self.lot.0 + 1, self.lot.1 + octets);
        if self.lot.0 >= LOT_MESSAGES || self.lot.1 >= LOT_BYTES {
            self.line.ask(&Ask::Settle)?;
            self.flush()?;
            let of_this = std::mem::take(&mut self.lot).0;
            while self.waiting.len() > of_this {
                self.hear_fate()?;
            }
        }
        Ok(())
    }

    /// Ends the mailbox: all of it is durable when this returns. `uid_next`: the source's, if its UIDs are kept.
    pub fn finish(&mut self, uid_next: Option<u32>) -> Result<(), Stopped> {
        self.line.ask(&Ask::Finish { uid_next })?;
        while !self.waiting.is_empty() {
            self.hear_fate()?;
        }
        self.lot = (0, 0);
        match self.answer()? {
            Tell::Done => Ok(()),
            _ => Err(out_of_turn()),
        }
    }

    /// The answer to a question, after the fates that come before it.
    fn answer(&mut self) -> Result<Tell, Stopped> {
        loop {
            match self.line.hear()? {
                Tell::Fate(fate) => self.note_fate(fate)?,
                Tell::Renumbered => self.note_renumbered(),
                tell => return Ok(tell),
            }
        }
    }

    fn flush(&mut self) -> Result<(), Stopped> {
        match self.line.writer.flush() {
            Ok(()) => Ok(()),
            Err(error) => Err(self.line.last_word(error)),
        }
    }

    fn hear_fate(&mut self) -> Result<(), Stopped> {
        loop {
            match self.line.hear()? {
                Tell::Fate(fate) => return self.note_fate(fate),
                Tell::Renumbered => self.note_renumbered(),
                _ => return Err(out_of_turn()),
            }
        }
    }

    fn note_fate(&mut self, fate: Fate) -> Result<(), Stopped> {
        let (label, octets, weight) = self.waiting.pop_front().ok_or_else(out_of_turn)?;
        self.watch.advance(weight);
        match fate {
            Fate::Placed | Fate::PlacedWithoutKeywords => {
                self.tally.messages += 1;
                self.tally.octets += octets;
            }
            Fate::Known => self.tally.known += 1,
            Fate::Refused(_) => {}
        }
        match fate {
            Fate::PlacedWithoutKeywords => {
                self.watch.note(&label, "is without its keywords: the mailbox has too many");
            }
            Fate::Refused(why) => self.miss(&label, &why),
            Fate::Placed | Fate::Known => {}
        }
        Ok(())
    }

    fn note_renumbered(&mut self) {
        let how = "gets new UIDs from here on: some of the source's had been given to other mail here meanwhile";
        let mailbox = std::mem::take(&mut self.mailbox);
        self.watch.note(&mailbox, how);
        self.mailbox = mailbox;
    }
}

pub(super) fn out_of_turn() -> Stopped {
    Stopped::Host("the mail store answered something else than was asked".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    struct Nobody;

    impl Watch for Nobody {
        fn expect(&mut self, _: u64) {}
        fn advance(&mut self, _: u64) {}
        fn enter(&mut self, _: &str) {}
        fn miss(&mut self, _: &str, _: &str) {}
        fn note(&mut self, _: &str, _: &str) {}
    }

    /// A store that tells fates when it is asked to settle, and now and then before.
    fn store(stream: UnixStream) -> io::Result<()> {
        let (mut reader, mut writer) = (BufReader::new(stream.try_clone()?), stream);
        let (mut untold, mut placed) = (0, 0);
        loop {
            let mut head = [0; HEAD_BYTES];
            if reader.read_exact(&mut head).is_err() {
                return Ok(());
            }
            let (letter, length) = talk::head(head).expect("a frame");
            let mut fields = vec![0; length];
            reader.read_exact(&mut fields)?;
            let mut out = Vec::new();
            let ask = Ask::read(letter, &fields).expect("a frame");
            if matches!(ask, Ask::Place { .. }) {
                (untold, placed) = (untold + 1, placed + 1);
            }
            if matches!(ask, Ask::Settle | Ask::Finish { .. }) || placed % 1000 == 0 {
                (0..std::mem::take(&mut untold)).for_each(|_| Tell::Fate(Fate::Placed).write(&mut out));
            }
            if matches!(ask, Ask::Finish { .. }) {
                Tell::Done.write(&mut out);
            }
            writer.write_all(&out)?;
        }
    }

    /// With one fate of two left unread, an import hung after 12,000 messages: the socket was full of them.
    #[test]
    fn fates_are_read_as_fast_as_they_come() {
        const MESSAGES: u64 = 5000;
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let serving = std::thread::spawn(move || store(theirs));
        let line = Line::new(Box::new(ours.try_clone().expect("cloned")), Box::new(ours));
        let mut nobody = Nobody;
        let mut intake = Intake::new(line, &mut nobody);
        for n in 0..MESSAGES {
            // Some lots are full by their octets, and some messages fill one alone.
            let size = if n % 500 == 7 { LOT_BYTES as usize + 1 } else { 10 };
            intake.octets(&vec![b'x'; size]).expect("sent");
            let arrival = Arrival {
                label: n.to_string(),
                key: ImportKey([0; 16]),
                uid: None,
                flags: FlagSet::new(),
                date: None,
                weight: 1,
            };
            intake.place(arrival).expect("sent");
            assert!(intake.waiting.len() < 2 * LOT_MESSAGES, "{} fates are unread", intake.waiting.len());
        }
        intake.finish(None).expect("all is told");
        assert_eq!((intake.tally().messages, intake.waiting.len()), (MESSAGES, 0));
        drop(intake);
        serving.join().expect("joined").expect("served");
    }
}
