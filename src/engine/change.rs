//! How a change of consent, grants or sessions happens.
//!
//! decide → intent durable → commit → in force here, what it ends is cut → outcome durable → answer. A change runs to
//! its end also when nobody waits for the answer any more.
//!
//! What narrows comes the other way round: it is in force in this gateway's memory first, and then everything is tried to
//! make it durable. Where that fails or takes long the answer says so, and the mender goes on (see [`super::mend`]).

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::oneshot;

use crate::{
    audit::{
        body::Body,
        journal::{AppendError, Class, Draft},
    },
    identity::VerifiedSubject,
    lifecycle::{Actor, Change, Command, Event, Outcome, Refusal, apply},
    model::{ChangeId, Key, Stored, SubjectKind, Timestamp, Version, join::narrowest},
    policy::{Fact, Facts, Policy, Snapshot},
    state::{Commit, CommitFault, StoreFault, Unreadable},
};

use super::{
    Engine,
    admit::{MOST_ROUNDS, personal, rests},
    fuse::Look,
    hooks::Step,
    ids::new_id,
    mend::{Origin, Pending},
    records,
};

/// How often a change is decided anew because another one came first.
const MOST_ATTEMPTS: usize = 16;
/// How long an answer waits for exchanges to part from their sockets.
const PARTING: Duration = Duration::from_secs(2);
/// How long the answer to a narrowing, which is in force already, waits for it to become durable.
const DURABLE: Duration = Duration::from_secs(1);

/// Who gives a command.
#[derive(Debug, Clone)]
pub enum Giver {
    /// A verified caller, and from which address.
    Subject(Arc<VerifiedSubject>, String),
    /// The configuration, at start.
    Configuration,
    /// The passing of time.
    Clock,
}

impl Giver {
    pub(super) fn actor(&self) -> Actor<'_> {
        match self {
            Giver::Subject(subject, _) => Actor::Subject(subject.subject()),
            Giver::Configuration => Actor::Configuration,
            Giver::Clock => Actor::Clock,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Giver::Subject(..) => "subject",
            Giver::Configuration => "configuration",
            Giver::Clock => "clock",
        }
    }
}

/// What a change came to.
#[derive(Debug, Clone)]
pub enum Changed {
    /// Committed, in force, recorded.
    Done {
        /// Its id.
        change: ChangeId,
        /// What happened.
        events: Vec<Event>,
        /// The documents as they are now.
        documents: Vec<(Key, Stored)>,
    },
    /// Everything was as wanted already.
    Unchanged,
    /// In force on this gateway from now on, and not yet durable everywhere it has to be.
    InForce {
        /// Its id.
        change: ChangeId,
        /// What happened.
        events: Vec<Event>,
        /// What it still waits for: `ledger`, `store`, `cuts`.
        waiting: Vec<&'static str>,
    },
}

/// Why a change did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeFault {
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be recorded, so it did not happen.
    #[error("the record cannot be written, so nothing was changed: {0}")]
    Ledger(#[from] AppendError),
    /// It could not be stored.
    #[error("the state cannot be written, so nothing was changed: {0}")]
    Store(String),
    /// Others kept changing the same things.
    #[error("others keep changing the same things; try again")]
    Contended,
    /// An earlier change that takes something away is in force and not stored yet; on top of it nothing is given.
    #[error("an earlier change that took something away is not stored yet; try again when it is")]
    Waiting,
    /// What an earlier life left open is not settled yet.
    #[error("the gateway is still settling what it left open when it stopped; try again in a moment")]
    Settling,
    /// The clock is behind the ledger (rule 7).
    #[error("the gateway's clock is behind its own record; set it right")]
    ClockBehind,
    /// The task that made the change died.
    #[error(
        "the gateway could not bring the change to its end; look at what is in force before trying again"
    )]
    Lost,
}

impl ChangeFault {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            ChangeFault::Refused(refusal) => refusal.code(),
            ChangeFault::Ledger(fault) => fault.code(),
            ChangeFault::Store(_) => "state_unavailable",
            ChangeFault::Contended => "contended",
            ChangeFault::Waiting => "change_waiting",
            ChangeFault::Settling => "settling",
            ChangeFault::ClockBehind => "clock_behind",
            ChangeFault::Lost => "lost",
        }
    }
}

