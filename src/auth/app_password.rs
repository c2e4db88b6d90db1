//! Passwords made for one device: twenty letters that a machine chose, in groups that a person can type.
//! The first group says which stored hash to check, so that a user with many devices costs one hash like everybody.

use crate::types::Secret;

/// The letters: none that look like another.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// How many letters; the 80 bits behind the selector are what must be guessed.
const LENGTH: usize = 20;
/// How many of them are the selector, and the size of a group.
const GROUP: usize = 4;

/// A password in the one form that is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppPassword {
    /// The first letters; no secret.
    pub selector: String,
    /// All letters, without what separates the groups.
    pub letters: Secret,
}

/// Makes a fresh one. `None`: the system gave no random octets.
pub fn generate() -> Option<AppPassword> {
    let mut random = [0; LENGTH];
    getrandom::fill(&mut random).ok()?;
    let letters: Vec<u8> = random.iter().map(|octet| LETTERS[usize::from(octet % 32)]).collect();
    read(&Secret::new(letters))
}

impl AppPassword {
    /// How it is shown to its owner, once: `abcd-efgh-ijkm-npqr-stuv`.
    pub fn shown(&self) -> String {
        let groups: Vec<_> = self.letters.reveal().chunks(GROUP).map(String::from_utf8_lossy).collect();
        groups.join("-")
    }
}

/// Reads what may be such a password, with or without what separates the groups, in any case.
pub fn read(password: &Secret) -> Option<AppPassword> {
    let mut letters = Vec::with_capacity(LENGTH);
    for octet in password.reveal() {
        match octet {
            b'-' | b' ' => {}
            octet if letters.len() < LENGTH && LETTERS.contains(&octet.to_ascii_lowercase()) => {
                letters.push(octet.to_ascii_lowercase());
            }
            _ => return None,
        }
    }
    if letters.len() != LENGTH {
        return None;
    }
    let selector = String::from_utf8_lossy(&letters[..GROUP]).into_owned();
    Some(AppPassword { selector, letters: Secret::new(letters) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_typed_in_many_ways() {
        let made = generate().expect("random octets");
        let shown = made.shown();
        assert_eq!(shown.len(), 24);
        assert_eq!(shown[..4], made.selector);
        for typed in [shown.clone(), shown.replace('-', " "), shown.replace('-', ""), shown.to_uppercase()] {
            assert_eq!(read(&Secret::new(typed)), Some(made.clone()));
        }
        assert_ne!(generate().expect("random octets"), made);
        assert!(!format!("{made:?}").contains(&shown[5..9]), "only the selector is printed");
    }

    #[test]
    fn other_passwords_are_not_taken_for_one() {
        for other in ["", "sesame", "abcd-efgh-ijkm-npqr-stu", "abcd-efgh-ijkm-npqr-stuvw", "abcd-efgh-ijkl-npqr-stuv"]
        {
            assert_eq!(read(&Secret::new(other)), None, "{other}");
        }
    }
}
