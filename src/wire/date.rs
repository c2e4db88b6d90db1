//! Dates as IMAP writes them: `17-Jul-1996` in SEARCH, `"17-Jul-1996 02:44:25 -0700"` elsewhere.

use super::garbled::{Parsed, fail};
use crate::types::{Date, DateTime};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// date = date-text / DQUOTE date-text DQUOTE; date-text = date-day "-" date-month "-" date-year
pub(super) fn date(i: &[u8]) -> Parsed<'_, Date> {
    let what = "a date like 1-Feb-1994";
    let (text, is_quoted) = i.strip_prefix(b"\"").map_or((i, false), |text| (text, true));
    // date-day = 1*2DIGIT
    let (day, rest) = match text {
        [a @ b'0'..=b'9', b @ b'0'..=b'9', rest @ ..] => ((a - b'0') * 10 + (b - b'0'), rest),
        [a @ b'0'..=b'9', rest @ ..] => (a - b'0', rest),
        _ => return fail(i, what),
    };
    let Some((date, rest)) = month_and_year(rest, day) else { return fail(i, what) };
    match (is_quoted, rest.strip_prefix(b"\"")) {
        (false, _) => Ok((rest, date)),
        (true, Some(rest)) => Ok((rest, date)),
        (true, None) => fail(rest, "the closing quote of a date"),
    }
}

/// date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
pub(super) fn date_time(i: &[u8]) -> Parsed<'_, DateTime> {
    match i.strip_prefix(b"\"").and_then(in_quotes) {
        Some((date_time, rest)) => Ok((rest, date_time)),
        None => fail(i, "a date-time like \"17-Jul-1996 02:44:25 -0700\""),
    }
}

/// The date-time that a server writes in INTERNALDATE, without its quotes.
pub fn read_date_time(text: &[u8]) -> Option<DateTime> {
    let quoted = [text, b"\""].concat();
    in_quotes(&quoted).filter(|(_, rest)| rest.is_empty()).map(|(date_time, _)| date_time)
}

fn in_quotes(i: &[u8]) -> Option<(DateTime, &[u8])> {
    // date-day-fixed = (SP DIGIT) / 2DIGIT
    let (day, i) = match i {
        [b' ', b @ b'0'..=b'9', rest @ ..] => (u32::from(b - b'0'), rest),
        _ => digits(i, 2)?,
    };
    let (date, i) = month_and_year(i, day as u8)?;
    // time = 2DIGIT ":" 2DIGIT ":" 2DIGIT
    let (hours, i) = digits(i.strip_prefix(b" ")?, 2)?;
    let (minutes, i) = digits(i.strip_prefix(b":")?, 2)?;
    let (seconds, i) = digits(i.strip_prefix(b":")?, 2)?;
    // RFC 5322 §3.3 knows leap seconds; here such a second is the first of the next minute.
    if hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    // zone = ("+" / "-") 4DIGIT ; hhmm
    let (sign, i) = match i.strip_prefix(b" ")?.split_first()? {
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => return None,
    };
    let (zone_hours, i) = digits(i, 2)?;
    let (zone_minutes, i) = digits(i, 2)?;
    if zone_minutes > 59 {
        return None;
    }
    let zone = sign * (zone_hours * 60 + zone_minutes) as i16;
    let rest = i.strip_prefix(b"\"")?;
    Some((DateTime::on_clock(date, hours * 3600 + minutes * 60 + seconds, zone), rest))
}

/// "-" date-month "-" date-year, for a day already read; the day must exist.
fn month_and_year(i: &[u8], day: u8) -> Option<(Date, &[u8])> {
    let (name, i) = i.strip_prefix(b"-")?.split_at_checked(3)?;
    let month = MONTHS.iter().position(|month| month.as_bytes().eq_ignore_ascii_case(name))?;
    let (year, i) = digits(i.strip_prefix(b"-")?, 4)?;
    Some((Date::new(year as u16, month as u8 + 1, day)?, i))
}

/// Exactly `count` digits, at most four.
fn digits(i: &[u8], count: usize) -> Option<(u32, &[u8])> {
    let (digits, rest) = i.split_at_checked(count)?;
    let mut n = 0;
    for b in digits {
        if !b.is_ascii_digit() {
            return None;
        }
        n = n * 10 + u32::from(b - b'0');
    }
    Some((n, rest))
}

