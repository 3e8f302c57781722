//! The stored documents, their keys, and the stamps by which two copies of one are compared.
//!
//! Lives here: what a store holds, as plain data with a format version. Never here: how a store holds it
//! ([`crate::state`]), or whether a session or grant is good right now: no document copies another's validity, that
//! is worked out at each decision ([`crate::policy`]).

use std::{collections::BTreeMap, collections::BTreeSet, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

pub use super::version::Version;
use super::{
    ChangeId, End, EnvironmentId, Giver, GrantId, Grantor, Joined, LevelName, Mark, Member, OrganisationName,
    PermissionName, PlanName, Presence, Request, RequestId, Resource, ResourceRef, RoleName, SessionId,
    Subject, SubjectRef, Tally, TenantId, TenantRole, Timestamp, Veiled, Zone,
    consent::Consent,
    granting::{Closings, Delegation, GivenAs, Scope, Within},
    kind::Kind,
    login::{ActAs, Acting},
    once::Made,
    request::ApprovalRule,
    stop::{Reach, Stop},
};

/// The format that this build writes and reads. What bears another number is refused, never guessed at.
pub const FORMAT: u32 = 1;

/// How many change ids a document remembers. A copy that is further behind than this counts as a fork.
pub const REMEMBERED: usize = 32;

/// The name of a document. Everything below a tenant bears the tenant's id: tenants are islands (law 11). The switches of
/// the vendor's operators are an island of their own, which no tenant's id can spell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// The tenant itself.
    Tenant(TenantId),
    /// One grant.
    Grant(TenantId, GrantId),
    /// One support session.
    Session(TenantId, SessionId),
    /// The sessions of one staff subject in one tenant: an index, it grants nothing.
    Presence(TenantId, SubjectRef),
    /// One member of a tenant.
    Member(TenantId, SubjectRef),
    /// One request for approval.
    Request(TenantId, RequestId),
    /// What one subject made in one tenant under idempotency keys.
    Made(TenantId, SubjectRef),
    /// What is remembered of one who gave grants.
    Grantor(TenantId, SubjectRef),
    /// What a tenant says of a role.
    Role(TenantId, RoleName),
    /// A resource below a tenant.
    Resource(TenantId, ResourceRef),
    /// One member of a resource.
    Joined(TenantId, ResourceRef, SubjectRef),
    /// How many members a resource has.
    Tally(TenantId, ResourceRef),
    /// A kill switch of the vendor's operators.
    Stop(Reach),
}

impl Key {
    /// The tenant that the document concerns; none where it concerns them all.
    pub fn tenant(&self) -> Option<&TenantId> {
        match self {
            Key::Tenant(tenant)
            | Key::Grant(tenant, _)
            | Key::Session(tenant, _)
            | Key::Presence(tenant, _)
            | Key::Member(tenant, _)
            | Key::Request(tenant, _)
            | Key::Made(tenant, _)
            | Key::Grantor(tenant, _)
            | Key::Role(tenant, _)
            | Key::Resource(tenant, _)
            | Key::Joined(tenant, ..)
            | Key::Tally(tenant, _)
            | Key::Stop(Reach::Tenant(tenant)) => Some(tenant),
            Key::Stop(Reach::All | Reach::Person(_)) => None,
        }
    }

