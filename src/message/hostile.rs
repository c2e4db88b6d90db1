//! For tests: messages made to hurt, and random ones. Each must be described within its time, and well-formed.

use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::grammar::check;
use super::{Letters, PARTS, PartTable, Scanner, describe};

/// What a message may cost the processor: a moment, and so much for each megabyte, in a debug build at opt-level 1.
pub(super) fn allowed(octets: usize) -> Duration {
    Duration::from_millis(100) + Duration::from_micros(octets as u64 / 20)
}

/// Time this thread has had a processor, so that a busy machine fails no test; where nobody counts it, the time of day.
pub(crate) fn processor_time() -> Duration {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = counted.and_then(|line| line.split(' ').next().and_then(|word| word.parse().ok()));
    nanos.map_or_else(|| UNIX_EPOCH.elapsed().unwrap_or_default(), Duration::from_nanos)
}

/// Describes the message, checks what came out, and gives the number of parts.
fn survive(name: &str, message: &[u8]) -> usize {
    // The best of three: caches are shared with others even where the processor is not.
    let mut best = Duration::MAX;
    let mut description = None;
    for _ in 0..3 {
        let begun = processor_time();
        description = Some(describe(message));
        best = best.min(processor_time().saturating_sub(begun));
    }
    let description = description.expect("described three times");
    if let Err(fault) = check(message, &description) {
        panic!("{name}: {fault}");
    }
    assert!(best <= allowed(message.len()), "{name}: {best:?} for {} octets", message.len());
    let told = description.envelope.len() + description.bodystructure.len() + description.parts.len();
    assert!(told < 40 << 20, "{name}: {told} octets are told");
    PartTable::decode(&description.parts).expect("our own").iter().count()
}

#[test]
fn nested_without_end() {
    let multiparts: String =
        (0..100_000).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n")).collect();
    assert_eq!(survive("multiparts", multiparts.as_bytes()), 100);
    let same = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n".repeat(100_000);
    survive("multiparts of one boundary", same.as_bytes());
    let messages = "Content-Type: message/rfc822\r\n\r\n".repeat(100_000);
    assert_eq!(survive("messages", messages.as_bytes()), 101);
    let digests = "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\n".repeat(100_000);
    survive("digests", digests.as_bytes());
}

#[test]
fn parts_without_end() {
    let digest = format!(
        "Content-Type: multipart/digest; boundary=b\r\n\r\n{}",
        "--b\r\n\r\nSubject: x\r\n\r\ny\r\n".repeat(100_000)
    );
    assert!(survive("digest", digest.as_bytes()) <= PARTS);
    let mixed = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", "--b\r\n\r\n".repeat(100_000));
    assert_eq!(survive("mixed", mixed.as_bytes()), PARTS - 1);
    let empty = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", "--b\n".repeat(100_000));
    assert_eq!(survive("empty parts", empty.as_bytes()), PARTS - 1);
    let inner = "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n";
    let multiparts = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", inner.repeat(100_000));
    survive("multiparts side by side", multiparts.as_bytes());
    let parameters: String = (0..100).map(|n| format!(";p{n}=v")).collect();
    let part = format!("--b\r\nContent-Type: a/b{parameters}\r\n\r\n");
    let talkative = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", part.repeat(10_000));
    survive("parts with a hundred parameters", talkative.as_bytes());
}

#[test]
fn headers_without_end() {
    let floods = [
        ("addresses", "To: ", "a@b.c, "),
        ("groups", "To: ", "g:;"),
        ("colons", "From: ", ":"),
        ("parentheses", "From: ", "("),
        ("quotes", "From: ", "\""),
        ("angles", "From: ", "<"),
        ("routes", "From: ", "<@a,"),
        ("fields", "", "X: y\r\n"),
        ("lines", "", "\n x"),
        ("folds", "Subject: ", "\r\n "),
        ("destinations", "", "To: a@b\r\n"),
        ("senders", "", "From: a@b\r\nReply-To: c@d\r\n"),
        ("references", "References: ", "<a@b> "),
        ("half references", "References: ", "<\""),
        ("words", "Subject: ", "=?a?q?x"),
        ("whole words", "Subject: ", "=?utf-8?q?=C3=A9?= "),
        ("blobs", "Subject: ", "[x]"),
        ("replies", "Subject: ", "re: "),
        ("forwards", "Subject: ", "[fwd: "),
        ("eight bits", "Subject: ", "\u{e9}"),
        ("parameters", "Content-Type: text/plain", "; a=b"),
        ("continuations", "Content-Type: text/plain", "; a*1=b"),
        ("comments", "Content-Type: text/plain", "(\\"),
        ("types", "", "Content-Type: text/plain\r\n"),
        ("languages", "Content-Language: ", "en,"),
        ("dates", "Date: ", "1 Jan "),
        ("backslashes", "From: (", "\\"),
        ("returns", "", "\r"),
        ("nuls", "Subject: ", "\0"),
    ];
    for (name, start, flood) in floods {
        survive(name, format!("{start}{}\r\n\r\nbody\r\n", flood.repeat(200_000)).as_bytes());
    }
    let numbered: String = (0..200_000).map(|n| format!("; a*{n}*=b")).collect();
    survive("numbered", format!("Content-Type: text/plain{numbered}\r\n\r\n").as_bytes());
    let names: String = (0..200_000).map(|n| format!("; a{n}=b")).collect();
    survive("names", format!("Content-Type: text/plain{names}\r\n\r\n").as_bytes());
}

