//! How an agent enters a tenant, and how they leave or are removed.
//!
//! Never here: whether a session is good right now ([`crate::policy`]).

use std::collections::BTreeSet;

use crate::{
    model::{
        Acting, Basis, Document, End, EndCause, EnvironmentId, Giver, Grant, GrantId, Grantee, Key, Presence,
        Session, SessionId, Span, Subject, SubjectKind, Tenant, TenantId, Timestamp,
    },
    policy::{
        Lack, Meaning, Named, OnRemove, Reason, SUPPORT_MANAGE,
        conditions::{TicketFrom, TicketRule},
        emergency::{everywhere, halted},
        granting::{closed, left, let_by},
        level::{InForce, in_force},
        rows::{administers, giver},
        standing::{grant_fallen, is_for},
    },
};

use super::{
    Actor, Change, Event, Moment, Refusal, Stop, WantedBasis, bar, granting, request, stop::not_stopped,
};

/// Characters of a reason, at most.
const LONGEST_REASON: usize = 500;
/// Characters of a ticket reference, at most.
const LONGEST_TICKET: usize = 100;
/// Sessions of one agent in one tenant, at most.
pub(super) const MOST_SESSIONS: usize = 32;

/// What an agent asks for.
pub(super) struct Wish<'a> {
    pub(super) environment: &'a EnvironmentId,
    pub(super) basis: &'a WantedBasis,
    pub(super) reason: &'a str,
    pub(super) ticket: Option<&'a str>,
    pub(super) lasts: Option<Span>,
}

