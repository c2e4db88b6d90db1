//! Maildir and Maildir++ on the way in. Folders are found in both layouts, `.Archive.2025` and `Archive/2025`; what
//! Dovecot wrote beside the mail is used when it is there: UIDs, keywords, subscriptions. Nothing of the source is
//! changed.

pub mod export;
pub mod lists;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use self::lists::{Extra, UidList};
use super::crlf::ToNetwork;
use super::intake::{Arrival, Intake};
use super::talk::PIECE_BYTES;
use super::{Stopped, keys, names};
use crate::types::date::DateTime;
use crate::types::{Flag, Keyword, MailboxName, Uid, UidValidity};

/// Deepest folder that is looked for: links may lead in circles.
const MOST_LEVELS: usize = 32;
/// Largest list beside the mail that is read, in octets.
const MOST_LIST_BYTES: u64 = 512 << 20;

/// Imports a Maildir and all its folders. `below`: the mailbox that takes the place of the source's INBOX and has its
/// folders below it.
pub fn import(root: &Path, below: Option<&MailboxName>, intake: &mut Intake<'_>) -> Result<(), Stopped> {
    let mut folders = Vec::new();
    find(root, &[], MOST_LEVELS, &mut folders, intake)?;
    if folders.is_empty() {
        return Err(Stopped::Outside(format!("{} is no Maildir: there is no folder \"cur\" in it", root.display())));
    }
    folders.sort_by(|one, other| one.levels.cmp(&other.levels));
    let subscribed = subscriptions(root, intake);
    let mut wanted = Vec::new();
    for folder in folders {
        let place = folder.path.display().to_string();
        let Some(name) = intake.name(&place, &folder.levels, below) else { continue };
        let entries = folder.entries(intake);
        intake.watch().expect(entries.iter().map(|entry| entry.octets).sum());
        let is_subscribed = subscribed.as_ref().map(|names| {
            // Behind a namespace's prefix, too.
            let prefixed = [&["INBOX".to_owned()], folder.levels.as_slice()].concat();
            name.is_inbox() || names.contains(&folder.levels) || names.contains(&prefixed)
        });
        wanted.push((folder, name, entries, is_subscribed));
    }
    for (folder, name, entries, is_subscribed) in wanted {
        folder.import(&name, entries, is_subscribed, intake)?;
    }
    Ok(())
}

/// True when this looks like a Maildir or a folder that holds some.
pub fn is_maildir(path: &Path) -> bool {
    path.join("cur").is_dir() || path.join("new").is_dir()
}

/// A folder of the source.
struct Folder {
    path: PathBuf,
    /// Decoded; INBOX is `["INBOX"]`.
    levels: Vec<String>,
}

/// A message's file.
struct Entry {
    path: PathBuf,
    /// The name without its letters, and the letters.
    base: Vec<u8>,
    letters: Vec<u8>,
    octets: u64,
    modified: (i64, i64),
}

/// Collects `path`, if it is a Maildir, and what is below it.
fn find(
    path: &Path,
    levels: &[String],
    depth: usize,
    folders: &mut Vec<Folder>,
    intake: &mut Intake<'_>,
) -> Result<(), Stopped> {
    if is_maildir(path) {
        let levels = if levels.is_empty() { vec!["INBOX".to_owned()] } else { levels.to_vec() };
        folders.push(Folder { path: path.to_owned(), levels });
    }
    let listed = match fs::read_dir(path) {
        Err(error) if levels.is_empty() => return Err(Stopped::at(path.display(), error)),
        Err(error) => {
            intake.miss(&path.display().to_string(), &format!("it cannot be read: {error}"));
            return Ok(());
        }
        Ok(listed) => listed,
    };
    for entry in listed.filter_map(Result::ok) {
        let (name, below) = (entry.file_name().into_vec(), entry.path());
        if matches!(name.as_slice(), b"cur" | b"new" | b"tmp") || !below.is_dir() {
            continue;
        }
        let mut deeper = levels.to_vec();
        match name.strip_prefix(b".") {
            // Maildir++: all folders lie in the root, with dots between their levels.
            Some(dotted) if levels.is_empty() && is_maildir(&below) => {
                deeper.extend(dotted.split(|octet| *octet == b'.').map(names::level));
                folders.push(Folder { path: below, levels: deeper });
                continue;
            }
            Some(_) => continue,
            None => deeper.push(names::level(&name)),
        }
        match depth.checked_sub(1) {
            Some(depth) => find(&below, &deeper, depth, folders, intake)?,
            None => intake.miss(&below.display().to_string(), "it lies too deep"),
        }
    }
    Ok(())
}

/// The names that are subscribed to; `None`: the source does not say.
fn subscriptions(root: &Path, intake: &mut Intake<'_>) -> Option<HashSet<Vec<String>>> {
    let octets = read_list(&root.join("subscriptions"), intake)?;
    let names = lists::subscriptions(&octets).into_iter();
    Some(names.map(|levels| levels.iter().map(|level| names::level(level)).collect()).collect())
}

