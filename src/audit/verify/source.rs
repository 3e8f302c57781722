//! Where the verifier's lines and checkpoints come from: all segments as one stream, all histories as another.
//!
//! Never here: judgement about how lines fit together.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::audit::journal::book::Header;
use crate::audit::note::{Checkpoint, VerifyingKey};
use crate::audit::read::{self, CHECKPOINT, Lines, ReadError, failed, history_name, segment_name};
use crate::audit::record;
use crate::audit::tree::Hash;

/// A line with its place, and what the chain needs of it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) file: Arc<str>,
    pub(super) line: u64,
    /// The segment before and how many lines it had; for the first line of a segment.
    pub(super) before: Option<(String, u64)>,
    pub(super) whole: bool,
    pub(super) bytes: Vec<u8>,
    /// Sequence number, `prev` and leaf hash; `None` if the line is no record.
    pub(super) link: Option<Link>,
}

/// What ties a line to its neighbours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) seq: u64,
    pub(super) prev: Hash,
    pub(super) hash: Hash,
}

impl Item {
    pub(super) fn seq(&self) -> Option<u64> {
        self.link.map(|l| l.seq)
    }
}

/// All segments as one stream of lines, without what lies behind sealed ends.
pub(super) struct Source {
    dir: PathBuf,
    left: VecDeque<u64>,
    current: Option<Current>,
    before: Option<(String, u64)>,
    pub(super) outside_bytes: u64,
    pub(super) segments: u64,
    /// Segments without a line. Since a segment has its header before it has its name, none is ever written so.
    pub(super) empty: Vec<String>,
}

struct Current {
    file: Arc<str>,
    lines: Lines,
    /// Where the next segment's header says that this one ends: lines and the sequence number of that header.
    end: Option<(u64, u64, bool)>,
    next_seq: Option<u64>,
    offset: u64,
}

impl Source {
    pub(super) fn new(dir: &Path) -> Result<Source, ReadError> {
        let left: VecDeque<u64> = read::segments(dir)?.into();
        Ok(Source {
            dir: dir.to_owned(),
            left,
            current: None,
            before: None,
            outside_bytes: 0,
            segments: 0,
            empty: Vec::new(),
        })
    }

    pub(super) fn next(&mut self) -> Result<Option<Item>, ReadError> {
        loop {
            let Some(current) = &mut self.current else {
                let Some(number) = self.left.pop_front() else { return Ok(None) };
                self.segments += 1;
                let name = segment_name(number);
                let path = self.dir.join(&name);
                let end = self.left.front().and_then(|next| ended(&self.dir, *next));
                self.current = Some(Current {
                    file: Arc::from(name.as_str()),
                    lines: Lines::open(path)?,
                    end,
                    next_seq: None,
                    offset: 0,
                });
                continue;
            };
            // Both must agree, so that an altered header cannot hide records: a wrong place is simply read past.
            let at_end = current.end.is_some_and(|(lines, seq, tail)| {
                tail && current.lines.number() == lines && current.next_seq == Some(seq)
            });
            let raw = if at_end { None } else { current.lines.read_line()? };
            let Some(raw) = raw else {
                if at_end {
                    let path = self.dir.join(&*current.file);
                    let len = fs::metadata(&path).map_err(failed(&path))?.len();
                    self.outside_bytes += len.saturating_sub(current.offset);
                }
                if current.lines.number() == 0 {
                    self.empty.push(current.file.to_string());
                }
                self.before = Some((current.file.to_string(), current.lines.number()));
                self.current = None;
                continue;
            };
            let link = record::parse(raw.bytes).ok().filter(|_| raw.whole).map(|line| Link {
                seq: line.lead.seq,
                prev: line.lead.prev,
                hash: line.hash(),
            });
            let item = Item {
                file: Arc::clone(&current.file),
                line: raw.number,
                before: if raw.number == 1 { self.before.take() } else { None },
                whole: raw.whole,
                bytes: raw.bytes.to_vec(),
                link,
            };
            current.next_seq = link.map(|l| l.seq + 1).or(current.next_seq.map(|s| s + 1));
            current.offset = current.lines.offset();
            return Ok(Some(item));
        }
    }
}

fn ended(dir: &Path, next: u64) -> Option<(u64, u64, bool)> {
    let (seq, Header { after, .. }) = read::header(dir, next).ok()?;
    let after = after?;
    Some((after.lines, seq, read::may_have_tail(after.ended)))
}

/// A checkpoint, or what is wrong with it, with its place.
pub(super) struct Signed {
    pub(super) file: String,
    pub(super) line: u64,
    pub(super) checkpoint: Result<Checkpoint, String>,
}

/// The latest checkpoint; `None` if there is no such file.
pub(super) fn latest(dir: &Path, key: &VerifyingKey) -> Result<Option<Signed>, ReadError> {
    let path = dir.join(CHECKPOINT);
    match fs::read(&path) {
        Ok(bytes) => {
            let checkpoint = open(&bytes, key);
            Ok(Some(Signed { file: CHECKPOINT.to_owned(), line: 1, checkpoint }))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(&path)(e)),
    }
}

fn open(note: &[u8], key: &VerifyingKey) -> Result<Checkpoint, String> {
    let note = std::str::from_utf8(note).map_err(|_| "the note is not UTF-8".to_owned())?;
    let checkpoint = key.open(note).and_then(Checkpoint::parse).map_err(|e| e.to_string())?;
    if checkpoint.origin == key.name() {
        Ok(checkpoint)
    } else {
        Err(format!("the checkpoint is of the log `{}`", checkpoint.origin))
    }
}

/// The checkpoints of all histories, in the order of the segments, as they were when this was made: what is signed while
/// the verifier reads may cover lines that it has not seen.
pub(super) struct Histories {
    left: VecDeque<(PathBuf, u64)>,
    current: Option<(String, Lines, u64)>,
}

impl Histories {
    pub(super) fn new(dir: &Path) -> Result<Histories, ReadError> {
        let mut left = VecDeque::new();
        for number in read::segments(dir)? {
            let path = dir.join(history_name(number));
            match fs::metadata(&path) {
                Ok(metadata) => left.push_back((path, metadata.len())),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(failed(&path)(e)),
            }
        }
        Ok(Histories { left, current: None })
    }

    /// The next one. A note that was being written when its file ended is none.
    pub(super) fn next(&mut self, key: &VerifyingKey) -> Result<Option<Signed>, ReadError> {
        loop {
            let Some((file, lines, len)) = &mut self.current else {
                let Some((path, len)) = self.left.pop_front() else { return Ok(None) };
                let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                self.current = Some((name, Lines::open(path)?, len));
                continue;
            };
            let mut note = Vec::new();
            let mut count = 0;
            // Origin, size, root, an empty line, one signature.
            while count < 5
                && let Some(raw) = lines.read_line()?
                && raw.whole
            {
                note.extend_from_slice(raw.bytes);
                note.push(b'\n');
                count += 1;
            }
            if count == 5 && lines.offset() <= *len {
                let (file, line) = (file.clone(), lines.number() - 4);
                return Ok(Some(Signed { file, line, checkpoint: open(&note, key) }));
            }
            self.current = None;
        }
    }
}
