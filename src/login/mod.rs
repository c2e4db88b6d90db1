//! Who are you: look-up, password check, throttle, and the register of sessions.
//! A password is hashed on threads of its own behind fair lines; an unknown user costs the same; a wrong password
//! waits for its answer and nobody else does; what was right is remembered shortly under a keyed hash.

mod address;
pub mod checker;
pub mod credentials;
mod exchange;
mod made_up;
pub mod names;
pub mod oauth;
pub mod passwd_file;
mod password;
mod pool;
mod refusal;
mod remembered;
pub mod sessions;
mod throttle;
mod turns;
mod welcome;

pub use exchange::{Exchange, Reply, TlsFacts, Way};
pub use refusal::LoginRefusal;
pub use sessions::{EndReason, NotAdmitted, Sessions, Ticket};

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use tracing::error;

use self::address::AddressKey;
use self::checker::Checker;
use self::made_up::MadeUp;
use self::oauth::{Dial, Tokens};
use self::pool::{Pool, PoolRefusal};
use self::remembered::{Proof, Remembered};
use self::throttle::{Failure, Throttle, UserKey};
use self::turns::{Line, Turns, Wish};
use crate::auth::{self, Identity, Mechanism};
use crate::config::Config;
use crate::mailstore::directory::{Directory, DirectoryError, UserRecord};
use crate::metrics::METRICS;
use crate::types::{AccountId, Secret};

/// Look-ups that may wait: each takes microseconds, so this many wait for milliseconds.
const LOOK_UP_QUEUE: usize = 1024;
/// Of these, the ones for names that strangers gave; and how many of those wait in the lines of their networks.
const LOOK_UPS_AT_ONCE: usize = 256;
const LOOK_UPS_WAITING: usize = 10_000;

/// Checks who a client is.
pub struct Login {
    directory: Arc<Directory>,
    config: Arc<ArcSwap<Config>>,
    look_ups: Pool,
    /// The lines before `look_ups`, for strangers' names.
    look_up_turns: Arc<Turns>,
    hashes: Pool,
    /// The lines before `hashes`.
    turns: Arc<Turns>,
    throttle: Arc<Mutex<Throttle>>,
    remembered: Mutex<Remembered>,
    made_up: MadeUp,
    checker: Checker,
    tokens: Arc<Tokens>,
}

impl Login {
    /// The account of a user, for an operator who has to do with it.
    pub async fn account_of(&self, user: &str) -> Option<AccountId> {
        let (directory, user) = (self.directory.clone(), user.to_string());
        let found = tokio::task::spawn_blocking(move || directory.look_up(&user)).await;
        found.ok()?.ok()?.map(|record| record.account)
    }
}

/// A user who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    pub account: AccountId,
    /// The name as the directory has it.
    pub user: String,
    /// Who acts on behalf of this user; `None`: the user.
    pub acting: Option<Acting>,
}

/// Somebody who acts on behalf of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acting {
    pub account: AccountId,
    pub user: String,
}

/// One try to come in.
struct Attempt {
    /// Bounded; what the client wrote. Empty when it named nobody.
    name: String,
    user: Option<UserKey>,
    address: Option<IpAddr>,
    /// `None`: this machine, or a network the operator trusts.
    network: Option<AddressKey>,
    how: &'static str,
    started: Instant,
    config: Arc<Config>,
}

impl Login {
    /// Starts the threads. Their number and the queue's length are read once; all other settings at each log-in.
    /// Tokens can be checked here, but nobody outside can be asked about them.
    pub fn new(directory: Arc<Directory>, config: Arc<ArcSwap<Config>>) -> io::Result<Arc<Login>> {
        Self::with_dial(directory, config, oauth::no_dial())
    }

