//! Which resource a path names, and what can be done there.
//!
//! Never here: whether the caller may, or whether it exists.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Method;

use crate::model::{
    GrantId, IdFault, IssuerName, OrganisationName, RequestId, ResourceId, ResourceRef, ResourceType,
    RoleName, SessionId, SubjectRef, TenantId,
};

use super::problem::Problem;

/// A resource of the support API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// `/v1/openapi.json`
    Document,
    /// `/v1/me`
    Me,
    /// `/v1/sessions`
    OwnSessions,
    /// `/v1/stops`
    Stops,
    /// `/v1/tenants/{t}/stop`
    Stop(TenantId),
    /// `/v1/tenants/{t}/break-glass`
    BreakGlass(TenantId),
    /// `/v1/tenants`
    Tenants,
    /// `/v1/tenants/{t}`
    Tenant(TenantId),
    /// `/v1/tenants/{t}/roles`
    Roles(TenantId),
    /// `/v1/tenants/{t}/roles/{name}`
    Role(TenantId, RoleName),
    /// `/v1/tenants/{t}/audit/stream`
    Follow(TenantId),
    /// `/v1/tenants/{t}/members`
    Members(TenantId),
    /// `/v1/tenants/{t}/members/{id}`
    Member(TenantId, SubjectRef),
    /// `/v1/tenants/{t}/resources/{type}`
    Resources(TenantId, ResourceType),
    /// `/v1/tenants/{t}/resources/{type}/{id}`
    Resource(TenantId, ResourceRef),
    /// `/v1/tenants/{t}/resources/{type}/{id}/members`
    AllJoined(TenantId, ResourceRef),
    /// `/v1/tenants/{t}/resources/{type}/{id}/members/{member}`
    Joined(TenantId, ResourceRef, SubjectRef),
    /// `/v1/tenants/{t}/consent`
    Consent(TenantId),
    /// `/v1/tenants/{t}/grants`
    Grants(TenantId),
    /// `/v1/tenants/{t}/grants/{id}`
    Grant(TenantId, GrantId),
    /// `/v1/tenants/{t}/sessions`
    Sessions(TenantId),
    /// `/v1/tenants/{t}/sessions/{id}`
    Session(TenantId, SessionId),
    /// `/v1/tenants/{t}/login-access`
    LoginAccess(TenantId),
    /// `/v1/tenants/{t}/login-access/{organisation}`
    LoginAccessTo(TenantId, OrganisationName),
    /// `/v1/tenants/{t}/support-users`
    SupportUsers(TenantId),
    /// `/v1/tenants/{t}/support-profile`
    SupportProfile(TenantId),
    /// `/v1/tenants/{t}/bars`
    Bars(TenantId),
    /// `/v1/tenants/{t}/bars/{id}`
    Bar(TenantId, SubjectRef),
    /// `/v1/tenants/{t}/approval`
    Approval(TenantId),
    /// `/v1/tenants/{t}/requests`
    Requests(TenantId),
    /// `/v1/tenants/{t}/requests/{id}`
    Request(TenantId, RequestId),
    /// `/v1/tenants/{t}/rights`
    Rights(TenantId),
    /// `/v1/tenants/{t}/audit`
    Audit(TenantId),
}

/// What is to be done there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// `GET` and `HEAD`.
    Read,
    /// `PUT`
    Put,
    /// `POST`
    Post,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
}

