//! One call of the support API, read strictly: query, preconditions, body. What can be read in two ways, or says more
//! than is understood, is refused.
//!
//! Never here: what the fields mean ([`super::form`]), whether the caller may.

use std::{net::IpAddr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    engine::{Giver, knock::address_of, new_id},
    identity::{
        VerifiedSubject,
        json::{JsonFault, Object},
    },
    lifecycle::{MEMBERSHIP, Refusal},
    model::{IdFault, RoleName, SubjectKind, TenantId, Timestamp, Version},
    policy::{
        Around, Conditions, Named, PermissionId, PermissionSet, Policy, Push, SUPPORT_MANAGE, SUPPORT_READ,
        standing::Fallen,
    },
};

use super::problem::Problem;

/// Rows that a page has where nothing else is said.
const PAGE: usize = 50;
/// Rows that a page has at most.
const PAGE_MOST: usize = 200;
/// How deep a body may nest.
const DEPTH: u8 = 8;

/// One call by a verified caller.
pub(super) struct Call<'a> {
    pub(super) subject: &'a Arc<VerifiedSubject>,
    pub(super) client: IpAddr,
    pub(super) policy: Arc<Policy>,
    pub(super) now: Timestamp,
    /// Below the prefix, `/v1/…`.
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Bytes,
    /// Of a member whose roles stand in a row: these.
    pub(super) row: Option<Vec<RoleName>>,
    /// What a member's roles hold as their tenant has it.
    pub(super) told: Told,
}

/// What the roles of a member hold, where that is for their tenant to say.
pub(super) enum Told {
    /// Their roles are the same in every tenant.
    Nothing,
    /// All of this.
    Rights(PermissionSet),
    /// It cannot be read right now: what is the same in every tenant counts, and nothing else is denied for good.
    Unknown,
}

