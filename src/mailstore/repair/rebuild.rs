//! From what was collected to a store that is whole: bodies first, then the tree of mailboxes, then messages with the
//! UIDs they had, then all that is derived. Where a UID cannot be trusted its mailbox gets a new UIDVALIDITY.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::bodies::{Asked, BlobFile, Fate, Files, Octets, Remains, save};
use super::build::{Builder, Kept, see_file};
use super::collect::{Collected, MessageRow};
use super::note::{self, Damaged};
use super::source::{Source, Table, tables};
use super::tree::Names;
use super::write::{NewMailbox, NewMessage, Written, write_all};
use super::{Report, Rescue};
use crate::mailstore::error::{Error, Result};
use crate::mailstore::recount::raise_sequence;
use crate::message::fields;
use crate::types::date::DateTime;

/// A file that no row names may be a message that was being received; older than a day it is not (see the sweep).
const STRAY_SECS: i64 = 86_400;
/// Where ids go on when nobody can say how far they had come.
const ID_GAP: i64 = 1 << 20;
/// So much of a file is looked at to see whether it is a message.
const HEADER_BYTES: u64 = 64 * 1024;

/// Makes a whole store in `target` of what can be read in `source` and `blobs`.
pub fn rebuild(rescue: &Rescue<'_>, report: &mut Report) -> Result<()> {
    let mut source = Source::open(rescue.source);
    let files = Files::list(rescue.blobs)?;
    let mut schema = schema()?;
    schema.extend(tables_of_imports()?.into_iter().filter(|table| source.may_have(table)));
    let all = Collected::read(&mut source, &schema, rescue.now);
    report.about_tables(&schema, &all, source.has_trees());
    let first_content = first_free(&all, "content", all.contents.keys().next_back().copied().unwrap_or(0));
    let first_content = u32::try_from(first_content).map_err(|_| Error::Limit("message contents"))?;
    let mut work = Work {
        builder: Builder::new(rescue.target, *rescue.key, first_content)?,
        rescue,
        source,
        files,
        all,
        first_content,
        fates: HashMap::new(),
        whole: HashMap::new(),
        notes: HashMap::new(),
        used: HashSet::new(),
        mailboxes: BTreeMap::new(),
        names: Names::default(),
        next_mailbox: 1,
        modseq: 0,
    };
    work.modseq = work.all.highest_modseq() + 1;
    work.save_bodies(report)?;
    work.plant_mailboxes(report);
    work.place_messages(report)?;
    work.place_what_has_no_row(report)?;
    work.finish(report)
}

/// The tables of this program's own schema.
fn schema() -> Result<Vec<Table>> {
    let memory = rusqlite::Connection::open_in_memory()?;
    memory.execute_batch(crate::mailstore::migrate::SCHEMA)?;
    tables(&memory)
}

/// Those that only accounts have into which something was imported.
fn tables_of_imports() -> Result<Vec<Table>> {
    let memory = rusqlite::Connection::open_in_memory()?;
    memory.execute_batch(crate::mailstore::import::SCHEMA)?;
    tables(&memory)
}

/// The first number of a table that was surely never given out.
fn first_free(all: &Collected, table: &str, highest: i64) -> i64 {
    match all.sequences.get(table) {
        Some(last) if (highest..1 << 31).contains(last) && all.is_whole(table) => last + 1,
        _ => highest + ID_GAP,
    }
}

struct Work<'a> {
    builder: Builder,
    rescue: &'a Rescue<'a>,
    source: Source,
    files: Files,
    all: Collected,
    /// Where the numbers of contents go on.
    first_content: u32,
    fates: HashMap<i64, Fate>,
    /// Contents that messages refer to and that are whole, by the number they had.
    whole: HashMap<i64, Kept>,
    /// The note that stands for a damaged content.
    notes: HashMap<i64, Kept>,
    /// Contents of the new store that some row of the old one led to.
    used: HashSet<u32>,
    mailboxes: BTreeMap<i64, NewMailbox>,
    names: Names,
    next_mailbox: i64,
    /// What everything that changes gets.
    modseq: i64,
}

