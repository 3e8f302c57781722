//! The store that the settings name, whichever it is: the embedded one in its file, or one in Redis that gateways share.
//!
//! Never here: what is done when one of them is missing ([`super::open`]), who else shares it ([`super::roster`]).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::runtime::Handle;
use zeroize::Zeroizing;

use crate::{
    config::{
        Settings,
        resolve::{RedisFound, RedisSettings, StateSettings},
    },
    engine::{Clock, Keeps},
    state::{
        Embedded, RedisStore, Shadow, Store,
        healing::Heal,
        redis::{Address, Options, Servers, Tls},
    },
};

use super::{roster::Roster, shadow};

/// How often the store's clock is heard.
const HEAR_EVERY: Duration = Duration::from_millis(250);

/// The store, open.
pub(super) enum Kept {
    /// In a file.
    File(Arc<Embedded>),
    /// In Redis, what this gateway saw of it, and by which clock that gets old.
    Redis(Arc<RedisStore>, Arc<Shadow>, Arc<dyn Clock>),
}

impl Kept {
    pub(super) fn store(&self) -> Arc<dyn Store> {
        match self {
            Kept::File(store) => Arc::clone(store) as Arc<dyn Store>,
            Kept::Redis(store, ..) => Arc::clone(store) as Arc<dyn Store>,
        }
    }

    /// The one that several gateways share.
    pub(super) fn shared(&self) -> Option<Arc<RedisStore>> {
        match self {
            Kept::File(_) => None,
            Kept::Redis(store, ..) => Some(Arc::clone(store)),
        }
    }

    /// With what it is healed, where several gateways share it.
    pub(super) fn keeps(&self, settings: &Settings) -> Option<Keeps> {
        let (Kept::Redis(store, shadow, _), StateSettings::Redis(redis)) = (self, &settings.state) else {
            return None;
        };
        let store = Arc::clone(store) as Arc<dyn Heal>;
        Some(Keeps { shadow: Arc::clone(shadow), store, grace_ms: redis.heal_grace_ms })
    }

    /// What it knows of a store that is shared goes to the disk, and how old that is. Blocks.
    pub(super) fn flush(&self) {
        let Kept::Redis(store, shadow, clock) = self else { return };
        shadow::date(shadow, &store.leases(), &**clock);
        if let Err(fault) = shadow.flush() {
            tracing::error!(%fault, "the shadow is not written; the next start puts back what the ledger has");
        }
    }

    /// Takes nothing more, and lets go of what it holds.
    pub(super) async fn close(&self) {
        match self {
            Kept::File(store) => store.close().await,
            // What it acknowledged is where it is kept; its connections end when nobody holds it any more.
            Kept::Redis(..) => {}
        }
    }
}

/// Runs for as long as the gateway does, where gateways share the store: its clock is heard, and what its servers are set to lose is
/// told, once.
pub(super) async fn keep_hearing(store: Arc<RedisStore>, clock: Arc<dyn Clock>) {
    let mut told = BTreeSet::new();
    loop {
        if let Some((store_ms, boot_ms)) = store.links().fleet_time() {
            clock.heard(store_ms, boot_ms);
        }
        for warning in store.links().warnings() {
            if told.insert(warning.clone()) {
                tracing::warn!("{warning}");
            }
        }
        tokio::time::sleep(HEAR_EVERY).await;
    }
}

/// Who the gateways of a store are, where several share it.
pub(super) fn roster(kept: &Kept, settings: &Settings) -> Option<Arc<Roster>> {
    let Kept::Redis(store, shadow, _) = kept else { return None };
    // Also one that answers no others: whoever heals the store waits for what it knows, and its name is to be its own.
    let address = settings.fleet.as_ref().map_or("", |fleet| fleet.address.as_str());
    Some(Roster::new(Arc::clone(store), Arc::clone(shadow), &settings.gateway, address))
}

/// A store in Redis, which connects by itself, and is compared with what this gateway saw of it.
pub(super) fn redis(
    settings: &RedisSettings,
    shadow: &Arc<Shadow>,
    runtime: &Handle,
    clock: &Arc<dyn Clock>,
) -> Kept {
    let options = options(settings);
    let leases = shadow::leases(shadow, options.parts, &**clock);
    let boot = Arc::clone(clock);
    let store = RedisStore::start_knowing(options, leases, runtime, Arc::new(move || boot.boot_ms()));
    Kept::Redis(store, Arc::clone(shadow), Arc::clone(clock))
}

/// What a store in Redis takes of the settings.
pub(super) fn options(settings: &RedisSettings) -> Options {
    let addresses = settings.servers.iter();
    let mut addresses =
        addresses.map(|(host, port)| Address { host: host.clone(), port: *port }).collect::<Vec<_>>();
    let servers = match &settings.found {
        RedisFound::Sentinel(name) => Servers::Sentinel { name: name.clone(), addresses },
        RedisFound::Cluster => Servers::Cluster(addresses),
        RedisFound::One => match addresses.pop() {
            Some(address) => Servers::One(address),
            // The settings name one; without any, nobody is asked.
            None => Servers::Cluster(addresses),
        },
    };
    let text = |bytes: &[u8]| Zeroizing::new(String::from_utf8_lossy(bytes.trim_ascii()).into_owned());
    let millis = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    Options {
        tls: settings.tls.as_ref().map(|tls| Tls {
            roots: tls.authorities.as_ref().map(|pem| pem.clone().into_bytes()),
            own: tls
                .pair
                .as_ref()
                .map(|(chain, key)| (chain.clone().into_bytes(), Zeroizing::new(key.expose().to_vec()))),
        }),
        user: settings.user.clone(),
        password: settings.password.as_ref().map(|secret| text(secret.expose())),
        guide: settings.guide.as_ref().map(|guide| (guide.user.clone(), text(guide.password.expose()))),
        database: u32::from(settings.database),
        copies: settings.copies,
        prefix: settings.prefix.clone(),
        timeout: millis(settings.timeout_ms),
        beat: millis(settings.beat_ms),
        ..Options::new(servers)
    }
}