/// Starts a session. By consent it ends the agent's older one by consent in that tenant and environment.
pub(super) fn start(
    at: &Moment<'_>,
    id: &TenantId,
    session: &SessionId,
    wish: &Wish<'_>,
) -> Result<Change, Stop> {
    let agent = agent(at)?;
    at.reaches(wish.environment)?;
    written(wish.reason, wish.ticket)?;
    ticket(at, wish.ticket)?;
    not_stopped(everywhere(&agent.id, at.facts)?)?;
    // Whoever cannot enter learns nothing about which tenants exist: an unknown tenant closes like one that blocks.
    let known = at.facts.tenant(id.as_str())?.filter(|tenant| tenant.removed.is_none());
    let Some(tenant) = known else { return Err(closes(wish).into()) };
    let mut change = Change::NOTHING;
    let (mut givers, mut above, mut closed_at) = (BTreeSet::new(), BTreeSet::new(), None);
    let (mut approved, mut granted_until, mut within) = (None, None, None);
    let (basis, role) = match wish.basis {
        WantedBasis::Consent | WantedBasis::Request(_) => {
            let mut most = usize::MAX;
            if let WantedBasis::Request(request_id) = wish.basis {
                let (request, approval) =
                    request::usable(at, id, tenant, request_id, agent, wish.environment)?;
                most = at.policy.ladder.rank(&approval.level);
                givers.insert(approval.by.clone());
                approved = Some((request_id, request, approval));
            }
            let now_in_force = in_force(tenant, at.facts, at.policy, at.now)?;
            // No further than was approved, nor than consent goes now.
            let level = at.policy.ladder.at(now_in_force.rank.min(most));
            let Some((level, role)) = level.and_then(|level| Some((level, level.role.clone()?))) else {
                return Err(Refusal::ConsentCloses.into());
            };
            // Whoever gave what is in force does not use it themselves (GW-14); who gave it is kept beside it.
            givers.extend(now_in_force.givers().cloned());
            above = now_in_force.above(&format!("session/{id}/{session}"));
            closed_at = now_in_force.closed_at;
            if let Some(rule) = tenant.approval.as_ref().filter(|_| approved.is_none()) {
                if rule.required {
                    not_self(&givers, agent)?;
                    not_self_above(&now_in_force, agent)?;
                    return Err(Refusal::ApprovalRequired.into());
                }
                // Who waived it let in whoever enters without.
                givers.extend(rule.by.iter().cloned());
            }
            not_self(&givers, agent)?;
            not_self_above(&now_in_force, agent)?;
            (Basis::Consent(level.name.clone()), Some(role))
        }
        WantedBasis::Grant(grant_id) | WantedBasis::ActAs(grant_id) => {
            let found = at.facts.grant(id.as_str(), grant_id.as_str())?;
            let grant = usable(found, agent, wish.environment, at.now)?;
            let basis = rests_on(grant_id, grant, wish.basis, at)?;
            if let Some(by) = grant.given_by(agent) {
                return Err(Refusal::SelfGranted { by: Some(by) }.into());
            }
            if let Some(by) = at.here(id).any_filled_by(grant.scope.named(grant.role.as_ref()), agent)? {
                return Err(Refusal::SelfGranted { by: Some(by.person.clone()) }.into());
            }
            if tenant.took_away(wish.environment, grant.given).is_some() {
                return Err(Refusal::GrantGivesNothing("its environment was taken away since").into());
            }
            if let Some((reason, _)) = closed(grant, tenant, at.policy) {
                return Err(Refusal::GrantGivesNothing(granting::words(reason)).into());
            }
            if let Some(by) = let_by(grant, tenant, agent) {
                return Err(Refusal::SelfGranted { by: Some(by.clone()) }.into());
            }
            let gone = "whoever gave it is no member there any more";
            match giver(&grant.grantor, id.as_str(), at.facts, at.now, at.policy)? {
                Ok(giver) if left(grant, giver).is_some() => {
                    return Err(Refusal::GrantGivesNothing(gone).into());
                }
                Err((Reason::GrantorUnknown, _)) => {
                    let why = "whoever gave it was not seen for too long; they have to sign in";
                    return Err(Refusal::GrantGivesNothing(why).into());
                }
                Err(_) => return Err(Refusal::GrantGivesNothing(gone).into()),
                Ok(giver) if matches!(basis, Basis::ActAs(_)) => {
                    if let Some(by) = giver.filled_by(at.here(id), agent)? {
                        return Err(Refusal::SelfGranted { by: Some(by.person.clone()) }.into());
                    }
                }
                Ok(_) => {}
            }
            if matches!(grant.to, Grantee::Email(_)) && grant.bound.is_none() {
                let bound = Grant { bound: Some(agent.id.clone()), ..grant.clone() };
                change.documents.push((Key::Grant(id.clone(), grant_id.clone()), Document::Grant(bound)));
            }
            granted_until = Some(grant.until);
            within = granting::within(at, id, grant)?;
            (basis, grant.role.clone())
        }
    };
    // Told to nobody but who would have entered, and so knows that there is such a tenant (law 11).
    let halted = halted(&agent.id, id.as_str(), tenant, true, at.facts)?;
    not_stopped(halted)?;
    // Whoever lifted the tenant's own switch let in whoever enters since.
    not_self(&tenant.stop.lifted_by, agent)?;
    if let Some((_, _, approval)) = approved {
        request::still_good(at, id, approval, halted.closed_at.max(closed_at))?;
    }
    if !tenant.environments.contains(wish.environment) {
        return Err(Refusal::EnvironmentUnknown(wish.environment.clone()).into());
    }
    // Whoever acts as somebody is bound by the usual time: what was granted until then is theirs to lend, not a stay.
    let stays = matches!(basis, Basis::Grant(_)) && at.policy.sessions.as_long_as_granted;
    let deadline = match granted_until.filter(|_| stays) {
        Some(until) => as_long_as_granted(at, tenant, wish.lasts, until)?,
        None => deadline(at, tenant, wish.lasts, approved.map(|(_, _, approval)| approval.lasts))?,
    };
    let rights = match &role {
        Some(name) => match at.here(id).role(name)? {
            Meaning::Nothing => return Err(Refusal::RoleUnknown(name.clone()).into()),
            meant => at.policy.staff_rights_of(&meant.set(at.policy)),
        },
        // Whoever acts as somebody has what they have, at each instant: nothing is kept of the start.
        None => Vec::new(),
    };
    if at.facts.session(id.as_str(), session.as_str())?.is_some() {
        return Err(Refusal::Changed.into());
    }
    let mut presence = at.facts.presence(id.as_str(), &agent.id)?.cloned().unwrap_or_default();
    bar::not_barred(&presence, agent)?;
    tidy(at, id, &mut presence)?;
    if matches!(basis, Basis::Consent(_)) {
        let by_consent = |basis: &Basis| matches!(basis, Basis::Consent(_));
        replace(at, id, wish.environment, agent, by_consent, &mut presence, &mut change)?;
    }
    if presence.sessions.len() >= MOST_SESSIONS {
        return Err(Refusal::TooManySessions(presence.sessions.len()).into());
    }
    presence.sessions.insert(session.clone(), wish.environment.clone());
    if let Some((request_id, request, _)) = approved {
        request::used(id, request_id, request, session, at.now, &mut presence, &mut change);
    }
    change.events.push(Event::SessionStarted {
        session: session.clone(),
        subject: agent.id.clone(),
        role: role.clone(),
        acting_as: basis.acting_as().cloned(),
        deadline: granted_until.map_or(deadline, |until| until.min(deadline)),
    });
    let document = Session {
        subject: agent.id.clone(),
        environment: wish.environment.clone(),
        basis,
        role,
        rights,
        within,
        reason: wish.reason.to_owned(),
        ticket: wish.ticket.map(str::to_owned),
        request: approved.map(|(request_id, _, _)| request_id.clone()),
        givers,
        above,
        started: at.now,
        deadline,
        ended: None,
    };
    change.documents.push((Key::Session(id.clone(), session.clone()), Document::Session(document)));
    change.documents.push((Key::Presence(id.clone(), agent.id.clone()), Document::Presence(presence)));
    Ok(change)
}