/// Why documents cannot be written on top of what is there.
#[derive(Debug, thiserror::Error)]
enum Unwritable {
    #[error(transparent)]
    Store(#[from] StoreFault),
    #[error(transparent)]
    Document(#[from] Unreadable),
}

/// What one attempt came to.
pub(super) enum Attempt {
    Over(Changed),
    Overtaken,
}

/// What an attempt is made with.
pub(super) struct Try<'a> {
    pub(super) command: &'a Command,
    pub(super) giver: &'a Giver,
    pub(super) now: Timestamp,
    /// The change's id; a repeat carries the same one.
    pub(super) change: ChangeId,
    /// Of a narrowing that is in force in memory: what is kept of it. Facts then come from the store itself.
    pub(super) pending: Option<&'a Pending>,
}

/// A narrowing is in force: what is kept of it, and whether all that it cut has parted.
type InForce = (Arc<Pending>, bool);

impl Engine {
    /// Makes a change: see the module's header.
    pub async fn change(self: &Arc<Self>, command: Command, giver: Giver) -> Result<Changed, ChangeFault> {
        let engine = Arc::clone(self);
        let (tell, in_force) = oneshot::channel();
        let mut task = self.background.spawn(async move { engine.run(&command, &giver, tell).await });
        let early = tokio::select! {
            biased;
            done = &mut task => return done.unwrap_or(Err(ChangeFault::Lost)),
            early = in_force => early,
        };
        let Ok((pending, parted)) = early else { return task.await.unwrap_or(Err(ChangeFault::Lost)) };
        match tokio::time::timeout(DURABLE, &mut task).await {
            Ok(done) => done.unwrap_or(Err(ChangeFault::Lost)),
            // It goes on by itself; from here on it is not given up any more.
            Err(_) if pending.answer() => Ok(pending.in_force(parted)),
            Err(_) => task.await.unwrap_or(Err(ChangeFault::Lost)),
        }
    }

    async fn run(
        self: &Arc<Self>,
        command: &Command,
        giver: &Giver,
        tell: oneshot::Sender<InForce>,
    ) -> Result<Changed, ChangeFault> {
        let by_staff = matches!(giver, Giver::Subject(subject, _) if subject.kind == SubjectKind::Staff);
        let mut tell = Some(tell);
        for _ in 0..MOST_ATTEMPTS {
            let now = self.moment();
            // Rule 7 shuts out staff; a tenant may always take back what it gave.
            if by_staff && self.clock_behind(self.now()) {
                return Err(ChangeFault::ClockBehind);
            }
            let Some(change) = new_id("chg", now).ok().and_then(|id| ChangeId::new(&id).ok()) else {
                return Err(ChangeFault::Lost);
            };
            match self.attempt(Try { command, giver, now, change, pending: None }, &mut tell).await {
                Ok(Attempt::Over(changed)) => return Ok(changed),
                Ok(Attempt::Overtaken) => {}
                Err(fault) => {
                    if let ChangeFault::Refused(refusal) = &fault {
                        self.record_refusal(command, giver, refusal);
                    }
                    return Err(fault);
                }
            }
        }
        Err(ChangeFault::Contended)
    }

    async fn attempt(
        self: &Arc<Self>,
        this: Try<'_>,
        tell: &mut Option<oneshot::Sender<InForce>>,
    ) -> Result<Attempt, ChangeFault> {
        let policy = self.policy();
        let (change, facts) = self.apply(&this, &policy).await?;
        if change.documents.is_empty() {
            return Ok(Attempt::Over(self.as_wanted(&this, change.events, &facts).await));
        }
        let by_person = matches!(this.giver, Giver::Subject(..));
        if by_person && !change.narrows && !self.settled() {
            return Err(ChangeFault::Settling);
        }
        self.hooks.at(Step::ChangeDecided).await;
        if change.narrows {
            return self.narrow(this, change, facts, &policy, tell.take()).await.map(Attempt::Over);
        }
        let keys: Vec<&Key> = change.documents.iter().map(|(key, _)| key).collect();
        if self.waiting_on(&keys).await.is_some() {
            return Err(ChangeFault::Waiting);
        }
        self.make_durable(&this, change, &facts, &policy).await
    }