impl Place {
    /// The resource that a path names. Identifiers must stand there in their canonical form; nothing is decoded.
    pub(super) fn of(path: &str) -> Result<Place, Problem> {
        let mut parts = path.split('/');
        if (parts.next(), parts.next()) != (Some(""), Some("v1")) {
            return Err(unknown());
        }
        let rest: Vec<&str> = parts.take(8).collect();
        match rest.as_slice() {
            ["openapi.json"] => Ok(Place::Document),
            ["me"] => Ok(Place::Me),
            ["sessions"] => Ok(Place::OwnSessions),
            ["stops"] => Ok(Place::Stops),
            ["tenants", tenant, "break-glass"] => Ok(Place::BreakGlass(id(TenantId::new(tenant))?)),
            ["tenants", tenant, "stop"] => Ok(Place::Stop(id(TenantId::new(tenant))?)),
            ["tenants"] => Ok(Place::Tenants),
            ["tenants", tenant] => Ok(Place::Tenant(id(TenantId::new(tenant))?)),
            ["tenants", tenant, "roles"] => Ok(Place::Roles(id(TenantId::new(tenant))?)),
            ["tenants", tenant, "roles", role] => {
                Ok(Place::Role(id(TenantId::new(tenant))?, id(RoleName::new(role))?))
            }
            ["tenants", tenant, "audit", "stream"] => Ok(Place::Follow(id(TenantId::new(tenant))?)),
            ["tenants", tenant, "members"] => Ok(Place::Members(id(TenantId::new(tenant))?)),
            ["tenants", tenant, "members", member] => {
                Ok(Place::Member(id(TenantId::new(tenant))?, person(member)?))
            }
            ["tenants", tenant, "support-users"] => Ok(Place::SupportUsers(id(TenantId::new(tenant))?)),
            ["tenants", tenant, "support-profile"] => Ok(Place::SupportProfile(id(TenantId::new(tenant))?)),
            ["tenants", tenant, "bars"] => Ok(Place::Bars(id(TenantId::new(tenant))?)),
            ["tenants", tenant, "bars", barred] => {
                Ok(Place::Bar(id(TenantId::new(tenant))?, person(barred)?))
            }
            ["tenants", tenant, "resources", kind] => {
                Ok(Place::Resources(id(TenantId::new(tenant))?, id(ResourceType::new(kind))?))
            }
            ["tenants", tenant, "resources", kind, name] => {
                Ok(Place::Resource(id(TenantId::new(tenant))?, resource(kind, name)?))
            }
            ["tenants", tenant, "resources", kind, name, "members"] => {
                Ok(Place::AllJoined(id(TenantId::new(tenant))?, resource(kind, name)?))
            }
            ["tenants", tenant, "resources", kind, name, "members", member] => {
                Ok(Place::Joined(id(TenantId::new(tenant))?, resource(kind, name)?, person(member)?))
            }
            ["tenants", tenant, "consent"] => Ok(Place::Consent(id(TenantId::new(tenant))?)),
            ["tenants", tenant, "rights"] => Ok(Place::Rights(id(TenantId::new(tenant))?)),
            ["tenants", tenant, "audit"] => Ok(Place::Audit(id(TenantId::new(tenant))?)),
            ["tenants", tenant, "grants"] => Ok(Place::Grants(id(TenantId::new(tenant))?)),
            ["tenants", tenant, "grants", grant] => {
                Ok(Place::Grant(id(TenantId::new(tenant))?, id(GrantId::new(grant))?))
            }
            ["tenants", tenant, "login-access"] => Ok(Place::LoginAccess(id(TenantId::new(tenant))?)),
            ["tenants", tenant, "login-access", organisation] => {
                let organisation = id(OrganisationName::new(organisation))?;
                Ok(Place::LoginAccessTo(id(TenantId::new(tenant))?, organisation))
            }
            ["tenants", tenant, "approval"] => Ok(Place::Approval(id(TenantId::new(tenant))?)),
            ["tenants", tenant, "requests"] => Ok(Place::Requests(id(TenantId::new(tenant))?)),
            ["tenants", tenant, "requests", request] => {
                Ok(Place::Request(id(TenantId::new(tenant))?, id(RequestId::new(request))?))
            }
            ["tenants", tenant, "sessions"] => Ok(Place::Sessions(id(TenantId::new(tenant))?)),
            ["tenants", tenant, "sessions", session] => {
                Ok(Place::Session(id(TenantId::new(tenant))?, id(SessionId::new(session))?))
            }
            _ => Err(unknown()),
        }
    }

    /// The tenant that it lies in.
    pub(super) fn tenant(&self) -> Option<&TenantId> {
        match self {
            Place::Document | Place::Me | Place::OwnSessions | Place::Tenants | Place::Stops => None,
            Place::Tenant(tenant)
            | Place::Roles(tenant)
            | Place::Role(tenant, _)
            | Place::Follow(tenant)
            | Place::Members(tenant)
            | Place::Member(tenant, _)
            | Place::Resources(tenant, _)
            | Place::Resource(tenant, _)
            | Place::AllJoined(tenant, _)
            | Place::Joined(tenant, ..)
            | Place::Consent(tenant)
            | Place::Stop(tenant)
            | Place::BreakGlass(tenant)
            | Place::Grants(tenant)
            | Place::Grant(tenant, _)
            | Place::SupportUsers(tenant)
            | Place::SupportProfile(tenant)
            | Place::Bars(tenant)
            | Place::Bar(tenant, _)
            | Place::Sessions(tenant)
            | Place::Session(tenant, _)
            | Place::LoginAccess(tenant)
            | Place::LoginAccessTo(tenant, _)
            | Place::Approval(tenant)
            | Place::Requests(tenant)
            | Place::Request(tenant, _)
            | Place::Rights(tenant)
            | Place::Audit(tenant) => Some(tenant),
        }
    }

