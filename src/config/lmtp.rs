//! The settings of `[lmtp]`: where mail comes in, and to whom it goes.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Network;
use super::fields::{self, seconds, whole};

/// How a mail server hands mail to this one (RFC 2033).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lmtp {
    /// The path of the Unix socket. Empty: none.
    pub socket: PathBuf,
    /// The permissions of the socket: who may connect to it may deliver.
    #[serde(serialize_with = "mode::serialize", deserialize_with = "mode::deserialize")]
    pub socket_mode: u32,
    /// The group of the socket, a name or a number. Empty: the server's own.
    pub socket_group: String,
    /// TCP addresses to listen on. Empty: none.
    pub listen: Vec<SocketAddr>,
    /// Networks that may connect over TCP besides loopback.
    pub networks: Vec<Network>,
    /// The name of this machine in the greeting and in `Received`. Empty: as the system has it.
    #[serde(deserialize_with = "fields::domain")]
    pub host_name: String,
    /// Domains in which a user without a domain is reached too, besides `login.default_domain`.
    #[serde(deserialize_with = "domains")]
    pub local_domains: Vec<String>,
    /// What stands between user and folder in `user+folder@domain`: one character, or empty for no such addresses.
    #[serde(deserialize_with = "separator")]
    pub separator: String,
    /// What becomes of mail for a folder that is not there.
    pub missing_folder: MissingFolder,
    /// What a sender is told when the user's quota is used up.
    pub over_quota: OverQuota,
    /// Most recipients of one message.
    #[serde(deserialize_with = "whole::<_, _, 100, 100_000>")]
    pub recipients: usize,
    /// Most `Received` and `Delivered-To` lines of a message; with more it goes in circles.
    #[serde(deserialize_with = "whole::<_, _, 10, 10_000>")]
    pub hops: usize,
    /// Most connections at a time; `pillarbox deliver` counts.
    #[serde(deserialize_with = "whole::<_, _, 1, 100_000>")]
    pub connections: usize,
    /// After so many commands that were wrong in themselves a connection is closed.
    #[serde(deserialize_with = "whole::<_, _, 1, 10_000>")]
    pub bad_commands: usize,
    /// How long a client may be silent.
    #[serde(serialize_with = "seconds::serialize", deserialize_with = "seconds::within::<_, 1, 3600>")]
    pub idle_seconds: Duration,
}

/// What becomes of mail for a folder that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingFolder {
    /// It goes to INBOX.
    #[default]
    Inbox,
    /// The folder is made.
    Create,
    /// The address is refused.
    Refuse,
}

/// What a sender is told when a user's quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverQuota {
    /// To come back later: the mail waits at the sending server.
    #[default]
    Defer,
    /// That the mail is refused: whoever sent it gets it back.
    Refuse,
}

impl Lmtp {
    /// The settings that say where to listen. Only a restart can change them.
    pub fn doors(&self) -> (&Path, u32, &str, &[SocketAddr]) {
        (&self.socket, self.socket_mode, &self.socket_group, &self.listen)
    }

    /// True when a client at `ip` may deliver over TCP.
    pub fn admits(&self, ip: IpAddr) -> bool {
        ip.to_canonical().is_loopback() || self.networks.iter().any(|network| network.contains(ip))
    }

    /// Takes over where `other` listens.
    pub fn keep_doors_of(&mut self, other: &Lmtp) {
        self.socket = other.socket.clone();
        self.socket_mode = other.socket_mode;
        self.socket_group = other.socket_group.clone();
        self.listen = other.listen.clone();
    }

    /// A contradiction between settings that are each fine alone: the key to point at, and a sentence.
    pub(super) fn contradiction(&self) -> Option<(&'static str, String)> {
        for (at, address) in self.listen.iter().enumerate() {
            // RFC 2033 §5: LMTP must not be spoken on the port of SMTP.
            if address.port() == 25 {
                return Some(("lmtp.listen", "port 25 is for SMTP; LMTP must not be spoken there".into()));
            }
            if address.port() != 0 && self.listen[..at].contains(address) {
                return Some(("lmtp.listen", format!("{address} stands in the list twice")));
            }
        }
        if self.socket.as_os_str().len() > MOST_SOCKET_BYTES {
            let text = format!("longer than {MOST_SOCKET_BYTES} octets, which is what a socket's address can hold");
            return Some(("lmtp.socket", text));
        }
        None
    }
}

/// Longest path that fits into a socket's address everywhere.
const MOST_SOCKET_BYTES: usize = 100;

