//! The oracle. A ledger holds what one client has been promised in the mailboxes only it writes, so its
//! content is known exactly: after a crash the truth is the ledger, or the ledger with the one command
//! that was under way applied as a whole. Nothing between the two is accepted. `Shared` is the same for
//! INBOX, where everybody appends and nobody else does anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The hash of a body: the ledger needs to know bytes again, not to keep them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of(body: &[u8]) -> Self {
        Self(*blake3::hash(body).as_bytes())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// Flags in lower case, without \Recent, which may be lost in a crash.
pub type Flags = BTreeSet<String>;

#[derive(Clone, Debug)]
pub struct Message {
    pub body: Digest,
    pub flags: Flags,
    /// The highest MODSEQ this message was seen with; 0 when none was told.
    pub modseq: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Mailbox {
    /// UIDVALIDITY; 0 in a ledger that has not been told it yet.
    pub validity: u32,
    /// UIDNEXT; in a ledger the lowest value it may have.
    pub uid_next: u32,
    /// HIGHESTMODSEQ; in a ledger the lowest value it may have.
    pub modseq: u64,
    pub messages: BTreeMap<u32, Message>,
}

pub type Mailboxes = BTreeMap<String, Mailbox>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagChange {
    Add,
    Remove,
    Replace,
}

/// What a command changes when it succeeds.
#[derive(Clone, Debug)]
pub enum Change {
    Append { to: String, messages: Vec<(Digest, Flags)> },
    Flag { at: String, uids: Vec<u32>, how: FlagChange, flags: Flags },
    Copy { from: String, to: String, uids: Vec<u32> },
    Move { from: String, to: String, uids: Vec<u32> },
    Expunge { at: String, uids: Vec<u32> },
    Create { name: String },
    Delete { name: String },
    Rename { from: String, to: String },
}

/// What the server chose while doing it: the UIDVALIDITY of a new mailbox, the UIDs of new messages in
/// the order of their sources.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub validity: u32,
    pub uids: Vec<u32>,
}

#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub mailboxes: Mailboxes,
    /// The highest UIDVALIDITY a deleted mailbox of this name had: a new one must be above it.
    spent: BTreeMap<String, u32>,
}

impl Ledger {
    /// Writes down a change that was acknowledged.
    pub fn apply(&mut self, change: &Change, outcome: &Outcome) -> Result<(), String> {
        match change {
            Change::Append { to, messages } => {
                let new = messages.iter().map(|(body, flags)| Message { body: *body, flags: flags.clone(), modseq: 0 });
                self.arrive(to, new.collect(), &outcome.uids)
            }
            Change::Flag { at, uids, how, flags } => {
                let mailbox = self.mailbox(at)?;
                for uid in uids {
                    if let Some(message) = mailbox.messages.get_mut(uid) {
                        change_flags(&mut message.flags, *how, flags);
                    }
                }
                Ok(())
            }
            Change::Copy { from, to, uids } => {
                let new = self.messages(from, uids)?;
                self.arrive(to, new, &outcome.uids)
            }
            Change::Move { from, to, uids } => {
                let new = self.messages(from, uids)?;
                self.mailbox(from)?.messages.retain(|uid, _| !uids.contains(uid));
                self.arrive(to, new, &outcome.uids)
            }
            Change::Expunge { at, uids } => {
                self.mailbox(at)?.messages.retain(|uid, _| !uids.contains(uid));
                Ok(())
            }
            Change::Create { name } => {
                let mailbox = Mailbox { validity: outcome.validity, uid_next: 1, ..Mailbox::default() };
                self.check_validity(name, outcome.validity)?;
                self.mailboxes.insert(name.clone(), mailbox);
                Ok(())
            }
            Change::Delete { name } => {
                let gone = self.mailboxes.remove(name).ok_or_else(|| format!("{name} is not in the ledger"))?;
                let spent = self.spent.entry(name.clone()).or_default();
                *spent = (*spent).max(gone.validity);
                Ok(())
            }
            Change::Rename { from, to } => {
                let below = format!("{from}/");
                let names: Vec<String> =
                    self.mailboxes.keys().filter(|name| *name == from || name.starts_with(&below)).cloned().collect();
                for name in names {
                    if let Some(mailbox) = self.mailboxes.remove(&name) {
                        let spent = self.spent.entry(name.clone()).or_default();
                        *spent = (*spent).max(mailbox.validity);
                        self.mailboxes.insert(format!("{to}{}", &name[from.len()..]), mailbox);
                    }
                }
                Ok(())
            }
        }
    }

