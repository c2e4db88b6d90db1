//! `pillarbox try` as a newcomer meets it: its text is read, and what the text says is done.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running trial and what it has told. Killed when dropped.
struct Trial {
    process: Child,
    text: String,
}

impl Trial {
    /// Starts one whose temporary folder is made below `home`, and reads its text to the end.
    fn start(home: &Path, arguments: &[&str]) -> Trial {
        let mut process = Command::new(env!("CARGO_BIN_EXE_pillarbox"))
            .arg("try")
            .args(arguments)
            .env("TMPDIR", home)
            .env_remove("PILLARBOX_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let lines = follow(process.stdout.take().expect("piped"));
        let mut trial = Trial { process, text: String::new() };
        let until = Instant::now() + PATIENCE;
        while !trial.text.contains("Press Ctrl-C") {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = lines.recv_timeout(left) else { panic!("it ended or went silent after:\n{}", trial.text) };
            trial.text.push_str(&line);
            trial.text.push('\n');
        }
        trial
    }

    /// The values told for a setting, in the order told.
    fn told(&self, setting: &str) -> Vec<&str> {
        let lines = self.text.lines().filter_map(|line| line.trim_start().strip_prefix(setting));
        lines.map(str::trim).filter(|value| !value.is_empty()).collect()
    }

    /// The ports for TLS and for STARTTLS.
    fn ports(&self) -> (u16, u16) {
        let ports: Vec<u16> = self.told("Port  ").iter().map(|port| port.parse().expect("a number")).collect();
        assert_eq!(ports.len(), 2, "{}", self.text);
        (ports[0], ports[1])
    }

    fn folder(&self) -> PathBuf {
        let line = self.told("Everything lies in ");
        PathBuf::from(line[0].split(" and is ").next().expect("a path"))
    }

    fn fingerprint(&self) -> String {
        let mut lines = self.text.lines().skip_while(|line| !line.contains("fingerprint is"));
        lines.nth(1).expect("the fingerprint's line").trim().to_owned()
    }

    /// Connects as the text says, with the certificate checked, and logs in.
    fn log_in(&self, with_starttls: bool) -> Session {
        let (tls, starttls) = self.ports();
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(self.folder().join("cert.pem")).expect("a certificate");
        roots.add(certificate).expect("it can be trusted");
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let host = self.told("Hostname")[0].to_owned();
        let stream =
            TcpStream::connect((host.as_str(), if with_starttls { starttls } else { tls })).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let stream = match with_starttls {
            true => {
                let mut plain = Session { stream: BufReader::new(Box::new(stream.try_clone().expect("cloned"))) };
                assert!(plain.line().starts_with("* OK"));
                plain.ask("STARTTLS");
                stream
            }
            false => stream,
        };
        let connection =
            ClientConnection::new(Arc::new(config), ServerName::try_from(host).expect("a name")).expect("begun");
        let mut session = Session { stream: BufReader::new(Box::new(StreamOwned::new(connection, stream))) };
        if !with_starttls {
            assert!(session.line().starts_with("* OK"));
        }
        session.ask(&format!("LOGIN {} {}", self.told("Username")[0], self.told("Password")[0]));
        session
    }

    /// Sends a signal and waits for a good end.
    fn stop(mut self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.process.id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
        let until = Instant::now() + PATIENCE;
        loop {
            match self.process.try_wait().expect("asked") {
                Some(status) => return assert!(status.success(), "{signal}: {status}"),
                None => assert!(Instant::now() < until, "it did not end on SIG{signal}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn follow(output: ChildStdout) -> Receiver<String> {
    let (tell, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = tell.send(line);
        }
    });
    lines
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A session over whatever carries it.
struct Session {
    stream: BufReader<Box<dyn Stream>>,
}

impl Session {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        line
    }

    /// Sends a command and gives all its answer, which must be OK.
    fn ask(&mut self, command: &str) -> String {
        self.stream.get_mut().write_all(format!("t {command}\r\n").as_bytes()).expect("sent");
        let mut answer = String::new();
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "hung up after {command}: {answer}");
            answer.push_str(&line);
            if line.starts_with("+ ") {
                return answer;
            }
            if line.starts_with("t ") {
                assert!(line.starts_with("t OK"), "{command}: {answer}");
                return answer;
            }
        }
    }
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("listed").count()
}

#[test]
fn both_ports_show_the_sample_mail_and_nothing_stays() {
    let home = tempfile::tempdir().expect("a folder");
    let trial = Trial::start(home.path(), &[]);
    assert!(trial.folder().starts_with(home.path()), "{}", trial.text);
    for with_starttls in [false, true] {
        let mut session = trial.log_in(with_starttls);
        let folders = session.ask("LIST \"\" *");
        for folder in ["INBOX", "Sent", "Archive/2025", "Reisen/K&APY-ln", "Reisen/&TqyQ,Q-"] {
            assert!(folders.contains(folder), "{folder} is missing:\n{folders}");
        }
        let counts = session.ask("STATUS INBOX (MESSAGES UNSEEN)");
        assert!(counts.contains("MESSAGES 8 UNSEEN 2"), "{counts}");
        session.ask("EXAMINE INBOX");
        let structures = session.ask("FETCH 1:* (INTERNALDATE BODYSTRUCTURE)");
        assert!(structures.contains("\"20-Jan-2026 08:14:00 +0100\""), "{structures}");
        for kind in ["\"ALTERNATIVE\"", "\"RELATED\"", "\"RFC822\"", "\"CALENDAR\""] {
            assert!(structures.to_uppercase().contains(kind), "no {kind}:\n{structures}");
        }
    }
    trial.stop("TERM");
    assert_eq!(entries(home.path()), 0, "the folder is gone");
}

#[test]
fn the_key_is_for_its_owner_and_ctrl_c_and_a_closed_terminal_end_it() {
    use std::os::unix::fs::PermissionsExt;
    for signal in ["INT", "HUP"] {
        let home = tempfile::tempdir().expect("a folder");
        let trial = Trial::start(home.path(), &[]);
        let key = std::fs::metadata(trial.folder().join("key.pem")).expect("there");
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
        trial.stop(signal);
        assert_eq!(entries(home.path()), 0, "the folder is gone after SIG{signal}");
    }
}

#[test]
fn a_port_that_is_taken_is_told_and_another_one_serves() {
    // Somebody else may have one of them already; that is as good.
    let _taken: Vec<_> = [1143, 1993].map(|port| TcpListener::bind(("127.0.0.1", port))).into_iter().collect();
    let home = tempfile::tempdir().expect("a folder");
    let trial = Trial::start(home.path(), &[]);
    for port in [1143, 1993] {
        assert!(trial.text.contains(&format!("Port {port} cannot be used")), "{}", trial.text);
    }
    let (tls, starttls) = trial.ports();
    assert!(tls != 1993 && starttls != 1143 && tls != starttls, "{}", trial.text);
    trial.log_in(true).ask("NOOP");
    trial.log_in(false).ask("NOOP");
    trial.stop("TERM");
}

#[test]
fn mail_of_ones_own_is_shown_too() {
    let home = tempfile::tempdir().expect("a folder");
    let (file, maildir) = (home.path().join("mine.mbox"), home.path().join("Maildir"));
    let from = "From a@b Sat Jan  3 01:05:34 1996\n";
    std::fs::write(&file, format!("{from}Subject: mine\n\nx\n\n{from}Subject: too\n\n")).expect("written");
    std::fs::create_dir_all(maildir.join("cur")).expect("made");
    std::fs::create_dir_all(maildir.join(".Ablage/cur")).expect("made");
    std::fs::write(maildir.join("cur/1.a.b:2,S"), "Subject: mine\n\n").expect("written");
    std::fs::write(maildir.join(".Ablage/cur/1.a.b:2,S"), "Subject: filed\n\n").expect("written");
    for (mail, inbox, told) in [(&file, 10, "2 messages in 1 mailbox"), (&maildir, 9, "2 messages in 2 mailboxes")] {
        let trial = Trial::start(home.path(), &["--mail", mail.to_str().expect("UTF-8")]);
        assert!(trial.text.contains(told), "{}", trial.text);
        let mut session = trial.log_in(false);
        let counts = session.ask("STATUS INBOX (MESSAGES)");
        assert!(counts.contains(&format!("MESSAGES {inbox}")), "{counts}");
        if mail == &maildir {
            assert!(session.ask("STATUS Ablage (MESSAGES)").contains("MESSAGES 1"));
        }
        drop(session);
        trial.stop("INT");
    }
    let gone = Command::new(env!("CARGO_BIN_EXE_pillarbox")).args(["try", "--mail", "/nowhere/at.all"]).output();
    assert_eq!(gone.expect("ran").status.code(), Some(1));
}

#[test]
fn what_is_kept_is_gone_on_with() {
    let home = tempfile::tempdir().expect("a folder");
    let kept = home.path().join("kept");
    let argument = ["--keep", kept.to_str().expect("UTF-8")];
    let first = Trial::start(home.path(), &argument);
    let mut session = first.log_in(false);
    session.ask("APPEND INBOX {17}");
    session.ask_rest("Subject: mine\r\n\r\n");
    let fingerprint = first.fingerprint();
    assert_eq!(fingerprint.len(), 95, "{fingerprint}");
    drop(session);
    first.stop("TERM");
    assert!(kept.is_dir());

    let second = Trial::start(home.path(), &argument);
    assert_eq!(second.fingerprint(), fingerprint, "the program that trusts it need not be asked again");
    let mut session = second.log_in(false);
    assert!(session.ask("STATUS INBOX (MESSAGES)").contains("MESSAGES 9"), "eight samples and one more");
    assert!(session.ask("STATUS \"Reisen/&TqyQ,Q-\" (MESSAGES)").contains("MESSAGES 1"));
    drop(session);
    second.stop("INT");
    assert!(kept.is_dir(), "it was to be kept");
}

impl Session {
    /// Sends a literal that was asked for and reads on to the tagged answer.
    fn ask_rest(&mut self, octets: &str) {
        self.stream.get_mut().write_all(format!("{octets}\r\n").as_bytes()).expect("sent");
        while !self.line().starts_with("t OK") {}
    }
}
