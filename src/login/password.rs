//! A name and a password, checked: which of the user's hashes it is to fit, whether that was checked a moment ago,
//! and what follows when it fits.

use std::time::Instant;

use tracing::{error, info, warn};

use super::checker::Verdict;
use super::{Attempt, Login, LoginRefusal, SignedIn, credentials, lock, no_room};
use crate::auth::password::HashTrouble;
use crate::auth::{self, Identity, ScramVerifier, app_password};
use crate::mailstore::directory::{Credential, CredentialKind, UserRecord};
use crate::types::Secret;

/// What a password is to fit. One of these for each attempt, so that all cost about the same.
enum Test {
    /// The hash of one device's password.
    Device {
        device: String,
        hash: String,
        letters: Secret,
    },
    Argon2id(String),
    /// Another server's hash.
    Imported(String),
    /// Only a SCRAM verifier is there, which a password can be tried at too.
    Verifier(String),
    /// Somebody else knows.
    Checker,
    /// A hash that no password fits.
    Nobody,
}

/// What a thread found out.
enum Judged {
    Right,
    Wrong,
    /// Right, and these are to replace the imported hash.
    Replace(Vec<Credential>),
}

impl Test {
    fn choose(user: Option<&UserRecord>, password: &Secret, has_checker: bool) -> Test {
        let none = if has_checker { Test::Checker } else { Test::Nobody };
        let Some(user) = user else { return none };
        if let Some(given) = app_password::read(password)
            && let Some(one) = user.app_passwords.iter().find(|one| one.selector == given.selector)
        {
            return Test::Device { device: one.device.clone(), hash: one.hash.clone(), letters: given.letters };
        }
        let of = |kind| user.credential(kind).map(str::to_owned);
        if let Some(hash) = of(CredentialKind::Argon2id) {
            Test::Argon2id(hash)
        } else if let Some(hash) = of(CredentialKind::Imported) {
            Test::Imported(hash)
        } else if let Some(verifier) = of(CredentialKind::ScramSha256) {
            Test::Verifier(verifier)
        } else {
            none
        }
    }

    /// What was stored, so that what is remembered ends with it.
    fn stored(&self) -> &str {
        match self {
            Test::Device { hash, .. } => hash,
            Test::Argon2id(hash) | Test::Imported(hash) | Test::Verifier(hash) => hash,
            Test::Checker => "checker",
            Test::Nobody => "",
        }
    }
}

impl Login {
    /// The whole way of a password.
    pub(super) async fn password(&self, attempt: &Attempt, identity: &Identity) -> Result<SignedIn, LoginRefusal> {
        self.gate(attempt)?;
        let user = self.look_up_in_turn(attempt).await?;
        let prepared = credentials::prepare_password(&identity.password);
        let has_checker = !attempt.config.checker.socket.as_os_str().is_empty();
        let test = Test::choose(user.as_ref(), &prepared, has_checker);
        let proof = lock(&self.remembered).proof(&attempt.name, &prepared, test.stored());
        let is_remembered = user.is_some() && lock(&self.remembered).has(&proof, Instant::now());
        let found = match (is_remembered, &test) {
            (true, _) => user,
            (false, Test::Checker) => match self.ask_checker(attempt, &identity.password, user).await? {
                Some(found) => Some(found),
                None => return Err(self.fail(attempt, proof, LoginRefusal::WrongPassword).await),
            },
            (false, _) => match self.judge(attempt, &test, &identity.password, prepared, user.as_ref()).await? {
                Judged::Wrong => return Err(self.fail(attempt, proof, LoginRefusal::WrongPassword).await),
                Judged::Right => user,
                Judged::Replace(newer) => {
                    self.replace(user.as_ref(), test.stored(), newer).await;
                    user
                }
            },
        };
        // A decoy is never right, so there is a user; if that ever changed, nobody must come in by it.
        let Some(user) = found else { return Err(LoginRefusal::WrongPassword) };
        if user.is_disabled {
            return Err(LoginRefusal::Disabled);
        }
        if !is_remembered {
            let until = Instant::now() + attempt.config.login.remember_password_seconds;
            lock(&self.remembered).remember(proof, until, Instant::now());
        }
        if let Some(key) = attempt.user {
            lock(&self.throttle).succeeded(attempt.network, key, &attempt.config.login, Instant::now());
        }
        if let Test::Device { device, .. } = &test {
            self.note_use(&user, device).await;
        }
        self.welcome(attempt, user, identity.authorize_as.as_deref()).await
    }

