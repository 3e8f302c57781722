//! The sample application by itself, for gateways that somebody else starts.
//!
//! Never here: a gateway, or what the application does.

use std::{net::SocketAddr, sync::Arc};

use tokio_util::sync::CancellationToken;

use super::{
    sample::{Options, Sample},
    stage::{StageFault, serve},
};
use crate::{app::clock::SystemClock, engine::Clock as _};

/// What the application is told about the gateways before it.
#[derive(Debug, Clone)]
pub struct Told {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The `iss` of their assertions.
    pub issuer: String,
    /// The application's own name in them (`aud`): the upstream's.
    pub audience: String,
    /// Their public keys: one JWK or a set of them, as JSON.
    pub keys: String,
}

/// The application, while it runs.
pub struct Alone {
    address: SocketAddr,
    stop: CancellationToken,
    thread: std::thread::JoinHandle<()>,
}

impl Alone {
    /// Starts it.
    ///
    /// # Errors
    /// [`StageFault::Sample`]: the address is taken, or the keys cannot be used.
    pub fn start(told: Told) -> Result<Alone, StageFault> {
        let fault = |what: &dyn std::fmt::Display| StageFault::Sample(what.to_string());
        let clock = SystemClock::default();
        let sample = Sample::new(Options {
            issuer: told.issuer,
            audience: told.audience,
            keys: told.keys,
            now: Arc::new(move || clock.now().ms() / 1000),
            stands_in: false,
        });
        let sample = sample.map_err(|what| fault(&what))?;
        let listener = std::net::TcpListener::bind(told.listen).map_err(|what| fault(&what))?;
        let address = listener.local_addr().map_err(|what| fault(&what))?;
        let stop = CancellationToken::new();
        let thread = serve(sample, listener, stop.clone())?;
        Ok(Alone { address, stop, thread })
    }

    /// Where it listens: a port 0 is the one that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it; answers under way get a second.
    pub fn stop(self) {
        self.stop.cancel();
        let _ = self.thread.join();
    }
}
