//! Tests of the whole way of a log-in, with a real directory and real hashes.

use super::*;
use crate::auth::scram_exchange::tests::answer;
use crate::auth::{ChannelBindings, certificate::CertificateNames};
use crate::mailstore::directory::{Credential, CredentialKind, Directory};
use std::time::Duration;

pub(super) struct House {
    _home: tempfile::TempDir,
    pub directory: Arc<Directory>,
    pub login: Arc<Login>,
}

pub(super) fn house(change: impl FnOnce(&mut Config)) -> House {
    let home = tempfile::tempdir().expect("a directory");
    let directory = Arc::new(Directory::open(home.path()).expect("opened"));
    let mut config = Config::default();
    config.login.failure_delay_seconds = Duration::ZERO;
    config.login.failure_delay_most_seconds = Duration::ZERO;
    change(&mut config);
    let login = Login::new(directory.clone(), Arc::new(ArcSwap::from_pointee(config))).expect("started");
    House { _home: home, directory, login }
}

impl House {
    pub fn set(&self, name: &str, password: &str) -> AccountId {
        let credentials = credentials::make(&Secret::new(password), false).expect("made");
        match self.directory.look_up(name).expect("looked up") {
            Some(_) => self.directory.set_credentials(name, &credentials).expect("set").account,
            None => self.directory.add_user(name, &credentials).expect("added").account,
        }
    }

    pub async fn check(&self, name: &str, password: &str) -> Result<AccountId, LoginRefusal> {
        let peer = Some("192.0.2.1:4711".parse().expect("an address"));
        self.login.check(name, &Secret::new(password), peer).await.map(|signed_in| signed_in.account)
    }
}

#[tokio::test]
async fn the_right_password_lets_in_and_nothing_else_does() {
    let house = house(|config| config.login.default_domain = "example.org".into());
    let anna = house.set("anna", "sesame");
    assert_eq!(house.check("anna", "sesame").await, Ok(anna));
    assert_eq!(house.check("Anna@example.org", "sesame").await, Ok(anna));
    for (name, password) in [("anna", "Sesame"), ("anna", ""), ("bert", "sesame"), ("", "sesame"), ("anna\0", "sesame")]
    {
        assert_eq!(house.check(name, password).await, Err(LoginRefusal::WrongPassword), "{name:?} {password:?}");
    }
    let long = "x".repeat(100_000);
    assert_eq!(house.check(&long, &long).await, Err(LoginRefusal::WrongPassword));
}

#[tokio::test]
async fn what_is_remembered_ends_with_the_password_and_with_the_user() {
    let house = house(|_| {});
    house.set("anna", "old");
    assert!(house.check("anna", "old").await.is_ok());
    assert!(house.check("anna", "old").await.is_ok(), "remembered");
    house.set("anna", "new");
    assert_eq!(house.check("anna", "old").await, Err(LoginRefusal::WrongPassword));
    assert!(house.check("anna", "new").await.is_ok());
    house.directory.remove("anna").expect("removed");
    assert_eq!(house.check("anna", "new").await, Err(LoginRefusal::WrongPassword));
}

#[tokio::test]
async fn a_disabled_user_is_told_so_only_with_the_right_password() {
    let house = house(|_| {});
    house.set("anna", "sesame");
    assert!(house.check("anna", "sesame").await.is_ok());
    house.directory.set_disabled("anna", true).expect("disabled");
    assert_eq!(house.check("anna", "sesame").await, Err(LoginRefusal::Disabled));
    assert_eq!(house.check("anna", "wrong").await, Err(LoginRefusal::WrongPassword));
}

