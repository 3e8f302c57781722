//! What this gateway does where its name is not its own, and what it writes down of others that were retired (decision 0028).
//!
//! Two processes of one name would write ledgers under one name. The later one serves no staff until it is alone, and cuts what
//! staff have under way; members go on, and what takes something away is taken.
//!
//! Never here: how a name is proved ([`crate::state::redis`]), who looks (that is `app`).

use std::sync::atomic::Ordering;

use crate::{
    audit::{
        body::Body,
        journal::{AppendError, Class, Draft},
    },
    model::SubjectKind,
    policy::Reason,
    state::redis::Retired,
};

use super::{Engine, fuse::Cut, records};

/// How this process stands to its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// No other goes by it, as far as is known.
    Alone,
    /// Another one does, which came later and serves no staff.
    Contested,
    /// Another one does, which was there before.
    Taken,
}

impl Engine {
    /// How this process stands to its name.
    pub fn named(&self) -> Named {
        match self.named.load(Ordering::Acquire) {
            1 => Named::Contested,
            2 => Named::Taken,
            _ => Named::Alone,
        }
    }

    /// Whether the name is another process's.
    pub fn name_taken(&self) -> bool {
        self.named() == Named::Taken
    }

    /// From now on it stands so. Said again and again while a name is taken: who was being admitted when it was lost is cut then.
    pub fn stands(&self, named: Named) {
        let number = match named {
            Named::Alone => 0,
            Named::Contested => 1,
            Named::Taken => 2,
        };
        self.named.store(number, Ordering::Release);
        if named != Named::Taken {
            return;
        }
        let cut = Cut { reason: Reason::GatewayNameTaken, due: None, at: self.now() };
        for live in self.registry.all() {
            if live.case.get().is_some_and(|case| case.subject.subject().kind == SubjectKind::Staff) {
                live.fuse.burn(cut);
            }
        }
    }

    /// Writes down that another gateway was retired.
    ///
    /// # Errors
    /// [`AppendError`] where the ledger does not take it.
    pub async fn record_retired(&self, retired: &Retired) -> Result<(), AppendError> {
        let farewell = retired.farewell.as_ref();
        let event = records::GatewayRetired {
            gateway: &self.gateway,
            retired: &retired.name,
            retired_at: retired.at,
            by: farewell.map(|farewell| farewell.by.as_str()),
            reason: farewell.map(|farewell| farewell.reason.as_str()),
            archive: farewell.and_then(|farewell| farewell.archive.as_deref()),
            clock_moved: self.moved(),
        };
        let body = Body::of(&event).map_err(|fault| AppendError::BadDraft(fault.to_string()))?;
        let draft =
            Draft { class: Class::Reserved, ..Draft::new(records::GATEWAY_RETIRED, self.now().ms(), body) };
        self.journal.append(draft).await.map(drop)
    }
}
