//! Where a body ends: a reader that is fed slices as they come and points at the data in them.
//!
//! Chunk framing is read strictly and never handed on: sizes are plain hexadecimal, lines end in CR LF, extensions are
//! bounded and dropped, trailers are bounded, checked, and dropped or kept apart (law 9: a trailer is one more place to say
//! who one is; [`trailers`](super::trailers) says which may go on).
//! Never here: buffers, limits on a body's size, or the writing side (that is `chunk`).

use std::ops::Range;

use thiserror::Error;

use super::fields::Framing;
use super::scan;

/// Bytes of extension behind one chunk size.
const MOST_EXTENSION: u32 = 256;
/// Bytes of extension in one body, so that a body of tiny chunks cannot be mostly extension.
const MOST_EXTENSIONS: u32 = 16 << 10;
/// Bytes of trailers.
const MOST_TRAILERS: u32 = 8 << 10;
/// Digits of a chunk size.
const MOST_DIGITS: u8 = 16;

/// Why a body was refused. The connection must not be read further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BodyFault {
    /// Not 1 to 16 hexadecimal digits, followed by CR LF or `;`.
    #[error("a chunk size is malformed")]
    ChunkSize,
    /// A control byte, or a byte outside ASCII.
    #[error("a chunk extension holds a byte that it must not")]
    ChunkExtension,
    /// More than 256 bytes behind one size, or 16 KiB in a body.
    #[error("chunk extensions are too long")]
    ChunkExtensionTooLong,
    /// LF without CR, or CR without LF, in a chunk's framing.
    #[error("a line of chunk framing does not end in CR LF")]
    ChunkLineEnd,
    /// The data is not followed by CR LF.
    #[error("a chunk is longer than its size says")]
    ChunkDataEnd,
    /// No header line.
    #[error("a trailer is malformed")]
    Trailer,
    /// More than 8 KiB.
    #[error("the trailers are too long")]
    TrailersTooLong,
    /// The connection ended before the body did.
    #[error("the body ended early")]
    Premature,
}

impl BodyFault {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::ChunkSize => "chunk_size",
            Self::ChunkExtension => "chunk_extension",
            Self::ChunkExtensionTooLong => "chunk_extension_too_long",
            Self::ChunkLineEnd => "chunk_line_end",
            Self::ChunkDataEnd => "chunk_data_end",
            Self::Trailer => "trailer_malformed",
            Self::TrailersTooLong => "trailers_too_long",
            Self::Premature => "body_premature_end",
        }
    }
}

/// What one slice brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Bytes taken from the slice; more may be left, of this body (call again) or behind it (when `done`).
    pub consumed: usize,
    /// Where in the slice the data stands; may be empty.
    pub data: Range<usize>,
    /// The body is whole.
    pub done: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Done,
    Length(u64),
    UntilClose,
    Size { size: u64, digits: u8 },
    Extension { size: u64, len: u32 },
    SizeLf { size: u64 },
    Data(u64),
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
}

const SIZE: State = State::Size { size: 0, digits: 0 };

/// Finds the end of one body.
#[derive(Debug, Clone)]
pub struct BodyReader {
    state: State,
    extensions: u32,
    trailers: u32,
    /// Their lines, where they are wanted.
    kept: Option<Vec<u8>>,
}

