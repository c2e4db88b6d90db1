//! Password hashes, and SASL mechanisms as machines that eat octets and return a [`Step`].
//! Pure functions: no sockets, no clock, no look-up. Who the named user is, and whether he may come in, is for the
//! `login` room to say.

pub mod app_password;
pub mod bearer;
pub mod certificate;
pub mod client;
pub mod der;
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mechanisms_are_found_by_name_in_any_case() {
        for mechanism in Mechanism::ALL {
            assert_eq!(Mechanism::from_name(&mechanism.name().to_lowercase()), Some(mechanism));
        }
        for other in ["", "PLAIN ", "SCRAM-SHA-1", "CRAM-MD5", "ANONYMOUS", "LOGIN"] {
            assert_eq!(Mechanism::from_name(other), None, "{other}");
        }
    }

    /// Octets that look like messages, so that the readers get further than their first line.
    fn messages() -> impl Strategy<Value = Vec<u8>> {
        let token = prop_oneof![
            Just("n,,".to_owned()),
            Just("y,,".to_owned()),
            Just("p=tls-exporter,,".to_owned()),
            Just("a=".to_owned()),
            Just("n=".to_owned()),
            Just("r=abc".to_owned()),
            Just(",".to_owned()),
            Just("=2C".to_owned()),
            Just("c=biws".to_owned()),
            Just("p=AAAA".to_owned()),
            Just("\u{1}".to_owned()),
            Just("\0".to_owned()),
            Just("auth=Bearer ".to_owned()),
            Just("user=".to_owned()),
            Just("ü".to_owned()),
            "[ -~]{0,8}",
        ];
        let odd = proptest::collection::vec(any::<u8>(), 0..4);
        proptest::collection::vec((token, odd), 0..8)
            .prop_map(|parts| parts.into_iter().flat_map(|(token, odd)| [token.into_bytes(), odd].concat()).collect())
    }

    proptest! {
        /// Whatever is sent, each machine answers with a step, and names stay within their bounds.
        #[test]
        fn no_message_breaks_a_machine(first in messages(), second in messages()) {
            let bounded = |name: &str| prop_assert_ok(name.len() <= MOST_NAME_OCTETS && !name.is_empty());
            for step in [Plain::new().start(Some(&first)), External::new().start(Some(&first)),
                Bearer::oauthbearer().start(Some(&first)), Bearer::xoauth2().start(Some(&first))]
            {
                match step {
                    Step::Done(Claim::Password(identity)) => bounded(&identity.user)?,
                    Step::Done(Claim::Token(Token { authorize_as: Some(name), .. })) => bounded(&name)?,
                    Step::Done(Claim::Certificate { authorize_as: Some(name) }) => bounded(&name)?,
                    _ => {}
                }
            }
            for is_plus in [false, true] {
                let bindings = ChannelBindings { tls_exporter: Some([0; 32]), tls_server_end_point: None };
                let mut exchange = ScramExchange::new(is_plus, bindings, "nonce".into());
                if let Step::LookUp(name) = exchange.start(Some(&first)) {
                    bounded(&name)?;
                    exchange.supply(ScramUser { salt: vec![0; 16], iterations: 4096, verifiers: Vec::new() });
                    let is_over = matches!(exchange.eat(&second), Step::Failed(_) | Step::Done(Claim::Proof(Proof { verifier: None, .. })));
                    prop_assert!(is_over, "nobody comes in without a verifier");
                }
            }
            let _ = (imported::read(&String::from_utf8_lossy(&first)).is_ok(), certificate::names(&first));
        }
    }

    fn prop_assert_ok(is_fine: bool) -> Result<(), TestCaseError> {
        if is_fine { Ok(()) } else { Err(TestCaseError::fail("a name out of bounds")) }
    }
}
