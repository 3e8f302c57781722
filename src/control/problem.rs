//! The one place where a refusal of the support API becomes an answer: RFC 9457 problems with a stable code.
//!
//! The matches have no wildcard: a new refusal does not compile until somebody chooses its status.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde::Serialize;

use crate::{
    audit::AppendError,
    engine::{ChangeFault, Unavailable},
    lifecycle::Refusal,
    model::{Ladder, Side},
    policy::{Detail, Reason},
    state::StoreFault,
};

use super::reply;

/// An answer to somebody who does not get what they asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: u16,
    pub(super) code: &'static str,
    /// What is wrong and what to do about it.
    pub(super) detail: Box<str>,
    /// The member of the body, the parameter or the header that is wrong.
    pub(super) field: Option<Box<str>>,
    /// Of a token that was refused: its fault's code.
    pub(super) fault: Option<&'static str>,
    /// The consent level that would do.
    pub(super) level: Option<Box<str>>,
    /// Of a kill switch: who can lift it.
    pub(super) lifted_by: Option<Side>,
    /// In how many seconds to come again.
    pub(super) after: Option<u16>,
    /// Of a 405: what is allowed.
    pub(super) allow: Option<&'static str>,
    /// Of a sign-in that is not enough: what would be, as parameters of a challenge.
    pub(super) step_up: Option<Arc<str>>,
    /// What became of what was asked for.
    pub(super) left: Left,
}

/// What somebody who does not get what they asked for leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing.
    Nothing,
    /// The record knows it already.
    Recorded,
    /// It may have been done all the same.
    Open,
}

#[derive(Serialize)]
struct Written<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level_that_would_do: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifted_by: Option<Side>,
}

impl Problem {
    pub(super) fn new(status: u16, code: &'static str, detail: impl Into<Box<str>>) -> Problem {
        Problem {
            status,
            code,
            detail: detail.into(),
            field: None,
            fault: None,
            level: None,
            lifted_by: None,
            after: None,
            allow: None,
            step_up: None,
            left: Left::Nothing,
        }
    }

    /// A body that is not what it has to be, by the member that is wrong.
    pub(super) fn body(field: &str, detail: impl Into<Box<str>>) -> Problem {
        let field = (!field.is_empty()).then(|| Box::from(field));
        Problem { field, ..Problem::new(400, "body_malformed", detail) }
    }

    /// A query that is not what it has to be, by the parameter that is wrong.
    pub(super) fn query(field: &str, detail: impl Into<Box<str>>) -> Problem {
        Problem { field: Some(Box::from(field)), ..Problem::new(400, "query_malformed", detail) }
    }

    /// Nobody, or nobody whose token was taken.
    pub(super) fn unverified(fault: Option<&'static str>) -> Problem {
        match fault {
            None => Problem::new(401, "token_missing", "send a bearer token in `Authorization`"),
            Some(_) => {
                let problem =
                    Problem::new(401, "token_invalid", "the token was refused; get a new one (see `fault`)");
                Problem { fault, ..problem }
            }
        }
    }

    /// A staff condition that is not met.
    pub(super) fn unmet((reason, detail): (Reason, Detail)) -> Problem {
        match detail {
            Detail::StepUp(wanted) => {
                let words =
                    "sign in again: this sign-in is not strong enough, or too long ago, for support work";
                Problem { step_up: Some(wanted), ..Problem::new(401, reason.code(), words) }
            }
            _ => {
                let words = "support does not work from here or without a ticket; `code` says which it is";
                Problem::new(403, reason.code(), words)
            }
        }
    }

    /// Somebody whose token cannot be judged right now.
    pub(super) fn unverifiable() -> Problem {
        let detail = "the keys of the token's issuer cannot be had right now; try again in a moment";
        Problem::new(503, "keys_unavailable", detail)
    }

    /// A change that did not happen, or of which nobody knows. The engine recorded its refusal.
    pub(super) fn change(fault: &ChangeFault, ladder: &Ladder) -> Problem {
        let mut problem = Problem::new(change_status(fault), fault.code(), fault.to_string());
        problem.after = matches!(fault, ChangeFault::InProgress).then_some(1);
        if fault.is_open() {
            problem.left = Left::Open;
        }
        if let ChangeFault::Refused(refusal) = fault {
            problem.left = Left::Recorded;
            if let Refusal::Stopped(side) = refusal {
                problem.lifted_by = Some(*side);
            }
            if *refusal == Refusal::ConsentCloses {
                let level = ladder.levels().iter().find(|level| level.role.is_some());
                problem.level = level.map(|level| Box::from(level.name.as_str()));
            }
        }
        problem
    }

