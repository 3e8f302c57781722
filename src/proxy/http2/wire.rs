//! The socket below an HTTP/2 connection, with a look at what kinds of frames come in and at what leaves. The library bounds
//! those that make it keep something; what merely costs a look is bounded here. What it has encoded it cannot be made to
//! forget; what of it must not leave any more does not pass here.
//!
//! Never here: what a frame says.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    account::Account,
    frames::{CONTINUATION, DATA, Frames, HEADERS},
    outgoing::{Cuts, Outgoing},
    progress::Progress,
};
use crate::proxy::socket::Socket;

/// What a connection shares with its streams.
pub(super) struct Shared {
    pub(super) account: Account,
    pub(super) progress: Progress,
    pub(super) cuts: Cuts,
}

impl Shared {
    pub(super) fn new() -> Shared {
        Shared { account: Account::new(), progress: Progress::default(), cuts: Cuts::default() }
    }
}

/// See the module's header.
pub(super) struct Wire {
    socket: Rc<RefCell<Socket>>,
    shared: Rc<Shared>,
    frames: Frames,
    outgoing: Outgoing,
    /// Streams of which TLS holds something that the kernel has not taken. What is encrypted cannot be looked at.
    held: Vec<u32>,
    /// Our own frames, which no library knows of.
    owed: Vec<u8>,
}

impl Wire {
    pub(super) fn new(socket: Rc<RefCell<Socket>>, shared: Rc<Shared>) -> Wire {
        Wire {
            socket,
            shared,
            frames: Frames::of_a_client(),
            outgoing: Outgoing::new(),
            held: Vec::new(),
            owed: Vec::new(),
        }
    }

    /// Ends the connection: what is under way is not sent either.
    fn abort(&mut self) -> io::Error {
        self.shared.progress.end();
        self.socket.borrow().reset_on_drop();
        io::ErrorKind::ConnectionAborted.into()
    }

    /// Whether anything may leave at all.
    fn check(&mut self) -> io::Result<()> {
        let cuts = &self.shared.cuts;
        if self.shared.progress.is_over() || self.held.iter().any(|stream| cuts.has(*stream)) {
            return Err(self.abort());
        }
        Ok(())
    }

    /// Has the kernel take what was given earlier.
    fn poll_earlier(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        while !self.owed.is_empty() {
            let count = ready!(Pin::new(&mut *self.socket.borrow_mut()).poll_write(cx, &self.owed))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.left(self.owed.get(..count).unwrap_or_default(), &self.shared.cuts, |_| {});
            self.owed.drain(..count);
        }
        let mut socket = self.socket.borrow_mut();
        if socket.holds_unsent() {
            ready!(Pin::new(&mut *socket).poll_flush(cx))?;
        }
        self.held.clear();
        Poll::Ready(Ok(()))
    }

    fn left(&mut self, bytes: &[u8], holds: bool) {
        let Wire { outgoing, shared, held, .. } = self;
        if holds {
            held.extend(outgoing.inside());
        }
        outgoing.left(bytes, &shared.cuts, |head| {
            shared.progress.frame(head.kind, head.flags, head.stream, head.length);
            if holds {
                held.push(head.stream);
            }
        });
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.progress.end();
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // TLS may write where it is read, too.
        this.check()?;
        let before = buf.filled().len();
        let read = Pin::new(&mut *this.socket.borrow_mut()).poll_read(cx, buf);
        let came = buf.filled().get(before..).unwrap_or_default();
        let account = &this.shared.account;
        this.frames.take(came, |frame| match (frame.kind, frame.length) {
            (DATA | HEADERS | CONTINUATION, length @ 1..) => account.worth(length as u64),
            (_, length) => account.overhead(9 + length as u64),
        });
        read
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
        ready!(this.poll_earlier(cx))?;
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        if !this.shared.cuts.is_empty() {
            let Ok(bytes) = this.outgoing.emptied(slices, &this.shared.cuts) else {
                return Poll::Ready(Err(this.abort()));
            };
            let written = Pin::new(&mut *this.socket.borrow_mut()).poll_write(cx, &bytes);
            if let Poll::Ready(Ok(count)) = written {
                let holds = this.socket.borrow().holds_unsent();
                this.left(bytes.get(..count).unwrap_or_default(), holds);
            }
            return written;
        }
        let written = Pin::new(&mut *this.socket.borrow_mut()).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(mut count)) = written {
            let holds = this.socket.borrow().holds_unsent();
            for slice in slices {
                let now = count.min(slice.len());
                this.left(slice.get(..now).unwrap_or_default(), holds);
                count -= now;
            }
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Called when the library has nothing left that it encoded.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_earlier(cx))?;
        this.owed = this.outgoing.settled(&this.shared.cuts);
        ready!(this.poll_earlier(cx))?;
        ready!(Pin::new(&mut *this.socket.borrow_mut()).poll_flush(cx))?;
        this.shared.progress.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        Pin::new(&mut *this.socket.borrow_mut()).poll_shutdown(cx)
    }
}
