//! `/v1/tenants/{t}/resources/{type}/{id}`: what services say of resources, and who may see one. Whoever may neither manage nor see the
//! members of a resource is told one thing, whether there is such a resource or not, unless it shows itself to them.

use serde::Serialize;

use crate::{
    lifecycle::{Command, Deed, Refusal},
    model::{
        Key, Resource, ResourceRef, RoleName, SubjectKind, SubjectRef, Tally, TenantId, Timestamp, Version,
    },
    policy::{
        Here, PermissionId, Policy, Push,
        resources::{Sight, Spot, TypeRule, can_at, sight},
    },
};

use super::{Api, call::Call, form::Form, outcome::Outcome, problem::Problem, reply::Reply};

/// What everybody may do, or those who were asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Visibility {
    Public,
    Private,
}

impl Visibility {
    pub(super) fn of(resource: &Resource) -> Visibility {
        if resource.public { Visibility::Public } else { Visibility::Private }
    }
}

/// How many members a resource has.
#[derive(Debug, Serialize)]
struct Count {
    all: u64,
    /// By role.
    roles: Vec<CountOf>,
}

/// How many of them hold one role.
#[derive(Debug, Serialize)]
struct CountOf {
    role: RoleName,
    members: u64,
}

/// One resource.
#[derive(Debug, Serialize)]
struct View {
    r#type: String,
    id: String,
    /// This, whose it is and how many its members are: for those who see who these are.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<ResourceRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    creator: Option<SubjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assignees: Option<Vec<SubjectRef>>,
    visibility: Visibility,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Count>,
    /// Since when it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<Timestamp>,
    /// It was pushed before the tenant was removed, and says nothing in the one that came back.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    former: bool,
}

#[derive(Serialize)]
struct ChangedView {
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<View>,
    outcome: Outcome,
    /// Of a removal: it had been removed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    had_ended: Option<bool>,
}

impl Api {
    /// Refuses whoever may not see who the members of a resource are: those who manage them may, those who hold the configured
    /// permission there, and the services that push them (PFP-09).
    pub(super) async fn must_see_joined(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        resource: &ResourceRef,
    ) -> Result<(), Problem> {
        self.must_hold_there(call, tenant, resource, |rule| [rule.list, rule.manage]).await
    }

    /// What the caller sees of it, as one of the tenant's people: to whoever is in it, may join it by themselves or is invited it shows
    /// itself (PFP-12, PFP-13).
    async fn sight(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        resource: &ResourceRef,
    ) -> Result<Option<Sight>, Problem> {
        let (subject, policy): (_, &Policy) = (call.subject.subject(), &call.policy);
        let is_theirs = subject.kind == SubjectKind::Member && subject.tenant.as_ref() == Some(tenant);
        if !is_theirs || subject.acting {
            return Ok(None);
        }
        let seen = self.engine.known(|facts| {
            sight(subject, resource, Here { tenant: tenant.as_str(), facts, policy }, call.now)
        });
        Ok(seen.await?)
    }

    /// Refuses whoever changes nothing here, before anything that they sent is read.
    pub(super) async fn must_manage_joined(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        resource: &ResourceRef,
    ) -> Result<(), Problem> {
        self.must_hold_there(call, tenant, resource, |rule| [rule.manage, None]).await
    }

    /// Refuses whoever holds none of these at the resource, and is no service that pushes resources; told is the first.
    async fn must_hold_there(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        resource: &ResourceRef,
        any: fn(&TypeRule) -> [Option<PermissionId>; 2],
    ) -> Result<(), Problem> {
        let subject = call.subject.subject();
        if subject.kind != SubjectKind::Member || subject.tenant.as_ref() != Some(tenant) {
            return call.must_push(Push::Resources, tenant);
        }
        if subject.acting {
            return Err(Refusal::Acting.into());
        }
        let policy: &Policy = &call.policy;
        let any = policy.resources.types.get(&resource.kind).map_or([None, None], any);
        for permission in any.into_iter().flatten() {
            let may = self.engine.known(|facts| {
                let here = Here { tenant: tenant.as_str(), facts, policy };
                can_at(subject, Spot::of(resource), permission, here)
            });
            if may.await? {
                return Ok(());
            }
        }
        let needed = any.into_iter().flatten().next().and_then(|id| policy.catalogue.name(id));
        Err(match needed {
            Some(needed) => Refusal::RolesNotYours { needed: needed.clone() },
            None => Refusal::NotAllowed { needed: Push::Resources.code() },
        }
        .into())
    }

