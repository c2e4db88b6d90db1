//! Calls that fail: strace makes writes, syncs, opens and links of the running server fail. Every command
//! gets a tagged answer or its connection a BYE, nothing acknowledged is lost, nothing is half done, and
//! when the fault is over the server works on without a restart. A change that was refused may have
//! happened as a whole: after a sync that failed nobody knows.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::installation::{Installation, Server, send_signal, strace_refused};
use crate::picture;
use crate::random::{Random, my_turn, seed};
use crate::writer::{Broken, Habits, Step, Writer};

/// A recovery takes its own time; a healthy server needs a small part of this.
const PATIENCE: Duration = Duration::from_secs(60);

/// Calls that fail while the server works: attached to the running server, taken off again.
const FAULTS: [&str; 16] = [
    "fdatasync:error=EIO:when=3+5",
    "fdatasync:error=EIO:when=1+1",
    "fdatasync:error=ENOSPC:when=2+3",
    "fsync:error=EIO:when=1+2",
    "fsync:error=EIO:when=2+3",
    "pwrite64:error=ENOSPC:when=5+7",
    "pwrite64:error=ENOSPC:when=1+1",
    "pwrite64:error=EIO:when=4+9",
    "openat:error=EIO:when=2+4",
    "openat:error=EMFILE:when=1+3",
    "link,linkat,rename,renameat,renameat2:error=EIO:when=1+2",
    "link,linkat,rename,renameat,renameat2:error=ENOSPC:when=2+2",
    "unlink,unlinkat:error=EIO:when=1+2",
    "ftruncate:error=EIO:when=1+1",
    "pread64:error=EIO:when=20+15",
    "mkdir,mkdirat:error=ENOSPC:when=1+1",
];

/// Calls that fail from the first moment: the server may decline to start, and says so.
const START_FAULTS: [&str; 4] = [
    "fdatasync:error=EIO:when=1+1",
    "pwrite64:error=ENOSPC:when=1+1",
    "openat:error=EIO:when=40+5",
    "fsync:error=EIO:when=1+1",
];

/// With these the burial of a failed commit once wrote nothing, and what was refused came back after a restart.
const UNBURIED: u64 = 625_284_626;

#[test]
fn failing_calls_lose_nothing_and_the_server_works_on() {
    for seed in [UNBURIED, seed("fault")] {
        calls_fail(seed);
    }
}

fn calls_fail(seed: u64) {
    let _turn = my_turn();
    if let Some(reason) = strace_refused() {
        return eprintln!("fault: SKIPPED, no tracing here: {reason}");
    }
    let mut random = Random::new(seed);
    let installation = Installation::new(&["anna"], "min_free_bytes = 0");
    let habits = Habits { messages: 20, mailboxes: 4, shares_inbox: false, large_percent: 25, huge_percent: 0 };
    let mut writer = Writer::new("w".into(), habits, random.branch());
    for (number, fault) in FAULTS.iter().enumerate() {
        let tag = format!("f{number}");
        let told =
            survive_fault(&installation, &mut writer, fault, &tag).unwrap_or_else(|text| panic!("{fault}: {text}"));
        eprintln!("fault: {fault}: {told}");
    }
    for fault in START_FAULTS {
        let told = survive_start(&installation, &mut writer, fault)
            .unwrap_or_else(|text| panic!("start with {fault}: {text}"));
        eprintln!("fault: start with {fault}: {told}");
    }
}

fn injection(fault: &str) -> Vec<String> {
    let calls = fault.split(':').next().unwrap_or_default();
    // Not every architecture has every one of the older calls.
    let optional = |list: &str| list.split(',').map(|call| format!("?{call}")).collect::<Vec<_>>().join(",");
    let inject = fault.replacen(calls, &optional(calls), 1);
    let words = ["-f", "-o", "/dev/null", "-e"];
    let rest = [format!("trace={}", optional(calls)), "-e".into(), format!("inject={inject}")];
    words.iter().map(ToString::to_string).chain(rest).collect()
}

/// A strace that is attached to a running server until dropped.
struct Injector(Child);

