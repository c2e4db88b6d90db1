//! fail2ban's own program reads, with our filter, lines that the real server wrote.

use std::path::Path;
use std::process::Command;

use crate::client::{Client, PATIENCE};
use crate::server::Server;

const PASSWORD: &str = "correct-horse";
/// A name that wants to have somebody else banned.
const POSING: &str = r#"x\" address=192.0.2.9 how=\"password\" reason=\"AUTHENTICATIONFAILED\""#;

fn read_log(format: &str) {
    let name = "fail2ban-regex";
    if Command::new(name).arg("--version").output().is_err() {
        eprintln!("skipped: {name} is not installed");
        return;
    }
    let server = Server::start_with(&[format!("log.format = \"{format}\"")]);
    let server = server.unwrap_or_else(|error| panic!("{error}"));
    server.add_user("ada", PASSWORD).expect("added");
    server.add_user("bert", PASSWORD).expect("added");
    server.run(&["user", "disable", "bert"], b"").expect("disabled");
    let mut client = Client::connect(server.address()).expect("connected");
    assert!(client.line(PATIENCE).expect("greeted").is_some());
    let mut order = |text: &str| client.order("a", text, None).expect("answered").concat();
    // Three that count.
    for guess in ["LOGIN ada wrong", "LOGIN nobody wrong", &format!("LOGIN \"{POSING}\" wrong")] {
        assert!(order(guess).starts_with(b"a NO [AUTHENTICATIONFAILED]"), "{guess}");
    }
    // And three that do not: garbled, barred, right.
    assert!(order("LOGIN ada").starts_with(b"a BAD"));
    assert!(order(&format!("LOGIN bert {PASSWORD}")).starts_with(b"a NO [CONTACTADMIN]"));
    assert!(order(&format!("LOGIN ada {PASSWORD}")).starts_with(b"a OK"));

    // The last of the lines: what was answered before is in the log by then.
    let log = server.log_with("logged in");
    let filter = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/fail2ban/filter.d/pillarbox.conf");
    let without_time = |line: &str| line.split_once("Z ").map_or(line.to_owned(), |(_, rest)| rest.to_owned());
    // As a file has them, and as the journal gives them, which has the time beside the line.
    for (before, has_time) in [("", true), ("mail pillarbox[77]: ", true), ("mail pillarbox[77]: ", false)] {
        let shown = |line: &str| if has_time || format == "json" { line.to_owned() } else { without_time(line) };
        let lines: String = log.lines().map(|line| format!("{before}{}\n", shown(line))).collect();
        let file = server.beside("server.log");
        std::fs::write(&file, &lines).expect("written");
        let output = Command::new(name).args(["-o", "ip"]).arg(&file).arg(&filter).output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(told.lines().collect::<Vec<_>>(), ["127.0.0.1"; 3], "{said}\n{lines}");
    }
}

#[test]
fn plain_lines_of_guesses_are_found_and_no_others() {
    read_log("plain");
}

#[test]
fn json_lines_too() {
    read_log("json");
}
