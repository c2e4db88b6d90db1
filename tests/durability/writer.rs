//! A client that does random things in mailboxes of its own (and appends to INBOX) and writes down what
//! it was promised. One command at a time, so at any moment at most one change is in doubt.

use std::io;

use crate::client::{Answer, Client, Token, Verdict, numbers, set_of};
use crate::ledger::{Change, Digest, FlagChange, Flags, Ledger, Outcome};
use crate::picture::{flags_in, modseq_in, pair, status};
use crate::random::{Random, message};

const FLAGS: [&str; 7] = ["\\Seen", "\\Flagged", "\\Answered", "\\Draft", "\\Deleted", "$Work", "later"];

/// Why a writer had to stop.
#[derive(Debug)]
pub enum Broken {
    /// The connection is gone: what was under way is in doubt.
    Lost(io::Error),
    /// The server broke a promise, or said something no server should.
    Wrong(String),
}

#[derive(Debug)]
pub enum Step {
    Done,
    /// A tagged NO, with its text.
    Refused(String),
}

/// How large and how broad the writing is.
#[derive(Clone, Debug)]
pub struct Habits {
    pub messages: usize,
    pub mailboxes: usize,
    /// Also append to INBOX, where others do too.
    pub shares_inbox: bool,
    /// Percent of the appends over the inline limit, and of those, percent of a whole MiB.
    pub large_percent: u64,
    pub huge_percent: u64,
}

/// One acknowledged change, for the power test: which answer acknowledged it, and the ledger after it.
pub struct Entry {
    pub tag: String,
    pub change: Change,
    pub ledger: Ledger,
    /// UIDVALIDITY and UIDs when the change was an APPEND to INBOX.
    pub inbox: Vec<(u32, u32, Digest)>,
}

pub struct Writer {
    /// The mailbox under which everything else of this writer is.
    pub root: String,
    pub ledger: Ledger,
    /// Changes sent since the last acknowledged one, not acknowledged themselves.
    pub doubts: Vec<Change>,
    /// INBOX: what was promised (UIDVALIDITY, UID, body) since the test last collected it, and what is in doubt.
    pub inbox: Vec<(u32, u32, Digest)>,
    pub inbox_doubts: Vec<Vec<Digest>>,
    pub journal: Vec<Entry>,
    pub habits: Habits,
    random: Random,
    written: u64,
    /// A large body sent before, sent again now and then: the store keeps equal content once.
    remembered: Option<Vec<u8>>,
    selected: Option<String>,
}

impl Writer {
    pub fn new(root: String, habits: Habits, random: Random) -> Self {
        Self {
            root,
            ledger: Ledger::default(),
            doubts: Vec::new(),
            inbox: Vec::new(),
            inbox_doubts: Vec::new(),
            journal: Vec::new(),
            habits,
            random,
            written: 0,
            remembered: None,
            selected: None,
        }
    }

    /// A new connection: nothing is selected on it.
    pub fn reconnected(&mut self) {
        self.selected = None;
    }

    /// Does one random change and writes down its answer.
    pub fn step(&mut self, client: &mut Client) -> Result<Step, Broken> {
        let (change, bodies) = self.choose(client);
        self.perform(client, change, &bodies)
    }

