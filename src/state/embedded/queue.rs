//! A bounded queue between callers that must never wait and a thread that may.
//!
//! Never here: what the jobs are.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Why a job was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// As much is waiting as may.
    Busy,
    /// Nothing is taken any more.
    Closed,
}

#[derive(Debug)]
pub(super) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    news: Condvar,
    most: usize,
}

#[derive(Debug)]
struct Inner<T> {
    jobs: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new(most: usize) -> Self {
        Self { inner: Mutex::new(Inner { jobs: VecDeque::new(), closed: false }), news: Condvar::new(), most }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // Nothing panics while the lock is held; a list of jobs has no half-done state anyway.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job, or says at once why not.
    pub(super) fn push(&self, job: T) -> Result<(), Full> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(Full::Closed);
        }
        if inner.jobs.len() >= self.most {
            return Err(Full::Busy);
        }
        inner.jobs.push_back(job);
        self.news.notify_one();
        Ok(())
    }

    /// Takes nothing more; what waits is still handed out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.news.notify_all();
    }

    /// The next job; `None` once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<T> {
        let mut inner = self.lock();
        loop {
            if let Some(job) = inner.jobs.pop_front() {
                return Some(job);
            }
            if inner.closed {
                return None;
            }
            inner = self.news.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until something is there, then takes up to `most`; empty once the queue is closed and empty.
    pub(super) fn take_many(&self, most: usize) -> Vec<T> {
        let Some(first) = self.take() else { return Vec::new() };
        let mut jobs = vec![first];
        let mut inner = self.lock();
        let more = inner.jobs.len().min(most.saturating_sub(1));
        jobs.extend(inner.jobs.drain(..more));
        jobs
    }

    /// Whatever waits now.
    pub(super) fn drain(&self) -> Vec<T> {
        self.lock().jobs.drain(..).collect()
    }

    /// Waits this long, whatever comes in, unless the queue closes. True when it is closed.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let inner = self.lock();
        let (inner, _) = self
            .news
            .wait_timeout_while(inner, time, |inner| !inner.closed)
            .unwrap_or_else(PoisonError::into_inner);
        inner.closed
    }
}
