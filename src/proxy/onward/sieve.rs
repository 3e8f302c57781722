//! Frames that say nothing, taken out of what an application sends: DATA of no length that ends nothing. To some servers they
//! are what a flush becomes; the library ends a connection after a hundred of them in all its life, and with it everybody's
//! exchanges.
//!
//! Never here: what other frames say.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    time::Instant,
};

use crate::proxy::http2::frames::{DATA, END_STREAM, FrameHead, HEAD, HEADERS};

/// Reads in one go that may bring nothing; then others have their turn.
const READS: usize = 8;
/// Empty frames that an application may send on top of those that are paid for.
const MOST: u32 = 1 << 16;
/// How many are paid for by a frame that carries something.
const PAID: u32 = 16;
/// In what time one more may come, whatever else does. Slower than this, they may come for ever.
const EACH: Duration = Duration::from_millis(10);

/// See the module's header.
pub(super) struct Sieve {
    /// Bytes of the current frame that are still to come.
    skip: usize,
    /// As much as has come of a head, held back until it is whole.
    head: [u8; HEAD],
    have: usize,
    /// How much of it was given already, once it may be given.
    given: Option<usize>,
    /// Empty frames that may still come.
    left: u32,
    /// Since when time counts for more of them.
    since: Instant,
}

impl Sieve {
    pub(super) fn new() -> Sieve {
        Sieve { skip: 0, head: [0; HEAD], have: 0, given: None, left: MOST, since: Instant::now() }
    }

    /// Reads what is there and says something; how many bytes, 0 at the end alone.
    ///
    /// # Errors
    /// Those of the socket, and `InvalidData` where next to nothing but empty frames comes.
    pub(super) fn poll_read<R: AsyncRead + Unpin>(
        &mut self,
        from: &mut R,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let before = buf.filled().len();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(0));
        }
        for _ in 0..READS {
            if self.give(buf) {
                return Poll::Ready(Ok(buf.filled().len() - before));
            }
            if self.have > 0 {
                // Just the rest of the head: where it goes on to be given, it stands before everything that follows.
                let mut rest = [0; HEAD];
                let mut rest = ReadBuf::new(rest.get_mut(self.have..).unwrap_or_default());
                ready!(Pin::new(&mut *from).poll_read(cx, &mut rest))?;
                if rest.filled().is_empty() {
                    // There will be no more of it.
                    self.given = Some(0);
                }
                self.go_on(rest.filled())?;
                continue;
            }
            ready!(Pin::new(&mut *from).poll_read(cx, buf))?;
            let came = buf.filled_mut().get_mut(before..).unwrap_or_default();
            if came.is_empty() {
                return Poll::Ready(Ok(0));
            }
            let kept = self.sift(came)?;
            buf.set_filled(before + kept);
            if kept > 0 {
                return Poll::Ready(Ok(kept));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Gives of a head what may be given; whether there was any.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let Some(given) = self.given else { return false };
        let left = self.head.get(given..self.have).unwrap_or_default();
        let now = left.len().min(buf.remaining());
        buf.put_slice(left.get(..now).unwrap_or_default());
        if now == left.len() {
            (self.given, self.have) = (None, 0);
        } else {
            self.given = Some(given + now);
        }
        true
    }

    /// More of a head that had begun.
    fn go_on(&mut self, bytes: &[u8]) -> io::Result<()> {
        let place = self.head.get_mut(self.have..).unwrap_or_default();
        for (place, byte) in place.iter_mut().zip(bytes) {
            *place = *byte;
        }
        self.have += bytes.len();
        if self.have == HEAD && self.given.is_none() {
            match self.weigh(self.head)? {
                Some(length) => (self.skip, self.given) = (length, Some(0)),
                None => self.have = 0,
            }
        }
        Ok(())
    }

    /// Moves together what is to be given, from the beginning of a frame or within one; how much that is. Less than a head at
    /// the end is held back.
    fn sift(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() {
            let rest = bytes.get(at..).unwrap_or_default();
            let mut count = self.skip.min(rest.len());
            if count > 0 {
                self.skip -= count;
            } else {
                let Some((head, _)) = rest.split_first_chunk() else {
                    let rest = rest.to_vec();
                    self.go_on(&rest)?;
                    break;
                };
                match self.weigh(*head)? {
                    Some(length) => (self.skip, count) = (length, HEAD),
                    None => {
                        at += HEAD;
                        continue;
                    }
                }
            }
            if kept < at {
                bytes.copy_within(at..at + count, kept);
            }
            at += count;
            kept += count;
        }
        Ok(kept)
    }

    /// The length of a frame that goes on; `None` of one that says nothing.
    fn weigh(&mut self, head: [u8; HEAD]) -> io::Result<Option<usize>> {
        let head = FrameHead::of(head);
        let ends = head.flags & END_STREAM != 0;
        if head.kind != DATA || head.length > 0 || ends || head.stream == 0 {
            if matches!(head.kind, DATA | HEADERS) {
                self.left = self.left.saturating_add(PAID).min(MOST);
            }
            return Ok(Some(head.length));
        }
        if self.left == 0 {
            let now = Instant::now();
            let more = now.duration_since(self.since).as_millis() / EACH.as_millis();
            self.left = u32::try_from(more).unwrap_or(MOST).min(MOST);
            self.since = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => {
                tracing::warn!("an application sends next to nothing but empty frames of HTTP/2");
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
