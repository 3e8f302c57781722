//! `/v1/tenants/{t}/resources/{type}/{id}/members`: who is a member of a resource in which role, and who is invited to be one. Whoever
//! may neither manage nor see them is told one thing, whether there is such a resource or not; each sees their own row.

use serde::Serialize;

use crate::{
    lifecycle::{Command, Deed, Refusal},
    model::{
        Document, IssuerName, Joined, Key, Kind, ResourceRef, RoleName, SubjectKind, SubjectRef, TenantId,
        Timestamp, Version, join::narrowest,
    },
    policy::{
        Facts, Here, Lack, Policy,
        resources::{left_by, still_given, there},
        rows::{held, held_of},
    },
};

use super::{
    Api,
    call::{Call, cursor},
    form::Form,
    outcome::Outcome,
    place::member_id,
    problem::Problem,
    reply::Reply,
    walk::{Page, Rows, Walk},
};

/// One member of a resource.
#[derive(Debug, Serialize)]
struct MemberView {
    /// As it stands in paths.
    id: String,
    person: SubjectRef,
    role: RoleName,
    since: Timestamp,
    /// They are no member yet, and may become one by themselves.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    invited: bool,
    /// Of an invitation: until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    /// Since when they are none any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<Timestamp>,
    /// It was written before the resource came back, or before they left all resources, or it is an invitation that is over. It gives
    /// nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    former: bool,
}

/// A row of the list.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Row {
    Member(Box<MemberView>),
    Unreadable { id: String, unreadable: &'static str },
}

#[derive(Serialize)]
struct ChangedView {
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<MemberView>,
    outcome: Outcome,
    /// Of a removal: it had been removed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    had_ended: Option<bool>,
}

impl Api {
    pub(super) async fn all_joined(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        resource: &ResourceRef,
    ) -> Result<Reply, Problem> {
        self.must_see_joined(call, tenant, resource).await?;
        let query = call.query(&["after", "limit"])?;
        let (after, limit): (Option<SubjectRef>, _) = (query.after()?, query.limit()?);
        let policy: &Policy = &call.policy;
        let place = self.engine.known(|facts| {
            let here = Here { tenant: tenant.as_str(), facts, policy };
            Ok(there(resource, here)?.map(|place| place.life))
        });
        let life = place.await?;
        if life.is_none() {
            return Err(Refusal::NotFound("resource").into());
        }
        let mut page = Page::default();
        let after =
            after.or_else(before_all).map(|person| Key::Joined(tenant.clone(), resource.clone(), person));
        let mut walk = Walk::new(self.engine.store(), Rows::Below(tenant, Kind::Joined), after);
        while let Some((key, found)) = walk.next().await? {
            let Key::Joined(_, of, person) = &key else { continue };
            if of != resource {
                return Ok(Reply::ok(&page));
            }
            let row = match found.map(|stored| narrowest(&stored, &call.policy.ladder)) {
                Ok(Some(Document::Joined(row))) => {
                    let stands = self.engine.known(|facts| {
                        stands(
                            &row,
                            person,
                            resource,
                            (life, call),
                            Here { tenant: tenant.as_str(), facts, policy },
                        )
                    });
                    if row.removed.is_some() || !stands.await? {
                        continue;
                    }
                    Row::Member(Box::new(member(person, &row, false)))
                }
                Ok(_) => unreadable(person, "store_document_damaged"),
                Err(fault) => unreadable(person, fault.code()),
            };
            if !page.put(row, cursor(person), limit) {
                return Ok(Reply::ok(&page));
            }
        }
        if let Some(Key::Joined(_, _, person)) = walk.stopped() {
            page.next = Some(cursor(&person));
        }
        Ok(Reply::ok(&page))
    }

    pub(super) async fn joined(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        resource: &ResourceRef,
        person: &SubjectRef,
    ) -> Result<Reply, Problem> {
        // Each sees what they are, or may become: to accept an invitation they have to know what to.
        let own = if is_own(call, tenant, person) {
            let own = self.one_joined(call, tenant, resource, person).await?;
            own.filter(|(view, _)| view.removed.is_none() && !view.former)
        } else {
            None
        };
        if own.is_none() {
            self.must_see_joined(call, tenant, resource).await?;
        }
        call.query(&[])?;
        let found = match own {
            None => self.one_joined(call, tenant, resource, person).await?,
            own => own,
        };
        let (view, version) = found.ok_or(Refusal::NotFound("member"))?;
        Ok(Reply::ok(&view).tagged(Some(version)))
    }

