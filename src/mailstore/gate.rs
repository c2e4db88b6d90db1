//! The gate of one account: every visit and every turn passes it. Once it is shut nobody comes in any more, and
//! whoever shuts it waits for those inside. So when an account's files are exchanged, no handle of the old account
//! can touch the new files.

use std::sync::{Condvar, Mutex, PoisonError};

use super::error::{Error, Result};
use super::owner::lock;

/// Lets visits in until it is shut for good.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<GateState>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    inside: usize,
    is_shut: bool,
}

/// Being inside; dropping it is leaving.
#[derive(Debug)]
pub struct Inside<'a>(&'a Gate);

impl Gate {
    /// Comes in, or is told that the account is not available.
    pub fn enter(&self) -> Result<Inside<'_>> {
        let mut state = lock(&self.state);
        if state.is_shut {
            return Err(Error::Unavailable);
        }
        state.inside += 1;
        Ok(Inside(self))
    }

    /// Lets nobody in any more, and returns when nobody is inside. Not to be called from inside.
    pub fn shut(&self) {
        let mut state = lock(&self.state);
        state.is_shut = true;
        while state.inside > 0 {
            state = self.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).inside -= 1;
        self.0.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    #[test]
    fn shutting_waits_for_those_inside_and_keeps_the_others_out() {
        let gate = Arc::new(Gate::default());
        let inside = gate.enter().expect("open");
        let (tell, told) = channel();
        let shutting = gate.clone();
        let thread = std::thread::spawn(move || {
            shutting.shut();
            let _ = tell.send(());
        });
        while gate.enter().is_ok() {
            std::thread::yield_now();
        }
        assert!(told.try_recv().is_err(), "somebody is inside still");
        drop(inside);
        told.recv().expect("shut");
        thread.join().expect("ended");
        assert_eq!(gate.enter().err(), Some(Error::Unavailable));
    }
}
