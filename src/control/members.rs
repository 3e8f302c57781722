//! `/v1/tenants/{t}/members`: the rows that services push of a tenant's people. Its administrators read them.

use serde::Serialize;

use crate::{
    lifecycle::{Command, Refusal},
    model::{
        Document, Key, Kind, Member, RoleName, SubjectKind, SubjectRef, TenantId, Timestamp, Version,
        join::narrowest,
    },
    policy::{Facts, Lack, Push},
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
    /// It was pushed before the tenant was removed, and says nothing in the one that came back.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    former: bool,
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

fn view(person: &SubjectRef, member: &Member, life: u32) -> View {
    View {
        id: member_id(person),
        person: person.clone(),
        roles: member.roles.iter().cloned().collect(),
        suspended: member.suspended,
        email: member.email.as_ref().map(ToString::to_string),
        removed: member.removed,
        former: member.life != life,
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
        let life = self.engine.known(|facts| life(facts, tenant)).await?;
        let mut page = Page::default();
        let after = after.map(|person| Key::Member(tenant.clone(), person));
        let mut walk = Walk::new(self.engine.store(), Rows::Below(tenant, Kind::Member), after);
        while let Some((key, found)) = walk.next().await? {
            let Key::Member(_, person) = &key else { continue };
            let row = match found.map(|stored| narrowest(&stored, &call.policy.ladder)) {
                Ok(Some(Document::Member(member)))
                    if all || (member.removed.is_none() && member.life == life) =>
                {
                    Row::Member(Box::new(view(person, &member, life)))
                }
                Ok(Some(Document::Member(_))) => continue,
                Ok(_) => unreadable(person, "store_document_damaged"),
                Err(fault) => unreadable(person, fault.code()),
            };
            if !page.put(row, cursor(person), limit) {
                return Ok(Reply::ok(&page));
            }
        }
        if let Some(Key::Member(_, person)) = walk.stopped() {
            page.next = Some(cursor(&person));
        }
        Ok(Reply::ok(&page))
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
            Ok(Some((view(person, member, life(facts, tenant)?), version)))
        });
        Ok(found.await?)
    }
}

/// In which of its lives the tenant is.
fn life(facts: &Facts, tenant: &TenantId) -> Result<u32, Lack> {
    Ok(facts.tenant(tenant.as_str())?.map_or(0, |tenant| tenant.life))
}

fn unreadable(person: &SubjectRef, unreadable: &'static str) -> Row {
    Row::Unreadable { id: member_id(person), unreadable }
}
