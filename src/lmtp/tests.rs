//! Whole conversations over a pipe, with a real mail store behind them.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::config::{Limits, MissingFolder, OverQuota};
use crate::login::EndReason;
use crate::mailstore::{Account, Options, QuotaLimits};
use crate::types::{MailboxName, UidRuns};

struct House {
    _home: tempfile::TempDir,
    host: Arc<Host>,
}

impl Drop for House {
    fn drop(&mut self) {
        self.host.rooms.store.close();
    }
}

fn house(change: impl FnOnce(&mut Config)) -> House {
    let mut config = Config::default();
    config.login.default_domain = "example.org".into();
    config.lmtp.host_name = "box.example.org".into();
    change(&mut config);
    let home = tempfile::tempdir().expect("a directory");
    let directory = Arc::new(Directory::open(home.path()).expect("opened"));
    for name in ["anna", "bert", "cleo"] {
        directory.add_user(name, &[]).expect("added");
    }
    directory.add_alias("all", &["anna".into(), "bert".into()]).expect("added");
    let options = Options { min_free_bytes: config.limits.min_free_bytes, ..Options::default() };
    let store = MailStore::open(home.path(), options).expect("opened");
    let config = Arc::new(ArcSwap::from_pointee(config));
    let host = Host::new(Rooms { store, directory }, Sessions::new(config.clone()), config);
    House { _home: home, host: Arc::new(host) }
}

fn plain() -> House {
    house(|config| config.limits.min_free_bytes = 0)
}

impl House {
    fn connect(&self) -> (DuplexStream, tokio::task::JoinHandle<()>) {
        let (client, server) = tokio::io::duplex(1 << 20);
        let (host, ticket) = (self.host.clone(), self.host.sessions.admit(None).expect("room"));
        (client, tokio::spawn(async move { serve(&host, Peer::Local, Box::new(server), ticket).await }))
    }

    /// Says all this in pieces of that size; gives the replies behind the one to LHLO.
    async fn say_in(&self, words: &[u8], size: usize) -> String {
        let (mut client, serving) = self.connect();
        let words = [b"LHLO mail.example.org\r\n", words].concat();
        for piece in words.chunks(size) {
            // The server may hang up on us.
            let _ = client.write_all(piece).await;
        }
        let _ = client.shutdown().await;
        let mut told = String::new();
        client.read_to_string(&mut told).await.expect("replies are UTF-8");
        serving.await.expect("no panic");
        let behind = told.split_once("250 CHUNKING\r\n").expect("an answer to LHLO");
        behind.1.to_owned()
    }

    async fn say(&self, words: &str) -> String {
        self.say_in(words.as_bytes(), usize::MAX).await
    }

    /// The first digits of each reply, such as `250 354 250`.
    async fn codes(&self, words: &str) -> String {
        codes(&self.say(words).await)
    }

    async fn account(&self, user: &str) -> Account {
        let user = self.host.rooms.directory.look_up(user).expect("asked").expect("a user");
        self.host.rooms.store.account(user.account).await.expect("an account")
    }

    /// All messages of a user's mailbox.
    async fn mail(&self, user: &str, mailbox: &str) -> Vec<String> {
        let account = self.account(user).await;
        let view = account.open(&MailboxName::new(mailbox).expect("a name"), true).await.expect("opened");
        let mut messages = Vec::new();
        for (span, uids) in view.by_span(&UidRuns::range(1, u32::MAX)) {
            for row in view.rows(span, &view.membership().select(&uids)).await.expect("read") {
                let mut stream = view.stream(row.content, row.size, 0, u64::from(row.size));
                let mut octets = Vec::new();
                while let Some(piece) = stream.next().await.expect("read") {
                    octets.extend(piece);
                }
                messages.push(String::from_utf8(octets).expect("UTF-8"));
            }
        }
        messages
    }
}

fn codes(told: &str) -> String {
    told.lines().map(|line| &line[..3]).collect::<Vec<_>>().join(" ")
}

