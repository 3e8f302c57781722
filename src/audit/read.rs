//! Reading a ledger: its segments in order, their lines one by one, and the records that belong to the log.
//!
//! Reading holds one line in memory at a time. Never here: whether what is read is genuine (that is
//! [`verify`](super::verify)).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::journal::book::{Ended, Header};
use super::record::{self, Line, SEGMENT};

/// The file that holds the latest checkpoint.
pub const CHECKPOINT: &str = "checkpoint";
/// No line is longer; a reader gives up on one that is. Only headers come near it.
pub const MAX_LINE: usize = 64 << 20;

/// Why a ledger could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refused.
    #[error("reading `{path}`: {source}")]
    Io {
        /// Which file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A line that is no record.
    #[error("`{file}`, line {line}: {why}; run `postern audit verify` on the ledger")]
    Damaged {
        /// Which segment.
        file: String,
        /// Which line, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
}

pub(crate) fn failed(path: &Path) -> impl FnOnce(io::Error) -> ReadError + '_ {
    |source| ReadError::Io { path: path.display().to_string(), source }
}

/// The name of a segment's file.
pub fn segment_name(number: u64) -> String {
    format!("{number:08}.jsonl")
}

/// The name of the file with the checkpoints that were signed while a segment was written.
pub fn history_name(number: u64) -> String {
    format!("{number:08}.checkpoints")
}

/// The numbers of the segments in a directory, in order.
///
/// # Errors
/// [`ReadError::Io`].
pub fn segments(dir: &Path) -> Result<Vec<u64>, ReadError> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed(dir))? {
        let name = entry.map_err(failed(dir))?.file_name();
        let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".jsonl")) else { continue };
        if let Ok(number) = stem.parse::<u64>()
            && name.to_str() == Some(&segment_name(number))
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The lines of one file with their places.
pub struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    buffer: Vec<u8>,
    number: u64,
    offset: u64,
}

/// A raw line.
#[derive(Clone, Copy, Debug)]
pub struct RawLine<'a> {
    /// Its bytes without the newline.
    pub bytes: &'a [u8],
    /// Its number in the file, from 1.
    pub number: u64,
    /// The offset of its first byte.
    pub offset: u64,
    /// Whether a newline ends it. Only the last can be without.
    pub whole: bool,
}

impl Lines {
    /// Opens a file.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn open(path: PathBuf) -> Result<Lines, ReadError> {
        let file = File::open(&path).map_err(failed(&path))?;
        let reader = BufReader::with_capacity(1 << 16, file);
        Ok(Lines { path, reader, buffer: Vec::new(), number: 0, offset: 0 })
    }

    /// Opens a file behind a line that was read before.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    fn open_behind(path: PathBuf, place: Place) -> Result<Lines, ReadError> {
        let mut lines = Lines::open(path)?;
        lines.reader.seek(SeekFrom::Start(place.offset)).map_err(failed(&lines.path))?;
        (lines.number, lines.offset) = (place.lines, place.offset);
        Ok(lines)
    }

    /// The number of the line that was read last; 0 before the first.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The offset behind the line that was read last.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line. Of one longer than [`MAX_LINE`] only that much is kept.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn read_line(&mut self) -> Result<Option<RawLine<'_>>, ReadError> {
        self.buffer.clear();
        let start = self.offset;
        let mut whole = false;
        loop {
            let chunk = self.reader.fill_buf().map_err(failed(&self.path))?;
            if chunk.is_empty() {
                break;
            }
            let end = chunk.iter().position(|b| *b == b'\n');
            let taken = end.map_or(chunk.len(), |end| end + 1);
            let room = MAX_LINE.saturating_sub(self.buffer.len());
            let text = chunk.get(..end.unwrap_or(taken).min(room)).unwrap_or_default();
            self.buffer.extend_from_slice(text);
            self.reader.consume(taken);
            self.offset += taken as u64;
            if end.is_some() {
                whole = true;
                break;
            }
        }
        if self.offset == start {
            return Ok(None);
        }
        self.number += 1;
        Ok(Some(RawLine { bytes: &self.buffer, number: self.number, offset: start, whole }))
    }
}

/// The header of a segment, with its sequence number.
///
/// # Errors
/// [`ReadError::Damaged`] when the first line is no header.
pub fn header(dir: &Path, number: u64) -> Result<(u64, Header), ReadError> {
    let name = segment_name(number);
    let mut lines = Lines::open(dir.join(&name))?;
    let damaged = |why: &str| ReadError::Damaged { file: name.clone(), line: 1, why: why.to_owned() };
    let Some(raw) = lines.read_line()? else { return Err(damaged("the segment is empty")) };
    let line = record::parse(raw.bytes).map_err(damaged)?;
    let header = parse_header(&line).ok_or_else(|| damaged("the first line is no segment header"))?;
    Ok((line.lead.seq, header))
}

/// What a header's line says behind its fixed members.
pub fn parse_header(line: &Line<'_>) -> Option<Header> {
    if line.lead.kind != SEGMENT {
        return None;
    }
    serde_json::from_str(&format!("{{{}}}", line.rest.strip_prefix(',')?)).ok()
}

/// Behind which line a reader stands. Good for as long as the ledger is: what is durable is never written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    segment: u64,
    lines: u64,
    offset: u64,
}

