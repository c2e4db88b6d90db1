//! How single values are read and written: whole numbers within bounds, seconds, periods such as `7d`, names.
//! Bounds are checked while reading, so that an error carries the place of the value in the file.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A whole number from `LO` to `HI`.
pub fn whole<'de, D, N, const LO: u64, const HI: u64>(deserializer: D) -> Result<N, D::Error>
where
    D: Deserializer<'de>,
    N: TryFrom<u64>,
{
    let given = i64::deserialize(deserializer)?;
    let within = u64::try_from(given).ok().filter(|n| (LO..=HI).contains(n));
    let fits = within.and_then(|n| N::try_from(n).ok());
    fits.ok_or_else(|| de::Error::custom(format!("{given} is out of bounds; it must be from {LO} to {HI}")))
}

/// A duration written as a whole number of seconds.
pub mod seconds {
    use super::*;
    use serde::Serializer;

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(duration.as_secs())
    }

    pub fn within<'de, D, const LO: u64, const HI: u64>(deserializer: D) -> Result<Duration, D::Error>
    where
        D: Deserializer<'de>,
    {
        whole::<D, u64, LO, HI>(deserializer).map(Duration::from_secs)
    }
}

/// A duration written with its unit: `90s`, `30m`, `12h`, `7d`, `2w`.
pub mod period {
    use super::*;
    use serde::Serializer;

    const UNITS: [(char, u64); 5] = [('w', 604_800), ('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

    /// `None` unless `text` is a whole number with one unit, and no overflow.
    pub fn parse(text: &str) -> Option<Duration> {
        let (letter, each) = UNITS.into_iter().find(|(letter, _)| text.ends_with(*letter))?;
        let digits = text.strip_suffix(letter)?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let count: u64 = digits.parse().ok()?;
        count.checked_mul(each).map(Duration::from_secs)
    }

    /// The shortest text that [`parse`] reads back; days rather than weeks, because that is how people say it.
    pub fn text(duration: Duration) -> String {
        let seconds = duration.as_secs();
        let fitting = UNITS[1..].iter().find(|(_, each)| seconds > 0 && seconds.is_multiple_of(*each));
        let (letter, each) = fitting.copied().unwrap_or(('s', 1));
        format!("{}{letter}", seconds / each)
    }

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(*duration))
    }

    pub fn within<'de, D, const LO: u64, const HI: u64>(deserializer: D) -> Result<Duration, D::Error>
    where
        D: Deserializer<'de>,
    {
        let given = String::deserialize(deserializer)?;
        let bad = || de::Error::custom(format!("\"{given}\" is no period; write it like \"7d\", \"12h\" or \"90m\""));
        let duration = parse(&given).ok_or_else(bad)?;
        if !(LO..=HI).contains(&duration.as_secs()) {
            let (lo, hi) = (text(Duration::from_secs(LO)), text(Duration::from_secs(HI)));
            return Err(de::Error::custom(format!("\"{given}\" is out of bounds; it must be from {lo} to {hi}")));
        }
        Ok(duration)
    }
}

/// A mailbox name as people write it.
pub mod mailbox {
    use super::*;
    use crate::types::MailboxName;
    use serde::Serializer;

    pub fn serialize<S: Serializer>(name: &MailboxName, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MailboxName, D::Error> {
        let name = MailboxName::new(&String::deserialize(deserializer)?).map_err(de::Error::custom)?;
        if name.is_inbox() {
            return Err(de::Error::custom("INBOX is always there and need not be named"));
        }
        Ok(name)
    }
}

/// RFC 6154 §2 and RFC 8457 §3: the uses a mailbox can have. `\All` and `\Flagged` are views of all mail, which this
/// server does not keep as mailboxes.
const SPECIAL_USES: [&str; 6] = ["\\Archive", "\\Drafts", "\\Important", "\\Junk", "\\Sent", "\\Trash"];

/// A special use, or nothing.
pub fn special_use<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let given = String::deserialize(deserializer)?;
    if given.is_empty() {
        return Ok(given);
    }
    let known = SPECIAL_USES.iter().find(|word| word.eq_ignore_ascii_case(&given));
    let uses = SPECIAL_USES.map(|word| format!("'{word}'")).join(", ");
    known.map(|word| (*word).to_owned()).ok_or_else(|| de::Error::custom(format!("must be empty or one of {uses}")))
}

/// A domain, or nothing. Kept in lower case.
pub fn domain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked_domain(String::deserialize(deserializer)?)
}

/// The same for a text that was read already.
pub fn checked_domain<E: de::Error>(given: String) -> Result<String, E> {
    let given = given.to_lowercase();
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '/');
    if given.len() > 200 || given.contains(is_odd) || given.starts_with('.') || given.ends_with('.') {
        return Err(E::custom(format!("{given:?} is no domain; write it like \"example.org\"")));
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_go_there_and_back() {
        for (text, seconds) in [("90s", 90), ("2h", 7200), ("7d", 604_800), ("0s", 0), ("61m", 3660)] {
            let duration = period::parse(text).expect(text);
            assert_eq!(duration.as_secs(), seconds);
            assert_eq!(period::text(duration), text);
        }
        assert_eq!(period::parse("1w"), period::parse("7d"));
        for bad in ["", "d", "7", "7 d", "-7d", "7.5d", "7D", "99999999999999999999d", "18446744073709551615w", "7é"] {
            assert_eq!(period::parse(bad), None, "{bad}");
        }
    }
}