const TO_ANNA: &str = "MAIL FROM:<bert@example.net>\r\nRCPT TO:<anna@example.org>\r\nDATA\r\n";

#[tokio::test]
async fn a_message_comes_in() {
    let house = plain();
    let (mut client, serving) = house.connect();
    client.write_all(b"LHLO mail.example.org\r\nQUIT\r\n").await.expect("sent");
    let mut told = String::new();
    client.read_to_string(&mut told).await.expect("read");
    serving.await.expect("no panic");
    assert_eq!(
        told,
        "220 box.example.org LMTP\r\n250-box.example.org\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n\
         250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250-BINARYMIME\r\n250 CHUNKING\r\n221 2.0.0 goodbye\r\n"
    );
    let told = house.say(&format!("{TO_ANNA}Subject: hello\r\n\r\n..dot\r\n.\r\nQUIT\r\n")).await;
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[..2], ["250 2.1.0 sender taken", "250 2.1.5 recipient taken"]);
    assert!(lines[2].starts_with("354 "), "{told}");
    assert!(lines[3].starts_with("250 2.0.0 stored, id "), "{told}");
    let mail = house.mail("anna", "INBOX").await;
    let id = lines[3].rsplit(' ').next().expect("an id");
    let top = format!(
        "Return-Path: <bert@example.net>\r\nDelivered-To: anna@example.org\r\nReceived: from mail.example.org\r\n\tby \
         box.example.org (Pillarbox) with LMTP id {id}\r\n\tfor <anna@example.org>;\r\n\t"
    );
    assert!(mail[0].starts_with(&top), "{}", mail[0]);
    assert!(mail[0].ends_with(" +0000\r\nSubject: hello\r\n\r\n.dot\r\n"), "{}", mail[0]);
}

#[tokio::test]
async fn pieces_of_any_size_are_the_same_conversation() {
    let house = plain();
    let words = format!(
        "MAIL FROM:<>\r\nRCPT TO:<anna>\r\nRCPT TO:<nobody>\r\nRCPT TO:<bert>\r\nDATA\r\nSubject: x\r\n\r\n..\r\n.\r\n\
         MAIL FROM:<a@example.net>\r\nRCPT TO:<cleo>\r\nBDAT 6\r\n.\r\ny\r\nBDAT 0 LAST\r\nFLY\r\n{TO_ANNA}x\r\n.\r\nQUIT\r\n"
    );
    let sizes = [1, 2, 3, 5, 7, 11, 64, 4096];
    for size in sizes {
        let told = house.say_in(words.as_bytes(), size).await;
        let expected = "250 250 550 250 354 250 250 250 250 250 250 500 250 250 354 250 221";
        assert_eq!(codes(&told), expected, "in pieces of {size}: {told}");
    }
    assert_eq!(house.mail("anna", "INBOX").await.len(), 2 * sizes.len());
    assert!(house.mail("bert", "INBOX").await.iter().all(|mail| mail.ends_with("Subject: x\r\n\r\n.\r\n")));
}

#[tokio::test]
async fn each_recipient_has_his_reply_and_a_mailbox_its_one_copy() {
    let house = plain();
    let full = QuotaLimits { bytes: Some(100), ..QuotaLimits::default() };
    house.account("bert").await.set_quota(full).await.expect("set");
    let words = "MAIL FROM:<a@example.net>\r\nRCPT TO:<cleo>\r\nRCPT TO:<bert>\r\nRCPT TO:<cleo@example.org>\r\n\
                 RCPT TO:<anna+Archive>\r\nRCPT TO:<anna>\r\nDATA\r\nSubject: x\r\n\r\nlong enough\r\n.\r\n";
    let told = house.say(words).await;
    assert_eq!(codes(&told), "250 250 250 250 250 250 354 250 452 250 250 250", "{told}");
    assert!(told.contains("\r\n452 4.2.2 "), "{told}");
    assert_eq!(house.mail("cleo", "INBOX").await.len(), 1, "named twice");
    assert_eq!(house.mail("bert", "INBOX").await.len(), 0);
    let [inbox, archive] = [house.mail("anna", "INBOX").await, house.mail("anna", "Archive").await];
    assert_eq!(inbox, archive);
    // With several recipients nobody is told of the others.
    assert!(!inbox[0].contains("Delivered-To") && !inbox[0].contains("for <"), "{}", inbox[0]);
}

