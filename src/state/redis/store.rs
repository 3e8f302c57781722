//! The promises of a store, kept by scripts on the primary of a part.
//!
//! Never here: changes ([`super::commit`]), listings ([`super::listing`]), how connections are held ([`super::links`]).

use std::sync::Arc;

use ::redis::Value;
use tokio::sync::watch;

use crate::{
    model::{ChangeId, Key, Kind, TenantId, Timestamp},
    state::{
        Answer, Bound, Commit, CommitFault, Committed, Counted, Entry, Found, Gathered, Grounds, Leases,
        Line, Mark, PAGE_MOST, Part, ServerFault, Store, StoreFault,
    },
};

use super::{
    RedisStore,
    beat::LIVES,
    gather::{Answered, Share},
    links::Ready,
    said::{self, number, text, word},
    scripts::{self, Call, Wait},
    value,
};

/// A page of the feed ends when it has so many bytes.
const PAGE_BYTES: usize = 4 << 20;

/// Why a script was not carried out, and whether it may have been all the same.
pub(super) struct Failed {
    pub(super) fault: StoreFault,
    /// It was sent, and nobody knows.
    pub(super) open: bool,
}

/// What is loaded of one part: which of the keys asked for, and what was known of the part before.
struct Load {
    part: Part,
    places: Vec<usize>,
    grounds: Grounds,
}

impl RedisStore {
    /// A call of a script on a part, with what every script begins with.
    pub(super) fn call(&self, script: &'static scripts::Script, part: Part, keys: &[&str]) -> Call {
        let keys = keys.iter().map(|what| self.names.of(part, what)).collect();
        let id = self.id.get().map(ToString::to_string).unwrap_or_default();
        Call::new(script, keys).arg(id).number(self.names.count()).number(super::keys::FORMAT)
    }

    /// What a script answered, if it carried out what was asked.
    pub(super) fn opened(&self, part: Part, value: Value) -> Result<Answered, StoreFault> {
        let mut rows = match value {
            Value::Array(rows) => rows.into_iter(),
            Value::ServerError(error) => return Err(said::error(&error)),
            _ => return Err(said::senseless("a script answered with something else than a list")),
        };
        let first = rows.next();
        match first.as_ref().and_then(text) {
            Some(b"ok") => {
                let id = word(rows.next().as_ref());
                self.learn(&id)?;
                Ok(rows)
            }
            Some(b"missing") => Err(StoreFault::Forgotten { part: part.0 }),
            Some(b"other") => Err(self.replaced(word(rows.next().as_ref()))),
            Some(b"format") => Err(said::layout(word(rows.next().as_ref()))),
            Some(b"parts") => {
                Err(StoreFault::Parts { found: word(rows.next().as_ref()), known: self.names.count() })
            }
            Some(b"unmade") => Err(StoreFault::Unmade),
            Some(b"suspect") => Err(StoreFault::Suspect { part: part.0 }),
            Some(b"damaged") => {
                Err(StoreFault::PartDamaged { part: part.0, detail: word(rows.next().as_ref()) })
            }
            Some(b"behind") => {
                let mut next = || number(rows.next().as_ref()).unwrap_or_default();
                let (_part, asked, newest) = (next(), next(), next());
                Err(StoreFault::WentBack { asked, newest })
            }
            Some(b"forked") => {
                let (named, place) = (number(rows.next().as_ref()), number(rows.next().as_ref()));
                let part = named.and_then(|part| u16::try_from(part).ok()).unwrap_or(part.0);
                Err(StoreFault::Forked { part, number: place.unwrap_or_default() })
            }
            _ => Err(said::senseless("a script answered with a word that nobody knows")),
        }
    }

