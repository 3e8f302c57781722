//! How far the rights of a good session reach at this instant.
//!
//! Never here: whether it is good ([`super::standing`]), which request is made in it (see [`mod@super::decide`]).

use crate::model::{Basis, Scope, Session, Subject};

use super::{
    Detail, Here, Lack, Narrow, Policy, Reason, Rule,
    granting::Part,
    login::acts,
    resources::{MOST_DEPTH, Spot},
    standing::{Fallen, Standing},
};

/// How far rights reach at a route.
pub(super) enum Reach {
    /// All that it shows.
    Whole,
    /// Some items of it.
    Some,
    /// Not there, for this reason.
    Not(Fallen),
}

/// Rule 4: the rights of the start, those of the role now, and those of the level now where that binds. Acting as somebody is
/// another thing: see [`acts`].
pub(super) fn beyond_rights(
    rule: &Rule,
    (spot, subject): (Option<Spot<'_>>, &Subject),
    (session, part): (&Session, Part<'_>),
    standing: &Standing<'_>,
    here: Here<'_>,
) -> Result<Reach, Lack> {
    let policy = here.policy;
    let lacks = || {
        let detail = match policy.level_for(&rule.permissions) {
            Some(level) => Detail::LevelWouldDo(level.clone()),
            None => Detail::GrantWouldDo,
        };
        Ok(Reach::Not((Reason::PermissionMissing, detail)))
    };
    // Acting is what the person can do now, gained since or lost: no role stands between.
    if let Basis::ActAs(_) = session.basis {
        let items = rule.narrow.as_deref().and_then(Narrow::kind);
        let some = spot.zip(items).map(|(spot, items)| spot.of_some(items));
        let mut reach = Reach::Whole;
        for permission in &rule.permissions {
            let by =
                |spot: Option<Spot<'_>>| acts(standing, spot.map(|spot| (spot, subject)), *permission, here);
            if by(spot)? {
                continue;
            }
            // What they see of a list, whoever acts as them sees.
            if !by(some)? {
                return lacks();
            }
            reach = Reach::Some;
        }
        return Ok(reach);
    }
    let Some(roles) = part.meanings(here)? else {
        return Ok(Reach::Not((Reason::RoleUnknown, Detail::None)));
    };
    for permission in &rule.permissions {
        let at_start = policy.catalogue.name(*permission).is_some_and(|name| part.held(name));
        if !at_start || !roles.iter().flatten().all(|role| role.holds(policy, *permission)) {
            return lacks();
        }
        if let Some(rank) = standing.bound
            && !policy.role_at(rank).is_some_and(|level| level.permissions.contains(*permission))
        {
            return Ok(Reach::Not((Reason::ConsentLowered, Detail::None)));
        }
        if let Some((giver, person)) = standing.giver()
            && !giver.can(here, *permission)?
            && !giver.can_at(person, spot, *permission, subject, here)?
        {
            return Ok(Reach::Not((Reason::GrantorLacks, Detail::None)));
        }
    }
    Ok(Reach::Whole)
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
