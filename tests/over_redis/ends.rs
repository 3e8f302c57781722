//! Ends travel: whatever ends support access on one gateway cuts what runs on the others (law 6).

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use postern::{
    engine::hooks::Hooks,
    lifecycle::{Command, Until, WantedBasis},
    model::{ExchangeId, Span},
};

use crate::{
    client::{Client, Ending},
    rig::Fleet,
    under::{Run, Under, begin, counting},
    world::*,
};

/// What runs, and on the way to which end.
fn cut_elsewhere(run: Run, reason: &str, begun: impl FnOnce(&World, &str), end: impl FnOnce(&World)) {
    let (hooks, count) = counting();
    let fleet = Fleet::with(2, "", |name| if name == "b" { hooks.clone() } else { Hooks::default() });
    let (a, b) = (&fleet.gateways[0], &fleet.gateways[1]);
    let agent = a.people.staff("sam");
    begun(a, &agent);
    fleet.knows_of_session(&agent);
    let mut under = begin(b, run, &agent, &count);
    end(a);
    let (how, _) = under.ending();
    assert_eq!(how, Ending::Reset, "{run:?}");
    let passed = count.load(SeqCst);
    let outcome = b.last_outcome();
    assert_eq!(outcome["end"], "cut", "{run:?}: {outcome}");
    assert_eq!(outcome["cut_by"]["reason"], reason, "{run:?}: {outcome}");
    assert_eq!(count.load(SeqCst), passed, "{run:?}: bytes after the cut");
    b.upstream.release();
    fleet.finish();
}

fn by_consent(world: &World, agent: &str) {
    world.done(World::consent("acme", "full"), &world.people.admin("acme"));
    world.start_session("acme", agent);
}

fn ended(world: &World) {
    let session = world.of_kind("change.outcome").into_iter().rev().find_map(|record| {
        let started = record["events"][0]["event"] == "session_started";
        started.then(|| record["session"].as_str().unwrap().to_owned())
    });
    let session = postern::model::SessionId::new(&session.unwrap()).unwrap();
    world.done(World::end("acme", &session), &world.people.admin("acme"));
}

#[test]
fn a_removal_on_one_gateway_cuts_what_runs_on_another() {
    for run in [Run::Download, Run::FullDownload, Run::Events, Run::Upload, Run::FullUpload, Run::Waiting] {
        cut_elsewhere(run, "session_ended", by_consent, ended);
    }
}

#[test]
fn lowered_consent_on_one_gateway_cuts_what_runs_on_another() {
    cut_elsewhere(Run::Download, "consent_withdrawn", by_consent, |world| {
        world.done(World::consent("acme", "block"), &world.people.admin("acme"));
    });
    cut_elsewhere(Run::Upload, "consent_lowered", by_consent, |world| {
        world.done(World::consent("acme", "read_only"), &world.people.admin("acme"));
    });
}

#[test]
fn a_grant_withdrawn_on_one_gateway_cuts_what_runs_on_another() {
    let grant = std::cell::RefCell::new(None);
    cut_elsewhere(
        Run::Download,
        "grant_withdrawn",
        |world, agent| {
            let made = world.make_grant("acme", "editor", Until::For(Span::Millis(3_600_000)));
            world.session_on("acme", agent, WantedBasis::Grant(made.clone()), None);
            grant.replace(Some(made));
        },
        |world| {
            let grant = grant.borrow().clone().unwrap();
            let command = Command::WithdrawGrant { tenant: tenant("acme"), grant };
            world.done(command, &world.people.admin("acme"));
        },
    );
}

/// An expiry is each gateway's own clock's; one of them writes it down, once.
#[test]
fn an_expiry_cuts_everywhere_and_is_written_down_once() {
    let (hooks, count) = counting();
    let fleet = Fleet::with(3, "", |_| hooks.clone());
    let a = &fleet.gateways[0];
    let agent = a.people.staff("sam");
    a.done(World::consent("acme", "full"), &a.people.admin("acme"));
    a.session_on("acme", &agent, WantedBasis::Consent, Some(Span::Millis(3_000)));
    fleet.knows_of_session(&agent);
    let mut all: Vec<Under> =
        fleet.gateways.iter().map(|gateway| begin(gateway, Run::Events, &agent, &count)).collect();
    for under in &mut all {
        assert_eq!(under.ending().0, Ending::Reset);
    }
    let ends = || -> Vec<serde_json::Value> {
        let all = fleet.gateways.iter().flat_map(|gateway| gateway.of_kind("change.outcome"));
        all.filter(|record| {
            record["outcome"] == "stored" && record["events"].to_string().contains("session_ended")
        })
        .collect()
    };
    until("somebody writes it down", || !ends().is_empty());
    // Each of them sweeps once a second.
    let seen = Instant::now();
    until("all have swept again", || seen.elapsed() > Duration::from_millis(2_500));
    assert_eq!(ends().len(), 1, "{:#?}", ends());
    fleet.finish();
}

