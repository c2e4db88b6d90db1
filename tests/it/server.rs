//! Our own server as a process: the real binary on a directory of its own, on a port the system picks.
//! It can be killed, asked to end, and started again on the same directory; dropped, it is killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest wait for the server to listen or to end, on a machine that builds something else meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);

/// One running server.
pub struct Server {
    folder: tempfile::TempDir,
    running: Option<Running>,
    address: String,
}

struct Running {
    process: Child,
    log: Arc<Log>,
}

/// What the process wrote on both its outputs.
#[derive(Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Default)]
struct LogState {
    text: String,
    open_outputs: usize,
}

impl Server {
    /// Starts one on an empty directory.
    pub fn start() -> Result<Server, String> {
        Server::start_with("")
    }

    /// Starts one whose configuration ends with `more`, further tables in TOML.
    pub fn start_with(more: &str) -> Result<Server, String> {
        let folder = tempfile::tempdir().map_err(|error| format!("a temporary folder: {error}"))?;
        let config = format!(
            "data_dir = {:?}\n\n[[listen]]\naddress = \"127.0.0.1:0\"\nsecurity = \"none\"\n\n[login]\n\
             allow_plaintext = \"loopback\"\n\n{more}",
            folder.path().join("data").display().to_string()
        );
        std::fs::write(folder.path().join("pillarbox.toml"), config).map_err(|error| format!("config: {error}"))?;
        let mut server = Server { folder, running: None, address: String::new() };
        server.launch()?;
        Ok(server)
    }

    /// Where it listens, `host:port`. Another port after each start.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("pillarbox.toml")
    }

    /// A file beside the configuration, such as a socket it names.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The number of the running process.
    pub fn process_id(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.process.id())
    }

    /// Adds an account with the program's own command, while the server runs.
    pub fn add_user(&self, name: &str, password: &str) -> Result<(), String> {
        let output = self.run(&["user", "add", name, "--password-stdin"], password.as_bytes())?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("user add {name}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr))),
        }
    }

    /// Runs `pillarbox ARGUMENTS --config FILE` with `input` on its standard input.
    pub fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Output, String> {
        let failed = |error: std::io::Error| format!("pillarbox {}: {error}", arguments.join(" "));
        let mut process = program()
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        if let Some(mut stdin) = process.stdin.take() {
            // A program that ends without reading its input has its own reasons: its exit status tells.
            let _ = stdin.write_all(input);
        }
        process.wait_with_output().map_err(failed)
    }

    /// `kill -9`, then a start on the same directory.
    pub fn kill_and_start(&mut self) -> Result<(), String> {
        if let Some(mut running) = self.running.take() {
            running.process.kill().map_err(|error| format!("kill: {error}"))?;
            running.process.wait().map_err(|error| format!("wait: {error}"))?;
        }
        self.launch()
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(&mut self) -> Result<ExitStatus, String> {
        let mut running = self.running.take().ok_or("the server does not run")?;
        let id = running.process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().map_err(|error| format!("kill: {error}"))?;
        if !sent.success() {
            return Err(format!("kill -TERM {id}: {sent}"));
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = running.process.try_wait().map_err(|error| format!("wait: {error}"))? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                let _ = running.process.kill();
                let _ = running.process.wait();
                return Err(format!("the server did not end on SIGTERM; it wrote:\n{}", running.log.text()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGTERM, a good end, and a start on the same directory.
    pub fn restart(&mut self) -> Result<(), String> {
        let status = self.terminate()?;
        match status.success() {
            true => self.launch(),
            false => Err(format!("on SIGTERM the server ended with {status}")),
        }
    }

    /// What the running server has written so far.
    pub fn log(&self) -> String {
        self.running.as_ref().map_or(String::new(), |running| running.log.text())
    }

    fn launch(&mut self) -> Result<(), String> {
        let mut process = program()
            .args(["serve", "--config"])
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("pillarbox serve: {error}"))?;
        let log = Arc::new(Log::default());
        log.follow(process.stdout.take());
        log.follow(process.stderr.take());
        let address = log.listening_address();
        self.running = Some(Running { process, log });
        match address {
            Some(address) => self.address = address,
            None => {
                let text = self.log();
                return Err(format!("the server ended or was silent before it listened; it wrote:\n{text}"));
            }
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            // It may have ended by itself: then there is nothing to kill, and that is what is wanted.
            let _ = running.process.kill();
            let _ = running.process.wait();
        }
        if std::thread::panicking() {
            eprintln!("the server's directory was {}", Path::new(self.folder.path()).display());
        }
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pillarbox"))
}

impl Log {
    /// Collects an output until it ends, on a thread of its own: a full pipe would stop the server.
    fn follow(self: &Arc<Log>, output: Option<impl Read + Send + 'static>) {
        let Some(output) = output else { return };
        self.lock().open_outputs += 1;
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while matches!(output.read_until(b'\n', &mut line), Ok(count) if count > 0) {
                log.lock().text.push_str(&String::from_utf8_lossy(&line));
                log.changed.notify_all();
                line.clear();
            }
            log.lock().open_outputs -= 1;
            log.changed.notify_all();
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        self.lock().text.clone()
    }

    /// Waits for the line that says where the server listens; `None` when it ends or stays silent.
    fn listening_address(&self) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lock();
        loop {
            if let Some(address) = state.text.lines().find_map(listening_address) {
                return Some(address);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.open_outputs == 0 || left.is_zero() {
                return None;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The address in a log line such as `listening address=127.0.0.1:4711 security=none`, colours or JSON around it or not.
fn listening_address(line: &str) -> Option<String> {
    if !line.contains("listening") {
        return None;
    }
    let from = line.find("127.0.0.1:")?;
    let host = "127.0.0.1:".len();
    let digits = line[from + host..].find(|c: char| !c.is_ascii_digit()).unwrap_or(line.len() - from - host);
    Some(line[from..from + host + digits].to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_any_form_of_log_line() {
        for line in [
            "listening address=127.0.0.1:4711 security=none",
            "2026-01-01 INFO listening \u{1b}[3maddress\u{1b}[0m=127.0.0.1:4711",
            "{\"message\":\"listening\",\"address\":\"127.0.0.1:4711\"}",
        ] {
            assert_eq!(listening_address(line).as_deref(), Some("127.0.0.1:4711"));
        }
        assert_eq!(listening_address("connected address=127.0.0.1:4711"), None);
    }
}
