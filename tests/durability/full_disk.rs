//! A disk that is really full: a small tmpfs, with and without the reserve the server keeps. Appending is
//! refused clearly and without effect, all else goes on, a server starts on a full disk, and STORE with
//! EXPUNGE brings the space back by itself, but not what another session still reads.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::fault::same_as_promised;
use crate::installation::{Installation, Server, device_of};
use crate::ledger::{Change, Digest, FlagChange, Flags};
use crate::picture;
use crate::random::{Random, message, my_turn};
use crate::readable::{body_of, told_gone};
use crate::writer::{Habits, Step, Writer};

const LARGE: usize = 150 * 1024;
const RESERVE_BYTES: u64 = 8 << 20;
/// How far below its reserve the disk is brought for what must be refused there. Housekeeping may give back as much
/// (a checkpoint shortens the log), but then the disk is seen to be above the reserve.
const DEPTH_BYTES: u64 = RESERVE_BYTES / 2;
/// More than one COPY or CREATE takes.
const ONE_COMMAND_BYTES: u64 = 256 * 1024;
/// The sweep takes its own time; a healthy server needs a small part of this.
const PATIENCE: Duration = Duration::from_secs(60);

/// A tmpfs that goes away with the test, even when the test fails.
struct SmallDisk {
    path: PathBuf,
    _keeper: tempfile::TempDir,
}

impl SmallDisk {
    fn new(mebibytes: u32) -> Result<Self, String> {
        let keeper = tempfile::Builder::new().prefix("pillarbox-full-").tempdir().map_err(|error| error.to_string())?;
        let path = keeper.path().canonicalize().map_err(|error| error.to_string())?;
        let before = device_of(&path);
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
            .arg(&path)
            .output()
            .map_err(|error| format!("mount: {error}"))?;
        if !output.status.success() || device_of(&path) == before {
            return Err(format!("mount: {}", String::from_utf8_lossy(&output.stderr)));
        }
        Ok(Self { path, _keeper: keeper })
    }

