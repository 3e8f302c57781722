//! Telling one webhook, event after event, until it stops.
//!
//! In order: an event that is not taken holds up those behind it until it is given up. The cursor moves when an event is over, so
//! whatever happens in between is told again, under the same id.
//!
//! Never here: what is told ([`super::message`]), how long to wait ([`super::retry`]).

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{
    Hook, Kept, Now,
    cursor::{self, Cursor},
    deliver::{Verdict, attempt},
    message::Message,
    retry,
    spool::{Stretch, read_on},
};
use crate::audit::{journal::Journal, read::Place};

/// How often it is looked whether there is something new.
const LOOK: Duration = Duration::from_millis(250);
/// How long it rests where cursor or ledger cannot be read.
const REST: Duration = Duration::from_secs(30);
/// So many records without anything to tell are passed before the cursor is written.
const PASSED: u64 = 50_000;

pub(super) struct Runner {
    pub(super) hook: Hook,
    pub(super) kept: Arc<Kept>,
    pub(super) journal: Arc<Journal>,
    pub(super) now: Now,
    pub(super) stop: CancellationToken,
}

/// It is to stop.
struct Stopped;

/// Where it stands.
struct Standing {
    cursor: Cursor,
    /// The record that the cursor on disk names.
    saved: u64,
    place: Option<Place>,
    /// Failures on end.
    failures: u32,
    /// The cursor could not be written the last time.
    unsaved: bool,
}

impl Runner {
    pub(super) async fn run(self) {
        let kept = Arc::clone(&self.kept);
        let _turn = tokio::select! {
            turn = kept.turn.lock() => turn,
            () = self.stop.cancelled() => return,
        };
        self.kept.counts.down.store(false, Relaxed);
        self.kept.counts.waiting.store(0, Relaxed);
        let Ok(cursor) = self.opened().await else { return };
        let mut standing = Standing { saved: cursor.seq, cursor, place: None, failures: 0, unsaved: false };
        let Err(Stopped) = self.follow(&mut standing).await;
        if standing.saved != standing.cursor.seq {
            self.save(&mut standing).await;
        }
    }

