//! How a change of consent, grants or sessions happens.
//!
//! decide → intent durable → commit → in force here, what it ends is cut → outcome durable → answer. A change runs to
//! its end also when nobody waits for the answer any more.
//!
//! What narrows comes the other way round: it is in force in this gateway's memory first, and then everything is tried to
//! make it durable. Where that fails or takes long the answer says so, and the mender goes on (see [`super::mend`]).

mod stored;
mod terms;
mod written;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::oneshot;

use crate::{
    lifecycle::{Applied, Change, Command, Event, Outcome, Refusal, apply, apply_once},
    model::{
        ExchangeId, Key,
        once::{Kept, Once},
    },
    policy::{Fact, Facts, Policy},
    state::{Commit, CommitFault, Stretches},
};

pub(super) use terms::{Attempt, Try};
pub use terms::{ChangeFault, Changed, Giver};
pub(super) use written::{About, ends};

use super::{
    Engine,
    admit::MOST_ROUNDS,
    fuse::Look,
    hooks::Step,
    mend::{Origin, Pending},
    records,
    registry::Live,
    turns::PATIENCE,
};

/// How often a change is decided anew because another one came first.
const MOST_ATTEMPTS: usize = 16;
/// How long an answer waits for exchanges to part from their sockets.
const PARTING: Duration = Duration::from_secs(2);
/// How long the answer to a narrowing, which is in force already, waits for it to become durable.
const DURABLE: Duration = Duration::from_secs(1);

/// What the rules say of a command.
enum Decided {
    /// It was made before, with the same idempotency key.
    Already(Kept),
    /// This is to be committed, on these facts, whose reading began in these stretches of following.
    Anew(Change, Facts, Stretches),
}

/// A narrowing is in force: what is kept of it, and whether all that it cut has parted.
type InForce = (Arc<Pending>, bool);

impl Engine {
    /// Makes a change: see the module's header.
    pub async fn change(self: &Arc<Self>, command: Command, giver: Giver) -> Result<Changed, ChangeFault> {
        self.change_once(command, giver, None).await
    }