    /// What kind of document it names.
    pub fn kind(&self) -> Kind {
        match self {
            Key::Tenant(_) => Kind::Tenant,
            Key::Grant(..) => Kind::Grant,
            Key::Session(..) => Kind::Session,
            Key::Presence(..) => Kind::Presence,
            Key::Member(..) => Kind::Member,
            Key::Request(..) => Kind::Request,
            Key::Made(..) => Kind::Made,
            Key::Grantor(..) => Kind::Grantor,
            Key::Role(..) => Kind::Role,
            Key::Resource(..) => Kind::Resource,
            Key::Joined(..) => Kind::Joined,
            Key::Tally(..) => Kind::Tally,
            Key::Stop(_) => Kind::Stop,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Tenant(tenant) => write!(f, "tenant/{tenant}"),
            Key::Grant(tenant, grant) => write!(f, "grant/{tenant}/{grant}"),
            Key::Session(tenant, session) => write!(f, "session/{tenant}/{session}"),
            Key::Presence(tenant, subject) => write!(f, "presence/{tenant}/{subject}"),
            Key::Member(tenant, subject) => write!(f, "member/{tenant}/{subject}"),
            Key::Request(tenant, request) => write!(f, "request/{tenant}/{request}"),
            Key::Made(tenant, subject) => write!(f, "made/{tenant}/{subject}"),
            Key::Grantor(tenant, subject) => write!(f, "grantor/{tenant}/{subject}"),
            Key::Role(tenant, role) => write!(f, "role/{tenant}/{role}"),
            Key::Resource(tenant, resource) => write!(f, "resource/{tenant}/{resource}"),
            Key::Joined(tenant, resource, person) => write!(f, "joined/{tenant}/{resource}/{person}"),
            Key::Tally(tenant, resource) => write!(f, "tally/{tenant}/{resource}"),
            Key::Stop(Reach::All) => f.write_str("stop/all"),
            Key::Stop(Reach::Tenant(tenant)) => write!(f, "stop/tenant/{tenant}"),
            Key::Stop(Reach::Person(subject)) => write!(f, "stop/person/{subject}"),
        }
    }
}

/// An organisation of the application, as far as Postern knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// Its parent, registered before it and fixed then (rule 6).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parent: Option<TenantId>,
    /// In which its calendar days are counted.
    pub zone: Zone,
    /// The environments that exist; any other is refused.
    pub environments: BTreeSet<EnvironmentId>,
    /// How far support may go.
    pub consent: Consent,
    /// Its own kill switch.
    #[serde(skip_serializing_if = "Stop::is_nothing", default)]
    pub stop: Stop,
    /// What it pays for, as a service pushed it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plan: Option<PlanName>,
    /// How many paid seats its people may take, as a service pushed it; none: as many as they like.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seat_limit: Option<u64>,
    /// The service that pushed it last; none where the configuration registered it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub service: Option<SubjectRef>,
    /// A service removed it then: it admits no staff, and its children stand alone (rule 6). Its consent is the level
    /// that was in force, for them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub removed: Option<Timestamp>,
    /// When each environment was last taken away: what began or was granted there until then is over, also where it is
    /// back (law 4).
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub taken: BTreeMap<EnvironmentId, Timestamp>,
    /// Whether each session by consent has to be approved; absent where nobody ever said so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub approval: Option<ApprovalRule>,
    /// How often it became known again after a removal. Members' rows of before count no more.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub life: u32,
    /// When the way by grants was closed last.
    #[serde(skip_serializing_if = "Closings::is_empty", default)]
    pub closings: Closings,
    /// Whether members who are no administrators may give grants; absent where nobody ever said so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub delegation: Option<Delegation>,
    /// The roles that it says something of: its own, and those that it adjusted. An index: what is not in it needs no look.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub roles: BTreeSet<RoleName>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
pub(super) fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Tenant {
    /// A tenant that nothing was done to yet.
    pub fn new(
        parent: Option<TenantId>,
        zone: Zone,
        environments: BTreeSet<EnvironmentId>,
        consent: Consent,
    ) -> Tenant {
        let (plan, service, removed, taken) = (None, None, None, BTreeMap::new());
        let stop = Stop::default();
        let (approval, life, closings, delegation) = (None, 0, Closings::default(), None);
        let (roles, seat_limit) = (BTreeSet::new(), None);
        Tenant {
            parent,
            zone,
            environments,
            consent,
            stop,
            plan,
            seat_limit,
            service,
            removed,
            taken,
            approval,
            life,
            closings,
            delegation,
            roles,
        }
    }

    /// Whether what began or was granted at an instant in an environment is over because that was taken away since.
    pub fn took_away(&self, environment: &EnvironmentId, begun: Timestamp) -> Option<Timestamp> {
        self.taken.get(environment).copied().filter(|at| begun <= *at)
    }
}

