//! A small model of one account: what must be there after each order, whoever looks. And the same as a plain client
//! reads it afresh, to hold the model and every other client against.

use std::collections::{BTreeMap, BTreeSet};

use crate::client::{Client, Token, Verdict};
use crate::picture::{ask, pair};
use crate::random::{Random, message};

pub type Flags = BTreeSet<String>;

/// Two mailboxes that stay.
pub const FIXED: [&str; 2] = ["INBOX", "Archive"];
/// A third comes and goes under one of these names.
pub const WANDERING: [&str; 2] = ["Reise ä", "Reise ö"];
const WANDERING_IN_UTF7: [&str; 2] = ["Reise &AOQ-", "Reise &APY-"];

/// A name as this client writes it: UTF-8, or modified UTF-7 (RFC 3501 §5.1.3).
pub fn on_the_wire(name: &str, is_utf8: bool) -> &str {
    let at = WANDERING.iter().position(|own| *own == name).filter(|_| !is_utf8);
    at.map_or(name, |at| WANDERING_IN_UTF7[at])
}

/// The name that this client reads.
pub fn off_the_wire(name: &str, is_utf8: bool) -> String {
    let at = WANDERING_IN_UTF7.iter().position(|own| *own == name).filter(|_| !is_utf8);
    at.map_or(name, |at| WANDERING[at]).to_owned()
}

/// The message with this number: the same for whoever asks.
pub fn body(number: u64) -> Vec<u8> {
    let mut random = Random::new(number);
    // Now and then one that is a file of its own.
    let size = if number.is_multiple_of(50) { 140 * 1024 } else { random.range(200, 3000) as usize };
    message(&format!("m{number}"), size, &mut random)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    Add,
    Take,
    Replace,
}

pub fn change(flags: &mut Flags, sign: Sign, named: &Flags) {
    match sign {
        Sign::Add => flags.extend(named.iter().cloned()),
        Sign::Take => flags.retain(|flag| !named.contains(flag)),
        Sign::Replace => *flags = named.clone(),
    }
}

/// What an order does when it succeeds; UIDs are those of the selected mailbox.
#[derive(Clone, Debug)]
pub enum Effect {
    Append { to: String, messages: Vec<(Flags, u64)> },
    Flag { uids: Vec<u32>, sign: Sign, flags: Flags, since: Option<u64> },
    Expunge { within: Vec<u32> },
    Copy { uids: Vec<u32>, to: String },
    Move { uids: Vec<u32>, to: String },
    Replace { uid: u32, to: String, message: (Flags, u64) },
    Create { name: String },
    Delete { name: String },
    Rename { from: String, to: String },
}

