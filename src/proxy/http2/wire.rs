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

/// Where in the frames the input stands.
struct Frames {
    /// Bytes that belong to the preface or to the payload of the current frame.
    skip: usize,
    header: [u8; 9],
    have: usize,
}

impl Frames {
    /// Takes the next bytes; of each frame that begins, its kind and length are told.
    fn take(&mut self, mut bytes: &[u8], mut told: impl FnMut(u8, usize)) {
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
                let [a, b, c, kind, ..] = self.header;
                let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                told(kind, length);
                self.skip = length;
                self.have = 0;
            }
        }
    }
}

impl Wire {
    pub(super) fn new(socket: Rc<RefCell<Socket>>, account: Rc<Account>) -> Wire {
        Wire { socket, account, frames: Frames { skip: PREFACE, header: [0; 9], have: 0 } }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut *this.socket.borrow_mut()).poll_read(cx, buf);
        let came = buf.filled().get(before..).unwrap_or_default();
        let account = &this.account;
        this.frames.take(came, |kind, length| match (kind, length) {
            (DATA | HEADERS | CONTINUATION, 1..) => account.worth(length as u64),
            _ => account.overhead(9 + length as u64),
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
            let mut frames = Frames { skip: PREFACE, header: [0; 9], have: 0 };
            let mut all = Vec::new();
            for piece in bytes.chunks(size) {
                frames.take(piece, |kind, length| all.push((kind, length)));
            }
            assert_eq!(all, [(4, 0), (6, 8), (0, 257), (0, 0)], "in pieces of {size}");
        }
    }
}
