//! The writer: one thread that owns the files, gives out sequence numbers, writes batches and answers.
//!
//! What it promises: an answer only after the flush; in the order of the log; after a failure the file is never
//! touched again; ordinary records stop before the reserve is touched. Never here: reading.

mod room;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;

use self::room::lacks_room;
use super::book::{After, Book, Ended, Header};
use super::checkpoint::Checkpoints;
use super::disk::{Disk, DiskFile, write_all};
use super::draft::{Class, Ready};
use super::recover::Recovery;
use super::shelf::{LINGER, LONGEST, Shelf};
use super::status::{Health, Shared};
use super::{AppendError, Clock, Message, OpenError, Options, Receipt};
use crate::audit::note::SigningKey;
use crate::audit::read::segment_name;
use crate::audit::record::{Lead, MAX_MS, OPEN, SEGMENT, push_lead};
use crate::audit::tree::leaf_hash;

/// A batch is written when it has this many bytes, however many records wait.
const MAX_BATCH: usize = 1 << 20;
/// Bounds the headers and the memory of the writer.
const MAX_OPEN_INTENTS: usize = 1 << 16;
/// The file that holds the reserve: allocated, empty.
const RESERVE: &str = "reserve";
/// A segment before it has its name.
const NEXT: &str = "next.tmp";

struct Segment {
    number: u64,
    file: Box<dyn DiskFile>,
    /// The end of the last acknowledged record.
    position: u64,
    /// Up to where room is set aside.
    allocated: u64,
    /// Where the header ends.
    header: u64,
    /// The header's sequence number.
    first: u64,
}

type Reply = oneshot::Sender<Result<Receipt, AppendError>>;

/// A record of the batch, until it is durable.
enum Waiting {
    /// Somebody waits for it.
    Asked(Reply, Receipt),
    /// Nobody does: it is kept until then, to be tried again.
    Left(Ready),
}

pub(super) struct Writer {
    options: Options,
    origin: Arc<str>,
    clock: Clock,
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    shelf: Arc<Shelf>,
    /// How long the shelf is left alone while nobody asks.
    linger: Duration,
    checkpoints: Checkpoints,
    book: Book,
    segment: Option<Segment>,
    after: Option<After>,
    next_number: u64,
    reserve: Option<Box<dyn DiskFile>>,
    buffer: Vec<u8>,
    waiting: Vec<Waiting>,
    /// Bytes of all closed segments.
    bytes: u64,
    no_room: bool,
    tried_ms: i64,
    signed_ms: i64,
}

/// Says that the writer is gone, however it went.
struct Farewell(Arc<Shared>, Arc<Shelf>);

impl Drop for Farewell {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set_error("the writer", &"panicked");
        }
        self.0.set_health(Health::Stopped);
        self.1.close();
    }
}

impl Writer {
    /// Takes up the reserve and, if there is room, begins a segment. On a full disk it starts all the same.
    pub(super) fn start(
        options: Options,
        key: SigningKey,
        clock: Clock,
        disk: Arc<dyn Disk>,
        (shared, shelf): (Arc<Shared>, Arc<Shelf>),
        recovery: Recovery,
    ) -> Result<Writer, OpenError> {
        let now = clock();
        let mut writer = Writer {
            origin: Arc::from(options.origin.as_str()),
            checkpoints: Checkpoints::new(options.dir.clone(), key, Arc::clone(&disk), recovery.signed),
            options,
            clock,
            disk,
            shared,
            shelf,
            linger: LINGER,
            book: recovery.book,
            segment: None,
            after: recovery.after,
            next_number: recovery.next_number,
            reserve: None,
            buffer: Vec::with_capacity(MAX_BATCH + (64 << 10)),
            waiting: Vec::new(),
            bytes: recovery.bytes,
            no_room: false,
            tried_ms: now,
            signed_ms: now,
        };
        let begun = match writer.take_up_reserve() {
            Ok(()) => writer.open_segment(Class::Ordinary),
            Err(e) => Err(e),
        };
        match begun {
            Ok(()) => {}
            Err(e) if lacks_room(&e) => writer.set_health(Health::Full),
            Err(source) => {
                return Err(OpenError::Io { path: writer.options.dir.display().to_string(), source });
            }
        }
        writer.publish();
        Ok(writer)
    }

