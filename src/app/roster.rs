//! Who the gateways of the fleet are, as the store that they share names them: this one writes itself down there and finds the others
//! (decision 0027), proves that nobody else goes by its name, and writes into its ledger who was retired (decision 0028).
//!
//! Never here: what a gateway does whose name is taken ([`crate::engine`]), asking others for anything ([`crate::fleet`]).

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use crate::{
    engine::{Engine, Named},
    fleet::{Gone, Peer, Peers},
    model::Timestamp,
    state::{
        RedisStore, Shadow, StoreFault,
        healing::Known as _,
        redis::{Announced, Listed, Retired, Run},
    },
};

/// How often this gateway writes itself down in the store, and how soon again where it did not answer.
const EVERY: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(250);
/// How long a process that finds another one of its name waits to see whether that goes on: twice and a half as long as one is silent.
const WAIT: Duration = Duration::from_millis(2_500);
/// How long a start waits for the store to say that the name is its own. Nobody of staff is served without a store anyway.
const PATIENCE: Duration = Duration::from_secs(5);
/// Who is missing while nobody knows who there is.
const UNKNOWN: &str = "unknown";

/// How this process stands to its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The store did not answer yet.
    Unknown,
    /// Another one went by it a moment ago; it may be over.
    Waits,
    /// As it says.
    Known(Named),
}

/// How a process stands that began with a beat, beside others of its name that were there a moment ago.
fn standing(me: &Run, others: &[Run], waited: bool) -> Standing {
    let mut together = others.iter().filter(|other| other.seen > me.began).peekable();
    if together.peek().is_some() {
        let earlier = |other: &Run| (other.began, other.process) < (me.began, me.process);
        return Standing::Known(if together.any(earlier) { Named::Taken } else { Named::Contested });
    }
    if others.is_empty() || waited { Standing::Known(Named::Alone) } else { Standing::Waits }
}

/// What is known of the store's list.
struct State {
    /// The beat that this process began with, once the store said it.
    began: Option<u64>,
    /// When the store answered first.
    answered: Option<Instant>,
    /// Who was retired, as the store said it last, and what of it this ledger has.
    retired: Vec<Retired>,
    recorded: BTreeSet<(Timestamp, String)>,
    /// What nobody had recorded at the last look: whoever comes first by name goes first.
    open: BTreeSet<(Timestamp, String)>,
}

/// See the module's header.
pub(super) struct Roster {
    store: Arc<RedisStore>,
    /// Whom a healing waits for is known there.
    shadow: Arc<Shadow>,
    name: String,
    address: String,
    process: Uuid,
    peers: ArcSwap<Vec<Peer>>,
    gone: ArcSwap<Vec<Gone>>,
    standing: watch::Sender<Standing>,
    state: Mutex<State>,
    /// Held while something is said to the store; whether this process has left.
    left: tokio::sync::Mutex<bool>,
}

impl Peers for Roster {
    fn all(&self) -> Vec<Peer> {
        Vec::clone(&self.peers.load())
    }

    fn retired(&self) -> Vec<Gone> {
        Vec::clone(&self.gone.load())
    }
}

