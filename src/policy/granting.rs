//! Grants of the tenants' people, as far as the configuration narrows them: to whom and in which roles they may be given, by
//! which plans and in which environments, and by whom who is no administrator. What closes the way ends what was given before,
//! for good (law 4).
//!
//! Never here: giving one ([`crate::lifecycle`]); the bound of a grant by what its giver can do (see [`super::rows`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    EnvironmentId, GivenAs, Grant, Grantee, PermissionName, PlanName, ResourceType, RoleName, Scope, Session,
    Span, Subject, Tenant, Timestamp,
};

use super::{Detail, Facts, Here, Lack, Meaning, Policy, Reason, rows::Bound, standing::Fallen};

/// To whom a grant can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum To {
    /// Support as a whole.
    Support,
    /// One person of the vendor, by name or address.
    Person,
}

impl To {
    /// Which kind a grantee is; none of what is no grantee of such a grant.
    pub fn of(grantee: &Grantee) -> To {
        match grantee {
            Grantee::Support => To::Support,
            Grantee::Subject(_) | Grantee::Email(_) | Grantee::Organisation(_) | Grantee::Erased => {
                To::Person
            }
        }
    }
}

/// Whether somebody who is no administrator may give grants by a role that they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum May {
    /// While their tenant's setting allows it.
    WhenAllowed,
    /// Always.
    Always,
}

impl May {
    /// As whom they give.
    pub fn given_as(self) -> GivenAs {
        match self {
            May::WhenAllowed => GivenAs::Allowed,
            May::Always => GivenAs::Member,
        }
    }
}

/// Which roles a grant may give.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gives {
    /// Over a whole environment.
    pub everything: BTreeSet<RoleName>,
    /// At resources of each type.
    pub resources: BTreeMap<ResourceType, BTreeSet<RoleName>>,
}

/// Which environments of a tenant may be granted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grantable {
    /// Whatever others there are.
    pub always: BTreeSet<EnvironmentId>,
    /// Where a tenant has exactly these, all of them.
    pub exactly: BTreeSet<BTreeSet<EnvironmentId>>,
}

impl Grantable {
    /// Whether this one may be, of a tenant that has these.
    pub fn holds(&self, environment: &EnvironmentId, of: &BTreeSet<EnvironmentId>) -> bool {
        self.always.contains(environment)
            || self.exactly.iter().any(|set| set == of && set.contains(environment))
    }
}

/// What the configuration says of grants. Where it says nothing, administrators give any role that they hold themselves to
/// anybody, and nobody else gives anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Granting {
    /// To whom; `None` is anybody.
    pub to: Option<BTreeSet<To>>,
    /// Which roles; `None` is any.
    pub gives: Option<Gives>,
    /// The plans that include support access; `None` is all, and also of a tenant of which none is known.
    pub plans: Option<BTreeSet<PlanName>>,
    /// The environments; `None` is all.
    pub environments: Option<Grantable>,
    /// Who may give beside administrators, by the roles that they hold.
    pub by_role: BTreeMap<RoleName, May>,
    /// How long a grant should stand, told to whoever gives one.
    pub suggested: Option<Span>,
}

impl Granting {
    /// Whether a plan includes support access; one that nobody knows does not.
    pub fn plan_holds(&self, plan: Option<&PlanName>) -> bool {
        self.plans.as_ref().is_none_or(|plans| plan.is_some_and(|plan| plans.contains(plan)))
    }

    /// Whether an environment may be granted beside the others that a tenant has.
    pub fn environment_holds(&self, environment: &EnvironmentId, of: &BTreeSet<EnvironmentId>) -> bool {
        self.environments.as_ref().is_none_or(|grantable| grantable.holds(environment, of))
    }

    /// Whether a grant may be given to such a grantee.
    pub fn goes_to(&self, grantee: &Grantee) -> bool {
        self.to.as_ref().is_none_or(|to| to.contains(&To::of(grantee)))
    }

