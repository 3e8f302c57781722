//! Consent that was raised until a date falls by the clock: from that millisecond on nothing passes before it is decided
//! again, and what the lower level does not cover is cut (law 6), whoever of the chain of parents raised it.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use postern::{
    lifecycle::{Choice, Command, Step, Until, WantedBasis},
    model::{LevelName, RequestId, Span},
};

use crate::{
    client::Ending,
    cuts::{IN_HAND, Run, begin, counting},
    world::*,
};

const HALF_AN_HOUR: i64 = 1_800_000;

fn raise(id: &str, level: &str) -> Command {
    Command::SetConsent {
        tenant: tenant(id),
        choice: Choice::Level(LevelName::new(level).unwrap()),
        until: Some(Until::For(Span::Millis(HALF_AN_HOUR))),
        expected: None,
    }
}

fn event_count(world: &World, name: &str) -> usize {
    let outcomes = world.of_kind("change.outcome");
    outcomes.iter().filter(|record| record["events"].to_string().contains(name)).count()
}

// GW-15
#[test]
fn a_raised_level_that_falls_cuts_what_the_lower_one_does_not_cover_at_that_instant() {
    for (run, below, raised, reason) in [
        (Run::Download, "block", "read_only", "consent_withdrawn"),
        (Run::FullDownload, "block", "full", "consent_withdrawn"),
        (Run::Events, "block", "full", "consent_withdrawn"),
        (Run::Upload, "read_only", "edit", "consent_lowered"),
        (Run::FullUpload, "read_only", "full", "consent_lowered"),
        (Run::Waiting, "block", "full", "consent_withdrawn"),
    ] {
        let (hooks, count) = counting();
        let clock = ManualClock::at(NOON);
        let world = World::of(Plan::default().hooks(hooks).clock(&clock));
        let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
        if below == "block" {
            world.done(World::consent("acme", below), &admin);
        }
        clock.advance(1);
        world.done(raise("acme", raised), &admin);
        world.start_session("acme", &agent);
        let mut client = begin(&world, run, &agent, &count);
        clock.advance(HALF_AN_HOUR - 1);
        std::thread::yield_now();
        clock.advance(1);
        let passed = count.load(SeqCst);
        let (how, _) = client.ending();
        assert_eq!(how, Ending::Reset, "{run:?}");
        let outcome = world.last_outcome();
        assert_eq!(outcome["cut_by"]["reason"], reason, "{run:?}: {outcome}");
        let after = count.load(SeqCst) - passed;
        assert!(after <= IN_HAND, "{run:?}: {after} bytes after the level fell");
        println!("{run:?} on a fall: {after} bytes in hand, cut by {}", outcome["cut_by"]);
        world.upstream.release();
        until("the fall is written down", || event_count(&world, "consent_fell") == 1);
        let refused = world.get("/t/acme/download?do=hello", &agent);
        assert_eq!(refused.status, if below == "block" { 403 } else { 200 });
        world.finish();
    }
}

// GW-15
#[test]
fn what_the_lower_level_covers_goes_on_and_a_parents_fall_reaches_its_children() {
    let (hooks, count) = counting();
    let clock = ManualClock::at(NOON);
    let world = Arc::new(World::of(Plan::default().hooks(hooks).clock(&clock)));
    let (admin, child) = (world.people.admin("acme"), world.people.admin("acme-eu"));
    let inherit = Command::SetConsent {
        tenant: tenant("acme-eu"),
        choice: Choice::Inherit,
        until: None,
        expected: None,
    };
    world.done(inherit, &child);
    world.done(raise("acme", "full"), &admin);
    let agent = world.people.staff("sam");
    world.start_session("acme-eu", &agent);
    let begin_at = |deed: &str| {
        let mut client = world.client();
        client.send(request("GET", &format!("/t/acme-eu/download?do={deed}"), &agent, ""));
        client.head();
        client
    };
    let (mut download, mut writing) = (begin_at("forever"), world.client());
    let head = request("POST", "/t/acme-eu/orders?do=sip", &agent, "Content-Length: 1000000000\r\n");
    let seen = world.upstream.seen().len();
    writing.send(head);
    until("it arrives", || world.upstream.seen().len() > seen);
    clock.advance(HALF_AN_HOUR);
    // The upload is not covered any more; the download is, and comes through the fall.
    assert_eq!(writing.read_out().0, Ending::Reset);
    let before = count.load(SeqCst);
    until("the download goes on", || {
        assert_eq!(download.more(), Ending::Open);
        count.load(SeqCst) > before + 1_000_000
    });
    let cuts =
        || -> Vec<_> { world.of_kind("access.outcome").into_iter().filter(|o| o["end"] == "cut").collect() };
    until("the outcome follows", || !cuts().is_empty());
    let cut = cuts();
    assert_eq!(cut.len(), 1);
    assert_eq!(cut[0]["cut_by"]["reason"], "consent_lowered");
    drop(download);
    until("the fall is written down", || event_count(&world, "consent_fell") == 1);
    Arc::into_inner(world).unwrap().finish();
}

