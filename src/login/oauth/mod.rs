//! Bearer tokens (RFC 6750): checked here with the issuer's public keys from a file, or by asking the issuer
//! (RFC 7662). Which token names which user is a matter of one claim; who may come in, of the directory.

mod claims;
mod http;
mod introspection;
mod jwt;
mod keys;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{error, info};

use self::claims::Claims;
use self::keys::Keys;
use super::remembered::Proof;
use super::turns::Turns;
use super::{Attempt, Login, LoginRefusal, SignedIn, lock};
use crate::auth::Token;
use crate::clock::Clock;
use crate::config::OAuth;

/// Longest key file read, in octets.
const MOST_KEYS_BYTES: u64 = 1024 * 1024;
/// How often the key file is looked at for a change.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Most answers of the issuer remembered.
const MOST_REMEMBERED: usize = 10_000;
/// Questions to the issuer that may be out at a time, and log-ins that may wait for that.
const ASKED_AT_ONCE: usize = 16;
const ASKED_WAITING: usize = 256;

/// A connection to an issuer.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One that is being opened.
pub type Dialling<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>>;

/// What opens one: TLS lives on a higher floor.
pub trait Dial: Send + Sync {
    /// A connection over TLS to a host whose certificate is signed by an authority in `ca_file` (PEM).
    fn dial<'a>(&'a self, host: &'a str, port: u16, ca_file: &'a Path) -> Dialling<'a>;
}

struct NoDial;

impl Dial for NoDial {
    fn dial<'a>(&'a self, _: &'a str, _: u16, _: &'a Path) -> Dialling<'a> {
        Box::pin(async { Err(io::Error::from(io::ErrorKind::Unsupported)) })
    }
}

/// For those who ask nobody.
pub(super) fn no_dial() -> Arc<dyn Dial> {
    Arc::new(NoDial)
}

