//! IMAP URLs (RFC 5092): a server, a mailbox, a message or a part of one, and who may read it by the URL alone.

use super::{DateTime, MailboxName, Secret, Section, Uid, UidValidity};

/// An IMAP URL, absolute or relative to the server and user of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImapUrl {
    /// `None` for a relative one, `/INBOX/;UID=5`.
    pub server: Option<UrlServer>,
    pub place: UrlPlace,
}

impl ImapUrl {
    /// Longest URL taken, in octets: a mailbox name of the longest kind, percent-encoded, and some header fields.
    pub const MAX_OCTETS: usize = 8192;
}

/// `imap://user;AUTH=mechanism@host:port`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlServer {
    /// Whose mailboxes these are.
    pub user: Option<String>,
    /// The SASL mechanism's name as written, or `*`.
    pub auth: Option<String>,
    /// In small letters; an IPv6 address has its brackets.
    pub host: String,
    pub port: Option<u16>,
}

/// What of the server is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlPlace {
    /// The server itself.
    Server,
    /// The messages of a mailbox, or those that a search finds.
    Mailbox {
        mailbox: UrlMailbox,
        /// The arguments of SEARCH, decoded.
        search: Option<Vec<u8>>,
    },
    Message {
        mailbox: UrlMailbox,
        message: UrlMessage,
    },
}

/// A mailbox, as it was when the URL was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlMailbox {
    pub name: MailboxName,
    /// With any other validity the URL is stale.
    pub uid_validity: Option<UidValidity>,
}

/// A message or a part of it, as BODY.PEEK would tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlMessage {
    pub uid: Uid,
    /// Without `;SECTION=` the whole message.
    pub section: Section,
    /// The first octet, and how many, at least 1: all of the rest when `None`.
    pub partial: Option<(u64, Option<u64>)>,
    pub authorization: Option<UrlAuthorization>,
}

/// Who may read what the URL names without being its owner (RFC 4467).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlAuthorization {
    /// From then on the URL is worth nothing.
    pub expire: Option<DateTime>,
    pub access: UrlAccess,
    /// Missing in a URL that is still to be authorized.
    pub verifier: Option<UrlVerifier>,
}

/// The access identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlAccess {
    /// `submit+user`: a submission server on behalf of this user.
    Submit(String),
    /// `user+user`: this user.
    User(String),
    /// Anybody who has logged in as somebody.
    AuthUser,
    Anonymous,
}

/// What shows that the server itself authorized the URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlVerifier {
    /// In capitals; `INTERNAL` is the only one there is.
    pub mechanism: String,
    /// At least 32 hexadecimal digits, as written. Whoever has them may read the message.
    pub token: Secret,
}
