//! A grant as the API shows it.

use serde::Serialize;

use crate::{
    model::{
        ActAs, EndCause, EnvironmentId, Grant, GrantId, Grantee, ResourceId, ResourceType, RoleName, Scope,
        SubjectRef, TenantId, Timestamp,
    },
    policy::{
        rows::Bound,
        standing::{Fallen, grant_fallen},
    },
};

/// A row of a list of grants.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(super) enum GrantRow {
    /// One that can be read.
    Grant(Box<GrantView>),
    /// One that cannot.
    Unreadable {
        /// Which.
        id: GrantId,
        /// Why not.
        unreadable: &'static str,
    },
}

/// One grant.
#[derive(Debug, Clone, Serialize)]
pub(super) struct GrantView {
    pub(super) id: GrantId,
    tenant: TenantId,
    pub(super) environment: EnvironmentId,
    pub(super) to: Grantee,
    /// Of a grant to an address: who used it first; nobody else can any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bound: Option<SubjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<RoleName>,
    /// Of login access, which gives no role but whatever its giver can do: what was said with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) act_as: Option<ActAs>,
    scope: ScopeView,
    pub(super) grantor: SubjectRef,
    pub(super) given: Timestamp,
    /// The instant at which it ends, however its expiry was said.
    pub(super) until: Timestamp,
    pub(super) standing: bool,
    /// Of one that is over: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    over: Option<Over>,
    /// Of one that stands, where it is looked at alone: whether whoever gave it counts at this instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    giver: Option<GiverView>,
}

/// Whoever gave a grant, at this instant (rule 5).
#[derive(Debug, Clone, Serialize)]
struct GiverView {
    /// Whether the grant gives what they can do; nothing where not.
    counts: bool,
    /// Where that is known by their tokens: until when, unless one is seen again.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
enum ScopeView {
    Everything,
    Resources(Vec<ResourceView>),
}

#[derive(Debug, Clone, Serialize)]
struct ResourceView {
    r#type: ResourceType,
    id: ResourceId,
}

#[derive(Debug, Clone, Serialize)]
struct Over {
    code: &'static str,
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<EndCause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<SubjectRef>,
}

impl GrantView {
    pub(super) fn of(tenant: &TenantId, id: &GrantId, grant: &Grant, now: Timestamp) -> GrantView {
        let end = grant.ended.as_ref();
        let over = grant_fallen(grant, now).map(|(reason, _)| Over {
            code: reason.code(),
            at: end.map_or(grant.until, |end| end.at),
            cause: end.map(|end| end.cause),
            by: end.and_then(|end| end.by.clone()),
        });
        GrantView {
            id: id.clone(),
            tenant: tenant.clone(),
            environment: grant.environment.clone(),
            to: grant.to.clone(),
            bound: grant.bound.clone(),
            role: grant.role.clone(),
            act_as: grant.act_as.clone(),
            scope: match &grant.scope {
                Scope::Everything => ScopeView::Everything,
                Scope::Resources(resources) => ScopeView::Resources(
                    resources
                        .iter()
                        .map(|(kind, id)| ResourceView { r#type: kind.clone(), id: id.clone() })
                        .collect(),
                ),
            },
            grantor: grant.grantor.clone(),
            given: grant.given,
            until: grant.until,
            standing: over.is_none(),
            over,
            giver: None,
        }
    }

    /// The same, with what is known of whoever gave it.
    pub(super) fn given(self, bound: &Result<Bound<'_>, Fallen>) -> GrantView {
        let giver = match bound {
            Ok(bound) => GiverView { counts: true, until: bound.until(), code: None },
            Err((reason, _)) => GiverView { counts: false, until: None, code: Some(reason.code()) },
        };
        GrantView { giver: Some(giver), ..self }
    }
}
