//! A message that a command brings: `pillarbox deliver`, through the running server or, when none runs, by itself.

use std::sync::Arc;

use super::address::{Address, BadPath, Sender};
use super::delivery::Incoming;
use super::refusal::Refusal;
use super::target::{self, Wish};
use super::trace::Trace;
use super::{Host, Place};
use crate::clock::Clock;
use crate::login::Ticket;
use crate::metrics::METRICS;
use crate::types::MailboxName;
use crate::types::date::DateTime;

/// What a command asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// A user, an alias or `user+folder`, with a domain or without.
    pub recipient: String,
    /// Into this mailbox, whatever the address says.
    pub mailbox: Option<String>,
    /// As [`bare_sender`] takes it; `None`: not known, and so no `Return-Path`.
    pub sender: Option<String>,
}

/// A delivery under way. Dropped before its end it leaves nothing behind.
pub struct Local {
    incoming: Incoming,
    _place: Place,
    /// A stop of the server waits for it.
    _ticket: Arc<Ticket>,
}

/// Reads a sender as people write it: `anna@example.org`, with or without brackets; nothing, or `<>`, is the null sender.
pub fn bare_sender(text: &str) -> Result<Sender, BadPath> {
    let bare = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text);
    if bare.is_empty() { Ok(None) } else { Address::parse(bare.as_bytes()).map(Some) }
}

impl Local {
    /// Finds whom the message is for. A refusal now is one that would come at the end too.
    pub async fn begin(host: &Arc<Host>, order: &Order) -> Result<Local, Refusal> {
        let ticket = host.sessions.admit(None).map_err(|_| Refusal::ShuttingDown)?;
        let place = host.enter().ok_or(Refusal::Busy)?;
        if host.rooms.store.is_disk_low() {
            METRICS.disk_low_refusals.add(1);
            return Err(Refusal::DiskLow);
        }
        let config = host.config.load_full();
        let recipient = Address::parse(order.recipient.as_bytes()).map_err(|_| Refusal::NoSuchUser)?;
        let mailbox = order.mailbox.as_deref().map(MailboxName::new).transpose().map_err(|_| Refusal::NoSuchFolder)?;
        let sender = order.sender.as_deref().map(bare_sender).transpose().map_err(|_| Refusal::NoSuchUser)?;
        let found = target::find(&host.rooms, &config, &recipient, &Wish { mailbox, octets: 0 }).await?;
        let now = DateTime::utc(Clock::System.now_secs());
        let (name, id) = (host.name(), host.next_id(now.unix_seconds));
        let trace = Trace {
            sender: sender.as_ref().map(|sender| sender.as_ref().map_or("", |address| address.text.as_str())),
            recipient: Some(&recipient.text),
            client: None,
            protocol: "local",
            host: &name,
            id: &id,
            now,
        };
        let incoming = Box::pin(Incoming::begin(config, vec![found], trace)).await;
        Ok(Local { incoming, _place: place, _ticket: ticket })
    }

    /// The next piece of the message, lines ending with CRLF.
    pub async fn write(&mut self, piece: &[u8]) {
        self.incoming.write(piece).await;
    }

    /// The message is whole. When this returns Ok it would survive a power cut; the sentence has its id.
    pub async fn finish(self) -> Result<String, Refusal> {
        let id = self.incoming.id();
        let mut verdicts = Box::pin(self.incoming.finish()).await;
        match verdicts.next().await {
            Some(Ok(())) => Ok(format!("stored, id {id}")),
            Some(Err(refusal)) => Err(refusal),
            None => Err(Refusal::Trouble),
        }
    }
}