    /// The first role that may not be given where the scope gives it, and the type of the resource; `None` of the type is the
    /// whole environment.
    pub fn not_given<'a>(
        &self,
        main: &'a RoleName,
        scope: &'a Scope,
    ) -> Option<(&'a RoleName, Option<&'a ResourceType>)> {
        let gives = self.gives.as_ref()?;
        let fits = |kind: &ResourceType, role: &RoleName| {
            gives.resources.get(kind).is_some_and(|roles| roles.contains(role))
        };
        match scope {
            Scope::Everything => (!gives.everything.contains(main)).then_some((main, None)),
            Scope::Resources(all) => {
                all.iter().find(|(kind, _)| !fits(kind, main)).map(|(kind, _)| (main, Some(kind)))
            }
            Scope::Roles(all) => {
                let unfit = all.iter().find(|at| !fits(&at.r#type, &at.role));
                unfit.map(|at| (&at.role, Some(&at.r#type)))
            }
        }
    }

    /// Whether whoever holds these roles may give grants without administering support access.
    pub fn may<'a>(&self, held: impl IntoIterator<Item = &'a RoleName>) -> Option<May> {
        held.into_iter().filter_map(|role| self.by_role.get(role)).copied().max()
    }

    /// Whether the tenants have a setting by which others than administrators give.
    pub fn has_setting(&self) -> bool {
        self.by_role.values().any(|may| *may == May::WhenAllowed)
    }
}

/// What closed the way to a grant that has not ended itself, with the instant from which on that stays so; without one it is
/// closed at this instant, and nobody wrote down since when.
pub fn closed(grant: &Grant, tenant: &Tenant, policy: &Policy) -> Option<(Reason, Option<Timestamp>)> {
    let granting = &policy.granting;
    let until = |mark: Option<Timestamp>| mark.filter(|at| grant.given <= *at);
    let here = &grant.environment;
    let by_setting = grant.given_as == GivenAs::Allowed;
    let setting = tenant.delegation.as_ref();
    let checks = [
        (Reason::PlanCloses, until(tenant.closings.plan), granting.plan_holds(tenant.plan.as_ref())),
        (
            Reason::EnvironmentCloses,
            until(tenant.closings.environments.get(here).copied()),
            // Of one that is gone something else is said.
            !tenant.environments.contains(here) || granting.environment_holds(here, &tenant.environments),
        ),
        (
            Reason::GrantingOff,
            until(setting.and_then(|setting| setting.off)).filter(|_| by_setting),
            !by_setting || setting.is_some_and(|setting| setting.allowed),
        ),
    ];
    let marked =
        checks.iter().filter_map(|(reason, at, _)| Some((*reason, Some((*at)?)))).min_by_key(|(_, at)| *at);
    marked.or_else(|| checks.iter().find(|(_, _, holds)| !holds).map(|(reason, _, _)| (*reason, None)))
}

/// The same as a refusal.
pub fn closed_as(grant: &Grant, tenant: &Tenant, policy: &Policy) -> Option<Fallen> {
    closed(grant, tenant, policy).map(|(reason, at)| (reason, at.map_or(Detail::None, Detail::At)))
}

/// What closed the way to a grant, or that whoever gave it left since: what of it can be told without what they can do now.
pub fn over(
    grant: &Grant,
    (id, tenant): (&str, &Tenant),
    facts: &Facts,
    policy: &Policy,
) -> Result<Option<(Reason, Option<Timestamp>)>, Lack> {
    if let Some(closed) = closed(grant, tenant, policy) {
        return Ok(Some(closed));
    }
    Ok(away(grant, id, facts)?.map(|at| (Reason::GrantorGone, Some(at))))
}

/// When whoever gave it, and is no administrator, was suspended or removed since, if they were.
pub fn away(grant: &Grant, tenant: &str, facts: &Facts) -> Result<Option<Timestamp>, Lack> {
    if grant.given_as.is_administrator() {
        return Ok(None);
    }
    let away = facts.member(tenant, &grant.grantor)?.and_then(|row| row.away);
    Ok(away.filter(|at| grant.given <= *at))
}

/// Whether whoever gave it has left since, as far as that ends it: what others than administrators give does not come back
/// with them.
pub fn left(grant: &Grant, giver: Bound<'_>) -> Option<Timestamp> {
    match giver {
        Bound::Row(row) if !grant.given_as.is_administrator() => row.away.filter(|at| grant.given <= *at),
        Bound::Row(_) | Bound::Remembered(..) => None,
    }
}

/// Whether this person switched on the setting that a grant rests on (GW-14).
pub fn let_by<'t>(
    grant: &Grant,
    tenant: &'t Tenant,
    subject: &Subject,
) -> Option<&'t crate::model::SubjectRef> {
    let setting = tenant.delegation.as_ref().filter(|_| grant.given_as == GivenAs::Allowed)?;
    setting.by.iter().find(|giver| giver.is(subject)).map(|giver| &giver.person)
}

/// What a session may use at a resource: the role that it began with there, and what that could do then; and the role that
/// its grant gives there now.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// At the start; none of a session that acts as somebody.
    pub role: Option<&'a RoleName>,
    /// What that role could do at the start, sorted.
    pub rights: &'a [PermissionName],
    /// Of a session by a grant: what that gives there now, if anything.
    now: Option<Given<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Given<'a>(Option<&'a RoleName>);