#[tokio::test]
async fn a_full_queue_is_our_trouble_and_no_wrong_password() {
    let house = house(|config| {
        config.login.password_queue = 1;
        config.login.password_threads = 1;
        config.limits.trusted_networks = vec!["192.0.2.0/24".parse().expect("a network")];
    });
    house.set("anna", "sesame");
    let checks = (0..20).map(|n| {
        let (login, password) = (house.login.clone(), Secret::new(format!("guess {n}")));
        tokio::spawn(
            async move { login.check("anna", &password, Some("192.0.2.9:1".parse().expect("an address"))).await },
        )
    });
    let mut refusals = Vec::new();
    for check in checks.collect::<Vec<_>>() {
        refusals.push(check.await.expect("joined").expect_err("a guess"));
    }
    assert!(refusals.iter().any(|refusal| matches!(refusal, LoginRefusal::Busy(_))), "{refusals:?}");
    assert!(refusals.contains(&LoginRefusal::WrongPassword), "{refusals:?}");
}

#[tokio::test]
async fn one_address_cannot_fill_the_queue() {
    let house = house(|config| {
        config.login.password_queue = 64;
        config.login.password_threads = 1;
    });
    house.set("anna", "sesame");
    let attack: Vec<_> = (0..60)
        .map(|n| {
            let (login, password) = (house.login.clone(), Secret::new(format!("guess {n}")));
            tokio::spawn(async move {
                login.check("anna", &password, Some("192.0.2.66:1".parse().expect("an address"))).await
            })
        })
        .collect();
    tokio::task::yield_now().await;
    assert!(house.check("anna", "sesame").await.is_ok(), "from elsewhere");
    let mut refused = 0;
    for check in attack {
        refused += usize::from(matches!(check.await.expect("joined"), Err(LoginRefusal::Busy(_))));
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn a_failure_waits_and_others_do_not() {
    let house = house(|config| {
        config.login.failure_delay_seconds = Duration::from_secs(3600);
        config.login.failure_delay_most_seconds = Duration::from_secs(3600);
        // One thread: a delay on it would hold up everybody.
        config.login.password_threads = 1;
    });
    house.set("anna", "sesame");
    let (login, wrong) = (house.login.clone(), Secret::new("wrong"));
    let failing = tokio::spawn(async move { login.check("anna", &wrong, None).await });
    assert!(house.check("anna", "sesame").await.is_ok());
    assert!(!failing.is_finished());
    failing.abort();
}

#[tokio::test]
async fn acting_for_another_is_refused_and_for_oneself_is_not() {
    let house = house(|config| config.login.default_domain = "example.org".into());
    let anna = house.set("anna", "sesame");
    let identity = |authorize_as: Option<&str>, password: &str| Identity {
        authorize_as: authorize_as.map(str::to_owned),
        user: "anna".into(),
        password: Secret::new(password),
    };
    for same in [None, Some("anna"), Some("ANNA@example.org")] {
        let signed_in = house.login.check_identity(&identity(same, "sesame"), None).await.expect("let in");
        assert_eq!(signed_in.account, anna);
    }
    let check = |authorize_as, password| {
        let (login, identity) = (house.login.clone(), identity(authorize_as, password));
        async move { login.check_identity(&identity, None).await }
    };
    assert_eq!(check(Some("bert"), "sesame").await, Err(LoginRefusal::NotAllowed));
    assert_eq!(check(Some("bert"), "wrong").await, Err(LoginRefusal::WrongPassword));
}

#[tokio::test]
async fn a_master_acts_for_others_and_nobody_else_does() {
    let house = house(|_| {});
    let boss = house.set("boss", "sesame");
    let anna = house.set("anna", "own");
    house.set("gone", "own");
    house.directory.set_disabled("gone", true).expect("disabled");
    let act = |other: &str, password: &str| {
        let identity =
            Identity { authorize_as: Some(other.into()), user: "boss".into(), password: Secret::new(password) };
        let login = house.login.clone();
        async move { login.check_identity(&identity, None).await }
    };
    assert_eq!(act("anna", "sesame").await, Err(LoginRefusal::NotAllowed));
    house.directory.set_master("boss", true).expect("set");
    let acting = act("ANNA", "sesame").await.expect("allowed");
    let who = Acting { account: boss, user: "boss".into() };
    assert_eq!(acting, SignedIn { account: anna, user: "anna".into(), acting: Some(who) });
    assert_eq!(act("anna", "wrong").await, Err(LoginRefusal::WrongPassword));
    assert_eq!(act("nobody", "sesame").await, Err(LoginRefusal::NotAllowed));
    assert_eq!(act("gone", "sesame").await, Err(LoginRefusal::Disabled));
    house.directory.set_disabled("boss", true).expect("disabled");
    assert_eq!(act("anna", "sesame").await, Err(LoginRefusal::Disabled));
}

#[tokio::test]
async fn an_app_password_opens_by_password_and_by_scram_and_notes_its_use() {
    let house = house(|_| {});
    let both = credentials::make(&Secret::new("sesame"), true).expect("made");
    let anna = house.directory.add_user("anna", &both).expect("added");
    let (phone, stored) = credentials::make_app_password(&anna, "phone", true).expect("made");
    house.directory.add_app_password("anna", &stored).expect("added");
    let user = house.directory.look_up("anna").expect("looked up").expect("there");
    let (laptop, stored) = credentials::make_app_password(&user, "laptop", true).expect("made");
    house.directory.add_app_password("anna", &stored).expect("added");
    for password in ["sesame", &phone, &phone.replace('-', "").to_uppercase(), &laptop] {
        assert_eq!(house.check("anna", password).await, Ok(anna.account), "{password}");
    }
    for password in ["sesame", &phone, &laptop] {
        let said = scram(&house, Mechanism::ScramSha256, "n,,", "anna", password).await;
        assert!(matches!(said, Reply::Done(SignedIn { account, .. }) if account == anna.account), "{said:?}");
    }
    let user = house.directory.look_up("anna").expect("looked up").expect("there");
    assert!(user.app_passwords.iter().all(|one| one.used.is_some()), "{user:?}");
    let wrong = format!("{}-aaaa-bbbb-cccc-dddd", &phone[..4]);
    assert_eq!(house.check("anna", &wrong).await, Err(LoginRefusal::WrongPassword));
    house.directory.remove_app_password("anna", "phone").expect("removed");
    assert_eq!(house.check("anna", &phone).await, Err(LoginRefusal::WrongPassword));
    // A new password keeps the salt, so that the laptop goes on working.
    let user = house.directory.look_up("anna").expect("looked up").expect("there");
    let newer = credentials::make_for(&user, &Secret::new("newer"), true).expect("made");
    house.directory.set_credentials("anna", &newer).expect("set");
    for password in ["newer", &laptop] {
        let said = scram(&house, Mechanism::ScramSha256, "n,,", "anna", password).await;
        assert!(matches!(said, Reply::Done(_)), "{password} {said:?}");
    }
}

#[tokio::test]
async fn an_imported_hash_opens_once_and_is_ours_then() {
    let house = house(|_| {});
    // `doveadm pw -s SSHA256 -p 'trout & ä'`
    let value = "{SSHA256}LJ1VEhqBe5P4z/4WP7y6FjMLghxivcRFaVapF0pIJ6QTQ3eD".to_owned();
    let imported = [Credential { kind: CredentialKind::Imported, value }];
    let anna = house.directory.add_user("anna", &imported).expect("added").account;
    assert_eq!(house.check("anna", "trout").await, Err(LoginRefusal::WrongPassword));
    assert_eq!(house.check("anna", "trout & ä").await, Ok(anna));
    let user = house.directory.look_up("anna").expect("looked up").expect("there");
    assert_eq!(user.credential(CredentialKind::Imported), None);
    assert!(user.credential(CredentialKind::Argon2id).is_some());
    assert_eq!(house.check("anna", "trout & ä").await, Ok(anna));
    let said = scram(&house, Mechanism::ScramSha256, "n,,", "anna", "trout & ä").await;
    assert!(matches!(said, Reply::Done(_)), "{said:?}");
}

fn way() -> Way {
    let bindings = ChannelBindings { tls_exporter: Some([7; 32]), tls_server_end_point: None };
    let tls = TlsFacts { bindings, certificate: None };
    Way { peer: Some("192.0.2.1:4711".parse().expect("an address")), tls: Some(Arc::new(tls)) }
}

/// A whole SCRAM exchange over a connection whose exporter is seven sevens.
async fn scram(house: &House, mechanism: Mechanism, header: &str, user: &str, password: &str) -> Reply {
    let mut exchange = Exchange::new(house.login.clone(), mechanism, way()).expect("random octets");
    let bare = format!("n={user},r=abc");
    let first = exchange.start(Some(format!("{header}{bare}").as_bytes())).await;
    let Reply::Challenge(server_first) = first else { return first };
    let seen: &[u8] = if header.starts_with('p') { &[7; 32] } else { b"" };
    let last = answer(password, header, &bare, seen, &server_first);
    match exchange.eat(last.as_bytes()).await {
        Reply::Challenge(server_final) => {
            assert!(server_final.starts_with(b"v="));
            exchange.eat(b"").await
        }
        other => other,
    }
}

#[tokio::test]
async fn scram_lets_in_and_refuses_everything_else_alike() {
    let house = house(|config| config.login.default_domain = "example.org".into());
    let both = credentials::make(&Secret::new("sesame"), true).expect("made");
    let anna = house.directory.add_user("anna", &both).expect("added").account;
    house.set("without-verifier", "sesame");
    let plus = Mechanism::ScramSha256Plus;
    for (header, user) in [("p=tls-exporter,,", "anna"), ("p=tls-exporter,a=anna,", "ANNA@example.org")] {
        let said = scram(&house, plus, header, user, "sesame").await;
        assert!(matches!(said, Reply::Done(SignedIn { account, .. }) if account == anna), "{said:?}");
    }
    let wrong = LoginRefusal::WrongPassword;
    for (mechanism, header, user, password) in [
        (plus, "p=tls-exporter,,", "anna", "wrong"),
        (plus, "p=tls-exporter,,", "nobody", "sesame"),
        (plus, "p=tls-exporter,,", "without-verifier", "sesame"),
        (Mechanism::ScramSha256, "n,,", "..=2C/x", "sesame"),
    ] {
        let said = scram(&house, mechanism, header, user, password).await;
        assert!(matches!(&said, Reply::Refused(refusal) if *refusal == wrong), "{user}: {said:?}");
    }
    let said = scram(&house, plus, "p=tls-exporter,a=nobody,", "anna", "sesame").await;
    assert!(matches!(said, Reply::Refused(LoginRefusal::NotAllowed)), "{said:?}");
    house.directory.set_disabled("anna", true).expect("disabled");
    let said = scram(&house, plus, "p=tls-exporter,,", "anna", "sesame").await;
    assert!(matches!(said, Reply::Refused(LoginRefusal::Disabled)), "{said:?}");
}

#[tokio::test]
async fn the_salt_of_nobody_is_as_stable_as_that_of_somebody() {
    let house = house(|config| config.login.default_domain = "example.org".into());
    let both = credentials::make(&Secret::new("sesame"), true).expect("made");
    house.directory.add_user("anna", &both).expect("added");
    let ask = |name: &'static str| {
        let login = house.login.clone();
        async move {
            let mut exchange = Exchange::new(login, Mechanism::ScramSha256, Way::default()).expect("random octets");
            let Reply::Challenge(first) = exchange.start(Some(format!("n,,n={name},r=abc").as_bytes())).await else {
                panic!("no challenge")
            };
            let first = String::from_utf8(first).expect("text");
            let (nonce, rest) = first.split_once(',').expect("fields");
            assert!(nonce.len() > 20);
            rest.to_owned()
        }
    };
    for (one, other) in [("anna", "Anna@example.org"), ("nobody", "Nobody@example.org")] {
        assert_eq!(ask(one).await, ask(other).await, "{one}");
    }
    let (somebody, nobody) = (ask("anna").await, ask("nobody").await);
    assert_ne!(somebody, nobody);
    assert_eq!(somebody.len(), nobody.len(), "{somebody} {nobody}");
    assert!(somebody.ends_with(",i=65536") && nobody.ends_with(",i=65536"));
}

#[tokio::test]
async fn a_message_of_a_cancelled_or_broken_exchange_hurts_nobody() {
    let house = house(|config| config.login.guesses_per_network = 1);
    let anna = house.set("anna", "sesame");
    for n in 0..100_000_u32 {
        let mut exchange = Exchange::new(house.login.clone(), Mechanism::Plain, way()).expect("made");
        match n % 3 {
            0 => {
                assert!(matches!(exchange.start(Some(&n.to_le_bytes())).await, Reply::Refused(LoginRefusal::Malformed)))
            }
            1 => assert!(matches!(exchange.start(None).await, Reply::Challenge(_))),
            _ => {
                exchange.start(None).await;
                assert!(matches!(exchange.eat(b"garbage").await, Reply::Refused(_)));
            }
        }
        if n % 25_000 == 0 {
            assert_eq!(house.check("anna", "sesame").await, Ok(anna));
        }
    }
    assert_eq!(lock(&house.login.throttle).watched().1, 0, "garbage is no guess");
}

#[tokio::test]
async fn a_certificate_opens_for_whom_its_field_names() {
    let house = house(|_| {});
    let anna = house.set("anna@example.org", "x");
    let bert = house.set("bert@example.org", "x");
    let open = |names: CertificateNames, chosen: &'static str| {
        let login = house.login.clone();
        async move {
            let tls = TlsFacts { bindings: ChannelBindings::default(), certificate: Some(names) };
            let way = Way { peer: None, tls: Some(Arc::new(tls)) };
            match Exchange::new(login, Mechanism::External, way).expect("made").start(Some(chosen.as_bytes())).await {
                Reply::Done(signed_in) => Ok(signed_in.account),
                Reply::Refused(refusal) => Err(refusal),
                Reply::Challenge(_) => panic!("no challenge"),
            }
        }
    };
    let named = |names: &[&str]| CertificateNames {
        rfc822_names: names.iter().map(|name| (*name).to_owned()).collect(),
        // Another field is no name, whatever stands in it.
        common_names: vec!["bert@example.org".into()],
        dns_names: vec!["bert@example.org".into()],
        ..CertificateNames::default()
    };
    let wrong = Err(LoginRefusal::WrongCertificate);
    assert_eq!(open(named(&["Anna@example.org"]), "").await, Ok(anna));
    assert_eq!(open(named(&["anna@example.org"]), "anna@example.org").await, Ok(anna));
    assert_eq!(open(named(&["anna@example.org"]), "bert@example.org").await, Err(LoginRefusal::NotAllowed));
    assert_eq!(open(named(&[]), "").await, wrong, "without the field");
    assert_eq!(open(named(&[]), "bert@example.org").await, wrong);
    assert_eq!(open(named(&["nobody@example.org"]), "").await, wrong);
    let two = ["anna@example.org", "bert@example.org"];
    assert_eq!(open(named(&two), "").await, wrong, "which of them is not said");
    assert_eq!(open(named(&two), "bert@example.org").await, Ok(bert));
    house.directory.set_disabled("anna@example.org", true).expect("disabled");
    assert_eq!(open(named(&["anna@example.org"]), "").await, Err(LoginRefusal::Disabled));
}

