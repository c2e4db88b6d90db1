//! A store is damaged in every way that could be thought of, repaired, and held against what was in it: the repair ends,
//! a check of the result is clean, every message whose octets survived is there byte for byte, and nothing of what was
//! kept aside has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{Repaired, Report, key_of, repair};
use crate::clock::Clock;
use crate::mailstore::{Account, MailStore, NewMessage, Options, RemovedFilter, View, wait_for};
use crate::types::command::FlagChange;
use crate::types::date::DateTime;
use crate::types::{AccountId, Flag, FlagSet, MailboxName, UidRuns};

const ONE: AccountId = AccountId(1);
const NOW: i64 = 1_800_000_000;
/// Far more than any repair here needs; only a hang is told by it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A message as it is seen: its octets' hash, and its flags.
type Message = (blake3::Hash, String);

/// Every message by folder and UID, and each folder's UIDVALIDITY.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Picture {
    messages: BTreeMap<(String, u32), Message>,
    validities: BTreeMap<String, u32>,
}

impl Picture {
    fn hashes(&self) -> BTreeSet<[u8; 32]> {
        self.messages.values().map(|(hash, _)| *hash.as_bytes()).collect()
    }

    fn folder(&self, name: &str) -> Vec<&Message> {
        self.messages.iter().filter(|((folder, _), _)| folder == name).map(|(_, message)| message).collect()
    }
}

struct Patient {
    home: tempfile::TempDir,
    before: Picture,
    /// What each message's octets were.
    octets: BTreeMap<[u8; 32], Vec<u8>>,
}

fn name(text: &str) -> MailboxName {
    MailboxName::new(text).expect("a name")
}

fn flags(words: &[&str]) -> FlagSet {
    words.iter().map(|word| Flag::named(word).expect("a flag")).collect()
}

fn open(home: &Path) -> MailStore {
    let options = Options { clock: Clock::fixed(NOW), min_free_bytes: u64::MAX, ..Options::default() };
    MailStore::open(home, options).expect("opens")
}

async fn place(account: &Account, folder: &str, texts: &[(String, usize)], words: &[&str]) {
    let mut messages = Vec::new();
    for (text, octets) in texts {
        let mut draft = account.draft();
        let body = format!(
            "From: Anna <anna@example.org>\r\nSubject: {text}\r\nMessage-ID: <{}@example.org>\r\n\r\n{}\r\n",
            text.replace(' ', "."),
            text.repeat(octets / text.len() + 1)
        );
        draft.write(body.as_bytes()).await.expect("taken");
        let internal_date = Some(DateTime { unix_seconds: NOW - 5000, zone_minutes: 60 });
        let prepared = draft.finish().await.expect("taken");
        messages.push(NewMessage { prepared, flags: flags(words), internal_date });
    }
    // The order itself: a test's disk may be nearly full, which the front door would refuse.
    let (folder, messages) = (name(folder), std::sync::Arc::new(messages));
    account.state.growing_order(0, move |turn| turn.place(&folder, &messages)).await.expect("placed");
}

async fn furnish(store: &MailStore) {
    let account = store.account(ONE).await.expect("opens");
    for folder in ["Work/2025/Q1", "Empty"] {
        let folder = name(folder);
        account.state.growing_order(0, move |turn| turn.create(&folder, "")).await.expect("created");
    }
    let texts = |prefix: &str, count: usize, octets: usize| -> Vec<(String, usize)> {
        (0..count).map(|n| (format!("{prefix} number {n}"), octets + 97 * n)).collect()
    };
    place(&account, "INBOX", &texts("short", 60, 300), &[]).await;
    place(&account, "INBOX", &texts("middling", 12, 20_000), &["\\Seen", "$Work"]).await;
    place(&account, "INBOX", &texts("large", 4, 150_000), &["\\Flagged"]).await;
    place(&account, "Work/2025/Q1", &texts("project", 30, 900), &["\\Seen", "later"]).await;
    place(&account, "Trash", &texts("rubbish", 10, 500), &[]).await;
    let view = account.open(&MailboxName::inbox(), false).await.expect("opens");
    let all: UidRuns = view.membership().all().iter().filter(|uid| uid % 3 == 0).collect();
    let order = crate::mailstore::SetFlags {
        uids: all.clone(),
        change: FlagChange::Add,
        flags: flags(&["\\Deleted"]),
        unchanged_since: None,
        told: view.modseq(),
        own: Vec::new(),
    };
    view.set_flags(order).await.expect("set");
    view.expunge(Some(UidRuns::range(1, 20))).await.expect("expunged");
    let target = name("Work");
    let source = view.mailbox();
    let copy = account.state.growing_order(0, move |turn| {
        let target = turn.selectable(&target)?;
        let modseq = turn.next_modseq();
        turn.copy_rows(source, target.id, &UidRuns::range(50, 76), modseq)
    });
    copy.await.expect("copied");
    account.delete(&name("Trash")).await.expect("deleted");
}

