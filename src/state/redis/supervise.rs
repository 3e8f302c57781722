//! What keeps the links: one task that finds the servers, and one for each server that connects, beats, and begins anew when
//! anything is the matter. All end with the store.
//!
//! Never here: what is asked over a link; whether what is known is recent enough.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use redis::{Pipeline, PushInfo, PushKind, Value, aio::MultiplexedConnection};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

use super::{
    beat::{self, Beat, Beaten},
    dial::Heard,
    finder::{Finder, Routes},
    links::{End, Ready, Shared, lock},
    options::Address,
    push, said,
    scripts::Sent,
    settings,
};
use crate::state::{Grounds, Part, Parts, ServerFault, StoreFault};

/// How often the finder asks while nothing seems to be the matter: a server may stop being the primary in silence.
const AGAIN: Duration = Duration::from_secs(5);

/// How often a server is asked how it is set: an operator may correct that.
const SETTINGS_AGAIN: Duration = Duration::from_secs(10);

/// A link that has held so many beats begins its next pauses from the shortest.
const HELD: u32 = 5;

/// Pauses between tries: from 50 ms, doubling up to 1 s, each shortened by chance up to a half.
#[derive(Debug, Default)]
struct Pause(u32);

impl Pause {
    fn next(&mut self) -> Duration {
        let full = 50u64.checked_shl(self.0).unwrap_or(1000).min(1000);
        self.0 = (self.0 + 1).min(5);
        let mut bytes = [0; 2];
        let _ = aws_lc_rs::rand::fill(&mut bytes);
        let less = full / 2 * u64::from(u16::from_le_bytes(bytes)) / u64::from(u16::MAX);
        Duration::from_millis(full - less)
    }

    fn reset(&mut self) {
        self.0 = 0;
    }
}

