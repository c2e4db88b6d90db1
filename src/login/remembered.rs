//! Passwords that were right a short while ago, as keyed hashes in memory only.
//! A client that opens ten connections pays for one Argon2 hash. What is remembered names user, password and stored
//! hash together, so no entry can ever let in anybody else or outlive a change of password.

use std::collections::HashMap;
use std::io;
use std::time::Instant;

use crate::mailstore::directory::DirectoryVersion;
use crate::types::Secret;

/// Most entries: 10,000 users within a minute; more pay for their hash.
const MOST_ENTRIES: usize = 10_000;

/// A keyed hash over name, password and stored hash.
pub(super) type Proof = [u8; 32];

/// What was right, and until when that is believed. Only successes are kept.
pub(super) struct Remembered {
    key: [u8; 32],
    until: HashMap<Proof, Instant>,
    version: Option<DirectoryVersion>,
}

impl Remembered {
    /// With a key of its own that never leaves the process.
    pub fn new() -> io::Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|_| io::Error::other("the system gave no random octets"))?;
        Ok(Remembered { key, until: HashMap::new(), version: None })
    }

    /// The proof for one attempt. Each part goes in with its length, so that no two attempts share one.
    pub fn proof(&self, name: &str, password: &Secret, stored: &str) -> Proof {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in [name.as_bytes(), password.reveal(), stored.as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }

    pub fn has(&self, proof: &Proof, now: Instant) -> bool {
        self.until.get(proof).is_some_and(|until| now < *until)
    }

    pub fn remember(&mut self, proof: Proof, until: Instant, now: Instant) {
        if self.until.len() >= MOST_ENTRIES {
            self.until.retain(|_, until| now < *until);
        }
        if until > now && self.until.len() < MOST_ENTRIES {
            self.until.insert(proof, until);
        }
    }

    /// Forgets everything unless the directory is still as it was when the entries were made.
    pub fn forget_unless(&mut self, version: DirectoryVersion) {
        if self.version != Some(version) {
            self.clear();
            self.version = Some(version);
        }
    }

    pub fn clear(&mut self) {
        self.until.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_the_very_same_attempt_is_remembered_and_not_for_long() {
        let mut remembered = Remembered::new().expect("a key");
        let now = Instant::now();
        let proof = remembered.proof("anna", &Secret::new("pw"), "hash");
        remembered.remember(proof, now + Duration::from_secs(60), now);
        assert!(remembered.has(&proof, now));
        assert!(!remembered.has(&proof, now + Duration::from_secs(60)));
        for (name, password, stored) in [("ann", "apw", "hash"), ("anna", "pw", "hash2"), ("anna", "pwh", "ash")] {
            let other = remembered.proof(name, &Secret::new(password), stored);
            assert!(!remembered.has(&other, now), "{name} {password} {stored}");
        }
    }

    #[test]
    fn two_processes_share_no_proof() {
        let proof = || Remembered::new().expect("a key").proof("anna", &Secret::new("pw"), "hash");
        assert_ne!(proof(), proof());
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut remembered = Remembered::new().expect("a key");
        let now = Instant::now();
        for n in 0..MOST_ENTRIES + 10 {
            let proof = remembered.proof(&n.to_string(), &Secret::new("pw"), "hash");
            remembered.remember(proof, now + Duration::from_secs(1), now);
        }
        assert_eq!(remembered.until.len(), MOST_ENTRIES);
        let later = now + Duration::from_secs(2);
        remembered.remember([0; 32], later + Duration::from_secs(1), later);
        assert_eq!(remembered.until.len(), 1, "what is over makes room");
    }
}
