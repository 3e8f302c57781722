//! Why a command is refused, each with a stable code. Never here: the rules that refuse.

use crate::model::{
    EnvironmentId, IssuerName, LevelName, PermissionName, RequestEnd, ResourceType, RoleName, Side,
    SubjectRef, TenantId, Timestamp,
};

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The actor has no such power there; also what is said about anything in a tenant that is not theirs (law 11).
    #[error("not allowed: this takes `{needed}` in the tenant, in a token of the person's own")]
    NotAllowed {
        /// The permission that it takes.
        needed: &'static str,
    },
    /// A token with an `act` claim: nobody administers support access while acting as somebody else (law 5).
    #[error("not while acting as somebody else; use a token of your own")]
    Acting,
    /// There is no such thing, or it is none of the caller's business.
    #[error("there is no such {0} here")]
    NotFound(&'static str),
    /// It was registered with other values.
    #[error("tenant `{0}` is registered already, with another parent; a parent is fixed at registration")]
    ParentFixed(TenantId),
    /// A parent must be known before its child (rule 6).
    #[error("parent `{0}` is not registered; register it before its child")]
    ParentUnknown(TenantId),
    /// A tenant cannot be its own parent.
    #[error("tenant `{0}` cannot be its own parent")]
    ParentItself(TenantId),
    /// The configuration names this tenant: what it is, is not for a service to say.
    #[error(
        "tenant `{0}` stands in this gateway's configuration; change it there, or take it out of `tenants.known`"
    )]
    TenantConfigured(TenantId),
    /// A service removed the tenant.
    #[error("this tenant was removed; nothing can be chosen or given in it")]
    TenantRemoved,
    /// A tenant without environments cannot be reached.
    #[error("name at least one environment")]
    EnvironmentsMissing,
    /// The ladder has no such level.
    #[error("there is no consent level `{0}`; see the ladder in the answer to GET")]
    LevelUnknown(LevelName),
    /// Only a tenant with a parent can inherit.
    #[error("this tenant has no parent to inherit from; choose a level")]
    NothingToInherit,
    /// A level until a date only ever raises: its end takes away and gives nothing (GW-15).
    #[error(
        "`until` goes with a level above `{in_force}`, which is in force without it; leave it out to lower the level"
    )]
    NotRaised {
        /// What is in force without it.
        in_force: LevelName,
    },
    /// Somebody changed it in between.
    #[error("it was changed in between; read it again and send its current ETag")]
    Changed,
    /// There is no such environment in this tenant.
    #[error("there is no environment `{0}` here")]
    EnvironmentUnknown(EnvironmentId),
    /// Rights never cross from one environment to another, and the caller's token is for one.
    #[error("your token is for environment `{own}` only; use one that is for `{wanted}`")]
    EnvironmentForeign {
        /// What the token is for.
        own: EnvironmentId,
        /// What was asked for.
        wanted: EnvironmentId,
    },
    /// The configuration has no such role.
    #[error("there is no role `{0}`")]
    RoleUnknown(RoleName),
    /// Nobody hands on what they may not do themselves (step 7 of a decision: what the grantor can do).
    #[error("you may not hand on role `{role}`: it holds `{lacking}`, which none of your roles does")]
    BeyondGrantor {
        /// The role.
        role: RoleName,
        /// The first permission of it that the grantor lacks.
        lacking: PermissionName,
    },
    /// Roles are managed by whoever holds a configured permission.
    #[error("not allowed: this takes `{needed}` in the tenant, in a token of the person's own")]
    RolesNotYours {
        /// The permission that it takes.
        needed: PermissionName,
    },
    /// The configuration says what this role holds, and tenants do not.
    #[error("role `{0}` is the same for all tenants; a tenant can neither adjust nor remove it")]
    RoleLocked(RoleName),
    /// Tenants define no roles.
    #[error("tenants have no roles of their own here; adjust one that is marked `adjustable`")]
    RolesClosed,
    /// The tenant's plan, as far as it is known, does not have it.
    #[error("the tenant's plan does not have roles of its own making; those that there are stay as they are")]
    RolesNotInPlan,
    /// The tenant's plan, as far as it is known, does not have that role.
    #[error("the tenant's plan does not have the role `{0}`; whoever holds it keeps it as it is")]
    RoleNotInPlan(RoleName),
    /// The catalogue is closed.
    #[error("there is no permission `{0}`")]
    PermissionUnknown(PermissionName),
    /// Nobody gives a right that they lack.
    #[error("you may not put `{lacking}` into role `{role}`: none of your roles holds it")]
    BeyondOwn {
        /// The role.
        role: RoleName,
        /// The first permission of it that they lack.
        lacking: PermissionName,
    },
    /// The tenant has enough roles of its own.
    #[error("this tenant has {0} roles of its own already; remove one first")]
    TooManyRoles(usize),
    /// A grant that stands names it.
    #[error("{0} grants that stand name this role; withdraw them first, or take its permissions away")]
    RoleGranted(usize),
    /// It would not fit into a line of the ledger.
    #[error(
        "what is kept of this role would be too large: its permissions, the grants that name it and who put something into it; define another one"
    )]
    RoleTooLarge,
    /// The configuration has no such type.
    #[error("there is no type of resources `{0}`")]
    ResourceTypeUnknown(ResourceType),
    /// What lies in the tenant lies in no other resource.
    #[error("resources of type `{0}` lie in the tenant itself; leave `parent` out")]
    ParentUnfit(ResourceType),
    /// It would not fit into a line of the ledger.
    #[error("that is too many assignees to keep; name fewer")]
    TooManyAssignees,
    /// What a service said of it is not changed by what an application answers.
    #[error("a service said of this resource that it is {0}; an application's answer does not change that")]
    ResourceSaid(&'static str),
    /// The configuration holds it elsewhere, or knows none.
    #[error("there is no role `{role}` at resources of type `{kind}`")]
    RoleNotHere {
        /// The role.
        role: RoleName,
        /// The type.
        kind: ResourceType,
    },
    /// Who is no member of the tenant is none of what it has.
    #[error("they are no member of this tenant; make them one first")]
    NotMember,
    /// Their role in the tenant keeps them out of such resources.
    #[error(
        "a role that they hold in the tenant keeps them out of resources of this type; give them another one first"
    )]
    KeptApart,
    /// Nobody is invited to what they are in.
    #[error("they are a member there already; give them another role instead")]
    MemberAlready,
    /// All paid seats are taken.
    #[error("all {0} paid seats of this tenant are taken; free one, or let it have more")]
    SeatsFull(u64),
    /// Somebody has to hold it.
    #[error("nobody else there holds role `{0}`; give it to somebody else first")]
    LastOfRole(RoleName),
    /// The time is over already.
    #[error("`{0}` is not in the future")]
    NotInFuture(Timestamp),
    /// Further ahead than the configuration allows.
    #[error("that is too far ahead: {at} is later than {most}, the latest that the configuration allows")]
    TooFar {
        /// What was asked for.
        at: Timestamp,
        /// What is allowed.
        most: Timestamp,
    },
    /// Not one of the durations that login access is given for.
    #[error("login access is given for one of these: {0}")]
    DurationNotOffered(String),
    /// The expiry of login access is not moved.
    #[error("login access is given anew by whoever gave it, and not moved; it can be withdrawn")]
    LoginAccessMoved,
    /// A scope of named resources that names none.
    #[error("the scope names no resource; name at least one, or `everything`")]
    ScopeEmpty,
    /// What the tenant pays for includes no support access.
    #[error("this tenant's plan gives no support access; another plan does")]
    PlanCloses,
    /// Beside the environments that there are, this one cannot be granted.
    #[error("environment `{0}` cannot be granted beside the others that this tenant has")]
    EnvironmentCloses(EnvironmentId),
    /// The tenant lets nobody but its administrators give.
    #[error(
        "this tenant lets nobody but its administrators give grants; one of them can change that setting"
    )]
    GrantingOff,
    /// The configuration offers grants to others.
    #[error(
        "a grant cannot be given to such a grantee here; `support` as a whole, or one person, as the configuration says"
    )]
    GranteeNotOffered,
    /// The configuration offers other roles there.
    #[error("role `{role}` is not given {}", .at.as_ref().map_or_else(
        || "over a whole environment; name resources".to_owned(),
        |kind| format!("at resources of type `{kind}`"),
    ))]
    RoleNotGiven {
        /// The role.
        role: RoleName,
        /// At resources of which type; none is the whole environment.
        at: Option<ResourceType>,
    },
    /// Only administrators give a whole environment.
    #[error("only administrators grant a whole environment; name the resources")]
    ScopeTooWide,
    /// Whoever gave it could give more then than now.
    #[error(
        "whoever gave this grant could give more then than they can now; make a new one, or ask an administrator"
    )]
    GivenAsOther,
    /// It has ended and stays so.
    #[error("this {0} has ended; an end is never undone, make a new one")]
    Ended(&'static str),
    /// Consent admits nobody at this moment.
    #[error("the tenant's consent admits no support; ask the tenant to raise it or to make a grant")]
    ConsentCloses,
    /// The grant gives nothing to this person at this moment.
    #[error("this grant gives you nothing: {0}")]
    GrantGivesNothing(&'static str),
    /// An administrator of the tenant removed the caller, and keeps them out.
    #[error("an administrator of this tenant removed you and keeps you out; one of them can lift that")]
    Barred,
    /// By break-glass, where the tenant does not end it.
    #[error(
        "this session is by break-glass: the tenant sees it and does not end it; the vendor's operators do"
    )]
    NotYoursToEnd,
    /// A kill switch is set.
    #[error("support access is stopped by a kill switch; {} can lift it", lifter(.0))]
    Stopped(Side),
    /// The caller is none of those whom the configuration lets use this.
    #[error("not allowed: this is for operators whom the configuration names, in a token of their own")]
    NotOperator,
    /// Not an emergency that the configuration knows.
    #[error("that is no cause to break the glass; `cause` must be one of: {0}")]
    CauseUnknown(String),
    /// The incident's reference has another shape than the configuration asks for.
    #[error("`incident` does not look like one: `{0}` is the shape of one")]
    IncidentMalformed(String),
    /// Nobody of those who are meant has a name of that issuer: the vendor's people, or members.
    #[error("`{0}` is no issuer of such people; nobody would be meant")]
    IssuerUnknown(IssuerName),
    /// The caller gave it themselves, as a person of the tenant (GW-14).
    #[error("you gave this yourself, as a person of the tenant; somebody else there must give it")]
    SelfGranted {
        /// That identity, for the record; not of another tenant.
        by: Option<SubjectRef>,
    },
    /// This tenant approves each session (GW-16).
    #[error(
        "this tenant approves each session: ask by `POST` to its `requests`, and start by the one that is approved"
    )]
    ApprovalRequired,
    /// Nobody need be asked.
    #[error("this tenant does not approve sessions one by one; start one")]
    ApprovalNotRequired,
    /// It is not decided yet.
    #[error("nobody approved this request yet; wait, or answer what was asked back")]
    NotApproved,
    /// It was decided otherwise.
    #[error("this request was approved already, in other terms; refuse it to take that back")]
    RequestDecided,
    /// It is over and stays so.
    #[error("this request is over ({}); make a new one", .0.code())]
    RequestOver(RequestEnd),
    /// More than was asked for, or than was approved.
    #[error(
        "that is more than was asked for; the level may only be lower and the time shorter, in the same environment"
    )]
    BeyondRequest,
    /// There is no question to answer.
    #[error("nothing was asked back")]
    NothingAsked,
    /// Enough was said.
    #[error("there are {0} remarks on this request already; decide it")]
    TooManyRemarks(usize),
    /// The agent has more requests waiting than is good.
    #[error("{0} requests of yours wait here already; withdraw one first")]
    TooManyRequests(usize),
    /// The key came with another request before.
    #[error(
        "this `Idempotency-Key` came with another request before, less than a day ago; send another key with a request that is new"
    )]
    KeyReused,
    /// More keys than are kept for one subject.
    #[error(
        "{most} idempotency keys of yours are kept here, and no more; the first is forgotten at {free}; until then leave the key out"
    )]
    TooManyKeys {
        /// How many are kept.
        most: usize,
        /// When there is room again.
        free: Timestamp,
    },
    /// Only staff start sessions.
    #[error("only the vendor's staff start support sessions")]
    NotStaff,
    /// A reason is part of the record.
    #[error("say why: `reason` must have 1 to {0} characters")]
    ReasonUnfit(usize),
    /// A ticket reference is short and on one line.
    #[error("`ticket` must have 1 to {0} visible characters")]
    TicketUnfit(usize),
    /// No ticket, where the configuration asks for one.
    #[error("name the ticket that this is about in `ticket`; it looks like `{0}`")]
    TicketMissing(String),
    /// A ticket of another shape than the configuration asks for.
    #[error("`ticket` does not look like a ticket: `{0}` is the shape of one")]
    TicketMalformed(String),
    /// Longer than one session may last.
    #[error("a session cannot last longer than until {0}")]
    LastsTooLong(Timestamp),
    /// The agent has more sessions than one index holds.
    #[error("you have {0} sessions here; end one first")]
    TooManySessions(usize),
    /// It is not over yet.
    #[error("it is not due before {0}")]
    NotDue(Timestamp),
    /// What the rule needs cannot be had.
    #[error("the state that this needs cannot be read right now; try again")]
    Unavailable,
}

