//! One exchange with an application, once it is admitted: head out, bodies both ways, head and body back.
//!
//! Every byte passes the gate. Heads are written by us, bodies are framed anew, so what arrives parses to exactly one
//! message everywhere.

use std::{cell::Cell, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, Interest},
    net::{TcpStream, tcp::ReadHalf},
};

use crate::engine::{Admission, End, Report};

use super::{
    core::Core,
    gate::{Broken, Gate},
    patience::{Patience, TooSlow},
    routing::{Routing, Upstream},
    upstream::{connect, reset_on_drop},
    wire::{
        Authority, BodyReader, BodyWriter, CONTINUE, ClientConnection, Framing, Known, KnownSet, Name,
        NameSet, Parsed, RequestEdit, RequestView, ResponseEdit, ResponseHead, Target, UpstreamConnection,
        Value, Version, client_framing, write_request, write_response,
    },
};

/// How much is read at once.
const PIECE: usize = 16 << 10;
/// How much is read at once of a body that comes faster than that.
const LARGE_PIECE: usize = 64 << 10;
/// Pipelined bytes that are taken while an answer is awaited.
const AHEAD: usize = 16 << 10;
/// How often a client from which nothing more is read is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Interim answers that an application may send before its answer.
const MOST_INTERIM: usize = 8;

/// What goes out, besides what the client sent.
pub(super) struct Plan<'a> {
    pub(super) upstream: usize,
    pub(super) settings: &'a Upstream,
    pub(super) target: Target<'a>,
    pub(super) host: Authority<'a>,
    pub(super) drop: KnownSet,
    pub(super) add: &'a [(Name<'a>, Value<'a>)],
    pub(super) staff: bool,
}

