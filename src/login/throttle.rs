//! How guessing is slowed, by network and by user, while nobody who belongs here is kept out.
//! A wrong password waits for its answer, longer with every other wrong one from that network or for that user; a
//! network with many such answers outstanding is told to come back later, unless this very user has logged in from
//! there before. A good password never waits. Behind one address there may be a company or a cloud: every user who
//! logs in from it lets it make one mistake more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::address::AddressKey;
use super::lock;
use super::remembered::Proof;
use crate::config::LoginSettings;

/// Most users remembered for one network.
const MOST_GOOD_USERS: usize = 64;
/// How long a good log-in speaks for its user and network.
const GOOD_FOR: Duration = Duration::from_secs(30 * 86_400);
/// Last attempts remembered for one network, to know a repeated one.
const LAST_ATTEMPTS: usize = 8;
/// How long after a wrong SCRAM proof the same user's next wrong password counts as the same slip: a program that
/// falls back to another mechanism does so at once.
const FALL_BACK_WITHIN: Duration = Duration::from_secs(30);
/// Wrong passwords of one user that are typing, and slow nothing yet.
const TYPING: u32 = 2;

/// A user in these tables: a keyed hash of the name, so that names of any length and number cost the same.
pub(super) type UserKey = u64;

/// What is known of networks and users.
#[derive(Default)]
pub(super) struct Throttle {
    networks: HashMap<AddressKey, Network>,
    users: HashMap<UserKey, User>,
}

struct Network {
    failures: u32,
    last_seen: Instant,
    last_attempts: Vec<Proof>,
    /// The user of a wrong SCRAM proof, whose next wrong password is the same slip.
    fell_back: Option<(UserKey, Instant)>,
    /// Answers that are being held back.
    held: usize,
    /// Who logged in from there, and when last.
    good: Vec<(UserKey, Instant)>,
}

struct User {
    failures: u32,
    last_seen: Instant,
}

/// One failed attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure {
    /// `None`: failures from there do not add up, for it is this machine or a network the operator trusts.
    pub network: Option<AddressKey>,
    /// `None`: nobody knows who it was to be.
    pub user: Option<UserKey>,
    pub proof: Proof,
    pub is_scram: bool,
}

/// Too many answers are being held back for that network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManyGuesses;

impl Network {
    fn new(now: Instant) -> Self {
        Network { failures: 0, last_seen: now, last_attempts: Vec::new(), fell_back: None, held: 0, good: Vec::new() }
    }

    fn good_users(&self, now: Instant) -> usize {
        self.good.iter().filter(|(_, at)| now.saturating_duration_since(*at) < GOOD_FOR).count()
    }

    fn is_good(&self, user: UserKey) -> bool {
        self.good.iter().any(|(good, _)| *good == user)
    }

    /// Whether this failure is a new guess. A program that repeats one wrong password, in whatever way, made one.
    fn is_new_guess(&mut self, failure: &Failure, now: Instant) -> bool {
        if self.last_attempts.contains(&failure.proof) {
            return false;
        }
        if self.last_attempts.len() == LAST_ATTEMPTS {
            self.last_attempts.remove(0);
        }
        self.last_attempts.push(failure.proof);
        let fell_back = self.fell_back.take();
        if failure.is_scram {
            self.fell_back = failure.user.map(|user| (user, now));
            return true;
        }
        !fell_back.is_some_and(|(user, at)| {
            Some(user) == failure.user && now.saturating_duration_since(at) < FALL_BACK_WITHIN
        })
    }
}

impl Throttle {
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether an attempt may be made at all.
    pub fn enter(
        &self,
        network: Option<AddressKey>,
        user: Option<UserKey>,
        settings: &LoginSettings,
        now: Instant,
    ) -> Result<(), TooManyGuesses> {
        let Some(known) = network.and_then(|network| self.networks.get(&network)) else { return Ok(()) };
        let most = settings.guesses_per_network + known.good_users(now);
        let is_familiar = user.is_some_and(|user| known.is_good(user));
        if is_familiar || known.held < most { Ok(()) } else { Err(TooManyGuesses) }
    }

    /// Whether this user logged in from there before.
    pub fn is_familiar(&self, network: AddressKey, user: UserKey) -> bool {
        self.networks.get(&network).is_some_and(|known| known.is_good(user))
    }

    /// Whether somebody logged in from there lately.
    pub fn is_known(&self, network: AddressKey, now: Instant) -> bool {
        self.networks.get(&network).is_some_and(|known| known.good_users(now) > 0)
    }

    /// Notes a good log-in.
    pub fn succeeded(&mut self, network: Option<AddressKey>, user: UserKey, settings: &LoginSettings, now: Instant) {
        let Some(network) = network else { return };
        let known = self.network(network, settings, now);
        known.last_seen = now;
        known.good.retain(|(other, _)| *other != user);
        if known.good.len() == MOST_GOOD_USERS {
            known.good.remove(0);
        }
        known.good.push((user, now));
    }