#[tokio::test]
async fn an_alias_is_delivered_to_all_or_none() {
    let house = plain();
    let words = "MAIL FROM:<a@example.net>\r\nRCPT TO:<all@example.org>\r\nDATA\r\nx\r\n.\r\n";
    assert_eq!(house.codes(words).await, "250 250 354 250");
    assert_eq!(house.mail("anna", "INBOX").await, house.mail("bert", "INBOX").await);
    assert!(house.mail("anna", "INBOX").await[0].contains("Delivered-To: all@example.org\r\n"));
    let full = QuotaLimits { bytes: Some(400), ..QuotaLimits::default() };
    house.account("bert").await.set_quota(full).await.expect("set");
    assert_eq!(house.codes(words).await, "250 250 354 452");
    assert_eq!(house.mail("anna", "INBOX").await.len(), 1);
    house.host.rooms.directory.set_disabled("bert", true).expect("disabled");
    assert_eq!(house.codes(words).await, "250 250 354 250");
    assert_eq!(house.mail("anna", "INBOX").await.len(), 2);
    house.host.rooms.directory.set_disabled("anna", true).expect("disabled");
    assert_eq!(house.codes(words).await, "250 450 503 421");
}

#[tokio::test]
async fn commands_out_of_order_are_told_so() {
    let house = plain();
    for (words, expected) in [
        ("RCPT TO:<anna>\r\n", "503"),
        ("DATA\r\n", "503"),
        ("BDAT 3\r\nabcNOOP\r\n", "503 250"),
        ("BDAT 3 LAST\r\nabcNOOP\r\n", "503 250"),
        ("MAIL FROM:<>\r\nMAIL FROM:<>\r\n", "250 503"),
        ("MAIL FROM:<>\r\nDATA\r\n", "250 503"),
        ("MAIL FROM:<>\r\nRCPT TO:<nobody>\r\nDATA\r\n", "250 550 503"),
        // RFC 2033 §4.3: no recipient, no reply.
        ("MAIL FROM:<>\r\nRCPT TO:<nobody>\r\nBDAT 3 LAST\r\nabcNOOP\r\n", "250 550 250"),
        ("MAIL FROM:<>\r\nRCPT TO:<nobody>\r\nBDAT 3\r\nabcNOOP\r\n", "250 550 503 250"),
        ("MAIL FROM:<>\r\nRCPT TO:<anna>\r\nBDAT 1\r\naDATA\r\n", "250 250 250 503"),
        ("MAIL FROM:<>\r\nRCPT TO:<anna>\r\nBDAT 1\r\naRCPT TO:<bert>\r\n", "250 250 250 503"),
        ("MAIL FROM:<>\r\nRCPT TO:<anna>\r\nBDAT 1 LAST\r\naBDAT 1 LAST\r\na", "250 250 250 503"),
        ("MAIL FROM:<>\r\nRCPT TO:<anna>\r\nRSET\r\nDATA\r\n", "250 250 250 503"),
        ("MAIL FROM:<>\r\nLHLO again\r\nRCPT TO:<anna>\r\n", "250 250 250 250 250 250 250 250 250 503"),
        // What did not wait for the 354 is never taken for commands.
        ("MAIL FROM:<>\r\nDATA\r\nRCPT TO:<anna>\r\nQUIT\r\n", "250 503 421"),
        ("BDAT x\r\nQUIT\r\n", "501 421"),
        ("NOOP\r\nVRFY anna\r\nHELP\r\nEHLO x\r\nQUIT\r\nNOOP\r\n", "250 252 214 500 221"),
        ("\r\n\0\r\nNOOP\nNOOP\r\n", "500 500 500"),
    ] {
        assert_eq!(house.codes(words).await, expected, "{words:?}");
    }
    assert_eq!(house.mail("anna", "INBOX").await.len(), 1, "the one that BDAT ended");
    let (mut client, serving) = house.connect();
    client.write_all(b"MAIL FROM:<>\r\nQUIT\r\n").await.expect("sent");
    let mut told = String::new();
    client.read_to_string(&mut told).await.expect("read");
    serving.await.expect("no panic");
    assert_eq!(codes(&told), "220 503 221", "LHLO comes first");
}

