//! The local socket between a running server and the commands: `data_dir/control.sock`.
//! One connection carries one question as a line of JSON, and its answer as lines of JSON, the last one telling how
//! it ended. Only the server's own user and root are listened to. Nothing secret crosses it.

pub mod client;
mod message;
mod place;
pub mod service;

pub use client::AskError;
pub use service::ControlHost;

use serde::{Deserialize, Serialize};

/// Longest line either way, in octets.
const MOST_LINE_BYTES: usize = 64 * 1024;

/// What a command asks of the running server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Who are you, and how busy?
    Status,
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
            (r#"{"do":"check","user":"anna"}"#, Request::Check { user: Some("anna".into()) }),
        ];
        for (text, request) in cases {
            assert_eq!(serde_json::from_str::<Request>(text).expect(text), request);
        }
        assert_eq!(serde_json::to_string(&Reply::Done("fine".into())).expect("written"), r#"{"done":"fine"}"#);
        assert_eq!(serde_json::to_string(&Reply::SendMessage).expect("written"), r#""send-message""#);
    }
}