    /// Counts a failure and says how long after its arrival it may be answered.
    fn count(&mut self, failure: &Failure, settings: &LoginSettings, now: Instant) -> Duration {
        let mut is_new = true;
        let by_network = failure.network.map_or(0, |network| {
            let known = self.network(network, settings, now);
            if now.saturating_duration_since(known.last_seen) > settings.failures_forgotten_seconds {
                known.failures = 0;
                known.last_attempts.clear();
            }
            is_new = known.is_new_guess(failure, now);
            known.failures = known.failures.saturating_add(is_new.into());
            known.last_seen = now;
            let excused = u32::try_from(known.good_users(now)).unwrap_or(u32::MAX);
            known.failures.saturating_sub(1).saturating_sub(excused)
        });
        let by_user = failure.user.map_or(0, |user| {
            let known = self.user(user, settings, now);
            if now.saturating_duration_since(known.last_seen) > settings.failures_forgotten_seconds {
                known.failures = 0;
            }
            known.failures = known.failures.saturating_add(is_new.into());
            known.last_seen = now;
            known.failures.saturating_sub(1 + TYPING)
        });
        let most = settings.failure_delay_most_seconds.max(settings.failure_delay_seconds);
        let doublings = by_network.max(by_user).min(16);
        let doubled = settings.failure_delay_seconds.saturating_mul(1 << doublings).min(most);
        // Up to a quarter more, taken from the keyed hash of the attempt: so that an answer that was late already
        // does not tell by its time what was computed for it.
        doubled + doubled.mul_f64(f64::from(failure.proof[0]) / 1024.0)
    }

    fn network(&mut self, network: AddressKey, settings: &LoginSettings, now: Instant) -> &mut Network {
        if self.networks.len() >= settings.watched_networks && !self.networks.contains_key(&network) {
            forget_half(&mut self.networks, |known| (known.held > 0, !known.good.is_empty(), known.last_seen));
        }
        self.networks.entry(network).or_insert_with(|| Network::new(now))
    }

    fn user(&mut self, user: UserKey, settings: &LoginSettings, now: Instant) -> &mut User {
        // As many as networks: a guesser who makes up names must not cost more than one who makes up addresses.
        if self.users.len() >= settings.watched_networks && !self.users.contains_key(&user) {
            forget_half(&mut self.users, |known| known.last_seen);
        }
        self.users.entry(user).or_insert(User { failures: 0, last_seen: now })
    }

    /// How many networks and users are watched.
    pub fn watched(&self) -> (usize, usize) {
        (self.networks.len(), self.users.len())
    }
}

/// Forgets the half that matters least, so that this is not done again at the next newcomer.
fn forget_half<K: std::hash::Hash + Eq, V, O: Ord + Copy>(table: &mut HashMap<K, V>, worth: impl Fn(&V) -> O) {
    let mut all: Vec<O> = table.values().map(&worth).collect();
    let middle = all.len() / 2;
    if middle < all.len() {
        let cut = *all.select_nth_unstable(middle).1;
        table.retain(|_, known| worth(known) > cut);
    }
}

/// An answer that is held back; it counts for its network until dropped.
pub(super) struct Held {
    throttle: Arc<Mutex<Throttle>>,
    network: Option<AddressKey>,
    /// How long after its arrival the attempt may be answered.
    pub delay: Duration,
}

