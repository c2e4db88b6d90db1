//! Every setting, its default and its bounds. A field is called what its key is called, so that a search for one
//! finds the other; a field whose key ends in `_seconds` is a `Duration`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fields::{self, period, seconds, whole};
use super::{CapabilityMask, CertificateUser, Checker, Lmtp, Network, OAuth, Protocol};
use crate::types::MailboxName;

/// The whole configuration, checked. The defaults are those of `config/pillarbox.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The directory that holds everything this server keeps.
    pub data_dir: PathBuf,
    /// Where the server listens. Never empty.
    pub listen: Vec<Listen>,
    pub tls: Tls,
    pub login: LoginSettings,
    pub oauth: OAuth,
    pub checker: Checker,
    pub limits: Limits,
    pub mail: Mail,
    pub quota: Quota,
    pub protocol: Protocol,
    /// What is hidden from whom. Written `[[capability]]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capability: Vec<CapabilityMask>,
    pub lmtp: Lmtp,
    pub log: Log,
}

/// One listening socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address and port. `[::]` takes IPv4 too unless another listener has `0.0.0.0` with the same port.
    pub address: SocketAddr,
    #[serde(default)]
    pub security: Security,
    /// Networks of proxies that say with the PROXY protocol whom they speak for. From there it must be said, from
    /// elsewhere it is not listened to.
    #[serde(default)]
    pub proxy_from: Vec<Network>,
}

/// How a listener is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// Clear text until the client asks for TLS (RFC 3501 §6.2.1).
    #[default]
    StartTls,
    /// TLS from the first octet (RFC 8314 §3.2).
    Tls,
    /// Clear text only: for tests, and behind a proxy that has the certificate.
    None,
}

impl Security {
    /// The word as it stands in the file.
    pub fn word(self) -> &'static str {
        match self {
            Security::StartTls => "starttls",
            Security::Tls => "tls",
            Security::None => "none",
        }
    }
}

/// The certificate and its key, both PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The server's certificate followed by the intermediate ones.
    pub certificate: PathBuf,
    /// The private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
    /// More certificates, for clients that ask for a name (SNI) one of them has; all others get the one above.
    pub additional: Vec<CertificatePair>,
    /// The authorities that sign clients' certificates, PEM. Empty: clients are not asked for one.
    pub client_ca: PathBuf,
    /// Which field of such a certificate names the user.
    pub client_certificate_user: CertificateUser,
    /// How long a handshake may take.
    #[serde(serialize_with = "seconds::serialize", deserialize_with = "seconds::within::<_, 1, 600>")]
    pub handshake_seconds: Duration,
    /// How many handshakes of one network may go on at a time; more of it wait, within the same time.
    #[serde(deserialize_with = "whole::<_, _, 1, 1_000_000>")]
    pub handshakes_per_network: usize,
}

/// A certificate and its key, both PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificatePair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Who may log in, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoginSettings {
    /// Where passwords may cross without TLS.
    pub allow_plaintext: AllowPlaintext,
    /// `name` and `name@default_domain` are one user. Empty: no default domain.
    #[serde(deserialize_with = "fields::domain")]
    pub default_domain: String,
    /// Whether SCRAM-SHA-256 and, over TLS, SCRAM-SHA-256-PLUS are offered (RFC 7677).
    pub scram: bool,
    /// Whether `user add` and `user passwd` also store a SCRAM-SHA-256 verifier (RFC 7677).
    pub store_scram: bool,
    /// How many threads compute password hashes; 0: as many as there are cores.
    #[serde(deserialize_with = "whole::<_, _, 0, 1024>")]
    pub password_threads: usize,
    /// How many log-ins may wait for one of those threads.
    #[serde(deserialize_with = "whole::<_, _, 1, 100_000>")]
    pub password_queue: usize,
    /// How many of them may wait from one IPv4 address or IPv6 /64.
    #[serde(deserialize_with = "whole::<_, _, 1, 100_000>")]
    pub password_queue_per_network: usize,
    /// How long a password that was right is remembered (as a keyed hash, in memory). 0: not at all.
    #[serde(serialize_with = "seconds::serialize", deserialize_with = "seconds::within::<_, 0, 3600>")]
    pub remember_password_seconds: Duration,
    /// How long the answer to a first wrong password is held back.
    #[serde(serialize_with = "seconds::serialize", deserialize_with = "seconds::within::<_, 0, 60>")]
    pub failure_delay_seconds: Duration,
    /// The longest such delay; it doubles with each failure from one network or of one user.
    #[serde(serialize_with = "seconds::serialize", deserialize_with = "seconds::within::<_, 0, 300>")]
    pub failure_delay_most_seconds: Duration,
    /// How long failures of a network or user add up after the last one.
    #[serde(serialize_with = "seconds::serialize", deserialize_with = "seconds::within::<_, 1, 86_400>")]
    pub failures_forgotten_seconds: Duration,
    /// How many answers to wrong passwords may be held back for one network, before strangers there must come back
    /// later; one more for each user who logged in from there.
    #[serde(deserialize_with = "whole::<_, _, 1, 100_000>")]
    pub guesses_per_network: usize,
    /// How many networks, and how many users, are watched for guesses.
    #[serde(deserialize_with = "whole::<_, _, 16, 10_000_000>")]
    pub watched_networks: usize,
}

