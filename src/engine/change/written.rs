//! The records of a change: its intent, its outcome, its refusal. Never here: when they are written.

use std::sync::atomic::Ordering;

use crate::{
    audit::{
        body::Body,
        journal::{AppendError, Class, Draft},
    },
    engine::{
        Engine,
        admit::{personal, rests},
        erasable,
        mend::Pending,
        records,
    },
    lifecycle::{Change, Command, Event, Refusal},
    model::{ChangeId, Key, Stored, TenantId},
    policy::{Facts, Policy},
    state::Place,
};

use super::terms::{Giver, Try};

impl Engine {
    /// Makes the intent of a narrowing durable, once. Where the ledger does not take it, it is left for when it does,
    /// and the change goes on.
    pub(super) async fn record_narrowing(
        &self,
        this: &Try<'_>,
        pending: &Pending,
        change: &Change,
        facts: &Facts,
        policy: &Policy,
    ) -> Result<(), AppendError> {
        if pending.recorded.load(Ordering::Acquire) {
            return Ok(());
        }
        let draft = self.change_intent(this, facts, change, policy)?;
        if let Err(fault) = self.journal.append(draft.clone()).await {
            tracing::warn!(%fault, change = %this.change, "the intent of a narrowing is written later");
            pending.late.store(true, Ordering::Release);
            self.scribe.push(draft);
        }
        pending.recorded.store(true, Ordering::Release);
        Ok(())
    }

    pub(super) fn change_intent(
        &self,
        this: &Try<'_>,
        facts: &Facts,
        change: &Change,
        policy: &Policy,
    ) -> Result<Draft, AppendError> {
        let (subject, mut values) = match this.giver {
            Giver::Subject(subject, client) => (Some(subject), personal(subject, client)),
            Giver::Configuration | Giver::Clock | Giver::Application => (None, Vec::new()),
        };
        let documents: &[_] = if change.narrows { &change.documents } else { &[] };
        let (documents, taken) = erasable::written(&this.change, documents);
        values.extend(taken);
        let event = records::ChangeIntent {
            change: this.change.as_str(),
            command: this.command.code(),
            tenant: this.command.tenant(),
            subject: subject.map(|subject| &subject.id),
            token: subject.map(|subject| subject.fingerprint().to_string()),
            actor: this.giver.word(),
            rests_on: rests(facts),
            writes: change.documents.iter().map(|(key, _)| key.to_string()).collect(),
            part: self.part_of(change.documents.iter().map(|(key, _)| key)),
            events: &change.events,
            documents: &documents,
            policy: &policy.fingerprint,
            clock_moved: self.moved(),
        };
        let body = Body::of(&event).map_err(|fault| AppendError::BadDraft(fault.to_string()))?;
        Ok(Draft {
            session: session_of(this.command),
            opens: Some(this.change.to_string()),
            personal: values,
            class: match this.command {
                _ if change.narrows => Class::Reserved,
                Command::BreakGlass { .. } => Class::Emergency,
                _ => Class::Ordinary,
            },
            ..Draft::new(records::CHANGE_INTENT, self.now().ms(), body)
        })
    }

    /// Writes the outcome of a committed change; `false`: it is written later.
    pub(super) async fn record_outcome(
        &self,
        this: &Try<'_>,
        place: Place,
        events: &[Event],
        documents: &[(Key, Stored)],
    ) -> bool {
        let about = About::of(this);
        let Some(draft) = self.outcome(&about, records::Fate::Stored, Some(place), events, documents) else {
            return false;
        };
        // Behind an intent that still waits to be written, never before it.
        if this.pending.is_some_and(|pending| pending.late.load(Ordering::Acquire)) {
            self.scribe.push(draft);
            return false;
        }
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
        place: Option<Place>,
        events: &[Event],
        documents: &[(Key, Stored)],
    ) {
        if let Some(draft) = self.outcome(&About::of(this), outcome, place, events, documents) {
            self.scribe.push(draft);
        }
    }

