//! The date of a Date field (RFC 5322 §3.3 and §4.3), read with patience.
//! RFC 5256 §2.2 says what to make of half a date; a field without a day is no date at all.

/// A moment and the zone it was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SentDate {
    /// Seconds since 1970-01-01 00:00:00 UTC; negative before.
    pub utc_secs: i64,
    /// Minutes east of UTC as written, -1439 to 1439; 0 when the zone was missing or made no sense.
    pub zone_minutes: i16,
}

/// Octets of the field that are looked at.
const FIELD_OCTETS: usize = 1024;

/// Reads a Date field's value. `None` when there is no day, month and year in it.
pub fn parse_date(value: &[u8]) -> Option<SentDate> {
    let text = without_comments(&value[..value.len().min(FIELD_OCTETS)]);
    let mut found = Found::default();
    for word in text.split(|b| b.is_ascii_whitespace() || *b == b',').filter(|word| !word.is_empty()) {
        found.take(word);
    }
    found.date()
}

#[derive(Debug, Default)]
struct Found {
    day: Option<u32>,
    month: Option<u32>,
    year: Option<u32>,
    time_secs: Option<u32>,
    is_afternoon: bool,
    zone_minutes: Option<i16>,
}

impl Found {
    fn take(&mut self, word: &[u8]) {
        match word[0] {
            b'+' | b'-' => self.zone_minutes = self.zone_minutes.or(numeric_zone(word)),
            b'0'..=b'9' if word.contains(&b':') => self.take_time(word),
            b'0'..=b'9' if word.iter().all(u8::is_ascii_digit) => self.take_number(word),
            b'0'..=b'9' => self.take_dashed(word),
            _ if word.eq_ignore_ascii_case(b"pm") => self.is_afternoon = true,
            _ if self.month.is_none() && month(word).is_some() => self.month = month(word),
            // RFC 5322 §4.3: a zone by name; an unknown one is as good as none.
            _ if self.time_secs.is_some() => self.zone_minutes = self.zone_minutes.or(named_zone(word)),
            _ => {}
        }
    }

    fn take_number(&mut self, word: &[u8]) {
        let Some(number) = number(word) else { return };
        if self.day.is_none() && word.len() <= 2 {
            self.day = Some(number);
        } else if self.year.is_none() {
            // RFC 5322 §4.3: years of two and three digits.
            self.year = match (word.len(), number) {
                (1 | 2, 0..=49) => Some(2000 + number),
                (1 | 2, _) | (3, _) => Some(1900 + number),
                (4, 1..) => Some(number),
                _ => None,
            };
        }
    }

    /// `21-Nov-2020` and `2020-11-21`, the latter perhaps with `T` and a time.
    fn take_dashed(&mut self, word: &[u8]) {
        let mut parts = word.splitn(3, |b| *b == b'-');
        let (Some(first), Some(second), Some(third)) = (parts.next(), parts.next(), parts.next()) else { return };
        if self.day.is_some() || self.month.is_some() || self.year.is_some() {
            return;
        }
        if first.len() == 4 {
            self.year = number(first);
            self.month = number(second);
            let (day, _) = third.split_at(third.len().min(2));
            self.day = number(day);
        } else {
            self.take_number(first);
            self.month = month(second);
            self.take_number(third);
        }
    }

    /// `10:20`, `10:20:30`, and with a zone or a date stuck to it.
    fn take_time(&mut self, word: &[u8]) {
        let word = match split_once(word, |b| matches!(b, b'T' | b't')) {
            Some((date, time)) => {
                self.take_dashed(date);
                time
            }
            None => word,
        };
        if self.time_secs.is_some() {
            return;
        }
        let end = word.iter().position(|b| !b.is_ascii_digit() && !matches!(b, b':' | b'.')).unwrap_or(word.len());
        let (time, zone) = word.split_at(end);
        let mut parts =
            time.split(|b| *b == b':').map(|part| number(part.split(|b| *b == b'.').next().unwrap_or(part)));
        // RFC 5256 §2.2: an invalid time is 00:00:00.
        let secs = match (parts.next().flatten(), parts.next().flatten(), parts.next().unwrap_or(Some(0))) {
            (Some(hour @ 0..=23), Some(minute @ 0..=59), Some(second @ 0..=60)) => hour * 3600 + minute * 60 + second,
            _ => 0,
        };
        self.time_secs = Some(secs);
        match zone.first() {
            Some(b'+' | b'-') => self.zone_minutes = numeric_zone(zone),
            Some(_) => self.zone_minutes = named_zone(zone),
            None => {}
        }
    }

