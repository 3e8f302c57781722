//! The commands: what can be asked to be changed, each with all that its rule needs to know from whoever asks.
//!
//! Never here: the rules.

use std::sync::Arc;

use crate::model::{
    EnvironmentId, GrantId, Grantee, Key, LevelName, OrganisationName, PermissionName, PlanName, RequestId,
    ResourceRef, RoleName, Scope, SessionId, Span, SubjectRef, TenantId, Timestamp, Version, Zone,
};

use super::{Created, Deed, Step, Switch, Until};

/// What a tenant chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// This level.
    Level(LevelName),
    /// Whatever the parent has.
    Inherit,
}

/// On what a session is to rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedBasis {
    /// The tenant's consent of this moment.
    Consent,
    /// This grant.
    Grant(GrantId),
    /// This grant, by which its giver lets support act as them.
    ActAs(GrantId),
    /// The tenant's consent of this moment, as far as this request was approved.
    Request(RequestId),
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Makes a tenant known.
    RegisterTenant {
        /// Its id.
        tenant: TenantId,
        /// Its parent, which must be known already.
        parent: Option<TenantId>,
        /// Its time zone.
        zone: Zone,
        /// Its environments.
        environments: Vec<EnvironmentId>,
    },
    /// Says what a tenant is, whole: a service.
    PushTenant {
        /// Its id.
        tenant: TenantId,
        /// Its parent, which must be known already and stays what it was.
        parent: Option<TenantId>,
        /// Its time zone.
        zone: Zone,
        /// Its environments.
        environments: Vec<EnvironmentId>,
        /// What it pays for.
        plan: Option<PlanName>,
        /// How many paid seats its people may take; `None` is any number.
        seat_limit: Option<u64>,
        /// The version that the caller saw, where they said so.
        expected: Option<Version>,
    },
    /// Removes a tenant: a service.
    RemoveTenant {
        /// Which.
        tenant: TenantId,
        /// The version that the caller saw, where they said so.
        expected: Option<Version>,
    },
    /// Says who a member of a tenant is, whole: a service.
    PushMember {
        /// Of which tenant.
        tenant: TenantId,
        /// Who.
        member: SubjectRef,
        /// The roles they hold.
        roles: Vec<RoleName>,
        /// Whether they may do nothing until this is taken back.
        suspended: bool,
        /// An address that somebody verified.
        email: Option<Arc<str>>,
        /// The version that the caller saw, where they said so.
        expected: Option<Version>,
    },
    /// Says that somebody is no member any more: a service.
    RemoveMember {
        /// Of which tenant.
        tenant: TenantId,
        /// Who.
        member: SubjectRef,
        /// The version that the caller saw, where they said so.
        expected: Option<Version>,
    },
    /// Chooses how far support may go.
    SetConsent {
        /// Whose choice it is.
        tenant: TenantId,
        /// The choice.
        choice: Choice,
        /// Of a level: that it holds until then only, beside the choice that stands (GW-15).
        until: Option<Until>,
        /// The version that the caller saw, where they said so.
        expected: Option<Version>,
    },
    /// Does something about a resource below a tenant, or about its members.
    Resource {
        /// In which tenant.
        tenant: TenantId,
        /// Which resource.
        resource: ResourceRef,
        /// What.
        deed: Deed,
        /// The version that the caller saw of what is written, where they said so.
        expected: Option<Version>,
    },
    /// Does what follows from a creation that the application told of: the gateway itself.
    Created {
        /// In which tenant.
        tenant: TenantId,
        /// What was made, and for whom.
        made: Box<Created>,
    },
    /// Says what a role holds in a tenant, whole: one of its own, or one that it adjusts.
    SetRole {
        /// In which tenant.
        tenant: TenantId,
        /// Which role.
        role: RoleName,
        /// All that it holds from now on.
        permissions: Vec<PermissionName>,
        /// The version that the caller saw, where they said so.
        expected: Option<Version>,
    },
    /// Takes back what a tenant says of a role: one of its own is gone, an adjusted one is as configured again.
    RemoveRole {
        /// In which tenant.
        tenant: TenantId,
        /// Which role.
        role: RoleName,
        /// The version that the caller saw, where they said so.
        expected: Option<Version>,
    },
    /// Gives a grant.
    MakeGrant {
        /// In which tenant.
        tenant: TenantId,
        /// The new grant's id.
        grant: GrantId,
        /// In which environment.
        environment: EnvironmentId,
        /// To whom.
        to: Grantee,
        /// Which role.
        role: RoleName,
        /// Over what.
        scope: Scope,
        /// Until when.
        until: Until,
    },
    /// A token of one who gave grants was seen: the gateway itself, with them as the actor.
    SeeGrantor {
        /// In which tenant.
        tenant: TenantId,
        /// Until when their grants stand, as far as is known.
        needed: Timestamp,
    },
    /// Moves a grant's expiry.
    MoveGrant {
        /// In which tenant.
        tenant: TenantId,
        /// Which grant.
        grant: GrantId,
        /// Until when.
        until: Until,
        /// The version that the caller saw, where they said so.
        expected: Option<Version>,
    },
    /// Changes what a grant gives, and where; and its expiry, where that is said too.
    ChangeGrant {
        /// In which tenant.
        tenant: TenantId,
        /// Which grant.
        grant: GrantId,
        /// Another role.
        role: Option<RoleName>,
        /// Over something else.
        scope: Option<Scope>,
        /// Until another time.
        until: Option<Until>,
        /// The version that the caller saw, where they said so.
        expected: Option<Version>,
    },
    /// Chooses whether members who are no administrators may give grants.
    SetGranting {
        /// Whose choice it is.
        tenant: TenantId,
        /// Whether.
        allowed: bool,
        /// The version that the caller saw, where they said so.
        expected: Option<Version>,
    },
    /// Withdraws a grant.
    WithdrawGrant {
        /// In which tenant.
        tenant: TenantId,
        /// Which grant.
        grant: GrantId,
    },
    /// Lets the people of a support organisation act as whoever gives the command; what stood before is replaced.
    AllowLogin {
        /// In which tenant.
        tenant: TenantId,
        /// The new grant's id.
        grant: GrantId,
        /// In which environment.
        environment: EnvironmentId,
        /// To which organisation.
        organisation: OrganisationName,
        /// For how long: one of what is offered.
        lasts: Span,
        /// The ticket that it is about, if there is one.
        ticket: Option<String>,
    },
    /// Takes that back.
    WithdrawLogin {
        /// In which tenant.
        tenant: TenantId,
        /// From which organisation.
        organisation: OrganisationName,
        /// In which environment; `None` is all.
        environment: Option<EnvironmentId>,
    },
    /// Chooses whether each session by consent has to be approved.
    SetApproval {
        /// Whose choice it is.
        tenant: TenantId,
        /// Whether.
        required: bool,
        /// The version that the caller saw, where they said so.
        expected: Option<Version>,
    },
    /// Does something about a request for approval.
    Request {
        /// In which tenant.
        tenant: TenantId,
        /// Which request; the new one's id where it is made.
        request: RequestId,
        /// What.
        step: Step,
    },
    /// Starts a support session.
    StartSession {
        /// In which tenant.
        tenant: TenantId,
        /// The new session's id.
        session: SessionId,
        /// In which environment.
        environment: EnvironmentId,
        /// On what basis.
        basis: WantedBasis,
        /// Why, in the agent's words.
        reason: String,
        /// The ticket, if there is one.
        ticket: Option<String>,
        /// Less than the configured time, if wanted.
        lasts: Option<Span>,
    },
    /// Enters without anybody's consent, in an emergency.
    BreakGlass {
        /// Which tenant.
        tenant: TenantId,
        /// The new session's id.
        session: SessionId,
        /// In which environment.
        environment: EnvironmentId,
        /// Why, in the operator's words.
        reason: String,
        /// The incident that it belongs to.
        incident: String,
        /// Which of the configured causes it is.
        cause: String,
        /// Less than the configured time, if wanted.
        lasts: Option<Span>,
    },
    /// Ends a session: its own agent, or an administrator of the tenant.
    EndSession {
        /// In which tenant.
        tenant: TenantId,
        /// Which session.
        session: SessionId,
    },
    /// Lets somebody in again who was removed and is kept out: an administrator of the tenant.
    LiftBar {
        /// Of which tenant.
        tenant: TenantId,
        /// Whom.
        person: SubjectRef,
    },
    /// Sets a kill switch.
    Stop {
        /// Which.
        switch: Switch,
        /// Why.
        reason: String,
    },
    /// Lifts a kill switch.
    Lift {
        /// Which.
        switch: Switch,
        /// Why.
        reason: String,
    },
    /// Writes down that a deadline passed, or what a session fell with.
    Expire {
        /// Of which document.
        key: Key,
    },
    /// Ends a session, since its gateway's clock was accepted behind its ledger (rule 7).
    AcceptClock {
        /// In which tenant.
        tenant: TenantId,
        /// Which session.
        session: SessionId,
    },
}

