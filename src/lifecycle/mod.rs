//! The verbs: how consent, grants and sessions come to be, change and end.
//!
//! Lives here: one file a subject, each command a pure function from command, facts, actor and time to documents and events.
//! Who may give the command is part of the rule and decided here.
//!
//! Never here: committing or recording (that is [`crate::engine`]), a clock, input or output. Ids of new documents are
//! part of the command.

mod bar;
mod break_glass;
mod consent;
mod event;
mod expire;
mod fall;
mod grant;
pub mod grantor;
mod member;
mod moment;
mod once;
mod refusal;
mod request;
mod resource;
mod role;
mod session;
mod stop;
mod tenant;

use std::sync::Arc;

use crate::{
    model::{
        Document, EnvironmentId, GrantId, Grantee, Key, LevelName, PermissionName, PlanName, RequestId,
        ResourceRef, RoleName, Scope, SessionId, Span, Subject, SubjectRef, TenantId, Timestamp, Version,
        Zone,
    },
    policy::{Facts, Lack, Need, Policy},
};

use moment::Moment;

pub use event::Event;
pub use fall::fallen;
pub use grant::Until;
pub use once::{Applied, MOST_KEYS, apply_once};
pub use refusal::Refusal;
pub use request::Step;
pub use resource::Deed;
pub use stop::Switch;

/// Who gives a command.
#[derive(Debug, Clone, Copy)]
pub enum Actor<'a> {
    /// A verified caller.
    Subject(&'a Subject),
    /// The configuration of this gateway, at start.
    Configuration,
    /// The passing of time.
    Clock,
}

impl Actor<'_> {
    /// The person, if it is one.
    pub fn subject(&self) -> Option<&SubjectRef> {
        match self {
            Actor::Subject(subject) => Some(&subject.id),
            Actor::Configuration | Actor::Clock => None,
        }
    }
}

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
    /// Withdraws a grant.
    WithdrawGrant {
        /// In which tenant.
        tenant: TenantId,
        /// Which grant.
        grant: GrantId,
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
            Command::MakeGrant { .. } => "make_grant",
            Command::MoveGrant { .. } => "move_grant",
            Command::WithdrawGrant { .. } => "withdraw_grant",
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
            | Command::MakeGrant { tenant, .. }
            | Command::MoveGrant { tenant, .. }
            | Command::WithdrawGrant { tenant, .. }
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

/// What a command comes to. What it rests on are the facts it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The documents as they are afterwards. Empty: everything is as wanted already.
    pub documents: Vec<(Key, Document)>,
    /// What happened.
    pub events: Vec<Event>,
    /// Whether it only takes rights away. Such a change never waits for what is broken: it acts in this gateway's
    /// memory at once.
    pub narrows: bool,
}

impl Change {
    /// Everything is as wanted already.
    pub const NOTHING: Change = Change { documents: Vec::new(), events: Vec::new(), narrows: false };
}

/// What [`apply`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It lacks these documents; fetch them and ask again.
    Need(Need),
    /// No.
    Refused(Refusal),
    /// Yes: commit this.
    Changed(Change),
}

/// Why a command's rule stopped before its end.
enum Stop {
    Lack(Lack),
    Refused(Refusal),
}

impl From<Lack> for Stop {
    fn from(lack: Lack) -> Self {
        Stop::Lack(lack)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

/// Applies a command to what is known. Nothing is changed here: the answer says what to commit.
pub fn apply(command: &Command, facts: &Facts, actor: Actor<'_>, now: Timestamp, policy: &Policy) -> Outcome {
    let at = Moment { facts, actor, now, policy };
    let result = match command {
        Command::RegisterTenant { tenant, parent, zone, environments } => {
            let parent = parent.as_ref();
            tenant::register(&at, tenant, &tenant::Wanted { parent, zone: *zone, environments, plan: None })
        }
        Command::PushTenant { tenant, parent, zone, environments, plan, expected } => {
            let (parent, plan) = (parent.as_ref(), plan.as_ref());
            let wanted = tenant::Wanted { parent, zone: *zone, environments, plan };
            tenant::push(&at, tenant, &wanted, *expected)
        }
        Command::RemoveTenant { tenant, expected } => tenant::remove(&at, tenant, *expected),
        Command::PushMember { tenant, member, roles, suspended, email, expected } => {
            let wanted = member::Wanted { roles, suspended: *suspended, email: email.as_ref() };
            member::push(&at, tenant, member, &wanted, *expected)
        }
        Command::RemoveMember { tenant, member, expected } => member::remove(&at, tenant, member, *expected),
        Command::SeeGrantor { tenant, needed } => grantor::see(&at, tenant, *needed),
        Command::SetConsent { tenant, choice, until, expected } => {
            consent::set(&at, tenant, choice, *until, *expected)
        }
        Command::SetRole { tenant, role, permissions, expected } => {
            role::set(&at, tenant, role, permissions, *expected)
        }
        Command::RemoveRole { tenant, role, expected } => role::remove(&at, tenant, role, *expected),
        Command::Resource { tenant, resource, deed, expected } => {
            resource::step(&at, tenant, resource, deed, *expected)
        }
        Command::MakeGrant { tenant, grant, environment, to, role, scope, until } => {
            grant::make(&at, tenant, grant, grant::Terms { environment, to, role, scope, until })
        }
        Command::MoveGrant { tenant, grant, until, expected } => {
            grant::move_expiry(&at, tenant, grant, until, *expected)
        }
        Command::WithdrawGrant { tenant, grant } => grant::withdraw(&at, tenant, grant),
        Command::SetApproval { tenant, required, expected } => {
            request::set_rule(&at, tenant, *required, *expected)
        }
        Command::Request { tenant, request, step } => request::step(&at, tenant, request, step),
        Command::StartSession { tenant, session, environment, basis, reason, ticket, lasts } => {
            session::start(
                &at,
                tenant,
                session,
                &session::Wish { environment, basis, reason, ticket: ticket.as_deref(), lasts: *lasts },
            )
        }
        Command::BreakGlass { tenant, session, environment, reason, incident, cause, lasts } => {
            let declared = break_glass::Declared { environment, reason, incident, cause, lasts: *lasts };
            break_glass::enter(&at, tenant, session, &declared)
        }
        Command::EndSession { tenant, session } => session::end(&at, tenant, session),
        Command::LiftBar { tenant, person } => bar::lift(&at, tenant, person),
        Command::Stop { switch, reason } => stop::set(&at, switch, reason),
        Command::Lift { switch, reason } => stop::lift(&at, switch, reason),
        Command::Expire { key } => expire::expire(&at, key),
        Command::AcceptClock { tenant, session } => expire::distrusted(&at, tenant, session),
    };
    match result {
        Ok(change) => Outcome::Changed(change),
        Err(Stop::Refused(refusal)) => Outcome::Refused(refusal),
        Err(Stop::Lack(Lack::Need(need))) => Outcome::Need(need),
        Err(Stop::Lack(Lack::Unavailable)) => Outcome::Refused(Refusal::Unavailable),
    }
}
