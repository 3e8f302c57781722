//! How far what was given to a connection has come: the frames that leave are looked at, and whatever had left when the socket
//! was last empty-handed is with the kernel. The library tells none of it: the head of a stream waits in a queue that no reset
//! empties, and small frames wait in a buffer of its own.
//!
//! Never here: what a frame says.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    task::{Context, Waker},
};

use super::frames::{DATA, END_STREAM, HEADERS, RST_STREAM};

/// See the module's header.
#[derive(Default)]
pub(in crate::proxy) struct Progress {
    /// How often all that had been begun was with the kernel.
    rounds: Cell<u64>,
    streams: RefCell<HashMap<u32, Left>>,
    waiting: RefCell<Vec<Waker>>,
    /// From here on nothing leaves.
    over: Cell<bool>,
}

/// What of one stream has left, or is about to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::proxy) struct Left {
    head: bool,
    data: u64,
    ended: bool,
    reset: bool,
    /// The round in which the last of it was begun.
    round: u64,
}

impl Progress {
    pub(in crate::proxy) fn begin(&self, stream: u32) {
        self.streams.borrow_mut().insert(stream, Left::default());
    }

    pub(in crate::proxy) fn forget(&self, stream: u32) {
        self.streams.borrow_mut().remove(&stream);
    }

    /// A frame is on its way to the socket.
    pub(in crate::proxy) fn frame(&self, kind: u8, flags: u8, stream: u32, length: usize) {
        let mut streams = self.streams.borrow_mut();
        let Some(left) = streams.get_mut(&stream) else { return };
        match kind {
            DATA => left.data += length as u64,
            HEADERS => left.head = true,
            RST_STREAM => left.reset = true,
            _ => return,
        }
        left.ended |= matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
        left.round = self.rounds.get();
    }

    /// All that was begun is with the kernel.
    pub(in crate::proxy) fn flushed(&self) {
        self.rounds.set(self.rounds.get() + 1);
        self.wake();
    }

    /// Nothing leaves from here on, whatever was given.
    pub(in crate::proxy) fn end(&self) {
        self.over.set(true);
        self.wake();
    }

    pub(in crate::proxy) fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Whether the kernel has the head of a stream, so much of its body, and its end where that was given.
    pub(in crate::proxy) fn has(&self, stream: u32, data: u64, ended: bool) -> bool {
        self.is_settled(stream, |left| left.head && left.data >= data && (left.ended || !ended))
    }

    /// Whether the kernel has the reset of a stream: nothing follows it.
    pub(in crate::proxy) fn has_reset(&self, stream: u32) -> bool {
        self.is_settled(stream, |left| left.reset)
    }

    fn is_settled(&self, stream: u32, done: impl Fn(&Left) -> bool) -> bool {
        let streams = self.streams.borrow();
        self.over.get()
            || streams.get(&stream).is_none_or(|left| done(left) && left.round < self.rounds.get())
    }

    /// Whether it is known that the kernel has all of that, however the connection ended.
    pub(in crate::proxy) fn took(&self, stream: u32, data: u64, ended: bool) -> bool {
        self.streams.borrow().get(&stream).is_some_and(|left| {
            left.head && left.data >= data && (left.ended || !ended) && left.round < self.rounds.get()
        })
    }

    /// Has whoever looks woken when there is reason to look again.
    pub(in crate::proxy) fn wait(&self, cx: &Context<'_>) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
    }

    fn wake(&self) {
        for waker in self.waiting.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_is_with_the_kernel_once_the_socket_was_empty_handed() {
        let progress = Progress::default();
        progress.begin(1);
        progress.flushed();
        assert!(!progress.has(1, 0, false), "its head was never begun");
        progress.frame(HEADERS, 0, 1, 50);
        assert!(!progress.has(1, 0, false));
        progress.flushed();
        assert!(progress.has(1, 0, false) && !progress.has(1, 0, true) && !progress.has(1, 5, false));
        progress.frame(DATA, 0, 1, 5);
        progress.frame(DATA, END_STREAM, 3, 5);
        progress.flushed();
        assert!(progress.has(1, 5, false) && !progress.has(1, 5, true));
        progress.frame(DATA, END_STREAM, 1, 0);
        assert!(!progress.has(1, 5, true));
        progress.flushed();
        assert!(progress.has(1, 5, true) && !progress.has_reset(1));
        progress.frame(RST_STREAM, 0, 1, 4);
        assert!(!progress.has_reset(1));
        progress.flushed();
        assert!(progress.has_reset(1));
        progress.begin(5);
        assert!(!progress.has(5, 0, true));
        progress.end();
        assert!(progress.has(5, 0, true), "nothing more leaves");
    }
}
