//! One client connection: heads come in one after another, each is decided by itself, and each answer is whole before
//! the next head is looked at.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    engine::{
        Admission, Answer, Glance, Report,
        knock::{Knock, Name, Particulars, Path, Who},
    },
    model::SubjectKind,
    policy::{Ask, Caller, Denial, Named, Route, routes::Params},
};

use super::{
    assertion::{About, fill},
    collect::{self, Mapped},
    core::{Core, client_of},
    counters::Counters,
    inside::InsideCall,
    intake::{self, Unreadable},
    patience::Patience,
    relay::{Client, Next, Plan, forward},
    respond::Told,
    routing::{Assert, Routing},
    upstream::{keep_little_unsent, reset_on_drop},
    wire::{
        Authority, BodyReader, CONTINUE, ClientConnection, Known, Name as HeaderName, Parsed, RequestHead,
        RequestView, SimpleResponse, Target, Value, write_simple_response,
    },
};

/// How much is read at once while a head is awaited.
const PIECE: usize = 8 << 10;
/// How long an answer to somebody who does not read may take.
const ANSWER: Duration = Duration::from_secs(10);
/// What is read and thrown away behind a refused request, so that its answer is not lost.
const LINGER: usize = 64 << 10;

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    /// Bytes that have come and belong to no request yet.
    inbox: Vec<u8>,
    head: RequestHead,
    patience: Patience,
    /// The kernel was told to keep little that is not sent.
    little_unsent: bool,
}

/// Serves a connection to its end.
pub(super) async fn serve(core: &Core, stream: TcpStream, peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let mut connection = Connection {
        stream,
        peer,
        inbox: Vec::new(),
        head: RequestHead::new(),
        patience: Patience::new(),
        little_unsent: false,
    };
    while let Some(bytes) = connection.next_head(core).await {
        let (next, finish) = connection.handle(core, &bytes).await;
        core.give_back(bytes);
        match next {
            Next::Again => {
                if let Some((admission, report)) = finish {
                    admission.finish(&report);
                }
                if connection.inbox.is_empty() {
                    // Whoever idles holds no buffer.
                    core.give_back(std::mem::take(&mut connection.inbox));
                }
            }
            Next::Reset => {
                reset_on_drop(&connection.stream);
                // Let go of first, then said to be over: nothing passes once the end was answered.
                drop(connection);
                if let Some((admission, report)) = finish {
                    admission.finish(&report);
                }
                return;
            }
            Next::Close | Next::Answer { .. } => {
                if let Some((admission, report)) = finish {
                    admission.finish(&report);
                }
                break;
            }
        }
    }
    connection.close().await;
}

/// Tells a connection that there is no room for it.
pub(super) fn turn_away(core: &Core, stream: TcpStream) {
    let told =
        Told::plain(503, "too_many_connections", "the gateway has no room for another connection; try again");
    let mut out = Vec::new();
    answer(&mut out, &told, false, true);
    // What the kernel does not take at once is not worth waiting for.
    let _ = stream.try_write(&out);
    Counters::add(&core.counters().faulted);
}

impl Connection {
    /// The bytes of the next whole head; what came behind it stays in the inbox. `None`: the connection is over.
    async fn next_head(&mut self, core: &Core) -> Option<Vec<u8>> {
        let shared = core.shared();
        let routing = shared.routing.load();
        if self.inbox.is_empty() {
            let ready = tokio::select! {
                biased;
                ready = self.patience.wait(routing.keep_alive, self.stream.readable()) => ready,
                () = shared.stop.cancelled() => return None,
            };
            if !matches!(ready, Ok(Ok(()))) {
                return None;
            }
            self.inbox = core.buffer();
        }
        let limits = routing.limits;
        let header_timeout = routing.header_timeout;
        drop(routing);
        let mut started = None;
        loop {
            if !self.inbox.is_empty() {
                match self.head.parse(&self.inbox, &limits) {
                    Ok(Parsed::Complete { len }) => {
                        let rest = self.inbox.split_off(len.min(self.inbox.len()));
                        return Some(std::mem::replace(&mut self.inbox, rest));
                    }
                    Ok(Parsed::Partial) => {}
                    Err(fault) => {
                        Counters::add(&core.counters().unreadable);
                        self.tell(&unreadable(Unreadable::Head(fault)), false).await;
                        return None;
                    }
                }
            }
            // The time for a head counts from its first byte, however often it is fed. Of a head that comes in one
            // piece, as most do, no time is taken.
            if started.is_none() && !self.inbox.is_empty() {
                started = Some(tokio::time::Instant::now());
            }
            let left = header_timeout.saturating_sub(started.map_or(Duration::ZERO, |began| began.elapsed()));
            self.inbox.reserve(PIECE);
            match self.patience.wait(left, self.stream.read_buf(&mut self.inbox)).await {
                Ok(Ok(0) | Err(_)) => return None,
                Ok(Ok(_)) => {}
                Err(_) => {
                    if !self.inbox.is_empty() {
                        let told = Told::plain(408, "head_too_slow", "the request's head took too long");
                        self.tell(&told, false).await;
                    }
                    return None;
                }
            }
        }
    }

