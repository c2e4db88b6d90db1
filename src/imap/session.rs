//! One client's session: its state, the loop that reads commands in order, and the one match that hands
//! each to its handler. Commands run one after another; answers of a pipelined batch go out together.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::answer::{Stop, bad, no, write_answer, write_condition};
use super::capability::{Circumstances, offered};
use super::channel::Channel;
use super::cmd;
use super::commands::{Tell, changes_membership, enables_condstore, row_of};
use super::message_limit::MessageLimit;
use super::notifier::{Moment, Notifier};
use super::selection::Selection;
use super::updates::{Enabled, tell_how_far};
use super::{Ended, Host, Peer, Socket};
use crate::config::Config;
use crate::hub::Listener;
use crate::login::Ticket;
use crate::mailstore::Account;
use crate::metrics::METRICS;
use crate::types::{Code, Command, Condition};
use crate::wire::response::write_continuation;
use crate::wire::{self, Announced, Dialect, Event, Limits, LiteralUse};

/// Garbled lines before login after which the client is not taken for a mail program.
const BAD_BEFORE_LOGIN: u32 = 3;
/// The same in a row after login.
const BAD_AFTER_LOGIN: u32 = 50;

/// Longest literal that need not wait where LITERAL- is spoken (RFC 7888 §5).
const UNINVITED_OCTETS: u64 = 4096;

/// A command that keeps coming at this many octets a second is waited for, however long it is; slower lines than that
/// carry no mail program today.
const SLOWEST_OCTETS: u64 = 256;

/// A session that waits so long lets go of what only a busy one needs.
const NAP: Duration = Duration::from_secs(1);

/// How far a session has come (RFC 3501 §3).
pub enum State {
    NotAuthenticated,
    Authenticated(Account),
    Selected(Account, Box<Selection>),
}

/// A session and everything it holds.
pub struct Session {
    pub host: Arc<Host>,
    pub peer: Peer,
    pub ticket: Arc<Ticket>,
    pub state: State,
    pub user: String,
    pub enabled: Enabled,
    /// What the client watches, once it has sent NOTIFY.
    pub notifier: Option<Box<Notifier>>,
    /// What NOTIFY listens to, between two changes.
    watching: Option<Listener>,
    pub channel: Channel,
    /// The client asked for CAPABILITY by itself, so it does not read response codes.
    pub asked_capability: bool,
    /// The next octet after the answer at hand is compressed.
    pub begins_compression: bool,
    /// Commands that were read before they could be run, and are to be run next.
    pub queued: VecDeque<Command>,
    bad_lines: u32,
    commands: u64,
    login_deadline: Instant,
    partial: Option<Partial>,
    exit: Option<Exit>,
}

/// A command of which not all has come.
#[derive(Debug, Clone, Copy)]
struct Partial {
    since: Instant,
    /// What the client had sent by then, in octets.
    received: u64,
}

/// Why the loop is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Logout,
    StartTls,
}

/// What a handler may use once the client is signed in.
pub struct SignedIn<'s> {
    pub account: &'s Account,
    pub channel: &'s mut Channel,
    pub dialect: Dialect,
    pub host: &'s Host,
}

/// What a handler may use while a mailbox is selected.
pub struct Selected<'s> {
    pub account: &'s Account,
    pub selection: &'s mut Selection,
    pub enabled: Enabled,
    pub channel: &'s mut Channel,
    pub limit: MessageLimit,
}

/// A literal that was announced and waits for a decision.
pub struct Arriving {
    pub octets: u64,
    pub non_sync: bool,
    pub is_binary: bool,
    pub tag: Option<String>,
    /// The line before it, when it is a message of an APPEND.
    pub head: Option<Vec<u8>>,
}

/// What the framer has, without its borrow.
enum Incoming {
    Nothing,
    Line(Result<Command, wire::Garbled>),
    Empty,
    Literal(Arriving),
    TooLong(Option<String>),
    BadLiteral {
        tag: Option<String>,
        non_sync: bool,
    },
    /// Pieces of a literal that was streamed or discarded for a command that ended early.
    Leftover,
}

