//! The mirror: random clients, each with other extensions, do random things to one account, and each believes only
//! what it is told. In calm water they take turns, and a model of IMAP says what every order must do; in a storm they
//! all act at once. After each, every client finds out by its own means what it missed, and then holds what a plain
//! client reads afresh. PILLARBOX_MIRROR_STEPS sets how long it goes on (50,000 under CI, else 5,000).

mod deeds; // what a client may do next
mod held; // the messages of one mailbox as a client was told of them
mod model; // what must be there
mod session; // one client and its own means of coming back

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::client::{Answer, Client, Token, Verdict, numbers, set_of};
use crate::installation::{Installation, Server, sign_in};
use crate::picture::{ask, modseq_in, pair};
use crate::random::{Random, repetitions, seed};
use deeds::{Deed, Order, choose};
use model::{Effect, Expected, Fresh, Model, body, on_the_wire};
use session::{Manner, Session, found, mailbox_id};

/// Steps of one account, whose seed is the run's seed and its number: after the most so many a new one begins.
const STEPS_OF_AN_ACCOUNT: u64 = 2500;
/// Accounts at work at the same time: they wait for the disk most of the time.
const AT_ONCE: usize = 4;
/// Steps in calm water between two comparisons, and steps of each client in a storm.
const CALM: u64 = 200;
const STORM: u64 = 12;

type Outcome = Result<(), String>;

/// One account and all who use it.
struct World {
    model: Model,
    /// A plain client that only looks.
    oracle: Client,
    sessions: Vec<Session>,
    random: Random,
}

impl World {
    fn new(server: &Server, user: &str, seed: u64) -> Result<Self, String> {
        let mut random = Random::new(seed);
        let mut oracle = sign_in(&server.address, "oracle", user).map_err(|error| error.to_string())?;
        let mut model = Model::default();
        model.adopt(&Fresh::read(&mut oracle)?);
        let connect = |manner| Session::connect(&server.address, user, manner);
        let sessions = Manner::all(&mut random).into_iter().map(connect).collect::<Result<_, _>>()?;
        Ok(World { model, oracle, sessions, random })
    }

    /// So many steps; what went wrong, with the last that was said.
    fn run(&mut self, steps: u64) -> Outcome {
        let mut done = 0;
        while done < steps {
            for _ in 0..CALM {
                let who = self.random.index(self.sessions.len());
                self.step(who).map_err(|fault| self.report(who, done, &fault))?;
                done += 1;
            }
            self.compare(true).map_err(|(who, fault)| self.report(who, done, &fault))?;
            self.storm().map_err(|(who, fault)| self.report(who, done, &fault))?;
            done += STORM * self.sessions.len() as u64;
            self.compare(false).map_err(|(who, fault)| self.report(who, done, &fault))?;
        }
        Ok(())
    }

    fn report(&self, who: usize, step: u64, fault: &str) -> String {
        let session = &self.sessions[who];
        let (manner, dialogue) = (session.manner, session.client.dialogue());
        let held = session.open.as_ref().map(|open| (&open.name, open.known_until, &open.held.entries));
        format!("step {step}, client {who} {manner:?}: {fault}\nheld: {:?}\nits last dialogue:\n{dialogue}", held)
    }

    /// One deed of one client in calm water.
    fn step(&mut self, who: usize) -> Outcome {
        let deed = choose(&mut self.sessions[who], &mut self.random)?;
        match deed {
            Deed::Order(order) => {
                let expected = self.expect(who, &order)?;
                let answer = self.sessions[who].perform(&order)?;
                self.judge(&order, &expected, &answer)
            }
            Deed::Lost(order) => {
                self.expect(who, &order)?;
                self.sessions[who].lose(&order)
            }
            Deed::Leave { is_close } => {
                let open = self.sessions[who].open.as_ref();
                if let Some(open) = open.filter(|_| is_close)
                    && let Some(mailbox) = self.model.mailboxes.get(&open.id)
                {
                    let (at, within) =
                        ((open.id.clone(), open.is_read_only), mailbox.messages.keys().copied().collect());
                    self.model.apply(Some((&at.0, at.1)), &Effect::Expunge { within }, &BTreeSet::new());
                }
                self.sessions[who].leave(is_close)
            }
            Deed::Select { name, is_read_only } => {
                let is_open = self.sessions[who].select(&name, is_read_only, &mut self.random)?;
                match self.model.is_there(&name) == is_open {
                    true => Ok(()),
                    false => Err(format!("{name} could be opened: {is_open}")),
                }
            }
            Deed::Read => self.read(who),
            other => self.sessions[who].do_for_itself(other),
        }
    }

