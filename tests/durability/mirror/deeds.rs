//! What a client may do next: orders with what they do to the model, and what it does for itself.

use super::held::Entry;
use super::model::{Effect, FIXED, Flags, Sign, WANDERING, body, change};
use super::session::Session;
use crate::client::{Answer, Verdict, set_of};
use crate::random::Random;

const FLAGS: [&str; 8] = ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$Forwarded", "$label1", "blue"];
/// Copies breed: above so many messages a mailbox is thinned out.
const CROWD: usize = 120;

/// A command that changes something.
#[derive(Debug)]
pub struct Order {
    pub text: String,
    pub literals: Vec<(String, Vec<u8>)>,
    /// Literals do not wait to be invited.
    at_once: bool,
    /// The client changes what it holds by itself.
    is_silent: bool,
    pub effect: Effect,
}

pub enum Deed {
    Order(Order),
    /// The order, and the connection lost before its answer.
    Lost(Order),
    Select {
        name: String,
        is_read_only: bool,
    },
    Leave {
        is_close: bool,
    },
    CatchUp,
    Look,
    Idle,
    Read,
    Reconnect {
        has_manners: bool,
    },
}

pub fn choose(session: &mut Session, random: &mut Random) -> Result<Deed, String> {
    let Some(open) = &session.open else {
        // There is something to do without a mailbox too.
        return Ok(match random.range(0, 10) {
            0 => append(session, random),
            1 => wander(session, random),
            _ => select(random),
        });
    };
    if open.is_gone {
        return Ok(if random.chance(50) { Deed::Leave { is_close: false } } else { select(random) });
    }
    if open.held.entries.len() > CROWD && !open.is_read_only {
        return thin_out(session, random);
    }
    Ok(match random.range(0, 100) {
        0..17 => append(session, random),
        17..42 => store(session, random).unwrap_or(Deed::CatchUp),
        42..52 => expunge(session, random)?,
        52..63 => copy_or_move(session, random).unwrap_or(Deed::CatchUp),
        63..66 => replace(session, random).unwrap_or(Deed::CatchUp),
        66..71 => wander(session, random),
        71..76 => Deed::Read,
        76..81 => Deed::CatchUp,
        81..85 => Deed::Look,
        85..89 => Deed::Idle,
        89..93 => select(random),
        93..95 => Deed::Leave { is_close: random.chance(50) },
        95..98 => Deed::Reconnect { has_manners: random.chance(30) },
        _ => match store(session, random).or_else(|| copy_or_move(session, random)) {
            Some(Deed::Order(order)) => Deed::Lost(order),
            _ => Deed::CatchUp,
        },
    })
}

fn order(text: String, effect: Effect) -> Deed {
    Deed::Order(Order { text, literals: Vec::new(), at_once: false, is_silent: false, effect })
}

fn a_name(random: &mut Random) -> String {
    let names = [FIXED[0], FIXED[0], FIXED[1], FIXED[1], WANDERING[0], WANDERING[1]];
    names[random.index(names.len())].to_owned()
}

fn select(random: &mut Random) -> Deed {
    Deed::Select { name: a_name(random), is_read_only: random.chance(15) }
}

fn some_flags(random: &mut Random) -> Flags {
    (0..random.range(0, 3)).filter_map(|_| random.pick(&FLAGS).map(|flag| (*flag).to_owned())).collect()
}