/// A date-time in its quotes, `"17-Jul-1996 02:44:25 -0700"`; the day has two digits.
pub fn write_date_time(out: &mut Vec<u8>, date_time: DateTime) {
    let (date, seconds) = date_time.clock();
    out.push(b'"');
    // The grammar allows " 5" and "05"; the second is what programs have met most often.
    two_digits(out, date.day().into());
    out.push(b'-');
    out.extend_from_slice(MONTHS[usize::from(date.month() - 1)].as_bytes());
    out.push(b'-');
    two_digits(out, u32::from(date.year() / 100));
    two_digits(out, u32::from(date.year() % 100));
    out.push(b' ');
    write_time(out, seconds);
    out.extend_from_slice(if date_time.zone_minutes < 0 { b" -" } else { b" +" });
    let zone = u32::from(date_time.zone_minutes.unsigned_abs());
    two_digits(out, zone / 60 % 100);
    two_digits(out, zone % 60);
    out.push(b'"');
}

/// date-time = full-date "T" full-time (RFC 3339 §5.6). Fractions of a second are read and dropped.
pub(super) fn internet_date_time(i: &[u8]) -> Parsed<'_, DateTime> {
    match internet(i) {
        Some((date_time, rest)) => Ok((rest, date_time)),
        None => fail(i, "a date-time like 1996-12-19T16:39:57-08:00"),
    }
}

fn internet(i: &[u8]) -> Option<(DateTime, &[u8])> {
    let separator = |i: &'_ [u8], b: u8| i.first().is_some_and(|first| first.eq_ignore_ascii_case(&b));
    // full-date = 4DIGIT "-" 2DIGIT "-" 2DIGIT
    let (year, i) = digits(i, 4)?;
    let (month, i) = digits(i.strip_prefix(b"-")?, 2)?;
    let (day, i) = digits(i.strip_prefix(b"-")?, 2)?;
    let date = Date::new(year as u16, month as u8, day as u8)?;
    // partial-time = 2DIGIT ":" 2DIGIT ":" 2DIGIT ["." 1*DIGIT]
    let (hours, i) = digits(separator(i, b'T').then(|| &i[1..])?, 2)?;
    let (minutes, i) = digits(i.strip_prefix(b":")?, 2)?;
    let (seconds, mut i) = digits(i.strip_prefix(b":")?, 2)?;
    if hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    if let Some(fraction) = i.strip_prefix(b".") {
        let count = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        i = (count > 0).then(|| &fraction[count..])?;
    }
    // time-offset = "Z" / ("+" / "-") 2DIGIT ":" 2DIGIT
    let (zone, i) = if separator(i, b'Z') {
        (0, &i[1..])
    } else {
        let (sign, i) = match i.split_first()? {
            (b'+', rest) => (1, rest),
            (b'-', rest) => (-1, rest),
            _ => return None,
        };
        let (zone_hours, i) = digits(i, 2)?;
        let (zone_minutes, i) = digits(i.strip_prefix(b":")?, 2)?;
        if zone_hours > 23 || zone_minutes > 59 {
            return None;
        }
        (sign * (zone_hours * 60 + zone_minutes) as i16, i)
    };
    Some((DateTime::on_clock(date, hours * 3600 + minutes * 60 + seconds, zone), i))
}

/// A date-time of RFC 3339, in its own zone where that document has it, else in UTC.
pub(super) fn write_internet_date_time(out: &mut Vec<u8>, date_time: DateTime) {
    let has_zone = date_time.zone_minutes.unsigned_abs() < 24 * 60;
    let date_time = if has_zone { date_time } else { DateTime::utc(date_time.unix_seconds) };
    let (date, seconds) = date_time.clock();
    two_digits(out, u32::from(date.year() / 100));
    two_digits(out, u32::from(date.year() % 100));
    out.push(b'-');
    two_digits(out, date.month().into());
    out.push(b'-');
    two_digits(out, date.day().into());
    out.push(b'T');
    write_time(out, seconds);
    let zone = u32::from(date_time.zone_minutes.unsigned_abs());
    if zone == 0 {
        out.push(b'Z');
        return;
    }
    out.push(if date_time.zone_minutes < 0 { b'-' } else { b'+' });
    two_digits(out, zone / 60);
    out.push(b':');
    two_digits(out, zone % 60);
}

