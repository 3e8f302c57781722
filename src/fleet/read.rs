//! Reading this gateway's own ledger for somebody who may: a page, or on as it is written. Turns bound how much of it is read at the
//! same time.
//!
//! Never here: who may.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::Semaphore;

use crate::audit::{
    journal::Journal,
    own::{self, Filters, Stretch, Wanted},
    read::{Place, ReadError},
};

use super::{
    Fleet, Ledger,
    words::{Asked, LIMIT, LINE_BYTES, Mark, PAGE_BYTES, Part},
};

/// Pages that are read for others at the same time, and lines of what is followed. Each has turns of its own, so that whoever follows
/// keeps nobody from a page.
const AT_ONCE: usize = 2;
/// How many follow at the same time.
const FOLLOWING: usize = 256;
/// Records of one line of what is followed.
const LINE: usize = 100;

/// See the module's header.
pub(super) struct Turns {
    pub(super) pages: Arc<Semaphore>,
    pub(super) lines: Arc<Semaphore>,
    pub(super) following: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Turns {
        let turns = |count| Arc::new(Semaphore::new(count));
        Turns { pages: turns(AT_ONCE), lines: turns(AT_ONCE), following: turns(FOLLOWING) }
    }
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageFault {
    /// The place is behind the end, so it is of another ledger of that name.
    #[error("the place is behind the end of this ledger")]
    OtherLedger,
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What is to be read first, of a ledger of this name and size.
fn begin(asked: &Asked, log: &str, size: u64) -> Result<(Option<u64>, Filters), PageFault> {
    let place = asked.places.get(&Mark::of(log)).copied();
    if place.is_some_and(|place| place > size) {
        return Err(PageFault::OtherLedger);
    }
    let mut filters = asked.filters.clone();
    if place.is_none() {
        filters.since = filters.since.max(asked.begin);
    }
    Ok((place.and_then(|place| place.checked_sub(1)), filters))
}

/// Where to go on behind what was looked at.
fn next(read: &Stretch, size: u64) -> u64 {
    if read.complete { size } else { read.last.map_or(0, |last| last.saturating_add(1)) }
}

/// One page of a ledger. It reads files: on a thread that may wait.
pub(super) fn page(journal: &Journal, gateway: &str, asked: &Asked) -> Result<(Part, Stretch), PageFault> {
    let (log, size) = (journal.origin(), journal.status().size);
    let (after, filters) = begin(asked, log, size)?;
    let wanted = Wanted {
        dir: journal.dir().to_owned(),
        filters,
        after,
        limit: asked.limit.min(LIMIT),
        bytes: PAGE_BYTES,
        size,
        place: None,
    };
    let mut read = own::read_on(&wanted)?;
    let part = Part {
        gateway: gateway.to_owned(),
        log: log.to_owned(),
        size,
        items: std::mem::take(&mut read.items),
        next: next(&read, size),
        complete: read.complete,
        until: read.at_ms.filter(|_| !read.complete),
    };
    Ok((part, read))
}

impl Fleet {
    /// This gateway's own page. It reads files: on a thread that may wait.
    ///
    /// # Errors
    /// [`PageFault`].
    pub fn own_page(&self, asked: &Asked) -> Result<Ledger, PageFault> {
        let (part, read) = page(&self.journal, &self.gateway, asked)?;
        Ok(Ledger {
            gateway: part.gateway,
            log: part.log,
            size: part.size,
            items: part.items.into_iter().map(|item| (item.at_ms(), item)).collect(),
            next: part.next,
            complete: part.complete,
            until: part.until,
            of: read.of,
        })
    }
}

/// What is followed in this gateway's own ledger, from one look to the next.
pub(super) struct Reader {
    dir: PathBuf,
    filters: Filters,
    after: Option<u64>,
    place: Option<Place>,
    /// The record to look at next: there is something new when there are more.
    pub(super) next: u64,
}

impl Reader {
    pub(super) fn new(journal: &Journal, asked: &Asked) -> Result<Reader, PageFault> {
        let (after, filters) = begin(asked, journal.origin(), journal.status().size)?;
        let next = after.map_or(0, |after| after.saturating_add(1));
        Ok(Reader { dir: journal.dir().to_owned(), filters, after, place: None, next })
    }

    /// What stands between the last look and `size`. It reads files.
    pub(super) fn look(mut self, size: u64, gateway: &str, log: &str) -> Result<(Reader, Part), ReadError> {
        let wanted = Wanted {
            dir: self.dir.clone(),
            filters: self.filters.clone(),
            after: self.after,
            limit: LINE,
            bytes: LINE_BYTES,
            size,
            place: self.place,
        };
        let read = own::read_on(&wanted)?;
        self.next = next(&read, size);
        (self.after, self.place, self.filters.of) = (read.last, read.place, read.of);
        let part = Part {
            gateway: gateway.to_owned(),
            log: log.to_owned(),
            size,
            items: read.items,
            next: self.next,
            complete: read.complete,
            until: read.at_ms.filter(|_| !read.complete),
        };
        Ok((self, part))
    }
}
