//! The way to the client and back: octets into the framer, replies out in as few writes as fit.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

use super::Socket;
use super::framer::Framer;
use super::reply::Reply;

/// What one read takes at most.
const READ_BYTES: usize = 64 * 1024;
/// Replies are sent when so much has gathered, whatever the client has still to say.
const FLUSH_BYTES: usize = 16 * 1024;

thread_local! {
    /// Octets on their way from a socket to a framer; used within one poll, so one for a thread is enough.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// A client's socket with what has come and what is to go.
pub struct Wire {
    socket: Box<dyn Socket>,
    pub framer: Framer,
    pub out: Vec<u8>,
}

impl Wire {
    pub fn new(socket: Box<dyn Socket>) -> Wire {
        Wire { socket, framer: Framer::default(), out: Vec::new() }
    }

    /// Waits for octets and gives them to the framer. The end of the stream is an error. Safe to cancel.
    pub async fn receive(&mut self) -> io::Result<()> {
        let (socket, framer) = (&mut self.socket, &mut self.framer);
        framer.rest();
        let octets = poll_fn(|cx| {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                std::task::ready!(Pin::new(&mut *socket).poll_read(cx, &mut buffer))?;
                framer.feed(buffer.filled());
                Poll::Ready(io::Result::Ok(buffer.filled().len()))
            })
        })
        .await?;
        if octets == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// The same for at most so long.
    pub async fn receive_within(&mut self, patience: Duration) -> io::Result<()> {
        tokio::time::timeout(patience, self.receive()).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Adds a reply to what is to go.
    pub fn say(&mut self, reply: &Reply) {
        reply.write(&mut self.out);
    }

    /// Sends what has gathered. A client that does not take it in time is cut off.
    pub async fn flush(&mut self, patience: Duration) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let sending = async {
            self.socket.write_all(&self.out).await?;
            self.socket.flush().await
        };
        tokio::time::timeout(patience, sending).await.map_err(|_| io::ErrorKind::TimedOut)??;
        self.out = Vec::new();
        Ok(())
    }

    /// True when so much has gathered that it should go.
    pub fn is_full(&self) -> bool {
        self.out.len() >= FLUSH_BYTES
    }

    /// Says goodbye: what is left is sent.
    pub async fn shut(&mut self) {
        let _ = self.flush(Duration::from_secs(2)).await;
        let _ = tokio::time::timeout(Duration::from_secs(2), self.socket.shutdown()).await;
    }
}
