//! INPROGRESS (RFC 9585): a long command says every ten seconds that it is still at work, and how far where that is
//! known.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::answer::{Stop, write_condition};
use super::channel::Channel;
use crate::types::{Code, Condition, response};

// RFC 9585 §4: every 10 to 15 seconds is recommended.
const EVERY: Duration = Duration::from_secs(10);

/// How far a command has come, counted in messages.
pub struct Progress<'t> {
    tag: &'t str,
    goal: u32,
    done: u32,
    every: Duration,
    told: Instant,
}

impl<'t> Progress<'t> {
    pub fn begin(tag: &'t str, goal: u32) -> Self {
        Progress { tag, goal, done: 0, every: EVERY, told: Instant::now() }
    }

    /// Counts messages that are done, and says so when it is time.
    pub async fn tell(&mut self, channel: &mut Channel, more: u32) -> Result<(), Stop> {
        self.done = self.done.saturating_add(more);
        if self.told.elapsed() < self.every {
            return Ok(());
        }
        self.told = Instant::now();
        say(channel, self.tag, Some(response::Progress { done: self.done, goal: Some(self.goal) })).await
    }
}

/// Waits for an order, which is one transaction and cannot say how far it is. A client that is gone meanwhile ends the
/// session; the order runs to its end all the same.
pub async fn waiting<T>(channel: &mut Channel, tag: &str, order: impl Future<Output = T>) -> Result<T, Stop> {
    waiting_for(channel, tag, EVERY, order).await
}

async fn waiting_for<T>(
    channel: &mut Channel,
    tag: &str,
    every: Duration,
    order: impl Future<Output = T>,
) -> Result<T, Stop> {
    let mut order = pin!(order);
    loop {
        match timeout(every, &mut order).await {
            Ok(done) => return Ok(done),
            Err(_) => say(channel, tag, None).await?,
        }
    }
}

async fn say(channel: &mut Channel, tag: &str, progress: Option<response::Progress>) -> Result<(), Stop> {
    let code = Code::InProgress { tag: Some(tag.to_string()), progress };
    write_condition(&mut channel.out, None, Condition::Ok, Some(&code), "still at work");
    channel.flush().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Limits;
    use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream, duplex};
    use tokio::sync::oneshot;

    fn channel() -> (Channel, BufReader<DuplexStream>) {
        let (ours, theirs) = duplex(4096);
        let limits = Limits { line_bytes: 4096, held_bytes: 4096, literals: 1 };
        (Channel::new(Box::new(ours), limits, Duration::from_secs(60)), BufReader::new(theirs))
    }

    async fn line(client: &mut BufReader<DuplexStream>) -> String {
        let mut line = String::new();
        client.read_line(&mut line).await.expect("a line");
        line
    }

    #[tokio::test]
    async fn a_long_search_says_how_far_it_is_and_a_short_one_nothing() {
        let (mut channel, mut client) = channel();
        let mut short = Progress::begin("a1", 500);
        short.tell(&mut channel, 500).await.expect("nothing is sent");
        assert_eq!(channel.sent, 0);
        let mut long = Progress { every: Duration::ZERO, ..Progress::begin("a2", 500) };
        long.tell(&mut channel, 200).await.expect("sent");
        assert_eq!(line(&mut client).await, "* OK [INPROGRESS (\"a2\" 200 500)] still at work\r\n");
        long.tell(&mut channel, 300).await.expect("sent");
        // RFC 9585 §4: the goal is never told as reached.
        assert_eq!(line(&mut client).await, "* OK [INPROGRESS (\"a2\" 499 500)] still at work\r\n");
    }

    #[tokio::test]
    async fn an_order_that_takes_long_is_waited_for_with_signs_of_life() {
        let (mut channel, mut client) = channel();
        let (finish, finished) = oneshot::channel();
        let hearing = tokio::spawn(async move {
            let told = line(&mut client).await;
            // Only when the client has heard does the order end.
            finish.send(7).expect("it is waited for");
            told
        });
        let done =
            waiting_for(&mut channel, "a3", Duration::from_millis(1), finished).await.expect("the client is there");
        assert_eq!(done, Ok(7));
        assert_eq!(hearing.await.expect("heard"), "* OK [INPROGRESS (\"a3\" NIL NIL)] still at work\r\n");
    }

    #[tokio::test]
    async fn a_client_that_is_gone_is_not_waited_with() {
        let (mut channel, client) = channel();
        drop(client);
        let never = std::future::pending::<()>();
        assert!(matches!(waiting_for(&mut channel, "a4", Duration::from_millis(1), never).await, Err(Stop::Gone)));
    }
}
