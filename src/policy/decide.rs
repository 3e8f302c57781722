//! The one decision: may this caller do this, here, now?
//!
//! A pure function of request, caller, facts and time. It is asked once a request, and again whenever something that
//! the permit rests on changes. The order of the rules below is the order in which reasons are picked; nothing is
//! looked up for a request that is refused without it.

use std::sync::Arc;

use crate::model::{
    Basis, EnvironmentId, LevelName, RoleName, SessionId, Side, Subject, SubjectKind, SubjectRef, TenantId,
    Timestamp,
};

use super::{
    ActedFor, Around, Brought, Effect, Facts, Here, Lack, Narrow, Need, Policy, Reason, Rule,
    age::{Age, Class},
    alone::{self, as_known},
    conditions::{TicketFrom, TicketRule},
    due::{Deadline, Due},
    found::find_session,
    granting::{listed, names_any, names_resources, part, whole},
    has_plan,
    reach::{Reach, beyond_rights, some_in_scope},
    resources::{Outer, Spot},
    rows::{Held, held},
    standing::{Fallen, standing},
};

/// A name that a request carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Named<'a> {
    /// This one.
    As(&'a str),
    /// None at all.
    #[default]
    Missing,
    /// One that is malformed, or several that differ.
    Unclear,
}

/// What the map says about the request's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// This rule owns it.
    Mapped(&'a Rule),
    /// Some rule owns the path, none with this method.
    Method,
    /// No rule owns it, but some back-ends would take it for a path that is owned.
    Twin,
    /// No rule owns it.
    Unmapped,
}

/// What is asked: everything about a request that a rule may look at.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// What the map says.
    pub route: Route<'a>,
    /// The tenant that the request names.
    pub tenant: Named<'a>,
    /// The environment that it names; the default where it names none.
    pub environment: Named<'a>,
    /// The id of the resource that the path names, where the rule declares its type.
    pub resource: Option<&'a str>,
    /// The ids of those that it lies in, as the path has them, in the order of the rule's types.
    pub within: Outer<'a>,
    /// The session that it names.
    pub session: Named<'a>,
    /// What it brings for an emergency.
    pub emergency: &'a Brought,
    /// What the request does by its method alone; what its rule declares goes before (rule 12).
    pub does: Effect,
    /// What staff conditions look at.
    pub around: Around<'a>,
    /// The gateway's clock is behind its own record (rule 7).
    pub clock_behind: bool,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub enum Caller<'a> {
    /// Somebody without a token.
    Nobody,
    /// Somebody with a token that was refused, with the fault's code.
    Refused(&'static str),
    /// Somebody with a token that cannot be judged right now: its issuer's keys cannot be had.
    Unverifiable,
    /// A verified subject.
    Known(&'a Subject),
}

/// More about a refusal, as far as the caller may know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// Nothing more.
    None,
    /// The code of the token's fault.
    Token(&'static str),
    /// When that which is over was over.
    At(Timestamp),
    /// This consent level would do; so would a grant.
    LevelWouldDo(LevelName),
    /// No level would do; a grant would.
    GrantWouldDo,
    /// Of a kill switch: who can lift it.
    LiftedBy(Side),
    /// The member identity that gave it; for the record alone.
    GivenBy(SubjectRef),
    /// Signing in anew would do, like this: parameters of an RFC 9470 challenge, each after `, `.
    StepUp(Arc<str>),
}

/// A refusal: a value, no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// More about it.
    pub detail: Detail,
}

/// What a staff permit says beside "yes".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staff {
    /// Inside which tenant.
    pub tenant: TenantId,
    /// In which environment.
    pub environment: EnvironmentId,
    /// In which session.
    pub session: SessionId,
    /// In which role; whoever acts as somebody has none of their own.
    pub role: Option<RoleName>,
    /// As whom, where as somebody: the application hears of them as the caller.
    pub acted_for: Option<ActedFor>,
    /// On which basis.
    pub basis: Basis,
    /// How long at the most.
    pub deadline: Deadline,
}

/// Leave to go on. Made here only, by [`decide`]; what it rests on are the facts it was decided from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    reason: Reason,
    staff: Option<Staff>,
    roles: Option<Vec<RoleName>>,
    narrowed: bool,
}

impl Permit {
    /// Which rule opened.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Of a member whose roles stand in a row: these. `None`: those of the token.
    pub fn roles(&self) -> Option<&[RoleName]> {
        self.roles.as_deref()
    }

    /// It reaches some items of the answer only: each is decided by itself, and the rest does not pass.
    pub fn narrowed(&self) -> bool {
        self.narrowed
    }