fn lifter(side: &Side) -> &'static str {
    match side {
        Side::Tenant => "an administrator of the tenant",
        Side::Operators => "an operator of the vendor",
    }
}

impl Refusal {
    /// More about it, for the record alone.
    pub fn detail(&self) -> Option<String> {
        match self {
            Refusal::SelfGranted { by: Some(by) } => Some(format!("given by {by}")),
            _ => None,
        }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::NotAllowed { .. } => "not_allowed",
            Refusal::Acting => "acting",
            Refusal::NotFound(_) => "not_found",
            Refusal::ParentFixed(_) => "parent_fixed",
            Refusal::ParentUnknown(_) => "parent_unknown",
            Refusal::ParentItself(_) => "parent_itself",
            Refusal::TenantConfigured(_) => "tenant_configured",
            Refusal::TenantRemoved => "tenant_removed",
            Refusal::EnvironmentsMissing => "environments_missing",
            Refusal::LevelUnknown(_) => "level_unknown",
            Refusal::NothingToInherit => "nothing_to_inherit",
            Refusal::NotRaised { .. } => "not_raised",
            Refusal::Changed => "changed",
            Refusal::EnvironmentUnknown(_) => "environment_unknown",
            Refusal::EnvironmentForeign { .. } => "environment_foreign",
            Refusal::RoleUnknown(_) => "role_unknown",
            Refusal::BeyondGrantor { .. } => "beyond_grantor",
            Refusal::RolesNotYours { .. } => "not_allowed",
            Refusal::RoleLocked(_) => "role_locked",
            Refusal::RolesClosed => "own_roles_closed",
            Refusal::RolesNotInPlan => "plan_lacks_roles",
            Refusal::RoleNotInPlan(_) => "role_not_in_plan",
            Refusal::PermissionUnknown(_) => "permission_unknown",
            Refusal::BeyondOwn { .. } => "beyond_own_rights",
            Refusal::TooManyRoles(_) => "too_many_roles",
            Refusal::RoleGranted(_) => "role_granted",
            Refusal::RoleTooLarge => "role_too_large",
            Refusal::ResourceTypeUnknown(_) => "resource_type_unknown",
            Refusal::ParentUnfit(_) => "parent_unfit",
            Refusal::TooManyAssignees => "too_many_assignees",
            Refusal::ResourceSaid("removed") => "resource_removed",
            Refusal::ResourceSaid(_) => "resource_pushed",
            Refusal::RoleNotHere { .. } => "role_not_here",
            Refusal::NotMember => "not_member",
            Refusal::KeptApart => "kept_apart",
            Refusal::MemberAlready => "member_already",
            Refusal::SeatsFull(_) => "seats_full",
            Refusal::LastOfRole(_) => "last_of_role",
            Refusal::NotInFuture(_) => "not_in_future",
            Refusal::TooFar { .. } => "too_far",
            Refusal::DurationNotOffered(_) => "duration_not_offered",
            Refusal::LoginAccessMoved => "login_access_moved",
            Refusal::ScopeEmpty => "scope_empty",
            Refusal::PlanCloses => "plan_closes",
            Refusal::EnvironmentCloses(_) => "environment_closes",
            Refusal::GrantingOff => "granting_off",
            Refusal::GranteeNotOffered => "grantee_not_offered",
            Refusal::RoleNotGiven { .. } => "role_not_given",
            Refusal::ScopeTooWide => "scope_too_wide",
            Refusal::GivenAsOther => "given_as_other",
            Refusal::Ended(_) => "ended",
            Refusal::ConsentCloses => "consent_closes",
            Refusal::GrantGivesNothing(_) => "grant_gives_nothing",
            Refusal::Stopped(_) => "stopped",
            Refusal::NotOperator => "not_operator",
            Refusal::CauseUnknown(_) => "cause_unknown",
            Refusal::IncidentMalformed(_) => "incident_malformed",
            Refusal::IssuerUnknown(_) => "issuer_unknown",
            Refusal::SelfGranted { .. } => "self_granted",
            Refusal::ApprovalRequired => "approval_required",
            Refusal::ApprovalNotRequired => "approval_not_required",
            Refusal::NotApproved => "not_approved",
            Refusal::RequestDecided => "request_decided",
            Refusal::RequestOver(_) => "request_over",
            Refusal::BeyondRequest => "beyond_request",
            Refusal::NothingAsked => "nothing_asked",
            Refusal::TooManyRemarks(_) => "too_many_remarks",
            Refusal::TooManyRequests(_) => "requests_waiting",
            Refusal::KeyReused => "idempotency_key_reused",
            Refusal::TooManyKeys { .. } => "too_many_idempotency_keys",
            Refusal::NotStaff => "not_staff",
            Refusal::ReasonUnfit(_) => "reason_unfit",
            Refusal::TicketUnfit(_) => "ticket_unfit",
            Refusal::TicketMissing(_) => "ticket_missing",
            Refusal::TicketMalformed(_) => "ticket_malformed",
            Refusal::LastsTooLong(_) => "lasts_too_long",
            Refusal::Barred => "barred",
            Refusal::NotYoursToEnd => "not_yours_to_end",
            Refusal::TooManySessions(_) => "too_many_sessions",
            Refusal::NotDue(_) => "not_due",
            Refusal::Unavailable => "state_unavailable",
        }
    }
}
