//! Tests of the whole way of a token: with a key file, and with an issuer that is asked.

use super::jwt::tests::Issuer;
use super::*;
use crate::auth::Mechanism;
use crate::config::Config;
use crate::login::{Exchange, Reply, Way};
use crate::mailstore::directory::Directory;
use crate::types::AccountId;
use arc_swap::ArcSwap;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct House {
    home: tempfile::TempDir,
    issuer: Issuer,
    login: Arc<Login>,
    directory: Arc<Directory>,
    anna: AccountId,
}

fn house(dial: Arc<dyn Dial>, change: impl FnOnce(&mut OAuth)) -> House {
    let home = tempfile::tempdir().expect("a directory");
    let directory = Arc::new(Directory::open(home.path()).expect("opened"));
    let anna = directory.add_user("anna@example.org", &[]).expect("added").account;
    let issuer = Issuer::new();
    std::fs::write(home.path().join("jwks.json"), issuer.jwks()).expect("written");
    let mut config = Config::default();
    config.login.failure_delay_seconds = Duration::ZERO;
    config.login.failure_delay_most_seconds = Duration::ZERO;
    config.oauth.issuer = "https://id.example".into();
    config.oauth.audience = "mail".into();
    config.oauth.jwks_file = home.path().join("jwks.json");
    config.oauth.scope = "imap".into();
    change(&mut config.oauth);
    let login = Login::with_dial(directory.clone(), Arc::new(ArcSwap::from_pointee(config)), dial).expect("started");
    House { home, issuer, login, directory, anna }
}

fn claims() -> Value {
    let now = Clock::System.now_secs();
    json!({"iss": "https://id.example", "aud": ["mail"], "exp": now + 600, "scope": "openid imap",
        "email": "Anna@example.org", "email_verified": true})
}

impl House {
    /// The outcome, and what the client was told before a refusal.
    async fn bear(&self, mechanism: Mechanism, message: &str) -> (Result<AccountId, LoginRefusal>, Option<String>) {
        let mut exchange = Exchange::new(self.login.clone(), mechanism, Way::default()).expect("made");
        let mut told = None;
        let mut reply = exchange.start(Some(message.as_bytes())).await;
        if let Reply::Challenge(challenge) = reply {
            told = Some(String::from_utf8(challenge).expect("text"));
            reply = exchange.eat(if mechanism == Mechanism::XOAuth2 { b"" } else { b"\x01" }).await;
        }
        match reply {
            Reply::Done(signed_in) => (Ok(signed_in.account), told),
            Reply::Refused(refusal) => (Err(refusal), told),
            Reply::Challenge(_) => panic!("one round is enough"),
        }
    }

    async fn show(&self, token: &str) -> Result<AccountId, LoginRefusal> {
        self.bear(Mechanism::OAuthBearer, &format!("n,,\x01auth=Bearer {token}\x01\x01")).await.0
    }
}

#[tokio::test]
async fn a_good_token_opens_in_both_mechanisms() {
    let house = house(no_dial(), |_| {});
    let token = house.issuer.token(&claims());
    let bearer = format!("n,a=anna@example.org,\x01host=x\x01auth=Bearer {token}\x01\x01");
    assert_eq!(house.bear(Mechanism::OAuthBearer, &bearer).await, (Ok(house.anna), None));
    let xoauth2 = format!("user=anna@example.org\x01auth=Bearer {token}\x01\x01");
    assert_eq!(house.bear(Mechanism::XOAuth2, &xoauth2).await, (Ok(house.anna), None));
}

#[tokio::test]
async fn a_bad_token_is_told_why_and_then_refused() {
    let house = house(no_dial(), |oauth| oauth.openid_configuration = "https://id.example/c".into());
    let mut expired = claims();
    expired["exp"] = json!(1);
    let token = house.issuer.token(&expired);
    let wrong = Err(LoginRefusal::WrongToken);
    let (outcome, told) = house.bear(Mechanism::XOAuth2, &format!("user=anna\x01auth=Bearer {token}\x01\x01")).await;
    let expected =
        r#"{"status":"401","schemes":"bearer","scope":"imap","openid-configuration":"https://id.example/c"}"#;
    assert_eq!((outcome, told.as_deref()), (wrong.clone(), Some(expected)));
    let (outcome, told) = house.bear(Mechanism::OAuthBearer, &format!("n,,\x01auth=Bearer {token}\x01\x01")).await;
    assert_eq!((outcome, told.as_deref()), (wrong, Some(expected.replace("401", "invalid_token").as_str())));
}