impl Session {
    pub fn new(host: Arc<Host>, peer: Peer, socket: Box<dyn Socket>, ticket: Arc<Ticket>) -> Self {
        let config = host.config.load();
        let limits = &config.limits;
        let framer = limits_before_login(&config);
        let channel = Channel::new(socket, framer, limits.write_timeout_seconds);
        let login_deadline = Instant::now() + limits.login_seconds;
        drop(config);
        Session {
            host,
            peer,
            ticket,
            state: State::NotAuthenticated,
            user: String::new(),
            enabled: Enabled::default(),
            notifier: None,
            watching: None,
            channel,
            asked_capability: false,
            begins_compression: false,
            queued: VecDeque::new(),
            bad_lines: 0,
            commands: 0,
            login_deadline,
            partial: None,
            exit: None,
        }
    }

    /// Serves the client to the end.
    pub async fn run(mut self, greet: bool) -> Ended {
        if greet {
            let code = Code::Capability(self.capabilities());
            write_condition(&mut self.channel.out, None, Condition::Ok, Some(&code), "Pillarbox is ready");
        }
        while self.exit.is_none() {
            self.channel.end_line();
            match contained(self.step()).await {
                Some(Ok(())) => {}
                Some(Err(_)) => break,
                None => {
                    self.tell_fault();
                    break;
                }
            }
        }
        if self.exit == Some(Exit::StartTls) {
            if self.channel.flush().await.is_err() {
                return Ended::Closed;
            }
            return Ended::StartTls(self.channel.into_socket());
        }
        self.channel.shut().await;
        self.tell_end(self.commands);
        Ended::Closed
    }

    /// The capabilities of this moment.
    pub fn capabilities(&self) -> Vec<String> {
        let tls = self.peer.tls.as_deref();
        let now = Circumstances {
            is_signed_in: !matches!(self.state, State::NotAuthenticated),
            is_operator: cmd::quota::is_operator(self),
            starttls_offered: self.peer.starttls_offered,
            plaintext_allowed: self.peer.plaintext_allowed,
            mechanism_works: &|mechanism| self.host.login.offers(mechanism, tls),
        };
        let config = self.host.config.load();
        let is_hidden = |name: &str| {
            let mut masks = config.capability.iter();
            masks.any(|mask| mask.hides(name, &self.user, self.peer.listener))
        };
        offered(now, &config).filter(|name| !is_hidden(name)).collect()
    }

    pub fn bye(&mut self, code: Option<&Code>, text: &str) {
        write_condition(&mut self.channel.out, None, Condition::Bye, code, text);
    }

    /// RFC 3501 §3.4: no connection is closed without BYE, not by a fault of ours either, where a line can still be said.
    fn tell_fault(&mut self) {
        METRICS.session_panics.add(1);
        tracing::error!("the session ended by a fault of the program");
        if self.channel.take_back() {
            self.bye(Some(&Code::ServerBug), "a fault of the server ends this session; it is in the server's log");
        }
    }

    /// Handles what has come, or waits for more.
    async fn step(&mut self) -> Result<(), Stop> {
        if let Some(command) = self.queued.pop_front() {
            self.channel.flush_if_full().await?;
            self.look_ahead(&command, true);
            return Box::pin(self.perform(command)).await;
        }
        match self.incoming() {
            Incoming::Nothing => {
                self.channel.flush().await?;
                self.rest().await
            }
            Incoming::Empty | Incoming::Leftover => Ok(()),
            Incoming::Line(Ok(command)) => {
                self.bad_lines = 0;
                self.channel.flush_if_full().await?;
                self.look_ahead(&command, false);
                // Boxed, or every idle session would carry the largest handler's future.
                Box::pin(self.perform(command)).await
            }
            Incoming::Line(Err(garbled)) => {
                self.refuse_line(garbled.tag.as_deref(), &garbled.to_string());
                self.count_bad()
            }
            Incoming::TooLong(tag) => {
                self.refuse_line(tag.as_deref(), "the command line is longer than this server takes");
                self.count_bad()
            }
            Incoming::BadLiteral { tag, non_sync } => {
                self.refuse_line(tag.as_deref(), "expected the size of a literal, a number below 2^63");
                if non_sync {
                    // Octets nobody can count are on their way; they must not be taken for commands.
                    self.bye(None, "the literal's end cannot be found");
                    return Err(Stop::Gone);
                }
                self.count_bad()
            }
            Incoming::Literal(arriving) => Box::pin(self.literal(arriving)).await,
        }
    }

