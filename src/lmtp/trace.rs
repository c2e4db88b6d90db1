//! The lines a delivery puts on top of a message (RFC 5321 §4.4), and the count of those that others put there.

use crate::types::date::DateTime;

/// What the lines tell. All texts are fit for a header: the parser let no control character in.
pub struct Trace<'a> {
    /// `Some("")` for the null sender; `None`: not known, no `Return-Path`.
    pub sender: Option<&'a str>,
    /// The one recipient. With several there is no such line: all get the same octets, and nobody is told of the others.
    pub recipient: Option<&'a str>,
    /// What the client called itself and where it is, as it stands behind `from`; `None`: it was a command.
    pub client: Option<&'a str>,
    /// RFC 3848, RFC 6531 §4.3: how it came, such as `LMTP`.
    pub protocol: &'a str,
    pub host: &'a str,
    pub id: &'a str,
    pub now: DateTime,
}

impl Trace<'_> {
    /// The lines, each with its CRLF. None is longer than 998 octets (RFC 5322 §2.1.1).
    pub fn lines(&self) -> String {
        let mut lines = String::new();
        if let Some(sender) = self.sender {
            lines += &format!("Return-Path: <{sender}>\r\n");
        }
        if let Some(recipient) = self.recipient {
            lines += &format!("Delivered-To: {recipient}\r\n");
        }
        let Trace { host, protocol, id, .. } = self;
        lines += "Received: ";
        if let Some(client) = self.client {
            lines += &format!("from {client}\r\n\t");
        }
        lines += &format!("by {host} (Pillarbox) with {protocol} id {id}");
        if let Some(recipient) = self.recipient {
            lines += &format!("\r\n\tfor <{recipient}>");
        }
        lines += &format!(";\r\n\t{}\r\n", moment(self.now));
        lines
    }
}

// RFC 5322 §3.3
fn moment(at: DateTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (date, second) = at.clock();
    // 1 January 1970 was a Thursday.
    let day = DAYS[usize::try_from(date.days_since_1970().rem_euclid(7)).unwrap_or(0)];
    let month = MONTHS[usize::from(date.month()) - 1];
    let (sign, zone) = (if at.zone_minutes < 0 { '-' } else { '+' }, at.zone_minutes.unsigned_abs());
    format!(
        "{day}, {} {month} {:04} {:02}:{:02}:{:02} {sign}{:02}{:02}",
        date.day(),
        date.year(),
        second / 3600,
        second / 60 % 60,
        second % 60,
        zone / 60,
        zone % 60
    )
}

/// Counts the `Received` and `Delivered-To` lines of a header that streams by. Needs the same little memory whatever
/// comes. RFC 5321 §6.3: a simple count is what finds loops.
#[derive(Debug, Default)]
pub struct HopCount {
    hops: usize,
    /// The beginning of the line at hand, as much as the longest name needs.
    head: Vec<u8>,
    is_over: bool,
}

/// Enough for `Delivered-To` with its colon and some of the blanks RFC 5322 §4.5 allowed before it.
const HEAD_BYTES: usize = 20;

impl HopCount {
    /// Lines so far.
    pub fn hops(&self) -> usize {
        self.hops
    }

    /// The next piece of the message.
    pub fn feed(&mut self, piece: &[u8]) {
        if self.is_over {
            return;
        }
        for part in piece.split_inclusive(|octet| *octet == b'\n') {
            let kept = part.len().min(HEAD_BYTES - self.head.len());
            self.head.extend_from_slice(&part[..kept]);
            if !part.ends_with(b"\n") {
                continue;
            }
            // An empty line ends the header, whichever line ends it has.
            if matches!(self.head.as_slice(), b"\n" | b"\r\n") {
                self.is_over = true;
                return;
            }
            self.hops += usize::from(is_hop(&self.head));
            self.head.clear();
        }
    }
}

fn is_hop(head: &[u8]) -> bool {
    let Some(colon) = head.iter().position(|octet| *octet == b':') else { return false };
    let name = head[..colon].trim_ascii_end();
    name.eq_ignore_ascii_case(b"Received") || name.eq_ignore_ascii_case(b"Delivered-To")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Trace<'_> = Trace {
        sender: Some("bert@example.net"),
        recipient: Some("anna@example.org"),
        client: Some("mail.example.org ([127.0.0.1])"),
        protocol: "LMTP",
        host: "box.example.org",
        id: "1a.2",
        now: DateTime { unix_seconds: 1_764_104_341, zone_minutes: 0 },
    };

    #[test]
    fn the_lines_say_whence_and_whither() {
        assert_eq!(
            BASE.lines(),
            "Return-Path: <bert@example.net>\r\nDelivered-To: anna@example.org\r\n\
             Received: from mail.example.org ([127.0.0.1])\r\n\tby box.example.org (Pillarbox) with LMTP id 1a.2\r\n\
             \tfor <anna@example.org>;\r\n\tTue, 25 Nov 2025 20:59:01 +0000\r\n"
        );
        let bare = Trace { sender: None, recipient: None, client: None, ..BASE };
        assert!(bare.lines().starts_with("Received: by box.example.org (Pillarbox) with LMTP id 1a.2;\r\n"));
        assert!(Trace { sender: Some(""), ..BASE }.lines().starts_with("Return-Path: <>\r\n"));
    }

    #[test]
    fn moments_are_written_as_mail_writes_them() {
        assert_eq!(moment(DateTime::utc(0)), "Thu, 1 Jan 1970 00:00:00 +0000");
        let zone = DateTime { unix_seconds: 951_782_399, zone_minutes: -210 };
        assert_eq!(moment(zone), "Mon, 28 Feb 2000 20:29:59 -0330");
    }

    #[test]
    fn hops_are_counted_in_the_header_and_nowhere_else() {
        let text = "Received: a\r\n b\r\nReceivedness: x\r\nDELIVERED-TO: me\r\nreceived : y\nSubject: Received: z\r\n\
                    \r\nReceived: in the text\r\n";
        for size in 1..20 {
            let mut count = HopCount::default();
            text.as_bytes().chunks(size).for_each(|piece| count.feed(piece));
            assert_eq!(count.hops(), 3, "in pieces of {size}");
        }
        let mut endless = HopCount::default();
        (0..1000).for_each(|_| endless.feed(&[b'R'; 1000]));
        assert!(endless.head.capacity() < 100);
    }
}
