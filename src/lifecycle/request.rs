//! Where a tenant approves each session: how an agent asks, an administrator answers, and time ends what nobody does
//! (GW-16).
//!
//! An approval opens nothing by itself: the session that starts by it goes no further than consent does at that moment.
//!
//! Never here: starting the session ([`super::session`]).

use crate::{
    model::{
        Approval, Asked, Document, EnvironmentId, Giver, Key, LevelName, Over, Presence, Remark, Request,
        RequestEnd, RequestId, RequestState, Span, Speaker, SubjectRef, Tenant, TenantId, Timestamp, Version,
        document::ApprovalRule,
    },
    policy::{
        Lack, SUPPORT_MANAGE,
        emergency::{everywhere, halted},
        level::in_force,
        rows::has_left,
    },
};

use super::{Change, Event, Moment, Refusal, Stop, bar, session, stop::not_stopped};

/// Requests of one agent in one tenant that wait at a time, at most.
const MOST_REQUESTS: usize = 8;
/// Requests that one agent makes in one tenant within a day, at most.
const MOST_A_DAY: u32 = 64;
const DAY: i64 = 86_400_000;
/// Remarks on one request, at most.
const MOST_REMARKS: usize = 20;

/// What is done about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// An agent asks.
    Ask {
        /// In which environment.
        environment: EnvironmentId,
        /// How far at most.
        level: LevelName,
        /// Why.
        reason: String,
        /// The ticket, if there is one.
        ticket: Option<String>,
        /// Less than the configured time, if wanted.
        lasts: Option<Span>,
    },
    /// An administrator says yes: to all of it, or to less.
    Approve {
        /// A lower level.
        level: Option<LevelName>,
        /// A shorter time.
        lasts: Option<Span>,
        /// The version that the caller saw, where they said so.
        expected: Option<Version>,
    },
    /// An administrator asks back.
    Question(String),
    /// The agent answers.
    Answer(String),
    /// An administrator says no, and why; also after a yes, until it is used.
    Refuse(String),
    /// The agent takes it back.
    Withdraw,
}

impl Step {
    /// The stable word for records.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Step::Ask { .. } => "make_request",
            Step::Approve { .. } => "approve_request",
            Step::Question(_) => "question_request",
            Step::Answer(_) => "answer_request",
            Step::Refuse(_) => "refuse_request",
            Step::Withdraw => "withdraw_request",
        }
    }
}

/// Chooses whether each session by consent has to be approved: by an administrator of the tenant. Running sessions are
/// not touched: it is about starting.
pub(super) fn set_rule(
    at: &Moment<'_>,
    id: &TenantId,
    required: bool,
    expected: Option<Version>,
) -> Result<Change, Stop> {
    let by = at.administrator(id, SUPPORT_MANAGE)?;
    let key = Key::Tenant(id.clone());
    let Some(tenant) = at.facts.tenant(id.as_str())? else { return Err(Refusal::NotFound("tenant").into()) };
    at.still_there(tenant)?;
    at.as_seen(&key, expected)?;
    if tenant.approval.as_ref().is_some_and(|rule| rule.required) == required {
        return Ok(Change::NOTHING);
    }
    let (giver, unknown) = at.giver_if_known(id, by, &format!("{key}@{}", at.now.ms()))?;
    if !required {
        at.reaches_all(&tenant.environments)?;
        if let Some(unknown) = unknown {
            return Err(unknown.into());
        }
    }
    let by = [giver].into();
    let changed = Tenant { approval: Some(ApprovalRule { required, by }), ..tenant.clone() };
    let event = Event::ApprovalChanged { required };
    Ok(Change { documents: vec![(key, Document::Tenant(changed))], events: vec![event], narrows: required })
}

/// Does something about a request.
pub(super) fn step(at: &Moment<'_>, id: &TenantId, request: &RequestId, step: &Step) -> Result<Change, Stop> {
    match step {
        Step::Ask { environment, level, reason, ticket, lasts } => {
            let ticket = ticket.as_deref();
            ask(at, id, request, &Wanted { environment, level, reason, ticket, lasts: *lasts })
        }
        Step::Approve { level, lasts, expected } => {
            approve(at, id, request, level.as_ref(), *lasts, *expected)
        }
        Step::Question(text) => question(at, id, request, text),
        Step::Answer(text) => answer(at, id, request, text),
        Step::Refuse(why) => refuse(at, id, request, why),
        Step::Withdraw => withdraw(at, id, request),
    }
}

struct Wanted<'a> {
    environment: &'a EnvironmentId,
    level: &'a LevelName,
    reason: &'a str,
    ticket: Option<&'a str>,
    lasts: Option<Span>,
}