    /// Of a staff request: where and as what. `None` for members and public routes.
    pub fn staff(&self) -> Option<&Staff> {
        self.staff.as_ref()
    }
}

/// Yes or no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow(Permit),
    /// No.
    Deny(Denial),
}

/// What [`decide`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It lacks these documents; fetch them and ask again.
    Need(Need),
    /// It decided.
    Decided(Decision),
}

impl Decision {
    /// Whether an emergency token opens.
    fn is_by_token(&self) -> bool {
        matches!(self, Decision::Allow(permit) if permit.reason == Reason::EmergencyToken)
    }

    /// Leave to staff, by an emergency token.
    pub(super) fn by_token(staff: Staff) -> Decision {
        let reason = Reason::EmergencyToken;
        Decision::Allow(Permit { reason, staff: Some(staff), roles: None, narrowed: false })
    }
}

pub(super) fn deny(reason: Reason) -> Decision {
    Decision::Deny(Denial { reason, detail: Detail::None })
}

pub(super) fn deny_as((reason, detail): Fallen) -> Decision {
    Decision::Deny(Denial { reason, detail })
}

fn allow(reason: Reason) -> Decision {
    Decision::Allow(Permit { reason, staff: None, roles: None, narrowed: false })
}

/// Decides. See the module's header.
pub fn decide(ask: &Ask<'_>, caller: Caller<'_>, facts: &Facts, now: Timestamp, policy: &Policy) -> Verdict {
    let decided = match (caller, ask.route) {
        (_, Route::Mapped(rule)) if rule.public => Ok(match ask.environment {
            Named::As(environment) if !rule.is_in(environment) => deny(Reason::RouteElsewhere),
            Named::Missing | Named::Unclear if !rule.environments.is_empty() => deny(Reason::RouteElsewhere),
            _ => allow(Reason::PublicRoute),
        }),
        (Caller::Nobody, _) => Ok(deny(Reason::TokenMissing)),
        (Caller::Refused(fault), _) => Ok(deny_as((Reason::TokenInvalid, Detail::Token(fault)))),
        (Caller::Unverifiable, _) => Ok(deny(Reason::KeysUnavailable)),
        (Caller::Known(subject), _) => match subject.kind {
            SubjectKind::Member => member(ask, subject, facts, policy),
            SubjectKind::Staff => staff(ask, subject, facts, now, policy),
            SubjectKind::Service => Ok(deny(Reason::ServiceNotHere)),
        },
    };
    match decided.and_then(|decision| in_plan(decision, ask, facts, policy)) {
        Ok(decision) => Verdict::Decided(decision),
        Err(Lack::Need(need)) => Verdict::Need(need),
        Err(Lack::Unavailable) if facts.age() == Age::Suspect => Verdict::Decided(deny(Reason::StateSuspect)),
        Err(Lack::Unavailable) => Verdict::Decided(deny(Reason::StateUnavailable)),
    }
}

/// What would pass does not where the tenant's plan lacks the route. Looked at last: what is refused anyway looks nothing up.
fn in_plan(decision: Decision, ask: &Ask<'_>, facts: &Facts, policy: &Policy) -> Result<Decision, Lack> {
    match (&decision, ask.route, ask.tenant) {
        (Decision::Allow(_), Route::Mapped(rule), Named::As(tenant)) if rule.plans.is_some() => {
            let alone = decision.is_by_token();
            if alone && as_known(facts.tenant(tenant))?.is_none() {
                // Nothing is known of the tenant, its plan no more than the rest.
                return Ok(decision);
            }
            let plan = facts.tenant(tenant)?.and_then(|tenant| tenant.plan.as_ref());
            // Of staff that was asked already, by a bound that is stricter.
            if let Some(stale) = policy.staleness.too_old(facts, Class::Member).filter(|_| !alone) {
                return Ok(deny(stale));
            }
            Ok(if has_plan(&rule.plans, plan) { decision } else { deny(Reason::RouteNotInPlan) })
        }
        // One that is open to everybody names no plan: the configuration refuses that.
        (Decision::Allow(_) | Decision::Deny(_), _, _) => Ok(decision),
    }
}

