//! The gateway itself: its addresses, prefix, store, ledger, assertion, bounds.
//!
//! Never here: opening or listening.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Component, Path, PathBuf},
};

use http::HeaderName;

use super::{
    context::{Context, short},
    dangerous::DangerousSettings,
    settings::{AssertionSettings, LedgerSettings, LimitSettings, LogSettings, PathSettings},
    state::StateSettings,
};
use crate::{
    config::{
        fault::Code,
        written::{At, Dangerous, Delimiters, Field, File, Pass, Paths, Place, Twins},
    },
    policy::{
        path::{self, PathRules},
        routes::{self, TableRules},
    },
};

/// The root of the file.
pub(super) const TOP: fn() -> Place = || Place::at(0, 0);

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;
/// Far below any line that people still use.
const BODY_RATE: u64 = 240;

pub(super) fn name(context: Context<'_>, file: &File) -> Option<String> {
    let at = context.need(&file.gateway, TOP(), "gateway", "name this gateway, e.g. `gateway: main`")?;
    context.visible(&context.filled(at)?, "the name of a gateway", 200)
}

/// An address to listen on.
pub(super) fn listening(context: Context<'_>, at: &At<String>) -> Option<SocketAddr> {
    match at.value.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            context.put(
                Code::BadValue,
                at.place,
                format!("`{}` is no address to listen on", short(&at.value)),
                "write an IP address and a port: `127.0.0.1:8080`, `0.0.0.0:8080` or `[::1]:8080`",
            );
            None
        }
    }
}

/// Both listeners, with what `dangerous` allows and asks of them.
pub(super) fn listeners(
    context: Context<'_>,
    file: &File,
) -> (Option<SocketAddr>, Option<SocketAddr>, DangerousSettings) {
    let hint = "say where requests come in, e.g. `listen: 127.0.0.1:8080`";
    let listen_at = context.need(&file.listen, TOP(), "listen", hint);
    let listen = listen_at.and_then(|at| listening(context, at));
    let operations = match &file.operations {
        Field::Given(at) => listening(context, at),
        Field::Absent => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090)),
        Field::Broken => None,
    };
    let operations_place = file.operations.given().map_or(TOP(), |at| at.place);
    if let (Some(one), Some(other)) = (listen, operations)
        && overlap(one, other)
    {
        context.put(
            Code::SameAddress,
            if file.operations.is_absent() {
                listen_at.map_or(TOP(), |at| at.place)
            } else {
                operations_place
            },
            format!("`operations` ({other}) takes the address of `listen` ({one})"),
            "give them different ports",
        );
    }
    let dangerous = file.dangerous.given();
    let used = dangerous.map(|at| dangerous_settings(&at.value)).unwrap_or_default();
    let in_clear = [file.tls.is_absent(), true];
    let before = context.faults.count();
    let both = [(listen, listen_at), (operations, file.operations.given())];
    for ((address, at), in_clear) in both.into_iter().zip(in_clear) {
        let (Some(address), Some(at)) = (address, at) else { continue };
        if address.ip().is_loopback() {
            continue;
        }
        if used != DangerousSettings::default() {
            context.put(
                Code::Dangerous,
                dangerous.map_or(at.place, |at| at.place),
                format!("`dangerous` may not be used while the gateway listens on {address}"),
                "remove `dangerous`, or listen on loopback: `127.0.0.1` or `[::1]`",
            );
        } else if in_clear {
            context.warn(
                Code::NotLoopback,
                at.place,
                format!("{address} can be reached from elsewhere, without encryption"),
                "listen on loopback behind something that speaks TLS, or see to it that only it gets here",
            );
        }
    }
    // Where it may not be at all, that is told already.
    if let Some(dangerous) = dangerous.filter(|_| context.faults.count() == before) {
        // Taken apart whole, so that none is forgotten.
        let Dangerous { clock, hmac, http_keys } = &dangerous.value;
        let settings = [
            (clock, "clock", "whoever reaches the operations listener can move the clock"),
            (hmac, "hmac", "whoever can verify a token of a shared secret can make one"),
            (http_keys, "http_keys", "whoever stands between can hand in keys, and so make tokens"),
        ];
        for (field, name, what) in settings {
            if let Some(at) = field.given().filter(|at| at.value) {
                context.warn(
                    Code::Dangerous,
                    at.place,
                    format!("`dangerous.{name}` is on: {what}"),
                    "this is for local play; remove it before anybody's data is behind this gateway",
                );
            }
        }
    }
    (listen, operations, used)
}

fn dangerous_settings(written: &Dangerous) -> DangerousSettings {
    let on = |field: &Field<bool>| field.value().copied().unwrap_or(false);
    DangerousSettings {
        clock: on(&written.clock),
        hmac: on(&written.hmac),
        http_keys: on(&written.http_keys),
    }
}

