//! How long a failure waits for its answer, and how many passwords one address may have checked at once.
//! Delays fall on failures only: behind one address there may be a whole company, and its good passwords pass at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::address::AddressKey;
use super::lock;
use super::remembered::Proof;
use crate::config::LoginSettings;

/// Most addresses watched; beyond that the ones silent for longest are forgotten.
const MOST_ADDRESSES: usize = 10_000;
/// How long an address stays known after its last failure.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15 * 60);

/// What is known of addresses that failed, or are being checked now.
#[derive(Default)]
pub(super) struct Throttle {
    addresses: HashMap<AddressKey, Known>,
}

struct Known {
    failures: u32,
    /// The attempt that failed last.
    last_proof: Proof,
    last_seen: Instant,
    /// Password checks waiting or at work.
    at_work: usize,
}

impl Throttle {
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a failure and says how long its answer is to wait. `address` is `None` when failures from there do not
    /// add up: from this machine, or from a network with many users.
    pub fn failed(
        &mut self,
        address: Option<AddressKey>,
        proof: Proof,
        settings: &LoginSettings,
        now: Instant,
    ) -> Duration {
        let failures = address.map_or(1, |address| {
            let known = self.known(address, now);
            // Some clients repeat a refused password at once in another way (AUTHENTICATE, then LOGIN): that is one.
            if known.failures == 0 || known.last_proof != proof {
                known.failures = known.failures.saturating_add(1);
            }
            known.last_proof = proof;
            known.last_seen = now;
            known.failures
        });
        let most = settings.failure_delay_most_seconds.max(settings.failure_delay_seconds);
        let doubled = settings.failure_delay_seconds.saturating_mul(1 << (failures - 1).min(16)).min(most);
        // Up to a quarter more, taken from the keyed hash of the attempt: so that a hash that was skipped or queued
        // does not show in the time.
        doubled + doubled.mul_f64(f64::from(proof[0]) / 1024.0)
    }

    fn known(&mut self, address: AddressKey, now: Instant) -> &mut Known {
        if self.addresses.len() >= MOST_ADDRESSES && !self.addresses.contains_key(&address) {
            self.make_room(now);
        }
        let known = self.addresses.entry(address).or_insert(Known {
            failures: 0,
            last_proof: [0; 32],
            last_seen: now,
            at_work: 0,
        });
        if now.saturating_duration_since(known.last_seen) > FORGOTTEN_AFTER {
            known.failures = 0;
        }
        known
    }

    fn make_room(&mut self, now: Instant) {
        let is_fresh = |known: &Known| now.saturating_duration_since(known.last_seen) <= FORGOTTEN_AFTER;
        self.addresses.retain(|_, known| known.at_work > 0 || is_fresh(known));
        if self.addresses.len() < MOST_ADDRESSES {
            return;
        }
        // A flood from everywhere: forget the older half, so that this is not done again at the next address.
        let mut seen: Vec<Instant> = self.addresses.values().map(|known| known.last_seen).collect();
        let middle = seen.len() / 2;
        let cut = *seen.select_nth_unstable(middle).1;
        self.addresses.retain(|_, known| known.at_work > 0 || known.last_seen > cut);
    }
}

/// One password check of an address; gives its place back when dropped.
pub(super) struct Turn {
    throttle: Arc<Mutex<Throttle>>,
    address: AddressKey,
}

/// A place for one check, unless the address has `most` already.
pub(super) fn take_turn(throttle: &Arc<Mutex<Throttle>>, address: AddressKey, most: usize) -> Option<Turn> {
    let mut table = lock(throttle);
    let known = table.known(address, Instant::now());
    if known.at_work >= most {
        return None;
    }
    known.at_work += 1;
    Some(Turn { throttle: throttle.clone(), address })
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut table = lock(&self.throttle);
        if let Some(known) = table.addresses.get_mut(&self.address) {
            known.at_work = known.at_work.saturating_sub(1);
            // An address that never failed is not worth a place.
            if known.at_work == 0 && known.failures == 0 {
                table.addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> AddressKey {
        AddressKey::of(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into())
    }

    fn seconds(delay: Duration) -> u64 {
        delay.as_secs()
    }

    #[test]
    fn delays_double_up_to_their_most_and_are_forgotten() {
        let (mut throttle, settings, now) = (Throttle::new(), LoginSettings::default(), Instant::now());
        let mut proof = [0; 32];
        let mut fail = |n: u8, at| {
            // Only the first octet makes jitter; the second makes the attempts differ.
            proof[1] = n;
            seconds(throttle.failed(Some(address(1)), proof, &settings, at))
        };
        assert_eq!(
            [fail(1, now), fail(2, now), fail(3, now), fail(4, now), fail(5, now), fail(6, now)],
            [1, 2, 4, 8, 15, 15]
        );
        assert_eq!(fail(6, now), 15, "the same attempt again");
        assert_eq!(fail(7, now + FORGOTTEN_AFTER + Duration::from_secs(1)), 1);
    }

    #[test]
    fn the_same_wrong_password_again_is_one_failure() {
        let (mut throttle, settings, now) = (Throttle::new(), LoginSettings::default(), Instant::now());
        let mut fail = |proof| seconds(throttle.failed(Some(address(1)), proof, &settings, now));
        assert_eq!([fail([0; 32]), fail([0; 32]), fail([0; 32])], [1, 1, 1]);
    }

    #[test]
    fn many_users_behind_one_trusted_address_do_not_add_up() {
        let (mut throttle, settings, now) = (Throttle::new(), LoginSettings::default(), Instant::now());
        for n in 0..20 {
            let mut proof = [0; 32];
            proof[1] = n;
            assert_eq!(seconds(throttle.failed(None, proof, &settings, now)), 1);
        }
        assert!(throttle.addresses.is_empty());
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut throttle, settings, now) = (Throttle::new(), LoginSettings::default(), Instant::now());
        for n in 0..30_000u32 {
            throttle.failed(Some(address(n)), [0; 32], &settings, now + Duration::from_millis(n.into()));
            assert!(throttle.addresses.len() <= MOST_ADDRESSES);
        }
        assert!(throttle.addresses.contains_key(&address(29_999)));
    }

    #[test]
    fn turns_are_given_back() {
        let throttle = Arc::new(Mutex::new(Throttle::new()));
        let first = take_turn(&throttle, address(1), 2).expect("free");
        let second = take_turn(&throttle, address(1), 2).expect("free");
        assert!(take_turn(&throttle, address(1), 2).is_none());
        assert!(take_turn(&throttle, address(2), 2).is_some(), "others do not wait");
        drop(first);
        assert!(take_turn(&throttle, address(1), 2).is_some());
        drop(second);
        assert!(lock(&throttle).addresses.is_empty());
    }
}