    pub(super) fn run(mut self, queue: &Receiver<Message>) {
        let _farewell = Farewell(Arc::clone(&self.shared), Arc::clone(&self.shelf));
        self.sign();
        // After a batch the writer looks at the shelf once more before it sleeps, so that nobody has to wake it for a
        // record that has time.
        let mut awake = true;
        loop {
            let stop = match self.next(queue, awake) {
                Ok(Message::Append(ready, reply)) => self.batch(Some((ready, reply)), queue),
                Ok(Message::Rest) => self.batch(None, queue),
                Ok(Message::Wake) => false,
                Err(RecvTimeoutError::Timeout) if !self.shelf.is_empty() => {
                    let stop = self.batch(None, queue);
                    if !self.shelf.is_empty() {
                        self.look_for_room();
                    }
                    stop
                }
                Err(RecvTimeoutError::Timeout) => {
                    if !awake {
                        self.sign();
                        self.look_for_room();
                    }
                    awake = false;
                    continue;
                }
                Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => true,
            };
            if stop {
                break;
            }
            awake = true;
        }
        self.clear_shelf();
        self.end_segment();
        self.publish();
    }

    /// Waits for what comes next, as long as there is nothing else to do.
    fn next(&self, queue: &Receiver<Message>, awake: bool) -> Result<Message, RecvTimeoutError> {
        if awake || !self.shelf.may_sleep() {
            return queue.recv_timeout(self.linger);
        }
        let at_rest =
            self.checkpoints.signed() == self.book.size() && self.shared.health() == Health::Healthy;
        if at_rest {
            return queue.recv().map_err(|_| RecvTimeoutError::Disconnected);
        }
        let every = self.options.checkpoint_every;
        queue.recv_timeout(if every.is_zero() { Duration::from_secs(1) } else { every })
    }

    /// Takes up what was left on the shelf, this record and all that wait behind it; answers whether to stop.
    fn batch(&mut self, first: Option<(Ready, Reply)>, queue: &Receiver<Message>) -> bool {
        self.forget_lack_of_room();
        let mut early = Vec::new();
        let mut refused = self.take_up_shelf(Some(&mut early));
        if let Some((ready, reply)) = first {
            self.answer(ready, reply);
        }
        let mut stop = false;
        let mut drained = false;
        while self.buffer.len() < MAX_BATCH {
            match queue.try_recv() {
                Ok(Message::Append(ready, reply)) => self.answer(ready, reply),
                Ok(Message::Wake | Message::Rest) => {}
                Ok(Message::Close) => {
                    stop = true;
                    break;
                }
                Err(_) => {
                    drained = true;
                    break;
                }
            }
        }
        if !early.is_empty() {
            self.shelf.put_back(early.into_iter());
            if drained {
                refused |= self.take_up_shelf(None);
            }
        }
        refused |= !self.commit();
        self.publish();
        self.linger = if refused { (self.linger * 2).min(LONGEST) } else { LINGER };
        self.shelf.tell();
        let every = self.options.checkpoint_every;
        let elapsed = (self.clock)().saturating_sub(self.signed_ms);
        if every.is_zero() || elapsed < 0 || elapsed.unsigned_abs() as u128 >= every.as_millis() {
            self.sign();
        }
        stop
    }

    /// Takes up what was left, in order, as far as it goes into the batch; answers whether any of it was refused. An
    /// outcome whose intent is not open goes to `early`: the intent may still stand in the queue, asked for by a task that
    /// was dropped and left the outcome in its stead.
    fn take_up_shelf(&mut self, mut early: Option<&mut Vec<Ready>>) -> bool {
        while self.buffer.len() < MAX_BATCH
            && let Some(ready) = self.shelf.take()
        {
            if let Some(early) = &mut early
                && ready.closes.as_deref().is_some_and(|id| !self.book.is_open(id))
            {
                early.push(ready);
            } else if self.add(&ready).is_ok() {
                self.waiting.push(Waiting::Left(ready));
            } else if ready.matters() {
                self.shelf.put_back(std::iter::once(ready));
                return true;
            } else {
                ready.lose();
            }
        }
        false
    }

