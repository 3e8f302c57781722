//! Changes that are in force in this gateway's memory and not yet durable: tried again until they are.
//!
//! Each has one hand on it at a time: whoever made it, or the mender. A change that a start found in the ledger without its
//! command is made durable from its documents, by the same `join` that shows them over what is stored.

use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    lifecycle::{Change, Command, Event, Refusal},
    model::{ChangeId, Document, Head, Key, Stored, Timestamp, Version, join::narrowest},
    state::{Commit, Committed, Place},
};

use super::{
    ChangeFault, Engine, Giver,
    change::{About, Attempt, Changed, Try},
    records,
};

/// How long the mender rests between tries, at first and at the most.
const REST: Duration = Duration::from_millis(200);
const LONGEST_REST: Duration = Duration::from_secs(5);
/// How long others wait for a change that somebody is making durable at this moment.
const IN_HAND: Duration = Duration::from_secs(1);

/// Where a waiting change comes from.
pub(super) enum Origin {
    /// Somebody gave this command.
    Made { command: Command, giver: Giver },
    /// A start found its intent, which belongs to this session and tenant.
    Found { session: Option<String>, tenant: Option<String> },
}

/// A change that waits.
pub(super) struct Pending {
    pub(super) origin: Origin,
    /// When it took effect.
    pub(super) at: Timestamp,
    pub(super) change: ChangeId,
    /// What it touches.
    pub(super) keys: Vec<Key>,
    documents: Vec<(Key, Document)>,
    events: Vec<Event>,
    /// Its intent is on its way into the ledger and has no outcome: a further try writes none, so that tries take nothing
    /// from the reserve.
    pub(super) recorded: AtomicBool,
    /// Its intent was left for when the ledger takes it.
    pub(super) late: AtomicBool,
    /// The store has it.
    pub(super) committed: AtomicBool,
    /// Whether it was promised to whoever asked, or given up: whichever came first.
    promise: AtomicU8,
    /// Somebody has it in hand.
    busy: watch::Sender<bool>,
}

const OPEN: u8 = 0;
const ANSWERED: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Pending {
    pub(super) fn new(origin: Origin, change: ChangeId, at: Timestamp, made: &Change) -> Pending {
        Pending {
            origin,
            at,
            change,
            keys: made.documents.iter().map(|(key, _)| key.clone()).collect(),
            documents: made.documents.clone(),
            events: made.events.clone(),
            recorded: AtomicBool::new(false),
            late: AtomicBool::new(false),
            committed: AtomicBool::new(false),
            promise: AtomicU8::new(OPEN),
            busy: watch::Sender::new(false),
        }
    }

    /// It is told as in force; `false`: it was given up before.
    pub(super) fn answer(&self) -> bool {
        let promise = self.promise.compare_exchange(OPEN, ANSWERED, Ordering::AcqRel, Ordering::Acquire);
        promise != Err(GIVEN_UP)
    }

    /// It is not carried on; `false`: it was promised before.
    pub(super) fn give_up(&self) -> bool {
        self.promise.compare_exchange(OPEN, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// What it still waits for.
    pub(super) fn waiting(&self) -> Vec<&'static str> {
        let (recorded, late) = (self.recorded.load(Ordering::Acquire), self.late.load(Ordering::Acquire));
        let committed = self.committed.load(Ordering::Acquire);
        let mut waiting = Vec::new();
        if !recorded || late || committed {
            waiting.push("ledger");
        }
        if !committed {
            waiting.push("store");
        }
        waiting
    }

    /// As it is told.
    pub(super) fn in_force(&self, parted: bool) -> Changed {
        let mut waiting = self.waiting();
        if !parted {
            waiting.push("cuts");
        }
        Changed::InForce { change: self.change.clone(), events: self.events.clone(), waiting }
    }

    fn about(&self) -> About<'_> {
        match &self.origin {
            Origin::Made { command, .. } => About::made(&self.change, command),
            Origin::Found { session, tenant } => {
                let (session, tenant) = (session.clone(), tenant.as_deref());
                About { change: &self.change, session, tenant, settled: true }
            }
        }
    }

    fn is_busy(&self) -> bool {
        *self.busy.borrow()
    }

    fn touches(&self, keys: &[&Key]) -> bool {
        keys.iter().any(|key| self.keys.contains(key))
    }
}

