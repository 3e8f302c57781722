//! The nouns: what exists in Postern's world and what it is called.
//!
//! Lives here: identifiers and their canonical form, subjects, tenants, roles, consent, grants, sessions, the stored
//! documents with their stamps and `join`, and time as plain values. Serde derives are welcome.
//!
//! Never here: a rule about who may do what (that is [`crate::policy`] and [`crate::lifecycle`]), a clock, a file, a
//! socket, anything asynchronous.

pub mod consent;
pub mod document;
pub mod emergency;
pub mod end;
pub mod erasable;
pub mod giver;
pub mod granting;
pub mod grantor;
pub mod id;
pub mod join;
pub mod kind;
pub mod learned;
pub mod login;
pub mod member;
pub mod network;
pub mod once;
pub mod presence;
pub mod request;
pub mod resource;
pub mod role;
pub mod stop;
pub mod subject;
pub mod time;
pub mod version;

pub use consent::{Consent, Ladder, Level, Raise, Rank};
pub use document::{Basis, Document, Glass, Grant, Grantee, Head, Key, Session, Stored, Tenant, Version};
pub use emergency::{EMERGENCY_PREFIX, EmergencyKey, EmergencyToken};
pub use end::{End, EndCause};
pub use giver::{Giver, Mark, Veiled};
pub use granting::{Closings, Delegation, GivenAs, RoleAt, Scope, Within};
pub use grantor::Grantor;
pub use id::{
    ChangeId, EnvironmentId, ExchangeId, GrantId, IdFault, IssuerName, LevelName, OrganisationName,
    PermissionName, PlanName, RequestId, ResourceId, ResourceType, RoleName, SessionId, TenantId,
};
pub use kind::Kind;
pub use learned::Learned;
pub use login::{ActAs, Acting};
pub use member::Member;
pub use network::{Address, Network, NetworkFault};
pub use once::Made;
pub use presence::{Asked, Bar, Presence};
pub use request::{Approval, ApprovalRule, Over, Remark, Request, RequestEnd, RequestState, Speaker};
pub use resource::{Invitation, Joined, Resource, ResourceRef, Tally};
pub use role::TenantRole;
pub use stop::{Halt, Reach, Side, Stop};
pub use subject::{Login, Subject, SubjectKind, SubjectRef};
pub use time::{Span, Timestamp, Zone};
