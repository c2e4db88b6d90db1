//! The client's side of the mechanisms, for pulling mail from other servers: SCRAM-SHA-256 and SCRAM-SHA-256-PLUS
//! (RFC 5802, RFC 7677), and the messages with a bearer token (RFC 7628). The server must prove that it knows the password too.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::sasl_base64;
use super::scram::{MOST_ITERATIONS, hmac_sha256};
use crate::types::Secret;

/// The fewest iterations that are computed (RFC 7677 §4): a server that asks for less may want to guess the password.
const FEWEST_ITERATIONS: u32 = 4096;

/// What an exchange says of the connection it goes over (RFC 5802 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound<'a> {
    /// Nothing is known that both ends would know: no TLS.
    Unknown,
    /// Something is, but the server does not offer -PLUS. If it did, and somebody in between hid that, it notices.
    NotOffered,
    /// -PLUS, with this type of binding and its data.
    To(&'static str, &'a [u8]),
}

/// One exchange of SCRAM-SHA-256 or SCRAM-SHA-256-PLUS.
#[derive(Debug)]
pub struct ScramClient {
    password: Secret,
    nonce: String,
    /// How the first message begins.
    gs2_header: String,
    /// That, and the data of the binding.
    bound: Vec<u8>,
    first_bare: String,
    /// What the server's last message must be; from the second message on.
    expected: Option<[u8; 32]>,
}

impl ScramClient {
    /// `nonce`: fresh random printable characters without a comma.
    pub fn new(user: &str, password: &Secret, nonce: String, bound: Bound<'_>) -> ScramClient {
        // RFC 5802 §5.1: these two have a meaning in a message.
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let first_bare = format!("n={user},r={nonce}");
        // RFC 5802 §7: gs2-header = gs2-cbind-flag "," [ authzid ] ","
        let (gs2_header, data) = match bound {
            Bound::Unknown => ("n,,".to_owned(), &[][..]),
            Bound::NotOffered => ("y,,".to_owned(), &[][..]),
            Bound::To(kind, data) => (format!("p={kind},,"), data),
        };
        let bound = [gs2_header.as_bytes(), data].concat();
        ScramClient { password: Secret::new(password.reveal()), nonce, gs2_header, bound, first_bare, expected: None }
    }

    /// The first message.
    pub fn first(&self) -> Vec<u8> {
        format!("{}{}", self.gs2_header, self.first_bare).into_bytes()
    }

    /// The answer to the server's first message. `None`: it is none, or asks for something unsafe.
    // RFC 5802 §7: server-first-message = [reserved-mext ","] nonce "," salt "," iteration-count ["," extensions]
    pub fn answer(&mut self, server_first: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(server_first).ok()?;
        let mut fields = text.split(',');
        let nonce = fields.next()?.strip_prefix("r=")?;
        let salt = sasl_base64::decode(fields.next()?.strip_prefix("s=")?.as_bytes())?;
        let iterations: u32 = fields.next()?.strip_prefix("i=")?.parse().ok()?;
        let is_sound = nonce.len() > self.nonce.len() && nonce.starts_with(&self.nonce) && !salt.is_empty();
        if !is_sound || !(FEWEST_ITERATIONS..=MOST_ITERATIONS).contains(&iterations) {
            return None;
        }
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(self.password.reveal(), &salt, iterations, &mut salted);
        let without_proof = format!("c={},r={nonce}", sasl_base64::encode(&self.bound));
        let message = format!("{},{text},{without_proof}", self.first_bare);
        let client_key = hmac_sha256(&salted, b"Client Key");
        let stored_key: [u8; 32] = Sha256::digest(client_key).into();
        let signature = hmac_sha256(&stored_key, message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, octet)| key ^ octet).collect();
        self.expected = Some(hmac_sha256(&hmac_sha256(&salted, b"Server Key"), message.as_bytes()));
        Some(format!("{without_proof},p={}", sasl_base64::encode(&proof)).into_bytes())
    }

    /// Whether the server's last message proves that it knows the password.
    pub fn is_proven(&self, server_final: &[u8]) -> bool {
        let proof = server_final.strip_prefix(b"v=").and_then(sasl_base64::decode);
        match (proof, &self.expected) {
            (Some(proof), Some(expected)) => proof.ct_eq(expected).into(),
            _ => false,
        }
    }
}

/// OAUTHBEARER's only message (RFC 7628 §3.1).
pub fn oauthbearer(user: &str, token: &Secret) -> Vec<u8> {
    let user = user.replace('=', "=3D").replace(',', "=2C");
    [b"n,a=", user.as_bytes(), b",\x01auth=Bearer ", token.reveal(), b"\x01\x01"].concat()
}

