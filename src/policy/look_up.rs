//! What may be asked of an application about its resources, and what its answers say: who made one, to whom it is assigned, what it
//! lies in. Asked is only where no service said what a resource is, by everything that is known the answer is no, and what would
//! be said could turn it. Of what was learned from its creation an answer adds what that does not say; what the two contradict each
//! other in nobody knows (rule 15).
//!
//! A decision is asked a second time then, of facts that [say so](Facts::ask_outside), and names a resource that was read in the store
//! once more: that is what is to be looked up. Changes are never decided on what was looked up, for they are committed
//! against what was read in the store.
//!
//! Never here: the asking, how long answers are kept (see `proxy`), who may do what by them (`chain`).

use std::sync::Arc;

use crate::model::{
    Document, IssuerName, Key, Resource, ResourceId, ResourceRef, ResourceType, TenantId, Timestamp,
};

use super::{Denial, Fact, Facts, Lack, Need, Policy, Reason, narrow::Pointer};

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

/// What a look-up could tell of a resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Could {
    pub(super) creator: bool,
    pub(super) assignees: bool,
    pub(super) parent: bool,
}

impl Could {
    /// By this rule, where this was learned of the resource, if anything: what was learned stays, and what is unclear stays so.
    pub(super) fn of(rule: &LookUp, learned: Option<&Resource>) -> Could {
        let from = learned.and_then(|resource| resource.learned.as_ref());
        let parent = learned.is_none_or(|resource| resource.parent.is_none());
        Could {
            creator: rule.creator.is_some() && learned.is_none(),
            assignees: rule.assignees.is_some(),
            parent: rule.parent.is_some() && parent && !from.is_some_and(|from| from.parent_unclear),
        }
    }
}

/// What is known by what was learned of a resource and what was said of it.
fn both(learned: &Resource, said: &Resource) -> Resource {
    let from = learned.learned.clone().unwrap_or_default();
    let parent = match (&learned.parent, &said.parent) {
        (None, told) => told.clone().filter(|_| !from.parent_unclear),
        (Some(known), told) => {
            Some(known.clone()).filter(|known| told.as_ref().is_none_or(|told| told == known))
        }
    };
    let agrees = |known: &crate::model::SubjectRef| said.creator.as_ref().is_none_or(|told| told == known);
    Resource {
        parent,
        creator: learned.creator.clone().filter(agrees),
        assignees: said.assignees.clone(),
        ..learned.clone()
    }
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

    /// Adds what a look-up came to; `None` where it came to nothing. Of a resource that was learned it says no more than fits to
    /// that.
    pub fn put_looked_up(&mut self, resource: Key, told: Option<Arc<LookedUp>>) {
        let learned = match self.get(&resource) {
            Some(Fact::Found(snapshot)) => match &snapshot.document {
                Document::Resource(known) if known.learned.is_some() => Some(known),
                _ => None,
            },
            Some(Fact::Absent | Fact::Unavailable) | None => None,
        };
        let told = told.map(|told| match learned {
            Some(known) if known.tenant_life == told.resource.tenant_life => {
                Arc::new(LookedUp { resource: both(known, &told.resource), ..LookedUp::clone(&told) })
            }
            Some(_) | None => told,
        });
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

    /// What is known of a resource of which no service said anything in this life of the tenant.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Learned, SubjectRef};

    fn person(sub: &str) -> Option<SubjectRef> {
        Some(SubjectRef { issuer: "app".parse().unwrap(), sub: sub.into() })
    }

    fn board(id: &str) -> Option<ResourceRef> {
        Some(ResourceRef { kind: "board".parse().unwrap(), id: id.parse().unwrap() })
    }

    // PFP-04
    #[test]
    fn an_answer_adds_to_what_was_learned_and_contradicts_it_into_the_unknown() {
        let learned = |creator, parent, from: Learned| Resource {
            creator,
            parent,
            life: 2,
            learned: Some(from),
            ..Resource::default()
        };
        let said = |creator, parent| Resource {
            creator,
            parent,
            assignees: person("mia").into_iter().collect(),
            ..Resource::default()
        };
        let plain = Learned::default;
        for (known, told, creator, parent) in [
            (
                learned(person("clara"), board("b1"), plain()),
                said(person("clara"), board("b1")),
                person("clara"),
                board("b1"),
            ),
            (learned(person("clara"), board("b1"), plain()), said(None, None), person("clara"), board("b1")),
            (
                learned(person("clara"), board("b1"), plain()),
                said(person("lena"), board("b1")),
                None,
                board("b1"),
            ),
            (
                learned(person("clara"), board("b1"), plain()),
                said(person("clara"), board("b2")),
                person("clara"),
                None,
            ),
            // Made by none of the tenant's people is something that was learned; nowhere is not.
            (learned(None, None, plain()), said(person("clara"), board("b1")), None, board("b1")),
            (
                learned(None, None, Learned { parent_unclear: true, creator_unclear: true, ..plain() }),
                said(person("clara"), board("b1")),
                None,
                None,
            ),
        ] {
            let all = both(&known, &told);
            assert_eq!((all.creator, all.parent), (creator, parent), "{known:?} {told:?}");
            assert_eq!((all.assignees, all.life), (told.assignees, 2));
        }
    }
}