impl Injector {
    fn attach(process: u32, fault: &str) -> Result<Self, String> {
        let child = Command::new("strace")
            .args(injection(fault))
            .args(["-p", &process.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("strace: {error}"))?;
        let injector = Self(child);
        let deadline = Instant::now() + PATIENCE;
        while !all_threads_traced(process) {
            if Instant::now() > deadline {
                return Err("strace did not attach".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(injector)
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        // SIGINT lets strace take itself off; SIGKILL would do, but may leave threads stopped.
        send_signal(self.0.id(), rustix::process::Signal::INT);
        let _ = self.0.wait();
    }
}

fn all_threads_traced(process: u32) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{process}/task")) else { return false };
    tasks.flatten().all(|task| {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        // A thread that ended meanwhile has no status, and nothing to trace.
        status.is_empty() || !status.contains("TracerPid:\t0\n")
    })
}

fn survive_fault(installation: &Installation, writer: &mut Writer, fault: &str, tag: &str) -> Result<String, String> {
    let mut server = installation.start()?;
    let result = work_with_fault(&server, writer, fault, tag).map_err(|text| format!("{text}\n{}", server.log_tail()));
    let told = result?;
    if let Some(status) = server.ended_within(Duration::ZERO) {
        return Err(format!("the server ended by itself: {status}"));
    }
    if let Some(panic) = server.panicked() {
        return Err(panic);
    }
    server.kill();
    after_restart(installation, writer)?;
    Ok(told)
}

fn after_restart(installation: &Installation, writer: &mut Writer) -> Result<(), String> {
    installation.check()?;
    let server = installation.start()?;
    let settled = same_as_promised(writer, &mut sign_in(&server, "v")?);
    settled.map_err(|text| format!("after the restart: {text}\n{}", server.log_tail()))?;
    writer.doubts.clear();
    writer.journal.clear();
    Ok(())
}

fn work_with_fault(server: &Server, writer: &mut Writer, fault: &str, tag: &str) -> Result<String, String> {
    let mut client = sign_in(server, tag)?;
    writer.reconnected();
    for _ in 0..8 {
        if let Step::Refused(text) = writer.step(&mut client).map_err(|broken| format!("{broken:?}"))? {
            return Err(format!("refused before the fault: {text}"));
        }
    }
    let injector = Injector::attach(server.process_id(), fault)?;
    let (mut done, mut refused, mut lost, mut happened) = (0, 0, 0, 0);
    for number in 0..40 {
        match writer.step(&mut client) {
            Ok(Step::Done) => {
                done += 1;
                continue;
            }
            Ok(Step::Refused(_)) => refused += 1,
            Err(Broken::Wrong(text)) => return Err(text),
            Err(Broken::Lost(error)) => {
                if !client.was_told_bye() {
                    return Err(format!("the connection ended without BYE: {error}"));
                }
                lost += 1;
            }
        }
        // What did happen is looked up before anything is built on it. Where that is impossible too,
        // this fault is over for the writer.
        let looked_up = sign_in(server, &format!("{tag}l{number}")).and_then(|mut looking| {
            let picture = picture::read(&mut looking)?;
            Ok((looking, picture))
        });
        let Ok((looking, picture)) = looked_up else { break };
        let own = picture::below(&picture, &writer.root);
        let (ledger, which) = writer.ledger.reconcile(&own, &writer.doubts)?;
        writer.ledger = ledger;
        if which.is_some() {
            happened += 1;
            writer.doubts.clear();
        }
        client = looking;
        writer.reconnected();
    }
    drop(injector);
    recovers(server, writer, tag)?;
    Ok(format!("{done} done, {refused} refused, {lost} connections ended, {happened} happened though refused"))
}

/// When the calls work again, so does the server, without a restart.
fn recovers(server: &Server, writer: &mut Writer, tag: &str) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    for number in 0.. {
        let attempt = sign_in(server, &format!("{tag}w{number}")).and_then(|mut client| {
            same_as_promised(writer, &mut client)?;
            writer.reconnected();
            (0..5).try_for_each(|_| match writer.step(&mut client) {
                Ok(Step::Done) => Ok(()),
                Ok(Step::Refused(text)) | Err(Broken::Wrong(text)) => Err(text),
                Err(Broken::Lost(error)) => Err(error.to_string()),
            })
        });
        match attempt {
            Ok(()) => break,
            Err(text) if Instant::now() > deadline => return Err(format!("no recovery: {text}")),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
    Ok(())
}

fn survive_start(installation: &Installation, writer: &mut Writer, fault: &str) -> Result<String, String> {
    let told = match installation.start_traced(&injection(fault)) {
        Err(text) if text.contains("panicked at") => return Err(text),
        Err(_) => "declined to start".to_owned(),
        Ok(mut server) => {
            let mut done = 0;
            if let Ok(mut client) = sign_in(&server, "s") {
                writer.reconnected();
                while done < 10 && matches!(writer.step(&mut client), Ok(Step::Done)) {
                    done += 1;
                }
            }
            server.kill();
            format!("started, {done} done")
        }
    };
    after_restart(installation, writer)?;
    Ok(told)
}

fn sign_in(server: &Server, tag_prefix: &str) -> Result<Client, String> {
    server.sign_in(tag_prefix, "anna").map_err(|error| format!("anna signs in: {error}"))
}

/// Reads what is there and holds it against the ledger; which doubt had happened, if any.
pub fn same_as_promised(writer: &mut Writer, client: &mut Client) -> Result<Option<usize>, String> {
    let picture = picture::read(client)?;
    let (ledger, happened) = writer.ledger.reconcile(&picture::below(&picture, &writer.root), &writer.doubts)?;
    writer.ledger = ledger;
    if happened.is_some() {
        writer.doubts.clear();
    }
    Ok(happened)
}
