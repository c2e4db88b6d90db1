//! One folder of a Maildir on the way in: its files are put in order with what Dovecot and an export of ours wrote beside
//! them, and sent. None of the lists is ever held whole, however many messages there are.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::lists::{self, Extra, UidList};
use super::read_list;
use crate::transfer::crlf::ToNetwork;
use crate::transfer::intake::{Arrival, Intake};
use crate::transfer::sorter::{Sorted, Sorter};
use crate::transfer::talk::{MOST_KEYS, PIECE_BYTES};
use crate::transfer::{Stopped, keys};
use crate::types::date::DateTime;
use crate::types::{Flag, Keyword, MailboxName, Uid, UidValidity};

/// Longest line of a list that is read, in octets: a message with a thousand keywords has a shorter one.
const MOST_LINE_BYTES: u64 = 64 * 1024;
/// The folders of a Maildir that have mail.
const PARTS: [&str; 2] = ["new", "cur"];

// What is known of a message by its file's name, in the order in which it is joined.
const LISTED: u8 = 0;
const EXTRA: u8 = 1;
const FILE: u8 = 2;

/// A folder of the source.
pub(super) struct Folder {
    pub path: PathBuf,
    /// Decoded; INBOX is `["INBOX"]`.
    pub levels: Vec<String>,
}

/// A message's file, and all that was written about it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    uid: Option<u32>,
    modified: (i64, i64),
    /// The name without its letters.
    base: Vec<u8>,
    /// Which of [`PARTS`] it lies in.
    part: u8,
    octets: u64,
    /// What stands behind the base.
    suffix: Vec<u8>,
    /// Its line in `pillarbox-messages`.
    extra: Vec<u8>,
}

impl Folder {
    /// What its messages weigh, as far as can be seen; what cannot is told by [`Folder::import`].
    pub fn octets(&self) -> u64 {
        let listed = PARTS.iter().filter_map(|part| fs::read_dir(self.path.join(part)).ok()).flatten();
        listed.filter_map(Result::ok).filter_map(|file| fs::metadata(file.path()).ok()).map(|about| about.len()).sum()
    }

    /// Brings all its messages that were not brought before.
    pub fn import(
        &self,
        name: &MailboxName,
        is_subscribed: Option<bool>,
        intake: &mut Intake<'_>,
    ) -> Result<(), Stopped> {
        let mut joined = Sorter::default();
        let list = self.read_uid_list(name, &mut joined, intake)?;
        let validity = list.as_ref().map(|list| UidValidity(list.uid_validity));
        let keeps_uids = intake.adopt(name, validity, is_subscribed)?;
        self.read_extras(&mut joined, intake)?;
        self.read_names(&mut joined, intake)?;
        let mut entries = in_order(joined.sorted()?)?;
        let (keywords, odd) = read_list(&self.path.join("dovecot-keywords"), intake)
            .map_or_else(Default::default, |o| lists::keywords(&o));
        for word in odd {
            intake.miss(&format!("keyword {word:?} of {name}"), "it is no keyword of IMAP");
        }
        let mut uid_next = list.as_ref().map_or(0, |list| list.uid_next);
        let place = self.levels.join("/");
        loop {
            let batch: Vec<Entry> =
                entries.next_some(MOST_KEYS)?.iter().filter_map(|record| Entry::read(record)).collect();
            if batch.is_empty() {
                break;
            }
            let key = |entry: &Entry| keys::of(&[b"maildir", place.as_bytes(), &entry.base]);
            let keys: Vec<_> = batch.iter().map(key).collect();
            let known = intake.known(&keys)?;
            for ((entry, key), is_known) in batch.into_iter().zip(keys).zip(known) {
                if is_known {
                    intake.note_known(1);
                    intake.watch().advance(entry.octets);
                    continue;
                }
                let uid = entry.uid.or_else(|| list.is_some().then_some(uid_next));
                if list.is_some() && entry.uid.is_none() {
                    uid_next = uid_next.saturating_add(1);
                }
                let arrival = entry.arrival(&self.path, &keywords, intake);
                let extra = Extra::read_line(&entry.extra).map(|(_, extra)| extra);
                let is_raw = extra.as_ref().is_some_and(|extra| extra.is_raw);
                let mut arrival = Arrival { key, uid: uid.filter(|_| keeps_uids).map(Uid), ..arrival };
                if let Some(extra) = extra {
                    extra.keywords.into_iter().map(Flag::Keyword).for_each(|flag| arrival.flags.insert(flag));
                    arrival.date = extra.date.or(arrival.date);
                }
                match send(&entry.path(&self.path), is_raw, &arrival.label, intake)? {
                    Ok(()) => intake.place(arrival)?,
                    Err(why) => {
                        intake.miss(&arrival.label, &why);
                        intake.watch().advance(entry.octets);
                    }
                }
            }
        }
        intake.finish(keeps_uids.then_some(uid_next))
    }

