//! The program under test: a data directory with users, its configuration, and the server process, which
//! is always ended with SIGKILL. Nothing here outlives the test, whatever way the test ends.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::client::Client;

const PASSWORD: &str = "correct-horse";
/// Far more than a start needs; only a hang is cut short by it.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The program this test was built with, or another build of it: PILLARBOX_PROGRAM.
fn program_path() -> OsString {
    std::env::var_os("PILLARBOX_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_pillarbox").into())
}

/// A directory with a configuration, and the data directory it names.
pub struct Installation {
    /// Canonical, so that its paths compare equal to those in a trace.
    pub home: PathBuf,
    pub data_dir: PathBuf,
    limits: String,
    keeper: Option<tempfile::TempDir>,
}

impl Installation {
    pub fn new(users: &[&str], limits: &str) -> Self {
        let keeper = tempfile::Builder::new().prefix("pillarbox-durability-").tempdir().expect("a temporary directory");
        let home = keeper.path().canonicalize().expect("the directory just made");
        let data_dir = home.join("data");
        let mut installation = Self::over(home, data_dir, limits);
        installation.keeper = Some(keeper);
        for user in users {
            installation.add_user(user);
        }
        installation
    }

    /// An installation over directories somebody else takes care of; its users are already there.
    pub fn over(home: PathBuf, data_dir: PathBuf, limits: &str) -> Self {
        let config = format!(
            "data_dir = \"{}\"\n\n[[listen]]\naddress = \"127.0.0.1:0\"\nsecurity = \"none\"\n\n\
             [login]\nallow_plaintext = \"loopback\"\n\n[limits]\n{limits}\n",
            data_dir.display()
        );
        std::fs::write(home.join("pillarbox.toml"), config).expect("the configuration is written");
        Self { home, data_dir, limits: limits.to_owned(), keeper: None }
    }

    pub fn config(&self) -> PathBuf {
        self.home.join("pillarbox.toml")
    }

