//! What both ends of the gateway do alike with a stream of HTTP/2: data on its way out, counted until the kernel has it; data
//! that came, as bytes of HTTP/1.1; trailers in both forms.
//!
//! Never here: heads, and who is on the other side.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use h2::SendStream;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::ReadBuf;

use crate::proxy::wire::BodyReader;

/// How a body comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Inbound {
    /// As it is: its length was announced.
    Raw,
    /// In chunks, one a frame.
    Chunked,
    /// There is none, or none any more.
    Done,
}

/// How much of what was given to the connection is not with the kernel, in frames.
#[derive(Default)]
pub(in crate::proxy) struct Queue {
    frames: Cell<usize>,
    waiting: RefCell<Option<Waker>>,
}

impl Queue {
    pub(in crate::proxy) fn is_empty(&self) -> bool {
        self.frames.get() == 0
    }

    /// Has whoever looks woken when a frame is gone.
    pub(in crate::proxy) fn wait(&self, cx: &Context<'_>) {
        *self.waiting.borrow_mut() = Some(cx.waker().clone());
    }
}

/// Data on its way to the connection; when it is dropped it was written, or never will be.
pub(in crate::proxy) struct Piece {
    data: Bytes,
    queue: Rc<Queue>,
}

impl Piece {
    pub(in crate::proxy) fn new(data: Bytes, queue: &Rc<Queue>) -> Piece {
        queue.frames.set(queue.frames.get() + 1);
        Piece { data, queue: Rc::clone(queue) }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.queue.frames.set(self.queue.frames.get().saturating_sub(1));
        if let Some(waker) = self.queue.waiting.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// What was taken of a body that goes out.
pub(in crate::proxy) struct Sent {
    /// Bytes as they were written to us.
    pub(in crate::proxy) taken: usize,
    /// Of them data.
    pub(in crate::proxy) data: usize,
    /// It was the last of it.
    pub(in crate::proxy) done: bool,
}

/// Takes bytes of a body that goes out, as many as the other side has room for, and the trailers behind it.
pub(in crate::proxy) fn poll_send(
    reader: &mut BodyReader,
    stream: &mut SendStream<Piece>,
    queue: &Rc<Queue>,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<Sent>> {
    // Tried first: what there is no room for is not taken.
    let step = reader.clone().advance(bytes).map_err(io::Error::other)?;
    let mut room = 0;
    if !step.data.is_empty() {
        stream.reserve_capacity(step.data.len());
        room = stream.capacity();
        while room == 0 {
            match stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => room = stream.capacity(),
                Poll::Ready(Some(Err(_)) | None) => {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                Poll::Pending if step.data.start == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
        }
    }
    let all = step.data.len();
    let now = all.min(room);
    let end = if now == all { step.consumed } else { step.data.start + now };
    let step = reader.advance(bytes.get(..end).unwrap_or_default()).map_err(io::Error::other)?;
    let trailers = if step.done { read_trailers(reader.trailers()) } else { None };
    let last = step.done && trailers.is_none();
    if !step.data.is_empty() || last {
        let data = Bytes::copy_from_slice(bytes.get(step.data.clone()).unwrap_or_default());
        stream.send_data(Piece::new(data, queue), last).map_err(io::Error::other)?;
    }
    if let Some(trailers) = trailers {
        stream.send_trailers(trailers).map_err(io::Error::other)?;
    }
    Poll::Ready(Ok(Sent { taken: step.consumed, data: step.data.len(), done: step.done }))
}

/// Bytes for whoever reads HTTP/1.1, in this order; of the second, the third is a part that came as data.
#[derive(Default)]
pub(in crate::proxy) struct Inbox {
    framing: Vec<u8>,
    at: usize,
    data: Bytes,
    after: &'static [u8],
}

impl Inbox {
    /// With a head to begin with.
    pub(in crate::proxy) fn new(head: Vec<u8>) -> Inbox {
        Inbox { framing: head, ..Inbox::default() }
    }

    /// Where a head is written.
    pub(in crate::proxy) fn head(&mut self) -> &mut Vec<u8> {
        &mut self.framing
    }

    /// Data that is next to be read.
    pub(in crate::proxy) fn came(&mut self, data: Bytes, chunked: bool) {
        if chunked {
            self.framing.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
            self.after = b"\r\n";
        }
        self.data = data;
    }

    /// The end of a body in chunks, with the trailers that came.
    pub(in crate::proxy) fn ended(&mut self, trailers: Option<&HeaderMap>) {
        self.framing.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.into_iter().flatten() {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                self.framing.extend_from_slice(part);
            }
        }
        self.framing.extend_from_slice(b"\r\n");
    }

    /// Copies what is there: whether anything was, and how much of it was data.
    pub(in crate::proxy) fn give(&mut self, buf: &mut ReadBuf<'_>) -> (bool, usize) {
        let before = buf.remaining();
        let framing = self.framing.get(self.at..).unwrap_or_default();
        let count = framing.len().min(buf.remaining());
        buf.put_slice(framing.get(..count).unwrap_or_default());
        self.at += count;
        if self.at < self.framing.len() {
            return (true, 0);
        }
        self.framing.clear();
        self.at = 0;
        let data = self.data.len().min(buf.remaining());
        if data > 0 {
            buf.put_slice(&self.data.split_to(data));
        }
        if self.data.is_empty() {
            let count = self.after.len().min(buf.remaining());
            let (given, left) = self.after.split_at(count);
            buf.put_slice(given);
            self.after = left;
        }
        (buf.remaining() < before, data)
    }
}

/// Trailers that our writer wrote, as HTTP/2 has them; `None` where there are none.
fn read_trailers(lines: &[u8]) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let mut parts = line.trim_ascii_end().splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.trim_ascii()))
        {
            map.append(name, value);
        }
    }
    (!map.is_empty()).then_some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_are_the_same_in_both_forms() {
        let mut map = HeaderMap::new();
        map.append("grpc-status", HeaderValue::from_static("0"));
        map.append("x-a", HeaderValue::from_static("1: 2"));
        map.append("x-a", HeaderValue::from_static(""));
        let mut inbox = Inbox::default();
        inbox.ended(Some(&map));
        let text = std::mem::take(inbox.head());
        assert_eq!(text, b"0\r\ngrpc-status: 0\r\nx-a: 1: 2\r\nx-a: \r\n\r\n");
        assert_eq!(read_trailers(&text[3..text.len() - 2]), Some(map));
        assert_eq!(read_trailers(b""), None);
    }
}
