//! Maildir and Maildir++ on the way in. Folders are found in both layouts, `.Archive.2025` and `Archive/2025`; what
//! Dovecot wrote beside the mail is used when it is there: UIDs, keywords, subscriptions. Nothing of the source is
//! changed.

pub mod export;
mod folder;
pub mod lists;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use self::folder::Folder;
use super::intake::Intake;
use super::{Stopped, names};
use crate::types::MailboxName;

/// Deepest folder that is looked for: links may lead in circles.
const MOST_LEVELS: usize = 32;
/// Largest list of keywords or subscriptions that is read, in octets. Those that grow with the messages are read line by
/// line.
const MOST_LIST_BYTES: u64 = 16 << 20;

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
        intake.watch().expect(folder.octets());
        let is_subscribed = subscribed.as_ref().map(|names| {
            // Behind a namespace's prefix, too.
            let prefixed = [&["INBOX".to_owned()], folder.levels.as_slice()].concat();
            name.is_inbox() || names.contains(&folder.levels) || names.contains(&prefixed)
        });
        wanted.push((folder, name, is_subscribed));
    }
    for (folder, name, is_subscribed) in wanted {
        folder.import(&name, is_subscribed, intake)?;
    }
    Ok(())
}

/// True when this looks like a Maildir or a folder that holds some.
pub fn is_maildir(path: &Path) -> bool {
    path.join("cur").is_dir() || path.join("new").is_dir()
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
