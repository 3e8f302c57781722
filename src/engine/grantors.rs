//! Whose tokens are looked at: those of people who gave grants that still stand, where their roles stand in tokens only
//! (rule 5).
//!
//! Of everybody else's token no more is done than to see that nobody has to look. Nothing on a member's way waits: what a
//! token says is written down beside it.
//!
//! Never here: what follows from what is seen ([`crate::lifecycle::grantor`]).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    identity::VerifiedSubject,
    lifecycle::{
        Command,
        grantor::{Seen, seen, written_every_ms},
    },
    model::{Document, Key, Stored, SubjectKind, SubjectRef, TenantId, Timestamp},
    policy::{Fact, Facts},
    state::{PAGE_MOST, StoreFault},
};

use super::{ChangeFault, Engine, Giver};

/// A token is looked at again after this long at the most, in milliseconds.
const AGAIN_MS: i64 = 60_000;

type Who = (TenantId, SubjectRef);

/// Those who are needed.
#[derive(Default)]
pub(super) struct Grantors {
    live: Mutex<HashMap<Who, Live>>,
}

struct Live {
    /// Until when.
    needed: Timestamp,
    /// What was seen of them is being written down.
    busy: bool,
    /// The last of their tokens that came meanwhile.
    next: Option<Arc<VerifiedSubject>>,
}

impl Grantors {
    fn lock(&self) -> MutexGuard<'_, HashMap<Who, Live>> {
        // Each step leaves whole entries behind.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn need(&self, who: Who, until: Timestamp) {
        let mut live = self.lock();
        let known = live.entry(who).or_insert(Live { needed: until, busy: false, next: None });
        known.needed = known.needed.max(until);
    }

    /// Takes in what is committed.
    pub(super) fn committed(&self, documents: &[(Key, Stored)]) {
        for (key, stored) in documents {
            let Key::Grantor(tenant, subject) = key else { continue };
            for head in &stored.heads {
                if let Document::Grantor(grantor) = &head.document {
                    self.need((tenant.clone(), subject.clone()), grantor.needed);
                }
            }
        }
    }

    /// A rule asks what is known of somebody: until the end of their grants that it looks at, that is needed.
    pub(super) fn asked(&self, tenant: &TenantId, subject: &SubjectRef, facts: &Facts) {
        let grants = facts.grants().filter(|grant| grant.grantor == *subject && grant.ended.is_none());
        if let Some(until) = grants.map(|grant| grant.until).max() {
            self.need((tenant.clone(), subject.clone()), until);
        }
    }

    /// Until when somebody is needed.
    fn needed(&self, who: &Who, now: Timestamp) -> Option<Timestamp> {
        let mut live = self.lock();
        let needed = live.get(who)?.needed;
        if needed <= now {
            live.remove(who);
            return None;
        }
        Some(needed)
    }

    /// Takes it in hand; `false`: somebody else has, and looks at this token when they are done.
    fn take(&self, who: &Who, subject: &Arc<VerifiedSubject>) -> bool {
        let mut live = self.lock();
        let Some(known) = live.get_mut(who) else { return false };
        if known.busy {
            known.next = Some(Arc::clone(subject));
            return false;
        }
        known.busy = true;
        true
    }

    /// One token is done; the next one, or nobody has it in hand any more.
    fn next(&self, who: &Who) -> Option<Arc<VerifiedSubject>> {
        let mut live = self.lock();
        let known = live.get_mut(who)?;
        let next = known.next.take();
        known.busy = next.is_some();
        next
    }
}

impl Engine {
    /// A token was verified, or known. Of most there is nothing to look at for a while.
    #[inline]
    pub fn saw(self: &Arc<Self>, subject: &Arc<VerifiedSubject>, wall: Timestamp) {
        if subject.is_looked_at(wall) {
            self.notice(subject, wall);
        }
    }

    #[cold]
    fn notice(self: &Arc<Self>, subject: &Arc<VerifiedSubject>, wall: Timestamp) {
        let tenant = match &subject.tenant {
            // By a token by which somebody acts as them, they were not seen.
            Some(tenant) if subject.kind == SubjectKind::Member && !subject.acting => tenant,
            Some(_) | None => return subject.look_from(Timestamp::MAX),
        };
        let policy = self.policy();
        subject.look_from(wall.plus_ms(written_every_ms(&policy).min(AGAIN_MS)));
        if policy.callers.by_row.contains(&subject.id.issuer) || !self.settled() {
            return;
        }
        let who = (tenant.clone(), subject.id.clone());
        if self.news(&who, subject).is_none() || !self.grantors.take(&who, subject) {
            return;
        }
        let (engine, mut subject) = (Arc::clone(self), Arc::clone(subject));
        self.background.spawn(async move {
            loop {
                if let Some(needed) = engine.news(&who, &subject) {
                    engine.write_down(&who, needed, subject).await;
                }
                match engine.grantors.next(&who) {
                    Some(next) => subject = next,
                    None => return,
                }
            }
        });
    }

    /// Whether this token says anything that has to be written down, as far as is known without asking; until when it is
    /// needed.
    fn news(&self, who: &Who, subject: &VerifiedSubject) -> Option<Timestamp> {
        let now = self.now();
        let needed = self.grantors.needed(who, now)?;
        let known = self.cells.hit(&Key::Grantor(who.0.clone(), who.1.clone()));
        if let Some(Fact::Found(snapshot)) = known
            && let Document::Grantor(known) = &snapshot.document
            && seen(Some(known), &subject.roles, needed, now, &self.policy()) == Seen::Nothing
        {
            return None;
        }
        Some(needed)
    }

    async fn write_down(self: &Arc<Self>, who: &Who, needed: Timestamp, subject: Arc<VerifiedSubject>) {
        let command = Command::SeeGrantor { tenant: who.0.clone(), needed };
        match self.change(command, Giver::Subject(subject, String::new())).await {
            Ok(_) | Err(ChangeFault::Refused(_)) => {}
            Err(fault) => {
                tracing::warn!(%fault, tenant = %who.0, "that a giver of grants was seen is written down later");
            }
        }
    }

    /// Finds those whose tokens have to be looked at, after a start. Takes as long as there are such people, however many
    /// tenants there are.
    ///
    /// # Errors
    /// Where a part of the store does not say; those in the others are known then.
    pub async fn find_grantors(&self) -> Result<(), StoreFault> {
        let (mut after, mut missing) = (None, None);
        loop {
            let found = self.store.list_grantors(after.as_ref(), PAGE_MOST).await;
            let whole = found.silent.is_empty();
            missing = missing.or(found.silent.into_iter().next());
            let found = found.rows;
            let all = found.is_empty() || (whole && found.len() < PAGE_MOST);
            after = found.last().map(|(key, _)| key.clone());
            // What cannot be read gives nothing, and is asked for again when somebody needs it.
            let readable = found.into_iter().filter_map(|(key, found)| Some((key, found.ok()?)));
            self.grantors.committed(&readable.collect::<Vec<_>>());
            if all {
                return missing.map_or(Ok(()), |(_, fault)| Err(fault));
            }
        }
    }
}
