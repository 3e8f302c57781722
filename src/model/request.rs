//! An agent's request to be let in, where a tenant approves each session (GW-16): what was asked, what was said about it,
//! and what became of it.
//!
//! Never here: who may say what when ([`crate::lifecycle`]).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{EnvironmentId, Giver, LevelName, SessionId, Span, SubjectRef, Timestamp};

/// A tenant's choice whether each session by consent has to be approved (GW-16).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRule {
    /// Whether.
    pub required: bool,
    /// Who said so; who waives it has let in whoever enters without (GW-14).
    pub by: BTreeSet<Giver>,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Who asks, as they are compared with who answers (GW-14).
    pub asker: Giver,
    /// Where they want to enter.
    pub environment: EnvironmentId,
    /// How far they want to go at most.
    pub level: LevelName,
    /// Why, in their words.
    pub reason: String,
    /// The ticket they named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ticket: Option<String>,
    /// How long the session is to last at most.
    pub lasts: Span,
    /// When it was made.
    pub asked: Timestamp,
    /// When it dies if nobody answers.
    pub expires: Timestamp,
    /// Questions and answers, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub talk: Vec<Remark>,
    /// What an administrator allowed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub approval: Option<Approval>,
    /// What became of it; never undone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub over: Option<Over>,
}

/// A question of the tenant, or the agent's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remark {
    /// When.
    pub at: Timestamp,
    /// Whose side.
    pub from: Speaker,
    /// Who.
    pub by: SubjectRef,
    /// What they said.
    pub text: String,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// A person of the tenant: asks.
    Tenant,
    /// The agent: answers.
    Agent,
}

/// An administrator's yes: to as much as was asked for, or to less.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Whose it is.
    pub by: Giver,
    /// When.
    pub at: Timestamp,
    /// How far the session may go at most.
    pub level: LevelName,
    /// How long it may last at most.
    pub lasts: Span,
    /// Until when the session has to start.
    pub until: Timestamp,
}

/// The end of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Over {
    /// From when on.
    pub at: Timestamp,
    /// Why.
    pub cause: RequestEnd,
    /// By whom, where it was a person.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<SubjectRef>,
    /// Of a refusal: why, in their words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Of one that was used: the session.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub session: Option<SessionId>,
}

/// Why a request is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestEnd {
    /// An administrator refused it.
    Refused,
    /// The agent took it back.
    Withdrawn,
    /// Nobody answered in time.
    Expired,
    /// It was approved, and no session started in time.
    Lapsed,
    /// A session started by it.
    Used,
    /// Two histories of it disagree in what cannot differ.
    Conflict,
}

impl RequestEnd {
    /// The stable word.
    pub fn code(self) -> &'static str {
        match self {
            RequestEnd::Refused => "refused",
            RequestEnd::Withdrawn => "withdrawn",
            RequestEnd::Expired => "expired",
            RequestEnd::Lapsed => "lapsed",
            RequestEnd::Used => "used",
            RequestEnd::Conflict => "conflict",
        }
    }
}

/// How a request stands at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestState {
    /// Nobody decided yet.
    Open,
    /// A session may start by it.
    Approved,
    /// It is over, written down or not.
    Over(RequestEnd),
}

impl Request {
    /// When time ends it, while it is not over.
    pub fn due(&self) -> Option<Timestamp> {
        match (&self.over, &self.approval) {
            (Some(_), _) => None,
            (None, Some(approval)) => Some(approval.until),
            (None, None) => Some(self.expires),
        }
    }

    /// How it stands at this instant.
    pub fn state(&self, now: Timestamp) -> RequestState {
        match (&self.over, &self.approval) {
            (Some(over), _) => RequestState::Over(over.cause),
            (None, Some(approval)) if now >= approval.until => RequestState::Over(RequestEnd::Lapsed),
            (None, Some(_)) => RequestState::Approved,
            (None, None) if now >= self.expires => RequestState::Over(RequestEnd::Expired),
            (None, None) => RequestState::Open,
        }
    }

    /// The question that waits for its answer.
    pub fn question(&self) -> Option<&Remark> {
        self.talk.last().filter(|remark| remark.from == Speaker::Tenant)
    }

    /// The narrower of two histories of one request: the earlier end; an approval only where both have one, the less of
    /// both; of what was said the longer.
    #[must_use]
    pub fn narrower(self, other: &Request, rank: impl Fn(&LevelName) -> usize) -> Request {
        let same = self.asker.person == other.asker.person
            && (&self.environment, &self.level, self.lasts)
                == (&other.environment, &other.level, other.lasts)
            && self.asked == other.asked;
        let conflict = (!same).then_some(Over {
            at: self.asked,
            cause: RequestEnd::Conflict,
            by: None,
            reason: None,
            session: None,
        });
        let key = |over: &Over| (over.at, over.cause, over.session.clone(), over.by.clone());
        let over = [self.over, other.over.clone(), conflict].into_iter().flatten().min_by_key(key);
        let approval = match (self.approval, &other.approval) {
            (Some(a), Some(b)) => {
                let level = if (rank(&a.level), &a.level) <= (rank(&b.level), &b.level) {
                    &a.level
                } else {
                    &b.level
                };
                let shorter = |span: Span| span.end(self.asked, super::Zone::UTC);
                let lasts = if shorter(a.lasts) <= shorter(b.lasts) { a.lasts } else { b.lasts };
                Some(Approval { level: level.clone(), lasts, until: a.until.min(b.until), ..a })
            }
            (Some(_) | None, _) => None,
        };
        let talk = if self.talk.len() >= other.talk.len() { self.talk } else { other.talk.clone() };
        Request { expires: self.expires.min(other.expires), over, approval, talk, ..self }
    }
}
