//! What a start does beside serving: the past is settled, the configured tenants made known, a clock that is behind told of.
//!
//! Never here: what settling means ([`crate::engine`]).

use std::{collections::VecDeque, sync::Arc, time::Duration};

use crate::{
    audit::journal::OpenIntent,
    config::Settings,
    engine::{ChangeFault, Engine, Giver},
    lifecycle::{Command, Refusal},
    model::Key,
    state::Unreadable,
};

use super::roster::Roster;

/// How often it is said that the clock is behind the ledger, while it is.
const CLOCK_AGAIN: Duration = Duration::from_secs(60);
/// How long settling rests between tries.
const SETTLE_AGAIN: Duration = Duration::from_millis(500);

/// Says that the clock is behind the ledger, at once and every minute while it is: staff are refused for it.
pub(super) async fn tell_of_the_clock(engine: Arc<Engine>) {
    let mut was = false;
    loop {
        match engine.clock_fault() {
            Some((ledger, now)) => {
                was = true;
                tracing::error!(
                    %ledger, %now,
                    "the clock is behind the ledger's last record; staff are refused until it is set right, or accepted by `postern state accept-clock`"
                );
            }
            None if was => {
                was = false;
                tracing::info!("the clock has passed the ledger's last record; staff are served");
            }
            None => {}
        }
        tokio::time::sleep(CLOCK_AGAIN).await;
    }
}

/// Settles the past, makes the configured tenants known, and opens to staff; tries each until it is done. The past comes
/// first: what was being taken away is in force before anything else is written. Staff come last: no agent is told that a
/// tenant admits nobody because it is not known yet.
pub(super) async fn settle(
    engine: Arc<Engine>,
    open: Vec<OpenIntent>,
    tenants: Vec<Command>,
    roster: Option<Arc<Roster>>,
) {
    let mut open = VecDeque::from(open);
    while let Err(fault) = engine.settle_intents(&mut open).await {
        tracing::error!(%fault, "what was left open is not settled yet; staff are refused until it is");
        tokio::time::sleep(SETTLE_AGAIN).await;
    }
    register(&engine, tenants).await;
    // Nor does anybody of staff come in while an earlier process of this name may still be there.
    if let Some(roster) = roster {
        roster.proved().await;
    }
    while let Err(fault) = engine.settle(&mut open).await {
        tracing::error!(%fault, "the start cannot be recorded yet; staff are refused until it is");
        tokio::time::sleep(SETTLE_AGAIN).await;
    }
    let mut told = false;
    while let Err(fault) = engine.find_grantors().await {
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(%fault, "some who gave grants are looked up later; until then they are not noticed");
        }
        tokio::time::sleep(SETTLE_AGAIN).await;
    }
}

/// Makes the configured tenants known; tries each until it is done.
pub(super) async fn register(engine: &Arc<Engine>, tenants: Vec<Command>) {
    for command in tenants {
        loop {
            match engine.change(command.clone(), Giver::Configuration).await {
                Ok(_) => break,
                // What the store cannot tell right now is no answer.
                Err(ChangeFault::Refused(refusal)) if refusal != Refusal::Unavailable => {
                    tracing::error!(tenant = ?command.tenant(), %refusal, "a configured tenant could not be registered");
                    break;
                }
                Err(fault) => {
                    if let Some(unreadable) = unreadable(engine, &command).await {
                        tracing::error!(
                            tenant = ?command.tenant(), code = unreadable.code(),
                            "a configured tenant could not be registered, and staff are refused there: {unreadable}"
                        );
                        break;
                    }
                    tracing::warn!(tenant = ?command.tenant(), %fault, "a tenant is registered later");
                    tokio::time::sleep(SETTLE_AGAIN).await;
                }
            }
        }
    }
}

/// What is there and cannot be read of a tenant or its parent: trying again changes nothing about that, and nobody else is to wait for it.
async fn unreadable(engine: &Engine, command: &Command) -> Option<Unreadable> {
    let Command::RegisterTenant { tenant, parent, .. } = command else { return None };
    let keys: Vec<Key> =
        [Some(tenant), parent.as_ref()].into_iter().flatten().cloned().map(Key::Tenant).collect();
    let found = engine.store().load(&keys).await.ok()?;
    found.into_iter().flatten().find_map(Result::err)
}

pub(super) fn registrations(settings: &Settings) -> Vec<Command> {
    settings
        .tenants
        .known
        .iter()
        .map(|tenant| Command::RegisterTenant {
            tenant: tenant.id.clone(),
            parent: tenant.parent.clone(),
            zone: tenant.zone,
            environments: tenant.environments.iter().cloned().collect(),
        })
        .collect()
}
