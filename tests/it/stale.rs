//! A gateway over a store that others change too, and of which it hears nothing more: over sockets, by the system's own clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use postern::{
    app::clock::SystemClock,
    engine::{Clock as _, hooks::Hooks},
    model::{ChangeId, Key, Kind, TenantId, Timestamp},
    state::{
        Answer, Bound, Commit, CommitFault, Committed, Counted, Entry, Found, Gathered, Leases, Mark, Part,
        Store, StoreFault, Suspicion,
    },
};
use tokio::sync::watch;

use crate::{
    client::Ending,
    cuts::{Run, begin, counting, full_world},
    operations::operations,
    world::*,
};

/// The gateway's own store, as if others changed it too.
struct Sharing(Arc<dyn Store>, Arc<Leases>);

impl Store for Sharing {
    fn parts(&self) -> u16 {
        1
    }
    fn part_of(&self, key: &Key) -> Part {
        self.0.part_of(key)
    }
    fn load<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Result<Vec<Option<Found>>, StoreFault>> {
        self.0.load(keys)
    }
    fn commit(&self, commit: Commit) -> Answer<'_, Result<Committed, CommitFault>> {
        self.0.commit(commit)
    }
    fn asked<'a>(
        &'a self,
        part: Part,
        change: &'a ChangeId,
    ) -> Answer<'a, Result<Option<Committed>, StoreFault>> {
        self.0.asked(part, change)
    }
    fn changes_after(
        &self,
        part: Part,
        position: u64,
        limit: usize,
    ) -> Answer<'_, Result<Vec<Entry>, StoreFault>> {
        self.0.changes_after(part, position, limit)
    }
    fn newest(&self, part: Part) -> watch::Receiver<u64> {
        self.0.newest(part)
    }
    fn list<'a>(
        &'a self,
        tenant: &'a TenantId,
        kind: Kind,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<(Key, Found)>, StoreFault>> {
        self.0.list(tenant, kind, after, limit)
    }
    fn list_tenants<'a>(
        &'a self,
        after: Option<&'a TenantId>,
        limit: usize,
    ) -> Answer<'a, Gathered<(TenantId, Found)>> {
        self.0.list_tenants(after, limit)
    }
    fn list_grantors<'a>(
        &'a self,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Gathered<(Key, Found)>> {
        self.0.list_grantors(after, limit)
    }
    fn list_stops<'a>(
        &'a self,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<(Key, Found)>, StoreFault>> {
        self.0.list_stops(after, limit)
    }
    fn due<'a>(
        &'a self,
        until: Timestamp,
        after: Option<&'a (Timestamp, Key)>,
        limit: usize,
    ) -> Answer<'a, Gathered<(Timestamp, Key)>> {
        self.0.due(until, after, limit)
    }
    fn mark(&self, part: Part) -> Answer<'_, Result<Mark, StoreFault>> {
        self.0.mark(part)
    }
    fn leases(&self) -> Arc<Leases> {
        Arc::clone(&self.1)
    }
    fn confirmed<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Result<Vec<Option<Found>>, StoreFault>> {
        self.0.load(keys)
    }

    fn count<'a>(&'a self, bound: Bound<'a>) -> Answer<'a, Result<Counted, StoreFault>> {
        self.0.count(bound)
    }
}

/// Beats for as long as nobody stops it, and notes when it did last.
struct Heart {
    leases: Arc<Leases>,
    beats: Arc<AtomicBool>,
    last: Arc<AtomicI64>,
}

