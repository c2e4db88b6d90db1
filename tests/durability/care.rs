//! Backup while clients write, restore elsewhere, and kill -9 on the way: of the backup, of restore and repair, and of
//! the server that exchanges the files. A backup holds a moment each client was at; an exchange leaves the old account
//! or the new one.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::installation::{Installation, Server};
use crate::ledger::{Digest, Flags, Mailboxes};
use crate::picture;
use crate::random::{Random, message, my_turn, seed};
use crate::writer::{Broken, Habits, Step, Writer};

const USERS: [&str; 2] = ["anna", "bert"];
const WRITERS: usize = 4;
/// SIGABRT, which is how a program ends at its point.
const ABORTED: i32 = 6;
/// Far more than is needed; only a hang is told by it.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is compared after a restore: UIDs stay, UIDVALIDITY and modseqs are new.
type Content = BTreeMap<String, BTreeMap<u32, (Digest, Flags)>>;

fn content(mailboxes: &Mailboxes) -> Content {
    let messages = |mailbox: &crate::ledger::Mailbox| {
        mailbox.messages.iter().map(|(uid, message)| (*uid, (message.body, message.flags.clone()))).collect()
    };
    mailboxes.iter().map(|(name, mailbox)| (name.clone(), messages(mailbox))).collect()
}

fn succeeds(output: &Output) -> String {
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{said}{complained}", output.status);
    said.into_owned()
}

/// Runs a command; a point that does not come is no fault of the test. True: it ended there.
fn crashes_at(installation: &Installation, words: &[&str], point: &str) -> bool {
    let output = installation.run(words, Some(point));
    let was_hit = output.status.signal() == Some(ABORTED);
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(was_hit || output.status.success(), "{words:?} at {point}: {}\n{complained}", output.status);
    was_hit
}

/// Clients that write until they are told to stop.
struct Crowd {
    installation: Installation,
    server: Server,
    writers: Vec<Writer>,
}

impl Crowd {
    fn new(random: &mut Random) -> Self {
        let habits = Habits { messages: 40, mailboxes: 5, shares_inbox: false, large_percent: 10, huge_percent: 8 };
        let writers = (0..WRITERS).map(|n| Writer::new(format!("w{n}"), habits.clone(), random.branch())).collect();
        let installation = Installation::new(&USERS, "min_free_bytes = 0");
        let server = installation.start().unwrap_or_else(|text| panic!("{text}"));
        Self { installation, server, writers }
    }

    /// Has all of them write while `work` is done, from the moment when each has done something until it is over.
    /// Gives how many changes each had acknowledged before and after.
    fn while_writing<T>(&mut self, work: impl FnOnce(&Installation, &Server) -> T) -> (T, Vec<(usize, usize)>) {
        let (stop, address) = (AtomicBool::new(false), self.server.address.clone());
        let done: Vec<AtomicUsize> = self.writers.iter().map(|writer| AtomicUsize::new(writer.journal.len())).collect();
        let began: Vec<usize> = done.iter().map(|count| count.load(Ordering::Acquire)).collect();
        let (installation, server) = (&self.installation, &self.server);
        let (result, before, after) = std::thread::scope(|scope| {
            for (number, writer) in self.writers.iter_mut().enumerate() {
                let (stop, done, address) = (&stop, &done[number], &address);
                scope.spawn(move || write(writer, address, USERS[number % USERS.len()], stop, done));
            }
            let deadline = Instant::now() + PATIENCE;
            while done.iter().zip(&began).any(|(count, began)| count.load(Ordering::Acquire) < began + 40) {
                assert!(Instant::now() < deadline, "the clients get nothing done\n{}", server.log_tail());
                std::thread::sleep(Duration::from_millis(2));
            }
            let count = || done.iter().map(|count| count.load(Ordering::Acquire)).collect::<Vec<_>>();
            let before = count();
            let result = work(installation, server);
            let after = count();
            stop.store(true, Ordering::Release);
            (result, before, after)
        });
        (result, before.into_iter().zip(after).collect())
    }

    fn backup_dir(&self) -> PathBuf {
        self.installation.home.join("backup")
    }

