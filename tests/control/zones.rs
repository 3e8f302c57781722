//! Calendar days where the clocks change: a day lasts until the same local time, whichever way they are set, and nobody is
//! inside a moment longer.

use postern::model::Timestamp;
use serde_json::json;

use super::support::{DAY, Wish, World};

/// Zone, start, the same local time five days later, and by how many minutes that is more than five times 24 hours.
const CHANGES: [(&str, &str, &str, i64); 14] = [
    ("Europe/Berlin", "2026-03-27T12:00:00+01:00", "2026-04-01T12:00:00+02:00", -60),
    ("Europe/Berlin", "2026-10-23T12:00:00+02:00", "2026-10-28T12:00:00+01:00", 60),
    ("America/New_York", "2027-03-12T09:30:00-05:00", "2027-03-17T09:30:00-04:00", -60),
    ("America/New_York", "2026-10-30T09:30:00-04:00", "2026-11-04T09:30:00-05:00", 60),
    // South of the equator, and at midnight.
    ("America/Santiago", "2026-09-03T18:00:00-04:00", "2026-09-08T18:00:00-03:00", -60),
    ("America/Santiago", "2026-04-02T18:00:00-03:00", "2026-04-07T18:00:00-04:00", 60),
    ("Pacific/Auckland", "2026-09-24T23:15:00+12:00", "2026-09-29T23:15:00+13:00", -60),
    ("Pacific/Auckland", "2026-04-01T23:15:00+13:00", "2026-04-06T23:15:00+12:00", 60),
    // By half an hour, and by two.
    ("Australia/Lord_Howe", "2026-10-01T08:00:00+10:30", "2026-10-06T08:00:00+11:00", -30),
    ("Australia/Lord_Howe", "2026-04-02T08:00:00+11:00", "2026-04-07T08:00:00+10:30", 30),
    ("Antarctica/Troll", "2026-03-27T12:00:00+00:00", "2026-04-01T12:00:00+02:00", -120),
    ("Antarctica/Troll", "2026-10-23T12:00:00+02:00", "2026-10-28T12:00:00+00:00", 120),
    // Where midnight itself is missing, or there twice.
    ("Asia/Beirut", "2027-03-25T07:00:00+02:00", "2027-03-30T07:00:00+03:00", -60),
    ("Asia/Beirut", "2026-10-22T07:00:00+03:00", "2026-10-27T07:00:00+02:00", 60),
];

// P17-04, P17-23
#[tokio::test]
async fn sessions_and_grants_of_calendar_days_end_at_the_same_local_time_whichever_way_the_clocks_are_set() {
    for (zone, start, end, more) in CHANGES {
        // Whoever granted is remembered for longer than that: what ends here ends by its own time.
        let world = World::with(Wish { grantor_memory_ms: 30 * DAY, ..Wish::default() }).await;
        world.clock.set(start);
        world.register("there", None, zone, &["production"]).await;
        let at = |text: &str| Timestamp::parse(text).unwrap();
        assert_eq!(at(end).ms_since(at(start)), (5 * 24 * 60 + more) * 60_000, "{zone} {start}");
        let written = at(end).to_string();

        let anna = world.agent("anna");
        let session = world.start("there", &anna).await.is(201).body["session"].clone();
        assert_eq!(session["ends"]["at"], written.as_str(), "{zone} {start}");
        let terms = |of: &str| json!({"environment": "production", "to": "support", "role": "viewer", "scope": "everything", "for": of});
        let path = "/v1/tenants/there/grants";
        let admin = world.admin("there");
        let granted = world.put("POST", path, terms("5 calendar days"), &admin).await.is(201).body;
        assert_eq!(granted["grant"]["until"], written.as_str(), "{zone} {start}");
        // Days of 24 hours are what they are called.
        let hours = world.put("POST", path, terms("5d"), &admin).await.is(201).body;
        assert_eq!(hours["grant"]["until"], at(start).plus_ms(5 * DAY).to_string());
        let grant = granted["grant"]["id"].as_str().unwrap().to_owned();
        world.enter_by("there", &grant, &world.agent("ben")).await.is(201);

        world.clock.set(end);
        world.clock.advance(-1);
        assert_eq!(world.inside("there").await.len(), 2, "{zone} {start}: to the last moment");
        world.clock.advance(1);
        assert_eq!(world.inside("there").await, Vec::<String>::new(), "{zone} {start}: and no longer");
        world.engine.sweep_due().await;
        let events: Vec<_> = world
            .records()
            .iter()
            .filter(|record| record["kind"] == "change.outcome")
            .flat_map(|record| record["events"].as_array().cloned().unwrap_or_default())
            .filter(|event| {
                event["session"] == session["id"] && event["event"] == "session_ended"
                    || event["grant"] == grant.as_str() && event["event"] == "grant_ended"
            })
            .map(|event| event["at"].clone())
            .collect();
        assert_eq!(events, [json!(written), json!(written)], "{zone} {start}");
    }
}

/// A date begins with its first moment there, also where there is no midnight, or two.
// P17-22
#[tokio::test]
async fn a_grant_until_a_date_ends_with_the_first_moment_of_that_date_there() {
    for (zone, date, first) in [
        ("Europe/Berlin", "2026-03-30", "2026-03-30T00:00:00+02:00"),
        ("America/New_York", "2026-11-02", "2026-11-02T00:00:00-05:00"),
        ("Pacific/Auckland", "2026-04-05", "2026-04-05T00:00:00+13:00"),
        ("America/Santiago", "2026-09-06", "2026-09-06T01:00:00-03:00"),
        ("Africa/Cairo", "2026-04-24", "2026-04-24T01:00:00+03:00"),
        ("Asia/Beirut", "2027-03-28", "2027-03-28T01:00:00+03:00"),
        // The hour before midnight comes twice: the date begins after the second.
        ("America/Santiago", "2026-04-05", "2026-04-05T00:00:00-04:00"),
        ("Asia/Beirut", "2026-10-25", "2026-10-25T00:00:00+02:00"),
        // Midnight itself comes twice: the date begins with the first, and does not end again.
        ("America/Havana", "2026-11-01", "2026-11-01T00:00:00-04:00"),
    ] {
        let world = World::new().await;
        world.register("there", None, zone, &["production"]).await;
        let body = json!({"environment": "production", "to": "support", "role": "viewer", "scope": "everything", "date": date});
        if date.starts_with("2027") {
            world.clock.set("2027-01-01T00:00:00Z");
        }
        let admin = world.admin("there");
        let granted = world.put("POST", "/v1/tenants/there/grants", body, &admin).await.is(201).body;
        let first = Timestamp::parse(first).unwrap().to_string();
        assert_eq!(granted["grant"]["until"], first.as_str(), "{zone} {date}");
    }
}
