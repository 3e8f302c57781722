//! Who passes by a role that is held at a resource: the gateway's own decision on rows and resources that are made up.
//!
//! Never here: an opinion about the answer.

use std::io;

use crate::{
    model::{
        Consent, Document, Joined, Key, Resource, ResourceId, ResourceRef, ResourceType, RoleName, Subject,
        SubjectKind, Tenant, TenantId, Timestamp, Zone,
    },
    policy::{Decision, Facts, Named, Policy, Route, Rule, resources::Spot},
    proxy::preview::{self, Preview},
};

use super::{Stage, is_narrowed, line, passes};
use crate::cli::{
    narrowing,
    out::Out,
    rehearse::{as_configured, decided, found},
};

/// Whose the resource that is acted on is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Nobodys,
    Made,
    Assigned,
}

/// The roles at the resource and at what it lies in, with which a member passes who holds nothing else.
pub(super) fn of_all(out: &mut Out, stage: &Stage<'_>, read: &Preview<'_>) -> io::Result<()> {
    let told = passing(stage, read);
    if told.is_empty() { Ok(()) } else { line(out, "members at", &told.join("; ")) }
}

/// The same, for each type in words.
pub(super) fn passing(stage: &Stage<'_>, read: &Preview<'_>) -> Vec<String> {
    let Route::Mapped(rule) = read.ask.route else { return Vec::new() };
    let policy = &stage.settings.policy;
    let mut told = Vec::new();
    for kind in kinds(policy, rule) {
        let roles = policy.resources.roles.iter().filter(|(_, role)| role.at == *kind).map(|(name, _)| name);
        let by = |role, whose| member(stage, read, role, whose).filter(|one| passes(&Some(one.clone())));
        let words = roles.filter_map(|role| {
            let all = [Whose::Nobodys, Whose::Made, Whose::Assigned].into_iter();
            let (whose, passing) = all.filter_map(|one| Some((one, by(role, one)?))).next()?;
            if is_narrowed(&passing) {
                let of = policy.resources.roles.get(role).and_then(narrowing::spoken_of);
                let of = of.unwrap_or_default();
                return Some(format!("{role} (narrowed to the {of} that are theirs)"));
            }
            Some(match whose {
                Whose::Nobodys => role.to_string(),
                Whose::Made => format!("{role} (with what they made)"),
                Whose::Assigned => format!("{role} (with what is assigned to them)"),
            })
        });
        let words: Vec<String> = words.collect();
        if !words.is_empty() {
            told.push(format!("{kind}: {}", words.join(", ")));
        }
    }
    told
}

/// The types of the resource and of what it lies in.
fn kinds<'p>(policy: &'p Policy, rule: &'p Rule) -> Vec<&'p ResourceType> {
    let mut at = rule.resource.as_ref();
    let mut kinds = Vec::new();
    while let Some(kind) = at.filter(|kind| policy.resources.types.contains_key(*kind)) {
        kinds.push(kind);
        at = policy.resources.parent(kind);
    }
    kinds
}

/// What a member would be told who holds this role where the request goes, at the resource or at what it lies in.
pub(super) fn by_role(stage: &Stage<'_>, read: &Preview<'_>, role: &RoleName) -> Option<Decision> {
    member(stage, read, role, Whose::Nobodys)
}

fn member(stage: &Stage<'_>, read: &Preview<'_>, role: &RoleName, whose: Whose) -> Option<Decision> {
    let mut subject = stage.somebody(SubjectKind::Member)?;
    subject.tenant = match read.ask.tenant {
        Named::As(tenant) => TenantId::new(tenant).ok(),
        Named::Missing | Named::Unclear => TenantId::new("somewhere").ok(),
    };
    let seen = preview::preview(stage.routing, &stage.request, Some(&subject)).ok()?;
    let policy = &stage.settings.policy;
    let mut rehearsed = as_configured(policy);
    rehearsed.callers.by_row = Default::default();
    rehearsed.resources = policy.resources.clone();
    let facts = facts(&rehearsed, &seen, &subject, role, whose).unwrap_or_default();
    decided(&seen.ask, &subject, &facts, stage.now, &rehearsed)
}

/// A row of the subject's at the resource of that type in the chain, and all of it known as the path has it.
fn facts(
    policy: &Policy,
    read: &Preview<'_>,
    subject: &Subject,
    role: &RoleName,
    whose: Whose,
) -> Option<Facts> {
    let Route::Mapped(rule) = read.ask.route else { return None };
    let spot = Spot::of_route(rule, read.ask.resource, read.ask.within)?;
    let (tenant, at) = (subject.tenant.clone()?, &policy.resources.roles.get(role)?.at);
    let consent = Consent::own(policy.default_level.clone());
    let made_up = Tenant::new(None, Zone::UTC, policy.environments.clone(), consent);
    let mut documents = vec![(Key::Tenant(tenant.clone()), Some(Document::Tenant(made_up)))];
    let kinds = kinds(policy, rule);
    let named = |kind: &ResourceType| -> Option<ResourceRef> {
        // Of what the path does not name, it does not matter which one it is.
        let id = ResourceId::new(spot.id_of(kind).unwrap_or("rehearsed")).ok()?;
        Some(ResourceRef { kind: kind.clone(), id })
    };
    for (number, kind) in kinds.iter().enumerate() {
        let own = |wanted| number == 0 && whose == wanted;
        let resource = Resource {
            parent: kinds.get(number.saturating_add(1)).and_then(|above| named(above)),
            creator: own(Whose::Made).then(|| subject.id.clone()),
            assignees: own(Whose::Assigned).then(|| subject.id.clone()).into_iter().collect(),
            ..Resource::default()
        };
        let reference = named(kind)?;
        documents
            .push((Key::Resource(tenant.clone(), reference.clone()), Some(Document::Resource(resource))));
        let row = (*kind == at).then(|| Document::Joined(row(role)));
        documents.push((Key::Joined(tenant.clone(), reference, subject.id.clone()), row));
    }
    documents.push((Key::Member(tenant, subject.id.clone()), None));
    Some(found(documents))
}

fn row(role: &RoleName) -> Joined {
    let since = Timestamp::from_ms(0);
    Joined {
        bounds: Default::default(),
        role: role.clone(),
        since,
        removed: None,
        life: 0,
        left: 0,
        by: Default::default(),
        invited: None,
    }
}