    pub(super) fn into_response(self) -> Response<Bytes> {
        let written = Written {
            r#type: format!("urn:postern:problem:{}", self.code),
            title: http::StatusCode::from_u16(self.status)
                .ok()
                .and_then(|status| status.canonical_reason())
                .unwrap_or("Error"),
            status: self.status,
            code: self.code,
            detail: &self.detail,
            field: self.field.as_deref(),
            fault: self.fault,
            level_that_would_do: self.level.as_deref(),
            lifted_by: self.lifted_by,
        };
        let body = serde_json::to_vec(&written).unwrap_or_default();
        let mut response = reply::response(self.status, "application/problem+json", body);
        let headers = response.headers_mut();
        if let Some(after) = self.after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after));
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(wanted) = &self.step_up {
            let challenge =
                format!("Bearer realm=\"postern\", error=\"insufficient_user_authentication\"{wanted}");
            // What the configuration may name there is visible ASCII.
            if let Ok(challenge) = HeaderValue::from_str(&challenge) {
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            return response;
        }
        match (self.status, self.fault) {
            (401, None) => {
                let challenge = HeaderValue::from_static("Bearer realm=\"postern\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            (401, Some(_)) => {
                let challenge = HeaderValue::from_static("Bearer realm=\"postern\", error=\"invalid_token\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            (503, _) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            (_, _) => {}
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Problem::new(refusal_status(&refusal), refusal.code(), refusal.to_string())
    }
}

impl From<Unavailable> for Problem {
    fn from(_: Unavailable) -> Self {
        Refusal::Unavailable.into()
    }
}

impl From<StoreFault> for Problem {
    fn from(fault: StoreFault) -> Self {
        // Every fault of the store is the gateway's; what it says about files and disks is for the operator's log.
        tracing::warn!(%fault, "the support API cannot read the store");
        Problem::new(503, fault.code(), "the gateway cannot read its state; try again")
    }
}

fn change_status(fault: &ChangeFault) -> u16 {
    match fault {
        ChangeFault::Refused(refusal) => refusal_status(refusal),
        ChangeFault::Ledger(fault) => match fault {
            AppendError::Busy
            | AppendError::Full
            | AppendError::Quota
            | AppendError::Failed(_)
            | AppendError::Stopped => 503,
            AppendError::TooLarge { .. } | AppendError::BadDraft(_) => 500,
        },
        ChangeFault::Store(_)
        | ChangeFault::InDoubt(_)
        | ChangeFault::Contended
        | ChangeFault::Suspect
        | ChangeFault::Waiting
        | ChangeFault::Settling
        | ChangeFault::ClockBehind
        | ChangeFault::StoreNewer
        | ChangeFault::NameTaken => 503,
        ChangeFault::InProgress => 409,
        ChangeFault::Lost => 500,
    }
}

/// 403: not yours to do. 404: not there, or not for you to know. 409: not as things stand. 412: not as you saw it.
/// 422: understood, and cannot be.
fn refusal_status(refusal: &Refusal) -> u16 {
    match refusal {
        Refusal::NotAllowed { .. }
        | Refusal::RolesNotYours { .. }
        | Refusal::RoleLocked(_)
        | Refusal::RolesClosed
        | Refusal::RolesNotInPlan
        | Refusal::RoleNotInPlan(_)
        | Refusal::Acting
        | Refusal::NotStaff
        | Refusal::NotOperator
        | Refusal::Stopped(_)
        | Refusal::EnvironmentForeign { .. }
        | Refusal::ConsentCloses
        | Refusal::SelfGranted { .. }
        | Refusal::ApprovalRequired
        | Refusal::Barred
        | Refusal::NotYoursToEnd
        | Refusal::PlanCloses
        | Refusal::GrantingOff
        | Refusal::ScopeTooWide
        | Refusal::GivenAsOther
        | Refusal::GrantGivesNothing(_) => 403,
        Refusal::NotFound(_) => 404,
        Refusal::TenantConfigured(_) | Refusal::TenantRemoved => 409,
        Refusal::ParentFixed(_)
        | Refusal::LoginAccessMoved
        | Refusal::Ended(_)
        | Refusal::TooManySessions(_)
        | Refusal::TooManyRoles(_)
        | Refusal::RoleGranted(_)
        | Refusal::LastOfRole(_)
        | Refusal::SeatsFull(_)
        | Refusal::MemberAlready
        | Refusal::ApprovalNotRequired
        | Refusal::NotApproved
        | Refusal::RequestDecided
        | Refusal::RequestOver(_)
        | Refusal::NothingAsked
        | Refusal::TooManyRemarks(_)
        | Refusal::TooManyRequests(_)
        | Refusal::ResourceSaid(_)
        | Refusal::NotDue(_) => 409,
        Refusal::Changed => 412,
        Refusal::TooManyKeys { .. } => 429,
        Refusal::ParentUnknown(_)
        | Refusal::ParentItself(_)
        | Refusal::EnvironmentsMissing
        | Refusal::LevelUnknown(_)
        | Refusal::NothingToInherit
        | Refusal::NotRaised { .. }
        | Refusal::BeyondRequest
        | Refusal::EnvironmentUnknown(_)
        | Refusal::RoleUnknown(_)
        | Refusal::BeyondGrantor { .. }
        | Refusal::BeyondOwn { .. }
        | Refusal::PermissionUnknown(_)
        | Refusal::RoleTooLarge
        | Refusal::ResourceTypeUnknown(_)
        | Refusal::ParentUnfit(_)
        | Refusal::TooManyAssignees
        | Refusal::RoleNotHere { .. }
        | Refusal::NotMember
        | Refusal::KeptApart
        | Refusal::NotInFuture(_)
        | Refusal::TooFar { .. }
        | Refusal::ScopeEmpty
        | Refusal::EnvironmentCloses(_)
        | Refusal::GranteeNotOffered
        | Refusal::RoleNotGiven { .. }
        | Refusal::DurationNotOffered(_)
        | Refusal::IssuerUnknown(_)
        | Refusal::CauseUnknown(_)
        | Refusal::IncidentMalformed(_)
        | Refusal::ReasonUnfit(_)
        | Refusal::TicketUnfit(_)
        | Refusal::TicketMissing(_)
        | Refusal::TicketMalformed(_)
        | Refusal::LastsTooLong(_)
        | Refusal::KeyReused => 422,
        Refusal::Unavailable => 503,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn every_fault_of_a_change_has_a_status_of_its_kind() {
        let at = Timestamp::from_ms(0);
        let ladder = Ladder::new(Vec::new());
        for (fault, status) in [
            (ChangeFault::Refused(Refusal::TooFar { at, most: at }), 422),
            (ChangeFault::Refused(Refusal::NotDue(at)), 409),
            (ChangeFault::Refused(Refusal::Unavailable), 503),
            (ChangeFault::Ledger(AppendError::Full), 503),
            (ChangeFault::Ledger(AppendError::TooLarge { bytes: 2, max: 1 }), 500),
            (ChangeFault::Store("x".to_owned()), 503),
            (ChangeFault::InDoubt("x".to_owned()), 503),
            (ChangeFault::Contended, 503),
            (ChangeFault::Suspect, 503),
            (ChangeFault::Waiting, 503),
            (ChangeFault::Settling, 503),
            (ChangeFault::ClockBehind, 503),
            (ChangeFault::StoreNewer, 503),
            (ChangeFault::NameTaken, 503),
            (ChangeFault::InProgress, 409),
            (ChangeFault::Refused(Refusal::TooManyKeys { most: 1, free: at }), 429),
            (ChangeFault::Lost, 500),
        ] {
            let problem = Problem::change(&fault, &ladder);
            assert_eq!((problem.status, problem.code), (status, fault.code()), "{fault}");
            assert_eq!(problem.left == Left::Recorded, matches!(fault, ChangeFault::Refused(_)));
            assert_eq!(problem.left == Left::Open, fault.is_open());
            let response = problem.into_response();
            let again = status == 503 || fault == ChangeFault::InProgress;
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), again);
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        }
    }
}