/// The ticket that the configuration asks for when a session starts.
pub(super) fn ticket(at: &Moment<'_>, ticket: Option<&str>) -> Result<(), Refusal> {
    let Some(rule @ TicketRule { from: TicketFrom::Session, .. }) = &at.policy.conditions.ticket else {
        return Ok(());
    };
    match rule.unfit(ticket.map_or(Named::Missing, Named::As)) {
        None => Ok(()),
        Some(Reason::TicketMissing) => Err(Refusal::TicketMissing(rule.shape.as_str().to_owned())),
        Some(_) => Err(Refusal::TicketMalformed(rule.shape.as_str().to_owned())),
    }
}

/// Refuses whoever is among those who gave it.
pub(super) fn not_self<'g>(
    givers: impl IntoIterator<Item = &'g Giver>,
    agent: &Subject,
) -> Result<(), Refusal> {
    match givers.into_iter().find(|giver| giver.is(agent)) {
        Some(giver) => Err(Refusal::SelfGranted { by: Some(giver.person.clone()) }),
        None => Ok(()),
    }
}

/// Refuses whoever gave it as a person of a tenant further up.
pub(super) fn not_self_above(in_force: &InForce<'_>, agent: &Subject) -> Result<(), Refusal> {
    match in_force.given_by(agent) {
        Some(by) => Err(Refusal::SelfGranted { by: by.cloned() }),
        None => Ok(()),
    }
}

/// Ends a session: its own agent leaves, or an administrator removes them. Repeating it changes nothing.
pub(super) fn end(at: &Moment<'_>, id: &TenantId, session_id: &SessionId) -> Result<Change, Stop> {
    let Actor::Subject(actor) = at.actor else {
        return Err(Refusal::NotAllowed { needed: SUPPORT_MANAGE }.into());
    };
    if actor.acting {
        return Err(Refusal::Acting.into());
    }
    let removes = administers(actor, id, at.facts, at.policy, SUPPORT_MANAGE)?;
    if !removes && actor.kind != SubjectKind::Staff {
        return Err(Refusal::NotAllowed { needed: SUPPORT_MANAGE }.into());
    }
    let session = match at.facts.session(id.as_str(), session_id.as_str())? {
        Some(session) if removes || session.subject == actor.id => session,
        Some(_) | None => return Err(Refusal::NotFound("session").into()),
    };
    if session.ended.is_some() {
        return Ok(Change::NOTHING);
    }
    if at.now >= session.deadline {
        // It is over already; that an end was asked for does not change what ended it.
        return ended(
            at,
            id,
            session_id,
            session,
            End { at: session.deadline, cause: EndCause::Expired, by: None },
        );
    }
    if removes && !at.policy.tenant_ends(&session.basis) {
        return Err(Refusal::NotYoursToEnd.into());
    }
    let cause = if removes { EndCause::Removed } else { EndCause::Ended };
    let end = End { at: at.now, cause, by: Some(actor.id.clone()) };
    if removes && at.policy.sessions.on_remove == OnRemove::Bar {
        return bar::removed(at, id, session_id, session, &end);
    }
    ended(at, id, session_id, session, end)
}

