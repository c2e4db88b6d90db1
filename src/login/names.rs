//! User names: composed, in lower case, with or without the default domain.

use icu_normalizer::ComposingNormalizerBorrowed;

use crate::mailstore::directory::{
    BadUserName, Directory, DirectoryError, MOST_NAME_OCTETS, UserRecord, canonical_name,
};

/// The one form of a name: NFC, lower case, within bounds. So that what looks the same is the same.
pub fn canonical(name: &str) -> Result<String, BadUserName> {
    if name.len() > MOST_NAME_OCTETS {
        return Err(BadUserName::TooLong);
    }
    let composed = ComposingNormalizerBorrowed::new_nfc().normalize(name);
    let lower = canonical_name(&composed)?;
    // Lower case can take a letter apart again (U+0130 does): compose once more.
    canonical_name(&ComposingNormalizerBorrowed::new_nfc().normalize(&lower))
}

/// The other way to write the same user: with the default domain, or without.
fn twin(name: &str, default_domain: &str) -> Option<String> {
    if default_domain.is_empty() {
        return None;
    }
    match name.split_once('@') {
        None => Some(format!("{name}@{default_domain}")),
        Some((local, domain)) if domain == default_domain => Some(local.to_owned()),
        Some(_) => None,
    }
}

/// The user of that name, in whichever of its two forms he was added. Blocks.
pub fn find_user(
    directory: &Directory,
    name: &str,
    default_domain: &str,
) -> Result<Option<UserRecord>, DirectoryError> {
    let Ok(name) = canonical(name) else { return Ok(None) };
    let found = directory.look_up(&name)?;
    // Both are always asked, so that a name's form does not show in the time.
    let other = match twin(&name, default_domain) {
        Some(twin) => directory.look_up(&twin)?,
        None => None,
    };
    Ok(found.or(other))
}

/// One text for all ways to write a user, also one who is not there; for keys of tables and of made-up salts.
pub(super) fn key_of(name: &str, default_domain: &str) -> String {
    let Ok(name) = canonical(name) else { return name.to_owned() };
    match name.split_once('@') {
        Some((local, domain)) if domain == default_domain => local.to_owned(),
        _ => name,
    }
}

/// Whether two texts name one user.
pub fn are_same(one: &str, other: &str, default_domain: &str) -> bool {
    let (Ok(one), Ok(other)) = (canonical(one), canonical(other)) else { return false };
    one == other || twin(&one, default_domain).is_some_and(|twin| twin == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_the_same_is_the_same() {
        assert_eq!(canonical("Mu\u{308}ller"), Ok("müller".into()));
        assert_eq!(canonical("MÜLLER"), Ok("müller".into()));
        assert_eq!(canonical("\u{130}"), canonical("i\u{307}"));
        assert_eq!(canonical(&"\u{fb2c}".repeat(200)), Err(BadUserName::TooLong));
        assert!(canonical("a\0").is_err());
    }

    #[test]
    fn the_default_domain_may_be_left_out_or_written() {
        let home = tempfile::tempdir().expect("a directory");
        let directory = Directory::open(home.path()).expect("opened");
        directory.add_user("short", &[]).expect("added");
        directory.add_user("long@example.org", &[]).expect("added");
        directory.add_user("other@example.net", &[]).expect("added");
        let find = |name: &str| find_user(&directory, name, "example.org").expect("no trouble").map(|user| user.name);
        for name in ["short", "Short@Example.org"] {
            assert_eq!(find(name).as_deref(), Some("short"), "{name}");
        }
        for name in ["long", "LONG@example.org"] {
            assert_eq!(find(name).as_deref(), Some("long@example.org"), "{name}");
        }
        assert_eq!(find("other"), None);
        assert_eq!(find("short@example.net"), None);
        assert_eq!(find_user(&directory, "long", "").expect("no trouble"), None);
    }

    #[test]
    fn sameness_knows_the_default_domain() {
        assert!(are_same("Anna", "anna@example.org", "example.org"));
        assert!(are_same("anna@example.org", "anna", "example.org"));
        assert!(!are_same("anna", "anna@example.org", ""));
        assert!(!are_same("anna", "bert", "example.org"));
        assert!(!are_same("", "", "example.org"));
    }
}
