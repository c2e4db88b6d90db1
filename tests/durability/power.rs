//! The power test: the server works under strace, then the recorded log of its writes and syncs is
//! replayed to random points, keeping what was synced and a random part of the rest (see `disk`). On each
//! such disk `check` must be clean, and every answer sent before the cut must hold.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::disk::{Disk, Luck};
use crate::installation::{Installation, send_signal, strace_refused};
use crate::ledger::{Change, Digest, Ledger, Shared};
use crate::picture;
use crate::random::{Random, my_turn, repetitions, seed};
use crate::recorded::Recording;
use crate::strace;
use crate::writer::{Broken, Habits, Step, Writer};

const USERS: [&str; 2] = ["anna", "bert"];
const WRITERS: usize = 4;
const STEPS: usize = 60;
/// The store puts an idle account's write-ahead log away after 5 seconds. Cuts inside that are wanted,
/// and nothing announces it, so this one pause is time and not an event.
const IDLE: Duration = Duration::from_millis(6500);

#[test]
fn every_acknowledged_change_survives_a_power_cut() {
    let _turn = my_turn();
    if let Some(reason) = strace_refused() {
        eprintln!("power: SKIPPED, no tracing here: {reason}");
        return;
    }
    let mut random = Random::new(seed("power"));
    let workshop = tempfile::tempdir().expect("a temporary directory");
    let before = workshop.path().join("before");
    let (recording, writers) = record(&before, &workshop.path().join("log"), &mut random);
    let moments = acknowledged_at(&recording);
    let cuts = choose_cuts(&recording, &moments, &mut random);
    let (syncs, sent) = (recording.events.len(), moments.len());
    eprintln!(
        "power: {} cuts through {} moments, {syncs} file operations, {sent} answers",
        cuts.len(),
        recording.moments
    );
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(1, 4));
    let complaints: Vec<String> = std::thread::scope(|scope| {
        let (next, cuts, recording, writers, moments) = (&next, &cuts, &recording, &writers, &moments);
        let working = (0..workers).map(|_| {
            scope.spawn(move || {
                while let Some(cut) = cuts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(text) = cut.survive(recording, writers, moments) {
                        next.fetch_add(cuts.len(), Ordering::Relaxed);
                        return Some(format!("{cut:?}: {text}"));
                    }
                }
                None
            })
        });
        let working: Vec<_> = working.collect();
        working.into_iter().filter_map(|thread| thread.join().expect("a worker")).collect()
    });
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
}

/// Lets the writers work under strace, from a server's start to its orderly end.
fn record(before: &Path, log: &Path, random: &mut Random) -> (Recording, Vec<(usize, Writer)>) {
    let installation = Installation::new(&USERS, "min_free_bytes = 0");
    copy_tree(&installation.data_dir, before).expect("the state before the recording");
    let mut server = installation.start_traced(&strace::recording_to(log)).unwrap_or_else(|text| panic!("{text}"));
    let habits = Habits { messages: 20, mailboxes: 4, shares_inbox: true, large_percent: 6, huge_percent: 0 };
    let mut writers: Vec<(usize, Writer)> = (0..WRITERS)
        .map(|number| (number % USERS.len(), Writer::new(format!("w{number}"), habits.clone(), random.branch())))
        .collect();
    for part in 0..2 {
        std::thread::scope(|scope| {
            for (user, writer) in &mut writers {
                let server = &server;
                scope.spawn(move || {
                    let tag = format!("{}p{part}", writer.root);
                    let mut client = server.sign_in(&tag, USERS[*user]).expect("sign in");
                    writer.reconnected();
                    for _ in 0..STEPS / 2 {
                        match writer.step(&mut client) {
                            Ok(Step::Done) => {}
                            Ok(Step::Refused(text)) | Err(Broken::Wrong(text)) => panic!("{}: {text}", writer.root),
                            Err(Broken::Lost(error)) => panic!("{}: {error}", writer.root),
                        }
                    }
                });
            }
        });
        if part == 0 {
            std::thread::sleep(IDLE);
        }
    }
    send_signal(server.process_id(), rustix::process::Signal::TERM);
    assert!(server.ended_within(Duration::from_secs(60)).is_some(), "no end after SIGTERM:\n{}", server.log_tail());
    let text = std::fs::read_to_string(log).expect("the log");
    let calls = strace::calls(&text).unwrap_or_else(|text| panic!("{text}"));
    let recording = Recording::new(&installation.data_dir, before, &calls).unwrap_or_else(|text| panic!("{text}"));
    // Were a call missed, the end of the replay would differ from what is really there.
    let whole = tempfile::tempdir().expect("a temporary directory");
    let end = Disk::after_power_cut(&recording, usize::MAX, Luck::Everything, random);
    end.write_to(whole.path()).expect("written");
    same_tree(whole.path(), &installation.data_dir)
        .unwrap_or_else(|text| panic!("the recording is incomplete: {text}"));
    (recording, writers)
}

