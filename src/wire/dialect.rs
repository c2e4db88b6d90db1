//! How this client is spoken to: what it has switched on that changes how commands are read and answers written.

use std::borrow::Cow;

use super::utf7;
use crate::types::{BadMailboxName, MailboxName};

/// The dialect of one session. The default is plain IMAP4rev1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dialect {
    /// UTF8=ACCEPT is enabled: names are UTF-8 instead of modified UTF-7, quoted strings may hold it, and a search
    /// names no charset (RFC 9755 §3).
    pub utf8: bool,
    /// IMAP4rev2 is enabled: names and quoted strings are UTF-8, and `\Recent` is unknown (RFC 9051 appendix E).
    ///
    /// What only went out of use with it, such as CHECK, LSUB and RFC822, is read as before: its answer is as true as
    /// ever. What asks for `\Recent` has no true answer any more and is BAD.
    pub rev2: bool,
}

impl Dialect {
    /// True when names are UTF-8, and quoted strings may hold it in both directions.
    pub fn speaks_utf8(self) -> bool {
        self.utf8 || self.rev2
    }

    /// True when a search is in UTF-8 and no other charset may be named. IMAP4rev2 lets one be named, so it does not
    /// matter then whether UTF8=ACCEPT was enabled too (RFC 9755 §3, RFC 9051 §6.4.4).
    pub(super) fn needs_no_charset(self) -> bool {
        self.utf8 && !self.rev2
    }

    /// The text of a mailbox name or pattern as the client wrote it.
    pub fn decode(self, octets: &[u8]) -> Result<Cow<'_, str>, BadMailboxName> {
        if self.speaks_utf8() {
            return std::str::from_utf8(octets).map(Cow::Borrowed).map_err(|_| BadMailboxName::Encoding);
        }
        utf7::decode(octets).ok_or(BadMailboxName::Encoding)
    }

    /// A mailbox name as this client wants to read it.
    pub fn encode(self, name: &str) -> Cow<'_, str> {
        if self.speaks_utf8() { Cow::Borrowed(name) } else { utf7::encode(name) }
    }

    /// The name in an argument.
    pub fn mailbox_name(self, octets: &[u8]) -> Result<MailboxName, BadMailboxName> {
        MailboxName::new(&self.decode(octets)?)
    }

    /// How the client spelt a name that is kept in another spelling, if it is to be told so.
    // RFC 9051 §6.3.9.7; IMAP4rev1 knows no such answer, with UTF8=ACCEPT neither.
    pub(super) fn spelling(self, octets: &[u8], kept: &MailboxName) -> Option<Box<str>> {
        let text = std::str::from_utf8(octets).ok().filter(|_| self.rev2)?;
        // RFC 9051 §6.3.4: a separator at the end says what the client is about to do, it is no part of the name.
        let name = text.strip_suffix(MailboxName::SEPARATOR).unwrap_or(text);
        // RFC 9051 §8 shows it for `inbox` too.
        (name != kept.as_str()).then(|| name.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_in_two_dialects() {
        let (rev1, utf8) = (Dialect::default(), Dialect { utf8: true, rev2: false });
        let rev2 = Dialect { utf8: false, rev2: true };
        assert_eq!(rev2.encode("Entwürfe"), "Entwürfe");
        assert_eq!(rev2.decode("Entwürfe".as_bytes()).as_deref(), Ok("Entwürfe"));
        assert_eq!(rev1.encode("Entwürfe & mehr"), "Entw&APw-rfe &- mehr");
        assert_eq!(utf8.encode("Entwürfe & mehr"), "Entwürfe & mehr");
        assert_eq!(rev1.decode(b"Entw&APw-rfe").as_deref(), Ok("Entwürfe"));
        assert_eq!(utf8.decode(b"Entw&APw-rfe").as_deref(), Ok("Entw&APw-rfe"));
        assert_eq!(rev1.decode("Entwürfe".as_bytes()), Err(BadMailboxName::Encoding));
        assert_eq!(utf8.decode(b"\xff"), Err(BadMailboxName::Encoding));
    }
}
