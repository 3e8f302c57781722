//! How a removal keeps somebody out where the configuration says so, and how that is lifted: by an administrator of the tenant
//! both times, each recorded. A bar closes every way in that the tenant may close, grants included.
//!
//! It stands in the person's index, which whoever starts a session reads anyway.
//!
//! Never here: whether a running session is good ([`crate::policy`]).

use crate::{
    model::{Bar, Document, End, Giver, Key, Presence, Session, SessionId, Subject, SubjectRef, TenantId},
    policy::{Lack, SUPPORT_MANAGE},
};

use super::{
    Change, Event, Moment, Refusal, Stop,
    session::{ended, not_self, push_end},
};

/// Refuses whoever is kept out, and whoever let themselves in again (GW-14).
pub(super) fn not_barred(presence: &Presence, agent: &Subject) -> Result<(), Refusal> {
    match presence.barred {
        Some(_) => Err(Refusal::Barred),
        None => not_self(&presence.lifted_by, agent),
    }
}

/// Ends a session of somebody's, with all others of theirs that the tenant may end, and keeps them out. Where their index
/// cannot be read the session ends all the same: without an index nobody starts another.
pub(super) fn removed(
    at: &Moment<'_>,
    id: &TenantId,
    session_id: &SessionId,
    session: &Session,
    end: &End,
) -> Result<Change, Stop> {
    let presence = match at.facts.presence(id.as_str(), &session.subject) {
        Err(Lack::Unavailable) => return ended(at, id, session_id, session, end.clone()),
        known => known?,
    };
    let mut presence = presence.cloned().unwrap_or_default();
    let mut change = Change { narrows: true, ..Change::NOTHING };
    for other in presence.sessions.keys().filter(|other| *other != session_id) {
        match at.facts.session(id.as_str(), other.as_str()) {
            // It falls by the bar, at each decision.
            Err(Lack::Unavailable) => {}
            Err(lack) => return Err(lack.into()),
            Ok(Some(open))
                if open.ended.is_none() && at.now < open.deadline && at.policy.tenant_ends(&open.basis) =>
            {
                push_end(id, other, open, end.clone(), &mut change);
            }
            Ok(Some(_) | None) => {}
        }
    }
    push_end(id, session_id, session, end.clone(), &mut change);
    let is_over = |id: &SessionId| {
        change.documents.iter().any(|(key, _)| matches!(key, Key::Session(_, over) if over == id))
    };
    presence.sessions.retain(|id, _| !is_over(id));
    if let Some(by) = end.by.clone() {
        presence.barred = Some(Bar { at: end.at, by });
        presence.closed_at = presence.closed_at.max(Some(end.at));
        presence.lifted_by.clear();
        change.events.push(Event::PersonBarred { subject: session.subject.clone() });
    }
    change.documents.push((Key::Presence(id.clone(), session.subject.clone()), Document::Presence(presence)));
    Ok(change)
}

/// Lets somebody in again. What was ended stays ended. Repeating it changes nothing.
pub(super) fn lift(at: &Moment<'_>, id: &TenantId, person: &SubjectRef) -> Result<Change, Stop> {
    let by = at.administrator(id, SUPPORT_MANAGE)?;
    let Some(tenant) = at.facts.tenant(id.as_str())? else { return Err(Refusal::NotFound("tenant").into()) };
    at.still_there(tenant)?;
    let Some(presence) = at.facts.presence(id.as_str(), person)?.filter(|known| known.barred.is_some())
    else {
        return Ok(Change::NOTHING);
    };
    // It bars from every environment.
    at.reaches_all(&tenant.environments)?;
    let key = Key::Presence(id.clone(), person.clone());
    let by: Giver = at.giver(id, by, &format!("{key}@{}", at.now.ms()))?;
    let lifted = Presence { barred: None, lifted_by: [by].into(), ..presence.clone() };
    Ok(Change {
        documents: vec![(key, Document::Presence(lifted))],
        events: vec![Event::BarLifted { subject: person.clone() }],
        narrows: false,
    })
}
