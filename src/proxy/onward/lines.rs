//! The connections of HTTP/2 that a core keeps to one server, and the streams on them: few connections, many streams, both
//! bounded. A connection counts as open when the application has answered a ping: from then on it is known to speak HTTP/2,
//! and how many streams it takes; before, no byte of any request is said on it.
//!
//! Never here: what is said on a stream.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
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
    http2::{pieces::Piece, progress::Progress},
    routing::{Server, Upstream},
};

/// Connections of a core to one server.
const LINES: usize = 4;
/// Streams on one of them.
pub(super) const STREAMS: usize = 100;
/// Callers of whom nothing is under way are forgotten when there are more than this.
const MOST_CALLERS: usize = 1024;
/// Every stream that may be had is under way, and stays so.
pub(in crate::proxy) const BUSY: &str = "upstream_busy";
/// One caller has as many of them as one may have.
pub(in crate::proxy) const SHARE: &str = "upstream_share";

/// One connection.
pub(super) struct Line {
    pub(super) send: RefCell<Option<SendRequest<Piece>>>,
    pub(super) under_way: Cell<usize>,
    /// Since when nothing is.
    pub(super) idle_since: Cell<Instant>,
    /// There is something for whoever drives it to look at.
    pub(super) wake: Notify,
    pub(super) progress: Rc<Progress>,
    /// Bytes that came.
    read: Rc<Cell<u64>>,
    /// Somebody waited for an answer in vain, and nothing was heard since: it takes no stream until it is.
    doubted: Cell<bool>,
    given_up: Cell<bool>,
    secure: bool,
    changed: Rc<Notify>,
}

impl Line {
    /// How much more it takes; `None` where it takes nothing any more.
    fn room(&self) -> Option<usize> {
        let most = self.most()?;
        let doubted = self.doubted.get();
        Some(if doubted { 0 } else { most.saturating_sub(self.under_way.get()) })
    }

    /// How many it takes at once.
    fn most(&self) -> Option<usize> {
        let send = self.send.borrow();
        let mut send = send.as_ref()?.clone();
        match send.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(_)) => None,
            Poll::Ready(Ok(())) | Poll::Pending => Some(send.current_max_send_streams().min(STREAMS)),
        }
    }

    pub(super) fn is_doubted(&self) -> bool {
        self.doubted.get()
    }

    /// It has answered.
    pub(super) fn trust(&self) {
        if self.doubted.replace(false) {
            self.changed.notify_waiters();
        }
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.get()
    }

    /// Not a byte leaves on it from here on, of no stream.
    fn give_up(&self) {
        self.given_up.set(true);
        self.progress.end();
        self.close();
        self.wake.notify_one();
    }

    /// It takes no more. What is under way goes on.
    pub(super) fn close(&self) {
        self.send.borrow_mut().take();
        self.changed.notify_waiters();
    }
}

/// What one caller has of the streams to one server.
#[derive(Default)]
struct Share {
    count: Cell<usize>,
    /// One of them ended.
    freed: Notify,
}

/// One stream of a caller's; counts until it is dropped.
struct Place {
    lines: Rc<Lines>,
    share: Rc<Share>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.share.count.set(self.share.count.get().saturating_sub(1));
        self.lines.places.set(self.lines.places.get().saturating_sub(1));
        self.share.freed.notify_one();
        // Others may have more than a share by now.
        self.lines.freed.notify_one();
    }
}

/// Leave for one stream. Counts on its connection until it is dropped.
pub(in crate::proxy) struct Ticket {
    line: Rc<Line>,
    /// What had come when it was given.
    heard: u64,
    _place: Place,
}

impl Ticket {
    pub(super) fn is_secure(&self) -> bool {
        self.line.secure
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.line.progress
    }