    fn incoming(&mut self) -> Incoming {
        let dialect = self.dialect();
        match self.channel.framer.next() {
            Event::NeedMore => Incoming::Nothing,
            Event::Line([]) => Incoming::Empty,
            Event::Line(line) => Incoming::Line(wire::parse_in(line, dialect)),
            Event::Literal(Announced { octets, non_sync, binary, head }) => {
                let tag = wire::tag_of(head).map(str::to_string);
                let head = (wire::literal_use(head) == LiteralUse::Append).then(|| head.to_vec());
                Incoming::Literal(Arriving { octets, non_sync, is_binary: binary, tag, head })
            }
            Event::Piece(_) | Event::LiteralEnd => Incoming::Leftover,
            Event::TooLong(line) => Incoming::TooLong(wire::tag_of(line).map(str::to_string)),
            Event::BadLiteral { line, non_sync } => {
                Incoming::BadLiteral { tag: wire::tag_of(line).map(str::to_string), non_sync }
            }
        }
    }

    fn refuse_line(&mut self, tag: Option<&str>, text: &str) {
        write_condition(&mut self.channel.out, tag, Condition::Bad, None, text);
    }

    /// Before login a client that does not speak IMAP is sent away soon; after it, one that makes no sense for long.
    fn count_bad(&mut self) -> Result<(), Stop> {
        self.bad_lines += 1;
        let is_stranger = matches!(self.state, State::NotAuthenticated);
        // A first line that is no IMAP at all is a browser or a scanner.
        let most = match is_stranger {
            true if self.commands == 0 => 1,
            true => BAD_BEFORE_LOGIN,
            false => BAD_AFTER_LOGIN,
        };
        if self.bad_lines >= most {
            self.bye(None, "too many commands that are not IMAP");
            return Err(Stop::Gone);
        }
        Ok(())
    }

    /// Waits for the next command, or for something that this client wants to be told meanwhile.
    async fn rest(&mut self) -> Result<(), Stop> {
        let before = self.watching.take();
        let mut listener = match &self.notifier {
            // Nothing is told into the middle of a command.
            Some(_) if !self.channel.framer.has_partial_command() => self.listener(false, before),
            _ => None,
        };
        if listener.is_some() {
            // What changed before the listener was there is told first.
            Box::pin(self.tell_news(Moment::BetweenCommands, false)).await?;
            self.channel.flush().await?;
        }
        let can_nap = self.channel.can_rest();
        let outcome = tokio::select! {
            biased;
            outcome = self.wait() => outcome,
            () = changed(&mut listener) => Ok(()),
            () = tokio::time::sleep(NAP), if can_nap => {
                self.channel.rest();
                Ok(())
            }
        };
        self.watching = listener;
        outcome
    }

    /// Waits for more from the client, for the server's end, or for patience to run out. Safe to cancel.
    pub async fn wait(&mut self) -> Result<(), Stop> {
        let config = self.host.config.load();
        let limits = &config.limits;
        let is_stranger = matches!(self.state, State::NotAuthenticated);
        let mut deadline = if is_stranger { self.login_deadline } else { Instant::now() + limits.idle_timeout_seconds };
        if self.channel.framer.has_partial_command() {
            // From its first octet on, not from its last: one octet a minute would else hold its place for ever.
            let received = self.channel.received;
            let begun = *self.partial.get_or_insert(Partial { since: Instant::now(), received });
            let earned = Duration::from_secs((received - begun.received) / SLOWEST_OCTETS);
            deadline = deadline.min(begun.since + limits.partial_command_seconds + earned);
        } else {
            self.partial = None;
        }
        drop(config);
        let ticket = self.ticket.clone();
        tokio::select! {
            biased;
            reason = ticket.wait_end() => {
                self.channel.out.extend_from_slice(format!("* BYE {}\r\n", reason.text()).as_bytes());
                Err(Stop::Gone)
            }
            received = timeout_at(deadline, self.channel.receive()) => match received {
                Ok(received) => Ok(received?),
                Err(_) => {
                    let text = if is_stranger { "too slow to log in" } else { "nothing was said for too long" };
                    self.bye(None, text);
                    Err(Stop::Gone)
                }
            },
        }
    }

