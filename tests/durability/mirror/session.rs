//! One client: which extensions it uses, what it holds of the mailbox it has open and of the others it watches, and
//! its own means of finding out what it missed.

use std::collections::{BTreeMap, BTreeSet};

use super::held::{Entry, Held, Speech};
use super::model::{Fresh, FreshMailbox, off_the_wire, on_the_wire, same_messages};
use crate::client::{Answer, Client, Token, Verdict, numbers, set_of};
use crate::picture::pair;
use crate::random::Random;

/// How often a client asks for what it does not know yet before something must be wrong.
const LOOKS: usize = 20;

/// What of the selected mailbox NOTIFY tells at any time (RFC 5465 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    Selected,
    Delayed,
}

/// The extensions a client uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    pub condstore: bool,
    pub qresync: bool,
    pub notify: Option<Watch>,
    pub uid_only: bool,
    pub compressed: bool,
    pub rev2: bool,
}

impl Manner {
    /// One client of each kind, and one of a chance mixture.
    pub fn all(random: &mut Random) -> Vec<Manner> {
        let plain = Manner::default();
        let qresync = Manner { condstore: true, qresync: true, ..plain };
        vec![
            plain,
            Manner { condstore: true, ..plain },
            qresync,
            Manner { notify: Some(Watch::Selected), ..plain },
            Manner { notify: Some(Watch::Delayed), condstore: true, ..plain },
            Manner { uid_only: true, condstore: true, ..plain },
            Manner { compressed: true, ..qresync },
            Manner { rev2: true, ..plain },
            Manner {
                condstore: true,
                qresync: random.chance(60),
                notify: [None, Some(Watch::Selected), Some(Watch::Delayed)][random.index(3)],
                uid_only: random.chance(40),
                compressed: random.chance(40),
                rev2: random.chance(40),
            },
        ]
    }

    fn speech(self) -> Speech {
        let vanished = self.qresync || self.uid_only;
        Speech { vanished, uid_only: self.uid_only, modseq: self.condstore, rev2: self.rev2 }
    }

    /// Numbers may shift at any time under a client that is told of expunges between its commands.
    pub fn can_count(self) -> bool {
        !self.uid_only && self.notify.is_none()
    }
}

/// The mailbox a client has open.
#[derive(Clone)]
pub struct Open {
    pub name: String,
    pub id: String,
    pub is_read_only: bool,
    /// It was deleted, and this client was refused something for it.
    pub is_gone: bool,
    pub validity: u32,
    /// Everything up to this modseq is known.
    pub known_until: u64,
    /// The same once the messages are known that came meanwhile.
    reached: u64,
    pub held: Held,
}

impl Open {
    /// Once every message is known, so are all changes up to where the server said, or showed, that it has told them.
    fn settle(&mut self) {
        let is_known = |entry: &Entry| entry.uid == 0 || entry.flags.is_some();
        if self.held.unknown() == 0 && self.held.entries.iter().all(is_known) && !self.held.is_comparing {
            self.known_until = self.known_until.max(self.reached);
        }
    }
}

/// What a client keeps of a mailbox that it has not open.
#[derive(Clone)]
struct Kept {
    validity: u32,
    known_until: u64,
    entries: Vec<Entry>,
}

/// A client, over all its connections.
pub struct Session {
    pub manner: Manner,
    pub client: Client,
    address: String,
    user: String,
    connections: usize,
    pub open: Option<Open>,
    kept: BTreeMap<String, Kept>,
    /// With NOTIFY: the names of all mailboxes, and the STATUS last told of those that are not open.
    names: BTreeSet<String>,
    statuses: BTreeMap<String, BTreeMap<String, u64>>,
    has_overrun: bool,
    /// Another mailbox was open: up to CLOSED everything is about that one (RFC 7162 §3.2.11).
    awaits_closed: bool,
}

type Outcome = Result<(), String>;

impl Session {
    pub fn connect(address: &str, user: &str, manner: Manner) -> Result<Self, String> {
        let client = crate::installation::sign_in(address, &format!("{user}-0"), user).map_err(|e| e.to_string())?;
        let (address, user) = (address.to_owned(), user.to_owned());
        let mut session = Session {
            manner,
            client,
            address,
            user,
            connections: 0,
            open: None,
            kept: BTreeMap::new(),
            names: BTreeSet::new(),
            statuses: BTreeMap::new(),
            has_overrun: false,
            awaits_closed: false,
        };
        session.begin()?;
        Ok(session)
    }

