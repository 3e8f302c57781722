//! The end reaches open connections (law 6): from the moment that a change is answered, the gateway takes and hands on
//! no byte. What kernels held by then is printed apart.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use postern::{
    engine::{Changed, hooks::Hooks},
    lifecycle::{Command, Until, WantedBasis},
    model::{SessionId, Span},
};
use serde_json::Value;

use crate::{
    client::{Client, Ending},
    world::*,
};

/// Counts every byte of staff exchanges that passes the gateway.
pub fn counting() -> (Hooks, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&count);
    let bytes = Arc::new(move |_: &postern::model::ExchangeId, bytes: usize| {
        seen.fetch_add(bytes as u64, SeqCst);
    });
    (Hooks { at: None, bytes: Some(bytes), ..Hooks::default() }, count)
}

/// Bytes that may be in hand when the clock moves: one hand-over may have looked at it just before (law 7), and none is larger.
pub const IN_HAND: u64 = 64 << 10;

/// What kind of exchange is under way when the end comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    Download,
    /// The client reads nothing, so every buffer on the way is full.
    FullDownload,
    Events,
    Upload,
    /// The application reads nothing.
    FullUpload,
    /// Admitted, and the application has not answered.
    Waiting,
}

const RUNS: [Run; 6] =
    [Run::Download, Run::FullDownload, Run::Events, Run::Upload, Run::FullUpload, Run::Waiting];

/// An exchange under way, from the client's end.
pub struct Under {
    pub client: Client,
    /// Writes for as long as it can, and tells how that ended: an error of a socket is told once, to whoever asks first.
    pub writer: Option<std::thread::JoinHandle<std::io::ErrorKind>>,
}

impl Under {
    /// Reads to the end; how it ended, and what the kernels still held.
    pub fn ending(&mut self) -> (Ending, u64) {
        let (how, held) = self.client.read_out();
        let written = self.writer.take().map(|writer| writer.join().unwrap());
        let reset = written == Some(std::io::ErrorKind::ConnectionReset);
        (if reset { Ending::Reset } else { how }, held)
    }
}

/// Begins one, and comes back when bytes flow, or no more can.
pub fn begin(world: &World, run: Run, token: &str, count: &AtomicU64) -> Under {
    let mut writer = None;
    let mut client = match run {
        Run::FullDownload => Client::narrow(world.gateway().address()),
        _ => world.client(),
    };
    let before = count.load(SeqCst);
    let flowing = |least: u64| until("bytes flow", || count.load(SeqCst) >= before + least);
    match run {
        Run::Download => {
            client.send(request("GET", "/t/acme/download?do=forever", token, ""));
            client.head();
            flowing(100_000);
        }
        Run::FullDownload => {
            client.send(request("GET", "/t/acme/download?do=forever", token, ""));
            stands_still(count, before + 10_000);
        }
        Run::Events => {
            client.send(request("GET", "/t/acme/download?do=events", token, ""));
            client.head();
            while client.inbox.len() < 13 {
                assert_eq!(client.more(), Ending::Open);
            }
            // A hand-over is counted when it is done, which may be after the client has seen it.
            stands_still(count, before + 13);
        }
        Run::Upload | Run::FullUpload => {
            let deed = if run == Run::Upload { "sip" } else { "stall" };
            let head = request(
                "POST",
                &format!("/t/acme/orders?do={deed}"),
                token,
                "Content-Length: 1000000000\r\n",
            );
            client.send(head);
            let mut stream = client.stream.try_clone().unwrap();
            writer = Some(std::thread::spawn(move || {
                let piece = vec![7u8; 16 << 10];
                loop {
                    if let Err(fault) = std::io::Write::write_all(&mut stream, &piece) {
                        return fault.kind();
                    }
                }
            }));
            if run == Run::Upload { flowing(100_000) } else { stands_still(count, before + 10_000) }
        }
        Run::Waiting => {
            let seen = world.upstream.seen().len();
            client.send(request("GET", "/t/acme/orders?do=stall", token, ""));
            until("it arrives", || world.upstream.seen().len() > seen);
        }
    }
    Under { client, writer }
}