/// XOAUTH2's only message.
pub fn xoauth2(user: &str, token: &Secret) -> Vec<u8> {
    [b"user=", user.as_bytes(), b"\x01auth=Bearer ", token.reveal(), b"\x01\x01"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{ChannelBindings, Claim, ScramExchange, ScramUser, ScramVerifier, Step};

    #[test]
    fn the_exchange_of_the_rfc_is_spoken() {
        // RFC 7677 §3
        let mut client =
            ScramClient::new("user", &Secret::new("pencil"), "rOprNGfwEbeRWgbNEkqO".into(), Bound::Unknown);
        assert_eq!(client.first(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let first = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let answer = client.answer(first.as_bytes()).expect("an answer");
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(String::from_utf8_lossy(&answer), expected);
        assert!(client.is_proven(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!client.is_proven(b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!client.is_proven(b"e=invalid-proof") && !client.is_proven(b""));
    }

    /// Whether our own server is convinced, over a connection of which it knows `known`.
    fn is_let_in(bound: Bound<'_>, is_plus: bool, known: &ChannelBindings) -> bool {
        let password = Secret::new("pencil");
        let mut client = ScramClient::new("user", &password, "rOprNGfwEbeRWgbNEkqO".into(), bound);
        let mut server = ScramExchange::new(is_plus, known.clone(), "3rfcNHYJY1ZVvWVs7j".into());
        let verifier = ScramVerifier::derive(&password, b"salt", FEWEST_ITERATIONS);
        let Step::LookUp(_) = server.start(Some(&client.first())) else { return false };
        let stored = ScramUser { salt: b"salt".to_vec(), iterations: FEWEST_ITERATIONS, verifiers: vec![verifier] };
        let Step::Challenge(first) = server.supply(stored) else { return false };
        let answer = client.answer(&first).expect("a sound message");
        match server.eat(&answer) {
            Step::Done(Claim::Proof(proof)) => proof.verifier.is_some() && client.is_proven(&proof.server_final),
            _ => false,
        }
    }

    #[test]
    fn an_exchange_is_bound_to_its_connection() {
        let known = ChannelBindings { tls_exporter: Some([7; 32]), tls_server_end_point: Some(vec![9; 32]) };
        let kinds: Vec<_> = known.types().collect();
        assert_eq!(kinds, [("tls-exporter", &[7; 32][..]), ("tls-server-end-point", &[9; 32][..])]);
        for (kind, data) in kinds {
            assert!(is_let_in(Bound::To(kind, data), true, &known), "{kind}");
            assert!(!is_let_in(Bound::To(kind, &[8; 32]), true, &known), "{kind} of another connection");
        }
        assert!(is_let_in(Bound::NotOffered, false, &ChannelBindings::default()));
        assert!(!is_let_in(Bound::NotOffered, false, &known), "somebody in between took the offer away");
        assert!(is_let_in(Bound::Unknown, false, &known));
    }

    #[test]
    fn our_own_server_reads_the_tokens() {
        use crate::auth::Bearer;
        let token = Secret::new("abc.def");
        for (mut server, message) in
            [(Bearer::oauthbearer(), oauthbearer("a=b,c@x", &token)), (Bearer::xoauth2(), xoauth2("a=b,c@x", &token))]
        {
            let Step::Done(Claim::Token(read)) = server.start(Some(&message)) else { panic!("no message of it") };
            assert_eq!((read.authorize_as.as_deref(), read.token.reveal()), (Some("a=b,c@x"), &b"abc.def"[..]));
        }
    }

    #[test]
    fn a_server_that_asks_for_something_unsafe_gets_no_proof() {
        let mut client = ScramClient::new("a=b,c", &Secret::new("pencil"), "abc".into(), Bound::Unknown);
        assert_eq!(client.first(), b"n,,n=a=3Db=2Cc,r=abc");
        for bad in ["r=abc,s=AA==,i=4096", "r=xabcd,s=AA==,i=4096", "r=abcd,s=,i=4096", "r=abcd,s=AA==,i=1", "", "m=x"]
        {
            assert_eq!(client.answer(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(client.answer(b"r=abcd,s=AA==,i=4294967295"), None, "a day of work");
        assert!(!client.is_proven(b"v=AA=="), "nothing was asked yet");
        assert!(client.answer(b"r=abcd,s=AA==,i=4096").is_some());
    }
}
