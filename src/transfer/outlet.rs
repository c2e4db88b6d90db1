//! The side of a transfer that takes mail out: it asks for mailboxes and messages. Blocking; made for the commands.

use super::Stopped;
use super::intake::{Line, out_of_turn};
use super::talk::{Ask, MailboxLine, MessageLine, Tell};
use crate::types::MailboxName;

/// Who is given the messages of a mailbox, one after another.
pub trait Sink {
    /// A message begins.
    fn begin(&mut self, message: &MessageLine) -> Result<(), Stopped>;
    /// Octets of it.
    fn octets(&mut self, octets: &[u8]) -> Result<(), Stopped>;
    /// It is whole, or cannot be read, and why.
    fn end(&mut self, spoiled: Option<&str>) -> Result<(), Stopped>;
}

/// Mail on its way out.
pub struct Outlet {
    line: Line,
}

impl Outlet {
    pub fn new(line: Line) -> Outlet {
        Outlet { line }
    }

    /// All mailboxes that can hold mail.
    pub fn list(&mut self) -> Result<Vec<MailboxLine>, Stopped> {
        self.line.ask(&Ask::List)?;
        let mut mailboxes = Vec::new();
        loop {
            match self.line.hear()? {
                Tell::Mailbox(line) => mailboxes.push(line),
                Tell::Done => return Ok(mailboxes),
                _ => return Err(out_of_turn()),
            }
        }
    }

    /// Gives all messages of a mailbox to the sink, in order of their UIDs.
    pub fn read(&mut self, mailbox: &MailboxName, sink: &mut dyn Sink) -> Result<(), Stopped> {
        self.line.ask(&Ask::Read(mailbox.clone()))?;
        loop {
            match self.line.hear()? {
                Tell::Message(line) => sink.begin(&line)?,
                Tell::Octets(octets) => sink.octets(&octets)?,
                Tell::End => sink.end(None)?,
                Tell::Spoiled(why) => sink.end(Some(&why))?,
                Tell::Done => return Ok(()),
                _ => return Err(out_of_turn()),
            }
        }
    }
}
