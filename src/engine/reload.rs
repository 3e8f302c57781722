//! Another policy while exchanges run: recorded before it counts, and then every exchange under way is decided again.
//!
//! The order makes it whole. The record is durable, the policy is put in force, every exchange that is entered is
//! touched and decided again. One that is entered later, on a map read earlier, finds out by itself before it is admitted
//! (see `admit`): it holds another policy than the one in force. So whatever passes after [`Engine::decide_again`] was
//! decided under the new policy, and what the new one does not allow is cut.
//!
//! Never here: reading a configuration, the map's look-up ([`crate::proxy`] hands it in).

use std::sync::Arc;

use crate::{
    audit::{
        body::Body,
        journal::{AppendError, Class, Draft},
    },
    identity::VerifiedSubject,
    model::Timestamp,
    policy::{Policy, Reason},
};

use super::{
    Engine,
    knock::{Knock, Outer, Particulars, Path},
    records,
    registry::{Case, Live},
};

/// Where a request stands in another map than the one it was admitted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which rule owns it there.
    pub path: Path,
    /// The resource that its path names there.
    pub resource: Option<Arc<str>>,
    /// … and those that it lies in.
    pub within: Outer,
}

/// Looks a request up in the map in force, that was asked under this policy and read in its map. Where it cannot be asked
/// again there, since the map names tenants or environments by other means, its issuer is no longer the same, or nobody has
/// the map any more that it was read in, such an exchange is cut, and this is why.
pub type Find = dyn Fn(&Arc<Policy>, &Particulars, &VerifiedSubject) -> Result<Place, Reason> + Send + Sync;

/// A policy, and how requests are found again in the map that came with it.
pub struct Standing {
    /// The policy.
    pub policy: Arc<Policy>,
    /// The look-up.
    pub find: Box<Find>,
}

/// How an exchange is decided again.
pub(super) enum Asked {
    /// By this.
    Again(Arc<Knock>),
    /// Not at all: the map in force does not know how to read it.
    Never(Reason),
}

impl Engine {
    /// Records another policy and puts it in force; the ladder of consent levels with it. Exchanges under way are decided
    /// again by [`Engine::decide_again`], once the caller has put its own parts in force.
    ///
    /// # Errors
    /// [`AppendError`] where the ledger does not take the record: nothing has changed then.
    pub async fn reload(&self, standing: Standing, cause: &'static str) -> Result<Timestamp, AppendError> {
        let old = self.policy();
        let policy = Arc::clone(&standing.policy);
        let now = self.now();
        let event = records::GatewayReloaded {
            gateway: &self.gateway,
            from: &old.fingerprint,
            policy: &policy.fingerprint,
            cause,
            clock_moved: self.moved(),
        };
        let body = Body::of(&event).map_err(|fault| AppendError::BadDraft(fault.to_string()))?;
        let draft = Draft { class: Class::Reserved, ..Draft::new(records::GATEWAY_RELOADED, now.ms(), body) };
        self.journal.append(draft).await?;
        if old.ladder != policy.ladder {
            self.cells.set_ladder(policy.ladder.clone());
        }
        // The look-up first: whoever sees the new policy in force can be found in its map.
        self.standing.store(Some(Arc::new(standing)));
        self.policy.store(policy);
        Ok(now)
    }

    /// Decides every exchange under way again; what is no longer allowed is cut. Whether all that were cut have parted
    /// from their sockets in time.
    pub async fn decide_again(self: &Arc<Self>) -> bool {
        self.hold_and_decide(&self.registry.all()).await
    }

    /// Whether what is asked is asked under another policy than the one in force.
    pub(super) fn asked_elsewhere(&self, knock: &Knock) -> bool {
        self.standing.load().as_ref().is_some_and(|standing| !Arc::ptr_eq(&standing.policy, &knock.policy))
    }

    /// What a case asks, under the policy in force.
    pub(super) fn asked_now(&self, case: &Case) -> Asked {
        let knock = case.knock.load_full();
        let standing = self.standing.load();
        let Some(standing) = standing.as_ref().filter(|_| self.asked_elsewhere(&knock)) else {
            return Asked::Again(knock);
        };
        let place = match (standing.find)(&knock.policy, &case.about, &case.subject) {
            Ok(place) => place,
            Err(reason) => return Asked::Never(reason),
        };
        let knock = Arc::new(Knock {
            policy: Arc::clone(&standing.policy),
            path: place.path,
            resource: place.resource,
            within: place.within,
            ..Knock::clone(&knock)
        });
        case.knock.store(Arc::clone(&knock));
        Asked::Again(knock)
    }

    /// All of them hold from here on, before any is decided. No application is waited for: what it takes a look-up to decide goes
    /// on holding, and is decided beside this.
    pub(super) async fn hold_and_decide(self: &Arc<Self>, all: &[Arc<Live>]) -> bool {
        for live in all {
            live.fuse.touch();
        }
        let mut asking = Vec::new();
        for live in all {
            if !self.judge_by_what_is_at_hand(live).await {
                asking.push(Arc::clone(live));
            }
        }
        self.decide_apart(asking);
        self.parted(all).await
    }
}