/// The records of a ledger that belong to the log, in order: what lies behind the sealed end of a segment is left
/// out. Filters are the caller's.
pub struct Records {
    dir: PathBuf,
    left: std::vec::IntoIter<u64>,
    current: Option<(String, Lines, Option<u64>)>,
    /// Where to begin in the first segment.
    behind: Option<Place>,
    /// Lines of the first segment that are passed over unread: they stand before what is asked for.
    skip: u64,
}

impl Records {
    /// Begins with the first segment in the directory.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn open(dir: &Path) -> Result<Records, ReadError> {
        Ok(Records {
            dir: dir.to_owned(),
            left: segments(dir)?.into_iter(),
            current: None,
            behind: None,
            skip: 0,
        })
    }

    /// Begins with the record of this sequence number. What stands before it in its segment is counted, not parsed: every
    /// line is one record, so a page at a segment's end costs little more than one at its beginning.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn from_seq(dir: &Path, seq: u64) -> Result<Records, ReadError> {
        let numbers = segments(dir)?;
        let (mut from, mut skip) = (0, 0);
        for (index, number) in numbers.iter().enumerate().rev() {
            let first = header(dir, *number)?.0;
            if first <= seq {
                (from, skip) = (index, seq - first);
                break;
            }
        }
        let left: Vec<u64> = numbers.into_iter().skip(from).collect();
        Ok(Records { dir: dir.to_owned(), left: left.into_iter(), current: None, behind: None, skip })
    }

    /// Begins with the segment in which the first record from this instant on can stand: times within a log may step
    /// back, so the caller still looks at each record's own.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn from_time(dir: &Path, at_ms: i64) -> Result<Records, ReadError> {
        let numbers = segments(dir)?;
        let mut from = 0;
        for (index, number) in numbers.iter().enumerate().rev() {
            let name = segment_name(*number);
            let mut lines = Lines::open(dir.join(&name))?;
            let Some(raw) = lines.read_line()? else { continue };
            let line = record::parse(raw.bytes).map_err(|why| ReadError::Damaged {
                file: name,
                line: 1,
                why: why.to_owned(),
            })?;
            // The greatest time before it, not its own: where a clock behind the ledger was accepted, times step back far.
            let latest = parse_header(&line).and_then(|header| header.latest);
            let latest = latest.as_deref().and_then(record::parse_time).unwrap_or(line.lead.at_ms);
            if latest < at_ms {
                from = index;
                break;
            }
        }
        let left: Vec<u64> = numbers.into_iter().skip(from).collect();
        Ok(Records { dir: dir.to_owned(), left: left.into_iter(), current: None, behind: None, skip: 0 })
    }

    /// Goes on behind a record that was read before: nothing that stands before it is read again. Only for places behind
    /// records that were durable.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn behind(dir: &Path, place: Place) -> Result<Records, ReadError> {
        let records = Records::from_segment(dir, place.segment)?;
        Ok(Records { behind: Some(place), ..records })
    }

    /// Where it stands: behind the record that was handed out last. `None` before the first.
    pub fn place(&self) -> Option<Place> {
        let (name, lines, _) = self.current.as_ref()?;
        let segment = name.strip_suffix(".jsonl")?.parse().ok()?;
        (lines.number() > 0).then(|| Place { segment, lines: lines.number(), offset: lines.offset() })
    }

    /// Begins with the segment of this number.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn from_segment(dir: &Path, number: u64) -> Result<Records, ReadError> {
        let left: Vec<u64> = segments(dir)?.into_iter().filter(|found| *found >= number).collect();
        Ok(Records { dir: dir.to_owned(), left: left.into_iter(), current: None, behind: None, skip: 0 })
    }

    /// Hands the next record to `take`, with the name of its segment and its line number; `None` at the end. A line
    /// that is being written while this reads is not seen.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn next<T>(&mut self, take: impl FnOnce(&Line<'_>, &str, u64) -> T) -> Result<Option<T>, ReadError> {
        loop {
            let (file, lines, end) = match &mut self.current {
                Some(current) => (&current.0, &mut current.1, current.2),
                None => {
                    let Some(number) = self.left.next() else { return Ok(None) };
                    let end = match self.left.as_slice().first() {
                        Some(next) => header(&self.dir, *next)?.1.after.map(|after| after.lines),
                        None => None,
                    };
                    let name = segment_name(number);
                    let path = self.dir.join(&name);
                    let mut lines = match self.behind.take() {
                        Some(place) if place.segment == number => Lines::open_behind(path, place)?,
                        Some(_) | None => Lines::open(path)?,
                    };
                    for _ in 0..std::mem::take(&mut self.skip) {
                        // Past the end there is nothing, here as below.
                        if end.is_some_and(|end| lines.number() >= end) || lines.read_line()?.is_none() {
                            break;
                        }
                    }
                    self.current = Some((name, lines, end));
                    continue;
                }
            };
            if end.is_some_and(|end| lines.number() >= end) {
                self.current = None;
                continue;
            }
            match lines.read_line()? {
                Some(raw) if raw.whole => {
                    let number = raw.number;
                    let line = record::parse(raw.bytes).map_err(|why| ReadError::Damaged {
                        file: file.clone(),
                        line: number,
                        why: why.to_owned(),
                    })?;
                    return Ok(Some(take(&line, file, number)));
                }
                _ => self.current = None,
            }
        }
    }
}

/// Whether a segment that ended so may have bytes behind its end.
pub(crate) fn may_have_tail(ended: Ended) -> bool {
    ended != Ended::Closed
}