#[test]
fn lines_that_look_like_boundaries() {
    let mut head = String::new();
    for n in 0..100 {
        head.push_str(&format!("Content-Type: multipart/mixed; boundary=x{n:02}\r\n\r\n--x{n:02}\r\n"));
    }
    for line in ["--\n", "--x\n", "--x999\n", "--x--\n", "-\n", "\r\n", "\n--", "--x00 x\n"] {
        survive(&format!("lines {line:?}"), format!("{head}\r\n{}", line.repeat(200_000)).as_bytes());
    }
    let long = format!("{head}\r\n--{}\r\n--x00--\r\n", "y".repeat(3 << 20));
    survive("one long line", long.as_bytes());
}

#[test]
fn a_boundary_right_after_a_header() {
    let message =
        b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n\
        --i\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n--o--\r\n";
    let description = describe(message);
    assert_eq!(check(message, &description), Ok(()));
    let table = PartTable::decode(&description.parts).expect("our own");
    let carried = table.find(&[1, 1]).expect("a message");
    let inside = &message[carried.body.start as usize..carried.body.end as usize];
    assert_eq!((inside, carried.lines), (&b"Subject: x\r\n\r\n"[..], 2));
}

#[test]
fn a_field_that_is_cut_does_not_hide_the_next() {
    let message = format!("To: {}\r\nSubject: seen\r\n\r\n", "a@b, ".repeat(100_000));
    let description = describe(message.as_bytes());
    assert_eq!(check(message.as_bytes(), &description), Ok(()));
    assert_eq!(description.sort.subject, "seen");
    assert_eq!(description.sort.to, "a");
    let table = PartTable::decode(&description.parts).expect("our own");
    assert_eq!(table.top().header, 0..message.len() as u64);
}

#[test]
fn html_and_text_that_hide_their_words() {
    for flood in ["<", "<style>", "<!--", "<a b='", "&#", "&nbsp;", "\u{200b}", "> ", "\t"] {
        let body = flood.repeat(300_000);
        survive(flood, format!("Content-Type: text/html\r\n\r\n{body}").as_bytes());
        survive(flood, format!("Content-Type: text/plain\r\n\r\n{body}").as_bytes());
    }
}

/// Pieces of messages, to be thrown together.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"Content-Type: multipart/digest; boundary=\"c\"\n",
        b"Content-Type: multipart/alternative; boundary=b\r\n\r\n",
        b"Content-Type: message/rfc822\r\n\r\n",
        b"Content-Type: message/rfc822\n",
        b"Content-Type: text/html; charset=utf-8\r\n",
        b"Content-Type: multipart/mixed\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"Content-Disposition: attachment; filename=\"\xe9\"\r\n",
        b"From: a: b <c@d>, e\r\n",
        b"Subject: \xff =?utf-8?q?x?=\r\n",
        b"--b\r\n",
        b"--b\n",
        b"--b--\r\n",
        b"--c  \r\n",
        b"--c--",
        b"--bb\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"--",
        b"-",
        b"text",
        b"<p>x",
        b" ",
        b"\0",
        b"\x1b",
    ];
    proptest::collection::vec(proptest::sample::select(words), 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn anything_is_described_and_pieces_make_no_difference(message in fragments(), cuts in proptest::collection::vec(1usize..20, 1..10)) {
        let whole = describe(&message);
        prop_assert_eq!(check(&message, &whole), Ok(()), "{}", message.escape_ascii());
        let mut scanner = Scanner::new();
        let mut rest = &message[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            scanner.feed(piece);
            rest = after;
        }
        prop_assert_eq!(scanner.finish(), whole, "{}", message.escape_ascii());
    }

    #[test]
    fn utf8_clients_get_utf8(message in fragments()) {
        let mut scanner = Scanner::with_letters(Letters::Utf8);
        scanner.feed(&message);
        let description = scanner.finish();
        prop_assert!(std::str::from_utf8(&description.envelope).is_ok());
        prop_assert!(std::str::from_utf8(&description.bodystructure).is_ok());
        prop_assert!(super::body_without_extensions(&description.bodystructure).is_some());
        if let Some(decoded) = super::with_decoded_parameters(&description.bodystructure) {
            prop_assert!(std::str::from_utf8(&decoded).is_ok());
            prop_assert!(super::body_without_extensions(&decoded).is_some());
        }
        prop_assert_eq!(description.parts, describe(&message).parts);
    }
}