    /// Restores the backup on another machine, and holds it against what each client was promised at some moment
    /// between the beginning and the end of the backup.
    fn compare_elsewhere(&self, spans: &[(usize, usize)]) {
        let elsewhere = Installation::new(&[], "min_free_bytes = 0");
        let dir = self.backup_dir();
        let dir = dir.to_str().expect("a path");
        succeeds(&elsewhere.run(&["backup", "--verify", dir], None));
        succeeds(&elsewhere.run(&["restore", dir, "--all", "--yes"], None));
        elsewhere.check().unwrap_or_else(|text| panic!("{text}"));
        let server = elsewhere.start().unwrap_or_else(|text| panic!("{text}"));
        for (user, name) in USERS.iter().enumerate() {
            let mut client = server.sign_in(&format!("c{user}"), name).expect("the old password");
            let restored = picture::read(&mut client).unwrap_or_else(|text| panic!("{name}: {text}"));
            for (number, writer) in self.writers.iter().enumerate().filter(|(n, _)| n % USERS.len() == user) {
                let found = content(&picture::below(&restored, &writer.root));
                let (from, to) = spans[number];
                // What is acknowledged after the copy may be in it, and one change more may be on its way.
                let moments = (from.saturating_sub(1)..(to + 1).min(writer.journal.len()))
                    .map(|at| content(&writer.journal[at].ledger.mailboxes));
                let fits = moments.into_iter().any(|moment| moment == found);
                assert!(fits, "{}: the backup is of no moment between change {from} and {to}: {found:?}", writer.root);
            }
        }
        assert_eq!(server.panicked(), None);
    }
}

fn write(writer: &mut Writer, address: &str, user: &str, stop: &AtomicBool, done: &AtomicUsize) {
    let tag = format!("{}x{}", writer.root, writer.journal.len());
    let mut client = crate::installation::sign_in(address, &tag, user).expect("sign in");
    writer.reconnected();
    while !stop.load(Ordering::Acquire) {
        match writer.step(&mut client) {
            Ok(Step::Done) => done.store(writer.journal.len(), Ordering::Release),
            Ok(Step::Refused(text)) => panic!("{}: refused: {text}", writer.root),
            Err(Broken::Lost(error)) => panic!("{}: lost: {error}", writer.root),
            Err(Broken::Wrong(text)) => panic!("{}: {text}", writer.root),
        }
    }
}

#[test]
fn a_backup_taken_while_clients_write_holds_every_message_they_were_promised() {
    let _turn = my_turn();
    let mut crowd = Crowd::new(&mut Random::new(seed("care")));
    let dir = crowd.backup_dir();
    let dir = dir.to_str().expect("a path").to_owned();
    for _ in 0..2 {
        let (said, spans) = crowd.while_writing(|installation, _| succeeds(&installation.run(&["backup", &dir], None)));
        assert_eq!(said.matches(": complete, ").count(), USERS.len(), "{said}");
        crowd.compare_elsewhere(&spans);
    }
    assert_eq!(crowd.server.panicked(), None);
}

/// Where a backup is killed. After each the copy of before still counts, and the next one is complete.
const BACKUP_POINTS: [&str; 7] = [
    "backup.step:2",
    "backup.after_database:1",
    "backup.after_blob:1",
    "backup.after_blob:3",
    "backup.before_commit:1",
    "backup.after_commit:2",
    "backup.before_manifest:1",
];

#[test]
fn a_killed_backup_leaves_the_one_before_and_harms_nobody() {
    let _turn = my_turn();
    let mut crowd = Crowd::new(&mut Random::new(seed("care")));
    let dir = crowd.backup_dir();
    let dir = dir.to_str().expect("a path").to_owned();
    crowd.while_writing(|installation, _| succeeds(&installation.run(&["backup", &dir], None)));
    let mut missed = Vec::new();
    for point in BACKUP_POINTS {
        let (was_hit, _) = crowd.while_writing(|installation, _| {
            let was_hit = crashes_at(installation, &["backup", &dir], point);
            succeeds(&installation.run(&["backup", "--verify", &dir], None));
            was_hit
        });
        missed.extend((!was_hit).then_some(point));
    }
    // How many large messages came since the last time is up to the clients.
    missed.retain(|point| !point.starts_with("backup.after_blob"));
    assert!(missed.is_empty(), "{missed:?} were not passed");
    let (_, spans) = crowd.while_writing(|installation, _| succeeds(&installation.run(&["backup", &dir], None)));
    crowd.compare_elsewhere(&spans);
    assert_eq!(crowd.server.panicked(), None);
    crowd.server.kill();
    crowd.installation.check().unwrap_or_else(|text| panic!("{text}"));
}

/// An account whose backup and whose present differ, and how to tell which one is there.
struct TwoStates {
    installation: Installation,
    old: Content,
    new: Content,
}

