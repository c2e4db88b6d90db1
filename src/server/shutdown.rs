//! Signals: SIGTERM and SIGINT stop the server, SIGHUP makes it read its configuration again.

use std::io;

use tokio::signal::unix::{Signal as Source, SignalKind, signal};

/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Stop,
    Reload,
}

/// The signals this process gets, from now on.
pub(super) struct Signals {
    terminate: Source,
    interrupt: Source,
    hang_up: Source,
}

impl Signals {
    /// Takes the signals over; must be called inside the runtime.
    pub fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }

    /// Waits for the next order to stop.
    pub async fn next_stop(&mut self) {
        while self.next().await != Signal::Stop {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal as Number, getpid, kill_process};

    #[tokio::test]
    async fn each_signal_has_its_meaning() {
        let mut signals = Signals::new().expect("watched");
        for (number, meaning) in
            [(Number::HUP, Signal::Reload), (Number::TERM, Signal::Stop), (Number::INT, Signal::Stop)]
        {
            kill_process(getpid(), number).expect("sent");
            assert_eq!(signals.next().await, meaning);
        }
    }
}