#[tokio::test]
async fn names_that_are_none_are_wrong_passwords_like_any_other() {
    let house = house(|_| {});
    house.set("anna", "sesame");
    let long = "x".repeat(10_240);
    for name in
        ["'", "' OR 1=1 --", "%", "*", ")(uid=*", "\0", "a\nb", "..", "../anna", "anna/..", "~anna", "\u{fffd}", &long]
    {
        assert_eq!(house.check(name, "sesame").await, Err(LoginRefusal::WrongPassword), "{name:?}");
    }
}

#[tokio::test]
async fn nobody_and_a_wrong_password_are_answered_after_the_same_time() {
    let house = house(|config| {
        config.login.failure_delay_seconds = Duration::from_secs(1);
        config.login.failure_delay_most_seconds = Duration::from_secs(1);
    });
    house.set("anna", "sesame");
    // A hash that takes far less time than ours, as a hash of another server may.
    let value = "{SHA256}cPwmmWo+TyzEY1K5kLjQzGdKyl56yrUq3sBLOLr8qMc=".to_owned();
    let quick = [Credential { kind: CredentialKind::Imported, value }];
    house.directory.add_user("quick", &quick).expect("added");
    let mut took = Vec::new();
    for name in ["anna", "nobody", "quick"] {
        let started = Instant::now();
        assert_eq!(house.check(name, "wrong").await, Err(LoginRefusal::WrongPassword));
        took.push(started.elapsed());
    }
    // One second and up to a quarter by chance; what was computed within it does not add to it.
    assert!(took.iter().all(|took| (1.0..1.6).contains(&took.as_secs_f64())), "{took:?}");
}