#[tokio::test]
async fn garbage_gets_codes_and_never_a_panic() {
    let house = house(|config| {
        config.limits.min_free_bytes = 0;
        config.lmtp.bad_commands = 1000;
    });
    let bits: [&[u8]; 18] = [
        b"MAIL FROM:<>\r\n",
        b"RCPT TO:<anna>\r\n",
        b"RCPT TO:<\"\">\r\n",
        b"RCPT TO:<@a,@b:\"x\\\"@[IPv6:::1]>\r\n",
        b"DATA\r\n",
        b"BDAT 7\r\n",
        b"BDAT 3 LAST\r\n",
        b"RSET\r\n",
        b"LHLO x\r\n",
        b".\r\n",
        b"\r",
        b"\n",
        b".",
        b"\0",
        b"\xff\xfe",
        b" ",
        b"<",
        b"text",
    ];
    // A fixed sequence of numbers, so that what fails once fails again.
    let mut number = 1u64;
    let mut next = |most: usize| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (number >> 33) as usize % most
    };
    for _ in 0..60 {
        let words: Vec<u8> = (0..next(120)).flat_map(|_| bits[next(bits.len())].to_vec()).collect();
        let told = house.say_in(&words, 1 + next(50)).await;
        for line in told.lines() {
            let is_reply = line.len() > 4 && line[..3].bytes().all(|digit| digit.is_ascii_digit());
            assert!(is_reply, "{line:?} to {:?}", String::from_utf8_lossy(&words));
        }
    }
    assert_eq!(house.host.open(), 0);
    for user in ["anna", "bert", "cleo"] {
        let account = house.account(user).await.id();
        assert!(house.host.rooms.store.check(account).await.expect("checked").problems.is_empty());
    }
}

#[tokio::test]
async fn a_message_is_bounded_and_looked_at() {
    let house = house(|config| {
        config.limits = Limits { message_bytes: 1024, min_free_bytes: 0, ..Limits::default() };
        config.lmtp.hops = 10;
    });
    assert_eq!(house.codes("MAIL FROM:<> SIZE=1024\r\nRSET\r\nMAIL FROM:<> SIZE=1025\r\n").await, "250 250 552");
    let large = format!("{TO_ANNA}{}\r\n.\r\nNOOP\r\n", "x".repeat(1023));
    assert!(house.say(&large).await.contains("\r\n552 5.3.4 "));
    let chunks = format!("MAIL FROM:<>\r\nRCPT TO:<anna>\r\nBDAT 2000\r\n{}BDAT 1 LAST\r\nxNOOP\r\n", "x".repeat(2000));
    assert_eq!(house.codes(&chunks).await, "250 250 552 552 250");
    let fits = format!("{TO_ANNA}{}\r\n.\r\nNOOP\r\n", "x".repeat(1022));
    assert_eq!(house.codes(&fits).await, "250 250 354 250 250");
    let circle = format!("{TO_ANNA}{}\r\n.\r\nNOOP\r\n", "Received: x\r\n".repeat(11));
    assert!(house.say(&circle).await.contains("\r\n554 5.4.6 "));
    let nul = format!("{TO_ANNA}Subject: a\0b\r\n\r\n.\r\n");
    assert!(house.say(&nul).await.contains("\r\n554 5.6.0 "));
    let empty = format!("{TO_ANNA}.\r\n");
    assert_eq!(house.codes(&empty).await, "250 250 354 250", "a message of nothing is one of our lines");
    assert_eq!(house.mail("anna", "INBOX").await.len(), 2);
}