impl Roster {
    /// Nobody is known yet. `address` is where others ask this gateway; empty where they cannot.
    pub(super) fn new(store: Arc<RedisStore>, shadow: Arc<Shadow>, name: &str, address: &str) -> Arc<Roster> {
        // Until the store said who there is, somebody is missing whose name nobody here knows.
        let unknown = Peer { name: UNKNOWN.to_owned(), address: String::new(), seen: Timestamp::from_ms(0) };
        Arc::new(Roster {
            store,
            shadow,
            name: name.to_owned(),
            address: address.to_owned(),
            process: Uuid::now_v7(),
            peers: ArcSwap::from_pointee(vec![unknown]),
            gone: ArcSwap::default(),
            standing: watch::Sender::new(Standing::Unknown),
            state: Mutex::new(State {
                began: None,
                answered: None,
                retired: Vec::new(),
                recorded: BTreeSet::new(),
                open: BTreeSet::new(),
            }),
            left: tokio::sync::Mutex::new(false),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each step under the lock leaves whole values behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs for as long as the gateway does.
    pub(super) async fn keep(self: Arc<Self>, engine: Arc<Engine>) {
        loop {
            let every = match self.announce().await {
                None => return,
                Some(Ok(announced)) => {
                    self.take_in(announced, &engine).await;
                    EVERY
                }
                // Whoever was known is known still, and how this process stands.
                Some(Err(_)) => AGAIN,
            };
            tokio::time::sleep(every).await;
        }
    }

    /// `None` once this process has left.
    async fn announce(&self) -> Option<Result<Announced, StoreFault>> {
        let left = self.left.lock().await;
        if *left {
            return None;
        }
        let began = self.state().began;
        Some(self.store.announce(&self.name, &self.address, self.process, began).await)
    }

    async fn take_in(&self, announced: Announced, engine: &Arc<Engine>) {
        let Announced { gateways, began, others, retired } = announced;
        gateways.iter().for_each(|one| self.shadow.meet(&one.name));
        for gone in retired.iter().filter(|gone| gateways.iter().all(|one| one.name != gone.name)) {
            self.shadow.part_with(&gone.name);
        }
        // Whom a healing waits for and the store forgot: they are named there until somebody retires them.
        let mut forgotten = self.shadow.gateways();
        forgotten.retain(|name| gateways.iter().all(|one| one.name != *name));
        if !forgotten.is_empty() {
            // Where the store does not take it, the next look finds the same.
            let _ = self.store.gateways_known(&forgotten).await;
        }
        let first = gateways.iter().map(|one| &one.name).min() == Some(&self.name);
        let peer = |one: Listed| Peer { name: one.name, address: one.address, seen: one.seen };
        self.peers.store(Arc::new(gateways.into_iter().map(peer).collect()));
        let waited = {
            let mut state = self.state();
            state.began = Some(began);
            state.answered.get_or_insert_with(Instant::now).elapsed() >= WAIT
        };
        let me = Run { began, process: self.process, seen: began };
        let now = standing(&me, &others, waited);
        let before = self.standing.send_replace(now);
        if let Standing::Known(named) = now {
            engine.stands(named);
        }
        if before != now {
            self.tell(before, now);
        }
        self.take_in_retired(retired, first, engine).await;
    }

    fn tell(&self, before: Standing, now: Standing) {
        let gateway = &self.name;
        match now {
            Standing::Known(Named::Taken) => tracing::error!(
                %gateway, code = "gateway_name_taken",
                "another process goes by this gateway's name and was there before; this one serves no staff until it is alone. Give each gateway a name, and a ledger, of its own"
            ),
            Standing::Known(Named::Contested) => tracing::error!(
                %gateway, code = "gateway_name_taken",
                "another process goes by this gateway's name and serves no staff. Give each gateway a name, and a ledger, of its own"
            ),
            Standing::Known(Named::Alone) if matches!(before, Standing::Known(_)) => {
                tracing::info!(%gateway, "nobody else goes by this gateway's name any more");
            }
            Standing::Known(Named::Alone) | Standing::Unknown => {}
            Standing::Waits => tracing::warn!(
                %gateway,
                "another process went by this gateway's name a moment ago; staff are served when it is seen to be over"
            ),
        }
    }

    /// Writes down who was retired, where nobody has yet; a store that forgot it is told anew.
    async fn take_in_retired(&self, told: Vec<Retired>, first: bool, engine: &Arc<Engine>) {
        let which = |one: &Retired| (one.at, one.name.clone());
        let (forgotten, todo) = {
            let mut state = self.state();
            let known: BTreeSet<_> = told.iter().map(which).collect();
            let forgotten: Vec<Retired> =
                state.retired.iter().filter(|one| !known.contains(&which(one))).cloned().collect();
            let open: BTreeSet<_> = told.iter().filter(|one| one.recorded_by.is_none()).map(which).collect();
            let todo: Vec<Retired> = told
                .iter()
                .filter(|one| open.contains(&which(one)) && (first || state.open.contains(&which(one))))
                .cloned()
                .collect();
            state.open = open;
            state.retired = told.into_iter().chain(forgotten.iter().cloned()).collect();
            state.retired.sort_by_key(which);
            let gone = |one: &Retired| Gone {
                name: one.name.clone(),
                at: one.at,
                archive: one.farewell.as_ref().and_then(|farewell| farewell.archive.clone()),
            };
            self.gone.store(Arc::new(state.retired.iter().map(gone).collect()));
            (forgotten, todo)
        };
        for one in forgotten {
            let by = one.recorded_by.clone().unwrap_or_else(|| self.name.clone());
            // Where the store does not take it, the next look finds the same.
            let _ = self.store.retirement_recorded(&one, &by).await;
        }
        for one in todo {
            if !self.state().recorded.contains(&which(&one)) {
                if let Err(fault) = engine.record_retired(&one).await {
                    tracing::warn!(gateway = %one.name, %fault, "that a gateway was retired is recorded later");
                    continue;
                }
                tracing::warn!(gateway = %one.name, at = %one.at, "a gateway of the fleet was retired");
                self.state().recorded.insert(which(&one));
            }
            let _ = self.store.retirement_recorded(&one, &self.name).await;
        }
    }

    /// Waits until it is known how this process stands to its name, for so long as that may take.
    pub(super) async fn proved(&self) {
        let mut standing = self.standing.subscribe();
        let known = standing.wait_for(|standing| matches!(standing, Standing::Known(_)));
        if tokio::time::timeout(PATIENCE, known).await.is_err() {
            tracing::warn!(gateway = %self.name, "the store does not say whether another process goes by this gateway's name");
        }
    }

    /// This process ends: whoever starts next under its name need not wait.
    pub(super) async fn leave(&self) {
        let mut left = self.left.lock().await;
        *left = true;
        if let Err(fault) = self.store.leave(&self.name, self.process).await {
            tracing::debug!(%fault, "the store is not told that this gateway stops");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::redis::{Address, Options, Servers};

    fn run(process: u128, began: u64, seen: u64) -> Run {
        Run { began, process: Uuid::from_u128(process), seen }
    }

    #[tokio::test]
    async fn until_the_store_says_who_there_is_somebody_is_missing_whose_name_nobody_knows() {
        let nobody = Servers::One(Address { host: "127.0.0.1".to_owned(), port: 1 });
        let handle = tokio::runtime::Handle::current();
        let store = RedisStore::start(Options::new(nobody), &handle, Arc::new(|| 0));
        let directory = tempfile::tempdir().unwrap();
        let shadow = Arc::new(Shadow::open(&directory.path().join("shadow.redb")).unwrap());
        let roster = Roster::new(store, shadow, "a", "");
        let names: Vec<String> = roster.all().into_iter().map(|peer| peer.name).collect();
        assert_eq!((names, roster.retired()), (vec![UNKNOWN.to_owned()], Vec::new()));
    }

    #[test]
    fn whoever_is_alone_is_at_once_and_whoever_follows_waits_until_the_other_is_seen_to_be_over() {
        let me = run(2, 100, 100);
        assert_eq!(standing(&me, &[], false), Standing::Known(Named::Alone));
        let over = [run(1, 10, 99)];
        assert_eq!(standing(&me, &over, false), Standing::Waits);
        assert_eq!(standing(&me, &over, true), Standing::Known(Named::Alone));
    }

    #[test]
    fn of_two_that_go_on_the_later_one_gives_way_and_never_both() {
        let (early, late) = (run(1, 10, 120), run(2, 100, 130));
        for waited in [false, true] {
            assert_eq!(standing(&late, &[early], waited), Standing::Known(Named::Taken));
            assert_eq!(standing(&early, &[late], waited), Standing::Known(Named::Contested));
        }
        // By the same beat, after a store forgot: by the process.
        let (one, two) = (run(1, 10, 11), run(2, 10, 12));
        assert_eq!(standing(&two, &[one], true), Standing::Known(Named::Taken));
        assert_eq!(standing(&one, &[two], true), Standing::Known(Named::Contested));
        // Of three only the first serves.
        let third = run(3, 200, 210);
        assert_eq!(
            standing(&late, &[run(3, 200, 210), run(1, 10, 205)], true),
            Standing::Known(Named::Taken)
        );
        assert_eq!(
            standing(&third, &[run(2, 100, 205), run(1, 10, 150)], true),
            Standing::Known(Named::Taken)
        );
        assert_eq!(standing(&early, &[late, third], true), Standing::Known(Named::Contested));
    }
}
