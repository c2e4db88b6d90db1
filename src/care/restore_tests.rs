//! Restoring over what clients have seen since, elsewhere, and one folder only: no UID ever means two messages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::backup_tests::{Listener, Site, place};
use super::repair::repair_account;
use super::restore::{Order, Source, announce, restore_account, restore_folder, usual_name};
use super::{AtRest, Owner};
use crate::mailstore::directory::Directory;
use crate::mailstore::restore::Old;
use crate::mailstore::take_in::Target;
use crate::mailstore::{MailStore, ModSeqs, RemovedFilter, View, wait_for};
use crate::types::{AccountId, MailboxName, ModSeq, UidRuns};

const NOW: i64 = 2_000_000_000;

fn name(text: &str) -> MailboxName {
    MailboxName::new(text).expect("a name")
}

/// Each UID's octets and flags.
type Messages = BTreeMap<u32, (blake3::Hash, String)>;
/// By folder: UIDVALIDITY, HIGHESTMODSEQ, and the messages.
type Picture = BTreeMap<String, (u32, u64, Messages)>;

fn picture(store: &MailStore, id: AccountId) -> Picture {
    wait_for(async {
        let account = store.account(id).await.expect("opens");
        let mut picture = Picture::new();
        for listed in account.mailboxes().0.into_iter().filter(|listed| !listed.is_noselect) {
            let view = account.open(&listed.name, true).await.expect("opens");
            let mut messages = BTreeMap::new();
            for (span, piece) in view.by_span(&view.membership().all()) {
                for row in view.rows(span, &piece).await.expect("read") {
                    let mut stream = view.stream(row.content, row.size, 0, u64::from(row.size));
                    let mut hasher = blake3::Hasher::new();
                    while let Some(octets) = stream.next().await.expect("whole") {
                        hasher.update(&octets);
                    }
                    messages.insert(row.uid.0, (hasher.finalize(), view.flags(&row).wire()));
                }
            }
            let modseq = view.modseq().0;
            picture.insert(listed.name.to_string(), (view.uid_validity().0, modseq, messages));
        }
        picture
    })
}

fn bodies(picture: &Picture) -> BTreeSet<(String, [u8; 32])> {
    let of_folder = |(folder, (_, _, messages)): (&String, &(u32, u64, Messages))| {
        messages.values().map(|(hash, _)| (folder.clone(), *hash.as_bytes())).collect::<Vec<_>>()
    };
    picture.iter().flat_map(of_folder).collect()
}

/// What every client may have seen: no later picture may contradict it.
fn holds_against(history: &[Picture], now: &Picture) {
    for before in history {
        for (folder, (validity, modseq, messages)) in before {
            let Some((validity_now, modseq_now, messages_now)) = now.get(folder) else { continue };
            assert!(validity_now >= validity, "{folder}: UIDVALIDITY went back");
            if validity_now > validity {
                continue;
            }
            assert!(modseq_now >= modseq, "{folder}: HIGHESTMODSEQ went back");
            for (uid, (hash, _)) in messages {
                let same = messages_now.get(uid).is_none_or(|(other, _)| other == hash);
                assert!(same, "{folder}: UID {uid} is another message now");
            }
        }
    }
}

async fn view(store: &MailStore, id: AccountId, folder: &str) -> View {
    store.account(id).await.expect("opens").open(&name(folder), false).await.expect("opens")
}

fn remove(store: &MailStore, id: AccountId, folder: &str, uids: UidRuns) {
    wait_for(async {
        let view = view(store, id, folder).await;
        view.move_to_mailbox(uids, &name("Trash")).await.expect("moved");
    });
}

fn create(store: &MailStore, id: AccountId, folder: &str) -> ModSeqs {
    wait_for(async {
        let account = store.account(id).await.expect("opens");
        account.create(&name(folder), "").await.expect("created").modseqs
    })
}

fn delete(store: &MailStore, id: AccountId, folder: &str) {
    wait_for(async {
        store.account(id).await.expect("opens").delete(&name(folder)).await.expect("deleted");
    });
}

fn is_sound(store: &MailStore, id: AccountId) {
    assert_eq!(store.check_now(id).expect("checked").problems, Vec::<String>::new());
}

struct Restored {
    lines: Vec<String>,
    said: Vec<String>,
}