/// Where passwords may cross without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AllowPlaintext {
    Never,
    /// Only from this machine itself.
    #[default]
    Loopback,
    Always,
}

impl AllowPlaintext {
    /// Whether a client at `peer` (`None`: a local socket) may send its password without TLS.
    pub fn covers(self, peer: Option<IpAddr>) -> bool {
        match self {
            AllowPlaintext::Never => false,
            AllowPlaintext::Loopback => peer.is_none_or(|ip| ip.to_canonical().is_loopback()),
            AllowPlaintext::Always => true,
        }
    }
}

/// Everything that could grow, and how far it may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest message taken, in octets (also told as APPENDLIMIT, RFC 7889).
    #[serde(deserialize_with = "whole::<_, _, 1024, 2_147_483_647>")]
    pub message_bytes: u64,
    /// Most messages in one APPEND (RFC 3502).
    #[serde(deserialize_with = "whole::<_, _, 1, 1_000_000>")]
    pub append_messages: usize,
    /// Most octets of all messages in one APPEND.
    #[serde(deserialize_with = "whole::<_, _, 1024, 1_099_511_627_776>")]
    pub append_bytes: u64,
    /// Longest command line before login, in octets.
    #[serde(deserialize_with = "whole::<_, _, 1024, 1_048_576>")]
    pub line_bytes_before_login: usize,
    /// Longest command line after login, in octets.
    #[serde(deserialize_with = "whole::<_, _, 1024, 16_777_216>")]
    pub line_bytes: usize,
    /// Most octets of literals held in memory for one command; messages are streamed and do not count.
    #[serde(deserialize_with = "whole::<_, _, 1024, 67_108_864>")]
    pub held_literal_bytes: usize,
    /// Deepest nesting of parentheses, NOT and OR in a command.
    #[serde(deserialize_with = "whole::<_, _, 4, 200>")]
    pub nesting: usize,
    /// Most ranges in one set of message numbers.
    #[serde(deserialize_with = "whole::<_, _, 1, 1_000_000>")]
    pub set_ranges: usize,
    /// Most different keywords in one mailbox.
    #[serde(deserialize_with = "whole::<_, _, 1, 100_000>")]
    pub keywords_per_mailbox: usize,
    /// Most mailboxes of one account.
    #[serde(deserialize_with = "whole::<_, _, 10, 10_000_000>")]
    pub mailboxes: usize,
    /// Most sessions at a time, all together.
    #[serde(deserialize_with = "whole::<_, _, 1, 10_000_000>")]
    pub sessions: usize,
    /// Most sessions of one user.
    #[serde(deserialize_with = "whole::<_, _, 1, 1_000_000>")]
    pub sessions_per_user: usize,
    /// Most sessions from one IPv4 address or one IPv6 /64.
    #[serde(deserialize_with = "whole::<_, _, 1, 1_000_000>")]
    pub sessions_per_address: usize,
    /// Networks whose sessions are not counted by address, such as a webmail's. Loopback never is.
    pub trusted_networks: Vec<Network>,
    /// How long a client may take to log in, the TLS handshake included.
    #[serde(serialize_with = "seconds::serialize", deserialize_with = "seconds::within::<_, 1, 3600>")]
    pub login_seconds: Duration,
    /// How long the rest of a command may take once its beginning has come.
    #[serde(serialize_with = "seconds::serialize", deserialize_with = "seconds::within::<_, 1, 86_400>")]
    pub partial_command_seconds: Duration,
    /// How long a session may be silent. RFC 3501 §5.4: at least 30 minutes.
    #[serde(serialize_with = "seconds::serialize", deserialize_with = "seconds::within::<_, 1800, 604_800>")]
    pub idle_timeout_seconds: Duration,
    /// How long a client may take no octet of an answer.
    #[serde(serialize_with = "seconds::serialize", deserialize_with = "seconds::within::<_, 1, 86_400>")]
    pub write_timeout_seconds: Duration,
    /// How long a stop waits for commands at hand.
    #[serde(serialize_with = "seconds::serialize", deserialize_with = "seconds::within::<_, 0, 3600>")]
    pub shutdown_seconds: Duration,
    /// Memory for the flags and numbers of open mailboxes, all accounts together, in octets.
    #[serde(deserialize_with = "whole::<_, _, 1_048_576, 1_099_511_627_776>")]
    pub snapshot_bytes: u64,
    /// With less room than this on the disk no new mail is taken, in octets. 0: never refused for that.
    #[serde(deserialize_with = "whole::<_, _, 0, 1_099_511_627_776>")]
    pub min_free_bytes: u64,
    /// Most database connections of accounts kept open.
    #[serde(deserialize_with = "whole::<_, _, 8, 100_000>")]
    pub account_connections: usize,
}

