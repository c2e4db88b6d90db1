//! Pulling mail from another IMAP server: all folders, flags, keywords, dates, and UIDs where they can be kept. The
//! source is only read: EXAMINE and BODY.PEEK change nothing there.

pub mod answer;
pub mod link;

use std::collections::{BTreeMap, HashSet};

use self::answer::{Body, Fetched, Listed};
use self::link::{Link, Untagged, string};
use super::intake::{Arrival, Intake};
use super::sorter::{Sorted, Sorter};
use super::talk::MOST_KEYS;
use super::{Stopped, keys, names};
use crate::mailstore::ImportKey;
use crate::types::date::DateTime;
use crate::types::{MailboxName, Uid, UidValidity};
use crate::wire::date::read_date_time;

/// So many messages, or so many octets, are asked for at once.
const BATCH_MESSAGES: usize = 200;
const BATCH_BYTES: u64 = 16 << 20;
/// Most folders of a source.
const MOST_FOLDERS: usize = 100_000;

/// Where the mail comes from, as it goes into the keys of its messages: the same words, the same messages.
#[derive(Debug, Clone)]
pub struct Source {
    pub host: String,
    pub user: String,
}

/// A folder of the source.
struct Folder {
    listed: Listed,
    name: MailboxName,
    is_subscribed: bool,
}

/// What EXAMINE tells.
#[derive(Debug, Default)]
struct Opened {
    uid_validity: Option<u32>,
    uid_next: Option<u32>,
}

/// Takes over all that the session, which is logged in, can see. `below`: what takes INBOX's place and has the
/// folders below it.
pub fn import(
    link: &mut Link,
    source: &Source,
    below: Option<&MailboxName>,
    intake: &mut Intake<'_>,
) -> Result<(), Stopped> {
    let folders = folders(link, below, intake)?;
    if folders.is_empty() {
        return Err(Stopped::Outside("the server shows no mailbox".into()));
    }
    for folder in folders {
        import_folder(link, source, &folder, intake)?;
    }
    // A server that hangs up instead of answering has given everything.
    let _ = link.command(&[b"LOGOUT"], &mut |_| Ok(()), &mut |_| Ok(()));
    Ok(())
}

fn folders(link: &mut Link, below: Option<&MailboxName>, intake: &mut Intake<'_>) -> Result<Vec<Folder>, Stopped> {
    let all = list(link, b"LIST")?;
    let subscribed: HashSet<Vec<u8>> = list(link, b"LSUB")?.into_iter().map(|listed| listed.name).collect();
    let mut folders = BTreeMap::new();
    for listed in all {
        if !listed.can_be_opened {
            continue;
        }
        let label = String::from_utf8_lossy(&listed.name).into_owned();
        let levels: Vec<String> = match listed.separator {
            None => vec![names::level(&listed.name)],
            Some(separator) => listed.name.split(|octet| *octet == separator).map(names::level).collect(),
        };
        let Some(name) = intake.name(&label, &levels, below) else { continue };
        let is_subscribed = subscribed.contains(&listed.name) || name.is_inbox();
        if folders.contains_key(&name) {
            intake.watch().note(&label, &format!("goes into {name} with another folder"));
        }
        folders.entry(name.clone()).or_insert_with(Vec::new).push(Folder { listed, name, is_subscribed });
    }
    Ok(folders.into_values().flatten().collect())
}

fn list(link: &mut Link, word: &[u8]) -> Result<Vec<Listed>, Stopped> {
    let mut all = Vec::new();
    let ended = link.command(&[word, b"\"\"", b"\"*\""], &mut |_| Ok(()), &mut |untagged| {
        if let Untagged::Tokens(tokens) = untagged
            && let Some(listed) = answer::listed(&tokens)
        {
            if all.len() >= MOST_FOLDERS {
                return Err(Stopped::Outside(format!("the server has more than {MOST_FOLDERS} folders")));
            }
            all.push(listed);
        }
        Ok(())
    })?;
    ended.or_stop(&String::from_utf8_lossy(word))?;
    Ok(all)
}

