//! Who are you: look-up, password check, throttle, and the register of sessions.
//! A password is hashed on threads of its own behind a bounded queue; an unknown user costs the same; a wrong password
//! waits for its answer and nobody else does; what was right is remembered shortly under a keyed hash.

mod address;
pub mod credentials;
pub mod names;
mod pool;
mod remembered;
pub mod sessions;
mod throttle;

pub use sessions::{EndReason, NotAdmitted, Sessions, Ticket};

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use tracing::{error, info};

use self::address::AddressKey;
use self::pool::{Pool, PoolRefusal};
use self::remembered::Remembered;
use self::throttle::Throttle;
use crate::auth::{self, Identity};
use crate::config::Config;
use crate::mailstore::directory::{CredentialKind, Directory, UserRecord};
use crate::types::{AccountId, Secret};

/// Look-ups that may wait: each takes microseconds, so this many wait for milliseconds.
const LOOK_UP_QUEUE: usize = 1024;

/// Checks who a client is.
pub struct Login {
    directory: Arc<Directory>,
    config: Arc<ArcSwap<Config>>,
    look_ups: Pool,
    hashes: Pool,
    /// How many hashes one address may have waiting or at work.
    hashes_per_address: usize,
    throttle: Arc<Mutex<Throttle>>,
    remembered: Mutex<Remembered>,
}

impl Login {
    /// The account of a user, for an operator who has to do with it.
    pub async fn account_of(&self, user: &str) -> Option<AccountId> {
        let (directory, user) = (self.directory.clone(), user.to_string());
        let found = tokio::task::spawn_blocking(move || directory.look_up(&user)).await;
        found.ok()?.ok()?.map(|record| record.account)
    }
}

/// A user whose password was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    pub account: AccountId,
    /// The name as the directory has it.
    pub user: String,
}

/// Why somebody may not come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginRefusal {
    /// No such user, or not his password; which of the two is not told.
    WrongPassword,
    /// The password was right, but acting for the other user that was named is not allowed.
    NotAllowed,
    /// Trouble of ours: the password may well be right.
    Unavailable,
    /// The password was right, but the user is barred.
    Disabled,
    /// Too much at once; the text says what.
    TooMany(String),
}

impl LoginRefusal {
    /// The response code (RFC 5530 §3). Clients ask their owner for a new password only at the first.
    pub fn code(&self) -> &'static str {
        match self {
            LoginRefusal::WrongPassword => "AUTHENTICATIONFAILED",
            LoginRefusal::NotAllowed => "AUTHORIZATIONFAILED",
            LoginRefusal::Unavailable => "UNAVAILABLE",
            LoginRefusal::Disabled => "CONTACTADMIN",
            LoginRefusal::TooMany(_) => "LIMIT",
        }
    }
}

impl fmt::Display for LoginRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LoginRefusal::WrongPassword => "user name or password is wrong",
            LoginRefusal::NotAllowed => "acting for another user is not allowed",
            LoginRefusal::Unavailable => "logging in does not work right now, try again later",
            LoginRefusal::Disabled => "this user is disabled, ask the administrator",
            LoginRefusal::TooMany(text) => text,
        })
    }
}

