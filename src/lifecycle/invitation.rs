//! How somebody is invited to a resource below a tenant. The invitation gives nothing and is counted nowhere; whoever is invited
//! joins by themselves, in exactly the role of the invitation, while it stands.
//!
//! Never here: how they join ([`super::resource`]), or whether an invitation stands at an instant
//! ([`crate::policy::resources::invited`]).

use crate::{
    model::{
        Document, Invitation, Joined, Key, ResourceRef, RoleName, SubjectRef, TenantId, Timestamp, Version,
        Zone,
    },
    policy::resources::{TypeRule, still_given},
};

use super::{
    Change, Event, Moment, Refusal, Stop, Until,
    resource::{By, Wanting, counted_now, givers, hands_on, manager, stays},
};

/// Invites somebody, or changes what they are invited to. Who is a member already is not invited. Without `until` an invitation to
/// the same role that stands, by the same giver or a service, is left as it is.
pub(super) fn invite(
    at: &Moment<'_>,
    id: &TenantId,
    resource: &ResourceRef,
    (member, name, until): (&SubjectRef, &RoleName, Option<Until>),
    expected: Option<Version>,
) -> Result<Change, Stop> {
    let by = manager(at, id, resource)?;
    let Wanting { rule, role, tenant, place, key, before, left } =
        Wanting::of(at, id, resource, member, name, expected)?;
    let of_now = before.filter(|row| row.life == place.life && row.left == left);
    let stands = of_now.filter(|row| row.removed.is_none() && !row.is_over(at.now));
    let known = match stands.map(|row| (row, &row.invited)) {
        Some((_, None)) => return Err(Refusal::MemberAlready.into()),
        Some((row, Some(invited))) => Some((row, invited.until)),
        None => None,
    };
    let ends = ends(at, rule, until, tenant.zone)?;
    if let Some((row, known)) = known
        && row.role == *name
        && (until.is_none() || known == ends)
        && is_theirs(row, by)
        && still_given(row, resource, at.here(id))?
    {
        return Ok(Change::NOTHING);
    }
    if !role.in_plan(tenant.plan.as_ref()) {
        return Err(Refusal::RoleNotInPlan(name.clone()).into());
    }
    at.reaches_all(&tenant.environments)?;
    let givers = givers(at, id, by, &key, false)?;
    hands_on(at, id, by, resource, name, role)?;
    let held = of_now.and_then(Joined::held).cloned();
    let invitation = Joined {
        role: name.clone(),
        since: at.now,
        removed: None,
        life: place.life,
        left,
        by: givers,
        invited: Some(Invitation { until: ends, held }),
        bounds: of_now.map(|row| row.bounds.clone()).unwrap_or_default(),
    };
    let mut documents = vec![(key, Document::Joined(invitation))];
    // Of one who left all resources at once a row is counted until somebody writes it.
    if let Some(row) = before.filter(|row| row.is_counted(place.life)) {
        let mut tally = counted_now(at, id, resource, place)?;
        stays(at, by, resource, row, &tally)?;
        tally.take(&row.role);
        documents.push((Key::Tally(id.clone(), resource.clone()), Document::Tally(tally)));
    }
    let (resource, member, role) = (resource.clone(), member.clone(), name.clone());
    let event = Event::ResourceInvited { resource, member, role, until: ends };
    Ok(Change { documents, events: vec![event], narrows: false })
}

/// Whether an invitation stands by whoever gives it now, as long as it would by them alone: one of somebody else's goes with that one.
fn is_theirs(row: &Joined, by: By<'_>) -> bool {
    match by {
        By::Member(giver) => row.by.iter().all(|known| known.person == giver.id),
        By::Service | By::Alone | By::Invited(_) => row.by.is_empty(),
    }
}

/// When it ends: at the latest when the configuration says.
fn ends(at: &Moment<'_>, rule: &TypeRule, until: Option<Until>, zone: Zone) -> Result<Timestamp, Refusal> {
    let most = rule.invitation_lasts().end(at.now, zone);
    match until.map(|until| until.instant(at.now, zone)) {
        None => Ok(most),
        Some(until) if until <= at.now => Err(Refusal::NotInFuture(until)),
        Some(until) if until > most => Err(Refusal::TooFar { at: until, most }),
        Some(until) => Ok(until),
    }
}
