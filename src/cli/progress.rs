//! What a person sees of a transfer: a bar with speed and time left where there is a terminal, and a line for everything
//! that was not taken, or not as it was.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use rustix::termios::tcgetwinsize;
use tokio::signal::unix::{SignalKind, signal};

use super::say;
use crate::transfer::{Stopped, Tally, Watch};

/// With fewer columns than this there is no room for a bar beside the numbers.
const WIDE_COLUMNS: u16 = 90;
const WIDE: &str = "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left  {msg}";
/// At most 39 columns with any numbers, before the mailbox, which takes what is left.
const NARROW: &str = "{percent:>3}%, {bytes_per_sec}, {eta} left {wide_msg}";
/// The exit code of a command that was interrupted, as shells have it: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// Tells a person.
pub(super) struct Progress {
    bar: ProgressBar,
    is_wide: bool,
}

impl Progress {
    /// On standard error, if that is a terminal; the lines go to standard output in any case.
    pub(super) fn new() -> Progress {
        let progress = Progress { bar: ProgressBar::new(0), is_wide: has_room() };
        progress.dress();
        progress.bar.enable_steady_tick(Duration::from_millis(500));
        progress
    }

    /// Takes the bar away at Ctrl-C, says `what` becomes of the work, and ends the process: what is half done is put
    /// right as after a kill.
    pub(super) fn ended_by_interrupt(self, what: &'static str) -> Progress {
        let bar = self.bar.clone();
        let (listening, is_listening) = std::sync::mpsc::channel();
        let wait = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async {
                let Ok(mut interrupts) = signal(SignalKind::interrupt()) else { return };
                let _ = listening.send(());
                interrupts.recv().await;
                bar.finish_and_clear();
                eprintln!("stopped: {what}");
                std::process::exit(INTERRUPTED);
            });
        };
        // Without the thread Ctrl-C ends the process all the same, and without a word.
        if std::thread::Builder::new().name("interrupt".into()).spawn(wait).is_ok() {
            let _ = is_listening.recv();
        }
        self
    }

    fn dress(&self) {
        if let Ok(style) = ProgressStyle::with_template(if self.is_wide { WIDE } else { NARROW }) {
            self.bar.set_style(style);
        }
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
        if self.is_wide != has_room() {
            self.is_wide = !self.is_wide;
            self.dress();
        }
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

/// Whether the terminal, if there is one, is wide enough for a bar.
fn has_room() -> bool {
    tcgetwinsize(std::io::stderr()).is_ok_and(|size| size.ws_col >= WIDE_COLUMNS)
}
