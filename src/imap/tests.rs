//! Whole sessions over a pipe.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

use super::house::House;
use super::serve;
use crate::metrics::METRICS;

/// A pipe that counts what is written to it, each time a packet on a real connection.
struct Counted {
    pipe: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.pipe).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn the_answers_of_a_batch_leave_at_once() {
    let house = House::with_users(&[("anna", "sesame")]);
    let (pipe, mut client) = tokio::io::duplex(1 << 20);
    let writes = Arc::new(AtomicUsize::new(0));
    let socket = Box::new(Counted { pipe, writes: writes.clone() });
    let (host, ticket) = (house.host.clone(), house.host.sessions.admit(None).expect("room"));
    let session = tokio::spawn(async move { serve(&host, House::peer(true), socket, true, ticket).await });
    let mut heard = String::new();
    until(&mut client, &mut heard, "\r\n").await;
    client.write_all(b"a LOGIN anna sesame\r\nb SELECT INBOX\r\n").await.expect("sent");
    until(&mut client, &mut heard, "b OK").await;
    let before = writes.load(Ordering::Relaxed);
    let batch: String = (0..100).map(|n| format!("n{n} NOOP\r\nf{n} UID FETCH 1:* FLAGS\r\n")).collect();
    client.write_all(batch.as_bytes()).await.expect("sent");
    until(&mut client, &mut heard, "f99 OK").await;
    assert_eq!(writes.load(Ordering::Relaxed) - before, 1, "200 answers, {heard}");
    // One command alone is answered without waiting for more.
    client.write_all(b"z NOOP\r\n").await.expect("sent");
    until(&mut client, &mut heard, "z OK").await;
    assert_eq!(writes.load(Ordering::Relaxed) - before, 2);
    drop(client);
    session.await.expect("it ends with its client");
}

/// A pipe with a fault of the program in it: it panics when it reads or writes this text.
struct Faulty {
    pipe: DuplexStream,
    panics_at: &'static str,
}

impl Faulty {
    fn look(&self, octets: &[u8]) {
        assert!(!String::from_utf8_lossy(octets).contains(self.panics_at), "on purpose");
    }
}

impl AsyncRead for Faulty {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.pipe).poll_read(cx, buffer);
        self.look(buffer.filled());
        poll
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let some = octets.len().min(10);
        let poll = Pin::new(&mut self.pipe).poll_write(cx, &octets[..some]);
        self.look(octets);
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

/// All that a client hears who says this, in a session that panics at that.
async fn heard_of_fault(said: &[&str], panics_at: &'static str) -> String {
    let house = House::with_users(&[("anna", "sesame")]);
    let (pipe, mut client) = tokio::io::duplex(1 << 20);
    let (host, ticket) = (house.host.clone(), house.host.sessions.admit(None).expect("room"));
    let socket = Box::new(Faulty { pipe, panics_at });
    let session = tokio::spawn(async move { serve(&host, House::peer(true), socket, true, ticket).await });
    let mut heard = String::new();
    until(&mut client, &mut heard, "\r\n").await;
    for text in said {
        client.write_all(text.as_bytes()).await.expect("sent");
        tokio::task::yield_now().await;
    }
    client.read_to_string(&mut heard).await.expect("closed properly");
    session.await.expect("the panic did not get out");
    assert_eq!(house.host.sessions.count(), 0);
    heard
}

/// How many lines begin so.
fn count(heard: &str, beginning: &str) -> usize {
    heard.lines().filter(|line| line.starts_with(beginning)).count()
}

// RFC 3501 §3.4
#[tokio::test]
async fn a_session_that_panics_says_bye() {
    let faults = METRICS.session_panics.read();
    let commands = ["a LOGIN anna sesame\r\n", "b SELECT INBOX\r\n", "c FAULT\r\n"];
    let heard = heard_of_fault(&commands, "FAULT").await;
    assert!(heard.ends_with("\r\n"), "{heard}");
    assert_eq!(count(&heard, "* BYE [SERVERBUG] "), 1, "{heard}");
    // In the middle of a command, between the invitation and the message.
    let commands = ["a LOGIN anna sesame\r\n", "b APPEND INBOX {20}\r\n", "x FAULT"];
    let heard = heard_of_fault(&commands, "FAULT").await;
    assert_eq!(count(&heard, "* BYE [SERVERBUG] "), 1, "{heard}");
    assert!(METRICS.session_panics.read() >= faults + 2);
}

/// What has gone of an answer is not known then; the client could take a BYE for a part of it.
#[tokio::test]
async fn a_panic_while_it_sends_says_nothing_more() {
    let heard = heard_of_fault(&["a LOGIN anna sesame\r\nb SELECT INBOX\r\n"], "b OK").await;
    assert!(heard.ends_with("\r\na OK [CAPA"), "ten octets of it, none of them twice, and no BYE: {heard}");
}

/// Reads until `text` and the end of its line have come.
async fn until(client: &mut DuplexStream, heard: &mut String, text: &str) {
    while !heard.rsplit_once(text).is_some_and(|(_, rest)| text.ends_with('\n') || rest.ends_with('\n')) {
        let mut piece = [0; 4096];
        let count = client.read(&mut piece).await.expect("read");
        assert!(count > 0, "the session ended: {heard}");
        heard.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
}