fn ask(at: &Moment<'_>, id: &TenantId, request: &RequestId, wanted: &Wanted<'_>) -> Result<Change, Stop> {
    let agent = session::agent(at)?;
    at.reaches(wanted.environment)?;
    session::written(wanted.reason, wanted.ticket)?;
    session::ticket(at, wanted.ticket)?;
    not_stopped(everywhere(&agent.id, at.facts)?)?;
    // As at a start: an unknown tenant closes like one that blocks.
    let known = at.facts.tenant(id.as_str())?.filter(|tenant| tenant.removed.is_none());
    let Some(tenant) = known else { return Err(Refusal::ConsentCloses.into()) };
    let now_in_force = in_force(tenant, at.facts, at.policy, at.now)?;
    if at.policy.ladder.role_at(now_in_force.rank).is_none() {
        return Err(Refusal::ConsentCloses.into());
    }
    session::not_self_above(&now_in_force, agent)?;
    not_stopped(halted(&agent.id, id.as_str(), tenant, true, at.facts)?)?;
    if !tenant.approval.as_ref().is_some_and(|rule| rule.required) {
        return Err(Refusal::ApprovalNotRequired.into());
    }
    let Some(level) = at.policy.ladder.named(wanted.level) else {
        return Err(Refusal::LevelUnknown(wanted.level.clone()).into());
    };
    if !tenant.environments.contains(wanted.environment) {
        return Err(Refusal::EnvironmentUnknown(wanted.environment.clone()).into());
    }
    session::deadline(at, tenant, wanted.lasts, None)?;
    if at.facts.request(id.as_str(), request.as_str())?.is_some() {
        return Err(Refusal::Changed.into());
    }
    let mut presence = at.facts.presence(id.as_str(), &agent.id)?.cloned().unwrap_or_default();
    bar::not_barred(&presence, agent)?;
    let mut waiting = presence.requests.clone();
    for old in &presence.requests {
        let over = match at.facts.request(id.as_str(), old.as_str())? {
            Some(request) => matches!(request.state(at.now), RequestState::Over(_)),
            None => true,
        };
        if over {
            waiting.remove(old);
        }
    }
    let asked = match presence.asked {
        Some(asked) if at.now < asked.since.plus_ms(DAY) => {
            Asked { times: asked.times.saturating_add(1), ..asked }
        }
        Some(_) | None => Asked { since: at.now, times: 1 },
    };
    if asked.times > MOST_A_DAY {
        return Err(Refusal::TooManyRequests(MOST_A_DAY as usize).into());
    }
    presence.asked = Some(asked);
    if waiting.len() >= MOST_REQUESTS {
        return Err(Refusal::TooManyRequests(waiting.len()).into());
    }
    waiting.insert(request.clone());
    presence.requests = waiting;
    let key = Key::Request(id.clone(), request.clone());
    let expires = at.now.plus_ms(at.policy.approvals.unanswered_ms);
    let document = Request {
        asker: Giver::of(agent, None, &key.to_string()),
        environment: wanted.environment.clone(),
        level: level.clone(),
        reason: wanted.reason.to_owned(),
        ticket: wanted.ticket.map(str::to_owned),
        lasts: wanted.lasts.unwrap_or(at.policy.session_lasts),
        asked: at.now,
        expires,
        talk: Vec::new(),
        approval: None,
        over: None,
    };
    let event = Event::RequestMade {
        request: request.clone(),
        subject: agent.id.clone(),
        level: level.clone(),
        expires,
    };
    let presence_key = Key::Presence(id.clone(), agent.id.clone());
    Ok(Change {
        documents: vec![(key, Document::Request(document)), (presence_key, Document::Presence(presence))],
        events: vec![event],
        narrows: false,
    })
}

