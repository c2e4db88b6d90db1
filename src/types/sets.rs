//! Sets of message numbers: as a client wrote them ([`NumSet`]) and as sorted runs ([`UidRuns`]).

/// One end of a range in a sequence set: a number or `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetBound {
    Number(u32),
    /// The largest number in use.
    Star,
}

impl SetBound {
    fn value(self, largest: u32) -> u32 {
        match self {
            SetBound::Number(n) => n,
            SetBound::Star => largest,
        }
    }
}

/// A sequence set as the client wrote it: `1:5,9,12:*`, or `$` for the saved search result (RFC 5182).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NumSet {
    /// Ranges in the order written; a single number is a range of one. Never empty.
    Ranges(Vec<(SetBound, SetBound)>),
    /// `$`
    Saved,
}

impl NumSet {
    /// A set of exactly one number.
    pub fn one(n: u32) -> Self {
        NumSet::Ranges(vec![(SetBound::Number(n), SetBound::Number(n))])
    }

    /// The numbers meant, when `largest` is the largest in use (0: there is none, and `*` means nothing).
    /// Ranges may be written backwards, and `n:*` holds the largest even when `n` is above it
    /// (RFC 3501 §9, seq-range). `$` is resolved elsewhere and gives nothing here.
    pub fn resolve(&self, largest: u32) -> UidRuns {
        let NumSet::Ranges(ranges) = self else { return UidRuns::default() };
        ranges
            .iter()
            .filter(|(a, b)| largest > 0 || !matches!((a, b), (SetBound::Star, _) | (_, SetBound::Star)))
            .map(|(a, b)| {
                let (a, b) = (a.value(largest), b.value(largest));
                (a.min(b), a.max(b))
            })
            .collect()
    }

    /// True when some number in the set, `*` apart, is above `largest`.
    pub fn exceeds(&self, largest: u32) -> bool {
        let above = |bound: &SetBound| matches!(bound, SetBound::Number(n) if *n > largest);
        match self {
            NumSet::Ranges(ranges) => ranges.iter().any(|(a, b)| above(a) || above(b)),
            NumSet::Saved => false,
        }
    }

    /// How many ranges the client wrote.
    pub fn ranges(&self) -> usize {
        match self {
            NumSet::Ranges(ranges) => ranges.len(),
            NumSet::Saved => 0,
        }
    }

    /// True when the set mentions `*`.
    pub fn has_star(&self) -> bool {
        match self {
            NumSet::Ranges(ranges) => ranges.iter().any(|(a, b)| *a == SetBound::Star || *b == SetBound::Star),
            NumSet::Saved => false,
        }
    }
}

/// Numbers as sorted, disjoint, non-adjacent runs, both ends included. Used wherever many UIDs are held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UidRuns {
    runs: Vec<(u32, u32)>,
}

impl UidRuns {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn one(n: u32) -> Self {
        UidRuns { runs: vec![(n, n)] }
    }

    /// All numbers from `lo` to `hi`; empty when `lo > hi`.
    pub fn range(lo: u32, hi: u32) -> Self {
        UidRuns { runs: if lo <= hi { vec![(lo, hi)] } else { Vec::new() } }
    }

