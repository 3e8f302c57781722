//! What follows from a creation that the application told of: a change like any other, made before the answer goes on to the
//! client where that can be had, and queued otherwise.
//!
//! What is queued is in the ledger first (`effect.due`), with all that it takes to do it later, also by the next start; its end
//! closes that record. A repeat of what was done changes nothing: the resource remembers the exchange.
//!
//! Never here: reading an answer (see `proxy`), or what follows ([`crate::lifecycle::created`]).

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{
    audit::{
        body::Body,
        journal::{Class, Draft},
    },
    identity::VerifiedSubject,
    lifecycle::{
        ActedOn, Command, Created, Refusal,
        created::{ACTING, NOT_MEMBER},
    },
    model::{
        Document, EnvironmentId, ExchangeId, Key, ResourceId, ResourceRef, ResourceType, RoleName,
        SubjectKind, SubjectRef, TenantId,
    },
    policy::{
        Creates, Fact, Facts, Rule,
        creates::{IdFrom, Unread},
    },
};

use super::{
    Admission, ChangeFault, Engine, Giver,
    knock::{Knock, Path},
    records,
    registry::Live,
};

/// How long an answer waits for what follows from it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the keeper rests between tries, at first and at the most.
const REST: Duration = Duration::from_millis(200);
const LONGEST_REST: Duration = Duration::from_secs(5);
/// How many are kept in memory to be done. What is beyond that is left to the next start, which finds it in the ledger.
const MOST_DUE: usize = 4096;

/// How far the effect of one exchange has come, for its outcome.
#[derive(Debug, Default)]
pub(super) struct Mark {
    stage: AtomicU8,
    why: OnceLock<String>,
    lives: OnceLock<Lives>,
}

/// Whose lives it belongs to, as they were before the request went out.
#[derive(Debug, Clone, Copy, Default)]
struct Lives {
    tenant: Option<u32>,
    left: Option<u32>,
}

const NOTHING: u8 = 0;
const SAID: u8 = 1;
const DONE: u8 = 2;
const QUEUED: u8 = 3;
const REFUSED: u8 = 4;
const UNKNOWN: u8 = 5;
const HEARD: u8 = 6;

impl Mark {
    fn put(&self, stage: u8) {
        self.stage.store(stage, Ordering::Release);
    }

    /// As the outcome says it: a word, and a code where there is more to say. Nothing where nothing follows.
    pub(super) fn words(&self) -> (Option<&'static str>, Option<&str>) {
        let word = match self.stage.load(Ordering::Acquire) {
            SAID => records::EFFECT_OPEN,
            DONE => "done",
            // What follows is under way, and stands in the ledger by itself.
            HEARD | QUEUED => "queued",
            REFUSED => "refused",
            UNKNOWN => "unknown",
            _ => return (None, None),
        };
        (Some(word), self.why.get().map(String::as_str))
    }
}

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    done: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    open: AtomicU64,
    dropped: AtomicU64,
}

/// Effects that wait.
#[derive(Default)]
pub(super) struct Effects {
    due: Mutex<VecDeque<Arc<Due>>>,
    more: Notify,
    pub(super) counts: Counts,
}

impl Effects {
    fn due(&self) -> MutexGuard<'_, VecDeque<Arc<Due>>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, due: &Due) -> bool {
        self.due().iter().any(|one| one.told.effect == due.told.effect)
    }
}

/// One that waits.
struct Due {
    told: Told,
    /// A start found it in the ledger.
    settled: bool,
    /// It was ended.
    over: AtomicBool,
}

/// `effect.due`, as it is written and read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    effect: String,
    tenant: TenantId,
    made: Created,
}

/// `effect.outcome`.
#[derive(Serialize)]
struct Outcome<'a> {
    effect: &'a str,
    exchange: &'a ExchangeId,
    tenant: &'a TenantId,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    settled: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    clock_moved: bool,
}

/// What one try came to.
enum Tried {
    Done,
    /// Nothing follows, for good.
    Refused(String),
    Again,
}

/// What an exchange may make, for whom: held by whoever reads the application's answer.
pub struct Maker {
    engine: Arc<Engine>,
    live: Arc<Live>,
    tenant: TenantId,
    creates: Creates,
    on: Option<ActedOn>,
    creator: Option<SubjectRef>,
    withheld: Option<&'static str>,
    token_roles: BTreeSet<RoleName>,
    environment: Option<EnvironmentId>,
}

