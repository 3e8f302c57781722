//! The operations listener: `/livez`, `/readyz`, `/metrics`, and under `dangerous.clock` the clock. Nothing else, and
//! nothing of any tenant.

use std::{convert::Infallible, fmt::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    audit::journal::Health,
    engine::{Clock, Engine, Healings, KnownOfStore, Named},
    fleet::Fleet,
    model::{Span, Timestamp},
    proxy::{Shared, look_up::LookUps},
    state::{Age, RedisStore},
    webhook::Webhooks,
};

use super::{clock::SystemClock, keys::KeyKeepers, links, reload::Reloader, servers};

/// The furthest that the clock moves at once: ten years, in milliseconds.
const FURTHEST_MS: i64 = 10 * 365 * 86_400_000;

/// What the operations listener tells about.
pub(super) struct Operations {
    pub(super) engine: Arc<Engine>,
    pub(super) shared: Arc<Shared>,
    pub(super) keys: Arc<ArcSwap<KeyKeepers>>,
    pub(super) reloader: Arc<Reloader>,
    /// A stop is near, or under way.
    pub(super) leaving: CancellationToken,
    pub(super) webhooks: Arc<Webhooks>,
    pub(super) look_ups: Arc<LookUps>,
    pub(super) fleet: Option<Arc<Fleet>>,
    /// The store, where several gateways share it.
    pub(super) store: Option<Arc<RedisStore>>,
    /// Set when the configuration lets the clock be moved.
    pub(super) clock: Option<Arc<SystemClock>>,
}

