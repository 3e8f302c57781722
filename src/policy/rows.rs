//! Which roles a member holds: those of the token, or where the configuration says so those of the member's row; and what
//! whoever gave a grant can do now, by the row that there is of them, or by the last token that was seen of them (rule 5).
//!
//! Never here: who pushes rows ([`crate::lifecycle`]).

use std::collections::BTreeSet;

use crate::model::{Giver, Grantor, Member, RoleName, Subject, SubjectKind, SubjectRef, TenantId, Timestamp};

use super::{Detail, Facts, Here, Lack, PermissionId, Policy, Reason, standing::Fallen};

/// The roles that a member holds at this instant.
#[derive(Debug, Clone, Copy)]
pub enum Held<'a> {
    /// Those that the token names.
    Token(&'a [RoleName]),
    /// Those of the member's row.
    Row(&'a Member),
    /// None, for this reason.
    Nothing(Reason),
}

impl<'a> Held<'a> {
    /// The roles of the row, where it is one that counts.
    pub fn row(self) -> Option<&'a Member> {
        match self {
            Held::Row(row) => Some(row),
            Held::Token(_) | Held::Nothing(_) => None,
        }
    }

    /// The roles, each once; none where nothing is held.
    pub fn roles(self) -> BTreeSet<&'a RoleName> {
        match self {
            Held::Token(roles) => roles.iter().collect(),
            Held::Row(row) => row.roles.iter().collect(),
            Held::Nothing(_) => BTreeSet::new(),
        }
    }

    /// Whether any of the roles holds this in their tenant.
    pub fn can(self, here: Here<'_>, permission: PermissionId) -> Result<bool, Lack> {
        match self {
            Held::Token(roles) => here.any_holds(roles, permission),
            Held::Row(row) => here.any_holds(&row.roles, permission),
            Held::Nothing(_) => Ok(false),
        }
    }
}

/// The roles of a member. Nothing is looked up where the token names them.
pub fn held<'a>(subject: &'a Subject, facts: &'a Facts, policy: &Policy) -> Result<Held<'a>, Lack> {
    if !policy.callers.by_row.contains(&subject.id.issuer) {
        return Ok(Held::Token(&subject.roles));
    }
    let Some(tenant) = &subject.tenant else { return Ok(Held::Nothing(Reason::MemberUnknown)) };
    held_of(&subject.id, tenant.as_str(), facts)
}

/// The roles that somebody's row in a tenant gives them.
pub fn held_of<'a>(person: &SubjectRef, tenant: &str, facts: &'a Facts) -> Result<Held<'a>, Lack> {
    Ok(match facts.member(tenant, person)? {
        None => Held::Nothing(Reason::MemberUnknown),
        Some(row) if is_gone(row, tenant, facts)? => Held::Nothing(Reason::MemberUnknown),
        Some(row) if row.suspended => Held::Nothing(Reason::MemberSuspended),
        Some(row) => Held::Row(row),
    })
}

/// What bounds a grant by its giver at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound<'a> {
    /// The row that there is of them.
    Row(&'a Member),
    /// What is remembered of their last token, and until when unless one is seen again.
    Remembered(&'a Grantor, Timestamp),
}

impl Bound<'_> {
    /// Whether they can do this in their tenant.
    pub fn can(self, here: Here<'_>, permission: PermissionId) -> Result<bool, Lack> {
        match self {
            Bound::Row(row) => here.any_holds(&row.roles, permission),
            Bound::Remembered(known, _) => {
                for roles in &known.roles {
                    if !here.any_holds(roles, permission)? {
                        return Ok(false);
                    }
                }
                Ok(!known.roles.is_empty())
            }
        }
    }

    /// Whether one of the roles that any of this names was filled by this subject, as another person of the tenant (GW-14).
    pub fn filled_by<'f>(self, here: Here<'f>, subject: &Subject) -> Result<Option<&'f Giver>, Lack> {
        match self {
            Bound::Row(row) => here.any_filled_by(&row.roles, subject),
            Bound::Remembered(known, _) => here.any_filled_by(known.roles.iter().flatten(), subject),
        }
    }

    /// The roles that they hold, for whoever acts as them. Of several tokens that name one thing after the other, only what
    /// each of them names.
    pub fn roles(self) -> Vec<RoleName> {
        match self {
            Bound::Row(row) => row.roles.iter().cloned().collect(),
            Bound::Remembered(known, _) => {
                let mut sets = known.roles.iter();
                let first = sets.next().into_iter().flatten();
                first.filter(|role| sets.clone().all(|set| set.contains(*role))).cloned().collect()
            }
        }
    }

    /// Where it is remembered: until when.
    pub fn until(self) -> Option<Timestamp> {
        match self {
            Bound::Row(_) => None,
            Bound::Remembered(_, until) => Some(until),
        }
    }
}

/// Until when what is remembered of a giver counts.
pub fn remembered_until(grantor: &Grantor, policy: &Policy) -> Timestamp {
    grantor.seen.plus_ms(policy.grantor_memory_ms)
}

/// What bounds a grant by its giver, at this instant: the row that there is of them; without one, what their last token
/// said, for as long as that is remembered. Of an issuer whose members have rows, nobody knows what somebody without
/// one may do. What nobody knows is nothing.
pub fn giver<'a>(
    grantor: &SubjectRef,
    tenant: &str,
    facts: &'a Facts,
    now: Timestamp,
    policy: &Policy,
) -> Result<Result<Bound<'a>, Fallen>, Lack> {
    let gone = Ok(Err((Reason::GrantorGone, Detail::None)));
    match facts.member(tenant, grantor)? {
        Some(row) if row.suspended || is_gone(row, tenant, facts)? => return gone,
        Some(row) => return Ok(Ok(Bound::Row(row))),
        None if policy.callers.by_row.contains(&grantor.issuer) => return gone,
        None => {}
    }
    Ok(match facts.grantor(tenant, grantor)? {
        None => Err((Reason::GrantorUnknown, Detail::None)),
        Some(known) => match remembered_until(known, policy) {
            until if now >= until => Err((Reason::GrantorUnknown, Detail::At(until))),
            until => Ok(Bound::Remembered(known, until)),
        },
    })
}

/// Whether a row says nothing any more: of somebody who is gone, or pushed before the tenant was removed and pushed again.
fn is_gone(row: &Member, tenant: &str, facts: &Facts) -> Result<bool, Lack> {
    Ok(row.removed.is_some() || facts.tenant(tenant)?.is_none_or(|tenant| tenant.life != row.life))
}

/// Whether somebody who gave something is known to be no member there any more, or suspended.
pub fn has_left(person: &SubjectRef, tenant: &str, facts: &Facts, policy: &Policy) -> Result<bool, Lack> {
    match facts.member(tenant, person)? {
        Some(row) => Ok(row.suspended || is_gone(row, tenant, facts)?),
        None => Ok(policy.callers.by_row.contains(&person.issuer)),
    }
}

/// Whether this member administers support access in that tenant. Of whoever it cannot be nothing is looked up.
pub fn administers(
    subject: &Subject,
    tenant: &TenantId,
    facts: &Facts,
    policy: &Policy,
    permission: &str,
) -> Result<bool, Lack> {
    if subject.kind != SubjectKind::Member || subject.acting || subject.tenant.as_ref() != Some(tenant) {
        return Ok(false);
    }
    let Some(permission) = policy.catalogue.id(permission) else { return Ok(false) };
    let here = Here { tenant: tenant.as_str(), facts, policy };
    held(subject, facts, policy)?.can(here, permission)
}
