//! Login access: a person of a tenant lets a support organisation act as them (rules 3 to 5, law 5). What may be chosen, and what
//! acting gives at an instant: what that person can do then, under the ceiling like everything.
//!
//! Never here: giving and withdrawing it ([`crate::lifecycle`]); whether it is good right now ([`super::standing`]); how the
//! application is told ([`crate::proxy`]).

use std::collections::BTreeSet;

use crate::model::{Basis, Grant, Grantee, OrganisationName, RoleName, Session, Span, Subject, SubjectRef};

use super::{Here, Lack, PermissionId, Policy, resources::Spot, rows::Bound, standing::Standing};

/// What the configuration says of login access. Where it says nothing, nobody can give it, and none that stands opens anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoginAccess {
    /// For how long it can be given: one of these, in the order in which they are offered.
    pub durations: Vec<Span>,
    /// The one that is suggested.
    pub suggested: Option<Span>,
    /// To whom it can be given. Who of the vendor's people belongs to which, their tokens say.
    pub organisations: BTreeSet<OrganisationName>,
}

impl LoginAccess {
    /// Whether there is any.
    pub fn is_open(&self) -> bool {
        !self.organisations.is_empty()
    }

    /// Whether a grant lets somebody act as whoever gave it, as far as the configuration goes.
    pub fn lends(&self, grant: &Grant) -> bool {
        let known = matches!(&grant.to, Grantee::Organisation(to) if self.organisations.contains(to));
        known && grant.act_as.is_some() && grant.role.is_none()
    }
}

/// As whom a request is made, and in which roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActedFor {
    /// The person of the tenant.
    pub user: SubjectRef,
    /// The roles that they hold at this instant.
    pub roles: Vec<RoleName>,
}

impl ActedFor {
    /// Of a session that acts as somebody; `bound` is what they can do now.
    pub(super) fn of(session: &Session, bound: Option<Bound<'_>>) -> Option<ActedFor> {
        let user = session.basis.acting_as()?.clone();
        Some(ActedFor { user, roles: bound.map(Bound::roles).unwrap_or_default() })
    }
}

/// Whether a grant is what a session on this basis needs: a role for the one, login access of that person for the other.
pub(super) fn carries(grant: &Grant, basis: &Basis, policy: &Policy) -> bool {
    match basis {
        Basis::Grant(_) => grant.act_as.is_none(),
        Basis::ActAs(acting) => grant.grantor == acting.user && policy.login_access.lends(grant),
        Basis::Consent(_) | Basis::BreakGlass(_) => false,
    }
}

/// Whether a session that acts as somebody may do this: what they can do now, in their tenant or by a row of theirs at the resource
/// that is asked for by a request of this subject, whatever it was at the start, under the ceiling. Where nobody knows what they can do, it is nothing (rule 5).
pub(super) fn acts(
    standing: &Standing<'_>,
    at: Option<(Spot<'_>, &Subject)>,
    permission: PermissionId,
    here: Here<'_>,
) -> Result<bool, Lack> {
    match standing.giver() {
        Some((giver, person)) if !here.policy.above_ceiling(permission) => {
            let by_row = |(spot, user)| giver.can_at(person, Some(spot), permission, user, here);
            Ok(giver.can(here, permission)? || at.map_or(Ok(false), by_row)?)
        }
        Some(_) | None => Ok(false),
    }
}