impl Maker {
    /// Of an exchange that was admitted on a route that creates; `None` where it was not recorded, so that nothing must be made.
    pub fn new(
        engine: &Arc<Engine>,
        admission: &Admission,
        knock: &Knock,
        subject: &VerifiedSubject,
    ) -> Option<Maker> {
        let live = Arc::clone(admission.live()?);
        let Path::Rule(number) = knock.path else { return None };
        let rule = knock.policy.rules.get(number)?;
        let acting_as = admission.staff().and_then(|staff| staff.basis.acting_as().cloned());
        let (creator, withheld) = match (subject.kind, acting_as) {
            (SubjectKind::Member, _) => (Some(subject.id.clone()), subject.acting.then_some(ACTING)),
            (SubjectKind::Staff, Some(user)) => (Some(user), Some(ACTING)),
            (SubjectKind::Staff | SubjectKind::Service, _) => (None, Some(NOT_MEMBER)),
        };
        // Of the others it does not matter later which they were.
        let apart = subject.roles.iter().filter(|role| knock.policy.resources.joins.contains_key(*role));
        Some(Maker {
            engine: Arc::clone(engine),
            tenant: TenantId::new(knock.tenant.as_str()?).ok()?,
            creates: rule.creates.as_deref()?.clone(),
            on: acted_on(rule, knock),
            creator,
            withheld,
            token_roles: apart.cloned().collect(),
            environment: subject.environment.clone(),
            live,
        })
    }

    /// In which tenant.
    pub fn tenant(&self) -> &str {
        self.tenant.as_str()
    }

    /// Where the identifier of what is made stands.
    pub fn id(&self) -> &IdFrom {
        &self.creates.id
    }

    fn created(&self, id: ResourceId) -> Created {
        let lives = self.live.effect.lives.get().copied().unwrap_or_default();
        Created {
            tenant_life: lives.tenant,
            left: lives.left,
            exchange: self.live.exchange.clone(),
            resource: ResourceRef { kind: self.creates.kind.clone(), id },
            on: self.on.clone(),
            creator: self.creator.clone(),
            withheld: self.withheld.map(str::to_owned),
            token_roles: self.token_roles.clone(),
            environment: self.environment.clone(),
            role: self.creates.role.clone(),
            becomes: self.creates.becomes.clone(),
        }
    }

    /// The application is about to hear of the request: what it makes of it is open from here on.
    pub fn said(&self) {
        self.live.effect.put(SAID);
    }

    /// It has heard nothing of it after all; or it said that it made nothing.
    pub fn nothing(&self) {
        self.live.effect.put(NOTHING);
    }

    /// It has made something, and nobody knows what.
    pub fn unknown(&self, why: Unread) {
        let code = why.code();
        let _ = self.live.effect.why.set(code.to_owned());
        self.live.effect.put(UNKNOWN);
        self.engine.effects.counts.unknown.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(exchange = %self.live.exchange, code, %why, "what an application made cannot be told from its answer");
    }

    /// It has made this. Answers when what follows is in force, or queued. It goes on by itself where nobody waits any more.
    pub async fn made(&self, id: ResourceId) {
        let (engine, live) = (Arc::clone(&self.engine), Arc::clone(&self.live));
        let told = Told {
            effect: format!("eff_{}", live.exchange),
            tenant: self.tenant.clone(),
            made: self.created(id),
        };
        self.live.effect.put(HEARD);
        let _ = self.engine.background.spawn(async move { engine.bring_about(&live, told).await }).await;
    }
}

/// What a request acted on, as far as its path names it.
fn acted_on(rule: &Rule, knock: &Knock) -> Option<ActedOn> {
    let named = |id: &str| ResourceId::new(id).ok();
    let resource = ResourceRef { kind: rule.resource.clone()?, id: named(knock.resource.as_deref()?)? };
    let outer = knock.within.iter().map(|id| id.as_deref().and_then(named));
    let within = rule.within.types.iter().cloned().zip(outer).collect();
    Some(ActedOn { resource, within, checked: rule.within.checked })
}

