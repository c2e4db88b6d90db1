//! Getting mail in and out. The side that has the mail store ([`host`]) and the side that has the other mail (the
//! commands, through [`intake`] and [`outlet`]) talk over a stream of bytes ([`talk`]): over the control socket to a
//! running server, or within one process when none runs. So a command reads its source with its own rights, the store
//! has one owner, and killing either side at any moment loses nothing and doubles nothing.

pub mod crlf;
pub mod host;
pub mod imap;
pub mod intake;
mod keys;
pub mod maildir;
pub mod mbox;
mod names;
pub mod outlet;
mod sorter;
pub mod talk;

use std::fmt;
use std::io;

use crate::types::{MailboxName, Uid};

/// Largest message taken, in octets. Larger ones are told and left.
pub const MOST_MESSAGE_BYTES: u64 = 1 << 30;
/// Most keywords taken of one message; more than that is no mail program's doing.
pub const MOST_KEYWORDS: usize = 1000;

/// Who is told how a transfer goes, while it goes.
pub trait Watch {
    /// The work is larger by so many octets than was known. Called often, before or during the work.
    fn expect(&mut self, octets: u64);
    /// So many octets are done with.
    fn advance(&mut self, octets: u64);
    /// A mailbox is begun.
    fn enter(&mut self, mailbox: &str);
    /// Something was not taken, and why: two parts of a sentence for a person.
    fn miss(&mut self, what: &str, why: &str);
    /// Something was taken, but not as it was there.
    fn note(&mut self, what: &str, how: &str);
}

/// What a transfer did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub mailboxes: u64,
    /// Messages taken, and their octets.
    pub messages: u64,
    pub octets: u64,
    /// Messages that had been taken before.
    pub known: u64,
    /// Messages taken before whose flags were brought up to date, or that were removed, as they were at the source.
    pub changed: u64,
    pub gone: u64,
    /// Messages that changed at the source and were left alone, because they were changed here.
    pub kept: u64,
    /// Things that were not taken; each was told with its reason.
    pub missed: u64,
}

impl Tally {
    /// Counts and tells a message that cannot be written out.
    fn miss_message(&mut self, watch: &mut dyn Watch, mailbox: &MailboxName, uid: Uid, why: &str) {
        self.missed += 1;
        watch.miss(&format!("message {uid} of {mailbox}"), why);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: u64, one: &'static str, many: &'static str| if count == 1 { one } else { many };
        write!(
            f,
            "{} {} in {} {}, {} octets",
            self.messages,
            plural(self.messages, "message", "messages"),
            self.mailboxes,
            plural(self.mailboxes, "mailbox", "mailboxes"),
            self.octets
        )?;
        if self.known > 0 {
            write!(f, "; {} taken before", self.known)?;
        }
        if self.changed > 0 {
            write!(f, "; flags of {} brought up to date", self.changed)?;
        }
        if self.gone > 0 {
            write!(f, "; {} deleted there and now here", self.gone)?;
        }
        if self.kept > 0 {
            write!(f, "; {} left alone that {} changed here", self.kept, plural(self.kept, "was", "were"))?;
        }
        match self.missed {
            0 => Ok(()),
            missed => write!(f, "; {missed} not taken"),
        }
    }
}

/// Why a transfer came to an end before its end. What was told as taken by then is taken.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// The side that has the mail store said so.
    #[error("{0}")]
    Host(String),
    /// It is gone: the server was stopped or killed.
    #[error("the mail store went away ({0}); the same command goes on where this one stopped")]
    Gone(io::Error),
    /// The source cannot be read, or the target not be written, at all.
    #[error("{0}")]
    Outside(String),
}

impl Stopped {
    /// Trouble with a named thing outside.
    fn at(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Stopped::Outside(format!("{what}: {error}"))
    }
}
