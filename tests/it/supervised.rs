//! The server under a service manager: sockets passed in, and what it says of itself. The test plays the manager; a
//! shell puts the sockets where sd_listen_fds(3) wants them, since no Rust without `unsafe` can.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::{Client, PATIENCE};
use crate::server::Server;

/// Standard input and output are the sockets: they become 3 and 4.
const PASS: &str = r#"exec 3<&0 4<&1 </dev/null >&2
LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=imap:lmtp exec "$0" serve --config "$1""#;

/// What a manager keeps while the server comes and goes.
struct Manager {
    folder: tempfile::TempDir,
    imap: TcpListener,
    lmtp: UnixListener,
    told: UnixDatagram,
}

impl Manager {
    fn new() -> Manager {
        Manager::with("")
    }

    /// Of a server with these tables in its configuration too.
    fn with(more: &str) -> Manager {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let config = "data_dir = \"data\"\n[[listen]]\naddress = \"127.0.0.1:0\"\nsecurity = \"none\"\n\
                      [lmtp]\nsocket = \"lmtp.sock\"\n";
        std::fs::write(at("pillarbox.toml"), format!("{config}{more}")).expect("written");
        let told = UnixDatagram::bind(at("notify.sock")).expect("bound");
        told.set_read_timeout(Some(PATIENCE)).expect("set");
        let lmtp = UnixListener::bind(at("lmtp.sock")).expect("bound");
        Manager { imap: TcpListener::bind("127.0.0.1:0").expect("bound"), lmtp, told, folder }
    }

    fn start(&self) -> Child {
        let imap: OwnedFd = self.imap.try_clone().expect("another handle").into();
        let lmtp: OwnedFd = self.lmtp.try_clone().expect("another handle").into();
        Command::new("sh")
            .args(["-c", PASS, env!("CARGO_BIN_EXE_pillarbox")])
            .arg(self.folder.path().join("pillarbox.toml"))
            .env("NOTIFY_SOCKET", self.folder.path().join("notify.sock"))
            .env("WATCHDOG_USEC", "600000")
            .stdin(imap)
            .stdout(lmtp)
            .stderr(Stdio::null())
            .spawn()
            .expect("started")
    }

    /// Waits until the server says this line; everything it said till then.
    fn wait_for(&self, line: &str) -> Vec<String> {
        let mut lines = Vec::new();
        while !lines.iter().any(|told| told == line) {
            let mut datagram = [0; 4096];
            let octets = self.told.recv(&mut datagram).unwrap_or_else(|error| panic!("{line}: {error}; {lines:?}"));
            lines.extend(String::from_utf8_lossy(&datagram[..octets]).lines().map(str::to_owned));
        }
        lines
    }

    fn connect(&self) -> Client {
        Client::connect(&self.imap.local_addr().expect("an address").to_string()).expect("connected")
    }

    fn lmtp(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(self.folder.path().join("lmtp.sock")).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        BufReader::new(stream)
    }
}

