//! What stands in an mbox about a message and is not the message: its From line, and the headers that mail programs
//! and servers keep flags, keywords and UIDs in.

use crate::types::{Date, DateTime, Flag, FlagSet, Keyword, SystemFlag};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The header that an export of ours ends its own headers with.
pub const MARK: &str = "X-Pillarbox-Mbox";

/// What our own mark says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The octets are as they were, whatever their line ends.
    pub is_raw: bool,
    /// The message does not end with a line end.
    pub is_cut: bool,
    pub date: Option<DateTime>,
}

impl Mark {
    /// The header's line without its end.
    pub fn write(&self) -> String {
        let (form, end) = (if self.is_raw { "raw" } else { "text" }, if self.is_cut { "cut" } else { "whole" });
        match self.date {
            None => format!("{MARK}: {form} {end}"),
            Some(date) => format!("{MARK}: {form} {end} {} {}", date.unix_seconds, date.zone_minutes),
        }
    }

    fn read(value: &str) -> Option<Mark> {
        let words: Vec<&str> = value.split_ascii_whitespace().collect();
        let (form, end, date) = match words.as_slice() {
            [form, end] => (*form, *end, None),
            [form, end, seconds, zone] => {
                let date = DateTime { unix_seconds: seconds.parse().ok()?, zone_minutes: zone.parse().ok()? };
                (*form, *end, Some(date))
            }
            _ => return None,
        };
        let is_raw = matches!(form, "raw").then_some(true).or(matches!(form, "text").then_some(false))?;
        let is_cut = matches!(end, "cut").then_some(true).or(matches!(end, "whole").then_some(false))?;
        Some(Mark { is_raw, is_cut, date })
    }
}

/// What the headers of a message say about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    pub flags: FlagSet,
    /// Words that are no keywords of IMAP.
    pub odd_keywords: Vec<String>,
    pub uid: Option<u32>,
    /// The UIDVALIDITY and the last UID; in the first message only.
    pub base: Option<(u32, u32)>,
    /// It is no mail but a note that a mail program left in the file.
    pub is_internal: bool,
    /// Thunderbird deleted it, and did not compact the folder since.
    pub is_expunged: bool,
    pub content_length: Option<u64>,
    pub mark: Option<Mark>,
}

impl About {
    /// Looks at a header's first line. True: it is not the message's own.
    pub fn take_line(&mut self, line: &[u8]) -> bool {
        let Some(colon) = memchr::memchr(b':', line).filter(|colon| *colon <= 32) else { return false };
        let (name, value) = (&line[..colon], String::from_utf8_lossy(&line[colon + 1..]));
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        match name.as_slice() {
            b"status" => self.letters(value, &[('R', SystemFlag::Seen)]),
            b"x-status" => self.letters(
                value,
                &[
                    ('A', SystemFlag::Answered),
                    ('F', SystemFlag::Flagged),
                    ('D', SystemFlag::Deleted),
                    ('T', SystemFlag::Draft),
                ],
            ),
            b"x-keywords" | b"x-mozilla-keys" => value.split_ascii_whitespace().for_each(|word| self.keyword(word)),
            b"x-uid" => self.uid = value.parse().ok().filter(|uid| *uid > 0),
            b"x-imapbase" => self.base = base(value),
            b"x-imap" => {
                self.base = base(value);
                self.is_internal = true;
            }
            b"x-mozilla-status" => self.mozilla(u32::from_str_radix(value, 16).unwrap_or(0)),
            b"x-mozilla-status2" => {}
            b"content-length" => self.content_length = value.parse().ok(),
            _ if name.eq_ignore_ascii_case(MARK.as_bytes()) => {
                self.mark = Mark::read(value);
                return self.mark.is_some();
            }
            _ => return false,
        }
        true
    }

    fn letters(&mut self, value: &str, meanings: &[(char, SystemFlag)]) {
        let told = meanings.iter().filter(|(letter, _)| value.contains(*letter));
        told.for_each(|(_, flag)| self.flags.insert(Flag::System(*flag)));
    }

    fn keyword(&mut self, word: &str) {
        match Keyword::new(word) {
            Some(keyword) => self.flags.insert(Flag::Keyword(keyword)),
            None => self.odd_keywords.push(word.to_owned()),
        }
    }

    fn mozilla(&mut self, bits: u32) {
        let meanings = [(1, SystemFlag::Seen), (2, SystemFlag::Answered), (4, SystemFlag::Flagged)];
        for (bit, flag) in meanings {
            if bits & bit != 0 {
                self.flags.insert(Flag::System(flag));
            }
        }
        self.is_expunged |= bits & 8 != 0;
        if bits & 0x1000 != 0 {
            self.keyword("$Forwarded");
        }
    }
}

/// `X-IMAPbase: 1234567890 0000000042 keyword...`
fn base(value: &str) -> Option<(u32, u32)> {
    let mut words = value.split_ascii_whitespace();
    Some((words.next()?.parse().ok().filter(|validity| *validity > 0)?, words.next()?.parse().ok()?))
}

