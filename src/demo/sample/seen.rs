//! The application's log of received requests: what reached it, from whom, and how far it got.
//!
//! The demo prints it to show what the application heard, and tests count on it. It is bounded and in memory; it is
//! no audit record and never will be one.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Method;
use http::request::Parts;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use super::answer::{Answer, Content};
use super::assertion::Who;

/// How many requests the log keeps.
pub const KEPT: usize = 512;

/// One received request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Counted from 1 since the start.
    pub number: u64,
    /// When its head arrived, in seconds since 1970 UTC.
    pub at: i64,
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, without the question mark.
    pub query: Option<String>,
    /// Who the application believed it was; `None` where it believed nobody.
    pub who: Option<Who>,
    /// The status answered; `None` while there is no answer.
    pub status: Option<u16>,
    /// Bytes of the request's body taken so far.
    pub received: u64,
    /// Bytes of the answer's body handed to the connection so far.
    pub sent: u64,
    /// Whether and how it ended.
    pub end: End,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Still under way.
    Open,
    /// The whole answer was handed over.
    Complete,
    /// The connection went away before that.
    Cut,
}

/// The log itself.
#[derive(Default)]
pub(super) struct Log {
    count: AtomicU64,
    entries: Mutex<VecDeque<Arc<Entry>>>,
}

/// One line of the log, still moving while its request is under way.
struct Entry {
    number: u64,
    at: i64,
    method: String,
    path: String,
    query: Option<String>,
    who: OnceLock<Who>,
    status: AtomicU16,
    received: AtomicU64,
    sent: AtomicU64,
    end: OnceLock<End>,
    /// The request's body broke off, so that no answer can make the request complete.
    broken: AtomicBool,
}

impl Log {
    /// Writes down that a request's head arrived.
    pub(super) fn open(log: &Arc<Self>, head: &Parts, at: i64) -> Trace {
        let mut entries = log.entries();
        let entry = Arc::new(Entry {
            number: log.count.fetch_add(1, Ordering::Relaxed) + 1,
            at,
            method: head.method.as_str().to_owned(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().map(str::to_owned),
            who: OnceLock::new(),
            status: AtomicU16::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            end: OnceLock::new(),
            broken: AtomicBool::new(false),
        });
        if entries.len() >= KEPT {
            entries.pop_front();
        }
        entries.push_back(Arc::clone(&entry));
        Trace { entry }
    }

    pub(super) fn list(&self) -> Vec<Seen> {
        self.entries().iter().map(|entry| entry.seen()).collect()
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn entries(&self) -> MutexGuard<'_, VecDeque<Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn seen(&self) -> Seen {
        let status = self.status.load(Ordering::Relaxed);
        Seen {
            number: self.number,
            at: self.at,
            method: self.method.clone(),
            path: self.path.clone(),
            query: self.query.clone(),
            who: self.who.get().cloned(),
            status: (status != 0).then_some(status),
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            end: self.end.get().copied().unwrap_or(End::Open),
        }
    }

    /// The first end stands.
    fn close(&self, end: End) {
        let end = if self.broken.load(Ordering::Relaxed) { End::Cut } else { end };
        let _ = self.end.set(end);
    }
}

/// A request under way. When it is dropped before its end was reached, the request was cut.
pub(super) struct Trace {
    entry: Arc<Entry>,
}

impl Trace {
    pub(super) fn believed(&self, who: Who) {
        let _ = self.entry.who.set(who);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.entry.received.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn broke(&self) {
        self.entry.broken.store(true, Ordering::Relaxed);
    }

    /// The answer, counted from here on until its last byte.
    pub(super) fn into_answer(self, answer: Answer, method: &Method) -> Answer {
        self.entry.status.store(answer.status().as_u16(), Ordering::Relaxed);
        // The body of an answer to `HEAD` is never asked for.
        if *method == Method::HEAD {
            self.entry.close(End::Complete);
        }
        answer.map(|inner| Counted { trace: self, inner }.boxed_unsync())
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.entry.close(End::Cut);
    }
}

/// An answer's body that counts what is taken from it.
struct Counted {
    inner: Content,
    trace: Trace,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            self.trace.entry.sent.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        if matches!(polled, Poll::Ready(None)) {
            self.trace.entry.close(End::Complete);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // A body whose end is known beforehand is not asked again after its last piece.
        if self.inner.is_end_stream() {
            self.trace.entry.close(End::Complete);
        }
    }
}
