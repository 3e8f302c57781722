//! Which consent level is in force for a tenant: its own, or what its chain of parents comes to (rule 6).
//!
//! Worked out at each decision, never stored.

use crate::model::{Rank, Tenant, Timestamp};

use super::{Facts, Lack, Policy};

/// How many parents may be walked; a longer chain is closed.
pub const LONGEST_CHAIN: usize = 64;

/// What is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InForce {
    /// The level, by its place on the ladder; 0 is the lowest.
    pub rank: Rank,
    /// The last instant at which it was seen to give nothing.
    pub closed_at: Option<Timestamp>,
}

/// The highest level of a tenant whose parent a service removed: `read_only`, or nothing on a ladder without it.
fn rank_alone(policy: &Policy) -> Rank {
    policy.ladder.levels().iter().position(|level| level.name.as_str() == "read_only").unwrap_or(0)
}

/// Works out the level in force. A chain that cannot be read whole, ends without a level, or passes
/// [`LONGEST_CHAIN`] comes to the lowest level; so does a tenant that was removed.
pub fn in_force(tenant: &Tenant, facts: &Facts, policy: &Policy) -> Result<InForce, Lack> {
    if tenant.removed.is_some() {
        return Ok(InForce { rank: 0, closed_at: tenant.consent.closed_at });
    }
    let mut at = tenant;
    let mut rank = usize::MAX;
    let mut closed_at = None;
    for _ in 0..=LONGEST_CHAIN {
        closed_at = closed_at.max(at.consent.closed_at);
        if let Some(cap) = &at.consent.cap {
            rank = rank.min(policy.ladder.rank(cap));
        }
        if !at.consent.inherit {
            // Neither a level nor a parent to ask: nothing was consented to.
            let rank = if at.consent.cap.is_some() { rank } else { 0 };
            return Ok(InForce { rank, closed_at });
        }
        let Some(parent) = &at.parent else { break };
        match facts.tenant(parent.as_str())? {
            Some(parent) => at = parent,
            None => break,
        }
        if at.removed.is_some() {
            // It leads nobody any more: what followed it stands alone, at the lower of the last level, which its
            // consent says, and this.
            rank = rank.min(rank_alone(policy));
        }
    }
    Ok(InForce { rank: 0, closed_at })
}
