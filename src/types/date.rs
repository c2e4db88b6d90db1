//! Calendar dates and moments, with our own arithmetic of the proleptic Gregorian calendar.
//! How they are written lives in `wire/date.rs`.

/// A day of the calendar; always one that exists. Ordered as time goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// `None` unless the day exists: year 0 to 9999, month 1 to 12, 29 February only in leap years.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Date> {
        let exists = year <= 9999 && (1..=12).contains(&month) && day >= 1 && day <= days_of_month(year, month);
        exists.then_some(Date { year, month, day })
    }

    pub fn year(self) -> u16 {
        self.year
    }

    /// 1 to 12
    pub fn month(self) -> u8 {
        self.month
    }

    /// 1 to 31
    pub fn day(self) -> u8 {
        self.day
    }

    /// Days since 1 January 1970; negative before.
    pub fn days_since_1970(self) -> i64 {
        // Years begin in March here, so that the leap day is the last of its year; an era is 400 years.
        let year = i64::from(self.year) - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let month_from_march = (i64::from(self.month) + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(self.day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        era * DAYS_OF_ERA + day_of_era - DAYS_TO_1970
    }

    /// The day that many days after 1 January 1970; days outside year 0 to 9999 give the nearest inside.
    pub fn from_days_since_1970(days: i64) -> Date {
        let days = days.clamp(FIRST_DAY, LAST_DAY) + DAYS_TO_1970;
        let era = days.div_euclid(DAYS_OF_ERA);
        let day_of_era = days.rem_euclid(DAYS_OF_ERA);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = (month_from_march + 2) % 12 + 1;
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        Date { year: year as u16, month: month as u8, day: day as u8 }
    }
}

/// Days in 400 years.
const DAYS_OF_ERA: i64 = 146_097;
/// From 1 March of year 0 to 1 January 1970.
const DAYS_TO_1970: i64 = 719_468;
/// 1 January of year 0, and 31 December 9999, as days since 1970.
const FIRST_DAY: i64 = -719_528;
const LAST_DAY: i64 = 2_932_896;

fn days_of_month(year: u16, month: u8) -> u8 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A moment, and the zone of the clock it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime {
    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub unix_seconds: i64,
    /// Minutes east of UTC.
    pub zone_minutes: i16,
}

impl DateTime {
    /// This moment on a clock in UTC.
    pub fn utc(unix_seconds: i64) -> DateTime {
        DateTime { unix_seconds, zone_minutes: 0 }
    }

    /// The moment when a clock `zone_minutes` east of UTC shows `seconds_of_day` on `date`.
    pub fn on_clock(date: Date, seconds_of_day: u32, zone_minutes: i16) -> DateTime {
        let local = date.days_since_1970() * 86_400 + i64::from(seconds_of_day);
        DateTime { unix_seconds: local - i64::from(zone_minutes) * 60, zone_minutes }
    }

    /// The date and the second of the day that the clock in its zone shows.
    pub fn clock(self) -> (Date, u32) {
        let local = self.unix_seconds.saturating_add(i64::from(self.zone_minutes) * 60);
        (Date::from_days_since_1970(local.div_euclid(86_400)), local.rem_euclid(86_400) as u32)
    }

    /// The date its own clock shows: what SEARCH compares, "disregarding time and timezone" (RFC 3501 §6.4.4).
    pub fn date(self) -> Date {
        self.clock().0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_ten_millennia_comes_back() {
        let mut days = FIRST_DAY;
        for year in 0..=9999u16 {
            for month in 1..=12 {
                for day in 1..=31 {
                    let Some(date) = Date::new(year, month, day) else { continue };
                    assert_eq!(date.days_since_1970(), days);
                    assert_eq!(Date::from_days_since_1970(days), date);
                    days += 1;
                }
            }
        }
        assert_eq!(days, LAST_DAY + 1);
    }

    #[test]
    fn known_days() {
        let days = |y, m, d| Date::new(y, m, d).map(Date::days_since_1970);
        assert_eq!(days(1970, 1, 1), Some(0));
        assert_eq!(days(2000, 3, 1), Some(11_017));
        assert_eq!(days(1900, 2, 29), None);
        assert_eq!(days(2000, 2, 29), Some(11_016));
        assert_eq!(days(2023, 4, 31), None);
        assert_eq!(days(2023, 0, 1), None);
    }

    #[test]
    fn a_moment_reads_differently_on_two_clocks() {
        let date = Date::new(1996, 7, 17).expect("a day");
        let moment = DateTime::on_clock(date, 2 * 3600 + 44 * 60 + 25, -7 * 60);
        assert_eq!(moment.unix_seconds, 837_596_665);
        assert_eq!(moment.clock(), (date, 9865));
        assert_eq!(DateTime::on_clock(date, 0, 60).date(), date);
        assert_eq!(DateTime::utc(DateTime::on_clock(date, 0, 60).unix_seconds).date().day(), 16);
    }

    #[test]
    fn far_away_moments_stay_inside_the_calendar() {
        assert_eq!(DateTime::utc(i64::MAX).date().year(), 9999);
        assert_eq!(DateTime { unix_seconds: i64::MIN, zone_minutes: -5999 }.date().year(), 0);
    }
}
