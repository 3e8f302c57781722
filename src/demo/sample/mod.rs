//! The sample application: the back office of a shop that sells outdoor gear, for several tenants.
//!
//! It is here so that a gateway has something real to stand in front of: orders, mappings, integrations, jobs, users,
//! a long download, a stream of events, a long upload, and a page for a browser. It keeps everything in memory and
//! knows one thing about the world outside: it believes a caller only by the signed assertion that the gateway puts
//! in front of each request ([`assertion`]). It decides no permissions; that is what the gateway is for.
//!
//! Nothing of Postern is imported here, and nothing of Postern's rules will ever live here: this stands for the
//! application that somebody else wrote. It reads no clock either; the time is handed in.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

mod answer;
mod api;
pub mod assertion;
mod books;
mod integrations;
mod jobs;
mod mappings;
mod orders;
mod page;
mod people;
mod seed;
pub mod seen;
mod stand_in;
mod streams;
mod things;
mod upload;

#[cfg(test)]
mod tests;

pub use assertion::{KeysError, Who};
pub use seen::{End, Seen};

use answer::Answer;
use assertion::Gatekeeper;
use books::World;
use seen::Log;
use things::Things;

/// The time as whole seconds since 1970 UTC, handed in by whoever starts the application.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How long requests in hand may take to finish once the application is told to stop; then they are dropped.
const GRACE: Duration = Duration::from_secs(1);
/// How long a caller may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The most that is kept for one connection in each direction, in bytes: little, so that a slow reader costs nothing.
const BUFFER: usize = 64 * 1024;
/// A pause after the process ran out of file descriptors, before it accepts again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the application is told at its start.
#[derive(Clone)]
pub struct Options {
    /// The `iss` that assertions must carry: the gateway's name.
    pub issuer: String,
    /// The `aud` that assertions must carry: this application's own name.
    pub audience: String,
    /// The gateway's public keys: one JWK, or a set of them, as JSON.
    pub keys: String,
    /// What time it is.
    pub now: Clock,
    /// It stands in for an application with other routes: whatever it is asked beside its own, it says what that was.
    pub stands_in: bool,
}

/// The running application. Clones are the same application.
#[derive(Clone)]
pub struct Sample {
    inner: Arc<Inner>,
}

/// What all connections share.
struct Inner {
    gatekeeper: Gatekeeper,
    world: World,
    log: Arc<Log>,
    now: Clock,
    /// What is kept where it stands in for another application; `None`: it does not.
    stands_in: Option<Things>,
}

impl Sample {
    /// An application with its seed data, as of the time of `options.now`.
    ///
    /// # Errors
    /// When `options.keys` is no JWK or set of JWKs, holds a private key, or holds none that can verify an assertion.
    pub fn new(options: Options) -> Result<Self, KeysError> {
        let gatekeeper =
            Gatekeeper::new(options.issuer, options.audience, &options.keys, Arc::clone(&options.now))?;
        let world = seed::world((options.now)());
        let Options { now, stands_in, .. } = options;
        let stands_in = stands_in.then(Things::default);
        let inner = Inner { gatekeeper, world, log: Arc::new(Log::default()), now, stands_in };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Serves HTTP/1.1 on `listener` until `stop` is cancelled. Answers that are under way then get one second;
    /// streams that have no end are cut.
    ///
    /// # Errors
    /// When the listener itself fails. A connection that fails ends alone.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        let mut connections = JoinSet::new();
        let result = loop {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(self.clone().connection(stream, stop.clone()));
                    }
                    Err(error) => match error.kind() {
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => {}
                        _ if out_of_descriptors(&error) => tokio::time::sleep(ACCEPT_PAUSE).await,
                        _ => break Err(error),
                    },
                },
            }
        };
        if result.is_err() {
            connections.abort_all();
        }
        while connections.join_next().await.is_some() {}
        result
    }

    /// The requests received lately, oldest first, at most [`seen::KEPT`] of them.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.inner.log.list()
    }

    /// How many requests were ever received, believed or not.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.inner.log.count()
    }

    async fn connection(self, stream: TcpStream, stop: CancellationToken) {
        // Without delay, a stream's small pieces reach the reader when they are written; a socket that does not know
        // the option still works.
        let _ = stream.set_nodelay(true);
        let service = service_fn(move |request| {
            let sample = self.clone();
            async move { Ok::<_, Infallible>(sample.answer(request).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(BUFFER);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            // How a connection ended is the peer's affair; what it asked for is in the log.
            _ = connection.as_mut() => {}
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(GRACE, connection).await;
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let now = (self.inner.now)();
        let trace = Log::open(&self.inner.log, &head, now);
        let answer = match self.inner.gatekeeper.believe(&head) {
            Err(distrust) => answer::Fault::from(distrust).into_answer(),
            Ok(who) => {
                trace.believed(who.clone());
                match api::answer(&self.inner, &head, who, body, &trace).await {
                    Ok(answer) => answer,
                    Err(fault) => fault.into_answer(),
                }
            }
        };
        trace.into_answer(answer, &head.method)
    }
}

/// Whether accepting failed because the process or the system has no file descriptor left, which passes.
fn out_of_descriptors(error: &io::Error) -> bool {
    let number = error.raw_os_error();
    [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE]
        .iter()
        .any(|errno| number == Some(errno.raw_os_error()))
}