    /// In force in memory first, then as durable as can be.
    async fn narrow(
        self: &Arc<Self>,
        this: Try<'_>,
        change: Change,
        facts: Facts,
        policy: &Policy,
        tell: Option<oneshot::Sender<InForce>>,
    ) -> Result<Changed, ChangeFault> {
        let origin = Origin::Made { command: this.command.clone(), giver: this.giver.clone() };
        let pending = Arc::new(Pending::new(origin, this.change.clone(), this.now, &change));
        self.cells.narrowed(&this.change, change.documents.clone());
        self.keep_pending(&pending);
        let hands = self.take_in_hand(&pending);
        let parted = self.put_in_force(&pending.keys).await;
        if let Some(tell) = tell {
            // Whoever asked may be gone.
            let _ = tell.send((Arc::clone(&pending), parted));
        }
        let this = Try { pending: Some(&pending), ..this };
        let mut result = self.make_durable(&this, change, &facts, policy).await;
        for _ in 1..MOST_ATTEMPTS {
            if !matches!(result, Ok(Attempt::Overtaken)) {
                break;
            }
            result = self.again(&this).await;
        }
        match result {
            Ok(Attempt::Over(changed)) => {
                self.drop_pending(&pending);
                drop(hands);
                Ok(changed.and_parted(&pending.change, parted))
            }
            // Nothing was promised yet, and it is not as the caller saw it: nothing of it stays.
            Err(ChangeFault::Refused(refusal)) if refusal != Refusal::Unavailable && pending.give_up() => {
                self.conclude_needless(&pending);
                self.drop_pending(&pending);
                drop(hands);
                Err(ChangeFault::Refused(refusal))
            }
            other => {
                if let Err(fault) = other {
                    tracing::warn!(%fault, change = %pending.change, "a narrowing is in force in memory; it becomes durable later");
                }
                let _ = pending.answer();
                let changed = pending.in_force(parted);
                drop(hands);
                self.mend.notify_one();
                Ok(changed)
            }
        }
    }

    /// Decides a narrowing anew, on what the store itself says, and makes that durable.
    pub(super) async fn again(self: &Arc<Self>, this: &Try<'_>) -> Result<Attempt, ChangeFault> {
        let policy = self.policy();
        let (change, facts) = self.apply(this, &policy).await?;
        // What would give something by now is not what was asked for: others have taken more away.
        if change.documents.is_empty() || !change.narrows {
            if let Some(pending) = this.pending {
                self.conclude_needless(pending);
            }
            return Ok(Attempt::Over(Changed::Unchanged));
        }
        self.make_durable(this, change, &facts, &policy).await
    }

