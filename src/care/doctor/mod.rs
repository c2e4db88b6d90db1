//! `pillarbox doctor`: looks at what surrounds the server, as an experienced operator would, and says of each thing
//! whether it is fine and what to do if not. It changes nothing. What needs a handshake is asked by the server's room.

mod certificate;
mod dns;
mod machine;
mod network;
mod records;

pub use certificate::{Certificate, chain, names, read_chain, read_pem};
pub use machine::{machine, open_files};
pub use network::{reachable, resolve};
pub use records::records;

use std::fmt;

/// How much a find matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Was not looked at, and why.
    Skip,
    Pass,
    /// Works, and will bite some day.
    Warn,
    /// Does not work, or loses mail or secrets.
    Fail,
}

/// One line of the examination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Find {
    pub weight: Weight,
    /// What was looked at, and what it is like.
    pub what: String,
    /// What to do about it; empty when nothing.
    pub advice: String,
}

impl Find {
    pub fn skip(what: impl Into<String>) -> Find {
        Find { weight: Weight::Skip, what: what.into(), advice: String::new() }
    }

    pub fn pass(what: impl Into<String>) -> Find {
        Find { weight: Weight::Pass, what: what.into(), advice: String::new() }
    }

    pub fn warn(what: impl Into<String>, advice: impl Into<String>) -> Find {
        Find { weight: Weight::Warn, what: what.into(), advice: advice.into() }
    }

    pub fn fail(what: impl Into<String>, advice: impl Into<String>) -> Find {
        Find { weight: Weight::Fail, what: what.into(), advice: advice.into() }
    }
}

impl fmt::Display for Find {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.weight {
            Weight::Skip => "SKIP",
            Weight::Pass => "PASS",
            Weight::Warn => "WARN",
            Weight::Fail => "FAIL",
        };
        write!(f, "{word}  {}", self.what)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, ": {}", self.advice) }
    }
}
