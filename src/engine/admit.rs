//! How a request is admitted, and what is written about it.
//!
//! collect → decide once → record → look at the fuse → hand out an [`Admission`]. Only an admission reaches the
//! application. A member's needs neither record nor fuse.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{
    audit::{
        body::Body,
        journal::{Class, Draft, Receipt},
    },
    identity::VerifiedSubject,
    model::{Basis, ExchangeId, RoleName, SubjectKind, Timestamp},
    policy::{
        Ask, Caller, Deadline, Decision, Denial, Detail, Due, Facts, Permit, Policy, Staff, Verdict, decide,
    },
};

use super::{
    End, Engine,
    emergency::by_token,
    fault::Fault,
    fuse::{Cut, Look},
    hooks::Step,
    ids::new_id,
    judge::{Asks, Stop},
    knock::{Knock, Particulars},
    leash::Rests,
    member,
    outside::{Asker, until_asked_again},
    records,
    registry::{Case, Live},
};

/// How often a rule may ask for more before it is taken for endless: presence, sessions, grant, a chain of parents.
pub(super) const MOST_ROUNDS: usize = 256;

/// What a first look without any document comes to.
pub enum Glance {
    /// Go on.
    Admitted(Admission),
    /// No.
    Denied(Denial),
    /// It takes documents and a record: [`Engine::admit`].
    Look,
}

/// What [`Engine::admit`] comes to.
pub enum Answer {
    /// Go on.
    Admitted(Admission),
    /// No.
    Denied(Denial),
    /// The gateway cannot do its part.
    Faulted(Fault),
}

/// How an exchange went, as the door saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub end: End,
    /// The application's status, once its head came.
    pub status: Option<u16>,
    /// Bytes of body handed to the client.
    pub sent: u64,
    /// Bytes of body taken from the client.
    pub received: u64,
    /// The code of what went wrong.
    pub fault: Option<&'static str>,
    /// Which of several servers it went to, or was meant for last.
    pub server: Option<Arc<str>>,
}

/// Leave to forward one request. Only the engine makes one; only with one in hand does anything go upstream.
///
/// ```compile_fail
/// let forged = postern::engine::Admission { inner: None };
/// ```
pub struct Admission {
    inner: Inner,
}

enum Inner {
    /// The roles, where they stand in a row and not in the token; and whether it reaches some items only.
    Open(Option<Vec<RoleName>>, bool),
    Recorded(Box<Recorded>),
}

struct Recorded {
    engine: Arc<Engine>,
    live: Arc<Live>,
    permit: Permit,
    /// That its intent is durable (law 1): held, for without one there is no admission.
    _receipt: Receipt,
    began: Timestamp,
    reported: bool,
}

impl Admission {
    /// Of a staff exchange: the entry that its fuse belongs to. `None`: nothing to look at.
    pub fn live(&self) -> Option<&Arc<Live>> {
        match &self.inner {
            Inner::Open(..) => None,
            Inner::Recorded(recorded) => Some(&recorded.live),
        }
    }

    /// Of a staff exchange: where and as what.
    pub fn staff(&self) -> Option<&Staff> {
        match &self.inner {
            Inner::Open(..) => None,
            Inner::Recorded(recorded) => recorded.permit.staff(),
        }
    }

    /// Of a member whose roles stand in a row: these.
    pub fn roles(&self) -> Option<&[RoleName]> {
        match &self.inner {
            Inner::Open(roles, _) => roles.as_deref(),
            Inner::Recorded(recorded) => recorded.permit.roles(),
        }
    }

    /// Whether it reaches some items of the answer only: the rest must not pass.
    pub fn narrowed(&self) -> bool {
        match &self.inner {
            Inner::Open(_, narrowed) => *narrowed,
            Inner::Recorded(recorded) => recorded.permit.narrowed(),
        }
    }

    /// The exchange is over and its sockets are let go of: writes the outcome. Without a report, as when a task was
    /// dropped, the outcome says that the client went away, or that the exchange was cut.
    pub fn finish(mut self, report: &Report) {
        if let Inner::Recorded(recorded) = &mut self.inner {
            recorded.report(report);
        }
    }
}

