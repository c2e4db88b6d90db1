//! kill -9 while mail comes in: whatever a recipient was answered 250 for is in his mailbox, whole and once; what was
//! not answered is there wholly or not at all. And an answer for one recipient does not wait for another's.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::client::Token;
use crate::installation::{Installation, Server};
use crate::picture;
use crate::random::{Random, message, my_turn, repetitions, seed};

const USERS: [&str; 3] = ["anna", "bert", "cleo"];
const SENDERS: usize = 4;
/// Where the server may end by itself; each is passed by delivery.
const POINTS: [&str; 8] = [
    "place.before_commit",
    "order.before_commit",
    "order.after_commit",
    "order.before_publish",
    "place.before_answer",
    "blob.after_sync",
    "blob.after_link",
    "blob.after_dirsync",
];
/// A point that is never passed must not stop the round.
const ROUND_LIMIT: Duration = Duration::from_secs(20);

fn installation() -> Installation {
    let socket = "min_free_bytes = 0\n\n[lmtp]\nsocket = \"lmtp.sock\"";
    Installation::new(&USERS, socket)
}

/// A client past LHLO.
struct Lmtp {
    stream: BufReader<UnixStream>,
}

impl Lmtp {
    fn connect(path: &Path) -> io::Result<Lmtp> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut lmtp = Lmtp { stream: BufReader::new(stream) };
        lmtp.reply()?;
        lmtp.ask("LHLO mail.example.net")?;
        Ok(lmtp)
    }

    /// The last line of the next reply. The end of the connection is an error.
    fn reply(&mut self) -> io::Result<String> {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            if !line.ends_with("\r\n") {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.as_bytes().get(3) == Some(&b' ') {
                return Ok(line.trim_end().to_owned());
            }
        }
    }

    fn ask(&mut self, command: &str) -> io::Result<String> {
        self.stream.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        self.reply()
    }

    /// Sends a message to its final dot. Its lines must not begin with dots.
    fn send(&mut self, recipients: &[&str], text: &[u8]) -> io::Result<()> {
        self.ask("MAIL FROM:<writer@example.org>")?;
        for recipient in recipients {
            self.ask(&format!("RCPT TO:<{recipient}>"))?;
        }
        self.ask("DATA")?;
        self.stream.get_mut().write_all(text)?;
        self.stream.get_mut().write_all(b".\r\n")
    }
}

/// What was sent, by name, and to whom each was acknowledged.
#[derive(Default)]
struct Ledger {
    sent: BTreeMap<String, Vec<u8>>,
    acknowledged: BTreeMap<String, Vec<&'static str>>,
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let _turn = my_turn();
    let mut random = Random::new(seed("delivery"));
    let rounds = repetitions("PILLARBOX_CRASH_ROUNDS", 32, 10);
    let mut installation = installation();
    let ledger = Mutex::new(Ledger::default());
    let first_point = random.index(POINTS.len());
    let mut by_itself = 0;
    for round in 0..rounds {
        let point = POINTS[(first_point + round as usize / 2) % POINTS.len()];
        let is_at_point = !round.is_multiple_of(2);
        let server = match is_at_point {
            true => installation.start_to_crash_at(&format!("{point}:{}", random.range(1, 12))),
            false => installation.start(),
        };
        // The point may lie in the start itself: then there is only the recovery to look at.
        if let Ok(mut server) = server {
            let acknowledged = AtomicU64::new(0);
            let (after, moment) = (random.range(3, 60), Duration::from_micros(random.range(0, 8000)));
            std::thread::scope(|scope| {
                for sender in 0..SENDERS {
                    let (mut random, ledger, acknowledged) = (random.branch(), &ledger, &acknowledged);
                    let socket = installation.home.join("lmtp.sock");
                    scope.spawn(move || deliver(&socket, round, sender, &mut random, ledger, acknowledged));
                }
                by_itself += u64::from(ends(&mut server, &acknowledged, after, moment));
                server.kill();
            });
            assert_eq!(server.panicked(), None, "round {round}");
        }
        installation.check().unwrap_or_else(|text| panic!("round {round}: {text}"));
        let server = installation.start().unwrap_or_else(|text| panic!("round {round}: {text}"));
        let complaints = compare(&server, &ledger.lock().expect("no panic"));
        if !complaints.is_empty() {
            installation.keep_if_asked();
            panic!("round {round} ({point}): {}", complaints.join("\n"));
        }
    }
    let answers: usize = ledger.lock().expect("no panic").acknowledged.values().map(Vec::len).sum();
    eprintln!("delivery: {rounds} rounds, {answers} answers, {by_itself} ends at a point");
    // A server that refuses or stalls everything would otherwise pass.
    assert!(answers as u64 > rounds * 3, "only {answers} answers in {rounds} rounds");
    assert!(by_itself > 0 || rounds < 4 || !cfg!(debug_assertions), "no point was ever passed");
}

