//! What the configuration compiles to, and the one decision.
//!
//! Lives here: the catalogue of permissions, roles as sets, the consent ladder, canonical paths and the route table,
//! the closed list of reasons, [`decide()`]. A policy is immutable; a reload makes another one.
//!
//! Never here: who wrote what in which file ([`crate::config`]), how documents are fetched ([`crate::state`]), how a
//! refusal is told ([`crate::proxy`]), input or output of any kind, a clock.

pub mod age;
pub mod alone;
pub mod callers;
pub mod ceiling;
mod chain;
pub mod conditions;
pub mod creates;
pub mod decide;
pub mod due;
pub mod emergency;
pub mod facts;
mod found;
pub mod granting;
pub mod level;
pub mod login;
pub mod look_up;
pub mod narrow;
pub mod parameter;
pub mod path;
pub mod permission;
pub mod proofs;
mod reach;
pub mod reason;
pub mod resources;
pub mod rights;
pub mod routes;
pub mod rows;
pub mod shape;
pub mod standing;
pub mod tenant_roles;

use std::collections::{BTreeMap, BTreeSet};

use http::Method;

use crate::model::{
    EnvironmentId, Ladder, LevelName, PermissionName, PlanName, Rank, ResourceType, RoleName, Span, Subject,
};

pub use age::{Age, Staleness};
pub use alone::{Brought, EmergencyTokens};
pub use callers::{Callers, Push, ServiceRule, Whose};
pub use conditions::{Around, Conditions};
pub use creates::Creates;
pub use decide::{Ask, Caller, Decision, Denial, Detail, Named, Permit, Route, Staff, Verdict, decide};
pub use due::{Deadline, Due};
pub use emergency::{BreakGlass, Emergency};
pub use facts::{Fact, Facts, Lack, Need, Snapshot};
pub use granting::Granting;
pub use login::{ActedFor, LoginAccess};
pub use look_up::{LookUp, LookedUp};
pub use narrow::Narrow;
pub use permission::{
    Catalogue, Pattern, PermissionId, PermissionSet, SUPPORT_MANAGE, SUPPORT_READ, SUPPORT_TYPE,
};
pub use reason::Reason;
pub use resources::{ResourceRules, RoleAt, Spot, TypeRule, Within};
pub use tenant_roles::{Here, Meaning, TenantRoles};

/// When a lowered level reaches sessions that run by consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLower {
    /// At once: they are cut down to it, or ended.
    Immediate,
    /// It governs sessions started afterwards.
    Future,
}

/// A role with what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// What it may do. For staff the ceiling is taken off at each decision.
    pub permissions: PermissionSet,
    /// Whether a tenant may say something else of it. What means the same everywhere is looked up nowhere.
    pub adjustable: bool,
    /// Whether whoever holds it takes a paid seat.
    pub seat: bool,
    /// The plans by which it is handed out; `None` is any, and none too.
    pub plans: Plans,
}

/// The plans that have something; `None` is all, and none too.
pub type Plans = Option<BTreeSet<PlanName>>;

/// Whether a tenant with that plan has it. A plan that nobody knows is none (PFC-10).
pub fn has_plan(plans: &Plans, plan: Option<&PlanName>) -> bool {
    plans.as_ref().is_none_or(|plans| plan.is_some_and(|plan| plans.contains(plan)))
}

/// What a request does to the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// It changes nothing.
    Read,
    /// It may change something.
    Write,
}

impl Effect {
    /// What a request with this method does where its route declares nothing (rule 12).
    pub fn of(method: &Method) -> Self {
        match *method {
            Method::GET | Method::HEAD => Effect::Read,
            _ => Effect::Write,
        }
    }
}

/// What the map says about one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// As written, e.g. `GET /t/{tenant}/api/orders`; names the rule in records and explanations.
    pub name: String,
    /// All of these are needed.
    pub permissions: Vec<PermissionId>,
    /// Open to everybody; identity is removed.
    pub public: bool,
    /// The type of the resource that is acted on, where the path names one.
    pub resource: Option<ResourceType>,
    /// What it says of where that lies.
    pub within: Within,
    /// Which upstream, by its place in the configuration.
    pub upstream: usize,
    /// What its requests do, where the map declares it.
    pub effect: Option<Effect>,
    /// Requests of members are recorded too.
    pub record: bool,
    /// The environments it exists in; empty is all.
    pub environments: BTreeSet<EnvironmentId>,
    /// The plans whose tenants have it.
    pub plans: Plans,
    /// How its answers are narrowed for whoever may see some of their items and not all.
    pub narrow: Option<Box<Narrow>>,
    /// What somebody may do with some resources only does not open it, whosever the one is that it acts on.
    pub whole_only: bool,
    /// What its requests make in the application.
    pub creates: Option<Box<Creates>>,
}

impl Rule {
    /// What a request with this method does. An upgrade writes unless declared otherwise: what passes in the tunnel is
    /// not judged (rule 12).
    pub fn effect(&self, method: &Method, upgrade: bool) -> Effect {
        self.effect.unwrap_or(if upgrade { Effect::Write } else { Effect::of(method) })
    }

    /// Whether it exists in an environment.
    pub fn is_in(&self, environment: &str) -> bool {
        self.environments.is_empty() || self.environments.contains(environment)
    }
}