fn words(flags: &Flags) -> String {
    flags.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// New content mostly, and now and then the same again.
fn a_body(random: &mut Random) -> u64 {
    if random.chance(20) { random.range(1, 8) } else { random.range(8, 1 << 40) }
}

fn append(session: &Session, random: &mut Random) -> Deed {
    let to = a_name(random);
    let count = if random.chance(25) { random.range(2, 5) } else { 1 };
    let messages: Vec<(Flags, u64)> = (0..count).map(|_| (some_flags(random), a_body(random))).collect();
    let literals = messages.iter().map(|(flags, number)| (format!(" ({}) ", words(flags)), body(*number))).collect();
    let (text, at_once) = (format!("APPEND {}", session.quoted(&to)), random.chance(40));
    Deed::Order(Order { text, literals, at_once, is_silent: false, effect: Effect::Append { to, messages } })
}

/// Some messages this client knows of.
fn some(session: &Session, random: &mut Random) -> Option<Vec<Entry>> {
    let known: Vec<Entry> = session.open.as_ref()?.held.known().cloned().collect();
    if known.is_empty() {
        return None;
    }
    let mut some = random.some_of(&known);
    // Now and then many at once; mostly a handful, as people do.
    some.truncate(if random.chance(10) { 400 } else { 8 });
    Some(some)
}

/// The command's word and its set: by UID, or by number where that is safe.
fn by_uid_or_number(session: &Session, word: &str, uids: &[u32], random: &mut Random) -> (String, String) {
    let open = session.open.as_ref().filter(|_| session.manner.can_count() && random.chance(40));
    let Some(open) = open else { return (format!("UID {word}"), set_of(uids)) };
    let at = |uid: &u32| open.held.entries.iter().position(|entry| entry.uid == *uid).map(|at| at as u32 + 1);
    (word.to_owned(), set_of(&uids.iter().filter_map(at).collect::<Vec<_>>()))
}

fn store(session: &Session, random: &mut Random) -> Option<Deed> {
    let some = some(session, random)?;
    let uids: Vec<u32> = some.iter().map(|entry| entry.uid).collect();
    let flags = some_flags(random);
    let (sign, mark) = [(Sign::Add, "+"), (Sign::Take, "-"), (Sign::Replace, "")][random.index(3)];
    // Who is told of changes at any time cannot say whether they came before its silent order or after it.
    let is_silent = random.chance(30) && session.manner.notify.is_none();
    let silent = if is_silent { ".SILENT" } else { "" };
    let since = random.pick(&some).map(|entry| entry.modseq).filter(|m| *m != 0 && session.manner.condstore);
    let since = since.filter(|_| random.chance(35));
    let (word, set) = match since {
        Some(_) => ("UID STORE".to_owned(), set_of(&uids)),
        None => by_uid_or_number(session, "STORE", &uids, random),
    };
    let test = since.map_or(String::new(), |since| format!(" (UNCHANGEDSINCE {since})"));
    let text = format!("{word} {set}{test} {mark}FLAGS{silent} ({})", words(&flags));
    let effect = Effect::Flag { uids, sign, flags, since };
    Some(Deed::Order(Order { text, literals: Vec::new(), at_once: false, is_silent, effect }))
}

/// The older half is flagged and then expunged.
fn thin_out(session: &mut Session, random: &mut Random) -> Result<Deed, String> {
    let known: Vec<u32> = session.open.iter().flat_map(|open| open.held.known().map(|entry| entry.uid)).collect();
    let uids = known[..known.len() / 2].to_vec();
    if uids.is_empty() || random.chance(50) {
        return expunge(session, random);
    }
    let flags = Flags::from(["\\Deleted".to_owned()]);
    let text = format!("UID STORE {} +FLAGS (\\Deleted)", set_of(&uids));
    Ok(order(text, Effect::Flag { uids, sign: Sign::Add, flags, since: None }))
}

fn expunge(session: &mut Session, random: &mut Random) -> Result<Deed, String> {
    if random.chance(50) {
        let Some(some) = some(session, random) else { return Ok(Deed::CatchUp) };
        let within: Vec<u32> = some.iter().map(|entry| entry.uid).collect();
        return Ok(order(format!("UID EXPUNGE {}", set_of(&within)), Effect::Expunge { within }));
    }
    // A client that is told things at any time knows only after a NOOP what the server takes it to know.
    match session.manner.notify {
        Some(_) => session.catch_up()?,
        None => session.learn()?,
    }
    let within = session.open.iter().flat_map(|open| open.held.known().map(|entry| entry.uid)).collect();
    Ok(order("EXPUNGE".into(), Effect::Expunge { within }))
}

fn copy_or_move(session: &Session, random: &mut Random) -> Option<Deed> {
    let uids: Vec<u32> = some(session, random)?.iter().map(|entry| entry.uid).collect();
    let (to, is_move) = (a_name(random), random.chance(50));
    let (word, set) = by_uid_or_number(session, if is_move { "MOVE" } else { "COPY" }, &uids, random);
    let text = format!("{word} {set} {}", session.quoted(&to));
    Some(order(text, if is_move { Effect::Move { uids, to } } else { Effect::Copy { uids, to } }))
}

fn replace(session: &Session, random: &mut Random) -> Option<Deed> {
    let uid = some(session, random)?.first()?.uid;
    let (to, message) = (a_name(random), (some_flags(random), a_body(random)));
    let (word, set) = by_uid_or_number(session, "REPLACE", &[uid], random);
    let literals = vec![(format!(" ({}) ", words(&message.0)), body(message.1))];
    let (text, at_once) = (format!("{word} {set} {}", session.quoted(&to)), random.chance(40));
    Some(Deed::Order(Order { text, literals, at_once, is_silent: false, effect: Effect::Replace { uid, to, message } }))
}

/// The third mailbox is made, renamed and deleted, whoever has it open.
fn wander(session: &Session, random: &mut Random) -> Deed {
    let at = random.index(2);
    let (name, other) = (WANDERING[at].to_owned(), WANDERING[1 - at].to_owned());
    match random.range(0, 10) {
        0..4 => order(format!("CREATE {}", session.quoted(&name)), Effect::Create { name }),
        4..8 => {
            let text = format!("RENAME {} {}", session.quoted(&name), session.quoted(&other));
            order(text, Effect::Rename { from: name, to: other })
        }
        _ => order(format!("DELETE {}", session.quoted(&name)), Effect::Delete { name }),
    }
}

impl Session {
    /// Gives an order and applies its answer.
    pub fn perform(&mut self, order: &Order) -> Result<Answer, String> {
        self.do_silently(order);
        let literals: Vec<(&str, &[u8])> =
            order.literals.iter().map(|(head, octets)| (head.as_str(), &octets[..])).collect();
        let answer = match order.at_once {
            true => self.client.command_at_once(&order.text, &literals),
            false => self.client.command_with(&order.text, &literals),
        };
        let answer = answer.map_err(|error| format!("{}: {error}", order.text))?;
        if answer.verdict == Verdict::Bad {
            return Err(format!("{}: BAD {}", order.text, answer.text));
        }
        self.apply(&answer).map_err(|fault| format!("{}: {fault}", order.text))?;
        match &order.effect {
            Effect::Append { to, .. } | Effect::Copy { to, .. } | Effect::Move { to, .. } => self.forget_status(to),
            Effect::Replace { to, .. } => self.forget_status(to),
            Effect::Create { name } | Effect::Delete { name } | Effect::Rename { from: name, .. } => {
                self.forget_status(name);
                // Of its own doings it is not told, and what others did between cannot be told apart.
                self.list()?;
            }
            Effect::Flag { .. } | Effect::Expunge { .. } => {}
        }
        if let Some(open) = &mut self.open {
            open.is_gone |= answer.verdict == Verdict::No && answer.text.starts_with("[NONEXISTENT] this mailbox");
        }
        if self.manner.qresync {
            // Whoever is told of UIDs has to know them.
            self.learn()?;
        }
        Ok(answer)
    }

    /// Gives an order and loses the connection before a word of its answer has come.
    pub fn lose(&mut self, order: &Order) -> Result<(), String> {
        self.client.command_and_hang_up(&order.text).map_err(|error| error.to_string())?;
        self.reconnect()
    }

    /// Who says .SILENT knows what it did.
    fn do_silently(&mut self, order: &Order) {
        let Effect::Flag { uids, sign, flags, .. } = &order.effect else { return };
        let Some(open) = self.open.as_mut().filter(|open| order.is_silent && !open.is_read_only) else { return };
        for entry in open.held.entries.iter_mut().filter(|entry| uids.contains(&entry.uid)) {
            if let Some(held) = &mut entry.flags {
                change(held, *sign, flags);
            }
        }
    }
}