/// Waits until so much has passed and then nothing more does for a while: every buffer is full.
pub fn stands_still(count: &AtomicU64, least: u64) {
    let deadline = Instant::now() + crate::client::PATIENCE;
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let now = count.load(SeqCst);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if now >= least && since.elapsed() > Duration::from_millis(60) {
            return;
        }
        assert!(Instant::now() < deadline, "the buffers never fill: {now}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn full_world(plan: Plan) -> (World, String, String) {
    let world = World::of(plan);
    let admin = world.people.admin("acme");
    world.done(World::consent("acme", "full"), &admin);
    let agent = world.people.staff("sam");
    (world, admin, agent)
}

fn outcome_of_last(world: &World) -> Value {
    world.last_outcome()
}

/// The heart: begin, end, and see that nothing passed after the answer, on either side.
fn cut_by(world: &World, run: Run, agent: &str, count: &AtomicU64, reason: &str, end: impl FnOnce(&World)) {
    let resets = world.upstream.notes.resets.load(SeqCst) + world.upstream.notes.ended.load(SeqCst);
    let mut client = begin(world, run, agent, count);
    end(world);
    let answered = count.load(SeqCst);
    let (how, held) = client.ending();
    assert_eq!(how, Ending::Reset, "{run:?}: connections are reset, not drained");
    let outcome = outcome_of_last(world);
    assert_eq!(count.load(SeqCst), answered, "{run:?}: bytes passed after the answer");
    assert_eq!(outcome["end"], "cut", "{run:?}: {outcome}");
    assert_eq!(outcome["cut_by"]["reason"], reason, "{run:?}: {outcome}");
    if run == Run::FullDownload {
        let sent = outcome["sent"].as_u64().unwrap();
        assert!(sent < 200_000, "kernels were left with {sent} bytes for somebody who does not read");
    }
    if run == Run::FullUpload || run == Run::Waiting {
        world.upstream.release();
    }
    until("the application sees it too", || {
        let notes = &world.upstream.notes;
        notes.resets.load(SeqCst) + notes.ended.load(SeqCst) > resets
    });
    println!(
        "{run:?} on {reason}: sent {} received {}; the client's kernel still held {held} bytes",
        outcome["sent"], outcome["received"]
    );
}

fn each_run(reason: &str, plan: fn() -> Plan, end: fn(&World, &SessionId)) {
    for run in RUNS {
        let (hooks, count) = counting();
        let (world, _, agent) = full_world(plan().hooks(hooks));
        let session = world.start_session("acme", &agent);
        cut_by(&world, run, &agent, &count, reason, |world| end(world, &session));
        world.finish();
    }
}

#[test]
fn a_removal_by_an_administrator_cuts_whatever_runs_before_it_is_answered() {
    each_run("session_ended", Plan::default, |world, session| {
        world.done(World::end("acme", session), &world.people.admin("acme"));
    });
}

#[test]
fn an_agent_who_leaves_cuts_their_own_exchanges() {
    each_run("session_ended", Plan::default, |world, session| {
        world.done(World::end("acme", session), &world.people.staff("sam"));
    });
}

#[test]
fn lowered_consent_cuts_what_it_no_longer_covers() {
    for (run, level, reason) in [
        (Run::Download, "block", "consent_withdrawn"),
        (Run::FullDownload, "block", "consent_withdrawn"),
        (Run::Events, "block", "consent_withdrawn"),
        (Run::Upload, "read_only", "consent_lowered"),
        (Run::FullUpload, "read_only", "consent_lowered"),
        (Run::Waiting, "block", "consent_withdrawn"),
    ] {
        let (hooks, count) = counting();
        let (world, admin, agent) = full_world(Plan::default().hooks(hooks));
        world.start_session("acme", &agent);
        cut_by(&world, run, &agent, &count, reason, |world| {
            world.done(World::consent("acme", level), &admin);
        });
        world.finish();
    }
}

#[test]
fn a_change_that_takes_nothing_away_cuts_nothing() {
    let (hooks, count) = counting();
    let (world, admin, agent) = full_world(Plan::default().hooks(hooks));
    world.start_session("acme", &agent);
    let mut download = begin(&world, Run::Download, &agent, &count);
    let mut events = begin(&world, Run::Events, &agent, &count);
    // Reading stays covered.
    world.done(World::consent("acme", "read_only"), &admin);
    world.done(World::consent("acme", "full"), &admin);
    let before = count.load(SeqCst);
    until("it goes on", || {
        assert_eq!(download.client.more(), Ending::Open);
        count.load(SeqCst) > before + 1_000_000
    });
    world.done(World::consent("acme", "block"), &admin);
    assert_eq!(download.ending().0, Ending::Reset);
    assert_eq!(events.ending().0, Ending::Reset);
    world.finish();
}

#[test]
fn a_withdrawn_grant_cuts_the_sessions_on_it() {
    for run in RUNS {
        let (hooks, count) = counting();
        let world = World::of(Plan::default().hooks(hooks));
        let agent = world.people.staff("sam");
        let grant = world.make_grant("acme", "editor", Until::For(Span::Millis(3_600_000)));
        world.session_on("acme", &agent, WantedBasis::Grant(grant.clone()), None);
        cut_by(&world, run, &agent, &count, "grant_withdrawn", |world| {
            let command = Command::WithdrawGrant { tenant: tenant("acme"), grant: grant.clone() };
            world.done(command, &world.people.admin("acme"));
        });
        world.finish();
    }
}

/// Without a change there is no answer to wait for: from the deadline on, by the gateway's clock, nothing passes.
// GW-05
#[test]
fn a_deadline_that_passes_cuts_whatever_runs() {
    for run in RUNS {
        let (hooks, count) = counting();
        let clock = ManualClock::at(NOON);
        let (world, _, agent) = full_world(Plan::default().hooks(hooks).clock(&clock));
        world.session_on("acme", &agent, WantedBasis::Consent, Some(Span::Millis(1_800_000)));
        let mut client = begin(&world, run, &agent, &count);
        clock.advance(1_800_000);
        let passed = count.load(SeqCst);
        let (how, held) = client.ending();
        assert_eq!(how, Ending::Reset, "{run:?}");
        let outcome = outcome_of_last(&world);
        assert_eq!(outcome["cut_by"]["reason"], "session_expired", "{run:?}: {outcome}");
        assert_eq!(outcome["cut_by"]["due"], "session", "{run:?}: {outcome}");
        let after = count.load(SeqCst) - passed;
        assert!(after <= IN_HAND, "{run:?}: {after} bytes after the deadline");
        println!("{run:?} on expiry: {after} bytes in hand; the client's kernel held {held}");
        world.upstream.release();
        // The sweeper goes by the same clock.
        until("the end is written down", || {
            let mut ends = world.of_kind("change.outcome").into_iter();
            ends.any(|record| record["events"].to_string().contains("session_ended"))
        });
        world.finish();
    }
}

// GW-05
#[test]
fn a_real_deadline_cuts_by_itself_in_time() {
    let (hooks, count) = counting();
    let (world, _, agent) = full_world(Plan::default().hooks(hooks));
    world.session_on("acme", &agent, WantedBasis::Consent, Some(Span::Millis(1_500)));
    let deadline = {
        let session = world.of_kind("change.outcome").pop().unwrap();
        let text = session["events"][0]["deadline"].as_str().unwrap().to_owned();
        postern::model::Timestamp::parse(&text).unwrap().ms()
    };
    let mut clients: Vec<Under> =
        [Run::Download, Run::Events, Run::Upload].map(|run| begin(&world, run, &agent, &count)).into();
    assert!(world.now().ms() < deadline, "the machine is too slow for this test");
    let waits: Vec<_> = clients
        .iter_mut()
        .map(|client| {
            let (how, _) = client.ending();
            (how, world.now().ms() - deadline)
        })
        .collect();
    for (how, late) in waits {
        assert_eq!(how, Ending::Reset);
        println!("cut {late} ms after the deadline");
        // Two clocks that are read in whole milliseconds may differ by one.
        assert!((-2..1_000).contains(&late), "{late} ms");
    }
    world.finish();
}

/// Rule 10: one exchange runs so long at the most, whatever is decided again meanwhile.
#[test]
fn no_exchange_outlives_its_longest_time_by_being_decided_again() {
    let (hooks, count) = counting();
    let clock = ManualClock::at(NOON);
    let (world, admin, agent) = full_world(Plan::default().hooks(hooks).clock(&clock));
    let minutes = |n: i64| n * 60_000;
    world.session_on("acme", &agent, WantedBasis::Consent, Some(Span::Millis(minutes(75))));
    let mut client = begin(&world, Run::Events, &agent, &count);
    clock.advance(minutes(30));
    // The session's own end is the nearer one of the two now, seen from here; not seen from the exchange's beginning.
    world.done(World::consent("acme", "edit"), &admin);
    clock.advance(minutes(30));
    let (how, _) = client.ending();
    assert_eq!(how, Ending::Reset);
    let outcome = outcome_of_last(&world);
    assert_eq!(
        (outcome["cut_by"]["due"].as_str(), outcome["millis"].as_i64()),
        (Some("exchange"), Some(minutes(60)))
    );
    assert_eq!(outcome["cut_by"]["reason"], "exchange_too_long", "the session itself is not over");
    world.finish();
}

/// Two remove the same agent at once: whoever is answered first may count on it.
#[test]
fn a_removal_that_finds_the_session_ended_waits_for_the_cuts_too() {
    use postern::engine::hooks::Step;
    let (hooks, count) = counting();
    let hold = Arc::new(tokio::sync::Semaphore::new(0));
    let armed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let reached = Arc::new(AtomicU64::new(0));
    let at = {
        let (hold, armed, reached) = (Arc::clone(&hold), Arc::clone(&armed), Arc::clone(&reached));
        Arc::new(move |step: Step| {
            let wait = step == Step::ChangeCommitted && armed.swap(false, SeqCst);
            let (hold, reached) = (Arc::clone(&hold), Arc::clone(&reached));
            Box::pin(async move {
                if wait {
                    reached.fetch_add(1, SeqCst);
                    let _ = hold.acquire().await;
                }
            }) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
        })
    };
    let hooks = Hooks { at: Some(at), ..hooks };
    let (world, admin, agent) = full_world(Plan::default().hooks(hooks));
    let session = world.start_session("acme", &agent);
    let mut client = begin(&world, Run::Download, &agent, &count);
    armed.store(true, SeqCst);
    let first = {
        let engine = Arc::clone(world.gateway().engine());
        let (command, giver) = (World::end("acme", &session), world.people.giver(&admin));
        std::thread::spawn(move || block(engine.change(command, giver)))
    };
    until("the first has committed", || reached.load(SeqCst) == 1);
    let second = world.change(World::end("acme", &session), &admin);
    let answered = count.load(SeqCst);
    assert!(second.is_ok(), "{second:?}");
    let (how, _) = client.ending();
    assert_eq!(how, Ending::Reset);
    assert_eq!(count.load(SeqCst), answered, "bytes passed after the second removal was answered");
    hold.add_permits(1);
    assert!(matches!(first.join().unwrap(), Ok(Changed::Done { .. })));
    world.finish();
}

#[test]
fn cut_times_over_200_trials() {
    const TRIALS: usize = 210;
    let (hooks, count) = counting();
    let (world, admin, agent) = full_world(Plan::default().hooks(hooks));
    let engine = Arc::clone(world.gateway().engine());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let runs = [Run::Download, Run::Events, Run::Upload, Run::FullDownload, Run::Waiting];
    let (mut cuts, mut answers) = (Vec::new(), Vec::new());
    for trial in 0..TRIALS {
        let run = runs[trial % runs.len()];
        let session = world.start_session("acme", &agent);
        let mut client = begin(&world, run, &agent, &count);
        let (command, giver) = (World::end("acme", &session), world.people.giver(&admin));
        let start = std::sync::Barrier::new(2);
        let (removed, cut) = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                if run == Run::FullDownload {
                    // Whoever does not read sees the reset as an error of the socket.
                    start.wait();
                    loop {
                        if matches!(client.client.stream.take_error(), Ok(Some(_)) | Err(_)) {
                            return Instant::now();
                        }
                        std::thread::yield_now();
                    }
                }
                start.wait();
                let (how, _) = client.ending();
                assert_eq!(how, Ending::Reset, "{run:?}");
                Instant::now()
            });
            start.wait();
            let sent = Instant::now();
            let changed = runtime.block_on(engine.change(command, giver));
            let answered = Instant::now();
            let passed = count.load(SeqCst);
            // On a busy machine the answer may come before everything is written; it never comes before the cut.
            assert!(
                matches!(&changed, Ok(Changed::Done { .. }))
                    || matches!(&changed, Ok(Changed::InForce { waiting, .. }) if !waiting.contains(&"cuts")),
                "{changed:?}"
            );
            let cut = watcher.join().unwrap();
            assert_eq!(count.load(SeqCst), passed, "{run:?}: bytes passed after the answer");
            answers.push(answered - sent);
            (sent, cut)
        });
        cuts.push(cut.saturating_duration_since(removed));
    }
    world.upstream.release();
    cuts.sort();
    answers.sort();
    let at = |times: &[Duration], part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
    println!(
        "{TRIALS} cuts from the sending of the removal: p50 {:?}, p99 {:?}, max {:?}; its answer: p50 {:?}, p99 {:?}, max {:?}",
        at(&cuts, 50),
        at(&cuts, 99),
        cuts[cuts.len() - 1],
        at(&answers, 50),
        at(&answers, 99),
        answers[answers.len() - 1]
    );
    assert!(at(&cuts, 50) < Duration::from_millis(100), "half of the cuts take longer than that");
    world.finish();
}