impl Engine {
    /// Notes, before a request that may create something goes out, in which lives of tenant and member it was asked: what it makes
    /// may be told and done much later.
    pub(super) async fn note_lives(
        &self,
        live: &Live,
        knock: &Knock,
        subject: &VerifiedSubject,
        facts: &Facts,
    ) {
        let Path::Rule(number) = knock.path else { return };
        if knock.policy.rules.get(number).is_none_or(|rule| rule.creates.is_none()) {
            return;
        }
        let Some(id) = knock.tenant.as_str().and_then(|name| TenantId::new(name).ok()) else { return };
        let left = facts.member(id.as_str(), &subject.id).ok().flatten().map(|row| row.left);
        let tenant = match facts.tenant(id.as_str()) {
            Ok(tenant) => tenant.map(|tenant| tenant.life),
            // Members by token do without it, also while the store is down: then nobody knows.
            Err(_) => match self.fact(&Key::Tenant(id)).await {
                Fact::Found(found) => match &found.document {
                    Document::Tenant(tenant) => Some(tenant.life),
                    _ => None,
                },
                Fact::Absent | Fact::Unavailable => None,
            },
        };
        let _ = live.effect.lives.set(Lives { tenant, left });
    }

    /// Tries at once; what does not come to its end in time is queued.
    async fn bring_about(self: Arc<Self>, live: &Live, told: Told) {
        let first = {
            let (engine, told) = (Arc::clone(&self), told.clone());
            // On its own: a try that takes long goes on, and the next finds what it has done.
            self.background.spawn(async move { engine.try_effect(&told).await })
        };
        match tokio::time::timeout(PATIENCE, first).await {
            Ok(Ok(Tried::Done)) => {
                self.effects.counts.done.fetch_add(1, Ordering::Relaxed);
                live.effect.put(DONE);
            }
            Ok(Ok(Tried::Refused(code))) => {
                self.effects.counts.refused.fetch_add(1, Ordering::Relaxed);
                let _ = live.effect.why.set(code);
                live.effect.put(REFUSED);
            }
            Ok(Ok(Tried::Again) | Err(_)) | Err(_) => {
                self.put_off(told).await;
                live.effect.put(QUEUED);
            }
        }
    }

    /// Makes the change, once.
    async fn try_effect(self: &Arc<Self>, told: &Told) -> Tried {
        let command = Command::Created { tenant: told.tenant.clone(), made: Box::new(told.made.clone()) };
        match self.change(command, Giver::Application).await {
            Ok(_) => Tried::Done,
            Err(ChangeFault::Refused(Refusal::Unavailable)) => Tried::Again,
            Err(ChangeFault::Refused(refusal)) => Tried::Refused(refusal.code().to_owned()),
            Err(fault) => {
                tracing::warn!(%fault, effect = told.effect, "what follows from a creation cannot be done yet");
                Tried::Again
            }
        }
    }

    /// Writes down that it is due, so that the next start finds it, and queues it.
    async fn put_off(self: &Arc<Self>, told: Told) {
        let body = Body::of(&told).inspect_err(|fault| {
            tracing::error!(%fault, effect = told.effect, "what is due could not be written as a record");
        });
        if let Ok(body) = body {
            let draft = Draft {
                opens: Some(told.effect.clone()),
                class: Class::Reserved,
                ..Draft::new(records::EFFECT_DUE, self.now().ms(), body)
            };
            let engine = Arc::clone(self);
            let written = self.background.spawn(async move {
                if let Err(fault) = engine.journal.append(draft.clone()).await {
                    tracing::error!(%fault, "what is due after a creation is in memory only, and written later");
                    engine.scribe.push(draft);
                }
            });
            // A ledger that hangs holds no answer up for longer than that.
            if tokio::time::timeout(PATIENCE, written).await.is_err() {
                tracing::error!("what is due after a creation is not durable yet");
            }
        }
        self.queue(Due { told, settled: false, over: AtomicBool::new(false) });
    }