    /// Does `change` and writes down its answer.
    pub fn perform(&mut self, client: &mut Client, change: Change, bodies: &[Vec<u8>]) -> Result<Step, Broken> {
        if let Some(refused) = self.prepare(client, &change)? {
            return Ok(Step::Refused(refused));
        }
        let is_for_inbox = matches!(&change, Change::Append { to, .. } if to == "INBOX");
        if is_for_inbox {
            self.inbox_doubts.push(bodies.iter().map(|body| Digest::of(body)).collect());
        } else {
            self.doubts.push(change.clone());
        }
        let answer = self.send(client, &change, bodies).map_err(|error| match error.kind() {
            // Blocked for the whole limit: a hang is no way to end.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Broken::Wrong(format!("{change:?}: no answer")),
            _ => Broken::Lost(error),
        })?;
        match answer.verdict {
            Verdict::Ok => {}
            Verdict::No => return Ok(Step::Refused(format!("{change:?}: NO {}", answer.text))),
            Verdict::Bad => return Err(Broken::Wrong(format!("{change:?}: BAD {}", answer.text))),
        }
        let tag = client.last_tag();
        let promised = self.written_down(&change, &answer).map_err(Broken::Wrong)?;
        if is_for_inbox {
            self.inbox_doubts.pop();
            self.inbox.extend(&promised);
        } else {
            self.doubts.clear();
        }
        self.journal.push(Entry { tag, change: change.clone(), ledger: self.ledger.clone(), inbox: promised });
        if let Change::Create { name } = &change {
            let (mailbox, ..) = status(client, name).map_err(|text| Broken::Lost(io::Error::other(text)))?;
            let mut kept = self.ledger.clone();
            kept.apply(&change, &Outcome { validity: mailbox.validity, uids: Vec::new() }).map_err(Broken::Wrong)?;
            self.ledger = kept;
        }
        Ok(Step::Done)
    }

    /// Selects what the change works on, or leaves what it is about to take away.
    fn prepare(&mut self, client: &mut Client, change: &Change) -> Result<Option<String>, Broken> {
        let wanted = match change {
            Change::Flag { at, .. } | Change::Expunge { at, .. } => at.clone(),
            Change::Copy { from, .. } | Change::Move { from, .. } => from.clone(),
            Change::Delete { .. } | Change::Rename { .. } => "INBOX".to_owned(),
            Change::Append { .. } | Change::Create { .. } => return Ok(None),
        };
        if self.selected.as_ref() == Some(&wanted) {
            return Ok(None);
        }
        self.selected = None;
        let condstore = if client.offers("CONDSTORE") { " (CONDSTORE)" } else { "" };
        let answer = client.command(&format!("SELECT \"{wanted}\"{condstore}")).map_err(Broken::Lost)?;
        if answer.verdict != Verdict::Ok {
            return Ok(Some(format!("SELECT {wanted}: {:?} {}", answer.verdict, answer.text)));
        }
        self.selected = Some(wanted);
        Ok(None)
    }

    fn send(&mut self, client: &mut Client, change: &Change, bodies: &[Vec<u8>]) -> io::Result<Answer> {
        match change {
            Change::Append { to, messages } => {
                let mut before: Vec<String> =
                    messages.iter().map(|(_, flags)| format!(" ({}) ", words(flags))).collect();
                before[0] = format!("APPEND \"{to}\"{}", before[0]);
                let pieces: Vec<(&str, &[u8])> =
                    before.iter().zip(bodies).map(|(text, body)| (text.as_str(), body.as_slice())).collect();
                client.command_with("", &pieces)
            }
            Change::Flag { uids, how, flags, .. } => {
                // Reading a body without PEEK is the other way to set \Seen (RFC 3501 §6.4.5).
                if *how == FlagChange::Add && flags.len() == 1 && flags.contains("\\seen") {
                    return client.command(&format!("UID FETCH {} (UID BODY[])", set_of(uids)));
                }
                let sign = match how {
                    FlagChange::Add => "+",
                    FlagChange::Remove => "-",
                    FlagChange::Replace => "",
                };
                let silent = if self.random.chance(30) { ".SILENT" } else { "" };
                client.command(&format!("UID STORE {} {sign}FLAGS{silent} ({})", set_of(uids), words(flags)))
            }
            Change::Copy { to, uids, .. } => client.command(&format!("UID COPY {} \"{to}\"", set_of(uids))),
            Change::Move { to, uids, .. } => client.command(&format!("UID MOVE {} \"{to}\"", set_of(uids))),
            Change::Expunge { at, uids } => {
                let deleted = deleted_in(&self.ledger, at);
                let plain = deleted.len() == uids.len() && self.random.chance(50);
                client.command(&if plain { "EXPUNGE".into() } else { format!("UID EXPUNGE {}", set_of(uids)) })
            }
            Change::Create { name } => client.command(&format!("CREATE \"{name}\"")),
            Change::Delete { name } => client.command(&format!("DELETE \"{name}\"")),
            Change::Rename { from, to } => client.command(&format!("RENAME \"{from}\" \"{to}\"")),
        }
    }

