//! The issuer's public keys from a JWK set (RFC 7517), and checking a signature with one of them (RFC 7518).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

use crate::config::Algorithm;

/// Most keys of one issuer.
const MOST_KEYS: usize = 100;

/// The keys of an issuer.
#[derive(Debug)]
pub(super) struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    /// A label, and nothing else: it is only ever compared.
    kid: Option<String>,
    /// The algorithm it is for; `None`: any that fits its kind.
    alg: Option<String>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct Written {
    keys: Vec<WrittenKey>,
}

#[derive(Deserialize)]
struct WrittenKey {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Reads base64url without padding (RFC 7515 §2).
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

impl Keys {
    /// Reads a JWK set. Keys of other kinds or for other uses are passed over (RFC 7517 §5); one must be left.
    pub fn read(text: &[u8]) -> Result<Keys, String> {
        let written: Written =
            serde_json::from_slice(text).map_err(|error| format!("this is no JWK set (RFC 7517): {error}"))?;
        if written.keys.len() > MOST_KEYS {
            return Err(format!("an issuer has at most {MOST_KEYS} keys here"));
        }
        let keys: Vec<Key> = written.keys.into_iter().filter_map(Key::of).collect();
        match keys.is_empty() {
            true => Err("there is no public key for signatures in it (RSA, P-256, P-384 or Ed25519)".into()),
            false => Ok(Keys(keys)),
        }
    }

    /// Whether one of the keys that the token may mean made this signature.
    pub fn is_signed(&self, algorithm: Algorithm, kid: Option<&str>, message: &[u8], signature: &[u8]) -> bool {
        let is_meant = |key: &&Key| match kid {
            Some(kid) => key.kid.as_deref() == Some(kid),
            // No label: it can only be one, or nobody could say which it was.
            None => self.0.len() == 1,
        };
        self.0.iter().filter(is_meant).any(|key| key.is_signed(algorithm, message, signature))
    }
}

impl Key {
    fn of(written: WrittenKey) -> Option<Key> {
        if written.usage.is_some_and(|usage| usage != "sig") {
            return None;
        }
        let octets = |text: Option<String>| decode(text?.as_bytes()).filter(|octets| !octets.is_empty());
        let point = |x: Option<String>, y: Option<String>, length: usize| {
            let (x, y) = (octets(x)?, octets(y)?);
            // An uncompressed point: 4, x, y (RFC 7518 §6.2.1).
            (x.len() == length && y.len() == length).then(|| [&[4][..], &x, &y].concat())
        };
        let kind = match (written.kty.as_str(), written.crv.as_deref()) {
            ("RSA", _) => Kind::Rsa { n: octets(written.n)?, e: octets(written.e)? },
            ("EC", Some("P-256")) => Kind::P256(point(written.x, written.y, 32)?),
            ("EC", Some("P-384")) => Kind::P384(point(written.x, written.y, 48)?),
            ("OKP", Some("Ed25519")) => Kind::Ed25519(octets(written.x)?),
            // A secret that both sides share ("oct") is none of ours.
            _ => return None,
        };
        Some(Key { kid: written.kid, alg: written.alg, kind })
    }

    /// A key is only used with an algorithm of its own kind: else a public key could be passed off as a secret.
    fn is_signed(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if self.alg.as_deref().is_some_and(|alg| alg != algorithm.word()) {
            return false;
        }
        let rsa = |parameters: &'static RsaParameters| match &self.kind {
            Kind::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok(),
            _ => false,
        };
        match (algorithm, &self.kind) {
            (Algorithm::Rs256, _) => rsa(&RSA_PKCS1_2048_8192_SHA256),
            (Algorithm::Rs384, _) => rsa(&RSA_PKCS1_2048_8192_SHA384),
            (Algorithm::Rs512, _) => rsa(&RSA_PKCS1_2048_8192_SHA512),
            (Algorithm::Ps256, _) => rsa(&RSA_PSS_2048_8192_SHA256),
            (Algorithm::Ps384, _) => rsa(&RSA_PSS_2048_8192_SHA384),
            (Algorithm::Ps512, _) => rsa(&RSA_PSS_2048_8192_SHA512),
            (Algorithm::Es256, Kind::P256(point)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            (Algorithm::Es384, Kind::P384(point)) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(message, signature).is_ok()
            }
            (Algorithm::EdDsa, Kind::Ed25519(key)) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
            }
            (Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_keys_for_signatures_are_kept() {
        let point = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let text = format!(
            r#"{{"keys":[{{"kty":"oct","k":"c2VjcmV0"}},{{"kty":"RSA","n":"AQAB","e":"AQAB","use":"enc"}},
            {{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}},{{"kty":"EC","crv":"P-521","x":"{point}","y":"{point}"}},
            {{"kty":"EC","crv":"P-256","x":"{point}","y":"{point}","kid":"../../etc/passwd","use":"sig"}}]}}"#
        );
        let keys = Keys::read(text.as_bytes()).expect("one key");
        assert_eq!(keys.0.len(), 1);
        for bad in ["", "{}", "[]", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AA"}]}"#, r#"{"keys":[{}]}"#] {
            assert!(Keys::read(bad.as_bytes()).is_err(), "{bad}");
        }
        let many = format!(r#"{{"keys":[{}]}}"#, vec![r#"{"kty":"oct"}"#; MOST_KEYS + 1].join(","));
        assert!(Keys::read(many.as_bytes()).is_err());
    }
}
