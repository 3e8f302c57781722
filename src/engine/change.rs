//! How a change of consent, grants or sessions happens.
//!
//! decide → intent durable → commit → in force here, what it ends is cut → outcome durable → answer. A change runs to
//! its end also when nobody waits for the answer any more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    audit::{
        body::Body,
        journal::{AppendError, Class, Draft},
    },
    identity::VerifiedSubject,
    lifecycle::{Actor, Change, Command, Event, Outcome, Refusal, apply},
    model::{ChangeId, Document, Key, Stored, SubjectKind, Timestamp, Version, join::narrowest},
    policy::{Fact, Facts, Policy, Snapshot},
    state::{Commit, CommitFault, StoreFault, Unreadable},
};

use super::{
    Engine,
    admit::{personal, rests},
    fuse::Look,
    hooks::Step,
    ids::new_id,
    mend::Pending,
    records,
};

/// How often a change is decided anew because another one came first.
const MOST_ATTEMPTS: usize = 16;
/// How often a rule may ask for more documents.
const MOST_ROUNDS: usize = 256;
/// How long an answer waits for exchanges to part from their sockets.
const PARTING: Duration = Duration::from_secs(2);

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
    /// An attempt to make durable what is in force in memory only: facts come from the store itself, and what fails
    /// again fails. Holds whether its intent is durable and without outcome.
    pub(super) mending: Option<&'a AtomicBool>,
}

impl Try<'_> {
    fn mends(&self) -> bool {
        self.mending.is_some()
    }

    fn is_recorded(&self) -> bool {
        self.mending.is_some_and(|recorded| recorded.load(Ordering::Acquire))
    }

    fn set_recorded(&self, is: bool) {
        if let Some(recorded) = self.mending {
            recorded.store(is, Ordering::Release);
        }
    }
}

impl Engine {
    /// Makes a change: see the module's header.
    pub async fn change(self: &Arc<Self>, command: Command, giver: Giver) -> Result<Changed, ChangeFault> {
        let engine = Arc::clone(self);
        let task = self.background.spawn(async move { engine.run(&command, &giver).await });
        task.await.unwrap_or(Err(ChangeFault::Lost))
    }

