//! STARTTLS, LOGIN and AUTHENTICATE (RFC 3501 §6.2).

use crate::auth::{Mechanism, sasl_base64};
use crate::imap::answer::{Answer, Done, Stop, bad, fault, no};
use crate::imap::session::{Exit, Session, State};
use crate::login::{Exchange, LoginRefusal, Reply, SignedIn, Way};
use crate::types::command::{Authenticate, Login};
use crate::types::{Code, Secret};
use crate::wire::login::write_capability;
use crate::wire::response::write_continuation;
use crate::wire::{Event, Limits};

pub fn starttls(session: &mut Session) -> Answer {
    if session.peer.is_tls {
        return Err(bad("TLS is on already"));
    }
    if !session.peer.starttls_offered {
        return Err(bad("this port has no STARTTLS"));
    }
    // RFC 3501 §6.2.1: what was sent before the handshake is never run after it. A client that
    // pipelines behind STARTTLS is either broken or somebody in the middle.
    if session.channel.framer.buffered() > 0 {
        return Err(bad("nothing may be sent behind STARTTLS before TLS is on"));
    }
    session.leave(Exit::StartTls);
    Ok(Done { code: None, text: "Begin TLS now".into() })
}

pub async fn login(session: &mut Session, arguments: Login) -> Answer {
    allowed(session)?;
    // Octets that are no UTF-8 make a name that no user has: it is answered like every other such name.
    let user = String::from_utf8_lossy(&arguments.user);
    let (login, address) = (session.host.login.clone(), session.peer.address);
    let outcome = login.check(&user, &arguments.password, address).await;
    settle(session, outcome).await
}

pub async fn authenticate(session: &mut Session, _tag: &str, arguments: Authenticate) -> Answer {
    allowed(session)?;
    let login = session.host.login.clone();
    let tls = session.peer.tls.as_deref();
    let mechanism = Mechanism::from_name(&arguments.mechanism).filter(|mechanism| login.offers(*mechanism, tls));
    let Some(mechanism) = mechanism else {
        return Err(no(Code::Cannot, "this mechanism is not offered here; CAPABILITY names those that are"));
    };
    let initial = match &arguments.initial_response {
        Some(word) => match sasl_base64::decode_initial(word.reveal()) {
            Some(octets) => Some(Secret::new(octets)),
            None => return Err(bad("expected base64 as the initial response")),
        },
        None => None,
    };
    let way = Way { peer: session.peer.address, tls: session.peer.tls.clone() };
    let Some(mut exchange) = Exchange::new(login, mechanism, way) else {
        return Err(no(Code::Unavailable, "logging in does not work right now, try again later"));
    };
    let mut reply = exchange.start(initial.as_ref().map(Secret::reveal)).await;
    loop {
        match reply {
            Reply::Done(signed_in) => return settle(session, Ok(signed_in)).await,
            Reply::Refused(refusal) => return settle(session, Err(refusal)).await,
            Reply::Challenge(challenge) => {
                write_continuation(&mut session.channel.out, &sasl_base64::encode(&challenge));
                let line = next_line(session).await?;
                // RFC 3501 §6.2.2: a "*" cancels.
                if line.reveal() == b"*" {
                    return Err(bad("AUTHENTICATE was cancelled"));
                }
                let Some(octets) = sasl_base64::decode(line.reveal()).map(Secret::new) else {
                    return Err(bad("expected a line of base64"));
                };
                reply = exchange.eat(octets.reveal()).await;
            }
        }
    }
}

/// The client's next line, which is no command.
async fn next_line(session: &mut Session) -> Result<Secret, Stop> {
    loop {
        match session.channel.framer.next() {
            Event::Line(line) => return Ok(Secret::new(line)),
            Event::NeedMore => {}
            Event::Literal(_) => {
                session.channel.framer.refuse();
                return Err(bad("expected one line of base64"));
            }
            _ => return Err(bad("expected one line of base64")),
        }
        session.channel.flush().await?;
        session.wait().await?;
    }
}

/// RFC 8437 §3: forgets the user and everything that was his, but not TLS; the client may log in as somebody else.
/// It cannot fail: the RFC allows no NO.
pub fn unauthenticate(session: &mut Session) -> Answer {
    session.forget_user();
    Ok(Done { code: Some(Code::Capability(session.capabilities())), text: "Nobody is logged in now".into() })
}

/// Refuses passwords where they could be read on the way, and everything else that would show who somebody is: in the
/// clear a SCRAM exchange can be guessed at offline (RFC 5802 §9), and the mail behind it could be read anyway.
fn allowed(session: &Session) -> Result<(), Stop> {
    if session.peer.plaintext_allowed {
        return Ok(());
    }
    Err(no(Code::PrivacyRequired, "logging in needs TLS here; use STARTTLS or the TLS port"))
}

async fn settle(session: &mut Session, outcome: Result<SignedIn, LoginRefusal>) -> Answer {
    let signed_in = outcome.map_err(|refusal| no(code_of(&refusal), refusal.to_string()))?;
    session.ticket.signed_in(signed_in.account, &signed_in.user).map_err(|refused| {
        let code = if refused.code() == "LIMIT" { Code::Limit } else { Code::Unavailable };
        no(code, refused.to_string())
    })?;
    if let Some(acting) = &signed_in.acting {
        session.ticket.acted_by(acting.account);
    }
    // Trouble of ours is told as UNAVAILABLE, so that no phone asks its owner for a new password.
    let account = match session.host.store.account(signed_in.account).await {
        Ok(account) => account,
        Err(error) => {
            session.ticket.signed_out();
            fault(&error);
            return Err(no(Code::Unavailable, "the mail store cannot be opened just now"));
        }
    };
    session.user = signed_in.user;
    session.state = State::Authenticated(account);
    let limits = &session.host.config.load().limits;
    session.channel.framer.set_limits(Limits {
        line_bytes: limits.line_bytes,
        held_bytes: limits.held_literal_bytes,
        literals: 10_000,
    });
    let names = session.capabilities();
    if session.asked_capability {
        // Who asked for CAPABILITY before login does not read the code in the OK.
        write_capability(&mut session.channel.out, names.iter().map(String::as_str));
        return Ok(Done { code: None, text: "Logged in".into() });
    }
    Ok(Done { code: Some(Code::Capability(names)), text: "Logged in".into() })
}