impl BodyReader {
    /// For a body that is framed so.
    #[must_use]
    pub const fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => SIZE,
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, extensions: 0, trailers: 0, kept: None }
    }

    /// The same, for whoever asks for the [`trailers`](Self::trailers).
    #[must_use]
    pub fn keeping_trailers(framing: Framing) -> Self {
        let mut reader = Self::new(framing);
        reader.kept = Some(Vec::new());
        reader
    }

    /// The lines of the trailers that came, each with its end; of a whole body, all.
    #[must_use]
    pub fn trailers(&self) -> &[u8] {
        self.kept.as_deref().unwrap_or_default()
    }

    /// Whether the body is whole.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the next bytes. A step either ends the body, or takes all of `input`, or stops before the second run of data
    /// in it; a whole body takes nothing.
    ///
    /// # Errors
    /// The chunk framing is malformed. Data of the same slice is then not handed out.
    pub fn advance(&mut self, input: &[u8]) -> Result<Step, BodyFault> {
        match self.state {
            State::Done => Ok(Step { consumed: 0, data: 0..0, done: true }),
            State::UntilClose => Ok(Step { consumed: input.len(), data: 0..input.len(), done: false }),
            State::Length(left) => {
                let (taken, left) = take(left, input.len());
                self.state = if left == 0 { State::Done } else { State::Length(left) };
                Ok(Step { consumed: taken, data: 0..taken, done: left == 0 })
            }
            _ => self.advance_chunks(input),
        }
    }

    fn advance_chunks(&mut self, input: &[u8]) -> Result<Step, BodyFault> {
        let mut at = 0;
        let mut data = 0..0;
        while let Some(&byte) = input.get(at) {
            if let State::Data(left) = self.state {
                if !data.is_empty() {
                    break;
                }
                let (taken, left) = take(left, input.len() - at);
                data = at..at + taken;
                at += taken;
                self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                continue;
            }
            self.state = self.framing_byte(byte)?;
            at += 1;
            if self.state == State::Done {
                break;
            }
        }
        Ok(Step { consumed: at, data, done: self.state == State::Done })
    }

    fn framing_byte(&mut self, byte: u8) -> Result<State, BodyFault> {
        match (self.state, byte) {
            (State::Size { size, digits }, byte) if byte.is_ascii_hexdigit() => {
                if digits == MOST_DIGITS {
                    return Err(BodyFault::ChunkSize);
                }
                Ok(State::Size { size: size << 4 | u64::from(hex(byte)), digits: digits + 1 })
            }
            (State::Size { size, digits: 1.. }, b'\r') => Ok(State::SizeLf { size }),
            (State::Size { size, digits: 1.. }, b';') => Ok(State::Extension { size, len: 0 }),
            (State::Size { .. }, b'\n') => Err(BodyFault::ChunkLineEnd),
            (State::Size { .. }, _) => Err(BodyFault::ChunkSize),

            (State::Extension { size, .. }, b'\r') => Ok(State::SizeLf { size }),
            (State::Extension { .. }, b'\n') => Err(BodyFault::ChunkLineEnd),
            (State::Extension { size, len }, b'\t' | b' '..=b'~') => {
                self.extensions += 1;
                if len == MOST_EXTENSION || self.extensions > MOST_EXTENSIONS {
                    return Err(BodyFault::ChunkExtensionTooLong);
                }
                Ok(State::Extension { size, len: len + 1 })
            }
            (State::Extension { .. }, _) => Err(BodyFault::ChunkExtension),

            (State::SizeLf { size: 0 }, b'\n') => Ok(State::TrailerStart),
            (State::SizeLf { size }, b'\n') => Ok(State::Data(size)),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(SIZE),
            (State::DataCr | State::DataLf, _) => Err(BodyFault::ChunkDataEnd),

            (State::TrailerStart, b'\r') => Ok(State::LastLf),
            (State::LastLf, b'\n') => Ok(State::Done),
            (State::TrailerLf, b'\n') => {
                self.keep(byte);
                Ok(State::TrailerStart)
            }
            (State::SizeLf { .. } | State::LastLf | State::TrailerLf, _) => Err(BodyFault::ChunkLineEnd),
            (State::TrailerStart | State::TrailerName | State::TrailerValue, byte) => {
                let state = self.trailer_byte(byte)?;
                self.keep(byte);
                Ok(state)
            }

            (State::Done | State::Length(_) | State::UntilClose | State::Data(_), _) => Ok(self.state),
        }
    }

    fn keep(&mut self, byte: u8) {
        if let Some(kept) = &mut self.kept {
            kept.push(byte);
        }
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<State, BodyFault> {
        self.trailers += 1;
        if self.trailers > MOST_TRAILERS {
            return Err(BodyFault::TrailersTooLong);
        }
        match (self.state, byte) {
            (_, b'\n') => Err(BodyFault::ChunkLineEnd),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => Ok(State::TrailerValue),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerStart | State::TrailerName, byte) if scan::is_token(&[byte]) => {
                Ok(State::TrailerName)
            }
            _ => Err(BodyFault::Trailer),
        }
    }

    /// The connection ended.
    ///
    /// # Errors
    /// [`BodyFault::Premature`] if the body did not.
    pub const fn end(&mut self) -> Result<(), BodyFault> {
        match self.state {
            State::Done | State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(BodyFault::Premature),
        }
    }
}

/// How many of `have` bytes belong to the `left` that are missing, and what is missing then.
fn take(left: u64, have: usize) -> (usize, u64) {
    let taken = usize::try_from(left).map_or(have, |left| left.min(have));
    (taken, left - taken as u64)
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}