impl Login {
    /// Starts the threads. Their number and the queue's length are read once; all other settings at each log-in.
    pub fn new(directory: Arc<Directory>, config: Arc<ArcSwap<Config>>) -> io::Result<Arc<Login>> {
        let (threads, queue) = {
            let settings = &config.load().login;
            (settings.password_threads, settings.password_queue)
        };
        let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get());
        // Made before the first stranger comes: else the first unknown name would cost two hashes and stand out.
        let _ = auth::password::decoy();
        Ok(Arc::new(Login {
            directory,
            config,
            look_ups: Pool::new("directory", 1, LOOK_UP_QUEUE)?,
            hashes: Pool::new("password", if threads == 0 { cores } else { threads }, queue)?,
            hashes_per_address: (queue / 4).max(4),
            throttle: Arc::new(Mutex::new(Throttle::new())),
            remembered: Mutex::new(Remembered::new()?),
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
        let config = self.config.load_full();
        let address = peer.map(|peer| peer.ip().to_canonical());
        let judged = Box::pin(self.judge(name, password, address, &config)).await;
        let at = address.map(|ip| ip.to_string()).unwrap_or_else(|| "local".into());
        match &judged {
            Ok(signed_in) => info!(user = ?signed_in.user, address = %at, "logged in"),
            Err(refusal) => info!(user = ?shortened(name), address = %at, reason = refusal.code(), "log-in refused"),
        }
        judged
    }

    /// Checks what a SASL mechanism was told. Acting for somebody else is refused, after the password was right.
    pub async fn check_identity(
        &self,
        identity: &Identity,
        peer: Option<SocketAddr>,
    ) -> Result<SignedIn, LoginRefusal> {
        let signed_in = self.check(&identity.user, &identity.password, peer).await?;
        let Some(other) = &identity.authorize_as else { return Ok(signed_in) };
        // RFC 4616 §2: an authorization identity that is the authentication identity asks for nothing more.
        let domain = self.config.load().login.default_domain.clone();
        if names::are_same(other, &signed_in.user, &domain) { Ok(signed_in) } else { Err(LoginRefusal::NotAllowed) }
    }

    async fn judge(
        &self,
        name: &str,
        password: &Secret,
        address: Option<IpAddr>,
        config: &Config,
    ) -> Result<SignedIn, LoginRefusal> {
        let user = self.look_up(name, config).await?;
        let prepared = credentials::prepare_password(password);
        let stored = user.as_ref().and_then(|user| user.credential(CredentialKind::Argon2id));
        let proof = lock(&self.remembered).proof(name, &prepared, stored.unwrap_or_default());
        let is_remembered = stored.is_some() && lock(&self.remembered).has(&proof, Instant::now());
        if !is_remembered {
            let stored = stored.unwrap_or_else(|| auth::password::decoy()).to_owned();
            let is_right = self.hash(stored, prepared, address, config).await?;
            if !is_right {
                let delay = {
                    let grows = address.is_some_and(|ip| !is_trusted(ip, config));
                    let key = address.map(AddressKey::of);
                    lock(&self.throttle).failed(key.filter(|_| grows), proof, &config.login, Instant::now())
                };
                tokio::time::sleep(delay).await;
                return Err(LoginRefusal::WrongPassword);
            }
        }
        // A decoy is never right, so there is a user; if that ever changed, nobody must come in by it.
        let Some(user) = user else { return Err(LoginRefusal::WrongPassword) };
        if user.is_disabled {
            return Err(LoginRefusal::Disabled);
        }
        if !is_remembered {
            let until = Instant::now() + config.login.remember_password_seconds;
            lock(&self.remembered).remember(proof, until, Instant::now());
        }
        Ok(SignedIn { account: user.account, user: user.name })
    }

    /// The user of that name, read on the directory's own thread: the disk may be slow.
    async fn look_up(&self, name: &str, config: &Config) -> Result<Option<UserRecord>, LoginRefusal> {
        let (directory, name) = (self.directory.clone(), shortened(name).to_owned());
        let domain = config.login.default_domain.clone();
        let visit = move || {
            let version = directory.version()?;
            names::find_user(&directory, &name, &domain).map(|user| (version, user))
        };
        match self.look_ups.run(visit).await {
            Ok(Ok((version, user))) => {
                lock(&self.remembered).forget_unless(version);
                Ok(user)
            }
            Ok(Err(trouble)) => {
                error!(%trouble, "the directory of users cannot be read");
                Err(LoginRefusal::Unavailable)
            }
            Err(refusal) => Err(self.no_room(refusal)),
        }
    }

    async fn hash(
        &self,
        stored: String,
        password: Secret,
        address: Option<IpAddr>,
        config: &Config,
    ) -> Result<bool, LoginRefusal> {
        let counted = address.filter(|ip| !is_trusted(*ip, config)).map(AddressKey::of);
        let turn = match counted {
            Some(key) => match throttle::take_turn(&self.throttle, key, self.hashes_per_address) {
                Some(turn) => Some(turn),
                None => return Err(LoginRefusal::TooMany("too many log-ins at once from your address".into())),
            },
            None => None,
        };
        let verified = self.hashes.run(move || auth::password::verify(&stored, &password)).await;
        drop(turn);
        match verified {
            Ok(Ok(is_right)) => Ok(is_right),
            Ok(Err(trouble)) => {
                error!(%trouble, "a password could not be checked");
                Err(LoginRefusal::Unavailable)
            }
            Err(refusal) => Err(self.no_room(refusal)),
        }
    }

    fn no_room(&self, refusal: PoolRefusal) -> LoginRefusal {
        match refusal {
            PoolRefusal::Full => tracing::warn!("log-ins come faster than passwords can be checked"),
            PoolRefusal::Broken => error!("a log-in thread failed at its work"),
        }
        LoginRefusal::Unavailable
    }

    /// Forgets all remembered passwords at once; the next log-ins are checked against the directory.
    pub fn forget(&self) {
        lock(&self.remembered).clear();
    }
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
