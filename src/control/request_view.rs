//! A request for approval as the API shows it. The digests by which its people are compared are nobody's to see.

use serde::Serialize;

use crate::model::{
    EnvironmentId, LevelName, Request, RequestEnd, RequestId, RequestState, SessionId, Speaker, SubjectRef,
    TenantId, Timestamp,
};

/// A row of a list of requests.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(super) enum RequestRow {
    /// One that can be read.
    Request(Box<RequestView>),
    /// One that cannot.
    Unreadable {
        /// Which.
        id: RequestId,
        /// Why not.
        unreadable: &'static str,
    },
}

/// One request.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RequestView {
    id: RequestId,
    tenant: TenantId,
    environment: EnvironmentId,
    person: SubjectRef,
    level: LevelName,
    r#for: String,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<String>,
    asked: Timestamp,
    /// `open`, `approved` or `over`.
    pub(super) state: &'static str,
    /// Of an open one: when it dies if nobody answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    talk: Vec<RemarkView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved: Option<ApprovalView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    over: Option<OverView>,
}

#[derive(Debug, Clone, Serialize)]
struct RemarkView {
    at: Timestamp,
    from: Speaker,
    by: SubjectRef,
    text: String,
}

#[derive(Debug, Clone, Serialize)]
struct ApprovalView {
    by: SubjectRef,
    at: Timestamp,
    level: LevelName,
    r#for: String,
    /// Until when the session has to start.
    until: Timestamp,
}

#[derive(Debug, Clone, Serialize)]
struct OverView {
    cause: RequestEnd,
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<SubjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<SessionId>,
}

impl RequestView {
    pub(super) fn of(tenant: &TenantId, id: &RequestId, request: &Request, now: Timestamp) -> RequestView {
        let state = request.state(now);
        let over = match (state, &request.over, request.due()) {
            (_, Some(over), _) => Some(OverView {
                cause: over.cause,
                at: over.at,
                by: over.by.clone(),
                reason: over.reason.clone(),
                session: over.session.clone(),
            }),
            (RequestState::Over(cause), None, Some(at)) => {
                Some(OverView { cause, at, by: None, reason: None, session: None })
            }
            (_, None, _) => None,
        };
        let approved = request.approval.as_ref().map(|approval| ApprovalView {
            by: approval.by.person.clone(),
            at: approval.at,
            level: approval.level.clone(),
            r#for: approval.lasts.to_string(),
            until: approval.until,
        });
        let talk = request.talk.iter().map(|remark| RemarkView {
            at: remark.at,
            from: remark.from,
            by: remark.by.clone(),
            text: remark.text.clone(),
        });
        RequestView {
            id: id.clone(),
            tenant: tenant.clone(),
            environment: request.environment.clone(),
            person: request.asker.person.clone(),
            level: request.level.clone(),
            r#for: request.lasts.to_string(),
            reason: request.reason.clone(),
            ticket: request.ticket.clone(),
            asked: request.asked,
            state: match state {
                RequestState::Open => "open",
                RequestState::Approved => "approved",
                RequestState::Over(_) => "over",
            },
            expires: (state == RequestState::Open).then_some(request.expires),
            talk: talk.collect(),
            approved,
            over,
        }
    }
}
