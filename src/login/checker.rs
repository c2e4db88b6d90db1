//! Asking somebody else whether a password is right: a program behind a Unix socket, which knows LDAP, PAM or whatever
//! a site has. One line of JSON each way, one connection for each question; docs/logins.md has the protocol.
//! Silence, nonsense and a dead program are trouble of ours, never a wrong password.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tracing::{error, warn};

use super::turns::{Turns, Wish};
use super::{Attempt, LoginRefusal};
use crate::config::Checker as Settings;
use crate::types::Secret;

/// Longest answer, in octets.
const MOST_ANSWER_BYTES: u64 = 4096;

/// The version of the protocol, told with each question.
const VERSION: u32 = 1;

/// The way to the program that checks.
pub(super) struct Checker {
    turns: Arc<Turns>,
}

/// What the program says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The password is right; the user's name in the directory, or nothing when it is the name that was asked for.
    Yes(String),
    No,
    Disabled,
}

#[derive(Serialize)]
struct Question<'a> {
    version: u32,
    ask: &'static str,
    user: &'a str,
    password: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "answer", rename_all = "lowercase")]
enum Answer {
    Yes {
        #[serde(default)]
        user: String,
    },
    No,
    Disabled,
    /// It cannot say now.
    Later {
        #[serde(default)]
        reason: String,
    },
}

impl Checker {
    /// `at_once` questions are out at a time, and `most_waiting` log-ins wait for that.
    pub fn new(at_once: usize, most_waiting: usize) -> Self {
        Checker { turns: Turns::new(at_once, most_waiting) }
    }

    /// How many log-ins wait.
    pub fn waiting(&self) -> usize {
        self.turns.waiting()
    }

    /// Asks about a name and a password.
    pub async fn password(
        &self,
        settings: &Settings,
        wish: Wish,
        attempt: &Attempt,
        password: &Secret,
    ) -> Result<Verdict, LoginRefusal> {
        // JSON is UTF-8. A password that is none is nobody's here.
        let Ok(password) = std::str::from_utf8(password.reveal()) else { return Ok(Verdict::No) };
        let Ok(_turn) = self.turns.take(wish).await else {
            crate::metrics::METRICS.limit_refusals.add(1);
            return Err(LoginRefusal::Busy("too many log-ins at once, try again later"));
        };
        let address = attempt.address.map(|ip| ip.to_string());
        let question = Question { version: VERSION, ask: "password", user: &attempt.name, password, address };
        let question = serde_json::to_string(&question).map_err(|_| LoginRefusal::Unavailable)?;
        let asking = ask(settings.socket.clone(), Secret::new(question + "\n"));
        let answer = tokio::time::timeout(settings.timeout_seconds, asking).await;
        match answer.map_err(|_| "it was silent for too long".to_owned()).and_then(|answer| answer) {
            Ok(Answer::Yes { user }) => Ok(Verdict::Yes(user)),
            Ok(Answer::No) => Ok(Verdict::No),
            Ok(Answer::Disabled) => Ok(Verdict::Disabled),
            Ok(Answer::Later { reason }) => {
                warn!(?reason, "the password checker cannot say now");
                Err(LoginRefusal::Unavailable)
            }
            Err(trouble) => {
                error!(socket = %settings.socket.display(), trouble, "the password checker gave no answer");
                Err(LoginRefusal::Unavailable)
            }
        }
    }
}

async fn ask(socket: PathBuf, question: Secret) -> Result<Answer, String> {
    let trouble = |error: std::io::Error| error.to_string();
    let mut stream = UnixStream::connect(socket).await.map_err(trouble)?;
    stream.write_all(question.reveal()).await.map_err(trouble)?;
    let mut line = Vec::new();
    BufReader::new(stream.take(MOST_ANSWER_BYTES)).read_until(b'\n', &mut line).await.map_err(trouble)?;
    if !line.ends_with(b"\n") {
        return Err("its answer is no whole line".into());
    }
    // What it said is not told: a mistaken program may repeat the password.
    serde_json::from_slice(&line).map_err(|_| "its answer is not understood".into())
}
