//! A message on the control socket: pieces, each with its length in four octets before it, and a length of nothing at
//! the end. So a sender that dies in the middle is never taken for one that has finished.

use std::io::{self, Write};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncReadExt};
use tokio::sync::mpsc;

use super::Reply;

/// Longest piece, in octets.
pub const MOST_PIECE_BYTES: usize = 256 * 1024;
/// How long a sender may be silent in the middle. It waits itself for whoever pipes the message into it.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a command asks with `Deliver`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub user: String,
    pub mailbox: Option<String>,
    pub sender: Option<String>,
}

/// A message that is to come.
pub struct Message {
    reader: Box<dyn AsyncBufRead + Send + Unpin>,
    tell: mpsc::Sender<Reply>,
}

impl Message {
    pub(super) fn new(reader: impl AsyncBufRead + Send + Unpin + 'static, tell: mpsc::Sender<Reply>) -> Message {
        Message { reader: Box::new(reader), tell }
    }

    /// Invites the sender to send.
    pub async fn ask(&mut self) {
        // If nobody listens any more, the next read tells.
        let _ = self.tell.send(Reply::SendMessage).await;
    }

    /// The next piece; `None` at the end of the message.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        tokio::time::timeout(PATIENCE, self.read()).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    async fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let octets = self.reader.read_u32().await? as usize;
        if octets == 0 {
            return Ok(None);
        }
        if octets > MOST_PIECE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a piece is too long"));
        }
        let mut piece = vec![0; octets];
        self.reader.read_exact(&mut piece).await?;
        Ok(Some(piece))
    }
}

/// Sends a piece of a message; an empty one would end it and is left out.
pub(super) fn send_piece(mut to: impl Write, piece: &[u8]) -> io::Result<()> {
    for part in piece.chunks(MOST_PIECE_BYTES) {
        to.write_all(&u32::try_from(part.len()).map_err(io::Error::other)?.to_be_bytes())?;
        to.write_all(part)?;
    }
    Ok(())
}

/// Sends the end of a message.
pub(super) fn send_end(mut to: impl Write) -> io::Result<()> {
    to.write_all(&0u32.to_be_bytes())?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(octets: Vec<u8>) -> io::Result<Vec<u8>> {
        let (tell, _told) = mpsc::channel(1);
        let mut message = Message::new(io::Cursor::new(octets), tell);
        let mut whole = Vec::new();
        while let Some(piece) = message.next().await? {
            whole.extend(piece);
        }
        Ok(whole)
    }

    #[tokio::test]
    async fn a_message_is_whole_or_none() {
        let text = vec![7u8; MOST_PIECE_BYTES + 5];
        let mut sent = Vec::new();
        send_piece(&mut sent, &text).expect("written");
        send_piece(&mut sent, b"").expect("written");
        send_piece(&mut sent, b"end").expect("written");
        send_end(&mut sent).expect("written");
        assert_eq!(read_all(sent.clone()).await.expect("whole"), [&text[..], b"end"].concat());
        for cut in [0, 3, 4, 100, sent.len() - 5, sent.len() - 4, sent.len() - 1] {
            assert!(read_all(sent[..cut].to_vec()).await.is_err(), "cut at {cut}");
        }
        assert!(read_all(vec![0xff; 100]).await.is_err());
    }
}
