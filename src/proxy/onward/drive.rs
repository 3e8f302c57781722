//! One connection of HTTP/2 to an application, from its opening to its end: its frames are moved here, its silence is
//! looked into, and when nobody uses it any more it ends in order.
//!
//! Never here: streams.

use std::{
    cell::Cell,
    future::poll_fn,
    io::{self, IoSlice},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use h2::{
    Ping, PingPong,
    client::{Builder, Connection, SendRequest},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep, timeout},
};

use super::{
    lines::{Line, STREAMS},
    sieve::Sieve,
};
use crate::net::servers::Protocol;
use crate::proxy::{
    dial::{PROTOCOL, dial},
    http2::{frames::Frames, pieces::Piece, progress::Progress},
    routing::Server,
    socket::Socket,
};

/// What may come unread of one stream, in bytes. All streams of a connection together may hold as many times as much: none
/// waits because another one is not read. In frames of one byte each it takes some hundred times the memory.
const STREAM_WINDOW: u32 = 32 << 10;
/// What a stream may hold that the kernel has not taken yet, in bytes.
const UNSENT: usize = 64 << 10;
/// The largest head of an answer, in bytes.
const MOST_HEAD: u32 = 64 << 10;
/// Streams that are remembered after they were reset, for what is still under way of them.
const REMEMBERED: usize = 200;
/// How long an answer to a ping may take.
const PONG: Duration = Duration::from_secs(10);
/// The shortest time between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// How long an end in order may take.
const ENDING: Duration = Duration::from_secs(1);

/// A connection that the application has answered on.
pub(super) struct Opened {
    pub(super) send: SendRequest<Piece>,
    pub(super) secure: bool,
    connection: Connection<Wire, Piece>,
    pings: PingPong,
    pub(super) read: Rc<Cell<u64>>,
    pub(super) progress: Rc<Progress>,
}

/// Opens one.
pub(super) async fn open(server: &Server, most: Duration) -> Result<Opened, &'static str> {
    let socket = Socket::from(dial(server, Protocol::Http2, most).await?);
    // What the kernel has taken of one stream stands before all others, and no reset takes it back.
    socket.keep_little_unsent();
    let read = Rc::new(Cell::new(0));
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW * u32::try_from(STREAMS).unwrap_or(1))
        .initial_max_send_streams(STREAMS)
        .max_header_list_size(MOST_HEAD)
        .max_send_buffer_size(UNSENT)
        .max_concurrent_reset_streams(REMEMBERED)
        // The connection is everybody's: nothing that the streams of some bring about may end it. What comes unread is
        // bounded by the windows, and an answer to a stream that was forgotten costs a frame of thirteen bytes.
        .max_local_error_reset_streams(None)
        .data_frame_budget(usize::MAX);
    let progress = Rc::new(Progress::default());
    let wire = Wire {
        socket,
        sieve: Sieve::new(),
        read: Rc::clone(&read),
        frames: Frames::of_a_client(),
        progress: Rc::clone(&progress),
    };
    let (send, mut connection) = builder.handshake::<_, Piece>(wire).await.map_err(|_| PROTOCOL)?;
    let mut pings = connection.ping_pong().ok_or(PROTOCOL)?;
    // Settings come before everything else: with the answer to this, they are known.
    let answered = tokio::select! {
        biased;
        answered = pings.ping(Ping::opaque()) => answered.is_ok(),
        _ = &mut connection => false,
    };
    if !answered {
        tracing::warn!(server = &*server.name, "an application does not speak HTTP/2");
        return Err(PROTOCOL);
    }
    Ok(Opened { send, secure: server.tls.is_some(), connection, pings, read, progress })
}

/// Moves its frames until it is over, one way or the other.
pub(super) async fn drive(opened: Opened, line: &Line, ping: Duration, idle: Duration) {
    let Opened { send, mut connection, mut pings, read, .. } = opened;
    // The line has its own; the last to go ends the connection in order.
    drop(send);
    let pong = PONG.min(ping);
    let mut look = pin!(sleep(ping.min(idle)));
    let (mut heard, mut heard_at) = (read.get(), Instant::now());
    let mut asked: Option<Instant> = None;
    loop {
        tokio::select! {
            biased;
            ended = &mut connection => {
                if let Err(fault) = ended {
                    tracing::debug!(%fault, "a connection of HTTP/2 to an application failed");
                }
                return;
            }
            answered = poll_fn(|cx| pings.poll_pong(cx)), if asked.is_some() => {
                if answered.is_err() {
                    return;
                }
                asked = None;
                line.trust();
            }
            () = line.wake.notified() => {}
            () = &mut look => {}
        }
        if line.is_given_up() {
            return;
        }
        let now = Instant::now();
        if read.get() != heard {
            (heard, heard_at) = (read.get(), now);
        }
        if asked.is_some_and(|asked| now >= asked + pong) {
            tracing::warn!("a connection of HTTP/2 to an application gives no sign of life");
            return;
        }
        let used = line.under_way.get() > 0;
        if !used && now >= line.idle_since.get() + idle {
            line.close();
            let _ = timeout(ENDING, &mut connection).await;
            return;
        }
        let due = line.is_doubted() || (used && now >= heard_at + ping);
        if due && asked.is_none() && pings.send_ping(Ping::opaque()).is_ok() {
            asked = Some(now);
        }
        let next = match asked {
            // Tried again as soon as the library takes one.
            None if line.is_doubted() => now,
            Some(asked) => asked + pong,
            None if used => heard_at + ping,
            None => line.idle_since.get() + idle,
        };
        // Something may have become used or unused meanwhile: looked at now and then.
        look.as_mut().reset(next.min(now + ping.min(idle)).max(now + LOOK));
    }
}

/// The socket below, with a count of what came that says anything and a look at what leaves.
struct Wire {
    socket: Socket,
    sieve: Sieve,
    read: Rc<Cell<u64>>,
    frames: Frames,
    progress: Rc<Progress>,
}

impl Wire {
    fn left(&mut self, bytes: &[u8]) {
        let progress = &self.progress;
        self.frames.take(bytes, |head| progress.frame(head.kind, head.flags, head.stream, head.length));
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // Given up: what the kernel has is not sent either.
        if self.progress.is_over() {
            self.socket.reset_on_drop();
        }
        self.progress.end();
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // What says nothing is no sign of life either.
        let count = ready!(this.sieve.poll_read(&mut this.socket, cx, buf))?;
        this.read.set(this.read.get() + count as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.progress.is_over() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let written = Pin::new(&mut this.socket).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(mut count)) = written {
            for slice in slices {
                let now = count.min(slice.len());
                this.left(slice.get(..now).unwrap_or_default());
                count -= now;
            }
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.socket).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            this.progress.flushed();
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
