//! A part of the store that a gateway forgets and begins anew while something of it is under way.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Instant,
};

use postern::{
    engine::{
        hooks::{Hooks, Step},
        new_id,
    },
    lifecycle::{Command, WantedBasis},
    model::{ChangeId, Key, Kind, SessionId, Stored, TenantId, Timestamp},
    state::{
        Answer, Bound, Commit, CommitFault, Committed, Counted, Entry, Found, Gathered, Leases, Mark, Part,
        Store, StoreFault, Suspicion,
    },
};
use tokio::sync::watch;

use crate::{
    rig::Fleet,
    servers::{Server, at, open},
    stage::Stage,
    watch::Said,
    world::*,
};

/// Holds changes whose intent is durable, for as long as it is closed.
struct Gate {
    open: watch::Sender<bool>,
    waiting: AtomicUsize,
}

impl Gate {
    fn hooks(self: &Arc<Gate>) -> Hooks {
        let gate = Arc::clone(self);
        let at = move |step| -> Pin<Box<dyn Future<Output = ()> + Send>> {
            let gate = Arc::clone(&gate);
            Box::pin(async move {
                let mut open = gate.open.subscribe();
                if step == Step::ChangeRecorded && !*open.borrow_and_update() {
                    gate.waiting.fetch_add(1, SeqCst);
                    drop(open.wait_for(|open| *open).await);
                }
            })
        };
        Hooks { at: Some(Arc::new(at)), ..Hooks::default() }
    }
}

/// Under the same version another history has another document: who decided on the one does not write on the other.
// GW-04
#[test]
fn a_change_that_was_decided_before_a_part_was_begun_anew_is_decided_again() {
    let gate = Arc::new(Gate { open: watch::Sender::new(true), waiting: AtomicUsize::new(0) });
    let fleet = Fleet::with(1, "", |_| gate.hooks());
    let a = &fleet.gateways[0];
    let (agent, admin) = (a.people.staff("sam"), a.people.admin("acme"));
    a.done(World::consent("acme", "full"), &admin);
    let engine = a.gateway().engine();
    let (part, healed) =
        (engine.store().part_of(&Key::Tenant(tenant("acme"))), || engine.healings().unwrap().healed);
    gate.open.send_replace(false);
    let before = healed();
    let said = std::thread::scope(|scope| {
        let starting = scope.spawn(|| {
            let command = Command::StartSession {
                tenant: tenant("acme"),
                session: SessionId::new(&new_id("ses", a.now()).unwrap()).unwrap(),
                environment: production(),
                basis: WantedBasis::Consent,
                reason: "orders are missing".to_owned(),
                ticket: None,
                lasts: None,
            };
            a.change(command, &agent)
        });
        until("it is decided and recorded", || gate.waiting.load(SeqCst) == 1);
        // As it is where somebody else was first: what the gateway then finds when it begins anew.
        let key = "postern:{p12}:d:\u{1}acme\0";
        let document = fleet.redis.tell(&["GET", key]);
        let other = document.replace("\"full\"", "\"block\"");
        assert_ne!(document, other);
        fleet.redis.tell(&["SET", key, &other]);
        engine.store().leases().suspect(part, Some(Suspicion::Forked));
        until("it is begun anew", || healed() > before);
        gate.open.send_replace(true);
        starting.join().unwrap()
    });
    let refused = said.map(|changed| format!("{changed:?}")).unwrap_err();
    assert_eq!(refused.code(), "consent_closes", "{refused}");
    assert_ne!(a.get("/t/acme/orders", &agent).status, 200);
    fleet.finish();
}

/// A store of which news can be kept back; whatever else is asked is answered.
struct Deaf(Arc<dyn Store>, watch::Receiver<bool>);

impl Store for Deaf {
    fn parts(&self) -> u16 {
        self.0.parts()
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
        let mut deaf = self.1.clone();
        Box::pin(async move {
            drop(deaf.wait_for(|deaf| !*deaf).await);
            self.0.changes_after(part, position, limit).await
        })
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
        self.0.leases()
    }
    fn confirmed<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Result<Vec<Option<Found>>, StoreFault>> {
        self.0.confirmed(keys)
    }
    fn count<'a>(&'a self, bound: Bound<'a>) -> Answer<'a, Result<Counted, StoreFault>> {
        self.0.count(bound)
    }
}

/// Changes a document as whoever is left with this server.
fn change_at(port: u16, key: &Key, now: Timestamp) {
    block(async {
        let store = open(at(port)).await;
        let before = store.load(std::slice::from_ref(key)).await.unwrap().remove(0).unwrap().unwrap();
        let document = before.heads[0].document.clone();
        let change = ChangeId::new(&new_id("chg", now).unwrap()).unwrap();
        let after = Stored::after(Some(&before), change.clone(), document);
        let (read, write) = (vec![(key.clone(), before.version)], vec![(key.clone(), after)]);
        store.commit(Commit { change, at: now, read, since: Default::default(), write }).await.unwrap();
    });
}

/// An old primary that was left alone still answers one gateway, which loads what only that one has. Led to the new one it finds two histories,
/// by itself: it shuts out its own staff until it has begun anew; the others notice nothing, and nothing is healed where nothing was lost.
// GW-04
#[test]
fn what_was_loaded_from_an_old_primary_alone_is_forgotten_and_nobody_else_notices() {
    let primary = Server::start(&[]);
    let (second, third) = (primary.replica(&[]), primary.replica(&[]));
    let deaf = watch::Sender::new(false);
    let stage = Stage::over(primary, 3, |name| {
        let deaf = deaf.subscribe();
        let before = move |store| Arc::new(Deaf(store, deaf.clone())) as Arc<dyn Store>;
        if name == "c" {
            Hooks { store: Some(Arc::new(before)), ..Hooks::default() }
        } else {
            Hooks::default()
        }
    });
    let c = stage.gateways[2].gateway().engine();
    let (acme, leases) = (Key::Tenant(tenant("acme")), c.store().leases());
    let part = c.store().part_of(&acme);
    let (alone, others) = (stage.watch(2), stage.watch(0));
    alone.back(Instant::now());
    deaf.send_replace(true);
    second.tell(&["REPLICAOF", "NO", "ONE"]);
    third.tell(&["REPLICAOF", "127.0.0.1", &second.port.to_string()]);
    stage.wires[..2].iter().for_each(|wire| wire.lead(second.port));
    let followed = leases.followed(part).0;
    change_at(stage.redis.port, &acme, stage.gateways[0].now());
    block(c.store().load(std::slice::from_ref(&acme))).unwrap();
    let [(claimed, _)] = leases.grounds(part).claims[..] else { panic!("{:?}", leases.grounds(part)) };
    assert!(claimed > followed, "it is known out of turn");
    others.back(Instant::now());
    others.mark();
    let mark = Instant::now();
    stage.lets_in(0, "vera");
    stage.wires[2].lead(second.port);
    until("it finds two histories", || leases.suspicion(part) == Some(Suspicion::Forked));
    alone.reads.until("its staff are refused", mark, |said| said.is(503, "state_suspect"));
    assert!(block(c.store().load(std::slice::from_ref(&acme))).is_err(), "nobody goes by either of them");
    deaf.send_replace(false);
    alone.back(mark);
    assert_eq!(leases.suspicion(part), None);
    for watch in others.all() {
        assert_eq!(watch.kinds(mark), [Said { status: 200, code: String::new() }]);
    }
    let head = second.tell(&["HMGET", "postern:{p12}:head", "state", "epoch"]);
    assert_eq!(head, "good\n0", "nothing was lost, so nothing was healed");
    stage.finish();
}