/// The session with its end, taken out of its agent's index, and the event that says so. An index that cannot be read
/// grants nothing and holds up no end.
pub(super) fn ended(
    at: &Moment<'_>,
    id: &TenantId,
    session_id: &SessionId,
    session: &Session,
    end: End,
) -> Result<Change, Stop> {
    let mut change = Change { narrows: true, ..Change::NOTHING };
    let presence = match at.facts.presence(id.as_str(), &session.subject) {
        Err(Lack::Unavailable) => None,
        known => known?,
    };
    if let Some(presence) = presence
        && presence.sessions.contains_key(session_id)
    {
        let mut presence = presence.clone();
        presence.sessions.remove(session_id);
        change
            .documents
            .push((Key::Presence(id.clone(), session.subject.clone()), Document::Presence(presence)));
    }
    push_end(id, session_id, session, end, &mut change);
    Ok(change)
}

pub(super) fn push_end(
    id: &TenantId,
    session_id: &SessionId,
    session: &Session,
    end: End,
    change: &mut Change,
) {
    change.events.push(Event::SessionEnded {
        session: session_id.clone(),
        subject: session.subject.clone(),
        cause: end.cause,
        at: end.at,
    });
    let document = Session { ended: Some(end), ..session.clone() };
    change.documents.push((Key::Session(id.clone(), session_id.clone()), Document::Session(document)));
}

pub(super) fn agent<'a>(at: &Moment<'a>) -> Result<&'a Subject, Refusal> {
    match at.actor {
        Actor::Subject(subject) if subject.kind == SubjectKind::Staff => {
            if subject.acting {
                Err(Refusal::Acting)
            } else {
                Ok(subject)
            }
        }
        Actor::Subject(_) | Actor::Configuration | Actor::Clock | Actor::Application => {
            Err(Refusal::NotStaff)
        }
    }
}

/// A reason says something, on one line.
pub(super) fn reasoned(reason: &str) -> Result<(), Refusal> {
    let fit = !reason.trim().is_empty()
        && reason.chars().count() <= LONGEST_REASON
        && !reason.chars().any(|c| char::is_control(c) || misleads(c));
    if fit { Ok(()) } else { Err(Refusal::ReasonUnfit(LONGEST_REASON)) }
}

/// Whether it breaks lines, or turns the order of what stands around it, where the text is shown.
fn misleads(c: char) -> bool {
    matches!(
        c,
        '\u{2028}' | '\u{2029}' | '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// Whether a text of theirs, and a ticket, can stand in the record.
pub(super) fn written(reason: &str, ticket: Option<&str>) -> Result<(), Refusal> {
    reasoned(reason)?;
    ticket_fits(ticket)
}

/// Whether a ticket can stand in the record.
pub(super) fn ticket_fits(ticket: Option<&str>) -> Result<(), Refusal> {
    let fit = |ticket: &str| {
        !ticket.is_empty() && ticket.len() <= LONGEST_TICKET && ticket.bytes().all(|b| b.is_ascii_graphic())
    };
    if ticket.is_none_or(fit) { Ok(()) } else { Err(Refusal::TicketUnfit(LONGEST_TICKET)) }
}

fn closes(wish: &Wish<'_>) -> Refusal {
    match wish.basis {
        WantedBasis::Consent => Refusal::ConsentCloses,
        WantedBasis::Grant(_) | WantedBasis::ActAs(_) => Refusal::NotFound("grant"),
        WantedBasis::Request(_) => Refusal::NotFound("request"),
    }
}

/// A grant that this agent can enter by at this moment. Whose it is not, it does not exist for.
fn usable<'a>(
    grant: Option<&'a Grant>,
    agent: &Subject,
    environment: &EnvironmentId,
    now: Timestamp,
) -> Result<&'a Grant, Refusal> {
    let Some(grant) = grant.filter(|grant| is_for(grant, agent)) else {
        return Err(Refusal::NotFound("grant"));
    };
    match grant_fallen(grant, now) {
        Some(_) => Err(Refusal::GrantGivesNothing("it has ended")),
        None if grant.environment != *environment => {
            Err(Refusal::GrantGivesNothing("it is for another environment"))
        }
        None => Ok(grant),
    }
}

