//! The journal: the one way into a ledger. Callers hand over drafts and wait until their record is durable.
//!
//! One thread owns the files (`writer`). It writes all that waits in one write, flushes once, and answers all, in the
//! order of the log. After any failed write or flush the segment is sealed at the last acknowledged position and never
//! touched again; what waited is refused; the next segment names the seal. Never here: a retried flush, a clock, a
//! rule about what must be recorded.

pub mod book;
mod checkpoint;
pub mod disk;
mod draft;
mod recover;
mod shelf;
mod status;
mod writer;

use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use self::disk::Disk;
use super::note::{NoteError, SigningKey};
use super::read::ReadError;
use super::tree::Hash;

pub use self::book::CLOCK_ACCEPTED;
pub(crate) use self::draft::personal_digest;
pub use self::draft::{Class, Draft, Personal};
pub use self::status::{Health, Status};

/// Milliseconds since 1970 UTC, from whoever owns the clock.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The ledger's directory: on a disk that persists, this gateway's alone.
    pub dir: PathBuf,
    /// The log's name, such as `postern.example/gw1`; the signing key bears it too.
    pub origin: String,
    /// A segment is closed when it would outgrow this many bytes.
    pub segment_bytes: u64,
    /// Bytes set aside on disk for outcomes, ends and break-glass.
    pub reserve_bytes: u64,
    /// Ordinary records are refused when the segments would outgrow this many bytes.
    pub quota_bytes: Option<u64>,
    /// The largest line in bytes; longer strings in it are cut.
    pub max_record: usize,
    /// How many records may wait for the writer.
    pub queue: usize,
    /// How often a checkpoint is signed, if something was appended; zero: after each batch.
    pub checkpoint_every: Duration,
}

impl Options {
    /// The usual sizes: segments of 64 MiB, a reserve of 16 MiB, no quota, records of 32 KiB, a checkpoint a second.
    pub fn new(dir: PathBuf, origin: String) -> Options {
        Options {
            dir,
            origin,
            segment_bytes: 64 << 20,
            reserve_bytes: 16 << 20,
            quota_bytes: None,
            max_record: 32 << 10,
            queue: 4096,
            checkpoint_every: Duration::from_secs(1),
        }
    }

    /// How much room is allocated ahead of the writing.
    fn chunk(&self) -> u64 {
        self.segment_bytes.min((1 << 20).max(2 * self.max_record as u64))
    }
}

/// Why a journal was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Options that cannot work.
    #[error("{0}")]
    Options(String),
    /// Another process has it.
    #[error("the ledger `{0}` is in use by another process; each gateway needs a ledger of its own")]
    Locked(String),
    /// The system refused.
    #[error("the ledger at `{path}`: {source}")]
    Io {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something acknowledged is not there as it was.
    #[error(
        "the ledger is damaged: `{file}`, line {line}: {why}; run `postern audit verify`, and move the ledger aside only when its loss is understood"
    )]
    Damaged {
        /// Which file.
        file: String,
        /// Which line, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// The latest checkpoint cannot be trusted.
    #[error("the ledger's `checkpoint`: {0}")]
    Checkpoint(#[from] NoteError),
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why a record was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Too many records wait for the disk, or too many intents are open.
    #[error("the ledger is busy; try again")]
    Busy,
    /// No room but the reserve.
    #[error("the ledger's disk is full; make room, service resumes by itself")]
    Full,
    /// The quota is used up.
    #[error("the ledger's quota is used up; raise `ledger.quota`")]
    Quota,
    /// The record is too large even after cutting.
    #[error("the record needs {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// What it would take.
        bytes: usize,
        /// What it may take.
        max: usize,
    },
    /// The draft breaks a rule of the format.
    #[error("not a record: {0}")]
    BadDraft(String),
    /// Writing or flushing failed. The record may be on the disk, but it is not part of the log.
    #[error("the ledger could not be written: {0}")]
    Failed(String),
    /// The journal was closed or its writer died.
    #[error("the ledger is closed")]
    Stopped,
}

impl AppendError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            AppendError::Busy => "ledger_busy",
            AppendError::Full => "ledger_full",
            AppendError::Quota => "ledger_quota",
            AppendError::TooLarge { .. } => "ledger_record_too_large",
            AppendError::BadDraft(_) => "ledger_bad_record",
            AppendError::Failed(_) => "ledger_failed",
            AppendError::Stopped => "ledger_stopped",
        }
    }
}

