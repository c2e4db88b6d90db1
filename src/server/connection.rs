//! One connection: let in, TLS if its door has that, the session, TLS in the middle if it asks, the end.
//! A fault in one session ends at its task. An idle connection keeps no buffer here, and whatever is large and
//! short-lived (a handshake) is boxed, so that it is not paid for until the end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;
use tracing::{Instrument, debug, error, info_span};

use super::tls::Tls;
use crate::config::Security;
use crate::imap::{self, Ended, Host, Peer, Socket};
use crate::login::{NotAdmitted, Ticket};
use crate::metrics::METRICS;

/// What every connection needs.
pub(super) struct Gate {
    pub host: Arc<Host>,
    pub tls: Arc<Tls>,
}

/// Takes a fresh connection on. Returns at once; the conversation goes on in a task of its own.
pub(super) fn begin(gate: Arc<Gate>, stream: TcpStream, peer: SocketAddr, security: Security) {
    let ticket = match gate.host.sessions.admit(Some(peer)) {
        Ok(ticket) => ticket,
        Err(refusal) => return turn_away(&stream, peer, security, &refusal),
    };
    let span = info_span!("session", number = ticket.number(), address = %peer);
    let conversation = Box::pin(converse(gate, stream, peer, security, ticket));
    tokio::spawn(Contained { conversation }.instrument(span));
}

/// RFC 3501 §7.1.5: a BYE as greeting says that the server will not talk. Behind TLS it could be said only after a
/// handshake, which is too much for somebody who is one too many.
fn turn_away(stream: &TcpStream, peer: SocketAddr, security: Security, refusal: &NotAdmitted) {
    debug!(address = %peer, %refusal, "turned away");
    if security != Security::Tls {
        // The socket is fresh, so a line fits; if not, closing says enough.
        let _ = stream.try_write(format!("* BYE [{}] {refusal}\r\n", refusal.code()).as_bytes());
    }
}

async fn converse(gate: Arc<Gate>, stream: TcpStream, peer: SocketAddr, security: Security, ticket: Arc<Ticket>) {
    let mut is_tls = security == Security::Tls;
    let mut socket: Box<dyn Socket> = Box::new(stream);
    if is_tls {
        match shake_hands(&gate, socket, &ticket).await {
            Ok(secured) => socket = secured,
            Err(error) => return debug!(%error, "no TLS"),
        }
    }
    let mut greet = true;
    loop {
        let allow_plaintext = gate.host.config.load().login.allow_plaintext;
        let person = Peer {
            address: Some(peer),
            is_tls,
            starttls_offered: !is_tls && security == Security::StartTls && gate.tls.is_ready(),
            plaintext_allowed: is_tls || allow_plaintext.covers(Some(peer.ip())),
        };
        // Boxed: the session's own future is by far the largest part of this one.
        match Box::pin(imap::serve(&gate.host, person, socket, greet, ticket.clone())).await {
            Ended::Closed => return,
            // Twice is the client's slip or an attack (RFC 3501 §6.2.1 has no way back); the session refuses it first.
            Ended::StartTls(_) if is_tls => return,
            Ended::StartTls(plain) => match shake_hands(&gate, plain, &ticket).await {
                Ok(secured) => socket = secured,
                Err(error) => return debug!(%error, "no TLS"),
            },
        }
        is_tls = true;
        greet = false;
    }
}

/// A handshake within the time a client has to log in; a stop of the server ends it too.
async fn shake_hands(gate: &Gate, socket: Box<dyn Socket>, ticket: &Ticket) -> io::Result<Box<dyn Socket>> {
    let patience: Duration = gate.host.config.load().limits.login_seconds;
    let handshake = Box::pin(tokio::time::timeout(patience, gate.tls.accept(socket)));
    tokio::select! {
        shaken = handshake => Ok(Box::new(shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??)),
        _ = ticket.wait_end() => Err(io::Error::other("the server is shutting down")),
    }
}

/// Keeps a conversation's panics its own.
pub(super) fn contain(conversation: impl Future<Output = ()> + Send) -> impl Future<Output = ()> + Send {
    Contained { conversation: Box::pin(conversation) }
}

/// A conversation whose panics stay its own: told once, the connection closed, everybody else undisturbed.
struct Contained<F> {
    conversation: Pin<Box<F>>,
}

impl<F: Future<Output = ()>> Future for Contained<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let conversation = self.conversation.as_mut();
        // After a panic the conversation is dropped and never looked at again; what it shares with others is behind
        // locks that are whole after every step.
        catch_unwind(AssertUnwindSafe(|| conversation.poll(cx))).unwrap_or_else(|_| {
            METRICS.session_panics.add(1);
            error!("the session ended by a fault of the program");
            Poll::Ready(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_one_conversation_only() {
        let fault = async {
            tokio::task::yield_now().await;
            panic!("on purpose");
        };
        let contained = tokio::spawn(Contained { conversation: Box::pin(fault) });
        assert!(contained.await.is_ok(), "the panic did not get out");
    }
}
