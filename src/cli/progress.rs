//! What a person sees of a transfer: a bar with speed and time left where there is a terminal, and a line for everything
//! that was not taken, or not as it was.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::say;
use crate::transfer::{Stopped, Tally, Watch};

/// Tells a person.
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// On standard error, if that is a terminal; the lines go to standard output in any case.
    pub(super) fn new() -> Progress {
        let bar = ProgressBar::new(0);
        let look = "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left  {msg}";
        if let Ok(style) = ProgressStyle::with_template(look) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        Progress { bar }
    }

    fn line(&self, text: &str) {
        self.bar.suspend(|| say(text));
    }

    /// Takes the bar away and says what was done, also when it came to an end before its end.
    pub(super) fn end(self, verb: &str, tally: Tally, outcome: Result<(), Stopped>) -> Result<(), String> {
        self.bar.finish_and_clear();
        say(&format!("{verb} {tally}"));
        match outcome {
            Err(stopped) => Err(stopped.to_string()),
            Ok(()) if tally.missed > 0 => Err("not everything was taken; what is said above stands in the way".into()),
            Ok(()) => Ok(()),
        }
    }
}

impl Watch for Progress {
    fn expect(&mut self, octets: u64) {
        self.bar.inc_length(octets);
    }

    fn advance(&mut self, octets: u64) {
        self.bar.inc(octets);
    }

    fn enter(&mut self, mailbox: &str) {
        let shown: String = mailbox.chars().filter(|c| !c.is_control()).take(30).collect();
        self.bar.set_message(shown);
    }

    fn miss(&mut self, what: &str, why: &str) {
        self.line(&format!("{what}: not taken: {why}"));
    }

    fn note(&mut self, what: &str, how: &str) {
        self.line(&format!("{what} {how}"));
    }
}
