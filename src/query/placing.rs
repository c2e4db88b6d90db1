//! Puts a few messages into an order that is known, by comparing each with as few of the others as it takes: what is
//! compared is asked for, sorted elsewhere, and learned from.

use std::collections::HashMap;

use crate::types::UidRuns;

/// Newcomers on their way to their places in an order.
#[derive(Debug)]
pub struct Placing<'o> {
    /// What is in order already.
    order: &'o [u32],
    newcomers: Vec<Newcomer>,
    is_begun: bool,
}

#[derive(Debug)]
struct Newcomer {
    number: u32,
    /// It stands before the message at one of these places, or behind all.
    low: usize,
    high: usize,
    /// Its place among what was compared last.
    rank: usize,
}

impl Newcomer {
    /// The place of the message that tells most.
    fn probe(&self) -> Option<usize> {
        (self.low < self.high).then_some(self.low + (self.high - self.low) / 2)
    }
}

impl<'o> Placing<'o> {
    /// None of the newcomers is in the order.
    pub fn new(order: &'o [u32], newcomers: &UidRuns) -> Self {
        let at_any = |number| Newcomer { number, low: 0, high: order.len(), rank: 0 };
        Placing { order, newcomers: newcomers.iter().map(at_any).collect(), is_begun: false }
    }

    /// The messages to be sorted next; `None` once every place is known, which takes as many rounds as the order's
    /// length has binary digits.
    pub fn asks(&self) -> Option<UidRuns> {
        let probes = self.newcomers.iter().filter_map(Newcomer::probe).map(|at| self.order[at]);
        let mut asked: Vec<u32> = probes.collect();
        if asked.is_empty() && self.is_begun {
            return None;
        }
        asked.extend(self.newcomers.iter().map(|newcomer| newcomer.number));
        asked.sort_unstable();
        asked.dedup();
        Some(asked.into_iter().collect())
    }

    /// Takes in what was asked for, in order. `false`: some of it is missing, and no place can be told.
    pub fn learn(&mut self, sorted: &[u32]) -> bool {
        self.is_begun = true;
        let ranks: HashMap<u32, usize> = sorted.iter().copied().zip(0..).collect();
        for newcomer in &mut self.newcomers {
            let Some(rank) = ranks.get(&newcomer.number) else { return false };
            newcomer.rank = *rank;
            let Some(at) = newcomer.probe() else { continue };
            match ranks.get(&self.order[at]) {
                Some(probe) if rank < probe => newcomer.high = at,
                Some(_) => newcomer.low = at + 1,
                None => return false,
            }
        }
        true
    }

    /// All in order.
    pub fn merged(mut self) -> Vec<u32> {
        self.newcomers.sort_unstable_by_key(|newcomer| (newcomer.low, newcomer.rank));
        let mut merged = Vec::with_capacity(self.order.len() + self.newcomers.len());
        let mut from = 0;
        for newcomer in &self.newcomers {
            merged.extend_from_slice(&self.order[from..newcomer.low]);
            merged.push(newcomer.number);
            from = newcomer.low;
        }
        merged.extend_from_slice(&self.order[from..]);
        merged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Places `newcomers` in the order that `value` gives, equals by number; and how many messages were compared.
    fn placed(order: &[u32], newcomers: &UidRuns, value: impl Fn(u32) -> u32) -> (Vec<u32>, u64) {
        let mut placing = Placing::new(order, newcomers);
        let mut compared = 0;
        while let Some(asked) = placing.asks() {
            compared += asked.count();
            let mut sorted: Vec<u32> = asked.iter().collect();
            sorted.sort_by_key(|number| (value(*number), *number));
            assert!(placing.learn(&sorted));
        }
        (placing.merged(), compared)
    }

    proptest! {
        #[test]
        fn newcomers_find_the_places_that_sorting_all_gives(
            values in proptest::collection::vec(0..9u32, 1..200),
            new in proptest::collection::vec(0..200u32, 0..9),
        ) {
            let value = |number: u32| values[number as usize - 1];
            let newcomers: UidRuns =
                (1..=values.len() as u32).filter(|number| new.contains(number)).collect();
            let mut all: Vec<u32> = (1..=values.len() as u32).collect();
            all.sort_by_key(|number| (value(*number), *number));
            let order: Vec<u32> = all.iter().copied().filter(|number| !newcomers.contains(*number)).collect();
            prop_assert_eq!(placed(&order, &newcomers, value).0, all);
        }
    }

    #[test]
    fn few_are_compared() {
        let order: Vec<u32> = (1..=100_000).rev().collect();
        let (merged, compared) = placed(&order, &UidRuns::range(100_001, 100_003), |number| 200_000 - number);
        assert_eq!(merged, Vec::from_iter((1..=100_003).rev()));
        assert!(compared <= 6 * 17, "{compared}");
    }

    #[test]
    fn what_is_missing_is_noticed() {
        let mut placing = Placing::new(&[1, 2, 3], &UidRuns::one(4));
        assert_eq!(placing.asks().expect("a round").wire(), "2,4");
        assert!(!placing.learn(&[4]), "the probe");
        assert!(!Placing::new(&[1, 2, 3], &UidRuns::one(4)).learn(&[2]), "the newcomer");
    }
}