    /// A literal that is part of a command: held, streamed, read past, or not invited.
    async fn literal(&mut self, arriving: Arriving) -> Result<(), Stop> {
        if arriving.head.is_some() {
            self.commands += 1;
            let outcome = cmd::append::append(self, arriving).await;
            self.partial = None;
            return outcome;
        }
        if arriving.is_binary {
            let stop = bad("expected a literal without ~ here");
            return self.refuse_literal(&arriving, arriving.tag.as_deref(), "literal", stop);
        }
        if let Err(stop) = self.may_come_uninvited(&arriving) {
            return self.refuse_literal(&arriving, arriving.tag.as_deref(), "literal", stop);
        }
        // RFC 7888 §4: before login nobody may send much.
        match self.channel.framer.hold() {
            Ok(()) if arriving.non_sync => Ok(()),
            Ok(()) => {
                write_continuation(&mut self.channel.out, "go ahead");
                Ok(())
            }
            Err(_) => {
                let stop = no(Code::TooBig, "this literal is larger than the command may have");
                self.refuse_literal(&arriving, arriving.tag.as_deref(), "literal", stop)
            }
        }
    }

    /// Refuses what is too large for a literal that did not wait, where LITERAL- is spoken (RFC 7888 §5).
    pub fn may_come_uninvited(&self, arriving: &Arriving) -> Result<(), Stop> {
        let is_bounded = arriving.non_sync && self.host.config.load().protocol.literal_minus;
        if is_bounded && arriving.octets > UNINVITED_OCTETS {
            return Err(Stop::Refused {
                condition: Condition::Bad,
                code: Some(Code::TooBig),
                text: format!("expected a literal of more than {UNINVITED_OCTETS} octets to wait for its invitation"),
            });
        }
        Ok(())
    }

    /// Refuses a command whose literal is not wanted. Its octets are never run as commands.
    pub fn refuse_literal(
        &mut self,
        arriving: &Arriving,
        tag: Option<&str>,
        word: &str,
        stop: Stop,
    ) -> Result<(), Stop> {
        if !arriving.non_sync {
            self.channel.framer.refuse();
            write_answer(&mut self.channel.out, tag.unwrap_or("*"), word, &Err(stop));
            return Ok(());
        }
        let slack = 64 * 1024 + self.host.config.load().limits.message_bytes;
        write_answer(&mut self.channel.out, tag.unwrap_or("*"), word, &Err(stop));
        if arriving.octets > slack {
            self.bye(Some(&Code::TooBig), "the literal is far larger than anything this server takes");
            return Err(Stop::Gone);
        }
        self.channel.framer.refuse();
        Ok(())
    }

    /// Runs one command and writes its tagged line.
    async fn perform(&mut self, command: Command) -> Result<(), Stop> {
        self.commands += 1;
        self.partial = None;
        let Command { tag, body } = command;
        let row = row_of(&body);
        let is_own_doing = changes_membership(&body);
        let begun = self.begin_command(row.word);
        let answer = match self.may_run(row, &body) {
            Ok(()) => {
                if enables_condstore(&body) {
                    self.enable_condstore();
                }
                self.dispatch(&tag, body).await
            }
            Err(refused) => Err(refused),
        };
        if let Err(Stop::Gone) = answer {
            return Err(Stop::Gone);
        }
        if row.tell == Tell::Everything {
            // Other errors: what cannot be read now will be told with a later command.
            let moment = Moment::CommandEnd { is_own_doing };
            if let Err(Stop::Gone) = self.tell_news(moment, row.word.starts_with("UID ")).await {
                return Err(Stop::Gone);
            }
        }
        self.tell_how_far().await;
        self.end_command(begun, answer.is_err());
        write_answer(&mut self.channel.out, &tag, row.word, &answer);
        if std::mem::take(&mut self.begins_compression) {
            self.channel.compress().await?;
        }
        Ok(())
    }