    fn date(&self) -> Option<SentDate> {
        let (year, month, day) = (self.year?, self.month?, self.day?);
        if !(1..=12).contains(&month) || day == 0 || day > days_in(year, month) {
            return None;
        }
        let mut secs = i64::from(self.time_secs.unwrap_or(0));
        if self.is_afternoon && secs < 12 * 3600 {
            secs += 12 * 3600;
        }
        let zone_minutes = self.zone_minutes.unwrap_or(0);
        let utc_secs = days_since_1970(year, month, day) * 86_400 + secs - i64::from(zone_minutes) * 60;
        Some(SentDate { utc_secs, zone_minutes })
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    let is_short = !digits.is_empty() && digits.len() <= 9 && digits.iter().all(u8::is_ascii_digit);
    is_short.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
}

fn split_once(word: &[u8], is_mark: impl Fn(u8) -> bool) -> Option<(&[u8], &[u8])> {
    let at = word.iter().position(|b| is_mark(*b))?;
    Some((&word[..at], &word[at + 1..]))
}

fn month(word: &[u8]) -> Option<u32> {
    const NAMES: &[u8] = b"janfebmaraprmayjunjulaugsepoctnovdec";
    let start = word.get(..3)?.to_ascii_lowercase();
    let rest_is_letters = word.iter().all(|b| b.is_ascii_alphabetic() || *b == b'.');
    let at = NAMES.chunks(3).position(|name| name == start)?;
    rest_is_letters.then_some(at as u32 + 1)
}

/// `+hhmm`, also `+hh:mm` and `+hh`.
fn numeric_zone(word: &[u8]) -> Option<i16> {
    let digits: Vec<u8> = word[1..].iter().copied().filter(|b| *b != b':').collect();
    let value = number(&digits)? as i16;
    let (hours, minutes) = match digits.len() {
        4 => (value / 100, value % 100),
        1 | 2 => (value, 0),
        _ => return None,
    };
    let total = hours * 60 + minutes;
    (hours < 24 && minutes < 60).then_some(if word[0] == b'-' { -total } else { total })
}

// RFC 5322 §4.3: obs-zone. The single letters were defined backwards once and mean nothing.
fn named_zone(word: &[u8]) -> Option<i16> {
    let hours = match word.to_ascii_uppercase().as_slice() {
        b"UT" | b"GMT" | b"UTC" | b"Z" => 0,
        b"EDT" => -4,
        b"EST" | b"CDT" => -5,
        b"CST" | b"MDT" => -6,
        b"MST" | b"PDT" => -7,
        b"PST" => -8,
        _ => return None,
    };
    Some(hours * 60)
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar, taken back before its invention.
fn days_since_1970(year: u32, month: u32, day: u32) -> i64 {
    // A year that begins in March has its leap day at the very end, so months need no table.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (year, month, day) = (i64::from(year), i64::from(month), i64::from(day));
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

fn without_comments(text: &[u8]) -> Vec<u8> {
    let mut depth = 0usize;
    let mut out = Vec::with_capacity(text.len());
    let mut octets = text.iter();
    while let Some(&octet) = octets.next() {
        match octet {
            b'(' => depth += 1,
            b')' if depth > 0 => {
                depth -= 1;
                out.push(b' ');
            }
            b'\\' if depth > 0 => {
                octets.next();
            }
            _ if depth == 0 => out.push(octet),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<(i64, i16)> {
        parse_date(value.as_bytes()).map(|date| (date.utc_secs, date.zone_minutes))
    }

    #[test]
    fn the_days_are_counted_right() {
        assert_eq!(days_since_1970(1970, 1, 1), 0);
        assert_eq!(days_since_1970(2000, 2, 29), 11_016);
        assert_eq!(days_since_1970(2000, 3, 1), 11_017);
        assert_eq!(days_since_1970(1, 1, 1), -719_162);
        assert_eq!(days_since_1970(9999, 12, 31), 2_932_896);
    }

    #[test]
    fn the_example_of_rfc_5256() {
        let there = read("31 Dec 2000 16:01:33 -0800");
        assert_eq!(there, Some((978_307_293, -480)));
        assert_eq!(there.map(|d| d.0), read("1 Jan 2001 00:01:33 +0000").map(|d| d.0));
    }

    #[test]
    fn forms_of_one_moment() {
        let moment = Some(1_605_994_380);
        for value in [
            "Sat, 21 Nov 2020 21:33:00 +0000",
            " sat , 21 NOV 2020 21:33 GMT (a (nested) comment)",
            "21 Nov 20 21:33:00 UT",
            "21 Nov 120 21:33:00 Z",
            "Sat, 21 Nov 2020 16:33:00 EST",
            "Sat, 21 Nov 2020 16:33:00-0500",
            "Sat, 21 Nov 2020 23:33:00 +02:00",
            "Sat Nov 21 21:33:00 2020",
            "November 21, 2020 9:33 PM",
            "21-Nov-2020 21:33:00 +0000",
            "2020-11-21 21:33:00",
            "2020-11-21T21:33:00.123Z",
            "Sat, 21 Nov 2020 21:33:00 +9999",
            "Sat, 21 Nov 2020 21:33:00 Nowhere",
        ] {
            assert_eq!(read(value).map(|d| d.0), moment, "{value}");
        }
    }

    #[test]
    fn half_a_date() {
        assert_eq!(read("21 Nov 2020"), Some((1_605_916_800, 0)));
        assert_eq!(read("21 Nov 2020 99:99:99 +0100"), Some((1_605_913_200, 60)));
        for value in
            ["", "Sat", "10:00", "31 Feb 2020", "0 Nov 2020", "21 Foo 2020", "21 Nov", "99999999999", "-", "(("]
        {
            assert_eq!(read(value), None, "{value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn anything_is_read_without_harm(value in "\\PC{0,60}", digits in "[0-9:+ T-]{0,40}[a-zA-Z]{0,4}[0-9 :]{0,12}") {
            parse_date(value.as_bytes());
            parse_date(digits.as_bytes());
        }
    }
}