#[tokio::test]
async fn what_is_full_says_so_before_and_after() {
    let house = house(|config| config.limits.min_free_bytes = u64::MAX / 4);
    assert_eq!(house.say("MAIL FROM:<>\r\n").await, "452 4.3.1 the disk is nearly full, try again later\r\n");
    let house = self::house(|config| {
        config.limits.min_free_bytes = 0;
        config.lmtp.over_quota = OverQuota::Refuse;
    });
    let full = QuotaLimits { bytes: Some(1000), ..QuotaLimits::default() };
    house.account("anna").await.set_quota(full).await.expect("set");
    let told = house.say("MAIL FROM:<> SIZE=2000\r\nRCPT TO:<anna>\r\nRSET\r\n").await;
    assert!(told.contains("\r\n552 5.2.2 "), "{told}");
    let told = house.say(&format!("{TO_ANNA}{}\r\n.\r\n", "x".repeat(900))).await;
    assert!(told.contains("\r\n552 5.2.2 "), "{told}");
}

#[tokio::test]
async fn folders_are_reached_by_rule() {
    let deliver = |to: &str| format!("MAIL FROM:<>\r\nRCPT TO:<{to}>\r\nDATA\r\nx\r\n.\r\n");
    let inbox = plain();
    for to in ["anna+none", "anna+Sent", "anna+drafts", "anna+a//b", "anna+Inbox", "\"anna+Archive\"", "anna+archive"] {
        assert_eq!(inbox.codes(&deliver(to)).await, "250 250 354 250", "{to}");
    }
    assert_eq!(inbox.mail("anna", "INBOX").await.len(), 5);
    assert_eq!(inbox.mail("anna", "Archive").await.len(), 2);
    assert_eq!(inbox.mail("anna", "Sent").await.len(), 0, "a stranger cannot add to what she has sent");

    let create = house(|config| {
        config.limits.min_free_bytes = 0;
        config.lmtp.missing_folder = MissingFolder::Create;
    });
    for to in ["anna+Lists/Rust", "anna+lists/rust"] {
        assert_eq!(create.codes(&deliver(to)).await, "250 250 354 250", "{to}");
    }
    assert_eq!(create.mail("anna", "Lists/Rust").await.len(), 2);
    assert_eq!(create.codes("MAIL FROM:<>\r\nRCPT TO:<anna+never>\r\nQUIT\r\n").await, "250 250 221");
    let (listed, _) = create.account("anna").await.mailboxes();
    assert!(!listed.iter().any(|mailbox| mailbox.name.as_str() == "never"), "made when mail comes, not before");

    let refuse = house(|config| {
        config.limits.min_free_bytes = 0;
        config.lmtp.missing_folder = MissingFolder::Refuse;
    });
    let told =
        refuse.say("MAIL FROM:<>\r\nRCPT TO:<anna+none>\r\nRCPT TO:<anna+Sent>\r\nRCPT TO:<anna+Junk>\r\n").await;
    assert_eq!(codes(&told), "250 550 550 250", "{told}");
}