    /// Holds the answer against the ledger and applies the change; what INBOX promised is returned.
    fn written_down(&mut self, change: &Change, answer: &Answer) -> Result<Vec<(u32, u32, Digest)>, String> {
        let mut outcome = Outcome::default();
        match change {
            Change::Append { to, messages } => {
                let code = answer.code("APPENDUID").ok_or_else(|| format!("no APPENDUID in {}", answer.text))?;
                let [validity, uids] = code.as_slice() else { return Err(format!("odd APPENDUID {code:?}")) };
                outcome.validity = validity.parse().map_err(|_| format!("odd UIDVALIDITY {validity}"))?;
                outcome.uids = numbers(uids).ok_or_else(|| format!("odd UIDs {uids}"))?;
                if to == "INBOX" {
                    let bodies = messages.iter().map(|(body, _)| *body);
                    let promised: Vec<_> =
                        outcome.uids.iter().zip(bodies).map(|(uid, body)| (outcome.validity, *uid, body)).collect();
                    return if promised.len() == messages.len() { Ok(promised) } else { Err(answer.text.clone()) };
                }
                self.same_validity(to, outcome.validity)?;
            }
            Change::Copy { to, uids, .. } | Change::Move { to, uids, .. } => {
                let code = answer.code("COPYUID").ok_or_else(|| format!("no COPYUID in {answer:?}"))?;
                let [validity, sources, targets] = code.as_slice() else { return Err(format!("odd {code:?}")) };
                self.same_validity(to, validity.parse().map_err(|_| format!("odd {validity}"))?)?;
                let sources = numbers(sources).ok_or("odd sources")?;
                let targets = numbers(targets).ok_or("odd targets")?;
                // RFC 4315 §3: the two sets have the same length and correspond in order.
                if sources.len() != targets.len() {
                    return Err(format!("COPYUID sets differ in length: {code:?}"));
                }
                let mut pairs: Vec<(u32, u32)> = sources.into_iter().zip(targets).collect();
                pairs.sort_unstable();
                if !pairs.iter().map(|(source, _)| source).eq(uids) {
                    return Err(format!("COPYUID of {uids:?} names {code:?}"));
                }
                outcome.uids = pairs.into_iter().map(|(_, target)| target).collect();
            }
            Change::Flag { at, .. } => {
                let before = self.ledger.clone();
                self.ledger.apply(change, &outcome)?;
                return self.flags_told(&before, at, answer).map(|()| Vec::new());
            }
            _ => {}
        }
        self.ledger.apply(change, &outcome)?;
        Ok(Vec::new())
    }

    fn same_validity(&self, name: &str, told: u32) -> Result<(), String> {
        match self.ledger.mailboxes.get(name) {
            Some(mailbox) if mailbox.validity != 0 && mailbox.validity != told => {
                Err(format!("{name}: UIDVALIDITY was {}, is {told}", mailbox.validity))
            }
            _ => Ok(()),
        }
    }

