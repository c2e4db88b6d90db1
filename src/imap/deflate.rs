//! COMPRESS=DEFLATE (RFC 4978): a socket whose octets are compressed both ways. What the client flushes only partially
//! is given out at once, every answer is flushed, and a resting session holds no compressor: the next answer begins a
//! new one, with the last octets that were sent as its dictionary, in the middle of the same stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Socket;

/// Compressed octets are read and written in pieces of this size.
const PIECE_BYTES: usize = 4096;
/// Octets sent last that a new compressor may refer to.
const HISTORY_BYTES: usize = 8 * 1024;
/// Compressed output that waits for the socket before more is taken.
const PENDING_BYTES: usize = 64 * 1024;
/// A client may send so many inflated octets whatever their ratio, and after that so many for each deflated one. No
/// mail is like that; a bomb is.
const FREE_BYTES: u64 = 256 << 20;
const MOST_RATIO: u64 = 256;

/// A client's socket behind DEFLATE.
pub struct Deflated {
    socket: Box<dyn Socket>,
    inflater: Decompress,
    deflater: Option<Box<Compress>>,
    /// Compressed octets that came and were not inflated yet.
    incoming: Vec<u8>,
    /// The inflater may hold more than the last buffer took.
    has_more: bool,
    /// Compressed octets on their way out.
    outgoing: Vec<u8>,
    history: Vec<u8>,
    /// Something was compressed since the last flush.
    is_unflushed: bool,
}

impl Deflated {
    pub fn new(socket: Box<dyn Socket>) -> Self {
        Deflated {
            socket,
            inflater: Decompress::new(false),
            deflater: None,
            incoming: Vec::new(),
            has_more: false,
            outgoing: Vec::new(),
            history: Vec::new(),
            is_unflushed: false,
        }
    }

    /// True when there is a compressor that nothing waits for.
    pub fn can_rest(&self) -> bool {
        self.deflater.is_some() && !self.is_unflushed && self.outgoing.is_empty()
    }

    /// Lets go of the compressor and its tables; the stream goes on with a new one.
    pub fn rest(&mut self) {
        if self.can_rest() {
            self.deflater = None;
            self.outgoing = Vec::new();
            self.incoming.shrink_to_fit();
        }
    }

    /// True when a client makes more of its octets than any mail could.
    fn is_bomb(&self) -> bool {
        let allowed = self.inflater.total_in().saturating_mul(MOST_RATIO).saturating_add(FREE_BYTES);
        self.inflater.total_out() > allowed
    }

    /// Inflates into `buffer`; gives how many octets came out.
    fn inflate(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<usize> {
        let (read, written) = (self.inflater.total_in(), self.inflater.total_out());
        let out = buffer.initialize_unfilled();
        let room = out.len();
        let status = self.inflater.decompress(&self.incoming, out, FlushDecompress::Sync);
        let read = (self.inflater.total_in() - read) as usize;
        let written = (self.inflater.total_out() - written) as usize;
        self.incoming.drain(..read);
        buffer.advance(written);
        self.has_more = written == room;
        match status {
            Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "what came is not DEFLATE")),
            // The client ended its stream: nothing it could say after that can be read.
            Ok(Status::StreamEnd) if written == 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) if self.is_bomb() => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "what came inflates to more than any mail does"))
            }
            Ok(_) => Ok(written),
        }
    }

    /// Compresses `octets`, or with none flushes what was compressed before.
    fn deflate(&mut self, octets: &[u8], flush: FlushCompress) -> io::Result<usize> {
        if self.deflater.is_none() {
            let mut fresh = Box::new(Compress::new(Compression::fast(), false));
            if !self.history.is_empty() {
                fresh.set_dictionary(&self.history).map_err(io::Error::other)?;
            }
            self.deflater = Some(fresh);
        }
        let Some(deflater) = &mut self.deflater else { return Ok(0) };
        let before = deflater.total_in();
        loop {
            let taken = (deflater.total_in() - before) as usize;
            self.outgoing.reserve(PIECE_BYTES);
            let had = self.outgoing.len();
            deflater.compress_vec(&octets[taken..], &mut self.outgoing, flush).map_err(io::Error::other)?;
            let is_through = (deflater.total_in() - before) as usize == octets.len();
            // A flush is whole when it left room.
            if is_through && self.outgoing.len() < self.outgoing.capacity() {
                break;
            }
            if had == self.outgoing.len() && taken == (deflater.total_in() - before) as usize {
                break;
            }
        }
        let taken = (deflater.total_in() - before) as usize;
        self.remember(&octets[..taken]);
        Ok(taken)
    }

    fn remember(&mut self, octets: &[u8]) {
        let new = &octets[octets.len().saturating_sub(HISTORY_BYTES)..];
        let over = (self.history.len() + new.len()).saturating_sub(HISTORY_BYTES);
        self.history.drain(..over);
        self.history.extend_from_slice(new);
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sent = 0;
        while sent < self.outgoing.len() {
            match Pin::new(&mut self.socket).poll_write(cx, &self.outgoing[sent..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(octets)) => sent += octets,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.outgoing.drain(..sent);
                    return Poll::Pending;
                }
            }
        }
        self.outgoing.clear();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Deflated {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if (!this.incoming.is_empty() || this.has_more) && this.inflate(buffer)? > 0 {
                return Poll::Ready(Ok(()));
            }
            let mut piece = [0; PIECE_BYTES];
            let mut raw = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut this.socket).poll_read(cx, &mut raw))?;
            if raw.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.incoming.extend_from_slice(raw.filled());
        }
    }
}

