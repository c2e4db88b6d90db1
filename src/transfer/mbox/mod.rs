//! mbox on the way in: a file, or a folder of such files. Flags, keywords and UIDs are taken from the headers that mail
//! programs keep them in. Nothing of the source is changed.

mod copies;
pub mod export;
pub mod headers;
pub mod reader;

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use self::copies::Copies;
use self::reader::{Quoting, Reader, Trouble};
use super::intake::{Arrival, Intake};
use super::{Stopped, keys, names};
use crate::types::{MailboxName, Uid, UidValidity};

/// Deepest folder that is looked into.
const MOST_LEVELS: usize = 32;
/// What is read of a file at a time.
const BUFFER_BYTES: usize = 256 * 1024;

/// Imports a file into `into` (without it: INBOX), or each mbox in a folder into a mailbox of its name below `into`.
pub fn import(
    path: &Path,
    into: Option<&MailboxName>,
    quoting: Quoting,
    intake: &mut Intake<'_>,
) -> Result<(), Stopped> {
    let about = fs::metadata(path).map_err(|error| Stopped::at(path.display(), error))?;
    if !about.is_dir() {
        intake.watch().expect(about.len());
        let name = into.cloned().unwrap_or_else(MailboxName::inbox);
        return import_file(path, &name, None, quoting, intake);
    }
    let mut wanted = match export::Contents::read(path) {
        Some(contents) => listed(path, into, contents, intake),
        None => {
            let mut files = Vec::new();
            find(path, &[], MOST_LEVELS, &mut files, intake);
            named(files, into, intake)
        }
    };
    if wanted.is_empty() {
        return Err(Stopped::Outside(format!("there is no mbox in {}", path.display())));
    }
    wanted.sort_by(|one, other| one.name.cmp(&other.name));
    intake.watch().expect(wanted.iter().map(|wanted| wanted.octets).sum());
    for Wanted { path, name, is_subscribed, .. } in wanted {
        match import_file(&path, &name, is_subscribed, quoting, intake) {
            // One file that cannot be read is no reason to leave the others.
            Err(Stopped::Outside(why)) => intake.miss(&path.display().to_string(), &why),
            outcome => outcome?,
        }
    }
    Ok(())
}

/// A file and where it goes.
struct Wanted {
    path: PathBuf,
    name: MailboxName,
    is_subscribed: Option<bool>,
    octets: u64,
}

/// What an export of ours says lies in its folder.
fn listed(
    root: &Path,
    below: Option<&MailboxName>,
    contents: Vec<export::Line>,
    intake: &mut Intake<'_>,
) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for line in contents {
        let path = root.join(&line.file);
        let octets = fs::metadata(&path).map_or(0, |about| about.len());
        match names::below(below, line.name) {
            Some(name) => wanted.push(Wanted { path, name, is_subscribed: Some(line.is_subscribed), octets }),
            None => intake.miss(&path.display().to_string(), "its name is too long"),
        }
    }
    wanted
}

/// Collects the files below a folder that begin as an mbox does, with the levels of their names.
fn find(
    path: &Path,
    levels: &[String],
    depth: usize,
    files: &mut Vec<(PathBuf, Vec<String>)>,
    intake: &mut Intake<'_>,
) {
    let label = path.display().to_string();
    let listed = match fs::read_dir(path) {
        Ok(listed) => listed,
        Err(error) => return intake.miss(&label, &format!("it cannot be read: {error}")),
    };
    for entry in listed.filter_map(Result::ok) {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        let mut deeper = levels.to_vec();
        // Thunderbird keeps what is below a folder in NAME.sbd.
        let plain = name.strip_suffix(".sbd").or_else(|| name.strip_suffix(".mbox")).unwrap_or(&name);
        deeper.push(names::level(plain.as_bytes()));
        if path.is_dir() {
            match depth.checked_sub(1) {
                Some(depth) => find(&path, &deeper, depth, files, intake),
                None => intake.miss(&path.display().to_string(), "it lies too deep"),
            }
        } else if begins_as_mbox(&path) {
            files.push((path, deeper));
        }
    }
}