/// The proof, minted by the journal alone, that a record is durable (law 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    log: Arc<str>,
    seq: u64,
    leaf: Hash,
}

impl Receipt {
    /// The log's name.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// The record's place in the log.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The record's leaf hash.
    pub fn leaf(&self) -> Hash {
        self.leaf
    }
}

/// An intent that was found without an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenIntent {
    /// Its id.
    pub id: String,
    /// Its record's place in the log.
    pub seq: u64,
    /// Its record's kind.
    pub kind: String,
    /// Its record, whole.
    pub line: String,
}

/// What was found when the ledger was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The latest time that any record bears (for the design's rule 7); where a clock behind the ledger was accepted, any
    /// from there on.
    pub last_at_ms: Option<i64>,
    /// Intents without outcome, oldest first.
    pub open_intents: Vec<OpenIntent>,
    /// Whether there was no ledger before.
    pub fresh: bool,
    /// Bytes at the end of the last segment that were never acknowledged and are not part of the log.
    pub dropped_tail_bytes: u64,
}

enum Message {
    Append(draft::Ready, oneshot::Sender<Result<Receipt, AppendError>>),
    /// Something lies on the shelf; it has time.
    Wake,
    /// Somebody waits until nothing lies there.
    Rest,
    Close,
}

/// A ledger's directory, held for this process: nobody else appends, and nobody else builds anything from it, while this
/// lives. Nothing was read or written yet.
#[derive(Debug)]
pub struct Claim {
    dir: PathBuf,
    lock: Arc<std::fs::File>,
}

impl Claim {
    /// Makes the directory if need be and locks it.
    ///
    /// # Errors
    /// [`OpenError::Locked`] and [`OpenError::Io`].
    pub fn of(dir: &std::path::Path) -> Result<Claim, OpenError> {
        Ok(Claim { dir: dir.to_owned(), lock: Arc::new(recover::lock(dir)?) })
    }
}

/// A ledger that is open for appending.
pub struct Journal {
    queue: SyncSender<Message>,
    shelf: Arc<shelf::Shelf>,
    shared: Arc<status::Shared>,
    max_record: usize,
    origin: String,
    dir: PathBuf,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Held for as long as the journal lives.
    _lock: Arc<std::fs::File>,
}

impl Journal {
    /// Opens a ledger, or begins one, and starts its writer.
    ///
    /// Only the last segments are read: those that the latest checkpoint does not cover.
    ///
    /// # Errors
    /// [`OpenError`]. What was acknowledged and is no longer there is an error, never passed over.
    pub fn open(
        options: Options,
        key: SigningKey,
        clock: Clock,
        disk: Arc<dyn Disk>,
    ) -> Result<(Journal, Recovered), OpenError> {
        recover::check_options(&options, &key)?;
        let claim = Claim::of(&options.dir)?;
        Journal::open_claimed(claim, options, key, clock, disk)
    }

