//! Backups of a store at rest: what is in them, what a second one does, and how damage shows.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backup::{MANIFEST, OF_ACCOUNT, Order, Outcome, account_backup, backup};
use super::manifest::Manifest;
use super::owner::tests::at_rest;
use super::verify::verify;
use super::{AtRest, Owner, Watch};
use crate::mailstore::directory::Directory;
use crate::mailstore::{MailStore, NewMessage, wait_for};
use crate::types::{AccountId, FlagSet, MailboxName, UidRuns};

/// Keeps what is said.
#[derive(Default)]
pub struct Listener {
    pub said: Vec<String>,
    steps: u64,
}

impl Watch for Listener {
    fn say(&mut self, line: &str) {
        self.said.push(line.to_owned());
    }

    fn progress(&mut self, _what: &str, done: u64, total: u64) {
        assert!(done <= total, "{done} of {total}");
        self.steps += 1;
    }
}

pub fn place(store: &MailStore, account: AccountId, mailbox: &str, text: &str, octets: usize) -> u32 {
    wait_for(async {
        let account = store.account(account).await.expect("opens");
        let mut draft = account.draft();
        let body = format!("Subject: {text}\r\n\r\n{}\r\n", text.repeat(octets / text.len()));
        draft.write(body.as_bytes()).await.expect("taken");
        let prepared = draft.finish().await.expect("taken");
        let message = NewMessage { prepared, flags: FlagSet::new(), internal_date: None };
        let name = MailboxName::new(mailbox).expect("a name");
        account.place(&name, vec![message]).await.expect("placed").uids.first().expect("a UID")
    })
}

pub struct Site {
    home: tempfile::TempDir,
    pub owner: Arc<AtRest>,
    pub anna: AccountId,
}

impl Site {
    pub fn new() -> Site {
        let home = tempfile::tempdir().expect("a folder");
        let owner = at_rest(&home.path().join("data"));
        let directory = Directory::open(&home.path().join("data")).expect("opened");
        let anna = directory.add_user("anna", &[]).expect("added").account;
        directory.add_user("bert", &[]).expect("added");
        Site { home, owner, anna }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("data").canonicalize().expect("there")
    }

    pub fn dir(&self) -> PathBuf {
        self.home.path().join("backup")
    }

    pub fn place(&self, text: &str, octets: usize) -> u32 {
        place(self.owner.store(), self.anna, "INBOX", text, octets)
    }

    fn order<'a>(&self, data_dir: &'a Path, dir: &'a Path, now_secs: i64) -> Order<'a> {
        let accounts = vec![(self.anna, "anna".to_owned()), (AccountId(2), "bert".to_owned())];
        Order { data_dir, dir, accounts, prune: false, now_secs }
    }

    pub fn backup(&self, now_secs: i64) -> (Outcome, Vec<String>) {
        let (data_dir, dir) = (self.data_dir(), self.dir());
        self.run(&self.order(&data_dir, &dir, now_secs)).expect("begun")
    }

    fn run(&self, order: &Order<'_>) -> Result<(Outcome, Vec<String>), String> {
        let owner: Arc<dyn Owner> = self.owner.clone();
        let mut listener = Listener::default();
        backup(order, &owner, &mut listener).map(|outcome| (outcome, listener.said))
    }

    fn verify(&self) -> (bool, Vec<String>) {
        let mut listener = Listener::default();
        let is_fine = verify(&self.dir(), &mut listener).expect("there is a backup");
        (is_fine, listener.said)
    }

    fn manifest(&self) -> Manifest {
        let path = account_backup(&self.dir(), self.anna).join(MANIFEST);
        Manifest::read(&path, OF_ACCOUNT).expect("read").expect("there")
    }

    fn blobs(&self, below: &Path) -> Vec<PathBuf> {
        let shelves = fs::read_dir(below.join("blobs")).map(|dir| dir.flatten().collect()).unwrap_or_else(|_| vec![]);
        let files = shelves.iter().flat_map(|shelf| fs::read_dir(shelf.path()).expect("a shelf").flatten());
        files.map(|file| file.path()).collect()
    }
}

const ALL_FINE: Outcome = Outcome { complete: 1, incomplete: 0, failed: 0 };

#[test]
fn a_second_run_copies_only_what_is_new() {
    let site = Site::new();
    for n in 0..3 {
        site.place(&format!("small {n}"), 5000);
        site.place(&format!("large {n}"), 200_000);
    }
    let (outcome, said) = site.backup(1000);
    assert_eq!((outcome, said.len()), (ALL_FINE, 2), "{said:?}");
    assert_eq!(said[1], "bert: has no mail yet");
    assert_eq!((site.manifest().number("files"), site.manifest().number("new-files")), (Some(3), Some(3)));
    assert!(site.verify().0, "{:?}", site.verify().1);

    site.place("large 3", 200_000);
    assert_eq!(site.backup(2000).0, ALL_FINE);
    assert_eq!(site.manifest().number("new-files"), Some(1));
    let databases = fs::read_dir(account_backup(&site.dir(), site.anna)).expect("there").flatten();
    let databases = databases.filter(|entry| entry.file_name().to_string_lossy().ends_with(".db"));
    assert_eq!(databases.count(), 1, "the older one is gone");
    assert!(site.verify().0);
    // In the same second once more.
    assert_eq!(site.backup(2000).0, ALL_FINE);
    assert!(site.verify().0);
}

