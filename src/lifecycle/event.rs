//! What a change brought about: what the record says of it, and whoever listens hears.
//!
//! Never here: when it happens.

use serde::{Deserialize, Serialize};

use crate::model::{
    EndCause, EnvironmentId, ExchangeId, GrantId, LevelName, OrganisationName, PermissionName, PlanName,
    Reach, RequestEnd, RequestId, ResourceRef, RoleName, SessionId, Side, Span, SubjectRef, Timestamp, Zone,
};

/// What happened, for the record and for whoever listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A tenant became known.
    TenantRegistered,
    /// What is known of a tenant changed: as it is now.
    TenantChanged {
        /// Its time zone.
        zone: Zone,
        /// Its environments.
        environments: Vec<EnvironmentId>,
        /// What it pays for.
        plan: Option<PlanName>,
        /// How many paid seats its people may take, where that is bounded.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        seat_limit: Option<u64>,
    },
    /// A member's row was written.
    MemberPushed {
        /// Whose.
        member: SubjectRef,
        /// Their roles from now on.
        roles: Vec<RoleName>,
        /// Whether they may do nothing until this is taken back.
        suspended: bool,
    },
    /// Somebody is no member any more.
    MemberRemoved {
        /// Who.
        member: SubjectRef,
    },
    /// More or fewer of a tenant's people take a paid seat.
    SeatsChanged {
        /// Until then.
        from: u64,
        /// From now on.
        to: u64,
    },
    /// A tenant was removed.
    TenantRemoved {
        /// The level that was in force until then.
        level: LevelName,
    },
    /// A tenant's choice changed. The levels are those in force.
    ConsentChanged {
        /// Before.
        from: LevelName,
        /// After.
        to: LevelName,
        /// Whether it now follows its parent.
        inherit: bool,
        /// Of a level beside the choice that stands: until when.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        until: Option<Timestamp>,
    },
    /// The time of a raised level was over. The levels are those in force.
    ConsentFell {
        /// Before.
        from: LevelName,
        /// After.
        to: LevelName,
        /// From when on.
        at: Timestamp,
    },
    /// A tenant said what a role holds there.
    RoleSet {
        /// Which.
        role: RoleName,
        /// Whether it is one of the tenant's own; otherwise it is one of the configuration's, adjusted.
        own: bool,
        /// What it did not hold before.
        added: Vec<PermissionName>,
        /// What it holds no more.
        taken: Vec<PermissionName>,
    },
    /// A tenant took back what it said of a role: one of its own is gone, an adjusted one is as configured again.
    RoleRemoved {
        /// Which.
        role: RoleName,
        /// Whether it was one of the tenant's own.
        own: bool,
        /// What it holds again.
        added: Vec<PermissionName>,
        /// What it held until then.
        taken: Vec<PermissionName>,
    },
    /// A service said what a resource is: as it is now.
    ResourcePushed {
        /// Which.
        resource: ResourceRef,
        /// What it lies in, where that is no tenant.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        parent: Option<ResourceRef>,
        /// Who made it, as far as it is known.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        creator: Option<SubjectRef>,
        /// To whom it is assigned.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        assignees: Vec<SubjectRef>,
        /// Whether it shows itself to everybody in the tenant.
        public: bool,
    },
    /// A resource is gone, and its members with it.
    ResourceRemoved {
        /// Which.
        resource: ResourceRef,
    },
    /// An application answered that it has made a resource: what is known of it now.
    ResourceLearned {
        /// Which.
        resource: ResourceRef,
        /// In which exchange.
        exchange: ExchangeId,
        /// What it lies in, as far as it is known.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        parent: Option<ResourceRef>,
        /// Who made it, as far as it is known.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        creator: Option<SubjectRef>,
        /// What two answers contradict each other in, so that nobody knows it any more: `creator`, `parent`.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        unclear: Vec<String>,
        /// Why whoever made it did not get all that follows, as a code.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        withheld: Option<String>,
    },
    /// Whoever made something holds other roles in the tenant by it.
    MemberBecame {
        /// Who.
        member: SubjectRef,
        /// Their roles from now on.
        roles: Vec<RoleName>,
        /// Their roles until then.
        was: Vec<RoleName>,
        /// In which exchange.
        exchange: ExchangeId,
    },
    /// Somebody is a member of a resource, or holds another role there.
    ResourceJoined {
        /// Which.
        resource: ResourceRef,
        /// Who.
        member: SubjectRef,
        /// In which role from now on.
        role: RoleName,
        /// In which one until then.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        was: Option<RoleName>,
    },
    /// Somebody may become a member of a resource by themselves.
    ResourceInvited {
        /// Which.
        resource: ResourceRef,
        /// Who.
        member: SubjectRef,
        /// In which role.
        role: RoleName,
        /// Until when.
        until: Timestamp,
    },
    /// Somebody's invitation to a resource was taken back, or declined.
    ResourceUninvited {
        /// Which.
        resource: ResourceRef,
        /// Whose.
        member: SubjectRef,
        /// Which role they were invited to.
        role: RoleName,
    },
    /// Somebody is no member of a resource any more.
    ResourceLeft {
        /// Which.
        resource: ResourceRef,
        /// Who.
        member: SubjectRef,
        /// Which role they held.
        role: RoleName,
    },
    /// A grant was given.
    GrantMade {
        /// Which.
        grant: GrantId,
        /// The role it gives; none where it lets somebody act as its giver.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        role: Option<RoleName>,
        /// Of login access: the organisation whose people may act as its giver.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        act_as: Option<OrganisationName>,
        /// Of login access: the ticket that its giver named.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        ticket: Option<String>,
        /// Until when.
        until: Timestamp,
    },
    /// A token of one who gave grants was seen: what they can do as far as that says it, from now on.
    GrantorSeen {
        /// Who.
        grantor: SubjectRef,
        /// Their roles.
        roles: Vec<RoleName>,
    },
    /// A grant's expiry was moved.
    GrantMoved {
        /// Which.
        grant: GrantId,
        /// Before.
        from: Timestamp,
        /// After.
        until: Timestamp,
    },
    /// The terms of a grant changed: as they are now.
    GrantChanged {
        /// Which.
        grant: GrantId,
        /// The role it gives, wherever no other is said.
        role: RoleName,
        /// Until when.
        until: Timestamp,
    },
    /// The way by grants was closed, by what a service said of a tenant: those of before are over.
    GrantsClosed {
        /// Why.
        cause: EndCause,
        /// Where only one environment is closed: which.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        environment: Option<EnvironmentId>,
        /// From when on.
        at: Timestamp,
    },
    /// Whether members who are no administrators may give grants changed.
    GrantingChanged {
        /// As it is now.
        allowed: bool,
    },
    /// A grant ended.
    GrantEnded {
        /// Which.
        grant: GrantId,
        /// Why.
        cause: EndCause,
        /// From when on.
        at: Timestamp,
    },
    /// Whether sessions by consent have to be approved changed.
    ApprovalChanged {
        /// As it is now.
        required: bool,
    },
    /// An agent asked to be let in.
    RequestMade {
        /// Which.
        request: RequestId,
        /// Who.
        subject: SubjectRef,
        /// How far at most.
        level: LevelName,
        /// When it dies if nobody answers.
        expires: Timestamp,
    },
    /// An administrator asked back.
    RequestQuestioned {
        /// Which.
        request: RequestId,
    },
    /// The agent answered.
    RequestAnswered {
        /// Which.
        request: RequestId,
    },
    /// An administrator approved.
    RequestApproved {
        /// Which.
        request: RequestId,
        /// How far at most.
        level: LevelName,
        /// How long at most.
        lasts: Span,
        /// Until when the session has to start.
        until: Timestamp,
    },
    /// A request is over.
    RequestEnded {
        /// Which.
        request: RequestId,
        /// Why.
        cause: RequestEnd,
        /// From when on.
        at: Timestamp,
    },
    /// An agent entered.
    SessionStarted {
        /// Which.
        session: SessionId,
        /// Who.
        subject: SubjectRef,
        /// In which role; whoever acts as somebody has none of their own.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        role: Option<RoleName>,
        /// As whom, where as a person of the tenant.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        acting_as: Option<SubjectRef>,
        /// Until when at most.
        deadline: Timestamp,
    },
    /// An operator broke the glass; the start of the session stands beside it.
    GlassBroken {
        /// The session.
        session: SessionId,
        /// Who.
        subject: SubjectRef,
        /// In which environment.
        environment: EnvironmentId,
        /// Which cause they declared.
        cause: String,
        /// Which incident.
        incident: String,
        /// Why.
        reason: String,
    },
    /// Somebody was removed, and is kept out until that is lifted.
    PersonBarred {
        /// Who.
        subject: SubjectRef,
    },
    /// Somebody who was kept out may enter again.
    BarLifted {
        /// Who.
        subject: SubjectRef,
    },
    /// A kill switch was set.
    SupportStopped {
        /// How far it reaches.
        reach: Reach,
        /// Whose it is.
        side: Side,
        /// Why.
        reason: String,
    },
    /// A kill switch was lifted. What it ended stays ended.
    SupportLetGoOn {
        /// How far it reached.
        reach: Reach,
        /// Whose it was.
        side: Side,
        /// Why.
        reason: String,
    },
    /// Idempotency keys that came a day ago mean nothing any more.
    KeysForgotten {
        /// Whose.
        subject: SubjectRef,
        /// How many.
        keys: usize,
    },
    /// A session ended.
    SessionEnded {
        /// Which.
        session: SessionId,
        /// Whose.
        subject: SubjectRef,
        /// Why.
        cause: EndCause,
        /// From when on.
        at: Timestamp,
    },
}

