//! Password hashes, and SASL mechanisms as machines that eat octets and return a [`Step`].
//! Pure functions: no sockets, no clock, no look-up. Who the named user is, and whether he may come in, is for the
//! `login` room to say.

pub mod app_password;
pub mod bearer;
pub mod certificate;
mod der;
pub mod external;
pub mod imported;
pub mod password;
pub mod plain;
pub mod sasl_base64;
pub mod scram;
pub mod scram_exchange;

pub use bearer::Bearer;
pub use external::External;
pub use plain::Plain;
pub use scram::ScramVerifier;
pub use scram_exchange::{ChannelBindings, ScramExchange, ScramUser};

use crate::types::Secret;

/// Longest password taken, in octets.
pub const MOST_PASSWORD_OCTETS: usize = 1024;

/// Longest user name or authorization identity taken, in octets (RFC 4616 §2).
pub const MOST_NAME_OCTETS: usize = 255;

/// The SASL mechanisms this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha256Plus,
    OAuthBearer,
    XOAuth2,
    External,
}

impl Mechanism {
    const ALL: [Mechanism; 6] = [
        Mechanism::Plain,
        Mechanism::ScramSha256,
        Mechanism::ScramSha256Plus,
        Mechanism::OAuthBearer,
        Mechanism::XOAuth2,
        Mechanism::External,
    ];

    /// Its registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Mechanism::OAuthBearer => "OAUTHBEARER",
            Mechanism::XOAuth2 => "XOAUTH2",
            Mechanism::External => "EXTERNAL",
        }
    }

    /// The mechanism of that name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }
}

/// What a SASL mechanism wants next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send these octets (before base64) and feed the answer.
    Challenge(Vec<u8>),
    /// SCRAM: what is stored of this user is needed before it can go on.
    LookUp(String),
    /// The exchange is over; these claims are to be checked.
    Done(Claim),
    /// What came is not of this mechanism, or breaks its rules; the word is for the log.
    Failed(&'static str),
}

/// What a client claims.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// A name and a password. Nothing has been checked.
    Password(Identity),
    /// A name with the proof that the password is known, or with a proof that is wrong.
    Proof(Proof),
    /// A bearer token. Nothing has been checked.
    Token(Token),
    /// To be the one whom the certificate of the TLS layer names.
    Certificate {
        /// On whose behalf it wants to act; `None`: whoever the certificate names.
        authorize_as: Option<String>,
    },
}

/// What a client claims to be. Nothing in it has been checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity {
    /// On whose behalf it wants to act; `None`: its own.
    pub authorize_as: Option<String>,
    pub user: String,
    pub password: Secret,
}

/// The outcome of a SCRAM exchange.
#[derive(Debug, PartialEq, Eq)]
pub struct Proof {
    /// On whose behalf it wants to act; `None`: its own.
    pub authorize_as: Option<String>,
    pub user: String,
    /// Which of the user's verifiers it was; `None`: none, the proof is wrong.
    pub verifier: Option<usize>,
    /// The server's own proof, to be told to a client that may come in (RFC 5802 §5.1, "v").
    pub server_final: Vec<u8>,
}

/// A bearer token as it came (RFC 6750 §2.1).
#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    /// The user the client says it is, or on whose behalf it wants to act; `None`: whoever the token names.
    pub authorize_as: Option<String>,
    pub token: Secret,
}