#[test]
fn what_is_no_longer_needed_stays_until_it_is_pruned() {
    let site = Site::new();
    site.place("large", 200_000);
    site.backup(1000);
    let store = site.owner.store();
    wait_for(async {
        let account = store.account(site.anna).await.expect("opens");
        let view = account.open(&MailboxName::inbox(), false).await.expect("opens");
        let trash = MailboxName::new("Trash").expect("a name");
        view.move_to_mailbox(UidRuns::one(1), &trash).await.expect("moved");
        drop(view);
        account.delete(&trash).await.expect("deleted");
        account.sweep(-10).await.expect("swept");
    });
    site.backup(2000);
    let kept = account_backup(&site.dir(), site.anna);
    assert_eq!(site.blobs(&kept).len(), 1);
    let (data_dir, dir) = (site.data_dir(), site.dir());
    let order = Order { prune: true, ..site.order(&data_dir, &dir, 3000) };
    assert_eq!(site.run(&order).expect("begun").0, ALL_FINE);
    assert_eq!(site.blobs(&kept).len(), 0);
    assert!(site.verify().0);
}

#[test]
fn a_damaged_body_makes_it_incomplete_and_keeps_the_complete_one() {
    let site = Site::new();
    site.place("small", 3000);
    site.backup(1000);
    let complete = site.manifest().file("database").expect("named");
    site.place("large", 200_000);
    let body = site.blobs(&site.data_dir().join(format!("accounts/{}", site.anna))).pop().expect("a file");
    let whole = fs::read(&body).expect("read");
    let file = fs::OpenOptions::new().write(true).open(&body).expect("opened");
    file.write_all_at(b"!", 1000).expect("written");
    let (outcome, said) = site.backup(2000);
    assert_eq!(outcome, Outcome { complete: 0, incomplete: 1, failed: 0 }, "{said:?}");
    assert!(said.iter().any(|line| line.contains("is damaged in the store")), "{said:?}");
    assert_eq!(site.manifest().file("complete-before"), Some(complete.clone()));
    assert!(account_backup(&site.dir(), site.anna).join(&complete.name).exists());
    let (is_fine, said) = site.verify();
    assert!(!is_fine && said.iter().any(|line| line.contains("incomplete")), "{said:?}");
    // Still so the next time, and over once the body is whole again.
    site.backup(3000);
    assert_eq!(site.manifest().file("complete-before"), Some(complete));
    fs::write(&body, whole).expect("written");
    assert_eq!(site.backup(4000).0, ALL_FINE);
    assert!(site.verify().0);
}

#[test]
fn a_database_that_cannot_be_copied_leaves_the_older_copy_alone() {
    let site = Site::new();
    site.place("small", 3000);
    site.backup(1000);
    let before = site.manifest();
    wait_for(site.owner.store().hold(
        site.anna,
        crate::mailstore::Purpose::Exchange,
        super::owner::own_holder(),
        std::time::Duration::ZERO,
    ))
    .expect("held");
    site.owner.store().retire(site.anna);
    let database = site.data_dir().join(format!("accounts/{}/mail.db", site.anna));
    let mut octets = fs::read(&database).expect("read");
    octets[4096..8192].fill(0xff);
    fs::write(&database, &octets).expect("written");
    let (outcome, said) = site.backup(2000);
    assert_eq!(outcome, Outcome { complete: 0, incomplete: 0, failed: 1 });
    assert!(said[0].contains("NOT BACKED UP") && said[0].contains("1970-01-01T00:16:40Z stays"), "{said:?}");
    assert_eq!(site.manifest(), before);
    assert!(site.verify().0, "the older copy is whole");
}

#[test]
fn damage_in_the_backup_itself_is_found() {
    let site = Site::new();
    site.place("small", 3000);
    site.place("large", 200_000);
    site.backup(1000);
    let kept = account_backup(&site.dir(), site.anna);
    let database = kept.join(site.manifest().file("database").expect("named").name);
    let blob = site.blobs(&kept).pop().expect("a file");
    for path in [&database, &blob, &kept.join(MANIFEST), &site.dir().join("hash.key")] {
        let good = fs::read(path).expect("read");
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 0x10;
        fs::write(path, &bad).expect("written");
        let (is_fine, said) = site.verify();
        assert!(!is_fine, "{}: {said:?}", path.display());
        fs::remove_file(path).expect("removed");
        assert!(!site.verify().0, "{} is gone", path.display());
        fs::write(path, &good).expect("written");
    }
    assert!(site.verify().0);
}

#[test]
fn a_directory_that_will_not_do_is_refused() {
    let site = Site::new();
    site.place("small", 3000);
    let data_dir = site.data_dir();
    let inside = data_dir.join("backup");
    assert!(site.run(&site.order(&data_dir, &inside, 1)).is_err_and(|text| text.contains("data directory")));
    site.backup(1000);
    let other = Site::new();
    let dir = site.dir();
    let (other_dir, order) = (other.data_dir(), 5);
    assert!(other.run(&other.order(&other_dir, &dir, order)).is_err_and(|text| text.contains("another installation")));
    let lock = super::files::lock_dir(&dir).expect("locked").expect("free");
    assert!(site.run(&site.order(&data_dir, &dir, 2000)).is_err_and(|text| text.contains("another backup")));
    drop(lock);
    assert!(verify(&site.home.path().join("data"), &mut Listener::default()).is_err());
}
