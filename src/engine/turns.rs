//! Turns: creations of one subject in one tenant that bear idempotency keys come one after another on a gateway, so that a
//! repeat hears what the first came to instead of fighting with it. Which of several gateways' holds, the commit
//! decides, with or without turns.
//!
//! Never here: what a key made ([`crate::lifecycle`]).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::OwnedMutexGuard;

use crate::model::{SubjectRef, TenantId};

/// How long somebody waits for their turn.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

type Turn = tokio::sync::Mutex<()>;

/// Whose turns they are. An entry is there for as long as somebody has or awaits one.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<BTreeMap<(TenantId, SubjectRef), Weak<Turn>>>);

/// It is their turn for as long as this is held.
pub(super) struct Held<'a> {
    turns: &'a Turns,
    whose: (TenantId, SubjectRef),
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for a turn; `None`: it did not come in time.
    pub(super) async fn of(
        &self,
        tenant: &TenantId,
        subject: &SubjectRef,
        patience: Duration,
    ) -> Option<Held<'_>> {
        let whose = (tenant.clone(), subject.clone());
        let turn = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let known = all.get(&whose).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let turn = Arc::new(Turn::default());
                all.insert(whose.clone(), Arc::downgrade(&turn));
                turn
            })
        };
        let mut held = Held { turns: self, whose, guard: None };
        held.guard = Some(tokio::time::timeout(patience, turn.lock_owned()).await.ok()?);
        Some(held)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.guard = None;
        let mut all = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(&self.whose).is_some_and(|turn| turn.strong_count() == 0) {
            all.remove(&self.whose);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IssuerName;

    fn whose(sub: &str) -> (TenantId, SubjectRef) {
        let subject = SubjectRef { issuer: IssuerName::new("staff").unwrap(), sub: sub.into() };
        (TenantId::new("acme").unwrap(), subject)
    }

    #[tokio::test]
    async fn one_waits_for_their_turn_and_not_for_ever_and_nothing_is_left_of_it() {
        let turns = Turns::default();
        let ((tenant, anna), (_, ben)) = (whose("anna"), whose("ben"));
        let soon = Duration::from_millis(5);
        let first = turns.of(&tenant, &anna, soon).await;
        assert!(first.is_some());
        assert!(turns.of(&tenant, &ben, soon).await.is_some(), "another's turn is another turn");
        assert!(turns.of(&tenant, &anna, soon).await.is_none());
        assert_eq!(turns.0.lock().unwrap().len(), 1);
        drop(first);
        assert!(turns.of(&tenant, &anna, PATIENCE).await.is_some());
        assert!(turns.0.lock().unwrap().is_empty());
    }
}
