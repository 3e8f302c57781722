//! What a beat told, compared with what this gateway has seen: leases are renewed by it, and parts that lost something are suspect
//! from here on (decision 0025).
//!
//! Never here: when to beat, and what ends a link ([`super::supervise`]).

use std::sync::Arc;

use super::{
    beat::{self, Answered, Beaten, Verdict},
    links::{Shared, lock},
    options::Address,
    said,
};
use crate::state::{Grounds, Part, Parts, ServerFault, StoreFault, Suspicion};

impl Shared {
    /// What a beat told: renews the leases of the parts that it proves, suspects those that it contradicts.
    /// Answers what is the matter with all of them, or with one.
    pub(super) fn take(
        &self,
        sent: i64,
        address: &Address,
        known: &[(Part, Grounds)],
        beaten: &Beaten,
    ) -> Result<Option<StoreFault>, StoreFault> {
        let unconfirmed = (!beaten.confirmed)
            .then(|| said::of(address, said::so(ServerFault::Unconfirmed, "no majority confirms its beats")));
        if unconfirmed.is_some() {
            // Another server may be the primary by now.
            self.nudge.notify_one();
        }
        let mut worst = unconfirmed.clone();
        for ((part, grounds), (_, answered)) in known.iter().zip(&beaten.parts) {
            let newer = matches!(answered, Err(StoreFault::Newer { .. }));
            let first = self.leases.found_newer(*part, newer);
            match answered {
                Ok(answered) => self.compare(sent, *part, grounds, answered, unconfirmed.as_ref())?,
                Err(trouble) => {
                    if first {
                        tracing::error!(code = trouble.code(), "staff are refused here: {trouble}");
                    }
                    self.troubled(Parts::of(*part), trouble);
                    worst.get_or_insert_with(|| said::of(address, trouble.clone()));
                }
            }
        }
        Ok(worst)
    }

    fn compare(
        &self,
        sent: i64,
        part: Part,
        grounds: &Grounds,
        answered: &Answered,
        unconfirmed: Option<&StoreFault>,
    ) -> Result<(), StoreFault> {
        let confirmed = unconfirmed.is_none();
        let Some(slot) = self.slot(part) else { return Ok(()) };
        // A healing has changed meanwhile what is expected: the next beat is compared with that.
        if self.leases.expected(part) != grounds.expected {
            return Ok(());
        }
        let verdict = beat::judge(grounds, answered);
        if let (false, Verdict::Suspect(why)) = (confirmed, &verdict)
            && contradicts(*why, grounds)
        {
            let said = format!(
                "part {} contradicts what was seen ({}), and no majority confirms it",
                part.0,
                why.code()
            );
            return Err(said::so(ServerFault::Outdated, said));
        }
        let before = std::mem::replace(&mut *lock(&slot.told), answered.told.clone());
        if let Some(told) = &answered.told {
            let same = before.is_some_and(|before| (before.id, before.epoch) == (told.id, told.epoch));
            self.newest(part, |newest| if same { newest.max(told.number) } else { told.number });
        }
        slot.trouble.store(unconfirmed.cloned().map(Arc::new));
        match (verdict, &answered.told) {
            (Verdict::Suspect(why), _) => {
                self.leases.suspect(part, Some(why));
            }
            (Verdict::Agrees(line), Some(told)) if confirmed => {
                if grounds.expected.is_none() {
                    self.leases.expect(part, told.id, told.epoch);
                    if self.leases.suspicion(part) == Some(Suspicion::Unmarked) {
                        // Nothing was ever seen of it: what has a head now has lost nothing.
                        self.leases.suspect(part, None);
                    }
                }
                if let Some(line) = line {
                    self.leases.line_is(part, grounds.followed.0, line);
                }
                self.leases.proved(part, grounds, None);
                self.leases.renew_up_to(part, sent, told.number, told.line);
            }
            (Verdict::Agrees(_) | Verdict::Unproven, _) => {}
        }
        Ok(())
    }
}

/// Whether a server that no majority confirms is rather an old primary than one that lost something.
fn contradicts(why: Suspicion, grounds: &Grounds) -> bool {
    match why {
        Suspicion::Unmarked => grounds.expected.is_some(),
        Suspicion::OtherStore | Suspicion::EpochBehind | Suspicion::PlaceBehind | Suspicion::Forked => true,
        Suspicion::HealedByOthers | Suspicion::Marked | Suspicion::Unproven => false,
    }
}
