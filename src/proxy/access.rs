//! One line for each request, where the configuration asks for it, and the trace context that ties it to the
//! application's own (W3C Trace Context, level 1).
//!
//! A line holds no token, no cookie, no query and no header's value but the trace's; every text in it is cut. Nothing of a
//! trace context is believed: it decides nothing, and what is not well-formed goes no further.
//!
//! Never here: what is proven about an access (that is the ledger's).

use std::{fmt::Write as _, net::IpAddr};

use tokio::time::Instant;

use crate::{
    engine::{Admission, End, Report, knock::Who},
    model::SubjectKind,
    policy::Named,
};

use super::{
    core::client_of,
    intake::Target,
    respond::Told,
    routing::Routing,
    wire::{Known, KnownSet, RequestView},
};

/// The longest text in a line, in characters.
const LONGEST: usize = 256;

/// What is wanted beside the proxying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// A line for each request.
    pub access: bool,
    /// A trace context for each request.
    pub trace: bool,
}

/// What is known of one request so far; written down when it is dropped, however the request ended.
pub(super) struct Note {
    wanted: Wanted,
    began: Instant,
    client: IpAddr,
    method: String,
    path: String,
    /// The context that goes on: the client's, or a new one.
    trace: Option<String>,
    /// It is a new one, and what the client sent is dropped.
    fresh: bool,
    kind: Option<&'static str>,
    subject: Option<String>,
    tenant: Option<String>,
    session: Option<String>,
    exchange: Option<String>,
    upstream: Option<String>,
    status: Option<u16>,
    code: Option<String>,
    end: Option<&'static str>,
    sent: u64,
    received: u64,
}