/// Why a token is not good. For the log; the client learns only that it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadToken {
    /// Not of the form, or by an algorithm, that is taken.
    Form(&'static str),
    Signature,
    Claim(&'static str),
    /// The issuer says so.
    Inactive,
}

/// Checks tokens.
pub(super) struct Tokens {
    dial: Arc<dyn Dial>,
    turns: Arc<Turns>,
    keys: Mutex<Option<Loaded>>,
    /// What the issuer said, by a keyed hash over token and settings: until when, and whom the token names.
    said: Mutex<HashMap<Proof, (Instant, String)>>,
    memory_key: [u8; 32],
}

/// The key file as it was read.
struct Loaded {
    settings: OAuth,
    looked_at: Instant,
    stamp: Option<(SystemTime, u64)>,
    keys: Arc<Keys>,
}

/// Reads the key file of a configuration, if it names one; a sentence when that does not work.
pub fn check(settings: &OAuth) -> Result<(), String> {
    match settings.jwks_file.as_os_str().is_empty() {
        true => Ok(()),
        false => read_keys(&settings.jwks_file).map(|_| ()),
    }
}

fn read_keys(path: &Path) -> Result<Keys, String> {
    use std::io::Read;
    let cannot = |error: io::Error| format!("cannot read {}: {error}", path.display());
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(MOST_KEYS_BYTES + 1).read_to_end(&mut text).map_err(cannot)?;
    if text.len() as u64 > MOST_KEYS_BYTES {
        return Err(format!("{} has more than {MOST_KEYS_BYTES} octets", path.display()));
    }
    Keys::read(&text).map_err(|why| format!("{}: {why}", path.display()))
}

impl Tokens {
    pub fn new(dial: Arc<dyn Dial>) -> io::Result<Self> {
        let mut memory_key = [0; 32];
        getrandom::fill(&mut memory_key).map_err(|_| io::Error::other("the system gave no random octets"))?;
        let turns = Turns::new(ASKED_AT_ONCE, ASKED_WAITING);
        Ok(Tokens { dial, turns, keys: Mutex::new(None), said: Mutex::default(), memory_key })
    }

    pub fn forget(&self) {
        lock(&self.said).clear();
    }

    /// The keys of the file, read again when it or the settings changed. Blocks.
    fn keys(&self, settings: &OAuth) -> Result<Arc<Keys>, String> {
        let mut slot = lock(&self.keys);
        let now = Instant::now();
        let stamp =
            || std::fs::metadata(&settings.jwks_file).and_then(|about| Ok((about.modified()?, about.len()))).ok();
        if let Some(loaded) = slot.as_mut().filter(|loaded| loaded.settings == *settings) {
            if now.saturating_duration_since(loaded.looked_at) < LOOK_EVERY {
                return Ok(loaded.keys.clone());
            }
            loaded.looked_at = now;
            if loaded.stamp == stamp() {
                return Ok(loaded.keys.clone());
            }
        }
        let stamp = stamp();
        match read_keys(&settings.jwks_file) {
            Ok(keys) => {
                let keys = Arc::new(keys);
                let settings = settings.clone();
                *slot = Some(Loaded { settings, looked_at: now, stamp, keys: keys.clone() });
                Ok(keys)
            }
            // Half a file, while somebody replaces it: the keys of before serve until it is whole.
            Err(trouble) => match slot.as_ref().filter(|loaded| loaded.settings == *settings) {
                Some(loaded) => {
                    error!(trouble, "the keys of the token issuer cannot be read again; the old ones stay");
                    Ok(loaded.keys.clone())
                }
                None => Err(trouble),
            },
        }
    }

    /// The memory of a token is for that token whole, under these very settings, and nothing else.
    fn proof(&self, token: &Token, settings: &OAuth) -> Proof {
        let mut hasher = blake3::Hasher::new_keyed(&self.memory_key);
        let settings = format!("{settings:?}");
        let name = token.authorize_as.as_deref().unwrap_or_default();
        for part in [token.token.reveal(), name.as_bytes(), settings.as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }

    fn remembered(&self, proof: &Proof) -> Option<String> {
        let said = lock(&self.said);
        said.get(proof).filter(|(until, _)| Instant::now() < *until).map(|(_, user)| user.clone())
    }

    fn remember(&self, proof: Proof, until: Instant, user: String) {
        let mut said = lock(&self.said);
        if said.len() >= MOST_REMEMBERED {
            said.retain(|_, (until, _)| Instant::now() < *until);
        }
        if said.len() < MOST_REMEMBERED {
            said.insert(proof, (until, user));
        }
    }
}

impl Login {
    /// The whole way of a token.
    pub(super) async fn token(&self, attempt: &Attempt, token: &Token) -> Result<SignedIn, LoginRefusal> {
        let settings = &attempt.config.oauth;
        if !settings.is_on() {
            return Err(LoginRefusal::WrongToken);
        }
        self.gate(attempt)?;
        let proof = self.tokens.proof(token, settings);
        let is_jwt = token.token.reveal().iter().filter(|octet| **octet == b'.').count() == 2;
        let checked = if is_jwt && !settings.jwks_file.as_os_str().is_empty() {
            self.check_signed(settings, token).await?
        } else if settings.introspection_url.is_empty() {
            Err(BadToken::Form("no JWT, and there is nobody to ask"))
        } else {
            self.ask_issuer(attempt, token, proof).await?
        };
        let name = match checked {
            Ok(name) => name,
            Err(why) => {
                info!(?why, "a token was not accepted");
                return Err(self.fail(attempt, proof, LoginRefusal::WrongToken).await);
            }
        };
        let Some(user) = self.look_up(&name).await? else {
            info!(user = ?super::shortened(&name), "a token names somebody who is no user here");
            return Err(self.fail(attempt, proof, LoginRefusal::WrongToken).await);
        };
        let key = self.made_up.key(&super::names::key_of(&user.name, &attempt.config.login.default_domain));
        lock(&self.throttle).succeeded(attempt.network, key, &attempt.config.login, Instant::now());
        self.welcome(attempt, user, token.authorize_as.as_deref()).await
    }

    /// A token that carries its own proof. Checking it takes less than a millisecond; reading the keys may wait.
    async fn check_signed(&self, settings: &OAuth, token: &Token) -> Result<Result<String, BadToken>, LoginRefusal> {
        let (tokens, wanted) = (self.tokens.clone(), settings.clone());
        let keys = match self.look_ups.run(move || tokens.keys(&wanted)).await {
            Ok(Ok(keys)) => keys,
            Ok(Err(trouble)) => {
                error!(trouble, "tokens cannot be checked");
                return Err(LoginRefusal::Unavailable);
            }
            Err(refusal) => return Err(super::no_room(refusal)),
        };
        let now = Clock::System.now_secs();
        Ok(jwt::read(token.token.reveal(), &keys, &settings.algorithms).and_then(|claims| claims.user(settings, now)))
    }

    /// A token only the issuer knows about.
    async fn ask_issuer(
        &self,
        attempt: &Attempt,
        token: &Token,
        proof: Proof,
    ) -> Result<Result<String, BadToken>, LoginRefusal> {
        if let Some(user) = self.tokens.remembered(&proof) {
            return Ok(Ok(user));
        }
        let settings = &attempt.config.oauth;
        let Ok(_turn) = self.tokens.turns.take(self.wish(attempt)).await else {
            return Err(LoginRefusal::Busy("too many log-ins at once, try again later"));
        };
        let asking = introspection::ask(&*self.tokens.dial, settings, &token.token);
        let answer = tokio::time::timeout(settings.timeout_seconds, asking).await;
        let claims: Claims = match answer.map_err(|_| "it was silent for too long".to_owned()).and_then(|told| told) {
            Ok(claims) => claims,
            Err(trouble) => {
                error!(trouble, "the issuer of tokens gave no answer");
                return Err(LoginRefusal::Unavailable);
            }
        };
        let now = Clock::System.now_secs();
        let checked = claims.user_of_answer(settings, now);
        if let Ok(user) = &checked {
            let patience = attempt.config.login.remember_password_seconds;
            let left = claims.seconds_left(now).map_or(patience, |left| patience.min(Duration::from_secs(left)));
            self.tokens.remember(proof, Instant::now() + left, user.clone());
        }
        Ok(checked)
    }
}

#[cfg(test)]
mod tests;
