//! How a person of a tenant lets a support organisation act as them, and takes it back.
//!
//! Each for themselves alone, by a token of their own: nobody lends what they borrowed, and an `act` claim, whoever made it, says
//! that somebody acts. A new one takes the place of the one before, and counts from its own moment; what ran by that ends with it
//! (law 4).
//!
//! Never here: what acting gives ([`crate::policy::login`]).

use crate::{
    model::{
        ActAs, Document, End, EndCause, EnvironmentId, Grant, GrantId, Grantee, Key, OrganisationName, Scope,
        Span, Subject, SubjectKind, SubjectRef, TenantId,
    },
    policy::{Lack, rows::has_left},
};

use super::{
    Actor, Change, Event, Moment, Refusal, Stop,
    grant::{ended, not_over},
    granting::is_open,
    grantor::gives,
    session::ticket_fits,
};

/// What it takes to let support act as oneself, as refusals say it: to be a person of the tenant, and nothing more.
pub const MEMBERSHIP: &str = "membership";

/// What is given.
pub(super) struct Terms<'a> {
    pub(super) environment: &'a EnvironmentId,
    pub(super) organisation: &'a OrganisationName,
    pub(super) lasts: Span,
    pub(super) ticket: Option<&'a str>,
}

/// Lets the people of an organisation act as whoever gives the command.
pub(super) fn allow(
    at: &Moment<'_>,
    id: &TenantId,
    grant: &GrantId,
    terms: &Terms<'_>,
) -> Result<Change, Stop> {
    let user = member(at, id)?;
    at.reaches(terms.environment)?;
    let access = &at.policy.login_access;
    if !access.organisations.contains(terms.organisation) {
        return Err(Refusal::NotFound("support organisation").into());
    }
    if !access.durations.contains(&terms.lasts) {
        let offered: Vec<String> = access.durations.iter().map(Span::to_string).collect();
        return Err(Refusal::DurationNotOffered(offered.join(", ")).into());
    }
    ticket_fits(terms.ticket)?;
    let Some(tenant) = at.facts.tenant(id.as_str())? else { return Err(Refusal::NotFound("tenant").into()) };
    at.still_there(tenant)?;
    if !tenant.environments.contains(terms.environment) {
        return Err(Refusal::EnvironmentUnknown(terms.environment.clone()).into());
    }
    is_open(at, tenant, terms.environment)?;
    // Of whom no row is known, of an issuer whose members have rows, nobody knows that they are a member.
    if has_left(&user.id, id.as_str(), at.facts, at.policy)? {
        return Err(Refusal::NotAllowed { needed: MEMBERSHIP }.into());
    }
    let until = terms.lasts.end(at.now, tenant.zone);
    if until <= at.now {
        return Err(Refusal::NotInFuture(until).into());
    }
    let key = Key::Grant(id.clone(), grant.clone());
    let giver = at.giver(id, user, &key.to_string())?;
    if at.facts.grant(id.as_str(), grant.as_str())?.is_some() {
        return Err(Refusal::Changed.into());
    }
    let mut presence = at.facts.presence(id.as_str(), &user.id)?.cloned().unwrap_or_default();
    let mut change = Change::NOTHING;
    for (old_id, old) in lent(at, id, &user.id)? {
        if !not_over(old, at.now) {
            presence.lent.remove(&old_id);
        } else if is_to(old, terms.organisation) && old.environment == *terms.environment {
            presence.lent.remove(&old_id);
            let end = End { at: at.now, cause: EndCause::Replaced, by: Some(user.id.clone()) };
            put(&mut change, ended(id, &old_id, old, end));
        }
    }
    presence.lent.insert(grant.clone());
    change.events.push(Event::GrantMade {
        grant: grant.clone(),
        role: None,
        act_as: Some(terms.organisation.clone()),
        ticket: terms.ticket.map(str::to_owned),
        until,
    });
    let document = Grant {
        environment: terms.environment.clone(),
        to: Grantee::Organisation(terms.organisation.clone()),
        bound: None,
        role: None,
        act_as: Some(ActAs { ticket: terms.ticket.map(Into::into) }),
        scope: Scope::Everything,
        grantor: giver.person,
        grantor_mail: giver.mail,
        grantor_row_mail: giver.row_mail,
        prolonged_by: Default::default(),
        given_as: Default::default(),
        given: at.now,
        until,
        ended: None,
    };
    change.documents.push((key, Document::Grant(document)));
    change.documents.push((Key::Presence(id.clone(), user.id.clone()), Document::Presence(presence)));
    change.documents.extend(gives(at, id, user, until)?);
    Ok(change)
}

