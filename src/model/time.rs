//! Time as plain values: instants, spans, and calendar days and months in a tenant's zone.
//!
//! Never here: a clock. Whoever needs `now` is given it.

use std::fmt;

use chrono::{
    DateTime, Days, LocalResult, Months, NaiveDate, NaiveDateTime, Offset, SecondsFormat, TimeDelta,
    TimeZone, Utc,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// An instant: milliseconds since 1970-01-01T00:00:00Z. Written as RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The last instant that RFC 3339 can write: the end of the year 9999.
const LAST_MS: i64 = 253_402_300_799_999;

impl Timestamp {
    /// The end of time as far as RFC 3339 goes.
    pub const MAX: Timestamp = Timestamp(LAST_MS);

    /// From milliseconds since 1970 UTC; values outside of the years 1970 to 9999 are brought to the nearer end.
    pub const fn from_ms(ms: i64) -> Self {
        if ms < 0 {
            Self(0)
        } else if ms > LAST_MS {
            Self(LAST_MS)
        } else {
            Self(ms)
        }
    }

    /// Milliseconds since 1970 UTC.
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// This instant moved by so many milliseconds, staying within the years 1970 to 9999.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self::from_ms(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this instant; negative when this one comes first.
    pub const fn ms_since(self, earlier: Timestamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads an RFC 3339 date and time with its offset; `None` when it is none, or lies outside of 1970 to 9999.
    pub fn parse(text: &str) -> Option<Self> {
        let ms = DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis();
        (0..=LAST_MS).contains(&ms).then_some(Self(ms))
    }

    fn utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.utc().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::parse(&text).ok_or_else(|| {
            D::Error::custom(format!("`{text}` is no RFC 3339 date and time between 1970 and 9999"))
        })
    }
}

/// A tenant's time zone. An unknown name is UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(chrono_tz::Tz);

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Zone = Zone(chrono_tz::UTC);

    /// The zone of an IANA name, e.g. `Europe/Berlin`; `None` when this build knows no such zone.
    pub fn named(name: &str) -> Option<Self> {
        name.parse().ok().map(Self)
    }

    /// The IANA name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// When a local date begins here: the earliest instant at which the local calendar shows that date or a later
    /// one, also where midnight, or the whole day, does not exist.
    pub fn begin_of(self, date: NaiveDate) -> Timestamp {
        let midnight = date.and_time(chrono::NaiveTime::MIN);
        match self.0.from_local_datetime(&midnight) {
            LocalResult::Single(at) => Timestamp::from_ms(at.timestamp_millis()),
            LocalResult::Ambiguous(a, b) => {
                Timestamp::from_ms(a.timestamp_millis().min(b.timestamp_millis()))
            }
            LocalResult::None => Timestamp::from_ms(self.leap_over(midnight)),
        }
    }

    /// The same local wall time `days` calendar days later. A local time that is missing or doubled takes the earlier
    /// instant, yet never one at or before `start`.
    pub fn after_days(self, start: Timestamp, days: u32) -> Timestamp {
        let target = self.local(start).checked_add_days(Days::new(u64::from(days)));
        target.map_or(Timestamp::MAX, |target| self.instant_of(target, start))
    }

    /// The same day of the month and local wall time `months` calendar months later, or the last day where that month
    /// lacks it. A local time that is missing or doubled is taken as for days.
    pub fn after_months(self, start: Timestamp, months: u32) -> Timestamp {
        let target = self.local(start).checked_add_months(Months::new(months));
        target.map_or(Timestamp::MAX, |target| self.instant_of(target, start))
    }

    fn local(self, at: Timestamp) -> NaiveDateTime {
        self.0.from_utc_datetime(&at.utc().naive_utc()).naive_local()
    }

    /// The instant of a local time: the earlier one where it is missing or doubled, yet none at or before `start`.
    fn instant_of(self, target: NaiveDateTime, start: Timestamp) -> Timestamp {
        match self.0.from_local_datetime(&target) {
            LocalResult::Single(at) => Timestamp::from_ms(at.timestamp_millis()),
            LocalResult::Ambiguous(a, b) => {
                Timestamp::from_ms(a.timestamp_millis().min(b.timestamp_millis()))
            }
            LocalResult::None => {
                let leap = self.leap_over(target);
                let offset = self.offset_ms(leap);
                let earlier = target.and_utc().timestamp_millis().saturating_sub(offset);
                Timestamp::from_ms(if earlier > start.ms() { earlier } else { leap })
            }
        }
    }

    fn offset_ms(self, at_ms: i64) -> i64 {
        let utc = Timestamp::from_ms(at_ms).utc().naive_utc();
        i64::from(self.0.offset_from_utc_datetime(&utc).fix().local_minus_utc()) * 1000
    }

    /// The instant at which the local clock jumps over `missing`, a local time that does not exist.
    fn leap_over(self, missing: NaiveDateTime) -> i64 {
        let as_utc = missing.and_utc().timestamp_millis();
        let day = TimeDelta::hours(26).num_milliseconds();
        let (mut before, mut after) = (as_utc.saturating_sub(day), as_utc.saturating_add(day));
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if middle.saturating_add(self.offset_ms(middle)) > as_utc {
                after = middle
            } else {
                before = middle
            }
        }
        after
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Zone::named(&String::deserialize(deserializer)?).unwrap_or(Zone::UTC))
    }
}