impl Default for Lmtp {
    fn default() -> Self {
        Lmtp {
            socket: PathBuf::new(),
            socket_mode: 0o660,
            socket_group: String::new(),
            listen: Vec::new(),
            networks: Vec::new(),
            host_name: String::new(),
            local_domains: Vec::new(),
            separator: "+".into(),
            missing_folder: MissingFolder::Inbox,
            over_quota: OverQuota::Defer,
            recipients: 1000,
            hops: 54,
            connections: 100,
            bad_commands: 20,
            idle_seconds: Duration::from_secs(300),
        }
    }
}

/// Permissions as chmod takes them: `"0660"`.
mod mode {
    use super::*;

    pub fn serialize<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{mode:04o}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let given = String::deserialize(deserializer)?;
        let is_octal = (3..=4).contains(&given.len()) && given.bytes().all(|octet| (b'0'..=b'7').contains(&octet));
        let mode = u32::from_str_radix(&given, 8).ok().filter(|mode| is_octal && mode & !0o777 == 0);
        mode.ok_or_else(|| de::Error::custom(format!("{given:?} is no mode; write it like \"0660\"")))
    }
}

fn separator<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let given = String::deserialize(deserializer)?;
    let is_fit =
        |c: char| c.is_ascii_punctuation() && !matches!(c, '@' | '/' | '\\' | '"' | '<' | '>' | '(' | ')' | ',');
    let mut characters = given.chars();
    match (characters.next(), characters.next()) {
        (None, _) => Ok(given),
        (Some(one), None) if is_fit(one) => Ok(given),
        _ => Err(de::Error::custom(format!("{given:?} is no separator; write one character like \"+\", or nothing"))),
    }
}

fn domains<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let given = Vec::<String>::deserialize(deserializer)?;
    given.into_iter().map(|one| fields::checked_domain::<D::Error>(one).and_then(not_empty)).collect()
}

fn not_empty<E: de::Error>(domain: String) -> Result<String, E> {
    if domain.is_empty() { Err(E::custom("a domain cannot be empty")) } else { Ok(domain) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Lmtp, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn values_are_checked_where_they_stand() {
        assert_eq!(parse(""), Ok(Lmtp::default()));
        assert_eq!(parse("socket_mode = \"600\"\nseparator = \"\"").map(|lmtp| lmtp.socket_mode), Ok(0o600));
        assert_eq!(
            parse("local_domains = [\"A.Example\"]").map(|lmtp| lmtp.local_domains),
            Ok(vec!["a.example".into()])
        );
        for bad in [
            "socket_mode = \"0888\"",
            "socket_mode = \"4755\"",
            "socket_mode = \"+66\"",
            "socket_mode = \"\"",
            "separator = \"ab\"",
            "separator = \"a\"",
            "separator = \"@\"",
            "separator = \"é\"",
            "local_domains = [\"\"]",
            "local_domains = [\"a@b\"]",
            "missing_folder = \"drop\"",
            "over_quota = \"452\"",
            "recipients = 99",
            "listen = [\"localhost:24\"]",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_this_machine_and_the_networks_named_may_deliver() {
        let named = parse("networks = [\"10.1.0.0/16\", \"2001:db8::/32\"]").expect("fine");
        for (ip, by_default, when_named) in [
            ("127.0.0.1", true, true),
            ("::1", true, true),
            ("::ffff:127.0.0.1", true, true),
            ("10.1.2.3", false, true),
            ("::ffff:10.1.2.3", false, true),
            ("10.2.2.3", false, false),
            ("2001:db8::1", false, true),
        ] {
            let ip = ip.parse().expect("an address");
            assert_eq!((Lmtp::default().admits(ip), named.admits(ip)), (by_default, when_named), "{ip}");
        }
    }

    #[test]
    fn contradictions_are_found() {
        let key = |text: &str| parse(text).expect("fine alone").contradiction().map(|(key, _)| key);
        assert_eq!(key("listen = [\"127.0.0.1:24\", \"[::1]:24\", \"127.0.0.1:0\", \"127.0.0.1:0\"]"), None);
        assert_eq!(key("listen = [\"127.0.0.1:25\"]"), Some("lmtp.listen"));
        assert_eq!(key("listen = [\"127.0.0.1:24\", \"127.0.0.1:24\"]"), Some("lmtp.listen"));
        assert_eq!(key(&format!("socket = \"/{}\"", "x".repeat(100))), Some("lmtp.socket"));
    }
}
