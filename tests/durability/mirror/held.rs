//! The messages of one mailbox as one client holds them: what it was told on the wire, applied line by line, and
//! every line held against what was told before it.

use std::collections::BTreeMap;

use super::model::{Flags, flags_of};
use crate::client::{Token, numbers};
use crate::picture::{modseq_in, pair};

/// A message: its place is its number. UID 0, no flags and modseq 0 are not known yet.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    pub uid: u32,
    pub flags: Option<Flags>,
    pub modseq: u64,
}

/// How the server must speak of messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Speech {
    /// Expunges come as VANISHED.
    pub vanished: bool,
    /// Nobody counts: UIDFETCH instead of FETCH.
    pub uid_only: bool,
    /// MODSEQ comes with FLAGS.
    pub modseq: bool,
    /// There is no `\Recent`.
    pub rev2: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Held {
    pub speech: Speech,
    /// By number; with UIDONLY those that are known, by UID.
    pub entries: Vec<Entry>,
    /// How many messages there are, with UIDONLY.
    count: usize,
    whole_until: u32,
    /// With UIDONLY: what was known before is not held against what is there yet.
    pub is_comparing: bool,
    /// What was known from an earlier session and did not vanish since.
    pub earlier: BTreeMap<u32, Entry>,
    /// The highest MODSEQ told.
    pub seen_modseq: u64,
}

impl Held {
    pub fn new(speech: Speech) -> Self {
        Held { speech, ..Held::default() }
    }

    /// Messages of which not even the UID is known.
    pub fn unknown(&self) -> usize {
        match self.speech.uid_only {
            true => self.count.saturating_sub(self.entries.len()),
            false => self.entries.iter().filter(|entry| entry.uid == 0).count(),
        }
    }

    /// Up to this UID every message is known.
    pub fn whole_until(&self) -> u32 {
        match self.speech.uid_only {
            true => self.whole_until,
            false => self.entries.iter().map_while(|entry| Some(entry.uid).filter(|uid| *uid != 0)).last().unwrap_or(0),
        }
    }

    /// With UIDONLY nothing but the count says that all of them are known.
    pub fn note_whole(&mut self) {
        if self.unknown() == 0 {
            self.whole_until = self.entries.last().map_or(self.whole_until, |entry| entry.uid.max(self.whole_until));
        }
    }

    pub fn known(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.entries.iter().filter(|entry| entry.uid != 0)
    }

    /// Applies one untagged line.
    pub fn apply(&mut self, line: &[Token]) -> Result<(), String> {
        let number = line.first().and_then(Token::number);
        let word = line.get(usize::from(number.is_some())).and_then(Token::word).unwrap_or("");
        match (number, word) {
            (Some(number), "EXPUNGE") => self.expunge(number as usize),
            (Some(number), "EXISTS") => self.exists(number as usize),
            (Some(number), "FETCH") => self.fetch(number as usize, line.get(2).and_then(Token::list)),
            (Some(uid), "UIDFETCH") => self.uid_fetch(uid as u32, line.get(2).and_then(Token::list)),
            (Some(_), "RECENT") if self.speech.rev2 => Err("RECENT to a client of IMAP4rev2".into()),
            (None, "VANISHED") => self.vanish(&line[1..]),
            _ => Ok(()),
        }
    }

    fn expunge(&mut self, number: usize) -> Result<(), String> {
        if self.speech.vanished {
            return Err(format!("EXPUNGE {number} instead of VANISHED"));
        }
        if number == 0 || number > self.entries.len() {
            return Err(format!("EXPUNGE {number} of {}", self.entries.len()));
        }
        self.entries.remove(number - 1);
        Ok(())
    }

    fn exists(&mut self, count: usize) -> Result<(), String> {
        let before = if self.speech.uid_only { self.count } else { self.entries.len() };
        if count < before {
            return Err(format!("EXISTS {count} after {before}: messages only go by EXPUNGE"));
        }
        match self.speech.uid_only {
            true => self.count = count,
            false => self.entries.resize(count, Entry::default()),
        }
        Ok(())
    }

    fn fetch(&mut self, number: usize, items: Option<&[Token]>) -> Result<(), String> {
        if self.speech.uid_only {
            return Err(format!("FETCH {number} to a client that does not count"));
        }
        let count = self.entries.len();
        let entry = number.checked_sub(1).and_then(|at| self.entries.get_mut(at));
        let (Some(entry), Some(items)) = (entry, items) else { return Err(format!("FETCH {number} of {count}")) };
        if let Some(uid) = pair(items, "UID").and_then(Token::number) {
            if entry.uid != 0 && u64::from(entry.uid) != uid {
                return Err(format!("number {number} was UID {} and is now {uid}", entry.uid));
            }
            entry.uid = uid as u32;
        }
        let told = tell(entry, items, self.speech)?;
        self.seen_modseq = self.seen_modseq.max(told);
        let uids: Vec<u32> = self.entries.iter().map(|entry| entry.uid).filter(|uid| *uid != 0).collect();
        if uids.is_sorted_by(|one, other| one < other) { Ok(()) } else { Err(format!("UIDs in disorder: {uids:?}")) }
    }

