//! Attacks by somebody who may log in: his own commands must not cost others theirs.

use std::io::Write;
use std::time::Duration;

use crate::client::{Client, PATIENCE};
use crate::scene::{Scene, answer, done, rest};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

#[test]
fn a_hundred_thousand_literals_in_one_search() {
    let scene = Scene::set(&[]);
    let mut eve = scene.sign_in("eve");
    let outcome = scene.under("100,000 literals in one SEARCH", |_| {
        done(&mut eve, "SELECT INBOX", None);
        let _ = eve.send(b"a SEARCH");
        let piece = format!(" SUBJECT {{1000+}}\r\n{}", "x".repeat(1000));
        for _ in 0..100_000 {
            // The server reads past it or has closed: both are fine, memory is what counts.
            if eve.send(piece.as_bytes()).is_err() {
                break;
            }
        }
        let _ = eve.send(b"\r\n");
        let lines = rest(&mut eve);
        assert!(!lines.iter().any(|line| line.starts_with("* SEARCH")), "{lines:?}");
    });
    outcome.grew_at_most(8 * MIB);
}

#[test]
fn searches_that_nest_and_sets_that_never_end() {
    let scene = Scene::set(&[]);
    let mut eve = scene.sign_in("eve");
    let outcome = scene.under("nested searches, long sets, many items", |_| {
        done(&mut eve, "APPEND INBOX", Some(b"Subject: x\r\n\r\nx\r\n"));
        done(&mut eve, "SELECT INBOX", None);
        for _ in 0..30 {
            for command in [
                format!("SEARCH {}ALL", "NOT ".repeat(10_000)),
                format!("SEARCH {}", "OR ".repeat(15_000)),
                format!("SEARCH {}ALL{}", "(".repeat(20_000), ")".repeat(20_000)),
                format!("FETCH 1{} FLAGS", ",1".repeat(30_000)),
                format!("FETCH 1 ({}UID)", "BODY.PEEK[] ".repeat(5_000)),
                format!("FETCH 1 (BODY[{}1])", "1.".repeat(20_000)),
                format!("STORE 1 FLAGS ({}z)", "k ".repeat(20_000)),
                format!("LIST \"\" ({}INBOX)", "% ".repeat(20_000)),
                format!("STATUS INBOX ({}UIDNEXT)", "MESSAGES ".repeat(6_000)),
                format!("SORT ({}DATE) UTF-8 ALL", "REVERSE DATE ".repeat(4_000)),
            ] {
                let said = answer(&mut eve, &command);
                assert!(said.starts_with("t "), "{said}");
            }
        }
    });
    outcome.grew_at_most(16 * MIB);
    assert!(outcome.took < Duration::from_secs(30), "300 commands took {:?}", outcome.took);
}

#[test]
fn patterns_that_try_every_way() {
    let scene = Scene::set(&[]);
    let mut eve = scene.sign_in("eve");
    let deepest = "a".to_string() + &"/a".repeat(499);
    // Deeper than a server takes is refused, and nothing of it is made.
    let said = answer(&mut eve, &format!("CREATE {deepest}"));
    assert!(said.starts_with("t OK") || said.starts_with("t NO"), "{said}");
    for n in 0..1000 {
        done(&mut eve, &format!("CREATE f{n}/{}", "ab".repeat(20)), None);
    }
    let outcome = scene.under("LIST with patterns that try every way", |_| {
        for _ in 0..10 {
            for pattern in ["%*".repeat(500) + "x", "*a".repeat(500) + "x", "%/".repeat(500) + "x", "*b%".repeat(300)] {
                done(&mut eve, &format!("LIST \"\" \"{pattern}\""), None);
                done(&mut eve, &format!("LSUB \"\" \"{pattern}\""), None);
            }
        }
    });
    assert!(outcome.took < Duration::from_secs(20), "80 lists took {:?}", outcome.took);
    outcome.grew_at_most(16 * MIB);
}

#[test]
fn a_client_that_does_not_read() {
    let scene = Scene::set(&["limits.write_timeout_seconds = 3"]);
    let mut eve = scene.sign_in("eve");
    let large = format!("Subject: large\r\n\r\n{}", "0123456789abcdef\r\n".repeat(600_000));
    for _ in 0..8 {
        done(&mut eve, "APPEND INBOX", Some(large.as_bytes()));
    }
    done(&mut eve, "SELECT INBOX", None);
    let outcome = scene.under("a client that asks for 86 MB twenty times and reads nothing", |_| {
        for n in 0..20 {
            let _ = eve.send(format!("f{n} UID FETCH 1:* (BODY.PEEK[])\r\n").as_bytes());
        }
        std::thread::sleep(Duration::from_secs(5));
    });
    outcome.grew_at_most(8 * MIB);
    // By then the server has given up on it.
    let mut lines = 0;
    while let Ok(Some(line)) = eve.line(PATIENCE) {
        assert!(!line.starts_with(b"f19 OK"), "the whole was sent to somebody who did not read");
        lines += 1;
    }
    assert!(lines < 160, "{lines} lines");
}

#[test]
fn what_is_compressed_unpacks_to_no_flood() {
    let scene = Scene::set(&[]);
    let mut eve = scene.sign_in("eve");
    let outcome = scene.under("256 MiB of nothing, compressed to 256 KiB", |_| {
        done(&mut eve, "COMPRESS DEFLATE", None);
        let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(b"a NOOP ").expect("in memory");
        for _ in 0..256 {
            packed.write_all(&vec![b'x'; MIB as usize]).expect("in memory");
        }
        let _ = eve.send(&packed.finish().expect("in memory"));
        drain(&mut eve);
    });
    outcome.grew_at_most(6 * MIB);
}

/// Reads, as octets of no meaning, until the server closes or says nothing more.
fn drain(client: &mut Client) {
    while let Ok(Some(_)) = client.line(Duration::from_secs(2)) {}
}

#[test]
fn keywords_and_mailboxes_have_their_bounds() {
    let scene = Scene::set(&["limits.mailboxes = 200", "limits.keywords_per_mailbox = 100"]);
    let mut eve = scene.sign_in("eve");
    scene.under("more mailboxes and keywords than there may be", |_| {
        done(&mut eve, "APPEND INBOX", Some(b"Subject: x\r\n\r\nx\r\n"));
        done(&mut eve, "SELECT INBOX", None);
        let count = |eve: &mut Client, command: &dyn Fn(u32) -> String| {
            (0..400).filter(|n| answer(eve, &command(*n)).starts_with("t OK")).count()
        };
        let made = count(&mut eve, &|n| format!("CREATE box{n}"));
        assert!((190..=200).contains(&made), "{made} mailboxes were made of 200");
        let kept = count(&mut eve, &|n| format!("STORE 1 +FLAGS (key{n})"));
        assert_eq!(kept, 100, "keywords");
    });
}
