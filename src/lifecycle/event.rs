//! What a change brought about: what the record says of it, and whoever listens hears.
//!
//! Never here: when it happens.

use serde::{Deserialize, Serialize};

use crate::model::{
    EndCause, EnvironmentId, GrantId, LevelName, PlanName, Reach, RequestEnd, RequestId, RoleName, SessionId,
    Side, Span, SubjectRef, Timestamp, Zone,
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
    /// A grant was given.
    GrantMade {
        /// Which.
        grant: GrantId,
        /// The role it gives.
        role: RoleName,
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
        /// In which role.
        role: RoleName,
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