    /// What must come of an order; the model does it.
    fn expect(&mut self, who: usize, order: &Order) -> Result<Expected, String> {
        let open = self.sessions[who].open.as_ref();
        let at = open.map(|open| (open.id.clone(), open.is_read_only));
        let mut failing = BTreeSet::new();
        if let (Some((id, _)), Effect::Flag { uids, since: Some(since), .. }) = (&at, &order.effect)
            && let Some(mailbox) = self.model.mailboxes.get(id).filter(|mailbox| !mailbox.is_gone)
        {
            ask(&mut self.oracle, &format!("EXAMINE \"{}\"", on_the_wire(&mailbox.name, false)))?;
            let answer = ask(&mut self.oracle, &format!("UID FETCH {} (MODSEQ)", set_of(uids)))?;
            for items in answer.lines("FETCH").filter_map(|line| line.get(2)?.list()) {
                let uid = pair(items, "UID").and_then(Token::number).ok_or("no UID")? as u32;
                failing.extend(Some(uid).filter(|_| modseq_in(items) > *since));
            }
        }
        Ok(self.model.apply(
            at.as_ref().map(|(id, is_read_only)| (id.as_str(), *is_read_only)),
            &order.effect,
            &failing,
        ))
    }

    fn judge(&mut self, order: &Order, expected: &Expected, answer: &Answer) -> Outcome {
        let told = |name: &str, at: usize| {
            let words = answer.code(name);
            words.and_then(|words| numbers(words.get(at)?)).unwrap_or_default()
        };
        let (uids, modified) = match &order.effect {
            Effect::Append { .. } | Effect::Replace { .. } => (told("APPENDUID", 1), Vec::new()),
            Effect::Copy { .. } | Effect::Move { .. } => (told("COPYUID", 2), Vec::new()),
            Effect::Flag { .. } => (Vec::new(), told("MODIFIED", 0)),
            _ => (Vec::new(), Vec::new()),
        };
        if let (Effect::Create { name }, Verdict::Ok) = (&order.effect, answer.verdict) {
            let id = mailbox_id(answer).ok_or("CREATE told no MAILBOXID")?;
            self.model.create(id, name);
        }
        let found = Expected { verdict: answer.verdict, uids, modified };
        match found == *expected {
            true => Ok(()),
            false => Err(format!("{}: {found:?} instead of {expected:?}; {}", order.text, answer.text)),
        }
    }

    /// A message this client has not been told to be gone can be read, expunged or not.
    fn read(&mut self, who: usize) -> Outcome {
        let session = &mut self.sessions[who];
        let Some(open) = session.open.as_ref() else { return Ok(()) };
        let Some(at) = (!open.held.entries.is_empty()).then(|| self.random.index(open.held.entries.len())) else {
            return Ok(());
        };
        let (uid, id) = (open.held.entries[at].uid, open.id.clone());
        let by_number = session.manner.can_count();
        if !by_number && uid == 0 {
            return Ok(());
        }
        let answer = session.ok(&match by_number {
            true => format!("FETCH {} (UID FLAGS BODY.PEEK[])", at + 1),
            false => format!("UID FETCH {uid} (BODY.PEEK[])"),
        })?;
        let word = if session.manner.uid_only { "UIDFETCH" } else { "FETCH" };
        let bodies = answer.lines(word).filter_map(|line| Some((line.first()?.number()?, line.get(2)?.list()?)));
        let mut bodies = bodies.filter_map(|(number, items)| Some((number, items, pair(items, "BODY[]")?)));
        let Some((number, items, Token::Text(octets))) = bodies.next() else {
            // Between its commands it may just have been told that the message is gone.
            let is_told = session.manner.notify == Some(session::Watch::Selected);
            return if is_told { Ok(()) } else { Err(format!("UID {uid} cannot be read")) };
        };
        let uid = pair(items, "UID").and_then(Token::number).unwrap_or(number) as u32;
        match self.model.mailboxes.get(&id).and_then(|mailbox| mailbox.bodies.get(&uid)) {
            Some(number) if body(*number) != *octets => Err(format!("UID {uid}: not the body that was stored")),
            _ => Ok(()),
        }
    }