/// The client's side of an exchange.
pub(super) struct Client<'a> {
    pub(super) stream: &'a mut TcpStream,
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
    /// The application takes no more of it.
    given_up: Cell<bool>,
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
    let ended = exchange(core, routing, gate, request, plan, client, &tally).await;
    let head = request.head();
    let (end, fault) = match &ended {
        Ok(_) => (End::Complete, None),
        Err(Trouble::Cut) => (End::Cut, None),
        Err(Trouble::ClientGone) => (End::ClientGone, None),
        Err(Trouble::Client(code)) => (End::ClientGone, Some(*code)),
        Err(Trouble::Upstream(code) | Trouble::UpstreamSlow(code)) => (End::UpstreamFailed, Some(*code)),
    };
    let answerable = !tally.started.get();
    let again = head.keep_alive() && tally.uploaded.get();
    let next = match ended {
        Ok(Upto::Reusable) if again => Next::Again,
        Ok(_) => Next::Close,
        Err(Trouble::Upstream(code)) if answerable => Next::Answer { status: 502, code, again },
        Err(Trouble::UpstreamSlow(code)) if answerable => Next::Answer { status: 504, code, again },
        Err(Trouble::Client(code)) if answerable => {
            Next::Answer { status: if code == "body_too_slow" { 408 } else { 400 }, code, again: false }
        }
        Err(Trouble::ClientGone) => Next::Close,
        Err(_) => Next::Reset,
    };
    let report = Report {
        end,
        status: tally.status.get(),
        sent: tally.sent.get(),
        received: tally.received.get(),
        fault,
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
    // Taken in a statement of its own: the pool is not held while a connection is opened.
    let pooled = core.pool().take(plan.upstream, plan.settings);
    let mut upstream = match pooled {
        Some(stream) => stream,
        None => {
            let connected = tokio::select! {
                connected = connect(plan.settings) => connected,
                _ = gate.cut() => return Err(Trouble::Cut),
            };
            connected.map_err(|code| match code {
                "upstream_connect_timeout" => Trouble::UpstreamSlow(code),
                code => Trouble::Upstream(code),
            })?
        }
    };
    let result = converse(core, routing, gate, request, plan, client, &mut upstream, tally).await;
    match result {
        Ok((upto, true)) => {
            core.pool().put(plan.upstream, plan.settings, upstream);
            Ok(upto)
        }
        Ok((upto, false)) => Ok(upto),
        Err(trouble) => {
            reset_on_drop(&upstream);
            Err(trouble)
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "both sides of one conversation and what is said about it")]
async fn converse(
    core: &Core,
    routing: &Routing,
    gate: Gate<'_>,
    request: &RequestView<'_>,
    plan: &Plan<'_>,
    client: Client<'_>,
    upstream: &mut TcpStream,
    tally: &Tally,
) -> Result<(Upto, bool), Trouble> {
    let head = request.head();
    let Client { stream, inbox, patience } = client;
    let mut out = core.buffer();
    let edit = RequestEdit {
        host: plan.host,
        drop: plan.drop,
        drop_names: &routing.stripped,
        framing: head.framing(),
        connection: UpstreamConnection::Reuse,
        add: plan.add,
    };
    write_request(&mut out, request, plan.target, &edit);
    let mut body = Body { reader: BodyReader::new(head.framing()), writer: BodyWriter::new(head.framing()) };
    // What came with the head goes out with the head.
    let ready = if inbox.is_empty() { body.begin(&mut out) } else { body.take(inbox, &mut out, tally) };
    tally.uploaded.set(ready.map_err(Trouble::Client)?);
    let (mut from_client, mut to_client) = stream.split();
    let (mut from_upstream, mut to_upstream) = upstream.split();
    gate.write(&mut to_upstream, &out).await.map_err(Trouble::of_upstream)?;
    if head.expect_continue() && !tally.uploaded.get() {
        gate.write(&mut to_client, CONTINUE).await.map_err(Trouble::of_client)?;
    }
    let bodyless = tally.uploaded.get();
    let up = async {
        if !bodyless {
            let most = routing.body_timeout;
            upload(core, gate, &mut from_client, inbox, &mut to_upstream, body, most, tally).await?;
        }
        watch(gate, &mut from_client, inbox).await
    };
    let answer = Answer {
        head_request: request.method_name() == b"HEAD",
        version: head.version(),
        keep_alive: head.keep_alive(),
        staff: plan.staff,
        timeout: plan.settings.response_timeout,
        write_timeout: routing.body_timeout,
    };
    let result = {
        let down =
            download(core, gate, &mut from_upstream, &mut to_client, &answer, patience, tally, &mut out);
        let mut up = std::pin::pin!(up);
        let mut down = std::pin::pin!(down);
        let mut uploading = true;
        loop {
            tokio::select! {
                biased;
                answered = &mut down => break answered,
                trouble = &mut up, if uploading => match trouble {
                    // An application may answer before it has read everything; its answer says what it thinks.
                    Err(Trouble::Upstream(_)) | Ok(()) => {
                        uploading = false;
                        tally.given_up.set(true);
                    }
                    Err(trouble) => break Err(trouble),
                },
            }
        }
    };
    core.give_back(out);
    result.map(|(upto, reusable)| (upto, reusable && tally.uploaded.get()))
}

/// The two halves of framing one body anew.
struct Body {
    reader: BodyReader,
    writer: BodyWriter,
}

impl Body {
    /// Where no byte of it has come: whether it is whole already.
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<bool, &'static str> {
        if self.reader.is_done() {
            out.extend_from_slice(self.writer.finish().map_err(|_| "body_length")?);
            return Ok(true);
        }
        Ok(false)
    }

    /// Moves what has come from `inbox` into `out`, framed anew; whether it is whole.
    fn take(&mut self, inbox: &mut Vec<u8>, out: &mut Vec<u8>, tally: &Tally) -> Result<bool, &'static str> {
        let mut at = 0;
        while !self.reader.is_done() {
            let rest = inbox.get(at..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let step = self.reader.advance(rest).map_err(super::wire::BodyFault::code)?;
            let data = rest.get(step.data.clone()).unwrap_or_default();
            let frame = self.writer.frame(data.len()).map_err(|_| "body_length")?;
            out.extend_from_slice(frame.before());
            out.extend_from_slice(data);
            out.extend_from_slice(frame.after());
            tally.received.set(tally.received.get() + data.len() as u64);
            at += step.consumed;
        }
        inbox.drain(..at);
        if self.reader.is_done() {
            out.extend_from_slice(self.writer.finish().map_err(|_| "body_length")?);
        }
        Ok(self.reader.is_done())
    }
}