impl Work<'_> {
    /// Saves every content that a message refers to, and those that somebody should refer to.
    fn save_bodies(&mut self, report: &mut Report) -> Result<()> {
        let mut sizes: BTreeMap<i64, i64> = BTreeMap::new();
        let messages = self.all.messages.values().chain(self.all.removed.values().map(|removed| &removed.row));
        for row in messages {
            let size = sizes.entry(row.cid).or_insert(row.size);
            // Two messages that disagree about their content's size say nothing of it.
            if *size != row.size {
                *size = -1;
            }
        }
        let is_all_there = self.all.has_all_messages();
        let rest: BTreeSet<i64> = {
            let waiting = self.all.contents.iter().filter(|(_, row)| row.refs != 0 || !is_all_there);
            let ids = waiting.map(|(id, _)| *id).chain(self.source.body_ids());
            // A body without a content's row is of no content that waits for the sweep.
            let is_swept = |id: &i64| is_all_there && self.all.contents.get(id).is_some_and(|row| row.refs == 0);
            ids.filter(|id| !sizes.contains_key(id) && !is_swept(id)).collect()
        };
        let likely = self.likely_files(&sizes);
        for (cid, size) in sizes {
            let fate = self.save(cid, size, likely.get(&cid).cloned())?;
            match &fate {
                Fate::Whole(kept) | Fate::Likely(kept) => {
                    self.used.insert(kept.id);
                    self.whole.insert(cid, *kept);
                }
                Fate::Damaged(_) => report.damaged_contents += 1,
            }
            self.fates.insert(cid, fate);
        }
        for cid in rest {
            // The size is unknown: only a hash can say that it is whole.
            let fate = self.save(cid, -1, None)?;
            self.fates.insert(cid, fate);
        }
        Ok(())
    }

    /// For contents that lost their rows: the one file that nobody names and that has the size, if nobody else of
    /// them has it.
    fn likely_files(&self, sizes: &BTreeMap<i64, i64>) -> HashMap<i64, String> {
        let named: HashSet<&str> = self.all.contents.values().filter_map(|row| row.file.as_deref()).collect();
        let mut files: HashMap<i64, Vec<&str>> = HashMap::new();
        for file in self.files.all.iter().filter(|file| !named.contains(file.name.as_str())) {
            files.entry(file.size as i64).or_default().push(&file.name);
        }
        let mut askers: HashMap<i64, Vec<i64>> = HashMap::new();
        for (cid, size) in sizes.iter().filter(|(cid, _)| !self.all.contents.contains_key(cid)) {
            askers.entry(*size).or_default().push(*cid);
        }
        let pairs =
            askers.into_iter().filter_map(|(size, cids)| match (&cids[..], files.get(&size).map(Vec::as_slice)) {
                ([cid], Some([name])) => Some((*cid, (*name).to_owned())),
                _ => None,
            });
        pairs.collect()
    }

    fn save(&mut self, cid: i64, size: i64, likely_file: Option<String>) -> Result<Fate> {
        let thread = self.all.threads.get(&cid).copied();
        let asked = Asked { cid, row: self.all.contents.get(&cid), size, likely_file, thread };
        save(&mut self.builder, &self.source, &self.files, &asked)
    }

    /// Gives every mailbox its place, also those of which only messages are left.
    fn plant_mailboxes(&mut self, report: &mut Report) {
        let mut rows = self.all.mailboxes.clone();
        let homeless: BTreeSet<i64> =
            self.all.messages.keys().map(|(mbox, _)| *mbox).filter(|mbox| !rows.contains_key(mbox)).collect();
        let mut names = Names::default();
        for (id, place) in names.plant(&rows) {
            if place.is_renamed {
                report.say(format!("folder {id} could not keep its name and is now {}", place.path));
            }
            let Some(row) = rows.remove(&id) else { continue };
            let is_trusted = self.all.can_trust_uids(id, &row);
            self.mailboxes.insert(id, NewMailbox::of(row, place.parent, place.leaf, place.path, is_trusted));
        }
        for id in homeless {
            let place = names.free(&format!("Recovered folder {id}"));
            report.say(format!("the folder {id} has lost its name; its messages are in {}", place.path));
            self.mailboxes.insert(id, NewMailbox::fresh(place.leaf, place.path));
        }
        let mut next = first_free(&self.all, "mailbox", self.mailboxes.keys().next_back().copied().unwrap_or(0));
        if !names.has_inbox() {
            report.say("INBOX was lost and is made again".into());
            let place = names.free("INBOX");
            self.mailboxes.insert(next, NewMailbox::fresh(place.leaf, place.path));
            next += 1;
        }
        self.next_mailbox = next;
        self.names = names;
    }

    /// Puts messages back where they were; a note where one was damaged.
    fn place_messages(&mut self, report: &mut Report) -> Result<()> {
        let messages = std::mem::take(&mut self.all.messages);
        for ((mbox, uid), row) in messages {
            report.messages += 1;
            let flags = self.all.flagsets.get(&row.flagset).cloned();
            let is_flagless = flags.is_none();
            report.flagless += u64::from(is_flagless);
            let flags = flags.unwrap_or_default();
            match self.fates.get(&row.cid).cloned() {
                Some(fate @ (Fate::Whole(kept) | Fate::Likely(kept))) => {
                    let Some(mailbox) = self.mailboxes.get_mut(&mbox) else { continue };
                    if i64::from(kept.size) != row.size || matches!(fate, Fate::Likely(_)) {
                        // It may be another message than the one this UID was given to.
                        mailbox.is_trusted = false;
                    }
                    let is_kept = row.modseq > 0 && !is_flagless;
                    let modseq = if is_kept { row.modseq } else { self.modseq };
                    mailbox.is_changed |= !is_kept;
                    mailbox.lost_flags |= is_flagless;
                    let had_modseq = row.modseq;
                    let message = NewMessage { kept, flags, date: row.date, saved: row.saved, modseq, had_modseq };
                    mailbox.messages.insert(uid, message);
                }
                fate => {
                    let remains = match fate {
                        Some(Fate::Damaged(remains)) => remains,
                        _ => Remains::default(),
                    };
                    report.damaged += 1;
                    report.lost += u64::from(remains.octets == Octets::None);
                    let kept = self.note(&row, &remains)?;
                    let Some(mailbox) = self.mailboxes.get_mut(&mbox) else { continue };
                    report.say(format!("{}: message {uid} was damaged; a note stands in its place", mailbox.path));
                    let (date, saved, modseq) = (row.date, row.saved, self.modseq);
                    mailbox.lost.insert(uid);
                    let message = NewMessage { kept, flags, date, saved, modseq, had_modseq: 0 };
                    mailbox.replacements.push(message);
                    mailbox.is_changed = true;
                }
            }
        }
        Ok(())
    }

    /// The note for a damaged content; one for all its copies.
    fn note(&mut self, row: &MessageRow, remains: &Remains) -> Result<Kept> {
        if let Some(kept) = self.notes.get(&row.cid) {
            return Ok(*kept);
        }
        let kept = self.compose(row.date, row.size, self.source.envelope(row.cid), remains)?;
        self.notes.insert(row.cid, kept);
        self.used.insert(kept.id);
        Ok(kept)
    }

    fn compose(&mut self, date: DateTime, size: i64, envelope: Option<Vec<u8>>, remains: &Remains) -> Result<Kept> {
        let now = self.rescue.now;
        self.builder.keep_made(&mut |out| {
            let mut here: &[u8] = match &remains.octets {
                Octets::Here(octets) => octets,
                _ => &[],
            };
            let mut file = match &remains.octets {
                Octets::File(path) => File::open(path).ok(),
                _ => None,
            };
            let octets: Option<&mut dyn Read> = match (&remains.octets, &mut file) {
                (Octets::Here(_), _) => Some(&mut here),
                (_, Some(file)) => Some(file),
                _ => None,
            };
            let is_beginning = remains.is_beginning;
            note::write(&mut Damaged { date, size, envelope: envelope.clone(), octets, is_beginning, now }, out)
        })
    }

    /// Contents and files that no row leads to any more go into a folder of their own.
    fn place_what_has_no_row(&mut self, report: &mut Report) -> Result<()> {
        let mut found: Vec<NewMessage> = Vec::new();
        let fates = std::mem::take(&mut self.fates);
        let mut ids: Vec<&i64> = fates.keys().collect();
        ids.sort_unstable();
        for cid in ids {
            match &fates[cid] {
                Fate::Whole(kept) | Fate::Likely(kept) if self.used.insert(kept.id) => {
                    found.push(self.found(*kept, self.rescue.now)?)
                }
                Fate::Damaged(remains) if self.is_orphan(*cid) && remains.octets != Octets::None => {
                    report.damaged += 1;
                    let date = DateTime::utc(self.rescue.now);
                    let kept = self.compose(date, -1, self.source.envelope(*cid), remains)?;
                    if self.used.insert(kept.id) {
                        found.push(self.found(kept, self.rescue.now)?);
                    }
                }
                Fate::Whole(_) | Fate::Likely(_) | Fate::Damaged(_) => {}
            }
        }
        for file in self.files.all.clone() {
            if let Some(kept) = self.stray(&file, report)?
                && self.used.insert(kept.id)
            {
                found.push(self.found(kept, file.written)?);
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let id = self.recovered_folder();
        let Some(mailbox) = self.mailboxes.get_mut(&id) else { return Ok(()) };
        report.recovered = found.len() as u64;
        report.say(format!("{} messages without a place are in {}", found.len(), mailbox.path));
        mailbox.replacements.extend(found);
        mailbox.is_changed = true;
        Ok(())
    }

    /// True when no message refers to a content, so that nothing stands for it yet.
    fn is_orphan(&self, cid: i64) -> bool {
        !self.notes.contains_key(&cid)
            && self.all.contents.get(&cid).is_none_or(|row| row.refs != 0)
            && !self.all.removed.values().any(|removed| removed.row.cid == cid)
    }

    fn found(&self, kept: Kept, otherwise: i64) -> Result<NewMessage> {
        let sent: Option<i64> =
            self.builder.conn.query_row("SELECT sent FROM sortkey WHERE cid = ?", [kept.id], |row| row.get(0))?;
        let date = DateTime::utc(sent.filter(|sent| (0..=self.rescue.now).contains(sent)).unwrap_or(otherwise));
        let (flags, saved, modseq) = (Default::default(), self.rescue.now, self.modseq);
        Ok(NewMessage { kept, flags, date, saved, modseq, had_modseq: 0 })
    }

    /// A file that no content has: whether it is a message that should be somewhere.
    fn stray(&mut self, file: &BlobFile, report: &mut Report) -> Result<Option<Kept>> {
        if self.builder.known(&file.hash).is_some() {
            return Ok(None);
        }
        let is_all_there = self.all.has_all_messages() && self.all.is_whole("content");
        let is_garbage = |row: &super::collect::ContentRow| row.file.as_deref() == Some(&file.name) && row.refs == 0;
        if is_all_there {
            let is_young = self.rescue.now - file.written < STRAY_SECS;
            if is_young || self.all.contents.values().any(is_garbage) {
                return Ok(None);
            }
        }
        let path = self.files.path(&file.name);
        let Ok(seen) = see_file(&path) else {
            report.say(format!("blobs/{} cannot be read and belongs to no message", file.name));
            return Ok(None);
        };
        if seen.hash != file.hash {
            // Named by no row, and not what it was. A damaged one that a row names has its note already.
            if is_all_there || self.all.contents.values().any(|row| row.file.as_deref() == Some(&file.name)) {
                return Ok(None);
            }
            report.damaged += 1;
            let remains = Remains { octets: Octets::File(path), is_beginning: false };
            return self.compose(DateTime::utc(file.written), -1, None, &remains).map(Some);
        }
        if is_all_there && !is_message(&path) {
            return Ok(None);
        }
        self.builder.keep_file(None, &path, &file.name, &seen, None).map(Some)
    }

    fn recovered_folder(&mut self) -> i64 {
        let name = "Recovered";
        let there = self.mailboxes.iter().find(|(_, mailbox)| mailbox.path == name && !mailbox.is_noselect);
        if let Some((id, _)) = there {
            return *id;
        }
        let place = self.names.free(name);
        let id = self.next_mailbox;
        self.next_mailbox += 1;
        self.mailboxes.insert(id, NewMailbox::fresh(place.leaf, place.path));
        id
    }

    fn finish(self, report: &mut Report) -> Result<()> {
        let Work { builder, rescue, all, whole, mut mailboxes, modseq, next_mailbox, first_content, .. } = self;
        let last_validity = all.mailboxes.values().map(|row| row.uid_validity).max().unwrap_or(0);
        let told = all.meta.get("uidvalidity").copied().filter(|told| (0..=i64::from(u32::MAX)).contains(told));
        // They run ahead of the time when many folders are made at once; a day is more than any has run.
        let is_known = told.is_some() && all.is_whole("meta") && all.is_whole("mailbox");
        let unknown_until = if is_known { 0 } else { (rescue.now + 86_400).min(i64::from(u32::MAX) / 2) };
        let mut written = Written {
            modseq,
            validity: last_validity.max(told.unwrap_or(0)).max(unknown_until),
            now: rescue.now,
            next_mailbox,
            next_flagset: first_free(&all, "flagset", all.flagsets.keys().next_back().copied().unwrap_or(0)),
        };
        write_all(&builder.conn, &mut mailboxes, &all, &whole, &mut written, |line| report.say(line))?;
        raise_sequence(&builder.conn, "content", i64::from(first_content) - 1)?;
        builder.finish()
    }
}

/// Whether a file begins with a header in which a mail's fields stand.
fn is_message(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEADER_BYTES).read_to_end(&mut head));
    const KNOWN: [&str; 7] = ["From", "Date", "Subject", "To", "Message-ID", "Received", "Return-Path"];
    read.is_ok() && fields(&head).take(200).any(|field| KNOWN.iter().any(|name| field.is(name)))
}
