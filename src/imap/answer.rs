//! How a command ends: done, refused, or by a fault of ours. One place turns each into its tagged line.

use crate::mailstore::{self, Error};
use crate::metrics::METRICS;
use crate::types::{BadMailboxName, Code, Condition};
use crate::wire::response::{StatusResponse, write_status};

/// A command that was carried out.
#[derive(Debug, Default)]
pub struct Done {
    pub code: Option<Code>,
    /// What stands behind OK; empty: the command's name and "completed".
    pub text: String,
}

/// A command that was not.
#[derive(Debug)]
pub enum Stop {
    /// A normal "no": NO or BAD, with a code when an RFC has one, and a sentence a person can use.
    Refused { condition: Condition, code: Option<Code>, text: String },
    /// Ours. It was logged once, with this number.
    Fault { id: u64 },
    /// The client is gone, or is to be: the session ends without a tagged line.
    Gone,
}

pub type Answer = Result<Done, Stop>;

impl Done {
    pub fn with_code(code: Code) -> Self {
        Done { code: Some(code), text: String::new() }
    }
}

/// NO with a code.
pub fn no(code: Code, text: impl Into<String>) -> Stop {
    Stop::Refused { condition: Condition::No, code: Some(code), text: text.into() }
}

/// BAD: the command cannot be meant like this.
pub fn bad(text: impl Into<String>) -> Stop {
    Stop::Refused { condition: Condition::Bad, code: None, text: text.into() }
}

/// Logs a fault of ours and gives the number under which it stands in the log.
pub fn fault(what: &dyn std::fmt::Display) -> Stop {
    let id = METRICS.store_faults.read().wrapping_mul(1000) + u64::from(std::process::id() % 1000);
    METRICS.store_faults.add(1);
    tracing::error!(id, fault = %what, "a command failed by our fault");
    Stop::Fault { id }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NoSuchMailbox | Error::NotSelectable => no(Code::NonExistent, text),
            // RFC 5530 §3: another session's EXPUNGE, which this one will be told of soon.
            Error::NoSuchMessage => no(Code::ExpungeIssued, text),
            Error::UseTaken => no(Code::UseAttr, text),
            Error::AlreadyExists => no(Code::AlreadyExists, text),
            Error::Forbidden(_) => no(Code::Cannot, text),
            Error::Limit(_) | Error::UidsUsedUp => no(Code::Limit, text),
            Error::DiskFull | Error::Unavailable => no(Code::Unavailable, text),
            Error::OverQuota(_) => no(Code::OverQuota, text),
            Error::Corrupt(_) => no(Code::Corruption, text),
            Error::TooLarge => no(Code::TooBig, text),
            Error::Fault(_) => fault(&text),
        }
    }
}

impl From<BadMailboxName> for Stop {
    fn from(bad: BadMailboxName) -> Self {
        no(Code::Cannot, bad.to_string())
    }
}

impl From<std::io::Error> for Stop {
    fn from(_: std::io::Error) -> Self {
        Stop::Gone
    }
}

/// For APPEND, COPY and MOVE: a missing target could be made by the client (RFC 3501 §6.3.11, §6.4.7).
pub fn missing_target(error: Error) -> Stop {
    match error {
        Error::NoSuchMailbox | Error::NotSelectable => no(Code::TryCreate, error.to_string()),
        other => mailstore_stop(other),
    }
}

fn mailstore_stop(error: mailstore::Error) -> Stop {
    error.into()
}

/// A status response in one line of code; without a tag it is untagged.
pub fn write_condition(out: &mut Vec<u8>, tag: Option<&str>, condition: Condition, code: Option<&Code>, text: &str) {
    write_status(out, &StatusResponse { tag, condition, code, text });
}

/// Writes a command's tagged line. `Gone` has none.
pub fn write_answer(out: &mut Vec<u8>, tag: &str, word: &str, answer: &Answer) {
    match answer {
        Ok(done) => {
            let text = if done.text.is_empty() { format!("{word} completed") } else { done.text.clone() };
            write_condition(out, Some(tag), Condition::Ok, done.code.as_ref(), &text);
        }
        Err(Stop::Refused { condition, code, text }) => {
            write_condition(out, Some(tag), *condition, code.as_ref(), text);
        }
        Err(Stop::Fault { id }) => {
            let text = format!("internal error, number {id} in the server's log; the command was not carried out");
            write_condition(out, Some(tag), Condition::No, Some(&Code::ServerBug), &text);
        }
        Err(Stop::Gone) => {}
    }
}