/// time = 2DIGIT ":" 2DIGIT ":" 2DIGIT
fn write_time(out: &mut Vec<u8>, seconds: u32) {
    two_digits(out, seconds / 3600);
    out.push(b':');
    two_digits(out, seconds / 60 % 60);
    out.push(b':');
    two_digits(out, seconds % 60);
}

fn two_digits(out: &mut Vec<u8>, n: u32) {
    out.extend_from_slice(&[b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<DateTime> {
        date_time(text.as_bytes()).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, value)| value)
    }

    fn written(date_time: DateTime) -> String {
        let mut out = Vec::new();
        write_date_time(&mut out, date_time);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn date_times() {
        for text in
            ["\"17-Jul-1996 02:44:25 -0700\"", "\"01-Feb-2024 23:59:59 +1345\"", "\"29-Feb-2000 00:00:00 +0000\""]
        {
            assert_eq!(read(text).map(written).as_deref(), Some(text));
        }
        assert_eq!(
            read("\"01-feb-2024 00:00:00 -0000\"").map(written).as_deref(),
            Some("\"01-Feb-2024 00:00:00 +0000\"")
        );
        let bad = [
            "1-Feb-2024 00:00:00 +0000",
            "\"1-Feb-2024 00:00:00 +0000\"",
            "\"30-Feb-2024 00:00:00 +0000\"",
            "\"29-Feb-2023 00:00:00 +0000\"",
            "\"29-Feb-1900 00:00:00 +0000\"",
            "\"00-Feb-2023 00:00:00 +0000\"",
            "\"10-Foo-2023 00:00:00 +0000\"",
            "\"10-Feb-23 00:00:00 +0000\"",
            "\"10-Feb-2023 24:00:00 +0000\"",
            "\"10-Feb-2023 00:60:00 +0000\"",
            "\"10-Feb-2023 00:00:61 +0000\"",
            "\"10-Feb-2023 00:00:00 +0060\"",
            "\"10-Feb-2023 00:00:00 0000\"",
            "\"10-Feb-2023 00:00:00 +000\"",
            "\"10-Feb-2023  00:00:00 +0000\"",
            "\"10-Feb-2023 00:00:00 +0000",
            "\"\"",
        ];
        for text in bad {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn date_times_of_the_internet() {
        let read = |text: &str| {
            let parsed = internet_date_time(text.as_bytes()).ok().filter(|(rest, _)| rest.is_empty());
            parsed.map(|(_, date_time)| {
                let mut out = Vec::new();
                write_internet_date_time(&mut out, date_time);
                String::from_utf8(out).expect("ASCII")
            })
        };
        for text in ["1996-12-19T16:39:57-08:00", "2000-02-29T23:59:59Z", "1937-01-01T12:00:27+00:20"] {
            assert_eq!(read(text).as_deref(), Some(text));
        }
        assert_eq!(read("1985-04-12t23:20:50.52z").as_deref(), Some("1985-04-12T23:20:50Z"));
        assert_eq!(read("1990-12-31T23:59:60-00:00").as_deref(), Some("1991-01-01T00:00:00Z"));
        let bad = [
            "",
            "1996-12-19",
            "1996-12-19 16:39:57Z",
            "1996-12-19T16:39:57",
            "1996-12-19T16:39Z",
            "1996-12-19T16:39:57.Z",
            "1996-13-19T16:39:57Z",
            "1996-02-30T16:39:57Z",
            "1996-12-19T24:39:57Z",
            "1996-12-19T16:39:57+24:00",
            "1996-12-19T16:39:57+0100",
            "96-12-19T16:39:57Z",
        ];
        for text in bad {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn dates() {
        let read = |text: &'static str| date(text.as_bytes()).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, d)| d);
        assert_eq!(read("1-Feb-1994"), Date::new(1994, 2, 1));
        assert_eq!(read("\"01-FEB-1994\""), Date::new(1994, 2, 1));
        assert_eq!(read("29-Feb-2024"), Date::new(2024, 2, 29));
        for bad in
            ["31-Apr-2024", " 1-Feb-1994", "1-Feb-94", "\"1-Feb-1994", "1-Feb-1994\"", "001-Feb-1994", "-Feb-1994", ""]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_the_same(unix_seconds in -60_000_000_000i64..250_000_000_000, zone in -5999i16..=5999) {
            let value = DateTime { unix_seconds, zone_minutes: zone };
            prop_assert_eq!(read(&written(value)), Some(value));
        }
    }
}