/// A tenant's own user: token and map are all it takes; no document, no store, no ledger. Where roles stand in rows, also
/// their row.
fn member(ask: &Ask<'_>, subject: &Subject, facts: &Facts, policy: &Policy) -> Result<Decision, Lack> {
    let rule = match ask.route {
        Route::Mapped(rule) => Some(rule),
        // Somebody acts as them: the map's silence opens nothing to whoever that is (law 3).
        Route::Unmapped if policy.members_unmapped && !subject.acting => None,
        // Here the map is not silent: what it demands of this path must not be had by another spelling of path or
        // method (law 10).
        Route::Twin => return Ok(deny(Reason::RouteTwin)),
        Route::Method => return Ok(deny(Reason::MethodUnmapped)),
        Route::Unmapped => return Ok(deny(Reason::RouteUnmapped)),
    };
    match ask.tenant {
        Named::As(tenant) if subject.tenant.as_ref().is_none_or(|own| own.as_str() != tenant) => {
            return Ok(deny(Reason::TenantForeign));
        }
        Named::As(_) => {}
        // Where the map is silent nothing says where a path names its tenant: the token's speaks for itself.
        Named::Missing if rule.is_none() && subject.tenant.is_some() => {}
        Named::Missing => return Ok(deny(Reason::TenantMissing)),
        Named::Unclear => return Ok(deny(Reason::TenantUnclear)),
    }
    match ask.environment {
        Named::As(environment) if policy.environments.contains(environment) => {}
        Named::As(_) | Named::Missing | Named::Unclear => return Ok(deny(Reason::EnvironmentUnknown)),
    }
    if let (Some(rule), Named::As(environment)) = (rule, ask.environment)
        && !rule.is_in(environment)
    {
        return Ok(deny(Reason::RouteElsewhere));
    }
    match rule {
        // Nobody acts as a member above the ceiling, nor where support access itself is administered (law 5).
        Some(rule) if subject.acting && rule.permissions.iter().any(|p| policy.above_ceiling(*p)) => {
            Ok(deny(Reason::Ceiling))
        }
        // Where roles stand in rows a token names none, so nobody of them passes here.
        Some(rule)
            if !rule.permissions.is_empty()
                && rule.permissions.iter().all(|p| policy.member_can(subject, *p)) =>
        {
            Ok(allow(Reason::MemberRole))
        }
        rule => member_by_row(rule, ask, subject, facts, policy),
    }
}

/// A member whose token does not say that they may: their row does, or what their tenant says of their roles, or nothing
/// does.
#[cold]
fn member_by_row(
    rule: Option<&Rule>,
    ask: &Ask<'_>,
    subject: &Subject,
    facts: &Facts,
    policy: &Policy,
) -> Result<Decision, Lack> {
    let held = held(subject, facts, policy)?;
    // What is known of them too long ago says neither yes nor no.
    if let Some(stale) = policy.staleness.too_old(facts, Class::Member) {
        return Ok(deny(stale));
    }
    if let Held::Nothing(reason) = held {
        return Ok(deny(reason));
    }
    let mut narrowed = false;
    let reason = match (rule, &subject.tenant) {
        (None, _) => Reason::MemberUnmapped,
        (Some(rule), Some(tenant)) => {
            let here = Here { tenant: tenant.as_str(), facts, policy };
            let spot = Spot::of_route(rule, ask.resource, ask.within);
            for permission in &rule.permissions {
                if held.can(here, *permission)? || held.can_at(&subject.id, spot, *permission, here)? {
                    continue;
                }
                let items = rule.narrow.as_deref().and_then(Narrow::kind);
                let some = spot.zip(items).map(|(spot, items)| spot.of_some(items));
                if !held.can_at(&subject.id, some, *permission, here)? {
                    return Ok(deny(Reason::PermissionMissing));
                }
                narrowed = true;
            }
            Reason::MemberRole
        }
        (Some(_), None) => return Ok(deny(Reason::TenantForeign)),
    };
    let roles = held.row().map(|row| row.roles.iter().cloned().collect());
    Ok(Decision::Allow(Permit { reason, staff: None, roles, narrowed }))
}

