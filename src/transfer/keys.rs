//! What makes a message of a source the same one at the next pass: a hash of where it stands there. Each field goes
//! in with its length, so that no two places are alike by chance of their spelling.

use crate::mailstore::ImportKey;

/// A hash of the fields, of which the first names the kind of source.
pub fn of(fields: &[&[u8]]) -> ImportKey {
    let mut hasher = blake3::Hasher::new();
    for field in fields {
        hasher.update(&(field.len() as u64).to_le_bytes());
        hasher.update(field);
    }
    cut(hasher.finalize())
}

/// The first half of a hash: enough for as many messages as there can be.
pub fn cut(hash: blake3::Hash) -> ImportKey {
    let mut key = [0; 16];
    key.copy_from_slice(&hash.as_bytes()[..16]);
    ImportKey(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_into_each_other() {
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_eq!(of(&[b"ab", b"c"]), of(&[b"ab", b"c"]));
    }
}
