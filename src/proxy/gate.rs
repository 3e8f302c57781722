//! The gate that every byte of an exchange passes: for staff, the fuse is looked at by the clock before each single
//! read and write (rule 8); for members there is nothing to look at.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio_util::io::poll_read_buf;

use crate::engine::{
    Engine,
    fuse::{Cut, Look},
    registry::Live,
};

use super::socket::Half;

/// Why no more bytes pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The gateway cut it; the fuse says why.
    Cut,
    /// The peer went away.
    Gone,
}

/// See the module's header.
#[derive(Clone, Copy)]
pub(super) struct Gate<'a> {
    engine: &'a Engine,
    live: Option<&'a Live>,
}

impl<'a> Gate<'a> {
    pub(super) fn new(engine: &'a Engine, live: Option<&'a Live>) -> Self {
        Self { engine, live }
    }

    /// Waits until there may be something to read. Nothing is read: what ends the permit is seen by the read that follows, for
    /// which a burnt fuse wakes too.
    pub(super) async fn readable(self, from: &Half<'_, '_>) {
        let Some(live) = self.live else { return poll_fn(|cx| from.poll_readable(cx)).await };
        let mut woken = pin!(live.fuse.woken());
        poll_fn(|cx| {
            if woken.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            match live.fuse.look(self.engine.now()) {
                Look::Burnt(_) | Look::Stale => Poll::Ready(()),
                Look::Alive => from.poll_readable(cx),
            }
        })
        .await;
    }

    /// Reads what is there into the spare room of `buffer`; 0 is the peer's end.
    pub(super) async fn read<R: AsyncRead + Unpin>(
        self,
        from: &mut R,
        buffer: &mut Vec<u8>,
    ) -> Result<usize, Broken> {
        let Some(live) = self.live else { return from.read_buf(buffer).await.map_err(|_| Broken::Gone) };
        loop {
            let read = self.hand_over(live, |cx| poll_read_buf(Pin::new(&mut *from), cx, buffer)).await;
            if let Some(read) = read {
                if let Ok(bytes) = read {
                    self.engine.handed(live, bytes);
                }
                return read;
            }
        }
    }

    /// Writes all of it.
    pub(super) async fn write<W: AsyncWrite + Unpin>(self, to: &mut W, bytes: &[u8]) -> Result<(), Broken> {
        self.write_both(to, bytes, &[], |_| {}).await
    }

    /// Writes all of both, one behind the other, with one call where the socket takes it. Each time it took some,
    /// `handed` hears how many bytes: what left has left, however it ends.
    pub(super) async fn write_both<W: AsyncWrite + Unpin>(
        self,
        to: &mut W,
        first: &[u8],
        second: &[u8],
        mut handed: impl FnMut(usize),
    ) -> Result<(), Broken> {
        let (mut first, mut second) = (first, second);
        while !(first.is_empty() && second.is_empty()) {
            let count = match self.live {
                None => poll_fn(|cx| poll_write(to, cx, first, second)).await.map_err(|_| Broken::Gone)?,
                Some(live) => match self.write_some(live, to, first, second).await {
                    None => continue,
                    Some(wrote) => wrote?,
                },
            };
            if count == 0 {
                return Err(Broken::Gone);
            }
            handed(count);
            let of_first = count.min(first.len());
            first = first.get(of_first..).unwrap_or_default();
            second = second.get(count - of_first..).unwrap_or_default();
        }
        self.flush(to).await
    }

    /// Sees to it that what was written is with the kernel: TLS may hold some of it back, and what it holds when the fuse
    /// burns is never sent.
    async fn flush<W: AsyncWrite + Unpin>(self, to: &mut W) -> Result<(), Broken> {
        let Some(live) = self.live else {
            return poll_fn(|cx| Pin::new(&mut *to).poll_flush(cx)).await.map_err(|_| Broken::Gone);
        };
        loop {
            if let Some(flushed) = self.hand_over(live, |cx| Pin::new(&mut *to).poll_flush(cx)).await {
                return flushed;
            }
        }
    }

    /// One write of a staff exchange; `None` where there was reason to look again first.
    async fn write_some<W: AsyncWrite + Unpin>(
        self,
        live: &Live,
        to: &mut W,
        first: &[u8],
        second: &[u8],
    ) -> Option<Result<usize, Broken>> {
        let wrote = self.hand_over(live, |cx| poll_write(to, cx, first, second)).await;
        if let Some(Ok(count)) = wrote {
            self.engine.handed(live, count);
        }
        wrote
    }

    /// One hand-over of a staff exchange, as soon as it can be made: the fuse is looked at before each try. `None` where there
    /// was reason to look again first.
    async fn hand_over<T>(
        self,
        live: &Live,
        mut hand: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Option<Result<T, Broken>> {
        let mut woken = pin!(live.fuse.woken());
        poll_fn(|cx| {
            // Waiting begins before looking, so that no waking falls in between.
            if woken.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            let _passing = live.fuse.passing();
            match live.fuse.look(self.engine.now()) {
                Look::Burnt(_) => Poll::Ready(Some(Err(Broken::Cut))),
                Look::Stale => Poll::Pending,
                Look::Alive => hand(cx).map(|done| Some(done.map_err(|_| Broken::Gone))),
            }
        })
        .await
    }

    /// Whether there is anything that could end what passes here.
    pub(super) fn may_cut(self) -> bool {
        self.live.is_some()
    }

    /// Looks, without handing anything on.
    pub(super) fn look(self) -> Result<(), Broken> {
        match self.live.map(|live| live.fuse.look(self.engine.now())) {
            Some(Look::Burnt(_)) => Err(Broken::Cut),
            Some(Look::Alive | Look::Stale) | None => Ok(()),
        }
    }

    /// Waits until it is cut; for ever where nothing cuts.
    pub(super) async fn cut(self) -> Cut {
        let Some(live) = self.live else { return std::future::pending().await };
        loop {
            let mut woken = pin!(live.fuse.woken());
            let cut = poll_fn(|cx| {
                if woken.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                match live.fuse.look(self.engine.now()) {
                    Look::Burnt(cut) => Poll::Ready(Some(cut)),
                    Look::Alive | Look::Stale => Poll::Pending,
                }
            })
            .await;
            if let Some(cut) = cut {
                return cut;
            }
        }
    }
}

fn poll_write<W: AsyncWrite + Unpin>(
    to: &mut W,
    cx: &mut Context<'_>,
    first: &[u8],
    second: &[u8],
) -> Poll<io::Result<usize>> {
    let to = Pin::new(to);
    match (first.is_empty(), second.is_empty()) {
        (true, _) => to.poll_write(cx, second),
        (false, true) => to.poll_write(cx, first),
        (false, false) => to.poll_write_vectored(cx, &[IoSlice::new(first), IoSlice::new(second)]),
    }
}
