//! `/v1/tenants/{t}/support-users`: everybody of the vendor's who is inside or could enter without being let in anew, as one
//! list: sessions of every kind, then the grants that stand. For the tenant's administrators.
//!
//! Never here: ending any of it (`sessions`, `grants`).

use serde::Serialize;

use crate::model::{
    Acting, Basis, EnvironmentId, GrantId, Grantee, RoleName, SessionId, SubjectRef, TenantId, Timestamp,
};

use super::{
    Api,
    beside::{Mark, SessionRow},
    call::{Call, place},
    grant_view::GrantRow,
    problem::Problem,
    reply::Reply,
};

/// In the first part of the list stand sessions, in the second grants.
const SESSIONS: &str = "s";
const GRANTS: &str = "g";

/// A row of the list.
#[derive(Serialize)]
#[serde(untagged)]
enum Row {
    /// Somebody who is inside.
    Inside {
        inside: bool,
        session: SessionId,
        person: SubjectRef,
        environment: EnvironmentId,
        /// None of whoever acts, or may act, as a person of the tenant.
        #[serde(skip_serializing_if = "Option::is_none")]
        role: Option<RoleName>,
        /// By consent at this level, by this grant, as this person, by break-glass.
        basis: Basis,
        began: Timestamp,
        ends: Timestamp,
    },
    /// Somebody who can enter at any time.
    Standing {
        inside: bool,
        to: Grantee,
        /// Who used it first; nobody else can.
        #[serde(skip_serializing_if = "Option::is_none")]
        person: Option<SubjectRef>,
        environment: EnvironmentId,
        /// None of whoever acts, or may act, as a person of the tenant.
        #[serde(skip_serializing_if = "Option::is_none")]
        role: Option<RoleName>,
        basis: Basis,
        began: Timestamp,
        ends: Timestamp,
    },
    /// A session that cannot be read.
    UnreadableSession {
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<SessionId>,
        person: SubjectRef,
        unreadable: &'static str,
    },
    /// A grant that cannot be read.
    UnreadableGrant { grant: GrantId, unreadable: &'static str },
}

#[derive(Serialize)]
struct List {
    items: Vec<Row>,
    next: Option<String>,
}

impl Api {
    pub(super) async fn support_users(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        call.must_see(tenant)?;
        let query = call.query(&["after", "limit"])?;
        let limit = query.limit()?;
        let wrong = || Problem::query("after", "it has not the form that it must have");
        let (part, rest) = match query.get("after") {
            None => (SESSIONS, ""),
            Some(after) => after.split_once('.').ok_or_else(wrong)?,
        };
        let mut list = List { items: Vec::new(), next: None };
        let mut grants_after: Option<GrantId> = None;
        if part == SESSIONS {
            let after: Option<Mark> =
                if rest.is_empty() { None } else { Some(place(rest).ok_or_else(wrong)?) };
            let page = self.inside(call, tenant, after, limit).await?;
            list.items.extend(page.items.into_iter().filter_map(inside));
            if let Some(next) = page.next {
                list.next = Some(format!("{}.{next}", SESSIONS));
                return Ok(Reply::ok(&list));
            }
        } else if part == GRANTS {
            grants_after = Some(place(rest).ok_or_else(wrong)?);
        } else {
            return Err(wrong());
        }
        let room = limit.saturating_sub(list.items.len()).max(1);
        let page = self.standing_grants(call, tenant, grants_after, room).await?;
        list.items.extend(page.items.into_iter().map(granted));
        list.next = page.next.map(|next| format!("{}.{next}", GRANTS));
        Ok(Reply::ok(&list))
    }
}

fn inside(row: SessionRow) -> Option<Row> {
    match row {
        SessionRow::Session(view) => {
            let ends = view.ends()?;
            Some(Row::Inside {
                inside: true,
                session: view.id,
                person: view.person,
                environment: view.environment,
                role: view.role,
                basis: view.basis,
                began: view.began,
                ends,
            })
        }
        SessionRow::Unreadable { id, person, unreadable } => {
            Some(Row::UnreadableSession { session: id, person, unreadable })
        }
    }
}

fn granted(row: GrantRow) -> Row {
    match row {
        GrantRow::Grant(view) => Row::Standing {
            inside: false,
            to: view.to,
            person: view.bound,
            environment: view.environment,
            role: view.role,
            basis: match view.act_as {
                Some(_) => Basis::ActAs(Acting { grant: view.id, user: view.grantor }),
                None => Basis::Grant(view.id),
            },
            began: view.given,
            ends: view.until,
        },
        GrantRow::Unreadable { id, unreadable } => Row::UnreadableGrant { grant: id, unreadable },
    }
}
