//! STARTTLS, LOGIN and AUTHENTICATE (RFC 3501 §6.2).

use crate::auth::{Plain, Step, sasl_base64};
use crate::imap::answer::{Answer, Done, Stop, bad, fault, no};
use crate::imap::session::{Exit, Session, State};
use crate::login::{LoginRefusal, SignedIn};
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

/// UNAUTHENTICATE (RFC 8437): everything but TLS and compression is as it was before login.
pub fn unauthenticate(session: &mut Session) -> Done {
    session.ticket.signed_out();
    session.sign_out();
    Done::default()
}

pub async fn login(session: &mut Session, arguments: Login) -> Answer {
    allowed(session)?;
    let Ok(user) = String::from_utf8(arguments.user) else {
        return Err(no(Code::AuthenticationFailed, "the user name is not UTF-8"));
    };
    let (login, address) = (session.host.login.clone(), session.peer.address);
    let outcome = login.check(&user, &arguments.password, address).await;
    settle(session, outcome).await
}

pub async fn authenticate(session: &mut Session, _tag: &str, arguments: Authenticate) -> Answer {
    allowed(session)?;
    if !arguments.mechanism.eq_ignore_ascii_case("PLAIN") {
        return Err(no(Code::Cannot, "this server knows the mechanism PLAIN"));
    }
    let mut mechanism = Plain::new();
    let first = match &arguments.initial_response {
        Some(word) => match sasl_base64::decode_initial(word.reveal()) {
            Some(octets) => Some(octets),
            None => return Err(bad("expected base64 as the initial response")),
        },
        None => None,
    };
    let mut step = mechanism.start(first.as_deref());
    let identity = loop {
        match step {
            Step::Done(identity) => break identity,
            Step::Failed => return Err(no(Code::AuthenticationFailed, "what was sent is not of this mechanism")),
            Step::Challenge(challenge) => {
                write_continuation(&mut session.channel.out, &sasl_base64::encode(&challenge));
                let line = next_line(session).await?;
                // RFC 3501 §6.2.2: a "*" cancels.
                if line.reveal() == b"*" {
                    return Err(bad("AUTHENTICATE was cancelled"));
                }
                let Some(octets) = sasl_base64::decode(line.reveal()) else {
                    return Err(bad("expected a line of base64"));
                };
                step = mechanism.eat(&octets);
            }
        }
    };
    let (login, address) = (session.host.login.clone(), session.peer.address);
    let outcome = login.check_identity(&identity, address).await;
    settle(session, outcome).await
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

/// Refuses passwords where they could be read on the way.
fn allowed(session: &Session) -> Result<(), Stop> {
    if session.peer.plaintext_allowed {
        return Ok(());
    }
    Err(no(Code::PrivacyRequired, "a password may only be sent over TLS; use STARTTLS or the TLS port"))
}

async fn settle(session: &mut Session, outcome: Result<SignedIn, LoginRefusal>) -> Answer {
    let signed_in = outcome.map_err(|refusal| no(code_of(&refusal), refusal.to_string()))?;
    session.ticket.signed_in(signed_in.account, &signed_in.user).map_err(|refused| {
        let code = if refused.code() == "LIMIT" { Code::Limit } else { Code::Unavailable };
        no(code, refused.to_string())
    })?;
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
        LoginRefusal::WrongPassword => Code::AuthenticationFailed,
        LoginRefusal::NotAllowed => Code::AuthorizationFailed,
        LoginRefusal::Unavailable => Code::Unavailable,
        LoginRefusal::Disabled => Code::ContactAdmin,
        LoginRefusal::TooMany(_) => Code::Limit,
    }
}
