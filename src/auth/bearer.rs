//! The SASL mechanisms OAUTHBEARER (RFC 7628) and XOAUTH2, its unregistered forerunner: one message with a token, and
//! when the token is refused a second round in which the client is told why.

use super::{Claim, MOST_NAME_OCTETS, Step, Token};
use crate::types::Secret;

/// Longest token taken, in octets.
pub const MOST_TOKEN_OCTETS: usize = 64 * 1024;

/// The server's side of one exchange.
#[derive(Debug)]
pub struct Bearer {
    is_xoauth2: bool,
}

impl Bearer {
    pub fn oauthbearer() -> Self {
        Bearer { is_xoauth2: false }
    }

    pub fn xoauth2() -> Self {
        Bearer { is_xoauth2: true }
    }

    /// Starts with the client's initial response, if it sent one.
    pub fn start(&mut self, initial: Option<&[u8]>) -> Step {
        match initial {
            Some(message) => self.eat(message),
            None => Step::Challenge(Vec::new()),
        }
    }

    /// Eats the client's message.
    pub fn eat(&mut self, message: &[u8]) -> Step {
        let token = if self.is_xoauth2 { read_xoauth2(message) } else { read_oauthbearer(message) };
        match token {
            Some(token) => Step::Done(Claim::Token(token)),
            None => Step::Failed("no message with a bearer token"),
        }
    }

    /// What a client whose token was refused is told (RFC 7628 §3.2.2): it answers with a line of no meaning, and the
    /// exchange has failed. `scope` and `configuration` may be empty.
    pub fn refusal(&self, scope: &str, configuration: &str) -> Vec<u8> {
        // RFC 7628 §3.2.2 wants a word of the OAuth registry; programs that speak XOAUTH2 know it as an HTTP status.
        let status = if self.is_xoauth2 { "401" } else { "invalid_token" };
        let mut text = format!("{{\"status\":\"{status}\",\"schemes\":\"bearer\"");
        for (key, value) in [("scope", scope), ("openid-configuration", configuration)] {
            if !value.is_empty() {
                text.push_str(&format!(",\"{key}\":\"{}\"", escaped(value)));
            }
        }
        text.push('}');
        text.into_bytes()
    }
}

/// The text within quotation marks of JSON.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// ```text
/// client-resp = (gs2-header kvsep *kvpair kvsep) / kvsep
/// kvpair      = key "=" value kvsep
/// kvsep       = %x01
/// gs2-header  = ("n" / "y") "," [ "a=" saslname ] ","
/// ```
fn read_oauthbearer(message: &[u8]) -> Option<Token> {
    let mut fields = message.strip_suffix(b"\x01\x01")?.split(|octet| *octet == 1);
    let header = std::str::from_utf8(fields.next()?).ok()?;
    let mut parts = header.splitn(3, ',');
    let (flag, authzid, end) = (parts.next()?, parts.next()?, parts.next()?);
    if !matches!(flag, "n" | "y") || !end.is_empty() {
        return None;
    }
    let authorize_as = match authzid {
        "" => None,
        given => Some(given.strip_prefix("a=")?.replace("=2C", ",").replace("=3D", "=")),
    };
    // RFC 7628 §3.1: keys nobody knows are ignored.
    let auth = fields.find_map(|field| field.strip_prefix(b"auth="))?;
    token(authorize_as, auth)
}

/// `user=NAME ^A auth=Bearer TOKEN ^A ^A`, as its inventor describes it.
fn read_xoauth2(message: &[u8]) -> Option<Token> {
    let mut fields = message.strip_suffix(b"\x01\x01")?.split(|octet| *octet == 1);
    let user = std::str::from_utf8(fields.next()?.strip_prefix(b"user=")?).ok()?;
    let auth = fields.next()?.strip_prefix(b"auth=")?;
    if fields.next().is_some() {
        return None;
    }
    token((!user.is_empty()).then(|| user.to_owned()), auth)
}