impl AsyncWrite for Deflated {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.outgoing.len() >= PENDING_BYTES {
            ready!(this.poll_send(cx))?;
        }
        let some = &octets[..octets.len().min(PENDING_BYTES)];
        this.is_unflushed = true;
        Poll::Ready(this.deflate(some, FlushCompress::None))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.is_unflushed) {
            this.deflate(&[], FlushCompress::Sync)?;
        }
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut *this).poll_flush(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    fn pair() -> (DuplexStream, Deflated) {
        let (near, far) = duplex(1 << 20);
        (near, Deflated::new(Box::new(far)))
    }

    fn inflated(inflater: &mut Decompress, octets: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 << 20);
        inflater.decompress_vec(octets, &mut out, FlushDecompress::Sync).expect("a good stream");
        out
    }

    #[tokio::test]
    async fn a_stream_goes_on_after_every_rest() {
        let (mut client, mut server) = pair();
        let mut inflater = Decompress::new(false);
        for round in 0..50 {
            let line = format!("* {round} FETCH (FLAGS (\\Seen))\r\n").repeat(1 + round % 7 * 40);
            server.write_all(line.as_bytes()).await.expect("takes it");
            server.flush().await.expect("sends it");
            let mut octets = vec![0; 1 << 20];
            let read = client.read(&mut octets).await.expect("has come");
            assert_eq!(String::from_utf8_lossy(&inflated(&mut inflater, &octets[..read])), line, "round {round}");
            if round % 3 == 0 {
                server.rest();
                assert!(server.deflater.is_none());
            }
        }
    }

    #[tokio::test]
    async fn what_was_flushed_partially_is_read_at_once() {
        let (mut client, mut server) = pair();
        let mut deflater = Compress::new(Compression::best(), false);
        let mut octets = Vec::with_capacity(4096);
        for line in ["a1 NOOP\r\n", "a2 IDLE\r\n"] {
            octets.clear();
            deflater.compress_vec(line.as_bytes(), &mut octets, FlushCompress::Partial).expect("compresses");
            client.write_all(&octets).await.expect("is taken");
            let mut read = [0; 100];
            let count = server.read(&mut read).await.expect("is read");
            assert_eq!(&read[..count], line.as_bytes());
        }
    }

    #[tokio::test]
    async fn large_answers_come_through_small_buffers() {
        let (mut client, mut server) = pair();
        let text: Vec<u8> = (0..300_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let sent = text.clone();
        let sending = tokio::spawn(async move {
            server.write_all(&sent).await.expect("takes it");
            server.flush().await.expect("sends it");
            server
        });
        let (mut inflater, mut got) = (Decompress::new(false), Vec::new());
        while got.len() < text.len() {
            let mut octets = vec![0; 1000];
            let read = client.read(&mut octets).await.expect("comes");
            got.extend(inflated(&mut inflater, &octets[..read]));
        }
        assert!(got == text);
        let mut server = sending.await.expect("ends");
        // The other way round.
        let mut deflater = Compress::new(Compression::fast(), false);
        let mut octets = Vec::with_capacity(4 << 20);
        deflater.compress_vec(&text, &mut octets, FlushCompress::Sync).expect("compresses");
        let sending = tokio::spawn(async move {
            for piece in octets.chunks(777) {
                client.write_all(piece).await.expect("is taken");
            }
            client
        });
        let mut got = vec![0; text.len()];
        server.read_exact(&mut got).await.expect("is read");
        assert!(got == text);
        drop(sending);
    }

    #[tokio::test]
    async fn garbage_and_bombs_end_the_connection() {
        let (mut client, mut server) = pair();
        client.write_all(b"a1 NOOP\r\n\xff\xff\xff\xff").await.expect("is taken");
        assert!(server.read(&mut [0; 100]).await.is_err());

        let (mut client, mut server) = pair();
        let bomb = tokio::spawn(async move {
            let mut deflater = Compress::new(Compression::best(), false);
            let zeros = vec![0; 1 << 20];
            let mut octets = Vec::with_capacity(1 << 16);
            for _ in 0..2000 {
                octets.clear();
                deflater.compress_vec(&zeros, &mut octets, FlushCompress::Sync).expect("compresses");
                if client.write_all(&octets).await.is_err() {
                    return;
                }
            }
        });
        let (mut read, mut octets) = (0, vec![0; 1 << 20]);
        let end = loop {
            match server.read(&mut octets).await {
                Ok(count) if count > 0 => read += count as u64,
                other => break other,
            }
        };
        assert!(end.is_err() && read < 2 * FREE_BYTES, "{read} octets: {end:?}");
        drop(server);
        bomb.await.expect("ends");
    }
}
