//! MESSAGELIMIT and SAVELIMIT (RFC 9738): how many messages one command may touch. What can be done in pieces is done
//! for the newest messages, and the client is told where to go on; what must be whole is refused.

use super::answer::{Done, Stop, no, write_condition};
use crate::config::Protocol;
use crate::types::{Code, Condition, Uid, UidRuns};

/// The operator's bounds.
#[derive(Debug, Clone, Copy)]
pub struct MessageLimit {
    touch: u64,
    save: u64,
}

/// The messages a command does its work on.
#[derive(Debug)]
pub struct Share {
    pub uids: UidRuns,
    /// To be told when it is not all of them.
    code: Option<Code>,
}

impl From<&Protocol> for MessageLimit {
    fn from(protocol: &Protocol) -> Self {
        let or_none = |most: u32| if most == 0 { u64::MAX } else { most.into() };
        MessageLimit { touch: or_none(protocol.messages_per_command), save: or_none(protocol.messages_per_save) }
    }
}

impl MessageLimit {
    /// The newest of `uids`, as many as a command may touch.
    pub fn share(self, uids: UidRuns) -> Share {
        let count = uids.count();
        if count <= self.touch {
            return Share { uids, code: None };
        }
        let uids = uids.slice(count - self.touch, count);
        let code = code(self.touch, uids.first().map(Uid));
        Share { uids, code: Some(code) }
    }

    /// Refuses a command that must be done wholly or not at all.
    pub fn whole(self, count: u64) -> Result<(), Stop> {
        within(count, self.touch)
    }

    /// The same for one that brings messages into a mailbox.
    pub fn whole_save(self, count: u64) -> Result<(), Stop> {
        within(count, self.touch.min(self.save))
    }
}

impl Share {
    /// The end of the command. A code that must not be missed keeps its place in the tagged line; then the limit is told
    /// in a line of its own (RFC 9738 §3.1).
    pub fn end(self, out: &mut Vec<u8>, mut done: Done) -> Done {
        let Some(code) = self.code else { return done };
        let text = "only the newest messages were touched; go on below this one";
        if done.code.is_some() {
            write_condition(out, None, Condition::No, Some(&code), text);
        } else {
            done = Done { code: Some(code), text: text.into() };
        }
        done
    }
}

fn within(count: u64, most: u64) -> Result<(), Stop> {
    if count > most {
        return Err(no(code(most, None), format!("one command may do this to {most} messages at most")));
    }
    Ok(())
}

fn code(limit: u64, lowest: Option<Uid>) -> Code {
    Code::MessageLimit { limit: u32::try_from(limit).unwrap_or(u32::MAX), lowest }
}
