//! The one place where refusals and faults become answers: RFC 9457 problems with a stable code.
//!
//! The matches have no wildcard: a new reason does not compile until somebody chooses its answer.

use std::borrow::Cow;

use serde::Serialize;

use crate::{
    model::Side,
    policy::{Denial, Detail, Reason},
};

/// An answer to somebody who does not get what they asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The status.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// What is wrong and what to do about it.
    pub detail: String,
    /// More, as far as the caller may know.
    pub more: Option<&'static str>,
    /// The consent level that would do.
    pub level: Option<String>,
    /// The challenge of a 401.
    pub challenge: Option<Cow<'static, str>>,
    /// In how many seconds to come again.
    pub after: Option<u64>,
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level_that_would_do: Option<&'a str>,
}

impl Told {
    /// An answer with this status, code and text.
    pub fn plain(status: u16, code: &str, detail: impl Into<String>) -> Told {
        Told {
            status,
            code: code.to_owned(),
            detail: detail.into(),
            more: None,
            level: None,
            challenge: None,
            after: None,
        }
    }

    /// Too many requests; this many seconds on there is room again.
    pub fn too_many(whose: &str, after: u64) -> Told {
        let detail = format!("too many requests of {whose}; come again in {after} s");
        Told { after: Some(after), ..Told::plain(429, "too_many_requests", detail) }
    }

    /// As `application/problem+json`.
    pub fn json(&self) -> Vec<u8> {
        let problem = Problem {
            r#type: format!("urn:postern:problem:{}", self.code),
            title: http::StatusCode::from_u16(self.status)
                .ok()
                .and_then(|status| status.canonical_reason())
                .unwrap_or("Error"),
            status: self.status,
            code: &self.code,
            detail: &self.detail,
            fault: self.more,
            level_that_would_do: self.level.as_deref(),
        };
        serde_json::to_vec(&problem).unwrap_or_default()
    }

    /// What a denial is answered with.
    pub fn denial(denial: &Denial) -> Told {
        let (status, detail) = words(denial.reason);
        let mut told = Told::plain(status, denial.reason.code(), detail);
        match &denial.detail {
            Detail::None => {}
            Detail::Token(code) => told.more = Some(code),
            Detail::At(at) => told.detail = format!("{detail} (at {at})"),
            Detail::LevelWouldDo(level) => {
                told.detail =
                    format!("{detail}; consent level `{level}` would do, or a grant: ask the tenant");
                told.level = Some(level.to_string());
            }
            Detail::StepUp(_) | Detail::GivenBy(_) => {}
            Detail::LiftedBy(Side::Tenant) => {
                told.detail = format!("{detail}; an administrator of the tenant can lift it");
            }
            Detail::LiftedBy(Side::Operators) => {
                told.detail = format!("{detail}; an operator of the vendor can lift it");
            }
            Detail::GrantWouldDo => told.detail = format!("{detail}; a grant would do: ask the tenant"),
        }
        if status == 401 {
            told.challenge = Some(match (&denial.detail, denial.reason) {
                (Detail::StepUp(wanted), _) => Cow::Owned(step_up(wanted)),
                (_, Reason::TokenInvalid) => "Bearer realm=\"postern\", error=\"invalid_token\"".into(),
                (_, _) => "Bearer realm=\"postern\"".into(),
            });
        }
        told
    }
}

/// RFC 9470: which sign-in would do.
fn step_up(wanted: &str) -> String {
    format!("Bearer realm=\"postern\", error=\"insufficient_user_authentication\"{wanted}")
}