    /// At the end: one try for everything that was left.
    fn clear_shelf(&mut self) {
        while !self.shelf.is_empty() {
            if self.take_up_shelf(None) || !self.commit() {
                break;
            }
        }
        self.commit();
        self.shelf.tell();
    }

    /// Adds a record that somebody waits for, or says at once why not.
    fn answer(&mut self, ready: Ready, reply: Reply) {
        match self.add(&ready) {
            Ok(receipt) => self.waiting.push(Waiting::Asked(reply, receipt)),
            // A caller that went away needs no answer, here and below.
            Err(e) => drop(reply.send(Err(e))),
        }
    }

    /// Gives a record its place and puts its line into the batch, or refuses it.
    fn add(&mut self, ready: &Ready) -> Result<Receipt, AppendError> {
        let added = self.place(ready);
        if added.is_err() && ready.class == Class::Reserved {
            self.shared.set_no_outcomes(true);
        }
        added
    }

    fn place(&mut self, ready: &Ready) -> Result<Receipt, AppendError> {
        let crowded = ready.opens.is_some()
            && ready.class != Class::Reserved
            && self.book.open_intents() >= MAX_OPEN_INTENTS;
        if crowded {
            return Err(AppendError::Busy);
        }
        self.make_room(ready.bound as u64, ready.class)?;
        if ready.class == Class::Ordinary && self.shared.health() != Health::Healthy {
            self.set_health(Health::Healthy);
        }
        let seq = self.book.size();
        let lead = Lead {
            log: &self.origin,
            seq,
            batch: seq - self.waiting.len() as u64,
            at_ms: ready.at_ms,
            kind: ready.kind,
            session: ready.session.as_deref().map(|s| (s, self.book.next_in_session(s))),
            opens: ready.opens.as_deref(),
            closes: ready.closes.as_deref(),
            prev: self.book.prev(),
        };
        let start = self.buffer.len();
        push_lead(&mut self.buffer, &lead);
        let (leaf, open) = ready.tail.split_at_checked(ready.leaf_tail).unwrap_or((&ready.tail, &[]));
        self.buffer.extend_from_slice(leaf);
        let leaf = leaf_hash(self.buffer.get(start..).unwrap_or_default());
        self.buffer.extend_from_slice(open);
        self.buffer.extend_from_slice(b"}\n");
        self.book.stage(&lead, leaf, ready.ends_session);
        Ok(Receipt { log: Arc::clone(&self.origin), seq, leaf })
    }

    /// Writes the batch, flushes it once and answers; says whether it is durable.
    fn commit(&mut self) -> bool {
        if self.waiting.is_empty() {
            return true;
        }
        let result = match &mut self.segment {
            Some(segment) => {
                write_all(&mut *segment.file, &self.buffer).and_then(|()| segment.file.sync_data())
            }
            None => Err(io::Error::other("no segment")),
        };
        match result {
            Ok(()) => {
                if let Some(segment) = &mut self.segment {
                    segment.position += self.buffer.len() as u64;
                }
                self.buffer.clear();
                self.book.keep();
                self.publish();
                if !self.waiting.is_empty() {
                    self.shared.set_no_outcomes(false);
                }
                for waiting in self.waiting.drain(..) {
                    if let Waiting::Asked(reply, receipt) = waiting {
                        let _ = reply.send(Ok(receipt));
                    }
                }
                true
            }
            Err(e) => {
                self.seal(&e);
                false
            }
        }
    }

    /// A write or flush failed: nobody knows what of the batch is on the disk. The segment ends where it was last
    /// acknowledged, its file is not touched again, and a new one says so.
    fn seal(&mut self, error: &io::Error) {
        self.shared.set_error("writing the ledger", error);
        self.set_health(Health::Broken);
        self.book.take_back();
        self.buffer.clear();
        if let Some(segment) = self.segment.take() {
            self.bytes += segment.position;
            self.after = Some(After {
                segment: segment_name(segment.number),
                ended: Ended::Sealed,
                lines: self.book.size() - segment.first,
                fault: Some(error.to_string()),
            });
        }
        let mut left = Vec::new();
        for waiting in self.waiting.drain(..) {
            match waiting {
                Waiting::Asked(reply, _) => drop(reply.send(Err(AppendError::Failed(error.to_string())))),
                Waiting::Left(ready) if ready.matters() => left.push(ready),
                Waiting::Left(ready) => ready.lose(),
            }
        }
        self.shelf.put_back(left.into_iter());
        // Failing again is no worse: the next append tries once more.
        if self.open_segment(Class::Ordinary).is_err() {
            self.shared.set_no_outcomes(true);
        }
    }

