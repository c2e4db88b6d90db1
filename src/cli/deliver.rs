//! `pillarbox deliver -u USER < message`: for mail servers and fetchers that hand mail to a command. Through the running
//! server when there is one, else by itself. Ends with the codes of sysexits.h, which such programs understand.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use clap::Args;

use super::{Failure, Place};
use crate::config::Config;
use crate::control::{AskError, Reply, Request, client};
use crate::lmtp::{LineEnds, Order, bare_sender};
use crate::server::deliver::{Undelivered, deliver_at_rest};

/// EX_USAGE, EX_NOUSER and the others of sysexits.h. What may pass is told as 75: other codes make a mail server give
/// up and send the message back.
pub(super) const USAGE: u8 = 64;
const INPUT: u8 = 74;
const TRY_AGAIN: u8 = 75;
const NOT_ALLOWED: u8 = 77;

/// How long another delivery, or a server that starts, may have the data directory.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What is read of the message at a time.
const PIECE_BYTES: usize = 64 * 1024;

#[derive(Debug, Args)]
pub(super) struct Deliver {
    /// The user, an alias, or user+folder
    #[arg(short, long, value_name = "USER")]
    user: String,
    /// Into this mailbox instead of INBOX
    #[arg(short, long, value_name = "MAILBOX")]
    mailbox: Option<String>,
    /// The sender for Return-Path; empty for reports, which nobody sent
    #[arg(short = 'f', long, value_name = "SENDER")]
    sender: Option<String>,
    #[command(flatten)]
    place: Place,
}

pub(super) fn obey(asked: Deliver) -> Result<(), Failure> {
    let Deliver { user, mailbox, sender, place } = asked;
    let fails = |exit, reason: String| Failure::Undelivered { exit, reason };
    if sender.as_deref().is_some_and(|sender| bare_sender(sender).is_err()) {
        return Err(fails(USAGE, "the sender is no address".into()));
    }
    // Somebody may be at work on the file: no reason to send mail back.
    let config = place.load().map_err(|failure| fails(TRY_AGAIN, failure.to_string()))?;
    let order = Order { recipient: user, mailbox, sender };
    let until = Instant::now() + PATIENCE;
    let mut input = Input { ends: Some(LineEnds::default()) };
    loop {
        match through_server(&config, &order, &mut || input.next()) {
            Err(AskError::NotRunning) => {}
            Err(AskError::Input(error)) => return Err(fails(INPUT, format!("the message cannot be read: {error}"))),
            Err(error @ AskError::NotAllowed(_)) => return Err(fails(NOT_ALLOWED, error.to_string())),
            Err(error @ AskError::Broken(_)) => return Err(fails(TRY_AGAIN, error.to_string())),
            Ok(Reply::Done(_)) => return Ok(()),
            Ok(Reply::Undelivered { exit, reason }) => return Err(fails(exit, reason)),
            Ok(Reply::Failed(reason) | Reply::Found(reason) | Reply::Line(reason)) => {
                return Err(fails(TRY_AGAIN, reason));
            }
            Ok(Reply::SendMessage | Reply::Begin) => {
                return Err(fails(TRY_AGAIN, "the server asked for the message twice".into()));
            }
            Ok(Reply::Session(_) | Reply::Status(_)) => {
                return Err(fails(TRY_AGAIN, "the server gave another answer than was asked for".into()));
            }
        }
        match deliver_at_rest(&config, &order, &mut || input.next()) {
            Ok(_) => return Ok(()),
            Err(Undelivered::Held) if Instant::now() < until => std::thread::sleep(LOOK_EVERY),
            Err(Undelivered::Held) => return Err(fails(TRY_AGAIN, "the data directory is in use".into())),
            Err(Undelivered::Refused(refusal)) => {
                return Err(fails(refusal.exit_code(), refusal.reply().text.into_owned()));
            }
            Err(Undelivered::Input(error)) => return Err(fails(INPUT, format!("the message cannot be read: {error}"))),
            Err(Undelivered::NotAllowed(text)) => return Err(fails(NOT_ALLOWED, text)),
            Err(Undelivered::Trouble(text)) => return Err(fails(TRY_AGAIN, text)),
        }
    }
}

fn through_server(
    config: &Config,
    order: &Order,
    next: &mut dyn FnMut() -> io::Result<Option<Vec<u8>>>,
) -> Result<Reply, AskError> {
    let Order { recipient, mailbox, sender } = order.clone();
    client::deliver(&config.data_dir, &Request::Deliver { user: recipient, mailbox, sender }, next)
}

/// Standard input in mail's own form.
struct Input {
    /// `None`: it has ended.
    ends: Option<LineEnds>,
}

impl Input {
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(ends) = &mut self.ends else { return Ok(None) };
        let mut piece = vec![0; PIECE_BYTES];
        let octets = loop {
            match io::stdin().lock().read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if octets > 0 {
            return Ok(Some(ends.feed(&piece[..octets])));
        }
        Ok(self.ends.take().map(LineEnds::finish))
    }
}
