//! ENABLE (RFC 5161): unknown names are no error, they are simply not in the answer.

use crate::imap::answer::{Answer, Done};
use crate::imap::session::Session;
use crate::wire::login::write_enabled;

pub fn enable(session: &mut Session, names: &[String]) -> Answer {
    let before = session.enabled;
    let mut told = Vec::new();
    for name in names {
        let enabled = &mut session.enabled;
        match name.to_ascii_uppercase().as_str() {
            "CONDSTORE" if !before.condstore => {
                enabled.condstore = true;
                told.push("CONDSTORE");
            }
            "QRESYNC" if !before.qresync => {
                // RFC 7162 §3.2.3: QRESYNC brings CONDSTORE along.
                (enabled.qresync, enabled.condstore) = (true, true);
                told.push("QRESYNC");
            }
            _ => {}
        }
    }
    told.dedup();
    write_enabled(&mut session.channel.out, told);
    Ok(Done::default())
}