    /// Compares with what is there, allowing any one of `doubts` to have happened as a whole. Returns the
    /// ledger brought up to date and which doubt had happened, or the differences.
    pub fn reconcile(&self, actual: &Mailboxes, doubts: &[Change]) -> Result<(Ledger, Option<usize>), String> {
        let mut complaints = match self.difference(actual) {
            None => return Ok((self.adopt(actual), None)),
            Some(difference) => format!("as acknowledged: {difference}"),
        };
        for (place, doubt) in doubts.iter().enumerate() {
            let mut wanted = self.clone();
            let applied = wanted.apply(doubt, &self.outcome_in(actual, doubt));
            match applied.err().or_else(|| wanted.difference(actual)) {
                None => return Ok((wanted.adopt(actual), Some(place))),
                Some(difference) => complaints.push_str(&format!("\nwith {doubt:?}: {difference}")),
            }
        }
        Err(complaints)
    }

    fn mailbox(&mut self, name: &str) -> Result<&mut Mailbox, String> {
        self.mailboxes.get_mut(name).ok_or_else(|| format!("{name} is not in the ledger"))
    }

    fn messages(&mut self, from: &str, uids: &[u32]) -> Result<Vec<Message>, String> {
        let mailbox = self.mailbox(from)?;
        uids.iter()
            .map(|uid| mailbox.messages.get(uid).cloned().ok_or_else(|| format!("{from} has no UID {uid}")))
            .collect()
    }

    fn arrive(&mut self, to: &str, new: Vec<Message>, uids: &[u32]) -> Result<(), String> {
        let mailbox = self.mailbox(to)?;
        if new.len() != uids.len() {
            return Err(format!("{} messages for {to} got {} UIDs", new.len(), uids.len()));
        }
        for (message, uid) in new.into_iter().zip(uids) {
            // RFC 3501 §2.3.1.1: UIDs ascend strictly, and one that was given is never given again.
            if *uid < mailbox.uid_next {
                return Err(format!("{to} gave UID {uid} below its UIDNEXT {}", mailbox.uid_next));
            }
            mailbox.messages.insert(*uid, Message { modseq: 0, ..message });
        }
        mailbox.uid_next = mailbox.uid_next.max(uids.iter().max().map_or(1, |uid| uid + 1));
        Ok(())
    }

    fn check_validity(&self, name: &str, validity: u32) -> Result<(), String> {
        let spent = self.spent.get(name).copied().unwrap_or(0);
        if validity != 0 && validity <= spent {
            return Err(format!("{name} has UIDVALIDITY {validity}, an earlier mailbox of this name had {spent}"));
        }
        Ok(())
    }

    /// What the server must have chosen, had it done `doubt`.
    fn outcome_in(&self, actual: &Mailboxes, doubt: &Change) -> Outcome {
        match doubt {
            Change::Append { to, .. } | Change::Copy { to, .. } | Change::Move { to, .. } => {
                let from = self.mailboxes.get(to).map_or(1, |mailbox| mailbox.uid_next);
                let uids = actual.get(to).map(|mailbox| mailbox.messages.range(from..).map(|(uid, _)| *uid).collect());
                Outcome { validity: 0, uids: uids.unwrap_or_default() }
            }
            Change::Create { name } => {
                Outcome { validity: actual.get(name).map_or(0, |mailbox| mailbox.validity), uids: Vec::new() }
            }
            _ => Outcome::default(),
        }
    }

    fn difference(&self, actual: &Mailboxes) -> Option<String> {
        if !self.mailboxes.keys().eq(actual.keys()) {
            let (wanted, found): (Vec<_>, Vec<_>) = (self.mailboxes.keys().collect(), actual.keys().collect());
            return Some(format!("mailboxes should be {wanted:?}, are {found:?}"));
        }
        self.mailboxes.iter().find_map(|(name, wanted)| {
            let found = &actual[name];
            let identity = if wanted.validity == 0 {
                self.check_validity(name, found.validity).err()
            } else if wanted.validity != found.validity {
                Some(format!("UIDVALIDITY was {}, is {}", wanted.validity, found.validity))
            } else {
                None
            };
            identity.or_else(|| difference(wanted, found)).map(|text| format!("{name}: {text}"))
        })
    }

