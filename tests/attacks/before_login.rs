//! Attacks that need no password.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Client, PATIENCE};
use crate::scene::{OverAtDrop, Scene, answer, done, rest};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

#[test]
fn a_connection_that_says_nothing_costs_little() {
    let scene = Scene::set(&[]);
    let warm: Vec<Client> = (0..50).map(|_| scene.connect()).collect();
    let outcome = scene.under("500 strangers who say nothing", |scene| {
        let crowd: Vec<Client> = (0..500).map(|_| scene.connect()).collect();
        std::thread::sleep(Duration::from_millis(300));
        crowd
    });
    outcome.grew_at_most(500 * 12 * KIB);
    drop(warm);
}

#[test]
fn a_connection_with_tls_that_says_nothing_costs_little() {
    let scene = Scene::set(&[]);
    let connect = |scene: &Scene| {
        let mut client = Client::connect(&scene.server.addresses().tls).expect("connected");
        client.start_tls(scene.server.trust()).expect("shook hands");
        assert!(client.line(PATIENCE).expect("greeted").is_some());
        client
    };
    let warm: Vec<Client> = (0..50).map(|_| connect(&scene)).collect();
    let outcome = scene.under("300 strangers with TLS who say nothing", |scene| {
        let crowd: Vec<Client> = (0..300).map(|_| connect(scene)).collect();
        // What a handshake needs is let go of soon after.
        std::thread::sleep(Duration::from_millis(1500));
        crowd
    });
    outcome.grew_at_most(300 * 24 * KIB);
    drop(warm);
}

#[test]
fn two_hundred_that_drip() {
    let scene = Scene::set(&[]);
    let outcome = scene.under("200 that drip", |scene| {
        let mut crowd: Vec<Client> = (0..200).map(|_| scene.connect()).collect();
        for round in 0..40 {
            for client in &mut crowd {
                let octets: &[u8] = if round == 0 { b"a LOGIN \"" } else { b"x" };
                client.send(octets).expect("still open");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        crowd
    });
    outcome.grew_at_most(6 * MIB);
}

#[test]
fn literals_nobody_asked_for() {
    let scene = Scene::set(&[]);
    let outcome = scene.under("200 that announce literals of 4 GiB", |scene| {
        let sizes = ["4294967295", "9223372036854775807", "99999999999999999999", "1048576"];
        let mut crowd: Vec<Client> = (0..200).map(|_| scene.connect()).collect();
        for (at, client) in crowd.iter_mut().enumerate() {
            client.send(format!("a LOGIN {{{}}}\r\n", sizes[at % sizes.len()]).as_bytes()).expect("sent");
        }
        for client in &mut crowd {
            let line = client.line(PATIENCE).expect("answered").expect("open");
            assert!(line.starts_with(b"a NO") || line.starts_with(b"a BAD"), "{}", String::from_utf8_lossy(&line));
        }
        // The same without waiting: what comes behind must not be run.
        for client in &mut crowd {
            client.send(b"b LOGIN {4294967295+}\r\nc CAPABILITY\r\nd CAPABILITY\r\n").expect("sent");
        }
        for client in &mut crowd {
            let lines = rest_until_closed(client);
            assert!(!lines.iter().any(|line| line.starts_with("* CAPABILITY")), "{lines:?}");
            assert!(lines.iter().any(|line| line.starts_with("* BYE")), "{lines:?}");
        }
    });
    outcome.grew_at_most(6 * MIB);
}

fn rest_until_closed(client: &mut Client) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(line) = client.line(PATIENCE).unwrap_or(None) {
        lines.push(String::from_utf8_lossy(&line).into_owned());
    }
    lines
}

#[test]
fn parentheses_without_end() {
    let scene = Scene::set(&[]);
    let outcome = scene.under("50 times a million parentheses", |scene| {
        for round in 0..50 {
            let mut client = scene.connect();
            let start = ["a NOOP ", "a SEARCH ", "a FETCH 1 ", "a LOGIN ", ""][round % 5];
            // The server may close in the middle, which is its good right.
            let _ = client.send(start.as_bytes());
            let _ = client.send(&vec![b'('; 1_000_000]);
            let _ = client.send(b"\r\n");
            let lines = rest(&mut client);
            assert!(lines.iter().all(|line| line.contains(" BAD ") || line.starts_with("* BYE")), "{lines:?}");
        }
    });
    outcome.grew_at_most(6 * MIB);
}

#[test]
fn broken_sasl_hurts_no_other_login() {
    let scene = Scene::set(&[]);
    let outcome = scene.under("SASL that is cancelled or is no base64", |scene| {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        let mut client = scene.connect();
                        for line in ["*", "=AA=", "\x01\x02", "AGFkYQ", "AAAA"] {
                            if client.send(format!("a AUTHENTICATE PLAIN\r\n{line}\r\n").as_bytes()).is_err() {
                                break;
                            }
                        }
                        let _ = rest_of(&mut client);
                    }
                });
            }
            let _over = OverAtDrop(&is_over);
            for _ in 0..20 {
                let mut client = scene.connect();
                done(&mut client, "AUTHENTICATE PLAIN AGFkYQBjb3JyZWN0LWhvcnNl", None);
            }
        });
    });
    outcome.grew_at_most(6 * MIB);
}

/// What has come by now.
fn rest_of(client: &mut Client) -> usize {
    let mut lines = 0;
    while let Ok(Some(_)) = client.line(Duration::from_millis(50)) {
        lines += 1;
    }
    lines
}