    /// What a STORE told: flags as they should be, and a MODSEQ above everything this mailbox had.
    fn flags_told(&mut self, before: &Ledger, at: &str, answer: &Answer) -> Result<(), String> {
        let (Some(old), Some(new)) = (before.mailboxes.get(at), self.ledger.mailboxes.get_mut(at)) else {
            return Ok(());
        };
        for line in answer.lines("FETCH") {
            let Some(items) = line.get(2).and_then(Token::list) else { continue };
            let Some(uid) = pair(items, "UID").and_then(Token::number) else { continue };
            let Some(message) = new.messages.get_mut(&(uid as u32)) else { continue };
            if let Some(Token::Text(body)) = pair(items, "BODY[]")
                && Digest::of(body) != message.body
            {
                return Err(format!("{at}: UID {uid} came with another body"));
            }
            if let Some(flags) = flags_in(items)
                && flags != message.flags
            {
                return Err(format!("{at}: UID {uid} has {flags:?}, should have {:?}", message.flags));
            }
            let modseq = modseq_in(items);
            let was_changed = old.messages.get(&(uid as u32)).is_some_and(|there| there.flags != message.flags);
            if modseq != 0 && was_changed && modseq <= old.modseq {
                return Err(format!("{at}: UID {uid} changed with MODSEQ {modseq}, {} was told before", old.modseq));
            }
            message.modseq = message.modseq.max(modseq);
            new.modseq = new.modseq.max(modseq);
        }
        Ok(())
    }

    fn choose(&mut self, client: &Client) -> (Change, Vec<Vec<u8>>) {
        let total: usize = self.ledger.mailboxes.values().map(|mailbox| mailbox.messages.len()).sum();
        for _ in 0..8 {
            let roll = self.random.range(0, 100);
            let is_full = total > self.habits.messages;
            let change = match roll {
                0..42 if !is_full => return self.choose_append(client),
                0..42 => self.choose_expunge(),
                42..60 => self.choose_flags(),
                60..70 if !is_full => self.choose_copy(),
                60..78 => self.choose_move(client),
                78..90 => self.choose_expunge(),
                90..95 => self.choose_create(),
                95..97 => self.choose_delete(),
                _ => self.choose_rename(),
            };
            if let Some(change) = change {
                return (change, Vec::new());
            }
        }
        self.choose_append(client)
    }

    fn choose_append(&mut self, client: &Client) -> (Change, Vec<Vec<u8>>) {
        if self.ledger.mailboxes.is_empty() {
            return (Change::Create { name: self.root.clone() }, Vec::new());
        }
        let to = match self.a_mailbox() {
            Some(name) if !(self.habits.shares_inbox && self.random.chance(25)) => name,
            _ => "INBOX".to_owned(),
        };
        let several = client.offers("MULTIAPPEND") && self.random.chance(15);
        let count = if several { self.random.range(2, 5) } else { 1 };
        let is_for_inbox = to == "INBOX";
        let bodies: Vec<Vec<u8>> = (0..count).map(|_| self.body(!is_for_inbox)).collect();
        // Flags are what INBOX's readers leave alone, so only own mailboxes get some.
        let messages = bodies
            .iter()
            .map(|body| (Digest::of(body), if is_for_inbox { Flags::new() } else { self.some_flags(30) }))
            .collect();
        (Change::Append { to, messages }, bodies)
    }

    fn body(&mut self, may_repeat: bool) -> Vec<u8> {
        self.written += 1;
        if may_repeat
            && self.random.chance(5)
            && let Some(body) = &self.remembered
        {
            return body.clone();
        }
        let is_large = self.random.chance(self.habits.large_percent);
        let size = match is_large {
            true if self.random.chance(self.habits.huge_percent) => 1 << 20,
            // On both sides of the line between inline and file.
            true => self.random.range(127, 160) * 1024,
            false => self.random.range(200, 6000),
        };
        let name = format!("{}-{}", self.root, self.written);
        let body = message(&name, size as usize, &mut self.random);
        if is_large && may_repeat {
            self.remembered = Some(body.clone());
        }
        body
    }

    fn some_flags(&mut self, percent: u64) -> Flags {
        FLAGS.iter().filter(|_| self.random.chance(percent)).map(|flag| flag.to_ascii_lowercase()).collect()
    }

    fn a_mailbox(&mut self) -> Option<String> {
        let names: Vec<String> = self.ledger.mailboxes.keys().cloned().collect();
        self.random.pick(&names).cloned()
    }