fn signal(server: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &server.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

fn greeting(client: &mut Client) -> String {
    let line = client.line(PATIENCE).expect("read").unwrap_or_default();
    String::from_utf8_lossy(&line).into_owned()
}

fn lmtp_greeting(lmtp: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    lmtp.read_line(&mut line).expect("read");
    line
}

#[test]
fn who_comes_while_the_server_is_started_again_waits_and_is_served() {
    let manager = Manager::new();
    let mut server = manager.start();
    manager.wait_for("READY=1");
    let mut before = manager.connect();
    assert!(greeting(&mut before).starts_with("* OK "));
    assert!(lmtp_greeting(&mut manager.lmtp()).starts_with("220 "));

    signal(&server, "-TERM");
    manager.wait_for("STOPPING=1");
    assert!(greeting(&mut before).starts_with("* BYE [UNAVAILABLE]"));
    assert!(server.wait().expect("ended").success());
    assert!(Path::new(&manager.folder.path().join("lmtp.sock")).exists(), "the socket is not the server's to remove");

    // Nobody serves now, and nobody is refused.
    let mut waiting: Vec<Client> = (0..50).map(|_| manager.connect()).collect();
    let mut mail = manager.lmtp();
    let mut server = manager.start();
    manager.wait_for("READY=1");
    for client in &mut waiting {
        assert!(greeting(client).starts_with("* OK "));
    }
    assert!(lmtp_greeting(&mut mail).starts_with("220 "));
    signal(&server, "-TERM");
    assert!(server.wait().expect("ended").success());
}

#[test]
fn a_server_that_logs_next_to_nothing_ends_its_sessions_all_the_same() {
    let manager = Manager::with("[log]\nlevel = \"error\"\n");
    let mut server = manager.start();
    manager.wait_for("READY=1");
    let mut client = manager.connect();
    assert!(greeting(&mut client).starts_with("* OK "));
    signal(&server, "-TERM");
    assert!(greeting(&mut client).starts_with("* BYE [UNAVAILABLE]"));
    assert!(server.wait().expect("ended").success());
}

#[test]
fn the_manager_is_told_how_it_goes() {
    let manager = Manager::new();
    let mut server = manager.start();
    let told = manager.wait_for("READY=1");
    assert!(!told.iter().any(|line| line == "WATCHDOG=1"), "not alive before it is ready: {told:?}");
    manager.wait_for("WATCHDOG=1");
    let session = manager.connect();
    manager.wait_for("STATUS=serving, 1 session");
    signal(&server, "-HUP");
    manager.wait_for("RELOADING=1");
    manager.wait_for("STATUS=configuration and certificate read again");
    manager.wait_for("STATUS=serving, 1 session");
    // A file that is not fine changes nothing, and the manager is told why.
    std::fs::write(manager.folder.path().join("pillarbox.toml"), "data_dri = 1\n").expect("written");
    signal(&server, "-HUP");
    let told = manager.wait_for("READY=1").join("\n");
    assert!(told.contains("RELOADING=1") && told.contains("STATUS=nothing was changed: "), "{told}");
    signal(&server, "-TERM");
    manager.wait_for("STOPPING=1");
    drop(session);
    assert!(server.wait().expect("ended").success());
}

#[test]
fn a_server_that_cannot_read_its_store_is_not_said_to_be_alive() {
    let manager = Manager::new();
    let mut server = manager.start();
    manager.wait_for("READY=1");
    manager.wait_for("WATCHDOG=1");
    std::fs::remove_file(manager.folder.path().join("data/hash.key")).expect("removed");
    let is_trouble = |line: &String| line.starts_with("STATUS=what is stored cannot be read");
    let mut datagram = [0; 4096];
    let mut alive_after = 0;
    let mut troubles = 0;
    while troubles < 3 {
        let octets = manager.told.recv(&mut datagram).expect("told in time");
        let text = String::from_utf8_lossy(&datagram[..octets]).into_owned();
        match text.lines().map(str::to_owned).any(|line| is_trouble(&line)) {
            true => troubles += 1,
            false if troubles > 0 && text.contains("WATCHDOG=1") => alive_after += 1,
            false => {}
        }
    }
    assert_eq!(alive_after, 0);
    signal(&server, "-TERM");
    assert!(server.wait().expect("ended").success());
}

#[test]
fn whom_a_stop_meets_in_the_handshake_is_told_so() {
    let server = Server::start().unwrap_or_else(|error| panic!("{error}"));
    let eventually = |what: &str, is_so: &dyn Fn() -> bool| {
        let until = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < until, "{what}: {}", server.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let mut client = Client::connect(&server.addresses().tls).expect("connected");
    let who = || server.run(&["who"], b"").expect("run").stdout;
    eventually("let in", &|| who().split(|octet| *octet == b'\n').count() == 3);
    let pid = server.process_id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    eventually("stopping", &|| server.log().contains("stopping"));
    client.start_tls(server.trust()).expect("a handshake");
    assert!(greeting(&mut client).starts_with("* OK "));
    assert!(greeting(&mut client).starts_with("* BYE [UNAVAILABLE]"));
}
