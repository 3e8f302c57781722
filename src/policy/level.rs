//! Which consent level is in force for a tenant at an instant: its own, or what its chain of parents comes to (rule 6),
//! and while a raise runs at least that.
//!
//! Worked out at each decision, never stored.

use std::collections::BTreeSet;

use crate::model::{Giver, Rank, Subject, SubjectRef, Tenant, Timestamp, Veiled};

use super::{Facts, Lack, Policy};

/// How many parents may be walked; a longer chain is closed.
pub const LONGEST_CHAIN: usize = 64;

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce<'a> {
    /// The level, by its place on the ladder; 0 is the lowest.
    pub rank: Rank,
    /// The last instant at which it was seen to give nothing.
    pub closed_at: Option<Timestamp>,
    /// When it may fall by the passing of time alone: the end of the raise that it rests on, here or further up.
    pub falls: Option<Timestamp>,
    /// Who gave it here.
    pub by: Option<&'a BTreeSet<Giver>>,
    /// Who gave it further up, as far as that was followed: persons of other tenants.
    pub above: Vec<&'a BTreeSet<Giver>>,
    /// And of whom further up only a tenant that is gone still tells.
    pub veiled: Vec<&'a BTreeSet<Veiled>>,
}

impl InForce<'_> {
    /// What a chain comes to that cannot be read whole.
    pub const CLOSED: InForce<'static> =
        InForce { rank: 0, closed_at: None, falls: None, by: None, above: Vec::new(), veiled: Vec::new() };

    /// Who gave it here.
    pub fn givers(&self) -> impl Iterator<Item = &Giver> {
        self.by.into_iter().flatten()
    }

    /// Who gave it further up, as it may be kept here: compared, not named (law 11).
    pub fn above(&self, place: &str) -> BTreeSet<Veiled> {
        let persons = self.above.iter().flat_map(|by| by.iter()).map(|giver| giver.veiled(place));
        persons.chain(self.veiled.iter().flat_map(|by| by.iter().cloned())).collect()
    }

    /// Whether this subject gave it themselves (GW-14), and by which identity, where that is one of this tenant.
    pub fn given_by(&self, subject: &Subject) -> Option<Option<&SubjectRef>> {
        if let Some(own) = self.givers().find(|giver| giver.is(subject)) {
            return Some(Some(&own.person));
        }
        let above = self.above.iter().flat_map(|by| by.iter()).any(|giver| giver.is(subject));
        let veiled = || self.veiled.iter().flat_map(|by| by.iter()).any(|giver| giver.is(subject));
        (above || veiled()).then_some(None)
    }
}

/// The highest level of a tenant whose parent a service removed: `read_only`, or nothing on a ladder without it.
pub fn rank_alone(policy: &Policy) -> Rank {
    policy.ladder.levels().iter().position(|level| level.name.as_str() == "read_only").unwrap_or(0)
}

/// Whether there is a parent to follow. One that cannot be read may be one.
pub fn leads(tenant: &Tenant, facts: &Facts) -> Result<bool, Lack> {
    let Some(parent) = &tenant.parent else { return Ok(false) };
    match facts.tenant(parent.as_str()) {
        Ok(parent) => Ok(parent.is_none_or(|parent| parent.removed.is_none())),
        Err(Lack::Unavailable) => Ok(true),
        Err(need) => Err(need),
    }
}

/// Works out the level in force. A chain that cannot be read whole, ends without a level, or passes
/// [`LONGEST_CHAIN`] comes to the lowest level; so does a tenant that was removed. Where nothing else changes, time only
/// lowers what this answers.
pub fn in_force<'a>(
    tenant: &'a Tenant,
    facts: &'a Facts,
    policy: &Policy,
    now: Timestamp,
) -> Result<InForce<'a>, Lack> {
    if tenant.removed.is_some() {
        return Ok(InForce { closed_at: tenant.consent.closed_at, ..InForce::CLOSED });
    }
    level(tenant, facts, policy, now, LONGEST_CHAIN)
}

/// From when on the level in force gives nothing by the passing of time alone, as far as can be told now.
pub fn closes_at(
    tenant: &Tenant,
    facts: &Facts,
    policy: &Policy,
    now: Timestamp,
) -> Result<Option<Timestamp>, Lack> {
    let mut next = in_force(tenant, facts, policy, now)?.falls;
    while let Some(at) = next {
        let then = in_force(tenant, facts, policy, at)?;
        if policy.ladder.role_at(then.rank).is_none() {
            return Ok(Some(at));
        }
        // Each raise ends once, so this comes to an end.
        next = then.falls.filter(|falls| *falls > at);
    }
    Ok(None)
}

fn level<'a>(
    tenant: &'a Tenant,
    facts: &'a Facts,
    policy: &Policy,
    now: Timestamp,
    further: usize,
) -> Result<InForce<'a>, Lack> {
    let chosen = standing(tenant, facts, policy, now, further);
    let Some(raise) = tenant.consent.raise_at(now) else { return chosen };
    let chosen = match chosen {
        // It stands by itself, whatever lies below it.
        Err(Lack::Unavailable) => InForce::CLOSED,
        known => known?,
    };
    let rank = policy.ladder.rank(&raise.level);
    // While it runs, a closing further up is none here.
    let open = policy.ladder.role_at(rank).is_some();
    let closed_at = if open { tenant.consent.closed_at } else { chosen.closed_at };
    Ok(if chosen.rank >= rank {
        InForce { closed_at, ..chosen }
    } else {
        InForce { rank, closed_at, falls: Some(raise.until), by: Some(&raise.by), ..InForce::CLOSED }
    })
}

/// What the choice that stands comes to, without a raise of the tenant's own.
fn standing<'a>(
    tenant: &'a Tenant,
    facts: &'a Facts,
    policy: &Policy,
    now: Timestamp,
    further: usize,
) -> Result<InForce<'a>, Lack> {
    let own = &tenant.consent;
    // What nobody gave is nobody's: nothing is kept of it.
    let by = Some(&own.by).filter(|by| !by.is_empty());
    let mut veiled: Vec<&BTreeSet<Veiled>> = Vec::new();
    if !own.above.is_empty() {
        veiled.push(&own.above);
    }
    let cap = own.cap.as_ref().map(|cap| policy.ladder.rank(cap));
    if !own.inherit {
        // Neither a level nor a parent to ask: nothing was consented to.
        let (rank, closed_at) = (cap.unwrap_or(0), own.closed_at);
        return Ok(InForce { rank, closed_at, by, veiled, ..InForce::CLOSED });
    }
    let parent = match &tenant.parent {
        Some(parent) if further > 0 => facts.tenant(parent.as_str())?,
        Some(_) | None => None,
    };
    let above = match parent {
        Some(parent) => {
            let above = level(parent, facts, policy, now, further - 1)?;
            // One that was removed leads nobody any more: what followed it stands alone, at the lower of its last level,
            // which its consent says, and this.
            let alone = parent.removed.map_or(usize::MAX, |_| rank_alone(policy));
            InForce { rank: above.rank.min(alone), ..above }
        }
        None => InForce::CLOSED,
    };
    veiled.extend(above.veiled);
    Ok(InForce {
        rank: cap.map_or(above.rank, |cap| cap.min(above.rank)),
        closed_at: own.closed_at.max(above.closed_at),
        falls: above.falls,
        by,
        above: above.by.into_iter().chain(above.above).collect(),
        veiled,
    })
}
