//! The message that stands for one that was damaged. A damaged message must not stay as it is: a client that is told
//! NO for it each time cannot synchronise past it, and one that is given wrong octets takes them for what was sent. So a
//! note takes its place, in the same folder and with the same flags, and carries every octet that could be read as an
//! attachment: nothing is lost that was there, and nothing is passed off as whole.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::mailstore::error::Result;
use crate::mailstore::undelete::subject_in;
use crate::types::date::DateTime;

/// Octets of one line of base64 before it is written so (RFC 2045 §6.8: at most 76 characters).
const LINE_OCTETS: usize = 57;
/// Longest part of the old subject that is repeated.
const SUBJECT_OCTETS: usize = 200;

/// What is known of a damaged message.
pub struct Damaged<'a> {
    /// INTERNALDATE
    pub date: DateTime,
    /// What its row says; negative: nothing.
    pub size: i64,
    /// Its stored ENVELOPE.
    pub envelope: Option<Vec<u8>>,
    /// The octets that could be read, if any, and whether they only begin it.
    pub octets: Option<&'a mut dyn Read>,
    pub is_beginning: bool,
    /// The moment of the repair.
    pub now: i64,
}

/// Writes the note piece by piece.
pub fn write(damaged: &mut Damaged<'_>, out: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let subject = damaged.envelope.as_deref().and_then(subject_in).unwrap_or_default();
    // What stands in an ENVELOPE is what stood in the header: encoded words stay as they are.
    let subject: String = String::from_utf8_lossy(&subject).chars().filter(|c| !c.is_control()).collect();
    let subject = &subject[..subject.floor_char_boundary(SUBJECT_OCTETS.min(subject.len()))];
    let is_ascii = subject.is_ascii();
    let boundary = "=_pillarbox_repair";
    let date = written(damaged.date);
    let head = format!(
        "From: Pillarbox <postmaster@localhost>\r\nDate: {date}\r\nSubject: [damaged message] {}\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n\
         --{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        if is_ascii { subject } else { "" }
    );
    out(head.as_bytes())?;
    let what = match (&damaged.octets, damaged.is_beginning) {
        (None, _) => "Nothing of it could be read any more.",
        (Some(_), true) => "What could be read of it, its beginning, is attached.",
        (Some(_), false) => "Its octets are attached as they were found; some of them are wrong.",
    };
    let mut text = format!(
        "A message that was here was damaged on the server's disk. {what}\r\n\r\nThe damage was found on {}.\r\n",
        written(DateTime::utc(damaged.now))
    );
    if damaged.size >= 0 {
        text.push_str(&format!("The message had {} octets.\r\n", damaged.size));
    }
    if let Some(envelope) = &damaged.envelope {
        let envelope = String::from_utf8_lossy(envelope);
        let shown: String = envelope.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        text.push_str("\r\nWhat is known of its header (date, subject, from, sender, reply-to, to, cc, bcc):\r\n");
        for line in shown.as_bytes().chunks(900) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push_str("\r\n");
        }
    }
    out(text.as_bytes())?;
    if let Some(octets) = &mut damaged.octets {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream; name=\"damaged.eml\"\r\n\
             Content-Disposition: attachment; filename=\"damaged.eml\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        );
        out(head.as_bytes())?;
        let mut piece = vec![0; LINE_OCTETS * 256];
        loop {
            let mut filled = 0;
            while filled < piece.len() {
                match octets.read(&mut piece[filled..]) {
                    Ok(0) => break,
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    // The disk gives no more of it; what came is kept.
                    Err(_) => break,
                }
            }
            let mut lines = String::with_capacity(filled * 3 / 2);
            for line in piece[..filled].chunks(LINE_OCTETS) {
                STANDARD.encode_string(line, &mut lines);
                lines.push_str("\r\n");
            }
            out(lines.as_bytes())?;
            if filled < piece.len() {
                break;
            }
        }
    }
    out(format!("\r\n--{boundary}--\r\n").as_bytes())
}

/// A date as it stands in a header (RFC 5322 §3.3).
fn written(date: DateTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (day, second) = date.clock();
    // The first day of 1970 was a Thursday.
    let name = DAYS[day.days_since_1970().rem_euclid(7) as usize];
    let month = MONTHS[usize::from(day.month()) - 1];
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let (sign, zone) = (if date.zone_minutes < 0 { '-' } else { '+' }, date.zone_minutes.unsigned_abs());
    let zone = format!("{sign}{:02}{:02}", zone / 60, zone % 60);
    format!("{name}, {} {month} {:04} {hour:02}:{minute:02}:{second:02} {zone}", day.day(), day.year())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::describe;

    fn note(octets: Option<&[u8]>) -> Vec<u8> {
        let mut reader = octets;
        let mut damaged = Damaged {
            date: DateTime { unix_seconds: 1_700_000_000, zone_minutes: -90 },
            size: 4711,
            envelope: Some(b"(NIL \"=?utf-8?q?H=C3=A4?= \\\"x\\\"\" NIL NIL NIL NIL NIL NIL NIL NIL)".to_vec()),
            octets: reader.as_mut().map(|reader| reader as &mut dyn Read),
            is_beginning: false,
            now: 1_800_000_000,
        };
        let mut note = Vec::new();
        write(&mut damaged, &mut |piece| {
            note.extend_from_slice(piece);
            Ok(())
        })
        .expect("written");
        note
    }

    #[test]
    fn a_note_is_a_message_that_carries_every_octet() {
        let octets: Vec<u8> = (0..100_000u32).map(|n| (n * 31 % 256) as u8).collect();
        let note = note(Some(&octets));
        let text = String::from_utf8(note.clone()).expect("plain text");
        assert!(text.contains("\r\nSubject: [damaged message] =?utf-8?q?H=C3=A4?= \"x\"\r\n"), "{}", &text[..300]);
        assert!(text.contains("Date: Tue, 14 Nov 2023 20:43:20 -0130\r\n"), "{}", &text[..300]);
        let structure = String::from_utf8(describe(&note).bodystructure).expect("text");
        assert!(structure.contains("octet-stream") || structure.contains("OCTET-STREAM"), "{structure}");
        let from = text.find("base64\r\n\r\n").expect("an attachment") + 10;
        let base64: String = text[from..text.rfind("\r\n--").expect("its end")].split("\r\n").collect();
        assert_eq!(STANDARD.decode(base64).expect("base64"), octets);
        assert!(text.lines().all(|line| line.len() < 998));
    }

    #[test]
    fn of_a_message_that_is_gone_is_told_what_is_known() {
        let text = String::from_utf8(note(None)).expect("plain text");
        assert!(text.contains("Nothing of it could be read") && text.contains("4711 octets"), "{text}");
        assert!(!text.contains("base64"), "{text}");
    }
}
