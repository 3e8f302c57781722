//! Decides about a request that is entered: at first, and again while it is under way, when something that it rests on changed or fell due.
//!
//! Never here: what is written about it, and who is admitted (see [`admit`](super::admit)); when somebody is decided about again.

use std::sync::atomic::Ordering;

use crate::{
    identity::VerifiedSubject,
    model::Key,
    policy::{Caller, Deadline, Decision, Denial, Due, Facts, Need, Permit, Reason, Verdict, decide},
};

use super::{
    Engine,
    admit::MOST_ROUNDS,
    fault::Fault,
    fuse::Cut,
    knock::Knock,
    leash::Rests,
    member,
    outside::{Asker, until_asked_again},
    registry::Live,
    reload::Asked,
};

/// Why nobody is admitted.
pub(super) enum Stop {
    Denied(Denial),
    Faulted(Fault),
    /// It takes a look-up, and nobody is to be asked.
    NotAtHand,
}

/// Who may be asked for what is not at hand.
pub(super) enum Asks {
    /// The application, for somebody.
    Application(Asker),
    /// Nobody: a change or a reload waits.
    Nobody,
}

impl Engine {
    /// Decides, fetching what the rules name and is not among these facts, and looking up what they want looked up as far as it may.
    pub(super) async fn judge(
        &self,
        live: &Live,
        knock: &Knock,
        subject: &VerifiedSubject,
        asks: &Asks,
        mut facts: Facts,
    ) -> Result<(Permit, Facts), Stop> {
        // Whether the store is asked for everything, where nothing that is known is young enough.
        let mut asking = false;
        for _ in 0..MOST_ROUNDS {
            let now = self.now();
            self.look_at_age(&mut facts);
            let ask = knock.ask(self.clock_behind(now));
            match decide(&ask, Caller::Known(subject.subject()), &facts, now, &knock.policy) {
                Verdict::Need(need) => {
                    let documents = match asks {
                        Asks::Application(asker) => self.look_up_of(need, &mut facts, asker).await,
                        Asks::Nobody => {
                            self.at_hand_of(need, &mut facts, &Asker::UnderWay).ok_or(Stop::NotAtHand)?
                        }
                    };
                    if asking {
                        self.ask_store(documents, &mut facts, Some(live)).await;
                    } else if knock.emergency.token().is_some() {
                        self.fetch_known_last(documents, &mut facts, live).await;
                    } else {
                        self.fetch(documents, &mut facts, Some(live)).await;
                    }
                }
                Verdict::Decided(Decision::Allow(permit)) => return Ok((permit, facts)),
                Verdict::Decided(Decision::Deny(denial))
                    if !asking && knock.policy.staleness.asks_store(denial.reason, facts.age()) =>
                {
                    asking = true;
                    facts = self.asked_store(facts, Some(live)).await;
                }
                Verdict::Decided(Decision::Deny(denial)) => {
                    if !self.looks_further(&denial, &mut facts, &knock.policy) {
                        return Err(Stop::Denied(denial));
                    }
                }
            }
        }
        Err(Stop::Faulted(Fault::Undecided))
    }

    /// Decides again for an exchange under way, after something that it rests on changed. A deny cuts. It may take look-ups: never
    /// in the way of a change.
    pub(super) async fn judge_again(&self, live: &Live) {
        self.judge_once_more(live, &Asks::Application(Asker::UnderWay), Facts::new()).await;
    }

    /// The same without waiting for any application; `false` where it takes a look-up: it holds on then.
    pub(super) async fn judge_by_what_is_at_hand(&self, live: &Live) -> bool {
        self.judge_once_more(live, &Asks::Nobody, Facts::new()).await
    }

    /// The same, where these facts are what is to be gone by.
    pub(super) async fn judge_by_these(&self, live: &Live, facts: Facts) -> bool {
        self.judge_once_more(live, &Asks::Nobody, facts).await
    }

    /// Whether it was decided.
    async fn judge_once_more(&self, live: &Live, asks: &Asks, facts: Facts) -> bool {
        // Whoever touches it from here on asks for one more.
        live.again.store(false, Ordering::SeqCst);
        // Without a case the first decision is still being made; it looks at the mark by itself.
        let Some(case) = live.case.get() else { return true };
        let mark = live.fuse.mark();
        let knock = match self.asked_now(case) {
            Asked::Again(knock) => knock,
            Asked::Never(reason) => {
                live.fuse.burn(Cut { reason, due: None, at: self.now() });
                return true;
            }
        };
        // Asked before: a decision that settles the fuse moves its deadline.
        let due = live.fuse.fallen(self.now());
        let verdict = self.judge(live, &knock, &case.subject, asks, facts).await;
        let reason = match verdict {
            // All of it is under way, and some of it is all that is left.
            Ok((permit, _)) if permit.narrowed() && !case.narrowed => Reason::GrantScope,
            Ok((permit, facts)) => match permit.staff() {
                Some(staff) => {
                    // One exchange's longest time counts from its beginning; a policy that came meanwhile may shorten it.
                    let longest =
                        Deadline { at: case.began.plus_ms(knock.policy.max_exchange_ms), due: Due::Exchange };
                    let deadline = staff.deadline.min(case.longest).min(longest);
                    let rests = Rests::of(&knock, staff, &facts);
                    self.registry.settle(live, mark, until_asked_again(deadline, &facts), rests);
                    return true;
                }
                None if member::is_theirs(&permit) => {
                    let until = until_asked_again(case.longest, &facts);
                    self.registry.settle(live, mark, until, Rests::NOTHING);
                    return true;
                }
                None => Reason::SessionMissing,
            },
            Err(Stop::Denied(denial)) => denial.reason,
            Err(Stop::Faulted(_)) => Reason::StateUnavailable,
            Err(Stop::NotAtHand) => return false,
        };
        live.fuse.burn(Cut { reason, due, at: self.now() });
        true
    }

    /// Asks the store for everything that these facts hold, by a majority, and answers that instead. What was looked up stays with
    /// who looks it up, and is asked for again there.
    pub(super) async fn asked_store(&self, facts: Facts, live: Option<&Live>) -> Facts {
        let mut fresh = Facts::new();
        fresh.ask_outside(facts.asks_outside());
        self.ask_store(Need(facts.keys().cloned().collect()), &mut fresh, live).await;
        fresh
    }

    /// Fetches what a rule lacks from the store itself, confirmed by a majority: it is as old as the question.
    pub(super) async fn ask_store(&self, need: Need, facts: &mut Facts, live: Option<&Live>) {
        if need.0.is_empty() {
            return;
        }
        for key in &need.0 {
            if let Some(live) = live {
                self.registry.watch(live, key);
            }
        }
        if let Some(heard) = &self.heard {
            heard.note_asked(&need.0, heard.boot_ms(), facts);
        }
        let asked = self.cells.asked(&need.0).await;
        for (key, fact) in need.0.into_iter().zip(asked) {
            if let Key::Grantor(tenant, subject) = &key {
                self.grantors.asked(tenant, subject, facts);
            }
            facts.put(key, fact);
        }
    }
}