    fn free_bytes(&self) -> Result<u64, String> {
        let stat = rustix::fs::statvfs(&self.path).map_err(|error| format!("statvfs: {error}"))?;
        Ok(stat.f_bavail * stat.f_frsize)
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    /// Takes free space away until only so much is left.
    fn fill_to(&self, free: u64) -> Result<(), String> {
        let failed = |error: io::Error| format!("the filler: {error}");
        let mut file = OpenOptions::new().create(true).append(true).open(self.filler()).map_err(failed)?;
        let block = [0x5a; 64 * 1024];
        while self.free_bytes()? > free {
            file.write_all(&block).map_err(failed)?;
        }
        Ok(())
    }

    /// Takes all of it.
    fn fill_wholly(&self) -> Result<(), String> {
        let failed = |error: io::Error| format!("the filler: {error}");
        let mut file = OpenOptions::new().create(true).append(true).open(self.filler()).map_err(failed)?;
        for size in [64 * 1024, 4096, 1] {
            while file.write_all(&vec![0x5a; size]).is_ok() {}
        }
        Ok(())
    }

    fn take_away_the_filler(&self) -> Result<(), String> {
        fs::remove_file(self.filler()).map_err(|error| format!("the filler: {error}"))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let plain = Command::new("umount").arg(&self.path).stderr(Stdio::null()).status();
        if !plain.is_ok_and(|status| status.success()) {
            let _ = Command::new("umount").arg("-l").arg(&self.path).status();
        }
    }
}

#[test]
fn a_disk_below_its_reserve_refuses_and_can_be_emptied() {
    fill_and_empty(RESERVE_BYTES);
}

#[test]
fn a_disk_full_to_the_last_byte_refuses_and_can_be_emptied() {
    fill_and_empty(0);
}

/// Somebody was away for a while, so his account was closed; meanwhile others filled the disk, to the last byte.
#[test]
fn an_account_that_rested_is_read_on_a_full_disk() {
    on_a_small_disk(0, |installation, server, disk| {
        let mut random = Random::new(13);
        let habits = Habits { messages: 0, mailboxes: 0, shares_inbox: false, large_percent: 0, huge_percent: 0 };
        let mut writer = Writer::new("w".into(), habits, random.branch());
        let mut client = sign_in(server, "a")?;
        must(&mut writer, &mut client, Change::Create { name: "w".into() }, &[])?;
        let body = message("kept", 900, &mut random);
        must(&mut writer, &mut client, append_to("w", &body), std::slice::from_ref(&body))?;
        rests(server)?;
        disk.fill_wholly()?;
        same_as_promised(&mut writer, &mut client)?;
        disk.take_away_the_filler()?;
        drop(client);
        server.kill();
        installation.check()
    });
}

fn fill_and_empty(reserve: u64) {
    on_a_small_disk(reserve, |installation, server, disk| {
        empty_a_full_disk(installation, server, (reserve > 0).then_some(disk))
    });
}

/// A server with the user `anna` whose data lie on a disk of 48 MiB.
fn on_a_small_disk(reserve: u64, go: impl FnOnce(&Installation, &mut Server, &SmallDisk) -> Result<(), String>) {
    let _turn = my_turn();
    let disk = match SmallDisk::new(48) {
        Ok(disk) => disk,
        Err(reason) => return eprintln!("full disk: SKIPPED, a small disk needs root: {reason}"),
    };
    let limits = format!("min_free_bytes = {reserve}");
    let installation = Installation::over(disk.path.clone(), disk.path.join("data"), &limits);
    installation.add_user("anna");
    let mut server = installation.start().unwrap_or_else(|text| panic!("{text}"));
    let result = go(&installation, &mut server, &disk);
    let log = server.log_tail();
    drop(server);
    result.unwrap_or_else(|text| panic!("{text}\n{log}"));
}

/// `kept`: the disk, when the server keeps a reserve on it.
fn empty_a_full_disk(installation: &Installation, server: &mut Server, kept: Option<&SmallDisk>) -> Result<(), String> {
    let mut random = Random::new(11);
    let habits = Habits { messages: 0, mailboxes: 0, shares_inbox: false, large_percent: 0, huge_percent: 0 };
    let mut writer = Writer::new("w".into(), habits, random.branch());
    let mut client = sign_in(server, "a")?;
    let held = [message("held-1", 900, &mut random), message("held-2", LARGE, &mut random)];
    for name in ["w", "w/held"] {
        must(&mut writer, &mut client, Change::Create { name: name.into() }, &[])?;
    }
    for body in &held {
        must(&mut writer, &mut client, append_to("w/held", body), std::slice::from_ref(body))?;
    }

    // Large ones until one is refused, then small ones, so that the last free bytes are used too.
    for (kind, size) in [("large", LARGE), ("small", 3000)] {
        let mut refusal = None;
        for number in 0..4000 {
            let body = message(&format!("{kind}-{number}"), size, &mut random);
            if let Step::Refused(text) = perform(&mut writer, &mut client, append_to("w", &body), &[body])? {
                refusal = Some(text);
                break;
            }
        }
        let text = refusal.ok_or_else(|| format!("4000 {kind} messages and the disk is not full"))?;
        clear_refusal(&mut writer, &text)?;
    }
    picture::ask(&mut client, "NOOP")?;
    same_as_promised(&mut writer, &mut client)?;
    if let Some(disk) = kept {
        let mut is_done = |change: Change, bodies: &[Vec<u8>]| match perform(&mut writer, &mut client, change, bodies)?
        {
            Step::Done => Ok(true),
            Step::Refused(text) => clear_refusal(&mut writer, &text).map(|()| false),
        };
        let copy = |_| Change::Copy { from: "w/held".into(), to: "w".into(), uids: vec![1] };
        refused_below_the_reserve(disk, copy, &mut is_done)?;
        let create = |round| Change::Create { name: format!("w/new-{round}") };
        refused_below_the_reserve(disk, create, &mut is_done)?;
        disk.take_away_the_filler()?;
    }

    // A full disk must not keep the server from starting, nor from being emptied after that.
    drop(client);
    server.kill();
    *server = installation.start()?;
    let mut client = sign_in(server, "b")?;
    writer.reconnected();
    same_as_promised(&mut writer, &mut client)?;
    let mut reader = sign_in(server, "r")?;
    picture::ask(&mut reader, "SELECT w/held")?;

    for at in ["w", "w/held"] {
        let uids: Vec<u32> = writer.ledger.mailboxes[at].messages.keys().copied().collect();
        let flags = Flags::from(["\\deleted".to_owned()]);
        let mark = Change::Flag { at: at.into(), uids: uids.clone(), how: FlagChange::Replace, flags };
        must(&mut writer, &mut client, mark, &[])?;
        must(&mut writer, &mut client, Change::Expunge { at: at.into(), uids }, &[])?;
    }
    still_readable(&mut reader, &held)?;

    // The space comes back by itself: the sweep forgets keep_removed while the disk is low.
    let deadline = Instant::now() + PATIENCE;
    for number in 0.. {
        let body = message(&format!("again-{number}"), LARGE, &mut random);
        match perform(&mut writer, &mut client, append_to("w", &body), &[body])? {
            Step::Done => break,
            Step::Refused(text) if Instant::now() > deadline => {
                return Err(format!("still full after EXPUNGE: {text}"));
            }
            Step::Refused(text) => clear_refusal(&mut writer, &text)?,
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    // What another session still holds is not swept, low disk or not.
    still_readable(&mut reader, &held)?;
    if told_gone(&mut reader)? != held.len() {
        return Err("the reader was not told of the EXPUNGE".into());
    }
    same_as_promised(&mut writer, &mut client)?;
    drop((client, reader));
    if let Some(panic) = server.panicked() {
        return Err(panic);
    }
    server.kill();
    installation.check()?;
    *server = installation.start()?;
    same_as_promised(&mut writer, &mut sign_in(server, "c")?).map(|_| ())
}

/// Waits until the server has closed the accounts' databases, as it does when nobody asks for a while.
fn rests(server: &Server) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let folder = format!("/proc/{}/fd", server.process_id());
        let files = fs::read_dir(&folder).map_err(|error| format!("{folder}: {error}"))?;
        let is_open = |file: fs::DirEntry| fs::read_link(file.path()).is_ok_and(|path| path.ends_with("mail.db"));
        if !files.flatten().any(is_open) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err("the account was not closed".into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Brings the disk well below its reserve with a file that is no mail, and wants what `change` makes refused there.
/// When the server does it, housekeeping must have brought the disk above the reserve meanwhile; then once more.
fn refused_below_the_reserve(
    disk: &SmallDisk,
    change: impl Fn(usize) -> Change,
    mut is_done: impl FnMut(Change, &[Vec<u8>]) -> Result<bool, String>,
) -> Result<(), String> {
    const ROUNDS: usize = 20;
    let mut random = Random::new(12);
    for round in 0..ROUNDS {
        disk.fill_to(RESERVE_BYTES - DEPTH_BYTES)?;
        // The server believes a reading of the disk for a moment; a refusal shows that it has read it anew.
        let deadline = Instant::now() + PATIENCE;
        let mut body = message("low", 3000, &mut random);
        while is_done(append_to("w", &body), std::slice::from_ref(&body))? {
            if Instant::now() > deadline {
                return Err("APPEND goes on below the reserve".into());
            }
            body = message("low", 3000, &mut random);
        }
        let change = change(round);
        if !is_done(change.clone(), &[])? {
            return Ok(());
        }
        let free = disk.free_bytes()?;
        if free < RESERVE_BYTES - ONE_COMMAND_BYTES {
            return Err(format!("{change:?} was done with {free} octets free, below the reserve"));
        }
    }
    Err(format!("{ROUNDS} times the disk came above its reserve by itself"))
}

fn append_to(mailbox: &str, body: &[u8]) -> Change {
    Change::Append { to: mailbox.into(), messages: vec![(Digest::of(body), Flags::new())] }
}

fn perform(writer: &mut Writer, client: &mut Client, change: Change, bodies: &[Vec<u8>]) -> Result<Step, String> {
    writer.perform(client, change, bodies).map_err(|broken| format!("{broken:?}"))
}

fn must(writer: &mut Writer, client: &mut Client, change: Change, bodies: &[Vec<u8>]) -> Result<(), String> {
    match perform(writer, client, change, bodies)? {
        Step::Done => Ok(()),
        Step::Refused(text) => Err(format!("refused: {text}")),
    }
}

/// The refusal says why in a code a client knows, and such a refusal means nothing has happened.
fn clear_refusal(writer: &mut Writer, text: &str) -> Result<(), String> {
    writer.doubts.clear();
    let codes = ["[UNAVAILABLE]", "[OVERQUOTA]", "[LIMIT]"];
    if codes.iter().any(|code| text.contains(code)) { Ok(()) } else { Err(format!("not a clear refusal: {text}")) }
}

fn still_readable(reader: &mut Client, held: &[Vec<u8>]) -> Result<(), String> {
    for (place, body) in held.iter().enumerate() {
        if body_of(reader, place as u32 + 1)? != *body {
            return Err(format!("held message {} came with other bytes", place + 1));
        }
    }
    Ok(())
}

fn sign_in(server: &Server, tag_prefix: &str) -> Result<Client, String> {
    server.sign_in(tag_prefix, "anna").map_err(|error| format!("anna signs in: {error}"))
}
