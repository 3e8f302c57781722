//! The first use of an emergency token on this gateway: an entry like any other by break-glass. It is counted, recorded before
//! anything goes upstream, and told to whoever watches; what follows by the same token is recorded as each access is.
//!
//! Kept in memory: a gateway that was started anew records, counts and tells it once more.
//!
//! Never here: whether the token counts ([`crate::policy::alone`]).

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use crate::{
    audit::{
        body::Body,
        journal::{Class, Draft},
    },
    identity::VerifiedSubject,
    lifecycle::Event,
    model::{EmergencyToken, Key, SessionId, Timestamp},
    policy::{Denial, Detail, Fact, Facts, Reason, Staff},
};

use super::{
    Engine,
    fault::Fault,
    judge::Stop,
    knock::{Knock, Particulars},
    records::{self, ByToken},
    registry::Live,
};

/// How long an entry waits for a store to count it.
const PATIENCE: Duration = Duration::from_secs(1);

/// The tokens that were used here, until they end.
#[derive(Debug, Default)]
pub(super) struct Entered {
    known: Mutex<BTreeMap<SessionId, Timestamp>>,
    /// One after another, so that no entry is counted twice.
    turn: tokio::sync::Mutex<()>,
}

impl Entered {
    fn known(&self) -> MutexGuard<'_, BTreeMap<SessionId, Timestamp>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, token: &EmergencyToken) -> bool {
        self.known().contains_key(&token.id)
    }

    fn put(&self, token: &EmergencyToken, now: Timestamp) {
        let mut known = self.known();
        known.retain(|_, ends| now < *ends);
        known.insert(token.id.clone(), token.ends);
    }
}

/// What of a token stands in the record of an access by it.
pub(super) fn by_token<'a>(token: &'a EmergencyToken, facts: &Facts) -> ByToken<'a> {
    let known = matches!(facts.get(&Key::Tenant(token.tenant.clone())), Some(Fact::Found(_)));
    ByToken { key: &token.by.kid, issued: token.issued, ends: token.ends, tenant_known: known }
}

impl Engine {
    /// How often somebody entered by break-glass since the start.
    pub fn glass_broken(&self) -> u64 {
        self.glass_broken.load(Ordering::Relaxed)
    }

    /// Takes note of an entry by a token, where this is the first use of it here.
    #[expect(clippy::too_many_arguments, reason = "a record gathers from everywhere, once")]
    pub(super) async fn enter_alone(
        &self,
        live: &Live,
        token: &EmergencyToken,
        staff: &Staff,
        knock: &Knock,
        subject: &VerifiedSubject,
        facts: &Facts,
        about: &Particulars,
    ) -> Result<(), Stop> {
        if self.entered.has(token) {
            return Ok(());
        }
        let _turn = self.entered.turn.lock().await;
        if self.entered.has(token) {
            return Ok(());
        }
        let now = self.now();
        let most = knock.policy.break_glass(&subject.id).map_or(0, |glass| glass.attempts);
        let counting = self.count_attempt(&subject.id, now, most, &token.id);
        // Counted here alone where the store takes too long.
        let attempt = match tokio::time::timeout(PATIENCE, counting).await {
            Ok(Err(after)) => {
                let detail = Detail::At(now.plus_ms(i64::from(after) * 1_000));
                return Err(Stop::Denied(Denial { reason: Reason::EmergencyTooOften, detail }));
            }
            Ok(Ok(attempt)) => Some(attempt),
            Err(_) => None,
        };
        let draft = self.entry(live, token, staff, knock, subject, facts, about)?;
        if let Err(fault) = self.journal.append(draft).await {
            // What this gateway could not do is nobody's attempt.
            if let Some(attempt) = attempt {
                self.withdraw_attempt(attempt).await;
            }
            return Err(Stop::Faulted(Fault::Ledger(fault)));
        }
        self.entered.put(token, now);
        self.glass_broken.fetch_add(1, Ordering::Relaxed);
        let (tenant, session, glass) = (&staff.tenant, &token.id, &token.glass);
        let (cause, incident, key) = (&glass.cause, &glass.incident, &token.by.kid);
        tracing::warn!(%tenant, %session, subject = %subject.id, %cause, %incident, signed_by = %key, "an operator broke the glass");
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "a record gathers from everywhere, once")]
    fn entry(
        &self,
        live: &Live,
        token: &EmergencyToken,
        staff: &Staff,
        knock: &Knock,
        subject: &VerifiedSubject,
        facts: &Facts,
        about: &Particulars,
    ) -> Result<Draft, Stop> {
        let (session, subject_id) = (token.id.clone(), subject.id.clone());
        let events = [
            Event::GlassBroken {
                session: session.clone(),
                subject: subject_id.clone(),
                environment: staff.environment.clone(),
                cause: token.glass.cause.to_string(),
                incident: token.glass.incident.to_string(),
                reason: token.glass.reason.to_string(),
            },
            Event::SessionStarted {
                session: session.clone(),
                subject: subject_id,
                role: staff.role.clone(),
                acting_as: None,
                deadline: token.ends,
            },
        ];
        let event = records::EmergencyEntered {
            change: &token.id,
            exchange: &live.exchange,
            tenant: &staff.tenant,
            environment: &staff.environment,
            subject: &subject.id,
            token: subject.fingerprint().to_string(),
            role: staff.role.as_ref(),
            basis: &staff.basis,
            by_token: by_token(token, facts),
            rests_on: records::rests(facts),
            age_ms: facts.age_ms(),
            events: &events,
            policy: &knock.policy.fingerprint,
            clock_moved: self.moved(),
        };
        let body = Body::of(&event).map_err(|_| Stop::Faulted(Fault::Undecided))?;
        Ok(Draft {
            session: Some(session.to_string()),
            personal: records::personal(subject, &about.client),
            class: Class::Emergency,
            ..Draft::new(records::EMERGENCY_ENTERED, self.now().ms(), body)
        })
    }
}