fn approve(
    at: &Moment<'_>,
    id: &TenantId,
    request_id: &RequestId,
    level: Option<&LevelName>,
    lasts: Option<Span>,
    expected: Option<Version>,
) -> Result<Change, Stop> {
    let by = at.administrator(id, SUPPORT_MANAGE)?;
    let key = Key::Request(id.clone(), request_id.clone());
    let Some(tenant) = at.facts.tenant(id.as_str())? else { return Err(Refusal::NotFound("request").into()) };
    let request = found(at, id, request_id)?;
    at.reaches(&request.environment)?;
    at.as_seen(&key, expected)?;
    at.still_there(tenant)?;
    let row = at.facts.member(id.as_str(), &by.id)?.and_then(|row| row.email.as_deref());
    if request.asker.is(by) || row.is_some_and(|address| request.asker.has(address)) {
        return Err(Refusal::SelfGranted { by: Some(by.id.clone()) }.into());
    }
    let wanted = level.unwrap_or(&request.level);
    let Some(level) = at.policy.ladder.named(wanted) else {
        return Err(Refusal::LevelUnknown(wanted.clone()).into());
    };
    let lasts = lasts.unwrap_or(request.lasts);
    let end = |span: Span| span.end(at.now, tenant.zone);
    if end(lasts) <= at.now {
        return Err(Refusal::NotInFuture(end(lasts)).into());
    }
    let rank = |level| at.policy.ladder.rank(level);
    if rank(level) > rank(&request.level) || end(lasts) > end(request.lasts) {
        return Err(Refusal::BeyondRequest.into());
    }
    match (request.state(at.now), &request.approval) {
        (RequestState::Over(cause), _) => return Err(Refusal::RequestOver(cause).into()),
        (RequestState::Approved, Some(old)) if (&old.level, old.lasts) == (level, lasts) => {
            return Ok(Change::NOTHING);
        }
        (RequestState::Approved, _) => return Err(Refusal::RequestDecided.into()),
        (RequestState::Open, _) => {}
    }
    let until = at.now.plus_ms(at.policy.approvals.usable_ms);
    let by = Giver::of(by, row, &format!("{key}@{}", at.now.ms()));
    let approval = Approval { by, at: at.now, level: level.clone(), lasts, until };
    let document = Request { approval: Some(approval), ..request.clone() };
    let event = Event::RequestApproved { request: request_id.clone(), level: level.clone(), lasts, until };
    Ok(Change { documents: vec![(key, Document::Request(document))], events: vec![event], narrows: false })
}

fn question(at: &Moment<'_>, id: &TenantId, request_id: &RequestId, text: &str) -> Result<Change, Stop> {
    let by = at.administrator(id, SUPPORT_MANAGE)?.id.clone();
    let request = found(at, id, request_id)?;
    let event = Event::RequestQuestioned { request: request_id.clone() };
    remark(at, id, request_id, request, Speaker::Tenant, by, text, event)
}

fn answer(at: &Moment<'_>, id: &TenantId, request_id: &RequestId, text: &str) -> Result<Change, Stop> {
    let agent = session::agent(at)?.id.clone();
    let request = own(at, id, request_id, &agent)?;
    if request.state(at.now) == RequestState::Open && request.question().is_none() {
        return Err(Refusal::NothingAsked.into());
    }
    let event = Event::RequestAnswered { request: request_id.clone() };
    remark(at, id, request_id, request, Speaker::Agent, agent, text, event)
}

#[expect(clippy::too_many_arguments, reason = "the two sides of one conversation")]
fn remark(
    at: &Moment<'_>,
    id: &TenantId,
    request_id: &RequestId,
    request: &Request,
    from: Speaker,
    by: SubjectRef,
    text: &str,
    event: Event,
) -> Result<Change, Stop> {
    session::written(text, None)?;
    match request.state(at.now) {
        RequestState::Open => {}
        RequestState::Approved => return Err(Refusal::RequestDecided.into()),
        RequestState::Over(cause) => return Err(Refusal::RequestOver(cause).into()),
    }
    if request.talk.len() >= MOST_REMARKS {
        return Err(Refusal::TooManyRemarks(MOST_REMARKS).into());
    }
    let mut document = request.clone();
    document.talk.push(Remark { at: at.now, from, by, text: text.to_owned() });
    let key = Key::Request(id.clone(), request_id.clone());
    Ok(Change { documents: vec![(key, Document::Request(document))], events: vec![event], narrows: false })
}

fn refuse(at: &Moment<'_>, id: &TenantId, request_id: &RequestId, why: &str) -> Result<Change, Stop> {
    let by = at.administrator(id, SUPPORT_MANAGE)?.id.clone();
    let request = found(at, id, request_id)?;
    session::written(why, None)?;
    match request.state(at.now) {
        RequestState::Over(RequestEnd::Refused) => return Ok(Change::NOTHING),
        RequestState::Over(cause) => return Err(Refusal::RequestOver(cause).into()),
        RequestState::Open | RequestState::Approved => {}
    }
    let reason = Some(why.to_owned());
    let over = Over { at: at.now, cause: RequestEnd::Refused, by: Some(by), reason, session: None };
    ended(at, id, request_id, request, over)
}

/// Of one that is over nothing is left to take back.
fn withdraw(at: &Moment<'_>, id: &TenantId, request_id: &RequestId) -> Result<Change, Stop> {
    let agent = session::agent(at)?.id.clone();
    let request = own(at, id, request_id, &agent)?;
    if matches!(request.state(at.now), RequestState::Over(_)) {
        return Ok(Change::NOTHING);
    }
    let cause = RequestEnd::Withdrawn;
    let over = Over { at: at.now, cause, by: Some(agent), reason: None, session: None };
    ended(at, id, request_id, request, over)
}