    /// Comes back on a new connection, with nothing open.
    pub fn reconnect(&mut self) -> Outcome {
        self.put_by();
        self.connections += 1;
        let prefix = format!("{}-{}", self.user, self.connections);
        self.client = crate::installation::sign_in(&self.address, &prefix, &self.user).map_err(|e| e.to_string())?;
        self.begin()
    }

    /// Ends the connection, with LOGOUT or without, and comes back.
    pub fn drop_and_reconnect(&mut self, has_manners: bool) -> Outcome {
        if has_manners {
            self.order("LOGOUT")?;
        }
        self.reconnect()
    }

    fn begin(&mut self) -> Outcome {
        let Manner { condstore, qresync, uid_only, compressed, rev2, .. } = self.manner;
        let words = [(condstore, "CONDSTORE"), (qresync, "QRESYNC"), (uid_only, "UIDONLY"), (rev2, "IMAP4rev2")];
        for (_, word) in words.iter().filter(|(is_used, _)| *is_used) {
            let answer = self.ok(&format!("ENABLE {word}"))?;
            let was_told = answer.lines("ENABLED").any(|line| line.iter().any(|told| told.is_word(word)));
            if !was_told && *word != "CONDSTORE" {
                return Err(format!("ENABLE {word} did not enable it"));
            }
        }
        if compressed {
            self.client.compress().map_err(|error| error.to_string())?;
        }
        self.watch()
    }

    /// NOTIFY, and from where it goes on.
    fn watch(&mut self) -> Outcome {
        self.has_overrun = false;
        let selected = match self.manner.notify {
            None => return Ok(()),
            Some(Watch::Selected) => "selected",
            Some(Watch::Delayed) => "selected-delayed",
        };
        let selected = format!("({selected} (MessageNew (UID FLAGS) MessageExpunge FlagChange))");
        let personal = "(personal (MessageNew MessageExpunge FlagChange MailboxName))";
        self.statuses.clear();
        self.ok(&format!("NOTIFY SET STATUS {selected} {personal}"))?;
        self.list()
    }

    /// Which mailboxes there are, for a client that watches them.
    pub fn list(&mut self) -> Outcome {
        if self.manner.notify.is_some() {
            self.names.clear();
            self.ok("LIST \"\" *")?;
        }
        Ok(())
    }

    /// A mailbox name in a command.
    pub fn quoted(&self, name: &str) -> String {
        format!("\"{}\"", on_the_wire(name, self.manner.rev2))
    }

    pub fn order(&mut self, text: &str) -> Result<Answer, String> {
        let answer = self.client.command(text).map_err(|error| format!("{text}: {error}"))?;
        self.apply(&answer).map_err(|fault| format!("{text}: {fault}"))?;
        Ok(answer)
    }

    pub fn ok(&mut self, text: &str) -> Result<Answer, String> {
        let answer = self.order(text)?;
        if answer.verdict == Verdict::Ok {
            Ok(answer)
        } else {
            Err(format!("{text}: {:?} {}", answer.verdict, answer.text))
        }
    }

    /// Applies an answer, line by line, in the order it came.
    pub fn apply(&mut self, answer: &Answer) -> Outcome {
        for line in &answer.untagged {
            match line.first().and_then(Token::word).unwrap_or_default() {
                "STATUS" => self.told_status(line)?,
                "LIST" => self.told_name(line)?,
                "OK" => {
                    let text = line.get(1).and_then(Token::word).unwrap_or_default();
                    self.has_overrun |= text.starts_with("[NOTIFICATIONOVERFLOW]");
                    self.awaits_closed &= !text.starts_with("[CLOSED]");
                }
                _ if self.awaits_closed => {}
                _ => {
                    if let Some(open) = &mut self.open {
                        open.held.apply(line)?;
                    }
                }
            }
        }
        if let Some(open) = self.open.as_mut().filter(|open| open.validity != 0) {
            // RFC 7162 §6: with every tagged response the code counts, or else the highest MODSEQ that was told.
            let seen = std::mem::take(&mut open.held.seen_modseq);
            open.reached = match answer.code("HIGHESTMODSEQ") {
                Some(told) => {
                    let told = told.first().and_then(|text| text.parse().ok()).ok_or("an odd HIGHESTMODSEQ")?;
                    if told < open.reached {
                        return Err(format!("HIGHESTMODSEQ went back from {} to {told}", open.reached));
                    }
                    told
                }
                None => open.reached.max(seen),
            };
            open.settle();
        }
        Ok(())
    }