    /// The outcome of a change as a record. One that cannot be made is told in the log, and its intent stays open.
    pub(in crate::engine) fn outcome(
        &self,
        about: &About<'_>,
        outcome: records::Fate,
        place: Option<Place>,
        events: &[Event],
        documents: &[(Key, Stored)],
    ) -> Option<Draft> {
        let (documents, values) = erasable::stored(documents);
        let event = records::ChangeOutcome {
            change: about.change.as_str(),
            tenant: about.tenant,
            outcome,
            part: place.map(|place| place.part).unwrap_or_default(),
            position: place.map(|place| place.number),
            events,
            documents: &documents,
            settled: about.settled,
            clock_moved: self.moved(),
        };
        match Body::of(&event) {
            Ok(body) => Some(Draft {
                session: about.session.clone(),
                ends_session: ends(events, about.session.as_deref()),
                closes: Some(about.change.to_string()),
                personal: values,
                class: Class::Reserved,
                ..Draft::new(records::CHANGE_OUTCOME, self.now().ms(), body)
            }),
            Err(fault) => {
                tracing::error!(%fault, change = %about.change, "an outcome could not be written as a record");
                None
            }
        }
    }

    pub(super) fn record_refusal(&self, command: &Command, giver: &Giver, refusal: &Refusal) {
        let Giver::Subject(subject, _) = giver else { return };
        let event = records::ChangeRefused {
            command: command.code(),
            tenant: command.tenant().map(TenantId::as_str),
            subject: &subject.id,
            reason: refusal.code(),
            detail: refusal.detail(),
            clock_moved: self.moved(),
        };
        self.scribe.refused_change(self.now(), subject.kind, &event);
    }
}

/// Whether the session that a record bears ends by these events. One that replaces another bears its own.
pub(in crate::engine) fn ends(events: &[Event], own: Option<&str>) -> bool {
    let ended =
        |event: &Event| matches!(event, Event::SessionEnded { session, .. } if Some(session.as_str()) == own);
    events.iter().any(ended)
}

/// What an outcome is about.
pub(in crate::engine) struct About<'a> {
    pub(in crate::engine) change: &'a ChangeId,
    pub(in crate::engine) session: Option<String>,
    pub(in crate::engine) tenant: Option<&'a str>,
    /// Found by a start.
    pub(in crate::engine) settled: bool,
}

impl<'a> About<'a> {
    pub(super) fn of(this: &'a Try<'_>) -> About<'a> {
        About::made(&this.change, this.command)
    }

    /// Somebody gave this command.
    pub(in crate::engine) fn made(change: &'a ChangeId, command: &'a Command) -> About<'a> {
        let tenant = command.tenant().map(TenantId::as_str);
        About { change, session: session_of(command), tenant, settled: false }
    }
}

fn session_of(command: &Command) -> Option<String> {
    match command {
        Command::StartSession { session, .. }
        | Command::BreakGlass { session, .. }
        | Command::EndSession { session, .. }
        | Command::AcceptClock { session, .. } => Some(session.to_string()),
        Command::Expire { key: Key::Session(_, session) } => Some(session.to_string()),
        Command::Expire { .. }
        | Command::RegisterTenant { .. }
        | Command::PushTenant { .. }
        | Command::RemoveTenant { .. }
        | Command::SetApproval { .. }
        | Command::Request { .. }
        | Command::PushMember { .. }
        | Command::RemoveMember { .. }
        | Command::SeeGrantor { .. }
        | Command::SetConsent { .. }
        | Command::SetRole { .. }
        | Command::RemoveRole { .. }
        | Command::Resource { .. }
        | Command::Created { .. }
        | Command::MakeGrant { .. }
        | Command::MoveGrant { .. }
        | Command::ChangeGrant { .. }
        | Command::SetGranting { .. }
        | Command::WithdrawGrant { .. }
        | Command::AllowLogin { .. }
        | Command::WithdrawLogin { .. }
        | Command::LiftBar { .. }
        | Command::Stop { .. }
        | Command::Lift { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EndCause, IssuerName, SessionId, SubjectRef, Timestamp};

    #[test]
    fn a_record_ends_the_session_that_it_bears_and_none_that_it_replaces() {
        let subject = SubjectRef { issuer: IssuerName::new("staff").unwrap(), sub: "anna".into() };
        let (session, at) = (SessionId::new("ses_old").unwrap(), Timestamp::from_ms(1));
        let events = [Event::SessionEnded { session, subject, cause: EndCause::Replaced, at }];
        assert!(ends(&events, Some("ses_old")));
        assert!(!ends(&events, Some("ses_new")) && !ends(&events, None) && !ends(&[], Some("ses_old")));
    }
}
