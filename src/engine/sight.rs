//! Which items of an answer its caller may see: each is decided like a request that names it, at the moment at which it passes.
//!
//! Unknown means no: what cannot be decided, for whatever reason, is not seen. So many items of one answer are looked up at their
//! application and no more; what is known of others goes on counting. Never here: the answer's bytes.

use std::{cell::Cell, sync::Arc};

use crate::{
    identity::VerifiedSubject,
    model::Key,
    policy::{Ask, Caller, Decision, Facts, LookedUp, Route, Verdict, decide},
};

use super::{
    Engine,
    admit::{Admission, MOST_ROUNDS},
    knock::{Knock, Path},
    outside::{Asker, Told},
    registry::Live,
};

/// How many items are decided from the same documents; what they rest on besides would only pile up.
const TOGETHER: u32 = 16;

/// How many resources are looked up for one answer; and as how many one counts that is not answered, so that an application that
/// hangs holds up an answer for a few look-ups' time and not for a hundred.
const MOST_LOOK_UPS: u32 = 100;
const SILENCE: u32 = 20;

/// See the module's header.
pub struct Sight {
    engine: Arc<Engine>,
    /// Of a recorded exchange, which is decided again when something changes: as it was last decided.
    live: Option<Arc<Live>>,
    knock: Knock,
    subject: Arc<VerifiedSubject>,
    facts: Cell<Facts>,
    left: Cell<u32>,
    /// How many look-ups there may still be.
    asks: Cell<u32>,
}

impl Sight {
    /// What the one who was admitted sees. `knock` is what was asked.
    pub fn new(
        engine: &Arc<Engine>,
        admission: &Admission,
        knock: Knock,
        subject: &Arc<VerifiedSubject>,
    ) -> Sight {
        Sight {
            engine: Arc::clone(engine),
            live: admission.live().map(Arc::clone),
            knock,
            subject: Arc::clone(subject),
            facts: Cell::default(),
            left: Cell::new(0),
            asks: Cell::new(MOST_LOOK_UPS),
        }
    }

    /// Time may have passed: what is known is looked at anew.
    pub fn refresh(&self) {
        self.left.set(0);
    }

    /// Whether the caller may see the item of this id.
    pub async fn sees(&self, id: &str) -> bool {
        let again = self.live.as_ref().and_then(|live| live.case.get()).map(|case| case.knock.load_full());
        let knock = again.as_deref().unwrap_or(&self.knock);
        let Path::Rule(number) = knock.path else { return false };
        let rule = knock.policy.rules.get(number);
        let Some(narrow) = rule.and_then(|rule| rule.narrow.as_deref()) else { return false };
        let mut facts = match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                self.facts.take()
            }
            None => {
                self.left.set(TOGETHER - 1);
                Facts::new()
            }
        };
        // Each item is first decided by what is at hand.
        facts.ask_outside(false);
        let (mut sees, mut asking) = (false, false);
        for _ in 0..MOST_ROUNDS {
            let now = self.engine.now();
            self.engine.look_at_age(&mut facts);
            let asked = knock.ask(self.engine.clock_behind(now));
            // What the list is of is what its items lie in.
            let within = match (asked.resource, asked.within) {
                (Some(list), [first, second, _]) => [Some(list), first, second],
                (None, within) => within,
            };
            let ask = Ask { route: Route::Mapped(&narrow.item), resource: Some(id), within, ..asked };
            match decide(&ask, Caller::Known(self.subject.subject()), &facts, now, &knock.policy) {
                Verdict::Need(need) => match need.0.as_slice() {
                    [key] if Engine::is_outside(&facts, key) => {
                        let said = self.look_up(&facts, key).await;
                        facts.put_looked_up(key.clone(), said);
                    }
                    _ if asking => self.engine.ask_store(need, &mut facts, None).await,
                    _ => self.engine.fetch(need, &mut facts, None).await,
                },
                Verdict::Decided(Decision::Allow(permit)) => {
                    sees = !permit.narrowed();
                    break;
                }
                Verdict::Decided(Decision::Deny(denial))
                    if !asking && knock.policy.staleness.asks_store(denial.reason, facts.age()) =>
                {
                    asking = true;
                    facts = self.engine.asked_store(facts, None).await;
                }
                Verdict::Decided(Decision::Deny(denial)) => {
                    if !self.engine.looks_further(&denial, &mut facts, &knock.policy) {
                        break;
                    }
                }
            }
        }
        self.facts.set(facts);
        sees
    }

    /// Looks something up, within what one answer may cost.
    async fn look_up(&self, facts: &Facts, key: &Key) -> Option<Arc<LookedUp>> {
        let asker = Asker::Person(self.subject.id.clone());
        if let Some(told) = self.engine.at_hand(facts, key, &asker) {
            return told.said();
        }
        let left = self.asks.get().checked_sub(1)?;
        let told = self.engine.look_up(facts, key, &asker).await;
        self.asks.set(if told == Told::Silence { left.saturating_sub(SILENCE - 1) } else { left });
        told.said()
    }
}