    fn told_status(&mut self, line: &[Token]) -> Outcome {
        let name = line.get(1).and_then(Token::word).ok_or("STATUS without a name")?;
        let items = line.get(2).and_then(Token::list).ok_or("STATUS without a list")?;
        let values = self.statuses.entry(off_the_wire(name, self.manner.rev2)).or_default();
        for item in items.chunks(2) {
            let value = item.get(1).and_then(Token::number).ok_or("a STATUS item without a number")?;
            values.insert(item[0].word().unwrap_or_default().to_owned(), value);
        }
        Ok(())
    }

    /// A LIST line, with the old name behind it when there is one (RFC 5465 §5.4).
    fn told_name(&mut self, line: &[Token]) -> Outcome {
        let attributes = line.get(1).and_then(Token::list).ok_or("LIST without attributes")?;
        let name = line.get(3).and_then(Token::word).ok_or("LIST without a name")?;
        let name = off_the_wire(name, self.manner.rev2);
        let old = line.get(4).and_then(Token::list).and_then(|items| pair(items, "OLDNAME"));
        if let Some(old) = old.and_then(|old| old.list()?.first()?.word()) {
            let old = off_the_wire(old, self.manner.rev2);
            self.names.remove(&old);
            if let Some(status) = self.statuses.remove(&old) {
                self.statuses.entry(name.clone()).or_insert(status);
            }
        }
        if attributes.iter().any(|attribute| attribute.is_word("\\NonExistent")) {
            self.names.remove(&name);
            self.statuses.remove(&name);
        } else {
            self.names.insert(name);
        }
        Ok(())
    }

    /// What this client did itself is not told to it (RFC 5465 §5).
    pub fn forget_status(&mut self, name: &str) {
        self.statuses.remove(name);
        if super::model::WANDERING.contains(&name) {
            // It may have been renamed meanwhile.
            super::model::WANDERING.iter().for_each(|name| drop(self.statuses.remove(*name)));
        }
    }

    /// Asks for messages of which nothing is known yet.
    pub fn learn(&mut self) -> Outcome {
        for _ in 0..LOOKS {
            let Some(open) = &mut self.open else { return Ok(()) };
            open.held.note_whole();
            if open.held.unknown() == 0 {
                open.settle();
                return Ok(());
            }
            let above = open.held.whole_until() + 1;
            let first = open.held.entries.iter().take_while(|entry| entry.uid != 0).count() + 1;
            let by_number = self.manner.can_count() && !self.manner.qresync;
            self.ok(&match by_number {
                true => format!("FETCH {first}:* (UID FLAGS)"),
                false => format!("UID FETCH {above}:* (FLAGS)"),
            })?;
        }
        Err("there are messages that no FETCH tells".into())
    }

    /// Asks for all that happened; after it, everything is known.
    pub fn catch_up(&mut self) -> Outcome {
        self.ok("NOOP")?;
        if self.has_overrun {
            self.watch()?;
        }
        self.learn()
    }

    /// What a client with QRESYNC or CONDSTORE keeps of the mailbox it leaves.
    fn put_by(&mut self) {
        let Some(open) = self.open.take() else { return };
        // While it was open no STATUS told of it.
        self.forget_status(&open.name);
        if !self.manner.condstore || open.is_gone {
            return;
        }
        let entries = open.held.known().filter(|entry| entry.flags.is_some()).cloned().collect();
        let (validity, known_until) = (open.validity, open.known_until);
        self.kept.insert(open.name, Kept { validity, known_until, entries });
    }

