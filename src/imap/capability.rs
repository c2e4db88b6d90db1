//! The table of capabilities: what is offered, and when (RFC 3501 §7.2.1). `docs/capabilities.md` is made from it.

/// When a capability is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// In every state. Some programs decide what they will do from the list before login.
    Always,
    BeforeLogin,
    AfterLogin,
    /// Before login, while TLS can still be started.
    WhileStartTls,
    /// Before login, when a password may be sent.
    WhilePlaintext,
    /// Before login, when a password may not be sent.
    WhileNoPlaintext,
    /// Not offered; the reason is for the documents.
    Declined(&'static str),
}

/// A row of the table.
pub struct Capability {
    pub name: &'static str,
    pub rfc: &'static str,
    pub offered: Offered,
}

const fn row(name: &'static str, rfc: &'static str, offered: Offered) -> Capability {
    Capability { name, rfc, offered }
}

/// In the order they are named. IMAP4rev1 comes first: there are clients that look no further.
pub const CAPABILITIES: &[Capability] = &[
    row("IMAP4rev1", "3501", Offered::Always),
    row("IMAP4rev2", "9051", Offered::Always),
    row("STARTTLS", "3501", Offered::WhileStartTls),
    row("LOGINDISABLED", "3501", Offered::WhileNoPlaintext),
    row("AUTH=PLAIN", "4616", Offered::WhilePlaintext),
    row("SASL-IR", "4959", Offered::BeforeLogin),
    row("LITERAL+", "7888", Offered::Always),
    row("ID", "2971", Offered::Always),
    row("ENABLE", "5161", Offered::Always),
    row("IDLE", "2177", Offered::Always),
    row("NAMESPACE", "2342", Offered::Always),
    row("CHILDREN", "3348", Offered::Always),
    row("UNSELECT", "3691", Offered::Always),
    row("UIDPLUS", "4315", Offered::Always),
    row("MOVE", "6851", Offered::Always),
    row("MULTIAPPEND", "3502", Offered::Always),
    row("CONDSTORE", "7162", Offered::Always),
    row("QRESYNC", "7162", Offered::Always),
    row("ESEARCH", "4731", Offered::Always),
    row("SEARCHRES", "5182", Offered::Always),
    row("WITHIN", "5032", Offered::Always),
    row("INPROGRESS", "9585", Offered::Always),
    row("PARTIAL", "9394", Offered::Always),
    row("UIDBATCHES", "10022", Offered::Always),
    row("NOTIFY", "5465", Offered::Always),
    row("COMPRESS=DEFLATE", "4978", Offered::AfterLogin),
    row("CATENATE", "4469", Offered::Always),
    row("REPLACE", "8508", Offered::Always),
    row("UTF8=ACCEPT", "9755", Offered::Always),
    row("CREATE-SPECIAL-USE", "6154", Offered::Always),
    row("QUOTA", "9208", Offered::Always),
    row("QUOTA=RES-STORAGE", "9208", Offered::Always),
    row("QUOTA=RES-MESSAGE", "9208", Offered::Always),
    row("QUOTA=RES-MAILBOX", "9208", Offered::Always),
    row("QUOTA=RES-ANNOTATION-STORAGE", "9208", Offered::Always),
    row("UNAUTHENTICATE", "8437", Offered::AfterLogin),
    row("LIST-EXTENDED", "5258", Offered::Always),
    row("LIST-STATUS", "5819", Offered::Always),
    row("SPECIAL-USE", "6154", Offered::Always),
    row("STATUS=SIZE", "8438", Offered::Always),
    row("BINARY", "3516", Offered::Always),
    row("SAVEDATE", "8514", Offered::Always),
    row("PREVIEW", "8970", Offered::Always),
    row("OBJECTID", "8474", Offered::Always),
    row("APPENDLIMIT", "7889", Offered::Always),
    row("LOGIN-REFERRALS", "2221", Offered::Declined("an account lives on one server here")),
    row("MAILBOX-REFERRALS", "2193", Offered::Declined("a mailbox lives on one server here")),
    row("AUTH=ANONYMOUS", "4505", Offered::Declined("mail belongs to somebody")),
    row("AUTH=CRAM-MD5", "2195", Offered::Declined("it needs the password itself on the server")),
    row("CONVERT", "5259", Offered::Declined("programs show attachments themselves today")),
    row("ANNOTATE-EXPERIMENT-1", "5257", Offered::Declined("an experiment no client took up")),
];

/// What decides which rows are named.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    pub is_signed_in: bool,
    pub starttls_offered: bool,
    pub plaintext_allowed: bool,
}

/// The capabilities to name now.
pub fn offered(now: Circumstances) -> impl Iterator<Item = &'static str> {
    let before = !now.is_signed_in;
    CAPABILITIES
        .iter()
        .filter(move |row| match row.offered {
            Offered::Always => true,
            Offered::BeforeLogin => before,
            Offered::AfterLogin => !before,
            Offered::WhileStartTls => before && now.starttls_offered,
            Offered::WhilePlaintext => before && now.plaintext_allowed,
            Offered::WhileNoPlaintext => before && !now.plaintext_allowed,
            Offered::Declined(_) => false,
        })
        .map(|row| row.name)
}

/// True when the table offers this capability at some time.
pub fn is_known(name: &str) -> bool {
    CAPABILITIES.iter().any(|row| row.name.eq_ignore_ascii_case(name) && !matches!(row.offered, Offered::Declined(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_follows_the_state() {
        let list = |is_signed_in, starttls_offered, plaintext_allowed| {
            offered(Circumstances { is_signed_in, starttls_offered, plaintext_allowed }).collect::<Vec<_>>()
        };
        let clear = list(false, true, false);
        assert_eq!(clear[0], "IMAP4rev1");
        assert!(clear.contains(&"STARTTLS") && clear.contains(&"LOGINDISABLED") && !clear.contains(&"AUTH=PLAIN"));
        assert!(clear.contains(&"IDLE"), "some decide on push before login");
        let inside = list(true, true, true);
        assert!(!inside.contains(&"STARTTLS") && !inside.contains(&"AUTH=PLAIN") && inside.contains(&"MOVE"));
        assert!(!inside.contains(&"CONVERT"));
    }
}