async fn body(view: &View, row: &crate::mailstore::Row) -> Result<Vec<u8>, crate::mailstore::Error> {
    let mut stream = view.stream(row.content, row.size, 0, u64::from(row.size));
    let mut octets = Vec::new();
    while let Some(piece) = stream.next().await? {
        octets.extend(piece);
    }
    Ok(octets)
}

/// Reads everything as a client would.
fn picture(store: &MailStore) -> (Picture, BTreeMap<[u8; 32], Vec<u8>>) {
    wait_for(async {
        let account = store.account(ONE).await.expect("opens");
        let (mut picture, mut all) = (Picture::default(), BTreeMap::new());
        for listed in account.mailboxes().0.into_iter().filter(|listed| !listed.is_noselect) {
            let view = account.open(&listed.name, true).await.expect("opens");
            picture.validities.insert(listed.name.to_string(), view.uid_validity().0);
            for (span, piece) in view.by_span(&view.membership().all()) {
                for row in view.rows(span, &piece).await.expect("read") {
                    let octets = body(&view, &row).await.expect("whole");
                    let hash = blake3::hash(&octets);
                    all.insert(*hash.as_bytes(), octets);
                    picture.messages.insert((listed.name.to_string(), row.uid.0), (hash, view.flags(&row).wire()));
                }
            }
        }
        (picture, all)
    })
}

/// Every file with its octets' hash.
fn files(dir: &Path) -> BTreeMap<PathBuf, blake3::Hash> {
    let (mut found, mut left) = (BTreeMap::new(), vec![dir.to_path_buf()]);
    while let Some(path) = left.pop() {
        for entry in fs::read_dir(&path).expect("a folder").flatten() {
            if entry.file_type().expect("known").is_dir() {
                left.push(entry.path());
            } else {
                let below = entry.path().strip_prefix(dir).expect("below").to_path_buf();
                found.insert(below, blake3::hash(&fs::read(entry.path()).expect("read")));
            }
        }
    }
    found
}

impl Patient {
    fn new() -> Patient {
        let home = tempfile::tempdir().expect("a folder");
        let store = open(home.path());
        wait_for(furnish(&store));
        let (before, octets) = picture(&store);
        assert_eq!(store.check_now(ONE).expect("checked").problems, Vec::<String>::new());
        store.close();
        Patient { home, before, octets }
    }

    /// The same patient once more.
    fn twin(&self) -> Patient {
        let home = tempfile::tempdir().expect("a folder");
        let mut left = vec![PathBuf::new()];
        while let Some(below) = left.pop() {
            fs::create_dir_all(home.path().join(&below)).expect("made");
            for entry in fs::read_dir(self.home.path().join(&below)).expect("a folder").flatten() {
                let below = below.join(entry.file_name());
                if entry.file_type().expect("known").is_dir() {
                    left.push(below);
                } else if entry.file_name() != "ballast" {
                    fs::copy(entry.path(), home.path().join(below)).expect("copied");
                }
            }
        }
        Patient { home, before: self.before.clone(), octets: self.octets.clone() }
    }

    fn account(&self) -> PathBuf {
        self.home.path().join("accounts/1")
    }

    fn sql(&self, sql: &str) {
        let conn = Connection::open(self.account().join("mail.db")).expect("opens");
        conn.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("written back");
    }

