//! Finding out, at opening, what the log is: the last segments are read from the one that the latest checkpoint
//! reaches into, and checked against it.
//!
//! Reads only; nothing is repaired or truncated. A torn tail is left where it is and named by the next segment's
//! header. Never here: reading the whole ledger (that is `verify`).

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::book::{After, Book, Ended};
use super::{OpenError, OpenIntent, Options, Recovered};
use crate::audit::note::{Checkpoint, SigningKey, VerifyingKey, is_plain};
use crate::audit::read::{self, CHECKPOINT, Lines, Records, segment_name};
use crate::audit::record;

/// The lines of one note in a history.
const NOTE_LINES: usize = 5;
/// How much of a history's end is looked at: many notes.
const HISTORY_END: u64 = 64 << 10;
const LOCK: &str = "lock";
/// Allocation and headers need this much at the least.
const LEAST: u64 = 64 << 10;

pub(super) struct Recovery {
    pub(super) book: Book,
    pub(super) after: Option<After>,
    pub(super) next_number: u64,
    pub(super) bytes: u64,
    pub(super) signed: u64,
    pub(super) recovered: Recovered,
}

pub(super) fn check_options(options: &Options, key: &SigningKey) -> Result<(), OpenError> {
    let bad = |text: String| Err(OpenError::Options(text));
    if !is_plain(&options.origin) {
        return bad(format!(
            "the ledger's origin `{}` must be 1 to 200 visible ASCII characters without `+`, `\"` and `\\`",
            options.origin
        ));
    }
    if key.verifying_key().name() != options.origin {
        let name = key.verifying_key().name();
        return bad(format!(
            "the signing key is `{name}`'s, the ledger is `{}`'s; use its own key",
            options.origin
        ));
    }
    if options.segment_bytes < LEAST || options.reserve_bytes < LEAST {
        return bad(format!("segments and reserve must be at least {LEAST} bytes"));
    }
    if options.max_record < 2048
        || options.max_record as u64 > options.segment_bytes.min(options.reserve_bytes) / 4
    {
        return bad(
            "the largest record must be at least 2 KiB and at most a quarter of segment and reserve".into()
        );
    }
    if options.queue == 0 {
        return bad("the ledger's queue must hold at least one record".into());
    }
    Ok(())
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> OpenError + '_ {
    |source| OpenError::Io { path: path.display().to_string(), source }
}

/// Makes the directory if need be, durably, and locks it for this process.
pub(super) fn lock(dir: &Path) -> Result<File, OpenError> {
    if !dir.is_dir() {
        DirBuilder::new().recursive(true).mode(0o750).create(dir).map_err(io(dir))?;
        if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
            File::open(parent).and_then(|p| p.sync_all()).map_err(io(parent))?;
        }
    }
    let path = dir.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .open(&path)
        .map_err(io(&path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked(dir.display().to_string())),
        Err(e) => Err(io(&path)(e.into())),
    }
}

fn damaged(file: &str, line: u64, why: impl Into<String>) -> OpenError {
    OpenError::Damaged { file: file.to_owned(), line, why: why.into() }
}

fn checkpoint(options: &Options, key: &VerifyingKey) -> Result<Option<Checkpoint>, OpenError> {
    let path = options.dir.join(CHECKPOINT);
    let note = match std::fs::read_to_string(&path) {
        Ok(note) => note,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(&path)(e)),
    };
    let checkpoint = Checkpoint::parse(key.open(&note)?)?;
    if checkpoint.origin != options.origin {
        return Err(damaged(CHECKPOINT, 1, format!("it is of the log `{}`", checkpoint.origin)));
    }
    Ok(Some(checkpoint))
}

