//! The shadow: on each gateway's disk the newest state of every document that it saw, from which a store that forgot is healed
//! (law 8, decision 0026), and from which members are answered while no store does (rule 19).
//!
//! It is written behind: [`Shadow::follow`] keeps what it is told in memory and never waits; a thread writes it once a
//! second, earlier when it is much, and at the end. What a crash loses of it the gateway's own ledger has
//! ([`Shadow::top_up`]): the file says how many of its records it has ([`Shadow::recorded`]). A newer state is never replaced by an older
//! one: everything is joined, but for what is known to come after all that is here. A joined state remembers so many changes and no more
//! ([`crate::model::document::REMEMBERED`]), so what is long outdated is not joined in again where it can be told.
//!
//! A file that is missing is made, empty: such a gateway initialises nothing. One that is damaged, foreign or of another
//! layout is left as it is, and said.
//!
//! Never here: what is done with it ([`super::healing`]), a clock, reading ledgers.

mod buffer;
mod dated;
mod file;
mod seen;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::model::{
    Key, Stored, TenantId,
    join::{join, succeed},
};

use self::{
    buffer::{Buffer, Layer, Over},
    file::{Base, Marks},
};
use super::{Answer, Part, codec, healing::Known, lease::Line};

pub use dated::{Dated, Moment};
pub use file::ShadowFault;
pub use seen::Seen;

/// How often what was noted is written.
const EVERY: Duration = Duration::from_secs(1);
/// From how many bytes on it is written at once.
const LARGE: usize = 4 << 20;
/// How many bytes are kept in memory at most, while the disk takes nothing. What comes then is copied from the store later.
const MOST: usize = 64 << 20;

/// A gateway's shadow. See the module's header.
pub struct Shadow {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    made: bool,
}

struct Shared {
    path: PathBuf,
    base: Base,
    state: Mutex<State>,
    news: Condvar,
    /// How many records the own ledger has on its disk.
    ledger: OnceLock<Box<dyn Fn() -> u64 + Send + Sync>>,
}

#[derive(Default)]
struct State {
    buffer: Buffer,
    /// What is just being written; shown until it is.
    writing: Arc<Layer>,
    seen: BTreeMap<Part, Seen>,
    gateways: BTreeSet<String>,
    /// Gateways that were retired, as far as the store told this process.
    retired: BTreeSet<String>,
    /// How many records of the own ledger are in the file.
    recorded: Option<u64>,
    /// Something was left out since, for want of room.
    left_out: bool,
    dated: Option<Dated>,
    closed: bool,
    /// Somebody waits for what was noted to be written.
    asked: u64,
    written: u64,
    fault: Option<ShadowFault>,
}

impl std::fmt::Debug for Shadow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shadow").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each step under the lock leaves whole values behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change of a part as the own ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The part.
    pub part: Part,
    /// Its place there, where the record says so.
    pub number: Option<u64>,
    /// The documents after it.
    pub documents: Vec<(Key, Stored)>,
}

