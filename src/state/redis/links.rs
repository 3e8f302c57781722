//! Connections to the servers of a store: one that loads, one that commits, both held by a task that connects anew.
//!
//! Nobody waits for a connection: a caller takes what is there, or is told at once why nothing is. A connection on which
//! a command failed is given up as a whole; what was under way on it is answered as broken.
//!
//! Never here: commands ([`super::scripts`]), what an error means for a change ([`super::store`]).

use std::{
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};

use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    aio::MultiplexedConnection,
};
use tokio::{runtime::Handle, sync::Notify};

use crate::state::{Part, ServerFault, StoreFault};

use super::{
    options::{Options, Servers},
    said,
    scripts::Sent,
};

/// The pause after the first attempt that failed; it doubles from there.
const FIRST: Duration = Duration::from_millis(20);
/// The longest pause between two attempts.
const SLOWEST: Duration = Duration::from_secs(1);

/// The connections to the primary of some parts, as long as they hold.
pub(crate) struct Ready {
    /// For what only reads.
    pub(crate) loads: MultiplexedConnection,
    /// For what writes; a `WAIT` holds up what is behind it.
    pub(crate) commits: MultiplexedConnection,
    /// How many replicas beside the primary make a majority; 0: none.
    pub(crate) wait: u32,
    /// What these servers were sent.
    pub(crate) sent: Sent,
    broken: Arc<Notify>,
}

impl Ready {
    /// Tells that a command failed in a way that a new connection may mend.
    pub(crate) fn failed(&self, fault: &StoreFault) {
        let StoreFault::Server { fault, .. } = fault else { return };
        match fault {
            ServerFault::Unreachable
            | ServerFault::TimedOut
            | ServerFault::ReadOnly
            | ServerFault::Password
            | ServerFault::NoPrimary
            | ServerFault::Moved
            | ServerFault::Answer => self.broken.notify_one(),
            ServerFault::Unconfirmed
            | ServerFault::OutOfMemory
            | ServerFault::Permission
            | ServerFault::Loading
            | ServerFault::ScriptBusy
            | ServerFault::CannotPersist
            | ServerFault::FewReplicas
            | ServerFault::ClusterDown
            | ServerFault::WrongType
            | ServerFault::Refused => {}
        }
    }
}

/// All connections of a store.
pub(crate) struct Links {
    ready: RwLock<Result<Arc<Ready>, StoreFault>>,
    broken: Arc<Notify>,
}

impl Drop for Links {
    fn drop(&mut self) {
        self.broken.notify_one();
    }
}

impl Links {
    /// Begins to connect.
    pub(crate) fn start(options: &Options, runtime: &Handle) -> Arc<Links> {
        let fault = said::unreached("not connected yet");
        let broken = Arc::new(Notify::new());
        let links = Arc::new(Links { ready: RwLock::new(Err(fault)), broken: Arc::clone(&broken) });
        runtime.spawn(hold(Arc::downgrade(&links), options.clone(), broken));
        links
    }

    /// The connections to the primary of a part. Never waits.
    pub(crate) fn at(&self, _part: Part) -> Result<Arc<Ready>, StoreFault> {
        self.ready.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether all parts are on one primary, so that a script may name keys of several.
    pub(crate) fn one_server(&self) -> bool {
        true
    }

    fn set(&self, ready: Result<Arc<Ready>, StoreFault>) {
        *self.ready.write().unwrap_or_else(PoisonError::into_inner) = ready;
    }
}

/// Connects, waits until something fails, and connects again; until nobody needs it any more.
async fn hold(links: Weak<Links>, options: Options, broken: Arc<Notify>) {
    let mut pause = FIRST;
    loop {
        let connected = connect(&options, &broken).await;
        let Some(held) = links.upgrade() else { return };
        match connected {
            Ok(ready) => {
                pause = FIRST;
                held.set(Ok(Arc::new(ready)));
                drop(held);
                broken.notified().await;
                let Some(held) = links.upgrade() else { return };
                held.set(Err(said::unreached("connecting anew")));
            }
            Err(fault) => {
                held.set(Err(fault));
                drop(held);
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(SLOWEST);
            }
        }
    }
}

async fn connect(options: &Options, broken: &Arc<Notify>) -> Result<Ready, StoreFault> {
    let Servers::One(address) = &options.servers else {
        return Err(said::unreached("only one server can be reached"));
    };
    if options.tls.is_some() {
        return Err(said::unreached("TLS cannot be spoken"));
    }
    let mut redis =
        RedisConnectionInfo::default().set_db(i64::from(options.database)).set_skip_set_lib_name();
    if let Some(user) = &options.user {
        redis = redis.set_username(user);
    }
    if let Some(password) = &options.password {
        redis = redis.set_password(password.as_str());
    }
    let failed = |error: RedisError| said::broken(&error);
    let info =
        ConnectionAddr::Tcp(address.host.clone(), address.port).into_connection_info().map_err(failed)?;
    let client = Client::open(info.set_redis_settings(redis)).map_err(failed)?;
    // Time-outs of commands are ours.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(options.connect_timeout))
        .set_response_timeout(None)
        .set_pipeline_buffer_size(1024);
    // A server that stands still takes connections all the same: it has to answer something.
    let answering = async || {
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        ::redis::cmd("PING").exec_async(&mut connection).await?;
        Ok(connection)
    };
    let new = async || match tokio::time::timeout(options.connect_timeout, answering()).await {
        Ok(connection) => connection.map_err(failed),
        Err(_) => Err(said::late(options.connect_timeout)),
    };
    Ok(Ready {
        loads: new().await?,
        commits: new().await?,
        wait: options.wait(),
        sent: Sent::default(),
        broken: Arc::clone(broken),
    })
}