fn import_folder(link: &mut Link, source: &Source, folder: &Folder, intake: &mut Intake<'_>) -> Result<(), Stopped> {
    let label = folder.name.as_str();
    let mut opened = Opened::default();
    let ended = link.command(&[b"EXAMINE", &string(&folder.listed.name)], &mut |_| Ok(()), &mut |untagged| {
        if let Untagged::Text(text) = untagged
            && let Some(text) = text.get(..3).filter(|ok| ok.eq_ignore_ascii_case(b"OK ")).map(|_| &text[3..])
        {
            opened.uid_validity = answer::code(text, "UIDVALIDITY").or(opened.uid_validity);
            opened.uid_next = answer::code(text, "UIDNEXT").or(opened.uid_next);
        }
        Ok(())
    })?;
    if !ended.is_ok {
        intake.miss(label, &format!("the server does not open it: {}", ended.text));
        return Ok(());
    }
    let Some(uid_validity) = opened.uid_validity.filter(|validity| *validity > 0) else {
        intake.miss(label, "the server tells no UIDVALIDITY, without which nothing can be taken safely");
        return Ok(());
    };
    let keeps_uids = intake.adopt(&folder.name, Some(UidValidity(uid_validity)), Some(folder.is_subscribed))?;
    let key = |uid: u32| {
        let fields: [&[u8]; 6] = [
            b"imap",
            source.host.as_bytes(),
            source.user.as_bytes(),
            &folder.listed.name,
            &uid_validity.to_le_bytes(),
            &uid.to_le_bytes(),
        ];
        keys::of(&fields)
    };
    let mut wanted = unknown(sizes(link)?, &key, intake)?;
    let (mut rest, mut last) = (Vec::new(), 0);
    loop {
        rest.extend(wanted.next_some(BATCH_MESSAGES - rest.len())?.iter().filter_map(|record| read_size(record)));
        if rest.is_empty() {
            break;
        }
        let batch: Vec<_> = rest.drain(..batch_length(&rest)).collect();
        last = batch.last().map_or(last, |(uid, _)| *uid);
        pull(link, label, &batch, keeps_uids, &key, intake)?;
    }
    intake.finish(keeps_uids.then(|| opened.uid_next.unwrap_or(0).max(last.saturating_add(1))))
}

/// Those of the messages that were not taken before; what they weigh is told.
fn unknown(mut sizes: Sorted, key: &dyn Fn(u32) -> ImportKey, intake: &mut Intake<'_>) -> Result<Sorted, Stopped> {
    let (mut wanted, mut last) = (Sorter::default(), 0);
    loop {
        let records = sizes.next_some(MOST_KEYS)?;
        if records.is_empty() {
            return wanted.sorted();
        }
        let mut messages: Vec<(u32, u64)> = records.iter().filter_map(|record| read_size(record)).collect();
        messages.retain(|(uid, _)| std::mem::replace(&mut last, *uid) != *uid);
        let keys: Vec<ImportKey> = messages.iter().map(|(uid, _)| key(*uid)).collect();
        for ((uid, octets), is_known) in messages.into_iter().zip(intake.known(&keys)?) {
            if is_known {
                intake.note_known(1);
            } else {
                intake.watch().expect(octets);
                wanted.push(&size_record(uid, octets))?;
            }
        }
    }
}

/// The UID and size of each message, ascending.
fn sizes(link: &mut Link) -> Result<Sorted, Stopped> {
    let mut sizes = Sorter::default();
    let words: [&[u8]; 3] = [b"UID FETCH", b"1:*", b"(UID RFC822.SIZE)"];
    let ended = link.command(&words, &mut |_| Ok(()), &mut |untagged| {
        if let Untagged::Tokens(tokens) = untagged
            && let Some(Fetched { uid: Some(uid), size, .. }) = answer::fetched(&tokens)
        {
            sizes.push(&size_record(uid, size.unwrap_or(0)))?;
        }
        Ok(())
    })?;
    ended.or_stop("UID FETCH")?;
    sizes.sorted()
}

/// A message as a record that sorts by UID; told of twice, by the larger size first.
fn size_record(uid: u32, octets: u64) -> [u8; 12] {
    let mut record = [0; 12];
    record[..4].copy_from_slice(&uid.to_be_bytes());
    record[4..].copy_from_slice(&(!octets).to_be_bytes());
    record
}

fn read_size(record: &[u8]) -> Option<(u32, u64)> {
    let (uid, octets) = record.split_first_chunk()?;
    Some((u32::from_be_bytes(*uid), !u64::from_be_bytes(octets.try_into().ok()?)))
}