    /// What a script that only reads answered, whatever that means.
    pub(super) async fn read_raw(&self, part: Part, call: Call) -> Result<Value, StoreFault> {
        let ready = self.links.at(part)?;
        let timeout = self.options.timeout;
        let mut connection = ready.loads.clone();
        let sent = scripts::send(&mut connection, &ready.sent, std::slice::from_ref(&call), None);
        let result = match tokio::time::timeout(timeout, sent).await {
            Ok(result) => result.map_err(|error| said::broken(&error)),
            Err(_) => Err(said::late(timeout)),
        };
        let value = result.map(|values| values.into_iter().next().unwrap_or_default());
        let value = value.and_then(|value| match value {
            Value::ServerError(error) => Err(said::error(&error)),
            value => Ok(value),
        });
        let value = value.inspect_err(|fault| ready.failed(fault))?;
        ready.still().map(|()| value)
    }

    /// What a script that writes answered, whatever that means, once a majority confirmed it.
    pub(super) async fn write_raw(&self, part: Part, call: Call) -> Result<Value, StoreFault> {
        let (value, confirmed) = self.write(part, call).await.map_err(|failed| failed.fault)?;
        confirmed.map(|()| value)
    }

    /// Runs one call of what writes, and waits for a majority: its answer, and whether a majority confirmed it.
    pub(super) async fn write(
        &self,
        part: Part,
        call: Call,
    ) -> Result<(Value, Result<(), StoreFault>), Failed> {
        let ready = self.links.at(part).map_err(|fault| Failed { fault, open: false })?;
        let (values, confirmed) = self.written(&ready, &[call]).await?;
        match values.into_iter().next().unwrap_or_default() {
            Value::ServerError(error) => {
                let fault = said::error(&error);
                ready.failed(&fault);
                Err(Failed { open: halfway(&fault), fault })
            }
            value => Ok((value, confirmed)),
        }
    }

    /// Runs calls of one server one after another on the connection for what writes, and waits for a majority once.
    async fn written(
        &self,
        ready: &Ready,
        calls: &[Call],
    ) -> Result<(Vec<Value>, Result<(), StoreFault>), Failed> {
        let timeout = self.options.timeout;
        let wait = (ready.wait > 0).then(|| Wait { replicas: ready.wait, most: timeout.mul_f64(0.75) });
        let mut connection = ready.commits.clone();
        let sent = scripts::send(&mut connection, &ready.sent, calls, wait);
        let result = match tokio::time::timeout(timeout, sent).await {
            Ok(result) => result.map_err(|error| said::broken(&error)),
            Err(_) => Err(said::late(timeout)),
        };
        let mut values = result.map_err(|fault| {
            ready.failed(&fault);
            Failed { fault, open: true }
        })?;
        let Some(wait) = wait else { return Ok((values, Ok(()))) };
        let confirmed = match values.pop() {
            Some(Value::ServerError(error)) => Err(said::error(&error)),
            confirmed => {
                let by = number(confirmed.as_ref()).unwrap_or_default();
                let fault = ServerFault::Unconfirmed;
                let detail = format!("{by} of {} replicas that make a majority confirmed it", wait.replicas);
                if by >= u64::from(wait.replicas) {
                    Ok(())
                } else {
                    Err(StoreFault::Server { fault, detail })
                }
            }
        };
        Ok((values, confirmed))
    }

