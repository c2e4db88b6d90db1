//! One LMTP client (RFC 2033): its commands one after another, each answered in its turn.
//! A transaction is MAIL, then RCPT for each recipient, then the message; after it there is one reply for each recipient.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use super::address::{Address, Sender};
use super::command::{self, Command, Mail};
use super::delivery::Incoming;
use super::framer::{Line, Piece};
use super::refusal::Refusal;
use super::reply::{Reply, write_lines};
use super::target::{self, Recipient, Wish};
use super::trace::Trace;
use super::wire::Wire;
use super::{Host, Peer, Socket};
use crate::clock::Clock;
use crate::config::Config;
use crate::login::Ticket;
use crate::metrics::METRICS;
use crate::types::date::DateTime;

/// A client with its connection.
pub struct Session {
    host: Arc<Host>,
    peer: Peer,
    wire: Wire,
    ticket: Arc<Ticket>,
    /// What the client called itself with LHLO.
    client: Option<String>,
    transaction: Option<Box<Transaction>>,
    bad_commands: usize,
    /// Messages that came whole, whatever became of them.
    messages: u64,
}

/// A message that was begun with MAIL.
struct Transaction {
    sender: Sender,
    is_utf8: bool,
    is_binary: bool,
    /// What MAIL declared.
    octets: u64,
    recipients: Vec<Recipient>,
    /// The message, once BDAT has begun it.
    incoming: Option<Incoming>,
}

/// Whether the conversation goes on.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Command,
    Close,
}

const OUT_OF_ORDER: Reply = Reply::new(503, "5.5.1", "this command is out of order");
const LHLO_FIRST: Reply = Reply::new(503, "5.5.1", "say LHLO first");
const NO_RECIPIENT: Reply = Reply::new(503, "5.5.1", "there is no recipient");
const BINARY_BY_DATA: Reply = Reply::new(503, "5.5.1", "a binary message comes with BDAT; say RSET first");
const LONG_LINE: Reply = Reply::new(500, "5.5.2", "this line is too long");
const TOO_MANY_BAD: Reply = Reply::new(421, "4.7.0", "too many wrong commands");
const OUT_OF_STEP: Reply = Reply::new(421, "4.7.0", "what follows is no command");
const SILENT: Reply = Reply::new(421, "4.4.2", "silent for too long");

impl Session {
    pub fn new(host: Arc<Host>, peer: Peer, socket: Box<dyn Socket>, ticket: Arc<Ticket>) -> Session {
        let wire = Wire::new(socket);
        Session { host, peer, wire, ticket, client: None, transaction: None, bad_commands: 0, messages: 0 }
    }

