//! `/v1/tenants/{t}/resources/{type}`: the resources of a type. Services that push them see all; a member sees those that show
//! themselves to them, and whoever can be shown none of the type an empty list. A page that comes back short tells all others that some
//! hundred were passed over: what is hidden is never named, but about how much of it there is can be counted by whoever is shown some.
//!
//! Never here: to whom a resource shows itself ([`crate::policy::resources::sight`]).

use serde::{Deserialize, Serialize};

use crate::{
    lifecycle::Refusal,
    model::{
        Document, Key, ResourceId, ResourceRef, ResourceType, RoleName, SubjectKind, TenantId,
        join::narrowest,
    },
    policy::{
        Here, Policy, Push,
        resources::{Sight, may_see, sees_all, sight, there},
    },
};

use super::{
    Api,
    call::{Call, cursor},
    problem::Problem,
    reply::Reply,
    resources::Visibility,
    walk::{Page, Rows, Walk},
};

/// Rows that one call looks at, at most, where each is decided by itself.
const MOST_DECIDED: usize = 500;

/// One resource.
#[derive(Debug, Serialize)]
struct View {
    r#type: ResourceType,
    id: ResourceId,
    /// For those who see who its members are.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<ResourceRef>,
    visibility: Visibility,
    /// The caller's own role there.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<RoleName>,
    /// The role that the caller is invited to.
    #[serde(skip_serializing_if = "Option::is_none")]
    invited: Option<RoleName>,
}

/// A row of the list.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Row {
    Resource(Box<View>),
    Unreadable { r#type: ResourceType, id: ResourceId, unreadable: &'static str },
}

/// A place in the list: behind this one, which was shown; and where more was looked at, behind that, which is sealed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    #[serde(rename = "k")]
    shown: Option<ResourceId>,
    #[serde(rename = "s", skip_serializing_if = "Option::is_none", default)]
    sealed: Option<String>,
}

impl Api {
    pub(super) async fn resources(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        kind: &ResourceType,
    ) -> Result<Reply, Problem> {
        let (subject, policy): (_, &Policy) = (call.subject.subject(), &call.policy);
        let is_theirs = subject.kind == SubjectKind::Member && subject.tenant.as_ref() == Some(tenant);
        match is_theirs {
            true if subject.acting => return Err(Refusal::Acting.into()),
            true => {}
            false => call.must_push(Push::Resources, tenant)?,
        }
        let query = call.query(&["after", "limit"])?;
        let (after, limit): (Option<Mark>, _) = (query.after()?, query.limit()?);
        if !policy.resources.types.contains_key(kind) {
            return Err(Refusal::ResourceTypeUnknown(kind.clone()).into());
        }
        let named = |id: ResourceId| ResourceRef { kind: kind.clone(), id };
        let any = named(ResourceId::least());
        let all = !is_theirs
            || self
                .engine
                .known(|facts| sees_all(subject, &any, Here { tenant: tenant.as_str(), facts, policy }))
                .await?;
        let about = format!("{tenant}/{kind}/{}", subject.id);
        let mut shown = after.as_ref().and_then(|mark| mark.shown.clone());
        let opened = after.and_then(|mark| mark.sealed).and_then(|sealed| self.seal.open(&sealed, &about));
        let opened = opened.and_then(|id| ResourceId::new(&id).ok());
        // Whoever could begin anywhere would find out by where a page ends what lies between.
        if let Some(id) = shown.as_ref().filter(|_| !all && opened.is_none()) {
            let seen = self.engine.known(|facts| {
                let here = Here { tenant: tenant.as_str(), facts, policy };
                sight(subject, &named(id.clone()), here, call.now)
            });
            if seen.await?.is_none() {
                return Err(Problem::query(
                    "after",
                    "it names no place where this list can go on; begin it anew",
                ));
            }
        }
        // Whoever can be shown none of them learns nothing of how many there are, and costs nothing.
        let any_shown = all
            || self
                .engine
                .known(|facts| may_see(subject, kind, Here { tenant: tenant.as_str(), facts, policy }))
                .await?;
        if !any_shown {
            return Ok(Reply::ok(&Page::<Row>::default()));
        }
        let from = opened.or_else(|| shown.clone());
        let from = from.map(|id| Key::Resource(tenant.clone(), named(id)));
        let walk = Walk::new(self.engine.store(), Rows::OfType(tenant, kind), from);
        let mut walk = if all { walk } else { walk.at_most(MOST_DECIDED) };
        let mut page = Page::default();
        while let Some((key, found)) = walk.next().await? {
            let Key::Resource(_, resource) = &key else { continue };
            let row = match found.map(|stored| narrowest(&stored, &policy.ladder)) {
                Ok(Some(Document::Resource(_))) => {
                    let seen = self.engine.known(|facts| {
                        let here = Here { tenant: tenant.as_str(), facts, policy };
                        let Some(place) = there(resource, here)? else { return Ok(None) };
                        let sight = if is_theirs { sight(subject, resource, here, call.now)? } else { None };
                        let sight =
                            sight.or_else(|| all.then(|| Sight { members: true, ..Sight::default() }));
                        Ok(sight.map(|sight| view(resource, place, sight)))
                    });
                    match seen.await {
                        Ok(Some(view)) => Row::Resource(Box::new(view)),
                        Ok(None) => continue,
                        // What cannot be decided is not seen.
                        Err(_) if !all => continue,
                        Err(fault) => return Err(fault.into()),
                    }
                }
                _ if !all => continue,
                Ok(_) => unreadable(resource, "store_document_damaged"),
                Err(fault) => unreadable(resource, fault.code()),
            };
            let place = cursor(&Mark { shown: Some(resource.id.clone()), sealed: None });
            if !page.put(row, place, limit) {
                return Ok(Reply::ok(&page));
            }
            shown = Some(resource.id.clone());
        }
        if let Some(Key::Resource(_, resource)) = walk.stopped() {
            let mark = if all {
                Mark { shown: Some(resource.id), sealed: None }
            } else {
                Mark { shown, sealed: self.seal.close(resource.id.as_str(), &about) }
            };
            page.next = Some(cursor(&mark));
        }
        Ok(Reply::ok(&page))
    }
}

fn view(name: &ResourceRef, resource: &crate::model::Resource, sight: Sight) -> View {
    View {
        r#type: name.kind.clone(),
        id: name.id.clone(),
        parent: resource.parent.clone().filter(|_| sight.members),
        visibility: Visibility::of(resource),
        role: sight.role,
        invited: sight.invited,
    }
}

fn unreadable(name: &ResourceRef, unreadable: &'static str) -> Row {
    Row::Unreadable { r#type: name.kind.clone(), id: name.id.clone(), unreadable }
}