#[expect(clippy::too_many_arguments, reason = "one direction, from socket to socket")]
async fn upload<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    core: &Core,
    gate: Gate<'_>,
    from: &mut R,
    inbox: &mut Vec<u8>,
    to: &mut W,
    mut body: Body,
    most: Duration,
    tally: &Tally,
) -> Result<(), Trouble> {
    let mut patience = Patience::new();
    let mut out = core.buffer();
    loop {
        inbox.reserve(PIECE);
        match patience.wait(most, gate.read(from, inbox)).await {
            Ok(Ok(0)) => return Err(Trouble::ClientGone),
            Ok(Ok(_)) => {}
            Ok(Err(broken)) => return Err(Trouble::of_client(broken)),
            Err(TooSlow) => return Err(Trouble::Client("body_too_slow")),
        }
        out.clear();
        let whole = body.take(inbox, &mut out, tally).map_err(Trouble::Client)?;
        match patience.wait(most, gate.write(to, &out)).await {
            Ok(written) => written.map_err(Trouble::of_upstream)?,
            Err(TooSlow) => return Err(Trouble::Upstream("upstream_reads_too_slowly")),
        }
        if whole {
            tally.uploaded.set(true);
            core.give_back(out);
            return Ok(());
        }
    }
}

/// Watches a client that waits for its answer; pipelined bytes are kept, up to a bound.
async fn watch(gate: Gate<'_>, from: &mut ReadHalf<'_>, inbox: &mut Vec<u8>) -> Result<(), Trouble> {
    while inbox.len() < AHEAD {
        inbox.reserve(1024);
        match gate.read(from, inbox).await {
            Ok(0) => return Err(Trouble::ClientGone),
            Ok(_) => {}
            Err(broken) => return Err(Trouble::of_client(broken)),
        }
    }
    // Nothing more is read from it, so its end is looked for now and then.
    loop {
        match from.ready(Interest::READABLE).await {
            Ok(ready) if !ready.is_read_closed() => tokio::time::sleep(LOOK).await,
            Ok(_) | Err(_) => return Err(Trouble::ClientGone),
        }
    }
}

struct Answer {
    head_request: bool,
    version: Version,
    keep_alive: bool,
    staff: bool,
    timeout: Duration,
    write_timeout: Duration,
}

