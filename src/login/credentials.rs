//! From a password to what is stored of it.

use std::fmt;

use icu_normalizer::ComposingNormalizerBorrowed;

use crate::auth::{self, MOST_PASSWORD_OCTETS, ScramVerifier};
use crate::mailstore::directory::{Credential, CredentialKind};
use crate::types::Secret;

/// Why a text cannot be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPassword {
    Empty,
    TooLong,
    /// A control character: several ways of logging in cannot carry it.
    ControlCharacter,
    /// The system gave no random octets or no memory.
    System,
}

impl fmt::Display for BadPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadPassword::Empty => f.write_str("the password is empty"),
            BadPassword::TooLong => write!(f, "a password has at most {MOST_PASSWORD_OCTETS} octets"),
            BadPassword::ControlCharacter => f.write_str("a password has no control characters and no line ends"),
            BadPassword::System => f.write_str("the system gave no random octets or no memory for the password hash"),
        }
    }
}

impl std::error::Error for BadPassword {}

/// Makes everything that is stored of a password. Takes about a tenth of a second.
pub fn make(password: &Secret, with_scram: bool) -> Result<Vec<Credential>, BadPassword> {
    let octets = password.reveal();
    if octets.is_empty() {
        return Err(BadPassword::Empty);
    }
    if octets.len() > MOST_PASSWORD_OCTETS {
        return Err(BadPassword::TooLong);
    }
    if octets.iter().any(u8::is_ascii_control) {
        return Err(BadPassword::ControlCharacter);
    }
    let prepared = prepare_password(password);
    let hash = auth::password::hash(&prepared).map_err(|_| BadPassword::System)?;
    let mut credentials = vec![Credential { kind: CredentialKind::Argon2id, value: hash }];
    if with_scram {
        let verifier = ScramVerifier::new(&prepared).ok_or(BadPassword::System)?;
        credentials.push(Credential { kind: CredentialKind::ScramSha256, value: verifier.to_string() });
    }
    Ok(credentials)
}

/// Writes a password in the one form that is hashed, so that it is right on every keyboard. Octets that are no UTF-8
/// stay as they are: old clients send what their owner's character set gives.
pub fn prepare_password(password: &Secret) -> Secret {
    let Ok(text) = std::str::from_utf8(password.reveal()) else { return password.clone() };
    if text.is_ascii() {
        return password.clone();
    }
    // RFC 8265 §4.2.2: every space becomes the ASCII one, then NFC; case stays.
    let is_space =
        |c: char| matches!(c, '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}');
    let spaced: String = text.chars().map(|c| if is_space(c) { ' ' } else { c }).collect();
    let composed = ComposingNormalizerBorrowed::new_nfc().normalize(&spaced).into_owned();
    Secret::new(composed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_password_on_every_keyboard() {
        let prepared = |octets: &[u8]| prepare_password(&Secret::new(octets)).reveal().to_vec();
        assert_eq!(prepared("u\u{308}\u{a0}x".as_bytes()), "ü x".as_bytes());
        assert_eq!(prepared(b"Plain Text"), b"Plain Text");
        assert_eq!(prepared(b"\xfc"), b"\xfc", "Latin-1 stays");
    }

    #[test]
    fn both_credentials_are_made_unless_switched_off() {
        let password = Secret::new("u\u{308}ber");
        let both = make(&password, true).expect("made");
        assert_eq!(both.len(), 2);
        let composed = Secret::new("über");
        assert_eq!(auth::password::verify(&both[0].value, &composed), Ok(true));
        assert!(both[1].value.parse::<ScramVerifier>().expect("a verifier").matches(&composed));
        assert_eq!(make(&password, false).expect("made").len(), 1);
    }

    #[test]
    fn what_is_no_password() {
        assert_eq!(make(&Secret::new(""), true), Err(BadPassword::Empty));
        assert_eq!(make(&Secret::new("a\nb"), true), Err(BadPassword::ControlCharacter));
        assert_eq!(make(&Secret::new(vec![b'a'; 1025]), true), Err(BadPassword::TooLong));
    }
}