impl Call<'_> {
    /// An id of something new.
    pub(super) fn fresh<T>(&self, prefix: &str, make: fn(&str) -> Result<T, IdFault>) -> Result<T, Problem> {
        let id = new_id(prefix, self.now).ok().and_then(|id| make(&id).ok());
        id.ok_or_else(|| {
            let detail = "the operating system gave no random bytes for a new id; try again";
            Problem::new(500, "no_random", detail)
        })
    }

    /// Who gives a command.
    pub(super) fn giver(&self) -> Giver {
        Giver::Subject(Arc::clone(self.subject), self.client.to_string())
    }

    pub(super) fn is_staff(&self) -> bool {
        self.subject.kind == SubjectKind::Staff
    }

    /// What the configuration demands of staff and this call does not meet, if anything.
    pub(super) fn unmet(&self) -> Option<Fallen> {
        self.unmet_of(&self.policy.conditions)
    }

    /// What these conditions demand and this call does not meet, if anything.
    pub(super) fn unmet_of(&self, conditions: &Conditions) -> Option<Fallen> {
        let mut named = conditions.ticket_header().map(|name| self.headers.get_all(name).iter());
        let mut next = || named.as_mut().and_then(Iterator::next);
        let ticket = match (next(), next()) {
            (None, _) => Named::Missing,
            (Some(ticket), None) => ticket.to_str().map_or(Named::Unclear, Named::As),
            (Some(_), Some(_)) => Named::Unclear,
        };
        let around = Around { client: Some(address_of(self.client)), ticket, asked: None };
        conditions.unmet(self.subject, &around, self.now)
    }

    /// Whether the caller may see how support access stands in that tenant. Nothing is looked up.
    pub(super) fn sees(&self, tenant: &TenantId) -> bool {
        let may = |permission| self.administers(tenant, permission);
        may(SUPPORT_READ) || may(SUPPORT_MANAGE)
    }

    /// Refuses whoever may not see it, with one answer whatever is there (law 11).
    pub(super) fn must_see(&self, tenant: &TenantId) -> Result<(), Problem> {
        self.must(self.sees(tenant), SUPPORT_READ)
    }

    /// Refuses whoever may not change it, before anything that they sent is read.
    pub(super) fn must_manage(&self, tenant: &TenantId) -> Result<(), Problem> {
        self.must(self.administers(tenant, SUPPORT_MANAGE), SUPPORT_MANAGE)
    }

    /// Whether the caller administers support access in that tenant. The rules ask again where something changes.
    fn administers(&self, tenant: &TenantId, permission: &str) -> bool {
        self.subject.kind == SubjectKind::Member
            && !self.subject.acting
            && self.subject.tenant.as_ref() == Some(tenant)
            && self.policy.catalogue.id(permission).is_some_and(|id| self.can(id))
    }

    /// The roles that a member holds.
    pub(super) fn roles(&self) -> &[RoleName] {
        self.row.as_deref().unwrap_or(&self.subject.roles)
    }

    /// What a member's roles allow.
    pub(super) fn can(&self, permission: PermissionId) -> bool {
        match &self.told {
            Told::Rights(rights) => rights.contains(permission),
            Told::Nothing | Told::Unknown => self.policy.roles_can(self.roles(), permission),
        }
    }

    fn must(&self, may: bool, needed: &'static str) -> Result<(), Problem> {
        match may {
            true => Ok(()),
            false => Err(self.refusal(Refusal::NotAllowed { needed })),
        }
    }

    /// Refuses whoever may not say what roles hold in that tenant.
    pub(super) fn must_manage_roles(&self, tenant: &TenantId) -> Result<(), Problem> {
        if self.manages_roles(tenant) {
            return Ok(());
        }
        let needed = self.policy.tenant_roles.permission();
        let needed = self.policy.catalogue.id(needed).and_then(|id| self.policy.catalogue.name(id));
        Err(self.refusal(match needed {
            Some(needed) => Refusal::RolesNotYours { needed: needed.clone() },
            None => Refusal::NotAllowed { needed: SUPPORT_MANAGE },
        }))
    }

    /// Whether the caller says what roles hold in that tenant.
    pub(super) fn manages_roles(&self, tenant: &TenantId) -> bool {
        self.administers(tenant, self.policy.tenant_roles.permission())
    }

    /// Why somebody may not, as far as it is known.
    fn refusal(&self, refusal: Refusal) -> Problem {
        match self.told {
            _ if self.subject.acting => Refusal::Acting.into(),
            Told::Unknown => Refusal::Unavailable.into(),
            Told::Nothing | Told::Rights(_) => refusal.into(),
        }
    }

    /// Refuses everybody but a person of that tenant in a token of their own.
    pub(super) fn must_be_member(&self, tenant: &TenantId) -> Result<(), Problem> {
        let member = self.subject.kind == SubjectKind::Member
            && !self.subject.acting
            && self.subject.tenant.as_ref() == Some(tenant);
        self.must(member, MEMBERSHIP)
    }

    /// Whether the caller is a service that may push that in that tenant. Nothing is looked up.
    pub(super) fn may_push(&self, push: Push, tenant: &TenantId) -> bool {
        self.policy.callers.may(self.subject, push, tenant)
    }

    /// Refuses whoever may not push that in that tenant.
    pub(super) fn must_push(&self, push: Push, tenant: &TenantId) -> Result<(), Problem> {
        self.must(self.may_push(push, tenant), push.code())
    }

    /// Refuses whoever may push that nowhere.
    pub(super) fn must_be_pusher(&self, push: Push) -> Result<(), Problem> {
        self.must(self.policy.callers.pushes(self.subject, push), push.code())
    }

    /// Refuses everybody but the vendor's staff.
    pub(super) fn must_be_staff(&self) -> Result<(), Problem> {
        if self.is_staff() { Ok(()) } else { Err(Refusal::NotStaff.into()) }
    }

    /// The parameters of the query, all of which must be among these.
    pub(super) fn query(&self, known: &[&'static str]) -> Result<Query<'_>, Problem> {
        Query::read(self.query.unwrap_or_default(), known)
    }

    /// Refuses a body where none belongs.
    pub(super) fn without_body(&self) -> Result<(), Problem> {
        if self.body.is_empty() { Ok(()) } else { Err(Problem::body("", "this takes no body")) }
    }

    /// The body: one JSON object, no member twice.
    pub(super) fn object(&self) -> Result<Object, Problem> {
        self.must_be_json()?;
        Object::read(self.body, DEPTH).map_err(|fault| {
            Problem::body(
                "",
                match fault {
                    JsonFault::Syntax => "the body must be one JSON object",
                    JsonFault::Duplicate => "a member stands twice in one object",
                    JsonFault::TooDeep => "the body nests too deep",
                },
            )
        })
    }

    fn must_be_json(&self) -> Result<(), Problem> {
        let json = |value: &str| {
            let (kind, parameter) = value.split_once(';').unwrap_or((value, ""));
            kind.trim().eq_ignore_ascii_case("application/json")
                && matches!(parameter.trim().to_ascii_lowercase().as_str(), "" | "charset=utf-8")
        };
        let plain = !self.headers.contains_key(header::CONTENT_ENCODING);
        match one(self.headers, &header::CONTENT_TYPE) {
            Some(Some(value)) if plain && json(value) => Ok(()),
            Some(_) | None => Err(Problem::new(
                415,
                "content_type",
                "send the body as `Content-Type: application/json`, without a content coding",
            )),
        }
    }

    /// The version that the caller saw, by `If-Match`. `None`: any will do.
    pub(super) fn expected(&self) -> Result<Option<Version>, Problem> {
        self.without(&header::IF_NONE_MATCH)?;
        match one(self.headers, &header::IF_MATCH) {
            None => Ok(None),
            Some(Some(value)) => version_named(value.trim()),
            Some(None) => Err(if_match_malformed()),
        }
    }

    /// Refuses preconditions where there is nothing to compare, rather than passing over them.
    pub(super) fn without_conditions(&self) -> Result<(), Problem> {
        self.without(&header::IF_MATCH)?;
        self.without(&header::IF_NONE_MATCH)
    }

    fn without(&self, name: &HeaderName) -> Result<(), Problem> {
        if self.headers.contains_key(name) {
            let detail = format!("`{name}` cannot be honoured here; leave it out");
            let problem = Problem::new(400, "precondition_unsupported", detail);
            Err(Problem { field: Some(Box::from(name.as_str())), ..problem })
        } else {
            Ok(())
        }
    }
}

/// The value of a header that must come once: `None` when it is not there, `Some(None)` when it is not one text.
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    Some(if values.next().is_some() { None } else { first.to_str().ok() })
}