/// How many records the newest whole checkpoint in the histories covers, and in which file it stands. A checkpoint comes
/// into a history only after it stands in `checkpoint`, so this is never more than that one covers.
fn newest_signed(dir: &Path, origin: &str) -> Result<(u64, String), OpenError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io(dir))? {
        let name = entry.map_err(io(dir))?.file_name();
        names.extend(name.to_str().filter(|name| name.ends_with(".checkpoints")).map(str::to_owned));
    }
    names.sort_unstable();
    // The newest may hold nothing whole yet.
    for name in names.into_iter().rev().take(2) {
        let path = dir.join(&name);
        let mut file = File::open(&path).map_err(io(&path))?;
        let len = file.metadata().map_err(io(&path))?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(HISTORY_END))).map_err(io(&path))?;
        let mut end = Vec::new();
        file.take(HISTORY_END).read_to_end(&mut end).map_err(io(&path))?;
        let lines: Vec<&[u8]> = end.split_inclusive(|byte| *byte == b'\n').collect();
        // A note begins with the log's name; the last one may be torn.
        let newest = lines.windows(NOTE_LINES).rev().find_map(|note| {
            let [name, size, .., last] = note else { return None };
            let whole = name.strip_suffix(b"\n")? == origin.as_bytes() && last.ends_with(b"\n");
            let size = std::str::from_utf8(size.strip_suffix(b"\n")?).ok()?.parse().ok()?;
            whole.then_some(size)
        });
        if let Some(size) = newest {
            return Ok((size, name));
        }
    }
    Ok((0, String::new()))
}

pub(super) fn recover(options: &Options, key: &VerifyingKey) -> Result<Recovery, OpenError> {
    let numbers = read::segments(&options.dir)?;
    let checkpoint = checkpoint(options, key)?;
    let signed = checkpoint.as_ref().map_or(0, |c| c.size);
    let (said, history) = newest_signed(&options.dir, &options.origin)?;
    if said > signed {
        let why = match checkpoint {
            None => format!("it is missing, and `{history}` says that {said} records were signed"),
            Some(_) => format!("it covers {signed} records, and `{history}` says that {said} were signed"),
        };
        return Err(damaged(CHECKPOINT, 0, why));
    }
    let Some(last) = numbers.last().copied() else {
        if signed > 0 {
            return Err(damaged(
                CHECKPOINT,
                2,
                format!("it covers {signed} records, but there is no segment"),
            ));
        }
        let recovered = Recovered { fresh: true, ..Recovered::default() };
        return Ok(Recovery {
            book: Book::default(),
            after: None,
            next_number: 1,
            bytes: 0,
            signed,
            recovered,
        });
    };
    let mut bytes = 0;
    for number in &numbers {
        let path = options.dir.join(segment_name(*number));
        bytes += std::fs::metadata(&path).map_err(io(&path))?.len();
    }
    // From the segment that the checkpoint reaches into; without one, the last.
    let mut start = numbers.len() - 1;
    while start > 0 {
        let Some(number) = numbers.get(start) else { break };
        if checkpoint.is_none() || read::header(&options.dir, *number)?.0 <= signed {
            break;
        }
        start -= 1;
    }
    let mut replay = Replay { options, checkpoint: checkpoint.as_ref(), book: None, tail: 0, end: 0 };
    let mut rest = numbers.iter().skip(start).copied().peekable();
    while let Some(number) = rest.next() {
        let end = match rest.peek() {
            Some(next) => read::header(&options.dir, *next)?.1.after.map(|after| after.lines),
            None => None,
        };
        replay.segment(number, end, rest.peek().is_none())?;
    }
    let (tail, end) = (replay.tail, replay.end);
    let Some(book) = replay.book else { return Err(damaged(&segment_name(last), 1, "the segment is empty")) };
    if book.size() < signed {
        let why = format!("the log ends with {} records, but the checkpoint covers {signed}", book.size());
        return Err(damaged(&segment_name(last), 0, why));
    }
    let recovered = Recovered {
        last_at_ms: book.binding_ms(),
        open_intents: open_intents(options, &book)?,
        fresh: false,
        dropped_tail_bytes: tail,
    };
    // Whole or not is all that matters to a reader: behind a closed segment's end there is nothing.
    let ended = if tail == 0 { Ended::Closed } else { Ended::Stopped };
    let after = After { segment: segment_name(last), ended, lines: end, fault: None };
    Ok(Recovery { book, after: Some(after), next_number: last + 1, bytes, signed, recovered })
}

struct Replay<'a> {
    options: &'a Options,
    checkpoint: Option<&'a Checkpoint>,
    book: Option<Book>,
    tail: u64,
    end: u64,
}

