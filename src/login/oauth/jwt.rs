//! A signed JSON Web Token (RFC 7519) in its compact form (RFC 7515 §7.1): three texts with dots between.

use serde::Deserialize;

use super::BadToken;
use super::claims::Claims;
use super::keys::{Keys, decode};
use crate::config::Algorithm;

/// What is read of the header. Where a key could be fetched from (`jku`, `x5u`) or is brought along (`jwk`) is not:
/// whoever makes a token must not say with which key it is to be checked.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

/// The claims of a token, if one of the keys signed it by one of the algorithms.
pub(super) fn read(token: &[u8], keys: &Keys, algorithms: &[Algorithm]) -> Result<Claims, BadToken> {
    let no_jwt = BadToken::Form("no JWT");
    let mut parts = token.split(|octet| *octet == b'.');
    let (Some(header), Some(payload), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(no_jwt);
    };
    let signed = &token[..header.len() + 1 + payload.len()];
    let header: Header =
        decode(header).and_then(|text| serde_json::from_slice(&text).ok()).ok_or(BadToken::Form("no header"))?;
    // RFC 7515 §4.1.11: what is critical and not understood makes the token bad. Nothing critical is understood here.
    if header.crit.is_some() {
        return Err(BadToken::Form("crit"));
    }
    // "none" and the algorithms with a shared secret are no values of the type, so no setting can let them in.
    let algorithm = algorithms.iter().copied().find(|algorithm| algorithm.word() == header.alg);
    let algorithm = algorithm.ok_or(BadToken::Form("an algorithm that is not allowed"))?;
    let signature = decode(signature).ok_or(no_jwt)?;
    if !keys.is_signed(algorithm, header.kid.as_deref(), signed, &signature) {
        return Err(BadToken::Signature);
    }
    decode(payload).and_then(|text| Claims::read(&text)).ok_or(BadToken::Form("no claims"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
    use serde_json::{Value, json};

    /// An issuer of tokens, with a key of each quick kind.
    pub struct Issuer {
        p256: EcdsaKeyPair,
        ed25519: Ed25519KeyPair,
    }

    fn encode(octets: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(octets)
    }

    impl Issuer {
        pub fn new() -> Issuer {
            let random = SystemRandom::new();
            let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
            let p256 =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, p256.as_ref(), &random).expect("read");
            let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
            Issuer { p256, ed25519: Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).expect("read") }
        }

        pub fn jwks(&self) -> String {
            let point = self.p256.public_key().as_ref();
            let ec = json!({"kty": "EC", "crv": "P-256", "kid": "ec", "alg": "ES256", "use": "sig",
                "x": encode(&point[1..33]), "y": encode(&point[33..])});
            let ed = json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": encode(self.ed25519.public_key())});
            json!({"keys": [ec, ed]}).to_string()
        }

        pub fn sign(&self, header: &Value, claims: &Value) -> String {
            let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
            let signature = match header["kid"].as_str() {
                Some("ed") => self.ed25519.sign(signed.as_bytes()).as_ref().to_vec(),
                _ => self.p256.sign(&SystemRandom::new(), signed.as_bytes()).expect("signed").as_ref().to_vec(),
            };
            format!("{signed}.{}", encode(signature))
        }

        pub fn token(&self, claims: &Value) -> String {
            self.sign(&json!({"alg": "ES256", "kid": "ec", "typ": "JWT"}), claims)
        }
    }

    const ALL: &[Algorithm] = &[Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa];

    #[test]
    fn a_signed_token_is_read() {
        let issuer = Issuer::new();
        let keys = Keys::read(issuer.jwks().as_bytes()).expect("keys");
        for header in [json!({"alg": "ES256", "kid": "ec"}), json!({"alg": "EdDSA", "kid": "ed"})] {
            let token = issuer.sign(&header, &json!({"iss": "x"}));
            assert!(read(token.as_bytes(), &keys, ALL).is_ok(), "{header}");
        }
    }

    /// RFC 7515 §A.2: a token by RS256.
    #[test]
    fn the_example_of_the_rfc() {
        let keys = r#"{"keys":[{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}]}"#;
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        let keys = Keys::read(keys.as_bytes()).expect("keys");
        assert!(read(token.as_bytes(), &keys, ALL).is_ok());
        assert_eq!(
            read(token.as_bytes(), &keys, &[Algorithm::Es256]).err().map(|bad| matches!(bad, BadToken::Form(_))),
            Some(true)
        );
        let turned = token.replacen("eyJpc3MiOiJqb2Ui", "eyJpc3MiOiJqb2Yi", 1);
        assert!(matches!(read(turned.as_bytes(), &keys, ALL), Err(BadToken::Signature)));
    }

    #[test]
    fn kid_is_a_label_and_never_a_path_or_a_key() {
        let issuer = Issuer::new();
        let keys = Keys::read(issuer.jwks().as_bytes()).expect("keys");
        for kid in
            [json!("../../../etc/passwd"), json!("/dev/null"), json!(""), json!("EC"), json!("ed' OR 1=1"), json!(null)]
        {
            let token = issuer.sign(&json!({"alg": "ES256", "kid": kid}), &json!({}));
            assert!(matches!(read(token.as_bytes(), &keys, ALL), Err(BadToken::Signature)), "{kid}");
        }
        let brought =
            json!({"alg": "ES256", "jku": "https://evil.example/keys", "jwk": {"kty": "EC"}, "x5u": "file:///"});
        assert!(matches!(read(issuer.sign(&brought, &json!({})).as_bytes(), &keys, ALL), Err(BadToken::Signature)));
    }

    #[test]
    fn algorithms_that_are_not_allowed_are_not() {
        let issuer = Issuer::new();
        let keys = Keys::read(issuer.jwks().as_bytes()).expect("keys");
        for alg in ["none", "None", "", "HS256", "HS512", "RS1", "es256", "ES512"] {
            let token = issuer.sign(&json!({"alg": alg, "kid": "ec"}), &json!({}));
            assert!(matches!(read(token.as_bytes(), &keys, ALL), Err(BadToken::Form(_))), "{alg}");
        }
        for (alg, kid) in [("RS256", "ec"), ("PS256", "ed"), ("EdDSA", "ec"), ("ES256", "ed")] {
            let token = issuer.sign(&json!({"alg": alg, "kid": kid}), &json!({}));
            assert!(matches!(read(token.as_bytes(), &keys, ALL), Err(BadToken::Signature)), "{alg} with the key {kid}");
        }
        let unsigned = format!("{}.{}.", encode(r#"{"alg":"ES256","kid":"ec"}"#), encode("{}"));
        assert!(matches!(read(unsigned.as_bytes(), &keys, ALL), Err(BadToken::Signature)));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let issuer = Issuer::new();
        let keys = Keys::read(issuer.jwks().as_bytes()).expect("keys");
        let critical = issuer.sign(&json!({"alg": "ES256", "kid": "ec", "crit": ["exp"]}), &json!({}));
        let no_object = issuer.sign(&json!({"alg": "ES256", "kid": "ec"}), &json!([1]));
        let deep = format!("{}.{}.AA", encode("[".repeat(100_000)), encode("{}"));
        let good = issuer.token(&json!({}));
        for token in [
            "",
            ".",
            "..",
            "a.b",
            "a.b.c",
            "a.b.c.d",
            &critical,
            &no_object,
            &deep,
            &format!("{good}="),
            &format!("{good}."),
        ] {
            assert!(read(token.as_bytes(), &keys, ALL).is_err());
        }
    }
}
