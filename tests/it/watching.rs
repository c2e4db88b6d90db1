//! What an operator sees of a running server: `status`, `who`, `kick` and `top`, the page with the numbers, and the log,
//! which never holds a secret.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::client::{Client, PATIENCE};
use crate::lmtp_client::Lmtp;
use crate::server::Server;

const PASSWORD: &str = "correct-horse";

fn start(settings: &[&str]) -> Server {
    let settings: Vec<String> = settings.iter().map(|line| (*line).to_owned()).collect();
    let server = Server::start_with(&settings).unwrap_or_else(|error| panic!("{error}"));
    for user in ["ada", "bert"] {
        server.add_user(user, PASSWORD).unwrap_or_else(|error| panic!("{error}"));
    }
    server
}

fn connect(server: &Server) -> Client {
    let mut client = Client::connect(server.address()).expect("connected");
    assert!(client.line(PATIENCE).expect("greeted").is_some());
    client
}

fn order(client: &mut Client, text: &str) -> String {
    let told = client.order("a", text, None).expect("answered");
    told.iter().map(|line| String::from_utf8_lossy(line).into_owned() + "\n").collect()
}

fn sign_in(server: &Server, user: &str) -> Client {
    let mut client = connect(server);
    let told = order(&mut client, &format!("LOGIN {user} {PASSWORD}"));
    assert!(told.contains("a OK"), "{told}");
    client
}

