//! The local socket between a running server and the commands: `data_dir/control.sock`.
//! One connection carries one question as a line of JSON, and its answer as lines of JSON, the last one telling how
//! it ended. Only the server's own user and root are listened to. No password crosses it.

pub mod client;
mod message;
mod place;
pub mod report;
pub mod running;
pub mod service;
pub mod upkeep;

pub use client::AskError;
pub use report::{Figures, Status};
pub use service::ControlHost;

pub use crate::login::Glance;

use serde::{Deserialize, Serialize};

/// Longest line either way, in octets.
const MOST_LINE_BYTES: usize = 64 * 1024;
/// What a lease that was there already is answered with.
const RENEWED: &str = "renewed";

/// What a command asks of the running server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Who are you, and how busy?
    Status,
    /// Which sessions are there, or those of one user? A `Session` each, then `Done`.
    Who {
        #[serde(default)]
        user: Option<String>,
    },
    /// End one session, or all of one user.
    Kick {
        #[serde(default)]
        user: Option<String>,
        #[serde(default)]
        session: Option<u64>,
    },
    /// `server.db` was changed: forget what is remembered of it.
    DirectoryChanged,
    /// This user was taken out of `server.db`: end the sessions, and on demand delete the mail.
    UserRemoved {
        name: String,
        account: i64,
        #[serde(default)]
        delete_mail: bool,
    },
    /// This user was barred: end the sessions.
    UserDisabled { name: String, account: i64 },
    /// Check everything, or what belongs to one user.
    Check {
        #[serde(default)]
        user: Option<String>,
    },
    /// Read configuration and certificate again, as SIGHUP does.
    Reload,
    /// What backup, restore, repair and undelete ask.
    Upkeep(upkeep::Upkeep),
    /// Deliver a message. Answered with `SendMessage`, it follows in pieces; see `message.rs`.
    Deliver {
        user: String,
        #[serde(default)]
        mailbox: Option<String>,
        #[serde(default)]
        sender: Option<String>,
    },
    /// Mail is to move in or out of this user's account. Answered with `Begin`, the frames of `transfer::talk` follow in
    /// both directions until the asker hangs up.
    Transfer { user: String },
}

/// One line of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// A result for the person who asked; more may come.
    Line(String),
    /// One session; more may come.
    Session(Box<Glance>),
    /// The end: how it goes.
    Status(Box<Status>),
    /// The end: done, with a sentence.
    Done(String),
    /// The end: looked, and found what is not as it should be.
    Found(String),
    /// The end: not done, with the reason.
    Failed(String),
    /// Now the message may come.
    SendMessage,
    /// Now the transfer may begin.
    Begin,
    /// The end: the message was not delivered; `exit` is the code of sysexits.h for it.
    Undelivered { exit: u8, reason: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_look_as_documented() {
        let cases = [
            (r#"{"do":"status"}"#, Request::Status),
            (r#"{"do":"who"}"#, Request::Who { user: None }),
            (r#"{"do":"kick","session":7}"#, Request::Kick { user: None, session: Some(7) }),
            (r#"{"do":"directory-changed"}"#, Request::DirectoryChanged),
            (
                r#"{"do":"user-removed","name":"anna","account":7}"#,
                Request::UserRemoved { name: "anna".into(), account: 7, delete_mail: false },
            ),
            (
                r#"{"do":"deliver","user":"anna"}"#,
                Request::Deliver { user: "anna".into(), mailbox: None, sender: None },
            ),
            (r#"{"do":"check"}"#, Request::Check { user: None }),
            (
                r#"{"do":"upkeep","ask":"hold","account":7,"hold_for":"backup","by":{"process":1,"number":2}}"#,
                Request::Upkeep(upkeep::Upkeep::Hold {
                    account: 7,
                    hold_for: upkeep::HoldFor::Backup,
                    by: upkeep::HeldBy { process: 1, number: 2 },
                }),
            ),
            (r#"{"do":"check","user":"anna"}"#, Request::Check { user: Some("anna".into()) }),
        ];
        for (text, request) in cases {
            assert_eq!(serde_json::from_str::<Request>(text).expect(text), request);
        }
        assert_eq!(serde_json::to_string(&Reply::Done("fine".into())).expect("written"), r#"{"done":"fine"}"#);
        assert_eq!(serde_json::to_string(&Reply::SendMessage).expect("written"), r#""send-message""#);
    }
}