impl Command {
    /// The stable word for records.
    pub fn code(&self) -> &'static str {
        match self {
            Command::RegisterTenant { .. } => "register_tenant",
            Command::PushTenant { .. } => "push_tenant",
            Command::RemoveTenant { .. } => "remove_tenant",
            Command::PushMember { .. } => "push_member",
            Command::RemoveMember { .. } => "remove_member",
            Command::SeeGrantor { .. } => "see_grantor",
            Command::SetConsent { .. } => "set_consent",
            Command::SetRole { .. } => "set_role",
            Command::RemoveRole { .. } => "remove_role",
            Command::Resource { deed, .. } => deed.code(),
            Command::Created { .. } => "learn_resource",
            Command::MakeGrant { .. } => "make_grant",
            Command::MoveGrant { .. } => "move_grant",
            Command::ChangeGrant { .. } => "change_grant",
            Command::SetGranting { .. } => "set_granting",
            Command::WithdrawGrant { .. } => "withdraw_grant",
            Command::AllowLogin { .. } => "allow_login",
            Command::WithdrawLogin { .. } => "withdraw_login",
            Command::SetApproval { .. } => "set_approval",
            Command::Request { step, .. } => step.code(),
            Command::StartSession { .. } => "start_session",
            Command::BreakGlass { .. } => "break_glass",
            Command::EndSession { .. } => "end_session",
            Command::LiftBar { .. } => "lift_bar",
            Command::Stop { .. } => "stop",
            Command::Lift { .. } => "lift",
            Command::Expire { .. } => "expire",
            Command::AcceptClock { .. } => "accept_clock",
        }
    }

    /// The tenant that it concerns; none where it concerns them all.
    pub fn tenant(&self) -> Option<&TenantId> {
        match self {
            Command::RegisterTenant { tenant, .. }
            | Command::PushTenant { tenant, .. }
            | Command::RemoveTenant { tenant, .. }
            | Command::PushMember { tenant, .. }
            | Command::RemoveMember { tenant, .. }
            | Command::SeeGrantor { tenant, .. }
            | Command::SetConsent { tenant, .. }
            | Command::SetRole { tenant, .. }
            | Command::RemoveRole { tenant, .. }
            | Command::Resource { tenant, .. }
            | Command::Created { tenant, .. }
            | Command::MakeGrant { tenant, .. }
            | Command::MoveGrant { tenant, .. }
            | Command::ChangeGrant { tenant, .. }
            | Command::SetGranting { tenant, .. }
            | Command::WithdrawGrant { tenant, .. }
            | Command::AllowLogin { tenant, .. }
            | Command::WithdrawLogin { tenant, .. }
            | Command::SetApproval { tenant, .. }
            | Command::Request { tenant, .. }
            | Command::StartSession { tenant, .. }
            | Command::BreakGlass { tenant, .. }
            | Command::EndSession { tenant, .. }
            | Command::LiftBar { tenant, .. }
            | Command::AcceptClock { tenant, .. } => Some(tenant),
            Command::Stop { switch, .. } | Command::Lift { switch, .. } => switch.tenant(),
            Command::Expire { key } => key.tenant(),
        }
    }
}
