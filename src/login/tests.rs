//! Tests of the whole way of a log-in, with a real directory and real hashes.

use super::*;
use crate::mailstore::directory::Directory;
use std::time::Duration;

struct House {
    _home: tempfile::TempDir,
    directory: Arc<Directory>,
    login: Arc<Login>,
}

fn house(change: impl FnOnce(&mut Config)) -> House {
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
    fn set(&self, name: &str, password: &str) -> AccountId {
        let credentials = credentials::make(&Secret::new(password), false).expect("made");
        match self.directory.look_up(name).expect("looked up") {
            Some(_) => self.directory.set_credentials(name, &credentials).expect("set").account,
            None => self.directory.add_user(name, &credentials).expect("added").account,
        }
    }

    async fn check(&self, name: &str, password: &str) -> Result<AccountId, LoginRefusal> {
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
    assert!(refusals.contains(&LoginRefusal::Unavailable), "{refusals:?}");
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
        refused += usize::from(matches!(check.await.expect("joined"), Err(LoginRefusal::TooMany(_))));
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