    async fn make_durable(
        self: &Arc<Self>,
        this: &Try<'_>,
        change: Change,
        facts: &Facts,
        policy: &Policy,
    ) -> Result<Attempt, ChangeFault> {
        // What narrows is recorded first, with its documents: where the store cannot take it, the next start finds it.
        if let Some(pending) = this.pending {
            self.record_narrowing(this, pending, &change, facts, policy).await?;
        }
        let writes = match self.stored_after(&this.change, &change, facts).await {
            Ok(Some(writes)) => writes,
            Ok(None) => return Ok(Attempt::Overtaken),
            Err(fault) => return Err(ChangeFault::Store(fault.to_string())),
        };
        if this.pending.is_none() {
            let draft = self.change_intent(this, facts, &change, policy)?;
            self.journal.append(draft).await?;
        }
        self.hooks.at(Step::ChangeRecorded).await;
        let commit = Commit {
            change: this.change.clone(),
            at: this.now,
            read: facts.versions().map(|(key, version)| (key.clone(), version)).collect(),
            write: writes.clone(),
        };
        let position = match self.commit(commit).await {
            Ok(position) => position,
            Err(CommitFault::Conflict(changed)) => {
                // The intent of a narrowing stays open until it is stored or needless.
                if this.pending.is_none() {
                    self.conclude_change(this, records::Fate::Overtaken, None, &[], &[]);
                }
                // What was only read may be the stale one, and would be as stale at the next attempt.
                self.cells.forget(&changed);
                for (key, _) in &writes {
                    self.cells.forget(std::slice::from_ref(key));
                }
                return Ok(Attempt::Overtaken);
            }
            // Its intent stays open until a try succeeds.
            Err(fault) if this.pending.is_some() => return Err(ChangeFault::Store(fault.to_string())),
            // It may have been applied: the intent stays open, the next start asks the store, and until then nobody goes
            // by what was known before.
            Err(CommitFault::Ambiguous(why)) => {
                for (key, _) in &writes {
                    self.cells.forget(std::slice::from_ref(key));
                }
                return Err(ChangeFault::Store(why.to_string()));
            }
            Err(fault) => {
                self.conclude_change(this, records::Fate::Failed, None, &[], &[]);
                return Err(ChangeFault::Store(fault.to_string()));
            }
        };
        if let Some(pending) = this.pending {
            pending.committed.store(true, Ordering::Release);
            // Durable where it counts; nobody else has to wait for it.
            self.unlist(pending);
        }
        self.hooks.at(Step::ChangeCommitted).await;
        self.cells.committed(&writes);
        let parted = self.put_in_force(writes.iter().map(|(key, _)| key)).await;
        self.hooks.at(Step::ChangeInForce).await;
        let recorded = self.record_outcome(this, position, &change.events, &writes).await;
        self.hooks.at(Step::ChangeConcluded).await;
        let mut waiting = Vec::new();
        if !recorded {
            waiting.push("ledger");
        }
        if !parted {
            waiting.push("cuts");
        }
        let (change, events) = (this.change.clone(), change.events);
        Ok(Attempt::Over(if waiting.is_empty() {
            Changed::Done { change, events, documents: writes }
        } else {
            Changed::InForce { change, events, waiting }
        }))
    }

    /// Makes the intent of a narrowing durable, once. Where the ledger does not take it, it is left for when it does,
    /// and the change goes on.
    async fn record_narrowing(
        &self,
        this: &Try<'_>,
        pending: &Pending,
        change: &Change,
        facts: &Facts,
        policy: &Policy,
    ) -> Result<(), AppendError> {
        if pending.recorded.load(Ordering::Acquire) {
            return Ok(());
        }
        let draft = self.change_intent(this, facts, change, policy)?;
        if let Err(fault) = self.journal.append(draft.clone()).await {
            tracing::warn!(%fault, change = %this.change, "the intent of a narrowing is written later");
            pending.late.store(true, Ordering::Release);
            self.scribe.push(draft);
        }
        pending.recorded.store(true, Ordering::Release);
        Ok(())
    }

    /// Somebody made the change already. Their answer may still be waiting for cuts, and so must this one (law 6); what is
    /// not durable yet is not said to be.
    async fn as_wanted(&self, this: &Try<'_>, events: Vec<Event>, facts: &Facts) -> Changed {
        let keys: Vec<&Key> = facts.versions().map(|(key, _)| key).collect();
        let mut waiting = self.waiting_on(&keys).await.unwrap_or_default();
        if !self.put_in_force(keys).await {
            waiting.push("cuts");
        }
        if waiting.is_empty() {
            Changed::Unchanged
        } else {
            Changed::InForce { change: this.change.clone(), events, waiting }
        }
    }

    /// Asks the rules, fetching what they name.
    async fn apply(&self, this: &Try<'_>, policy: &Policy) -> Result<(Change, Facts), ChangeFault> {
        let mut facts = Facts::new();
        for _ in 0..MOST_ROUNDS {
            match apply(this.command, &facts, this.giver.actor(), this.now, policy) {
                Outcome::Changed(change) => return Ok((change, facts)),
                Outcome::Refused(refusal) => return Err(ChangeFault::Refused(refusal)),
                Outcome::Need(need) if this.pending.is_some() => {
                    for key in need.0 {
                        let fact = self.committed_fact(&key, policy).await;
                        facts.put(key, fact);
                    }
                }
                Outcome::Need(need) => self.fetch(need, &mut facts, None).await,
            }
        }
        Err(ChangeFault::Contended)
    }