    /// Talks until one side has enough.
    pub async fn run(mut self) {
        let host = self.host.clone();
        match host.enter() {
            Some(_place) => match self.converse().await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => self.wire.say(&SILENT),
                Err(error) => debug!(%error, "a delivering client is gone"),
            },
            None => self.wire.say(&Refusal::Busy.reply()),
        }
        self.wire.shut().await;
        tracing::info!(
            session = self.ticket.number(),
            client = ?self.client.as_deref().unwrap_or_default(),
            seconds = self.ticket.activity().age().as_secs(),
            messages = self.messages,
            received = self.wire.received,
            sent = self.wire.sent,
            "session ended"
        );
    }

    async fn converse(&mut self) -> io::Result<()> {
        self.wire.say(&Reply::with(220, "", format!("{} LMTP", self.host.name())));
        loop {
            match self.wire.framer.line() {
                Line::NeedMore => {
                    // RFC 2920 §3.2: all that is pending goes out when there is nothing more to read.
                    self.flush().await?;
                    if self.wait().await? == Next::Close {
                        return Ok(());
                    }
                }
                _ if self.ticket.ended().is_some() => {
                    self.wire.say(&Refusal::ShuttingDown.reply());
                    return Ok(());
                }
                Line::TooLong => {
                    if self.blame(LONG_LINE) == Next::Close {
                        return Ok(());
                    }
                }
                Line::Whole(line) => {
                    let next = Box::pin(self.obey(&line)).await;
                    self.ticket.activity().ends(self.wire.received, self.wire.sent);
                    if next? == Next::Close {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Waits for more of a command. Between two of them a stop of the server ends the conversation.
    async fn wait(&mut self) -> io::Result<Next> {
        let patience = self.config().lmtp.idle_seconds;
        tokio::select! {
            received = self.wire.receive_within(patience) => received.map(|()| Next::Command),
            _ = self.ticket.wait_end() => {
                self.wire.say(&Refusal::ShuttingDown.reply());
                Ok(Next::Close)
            }
        }
    }

    async fn obey(&mut self, line: &[u8]) -> io::Result<Next> {
        let is_utf8 = self.transaction.as_ref().is_some_and(|transaction| transaction.is_utf8);
        let command = match command::parse(line, is_utf8) {
            Ok(command) => command,
            Err(reply) => {
                let is_chunk = line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT"));
                let next = self.blame(reply);
                if is_chunk {
                    // How much of what follows is message cannot be known, and it must not be taken for commands.
                    self.wire.say(&OUT_OF_STEP);
                    return Ok(Next::Close);
                }
                self.flush().await?;
                return Ok(next);
            }
        };
        // RFC 2920 §3.2: replies to these may wait for those to what was sent with them; others may not.
        let may_wait = matches!(command, Command::Rset | Command::Mail(_) | Command::Rcpt(_));
        let next = match command {
            Command::Lhlo(name) => self.lhlo(name),
            Command::Mail(mail) => self.mail(mail),
            Command::Rcpt(address) => self.rcpt(address).await,
            Command::Data => self.data().await?,
            Command::Bdat { octets, is_last } => self.bdat(octets, is_last).await?,
            Command::Rset => {
                self.transaction = None;
                self.fine(Reply::new(250, "2.0.0", "forgotten"))
            }
            Command::Noop => self.fine(Reply::new(250, "2.0.0", "done")),
            // RFC 5321 §3.5.3: not a yes, because only RCPT says who takes mail.
            Command::Vrfy => self.fine(Reply::new(252, "2.5.0", "RCPT tells whether mail is taken")),
            Command::Help => self.fine(Reply::new(214, "2.0.0", "LHLO MAIL RCPT DATA BDAT RSET NOOP QUIT")),
            Command::Quit => {
                self.wire.say(&Reply::new(221, "2.0.0", "goodbye"));
                return Ok(Next::Close);
            }
        };
        if !may_wait || !self.wire.framer.has_line() || self.wire.is_full() {
            self.flush().await?;
        }
        Ok(next)
    }

    fn lhlo(&mut self, name: String) -> Next {
        let config = self.config();
        self.client = Some(name);
        self.transaction = None;
        let lines = [
            self.host.name(),
            "PIPELINING".into(),
            format!("SIZE {}", config.limits.message_bytes),
            "8BITMIME".into(),
            "SMTPUTF8".into(),
            "ENHANCEDSTATUSCODES".into(),
            "BINARYMIME".into(),
            "CHUNKING".into(),
        ];
        write_lines(&mut self.wire.out, 250, &lines);
        Next::Command
    }

    fn mail(&mut self, mail: Mail) -> Next {
        if self.client.is_none() {
            return self.blame(LHLO_FIRST);
        }
        if self.transaction.is_some() {
            return self.blame(OUT_OF_ORDER);
        }
        let octets = mail.size.unwrap_or(0);
        let most = self.config().limits.message_bytes;
        if octets > most {
            return self.fine(Refusal::TooLarge(most).reply());
        }
        if self.host.rooms.store.is_disk_low() {
            METRICS.disk_low_refusals.add(1);
            return self.fine(Refusal::DiskLow.reply());
        }
        let Mail { sender, is_utf8, is_binary, .. } = mail;
        let transaction = Transaction { sender, is_utf8, is_binary, octets, recipients: Vec::new(), incoming: None };
        self.transaction = Some(Box::new(transaction));
        self.fine(Reply::new(250, "2.1.0", "sender taken"))
    }

    async fn rcpt(&mut self, address: Address) -> Next {
        let config = self.config();
        let Some(transaction) = self.transaction.as_mut().filter(|transaction| transaction.incoming.is_none()) else {
            return self.blame(OUT_OF_ORDER);
        };
        let wish = Wish { mailbox: None, octets: transaction.octets };
        match target::find(&self.host.rooms, &config, &address, &wish).await {
            Ok(found) => {
                // An alias is as many as its users: what one message may cost is bounded by mailboxes, not by addresses.
                let so_far: usize = transaction.recipients.iter().map(|recipient| recipient.targets.len()).sum();
                if so_far > 0 && so_far + found.targets.len() > config.lmtp.recipients {
                    METRICS.limit_refusals.add(1);
                    // RFC 5321 §4.5.3.1.10: the rest comes with another message.
                    return self.fine(Reply::new(452, "4.5.3", "too many recipients of one message"));
                }
                transaction.recipients.push(found);
                self.fine(Reply::new(250, "2.1.5", "recipient taken"))
            }
            Err(refusal) => {
                let reply = refusal.reply();
                debug!(to = ?address.text, code = reply.enhanced, "recipient refused: {}", reply.text);
                self.fine(reply)
            }
        }
    }

    async fn data(&mut self) -> io::Result<Next> {
        let begun = self.transaction.take_if(|transaction| {
            // RFC 3030 §2, §3: one message does not come by DATA and BDAT, and a binary one not by DATA at all.
            !transaction.recipients.is_empty() && transaction.incoming.is_none() && !transaction.is_binary
        });
        let Some(transaction) = begun else {
            let reply = match &self.transaction {
                Some(transaction) if transaction.is_binary => BINARY_BY_DATA,
                // RFC 2033 §4.2: 503, also when there were recipients and none was taken.
                Some(_) => NO_RECIPIENT,
                None => OUT_OF_ORDER,
            };
            let next = self.blame(reply);
            if self.wire.framer.has_more() {
                // A client that does not wait for the 354 has sent its message: it must not be taken for commands.
                self.wire.say(&OUT_OF_STEP);
                return Ok(Next::Close);
            }
            return Ok(next);
        };
        let mut incoming = self.begin(*transaction).await;
        self.wire.say(&Reply::new(354, "", "send the message, end with CRLF . CRLF"));
        self.flush().await?;
        let patience = self.config().lmtp.idle_seconds;
        self.wire.framer.begin_text();
        loop {
            match self.wire.framer.text() {
                Piece::Octets(piece) => incoming.write(&piece).await,
                Piece::NeedMore => self.wire.receive_within(patience).await?,
                Piece::End => break,
            }
        }
        self.tell_verdicts(incoming).await?;
        Ok(Next::Command)
    }

    async fn bdat(&mut self, octets: u64, is_last: bool) -> io::Result<Next> {
        let Some(mut transaction) = self.transaction.take() else {
            self.take_chunk(octets, None).await?;
            return Ok(self.blame(OUT_OF_ORDER));
        };
        if transaction.recipients.is_empty() && transaction.incoming.is_none() {
            self.take_chunk(octets, None).await?;
            // RFC 2033 §4.3: as many replies as recipients, which is none.
            if is_last {
                return Ok(Next::Command);
            }
            self.transaction = Some(transaction);
            return Ok(self.blame(NO_RECIPIENT));
        }
        let mut incoming = match transaction.incoming.take() {
            Some(incoming) => incoming,
            None => {
                let recipients = std::mem::take(&mut transaction.recipients);
                let sender = transaction.sender.take();
                self.begin(Transaction { sender, recipients, incoming: None, ..*transaction }).await
            }
        };
        self.take_chunk(octets, Some(&mut incoming)).await?;
        if is_last {
            self.tell_verdicts(incoming).await?;
            return Ok(Next::Command);
        }
        let reply = match incoming.refusal() {
            Some(refusal) => refusal.reply(),
            None => Reply::with(250, "2.0.0", format!("{octets} octets taken")),
        };
        transaction.incoming = Some(incoming);
        self.transaction = Some(transaction);
        Ok(self.fine(reply))
    }

    /// Reads a chunk to its end, whatever becomes of it (RFC 3030 §2).
    async fn take_chunk(&mut self, octets: u64, mut incoming: Option<&mut Incoming>) -> io::Result<()> {
        let patience = self.config().lmtp.idle_seconds;
        let mut left = octets;
        while left > 0 {
            let piece = self.wire.framer.chunk(left);
            if piece.is_empty() {
                self.wire.receive_within(patience).await?;
                continue;
            }
            left -= piece.len() as u64;
            if let Some(incoming) = &mut incoming {
                incoming.write(piece).await;
            }
        }
        Ok(())
    }

    async fn begin(&mut self, transaction: Transaction) -> Incoming {
        let now = DateTime::utc(Clock::System.now_secs());
        let Transaction { sender, recipients, is_utf8, is_binary, .. } = transaction;
        let (host, id) = (self.host.name(), self.host.next_id(now.unix_seconds));
        let client = self.client.as_deref().unwrap_or("unknown");
        let client = match self.peer {
            Peer::Local => client.to_owned(),
            Peer::Tcp(address) => format!("{client} ({})", literal(address.ip())),
        };
        let only = match recipients.as_slice() {
            [one] => Some(one.address.clone()),
            _ => None,
        };
        let trace = Trace {
            sender: Some(sender.as_ref().map_or("", |sender| sender.text.as_str())),
            recipient: only.as_deref(),
            client: Some(&client),
            protocol: if is_utf8 { "UTF8LMTP" } else { "LMTP" },
            host: &host,
            id: &id,
            now,
        };
        let mut incoming = Box::pin(Incoming::begin(self.config(), recipients, trace)).await;
        if is_binary {
            incoming.allow_nul();
        }
        incoming
    }

    /// RFC 2033 §4.2: one reply for each recipient, in order, each as soon as it is known.
    async fn tell_verdicts(&mut self, incoming: Incoming) -> io::Result<()> {
        let id = incoming.id();
        self.messages += 1;
        let mut verdicts = Box::pin(incoming.finish()).await;
        while let Some(verdict) = verdicts.next().await {
            let reply = match verdict {
                Ok(()) => Reply::with(250, "2.0.0", format!("stored, id {id}")),
                Err(refusal) => refusal.reply(),
            };
            self.wire.say(&reply);
            self.flush().await?;
        }
        Ok(())
    }

    /// A reply to a command that was right in itself.
    fn fine(&mut self, reply: Reply) -> Next {
        self.wire.say(&reply);
        Next::Command
    }

    /// A reply to a command that was wrong in itself. Too many of them end the conversation.
    fn blame(&mut self, reply: Reply) -> Next {
        self.wire.say(&reply);
        self.bad_commands += 1;
        if self.bad_commands < self.config().lmtp.bad_commands {
            return Next::Command;
        }
        METRICS.limit_refusals.add(1);
        self.wire.say(&TOO_MANY_BAD);
        Next::Close
    }

    async fn flush(&mut self) -> io::Result<()> {
        let patience: Duration = self.config().limits.write_timeout_seconds;
        self.wire.flush(patience).await
    }

    fn config(&self) -> Arc<Config> {
        self.host.config.load_full()
    }
}

/// RFC 5321 §4.1.3
fn literal(ip: std::net::IpAddr) -> String {
    match ip.to_canonical() {
        std::net::IpAddr::V4(ip) => format!("[{ip}]"),
        std::net::IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    }
}
