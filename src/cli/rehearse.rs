//! What would be decided, with sessions that nobody has: the gateway's own decision on documents made up for it.
//!
//! Never here: an opinion about the answer.

use std::sync::Arc;

use crate::{
    config::Settings,
    model::{
        Basis, Consent, Document, EnvironmentId, Grant, GrantId, Grantee, Grantor, Key, LevelName, Presence,
        Reach, RoleName, Scope, Session, SessionId, Subject, SubjectRef, Tenant, TenantId, Timestamp,
        Version, Zone,
    },
    policy::{
        Ask, Caller, Conditions, Decision, Fact, Facts, Named, Policy, Snapshot, TenantRoles, Verdict, decide,
    },
};

/// A support session that is made up.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rehearsed<'a> {
    /// By consent at this level, with the level's role.
    Level(&'a LevelName),
    /// By a grant of everything in this role.
    Role(&'a RoleName),
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
    let policy = &Policy { conditions: Conditions::default(), ..as_configured(&settings.policy) };
    // What cannot be named is refused before any document is looked at.
    let facts = facts(settings, ask, subject, session, now).unwrap_or_default();
    match decide(ask, Caller::Known(subject), &facts, now, policy) {
        Verdict::Decided(decision) => Some(decision),
        Verdict::Need(_) => None,
    }
}

/// Decides for a member who holds the roles of `subject`, wherever the gateway has them from: no document is needed.
pub(super) fn member(policy: &Policy, ask: &Ask<'_>, subject: &Subject, now: Timestamp) -> Option<Decision> {
    let mut policy = as_configured(policy);
    policy.callers.by_row = Default::default();
    match decide(ask, Caller::Known(subject), &Facts::new(), now, &policy) {
        Verdict::Decided(decision) => Some(decision),
        Verdict::Need(_) => None,
    }
}

/// The policy where no tenant says anything of roles.
fn as_configured(policy: &Policy) -> Policy {
    let mut policy = policy.clone();
    policy.tenant_roles = TenantRoles::default();
    for role in policy.roles.values_mut() {
        role.adjustable = false;
    }
    policy
}

fn facts(
    settings: &Settings,
    ask: &Ask<'_>,
    subject: &Subject,
    rehearsed: Rehearsed<'_>,
    now: Timestamp,
) -> Option<Facts> {
    let policy = &settings.policy;
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
    let (level, role, basis) = match rehearsed {
        Rehearsed::Level(level) => {
            let role = policy.ladder.role_at(policy.ladder.rank(level));
            (level, role, Basis::Consent(level.clone()))
        }
        Rehearsed::Role(role) => (&policy.default_level, Some(role), Basis::Grant(grant_id.clone())),
    };
    let environments = known.map_or(&policy.environments, |known| &known.environments).clone();
    let consent = Consent::own(level.clone());
    let mut documents = vec![(
        Key::Tenant(tenant.clone()),
        Some(Document::Tenant(Tenant::new(None, zone, environments, consent))),
    )];
    documents.push((Key::Stop(Reach::All), None));
    let giver = SubjectRef { issuer: subject.id.issuer.clone(), sub: "(rehearsed)".into() };
    // Of whom nobody pushed a row, and who can do what they give.
    documents.push((Key::Member(tenant.clone(), giver.clone()), None));
    let roles = [role.into_iter().cloned().collect()].into();
    let known = Grantor { roles, seen: now, needed: deadline };
    documents.push((Key::Grantor(tenant.clone(), giver.clone()), Some(Document::Grantor(known))));
    let mut presence = Presence::default();
    let session = role.map(|role| {
        presence.sessions.insert(id.clone(), environment.clone());
        let grant = Grant {
            environment: environment.clone(),
            to: Grantee::Subject(subject.id.clone()),
            bound: None,
            role: role.clone(),
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
            role: role.clone(),
            rights: policy.role(role).map(|role| policy.staff_rights(role)).unwrap_or_default(),
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