/// Status and words of each reason. A reason that opens is never told.
fn words(reason: Reason) -> (u16, &'static str) {
    match reason {
        Reason::PublicRoute
        | Reason::MemberRole
        | Reason::MemberUnmapped
        | Reason::SessionByConsent
        | Reason::SessionByGrant
        | Reason::SessionByActAs
        | Reason::SessionByBreakGlass
        | Reason::EmergencyToken => (500, "the gateway took a yes for a no"),
        Reason::TokenMissing => (401, "send a bearer token in `Authorization`"),
        Reason::TokenInvalid => (401, "the token was refused; get a new one"),
        Reason::KeysUnavailable => {
            (503, "the keys of the token's issuer cannot be had right now; try again in a moment")
        }
        Reason::RouteUnmapped => (403, "this route is not in the gateway's map"),
        Reason::RouteTwin => (
            403,
            "this path differs from a mapped one in case or its last slash only; spell it as the map does",
        ),
        Reason::MethodUnmapped => (403, "this route is not in the gateway's map with this method"),
        Reason::TenantMissing => (400, "the request names no tenant"),
        Reason::TenantUnclear => (400, "the request names its tenant in no one way"),
        Reason::TenantForeign => (403, "there is nothing for you in this tenant"),
        Reason::EnvironmentUnknown => (403, "there is no such environment"),
        Reason::RouteElsewhere => (403, "this route does not exist in this environment"),
        Reason::RouteNotInPlan => (403, "this tenant's plan does not have this"),
        Reason::PermissionMissing => (403, "your role does not allow this"),
        Reason::Acting => {
            (403, "support work takes a token of your own, not one by which somebody acts as you")
        }
        Reason::ServiceNotHere => (403, "a service's token opens no route of the application"),
        Reason::NetworkRefused => (403, "support does not work from this network"),
        Reason::AcrInsufficient => (401, "sign in again, in a stronger way"),
        Reason::AmrInsufficient => (401, "sign in again, with the methods that support work takes"),
        Reason::AuthTooOld => (401, "sign in again: the last time is too long ago for support work"),
        Reason::TicketMissing => (403, "support work takes a ticket, and none is named"),
        Reason::TicketMalformed => (403, "the ticket that is named does not look like one"),
        Reason::Ceiling => (403, "this is closed to support, whatever a tenant consents to"),
        Reason::SessionUnclear => (400, "`Postern-Session` must come once, as one session id"),
        Reason::SessionMissing => (403, "you have no active support session here; start one"),
        Reason::SessionAmbiguous => {
            (409, "several of your sessions are active here; name one in `Postern-Session`")
        }
        Reason::SessionEnded => (403, "this support session was ended"),
        Reason::BreakGlassWithdrawn => (403, "the gateway's operator no longer lets you in by break-glass"),
        Reason::EmergencyNotOperator => {
            (403, "an emergency token counts only with the token of an operator who may break the glass")
        }
        Reason::EmergencyNotConfigured => (403, "this gateway takes no emergency tokens"),
        Reason::EmergencyAndSession => {
            (400, "send `Postern-Session` or `Postern-Emergency`; they do not go together")
        }
        Reason::EmergencyUnclear => (400, "`Postern-Emergency` must come once, as one token"),
        Reason::EmergencyInvalid => (403, "the emergency token was refused; have another one signed"),
        Reason::EmergencyOfAnother => (403, "this emergency token was made for another operator"),
        Reason::EmergencyOtherTenant => (403, "this emergency token is for another tenant"),
        Reason::EmergencyOtherEnvironment => (403, "this emergency token is for another environment"),
        Reason::EmergencyUndeclared => {
            (403, "the emergency token names a cause or an incident that the gateway does not take")
        }
        Reason::EmergencyRevoked => (403, "this emergency token was taken back"),
        Reason::EmergencyOver => (403, "this emergency token is over; have another one signed"),
        Reason::EmergencyTooOften => (429, "you tried to break the glass too often within an hour"),
        Reason::Stopped => (403, "support access is stopped by a kill switch"),
        Reason::SessionStopped => (403, "a kill switch ended this support session; start another one"),
        Reason::SessionExpired => (403, "this support session is over; start another one"),
        Reason::ExchangeTooLong => (403, "this exchange has run as long as one may; begin another one"),
        Reason::MemberUnknown => (403, "you are not known as a member of this tenant"),
        Reason::MemberSuspended => (403, "your membership of this tenant is suspended"),
        Reason::GrantorGone => {
            (403, "whoever gave the grant behind this session is no member there any more")
        }
        Reason::GrantorUnknown => (
            403,
            "whoever gave the grant behind this session was not seen for too long; they have to sign in",
        ),
        Reason::GrantorLacks => (403, "whoever gave the grant behind this session cannot do this any more"),
        Reason::TenantRemoved => (403, "this tenant was removed"),
        Reason::EnvironmentRemoved => (403, "this environment was taken away; begin anew where it is back"),
        Reason::SessionElsewhere => (403, "this support session is for another environment"),
        Reason::ConsentWithdrawn => (403, "the tenant's consent no longer admits support"),
        Reason::ConsentLowered => (403, "the tenant's consent no longer reaches this far"),
        Reason::GrantWithdrawn => (403, "the grant behind this session was withdrawn"),
        Reason::GrantExpired => (403, "the grant behind this session has expired"),
        Reason::GrantMissing => (403, "there is no grant for you behind this session"),
        Reason::SelfGranted => (
            403,
            "you gave this access yourself, as a person of the tenant; somebody else there must give it",
        ),
        Reason::PlanCloses => (403, "this tenant's plan gives no support access"),
        Reason::EnvironmentCloses => (403, "this environment can no longer be granted; the grant is over"),
        Reason::GrantingOff => {
            (403, "the tenant no longer lets whoever gave the grant behind this session give one")
        }
        Reason::GrantScope => (403, "the grant behind this session does not cover this"),
        Reason::RoleUnknown => (403, "the role of this session no longer exists"),
        Reason::StateUnavailable => (503, "the gateway cannot read its state; try again"),
        Reason::StateStale => {
            (503, "the gateway has not heard from its store for too long to let support in; try again")
        }
        Reason::StateSuspect => (503, "the store has lost something and is being healed; try again"),
        Reason::RecordUnavailable => (503, "the gateway cannot record what happens; try again"),
        Reason::ConfigurationReplaced => {
            (403, "the gateway has another configuration by now, under which this cannot go on; ask again")
        }
        Reason::GatewayNameTaken => {
            (503, "another process goes by this gateway's name; its operator must give it another")
        }
        Reason::ClockBehind => {
            (503, "the gateway's clock is behind its own record; its operator must set it right")
        }
    }
}
