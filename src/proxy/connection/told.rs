//! What a connection says by itself: refusals and faults, written where no application answers.
//!
//! Never here: which status and words a reason has (see [`respond`](crate::proxy::respond)).

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    engine::{
        Admission, Report,
        knock::{Particulars, Who},
    },
    policy::{Ask, Denial, Named},
    proxy::{
        core::Core,
        counters::Counters,
        intake::Unreadable,
        narrow::NarrowFault,
        page,
        preflight::Question,
        rate,
        relay::Next,
        respond::Told,
        routing::Routing,
        wire::{
            ClientConnection, Name as HeaderName, RequestView, SimpleResponse, Value, write_simple_response,
        },
    },
};

use super::{ANSWER, Connection, LINGER, outgoing::Unsent};

impl Connection {
    #[expect(
        clippy::too_many_arguments,
        reason = "what was refused, to whom, and what the record says of it"
    )]
    pub(super) async fn deny(
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
        self.refuse(core, request, &Told::denial(denial)).await
    }

    /// Answers a request that goes no further. Its body, if one is announced, is not taken.
    pub(super) async fn refuse(&mut self, core: &Core, request: &RequestView<'_>, told: &Told) -> Next {
        let again = core.keeps(request.head()) && !request.head().framing().has_body();
        if self.tell_for(request, told, again).await && again { Next::Again } else { Next::Close }
    }

    pub(super) async fn tell_for(&mut self, request: &RequestView<'_>, told: &Told, again: bool) -> bool {
        if let Some(note) = &mut self.note {
            note.told(told);
        }
        let mut out = Vec::new();
        let head_request = request.method_name() == b"HEAD";
        match &self.page {
            Some(page) => {
                let html = page.html(told);
                let policy = Some(page::POLICY.as_str());
                let form =
                    Form { kind: "text/html; charset=utf-8", body: html.as_bytes(), vary: true, policy };
                write(&mut out, told, &form, head_request, !again);
            }
            None => {
                let body = told.json();
                let form = Form { kind: PROBLEM, body: &body, vary: true, policy: None };
                write(&mut out, told, &form, head_request, !again);
            }
        }
        self.say(&out).await
    }

    pub(super) async fn tell(&mut self, told: &Told, again: bool) -> bool {
        let mut out = Vec::new();
        answer(&mut out, told, false, !again);
        self.say(&out).await
    }

    /// Writes all of it, down to the socket, within the time for an answer.
    pub(super) async fn say(&mut self, bytes: &[u8]) -> bool {
        let stream = &mut self.stream;
        let written = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        matches!(self.patience.wait(ANSWER, written).await, Ok(Ok(())))
    }

    /// Answers a preflight from the configuration.
    pub(super) async fn preflight(
        &mut self,
        core: &Core,
        routing: &Routing,
        request: &RequestView<'_>,
        question: &Question<'_>,
    ) -> Next {
        let Some(lines) = routing.cors.answer(question) else {
            Counters::add(&core.counters().denied);
            let told = Told::plain(403, "preflight_origin", "pages of this origin may not ask here");
            return self.refuse(core, request, &told).await;
        };
        Counters::add(&core.counters().public);
        if let Some(note) = &mut self.note {
            note.answered(204);
        }
        let again = core.keeps(request.head());
        let mut extra = Vec::new();
        for (name, value) in &lines {
            if let (Some(name), Some(value)) = (HeaderName::new(name), Value::ascii(value)) {
                extra.push((name, value));
            }
        }
        let mut out = Vec::new();
        let connection = if again { ClientConnection::Open } else { ClientConnection::Close };
        write_simple_response(
            &mut out,
            &SimpleResponse {
                status: 204,
                content_type: None,
                extra: &extra,
                body: &[],
                head_request: false,
                connection,
            },
        );
        if self.say(&out).await && again { Next::Again } else { Next::Close }
    }

    /// Counts a request of this address; what to say where there are too many.
    pub(super) fn too_many_here(&self, core: &Core, routing: &Routing) -> Option<Told> {
        let rate = routing.address_rate.as_ref()?;
        let after = rate.take(rate::address(self.client), core.engine().wall()).err()?;
        Counters::add(&core.counters().limited);
        Some(Told::too_many("this address", after))
    }

    /// Closes in order: what was answered is not lost because something unread lay behind it.
    pub(super) async fn close(mut self) {
        let mut patience = self.patience;
        // TLS has a last word of its own, which waits behind whatever the client does not read.
        match patience.wait(FAREWELL, self.stream.shutdown()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => return self.stream.reset_on_drop(),
        }
        let mut left = LINGER;
        let mut scrap = vec![0u8; 4 << 10];
        let stream = &mut self.stream;
        let drained = async {
            while left > 0 {
                match stream.read(&mut scrap).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => left = left.saturating_sub(count),
                }
            }
        };
        let _ = patience.wait(FAREWELL, drained).await;
    }

    /// Answers a request that was admitted and of which nothing goes out. Over before it is told, as above.
    pub(super) async fn give_up(
        &mut self,
        core: &Core,
        request: &RequestView<'_>,
        unsent: &Unsent,
        admission: Admission,
    ) -> (Next, Option<(Admission, Report)>) {
        admission.finish(&nothing_forwarded(unsent.code));
        (self.refuse(core, request, &unsent.told()).await, None)
    }
}