impl TwoStates {
    fn new() -> Self {
        let installation = Installation::new(&["anna"], "min_free_bytes = 0");
        let mut random = Random::new(5);
        let server = installation.start().unwrap_or_else(|text| panic!("{text}"));
        let mut client = server.sign_in("t", "anna").expect("sign in");
        let mut append = |client: &mut Client, name: &str, size: usize| {
            let body = message(name, size, &mut random);
            let appended = client.command_with("APPEND INBOX ", &[("", &body)]).expect("an answer");
            assert!(appended.code("APPENDUID").is_some(), "{appended:?}");
        };
        for n in 0..12 {
            append(&mut client, &format!("b{n}"), if n % 4 == 0 { 150 * 1024 } else { 900 });
        }
        let backup = installation.home.join("backup");
        succeeds(&installation.run(&["backup", backup.to_str().expect("a path")], None));
        for text in ["SELECT INBOX", "STORE 1:3 +FLAGS.SILENT (\\Deleted)", "EXPUNGE"] {
            picture::ask(&mut client, text).expect("done");
        }
        for n in 0..4 {
            append(&mut client, &format!("late{n}"), 900);
        }
        let old = content(&picture::read(&mut client).expect("read"));
        drop(server);
        // What a restore makes of it is seen once, without a crash.
        let twin = installation.twin();
        succeeds(&twin.run(&["restore", backup.to_str().expect("a path"), "anna", "--yes"], None));
        let new = Self::seen(&twin);
        assert_ne!(old, new);
        Self { installation, old, new }
    }

    fn seen(installation: &Installation) -> Content {
        installation.check().unwrap_or_else(|text| panic!("{text}"));
        let server = installation.start().unwrap_or_else(|text| panic!("{text}"));
        let mut client = server.sign_in("s", "anna").expect("sign in");
        content(&picture::read(&mut client).unwrap_or_else(|text| panic!("{text}\n{}", server.log_tail())))
    }

    fn backup(&self) -> String {
        self.installation.home.join("backup").to_str().expect("a path").to_owned()
    }