/// Whether a line begins a message, and the date in it: `From sender Sat Jan  3 01:05:34 1996`, with a zone or
/// without, in any order behind the sender.
pub fn from_line(line: &[u8]) -> Option<Option<DateTime>> {
    let rest = line.strip_prefix(b"From ")?;
    let rest = std::str::from_utf8(&rest[..rest.len().min(512)]).ok()?;
    let words: Vec<&str> = rest.split([' ', '\t', ',', '\r', '\n']).filter(|word| !word.is_empty()).collect();
    let clock = words.iter().find_map(|word| clock(word));
    let year = words.iter().find(|word| word.len() == 4 && word.bytes().all(|b| b.is_ascii_digit()));
    let (clock, year) = (clock?, year?.parse().ok()?);
    let date = || {
        let at = words.iter().position(|word| MONTHS.iter().any(|month| month.eq_ignore_ascii_case(word)))?;
        let month = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(words[at]))?;
        let day =
            |at: usize| words.get(at).and_then(|word| word.parse::<u8>().ok()).filter(|day| (1..=31).contains(day));
        let day = day(at + 1).or_else(|| day(at.checked_sub(1)?))?;
        let date = Date::new(year, month as u8 + 1, day)?;
        Some(DateTime::on_clock(date, clock, words.iter().find_map(|word| zone(word)).unwrap_or(0)))
    };
    Some(date())
}

/// `01:05` or `01:05:34`, as seconds of the day.
fn clock(word: &str) -> Option<u32> {
    let mut parts = word.split(':');
    let mut part = |most: u32| parts.next()?.parse::<u32>().ok().filter(|n| *n <= most);
    let (hours, minutes) = (part(23)?, part(59)?);
    Some(hours * 3600 + minutes * 60 + part(60).unwrap_or(0))
}

/// `+0100`, in minutes east.
fn zone(word: &str) -> Option<i16> {
    let sign = match word.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: i16 = word.get(1..).filter(|digits| digits.len() == 4)?.parse().ok().filter(|n| *n >= 0)?;
    (digits % 100 < 60).then_some(sign * (digits / 100 * 60 + digits % 100))
}

/// A From line for a message that came then.
pub fn write_from(date: DateTime) -> String {
    let (day, seconds) = DateTime::utc(date.unix_seconds).clock();
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][day.days_since_1970().rem_euclid(7) as usize];
    let month = MONTHS[usize::from(day.month()) - 1];
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!(
        "From MAILER-DAEMON {weekday} {month} {:2} {hours:02}:{minutes:02}:{seconds:02} {:04}",
        day.day(),
        day.year()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_lines_of_all_writers_are_known() {
        let cases = [
            ("From a@b Sat Jan  3 01:05:34 1996", Some(820_631_134)),
            ("From - Sat Jan 03 01:05:34 1996\r\n", Some(820_631_134)),
            ("From a b c Sat Jan  3 01:05:34 +0100 1996", Some(820_627_534)),
            ("From MAILER-DAEMON Sat, 3 Jan 1996 01:05 -0130", Some(820_631_100 + 5400)),
            ("From x 01:05:34 1996", None),
        ];
        for (line, seconds) in cases {
            assert_eq!(from_line(line.as_bytes()).map(|d| d.map(|d| d.unix_seconds)), Some(seconds), "{line}");
        }
        for line in
            ["From here on it is fun", "From 1996 to 2000", "From a at 10:30", ">From a@b Sat Jan 3 01:05:34 1996"]
        {
            assert_eq!(from_line(line.as_bytes()), None, "{line}");
        }
        let written = write_from(DateTime { unix_seconds: 820_631_134, zone_minutes: 60 });
        assert_eq!(written, "From MAILER-DAEMON Wed Jan  3 01:05:34 1996");
        assert_eq!(from_line(written.as_bytes()), Some(Some(DateTime::utc(820_631_134))));
    }

    #[test]
    fn programs_headers_are_understood() {
        let mut about = About::default();
        for line in ["X-IMAPbase: 11 0000000042 a", "x-mozilla-status: 100d", "X-Mozilla-Keys: $label1 (bad"] {
            assert!(about.take_line(line.as_bytes()), "{line}");
        }
        assert!(!about.take_line(b"Subject: Status: R"));
        assert_eq!((about.base, about.is_expunged, about.flags.bits()), (Some((11, 42)), true, 10));
        assert_eq!(about.odd_keywords, ["(bad"]);
        let date = Some(DateTime { unix_seconds: -1, zone_minutes: -30 });
        for mark in [Mark { is_raw: true, is_cut: false, date }, Mark { is_raw: false, is_cut: true, date: None }] {
            assert!(about.take_line(mark.write().as_bytes()));
            assert_eq!(about.mark, Some(mark));
        }
        assert!(!about.take_line(b"X-Pillarbox-Mbox: odd"), "then it is a header like any other");
    }
}