pub(super) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (any || one.ip() == other.ip())
}

pub(super) fn prefix(context: Context<'_>, file: &File) -> Option<String> {
    let at = match &file.prefix {
        Field::Absent => return Some("/_postern/".to_owned()),
        Field::Broken => return None,
        Field::Given(at) => at,
    };
    let inside = at.value.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
    let plain = |segment: &str| {
        !segment.is_empty()
            && segment.len() <= 64
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    if inside.is_some_and(|inside| inside.split('/').all(plain)) {
        return Some(at.value.clone());
    }
    context.put(
        Code::BadValue,
        at.place,
        format!("`{}` cannot be the reserved prefix", short(&at.value)),
        "begin and end with `/`, with letters, digits, `_` and `-` between, e.g. `/_postern/`",
    );
    None
}

pub(super) fn workers(context: Context<'_>, file: &File) -> Option<usize> {
    file.workers.given()?;
    usize::try_from(context.count(&file.workers, 1, 1, 1024)).ok()
}

pub(super) fn ledger(context: Context<'_>, file: &File) -> Option<LedgerSettings> {
    let hint = "name the ledger's directory, origin and key; there is no access without a record";
    let at = context.need(&file.ledger, TOP(), "ledger", hint)?;
    let written = &at.value;
    let path = context.need(&written.path, at.place, "path", "name a directory on a disk that persists");
    let path = path.and_then(|path| context.path(path));
    let hint = "name the log, unique in the world, e.g. `example.com/postern/main`";
    let origin = context.need(&written.origin, at.place, "origin", hint);
    let origin = origin.and_then(|origin| {
        let origin = context.filled(origin)?;
        let text = context.visible(&origin, "the origin of a ledger", 200)?;
        if text.contains('+') {
            context.put(
                Code::BadValue,
                origin.place,
                format!("`{}` holds a `+`, which key names cannot", short(&text)),
                "name it like a web address without scheme: `example.com/postern/main`",
            );
            return None;
        }
        Some(text)
    });
    let key = context.secret(&written.key, at.place, "the ledger's key");
    let segment = context.size(&written.segment, 64 << 20, 1 << 20, 4 << 30);
    let reserve = context.size(&written.reserve, 16 << 20, 1 << 20, 1 << 40);
    let quota = written.quota.given().map(|at| {
        let least = segment.saturating_add(reserve);
        if at.value.0 < least {
            context.put(
                Code::OutOfRange,
                at.place,
                format!("the quota of {} bytes leaves no room beside a segment and the reserve", at.value.0),
                format!("use at least {least} bytes, or a smaller `segment` or `reserve`"),
            );
        }
        at.value.0
    });
    Some(LedgerSettings { path: path?, origin: origin?, key: key?, segment, reserve, quota })
}

/// State and ledger lie apart: each moves, fills and is lost by itself, and neither may be put over the other. Compared
/// as they are written; what links make of it is nobody's slip of the pen.
pub(super) fn apart(
    context: Context<'_>,
    file: &File,
    state: Option<&StateSettings>,
    ledger: Option<&LedgerSettings>,
) {
    let Some(ledger_at) = file.ledger.value().and_then(|ledger| ledger.path.given()) else { return };
    let Some(ledger) = ledger.map(|ledger| plain(&ledger.path)) else { return };
    let hint = "give the ledger a directory of its own, e.g. `ledger: { path: /var/lib/postern/ledger }`";
    if ledger == plain(context.dir) {
        let message = "the ledger would lie in the directory of this configuration, among files of others";
        context.put(Code::BadValue, ledger_at.place, message, hint);
        return;
    }
    let written = file.state.value();
    let given = written.and_then(|state| state.path.given().or_else(|| state.shadow.given()));
    let Some(state_at) = given else { return };
    let Some(state) = state.map(|state| plain(state.file())) else { return };
    let message = if state == ledger {
        "the state and the ledger are at the same place"
    } else if state.starts_with(&ledger) {
        "the state would lie in the ledger's directory"
    } else if ledger.starts_with(&state) {
        "the ledger would lie below the file of the state"
    } else {
        return;
    };
    let place =
        if state_at.place.start() < ledger_at.place.start() { ledger_at.place } else { state_at.place };
    context.put(Code::BadValue, place, message, hint);
}

/// A path without `.` and, as far as that can be told from it alone, without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

pub(super) fn assertion(
    context: Context<'_>,
    file: &File,
    gateway: Option<&str>,
) -> Option<AssertionSettings> {
    let hint = "the application needs proof of who is calling: `assertion: { key: { file: assertion.pem } }`";
    let at = context.need(&file.assertion, TOP(), "assertion", hint)?;
    let written = &at.value;
    let key = context.secret(&written.key, at.place, "the assertion's key");
    let header = match &written.header {
        Field::Absent => Some(HeaderName::from_static("postern-assertion")),
        Field::Broken => None,
        Field::Given(at) => context.header(at.place, &at.value),
    };
    let issuer = match &written.issuer {
        Field::Absent => gateway.map(str::to_owned),
        Field::Broken => None,
        Field::Given(at) => context.visible(at, "the `iss` of an assertion", 512),
    };
    Some(AssertionSettings { key: key?, header: header?, issuer: issuer? })
}

/// So many in a second, and so many at once; a burst without a rate says nothing.
fn rate(context: Context<'_>, rate: &Field<u64>, burst: &Field<u64>, name: &str) -> Option<(u64, u64)> {
    if rate.is_absent() {
        if let Some(at) = burst.given() {
            let message = format!("a burst has no meaning without `{name}`");
            context.put(Code::BadValue, at.place, message, format!("write `{name}` too, or leave it out"));
        }
        return None;
    }
    let in_a_second = context.count(rate, 1, 1, 1_000_000);
    let usual = in_a_second.saturating_mul(2).min(1_000_000);
    Some((in_a_second, context.count(burst, usual, 1, 1_000_000)))
}

pub(super) fn limits(context: Context<'_>, file: &File) -> LimitSettings {
    let none = crate::config::written::Limits::default();
    let written = file.limits.value().unwrap_or(&none);
    let request_head = context.size(&written.request_head, 32 << 10, 1 << 10, 1 << 20);
    let target = context.size(&written.target, 8 << 10, 256, 64 << 10);
    let token = context.size(&written.token, 8 << 10, 512, 64 << 10);
    for (field, size, what) in [(&written.target, target, "target"), (&written.token, token, "token")] {
        let place = field.given().or_else(|| written.request_head.given()).map(|at| at.place);
        if let Some(place) = place.filter(|_| size >= request_head) {
            context.put(
                Code::OutOfRange,
                place,
                format!("a `{what}` of {size} bytes does not fit into a head of {request_head} bytes"),
                format!("use less for `limits.{what}`, or more for `limits.request_head`"),
            );
        }
    }
    LimitSettings {
        request_head,
        target,
        headers: context.count(&written.headers, 100, 10, 1_000),
        token,
        header_timeout_ms: context.duration(&written.header_timeout, 10 * SECOND, 100, 5 * MINUTE),
        body_idle_ms: context.duration(&written.body_idle, MINUTE, 100, HOUR),
        body_rate: context.size(&written.body_rate, BODY_RATE, 0, 1 << 30),
        keep_alive_ms: context.duration(&written.keep_alive, MINUTE, 100, HOUR),
        api_body: context.size(&written.api_body, 64 << 10, 1 << 10, 1 << 20),
        connections: context.count(&written.connections, 10_000, 1, 1_000_000),
        address_rate: rate(context, &written.address_rate, &written.address_burst, "address_rate"),
        subject_rate: rate(context, &written.subject_rate, &written.subject_burst, "subject_rate"),
        drain_ms: context.duration(&written.drain, 30 * SECOND, 0, HOUR),
        shutdown_delay_ms: context.duration(&written.shutdown_delay, 0, 0, 5 * MINUTE),
    }
}

pub(super) fn log(file: &File) -> LogSettings {
    let on = |field: &Field<bool>| field.value().copied().unwrap_or(false);
    file.log.value().map_or_else(LogSettings::default, |log| LogSettings {
        access: on(&log.access),
        trace: on(&log.trace),
    })
}

pub(super) fn paths(file: &File) -> PathSettings {
    let none = Paths::default();
    let written = file.paths.value().unwrap_or(&none);
    let twins = |field: &Field<Twins>| match field.value() {
        Some(Twins::Distinct) => routes::Twins::Distinct,
        Some(Twins::Refuse) | None => routes::Twins::Refuse,
    };
    let usual = PathRules::default();
    let pass = |field: &Field<Pass>, usual: bool| field.value().map_or(usual, |pass| *pass == Pass::Allow);
    PathSettings {
        rules: PathRules {
            matrix_parameters: pass(&written.semicolons, usual.matrix_parameters),
            non_ascii: pass(&written.non_ascii, usual.non_ascii),
            delimiters: match written.delimiters.value() {
                Some(Delimiters::Encoded) => path::Delimiters::Encoded,
                Some(Delimiters::Raw) => path::Delimiters::Raw,
                None => usual.delimiters,
            },
        },
        table: TableRules { case_twins: twins(&written.case), slash_twins: twins(&written.trailing_slash) },
    }
}