    pub(super) async fn run(
        self: &Arc<Self>,
        command: &Command,
        giver: &Giver,
    ) -> Result<Changed, ChangeFault> {
        let by_person = matches!(giver, Giver::Subject(..));
        let by_staff = matches!(giver, Giver::Subject(subject, _) if subject.kind == SubjectKind::Staff);
        if by_person && !self.settled.load(std::sync::atomic::Ordering::Acquire) {
            return Err(ChangeFault::Settling);
        }
        for _ in 0..MOST_ATTEMPTS {
            let now = self.moment();
            // Rule 7 shuts out staff; a tenant may always take back what it gave.
            if by_staff && self.clock_behind(self.now()) {
                return Err(ChangeFault::ClockBehind);
            }
            let Some(change) = new_id("chg", now).ok().and_then(|id| ChangeId::new(&id).ok()) else {
                return Err(ChangeFault::Lost);
            };
            match self.attempt(Try { command, giver, now, change, mending: None }).await {
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

    pub(super) async fn attempt(self: &Arc<Self>, this: Try<'_>) -> Result<Attempt, ChangeFault> {
        let policy = self.policy();
        let (change, facts) = self.apply(&this, &policy).await?;
        if change.documents.is_empty() {
            return Ok(Attempt::Over(self.as_wanted(this, change.events, &facts).await));
        }
        self.hooks.at(Step::ChangeDecided).await;
        let writes = match self.stored_after(&this.change, &change, &facts).await {
            Ok(Some(writes)) => writes,
            Ok(None) => return Ok(Attempt::Overtaken),
            Err(_) if change.narrows && !this.mends() => {
                return self.in_memory(&this, change, &["ledger", "store"], false).await;
            }
            Err(fault) => return Err(ChangeFault::Store(fault.to_string())),
        };
        if !this.is_recorded() {
            match self.record_intent(&this, &facts, &writes, change.narrows, &policy).await {
                Ok(()) => this.set_recorded(true),
                Err(_) if change.narrows && !this.mends() => {
                    return self.in_memory(&this, change, &["ledger", "store"], false).await;
                }
                Err(fault) => return Err(ChangeFault::Ledger(fault)),
            }
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
                self.conclude_change(&this, records::Fate::Overtaken, None, &[], &[]);
                this.set_recorded(false);
                // What was only read may be the stale one, and would be as stale at the next attempt.
                self.cells.forget(&changed);
                for (key, _) in &writes {
                    self.cells.forget(std::slice::from_ref(key));
                }
                return Ok(Attempt::Overtaken);
            }
            Err(fault) if change.narrows && !this.mends() => {
                tracing::warn!(%fault, "a narrowing could not be committed; it is in force in memory");
                return self.in_memory(&this, change, &["store"], true).await;
            }
            // Its intent stays open until a try succeeds.
            Err(fault) if this.mends() => return Err(ChangeFault::Store(fault.to_string())),
            // It may have been applied: the intent stays open, the next start asks the store, and until then nobody goes
            // by what was known before.
            Err(CommitFault::Ambiguous(why)) => {
                for (key, _) in &writes {
                    self.cells.forget(std::slice::from_ref(key));
                }
                return Err(ChangeFault::Store(why.to_string()));
            }
            Err(fault) => {
                self.conclude_change(&this, records::Fate::Failed, None, &[], &[]);
                return Err(ChangeFault::Store(fault.to_string()));
            }
        };
        self.hooks.at(Step::ChangeCommitted).await;
        self.cells.committed(&writes);
        let parted = self.put_in_force(writes.iter().map(|(key, _)| key)).await;
        self.hooks.at(Step::ChangeInForce).await;
        let recorded = self.record_outcome(&this, position, &change.events, &writes).await;
        self.hooks.at(Step::ChangeConcluded).await;
        let mut waiting = Vec::new();
        if !recorded {
            waiting.push("ledger");
        }
        if !parted {
            waiting.push("cuts");
        }
        Ok(Attempt::Over(if waiting.is_empty() {
            Changed::Done { change: this.change, events: change.events, documents: writes }
        } else {
            Changed::InForce { change: this.change, events: change.events, waiting }
        }))
    }

    /// Somebody made the change already. Their answer may still be waiting for cuts, and so must this one (law 6); what is
    /// not durable yet is not said to be.
    async fn as_wanted(&self, this: Try<'_>, events: Vec<Event>, facts: &Facts) -> Changed {
        if this.mends() {
            return Changed::Unchanged;
        }
        let mut waiting = self.waiting_on(facts).unwrap_or_default();
        if !self.put_in_force(facts.versions().map(|(key, _)| key)).await {
            waiting.push("cuts");
        }
        if waiting.is_empty() {
            Changed::Unchanged
        } else {
            Changed::InForce { change: this.change, events, waiting }
        }
    }

    /// Asks the rules, fetching what they name.
    async fn apply(&self, this: &Try<'_>, policy: &Policy) -> Result<(Change, Facts), ChangeFault> {
        let mut facts = Facts::new();
        for _ in 0..MOST_ROUNDS {
            match apply(this.command, &facts, this.giver.actor(), this.now, policy) {
                Outcome::Changed(change) => return Ok((change, facts)),
                Outcome::Refused(refusal) => return Err(ChangeFault::Refused(refusal)),
                Outcome::Need(need) if this.mends() => {
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
    async fn committed_fact(&self, key: &Key, policy: &Policy) -> Fact {
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
            let read = facts.versions().find(|(known, _)| *known == key).map(|(_, version)| version);
            if read.is_some_and(|read| read != version) {
                self.cells.forget(std::slice::from_ref(key));
                return Ok(None);
            }
            writes.push((key.clone(), Stored::after(before.as_ref(), id.clone(), document.clone())));
        }
        Ok(Some(writes))
    }

    async fn record_intent(
        &self,
        this: &Try<'_>,
        facts: &Facts,
        writes: &[(Key, Stored)],
        narrows: bool,
        policy: &Policy,
    ) -> Result<(), AppendError> {
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
            writes: writes.iter().map(|(key, _)| key.to_string()).collect(),
            policy: &policy.fingerprint,
            clock_moved: self.moved(),
        };
        let body = Body::of(&event).map_err(|fault| AppendError::BadDraft(fault.to_string()))?;
        let draft = Draft {
            session: session_of(this.command),
            opens: Some(this.change.to_string()),
            personal: values,
            class: if narrows { Class::Reserved } else { Class::Ordinary },
            ..Draft::new(records::CHANGE_INTENT, self.now().ms(), body)
        };
        self.journal.append(draft).await.map(|_| ())
    }

    /// Commits; an answer that leaves it open is followed by asking.
    async fn commit(&self, commit: Commit) -> Result<u64, CommitFault> {
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

    /// In force in this gateway's memory; the mender makes it durable when it can.
    async fn in_memory(
        self: &Arc<Self>,
        this: &Try<'_>,
        change: Change,
        waits_for: &[&'static str],
        recorded: bool,
    ) -> Result<Attempt, ChangeFault> {
        let documents: Vec<(Key, Document)> = change.documents;
        let keys: Vec<Key> = documents.iter().map(|(key, _)| key.clone()).collect();
        self.cells.narrowed(&this.change, documents);
        self.keep_pending(Pending {
            command: this.command.clone(),
            giver: this.giver.clone(),
            at: this.now,
            change: this.change.clone(),
            keys: keys.clone(),
            waiting: waits_for.to_vec(),
            recorded: AtomicBool::new(recorded),
        });
        let parted = self.put_in_force(&keys).await;
        let mut waiting = waits_for.to_vec();
        if !parted {
            waiting.push("cuts");
        }
        Ok(Attempt::Over(Changed::InForce { change: this.change.clone(), events: change.events, waiting }))
    }

    fn outcome(
        &self,
        this: &Try<'_>,
        outcome: records::Fate,
        position: Option<u64>,
        events: &[Event],
        documents: &[(Key, Stored)],
    ) -> Option<Draft> {
        let event = records::ChangeOutcome {
            change: this.change.as_str(),
            outcome,
            position,
            events,
            documents,
            settled: false,
            clock_moved: self.moved(),
        };
        let body = Body::of(&event).ok()?;
        Some(Draft {
            session: session_of(this.command),
            closes: Some(this.change.to_string()),
            class: Class::Reserved,
            ..Draft::new(records::CHANGE_OUTCOME, self.now().ms(), body)
        })
    }

    async fn record_outcome(
        &self,
        this: &Try<'_>,
        position: u64,
        events: &[Event],
        documents: &[(Key, Stored)],
    ) -> bool {
        let Some(draft) = self.outcome(this, records::Fate::Stored, Some(position), events, documents) else {
            return false;
        };
        match self.journal.append(draft.clone()).await {
            Ok(_) => true,
            Err(fault) => {
                tracing::warn!(%fault, change = %this.change, "the outcome of a change is written later");
                self.scribe.push(draft);
                false
            }
        }
    }

    pub(super) fn conclude_change(
        &self,
        this: &Try<'_>,
        outcome: records::Fate,
        position: Option<u64>,
        events: &[Event],
        documents: &[(Key, Stored)],
    ) {
        if let Some(draft) = self.outcome(this, outcome, position, events, documents) {
            self.scribe.push(draft);
        }
    }

    fn record_refusal(&self, command: &Command, giver: &Giver, refusal: &Refusal) {
        let Giver::Subject(subject, _) = giver else { return };
        let event = records::ChangeRefused {
            command: command.code(),
            tenant: command.tenant().as_str(),
            subject: Some(&subject.id),
            reason: refusal.code(),
        };
        self.scribe.refused_change(self.now(), subject.kind, &event);
    }
}

fn session_of(command: &Command) -> Option<String> {
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