// GW-14
#[test]
fn who_sets_the_consent_that_they_work_by_as_staff_is_cut_before_it_is_answered() {
    let (hooks, count) = counting();
    let world = World::of(Plan::default().hooks(hooks));
    let agent = world.people.staff("sam");
    world.start_session("acme", &agent);
    let mut client = begin(&world, Run::Download, &agent, &count);
    // The same person, by the tenant's own issuer: raising it is no way to more for themselves.
    world.done(World::consent("acme", "full"), &world.people.member("sam", "acme", &["admin"]));
    let answered = count.load(SeqCst);
    assert_eq!(client.ending().0, Ending::Reset);
    assert_eq!(count.load(SeqCst), answered, "bytes passed after the answer");
    let outcome = world.last_outcome();
    assert_eq!(outcome["cut_by"]["reason"], "self_granted", "{outcome}");
    let refused = world.get("/t/acme/orders", &agent);
    assert_eq!(refused.status, 403);
    assert!(String::from_utf8_lossy(&refused.body).contains("self_granted"));
    until("the auditor reads whose it was", || {
        world.of_kind("access.refused").iter().any(|record| record["detail"] == "given by app|sam")
    });
    world.finish();
}

// GW-16
#[test]
fn a_session_by_approval_reaches_no_further_and_is_cut_when_the_approved_time_is_over() {
    for run in [Run::Download, Run::Events, Run::Waiting] {
        let (hooks, count) = counting();
        let clock = ManualClock::at(NOON);
        let world = World::of(Plan::default().hooks(hooks).clock(&clock));
        let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
        world.done(World::consent("acme", "full"), &admin);
        world.done(Command::SetApproval { tenant: tenant("acme"), required: true, expected: None }, &admin);
        let request = RequestId::new("req_1").unwrap();
        let step = |step| Command::Request { tenant: tenant("acme"), request: request.clone(), step };
        let ask = Step::Ask {
            environment: production(),
            level: LevelName::new("full").unwrap(),
            reason: "a test looks around".to_owned(),
            ticket: None,
            lasts: None,
        };
        world.done(step(ask), &agent);
        let less = Step::Approve {
            level: Some(LevelName::new("read_only").unwrap()),
            lasts: Some(Span::Millis(HALF_AN_HOUR)),
            expected: None,
        };
        world.done(step(less), &admin);
        world.session_on("acme", &agent, WantedBasis::Request(request), None);
        let refused = world.ask("POST", "/t/acme/orders?do=hello", &agent, "Content-Length: 0\r\n");
        assert_eq!(refused.status, 403, "consent is at full, and reading was approved");
        let mut client = begin(&world, run, &agent, &count);
        clock.advance(HALF_AN_HOUR);
        let passed = count.load(SeqCst);
        assert_eq!(client.ending().0, Ending::Reset, "{run:?}");
        let outcome = world.last_outcome();
        assert_eq!(outcome["cut_by"]["reason"], "session_expired", "{run:?}: {outcome}");
        assert!(count.load(SeqCst) - passed <= IN_HAND, "{run:?}");
        world.upstream.release();
        world.finish();
    }
}