    /// The same for a creation that came with an idempotency key: what was made with it before is answered as
    /// [`Changed::Already`].
    pub async fn change_once(
        self: &Arc<Self>,
        command: Command,
        giver: Giver,
        once: Option<Once>,
    ) -> Result<Changed, ChangeFault> {
        let engine = Arc::clone(self);
        let (tell, in_force) = oneshot::channel();
        let mut task = self.background.spawn(async move { engine.run(&command, &giver, once, tell).await });
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
        once: Option<Once>,
        tell: oneshot::Sender<InForce>,
    ) -> Result<Changed, ChangeFault> {
        let mut tell = Some(tell);
        let _turn = match (once, giver, command.tenant()) {
            (Some(_), Giver::Subject(subject, _), Some(tenant)) => {
                Some(self.turns.of(tenant, &subject.id, PATIENCE).await.ok_or(ChangeFault::InProgress)?)
            }
            _ => None,
        };
        for _ in 0..MOST_ATTEMPTS {
            let now = self.moment();
            // Rule 7 shuts out staff; a tenant may always take back what it gave, and an operator stop them all.
            if giver.is_staff() && !matches!(command, Command::Stop { .. }) && self.clock_behind(self.now()) {
                return Err(ChangeFault::ClockBehind);
            }
            let Some(change) = self.new_change(now) else { return Err(ChangeFault::Lost) };
            match self.attempt(Try { command, giver, once, now, change, pending: None }, &mut tell).await {
                Ok(Attempt::Over(changed)) => {
                    if !matches!(changed, Changed::Already { .. }) {
                        self.told_loud(command, giver);
                    }
                    return Ok(changed);
                }
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

    /// Whoever watches the gateway hears of broken glass without reading the record.
    pub(super) fn told_loud(&self, command: &Command, giver: &Giver) {
        let (Command::BreakGlass { tenant, session, cause, incident, .. }, Giver::Subject(subject, _)) =
            (command, giver)
        else {
            return;
        };
        self.glass_broken.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%tenant, %session, subject = %subject.id, %cause, %incident, "an operator broke the glass");
    }

    async fn attempt(
        self: &Arc<Self>,
        this: Try<'_>,
        tell: &mut Option<oneshot::Sender<InForce>>,
    ) -> Result<Attempt, ChangeFault> {
        let policy = self.policy();
        let applied =
            self.apply(&this, &policy).await.map_err(|fault| match (fault, this.command.tenant()) {
                (ChangeFault::Refused(Refusal::Unavailable), _) if self.store_newer() => {
                    ChangeFault::StoreNewer
                }
                (ChangeFault::Refused(Refusal::Unavailable), Some(tenant)) if self.suspects(tenant) => {
                    ChangeFault::Suspect
                }
                (fault, _) => fault,
            });
        let (change, facts, since) = match applied? {
            Decided::Already(Kept { change, made, .. }) => {
                return Ok(Attempt::Over(Changed::Already { change, made }));
            }
            Decided::Anew(change, facts, since) => (change, facts, since),
        };
        if change.documents.is_empty() {
            // Nobody waits for what a repeated creation would cut: it takes nothing away.
            if matches!(this.giver, Giver::Application) {
                return Ok(Attempt::Over(Changed::Unchanged));
            }
            return match (self.is_so(&this, &facts, &policy).await, as_it_is(this.command, &facts)) {
                (Ok(true), _) => Ok(Attempt::Over(self.as_wanted(&this, change.events, &facts).await)),
                (Ok(false), _) => Ok(Attempt::Overtaken),
                // It is in force here, and is kept until the store says so too.
                (Err(ChangeFault::Refused(Refusal::Unavailable)), Some(ended)) => {
                    self.narrow(this, ended, (facts, since), &policy, tell.take()).await
                }
                (Err(fault), _) => Err(fault),
            };
        }
        if !change.narrows && change.documents.iter().any(|(key, _)| self.is_suspect(key)) {
            return Err(ChangeFault::Suspect);
        }
        if !change.narrows && self.store_newer() {
            return Err(ChangeFault::StoreNewer);
        }
        let by_person = matches!(this.giver, Giver::Subject(..));
        if by_person && !change.narrows && !self.settled() {
            return Err(ChangeFault::Settling);
        }
        if this.giver.is_staff() && !change.narrows && self.name_taken() {
            return Err(ChangeFault::NameTaken);
        }
        self.hooks.at(Step::ChangeDecided).await;
        if change.narrows {
            return self.narrow(this, change, (facts, since), &policy, tell.take()).await;
        }
        let keys: Vec<&Key> = change.documents.iter().map(|(key, _)| key).collect();
        if self.waiting_on(&keys).await.is_some() {
            return Err(ChangeFault::Waiting);
        }
        self.make_durable(&this, change, (&facts, since), &policy).await
    }

    /// In force in memory first, then as durable as can be.
    async fn narrow(
        self: &Arc<Self>,
        this: Try<'_>,
        change: Change,
        (facts, since): (Facts, Stretches),
        policy: &Arc<Policy>,
        tell: Option<oneshot::Sender<InForce>>,
    ) -> Result<Attempt, ChangeFault> {
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
        let mut result = self.make_durable(&this, change, (&facts, since), policy).await.map(Some);
        for _ in 1..MOST_ATTEMPTS {
            if !matches!(result, Ok(Some(Attempt::Overtaken))) {
                break;
            }
            result = self.anew(&this).await;
        }
        match result {
            Ok(Some(Attempt::Over(changed))) => {
                self.drop_pending(&pending);
                drop(hands);
                Ok(Attempt::Over(changed.and_parted(&pending.change, parted)))
            }
            // It would give something by now. Nothing was promised yet: it is decided like whatever gives.
            Ok(None) if pending.give_up() => {
                self.conclude_needless(&pending);
                self.drop_pending(&pending);
                drop(hands);
                Ok(Attempt::Overtaken)
            }
            // Nothing was promised yet, and it is not as the caller saw it: nothing of it stays.
            Err(ChangeFault::Refused(refusal)) if refusal != Refusal::Unavailable && pending.give_up() => {
                self.conclude_needless(&pending);
                self.drop_pending(&pending);
                drop(hands);
                Err(ChangeFault::Refused(refusal))
            }
            other => {
                // What was answered as in force and would give something by now is kept too: of it, what takes away.
                if let Err(fault) = other {
                    tracing::warn!(%fault, change = %pending.change, "a narrowing is in force in memory; it becomes durable later");
                }
                let _ = pending.answer();
                let changed = pending.in_force(parted);
                drop(hands);
                self.mend.notify_one();
                Ok(Attempt::Over(changed))
            }
        }
    }

    /// Decides a narrowing anew, on what the store itself says, and makes that durable; `None`, and nothing is done, where
    /// it would give something by now.
    pub(super) async fn anew(self: &Arc<Self>, this: &Try<'_>) -> Result<Option<Attempt>, ChangeFault> {
        let policy = self.policy();
        let Decided::Anew(change, facts, since) = self.apply(this, &policy).await? else {
            return Ok(Some(Attempt::Over(Changed::Unchanged)));
        };
        if change.documents.is_empty() {
            if let Some(pending) = this.pending {
                self.conclude_needless(pending);
            }
            return Ok(Some(Attempt::Over(Changed::Unchanged)));
        }
        if !change.narrows {
            return Ok(None);
        }
        self.make_durable(this, change, (&facts, since), &policy).await.map(Some)
    }

    async fn make_durable(
        self: &Arc<Self>,
        this: &Try<'_>,
        change: Change,
        (facts, since): (&Facts, Stretches),
        policy: &Arc<Policy>,
    ) -> Result<Attempt, ChangeFault> {
        // What narrows is recorded first, with its documents: where the store cannot take it, the next start finds it.
        if let Some(pending) = this.pending {
            self.record_narrowing(this, pending, &change, facts, policy).await?;
        }
        // What lost something says nothing of what is there.
        if change.documents.iter().any(|(key, _)| self.is_suspect(key)) {
            return Err(ChangeFault::Suspect);
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
        // What gives something is given by the policy in force; a narrowing was promised under the one before.
        if this.pending.is_none() && !Arc::ptr_eq(policy, &self.policy()) {
            self.conclude_change(this, records::Fate::Overtaken, None, &[], &[]);
            return Ok(Attempt::Overtaken);
        }
        let commit = Commit {
            change: this.change.clone(),
            at: this.now,
            read: facts.versions().map(|(key, version)| (key.clone(), version)).collect(),
            since,
            write: writes.clone(),
        };
        let making = self.making(&this.change, &writes);
        let place = match self.commit(commit).await {
            Ok(place) => place,
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
            // It may have been applied: its intent stays open until the store says.
            Err(CommitFault::Ambiguous(why)) => {
                self.in_doubt(this, change.events, writes);
                return Err(ChangeFault::InDoubt(why.to_string()));
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
        self.grantors.committed(&writes);
        self.may_have_felled_by(&writes);
        let keys: Vec<&Key> = writes.iter().map(|(key, _)| key).collect();
        let parted = match this.command {
            Command::Created { made, .. } => self.put_in_force_after(&made.exchange, facts, &keys).await,
            _ => self.put_in_force(keys).await,
        };
        if let Some(making) = making {
            making.done();
        }
        self.hooks.at(Step::ChangeInForce).await;
        let recorded = self.record_outcome(this, place, &change.events, &writes).await;
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

    /// Somebody made the change already. Their answer may still be waiting for cuts, and so must this one (law 6); what is
    /// not durable yet is not said to be.
    async fn as_wanted(self: &Arc<Self>, this: &Try<'_>, events: Vec<Event>, facts: &Facts) -> Changed {
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
    async fn apply(&self, this: &Try<'_>, policy: &Policy) -> Result<Decided, ChangeFault> {
        let (mut facts, since) = (Facts::new(), self.store.leases().stretches());
        for _ in 0..MOST_ROUNDS {
            let (actor, now) = (this.giver.actor(), this.now);
            let applied = match &this.once {
                Some(once) => apply_once(this.command, (once, &this.change), &facts, actor, now, policy),
                None => Applied::Anew(apply(this.command, &facts, actor, now, policy)),
            };
            let outcome = match applied {
                Applied::Already(kept) => return Ok(Decided::Already(kept)),
                Applied::Anew(outcome) => outcome,
            };
            match outcome {
                Outcome::Changed(change) => return Ok(Decided::Anew(change, facts, since)),
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

    /// Has every exchange that rests on these documents decided again, and waits until those that were cut have
    /// parted from their sockets, and those that it takes a look-up to decide hand nothing on. `false`: one of them has not, in
    /// time.
    pub(super) async fn put_in_force<'a>(self: &Arc<Self>, keys: impl IntoIterator<Item = &'a Key>) -> bool {
        self.hold_and_decide(&self.registry.resting_on(keys)).await
    }

    /// The same of what follows from a creation, made on these facts. Whoever becomes another by it still gets the answer that made
    /// them so: of that exchange it counts what was there before. Whatever else changed is among the facts, or follows by itself.
    async fn put_in_force_after(
        self: &Arc<Self>,
        exchange: &ExchangeId,
        facts: &Facts,
        keys: &[&Key],
    ) -> bool {
        let mut all = self.registry.resting_on(keys.iter().copied());
        let own = all.iter().position(|live| live.exchange == *exchange).map(|at| all.swap_remove(at));
        if let Some(own) = &own {
            let mut before = Facts::new();
            for key in keys {
                if let Some(fact) = facts.get(key) {
                    before.put((*key).clone(), fact.clone());
                }
            }
            own.fuse.touch();
            if !self.judge_by_these(own, before).await {
                all.push(Arc::clone(own));
            }
        }
        self.hold_and_decide(&all).await
    }

    /// Waits for those of them that were cut to part from their sockets, and for those that hold to have nothing in hand;
    /// whether they did in time.
    pub(super) async fn parted(&self, all: &[Arc<Live>]) -> bool {
        let now = self.now();
        let partings = async {
            for live in all {
                match live.fuse.look(now) {
                    Look::Burnt(_) => live.fuse.parted().await,
                    Look::Stale => live.fuse.held().await,
                    Look::Alive => {}
                }
            }
        };
        tokio::time::timeout(PARTING, partings).await.is_ok()
    }
}

/// What a command ends, as it is known here; `None` of what can come back.
fn as_it_is(command: &Command, facts: &Facts) -> Option<Change> {
    let key = match command {
        Command::EndSession { tenant, session } => Key::Session(tenant.clone(), session.clone()),
        Command::WithdrawGrant { tenant, grant } => Key::Grant(tenant.clone(), grant.clone()),
        _ => return None,
    };
    let Some(Fact::Found(known)) = facts.get(&key) else { return None };
    Some(Change { documents: vec![(key, known.document.clone())], events: Vec::new(), narrows: true })
}