/// When the last byte of staff's exchanges passed on some gateways, in nanoseconds since a beginning.
fn watching(since: Instant) -> (Hooks, Arc<AtomicU64>, Arc<AtomicU64>) {
    let (last, count) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (seen, counted) = (Arc::clone(&last), Arc::clone(&count));
    let bytes = Arc::new(move |_: &ExchangeId, bytes: usize| {
        seen.fetch_max(u64::try_from(since.elapsed().as_nanos()).unwrap(), SeqCst);
        counted.fetch_add(bytes as u64, SeqCst);
    });
    (Hooks { bytes: Some(bytes), ..Hooks::default() }, last, count)
}

/// Whose buffers fill, or that wait.
const QUIET: [Run; 4] = [Run::Events, Run::FullDownload, Run::Waiting, Run::FullUpload];

/// Begins one among many, without looking at what flows.
fn opened(world: &World, run: Run, token: &str) -> Under {
    let narrow = run == Run::FullDownload;
    let address = world.gateway().address();
    let mut client = if narrow { Client::narrow(address) } else { Client::connect(address) };
    let get = |what: &str| request("GET", what, token, "");
    let post = |what: &str| request("POST", what, token, "Content-Length: 1000000000\r\n");
    client.send(match run {
        Run::Download | Run::FullDownload => get("/t/acme/download?do=forever"),
        Run::Events => get("/t/acme/download?do=events"),
        Run::Waiting => get("/t/acme/orders?do=stall"),
        Run::Upload => post("/t/acme/orders?do=sip"),
        Run::FullUpload => post("/t/acme/orders?do=stall"),
    });
    let mut stream = client.stream.try_clone().unwrap();
    let writes = matches!(run, Run::Upload | Run::FullUpload);
    let writer = writes.then(|| {
        std::thread::spawn(move || {
            let piece = vec![7u8; 16 << 10];
            loop {
                if let Err(fault) = stream.write_all(&piece) {
                    return fault.kind();
                }
            }
        })
    });
    Under { client, writer }
}

/// Removal on one gateway to the last byte on two others, with many streams of mixed kinds. `POSTERN_TRIALS` and `POSTERN_STREAMS` ask for
/// more than a short form: 200 of each are the measurement of docs/performance.md.
#[test]
fn a_removal_reaches_many_streams_of_all_kinds_on_two_others_soon() {
    let wanted = |name: &str, short: usize| std::env::var(name).map_or(short, |text| text.parse().unwrap());
    let (trials, streams) = (wanted("POSTERN_TRIALS", 5), wanted("POSTERN_STREAMS", 40));
    let since = Instant::now();
    let (hooks, last, count) = watching(since);
    let fleet = Fleet::with(3, "", |name| if name == "a" { Hooks::default() } else { hooks.clone() });
    let a = &fleet.gateways[0];
    let agent = a.people.staff("sam");
    a.done(World::consent("acme", "full"), &a.people.admin("acme"));
    let (mut waits, mut held) = (Vec::new(), Vec::new());
    for _ in 0..trials {
        let session = a.start_session("acme", &agent);
        fleet.knows_of_session(&agent);
        let arrived =
            || fleet.gateways[1..].iter().map(|gateway| gateway.upstream.seen().len()).sum::<usize>();
        let before = arrived();
        let mut all: Vec<Under> = (0..streams)
            .map(|number| {
                let gateway = &fleet.gateways[1 + number % 2];
                // Two that flow as fast as they can on each: more would measure the machine.
                let kind = match number / 2 {
                    0 => Run::Download,
                    1 => Run::Upload,
                    number => QUIET[number % QUIET.len()],
                };
                opened(gateway, kind, &agent)
            })
            .collect();
        until("all are under way", || arrived() == before + streams);
        let asked = u64::try_from(since.elapsed().as_nanos()).unwrap();
        a.done(World::end("acme", &session), &a.people.admin("acme"));
        let mut kernels = 0;
        for under in &mut all {
            let (how, bytes) = under.ending();
            assert_eq!(how, Ending::Reset, "{:?}", under.client.inbox.get(..400));
            kernels += bytes;
        }
        let passed = count.load(SeqCst);
        waits.push(last.load(SeqCst).saturating_sub(asked));
        held.push(kernels);
        for gateway in &fleet.gateways[1..] {
            gateway.upstream.release_those();
        }
        assert_eq!(count.load(SeqCst), passed, "bytes after the last cut");
    }
    waits.sort_unstable();
    held.sort_unstable();
    let at = |all: &[u64], of: f64| all[((all.len() - 1) as f64 * of).round() as usize];
    let ms = |nanos: u64| nanos as f64 / 1e6;
    println!(
        "{trials} removals, {streams} streams on two others: from the asking to the last byte p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms; \
         kernels held {} bytes at the median, {} at most",
        ms(at(&waits, 0.5)),
        ms(at(&waits, 0.99)),
        ms(at(&waits, 1.0)),
        at(&held, 0.5),
        at(&held, 1.0)
    );
    assert!(ms(at(&waits, 0.5)) < 500.0, "{waits:?}");
    fleet.finish();
}