/// The token of `Bearer TOKEN` (RFC 6750 §2.1); the scheme is in any case.
fn token(authorize_as: Option<String>, auth: &[u8]) -> Option<Token> {
    let is_bad = |name: &String| name.is_empty() || name.contains('\0') || name.len() > MOST_NAME_OCTETS;
    if authorize_as.as_ref().is_some_and(is_bad) {
        return None;
    }
    let (scheme, token) = auth.split_at_checked(7)?;
    let token = token.trim_ascii_start();
    let is_token = |octet: &u8| octet.is_ascii_alphanumeric() || b"-._~+/=".contains(octet);
    let is_good = scheme.eq_ignore_ascii_case(b"Bearer ")
        && (1..=MOST_TOKEN_OCTETS).contains(&token.len())
        && token.iter().all(is_token);
    is_good.then(|| Token { authorize_as, token: Secret::new(token) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(authorize_as: Option<&str>, token: &str) -> Step {
        let authorize_as = authorize_as.map(str::to_owned);
        Step::Done(Claim::Token(Token { authorize_as, token: Secret::new(token) }))
    }

    /// RFC 7628 §4.1 and §4.3
    #[test]
    fn the_messages_of_the_rfc() {
        let message = b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01\
            auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01";
        let token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";
        assert_eq!(Bearer::oauthbearer().start(Some(message)), done(Some("user@example.com"), token));
        let asking = b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=\x01\x01";
        assert!(matches!(Bearer::oauthbearer().start(Some(asking)), Step::Failed(_)));
        let refusal = Bearer::oauthbearer().refusal("example_scope", "https://example.com/");
        let expected = r#"{"status":"invalid_token","schemes":"bearer","scope":"example_scope","openid-configuration":"https://example.com/"}"#;
        assert_eq!(String::from_utf8(refusal).expect("text"), expected);
    }

    #[test]
    fn the_forerunner() {
        let message = b"user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01";
        let expected = done(Some("someuser@example.com"), "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg");
        assert_eq!(Bearer::xoauth2().start(Some(message)), expected);
        let told = String::from_utf8(Bearer::xoauth2().refusal("a\"\\\n", "")).expect("text");
        assert_eq!(told, r#"{"status":"401","schemes":"bearer","scope":"a\"\\\u000a"}"#);
    }

    #[test]
    fn without_an_initial_response_it_asks_with_an_empty_challenge() {
        let mut bearer = Bearer::oauthbearer();
        assert_eq!(bearer.start(None), Step::Challenge(Vec::new()));
        assert_eq!(bearer.eat(b"y,,\x01auth=bEaReR  t\x01\x01"), done(None, "t"));
    }

    #[test]
    fn what_is_no_message_fails() {
        let long = [b"n,,\x01auth=Bearer ".as_slice(), &[b'x'; MOST_TOKEN_OCTETS + 1], b"\x01\x01"].concat();
        let cases: [&[u8]; 14] = [
            b"",
            b"\x01",
            b"\x01\x01",
            b"n,,",
            b"n,,\x01\x01",
            b"p=x,,\x01auth=Bearer t\x01\x01",
            b"n,,\x01auth=Basic t\x01\x01",
            b"n,,\x01auth=Bearer \x01\x01",
            b"n,,\x01auth=Bearer t",
            b"n,a=,\x01auth=Bearer t\x01\x01",
            b"n,a=x\0,\x01auth=Bearer t\x01\x01",
            b"n,,\x01auth=Bearer \xff\x01\x01",
            b"n,,x\x01auth=Bearer t\x01\x01",
            &long,
        ];
        for message in cases {
            assert!(matches!(Bearer::oauthbearer().start(Some(message)), Step::Failed(_)));
            assert!(matches!(Bearer::xoauth2().start(Some(message)), Step::Failed(_)));
        }
        let twice = b"user=u\x01auth=Bearer t\x01auth=Bearer u\x01\x01";
        assert!(matches!(Bearer::xoauth2().start(Some(twice)), Step::Failed(_)));
    }
}
