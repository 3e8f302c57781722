//! How far the rights of a good session reach at this instant.
//!
//! Never here: whether it is good ([`super::standing`]), which request is made in it (see [`mod@super::decide`]).

use crate::model::{Basis, Scope, Session, Subject};

use super::{
    Detail, Here, Lack, Policy, Reason, Rule,
    granting::Part,
    login::acts,
    resources::{MOST_DEPTH, Spot},
    standing::{Fallen, Standing},
};

/// Rule 4: the rights of the start, those of the role now, and those of the level now where that binds. Acting as somebody is
/// another thing: see [`acts`].
pub(super) fn beyond_rights(
    rule: &Rule,
    (spot, subject): (Option<Spot<'_>>, &Subject),
    (session, part): (&Session, Part<'_>),
    standing: &Standing<'_>,
    here: Here<'_>,
) -> Result<Option<Fallen>, Lack> {
    let policy = here.policy;
    let lacks = || {
        let detail = match policy.level_for(&rule.permissions) {
            Some(level) => Detail::LevelWouldDo(level.clone()),
            None => Detail::GrantWouldDo,
        };
        Ok(Some((Reason::PermissionMissing, detail)))
    };
    // Acting is what the person can do now, gained since or lost: no role stands between.
    if let Basis::ActAs(_) = session.basis {
        for permission in &rule.permissions {
            if !acts(standing, spot.map(|spot| (spot, subject)), *permission, here)? {
                return lacks();
            }
        }
        return Ok(None);
    }
    let Some(roles) = part.meanings(here)? else { return Ok(Some((Reason::RoleUnknown, Detail::None))) };
    for permission in &rule.permissions {
        let at_start = policy.catalogue.name(*permission).is_some_and(|name| part.held(name));
        if !at_start || !roles.iter().flatten().all(|role| role.holds(policy, *permission)) {
            return lacks();
        }
        if let Some(rank) = standing.bound
            && !policy.role_at(rank).is_some_and(|level| level.permissions.contains(*permission))
        {
            return Ok(Some((Reason::ConsentLowered, Detail::None)));
        }
        if let Some((giver, person)) = standing.giver()
            && !giver.can(here, *permission)?
            && !giver.can_at(person, spot, *permission, subject, here)?
        {
            return Ok(Some((Reason::GrantorLacks, Detail::None)));
        }
    }
    Ok(None)
}

/// Whether a grant's scope names something that items of the answer are, or can lie in, so that each is looked at by itself. The
/// application cannot do that: it knows nothing of grants.
pub(super) fn some_in_scope(rule: &Rule, standing: &Standing<'_>, policy: &Policy) -> bool {
    let Some(Scope::Resources(resources)) = standing.grant.map(|grant| &grant.scope) else { return false };
    let filtered = rule.narrow.as_ref().filter(|narrow| narrow.shape().is_some());
    let items = filtered.and_then(|narrow| narrow.kind());
    let mut kinds = std::iter::successors(items, |kind| policy.resources.parent(kind)).take(MOST_DEPTH);
    kinds.any(|kind| resources.iter().any(|(named, _)| named == kind))
}