    /// Opens a mailbox; false when there is none of this name.
    pub fn select(&mut self, name: &str, is_read_only: bool, random: &mut Random) -> Result<bool, String> {
        self.awaits_closed = self.open.is_some();
        self.put_by();
        self.statuses.remove(name);
        let kept = self.kept.get(name).cloned();
        let parameter = match &kept {
            Some(kept) if self.manner.qresync => self.qresync(kept, random),
            _ if self.manner.condstore && random.chance(50) => " (CONDSTORE)".into(),
            _ => String::new(),
        };
        let mut held = Held::new(self.manner.speech());
        if let Some(kept) = kept.as_ref().filter(|_| self.manner.qresync) {
            held.earlier = kept.entries.iter().map(|entry| (entry.uid, entry.clone())).collect();
        }
        let (validity, known_until, reached, is_gone, id) = (0, 0, 0, false, String::new());
        let open = Open { name: name.into(), id, is_read_only, is_gone, validity, known_until, reached, held };
        self.open = Some(open);
        let word = if is_read_only { "EXAMINE" } else { "SELECT" };
        let answer = self.order(&format!("{word} {}{parameter}", self.quoted(name)))?;
        if std::mem::take(&mut self.awaits_closed) {
            return Err(format!("{word} {name} did not say CLOSED"));
        }
        if answer.verdict != Verdict::Ok {
            self.open = None;
            self.kept.remove(name);
            return Ok(false);
        }
        let code = |wanted: &str| {
            let words = answer.code(wanted).and_then(|words| words.first().cloned());
            words.ok_or_else(|| format!("{word} {name} told no {wanted}"))
        };
        let number = |wanted: &str| code(wanted)?.parse::<u64>().map_err(|_| format!("an odd {wanted}"));
        let Some(open) = &mut self.open else { return Ok(false) };
        open.validity = number("UIDVALIDITY")? as u32;
        open.id = mailbox_id(&answer).ok_or("no MAILBOXID")?;
        let told = number("HIGHESTMODSEQ")?;
        open.reached = told;
        open.held.seen_modseq = 0;
        let kept = kept.filter(|kept| kept.validity == open.validity);
        match kept {
            Some(kept) if kept.known_until > told => {
                return Err(format!("HIGHESTMODSEQ was {}, is {told}", kept.known_until));
            }
            Some(_) if self.manner.qresync => open.held.come_back()?,
            Some(kept) if self.manner.condstore && self.manner.notify.is_none() => self.compare_notes(kept)?,
            _ => open.held.earlier.clear(),
        }
        self.learn()?;
        Ok(true)
    }

    /// RFC 7162 §3.2.5: with the UIDs it knows and some of their numbers, or without.
    fn qresync(&self, kept: &Kept, random: &mut Random) -> String {
        let uids: Vec<u32> = kept.entries.iter().map(|entry| entry.uid).collect();
        let mut words = format!("{} {}", kept.validity, kept.known_until.max(1));
        if !uids.is_empty() && random.chance(70) {
            words.push_str(&format!(" {}", set_of(&uids)));
            if !self.manner.uid_only && random.chance(60) {
                let places: Vec<usize> = random.some_of(&(0..uids.len()).collect::<Vec<_>>());
                let numbers: Vec<u32> = places.iter().map(|at| *at as u32 + 1).collect();
                let pairs: Vec<u32> = places.iter().map(|at| uids[*at]).collect();
                words.push_str(&format!(" ({} {})", set_of(&numbers), set_of(&pairs)));
            }
        }
        format!(" (QRESYNC ({words}))")
    }

    /// The way of RFC 7162 §3.1.4 without QRESYNC: which are there, and what changed since.
    fn compare_notes(&mut self, kept: Kept) -> Outcome {
        let mut known: BTreeMap<u32, Entry> = kept.entries.into_iter().map(|entry| (entry.uid, entry)).collect();
        let Some(open) = &mut self.open else { return Ok(()) };
        if self.manner.uid_only {
            // What vanishes while it searches is told behind what was found.
            open.held.entries = std::mem::take(&mut known).into_values().collect();
            let before: BTreeSet<u32> = open.held.known().map(|entry| entry.uid).collect();
            open.held.is_comparing = true;
            let answer = self.ok("UID SEARCH ALL")?;
            let there: BTreeSet<u32> = found(&answer)?.into_iter().collect();
            let Some(open) = &mut self.open else { return Ok(()) };
            open.held.is_comparing = false;
            open.held.entries.retain(|entry| !before.contains(&entry.uid) || there.contains(&entry.uid));
        } else if !open.held.entries.is_empty() {
            self.ok("FETCH 1:* (UID)")?;
            let Some(open) = &mut self.open else { return Ok(()) };
            for entry in &mut open.held.entries {
                *entry = known.remove(&entry.uid).unwrap_or(Entry { uid: entry.uid, ..Entry::default() });
            }
        }
        self.ok(&format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {})", kept.known_until.max(1)))?;
        let unknown = self.open.as_ref().and_then(|open| open.held.known().find(|entry| entry.flags.is_none()));
        match unknown {
            Some(entry) => Err(format!("CHANGEDSINCE {} did not tell of UID {}", kept.known_until, entry.uid)),
            None => Ok(()),
        }
    }

