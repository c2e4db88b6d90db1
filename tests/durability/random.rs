//! Numbers and messages from a seed. The same seed asks the same things of the server; how the clients'
//! commands interleave is up to the machine, so a seed narrows a failure down without pinning it.

use std::sync::{Mutex, MutexGuard};

/// SplitMix64: small, good enough for choosing, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `low..high`; `low` when the range is empty.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        if high <= low { low } else { low + self.next() % (high - low) }
    }

    pub fn index(&mut self, length: usize) -> usize {
        self.range(0, length as u64) as usize
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.range(0, 100) < percent
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { Some(&from[self.index(from.len())]) }
    }

    /// A few elements, at least one, in their order.
    pub fn some_of<T: Clone>(&mut self, from: &[T]) -> Vec<T> {
        let percent = self.range(10, 70);
        let mut chosen: Vec<T> = from.iter().filter(|_| self.chance(percent)).cloned().collect();
        if chosen.is_empty() {
            chosen.extend(self.pick(from).cloned());
        }
        chosen
    }

    /// An independent stream, so that one client's choices do not depend on another's.
    pub fn branch(&mut self) -> Self {
        Self(self.next())
    }
}

/// The seed of this run: PILLARBOX_SEED, or one made of the time; printed either way.
pub fn seed(family: &str) -> u64 {
    let seed = number_from_environment("PILLARBOX_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Random::new(now.map_or(1, |since| since.as_nanos() as u64)).next() % 1_000_000_000
    });
    eprintln!("{family}: PILLARBOX_SEED={seed}");
    seed
}

/// How often to repeat: the named variable, else `in_ci` when CI is set, else `at_home`.
pub fn repetitions(variable: &str, in_ci: u64, at_home: u64) -> u64 {
    let usual = if std::env::var_os("CI").is_some() { in_ci } else { at_home };
    number_from_environment(variable).unwrap_or(usual)
}

fn number_from_environment(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// These tests load the machine and two of them measure waiting: one at a time.
pub fn my_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A message of `size` bytes (at least its header), unlike every message with another name.
pub fn message(name: &str, size: usize, random: &mut Random) -> Vec<u8> {
    let mut text = format!(
        "From: Writer <writer@example.org>\r\nTo: reader@example.org\r\nSubject: durable {name}\r\n\
         Message-ID: <{name}@durability.example.org>\r\nDate: Mon, 02 Jan 2023 03:04:05 +0000\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nword{name}word\r\n"
    )
    .into_bytes();
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -";
    while text.len() + 2 < size {
        let line = (size - text.len() - 2).min(70);
        let mut bits = 0;
        for place in 0..line {
            if place % 10 == 0 {
                bits = random.next();
            }
            text.push(LETTERS[(bits & 63) as usize]);
            bits >>= 6;
        }
        text.extend_from_slice(b"\r\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_message_and_another_name_another() {
        let one = message("a", 5000, &mut Random::new(7));
        assert_eq!(one, message("a", 5000, &mut Random::new(7)));
        assert_ne!(one, message("b", 5000, &mut Random::new(7)));
        assert!(one.len() >= 4990 && one.len() <= 5002, "{}", one.len());
    }

    #[test]
    fn some_of_is_never_empty_and_keeps_order() {
        let mut random = Random::new(1);
        for _ in 0..200 {
            let chosen = random.some_of(&[1, 2, 3, 4, 5]);
            assert!(!chosen.is_empty() && chosen.is_sorted());
        }
    }
}
