//! The mirror: random clients do random things to one account, each believing only what it is told. All
//! along, and in the end, every client's picture, a small model of IMAP, and the server's own store agree.
//! PILLARBOX_MIRROR_STEPS sets how long it goes on (10,000 under CI, else 3,000).

use std::collections::{BTreeMap, BTreeSet};

use crate::client::{Answer, Client, Token, Verdict, numbers, set_of};
use crate::installation::Installation;
use crate::picture::pair;
use crate::random::{Random, message, repetitions, seed};

const CLIENTS: usize = 3;
const MAILBOXES: [&str; 3] = ["INBOX", "Archive", "side"];
const FLAGS: [&str; 8] = ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$Forwarded", "$label1", "blue"];

/// A message as the model knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Modelled {
    flags: BTreeSet<String>,
    body: usize,
}

#[derive(Default)]
struct Mailbox {
    messages: BTreeMap<u32, Modelled>,
    uid_next: u32,
}

/// What must be true, whoever looks.
struct Model {
    mailboxes: Vec<Mailbox>,
    bodies: Vec<Vec<u8>>,
}

/// One message number as a client has it: what it was told, nothing more.
#[derive(Clone, Debug, Default)]
struct Told {
    uid: u32,
    flags: Option<BTreeSet<String>>,
    /// What the client was not told and the test knows: the UID behind this number, and its body.
    real: u32,
    body: usize,
}

struct Mirror {
    client: Client,
    selected: Option<usize>,
    is_read_only: bool,
    told: Vec<Told>,
    /// The highest UID behind any number this client was told of since it selected the mailbox.
    highest: u32,
}

type Outcome = Result<(), String>;

impl Model {
    fn place(&mut self, mailbox: usize, flags: BTreeSet<String>, body: usize) -> u32 {
        let mailbox = &mut self.mailboxes[mailbox];
        let uid = mailbox.uid_next;
        mailbox.uid_next += 1;
        mailbox.messages.insert(uid, Modelled { flags, body });
        uid
    }
}

fn flags_of(items: &[Token]) -> Option<BTreeSet<String>> {
    let list = pair(items, "FLAGS")?.list()?;
    Some(list.iter().filter_map(Token::word).filter(|flag| *flag != "\\Recent").map(str::to_owned).collect())
}

