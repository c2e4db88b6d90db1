//! Rights on mailboxes (RFC 4314): so far only the line that LIST sends with MYRIGHTS.

use super::dialect::Dialect;
use super::write;
use crate::types::MailboxName;

/// `* MYRIGHTS name rights` (RFC 4314 §3.8): the letters of the rights the user has.
pub fn write_my_rights(out: &mut Vec<u8>, name: &MailboxName, rights: &str, dialect: Dialect) {
    out.extend_from_slice(b"* MYRIGHTS ");
    write::mailbox(out, name, dialect);
    out.push(b' ');
    write::astring(out, rights.as_bytes());
    write::end(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let mut out = Vec::new();
        write_my_rights(&mut out, &MailboxName::inbox(), "lrswipkxtecda", Dialect::default());
        write_my_rights(&mut out, &MailboxName::new("a b").expect("a name"), "", Dialect::default());
        assert_eq!(out, b"* MYRIGHTS INBOX lrswipkxtecda\r\n* MYRIGHTS \"a b\" \"\"\r\n");
    }
}
