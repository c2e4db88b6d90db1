//! The threads that own SQLite connections. Every visit (a question) runs on a reader thread, every
//! order on a writer thread, in turns: a turn takes what is queued for one account, commits once,
//! publishes, tells the hub, and only then answers. A panic fails its own visit and nothing else.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::account::AccountState;
use super::connection::{self, Role};
use super::crash;
use super::error::{Error, Result};
use super::turn::Turn;
use crate::metrics::METRICS;

/// Most orders in one turn, and most octets of inline bodies. Starting values, measured in the benchmark.
const TURN_ORDERS: usize = 64;
const TURN_BYTES: usize = 4 << 20;

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock was held is caught and reported where it happened; the values behind
    // these locks are replaced whole, so they are never half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Job = Box<dyn FnOnce() + Send>;

/// Threads that take jobs from one queue.
#[derive(Debug)]
pub struct Pool {
    queue: Arc<JobQueue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct JobQueue {
    jobs: Mutex<(VecDeque<Job>, bool)>,
    ready: Condvar,
}

impl std::fmt::Debug for JobQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JobQueue({})", lock(&self.jobs).0.len())
    }
}

impl Pool {
    pub fn new(name: &str, threads: usize) -> std::io::Result<Self> {
        Self::with_niceness(name, threads, 0)
    }

    /// Threads that give way to all others when there is more to do than cores.
    pub fn with_niceness(name: &str, threads: usize, niceness: i32) -> std::io::Result<Self> {
        let queue = Arc::new(JobQueue::default());
        let threads = (0..threads)
            .map(|n| {
                let queue = queue.clone();
                std::thread::Builder::new().name(format!("{name}-{n}")).spawn(move || {
                    // On Linux this is the thread's own value. Without it the work is merely less polite.
                    if niceness != 0 && rustix::process::nice(niceness).is_err() {
                        tracing::debug!("a store thread could not lower its priority");
                    }
                    queue.work();
                })
            })
            .collect::<std::io::Result<Vec<_>>>()?;
        Ok(Pool { queue, threads: Mutex::new(threads) })
    }

    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut jobs = lock(&self.queue.jobs);
        jobs.0.push_back(Box::new(job));
        drop(jobs);
        self.queue.ready.notify_one();
    }

    /// Finishes what is queued and ends the threads.
    pub fn close(&self) {
        lock(&self.queue.jobs).1 = true;
        self.queue.ready.notify_all();
        let own = std::thread::current().id();
        for thread in lock(&self.threads).drain(..) {
            if thread.thread().id() != own && thread.join().is_err() {
                tracing::error!("a store thread ended in a panic");
            }
        }
    }
}

impl JobQueue {
    fn work(&self) {
        loop {
            let mut jobs = lock(&self.jobs);
            let job = loop {
                if let Some(job) = jobs.0.pop_front() {
                    break job;
                }
                if jobs.1 {
                    return;
                }
                jobs = self.ready.wait(jobs).unwrap_or_else(PoisonError::into_inner);
            };
            drop(jobs);
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                METRICS.store_faults.add(1);
                tracing::error!("a store visit ended in a panic");
            }
        }
    }
}

/// An order waiting for its turn. It may be run again when the disk was full.
pub trait Queued: Send {
    fn run(&mut self, turn: &mut Turn<'_>) -> Result<()>;
    fn answer(self: Box<Self>, outcome: Result<()>);
    /// Octets of inline bodies it carries.
    fn bytes(&self) -> usize;
    /// True for what a full disk refuses: it never gets the ballast's room.
    fn grows(&self) -> bool;
}

struct Order<T, F> {
    run: F,
    bytes: usize,
    grows: bool,
    value: Option<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T: Send, F: FnMut(&mut Turn<'_>) -> Result<T> + Send> Queued for Order<T, F> {
    fn run(&mut self, turn: &mut Turn<'_>) -> Result<()> {
        self.value = Some((self.run)(turn)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<()>) {
        let Order { value, reply, .. } = *self;
        let answer = outcome.and_then(|()| value.ok_or_else(|| Error::Fault("an order gave no value".into())));
        // Whoever asked may have gone; the change stands all the same.
        let _ = reply.send(answer);
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn grows(&self) -> bool {
        self.grows
    }
}

/// Orders that wait for an account's next turn.
#[derive(Default)]
pub struct Queue {
    orders: VecDeque<Box<dyn Queued>>,
    is_running: bool,
}

impl AccountState {
    /// Runs a question on a reader thread, with a connection of this account.
    pub async fn visit<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Connection, &AccountState) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.visit_on(&self.shared.readers, question).await
    }

    /// Runs a question that may compute for long, on threads that do not keep short ones waiting.
    pub async fn long_visit<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Connection, &AccountState) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.visit_on(&self.shared.scanners, question).await
    }

