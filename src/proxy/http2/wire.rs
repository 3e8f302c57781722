//! The socket below an HTTP/2 connection, with a look at what kinds of frames come in. The library bounds those that make
//! it keep something; what merely costs a look is bounded here.
//!
//! Never here: what a frame says.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::account::Account;
use crate::proxy::socket::Socket;

/// `PRI * HTTP/2.0` and what belongs to it.
const PREFACE: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// See the module's header.
pub(super) struct Wire {
    socket: Rc<RefCell<Socket>>,
    account: Rc<Account>,
    frames: Frames,
}

/// Where in the frames a stream of bytes stands.
pub(in crate::proxy) struct Frames {
    /// Bytes that belong to the preface or to the payload of the current frame.
    skip: usize,
    header: [u8; 9],
    have: usize,
}

/// What stands before a frame.
#[derive(Debug, Clone, Copy)]
pub(in crate::proxy) struct FrameHead {
    pub(in crate::proxy) kind: u8,
    pub(in crate::proxy) flags: u8,
    pub(in crate::proxy) stream: u32,
    pub(in crate::proxy) length: usize,
}

impl Frames {
    /// At the beginning of what a client of HTTP/2 says.
    pub(in crate::proxy) fn of_a_client() -> Frames {
        Frames { skip: PREFACE, header: [0; 9], have: 0 }
    }

    /// Takes the next bytes; of each frame that begins, the head is told.
    pub(in crate::proxy) fn take(&mut self, mut bytes: &[u8], mut told: impl FnMut(FrameHead)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((first, rest)) = bytes.split_first() else { return };
            if let Some(place) = self.header.get_mut(self.have) {
                *place = *first;
            }
            self.have += 1;
            bytes = rest;
            if self.have == self.header.len() {
                let [a, b, c, kind, flags, d, e, f, g] = self.header;
                let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                let stream = u32::from_be_bytes([d & 0x7f, e, f, g]);
                told(FrameHead { kind, flags, stream, length });
                self.skip = length;
                self.have = 0;
            }
        }
    }
}

impl Wire {
    pub(super) fn new(socket: Rc<RefCell<Socket>>, account: Rc<Account>) -> Wire {
        Wire { socket, account, frames: Frames::of_a_client() }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut *this.socket.borrow_mut()).poll_read(cx, buf);
        let came = buf.filled().get(before..).unwrap_or_default();
        let account = &this.account;
        this.frames.take(came, |frame| match (frame.kind, frame.length) {
            (DATA | HEADERS | CONTINUATION, length @ 1..) => account.worth(length as u64),
            (_, length) => account.overhead(9 + length as u64),
        });
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.socket.borrow_mut()).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.socket.borrow_mut()).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket.borrow_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_the_same_however_they_are_cut() {
        let mut bytes = vec![b'p'; PREFACE];
        bytes.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        bytes.extend_from_slice(&[0, 1, 1, 0, 0, 0, 0, 0, 1]);
        bytes.extend_from_slice(&[7; 257]);
        bytes.extend_from_slice(&[0, 0, 0, 0, 1, 0, 0, 0, 1]);
        for size in 1..=bytes.len() {
            let mut frames = Frames::of_a_client();
            let mut all = Vec::new();
            for piece in bytes.chunks(size) {
                frames.take(piece, |frame| all.push((frame.kind, frame.stream, frame.length)));
            }
            assert_eq!(all, [(4, 0, 0), (6, 0, 8), (0, 1, 257), (0, 1, 0)], "in pieces of {size}");
        }
    }
}
