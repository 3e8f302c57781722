//! Who may give a grant, which one, and where; how a tenant lets others than its administrators give them; how the terms of
//! one are changed; and what closes the way when a tenant's plan falls or its environments change.
//!
//! Never here: what is closed at an instant, and what a grant gives ([`crate::policy::granting`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    model::{
        Closings, Delegation, Document, EndCause, EnvironmentId, GivenAs, Giver, Grant, GrantId, Grantee,
        Key, PlanName, RoleName, Scope, Subject, SubjectKind, Tenant, TenantId, Version, Within,
    },
    policy::{Meaning, Reason, SUPPORT_MANAGE, granting::May, has_plan, rows::held},
};

use super::{
    Actor, Change, Event, Moment, Refusal, Stop, Until,
    grant::{checked, may_hand_on, standing_grant},
    grantor::gives,
    role,
};

/// What is to be changed of a grant; what is not said stays.
pub(super) struct Wanted<'a> {
    pub(super) role: Option<&'a RoleName>,
    pub(super) scope: Option<&'a Scope>,
    pub(super) until: Option<Until>,
}

/// Why a grant gives nothing that the way is closed to, in words for whoever would enter by it.
pub(super) fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::PlanCloses => "the tenant's plan gives no support access, or did not for a while since",
        Reason::EnvironmentCloses => {
            "its environment cannot be granted beside the others that there are, or could not since"
        }
        _ => "the tenant lets nobody but its administrators give grants, or did not for a while since",
    }
}

/// What a session by a grant begins with, where that covers named resources.
pub(super) fn within(at: &Moment<'_>, id: &TenantId, grant: &Grant) -> Result<Option<Within>, Stop> {
    if grant.scope == Scope::Everything {
        return Ok(None);
    }
    let own = grant.role.as_ref();
    let mut rights = BTreeMap::new();
    for name in grant.scope.roles(own).into_iter().filter(|role| Some(*role) != own) {
        let meant = at.here(id).role(name)?.set(at.policy);
        rights.insert(name.clone(), at.policy.staff_rights_of(&meant));
    }
    Ok(Some(Within { scope: grant.scope.clone(), rights }))
}

/// Whoever may give a grant in that tenant, and as whom they do.
pub(super) fn giver<'a>(at: &Moment<'a>, id: &TenantId) -> Result<(&'a Subject, GivenAs), Stop> {
    let refused = match administrator(at, id)? {
        Ok(subject) => return Ok((subject, GivenAs::Administrator)),
        Err(refused) => refused,
    };
    let Some(subject) = member(at, id) else { return Err(refused.into()) };
    match may(at, subject)? {
        None => Err(refused.into()),
        Some(May::Always) => Ok((subject, GivenAs::Member)),
        Some(May::WhenAllowed) => {
            let tenant = at.facts.tenant(id.as_str())?;
            let allowed = tenant.and_then(|tenant| tenant.delegation.as_ref()).is_some_and(|d| d.allowed);
            if allowed { Ok((subject, GivenAs::Allowed)) } else { Err(Refusal::GrantingOff.into()) }
        }
    }
}

/// Whoever may withdraw a grant: an administrator any, others their own, also when they may give none any more.
pub(super) fn withdrawer<'a>(at: &Moment<'a>, id: &TenantId, grant: &GrantId) -> Result<&'a Subject, Stop> {
    // Whose it is comes first: it waits for no role that cannot be read. Of what is not theirs others learn nothing, not even
    // that it is there (law 11).
    if let Some(subject) = member(at, id)
        && !at.policy.granting.by_role.is_empty()
        && at.facts.grant(id.as_str(), grant.as_str())?.is_some_and(|known| known.grantor == subject.id)
    {
        return Ok(subject);
    }
    at.administrator(id, SUPPORT_MANAGE)
}

/// Whoever may change a grant: as for withdrawing it, and others than administrators only while they may give one.
pub(super) fn changer<'a>(
    at: &Moment<'a>,
    id: &TenantId,
    grant: &GrantId,
) -> Result<(&'a Subject, GivenAs), Stop> {
    withdrawer(at, id, grant)?;
    giver(at, id)
}

/// Refuses more by a grant from whoever gave it as one who may give more than they may now: that it stands on is one thing, and
/// it is bounded by what they can do. More of it they give anew, as who they are, or an administrator does.
pub(super) fn still_theirs(grant: &Grant, by: GivenAs) -> Result<(), Refusal> {
    if by.is_administrator() || by <= grant.given_as { Ok(()) } else { Err(Refusal::GivenAsOther) }
}

/// Refuses what would give nothing: on a plan, or in an environment, in which nothing can be granted.
pub(super) fn is_open(at: &Moment<'_>, tenant: &Tenant, environment: &EnvironmentId) -> Result<(), Refusal> {
    let granting = &at.policy.granting;
    if !granting.plan_holds(tenant.plan.as_ref()) {
        return Err(Refusal::PlanCloses);
    }
    if !granting.environment_holds(environment, &tenant.environments) {
        return Err(Refusal::EnvironmentCloses(environment.clone()));
    }
    Ok(())
}

