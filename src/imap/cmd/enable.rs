//! ENABLE (RFC 5161): unknown names are no error, they are simply not in the answer.

use crate::imap::answer::{Answer, Done};
use crate::imap::session::Session;
use crate::wire::login::write_enabled;

pub fn enable(session: &mut Session, names: &[String]) -> Answer {
    let before = session.enabled;
    let mut told = Vec::new();
    let mut condstore = false;
    for name in names {
        match name.as_str() {
            "CONDSTORE" if !before.condstore => {
                condstore = true;
                told.push("CONDSTORE");
            }
            "QRESYNC" if !before.qresync => {
                // RFC 7162 §3.2.3: QRESYNC brings CONDSTORE along.
                condstore = true;
                session.enabled.qresync = true;
                told.push("QRESYNC");
            }
            _ => {}
        }
    }
    told.sort_unstable();
    told.dedup();
    write_enabled(&mut session.channel.out, told);
    if condstore {
        session.enable_condstore();
    }
    Ok(Done::default())
}
