//! The connections of HTTP/2 that a core keeps to one server, and the streams on them: few connections, many streams, both
//! bounded. A connection counts as open when the application has answered a ping: from then on it is known to speak HTTP/2,
//! and how many streams it takes; before, no byte of any request is said on it.
//!
//! Never here: what is said on a stream.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use h2::{
    SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::Request;
use tokio::{sync::Notify, time::Instant};

use super::drive::{self, Opened};
use crate::proxy::{
    dial,
    http2::pieces::Piece,
    routing::{Server, Upstream},
};

/// Connections of a core to one server.
const LINES: usize = 4;
/// Streams on one of them.
pub(super) const STREAMS: usize = 100;
/// Every stream that may be had is under way, and stays so.
pub(in crate::proxy) const BUSY: &str = "upstream_busy";

/// One connection.
pub(super) struct Line {
    pub(super) send: RefCell<Option<SendRequest<Piece>>>,
    pub(super) under_way: Cell<usize>,
    /// Since when nothing is.
    pub(super) idle_since: Cell<Instant>,
    secure: bool,
    changed: Rc<Notify>,
}

impl Line {
    /// How much more it takes; `None` where it takes nothing any more.
    fn room(&self) -> Option<usize> {
        let send = self.send.borrow();
        let mut send = send.as_ref()?.clone();
        match send.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(_)) => None,
            Poll::Ready(Ok(())) | Poll::Pending => {
                let most = send.current_max_send_streams().min(STREAMS);
                Some(most.saturating_sub(self.under_way.get()))
            }
        }
    }

    /// It takes no more. What is under way goes on.
    pub(super) fn close(&self) {
        self.send.borrow_mut().take();
        self.changed.notify_waiters();
    }
}

/// Leave for one stream. Counts on its connection until it is dropped.
pub(in crate::proxy) struct Ticket(Rc<Line>);

impl Ticket {
    pub(super) fn is_secure(&self) -> bool {
        self.0.secure
    }

    /// Begins the stream.
    pub(super) fn begin(
        &self,
        request: Request<()>,
        whole: bool,
    ) -> Result<(ResponseFuture, SendStream<Piece>), h2::Error> {
        let send = self.0.send.borrow().clone();
        let Some(mut send) = send else { return Err(h2::Reason::REFUSED_STREAM.into()) };
        send.send_request(request, whole)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get().saturating_sub(1));
        self.0.idle_since.set(Instant::now());
        self.0.changed.notify_waiters();
    }
}

/// The connections to one server.
#[derive(Default)]
pub(super) struct Lines {
    open: RefCell<Vec<Rc<Line>>>,
    opening: Cell<bool>,
    /// How often one could not be opened, and why the last time.
    failed: Cell<(u64, &'static str)>,
    changed: Rc<Notify>,
}

impl Lines {
    pub(super) fn is_empty(&self) -> bool {
        self.open.borrow().is_empty() && !self.opening.get()
    }

    /// Leave for a stream on the connection with the most room; another connection where none has any.
    pub(super) async fn ticket(
        self: &Rc<Lines>,
        settings: &Upstream,
        server: &Server,
    ) -> Result<Ticket, &'static str> {
        let (failures, _) = self.failed.get();
        let waiting = async {
            loop {
                if let Some(ticket) = self.at_once() {
                    return Ok(ticket);
                }
                let (now, why) = self.failed.get();
                let open = self.open.borrow().len();
                if now != failures && open == 0 {
                    return Err(why);
                }
                // Where another one cannot be had, those that are there will have room.
                if now == failures && !self.opening.get() && open < LINES {
                    self.open_another(settings, server);
                }
                self.changed.notified().await;
            }
        };
        match tokio::time::timeout(settings.connect_timeout, waiting).await {
            Ok(ticket) => ticket,
            Err(_) if self.open.borrow().is_empty() => Err(dial::TIMEOUT),
            Err(_) => Err(BUSY),
        }
    }

    fn at_once(&self) -> Option<Ticket> {
        let mut open = self.open.borrow_mut();
        let mut best: Option<(usize, Rc<Line>)> = None;
        open.retain(|line| {
            let Some(room) = line.room() else { return false };
            if room > best.as_ref().map_or(0, |(most, _)| *most) {
                best = Some((room, Rc::clone(line)));
            }
            true
        });
        let (_, line) = best?;
        line.under_way.set(line.under_way.get() + 1);
        Some(Ticket(line))
    }

    /// Nobody's own: whoever waits for it may go.
    fn open_another(self: &Rc<Lines>, settings: &Upstream, server: &Server) {
        self.opening.set(true);
        let (lines, settings, server) = (Rc::clone(self), settings.clone(), server.clone());
        tokio::task::spawn_local(async move {
            let most = settings.connect_timeout;
            let opened = tokio::time::timeout(most, drive::open(&server, most)).await;
            lines.opening.set(false);
            match opened.unwrap_or(Err(dial::TIMEOUT)) {
                Ok(opened) => {
                    server.health.reached();
                    lines.run(opened, settings.ping, settings.idle_timeout).await;
                }
                Err(why) => {
                    server.health.unreached(why);
                    lines.failed.set((lines.failed.get().0 + 1, why));
                    lines.changed.notify_waiters();
                }
            }
        });
    }

    async fn run(&self, opened: Opened, ping: Duration, idle: Duration) {
        let line = Rc::new(Line {
            send: RefCell::new(Some(opened.send.clone())),
            under_way: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            secure: opened.secure,
            changed: Rc::clone(&self.changed),
        });
        self.open.borrow_mut().push(Rc::clone(&line));
        self.changed.notify_waiters();
        drive::drive(opened, &line, ping, idle).await;
        line.close();
        self.open.borrow_mut().retain(|one| !Rc::ptr_eq(one, &line));
        self.changed.notify_waiters();
    }
}
