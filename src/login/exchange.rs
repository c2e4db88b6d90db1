//! One SASL exchange from its first octet to the answer, for whatever protocol carries it: the machines of `auth` say
//! what they need, and here it is looked up, checked and waited for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tracing::info;

use super::{Attempt, Login, LoginRefusal, SignedIn, lock};
use crate::auth::certificate::CertificateNames;
use crate::auth::{
    Bearer, ChannelBindings, Claim, External, Mechanism, Plain, Proof, ScramExchange, ScramUser, ScramVerifier, Step,
    Token, sasl_base64,
};
use crate::config::CertificateUser;
use crate::mailstore::directory::{CredentialKind, UserRecord};

/// Random octets in the server's part of a SCRAM nonce.
const NONCE_OCTETS: usize = 18;

/// What the TLS layer knows of the connection and of its other end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFacts {
    pub bindings: ChannelBindings,
    /// The names of the client's certificate, when it showed one that a trusted authority signed.
    pub certificate: Option<CertificateNames>,
}

/// How a client is connected, as far as logging in cares.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// `None` for a local socket.
    pub peer: Option<SocketAddr>,
    /// `None`: not over TLS, or TLS ends elsewhere.
    pub tls: Option<Arc<TlsFacts>>,
}

/// What is to be said to the client.
#[derive(Debug)]
pub enum Reply {
    /// Send these octets (before base64) and feed the answer.
    Challenge(Vec<u8>),
    Done(SignedIn),
    Refused(LoginRefusal),
}

/// One exchange.
pub struct Exchange {
    login: Arc<Login>,
    way: Way,
    mechanism: Mechanism,
    machine: Machine,
    /// Whom SCRAM asked for, and which device each of the verifiers belongs to.
    asked: Option<Asked>,
    ending: Ending,
}

enum Machine {
    Plain(Plain),
    Scram(Box<ScramExchange>),
    Bearer(Bearer),
    External(External),
}

struct Asked {
    attempt: Attempt,
    user: Option<UserRecord>,
    devices: Vec<Option<String>>,
}

/// What remains to be said after the next message of the client, whatever that is.
#[derive(Default)]
enum Ending {
    #[default]
    Open,
    /// The server's proof is out; the client answers with nothing.
    Proved(SignedIn),
    /// The client was told why; it answers, and is refused.
    Told(LoginRefusal),
}

impl Exchange {
    /// An exchange by this mechanism. `None`: the system gave no random octets.
    pub fn new(login: Arc<Login>, mechanism: Mechanism, way: Way) -> Option<Exchange> {
        let machine = match mechanism {
            Mechanism::Plain => Machine::Plain(Plain::new()),
            Mechanism::OAuthBearer => Machine::Bearer(Bearer::oauthbearer()),
            Mechanism::XOAuth2 => Machine::Bearer(Bearer::xoauth2()),
            Mechanism::External => Machine::External(External::new()),
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => {
                let mut random = [0; NONCE_OCTETS];
                getrandom::fill(&mut random).ok()?;
                let bindings = way.tls.as_ref().map(|tls| tls.bindings.clone()).unwrap_or_default();
                let is_plus = mechanism == Mechanism::ScramSha256Plus;
                Machine::Scram(Box::new(ScramExchange::new(is_plus, bindings, sasl_base64::encode(&random))))
            }
        };
        Some(Exchange { login, way, mechanism, machine, asked: None, ending: Ending::Open })
    }

    /// Starts with the client's initial response, if it sent one.
    pub async fn start(&mut self, initial: Option<&[u8]>) -> Reply {
        let step = match &mut self.machine {
            Machine::Plain(plain) => plain.start(initial),
            Machine::Scram(scram) => scram.start(initial),
            Machine::Bearer(bearer) => bearer.start(initial),
            Machine::External(external) => external.start(initial),
        };
        self.follow(step).await
    }

