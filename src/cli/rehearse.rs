//! What would be decided, with sessions that nobody has: the gateway's own decision on documents made up for it.
//!
//! Never here: an opinion about the answer.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    config::Settings,
    lifecycle::{Actor, Command, Outcome, Refusal, apply},
    model::{
        ActAs, Acting, Basis, Consent, Document, EnvironmentId, Grant, GrantId, Grantee, Grantor, Key,
        LevelName, OrganisationName, Presence, Reach, RoleName, Scope, Session, SessionId, Subject,
        SubjectRef, Tenant, TenantId, Timestamp, Version, Zone,
    },
    policy::{
        Ask, BreakGlass, Caller, Conditions, Decision, Fact, Facts, Named, Policy, ResourceRules, Route,
        Rule, Snapshot, TenantRoles, Verdict, decide, shape::Shape,
    },
};

/// Stands wherever somebody's own words would.
const REHEARSED: &str = "rehearsed";

/// A support session that is made up.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rehearsed<'a> {
    /// By consent at this level, with the level's role.
    Level(&'a LevelName),
    /// By a grant of everything in this role.
    Role(&'a RoleName),
    /// By login access, as a person with these roles.
    ActingAs(&'a [RoleName]),
}

/// Decides as if the staff subject were in such a session and nothing else were known. A level that gives no role has
/// no session.
pub(super) fn support(
    settings: &Settings,
    ask: &Ask<'_>,
    subject: &Subject,
    session: Rehearsed<'_>,
    now: Timestamp,
) -> Option<Decision> {
    // Nobody connects and nobody signed in: what staff access demands beside a session is no part of this.
    let mut policy = Policy { conditions: Conditions::default(), ..as_configured(&settings.policy) };
    let mut subject = subject.clone();
    if let (Rehearsed::ActingAs(_), Some(to)) = (session, organisation(&mut policy)) {
        subject.organisations.insert(to);
    }
    let (policy, subject) = (&policy, &subject);
    // What cannot be named is refused before any document is looked at.
    let facts = facts(settings, policy, ask, subject, session, now).unwrap_or_default();
    decided(ask, subject, &facts, now, policy)
}

/// What breaking the glass would come to.
#[derive(Debug)]
pub(super) enum Glass {
    /// They are not let in.
    Refused(Refusal),
    /// What would be decided, and when they entered, how long their session lasts at the most, in milliseconds.
    Decided(Option<Decision>, Option<i64>),
}

/// Enters by break-glass where the tenant consents to nothing and nothing else is known, by the gateway's own command, and
/// decides in the session that this makes. `None`: the configuration has no break-glass.
pub(super) fn glass(settings: &Settings, ask: &Ask<'_>, subject: &Subject, now: Timestamp) -> Option<Glass> {
    let written = settings.policy.emergency.break_glass.as_ref()?;
    // Which incident it is, and what is demanded of the sign-in, is no part of this.
    let incident = Shape::parse(REHEARSED).ok()?;
    let rehearsed = BreakGlass { conditions: Conditions::default(), incident, ..written.clone() };
    let mut policy = Policy { conditions: Conditions::default(), ..settings.policy.clone() };
    policy.resources = ResourceRules::default();
    policy.emergency.break_glass = Some(rehearsed);
    let (Some(place), Some(cause)) = (Place::of(settings, ask), written.causes.first()) else {
        return Some(Glass::Decided(decided(ask, subject, &Facts::new(), now, &policy), None));
    };
    let lowest = policy.ladder.levels().first().map_or(&policy.default_level, |level| &level.name);
    let mut documents = place.documents(lowest);
    documents.push((Key::Presence(place.tenant.clone(), subject.id.clone()), None));
    documents.push((Key::Session(place.tenant.clone(), place.session.clone()), None));
    let enter = Command::BreakGlass {
        tenant: place.tenant,
        session: place.session,
        environment: place.environment,
        reason: REHEARSED.to_owned(),
        incident: REHEARSED.to_owned(),
        cause: cause.clone(),
        lasts: None,
    };
    let change = match apply(&enter, &found(documents.clone()), Actor::Subject(subject), now, &policy) {
        Outcome::Refused(refusal) => return Some(Glass::Refused(refusal)),
        Outcome::Need(_) => return Some(Glass::Decided(None, None)),
        Outcome::Changed(change) => change,
    };
    let lasts = change.documents.iter().find_map(|(_, document)| match document {
        Document::Session(session) => Some(session.deadline.ms_since(now)),
        _ => None,
    });
    documents.extend(change.documents.into_iter().map(|(key, document)| (key, Some(document))));
    Some(Glass::Decided(decided(ask, subject, &found(documents), now, &policy), lasts))
}

/// An organisation that login access can be given to; one that is made up where the configuration has none, so that it is told
/// what would be decided if it had.
fn organisation(policy: &mut Policy) -> Option<OrganisationName> {
    if policy.login_access.organisations.is_empty() {
        policy.login_access.organisations.extend(OrganisationName::new("rehearsed").ok());
    }
    policy.login_access.organisations.first().cloned()
}

/// Decides for a member who holds the roles of `subject`, wherever the gateway has them from: no document is needed.
pub(super) fn member(policy: &Policy, ask: &Ask<'_>, subject: &Subject, now: Timestamp) -> Option<Decision> {
    let mut policy = as_configured(policy);
    policy.callers.by_row = Default::default();
    decided(ask, subject, &Facts::new(), now, &policy)
}

/// The decision, where these facts are enough for one, in a tenant whose plan has the route.
pub(super) fn decided(
    ask: &Ask<'_>,
    subject: &Subject,
    facts: &Facts,
    now: Timestamp,
    policy: &Policy,
) -> Option<Decision> {
    let had;
    let mut ask = *ask;
    if let Route::Mapped(rule) = ask.route
        && rule.plans.is_some()
    {
        had = Rule { plans: None, ..rule.clone() };
        ask.route = Route::Mapped(&had);
    }
    match decide(&ask, Caller::Known(subject), facts, now, policy) {
        Verdict::Decided(decision) => Some(decision),
        Verdict::Need(_) => None,
    }
}

/// The policy where no tenant says anything of roles, and nobody is a member of any resource.
pub(super) fn as_configured(policy: &Policy) -> Policy {
    let mut policy = policy.clone();
    policy.tenant_roles = TenantRoles::default();
    policy.resources = ResourceRules::default();
    for role in policy.roles.values_mut() {
        role.adjustable = false;
    }
    policy
}

fn facts(
    settings: &Settings,
    policy: &Policy,
    ask: &Ask<'_>,
    subject: &Subject,
    rehearsed: Rehearsed<'_>,
    now: Timestamp,
) -> Option<Facts> {
    let place = Place::of(settings, ask)?;
    let (tenant, environment, id) = (&place.tenant, &place.environment, &place.session);
    let grant_id = GrantId::new("gra_rehearsed").ok()?;
    let deadline = policy.session_lasts.end(now, place.zone);
    let giver = SubjectRef { issuer: subject.id.issuer.clone(), sub: "(rehearsed)".into() };
    let (level, role, basis) = match rehearsed {
        Rehearsed::Level(level) => {
            let role = policy.ladder.role_at(policy.ladder.rank(level));
            (level, role, Basis::Consent(level.clone()))
        }
        Rehearsed::Role(role) => (&policy.default_level, Some(role), Basis::Grant(grant_id.clone())),
        Rehearsed::ActingAs(_) => {
            let acting = Acting { grant: grant_id.clone(), user: giver.clone() };
            (&policy.default_level, None, Basis::ActAs(acting))
        }
    };
    let acts = matches!(basis, Basis::ActAs(_));
    let held = match rehearsed {
        Rehearsed::ActingAs(roles) => roles.iter().cloned().collect(),
        Rehearsed::Level(_) | Rehearsed::Role(_) => role.into_iter().cloned().collect(),
    };
    let to = match subject.organisations.first() {
        Some(name) if acts => Grantee::Organisation(name.clone()),
        Some(_) | None => Grantee::Subject(subject.id.clone()),
    };
    let mut documents = place.documents(level);
    // Of whom nobody pushed a row, and who can do what they give.
    documents.push((Key::Member(tenant.clone(), giver.clone()), None));
    let known = Grantor { roles: [held].into(), seen: now, needed: deadline };
    documents.push((Key::Grantor(tenant.clone(), giver.clone()), Some(Document::Grantor(known))));
    let mut presence = Presence::default();
    let session = (role.is_some() || acts).then(|| {
        presence.sessions.insert(id.clone(), environment.clone());
        let grant = Grant {
            environment: environment.clone(),
            to,
            bound: None,
            role: role.cloned(),
            act_as: acts.then(ActAs::default),
            scope: Scope::Everything,
            grantor: giver,
            grantor_mail: None,
            grantor_row_mail: None,
            prolonged_by: Default::default(),
            given_as: Default::default(),
            given: now,
            until: deadline,
            ended: None,
        };
        documents.push((Key::Grant(tenant.clone(), grant_id), Some(Document::Grant(grant))));
        Document::Session(Session {
            subject: subject.id.clone(),
            environment: environment.clone(),
            basis,
            role: role.cloned(),
            rights: role
                .and_then(|role| policy.role(role))
                .map(|role| policy.staff_rights(role))
                .unwrap_or_default(),
            within: None,
            reason: REHEARSED.to_owned(),
            ticket: None,
            request: None,
            givers: Default::default(),
            above: Default::default(),
            started: now,
            deadline,
            ended: None,
        })
    });
    documents.push((Key::Session(tenant.clone(), id.clone()), session));
    documents.push((Key::Presence(tenant.clone(), subject.id.clone()), Some(Document::Presence(presence))));
    Some(found(documents))
}

/// Documents, or that there are none.
pub(super) type Documents = Vec<(Key, Option<Document>)>;

/// Where the request goes, with a session that it is made in.
struct Place {
    tenant: TenantId,
    environment: EnvironmentId,
    session: SessionId,
    zone: Zone,
    environments: BTreeSet<EnvironmentId>,
}

impl Place {
    fn of(settings: &Settings, ask: &Ask<'_>) -> Option<Place> {
        let (Named::As(tenant), Named::As(environment)) = (ask.tenant, ask.environment) else { return None };
        let session = match ask.session {
            Named::As(named) => SessionId::new(named).ok()?,
            Named::Missing | Named::Unclear => SessionId::new("ses_rehearsed").ok()?,
        };
        let tenant = TenantId::new(tenant).ok()?;
        let known = settings.tenants.known.iter().find(|known| known.id == tenant);
        Some(Place {
            environment: EnvironmentId::new(environment).ok()?,
            session,
            zone: known.map_or(Zone::UTC, |known| known.zone),
            environments: known.map_or(&settings.policy.environments, |known| &known.environments).clone(),
            tenant,
        })
    }

    /// The tenant, which consents to this level, and no kill switch.
    fn documents(&self, level: &LevelName) -> Documents {
        let consent = Consent::own(level.clone());
        let tenant = Tenant::new(None, self.zone, self.environments.clone(), consent);
        vec![
            (Key::Tenant(self.tenant.clone()), Some(Document::Tenant(tenant))),
            (Key::Stop(Reach::All), None),
        ]
    }
}

pub(super) fn found(documents: Documents) -> Facts {
    let mut facts = Facts::new();
    for (key, document) in documents {
        let found = |document| Fact::Found(Arc::new(Snapshot { version: Version::NONE.next(), document }));
        facts.put(key, document.map_or(Fact::Absent, found));
    }
    facts
}
