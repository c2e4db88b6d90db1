//! What a token says, and whether that lets its bearer in here.

use serde_json::{Map, Value};

use super::BadToken;
use crate::config::OAuth;

/// The claims of a JWT (RFC 7519 §4), or an issuer's answer (RFC 7662 §2.2).
#[derive(Debug)]
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    /// Reads a JSON object. `None`: it is none.
    pub fn read(text: &[u8]) -> Option<Self> {
        match serde_json::from_slice(text) {
            Ok(Value::Object(claims)) => Some(Claims(claims)),
            _ => None,
        }
    }

    /// Whom a signed token names, if everything in it is as it must be. `now` in seconds since 1970.
    pub fn user(&self, settings: &OAuth, now: i64) -> Result<String, BadToken> {
        // RFC 7519 §4.1.1: the issuer is compared octet for octet.
        if self.text("iss") != Some(&settings.issuer) {
            return Err(BadToken::Claim("iss"));
        }
        if self.0.get("exp").is_none() {
            return Err(BadToken::Claim("exp"));
        }
        self.user_within(settings, now)
    }

    /// Whom an issuer's answer names.
    pub fn user_of_answer(&self, settings: &OAuth, now: i64) -> Result<String, BadToken> {
        if self.0.get("active") != Some(&Value::Bool(true)) {
            return Err(BadToken::Inactive);
        }
        // RFC 7662 §2.2: the issuer need not name itself; we know whom we asked.
        if self.0.contains_key("iss") && self.text("iss") != Some(&settings.issuer) {
            return Err(BadToken::Claim("iss"));
        }
        self.user_within(settings, now)
    }

    fn user_within(&self, settings: &OAuth, now: i64) -> Result<String, BadToken> {
        let skew = i64::try_from(settings.clock_skew_seconds.as_secs()).unwrap_or(i64::MAX);
        if self.0.contains_key("exp") && self.time("exp").is_none_or(|exp| now >= exp.saturating_add(skew)) {
            return Err(BadToken::Claim("exp"));
        }
        for begins in ["nbf", "iat"] {
            if self.0.contains_key(begins) && self.time(begins).is_none_or(|at| now < at.saturating_sub(skew)) {
                return Err(BadToken::Claim(if begins == "nbf" { "nbf" } else { "iat" }));
            }
        }
        // RFC 7519 §4.1.3: who is not meant must refuse. A token for another service must not open mail.
        if !self.words("aud", false).any(|word| word == settings.audience) {
            return Err(BadToken::Claim("aud"));
        }
        let has_scope = |claim| self.words(claim, true).any(|word| word == settings.scope);
        if !settings.scope.is_empty() && !has_scope("scope") && !has_scope("scp") {
            return Err(BadToken::Claim("scope"));
        }
        if settings.user_claim == "email" && self.0.get("email_verified").is_some_and(|is| *is != Value::Bool(true)) {
            return Err(BadToken::Claim("email_verified"));
        }
        match self.text(&settings.user_claim) {
            Some(user) if !user.is_empty() => Ok(user.to_owned()),
            _ => Err(BadToken::Claim("the one that names the user")),
        }
    }

    /// How long the token is still good; `None`: nobody says.
    pub fn seconds_left(&self, now: i64) -> Option<u64> {
        self.time("exp").map(|exp| u64::try_from(exp.saturating_sub(now)).unwrap_or(0))
    }

    fn text(&self, claim: &str) -> Option<&str> {
        self.0.get(claim)?.as_str()
    }

    /// RFC 7519 §2, NumericDate: seconds since 1970, maybe with a fraction.
    fn time(&self, claim: &str) -> Option<i64> {
        let value = self.0.get(claim)?;
        // A fraction is cut, and what is beyond all time becomes its end: neither lets anybody in who must stay out.
        value.as_i64().or_else(|| value.as_f64().filter(|time| time.is_finite()).map(|time| time as i64))
    }

    /// A claim that is one word or a list of them; with `is_spaced`, a text of several words.
    fn words<'a>(&'a self, claim: &str, is_spaced: bool) -> impl Iterator<Item = &'a str> {
        let texts: Vec<&str> = match self.0.get(claim) {
            Some(Value::String(text)) if is_spaced => text.split(' ').collect(),
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        texts.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    fn settings() -> OAuth {
        OAuth {
            issuer: "https://id.example".into(),
            audience: "mail".into(),
            clock_skew_seconds: Duration::from_secs(60),
            ..OAuth::default()
        }
    }

    fn good() -> Value {
        json!({"iss": "https://id.example", "aud": "mail", "exp": 2000, "nbf": 1000, "email": "anna@example.org"})
    }

    fn user(claims: &Value, now: i64) -> Result<String, BadToken> {
        Claims::read(claims.to_string().as_bytes()).expect("an object").user(&settings(), now)
    }

    fn with(key: &str, value: Value) -> Value {
        let mut claims = good();
        claims[key] = value;
        claims
    }

    #[test]
    fn a_good_token_names_its_user() {
        assert_eq!(user(&good(), 1500), Ok("anna@example.org".into()));
        assert_eq!(user(&with("aud", json!(["other", "mail"])), 1500), Ok("anna@example.org".into()));
        assert_eq!(user(&with("exp", json!(1999.5)), 1500), Ok("anna@example.org".into()));
    }

    #[test]
    fn times_are_kept_but_for_the_skew() {
        for (now, claim) in [(939, Some("nbf")), (940, None), (2059, None), (2060, Some("exp"))] {
            assert_eq!(user(&good(), now).err(), claim.map(BadToken::Claim), "{now}");
        }
    }

    #[test]
    fn every_claim_is_looked_at() {
        for (key, value) in [
            ("iss", json!("https://id.example/")),
            ("iss", json!(null)),
            ("aud", json!("mailx")),
            ("aud", json!(["other"])),
            ("aud", json!("mail other")),
            ("aud", json!(null)),
            ("exp", json!("2000")),
            ("exp", json!(null)),
            ("nbf", json!("soon")),
            ("iat", json!(5000)),
            ("email", json!("")),
            ("email", json!(["anna@example.org"])),
            ("email_verified", json!(false)),
            ("email_verified", json!("true")),
        ] {
            assert!(user(&with(key, value.clone()), 1500).is_err(), "{key} {value}");
        }
        for key in ["iss", "aud", "exp", "email"] {
            let mut claims = good();
            claims.as_object_mut().expect("an object").remove(key);
            assert!(user(&claims, 1500).is_err(), "without {key}");
        }
    }

    #[test]
    fn a_scope_must_be_there_when_one_is_asked_for() {
        let wanted = OAuth { scope: "imap".into(), ..settings() };
        let user = |claims: Value| Claims::read(claims.to_string().as_bytes()).expect("an object").user(&wanted, 1500);
        assert!(user(good()).is_err());
        assert!(user(with("scope", json!("openid imapx"))).is_err());
        assert!(user(with("scope", json!("openid imap"))).is_ok());
        assert!(user(with("scp", json!(["imap"]))).is_ok());
    }

    #[test]
    fn an_answer_must_say_active() {
        let user = |claims: Value| {
            Claims::read(claims.to_string().as_bytes()).expect("an object").user_of_answer(&settings(), 1500)
        };
        assert_eq!(user(good()), Err(BadToken::Inactive));
        assert!(user(with("active", json!("true"))).is_err());
        assert!(user(with("active", json!(true))).is_ok());
        let short = json!({"active": true, "aud": "mail", "email": "anna"});
        assert_eq!(user(short), Ok("anna".into()), "exp and iss may be missing there");
        assert!(user(json!({"active": true, "email": "anna"})).is_err(), "aud may not");
        assert!(user(json!({"active": true, "aud": "mail", "email": "anna", "exp": 10})).is_err());
    }
}
