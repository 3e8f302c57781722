//! What the store does not know of a resource, looked up at its application: when that is done, and by whom it is asked for.
//!
//! Only for a decision that is no by everything that is known and could be yes by what would be learned
//! ([`crate::policy::look_up`]). Whatever does not come counts as unknown, and unknown means no.
//!
//! Never here: the asking itself, and how long an answer is kept: that is handed in, from `proxy`.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc};

use tokio::task::JoinSet;

use crate::{
    model::{Key, ResourceRef, SubjectRef, TenantId, Timestamp},
    policy::{Deadline, Denial, Due, Facts, LookedUp, Need, Policy, look_up},
};

use super::{Clock, Engine, records::Rest, registry::Live};

/// How many exchanges of one tenant are decided again at a time where that may take look-ups.
const AGAIN_AT_ONCE: usize = 16;

/// One resource that is to be looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// Of this tenant.
    pub tenant: TenantId,
    /// … in this life of it.
    pub life: u32,
    /// Which one.
    pub resource: ResourceRef,
}

/// What a look-up came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The application said this.
    This(Arc<LookedUp>),
    /// It said nothing that counts.
    Nothing,
    /// It did not answer in time, or could not be asked.
    Silence,
}

impl Told {
    /// What was said, if anything.
    pub fn said(self) -> Option<Arc<LookedUp>> {
        match self {
            Told::This(said) => Some(said),
            Told::Nothing | Told::Silence => None,
        }
    }
}

/// For whom something is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// This person, whose request waits for it.
    Person(SubjectRef),
    /// Nobody who waits: an exchange that holds until it is decided again, and would be cut for what others ask for.
    UnderWay,
}

/// The instants that whoever asks goes by.
#[derive(Clone)]
pub struct Instants {
    clock: Arc<dyn Clock>,
    ahead_ms: i64,
}

impl Instants {
    /// As [`Engine::now`].
    pub fn now(&self) -> Timestamp {
        self.clock.now().plus_ms(self.ahead_ms)
    }

    /// As [`Engine::wall`]: for what is signed.
    pub fn wall(&self) -> Timestamp {
        self.clock.now()
    }
}

/// A look-up under way. It is bounded in time by whoever does it.
pub type Asking = Pin<Box<dyn Future<Output = Told> + Send>>;

/// Whoever asks applications.
pub trait Outside: Send + Sync {
    /// What was said lately and still counts at this instant, or is known not to be had. That somebody else was not answered
    /// says nothing of what is under way.
    fn at_hand(&self, wanted: &Wanted, now: Timestamp, asker: &Asker) -> Option<Told>;

    /// Asks: an answer counts from the instant at which that is done.
    fn ask(&self, wanted: Wanted, instants: Instants, asker: &Asker) -> Asking;
}

impl Engine {
    /// Who asks applications from now on. Said once; without it nothing is looked up.
    pub fn look_outside(&self, outside: Arc<dyn Outside>) {
        let _ = self.outside.set(outside);
    }

    /// Whether a decision that came to this no is to be made once more, with leave to name what is to be looked up.
    pub(super) fn looks_further(&self, denial: &Denial, facts: &mut Facts, policy: &Policy) -> bool {
        let further =
            !facts.asks_outside() && self.outside.get().is_some() && look_up::may_turn(denial, facts, policy);
        if further {
            facts.ask_outside(true);
        }
        further
    }

    /// Whether a rule that names this document wants it looked up: it was read before.
    pub(super) fn is_outside(facts: &Facts, key: &Key) -> bool {
        facts.get(key).is_some()
    }

    /// The name of what is to be looked up.
    fn wanted(facts: &Facts, key: &Key) -> Option<Wanted> {
        let Key::Resource(tenant, resource) = key else { return None };
        let life = facts.tenant(tenant.as_str()).ok()??.life;
        Some(Wanted { tenant: tenant.clone(), life, resource: resource.clone() })
    }

    /// What was looked up lately; without waiting.
    pub(super) fn at_hand(&self, facts: &Facts, key: &Key, asker: &Asker) -> Option<Told> {
        let Some((wanted, outside)) = Self::wanted(facts, key).zip(self.outside.get()) else {
            return Some(Told::Nothing);
        };
        outside.at_hand(&wanted, self.now(), asker)
    }

    /// Looks it up.
    pub(super) async fn look_up(&self, facts: &Facts, key: &Key, asker: &Asker) -> Told {
        let instants = Instants { clock: Arc::clone(&self.clock), ahead_ms: self.ahead_ms };
        match Self::wanted(facts, key).zip(self.outside.get()) {
            Some((wanted, outside)) => outside.ask(wanted, instants, asker).await,
            None => Told::Nothing,
        }
    }

    /// Looks up what of this has to be; the rest are documents.
    pub(super) async fn look_up_of(&self, need: Need, facts: &mut Facts, asker: &Asker) -> Need {
        let mut rest = Vec::with_capacity(need.0.len());
        for key in need.0 {
            if Self::is_outside(facts, &key) {
                let told = self.look_up(facts, &key, asker).await;
                facts.put_looked_up(key, told.said());
            } else {
                rest.push(key);
            }
        }
        Need(rest)
    }

    /// The same by what is at hand; `None` where the application would have to be asked.
    pub(super) fn at_hand_of(&self, need: Need, facts: &mut Facts, asker: &Asker) -> Option<Need> {
        let mut rest = Vec::with_capacity(need.0.len());
        for key in need.0 {
            if Self::is_outside(facts, &key) {
                let told = self.at_hand(facts, &key, asker)?;
                facts.put_looked_up(key, told.said());
            } else {
                rest.push(key);
            }
        }
        Some(Need(rest))
    }

    /// Decides these again, beside whoever calls: each holds until its turn has come, and it may take look-ups. No tenant's
    /// wait for another's (law 11).
    pub(super) fn decide_apart(self: &Arc<Self>, all: Vec<Arc<Live>>) {
        let mut tenants: HashMap<Option<Arc<str>>, Vec<Arc<Live>>> = HashMap::new();
        for live in all {
            let knock = live.case.get().map(|case| case.knock.load_full());
            let tenant = knock.and_then(|knock| knock.tenant.as_str().map(Arc::from));
            tenants.entry(tenant).or_default().push(live);
        }
        for group in tenants.into_values() {
            let engine = Arc::clone(self);
            self.background.spawn(async move {
                let mut turns = JoinSet::new();
                for live in group {
                    if turns.len() >= AGAIN_AT_ONCE {
                        turns.join_next().await;
                    }
                    let engine = Arc::clone(&engine);
                    turns.spawn(async move { engine.judge_again(&live).await });
                }
                while turns.join_next().await.is_some() {}
            });
        }
    }
}

/// A deadline, or when what was looked up has to be looked up again, if that is sooner.
pub(super) fn until_asked_again(deadline: Deadline, facts: &Facts) -> Deadline {
    match facts.looked_up_until() {
        Some(at) => deadline.min(Deadline { at, due: Due::LookUp }),
        None => deadline,
    }
}

/// What of a decision's grounds was looked up, for its record: when it was asked for.
pub(super) fn rests(facts: &Facts) -> impl Iterator<Item = Rest> {
    facts.looked_up().map(|(key, said)| {
        // As its document is called, and whence it is known.
        let document = format!("looked_up/{}", key.to_string().trim_start_matches("resource/"));
        Rest { document, version: said.since.to_string() }
    })
}