/// What happens with mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mail {
    /// How long expunged mail can be brought back. Never under an hour.
    #[serde(serialize_with = "period::serialize", deserialize_with = "period::within::<_, 3600, 315_360_000>")]
    pub keep_removed: Duration,
    /// Whether a message with 8-bit octets in its headers is refused from clients that have not enabled UTF8=ACCEPT
    /// (RFC 9755 §4).
    pub strict_8bit_headers: bool,
    /// The mailboxes a new account starts with, besides INBOX.
    pub new_account_mailboxes: Vec<NewMailbox>,
}

/// How much one account may use, unless it has limits of its own (RFC 9208). 0: as much as there is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Octets of all messages.
    #[serde(deserialize_with = "whole::<_, _, 0, 1_152_921_504_606_846_976>")]
    pub storage_bytes: u64,
    /// Messages in all mailboxes together.
    #[serde(deserialize_with = "whole::<_, _, 0, 4_000_000_000>")]
    pub messages: u64,
    /// Mailboxes.
    #[serde(deserialize_with = "whole::<_, _, 0, 10_000_000>")]
    pub mailboxes: u64,
    /// Users who may see and change the limits of others with GETQUOTA and SETQUOTA.
    pub operators: Vec<String>,
}

/// A mailbox that every new account gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewMailbox {
    #[serde(with = "fields::mailbox")]
    pub name: MailboxName,
    /// Its use (RFC 6154 §2) with the backslash, such as `\Sent`. Empty: none.
    #[serde(default, deserialize_with = "fields::special_use")]
    pub special_use: String,
}

/// What is written to standard error.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

/// From what weight on a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// The word as it stands in the file.
    pub fn word(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Plain,
    Json,
}

impl Default for Config {
    fn default() -> Self {
        let everywhere = |port, security| {
            let address = (Ipv6Addr::UNSPECIFIED, port).into();
            Listen { address, security, proxy_from: Vec::new() }
        };
        Config {
            data_dir: "/var/lib/pillarbox".into(),
            listen: vec![everywhere(143, Security::StartTls), everywhere(993, Security::Tls)],
            tls: Tls::default(),
            login: LoginSettings::default(),
            oauth: OAuth::default(),
            checker: Checker::default(),
            limits: Limits::default(),
            mail: Mail::default(),
            quota: Quota::default(),
            protocol: Protocol::default(),
            capability: Vec::new(),
            lmtp: Lmtp::default(),
            log: Log::default(),
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Tls {
            certificate: "/etc/pillarbox/fullchain.pem".into(),
            key: "/etc/pillarbox/privkey.pem".into(),
            additional: Vec::new(),
            client_ca: PathBuf::new(),
            client_certificate_user: CertificateUser::Rfc822Name,
            handshake_seconds: Duration::from_secs(30),
            handshakes_per_network: 50,
        }
    }
}

impl Default for LoginSettings {
    fn default() -> Self {
        LoginSettings {
            allow_plaintext: AllowPlaintext::Loopback,
            default_domain: String::new(),
            scram: true,
            store_scram: true,
            password_threads: 0,
            password_queue: 256,
            password_queue_per_network: 2,
            remember_password_seconds: Duration::from_secs(60),
            failure_delay_seconds: Duration::from_secs(1),
            failure_delay_most_seconds: Duration::from_secs(15),
            failures_forgotten_seconds: Duration::from_secs(15 * 60),
            guesses_per_network: 4,
            watched_networks: 10_000,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Limits {
            message_bytes: 50 * MIB,
            append_messages: 10_000,
            append_bytes: 1024 * MIB,
            line_bytes_before_login: 8 * 1024,
            line_bytes: 64 * 1024,
            held_literal_bytes: 1024 * 1024,
            nesting: 32,
            set_ranges: 16_384,
            keywords_per_mailbox: 1000,
            mailboxes: 100_000,
            sessions: 100_000,
            sessions_per_user: 100,
            sessions_per_address: 300,
            trusted_networks: Vec::new(),
            login_seconds: Duration::from_secs(60),
            partial_command_seconds: Duration::from_secs(60),
            idle_timeout_seconds: Duration::from_secs(31 * 60),
            write_timeout_seconds: Duration::from_secs(300),
            shutdown_seconds: Duration::from_secs(20),
            snapshot_bytes: 64 * MIB,
            min_free_bytes: 256 * MIB,
            account_connections: 512,
        }
    }
}

impl Default for Mail {
    fn default() -> Self {
        let uses = ["Drafts", "Sent", "Trash", "Junk", "Archive"];
        let mailbox = |word: &&str| {
            let name = MailboxName::new(word).expect("each word is a plain mailbox name");
            NewMailbox { name, special_use: format!("\\{word}") }
        };
        Mail {
            keep_removed: Duration::from_secs(7 * 86_400),
            strict_8bit_headers: false,
            new_account_mailboxes: uses.iter().map(mailbox).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_means_this_machine_in_every_spelling() {
        let ip = |text: &str| Some(text.parse().expect("an address"));
        for near in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(AllowPlaintext::Loopback.covers(ip(near)), "{near}");
            assert!(!AllowPlaintext::Never.covers(ip(near)), "{near}");
        }
        assert!(!AllowPlaintext::Loopback.covers(ip("192.0.2.1")));
        assert!(AllowPlaintext::Always.covers(ip("192.0.2.1")));
    }
}