/// The basis that a grant makes, asked for as what it is: nobody acts as a person of the tenant unawares.
fn rests_on(id: &GrantId, grant: &Grant, wanted: &WantedBasis, at: &Moment<'_>) -> Result<Basis, Refusal> {
    match (wanted, &grant.act_as) {
        // To an organisation that the configuration no longer knows.
        (_, Some(_)) if !at.policy.login_access.lends(grant) => Err(Refusal::NotFound("grant")),
        (WantedBasis::ActAs(_), Some(_)) => {
            Ok(Basis::ActAs(Acting { grant: id.clone(), user: grant.grantor.clone() }))
        }
        (WantedBasis::ActAs(_), None) => Err(Refusal::GrantGivesNothing("it gives a role: start by `grant`")),
        (_, Some(_)) => {
            Err(Refusal::GrantGivesNothing("it lets you act as whoever gave it: start by `act_as`"))
        }
        (_, None) => Ok(Basis::Grant(id.clone())),
    }
}

/// When a session that starts now ends: as configured, no later than was approved, earlier where that is wanted.
pub(super) fn deadline(
    at: &Moment<'_>,
    tenant: &Tenant,
    lasts: Option<Span>,
    approved: Option<Span>,
) -> Result<Timestamp, Refusal> {
    let end = |span: Span| span.end(at.now, tenant.zone);
    let most = end(at.policy.session_lasts);
    let most = approved.map_or(most, |approved| most.min(end(approved)));
    let Some(lasts) = lasts else { return Ok(most) };
    let end = end(lasts);
    if end <= at.now {
        Err(Refusal::NotInFuture(end))
    } else if end > most {
        Err(Refusal::LastsTooLong(most))
    } else {
        Ok(end)
    }
}

/// When a session ends that lasts as long as its grant: that is looked at by itself, at each decision, so that an expiry
/// that is moved moves its end. Only what its agent asked for ends it before.
fn as_long_as_granted(
    at: &Moment<'_>,
    tenant: &Tenant,
    lasts: Option<Span>,
    until: Timestamp,
) -> Result<Timestamp, Refusal> {
    match lasts.map(|lasts| lasts.end(at.now, tenant.zone)) {
        None => Ok(Timestamp::MAX),
        Some(end) if end <= at.now => Err(Refusal::NotInFuture(end)),
        Some(end) if end > until => Err(Refusal::LastsTooLong(until)),
        Some(end) => Ok(end),
    }
}

/// Takes out of the index what has ended, so that it stays small.
pub(super) fn tidy(at: &Moment<'_>, id: &TenantId, presence: &mut Presence) -> Result<(), Stop> {
    let mut over = Vec::new();
    for session_id in presence.sessions.keys() {
        match at.facts.session(id.as_str(), session_id.as_str())? {
            Some(session) if session.ended.is_none() => {}
            Some(_) | None => over.push(session_id.clone()),
        }
    }
    for session_id in over {
        presence.sessions.remove(&session_id);
    }
    Ok(())
}

pub(super) fn replace(
    at: &Moment<'_>,
    id: &TenantId,
    environment: &EnvironmentId,
    agent: &Subject,
    of_kind: fn(&Basis) -> bool,
    presence: &mut Presence,
    change: &mut Change,
) -> Result<(), Stop> {
    let mut replaced: Vec<(SessionId, &Session)> = Vec::new();
    for (session_id, session_environment) in &presence.sessions {
        if session_environment != environment {
            continue;
        }
        match at.facts.session(id.as_str(), session_id.as_str())? {
            Some(session) if of_kind(&session.basis) => {
                replaced.push((session_id.clone(), session));
            }
            Some(_) | None => {}
        }
    }
    for (session_id, session) in replaced {
        let end = if at.now >= session.deadline {
            End { at: session.deadline, cause: EndCause::Expired, by: None }
        } else {
            End { at: at.now, cause: EndCause::Replaced, by: Some(agent.id.clone()) }
        };
        push_end(id, &session_id, session, end, change);
        presence.sessions.remove(&session_id);
    }
    Ok(())
}
