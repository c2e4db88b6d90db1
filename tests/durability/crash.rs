//! kill -9 while eight clients write to three accounts: at a random moment, at a named point inside the
//! server (PILLARBOX_CRASH_AT, debug builds), or during the start itself. After each, `check` must be
//! clean, everything acknowledged must be there, what was under way is there wholly or not at all, and no
//! number goes back. A data directory lives through a group of rounds.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::installation::{Installation, Server, send_signal};
use crate::ledger::{Digest, Mailboxes, Shared};
use crate::picture;
use crate::random::{Random, my_turn, repetitions, seed};
use crate::writer::{Broken, Habits, Step, Writer};

const USERS: [&str; 3] = ["anna", "bert", "cleo"];
const WRITERS: usize = 8;
const ROUNDS_PER_GROUP: u64 = 10;
/// SIGABRT, which is how a server ends at its point.
const ABORTED: i32 = 6;
/// INBOX is emptied between rounds above this, or reading it would take most of the time.
const INBOX_MESSAGES: usize = 60;
/// A point that is never passed must not stop the round: the test kills by itself after this.
const ROUND_LIMIT: Duration = Duration::from_secs(20);

/// The named points of the store. One that a build does not know is never passed, which is harmless.
const POINTS: [&str; 17] = [
    "place.before_commit",
    "place.after_commit",
    "place.before_answer",
    "blob.after_write",
    "blob.after_sync",
    "blob.after_link",
    "blob.after_dirsync",
    "order.before_commit",
    "order.after_commit",
    "order.before_publish",
    "sweep.before_commit",
    "sweep.after_commit",
    "sweep.after_unlink",
    "checkpoint.before",
    "checkpoint.after",
    "create.after_mkdir",
    "move.between_accounts",
];

#[test]
fn every_acknowledged_change_survives_kill_9() {
    let _turn = my_turn();
    let mut random = Random::new(seed("crash"));
    let rounds = repetitions("PILLARBOX_CRASH_ROUNDS", 50, 12);
    let mut crashes: BTreeMap<String, u64> = BTreeMap::new();
    let mut acknowledged = 0;
    let first_point = random.index(POINTS.len());
    for group in 0..rounds.div_ceil(ROUNDS_PER_GROUP) {
        let mut family = Family::new(&mut random);
        let first = group * ROUNDS_PER_GROUP;
        for round in first..rounds.min(first + ROUNDS_PER_GROUP) {
            let ending = Ending::choose(&mut random, round, first_point);
            let label = format!("round {round} ({ending:?})");
            let (how, changes) =
                family.round(round, &ending, &mut random).unwrap_or_else(|text| panic!("{label}: {text}"));
            acknowledged += changes;
            *crashes.entry(how).or_default() += 1;
        }
    }
    eprintln!("crash: {rounds} rounds, {acknowledged} acknowledged changes, ended by {crashes:?}");
    // A server that refuses or stalls everything would otherwise pass.
    assert!(acknowledged > rounds * 20, "only {acknowledged} changes were acknowledged in {rounds} rounds");
}

/// How a round ends.
#[derive(Debug)]
enum Ending {
    /// Killed by the test after this many acknowledged changes and a moment more.
    Killed { after: u64, moment: Duration },
    /// Aborted by itself at a point; killed by the test when it does not come by.
    AtPoint { point: String, after: u64 },
}

impl Ending {
    fn choose(random: &mut Random, round: u64, first_point: usize) -> Self {
        let after = random.range(10, 350);
        if round.is_multiple_of(2) {
            return Self::Killed { after, moment: Duration::from_micros(random.range(0, 8000)) };
        }
        // Odd rounds walk through all the points, so that fifty rounds visit each at least once.
        let name = POINTS[(first_point + (round / 2) as usize) % POINTS.len()];
        let count = match name.split('.').next() {
            Some("place" | "order") => random.range(1, 60),
            Some("blob") => random.range(1, 6),
            _ => random.range(1, 3),
        };
        Self::AtPoint { point: format!("{name}:{count}"), after: after.max(150) }
    }

    /// Some points are seldom passed while clients write, but an orderly end passes them.
    fn asks_to_end(&self) -> bool {
        matches!(self, Self::AtPoint { point, .. } if point.starts_with("checkpoint") || point.starts_with("sweep"))
    }
}

/// The writers and what their accounts were promised, over the rounds of a group.
struct Family {
    installation: Installation,
    writers: Vec<(usize, Writer)>,
    inboxes: Vec<Shared>,
}

impl Family {
    fn new(random: &mut Random) -> Self {
        let habits = Habits { messages: 25, mailboxes: 5, shares_inbox: true, large_percent: 8, huge_percent: 8 };
        let writers = (0..WRITERS)
            .map(|number| (number % USERS.len(), Writer::new(format!("w{number}"), habits.clone(), random.branch())))
            .collect();
        // A machine with little disk left would make every APPEND a refusal, which is another test.
        let installation = Installation::new(&USERS, "min_free_bytes = 0");
        Self { installation, writers, inboxes: vec![Shared::default(); USERS.len()] }
    }