    fn some_messages(&mut self) -> Option<(String, Vec<u32>)> {
        let filled: Vec<String> = self
            .ledger
            .mailboxes
            .iter()
            .filter(|(_, mailbox)| !mailbox.messages.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        let name = self.random.pick(&filled)?.clone();
        let uids: Vec<u32> = self.ledger.mailboxes[&name].messages.keys().copied().collect();
        let chosen = self.random.some_of(&uids);
        Some((name, chosen))
    }

    fn choose_flags(&mut self) -> Option<Change> {
        let (at, uids) = self.some_messages()?;
        let how = [FlagChange::Add, FlagChange::Remove, FlagChange::Replace][self.random.index(3)];
        let mut flags = self.some_flags(35);
        if flags.is_empty() {
            flags.insert("\\seen".into());
        }
        Some(Change::Flag { at, uids, how, flags })
    }

    fn choose_copy(&mut self) -> Option<Change> {
        let (from, uids) = self.some_messages()?;
        Some(Change::Copy { from, to: self.a_mailbox()?, uids })
    }

    fn choose_move(&mut self, client: &Client) -> Option<Change> {
        let (from, uids) = self.some_messages()?;
        let to = self.a_mailbox()?;
        // RFC 6851 §3.3 leaves a MOVE onto the same mailbox to the server.
        (client.offers("MOVE") && to != from).then_some(Change::Move { from, to, uids })
    }

    fn choose_expunge(&mut self) -> Option<Change> {
        let marked: Vec<(String, Vec<u32>)> = self
            .ledger
            .mailboxes
            .keys()
            .map(|name| (name.clone(), deleted_in(&self.ledger, name)))
            .filter(|(_, uids)| !uids.is_empty())
            .collect();
        match self.random.pick(&marked).cloned() {
            Some((at, uids)) if self.random.chance(60) => Some(Change::Expunge { at, uids }),
            Some((at, uids)) => Some(Change::Expunge { at, uids: self.random.some_of(&uids) }),
            None => {
                let (at, uids) = self.some_messages()?;
                let flags = Flags::from(["\\deleted".to_owned()]);
                Some(Change::Flag { at, uids, how: FlagChange::Add, flags })
            }
        }
    }

    /// A name that is free, whose parent exists, and with nothing below it.
    fn free_name(&mut self) -> Option<String> {
        let mut names = Vec::new();
        for number in 0..4 {
            names.push(format!("{}/a{number}", self.root));
            names.push(format!("{}/a{number}/k", self.root));
        }
        let mailboxes = &self.ledger.mailboxes;
        names.retain(|name| {
            let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
            let below = format!("{name}/");
            mailboxes.contains_key(parent) && !mailboxes.keys().any(|other| other == name || other.starts_with(&below))
        });
        self.random.pick(&names).cloned()
    }

    fn choose_create(&mut self) -> Option<Change> {
        if self.ledger.mailboxes.len() >= self.habits.mailboxes {
            return None;
        }
        Some(Change::Create { name: self.free_name()? })
    }

    fn choose_delete(&mut self) -> Option<Change> {
        let name = self.a_mailbox()?;
        let below = format!("{name}/");
        let has_children = self.ledger.mailboxes.keys().any(|other| other.starts_with(&below));
        (name != self.root && !has_children).then_some(Change::Delete { name })
    }

    fn choose_rename(&mut self) -> Option<Change> {
        let from = self.a_mailbox()?;
        let to = self.free_name()?;
        let is_inside = to.starts_with(&format!("{from}/"));
        (from != self.root && !is_inside).then_some(Change::Rename { from, to })
    }
}

fn deleted_in(ledger: &Ledger, at: &str) -> Vec<u32> {
    let messages = ledger.mailboxes.get(at).map(|mailbox| &mailbox.messages);
    let marked = messages.into_iter().flatten().filter(|(_, message)| message.flags.contains("\\deleted"));
    marked.map(|(uid, _)| *uid).collect()
}

fn words(flags: &Flags) -> String {
    flags.iter().cloned().collect::<Vec<_>>().join(" ")
}