fn restore(source: &Source, data_dir: &Path, owner: &Arc<AtRest>, from: AccountId, to: AccountId) -> Restored {
    let order = Order { source, data_dir, from, to, name: "anna", now_secs: NOW };
    let (mut lines, old) = announce(&order).expect("announced");
    let mut listener = Listener::default();
    let owner: Arc<dyn Owner> = owner.clone();
    lines.extend(restore_account(&order, &old, &owner, &mut listener).expect("restored"));
    Restored { lines, said: listener.said }
}

/// An account with a past: some of it is in the backup, much has happened since.
fn eventful() -> (Site, Vec<Picture>) {
    let site = Site::new();
    let (store, anna) = (site.owner.store(), site.anna);
    for n in 0..8 {
        site.place(&format!("early {n}"), 900);
    }
    site.place("early large", 200_000);
    for folder in ["Work", "Gone", "Anew"] {
        create(store, anna, folder);
        place(store, anna, folder, &format!("in {folder}"), 500);
    }
    let first = picture(store, anna);
    assert_eq!(site.backup(1000).0.complete, 1);
    // Since then: some went, some came, one folder went and another was made anew under its name.
    remove(store, anna, "INBOX", UidRuns::range(2, 4));
    for n in 0..5 {
        site.place(&format!("late {n}"), 900);
    }
    delete(store, anna, "Gone");
    delete(store, anna, "Anew");
    create(store, anna, "Anew");
    place(store, anna, "Anew", "another", 500);
    create(store, anna, "Late");
    let second = picture(store, anna);
    (site, vec![first, second])
}

#[test]
fn over_a_store_that_can_be_read_everything_goes_on_above_what_was_given_out() {
    let (site, history) = eventful();
    let source = Source::open(&site.dir()).expect("opened");
    let done = restore(&source, &site.data_dir(), &site.owner, site.anna, site.anna);
    let store = site.owner.store();
    is_sound(store, site.anna);
    let now = picture(store, site.anna);
    assert_eq!(bodies(&now), bodies(&history[0]), "all that was in the backup, and nothing else");
    holds_against(&history, &now);
    let (validity, _, inbox) = &now["INBOX"];
    assert_eq!(*validity, history[0]["INBOX"].0, "INBOX can be trusted");
    let uids: Vec<u32> = inbox.keys().copied().collect();
    assert_eq!(uids, [1, 5, 6, 7, 8, 9, 15, 16, 17], "what went came back behind what came since");
    assert_eq!(now["Work"].0, history[0]["Work"].0);
    for folder in ["Gone", "Anew"] {
        let known = history.iter().filter_map(|picture| picture.get(folder)).map(|(validity, ..)| *validity).max();
        assert!(Some(now[folder].0) > known, "{folder}");
    }
    assert!(now["INBOX"].1 > history[1].values().map(|(_, modseq, _)| *modseq).max().expect("some"));
    let told = done.lines.join("\n");
    assert!(told.contains("takes the place of the 16 messages"), "{told}");
    assert!(told.contains("3 messages that had gone since came back under new UIDs"), "{told}");
    // The new account goes on like any other, and what was there is kept.
    place(store, site.anna, "INBOX", "after", 100);
    holds_against(&history, &picture(store, site.anna));
    is_sound(store, site.anna);
    let accounts = site.data_dir().join("accounts");
    let mut names: Vec<String> = fs::read_dir(&accounts)
        .expect("there")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(names.len() == 2 && names[1].starts_with("1.replaced-"), "{names:?}");
}

#[test]
fn a_client_that_comes_back_is_told_of_everything() {
    let (site, _) = eventful();
    let store = site.owner.store();
    let (known, since) = wait_for(async {
        let view = view(store, site.anna, "INBOX").await;
        (view.membership().all(), view.modseq())
    });
    let source = Source::open(&site.dir()).expect("opened");
    restore(&source, &site.data_dir(), &site.owner, site.anna, site.anna);
    wait_for(async {
        let view = view(store, site.anna, "INBOX").await;
        let vanished = view.vanished_since(since, known.clone()).await.expect("told");
        let there = view.membership().all();
        assert_eq!(vanished, known.difference(&there), "what came after the backup is gone");
        let changed: UidRuns = view.changed_since(since).await.expect("told").iter().map(|row| row.uid.0).collect();
        assert_eq!(changed, there, "flags may have gone back, so all are told");
        assert!(view.modseq() > since && ModSeq(0) < since);
    });
}