fn begins_as_mbox(path: &Path) -> bool {
    let mut first = [0; 5];
    File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok() && &first == b"From "
}

fn named(files: Vec<(PathBuf, Vec<String>)>, below: Option<&MailboxName>, intake: &mut Intake<'_>) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for (path, levels) in files {
        let label = path.display().to_string();
        let Some(name) = intake.name(&label, &levels, below) else { continue };
        let octets = fs::metadata(&path).map_or(0, |about| about.len());
        wanted.push(Wanted { path, name, is_subscribed: None, octets });
    }
    wanted
}

fn import_file(
    path: &Path,
    name: &MailboxName,
    is_subscribed: Option<bool>,
    quoting: Quoting,
    intake: &mut Intake<'_>,
) -> Result<(), Stopped> {
    let open = || File::open(path).map(|file| BufReader::with_capacity(BUFFER_BYTES, file));
    let trouble = |error: std::io::Error| Stopped::at(path.display(), error);
    let base = match first_base(path, quoting) {
        Ok(base) => base,
        Err(Trouble::Source(error)) => return Err(trouble(error)),
        Err(Trouble::NoMbox | Trouble::Sink(())) => {
            return Err(Stopped::Outside(format!("{} is no mbox", path.display())));
        }
    };
    let keeps_uids = intake.adopt(name, base.map(|(validity, _)| UidValidity(validity)), is_subscribed)?;
    let mut reader = Reader::new(open().map_err(trouble)?, quoting);
    let mut copies = Copies::default();
    let mut last = 0;
    loop {
        let mut hasher = blake3::Hasher::new();
        let found = reader.next(|octets| {
            hasher.update(octets);
            intake.octets(octets)
        });
        let found = match found {
            Ok(Some(found)) => found,
            Ok(None) => break,
            Err(Trouble::Sink(stopped)) => return Err(stopped),
            Err(Trouble::NoMbox) => return Err(Stopped::Outside(format!("{} is no mbox", path.display()))),
            Err(Trouble::Source(error)) => {
                intake.discard()?;
                intake.finish(None)?;
                return Err(trouble(error));
            }
        };
        let (label, weight) = (format!("{}, octet {}", path.display(), found.from), found.to - found.from);
        if found.about.is_internal || found.about.is_expunged {
            let why =
                if found.about.is_internal { "is a mail program's note and no mail" } else { "was deleted there" };
            intake.watch().note(&label, why);
            intake.watch().advance(weight);
            intake.discard()?;
            continue;
        }
        for word in &found.about.odd_keywords {
            intake.miss(&format!("keyword {word:?} of {label}"), "it is no keyword of IMAP");
        }
        if found.nuls > 0 {
            intake.watch().note(&label, &format!("has {} NUL in it, which became octet 128", found.nuls));
        }
        let content = keys::cut(hasher.finalize());
        let times = copies.see(content)?;
        let key = keys::of(&[b"mbox", &content.0, &times.to_le_bytes()]);
        let date = found.about.mark.as_ref().map_or(found.date, |mark| mark.date);
        let uid = found.about.uid.filter(|_| keeps_uids);
        last = last.max(uid.unwrap_or(0));
        let flags = found.about.flags;
        intake.place(Arrival { label, key, uid: uid.map(Uid), flags, date, weight })?;
    }
    let uid_next = base.filter(|_| keeps_uids).map(|(_, highest)| highest.max(last).saturating_add(1));
    intake.finish(uid_next)
}

/// The UIDVALIDITY and highest UID that the first message's header tells.
fn first_base(path: &Path, quoting: Quoting) -> Result<Option<(u32, u32)>, Trouble<()>> {
    let mut reader = Reader::new(BufReader::new(File::open(path)?), quoting);
    let first = reader.next(|_| Ok(()))?;
    Ok(first.and_then(|found| found.about.base))
}