impl Shadow {
    /// Opens a shadow, or makes an empty one where there is none. Reads all of it, to see that it is whole; blocks meanwhile.
    ///
    /// # Errors
    /// Where it is in use, damaged, something else, or of another layout. The file is left as it was.
    pub fn open(path: &Path) -> Result<Self, ShadowFault> {
        let (base, made) = Base::open(path)?;
        let Marks { seen, gateways, recorded, dated } = base.marks()?;
        let gateways = gateways.unwrap_or_default();
        let state = Mutex::new(State { seen, gateways, recorded, dated, ..State::default() });
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            base,
            state,
            news: Condvar::new(),
            ledger: OnceLock::new(),
        });
        let writer = {
            let shared = Arc::clone(&shared);
            let run = move || write_on(&shared);
            thread::Builder::new()
                .name("postern-shadow".to_owned())
                .spawn(run)
                .map_err(|source| ShadowFault::io(path, &source))?
        };
        Ok(Self { shared, writer: Mutex::new(Some(writer)), made })
    }

    /// Whether there was none before: what the own ledger has belongs into it, all of it.
    pub fn made(&self) -> bool {
        self.made
    }

    /// How many records of the own ledger, from its beginning, are in the file with all that they tell of changes; `None` where that was
    /// never noted.
    pub fn recorded(&self) -> Option<u64> {
        self.shared.lock().recorded
    }

    /// Beside which ledger it is written from now on: `records` says how many it has on its disk. What the ledger has by now was taken
    /// in; of each later change this shadow is told before the ledger is.
    pub fn beside(&self, records: impl Fn() -> u64 + Send + Sync + 'static) {
        // Whoever opens a shadow says it once.
        let _said = self.shared.ledger.set(Box::new(records));
    }

    /// Takes in a change that this gateway made: its documents, its place and the line there. Call it before the change is
    /// acknowledged. Never waits.
    pub fn committed(&self, part: Part, documents: &[(Key, Stored)], number: u64, line: Line) {
        self.take(part, documents, |seen| seen.claim(number, line));
    }

    /// Takes in the next change of a part's feed, after [`Seen::number`]: of a store that has [`Seen::line`] there, which whoever
    /// follows has looked at in the same step, or reckoned. Where it is not the next place, the part is copied anew. Never waits.
    pub fn follow(&self, part: Part, documents: &[(Key, Stored)], number: u64, line: Line) {
        self.take(part, documents, |seen| seen.follow(number, line));
    }

    /// The same of a later place, the newest that the store has, where its feed does not tell what lies between: the part is copied anew. Never waits.
    pub fn jump(&self, part: Part, number: u64, line: Line) {
        let mut state = self.shared.lock();
        state.seen.entry(part).or_default().jump(number, line);
        state.buffer.moved.insert(part);
    }

    /// Notes how old what is known is. Whatever is known as of then was told before. Never waits.
    pub fn date(&self, dated: Dated) {
        let mut state = self.shared.lock();
        state.buffer.dated = Some(dated.clone());
        state.dated = Some(dated);
    }

    /// How old what is known was when that was noted last; `None` where it never was.
    pub fn dated(&self) -> Option<Dated> {
        self.shared.lock().dated.clone()
    }

    fn take(&self, part: Part, documents: &[(Key, Stored)], placed: impl FnOnce(&mut Seen)) {
        let mut state = self.shared.lock();
        let state = &mut *state;
        take_in(state, part, documents, false);
        placed(state.seen.entry(part).or_default());
        state.buffer.moved.insert(part);
        if state.buffer.layer.bytes >= LARGE {
            self.shared.news.notify_all();
        }
    }

    /// The tenants that the configuration names, and that it named at any start or reload before. Blocks for a write to the disk.
    ///
    /// # Errors
    /// Where the disk does not give or take them.
    pub fn configured(&self, known: &BTreeSet<TenantId>) -> Result<BTreeSet<TenantId>, ShadowFault> {
        self.shared.base.configured(known)
    }

    /// A gateway of the fleet: it is waited for in every healing from now on.
    pub fn meet(&self, gateway: &str) {
        let mut state = self.shared.lock();
        state.retired.remove(gateway);
        state.buffer.met |= state.gateways.insert(gateway.to_owned());
    }

    /// A gateway that was retired is waited for no more, also in a healing under way.
    pub fn part_with(&self, gateway: &str) {
        let mut state = self.shared.lock();
        state.retired.insert(gateway.to_owned());
        state.buffer.met |= state.gateways.remove(gateway);
    }

    /// Takes in what the own ledger has, in its order; how many changes the shadow had lost. What it had lost may be missing in the
    /// store as well, which its line no longer tells: the part is joined in before it is trusted. Of a shadow that was just made each
    /// change comes after the ones before: a gateway changes what it knows, its own changes among it. Blocks.
    ///
    /// # Errors
    /// Where the shadow cannot be read.
    pub fn top_up(&self, changes: impl IntoIterator<Item = Recorded>) -> Result<usize, ShadowFault> {
        let mut lost = 0;
        for change in changes {
            let mut lacking = Vec::new();
            for (key, stored) in change.documents {
                let joined = match self.get(change.part, &key)? {
                    Some(known) => {
                        let joined = if self.made { succeed(&known, &stored) } else { join(&known, &stored) };
                        (joined.heads != known.heads || joined.changes != known.changes).then_some(joined)
                    }
                    None => Some(stored),
                };
                lacking.extend(joined.map(|joined| (key, joined)));
            }
            if lacking.is_empty() {
                continue;
            }
            lost += 1;
            let epoch = lacking.iter().map(|(_, stored)| stored.version.epoch).max().unwrap_or(0);
            let mut state = self.shared.lock();
            let state = &mut *state;
            take_in(state, change.part, &lacking, self.made);
            state.seen.entry(change.part).or_default().topped_up(change.number, epoch);
            state.buffer.moved.insert(change.part);
        }
        Ok(lost)
    }

    /// One document as it was seen last. Blocks for a read of the disk.
    ///
    /// # Errors
    /// Where the shadow, or the document in it, cannot be read.
    pub fn get(&self, part: Part, key: &Key) -> Result<Option<Stored>, ShadowFault> {
        let bytes = (part, codec::key(key));
        // The transaction is begun under the lock: what leaves memory is in the file by then.
        let (held, read) = {
            let state = self.shared.lock();
            let held =
                [&*state.writing, &state.buffer.layer].map(|layer| layer.documents.get(&bytes).cloned());
            (held, self.shared.base.read()?)
        };
        let filed = self.shared.base.get(&read, part, key)?;
        let on = |below: Option<Stored>, over: Over| {
            Some(below.map_or(over.stored.clone(), |below| over.on(&below)))
        };
        Ok(held.into_iter().flatten().fold(filed, on))
    }

    /// The documents of a part that follow a key, by key, at most so many. Blocks for a read of the disk.
    ///
    /// # Errors
    /// Where the shadow, or a document in it, cannot be read.
    pub fn page(
        &self,
        part: Part,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Stored)>, ShadowFault> {
        let after = &*after.map(codec::key).unwrap_or_default();
        let (held, read) = {
            let state = self.shared.lock();
            let mut held = state.writing.after(part, after, limit);
            held.extend(state.buffer.layer.after(part, after, limit));
            (held, self.shared.base.read()?)
        };
        let mut rows: BTreeMap<Vec<u8>, (Key, Stored)> = BTreeMap::new();
        for (bytes, key, stored) in self.shared.base.page(&read, part, after, limit)? {
            rows.insert(bytes, (key, stored));
        }
        for (bytes, over) in held {
            let known = match rows.remove(&bytes) {
                Some((_, below)) => over.on(&below),
                None => over.stored,
            };
            rows.insert(bytes, (over.key, known));
        }
        Ok(rows.into_values().take(limit).collect())
    }

    /// Up to where this gateway saw a part.
    pub fn seen(&self, part: Part) -> Option<Seen> {
        self.shared.lock().seen.get(&part).cloned()
    }

    /// Writes what was noted so far, and waits until it is on the disk.
    ///
    /// # Errors
    /// Where the disk does not take it. It stays in memory and is tried again.
    pub fn flush(&self) -> Result<(), ShadowFault> {
        let mut state = self.shared.lock();
        state.asked += 1;
        let mine = state.asked;
        self.shared.news.notify_all();
        while state.written < mine && !state.closed {
            state = self.shared.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.fault.clone().map_or(Ok(()), Err)
    }

    /// Whether the disk has not taken what was noted before: who copies waits, so that there is always room for what changes.
    pub fn is_behind(&self) -> bool {
        let state = self.shared.lock();
        state.buffer.layer.bytes.saturating_add(state.writing.bytes) >= 2 * LARGE
    }

    /// What keeps it from being written; `None` while nothing does.
    pub fn fault(&self) -> Option<ShadowFault> {
        self.shared.lock().fault.clone()
    }

    fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.news.notify_all();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A writer that panicked has said so; there is nothing left to be done about it.
        drop(writer.map(JoinHandle::join));
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        self.close();
    }
}