    /// Tries a password at what is stored, on a thread of its own.
    async fn judge(
        &self,
        attempt: &Attempt,
        test: &Test,
        typed: &Secret,
        prepared: Secret,
        user: Option<&UserRecord>,
    ) -> Result<Judged, LoginRefusal> {
        let Ok(turn) = self.turns.take(self.wish(attempt)).await else {
            crate::metrics::METRICS.limit_refusals.add(1);
            return Err(LoginRefusal::Busy("too many log-ins at once, try again later"));
        };
        let work: Box<dyn FnOnce() -> Result<Judged, HashTrouble> + Send> = match test {
            Test::Device { hash, letters, .. } => verify(hash.clone(), letters.clone()),
            Test::Argon2id(hash) => verify(hash.clone(), prepared),
            Test::Nobody | Test::Checker => verify(auth::password::decoy().to_owned(), prepared),
            Test::Verifier(text) => {
                let verifier: ScramVerifier = text.parse().map_err(|_| {
                    error!(user = ?attempt.name, "a stored SCRAM verifier cannot be read");
                    LoginRefusal::Unavailable
                })?;
                Box::new(move || Ok(if verifier.matches(&prepared) { Judged::Right } else { Judged::Wrong }))
            }
            Test::Imported(stored) => {
                let (stored, typed) = (stored.clone(), typed.clone());
                let (with_scram, seed) = (attempt.config.login.store_scram, user.and_then(credentials::scram_seed));
                Box::new(move || {
                    if !auth::imported::verify(&stored, &typed)? {
                        return Ok(Judged::Wrong);
                    }
                    let newer = credentials::make_unchecked(&typed, with_scram, seed.as_ref());
                    newer.map(Judged::Replace).map_err(|_| HashTrouble::System)
                })
            }
        };
        let judged = self.hashes.run(work).await;
        drop(turn);
        match judged {
            Ok(Ok(judged)) => Ok(judged),
            Ok(Err(trouble)) => {
                error!(%trouble, "a password could not be checked");
                Err(LoginRefusal::Unavailable)
            }
            Err(refusal) => Err(no_room(refusal)),
        }
    }

    /// Puts our own credentials in the place of an imported hash. Trouble with that keeps nobody out: it is tried
    /// again at the next log-in.
    async fn replace(&self, user: Option<&UserRecord>, old: &str, newer: Vec<Credential>) {
        let Some(name) = user.map(|user| user.name.clone()) else { return };
        let (owner, old) = (name.clone(), old.to_owned());
        match self.visit(move |directory| directory.replace_imported(&owner, &old, &newer)).await {
            Ok(true) => info!(user = ?name, "the imported password hash was replaced by Argon2id"),
            Ok(false) => {}
            Err(_) => warn!(user = ?name, "an imported password hash could not be replaced"),
        }
    }

    /// Asks the external checker; the user it vouches for, who is added when he was not there yet.
    async fn ask_checker(
        &self,
        attempt: &Attempt,
        password: &Secret,
        user: Option<UserRecord>,
    ) -> Result<Option<UserRecord>, LoginRefusal> {
        let settings = &attempt.config.checker;
        let asked = self.checker.password(settings, self.wish(attempt), attempt, password).await;
        match asked? {
            Verdict::No => Ok(None),
            Verdict::Disabled => Err(LoginRefusal::Disabled),
            Verdict::Yes(name) => match user.filter(|user| name.is_empty() || user.name == name) {
                Some(user) => Ok(Some(user)),
                None => self.vouched_for(attempt, &name).await.map(Some),
            },
        }
    }

    /// The user whom the checker vouched for.
    async fn vouched_for(&self, attempt: &Attempt, name: &str) -> Result<UserRecord, LoginRefusal> {
        let name = if name.is_empty() { &attempt.name } else { name };
        if let Some(user) = self.look_up(name).await? {
            return Ok(user);
        }
        let Ok(canonical) = super::names::canonical(name) else {
            error!(user = ?name, "the checker vouches for a name that no user can have");
            return Err(LoginRefusal::Unavailable);
        };
        if !attempt.config.checker.create_users {
            info!(user = ?canonical, "the checker vouches for a user who was not added here");
            return Err(LoginRefusal::NotAllowed);
        }
        let added = self.visit(move |directory| {
            // Two of his connections may come at once.
            match directory.look_up(&canonical)? {
                Some(user) => Ok(user),
                None => directory.add_user(&canonical, &[]),
            }
        });
        let user = added.await?;
        info!(user = ?user.name, "added, because the checker vouches for him");
        Ok(user)
    }
}

fn verify(stored: String, password: Secret) -> Box<dyn FnOnce() -> Result<Judged, HashTrouble> + Send> {
    Box::new(move || {
        let is_right = auth::password::verify(&stored, &password)?;
        Ok(if is_right { Judged::Right } else { Judged::Wrong })
    })
}