    fn number(&self, sql: &str) -> i64 {
        let conn = Connection::open(self.account().join("mail.db")).expect("opens");
        conn.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    fn blobs(&self) -> Vec<PathBuf> {
        let files = files(&self.account().join("blobs"));
        files.into_keys().map(|below| self.account().join("blobs").join(below)).collect()
    }

    /// Hashes of messages whose octets are there still, as SQLite and the file system give them.
    fn surviving(&self) -> BTreeSet<[u8; 32]> {
        let mut surviving: BTreeSet<[u8; 32]> =
            self.blobs().iter().map(|path| *blake3::hash(&fs::read(path).unwrap_or_default()).as_bytes()).collect();
        if let Ok(conn) = Connection::open(self.account().join("mail.db")) {
            for id in 1..500 {
                let octets = conn.query_row("SELECT data FROM body WHERE id = ?", [id], |row| row.get::<_, Vec<u8>>(0));
                surviving.extend(octets.ok().map(|octets| *blake3::hash(&octets).as_bytes()));
            }
        }
        surviving.intersection(&self.before.hashes()).copied().collect()
    }

    /// Repairs, and holds what came of it against what all repairs promise.
    fn heal(&self) -> (Picture, Report) {
        self.heal_or(false).expect("repaired")
    }

    /// `is_random`: the damage may have hit nothing, or anything.
    fn heal_or(&self, is_random: bool) -> Option<(Picture, Report)> {
        // Looking on makes a log's side files; what the repair is given is what was there before.
        let surviving = self.twin().surviving();
        let before = files(&self.account());
        let accounts = self.home.path().join("accounts");
        let (workshop, staged) = (accounts.join("1.workshop"), accounts.join("1.staged"));
        let key = key_of(self.home.path()).expect("there");
        let started = Instant::now();
        let repaired = repair(&self.account(), &workshop, &staged, &key, NOW);
        assert!(started.elapsed() < PATIENCE, "took {:?}", started.elapsed());
        assert_eq!(files(&self.account()), before, "the damaged files are as they were");
        let report = match repaired.unwrap_or_else(|error| panic!("{error}")) {
            Repaired::Staged { report, .. } => report,
            Repaired::NotNeeded if is_random => return None,
            Repaired::NotNeeded => panic!("nothing was found"),
        };
        fs::remove_dir_all(&workshop).expect("removed");
        fs::rename(self.account(), accounts.join("1.kept")).expect("renamed");
        fs::rename(&staged, self.account()).expect("renamed");
        assert_eq!(files(&accounts.join("1.kept")), before, "nor by what became of them");

        let store = open(self.home.path());
        let check = store.check_now(ONE).expect("checked");
        assert_eq!(check.problems, Vec::<String>::new(), "{report:#?}");
        let (after, octets) = picture(&store);
        let mut lost: BTreeSet<[u8; 32]> = surviving.difference(&after.hashes()).copied().collect();
        if is_random {
            // Both places of a hash were hit: nobody can know any more that the octets are right. The note has them.
            let carried = octets.values().filter_map(|octets| attachment(octets));
            carried.for_each(|octets| _ = lost.remove(blake3::hash(&octets).as_bytes()));
        }
        let lost: Vec<_> = lost.iter().map(|hash| self.head(hash)).collect();
        assert!(lost.is_empty(), "lost {lost:?}\n{report:#?}");
        self.uids_mean_the_same(&after, &report);
        // It takes new mail and gives old mail back.
        wait_for(async {
            let account = store.account(ONE).await.expect("opens");
            place(&account, "INBOX", &[("after the repair".to_owned(), 200)], &["$New"]).await;
            account.undelete(RemovedFilter::default(), None).await.expect("undeleted");
        });
        assert_eq!(store.check_now(ONE).expect("checked").problems, Vec::<String>::new());
        store.close();
        Some((after, report))
    }

    fn head(&self, hash: &[u8; 32]) -> String {
        let octets = &self.octets[hash];
        String::from_utf8_lossy(&octets[..octets.len().min(80)]).into_owned()
    }

    /// With the same UIDVALIDITY a UID is still the same message, or none.
    fn uids_mean_the_same(&self, after: &Picture, report: &Report) {
        for ((folder, uid), (hash, _)) in &after.messages {
            let validity = |picture: &Picture| picture.validities.get(folder).copied();
            if validity(after) == validity(&self.before)
                && let Some((known, _)) = self.before.messages.get(&(folder.clone(), *uid))
            {
                assert_eq!(hash, known, "{folder} {uid} is another message now: {report:#?}");
            }
        }
        for (folder, validity) in &after.validities {
            let known = self.before.validities.get(folder).copied().unwrap_or(0);
            assert!(*validity >= known, "{folder}: UIDVALIDITY went back from {known} to {validity}");
        }
    }
}

/// The octets that a note carries.
fn attachment(note: &[u8]) -> Option<Vec<u8>> {
    let note = std::str::from_utf8(note).ok().filter(|note| note.starts_with("From: Pillarbox <postmaster@"))?;
    let base64 = note.split_once("base64\r\n\r\n")?.1.rsplit_once("\r\n--")?.0.replace("\r\n", "");
    base64::Engine::decode(&base64::engine::general_purpose::STANDARD, base64).ok()
}

#[test]
fn a_store_that_is_fine_is_left_alone() {
    let patient = Patient::new();
    let staged = patient.home.path().join("accounts/1.staged");
    assert_eq!(patient.heal_or(true), None);
    assert!(!staged.exists());
}

/// What each damage of one place leaves as it was.
#[test]
fn damage_of_what_is_derived_leaves_every_uid_and_flag_as_it_was() {
    let well = Patient::new();
    for sql in [
        "UPDATE mailbox SET messages = messages + 3, unseen = 0, deleted = 7, bytes = 1, deleted_bytes = 5",
        "UPDATE span SET unseen = unseen + 1, bytes = 0",
        "DELETE FROM structure WHERE cid % 3 = 0",
        "DELETE FROM sortkey WHERE cid % 5 = 0",
        "UPDATE structure SET parts = x'00'",
        "DELETE FROM msgref; DELETE FROM sortkey WHERE cid < 10",
        "UPDATE content SET refs = refs + 5 WHERE id % 2 = 0",
        "UPDATE content SET refs = 0",
        "UPDATE content SET size = size + 1, stored = stored + 1 WHERE id % 7 = 0",
        "UPDATE meta SET value = 1 WHERE key = 'uidvalidity'",
        "UPDATE removed SET cid = 9999 WHERE uid < 10",
        "DELETE FROM meta",
        "INSERT INTO expunged SELECT id, 3, 1, 4000000000 FROM mailbox WHERE name = 'Empty'",
        "INSERT INTO body VALUES (7777, x'00')",
    ] {
        let patient = well.twin();
        patient.sql(sql);
        let (after, report) = patient.heal();
        let before: BTreeMap<_, _> = patient.before.messages.iter().collect();
        let kept: BTreeMap<_, _> = after.messages.iter().filter(|((folder, _), _)| folder != "Recovered").collect();
        assert_eq!(kept, before, "{sql}\n{report:#?}");
        let mut validities = after.validities.clone();
        validities.remove("Recovered");
        if !sql.contains("INTO expunged") {
            assert_eq!(validities, patient.before.validities, "{sql}\n{report:#?}");
        }
    }
}

#[test]
fn wrong_members_or_counters_of_uids_bring_a_new_uid_validity() {
    let well = Patient::new();
    for sql in [
        "UPDATE span SET count = count - 1",
        "UPDATE span SET members = zeroblob(128), count = 0",
        "DELETE FROM span",
        "UPDATE mailbox SET uidnext = 1",
        "UPDATE mailbox SET uidvalidity = 0",
        "UPDATE mailbox SET uidvalidity = 4000000000",
        "UPDATE mailbox SET uidnext = 4294967295; UPDATE span SET unseen = 9",
        "UPDATE content SET hash = zeroblob(31) WHERE id = 30",
    ] {
        eprintln!("{sql}");
        let patient = well.twin();
        patient.sql(sql);
        let (after, report) = patient.heal();
        assert_eq!(after.folder("INBOX"), patient.before.folder("INBOX"), "{sql}");
        let changed = after.validities["INBOX"] > patient.before.validities["INBOX"];
        // Without spans nothing contradicts the messages' own rows, but nothing confirms them either.
        assert!(changed, "{sql}\n{report:#?}");
    }
}

#[test]
fn a_damaged_body_becomes_a_note_that_carries_its_octets() {
    let well = Patient::new();
    let patient = well.twin();
    let cid = patient
        .number("SELECT m.cid FROM message m JOIN mailbox b ON b.id = m.mbox WHERE b.name = 'Q1' ORDER BY uid LIMIT 1");
    patient.sql(&format!("UPDATE body SET data = CAST(data || 'x' AS BLOB) WHERE id = {cid}"));
    let (after, report) = patient.heal();
    assert_eq!((report.damaged, report.lost), (1, 0), "{report:#?}");
    let folder = "Work/2025/Q1";
    assert_eq!(after.folder(folder).len(), patient.before.folder(folder).len());
    assert_eq!(after.validities[folder], patient.before.validities[folder]);
    let gone = patient.before.messages.keys().find(|(of, _)| of == folder).expect("a message");
    assert!(!after.messages.contains_key(gone), "its UID is gone with it");
    let ((_, uid), (hash, words)) = after.messages.iter().rfind(|((of, _), _)| of == folder).expect("the note");
    let highest = patient.before.messages.keys().filter(|(of, _)| of == folder).map(|(_, uid)| *uid).max();
    assert!(Some(*uid) > highest && words == "\\Seen later", "{uid} {words}");
    let store = open(patient.home.path());
    let note = String::from_utf8(picture(&store).1.remove(hash.as_bytes()).expect("read")).expect("text");
    store.close();
    assert!(note.contains("Subject: [damaged message] project number 0\r\n"), "{note}");
    let octets = attachment(note.as_bytes()).expect("attached");
    let (was, _) = &patient.before.messages[gone];
    assert_eq!(octets, [patient.octets[was.as_bytes()].as_slice(), b"x"].concat());
}

#[test]
fn bodies_in_files_are_found_noted_or_told_as_lost() {
    let well = Patient::new();
    // Damaged: a note with the octets, one for both folders it is in.
    let patient = well.twin();
    let path = patient.blobs().remove(0);
    let mut octets = fs::read(&path).expect("read");
    octets[70_000] ^= 4;
    fs::write(&path, &octets).expect("written");
    let (_, report) = patient.heal();
    assert_eq!((report.damaged, report.lost, report.recovered), (2, 0, 0), "{report:#?}");
    // Gone.
    let patient = well.twin();
    fs::remove_file(patient.blobs().remove(0)).expect("removed");
    let (after, report) = patient.heal();
    assert_eq!((report.damaged, report.lost), (2, 2), "{report:#?}");
    assert_eq!(after.messages.len(), patient.before.messages.len());
    // Gone under its name, but there under another with the same hash.
    let patient = well.twin();
    let path = patient.blobs().remove(0);
    let other = path.to_string_lossy().split_once('-').expect("a name").0.to_owned() + "-00000000000000aa";
    fs::rename(&path, other).expect("renamed");
    let (after, report) = patient.heal();
    assert_eq!((report.damaged, report.recovered), (0, 0), "{report:#?}");
    assert_eq!(after.messages, patient.before.messages);
    // Its row says that it is a short one.
    let patient = well.twin();
    patient.sql("UPDATE content SET file = NULL, place = 0 WHERE file IS NOT NULL");
    assert_eq!(patient.heal().0.messages, patient.before.messages);
}

#[test]
fn rows_that_lost_what_they_refer_to() {
    let well = Patient::new();
    // Without their sets of flags messages are as good as new.
    let patient = well.twin();
    patient.sql("DELETE FROM flagset WHERE names <> ''");
    let (after, report) = patient.heal();
    assert!(report.flagless > 0, "{report:#?}");
    let uids = |picture: &Picture| picture.messages.keys().cloned().collect::<Vec<_>>();
    assert_eq!(uids(&after), uids(&patient.before));
    assert_eq!(after.validities, patient.before.validities);
    // A content without its row is made again from its body; one in a file from the file.
    let patient = well.twin();
    patient.sql("DELETE FROM content WHERE id % 4 = 1");
    let (after, report) = patient.heal();
    assert_eq!(after.hashes(), patient.before.hashes(), "{report:#?}");
    // Messages without their folder.
    let patient = well.twin();
    let id = patient.number("SELECT id FROM mailbox WHERE name = 'Q1'");
    patient.sql(&format!("DELETE FROM mailbox WHERE id = {id}; DELETE FROM mailbox WHERE name = 'INBOX'"));
    let (after, _) = patient.heal();
    let found = format!("Recovered folder {id}");
    assert_eq!(after.folder(&found), patient.before.folder("Work/2025/Q1"));
    assert!(after.folder("INBOX").is_empty());
    // A ring of folders.
    let patient = well.twin();
    let id = patient.number("SELECT id FROM mailbox WHERE name = 'Q1'");
    patient.sql(&format!("UPDATE mailbox SET parent = {id} WHERE name = 'Work'"));
    assert_eq!(patient.heal().0.hashes(), patient.before.hashes());
    // Bodies without anything.
    let patient = well.twin();
    patient.sql(
        "DELETE FROM message; UPDATE mailbox SET messages = 0, unseen = 0, deleted = 0, bytes = 0; DELETE FROM span",
    );
    let (after, report) = patient.heal();
    assert_eq!(report.recovered as usize, after.folder("Recovered").len());
    assert_eq!(after.hashes(), patient.before.hashes());
    // Numbers that cannot be.
    let patient = well.twin();
    patient.sql(
        "UPDATE message SET idate = 9000000000000000000, idate_zone = 99999, saved = -9000000000000000000,
                            modseq = 9000000000000000000 WHERE uid % 5 = 0;
         UPDATE message SET cid = -5 WHERE uid = 21; UPDATE OR IGNORE message SET mbox = 99999999999 WHERE uid = 22;
         UPDATE mailbox SET modseq = -1, recent_from = 99999999999, keywords = '\\bad (' WHERE name = 'INBOX'",
    );
    patient.heal();
}

#[test]
fn files_without_rows_are_imported_when_they_are_messages_and_a_day_old() {
    let well = Patient::new();
    let put = |patient: &Patient, octets: &[u8], age: i64| {
        let hash = blake3::hash(octets).to_hex();
        let shelf = patient.account().join("blobs").join(&hash[..2]);
        fs::create_dir_all(&shelf).expect("made");
        let path = shelf.join(format!("{hash}-00000000000000aa"));
        fs::write(&path, octets).expect("written");
        let time = std::time::UNIX_EPOCH + Duration::from_secs((NOW - age) as u64);
        fs::File::options().write(true).open(&path).expect("opened").set_modified(time).expect("set");
    };
    let patient = well.twin();
    // Something else is wrong too; a file that nobody names is by itself no damage while it is young.
    patient.sql("UPDATE mailbox SET unseen = 77");
    put(&patient, b"Received: somewhere\r\nSubject: old\r\n\r\nbody\r\n", 100_000);
    put(&patient, b"Received: somewhere\r\nSubject: young\r\n\r\nbody\r\n", 1000);
    put(&patient, &[0; 5000], 100_000);
    let (after, report) = patient.heal();
    assert_eq!((report.recovered, after.folder("Recovered").len()), (1, 1), "{report:#?}");
    assert_eq!(after.messages.len(), patient.before.messages.len() + 1);
}

#[test]
fn a_database_that_is_gone_leaves_the_large_messages() {
    let well = Patient::new();
    for is_empty in [true, false] {
        let patient = well.twin();
        let database = patient.account().join("mail.db");
        let gone = if is_empty { fs::write(&database, "") } else { fs::remove_file(&database) };
        gone.expect("gone");
        let (after, report) = patient.heal();
        assert_eq!(after.folder("Recovered").len(), patient.blobs().len(), "{report:#?}");
        assert_eq!(after.messages.len(), patient.blobs().len());
        assert!(after.validities["INBOX"] > patient.before.validities["INBOX"]);
    }
}

#[test]
fn whole_pages_of_nonsense() {
    let well = Patient::new();
    let octets = fs::read(well.account().join("mail.db")).expect("read");
    let pages = octets.len() / 4096;
    for page in (0..pages).step_by(3) {
        let patient = well.twin();
        let mut bad = octets.clone();
        bad[page * 4096..(page + 1) * 4096].fill(if page % 2 == 0 { 0 } else { 0xa5 });
        fs::write(patient.account().join("mail.db"), bad).expect("written");
        patient.heal_or(true);
    }
    // Cut off in the middle.
    let patient = well.twin();
    fs::write(patient.account().join("mail.db"), &octets[..octets.len() / 2]).expect("written");
    patient.heal();
}

#[test]
fn random_octets_in_the_database() {
    let well = Patient::new();
    let octets = fs::read(well.account().join("mail.db")).expect("read");
    let mut repaired = 0;
    // PILLARBOX_DAMAGE_SEEDS asks for more of them.
    let seeds = std::env::var("PILLARBOX_DAMAGE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(50u64);
    for seed in 1..=seeds {
        let patient = well.twin();
        let mut bad = octets.clone();
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 20) as usize
        };
        for _ in 0..1 + seed % 50 * 4 {
            let at = next() % bad.len();
            bad[at] ^= 1 << (next() % 8);
        }
        fs::write(patient.account().join("mail.db"), bad).expect("written");
        eprintln!("seed {seed}");
        repaired += u64::from(patient.heal_or(true).is_some());
    }
    assert!(repaired * 2 > seeds, "only {repaired} of {seeds} were found damaged");
}
