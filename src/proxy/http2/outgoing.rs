//! What leaves of streams that were cut (law 6). What the library has encoded it writes, whatever becomes of the stream; so
//! from the cut until all of that is gone, bytes are looked at on their way out. Data is emptied, in frames as long as they
//! were, since both sides count them; the end of the stream is taken from them, so that what was cut is never taken for whole.
//! What others could not do without, the lines of a head, ends the connection.
//!
//! Never here: a socket.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
};

use super::frames::{CONTINUATION, DATA, END_STREAM, FrameHead, Frames, HEAD, HEADERS, RST_STREAM};

/// How much is looked at at once; more leaves with a later write.
const LOOKED_AT: usize = 64 << 10;
const CANCEL: u32 = 8;

/// The streams of a connection that were cut, while the library may hold frames of them.
#[derive(Default)]
pub(super) struct Cuts {
    list: RefCell<Vec<Cut>>,
}

struct Cut {
    stream: u32,
    /// An end was taken from a frame of it. The library believes it over, and may have no reset to say.
    unended: bool,
    /// Its reset has left.
    reset: bool,
}

impl Cuts {
    /// From here on no byte of its answer leaves. Whatever of it the library had only queued, it has dropped by now.
    pub(super) fn add(&self, stream: u32) {
        self.list.borrow_mut().push(Cut { stream, unended: false, reset: false });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    pub(super) fn has(&self, stream: u32) -> bool {
        self.list.borrow().iter().any(|cut| cut.stream == stream)
    }

    fn note(&self, stream: u32, what: impl FnOnce(&mut Cut)) {
        if let Some(cut) = self.list.borrow_mut().iter_mut().find(|cut| cut.stream == stream) {
            what(cut);
        }
    }

    /// The library has nothing encoded any more, so all of them are over. The resets that nobody else says.
    fn settle(&self) -> Vec<u8> {
        let mut owed = Vec::new();
        for cut in self.list.take() {
            if cut.unended && !cut.reset {
                owed.extend_from_slice(&[0, 0, 4, RST_STREAM, 0]);
                owed.extend_from_slice(&cut.stream.to_be_bytes());
                owed.extend_from_slice(&CANCEL.to_be_bytes());
            }
        }
        owed
    }
}

/// Bytes would leave that must not, and cannot be taken out of what leaves.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inseparable;

impl From<Inseparable> for io::Error {
    fn from(_: Inseparable) -> io::Error {
        io::ErrorKind::ConnectionAborted.into()
    }
}

/// Where in what leaves a connection stands.
pub(super) struct Outgoing {
    frames: Frames,
}

impl Outgoing {
    pub(super) fn new() -> Outgoing {
        Outgoing { frames: Frames::of_a_server() }
    }

    /// These have left, as they are; of each frame that begins, the head is told.
    pub(super) fn left(&mut self, bytes: &[u8], cuts: &Cuts, mut told: impl FnMut(FrameHead)) {
        self.frames.take(bytes, |head| {
            if head.kind == RST_STREAM {
                cuts.note(head.stream, |cut| cut.reset = true);
            }
            told(head);
        });
    }

    /// The stream of which a frame has left in part.
    pub(super) fn inside(&self) -> Option<u32> {
        self.frames.inside().map(|(head, _)| head.stream)
    }

    /// What may leave instead of these, never longer and never empty.
    ///
    /// # Errors
    /// [`Inseparable`]: something of a stream that was cut would leave whatever is done, were it only an end that makes an
    /// answer whole.
    pub(super) fn emptied(&self, slices: &[IoSlice<'_>], cuts: &Cuts) -> Result<Vec<u8>, Inseparable> {
        let mut bytes = Vec::new();
        for slice in slices {
            let room = LOOKED_AT - bytes.len();
            bytes.extend_from_slice(slice.get(..room.min(slice.len())).unwrap_or_default());
        }
        let mut frames = self.frames.clone();
        let mut at = 0;
        while at < bytes.len() {
            let rest = bytes.get_mut(at..).unwrap_or_default();
            if let Some((head, left)) = frames.inside() {
                let count = left.min(rest.len());
                let (payload, _) = rest.split_at_mut(count);
                if cuts.has(head.stream) {
                    match head.kind {
                        DATA if head.flags & END_STREAM == 0 => payload.fill(0),
                        DATA | HEADERS | CONTINUATION => return Err(Inseparable),
                        _ => {}
                    }
                }
                frames.take(payload, |_| {});
                at += count;
                continue;
            }
            let begun = frames.begun();
            let mut header = [0; HEAD];
            let (before, coming) = header.split_at_mut(begun.len());
            before.copy_from_slice(begun);
            let before = before.len();
            let Some((now, _)) = rest.split_at_mut_checked(coming.len()) else {
                // Which stream it is of cannot be seen yet. The library always gives a head whole.
                bytes.truncate(at);
                break;
            };
            coming.copy_from_slice(now);
            let head = FrameHead::of(header);
            if cuts.has(head.stream) {
                match head.kind {
                    DATA if head.flags & END_STREAM != 0 => {
                        // The flags are the fifth byte.
                        let flags = 4usize.checked_sub(before).and_then(|place| now.get_mut(place));
                        *flags.ok_or(Inseparable)? &= !END_STREAM;
                        cuts.note(head.stream, |cut| cut.unended = true);
                    }
                    HEADERS | CONTINUATION => return Err(Inseparable),
                    _ => {}
                }
            }
            frames.take(now, |_| {});
            at += HEAD - before;
        }
        if bytes.is_empty() { Err(Inseparable) } else { Ok(bytes) }
    }

    /// Nothing that was encoded is left: the resets that are to be said here.
    pub(super) fn settled(&self, cuts: &Cuts) -> Vec<u8> {
        if cuts.is_empty() || !self.frames.is_between() {
            return Vec::new();
        }
        cuts.settle()
    }
}

#[cfg(test)]
mod tests;