/// Refuses what the configuration does not let be given here, and by this person.
pub(super) fn fits(
    at: &Moment<'_>,
    (id, tenant): (&TenantId, &Tenant),
    (by, given_as): (&Subject, GivenAs),
    (environment, to): (&EnvironmentId, &Grantee),
    (role, scope): (&RoleName, &Scope),
) -> Result<(), Stop> {
    is_open(at, tenant, environment)?;
    let granting = &at.policy.granting;
    if !granting.goes_to(to) {
        return Err(Refusal::GranteeNotOffered.into());
    }
    if !given_as.is_administrator() && *scope == Scope::Everything {
        return Err(Refusal::ScopeTooWide.into());
    }
    for name in scope.named(Some(role)) {
        if at.policy.role(name).is_some_and(|known| !has_plan(&known.plans, tenant.plan.as_ref())) {
            return Err(Refusal::RoleNotInPlan(name.clone()).into());
        }
        if at.here(id).role(name)? == Meaning::Nothing {
            return Err(Refusal::RoleUnknown(name.clone()).into());
        }
    }
    may_hand_on(at, id, by, Some(role), scope)?;
    if scope.is_empty() {
        return Err(Refusal::ScopeEmpty.into());
    }
    match granting.not_given(role, scope) {
        Some((role, kind)) => Err(Refusal::RoleNotGiven { role: role.clone(), at: kind.cloned() }.into()),
        None => Ok(()),
    }
}

/// Changes the terms of a grant in place: what it gives from now on, where, and until when. A session that runs by it loses
/// what it loses at once, and gains nothing (rule 4).
pub(super) fn change(
    at: &Moment<'_>,
    id: &TenantId,
    grant_id: &GrantId,
    wanted: &Wanted<'_>,
    expected: Option<Version>,
) -> Result<Change, Stop> {
    let (by, given_as) = changer(at, id, grant_id)?;
    let key = Key::Grant(id.clone(), grant_id.clone());
    let Some(tenant) = at.facts.tenant(id.as_str())? else { return Err(Refusal::NotFound("tenant").into()) };
    let grant = standing_grant(at, id, tenant, grant_id)?;
    at.reaches(&grant.environment)?;
    at.as_seen(&key, expected)?;
    at.still_there(tenant)?;
    // Login access gives no role, and no other.
    let Some(own) = grant.role.as_ref().filter(|_| grant.act_as.is_none()) else {
        return Err(Refusal::LoginAccessMoved.into());
    };
    let role = wanted.role.unwrap_or(own);
    let scope = wanted.scope.unwrap_or(&grant.scope);
    let until = match wanted.until {
        Some(until) => checked(at, until, tenant.zone)?,
        None => grant.until,
    };
    if (role, scope, until) == (own, &grant.scope, grant.until) {
        return Ok(Change::NOTHING);
    }
    still_theirs(grant, given_as)?;
    // What others gave, an administrator does not widen beyond what those may give.
    let as_whom = if grant.given_as.is_administrator() { given_as } else { grant.given_as };
    fits(at, (id, tenant), (by, as_whom), (&grant.environment, &grant.to), (role, scope))?;
    let prolonged_by = also_by(at, id, grant, &key, by)?;
    let event = Event::GrantChanged { grant: grant_id.clone(), role: role.clone(), until };
    let document =
        Grant { role: Some(role.clone()), scope: scope.clone(), until, prolonged_by, ..grant.clone() };
    let mut documents = vec![(key, Document::Grant(document))];
    let (before, after) = (grant.scope.named(Some(own)), scope.named(Some(role)));
    documents.extend(role::named(at, id, grant_id, &before, &after, until)?);
    if by.id == grant.grantor {
        documents.extend(gives(at, id, by, until)?);
    }
    Ok(Change { documents, events: vec![event], narrows: false })
}

/// Those who gave more of a grant since, with this person: nobody widens or prolongs for themselves (GW-14). Once is enough of
/// each.
pub(super) fn also_by(
    at: &Moment<'_>,
    id: &TenantId,
    grant: &Grant,
    key: &Key,
    by: &Subject,
) -> Result<BTreeSet<Giver>, Stop> {
    let row = at.facts.member(id.as_str(), &by.id)?.and_then(|row| row.email.as_deref());
    let known = |giver: &Giver| {
        let has = |address: Option<&str>| address.is_none_or(|address| giver.has(address));
        giver.person == by.id && has(by.email.as_deref()) && has(row)
    };
    let mut givers = grant.prolonged_by.clone();
    if !known(&grant.giver()) && !givers.iter().any(known) {
        givers.insert(Giver::of(by, row, &format!("{key}@{}", at.now.ms())));
    }
    Ok(givers)
}

