//! What a good session may do at this instant, for telling the agent and the tenant.
//!
//! Never here: deciding a request (see [`mod@super::decide`]).

use crate::model::{Basis, Session, Subject, Tenant, Timestamp};

use super::{
    Facts, Lack, Policy,
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
    Ok(standing(session, tenant_id, tenant, subject, facts, now, policy)?.map(|standing| {
        policy
            .catalogue
            .iter()
            .filter(|(id, name)| {
                if matches!(session.basis, Basis::ActAs(_)) {
                    return acts(standing.giver, *id, policy);
                }
                let role = session.role.as_ref().and_then(|name| policy.role(name));
                session.rights.binary_search(name).is_ok()
                    && !policy.above_ceiling(*id)
                    && role.is_some_and(|role| role.permissions.contains(*id))
                    && standing.bound.is_none_or(|rank| {
                        policy.role_at(rank).is_some_and(|level| level.permissions.contains(*id))
                    })
                    && standing.giver.is_none_or(|giver| giver.can(policy, *id))
            })
            .map(|(_, name)| name.to_string())
            .collect()
    }))
}