/// To whom a grant is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grantee {
    /// One staff subject.
    Subject(SubjectRef),
    /// The staff subject that first uses it with this verified address (rule 1).
    Email(Arc<str>),
    /// The staff subject that used it first, by an address that was erased from the record that this was rebuilt from.
    /// Nobody else can use it any more, and where nobody had, nobody can.
    Erased,
    /// Whoever the configuration counts as support.
    Support,
    /// Whoever the configuration counts to this support organisation.
    Organisation(OrganisationName),
}

/// A dated permission given by a tenant's person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The environment it holds in.
    pub environment: EnvironmentId,
    /// To whom.
    pub to: Grantee,
    /// Of a grant to an address: the subject that used it first; nobody else can use it any more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bound: Option<SubjectRef>,
    /// The role it gives; none where it lets somebody act as its giver instead.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub role: Option<RoleName>,
    /// Of login access: it gives no role, it lets somebody act as whoever gave it. Without either it gives nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub act_as: Option<ActAs>,
    /// What it covers.
    pub scope: Scope,
    /// Who gave it.
    pub grantor: SubjectRef,
    /// Their verified address, as far as it can be compared.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub grantor_mail: Option<Mark>,
    /// The address in the row that there was of them, likewise.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub grantor_row_mail: Option<Mark>,
    /// Who moved its expiry further away since.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub prolonged_by: BTreeSet<Giver>,
    /// As whom they gave it.
    #[serde(skip_serializing_if = "GivenAs::is_administrator", default)]
    pub given_as: GivenAs,
    /// When it was given.
    pub given: Timestamp,
    /// From when on it gives nothing.
    pub until: Timestamp,
    /// Whether and why it ended before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended: Option<End>,
}

impl Grant {
    /// Which of those who gave it this subject is, if any (GW-14).
    pub fn given_by(&self, subject: &Subject) -> Option<SubjectRef> {
        let grantor = self.giver();
        std::iter::once(&grantor)
            .chain(&self.prolonged_by)
            .find(|giver| giver.is(subject))
            .map(|g| g.person.clone())
    }

    /// Who gave it at first.
    pub fn giver(&self) -> Giver {
        Giver {
            person: self.grantor.clone(),
            mail: self.grantor_mail.clone(),
            row_mail: self.grantor_row_mail.clone(),
        }
    }
}

/// On what a session rests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The tenant's consent, at this level when it began.
    Consent(LevelName),
    /// This grant.
    Grant(GrantId),
    /// Login access: it acts as a person of the tenant, with what they can do at each instant.
    ActAs(Acting),
    /// Nobody's consent: an emergency that an operator declared.
    BreakGlass(Glass),
}

/// What an operator declared when they broke the glass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Glass {
    /// Which of the configured causes it is.
    pub cause: Arc<str>,
    /// The incident that it belongs to.
    pub incident: Arc<str>,
    /// Why, in their words.
    pub reason: Arc<str>,
}

/// A staff subject inside one tenant and environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Whose it is.
    pub subject: SubjectRef,
    /// Where.
    pub environment: EnvironmentId,
    /// On what it rests.
    pub basis: Basis,
    /// The role it began with. Whoever acts as a person of the tenant has none of their own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub role: Option<RoleName>,
    /// What that role could do then, sorted. Rights now are at most these (rule 4).
    pub rights: Vec<PermissionName>,
    /// By a grant over named resources: what it began with there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub within: Option<Within>,
    /// Why the agent entered, in their words.
    pub reason: String,
    /// The ticket they named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ticket: Option<String>,
    /// By consent that has to be approved: the request that was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request: Option<RequestId>,
    /// By consent: who had given what it began on.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub givers: BTreeSet<Giver>,
    /// And who of a tenant further up had.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub above: BTreeSet<Veiled>,
    /// When it began.
    pub started: Timestamp,
    /// An instant, fixed at the start.
    pub deadline: Timestamp,
    /// Whether and why it ended before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended: Option<End>,
}

