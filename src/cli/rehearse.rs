//! What would be decided, with sessions that nobody has: the gateway's own decision on documents made up for it.
//!
//! Never here: an opinion about the answer.

use std::sync::Arc;

use crate::{
    config::Settings,
    model::{
        ActAs, Acting, Basis, Consent, Document, EnvironmentId, Grant, GrantId, Grantee, Grantor, Key,
        LevelName, OrganisationName, Presence, Reach, RoleName, Scope, Session, SessionId, Subject,
        SubjectRef, Tenant, TenantId, Timestamp, Version, Zone,
    },
    policy::{Ask, Caller, Conditions, Decision, Fact, Facts, Named, Policy, Snapshot, Verdict, decide},
};

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
    let mut policy = Policy { conditions: Conditions::default(), ..settings.policy.clone() };
    let mut subject = subject.clone();
    if let (Rehearsed::ActingAs(_), Some(to)) = (session, organisation(&mut policy)) {
        subject.organisations.insert(to);
    }
    let (policy, subject) = (&policy, &subject);
    // What cannot be named is refused before any document is looked at.
    let facts = facts(settings, policy, ask, subject, session, now).unwrap_or_default();
    match decide(ask, Caller::Known(subject), &facts, now, policy) {
        Verdict::Decided(decision) => Some(decision),
        Verdict::Need(_) => None,
    }
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
    let mut policy = policy.clone();
    policy.callers.by_row = Default::default();
    match decide(ask, Caller::Known(subject), &Facts::new(), now, &policy) {
        Verdict::Decided(decision) => Some(decision),
        Verdict::Need(_) => None,
    }
}

fn facts(
    settings: &Settings,
    policy: &Policy,
    ask: &Ask<'_>,
    subject: &Subject,
    rehearsed: Rehearsed<'_>,
    now: Timestamp,
) -> Option<Facts> {
    let (Named::As(tenant), Named::As(environment)) = (ask.tenant, ask.environment) else { return None };
    let (tenant, environment) = (TenantId::new(tenant).ok()?, EnvironmentId::new(environment).ok()?);
    let id = match ask.session {
        Named::As(named) => SessionId::new(named).ok()?,
        Named::Missing | Named::Unclear => SessionId::new("ses_rehearsed").ok()?,
    };
    let grant_id = GrantId::new("gra_rehearsed").ok()?;
    let known = settings.tenants.known.iter().find(|known| known.id == tenant);
    let zone = known.map_or(Zone::UTC, |known| known.zone);
    let deadline = policy.session_lasts.end(now, zone);
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
    let environments = known.map_or(&policy.environments, |known| &known.environments).clone();
    let consent = Consent::own(level.clone());
    let mut documents = vec![(
        Key::Tenant(tenant.clone()),
        Some(Document::Tenant(Tenant::new(None, zone, environments, consent))),
    )];
    documents.push((Key::Stop(Reach::All), None));
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
            given: now,
            until: deadline,
            ended: None,
        };
        documents.push((Key::Grant(tenant.clone(), grant_id), Some(Document::Grant(grant))));
        Document::Session(Session {
            subject: subject.id.clone(),
            environment,
            basis,
            role: role.cloned(),
            rights: role
                .and_then(|role| policy.role(role))
                .map(|role| policy.staff_rights(role))
                .unwrap_or_default(),
            reason: "rehearsed".to_owned(),
            ticket: None,
            request: None,
            givers: Default::default(),
            above: Default::default(),
            started: now,
            deadline,
            ended: None,
        })
    });
    documents.push((Key::Session(tenant.clone(), id), session));
    documents.push((Key::Presence(tenant, subject.id.clone()), Some(Document::Presence(presence))));
    let mut facts = Facts::new();
    for (key, document) in documents {
        let found = |document| Fact::Found(Arc::new(Snapshot { version: Version::NONE.next(), document }));
        facts.put(key, document.map_or(Fact::Absent, found));
    }
    Some(facts)
}
