//! The second implementation's part on requests for approval (GW-16), in the same plain words: a list of what speaks
//! against each step, no order of rules.

use std::collections::BTreeSet;

use postern::{
    lifecycle::{Actor, Step},
    model::{Span, Speaker, Subject, SubjectKind},
};

use crate::{
    naive::{Naive, Source, level_role, rank, who},
    world::Plain,
};

type Codes = BTreeSet<&'static str>;

/// How long requests live in these worlds, in milliseconds.
const UNANSWERED: i64 = 4_000;
const USABLE: i64 = 1_000;

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) who: String,
    pub(crate) asker: Source,
    pub(crate) environment: String,
    pub(crate) level: String,
    pub(crate) lasts: i64,
    pub(crate) asked: i64,
    pub(crate) expires: i64,
    /// Whether each remark is a question.
    pub(crate) talk: Vec<bool>,
    pub(crate) approved: Option<Approved>,
    pub(crate) over: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub(crate) struct Approved {
    pub(crate) by: Source,
    pub(crate) who: String,
    pub(crate) at: i64,
    pub(crate) level: String,
    pub(crate) lasts: i64,
    pub(crate) until: i64,
    /// Everything was ended at once since.
    pub(crate) over: bool,
    /// Or it may have been, further up.
    pub(crate) doubtful: bool,
}

fn millis(span: Span) -> i64 {
    match span {
        Span::Millis(ms) => ms,
        Span::CalendarDays(_) | Span::CalendarMonths(_) => panic!("not used in histories"),
    }
}

impl Request {
    pub(crate) fn read(request: &postern::model::Request) -> Request {
        Request {
            who: format!("{}|{}", request.asker.person.issuer, request.asker.person.sub),
            asker: Source::Kept(request.asker.clone()),
            environment: request.environment.to_string(),
            level: request.level.to_string(),
            lasts: millis(request.lasts),
            asked: request.asked.ms(),
            expires: request.expires.ms(),
            talk: request.talk.iter().map(|remark| remark.from == Speaker::Tenant).collect(),
            approved: request.approval.as_ref().map(|approval| Approved {
                by: Source::Kept(approval.by.clone()),
                who: approval.by.person.to_string(),
                at: approval.at.ms(),
                over: false,
                doubtful: true,
                level: approval.level.to_string(),
                lasts: millis(approval.lasts),
                until: approval.until.ms(),
            }),
            over: request.over.as_ref().map(|over| over.cause.code()),
        }
    }

    /// What it is over by, at this instant.
    pub(crate) fn over(&self, now: i64) -> Option<&'static str> {
        self.over.or(match &self.approved {
            Some(approved) => (now >= approved.until).then_some("lapsed"),
            None => (now >= self.expires).then_some("expired"),
        })
    }
}

fn agent<'a>(actor: &Actor<'a>, codes: &mut Codes) -> Option<&'a Subject> {
    match actor {
        Actor::Subject(subject) if subject.kind == SubjectKind::Staff => {
            if subject.acting {
                codes.insert("acting");
            }
            Some(subject)
        }
        _ => {
            codes.insert("not_staff");
            None
        }
    }
}

impl Naive {
    #[expect(clippy::too_many_arguments, reason = "one step of a history")]
    /// A tenant's rule. `None` in the answer: nothing changes.
    pub(crate) fn rule(
        &mut self,
        plain: &Plain,
        tenant: &str,
        required: bool,
        actor: Actor<'_>,
        row: Option<String>,
        stale: bool,
        codes: &mut Codes,
    ) {
        self.administrator(plain, actor, tenant, codes);
        let Some(known) = self.tenants.get_mut(tenant) else {
            codes.insert("not_found");
            return;
        };
        if known.removed {
            codes.insert("tenant_removed");
        }
        if stale {
            codes.insert("changed");
        }
        if known.approval != required {
            known.approval = required;
            let by = if let Actor::Subject(subject) = actor { Some(subject) } else { None };
            known.approval_by = Source::came(by, row);
            if !required {
                Naive::reaches_all(by, known.environments.iter().map(String::as_str), codes);
            }
        }
    }