/// A file beside the mail; `None` when it is not there.
fn read_list(path: &Path, intake: &mut Intake<'_>) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST_LIST_BYTES + 1).read_to_end(&mut octets));
    match read {
        Ok(_) if octets.len() as u64 <= MOST_LIST_BYTES => Some(octets),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Ok(_) => {
            intake.miss(&path.display().to_string(), "it is too large");
            None
        }
        Err(error) => {
            intake.miss(&path.display().to_string(), &format!("it cannot be read: {error}"));
            None
        }
    }
}

impl Folder {
    /// The files of its messages.
    fn entries(&self, intake: &mut Intake<'_>) -> Vec<Entry> {
        let mut entries = Vec::new();
        for part in ["new", "cur"] {
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
                    Ok((name, path, about)) => {
                        let (base, letters) = lists::split(name.as_bytes());
                        entries.push(Entry {
                            path,
                            base: base.to_vec(),
                            letters: letters.to_vec(),
                            octets: about.len(),
                            modified: (about.mtime(), about.mtime_nsec()),
                        });
                    }
                    Err(error) => {
                        intake.miss(&folder.display().to_string(), &format!("a file of it cannot be seen: {error}"));
                    }
                }
            }
        }
        entries
    }

    fn import(
        &self,
        name: &MailboxName,
        mut entries: Vec<Entry>,
        is_subscribed: Option<bool>,
        intake: &mut Intake<'_>,
    ) -> Result<(), Stopped> {
        let list = match read_list(&self.path.join("dovecot-uidlist"), intake) {
            None => UidList::default(),
            Some(octets) => UidList::read(&octets).unwrap_or_else(|| {
                intake.watch().note(name.as_str(), "gets new UIDs: its dovecot-uidlist cannot be understood");
                UidList::default()
            }),
        };
        let has_list = list.uid_validity != 0;
        let validity = has_list.then_some(UidValidity(list.uid_validity));
        let keeps_uids = intake.adopt(name, validity, is_subscribed)?;
        // In the order of their UIDs; those that have none came after all that have one.
        let uid = |entry: &Entry| list.uids.get(&entry.base).copied();
        entries.sort_by(|one, other| {
            let key = |entry: &Entry| (uid(entry).unwrap_or(u32::MAX), entry.modified);
            key(one).cmp(&key(other)).then_with(|| one.base.cmp(&other.base))
        });
        let (keywords, odd) = read_list(&self.path.join("dovecot-keywords"), intake)
            .map_or_else(Default::default, |o| lists::keywords(&o));
        for word in odd {
            intake.miss(&format!("keyword {word:?} of {name}"), "it is no keyword of IMAP");
        }
        let extras = read_list(&self.path.join("pillarbox-messages"), intake);
        let extras = extras.map_or_else(HashMap::new, |octets| Extra::read(&octets));
        let place = self.levels.join("/");
        let keys: Vec<_> = entries.iter().map(|entry| keys::of(&[b"maildir", place.as_bytes(), &entry.base])).collect();
        let known = intake.known(&keys)?;
        let mut uid_next = list.uid_next;
        for ((entry, key), is_known) in entries.into_iter().zip(keys).zip(known) {
            if is_known {
                intake.note_known(1);
                intake.watch().advance(entry.octets);
                continue;
            }
            let listed = list.uids.get(&entry.base).copied();
            let uid = has_list.then(|| listed.unwrap_or(uid_next));
            if has_list && listed.is_none() {
                uid_next = uid_next.saturating_add(1);
            }
            let label = entry.path.display().to_string();
            let (mut flags, unknown) = lists::flags(&entry.letters, &keywords);
            if !unknown.is_empty() {
                let letters = String::from_utf8_lossy(&unknown).into_owned();
                intake.miss(&format!("flags {letters:?} of {label}"), "nobody says what they mean");
            }
            let extra = extras.get(&entry.base);
            let more: &[Keyword] = extra.map_or(&[], |extra| &extra.keywords);
            more.iter().cloned().map(Flag::Keyword).for_each(|flag| flags.insert(flag));
            let date = extra.and_then(|extra| extra.date).unwrap_or(DateTime::utc(entry.modified.0));
            if let Err(why) = send(&entry.path, extra.is_some_and(|extra| extra.is_raw), &label, intake)? {
                intake.miss(&label, &why);
                intake.watch().advance(entry.octets);
                continue;
            }
            let uid = uid.filter(|_| keeps_uids).map(Uid);
            intake.place(Arrival { label, key, uid, flags, date: Some(date), weight: entry.octets })?;
        }
        intake.finish(keeps_uids.then_some(uid_next))
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
