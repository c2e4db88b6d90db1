//! Mail that comes in over real sockets, and is read over IMAP.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::client::{Client, PATIENCE};
use crate::lmtp_client::Lmtp;
use crate::server::Server;

const PASSWORD: &str = "correct-horse";

/// `settings`: lines of the table `[lmtp]`.
fn start(settings: &str, users: &[&str]) -> Server {
    let lines = std::iter::once("socket = \"lmtp.sock\"").chain(settings.lines());
    let lines: Vec<String> = lines.map(|line| format!("lmtp.{line}")).collect();
    let server = Server::start_with(&lines);
    let server = server.unwrap_or_else(|error| panic!("{error}"));
    for user in users {
        server.add_user(user, PASSWORD).unwrap_or_else(|error| panic!("{error}"));
    }
    server
}

fn connect(server: &Server) -> Lmtp {
    Lmtp::unix(&server.beside("lmtp.sock"))
}

fn sign_in(server: &Server, user: &str) -> Client {
    let mut client = Client::connect(server.address()).expect("connected");
    assert!(client.line(PATIENCE).expect("greeted").is_some());
    let told = client.order("a", &format!("LOGIN {user} {PASSWORD}"), None).expect("answered");
    assert!(told.last().is_some_and(|line| line.starts_with(b"a OK")), "{user}: {told:?}");
    client
}

/// The whole of each message in a mailbox.
fn messages(server: &Server, user: &str, mailbox: &str) -> Vec<Vec<u8>> {
    let mut client = sign_in(server, user);
    client.order("b", &format!("SELECT {mailbox}"), None).expect("answered");
    let told = client.order("c", "UID FETCH 1:* BODY.PEEK[]", None).expect("answered");
    let bodies = told.iter().filter(|line| line.starts_with(b"* ")).map(|line| {
        let from = line.windows(3).position(|three| three == b"}\r\n").expect("a literal") + 3;
        line[from..line.len() - 1].to_vec()
    });
    bodies.collect()
}

fn ends_with(message: &[u8], end: &[u8]) -> bool {
    message.ends_with(end)
}

