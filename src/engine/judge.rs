//! Decides about a request that is entered: at first, and again while it is under way, when something that it rests on changed or fell due.
//!
//! Never here: what is written about it, and who is admitted (see [`admit`](super::admit)); when somebody is decided about again.

use crate::{
    identity::VerifiedSubject,
    policy::{Caller, Deadline, Decision, Denial, Due, Facts, Permit, Reason, Verdict, decide},
};

use super::{
    Engine,
    admit::MOST_ROUNDS,
    fault::Fault,
    fuse::Cut,
    knock::Knock,
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
        for _ in 0..MOST_ROUNDS {
            let now = self.now();
            let ask = knock.ask(self.clock_behind(now));
            match decide(&ask, Caller::Known(subject.subject()), &facts, now, &knock.policy) {
                Verdict::Need(need) => {
                    let documents = match asks {
                        Asks::Application(asker) => self.look_up_of(need, &mut facts, asker).await,
                        Asks::Nobody => {
                            self.at_hand_of(need, &mut facts, &Asker::UnderWay).ok_or(Stop::NotAtHand)?
                        }
                    };
                    self.fetch(documents, &mut facts, Some(live)).await;
                }
                Verdict::Decided(Decision::Allow(permit)) => return Ok((permit, facts)),
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
                    self.registry.settle(live, mark, until_asked_again(deadline, &facts));
                    return true;
                }
                None if member::is_theirs(&permit) => {
                    self.registry.settle(live, mark, until_asked_again(case.longest, &facts));
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
}