fn code_of(refusal: &LoginRefusal) -> Code {
    match refusal {
        LoginRefusal::WrongPassword
        | LoginRefusal::WrongToken
        | LoginRefusal::WrongCertificate
        | LoginRefusal::Malformed => Code::AuthenticationFailed,
        LoginRefusal::NotAllowed => Code::AuthorizationFailed,
        LoginRefusal::Unavailable | LoginRefusal::Busy(_) => Code::Unavailable,
        LoginRefusal::Disabled => Code::ContactAdmin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::{Host, Peer};
    use crate::login::{Sessions, credentials};
    use crate::mailstore::directory::Directory;
    use crate::mailstore::{MailStore, Options};
    use std::sync::Arc;

    struct House {
        _home: tempfile::TempDir,
        host: Arc<Host>,
    }

    fn house() -> House {
        let home = tempfile::tempdir().expect("a directory");
        let directory = Directory::open(home.path()).expect("opened");
        for (name, password) in [("anna", "sesame"), ("bert", "open")] {
            let credentials = credentials::make(&Secret::new(password), false).expect("made");
            directory.add_user(name, &credentials).expect("added");
        }
        let mut config = crate::config::Config::default();
        config.login.failure_delay_seconds = std::time::Duration::ZERO;
        let config = Arc::new(arc_swap::ArcSwap::from_pointee(config));
        let store = MailStore::open(home.path(), Options::default()).expect("opened");
        let login = crate::login::Login::new(Arc::new(directory), config.clone()).expect("started");
        let sessions = Sessions::new(config.clone());
        House { _home: home, host: Arc::new(Host { store, login, sessions, config }) }
    }

    impl House {
        fn session(&self, plaintext_allowed: bool) -> Session {
            let peer = Peer {
                address: None,
                listener: None,
                is_tls: false,
                starttls_offered: false,
                plaintext_allowed,
                tls: None,
            };
            let ticket = self.host.sessions.admit(None).expect("room");
            Session::new(self.host.clone(), peer, Box::new(tokio::io::duplex(4096).0), ticket)
        }
    }

    async fn log_in(session: &mut Session, user: &[u8], password: &str) -> Answer {
        login(session, Login { user: user.into(), password: Secret::new(password) }).await
    }

    fn refused(answer: Answer) -> (Option<Code>, String) {
        match answer {
            Err(Stop::Refused { code, text, .. }) => (code, text),
            other => panic!("{other:?}"),
        }
    }

    /// RFC 8437 §3
    #[tokio::test]
    async fn after_unauthenticate_nothing_of_the_user_is_left() {
        let house = house();
        let mut session = house.session(true);
        let before = session.capabilities();
        log_in(&mut session, b"anna", "sesame").await.expect("let in");
        assert_eq!(session.user, "anna");
        session.enabled.condstore = true;
        session.asked_capability = true;
        let State::Authenticated(account) = &session.state else { panic!("logged in") };
        let anna = account.id();
        assert_eq!(house.host.sessions.count_of(anna), 1);
        unauthenticate(&mut session).expect("it cannot fail");
        assert!(matches!(session.state, State::NotAuthenticated));
        assert_eq!(session.capabilities(), before);
        assert!(session.user.is_empty() && !session.enabled.condstore && !session.asked_capability);
        assert_eq!((house.host.sessions.count_of(anna), house.host.sessions.count()), (0, 1));
        log_in(&mut session, b"bert", "open").await.expect("let in as another");
        assert_eq!(session.user, "bert");
    }

    #[tokio::test]
    async fn a_name_that_is_no_utf8_is_refused_like_any_wrong_one() {
        let house = house();
        let mut session = house.session(true);
        let wrong = refused(log_in(&mut session, b"anna", "wrong").await);
        assert_eq!(wrong.0, Some(Code::AuthenticationFailed));
        for user in [&b"\xff\xfe"[..], b"ann\xe4", b"anna\0", b"\xc0\xaf", b""] {
            assert_eq!(refused(log_in(&mut session, user, "sesame").await), wrong, "{user:?}");
        }
    }

    #[tokio::test]
    async fn in_the_clear_nothing_that_shows_who_one_is_is_taken() {
        let house = house();
        let mut session = house.session(false);
        let (code, _) = refused(log_in(&mut session, b"anna", "sesame").await);
        assert_eq!(code, Some(Code::PrivacyRequired));
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "XOAUTH2", "EXTERNAL", "NONE"] {
            let arguments = Authenticate { mechanism: mechanism.into(), initial_response: None };
            let (code, _) = refused(authenticate(&mut session, "a", arguments).await);
            assert_eq!(code, Some(Code::PrivacyRequired), "{mechanism}");
        }
        assert!(session.capabilities().contains(&"LOGINDISABLED".to_owned()));
        assert!(!session.capabilities().iter().any(|name| name.starts_with("AUTH=")));
    }
}