    /// One life of the server; returns how it ended and how many changes were acknowledged.
    fn round(&mut self, round: u64, ending: &Ending, random: &mut Random) -> Result<(String, u64), String> {
        let mut server = match ending {
            Ending::Killed { .. } => self.installation.start()?,
            Ending::AtPoint { point, .. } => match self.installation.start_to_crash_at(point) {
                Ok(server) => server,
                // The point may lie in the start itself. Then there is only the recovery to look at.
                Err(_) => return self.recover(round, random).map(|()| (format!("{point} at start"), 0)),
            },
        };
        let acknowledged = AtomicU64::new(0);
        let address = server.address.clone();
        let mut ended_by_itself = None;
        let complaints = std::thread::scope(|scope| {
            let writing: Vec<_> = self
                .writers
                .iter_mut()
                .map(|(user, writer)| {
                    let (server, acknowledged) = (&address, &acknowledged);
                    scope.spawn(move || write(server, USERS[*user], round, writer, acknowledged))
                })
                .collect();
            ended_by_itself = wait_for(ending, &mut server, &acknowledged);
            server.kill();
            writing.into_iter().filter_map(|thread| thread.join().expect("a writer").err()).collect::<Vec<_>>()
        });
        let how = match (ending, ended_by_itself) {
            (_, None) => "kill".to_owned(),
            (Ending::AtPoint { point, .. }, Some(status)) if status.signal() == Some(ABORTED) => {
                point.split(':').next().unwrap_or_default().to_owned()
            }
            (_, Some(status)) if ending.asks_to_end() && status.success() => "an orderly end".to_owned(),
            (_, Some(status)) => {
                return Err(format!("the server ended by itself: {status}\n{}", server.log_tail()));
            }
        };
        if !complaints.is_empty() {
            return Err(format!("{}\n{}", complaints.join("\n"), server.log_tail()));
        }
        if let Some(panic) = server.panicked() {
            return Err(panic);
        }
        drop(server);
        self.recover(round, random)?;
        Ok((how, acknowledged.load(Ordering::Relaxed)))
    }

    /// Checks, starts again and holds what is there against what was promised.
    fn recover(&mut self, round: u64, random: &mut Random) -> Result<(), String> {
        if random.chance(20) {
            // Killed again while it recovers: that must change nothing.
            self.installation.start_briefly(Duration::from_millis(random.range(0, 120)));
        }
        self.installation.check()?;
        let server = self.installation.start()?;
        for (user, name) in USERS.iter().enumerate() {
            let mut client = server
                .sign_in(&format!("v{round}-{user}"), name)
                .map_err(|error| format!("{name} signs in: {error}"))?;
            let picture =
                picture::read(&mut client).map_err(|text| format!("{name}: {text}\n{}", server.log_tail()))?;
            self.settle(user, &picture).map_err(|text| format!("{name}: {text}"))?;
            if self.inboxes[user].len() > INBOX_MESSAGES {
                for text in ["SELECT INBOX", "STORE 1:* +FLAGS.SILENT (\\Deleted)", "EXPUNGE"] {
                    picture::ask(&mut client, text)?;
                }
                self.inboxes[user].emptied();
            }
        }
        server.panicked().map_or(Ok(()), Err)
    }

    fn settle(&mut self, user: usize, picture: &Mailboxes) -> Result<(), String> {
        let mut inbox_doubts: Vec<Vec<Digest>> = Vec::new();
        for (_, writer) in self.writers.iter_mut().filter(|(of, _)| *of == user) {
            let own = picture::below(picture, &writer.root);
            let (ledger, _) = writer.ledger.reconcile(&own, &writer.doubts)?;
            writer.ledger = ledger;
            writer.doubts.clear();
            writer.journal.clear();
            inbox_doubts.append(&mut writer.inbox_doubts);
            for (validity, uid, body) in writer.inbox.drain(..) {
                self.inboxes[user].promised(validity, uid, body)?;
            }
        }
        let inbox = picture.get("INBOX").ok_or("there is no INBOX")?;
        self.inboxes[user] = self.inboxes[user].reconcile(inbox, &inbox_doubts)?;
        Ok(())
    }
}

/// Waits until the round should end: enough was acknowledged, or the server has ended; how, then.
fn wait_for(ending: &Ending, server: &mut Server, acknowledged: &AtomicU64) -> Option<ExitStatus> {
    let deadline = Instant::now() + ROUND_LIMIT;
    let (Ending::Killed { after, .. } | Ending::AtPoint { after, .. }) = ending;
    while acknowledged.load(Ordering::Relaxed) < *after && Instant::now() < deadline {
        if let Some(status) = server.ended_within(Duration::ZERO) {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    if let Ending::Killed { moment, .. } = ending {
        std::thread::sleep(*moment);
    }
    if ending.asks_to_end() {
        send_signal(server.process_id(), rustix::process::Signal::TERM);
        return server.ended_within(ROUND_LIMIT);
    }
    server.ended_within(Duration::ZERO)
}

/// One client, until the server is gone. An error is a broken promise.
fn write(address: &str, user: &str, round: u64, writer: &mut Writer, acknowledged: &AtomicU64) -> Result<(), String> {
    let tag = format!("{}r{round}", writer.root);
    let Ok(mut client) = crate::installation::sign_in(address, &tag, user) else {
        return Ok(()); // The server may be gone before everybody is in.
    };
    writer.reconnected();
    loop {
        match writer.step(&mut client) {
            Ok(Step::Done) => {
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Step::Refused(text)) => return Err(format!("{}: refused: {text}", writer.root)),
            Err(Broken::Lost(_)) => return Ok(()),
            Err(Broken::Wrong(text)) => return Err(format!("{}: {text}", writer.root)),
        }
    }
}
