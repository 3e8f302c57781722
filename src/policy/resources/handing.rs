//! What somebody can hand on at named resources: what they can do there themselves, by a role in the tenant or by a row.
//!
//! Never here: who may hand on anything at all ([`crate::lifecycle`]).

use crate::{
    model::{ResourceRef, Subject},
    policy::{Here, Lack, PermissionId, rows::held, tenant_roles::Lacks},
};

use super::Spot;

/// A right that is to be handed on: at this resource, or where none is named in the whole tenant. `T` says of what it is part.
pub type Handed<'g, T> = (T, PermissionId, Option<&'g ResourceRef>);

/// The first of these that somebody lacks where it would be given. What they may do with some things only (what they made, what is
/// assigned to them) they do not hand on. What is needed to know it is asked for at once, however many resources there are.
pub fn beyond<'g, T>(
    by: &Subject,
    given: impl Iterator<Item = Handed<'g, T>>,
    here: Here<'_>,
) -> Result<Option<(T, PermissionId)>, Lack> {
    let held = held(by, here.facts, here.policy)?;
    let mut lacks = Lacks::default();
    for (part, permission, at) in given {
        let can = match (held.can(here, permission), at) {
            (Ok(false), Some(at)) => held.can_at(&by.id, Some(Spot::of(at).whole()), permission, here),
            (known, _) => known,
        };
        match can {
            Ok(true) => {}
            Ok(false) => return Ok(Some((part, permission))),
            Err(lack) => lacks.note(lack),
        }
    }
    lacks.or(None)
}