    fn queue(&self, due: Due) {
        let effect = due.told.effect.clone();
        let full = {
            let mut all = self.effects.due();
            let full = all.len() >= MOST_DUE;
            if !full {
                all.push_back(Arc::new(due));
            }
            full
        };
        if full {
            self.effects.counts.dropped.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                effect,
                "too much is due after creations already; the next start finds this one in the ledger"
            );
        }
        self.effects.more.notify_one();
    }

    /// What a start found due in the ledger: done as if it were just told.
    pub(super) fn due_again(&self, line: &str) -> Result<(), serde_json::Error> {
        let told: Told = serde_json::from_str(line)?;
        let due = Due { told, settled: true, over: AtomicBool::new(false) };
        // A start that is repeated finds it again.
        if !self.effects.has(&due) {
            self.queue(due);
        }
        Ok(())
    }

    /// Runs for as long as the gateway does: does what is due.
    pub async fn keep_effects(self: Arc<Self>) {
        let mut rest = REST;
        loop {
            if self.effects_queued() == 0 {
                self.effects.more.notified().await;
                rest = REST;
            }
            let before = self.effects_queued();
            let left = self.effects_once().await;
            if left > 0 {
                rest = if left < before { REST } else { (rest * 2).min(LONGEST_REST) };
                tokio::time::sleep(rest).await;
            }
        }
    }

    /// Tries what is due in turn, up to the first that cannot be done yet; answers how much is left. What keeps that one is likely to
    /// keep the others, and each try is two records: it goes behind them, and the next round begins with another.
    pub async fn effects_once(self: &Arc<Self>) -> usize {
        let all: Vec<Arc<Due>> = self.effects.due().iter().cloned().collect();
        for due in all {
            let (outcome, reason, count) = match self.try_effect(&due.told).await {
                Tried::Again => {
                    let mut all = self.effects.due();
                    if all.front().is_some_and(|first| Arc::ptr_eq(first, &due)) {
                        all.rotate_left(1);
                    }
                    break;
                }
                Tried::Done => ("done", None, &self.effects.counts.done),
                Tried::Refused(code) => ("refused", Some(code), &self.effects.counts.refused),
            };
            if due.over.swap(true, Ordering::AcqRel) {
                continue;
            }
            count.fetch_add(1, Ordering::Relaxed);
            self.conclude_effect(&due, outcome, reason.as_deref());
            self.effects.due().retain(|one| !Arc::ptr_eq(one, &due));
        }
        self.effects_queued()
    }

    fn conclude_effect(&self, due: &Due, outcome: &'static str, reason: Option<&str>) {
        let Told { effect, tenant, made } = &due.told;
        let (exchange, settled) = (&made.exchange, due.settled);
        let event = Outcome { effect, exchange, tenant, outcome, reason, settled, clock_moved: self.moved() };
        match Body::of(&event) {
            Ok(body) => self.scribe.push(Draft {
                closes: Some(effect.clone()),
                class: Class::Reserved,
                ..Draft::new(records::EFFECT_OUTCOME, self.now().ms(), body)
            }),
            Err(fault) => tracing::error!(%fault, "an outcome could not be written as a record"),
        }
    }

    /// What the outcome of an exchange says of what follows from it.
    pub(super) fn effect_of<'l>(&self, live: &'l Live) -> (Option<&'static str>, Option<&'l str>) {
        let words = live.effect.words();
        if words.0 == Some(records::EFFECT_OPEN) {
            self.effect_left_open();
        }
        words
    }

    /// The outcome of an exchange says that nobody knows what the application made of it.
    pub(super) fn effect_left_open(&self) {
        self.effects.counts.open.fetch_add(1, Ordering::Relaxed);
    }

    /// How many effects wait to be done.
    pub fn effects_queued(&self) -> usize {
        self.effects.due().len()
    }

    /// What became of effects since the start, by name.
    pub fn effects(&self) -> [(&'static str, u64); 5] {
        let counts = &self.effects.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("done", read(&counts.done)),
            ("refused", read(&counts.refused)),
            ("unknown", read(&counts.unknown)),
            ("open", read(&counts.open)),
            ("dropped", read(&counts.dropped)),
        ]
    }

    /// What the rule of an exchange makes, for the record of its intent.
    pub(super) fn creates(rule: Option<&Rule>) -> Option<&ResourceType> {
        rule.and_then(|rule| rule.creates.as_deref()).map(|creates| &creates.kind)
    }
}
