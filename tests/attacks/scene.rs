//! A server, somebody who works on it, and what an attack did to both.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::client::{Client, PATIENCE};
use crate::server::Server;

pub const PASSWORD: &str = "correct-horse";
/// How long 99 of 100 commands of a bystander may take at most.
const BYSTANDER: Duration = Duration::from_millis(50);
/// A machine that is busy with other things makes a bystander wait without any attack; then the bound is so many times that.
const TIMES_QUIET: u32 = 5;
const KIB: u64 = 1024;

/// The place of an attack.
pub struct Scene {
    pub server: Server,
    _turn: MutexGuard<'static, ()>,
}

/// What was measured.
pub struct Outcome<T> {
    pub value: T,
    /// How much more memory the server had at most while it lasted, in octets.
    pub growth: u64,
    pub took: Duration,
}

impl Scene {
    /// A server with the users `ada`, who works, and `eve`; `settings` as the server takes them.
    pub fn set(settings: &[&str]) -> Scene {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let settings: Vec<String> = settings.iter().map(|line| (*line).to_string()).collect();
        let server = Server::start_with(&settings).unwrap_or_else(|error| panic!("{error}"));
        for user in ["ada", "eve"] {
            server.add_user(user, PASSWORD).unwrap_or_else(|error| panic!("{error}"));
        }
        let scene = Scene { server, _turn: turn };
        let mut ada = scene.sign_in("ada");
        for n in 0..20 {
            let message = format!("Subject: {n}\r\nMessage-ID: <{n}@x.test>\r\n\r\nwork\r\n");
            done(&mut ada, "APPEND INBOX", Some(message.as_bytes()));
        }
        scene
    }

    pub fn connect(&self) -> Client {
        let mut client = Client::connect(self.server.address()).expect("connected");
        let greeting = client.line(PATIENCE).expect("greeted").expect("open");
        assert!(greeting.starts_with(b"* OK"), "{}", String::from_utf8_lossy(&greeting));
        client
    }

    pub fn sign_in(&self, user: &str) -> Client {
        let mut client = self.connect();
        done(&mut client, &format!("LOGIN {user} {PASSWORD}"), None);
        client
    }

    /// The memory of the server that is its own and in use, in octets: what it maps of files is not counted.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux tells it");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib * KIB
    }

    /// Runs an attack while a bystander works, and holds him to his bound. `name` is what is printed.
    pub fn under<T>(&self, name: &str, attack: impl FnOnce(&Scene) -> T) -> Outcome<T> {
        let mut ada = self.sign_in("ada");
        done(&mut ada, "SELECT INBOX", None);
        let quiet = percentile(&mut (0..300).map(|n| work(&mut ada, n)).collect::<Vec<_>>(), 99);
        let before = self.memory();
        let is_over = AtomicBool::new(false);
        let started = Instant::now();
        let (value, mut waits, most) = std::thread::scope(|threads| {
            let (is_over, scene) = (&is_over, self);
            let bystander = threads.spawn(move || {
                let (mut waits, mut most) = (Vec::new(), 0);
                // Some work is done after the attack too: what it leaves behind may be what is slow.
                let mut left = 50;
                while left > 0 {
                    left -= u32::from(is_over.load(Ordering::Relaxed));
                    waits.push(work(&mut ada, waits.len()));
                    most = most.max(scene.memory());
                    std::thread::sleep(Duration::from_millis(1));
                }
                (waits, most)
            });
            let over = OverAtDrop(is_over);
            let value = attack(scene);
            drop(over);
            let (waits, most) = bystander.join().expect("the bystander is served");
            (value, waits, most)
        });
        let took = started.elapsed();
        let (half, most_wait) = (percentile(&mut waits, 50), percentile(&mut waits, 99));
        let growth = most.saturating_sub(before);
        eprintln!(
            "{name}: {took:.1?}; bystander p50 {half:.1?} p99 {most_wait:.1?} of {} (quiet {quiet:.1?}); memory +{} KiB",
            waits.len(),
            growth / KIB
        );
        let allowed = BYSTANDER.max(quiet * TIMES_QUIET);
        assert!(most_wait <= allowed, "{name}: a bystander waited {most_wait:?}, {allowed:?} are allowed");
        Outcome { value, growth, took }
    }
}

impl<T> Outcome<T> {
    pub fn grew_at_most(&self, octets: u64) {
        assert!(self.growth <= octets, "memory grew by {} KiB, {} are allowed", self.growth / KIB, octets / KIB);
    }
}

/// Says that something is over when it is dropped, also by a panic: threads that wait for it must come to their end.
pub struct OverAtDrop<'a>(pub &'a AtomicBool);

impl Drop for OverAtDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a bystander does, and how long he waited.
fn work(ada: &mut Client, n: usize) -> Duration {
    let started = Instant::now();
    match n % 4 {
        0 => done(ada, "NOOP", None),
        1 => done(ada, "UID FETCH 1:* (FLAGS)", None),
        2 => done(ada, "STATUS INBOX (MESSAGES UNSEEN)", None),
        _ => done(ada, "UID FETCH 5 (BODY.PEEK[])", None),
    }
    started.elapsed()
}

fn percentile(waits: &mut [Duration], percent: usize) -> Duration {
    waits.sort_unstable();
    waits[(waits.len() * percent / 100).min(waits.len() - 1)]
}

/// Sends a command that must end with OK.
pub fn done(client: &mut Client, command: &str, literal: Option<&[u8]>) {
    let told = client.order("t", command, literal).expect("answered");
    let last = told.last().map(|line| String::from_utf8_lossy(line).into_owned()).unwrap_or_default();
    assert!(last.starts_with("t OK"), "{command}: {last}");
}

/// Sends a command and gives its tagged line.
pub fn answer(client: &mut Client, command: &str) -> String {
    let told = client.order("t", command, None).expect("answered");
    told.last().map(|line| String::from_utf8_lossy(line).into_owned()).unwrap_or_default()
}

/// The lines up to the end of the connection, or until nothing comes any more.
pub fn rest(client: &mut Client) -> Vec<String> {
    let mut lines = Vec::new();
    while let Ok(Some(line)) = client.line(Duration::from_secs(2)) {
        lines.push(String::from_utf8_lossy(&line).into_owned());
    }
    lines
}