/// Waits for the end of a round; true when the server ended by itself.
fn ends(server: &mut Server, acknowledged: &AtomicU64, after: u64, moment: Duration) -> bool {
    let deadline = Instant::now() + ROUND_LIMIT;
    while acknowledged.load(Ordering::Relaxed) < after && Instant::now() < deadline {
        if server.ended_within(Duration::ZERO).is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(moment);
    server.ended_within(Duration::ZERO).is_some()
}

/// One mail server, until ours is gone. It never sends a message twice.
fn deliver(
    socket: &Path,
    round: u64,
    sender: usize,
    random: &mut Random,
    ledger: &Mutex<Ledger>,
    acknowledged: &AtomicU64,
) {
    let Ok(mut lmtp) = Lmtp::connect(socket) else { return };
    for number in 0.. {
        let name = format!("r{round}s{sender}n{number}");
        let size = if random.chance(30) { random.range(130_000, 400_000) } else { random.range(300, 20_000) };
        let text = message(&name, size as usize, random);
        let recipients = random.some_of(&USERS);
        ledger.lock().expect("no panic").sent.insert(name.clone(), text.clone());
        if lmtp.send(&recipients, &text).is_err() {
            return;
        }
        for recipient in recipients {
            let Ok(reply) = lmtp.reply() else { return };
            assert!(reply.starts_with("250 2.0.0"), "{reply}");
            ledger.lock().expect("no panic").acknowledged.entry(name.clone()).or_default().push(recipient);
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Every message of a user's INBOX without the lines that delivery put on top, by name.
fn inbox(server: &Server, user: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut client = server.sign_in("v", user).map_err(|error| format!("{user}: {error}"))?;
    picture::ask(&mut client, "EXAMINE INBOX")?;
    let told = picture::ask(&mut client, "UID FETCH 1:* (BODY.PEEK[])")?;
    let mut found = Vec::new();
    for line in told.lines("FETCH") {
        let items = line.get(2).and_then(Token::list).ok_or("FETCH without its list")?;
        let Some(Token::Text(body)) = picture::pair(items, "BODY[]") else { return Err("no body".into()) };
        let top = body.windows(14).position(|text| text == b"From: Writer <").ok_or("no message of ours")?;
        let text = body[top..].to_vec();
        let name = String::from_utf8_lossy(&text);
        let name = name.split("Subject: durable ").nth(1).and_then(|rest| rest.split("\r\n").next());
        found.push((name.ok_or("no name")?.to_owned(), text));
    }
    Ok(found)
}

fn compare(server: &Server, ledger: &Ledger) -> Vec<String> {
    let mut complaints = Vec::new();
    for user in USERS {
        let found = match inbox(server, user) {
            Ok(found) => found,
            Err(text) => {
                complaints.push(text);
                continue;
            }
        };
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, text) in &found {
            *counts.entry(name).or_default() += 1;
            if ledger.sent.get(name) != Some(text) {
                complaints.push(format!("{user}: {name} is not what was sent"));
            }
        }
        complaints.extend(counts.iter().filter(|(_, n)| **n > 1).map(|(name, n)| format!("{user}: {name} {n} times")));
        for (name, users) in &ledger.acknowledged {
            if users.contains(&user) && !counts.contains_key(name.as_str()) {
                complaints.push(format!("{user}: {name} was acknowledged and is not there"));
            }
        }
    }
    complaints
}

#[test]
fn one_recipient_does_not_wait_for_another() {
    let _turn = my_turn();
    let installation = installation();
    let mut server = installation.start().unwrap_or_else(|text| panic!("{text}"));
    let socket = installation.home.join("lmtp.sock");
    let mut random = Random::new(1);
    let [first, second, third, fourth] =
        ["first", "second", "third", "fourth"].map(|name| message(name, 200_000, &mut random));
    let mut lmtp = Lmtp::connect(&socket).expect("connected");
    let expect = |lmtp: &mut Lmtp, code: &str| {
        let reply = lmtp.reply().expect("a reply");
        assert!(reply.starts_with(code), "{reply} instead of {code}");
    };
    lmtp.send(&["anna", "bert"], &first).expect("sent");
    expect(&mut lmtp, "250 2.0.0");
    expect(&mut lmtp, "250 2.0.0");
    // Somebody else has bert's database: his order waits, as for a disk that hangs. It is let go only when anna's
    // answer has come; had that waited for bert's, his order would have been given up by then.
    let held = rusqlite::Connection::open(installation.data_dir.join("accounts/2/mail.db")).expect("opened");
    held.execute_batch("BEGIN IMMEDIATE").expect("locked");
    lmtp.send(&["anna", "bert"], &second).expect("sent");
    expect(&mut lmtp, "250 2.0.0");
    held.execute_batch("ROLLBACK").expect("let go");
    expect(&mut lmtp, "250 2.0.0");
    held.execute_batch("BEGIN IMMEDIATE").expect("locked");
    lmtp.send(&["anna", "bert"], &third).expect("sent");
    expect(&mut lmtp, "250 2.0.0");
    expect(&mut lmtp, "451 4.3.0");
    // The same once more, and the server dies between the two answers.
    lmtp.send(&["anna", "bert"], &fourth).expect("sent");
    expect(&mut lmtp, "250 2.0.0");
    server.kill();
    assert!(lmtp.reply().is_err());
    drop(held);
    installation.check().unwrap_or_else(|text| panic!("{text}"));
    let server = installation.start().unwrap_or_else(|text| panic!("{text}"));
    let names = |user: &str| {
        let found = inbox(&server, user).unwrap_or_else(|text| panic!("{text}"));
        found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names("anna"), ["first", "second", "third", "fourth"]);
    assert_eq!(names("bert"), ["first", "second"]);
    // The mail server sends again what was not answered 250, and to nobody else.
    let mut lmtp = Lmtp::connect(&socket).expect("connected");
    for text in [&third, &fourth] {
        lmtp.send(&["bert"], text).expect("sent");
        expect(&mut lmtp, "250 2.0.0");
    }
    assert_eq!(names("bert"), ["first", "second", "third", "fourth"]);
}