    /// A step: everything that speaks against it is in `codes`; what it does is done to `self`.
    #[expect(clippy::too_many_arguments, reason = "one step of a history")]
    pub(crate) fn step(
        &mut self,
        before: &Naive,
        plain: &Plain,
        tenant: &str,
        id: &str,
        step: &Step,
        actor: Actor<'_>,
        now: i64,
        stale: bool,
        codes: &mut Codes,
    ) {
        let key = (tenant.to_owned(), id.to_owned());
        let subject = if let Actor::Subject(subject) = actor { Some(subject) } else { None };
        let text = match step {
            Step::Question(text) | Step::Answer(text) | Step::Refuse(text) => Some(text),
            Step::Ask { reason, .. } => Some(reason),
            Step::Approve { .. } | Step::Withdraw => None,
        };
        if text.is_some_and(|text| text.trim().is_empty()) {
            codes.insert("reason_unfit");
        }
        if let Step::Ask { environment, level, lasts, .. } = step {
            let Some(agent) = agent(&actor, codes) else { return };
            Naive::reaches(subject, environment.as_str(), codes);
            if before.is_stopped(tenant, &who(agent)) {
                codes.insert("stopped");
            }
            let Some(known) = before.tenants.get(tenant).filter(|t| !t.removed) else {
                codes.insert("consent_closes");
                return;
            };
            if level_role(plain, &before.level(plain, tenant, 0, now)).is_none() {
                codes.insert("consent_closes");
            }
            if before.givers(plain, tenant, 0, now).iter().any(|giver| giver.is(agent)) {
                codes.insert("self_granted");
            }
            before.kept_out(tenant, agent, codes);
            if !known.approval {
                codes.insert("approval_not_required");
            }
            if !plain.ladder.iter().any(|(name, _)| name == level.as_str()) {
                codes.insert("level_unknown");
            }
            if !known.environments.contains(environment.as_str()) {
                codes.insert("environment_unknown");
            }
            let lasts = lasts.map_or(plain.lasts_ms, millis);
            if lasts <= 0 {
                codes.insert("not_in_future");
            }
            if lasts > plain.lasts_ms {
                codes.insert("lasts_too_long");
            }
            if self.requests.contains_key(&key) {
                codes.insert("changed");
                return;
            }
            let mine = |(at, request): (&(String, String), &Request)| {
                at.0 == tenant && request.who == who(agent) && request.over(now).is_none()
            };
            if before.requests.iter().filter(|row| mine(*row)).count() >= 8 {
                codes.insert("requests_waiting");
            }
            let times = self.asked.entry((tenant.to_owned(), who(agent))).or_insert((now, 0));
            if now >= times.0 + 86_400_000 {
                *times = (now, 0);
            }
            times.1 += 1;
            if times.1 > 64 {
                codes.insert("requests_waiting");
            }
            let request = Request {
                who: who(agent),
                asker: Source::came(Some(agent), None).remove(0),
                environment: environment.to_string(),
                level: level.to_string(),
                lasts,
                asked: now,
                expires: now + UNANSWERED,
                talk: Vec::new(),
                approved: None,
                over: None,
            };
            self.requests.insert(key, request);
            return;
        }
        let by_agent = matches!(step, Step::Answer(_) | Step::Withdraw);
        if by_agent {
            let Some(agent) = agent(&actor, codes) else { return };
            if self.requests.get(&key).is_none_or(|request| request.who != who(agent)) {
                codes.insert("not_found");
                return;
            }
        } else {
            before.administrator(plain, actor, tenant, codes);
        }
        let known = before.tenants.get(tenant);
        let (Some(request), Some(known)) = (self.requests.get_mut(&key), known) else {
            codes.insert("not_found");
            return;
        };
        let over = request.over(now);
        match step {
            Step::Ask { .. } => panic!("done above"),
            Step::Approve { level, lasts, .. } => {
                Naive::reaches(subject, &request.environment, codes);
                if stale {
                    codes.insert("changed");
                }
                if known.removed {
                    codes.insert("tenant_removed");
                }
                let row = before.row_mail(tenant, subject);
                if subject.is_some_and(|by| request.asker.is(by))
                    || row.as_ref().is_some_and(|address| request.asker.has(address))
                {
                    codes.insert("self_granted");
                }
                let level = level.as_ref().map_or(request.level.clone(), |level| level.to_string());
                let lasts = lasts.map_or(request.lasts, millis);
                if !plain.ladder.iter().any(|(name, _)| *name == level) {
                    codes.insert("level_unknown");
                }
                if lasts <= 0 {
                    codes.insert("not_in_future");
                }
                if rank(plain, &level) > rank(plain, &request.level) || lasts > request.lasts {
                    codes.insert("beyond_request");
                }
                match (&request.approved, over) {
                    (_, Some(_)) => drop(codes.insert("request_over")),
                    (Some(old), None) if old.level == level && old.lasts == lasts => {}
                    (Some(_), None) => drop(codes.insert("request_decided")),
                    (None, None) => {
                        let by = Source::came(subject, row);
                        let until = now + USABLE;
                        let who = subject.map(who).unwrap_or_default();
                        let (at, over, doubtful) = (now, false, false);
                        let approved = |by| Approved { by, who, at, level, lasts, until, over, doubtful };
                        request.approved = by.into_iter().next().map(approved);
                    }
                }
            }
            Step::Question(_) | Step::Answer(_) => {
                let question = matches!(step, Step::Question(_));
                if over.is_some() {
                    codes.insert("request_over");
                } else if request.approved.is_some() {
                    codes.insert("request_decided");
                }
                if !question && request.talk.last() != Some(&true) {
                    codes.insert("nothing_asked");
                }
                if request.talk.len() >= 20 {
                    codes.insert("too_many_remarks");
                }
                request.talk.push(question);
            }
            Step::Refuse(_) => match over {
                Some("refused") => {}
                Some(_) => drop(codes.insert("request_over")),
                None => request.over = Some("refused"),
            },
            Step::Withdraw if over.is_none() => request.over = Some("withdrawn"),
            Step::Withdraw => {}
        }
    }
}
