//! Fair turns at something scarce, such as a thread that hashes passwords.
//! Everybody waits in the line of his network (or his own, if he was here before), and the lines take turns; a network from which somebody logged in
//! lately goes before strangers, and takes a stranger's place when all places are taken. So no flood, from one
//! network or from many, keeps those out who belong here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::address::AddressKey;
use super::throttle::UserKey;

/// How many of the known go before a waiting stranger has his turn all the same.
const KNOWN_IN_A_ROW: u32 = 4;

/// Where somebody waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Line {
    Network(AddressKey),
    /// A user who logged in from there before: those who guess from the same network are not before him.
    Familiar(AddressKey, UserKey),
    /// This machine itself.
    Local,
}

/// Who wants a turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub line: Line,
    /// Somebody logged in from there lately, or the operator trusts it.
    pub is_known: bool,
    /// How many may wait in that line.
    pub most_in_line: usize,
}

/// No turn: too many wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoTurn;

/// The lines before one scarce thing.
pub(super) struct Turns {
    most_waiting: usize,
    state: Mutex<State>,
}

struct State {
    free: usize,
    waiting: usize,
    lines: HashMap<Line, VecDeque<Waiting>>,
    /// The lines that are not empty, in the order they take turns.
    known: VecDeque<Line>,
    strangers: VecDeque<Line>,
    known_in_a_row: u32,
}

struct Waiting {
    grant: oneshot::Sender<Turn>,
    is_known: bool,
}

/// A turn; over when dropped.
pub(super) struct Turn {
    /// `None`: given back already.
    turns: Option<Arc<Turns>>,
}

impl Turns {
    /// `at_once` may have their turn at a time, and `most_waiting` wait for it.
    pub fn new(at_once: usize, most_waiting: usize) -> Arc<Turns> {
        let state = State {
            free: at_once.max(1),
            waiting: 0,
            lines: HashMap::new(),
            known: VecDeque::new(),
            strangers: VecDeque::new(),
            known_in_a_row: 0,
        };
        Arc::new(Turns { most_waiting, state: Mutex::new(state) })
    }