/// Serves until the halt, at the end of a stop: until then it is told that the gateway stops.
pub(super) async fn serve(listener: TcpListener, operations: Arc<Operations>, halt: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = halt.cancelled() => return,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let operations = Arc::clone(&operations);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let operations = Arc::clone(&operations);
                async move { Ok::<_, Infallible>(operations.answer(request, peer).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(5))
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

type Answer = Response<Full<Bytes>>;

/// What stands in the way of a store that is being healed.
fn healing(healings: &Healings) -> String {
    let mut text = String::new();
    if !healings.waits_for.is_empty() {
        let names: Vec<&str> = healings.waits_for.iter().map(String::as_str).collect();
        let _ = write!(text, ", waiting for {}", names.join(", "));
    }
    if healings.lost > 0 {
        let _ = write!(
            text,
            "; of {} nobody here knows enough: start a gateway that knew them, or see `postern state rebuild`",
            healings.lost
        );
    }
    if let Some(id) = healings.other {
        let _ = write!(text, "; it is another store ({id}) than the one that the shadow is of");
    }
    text
}

/// What staff get by what is known of the store.
fn by_store(known: &KnownOfStore) -> String {
    let parts = usize::from(known.parts);
    let unheard = match known.oldest {
        Age::Known(ms) => format!("the store was not heard of for {ms} ms"),
        Age::Never | Age::Suspect => "the store was not heard of".to_owned(),
    };
    let (no_reads, no_writes) = (known.suspect + known.no_reads, known.suspect + known.no_writes);
    if known.suspect == parts {
        "refused: the store has lost something and is not healed yet".to_owned()
    } else if known.no_reads == parts {
        format!("refused: {unheard}")
    } else if no_reads == parts {
        "refused: parts of the store have lost something, and of the others it was not heard".to_owned()
    } else if known.no_writes == parts {
        format!("refused where they write: {unheard}")
    } else if no_writes > 0 {
        format!(
            "served, but for {no_writes} of {parts} parts of the store: {} lost something, of {} it was not heard",
            known.suspect, known.no_writes
        )
    } else {
        "served".to_owned()
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

impl Operations {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Answer {
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/livez") => text(StatusCode::OK, "alive\n"),
            (&Method::GET | &Method::HEAD, "/readyz") => self.ready(),
            (&Method::GET | &Method::HEAD, "/metrics") => text(StatusCode::OK, self.metrics()),
            (&Method::POST, "/clock") if self.clock.is_some() && peer.ip().is_loopback() => {
                self.move_clock(request).await
            }
            (_, "/livez" | "/readyz" | "/metrics" | "/clock") => text(StatusCode::METHOD_NOT_ALLOWED, "no\n"),
            (_, _) => text(StatusCode::NOT_FOUND, "livez, readyz, metrics\n"),
        }
    }

    /// Ready means that members can be served; what staff would get is told beside it (rule 19).
    fn ready(&self) -> Answer {
        let health = self.engine.journal().status().health;
        let staff = if self.engine.store_newer() {
            "refused: a newer version of postern runs on the store (`store_newer`); run that version here too"
                .to_owned()
        } else if !self.engine.settled() {
            "refused: what an earlier life left open is not settled yet".to_owned()
        } else if let Some((ledger, now)) = self.engine.clock_fault() {
            format!(
                "refused: the clock ({now}) is behind the ledger's last record ({ledger}); set it right, or accept it by `postern state accept-clock`"
            )
        } else if self.engine.name_taken() {
            "refused: another process goes by this gateway's name; give each gateway a name of its own"
                .to_owned()
        } else if health != Health::Healthy {
            "refused: the ledger takes no record".to_owned()
        } else {
            self.engine.known_of_store().map_or_else(|| "served".to_owned(), |known| by_store(&known))
        };
        let ledger = match health {
            Health::Healthy => "healthy",
            Health::Full => "full",
            Health::Quota => "quota used up",
            Health::Broken => "broken",
            Health::Stopped => "stopped",
        };
        let body = format!(
            "ready\nstaff: {staff}\nledger: {ledger}\n{}changes not yet durable: {}\n{}",
            self.store_line(),
            self.engine.pending(),
            self.reloader.lines()
        );
        if self.leaving.is_cancelled() {
            text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
        } else {
            text(StatusCode::OK, body)
        }
    }

    /// What is known of a store that others change too. A gateway serves members without it, and is ready (rule 19).
    fn store_line(&self) -> String {
        let Some(known) = self.engine.known_of_store() else { return String::new() };
        let mut lost = match known.suspect {
            0 => String::new(),
            count => format!("; {count} of its {} parts lost something and are not healed yet", known.parts),
        };
        if let Some(healings) = self.engine.healings() {
            if known.suspect > 0 {
                lost.push_str(&healing(&healings));
            }
            if let Some(fault) = &healings.shadow {
                let _ = write!(lost, "; the shadow is not written: {fault}");
            }
            let fleet: Vec<&str> = healings.fleet.iter().map(String::as_str).collect();
            let _ = write!(lost, "\ngateways that a healing waits for: {}", fleet.join(", "));
        }
        let age = match known.oldest {
            Age::Known(ms) => format!("known as of {ms} ms ago"),
            Age::Never | Age::Suspect => "parts of it are not known".to_owned(),
        };
        let links = self.store.as_deref().map(links::lines).unwrap_or_default();
        format!("store: {age}{lost}\n{links}")
    }

    fn healing_metrics(&self, out: &mut String) {
        let Some(healings) = self.engine.healings() else { return };
        let seconds = Duration::from_millis(u64::try_from(healings.since_ms).unwrap_or(0)).as_secs_f64();
        for (name, kind, help, value) in [
            (
                "postern_state_parts_healed_total",
                "counter",
                "Parts of the store that were not trusted and are again, since the start.",
                healings.healed.to_string(),
            ),
            (
                "postern_state_healing_seconds",
                "gauge",
                "For how long the oldest healing of a part has been going on.",
                seconds.to_string(),
            ),
            (
                "postern_state_healing_waits_for",
                "gauge",
                "Gateways that healings wait for; `/readyz` and the log name them.",
                healings.waits_for.len().to_string(),
            ),
            (
                "postern_shadow_parts_copying",
                "gauge",
                "Parts of the store that are still being copied into this gateway's shadow.",
                healings.copying.to_string(),
            ),
            (
                "postern_shadow_healthy",
                "gauge",
                "1 when this gateway's shadow takes what it is told.",
                u64::from(healings.shadow.is_none()).to_string(),
            ),
        ] {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
    }

    fn store_metrics(&self, out: &mut String) {
        let Some(known) = self.engine.known_of_store() else { return };
        let seconds = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0)).as_secs_f64();
        let oldest = match known.oldest {
            Age::Known(ms) => Duration::from_millis(ms).as_secs_f64(),
            Age::Never | Age::Suspect => f64::INFINITY,
        };
        let oldest = if oldest.is_finite() { oldest.to_string() } else { "+Inf".to_owned() };
        for (name, help, value) in [
            (
                "postern_state_age_max_seconds",
                "The largest age of what staff were admitted by, since the start.",
                seconds(known.largest_ms).to_string(),
            ),
            (
                "postern_state_age_seconds",
                "How old what is known of the oldest part of the store is.",
                oldest,
            ),
            (
                "postern_state_parts_suspect",
                "Parts of the store that lost something and are not healed yet.",
                known.suspect.to_string(),
            ),
        ] {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
    }

    fn metrics(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "# HELP postern_requests_total Requests by what became of them.");
        let _ = writeln!(out, "# TYPE postern_requests_total counter");
        for (name, value) in self.shared.counters.all() {
            let _ = writeln!(out, "postern_requests_total{{what=\"{name}\"}} {value}");
        }
        let name = "postern_effects_total";
        let _ = writeln!(out, "# HELP {name} What follows from creations, by what became of it.");
        let _ = writeln!(out, "# TYPE {name} counter");
        for (outcome, value) in self.engine.effects() {
            let _ = writeln!(out, "{name}{{outcome=\"{outcome}\"}} {value}");
        }
        let name = "postern_break_glass_entries_total";
        let _ = writeln!(out, "# HELP {name} Entries by break-glass.\n# TYPE {name} counter");
        let _ = writeln!(out, "{name} {}", self.engine.glass_broken());
        let (name, help) =
            ("postern_tls_handshakes_failed", "TLS handshakes that came to nothing, since the start.");
        let failed = self.shared.counters.tls_failed.load(std::sync::atomic::Ordering::Relaxed);
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {failed}");
        let status = self.engine.journal().status();
        let gauges = [
            ("postern_connections", "Open client connections.", {
                self.shared
                    .counters
                    .connections
                    .load(std::sync::atomic::Ordering::Relaxed)
                    .max(0)
                    .unsigned_abs()
            }),
            ("postern_staff_exchanges", "Staff exchanges under way.", self.engine.registry().len() as u64),
            (
                "postern_changes_pending",
                "Changes in force that are not yet durable.",
                self.engine.pending() as u64,
            ),
            (
                "postern_effects_queued",
                "What follows from creations and is not done yet.",
                self.engine.effects_queued() as u64,
            ),
            (
                "postern_staff_served",
                "1 when nothing of this gateway's own keeps staff out: the past is settled, the clock is right, the name is its own, the ledger takes records. The store has gauges of its own.",
                u64::from(self.engine.serves_staff() && status.health == Health::Healthy),
            ),
            (
                "postern_gateway_name_contested",
                "1 while another process goes by this gateway's name.",
                u64::from(self.engine.named() != Named::Alone),
            ),
            ("postern_ledger_healthy", "1 when the ledger takes every record.", {
                u64::from(status.health == Health::Healthy)
            }),
            ("postern_ledger_records", "Records in the ledger.", status.size),
            ("postern_ledger_signed", "Records that the latest checkpoint covers.", status.signed),
            ("postern_ledger_bytes", "Bytes of all segments.", status.bytes),
            ("postern_ledger_open_intents", "Intents without outcome.", status.open_intents),
            (
                "postern_ledger_room_short",
                "1 when room for the ledger runs short.",
                u64::from(status.warning),
            ),
        ];
        for (name, help, value) in gauges {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
        self.store_metrics(&mut out);
        self.healing_metrics(&mut out);
        if let Some(store) = &self.store {
            links::metrics(store, &mut out);
        }
        self.keys.load().metrics(self.engine.now(), &mut out);
        self.webhooks.metrics(&mut out);
        self.look_ups.metrics(&mut out);
        if let Some(fleet) = &self.fleet {
            fleet.metrics(&mut out);
        }
        self.reloader.metrics(&mut out);
        let retried = self.shared.counters.retried.load(std::sync::atomic::Ordering::Relaxed);
        servers::metrics(&self.shared.routing.load(), retried, &mut out);
        out
    }

    async fn move_clock(&self, request: Request<Incoming>) -> Answer {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wish {
            advance: String,
        }
        #[derive(Serialize)]
        struct Now {
            now: Timestamp,
            moved_ms: i64,
        }
        let Some(clock) = &self.clock else { return text(StatusCode::NOT_FOUND, "no\n") };
        // A page in an operator's browser can send this to a loopback address; browsers say where it came from.
        if request.headers().contains_key(header::ORIGIN) {
            return text(StatusCode::FORBIDDEN, "not from a page in a browser\n");
        }
        let Ok(body) = Limited::new(request.into_body(), 1024).collect().await else {
            return text(StatusCode::BAD_REQUEST, "the body cannot be read\n");
        };
        let advance = serde_json::from_slice::<Wish>(&body.to_bytes())
            .ok()
            .and_then(|wish| match Span::parse(&wish.advance) {
                Some(Span::Millis(ms)) => Some(ms),
                // Whose calendar? A clock has no tenant.
                Some(Span::CalendarDays(_) | Span::CalendarMonths(_)) | None => None,
            })
            .filter(|ms| (1..=FURTHEST_MS).contains(ms));
        let Some(ms) = advance else {
            return text(StatusCode::BAD_REQUEST, "send {\"advance\":\"5d\"}: forward, ten years at most\n");
        };
        // Said first: no record under a moved clock is without it.
        self.engine.clock_is_moving();
        clock.advance(ms);
        self.engine.clock_was_moved(ms);
        self.engine.sweep_due().await;
        let now = Now { now: clock.now(), moved_ms: clock.moved() };
        text(StatusCode::OK, serde_json::to_string(&now).unwrap_or_default() + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staff_are_served_where_the_store_is_heard_of_and_only_there() {
        let known = KnownOfStore {
            oldest: Age::Known(40),
            parts: 64,
            suspect: 0,
            no_reads: 0,
            no_writes: 0,
            largest_ms: 0,
        };
        let late = Age::Known(2_000);
        let all = "refused: the store has lost something and is not healed yet";
        for (known, said) in [
            (known, "served"),
            (
                KnownOfStore { oldest: late, no_writes: 64, ..known },
                "refused where they write: the store was not heard of for 2000 ms",
            ),
            (
                KnownOfStore { oldest: late, no_reads: 64, no_writes: 64, ..known },
                "refused: the store was not heard of for 2000 ms",
            ),
            (
                KnownOfStore { oldest: Age::Never, no_reads: 64, no_writes: 64, ..known },
                "refused: the store was not heard of",
            ),
            (
                KnownOfStore { oldest: late, no_reads: 20, no_writes: 21, ..known },
                "served, but for 21 of 64 parts of the store: 0 lost something, of 21 it was not heard",
            ),
            (
                KnownOfStore { oldest: Age::Suspect, suspect: 3, ..known },
                "served, but for 3 of 64 parts of the store: 3 lost something, of 0 it was not heard",
            ),
            (
                KnownOfStore { oldest: Age::Suspect, suspect: 3, no_reads: 61, no_writes: 61, ..known },
                "refused: parts of the store have lost something, and of the others it was not heard",
            ),
            (KnownOfStore { oldest: Age::Suspect, suspect: 64, ..known }, all),
        ] {
            assert_eq!(by_store(&known), said);
        }
    }
}
