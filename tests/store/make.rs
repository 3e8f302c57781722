//! Documents, keys and changes for the tests.

use std::sync::atomic::{AtomicU64, Ordering};

use postern::{
    model::{
        Basis, ChangeId, Consent, Document, End, EndCause, EnvironmentId, Grant, GrantId, Grantee, Grantor,
        Invitation, IssuerName, Joined, Key, LevelName, Made, Presence, Resource, ResourceRef, RoleName,
        Scope, Session, SessionId, Stored, SubjectRef, Tally, Tenant, TenantId, TenantRole, Timestamp,
        Version, Zone,
        once::{Kept, Once, Thing},
    },
    state::{Commit, Committed, StoreFault},
};

pub(crate) fn tenant_id(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

pub(crate) fn tenant_key(name: &str) -> Key {
    Key::Tenant(tenant_id(name))
}

pub(crate) fn session_key(tenant: &str, id: &str) -> Key {
    Key::Session(tenant_id(tenant), SessionId::new(id).unwrap())
}

pub(crate) fn grant_key(tenant: &str, id: &str) -> Key {
    Key::Grant(tenant_id(tenant), GrantId::new(id).unwrap())
}

pub(crate) fn presence_key(tenant: &str, sub: &str) -> Key {
    Key::Presence(tenant_id(tenant), subject(sub))
}

pub(crate) fn subject(sub: &str) -> SubjectRef {
    SubjectRef { issuer: IssuerName::new("staff").unwrap(), sub: sub.into() }
}

pub(crate) fn change(text: &str) -> ChangeId {
    ChangeId::new(text).unwrap()
}

/// A change id that nobody else has; ids rise, as those of the product do.
pub(crate) fn fresh() -> ChangeId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    change(&format!("f{:012}", NEXT.fetch_add(1, Ordering::SeqCst)))
}

pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

pub(crate) fn level(name: &str) -> LevelName {
    LevelName::new(name).unwrap()
}

pub(crate) fn environment() -> EnvironmentId {
    EnvironmentId::new("production").unwrap()
}

pub(crate) fn tenant(cap: &str) -> Document {
    Document::Tenant(Tenant::new(None, Zone::UTC, [environment()].into(), Consent::own(level(cap))))
}

pub(crate) fn session(deadline: i64, ended: Option<i64>) -> Document {
    session_about("a ticket", deadline, ended)
}

pub(crate) fn session_about(reason: &str, deadline: i64, ended: Option<i64>) -> Document {
    Document::Session(Session {
        subject: subject("anna"),
        environment: environment(),
        basis: Basis::Consent(level("read")),
        role: Some(RoleName::new("reader").unwrap()),
        rights: Vec::new(),
        within: None,
        reason: reason.to_owned(),
        ticket: None,
        request: None,
        givers: Default::default(),
        above: Default::default(),
        started: at(1),
        deadline: at(deadline),
        ended: ended.map(|ms| End { at: at(ms), cause: EndCause::Removed, by: None }),
    })
}

pub(crate) fn grant(until: i64) -> Document {
    Document::Grant(Grant {
        environment: environment(),
        to: Grantee::Support,
        bound: None,
        role: Some(RoleName::new("reader").unwrap()),
        act_as: None,
        scope: Scope::Everything,
        grantor: subject("adele"),
        grantor_mail: None,
        grantor_row_mail: None,
        prolonged_by: Default::default(),
        given_as: Default::default(),
        given: at(1),
        until: at(until),
        ended: None,
    })
}

pub(crate) fn presence() -> Document {
    Document::Presence(Presence::default())
}

pub(crate) fn grantor_key(tenant: &str, sub: &str) -> Key {
    Key::Grantor(tenant_id(tenant), subject(sub))
}

pub(crate) fn grantor() -> Document {
    let roles = [[RoleName::new("admin").unwrap()].into()].into();
    Document::Grantor(Grantor { roles, seen: at(1), needed: at(9) })
}

pub(crate) fn made_key(tenant: &str, sub: &str) -> Key {
    Key::Made(tenant_id(tenant), subject(sub))
}

pub(crate) fn role_key(tenant: &str, name: &str) -> Key {
    Key::Role(tenant_id(tenant), RoleName::new(name).unwrap())
}

fn resource_ref(id: &str) -> ResourceRef {
    ResourceRef { kind: "board".parse().unwrap(), id: id.parse().unwrap() }
}

pub(crate) fn resource_key(tenant: &str, id: &str) -> Key {
    Key::Resource(tenant_id(tenant), resource_ref(id))
}

pub(crate) fn resource() -> Document {
    let assignees = [subject("anna")].into();
    Document::Resource(Resource { assignees, public: true, tenant_life: 1, ..Resource::default() })
}

pub(crate) fn joined_key(tenant: &str, id: &str, sub: &str) -> Key {
    Key::Joined(tenant_id(tenant), resource_ref(id), subject(sub))
}

pub(crate) fn joined() -> Document {
    let role = RoleName::new("lead").unwrap();
    let invited = Some(Invitation { until: at(20), held: Some(role.clone()) });
    Document::Joined(Joined {
        bounds: Default::default(),
        role,
        since: at(9),
        removed: None,
        life: 1,
        left: 2,
        by: Default::default(),
        invited,
    })
}

pub(crate) fn tally_key(tenant: &str, id: &str) -> Key {
    Key::Tally(tenant_id(tenant), resource_ref(id))
}

pub(crate) fn tally() -> Document {
    Document::Tally(Tally { roles: [(RoleName::new("lead").unwrap(), 3)].into(), seats: 2, life: 1 })
}

pub(crate) fn role() -> Document {
    Document::Role(TenantRole {
        permissions: ["orders:read".parse().unwrap()].into(),
        own: true,
        by: Default::default(),
        granted: [("g".parse().unwrap(), at(9))].into(),
        removed: None,
        life: 1,
    })
}

/// What these keys made, each remembered until then.
pub(crate) fn made_under(keys: &[(&str, i64)]) -> Document {
    let kept = keys.iter().map(|(word, until)| {
        let once = Once::of(&tenant_id("a"), &subject("anna"), word, ("POST", "/"), b"{}");
        let made = Thing::Grant(word.parse().unwrap());
        (once.key, Kept { until: at(*until), change: change(word), made, asked: once.asked })
    });
    Document::Made(Made { kept: kept.collect() })
}

/// A change of one document.
pub(crate) fn step(id: ChangeId, key: &Key, before: Option<&Stored>, document: Document) -> Commit {
    let version = before.map_or(Version::NONE, |stored| stored.version);
    let stored = Stored::after(before, id.clone(), document);
    Commit {
        since: Default::default(),
        change: id,
        at: at(1_000),
        read: vec![(key.clone(), version)],
        write: vec![(key.clone(), stored)],
    }
}

/// A change that makes several documents.
/// The place of a change that was asked for.
pub(crate) fn numbered(asked: Result<Option<Committed>, StoreFault>) -> Result<Option<u64>, StoreFault> {
    asked.map(|made| made.map(|made| made.place.number))
}

pub(crate) fn several(id: ChangeId, made: Vec<(Key, Document)>) -> Commit {
    Commit {
        since: Default::default(),
        change: id.clone(),
        at: at(1_000),
        read: made.iter().map(|(key, _)| (key.clone(), Version::NONE)).collect(),
        write: made
            .into_iter()
            .map(|(key, document)| (key, Stored::after(None, id.clone(), document)))
            .collect(),
    }
}
