//! Password hashes, and SASL mechanisms as machines that eat octets and return a [`Step`].
//! Pure functions: no sockets, no clock, no look-up. Who the named user is, and whether he may come in, is for the
//! `login` room to say.

pub mod password;
pub mod plain;
pub mod sasl_base64;
pub mod scram;

pub use plain::Plain;
pub use scram::ScramVerifier;

use crate::types::Secret;

/// Longest password taken, in octets.
pub const MOST_PASSWORD_OCTETS: usize = 1024;

/// Longest user name or authorization identity taken, in octets (RFC 4616 §2).
pub const MOST_NAME_OCTETS: usize = 255;

/// What a SASL mechanism wants next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send these octets (before base64) and feed the answer.
    Challenge(Vec<u8>),
    /// The exchange is over; these claims are to be checked.
    Done(Identity),
    /// What came is not of this mechanism.
    Failed,
}

/// What a client claims to be. Nothing in it has been checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity {
    /// On whose behalf it wants to act; `None`: its own.
    pub authorize_as: Option<String>,
    pub user: String,
    pub password: Secret,
}
