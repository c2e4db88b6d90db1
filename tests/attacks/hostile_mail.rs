//! Messages that are made to cost much: whoever can send mail can send these.

use std::fmt::Write;
use std::time::Duration;

use crate::scene::{Scene, done};

const MIB: u64 = 1024 * 1024;
/// The most that one command may take over one such message.
const ONE_COMMAND: Duration = Duration::from_secs(1);

/// Each with its name.
fn messages() -> Vec<(&'static str, String)> {
    let groups: String = (0..100_000).map(|n| format!("g{n}:;,\r\n ")).collect();
    let addresses: String = (0..100_000).map(|n| format!("a{n}@x.test,\r\n ")).collect();
    let references: String = (0..100_000).map(|n| format!("<{n}@x.test>\r\n ")).collect();
    let fields: String = (0..100_000).map(|n| format!("X-Field-{n}: value\r\n")).collect();
    let parameters: String = (0..50_000).fold(String::new(), |mut all, n| {
        let _ = write!(all, ";\r\n name*{n}*=utf-8''x%41");
        all
    });
    let multipart = |n: usize| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n");
    let nested: String = (0..1000).map(multipart).collect();
    let same: String = (0..20_000).map(|_| "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n").collect();
    let inside = "Content-Type: message/rfc822\r\n\r\n".repeat(20_000);
    let digest = "--b\r\n\r\nSubject: x\r\n\r\nx\r\n".repeat(50_000);
    let words = "=?utf-8?q?=C3=A4?= ".repeat(100_000);
    vec![
        ("100,000 groups in To", format!("To: {groups}a@x.test\r\n\r\nx\r\n")),
        ("100,000 addresses in To", format!("To: {addresses}a@x.test\r\n\r\nx\r\n")),
        ("100,000 references", format!("Message-ID: <m@x>\r\nReferences: {references}\r\n\r\nx\r\n")),
        ("100,000 header fields", format!("{fields}\r\nx\r\n")),
        ("50,000 parameters", format!("Content-Type: text/plain{parameters}\r\n\r\nx\r\n")),
        ("1,000 nested multiparts", format!("{nested}\r\nx\r\n")),
        ("20,000 nested multiparts with one boundary", format!("{same}\r\nx\r\n")),
        ("20,000 messages in each other", format!("{inside}Subject: x\r\n\r\nx\r\n")),
        ("a digest of 50,000", format!("Content-Type: multipart/digest; boundary=b\r\n\r\n{digest}--b--\r\n")),
        ("100,000 encoded words", format!("Subject: {words}\r\n\r\nx\r\n")),
        ("a comment that ends in a backslash", format!("To: (\\\r\nSubject: {}\r\n\r\nx\r\n", "(".repeat(200_000))),
        ("a body in one line", format!("Subject: x\r\n\r\n{}", "<div>".repeat(400_000))),
    ]
}

#[test]
fn each_is_stored_and_described_in_its_time() {
    let scene = Scene::set(&[]);
    let mut slowest = (Duration::ZERO, String::new());
    for (name, message) in messages() {
        let mut eve = scene.sign_in("eve");
        let outcome = scene.under(name, |_| {
            let mut times = Vec::new();
            let mut run = |command: &str, literal: Option<&[u8]>| {
                let started = std::time::Instant::now();
                done(&mut eve, command, literal);
                times.push((started.elapsed(), command.to_string()));
            };
            run("APPEND INBOX", Some(message.as_bytes()));
            run("SELECT INBOX", None);
            run("FETCH * (ENVELOPE BODYSTRUCTURE PREVIEW)", None);
            run("FETCH * (BODY.PEEK[HEADER.FIELDS (TO CC)] BODY.PEEK[1.MIME])", None);
            run("SEARCH OR TO nobody SUBJECT nothing", None);
            run("SEARCH TEXT nothing", None);
            run("SORT (TO SUBJECT DATE) UTF-8 ALL", None);
            run("THREAD REFERENCES UTF-8 ALL", None);
            times.into_iter().max().expect("some were run")
        });
        outcome.grew_at_most(64 * MIB);
        let (took, command) = &outcome.value;
        assert!(*took < ONE_COMMAND, "{name}: {command} took {took:?}");
        if *took > slowest.0 {
            slowest = (*took, format!("{name}: {command}"));
        }
        done(&mut eve, "STORE 1:* +FLAGS.SILENT (\\Deleted)", None);
        done(&mut eve, "EXPUNGE", None);
    }
    eprintln!("the slowest was {} in {:.1?}", slowest.1, slowest.0);
}

#[test]
fn threads_that_refer_to_everything() {
    let scene = Scene::set(&[]);
    let mut eve = scene.sign_in("eve");
    for n in 0..1000 {
        let references: String = (0..400).map(|r| format!("<{}@x>\r\n ", (n * 7 + r * 13) % 3000)).collect();
        let message = format!("Message-ID: <{n}@x>\r\nSubject: same\r\nReferences: {references}\r\n\r\nx\r\n");
        done(&mut eve, "APPEND INBOX", Some(message.as_bytes()));
    }
    done(&mut eve, "SELECT INBOX", None);
    let outcome = scene.under("THREAD over 1,000 messages with 400 references each", |_| {
        for algorithm in ["REFERENCES", "REFS", "ORDEREDSUBJECT"] {
            done(&mut eve, &format!("UID THREAD {algorithm} UTF-8 ALL"), None);
        }
    });
    assert!(outcome.took < Duration::from_secs(4), "{:?}", outcome.took);
    outcome.grew_at_most(96 * MIB);
}