    pub(super) async fn join(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        resource: &ResourceRef,
        person: &SubjectRef,
    ) -> Result<Reply, Problem> {
        // Whether somebody may join by themselves is the rules' to say, with the answer that everybody else gets.
        if !is_own(call, tenant, person) {
            self.must_manage_joined(call, tenant, resource).await?;
        }
        call.query(&[])?;
        let expected = call.expected()?;
        let object = call.object()?;
        let form = Form::of(&object, &["role", "invited", "until", "date", "for"])?;
        let (member, role) = (person.clone(), form.role()?);
        let deed = match form.invitation()? {
            Some(until) => Deed::Invite { member, role, until },
            None => Deed::Join { member, role },
        };
        let command =
            Command::Resource { tenant: tenant.clone(), resource: resource.clone(), deed, expected };
        let outcome = self.change(call, command).await?;
        Ok(self.changed_joined(call, tenant, resource, person, outcome, None).await)
    }

    pub(super) async fn leave(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        resource: &ResourceRef,
        person: &SubjectRef,
    ) -> Result<Reply, Problem> {
        if !is_own(call, tenant, person) {
            self.must_manage_joined(call, tenant, resource).await?;
        }
        call.query(&[])?;
        let expected = call.expected()?;
        call.without_body()?;
        let deed = Deed::Leave { member: person.clone() };
        let command =
            Command::Resource { tenant: tenant.clone(), resource: resource.clone(), deed, expected };
        let outcome = self.change(call, command).await?;
        let had_ended = Some(!outcome.changed);
        Ok(self.changed_joined(call, tenant, resource, person, outcome, had_ended).await)
    }

    async fn changed_joined(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        resource: &ResourceRef,
        person: &SubjectRef,
        outcome: Outcome,
        had_ended: Option<bool>,
    ) -> Reply {
        let shown = self.one_joined(call, tenant, resource, person).await.ok().flatten();
        let status = outcome.status(200);
        let version = shown.as_ref().map(|(_, version)| *version).filter(|_| status == 200);
        let member = shown.map(|(view, _)| view);
        Reply::with(status, &ChangedView { member, outcome, had_ended }).tagged(version)
    }

    async fn one_joined(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        resource: &ResourceRef,
        person: &SubjectRef,
    ) -> Result<Option<(MemberView, Version)>, Problem> {
        let policy: &Policy = &call.policy;
        let found = self.engine.known(|facts: &Facts| -> Result<_, Lack> {
            let row = facts.joined(tenant.as_str(), &resource.kind, resource.id.as_str(), person)?;
            let Some(row) = row else { return Ok(None) };
            let here = Here { tenant: tenant.as_str(), facts, policy };
            let life = there(resource, here)?.map(|place| place.life);
            let stands = stands(row, person, resource, (life, call), here)?;
            let key = Key::Joined(tenant.clone(), resource.clone(), person.clone());
            Ok(Some((member(person, row, !stands), super::version(facts, &key))))
        });
        Ok(found.await?)
    }
}

/// Whether it is the caller's own row.
fn is_own(call: &Call<'_>, tenant: &TenantId, person: &SubjectRef) -> bool {
    let own = call.subject.subject();
    own.kind == SubjectKind::Member && !own.acting && own.tenant.as_ref() == Some(tenant) && own.id == *person
}

/// Before everybody: no issuer's name is less than this one, and nobody has no name.
fn before_all() -> Option<SubjectRef> {
    Some(SubjectRef { issuer: IssuerName::new("a").ok()?, sub: "".into() })
}

/// Whether a row is of the resource's and the member's present, and of an invitation, whether that still is one.
fn stands(
    row: &Joined,
    person: &SubjectRef,
    resource: &ResourceRef,
    (life, call): (Option<u32>, &Call<'_>),
    here: Here<'_>,
) -> Result<bool, Lack> {
    Ok(life == Some(row.life)
        && !row.is_over(call.now)
        && left_by(person, here)? == row.left
        && !is_kept_apart(person, resource, call, here)?
        && (row.invited.is_none() || still_given(row, resource, here)?))
}

/// Whether somebody holds roles that let them be a member of no such resource, as far as rows say it, or the caller's own token.
fn is_kept_apart(
    person: &SubjectRef,
    resource: &ResourceRef,
    call: &Call<'_>,
    here: Here<'_>,
) -> Result<bool, Lack> {
    let (rules, own) = (&here.policy.resources, call.subject.subject());
    let held = if here.policy.callers.by_row.contains(&person.issuer) {
        held_of(person, here.tenant, here.facts)?
    } else if own.id == *person && own.tenant.as_ref().is_some_and(|own| own.as_str() == here.tenant) {
        held(own, here.facts, here.policy)?
    } else {
        return Ok(false);
    };
    // Who is suspended comes back to what they were.
    Ok(rules.joins_by(held).is_some_and(|joins| !joins.reach(&resource.kind)))
}

fn member(person: &SubjectRef, row: &Joined, former: bool) -> MemberView {
    MemberView {
        id: member_id(person),
        person: person.clone(),
        role: row.role.clone(),
        since: row.since,
        invited: row.invited.is_some(),
        until: row.invited.as_ref().map(|invited| invited.until),
        removed: row.removed,
        former,
    }
}

fn unreadable(person: &SubjectRef, unreadable: &'static str) -> Row {
    Row::Unreadable { id: member_id(person), unreadable }
}