    /// Leaves the mailbox.
    pub fn leave(&mut self, is_close: bool) -> Outcome {
        // RFC 7162 §3.2.8: CLOSE tells nothing of what it expunged, so what was known is as it was before.
        self.put_by();
        self.ok(if is_close { "CLOSE" } else { "UNSELECT" }).map(|_| ())
    }

    /// Finds out by its own means what happened, as after a long absence or by asking.
    pub fn resynchronise(&mut self, random: &mut Random) -> Outcome {
        let open = self.open.as_ref().filter(|open| !open.is_gone).map(|open| (open.name.clone(), open.is_read_only));
        if let Some((name, is_read_only)) = open
            && random.chance(if self.manner.qresync { 70 } else { 40 })
        {
            self.drop_and_reconnect(random.chance(30))?;
            self.select(&name, is_read_only, random)?;
        }
        self.catch_up()
    }

    /// Everything it holds, after it was told everything, is what a plain client reads afresh.
    pub fn compare(&self, fresh: &Fresh) -> Outcome {
        if let Some(open) = self.open.as_ref().filter(|open| !open.is_gone)
            && let Some(there) = fresh.mailboxes.get(&open.id)
        {
            let held = open.held.known().map(|entry| (entry.uid, entry.flags.as_ref(), entry.modseq));
            same_messages(there, held).map_err(|fault| format!("{}: {fault}", open.name))?;
            if there.validity != open.validity || there.highest_modseq < open.known_until {
                return Err(format!("{}: UIDVALIDITY {} MODSEQ {}", open.name, open.validity, open.known_until));
            }
        }
        if self.manner.notify.is_none() {
            return Ok(());
        }
        if self.names != fresh.names {
            return Err(format!("NOTIFY told of the mailboxes {:?}, there are {:?}", self.names, fresh.names));
        }
        for (name, told) in &self.statuses {
            let is_open = |id: &String| self.open.as_ref().is_some_and(|open| open.id == *id);
            if let Some((_, there)) = fresh.named(name).filter(|(id, _)| !is_open(id)) {
                same_status(there, told)?;
            }
        }
        Ok(())
    }
}

/// STATUS as NOTIFY told it last, against what is there.
fn same_status(there: &FreshMailbox, told: &BTreeMap<String, u64>) -> Outcome {
    for (item, value) in told {
        let real = match item.as_str() {
            "MESSAGES" => there.messages.len() as u64,
            "UIDNEXT" => u64::from(there.uid_next),
            "UIDVALIDITY" => u64::from(there.validity),
            "UNSEEN" => there.unseen,
            "HIGHESTMODSEQ" => there.highest_modseq,
            _ => continue,
        };
        // A modseq that moved with nothing this client watches is not told.
        if *value != real && item != "HIGHESTMODSEQ" {
            return Err(format!("NOTIFY told {} {told:?}, but {item} is {real}", there.name));
        }
    }
    Ok(())
}

/// The MAILBOXID that an answer tells (RFC 8474 §4.1, §4.2).
pub fn mailbox_id(answer: &Answer) -> Option<String> {
    let id = answer.code("MAILBOXID")?.first()?.trim_matches(['(', ')']).to_owned();
    (!id.is_empty()).then_some(id)
}

/// The numbers of a SEARCH or an ESEARCH.
pub fn found(answer: &Answer) -> Result<Vec<u32>, String> {
    if let Some(line) = answer.lines("SEARCH").next() {
        return Ok(line[1..].iter().filter_map(Token::number).map(|uid| uid as u32).collect());
    }
    let line = answer.lines("ESEARCH").next().ok_or("SEARCH told nothing")?;
    let all = line.iter().position(|word| word.is_word("ALL")).and_then(|at| line.get(at + 1)?.word());
    all.map_or(Ok(Vec::new()), |set| numbers(set).ok_or_else(|| format!("an odd set {set}")))
}
