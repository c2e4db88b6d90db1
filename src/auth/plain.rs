//! The SASL mechanism PLAIN (RFC 4616): one message, `authzid NUL authcid NUL passwd`.

use super::{Claim, Identity, MOST_NAME_OCTETS, MOST_PASSWORD_OCTETS, Step};
use crate::types::Secret;

/// Longest message, in octets: two names, a password, two NULs.
pub const MOST_MESSAGE_OCTETS: usize = 2 * MOST_NAME_OCTETS + MOST_PASSWORD_OCTETS + 2;

/// The server's side of one PLAIN exchange.
#[derive(Debug, Default)]
pub struct Plain(());

impl Plain {
    pub fn new() -> Self {
        Plain(())
    }

    /// Starts with the client's initial response, if it sent one.
    pub fn start(&mut self, initial: Option<&[u8]>) -> Step {
        match initial {
            Some(message) => self.eat(message),
            // RFC 4422 §5: the client speaks first, so the challenge before its message is empty.
            None => Step::Challenge(Vec::new()),
        }
    }

    /// Eats the client's message. The outcome is final.
    pub fn eat(&mut self, message: &[u8]) -> Step {
        match read(message) {
            Some(identity) => Step::Done(Claim::Password(identity)),
            None => Step::Failed("no message of PLAIN"),
        }
    }
}

/// ```text
/// message   = [authzid] UTF8NUL authcid UTF8NUL passwd
/// authcid   = 1*SAFE ; MUST accept up to 255 octets
/// authzid   = 1*SAFE ; MUST accept up to 255 octets
/// passwd    = 1*SAFE ; MUST accept up to 255 octets
/// ```
fn read(message: &[u8]) -> Option<Identity> {
    if message.len() > MOST_MESSAGE_OCTETS {
        return None;
    }
    let mut fields = message.split(|octet| *octet == 0);
    let (authorize_as, user, password) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() {
        return None;
    }
    let is_too_long = user.len() > MOST_NAME_OCTETS || authorize_as.len() > MOST_NAME_OCTETS;
    if is_too_long || user.is_empty() || password.is_empty() || password.len() > MOST_PASSWORD_OCTETS {
        return None;
    }
    // RFC 4616 §2: the names are UTF-8. So should the password be, but it is only hashed: what a client that
    // knows no UTF-8 sends was hashed the same way when it was set.
    let user = std::str::from_utf8(user).ok()?.to_owned();
    let authorize_as = std::str::from_utf8(authorize_as).ok()?;
    let authorize_as = (!authorize_as.is_empty()).then(|| authorize_as.to_owned());
    Some(Identity { authorize_as, user, password: Secret::new(password) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eat(message: &[u8]) -> Step {
        Plain::new().start(Some(message))
    }

    fn done(authorize_as: Option<&str>, user: &str, password: &[u8]) -> Step {
        let authorize_as = authorize_as.map(str::to_owned);
        let password = Secret::new(password);
        Step::Done(Claim::Password(Identity { authorize_as, user: user.into(), password }))
    }

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 4616 §4
        assert_eq!(eat(b"\0tim\0tanstaaftanstaaf"), done(None, "tim", b"tanstaaftanstaaf"));
        assert_eq!(eat(b"Ursel\0Kurt\0xipj3plmq"), done(Some("Ursel"), "Kurt", b"xipj3plmq"));
    }

    #[test]
    fn without_an_initial_response_it_asks_with_an_empty_challenge() {
        let mut plain = Plain::new();
        assert_eq!(plain.start(None), Step::Challenge(Vec::new()));
        assert_eq!(plain.eat(b"\0a\0b"), done(None, "a", b"b"));
    }

    #[test]
    fn what_is_not_plain_fails() {
        let long_name = [b"\0".as_slice(), &[b'a'; 256], b"\0b"].concat();
        let long_password = [b"\0a\0".as_slice(), &[b'a'; 1025]].concat();
        let cases: [&[u8]; 9] =
            [b"", b"\0", b"\0\0", b"\0a\0", b"\0\0b", b"a\0b", b"\0a\0b\0", b"\0\xff\0b", b"\xff\0a\0b"];
        for message in cases.into_iter().chain([long_name.as_slice(), &long_password, &[0; 100_000]]) {
            let shown = String::from_utf8_lossy(&message[..message.len().min(40)]);
            assert!(matches!(eat(message), Step::Failed(_)), "{shown:?}");
        }
    }

    #[test]
    fn bounds_are_reached() {
        let message = [&[b'z'; 255][..], b"\0", &[b'a'; 255], b"\0", &[0xff; 1024]].concat();
        assert_eq!(message.len(), MOST_MESSAGE_OCTETS);
        assert!(matches!(eat(&message), Step::Done(_)));
    }
}
