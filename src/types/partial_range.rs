//! A slice of an ordered result: `PARTIAL 1:500`, or `PARTIAL -1:-500` counted from its end (RFC 9394).

use std::ops::Range;

/// Two positions as the client wrote them, both at least 1. `500:400` is the same slice as `400:500`, but the
/// answer repeats what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartialRange {
    /// Positions are counted from the last result backwards: both were written with a minus.
    pub from_last: bool,
    pub first: u32,
    pub second: u32,
}

impl PartialRange {
    /// The slice of a result of `count`, as indexes from 0 in the result's own order. It ends where the result
    /// does, and is empty where there is nothing (RFC 9394 §3.1).
    pub fn within(self, count: u64) -> Range<u64> {
        let low = u64::from(self.first.min(self.second)).saturating_sub(1);
        let high = u64::from(self.first.max(self.second));
        let (low, high) = (low.min(count), high.min(count));
        if self.from_last { count - high..count - low } else { low..high }
    }

    /// How many results the client asked for.
    pub fn asked(self) -> u64 {
        u64::from(self.first.abs_diff(self.second)) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_from_either_end() {
        let slice = |from_last, first, second| PartialRange { from_last, first, second };
        assert_eq!(slice(false, 1, 3).within(10), 0..3);
        assert_eq!(slice(false, 3, 1).within(10), 0..3);
        assert_eq!(slice(false, 9, 12).within(10), 8..10);
        assert!(slice(false, 11, 12).within(10).is_empty());
        assert_eq!(slice(true, 1, 3).within(10), 7..10);
        assert_eq!(slice(true, 12, 9).within(10), 0..2);
        assert!(slice(true, 11, 12).within(10).is_empty());
        assert!(slice(true, 1, u32::MAX).within(0).is_empty());
        assert_eq!(slice(false, 1, u32::MAX).within(u64::MAX), 0..u64::from(u32::MAX));
        assert_eq!(slice(true, 1, 50).asked(), 50);
    }
}
