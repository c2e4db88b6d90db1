//! INPROGRESS (RFC 9585): a long command says every ten seconds that it is still at work, and how far.

use std::time::{Duration, Instant};

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
    told: Instant,
}

impl<'t> Progress<'t> {
    pub fn begin(tag: &'t str, goal: u32) -> Self {
        Progress { tag, goal, done: 0, told: Instant::now() }
    }

    /// Counts messages that are done, and says so when it is time.
    pub async fn tell(&mut self, channel: &mut Channel, more: u32) -> Result<(), Stop> {
        self.done = self.done.saturating_add(more);
        if self.told.elapsed() < EVERY {
            return Ok(());
        }
        self.told = Instant::now();
        let progress = response::Progress { done: self.done, goal: Some(self.goal) };
        let code = Code::InProgress { tag: Some(self.tag.to_string()), progress: Some(progress) };
        write_condition(&mut channel.out, None, Condition::Ok, Some(&code), "still at work");
        channel.flush().await?;
        Ok(())
    }
}
