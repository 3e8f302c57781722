//! `/v1/tenants/{t}/members`: the rows that services push of a tenant's people. Its administrators read them.

use serde::Serialize;

use crate::{
    lifecycle::{Command, Refusal},
    model::{
        Document, Key, Kind, Member, RoleName, SubjectKind, SubjectRef, TenantId, Timestamp, Version,
        join::narrowest,
    },
    policy::Push,
};

use super::{
    Api,
    beside::{MOST_LOOKED_AT, Page, STEP},
    call::{Call, cursor},
    form::Form,
    outcome::Outcome,
    place::member_id,
    problem::Problem,
    reply::Reply,
};

/// One member.
#[derive(Debug, Serialize)]
struct View {
    /// As it stands in paths.
    id: String,
    person: SubjectRef,
    roles: Vec<RoleName>,
    suspended: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// Since when they are no member any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<Timestamp>,
}

/// A row of the list.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Row {
    Member(Box<View>),
    Unreadable { id: String, unreadable: &'static str },
}

#[derive(Serialize)]
struct ChangedView {
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<View>,
    outcome: Outcome,
    /// Of a removal: they had been removed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    had_ended: Option<bool>,
}

fn view(person: &SubjectRef, member: &Member) -> View {
    View {
        id: member_id(person),
        person: person.clone(),
        roles: member.roles.iter().cloned().collect(),
        suspended: member.suspended,
        email: member.email.as_ref().map(ToString::to_string),
        removed: member.removed,
    }
}

impl Api {
    /// Refuses whoever sees no members of that tenant: its own administrators do, and the services that push them.
    fn must_see_members(&self, call: &Call<'_>, tenant: &TenantId) -> Result<(), Problem> {
        match call.subject.kind {
            SubjectKind::Service => call.must_push(Push::Members, tenant),
            SubjectKind::Member | SubjectKind::Staff => call.must_see(tenant),
        }
    }

    pub(super) async fn members(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        self.must_see_members(call, tenant)?;
        let query = call.query(&["after", "limit", "state"])?;
        let (after, limit): (Option<SubjectRef>, _) = (query.after()?, query.limit()?);
        let all = query.maybe("state", |word| match word {
            "all" => Some(true),
            "standing" => Some(false),
            _ => None,
        });
        let all = all?.unwrap_or(false);
        let mut page = Page::default();
        let mut last = after.map(|person| Key::Member(tenant.clone(), person));
        let mut looked_at = 0;
        loop {
            let rows = self.engine.store().list(tenant, Kind::Member, last.as_ref(), STEP).await?;
            let end = rows.len() < STEP;
            looked_at += rows.len();
            for (key, found) in rows {
                let Key::Member(_, person) = &key else { continue };
                if page.items.len() >= limit {
                    page.next = last_member(last.as_ref());
                    return Ok(Reply::ok(&page));
                }
                match found.map(|stored| narrowest(&stored, &call.policy.ladder)) {
                    Ok(Some(Document::Member(member))) if all || member.removed.is_none() => {
                        page.items.push(Row::Member(Box::new(view(person, &member))));
                    }
                    Ok(Some(Document::Member(_))) => {}
                    Ok(_) => page.items.push(unreadable(person, "store_document_damaged")),
                    Err(fault) => page.items.push(unreadable(person, fault.code())),
                }
                last = Some(key);
            }
            if end {
                return Ok(Reply::ok(&page));
            }
            if looked_at >= MOST_LOOKED_AT {
                page.next = last_member(last.as_ref());
                return Ok(Reply::ok(&page));
            }
        }
    }

    pub(super) async fn member(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        person: &SubjectRef,
    ) -> Result<Reply, Problem> {
        self.must_see_members(call, tenant)?;
        call.query(&[])?;
        let found = self.one_member(tenant, person).await?;
        let (view, version) = found.ok_or(Refusal::NotFound("member"))?;
        Ok(Reply::ok(&view).tagged(Some(version)))
    }

    pub(super) async fn push_member(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        person: &SubjectRef,
    ) -> Result<Reply, Problem> {
        call.must_push(Push::Members, tenant)?;
        call.query(&[])?;
        let expected = call.expected()?;
        let object = call.object()?;
        let form = Form::of(&object, &["roles", "suspended", "email"])?;
        let command = Command::PushMember {
            tenant: tenant.clone(),
            member: person.clone(),
            roles: form.roles()?,
            suspended: form.flag("suspended")?,
            email: form.maybe_email()?,
            expected,
        };
        let outcome = self.change(call, command).await?;
        Ok(self.changed_member(tenant, person, outcome, None).await)
    }

    pub(super) async fn remove_member(
        &self,
        call: &Call<'_>,
        tenant: &TenantId,
        person: &SubjectRef,
    ) -> Result<Reply, Problem> {
        call.must_push(Push::Members, tenant)?;
        call.query(&[])?;
        let expected = call.expected()?;
        call.without_body()?;
        let command = Command::RemoveMember { tenant: tenant.clone(), member: person.clone(), expected };
        let outcome = self.change(call, command).await?;
        let had_ended = Some(!outcome.changed);
        Ok(self.changed_member(tenant, person, outcome, had_ended).await)
    }

    async fn changed_member(
        &self,
        tenant: &TenantId,
        person: &SubjectRef,
        outcome: Outcome,
        had_ended: Option<bool>,
    ) -> Reply {
        // The change has happened; that it cannot be shown is no reason to say that it has not.
        let shown = self.one_member(tenant, person).await.ok().flatten();
        let status = outcome.status(200);
        let version = shown.as_ref().map(|(_, version)| *version).filter(|_| status == 200);
        let member = shown.map(|(view, _)| view);
        Reply::with(status, &ChangedView { member, outcome, had_ended }).tagged(version)
    }

    async fn one_member(
        &self,
        tenant: &TenantId,
        person: &SubjectRef,
    ) -> Result<Option<(View, Version)>, Problem> {
        let found = self.engine.known(|facts| {
            let Some(member) = facts.member(tenant.as_str(), person)? else { return Ok(None) };
            let version = super::version(facts, &Key::Member(tenant.clone(), person.clone()));
            Ok(Some((view(person, member), version)))
        });
        Ok(found.await?)
    }
}

fn unreadable(person: &SubjectRef, unreadable: &'static str) -> Row {
    Row::Unreadable { id: member_id(person), unreadable }
}

fn last_member(key: Option<&Key>) -> Option<String> {
    match key {
        Some(Key::Member(_, person)) => Some(cursor(person)),
        Some(_) | None => None,
    }
}
