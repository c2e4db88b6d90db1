//! COMPRESS=DEFLATE (RFC 4978) with what a transcript cannot send: compressed octets, cut anywhere, many commands and
//! literals at once, and what a resting session costs.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::client::PATIENCE;
use crate::server::Server;
use crate::socket::Socket;

const PASSWORD: &str = "correct-horse";
/// Sessions at rest, compressed and not.
const SESSIONS: usize = 200;
/// What compression may add to the memory of a session at rest.
const MORE_KIB: u64 = 80;

struct Client(BufReader<Socket>);

impl Client {
    fn sign_in(server: &Server) -> Client {
        let stream = TcpStream::connect(server.address()).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        let mut client = Client(BufReader::new(Socket::new(stream)));
        assert!(client.line().starts_with("* OK"));
        client.ask(&format!("l LOGIN ada {PASSWORD}\r\n"), "l OK");
        client
    }

    fn compress(&mut self) {
        self.ask("c COMPRESS DEFLATE\r\n", "c OK");
        assert!(self.0.buffer().is_empty(), "nothing is said unasked");
        self.0.get_mut().compress(Vec::new());
    }

    fn send(&mut self, octets: &[u8]) {
        self.0.get_mut().write_all(octets).expect("sent");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line in time");
        line
    }

    /// Sends, and reads up to the line that begins so; gives all that was read.
    fn ask(&mut self, text: &str, end: &str) -> String {
        self.send(text.as_bytes());
        let mut told = String::new();
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "closed before {end:?}; it said {told}");
            told.push_str(&line);
            if line.starts_with(end) {
                return told;
            }
        }
    }
}

fn start(settings: &[&str]) -> Server {
    let settings: Vec<String> = settings.iter().map(|line| (*line).to_owned()).collect();
    let server = Server::start_with(&settings).unwrap_or_else(|error| panic!("{error}"));
    server.add_user("ada", PASSWORD).unwrap_or_else(|error| panic!("{error}"));
    server
}

#[test]
fn many_commands_with_literals_come_compressed() {
    let server = start(&[]);
    let mut client = Client::sign_in(&server);
    client.compress();
    let small = "Subject: small\r\n\r\nx\r\n".to_owned();
    let large = format!("Subject: large\r\n\r\n{}", "all work and no play\r\n".repeat(20_000));
    let mut all = String::from("a SELECT INBOX\r\n");
    for (tag, text) in [("b", &small), ("d", &large), ("e", &small)] {
        all.push_str(&format!("{tag} APPEND INBOX {{{}+}}\r\n{text}\r\n", text.len()));
    }
    all.push_str(&format!("f APPEND missing {{{}+}}\r\n{large}\r\n", large.len()));
    all.push_str(&format!("g APPEND INBOX {{{}+}}\r\n{small} {{{}+}}\r\n{large}\r\n", small.len(), large.len()));
    all.push_str("h FETCH 1:5 (BODY.PEEK[])\r\n");
    let told = client.ask(&all, "h OK");
    let tagged: Vec<&str> = told.lines().filter(|line| line.as_bytes().get(1) == Some(&b' ')).collect();
    let verdicts: Vec<&str> = tagged.iter().filter(|line| !line.starts_with('*')).map(|line| &line[..4]).collect();
    assert_eq!(verdicts, ["a OK", "b OK", "d OK", "e OK", "f NO", "g OK", "h OK"]);
    assert_eq!((told.matches(&large[..]).count(), told.matches(&small[..]).count()), (2, 3));
    // A literal that waits: the invitation comes compressed, and at once.
    client.ask(&format!("i APPEND INBOX {{{}}}\r\n", small.len()), "+ ");
    client.ask(&format!("{small}\r\n"), "i OK");
    client.ask("j COMPRESS DEFLATE\r\n", "j NO [COMPRESSIONACTIVE]");
    // Said to an idling client while nothing is asked.
    client.ask("k IDLE\r\n", "+ ");
    let mut other = Client::sign_in(&server);
    other.ask(&format!("a APPEND INBOX {{{}+}}\r\n{small}\r\n", small.len()), "a OK");
    client.ask("", "* 7 EXISTS");
    client.ask("DONE\r\n", "k OK");
    client.ask("m LOGOUT\r\n", "m OK");
    client.0.get_ref().hang_up().expect("closed");
    assert_eq!(client.line(), "");
}

#[test]
fn nothing_may_follow_compress_before_its_answer() {
    let server = start(&[]);
    let mut client = Client::sign_in(&server);
    let told = client.ask("a COMPRESS DEFLATE\r\nb NOOP\r\n", "b OK");
    assert!(told.contains("a BAD"), "{told}");
    client.compress();
    client.ask("d NOOP\r\n", "d OK");
}

#[test]
fn compressed_octets_may_be_cut_anywhere() {
    let server = start(&[]);
    let mut client = Client::sign_in(&server);
    client.ask("c COMPRESS DEFLATE\r\n", "c OK");
    let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(b"a APPEND INBOX {22+}\r\nSubject: cut\r\n\r\nhello\r\n\r\nb NOOP\r\n").expect("packed");
    packed.flush().expect("packed");
    for octet in packed.get_ref() {
        // Before it compresses for itself, the socket sends octets as they are.
        client.send(&[*octet]);
    }
    client.0.get_mut().compress(Vec::new());
    let told = client.ask("", "b OK");
    assert!(told.contains("a OK [APPENDUID"), "{told}");
}

/// Resident memory of a process, in KiB.
fn resident_kib(process: u32) -> io::Result<u64> {
    let mut status = String::new();
    std::fs::File::open(format!("/proc/{process}/status"))?.read_to_string(&mut status)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).ok_or(io::ErrorKind::NotFound.into())
}

/// Many sessions that have a mailbox open and said something; and the server's memory, in KiB, with none and with all.
fn sessions(is_compressed: bool) -> io::Result<(Server, Vec<Client>, u64)> {
    let server = start(&["limits.sessions_per_user = 1000", "limits.sessions_per_address = 1000"]);
    let mut first = Client::sign_in(&server);
    first.ask("a SELECT INBOX\r\n", "a OK");
    let before = resident_kib(server.pid())?;
    let mut clients = vec![first];
    for _ in 0..SESSIONS {
        let mut client = Client::sign_in(&server);
        if is_compressed {
            client.compress();
        }
        client.ask("a SELECT INBOX\r\n", "a OK");
        client.ask("b IDLE\r\n", "+ ");
        clients.push(client);
    }
    Ok((server, clients, before))
}

#[test]
fn a_compressed_session_at_rest_costs_little() {
    let (Ok((plain, _plain_clients, plain_before)), Ok((packed, _packed_clients, packed_before))) =
        (sessions(false), sessions(true))
    else {
        println!("skipped: there is no /proc to read");
        return;
    };
    let grown = |server: &Server, before| resident_kib(server.pid()).map(|now| now.saturating_sub(before));
    let plain = grown(&plain, plain_before).expect("it was read before");
    let most = plain + MORE_KIB * SESSIONS as u64;
    // A session rests when it was silent for a while: memory falls by then, or the test fails.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = grown(&packed, packed_before).expect("it was read before");
        if now <= most {
            println!("{SESSIONS} sessions at rest: {plain} KiB plain, {now} KiB compressed");
            return;
        }
        assert!(Instant::now() < deadline, "{SESSIONS} sessions take {now} KiB compressed, {plain} KiB plain");
        std::thread::sleep(Duration::from_millis(50));
    }
}