impl Mirror {
    /// Applies an answer, line by line, in the order it came.
    fn apply(&mut self, answer: &Answer, model: &Model) -> Outcome {
        for line in &answer.untagged {
            let number = line.first().and_then(Token::number);
            let word = line.get(usize::from(number.is_some())).and_then(Token::word).unwrap_or("");
            match (number, word) {
                (Some(n), "EXPUNGE") => {
                    let at = usize::try_from(n).map_err(|_| "a number")?;
                    if at == 0 || at > self.told.len() {
                        return Err(format!("EXPUNGE {n}, but only {} messages were told", self.told.len()));
                    }
                    self.told.remove(at - 1);
                }
                (Some(n), "EXISTS") => {
                    let count = n as usize;
                    if count < self.told.len() {
                        return Err(format!(
                            "EXISTS {n} after {} messages: they may only go by EXPUNGE",
                            self.told.len()
                        ));
                    }
                    self.learn_of(count, model)?;
                }
                (Some(n), "FETCH") => {
                    let items = line.get(2).and_then(Token::list).ok_or("FETCH without a list")?;
                    let count = self.told.len();
                    let told = self.told.get_mut(n as usize - 1).ok_or(format!("FETCH {n} of {count}"))?;
                    if let Some(uid) = pair(items, "UID").and_then(Token::number) {
                        let uid = uid as u32;
                        if told.uid != 0 && told.uid != uid {
                            return Err(format!("number {n} was UID {} and is now {uid}", told.uid));
                        }
                        if uid != told.real {
                            return Err(format!("number {n} is UID {}, but UID {uid} was told", told.real));
                        }
                        told.uid = uid;
                    }
                    if let Some(flags) = flags_of(items) {
                        told.flags = Some(flags);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// An EXISTS tells of everything that is there now: the new numbers are the messages above those known.
    fn learn_of(&mut self, count: usize, model: &Model) -> Outcome {
        let Some(selected) = self.selected else { return Err("EXISTS without a mailbox".into()) };
        let new = model.mailboxes[selected].messages.range(self.highest + 1..);
        self.told.extend(new.map(|(uid, real)| Told { real: *uid, body: real.body, ..Told::default() }));
        self.highest = self.told.last().map_or(self.highest, |told| told.real.max(self.highest));
        if self.told.len() == count { Ok(()) } else { Err(format!("EXISTS {count}, there are {}", self.told.len())) }
    }

    fn order(&mut self, text: &str, model: &Model) -> Result<Answer, String> {
        let answer = self.client.command(text).map_err(|error| format!("{text}: {error}"))?;
        self.apply(&answer, model).map_err(|fault| format!("{text}: {fault}"))?;
        Ok(answer)
    }

    fn ok(&mut self, text: &str, model: &Model) -> Result<Answer, String> {
        let answer = self.order(text, model)?;
        if answer.verdict == Verdict::Ok { Ok(answer) } else { Err(format!("{text}: {answer:?}")) }
    }

    /// Everything this client was told, after it was told everything, is what is there.
    fn compare(&mut self, model: &Model) -> Outcome {
        let Some(selected) = self.selected else { return Ok(()) };
        self.ok("NOOP", model)?;
        // What it holds by now, before it looks again.
        let held = self.told.clone();
        self.ok("UID FETCH 1:* (FLAGS)", model)?;
        let messages = &model.mailboxes[selected].messages;
        let uids: Vec<u32> = self.told.iter().map(|told| told.uid).collect();
        if uids != messages.keys().copied().collect::<Vec<_>>() {
            return Err(format!("{}: told {uids:?}, there are {:?}", MAILBOXES[selected], messages.keys()));
        }
        for (told, held) in self.told.iter().zip(&held) {
            let real = &messages[&told.uid].flags;
            for flags in [&told.flags, &held.flags].into_iter().flatten() {
                if flags != real {
                    return Err(format!("UID {}: told {flags:?}, it has {real:?}", told.uid));
                }
            }
        }
        Ok(())
    }

    fn select(&mut self, which: usize, is_read_only: bool, model: &Model) -> Outcome {
        self.told.clear();
        self.highest = 0;
        self.selected = Some(which);
        self.is_read_only = is_read_only;
        let word = if is_read_only { "EXAMINE" } else { "SELECT" };
        let answer = self.ok(&format!("{word} {}", MAILBOXES[which]), model)?;
        let next = answer.code("UIDNEXT").and_then(|words| words.first()?.parse::<u32>().ok());
        if next != Some(model.mailboxes[which].uid_next) {
            return Err(format!("UIDNEXT is {next:?}, not {}", model.mailboxes[which].uid_next));
        }
        self.ok("FETCH 1:* (UID FLAGS)", model)?;
        if self.told.len() != model.mailboxes[which].messages.len() {
            return Err(format!("EXISTS {} of {}", self.told.len(), model.mailboxes[which].messages.len()));
        }
        Ok(())
    }

    /// Some UIDs this client knows of.
    fn some_uids(&self, random: &mut Random) -> Vec<u32> {
        let known: Vec<u32> = self.told.iter().map(|told| told.uid).filter(|uid| *uid != 0).collect();
        if known.is_empty() {
            return known;
        }
        let mut some = random.some_of(&known);
        // Now and then many at once; mostly a handful, as people do.
        some.truncate(if random.chance(10) { 400 } else { 12 });
        some
    }
}

/// One random deed of one client, and what it does to the model.
fn step(mirror: &mut Mirror, model: &mut Model, random: &mut Random) -> Outcome {
    let Some(selected) = mirror.selected else {
        return mirror.select(random.index(MAILBOXES.len()), random.chance(15), model);
    };
    if model.mailboxes[selected].messages.len() > 600 && !mirror.is_read_only {
        return thin_out(mirror, model, selected);
    }
    match random.range(0, 99) {
        0..20 => append(mirror, model, random),
        20..45 => store(mirror, model, random, selected),
        45..57 => expunge(mirror, model, random, selected),
        57..67 => copy_or_move(mirror, model, random, selected),
        67..74 => read_what_is_held(mirror, model, random),
        74..82 => mirror.ok("NOOP", model).map(|_| ()),
        82..86 => mirror.ok("FETCH 1:* (FLAGS UID)", model).map(|_| ()),
        86..91 => idle(mirror, model),
        91..94 => mirror.select(random.index(MAILBOXES.len()), random.chance(15), model),
        94..96 => close(mirror, model, selected, random.chance(50)),
        96 => rename_inbox_apart(mirror, model, random),
        _ => mirror.compare(model),
    }
}

fn append(mirror: &mut Mirror, model: &mut Model, random: &mut Random) -> Outcome {
    let target = random.index(MAILBOXES.len());
    let count = model.bodies.len();
    // Now and then the same content again, and now and then one that is a file.
    let body = if count > 1 && random.chance(20) { 1 + random.index(count - 1) } else { count };
    if body == count {
        let size = if random.chance(2) { 140 * 1024 } else { random.range(200, 3000) as usize };
        model.bodies.push(message(&format!("m{count}"), size, random));
    }
    let flags: BTreeSet<String> = some_flags(random);
    let listed: Vec<&str> = flags.iter().map(String::as_str).collect();
    let uid = model.place(target, flags.clone(), body);
    let head = format!("APPEND {} ({}) ", MAILBOXES[target], listed.join(" "));
    let answer = mirror.client.command_with(&head, &[("", &model.bodies[body])]).map_err(|e| e.to_string())?;
    mirror.apply(&answer, model)?;
    match answer.code("APPENDUID") {
        Some(words) if words.get(1).map(String::as_str) == Some(uid.to_string().as_str()) => Ok(()),
        other => Err(format!("APPENDUID {other:?}, not {uid}")),
    }
}

/// Copies breed; a mailbox that has grown large loses its older half.
fn thin_out(mirror: &mut Mirror, model: &mut Model, selected: usize) -> Outcome {
    mirror.ok("NOOP", model)?;
    let half = mirror.told.len() / 2;
    let limit = mirror.told[half].real;
    for real in model.mailboxes[selected].messages.range_mut(..=limit).map(|(_, real)| real) {
        real.flags.insert("\\Deleted".into());
    }
    mirror.ok(&format!("UID STORE 1:{limit} +FLAGS (\\Deleted)"), model)?;
    model.mailboxes[selected].messages.retain(|_, real| !real.flags.contains("\\Deleted"));
    mirror.ok("EXPUNGE", model).map(|_| ())
}

fn some_flags(random: &mut Random) -> BTreeSet<String> {
    (0..random.range(0, 3)).filter_map(|_| random.pick(&FLAGS).map(|flag| (*flag).to_owned())).collect()
}

fn store(mirror: &mut Mirror, model: &mut Model, random: &mut Random, selected: usize) -> Outcome {
    let uids = mirror.some_uids(random);
    if uids.is_empty() {
        return Ok(());
    }
    let by_number = random.chance(40);
    let named = some_flags(random);
    let sign = ["+", "-", ""][random.index(3)];
    let silent = if random.chance(30) { ".SILENT" } else { "" };
    let listed: Vec<&str> = named.iter().map(String::as_str).collect();
    let set = if by_number {
        let at = |uid: &u32| mirror.told.iter().position(|told| told.uid == *uid).map(|at| at as u32 + 1);
        set_of(&uids.iter().filter_map(at).collect::<Vec<_>>())
    } else {
        set_of(&uids)
    };
    let word = if by_number { "STORE" } else { "UID STORE" };
    let text = format!("{word} {set} {sign}FLAGS{silent} ({})", listed.join(" "));
    if mirror.is_read_only {
        let answer = mirror.order(&text, model)?;
        return if answer.verdict == Verdict::No {
            Ok(())
        } else {
            Err(format!("{text} in an examined mailbox: {answer:?}"))
        };
    }
    for uid in &uids {
        if let Some(real) = model.mailboxes[selected].messages.get_mut(uid) {
            match sign {
                "+" => real.flags.extend(named.iter().cloned()),
                "-" => real.flags.retain(|flag| !named.contains(flag)),
                _ => real.flags = named.clone(),
            }
        }
    }
    if !silent.is_empty() {
        // Who says .SILENT knows what it did.
        for told in mirror.told.iter_mut().filter(|told| uids.contains(&told.uid)) {
            match (&mut told.flags, sign) {
                (Some(flags), "+") => flags.extend(named.iter().cloned()),
                (Some(flags), "-") => flags.retain(|flag| !named.contains(flag)),
                (flags, _) if sign.is_empty() => *flags = Some(named.clone()),
                (None, _) | (Some(_), _) => {}
            }
        }
    }
    mirror.ok(&text, model).map(|_| ())
}

fn expunge(mirror: &mut Mirror, model: &mut Model, random: &mut Random, selected: usize) -> Outcome {
    let known: BTreeSet<u32> = mirror.told.iter().map(|told| told.real).collect();
    let (text, within) = if random.chance(50) {
        let uids = mirror.some_uids(random);
        if uids.is_empty() {
            return Ok(());
        }
        (format!("UID EXPUNGE {}", set_of(&uids)), uids.into_iter().collect())
    } else {
        ("EXPUNGE".to_owned(), known.clone())
    };
    if mirror.is_read_only {
        let answer = mirror.order(&text, model)?;
        return if answer.verdict == Verdict::No {
            Ok(())
        } else {
            Err(format!("{text} in an examined mailbox: {answer:?}"))
        };
    }
    // A message that came and was not told yet has no number here, and is not expunged by this client.
    let doomed =
        |uid: &u32, real: &Modelled| real.flags.contains("\\Deleted") && within.contains(uid) && known.contains(uid);
    model.mailboxes[selected].messages.retain(|uid, real| !doomed(uid, real));
    mirror.ok(&text, model).map(|_| ())
}

fn copy_or_move(mirror: &mut Mirror, model: &mut Model, random: &mut Random, selected: usize) -> Outcome {
    let uids = mirror.some_uids(random);
    let target = random.index(MAILBOXES.len());
    let is_move = random.chance(50);
    if uids.is_empty() || (is_move && mirror.is_read_only) {
        return Ok(());
    }
    let word = if is_move { "MOVE" } else { "COPY" };
    let mut expected = Vec::new();
    for uid in uids.iter().collect::<BTreeSet<_>>() {
        let Some(real) = model.mailboxes[selected].messages.get(uid).cloned() else { continue };
        if is_move {
            model.mailboxes[selected].messages.remove(uid);
        }
        expected.push(model.place(target, real.flags, real.body));
    }
    let text = format!("UID {word} {} {}", set_of(&uids), MAILBOXES[target]);
    let answer = mirror.ok(&text, model)?;
    let told = answer.code("COPYUID").and_then(|words| numbers(words.get(2)?)).unwrap_or_default();
    if told == expected { Ok(()) } else { Err(format!("{text}: COPYUID {told:?}, not {expected:?}")) }
}

/// A message this client has not been told to be gone can be read, expunged or not.
fn read_what_is_held(mirror: &mut Mirror, model: &Model, random: &mut Random) -> Outcome {
    let Some(at) = (!mirror.told.is_empty()).then(|| random.index(mirror.told.len())) else { return Ok(()) };
    let body = mirror.told[at].body;
    let answer = mirror.ok(&format!("FETCH {} (BODY.PEEK[])", at + 1), model)?;
    let line = answer.lines("FETCH").next().ok_or("FETCH told nothing")?;
    match line.get(2).and_then(Token::list).and_then(|items| pair(items, "BODY[]")) {
        Some(Token::Text(octets)) if *octets == model.bodies[body] => Ok(()),
        other => Err(format!("number {}: not the body that was stored, but {:?}", at + 1, other.is_some())),
    }
}

fn idle(mirror: &mut Mirror, model: &Model) -> Outcome {
    let answer = mirror.client.idle().map_err(|error| error.to_string())?;
    mirror.apply(&answer, model)
}

fn close(mirror: &mut Mirror, model: &mut Model, selected: usize, is_close: bool) -> Outcome {
    if is_close {
        if !mirror.is_read_only {
            model.mailboxes[selected].messages.retain(|_, real| !real.flags.contains("\\Deleted"));
        }
        mirror.ok("CLOSE", model)?;
    } else {
        mirror.ok("UNSELECT", model)?;
    }
    mirror.selected = None;
    mirror.told.clear();
    Ok(())
}

/// A mailbox may change its name and back while others have it open: nothing else changes.
fn rename_inbox_apart(mirror: &mut Mirror, model: &Model, _random: &mut Random) -> Outcome {
    mirror.ok("RENAME side elsewhere", model)?;
    mirror.ok("RENAME elsewhere side", model).map(|_| ())
}

#[test]
fn every_client_sees_what_is_there() {
    let mut random = Random::new(seed("mirror"));
    let steps = repetitions("PILLARBOX_MIRROR_STEPS", 10_000, 3_000);
    let mut installation = Installation::new(&["anna"], "min_free_bytes = 0");
    let mut server = installation.start().unwrap_or_else(|text| panic!("{text}"));
    let mut model = Model { mailboxes: Vec::new(), bodies: vec![Vec::new()] };
    model.mailboxes.extend(MAILBOXES.iter().map(|_| Mailbox { uid_next: 1, ..Mailbox::default() }));
    let mut mirrors: Vec<Mirror> = (0..CLIENTS)
        .map(|n| {
            let client = server.sign_in(&format!("c{n}"), "anna").expect("sign in");
            Mirror { client, selected: None, is_read_only: false, told: Vec::new(), highest: 0 }
        })
        .collect();
    mirrors[0].ok("CREATE side", &model).expect("created");
    let mut history: Vec<String> = Vec::new();
    for n in 0..steps {
        let who = random.index(CLIENTS);
        if let Err(fault) = step(&mut mirrors[who], &mut model, &mut random) {
            installation.keep_if_asked();
            panic!("step {n}, client {who}: {fault}\n{}\n{}", history.join("\n"), server.log_tail());
        }
        history.push(format!("{n} client {who} {}", mirrors[who].client.last_tag()));
        if history.len() > 10 {
            history.remove(0);
        }
        if n % 500 == 499 {
            for (who, mirror) in mirrors.iter_mut().enumerate() {
                mirror.compare(&model).unwrap_or_else(|fault| panic!("step {n}, client {who} compares: {fault}"));
            }
        }
    }
    for which in 0..MAILBOXES.len() {
        for mirror in &mut mirrors {
            mirror.select(which, true, &model).and_then(|()| mirror.compare(&model)).unwrap_or_else(|f| panic!("{f}"));
        }
    }
    assert_eq!(server.panicked(), None);
    server.kill();
    installation.check().unwrap_or_else(|findings| panic!("{findings}"));
}
