//! Settings of the ways to log in that ask somebody else: an issuer of tokens, a checker of passwords, a certificate.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fields::{seconds, whole};
/// Bearer tokens (RFC 7628). Without an issuer they are off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OAuth {
    /// Who makes the tokens: the exact text of their `iss`. Empty: no tokens.
    pub issuer: String,
    /// What their `aud` must hold: this server's name at the issuer.
    pub audience: String,
    /// A file with the issuer's public keys (RFC 7517). Empty: tokens are not checked here.
    pub jwks_file: PathBuf,
    /// The algorithms a signature may be made by.
    pub algorithms: Vec<Algorithm>,
    /// The claim that names the user.
    pub user_claim: String,
    /// A scope the token must have, told to clients too. Empty: none.
    pub scope: String,
    /// How far the issuer's clock and ours may be apart.
    #[serde(serialize_with = "seconds::serialize", deserialize_with = "seconds::within::<_, 0, 600>")]
    pub clock_skew_seconds: Duration,
    /// Where tokens that are not checked here are asked about (RFC 7662). Empty: nowhere.
    pub introspection_url: String,
    /// Who this server is there. Empty: it does not say.
    pub introspection_client_id: String,
    /// A file with the secret that belongs to it.
    pub introspection_client_secret_file: PathBuf,
    /// The authorities that may sign the certificate of that place, PEM.
    pub ca_file: PathBuf,
    /// How long an answer may take.
    #[serde(serialize_with = "seconds::serialize", deserialize_with = "seconds::within::<_, 1, 60>")]
    pub timeout_seconds: Duration,
    /// The URL of the issuer's description, told to clients whose token is refused (RFC 7628 §3.2.2). Empty: not told.
    pub openid_configuration: String,
}

impl OAuth {
    /// True when tokens are taken.
    pub fn is_on(&self) -> bool {
        !self.issuer.is_empty()
    }

    /// A contradiction: the setting, and a sentence.
    pub(super) fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        if !self.is_on() {
            return None;
        }
        let has_keys = !self.jwks_file.as_os_str().is_empty();
        if !has_keys && self.introspection_url.is_empty() {
            return Some(("oauth.issuer", "needs jwks_file or introspection_url, or no token can be checked"));
        }
        if !self.introspection_url.is_empty() && !self.introspection_url.starts_with("https://") {
            return Some(("oauth.introspection_url", "must begin with https://, for tokens are sent there"));
        }
        if self.audience.is_empty() {
            return Some((
                "oauth.audience",
                "must not be empty, or a token for any other service would open mail here",
            ));
        }
        if self.user_claim.is_empty() {
            return Some(("oauth.user_claim", "must not be empty"));
        }
        if has_keys && self.algorithms.is_empty() {
            return Some(("oauth.algorithms", "must not be empty"));
        }
        None
    }
}

/// How a token may be signed (RFC 7518 §3.1, RFC 8037 §3.1). None of these shares a secret with the issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "RS384")]
    Rs384,
    #[serde(rename = "RS512")]
    Rs512,
    #[serde(rename = "PS256")]
    Ps256,
    #[serde(rename = "PS384")]
    Ps384,
    #[serde(rename = "PS512")]
    Ps512,
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "ES384")]
    Es384,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    /// Its registered name.
    pub const fn word(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "RS256",
            Algorithm::Rs384 => "RS384",
            Algorithm::Rs512 => "RS512",
            Algorithm::Ps256 => "PS256",
            Algorithm::Ps384 => "PS384",
            Algorithm::Ps512 => "PS512",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::EdDsa => "EdDSA",
        }
    }
}

/// A program that checks passwords. Without a socket there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Checker {
    /// The Unix socket it listens on. Empty: passwords are checked here.
    pub socket: PathBuf,
    /// How long an answer may take.
    #[serde(serialize_with = "seconds::serialize", deserialize_with = "seconds::within::<_, 1, 60>")]
    pub timeout_seconds: Duration,
    /// How many questions may be out at a time.
    #[serde(deserialize_with = "whole::<_, _, 1, 10_000>")]
    pub at_once: usize,
    /// Whether a user it vouches for, and who is not here yet, is added.
    pub create_users: bool,
}

/// Which field of a client's certificate names the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateUser {
    /// A mail address in subjectAltName.
    #[default]
    Rfc822Name,
    /// commonName of the subject.
    CommonName,
}

impl Default for OAuth {
    fn default() -> Self {
        OAuth {
            issuer: String::new(),
            audience: String::new(),
            jwks_file: PathBuf::new(),
            algorithms: vec![Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa],
            user_claim: "email".into(),
            scope: String::new(),
            clock_skew_seconds: Duration::from_secs(60),
            introspection_url: String::new(),
            introspection_client_id: String::new(),
            introspection_client_secret_file: PathBuf::new(),
            ca_file: "/etc/ssl/certs/ca-certificates.crt".into(),
            timeout_seconds: Duration::from_secs(10),
            openid_configuration: String::new(),
        }
    }
}

impl Default for Checker {
    fn default() -> Self {
        Checker { socket: PathBuf::new(), timeout_seconds: Duration::from_secs(10), at_once: 16, create_users: true }
    }
}
