//! Tests of the directory, on real files.

use super::*;

fn open() -> (tempfile::TempDir, Directory) {
    let home = tempfile::tempdir().expect("a directory");
    let directory = Directory::open(home.path()).expect("opened");
    (home, directory)
}

fn password(value: &str) -> Vec<Credential> {
    vec![Credential { kind: CredentialKind::Argon2id, value: value.into() }]
}

#[test]
fn a_user_is_added_found_changed_and_removed() {
    let (_home, directory) = open();
    let added = directory.add_user("Alice@Example.org", &password("one")).expect("added");
    assert_eq!(added.name, "alice@example.org");
    assert_eq!(directory.look_up("ALICE@example.ORG").expect("looked up"), Some(added.clone()));
    assert!(matches!(directory.add_user("alice@EXAMPLE.org", &[]), Err(DirectoryError::Taken(_))));

    directory.set_credentials("alice@example.org", &password("two")).expect("set");
    let found = directory.look_up("alice@example.org").expect("looked up").expect("there");
    assert_eq!(found.credential(CredentialKind::Argon2id), Some("two"));
    assert_eq!(found.credential(CredentialKind::ScramSha256), None);

    directory.set_disabled("alice@example.org", true).expect("disabled");
    assert!(directory.users().expect("listed")[0].is_disabled);

    assert_eq!(directory.remove("alice@example.org").expect("removed").account, added.account);
    assert_eq!(directory.look_up("alice@example.org").expect("looked up"), None);
    assert!(directory.is_removed(added.account).expect("asked"));
    assert!(matches!(directory.remove("alice@example.org"), Err(DirectoryError::Missing(_))));
    assert!(matches!(directory.set_credentials("alice@example.org", &[]), Err(DirectoryError::Missing(_))));
    assert_eq!(directory.check().expect("checked"), Vec::<String>::new());
}

#[test]
fn an_account_number_is_never_given_out_twice() {
    let (home, directory) = open();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..5 {
        assert!(seen.insert(directory.add_user("bob", &[]).expect("added").account));
        directory.remove("bob").expect("removed");
    }
    drop(directory);
    let directory = Directory::open(home.path()).expect("opened again");
    assert!(seen.insert(directory.add_user("bob", &[]).expect("added").account));
}

#[test]
fn the_version_tells_of_own_and_foreign_changes_and_of_nothing_else() {
    let (home, directory) = open();
    let other = Directory::open(home.path()).expect("a second handle");
    let before = directory.version().expect("a version");
    directory.look_up("alice").expect("looked up");
    assert_eq!(directory.version().expect("a version"), before);
    other.add_user("alice", &[]).expect("added");
    let after_foreign = directory.version().expect("a version");
    assert_ne!(after_foreign, before);
    directory.add_user("bob", &[]).expect("added");
    assert_ne!(directory.version().expect("a version"), after_foreign);
}

#[test]
fn hostile_names_are_users_that_are_not_there() {
    let (_home, directory) = open();
    directory.add_user("alice", &[]).expect("added");
    let long = "x".repeat(10_240);
    let hostile =
        ["", "'", "' OR 1=1 --", "%", "*", "a)", "a\0b", "a\nb", "..", ".", "../alice", "a/b", "@", "a@", "@b", &long];
    for name in hostile {
        assert_eq!(directory.look_up(name).expect("no trouble"), None, "{name:?}");
    }
    for name in ["", "a\0b", "a b", "a/b", "..", "@b", "a@", "a@b@c", "a@..", &long] {
        assert!(matches!(directory.add_user(name, &[]), Err(DirectoryError::BadName(_))), "{name:?}");
    }
    // Odd, but a name.
    directory.add_user("o'brien%", &[]).expect("added");
    assert!(directory.look_up("O'Brien%").expect("looked up").is_some());
}

#[test]
fn a_newer_file_is_refused_and_a_missing_one_is_not_made() {
    let (home, directory) = open();
    directory.lock().connection.execute("UPDATE meta SET value=99 WHERE key='schema'", []).expect("written");
    drop(directory);
    assert!(matches!(Directory::open(home.path()), Err(DirectoryError::TooNew { found: 99 })));
    let empty = tempfile::tempdir().expect("a directory");
    assert!(matches!(Directory::open_existing(empty.path()), Err(DirectoryError::NoDirectory(_))));
    assert!(!Directory::path(empty.path()).exists());
}