    /// Eats the client's next message.
    pub async fn eat(&mut self, message: &[u8]) -> Reply {
        match std::mem::take(&mut self.ending) {
            Ending::Open => {}
            // RFC 5802 §5: nothing is left for the client to say.
            Ending::Proved(signed_in) if message.is_empty() => return Reply::Done(signed_in),
            Ending::Proved(_) => return Reply::Refused(LoginRefusal::Malformed),
            Ending::Told(refusal) => return Reply::Refused(refusal),
        }
        let step = match &mut self.machine {
            Machine::Plain(plain) => plain.eat(message),
            Machine::Scram(scram) => scram.eat(message),
            Machine::Bearer(bearer) => bearer.eat(message),
            Machine::External(external) => external.eat(message),
        };
        self.follow(step).await
    }

    async fn follow(&mut self, step: Step) -> Reply {
        let claim = match step {
            Step::Challenge(challenge) => return Reply::Challenge(challenge),
            Step::LookUp(name) => return self.ask_for(&name).await,
            Step::Failed(why) => return self.malformed(why).await,
            Step::Done(claim) => claim,
        };
        let outcome = match claim {
            Claim::Password(identity) => {
                let outcome = self.login.check_identity(&identity, self.way.peer).await;
                return outcome.map_or_else(Reply::Refused, Reply::Done);
            }
            Claim::Proof(proof) => return self.proved(proof).await,
            Claim::Token(token) => return self.token(token).await,
            Claim::Certificate { authorize_as } => {
                let attempt = self.attempt("");
                let outcome = self.certificate(&attempt, authorize_as).await;
                attempt.note(&outcome);
                outcome
            }
        };
        outcome.map_or_else(Reply::Refused, Reply::Done)
    }

    fn attempt(&self, name: &str) -> Attempt {
        self.login.attempt(name, self.way.peer, self.mechanism.name())
    }

    /// SCRAM: looks the user up and goes on with his verifiers, or with made-up ones that look the same.
    async fn ask_for(&mut self, name: &str) -> Reply {
        let attempt = self.attempt(name);
        let found = match self.login.gate(&attempt) {
            Ok(()) => self.login.look_up_in_turn(&attempt).await,
            Err(refusal) => Err(refusal),
        };
        let user = match found {
            Ok(user) => user,
            Err(refusal) => {
                attempt.note(&Err(refusal.clone()));
                return Reply::Refused(refusal);
            }
        };
        let (scram_user, devices) = match user.as_ref().and_then(verifiers) {
            Some(found) => found,
            None => {
                let key = super::names::key_of(&attempt.name, &attempt.config.login.default_domain);
                (self.login.made_up.user(&key), Vec::new())
            }
        };
        self.asked = Some(Asked { attempt, user, devices });
        let Machine::Scram(scram) = &mut self.machine else { return Reply::Refused(LoginRefusal::Malformed) };
        match scram.supply(scram_user) {
            Step::Challenge(challenge) => Reply::Challenge(challenge),
            _ => Reply::Refused(LoginRefusal::Malformed),
        }
    }

    /// SCRAM: the proof was right or wrong. The server's own proof goes out only to somebody who may come in.
    async fn proved(&mut self, proof: Proof) -> Reply {
        let Some(asked) = self.asked.take() else { return Reply::Refused(LoginRefusal::Malformed) };
        let Asked { mut attempt, user, devices } = asked;
        attempt.started = Instant::now();
        // Made-up verifiers have no devices: whatever fits one of them lets nobody in.
        let fitting = proof.verifier.and_then(|at| devices.get(at).cloned());
        let (Some(user), Some(device)) = (user, fitting) else {
            return Reply::Refused(self.refuse_scram(&attempt).await);
        };
        if let Some(key) = attempt.user {
            let settings = &attempt.config.login;
            lock(&self.login.throttle).succeeded(attempt.network, key, settings, attempt.started);
        }
        if let Some(device) = device {
            self.login.note_use(&user, &device).await;
        }
        let outcome = self.login.welcome(&attempt, user, proof.authorize_as.as_deref()).await;
        attempt.note(&outcome);
        match outcome {
            Ok(signed_in) => {
                self.ending = Ending::Proved(signed_in);
                Reply::Challenge(proof.server_final)
            }
            Err(refusal) => Reply::Refused(refusal),
        }
    }