#[test]
fn over_a_store_that_cannot_be_read_every_folder_gets_a_new_uid_validity() {
    for damage in 0..3 {
        let (site, history) = eventful();
        let id = site.anna;
        site.owner.hold(id, crate::mailstore::Purpose::Exchange).expect("closed");
        site.owner.release(id);
        let database = site.data_dir().join(format!("accounts/{id}/mail.db"));
        match damage {
            0 => fs::write(&database, "").expect("emptied"),
            1 => fs::remove_dir_all(site.data_dir().join(format!("accounts/{id}"))).expect("removed"),
            _ => {
                let mut octets = fs::read(&database).expect("read");
                octets[100..200].fill(0x77);
                fs::write(&database, octets).expect("written");
            }
        }
        let source = Source::open(&site.dir()).expect("opened");
        let done = restore(&source, &site.data_dir(), &site.owner, id, id);
        assert!(done.lines.iter().any(|line| line.contains("every folder gets a new UIDVALIDITY")), "{:?}", done.lines);
        let now = picture(site.owner.store(), id);
        assert_eq!(bodies(&now), bodies(&history[0]), "damage {damage}");
        holds_against(&history, &now);
        let highest = history.iter().flat_map(BTreeMap::values).map(|(validity, ..)| *validity).max();
        assert!(now.values().all(|(validity, ..)| Some(*validity) > highest), "damage {damage}");
        is_sound(site.owner.store(), id);
    }
}

#[test]
fn elsewhere_under_another_number_and_another_key() {
    let (site, history) = eventful();
    let other = Site::new();
    let source = Source::open(&site.dir()).expect("opened");
    let users = source.users(&other.data_dir()).expect("read");
    let anna = users.open().expect("opened").look_up("anna").expect("asked").expect("there");
    assert_eq!(anna.account, site.anna);
    drop(users);
    assert!(!other.data_dir().join("restore.users").exists());
    let carl = Directory::open(&other.data_dir()).expect("opened").add_user("carl", &[]).expect("added").account;
    assert_ne!(carl, site.anna);
    let done = restore(&source, &other.data_dir(), &other.owner, site.anna, carl);
    assert_eq!(done.said, Vec::<String>::new());
    let store = other.owner.store();
    is_sound(store, carl);
    assert_eq!(bodies(&picture(store, carl)), bodies(&history[0]));
    assert!(source.install_users(&other.data_dir()).is_err_and(|text| text.contains("has users already")));
    let empty = tempfile::tempdir().expect("a folder");
    source.install_users(empty.path()).expect("installed");
    let there = Directory::open_existing(empty.path()).expect("opened").look_up("anna").expect("asked");
    assert_eq!(there.expect("there").account, site.anna);
}

#[test]
fn what_is_damaged_in_the_backup_comes_back_as_a_note() {
    let site = Site::new();
    site.place("small", 900);
    site.place("large one", 200_000);
    site.backup(1000);
    let blobs = site.dir().join("accounts/1/blobs");
    let shelf = fs::read_dir(&blobs).expect("there").flatten().next().expect("a shelf").path();
    let file = fs::read_dir(shelf).expect("there").flatten().next().expect("a file").path();
    let mut octets = fs::read(&file).expect("read");
    octets[9] ^= 1;
    fs::write(&file, octets).expect("written");
    let source = Source::open(&site.dir()).expect("opened");
    let done = restore(&source, &site.data_dir(), &site.owner, site.anna, site.anna);
    assert!(done.said[0].ends_with("is damaged in the backup"), "{:?}", done.said);
    assert!(done.lines.iter().any(|line| line.contains("a note stands in its place")), "{:?}", done.lines);
    is_sound(site.owner.store(), site.anna);
    assert_eq!(picture(site.owner.store(), site.anna)["INBOX"].2.len(), 2);
}