/// What a key names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Document {
    /// A tenant.
    Tenant(Tenant),
    /// A grant.
    Grant(Grant),
    /// A session.
    Session(Session),
    /// An index.
    Presence(Presence),
    /// A tenant's person.
    Member(Member),
    /// A request for approval.
    Request(Request),
    /// What was made under idempotency keys.
    Made(Made),
    /// One who gave grants.
    Grantor(Grantor),
    /// What a tenant says of a role.
    Role(TenantRole),
    /// A resource.
    Resource(Resource),
    /// A member of a resource.
    Joined(Joined),
    /// How many members a resource has.
    Tally(Tally),
    /// A kill switch.
    Stop(Stop),
}

impl Document {
    /// What kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Document::Tenant(_) => Kind::Tenant,
            Document::Grant(_) => Kind::Grant,
            Document::Session(_) => Kind::Session,
            Document::Presence(_) => Kind::Presence,
            Document::Member(_) => Kind::Member,
            Document::Request(_) => Kind::Request,
            Document::Made(_) => Kind::Made,
            Document::Grantor(_) => Kind::Grantor,
            Document::Role(_) => Kind::Role,
            Document::Resource(_) => Kind::Resource,
            Document::Joined(_) => Kind::Joined,
            Document::Tally(_) => Kind::Tally,
            Document::Stop(_) => Kind::Stop,
        }
    }

    /// When its own deadline falls, while it has not ended; of a tenant, when its raised consent falls back; of what is kept
    /// for a while, when all of it is over.
    pub fn due(&self) -> Option<Timestamp> {
        match self {
            Document::Grant(grant) if grant.ended.is_none() => Some(grant.until),
            Document::Session(session) if session.ended.is_none() => Some(session.deadline),
            Document::Request(request) => request.due(),
            Document::Made(made) => made.due(),
            Document::Tenant(tenant) => tenant.consent.raised.as_ref().map(|raise| raise.until),
            Document::Grant(_)
            | Document::Session(_)
            | Document::Presence(_)
            | Document::Member(_)
            | Document::Grantor(_)
            | Document::Role(_)
            | Document::Resource(_)
            | Document::Joined(_)
            | Document::Tally(_)
            | Document::Stop(_) => None,
        }
    }
}

/// One newest state of a document and the change that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The change.
    pub change: ChangeId,
    /// What the document said after it.
    pub document: Document,
}

/// A document as stored: its newest state and how it came to be. After a fail-over made two histories there may be
/// several newest states; what holds is the narrowest of them all, until the next change (see [`super::join`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// [`FORMAT`].
    #[serde(deserialize_with = "this_format")]
    pub format: u32,
    /// Raised by every change.
    pub version: Version,
    /// The ids of the last changes, at most [`REMEMBERED`], greatest first.
    pub changes: Vec<ChangeId>,
    /// The newest states, by change id, greatest first; one, save after a fork.
    pub heads: Vec<Head>,
}

/// Whoever reads a document, from wherever, reads none of another format.
fn this_format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        FORMAT => Ok(FORMAT),
        other => Err(D::Error::custom(format!(
            "format {other} is not this build's format {FORMAT}; read it with the build that wrote it"
        ))),
    }
}

impl Stored {
    /// The state after `change`, on top of what was there before.
    pub fn after(before: Option<&Stored>, change: ChangeId, document: Document) -> Stored {
        let mut changes: Vec<ChangeId> = before.map(|b| b.changes.clone()).unwrap_or_default();
        changes.push(change.clone());
        super::join::trim(&mut changes);
        let version = before.map_or(Version::NONE, |b| b.version).next();
        Stored { format: FORMAT, version, changes, heads: vec![Head { change, document }] }
    }

    /// Whether this change is among the ones remembered.
    pub fn remembers(&self, change: &ChangeId) -> bool {
        self.changes.contains(change) || self.heads.iter().any(|head| head.change == *change)
    }
}