fn nothing_forwarded(code: &'static str) -> Report {
    let end = crate::engine::End::NotForwarded;
    Report { end, status: None, sent: 0, received: 0, fault: Some(code), server: None }
}

pub(super) fn unreadable(fault: Unreadable) -> Told {
    Told::plain(fault.status(), fault.code(), fault.message())
}

pub(super) fn upstream_words(code: &str) -> &'static str {
    match code {
        "upstream_unreachable" | "upstream_connect_timeout" => "the application cannot be reached",
        "upstream_busy" => "the application has more under way than it takes; try again",
        "upstream_share" => "this caller has as much under way at the application as one may have",
        "upstream_refused" => "the application refuses to look at the request",
        "login_binds_connection" => {
            "this login belongs to a connection, and connections to the application are shared"
        }
        "upstream_protocol" => "the application does not speak the protocol that is configured",
        "upstream_timeout" => "the application did not answer in time",
        "upstream_closed" | "upstream_gone" | "upstream_head_cut_off" => "the application hung up",
        "body_too_slow" => "the request's body took too long",
        "body_too_large" => "this route takes no body of that size",
        "upstream_upgrade_refused" => "the application opened no WebSocket",
        "route_timeout" => "this took longer than the route allows",
        code if NarrowFault::of(code).is_some() => {
            "the application's answer cannot be narrowed to what you may see, so nothing of it is shown"
        }
        _ => "the message could not be passed on as it came",
    }
}

/// How long the end of a connection may take to be said, and what is still on its way to be read.
const FAREWELL: Duration = Duration::from_secs(1);

const PROBLEM: &str = "application/problem+json";

/// The form in which something is told.
struct Form<'a> {
    kind: &'a str,
    body: &'a [u8],
    /// Another request would have had another form.
    vary: bool,
    /// Of a page: what it may do.
    policy: Option<&'a str>,
}

/// Tells what no request asked for.
pub(super) fn answer(out: &mut Vec<u8>, told: &Told, head_request: bool, close: bool) {
    let body = told.json();
    write(out, told, &Form { kind: PROBLEM, body: &body, vary: false, policy: None }, head_request, close);
}

fn write(out: &mut Vec<u8>, told: &Told, form: &Form<'_>, head_request: bool, close: bool) {
    let mut extra = Vec::new();
    let after = told.after.map(|seconds| seconds.to_string());
    let of_page = |value| form.policy.map(|_| value);
    let lines = [
        ("Cache-Control", Some("no-store")),
        ("Vary", form.vary.then_some(page::VARY)),
        ("Content-Security-Policy", form.policy),
        ("X-Content-Type-Options", of_page("nosniff")),
        ("Referrer-Policy", of_page("no-referrer")),
        ("WWW-Authenticate", told.challenge.as_deref()),
        ("Retry-After", after.as_deref()),
    ];
    for (name, value) in lines {
        if let (Some(name), Some(value)) = (HeaderName::new(name), value.and_then(Value::ascii)) {
            extra.push((name, value));
        }
    }
    write_simple_response(
        out,
        &SimpleResponse {
            status: told.status,
            content_type: Value::ascii(form.kind),
            extra: &extra,
            body: form.body,
            head_request,
            connection: if close { ClientConnection::Close } else { ClientConnection::Open },
        },
    );
}

/// Tells a connection that there is no room for it.
pub(in crate::proxy) fn turn_away(core: &Core, stream: &TcpStream) {
    let told =
        Told::plain(503, "too_many_connections", "the gateway has no room for another connection; try again");
    Counters::add(&core.counters().faulted);
    if core.shared().tls.load().is_some() || core.shared().routing.load().http2_in_clear {
        // A handshake is what there is no room for, of TLS or of HTTP/2.
        return;
    }
    let mut out = Vec::new();
    answer(&mut out, &told, false, true);
    // The kernel is asked, not the runtime: of a connection this young the runtime does not know yet that it can be
    // written to. What the kernel does not take at once is not worth waiting for.
    let socket = socket2::SockRef::from(stream);
    let _ = socket.send(&out);
    let _ = socket.shutdown(std::net::Shutdown::Write);
}