    pub fn runs(&self) -> &[(u32, u32)] {
        &self.runs
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many numbers there are.
    pub fn count(&self) -> u64 {
        self.runs.iter().map(|(lo, hi)| u64::from(hi - lo) + 1).sum()
    }

    pub fn first(&self) -> Option<u32> {
        self.runs.first().map(|r| r.0)
    }

    pub fn last(&self) -> Option<u32> {
        self.runs.last().map(|r| r.1)
    }

    pub fn contains(&self, n: u32) -> bool {
        let at = self.runs.partition_point(|r| r.1 < n);
        self.runs.get(at).is_some_and(|r| r.0 <= n)
    }

    /// Adds `n`, cheaply when it is above all others, as it nearly always is.
    pub fn push(&mut self, n: u32) {
        match self.runs.last_mut() {
            Some(last) if n <= last.1 => {
                if !self.contains(n) {
                    let mut runs = std::mem::take(&mut self.runs);
                    runs.push((n, n));
                    self.runs = normal(runs);
                }
            }
            Some(last) if last.1 + 1 == n => last.1 = n,
            _ => self.runs.push((n, n)),
        }
    }

    /// Adds all numbers of a run that begins above all others.
    pub fn push_run(&mut self, lo: u32, hi: u32) {
        match self.runs.last_mut() {
            _ if lo > hi => {}
            Some(last) if last.1.checked_add(1) == Some(lo) => last.1 = hi,
            Some(last) if lo <= last.1 => {
                let mut runs = std::mem::take(&mut self.runs);
                runs.push((lo, hi));
                self.runs = normal(runs);
            }
            _ => self.runs.push((lo, hi)),
        }
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.runs.iter().flat_map(|&(lo, hi)| lo..=hi)
    }

    pub fn union(&self, other: &UidRuns) -> UidRuns {
        let mut runs = self.runs.clone();
        runs.extend_from_slice(&other.runs);
        UidRuns { runs: normal(runs) }
    }

    pub fn intersection(&self, other: &UidRuns) -> UidRuns {
        let (mut a, mut b, mut out) = (0, 0, Vec::new());
        while let (Some(x), Some(y)) = (self.runs.get(a), other.runs.get(b)) {
            let (lo, hi) = (x.0.max(y.0), x.1.min(y.1));
            if lo <= hi {
                out.push((lo, hi));
            }
            if x.1 < y.1 { a += 1 } else { b += 1 }
        }
        UidRuns { runs: out }
    }

    /// The numbers of this set that are not in `other`.
    pub fn difference(&self, other: &UidRuns) -> UidRuns {
        let (mut out, mut b) = (Vec::new(), 0);
        for &(mut lo, hi) in &self.runs {
            while other.runs.get(b).is_some_and(|y| y.1 < lo) {
                b += 1;
            }
            let mut at = b;
            let mut open = true;
            while let Some(y) = other.runs.get(at).filter(|y| y.0 <= hi) {
                if y.0 > lo {
                    out.push((lo, y.0 - 1));
                }
                if y.1 >= hi {
                    open = false;
                    break;
                }
                lo = y.1 + 1;
                at += 1;
            }
            if open && lo <= hi {
                out.push((lo, hi));
            }
        }
        UidRuns { runs: out }
    }

    /// The numbers at positions `from` to `to` (not included), counted from 0 in rising order.
    pub fn slice(&self, from: u64, to: u64) -> UidRuns {
        let (mut out, mut at) = (UidRuns::new(), 0);
        for &(lo, hi) in &self.runs {
            let next = at + u64::from(hi - lo) + 1;
            let (first, end) = (from.max(at), to.min(next));
            if first < end {
                out.push_run(lo + (first - at) as u32, lo + (end - 1 - at) as u32);
            }
            at = next;
        }
        out
    }

    /// The set in IMAP's own form, `1:3,7`. Empty when the set is; IMAP has no empty set.
    pub fn wire(&self) -> String {
        let mut text = String::new();
        for (lo, hi) in &self.runs {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&lo.to_string());
            if hi > lo {
                text.push(':');
                text.push_str(&hi.to_string());
            }
        }
        text
    }
}

fn normal(mut runs: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    runs.sort_unstable();
    let mut out: Vec<(u32, u32)> = Vec::with_capacity(runs.len());
    for (lo, hi) in runs {
        match out.last_mut() {
            Some(last) if lo <= last.1.saturating_add(1) => last.1 = last.1.max(hi),
            _ => out.push((lo, hi)),
        }
    }
    out
}

impl FromIterator<(u32, u32)> for UidRuns {
    fn from_iter<I: IntoIterator<Item = (u32, u32)>>(runs: I) -> Self {
        UidRuns { runs: normal(runs.into_iter().collect()) }
    }
}

impl FromIterator<u32> for UidRuns {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for n in numbers {
            match runs.last_mut() {
                Some(last) if last.1.checked_add(1) == Some(n) => last.1 = n,
                _ => runs.push((n, n)),
            }
        }
        UidRuns { runs: normal(runs) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SetBound::{Number, Star};

    #[test]
    fn a_range_to_star_holds_the_largest_even_from_above_it() {
        let set = NumSet::Ranges(vec![(Number(900), Star)]);
        assert_eq!(set.resolve(7).wire(), "7:900");
        assert_eq!(NumSet::Ranges(vec![(Star, Number(2))]).resolve(5).wire(), "2:5");
        assert!(set.resolve(0).is_empty());
    }

    #[test]
    fn runs_join_and_sort() {
        let runs: UidRuns = [5, 1, 2, 3, 9, 4].into_iter().collect();
        assert_eq!(runs.wire(), "1:5,9");
        assert_eq!(runs.count(), 6);
        assert!(runs.contains(4) && !runs.contains(6));
    }

    #[test]
    fn set_algebra_agrees_with_plain_sets() {
        use std::collections::BTreeSet;
        let mut seed = 7u32;
        let mut random = move |n: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % n
        };
        for _ in 0..500 {
            let a: BTreeSet<u32> = (0..random(30)).map(|_| 1 + random(40)).collect();
            let b: BTreeSet<u32> = (0..random(30)).map(|_| 1 + random(40)).collect();
            let (ra, rb): (UidRuns, UidRuns) = (a.iter().copied().collect(), b.iter().copied().collect());
            let same = |runs: UidRuns, set: BTreeSet<u32>| {
                assert_eq!(runs.iter().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
            };
            same(ra.union(&rb), &a | &b);
            same(ra.intersection(&rb), &a & &b);
            same(ra.difference(&rb), &a - &b);
            let (from, to) = (random(12) as usize, random(24) as usize);
            let sliced = a.iter().copied().take(to).skip(from).collect();
            same(ra.slice(from as u64, to as u64), sliced);
            let mut pushed = UidRuns::new();
            for n in a.iter().rev() {
                pushed.push(*n);
            }
            same(pushed, a);
        }
    }
}