/// The code of what was told last, so that something is told when it begins and when it changes, and not at each look.
#[derive(Debug, Default)]
struct Spoken(Option<&'static str>);

impl Spoken {
    fn is_news(&mut self, code: Option<&'static str>) -> bool {
        std::mem::replace(&mut self.0, code) != code
    }
}

struct Running {
    parts: Parts,
    _task: AbortOnDropHandle<()>,
}

/// Finds the servers whenever that seems to be needed, and keeps one link to each until told to stop.
pub(super) async fn supervise(shared: Arc<Shared>, stop: CancellationToken) {
    let mut finder = Finder::new(&shared.options, &shared.names, &shared.dial);
    let mut running = BTreeMap::new();
    let mut pause = Pause::default();
    let mut spoken = Spoken::default();
    let all: Parts = shared.names.parts().collect();
    let keep = async {
        loop {
            let (without, trouble) = match finder.find().await {
                Ok(routes) => {
                    let trouble = said::so(ServerFault::Unknown, "no server of the cluster has these parts");
                    (follow(&shared, &mut running, &routes, all), trouble)
                }
                Err(trouble) => {
                    (all.each().filter(|part| !shared.up.borrow().contains(*part)).collect(), trouble)
                }
            };
            if !without.is_empty() {
                shared.troubled(without, &trouble);
                shared.nudge.notify_one();
            }
            if spoken.is_news((!without.is_empty()).then(|| trouble.code())) && !without.is_empty() {
                let (code, parts) = (trouble.code(), without.count());
                tracing::warn!(code, parts, "parts of the store have no server: {trouble}");
            }
            match timeout(AGAIN, shared.nudge.notified()).await {
                Ok(()) => sleep(pause.next()).await,
                Err(_) => pause.reset(),
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = keep => {}
    }
    drop(running);
    shared.troubled(all, &StoreFault::Closed);
}

/// Ends the links that are not what was found, and begins those that are missing. Answers the parts that no server has.
fn follow(
    shared: &Arc<Shared>,
    running: &mut BTreeMap<Address, Running>,
    routes: &Routes,
    all: Parts,
) -> Parts {
    running.retain(|address, link| routes.get(address) == Some(&link.parts));
    lock(&shared.time).retain(|address, _| routes.contains_key(address));
    lock(&shared.warnings).retain(|address, _| routes.contains_key(address));
    *lock(&shared.wanted) = routes.keys().cloned().collect();
    let found = routes.values().fold(Parts::NONE, |found, parts| found.and(*parts));
    for (address, parts) in routes {
        running.entry(address.clone()).or_insert_with(|| {
            let task = tokio::spawn(link(Arc::clone(shared), address.clone(), *parts));
            Running { parts: *parts, _task: AbortOnDropHandle::new(task) }
        });
    }
    all.each().filter(|part| !found.contains(*part)).collect()
}

/// Keeps the link to one server.
async fn link(shared: Arc<Shared>, address: Address, parts: Parts) {
    let mut pause = Pause::default();
    let mut spoken = Spoken::default();
    loop {
        let trouble = hold(&shared, &address, parts, &mut pause, &mut spoken).await;
        if spoken.is_news(Some(trouble.code())) {
            tracing::warn!(code = trouble.code(), "the store has no link: {trouble}");
        }
        shared.troubled(parts, &trouble);
        shared.nudge.notify_one();
        sleep(pause.next()).await;
    }
}

/// A link as others see it. Withdrawn when this is dropped, also with its task.
struct Published {
    shared: Arc<Shared>,
    parts: Parts,
    ready: Arc<Ready>,
}

impl Published {
    fn new(shared: &Arc<Shared>, parts: Parts, ready: Ready) -> Self {
        let ready = Arc::new(ready);
        for slot in parts.each().filter_map(|part| shared.slot(part)) {
            slot.ready.store(Some(Arc::clone(&ready)));
            slot.trouble.store(None);
        }
        shared.up.send_modify(|up| *up = up.and(parts));
        tracing::info!(address = %ready.address, parts = parts.count(), "the store is linked");
        Self { shared: Arc::clone(shared), parts, ready }
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        self.ready.cut(said::so(ServerFault::Moved, "it is no longer the primary of this part"));
        self.shared.lost.fetch_add(1, Ordering::Relaxed);
        for part in self.parts.each() {
            let Some(slot) = self.shared.slot(part) else { continue };
            // A link to another server may have taken its place already.
            let before = slot.ready.compare_and_swap(&self.ready, None);
            if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &self.ready)) {
                self.shared.up.send_modify(|up| *up = up.without(part));
            }
        }
    }
}

/// Connects, beats, and returns what ended it.
async fn hold(
    shared: &Arc<Shared>,
    address: &Address,
    parts: Parts,
    pause: &mut Pause,
    spoken: &mut Spoken,
) -> StoreFault {
    let mut link = match Link::open(shared, address, parts).await {
        Ok(link) => link,
        Err(trouble) => return trouble,
    };
    // Whatever ends it is news, also where it is what ended the one before.
    *spoken = Spoken::default();
    let mut beats = Spoken::default();
    let mut ticks = interval(shared.options.beat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut looks = interval(SETTINGS_AGAIN);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks.tick().await;
    let mut held = 0;
    loop {
        tokio::select! {
            trouble = link.end.wait() => return trouble,
            _ = ticks.tick() => {}
            _ = looks.tick() => match link.examine().await {
                Ok(replicas) => link.warn(replicas).await,
                Err(trouble) => return said::of(address, trouble),
            },
        }
        let end = Arc::clone(&link.end);
        let beaten = tokio::select! {
            trouble = end.wait() => return trouble,
            beaten = link.beat() => beaten,
        };
        let trouble = match beaten.map_err(|trouble| said::of(address, trouble)) {
            Ok(trouble) => trouble,
            Err(trouble) if said::ends_link(&trouble) => return trouble,
            Err(trouble) => {
                shared.troubled(parts, &trouble);
                Some(trouble)
            }
        };
        if beats.is_news(trouble.as_ref().map(StoreFault::code)) {
            match &trouble {
                Some(trouble) => {
                    tracing::warn!(code = trouble.code(), "the store is linked and not heard of: {trouble}");
                }
                None => tracing::info!(%address, "the store is heard of again"),
            }
        }
        held += 1;
        if held == HELD {
            pause.reset();
        }
    }
}

/// One server's connections, from its first beat on.
struct Link {
    shared: Arc<Shared>,
    address: Address,
    parts: Parts,
    end: Arc<End>,
    beats: MultiplexedConnection,
    pushes: MultiplexedConnection,
    /// The stores whose channels it hears.
    heard: Vec<Uuid>,
    _published: Option<Published>,
}

impl Link {
    async fn open(shared: &Arc<Shared>, address: &Address, parts: Parts) -> Result<Self, StoreFault> {
        // What the former link was told and did not come to be in force is not waited for.
        shared.leases.unlinked(parts);
        let end = Arc::new(End::default());
        let dial = |heard| shared.dial.server(address, heard);
        let (loads, commits, beats, pushes) = tokio::try_join!(
            dial(lost(&end)),
            dial(lost(&end)),
            dial(lost(&end)),
            dial(hears(shared, &end, parts)),
        )?;
        let limit = shared.options.timeout;
        let mut link = Self {
            shared: Arc::clone(shared),
            address: address.clone(),
            parts,
            end: Arc::clone(&end),
            beats: beats.connection,
            pushes: pushes.connection,
            heard: Vec::new(),
            _published: None,
        };
        let replicas = link.examine().await.map_err(|trouble| said::of(address, trouble))?;
        // Nobody is handed a server that was not compared with what was seen: it may have been emptied.
        link.beat().await.map_err(|trouble| said::of(address, trouble))?;
        let ready = Ready {
            loads: loads.connection,
            commits: commits.connection,
            wait: shared.options.wait(),
            address: address.clone(),
            sent: Sent::default(),
            names: shared.names.clone(),
            limit,
            end,
            drivers: vec![loads.driver, commits.driver, beats.driver, pushes.driver],
        };
        link._published = Some(Published::new(shared, parts, ready));
        link.warn(replicas).await;
        Ok(link)
    }

    /// Whether it is a primary and new enough; answers how many replicas follow it.
    async fn examine(&mut self) -> Result<usize, StoreFault> {
        let mut pipe = Pipeline::with_capacity(3);
        pipe.cmd("ROLE").cmd("INFO").arg("server").add_command(beat::load());
        let asking = self.beats.send_packed_commands(&pipe, 0, 3);
        let mut answers = said::timely(self.shared.options.timeout, asking).await?.into_iter();
        let (role, info, loaded) = (answers.next(), answers.next(), answers.next());
        let replicas = match role {
            Some(Value::Array(role)) => match (role.first().and_then(beat::text), role.get(2)) {
                (Some("master"), Some(Value::Array(replicas))) => replicas.len(),
                (Some("master"), _) => 0,
                _ => return Err(said::so(ServerFault::ReadOnly, "it is a replica")),
            },
            other => return Err(beat::unexpected("ROLE", other)),
        };
        match info.as_ref().and_then(beat::text).and_then(settings::version) {
            Some(version) if version < settings::OLDEST => {
                let (major, minor) = version;
                return Err(said::so(ServerFault::Refused, format!("it has version {major}.{minor}")));
            }
            _ => {}
        }
        match loaded {
            Some(Value::BulkString(_) | Value::SimpleString(_)) => Ok(replicas),
            other => Err(beat::unexpected("SCRIPT LOAD", other)),
        }
    }

    /// Beats once, and makes of the answer what is to be made of it. Answers what is the matter, though it was answered.
    async fn beat(&mut self) -> Result<Option<StoreFault>, StoreFault> {
        let shared = Arc::clone(&self.shared);
        let known: Vec<(Part, Grounds)> =
            self.parts.each().map(|part| (part, shared.leases.grounds(part))).collect();
        let beat = Beat { names: &shared.names, wait: shared.options.wait(), limit: shared.options.timeout };
        let sent = (shared.clock)();
        let beaten = beat.send(&mut self.beats, &known).await?;
        let received = (shared.clock)();
        lock(&shared.time).insert(self.address.clone(), (beaten.store_ms, received));
        if beaten.parts.iter().any(|(_, part)| part.as_ref().is_err_and(said::no_script)) {
            let load = beat::load();
            let asking = self.beats.send_packed_command(&load);
            said::timely(shared.options.timeout, asking).await?;
            return Ok(None);
        }
        let trouble = shared.take(sent, &self.address, &known, &beaten)?;
        self.listen(&beaten).await?;
        Ok(trouble)
    }

    /// Subscribes to the channel of each store that a head names: there is but one, until there is another.
    async fn listen(&mut self, beaten: &Beaten) -> Result<(), StoreFault> {
        let told = beaten.parts.iter().filter_map(|(_, answered)| answered.as_ref().ok()?.told.as_ref());
        let mut ids: Vec<Uuid> = told.map(|told| told.id).collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            if !self.heard.contains(&id) {
                self.heard.push(id);
                let asking = self.pushes.subscribe(push::channel(self.shared.names.prefix(), id));
                match said::timely(self.shared.options.timeout, asking).await {
                    Ok(()) => {}
                    Err(trouble) if said::ends_link(&trouble) => return Err(trouble),
                    Err(trouble) => {
                        tracing::warn!(address = %self.address, %trouble, "changes are not pushed to this gateway; it hears of them by beats");
                    }
                }
            }
        }
        Ok(())
    }

    /// Says what the server is set to lose.
    async fn warn(&mut self, replicas: usize) {
        let options = &self.shared.options;
        let found = settings::read(&mut self.beats, replicas, options.timeout).await;
        let found = settings::warnings(&found, options.copies);
        let before = lock(&self.shared.warnings).insert(self.address.clone(), found.clone());
        if before.as_ref() != Some(&found) {
            for text in found {
                tracing::warn!(address = %self.address, "redis: {text}");
            }
        }
    }
}

/// Hears only that the connection ended.
fn lost(end: &Arc<End>) -> Heard {
    let end = Arc::clone(end);
    Arc::new(move |info: PushInfo| {
        if info.kind == PushKind::Disconnection {
            end.end(said::so(ServerFault::Unreachable, "the server closed the connection"));
        }
    })
}

/// Hears that these parts moved as well.
fn hears(shared: &Arc<Shared>, end: &Arc<End>, parts: Parts) -> Heard {
    let (shared, lost) = (Arc::downgrade(shared), lost(end));
    Arc::new(move |info: PushInfo| {
        if info.kind != PushKind::Message {
            return lost(info);
        }
        let Some(shared) = shared.upgrade() else { return };
        let Some(Value::BulkString(payload)) = info.data.get(1) else { return };
        let Some(place) = push::pushed(payload).filter(|place| parts.contains(place.part)) else { return };
        shared.wake(place);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_matter_is_said_when_it_begins_when_it_changes_and_when_it_is_over() {
        let mut spoken = Spoken::default();
        let said = [None, Some("a"), Some("a"), Some("b"), None, None, Some("b")];
        assert_eq!(said.map(|code| spoken.is_news(code)), [false, true, false, true, true, false, true]);
    }

    #[test]
    fn pauses_grow_to_a_second_and_are_never_shorter_than_half() {
        let mut pause = Pause::default();
        for full in [50, 100, 200, 400, 800, 1000, 1000, 1000] {
            let next = pause.next().as_millis();
            assert!((full / 2..=full).contains(&next), "{next} of {full}");
        }
        pause.reset();
        assert!(pause.next().as_millis() <= 50);
    }
}
