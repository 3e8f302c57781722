//! This gateway's part of a fleet, made from the configuration: the listener for the other gateways, and whom it asks.
//!
//! Never here: what is asked and answered ([`crate::fleet`]).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, runtime::Handle};
use tokio_util::sync::CancellationToken;

use super::listen::{self, ListenFault};
use crate::{
    audit::journal::Journal,
    config::{Settings, resolve::FleetSettings},
    fleet::{Fleet, Link, Parts, Peers},
};

/// The fleet of a gateway that runs.
pub(super) struct Running {
    pub(super) fleet: Arc<Fleet>,
    /// Where the others ask this gateway.
    pub(super) address: SocketAddr,
    listener: std::net::TcpListener,
}

fn link(settings: &FleetSettings) -> Link {
    Link {
        serving: Arc::clone(&settings.serving),
        asking: Arc::clone(&settings.asking),
        timeout: Duration::from_millis(u64::try_from(settings.timeout_ms).unwrap_or(0)),
    }
}

/// What there is of a fleet by these settings: the address is taken, nothing is answered yet.
pub(super) fn prepare(
    settings: &Settings,
    journal: &Arc<Journal>,
    peers: Option<Arc<dyn Peers>>,
    background: &Handle,
) -> Result<Option<Running>, ListenFault> {
    let Some(written) = &settings.fleet else { return Ok(None) };
    let listener = listen::one(written.listen)?;
    let address = listener.local_addr().unwrap_or(written.listen);
    let fleet = Fleet::new(Parts {
        gateway: settings.gateway.clone(),
        journal: Arc::clone(journal),
        // Of a store that names no gateways there are no others.
        peers: peers.unwrap_or_else(|| Arc::new(Vec::new())),
        link: link(written),
        background: background.clone(),
    });
    Ok(Some(Running { fleet, address, listener }))
}

impl Running {
    /// Answers the others from now on, until the halt.
    pub(super) fn serve(self, background: &Handle, halt: CancellationToken) -> std::io::Result<()> {
        let _inside = background.enter();
        background.spawn(self.fleet.serve(TcpListener::from_std(self.listener)?, halt));
        Ok(())
    }
}

/// Speaks by these settings from now on: other certificates, another time-out.
pub(super) fn follow(fleet: Option<&Arc<Fleet>>, settings: &Settings) {
    if let (Some(fleet), Some(written)) = (fleet, &settings.fleet) {
        fleet.speak(link(written));
    }
}

/// Whether the difference needs a restart.
pub(super) fn stays(old: Option<&FleetSettings>, new: Option<&FleetSettings>) -> bool {
    match (old, new) {
        (None, None) => true,
        (Some(old), Some(new)) => (old.listen, &old.address) == (new.listen, &new.address),
        (None, Some(_)) | (Some(_), None) => false,
    }
}
