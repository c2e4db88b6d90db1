//! The SASL mechanism EXTERNAL (RFC 4422 appendix A): the client is whom its certificate names, and says at most on
//! whose behalf it wants to act.

use super::{Claim, MOST_NAME_OCTETS, Step};

/// The server's side of one EXTERNAL exchange.
#[derive(Debug, Default)]
pub struct External(());

impl External {
    pub fn new() -> Self {
        External(())
    }

    /// Starts with the client's initial response, if it sent one.
    pub fn start(&mut self, initial: Option<&[u8]>) -> Step {
        match initial {
            Some(message) => self.eat(message),
            None => Step::Challenge(Vec::new()),
        }
    }

    /// Eats the client's message: nothing, or an authorization identity (RFC 4422 §A.1).
    pub fn eat(&mut self, message: &[u8]) -> Step {
        let name =
            std::str::from_utf8(message).ok().filter(|name| !name.contains('\0') && name.len() <= MOST_NAME_OCTETS);
        match name {
            None => Step::Failed("no message of EXTERNAL"),
            Some("") => Step::Done(Claim::Certificate { authorize_as: None }),
            Some(name) => Step::Done(Claim::Certificate { authorize_as: Some(name.to_owned()) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_or_a_name() {
        let claim = |name: Option<&str>| Step::Done(Claim::Certificate { authorize_as: name.map(str::to_owned) });
        let mut external = External::new();
        assert_eq!(external.start(None), Step::Challenge(Vec::new()));
        assert_eq!(external.eat(b""), claim(None));
        assert_eq!(External::new().start(Some(b"fred@example.com")), claim(Some("fred@example.com")));
        for bad in [&b"a\0b"[..], b"\xff", &[b'x'; 256]] {
            assert!(matches!(External::new().start(Some(bad)), Step::Failed(_)));
        }
    }
}