/// How long something lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// So many milliseconds, whatever the calendar says.
    Millis(i64),
    /// So many calendar days: the same local wall time, in the tenant's zone.
    CalendarDays(u32),
    /// So many calendar months: the same day and local wall time, or the last day of a month that lacks it.
    CalendarMonths(u32),
}

/// The longest span that is read: some 285 years, so that sums stay within bounds.
const LONGEST_MS: i64 = 9_000_000_000_000;

/// As [`Span::parse`] reads it: `1d 12h`, `90ms`, `5 calendar days`, `1 calendar month`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = match self {
            Span::CalendarDays(1) => return f.write_str("1 calendar day"),
            Span::CalendarDays(days) => return write!(f, "{days} calendar days"),
            Span::CalendarMonths(1) => return f.write_str("1 calendar month"),
            Span::CalendarMonths(months) => return write!(f, "{months} calendar months"),
            Span::Millis(ms) if *ms <= 0 => return write!(f, "{ms}ms"),
            Span::Millis(ms) => *ms,
        };
        let mut between = "";
        for (unit, name) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")] {
            let count = rest / unit;
            rest %= unit;
            if count > 0 {
                write!(f, "{between}{count}{name}")?;
                between = " ";
            }
        }
        Ok(())
    }
}

impl Span {
    /// Reads a span as people write it: `8h`, `5d` (of 24 hours each), `1h 30m`, `5 calendar days`, or `1 calendar
    /// month`; `None` for anything else. A number without a unit is refused: nobody should have to guess whether `60` is seconds.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((days, "calendar days" | "calendar day")) = number(text) {
            let days = u32::try_from(days).ok()?;
            return (i64::from(days) * 86_400_000 <= LONGEST_MS).then_some(Span::CalendarDays(days));
        }
        if let Some((months, "calendar months" | "calendar month")) = number(text) {
            let months = u32::try_from(months).ok()?;
            let most = LONGEST_MS / (31 * 86_400_000);
            return (i64::from(months) <= most).then_some(Span::CalendarMonths(months));
        }
        let (mut rest, mut sum, mut last) = (text, 0i64, i64::MAX);
        while !rest.is_empty() {
            let (count, behind) = number(rest)?;
            let end = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
            let (unit, behind) = behind.split_at_checked(end)?;
            let unit = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" | "min" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return None,
            };
            // `30m 1h` and `5s 5s` are slips.
            if unit >= last {
                return None;
            }
            last = unit;
            sum = sum.checked_add(count.checked_mul(unit)?)?;
            rest = behind.trim_start_matches(' ');
        }
        (last != i64::MAX && sum <= LONGEST_MS).then_some(Span::Millis(sum))
    }

    /// When something that starts at `start` ends.
    pub fn end(self, start: Timestamp, zone: Zone) -> Timestamp {
        match self {
            Span::Millis(ms) => start.plus_ms(ms),
            Span::CalendarDays(days) => zone.after_days(start, days),
            Span::CalendarMonths(months) => zone.after_months(start, months),
        }
    }
}

