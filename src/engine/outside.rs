//! What the store does not know of a resource, looked up at its application: when that is done, and by whom it is asked for.
//!
//! Only for a decision that is no by everything that is known and could be yes by what would be learned
//! ([`crate::policy::look_up`]). Whatever does not come counts as unknown, and unknown means no.
//!
//! Never here: the asking itself, and how long an answer is kept: that is handed in, from `proxy`.

use std::{future::Future, pin::Pin, sync::Arc};

use crate::{
    model::{Key, ResourceRef, TenantId, Timestamp},
    policy::{Deadline, Denial, Due, Facts, LookedUp, Policy, look_up},
};

use super::{Engine, records::Rest};

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

/// A look-up under way. It is bounded in time by whoever does it.
pub type Asking = Pin<Box<dyn Future<Output = Told> + Send>>;

/// Whoever asks applications.
pub trait Outside: Send + Sync {
    /// What was said lately and still counts at this instant, or is known not to be had.
    fn at_hand(&self, wanted: &Wanted, now: Timestamp) -> Option<Told>;

    /// Asks, at this instant: an answer counts from then on. `wall` is the same by the clock alone, for what is signed.
    fn ask(&self, wanted: Wanted, now: Timestamp, wall: Timestamp) -> Asking;
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
    pub(super) fn at_hand(&self, facts: &Facts, key: &Key) -> Option<Told> {
        let Some((wanted, outside)) = Self::wanted(facts, key).zip(self.outside.get()) else {
            return Some(Told::Nothing);
        };
        outside.at_hand(&wanted, self.now())
    }

    /// Looks it up.
    pub(super) async fn look_up(&self, facts: &Facts, key: &Key) -> Told {
        match Self::wanted(facts, key).zip(self.outside.get()) {
            Some((wanted, outside)) => outside.ask(wanted, self.now(), self.wall()).await,
            None => Told::Nothing,
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