    pub fn add_user(&self, name: &str) {
        let mut child = self
            .program(&["user", "add", name, "--password-stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let typed = child.stdin.take().map(|mut input| writeln!(input, "{PASSWORD}"));
        typed.expect("a pipe").expect("the password is taken");
        let output = child.wait_with_output().expect("the program ends");
        assert!(output.status.success(), "user add {name}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// `pillarbox check` with no server running: every invariant of every account.
    pub fn check(&self) -> Result<(), String> {
        let output = self.program(&["check"]).output().map_err(|error| format!("check: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Err(format!("pillarbox check: {}\n{said}{complained}", output.status))
    }

    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program_path());
        command.args(arguments).arg("--config").arg(self.config()).env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// Runs a command of the program to its end; with a point it aborts itself there.
    pub fn run(&self, arguments: &[&str], point: Option<&str>) -> std::process::Output {
        let mut command = self.program(arguments);
        if let Some(point) = point {
            command.env("PILLARBOX_CRASH_AT", point);
        }
        command.output().expect("the program starts")
    }

    /// The same installation once more, with a copy of the data directory. No server may be running on it.
    pub fn twin(&self) -> Self {
        let keeper = tempfile::Builder::new().prefix("pillarbox-durability-").tempdir().expect("a temporary directory");
        let home = keeper.path().canonicalize().expect("the directory just made");
        let data_dir = home.join("data");
        crate::care::copy_tree(&self.data_dir, &data_dir);
        let mut twin = Self::over(home, data_dir, &self.limits);
        twin.keeper = Some(keeper);
        twin
    }

    pub fn start(&self) -> Result<Server, String> {
        Server::spawn(self.serve(None))
    }

    /// Starts a server that aborts itself at the count-th passage of a named point: `place.after_commit:3`.
    pub fn start_to_crash_at(&self, point: &str) -> Result<Server, String> {
        let mut command = self.serve(None);
        command.env("PILLARBOX_CRASH_AT", point);
        Server::spawn(command)
    }

    /// Starts the server under strace with these arguments.
    pub fn start_traced(&self, strace: &[String]) -> Result<Server, String> {
        Server::spawn(self.serve(Some(strace)))
    }

    /// Starts the server and kills it after `life`, however far its start came.
    pub fn start_briefly(&self, life: Duration) {
        let mut child = self.serve(None).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(life);
        let _ = child.kill();
        let _ = child.wait();
    }

    fn serve(&self, strace: Option<&[String]>) -> Command {
        let mut command = match strace {
            None => Command::new(program_path()),
            Some(arguments) => {
                let mut command = Command::new("strace");
                command.args(arguments).arg(program_path());
                command
            }
        };
        command.arg("serve").arg("--config").arg(self.config()).env("NO_COLOR", "1");
        command.env("RUST_BACKTRACE", "1").stdin(Stdio::null());
        command
    }

    /// Leaves the directory behind for a look when PILLARBOX_KEEP is set.
    pub fn keep_if_asked(&mut self) {
        if std::env::var_os("PILLARBOX_KEEP").is_some()
            && let Some(keeper) = self.keeper.take()
        {
            eprintln!("kept: {}", keeper.keep().display());
        }
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep_if_asked();
        }
    }
}

/// A running server, killed when dropped.
pub struct Server {
    child: Child,
    /// The server itself; under strace another process than `child`.
    process: u32,
    pub address: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn spawn(mut command: Command) -> Result<Self, String> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{command:?}: {error}"))?;
        let log = Arc::new(Mutex::new(Vec::new()));
        let (tell, told) = mpsc::channel();
        listen_to(child.stdout.take(), &log, &tell);
        listen_to(child.stderr.take(), &log, &tell);
        drop(tell);
        let deadline = Instant::now() + START_LIMIT;
        let process = child.id();
        let mut server = Self { child, process, address: String::new(), log };
        // The channel ends when both pipes are closed, which is when the server is gone.
        while let Ok(line) = told.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if let Some(address) = announced_address(&line) {
                server.address = address;
                server.process = only_child_of(process).unwrap_or(process);
                return Ok(server);
            }
        }
        let ended = server.child.try_wait();
        Err(format!("the server did not start ({ended:?}):\n{}", server.log_tail()))
    }

    pub fn sign_in(&self, tag_prefix: &str, user: &str) -> std::io::Result<Client> {
        sign_in(&self.address, tag_prefix, user)
    }

    pub fn process_id(&self) -> u32 {
        self.process
    }

    /// SIGKILL; returns once the process is gone.
    pub fn kill(&mut self) {
        if self.process != self.child.id() {
            send_signal(self.process, rustix::process::Signal::KILL);
            // strace ends by itself after its tracee, having written its log to the end.
            let deadline = Instant::now() + Duration::from_secs(10);
            while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// How the server ended by itself, waiting at most `limit` for it.
    pub fn ended_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn log_tail(&self) -> String {
        let log = self.log.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        log[log.len().saturating_sub(40)..].join("\n")
    }

    /// A panic caught at a session's task does not end the server, but it is a failure here.
    pub fn panicked(&self) -> Option<String> {
        let log = self.log.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let at = log.iter().position(|line| line.contains("panicked at"))?;
        Some(log[at..log.len().min(at + 12)].join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the server's last words:\n{}", self.log_tail());
        }
        self.kill();
    }
}

pub fn sign_in(address: &str, tag_prefix: &str, user: &str) -> std::io::Result<Client> {
    Client::sign_in(address, tag_prefix, user, PASSWORD)
}

fn listen_to(pipe: Option<impl Read + Send + 'static>, log: &Arc<Mutex<Vec<String>>>, tell: &mpsc::Sender<String>) {
    let (Some(pipe), log, tell) = (pipe, Arc::clone(log), tell.clone()) else { return };
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line).into_owned();
            log.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(line.clone());
            // Nobody listens any more once the server has said where it is.
            let _ = tell.send(line);
        }
    });
}

/// `... listening address=127.0.0.1:41234 ...`, with or without quotes.
fn announced_address(line: &str) -> Option<String> {
    if !line.contains("listening") {
        return None;
    }
    let after = line.split("address=").nth(1)?.trim_start_matches('"');
    let address: String =
        after.chars().take_while(|letter| letter.is_ascii_digit() || ".:".contains(*letter)).collect();
    address.starts_with("127.0.0.1:").then_some(address)
}

fn only_child_of(process: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

pub fn send_signal(process: u32, signal: rustix::process::Signal) {
    if let Some(process) = rustix::process::Pid::from_raw(process as i32) {
        let _ = rustix::process::kill_process(process, signal);
    }
}

/// Whether strace is here and may trace; the reason when not. Tests say it and go on without.
pub fn strace_refused() -> Option<String> {
    let output = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    match output {
        Err(error) => Some(format!("strace: {error}")),
        Ok(output) if !output.status.success() => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        Ok(_) => None,
    }
}

/// Whether a directory is a mount point of its own (an earlier run may have left one).
pub fn device_of(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|metadata| metadata.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_both_spellings() {
        let plain = "INFO server: listening address=127.0.0.1:41234 security=none";
        assert_eq!(announced_address(plain).as_deref(), Some("127.0.0.1:41234"));
        assert_eq!(announced_address("listening address=\"127.0.0.1:9\"").as_deref(), Some("127.0.0.1:9"));
        assert_eq!(announced_address("starting address=127.0.0.1:9"), None);
    }
}
