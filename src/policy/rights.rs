//! What a good session may do at this instant, for telling the agent and the tenant.
//!
//! Never here: deciding a request (see [`mod@super::decide`]).

use crate::model::{Basis, PermissionName, Session, Subject, Tenant, Timestamp};

use super::{
    Facts, Here, Lack, Meaning, PermissionId, Policy,
    granting::{Part, part, parts, places},
    login::acts,
    resources::Spot,
    standing::{Fallen, Standing, standing},
    tenant_roles::Lacks,
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
    // Where resources have roles of their own: what any of them gives at its own.
    let mut parts_now = Vec::new();
    for part in parts(session, standing.grant) {
        parts_now.extend(part.meanings(here)?.map(|roles| (part, roles)));
    }
    let level = |rank, id| policy.role_at(rank).is_some_and(|level| level.permissions.contains(id));
    let mut rights = Vec::new();
    for (id, name) in policy.catalogue.iter() {
        let may = if let Basis::ActAs(_) = session.basis {
            acts(&standing, None, id, here)?
        } else {
            let gives = |(part, roles): &(Part<'_>, [Option<Meaning<'_>>; 2])| {
                part.held(name) && roles.iter().flatten().all(|role| role.holds(policy, id))
            };
            let held = parts_now.iter().any(gives)
                && !policy.above_ceiling(id)
                && standing.bound.is_none_or(|rank| level(rank, id));
            match standing.giver {
                Some(giver) if held => {
                    giver.can(here, id)? || by_row(session, (&standing, subject), (id, name), here)?
                }
                Some(_) | None => held,
            }
        };
        if may {
            rights.push(name.to_string());
        }
    }
    Ok(Ok(rights))
}

/// Of a session over named resources: whether whoever gave its grant can do this at one of those at which the session may, by a row
/// of theirs. What that needs is asked for at once.
fn by_row(
    session: &Session,
    (standing, subject): (&Standing<'_>, &Subject),
    (id, name): (PermissionId, &PermissionName),
    here: Here<'_>,
) -> Result<bool, Lack> {
    let Some((giver, person)) = standing.giver() else { return Ok(false) };
    let mut lacks = Lacks::default();
    for place in places(session, standing.grant) {
        let Some(part) = part(session, standing.grant, &[place]).filter(|part| part.held(name)) else {
            continue;
        };
        let Some(roles) = part.meanings(here)? else { continue };
        if !roles.iter().flatten().all(|role| role.holds(here.policy, id)) {
            continue;
        }
        match giver.can_at(person, Some(Spot::at(place.0, place.1)), id, subject, here) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(lack) => lacks.note(lack),
        }
    }
    lacks.or(false)
}
