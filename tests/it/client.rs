//! A small blocking IMAP client: it sends what it is given and hands out whole response lines, literals included.
//! It understands nothing of what it reads. Everything it waits for has a limit, so that no test hangs.

use crate::tls::Trust;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};
use tokio_rustls::rustls::{ClientConnection, StreamOwned};

/// Longest wait for one line of a server.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One connection to a server.
pub struct Client {
    stream: Stream,
    /// Bytes that came and have not been handed out, and how many of them belong to a line under way.
    buffer: Vec<u8>,
    is_closed: bool,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// A handshake failed: nothing can be said any more.
    Broken,
}

impl Client {
    /// Connects; the greeting is the first line to read.
    pub fn connect(address: &str) -> io::Result<Client> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{address} names no address"));
        for candidate in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&candidate, PATIENCE) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_write_timeout(Some(PATIENCE))?;
                    return Ok(Client { stream: Stream::Plain(stream), buffer: Vec::new(), is_closed: false });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Shakes hands now. Whatever the server said before and was not read is forgotten.
    pub fn start_tls(&mut self, trust: &Trust) -> io::Result<()> {
        let Stream::Plain(mut stream) = std::mem::replace(&mut self.stream, Stream::Broken) else {
            return Err(io::Error::other("TLS is on already"));
        };
        self.buffer.clear();
        let mut connection = trust.connection().map_err(io::Error::other)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        self.stream = Stream::Tls(Box::new(StreamOwned::new(connection, stream)));
        Ok(())
    }

    /// Sends these bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Stream::Broken => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The next whole line without its CRLF, with every literal it announces and what follows that.
    /// `None` when the server has closed the connection.
    pub fn line(&mut self, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + patience;
        let mut looked_from = 0;
        loop {
            let Some(end) = find_line_end(&self.buffer, looked_from) else {
                if !self.fill(deadline)? {
                    return Ok(None);
                }
                continue;
            };
            match literal_octets(&self.buffer[looked_from..end]) {
                Some(octets) => {
                    let literal_end = end + 2 + octets;
                    while self.buffer.len() < literal_end {
                        if !self.fill(deadline)? {
                            return Ok(None);
                        }
                    }
                    looked_from = literal_end;
                }
                None => {
                    let rest = self.buffer.split_off(end + 2);
                    let mut line = std::mem::replace(&mut self.buffer, rest);
                    line.truncate(end);
                    return Ok(Some(line));
                }
            }
        }
    }

    /// Sends one command under the tag `tag` and reads up to its tagged answer, which comes last.
    /// A synchronising literal is sent when the server asks for it: `text` is then cut at `literal`.
    pub fn order(&mut self, tag: &str, text: &str, literal: Option<&[u8]>) -> io::Result<Vec<Vec<u8>>> {
        let mut lines = Vec::new();
        match literal {
            None => self.send(format!("{tag} {text}\r\n").as_bytes())?,
            Some(octets) => self.send(format!("{tag} {text} {{{}}}\r\n", octets.len()).as_bytes())?,
        }
        loop {
            let Some(line) = self.line(PATIENCE)? else {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("closed while answering {text}")));
            };
            if line.starts_with(b"+") {
                self.send(literal.unwrap_or_default())?;
                self.send(b"\r\n")?;
                continue;
            }
            let is_tagged = line.starts_with(format!("{tag} ").as_bytes());
            lines.push(line);
            if is_tagged {
                return Ok(lines);
            }
        }
    }

    /// Waits for more bytes; false when there will be none.
    fn fill(&mut self, deadline: Instant) -> io::Result<bool> {
        if self.is_closed {
            return Ok(false);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the server said nothing more in time"));
        }
        let mut piece = [0_u8; 16 * 1024];
        let read = match &mut self.stream {
            Stream::Plain(stream) => stream.set_read_timeout(Some(left)).and_then(|()| stream.read(&mut piece)),
            Stream::Tls(stream) => {
                stream.sock.set_read_timeout(Some(left))?;
                stream.read(&mut piece)
            }
            Stream::Broken => Err(io::ErrorKind::NotConnected.into()),
        };
        match read {
            Ok(0) => self.is_closed = true,
            Ok(count) => self.buffer.extend_from_slice(&piece[..count]),
            // A server that was killed resets the connection: that is an end like any other.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.is_closed = true,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the server said nothing more in time"));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(!self.is_closed)
    }
}

fn find_line_end(buffer: &[u8], from: usize) -> Option<usize> {
    buffer[from..].windows(2).position(|pair| pair == b"\r\n").map(|at| from + at)
}

/// The number in `{n}` at the end of a line.
fn literal_octets(line: &[u8]) -> Option<usize> {
    let inner = line.strip_suffix(b"}")?;
    let open = inner.iter().rposition(|byte| *byte == b'{')?;
    std::str::from_utf8(&inner[open + 1..]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_line_holds_its_literals() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("one client");
            for piece in ["* 1 FETCH (BODY[] {4}", "\r", "\na\r\nb BODY[1] {0}\r\n)\r", "\n* OK next\r\n"] {
                stream.write_all(piece.as_bytes()).expect("sent");
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let mut client = Client::connect(&address).expect("connected");
        let first = client.line(PATIENCE).expect("readable");
        assert_eq!(first.as_deref(), Some(&b"* 1 FETCH (BODY[] {4}\r\na\r\nb BODY[1] {0}\r\n)"[..]));
        assert_eq!(client.line(PATIENCE).expect("readable").as_deref(), Some(&b"* OK next"[..]));
        assert_eq!(client.line(PATIENCE).expect("readable"), None);
        server.join().expect("no panic");
    }
}