/// For how long what a token said of a grant's giver counts where nothing else is configured, in milliseconds (rule 5).
pub const GRANTOR_MEMORY_MS: i64 = 24 * 3_600_000;

/// What is said of sessions beside how long they last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionRules {
    /// What a removal by the tenant means.
    pub on_remove: OnRemove,
    /// A session by a grant lasts as long as the grant stands, instead of as long as any other.
    pub as_long_as_granted: bool,
}

/// What it means that an administrator of the tenant removes somebody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnRemove {
    /// Their session ends, and nobody is barred by it.
    #[default]
    End,
    /// They are kept out of that tenant until an administrator lifts it.
    Bar,
}

/// How long requests for approval live (GW-16), in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Approvals {
    /// One that nobody answers.
    pub unanswered_ms: i64,
    /// One that was approved, until its session starts.
    pub usable_ms: i64,
}

impl Default for Approvals {
    fn default() -> Self {
        Self { unanswered_ms: 12 * 3_600_000, usable_ms: 15 * 60_000 }
    }
}

/// What the configuration means to the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Names this policy in records: a digest of the configuration.
    pub fingerprint: String,
    /// The closed list of permissions.
    pub catalogue: Catalogue,
    /// All roles.
    pub roles: BTreeMap<RoleName, Role>,
    /// What tenants may say of roles.
    pub tenant_roles: TenantRoles,
    /// What lies below tenants, and the roles that are held there.
    pub resources: ResourceRules,
    /// What staff may never do, at any level and on any basis, in addition to administering support access (law 5).
    pub ceiling: PermissionSet,
    /// The consent ladder.
    pub ladder: Ladder,
    /// The level of a tenant that never chose one.
    pub default_level: LevelName,
    /// When a lowered level reaches running sessions.
    pub on_lower: OnLower,
    /// How long a session lasts, unless its agent asked for less.
    pub session_lasts: Span,
    /// What else is said of sessions.
    pub sessions: SessionRules,
    /// How far ahead a grant may end; `None` where the configuration allows any date.
    pub grant_most: Option<Span>,
    /// Who may give which grants, and where.
    pub granting: Granting,
    /// For how long what the last token of a grant's giver said of them counts, in milliseconds (rule 5).
    pub grantor_memory_ms: i64,
    /// How long requests for approval live.
    pub approvals: Approvals,
    /// Who may be let act as a person of a tenant, and for how long.
    pub login_access: LoginAccess,
    /// Kill switches and break-glass: who may use them.
    pub emergency: Emergency,
    /// What staff access demands beside a session.
    pub conditions: Conditions,
    /// How long one staff exchange runs at most, in milliseconds (rule 10).
    pub max_exchange_ms: i64,
    /// How old what a decision rests on may be (rule 9).
    pub staleness: Staleness,
    /// Whether members pass where the map is silent.
    pub members_unmapped: bool,
    /// Every environment that the configuration knows.
    pub environments: BTreeSet<EnvironmentId>,
    /// What is said of callers beside their tokens.
    pub callers: Callers,
    /// The rules of the map, by number.
    pub rules: Vec<Rule>,
}

impl Policy {
    /// A role by its name; a name that this policy does not know gives nothing.
    pub fn role(&self, name: &RoleName) -> Option<&Role> {
        self.roles.get(name)
    }

    /// What a level gives; `None` where it gives nothing.
    pub fn role_at(&self, rank: Rank) -> Option<&Role> {
        self.ladder.role_at(rank).and_then(|name| self.role(name))
    }

    /// Whether this is closed to staff for good: the configured ceiling, and whatever administers support access.
    pub fn above_ceiling(&self, permission: PermissionId) -> bool {
        self.ceiling.contains(permission)
            || self.catalogue.name(permission).is_none_or(|name| name.resource_type() == SUPPORT_TYPE)
    }

    /// What the roles that a member's token names allow in every tenant.
    pub fn member_can(&self, subject: &Subject, permission: PermissionId) -> bool {
        self.roles_can(&subject.roles, permission)
    }

    /// What any of these roles allows, as far as it means the same in every tenant; [`Here::any_holds`] is the whole of it.
    pub fn roles_can<'a>(
        &self,
        roles: impl IntoIterator<Item = &'a RoleName>,
        permission: PermissionId,
    ) -> bool {
        roles.into_iter().any(|name| {
            self.role(name).is_some_and(|role| !role.adjustable && role.permissions.contains(permission))
        })
    }

    /// The names of everything that a role may do for staff, sorted: what a session remembers of its start.
    pub fn staff_rights(&self, role: &Role) -> Vec<PermissionName> {
        self.staff_rights_of(&role.permissions)
    }

    /// The same of a set.
    pub fn staff_rights_of(&self, permissions: &PermissionSet) -> Vec<PermissionName> {
        self.catalogue
            .iter()
            .filter(|(id, _)| permissions.contains(*id) && !self.above_ceiling(*id))
            .map(|(_, name)| name.clone())
            .collect()
    }

    /// The lowest level whose role holds all of these.
    pub fn level_for(&self, permissions: &[PermissionId]) -> Option<&LevelName> {
        self.ladder.levels().iter().find_map(|level| {
            let role = self.role(level.role.as_ref()?)?;
            permissions.iter().all(|p| role.permissions.contains(*p)).then_some(&level.name)
        })
    }
}
