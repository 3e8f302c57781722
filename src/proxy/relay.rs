//! One exchange with an application, once it is admitted: head out, bodies both ways, head and body back.
//!
//! Every byte passes the gate. Heads are written by us, bodies are framed anew, so what arrives parses to exactly one
//! message everywhere.

mod binds;
mod body;
mod created;
mod down;
mod narrowed;
mod reach;
mod room;
mod tunnel;
mod up;

use std::{cell::Cell, pin::pin, sync::Arc};

use crate::{
    engine::{Admission, End, Report},
    net::servers::Protocol,
};

pub(super) use self::{created::Making, narrowed::Narrowed};

use self::{
    body::Body,
    down::{Answer, Down, download},
    reach::{Reached, Way},
    tunnel::{Ends, tunnel},
    up::{drain, upload, watch},
};
use super::{
    core::Core,
    gate::{Broken, Gate},
    onward,
    pace::Pace,
    patience::{Patience, TooSlow},
    routing::{Bounds, Routing, Upstream},
    socket::Socket,
    upgrade::{self, Handshake},
    wire::{
        Authority, CONTINUE, Known, KnownSet, Name, NameSet, RequestEdit, RequestView, Target,
        UpstreamConnection, Value, write_request,
    },
};

/// Interim answers that an application may send before its answer.
pub(super) const MOST_INTERIM: usize = 8;
/// No answer came in time.
const NO_ANSWER: &str = "upstream_timeout";
/// How much is read at once.
const PIECE: usize = 16 << 10;

/// What goes out, besides what the client sent.
pub(super) struct Plan<'a> {
    pub(super) settings: &'a Upstream,
    /// Who asks, as a number that means nothing elsewhere.
    pub(super) caller: u64,
    pub(super) target: Target<'a>,
    pub(super) host: Authority<'a>,
    pub(super) drop: KnownSet,
    pub(super) add: &'a [(Name<'a>, Value<'a>)],
    /// No cookie comes back.
    pub(super) as_staff: bool,
    /// Nothing comes back that may be kept.
    pub(super) unstored: bool,
    /// Bounds of this route alone.
    pub(super) bounds: Bounds,
    /// The client asks for a tunnel, and may have one.
    pub(super) upgrade: Option<Handshake>,
    /// The client takes every success for the tunnel.
    pub(super) must_switch: bool,
    /// Only some items of the answer pass.
    pub(super) narrowed: Option<Box<Narrowed<'a>>>,
    /// It may make something in the application.
    pub(super) making: Option<Box<Making<'a>>>,
}

/// The client's side of an exchange.
pub(super) struct Client<'a> {
    pub(super) stream: &'a mut Socket,
    /// Bytes that came behind the head: body, then what is pipelined.
    pub(super) inbox: &'a mut Vec<u8>,
    pub(super) patience: &'a mut Patience,
}

/// What becomes of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It lives on.
    Again,
    /// It is closed in order.
    Close,
    /// It is reset.
    Reset,
    /// Nothing was answered yet: this status and code, then it lives on if the flag says so.
    Answer { status: u16, code: &'static str, again: bool },
}