    fn uid_fetch(&mut self, uid: u32, items: Option<&[Token]>) -> Result<(), String> {
        let (true, Some(items)) = (self.speech.uid_only, items) else { return Err(format!("UIDFETCH {uid}")) };
        let at = self.entries.binary_search_by_key(&uid, |entry| entry.uid).unwrap_or_else(|at| {
            self.entries.insert(at, Entry { uid, ..Entry::default() });
            at
        });
        let told = tell(&mut self.entries[at], items, self.speech)?;
        self.seen_modseq = self.seen_modseq.max(told);
        Ok(())
    }

    fn vanish(&mut self, arguments: &[Token]) -> Result<(), String> {
        let uids = arguments.last().and_then(Token::word).and_then(numbers).ok_or("VANISHED without UIDs")?;
        if arguments.len() == 2 {
            for uid in uids {
                self.earlier.remove(&uid);
                if self.speech.uid_only {
                    // EXISTS, told in the same answer, counts without it already.
                    self.entries.retain(|entry| entry.uid != uid);
                }
            }
            return Ok(());
        }
        if !self.speech.vanished {
            return Err("VANISHED instead of EXPUNGE".into());
        }
        for uid in uids {
            let at = match self.entries.iter().position(|entry| entry.uid == uid) {
                None if self.is_comparing => None,
                None if self.speech.uid_only && uid > self.whole_until && self.unknown() > 0 => None,
                known => Some(known.or_else(|| self.place_of_unknown(uid)).ok_or_else(|| {
                    let (known, unknown) = (self.known().count(), self.unknown());
                    format!("VANISHED {uid}: not told or gone already; {known} are known, {unknown} not")
                })?),
            };
            at.map(|at| self.entries.remove(at));
            self.count = self.count.saturating_sub(1);
        }
        Ok(())
    }

    /// Where a message must be of which only the number was told: before the first with a higher UID.
    fn place_of_unknown(&self, uid: u32) -> Option<usize> {
        let end = self.entries.iter().position(|entry| entry.uid > uid).unwrap_or(self.entries.len());
        end.checked_sub(1).filter(|at| self.entries[*at].uid == 0)
    }

    /// After a SELECT with QRESYNC: what was known and did not vanish has the first numbers, in the order of UIDs.
    pub fn come_back(&mut self) -> Result<(), String> {
        for entry in self.entries.iter().filter(|entry| entry.uid != 0) {
            self.earlier.insert(entry.uid, entry.clone());
        }
        let earlier = std::mem::take(&mut self.earlier);
        if self.speech.uid_only {
            self.entries = earlier.into_values().collect();
            return if self.entries.len() <= self.count { Ok(()) } else { Err("too few vanished".into()) };
        }
        if earlier.len() > self.entries.len() {
            let count = self.entries.len();
            return Err(format!("EXISTS {count}, but {} did not vanish: {:?}", earlier.len(), earlier.keys()));
        }
        let unknown = self.entries.len() - earlier.len();
        let told: Vec<(usize, u32)> = self.entries.iter().map(|entry| entry.uid).enumerate().collect();
        self.entries = earlier.into_values().collect();
        self.entries.extend(std::iter::repeat_n(Entry::default(), unknown));
        for (at, uid) in told {
            if uid != 0 && self.entries[at].uid != uid {
                return Err(format!("number {} is UID {uid}, should be {}", at + 1, self.entries[at].uid));
            }
        }
        Ok(())
    }
}

/// Writes into an entry what a FETCH tells; gives the MODSEQ told.
fn tell(entry: &mut Entry, items: &[Token], speech: Speech) -> Result<u64, String> {
    let modseq = modseq_in(items);
    if modseq != 0 && modseq < entry.modseq {
        return Err(format!("MODSEQ of UID {} went back from {} to {modseq}", entry.uid, entry.modseq));
    }
    if let Some(flags) = flags_of(items) {
        if speech.modseq && modseq == 0 {
            return Err(format!("flags of UID {} without MODSEQ", entry.uid));
        }
        let all = pair(items, "FLAGS").and_then(Token::list).unwrap_or_default();
        if speech.rev2 && all.iter().any(|flag| flag.is_word("\\Recent")) {
            return Err("\\Recent to a client of IMAP4rev2".into());
        }
        entry.flags = Some(flags);
    }
    entry.modseq = entry.modseq.max(modseq);
    Ok(modseq)
}
