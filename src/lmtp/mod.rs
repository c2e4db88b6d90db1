//! Mail comes in: LMTP (RFC 2033) from a mail server beside this one, and `pillarbox deliver` from a command.
//! Either finds the users of an address, streams the message once into the mail store, and tells for each recipient
//! what became of it: yes only when the message would survive a power cut. Nothing is ever sent on from here.

mod address;
mod command;
mod delivery;
mod framer;
mod line_ends;
mod local;
mod recipients;
mod refusal;
mod reply;
mod session;
mod target;
mod trace;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::Config;
use crate::login::{Sessions, Ticket};
use crate::mailstore::MailStore;
use crate::mailstore::directory::Directory;
use crate::metrics::METRICS;

pub use line_ends::LineEnds;
pub use local::{Local, Order, bare_sender};
pub use recipients::canonical_alias;
pub use refusal::Refusal;

/// What a client talks through: a Unix socket, TCP, or a test's pipe.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// On this machine, behind the Unix socket.
    Local,
    Tcp(SocketAddr),
}

/// Where mail is kept and who it is for.
#[derive(Clone)]
pub struct Rooms {
    pub store: MailStore,
    pub directory: Arc<Directory>,
}

/// What all deliveries share.
pub struct Host {
    pub rooms: Rooms,
    pub sessions: Arc<Sessions>,
    pub config: Arc<ArcSwap<Config>>,
    /// How many are under way.
    open: AtomicUsize,
    /// Numbers the messages of this process.
    messages: AtomicU64,
    /// The machine's own name.
    machine: String,
}

impl Host {
    pub fn new(rooms: Rooms, sessions: Arc<Sessions>, config: Arc<ArcSwap<Config>>) -> Host {
        let (open, messages) = (AtomicUsize::new(0), AtomicU64::new(0));
        Host { rooms, sessions, config, open, messages, machine: machine_name() }
    }

    /// One more delivery, if there is room for it; it ends when the place is dropped.
    fn enter(self: &Arc<Self>) -> Option<Place> {
        let most = self.config.load().lmtp.connections;
        // The place is taken first and given back at once if it was one too many, so that two cannot take the last.
        let place = Place(self.clone());
        let before = self.open.fetch_add(1, Ordering::AcqRel);
        if before < most {
            return Some(place);
        }
        METRICS.limit_refusals.add(1);
        None
    }

    /// How many deliveries are under way.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// A number for a message that is coming, for the log and its header; unique while no clock goes back.
    fn next_id(&self, now: i64) -> String {
        format!("{now:x}.{:x}", self.messages.fetch_add(1, Ordering::Relaxed))
    }

    /// What this machine is called towards others.
    fn name(&self) -> String {
        let settings = &self.config.load().lmtp;
        if settings.host_name.is_empty() { self.machine.clone() } else { settings.host_name.clone() }
    }
}

/// A place among the deliveries under way.
struct Place(Arc<Host>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The system's name for this machine, if it is fit for a header.
fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if address::is_domain(name) { name.to_owned() } else { "localhost".into() }
}

/// Serves one LMTP client until it leaves or is sent away.
pub async fn serve(host: &Arc<Host>, peer: Peer, socket: Box<dyn Socket>, ticket: Arc<Ticket>) {
    session::Session::new(host.clone(), peer, socket, ticket).run().await;
}

#[cfg(test)]
mod tests;
