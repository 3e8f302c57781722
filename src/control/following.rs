//! `/v1/tenants/{t}/audit/stream`: a tenant's own record as it is written, as server-sent events. Each event is one record as
//! it stands in the ledger, its `id` the record's place, so that a reader goes on where it was by `Last-Event-ID`. In a fleet the
//! ledgers of all gateways are followed ([`everywhere`]).
//!
//! Pieces are made when they are asked for: whoever reads slowly holds up nobody, and nothing is kept for them.
//!
//! Never here: sockets, what is recorded.

mod everywhere;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::{
    audit::{
        own::{Filters, OfGrant, Wanted, read_on},
        read::Place,
    },
    engine::Engine,
    fleet::Mark,
    identity::VerifiedSubject,
    model::{GrantId, TenantId, Timestamp},
    policy::{SUPPORT_MANAGE, SUPPORT_READ, rows::administers},
};

use self::everywhere::Everywhere;
use super::{
    Api,
    audit::{gave, own_alone},
    call::{Call, Query, one},
    places::Places,
    problem::Problem,
    reply::Reply,
};

/// Streams of one tenant at a time, and of all.
const OF_ONE: usize = 4;
const OF_ALL: usize = 64;
/// How long one stream goes on (rule 10), in milliseconds.
const LONGEST_MS: i64 = 3_600_000;
/// How often it is looked whether there is something new.
const LOOK: Duration = Duration::from_millis(250);
/// Looks without anything new, after which a comment says that somebody is there.
const SILENT: u32 = 60;
/// Records of one piece, at most.
const PIECE: usize = 100;

/// Streams that read the ledger at the same time. They have turns of their own, so that they keep nobody from a page of it.
const READING: usize = 2;

/// How many streams there are, by tenant, and their turns to read.
#[derive(Debug)]
pub(super) struct Streams {
    by_tenant: Mutex<BTreeMap<TenantId, usize>>,
    turns: Arc<Semaphore>,
}

impl Default for Streams {
    fn default() -> Self {
        Streams { by_tenant: Mutex::default(), turns: Arc::new(Semaphore::new(READING)) }
    }
}

impl Streams {
    fn enter(self: &Arc<Self>, tenant: &TenantId) -> Option<Seat> {
        let mut all = self.by_tenant.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = all.get(tenant).copied().unwrap_or(0);
        if of_one >= OF_ONE || all.values().sum::<usize>() >= OF_ALL {
            return None;
        }
        all.insert(tenant.clone(), of_one + 1);
        Some(Seat { streams: Arc::clone(self), tenant: tenant.clone() })
    }
}

/// One stream's place among them.
#[derive(Debug)]
struct Seat {
    streams: Arc<Streams>,
    tenant: TenantId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut all = self.streams.by_tenant.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(&self.tenant) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(all.remove(&self.tenant)),
        }
    }
}

/// What comes behind the head of an answer, piece by piece.
pub struct Following {
    engine: Arc<Engine>,
    subject: Arc<VerifiedSubject>,
    seat: Seat,
    /// Only what is about a grant, and was done by it.
    grant: Option<GrantId>,
    of: Option<OfGrant>,
    dir: PathBuf,
    /// Only what was recorded from this instant on, in milliseconds.
    since: Option<i64>,
    /// The last record that was looked at, and where it stands: what lies before it is not read again.
    after: Option<u64>,
    place: Option<Place>,
    /// Records that were there at the last look; there is something new when there are more.
    seen: u64,
    until: Timestamp,
    begun: bool,
    ended: bool,
    /// The ledgers of the other gateways, which are followed too.
    others: Option<Box<Everywhere>>,
    /// Whether they are looked at before the own one this time.
    others_first: bool,
}

/// Where a stream begins in this gateway's own ledger.
struct Begin {
    after: Option<u64>,
    since: Option<i64>,
}

impl std::fmt::Debug for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Following").field("tenant", &self.seat.tenant).finish_non_exhaustive()
    }
}

