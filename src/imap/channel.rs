//! The way to the client and back: octets into the framer, answers out in as few writes as fit.
//! It holds no buffer while nothing is under way, so an idle session costs next to nothing.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::Socket;
use super::deflate::Deflated;
use crate::metrics::METRICS;
use crate::wire::{Framer, Limits};

/// Answers are sent when so much has gathered; until then they wait for the last command of a batch.
pub const FLUSH_BYTES: usize = 64 * 1024;
/// A buffer larger than this is given back when it was sent.
const KEPT_BYTES: usize = 512;
/// What one read takes at most.
const READ_BYTES: usize = 64 * 1024;

thread_local! {
    /// Octets on their way from a socket to a framer; used within one poll, so one for a thread is enough.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// A client's socket with what has come and what is to go.
pub struct Channel {
    socket: Line,
    pub framer: Framer,
    pub out: Vec<u8>,
    pub write_timeout: Duration,
    pub received: u64,
    pub sent: u64,
    /// Messages that were told of, taken in or changed, each time counted anew.
    pub messages: u64,
    /// Where in all that was produced the last whole line ends that is known of: what may stand when a fault ends the session.
    line_end: u64,
    /// A line is under way that may be sent in pieces.
    is_mid_line: bool,
    /// Some of `out` may have gone and some not.
    is_sending: bool,
}

impl Channel {
    pub fn new(socket: Box<dyn Socket>, limits: Limits, write_timeout: Duration) -> Self {
        Channel {
            socket: Line::Plain(socket),
            framer: Framer::new(limits),
            out: Vec::new(),
            write_timeout,
            received: 0,
            sent: 0,
            messages: 0,
            line_end: 0,
            is_mid_line: false,
            is_sending: false,
        }
    }

    /// Says that what was produced so far is whole lines.
    pub fn end_line(&mut self) {
        self.line_end = self.produced();
        self.is_mid_line = false;
    }

    /// Says that a line begins which may be sent before it ends, such as one with a body in it.
    pub fn begin_line(&mut self) {
        self.end_line();
        self.is_mid_line = true;
    }

    /// Takes back what an unfinished command has produced. False: some of a line has gone to the client, who would take
    /// whatever follows for the rest of it, so nothing may.
    pub fn take_back(&mut self) -> bool {
        let can_speak = !self.is_sending && self.sent <= self.line_end;
        self.out.truncate(if can_speak { (self.line_end - self.sent) as usize } else { 0 });
        can_speak
    }

    /// Waits for octets and gives them to the framer. The end of the stream is an error. Safe to cancel.
    pub async fn receive(&mut self) -> io::Result<()> {
        let (socket, framer) = (&mut self.socket, &mut self.framer);
        let octets = poll_fn(|cx| {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                std::task::ready!(Pin::new(&mut *socket).poll_read(cx, &mut buffer))?;
                framer.feed(buffer.filled());
                std::task::Poll::Ready(io::Result::Ok(buffer.filled().len()))
            })
        })
        .await?;
        self.received += octets as u64;
        METRICS.octets_received.add(octets as u64);
        if octets == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Sends what has gathered. A client that does not take it in time is cut off.
    pub async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let sending = async {
            self.socket.write_all(&self.out).await?;
            self.socket.flush().await
        };
        self.is_sending = true;
        tokio::time::timeout(self.write_timeout, sending).await.map_err(|_| io::ErrorKind::TimedOut)??;
        self.is_sending = false;
        self.sent += self.out.len() as u64;
        if !self.is_mid_line {
            self.line_end = self.sent;
        }
        METRICS.octets_sent.add(self.out.len() as u64);
        if self.out.capacity() > KEPT_BYTES && self.framer.buffered() == 0 {
            self.out = Vec::new();
        } else {
            self.out.clear();
        }
        Ok(())
    }

    /// Octets that went, and that are to go.
    pub fn produced(&self) -> u64 {
        self.sent + self.out.len() as u64
    }

    /// Sends if enough has gathered.
    pub async fn flush_if_full(&mut self) -> io::Result<()> {
        if self.out.len() >= FLUSH_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Says goodbye properly: what is left is sent, and TLS is told.
    pub async fn shut(&mut self) {
        let _ = self.flush().await;
        let _ = tokio::time::timeout(Duration::from_secs(2), self.socket.shutdown()).await;
    }

    /// True once everything is compressed.
    pub fn is_compressed(&self) -> bool {
        matches!(self.socket, Line::Deflated(_))
    }

    /// Sends what has gathered as it is; all that follows is compressed, in both directions.
    pub async fn compress(&mut self) -> io::Result<()> {
        self.flush().await?;
        if let Line::Plain(socket) = std::mem::replace(&mut self.socket, Line::Gone) {
            self.socket = Line::Deflated(Box::new(Deflated::new(socket)));
        }
        Ok(())
    }

    /// True when [`Channel::rest`] would give memory back.
    pub fn can_rest(&self) -> bool {
        matches!(&self.socket, Line::Deflated(socket) if socket.can_rest())
    }

    /// Lets go of what only a busy connection needs.
    pub fn rest(&mut self) {
        if let Line::Deflated(socket) = &mut self.socket {
            socket.rest();
        }
    }

    /// Gives the socket away for a TLS handshake. What came behind STARTTLS goes with the framer: it is never run.
    pub fn into_socket(self) -> Box<dyn Socket> {
        match self.socket {
            Line::Plain(socket) => socket,
            // TLS comes before login and compression after it, so this is never asked for.
            Line::Deflated(socket) => socket,
            Line::Gone => Box::new(tokio::io::empty()),
        }
    }
}

/// The socket as it is spoken through.
enum Line {
    Plain(Box<dyn Socket>),
    Deflated(Box<Deflated>),
    /// While one becomes the other.
    Gone,
}

impl Line {
    fn socket(&mut self) -> io::Result<Pin<&mut dyn Socket>> {
        match self {
            Line::Plain(socket) => Ok(Pin::new(&mut **socket)),
            Line::Deflated(socket) => Ok(Pin::new(&mut **socket)),
            Line::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.get_mut().socket()?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().socket()?.poll_write(cx, octets)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().socket()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().socket()?.poll_shutdown(cx)
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Channel({} in, {} out)", self.received, self.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_taken_back_ends_with_a_line() {
        let limits = Limits { line_bytes: 100, held_bytes: 100, literals: 1 };
        let mut channel = Channel::new(Box::new(tokio::io::empty()), limits, Duration::from_secs(1));
        channel.out.extend_from_slice(b"a OK\r\n");
        channel.end_line();
        channel.out.extend_from_slice(b"* 1 FE");
        assert!(channel.take_back());
        assert_eq!(channel.out, b"a OK\r\n");
        // What was sent between lines stands.
        channel.out.extend_from_slice(b"* 1 EXISTS\r\n");
        channel.flush().await.expect("sent");
        channel.out.extend_from_slice(b"* 2 FE");
        assert!(channel.take_back());
        assert_eq!(channel.out, b"");
        // Nothing can follow the beginning of a line.
        channel.begin_line();
        channel.out.extend_from_slice(b"* 1 FETCH (BODY[] {1000}\r\nx");
        assert!(channel.take_back());
        channel.out.extend_from_slice(b"* 1 FETCH (BODY[] {1000}\r\nx");
        channel.flush().await.expect("sent");
        assert!(!channel.take_back());
        channel.end_line();
        assert!(channel.take_back());
    }
}
