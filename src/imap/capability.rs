//! The table of capabilities: what is offered, and when (RFC 3501 §7.2.1). `docs/capabilities.md` is made from it.

use crate::auth::Mechanism;
use crate::config::Config;

/// When a capability is named.
#[derive(Debug, Clone, Copy)]
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
    /// While the configuration wants it; the note says which setting that is.
    Configured(fn(&Config) -> bool, &'static str),
    /// With a number behind it, where the configuration sets one above 0.
    Limit(fn(&Config) -> u64, &'static str),
    /// Not offered yet; what it waits for is for the documents.
    Planned(&'static str),
    /// Not offered; the reason is for the documents.
    Declined(&'static str),
}

impl Offered {
    /// State and note for the documents.
    pub fn told(self) -> (&'static str, &'static str) {
        match self {
            Offered::Always => ("offered", ""),
            Offered::BeforeLogin => ("offered", "before login"),
            Offered::AfterLogin => ("offered", "after login"),
            Offered::WhileStartTls => ("offered", "before login, on a STARTTLS port, until TLS is on"),
            Offered::Mechanism(_) => ("offered", "before login, where it can work"),
            Offered::WhileNoPlaintext => ("offered", "before login, where no password may be sent as it is"),
            Offered::Configured(_, note) | Offered::Limit(_, note) => ("offered", note),
            Offered::Planned(note) => ("planned", note),
            Offered::Declined(reason) => ("declined", reason),
        }
    }
}

/// A row of the table. `rfc` is empty for what no RFC describes.
pub struct Capability {
    pub name: &'static str,
    pub rfc: &'static str,
    pub offered: Offered,
}

const fn row(name: &'static str, rfc: &'static str, offered: Offered) -> Capability {
    Capability { name, rfc, offered }
}

/// In the order they are named. IMAP4rev1 comes first: there are clients that look no further. Every capability of
/// the IANA registry that is in use somewhere has its row, whatever becomes of it here.
pub const CAPABILITIES: &[Capability] = &[
    row("IMAP4rev1", "3501", Offered::Always),
    row("IMAP4rev2", "9051", Offered::Always),
    row("STARTTLS", "3501", Offered::WhileStartTls),
    row("LOGINDISABLED", "3501", Offered::WhileNoPlaintext),
    row("AUTH=SCRAM-SHA-256-PLUS", "7677", Offered::Mechanism(Mechanism::ScramSha256Plus)),
    row("AUTH=SCRAM-SHA-256", "7677", Offered::Mechanism(Mechanism::ScramSha256)),
    row("AUTH=PLAIN", "4616", Offered::Mechanism(Mechanism::Plain)),
    row("AUTH=EXTERNAL", "4422", Offered::Mechanism(Mechanism::External)),
    row("AUTH=OAUTHBEARER", "7628", Offered::Mechanism(Mechanism::OAuthBearer)),
    row("AUTH=XOAUTH2", "", Offered::Mechanism(Mechanism::XOAuth2)),
    row("SASL-IR", "4959", Offered::BeforeLogin),
    row(
        "LITERAL+",
        "7888",
        Offered::Configured(|config| !config.protocol.literal_minus, "unless `protocol.literal_minus`"),
    ),
    row(
        "LITERAL-",
        "7888",
        Offered::Configured(|config| config.protocol.literal_minus, "with `protocol.literal_minus`"),
    ),
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
    row("APPENDLIMIT", "7889", Offered::Limit(|config| config.limits.message_bytes, "`limits.message_bytes`")),
    row(
        "MESSAGELIMIT",
        "9738",
        Offered::Limit(|config| config.protocol.messages_per_command.into(), "`protocol.messages_per_command`"),
    ),
    row(
        "SAVELIMIT",
        "9738",
        Offered::Limit(|config| config.protocol.messages_per_save.into(), "`protocol.messages_per_save`"),
    ),
    row("UIDONLY", "9586", Offered::Configured(|config| config.protocol.uid_only, "with `protocol.uid_only`")),
    row("LIST-MYRIGHTS", "8440", Offered::Planned("folders, with ACL")),
    row("LIST-METADATA", "9590", Offered::Planned("folders, with METADATA")),
    row("SORT", "5256", Offered::Always),
    row("SORT=DISPLAY", "5957", Offered::Always),
    row("ESORT", "5267", Offered::Always),
    row("THREAD=ORDEREDSUBJECT", "5256", Offered::Always),
    row("THREAD=REFERENCES", "5256", Offered::Always),
    row("THREAD=REFS", "", Offered::Always),
    row("CONTEXT=SEARCH", "5267", Offered::Planned("searching and sorting")),
    row("CONTEXT=SORT", "5267", Offered::Planned("searching and sorting")),
    row("SEARCH=FUZZY", "6203", Offered::Planned("searching and sorting")),
    row("MULTISEARCH", "7377", Offered::Planned("searching and sorting")),
    row("FILTERS", "5466", Offered::Planned("searching and sorting")),
    row("I18NLEVEL=1", "5255", Offered::Planned("languages and collations")),
    row("I18NLEVEL=2", "5255", Offered::Planned("languages and collations")),
    row("LANGUAGE", "5255", Offered::Planned("languages and collations")),
    row("ACL", "4314", Offered::Planned("sharing and limits")),
    row("RIGHTS=texk", "4314", Offered::Planned("sharing and limits")),
    row("QUOTASET", "9208", Offered::Planned("sharing and limits")),
    row("METADATA", "5464", Offered::Planned("sharing and limits")),
    row("METADATA-SERVER", "5464", Offered::Planned("sharing and limits")),
    row("URLAUTH", "4467", Offered::Planned("references to stored mail and sending")),
    row("URLAUTH=BINARY", "5524", Offered::Planned("references to stored mail and sending")),
    row("URL-PARTIAL", "5550", Offered::Planned("references to stored mail and sending")),
    row(
        "XLIST",
        "",
        Offered::Declined("answered all the same; announced, it would keep old programs from SPECIAL-USE"),
    ),
    row("UTF8=ONLY", "9755", Offered::Declined("it locks out every older program")),
    row("LOGIN-REFERRALS", "2221", Offered::Declined("an account lives on one server here")),
    row("MAILBOX-REFERRALS", "2193", Offered::Declined("a mailbox lives on one server here")),
    row("AUTH=ANONYMOUS", "4505", Offered::Declined("mail belongs to somebody")),
    row("AUTH=CRAM-MD5", "2195", Offered::Declined("it needs the password itself on the server")),
    row("AUTH=LOGIN", "", Offered::Declined("an expired draft that says no more than PLAIN")),
    row("CONVERT", "5259", Offered::Declined("programs show attachments themselves today")),
    row("ANNOTATE-EXPERIMENT-1", "5257", Offered::Declined("an experiment no client took up")),
    row("IMAPSIEVE=", "6785", Offered::Declined("until there is Sieve")),
    row("JMAPACCESS", "9698", Offered::Declined("there is no JMAP here")),
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

/// The capabilities to name now, each with its value.
pub fn offered<'a>(now: Circumstances<'a>, config: &'a Config) -> impl Iterator<Item = String> + use<'a> {
    CAPABILITIES.iter().filter_map(move |row| told(row, now, config))
}

fn told(row: &Capability, now: Circumstances<'_>, config: &Config) -> Option<String> {
    let before = !now.is_signed_in;
    let is_offered = match row.offered {
        Offered::Always => true,
        Offered::BeforeLogin => before,
        Offered::AfterLogin => !before,
        Offered::WhileStartTls => before && now.starttls_offered,
        Offered::Mechanism(mechanism) => before && now.plaintext_allowed && (now.mechanism_works)(mechanism),
        Offered::WhileNoPlaintext => before && !now.plaintext_allowed,
        Offered::Configured(wants, _) => wants(config),
        Offered::Limit(limit, _) => {
            let limit = limit(config);
            return (limit > 0).then(|| format!("{}={limit}", row.name));
        }
        Offered::Planned(_) | Offered::Declined(_) => false,
    };
    is_offered.then(|| row.name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_follows_the_state() {
        let config = Config::default();
        let list = |is_signed_in, starttls_offered, plaintext_allowed| {
            let mechanism_works = &|mechanism| mechanism != Mechanism::External;
            let now = Circumstances { is_signed_in, starttls_offered, plaintext_allowed, mechanism_works };
            offered(now, &config).collect::<Vec<_>>()
        };
        let has = |list: &[String], name: &str| list.iter().any(|one| one == name);
        let clear = list(false, true, false);
        assert_eq!(clear[0], "IMAP4rev1");
        assert!(has(&clear, "STARTTLS") && has(&clear, "LOGINDISABLED") && !has(&clear, "AUTH=PLAIN"));
        assert!(has(&clear, "IDLE"), "some decide on push before login");
        assert!(!clear.iter().any(|name| name.starts_with("AUTH=")), "{clear:?}");
        let private = list(false, false, true);
        assert!(has(&private, "AUTH=SCRAM-SHA-256-PLUS") && has(&private, "AUTH=PLAIN"));
        assert!(!has(&private, "AUTH=EXTERNAL"), "it could not work");
        let inside = list(true, true, true);
        assert!(!has(&inside, "STARTTLS") && !has(&inside, "AUTH=PLAIN") && has(&inside, "MOVE"));
        assert!(!has(&inside, "CONVERT"));
    }

    #[test]
    fn the_list_follows_the_configuration() {
        let mut config = Config::default();
        let list = |config: &Config| {
            let mechanism_works = &|_| false;
            let now =
                Circumstances { is_signed_in: true, starttls_offered: false, plaintext_allowed: true, mechanism_works };
            format!(" {} ", offered(now, config).collect::<Vec<_>>().join(" "))
        };
        config.limits.message_bytes = 5000;
        assert!(list(&config).contains(" LITERAL+ ") && !list(&config).contains(" LITERAL- "));
        assert!(list(&config).contains(" APPENDLIMIT=5000 ") && !list(&config).contains(" UIDONLY "));
        assert!(!list(&config).contains(" SAVELIMIT="), "0 is no limit");
        config.protocol.literal_minus = true;
        config.protocol.uid_only = true;
        config.protocol.messages_per_command = 1000;
        assert!(!list(&config).contains(" LITERAL+ ") && list(&config).contains(" LITERAL- "));
        assert!(list(&config).contains(" UIDONLY ") && list(&config).contains(" MESSAGELIMIT=1000 "));
    }
}
