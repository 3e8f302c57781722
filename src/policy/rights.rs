//! What a good session may do at this instant, for telling the agent and the tenant.
//!
//! Never here: deciding a request (see [`mod@super::decide`]).

use crate::model::{Basis, Session, Subject, Tenant, Timestamp};

use super::{
    Facts, Here, Lack, Meaning, Policy,
    login::acts,
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
    let role = session.role.as_ref().map_or(Ok(Meaning::Nothing), |name| here.role(name))?;
    let level = |rank, id| policy.role_at(rank).is_some_and(|level| level.permissions.contains(id));
    let mut rights = Vec::new();
    for (id, name) in policy.catalogue.iter() {
        let may = if let Basis::ActAs(_) = session.basis {
            acts(&standing, None, id, here)?
        } else {
            let held = session.rights.binary_search(name).is_ok()
                && !policy.above_ceiling(id)
                && role.holds(policy, id)
                && standing.bound.is_none_or(|rank| level(rank, id));
            match standing.giver {
                Some(giver) if held => giver.can(here, id)?,
                Some(_) | None => held,
            }
        };
        if may {
            rights.push(name.to_string());
        }
    }
    Ok(Ok(rights))
}
