//! What a gateway knows of documents, in its memory: one cell a document, shared by all cores.
//!
//! The generation rule: a change that arrives while a document is being loaded wins; what was loaded is then neither
//! kept nor returned, but loaded again. So after [`Cells::committed`] has returned nobody is handed anything older.
//! Absence is kept like a document, and is bounded and replaced like one; a fault is never kept.
//!
//! A narrowing that could not be committed yet lies over the document until a committed state arrives that remembers
//! it: what is shown is the narrower of both in each field, by the same `join` that heals stores.
//!
//! A part that has lost something says nothing of what it holds or lacks: what is loaded from it counts as unavailable, and what
//! was known before stays (law 8).
//!
//! Never here: how old what is known may be (leases), when to load, what a fact means.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use quick_cache::{Weighter, sync::Cache};
use tokio::sync::watch;

use crate::{
    model::{
        ChangeId, Document, Head, Key, Ladder, Stored, Version, Within, document::FORMAT, join::narrowest,
    },
    policy::{Fact, Snapshot},
};

use super::{Found, Leases, Part, Store};

/// How often a load starts afresh because changes keep arriving; then the document counts as unavailable.
const RELOADS: usize = 16;

/// The cells. Cheap to ask, on any core.
pub struct Cells {
    store: Arc<dyn Store>,
    leases: Arc<Leases>,
    cache: Cache<Key, Cell, Size>,
    /// Whatever changes a cell holds this; a hit does not.
    inner: Mutex<Inner>,
}

impl std::fmt::Debug for Cells {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cells").field("len", &self.cache.len()).finish_non_exhaustive()
    }
}

struct Inner {
    ladder: Ladder,
    loads: HashMap<Key, Load>,
    /// Narrowings not yet committed, oldest first. Never dropped for lack of room: they hold what was withdrawn.
    overlays: HashMap<Key, Vec<Head>>,
}

/// A load under way.
struct Load {
    /// Raised by whatever arrives meanwhile.
    generation: u64,
    done: watch::Receiver<Option<Fact>>,
}

/// What is known of one document.
#[derive(Clone)]
struct Cell {
    fact: Fact,
    /// The states side by side that the fact was worked out from, without overlays; only where the fact differs from
    /// the one state there is.
    sides: Option<Arc<Sides>>,
}

struct Sides {
    version: Version,
    heads: Vec<Head>,
}

/// About how many kilobytes a cell takes.
#[derive(Clone)]
struct Size;

impl Weighter<Key, Cell> for Size {
    fn weight(&self, _key: &Key, cell: &Cell) -> u64 {
        let shown = match &cell.fact {
            Fact::Found(snapshot) => parts(&snapshot.document),
            Fact::Absent | Fact::Unavailable => 0,
        };
        let sides = cell.sides.iter().flat_map(|sides| &sides.heads).map(|head| parts(&head.document));
        1 + (shown + sides.sum::<usize>()) as u64 / 16
    }
}

/// How many small parts a document has, of some sixty bytes each.
fn parts(document: &Document) -> usize {
    match document {
        Document::Tenant(tenant) => tenant.environments.len() + tenant.roles.len(),
        Document::Grant(grant) => grant.scope.len() * 2,
        Document::Session(session) => {
            let within = session.within.as_ref();
            let rights = |within: &Within| within.rights.values().map(Vec::len).sum::<usize>();
            let within = within.map_or(0, |within| within.scope.len() * 2 + rights(within));
            session.rights.len() + session.reason.len() / 64 + within
        }
        Document::Presence(presence) => presence.sessions.len() + presence.requests.len(),
        Document::Request(request) => 2 + request.reason.len() / 64 + request.talk.len() * 8,
        Document::Member(member) => member.roles.len(),
        Document::Made(made) => made.kept.len() * 4,
        Document::Grantor(grantor) => grantor.roles.iter().map(|roles| 1 + roles.len()).sum(),
        Document::Role(role) => role.size() / 60,
        Document::Resource(resource) => resource.assignees.len(),
        Document::Joined(_) => 0,
        Document::Tally(tally) => tally.roles.len(),
        Document::Stop(stop) => stop.set.iter().map(|halt| halt.reason.len() / 64).sum(),
    }
}

/// What to do about a document that is not at hand.
enum Turn {
    Known(Fact),
    Load(watch::Sender<Option<Fact>>, u64),
    Wait(watch::Receiver<Option<Fact>>),
}

