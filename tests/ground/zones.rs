//! Local times that are missing or there twice, in zones that set their clocks at different hours, by different amounts, and in
//! both directions: never later than what was meant, and never at or before the start.

use postern::model::{Span, Timestamp, Zone};

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

// P17-23
#[test]
fn a_local_time_that_is_missing_or_doubled_takes_the_earlier_instant_in_every_zone() {
    for (name, start, days, end) in [
        ("Europe/Berlin", "2026-03-24T02:30:00+01:00", 5, "2026-03-29T00:30:00Z"),
        ("Europe/Berlin", "2026-10-20T02:30:00+02:00", 5, "2026-10-25T00:30:00Z"),
        ("America/New_York", "2026-03-03T02:30:00-05:00", 5, "2026-03-08T06:30:00Z"),
        ("America/New_York", "2026-10-27T01:30:00-04:00", 5, "2026-11-01T05:30:00Z"),
        ("America/Santiago", "2026-09-01T00:30:00-04:00", 5, "2026-09-06T03:30:00Z"),
        ("America/Santiago", "2026-03-30T23:30:00-03:00", 5, "2026-04-05T02:30:00Z"),
        ("Australia/Lord_Howe", "2026-09-29T02:15:00+10:30", 5, "2026-10-03T15:15:00Z"),
        ("Australia/Lord_Howe", "2026-03-31T01:45:00+11:00", 5, "2026-04-04T14:45:00Z"),
        ("Pacific/Auckland", "2026-09-22T02:30:00+12:00", 5, "2026-09-26T13:30:00Z"),
        ("Pacific/Auckland", "2026-03-31T02:30:00+13:00", 5, "2026-04-04T13:30:00Z"),
        ("Africa/Casablanca", "2026-03-17T02:30:00+00:00", 5, "2026-03-22T01:30:00Z"),
        ("Africa/Casablanca", "2026-02-10T02:30:00+01:00", 5, "2026-02-15T01:30:00Z"),
        ("Asia/Beirut", "2026-03-24T00:30:00+02:00", 5, "2026-03-28T21:30:00Z"),
        ("Asia/Beirut", "2026-10-19T23:30:00+03:00", 5, "2026-10-24T20:30:00Z"),
        // The day before: less than the two hours that are skipped lie between.
        ("Antarctica/Troll", "2026-03-28T01:30:00+00:00", 1, "2026-03-28T23:30:00Z"),
        ("Antarctica/Troll", "2026-10-24T01:30:00+02:00", 1, "2026-10-24T23:30:00Z"),
    ] {
        let zone = Zone::named(name).unwrap();
        let end = at(end);
        assert_eq!(Span::CalendarDays(days).end(at(start), zone), end, "{name} {start}");
        assert!(at(start) < end);
    }
}