/// Whoever holds this makes the change durable; nobody else does meanwhile.
pub(super) struct Hands(Arc<Pending>);

impl Drop for Hands {
    fn drop(&mut self) {
        self.0.busy.send_replace(false);
    }
}

impl Engine {
    fn waiting_list(&self) -> Vec<Arc<Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn keep_pending(&self, pending: &Arc<Pending>) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(pending));
    }

    pub(super) fn take_in_hand(&self, pending: &Arc<Pending>) -> Hands {
        pending.busy.send_replace(true);
        Hands(Arc::clone(pending))
    }

    /// Nobody has to wait for it any more.
    pub(super) fn unlist(&self, pending: &Pending) {
        let mut all = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.change != pending.change);
    }

    /// Nothing of it is left to do: what of it still lies over documents goes too.
    pub(super) fn drop_pending(&self, pending: &Pending) {
        self.cells.released(&pending.change);
        self.unlist(pending);
    }

    /// How many changes wait to become durable.
    pub fn pending(&self) -> usize {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The documents that changes touch which are in force and not yet durable.
    pub fn pending_keys(&self) -> Vec<Key> {
        self.waiting_list().iter().flat_map(|pending| pending.keys.clone()).collect()
    }

    /// What a change that touches any of these documents still waits for. One that somebody has in hand is waited for.
    pub(super) async fn waiting_on(&self, keys: &[&Key]) -> Option<Vec<&'static str>> {
        let first = self.waiting_list().into_iter().find(|pending| pending.touches(keys))?;
        let mut busy = first.busy.subscribe();
        let done = async {
            loop {
                let listed = self.waiting_list().into_iter().filter(|pending| pending.touches(keys));
                let Some(in_hand) = listed.into_iter().find(|pending| pending.is_busy()) else { return };
                busy = in_hand.busy.subscribe();
                // The sender lives as long as `in_hand`.
                let _idle = busy.wait_for(|busy| !*busy).await;
            }
        };
        let _in_time = tokio::time::timeout(IN_HAND, done).await;
        let listed = self.waiting_list();
        listed.iter().find(|pending| pending.touches(keys)).map(|pending| pending.waiting())
    }

    /// Runs for as long as the gateway does.
    pub async fn keep_mending(self: Arc<Self>) {
        let mut rest = REST;
        loop {
            let before = self.left().len();
            if before == 0 {
                self.mend.notified().await;
                rest = REST;
            }
            self.mend_once().await;
            let left = self.left().len();
            if left > 0 {
                rest = if left < before { REST } else { (rest * 2).min(LONGEST_REST) };
                tokio::time::sleep(rest).await;
            }
        }
    }

    /// Those that nobody has in hand.
    fn left(&self) -> Vec<Arc<Pending>> {
        self.waiting_list().into_iter().filter(|pending| !pending.is_busy()).collect()
    }

    /// Tries everything that waits, once; answers how many are left.
    pub async fn mend_once(self: &Arc<Self>) -> usize {
        for pending in self.left() {
            let hands = self.take_in_hand(&pending);
            if self.mend_one(&pending).await {
                self.drop_pending(&pending);
            }
            drop(hands);
        }
        self.pending()
    }

    /// Whether nothing is left to do.
    async fn mend_one(self: &Arc<Self>, pending: &Pending) -> bool {
        if pending.keys.iter().any(|key| self.is_suspect(key)) {
            return false;
        }
        // It may have been committed by the try whose answer got lost.
        match self.placed(self.part_of(&pending.keys), &pending.change).await {
            Ok(Some(Committed { place, .. })) => {
                let Ok(documents) = self.documents_of(place, &pending.change, &pending.keys).await else {
                    return false;
                };
                self.may_have_felled(&pending.keys);
                self.conclude_pending(pending, records::Fate::Stored, Some(place), &documents);
                return true;
            }
            Ok(None) => {}
            Err(_) => return false,
        }
        match &pending.origin {
            Origin::Made { command, giver } => self.mend_made(pending, command, giver).await,
            Origin::Found { .. } => self.mend_found(pending).await,
        }
    }

    async fn mend_made(self: &Arc<Self>, pending: &Pending, command: &Command, giver: &Giver) -> bool {
        // It was promised; that its document has moved on since is no reason to let go of it.
        let command = unconditional(command);
        let this = Try {
            once: None,
            command: &command,
            giver,
            now: pending.at,
            change: pending.change.clone(),
            pending: Some(pending),
        };
        match self.anew(&this).await {
            Ok(Some(Attempt::Over(changed))) => {
                if matches!(changed, Changed::Unchanged) {
                    tracing::info!(change = %pending.change, "a waiting change has become needless");
                }
                true
            }
            Ok(Some(Attempt::Overtaken)) => false,
            Err(ChangeFault::Refused(refusal)) if self.nothing_is_left(pending, &refusal).await => {
                tracing::info!(change = %pending.change, %refusal, "a waiting change has become needless");
                self.conclude_needless(pending);
                true
            }
            Err(ChangeFault::Refused(Refusal::Unavailable)) => false,
            // Its giver was allowed to when it was promised, and what was acknowledged stays (law 8), whoever has lost
            // their right since, or whatever the policy knows by now. Of what would give something by now, what takes
            // away stays.
            Ok(None) | Err(ChangeFault::Refused(_)) => self.mend_found(pending).await,
            Err(_) => false,
        }
    }

    /// The thing is gone, or another hand has ended it: nothing is there to take away.
    async fn nothing_is_left(&self, pending: &Pending, refusal: &Refusal) -> bool {
        match refusal {
            Refusal::Ended(_) | Refusal::RequestOver(_) | Refusal::TenantRemoved => true,
            // Whoever has lost their right may be told the same of what is there.
            Refusal::NotFound(_) => {
                let found = self.store.confirmed(&pending.keys).await;
                found.is_ok_and(|found| found.iter().all(Option::is_none))
            }
            _ => false,
        }
    }

    /// Stores a narrowing from its documents, as a start found them in the ledger or as they were promised: in each field the narrower of what is there and what was recorded.
    async fn mend_found(&self, pending: &Pending) -> bool {
        let since = self.store.leases().stretches();
        let Ok(found) = self.store.load(&pending.keys).await else { return false };
        let ladder = self.policy().ladder.clone();
        let (mut read, mut write) = (Vec::new(), Vec::new());
        for ((key, document), found) in pending.documents.iter().zip(found) {
            let before = match found.transpose() {
                Ok(before) => before,
                Err(fault) => {
                    tracing::warn!(%fault, change = %pending.change, "a change that was recorded cannot be stored yet");
                    return false;
                }
            };
            let head = Head { change: pending.change.clone(), document: document.clone() };
            // As the cells show it: what was recorded counts as later.
            let heads = std::iter::once(head).chain(before.iter().flat_map(|b| b.heads.clone())).collect();
            let version = before.as_ref().map_or(Version::NONE, |before| before.version);
            let all =
                Stored { version, heads, ..Stored::after(None, pending.change.clone(), document.clone()) };
            let Some(narrow) = narrowest(&all, &ladder) else { return false };
            read.push((key.clone(), version));
            write.push((key.clone(), Stored::after(before.as_ref(), pending.change.clone(), narrow)));
        }
        let commit =
            Commit { change: pending.change.clone(), at: pending.at, read, since, write: write.clone() };
        let Ok(place) = self.commit(commit).await else { return false };
        self.cells.committed(&write);
        self.may_have_felled(&pending.keys);
        self.conclude_pending(pending, records::Fate::Stored, Some(place), &write);
        true
    }

    /// Closes the intent of a change that nothing is left of.
    pub(super) fn conclude_needless(&self, pending: &Pending) {
        if pending.recorded.load(Ordering::Acquire) {
            let draft = self.outcome(&pending.about(), records::Fate::Overtaken, None, &[], &[]);
            draft.into_iter().for_each(|draft| self.scribe.push(draft));
        }
    }

    fn conclude_pending(
        &self,
        pending: &Pending,
        outcome: records::Fate,
        place: Option<Place>,
        documents: &[(Key, Stored)],
    ) {
        let draft = self.outcome(&pending.about(), outcome, place, &pending.events, documents);
        draft.into_iter().for_each(|draft| self.scribe.push(draft));
    }
}