/// How an order must be answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Expected {
    pub verdict: Verdict,
    /// The UIDs of new messages.
    pub uids: Vec<u32>,
    /// The UIDs that fail UNCHANGEDSINCE.
    pub modified: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modelled {
    pub flags: Flags,
    pub body: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Mailbox {
    pub name: String,
    pub is_gone: bool,
    pub messages: BTreeMap<u32, Modelled>,
    pub uid_next: u32,
    /// The body behind every UID that ever was.
    pub bodies: BTreeMap<u32, u64>,
}

impl Mailbox {
    fn place(&mut self, message: Modelled) -> u32 {
        let uid = self.uid_next;
        self.uid_next += 1;
        self.bodies.insert(uid, message.body);
        self.messages.insert(uid, message);
        uid
    }
}

/// Every mailbox by its MAILBOXID, those that are gone too.
#[derive(Default)]
pub struct Model {
    pub mailboxes: BTreeMap<String, Mailbox>,
}

impl Model {
    pub fn is_there(&self, name: &str) -> bool {
        self.mailboxes.values().any(|mailbox| !mailbox.is_gone && mailbox.name == name)
    }

    fn named(&mut self, name: &str) -> Option<&mut Mailbox> {
        self.mailboxes.values_mut().find(|mailbox| !mailbox.is_gone && mailbox.name == name)
    }

    /// Does what an order does in the mailbox `at`. `failing` are the UIDs that were changed after its UNCHANGEDSINCE.
    pub fn apply(&mut self, at: Option<(&str, bool)>, effect: &Effect, failing: &BTreeSet<u32>) -> Expected {
        let done = self.done(at, effect, failing);
        let (verdict, (uids, modified)) = match done {
            Some(done) => (Verdict::Ok, done),
            None => (Verdict::No, Default::default()),
        };
        Expected { verdict, uids, modified }
    }

    fn done(
        &mut self,
        at: Option<(&str, bool)>,
        effect: &Effect,
        failing: &BTreeSet<u32>,
    ) -> Option<(Vec<u32>, Vec<u32>)> {
        let here = at.map(|(id, _)| id).filter(|id| self.mailboxes.get(*id).is_some_and(|mailbox| !mailbox.is_gone));
        let writable = here.filter(|_| at.is_some_and(|(_, is_read_only)| !is_read_only));
        let mut uids = Vec::new();
        let mut modified = Vec::new();
        match effect {
            Effect::Append { to, messages } => {
                let target = self.named(to)?;
                let new = messages.iter().map(|(flags, body)| Modelled { flags: flags.clone(), body: *body });
                uids.extend(new.map(|message| target.place(message)));
            }
            Effect::Flag { uids: named, sign, flags, .. } => {
                let mailbox = self.mailboxes.get_mut(writable?)?;
                for uid in named {
                    match mailbox.messages.get_mut(uid) {
                        Some(_) if failing.contains(uid) => modified.push(*uid),
                        Some(message) => change(&mut message.flags, *sign, flags),
                        None => {}
                    }
                }
            }
            Effect::Expunge { within } => {
                let mailbox = self.mailboxes.get_mut(writable?)?;
                let within: BTreeSet<u32> = within.iter().copied().collect();
                mailbox.messages.retain(|uid, m| !(within.contains(uid) && m.flags.contains("\\Deleted")));
            }
            Effect::Copy { uids: named, to } | Effect::Move { uids: named, to } => {
                let is_move = matches!(effect, Effect::Move { .. });
                let from = if is_move { writable? } else { here? };
                self.named(to)?;
                for uid in named {
                    let source = self.mailboxes.get_mut(from)?;
                    let Some(message) = source.messages.get(uid).cloned() else { continue };
                    if is_move {
                        source.messages.remove(uid);
                    }
                    uids.push(self.named(to)?.place(message));
                }
            }
            Effect::Replace { uid, to, message: (flags, body) } => {
                let from = writable?;
                self.mailboxes.get(from)?.messages.get(uid)?;
                uids.push(self.named(to)?.place(Modelled { flags: flags.clone(), body: *body }));
                self.mailboxes.get_mut(from)?.messages.remove(uid);
            }
            // It has its place in the model when its MAILBOXID is known.
            Effect::Create { name } => return (!self.is_there(name)).then(Default::default),
            Effect::Delete { name } => {
                let mailbox = self.named(name)?;
                mailbox.is_gone = true;
                mailbox.messages.clear();
            }
            Effect::Rename { from, to } => {
                if self.is_there(to) {
                    return None;
                }
                self.named(from)?.name = to.clone();
            }
        }
        Some((uids, modified))
    }

    pub fn create(&mut self, id: String, name: &str) {
        self.mailboxes.insert(id, Mailbox { name: name.to_owned(), uid_next: 1, ..Mailbox::default() });
    }

    /// What is there is what must be.
    pub fn compare(&self, fresh: &Fresh) -> Result<(), String> {
        let there: BTreeMap<_, _> = self.mailboxes.iter().filter(|(_, mailbox)| !mailbox.is_gone).collect();
        if !there.keys().copied().eq(fresh.mailboxes.keys()) {
            return Err(format!("mailboxes should be {:?}, are {:?}", there.keys(), fresh.mailboxes.keys()));
        }
        for (id, mailbox) in there {
            let found = &fresh.mailboxes[id];
            if (&mailbox.name, mailbox.uid_next) != (&found.name, found.uid_next) {
                return Err(format!("{} is {}: {} {}", mailbox.name, found.name, mailbox.uid_next, found.uid_next));
            }
            let flags = |uid: &u32| mailbox.messages.get(uid).map(|message| &message.flags);
            same_messages(found, mailbox.messages.keys().map(|uid| (*uid, flags(uid), 0)))
                .map_err(|fault| format!("the model of {}: {fault}", mailbox.name))?;
        }
        Ok(())
    }

    /// Takes for true what is there: nobody knows in which order things happened.
    pub fn adopt(&mut self, fresh: &Fresh) {
        for mailbox in self.mailboxes.values_mut() {
            mailbox.is_gone = true;
            mailbox.messages.clear();
        }
        for (id, found) in &fresh.mailboxes {
            let mailbox = self.mailboxes.entry(id.clone()).or_default();
            mailbox.is_gone = false;
            mailbox.name = found.name.clone();
            mailbox.uid_next = found.uid_next;
            for (uid, one) in &found.messages {
                mailbox.bodies.insert(*uid, one.body);
                mailbox.messages.insert(*uid, Modelled { flags: one.flags.clone(), body: one.body });
            }
        }
    }
}

/// A message as a plain client reads it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub flags: Flags,
    pub modseq: u64,
    pub body: u64,
}

#[derive(Clone, Debug, Default)]
pub struct FreshMailbox {
    pub name: String,
    pub validity: u32,
    pub uid_next: u32,
    pub unseen: u64,
    pub highest_modseq: u64,
    pub messages: BTreeMap<u32, Seen>,
}

/// The account as a plain client reads it, mailboxes by MAILBOXID.
#[derive(Default)]
pub struct Fresh {
    pub names: BTreeSet<String>,
    pub mailboxes: BTreeMap<String, FreshMailbox>,
}

