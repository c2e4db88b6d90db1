//! What each command does. A session reads commands from its [`Channel`](channel::Channel), hands each to
//! the handler its row in [`commands`] names, and tells what others changed where that is allowed.

mod ahead;
mod answer;
pub mod capability;
mod channel;
mod cmd;
mod commands;
mod deflate;
mod dispatch;
#[cfg(test)]
mod house;
mod message_limit;
mod notifier;
mod progress;
mod selection;
mod session;
mod tally;
#[cfg(test)]
mod tests;
mod updates;

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::Config;
use crate::login::{Login, Sessions, Ticket, TlsFacts};
use crate::mailstore::MailStore;

/// What a session talks through: TCP, TLS, or a test's pipe.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// What all sessions share.
pub struct Host {
    pub store: MailStore,
    pub login: Arc<Login>,
    pub sessions: Arc<Sessions>,
    pub config: Arc<ArcSwap<Config>>,
}

/// Who is at the other end, and how the way there is protected.
#[derive(Debug, Clone)]
pub struct Peer {
    /// `None` for a local socket.
    pub address: Option<SocketAddr>,
    /// The address it is configured under where the client came in.
    pub listener: Option<SocketAddr>,
    pub is_tls: bool,
    /// The listener offers STARTTLS and TLS is not on yet.
    pub starttls_offered: bool,
    /// A password may be sent as it is.
    pub plaintext_allowed: bool,
    /// What the TLS layer knows; `None`: TLS is off, or ends elsewhere.
    pub tls: Option<Arc<TlsFacts>>,
}

/// How a session ended.
pub enum Ended {
    /// The client was told to begin TLS: shake hands, and serve the socket again without a greeting.
    StartTls(Box<dyn Socket>),
    Closed,
}

/// Serves one client until it leaves, is cut off, or asks for TLS. `greet` is false after STARTTLS
/// (RFC 3501 §6.2.1: there is no second greeting).
pub async fn serve(host: &Arc<Host>, peer: Peer, socket: Box<dyn Socket>, greet: bool, ticket: Arc<Ticket>) -> Ended {
    session::Session::new(host.clone(), peer, socket, ticket).run(greet).await
}