/// Wrong passwords from many networks, told by a proxy: the password threads are shared by network, so who comes from one
/// of his own is served in his turn.
#[test]
fn guessing_from_many_networks_keeps_nobody_out() {
    let proxied = "[[listen]]\naddress = \"127.0.0.1:0\"\nsecurity = \"starttls\"\nproxy_from = [\"127.0.0.0/8\"]";
    let open = "login.allow_plaintext = \"always\"";
    let scene = Scene::set(&[open, proxied]);
    let log = scene.server.log();
    let line = log.lines().find(|line| line.contains("security=\"starttls\"")).expect("the first of them is proxied");
    let port: u16 = line.split("address=127.0.0.1:").nth(1).expect("an address")[..5].trim().parse().expect("a port");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let outcome = scene.under("guesses from 40 networks, two at a time each", |_| {
        let is_over = AtomicBool::new(false);
        let guesses = AtomicU64::new(0);
        let slowest = std::thread::scope(|threads| {
            for n in 0..80 {
                let (is_over, guesses) = (&is_over, &guesses);
                threads.spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        let mut client = behind_proxy(address, n % 40);
                        if client.send(b"a LOGIN ada wrong\r\n").is_ok() {
                            let _ = client.line(PATIENCE);
                            guesses.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            let _over = OverAtDrop(&is_over);
            let mut slowest = Duration::ZERO;
            for n in 0..8 {
                std::thread::sleep(Duration::from_millis(200));
                let started = Instant::now();
                // Each from a network that nobody logged in from before.
                let mut client = behind_proxy(address, 100 + n);
                let said = answer(&mut client, "LOGIN eve correct-horse");
                assert!(said.starts_with("t OK"), "{said}");
                slowest = slowest.max(started.elapsed());
            }
            slowest
        });
        eprintln!("{guesses:?} guesses; the slowest good log-in took {slowest:.1?}");
        slowest
    });
    // 19 MiB for each thread that computes a hash, and nothing for those that wait or are done.
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    outcome.grew_at_most(threads * 20 * MIB + 6 * MIB);
    assert!(outcome.value < Duration::from_secs(10), "a good log-in took {:?}", outcome.value);
}

/// A connection that a proxy says comes from the `n`th network of those for documentation.
fn behind_proxy(address: SocketAddr, n: u32) -> Client {
    let mut client = Client::connect(&address.to_string()).expect("connected");
    client.send(format!("PROXY TCP4 203.0.113.{n} 192.0.2.1 {} 143\r\n", 40_000 + n).as_bytes()).expect("sent");
    assert!(client.line(PATIENCE).expect("greeted").is_some());
    client
}

#[test]
fn names_asked_for_by_sni_leave_nothing_behind() {
    let scene = Scene::set(&[]);
    let hello = |n: u32| {
        // TLS 1.2 and 1.3, RFC 8446 §4.1.2: a ClientHello with a server name, and then nothing.
        let name = format!("host{n}.example.org");
        let named =
            [&[0, 0][..], &both(name.len() + 5), &both(name.len() + 3), &[0], &both(name.len()), name.as_bytes()];
        let extensions = named.concat();
        let random = [7; 32];
        let body = [
            &[3, 3][..],
            &random,
            &[0],
            &both(4),
            &[0x13, 0x01, 0xc0, 0x2b],
            &[1, 0],
            &both(extensions.len()),
            &extensions,
        ]
        .concat();
        let handshake = [&[1, 0][..], &both(body.len()), &body].concat();
        [&[22, 3, 1][..], &both(handshake.len()), &handshake].concat()
    };
    let address = scene.server.addresses().tls.clone();
    let knock = |n: u32| {
        let mut stream = TcpStream::connect(&address).expect("connected");
        stream.write_all(&hello(n)).expect("sent");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let mut answer = [0; 64];
        // An alert or a hello; either way the name was looked at.
        assert!(std::io::Read::read(&mut stream, &mut answer).expect("answered") > 0);
    };
    (0..200).for_each(knock);
    let outcome = scene.under("5,000 different server names", |_| (200..5200).for_each(knock));
    outcome.grew_at_most(2 * MIB);
}

fn both(octets: usize) -> [u8; 2] {
    (octets as u16).to_be_bytes()
}

#[test]
fn names_in_the_log_forge_no_line_and_show_no_password() {
    let scene = Scene::set(&[]);
    let name = "ada\r\n2026-01-01T00:00:00Z  INFO FORGED\x1b[2J\u{202e}";
    let mut client = scene.connect();
    client.send(format!("a LOGIN {{{}+}}\r\n{name} {{9+}}\r\nhunter2-x\r\n", name.len()).as_bytes()).expect("sent");
    let said = client.line(PATIENCE).expect("answered").expect("open");
    assert!(said.starts_with(b"a NO"), "{}", String::from_utf8_lossy(&said));
    let said = answer(&mut client, "ID (\"name\" \"x\x1b]0;title\x07\")");
    assert!(said.starts_with("t OK") || said.starts_with("t BAD"), "{said}");
    drop(client);
    let log = scene.server.log_with("AUTHENTICATIONFAILED");
    assert!(!log.contains("hunter2"), "a password is in the log: {log}");
    for line in log.lines() {
        assert!(!line.starts_with("2026-01-01T00:00:00Z"), "a forged line: {line}");
        assert!(!line.contains(['\x07', '\u{202e}']) && !line.contains("\x1b[2J"), "control characters: {line:?}");
    }
}