#[tokio::test]
async fn utf8_is_spoken_when_it_was_asked_for() {
    let house = plain();
    house.host.rooms.directory.add_user("jürgen", &[]).expect("added");
    let told = house.say("MAIL FROM:<>\r\nRCPT TO:<jürgen@example.org>\r\n").await;
    assert!(told.contains("\r\n553 5.6.7 "), "{told}");
    let words = "MAIL FROM:<ü@example.net> BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<Jürgen@example.org>\r\nDATA\r\n\
                 Subject: grüße\r\n\r\nä\r\n.\r\n";
    assert_eq!(house.codes(words).await, "250 250 354 250");
    let mail = house.mail("jürgen", "INBOX").await;
    assert!(mail[0].starts_with("Return-Path: <ü@example.net>\r\nDelivered-To: Jürgen@example.org\r\n"), "{}", mail[0]);
    assert!(mail[0].contains(" with UTF8LMTP id ") && mail[0].ends_with("Subject: grüße\r\n\r\nä\r\n"));
}

#[tokio::test]
async fn a_binary_message_comes_in_chunks_and_is_kept_octet_for_octet() {
    let house = plain();
    let head = "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n";
    let body = "\0\n.\r\n\r\0.\r";
    let chunks = format!("BDAT {}\r\n{head}BDAT {} LAST\r\n{body}", head.len(), body.len());
    let mail = "MAIL FROM:<> BODY=BINARYMIME\r\nRCPT TO:<anna>\r\n";
    let (mut client, serving) = house.connect();
    client.write_all(format!("LHLO a\r\n{mail}DATA\r\n").as_bytes()).await.expect("sent");
    let mut told = Vec::new();
    // RFC 3030 §3: 503, and then RSET.
    while !told.ends_with(b"say RSET first\r\n") {
        assert!(client.read_buf(&mut told).await.expect("read") > 0, "{}", String::from_utf8_lossy(&told));
        assert!(!told.windows(5).any(|five| five == b"\n354 "), "it waits for the message");
    }
    assert!(codes(&String::from_utf8_lossy(&told)).ends_with("250 250 503"));
    client.write_all(format!("RSET\r\n{mail}{chunks}QUIT\r\n").as_bytes()).await.expect("sent");
    let mut told = String::new();
    client.read_to_string(&mut told).await.expect("read");
    serving.await.expect("no panic");
    assert_eq!(codes(&told), "250 250 250 250 250 221", "{told}");
    let kept = house.mail("anna", "INBOX").await;
    assert!(kept[0].ends_with(&format!("{head}{body}")), "{:?}", kept[0]);
    // Not announced, it is no mail.
    let told = house.say(&format!("MAIL FROM:<>\r\nRCPT TO:<anna>\r\n{chunks}")).await;
    assert!(told.contains("\r\n554 5.6.0 "), "{told}");
}

#[tokio::test]
async fn recipients_connections_and_patience_have_bounds() {
    let house = house(|config| {
        config.limits.min_free_bytes = 0;
        config.lmtp.recipients = 3;
        config.lmtp.connections = 1;
        config.lmtp.bad_commands = 3;
    });
    let words = "MAIL FROM:<>\r\nRCPT TO:<all>\r\nRCPT TO:<cleo>\r\nRCPT TO:<anna>\r\nRSET\r\n";
    assert_eq!(house.codes(words).await, "250 250 250 452 250");
    assert_eq!(house.codes("FLY\r\nFLY\r\nNOOP\r\nFLY\r\nNOOP\r\n").await, "500 500 250 500 421");
    let long = format!("{}\r\nNOOP\r\n", "x".repeat(100_000));
    assert_eq!(house.codes(&long).await, "500 250");
    let (mut first, _serving) = house.connect();
    first.read_u8().await.expect("greeted");
    let (mut second, serving) = house.connect();
    let mut told = String::new();
    second.read_to_string(&mut told).await.expect("read");
    assert_eq!(codes(&told), "421");
    serving.await.expect("no panic");
    assert_eq!(house.host.open(), 1);
}