    /// The same, with a way to ask an issuer of tokens over HTTPS.
    pub fn with_dial(
        directory: Arc<Directory>,
        config: Arc<ArcSwap<Config>>,
        dial: Arc<dyn Dial>,
    ) -> io::Result<Arc<Login>> {
        let (threads, queue, asked_at_once) = {
            let config = config.load();
            (config.login.password_threads, config.login.password_queue, config.checker.at_once)
        };
        let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get());
        let threads = if threads == 0 { cores } else { threads };
        // Made before the first stranger comes: else the first unknown name would cost two hashes and stand out.
        let _ = auth::password::decoy();
        let made_up = MadeUp::new(&directory).map_err(io::Error::other)?;
        Ok(Arc::new(Login {
            directory,
            config,
            look_ups: Pool::new("directory", 1, LOOK_UP_QUEUE)?,
            look_up_turns: Turns::new(LOOK_UPS_AT_ONCE, LOOK_UPS_WAITING),
            hashes: Pool::new("password", threads, threads)?,
            turns: Turns::new(threads, queue),
            throttle: Arc::new(Mutex::new(Throttle::new())),
            remembered: Mutex::new(Remembered::new()?),
            made_up,
            checker: Checker::new(asked_at_once, queue),
            tokens: Arc::new(Tokens::new(dial)?),
        }))
    }

    /// Checks a name and a password. A refusal for a wrong password comes late, on purpose; waiting for it holds up
    /// nobody else. May be dropped at any point.
    pub async fn check(
        &self,
        name: &str,
        password: &Secret,
        peer: Option<SocketAddr>,
    ) -> Result<SignedIn, LoginRefusal> {
        let identity = Identity { authorize_as: None, user: name.to_owned(), password: password.clone() };
        self.check_identity(&identity, peer).await
    }

    /// Checks a name and a password of somebody who may want to act for somebody else.
    pub async fn check_identity(
        &self,
        identity: &Identity,
        peer: Option<SocketAddr>,
    ) -> Result<SignedIn, LoginRefusal> {
        let attempt = self.attempt(&identity.user, peer, "password");
        let outcome = Box::pin(self.password(&attempt, identity)).await;
        attempt.note(&outcome);
        outcome
    }

    /// True when this mechanism can work for a client that is connected like this.
    pub fn offers(&self, mechanism: Mechanism, tls: Option<&TlsFacts>) -> bool {
        let config = self.config.load();
        let scram = config.login.scram && config.checker.socket.as_os_str().is_empty();
        match mechanism {
            Mechanism::Plain => true,
            Mechanism::ScramSha256 => scram,
            Mechanism::ScramSha256Plus => scram && tls.is_some_and(|tls| tls.bindings.are_there()),
            Mechanism::OAuthBearer | Mechanism::XOAuth2 => config.oauth.is_on(),
            Mechanism::External => tls.is_some_and(|tls| tls.certificate.is_some()),
        }
    }

    /// The limits of logging in and how far each is used, for the operator.
    pub fn usage(&self) -> Vec<(&'static str, String)> {
        let settings = &self.config.load().login;
        let (networks, users) = lock(&self.throttle).watched();
        let (queue, most) = (settings.password_queue, settings.watched_networks);
        vec![
            ("password_queue", format!("{} of {queue} wait", self.turns.waiting())),
            ("password_queue_per_network", settings.password_queue_per_network.to_string()),
            ("guesses_per_network", settings.guesses_per_network.to_string()),
            ("failure_delay_seconds", settings.failure_delay_seconds.as_secs().to_string()),
            ("failure_delay_most_seconds", settings.failure_delay_most_seconds.as_secs().to_string()),
            ("failures_forgotten_seconds", settings.failures_forgotten_seconds.as_secs().to_string()),
            ("watched_networks", format!("{networks} networks and {users} users of {most} each")),
            ("remember_password_seconds", settings.remember_password_seconds.as_secs().to_string()),
            ("checker.at_once", format!("{} wait", self.checker.waiting())),
        ]
    }

    /// Forgets all remembered passwords at once; the next log-ins are checked against the directory.
    pub fn forget(&self) {
        lock(&self.remembered).clear();
        self.tokens.forget();
    }

    fn attempt(&self, name: &str, peer: Option<SocketAddr>, how: &'static str) -> Attempt {
        let config = self.config.load_full();
        let address = peer.map(|peer| peer.ip().to_canonical());
        let network = address.filter(|ip| !is_trusted(*ip, &config)).map(AddressKey::of);
        let name = shortened(name).to_owned();
        let user = (!name.is_empty()).then(|| self.made_up.key(&names::key_of(&name, &config.login.default_domain)));
        Attempt { name, user, address, network, how, started: Instant::now(), config }
    }

    /// Lets an attempt be made, unless too many guesses come from its network.
    fn gate(&self, attempt: &Attempt) -> Result<(), LoginRefusal> {
        let entered = lock(&self.throttle).enter(attempt.network, attempt.user, &attempt.config.login, attempt.started);
        entered.map_err(|_| {
            METRICS.limit_refusals.add(1);
            LoginRefusal::Busy("too many wrong passwords came from your network, try again later")
        })
    }

    /// Counts a failed attempt, waits as long as its answer is to be held back, and gives the answer.
    async fn fail(&self, attempt: &Attempt, proof: Proof, refusal: LoginRefusal) -> LoginRefusal {
        METRICS.logins_failed.add(1);
        let is_scram = attempt.how.starts_with("SCRAM");
        let failure = Failure { network: attempt.network, user: attempt.user, proof, is_scram };
        let held = throttle::failed(&self.throttle, &failure, &attempt.config.login);
        // From its arrival on: so that the time of what was computed, or not computed, does not show.
        tokio::time::sleep_until((attempt.started + held.delay).into()).await;
        refusal
    }

    /// Where this attempt waits for its turn.
    fn wish(&self, attempt: &Attempt) -> Wish {
        let settings = &attempt.config.login;
        // Many users come from there; half of the queue stays for all others.
        let trusted = |line| Wish { line, is_known: true, most_in_line: settings.password_queue.div_ceil(2) };
        let Some(network) = attempt.network else {
            let far = attempt.address.filter(|ip| !ip.is_loopback());
            return trusted(far.map_or(Line::Local, |ip| Line::Network(AddressKey::of(ip))));
        };
        let throttle = lock(&self.throttle);
        let familiar = attempt.user.filter(|user| throttle.is_familiar(network, *user));
        Wish {
            line: familiar.map_or(Line::Network(network), |user| Line::Familiar(network, user)),
            is_known: throttle.is_known(network, attempt.started),
            most_in_line: settings.password_queue_per_network,
        }
    }

    /// The user an attempt names, looked up in its network's turn: names are cheap to make up.
    async fn look_up_in_turn(&self, attempt: &Attempt) -> Result<Option<UserRecord>, LoginRefusal> {
        let wish = Wish { most_in_line: attempt.config.limits.sessions_per_address, ..self.wish(attempt) };
        let Ok(_turn) = self.look_up_turns.take(wish).await else {
            METRICS.limit_refusals.add(1);
            return Err(LoginRefusal::Busy("too many log-ins at once, try again later"));
        };
        self.look_up(&attempt.name).await
    }

    /// The user of that name, read on the directory's own thread: the disk may be slow.
    async fn look_up(&self, name: &str) -> Result<Option<UserRecord>, LoginRefusal> {
        let (name, domain) = (shortened(name).to_owned(), self.config.load().login.default_domain.clone());
        let visit = move |directory: &Directory| {
            let version = directory.version()?;
            names::find_user(directory, &name, &domain).map(|user| (version, user))
        };
        let (version, user) = self.visit(visit).await?;
        lock(&self.remembered).forget_unless(version);
        Ok(user)
    }

    /// Does something with the directory on its own thread. Trouble is logged here.
    async fn visit<T: Send + 'static>(
        &self,
        visit: impl FnOnce(&Directory) -> Result<T, DirectoryError> + Send + 'static,
    ) -> Result<T, LoginRefusal> {
        let directory = self.directory.clone();
        match self.look_ups.run(move || visit(&directory)).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(trouble)) => {
                error!(%trouble, "the directory of users does not do what was asked");
                Err(LoginRefusal::Unavailable)
            }
            Err(refusal) => Err(no_room(refusal)),
        }
    }
}

fn no_room(refusal: PoolRefusal) -> LoginRefusal {
    match refusal {
        PoolRefusal::Full => tracing::warn!("log-ins come faster than they can be checked"),
        PoolRefusal::Broken => error!("a log-in thread failed at its work"),
    }
    LoginRefusal::Unavailable
}

/// Loopback and the trusted networks: many users come from these addresses.
fn is_trusted(ip: IpAddr, config: &Config) -> bool {
    ip.is_loopback() || config.limits.trusted_networks.iter().any(|network| network.contains(ip))
}

/// A name as it goes to the log and the directory: bounded, because strangers write it.
fn shortened(name: &str) -> &str {
    let most = name.len().min(auth::MOST_NAME_OCTETS + 1);
    &name[..name.floor_char_boundary(most)]
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these hold is counters and memories: whole after every single step, also of one that panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