#[test]
fn what_is_sent_is_what_is_read() {
    let server = start("", &["ada", "jürgen"]);
    let mut lmtp = connect(&server);
    for offer in
        ["PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "BINARYMIME", "CHUNKING", "SIZE 52428800"]
    {
        assert!(lmtp.offers.iter().any(|line| line == offer), "{offer}: {:?}", lmtp.offers);
    }
    assert!(!lmtp.offers.iter().any(|line| line == "DSN"));
    // Dots at every place, bare CR and LF, eight bits in no charset.
    assert_eq!(
        lmtp.deliver(&["ada"], b"Subject: dots\r\n\r\n..\r\n...a\r\na.\r\n\n.\n\r.\r\xff\xe4\r\n"),
        ["250 2.0.0"]
    );
    // All in one packet, a second transaction behind the first.
    let dots = b"Subject: dots\r\n\r\n.\r\n..a\r\na.\r\n\n.\n\r.\r\xff\xe4\r\n";
    lmtp.send(b"MAIL FROM:<>\r\nRCPT TO:<ada>\r\nRCPT TO:<nobody>\r\nDATA\r\n");
    for expected in ["250 2.1.0", "250 2.1.5", "550 5.1.1", "354"] {
        let reply = lmtp.reply();
        assert!(reply.starts_with(expected), "{reply}");
    }
    lmtp.send(b"Subject: two\r\n\r\n.\r\nMAIL FROM:<\xc3\xbc@example.net> SMTPUTF8\r\nRCPT TO:<j\xc3\xbcrgen>\r\n");
    for expected in ["250 2.0.0", "250 2.1.0", "250 2.1.5"] {
        let reply = lmtp.reply();
        assert!(reply.starts_with(expected), "{reply}");
    }
    lmtp.send(b"BDAT 19\r\nSubject: \xc3\xa4\r\n\r\n.\r\n.BDAT 3 LAST\r\n\r\nx");
    let (chunk, last) = (lmtp.reply(), lmtp.reply());
    assert!(chunk.starts_with("250 2.0.0") && last.starts_with("250 2.0.0"), "{chunk} {last}");
    assert!(lmtp.ask("QUIT").starts_with("221 2.0.0"));

    let mail = messages(&server, "ada", "INBOX");
    assert!(ends_with(&mail[0], dots), "{:?}", String::from_utf8_lossy(&mail[0]));
    assert!(
        mail[0]
            .starts_with(b"Return-Path: <sender@example.net>\r\nDelivered-To: ada\r\nReceived: from mail.example.net")
    );
    assert!(mail[1].starts_with(b"Return-Path: <>\r\n") && ends_with(&mail[1], b"Subject: two\r\n\r\n"));
    let mut client = Client::connect(server.address()).expect("connected");
    client.line(PATIENCE).expect("greeted");
    let told = client.order("a", "LOGIN {7+}\r\njürgen correct-horse", None).expect("answered");
    assert!(told.last().is_some_and(|line| line.starts_with(b"a OK")), "{told:?}");
    client.order("b", "SELECT INBOX", None).expect("answered");
    let told = client.order("c", "FETCH 1 BODY.PEEK[]", None).expect("answered");
    let text = String::from_utf8_lossy(&told[0]).into_owned();
    assert!(text.contains("Return-Path: <ü@example.net>\r\nDelivered-To: jürgen\r\n"), "{text}");
    assert!(text.ends_with("Subject: ä\r\n\r\n.\r\n.\r\nx)"), "{text}");
}

#[test]
fn many_recipients_and_each_his_own_answer() {
    let names: Vec<String> = (0..12).map(|n| format!("user{n}")).collect();
    let users: Vec<&str> = names.iter().map(String::as_str).collect();
    let server = start("recipients = 100\n", &users);
    let disabled = server.run(&["user", "disable", "user3"], b"").expect("run");
    assert!(disabled.status.success());
    let mut lmtp = connect(&server);
    lmtp.ask("MAIL FROM:<sender@example.net> SIZE=400000");
    let replies: Vec<String> = users.iter().map(|user| lmtp.ask(&format!("RCPT TO:<{user}>"))).collect();
    assert!(replies[3].starts_with("450 4.2.1"), "{}", replies[3]);
    assert_eq!(replies.iter().filter(|reply| reply.starts_with("250 2.1.5")).count(), 11);
    assert!(lmtp.ask("RCPT TO:<nobody>").starts_with("550 5.1.1"));
    lmtp.ask("DATA");
    let body = b"x".repeat(76);
    lmtp.send(b"Subject: large\r\n\r\n");
    (0..5000).for_each(|_| lmtp.send(&[&body[..], b"\r\n"].concat()));
    lmtp.send(b".\r\n");
    for _ in 0..11 {
        let reply = lmtp.reply();
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
    }
    assert!(lmtp.ask("NOOP").starts_with("250 2.0.0"), "not one reply more");
    // One file on the disk for all of them, once the sweep has taken the draft's own name away.
    let accounts = std::fs::read_dir(server.beside("data/accounts")).expect("there");
    let inodes: Vec<u64> = accounts.flatten().flat_map(|account| blobs(&account.path())).collect();
    assert!(inodes.len() >= 11 && inodes.iter().all(|inode| *inode == inodes[0]), "{inodes:?}");
    assert_eq!(messages(&server, "user11", "INBOX").len(), 1);
    assert_eq!(messages(&server, "user0", "INBOX"), messages(&server, "user11", "INBOX"));
}

fn blobs(account: &Path) -> Vec<u64> {
    let Ok(shelves) = std::fs::read_dir(account.join("blobs")) else { return Vec::new() };
    let files = shelves.flatten().flat_map(|shelf| std::fs::read_dir(shelf.path()).into_iter().flatten().flatten());
    files.map(|file| file.metadata().expect("there").ino()).collect()
}

#[test]
fn a_client_that_idles_is_told() {
    let server = start("", &["ada"]);
    let mut client = sign_in(&server, "ada");
    client.order("b", "SELECT INBOX", None).expect("answered");
    client.send(b"c IDLE\r\n").expect("sent");
    assert!(client.line(PATIENCE).expect("read").is_some_and(|line| line.starts_with(b"+")));
    assert_eq!(connect(&server).deliver(&["ada"], b"Subject: now\r\n\r\n"), ["250 2.0.0"]);
    let mut told = Vec::new();
    while !told.contains(&b"* 1 EXISTS".to_vec()) {
        told.push(client.line(PATIENCE).expect("read").expect("still there"));
    }
    assert!(!told.iter().any(|line| line.windows(5).any(|word| word == b"\\Seen")), "{told:?}");
}

#[test]
fn aliases_and_folders_are_commands_and_settings() {
    let server = start(
        "local_domains = [\"example.org\"]\nmissing_folder = \"create\"\nseparator = \"-\"\n",
        &["ada", "bob", "eve@example.net"],
    );
    let run = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let output = server.run(&words, b"").expect("run");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(run("alias add Sales@example.org ada bob"), (Some(0), "sales@example.org\tada bob\n".into()));
    assert_eq!(run("alias add @example.net ada").0, Some(0));
    assert_eq!(run("alias list").1, "@example.net\tada\nsales@example.org\tada bob\n");
    for refused in [
        "alias add ada bob",
        "alias add chain sales@example.org",
        "alias add no@body nobody",
        "alias add a@b@c ada",
        "alias remove unknown",
        "alias remove @example.net bob",
        "user add sales@example.org --password-stdin",
    ] {
        assert_eq!(run(refused).0, Some(1), "{refused}");
    }
    let mut lmtp = connect(&server);
    let message = b"Subject: x\r\n\r\n";
    assert_eq!(lmtp.deliver(&["sales@example.org"], message), ["250 2.0.0"]);
    assert_eq!(lmtp.deliver(&["Ada-Lists/Rust@example.org"], message), ["250 2.0.0"]);
    assert_eq!(lmtp.deliver(&["whoever@example.net", "eve@example.net"], message), ["250 2.0.0", "250 2.0.0"]);
    lmtp.ask("MAIL FROM:<>");
    for (address, code) in [
        ("nobody@example.org", "550 5.1.1"),
        ("ada@example.com", "550 5.1.2"),
        ("", "501 5.1.3"),
        ("\"\"", "550 5.1.1"),
        ("ada@[127.0.0.1]", "550 5.1.2"),
        ("@example.org:ada@example.org", "250 2.1.5"),
        ("\"ada\"@example.org", "250 2.1.5"),
    ] {
        let reply = lmtp.ask(&format!("RCPT TO:<{address}>"));
        assert!(reply.starts_with(code), "{address}: {reply}");
    }
    assert_eq!(run("alias remove sales@example.org bob"), (Some(0), "sales@example.org\tada\n".into()));
    assert_eq!(run("alias remove sales@example.org"), (Some(0), "sales@example.org is no alias any more\n".into()));
    assert!(lmtp.ask("RCPT TO:<sales@example.org>").starts_with("550 5.1.1"), "the server reads it at once");
    assert_eq!(messages(&server, "ada", "INBOX").len(), 2);
    assert_eq!(messages(&server, "bob", "INBOX").len(), 1);
    assert_eq!(messages(&server, "eve@example.net", "INBOX").len(), 1);
    assert_eq!(messages(&server, "ada", "Lists/Rust").len(), 1);
}

#[test]
fn a_large_message_needs_little_memory() {
    let server = start("", &["ada", "bob"]);
    let mut lmtp = connect(&server);
    // Whatever is made at first use is made.
    assert_eq!(lmtp.deliver(&["ada", "bob"], &b"x\r\n".repeat(100_000)), ["250 2.0.0", "250 2.0.0"]);
    let before = peak_kib(&server);
    lmtp.ask("MAIL FROM:<> SIZE=45000000");
    lmtp.ask("RCPT TO:<ada>");
    lmtp.ask("RCPT TO:<bob>");
    lmtp.ask("DATA");
    let piece = b"The quick brown fox jumps over the lazy dog.\r\n".repeat(1000);
    (0..950).for_each(|_| lmtp.send(&piece));
    lmtp.send(b".\r\n");
    assert!(lmtp.reply().starts_with("250 2.0.0"));
    assert!(lmtp.reply().starts_with("250 2.0.0"));
    let grown = peak_kib(&server) - before;
    assert!(grown < 8 * 1024, "{grown} KiB more for 43 MB");
    // Nor does one that is too large, or without end of line.
    lmtp.send(b"MAIL FROM:<>\r\nRCPT TO:<ada>\r\nDATA\r\n");
    (0..60).for_each(|_| lmtp.send(&vec![b'y'; 1 << 20]));
    lmtp.send(b"\r\n.\r\n");
    let replies: Vec<String> = (0..4).map(|_| lmtp.reply()).collect();
    assert!(replies[3].starts_with("552 5.3.4"), "{replies:?}");
    let grown = peak_kib(&server) - before;
    assert!(grown < 8 * 1024, "{grown} KiB more for 60 MB");
}

fn peak_kib(server: &Server) -> u64 {
    let id = server.process_id().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn tcp_is_for_this_machine_and_a_stop_waits_for_the_message() {
    let mut server = start("listen = [\"127.0.0.1:0\"]\n", &["ada"]);
    let log = server.log();
    let line = log.lines().find(|line| line.contains("taking mail in") && line.contains("127.0.0.1:"));
    let line = line.unwrap_or_else(|| panic!("no LMTP address in the log:\n{log}"));
    let from = line.find("127.0.0.1:").expect("an address");
    let address: String = line[from..].chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
    let mut lmtp = Lmtp::tcp(&address);
    lmtp.ask("MAIL FROM:<>");
    lmtp.ask("RCPT TO:<ada>");
    lmtp.ask("DATA");
    lmtp.send(b"Subject: begun\r\n");
    let mut idle = connect(&server);
    let finishing = std::thread::spawn(move || {
        // The server is stopping when this one is told to leave.
        let told = idle.reply();
        lmtp.send(b"\r\nended\r\n.\r\nNOOP\r\n");
        (told, lmtp.reply(), lmtp.reply())
    });
    assert!(server.terminate().expect("ended").success());
    let (idle, stored, leave) = finishing.join().expect("no panic");
    assert!(idle.starts_with("421 4.3.2"), "{idle}");
    assert!(stored.starts_with("250 2.0.0") && leave.starts_with("421 4.3.2"), "{stored} {leave}");
    assert!(!server.beside("lmtp.sock").exists());
    server.kill_and_start().expect("started");
    let mail = messages(&server, "ada", "INBOX");
    assert!(mail[0].windows(11).any(|text| text == b"([127.0.0.1") && ends_with(&mail[0], b"begun\r\n\r\nended\r\n"));
}

#[test]
fn the_command_delivers_with_and_without_a_server() {
    let mut server = start("", &["ada"]);
    let deliver = |server: &Server, words: &[&str], message: &[u8]| {
        let output = server.run(&[&["deliver"], words].concat(), message).expect("run");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let message = b"From sender Tue Nov 25 20:59:01 2025\nSubject: piped\n\n.\ntext\n";
    let all = |server: &Server, n: usize| {
        let done = deliver(server, &["-u", "ada", "-f", "sender@example.net"], message);
        assert_eq!(done, (Some(0), String::new()));
        assert_eq!(deliver(server, &["-u", "ada+Archive"], message).0, Some(0));
        assert_eq!(deliver(server, &["-u", "ada", "-m", "Junk", "-f", ""], message).0, Some(0));
        // Large ones go by a file.
        assert_eq!(deliver(server, &["-u", "ada", "-m", "Trash"], &b"x\n".repeat(300_000)).0, Some(0));
        for (words, code) in [
            (&["-u", "nobody"][..], 67),
            (&["-u", ""], 67),
            (&[], 64),
            (&["-u", "ada", "--nonsense"], 64),
            (&["-u", "ada", "-f", "no address"], 64),
            (&["-u", "ada", "-m", "a//b"], 73),
        ] {
            let (found, told) = deliver(server, words, message);
            assert_eq!(found, Some(code), "{n}: {words:?}: {told}");
            assert!(!told.is_empty());
        }
        assert_eq!(deliver(server, &["-u", "ada"], b"Subject: a\0b\n\n").0, Some(65), "NUL");
    };
    all(&server, 1);
    assert!(server.terminate().expect("ended").success());
    all(&server, 2);
    server.kill_and_start().expect("started");
    let inbox = messages(&server, "ada", "INBOX");
    assert_eq!(inbox.len(), 2);
    for mail in &inbox {
        assert!(mail.starts_with(b"Return-Path: <sender@example.net>\r\nDelivered-To: ada\r\nReceived: by "));
        assert!(ends_with(mail, b"\r\nSubject: piped\r\n\r\n.\r\ntext\r\n"), "{:?}", String::from_utf8_lossy(mail));
    }
    assert!(messages(&server, "ada", "Junk").iter().all(|mail| mail.starts_with(b"Return-Path: <>\r\n")));
    assert!(messages(&server, "ada", "Archive").iter().all(|mail| mail.starts_with(b"Delivered-To: ada+Archive\r\n")));
    let large = messages(&server, "ada", "Trash");
    assert!(large.len() == 2 && large.iter().all(|mail| mail.len() > 900_000));
    std::fs::write(server.config(), "nonsense").expect("written");
    assert_eq!(deliver(&server, &["-u", "ada"], message).0, Some(75), "mail waits until the file is mended");
}