#[tokio::test]
async fn tokens_for_others_of_others_and_for_nobody_here_are_refused() {
    let house = house(no_dial(), |_| {});
    assert_eq!(house.show(&house.issuer.token(&claims())).await, Ok(house.anna));
    let with = |key: &str, value: Value| {
        let mut claims = claims();
        claims[key] = value;
        house.issuer.token(&claims)
    };
    for token in [
        with("aud", json!("another-service")),
        with("iss", json!("https://evil.example")),
        with("scope", json!("openid")),
        with("email", json!("nobody@example.org")),
        with("email", json!("../anna")),
        with("nbf", json!(Clock::System.now_secs() + 600)),
        Issuer::new().token(&claims()),
        "opaque-token".into(),
    ] {
        assert_eq!(house.show(&token).await, Err(LoginRefusal::WrongToken), "{token}");
    }
    let token = house.issuer.token(&claims());
    let for_another = format!("n,a=bert,\x01auth=Bearer {token}\x01\x01");
    assert_eq!(house.bear(Mechanism::OAuthBearer, &for_another).await.0, Err(LoginRefusal::NotAllowed));
    house.directory.set_disabled("anna@example.org", true).expect("disabled");
    assert_eq!(house.show(&token).await, Err(LoginRefusal::Disabled));
}

#[tokio::test]
async fn without_its_key_file_it_is_our_trouble() {
    let house = house(no_dial(), |oauth| oauth.jwks_file = PathBuf::from("/nowhere/jwks.json"));
    let token = house.issuer.token(&claims());
    assert_eq!(house.show(&token).await, Err(LoginRefusal::Unavailable));
    assert!(check(&OAuth { jwks_file: "/nowhere/jwks.json".into(), ..OAuth::default() }).is_err());
    assert_eq!(check(&OAuth { jwks_file: house.home.path().join("jwks.json"), ..OAuth::default() }), Ok(()));
}

/// An issuer at the other end of a pipe that gives this answer to every question, and counts them.
struct Answering {
    answer: String,
    asked: AtomicUsize,
}

impl Dial for Answering {
    fn dial<'a>(&'a self, host: &'a str, port: u16, _: &'a Path) -> Dialling<'a> {
        assert_eq!((host, port), ("id.example", 8443));
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answer.clone();
        Box::pin(async move {
            let (near, mut far) = tokio::io::duplex(64 * 1024);
            tokio::spawn(async move {
                let mut question = vec![0; 16 * 1024];
                let _ = far.read(&mut question).await;
                if !answer.is_empty() {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
                    let _ = far.write_all(format!("{head}{answer}").as_bytes()).await;
                }
                // Silent: until the other side hangs up.
                while !answer.is_empty() && far.read(&mut question).await.is_ok_and(|octets| octets > 0) {}
                std::future::pending::<()>().await;
            });
            Ok(Box::new(near) as Box<dyn Stream>)
        })
    }
}

fn asking(answer: Value) -> (Arc<Answering>, House) {
    let text = if answer.is_null() { String::new() } else { answer.to_string() };
    let dial = Arc::new(Answering { answer: text, asked: AtomicUsize::new(0) });
    let house = house(dial.clone(), |oauth| {
        oauth.introspection_url = "https://id.example:8443/introspect".into();
        oauth.timeout_seconds = Duration::from_millis(200);
    });
    (dial, house)
}

#[tokio::test]
async fn an_issuer_is_asked_about_opaque_tokens_and_its_yes_remembered() {
    let mut answer = claims();
    answer["active"] = json!(true);
    let (dial, house) = asking(answer);
    for _ in 0..3 {
        assert_eq!(house.show("opaque").await, Ok(house.anna));
    }
    assert_eq!(dial.asked.load(Ordering::Relaxed), 1);
    // The memory is of that very token and name: a prefix, a longer one or another name is asked about.
    for message in [
        "n,,\x01auth=Bearer opaqu\x01\x01",
        "n,,\x01auth=Bearer opaquee\x01\x01",
        "n,a=anna@example.org,\x01auth=Bearer opaque\x01\x01",
    ] {
        assert_eq!(house.bear(Mechanism::OAuthBearer, message).await.0, Ok(house.anna));
    }
    assert_eq!(dial.asked.load(Ordering::Relaxed), 4);
    house.login.forget();
    assert_eq!(house.show("opaque").await, Ok(house.anna));
    assert_eq!(dial.asked.load(Ordering::Relaxed), 5);
    house.directory.set_disabled("anna@example.org", true).expect("disabled");
    assert_eq!(house.show("opaque").await, Err(LoginRefusal::Disabled), "whatever is remembered");
}

#[tokio::test]
async fn an_issuers_no_is_no_and_its_silence_is_trouble() {
    let (dial, house) = asking(json!({"active": false}));
    for _ in 0..2 {
        assert_eq!(house.show("opaque").await, Err(LoginRefusal::WrongToken));
    }
    assert_eq!(dial.asked.load(Ordering::Relaxed), 2, "a no is not remembered");
    let mut expired = claims();
    expired["active"] = json!(true);
    expired["exp"] = json!(Clock::System.now_secs() - 600);
    assert_eq!(asking(expired).1.show("opaque").await, Err(LoginRefusal::WrongToken));
    assert_eq!(asking(json!("nonsense")).1.show("opaque").await, Err(LoginRefusal::Unavailable));
    assert_eq!(asking(Value::Null).1.show("opaque").await, Err(LoginRefusal::Unavailable));
}