fn staff(
    ask: &Ask<'_>,
    subject: &Subject,
    facts: &Facts,
    now: Timestamp,
    policy: &Policy,
) -> Result<Decision, Lack> {
    // What is refused without looking anything up.
    if subject.acting {
        return Ok(deny(Reason::Acting));
    }
    if ask.clock_behind {
        return Ok(deny(Reason::ClockBehind));
    }
    if let Some(unmet) = policy.conditions.unmet(subject, &ask.around, now) {
        return Ok(deny_as(unmet));
    }
    let rule = match ask.route {
        Route::Mapped(rule) => rule,
        Route::Twin => return Ok(deny(Reason::RouteTwin)),
        Route::Method => return Ok(deny(Reason::MethodUnmapped)),
        Route::Unmapped => return Ok(deny(Reason::RouteUnmapped)),
    };
    let tenant_id = match ask.tenant {
        Named::As(tenant) => tenant,
        Named::Missing => return Ok(deny(Reason::TenantMissing)),
        Named::Unclear => return Ok(deny(Reason::TenantUnclear)),
    };
    let environment = match ask.environment {
        Named::As(environment) if policy.environments.contains(environment) => environment,
        Named::As(_) | Named::Missing | Named::Unclear => return Ok(deny(Reason::EnvironmentUnknown)),
    };
    if !rule.is_in(environment) {
        return Ok(deny(Reason::RouteElsewhere));
    }
    if ask.session == Named::Unclear {
        return Ok(deny(Reason::SessionUnclear));
    }
    if rule.permissions.is_empty() || rule.permissions.iter().any(|p| policy.above_ceiling(*p)) {
        return Ok(deny(Reason::Ceiling));
    }
    if *ask.emergency != Brought::Nothing {
        return alone::decide(ask, rule, subject, (tenant_id, environment), facts, now, policy);
    }
    // A tenant that is not known holds no session either: one answer for both (law 11).
    let found = find_session(ask, tenant_id, environment, subject, facts, now, policy)?;
    // From here on it rests on documents: what is known of them too long ago says neither yes nor no (rule 9).
    let basis = found.as_ref().ok().map(|(_, session)| &session.basis);
    let class = Class::of(basis, rule, ask.does);
    if let Some(stale) = policy.staleness.too_old(facts, class) {
        return Ok(deny(stale));
    }
    let (id, session) = match found {
        Ok(found) => found,
        Err(fallen) => return Ok(deny_as(fallen)),
    };
    let Some((tenant_name, tenant)) = facts.tenant_by_name(tenant_id)? else {
        return Ok(deny(Reason::SessionMissing));
    };
    if let Basis::BreakGlass(_) = &session.basis {
        // What the configuration demands of those who broke the glass; the incident stands for a session's ticket.
        let unmet = policy.break_glass(&subject.id);
        if let Some(unmet) = unmet.and_then(|glass| glass.conditions.unmet(subject, &ask.around, now)) {
            return Ok(deny_as(unmet));
        }
    } else if let Some(rule @ TicketRule { from: TicketFrom::Session, .. }) = &policy.conditions.ticket
        && let Some(reason) = rule.unfit(session.ticket.as_deref().map_or(Named::Missing, Named::As))
    {
        return Ok(deny(reason));
    }
    let standing = match standing(session, tenant_id, tenant, subject, facts, now, policy)? {
        Ok(standing) => standing,
        Err(fallen) => return Ok(deny_as(fallen)),
    };
    if session.environment.as_str() != environment {
        return Ok(deny(Reason::SessionElsewhere));
    }
    if !tenant.environments.contains(environment) {
        return Ok(deny(Reason::EnvironmentUnknown));
    }
    let here = Here { tenant: tenant_id, facts, policy };
    let spot = Spot::of_route(rule, ask.resource, ask.within);
    let places = match spot {
        Some(spot) if names_resources(session, standing.grant) => spot.places(here, |places, beyond| {
            part(session, standing.grant, places).is_some() || names_any(session, standing.grant, beyond)
        })?,
        Some(_) | None => Vec::new(),
    };
    let covered = part(session, standing.grant, &places);
    let known = covered.or(listed(session, standing.grant)).unwrap_or(whole(session));
    let partly = match beyond_rights(rule, (spot, subject), (session, known), &standing, here)? {
        Reach::Not(fallen) => return Ok(deny_as(fallen)),
        Reach::Some => true,
        Reach::Whole => false,
    };
    let listed = listed(session, standing.grant).filter(|_| covered.is_none());
    let Some(covered) = covered.or(listed) else { return Ok(deny(Reason::GrantScope)) };
    let narrowed = partly || listed.is_some();
    if listed.is_some() && !some_in_scope(rule, &standing, policy) {
        return Ok(deny(Reason::GrantScope));
    }
    let longest = Deadline { at: now.plus_ms(policy.max_exchange_ms), due: Due::Exchange };
    let reason = match session.basis {
        Basis::Consent(_) => Reason::SessionByConsent,
        Basis::Grant(_) => Reason::SessionByGrant,
        Basis::ActAs(_) => Reason::SessionByActAs,
        Basis::BreakGlass(_) => Reason::SessionByBreakGlass,
    };
    Ok(Decision::Allow(Permit {
        reason,
        roles: None,
        narrowed,
        staff: Some(Staff {
            tenant: tenant_name.clone(),
            environment: session.environment.clone(),
            session: id.clone(),
            role: covered.told(here)?.cloned(),
            acted_for: ActedFor::of(session, standing.giver),
            basis: session.basis.clone(),
            deadline: standing.again().min(longest),
        }),
    }))
}