/// Takes back what the person gave to an organisation, in one environment or in all. Where there is nothing, nothing changes.
pub(super) fn withdraw(
    at: &Moment<'_>,
    id: &TenantId,
    organisation: &OrganisationName,
    environment: Option<&EnvironmentId>,
) -> Result<Change, Stop> {
    let user = member(at, id)?;
    let mut change = Change::NOTHING;
    for (grant_id, grant) in lent(at, id, &user.id)? {
        let meant =
            is_to(grant, organisation) && environment.is_none_or(|wanted| *wanted == grant.environment);
        if meant && not_over(grant, at.now) {
            let end = End { at: at.now, cause: EndCause::Withdrawn, by: Some(user.id.clone()) };
            put(&mut change, ended(id, &grant_id, grant, end));
        }
    }
    Ok(Change { narrows: !change.documents.is_empty(), ..change })
}

/// Ends what a person gave who is suspended or no member any more: they may come back, what they had given does not. A narrowing
/// waits for nothing, so what cannot be read stays: it opens nothing while they are away.
pub(super) fn left(
    at: &Moment<'_>,
    id: &TenantId,
    person: &SubjectRef,
    change: &mut Change,
) -> Result<(), Stop> {
    if !at.policy.login_access.is_open() {
        return Ok(());
    }
    let lent = match lent(at, id, person) {
        Err(Lack::Unavailable) => return Ok(()),
        lent => lent?,
    };
    for (grant_id, grant) in lent {
        if not_over(grant, at.now) {
            let end = End { at: at.now, cause: EndCause::GiverGone, by: at.actor.subject().cloned() };
            put(change, ended(id, &grant_id, grant, end));
        }
    }
    Ok(())
}

/// The grants by which somebody may act as this person, as their index has them; over or not.
fn lent<'a>(at: &Moment<'a>, id: &TenantId, person: &SubjectRef) -> Result<Vec<(GrantId, &'a Grant)>, Lack> {
    let Some(presence) = at.facts.presence(id.as_str(), person)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for grant_id in &presence.lent {
        if let Some(grant) = at.facts.grant(id.as_str(), grant_id.as_str())?
            && grant.grantor == *person
        {
            found.push((grant_id.clone(), grant));
        }
    }
    Ok(found)
}

fn put(change: &mut Change, one: Change) {
    change.documents.extend(one.documents);
    change.events.extend(one.events);
}

fn is_to(grant: &Grant, organisation: &OrganisationName) -> bool {
    matches!(&grant.to, Grantee::Organisation(to) if to == organisation)
}

/// A person of this tenant, in a token of their own.
fn member<'a>(at: &Moment<'a>, id: &TenantId) -> Result<&'a Subject, Refusal> {
    match at.actor {
        Actor::Subject(subject) if subject.acting => Err(Refusal::Acting),
        Actor::Subject(subject)
            if subject.kind == SubjectKind::Member && subject.tenant.as_ref() == Some(id) =>
        {
            Ok(subject)
        }
        Actor::Subject(_) | Actor::Configuration | Actor::Clock | Actor::Application => {
            Err(Refusal::NotAllowed { needed: MEMBERSHIP })
        }
    }
}
