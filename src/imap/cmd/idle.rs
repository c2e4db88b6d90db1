//! IDLE (RFC 2177): changes are told as they happen, until the client says DONE.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::imap::answer::{Answer, Done, Stop, bad};
use crate::imap::notifier::Moment;
use crate::imap::session::Session;
use crate::types::{Body, Command};
use crate::wire::response::write_continuation;
use crate::wire::{Event, is_done, parse};

/// How often an idling client is shown that the connection lives: often enough for any NAT on the way.
const STILL_HERE: Duration = Duration::from_secs(120);

pub async fn idle(session: &mut Session) -> Answer {
    // The invitation is the very first line: K-9 takes anything else for a refusal.
    write_continuation(&mut session.channel.out, "idling");
    let mut listener = session.listener(true, None);
    // Spread by session, so that a thousand phones are not woken in the same moment.
    let jitter = Duration::from_millis(session.ticket.number() % 20_000);
    let mut still_here = Instant::now() + STILL_HERE + jitter;
    let ended = Instant::now() + session.host.config.load().limits.idle_timeout_seconds;
    let ticket = session.ticket.clone();
    loop {
        session.tell_news(Moment::Idle, false).await?;
        session.channel.flush().await?;
        match next(session) {
            Next::Done => return Ok(Done::default()),
            // iPhones send the next IDLE without a DONE: the first ends well, the second begins.
            Next::Idle(command) => {
                session.queued.push_back(command);
                return Ok(Done::default());
            }
            Next::Other => return Err(bad("expected DONE")),
            Next::Nothing => {}
        }
        session.channel.rest();
        let changed = async {
            match &mut listener {
                Some(listener) => listener.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            reason = ticket.wait_end() => {
                session.channel.out.extend_from_slice(format!("* BYE {}\r\n", reason.text()).as_bytes());
                return Err(Stop::Gone);
            }
            received = session.channel.receive() => received?,
            () = changed => {}
            () = sleep_until(still_here.min(ended)) => {
                if Instant::now() >= ended {
                    // RFC 2177 §3: a client has to begin anew before the server's patience ends.
                    session.bye(None, "idle for too long");
                    return Err(Stop::Gone);
                }
                session.channel.out.extend_from_slice(b"* OK Still here\r\n");
                still_here = Instant::now() + STILL_HERE + jitter;
            }
        }
    }
}

enum Next {
    Nothing,
    Done,
    Idle(Command),
    Other,
}

fn next(session: &mut Session) -> Next {
    loop {
        match session.channel.framer.next() {
            Event::NeedMore => return Next::Nothing,
            Event::Line([]) => {}
            Event::Line(line) if is_done(line) => return Next::Done,
            Event::Line(line) => {
                return match parse(line) {
                    Ok(command) if command.body == Body::Idle => Next::Idle(command),
                    _ => Next::Other,
                };
            }
            Event::Literal(_) => {
                session.channel.framer.refuse();
                return Next::Other;
            }
            _ => return Next::Other,
        }
    }
}