    /// The head of `dovecot-uidlist`, with the largest UID that was given; the UIDs go into `joined`.
    fn read_uid_list(
        &self,
        name: &MailboxName,
        joined: &mut Sorter,
        intake: &mut Intake<'_>,
    ) -> Result<Option<UidList>, Stopped> {
        let (mut list, mut is_first) = (None, true);
        each_line(&self.path.join("dovecot-uidlist"), intake, |line| {
            if std::mem::take(&mut is_first) {
                list = UidList::read_head(line);
                return Ok(list.is_some());
            }
            if let Some(list) = &mut list
                && let Some((uid, base)) = lists::listed(line)
            {
                list.note(uid);
                joined.push(&record(base, LISTED, &uid.to_be_bytes()))?;
            }
            Ok(true)
        })?;
        if !is_first && list.is_none() {
            intake.watch().note(name.as_str(), "gets new UIDs: its dovecot-uidlist cannot be understood");
        }
        Ok(list)
    }

    fn read_extras(&self, joined: &mut Sorter, intake: &mut Intake<'_>) -> Result<(), Stopped> {
        each_line(&self.path.join("pillarbox-messages"), intake, |line| {
            if let Some((base, _)) = Extra::read_line(line) {
                joined.push(&record(&base, EXTRA, line))?;
            }
            Ok(true)
        })
    }

