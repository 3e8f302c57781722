//! How a body is framed on the way out: always by us, so that what leaves is clean whatever came.
//!
//! Never here: the reading side (that is `body`), or a socket.

use thiserror::Error;

use super::fields::Framing;

/// The body that is being written is not the one that was announced. The connection must be reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WriteFault {
    /// More bytes than announced, or any after the end.
    #[error("more body than was announced")]
    TooLong,
    /// The end before the last announced byte.
    #[error("less body than was announced")]
    TooShort,
}

/// What stands before and after a run of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    size_line: [u8; 18],
    start: u8,
    after: &'static [u8],
}

impl Frame {
    const BARE: Self = Self { size_line: [0; 18], start: 18, after: b"" };

    /// A chunk's size line, aligned to the end of its array.
    fn chunk(len: usize) -> Self {
        let mut size_line = *b"0000000000000000\r\n";
        let mut start: u8 = 16;
        let mut left = len;
        for place in size_line.iter_mut().rev().skip(2) {
            if left == 0 {
                break;
            }
            let digit = (left & 0xf) as u8;
            *place = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
            left >>= 4;
            start -= 1;
        }
        Self { size_line, start, after: b"\r\n" }
    }

    /// Bytes to write before the data.
    #[must_use]
    pub fn before(&self) -> &[u8] {
        self.size_line.get(usize::from(self.start)..).unwrap_or_default()
    }

    /// Bytes to write after the data.
    #[must_use]
    pub const fn after(&self) -> &'static [u8] {
        self.after
    }
}

/// Frames one body, and holds it to what its head announced.
#[derive(Debug, Clone)]
pub struct BodyWriter {
    framing: Framing,
    left: u64,
    ended: bool,
}

impl BodyWriter {
    /// For a body announced so.
    #[must_use]
    pub const fn new(framing: Framing) -> Self {
        let left = match framing {
            Framing::Length(length) => length,
            Framing::None | Framing::Chunked | Framing::UntilClose => 0,
        };
        Self { framing, left, ended: false }
    }

    /// What to write around the next `len` bytes of data. No data has no frame (an empty chunk would end the body).
    ///
    /// # Errors
    /// [`WriteFault::TooLong`]: write none of it.
    pub fn frame(&mut self, len: usize) -> Result<Frame, WriteFault> {
        if len == 0 {
            return Ok(Frame::BARE);
        }
        if self.ended {
            return Err(WriteFault::TooLong);
        }
        match self.framing {
            Framing::None => Err(WriteFault::TooLong),
            Framing::UntilClose => Ok(Frame::BARE),
            Framing::Chunked => Ok(Frame::chunk(len)),
            Framing::Length(_) => {
                self.left = self.left.checked_sub(len as u64).ok_or(WriteFault::TooLong)?;
                Ok(Frame::BARE)
            }
        }
    }

    /// Writes the end of the body with these lines of trailers, each with its end. Where there are no chunks, they are not
    /// said.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn finish_with(&mut self, trailers: &[u8], out: &mut Vec<u8>) -> Result<(), WriteFault> {
        match self.finish()? {
            b"" => {}
            _ => {
                out.extend_from_slice(b"0\r\n");
                out.extend_from_slice(trailers);
                out.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }

    /// What to write at the end of the body.
    ///
    /// # Errors
    /// [`WriteFault::TooShort`]: the announced length was not reached.
    pub const fn finish(&mut self) -> Result<&'static [u8], WriteFault> {
        if self.left > 0 {
            return Err(WriteFault::TooShort);
        }
        let last: &[u8] =
            if matches!(self.framing, Framing::Chunked) && !self.ended { b"0\r\n\r\n" } else { b"" };
        self.ended = true;
        Ok(last)
    }
}