impl Event {
    /// The names of all events, as the record spells them: a closed list.
    pub const NAMES: &'static [&'static str] = &[
        "tenant_registered",
        "tenant_changed",
        "member_pushed",
        "member_removed",
        "seats_changed",
        "tenant_removed",
        "consent_changed",
        "consent_fell",
        "role_set",
        "role_removed",
        "resource_pushed",
        "resource_removed",
        "resource_learned",
        "member_became",
        "resource_joined",
        "resource_invited",
        "resource_uninvited",
        "resource_left",
        "grant_made",
        "grantor_seen",
        "grant_moved",
        "grant_changed",
        "grants_closed",
        "granting_changed",
        "grant_ended",
        "approval_changed",
        "request_made",
        "request_questioned",
        "request_answered",
        "request_approved",
        "request_ended",
        "session_started",
        "glass_broken",
        "person_barred",
        "bar_lifted",
        "support_stopped",
        "support_let_go_on",
        "keys_forgotten",
        "session_ended",
    ];

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Event::TenantRegistered => "tenant_registered",
            Event::TenantChanged { .. } => "tenant_changed",
            Event::MemberPushed { .. } => "member_pushed",
            Event::MemberRemoved { .. } => "member_removed",
            Event::SeatsChanged { .. } => "seats_changed",
            Event::TenantRemoved { .. } => "tenant_removed",
            Event::ConsentChanged { .. } => "consent_changed",
            Event::ConsentFell { .. } => "consent_fell",
            Event::RoleSet { .. } => "role_set",
            Event::RoleRemoved { .. } => "role_removed",
            Event::ResourcePushed { .. } => "resource_pushed",
            Event::ResourceRemoved { .. } => "resource_removed",
            Event::ResourceLearned { .. } => "resource_learned",
            Event::MemberBecame { .. } => "member_became",
            Event::ResourceJoined { .. } => "resource_joined",
            Event::ResourceInvited { .. } => "resource_invited",
            Event::ResourceUninvited { .. } => "resource_uninvited",
            Event::ResourceLeft { .. } => "resource_left",
            Event::GrantMade { .. } => "grant_made",
            Event::GrantorSeen { .. } => "grantor_seen",
            Event::GrantMoved { .. } => "grant_moved",
            Event::GrantChanged { .. } => "grant_changed",
            Event::GrantsClosed { .. } => "grants_closed",
            Event::GrantingChanged { .. } => "granting_changed",
            Event::GrantEnded { .. } => "grant_ended",
            Event::ApprovalChanged { .. } => "approval_changed",
            Event::RequestMade { .. } => "request_made",
            Event::RequestQuestioned { .. } => "request_questioned",
            Event::RequestAnswered { .. } => "request_answered",
            Event::RequestApproved { .. } => "request_approved",
            Event::RequestEnded { .. } => "request_ended",
            Event::SessionStarted { .. } => "session_started",
            Event::GlassBroken { .. } => "glass_broken",
            Event::PersonBarred { .. } => "person_barred",
            Event::BarLifted { .. } => "bar_lifted",
            Event::SupportStopped { .. } => "support_stopped",
            Event::SupportLetGoOn { .. } => "support_let_go_on",
            Event::KeysForgotten { .. } => "keys_forgotten",
            Event::SessionEnded { .. } => "session_ended",
        }
    }

    /// Since when it is so, where the event says that itself: an end may be written down later than it took effect.
    pub fn since(&self) -> Option<Timestamp> {
        match self {
            Event::ConsentFell { at, .. }
            | Event::GrantEnded { at, .. }
            | Event::GrantsClosed { at, .. }
            | Event::RequestEnded { at, .. }
            | Event::SessionEnded { at, .. } => Some(*at),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
