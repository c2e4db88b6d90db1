//! Moments as an operator reads and writes them. All in UTC: a server has no home town.

use std::time::Duration;

use crate::types::date::{Date, DateTime};

/// `2026-01-02T03:04:05Z`
pub fn written(unix_secs: i64) -> String {
    let (date, second) = DateTime::utc(unix_secs).clock();
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", date.year(), date.month(), date.day())
}

/// Reads a moment: a day (`2026-01-02`), a day with a time (`2026-01-02T03:04` and on), or how long ago it was (`90m`,
/// `12h`, `3d`). In seconds since 1970.
pub fn parse(text: &str, now_secs: i64) -> Option<i64> {
    if let Some(ago) = ago(text) {
        return Some(now_secs.saturating_sub(i64::try_from(ago.as_secs()).ok()?));
    }
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let [year, month, day] = numbers(date, '-')?[..] else { return None };
    let date = Date::new(year, month.try_into().ok()?, day.try_into().ok()?)?;
    let clock = numbers(time.strip_suffix('Z').unwrap_or(time), ':')?;
    let (hour, minute, second) = match clock[..] {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    let is_time = hour < 24 && minute < 60 && second < 60;
    let second_of_day = u32::from(hour) * 3600 + u32::from(minute) * 60 + u32::from(second);
    is_time.then(|| DateTime::on_clock(date, second_of_day, 0).unix_seconds)
}

fn ago(text: &str) -> Option<Duration> {
    const UNITS: [(char, u64); 5] = [('w', 604_800), ('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];
    let (letter, each) = UNITS.into_iter().find(|(letter, _)| text.ends_with(*letter))?;
    let digits = text.strip_suffix(letter).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    let count: u64 = digits.parse().ok()?;
    count.checked_mul(each).map(Duration::from_secs)
}

/// Digits only, between separators.
fn numbers(text: &str, separator: char) -> Option<Vec<u16>> {
    let number = |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?;
    text.split(separator).map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now = 1_800_000_000;
        let day = parse("2026-01-02", now).expect("a day");
        assert_eq!(written(day), "2026-01-02T00:00:00Z");
        for same in ["2026-01-02T00:00", "2026-01-02 00:00:00", "2026-01-02T00:00Z"] {
            assert_eq!(parse(same, now), Some(day), "{same}");
        }
        assert_eq!(parse("2026-01-02T03:04:05", now), Some(day + 11_045));
        assert_eq!(parse("2h", now), Some(now - 7200));
        assert_eq!(parse("3d", now), Some(now - 3 * 86_400));
        for bad in ["", "yesterday", "2026-02-30", "2026-01-02T25:00", "2026-01", "-3d", "2026-01-02T03", "h", "+1h"] {
            assert_eq!(parse(bad, now), None, "{bad}");
        }
    }
}