    /// What a method means here.
    pub(super) fn verb(&self, method: &Method) -> Result<Verb, Problem> {
        let (verbs, allow): (&[Verb], _) = match self {
            Place::Document
            | Place::Me
            | Place::OwnSessions
            | Place::Tenants
            | Place::Members(_)
            | Place::AllJoined(..)
            | Place::Resources(..)
            | Place::SupportUsers(_)
            | Place::Bars(_)
            | Place::Roles(_)
            | Place::Follow(_)
            | Place::LoginAccess(_)
            | Place::Rights(_)
            | Place::Audit(_) => (&[Verb::Read], "GET, HEAD"),
            Place::Tenant(_)
            | Place::Member(..)
            | Place::Role(..)
            | Place::Resource(..)
            | Place::Joined(..) => (&[Verb::Read, Verb::Put, Verb::Delete], "GET, HEAD, PUT, DELETE"),
            Place::LoginAccessTo(..) => (&[Verb::Put, Verb::Delete], "PUT, DELETE"),
            Place::BreakGlass(_) => (&[Verb::Post], "POST"),
            Place::Bar(..) => (&[Verb::Delete], "DELETE"),
            Place::Consent(_)
            | Place::Approval(_)
            | Place::SupportProfile(_)
            | Place::Stops
            | Place::Stop(_) => (&[Verb::Read, Verb::Put], "GET, HEAD, PUT"),
            Place::Grants(_) | Place::Sessions(_) | Place::Requests(_) => {
                (&[Verb::Read, Verb::Post], "GET, HEAD, POST")
            }
            Place::Grant(..) | Place::Request(..) => {
                (&[Verb::Read, Verb::Patch, Verb::Delete], "GET, HEAD, PATCH, DELETE")
            }
            Place::Session(..) => (&[Verb::Read, Verb::Delete], "GET, HEAD, DELETE"),
        };
        let verb = match method.as_str() {
            "GET" | "HEAD" => Some(Verb::Read),
            "PUT" => Some(Verb::Put),
            "POST" => Some(Verb::Post),
            "PATCH" => Some(Verb::Patch),
            "DELETE" => Some(Verb::Delete),
            _ => None,
        };
        verb.filter(|verb| verbs.contains(verb)).ok_or_else(|| {
            let problem =
                Problem::new(405, "method_not_allowed", format!("this resource takes {allow} only"));
            Problem { allow: Some(allow), ..problem }
        })
    }
}

fn resource(kind: &str, name: &str) -> Result<ResourceRef, Problem> {
    Ok(ResourceRef { kind: id(ResourceType::new(kind))?, id: id(ResourceId::new(name))? })
}

/// The one spelling of a person in a path: nothing that it holds needs an escape.
pub(super) fn member_id(member: &SubjectRef) -> String {
    format!("{}.{}", member.issuer, URL_SAFE_NO_PAD.encode(member.sub.as_bytes()))
}

fn person(text: &str) -> Result<SubjectRef, Problem> {
    member_named(text).ok_or_else(|| {
        let detail = "a person is `issuer.` and the `sub` in base64url without padding";
        Problem::new(400, "id_malformed", detail)
    })
}

fn member_named(text: &str) -> Option<SubjectRef> {
    let (issuer, sub) = text.split_once('.')?;
    let sub = String::from_utf8(URL_SAFE_NO_PAD.decode(sub).ok()?).ok()?;
    let fits = (1..=255).contains(&sub.len()) && sub.bytes().all(|b| b.is_ascii_graphic());
    let member = SubjectRef { issuer: IssuerName::new(issuer).ok()?, sub: sub.into() };
    (fits && member_id(&member) == text).then_some(member)
}

fn id<T>(read: Result<T, IdFault>) -> Result<T, Problem> {
    read.map_err(|fault| {
        Problem::new(
            400,
            "id_malformed",
            format!("an identifier in the path {fault}; it is never percent-encoded"),
        )
    })
}

fn unknown() -> Problem {
    Problem::new(404, "path_unknown", "the support API has no such resource; see docs/support-api.md")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_as_they_stand() {
        assert_eq!(Place::of("/v1/me"), Ok(Place::Me));
        let tenant = TenantId::new("acme").unwrap();
        assert_eq!(Place::of("/v1/tenants/acme/consent"), Ok(Place::Consent(tenant)));
        for path in [
            "",
            "/",
            "v1/me",
            "/v1",
            "/v1/",
            "/v1/me/",
            "/v2/me",
            "/v1//me",
            "/V1/me",
            "/v1/tenants/acme/",
            "/v1/tenants/acme/tenants",
            "/v1/tenants/acme/consent/",
            "/v1/tenants/acme/consent/x",
            "/v1/tenants/acme/grants/g/h",
            "/v1/tenants/acme/grants/g/h/i/j/k",
            "/v1/tenants/acme/rights;x",
        ] {
            assert_eq!(Place::of(path).unwrap_err().code, "path_unknown", "{path}");
        }
        for path in [
            "/v1/tenants/",
            "/v1/tenants//consent",
            "/v1/tenants/a%63me/consent",
            "/v1/tenants/../consent",
            "/v1/tenants/acme/grants/",
            "/v1/tenants/acme/sessions/a%2fb",
            "/v1/tenants/é/rights",
            "/v1/tenants/acme/members/anna",
            "/v1/tenants/acme/members/app.",
            "/v1/tenants/acme/members/app.YW5uYQ==",
            "/v1/tenants/acme/members/app.YW5uYR",
            "/v1/tenants/acme/members/App.YW5uYQ",
            "/v1/tenants/acme/members/app.w6k",
        ] {
            assert_eq!(Place::of(path).unwrap_err().code, "id_malformed", "{path}");
        }
    }
}
