//! How this client is spoken to: what it has switched on that changes how names are read and written.

use std::borrow::Cow;

use super::utf7;
use crate::types::{BadMailboxName, MailboxName};

/// The dialect of one session. The default is plain IMAP4rev1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dialect {
    /// Names are UTF-8 instead of modified UTF-7 (RFC 6855 §3), once the client has enabled it.
    pub utf8: bool,
}

impl Dialect {
    /// The text of a mailbox name or pattern as the client wrote it.
    pub fn decode(self, octets: &[u8]) -> Result<Cow<'_, str>, BadMailboxName> {
        if self.utf8 {
            return std::str::from_utf8(octets).map(Cow::Borrowed).map_err(|_| BadMailboxName::Encoding);
        }
        utf7::decode(octets).ok_or(BadMailboxName::Encoding)
    }

    /// A mailbox name as this client wants to read it.
    pub fn encode(self, name: &str) -> Cow<'_, str> {
        if self.utf8 { Cow::Borrowed(name) } else { utf7::encode(name) }
    }

    /// The name in an argument.
    pub fn mailbox_name(self, octets: &[u8]) -> Result<MailboxName, BadMailboxName> {
        MailboxName::new(&self.decode(octets)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_in_two_dialects() {
        let (rev1, utf8) = (Dialect::default(), Dialect { utf8: true });
        assert_eq!(rev1.encode("Entwürfe & mehr"), "Entw&APw-rfe &- mehr");
        assert_eq!(utf8.encode("Entwürfe & mehr"), "Entwürfe & mehr");
        assert_eq!(rev1.decode(b"Entw&APw-rfe").as_deref(), Ok("Entwürfe"));
        assert_eq!(utf8.decode(b"Entw&APw-rfe").as_deref(), Ok("Entw&APw-rfe"));
        assert_eq!(rev1.decode("Entwürfe".as_bytes()), Err(BadMailboxName::Encoding));
        assert_eq!(utf8.decode(b"\xff"), Err(BadMailboxName::Encoding));
    }
}
