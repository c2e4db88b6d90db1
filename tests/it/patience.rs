//! How long a command may take to come: one that drips holds no place, one that keeps coming is waited for. These two
//! cannot be shown without letting time pass, as it is the pace of the client that decides.

use std::time::Duration;

use crate::client::{Client, PATIENCE};
use crate::server::Server;

const PASSWORD: &str = "correct-horse";
/// Octets of the message that comes slowly, at ten pieces a second: twice as fast as the slowest that is waited for.
const PIECE: usize = 52;

fn signed_in() -> (Server, Client) {
    let server = Server::start_with(&["limits.partial_command_seconds = 1".to_string()]);
    let server = server.unwrap_or_else(|error| panic!("{error}"));
    server.add_user("ada", PASSWORD).unwrap_or_else(|error| panic!("{error}"));
    let mut client = Client::connect(server.address()).expect("connected");
    assert!(client.line(PATIENCE).expect("greeted").is_some());
    let told = client.order("a", &format!("LOGIN ada {PASSWORD}"), None).expect("answered");
    assert!(told.last().is_some_and(|line| line.starts_with(b"a OK")), "{told:?}");
    (server, client)
}

#[test]
fn a_command_that_drips_is_not_waited_for() {
    let (_server, mut client) = signed_in();
    // An octet each tenth of a second: never silent for long, and never done.
    let mut sent = 0;
    while client.send(b"x").is_ok() && sent < 600 {
        sent += 1;
        std::thread::sleep(Duration::from_millis(100));
        match client.line(Duration::from_millis(1)) {
            Ok(Some(line)) => {
                assert!(line.starts_with(b"* BYE"), "{:?}", String::from_utf8_lossy(&line));
                return;
            }
            Ok(None) => panic!("closed without a BYE"),
            Err(_) => {}
        }
    }
    panic!("still open after {sent} octets, a tenth of a second apart");
}

#[test]
fn a_message_that_keeps_coming_is_waited_for() {
    let (_server, mut client) = signed_in();
    // Three times as long as a command may take that does not keep coming.
    let message = format!("Subject: slow\r\n\r\n{}", "x".repeat(30 * PIECE));
    client.send(format!("b APPEND INBOX {{{}}}\r\n", message.len()).as_bytes()).expect("sent");
    let invited = client.line(PATIENCE).expect("answered").expect("open");
    assert!(invited.starts_with(b"+ "), "{:?}", String::from_utf8_lossy(&invited));
    for piece in message.as_bytes().chunks(PIECE) {
        client.send(piece).expect("sent");
        std::thread::sleep(Duration::from_millis(100));
    }
    client.send(b"\r\n").expect("sent");
    let answer = client.line(PATIENCE).expect("answered").expect("open");
    assert!(answer.starts_with(b"b OK [APPENDUID"), "{:?}", String::from_utf8_lossy(&answer));
}
