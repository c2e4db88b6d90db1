//! From a password to what is stored of it.

use std::fmt;

use icu_normalizer::ComposingNormalizerBorrowed;

use crate::auth::scram::ITERATIONS;
use crate::auth::{self, MOST_PASSWORD_OCTETS, ScramVerifier, app_password};
use crate::mailstore::directory::{AppPassword, Credential, CredentialKind, UserRecord};
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

/// Whether a text can be a password.
pub fn check(password: &Secret) -> Result<(), BadPassword> {
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
    Ok(())
}

/// Makes everything that is stored of a password. Takes about a tenth of a second.
pub fn make(password: &Secret, with_scram: bool) -> Result<Vec<Credential>, BadPassword> {
    check(password)?;
    make_unchecked(password, with_scram, None)
}

/// The same for a user who is there already: his verifiers keep their salt, because SCRAM can tell a client only one,
/// and his app passwords must go on working.
pub fn make_for(user: &UserRecord, password: &Secret, with_scram: bool) -> Result<Vec<Credential>, BadPassword> {
    check(password)?;
    make_unchecked(password, with_scram, scram_seed(user).as_ref())
}

/// For a password that is the right one already and so needs no judgement.
pub(super) fn make_unchecked(
    password: &Secret,
    with_scram: bool,
    seed: Option<&ScramVerifier>,
) -> Result<Vec<Credential>, BadPassword> {
    let prepared = prepare_password(password);
    let hash = auth::password::hash(&prepared).map_err(|_| BadPassword::System)?;
    let mut credentials = vec![Credential { kind: CredentialKind::Argon2id, value: hash }];
    if with_scram {
        let value = verifier(&prepared, seed)?.to_string();
        credentials.push(Credential { kind: CredentialKind::ScramSha256, value });
    }
    Ok(credentials)
}

fn verifier(password: &Secret, seed: Option<&ScramVerifier>) -> Result<ScramVerifier, BadPassword> {
    match seed {
        Some(seed) => Ok(ScramVerifier::derive(password, &seed.salt, seed.iterations)),
        None => ScramVerifier::new(password).ok_or(BadPassword::System),
    }
}

/// A verifier of the user's, for its salt and count. One that some clients refuse to compute is not gone on with.
pub(super) fn scram_seed(user: &UserRecord) -> Option<ScramVerifier> {
    let own = user.credential(CredentialKind::ScramSha256);
    let of_devices = user.app_passwords.iter().filter_map(|one| one.scram.as_deref());
    let mut all = own.into_iter().chain(of_devices).filter_map(|text| text.parse::<ScramVerifier>().ok());
    all.find(|verifier| verifier.iterations <= ITERATIONS)
}

/// Makes a password for one device of a user: what is shown to its owner once, and what is stored.
pub fn make_app_password(
    user: &UserRecord,
    device: &str,
    with_scram: bool,
) -> Result<(String, AppPassword), BadPassword> {
    let made = app_password::generate().ok_or(BadPassword::System)?;
    let shown = made.shown();
    let hash = auth::password::hash(&made.letters).map_err(|_| BadPassword::System)?;
    // A SCRAM client hashes what is typed, so its verifier is of the form that is shown.
    let scram = match with_scram {
        true => Some(verifier(&Secret::new(shown.clone()), scram_seed(user).as_ref())?.to_string()),
        false => None,
    };
    let stored = AppPassword { device: device.into(), selector: made.selector, hash, scram, created: 0, used: None };
    Ok((shown, stored))
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
    fn a_new_password_keeps_the_salt_unless_its_count_is_too_large() {
        let password = Secret::new("sesame");
        let of = |iterations| {
            let verifier = ScramVerifier::derive(&Secret::new("old"), &[7; 16], iterations);
            let kept = Credential { kind: CredentialKind::ScramSha256, value: verifier.to_string() };
            let user = UserRecord {
                name: "anna".into(),
                account: crate::types::AccountId(1),
                is_disabled: false,
                is_master: false,
                credentials: vec![kept],
                app_passwords: Vec::new(),
            };
            make_for(&user, &password, true).expect("made")[1].value.parse::<ScramVerifier>().expect("a verifier")
        };
        assert_eq!((of(4096).salt, of(4096).iterations), (vec![7; 16], 4096));
        assert_ne!(of(100_000).salt, [7; 16]);
        assert_eq!(of(100_000).iterations, ITERATIONS);
    }

    #[test]
    fn what_is_no_password() {
        assert_eq!(make(&Secret::new(""), true), Err(BadPassword::Empty));
        assert_eq!(make(&Secret::new("a\nb"), true), Err(BadPassword::ControlCharacter));
        assert_eq!(make(&Secret::new(vec![b'a'; 1025]), true), Err(BadPassword::TooLong));
    }
}