    /// Runs calls that write something behind what they read; nothing of it counts unless a majority confirmed that.
    async fn gather_confirmed(&self, calls: Vec<(Part, Call)>) -> Result<Vec<Answered>, StoreFault> {
        let mut answers = Vec::new();
        for Share { ready, places, calls } in self.shares(calls)? {
            let (values, confirmed) = self.written(&ready, &calls).await.map_err(|failed| failed.fault)?;
            for ((at, part), value) in places.into_iter().zip(values) {
                answers.push((at, self.opened(part, value).inspect_err(|fault| ready.failed(fault))?));
            }
            confirmed?;
        }
        answers.sort_unstable_by_key(|(at, _)| *at);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    /// The documents of these keys; confirmed: as a primary has them that a majority follows at this instant.
    pub(super) async fn load_all(
        &self,
        keys: &[Key],
        confirmed: bool,
    ) -> Result<Vec<Option<Found>>, StoreFault> {
        let mut parts: Vec<(Load, Call)> = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            let part = self.names.part_of(key);
            let name = self.names.document(part, key);
            match parts.iter_mut().find(|(load, _)| load.part == part) {
                Some((load, call)) => {
                    load.places.push(at);
                    call.key(name);
                }
                None => {
                    let grounds = self.leases.grounds(part);
                    let call = self.call(&scripts::LOAD, part, &["head", "keys", "line", "beat"]);
                    let call = call.arg(Self::seen(part, &grounds)).number(self.names.skip());
                    let mut call = call.number(u8::from(confirmed)).number(LIVES);
                    call.key(name);
                    parts.push((Load { part, places: vec![at], grounds }, call));
                }
            }
        }
        let (loads, calls): (Vec<_>, Vec<_>) = parts
            .into_iter()
            .map(|(load, call)| {
                let part = load.part;
                (load, (part, call))
            })
            .unzip();
        let mut found: Vec<Option<Found>> = keys.iter().map(|_| None).collect();
        let answers = if confirmed { self.gather_confirmed(calls).await } else { self.gather(calls).await };
        for (Load { part, places, grounds }, mut rows) in loads.into_iter().zip(answers?) {
            let place = number(rows.next().as_ref()).zip(said::line(rows.next().as_ref()));
            let Some(place) = place.filter(|_| rows.len() == places.len()) else {
                return Err(said::senseless(
                    "fewer documents than were asked for, or nobody knows as of where",
                ));
            };
            if !self.leases.loaded(part, &grounds, place) {
                return Err(StoreFault::Forked { part: part.0, number: place.0 });
            }
            for (at, row) in places.into_iter().zip(rows) {
                let (Some(key), Some(slot)) = (keys.get(at), found.get_mut(at)) else { continue };
                *slot = match &row {
                    Value::Nil => None,
                    Value::BulkString(bytes) => Some(value::read(key, bytes)),
                    Value::Array(why) => Some(value::lost(key, &word(why.first()))),
                    _ => {
                        let detail = "a document is no text".to_owned();
                        return Err(StoreFault::PartDamaged { part: part.0, detail });
                    }
                };
            }
        }
        Ok(found)
    }

    async fn changes(&self, part: Part, position: u64, limit: usize) -> Result<Vec<Entry>, StoreFault> {
        let from = (position, self.leases.line_at(part, position));
        let call = self.call(&scripts::CHANGES, part, &["head", "feed", "line"]);
        let seen = Self::seen(part, &Grounds { followed: from, ..Grounds::default() });
        let call = call.arg(seen).number(position).number(limit).number(PAGE_BYTES);
        let value = self.read_raw(part, call).await?;
        if let Value::Array(rows) = &value
            && rows.first().and_then(text) == Some(b"forgotten")
        {
            let oldest = number(rows.get(1)).unwrap_or_default();
            return Err(StoreFault::FeedForgotten { asked: position, oldest });
        }
        let mut rows = self.opened(part, value)?;
        let newest = number(rows.next().as_ref()).unwrap_or_default();
        let damaged = |place: u64| StoreFault::PartDamaged {
            part: part.0,
            detail: format!("change {place} cannot be read"),
        };
        let first = position.saturating_add(1);
        let entries: Vec<Entry> = rows
            .zip(first..)
            .map(|(row, place)| entry(part, place, row).ok_or_else(|| damaged(place)))
            .collect::<Result<_, _>>()?;
        if entries.is_empty() && newest > position && limit > 0 {
            return Err(damaged(first));
        }
        if entries.last().is_some_and(|last| last.place.number < newest) {
            // A page, and not the last one.
            self.links.raise(part, newest);
        }
        Ok(entries)
    }
}

/// Whether an error may have come after a script began to write. Everything that can refuse comes before it does, save
/// that its user may lack the right to a command; what else there may be is not known.
fn halfway(fault: &StoreFault) -> bool {
    match fault {
        StoreFault::Server { fault, detail } => {
            matches!(fault, ServerFault::Permission | ServerFault::Refused | ServerFault::Answer)
                && detail.contains("script")
        }
        _ => true,
    }
}