impl<'a> Part<'a> {
    /// Whether that role could do this at the start.
    pub fn held(&self, name: &PermissionName) -> bool {
        self.rights.binary_search_by(|right| right.as_str().cmp(name.as_str())).is_ok()
    }

    /// The roles all of which have to allow what is done: the one of the start, and the one of now where it is another.
    pub fn roles(&self) -> impl Iterator<Item = Option<&'a RoleName>> {
        let now = self.now.map(|Given(now)| now).filter(|now| *now != self.role);
        [Some(self.role), now].into_iter().flatten()
    }

    /// What these roles mean; `None` where one of them means nothing.
    pub(super) fn meanings(&self, here: Here<'a>) -> Result<Option<[Option<Meaning<'a>>; 2]>, Lack> {
        let mut all = [None; 2];
        for (slot, name) in all.iter_mut().zip(self.roles()) {
            match name.map_or(Ok(Meaning::Nothing), |name| here.role(name))? {
                Meaning::Nothing => return Ok(None),
                meant => *slot = Some(meant),
            }
        }
        Ok(Some(all))
    }

    /// The role that the application is told of: the one of the start, or the one that the grant gives now where that holds
    /// less. Where neither lies within the other it is told of none, rather than of more than there is.
    pub fn told(&self, here: Here<'a>) -> Result<Option<&'a RoleName>, Lack> {
        let Some(Given(now)) = self.now.filter(|Given(now)| *now != self.role) else { return Ok(self.role) };
        let (Some(then), Some(now)) = (self.role, now) else { return Ok(None) };
        let (began, stands) = (here.role(then)?.set(here.policy), here.role(now)?.set(here.policy));
        Ok(match (began.is_within(&stands), stands.is_within(&began)) {
            (true, _) => Some(then),
            (false, true) => Some(now),
            (false, false) => None,
        })
    }
}

/// Whether a session is over named resources, then or now: otherwise it does not matter where a resource lies.
pub fn names_resources(session: &Session, grant: Option<&Grant>) -> bool {
    session.within.is_some() || grant.is_some_and(|grant| grant.scope != Scope::Everything)
}