/// When each tagged OK was sent.
fn acknowledged_at(recording: &Recording) -> HashMap<String, usize> {
    let mut moments = HashMap::new();
    for (moment, line) in &recording.sent {
        let line = String::from_utf8_lossy(line);
        if let Some((tag, rest)) = line.split_once(' ')
            && rest.starts_with("OK")
        {
            moments.entry(tag.to_owned()).or_insert(*moment);
        }
    }
    moments
}

#[derive(Debug)]
struct Cut {
    moment: usize,
    luck: Luck,
    seed: u64,
}

fn choose_cuts(recording: &Recording, moments: &HashMap<String, usize>, random: &mut Random) -> Vec<Cut> {
    let mut answers: Vec<usize> = moments.values().copied().collect();
    answers.sort_unstable();
    (0..repetitions("PILLARBOX_POWER_CUTS", 200, 40))
        .map(|_| {
            // Right after an answer is when a sync that came too late shows; the rest is anywhere.
            let moment = match random.pick(&answers) {
                Some(answer) if random.chance(50) => answer + 1,
                _ => random.range(0, recording.moments as u64 + 1) as usize,
            };
            let luck = match random.range(0, 100) {
                0..40 => Luck::Nothing,
                40..90 => Luck::Mixed,
                _ => Luck::Everything,
            };
            Cut { moment, luck, seed: random.next() }
        })
        .collect()
}

impl Cut {
    fn survive(
        &self,
        recording: &Recording,
        writers: &[(usize, Writer)],
        moments: &HashMap<String, usize>,
    ) -> Result<(), String> {
        let keeper =
            tempfile::Builder::new().prefix("pillarbox-power-").tempdir().map_err(|error| error.to_string())?;
        let verdict = self.survive_in(keeper.path(), recording, writers, moments);
        if verdict.is_err() && std::env::var_os("PILLARBOX_KEEP").is_some() {
            eprintln!("kept: {}", keeper.keep().display());
        }
        verdict
    }

    fn survive_in(
        &self,
        home: &Path,
        recording: &Recording,
        writers: &[(usize, Writer)],
        moments: &HashMap<String, usize>,
    ) -> Result<(), String> {
        let home = home.canonicalize().map_err(|error| error.to_string())?;
        let installation = Installation::over(home.clone(), home.join("data"), "min_free_bytes = 0");
        let disk = Disk::after_power_cut(recording, self.moment, self.luck, &mut Random::new(self.seed));
        disk.write_to(&installation.data_dir).map_err(|error| error.to_string())?;
        installation.check()?;
        let server = installation.start()?;
        for (user, name) in USERS.iter().enumerate() {
            let mut client = server.sign_in("v", name).map_err(|error| format!("{name} signs in: {error}"))?;
            let picture =
                picture::read(&mut client).map_err(|text| format!("{name}: {text}\n{}", server.log_tail()))?;
            let mut inbox = Shared::default();
            let mut inbox_doubts: Vec<Vec<Digest>> = Vec::new();
            for (_, writer) in writers.iter().filter(|(of, _)| *of == user) {
                let is_told = |tag: &String| moments.get(tag).is_some_and(|moment| *moment < self.moment);
                let told = writer.journal.iter().take_while(|entry| is_told(&entry.tag)).count();
                let ledger = told.checked_sub(1).map_or(Ledger::default(), |last| writer.journal[last].ledger.clone());
                let doubt = writer.journal.get(told).map(|entry| entry.change.clone());
                if let Some(Change::Append { to, messages }) = &doubt
                    && to == "INBOX"
                {
                    inbox_doubts.push(messages.iter().map(|(body, _)| *body).collect());
                }
                let own = picture::below(&picture, &writer.root);
                ledger.reconcile(&own, doubt.as_slice()).map_err(|text| {
                    let tag = told.checked_sub(1).map_or("nothing", |last| &writer.journal[last].tag);
                    format!("{} was last told {tag}: {text}", writer.root)
                })?;
                for (validity, uid, body) in writer.journal[..told].iter().flat_map(|entry| &entry.inbox) {
                    inbox.promised(*validity, *uid, *body)?;
                }
            }
            inbox.reconcile(picture.get("INBOX").ok_or("there is no INBOX")?, &inbox_doubts)?;
        }
        server.panicked().map_or(Ok(()), Err)
    }
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn files_below(root: &Path, directory: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files_below(root, &path, found)?;
        } else if path.is_file() && !path.to_string_lossy().ends_with("-shm") {
            found.push(path.strip_prefix(root).unwrap_or(&path).to_owned());
        }
    }
    found.sort();
    Ok(())
}