    /// Everything about one request.
    async fn handle(&mut self, core: &Core, bytes: &[u8]) -> (Next, Option<(Admission, Report)>) {
        let head = std::mem::take(&mut self.head);
        let done = self.handle_head(core, &head, bytes).await;
        self.head = head;
        done
    }

    async fn handle_head(
        &mut self,
        core: &Core,
        head: &RequestHead,
        bytes: &[u8],
    ) -> (Next, Option<(Admission, Report)>) {
        let request = head.view(bytes);
        let shared = core.shared();
        let routing = shared.routing.load_full();
        let target = match intake::target(&request, routing.paths) {
            Ok(target) => target,
            Err(fault) => {
                Counters::add(&core.counters().unreadable);
                return (self.refuse(&request, &unreadable(fault)).await, None);
            }
        };
        let inside = target.path.as_str().starts_with(&routing.prefix);
        let who = core.who_in_time(&request, inside).await;
        if inside {
            return (self.inside(core, &routing, &request, target.whole, who).await, None);
        }
        let Ok(method) = http::Method::from_bytes(request.method_name()) else {
            return (
                self.refuse(&request, &Told::plain(400, "method_malformed", "no such method")).await,
                None,
            );
        };
        let host = collect::host(&request);
        let mut params = Params::new();
        let mapped = collect::route(&routing, host, &method, &target.path, &mut params);
        let parameter = |place: fn(&super::routing::Binding) -> Option<usize>| {
            mapped.binding.and_then(place).and_then(|number| params.get(&target.path, number))
        };
        let subject = match &who {
            Who::Known(subject) => Some(subject.subject()),
            Who::Nobody | Who::Refused(_) | Who::Unverifiable => None,
        };
        let ask = Ask {
            route: mapped.route,
            tenant: collect::tenant(&routing, &request, host, parameter(|binding| binding.tenant), subject),
            environment: collect::environment(
                &routing,
                &request,
                host,
                parameter(|binding| binding.environment),
                subject,
            ),
            resource: parameter(|binding| binding.resource),
            session: collect::session(&request),
            around: collect::around(&request, &routing.policy, self.peer),
            clock_behind: false,
        };
        let caller = match &who {
            Who::Nobody => Caller::Nobody,
            Who::Refused(code) => Caller::Refused(code),
            Who::Unverifiable => Caller::Unverifiable,
            Who::Known(subject) => Caller::Known(subject.subject()),
        };
        let admission = match shared.engine.glance(&ask, caller, &routing.policy) {
            Glance::Admitted(admission) => admission,
            Glance::Denied(denial) => {
                let about = self.particulars(&routing, &method, &target, &mapped);
                return (self.deny(core, &request, &routing, &who, &denial, &ask, &about).await, None);
            }
            Glance::Look => {
                let about = self.particulars(&routing, &method, &target, &mapped);
                match self.admit(core, &routing, &who, &ask, &mapped, &about).await {
                    Ok(admission) => admission,
                    Err(Refused::Denied(denial)) => {
                        return (
                            self.deny(core, &request, &routing, &who, &denial, &ask, &about).await,
                            None,
                        );
                    }
                    Err(Refused::Told(told)) => {
                        Counters::add(&core.counters().faulted);
                        return (self.refuse(&request, &told).await, None);
                    }
                }
            }
        };
        self.forward(core, &routing, &request, &method, target, &mapped, &ask, &who, admission).await
    }