    fn account_files(&self, installation: &Installation) -> Vec<String> {
        let entries = std::fs::read_dir(installation.data_dir.join("accounts")).expect("there").flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// The points of a restore, and whether the new account counts from there on.
const RESTORE_POINTS: [(&str, bool); 6] = [
    ("restore.after_stage:1", false),
    ("restore.after_continue:1", false),
    ("exchange.before_intent:1", false),
    ("exchange.after_intent:1", true),
    ("exchange.after_away:1", true),
    ("exchange.after_rename:1", true),
];

#[test]
fn a_killed_restore_leaves_the_old_account_or_the_new_one() {
    let _turn = my_turn();
    let states = TwoStates::new();
    let backup = states.backup();
    for (point, is_new) in RESTORE_POINTS {
        let twin = states.installation.twin();
        assert!(crashes_at(&twin, &["restore", &backup, "anna", "--yes"], point), "{point} was not passed");
        let expected = if is_new { &states.new } else { &states.old };
        assert_eq!(&TwoStates::seen(&twin), expected, "killed at {point}");
        // And once more, over whatever the first one left behind.
        let restored = twin.run(&["restore", &backup, "anna", "--yes"], None);
        assert!(succeeds(&restored).contains("restored"), "after {point}");
        let seen = TwoStates::seen(&twin);
        let bodies = |content: &Content| content["INBOX"].values().map(|(body, _)| *body).collect::<Vec<_>>();
        let sorted = |mut all: Vec<Digest>| {
            all.sort();
            all
        };
        assert_eq!(sorted(bodies(&seen)), sorted(bodies(&states.new)), "after {point}");
        let names = states.account_files(&twin);
        assert!(names.iter().all(|name| name == "1" || name.starts_with("1.replaced-")), "{point}: {names:?}");
    }
}

#[test]
fn a_server_killed_while_it_exchanges_files_has_the_old_account_or_the_new_one() {
    let _turn = my_turn();
    let states = TwoStates::new();
    let backup = states.backup();
    for (point, is_new) in RESTORE_POINTS.into_iter().filter(|(point, _)| point.starts_with("exchange.")) {
        let twin = states.installation.twin();
        let mut server = twin.start_to_crash_at(point).unwrap_or_else(|text| panic!("{text}"));
        let mut client = server.sign_in("v", "anna").expect("sign in");
        picture::ask(&mut client, "SELECT INBOX").expect("selected");
        let output = twin.run(&["restore", &backup, "anna", "--yes"], None);
        assert!(!output.status.success(), "{point}: the server that was asked is gone");
        let ended = server.ended_within(PATIENCE).unwrap_or_else(|| panic!("{point} was not passed"));
        assert_eq!(ended.signal(), Some(ABORTED), "{point}\n{}", server.log_tail());
        // The session was told before its account was taken away.
        let last = client.command("NOOP");
        assert!(last.is_err() && client.was_told_bye(), "{last:?}");
        let expected = if is_new { &states.new } else { &states.old };
        assert_eq!(&TwoStates::seen(&twin), expected, "killed at {point}");
    }
}

#[test]
fn a_folder_comes_back_whole_or_not_at_all() {
    let _turn = my_turn();
    let states = TwoStates::new();
    let words = ["restore", &states.backup(), "anna", "--mailbox", "INBOX", "--to", "Back"];
    let twin = states.installation.twin();
    let mut server = twin.start_to_crash_at("take_in.before_commit:1").unwrap_or_else(|text| panic!("{text}"));
    assert!(!twin.run(&words, None).status.success());
    assert!(server.ended_within(PATIENCE).is_some(), "the point was not passed");
    assert_eq!(TwoStates::seen(&twin), states.old);
    succeeds(&twin.run(&words, None));
    assert_eq!(TwoStates::seen(&twin)["Back"].len(), 12);
}

#[test]
fn a_restore_through_the_running_server_ends_its_sessions_and_lets_them_come_back() {
    let _turn = my_turn();
    let states = TwoStates::new();
    let server = states.installation.start().unwrap_or_else(|text| panic!("{text}"));
    let mut client = server.sign_in("r", "anna").expect("sign in");
    picture::ask(&mut client, "SELECT INBOX").expect("selected");
    succeeds(&states.installation.run(&["restore", &states.backup(), "anna", "--yes"], None));
    assert!(client.command("NOOP").is_err() && client.was_told_bye());
    let mut client = server.sign_in("again", "anna").expect("sign in");
    assert_eq!(content(&picture::read(&mut client).expect("read")), states.new);
    let body = message("after", 900, &mut Random::new(9));
    assert!(client.command_with("APPEND INBOX ", &[("", &body)]).expect("an answer").code("APPENDUID").is_some());
    // One folder, beside what is there, while the session goes on.
    let said = succeeds(&states.installation.run(&["restore", &states.backup(), "anna", "--mailbox", "INBOX"], None));
    assert!(said.contains("12 messages in 1 folder came back into INBOX (restored "), "{said}");
    let listed = picture::ask(&mut client, "LIST \"\" \"INBOX (*\"").expect("listed");
    assert_eq!(listed.lines("LIST").count(), 1);
    assert_eq!(server.panicked(), None);
    drop(server);
    states.installation.check().unwrap_or_else(|text| panic!("{text}"));
}

#[test]
fn a_killed_repair_leaves_the_damaged_account_or_the_repaired_one() {
    let _turn = my_turn();
    let states = TwoStates::new();
    let damage = |installation: &Installation| {
        let database = installation.data_dir.join("accounts/1/mail.db");
        let mut octets = std::fs::read(&database).expect("read");
        octets[100..108].fill(0x77);
        std::fs::write(&database, octets).expect("written");
    };
    let points =
        ["repair.before_stage:1", "repair.before_exchange:1", "exchange.after_intent:1", "exchange.after_away:1"];
    for point in points {
        let twin = states.installation.twin();
        // The log of the killed server is written back, or it would hide the damage.
        twin.check().unwrap_or_else(|text| panic!("{text}"));
        damage(&twin);
        let database = twin.data_dir.join("accounts/1/mail.db");
        let before = std::fs::read(&database).expect("read");
        assert!(crashes_at(&twin, &["check", "anna", "--repair"], point), "{point} was not passed");
        if !point.starts_with("exchange.") {
            assert_eq!(std::fs::read(&database).expect("there"), before, "{point}: it is as it was");
            assert!(twin.check().is_err(), "{point}: it is damaged still");
            succeeds(&twin.run(&["check", "anna", "--repair"], None));
        }
        let bodies = |content: &Content| {
            let mut all: Vec<Digest> = content.values().flat_map(BTreeMap::values).map(|(body, _)| *body).collect();
            all.sort();
            all
        };
        assert_eq!(bodies(&TwoStates::seen(&twin)), bodies(&states.old), "{point}");
        let names = states.account_files(&twin);
        let kept = names.iter().find(|name| name.starts_with("1.damaged-")).expect("kept");
        let kept = std::fs::read(twin.data_dir.join("accounts").join(kept).join("mail.db")).expect("there");
        assert_eq!(kept, before, "{point}: what was damaged is kept as it was");
    }
}

/// Copies a tree of plain files and directories.
pub fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("there").flatten() {
        let target = to.join(entry.file_name());
        match entry.file_type().expect("known") {
            kind if kind.is_dir() => copy_tree(&entry.path(), &target),
            kind if kind.is_file() => _ = std::fs::copy(entry.path(), target).expect("copied"),
            _ => {}
        }
    }
}