    /// Rests for so long, unless it is to stop.
    async fn rest(&self, time: Duration) -> Result<(), Stopped> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.stop.cancelled() => Err(Stopped),
        }
    }

    /// The cursor; tried until there is one that can be used.
    async fn opened(&self) -> Result<Cursor, Stopped> {
        loop {
            let size = self.journal.status().size;
            let (dir, name) = (self.journal.dir().to_owned(), self.hook.name.clone());
            let log = self.journal.origin().to_owned();
            let read = tokio::task::spawn_blocking(move || {
                let found = cursor::load(&dir, &name)?;
                if let Some(found) = found.filter(|found| found.log == log && found.seq <= size) {
                    return Ok(found);
                }
                // There is always one, made when the webhook began: it was removed, or the ledger is another one by now.
                tracing::warn!(
                    webhook = name,
                    "there is no place in this record behind which to go on; it begins anew"
                );
                let fresh = Cursor::at(&log, size);
                cursor::save(&dir, &name, &fresh).map(|()| fresh)
            });
            match read.await {
                Ok(Ok(cursor)) => return Ok(cursor),
                Ok(Err(fault)) => {
                    self.kept.counts.down.store(true, Relaxed);
                    tracing::error!(webhook = self.hook.name, %fault, "a webhook's place in the record cannot be read or kept; nothing is told to it");
                }
                Err(_) => return Err(Stopped),
            }
            self.rest(REST).await?;
        }
    }

    async fn follow(&self, standing: &mut Standing) -> Result<std::convert::Infallible, Stopped> {
        loop {
            self.kept.counts.seq.store(standing.cursor.seq, Relaxed);
            if self.stop.is_cancelled() {
                return Err(Stopped);
            }
            let size = self.journal.status().size;
            if standing.cursor.seq >= size {
                self.rest(LOOK).await?;
                continue;
            }
            let Some(stretch) = self.read(standing, size).await? else {
                self.rest(REST).await?;
                continue;
            };
            if stretch.next == standing.cursor.seq && stretch.messages.is_empty() {
                // What is durable cannot be seen yet, or somebody took its file away.
                self.rest(LOOK).await?;
                continue;
            }
            for message in &stretch.messages {
                self.tell(message, standing).await?;
            }
            (standing.cursor.seq, standing.cursor.told) = (stretch.next, 0);
            standing.place = stretch.place;
            if standing.cursor.seq - standing.saved >= PASSED {
                self.save(standing).await;
            }
        }
    }

    async fn read(&self, standing: &Standing, size: u64) -> Result<Option<Stretch>, Stopped> {
        let (dir, wanted) = (self.journal.dir().to_owned(), self.hook.wanted.clone());
        let (from, place) = ((standing.cursor.seq, standing.cursor.told), standing.place);
        let read = tokio::task::spawn_blocking(move || read_on(&dir, &wanted, from, place, size));
        match read.await {
            Ok(Ok(stretch)) => {
                if standing.failures == 0 {
                    self.kept.counts.down.store(false, Relaxed);
                }
                Ok(Some(stretch))
            }
            Ok(Err(fault)) => {
                self.kept.counts.down.store(true, Relaxed);
                tracing::error!(webhook = self.hook.name, %fault, "the record cannot be read, so nothing is told");
                Ok(None)
            }
            Err(_) => Err(Stopped),
        }
    }

    /// Tells one event until it is over.
    async fn tell(&self, message: &Message, standing: &mut Standing) -> Result<(), Stopped> {
        let (counts, hook) = (&self.kept.counts, &self.hook);
        counts.waiting.store(message.recorded.ms().max(1), Relaxed);
        loop {
            if self.stop.is_cancelled() {
                return Err(Stopped);
            }
            match attempt(hook, message, (self.now)()).await {
                Verdict::Taken => {
                    counts.down.store(false, Relaxed);
                    if standing.failures > 0 {
                        let failures = standing.failures;
                        tracing::info!(webhook = hook.name, failures, "a webhook is told again");
                    }
                    standing.failures = 0;
                    self.over(message, standing).await;
                    counts.delivered.fetch_add(1, Relaxed);
                    return Ok(());
                }
                Verdict::Gone => {
                    counts.failed.fetch_add(1, Relaxed);
                    counts.down.store(true, Relaxed);
                    tracing::error!(
                        webhook = hook.name,
                        to = hook.asker.authority(),
                        "the receiver wants nothing any more (410); nothing is told to it until the configuration is read again"
                    );
                    self.stop.cancelled().await;
                    return Err(Stopped);
                }
                Verdict::Failed { code, why, after } => {
                    counts.failed.fetch_add(1, Relaxed);
                    counts.down.store(true, Relaxed);
                    standing.failures = standing.failures.saturating_add(1);
                    self.lament(code, &why, standing.failures, message);
                    let over = retry::is_over(message.recorded, (self.now)(), hook.give_up_ms);
                    if over {
                        tracing::error!(
                            webhook = hook.name,
                            id = message.id,
                            kind = message.kind,
                            seq = message.seq,
                            code,
                            why,
                            "an event is given up: it was not taken for `give_up`; it stands in the record"
                        );
                        self.over(message, standing).await;
                        counts.given_up.fetch_add(1, Relaxed);
                    }
                    self.rest(retry::wait(standing.failures, after, roll())).await?;
                    if over {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// An event is over: the cursor moves behind it.
    async fn over(&self, message: &Message, standing: &mut Standing) {
        (standing.cursor.seq, standing.cursor.told) = (message.seq, message.index + 1);
        self.kept.counts.waiting.store(0, Relaxed);
        self.kept.counts.seq.store(message.seq, Relaxed);
        self.save(standing).await;
    }

    /// Writes the cursor. Where that fails it goes on: after a crash some is told again, under the same id.
    async fn save(&self, standing: &mut Standing) {
        let (dir, name) = (self.journal.dir().to_owned(), self.hook.name.clone());
        let cursor = standing.cursor.clone();
        let saved = tokio::task::spawn_blocking(move || cursor::save(&dir, &name, &cursor)).await;
        match saved {
            Ok(Ok(())) => {
                standing.saved = standing.cursor.seq;
                standing.unsaved = false;
            }
            Ok(Err(fault)) if !standing.unsaved => {
                standing.unsaved = true;
                tracing::error!(webhook = self.hook.name, %fault, "a webhook's place in the record cannot be kept; a restart tells some again");
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }

    /// Says that an attempt failed: at the first failure, and at each doubling after it.
    fn lament(&self, code: &'static str, why: &str, failures: u32, message: &Message) {
        if failures.is_power_of_two() {
            tracing::warn!(
                webhook = self.hook.name,
                to = self.hook.asker.authority(),
                code,
                why,
                failures,
                id = message.id,
                kind = message.kind,
                "a webhook is not told; it is tried again, and what comes behind waits"
            );
        }
    }
}

/// Chance, for the distance of tries. Where the system gives none, there is none.
fn roll() -> u16 {
    let mut bytes = [0; 2];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u16::from_le_bytes(bytes)
}