fn number(text: &str) -> Option<(i64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest.trim_start_matches(' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_they_are_read() {
        for text in [
            "8h",
            "1h 30m",
            "1d 12h",
            "90ms",
            "2m 5s",
            "5 calendar days",
            "1 calendar day",
            "1 calendar month",
            "18 calendar months",
        ] {
            assert_eq!(Span::parse(text).map(|span| span.to_string()).as_deref(), Some(text));
        }
        assert_eq!(Span::Millis(0).to_string(), "0ms");
    }

    #[test]
    fn spans_are_read_in_one_way_only() {
        for (text, span) in [
            ("8h", Span::Millis(28_800_000)),
            ("5d", Span::Millis(432_000_000)),
            ("1h 30m", Span::Millis(5_400_000)),
            ("5 calendar days", Span::CalendarDays(5)),
            ("1 calendar day", Span::CalendarDays(1)),
            ("1 calendar month", Span::CalendarMonths(1)),
            ("2calendar months", Span::CalendarMonths(2)),
        ] {
            assert_eq!(Span::parse(text), Some(span), "{text}");
        }
        for text in [
            "",
            " ",
            "5",
            "d",
            "-1d",
            "+1d",
            "1.5h",
            "1e3s",
            "5 days",
            "1w",
            "30m 1h",
            "5s 5s",
            " 5s",
            "5s x",
            "5D",
            "99999999999999999999s",
            "9223372036854775807d",
            "4294967296 calendar days",
            "4294967295 calendar months",
            "1 month",
            "1 calendar months x",
            "200000d",
            "５d",
        ] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn five_calendar_days_keep_the_wall_time_across_both_changes() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        assert_eq!(berlin.after_days(at("2026-03-27T12:00:00+01:00"), 5), at("2026-04-01T12:00:00+02:00"));
        assert_eq!(berlin.after_days(at("2026-10-23T12:00:00+02:00"), 5), at("2026-10-28T12:00:00+01:00"));
    }

    #[test]
    fn a_missing_or_doubled_local_time_takes_the_earlier_instant() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        assert_eq!(berlin.after_days(at("2026-03-24T02:30:00+01:00"), 5), at("2026-03-29T00:30:00Z"));
        assert_eq!(berlin.after_days(at("2026-10-20T02:30:00+02:00"), 5), at("2026-10-25T00:30:00Z"));
    }

    // PRA-14
    #[test]
    fn a_calendar_month_keeps_day_and_time_or_takes_the_last_day() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        for (start, months, end) in [
            ("2026-05-12T09:30:00+02:00", 1, "2026-06-12T09:30:00+02:00"),
            // Over a change of the clocks, either way.
            ("2026-03-15T09:30:00+01:00", 1, "2026-04-15T09:30:00+02:00"),
            ("2026-10-15T09:30:00+02:00", 1, "2026-11-15T09:30:00+01:00"),
            // Where the day is missing.
            ("2026-01-31T23:59:00+01:00", 1, "2026-02-28T23:59:00+01:00"),
            ("2028-01-30T23:59:00+01:00", 1, "2028-02-29T23:59:00+01:00"),
            ("2026-08-31T00:00:00+02:00", 1, "2026-09-30T00:00:00+02:00"),
            ("2026-12-31T12:00:00+01:00", 2, "2027-02-28T12:00:00+01:00"),
            // Where the hour is missing, or there twice.
            ("2026-02-28T02:30:00+01:00", 1, "2026-03-28T02:30:00+01:00"),
            ("2026-03-01T02:30:00+01:00", 1, "2026-04-01T02:30:00+02:00"),
            ("2027-02-28T02:30:00+01:00", 1, "2027-03-28T00:30:00Z"),
            ("2026-09-25T02:30:00+02:00", 1, "2026-10-25T00:30:00Z"),
        ] {
            assert_eq!(berlin.after_months(at(start), months), at(end), "{start}");
        }
        // The day of the tenant's zone counts, not that of UTC.
        let auckland = Zone::named("Pacific/Auckland").unwrap();
        assert_eq!(auckland.after_months(at("2026-01-30T20:00:00Z"), 1), at("2026-02-28T09:00:00+13:00"));
        assert_eq!(berlin.after_months(at("9999-12-15T00:00:00Z"), 1), Timestamp::MAX);
    }

    #[test]
    fn a_day_that_does_not_exist_neither_panics_nor_ends_before_it_starts() {
        let apia = Zone::named("Pacific/Apia").unwrap();
        let start = at("2011-12-29T12:00:00-10:00");
        assert_eq!(apia.after_days(start, 1), at("2011-12-30T10:00:00Z"));
        assert_eq!(apia.begin_of(NaiveDate::from_ymd_opt(2011, 12, 30).unwrap()), at("2011-12-30T10:00:00Z"));
    }

    #[test]
    fn a_date_begins_where_midnight_is_missing() {
        let sao_paulo = Zone::named("America/Sao_Paulo").unwrap();
        assert_eq!(
            sao_paulo.begin_of(NaiveDate::from_ymd_opt(2018, 11, 4).unwrap()),
            at("2018-11-04T03:00:00Z")
        );
    }

    #[test]
    fn timestamps_are_written_in_utc_with_milliseconds() {
        assert_eq!(at("2026-01-02T03:04:05.678+02:00").to_string(), "2026-01-02T01:04:05.678Z");
        assert_eq!(Timestamp::parse("1969-12-31T23:59:59Z"), None);
        assert_eq!(Timestamp::from_ms(i64::MAX), Timestamp::MAX);
    }

    proptest::proptest! {
        #[test]
        fn calendar_days_agree_with_an_independent_library(
            ms in 0i64..4_000_000_000_000, days in 0u32..400,
            zone in proptest::sample::select(vec![
                "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Tehran", "UTC",
                "America/Santiago", "Pacific/Auckland", "Asia/Beirut", "Antarctica/Troll", "America/Havana",
            ]),
        ) {
            use jiff::ToSpan as _;
            let ours = Zone::named(zone).unwrap().after_days(Timestamp::from_ms(ms), days).ms();
            let theirs = jiff::Timestamp::from_millisecond(ms).unwrap().to_zoned(jiff::tz::TimeZone::get(zone).unwrap());
            let date_time = theirs.datetime().checked_add(i64::from(days).days()).unwrap();
            let theirs = theirs.time_zone().to_ambiguous_zoned(date_time).earlier().unwrap().timestamp().as_millisecond();
            // Where days is 0 and the local time is doubled, the later instant may come back as the earlier one.
            proptest::prop_assert_eq!(ours, theirs);
        }

        // PRA-14
        #[test]
        fn calendar_months_agree_with_an_independent_library(
            ms in 0i64..4_000_000_000_000, months in 0u32..30,
            zone in proptest::sample::select(vec![
                "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Tehran", "UTC",
                "America/Santiago", "Pacific/Auckland", "Asia/Beirut", "Antarctica/Troll", "America/Havana",
            ]),
        ) {
            use jiff::ToSpan as _;
            let ours = Zone::named(zone).unwrap().after_months(Timestamp::from_ms(ms), months).ms();
            let theirs = jiff::Timestamp::from_millisecond(ms).unwrap().to_zoned(jiff::tz::TimeZone::get(zone).unwrap());
            let date_time = theirs.datetime().checked_add(i64::from(months).months()).unwrap();
            let theirs = theirs.time_zone().to_ambiguous_zoned(date_time).earlier().unwrap().timestamp().as_millisecond();
            proptest::prop_assert_eq!(ours, theirs);
        }
    }
}
