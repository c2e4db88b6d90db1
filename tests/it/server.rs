//! Our own server as a process: the real binary on a directory of its own, on ports the system picks.
//! It can be killed, asked to end, and started again on the same directory; dropped, it is killed.

use crate::tls::Trust;
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
    addresses: Addresses,
    trust: Trust,
}

/// Where a server listens, `host:port` each. Other ports after each start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Clear text only.
    pub plain: String,
    /// Clear text until STARTTLS.
    pub starttls: String,
    /// TLS from the first octet.
    pub tls: String,
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
        Server::start_with(&[])
    }

    /// Starts one with these settings, each a line of TOML with its whole dotted key: `limits.nesting = 4`.
    pub fn start_with(settings: &[String]) -> Result<Server, String> {
        let folder = tempfile::tempdir().map_err(|error| format!("a temporary folder: {error}"))?;
        let file = |name: &str| folder.path().join(name);
        let trust = Trust::make(&file("cert.pem"), &file("key.pem"))?;
        let path = |name: &str| format!("{:?}", file(name).display().to_string());
        let usual = [
            format!("data_dir = {}", path("data")),
            format!("tls.certificate = {}", path("cert.pem")),
            format!("tls.key = {}", path("key.pem")),
            "login.allow_plaintext = \"loopback\"".to_string(),
        ];
        let key = |line: &String| line.split('=').next().unwrap_or_default().trim().to_string();
        let is_usual = |line: &&String| !settings.iter().any(|other| key(other) == key(line));
        let mut config: Vec<String> = usual.iter().filter(is_usual).chain(settings).cloned().collect();
        for security in ["none", "starttls", "tls"] {
            config.push(format!("[[listen]]\naddress = \"127.0.0.1:0\"\nsecurity = \"{security}\""));
        }
        std::fs::write(file("pillarbox.toml"), config.join("\n")).map_err(|error| format!("config: {error}"))?;
        let mut server = Server { folder, running: None, addresses: Addresses::default(), trust };
        server.launch()?;
        Ok(server)
    }

    /// Where it listens in clear text, `host:port`.
    pub fn address(&self) -> &str {
        &self.addresses.plain
    }

    /// Everywhere it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What a client needs for TLS with it.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The number of the running process; 0 when it does not run.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().map_or(0, |running| running.process.id())
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
    pub fn add_user(&self, name: &str, password: impl AsRef<[u8]>) -> Result<(), String> {
        let output = self.run(&["user", "add", name, "--password-stdin"], password.as_ref())?;
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

    /// The log once it holds `text`: what the server wrote comes through a pipe, and is here a little later.
    pub fn log_with(&self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            if log.contains(text) {
                return log;
            }
            assert!(Instant::now() < until, "{text:?} is not in the log:\n{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
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
        let addresses = log.listening_addresses();
        self.running = Some(Running { process, log });
        match addresses {
            Some(addresses) => self.addresses = addresses,
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

    /// Waits for the lines that say where the server listens; `None` when it ends or stays silent.
    fn listening_addresses(&self) -> Option<Addresses> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lock();
        loop {
            if let Some(addresses) = listening_addresses(&state.text) {
                return Some(addresses);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.open_outputs == 0 || left.is_zero() {
                return None;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// All three addresses, once the log has them all.
fn listening_addresses(log: &str) -> Option<Addresses> {
    let address = |security: &str| {
        let lines = log.lines().filter(|line| line.contains(&format!("\"{security}\"")));
        lines.filter_map(listening_address).next()
    };
    Some(Addresses { plain: address("none")?, starttls: address("starttls")?, tls: address("tls")? })
}

/// The address in a log line such as `listening address=127.0.0.1:4711 security="none"`, colours or JSON around it or not.
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
    fn the_addresses_are_found_in_any_form_of_log_line() {
        let lines = [
            "listening address=127.0.0.1:4711 security=\"none\"\n",
            "2026-01-01 INFO listening \u{1b}[3maddress\u{1b}[0m=127.0.0.1:4712 security=\"starttls\"\n",
            "{\"message\":\"listening\",\"address\":\"127.0.0.1:4713\",\"security\":\"tls\"}\n",
        ];
        let address = |port: u16| format!("127.0.0.1:{port}");
        let all = Addresses { plain: address(4711), starttls: address(4712), tls: address(4713) };
        assert_eq!(listening_addresses(&lines.concat()), Some(all));
        assert_eq!(listening_addresses(&lines[..2].concat()), None);
        assert_eq!(listening_address("connected address=127.0.0.1:4711"), None);
    }
}
