//! Real mail programs against our server, each by its script in `tests/clients/` and with an account of its own.
//! A program that is not installed is skipped and said so.

use crate::server::Server;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a script answers when its program is not installed.
const SKIPPED: i32 = 77;
const PASSWORD: &str = "correct-horse";

#[test]
fn mbsync() {
    run("mbsync.sh");
}

#[test]
fn neomutt() {
    run("neomutt.sh");
}

#[test]
fn curl() {
    run("curl.sh");
}

#[test]
fn imaplib() {
    run("imaplib_roundtrip.py");
}

/// Recorded sessions, when PILLARBOX_REPLAY names a player.
#[test]
fn replay() {
    run("replay.sh");
}

fn run(script: &str) {
    let server = Server::start().unwrap_or_else(|error| panic!("{error}"));
    server.add_user("ada", PASSWORD).unwrap_or_else(|error| panic!("{error}"));
    let (host, port) = server.address().rsplit_once(':').expect("host:port");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let output = Command::new(&path)
        .stdin(Stdio::null())
        .envs([("IMAP_HOST", host), ("IMAP_PORT", port), ("IMAP_USER", "ada"), ("IMAP_PASSWORD", PASSWORD)])
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && path.exists() => {
            println!("skipped: what {script} is written in is not installed");
            return;
        }
        Err(error) => panic!("{}: {error}", path.display()),
    };
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    print!("{text}");
    let is_fine = output.status.success() || output.status.code() == Some(SKIPPED);
    assert!(is_fine, "{script}: {}\n{text}\nthe server wrote:\n{}", output.status, server.log());
}