    fn adopt(&self, actual: &Mailboxes) -> Ledger {
        Ledger { mailboxes: actual.clone(), spent: self.spent.clone() }
    }
}

fn change_flags(flags: &mut Flags, how: FlagChange, change: &Flags) {
    match how {
        FlagChange::Add => flags.extend(change.iter().cloned()),
        FlagChange::Remove => flags.retain(|flag| !change.contains(flag)),
        FlagChange::Replace => *flags = change.clone(),
    }
}

fn difference(wanted: &Mailbox, found: &Mailbox) -> Option<String> {
    if found.uid_next < wanted.uid_next {
        return Some(format!("UIDNEXT was {}, is {}", wanted.uid_next, found.uid_next));
    }
    if found.modseq < wanted.modseq {
        return Some(format!("HIGHESTMODSEQ was {}, is {}", wanted.modseq, found.modseq));
    }
    if !wanted.messages.keys().eq(found.messages.keys()) {
        let lost: Vec<_> = wanted.messages.keys().filter(|uid| !found.messages.contains_key(uid)).collect();
        let extra: Vec<_> = found.messages.keys().filter(|uid| !wanted.messages.contains_key(uid)).collect();
        return Some(format!("UIDs lost {lost:?}, UIDs that should not be there {extra:?}"));
    }
    wanted.messages.iter().find_map(|(uid, message)| {
        let there = &found.messages[uid];
        if there.body != message.body {
            Some(format!("UID {uid} should have body {:?}, has {:?}", message.body, there.body))
        } else if there.flags != message.flags {
            Some(format!("UID {uid} should have flags {:?}, has {:?}", message.flags, there.flags))
        } else if there.modseq < message.modseq {
            Some(format!("UID {uid} had MODSEQ {}, has {}", message.modseq, there.modseq))
        } else {
            None
        }
    })
}

/// INBOX: everybody appends, only the test itself empties it.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    validity: u32,
    uid_next: u32,
    modseq: u64,
    acknowledged: BTreeMap<u32, Digest>,
}

impl Shared {
    /// Writes down one acknowledged message.
    pub fn promised(&mut self, validity: u32, uid: u32, body: Digest) -> Result<(), String> {
        if self.validity != 0 && self.validity != validity {
            return Err(format!("INBOX: UIDVALIDITY was {}, is {validity}", self.validity));
        }
        self.validity = validity;
        match self.acknowledged.insert(uid, body) {
            Some(before) => Err(format!("INBOX: UID {uid} was given to {before:?} and to {body:?}")),
            None => Ok(()),
        }
    }

    /// Compares with what is there; beyond the promised, each of `doubts` may be there as a whole.
    pub fn reconcile(&self, actual: &Mailbox, doubts: &[Vec<Digest>]) -> Result<Shared, String> {
        if self.validity != 0 && self.validity != actual.validity {
            return Err(format!("INBOX: UIDVALIDITY was {}, is {}", self.validity, actual.validity));
        }
        let lowest = self.acknowledged.keys().next_back().map_or(1, |uid| uid + 1).max(self.uid_next);
        if actual.uid_next < lowest || actual.modseq < self.modseq {
            let (uid_next, modseq) = (actual.uid_next, actual.modseq);
            return Err(format!("INBOX: UIDNEXT {uid_next} or HIGHESTMODSEQ {modseq} went back"));
        }
        for (uid, body) in &self.acknowledged {
            match actual.messages.get(uid) {
                None => return Err(format!("INBOX: lost UID {uid} ({body:?})")),
                Some(there) if there.body != *body => {
                    return Err(format!("INBOX: UID {uid} should have body {body:?}, has {:?}", there.body));
                }
                Some(_) => {}
            }
        }
        let extra = actual.messages.iter().filter(|(uid, _)| !self.acknowledged.contains_key(uid));
        let mut extra: Vec<(u32, Digest)> = extra.map(|(uid, message)| (*uid, message.body)).collect();
        for doubt in doubts {
            let rest: Vec<_> = extra.iter().filter(|(_, body)| !doubt.contains(body)).copied().collect();
            let found: Vec<_> = extra.iter().filter(|(_, body)| doubt.contains(body)).map(|(_, body)| *body).collect();
            if !found.is_empty() && found != *doubt {
                return Err(format!("INBOX: of {doubt:?} only {found:?} is there"));
            }
            extra = rest;
        }
        if !extra.is_empty() {
            return Err(format!("INBOX: nobody sent {extra:?}"));
        }
        let acknowledged = actual.messages.iter().map(|(uid, message)| (*uid, message.body)).collect();
        let (validity, uid_next, modseq) = (actual.validity, actual.uid_next, actual.modseq);
        Ok(Shared { validity, uid_next, modseq, acknowledged })
    }

