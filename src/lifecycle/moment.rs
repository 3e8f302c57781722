//! What every rule of [`super`] is given, and what many of them ask first: who gives the command, and how far their token
//! reaches.
//!
//! Never here: a rule of one subject.

use std::collections::BTreeSet;

use crate::{
    model::{EnvironmentId, Giver, Key, LevelName, Rank, Subject, Tenant, TenantId, Timestamp, Version},
    policy::{Facts, Here, Lack, Policy, Push, rows::administers},
};

use super::{Actor, Refusal, Stop};

/// What every rule is given.
pub(super) struct Moment<'a> {
    pub(super) facts: &'a Facts,
    pub(super) actor: Actor<'a>,
    pub(super) now: Timestamp,
    pub(super) policy: &'a Policy,
}

impl<'a> Moment<'a> {
    /// A tenant, as far as roles in it are asked for.
    pub(super) fn here<'t>(&self, tenant: &'t TenantId) -> Here<'t>
    where
        'a: 't,
    {
        Here { tenant: tenant.as_str(), facts: self.facts, policy: self.policy }
    }

    /// The person, who must administer support access in that tenant.
    pub(super) fn administrator(&self, tenant: &TenantId, needed: &'static str) -> Result<&'a Subject, Stop> {
        match self.actor {
            Actor::Subject(subject) if subject.acting => Err(Refusal::Acting.into()),
            Actor::Subject(subject) if administers(subject, tenant, self.facts, self.policy, needed)? => {
                Ok(subject)
            }
            Actor::Subject(_) | Actor::Configuration | Actor::Clock | Actor::Application => {
                Err(Refusal::NotAllowed { needed }.into())
            }
        }
    }

    /// The service, which must be allowed to push that in that tenant.
    pub(super) fn service(&self, tenant: &TenantId, push: Push) -> Result<&Subject, Refusal> {
        match self.actor {
            Actor::Subject(subject) if subject.acting => Err(Refusal::Acting),
            Actor::Subject(subject) if self.policy.callers.may(subject, push, tenant) => Ok(subject),
            Actor::Subject(_) | Actor::Configuration | Actor::Clock | Actor::Application => {
                Err(Refusal::NotAllowed { needed: push.code() })
            }
        }
    }

    /// The name of a level.
    pub(super) fn level(&self, rank: Rank) -> LevelName {
        let level = self.policy.ladder.at(rank).map(|level| level.name.clone());
        level.unwrap_or_else(|| self.policy.default_level.clone())
    }

    /// Refuses what would choose or give something in a tenant that was removed.
    pub(super) fn still_there(&self, tenant: &Tenant) -> Result<(), Refusal> {
        if tenant.removed.is_some() { Err(Refusal::TenantRemoved) } else { Ok(()) }
    }

    /// Refuses what reaches into an environment that the caller's token is not for. Ends and withdrawals are free.
    pub(super) fn reaches(&self, wanted: &EnvironmentId) -> Result<(), Refusal> {
        match self.actor {
            Actor::Subject(Subject { environment: Some(own), .. }) if own != wanted => {
                Err(Refusal::EnvironmentForeign { own: own.clone(), wanted: wanted.clone() })
            }
            Actor::Subject(_) | Actor::Configuration | Actor::Clock | Actor::Application => Ok(()),
        }
    }

    /// Refuses what would give something in the whole tenant to a token that is for one environment of several. What only
    /// takes away is free.
    pub(super) fn reaches_all(&self, environments: &BTreeSet<EnvironmentId>) -> Result<(), Refusal> {
        let Actor::Subject(Subject { environment: Some(own), .. }) = self.actor else { return Ok(()) };
        match environments.iter().find(|wanted| *wanted != own) {
            Some(wanted) => Err(Refusal::EnvironmentForeign { own: own.clone(), wanted: wanted.clone() }),
            None => Ok(()),
        }
    }

    /// The person as a giver, with the address in the row that there is of them (GW-14).
    pub(super) fn giver(&self, tenant: &TenantId, by: &Subject, place: &str) -> Result<Giver, Lack> {
        let row = self.facts.member(tenant.as_str(), &by.id)?;
        Ok(Giver::of(by, row.and_then(|row| row.email.as_deref()), place))
    }

    /// The same for what may be a narrowing, which waits for no row: where that cannot be read the second says so.
    pub(super) fn giver_if_known(
        &self,
        tenant: &TenantId,
        by: &Subject,
        place: &str,
    ) -> Result<(Giver, Option<Lack>), Lack> {
        match self.giver(tenant, by, place) {
            Ok(giver) => Ok((giver, None)),
            Err(lack @ Lack::Unavailable) => Ok((Giver::of(by, None, place), Some(lack))),
            Err(need) => Err(need),
        }
    }

    /// Refuses when the document is no longer as the caller saw it.
    pub(super) fn as_seen(&self, key: &Key, expected: Option<Version>) -> Result<(), Refusal> {
        let Some(expected) = expected else { return Ok(()) };
        if self.facts.version(key) == Some(expected) { Ok(()) } else { Err(Refusal::Changed) }
    }
}
