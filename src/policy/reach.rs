//! How far a good session reaches at this instant: its rights, and the scope of the grant behind it.
//!
//! Never here: whether it is good ([`super::standing`]), which request is made in it (see [`mod@super::decide`]).

use crate::model::{Scope, Session};

use super::{
    Detail, Here, Lack, Meaning, PermissionId, Reason, Rule,
    resources::Spot,
    rows::Bound,
    standing::{Fallen, Standing},
};

/// Rule 4: the rights of the start, those of the role now, and those of the level now where that binds.
pub(super) fn beyond_rights(
    rule: &Rule,
    spot: Option<Spot<'_>>,
    session: &Session,
    standing: &Standing<'_>,
    here: Here<'_>,
) -> Result<Option<Fallen>, Lack> {
    let policy = here.policy;
    let role = here.role(&session.role)?;
    if role == Meaning::Nothing {
        return Ok(Some((Reason::RoleUnknown, Detail::None)));
    }
    for permission in &rule.permissions {
        let at_start = policy.catalogue.name(*permission).is_some_and(|name| {
            session.rights.binary_search_by(|right| right.as_str().cmp(name.as_str())).is_ok()
        });
        if !at_start || !role.holds(policy, *permission) {
            let detail = match policy.level_for(&rule.permissions) {
                Some(level) => Detail::LevelWouldDo(level.clone()),
                None => Detail::GrantWouldDo,
            };
            return Ok(Some((Reason::PermissionMissing, detail)));
        }
        if let Some(rank) = standing.bound
            && !policy.role_at(rank).is_some_and(|level| level.permissions.contains(*permission))
        {
            return Ok(Some((Reason::ConsentLowered, Detail::None)));
        }
        if let Some(giver) = standing.giver
            && !giver.can(here, *permission)?
            && !by_row(giver, spot, *permission, standing, here)?
        {
            return Ok(Some((Reason::GrantorLacks, Detail::None)));
        }
    }
    Ok(None)
}

/// Whether a row of whoever gave the grant lets them do this at the resource.
fn by_row(
    giver: Bound<'_>,
    spot: Option<Spot<'_>>,
    permission: PermissionId,
    standing: &Standing<'_>,
    here: Here<'_>,
) -> Result<bool, Lack> {
    let Some(grant) = standing.grant else { return Ok(false) };
    giver.can_at(&grant.grantor, spot, permission, here)
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