#[test]
fn one_folder_comes_back_beside_what_is_there() {
    let site = Site::new();
    let (store, anna) = (site.owner.store(), site.anna);
    for folder in ["Work", "Work/2025", "Other"] {
        create(store, anna, folder);
    }
    place(store, anna, "Work", "plan", 700);
    place(store, anna, "Work/2025", "large plan", 200_000);
    place(store, anna, "Other", "another", 700);
    let before = picture(store, anna);
    site.backup(1000);
    for folder in ["Work/2025", "Work"] {
        delete(store, anna, folder);
    }
    // So that nothing of it is left in the account.
    wait_for(async { store.account(anna).await.expect("opens").sweep(-10).await.expect("swept") });
    let source = Source::open(&site.dir()).expect("opened");
    let order =
        Order { source: &source, data_dir: &site.data_dir(), from: anna, to: anna, name: "anna", now_secs: NOW };
    let owner: Arc<dyn Owner> = site.owner.clone();
    let usual = usual_name(&source, anna, &name("Work")).expect("named");
    assert_eq!(usual.as_str(), "Work (restored 1970-01-01)");
    let take = |to: &MailboxName, may_exist| {
        let target = Target { from: name("Work"), to: to.clone(), may_exist };
        restore_folder(&order, &target, &owner, &mut Listener::default())
    };
    let told = take(&usual, false).expect("restored");
    assert_eq!(told, "2 messages in 2 folders came back into Work (restored 1970-01-01)");
    assert!(take(&usual, false).expect("restored").ends_with("(restored 1970-01-01) 2"));
    take(&name("Other"), true).expect("restored");
    let after = picture(store, anna);
    let messages = |picture: &Picture, folder: &str| picture[folder].2.values().cloned().collect::<Vec<_>>();
    assert_eq!(messages(&after, "Work (restored 1970-01-01)/2025"), messages(&before, "Work/2025"));
    assert_eq!(messages(&after, "Work (restored 1970-01-01) 2"), messages(&before, "Work"));
    assert_eq!(messages(&after, "Other").len(), 2);
    is_sound(store, anna);
    let target = Target { from: name("Nowhere"), to: usual, may_exist: false };
    let none = restore_folder(&order, &target, &owner, &mut Listener::default());
    assert_eq!(none, Err("the backup has no folder Nowhere".into()));
    let left = fs::read_dir(site.data_dir().join("accounts")).expect("there").count();
    assert_eq!(left, 1, "nothing lies about");
}

#[test]
fn a_damaged_account_is_repaired_and_one_that_is_fine_left_alone() {
    let (site, history) = eventful();
    let owner: Arc<dyn Owner> = site.owner.clone();
    let mut listener = Listener::default();
    let told = repair_account(&site.data_dir(), site.anna, NOW, &owner, &mut listener).expect("looked at");
    assert_eq!(told, "nothing is damaged, and nothing was changed");
    site.owner.hold(site.anna, crate::mailstore::Purpose::Exchange).expect("closed");
    site.owner.release(site.anna);
    let database = site.data_dir().join("accounts/1/mail.db");
    let mut octets = fs::read(&database).expect("read");
    octets[100..110].fill(0x77);
    fs::write(&database, octets).expect("written");
    let told = repair_account(&site.data_dir(), site.anna, NOW, &owner, &mut listener).expect("repaired");
    assert!(told.starts_with("repaired: 16 messages looked at") && told.contains("1.damaged-20"), "{told}");
    is_sound(site.owner.store(), site.anna);
    let now = picture(site.owner.store(), site.anna);
    assert_eq!(bodies(&now), bodies(&history[1]));
    holds_against(&history, &now);
    wait_for(async {
        let account = site.owner.store().account(site.anna).await.expect("opens");
        account.undelete(RemovedFilter::default(), None).await.expect("undeleted");
    });
    is_sound(site.owner.store(), site.anna);
}

#[test]
fn what_a_killed_command_left_is_cleared_and_a_second_one_waits_its_turn() {
    let (site, _) = eventful();
    let accounts = site.data_dir().join("accounts");
    for left in ["1.staged", "1.workshop/new", "1.import"] {
        fs::create_dir_all(accounts.join(left)).expect("made");
    }
    let source = Source::open(&site.dir()).expect("opened");
    let order = Order {
        source: &source,
        data_dir: &site.data_dir(),
        from: site.anna,
        to: site.anna,
        name: "anna",
        now_secs: NOW,
    };
    let (_, old) = announce(&order).expect("announced");
    assert!(matches!(old, Old::Readable { .. }));
    let owner: Arc<dyn Owner> = site.owner.clone();
    let busy = super::files::lock_dir(&accounts).expect("locked").expect("free");
    let refused = restore_account(&order, &old, &owner, &mut Listener::default());
    assert_eq!(refused.err().as_deref(), Some("another restore or repair is at work"));
    drop(busy);
    restore_account(&order, &old, &owner, &mut Listener::default()).expect("restored");
    assert!(!accounts.join("1.workshop").exists() && !accounts.join("1.import").exists());
    is_sound(site.owner.store(), site.anna);
}
