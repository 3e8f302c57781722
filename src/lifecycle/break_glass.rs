//! How an operator enters without anybody's consent, in an emergency (GW-06): named in the configuration, for one of the
//! causes that it lists, with a reason and an incident, in a role of its own and for a short time.
//!
//! No level and no grant is asked for, and none stands in the way; a kill switch does. Nobody gets here by accident: it
//! is a command of its own, never what another one falls back to.
//!
//! Never here: whether such a session is good right now ([`crate::policy`]).

use std::collections::BTreeSet;

use crate::{
    model::{
        Basis, Document, EnvironmentId, Glass, Key, Session, SessionId, Span, Subject, TenantId, Timestamp,
    },
    policy::{
        BreakGlass,
        emergency::{everywhere, halted},
    },
};

use super::{
    Actor, Change, Event, Moment, Refusal, Stop,
    bar::not_barred,
    session::{MOST_SESSIONS, reasoned, replace, tidy},
    stop::not_stopped,
};

/// What an operator declares.
pub(super) struct Declared<'a> {
    pub(super) environment: &'a EnvironmentId,
    pub(super) reason: &'a str,
    pub(super) incident: &'a str,
    pub(super) cause: &'a str,
    pub(super) lasts: Option<Span>,
}

/// Starts a session by break-glass. It ends the operator's older one by break-glass in that tenant and environment.
pub(super) fn enter(
    at: &Moment<'_>,
    id: &TenantId,
    session: &SessionId,
    declared: &Declared<'_>,
) -> Result<Change, Stop> {
    let (operator, glass) = operator(at)?;
    at.reaches(declared.environment)?;
    reasoned(declared.reason)?;
    if !glass.incident.matches(declared.incident) {
        return Err(Refusal::IncidentMalformed(glass.incident.as_str().to_owned()).into());
    }
    if !glass.causes.contains(declared.cause) {
        let known: Vec<&str> = glass.causes.iter().map(String::as_str).collect();
        return Err(Refusal::CauseUnknown(known.join(", ")).into());
    }
    not_stopped(everywhere(&operator.id, at.facts)?)?;
    let known = at.facts.tenant(id.as_str())?.filter(|tenant| tenant.removed.is_none());
    let Some(tenant) = known else { return Err(Refusal::NotFound("tenant").into()) };
    not_stopped(halted(&operator.id, id.as_str(), tenant, glass.tenant_ends, at.facts)?)?;
    if !tenant.environments.contains(declared.environment) {
        return Err(Refusal::EnvironmentUnknown(declared.environment.clone()).into());
    }
    let deadline = deadline(at, glass, declared.lasts, tenant.zone)?;
    let Some(role) = at.policy.role(&glass.role) else {
        return Err(Refusal::RoleUnknown(glass.role.clone()).into());
    };
    if at.facts.session(id.as_str(), session.as_str())?.is_some() {
        return Err(Refusal::Changed.into());
    }
    let mut change = Change::NOTHING;
    let mut presence = at.facts.presence(id.as_str(), &operator.id)?.cloned().unwrap_or_default();
    if glass.tenant_ends {
        not_barred(&presence, operator)?;
    }
    tidy(at, id, &mut presence)?;
    let by_glass = |basis: &Basis| matches!(basis, Basis::BreakGlass(_));
    replace(at, id, declared.environment, operator, by_glass, &mut presence, &mut change)?;
    if presence.sessions.len() >= MOST_SESSIONS {
        return Err(Refusal::TooManySessions(presence.sessions.len()).into());
    }
    presence.sessions.insert(session.clone(), declared.environment.clone());
    change.events.push(Event::GlassBroken {
        session: session.clone(),
        subject: operator.id.clone(),
        environment: declared.environment.clone(),
        cause: declared.cause.to_owned(),
        incident: declared.incident.to_owned(),
        reason: declared.reason.to_owned(),
    });
    change.events.push(Event::SessionStarted {
        session: session.clone(),
        subject: operator.id.clone(),
        role: Some(glass.role.clone()),
        acting_as: None,
        deadline,
    });
    let document = Session {
        subject: operator.id.clone(),
        environment: declared.environment.clone(),
        basis: Basis::BreakGlass(Glass {
            cause: declared.cause.into(),
            incident: declared.incident.into(),
            reason: declared.reason.into(),
        }),
        role: Some(glass.role.clone()),
        rights: at.policy.staff_rights(role),
        reason: declared.reason.to_owned(),
        ticket: None,
        request: None,
        givers: BTreeSet::new(),
        above: BTreeSet::new(),
        started: at.now,
        deadline,
        ended: None,
    };
    change.documents.push((Key::Session(id.clone(), session.clone()), Document::Session(document)));
    change.documents.push((Key::Presence(id.clone(), operator.id.clone()), Document::Presence(presence)));
    Ok(change)
}

/// The operator, by the configuration; before anything that they sent is looked at, and anything is looked up (law 11).
pub(super) fn operator<'a>(at: &Moment<'a>) -> Result<(&'a Subject, &'a BreakGlass), Refusal> {
    let Actor::Subject(subject) = at.actor else { return Err(Refusal::NotOperator) };
    if subject.acting {
        return Err(Refusal::Acting);
    }
    match at.policy.break_glass(&subject.id) {
        Some(glass) if subject.kind == crate::model::SubjectKind::Staff => Ok((subject, glass)),
        Some(_) | None => Err(Refusal::NotOperator),
    }
}

fn deadline(
    at: &Moment<'_>,
    glass: &BreakGlass,
    lasts: Option<Span>,
    zone: crate::model::Zone,
) -> Result<Timestamp, Refusal> {
    let most = at.now.plus_ms(glass.lasts_ms);
    let Some(lasts) = lasts else { return Ok(most) };
    let end = lasts.end(at.now, zone);
    if end <= at.now {
        Err(Refusal::NotInFuture(end))
    } else if end > most {
        Err(Refusal::LastsTooLong(most))
    } else {
        Ok(end)
    }
}
