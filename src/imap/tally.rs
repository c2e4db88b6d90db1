//! What each command and each session cost: for the counters, for `pillarbox who`, and for the log.

use std::time::Duration;

use tokio::time::Instant;

use super::session::{Exit, Session, State};
use crate::metrics::{COMMANDS, METRICS};

/// What a session had used up when a command began.
#[derive(Debug, Clone, Copy)]
pub struct Begun {
    command: &'static str,
    at: Instant,
    received: u64,
    produced: u64,
    messages: u64,
}

impl Session {
    /// A command begins.
    pub fn begin_command(&self, command: &'static str) -> Begun {
        self.ticket.activity().begins(command);
        let channel = &self.channel;
        let (received, produced, messages) = (channel.received, channel.produced(), channel.messages);
        Begun { command, at: Instant::now(), received, produced, messages }
    }

    /// It has ended, and all but its tagged line is written.
    pub fn end_command(&self, begun: Begun, is_refused: bool) {
        let channel = &self.channel;
        let is_idle = begun.command == "IDLE";
        let took = if is_idle { Duration::ZERO } else { begun.at.elapsed() };
        COMMANDS.note(begun.command, took);
        METRICS.commands_refused.add(is_refused.into());
        let activity = self.ticket.activity();
        activity.ends(channel.received, channel.produced());
        if !matches!(self.state, State::Selected(..)) {
            activity.has_selected("");
        }
        let slow = self.host.config.load().log.slow_command_ms;
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if slow > 0 && millis >= slow {
            METRICS.slow_commands.add(1);
            tracing::info!(
                session = self.ticket.number(),
                user = ?self.user,
                command = begun.command,
                millis,
                messages = channel.messages - begun.messages,
                received = channel.received - begun.received,
                sent = channel.produced() - begun.produced,
                "slow command"
            );
        }
    }

    /// The last line about a session. Numbers only, and whose it was.
    pub fn tell_end(&self, commands: u64) {
        let end = match (self.ticket.ended(), self.exit()) {
            (Some(reason), _) => reason.word(),
            (None, Some(Exit::Logout)) => "logout",
            (None, _) => "closed",
        };
        tracing::info!(
            session = self.ticket.number(),
            user = ?self.user,
            end,
            seconds = self.ticket.activity().age().as_secs(),
            commands,
            messages = self.channel.messages,
            received = self.channel.received,
            sent = self.channel.sent,
            "session ended"
        );
    }
}