impl Admission {
    /// Of whoever needs neither record nor fuse.
    pub(super) fn open(permit: &Permit) -> Admission {
        Admission { inner: Inner::Open(permit.roles().map(<[RoleName]>::to_vec), permit.narrowed()) }
    }
}

impl Recorded {
    fn report(&mut self, report: &Report) {
        if self.reported {
            return;
        }
        self.reported = true;
        let session = self.permit.staff().map(|staff| staff.session.as_str());
        self.engine.conclude(&self.live, session, self.began, report);
        self.engine.registry.leave(&self.live);
        // Said last: whoever waits for the parting finds the exchange gone and its outcome on the way.
        self.live.fuse.part();
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.report(&Report {
            end: End::ClientGone,
            status: None,
            sent: 0,
            received: 0,
            fault: None,
            server: None,
        });
    }
}

impl Engine {
    /// A look without documents: all that members need, and all that is refused without looking anything up.
    pub fn glance(&self, ask: &Ask<'_>, caller: Caller<'_>, policy: &Policy) -> Glance {
        match decide(ask, caller, &Facts::new(), self.now(), policy) {
            Verdict::Decided(Decision::Allow(permit))
                if permit.staff().is_none() && !member::records_it(ask, caller) =>
            {
                Glance::Admitted(Admission::open(&permit))
            }
            Verdict::Decided(Decision::Deny(denial)) => Glance::Denied(denial),
            Verdict::Need(need) if member::unrecorded(ask, caller) => {
                self.glance_at_row(ask, caller, need, policy)
            }
            Verdict::Decided(Decision::Allow(_)) | Verdict::Need(_) => Glance::Look,
        }
    }

    /// Admits a staff request: see the module's header.
    pub async fn admit(
        self: &Arc<Self>,
        knock: Knock,
        subject: Arc<VerifiedSubject>,
        about: &Particulars,
    ) -> Answer {
        if member::unrecorded(&knock.ask(false), Caller::Known(subject.subject())) {
            return self.admit_member(&knock, &subject).await;
        }
        // An emergency token waits for no store: not for tenants to be registered, nor for the name to be proved.
        let by_token = knock.emergency.token().is_some();
        let settled = if by_token { &self.recalled } else { &self.settled };
        let (settled, staff) =
            (settled.load(std::sync::atomic::Ordering::Acquire), subject.kind == SubjectKind::Staff);
        // Before the past: that is not settled by a store that cannot be read.
        if (staff || !settled) && !by_token && self.store_newer() {
            return Answer::Faulted(Fault::StoreNewer);
        }
        if !settled {
            return Answer::Faulted(Fault::Settling);
        }
        if self.name_taken() && staff {
            return Answer::Faulted(Fault::NameTaken);
        }
        let Some(exchange) = new_id("exc", self.now()).ok().and_then(|id| ExchangeId::new(&id).ok()) else {
            return Answer::Faulted(Fault::Undecided);
        };
        let entry = Entry { engine: self, live: self.registry.enter(exchange), stage: Stage::Entered };
        self.hooks.at(Step::AccessEntered).await;
        match self.admit_entered(entry, knock, subject, about).await {
            Ok(admission) => Answer::Admitted(admission),
            Err(Stop::Denied(denial)) => Answer::Denied(denial),
            Err(Stop::Faulted(fault)) => Answer::Faulted(fault),
            Err(Stop::NotAtHand) => Answer::Faulted(Fault::Undecided),
        }
    }