/// Whether a session over named resources could cover something that lies in one of these types, then and now.
pub(super) fn names_any(session: &Session, grant: Option<&Grant>, kinds: &[&ResourceType]) -> bool {
    let names = |scope: &Scope| match scope {
        Scope::Everything => true,
        Scope::Resources(all) => all.iter().any(|(kind, _)| kinds.contains(&kind)),
        Scope::Roles(all) => all.iter().any(|at| kinds.contains(&&at.r#type)),
    };
    let began = session.within.as_ref().is_none_or(|within| names(&within.scope));
    !kinds.is_empty() && began && grant.is_none_or(|grant| names(&grant.scope))
}

/// The part of a session at the resource that a path names, which is the first of these places, and lies in the others; `None`
/// where it covers none of them, then or now.
pub fn part<'a>(
    session: &'a Session,
    grant: Option<&'a Grant>,
    places: &[(&ResourceType, &str)],
) -> Option<Part<'a>> {
    let now = match grant {
        Some(grant) if !grant.scope.covers(places) => return None,
        Some(grant) => Some(Given(grant.scope.role_at(grant.role.as_ref(), places))),
        None => None,
    };
    let own = session.role.as_ref();
    let role = match &session.within {
        Some(within) if !within.scope.covers(places) => return None,
        Some(within) => within.scope.role_at(own, places),
        None => own,
    };
    Some(Part { role, rights: rights_of(session, role), now })
}

/// The part of a session at a list whose items are looked at one by one: where resources were and are named, all with the one role.
/// Where they have roles of their own, no single one of those is the list's.
pub fn listed<'a>(session: &'a Session, grant: Option<&'a Grant>) -> Option<Part<'a>> {
    let (grant, within) = (grant?, session.within.as_ref()?);
    let (Scope::Resources(_), Scope::Resources(_)) = (&grant.scope, &within.scope) else { return None };
    let now = Some(Given(grant.role.as_ref()));
    Some(Part { role: session.role.as_ref(), rights: &session.rights, now })
}

/// What a role could do when a session began.
fn rights_of<'a>(session: &'a Session, role: Option<&RoleName>) -> &'a [PermissionName] {
    let others = session.within.as_ref().map(|within| &within.rights);
    match role.and_then(|role| others?.get(role)) {
        Some(rights) => rights,
        None if role == session.role.as_ref() => &session.rights,
        None => &[],
    }
}

/// All roles that a session by a grant began with, and those that the grant names now.
pub(super) fn named<'a>(session: &'a Session, grant: &'a Grant) -> impl Iterator<Item = &'a RoleName> {
    let began = session.within.iter().flat_map(|within| within.scope.own_roles());
    session.role.iter().chain(began).chain(&grant.role).chain(grant.scope.own_roles())
}

/// The same without a resource: of a session that is over none in particular, or where none of its resources is named.
pub fn whole(session: &Session) -> Part<'_> {
    Part { role: session.role.as_ref(), rights: &session.rights, now: None }
}

/// The resources that a session is over by name, as it began, else as its grant says now; none where it is over everything.
pub(super) fn places<'a>(session: &'a Session, grant: Option<&'a Grant>) -> Vec<(&'a ResourceType, &'a str)> {
    let named = |scope: &'a Scope| -> Vec<(&'a ResourceType, &'a str)> {
        match scope {
            Scope::Everything => Vec::new(),
            Scope::Resources(all) => all.iter().map(|(kind, id)| (kind, id.as_str())).collect(),
            Scope::Roles(all) => all.iter().map(|at| (&at.r#type, at.id.as_str())).collect(),
        }
    };
    let began = session.within.as_ref().map_or(&Scope::Everything, |within| &within.scope);
    let stands = grant.map_or(&Scope::Everything, |grant| &grant.scope);
    if *began == Scope::Everything { named(stands) } else { named(began) }
}

/// Every part that a session has anywhere, each once.
pub fn parts<'a>(session: &'a Session, grant: Option<&'a Grant>) -> Vec<Part<'a>> {
    let at = places(session, grant);
    if at.is_empty() {
        return part(session, grant, &[]).into_iter().collect();
    }
    let mut parts: Vec<Part<'a>> = Vec::new();
    for resource in at {
        if let Some(part) = part(session, grant, &[resource])
            && !parts.iter().any(|known| (known.role, known.now) == (part.role, part.now))
        {
            parts.push(part);
        }
    }
    parts
}
