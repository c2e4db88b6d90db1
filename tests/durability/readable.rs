//! An expunged message stays readable for the session that has not been told (RFC 3501 §7.4.1 forbids to
//! tell it during FETCH), whoever took it away and however.

use crate::client::{Client, Token};
use crate::installation::Installation;
use crate::picture::{ask, pair};
use crate::random::{Random, message};

/// The body behind a message number, for a session that must still have it.
pub fn body_of(client: &mut Client, sequence: u32) -> Result<Vec<u8>, String> {
    let answer = ask(client, &format!("FETCH {sequence} (UID BODY.PEEK[])"))?;
    let line = answer.lines("FETCH").next().ok_or("FETCH told nothing")?;
    match line.get(2).and_then(Token::list).and_then(|items| pair(items, "BODY[]")) {
        Some(Token::Text(body)) => Ok(body.clone()),
        other => Err(format!("no body but {other:?}")),
    }
}

/// How many messages a NOOP takes away from this session.
pub fn told_gone(client: &mut Client) -> Result<usize, String> {
    Ok(ask(client, "NOOP")?.lines("EXPUNGE").count())
}

#[test]
fn an_expunged_message_stays_readable_for_a_session_that_was_not_told() {
    let installation = Installation::new(&["anna"], "min_free_bytes = 0");
    let server = installation.start().unwrap_or_else(|text| panic!("{text}"));
    let mut random = Random::new(3);
    let bodies: Vec<Vec<u8>> =
        [900, 150 * 1024, 2000].iter().map(|size| message(&format!("r{size}"), *size, &mut random)).collect();
    let mut reader = server.sign_in("r", "anna").expect("sign in");
    let mut other = server.sign_in("o", "anna").expect("sign in");
    ask(&mut other, "CREATE aside").expect("created");
    for body in &bodies {
        let appended = other.command_with("APPEND INBOX ", &[("", body)]).expect("an answer");
        assert!(appended.code("APPENDUID").is_some(), "{appended:?}");
    }
    ask(&mut reader, "SELECT INBOX").expect("selected");
    ask(&mut other, "SELECT INBOX").expect("selected");
    ask(&mut other, "STORE 1:2 +FLAGS.SILENT (\\Deleted)").expect("stored");
    ask(&mut other, "EXPUNGE").expect("expunged");
    ask(&mut other, "MOVE 1 aside").expect("moved");
    for (place, body) in bodies.iter().enumerate() {
        let found =
            body_of(&mut reader, place as u32 + 1).unwrap_or_else(|text| panic!("{text}\n{}", server.log_tail()));
        assert!(found == *body, "message {} came with other bytes", place + 1);
    }
    assert_eq!(told_gone(&mut reader), Ok(3));
    assert_eq!(server.panicked(), None);
}
