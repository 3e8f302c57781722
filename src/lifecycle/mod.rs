//! The verbs: how consent, grants and sessions come to be, change and end.
//!
//! Lives here: one file a subject, each command a pure function from command, facts, actor and time to documents and events.
//! Who may give the command is part of the rule and decided here.
//!
//! Never here: committing or recording (that is [`crate::engine`]), a clock, input or output. Ids of new documents are
//! part of the command.

mod consent;
mod expire;
mod grant;
mod session;
mod tenant;

use serde::{Deserialize, Serialize};

use crate::{
    model::{
        Document, EndCause, EnvironmentId, GrantId, Grantee, Key, LevelName, PermissionName, RoleName, Scope,
        SessionId, Span, Subject, SubjectRef, TenantId, Timestamp, Version, Zone,
    },
    policy::{Facts, Lack, Need, Policy},
};

pub use grant::Until;

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
    /// Chooses how far support may go.
    SetConsent {
        /// Whose choice it is.
        tenant: TenantId,
        /// The choice.
        choice: Choice,
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
    /// Ends a session: its own agent, or an administrator of the tenant.
    EndSession {
        /// In which tenant.
        tenant: TenantId,
        /// Which session.
        session: SessionId,
    },
    /// Writes down that a deadline passed.
    Expire {
        /// Of which document.
        key: Key,
    },
}

impl Command {
    /// The stable word for records.
    pub fn code(&self) -> &'static str {
        match self {
            Command::RegisterTenant { .. } => "register_tenant",
            Command::SetConsent { .. } => "set_consent",
            Command::MakeGrant { .. } => "make_grant",
            Command::MoveGrant { .. } => "move_grant",
            Command::WithdrawGrant { .. } => "withdraw_grant",
            Command::StartSession { .. } => "start_session",
            Command::EndSession { .. } => "end_session",
            Command::Expire { .. } => "expire",
        }
    }

    /// The tenant that it concerns.
    pub fn tenant(&self) -> &TenantId {
        match self {
            Command::RegisterTenant { tenant, .. }
            | Command::SetConsent { tenant, .. }
            | Command::MakeGrant { tenant, .. }
            | Command::MoveGrant { tenant, .. }
            | Command::WithdrawGrant { tenant, .. }
            | Command::StartSession { tenant, .. }
            | Command::EndSession { tenant, .. } => tenant,
            Command::Expire { key } => key.tenant(),
        }
    }
}