    /// The files of its messages.
    fn read_names(&self, joined: &mut Sorter, intake: &mut Intake<'_>) -> Result<(), Stopped> {
        for (at, part) in PARTS.iter().enumerate() {
            let folder = self.path.join(part);
            let listed = match fs::read_dir(&folder) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => {
                    intake.miss(&folder.display().to_string(), &format!("it cannot be read: {error}"));
                    continue;
                }
                Ok(listed) => listed,
            };
            for file in listed {
                match file.and_then(|file| Ok((file.file_name(), file.path(), fs::metadata(file.path())?))) {
                    // Maildir: what begins with a dot is no message.
                    Ok((name, _, _)) if name.as_bytes().starts_with(b".") => {}
                    Ok((_, path, about)) if !about.is_file() => {
                        intake.miss(&path.display().to_string(), "it is no file");
                    }
                    Ok((name, _, about)) => {
                        let base = lists::split(name.as_bytes()).0.to_vec();
                        let suffix = name.into_vec().split_off(base.len());
                        let entry = Entry {
                            uid: None,
                            modified: (about.mtime(), about.mtime_nsec()),
                            base,
                            part: at as u8,
                            octets: about.len(),
                            suffix,
                            extra: Vec::new(),
                        };
                        joined.push(&record(&entry.base, FILE, &entry.write()))?;
                    }
                    Err(error) => {
                        intake.miss(&folder.display().to_string(), &format!("a file of it cannot be seen: {error}"));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Joins what is known of each file, and sorts the files: in the order of their UIDs; those that have none came after
/// all that have one.
fn in_order(mut joined: Sorted) -> Result<Sorted, Stopped> {
    let mut entries = Sorter::default();
    let (mut base, mut uid, mut extra) = (Vec::new(), None, Vec::new());
    while let Some(record) = joined.next()? {
        let Some(end) = memchr::memchr(0, &record) else { continue };
        let (name, [_, tag, rest @ ..]) = record.split_at(end) else { continue };
        if name != base {
            (base, uid, extra) = (name.to_vec(), None, Vec::new());
        }
        match *tag {
            LISTED => uid = rest.try_into().ok().map(u32::from_be_bytes),
            EXTRA => extra = rest.to_vec(),
            _ => {
                let Some(entry) = Entry::read(rest) else { continue };
                entries.push(&Entry { uid, extra: extra.clone(), ..entry }.write())?;
            }
        }
    }
    entries.sorted()
}

/// What is known of the file of this name: no name has a NUL in it.
fn record(base: &[u8], tag: u8, rest: &[u8]) -> Vec<u8> {
    [base, &[0, tag], rest].concat()
}

impl Entry {
    /// As a record that sorts by UID, then by age, then by name.
    fn write(&self) -> Vec<u8> {
        let ordered = |n: i64| (n as u64 ^ 1 << 63).to_be_bytes();
        let mut out = self.uid.unwrap_or(u32::MAX).to_be_bytes().to_vec();
        out.extend(ordered(self.modified.0));
        out.extend(ordered(self.modified.1));
        out.extend_from_slice(&self.base);
        out.extend([0, self.part]);
        out.extend(self.octets.to_be_bytes());
        out.extend_from_slice(&self.suffix);
        out.push(0);
        out.extend_from_slice(&self.extra);
        out
    }

    fn read(record: &[u8]) -> Option<Entry> {
        let (uid, rest) = record.split_first_chunk()?;
        let (seconds, rest) = rest.split_first_chunk()?;
        let (nanoseconds, rest) = rest.split_first_chunk()?;
        let ordered = |octets: &[u8; 8]| (u64::from_be_bytes(*octets) ^ 1 << 63) as i64;
        let (base, [_, part, rest @ ..]) = rest.split_at(memchr::memchr(0, rest)?) else { return None };
        let (octets, rest) = rest.split_first_chunk()?;
        let (suffix, [_, extra @ ..]) = rest.split_at(memchr::memchr(0, rest)?) else { return None };
        Some(Entry {
            uid: Some(u32::from_be_bytes(*uid)).filter(|uid| *uid != u32::MAX),
            modified: (ordered(seconds), ordered(nanoseconds)),
            base: base.to_vec(),
            part: *part,
            octets: u64::from_be_bytes(*octets),
            suffix: suffix.to_vec(),
            extra: extra.to_vec(),
        })
    }

    fn path(&self, folder: &Path) -> PathBuf {
        let name = [self.base.as_slice(), &self.suffix].concat();
        folder.join(PARTS[usize::from(self.part) % PARTS.len()]).join(std::ffi::OsString::from_vec(name))
    }

    /// What the file itself tells; its key and UID are to be set.
    fn arrival(&self, folder: &Path, keywords: &[Option<Keyword>], intake: &mut Intake<'_>) -> Arrival {
        let label = self.path(folder).display().to_string();
        let name = [self.base.as_slice(), &self.suffix].concat();
        let (flags, unknown) = lists::flags(lists::split(&name).1, keywords);
        if !unknown.is_empty() {
            let letters = String::from_utf8_lossy(&unknown).into_owned();
            intake.miss(&format!("flags {letters:?} of {label}"), "nobody says what they mean");
        }
        let date = Some(DateTime::utc(self.modified.0));
        Arrival { label, key: keys::of(&[]), uid: None, flags, date, weight: self.octets }
    }
}

/// Gives each line of a list beside the mail to `take`, until it says false. Nothing when there is no such file.
fn each_line(
    path: &Path,
    intake: &mut Intake<'_>,
    mut take: impl FnMut(&[u8]) -> Result<bool, Stopped>,
) -> Result<(), Stopped> {
    let cannot = |error: std::io::Error, intake: &mut Intake<'_>| {
        intake.miss(&path.display().to_string(), &format!("it cannot be read: {error}"));
        Ok(())
    };
    let mut lines = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return cannot(error, intake),
        Ok(file) => BufReader::with_capacity(PIECE_BYTES, file),
    };
    let (mut line, mut is_rest) = (Vec::new(), false);
    loop {
        line.clear();
        match lines.by_ref().take(MOST_LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) => return cannot(error, intake),
        }
        // A line that is too long says nothing; all its pieces are passed over.
        let (is_whole, was_rest) = (line.ends_with(b"\n") || (line.len() as u64) < MOST_LINE_BYTES, is_rest);
        is_rest = !is_whole;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        if is_whole && !was_rest && !take(text)? {
            return Ok(());
        }
    }
}

/// Sends a message's octets; the inner error is why it has none to send.
fn send(path: &Path, is_raw: bool, label: &str, intake: &mut Intake<'_>) -> Result<Result<(), String>, Stopped> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Err("it was moved or removed meanwhile; run this again".into()));
        }
        Err(error) => return Ok(Err(format!("it cannot be read: {error}"))),
    };
    let (mut ends, mut piece, mut out) = (ToNetwork::default(), vec![0; PIECE_BYTES], Vec::new());
    loop {
        let octets = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(octets) => octets,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                intake.discard()?;
                return Ok(Err(format!("it cannot be read: {error}")));
            }
        };
        if is_raw {
            intake.octets(&piece[..octets])?;
            continue;
        }
        out.clear();
        ends.feed(&piece[..octets], &mut out);
        intake.octets(&out)?;
    }
    if ends.nuls() > 0 {
        intake.watch().note(label, &format!("has {} NUL in it, which became octet 128", ends.nuls()));
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(base: &str, uid: Option<u32>, seconds: i64) -> Entry {
        Entry {
            uid,
            modified: (seconds, 5),
            base: base.into(),
            part: 1,
            octets: 9,
            suffix: b":2,S".to_vec(),
            extra: Vec::new(),
        }
    }

    #[test]
    fn files_are_joined_with_what_is_written_about_them_and_come_in_order() {
        let mut joined = Sorter::default();
        for (base, seconds) in [("d", 9), ("a", 3), ("ab", 2), ("c", -4), ("e", 9)] {
            joined.push(&record(base.as_bytes(), FILE, &entry(base, None, seconds).write())).expect("kept");
        }
        for (base, uid) in [("a", 7), ("a", 8), ("c", 2), ("gone", 1)] {
            joined.push(&record(base.as_bytes(), LISTED, &u32::to_be_bytes(uid))).expect("kept");
        }
        joined.push(&record(b"ab", EXTRA, b"ab raw 5 0 word")).expect("kept");
        let mut sorted = in_order(joined.sorted().expect("sorted")).expect("sorted");
        let records = sorted.next_some(99).expect("read");
        let entries: Vec<Entry> = records.iter().map(|record| Entry::read(record).expect("an entry")).collect();
        let with_extra = Entry { extra: b"ab raw 5 0 word".to_vec(), ..entry("ab", None, 2) };
        let expected =
            [entry("c", Some(2), -4), entry("a", Some(8), 3), with_extra, entry("d", None, 9), entry("e", None, 9)];
        assert_eq!(entries, expected);
    }
}
