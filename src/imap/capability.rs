//! The table of capabilities: what is offered, and when (RFC 3501 §7.2.1). `docs/capabilities.md` is made from it.

use crate::auth::Mechanism;

/// When a capability is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// In every state. Some programs decide what they will do from the list before login.
    Always,
    BeforeLogin,
    AfterLogin,
    /// Before login, while TLS can still be started.
    WhileStartTls,
    /// Before login, where logging in is allowed and this mechanism can work.
    Mechanism(Mechanism),
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
    row("STARTTLS", "3501", Offered::WhileStartTls),
    row("LOGINDISABLED", "3501", Offered::WhileNoPlaintext),
    row("AUTH=SCRAM-SHA-256-PLUS", "7677", Offered::Mechanism(Mechanism::ScramSha256Plus)),
    row("AUTH=SCRAM-SHA-256", "7677", Offered::Mechanism(Mechanism::ScramSha256)),
    row("AUTH=PLAIN", "4616", Offered::Mechanism(Mechanism::Plain)),
    row("AUTH=EXTERNAL", "4422", Offered::Mechanism(Mechanism::External)),
    row("AUTH=OAUTHBEARER", "7628", Offered::Mechanism(Mechanism::OAuthBearer)),
    row("AUTH=XOAUTH2", "7628", Offered::Mechanism(Mechanism::XOAuth2)),
    row("SASL-IR", "4959", Offered::BeforeLogin),
    row("UNAUTHENTICATE", "8437", Offered::AfterLogin),
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
#[derive(Clone, Copy)]
pub struct Circumstances<'a> {
    pub is_signed_in: bool,
    pub starttls_offered: bool,
    pub plaintext_allowed: bool,
    /// Whether a SASL mechanism can work on this connection.
    pub mechanism_works: &'a dyn Fn(Mechanism) -> bool,
}

/// The capabilities to name now.
pub fn offered(now: Circumstances<'_>) -> impl Iterator<Item = &'static str> {
    let before = !now.is_signed_in;
    CAPABILITIES
        .iter()
        .filter(move |row| match row.offered {
            Offered::Always => true,
            Offered::BeforeLogin => before,
            Offered::AfterLogin => !before,
            Offered::WhileStartTls => before && now.starttls_offered,
            Offered::Mechanism(mechanism) => before && now.plaintext_allowed && (now.mechanism_works)(mechanism),
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
            let mechanism_works = &|mechanism| mechanism != Mechanism::External;
            let now = Circumstances { is_signed_in, starttls_offered, plaintext_allowed, mechanism_works };
            offered(now).collect::<Vec<_>>()
        };
        let clear = list(false, true, false);
        assert_eq!(clear[0], "IMAP4rev1");
        assert!(clear.contains(&"STARTTLS") && clear.contains(&"LOGINDISABLED") && !clear.contains(&"AUTH=PLAIN"));
        assert!(clear.contains(&"IDLE"), "some decide on push before login");
        assert!(!clear.iter().any(|name| name.starts_with("AUTH=")), "{clear:?}");
        let private = list(false, false, true);
        assert!(private.contains(&"AUTH=SCRAM-SHA-256-PLUS") && private.contains(&"AUTH=PLAIN"));
        assert!(!private.contains(&"AUTH=EXTERNAL"), "it could not work");
        let inside = list(true, true, true);
        assert!(!inside.contains(&"STARTTLS") && !inside.contains(&"AUTH=PLAIN") && inside.contains(&"MOVE"));
        assert!(!inside.contains(&"CONVERT"));
    }
}
