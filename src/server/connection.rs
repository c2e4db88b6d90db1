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
use tokio::sync::Semaphore;
use tracing::{Instrument, debug, error, info_span, warn};

use super::listen::Door;
use super::proxy::{self, Spoken};
use super::tls::Tls;
use crate::config::Security;
use crate::imap::{self, Ended, Host, Peer, Socket};
use crate::login::{NotAdmitted, Ticket, TlsFacts};
use crate::metrics::METRICS;

/// How long a proxy may take to say whom it speaks for: it knows that when it connects.
const PROXY_PATIENCE: Duration = Duration::from_secs(5);
/// What a handshake may still take when the server stops: who was let in then hears a BYE that says so. A connection that
/// ends without a word looks like a broken server, and some mail programs tell people so.
const LAST_HANDSHAKES: Duration = Duration::from_secs(2);
/// How many proxied connections may be about to say it.
pub(super) const MOST_UNSAID: usize = 1024;

/// What every connection needs.
pub(super) struct Gate {
    pub host: Arc<Host>,
    pub tls: Arc<Tls>,
    /// One permit for each proxied connection that has not said yet whom it is for.
    pub unsaid: Arc<Semaphore>,
}

/// What is known of a connection before its first octet of IMAP.
#[derive(Clone, Copy)]
struct Arrival {
    peer: SocketAddr,
    /// The address that was configured to listen on.
    listener: SocketAddr,
    security: Security,
    /// A proxy took the client's TLS off and said so.
    is_tls_outside: bool,
}

/// Takes a fresh connection on. Returns at once; the conversation goes on in a task of its own.
pub(super) fn begin(gate: Arc<Gate>, stream: TcpStream, peer: SocketAddr, door: &Door) {
    let arrival = Arrival { peer, listener: door.address, security: door.security, is_tls_outside: false };
    if !door.proxy_from.iter().any(|network| network.contains(peer.ip())) {
        return admit(gate, stream, arrival);
    }
    let Ok(permit) = gate.unsaid.clone().try_acquire_owned() else {
        METRICS.limit_refusals.add(1);
        return debug!(proxy = %peer, "too many proxied connections at once");
    };
    tokio::spawn(async move {
        let mut stream = stream;
        let header = tokio::time::timeout(PROXY_PATIENCE, proxy::read(&mut stream)).await;
        drop(permit);
        match header.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(Spoken::Client { peer, is_tls }) => {
                admit(gate, stream, Arrival { peer, is_tls_outside: is_tls, ..arrival });
            }
            Ok(Spoken::Itself) => admit(gate, stream, arrival),
            // Nothing is answered: whoever this is, it is not a mail program.
            Err(error) => warn!(proxy = %peer, %error, "a proxy did not say whom it speaks for"),
        }
    });
}

/// Lets a connection in, now that it is known whose it is.
fn admit(gate: Arc<Gate>, stream: TcpStream, arrival: Arrival) {
    let Arrival { peer, security, .. } = arrival;
    let ticket = match gate.host.sessions.admit(Some(peer)) {
        Ok(ticket) => ticket,
        Err(refusal) => return turn_away(&stream, peer, security, &refusal),
    };
    let span = info_span!("session", number = ticket.number(), address = %peer);
    let conversation = Box::pin(converse(gate, stream, arrival, ticket));
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

async fn converse(gate: Arc<Gate>, stream: TcpStream, arrival: Arrival, ticket: Arc<Ticket>) {
    let Arrival { peer, listener, security, is_tls_outside } = arrival;
    let mut tls: Option<Arc<TlsFacts>> = None;
    let mut socket: Box<dyn Socket> = Box::new(stream);
    if security == Security::Tls {
        match shake_hands(&gate, socket, &ticket).await {
            Ok((secured, facts)) => (socket, tls) = (secured, Some(facts)),
            Err(error) => return debug!(%error, "no TLS"),
        }
    }
    let mut greet = true;
    loop {
        if tls.is_some() || is_tls_outside {
            ticket.activity().is_secured();
        }
        let allow_plaintext = gate.host.config.load().login.allow_plaintext;
        let is_tls = tls.is_some() || is_tls_outside;
        let person = Peer {
            address: Some(peer),
            listener: Some(listener),
            is_tls,
            starttls_offered: !is_tls && security == Security::StartTls && gate.tls.is_ready(),
            plaintext_allowed: is_tls || allow_plaintext.covers(Some(peer.ip())),
            tls: tls.clone(),
        };
        // Boxed: the session's own future is by far the largest part of this one.
        match Box::pin(imap::serve(&gate.host, person, socket, greet, ticket.clone())).await {
            Ended::Closed => return,
            // Twice is the client's slip or an attack (RFC 3501 §6.2.1 has no way back); the session refuses it first.
            Ended::StartTls(_) if is_tls => return,
            Ended::StartTls(plain) => match shake_hands(&gate, plain, &ticket).await {
                Ok((secured, facts)) => (socket, tls) = (secured, Some(facts)),
                Err(error) => return debug!(%error, "no TLS"),
            },
        }
        greet = false;
    }
}

/// A handshake within its time; a stop of the server ends it soon too.
async fn shake_hands(
    gate: &Gate,
    socket: Box<dyn Socket>,
    ticket: &Ticket,
) -> io::Result<(Box<dyn Socket>, Arc<TlsFacts>)> {
    let patience: Duration = gate.host.config.load().tls.handshake_seconds;
    let in_turn = async {
        let _permit = ticket.handshake().await;
        gate.tls.accept(socket).await
    };
    let handshake = Box::pin(tokio::time::timeout(patience, in_turn));
    let stopped = async {
        ticket.wait_end().await;
        tokio::time::sleep(LAST_HANDSHAKES).await;
    };
    tokio::select! {
        shaken = handshake => {
            let (secured, facts) = shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            Ok((Box::new(secured), Arc::new(facts)))
        }
        () = stopped => Err(io::Error::other("the server is shutting down")),
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