/// Puts documents into memory; where there is no room left, the part has gaps from now on. With `succeed` they come after all that
/// is known of them.
fn take_in(state: &mut State, part: Part, documents: &[(Key, Stored)], succeed: bool) {
    for (key, stored) in documents {
        if state.buffer.layer.bytes >= MOST {
            let seen = state.seen.entry(part).or_default();
            seen.gaps = true;
            seen.jumps = seen.jumps.wrapping_add(1);
            state.left_out = true;
            return;
        }
        state.buffer.layer.put(part, key, stored, succeed);
    }
}

fn write_on(shared: &Shared) {
    let mut state = shared.lock();
    loop {
        if !state.closed && state.asked == state.written && state.buffer.layer.bytes < LARGE {
            state = shared.news.wait_timeout(state, EVERY).unwrap_or_else(PoisonError::into_inner).0;
        }
        let (asked, last) = (state.asked, state.closed);
        // Before what is written is taken: whatever the ledger has by now is in it.
        let recorded = shared.ledger.get().filter(|_| !state.left_out).map(|records| records());
        let buffer = std::mem::take(&mut state.buffer);
        state.writing = Arc::new(buffer.layer);
        let layer = Arc::clone(&state.writing);
        let seen = buffer.moved.iter().filter_map(|part| Some((*part, state.seen.get(part)?.clone())));
        let marks = Marks {
            seen: seen.collect(),
            gateways: buffer.met.then(|| state.gateways.clone()),
            recorded: recorded.filter(|recorded| state.recorded != Some(*recorded)),
            dated: buffer.dated,
        };
        let something = !layer.documents.is_empty()
            || !marks.seen.is_empty()
            || marks.gateways.is_some()
            || marks.dated.is_some()
            || marks.recorded.is_some() && (last || asked > state.written);
        drop(state);
        let written = match something {
            true => shared.base.write(&layer, &marks),
            false => Ok(()),
        };
        state = shared.lock();
        let was = std::mem::take(&mut state.writing);
        match written {
            Ok(()) => {
                state.recorded = if something { recorded.or(state.recorded) } else { state.recorded };
                state.fault = None;
            }
            Err(fault) => {
                tracing::error!(path = %shared.path.display(), "the shadow is not written, it is tried again: {fault}");
                // Beneath what came meanwhile, and joined with it.
                for (name, over) in &was.documents {
                    state.buffer.layer.put_under(name, over);
                }
                state.buffer.moved.extend(buffer.moved);
                state.buffer.met |= buffer.met;
                state.buffer.dated = state.buffer.dated.take().or(marks.dated);
                state.fault = Some(fault);
            }
        }
        state.written = state.written.max(asked);
        shared.news.notify_all();
        if last {
            return;
        }
        if state.fault.is_some() && !state.closed {
            // Not in a hurry while the disk takes nothing, however much waits.
            drop(state);
            thread::sleep(EVERY);
            state = shared.lock();
        }
    }
}