/// The command without what its giver had seen. Each is looked at here: one that is carried on with a version in it would be
/// refused for ever once its document has moved on.
fn unconditional(command: &Command) -> Command {
    let mut command = command.clone();
    match &mut command {
        Command::SetConsent { expected, .. }
        | Command::SetRole { expected, .. }
        | Command::RemoveRole { expected, .. }
        | Command::Resource { expected, .. }
        | Command::SetApproval { expected, .. }
        | Command::MoveGrant { expected, .. }
        | Command::ChangeGrant { expected, .. }
        | Command::SetGranting { expected, .. }
        | Command::PushTenant { expected, .. }
        | Command::RemoveTenant { expected, .. }
        | Command::PushMember { expected, .. }
        | Command::RemoveMember { expected, .. } => *expected = None,
        Command::RegisterTenant { .. }
        | Command::MakeGrant { .. }
        | Command::SeeGrantor { .. }
        | Command::WithdrawGrant { .. }
        | Command::AllowLogin { .. }
        | Command::WithdrawLogin { .. }
        | Command::Request { .. }
        | Command::StartSession { .. }
        | Command::BreakGlass { .. }
        | Command::EndSession { .. }
        | Command::LiftBar { .. }
        | Command::Stop { .. }
        | Command::Created { .. }
        | Command::Lift { .. }
        | Command::Expire { .. }
        | Command::AcceptClock { .. } => {}
    }
    command
}

