//! What SCRAM is told of users who are not there or have no verifier: a salt that is the same each time they are asked
//! for, restarts included, and a verifier that no password fits. So the answer does not tell who is there.

use crate::auth::ScramUser;
use crate::auth::ScramVerifier;
use crate::auth::scram::{ITERATIONS, SALT_OCTETS};
use crate::mailstore::directory::{Directory, DirectoryError};

/// Makes salts and verifiers up, under a key of this server's own.
pub(super) struct MadeUp {
    key: [u8; 32],
}

impl MadeUp {
    pub fn new(directory: &Directory) -> Result<Self, DirectoryError> {
        Ok(MadeUp { key: directory.secret("scram salts of nobody")? })
    }

    /// For one name, in the form of [`super::names::key_of`].
    pub fn user(&self, name: &str) -> ScramUser {
        let hash = |purpose: &str| -> [u8; 32] {
            let mut hasher = blake3::Hasher::new_keyed(&self.key);
            hasher.update(purpose.as_bytes()).update(name.as_bytes());
            *hasher.finalize().as_bytes()
        };
        let salt = hash("salt ")[..SALT_OCTETS].to_vec();
        let (stored_key, server_key) = (hash("stored key "), hash("server key "));
        let verifier = ScramVerifier { iterations: ITERATIONS, salt: salt.clone(), stored_key, server_key };
        ScramUser { salt, iterations: ITERATIONS, verifiers: vec![verifier] }
    }

    /// The key of a user in the tables of the throttle.
    pub fn key(&self, name: &str) -> u64 {
        let hash = blake3::keyed_hash(&self.key, name.as_bytes());
        u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 octets"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_salt_over_a_restart_and_shares_it_with_nobody() {
        let home = tempfile::tempdir().expect("a directory");
        let made_up = || MadeUp::new(&Directory::open(home.path()).expect("opened")).expect("a key");
        let first = made_up().user("nobody");
        assert_eq!(made_up().user("nobody").salt, first.salt);
        assert_ne!(made_up().user("somebody").salt, first.salt);
        assert_eq!((first.salt.len(), first.iterations), (SALT_OCTETS, ITERATIONS));
        let elsewhere = tempfile::tempdir().expect("a directory");
        let other = MadeUp::new(&Directory::open(elsewhere.path()).expect("opened")).expect("a key");
        assert_ne!(other.user("nobody").salt, first.salt);
    }
}