fn if_match_malformed() -> Problem {
    let detail = "`If-Match` must come once, as one ETag in quotes as it was answered, or as `*`";
    Problem { field: Some("if-match".into()), ..Problem::new(400, "if_match_malformed", detail) }
}

fn version_named(value: &str) -> Result<Option<Version>, Problem> {
    if value == "*" {
        return Ok(None);
    }
    let (weak, quoted) = match value.strip_prefix("W/") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let inside = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let inside = inside.filter(|tag| tag.bytes().all(|b| b == b'!' || (b'#'..=b'~').contains(&b)));
    let inside = inside.ok_or_else(if_match_malformed)?;
    let version = || {
        let (epoch, number) = inside.split_once('.')?;
        let version = Version { epoch: epoch.parse().ok()?, number: number.parse().ok()? };
        // Only as it was written: `"00.1"` is another tag.
        (version.to_string() == inside).then_some(version)
    };
    // A weak tag, or one that was never given out, matches nothing.
    match version().filter(|_| !weak) {
        Some(version) => Ok(Some(version)),
        None => Err(Refusal::Changed.into()),
    }
}

/// The parameters of a query. No value here needs an escape, so none is taken.
#[derive(Debug, Default)]
pub(super) struct Query<'a> {
    given: Vec<(&'static str, &'a str)>,
}