impl Api {
    pub(super) async fn follow(&self, call: &Call<'_>, tenant: &TenantId) -> Result<Reply, Problem> {
        let query = call.query(&["last_event_id", "grant", "ledger"]);
        // Whoever may not know learns nothing of what they sent.
        let named = query.as_ref().ok().and_then(|query| query.get("grant"));
        let of = self.sees_record(call, tenant, named).await?;
        let query = query?;
        let grant = query.maybe("grant", |text| GrantId::new(text).ok())?;
        let (begin, others) = match (own_alone(&query)?, &self.fleet) {
            (false, Some(fleet)) => {
                let places = self.begin_everywhere(call, &query, tenant)?;
                let mark = Mark::of(self.engine.journal().origin());
                let begin = match places.of.get(&mark) {
                    Some(next) => Begin { after: next.checked_sub(1), since: None },
                    None => Begin { after: None, since: places.begin },
                };
                let filters = Filters {
                    tenant: tenant.clone(),
                    kind: None,
                    session: None,
                    of: of.clone(),
                    since: None,
                };
                let log = self.engine.journal().origin().to_owned();
                let others = Everywhere::new(Arc::clone(fleet), Arc::clone(&self.seal), places, filters, log);
                (begin, Some(Box::new(others)))
            }
            (_, _) => (self.begin_here(call, &query)?, None),
        };
        let Some(seat) = self.streams.enter(tenant) else {
            let detail = "so many follow the record that there is no room for another; try again";
            return Err(Problem::new(503, "audit_streams", detail));
        };
        let until = call.subject.expires.min(call.now.plus_ms(LONGEST_MS));
        Ok(Reply::stream(Following {
            engine: Arc::clone(&self.engine),
            subject: Arc::clone(call.subject),
            seat,
            grant,
            of,
            dir: self.engine.journal().dir().to_owned(),
            since: begin.since,
            after: begin.after,
            place: None,
            seen: begin.after.map_or(0, |after| after.saturating_add(1)),
            until,
            begun: false,
            ended: false,
            others,
            others_first: false,
        }))
    }

    /// Where a stream of this gateway's own ledger begins.
    fn begin_here(&self, call: &Call<'_>, query: &Query<'_>) -> Result<Begin, Problem> {
        let place =
            |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
        let told = query.maybe("last_event_id", place)?;
        let header = last_event(call, place)?;
        let size = self.engine.journal().status().size;
        // Of a reader who names no place: what comes from now on.
        let named = header.or(told);
        if named.is_some_and(|named| named >= size) {
            return Err(of_another_ledger());
        }
        Ok(Begin { after: named.or(size.checked_sub(1)), since: None })
    }

    /// Where a stream of all ledgers begins.
    fn begin_everywhere(
        &self,
        call: &Call<'_>,
        query: &Query<'_>,
        tenant: &TenantId,
    ) -> Result<Places, Problem> {
        let open = |text: &str| Places::open(&self.seal, tenant, text);
        let told = query.maybe("last_event_id", open)?;
        let named = last_event(call, open)?.or(told);
        let (mark, size) = (Mark::of(self.engine.journal().origin()), self.engine.journal().status().size);
        match named {
            Some(places) if places.of.get(&mark).is_some_and(|next| *next > size) => Err(of_another_ledger()),
            Some(places) => Ok(places),
            // From now on: of those that are not there at this instant, too.
            None => Ok(Places { begin: Some(call.now.ms()), of: [(mark, size)].into() }),
        }
    }
}

/// What the header says in which browsers name the last event that they saw.
fn last_event<T>(call: &Call<'_>, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Problem> {
    let name = http::HeaderName::from_static("last-event-id");
    let Some(value) = one(call.headers, &name) else { return Ok(None) };
    let detail = "it must be the `id` of an event of this stream";
    value.and_then(read).map(Some).ok_or_else(|| Problem::query("last-event-id", detail))
}

fn of_another_ledger() -> Problem {
    let detail =
        "no such event was recorded yet, so it is of another ledger: read the record anew, or leave it out";
    Problem::query("last_event_id", detail)
}