    async fn admit_entered(
        self: &Arc<Self>,
        mut entry: Entry<'_>,
        knock: Knock,
        subject: Arc<VerifiedSubject>,
        about: &Particulars,
    ) -> Result<Admission, Stop> {
        let live = Arc::clone(&entry.live);
        let mark = live.fuse.mark();
        let asked = self.now();
        let asks = Asks::Application(Asker::Person(subject.id.clone()));
        let (permit, facts) = self.judge(&live, &knock, &subject, &asks, Facts::new()).await?;
        self.note_lives(&live, &knock, &subject, &facts).await;
        let mut knock = knock;
        knock.asked = Some(asked);
        let (draft, deadline, longest, rests) = match permit.staff() {
            Some(staff) => {
                if let Some(token) = knock.emergency.token() {
                    self.enter_alone(&live, token, staff, &knock, &subject, &facts, about).await?;
                }
                let draft = self.intent(&live, staff, &permit, &knock, &subject, &facts, about)?;
                // Decided again from here on; in the session that this decision found.
                if knock.emergency.token().is_none() {
                    knock.session = super::knock::Name::As(Arc::from(staff.session.as_str()));
                }
                let longest =
                    Deadline { at: asked.plus_ms(knock.policy.max_exchange_ms), due: Due::Exchange };
                let rests = Rests::of(&knock, staff, &facts);
                (draft, until_asked_again(staff.deadline, &facts), longest, rests)
            }
            None => {
                let draft = self.member_intent(&live, &permit, &knock, &subject, about);
                let draft = draft.ok_or(Stop::Faulted(Fault::Undecided))?;
                let longest = self.member_deadline();
                (draft, until_asked_again(longest, &facts), longest, Rests::NOTHING)
            }
        };
        live.fuse.settle(mark, deadline, rests);
        if let Some(heard) = self.heard.as_ref().filter(|_| knock.emergency.token().is_none()) {
            heard.admitted(&facts);
        }
        self.registry.due(&live, deadline.at);
        let knock = ArcSwap::from_pointee(knock);
        let narrowed = permit.narrowed();
        let acting_as = permit.staff().and_then(|staff| staff.basis.acting_as().cloned());
        let _ = live.case.set(Case {
            knock,
            about: about.clone(),
            began: asked,
            longest,
            subject,
            acting_as,
            narrowed,
        });
        let began = self.now();
        entry.stage = Stage::Asked(permit.staff().map(|staff| staff.session.to_string()));
        let appended = self.journal.append(draft).await;
        entry.stage = Stage::Entered;
        let receipt = appended.map_err(|fault| Stop::Faulted(Fault::Ledger(fault)))?;
        entry.stage = Stage::Recorded;
        let mut recorded =
            Recorded { engine: Arc::clone(self), live, permit, _receipt: receipt, began, reported: false };
        self.hooks.at(Step::AccessRecorded).await;
        // Said before the last look: whoever burns the fuse from here on waits for this exchange to part.
        recorded.live.fuse.open();
        // Another policy may have come since the map was read; whoever put it in force may have looked at the registry
        // before this was entered.
        if recorded.live.case.get().is_some_and(|case| self.asked_elsewhere(&case.knock.load())) {
            recorded.live.fuse.touch();
        }
        loop {
            match recorded.live.fuse.look(self.now()) {
                Look::Alive => break,
                Look::Stale => self.judge_again(&recorded.live).await,
                Look::Burnt(cut) => {
                    let fault = Some("cut_before_forwarding");
                    recorded.report(&Report {
                        end: End::NotForwarded,
                        status: None,
                        sent: 0,
                        received: 0,
                        fault,
                        server: None,
                    });
                    return Err(Stop::Denied(denied(cut)));
                }
            }
        }
        Ok(Admission { inner: Inner::Recorded(Box::new(recorded)) })
    }

