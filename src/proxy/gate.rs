//! The gate that every byte of an exchange passes: for staff, the fuse is looked at by the clock before each single
//! read and write (rule 8); for members there is nothing to look at.

use std::{future::poll_fn, pin::pin, task::Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::io::poll_read_buf;

use crate::engine::{
    Engine,
    fuse::{Cut, Look},
    registry::Live,
};

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

    /// Reads what is there into the spare room of `buffer`; 0 is the peer's end.
    pub(super) async fn read<R: AsyncRead + Unpin>(
        self,
        from: &mut R,
        buffer: &mut Vec<u8>,
    ) -> Result<usize, Broken> {
        let Some(live) = self.live else { return from.read_buf(buffer).await.map_err(|_| Broken::Gone) };
        loop {
            let mut woken = pin!(live.fuse.woken());
            let read = poll_fn(|cx| {
                // Waiting begins before looking, so that no waking falls in between.
                if woken.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                match live.fuse.look(self.engine.now()) {
                    Look::Burnt(_) => Poll::Ready(Some(Err(Broken::Cut))),
                    Look::Stale => Poll::Pending,
                    Look::Alive => {
                        let read = poll_read_buf(std::pin::Pin::new(&mut *from), cx, buffer);
                        read.map(|read| Some(read.map_err(|_| Broken::Gone)))
                    }
                }
            })
            .await;
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
        let Some(live) = self.live else { return to.write_all(bytes).await.map_err(|_| Broken::Gone) };
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut woken = pin!(live.fuse.woken());
            let wrote = poll_fn(|cx| {
                if woken.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                match live.fuse.look(self.engine.now()) {
                    Look::Burnt(_) => Poll::Ready(Some(Err(Broken::Cut))),
                    Look::Stale => Poll::Pending,
                    Look::Alive => {
                        let wrote = std::pin::Pin::new(&mut *to).poll_write(cx, rest);
                        wrote.map(|wrote| Some(wrote.map_err(|_| Broken::Gone)))
                    }
                }
            })
            .await;
            match wrote {
                None => {}
                Some(Ok(0)) => return Err(Broken::Gone),
                Some(Ok(count)) => {
                    self.engine.handed(live, count);
                    rest = rest.get(count..).unwrap_or_default();
                }
                Some(Err(broken)) => return Err(broken),
            }
        }
        Ok(())
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