    /// Waits for a turn. Dropped before, the place in the line is free again.
    pub async fn take(self: &Arc<Self>, wish: Wish) -> Result<Turn, NoTurn> {
        let granted = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Turn { turns: Some(self.clone()) });
            }
            state.sweep(wish.line);
            let in_line = state.lines.get(&wish.line).map_or(0, VecDeque::len);
            if in_line >= wish.most_in_line {
                return Err(NoTurn);
            }
            if state.waiting >= self.most_waiting && !(wish.is_known && state.send_a_stranger_away()) {
                return Err(NoTurn);
            }
            state.join(wish)
        };
        granted.await.map_err(|_| NoTurn)
    }

    /// How many wait now.
    pub fn waiting(&self) -> usize {
        self.lock().waiting
    }

    fn give_on(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.lock();
                match state.next() {
                    Some(next) => next,
                    None => {
                        state.free += 1;
                        return;
                    }
                }
            };
            match next.grant.send(Turn { turns: Some(self.clone()) }) {
                Ok(()) => return,
                // Nobody waits there any more: the turn is not lost.
                Err(mut turn) => turn.turns = None,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Counters and lines are whole after every step, and no step can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a place in a line.
    fn join(&mut self, wish: Wish) -> oneshot::Receiver<Turn> {
        let (grant, granted) = oneshot::channel();
        let line = self.lines.entry(wish.line).or_default();
        if line.is_empty() {
            let order = if wish.is_known { &mut self.known } else { &mut self.strangers };
            order.push_back(wish.line);
        }
        line.push_back(Waiting { grant, is_known: wish.is_known });
        self.waiting += 1;
        granted
    }

    /// Takes those out of a line who have gone.
    fn sweep(&mut self, line: Line) {
        let Some(waiting) = self.lines.get_mut(&line) else { return };
        let before = waiting.len();
        waiting.retain(|one| !one.grant.is_closed());
        self.waiting -= before - waiting.len();
        if waiting.is_empty() {
            self.lines.remove(&line);
            self.known.retain(|other| *other != line);
            self.strangers.retain(|other| *other != line);
        }
    }

    /// Makes room for somebody known: the stranger who came last must try again later.
    fn send_a_stranger_away(&mut self) -> bool {
        let Some(line) = self.strangers.back().copied() else { return false };
        let Some(waiting) = self.lines.get_mut(&line) else { return false };
        // Dropping the sender tells him.
        let gone = waiting.pop_back();
        if waiting.is_empty() {
            self.lines.remove(&line);
            self.strangers.pop_back();
        }
        self.waiting -= usize::from(gone.is_some());
        gone.is_some()
    }

    /// The next one, from the line whose turn it is.
    fn next(&mut self) -> Option<Waiting> {
        let is_strangers_turn = self.known.is_empty() || self.known_in_a_row >= KNOWN_IN_A_ROW;
        let from_strangers = is_strangers_turn && !self.strangers.is_empty();
        let order = if from_strangers { &mut self.strangers } else { &mut self.known };
        self.known_in_a_row = if from_strangers { 0 } else { self.known_in_a_row.saturating_add(1) };
        let line = order.pop_front()?;
        let waiting = self.lines.get_mut(&line)?;
        let next = waiting.pop_front();
        self.waiting -= usize::from(next.is_some());
        match waiting.front() {
            None => {
                self.lines.remove(&line);
            }
            // Behind all others: that is what makes it fair.
            Some(follower) if follower.is_known => self.known.push_back(line),
            Some(_) => self.strangers.push_back(line),
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.turns.take() {
            turns.give_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    type Waited = Pin<Box<dyn Future<Output = Result<Turn, NoTurn>>>>;

    fn wish(network: u8, is_known: bool) -> Wish {
        let ip = std::net::Ipv4Addr::new(192, 0, 2, network);
        Wish { line: Line::Network(AddressKey::of(ip.into())), is_known, most_in_line: 2 }
    }

    fn take(turns: &Arc<Turns>, wish: Wish) -> Waited {
        let turns = turns.clone();
        let mut waited: Waited = Box::pin(async move { turns.take(wish).await });
        // Joins the line at once.
        if let Poll::Ready(done) = poll(&mut waited) {
            return Box::pin(std::future::ready(done));
        }
        waited
    }

    fn poll(waited: &mut Waited) -> Poll<Result<Turn, NoTurn>> {
        waited.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    fn has(waited: &mut Waited) -> Option<Turn> {
        match poll(waited) {
            Poll::Ready(Ok(turn)) => Some(turn),
            _ => None,
        }
    }

    #[test]
    fn lines_take_turns_so_that_a_crowd_does_not_hold_up_one() {
        let turns = Turns::new(1, 10);
        let at_work = has(&mut take(&turns, wish(1, false))).expect("free");
        let mut crowd = [take(&turns, wish(1, false)), take(&turns, wish(1, false))];
        assert!(matches!(poll(&mut take(&turns, wish(1, false))), Poll::Ready(Err(NoTurn))), "two wait already");
        let mut other = take(&turns, wish(2, false));
        drop(at_work);
        let first = has(&mut crowd[0]).expect("its turn");
        assert!(has(&mut crowd[1]).is_none());
        drop(first);
        let second = has(&mut other).expect("the other line's turn");
        assert!(has(&mut crowd[1]).is_none());
        drop(second);
        assert!(has(&mut crowd[1]).is_some());
    }

    #[test]
    fn the_known_go_first_but_strangers_are_not_forgotten() {
        let turns = Turns::new(1, 100);
        let mut at_work = has(&mut take(&turns, wish(0, false)));
        let mut stranger = take(&turns, wish(1, false));
        let mut known: Vec<_> = (10..20).map(|n| take(&turns, wish(n, true))).collect();
        let mut before = 0;
        loop {
            drop(at_work.take());
            if has(&mut stranger).is_some() {
                break;
            }
            at_work = has(&mut known.remove(0));
            assert!(at_work.is_some(), "the lines of the known take turns");
            before += 1;
        }
        assert_eq!(before, KNOWN_IN_A_ROW);
    }

    #[test]
    fn strangers_from_everywhere_cannot_fill_the_places_of_the_known() {
        let turns = Turns::new(1, 5);
        let at_work = has(&mut take(&turns, wish(0, false))).expect("free");
        let mut flood: Vec<_> = (1..6).map(|n| take(&turns, wish(n, false))).collect();
        assert!(matches!(poll(&mut take(&turns, wish(9, false))), Poll::Ready(Err(NoTurn))));
        let mut known = take(&turns, wish(10, true));
        assert!(matches!(poll(&mut flood[4]), Poll::Ready(Err(NoTurn))), "the last stranger made room");
        drop(at_work);
        assert!(has(&mut known).is_some());
        assert_eq!(turns.waiting(), 3, "one of the strangers had the turn then");
    }

    #[test]
    fn who_goes_away_leaves_nothing_behind() {
        let turns = Turns::new(1, 2);
        let at_work = has(&mut take(&turns, wish(0, false))).expect("free");
        drop((take(&turns, wish(1, false)), take(&turns, wish(1, false))));
        let mut again = take(&turns, wish(1, false));
        drop(at_work);
        let turn = has(&mut again).expect("the places of the gone were free");
        // Granted and never looked at: given on all the same.
        let unseen = take(&turns, wish(2, false));
        drop(turn);
        drop(unseen);
        assert!(has(&mut take(&turns, wish(3, false))).is_some());
        assert_eq!(turns.waiting(), 0);
        assert!(turns.lock().lines.is_empty());
    }
}