    pub(super) async fn resource(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        resource: &ResourceRef,
    ) -> Result<Reply, Problem> {
        let sight = self.sight(call, tenant, resource).await?;
        if sight.is_none() {
            self.must_see_joined(call, tenant, resource).await?;
        }
        call.query(&[])?;
        let found = self.one_resource(tenant, resource).await?;
        let (view, version) = found.ok_or(Refusal::NotFound("resource"))?;
        let view = match sight {
            Some(sight) if !sight.members => {
                View { parent: None, creator: None, assignees: None, members: None, ..view }
            }
            Some(_) | None => view,
        };
        Ok(Reply::ok(&view).tagged(Some(version)))
    }

    pub(super) async fn push_resource(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        resource: &ResourceRef,
    ) -> Result<Reply, Problem> {
        call.must_push(Push::Resources, tenant)?;
        call.query(&[])?;
        let expected = call.expected()?;
        let object = call.object()?;
        let form = Form::of(&object, &["parent", "creator", "assignees", "visibility"])?;
        let deed = Deed::Push {
            parent: form.parent_resource()?,
            creator: form.maybe_person("creator")?,
            assignees: form.people("assignees")?,
            public: form.is_public()?,
        };
        let command =
            Command::Resource { tenant: tenant.clone(), resource: resource.clone(), deed, expected };
        let outcome = self.change(call, command).await?;
        Ok(self.changed_resource(tenant, resource, outcome, None).await)
    }

    pub(super) async fn remove_resource(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        resource: &ResourceRef,
    ) -> Result<Reply, Problem> {
        call.must_push(Push::Resources, tenant)?;
        call.query(&[])?;
        let expected = call.expected()?;
        call.without_body()?;
        let deed = Deed::Remove;
        let command =
            Command::Resource { tenant: tenant.clone(), resource: resource.clone(), deed, expected };
        let outcome = self.change(call, command).await?;
        let had_ended = Some(!outcome.changed);
        Ok(self.changed_resource(tenant, resource, outcome, had_ended).await)
    }

    async fn changed_resource(
        &self,
        tenant: &TenantId,
        resource: &ResourceRef,
        outcome: Outcome,
        had_ended: Option<bool>,
    ) -> Reply {
        // The change has happened; that it cannot be shown is no reason to say that it has not.
        let shown = self.one_resource(tenant, resource).await.ok().flatten();
        let status = outcome.status(200);
        let version = shown.as_ref().map(|(_, version)| *version).filter(|_| status == 200);
        let resource = shown.map(|(view, _)| view);
        Reply::with(status, &ChangedView { resource, outcome, had_ended }).tagged(version)
    }

    async fn one_resource(
        &self,
        tenant: &TenantId,
        resource: &ResourceRef,
    ) -> Result<Option<(View, Version)>, Problem> {
        let found = self.engine.known(|facts| {
            let known = facts.resource(tenant.as_str(), &resource.kind, resource.id.as_str())?;
            let Some(known) = known else { return Ok(None) };
            let life = facts.tenant(tenant.as_str())?.map_or(0, |tenant| tenant.life);
            let tally = facts.tally(tenant, resource)?.filter(|tally| tally.life == known.life);
            let version = super::version(facts, &Key::Resource(tenant.clone(), resource.clone()));
            Ok(Some((view(resource, known, tally, life), version)))
        });
        Ok(found.await?)
    }
}

fn view(name: &ResourceRef, resource: &Resource, tally: Option<&Tally>, life: u32) -> View {
    View {
        r#type: name.kind.to_string(),
        id: name.id.to_string(),
        parent: resource.parent.clone(),
        creator: resource.creator.clone(),
        assignees: Some(resource.assignees.iter().cloned().collect()),
        visibility: Visibility::of(resource),
        members: Some(Count {
            all: tally.map_or(0, Tally::members),
            roles: tally
                .iter()
                .flat_map(|tally| &tally.roles)
                .map(|(role, members)| CountOf { role: role.clone(), members: *members })
                .collect(),
        }),
        removed: resource.removed,
        former: resource.tenant_life != life,
    }
}