impl Replay<'_> {
    /// Takes up the lines of a segment; only the last one may end in what was never acknowledged.
    fn segment(&mut self, number: u64, end: Option<u64>, last: bool) -> Result<(), OpenError> {
        let name = segment_name(number);
        let mut lines = Lines::open(self.options.dir.join(&name))?;
        self.end = 0;
        while let Some(raw) = lines.read_line()? {
            if end.is_some_and(|end| raw.number > end) {
                break;
            }
            let parsed = if raw.whole { record::parse(raw.bytes) } else { Err("the line has no end") };
            let line = match parsed {
                Ok(line) => line,
                Err(why) if last && raw.number > 1 => {
                    let (number, offset) = (raw.number, raw.offset);
                    return self.torn(&name, number, offset, why, &mut lines);
                }
                Err(why) => return Err(damaged(&name, raw.number, why)),
            };
            let damaged = |why: &str| Err(damaged(&name, raw.number, why));
            if line.lead.log != self.options.origin {
                return damaged("the record is of another log");
            }
            if raw.number == 1 {
                let Some(header) = read::parse_header(&line) else {
                    return damaged("the first line is no segment header");
                };
                let Some(book) = Book::from_header(&line.lead, &header) else {
                    return damaged("the header's frontier does not fit its sequence number");
                };
                if self
                    .book
                    .as_ref()
                    .is_some_and(|b| b.frontier() != book.frontier() || b.prev() != book.prev())
                {
                    return damaged("the header does not go on where the segment before ends");
                }
                self.check_root(&book).or_else(damaged)?;
                self.book = Some(book);
            }
            let Some(book) = &mut self.book else { return damaged("no header") };
            if line.lead.seq != book.size() || line.lead.prev != book.prev() {
                return damaged("the record does not follow the one before it");
            }
            book.stage(&line.lead, line.hash(), false);
            book.keep();
            self.end = raw.number;
            if let Some(book) = &self.book {
                self.check_root(book).or_else(damaged)?;
            }
        }
        Ok(())
    }

    fn check_root(&self, book: &Book) -> Result<(), &'static str> {
        match self.checkpoint {
            Some(c) if c.size == book.size() && c.root != book.frontier().root() => {
                Err("the records up to here are not those that the checkpoint covers")
            }
            _ => Ok(()),
        }
    }

    /// Looks at what follows the last good line. One write was not acknowledged when the process ended, so all of it
    /// must be of one batch; a record of a later batch proves that an acknowledged one is damaged.
    fn torn(
        &mut self,
        name: &str,
        number: u64,
        offset: u64,
        why: &str,
        lines: &mut Lines,
    ) -> Result<(), OpenError> {
        let expected = self.book.as_ref().map_or(0, Book::size);
        while let Some(raw) = lines.read_line()? {
            if let Ok(line) = record::parse(raw.bytes)
                && line.lead.log == self.options.origin
                && line.lead.batch > expected
            {
                return Err(damaged(name, number, format!("{why}, and acknowledged records follow it")));
            }
        }
        self.tail = lines.offset() - offset;
        Ok(())
    }
}

/// Fetches the records of the open intents, from whichever segments hold them.
fn open_intents(options: &Options, book: &Book) -> Result<Vec<OpenIntent>, OpenError> {
    let intents = book.intents();
    let Some(first) = intents.first() else { return Ok(Vec::new()) };
    let mut found: Vec<OpenIntent> = Vec::with_capacity(intents.len());
    let mut wanted = intents.iter().peekable();
    let mut records = Records::from_seq(&options.dir, first.seq)?;
    while let Some(intent) = wanted.peek() {
        let line = records.next(|line, _, _| {
            let matches = line.lead.seq == intent.seq && line.lead.opens == Some(&intent.id);
            let open = line.open.map_or_else(String::new, |open| format!("{}{open}", record::OPEN));
            (line.lead.seq, matches.then(|| format!("{}{open}}}", line.leaf)))
        })?;
        match line {
            Some((_, Some(line))) => {
                let intent = (*intent).clone();
                found.push(OpenIntent { id: intent.id, seq: intent.seq, kind: intent.kind, line });
                wanted.next();
            }
            Some((seq, None)) if seq < intent.seq => {}
            _ => {
                let why =
                    format!("the intent `{}` is open, but its record {} is not there", intent.id, intent.seq);
                return Err(damaged(&options.dir.display().to_string(), 0, why));
            }
        }
    }
    Ok(found)
}