impl Known for Arc<Shadow> {
    fn seen(&self, part: Part) -> Option<Seen> {
        Shadow::seen(self, part)
    }

    fn gateways(&self) -> BTreeSet<String> {
        self.shared.lock().gateways.clone()
    }

    fn retired(&self) -> BTreeSet<String> {
        self.shared.lock().retired.clone()
    }

    fn documents<'a>(
        &'a self,
        part: Part,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<(Key, Stored)>, ShadowFault>> {
        let (shadow, after) = (Arc::clone(self), after.cloned());
        let path = self.shared.path.clone();
        Box::pin(async move {
            let page = tokio::task::spawn_blocking(move || shadow.page(part, after.as_ref(), limit)).await;
            page.unwrap_or_else(|stopped| Err(ShadowFault::io(&path, &std::io::Error::other(stopped))))
        })
    }

    fn note(&self, part: Part, documents: &[(Key, Stored)], number: u64, line: Line) {
        let mut state = self.shared.lock();
        let state = &mut *state;
        take_in(state, part, documents, true);
        state.seen.entry(part).or_default().claim(number, line);
        state.buffer.moved.insert(part);
        // Not for each page that is copied: a flush of the disk would follow each.
        if state.buffer.layer.bytes >= LARGE {
            self.shared.news.notify_all();
        }
    }

    fn take_up(&self, part: Part, from: Option<&Seen>, to: Seen) -> bool {
        let mut state = self.shared.lock();
        if state.seen.get(&part) != from {
            return false;
        }
        state.seen.insert(part, to);
        state.buffer.moved.insert(part);
        true
    }
}

#[cfg(test)]
mod tests;
