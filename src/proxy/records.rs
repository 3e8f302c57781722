//! The socket below TLS towards an application, with a look at where its records end and how much it took. TLS itself says
//! neither: whether it holds the beginning of a record, nor whether a write that failed had sent something.
//!
//! Never here: what stands in a record.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// See the module's header.
pub(super) struct Records {
    stream: TcpStream,
    came: Boundary,
    taken: u64,
}

/// Where in the records the input stands: each has five bytes in front, the last two of them its length (RFC 8446, 5.1;
/// TLS 1.2 writes the same).
#[derive(Default)]
struct Boundary {
    /// Bytes of the current record that are still to come.
    left: usize,
    header: [u8; 5],
    have: usize,
}

impl Boundary {
    fn pass(&mut self, mut bytes: &[u8]) {
        loop {
            let passed = self.left.min(bytes.len());
            self.left -= passed;
            bytes = bytes.get(passed..).unwrap_or_default();
            let Some((first, rest)) = bytes.split_first() else { return };
            if let Some(place) = self.header.get_mut(self.have) {
                *place = *first;
            }
            self.have += 1;
            bytes = rest;
            if self.have == self.header.len() {
                let [_, _, _, high, low] = self.header;
                self.left = usize::from(u16::from_be_bytes([high, low]));
                self.have = 0;
            }
        }
    }

    fn is_here(&self) -> bool {
        self.left == 0 && self.have == 0
    }
}

impl Records {
    pub(super) fn new(stream: TcpStream) -> Records {
        Records { stream, came: Boundary::default(), taken: 0 }
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether all that came are whole records.
    pub(super) fn are_whole(&self) -> bool {
        self.came.is_here()
    }

    /// How many bytes the kernel has taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    fn took(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = written {
            self.taken += count as u64;
        }
        written
    }
}

impl AsyncRead for Records {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        this.came.pass(buf.filled().get(before..).unwrap_or_default());
        read
    }
}

impl AsyncWrite for Records {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.took(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.took(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_of_a_record_is_found_however_it_is_cut() {
        let mut bytes = vec![22, 3, 3, 0, 2, 1, 2];
        bytes.extend_from_slice(&[23, 3, 3, 0, 0]);
        bytes.extend_from_slice(&[23, 3, 3, 1, 0]);
        bytes.extend_from_slice(&[7; 256]);
        for size in 1..=bytes.len() {
            let (mut boundary, mut at) = (Boundary::default(), 0);
            for piece in bytes.chunks(size) {
                boundary.pass(piece);
                at += piece.len();
                assert_eq!(
                    boundary.is_here(),
                    [7, 12, bytes.len()].contains(&at),
                    "{at} in pieces of {size}"
                );
            }
        }
    }
}