    /// The same for a directory that was claimed before.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_claimed(
        claim: Claim,
        options: Options,
        key: SigningKey,
        clock: Clock,
        disk: Arc<dyn Disk>,
    ) -> Result<(Journal, Recovered), OpenError> {
        recover::check_options(&options, &key)?;
        if claim.dir != options.dir {
            return Err(OpenError::Options("the ledger that was claimed is another one".into()));
        }
        let lock = claim.lock;
        let recovery = recover::recover(&options, key.verifying_key())?;
        let recovered = recovery.recovered.clone();
        let shared = Arc::new(status::Shared::default());
        let (queue, receiver) = sync_channel(options.queue);
        let (max_record, dir, origin) = (options.max_record, options.dir.clone(), options.origin.clone());
        let shelf = Arc::new(shelf::Shelf::default());
        let sides = (Arc::clone(&shared), Arc::clone(&shelf));
        let writer = writer::Writer::start(options, key, clock, disk, sides, recovery)?;
        let held = Arc::clone(&lock);
        let thread = std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || {
                let _held = held;
                writer.run(&receiver);
            })
            .map_err(|source| OpenError::Io { path: "the writer's thread".into(), source })?;
        let journal = Journal {
            queue,
            shelf,
            shared,
            max_record,
            origin,
            dir,
            thread: Mutex::new(Some(thread)),
            _lock: lock,
        };
        Ok((journal, recovered))
    }

    /// Appends a record and waits until it is durable.
    ///
    /// A caller that stops waiting does not take the record back.
    ///
    /// # Errors
    /// [`AppendError`]; only a [`Receipt`] says that the record is part of the log.
    pub async fn append(&self, draft: Draft) -> Result<Receipt, AppendError> {
        self.submit(draft)?.await.unwrap_or(Err(AppendError::Stopped))
    }

    /// Like [`Journal::append`], for threads that are no runtime's.
    ///
    /// # Errors
    /// [`AppendError`].
    pub fn append_blocking(&self, draft: Draft) -> Result<Receipt, AppendError> {
        self.submit(draft)?.blocking_recv().unwrap_or(Err(AppendError::Stopped))
    }

    /// Leaves a record that nobody waits for. It is written in order with others left here, at the latest a few
    /// milliseconds from now; before any record that is appended after it. Where the ledger refuses it, it is tried
    /// again as a new record for as long as it matters: a [`Class::Reserved`] record and one that closes an intent until it
    /// is written, any other not at all. A crash before that loses it; the next start finds the intent open.
    ///
    /// # Errors
    /// [`AppendError::TooLarge`] and [`AppendError::BadDraft`]: it will never be a record. [`AppendError::Busy`]: too many
    /// that may be lost wait already, and so this one was.
    pub fn leave(&self, draft: Draft) -> Result<(), AppendError> {
        let ready = draft::ready(draft, self.max_record)?;
        self.lay_down(ready).map_err(|_| AppendError::Busy)
    }

    /// Leaves a record that may be lost, and what is done then: now, where too many wait already, or on the writer's
    /// thread when the ledger refuses it.
    ///
    /// # Errors
    /// [`AppendError::TooLarge`] and [`AppendError::BadDraft`]: it will never be a record.
    pub fn leave_or(&self, draft: Draft, lost: impl FnOnce() + Send + 'static) -> Result<(), AppendError> {
        let ready = draft::ready(draft, self.max_record)?;
        if let Err(ready) = self.lay_down(draft::Ready { lost: Some(Box::new(lost)), ..ready }) {
            ready.lose();
        }
        Ok(())
    }

    #[expect(clippy::result_large_err, reason = "the record comes back to whoever left it")]
    fn lay_down(&self, ready: draft::Ready) -> Result<(), draft::Ready> {
        if self.shelf.put(ready)? {
            // A full queue wakes the writer too; a writer that is gone needs no waking.
            let _ = self.queue.try_send(Message::Wake);
        }
        Ok(())
    }

    /// Waits until every record that was left is written, or the journal closed.
    pub async fn rest(&self) {
        let rested = self.shelf.rest();
        // As above: whoever empties the queue looks at the shelf as well.
        let _ = self.queue.try_send(Message::Rest);
        let _ = rested.await;
    }

    fn submit(&self, draft: Draft) -> Result<oneshot::Receiver<Result<Receipt, AppendError>>, AppendError> {
        let ready = draft::ready(draft, self.max_record)?;
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Message::Append(ready, reply)).map_err(|e| match e {
            TrySendError::Full(_) => AppendError::Busy,
            TrySendError::Disconnected(_) => AppendError::Stopped,
        })?;
        Ok(answer)
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Where its segments lie, for whoever reads.
    pub fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    /// How the ledger is; takes no lock.
    pub fn status(&self) -> Status {
        self.shared.read()
    }

    /// Tells how many records are durable, also of a journal that was closed.
    pub fn records(&self) -> impl Fn() -> u64 + Send + Sync + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.read().size
    }

    /// Whether outcomes can be written: `false` once a record that may use the reserve was refused, until one is taken
    /// again, and after the end. Takes no lock.
    pub fn takes_outcomes(&self) -> bool {
        self.shared.takes_outcomes()
    }

    /// Writes what waits, signs the last checkpoint and ends the writer. Later appends answer
    /// [`AppendError::Stopped`].
    pub fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // An error means that the writer is gone already.
            let _ = self.queue.send(Message::Close);
            let _ = thread.join();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}
