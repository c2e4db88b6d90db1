//! A few threads for work that blocks or computes, behind a queue with a bound.
//! The async threads must never wait for a password hash or a disk; and a flood must end in refusals, not in memory.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

type Work = Box<dyn FnOnce() + Send>;

/// Threads that do what they are given, one piece each at a time. They end when the pool is dropped.
pub(super) struct Pool {
    queue: SyncSender<Work>,
}

/// Why a piece of work gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PoolRefusal {
    /// As much is waiting as may wait.
    Full,
    /// The work panicked.
    Broken,
}

impl Pool {
    /// Starts `threads` threads with room for `waiting` pieces besides those at work.
    pub fn new(name: &str, threads: usize, waiting: usize) -> io::Result<Pool> {
        let (queue, work) = sync_channel::<Work>(waiting);
        let work = Arc::new(Mutex::new(work));
        for number in 0..threads {
            let work = work.clone();
            thread::Builder::new().name(format!("{name}-{number}")).spawn(move || serve(&work))?;
        }
        Ok(Pool { queue })
    }

    /// Does one piece of work and waits for its outcome. Dropped before its turn has come, the work is left out.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PoolRefusal> {
        let (answer, outcome) = oneshot::channel();
        let piece = move || {
            if !answer.is_closed() {
                // Nobody may be waiting any more by now; the outcome is dropped then.
                let _ = answer.send(work());
            }
        };
        match self.queue.try_send(Box::new(piece)) {
            Ok(()) => outcome.await.map_err(|_| PoolRefusal::Broken),
            Err(TrySendError::Full(_)) => Err(PoolRefusal::Full),
            Err(TrySendError::Disconnected(_)) => Err(PoolRefusal::Broken),
        }
    }
}

fn serve(work: &Mutex<Receiver<Work>>) {
    loop {
        // One idle thread waits at the queue and the others at the lock; whoever gets a piece lets the next one in.
        let piece = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match piece {
            // A panic drops the answer's sender, which tells the waiting side; the thread goes on.
            Ok(piece) => drop(catch_unwind(AssertUnwindSafe(piece))),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let pool = Pool::new("test", 1, 1).expect("started");
        let (started, gate) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let first = {
            let (started, gate) = (started.clone(), gate.clone());
            pool.run(move || (started.wait(), gate.wait()))
        };
        let mut first = Box::pin(first);
        // Polled once, so that it is queued; the barrier then says that the thread has taken it.
        assert!(futures_poll(&mut first).await.is_none());
        tokio::task::spawn_blocking(move || started.wait()).await.expect("joined");
        let mut second = Box::pin(pool.run(|| 2));
        assert!(futures_poll(&mut second).await.is_none());
        assert_eq!(pool.run(|| 3).await, Err(PoolRefusal::Full));
        tokio::task::spawn_blocking(move || gate.wait()).await.expect("joined");
        assert!(first.await.is_ok());
        assert_eq!(second.await, Ok(2));
    }

    /// Polls a future once.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn a_panic_is_told_and_the_thread_goes_on() {
        let pool = Pool::new("test", 1, 4).expect("started");
        assert_eq!(pool.run(|| -> u8 { panic!("on purpose") }).await, Err(PoolRefusal::Broken));
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }
}