    #[expect(clippy::too_many_arguments, reason = "a record gathers from everywhere, once")]
    fn intent(
        &self,
        live: &Live,
        staff: &Staff,
        permit: &Permit,
        knock: &Knock,
        subject: &VerifiedSubject,
        facts: &Facts,
        about: &Particulars,
    ) -> Result<Draft, Stop> {
        let rule = match knock.path {
            super::knock::Path::Rule(number) => knock.policy.rules.get(number),
            super::knock::Path::Method | super::knock::Path::Twin | super::knock::Path::Unmapped => None,
        };
        let permissions = rule.map(|rule| &rule.permissions).into_iter().flatten();
        let event = records::AccessIntent {
            exchange: &live.exchange,
            tenant: &staff.tenant,
            environment: &staff.environment,
            subject: &subject.id,
            token: subject.fingerprint().to_string(),
            role: staff.role.as_ref(),
            basis: &staff.basis,
            acting_as: staff.acted_for.as_ref().map(|acted| &acted.user),
            roles: staff.acted_for.as_ref().map(|acted| acted.roles.as_slice()),
            reason: permit.reason().code(),
            deadline: until_asked_again(staff.deadline, facts).at,
            due: until_asked_again(staff.deadline, facts).due.code(),
            method: &about.method,
            path: &about.path,
            route: rule.map_or("", |rule| rule.name.as_str()),
            permissions: permissions
                .filter_map(|id| knock.policy.catalogue.name(*id))
                .map(crate::model::PermissionName::as_str)
                .collect(),
            upstream: &about.upstream,
            creates: Engine::creates(rule),
            policy: &knock.policy.fingerprint,
            rests_on: rests(facts),
            age_ms: facts.age_ms(),
            narrowed: records::narrowed(permit, rule),
            by_token: knock.emergency.token().map(|token| by_token(token, facts)),
            ticket: knock.policy.conditions.ticket_of(subject.subject(), &knock.ask(false).around),
            clock_moved: self.moved(),
        };
        let body = Body::of(&event).map_err(|_| Stop::Faulted(Fault::Undecided))?;
        Ok(Draft {
            session: Some(staff.session.to_string()),
            opens: Some(live.exchange.to_string()),
            personal: personal(subject, &about.client),
            // In an emergency a disk that is full is no reason to stay outside, for as long as the reserve allows it.
            class: match staff.basis {
                Basis::BreakGlass(_) => Class::Emergency,
                Basis::Consent(_) | Basis::Grant(_) | Basis::ActAs(_) => Class::Ordinary,
            },
            ..Draft::new(records::ACCESS_INTENT, self.now().ms(), body)
        })
    }

    fn conclude(&self, live: &Live, session: Option<&str>, began: Timestamp, report: &Report) {
        let now = self.now();
        let case = live.case.get();
        let knock = case.map(|case| case.knock.load_full());
        let acting = case.and_then(|case| Some((&case.subject.id, case.acting_as.as_ref()?)));
        let (effect, effect_fault) = self.effect_of(live);
        let burnt = live.fuse.burnt();
        let end = match report.end {
            // Where the end took the connection with it, whoever writes to it hears only that nobody is there any more.
            End::ClientGone if burnt.is_some() => End::Cut,
            end => end,
        };
        let event = records::AccessOutcome {
            exchange: live.exchange.as_str(),
            tenant: knock.as_ref().and_then(|knock| knock.tenant.as_str()),
            subject: acting.map(|(subject, _)| subject),
            acting_as: acting.map(|(_, user)| user),
            end,
            status: report.status,
            sent: report.sent,
            received: report.received,
            millis: now.ms_since(began),
            cut_by: match end {
                End::Cut | End::NotForwarded => burnt.map(Into::into),
                End::Complete | End::ClientGone | End::UpstreamFailed | End::Unknown => None,
            },
            fault: report.fault,
            server: report.server.as_deref(),
            effect,
            effect_fault,
            clock_moved: self.moved(),
        };
        match Body::of(&event) {
            Ok(body) => self.scribe.push(Draft {
                session: session.map(str::to_owned),
                closes: Some(live.exchange.to_string()),
                class: Class::Reserved,
                ..Draft::new(records::ACCESS_OUTCOME, now.ms(), body)
            }),
            Err(fault) => tracing::error!(%fault, "an outcome could not be written as a record"),
        }
    }
}

pub(super) use super::records::{personal, rests};

/// How far an exchange came; takes it out of the registry unless it was recorded.
struct Entry<'a> {
    engine: &'a Engine,
    live: Arc<Live>,
    stage: Stage,
}

enum Stage {
    Entered,
    /// The record was asked for in this session and nothing is known yet. A task that is dropped here leaves an
    /// intent that may well become durable: its outcome follows.
    Asked(Option<String>),
    Recorded,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if let Stage::Asked(session) = &self.stage {
            let report = Report {
                end: End::NotForwarded,
                status: None,
                sent: 0,
                received: 0,
                fault: None,
                server: None,
            };
            self.engine.conclude(&self.live, session.as_deref(), self.engine.now(), &report);
        }
        if !matches!(self.stage, Stage::Recorded) {
            self.engine.registry.leave(&self.live);
        }
    }
}

fn denied(cut: Cut) -> Denial {
    Denial { reason: cut.reason, detail: Detail::At(cut.at) }
}