#[tokio::test]
async fn who_is_silent_is_sent_away() {
    let house = house(|config| config.lmtp.idle_seconds = Duration::from_secs(1));
    for begun in ["", "NO", "LHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<anna>\r\nDATA\r\nx"] {
        let (mut client, serving) = house.connect();
        client.write_all(begun.as_bytes()).await.expect("sent");
        let mut told = String::new();
        client.read_to_string(&mut told).await.expect("read");
        serving.await.expect("no panic");
        assert!(told.ends_with("421 4.4.2 silent for too long\r\n"), "{told}");
    }
    assert_eq!(house.host.open(), 0);
}

#[tokio::test]
async fn a_stop_lets_the_message_at_hand_end() {
    let house = plain();
    let (mut idle, idling) = house.connect();
    let (mut busy, serving) = house.connect();
    let begun = format!("LHLO a\r\n{TO_ANNA}");
    busy.write_all(begun.as_bytes()).await.expect("sent");
    let mut told = Vec::new();
    while !told.ends_with(b". CRLF\r\n") {
        busy.read_buf(&mut told).await.expect("read");
    }
    house.host.sessions.end_all(EndReason::Shutdown);
    busy.write_all(b"Subject: late\r\n\r\n.\r\nNOOP\r\n").await.expect("sent");
    let mut rest = String::new();
    busy.read_to_string(&mut rest).await.expect("read");
    assert_eq!(codes(&rest), "250 421");
    let mut told = String::new();
    idle.read_to_string(&mut told).await.expect("read");
    assert_eq!(codes(&told), "220 421");
    serving.await.expect("no panic");
    idling.await.expect("no panic");
    assert_eq!(house.mail("anna", "INBOX").await.len(), 1);
    let order = Order { recipient: "anna".into(), mailbox: None, sender: None };
    assert_eq!(Local::begin(&house.host, &order).await.map(|_| ()), Err(Refusal::ShuttingDown));
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_leaves_nothing() {
    let house = plain();
    let half = format!("{TO_ANNA}{}", "0123456789\r\n".repeat(50_000));
    assert_eq!(house.codes(&half).await, "250 250 354");
    assert_eq!(house.mail("anna", "INBOX").await.len(), 0);
    let drafts = std::fs::read_dir(house._home.path().join("accounts/1/tmp")).expect("there").count();
    assert_eq!(drafts, 0);
}

#[tokio::test]
async fn a_command_delivers_as_a_mail_server_does() {
    let house = plain();
    let order = |recipient: &str, mailbox: Option<&str>, sender: Option<&str>| Order {
        recipient: recipient.into(),
        mailbox: mailbox.map(Into::into),
        sender: sender.map(Into::into),
    };
    let mut local =
        Local::begin(&house.host, &order("anna", Some("Archive"), Some("<bert@example.net>"))).await.expect("begun");
    local.write(b"Subject: x\r\n").await;
    local.write(b"\r\n").await;
    assert!(local.finish().await.expect("stored").starts_with("stored, id "));
    let mail = house.mail("anna", "Archive").await;
    assert!(
        mail[0].starts_with("Return-Path: <bert@example.net>\r\nDelivered-To: anna\r\nReceived: by box"),
        "{}",
        mail[0]
    );
    let mut local = Local::begin(&house.host, &order("anna+Junk", None, None)).await.expect("begun");
    local.write(b"\r\n").await;
    local.finish().await.expect("stored");
    assert!(house.mail("anna", "Junk").await[0].starts_with("Delivered-To: anna+Junk\r\n"));
    for (asked, refusal) in [
        (order("nobody", None, None), Refusal::NoSuchUser),
        (order("", None, None), Refusal::NoSuchUser),
        (order("an na", None, None), Refusal::NoSuchUser),
        (order("anna", Some("a//b"), None), Refusal::NoSuchFolder),
    ] {
        assert_eq!(Local::begin(&house.host, &asked).await.map(|_| ()), Err(refusal), "{asked:?}");
    }
    assert_eq!(house.host.open(), 0);
    assert!(bare_sender("<>").expect("nobody").is_none() && bare_sender("").expect("nobody").is_none());
    assert!(bare_sender("a b").is_err());
}
