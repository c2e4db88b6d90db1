//! Password hashes that other servers made, in the form `{SCHEME}hash`, and bare crypt strings. They are checked as
//! they are, and replaced by our own at the first good log-in; what cannot be checked is refused when it comes in.

use hmac::digest::Digest;
use sha_crypt::password_hash::Error as CryptError;
use sha_crypt::{PasswordVerifier, ShaCrypt};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::password::{self, HashTrouble};
use super::{MOST_PASSWORD_OCTETS, ScramVerifier, sasl_base64};
use crate::types::Secret;

/// Longest stored text, in octets.
const MOST_TEXT_OCTETS: usize = 4096;
/// A stored hash is data, and data must not stop the server: about a second of work each.
const MOST_BCRYPT_COST: u32 = 15;
const MOST_CRYPT_ROUNDS: u32 = 1_000_000;
const MOST_PBKDF2_ROUNDS: u32 = 2_000_000;
const MOST_SCRAM_ITERATIONS: u32 = 1_000_000;

/// What a password field of another server holds.
#[derive(Debug)]
pub enum Imported {
    /// The password itself: hash it at once and keep nothing of this.
    Password(Secret),
    /// A SCRAM-SHA-256 verifier, to be kept as one.
    Scram(ScramVerifier),
    /// A hash that [`verify`] can check. It is written here as it is to be stored.
    Hash(String),
}

/// Reads a password field. The error is a sentence for the person who imports.
pub fn read(field: &str) -> Result<Imported, String> {
    if field.len() > MOST_TEXT_OCTETS {
        return Err("the password field is too long".into());
    }
    let (scheme, encoding, text) = split(field).ok_or("the scheme in { } has no end")?;
    match scheme.as_str() {
        "PLAIN" | "CLEARTEXT" | "CLEAR" => {
            let octets = match encoding {
                Encoding::Usual => text.as_bytes().to_vec(),
                Encoding::Base64 => sasl_base64::decode(text.as_bytes()).ok_or("the password is no base64")?,
                Encoding::Hex => from_hex(text).ok_or("the password is no hexadecimal number")?,
            };
            match octets.len() {
                0 => Err("the password is empty".into()),
                1..=MOST_PASSWORD_OCTETS => Ok(Imported::Password(Secret::new(octets))),
                _ => Err(format!("a password has at most {MOST_PASSWORD_OCTETS} octets")),
            }
        }
        "SCRAM-SHA-256" => {
            let verifier = ScramVerifier::from_commas(text).filter(|v| v.iterations <= MOST_SCRAM_ITERATIONS);
            verifier.map(Imported::Scram).ok_or_else(|| "the SCRAM-SHA-256 verifier cannot be read".into())
        }
        _ => {
            let hash = Hash::read(&scheme, encoding, text)?;
            // Judged once, with a password it cannot have, so that nothing is taken that fails later.
            match hash.judge(&Secret::new([0_u8; 8])) {
                Ok(_) => Ok(Imported::Hash(field.to_owned())),
                Err(trouble) => Err(format!("{trouble} ({scheme})")),
            }
        }
    }
}

/// Whether `password` is the one of a hash that [`read`] took. It is hashed as it was typed, since the other server
/// did so. The comparison takes the same time wherever they differ.
pub fn verify(stored: &str, password: &Secret) -> Result<bool, HashTrouble> {
    let (scheme, encoding, text) = split(stored).ok_or(HashTrouble::Unreadable)?;
    Hash::read(&scheme, encoding, text).map_err(|_| HashTrouble::Unreadable)?.judge(password)
}

/// How the octets of a digest are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// As the scheme has it when nobody says.
    Usual,
    Base64,
    Hex,
}

/// `{SCHEME.ENCODING}text`, or a bare text, which counts as crypt.
fn split(field: &str) -> Option<(String, Encoding, &str)> {
    let Some(rest) = field.strip_prefix('{') else { return Some(("CRYPT".into(), Encoding::Usual, field)) };
    let (name, text) = rest.split_once('}')?;
    let name = name.to_ascii_uppercase();
    Some(match name.rsplit_once('.') {
        Some((scheme, "B64" | "BASE64")) => (scheme.to_owned(), Encoding::Base64, text),
        Some((scheme, "HEX")) => (scheme.to_owned(), Encoding::Hex, text),
        _ => (name, Encoding::Usual, text),
    })
}