#[tokio::test]
async fn a_flood_from_everywhere_does_not_keep_out_who_was_here_before() {
    let house = house(|config| {
        config.login.password_queue = 8;
        config.login.password_threads = 1;
        config.login.remember_password_seconds = Duration::ZERO;
    });
    let anna = house.set("anna", "sesame");
    assert_eq!(house.check("anna", "sesame").await, Ok(anna));
    let flood: Vec<_> = (0..200_u8)
        .map(|n| {
            let (login, password) = (house.login.clone(), Secret::new(format!("guess {n}")));
            let peer = SocketAddr::from(([198, 51, 100, n], 1));
            tokio::spawn(async move { login.check("anna", &password, Some(peer)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    for _ in 0..3 {
        assert_eq!(house.check("anna", "sesame").await, Ok(anna));
    }
    let mut busy = 0;
    for guess in flood {
        busy += usize::from(matches!(guess.await.expect("joined"), Err(LoginRefusal::Busy(_))));
    }
    assert!(busy > 0, "the flood was told to come back later");
}

#[tokio::test]
async fn guesses_from_his_own_network_do_not_keep_a_user_out() {
    let house = house(|config| {
        config.login.password_threads = 1;
        config.login.remember_password_seconds = Duration::ZERO;
    });
    let anna = house.set("anna", "sesame");
    assert_eq!(house.check("anna", "sesame").await, Ok(anna));
    let guesses: Vec<_> = (0..20)
        .map(|n| {
            let (login, password) = (house.login.clone(), Secret::new(format!("guess {n}")));
            let peer = Some("192.0.2.1:1".parse().expect("an address"));
            tokio::spawn(async move { login.check("bert", &password, peer).await })
        })
        .collect();
    tokio::task::yield_now().await;
    for _ in 0..3 {
        assert_eq!(house.check("anna", "sesame").await, Ok(anna));
    }
    let mut busy = 0;
    for guess in guesses {
        busy += usize::from(matches!(guess.await.expect("joined"), Err(LoginRefusal::Busy(_))));
    }
    assert!(busy > 10, "only two wait at a time: {busy}");
}

#[tokio::test]
async fn the_operator_sees_each_limit_and_how_far_it_is_used() {
    let house = house(|_| {});
    house.set("anna", "sesame");
    let _ = house.check("anna", "wrong").await;
    let usage = house.login.usage();
    let of = |name| usage.iter().find(|(other, _)| *other == name).map(|(_, text)| text.clone()).expect(name);
    assert_eq!(of("password_queue"), "0 of 256 wait");
    assert_eq!(of("watched_networks"), "1 networks and 1 users of 10000 each");
}

/// A checker that answers each question with what `say` makes of it, and counts them.
fn checker(
    home: &std::path::Path,
    say: impl Fn(serde_json::Value) -> Option<String> + Send + 'static,
) -> (std::path::PathBuf, Arc<std::sync::atomic::AtomicUsize>) {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let socket = home.join("checker.sock");
    let listener = tokio::net::UnixListener::bind(&socket).expect("bound");
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            stream.read_line(&mut line).await.expect("a question");
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            match say(serde_json::from_str(&line).expect("JSON")) {
                Some(answer) => stream.write_all(answer.as_bytes()).await.expect("answered"),
                None => silent.push(stream),
            }
        }
    });
    (socket, asked)
}

#[tokio::test]
async fn a_checker_says_who_is_right_and_is_asked_once_in_a_while() {
    let home = tempfile::tempdir().expect("a directory");
    let (socket, asked) = checker(home.path(), |question| {
        assert_eq!((&question["version"], &question["ask"]), (&1.into(), &"password".into()));
        assert_eq!(question["address"], "192.0.2.1");
        let answer = match (question["user"].as_str(), question["password"].as_str()) {
            (Some("carl"), Some("sesame")) => r#"{"answer":"yes"}"#,
            (Some("c.alias"), Some("sesame")) => r#"{"answer":"yes","user":"carl","more":1}"#,
            (Some("evil"), _) => r#"{"answer":"yes","user":"../../etc"}"#,
            (Some("barred"), _) => r#"{"answer":"disabled"}"#,
            (Some("busy"), _) => r#"{"answer":"later","reason":"LDAP is down"}"#,
            (Some("odd"), _) => r#"{"answer":"perhaps"}"#,
            (Some("long"), _) => return Some("x".repeat(100_000)),
            (Some("silent"), _) => return None,
            _ => r#"{"answer":"no"}"#,
        };
        Some(format!("{answer}\n"))
    });
    let house = house(|config| {
        config.checker.socket = socket.clone();
        config.checker.timeout_seconds = Duration::from_millis(200);
    });
    let local = house.set("local", "own");
    let carl = house.check("carl", "sesame").await.expect("vouched for, and added");
    assert_eq!(house.check("c.alias", "sesame").await, Ok(carl), "by another name");
    let before = asked.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(house.check("carl", "sesame").await, Ok(carl));
    assert_eq!(house.check("carl", "sesame").await, Ok(carl));
    assert_eq!(house.check("local", "own").await, Ok(local), "a password of our own is checked here");
    // Once more because adding carl changed the directory; then it is remembered.
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), before + 1);
    for (user, refusal) in [
        ("carl", LoginRefusal::WrongPassword),
        ("nobody", LoginRefusal::WrongPassword),
        ("local", LoginRefusal::WrongPassword),
        ("barred", LoginRefusal::Disabled),
        ("busy", LoginRefusal::Unavailable),
        ("odd", LoginRefusal::Unavailable),
        ("long", LoginRefusal::Unavailable),
        ("silent", LoginRefusal::Unavailable),
        ("evil", LoginRefusal::Unavailable),
    ] {
        assert_eq!(house.check(user, "wrong").await, Err(refusal), "{user}");
    }
    assert_eq!(house.login.usage().last().map(|(_, text)| text.as_str()), Some("0 wait"));
    assert!(!house.login.offers(Mechanism::ScramSha256, None), "it would refuse carl");
    std::fs::remove_file(&socket).expect("removed");
    assert_eq!(house.check("carl", "else").await, Err(LoginRefusal::Unavailable), "gone");
    assert_eq!(house.check("local", "own").await, Ok(local));
}

#[tokio::test]
async fn a_checker_vouches_in_vain_for_who_must_be_added_by_hand() {
    let home = tempfile::tempdir().expect("a directory");
    let (socket, _) = checker(home.path(), |_| Some("{\"answer\":\"yes\"}\n".to_owned()));
    let house = house(|config| {
        config.checker.socket = socket;
        config.checker.create_users = false;
    });
    assert_eq!(house.check("carl", "sesame").await, Err(LoginRefusal::NotAllowed));
    let carl = house.directory.add_user("carl", &[]).expect("added").account;
    assert_eq!(house.check("carl", "sesame").await, Ok(carl));
    house.directory.set_disabled("carl", true).expect("disabled");
    assert_eq!(house.check("carl", "sesame").await, Err(LoginRefusal::Disabled), "barred here");
}
