//! A small blocking LMTP client: it sends what it is given and hands out replies. It understands nothing else of them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest wait for a reply.
const PATIENCE: Duration = Duration::from_secs(30);

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// One connection, greeted and past LHLO.
pub struct Lmtp {
    stream: BufReader<Box<dyn Stream>>,
    /// What LHLO was answered, line by line.
    pub offers: Vec<String>,
}

impl Lmtp {
    pub fn unix(path: &Path) -> Lmtp {
        let stream = UnixStream::connect(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        Lmtp::greeted(Box::new(stream))
    }

    pub fn tcp(address: &str) -> Lmtp {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        Lmtp::greeted(Box::new(stream))
    }

    fn greeted(stream: Box<dyn Stream>) -> Lmtp {
        let mut lmtp = Lmtp { stream: BufReader::new(stream), offers: Vec::new() };
        assert!(lmtp.reply().starts_with("220 "));
        lmtp.send(b"LHLO mail.example.net\r\n");
        loop {
            let line = lmtp.reply();
            assert!(line.starts_with("250"), "{line}");
            let is_last = line.starts_with("250 ");
            lmtp.offers.push(line[4..].to_owned());
            if is_last {
                return lmtp;
            }
        }
    }

    pub fn send(&mut self, octets: &[u8]) {
        self.stream.get_mut().write_all(octets).expect("sent");
    }

    /// The next line of a reply; empty at the end of the connection.
    pub fn reply(&mut self) -> String {
        self.try_reply().expect("a reply")
    }

    pub fn try_reply(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Sends a command and gives the reply of one line.
    pub fn ask(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n").as_bytes());
        self.reply()
    }

    /// Sends a message up to the final dot, its replies still to come. Every recipient has to be taken.
    pub fn begin(&mut self, recipients: &[&str], message: &[u8]) {
        assert!(self.ask("MAIL FROM:<sender@example.net> BODY=8BITMIME").starts_with("250 2.1.0"));
        for recipient in recipients {
            let reply = self.ask(&format!("RCPT TO:<{recipient}>"));
            assert!(reply.starts_with("250 2.1.5"), "{recipient}: {reply}");
        }
        assert!(self.ask("DATA").starts_with("354"));
        self.send(message);
        self.send(b".\r\n");
    }

    /// Sends a message and gives the code of each recipient.
    pub fn deliver(&mut self, recipients: &[&str], message: &[u8]) -> Vec<String> {
        self.begin(recipients, message);
        recipients.iter().map(|_| self.reply()[..9].to_owned()).collect()
    }
}