impl Heart {
    fn new() -> Heart {
        let (leases, beats) = (Leases::of(1), Arc::new(AtomicBool::new(true)));
        let last = Arc::new(AtomicI64::new(0));
        let (alive, on, at) = (Arc::downgrade(&leases), Arc::clone(&beats), Arc::clone(&last));
        std::thread::spawn(move || {
            while let Some(leases) = alive.upgrade() {
                if on.load(SeqCst) {
                    let now = SystemClock::default().boot_ms();
                    leases.renew(Part::FIRST, now);
                    at.store(now, SeqCst);
                }
                drop(leases);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Heart { leases, beats, last }
    }

    fn hooks(&self, hooks: Hooks) -> Hooks {
        let leases = Arc::clone(&self.leases);
        let before = move |store| Arc::new(Sharing(store, Arc::clone(&leases))) as Arc<dyn Store>;
        Hooks { store: Some(Arc::new(before)), ..hooks }
    }
}

const STATE: &str = "/state.redb }";
/// Reads and writes alike, so that a test need not take five seconds.
const SHORT: &str = "/state.redb, max_staleness: { writes: 1s, reads: 1s } }";

#[test]
fn past_max_staleness_idle_streams_are_reset_in_time_staff_hear_why_and_members_hear_nothing() {
    let heart = Heart::new();
    let (hooks, count) = counting();
    let plan = Plan::default().edit(STATE, SHORT).hooks(heart.hooks(hooks));
    let (world, _, agent) = full_world(plan);
    world.start_session("acme", &agent);
    let member = world.people.member("mia", "acme", &["admin"]);
    for run in [Run::Events, Run::Waiting, Run::FullDownload, Run::Upload] {
        let mut client = begin(&world, run, &agent, &count);
        heart.beats.store(false, SeqCst);
        let (how, _) = client.ending();
        let late = SystemClock::default().boot_ms() - heart.last.load(SeqCst) - 1_000;
        assert_eq!(how, Ending::Reset, "{run:?}");
        let passed = count.load(SeqCst);
        let outcome = world.last_outcome();
        assert_eq!((&outcome["end"], &outcome["cut_by"]["reason"]), (&"cut".into(), &"state_stale".into()));
        assert_eq!(count.load(SeqCst), passed, "{run:?}: bytes passed after the cut");
        println!("{run:?}: reset {late} ms past the bound");
        assert!((0..=250 + SLACK).contains(&late), "{run:?}: reset {late} ms past the bound");
        if run == Run::Waiting {
            world.upstream.release();
        }
        let refused = world.get("/t/acme/orders", &agent);
        assert_eq!((refused.status, refused.code()), (503, "state_stale".to_owned()));
        assert_eq!(world.get("/t/acme/orders", &member).status, 200, "a member's token says it all");
        let ready = operations(&world, "/readyz");
        assert!(ready.contains("200 OK"), "ready without a store");
        assert!(ready.contains("\nstaff: refused: the store was not heard of for "), "{ready}");
        heart.beats.store(true, SeqCst);
        until("all goes on", || world.get("/t/acme/orders", &agent).status == 200);
    }
    let ready = operations(&world, "/readyz");
    assert!(ready.contains("store: known as of "), "{ready}");
    let metrics = operations(&world, "/metrics");
    for name in
        ["postern_state_age_seconds ", "postern_state_age_max_seconds 0.", "postern_state_parts_suspect 0"]
    {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
    world.finish();
}

/// Of a machine that is busy with other tests, in milliseconds.
const SLACK: i64 = 500;

#[test]
fn where_the_store_lost_something_streams_are_reset_at_once() {
    let heart = Heart::new();
    let (hooks, count) = counting();
    let (world, _, agent) = full_world(Plan::default().hooks(heart.hooks(hooks)));
    world.start_session("acme", &agent);
    let mut client = begin(&world, Run::Events, &agent, &count);
    let began = Instant::now();
    heart.leases.suspect(Part::FIRST, Some(Suspicion::Unmarked));
    assert_eq!(client.ending().0, Ending::Reset);
    println!("reset after {:?}", began.elapsed());
    assert_eq!(world.last_outcome()["cut_by"]["reason"], "state_suspect");
    let refused = world.get("/t/acme/orders", &agent);
    assert_eq!((refused.status, refused.code()), (503, "state_suspect".to_owned()));
    let ready = operations(&world, "/readyz");
    assert!(ready.contains("staff: refused: the store has lost something"), "{ready}");
    assert!(ready.contains("1 of its 1 parts lost something"), "{ready}");
    assert!(operations(&world, "/metrics").contains("postern_state_parts_suspect 1"));
    heart.leases.suspect(Part::FIRST, None);
    until("all goes on", || world.get("/t/acme/orders", &agent).status == 200);
    world.finish();
}