/// Counts a failure; its answer is to be held back.
pub(super) fn failed(throttle: &Arc<Mutex<Throttle>>, failure: &Failure, settings: &LoginSettings) -> Held {
    let now = Instant::now();
    let mut table = lock(throttle);
    let delay = table.count(failure, settings, now);
    if let Some(network) = failure.network {
        table.network(network, settings, now).held += 1;
    }
    Held { throttle: throttle.clone(), network: failure.network, delay }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut table = lock(&self.throttle);
        if let Some(known) = self.network.and_then(|network| table.networks.get_mut(&network)) {
            known.held = known.held.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> AddressKey {
        AddressKey::of(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into())
    }

    /// A wrong password. Only the first octet of its proof makes jitter; the others make attempts differ.
    fn failure(network: u32, user: UserKey, password: u16) -> Failure {
        let mut proof = [0; 32];
        proof[1..3].copy_from_slice(&password.to_le_bytes());
        proof[3..11].copy_from_slice(&user.to_le_bytes());
        Failure { network: Some(address(network)), user: Some(user), proof, is_scram: false }
    }

    fn seconds(throttle: &mut Throttle, failure: Failure, now: Instant) -> u64 {
        throttle.count(&failure, &LoginSettings::default(), now).as_secs()
    }

    #[test]
    fn delays_double_up_to_their_most_and_are_forgotten() {
        let (mut throttle, now) = (Throttle::new(), Instant::now());
        let mut fail = |n: u16, at| seconds(&mut throttle, failure(1, n.into(), n), at);
        assert_eq!([1, 2, 3, 4, 5, 6].map(|n| fail(n, now)), [1, 2, 4, 8, 15, 15]);
        assert_eq!(fail(6, now), 15, "the same attempt again");
        assert_eq!(fail(7, now + LoginSettings::default().failures_forgotten_seconds + Duration::from_secs(1)), 1);
    }

    #[test]
    fn the_same_wrong_password_again_is_one_failure() {
        let (mut throttle, now) = (Throttle::new(), Instant::now());
        let mut fail = |user, password| seconds(&mut throttle, failure(1, user, password), now);
        assert_eq!([fail(1, 1), fail(1, 1), fail(1, 1)], [1, 1, 1]);
        assert_eq!(fail(2, 9), 2, "another's phone in the same house");
        assert_eq!(fail(1, 1), 2, "and the first again is not new");
    }

    #[test]
    fn a_program_that_falls_back_from_scram_made_one_slip() {
        let (mut throttle, now) = (Throttle::new(), Instant::now());
        let scram = Failure { is_scram: true, ..failure(1, 7, 1) };
        assert_eq!(seconds(&mut throttle, scram, now), 1);
        assert_eq!(seconds(&mut throttle, failure(1, 7, 2), now), 1, "PLAIN");
        assert_eq!(seconds(&mut throttle, failure(1, 7, 2), now), 1, "LOGIN");
        assert_eq!(seconds(&mut throttle, failure(1, 7, 3), now), 2, "another password");
        assert_eq!(seconds(&mut throttle, failure(1, 8, 4), now), 4, "another user");
    }

    #[test]
    fn guesses_at_one_user_from_many_networks_are_slowed() {
        let (mut throttle, now) = (Throttle::new(), Instant::now());
        let delays: Vec<u64> = (1..9).map(|n| seconds(&mut throttle, failure(n, 7, n as u16), now)).collect();
        assert_eq!(delays, [1, 1, 1, 2, 4, 8, 15, 15]);
        assert_eq!(seconds(&mut throttle, failure(20, 8, 1), now), 1, "another user is not");
    }

    #[test]
    fn a_shared_cloud_is_not_slowed_by_a_few_bad_passwords() {
        let (mut throttle, settings, now) = (Throttle::new(), LoginSettings::default(), Instant::now());
        for user in 0..20 {
            throttle.succeeded(Some(address(1)), user, &settings, now);
        }
        for user in 100..120 {
            assert_eq!(seconds(&mut throttle, failure(1, user, user as u16), now), 1, "{user}");
        }
    }

    #[test]
    fn where_answers_are_held_back_only_familiar_users_come_in() {
        let (throttle, settings, now) =
            (Arc::new(Mutex::new(Throttle::new())), LoginSettings::default(), Instant::now());
        let enter = |network, user| lock(&throttle).enter(Some(address(network)), Some(user), &settings, now);
        lock(&throttle).succeeded(Some(address(1)), 7, &settings, now);
        let mut held = Vec::new();
        let mut guesses = 0;
        while enter(1, 100).is_ok() {
            guesses += 1;
            held.push(failed(&throttle, &failure(1, 100, guesses), &settings));
        }
        assert_eq!(usize::from(guesses), settings.guesses_per_network + 1, "one more for the good user");
        assert_eq!(enter(1, 7), Ok(()), "who logged in from there before");
        assert_eq!(enter(1, 8), Err(TooManyGuesses));
        assert_eq!(enter(2, 8), Ok(()), "from elsewhere");
        assert_eq!(enter(2, 100), Ok(()), "the user who is guessed at is not locked out");
        held.pop();
        assert_eq!(enter(1, 8), Ok(()), "an answer went out");
    }

    #[test]
    fn many_users_behind_one_trusted_address_do_not_add_up() {
        let (mut throttle, now) = (Throttle::new(), Instant::now());
        for n in 0..20 {
            let trusted = Failure { network: None, ..failure(0, n, 1) };
            assert_eq!(seconds(&mut throttle, trusted, now), 1);
        }
        assert!(throttle.networks.is_empty());
    }

    #[test]
    fn the_tables_are_bounded_and_keep_those_who_belong_here() {
        let (mut throttle, settings, now) = (Throttle::new(), LoginSettings::default(), Instant::now());
        throttle.succeeded(Some(address(77)), 7, &settings, now);
        for n in 100..30_000u32 {
            let later = now + Duration::from_millis(n.into());
            throttle.count(&failure(n, n.into(), 1), &settings, later);
            let (networks, users) = throttle.watched();
            assert!(networks <= settings.watched_networks && users <= settings.watched_networks);
        }
        assert!(throttle.networks.contains_key(&address(29_999)));
        assert!(throttle.is_known(address(77), now));
    }
}
