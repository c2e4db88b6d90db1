//! What the server keeps for SCRAM-SHA-256 (RFC 5802, RFC 7677): enough to check a client's proof, and not the
//! password. It is stored from the first password on, because it cannot be made later from the Argon2id hash.
//! The exchange is in `scram_exchange.rs`.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::sasl_base64;
use crate::types::Secret;

/// The iterations for new verifiers. RFC 7677 §3 asks for at least 4096; clients pay for them once and may remember.
/// Cyrus SASL, which mbsync uses, refuses 100,000 (docs/clients.md).
pub const ITERATIONS: u32 = 65_536;
/// The most iterations read back: the client computes them, but `matches` does too.
pub(super) const MOST_ITERATIONS: u32 = 10_000_000;
/// Octets of a salt.
pub const SALT_OCTETS: usize = 16;
const SCHEME: &str = "SCRAM-SHA-256";

/// One user's verifier. Its text form is `SCRAM-SHA-256$iterations:salt$stored-key:server-key`, base64 within
/// (RFC 5803 §2 with the other hash).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    pub iterations: u32,
    pub salt: Vec<u8>,
    /// H(HMAC(SaltedPassword, "Client Key")).
    pub stored_key: [u8; 32],
    /// HMAC(SaltedPassword, "Server Key").
    pub server_key: [u8; 32],
}

impl ScramVerifier {
    /// Makes a verifier with a fresh salt. `None`: the system gave no random octets.
    pub fn new(password: &Secret) -> Option<Self> {
        let mut salt = [0; SALT_OCTETS];
        getrandom::fill(&mut salt).ok()?;
        Some(Self::derive(password, &salt, ITERATIONS))
    }

    /// Makes the verifier for a given salt and count. The password is taken as prepared by the caller.
    pub fn derive(password: &Secret, salt: &[u8], iterations: u32) -> Self {
        // RFC 5802 §3: SaltedPassword := Hi(Normalize(password), salt, i), ClientKey := HMAC(SaltedPassword,
        // "Client Key"), StoredKey := H(ClientKey), ServerKey := HMAC(SaltedPassword, "Server Key").
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(password.reveal(), salt, iterations, &mut salted);
        let client_key = hmac_sha256(&salted, b"Client Key");
        let stored_key = Sha256::digest(client_key).into();
        let server_key = hmac_sha256(&salted, b"Server Key");
        ScramVerifier { iterations, salt: salt.to_vec(), stored_key, server_key }
    }

    /// Whether `password` is the one this was made of; the comparison takes the same time wherever they differ.
    pub fn matches(&self, password: &Secret) -> bool {
        let other = Self::derive(password, &self.salt, self.iterations);
        (self.stored_key.ct_eq(&other.stored_key) & self.server_key.ct_eq(&other.server_key)).into()
    }
}

pub(super) fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

impl fmt::Display for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base64 = sasl_base64::encode;
        let (salt, stored, server) = (base64(&self.salt), base64(&self.stored_key), base64(&self.server_key));
        write!(f, "{SCHEME}${}:{salt}${stored}:{server}", self.iterations)
    }
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The server key lets its holder play the server: it stays out of every log.
        f.debug_struct("ScramVerifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl ScramVerifier {
    /// Reads the form other servers keep behind `{SCRAM-SHA-256}`: `iterations,salt,stored-key,server-key`.
    pub fn from_commas(text: &str) -> Option<Self> {
        let mut fields = text.split(',');
        let mut next = || fields.next();
        let (iterations, salt, stored, server) = (next()?, next()?, next()?, next()?);
        if next().is_some() {
            return None;
        }
        format!("{SCHEME}${iterations}:{salt}${stored}:{server}").parse().ok()
    }
}

/// The text is no verifier of SCRAM-SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoScramVerifier;

impl FromStr for ScramVerifier {
    type Err = NoScramVerifier;

    fn from_str(text: &str) -> Result<Self, NoScramVerifier> {
        let read = || {
            let mut fields = text.split('$');
            let (scheme, work, keys) = (fields.next()?, fields.next()?, fields.next()?);
            let ((iterations, salt), (stored, server)) = (work.split_once(':')?, keys.split_once(':')?);
            let iterations = iterations.parse().ok().filter(|n| (1..=MOST_ITERATIONS).contains(n))?;
            let key = |text: &str| sasl_base64::decode(text.as_bytes())?.try_into().ok();
            let salt = sasl_base64::decode(salt.as_bytes()).filter(|salt| !salt.is_empty())?;
            let verifier = ScramVerifier { iterations, salt, stored_key: key(stored)?, server_key: key(server)? };
            (scheme == SCHEME && fields.next().is_none()).then_some(verifier)
        };
        read().ok_or(NoScramVerifier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677 §3: user "user", password "pencil".
    fn example() -> ScramVerifier {
        let salt = sasl_base64::decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        ScramVerifier::derive(&Secret::new("pencil"), &salt, 4096)
    }

    #[test]
    fn the_exchange_of_the_rfc_checks_out() {
        let message = b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let verifier = example();
        let proof = sasl_base64::decode(b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").expect("base64");
        let signature = hmac_sha256(&verifier.stored_key, message);
        let client_key: Vec<u8> = proof.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        assert_eq!(<[u8; 32]>::from(Sha256::digest(client_key)), verifier.stored_key);
        let server_signature = sasl_base64::encode(&hmac_sha256(&verifier.server_key, message));
        assert_eq!(server_signature, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn text_there_and_back() {
        let verifier = example();
        assert_eq!(verifier.to_string().parse(), Ok(verifier));
    }

    #[test]
    fn the_form_of_other_servers_is_read() {
        let text = example().to_string().replace("SCRAM-SHA-256$", "").replace([':', '$'], ",");
        assert_eq!(ScramVerifier::from_commas(&text), Some(example()));
        for bad in ["", "4096", "4096,AA==,AA==", &format!("{text},"), &text.replace("4096", "0")] {
            assert_eq!(ScramVerifier::from_commas(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_verifier_is_refused() {
        let good = example().to_string();
        let bad = [
            String::new(),
            good.replace("256", "1"),
            good.replace("4096", "0"),
            good.replace("4096", "99999999999"),
            format!("{good}$"),
            good[..good.len() - 4].to_owned(),
        ];
        for text in bad {
            assert_eq!(text.parse::<ScramVerifier>(), Err(NoScramVerifier), "{text}");
        }
    }

    #[test]
    fn only_the_password_matches() {
        assert!(example().matches(&Secret::new("pencil")));
        assert!(!example().matches(&Secret::new("Pencil")));
        assert!(!format!("{:?}", example()).contains("key"));
    }
}