    /// Ends the current segment in order.
    fn end_segment(&mut self) {
        self.sign();
        if let Err(e) = self.checkpoints.end_history() {
            self.shared.set_error("the history of checkpoints", &e);
        }
        if let Some(mut segment) = self.segment.take() {
            // All of it is durable; what fails here costs room and nothing else.
            if let Err(e) = segment.file.release(segment.position) {
                self.shared.set_error("giving back room", &e);
            }
            self.bytes += segment.position;
            self.after = Some(After {
                segment: segment_name(segment.number),
                ended: Ended::Closed,
                lines: self.book.size() - segment.first,
                fault: None,
            });
        }
    }

    /// Begins a segment: its header is durable before it has its name, so a segment's first line is never torn.
    fn open_segment(&mut self, class: Class) -> io::Result<()> {
        let number = self.next_number;
        let at_ms = (self.clock)().clamp(0, MAX_MS);
        let header = self.book.header(number, self.after.clone(), at_ms);
        let origin = Arc::clone(&self.origin);
        let lead = Lead {
            log: &origin,
            seq: self.book.size(),
            batch: self.book.size(),
            at_ms,
            kind: SEGMENT,
            session: None,
            opens: None,
            closes: None,
            prev: self.book.prev(),
        };
        let line = header_line(&lead, &header)?;
        let leaf = leaf_hash(line.strip_suffix(b"}\n").unwrap_or(&line));
        let len = line.len() as u64;
        let (mut file, path, allocated) = self.allocated_file(len, class)?;
        self.book.stage(&lead, leaf, false);
        let dir = &self.options.dir;
        let result = write_all(&mut *file, &line)
            .and_then(|()| file.sync_data())
            .and_then(|()| self.disk.rename(&path, &dir.join(segment_name(number))))
            .and_then(|()| self.disk.sync_dir(dir));
        if let Err(e) = result {
            self.book.take_back();
            self.shared.set_error("beginning a segment", &e);
            // It never became part of the log; what cannot be removed is replaced at the next try.
            let _ = self.disk.remove(&path);
            return Err(e);
        }
        self.book.keep();
        self.after = None;
        self.next_number += 1;
        self.segment = Some(Segment { number, file, position: len, allocated, header: len, first: lead.seq });
        let health = if self.reserve.is_some() { Health::Healthy } else { Health::Full };
        self.set_health(health);
        self.publish();
        Ok(())
    }

    fn sign(&mut self) {
        self.signed_ms = (self.clock)();
        let number = self.segment.as_ref().map_or(self.next_number.saturating_sub(1), |s| s.number);
        if let Err(e) = self.checkpoints.sign(self.book.frontier(), number) {
            self.shared.set_error("signing a checkpoint", &e);
        }
        self.shared.signed.store(self.checkpoints.signed(), Ordering::Relaxed);
        self.look_for_shortage();
    }

    fn total(&self) -> u64 {
        self.bytes + self.segment.as_ref().map_or(0, |s| s.position)
    }

    fn set_health(&self, health: Health) {
        self.shared.set_health(health);
    }

    fn publish(&self) {
        let shared = &self.shared;
        shared.size.store(self.book.size(), Ordering::Relaxed);
        shared.open_intents.store(self.book.open_intents() as u64, Ordering::Relaxed);
        shared.bytes.store(self.total(), Ordering::Relaxed);
        if let Some(segment) = &self.segment {
            shared.segment.store(segment.number, Ordering::Relaxed);
            shared.position.store(segment.position, Ordering::Relaxed);
        }
    }
}

fn header_line(lead: &Lead<'_>, header: &Header) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    push_lead(&mut line, lead);
    // As in every body: the leaf ends at the first `,"open":`, and a session might be called that.
    let body = serde_json::to_string(header).map_err(io::Error::other)?.replace(OPEN, ",\"\\u006fpen\":");
    line.push(b',');
    line.extend_from_slice(body.strip_prefix('{').unwrap_or(&body).as_bytes());
    line.push(b'\n');
    Ok(line)
}
