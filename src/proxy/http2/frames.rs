//! Where one frame ends and the next one begins, in bytes that come as they come.
//!
//! Never here: what a frame says.

/// `PRI * HTTP/2.0` and what belongs to it.
const PREFACE: usize = 24;
/// What stands before a frame.
pub(in crate::proxy) const HEAD: usize = 9;

pub(in crate::proxy) const DATA: u8 = 0;
pub(in crate::proxy) const HEADERS: u8 = 1;
pub(in crate::proxy) const RST_STREAM: u8 = 3;
pub(in crate::proxy) const CONTINUATION: u8 = 9;
pub(in crate::proxy) const END_STREAM: u8 = 1;

/// Where in the frames a stream of bytes stands.
#[derive(Debug, Clone)]
pub(in crate::proxy) struct Frames {
    /// Bytes that belong to the preface or to the payload of the current frame.
    skip: usize,
    header: [u8; HEAD],
    have: usize,
}

/// What stands before a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) struct FrameHead {
    pub(in crate::proxy) kind: u8,
    pub(in crate::proxy) flags: u8,
    pub(in crate::proxy) stream: u32,
    pub(in crate::proxy) length: usize,
}

impl FrameHead {
    pub(in crate::proxy) fn of(header: [u8; HEAD]) -> FrameHead {
        let [a, b, c, kind, flags, d, e, f, g] = header;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let stream = u32::from_be_bytes([d & 0x7f, e, f, g]);
        FrameHead { kind, flags, stream, length }
    }
}

impl Frames {
    /// At the beginning of what a client of HTTP/2 says.
    pub(in crate::proxy) fn of_a_client() -> Frames {
        Frames { skip: PREFACE, ..Frames::of_a_server() }
    }

    /// At the beginning of what a server says.
    pub(in crate::proxy) fn of_a_server() -> Frames {
        Frames { skip: 0, header: [0; HEAD], have: 0 }
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
                let head = FrameHead::of(self.header);
                told(head);
                self.skip = head.length;
                self.have = 0;
            }
        }
    }

    /// The frame of which bytes are still to come, and how many; not where only its head is not whole.
    pub(in crate::proxy) fn inside(&self) -> Option<(FrameHead, usize)> {
        (self.skip > 0).then(|| (FrameHead::of(self.header), self.skip))
    }

    /// As much as has come of a head.
    pub(in crate::proxy) fn begun(&self) -> &[u8] {
        self.header.get(..self.have).unwrap_or_default()
    }

    /// Between two frames.
    pub(in crate::proxy) fn is_between(&self) -> bool {
        self.skip == 0 && self.have == 0
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
            assert!(frames.is_between());
        }
    }
}
