//! One connection to one server: TCP, TLS where asked for, login, RESP3. It is made in time or not at all, and never made
//! again: that is the supervisor's.
//!
//! Never here: which server, and what for.

use std::sync::Arc;

use redis::{
    AsyncConnectionConfig, ProtocolVersion, PushInfo, RedisConnectionInfo, aio::MultiplexedConnection,
};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::{
    options::{Address, Options},
    said, tls,
};
use crate::state::{ServerFault, StoreFault};

/// How many commands may wait to be written to a connection. Callers behind them wait for room, within their time.
const QUEUE: usize = 4096;

/// What is done with whatever a server says unasked. Called on the connection's task: it must not wait.
pub(super) type Heard = Arc<dyn Fn(PushInfo) + Send + Sync>;

/// A connection with the task that drives it. Ends with this value.
pub(super) struct Wire {
    pub(super) connection: MultiplexedConnection,
    pub(super) driver: AbortOnDropHandle<()>,
}

/// As whom a connection is made.
#[derive(Debug, Clone, Copy)]
enum As {
    /// As the store's user, on its database.
    User,
    /// As the same, to somebody who has no databases.
    UserOfGuides,
    /// As whoever the Sentinels know.
    Guided,
    /// As nobody.
    Nobody,
}

/// What all connections of a store are made with.
pub(super) struct Dial {
    options: Options,
    tls: Result<Option<Arc<ClientConfig>>, StoreFault>,
}

impl Dial {
    pub(super) fn new(options: &Options) -> Self {
        let tls = options.tls.as_ref().map(tls::config).transpose();
        Self { options: options.clone(), tls }
    }

    /// To a server of the store.
    pub(super) async fn server(&self, address: &Address, heard: Heard) -> Result<Wire, StoreFault> {
        self.connect(address, As::User, Some(heard)).await
    }

    /// To somebody who only knows where the servers are. Sentinels have users of their own, mostly none at all.
    pub(super) async fn guide(&self, address: &Address) -> Result<Wire, StoreFault> {
        if self.options.guide.is_some() {
            return self.connect(address, As::Guided, None).await;
        }
        match self.connect(address, As::Nobody, None).await {
            Err(StoreFault::Server { fault: ServerFault::Password, .. })
                if self.options.password.is_some() =>
            {
                self.connect(address, As::UserOfGuides, None).await
            }
            wire => wire,
        }
    }

    async fn connect(&self, address: &Address, login: As, heard: Option<Heard>) -> Result<Wire, StoreFault> {
        let connecting = async {
            let tcp = TcpStream::connect((address.host.as_str(), address.port)).await;
            let tcp = tcp.map_err(|fault| said::so(ServerFault::Unreachable, fault.to_string()))?;
            let _ = tcp.set_nodelay(true);
            match self.tls.clone()? {
                None => self.greet(tcp, login, heard).await,
                Some(config) => {
                    let stream = TlsConnector::from(config).connect(tls::name(address)?, tcp).await;
                    let stream = stream.map_err(|fault| said::so(ServerFault::Tls, fault.to_string()))?;
                    self.greet(stream, login, heard).await
                }
            }
        };
        let made = timeout(self.options.connect_timeout, connecting).await;
        made.unwrap_or_else(|_| Err(said::late(self.options.connect_timeout)))
            .map_err(|trouble| said::of(address, trouble))
    }

    async fn greet<S>(&self, stream: S, login: As, heard: Option<Heard>) -> Result<Wire, StoreFault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut settings =
            RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
        let Options { user, password, guide, database, .. } = &self.options;
        if let (As::User, 1..) = (login, *database) {
            settings = settings.set_db(i64::from(*database));
        }
        let (user, password) = match login {
            As::User | As::UserOfGuides => (user.as_ref(), password.as_ref()),
            As::Guided => {
                guide.as_ref().map_or((None, None), |(user, password)| (user.as_ref(), Some(password)))
            }
            As::Nobody => (None, None),
        };
        if let Some(user) = user {
            settings = settings.set_username(user);
        }
        if let Some(password) = password {
            settings = settings.set_password(password.as_str());
        }
        // Times are the callers' to keep: a time-out here would be counted on whichever runtime asks.
        let mut config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        if let Some(heard) = heard {
            config = config.set_push_sender(move |info: PushInfo| -> Result<(), std::convert::Infallible> {
                heard(info);
                Ok(())
            });
        }
        let made = MultiplexedConnection::new_with_config(&settings, stream, config).await;
        let (connection, driver) = made.map_err(|error| said::broken(&error))?;
        Ok(Wire { connection, driver: AbortOnDropHandle::new(tokio::spawn(driver)) })
    }
}