/// New requests press in while the session is removed: whatever was admitted before is cut or done, nothing after.
#[test]
fn requests_that_race_with_a_removal_leave_nothing_behind_its_answer() {
    let (hooks, count) = counting();
    let (world, admin, agent) = full_world(Plan::default().hooks(hooks));
    let address = world.gateway().address();
    let (mut passed, mut refused) = (0, 0);
    for _ in 0..20 {
        let session = world.start_session("acme", &agent);
        let stop = std::sync::atomic::AtomicBool::new(false);
        let done = AtomicU64::new(0);
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..6)
                .map(|number| {
                    let (stop, done, agent) = (&stop, &done, &agent);
                    scope.spawn(move || {
                        let (mut passed, mut refused) = (0, 0);
                        let deed = ["hello", "chunked&n=40000", "cookie"][number % 3];
                        let text = request("GET", &format!("/t/acme/orders?do={deed}"), agent, "");
                        'connections: while !stop.load(SeqCst) {
                            let mut client = Client::connect(address);
                            while !stop.load(SeqCst) {
                                if std::io::Write::write_all(&mut client.stream, text.as_bytes()).is_err() {
                                    continue 'connections;
                                }
                                // The status line tells which it was; a cut in between is a reset.
                                let mut ending = Ending::Open;
                                while client.inbox.len() < 12 && ending == Ending::Open {
                                    ending = client.more();
                                }
                                if client.inbox.starts_with(b"HTTP/1.1 200") {
                                    passed += 1;
                                } else if client.inbox.starts_with(b"HTTP/1.1 403") {
                                    refused += 1;
                                }
                                done.fetch_add(1, SeqCst);
                                let whole = |inbox: &[u8]| {
                                    inbox.ends_with(b"hello")
                                        || inbox.ends_with(b"0\r\n\r\n")
                                        || inbox.ends_with(b"}")
                                };
                                while ending == Ending::Open && !whole(&client.inbox) {
                                    ending = client.more();
                                }
                                if ending != Ending::Open {
                                    continue 'connections;
                                }
                                client.inbox.clear();
                            }
                        }
                        (passed, refused)
                    })
                })
                .collect();
            until("requests press in", || done.load(SeqCst) >= 30);
            world.done(World::end("acme", &session), &admin);
            let answered = count.load(SeqCst);
            let before = done.load(SeqCst);
            until("they go on pressing", || done.load(SeqCst) >= before + 30);
            assert_eq!(count.load(SeqCst), answered, "bytes passed after the answer");
            stop.store(true, SeqCst);
            for client in clients {
                let (p, r) = client.join().unwrap();
                passed += p;
                refused += r;
            }
        });
    }
    println!("{passed} passed, {refused} refused");
    assert!(passed > 200 && refused > 200);
    world.finish();
}

#[test]
fn one_removal_cuts_all_of_many_exchanges_before_it_is_answered() {
    let (hooks, count) = counting();
    let (world, admin, agent) = full_world(Plan::default().hooks(hooks));
    let session = world.start_session("acme", &agent);
    let mut clients: Vec<Under> = (0..60)
        .map(|number| {
            let deed = if number % 2 == 0 { "events" } else { "forever" };
            let mut client = Client::narrow(world.gateway().address());
            client.send(request("GET", &format!("/t/acme/download?do={deed}"), &agent, ""));
            client.head();
            Under { client, writer: None }
        })
        .collect();
    let began = Instant::now();
    world.done(World::end("acme", &session), &admin);
    let answered = count.load(SeqCst);
    println!("60 exchanges cut in {:?}", began.elapsed());
    for client in &mut clients {
        assert_eq!(client.ending().0, Ending::Reset);
    }
    assert_eq!(count.load(SeqCst), answered);
    let records = world.finish();
    assert_eq!(records.iter().filter(|record| record["end"] == "cut").count(), 60);
}