    pub fn len(&self) -> usize {
        self.acknowledged.len()
    }

    /// The test has emptied INBOX; its numbers go on from where they were.
    pub fn emptied(&mut self) {
        self.uid_next = self.uid_next.max(self.acknowledged.keys().next_back().map_or(1, |uid| uid + 1));
        self.acknowledged.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        for name in ["a", "b"] {
            let change = Change::Create { name: name.into() };
            ledger.apply(&change, &Outcome { validity: 5, uids: Vec::new() }).expect("created");
        }
        let messages = vec![(Digest::of(b"1"), Flags::new()), (Digest::of(b"2"), Flags::new())];
        let change = Change::Append { to: "a".into(), messages };
        ledger.apply(&change, &Outcome { validity: 0, uids: vec![1, 2] }).expect("appended");
        ledger
    }

    #[test]
    fn a_move_under_way_is_there_wholly_or_not_at_all() {
        let before = ledger();
        let doubt = Change::Move { from: "a".into(), to: "b".into(), uids: vec![1, 2] };
        let mut after = before.clone();
        after.apply(&doubt, &Outcome { validity: 0, uids: vec![4, 5] }).expect("moved");
        let doubts = [doubt];
        assert!(matches!(before.reconcile(&before.mailboxes, &doubts), Ok((_, None))));
        assert!(matches!(before.reconcile(&after.mailboxes, &doubts), Ok((_, Some(0)))));
        let mut half = after.mailboxes.clone();
        half.get_mut("b").expect("b").messages.remove(&5);
        assert!(before.reconcile(&half, &doubts).is_err());
        assert!(before.reconcile(&after.mailboxes, &[]).is_err());
    }

    #[test]
    fn numbers_never_go_back() {
        let before = ledger();
        let mut lower = before.mailboxes.clone();
        lower.get_mut("a").expect("a").uid_next = 2;
        assert!(before.reconcile(&lower, &[]).is_err_and(|text| text.contains("UIDNEXT")));
        let mut again = before.clone();
        again.apply(&Change::Delete { name: "a".into() }, &Outcome::default()).expect("deleted");
        let create = Change::Create { name: "a".into() };
        assert!(again.apply(&create, &Outcome { validity: 5, uids: Vec::new() }).is_err());
        let append = Change::Append { to: "a".into(), messages: vec![(Digest::of(b"3"), Flags::new())] };
        assert!(before.clone().apply(&append, &Outcome { validity: 0, uids: vec![2] }).is_err());
    }

    #[test]
    fn inbox_keeps_what_was_promised_and_takes_doubts_whole() {
        let mut shared = Shared::default();
        shared.promised(9, 1, Digest::of(b"1")).expect("first");
        assert!(shared.promised(9, 1, Digest::of(b"x")).is_err());
        shared.acknowledged.insert(1, Digest::of(b"1"));
        let message = |body: &[u8]| Message { body: Digest::of(body), flags: Flags::new(), modseq: 0 };
        let mut actual = Mailbox { validity: 9, uid_next: 4, modseq: 0, messages: BTreeMap::new() };
        assert!(shared.reconcile(&actual, &[]).is_err_and(|text| text.contains("lost")));
        actual.messages.insert(1, message(b"1"));
        actual.messages.insert(2, message(b"2"));
        let doubt = vec![Digest::of(b"2"), Digest::of(b"3")];
        assert!(shared.reconcile(&actual, std::slice::from_ref(&doubt)).is_err());
        actual.messages.insert(3, message(b"3"));
        assert_eq!(shared.reconcile(&actual, &[doubt]).map(|shared| shared.len()), Ok(3));
        assert!(shared.reconcile(&actual, &[]).is_err());
    }
}