impl Cells {
    /// Cells over a store, for about `capacity` kilobytes of documents; a small document counts as one.
    pub fn new(store: Arc<dyn Store>, ladder: Ladder, capacity: usize) -> Self {
        let cache = Cache::with_weighter(capacity, capacity as u64, Size);
        let inner = Inner { ladder, loads: HashMap::new(), overlays: HashMap::new() };
        Self { leases: store.leases(), store, cache, inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each step under the lock leaves whole cells behind, so a panic elsewhere is no reason to stop answering.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known without asking the store. Allocates nothing and waits for no load.
    #[inline]
    pub fn hit(&self, key: &Key) -> Option<Fact> {
        self.cache.get(key).map(|cell| cell.fact)
    }

    /// What is known, from the store where it must be. Many who miss at once share one load.
    pub async fn fact(&self, key: &Key) -> Fact {
        loop {
            if let Some(fact) = self.hit(key) {
                return fact;
            }
            match self.turn(key) {
                Turn::Known(fact) => return fact,
                Turn::Load(done, generation) => {
                    let _gone = Leave { cells: self, key };
                    let fact = self.load(key, generation).await;
                    done.send_replace(Some(fact.clone()));
                    return fact;
                }
                Turn::Wait(mut done) => {
                    let shared = done.wait_for(Option::is_some).await.ok().and_then(|fact| fact.clone());
                    // Of what the other one loaded only a fault is taken as it is: a document is looked for in its
                    // cell again, since something may have arrived between that load and this waking.
                    if let Some(Fact::Unavailable) = shared {
                        return Fact::Unavailable;
                    }
                }
            }
        }
    }

    fn turn(&self, key: &Key) -> Turn {
        let mut inner = self.lock();
        if let Some(fact) = self.hit(key) {
            return Turn::Known(fact);
        }
        if let Some(load) = inner.loads.get(key) {
            return Turn::Wait(load.done.clone());
        }
        let (sender, done) = watch::channel(None);
        inner.loads.insert(key.clone(), Load { generation: 0, done });
        Turn::Load(sender, 0)
    }

    async fn load(&self, key: &Key, mut generation: u64) -> Fact {
        for _ in 0..RELOADS {
            let loaded = self.store.load(std::slice::from_ref(key)).await;
            let mut inner = self.lock();
            let now = inner.loads.get(key).map_or(generation, |load| load.generation);
            if now != generation {
                generation = now;
                continue;
            }
            if self.leases.suspicion(self.store.part_of(key)).is_some() {
                return Fact::Unavailable;
            }
            // One key was asked for, so one answer comes; anything else is no answer.
            return match loaded.map(|mut found| (found.len(), found.pop())) {
                Ok((1, Some(found))) => self.loaded(&mut inner, key, found),
                Ok(_) | Err(_) => Fact::Unavailable,
            };
        }
        Fact::Unavailable
    }

    /// Keeps what was loaded and nothing has overtaken.
    fn loaded(&self, inner: &mut Inner, key: &Key, found: Option<Found>) -> Fact {
        let cell = match found {
            None => inner.cell(key, Version::NONE, Vec::new()),
            Some(Ok(stored)) => inner.arrived(key, stored),
            Some(Err(_)) => return Fact::Unavailable,
        };
        if !matches!(cell.fact, Fact::Unavailable) {
            self.cache.insert(key.clone(), cell.clone());
        }
        cell.fact
    }

    /// Loads those of these that are not at hand, all with one question to the store. Of what something arrives meanwhile, and where the
    /// store does not answer, nothing is kept: whoever needs it loads it.
    pub async fn load_many(&self, keys: &[Key]) {
        // The loads end before their senders do: whoever waits for one that came to nothing finds none under way.
        let (mut wanted, mut told, mut leaves) = (Vec::new(), Vec::new(), Vec::new());
        for key in keys {
            // What somebody else loads right now is theirs.
            if let Turn::Load(done, generation) = self.turn(key) {
                leaves.push(Leave { cells: self, key });
                wanted.push(key.clone());
                told.push((done, generation));
            }
        }
        if wanted.is_empty() {
            return;
        }
        let Ok(found) = self.store.load(&wanted).await else { return };
        if found.len() != wanted.len() {
            return;
        }
        for ((key, found), (done, generation)) in wanted.iter().zip(found).zip(&told) {
            let mut inner = self.lock();
            let overtaken = inner.loads.get(key).is_none_or(|load| load.generation != *generation);
            if !overtaken && self.leases.suspicion(self.store.part_of(key)).is_none() {
                let fact = self.loaded(&mut inner, key, found);
                drop(inner);
                done.send_replace(Some(fact));
            }
        }
    }

    /// Takes in documents that are committed now; whoever commits calls this before it acknowledges, whoever follows
    /// the feed for each entry. Older than what is known changes nothing.
    pub fn committed(&self, documents: &[(Key, Stored)]) {
        let mut inner = self.lock();
        for (key, stored) in documents {
            inner.touch(key);
            let cell = inner.arrived(key, stored.clone());
            let known = match self.cache.peek(key).map(|cell| cell.fact) {
                // Not cached: a newer state may have been cached and gone again, so this one is not put there.
                None => continue,
                Some(Fact::Found(snapshot)) => snapshot.version,
                Some(Fact::Absent | Fact::Unavailable) => Version::NONE,
            };
            if stored.version >= known {
                self.put(key, cell);
            } else {
                // A narrowing that lay over the newer state may have been done by this one.
                self.again(&inner, key);
            }
        }
    }

    /// Takes in what the feed tells: what can be read replaces what is known, what cannot is forgotten.
    pub fn told(&self, documents: &[(Key, Found)]) {
        for (key, found) in documents {
            match found {
                Ok(stored) => self.committed(&[(key.clone(), stored.clone())]),
                Err(_) => self.forget(std::slice::from_ref(key)),
            }
        }
    }

    /// Forgets what is known of these; the next to ask loads it, and so do loads under way.
    pub fn forget(&self, keys: &[Key]) {
        let mut inner = self.lock();
        for key in keys {
            inner.touch(key);
            let _known = self.cache.remove(key);
        }
    }

    /// What the store says of these at this instant, by a majority, with what lies over it; what cannot be confirmed is unavailable.
    /// Where nothing is known of a document it is not kept: what arrived since the store said it has left no mark.
    pub async fn asked(&self, keys: &[Key]) -> Vec<Fact> {
        let stretches: Vec<u64> = keys.iter().map(|key| self.stretch(key)).collect();
        let found = match self.store.confirmed(keys).await {
            Ok(found) if found.len() == keys.len() => found,
            Ok(_) | Err(_) => return vec![Fact::Unavailable; keys.len()],
        };
        let asked = keys.iter().zip(stretches).zip(found);
        asked.map(|((key, stretch), found)| self.confirmed(key, stretch, found)).collect()
    }

    fn stretch(&self, key: &Key) -> u64 {
        self.leases.stretch(self.store.part_of(key))
    }

    fn confirmed(&self, key: &Key, stretch: u64, found: Option<Found>) -> Fact {
        let mut inner = self.lock();
        // What is known of the part was forgotten since it was asked for, or is about to be.
        if self.stretch(key) != stretch {
            return Fact::Unavailable;
        }
        let cell = match found {
            None => inner.cell(key, Version::NONE, Vec::new()),
            Some(Ok(stored)) => inner.arrived(key, stored),
            Some(Err(_)) => return Fact::Unavailable,
        };
        inner.touch(key);
        // Something newer may have arrived between the answer and now.
        let newer = match (self.cache.peek(key).map(|cell| cell.fact), &cell.fact) {
            (None, _) => return cell.fact,
            (Some(Fact::Found(known)), Fact::Found(said)) => known.version > said.version,
            (Some(Fact::Found(_)), _) => true,
            (Some(Fact::Absent | Fact::Unavailable), _) => false,
        };
        if newer {
            return self.hit(key).unwrap_or(Fact::Unavailable);
        }
        self.put(key, cell.clone());
        cell.fact
    }

    /// What a document gives that somebody else remembers, with what lies over it. It is not kept: who has it may know more by the
    /// next time.
    pub fn remembered(&self, key: &Key, stored: Stored) -> Fact {
        self.lock().cell(key, stored.version, stored.heads).fact
    }

    /// Forgets what is known of one part, but the narrowings; loads of it that are under way begin again.
    pub fn forget_part(&self, part: Part) {
        let mut inner = self.lock();
        let of_it = |key: &Key| self.store.part_of(key) == part;
        for (_, load) in inner.loads.iter_mut().filter(|(key, _)| of_it(key)) {
            load.generation = load.generation.saturating_add(1);
        }
        self.cache.retain(|key, _| !of_it(key));
    }

    /// Forgets everything but the narrowings.
    pub fn forget_all(&self) {
        let mut inner = self.lock();
        inner.loads.values_mut().for_each(|load| load.generation = load.generation.saturating_add(1));
        self.cache.clear();
    }

    /// Puts the documents of a narrowing that could not be committed yet over what is known, at once and until a
    /// committed state arrives that remembers this change.
    pub fn narrowed(&self, change: &ChangeId, documents: Vec<(Key, Document)>) {
        let mut inner = self.lock();
        for (key, document) in documents {
            // A load under way looks at what lies over its document when it ends, so it need not start afresh.
            let over = inner.overlays.entry(key.clone()).or_default();
            over.retain(|head| head.change != *change);
            over.push(Head { change: change.clone(), document });
            self.again(&inner, &key);
        }
    }

    /// A narrowing that is no longer needed: what it took away is gone by another hand. Nothing of it lies over anything
    /// any more.
    pub fn released(&self, change: &ChangeId) {
        let mut inner = self.lock();
        let keys: Vec<Key> = inner.overlays.keys().cloned().collect();
        for key in keys {
            if let Some(over) = inner.overlays.get_mut(&key) {
                let before = over.len();
                over.retain(|head| head.change != *change);
                if over.len() == before {
                    continue;
                }
                if over.is_empty() {
                    inner.overlays.remove(&key);
                }
            }
            inner.touch(&key);
            let _known = self.cache.remove(&key);
        }
    }

    /// How many documents have a narrowing over them that is not committed.
    pub fn narrowings(&self) -> usize {
        self.lock().overlays.len()
    }

    /// Another ladder: what depends on its order is worked out again, nothing is forgotten.
    pub fn set_ladder(&self, ladder: Ladder) {
        let mut inner = self.lock();
        inner.ladder = ladder;
        let sided: Vec<Key> =
            self.cache.iter().filter(|(_, cell)| cell.sides.is_some()).map(|(key, _)| key).collect();
        for key in sided {
            self.again(&inner, &key);
        }
    }

    /// Works a cell out again from what it holds.
    fn again(&self, inner: &Inner, key: &Key) {
        let Some(cell) = self.cache.peek(key) else { return };
        let (version, heads) = match (&cell.sides, &cell.fact) {
            (Some(sides), _) => (sides.version, sides.heads.clone()),
            (None, Fact::Found(snapshot)) => (snapshot.version, alone(&snapshot.document)),
            (None, Fact::Absent | Fact::Unavailable) => (Version::NONE, Vec::new()),
        };
        self.put(key, inner.cell(key, version, heads));
    }

    fn put(&self, key: &Key, cell: Cell) {
        if matches!(cell.fact, Fact::Unavailable) {
            let _known = self.cache.remove(key);
        } else {
            self.cache.insert(key.clone(), cell);
        }
    }
}

/// The one state of a document whose change id is not kept. Its id only serves to order it, and it comes last.
fn alone(document: &Document) -> Vec<Head> {
    ChangeId::new("0").map(|change| Head { change, document: document.clone() }).into_iter().collect()
}

impl Inner {
    /// Tells a load under way that something arrived.
    fn touch(&mut self, key: &Key) {
        if let Some(load) = self.loads.get_mut(key) {
            load.generation = load.generation.saturating_add(1);
        }
    }

    /// A committed state is here: narrowings that it remembers are done.
    fn arrived(&mut self, key: &Key, stored: Stored) -> Cell {
        if let Some(over) = self.overlays.get_mut(key) {
            over.retain(|head| !stored.remembers(&head.change));
            if over.is_empty() {
                self.overlays.remove(key);
            }
        }
        self.cell(key, stored.version, stored.heads)
    }

    /// The cell of states side by side, with what lies over them.
    fn cell(&self, key: &Key, version: Version, heads: Vec<Head>) -> Cell {
        // What lies over a document was decided here, on what was known here: it counts as later.
        let over = self.overlays.get(key).map_or(&[][..], Vec::as_slice);
        if over.is_empty() && heads.is_empty() {
            return Cell { fact: Fact::Absent, sides: None };
        }
        let sides =
            (heads.len() > 1 || !over.is_empty()).then(|| Arc::new(Sides { version, heads: heads.clone() }));
        let all = over.iter().rev().cloned().chain(heads).collect();
        let all = Stored { format: FORMAT, version, changes: Vec::new(), heads: all };
        let fact = match narrowest(&all, &self.ladder) {
            Some(document) => Fact::Found(Arc::new(Snapshot { version, document })),
            None => Fact::Unavailable,
        };
        Cell { fact, sides }
    }
}

/// Ends a load, also where whoever loaded gave up.
struct Leave<'a> {
    cells: &'a Cells,
    key: &'a Key,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.cells.lock().loads.remove(self.key);
    }
}