/// A hash that can be checked.
enum Hash<'a> {
    Argon2(&'a str),
    Bcrypt(&'a str),
    ShaCrypt(&'a str),
    Digest { kind: Kind, digest: Vec<u8>, salt: Vec<u8> },
    Pbkdf2 { salt: &'a str, rounds: u32, digest: Vec<u8> },
}

#[derive(Clone, Copy)]
enum Kind {
    Sha1,
    Sha256,
    Sha512,
}

impl<'a> Hash<'a> {
    fn read(scheme: &str, encoding: Encoding, text: &'a str) -> Result<Self, String> {
        let digest = |kind, is_salted| digest(kind, is_salted, encoding, text);
        match scheme {
            "CRYPT" | "ARGON2ID" | "ARGON2I" | "BLF-CRYPT" | "SHA512-CRYPT" | "SHA256-CRYPT" => crypt(text),
            "SHA" | "SHA1" => digest(Kind::Sha1, false),
            "SHA256" => digest(Kind::Sha256, false),
            "SHA512" => digest(Kind::Sha512, false),
            "SSHA" => digest(Kind::Sha1, true),
            "SSHA256" => digest(Kind::Sha256, true),
            "SSHA512" => digest(Kind::Sha512, true),
            "PBKDF2" => pbkdf2(text),
            _ => Err(format!("hashes of the scheme {scheme} cannot be checked here; set a new password")),
        }
    }

    fn judge(&self, password: &Secret) -> Result<bool, HashTrouble> {
        let octets = password.reveal();
        match self {
            Hash::Argon2(text) => password::verify(text, password),
            // bcrypt has no way to hash a NUL octet and says so with an error; no password has one.
            Hash::Bcrypt(_) if octets.contains(&0) => Ok(false),
            Hash::Bcrypt(text) => bcrypt::verify(octets, text).map_err(|_| HashTrouble::Unreadable),
            Hash::ShaCrypt(text) => match ShaCrypt::default().verify_password(octets, *text) {
                Ok(()) => Ok(true),
                Err(CryptError::PasswordInvalid) => Ok(false),
                Err(_) => Err(HashTrouble::Unreadable),
            },
            Hash::Digest { kind, digest, salt } => {
                let made = match kind {
                    Kind::Sha1 => salted::<Sha1>(octets, salt),
                    Kind::Sha256 => salted::<Sha256>(octets, salt),
                    Kind::Sha512 => salted::<Sha512>(octets, salt),
                };
                Ok(made.ct_eq(digest).into())
            }
            Hash::Pbkdf2 { salt, rounds, digest } => {
                let mut made = vec![0; digest.len()];
                ::pbkdf2::pbkdf2_hmac::<Sha1>(octets, salt.as_bytes(), *rounds, &mut made);
                Ok(made.ct_eq(digest).into())
            }
        }
    }
}

fn salted<D: Digest>(password: &[u8], salt: &[u8]) -> Vec<u8> {
    D::new().chain_update(password).chain_update(salt).finalize().to_vec()
}

/// A crypt string by its beginning.
fn crypt(text: &str) -> Result<Hash<'_>, String> {
    let new = "set a new password";
    let bad = |what: &str| Err(format!("{what} cannot be read; {new}"));
    let id = text.strip_prefix('$').and_then(|rest| rest.split('$').next()).unwrap_or_default();
    match id {
        _ if !text.is_ascii() => bad("the hash has characters that no hash has, and"),
        "argon2id" | "argon2i" => Ok(Hash::Argon2(text)),
        "2a" | "2b" | "2y" => {
            let cost = text.split('$').nth(2).and_then(|cost| cost.parse::<u32>().ok());
            match cost {
                Some(cost) if text.len() == 60 && cost <= MOST_BCRYPT_COST => Ok(Hash::Bcrypt(text)),
                Some(cost) if text.len() == 60 => Err(format!(
                    "a bcrypt hash of cost {cost} takes too long to check (most: {MOST_BCRYPT_COST}); {new}"
                )),
                _ => bad("the bcrypt hash"),
            }
        }
        "5" | "6" => {
            let rounds = text.split('$').nth(2).and_then(|field| field.strip_prefix("rounds="));
            match rounds.map(str::parse::<u32>) {
                None => Ok(Hash::ShaCrypt(text)),
                Some(Ok(rounds)) if rounds <= MOST_CRYPT_ROUNDS => Ok(Hash::ShaCrypt(text)),
                Some(_) => Err(format!(
                    "SHA-crypt of that many rounds takes too long to check (most: {MOST_CRYPT_ROUNDS}); {new}"
                )),
            }
        }
        "y" | "gy" => Err(format!("yescrypt hashes cannot be checked here; {new}")),
        "7" => Err(format!("scrypt hashes cannot be checked here; {new}")),
        "1" | "apr1" => Err(format!("MD5-crypt hashes are not checked any more, they are too easy to guess; {new}")),
        _ if text.len() == 13 => {
            Err(format!("DES-crypt hashes are not checked any more, they are too easy to guess; {new}"))
        }
        _ => Err(format!(
            "this is no hash that is known here (a password in the clear is written {{PLAIN}}password); {new}"
        )),
    }
}

/// A digest and, behind it, its salt.
fn digest(kind: Kind, is_salted: bool, encoding: Encoding, text: &str) -> Result<Hash<'static>, String> {
    let length = match kind {
        Kind::Sha1 => 20,
        Kind::Sha256 => 32,
        Kind::Sha512 => 64,
    };
    let octets = match encoding {
        Encoding::Hex => from_hex(text),
        Encoding::Base64 => sasl_base64::decode(text.as_bytes()),
        // Nobody says which it is: a digest without a salt is twice as long in hexadecimal.
        Encoding::Usual if !is_salted && text.len() == 2 * length => from_hex(text),
        Encoding::Usual => sasl_base64::decode(text.as_bytes()),
    };
    let octets = octets.filter(|octets| octets.len() == length || is_salted && octets.len() > length);
    let mut digest = octets.ok_or("the digest has the wrong length or cannot be read; set a new password")?;
    let salt = digest.split_off(length);
    Ok(Hash::Digest { kind, digest, salt })
}

/// `$1$salt$rounds$digest`, the digest in hexadecimal, with SHA-1.
fn pbkdf2(text: &str) -> Result<Hash<'_>, String> {
    let mut fields = text.split('$').skip(1);
    let mut next = || fields.next().unwrap_or_default();
    let (version, salt, rounds, digest) = (next(), next(), next().parse::<u32>(), from_hex(next()));
    match (version, rounds, digest) {
        ("1", Ok(rounds @ 1..=MOST_PBKDF2_ROUNDS), Some(digest)) if digest.len() == 20 && fields.next().is_none() => {
            Ok(Hash::Pbkdf2 { salt, rounds, digest })
        }
        _ => Err("the PBKDF2 hash cannot be read; set a new password".into()),
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |octet: u8| (octet as char).to_digit(16);
    let pair = |pair: &[u8]| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8);
    if text.len().is_multiple_of(2) { text.as_bytes().chunks_exact(2).map(pair).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `doveadm pw -p 'trout & ä'` of Dovecot 2.3.19.
    const TAKEN: [&str; 17] = [
        "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$86u6VeSsmhi3vnzXhs0Mxg$oArl9+QjojAwH2TnUcQGvPwciZxXPeRwqJIvJMid2Bo",
        "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$Nz8I6VFWWAkwRwR5J7+wNA$1u/lntgaGNL4AQ1poEapmZIx4b1Fk0fjgJJU3NJTGsA",
        "{BLF-CRYPT}$2y$05$kjIgm3YdPKi8TbCacXhHSuyZt/ys8swY7qbcerTkgqCRLpj5Bytai",
        "{SHA512-CRYPT}$6$TAVUuD850dO.Pqo8$3HtrbDr4c5tHsAnbge6o2hd.p4Pw4lW4JeFD86Hkf9aX3uGQMCx6xRrNvJ9y2pylzcMJeh.vd7q63d1kcZkAb/",
        "{SHA256-CRYPT}$5$DSU3NkgjfDjEGJ1y$ZhPsrw2SOlnCMJ8Z0VOjqttyLnYuSjIMRXXUbu.b74B",
        "{SSHA}p0xcOlK0yetLChMRxDl2CdUvrte8nl1g",
        "{SSHA256}LJ1VEhqBe5P4z/4WP7y6FjMLghxivcRFaVapF0pIJ6QTQ3eD",
        "{SSHA512}tdfE4fVXpW8zDwmSPe/s7VMEzjCOj4S40Zu0+mSHas78DsWz79DfOZBTacL5937ZCrGoQkvVvFwI97Iq/sRox6gke0M=",
        "{SHA}WpKhBSLFlSOS25HaIfyO97LOptk=",
        "{SHA1}WpKhBSLFlSOS25HaIfyO97LOptk=",
        "{SHA256}cPwmmWo+TyzEY1K5kLjQzGdKyl56yrUq3sBLOLr8qMc=",
        "{SHA512}To/kYqj8kPHrnKSxgm4DioP0oArw31qpJ0CUd1YeNKrmuZcZ2HrrUm+rsrWFjNuJj/itQRhuKxtlOmEvae2X/w==",
        "{PBKDF2}$1$BtWoNFiYV3inIJKh$5000$792144a0d89410a6bfe5b5e784615addd57e6274",
        "{SSHA256.HEX}9587a0fb2f753544e10601333164cd8373491e5ee920a6742af8ed31e83940a8719f1d2c",
        "{sha256.b64}cPwmmWo+TyzEY1K5kLjQzGdKyl56yrUq3sBLOLr8qMc=",
        "{CRYPT}$2y$05$yKs3mZTn7HCE1.BBOa0FyeABt1hiKPNsiV9G7cNro3/DAKoaqnFE.",
        "$5$DSU3NkgjfDjEGJ1y$ZhPsrw2SOlnCMJ8Z0VOjqttyLnYuSjIMRXXUbu.b74B",
    ];

    #[test]
    fn hashes_of_other_servers_know_their_password() {
        for stored in TAKEN {
            let Imported::Hash(taken) = read(stored).expect(stored) else { panic!("{stored} is a hash") };
            assert_eq!(verify(&taken, &Secret::new("trout & ä")), Ok(true), "{stored}");
            for wrong in ["", "trout & a", "trout & ä ", "x"] {
                assert_eq!(verify(&taken, &Secret::new(wrong)), Ok(false), "{stored} {wrong:?}");
            }
        }
    }

    #[test]
    fn passwords_in_the_clear_and_verifiers_are_told_apart() {
        for field in ["{PLAIN}trout & ä", "{plain.b64}dHJvdXQgJiDDpA==", "{CLEARTEXT.HEX}74726f7574202620c3a4"] {
            let Ok(Imported::Password(password)) = read(field) else { panic!("{field} is a password") };
            assert_eq!(password, Secret::new("trout & ä"), "{field}");
        }
        let field = "{SCRAM-SHA-256}4096,Ie1avKntghCLpAFSE9GM8Q==,EEm9itWQvM8zyBugEeqnWjHZPZ8K7gbxd9c2q92Jz3Q=,\
            wfXVr6NotTRB09W4erGFVxeGnKvQHInpf59di40eee0=";
        let Ok(Imported::Scram(verifier)) = read(field) else { panic!("a verifier") };
        assert!(verifier.matches(&Secret::new("trout & ä")));
    }

    #[test]
    fn what_cannot_be_checked_is_refused_with_the_reason() {
        for (field, word) in [
            ("$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7", "yescrypt"),
            ("{CRYPT}$y$j9T$abc$def", "yescrypt"),
            ("{MD5-CRYPT}$1$96ePtBAN$O72ja.NkLdAyaiUAgmDX41", "MD5-CRYPT"),
            ("$1$96ePtBAN$O72ja.NkLdAyaiUAgmDX41", "MD5-crypt"),
            ("{CRAM-MD5}4ed7d1089416ad9835c2dee9c16f592aaf0522a0470c276d62cc20dfd0c2e655", "CRAM-MD5"),
            ("{DES-CRYPT}5sHq8f6zs6OgA", "DES-CRYPT"),
            ("5sHq8f6zs6OgA", "DES-crypt"),
            ("$7$CU..../....abc$def", "scrypt"),
            ("sesame", "{PLAIN}"),
            ("", "no hash"),
            ("{PLAIN}", "empty"),
            ("{SHA256", "no end"),
            ("{SHA256}AAAA", "length"),
            ("{SSHA512}AAAA", "length"),
            ("{PBKDF2}$1$salt$4000000000$00", "PBKDF2"),
            ("{PBKDF2}x", "PBKDF2"),
            ("$2y$31$kjIgm3YdPKi8TbCacXhHSuyZt/ys8swY7qbcerTkgqCRLpj5Bytai", "cost 31"),
            ("$2y$05$short", "bcrypt"),
            ("$6$rounds=999999999$abc$def", "rounds"),
            ("$6$ä$def", "characters"),
            ("$6$abc$def", "cannot be read"),
            ("$argon2id$v=19$m=4194304,t=1000000,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "cannot be read"),
            ("{SCRAM-SHA-256}4096,AA", "SCRAM"),
        ] {
            let told = read(field).map(|_| ()).expect_err(field);
            assert!(told.contains(word), "{field}: {told}");
        }
    }
}