fn same_tree(one: &Path, other: &Path) -> Result<(), String> {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    files_below(one, one, &mut left).map_err(|error| error.to_string())?;
    files_below(other, other, &mut right).map_err(|error| error.to_string())?;
    if left != right {
        return Err(format!("files {left:?} instead of {right:?}"));
    }
    match left.iter().find(|file| std::fs::read(one.join(file)).ok() != std::fs::read(other.join(file)).ok()) {
        Some(file) => Err(format!("{} differs", file.display())),
        None => Ok(()),
    }
}

/// The recorder and the replay tried on plain SQLite, where the truth is known: with synchronous=FULL
/// nothing acknowledged is lost, and with synchronous=OFF the replay must notice that something is.
#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::process::Command;

    const ROWS: i64 = 40;

    /// Not a test by itself: the program that the next one traces, run in a process of its own.
    #[test]
    fn sqlite_program_to_be_traced() {
        let (Ok(root), Ok(listener)) = (std::env::var("PILLARBOX_TRACED_ROOT"), std::env::var("PILLARBOX_TRACED_TO"))
        else {
            return;
        };
        let synchronous = std::env::var("PILLARBOX_TRACED_SYNC").expect("a mode");
        let mut answers = std::net::TcpStream::connect(listener).expect("connected");
        let database = rusqlite::Connection::open(Path::new(&root).join("d.db")).expect("opened");
        let pragmas =
            format!("PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous}; PRAGMA wal_autocheckpoint=0;");
        database.execute_batch(&pragmas).expect("pragmas");
        database.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY, b BLOB)").expect("a table");
        std::fs::File::open(&root).and_then(|directory| directory.sync_all()).expect("synced");
        for row in 0..ROWS {
            database.execute("INSERT INTO t VALUES (?1, zeroblob(3000))", [row]).expect("inserted");
            answers.write_all(format!("t{row} OK\r\n").as_bytes()).expect("sent");
            if row % 15 == 14 {
                database.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).expect("checkpoint");
            }
        }
    }

    fn record_sqlite(synchronous: &str) -> Recording {
        let root = tempfile::tempdir().expect("a directory");
        let workshop = tempfile::tempdir().expect("a directory");
        let path = root.path().canonicalize().expect("the directory just made");
        let log = workshop.path().join("log");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut program = Command::new("strace")
            .args(strace::recording_to(&log))
            .arg(std::env::current_exe().expect("this program"))
            .args(["--exact", "power::tests::sqlite_program_to_be_traced"])
            .env("PILLARBOX_TRACED_ROOT", &path)
            .env("PILLARBOX_TRACED_TO", listener.local_addr().expect("its address").to_string())
            .env("PILLARBOX_TRACED_SYNC", synchronous)
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("strace");
        let mut said = String::new();
        listener.accept().and_then(|(mut stream, _)| stream.read_to_string(&mut said)).expect("answers");
        assert!(program.wait().expect("its end").success());
        assert_eq!(said.lines().count() as i64, ROWS);
        let before = workshop.path().join("before");
        std::fs::create_dir(&before).expect("an empty directory");
        let calls = strace::calls(&std::fs::read_to_string(&log).expect("the log")).expect("calls");
        let recording = Recording::new(&path, &before, &calls).expect("a recording");
        let whole = tempfile::tempdir().expect("a directory");
        let end = Disk::after_power_cut(&recording, usize::MAX, Luck::Everything, &mut Random::new(1));
        end.write_to(whole.path()).expect("written");
        same_tree(whole.path(), &path).expect("a complete recording");
        recording
    }

    /// How many cuts lost a row, out of one after every answer.
    fn losses(recording: &Recording, luck: Luck) -> usize {
        let moments = acknowledged_at(recording);
        let is_lost = |row: &i64| {
            let disk =
                Disk::after_power_cut(recording, moments[&format!("t{row}")] + 1, luck, &mut Random::new(*row as u64));
            let target = tempfile::tempdir().expect("a directory");
            disk.write_to(target.path()).expect("written");
            let rows = || -> rusqlite::Result<(String, i64)> {
                let database = rusqlite::Connection::open(target.path().join("d.db"))?;
                let health = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
                Ok((health, database.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?))
            };
            !matches!(rows(), Ok((health, count)) if health == "ok" && count > *row)
        };
        (0..ROWS).filter(is_lost).count()
    }

    #[test]
    fn the_replay_tells_a_durable_program_from_a_careless_one() {
        if let Some(reason) = strace_refused() {
            eprintln!("power: SKIPPED, no tracing here: {reason}");
            return;
        }
        let durable = record_sqlite("FULL");
        for luck in [Luck::Nothing, Luck::Mixed, Luck::Everything] {
            assert_eq!(losses(&durable, luck), 0, "{luck:?}");
        }
        let careless = record_sqlite("OFF");
        assert_eq!(losses(&careless, Luck::Everything), 0);
        assert_eq!(losses(&careless, Luck::Nothing) as i64, ROWS);
    }
}
