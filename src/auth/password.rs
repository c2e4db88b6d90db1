//! Passwords at rest: Argon2id in its PHC text form. One hash takes tens of milliseconds and 19 MiB, so callers run
//! it on the password threads of `login`, never on the async ones.

use std::fmt;
use std::sync::LazyLock;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq;

use crate::types::Secret;

/// Memory of one hash, in KiB.
const MEMORY_KIB: u32 = 19 * 1024;
/// Passes over that memory.
const PASSES: u32 = 2;
/// Lanes; one, because the password threads already use every core.
const LANES: u32 = 1;

const SALT_OCTETS: usize = 16;
const OUTPUT_OCTETS: usize = 32;
/// Blocks of 1 KiB asked for at least. glibc gives what is larger than 32 MiB back to the system when it is freed; once
/// something smaller was freed it takes the like from its heaps, which keep it: a flood of guesses left 200 MiB behind.
/// What is not touched of it costs nothing.
const MAPPED_BLOCKS: usize = 33 * 1024;

/// A stored hash may ask for at most this many times the work of ours: it is data, and data must not stop the server.
const MOST_WORK: u64 = 64;

/// Why a hash could not be made or judged. It says nothing about the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashTrouble {
    /// The stored text is no Argon2 hash this program can compute.
    Unreadable,
    /// No random octets, or no memory.
    System,
}

impl fmt::Display for HashTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HashTrouble::Unreadable => "the stored password hash cannot be read",
            HashTrouble::System => "the system gave no random octets or no memory for a password hash",
        })
    }
}

impl std::error::Error for HashTrouble {}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the constants are within Argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Hashes a password with a fresh salt: `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`.
pub fn hash(password: &Secret) -> Result<String, HashTrouble> {
    let argon2 = argon2();
    let (mut salt, mut out) = ([0; SALT_OCTETS], [0; OUTPUT_OCTETS]);
    getrandom::fill(&mut salt).map_err(|_| HashTrouble::System)?;
    compute(&argon2, password, &salt, &mut out)?;
    let made = || -> Option<PasswordHash> {
        Some(PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(argon2.params()).ok()?,
            salt: Some(Salt::new(&salt).ok()?),
            hash: Some(Output::new(&out).ok()?),
        })
    };
    made().map(|hash| hash.to_string()).ok_or(HashTrouble::System)
}

/// Whether `password` is the one that was hashed. The comparison takes the same time wherever they differ.
pub fn verify(stored: &str, password: &Secret) -> Result<bool, HashTrouble> {
    let unreadable = || HashTrouble::Unreadable;
    let parsed = PasswordHash::new(stored).map_err(|_| HashTrouble::Unreadable)?;
    let params = Params::try_from(&parsed).map_err(|_| HashTrouble::Unreadable)?;
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if work > MOST_WORK * u64::from(MEMORY_KIB) * u64::from(PASSES) {
        return Err(HashTrouble::Unreadable);
    }
    let algorithm = Algorithm::try_from(parsed.algorithm.as_str()).map_err(|_| HashTrouble::Unreadable)?;
    let version = parsed.version.map_or(Ok(Version::V0x13), Version::try_from).map_err(|_| HashTrouble::Unreadable)?;
    let (salt, expected) = (parsed.salt.ok_or_else(unreadable)?, parsed.hash.ok_or_else(unreadable)?);
    let mut out = [0; Output::MAX_LENGTH];
    let out = out.get_mut(..expected.len()).ok_or_else(unreadable)?;
    compute(&Argon2::new(algorithm, version, params), password, salt.as_ref(), out)?;
    Ok(out.ct_eq(expected.as_bytes()).into())
}

fn compute(argon2: &Argon2<'_>, password: &Secret, salt: &[u8], out: &mut [u8]) -> Result<(), HashTrouble> {
    let blocks = argon2.params().block_count();
    let mut memory: Vec<Block> = Vec::new();
    memory.try_reserve_exact(blocks.max(MAPPED_BLOCKS)).map_err(|_| HashTrouble::System)?;
    memory.resize(blocks, Block::new());
    argon2
        .hash_password_into_with_memory(password.reveal(), salt, out, &mut memory)
        .map_err(|_| HashTrouble::Unreadable)
}

/// A hash that no password has, for names that no user has: judging it costs the same as judging a real one, so that
/// time does not tell which names exist.
pub fn decoy() -> &'static str {
    static DECOY: LazyLock<String> = LazyLock::new(|| {
        let mut unguessable = [0; 32];
        let filled = getrandom::fill(&mut unguessable).is_ok();
        let made = filled.then(|| hash(&Secret::new(unguessable)).ok()).flatten();
        // Without random octets no log-in works anyway; the text below only keeps the cost the same.
        made.unwrap_or_else(|| {
            format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$AAAAAAAAAAAAAAAAAAAAAA${}", "A".repeat(43))
        })
    });
    &DECOY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_password_and_no_other() {
        let stored = hash(&Secret::new("pass word ä")).expect("hashed");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_eq!(verify(&stored, &Secret::new("pass word ä")), Ok(true));
        assert_eq!(verify(&stored, &Secret::new("pass word a")), Ok(false));
        assert_eq!(verify(&stored, &Secret::new("")), Ok(false));
        assert_ne!(hash(&Secret::new("pass word ä")).expect("hashed"), stored, "each hash has its own salt");
    }

    #[test]
    fn hashes_of_other_programs_with_other_costs_are_read() {
        // The reference program's own example: -id -t 2 -m 16 -p 1, salt "somesalt".
        let stored = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert_eq!(verify(stored, &Secret::new("password")), Ok(true));
        assert_eq!(verify(stored, &Secret::new("passwort")), Ok(false));
    }

    #[test]
    fn what_is_no_hash_is_trouble_and_not_a_wrong_password() {
        let endless = "$argon2id$v=19$m=4194304,t=1000000,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA";
        for stored in ["", "x", "$argon2id$", "$2b$10$abc", "{PLAIN}pw", endless] {
            assert_eq!(verify(stored, &Secret::new("pw")), Err(HashTrouble::Unreadable), "{stored}");
        }
    }

    #[test]
    fn the_decoy_is_judged_like_any_hash() {
        assert_eq!(verify(decoy(), &Secret::new("pw")), Ok(false));
    }
}