    /// Begins the stream.
    pub(super) fn begin(
        &self,
        request: Request<()>,
        whole: bool,
    ) -> Result<(ResponseFuture, SendStream<Piece>), h2::Error> {
        let send = self.line.send.borrow().clone();
        let Some(mut send) = send else { return Err(h2::Reason::REFUSED_STREAM.into()) };
        let (answer, stream) = send.send_request(request, whole)?;
        self.line.progress.begin(stream.stream_id().as_u32());
        Ok((answer, stream))
    }

    /// No answer came in time. Where nothing else was heard either, the connection is asked for a sign of life, and takes
    /// nobody's request until it gave one.
    pub(super) fn doubt(&self) {
        if self.line.read.get() == self.heard {
            self.line.doubted.set(true);
            self.line.wake.notify_one();
        }
    }

    /// See [`Line::give_up`].
    pub(super) fn give_up(&self) {
        self.line.give_up();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let line = &self.line;
        line.under_way.set(line.under_way.get().saturating_sub(1));
        line.idle_since.set(Instant::now());
        // Room for one. Whoever is told and goes passes it on.
        line.changed.notify_one();
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
    /// Callers who have streams or wait for one, and how many streams all of them have.
    callers: RefCell<HashMap<u64, Rc<Share>>>,
    places: Cell<usize>,
    /// One of them ended, whosever it was.
    freed: Notify,
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
        caller: u64,
    ) -> Result<Ticket, &'static str> {
        let share = self.share(caller);
        let (failures, _) = self.failed.get();
        let waiting = async {
            loop {
                if !self.has_room_for(&share) {
                    tokio::select! {
                        biased;
                        () = share.freed.notified() => {}
                        () = self.freed.notified() => {}
                    }
                    continue;
                }
                if let Some(line) = self.at_once() {
                    return Ok(line);
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
                // Whoever goes no further for now leaves the next one to try.
                self.freed.notify_one();
                self.changed.notified().await;
                if !self.has_room_for(&share) {
                    // What was told to this one is another one's.
                    self.changed.notify_one();
                }
            }
        };
        match tokio::time::timeout(settings.connect_timeout, waiting).await {
            Ok(line) => line.map(|line| {
                share.count.set(share.count.get() + 1);
                self.places.set(self.places.get() + 1);
                let _place = Place { lines: Rc::clone(self), share };
                Ticket { heard: line.read.get(), line, _place }
            }),
            Err(_) if !self.has_room_for(&share) => Err(SHARE),
            Err(_) if self.open.borrow().is_empty() => Err(dial::TIMEOUT),
            Err(_) => Err(BUSY),
        }
    }

    fn share(&self, caller: u64) -> Rc<Share> {
        let mut callers = self.callers.borrow_mut();
        if callers.len() > MOST_CALLERS {
            callers.retain(|_, share| Rc::strong_count(share) > 1);
        }
        Rc::clone(callers.entry(caller).or_default())
    }

    /// While half of all streams are free, anybody may have another one; from then on nobody has more than a quarter, which
    /// is what one connection carries.
    fn has_room_for(&self, share: &Share) -> bool {
        let most = self.open.borrow().iter().filter_map(|line| line.most()).min().unwrap_or(STREAMS).max(1);
        share.count.get() < most || self.places.get() < LINES * most / 2
    }

    fn at_once(&self) -> Option<Rc<Line>> {
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
        Some(line)
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
            wake: Notify::new(),
            progress: Rc::clone(&opened.progress),
            read: Rc::clone(&opened.read),
            doubted: Cell::new(false),
            given_up: Cell::new(false),
            secure: opened.secure,
            changed: Rc::clone(&self.changed),
        });
        self.open.borrow_mut().push(Rc::clone(&line));
        self.changed.notify_waiters();
        self.freed.notify_waiters();
        drive::drive(opened, &line, ping, idle).await;
        line.close();
        self.open.borrow_mut().retain(|one| !Rc::ptr_eq(one, &line));
        self.changed.notify_waiters();
        self.freed.notify_waiters();
    }
}
