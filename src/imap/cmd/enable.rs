//! ENABLE (RFC 5161).

use crate::imap::answer::{Answer, Done};
use crate::imap::session::Session;
use crate::wire::login::write_enabled;

/// What can be switched on. Only what is offered to this client is.
const EXTENSIONS: [&str; 5] = ["CONDSTORE", "IMAP4rev2", "QRESYNC", "UIDONLY", "UTF8=ACCEPT"];

pub fn enable(session: &mut Session, names: &[String]) -> Answer {
    let offered = session.capabilities();
    let mut told: Vec<&str> = Vec::new();
    let mut condstore = false;
    for name in names {
        let known = EXTENSIONS.iter().find(|known| known.eq_ignore_ascii_case(name));
        let Some(known) = known.filter(|known| offered.iter().any(|offered| offered == *known)) else { continue };
        let enabled = &mut session.enabled;
        let (is_new, flag) = match *known {
            "CONDSTORE" => {
                condstore = true;
                (!enabled.condstore, None)
            }
            "QRESYNC" => {
                // RFC 7162 §3.2.3: QRESYNC brings CONDSTORE along.
                condstore = true;
                (!enabled.qresync, Some(&mut enabled.qresync))
            }
            "IMAP4rev2" => {
                let is_new = !enabled.rev2;
                // RFC 9051 §5.1: names are UTF-8 there.
                enabled.utf8 = true;
                (is_new, Some(&mut enabled.rev2))
            }
            "UTF8=ACCEPT" => (!enabled.utf8_accept, Some(&mut enabled.utf8_accept)),
            _ => (!enabled.uid_only, Some(&mut enabled.uid_only)),
        };
        if let Some(flag) = flag {
            *flag = true;
        }
        if is_new {
            told.push(known);
        }
    }
    session.enabled.utf8 |= session.enabled.utf8_accept;
    told.sort_unstable();
    told.dedup();
    write_enabled(&mut session.channel.out, told);
    if condstore {
        session.enable_condstore();
    }
    Ok(Done::default())
}