    async fn admit(
        &self,
        core: &Core,
        routing: &Routing,
        who: &Who,
        ask: &Ask<'_>,
        mapped: &Mapped<'_>,
        about: &Particulars,
    ) -> Result<Admission, Refused> {
        let Who::Known(subject) = who else {
            return Err(Refused::Told(Told::plain(
                503,
                "undecided",
                "the gateway could not come to a decision",
            )));
        };
        let knock = Knock {
            policy: Arc::clone(&routing.policy),
            path: match (mapped.rule, mapped.route) {
                (Some(rule), _) => Path::Rule(rule),
                (None, Route::Method) => Path::Method,
                (None, Route::Mapped(_) | Route::Unmapped) => Path::Unmapped,
            },
            tenant: Name::of(ask.tenant),
            environment: Name::of(ask.environment),
            resource: ask.resource.map(Arc::from),
            session: Name::of(ask.session),
            client: ask.around.client,
            ticket: Name::of(ask.around.ticket),
            asked: None,
        };
        match core.engine().admit(knock, Arc::clone(subject), about).await {
            Answer::Admitted(admission) => Ok(admission),
            Answer::Denied(denial) => Err(Refused::Denied(denial)),
            Answer::Faulted(fault) => Err(Refused::Told(Told::plain(503, fault.code(), fault.to_string()))),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "everything that was collected about one request")]
    async fn forward(
        &mut self,
        core: &Core,
        routing: &Routing,
        request: &RequestView<'_>,
        method: &http::Method,
        target: intake::Target<'_>,
        mapped: &Mapped<'_>,
        ask: &Ask<'_>,
        who: &Who,
        admission: Admission,
    ) -> (Next, Option<(Admission, Report)>) {
        let number = mapped.binding.map(|binding| binding.upstream).or(routing.unmapped_upstream);
        let upstream = number.and_then(|number| routing.upstreams.get(number));
        let (Some(number), Some(upstream), Some(sent)) = (number, upstream, Target::new(target.whole)) else {
            let told = Told::plain(502, "upstream_missing", "the map names no application for this route");
            return self.give_up(request, &told, admission, "upstream_missing").await;
        };
        let public = matches!(ask.route, Route::Mapped(rule) if rule.public);
        // What the map opens to everybody hears of nobody; what staff bring along stays here in any case (rule 13).
        let (told_about, drop) = match who {
            Who::Known(subject) if !public => (Some(subject), routing.dropped(Some(subject.kind))),
            Who::Known(subject) => (None, routing.dropped(Some(subject.kind))),
            Who::Refused(_) | Who::Unverifiable => (None, routing.dropped(Some(SubjectKind::Staff))),
            Who::Nobody => (None, routing.dropped(None)),
        };
        let mut own: Vec<(&str, String)> = Vec::new();
        if let Some(subject) = told_about {
            let about = About {
                subject: subject.subject(),
                staff: admission.staff(),
                tenant: named(ask.tenant),
                environment: named(ask.environment),
                method: method.as_str(),
                path: target.path.as_str(),
            };
            if upstream.assert == Assert::All || subject.kind == SubjectKind::Staff {
                let asserter = &core.shared().asserter;
                match asserter.assert(&about, upstream, core.engine().now()) {
                    Ok(assertion) => own.push((&asserter.header, assertion)),
                    Err(fault) => {
                        let told = Told::plain(503, "assertion_unsigned", fault.to_string());
                        return self.give_up(request, &told, admission, "assertion_unsigned").await;
                    }
                }
            }
            for template in &upstream.headers {
                own.push((&template.name, fill(template, &about)));
            }
        }
        let mut add = Vec::with_capacity(own.len());
        for (name, value) in &own {
            let (Some(name), Some(value)) = (HeaderName::new(name), Value::ascii(value)) else {
                let told = Told::plain(
                    400,
                    "header_value_unfit",
                    format!("`{name}` cannot carry this caller's name"),
                );
                return self.give_up(request, &told, admission, "header_value_unfit").await;
            };
            add.push((name, value));
        }
        let host = match &upstream.host {
            Some(host) => Authority::new(host.as_bytes()),
            None => request.host(),
        };
        let Some(host) = host.or_else(|| Authority::new(upstream.address.as_bytes())) else {
            let told = Told::plain(502, "upstream_missing", "the application has no host");
            return self.give_up(request, &told, admission, "upstream_missing").await;
        };
        let staff = admission.staff().is_some();
        if staff && !self.little_unsent {
            self.little_unsent = true;
            keep_little_unsent(&self.stream);
        }
        let counters = core.counters();
        Counters::add(if staff {
            &counters.staff
        } else if public {
            &counters.public
        } else {
            &counters.members
        });
        // Of staff no cookie comes back, also where the map is open to everybody (rule 13).
        let staff = matches!(who, Who::Known(subject) if subject.kind == SubjectKind::Staff);
        let plan = Plan { upstream: number, settings: upstream, target: sent, host, drop, add: &add, staff };
        let client =
            Client { stream: &mut self.stream, inbox: &mut self.inbox, patience: &mut self.patience };
        let (next, report) = forward(core, routing, &admission, request, &plan, client).await;
        let next = match next {
            Next::Answer { status, code, again } => {
                Counters::add(&counters.upstream_failed);
                let told = Told::plain(status, code, upstream_words(code));
                // Over before it is told: whoever does not read this holds up nobody's removal.
                admission.finish(&report);
                let told = self.tell_for(request, &told, again).await;
                return (if told && again { Next::Again } else { Next::Close }, None);
            }
            Next::Reset => {
                if matches!(report.end, crate::engine::End::Cut) {
                    Counters::add(&counters.cut);
                }
                Next::Reset
            }
            next => next,
        };
        (next, Some((admission, report)))
    }

