//! How far the rights of a good session reach at this instant.
//!
//! Never here: whether it is good ([`super::standing`]), which request is made in it (see [`mod@super::decide`]).

use crate::model::{Basis, Session};

use super::{
    Detail, Here, Lack, Meaning, Reason, Rule,
    login::acts,
    standing::{Fallen, Standing},
};

/// Rule 4: the rights of the start, those of the role now, and those of the level now where that binds. Acting as somebody is
/// another thing: see [`acts`].
pub(super) fn beyond_rights(
    rule: &Rule,
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
            if !acts(standing.giver, *permission, here)? {
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
        if let Some(giver) = standing.giver
            && !giver.can(here, *permission)?
        {
            return Ok(Some((Reason::GrantorLacks, Detail::None)));
        }
    }
    Ok(None)
}