impl Following {
    /// The next piece, waited for; `None` when it is over. May be dropped and called again at any time: nothing is lost.
    pub async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if !self.begun {
            self.begun = true;
            return Some(Bytes::from_static(
                b": the record of your tenant, as it is written\nretry: 2000\n\n",
            ));
        }
        for _ in 0..SILENT {
            if let Some(code) = self.over().await {
                return Some(self.end(code));
            }
            // Each has its turn, so that neither who writes much here nor who does elsewhere keeps the other back.
            self.others_first = !self.others_first;
            for others in [self.others_first, !self.others_first] {
                let piece = if others { self.elsewhere() } else { self.here().await };
                match piece {
                    Ok(Some(piece)) => return Some(piece),
                    Ok(None) => {}
                    Err(code) => return Some(self.end(code)),
                }
            }
            if self.engine.journal().status().size > self.seen {
                continue;
            }
            match &mut self.others {
                // What comes is looked at when it is known that it may still be shown.
                Some(others) => others.wait(LOOK).await,
                None => tokio::time::sleep(LOOK).await,
            }
        }
        Some(Bytes::from_static(b": still here\n\n"))
    }

    /// The last event says why there are no more.
    fn end(&mut self, code: &'static str) -> Bytes {
        self.ended = true;
        Bytes::from(format!("event: end\ndata: {{\"code\":\"{code}\"}}\n\n"))
    }

    /// Why it does not go on.
    async fn over(&self) -> Option<&'static str> {
        let now = self.engine.now();
        if now >= self.subject.expires {
            return Some("token_expired");
        }
        if now >= self.until {
            return Some("stream_too_long");
        }
        let policy = self.engine.policy();
        // The configuration may have let go of whoever vouched for them.
        if !policy.callers.members.contains(&self.subject.id.issuer) {
            return Some("not_allowed");
        }
        let may = self.engine.known(|facts| {
            let may = |right| administers(&self.subject, &self.seat.tenant, facts, &policy, right);
            if may(SUPPORT_READ)? || may(SUPPORT_MANAGE)? {
                return Ok(true);
            }
            match self.grant.as_ref().filter(|_| !policy.granting.by_role.is_empty()) {
                Some(grant) => gave(&self.subject, &self.seat.tenant, grant, facts, &policy),
                None => Ok(false),
            }
        });
        match may.await {
            Ok(true) => None,
            Ok(false) => Some("not_allowed"),
            Err(_) => Some("state_unavailable"),
        }
    }

    /// What is new in the own ledger.
    async fn here(&mut self) -> Result<Option<Bytes>, &'static str> {
        let size = self.engine.journal().status().size;
        if size > self.seen { self.read(size).await } else { Ok(None) }
    }

    /// What is new of the others.
    fn elsewhere(&mut self) -> Result<Option<Bytes>, &'static str> {
        let text = self.others.as_mut().and_then(|others| others.heard());
        Ok(text.map(Bytes::from))
    }

    /// What of the tenant's own stands between the last look and `size`; `None`: nothing.
    async fn read(&mut self, size: u64) -> Result<Option<Bytes>, &'static str> {
        let Ok(turn) = Arc::clone(&self.seat.streams.turns).acquire_owned().await else {
            return Err("audit_unreadable");
        };
        let wanted = Wanted {
            dir: self.dir.clone(),
            filters: Filters {
                tenant: self.seat.tenant.clone(),
                kind: None,
                session: None,
                of: self.of.clone(),
                since: self.since,
            },
            after: self.after,
            limit: PIECE,
            bytes: usize::MAX,
            size,
            place: self.place,
        };
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            read_on(&wanted)
        });
        let read = match read.await {
            Ok(Ok(read)) => read,
            Ok(Err(fault)) => {
                tracing::error!(%fault, "the ledger cannot be followed");
                return Err("audit_unreadable");
            }
            Err(_) => return Err("audit_unreadable"),
        };
        // It may have waited for its turn, and the reader have lost their right meanwhile.
        if let Some(code) = self.over().await {
            return Err(code);
        }
        let mut text = String::new();
        for item in &read.items {
            if let Some(others) = &mut self.others {
                others.write_own(&mut text, item);
                continue;
            }
            let data = serde_json::to_string(item).unwrap_or_default();
            // Writing into a string cannot fail; a record is one line.
            let _ = write!(text, "id: {}\nevent: record\ndata: {data}\n\n", item.seq);
        }
        (self.after, self.place, self.of) = (read.last, read.place, read.of);
        self.seen = if read.complete { size } else { read.last.map_or(0, |last| last.saturating_add(1)) };
        if let Some(others) = &mut self.others {
            others.own_is_at(self.seen);
        }
        Ok((!text.is_empty()).then(|| Bytes::from(text)))
    }
}
