//! A store whose loads are answered when the test says so, and what the tests of the cells read off facts.

use std::{
    collections::BTreeMap,
    future::{Future, pending},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use postern::{
    model::{ChangeId, Document, Key, Kind, Ladder, Level, Stored, TenantId, Timestamp},
    policy::Fact,
    state::{
        Answer, Bound, Commit, CommitFault, Committed, Counted, Entry, Found, Gathered, Leases, Mark, Part,
        Store, StoreFault,
    },
};
use tokio::sync::watch;

use crate::make::*;

pub(crate) const LEVELS: [&str; 3] = ["block", "read", "full"];

pub(crate) fn ladder(names: &[&str]) -> Ladder {
    Ladder::new(names.iter().map(|name| Level { name: level(name), role: None }).collect())
}

pub(crate) fn rank(fact: &Fact) -> Option<usize> {
    let Fact::Found(snapshot) = fact else { return None };
    let Document::Tenant(tenant) = &snapshot.document else { panic!() };
    Some(ladder(&LEVELS).rank(tenant.consent.cap.as_ref().unwrap()))
}

pub(crate) fn version(fact: &Fact) -> u64 {
    match fact {
        Fact::Found(snapshot) => snapshot.version.number,
        Fact::Absent => 0,
        Fact::Unavailable => panic!("unavailable"),
    }
}

pub(crate) type Asking<'a> = (usize, Pin<Box<dyn Future<Output = Fact> + 'a>>);

/// A store whose loads are answered when the test says so, and of which nothing else is asked.
#[derive(Default)]
pub(crate) struct Slow {
    pub(crate) documents: Mutex<BTreeMap<Key, Stored>>,
    loads: Mutex<Vec<Arc<Mutex<Gate>>>>,
}

pub(crate) struct Gate {
    pub(crate) key: Key,
    /// What the store read, once it did.
    pub(crate) read: Option<Result<Option<Stored>, StoreFault>>,
    pub(crate) open: bool,
}

pub(crate) struct Waiting(Arc<Mutex<Gate>>);

impl Future for Waiting {
    type Output = Result<Vec<Option<Found>>, StoreFault>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let gate = self.0.lock().unwrap();
        match (&gate.read, gate.open) {
            (Some(read), true) => Poll::Ready(read.clone().map(|stored| vec![stored.map(Ok)])),
            _ => Poll::Pending,
        }
    }
}

impl Slow {
    pub(crate) fn gates(&self) -> Vec<Arc<Mutex<Gate>>> {
        let mut loads = self.loads.lock().unwrap();
        // One that only this list still holds was answered or given up.
        loads.retain(|gate| Arc::strong_count(gate) > 1);
        loads.clone()
    }

    pub(crate) fn read(&self, gate: &Mutex<Gate>) {
        let mut gate = gate.lock().unwrap();
        if gate.read.is_none() {
            gate.read = Some(Ok(self.documents.lock().unwrap().get(&gate.key).cloned()));
        }
    }

    pub(crate) fn answer(&self, gate: &Mutex<Gate>) {
        self.read(gate);
        gate.lock().unwrap().open = true;
    }
}

impl Store for Slow {
    fn parts(&self) -> u16 {
        1
    }
    fn part_of(&self, _: &Key) -> Part {
        Part::FIRST
    }
    fn load<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Result<Vec<Option<Found>>, StoreFault>> {
        assert_eq!(keys.len(), 1);
        let gate = Arc::new(Mutex::new(Gate { key: keys[0].clone(), read: None, open: false }));
        self.loads.lock().unwrap().push(Arc::clone(&gate));
        Box::pin(Waiting(gate))
    }
    fn commit(&self, _: Commit) -> Answer<'_, Result<Committed, CommitFault>> {
        Box::pin(pending())
    }
    fn asked<'a>(&'a self, _: Part, _: &'a ChangeId) -> Answer<'a, Result<Option<Committed>, StoreFault>> {
        Box::pin(pending())
    }
    fn changes_after(&self, _: Part, _: u64, _: usize) -> Answer<'_, Result<Vec<Entry>, StoreFault>> {
        Box::pin(pending())
    }
    fn newest(&self, _: Part) -> watch::Receiver<u64> {
        watch::Sender::new(0).subscribe()
    }
    fn list<'a>(
        &'a self,
        _: &'a TenantId,
        _: Kind,
        _: Option<&'a Key>,
        _: usize,
    ) -> Answer<'a, Result<Vec<(Key, Found)>, StoreFault>> {
        Box::pin(pending())
    }
    fn list_tenants<'a>(
        &'a self,
        _: Option<&'a TenantId>,
        _: usize,
    ) -> Answer<'a, Gathered<(TenantId, Found)>> {
        Box::pin(pending())
    }
    fn list_grantors<'a>(&'a self, _: Option<&'a Key>, _: usize) -> Answer<'a, Gathered<(Key, Found)>> {
        Box::pin(pending())
    }
    fn list_stops<'a>(
        &'a self,
        _: Option<&'a Key>,
        _: usize,
    ) -> Answer<'a, Result<Vec<(Key, Found)>, StoreFault>> {
        Box::pin(pending())
    }
    fn due<'a>(
        &'a self,
        _: Timestamp,
        _: Option<&'a (Timestamp, Key)>,
        _: usize,
    ) -> Answer<'a, Gathered<(Timestamp, Key)>> {
        Box::pin(pending())
    }
    fn mark(&self, _: Part) -> Answer<'_, Result<Mark, StoreFault>> {
        Box::pin(pending())
    }
    fn leases(&self) -> Arc<Leases> {
        Leases::always()
    }
    fn confirmed<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Result<Vec<Option<Found>>, StoreFault>> {
        self.load(keys)
    }

    fn count<'a>(&'a self, _: Bound<'a>) -> Answer<'a, Result<Counted, StoreFault>> {
        Box::pin(pending())
    }
}