#[test]
fn the_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let (home, directory) = open();
    directory.add_user("alice", &[]).expect("added");
    for name in ["server.db", "server.db-wal", "server.db-shm"] {
        let mode = std::fs::metadata(home.path().join(name)).expect(name).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn check_finds_what_was_broken() {
    let (_home, directory) = open();
    directory.add_user("alice", &password("x")).expect("added");
    directory.lock().connection.execute("DELETE FROM account", []).expect("broken");
    let finds = directory.check().expect("checked");
    assert_eq!(finds, ["server.db: alice: the user's account is missing"]);
}

#[test]
fn a_directory_of_the_first_schema_opens_with_its_users() {
    let home = tempfile::tempdir().expect("a directory");
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores/server-v1.db");
    std::fs::copy(stored, Directory::path(home.path())).expect("the stored file is in the tree");
    for _ in 0..2 {
        let directory = Directory::open_existing(home.path()).expect("opens");
        let users = directory.users().expect("listed");
        let names: Vec<_> = users.iter().map(|user| (user.name.as_str(), user.is_disabled, user.is_master)).collect();
        assert_eq!(names, [("anna", false, false), ("bert@example.org", true, false)]);
        let anna = directory.look_up("anna").expect("looked up").expect("there");
        assert!(anna.credential(CredentialKind::Argon2id).is_some());
        assert_eq!(directory.check().expect("checked"), Vec::<String>::new());
        directory.set_master("anna", false).expect("the new column is there");
    }
}

fn device(device: &str, selector: &str) -> AppPassword {
    AppPassword {
        device: device.into(),
        selector: selector.into(),
        hash: "h".into(),
        scram: None,
        created: 0,
        used: None,
    }
}

#[test]
fn app_passwords_come_and_go_and_their_use_changes_no_version() {
    let (_home, directory) = open();
    directory.add_user("alice", &password("x")).expect("added");
    directory.add_app_password("alice", &device("phone", "aaaa")).expect("added");
    directory.add_app_password("alice", &device("laptop", "bbbb")).expect("added");
    assert!(matches!(
        directory.add_app_password("alice", &device("phone", "cccc")),
        Err(DirectoryError::DeviceTaken(_))
    ));
    assert!(matches!(directory.add_app_password("alice", &device("tab", "aaaa")), Err(DirectoryError::DeviceTaken(_))));
    assert!(matches!(directory.add_app_password("alice", &device(" ", "dddd")), Err(DirectoryError::BadDevice)));
    assert!(matches!(directory.add_app_password("bob", &device("phone", "dddd")), Err(DirectoryError::Missing(_))));
    let before = directory.version().expect("a version");
    directory.note_use("alice", "phone").expect("noted");
    assert_eq!(directory.version().expect("a version"), before);
    let alice = directory.look_up("alice").expect("looked up").expect("there");
    let listed: Vec<_> = alice.app_passwords.iter().map(|one| (one.device.as_str(), one.used.is_some())).collect();
    assert_eq!(listed, [("laptop", false), ("phone", true)]);
    directory.remove_app_password("alice", "phone").expect("removed");
    assert_ne!(directory.version().expect("a version"), before);
    assert!(matches!(directory.remove_app_password("alice", "phone"), Err(DirectoryError::NoDevice(_))));
    directory.remove("alice").expect("removed");
    assert_eq!(directory.check().expect("checked"), Vec::<String>::new());
}

#[test]
fn a_user_has_a_bounded_number_of_app_passwords() {
    let (_home, directory) = open();
    directory.add_user("alice", &[]).expect("added");
    for n in 0..MOST_APP_PASSWORDS {
        directory.add_app_password("alice", &device(&n.to_string(), &format!("s{n}"))).expect("added");
    }
    assert!(matches!(directory.add_app_password("alice", &device("more", "m")), Err(DirectoryError::TooManyDevices)));
}

#[test]
fn an_imported_hash_is_replaced_only_while_it_is_there() {
    let (_home, directory) = open();
    let imported = [Credential { kind: CredentialKind::Imported, value: "{SSHA}old".into() }];
    directory.add_user("alice", &imported).expect("added");
    let before = directory.version().expect("a version");
    assert!(!directory.replace_imported("alice", "{SSHA}other", &password("new")).expect("no trouble"));
    assert!(directory.replace_imported("alice", "{SSHA}old", &password("new")).expect("no trouble"));
    assert!(!directory.replace_imported("alice", "{SSHA}old", &password("newer")).expect("no trouble"));
    assert_eq!(directory.version().expect("a version"), before);
    let alice = directory.look_up("alice").expect("looked up").expect("there");
    assert_eq!(alice.credentials, password("new"));
}

#[test]
fn a_secret_stays_the_same_and_has_one_purpose() {
    let (home, directory) = open();
    let first = directory.secret("one").expect("made");
    assert_eq!(directory.secret("one").expect("found"), first);
    assert_ne!(directory.secret("two").expect("made"), first);
    drop(directory);
    assert_eq!(Directory::open(home.path()).expect("opened").secret("one").expect("found"), first);
}