impl<'a> Query<'a> {
    fn read(text: &'a str, known: &[&'static str]) -> Result<Query<'a>, Problem> {
        let mut query = Query::default();
        for part in text.split('&').filter(|_| !text.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let shown: String = name.chars().take(40).collect();
            let Some(name) = known.iter().find(|known| **known == name) else {
                return Err(Problem::query(&shown, "there is no such parameter here"));
            };
            if query.get(name).is_some() {
                return Err(Problem::query(name, "it stands twice"));
            }
            if value.is_empty() || value.contains(['%', '+', '=']) {
                return Err(Problem::query(name, "give it a value as it was answered, without escapes"));
            }
            query.given.push((name, value));
        }
        Ok(query)
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.given.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// One that must be there, read by `read`.
    pub(super) fn must<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Problem> {
        let value = self.get(name).ok_or_else(|| Problem::query(name, "it must be given"))?;
        read(value).ok_or_else(|| Problem::query(name, "it has not the form that it must have"))
    }

    /// One that may be there.
    pub(super) fn maybe<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        if self.get(name).is_some() { self.must(name, read).map(Some) } else { Ok(None) }
    }

    /// How many rows are wanted.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        let read = |text: &str| {
            let limit = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())??;
            (1..=PAGE_MOST).contains(&limit).then_some(limit)
        };
        match self.get("limit").map(read) {
            None => Ok(PAGE),
            Some(Some(limit)) => Ok(limit),
            Some(None) => Err(Problem::query("limit", format!("it is a number from 1 to {PAGE_MOST}"))),
        }
    }

    /// Where a listing goes on.
    pub(super) fn after<T: DeserializeOwned>(&self) -> Result<Option<T>, Problem> {
        self.maybe("after", place)
    }
}

/// What [`cursor`] wrote.
pub(super) fn place<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// A place in a listing, as a text that only this API reads.
pub(super) fn cursor(place: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(place).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_takes_what_was_given_out_and_nothing_like_it() {
        let version = Version { epoch: 0, number: 12 };
        assert_eq!(version_named("\"0.12\""), Ok(Some(version)));
        assert_eq!(version_named("*"), Ok(None));
        for other in ["W/\"0.12\"", "\"00.12\"", "\"0.+12\"", "\"\"", "\"abc\"", "\"0.99999999999999999999\""]
        {
            assert_eq!(version_named(other).unwrap_err().code, "changed", "{other}");
        }
        for bad in ["", "0.12", "\"", "\"0.12", "0.12\"", "\"0.12\", \"0.13\"", "\"a b\"", "w/\"0.12\"", "**"]
        {
            assert_eq!(version_named(bad).unwrap_err().code, "if_match_malformed", "{bad}");
        }
    }

    #[test]
    fn a_query_says_each_thing_once_and_nothing_unknown() {
        let known = &["after", "limit"];
        assert_eq!(Query::read("limit=5", known).unwrap().limit().unwrap(), 5);
        assert_eq!(Query::read("", known).unwrap().limit().unwrap(), PAGE);
        for bad in
            ["limit=5&limit=5", "x=1", "limit", "limit=", "&", "limit=5&", "limit=%35", "Limit=5", "after==="]
        {
            assert_eq!(Query::read(bad, known).unwrap_err().code, "query_malformed", "{bad}");
        }
        for bad in ["0", "201", "-1", "99999999999999999999999", "5x", "0x5"] {
            assert!(Query::read(&format!("limit={bad}"), known).unwrap().limit().is_err(), "{bad}");
        }
        let place = cursor(&TenantId::new("acme").unwrap());
        let query = format!("after={place}");
        let query = Query::read(&query, known).unwrap();
        assert_eq!(query.after::<TenantId>().unwrap().unwrap().as_str(), "acme");
        assert!(query.after::<u64>().is_err());
    }
}
