//! What a resource is known to lie in, and what rows there and above it give somebody at it.
//!
//! Known is what the store says, what the path says where its route declares that the application checks it, and, where a decision
//! may name what is to be looked up ([`super::Facts::ask_outside`]), what the application says. Until that is there the chain goes on by
//! what it could be at best: so what is no in any case is not looked up, and neither is what is yes without.
//!
//! Never here: who writes rows ([`crate::lifecycle`]), whose roles are asked ([`super::resources`]).

use crate::model::{Joined, Resource, ResourceType, Subject, SubjectRef};

use super::{
    Here, Lack, PermissionId,
    look_up::{Could, Hearsay, wanted},
    resources::{About, Joins, MOST_DEPTH, RoleAt, Spot},
};

/// A resource in a chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link<'a> {
    pub(super) kind: &'a ResourceType,
    pub(super) id: &'a str,
    /// What the store knows of it, in this life of the tenant.
    stored: Option<&'a Resource>,
    /// What is known of it: that, or what was looked up.
    pub(super) known: Option<&'a Resource>,
    /// What more of it could be known.
    could: Could,
}

impl Link<'_> {
    /// Whether it could turn out that somebody made it, or that it is assigned to them.
    pub(super) fn may_be_theirs(&self) -> (bool, bool) {
        (self.could.creator, self.could.assignees)
    }
}

/// What a resource is known to lie in: itself first. Empty where nothing counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Chain<'a> {
    links: Vec<Link<'a>>,
    about: About<'a>,
    /// From here on the chain is as the path has it, and a look-up of the link before would tell.
    supposed: Option<usize>,
    /// Nobody says what the last link lies in, and a look-up of it would tell.
    open: bool,
}