    /// Everybody at once, with nobody to say in which order things happened.
    fn storm(&mut self) -> Result<(), (usize, String)> {
        let seeds: Vec<Random> = self.sessions.iter().map(|_| self.random.branch()).collect();
        let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
            let sessions = self.sessions.iter_mut().zip(seeds);
            let threads: Vec<_> = sessions
                .map(|(session, mut random)| scope.spawn(move || (0..STORM).try_for_each(|_| session.act(&mut random))))
                .collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined.map(|outcome| outcome.unwrap_or_else(|_| Err("a panic".into()))).collect()
        });
        let failed = outcomes.into_iter().enumerate().find_map(|(who, outcome)| Some((who, outcome.err()?)));
        failed.map_or(Ok(()), Err)
    }

    /// Everybody finds out what happened, and holds what is there.
    fn compare(&mut self, is_calm: bool) -> Result<(), (usize, String)> {
        for who in 0..self.sessions.len() {
            self.sessions[who].resynchronise(&mut self.random).map_err(|fault| (who, fault))?;
        }
        let fresh = Fresh::read(&mut self.oracle).map_err(|fault| (0, fault))?;
        for (who, session) in self.sessions.iter_mut().enumerate() {
            session.compare(&fresh).map_err(|fault| (who, fault))?;
            let all = session.search_all().map_err(|fault| (who, fault))?;
            if let (Some(all), Some(open)) = (all, session.open.as_ref())
                && fresh.mailboxes.get(&open.id).is_some_and(|there| !all.iter().eq(there.messages.keys()))
            {
                return Err((who, format!("UID SEARCH ALL finds {all:?}")));
            }
        }
        if is_calm {
            self.model.compare(&fresh).map_err(|fault| (0, fault))?;
        }
        self.model.adopt(&fresh);
        Ok(())
    }
}

impl Session {
    /// What needs no model.
    fn do_for_itself(&mut self, deed: Deed) -> Outcome {
        match deed {
            Deed::CatchUp => self.catch_up(),
            Deed::Look if self.open.is_none() => Ok(()),
            Deed::Look if self.manner.can_count() => self.ok("FETCH 1:* (FLAGS UID)").map(|_| ()),
            Deed::Look => self.ok("UID FETCH 1:* (FLAGS)").map(|_| ()),
            Deed::Idle => {
                let answer = self.client.idle().map_err(|error| error.to_string())?;
                self.apply(&answer)?;
                // Whoever is told of UIDs has to know them.
                if self.manner.qresync { self.learn() } else { Ok(()) }
            }
            Deed::Reconnect { has_manners } => self.drop_and_reconnect(has_manners),
            Deed::Leave { is_close } => self.leave(is_close),
            Deed::Order(_) | Deed::Lost(_) | Deed::Select { .. } | Deed::Read => Ok(()),
        }
    }

    /// One deed in a storm.
    fn act(&mut self, random: &mut Random) -> Outcome {
        match choose(self, random)? {
            Deed::Order(order) => self.perform(&order).map(|_| ()),
            Deed::Lost(order) => self.lose(&order),
            Deed::Select { name, is_read_only } => self.select(&name, is_read_only, random).map(|_| ()),
            other => self.do_for_itself(other),
        }
    }

    /// The UIDs that a search finds, where a mailbox is open.
    fn search_all(&mut self) -> Result<Option<Vec<u32>>, String> {
        match self.open.as_ref().is_some_and(|open| !open.is_gone) {
            true => Ok(Some(found(&self.ok("UID SEARCH ALL")?)?)),
            false => Ok(None),
        }
    }
}

#[test]
fn every_client_sees_what_is_there() {
    let seed = seed("mirror");
    let steps = repetitions("PILLARBOX_MIRROR_STEPS", 50_000, 5_000);
    let accounts = steps.div_ceil(STEPS_OF_AN_ACCOUNT);
    let users: Vec<String> = (0..accounts).map(|n| format!("mirror{n}")).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let mut installation = Installation::new(&names, "min_free_bytes = 0\n[protocol]\nuid_only = true");
    let mut server = installation.start().unwrap_or_else(|text| panic!("{text}"));
    let waiting: Mutex<Vec<(usize, &String)>> = Mutex::new(users.iter().enumerate().rev().collect());
    let fault = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(users.len()) {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().map(|mut waiting| waiting.pop()).unwrap_or_default();
                    let Some((n, user)) = next else { return };
                    // Started with this seed, this account is the first one.
                    let seed = seed + n as u64;
                    let share = steps.min(STEPS_OF_AN_ACCOUNT);
                    let outcome = World::new(&server, user, seed).and_then(|mut world| world.run(share));
                    if let Err(text) = outcome {
                        let text = format!("PILLARBOX_SEED={seed} PILLARBOX_MIRROR_STEPS={share}: {text}");
                        fault.lock().map(|mut fault| fault.get_or_insert(text).len()).unwrap_or_default();
                        waiting.lock().map(|mut waiting| waiting.clear()).unwrap_or_default();
                    }
                }
            });
        }
    });
    if let Some(text) = fault.lock().ok().and_then(|mut fault| fault.take()) {
        installation.keep_if_asked();
        panic!("{text}\n{}", server.log_tail());
    }
    assert_eq!(server.panicked(), None);
    server.kill();
    installation.check().unwrap_or_else(|findings| panic!("{findings}"));
}
