//! ENABLE (RFC 5161): unknown names are no error, they are simply not in the answer.

use crate::imap::answer::{Answer, Done};
use crate::imap::session::Session;
use crate::wire::login::write_enabled;

pub fn enable(session: &mut Session, _names: &[String]) -> Answer {
    // Nothing that has to be switched on is offered yet.
    write_enabled(&mut session.channel.out, []);
    Ok(Done::default())
}