fn clip(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

impl Note {
    /// Begins, where anything of it is wanted.
    pub(super) fn begin(routing: &Routing, client: IpAddr, request: &RequestView<'_>) -> Option<Box<Note>> {
        let wanted = routing.log;
        if wanted == Wanted::default() {
            return None;
        }
        let (trace, fresh) = match (wanted.trace, context(request)) {
            (false, _) => (None, false),
            (true, Some(known)) => (Some(known), false),
            (true, None) => (new_context(), true),
        };
        Some(Box::new(Note {
            wanted,
            began: Instant::now(),
            client,
            method: clip(&String::from_utf8_lossy(request.method_name())),
            path: String::new(),
            trace,
            fresh,
            kind: None,
            subject: None,
            tenant: None,
            session: None,
            exchange: None,
            upstream: None,
            status: None,
            code: None,
            end: None,
            sent: 0,
            received: 0,
        }))
    }

    /// The path could be read in one way.
    pub(super) fn path(&mut self, target: &Target<'_>) {
        self.path = clip(target.path.as_str());
    }

    /// Who asks, and for which tenant.
    pub(super) fn asked(&mut self, who: &Who, tenant: Named<'_>) {
        match who {
            Who::Nobody => self.kind = Some("nobody"),
            Who::Refused(_) | Who::Unverifiable => self.kind = Some("unverified"),
            Who::Known(subject) => {
                self.kind = Some(match subject.kind {
                    SubjectKind::Staff => "staff",
                    SubjectKind::Member => "member",
                    SubjectKind::Service => "service",
                });
                self.subject = Some(clip(&subject.id.to_string()));
            }
        }
        if let Named::As(tenant) = tenant {
            self.tenant = Some(clip(tenant));
        }
    }

    /// It goes to the application.
    pub(super) fn admitted(&mut self, admission: &Admission, upstream: &str) {
        self.exchange = admission.live().map(|live| live.exchange.to_string());
        self.session = admission.staff().map(|staff| staff.session.to_string());
        self.upstream = Some(clip(upstream));
    }

    /// The gateway answered by itself.
    pub(super) fn told(&mut self, told: &Told) {
        (self.status, self.code) = (Some(told.status), Some(clip(&told.code)));
    }

    /// The same, by its status alone.
    pub(super) fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// How an exchange went.
    pub(super) fn reported(&mut self, report: &Report) {
        self.status = self.status.or(report.status);
        self.code = self.code.take().or(report.fault.map(str::to_owned));
        (self.sent, self.received) = (report.sent, report.received);
        self.end = Some(match report.end {
            End::Complete => "complete",
            End::Cut => "cut",
            End::ClientGone => "client_gone",
            End::UpstreamFailed => "upstream_failed",
            End::NotForwarded => "not_forwarded",
            End::Unknown => "unknown",
        });
    }

    /// A context of our own to send, and what of the client's is dropped for it.
    pub(super) fn fresh_trace(&self) -> Option<(&str, KnownSet)> {
        let trace = self.trace.as_deref().filter(|_| self.fresh)?;
        Some((trace, KnownSet::of(&[Known::Traceparent, Known::Tracestate])))
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if !self.wanted.access {
            return;
        }
        let took = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::info!(
            target: "access",
            client = client_of(self.client),
            method = self.method,
            path = self.path,
            status = self.status,
            code = self.code.as_deref(),
            end = self.end,
            kind = self.kind,
            subject = self.subject.as_deref(),
            tenant = self.tenant.as_deref(),
            session = self.session.as_deref(),
            exchange = self.exchange.as_deref(),
            upstream = self.upstream.as_deref(),
            sent = self.sent,
            received = self.received,
            micros = took,
            traceparent = self.trace.as_deref(),
            "request"
        );
    }
}

/// The client's context, where it sent one that is well-formed, and only one.
fn context(request: &RequestView<'_>) -> Option<String> {
    let mut found = request.fields().filter(|field| field.known == Known::Traceparent);
    let (first, second) = (found.next()?, found.next());
    if second.is_some() || first.lookalike {
        return None;
    }
    let text = std::str::from_utf8(first.value).ok()?;
    is_context(text).then(|| text.to_owned())
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, lower case, neither id zero. Of later versions more may follow behind a dash.
fn is_context(text: &str) -> bool {
    if text.len() > 128 {
        return false;
    }
    let mut parts = text.splitn(5, '-');
    let mut hex = |length: usize, may_be_zero: bool| {
        parts.next().filter(|part| {
            part.len() == length
                && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
                && (may_be_zero || part.bytes().any(|b| b != b'0'))
        })
    };
    let Some(version) = hex(2, true) else { return false };
    if hex(32, false).is_none() || hex(16, false).is_none() || hex(2, true).is_none() {
        return false;
    }
    match (version, parts.next()) {
        ("ff", _) | ("00", Some(_)) => false,
        (_, rest) => rest.is_none_or(|rest| rest.bytes().all(|b| b.is_ascii_graphic())),
    }
}

/// A context that begins here, not sampled. `None` where the system gives no random bytes; then there is none.
fn new_context() -> Option<String> {
    let mut random = [0u8; 24];
    aws_lc_rs::rand::fill(&mut random).ok()?;
    let (trace, span) = random.split_at_checked(16)?;
    let mut text = String::with_capacity(55);
    text.push_str("00-");
    for byte in trace {
        let _ = write!(text, "{byte:02x}");
    }
    text.push('-');
    for byte in span {
        let _ = write!(text, "{byte:02x}");
    }
    text.push_str("-00");
    is_context(&text).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_a_well_formed_context_goes_on() {
        assert!(is_context(GOOD));
        assert!(is_context(&GOOD.replacen("00", "cc", 1)), "a later version");
        assert!(is_context(&(GOOD.replacen("00", "cc", 1) + "-more.of-it")));
        for bad in [
            String::new(),
            GOOD.to_uppercase(),
            GOOD.replacen("00", "ff", 1),
            format!("{GOOD}-00"),
            format!("{GOOD}-"),
            format!(" {GOOD}"),
            GOOD.replace("0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000000"),
            GOOD.replace("b7ad6b7169203331", "0000000000000000"),
            GOOD.replace("b7ad6b7169203331", "b7ad6b716920333"),
            GOOD.replace('-', "_"),
            GOOD.replacen("00", "cc", 1) + "-a b",
            GOOD.replacen("00", "cc", 1) + "-" + &"x".repeat(200),
        ] {
            assert!(!is_context(&bad), "{bad}");
        }
    }

    #[test]
    fn a_new_context_is_well_formed_and_never_the_same() {
        let (one, other) = (new_context().unwrap(), new_context().unwrap());
        assert!(is_context(&one) && is_context(&other));
        assert_ne!(one, other);
    }

    /// What a subscriber wrote.
    #[derive(Clone, Default)]
    struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_request_is_one_line_whatever_it_names_and_however_it_ends() {
        for json in [true, false] {
            let lines = Lines::default();
            let writer = lines.clone();
            let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
            let log = |told: &dyn Fn(&mut Note)| {
                let mut note = Note {
                    wanted: Wanted { access: true, trace: false },
                    began: Instant::now(),
                    client: IpAddr::from([192, 0, 2, 7]),
                    method: "GET".to_owned(),
                    path: "/a".to_owned(),
                    trace: None,
                    fresh: false,
                    kind: Some("staff"),
                    subject: Some(clip(&"x\n\"level\":\"ERROR\"".repeat(100))),
                    tenant: None,
                    session: None,
                    exchange: Some("exc_1".to_owned()),
                    upstream: None,
                    status: None,
                    code: None,
                    end: None,
                    sent: 0,
                    received: 0,
                };
                told(&mut note);
            };
            let all = || {
                log(&|note| {
                    note.reported(&Report {
                        end: End::Cut,
                        status: Some(200),
                        sent: 7,
                        received: 0,
                        fault: None,
                        server: None,
                    });
                });
                log(&|_| {});
            };
            if json {
                tracing::subscriber::with_default(subscriber.json().flatten_event(true).finish(), all);
            } else {
                tracing::subscriber::with_default(subscriber.finish(), all);
            }
            let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
            assert_eq!(text.lines().count(), 2, "{text}");
            if json {
                let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
                assert_eq!(
                    (&first["status"], &first["end"], &first["exchange"]),
                    (&200.into(), &"cut".into(), &"exc_1".into())
                );
                assert_eq!((&first["client"], &first["level"]), (&"192.0.2.7".into(), &"INFO".into()));
                assert_eq!(first["subject"].as_str().unwrap().chars().count(), LONGEST);
            }
        }
    }
}