    async fn refuse_scram(&self, attempt: &Attempt) -> LoginRefusal {
        // Each proof is over fresh nonces, so two of them cannot be compared: every one counts as a new guess.
        let mut proof = [0; 32];
        let _ = getrandom::fill(&mut proof);
        let refusal = self.login.fail(attempt, proof, LoginRefusal::WrongPassword).await;
        attempt.note(&Err(refusal.clone()));
        refusal
    }

    /// A message that breaks the rules of its mechanism. In SCRAM, from the second message on, it is answered like a
    /// wrong password: it may be one, or somebody in between.
    async fn malformed(&mut self, why: &'static str) -> Reply {
        match self.asked.take() {
            Some(mut asked) => {
                info!(user = ?asked.attempt.name, how = self.mechanism.name(), why, "a SASL exchange failed");
                asked.attempt.started = Instant::now();
                Reply::Refused(self.refuse_scram(&asked.attempt).await)
            }
            None => {
                let attempt = self.attempt("");
                info!(how = self.mechanism.name(), why, "a SASL exchange failed");
                attempt.note(&Err(LoginRefusal::Malformed));
                Reply::Refused(LoginRefusal::Malformed)
            }
        }
    }

    /// OAUTHBEARER and XOAUTH2.
    async fn token(&mut self, token: Token) -> Reply {
        let attempt = self.attempt(token.authorize_as.as_deref().unwrap_or_default());
        let outcome = self.login.token(&attempt, &token).await;
        attempt.note(&outcome);
        match outcome {
            Ok(signed_in) => Reply::Done(signed_in),
            Err(refusal @ LoginRefusal::WrongToken) => {
                let Machine::Bearer(bearer) = &self.machine else { return Reply::Refused(refusal) };
                let settings = &attempt.config.oauth;
                let told = bearer.refusal(&settings.scope, &settings.openid_configuration);
                self.ending = Ending::Told(refusal);
                Reply::Challenge(told)
            }
            Err(refusal) => Reply::Refused(refusal),
        }
    }

    /// EXTERNAL: the certificate's one name is the user, unless the client chose among several.
    async fn certificate(&self, attempt: &Attempt, authorize_as: Option<String>) -> Result<SignedIn, LoginRefusal> {
        self.login.gate(attempt)?;
        let names = self.way.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
        let names = names.map(|names| field(attempt.config.tls.client_certificate_user, names)).unwrap_or_default();
        let domain = &attempt.config.login.default_domain;
        let is_chosen =
            |name: &&String| authorize_as.as_ref().is_some_and(|chosen| super::names::are_same(name, chosen, domain));
        let name = match names {
            [only] => Some(only),
            several => several.iter().find(is_chosen),
        };
        let user = match name {
            Some(name) => self.login.look_up(name).await?,
            None => None,
        };
        match user {
            Some(user) => self.login.welcome(attempt, user, authorize_as.as_deref()).await,
            None => Err(self.login.fail(attempt, [0; 32], LoginRefusal::WrongCertificate).await),
        }
    }
}

/// The names in the field the operator chose, and in no other.
fn field(chosen: CertificateUser, names: &CertificateNames) -> &[String] {
    match chosen {
        CertificateUser::Rfc822Name => &names.rfc822_names,
        CertificateUser::CommonName => &names.common_names,
    }
}

/// The verifiers of a user that share salt and count with his own, or with his first device's; and whose they are.
fn verifiers(user: &UserRecord) -> Option<(ScramUser, Vec<Option<String>>)> {
    let own = user.credential(CredentialKind::ScramSha256).map(|text| (text, None));
    let of_devices =
        user.app_passwords.iter().filter_map(|one| Some((one.scram.as_deref()?, Some(one.device.clone()))));
    let mut all = own.into_iter().chain(of_devices).filter_map(|(text, device)| {
        let verifier: ScramVerifier = text.parse().ok()?;
        Some((verifier, device))
    });
    let (first, device) = all.next()?;
    let (salt, iterations) = (first.salt.clone(), first.iterations);
    let (mut verifiers, mut devices) = (vec![first], vec![device]);
    for (verifier, device) in all.filter(|(other, _)| other.salt == salt && other.iterations == iterations) {
        verifiers.push(verifier);
        devices.push(device);
    }
    Some((ScramUser { salt, iterations, verifiers }, devices))
}