/// What a command of the program prints; it must succeed.
fn run(server: &Server, arguments: &[&str]) -> String {
    let output = server.run(arguments, b"").unwrap_or_else(|error| panic!("{error}"));
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn who(server: &Server, more: &[&str]) -> Vec<Value> {
    let told = run(server, &[&["who", "--json"], more].concat());
    told.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn sessions_are_shown_with_what_they_do_and_can_be_ended() {
    let server = start(&[]);
    let mut ada = sign_in(&server, "ada");
    order(&mut ada, r#"ID ("name" "Tester" "version" "1.2" "secret" "x")"#);
    order(&mut ada, "SELECT Archive");
    ada.send(b"b IDLE\r\n").expect("sent");
    assert!(ada.line(PATIENCE).expect("read").is_some_and(|line| line.starts_with(b"+")));
    let mut bert = sign_in(&server, "bert");
    let _stranger = connect(&server);

    let all = who(&server, &[]);
    let shown = |at: usize, field: &str| all[at][field].as_str().unwrap_or("?").to_owned();
    let states: Vec<_> =
        (0..3).map(|at| [shown(at, "user"), shown(at, "state"), shown(at, "doing")].join(" ")).collect();
    assert_eq!(states, ["ada selected IDLE", "bert authenticated ", " not-authenticated "]);
    assert_eq!([shown(0, "client"), shown(0, "mailbox")], ["Tester 1.2", "Archive"]);
    assert!(shown(0, "address").starts_with("127.0.0.1:") && all[0]["tls"] == false);
    assert!(all[0]["received"].as_u64() > Some(50) && all[0]["sent"].as_u64() > Some(50), "{:?}", all[0]);
    assert_eq!(all[0]["commands"], 3);
    assert_eq!(who(&server, &["bert"]).len(), 1);
    let table = run(&server, &["who"]);
    assert!(table.starts_with("SESSION") && table.contains("selected IDLE") && table.lines().count() == 4, "{table}");
    let top = run(&server, &["top", "--most", "1"]);
    assert!(top.starts_with("3 sessions") && top.contains("ada") && top.lines().count() == 3, "{top}");

    let number = all[0]["session"].to_string();
    assert_eq!(run(&server, &["kick", "--session", &number]), "1 session was told to end\n");
    let bye = ada.line(PATIENCE).expect("read").expect("a line");
    assert_eq!(String::from_utf8_lossy(&bye), "* BYE the administrator ended this session");
    assert_eq!(run(&server, &["kick", "bert"]), "1 session was ended\n");
    assert!(bert.line(PATIENCE).expect("read").is_some_and(|line| line.starts_with(b"* BYE")));
    for nobody in [&["kick", "nobody"][..], &["kick", "--session", "99"]] {
        assert!(!server.run(nobody, b"").expect("run").status.success(), "{nobody:?}");
    }
}

#[test]
fn the_status_tells_version_limits_and_counters() {
    let server = start(&[]);
    let _ada = sign_in(&server, "ada");
    let told: Value = serde_json::from_str(&run(&server, &["status", "--json"])).expect("an object");
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told["process"], server.pid());
    assert_eq!([&told["sessions"], &told["sessions_signed_in"], &told["store"]["accounts_open"]], [1, 1, 1]);
    assert_eq!(told["login_limits"]["guesses_per_network"], "4");
    assert_eq!(told["counters"]["logins_succeeded"], 1);
    assert!(told["store"]["disk_free_bytes"].as_u64() > Some(0));
    let lines = run(&server, &["status"]);
    for words in ["version", "uptime", "disk free", "login: guesses_per_network", "since start: logins_succeeded"] {
        assert!(lines.contains(words), "{words}: {lines}");
    }
}

/// Status line and content of an answer.
fn http(address: &str, request: &[u8]) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    // It may be answered before all of it is sent.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, content) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.lines().next().unwrap_or_default().to_owned(), content.to_owned())
}

fn page_address(server: &Server) -> String {
    let log = server.log();
    let line = log.lines().find(|line| line.contains("telling metrics")).expect("the page is open");
    let rest = line.split("127.0.0.1:").nth(1).expect("a port");
    format!("127.0.0.1:{}", rest.chars().take_while(char::is_ascii_digit).collect::<String>())
}

/// The value of a line of the page.
fn number(page: &str, name: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in\n{page}")).parse().expect("a number")
}

#[test]
fn the_numbers_are_told_to_prometheus() {
    let server = start(&["metrics.address = \"127.0.0.1:0\""]);
    let address = page_address(&server);
    let page = || {
        let (status, page) = http(&address, b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n");
        assert_eq!(status, "HTTP/1.1 200 OK");
        page
    };
    let before = page();
    assert_eq!(number(&before, "pillarbox_logins_succeeded_total"), 0.0);
    let mut ada = sign_in(&server, "ada");
    assert!(order(&mut ada, "LOGIN ada wrong").contains("a BAD"));
    let message = b"Subject: x\r\n\r\ntext\r\n";
    assert!(ada.order("a", "APPEND INBOX", Some(message)).expect("answered").len() == 1);
    let after = page();
    for (name, value) in [
        ("pillarbox_logins_succeeded_total", 1.0),
        ("pillarbox_sessions_accepted_total", 1.0),
        ("pillarbox_commands_refused_total", 1.0),
        ("pillarbox_messages_placed_total", 1.0),
        ("pillarbox_sessions", 1.0),
        ("pillarbox_accounts_open", 1.0),
        ("pillarbox_command_seconds_count{command=\"LOGIN\"}", 2.0),
        ("pillarbox_command_seconds_bucket{command=\"APPEND\",le=\"+Inf\"}", 1.0),
    ] {
        assert_eq!(number(&after, name), value, "{name}");
    }
    for name in ["pillarbox_disk_free_bytes", "pillarbox_octets_sent_total", "pillarbox_store_commit_seconds_count"] {
        assert!(number(&after, name) > 0.0, "{name}");
    }
    // Each family is announced once, and each line is a name and a number.
    for line in after.lines().filter(|line| !line.starts_with("# ")) {
        let (name, value) = line.rsplit_once(' ').expect(line);
        assert!(name.starts_with("pillarbox_") && value.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn the_page_answers_health_and_bears_nonsense() {
    let server = start(&["metrics.address = \"127.0.0.1:0\""]);
    let address = page_address(&server);
    let health = || http(&address, b"GET /health HTTP/1.1\r\n\r\n");
    assert_eq!(health(), ("HTTP/1.1 200 OK".into(), "fine\n".into()));
    assert_eq!(http(&address, b"GET / HTTP/1.1\r\n\r\n").0, "HTTP/1.1 404 Not Found");
    assert_eq!(http(&address, b"POST /metrics HTTP/1.1\r\n\r\n").0, "HTTP/1.1 405 Method Not Allowed");
    assert_eq!(http(&address, b"a LOGIN ada x\r\n\r\n").0, "HTTP/1.1 400 Bad Request");
    assert_eq!(http(&address, &[b'x'; 8192]).0, "HTTP/1.1 431 Request Header Fields Too Large");
    // More silent ones than are answered at a time hold it up for their five seconds and no longer.
    let silent: Vec<_> = (0..8).map(|_| TcpStream::connect(&address).expect("connected")).collect();
    assert_eq!(health().0, "HTTP/1.1 200 OK");
    drop(silent);
    std::fs::remove_file(server.beside("data/hash.key")).expect("removed");
    let (status, text) = health();
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert!(text.starts_with("what is stored cannot be read"), "{text}");
}

#[test]
fn the_page_is_only_for_this_machine() {
    let told = Server::start_with(&["metrics.address = \"0.0.0.0:0\"".to_owned()]).map(|_| ()).expect_err("refused");
    assert!(told.contains("is no address of this machine itself"), "{told}");
}

#[test]
fn the_log_tells_what_a_session_did_and_no_secret() {
    let server = start(&["log.level = \"trace\"", "log.slow_command_ms = 1", "lmtp.socket = \"lmtp.sock\""]);
    let mut ada = connect(&server);
    order(&mut ada, "LOGIN ada Secret-wrong");
    // "\0ada\0Secret-plain", and the same with its password alone in base64.
    order(&mut ada, "AUTHENTICATE PLAIN AGFkYQBTZWNyZXQtcGxhaW4=");
    order(&mut ada, "LOGIN ada Secret-garbled and more");
    order(&mut ada, &format!("LOGIN ada {PASSWORD}"));
    let message = b"Subject: Secret-subject\r\nX-Mine: Secret-header\r\n\r\nSecret-body\r\n";
    ada.order("a", "APPEND INBOX", Some(message)).expect("answered");
    assert_eq!(Lmtp::unix(&server.beside("lmtp.sock")).deliver(&["ada"], message), ["250 2.0.0"]);
    order(&mut ada, "SELECT INBOX");
    order(&mut ada, "SEARCH TEXT Secret-search");
    order(&mut ada, "FETCH 1:* (ENVELOPE BODY[])");
    order(&mut ada, "STORE 1:* +FLAGS (Secret-keyword)");
    order(&mut ada, "Secret-nonsense");
    assert!(order(&mut ada, "LOGOUT").contains("a OK"));
    assert_eq!(ada.line(PATIENCE).expect("read"), None);

    let log = server.log_with("end=\"logout\"");
    let ended = log.lines().find(|line| line.contains("end=\"logout\"")).expect("waited for");
    for part in ["user=\"ada\"", "commands=", "messages=5", "received=", "sent=", "seconds="] {
        assert!(ended.contains(part), "{part}: {ended}");
    }
    // Hashing a password takes longer than a millisecond anywhere.
    let slow =
        log.lines().find(|line| line.contains("slow command") && line.contains("\"LOGIN\"")).expect("a slow one");
    for part in ["millis=", "messages=", "received=", "sent="] {
        assert!(slow.contains(part), "{part}: {slow}");
    }
    assert!(log.contains("logged in") && log.contains("log-in refused") && log.contains("mail stored"));
    for secret in ["Secret-", PASSWORD, "AGFkYQBTZWNyZXQtcGxhaW4", "U2VjcmV0"] {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(secret)).collect();
        assert!(lines.is_empty(), "{secret}: {lines:#?}");
    }
}