enum Trouble {
    Cut,
    ClientGone,
    Client(&'static str),
    Upstream(&'static str),
    UpstreamSlow(&'static str),
    /// Nobody said anything for too long.
    Silent(&'static str),
    /// The gateway stops.
    Halted,
}

impl Trouble {
    fn of_client(broken: Broken) -> Trouble {
        match broken {
            Broken::Cut => Trouble::Cut,
            Broken::Gone => Trouble::ClientGone,
        }
    }

    fn of_upstream(broken: Broken) -> Trouble {
        match broken {
            Broken::Cut => Trouble::Cut,
            Broken::Gone => Trouble::Upstream("upstream_gone"),
        }
    }
}

/// What is counted while it runs; shared by both directions.
#[derive(Default)]
struct Tally {
    sent: Cell<u64>,
    received: Cell<u64>,
    status: Cell<Option<u16>>,
    /// A byte of the answer's head went to the client.
    started: Cell<bool>,
    /// The request's body was taken to its end.
    uploaded: Cell<bool>,
    /// The server that it went to, or was meant for last; where there are several.
    server: Cell<Option<Arc<str>>>,
    /// The application takes no more of it.
    given_up: Cell<bool>,
    /// More of the body came than was sent with the head.
    followed: Cell<bool>,
    /// The application's side took some of the request.
    said: Cell<bool>,
    /// The client was told to send its body.
    continued: Cell<bool>,
}

/// Forwards a request and its answer. Only with an admission (which no other room can make) does anything go upstream.
pub(super) async fn forward(
    core: &Core,
    routing: &Routing,
    admission: &Admission,
    request: &RequestView<'_>,
    plan: &Plan<'_>,
    client: Client<'_>,
) -> (Next, Report) {
    let gate = Gate::new(core.engine(), admission.live().map(std::convert::AsRef::as_ref));
    let tally = Tally::default();
    let ended = pin!(exchange(core, routing, gate, request, plan, client, &tally)).await;
    let head = request.head();
    let (end, fault) = match &ended {
        Ok(_) => (End::Complete, None),
        Err(Trouble::Cut) => (End::Cut, None),
        Err(Trouble::ClientGone) => (End::ClientGone, None),
        Err(Trouble::Client(code)) => (End::ClientGone, Some(*code)),
        Err(Trouble::Upstream(code) | Trouble::UpstreamSlow(code)) => (End::UpstreamFailed, Some(*code)),
        Err(Trouble::Silent(code)) => (End::Cut, Some(*code)),
        Err(Trouble::Halted) => (End::Cut, Some("gateway_stopped")),
    };
    let answerable = !tally.started.get();
    let again = core.keeps(head) && tally.uploaded.get();
    let next = match ended {
        // As its head has told the client by now.
        Ok(Upto::Reusable) if head.keep_alive() && tally.uploaded.get() => Next::Again,
        Ok(_) => Next::Close,
        Err(Trouble::Upstream(code)) if answerable => {
            let status = if matches!(code, onward::BUSY | onward::SHARE) { 503 } else { 502 };
            Next::Answer { status, code, again }
        }
        Err(Trouble::UpstreamSlow(code)) if answerable => Next::Answer { status: 504, code, again },
        Err(Trouble::Client(code)) if answerable => {
            let status = match code {
                "body_too_slow" => 408,
                "body_too_large" => 413,
                _ => 400,
            };
            Next::Answer { status, code, again: false }
        }
        // Nothing is under way.
        Err(Trouble::Silent(_)) => Next::Close,
        // Of an answer that is under way an orderly end could be taken for its end.
        Err(Trouble::ClientGone) if answerable => Next::Close,
        Err(_) => Next::Reset,
    };
    let report = Report {
        end,
        status: tally.status.get(),
        sent: tally.sent.get(),
        received: tally.received.get(),
        fault,
        server: tally.server.take(),
    };
    (next, report)
}

/// How far the client's connection is good after an answer.
enum Upto {
    Reusable,
    Close,
}

async fn exchange(
    core: &Core,
    routing: &Routing,
    gate: Gate<'_>,
    request: &RequestView<'_>,
    plan: &Plan<'_>,
    client: Client<'_>,
    tally: &Tally,
) -> Result<Upto, Trouble> {
    gate.look().map_err(Trouble::of_client)?;
    let shared = plan.settings.protocol == Protocol::Http2;
    if shared && binds::request(request) {
        return Err(Trouble::Client("login_binds_connection"));
    }
    let mut way = Way::new(core, plan.settings, gate, tally, plan.caller);
    let mut ending = pin!(ending(core, plan));
    let reached = {
        let mut reaching = pin!(way.reach());
        tokio::select! {
            biased;
            reached = &mut reaching => reached,
            trouble = &mut ending => Err(trouble),
        }
    };
    let mut reached = reached?;
    let result = {
        // Pinned where it stands: each hand-over of it would copy kilobytes, for every request.
        let mut running =
            pin!(converse(core, routing, gate, request, plan, client, &mut way, &mut reached, tally));
        tokio::select! {
            biased;
            ended = &mut running => ended,
            trouble = &mut ending => Err(trouble),
        }
    };
    match result {
        Ok((upto, true)) if !shared => {
            core.pool().put(plan.settings, reached.server, reached.socket);
            Ok(upto)
        }
        Ok((upto, _)) => {
            reached.socket.rest();
            Ok(upto)
        }
        Err(trouble) => {
            reached.socket.reset_on_drop();
            if matches!(trouble, Trouble::UpstreamSlow(NO_ANSWER)) {
                reached.socket.doubt();
            }
            if gate.may_cut() {
                reached.socket.retract().await;
            }
            Err(trouble)
        }
    }
}

/// Waits for what ends an exchange whatever it does: the time that its route has, and the gateway's own end.
async fn ending(core: &Core, plan: &Plan<'_>) -> Trouble {
    let over = async {
        match plan.bounds.total {
            None => std::future::pending().await,
            Some(most) => tokio::time::sleep(most).await,
        }
    };
    tokio::select! {
        biased;
        () = over => Trouble::UpstreamSlow("route_timeout"),
        () = core.halt().cancelled() => Trouble::Halted,
    }
}

#[expect(clippy::too_many_arguments, reason = "both sides of one conversation and what is said about it")]
async fn converse<'p>(
    core: &Core,
    routing: &Routing,
    gate: Gate<'_>,
    request: &RequestView<'_>,
    plan: &Plan<'_>,
    mut client: Client<'_>,
    way: &mut Way<'p>,
    reached: &mut Reached<'p>,
    tally: &Tally,
) -> Result<(Upto, bool), Trouble> {
    let head = request.head();
    let mut out = core.buffer();
    let passes = plan.settings.trailers && takes_trailers(request, client.stream);
    let edit = RequestEdit {
        host: plan.host,
        drop: plan.drop,
        drop_names: &routing.stripped,
        framing: head.framing(),
        connection: match (&plan.upgrade, upgrade::protocol()) {
            (Some(_), Some(protocol)) => UpstreamConnection::Upgrade(protocol),
            // Over HTTP/2 it is said in its own words.
            (None, _) if passes && plan.settings.protocol == Protocol::Http1 => UpstreamConnection::Trailers,
            (_, _) => UpstreamConnection::Reuse,
        },
        add: plan.add,
    };
    write_request(&mut out, request, plan.target, &edit);
    let trailers = plan.settings.trailers.then(|| [&routing.stripped, NameSet::empty()]);
    let most = plan.bounds.request_body.unwrap_or(u64::MAX);
    let mut body = Body::new(head.framing(), head.framing(), most, trailers);
    let inbox = &mut *client.inbox;
    // What came with the head goes out with the head.
    let ready = if inbox.is_empty() { body.begin(&mut out) } else { body.take(inbox, &mut out, tally) };
    tally.uploaded.set(ready.map_err(Trouble::Client)?);
    let talk = Talk { core, routing, gate, request, plan, tally };
    if plan.settings.protocol == Protocol::Http1 {
        let ended = talk.once(&mut client, way, reached, &mut out, &mut body).await;
        core.give_back(out);
        return ended;
    }
    let said = out.clone();
    loop {
        match talk.once(&mut client, way, reached, &mut out, &mut body).await {
            Err(Trouble::Upstream(_)) if reached.socket.is_unprocessed() && talk.is_whole() => {
                if let Some(making) = &plan.making {
                    making.maker.nothing();
                }
                *reached = way.elsewhere(reached).await?;
                out.clear();
                out.extend_from_slice(&said);
            }
            ended => return ended,
        }
    }
}

/// Whether the client takes trailers: over HTTP/2 each does.
fn takes_trailers(request: &RequestView<'_>, client: &Socket) -> bool {
    let says = |value: &[u8]| {
        value.split(|byte| *byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    };
    matches!(client, Socket::Stream(_)) || request.find(Known::Te).is_some_and(says)
}

/// What one attempt to say a request, and to hear the answer, is made from.
struct Talk<'a> {
    core: &'a Core,
    routing: &'a Routing,
    gate: Gate<'a>,
    request: &'a RequestView<'a>,
    plan: &'a Plan<'a>,
    tally: &'a Tally,
}

impl Talk<'_> {
    /// All that was said of the request is still in hand, and nobody has heard anything of an answer.
    fn is_whole(&self) -> bool {
        !self.tally.started.get() && !self.tally.followed.get() && !self.tally.given_up.get()
    }

    async fn once<'p>(
        &self,
        client: &mut Client<'_>,
        way: &mut Way<'p>,
        reached: &mut Reached<'p>,
        out: &mut Vec<u8>,
        body: &mut Body<'_>,
    ) -> Result<(Upto, bool), Trouble> {
        let Talk { core, routing, gate, request, plan, tally } = *self;
        let head = request.head();
        let write_timeout = routing.body_timeout;
        let response_timeout = plan.bounds.response_timeout.unwrap_or(plan.settings.response_timeout);
        let passes = plan.settings.trailers && takes_trailers(request, client.stream);
        let Client { stream, inbox, patience } = client;
        if let Some(making) = &plan.making {
            making.maker.said();
        }
        let said = way.say(reached, out, response_timeout, patience).await;
        if let (Some(making), Err(_), false) = (&plan.making, &said, tally.said.get()) {
            making.maker.nothing();
        }
        said?;
        let (client, upstream) = (stream.split(), reached.socket.split());
        let (mut from_client, mut to_client) = (client.half(), client.half());
        let (mut from_upstream, mut to_upstream) = (upstream.half(), upstream.half());
        if head.expect_continue() && !tally.uploaded.get() && !tally.continued.replace(true) {
            match patience.wait(write_timeout, gate.write(&mut to_client, CONTINUE)).await {
                Ok(written) => written.map_err(Trouble::of_client)?,
                Err(TooSlow) => return Err(Trouble::Client("client_reads_too_slowly")),
            }
        }
        let bodyless = tally.uploaded.get();
        let answer = Answer {
            head_request: request.method_name() == b"HEAD",
            version: head.version(),
            keep_alive: core.keeps(head),
            as_staff: plan.as_staff,
            unstored: plan.unstored,
            timeout: response_timeout,
            write_timeout,
            upgrade: plan.upgrade.as_ref(),
            must_switch: plan.must_switch,
            narrowed: plan.narrowed.as_deref(),
            making: plan.making.as_deref(),
            trailers: passes.then(|| {
                let kept = if plan.unstored { core.caching() } else { NameSet::empty() };
                [&routing.stripped, kept]
            }),
        };
        let result = {
            // Both are pinned where they are made: to move them would copy them.
            let mut up = pin!(async {
                if !bodyless {
                    let most = plan.bounds.body_idle.unwrap_or(routing.body_timeout);
                    let pace = Pace::new(plan.bounds.body_rate.unwrap_or(routing.body_rate), most);
                    match upload(
                        core,
                        gate,
                        &mut from_client,
                        inbox,
                        &mut to_upstream,
                        body,
                        pace,
                        most,
                        tally,
                    )
                    .await
                    {
                        // An application may answer before it has read everything; its answer says what it thinks.
                        Err(Trouble::Upstream(_)) => {
                            tally.given_up.set(true);
                            return Ok(drain(core, gate, &mut from_client, inbox).await);
                        }
                        uploaded => uploaded?,
                    }
                }
                // Whoever waits for an answer, whatever it answers to, is looked at until it has come.
                Ok(watch(core, gate, &mut from_client, inbox).await)
            });
            let mut down =
                pin!(download(core, gate, &mut from_upstream, &mut to_client, &answer, patience, tally, out));
            tokio::select! {
                biased;
                answered = &mut down => answered,
                ended = &mut up => match (ended, &plan.making) {
                    // What the application makes of it is there, whoever hears of it: its answer is awaited, and shown to nobody.
                    (Ok(Trouble::ClientGone), Some(making)) if tally.uploaded.get() && !tally.started.get() => {
                        making.alone.set(true);
                        Err(down.await.err().filter(|trouble| matches!(trouble, Trouble::Cut)).unwrap_or(Trouble::ClientGone))
                    }
                    (Ok(trouble) | Err(trouble), _) => Err(trouble),
                },
            }
        };
        match result? {
            Down::Answered(upto, reusable) => {
                let bound = binds::request(request);
                Ok((upto, reusable && !bound && tally.uploaded.get()))
            }
            Down::Switched(first) => {
                let ends = Ends { from_client, to_client, from_upstream, to_upstream };
                let idle = plan.bounds.tunnel_idle.unwrap_or(tunnel::IDLE);
                tunnel(gate, core.turns(), ends, inbox, first, idle, write_timeout, tally).await?;
                Ok((Upto::Close, false))
            }
        }
    }
}