impl<'a> Chain<'a> {
    /// Follows what is known from the resource upwards. What was removed, or what the path contradicts, leaves nothing.
    pub(super) fn of(spot: Spot<'a>, here: Here<'a>) -> Result<Chain<'a>, Lack> {
        let links = Vec::with_capacity(MOST_DEPTH);
        let mut chain = Chain { links, about: spot.about(), supposed: None, open: false };
        let (mut kind, mut id) = spot.itself();
        while chain.links.len() < MOST_DEPTH {
            let stored = match known(kind, id, here)? {
                Known::Gone => return Ok(Chain::default()),
                Known::Is(resource) => Some(resource),
                Known::Not => None,
            };
            // What a service said is all there is.
            let hearsay = match stored {
                Some(resource) if resource.learned.is_none() => Hearsay::None,
                Some(_) | None => here.facts.hearsay(here.tenant, kind, id, here.policy)?,
            };
            let (known, could) = match hearsay {
                Hearsay::None => (stored, Could::default()),
                Hearsay::Unasked(rule) => (stored, Could::of(rule, stored)),
                Hearsay::Told(resource) => (Some(resource), Could::default()),
            };
            let link = Link { kind, id, stored, known, could };
            chain.links.push(link);
            let Some(above) = here.policy.resources.parent(kind) else { break };
            let told = link.known.and_then(|resource| resource.parent.as_ref());
            let told = told.filter(|parent| parent.kind == *above).map(|parent| parent.id.as_str());
            id = match (told, spot.names(above)) {
                (Some(told), Some(named)) if told != named => return Ok(Chain::default()),
                (Some(told), _) => told,
                (None, Some(named)) if spot.is_checked() => named,
                (None, Some(named)) if link.could.parent => {
                    chain.supposed.get_or_insert(chain.links.len());
                    named
                }
                (None, None) if link.could.parent => {
                    chain.open = true;
                    break;
                }
                (None, _) => break,
            };
            kind = above;
        }
        Ok(chain)
    }

    /// How many of the links are more than supposed.
    fn sure(&self) -> usize {
        self.supposed.unwrap_or(self.links.len())
    }

    /// The types above a chain that stays open.
    fn beyond(&self, here: Here<'a>) -> impl Iterator<Item = &'a ResourceType> {
        let last = self.links.last().filter(|_| self.open).map(|link| link.kind);
        let rules = &here.policy.resources;
        std::iter::successors(last.and_then(|kind| rules.parent(kind)), |kind| rules.parent(kind))
            .take(MOST_DEPTH)
    }

    /// The look-up of one of its links.
    fn ask(&self, number: usize, here: Here<'a>) -> Option<Lack> {
        let link = self.links.get(number)?;
        wanted(here.tenant, link.kind, link.id)
    }

    /// The look-up of where the chain goes on.
    fn ask_further(&self, here: Here<'a>) -> Option<Lack> {
        let last = if self.open && self.supposed.is_none() { self.links.len() } else { self.sure() };
        self.ask(last.checked_sub(1)?, here)
    }

    /// Itself, and what it is known to lie in, nearest first. Where more of it could be known and would matter by `matters`, that
    /// is asked for: given all that it could lie in, and the types of what is not even named.
    pub(super) fn places(
        &self,
        here: Here<'a>,
        matters: impl Fn(&[(&'a ResourceType, &'a str)], &[&'a ResourceType]) -> bool,
    ) -> Result<Vec<(&'a ResourceType, &'a str)>, Lack> {
        let all: Vec<_> = self.links.iter().map(|link| (link.kind, link.id)).collect();
        let (sure, _) = all.split_at_checked(self.sure()).unwrap_or((&all, &[]));
        let beyond: Vec<_> = self.beyond(here).collect();
        let more = sure.len() < all.len() || !beyond.is_empty();
        if more
            && !matters(sure, &[])
            && matters(&all, &beyond)
            && let Some(lack) = self.ask_further(here)
        {
            return Err(lack);
        }
        Ok(sure.to_vec())
    }

    /// Whether a row of this person, where they may have one, gives them this at the resource. `left`: how often they left all
    /// resources. What `but` gave does not count.
    pub(super) fn gives(
        &self,
        (person, joins, left): (&SubjectRef, &Joins<'_>, u32),
        permission: PermissionId,
        but: Option<&Subject>,
        here: Here<'a>,
    ) -> Result<bool, Lack> {
        let acted_on = self.links.first();
        let holds = |role: &RoleAt| match self.about {
            About::Itself => role.holds(permission, person, acted_on),
            About::All => role.permissions.contains(permission),
            About::Some(items) => role.may_hold(permission, items),
        };
        // What would be looked up, and why: it could be theirs, or lie where they have a row.
        let mut lack = None;
        for (number, link) in self.links.iter().enumerate().filter(|(_, link)| joins.reach(link.kind)) {
            let Some((row, role)) = self.row(link, person, left, here)? else { continue };
            if but.is_some_and(|but| row.by.iter().any(|giver| giver.is(but))) {
                continue;
            }
            let holds = holds(role);
            if holds && number < self.sure() {
                return Ok(true);
            }
            let theirs = self.about == About::Itself && role.could_hold(permission, acted_on);
            if lack.is_none() && (holds || theirs) {
                lack = if holds { self.ask_further(here) } else { self.ask(0, here) };
            }
        }
        let somewhere = |kind: &ResourceType| {
            let roles = here.policy.resources.roles.values();
            let theirs = |role: &RoleAt| self.about == About::Itself && role.could_hold(permission, acted_on);
            roles.filter(|role| role.at == *kind).any(|role| holds(role) || theirs(role))
        };
        if lack.is_none() && self.beyond(here).filter(|kind| joins.reach(kind)).any(somewhere) {
            lack = self.ask_further(here);
        }
        lack.map_or(Ok(false), Err)
    }

    fn row(
        &self,
        link: &Link<'a>,
        person: &SubjectRef,
        left: u32,
        here: Here<'a>,
    ) -> Result<Option<(&'a Joined, &'a RoleAt)>, Lack> {
        // Without the resource in the store nobody knows whether a row is of this life of it.
        let Some(resource) = link.stored.filter(|_| here.policy.resources.has_rows(link.kind)) else {
            return Ok(None);
        };
        let row = here.facts.joined(here.tenant, link.kind, link.id, person)?;
        let counts = |row: &&Joined| row.is_counted(resource.life) && row.left == left;
        Ok(row.filter(counts).and_then(|row| {
            let role = here.policy.resources.role_at(&row.role, link.kind)?;
            Some((row, role))
        }))
    }
}

/// What is known of a resource.
pub(super) enum Known<'a> {
    /// This.
    Is(&'a Resource),
    /// Nothing; what was said in another life of the tenant says nothing either.
    Not,
    /// That it was removed.
    Gone,
}

/// What the store knows of it.
pub(super) fn known<'a>(kind: &ResourceType, id: &str, here: Here<'a>) -> Result<Known<'a>, Lack> {
    if !here.policy.resources.types.contains_key(kind) {
        return Ok(Known::Not);
    }
    let Some(resource) = here.facts.resource(here.tenant, kind, id)? else { return Ok(Known::Not) };
    let Some(tenant) = here.facts.tenant(here.tenant)? else { return Ok(Known::Not) };
    Ok(match resource {
        resource if resource.tenant_life != tenant.life => Known::Not,
        resource if resource.removed.is_some() => Known::Gone,
        resource => Known::Is(resource),
    })
}