/// Writes down that nobody answered in time, or that nobody entered. Repeating it changes nothing.
pub(super) fn expire(at: &Moment<'_>, id: &TenantId, request_id: &RequestId) -> Result<Change, Stop> {
    let request = found(at, id, request_id)?;
    let Some(due) = request.due() else { return Ok(Change::NOTHING) };
    match request.state(at.now) {
        RequestState::Over(cause) => {
            let over = Over { at: due, cause, by: None, reason: None, session: None };
            ended(at, id, request_id, request, over)
        }
        RequestState::Open | RequestState::Approved => Err(Refusal::NotDue(due).into()),
    }
}

/// The request with its end, taken out of its agent's index. An index that cannot be read holds up no end.
fn ended(
    at: &Moment<'_>,
    id: &TenantId,
    request_id: &RequestId,
    request: &Request,
    over: Over,
) -> Result<Change, Stop> {
    let mut change = Change { narrows: true, ..Change::NOTHING };
    let agent = &request.asker.person;
    let presence = match at.facts.presence(id.as_str(), agent) {
        Err(Lack::Unavailable) => None,
        known => known?,
    };
    if let Some(presence) = presence
        && presence.requests.contains(request_id)
    {
        let mut presence: Presence = presence.clone();
        presence.requests.remove(request_id);
        change.documents.push((Key::Presence(id.clone(), agent.clone()), Document::Presence(presence)));
    }
    push_end(id, request_id, request, over, &mut change);
    Ok(change)
}

fn push_end(id: &TenantId, request_id: &RequestId, request: &Request, over: Over, change: &mut Change) {
    change.events.push(Event::RequestEnded { request: request_id.clone(), cause: over.cause, at: over.at });
    let document = Request { over: Some(over), ..request.clone() };
    change.documents.push((Key::Request(id.clone(), request_id.clone()), Document::Request(document)));
}

/// An approval that this agent may enter by at this moment.
pub(super) fn usable<'a>(
    at: &Moment<'a>,
    id: &TenantId,
    tenant: &Tenant,
    request_id: &RequestId,
    agent: &crate::model::Subject,
    environment: &EnvironmentId,
) -> Result<(&'a Request, &'a Approval), Stop> {
    let request = own(at, id, request_id, &agent.id)?;
    let approval = match (request.state(at.now), &request.approval) {
        (RequestState::Over(cause), _) => return Err(Refusal::RequestOver(cause).into()),
        (RequestState::Approved, Some(approval)) => approval,
        (RequestState::Approved | RequestState::Open, _) => return Err(Refusal::NotApproved.into()),
    };
    // What was approved before an environment was taken away is not of the one that came back (law 4).
    if request.environment != *environment || tenant.took_away(environment, request.asked).is_some() {
        return Err(Refusal::BeyondRequest.into());
    }
    session::not_self([&approval.by], agent)?;
    Ok((request, approval))
}

/// Refuses an approval that was given before everything was ended at once, or by somebody who is no member there any more:
/// what ends all else ends it too, also where it was undone since (law 4). `closed`: when that was last.
pub(super) fn still_good(
    at: &Moment<'_>,
    id: &TenantId,
    approval: &Approval,
    closed: Option<Timestamp>,
) -> Result<(), Stop> {
    if closed.is_some_and(|closed| approval.at <= closed)
        || has_left(&approval.by.person, id.as_str(), at.facts, at.policy)?
    {
        return Err(Refusal::RequestOver(RequestEnd::Lapsed).into());
    }
    Ok(())
}

/// Writes down that a session started by it.
pub(super) fn used(
    id: &TenantId,
    request_id: &RequestId,
    request: &Request,
    session: &crate::model::SessionId,
    now: Timestamp,
    presence: &mut Presence,
    change: &mut Change,
) {
    presence.requests.remove(request_id);
    let by = Some(request.asker.person.clone());
    let over = Over { at: now, cause: RequestEnd::Used, by, reason: None, session: Some(session.clone()) };
    push_end(id, request_id, request, over, change);
}

fn found<'a>(at: &Moment<'a>, id: &TenantId, request: &RequestId) -> Result<&'a Request, Stop> {
    let found = at.facts.request(id.as_str(), request.as_str())?;
    Ok(found.ok_or(Refusal::NotFound("request"))?)
}

/// Whose it is not, it does not exist for.
fn own<'a>(
    at: &Moment<'a>,
    id: &TenantId,
    request: &RequestId,
    agent: &SubjectRef,
) -> Result<&'a Request, Stop> {
    let found = at.facts.request(id.as_str(), request.as_str())?;
    Ok(found.filter(|request| request.asker.person == *agent).ok_or(Refusal::NotFound("request"))?)
}
