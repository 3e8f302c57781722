//! One core of the data plane: a listener, its connections, its pool, its cache of tokens, its buffers. Nothing here is
//! shared with another core but [`Shared`].

use std::{
    cell::{Cell, RefCell, RefMut},
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    engine::{Engine, knock::Who},
    identity::{TokenCache, TokenFault, Verifier, cache::CacheLimits},
};

use super::{
    collect::{self, Token},
    connection,
    counters::Counters,
    greet::{Greeted, greet},
    http2,
    inside::InsideHandler,
    onward::Onwards,
    patience::Timers,
    rate,
    routing::Routing,
    servers::Loads,
    turns::Turns,
    upstream::Pool,
    wire::{Limits, NameSet, RequestHead, RequestView, ResponseHead},
};

/// Buffers kept by a core, and the largest one kept.
const BUFFERS: usize = 256;
const BUFFER: usize = 64 << 10;

/// Lines by which an application tells caches on the way more than `Cache-Control` does, and which some of them follow
/// before it (RFC 9213 and the vendors' own).
const CACHING: [&str; 14] = [
    "Expires",
    "Pragma",
    "X-Accel-Expires",
    "X-Cache-Control",
    "CDN-Cache-Control",
    "Cloudflare-CDN-Cache-Control",
    "Netlify-CDN-Cache-Control",
    "Vercel-CDN-Cache-Control",
    "X-LiteSpeed-Cache-Control",
    "Edge-Control",
    "Surrogate-Control",
    "Surrogate-Key",
    "Cache-Tag",
    "Edge-Cache-Tag",
];
/// Keys that are on their way; over when they came, or when it takes too long.
pub type FreshKeys = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What all cores look at.
pub struct Shared {
    /// The engine.
    pub engine: Arc<Engine>,
    /// The map in force.
    pub routing: ArcSwap<Routing>,
    /// The issuers in force, with their keys as of now.
    pub verifier: Arc<ArcSwap<Verifier>>,
    /// Where a token names a key that nobody knows: the coming of fresh keys, if they are on their way.
    pub fresh_keys: Box<dyn Fn() -> Option<FreshKeys> + Send + Sync>,
    /// TLS towards clients, if it is spoken.
    pub tls: ArcSwapOption<rustls::ServerConfig>,
    /// Answers below the reserved prefix.
    pub inside: Arc<InsideHandler>,
    /// What is counted.
    pub counters: Counters,
    /// No new requests are taken.
    pub stop: CancellationToken,
    /// What still runs is cut.
    pub halt: CancellationToken,
}

/// See the module's header.
pub struct Core {
    shared: Arc<Shared>,
    halt: CancellationToken,
    stop: CancellationToken,
    stopping: Cell<bool>,
    tokens: RefCell<TokenCache>,
    pool: RefCell<Pool>,
    loads: RefCell<Loads>,
    onwards: Onwards,
    callers: RandomState,
    buffers: RefCell<Vec<Vec<u8>>>,
    heads: RefCell<Vec<ResponseHead>>,
    timers: Rc<Timers>,
    turns: Rc<Turns>,
    caching: NameSet,
}

impl Core {
    /// A core that knows nothing yet.
    pub fn new(shared: Arc<Shared>) -> Rc<Core> {
        Rc::new(Core {
            halt: shared.halt.child_token(),
            stop: shared.stop.child_token(),
            stopping: Cell::new(false),
            shared,
            tokens: RefCell::new(TokenCache::new(CacheLimits::default())),
            pool: RefCell::default(),
            loads: RefCell::default(),
            onwards: Onwards::default(),
            callers: RandomState::new(),
            buffers: RefCell::default(),
            heads: RefCell::default(),
            timers: Rc::default(),
            turns: Rc::default(),
            caching: NameSet::new(CACHING),
        })
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Cancelled when what still runs has to end. Each core has its own: every exchange waits for it, and no two cores
    /// should meet for that.
    pub(super) fn halt(&self) -> &CancellationToken {
        &self.halt
    }

    /// Over when no new requests are to be taken; of each core its own, as above.
    pub(super) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Whether a connection may be used again after this request: while the gateway stops, none is.
    pub(super) fn keeps(&self, head: &RequestHead) -> bool {
        head.keep_alive() && !self.stopping.get()
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        &self.shared.engine
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// The pool; borrowed for one call, never across a wait.
    pub(super) fn pool(&self) -> RefMut<'_, Pool> {
        self.pool.borrow_mut()
    }

    /// Connections of HTTP/2 to applications.
    pub(super) fn onwards(&self) -> &Onwards {
        &self.onwards
    }

    /// Who calls, as a number of this core's own: a person, or an address where nobody is known.
    pub(super) fn caller(&self, who: &Who, client: IpAddr) -> u64 {
        match who {
            Who::Known(subject) => self.callers.hash_one(&subject.id),
            Who::Nobody | Who::Refused(_) | Who::Unverifiable => self.callers.hash_one(rate::address(client)),
        }
    }

    /// What is under way, by server; borrowed for one call, never across a wait.
    pub(super) fn loads(&self) -> RefMut<'_, Loads> {
        self.loads.borrow_mut()
    }