/// What happened, for the record and for whoever listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A tenant became known.
    TenantRegistered,
    /// A tenant's choice changed. The levels are those in force.
    ConsentChanged {
        /// Before.
        from: LevelName,
        /// After.
        to: LevelName,
        /// Whether it now follows its parent.
        inherit: bool,
    },
    /// A grant was given.
    GrantMade {
        /// Which.
        grant: GrantId,
        /// The role it gives.
        role: RoleName,
        /// Until when.
        until: Timestamp,
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
    /// A grant ended.
    GrantEnded {
        /// Which.
        grant: GrantId,
        /// Why.
        cause: EndCause,
        /// From when on.
        at: Timestamp,
    },
    /// An agent entered.
    SessionStarted {
        /// Which.
        session: SessionId,
        /// Who.
        subject: SubjectRef,
        /// In which role.
        role: RoleName,
        /// Until when at most.
        deadline: Timestamp,
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
    /// The ladder has no such level.
    #[error("there is no consent level `{0}`; see the ladder in the answer to GET")]
    LevelUnknown(LevelName),
    /// Only a tenant with a parent can inherit.
    #[error("this tenant has no parent to inherit from; choose a level")]
    NothingToInherit,
    /// Somebody changed it in between.
    #[error("it was changed in between; read it again and send its current ETag")]
    Changed,
    /// There is no such environment in this tenant.
    #[error("the tenant has no environment `{0}`")]
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
    /// A scope of named resources that names none.
    #[error("the scope names no resource; name at least one, or `everything`")]
    ScopeEmpty,
    /// It has ended and stays so.
    #[error("this {0} has ended; an end is never undone, make a new one")]
    Ended(&'static str),
    /// Consent admits nobody at this moment.
    #[error("the tenant's consent admits no support; ask the tenant to raise it or to make a grant")]
    ConsentCloses,
    /// The grant gives nothing to this person at this moment.
    #[error("this grant gives you nothing: {0}")]
    GrantGivesNothing(&'static str),
    /// Only staff start sessions.
    #[error("only the vendor's staff start support sessions")]
    NotStaff,
    /// A reason is part of the record.
    #[error("say why: `reason` must have 1 to {0} characters")]
    ReasonUnfit(usize),
    /// A ticket reference is short and on one line.
    #[error("`ticket` must have 1 to {0} visible characters")]
    TicketUnfit(usize),
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

impl Refusal {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::NotAllowed { .. } => "not_allowed",
            Refusal::Acting => "acting",
            Refusal::NotFound(_) => "not_found",
            Refusal::ParentFixed(_) => "parent_fixed",
            Refusal::ParentUnknown(_) => "parent_unknown",
            Refusal::ParentItself(_) => "parent_itself",
            Refusal::LevelUnknown(_) => "level_unknown",
            Refusal::NothingToInherit => "nothing_to_inherit",
            Refusal::Changed => "changed",
            Refusal::EnvironmentUnknown(_) => "environment_unknown",
            Refusal::EnvironmentForeign { .. } => "environment_foreign",
            Refusal::RoleUnknown(_) => "role_unknown",
            Refusal::BeyondGrantor { .. } => "beyond_grantor",
            Refusal::NotInFuture(_) => "not_in_future",
            Refusal::TooFar { .. } => "too_far",
            Refusal::ScopeEmpty => "scope_empty",
            Refusal::Ended(_) => "ended",
            Refusal::ConsentCloses => "consent_closes",
            Refusal::GrantGivesNothing(_) => "grant_gives_nothing",
            Refusal::NotStaff => "not_staff",
            Refusal::ReasonUnfit(_) => "reason_unfit",
            Refusal::TicketUnfit(_) => "ticket_unfit",
            Refusal::LastsTooLong(_) => "lasts_too_long",
            Refusal::TooManySessions(_) => "too_many_sessions",
            Refusal::NotDue(_) => "not_due",
            Refusal::Unavailable => "state_unavailable",
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
            tenant::register(&at, tenant, parent.as_ref(), *zone, environments)
        }
        Command::SetConsent { tenant, choice, expected } => consent::set(&at, tenant, choice, *expected),
        Command::MakeGrant { tenant, grant, environment, to, role, scope, until } => {
            grant::make(&at, tenant, grant, grant::Terms { environment, to, role, scope, until })
        }
        Command::MoveGrant { tenant, grant, until, expected } => {
            grant::move_expiry(&at, tenant, grant, until, *expected)
        }
        Command::WithdrawGrant { tenant, grant } => grant::withdraw(&at, tenant, grant),
        Command::StartSession { tenant, session, environment, basis, reason, ticket, lasts } => {
            session::start(
                &at,
                tenant,
                session,
                &session::Wish { environment, basis, reason, ticket: ticket.as_deref(), lasts: *lasts },
            )
        }
        Command::EndSession { tenant, session } => session::end(&at, tenant, session),
        Command::Expire { key } => expire::expire(&at, key),
    };
    match result {
        Ok(change) => Outcome::Changed(change),
        Err(Stop::Refused(refusal)) => Outcome::Refused(refusal),
        Err(Stop::Lack(Lack::Need(need))) => Outcome::Need(need),
        Err(Stop::Lack(Lack::Unavailable)) => Outcome::Refused(Refusal::Unavailable),
    }
}

/// What every rule is given.
struct Moment<'a> {
    facts: &'a Facts,
    actor: Actor<'a>,
    now: Timestamp,
    policy: &'a Policy,
}

impl Moment<'_> {
    /// The person, who must administer support access in that tenant.
    fn administrator(&self, tenant: &TenantId, needed: &'static str) -> Result<&Subject, Refusal> {
        match self.actor {
            Actor::Subject(subject) if subject.acting => Err(Refusal::Acting),
            Actor::Subject(subject)
                if crate::policy::decide::administers(subject, tenant, self.policy, needed) =>
            {
                Ok(subject)
            }
            Actor::Subject(_) | Actor::Configuration | Actor::Clock => Err(Refusal::NotAllowed { needed }),
        }
    }

    /// Refuses what reaches into an environment that the caller's token is not for. Ends and withdrawals are free.
    fn reaches(&self, wanted: &EnvironmentId) -> Result<(), Refusal> {
        match self.actor {
            Actor::Subject(Subject { environment: Some(own), .. }) if own != wanted => {
                Err(Refusal::EnvironmentForeign { own: own.clone(), wanted: wanted.clone() })
            }
            Actor::Subject(_) | Actor::Configuration | Actor::Clock => Ok(()),
        }
    }

    /// Refuses when the document is no longer as the caller saw it.
    fn as_seen(&self, key: &Key, expected: Option<Version>) -> Result<(), Refusal> {
        let Some(expected) = expected else { return Ok(()) };
        if self.facts.version(key) == Some(expected) { Ok(()) } else { Err(Refusal::Changed) }
    }
}