    /// Answers a request that was admitted and of which nothing goes out. Over before it is told, as above.
    async fn give_up(
        &mut self,
        request: &RequestView<'_>,
        told: &Told,
        admission: Admission,
        code: &'static str,
    ) -> (Next, Option<(Admission, Report)>) {
        admission.finish(&nothing_forwarded(code));
        (self.refuse(request, told).await, None)
    }

    /// Answers a request below the reserved prefix.
    async fn inside(
        &mut self,
        core: &Core,
        routing: &Routing,
        request: &RequestView<'_>,
        whole: &str,
        who: Who,
    ) -> Next {
        Counters::add(&core.counters().inside);
        let body = match self.whole_body(routing, request).await {
            Ok(body) => body,
            Err(Some(told)) => return self.refuse(request, &told).await,
            Err(None) => return Next::Close,
        };
        let below = whole.get(routing.prefix.len().saturating_sub(1)..).unwrap_or("/");
        let mut builder = http::Request::builder().method(request.method_name()).uri(below);
        for field in request.fields() {
            let passes =
                !field.lookalike && !field.named_by_connection && field.known != Known::Authorization;
            if passes {
                builder = builder.header(field.name, field.value);
            }
        }
        let Ok(call) = builder.body(bytes::Bytes::from(body)) else {
            let told = Told::plain(400, "request_malformed", "the request cannot be read");
            return self.refuse(request, &told).await;
        };
        let call = InsideCall { request: call, who, client: self.peer.ip().to_canonical() };
        let answered = (core.shared().inside)(call).await;
        let again = request.head().keep_alive();
        let mut out = core.buffer();
        let mut content_type = None;
        let mut extra = Vec::new();
        for (name, value) in answered.headers() {
            match (HeaderName::new(name.as_str()), Value::opaque(value.as_bytes())) {
                (Some(_), Some(value)) if *name == http::header::CONTENT_TYPE => content_type = Some(value),
                (Some(_), Some(_)) if *name == http::header::CONTENT_LENGTH => {}
                (Some(name), Some(value)) => extra.push((name, value)),
                (_, _) => {}
            }
        }
        if let (Some(name), Some(value)) = (HeaderName::new("Cache-Control"), Value::ascii("no-store")) {
            extra.push((name, value));
        }
        write_simple_response(
            &mut out,
            &SimpleResponse {
                status: answered.status().as_u16(),
                content_type,
                extra: &extra,
                body: answered.body(),
                head_request: request.method_name() == b"HEAD",
                connection: if again { ClientConnection::Open } else { ClientConnection::Close },
            },
        );
        let written = self.patience.wait(ANSWER, self.stream.write_all(&out)).await;
        core.give_back(out);
        if matches!(written, Ok(Ok(()))) && again { Next::Again } else { Next::Close }
    }

    /// Takes a small body whole.
    async fn whole_body(
        &mut self,
        routing: &Routing,
        request: &RequestView<'_>,
    ) -> Result<Vec<u8>, Option<Told>> {
        let too_large = || {
            let detail = format!("the support API takes bodies up to {} bytes", routing.api_body);
            Some(Told::plain(413, "body_too_large", detail))
        };
        let mut reader = BodyReader::new(request.head().framing());
        if let super::wire::Framing::Length(length) = request.head().framing()
            && usize::try_from(length).map_or(true, |length| length > routing.api_body)
        {
            return Err(too_large());
        }
        if request.head().expect_continue() && !reader.is_done() {
            match self.patience.wait(ANSWER, self.stream.write_all(CONTINUE)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(None),
            }
        }
        let mut body = Vec::new();
        while !reader.is_done() {
            if self.inbox.is_empty() {
                self.inbox.reserve(PIECE);
                let read = self.stream.read_buf(&mut self.inbox);
                match self.patience.wait(routing.body_timeout, read).await {
                    Ok(Ok(0) | Err(_)) => return Err(None),
                    Ok(Ok(_)) => {}
                    Err(_) => {
                        return Err(Some(Told::plain(
                            408,
                            "body_too_slow",
                            "the request's body took too long",
                        )));
                    }
                }
            }
            let step = reader
                .advance(&self.inbox)
                .map_err(|fault| Some(Told::plain(400, fault.code(), fault.to_string())))?;
            body.extend_from_slice(self.inbox.get(step.data.clone()).unwrap_or_default());
            self.inbox.drain(..step.consumed);
            if body.len() > routing.api_body {
                return Err(too_large());
            }
        }
        Ok(body)
    }

