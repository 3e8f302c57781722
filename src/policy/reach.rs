//! How far the rights of a good session reach at this instant.
//!
//! Never here: whether it is good ([`super::standing`]), which request is made in it (see [`mod@super::decide`]).

use crate::model::{Basis, Scope, Session, Subject};

use super::{
    Detail, Here, Lack, Meaning, Policy, Reason, Rule,
    login::acts,
    resources::{MOST_DEPTH, Spot},
    standing::{Fallen, Standing},
};

/// Rule 4: the rights of the start, those of the role now, and those of the level now where that binds. Acting as somebody is
/// another thing: see [`acts`].
pub(super) fn beyond_rights(
    rule: &Rule,
    spot: Option<Spot<'_>>,
    subject: &Subject,
    session: &Session,
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
    let role = session.role.as_ref().map_or(Ok(Meaning::Nothing), |name| here.role(name))?;
    if role == Meaning::Nothing {
        return Ok(Some((Reason::RoleUnknown, Detail::None)));
    }
    for permission in &rule.permissions {
        let at_start = policy.catalogue.name(*permission).is_some_and(|name| {
            session.rights.binary_search_by(|right| right.as_str().cmp(name.as_str())).is_ok()
        });
        if !at_start || !role.holds(policy, *permission) {
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

/// Whether a grant's scope, if there is one, covers the resource that the path names, or something that this is known to lie in.
pub(super) fn in_scope(
    spot: Option<Spot<'_>>,
    standing: &Standing<'_>,
    here: Here<'_>,
) -> Result<bool, Lack> {
    match standing.grant.map(|grant| &grant.scope) {
        None | Some(Scope::Everything) => Ok(true),
        Some(Scope::Resources(resources)) => spot.map_or(Ok(false), |spot| spot.lies_in_any(resources, here)),
    }
}

/// Whether a grant's scope names something that items of the answer are, or can lie in, so that each is looked at by itself.
pub(super) fn some_in_scope(rule: &Rule, standing: &Standing<'_>, policy: &Policy) -> bool {
    let Some(Scope::Resources(resources)) = standing.grant.map(|grant| &grant.scope) else { return false };
    let items = rule.narrow.as_ref().and_then(|narrow| narrow.kind());
    let mut kinds = std::iter::successors(items, |kind| policy.resources.parent(kind)).take(MOST_DEPTH);
    kinds.any(|kind| resources.iter().any(|(named, _)| named == kind))
}
