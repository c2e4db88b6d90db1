//! How the protocol is spoken: what is offered only when it is wanted, and what is hidden from whom.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::fields::whole;

/// What an operator may switch on or bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Protocol {
    /// LITERAL- in the place of LITERAL+: a literal that comes without an invitation has 4096 octets at most (RFC 7888).
    pub literal_minus: bool,
    /// Whether UIDONLY is offered (RFC 9586).
    pub uid_only: bool,
    /// Most messages one command may touch, told as MESSAGELIMIT (RFC 9738). 0: any number.
    #[serde(deserialize_with = "whole::<_, _, 0, 4_294_967_295>")]
    pub messages_per_command: u32,
    /// Most messages one COPY or APPEND may bring, told as SAVELIMIT (RFC 9738). 0: any number.
    #[serde(deserialize_with = "whole::<_, _, 0, 4_294_967_295>")]
    pub messages_per_save: u32,
}

impl Default for Protocol {
    fn default() -> Self {
        Protocol { literal_minus: false, uid_only: false, messages_per_command: 10_000_000, messages_per_save: 0 }
    }
}

/// Capabilities that are not offered: to everybody, to one user, or on one listener. The answer to a program that
/// cannot live with something.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapabilityMask {
    /// Names as CAPABILITY tells them. IMAP4rev1 cannot be hidden.
    pub hide: Vec<String>,
    /// Only from this user.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Only on the listener with this address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<SocketAddr>,
}

impl CapabilityMask {
    /// True when it hides `name` from this user on this listener.
    pub fn hides(&self, name: &str, user: &str, listener: Option<SocketAddr>) -> bool {
        (self.user.is_empty() || self.user == user)
            && (self.listener.is_none() || self.listener == listener)
            && !name.eq_ignore_ascii_case("IMAP4rev1")
            && self.hide.iter().any(|hidden| hidden.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_hides_from_whom_it_names() {
        let port = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
        let mut mask = CapabilityMask { hide: vec!["qresync".into(), "IMAP4REV1".into()], ..CapabilityMask::default() };
        assert!(mask.hides("QRESYNC", "", None));
        assert!(!mask.hides("CONDSTORE", "", None) && !mask.hides("IMAP4rev1", "", None));
        mask.user = "ada".into();
        assert!(mask.hides("QRESYNC", "ada", port(143)) && !mask.hides("QRESYNC", "bob", port(143)));
        mask.listener = port(993);
        assert!(mask.hides("QRESYNC", "ada", port(993)) && !mask.hides("QRESYNC", "ada", port(143)));
    }
}