    pub(super) fn buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn give_back(&self, mut buffer: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < BUFFERS && buffer.capacity() > 0 && buffer.capacity() <= BUFFER {
            buffer.clear();
            buffers.push(buffer);
        }
    }

    /// Timers that connections hand on to one another.
    pub(super) fn timers(&self) -> &Rc<Timers> {
        &self.timers
    }

    /// The turns that pieces of bodies take, once an exchange is under way.
    pub(super) fn turns(&self) -> &Rc<Turns> {
        &self.turns
    }

    pub(super) fn response_head(&self) -> ResponseHead {
        self.heads.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn give_back_head(&self, mut head: ResponseHead) {
        let mut heads = self.heads.borrow_mut();
        if heads.len() < BUFFERS {
            head.clear();
            heads.push(head);
        }
    }

    /// Names by which an answer to staff could be kept in spite of `no-store` (rule 13).
    pub(super) fn caching(&self) -> &NameSet {
        &self.caching
    }

    pub(super) fn response_limits(&self) -> Limits {
        Limits { max_head: 64 << 10, max_value: 32 << 10, ..Limits::default() }
    }

    /// Who calls, by their token. Below the reserved prefix (`inside`) none counts but the one in `Authorization`: what
    /// a browser sends unasked changes nothing there.
    pub(super) fn who(&self, request: &RequestView<'_>, inside: bool) -> Who {
        let verifier = self.shared.verifier.load();
        let (token, cookie) = match collect::token(request, if inside { &[] } else { verifier.cookies() }) {
            Token::Missing => return Who::Nobody,
            Token::Several => return Who::Refused(TokenFault::Several.code()),
            Token::Bearer(token) => (token, None),
            Token::Cookie(name, token) => (token, Some(name)),
        };
        let mut tokens = self.tokens.borrow_mut();
        let before = tokens.counts().misses;
        let wall = self.shared.engine.wall();
        let resolved = tokens.resolve(&verifier, token, wall);
        if tokens.counts().misses != before {
            Counters::add(&self.shared.counters.verified);
        }
        match resolved {
            Ok(subject) if cookie.is_some_and(|name| !verifier.takes_cookie(&subject, name)) => {
                Who::Refused(TokenFault::InCookie.code())
            }
            Ok(subject) => {
                self.shared.engine.saw(&subject, wall);
                Who::Known(subject)
            }
            Err(TokenFault::KeysUnavailable) => Who::Unverifiable,
            Err(fault) => Who::Refused(fault.code()),
        }
    }

    /// The same, with a second look where the first found a token whose key nobody knows, or no keys at all, and fresh
    /// keys are on their way: whoever comes first after an issuer changed its keys is not turned away for it.
    pub(super) async fn who_in_time(&self, request: &RequestView<'_>, inside: bool) -> Who {
        let who = self.who(request, inside);
        let keys_might_help = match &who {
            Who::Refused(code) => *code == TokenFault::KeyUnknown.code(),
            Who::Unverifiable => true,
            Who::Nobody | Who::Known(_) => false,
        };
        if keys_might_help && let Some(fresh) = (self.shared.fresh_keys)() {
            fresh.await;
            return self.who(request, inside);
        }
        who
    }
}

/// Accepts connections until told to stop, then waits for the ones that are open.
pub async fn serve(core: Rc<Core>, listener: TcpListener) {
    let open = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = core.stopped() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let counters = core.counters();
                if counters.connections.fetch_add(1, Relaxed) >= core.shared.routing.load().most_connections {
                    counters.connections.fetch_sub(1, Relaxed);
                    connection::turn_away(&core, &stream);
                    continue;
                }
                let core = Rc::clone(&core);
                open.spawn_local(async move {
                    let _open = Open(&core);
                    // Each in a place of its own: a connection that idles holds none of what the others take.
                    match Box::pin(greet(&core, stream, peer)).await {
                        Some((Greeted::Http1(socket), peer)) => connection::serve(&core, socket, peer).await,
                        Some((Greeted::Http2(socket), peer)) => {
                            Box::pin(http2::serve(&core, socket, peer)).await;
                        }
                        None => {}
                    }
                });
            }
            Err(fault) => {
                // Out of descriptors, mostly: what is open goes on, and room comes back.
                tracing::warn!(%fault, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    core.stopping.set(true);
    drop(listener);
    open.close();
    open.wait().await;
}

/// A connection that counts as open until this is dropped, however it ends.
pub(super) struct Open<'a>(pub(super) &'a Core);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.counters().connections.fetch_sub(1, Relaxed);
    }
}

/// The address of a client, as text for records.
pub(super) fn client_of(client: IpAddr) -> String {
    client.to_canonical().to_string()
}