    /// Before every tagged line: how far the selected mailbox is known, where the client would think it further.
    pub async fn tell_how_far(&mut self) {
        if let State::Selected(_, selection) = &mut self.state {
            tell_how_far(selection, &mut self.channel).await;
        }
    }

    /// From now on every answer about flags carries its MODSEQ.
    pub fn enable_condstore(&mut self) {
        if std::mem::replace(&mut self.enabled.condstore, true) {
            return;
        }
        if let State::Selected(_, selection) = &self.state {
            // RFC 7162 §3.1: what it knows of the mailbox that is open already stands at this modseq.
            let code = Code::HighestModSeq(selection.view.modseq());
            write_condition(&mut self.channel.out, None, Condition::Ok, Some(&code), "MODSEQ is told from now on");
        }
    }

    /// How this client is spoken to.
    pub fn dialect(&self) -> Dialect {
        self.enabled.dialect()
    }

    /// The view for commands that need a login; `in_right_state` has made sure of it.
    pub fn signed_in(&mut self) -> Result<SignedIn<'_>, Stop> {
        match &self.state {
            State::NotAuthenticated => Err(bad("log in first")),
            State::Authenticated(account) | State::Selected(account, _) => {
                let dialect = self.dialect();
                Ok(SignedIn { account, channel: &mut self.channel, dialect, host: &self.host })
            }
        }
    }

    pub fn selected(&mut self) -> Result<Selected<'_>, Stop> {
        match &mut self.state {
            State::Selected(account, selection) => {
                let limit = MessageLimit::from(&self.host.config.load().protocol);
                Ok(Selected { account, selection, enabled: self.enabled, channel: &mut self.channel, limit })
            }
            _ => Err(bad("select a mailbox first")),
        }
    }

    /// Leaves the selected mailbox, if there is one.
    pub fn unselect(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::NotAuthenticated) {
            State::Selected(account, _) => State::Authenticated(account),
            other => other,
        };
    }

    /// Back to the beginning of the session, with TLS and the client's ID as they are (RFC 8437 §3, §4.1).
    pub fn forget_user(&mut self) {
        self.state = State::NotAuthenticated;
        self.user.clear();
        self.enabled = Enabled::default();
        self.notifier = None;
        self.asked_capability = false;
        self.bad_lines = 0;
        self.ticket.signed_out();
        let config = self.host.config.load();
        self.login_deadline = Instant::now() + config.limits.login_seconds;
        // The next command may be here already (RFC 8437 §3), so the octets that came stay.
        self.channel.framer.set_limits(limits_before_login(&config));
    }

    pub fn leave(&mut self, exit: Exit) {
        self.exit = Some(exit);
    }

    /// Why the loop is to end, once it is.
    pub fn exit(&self) -> Option<Exit> {
        self.exit
    }
}

/// A step of a session, or `None` when it panicked: then it is dropped and never looked at again.
async fn contained<F: Future>(step: F) -> Option<F::Output> {
    let mut step = std::pin::pin!(step);
    // What a step shares with others is behind locks that are whole after every step.
    let look = |cx: &mut Context<'_>| match catch_unwind(AssertUnwindSafe(|| step.as_mut().poll(cx))) {
        Ok(ready) => ready.map(Some),
        Err(_) => Poll::Ready(None),
    };
    poll_fn(look).await
}

/// RFC 7888 §4: before login nobody may send much.
fn limits_before_login(config: &Config) -> Limits {
    Limits { line_bytes: config.limits.line_bytes_before_login, held_bytes: 4096, literals: 4 }
}

/// Waits for the listener; without one for ever.
async fn changed(listener: &mut Option<Listener>) {
    match listener {
        Some(listener) => listener.changed().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every idle client pays for what its session's future carries across a wait.
    #[test]
    fn an_idle_session_is_small() {
        fn octets<F>(_: fn(Session, bool) -> F) -> usize {
            size_of::<F>()
        }
        let octets = octets(Session::run);
        assert!(octets < 4096, "a session's future takes {octets} octets");
    }
}
