//! What a good session may do at this instant, for telling the agent and the tenant.
//!
//! Never here: deciding a request (see [`mod@super::decide`]).

use crate::model::{Session, Subject, Tenant, Timestamp};

use super::{
    Facts, Here, Lack, Policy,
    standing::{Fallen, standing},
};

/// The rights of a good session at this instant, for telling the agent and the tenant.
pub fn rights_now(
    session: &Session,
    tenant: &Tenant,
    tenant_id: &str,
    subject: &Subject,
    facts: &Facts,
    now: Timestamp,
    policy: &Policy,
) -> Result<Result<Vec<String>, Fallen>, Lack> {
    let standing = match standing(session, tenant_id, tenant, subject, facts, now, policy)? {
        Ok(standing) => standing,
        Err(fallen) => return Ok(Err(fallen)),
    };
    let here = Here { tenant: tenant_id, facts, policy };
    let role = here.role(&session.role)?;
    let level = |rank, id| policy.role_at(rank).is_some_and(|level| level.permissions.contains(id));
    let mut rights = Vec::new();
    for (id, name) in policy.catalogue.iter() {
        let held = session.rights.binary_search(name).is_ok()
            && !policy.above_ceiling(id)
            && role.holds(policy, id)
            && standing.bound.is_none_or(|rank| level(rank, id));
        let by_giver = match standing.giver {
            Some(giver) if held => giver.can(here, id)?,
            Some(_) | None => held,
        };
        if by_giver {
            rights.push(name.to_string());
        }
    }
    Ok(Ok(rights))
}
