//! What may be asked of an application about its resources, and what its answers say: who made one, to whom it is assigned, what it
//! lies in. Asked is only where the store knows nothing of a resource, by everything that is known the answer is no, and what would
//! be learned could turn it.
//!
//! A decision is asked a second time then, of facts that [say so](Facts::ask_outside), and names a resource that the store has
//! nothing of once more: that is what is to be looked up. Changes are never decided on what was looked up, for they are committed
//! against what was read in the store.
//!
//! Never here: the asking, how long answers are kept (see `proxy`), who may do what by them ([`super::chain`]).

use std::sync::Arc;

use crate::model::{IssuerName, Key, Resource, ResourceId, ResourceRef, ResourceType, TenantId, Timestamp};

use super::{Denial, Facts, Lack, Need, Policy, Reason, narrow::Pointer};

/// How a type's resources are looked up. Without one they are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookUp {
    /// At which upstream, by its place in the configuration.
    pub upstream: usize,
    /// At which path, piece by piece.
    pub path: Vec<PathPiece>,
    /// Where in the answer the resource's own identifier stands; one that is another is no answer.
    pub id: Option<Pointer>,
    /// Where the tenant's stands, likewise.
    pub tenant: Option<Pointer>,
    /// Where who made it stands.
    pub creator: Option<Pointer>,
    /// Where those to whom it is assigned stand.
    pub assignees: Option<Each>,
    /// Where the identifier of what it lies in stands.
    pub parent: Option<Pointer>,
    /// Whose subjects they are.
    pub issuer: Option<IssuerName>,
    /// How long an answer counts, from before it was asked for, in milliseconds.
    pub for_ms: i64,
    /// How long the asking may take as a whole, in milliseconds.
    pub within_ms: i64,
}

/// A piece of a look-up's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathPiece {
    /// As it is.
    Text(String),
    /// The tenant.
    Tenant,
    /// The resource.
    Id,
}

/// Values in an answer: one, or one in each item of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Each {
    /// Where the value is, or the list.
    pub at: Pointer,
    /// Of a list: where in an item.
    pub item: Option<Pointer>,
}

impl LookUp {
    /// The target of the request. Identifiers consist of what is never encoded, and none is a dot segment (rule 2).
    pub fn target(&self, tenant: &TenantId, id: &ResourceId) -> String {
        let pieces = self.path.iter().map(|piece| match piece {
            PathPiece::Text(text) => text.as_str(),
            PathPiece::Tenant => tenant.as_str(),
            PathPiece::Id => id.as_str(),
        });
        pieces.collect()
    }
}

/// What an application said of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookedUp {
    /// What it said; the rest is as of one of which nothing is known.
    pub resource: Resource,
    /// When it was asked for.
    pub since: Timestamp,
    /// From then on it says nothing any more.
    pub until: Timestamp,
}

/// What facts hold beside documents.
#[derive(Debug, Clone, Default)]
pub(super) struct Outside {
    asks: bool,
    told: Vec<(Key, Option<Arc<LookedUp>>)>,
}

/// What is known of a resource that the store has nothing of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Hearsay<'a> {
    /// Nothing, and nobody is asked.
    None,
    /// Nothing yet; it can be looked up like this.
    Unasked(&'a LookUp),
    /// This.
    Told(&'a Resource),
}

impl Facts {
    /// Whether a decision that comes to no may name what is to be looked up.
    pub fn asks_outside(&self) -> bool {
        self.outside.asks
    }

    /// From here on it may, or may not.
    pub fn ask_outside(&mut self, asks: bool) {
        self.outside.asks = asks;
    }

    /// Adds what a look-up came to; `None` where it came to nothing.
    pub fn put_looked_up(&mut self, resource: Key, told: Option<Arc<LookedUp>>) {
        if self.outside.told.iter().all(|(known, _)| *known != resource) {
            self.outside.told.push((resource, told));
        }
    }

    /// The answers that a decision rests on.
    pub fn looked_up(&self) -> impl Iterator<Item = (&Key, &LookedUp)> {
        self.outside.told.iter().filter_map(|(key, told)| Some((key, told.as_deref()?)))
    }

    /// Until when all of them count; `None` where there are none.
    pub fn looked_up_until(&self) -> Option<Timestamp> {
        self.looked_up().map(|(_, told)| told.until).min()
    }

    /// What is known of a resource of which the store says nothing in this life of the tenant.
    pub(super) fn hearsay<'a>(
        &'a self,
        tenant: &str,
        kind: &ResourceType,
        id: &str,
        policy: &'a Policy,
    ) -> Result<Hearsay<'a>, Lack> {
        let rule = policy.resources.types.get(kind).and_then(|rule| rule.look_up.as_deref());
        let Some(look_up) = rule.filter(|_| self.outside.asks) else { return Ok(Hearsay::None) };
        // A tenant that is not known, or was removed, has nothing that could be asked for (law 11).
        if self.tenant(tenant)?.is_none_or(|tenant| tenant.removed.is_some()) {
            return Ok(Hearsay::None);
        }
        let told = self.outside.told.iter().find(|(key, _)| {
            matches!(key, Key::Resource(t, r) if r.id.as_str() == id && r.kind == *kind && t.as_str() == tenant)
        });
        Ok(match told {
            None => Hearsay::Unasked(look_up),
            Some((_, None)) => Hearsay::None,
            Some((_, Some(told))) => Hearsay::Told(&told.resource),
        })
    }
}

/// That a resource is to be looked up; nothing where its name could be none.
pub(super) fn wanted(tenant: &str, kind: &ResourceType, id: &str) -> Option<Lack> {
    let resource = ResourceRef { kind: kind.clone(), id: ResourceId::new(id).ok()? };
    Some(Lack::Need(Need(vec![Key::Resource(TenantId::new(tenant).ok()?, resource)])))
}

/// Whether a look-up could turn this refusal: it is about what somebody may do somewhere, and the store was asked for a resource
/// that can be looked up. Where it could not be read at all, nobody is asked in its place.
pub fn may_turn(denial: &Denial, facts: &Facts, policy: &Policy) -> bool {
    match denial.reason {
        Reason::PermissionMissing | Reason::GrantScope | Reason::GrantorLacks | Reason::RoleUnknown => {}
        _ => return false,
    }
    let can = |key: &Key| match key {
        Key::Resource(_, resource) => {
            policy.resources.types.get(&resource.kind).is_some_and(|rule| rule.look_up.is_some())
        }
        _ => false,
    };
    policy.resources.looks_up() && facts.versions().any(|(key, _)| can(key))
}