/// Chooses whether members who are no administrators may give grants: by an administrator of the tenant. Switched off, what
/// was given by it is over for good.
pub(super) fn set(
    at: &Moment<'_>,
    id: &TenantId,
    allowed: bool,
    expected: Option<Version>,
) -> Result<Change, Stop> {
    let by = at.administrator(id, SUPPORT_MANAGE)?;
    let key = Key::Tenant(id.clone());
    let Some(tenant) = at.facts.tenant(id.as_str())? else { return Err(Refusal::NotFound("tenant").into()) };
    at.still_there(tenant)?;
    at.as_seen(&key, expected)?;
    let before = tenant.delegation.as_ref();
    if before.is_some_and(|before| before.allowed) == allowed {
        return Ok(Change::NOTHING);
    }
    let delegation = if allowed {
        // Switched off it can always be; on only where it means something.
        if !at.policy.granting.has_setting() {
            return Err(Refusal::NotFound("setting").into());
        }
        at.reaches_all(&tenant.environments)?;
        let giver = at.giver(id, by, &format!("{key}@{}", at.now.ms()))?;
        // What is given in the millisecond of the return is new.
        let off = before.and_then(|before| before.off.max(Some(at.now.plus_ms(-1))));
        Delegation { allowed, off, by: [giver].into() }
    } else {
        let by = before.map(|before| before.by.clone()).unwrap_or_default();
        Delegation { allowed, off: Some(at.now), by }
    };
    let changed = Tenant { delegation: Some(delegation), ..tenant.clone() };
    let event = Event::GrantingChanged { allowed };
    Ok(Change { documents: vec![(key, Document::Tenant(changed))], events: vec![event], narrows: !allowed })
}

/// What a service says anew of a tenant, as far as it closes the way by grants, or opens it: the marks as they are then, and
/// what is to be recorded of it.
pub(super) fn closings(
    at: &Moment<'_>,
    known: &Tenant,
    plan: Option<&PlanName>,
    environments: &BTreeSet<EnvironmentId>,
) -> (Closings, Vec<Event>) {
    let granting = &at.policy.granting;
    let (mut marks, mut events) = (known.closings.clone(), Vec::new());
    let back = Some(at.now.plus_ms(-1));
    match (granting.plan_holds(known.plan.as_ref()), granting.plan_holds(plan)) {
        (true, false) => {
            marks.plan = Some(at.now);
            events.push(Event::GrantsClosed { cause: EndCause::PlanFell, environment: None, at: at.now });
        }
        (false, true) => marks.plan = marks.plan.max(back),
        (true, true) | (false, false) => {}
    }
    for environment in known.environments.intersection(environments) {
        let held = granting.environment_holds(environment, &known.environments);
        match (held, granting.environment_holds(environment, environments)) {
            (true, false) => {
                marks.environments.insert(environment.clone(), at.now);
                let (cause, environment) = (EndCause::EnvironmentClosed, Some(environment.clone()));
                events.push(Event::GrantsClosed { cause, environment, at: at.now });
            }
            (false, true) => {
                let mark = marks.environments.get(environment).copied().max(back);
                marks.environments.extend(mark.map(|mark| (environment.clone(), mark)));
            }
            (true, true) | (false, false) => {}
        }
    }
    (marks, events)
}

/// Whether a service takes a tenant's plan away, and gives no other that holds more.
pub(super) fn plan_falls(at: &Moment<'_>, known: &Tenant, plan: Option<&PlanName>) -> bool {
    at.policy.granting.plans.is_some()
        && at.policy.granting.plan_holds(known.plan.as_ref())
        && !at.policy.granting.plan_holds(plan)
}

fn administrator<'a>(at: &Moment<'a>, id: &TenantId) -> Result<Result<&'a Subject, Refusal>, Stop> {
    match at.administrator(id, SUPPORT_MANAGE) {
        Ok(subject) => Ok(Ok(subject)),
        Err(Stop::Refused(refused @ Refusal::NotAllowed { .. })) => Ok(Err(refused)),
        Err(other) => Err(other),
    }
}

/// A person of that tenant, in a token of their own.
fn member<'a>(at: &Moment<'a>, id: &TenantId) -> Option<&'a Subject> {
    match at.actor {
        Actor::Subject(subject)
            if subject.kind == SubjectKind::Member
                && !subject.acting
                && subject.tenant.as_ref() == Some(id) =>
        {
            Some(subject)
        }
        Actor::Subject(_) | Actor::Configuration | Actor::Clock | Actor::Application => None,
    }
}

/// Whether a member may give grants by the roles that they hold now. Where nobody may, nothing is looked up.
fn may(at: &Moment<'_>, subject: &Subject) -> Result<Option<May>, Stop> {
    let granting = &at.policy.granting;
    if granting.by_role.is_empty() {
        return Ok(None);
    }
    Ok(match held(subject, at.facts, at.policy)? {
        crate::policy::rows::Held::Token(roles) => granting.may(roles),
        crate::policy::rows::Held::Row(row) => granting.may(&row.roles),
        crate::policy::rows::Held::Nothing(_) => None,
    })
}
