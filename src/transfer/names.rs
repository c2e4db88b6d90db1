//! Names of mailboxes as other systems write them, and ours as files: nothing is lost because of its name.

use crate::types::MailboxName;
use crate::wire::utf7;

/// How a Maildir++ folder's name writes a dot that is no separator. No canonical modified UTF-7 has it.
pub const DOT: &str = "&AC4-";

/// One level of a name in modified UTF-7 (RFC 3501 §5.1.3), or in UTF-8 as newer servers write it, or as it is.
pub fn level(octets: &[u8]) -> String {
    let text = String::from_utf8_lossy(octets);
    let decoded: Option<Vec<String>> =
        text.split(DOT).map(|part| utf7::decode(part.as_bytes()).map(|part| part.into_owned())).collect();
    decoded.map_or_else(|| text.into_owned(), |parts| parts.join("."))
}

/// A name of these levels. What no name of ours may hold is replaced by `_`; true: something was. `None` when it is
/// too long or too deep.
pub fn fit<'a>(levels: impl Iterator<Item = &'a str>) -> Option<(MailboxName, bool)> {
    let mut is_changed = false;
    let mut text = String::new();
    for (at, level) in levels.enumerate() {
        if at > 0 {
            text.push(MailboxName::SEPARATOR);
        }
        if level.is_empty() {
            is_changed = true;
            text.push('_');
        }
        for c in level.chars() {
            let is_bad = c.is_control() || matches!(c, '/' | '\u{2028}' | '\u{2029}');
            is_changed |= is_bad;
            text.push(if is_bad { '_' } else { c });
        }
    }
    // RFC 3501 §5.1: INBOX in any case is INBOX; a second one below would be taken for it.
    if let Some((first, rest)) = text.split_once(MailboxName::SEPARATOR)
        && first.eq_ignore_ascii_case("INBOX")
        && rest.split(MailboxName::SEPARATOR).next().is_some_and(|second| second.eq_ignore_ascii_case("INBOX"))
    {
        text = format!("{first}/_{rest}");
        is_changed = true;
    }
    MailboxName::new(&text).ok().map(|name| (name, is_changed))
}

/// `name` below `prefix`; INBOX becomes the prefix itself.
pub fn below(prefix: Option<&MailboxName>, name: MailboxName) -> Option<MailboxName> {
    match prefix {
        None => Some(name),
        Some(prefix) if name.is_inbox() => Some(prefix.clone()),
        Some(prefix) => MailboxName::new(&format!("{prefix}/{name}")).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_in_either_encoding() {
        assert_eq!(level(b"Entw&APw-rfe"), "Entwürfe");
        assert_eq!(level("Entwürfe".as_bytes()), "Entwürfe");
        assert_eq!(level(b"v1&AC4-2"), "v1.2");
        assert_eq!(level(b"&AC4-&AC4-"), "..");
        assert_eq!(level(b"&bad"), "&bad");
    }

    #[test]
    fn nothing_is_lost_because_of_its_name() {
        let fit =
            |levels: &[&str]| fit(levels.iter().copied()).map(|(name, is_changed)| (name.to_string(), is_changed));
        assert_eq!(fit(&["a", "b"]), Some(("a/b".into(), false)));
        assert_eq!(fit(&["..", "."]), Some(("../.".into(), false)), "names are no paths here");
        assert_eq!(fit(&["", "a/b", "c\0d"]), Some(("_/a_b/c_d".into(), true)));
        assert_eq!(fit(&["inbox", "Inbox", "x"]), Some(("INBOX/_Inbox/x".into(), true)));
        assert_eq!(fit(&[&"x".repeat(2000)]), None);
    }

    #[test]
    fn a_prefix_takes_the_place_of_inbox() {
        let name = |text| MailboxName::new(text).expect("a name");
        assert_eq!(below(None, name("a")), Some(name("a")));
        assert_eq!(below(Some(&name("Old")), name("INBOX")), Some(name("Old")));
        assert_eq!(below(Some(&name("Old")), name("a/b")), Some(name("Old/a/b")));
    }
}
