//! Commands of every state: CAPABILITY, LOGOUT, ID (RFC 3501 §6.1, RFC 2971).

use crate::imap::answer::{Answer, Done, bad};
use crate::imap::session::{Exit, Session};
use crate::wire::login::{write_capability, write_id};

/// RFC 2971 §3.3: what a client may say of itself.
const ID_PAIRS: usize = 30;
const ID_OCTETS: usize = 1024;

pub fn capability(session: &mut Session) -> Answer {
    session.asked_capability = true;
    let names = session.capabilities();
    write_capability(&mut session.channel.out, names.iter().map(String::as_str));
    Ok(Done::default())
}

pub fn logout(session: &mut Session) -> Answer {
    session.bye(None, "Pillarbox says goodbye");
    session.leave(Exit::Logout);
    Ok(Done::default())
}

/// The version is told only to those who are let in: it helps a burglar more than a mail program.
pub fn id(session: &mut Session, pairs: &[(String, Option<String>)]) -> Answer {
    let octets: usize = pairs.iter().map(|(k, v)| k.len() + v.as_ref().map_or(0, String::len)).sum();
    if pairs.len() > ID_PAIRS || octets > ID_OCTETS {
        return Err(bad(format!("expected at most {ID_PAIRS} pairs and {ID_OCTETS} octets in ID")));
    }
    session.ticket.activity().is_client(&told_name(pairs));
    let own = [("name", "Pillarbox"), ("version", env!("CARGO_PKG_VERSION"))];
    let told = if session.user.is_empty() { &own[..1] } else { &own[..] };
    write_id(&mut session.channel.out, told);
    Ok(Done::default())
}

/// What the client calls itself, with its version if it tells one.
fn told_name(pairs: &[(String, Option<String>)]) -> String {
    let field = |name: &str| pairs.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?.1.as_deref();
    let both = [field("name"), field("version")];
    both.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
