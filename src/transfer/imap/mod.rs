//! Pulling mail from another IMAP server: all folders, flags, keywords, dates, and UIDs where they can be kept. The
//! source is only read: EXAMINE and BODY.PEEK change nothing there.

pub mod answer;
pub mod link;

use std::collections::{BTreeMap, HashSet, VecDeque};

use self::answer::{Body, Fetched, Listed};
use self::link::{Begun, Link, Untagged, string};
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
/// While the answer to one such command is read the next ones are there already: else each costs the way there and back.
const AHEAD: usize = 4;
/// Flags are brought up to date in batches of at most so many octets, of which each message's weigh so many at least.
const FLAGS_BATCH_BYTES: usize = 64 * 1024;
const FLAGS_BYTES: usize = 64;
/// Most folders of a source.
const MOST_FOLDERS: usize = 100_000;

/// Where the mail comes from, as it goes into the keys of its messages: the same words, the same messages.
#[derive(Debug, Clone)]
pub struct Source {
    pub host: String,
    pub user: String,
    /// What was deleted there since it was taken is to be deleted here.
    pub deletes_gone: bool,
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
    exists: u64,
    /// `None`: the server keeps no count of changes for it.
    highest_modseq: Option<u64>,
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
    let name = string(&folder.listed.name);
    // RFC 7162 §3.1.8: so the server counts changes, and tells how far it has come.
    let words: &[&[u8]] =
        if link.has("CONDSTORE") { &[b"EXAMINE", &name, b"(CONDSTORE)"] } else { &[b"EXAMINE", &name] };
    let ended = link.command(words, &mut |_| Ok(()), &mut |untagged| {
        let Untagged::Text(text) = untagged else { return Ok(()) };
        if let Some(text) = text.get(..3).filter(|ok| ok.eq_ignore_ascii_case(b"OK ")).map(|_| &text[3..]) {
            opened.uid_validity = answer::code(text, "UIDVALIDITY").or(opened.uid_validity);
            opened.uid_next = answer::code(text, "UIDNEXT").or(opened.uid_next);
            opened.highest_modseq = answer::code(text, "HIGHESTMODSEQ").or(opened.highest_modseq);
        } else if let Some(number) = String::from_utf8_lossy(&text).strip_suffix(" EXISTS") {
            opened.exists = number.parse().unwrap_or(opened.exists);
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
    let marked = intake.follow(key(0))?;
    let (listed, count) = sizes(link)?;
    // A list that is shorter than it should be says nothing about what is not in it.
    let deletes_gone = source.deletes_gone && count >= opened.exists;
    if source.deletes_gone && !deletes_gone {
        intake.miss(label, "the server shows fewer messages than it has; nothing was deleted here");
    }
    let (mut wanted, has_known) = unknown(listed, &key, deletes_gone, intake)?;
    if has_known {
        follow_flags(link, &opened, marked, intake)?;
    }
    let (mut rest, mut last) = (Vec::new(), 0);
    let mut pulled = Pulled { label, key: &key, missing: BTreeMap::new(), begun: VecDeque::new() };
    loop {
        rest.extend(wanted.next_some(BATCH_MESSAGES - rest.len())?.iter().filter_map(|record| read_size(record)));
        let batch: Vec<_> = rest.drain(..batch_length(&rest)).collect();
        if pulled.begun.len() >= AHEAD || batch.is_empty() {
            pulled.hear(link, intake)?;
        }
        if let Some((uid, _)) = batch.last() {
            last = *uid;
            pulled.ask(link, batch)?;
        } else if pulled.begun.is_empty() {
            break;
        }
    }
    if let Some(highest) = opened.highest_modseq {
        intake.mark(highest)?;
    }
    intake.finish(keeps_uids.then(|| opened.uid_next.unwrap_or(0).max(last.saturating_add(1))))
}

/// Those of the messages that were not taken before; what they weigh is told. True: some were taken before.
fn unknown(
    mut sizes: Sorted,
    key: &dyn Fn(u32) -> ImportKey,
    deletes_gone: bool,
    intake: &mut Intake<'_>,
) -> Result<(Sorted, bool), Stopped> {
    let (mut wanted, mut last, mut has_known) = (Sorter::default(), 0, false);
    loop {
        let records = sizes.next_some(MOST_KEYS)?;
        let mut messages: Vec<(u32, u64)> = records.iter().filter_map(|record| read_size(record)).collect();
        let from = last;
        messages.retain(|(uid, _)| std::mem::replace(&mut last, *uid) != *uid);
        if deletes_gone {
            let to = if records.is_empty() { u32::MAX } else { last };
            intake.gone(from.saturating_add(1), to, messages.iter().map(|(uid, _)| *uid).collect())?;
        }
        if records.is_empty() {
            return Ok((wanted.sorted()?, has_known));
        }
        let keys: Vec<ImportKey> = messages.iter().map(|(uid, _)| key(*uid)).collect();
        for ((uid, octets), is_known) in messages.into_iter().zip(intake.known(&keys)?) {
            if is_known {
                has_known = true;
                intake.note_known(1);
            } else {
                intake.watch().expect(octets);
                wanted.push(&size_record(uid, octets))?;
            }
        }
    }
}

/// Brings the flags of what was taken before up to date. `marked`: how far that was done before.
fn follow_flags(link: &mut Link, opened: &Opened, marked: u64, intake: &mut Intake<'_>) -> Result<(), Stopped> {
    // A count that went back says that the source is not what it was.
    let since = opened.highest_modseq.filter(|highest| marked > 0 && marked <= *highest).map(|_| marked);
    if since.is_some() && since == opened.highest_modseq {
        return Ok(());
    }
    // RFC 7162 §3.1.4.1
    let since = since.map(|since| format!("(CHANGEDSINCE {since})"));
    let mut words: Vec<&[u8]> = vec![b"UID FETCH", b"1:*", b"(UID FLAGS)"];
    words.extend(since.as_ref().map(|since| since.as_bytes()));
    let (mut batch, mut weight) = (Vec::new(), 0);
    let ended = link.command(&words, &mut |_| Ok(()), &mut |untagged| {
        if let Untagged::Tokens(tokens) = untagged
            && let Some(Fetched { uid: Some(uid), flags, has_flags: true, .. }) = answer::fetched(&tokens)
        {
            weight += FLAGS_BYTES + flags.keywords().iter().map(|word| word.as_str().len()).sum::<usize>();
            batch.push((uid, flags));
            if weight >= FLAGS_BATCH_BYTES {
                weight = 0;
                intake.flags(std::mem::take(&mut batch))?;
            }
        }
        Ok(())
    })?;
    ended.or_stop("UID FETCH")?;
    if batch.is_empty() { Ok(()) } else { intake.flags(batch) }
}

/// The UID and size of each message, ascending, and how many answers there were.
fn sizes(link: &mut Link) -> Result<(Sorted, u64), Stopped> {
    let (mut sizes, mut count) = (Sorter::default(), 0);
    let words: [&[u8]; 3] = [b"UID FETCH", b"1:*", b"(UID RFC822.SIZE)"];
    let ended = link.command(&words, &mut |_| Ok(()), &mut |untagged| {
        if let Untagged::Tokens(tokens) = untagged
            && let Some(Fetched { uid: Some(uid), size, .. }) = answer::fetched(&tokens)
        {
            count += u64::from(size.is_some());
            sizes.push(&size_record(uid, size.unwrap_or(0)))?;
        }
        Ok(())
    })?;
    ended.or_stop("UID FETCH")?;
    Ok((sizes.sorted()?, count))
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
    messages.iter().take(BATCH_MESSAGES).take_while(fits).count().max(1).min(messages.len())
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

/// Messages that were asked for.
struct Pulled<'a> {
    label: &'a str,
    key: &'a dyn Fn(u32) -> ImportKey,
    /// Those that did not come yet, with their sizes.
    missing: BTreeMap<u32, u64>,
    /// The commands with what each asked for.
    begun: VecDeque<(Begun, Vec<(u32, u64)>)>,
}

impl Pulled<'_> {
    fn ask(&mut self, link: &mut Link, batch: Vec<(u32, u64)>) -> Result<(), Stopped> {
        let set = set_of(&batch);
        let begun = link.begin_command(&[b"UID FETCH", set.as_bytes(), b"(UID FLAGS INTERNALDATE BODY.PEEK[])"])?;
        self.missing.extend(batch.iter().copied());
        self.begun.push_back((begun, batch));
        Ok(())
    }

    /// Takes the messages that the oldest command asked for, and what comes of the others meanwhile.
    fn hear(&mut self, link: &mut Link, intake: &mut Intake<'_>) -> Result<(), Stopped> {
        let Some((begun, batch)) = self.begun.pop_front() else { return Ok(()) };
        let (mailbox, key, missing) = (self.label, self.key, &mut self.missing);
        // Octets go on while the answer is not read to its end yet: both closures need the way there.
        let intake = std::cell::RefCell::new(intake);
        let ended = link.hear(begun, &mut |octets| intake.borrow_mut().octets(octets), &mut |untagged| {
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
            place(mailbox, (uid, size), fetched, key(uid), &mut intake)
        })?;
        let intake = intake.into_inner();
        for (uid, size) in batch.into_iter().filter_map(|(uid, _)| missing.remove_entry(&uid)) {
            let why = match ended.is_ok {
                true => "the server did not give it".to_owned(),
                false => format!("the server did not give it: {}", ended.text),
            };
            intake.miss(&format!("UID {uid} of {mailbox}"), &why);
            intake.watch().advance(size);
        }
        Ok(())
    }
}

fn place(
    mailbox: &str,
    (uid, size): (u32, u64),
    fetched: Fetched,
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
    // Told also where UIDs are not kept: by it the message is found again when it has changed there.
    intake.place(Arrival { label, key, uid: Some(Uid(uid)), flags: fetched.flags, date, weight: size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_have_bounds_and_sets_are_short() {
        let small: Vec<(u32, u64)> = (1..=500).map(|uid| (uid, 10)).collect();
        assert_eq!((batch_length(&small), batch_length(&[])), (BATCH_MESSAGES, 0));
        assert_eq!(batch_length(&[(1, BATCH_BYTES), (2, 1)]), 1);
        assert_eq!(batch_length(&[(1, u64::MAX), (2, u64::MAX)]), 1);
        assert_eq!(set_of(&[(1, 0), (2, 0), (3, 0), (7, 0), (u32::MAX, 0)]), "1:3,7,4294967295");
        assert_eq!(read_size(&size_record(7, 9)), Some((7, 9)));
        assert!(size_record(7, 9) < size_record(7, 0) && size_record(7, 0) < size_record(300, 9));
    }
}