    /// What the store itself says, past the cells and what lies over them.
    pub(super) async fn committed_fact(&self, key: &Key, policy: &Policy) -> Fact {
        match self.store.load(std::slice::from_ref(key)).await.map(|mut found| found.pop()) {
            Ok(Some(None)) => Fact::Absent,
            Ok(Some(Some(Ok(stored)))) => match narrowest(&stored, &policy.ladder) {
                Some(document) => Fact::Found(Arc::new(Snapshot { version: stored.version, document })),
                None => Fact::Unavailable,
            },
            Ok(Some(Some(Err(_))) | None) | Err(_) => Fact::Unavailable,
        }
    }

    /// The documents with their stamps; `None` when one of them is no longer as it was read.
    async fn stored_after(
        &self,
        id: &ChangeId,
        change: &Change,
        facts: &Facts,
    ) -> Result<Option<Vec<(Key, Stored)>>, Unwritable> {
        let keys: Vec<Key> = change.documents.iter().map(|(key, _)| key.clone()).collect();
        let before = self.store.load(&keys).await?;
        let mut writes = Vec::with_capacity(keys.len());
        for ((key, document), before) in change.documents.iter().zip(before) {
            let before = before.transpose()?;
            let version = before.as_ref().map_or(Version::NONE, |stored| stored.version);
            if facts.version(key).is_some_and(|read| read != version) {
                self.cells.forget(std::slice::from_ref(key));
                return Ok(None);
            }
            writes.push((key.clone(), Stored::after(before.as_ref(), id.clone(), document.clone())));
        }
        Ok(Some(writes))
    }

    fn change_intent(
        &self,
        this: &Try<'_>,
        facts: &Facts,
        change: &Change,
        policy: &Policy,
    ) -> Result<Draft, AppendError> {
        let (subject, values) = match this.giver {
            Giver::Subject(subject, client) => (Some(subject), personal(subject, client)),
            Giver::Configuration | Giver::Clock => (None, Vec::new()),
        };
        let event = records::ChangeIntent {
            change: this.change.as_str(),
            command: this.command.code(),
            tenant: this.command.tenant(),
            subject: subject.map(|subject| &subject.id),
            token: subject.map(|subject| subject.fingerprint().to_string()),
            actor: this.giver.word(),
            rests_on: rests(facts),
            writes: change.documents.iter().map(|(key, _)| key.to_string()).collect(),
            events: &change.events,
            documents: if change.narrows { &change.documents } else { &[] },
            policy: &policy.fingerprint,
            clock_moved: self.moved(),
        };
        let body = Body::of(&event).map_err(|fault| AppendError::BadDraft(fault.to_string()))?;
        Ok(Draft {
            session: session_of(this.command),
            opens: Some(this.change.to_string()),
            personal: values,
            class: if change.narrows { Class::Reserved } else { Class::Ordinary },
            ..Draft::new(records::CHANGE_INTENT, self.now().ms(), body)
        })
    }

    /// Commits; an answer that leaves it open is followed by asking.
    pub(super) async fn commit(&self, commit: Commit) -> Result<u64, CommitFault> {
        let change = commit.change.clone();
        match self.store.commit(commit).await {
            Ok(committed) => Ok(committed.position),
            Err(CommitFault::Ambiguous(why)) => match self.store.asked(&change).await {
                Ok(Some(position)) => Ok(position),
                Ok(None) | Err(_) => Err(CommitFault::Ambiguous(why)),
            },
            Err(fault) => Err(fault),
        }
    }

    /// Has every exchange that rests on these documents decided again, and waits until those that were cut have
    /// parted from their sockets. `false`: one of them has not, in time.
    pub(super) async fn put_in_force<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) -> bool {
        let resting = self.registry.resting_on(keys);
        // All of them hold from here on, before any is decided.
        for live in &resting {
            live.fuse.touch();
        }
        for live in &resting {
            self.judge_again(live).await;
        }
        let now = self.now();
        let partings = async {
            for live in &resting {
                if matches!(live.fuse.look(now), Look::Burnt(_)) {
                    live.fuse.parted().await;
                }
            }
        };
        tokio::time::timeout(PARTING, partings).await.is_ok()
    }

