//! HTTP/2 towards clients: one connection, and each of its streams served as if it were a connection of its own that
//! carries one request (docs/decisions/0008-http2.md).
//!
//! Never here: a decision, a header that an application sees (each stream passes the same reader as HTTP/1.1).

mod account;
pub(super) mod frames;
mod outgoing;
pub(super) mod pieces;
pub(super) mod progress;
mod stream;
mod translate;
mod wire;

use std::{cell::RefCell, net::SocketAddr, rc::Rc, sync::atomic::Ordering::Relaxed, time::Duration};

use h2::{Reason, RecvStream, server::SendResponse};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

pub(super) use stream::Stream;

use self::{
    pieces::Piece,
    wire::{Shared, Wire},
};
use super::{
    connection,
    core::{Core, Open},
    counters::Counters,
    patience::Patience,
    socket::Socket,
};

/// Streams that may be open at once.
const STREAMS: u32 = 100;
/// What may come unread: of one stream, and of all of a connection, in bytes.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// What a stream may hold that the kernel has not taken yet, in bytes.
const UNSENT: usize = 64 << 10;
/// Streams that the client reset before they were looked at, that we reset for its errors, and that are remembered after
/// a reset.
const PENDING_RESETS: usize = 20;
const ERROR_RESETS: usize = 100;
const REMEMBERED: usize = 100;
/// How long a connection that is to end may take for it, and what is read and thrown away behind its last word.
const ENDING: Duration = Duration::from_secs(2);
const LINGER: usize = 4 << 20;

/// Serves an HTTP/2 connection to its end, and that of its streams.
pub(super) async fn serve(core: &Rc<Core>, socket: Socket, peer: SocketAddr) {
    let secure = matches!(socket, Socket::Client(_));
    // What the kernel has taken of one stream stands before all others, and no reset takes it back.
    socket.keep_little_unsent();
    let socket = Rc::new(RefCell::new(socket));
    let shared = Rc::new(Shared::new());
    let open = TaskTracker::new();
    if converse(core, &socket, peer, secure, &shared, &open).await {
        linger(&socket).await;
    }
    // The streams have heard by now that nothing more comes.
    drop(socket);
    open.close();
    open.wait().await;
}

/// The connection itself; whether it ended in order.
async fn converse(
    core: &Rc<Core>,
    socket: &Rc<RefCell<Socket>>,
    peer: SocketAddr,
    secure: bool,
    shared: &Rc<Shared>,
    open: &TaskTracker,
) -> bool {
    let account = &shared.account;
    let (header_timeout, keep_alive, most_head, upgrades) = {
        let routing = core.shared().routing.load();
        (routing.header_timeout, routing.keep_alive, routing.limits.max_head, routing.upgrades)
    };
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(most_head).unwrap_or(u32::MAX))
        .max_send_buffer_size(UNSENT)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(ERROR_RESETS))
        .max_concurrent_reset_streams(REMEMBERED);
    if upgrades {
        builder.enable_connect_protocol();
    }
    let wire = Wire::new(Rc::clone(socket), Rc::clone(shared));
    // In a place of its own, which is let go of: it would stand in the connection for as long as that lasts.
    let shaking = Box::pin(builder.handshake::<_, Piece>(wire));
    let shaken = Patience::new().wait(header_timeout, shaking).await;
    let Ok(Ok(mut connection)) = shaken else {
        Counters::add(&core.counters().unreadable);
        return false;
    };
    let mut ending = false;
    let mut timer = std::pin::pin!(tokio::time::sleep(keep_alive));
    loop {
        tokio::select! {
            biased;
            () = core.stopped(), if !ending => {
                connection.graceful_shutdown();
                ending = true;
                timer.as_mut().reset(Instant::now() + ENDING);
            }
            () = account.overdrawn() => {
                tracing::debug!(%peer, "an HTTP/2 connection costs more than it brings");
                Counters::add(&core.counters().unreadable);
                connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                let told = async { while connection.accept().await.is_some() {} };
                let _ = tokio::time::timeout(ENDING, told).await;
                return true;
            }
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => begin(core, request, respond, peer, secure, shared, open),
                Some(Err(fault)) => {
                    tracing::debug!(%peer, %fault, "an HTTP/2 connection failed");
                    // Its last word is written before its end is told.
                    return !fault.is_io();
                }
                None => return true,
            },
            () = &mut timer => {
                let idle_until = account.idle_since() + keep_alive;
                let now = Instant::now();
                match (open.is_empty(), ending) {
                    (true, true) => return true,
                    (true, false) if now >= idle_until => {
                        connection.graceful_shutdown();
                        ending = true;
                        timer.as_mut().reset(now + ENDING);
                    }
                    (true, false) => timer.as_mut().reset(idle_until),
                    (false, true) => timer.as_mut().reset(now + ENDING),
                    (false, false) => timer.as_mut().reset(now + keep_alive),
                }
            }
        }
    }
}

/// Begins one stream. It counts as a connection; where there is no room, the client may safely try again.
fn begin(
    core: &Rc<Core>,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Piece>,
    peer: SocketAddr,
    secure: bool,
    shared: &Rc<Shared>,
    open: &TaskTracker,
) {
    let counters = core.counters();
    if counters.connections.fetch_add(1, Relaxed) >= core.shared().routing.load().most_connections {
        counters.connections.fetch_sub(1, Relaxed);
        Counters::add(&counters.faulted);
        respond.send_reset(Reason::REFUSED_STREAM);
        return;
    }
    // What was reset is over for the client, and still runs here for a moment.
    if open.len() > 2 * STREAMS as usize {
        counters.connections.fetch_sub(1, Relaxed);
        respond.send_reset(Reason::REFUSED_STREAM);
        return;
    }
    let (core, shared) = (Rc::clone(core), Rc::clone(shared));
    open.spawn_local(async move {
        let _open = Open(&core);
        let most = core.shared().routing.load().header_timeout;
        match translate::translate(request, secure, most).await {
            Some(Ok(incoming)) => {
                let stream = Stream::new(incoming, respond, shared);
                connection::serve(&core, Socket::Stream(Box::new(stream)), peer).await;
            }
            Some(Err((fault, incoming))) => {
                Counters::add(&core.counters().unreadable);
                let stream = Stream::new(incoming, respond, shared);
                connection::refuse(Socket::Stream(Box::new(stream)), peer, &fault.told()).await;
            }
            // It never got as far as a request.
            None => shared.account.ended(true),
        }
    });
}

/// Reads what is still on its way, so that our last word is not lost.
async fn linger(socket: &Rc<RefCell<Socket>>) {
    let drained = async {
        let mut scrap = vec![0u8; 16 << 10];
        let mut left = LINGER;
        while left > 0 {
            let read = std::future::poll_fn(|cx| {
                let mut buffer = tokio::io::ReadBuf::new(&mut scrap);
                let read = tokio::io::AsyncRead::poll_read(
                    std::pin::Pin::new(&mut *socket.borrow_mut()),
                    cx,
                    &mut buffer,
                );
                read.map_ok(|()| buffer.filled().len())
            });
            match read.await {
                Ok(0) | Err(_) => return,
                Ok(count) => left = left.saturating_sub(count),
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), drained).await;
}
