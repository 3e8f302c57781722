//! How an end that nobody made is written down: once, with the instant at which it took effect. Mostly a deadline passed;
//! consent that was raised until then has fallen back, and a session may have fallen with something else ([`super::fall`]).
//!
//! What ended it was that itself, which every decision looks at; this only makes the end visible.
//!
//! Never here: when a deadline is.

use crate::{
    model::{Document, End, EndCause, Key, Made, Session, SessionId, SubjectRef, TenantId},
    policy::Lack,
};

use super::{Actor, Change, Event, Moment, Refusal, Stop, consent, fall::fallen, grant, request, session};

/// Records that the deadline of a session, a grant, a request or a raised consent passed, and forgets idempotency keys whose
/// day is over. Repeating it changes nothing.
pub(super) fn expire(at: &Moment<'_>, key: &Key) -> Result<Change, Stop> {
    if !matches!(at.actor, Actor::Clock) {
        return Err(Refusal::NotAllowed { needed: "the passing of time" }.into());
    }
    let nothing = Change::NOTHING;
    match key {
        Key::Session(tenant, id) => match at.facts.session(tenant.as_str(), id.as_str())? {
            None => Err(Refusal::NotFound("session").into()),
            Some(session) if session.ended.is_some() => Ok(nothing),
            Some(session) => match known_end(at, tenant, session)? {
                None => Err(Refusal::NotDue(session.deadline).into()),
                // Its agent's index keeps it until they start another: whoever goes on asking is told what ended it.
                Some(end) if at.now < session.deadline => {
                    let mut change = Change { narrows: true, ..nothing };
                    session::push_end(tenant, id, session, end, &mut change);
                    Ok(change)
                }
                Some(end) => session::ended(at, tenant, id, session, end),
            },
        },
        Key::Grant(tenant, id) => match at.facts.grant(tenant.as_str(), id.as_str())? {
            None => Err(Refusal::NotFound("grant").into()),
            Some(grant) if grant.ended.is_some() => Ok(nothing),
            Some(grant) if at.now < grant.until => Err(Refusal::NotDue(grant.until).into()),
            Some(grant) => Ok(grant::ended(tenant, id, grant, over(grant.until))),
        },
        Key::Tenant(tenant) => consent::fall(at, tenant),
        Key::Request(tenant, id) => request::expire(at, tenant, id),
        Key::Made(tenant, subject) => forget(at, tenant, subject),
        Key::Presence(..)
        | Key::Member(..)
        | Key::Grantor(..)
        | Key::Role(..)
        | Key::Resource(..)
        | Key::Joined(..)
        | Key::Tally(..)
        | Key::Stop(_) => Err(Refusal::NotFound("deadline").into()),
    }
}

/// Ends a session whose time nobody can tell any more, since an operator accepted a clock that is behind the ledger. What
/// ended before ended as it did. Repeating it changes nothing.
pub(super) fn distrusted(at: &Moment<'_>, tenant: &TenantId, id: &SessionId) -> Result<Change, Stop> {
    if !matches!(at.actor, Actor::Clock) {
        return Err(Refusal::NotAllowed { needed: "the passing of time" }.into());
    }
    match at.facts.session(tenant.as_str(), id.as_str())? {
        None => Err(Refusal::NotFound("session").into()),
        Some(session) if session.ended.is_some() => Ok(Change::NOTHING),
        Some(session) if at.now >= session.deadline => {
            session::ended(at, tenant, id, session, over(session.deadline))
        }
        Some(session) => {
            let end = End { at: at.now, cause: EndCause::ClockAccepted, by: None };
            session::ended(at, tenant, id, session, end)
        }
    }
}

/// Forgets what was made under keys, once all of it is over: what is over means nothing already, so one sweep will do.
fn forget(at: &Moment<'_>, tenant: &TenantId, subject: &SubjectRef) -> Result<Change, Stop> {
    let Some(made) = at.facts.made(tenant, subject)? else { return Err(Refusal::NotFound("keys").into()) };
    match made.due() {
        None => Ok(Change::NOTHING),
        Some(due) if at.now < due => Err(Refusal::NotDue(due).into()),
        Some(_) => {
            let documents =
                vec![(Key::Made(tenant.clone(), subject.clone()), Document::Made(Made::default()))];
            let event = Event::KeysForgotten { subject: subject.clone(), keys: made.kept.len() };
            Ok(Change { documents, events: vec![event], narrows: false })
        }
    }
}

/// What ended a session, and when. Where that cannot be told it is its own deadline, once that has passed.
fn known_end(at: &Moment<'_>, id: &TenantId, session: &Session) -> Result<Option<End>, Stop> {
    match fallen(session, id, at.facts, at.now, at.policy) {
        Ok(end) => Ok(end),
        Err(Lack::Unavailable) if at.now < session.deadline => Ok(None),
        Err(Lack::Unavailable) => Ok(Some(over(session.deadline))),
        Err(lack) => Err(lack.into()),
    }
}

fn over(at: crate::model::Timestamp) -> End {
    End { at, cause: EndCause::Expired, by: None }
}