    fn particulars(
        &self,
        routing: &Routing,
        method: &http::Method,
        target: &intake::Target<'_>,
        mapped: &Mapped<'_>,
    ) -> Particulars {
        let upstream = mapped.binding.and_then(|binding| routing.upstreams.get(binding.upstream));
        Particulars {
            method: method.to_string(),
            path: target.path.as_str().to_owned(),
            client: client_of(self.peer),
            upstream: upstream.map(|upstream| upstream.name.clone()).unwrap_or_default(),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "what was refused, to whom, and what the record says of it"
    )]
    async fn deny(
        &mut self,
        core: &Core,
        request: &RequestView<'_>,
        routing: &Routing,
        who: &Who,
        denial: &Denial,
        ask: &Ask<'_>,
        about: &Particulars,
    ) -> Next {
        Counters::add(&core.counters().denied);
        let tenant = match ask.tenant {
            Named::As(tenant) => Some(tenant),
            Named::Missing | Named::Unclear => None,
        };
        core.engine().refused(who, denial, tenant, about, &routing.policy);
        self.refuse(request, &Told::denial(denial)).await
    }

    /// Answers a request that goes no further. Its body, if one is announced, is not taken.
    async fn refuse(&mut self, request: &RequestView<'_>, told: &Told) -> Next {
        let again = request.head().keep_alive() && !request.head().framing().has_body();
        if self.tell_for(request, told, again).await && again { Next::Again } else { Next::Close }
    }

    async fn tell_for(&mut self, request: &RequestView<'_>, told: &Told, again: bool) -> bool {
        let mut out = Vec::new();
        answer(&mut out, told, request.method_name() == b"HEAD", !again);
        matches!(self.patience.wait(ANSWER, self.stream.write_all(&out)).await, Ok(Ok(())))
    }

    async fn tell(&mut self, told: &Told, again: bool) -> bool {
        let mut out = Vec::new();
        answer(&mut out, told, false, !again);
        matches!(self.patience.wait(ANSWER, self.stream.write_all(&out)).await, Ok(Ok(())))
    }

    /// Closes in order: what was answered is not lost because something unread lay behind it.
    async fn close(mut self) {
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let mut left = LINGER;
        let mut scrap = vec![0u8; 4 << 10];
        let mut patience = self.patience;
        let stream = &mut self.stream;
        let drained = async {
            while left > 0 {
                match stream.read(&mut scrap).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => left = left.saturating_sub(count),
                }
            }
        };
        let _ = patience.wait(Duration::from_secs(1), drained).await;
    }
}

enum Refused {
    Denied(Denial),
    Told(Told),
}

fn named(named: Named<'_>) -> &str {
    match named {
        Named::As(text) => text,
        Named::Missing | Named::Unclear => "",
    }
}

fn nothing_forwarded(code: &'static str) -> Report {
    Report { end: crate::engine::End::NotForwarded, status: None, sent: 0, received: 0, fault: Some(code) }
}

fn unreadable(fault: Unreadable) -> Told {
    Told::plain(fault.status(), fault.code(), fault.message())
}

fn upstream_words(code: &str) -> &'static str {
    match code {
        "upstream_unreachable" | "upstream_connect_timeout" => "the application cannot be reached",
        "upstream_timeout" => "the application did not answer in time",
        "upstream_closed" | "upstream_gone" | "upstream_head_cut_off" => "the application hung up",
        "body_too_slow" => "the request's body took too long",
        _ => "the message could not be passed on as it came",
    }
}

fn answer(out: &mut Vec<u8>, told: &Told, head_request: bool, close: bool) {
    let mut extra = Vec::new();
    let lines = [("Cache-Control", Some("no-store")), ("WWW-Authenticate", told.challenge.as_deref())];
    for (name, value) in lines {
        if let (Some(name), Some(value)) = (HeaderName::new(name), value.and_then(Value::ascii)) {
            extra.push((name, value));
        }
    }
    let body = told.json();
    write_simple_response(
        out,
        &SimpleResponse {
            status: told.status,
            content_type: Value::ascii("application/problem+json"),
            extra: &extra,
            body: &body,
            head_request,
            connection: if close { ClientConnection::Close } else { ClientConnection::Open },
        },
    );
}
