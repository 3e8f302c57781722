//! How a creation that bears an idempotency key happens once: what it made is kept beside it, in the same commit, and whoever
//! asks again within a day is told of that.
//!
//! Whether the subject may ask is looked at anew before anything is told of what they made.
//!
//! Never here: how keys are read ([`crate::control`]), what is kept and how two histories of it meet
//! ([`crate::model::once`]).

use crate::{
    model::{
        ChangeId, Document, EnvironmentId, Key, Subject, TenantId, Timestamp,
        once::{KEPT_MS, Kept, Once, Thing},
    },
    policy::{Facts, Lack, Policy},
};

use super::{Actor, Command, Moment, Outcome, Refusal, Step, Stop, apply, break_glass, granting, session};

/// Keys of one subject that are kept in one tenant, at most.
pub const MOST_KEYS: usize = 128;

/// What [`apply_once`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// This request was made with this key before: nothing is to be done.
    Already(Kept),
    /// As without a key; what a creation makes is kept beside it.
    Anew(Outcome),
}

/// Applies a command that came with an idempotency key, by a change of this id. A command that makes nothing is applied as if
/// there were no key.
pub fn apply_once(
    command: &Command,
    (once, change): (&Once, &ChangeId),
    facts: &Facts,
    actor: Actor<'_>,
    now: Timestamp,
    policy: &Policy,
) -> Applied {
    let plain = || apply(command, facts, actor, now, policy);
    let Some(creation) = Creation::of(command) else { return Applied::Anew(plain()) };
    let at = Moment { facts, actor, now, policy };
    match creation.kept(&at, once) {
        Ok(Known::Already(kept)) => Applied::Already(kept),
        Ok(Known::New(subject, mut made)) => Applied::Anew(match plain() {
            Outcome::Changed(mut changed) if !changed.documents.is_empty() => {
                let until = now.plus_ms(KEPT_MS);
                let kept = Kept { until, change: change.clone(), made: creation.made, asked: once.asked };
                made.kept.insert(once.key, kept);
                let key = Key::Made(creation.tenant.clone(), subject.id.clone());
                changed.documents.push((key, Document::Made(made)));
                Outcome::Changed(changed)
            }
            other => other,
        }),
        Err(Stop::Refused(refusal)) => Applied::Anew(Outcome::Refused(refusal)),
        Err(Stop::Lack(Lack::Need(need))) => Applied::Anew(Outcome::Need(need)),
        Err(Stop::Lack(Lack::Unavailable)) => Applied::Anew(Outcome::Refused(Refusal::Unavailable)),
    }
}

/// A command that makes something.
struct Creation<'a> {
    tenant: &'a TenantId,
    environment: &'a EnvironmentId,
    made: Thing,
    by: By,
}

/// Who may give it.
enum By {
    Giver,
    Agent,
    Operator,
}

/// What is known of a key.
enum Known<'a> {
    Already(Kept),
    New(&'a Subject, crate::model::once::Made),
}

impl<'a> Creation<'a> {
    fn of(command: &'a Command) -> Option<Creation<'a>> {
        let (tenant, environment, made, by) = match command {
            Command::MakeGrant { tenant, grant, environment, .. } => {
                (tenant, environment, Thing::Grant(grant.clone()), By::Giver)
            }
            Command::StartSession { tenant, session, environment, .. } => {
                (tenant, environment, Thing::Session(session.clone()), By::Agent)
            }
            Command::BreakGlass { tenant, session, environment, .. } => {
                (tenant, environment, Thing::Session(session.clone()), By::Operator)
            }
            Command::Request { tenant, request, step: Step::Ask { environment, .. } } => {
                (tenant, environment, Thing::Request(request.clone()), By::Agent)
            }
            Command::RegisterTenant { .. }
            | Command::PushTenant { .. }
            | Command::RemoveTenant { .. }
            | Command::PushMember { .. }
            | Command::RemoveMember { .. }
            | Command::SeeGrantor { .. }
            | Command::SetConsent { .. }
            | Command::SetRole { .. }
            | Command::RemoveRole { .. }
            | Command::Resource { .. }
            | Command::Created { .. }
            | Command::MoveGrant { .. }
            | Command::ChangeGrant { .. }
            | Command::SetGranting { .. }
            | Command::WithdrawGrant { .. }
            | Command::AllowLogin { .. }
            | Command::WithdrawLogin { .. }
            | Command::SetApproval { .. }
            | Command::Request { .. }
            | Command::EndSession { .. }
            | Command::Stop { .. }
            | Command::Lift { .. }
            | Command::Expire { .. }
            | Command::LiftBar { .. }
            | Command::AcceptClock { .. } => return None,
        };
        Some(Creation { tenant, environment, made, by })
    }

    /// What the key made, told to nobody but who may ask for such a thing now, as without a key before anything is looked up
    /// (law 11).
    fn kept<'f>(&self, at: &Moment<'f>, once: &Once) -> Result<Known<'f>, Stop> {
        match self.by {
            By::Giver => drop(granting::giver(at, self.tenant)?),
            By::Agent => drop(session::agent(at)?),
            By::Operator => drop(break_glass::operator(at)?),
        }
        at.reaches(self.environment)?;
        let Actor::Subject(subject) = at.actor else { return Err(Refusal::NotStaff.into()) };
        let made = at.facts.made(self.tenant, &subject.id)?.map(|made| made.at(at.now)).unwrap_or_default();
        match made.by(once.key, at.now) {
            Some(kept) if kept.asked == once.asked => Ok(Known::Already(kept.clone())),
            Some(_) => Err(Refusal::KeyReused.into()),
            None => match made.kept.values().map(|kept| kept.until).min() {
                Some(free) if made.kept.len() >= MOST_KEYS => {
                    Err(Refusal::TooManyKeys { most: MOST_KEYS, free }.into())
                }
                Some(_) | None => Ok(Known::New(subject, made)),
            },
        }
    }
}