    /// Writes the outcome of a committed change; `false`: it is written later.
    async fn record_outcome(
        &self,
        this: &Try<'_>,
        position: u64,
        events: &[Event],
        documents: &[(Key, Stored)],
    ) -> bool {
        let about = About::of(this);
        let Some(draft) = self.outcome(&about, records::Fate::Stored, Some(position), events, documents)
        else {
            return false;
        };
        // Behind an intent that still waits to be written, never before it.
        if this.pending.is_some_and(|pending| pending.late.load(Ordering::Acquire)) {
            self.scribe.push(draft);
            return false;
        }
        match self.journal.append(draft.clone()).await {
            Ok(_) => true,
            Err(fault) => {
                tracing::warn!(%fault, change = %this.change, "the outcome of a change is written later");
                self.scribe.push(draft);
                false
            }
        }
    }

    fn conclude_change(
        &self,
        this: &Try<'_>,
        outcome: records::Fate,
        position: Option<u64>,
        events: &[Event],
        documents: &[(Key, Stored)],
    ) {
        if let Some(draft) = self.outcome(&About::of(this), outcome, position, events, documents) {
            self.scribe.push(draft);
        }
    }

    /// The outcome of a change as a record. One that cannot be made is told in the log, and its intent stays open.
    pub(super) fn outcome(
        &self,
        about: &About<'_>,
        outcome: records::Fate,
        position: Option<u64>,
        events: &[Event],
        documents: &[(Key, Stored)],
    ) -> Option<Draft> {
        let event = records::ChangeOutcome {
            change: about.change.as_str(),
            outcome,
            position,
            events,
            documents,
            settled: about.settled,
            clock_moved: self.moved(),
        };
        match Body::of(&event) {
            Ok(body) => Some(Draft {
                session: about.session.clone(),
                ends_session: events.iter().any(|event| matches!(event, Event::SessionEnded { .. })),
                closes: Some(about.change.to_string()),
                class: Class::Reserved,
                ..Draft::new(records::CHANGE_OUTCOME, self.now().ms(), body)
            }),
            Err(fault) => {
                tracing::error!(%fault, change = %about.change, "an outcome could not be written as a record");
                None
            }
        }
    }

    fn record_refusal(&self, command: &Command, giver: &Giver, refusal: &Refusal) {
        let Giver::Subject(subject, _) = giver else { return };
        let event = records::ChangeRefused {
            command: command.code(),
            tenant: command.tenant().as_str(),
            subject: Some(&subject.id),
            reason: refusal.code(),
            clock_moved: self.moved(),
        };
        self.scribe.refused_change(self.now(), subject.kind, &event);
    }
}

/// What an outcome is about.
pub(super) struct About<'a> {
    pub(super) change: &'a ChangeId,
    pub(super) session: Option<String>,
    /// Found by a start.
    pub(super) settled: bool,
}

impl<'a> About<'a> {
    fn of(this: &'a Try<'_>) -> About<'a> {
        About { change: &this.change, session: session_of(this.command), settled: false }
    }
}

impl Changed {
    /// The same, waiting for cuts besides where not all have parted.
    fn and_parted(self, id: &ChangeId, parted: bool) -> Changed {
        match self {
            Changed::Unchanged if !parted => {
                Changed::InForce { change: id.clone(), events: Vec::new(), waiting: vec!["cuts"] }
            }
            Changed::Done { change, events, .. } if !parted => {
                Changed::InForce { change, events, waiting: vec!["cuts"] }
            }
            Changed::InForce { change, events, mut waiting } if !parted && !waiting.contains(&"cuts") => {
                waiting.push("cuts");
                Changed::InForce { change, events, waiting }
            }
            same @ (Changed::Done { .. } | Changed::Unchanged | Changed::InForce { .. }) => same,
        }
    }
}

pub(super) fn session_of(command: &Command) -> Option<String> {
    match command {
        Command::StartSession { session, .. } | Command::EndSession { session, .. } => {
            Some(session.to_string())
        }
        Command::Expire { key: Key::Session(_, session) } => Some(session.to_string()),
        Command::Expire { .. }
        | Command::RegisterTenant { .. }
        | Command::SetConsent { .. }
        | Command::MakeGrant { .. }
        | Command::MoveGrant { .. }
        | Command::WithdrawGrant { .. } => None,
    }
}