    /// Queues a question at once; the future only waits for the answer. So a caller can have the
    /// next page read while it sends the last one.
    pub fn visit_later<T: Send + 'static, F>(
        self: &Arc<Self>,
        is_long: bool,
        question: F,
    ) -> impl Future<Output = Result<T>> + Send + Sync + use<T, F>
    where
        F: FnOnce(&Connection, &AccountState) -> Result<T> + Send + 'static,
    {
        self.visit_on(if is_long { &self.shared.scanners } else { &self.shared.readers }, question)
    }

    fn visit_on<T: Send + 'static, F>(
        self: &Arc<Self>,
        pool: &Pool,
        question: F,
    ) -> impl Future<Output = Result<T>> + Send + Sync + use<T, F>
    where
        F: FnOnce(&Connection, &AccountState) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let state = self.clone();
        pool.run(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| state.with_reader(|conn| question(conn, &state))))
                .unwrap_or_else(|_| Err(Error::Fault("a visit ended in a panic".into())));
            if let Err(Error::Fault(text)) = &outcome {
                METRICS.store_faults.add(1);
                tracing::error!(account = state.id.0, fault = %text, "store visit failed");
            }
            let _ = reply.send(outcome);
        });
        async move { answer.await.unwrap_or(Err(Error::Unavailable)) }
    }

    /// Lends a pooled reader connection, opening one when none is free.
    pub fn with_reader<T>(&self, question: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let _inside = self.gate.enter()?;
        let generation = self.generation.load(Ordering::Acquire);
        let pooled = lock(&self.reader_connections).pop();
        let conn = match pooled {
            Some(conn) => conn,
            None => self.open_connection(Role::Reader)?,
        };
        self.touch();
        let outcome = question(&conn);
        let mut readers = lock(&self.reader_connections);
        if outcome.as_ref().is_err_and(Error::is_of_disk) || generation != self.generation.load(Ordering::Acquire) {
            drop(readers);
            drop(conn);
            self.shared.connections_closed(1);
        } else {
            readers.push(conn);
        }
        outcome
    }

    /// Opens the account's file. On a disk without a free block that fails, with whatever error; the ballast gives the room,
    /// for a reader at once, because mail can be read on a full disk, for a writer when its turn asks for it.
    fn open_connection(&self, role: Role) -> Result<Connection> {
        let space = &self.shared.space;
        let opened = connection::open(&self.mail_db(), role).or_else(|error| match role {
            _ if !space.is_full() => Err(error),
            Role::Reader if space.release_ballast() => connection::open(&self.mail_db(), role),
            _ => Err(Error::DiskFull),
        })?;
        self.shared.connection_opened(self.id);
        Ok(opened)
    }

    /// Queues a change that makes room or at least takes next to none: it is carried out on a full disk too.
    pub async fn order<T: Send + 'static>(
        self: &Arc<Self>,
        run: impl FnMut(&mut Turn<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.queue_order(Box::new(Order { run, bytes: 0, grows: false, value: None, reply }), answer).await
    }

    /// Queues a change that takes room. `bytes` is what it carries of inline bodies.
    pub async fn growing_order<T: Send + 'static>(
        self: &Arc<Self>,
        bytes: usize,
        run: impl FnMut(&mut Turn<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.queue_order(Box::new(Order { run, bytes, grows: true, value: None, reply }), answer).await
    }

    async fn queue_order<T>(
        self: &Arc<Self>,
        order: Box<dyn Queued>,
        answer: oneshot::Receiver<Result<T>>,
    ) -> Result<T> {
        if self.enqueue(order) {
            let state = self.clone();
            self.shared.writers.run(move || state.take_turn());
        }
        answer.await.unwrap_or(Err(Error::Unavailable))
    }

    /// Puts an order into the queue. True when a turn has to be begun for it.
    fn enqueue(&self, order: Box<dyn Queued>) -> bool {
        let mut queue = lock(&self.queue);
        queue.orders.push_back(order);
        !std::mem::replace(&mut queue.is_running, true)
    }

    /// One turn; queues the next when more has come meanwhile.
    fn take_turn(self: &Arc<Self>) {
        let mut batch = Vec::new();
        let mut bytes = 0;
        {
            let mut queue = lock(&self.queue);
            while batch.len() < TURN_ORDERS && bytes < TURN_BYTES {
                let Some(order) = queue.orders.pop_front() else { break };
                bytes += order.bytes();
                batch.push(order);
            }
        }
        self.touch();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.run_batch(batch)));
        if outcome.is_err() {
            METRICS.store_faults.add(1);
            tracing::error!(account = self.id.0, "a store turn ended in a panic");
            self.distrust();
        }
        let mut queue = lock(&self.queue);
        if queue.orders.is_empty() {
            queue.is_running = false;
        } else {
            drop(queue);
            let state = self.clone();
            self.shared.writers.run(move || state.take_turn());
        }
    }

    fn run_batch(self: &Arc<Self>, mut batch: Vec<Box<dyn Queued>>) {
        METRICS.store_orders.add(batch.len() as u64);
        let mut outcome = self.attempt(&mut batch);
        if outcome == Err(Error::DiskFull) {
            // What grows is refused now, so that the last room is left for what makes room again.
            let (growing, rest): (Vec<_>, Vec<_>) = batch.into_iter().partition(|order| order.grows());
            METRICS.disk_low_refusals.add(growing.len() as u64);
            for order in growing {
                order.answer(Err(Error::DiskFull));
            }
            batch = rest;
            if batch.is_empty() {
                return;
            }
            outcome = self.attempt(&mut batch);
            if outcome == Err(Error::DiskFull) && self.shared.space.release_ballast() {
                outcome = self.attempt(&mut batch);
            }
        }
        match outcome {
            Ok(results) => {
                crash::point("place.before_answer");
                for (order, result) in batch.into_iter().zip(results) {
                    order.answer(result);
                }
            }
            Err(error) => {
                if error != Error::DiskFull {
                    METRICS.store_faults.add(1);
                }
                tracing::error!(account = self.id.0, %error, "a store turn failed; nothing of it was acknowledged");
                for order in batch {
                    order.answer(Err(error.clone()));
                }
            }
        }
    }

    /// Runs a batch in one transaction. `Err`: nothing of it stands, and memory was read anew.
    fn attempt(self: &Arc<Self>, batch: &mut [Box<dyn Queued>]) -> Result<Vec<Result<()>>> {
        let _inside = self.gate.enter()?;
        let mut writer = lock(&self.writer);
        let outcome = self.attempt_with(&mut writer, batch);
        if outcome.is_err() {
            drop(writer);
            self.distrust();
        }
        outcome
    }

    fn attempt_with(
        self: &Arc<Self>,
        writer: &mut Option<Connection>,
        batch: &mut [Box<dyn Queued>],
    ) -> Result<Vec<Result<()>>> {
        if writer.is_none() {
            let conn = writer.insert(self.open_connection(Role::Writer)?);
            if self.is_distrusted.load(Ordering::Acquire) {
                self.reload(conn)?;
            }
        }
        let Some(conn) = writer.as_ref() else { return Err(Error::Unavailable) };
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut turn = Turn::new(conn, self)?;
        let mut results = Vec::with_capacity(batch.len());
        for order in batch {
            results.push(turn.run(order.as_mut())?);
        }
        turn.commit()?;
        Ok(results)
    }

    /// Closes every connection, so that the next turn opens afresh and believes only what is on disk.
    pub fn distrust(&self) {
        self.is_distrusted.store(true, Ordering::Release);
        self.close_connections();
    }

    /// Closes all pooled connections. What is borrowed just now is closed when it comes back.
    pub fn close_connections(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        let mut closed = lock(&self.reader_connections).drain(..).count();
        closed += usize::from(lock(&self.writer).take().is_some());
        self.shared.connections_closed(closed);
    }

    /// True when nothing is queued or running.
    pub fn is_quiet(&self) -> bool {
        let queue = lock(&self.queue);
        !queue.is_running && queue.orders.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_runs_everything_and_survives_a_panic() {
        let pool = Pool::new("test", 2).expect("threads");
        let done = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        for n in 0..20 {
            let done = done.clone();
            pool.run(move || {
                assert!(n != 7, "this one is meant to panic");
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        pool.close();
        assert_eq!(done.load(Ordering::SeqCst), 19);
    }
}