impl Fresh {
    pub fn read(client: &mut Client) -> Result<Self, String> {
        let mut fresh = Fresh::default();
        for line in ask(client, "LIST \"\" *")?.lines("LIST") {
            let name = line.get(3).and_then(Token::word).ok_or("LIST without a name")?;
            fresh.names.insert(off_the_wire(name, false));
        }
        for name in FIXED.iter().chain(&WANDERING).filter(|name| fresh.names.contains(**name)) {
            let (id, mailbox) = FreshMailbox::read(client, name)?;
            fresh.mailboxes.insert(id, mailbox);
        }
        ask(client, "UNSELECT")?;
        Ok(fresh)
    }

    pub fn named(&self, name: &str) -> Option<(&String, &FreshMailbox)> {
        self.mailboxes.iter().find(|(_, mailbox)| mailbox.name == name)
    }
}

impl FreshMailbox {
    fn read(client: &mut Client, name: &str) -> Result<(String, Self), String> {
        let wire = on_the_wire(name, false);
        let items = "MESSAGES UNSEEN UIDNEXT UIDVALIDITY HIGHESTMODSEQ MAILBOXID";
        let answer = ask(client, &format!("STATUS \"{wire}\" ({items})"))?;
        let status = answer.lines("STATUS").next().and_then(|line| line.get(2)?.list()).ok_or("STATUS told nothing")?;
        let value = |wanted: &str| pair(status, wanted).and_then(Token::number).ok_or(format!("no {wanted}"));
        let id = pair(status, "MAILBOXID").and_then(|id| id.list()?.first()?.word()).ok_or("no MAILBOXID")?.to_owned();
        let mut mailbox = FreshMailbox {
            name: name.to_owned(),
            validity: value("UIDVALIDITY")? as u32,
            uid_next: value("UIDNEXT")? as u32,
            unseen: value("UNSEEN")?,
            highest_modseq: value("HIGHESTMODSEQ")?,
            messages: BTreeMap::new(),
        };
        ask(client, &format!("EXAMINE \"{wire}\""))?;
        let what = "UID FLAGS MODSEQ BODY.PEEK[HEADER.FIELDS (SUBJECT)]";
        for line in ask(client, &format!("UID FETCH 1:* ({what})"))?.lines("FETCH") {
            let items = line.get(2).and_then(Token::list).ok_or("FETCH without a list")?;
            let uid = pair(items, "UID").and_then(Token::number).ok_or("no UID")? as u32;
            let subject = items.last().and_then(Token::word).unwrap_or_default();
            let body = subject.split_once("durable m").and_then(|(_, number)| number.trim().parse().ok());
            let seen = Seen {
                flags: flags_of(items).ok_or("no FLAGS")?,
                modseq: crate::picture::modseq_in(items),
                body: body.ok_or_else(|| format!("UID {uid} of {name}: {subject:?}"))?,
            };
            if seen.modseq > mailbox.highest_modseq || uid >= mailbox.uid_next {
                return Err(format!("{name}: UID {uid} MODSEQ {} beyond {mailbox:?}", seen.modseq));
            }
            mailbox.messages.insert(uid, seen);
        }
        let unseen = mailbox.messages.values().filter(|seen| !seen.flags.contains("\\Seen")).count() as u64;
        if (mailbox.messages.len() as u64, unseen) != (value("MESSAGES")?, mailbox.unseen) {
            return Err(format!("{name}: {} messages, {unseen} unseen; {status:?}", mailbox.messages.len()));
        }
        Ok((id, mailbox))
    }
}

/// Flags without `\Recent`, which is not the same for everybody.
pub fn flags_of(items: &[Token]) -> Option<Flags> {
    let list = pair(items, "FLAGS")?.list()?;
    Some(list.iter().filter_map(Token::word).filter(|flag| *flag != "\\Recent").map(str::to_owned).collect())
}

/// What somebody holds, as UID, flags and modseq where known (0 is not), is what a plain client reads afresh.
pub fn same_messages<'a>(
    fresh: &FreshMailbox,
    held: impl Iterator<Item = (u32, Option<&'a Flags>, u64)> + Clone,
) -> Result<(), String> {
    if !held.clone().map(|(uid, ..)| uid).eq(fresh.messages.keys().copied()) {
        let held: BTreeSet<u32> = held.map(|(uid, ..)| uid).collect();
        let there: BTreeSet<u32> = fresh.messages.keys().copied().collect();
        let (extra, missing): (Vec<_>, Vec<_>) = (held.difference(&there).collect(), there.difference(&held).collect());
        return Err(format!("holds {extra:?}, which are not there, and misses {missing:?}"));
    }
    for (uid, flags, modseq) in held {
        let there = &fresh.messages[&uid];
        if flags.is_some_and(|flags| *flags != there.flags) {
            return Err(format!("UID {uid} is held with {flags:?} MODSEQ {modseq}, is {there:?}"));
        }
        if modseq != 0 && modseq != there.modseq {
            return Err(format!("UID {uid} is held with MODSEQ {modseq}, is {there:?}"));
        }
    }
    Ok(())
}