fn batch_length(messages: &[(u32, u64)]) -> usize {
    let mut octets = 0u64;
    let fits = |(_, size): &&(u32, u64)| {
        octets = octets.saturating_add(*size);
        octets <= BATCH_BYTES
    };
    messages.iter().take(BATCH_MESSAGES).take_while(fits).count().max(1)
}

/// UIDs as a set: `1:3,7`.
fn set_of(messages: &[(u32, u64)]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for (uid, _) in messages {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*uid) => *last = *uid,
            _ => runs.push((*uid, *uid)),
        }
    }
    let run = |(first, last): &(u32, u32)| if first == last { first.to_string() } else { format!("{first}:{last}") };
    runs.iter().map(run).collect::<Vec<_>>().join(",")
}

/// Takes these messages.
fn pull(
    link: &mut Link,
    mailbox: &str,
    batch: &[(u32, u64)],
    keeps_uids: bool,
    key: &dyn Fn(u32) -> ImportKey,
    intake: &mut Intake<'_>,
) -> Result<(), Stopped> {
    let mut missing: BTreeMap<u32, u64> = batch.iter().copied().collect();
    // Octets go on while the answer is not read to its end yet: both closures need the way there.
    let intake = std::cell::RefCell::new(intake);
    let set = set_of(batch);
    let words: [&[u8]; 3] = [b"UID FETCH", set.as_bytes(), b"(UID FLAGS INTERNALDATE BODY.PEEK[])"];
    let ended = link.command(&words, &mut |octets| intake.borrow_mut().octets(octets), &mut |untagged| {
        let Untagged::Tokens(tokens) = untagged else { return Ok(()) };
        let mut intake = intake.borrow_mut();
        let Some(fetched) = answer::fetched(&tokens) else { return intake.discard() };
        let wanted = fetched.uid.and_then(|uid| missing.get(&uid).map(|size| (uid, *size)));
        let Some((uid, size)) = wanted else { return intake.discard() };
        match &fetched.body {
            // What else is told of a message meanwhile, such as its flags.
            Body::Absent => return Ok(()),
            Body::Streamed => {}
            Body::Held(octets) => intake.octets(octets)?,
        }
        missing.remove(&uid);
        place(mailbox, uid, size, fetched, keeps_uids, key(uid), &mut intake)
    })?;
    let intake = intake.into_inner();
    for (uid, size) in missing {
        let why = match ended.is_ok {
            true => "the server did not give it".to_owned(),
            false => format!("the server did not give it: {}", ended.text),
        };
        intake.miss(&format!("UID {uid} of {mailbox}"), &why);
        intake.watch().advance(size);
    }
    Ok(())
}

fn place(
    mailbox: &str,
    uid: u32,
    size: u64,
    fetched: Fetched,
    keeps_uids: bool,
    key: ImportKey,
    intake: &mut Intake<'_>,
) -> Result<(), Stopped> {
    let label = format!("UID {uid} of {mailbox}");
    for flag in &fetched.odd_flags {
        intake.miss(&format!("flag {flag} of {label}"), "it is none here");
    }
    let date: Option<DateTime> = fetched.date.as_deref().and_then(read_date_time);
    if date.is_none() {
        intake.watch().note(&label, "gets the present as its date: the server's cannot be understood");
    }
    let uid = keeps_uids.then_some(Uid(uid));
    intake.place(Arrival { label, key, uid, flags: fetched.flags, date, weight: size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_have_bounds_and_sets_are_short() {
        let small: Vec<(u32, u64)> = (1..=500).map(|uid| (uid, 10)).collect();
        assert_eq!(batch_length(&small), BATCH_MESSAGES);
        assert_eq!(batch_length(&[(1, BATCH_BYTES), (2, 1)]), 1);
        assert_eq!(batch_length(&[(1, u64::MAX), (2, u64::MAX)]), 1);
        assert_eq!(set_of(&[(1, 0), (2, 0), (3, 0), (7, 0), (u32::MAX, 0)]), "1:3,7,4294967295");
        assert_eq!(read_size(&size_record(7, 9)), Some((7, 9)));
        assert!(size_record(7, 9) < size_record(7, 0) && size_record(7, 0) < size_record(300, 9));
    }
}