#[cfg(test)]
mod tests {
    /// The variants of an enum, by its source, with the text of each.
    fn variants<'s>(source: &'s str, name: &str) -> Vec<(&'s str, &'s str)> {
        let body = source.split_once(&format!("pub enum {name} {{")).unwrap().1;
        let body = body.split_once("\n}\n").unwrap().0;
        let begins = |at: &usize| body[*at..].starts_with(|c: char| c.is_ascii_uppercase());
        let starts: Vec<usize> =
            body.match_indices("\n    ").map(|(at, indent)| at + indent.len()).filter(begins).collect();
        let ends = starts.iter().skip(1).copied().chain([body.len()]);
        let one = |(from, to): (&usize, usize)| {
            let text = &body[*from..to];
            (text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap(), text)
        };
        starts.iter().zip(ends).map(one).collect()
    }

    #[test]
    fn whatever_names_a_version_is_carried_on_without_it() {
        let here = include_str!("mend.rs").split_once("fn unconditional(").unwrap().1;
        let (dropped, kept) = here.split_once("=> *expected = None,").unwrap();
        let kept = kept.split_once("=> {}").unwrap().0;
        let commands = variants(include_str!("../lifecycle/command.rs"), "Command");
        assert!(commands.len() > 25, "{commands:?}");
        for (name, text) in commands {
            // Whatever it is called there.
            let versioned = text.contains("Version");
            assert_eq!(dropped.contains(&format!("Command::{name} {{ expected, .. }}")), versioned, "{name}");
            assert_eq!(kept.contains(&format!("Command::{name} {{ .. }}")), !versioned, "{name}");
        }
    }

    #[test]
    fn of_each_kind_of_document_the_narrower_of_two_is_known() {
        let join = include_str!("../model/join.rs").split_once("pub fn narrowest(").unwrap().1;
        let join = join.split_once("\n}\n").unwrap().0;
        let kinds = variants(include_str!("../model/document.rs"), "Document");
        assert!(kinds.len() > 10, "{kinds:?}");
        for (name, _) in kinds {
            let both = format!("(Document::{name}(a), Document::{name}(b))");
            assert!(join.contains(&both), "nothing is said of two documents of kind `{name}`");
        }
    }
}
