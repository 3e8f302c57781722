//! How an operator accepts a clock that is behind the ledger (rule 7): every session ends, the ledger says so, and from
//! there on times are compared with the clock that was accepted.
//!
//! Sessions end first, at the latest instant that the ledger bears, and the acceptance is recorded last: whatever stops it
//! half-way leaves the clock as little accepted as it was, and fewer sessions. Deadlines of what tenants gave stand as
//! they are, as instants; what they took back stays taken back.
//!
//! Never here: who may (whoever holds the ledger's lock and its key), opening or closing (that is `app`).

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::{
    audit::{
        body::Body,
        journal::{AppendError, CLOCK_ACCEPTED, Class, Draft},
    },
    lifecycle::{Command, Refusal},
    model::{Key, Timestamp},
    state::StoreFault,
};

use super::{ChangeFault, Changed, Engine, Giver, records};

/// How many documents are looked through at a time.
const PAGE: usize = 256;

/// How long ends may take to be stored, and how long one try is from the next.
const STORED: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(100);

/// What was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The latest instant that the ledger bore.
    pub ledger: Timestamp,
    /// The clock, which counts from here on.
    pub now: Timestamp,
    /// How many sessions that ended.
    pub sessions: usize,
}

/// Why a clock is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptFault {
    /// There is nothing to accept.
    #[error("the clock is not behind the ledger, so there is nothing to accept; no session was ended")]
    NotBehind,
    /// The sessions cannot be listed.
    #[error("the sessions that have to end cannot be read: {0}")]
    Store(#[from] StoreFault),
    /// A session cannot be ended.
    #[error("a session could not be ended, so the clock is not accepted: {0}")]
    Session(ChangeFault),
    /// What was taken away before is not stored yet.
    #[error("changes that take something away are not stored yet, so the clock is not accepted; try again")]
    Waiting,
    /// It cannot be recorded.
    #[error("it cannot be recorded, so the clock is not accepted: {0}")]
    Ledger(#[from] AppendError),
}

impl Engine {
    /// See the module's header. The past has to be settled before.
    ///
    /// # Errors
    /// [`AcceptFault`]: the clock is not accepted then; sessions may have ended.
    pub async fn accept_clock(self: &Arc<Self>) -> Result<Accepted, AcceptFault> {
        let Some((ledger, now)) = self.clock_fault() else { return Err(AcceptFault::NotBehind) };
        let (mut sessions, mut after) = (0, None);
        loop {
            let due = self.store.due(Timestamp::MAX, after.as_ref(), PAGE).await.whole()?;
            let Some(last) = due.last().cloned() else { break };
            after = Some(last);
            for (_, key) in due {
                let Key::Session(tenant, session) = key else { continue };
                match self.change(Command::AcceptClock { tenant, session }, Giver::Clock).await {
                    Ok(Changed::Done { .. } | Changed::InForce { .. }) => sessions += 1,
                    Ok(Changed::Unchanged | Changed::Already { .. })
                    | Err(ChangeFault::Refused(Refusal::NotFound(_))) => {}
                    Err(fault) => return Err(AcceptFault::Session(fault)),
                }
            }
        }
        let stored = async {
            while self.mend_once().await > 0 {
                tokio::time::sleep(AGAIN).await;
            }
        };
        if tokio::time::timeout(STORED, stored).await.is_err() {
            return Err(AcceptFault::Waiting);
        }
        // Behind it nothing may bear the old time: that would be compared with the clock again.
        self.rest().await;
        let event = records::ClockAccepted { gateway: &self.gateway, ledger, now, sessions };
        let body = Body::of(&event).map_err(|fault| AppendError::BadDraft(fault.to_string()))?;
        let draft = Draft { class: Class::Reserved, ..Draft::new(CLOCK_ACCEPTED, now.ms(), body) };
        self.journal.append(draft).await?;
        self.last_record.store(now.ms(), Ordering::Release);
        Ok(Accepted { ledger, now, sessions })
    }
}