#[expect(clippy::too_many_arguments, reason = "one direction, from socket to socket")]
async fn download<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    core: &Core,
    gate: Gate<'_>,
    from: &mut R,
    to: &mut W,
    answer: &Answer,
    patience: &mut Patience,
    tally: &Tally,
    out: &mut Vec<u8>,
) -> Result<(Upto, bool), Trouble> {
    let mut buffer = core.buffer();
    let mut head = core.response_head();
    let limits = core.response_limits();
    let mut interim = 0;
    let len = loop {
        match head.parse(&buffer, &limits) {
            Ok(Parsed::Complete { len }) if head.is_informational() => {
                interim += 1;
                if head.status() == 101 || interim > MOST_INTERIM {
                    return Err(Trouble::Upstream("upstream_switched_unasked"));
                }
                buffer.drain(..len);
                head.clear();
            }
            Ok(Parsed::Complete { len }) => break len,
            Ok(Parsed::Partial) => {
                buffer.reserve(PIECE);
                let waiting = tally.uploaded.get() || tally.given_up.get();
                match patience.wait(answer.timeout, gate.read(from, &mut buffer)).await {
                    Ok(Ok(0)) if buffer.is_empty() => return Err(Trouble::Upstream("upstream_closed")),
                    Ok(Ok(0)) => return Err(Trouble::Upstream("upstream_head_cut_off")),
                    Ok(Ok(_)) => {}
                    Ok(Err(broken)) => return Err(Trouble::of_upstream(broken)),
                    Err(TooSlow) if waiting => return Err(Trouble::UpstreamSlow("upstream_timeout")),
                    // The time for an answer counts from the end of the request, which has time limits of its own.
                    Err(TooSlow) => {}
                }
            }
            Err(fault) => return Err(Trouble::Upstream(fault.code())),
        }
    };
    tally.status.set(Some(head.status()));
    let framing = head.framing(answer.head_request);
    let told = client_framing(framing, answer.version);
    let closes = told == Framing::UntilClose;
    let upto =
        if answer.keep_alive && !closes && tally.uploaded.get() { Upto::Reusable } else { Upto::Close };
    write_answer(out, &buffer, &head, answer, told, &upto);
    let mut body = Body { reader: BodyReader::new(framing), writer: BodyWriter::new(told) };
    let mut at = len;
    loop {
        while !body.reader.is_done() {
            let rest = buffer.get(at..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let step = body.reader.advance(rest).map_err(|fault| Trouble::Upstream(fault.code()))?;
            let data = rest.get(step.data.clone()).unwrap_or_default();
            let frame = body.writer.frame(data.len()).map_err(|_| Trouble::Upstream("body_length"))?;
            out.extend_from_slice(frame.before());
            if data.len() > PIECE / 2 && frame.after().is_empty() {
                // Large and in no need of a frame: not copied.
                send(gate, to, out, data, patience, answer.write_timeout, tally).await?;
                out.clear();
            } else {
                out.extend_from_slice(data);
                out.extend_from_slice(frame.after());
            }
            tally.sent.set(tally.sent.get() + data.len() as u64);
            at += step.consumed;
        }
        if body.reader.is_done() {
            break;
        }
        if !out.is_empty() {
            send(gate, to, out, &[], patience, answer.write_timeout, tally).await?;
            out.clear();
        }
        // Where a whole piece was there to be read, more is likely to be: fewer and larger steps.
        let piece = if buffer.len() == buffer.capacity() { LARGE_PIECE } else { PIECE };
        buffer.clear();
        at = 0;
        buffer.reserve(piece);
        match gate.read(from, &mut buffer).await {
            Ok(0) => {
                body.reader.end().map_err(|fault| Trouble::Upstream(fault.code()))?;
                break;
            }
            Ok(_) => {}
            Err(broken) => return Err(Trouble::of_upstream(broken)),
        }
    }
    out.extend_from_slice(body.writer.finish().map_err(|_| Trouble::Upstream("body_length"))?);
    send(gate, to, out, &[], patience, answer.write_timeout, tally).await?;
    let in_step = buffer.len() == at && framing != Framing::UntilClose;
    let reusable = in_step && head.keep_alive(answer.head_request);
    core.give_back(buffer);
    core.give_back_head(head);
    Ok((upto, reusable))
}

fn write_answer(
    out: &mut Vec<u8>,
    bytes: &[u8],
    head: &ResponseHead,
    answer: &Answer,
    told: Framing,
    upto: &Upto,
) {
    let connection = match (upto, answer.version) {
        (Upto::Close, _) => ClientConnection::Close,
        (Upto::Reusable, Version::Http10) => ClientConnection::KeepAlive,
        (Upto::Reusable, Version::Http11) => ClientConnection::Open,
    };
    let no_store = [(Name::new("Cache-Control"), Value::ascii("no-store"))];
    let no_store: Vec<_> = no_store.iter().filter_map(|(name, value)| Some(((*name)?, (*value)?))).collect();
    let (drop, add) = if answer.staff {
        (KnownSet::of(&[Known::SetCookie, Known::CacheControl]), no_store.as_slice())
    } else {
        (KnownSet::of(&[]), &[][..])
    };
    let framing = if answer.head_request || head.status() == 304 { head.declared() } else { told };
    out.clear();
    let edit = ResponseEdit { drop, drop_names: NameSet::empty(), framing, connection, add };
    write_response(out, &head.view(bytes), &edit);
}

async fn send<W: AsyncWrite + Unpin>(
    gate: Gate<'_>,
    to: &mut W,
    first: &[u8],
    second: &[u8],
    patience: &mut Patience,
    most: Duration,
    tally: &Tally,
) -> Result<(), Trouble> {
    if first.is_empty() && second.is_empty() {
        return Ok(());
    }
    tally.started.set(true);
    match patience.wait(most, gate.write_both(to, first, second)).await {
        Ok(written) => written.map_err(Trouble::of_client),
        Err(TooSlow) => Err(Trouble::Client("client_reads_too_slowly")),
    }
}