/// A row of the feed, if it is that of this place.
fn entry(part: Part, place: u64, row: Value) -> Option<Entry> {
    let Value::Array(row) = row else { return None };
    let [id, Value::Array(fields)] = row.as_slice() else { return None };
    if text(id)? != format!("{place}-0").as_bytes() {
        return None;
    }
    let mut pairs = Vec::with_capacity(fields.len() / 2);
    for pair in fields.chunks(2) {
        let [name, bytes] = pair else { return None };
        pairs.push((text(name)?, text(bytes)?));
    }
    let [(b"change", change), (b"at", at), (b"line", line), rows @ ..] = pairs.as_slice() else {
        return None;
    };
    let change = ChangeId::new(std::str::from_utf8(change).ok()?).ok()?;
    let at = Timestamp::from_ms(std::str::from_utf8(at).ok()?.parse().ok()?);
    let documents = value::documents(rows.iter().copied())?;
    Some(Entry { place: part.at(place), line: Line::parse(line)?, change, at, documents })
}

impl Store for RedisStore {
    fn parts(&self) -> u16 {
        self.names.count()
    }

    fn part_of(&self, key: &Key) -> Part {
        self.names.part_of(key)
    }

    fn load<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Result<Vec<Option<Found>>, StoreFault>> {
        Box::pin(self.load_all(keys, false))
    }

    fn commit(&self, commit: Commit) -> Answer<'_, Result<Committed, CommitFault>> {
        // As of now, not of when it is first looked after: whoever asks later is right.
        let ask = self.asks.of(&commit.change);
        Box::pin(self.commit_one(commit, ask))
    }

    fn asked<'a>(
        &'a self,
        part: Part,
        change: &'a ChangeId,
    ) -> Answer<'a, Result<Option<Committed>, StoreFault>> {
        self.asks.begin(change);
        Box::pin(self.asked_one(part, change))
    }

    fn changes_after(
        &self,
        part: Part,
        position: u64,
        limit: usize,
    ) -> Answer<'_, Result<Vec<Entry>, StoreFault>> {
        Box::pin(self.changes(part, position, limit.min(PAGE_MOST)))
    }

    fn newest(&self, part: Part) -> watch::Receiver<u64> {
        self.links.newest(part)
    }

    fn list<'a>(
        &'a self,
        tenant: &'a TenantId,
        kind: Kind,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<(Key, Found)>, StoreFault>> {
        Box::pin(self.list_below(tenant, kind, after, limit.min(PAGE_MOST)))
    }

    fn list_tenants<'a>(
        &'a self,
        after: Option<&'a TenantId>,
        limit: usize,
    ) -> Answer<'a, Gathered<(TenantId, Found)>> {
        Box::pin(self.list_all_tenants(after, limit.min(PAGE_MOST)))
    }

    fn list_grantors<'a>(
        &'a self,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Gathered<(Key, Found)>> {
        Box::pin(self.list_kind(Kind::Grantor, after, limit.min(PAGE_MOST)))
    }

    fn list_stops<'a>(
        &'a self,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<(Key, Found)>, StoreFault>> {
        Box::pin(self.list_all_stops(after, limit.min(PAGE_MOST)))
    }

    fn due<'a>(
        &'a self,
        until: Timestamp,
        after: Option<&'a (Timestamp, Key)>,
        limit: usize,
    ) -> Answer<'a, Gathered<(Timestamp, Key)>> {
        Box::pin(self.all_due(until, after, limit.min(PAGE_MOST)))
    }

    fn mark(&self, part: Part) -> Answer<'_, Result<Mark, StoreFault>> {
        Box::pin(self.mark_of(part))
    }

    fn leases(&self) -> Arc<Leases> {
        Arc::clone(&self.leases)
    }

    fn confirmed<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Result<Vec<Option<Found>>, StoreFault>> {
        Box::pin(self.load_all(keys, true))
    }

    fn count<'a>(&'a self, bound: Bound<'a>) -> Answer<'a, Result<Counted, StoreFault>> {
        Box::pin(self.counted(bound))
    }
}
