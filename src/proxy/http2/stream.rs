//! One stream as bytes of HTTP/1.1: the request as a head and a body that our reader reads, the answer as our writer wrote
//! it. To whatever serves a connection it is one that carries a single request.
//!
//! Never here: what the bytes mean to anybody but the two protocols.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    pieces::{Inbound, Inbox, Piece, Queue, poll_send},
    translate::Incoming,
    wire::Shared,
};
use crate::proxy::wire::{BodyReader, Known, KnownSet, Limits, Parsed, ResponseHead};

/// Heads that we wrote ourselves: whatever an application was allowed, and our own lines.
const LIMITS: Limits =
    Limits { max_head: 1 << 20, max_target: 0, max_fields: 10_000, max_name: 16 << 10, max_value: 1 << 20 };

/// How far the answer is.
enum Outbound {
    /// Its head is still to come, or part of it.
    Head(Vec<u8>),
    /// Its body.
    Body(BodyReader, SendStream<Piece>),
    /// Bytes of a tunnel, as they are.
    Tunnel(SendStream<Piece>),
    /// All of it was given to the connection; `None` where it had no body.
    Done(Option<SendStream<Piece>>),
}

/// Whether the stream is to become a tunnel (RFC 8441).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Switch {
    /// No.
    Never,
    /// It asks, and nothing that comes behind its head is looked at before it is granted.
    Asked,
    /// It is one.
    Done,
}

/// See the module's header.
pub(in crate::proxy) struct Stream {
    /// Bytes for the reader.
    inbox: Inbox,
    inbound: Inbound,
    body: RecvStream,
    respond: SendResponse<Piece>,
    parser: ResponseHead,
    outbound: Outbound,
    head_request: bool,
    switch: Switch,
    queue: Rc<Queue>,
    shared: Rc<Shared>,
    /// Its answer is staff's: until the kernel has all of it, it can be cut.
    cuttable: Cell<bool>,
    /// Bytes of the answer's body, and whether its end, were given to the connection.
    given: u64,
    ended: bool,
    /// The drop takes back what was not sent.
    cut: Cell<bool>,
    gone: bool,
}

impl Stream {
    pub(super) fn new(incoming: Incoming, respond: SendResponse<Piece>, shared: Rc<Shared>) -> Stream {
        let mut stream = Stream {
            inbox: Inbox::new(incoming.head),
            inbound: incoming.inbound,
            body: incoming.body,
            respond,
            parser: ResponseHead::new(),
            outbound: Outbound::Head(Vec::new()),
            head_request: incoming.head_request,
            switch: if incoming.tunnel { Switch::Asked } else { Switch::Never },
            queue: Rc::default(),
            shared,
            cuttable: Cell::new(false),
            given: 0,
            ended: false,
            cut: Cell::new(false),
            gone: false,
        };
        if !incoming.first.is_empty() {
            stream.came(incoming.first);
        }
        stream
    }

    /// Whether the client has let go of it.
    pub(in crate::proxy) fn hung_up(&self) -> bool {
        self.gone
    }

    /// Whether it becomes a tunnel, or is refused: to its client any other success were a tunnel too.
    pub(in crate::proxy) fn must_switch(&self) -> bool {
        self.switch != Switch::Never
    }

    fn number(&self) -> u32 {
        self.respond.stream_id().as_u32()
    }

    /// Has a write count as done only when the kernel has all of it, whatever the library holds on its way.
    pub(in crate::proxy) fn may_be_cut(&self) {
        if !self.cuttable.replace(true) {
            self.shared.progress.begin(self.number());
        }
    }

    /// Whether what was written is with the kernel. Of members' it is enough that the connection has begun to write it.
    fn is_out(&self) -> bool {
        match self.outbound {
            Outbound::Body(..) | Outbound::Tunnel(_) | Outbound::Done(_) if self.cuttable.get() => {
                self.shared.progress.took(self.number(), self.given, self.ended)
            }
            _ => self.queue.is_empty(),
        }
    }

    /// Has whoever looks woken when there is reason to look again.
    fn wait(&self, cx: &Context<'_>) {
        if self.cuttable.get() {
            self.shared.progress.wait(cx);
        }
        self.queue.wait(cx);
    }

    /// Makes the drop a reset: what was not sent is not sent any more.
    pub(in crate::proxy) fn reset_on_drop(&self) {
        self.cut.set(true);
    }

    /// Data that is next to be read.
    fn came(&mut self, data: Bytes) {
        self.inbox.came(data, self.inbound == Inbound::Chunked);
    }

    /// Copies what is there; whether anything was.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let (any, data) = self.inbox.give(buf);
        if data > 0 {
            // The client may send as much more as was taken; a stream that is over owes nothing.
            let _ = self.body.flow_control().release_capacity(data);
        }
        any
    }

    /// Whether the client, or the whole connection, is gone.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = match &mut self.outbound {
            Outbound::Head(_) => self.respond.poll_reset(cx),
            Outbound::Body(_, stream) | Outbound::Tunnel(stream) | Outbound::Done(Some(stream)) => {
                stream.poll_reset(cx)
            }
            Outbound::Done(None) => return Poll::Pending,
        };
        let _ = ready!(reset);
        self.gone = true;
        Poll::Ready(())
    }

    /// Takes bytes of the answer's head; how many, and the head once it is whole.
    fn take_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Outbound::Head(before) = &mut self.outbound else { return Ok(0) };
        let had = before.len();
        before.extend_from_slice(bytes);
        let Parsed::Complete { len } = self.parser.parse(before, &LIMITS).map_err(io::Error::other)? else {
            return Ok(bytes.len());
        };
        let head = std::mem::take(before);
        let taken = len.saturating_sub(had);
        let mut status = StatusCode::from_u16(self.parser.status()).map_err(io::Error::other)?;
        let switched = status == StatusCode::SWITCHING_PROTOCOLS;
        // Those who write the answer see to it; here it would be taken for what it is not.
        if switched != (self.switch == Switch::Asked && (switched || status.is_success())) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if switched {
            status = StatusCode::OK;
        }
        let mut response = Response::new(());
        *response.status_mut() = status;
        for field in self.parser.view(&head).fields() {
            let of_a_connection = KnownSet::OF_A_CONNECTION.contains(field.known);
            if of_a_connection || (switched && field.known == Known::SecWebSocketAccept) {
                continue;
            }
            let name = HeaderName::from_bytes(field.name).map_err(io::Error::other)?;
            let value = HeaderValue::from_bytes(field.value).map_err(io::Error::other)?;
            response.headers_mut().append(name, value);
        }
        if switched {
            let stream = self.respond.send_response(response, false).map_err(io::Error::other)?;
            self.switch = Switch::Done;
            self.outbound = Outbound::Tunnel(stream);
            return Ok(taken);
        }
        if self.parser.is_informational() {
            self.parser.clear();
            self.respond.send_informational(response).map_err(io::Error::other)?;
            return Ok(taken);
        }
        let reader = BodyReader::keeping_trailers(self.parser.framing(self.head_request));
        let whole = reader.is_done();
        let stream = self.respond.send_response(response, whole).map_err(io::Error::other)?;
        self.ended = whole;
        self.outbound = if whole { Outbound::Done(Some(stream)) } else { Outbound::Body(reader, stream) };
        Ok(taken)
    }

    /// Takes bytes of the answer's body, as many as the client has room for.
    fn poll_body(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Outbound::Body(reader, stream) = &mut self.outbound else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let sent = match ready!(poll_send(reader, stream, &self.queue, cx, bytes)) {
            Ok(sent) => sent,
            Err(fault) => {
                self.gone |= fault.kind() == io::ErrorKind::ConnectionReset;
                return Poll::Ready(Err(fault));
            }
        };
        self.shared.account.worth(sent.data as u64);
        self.given += sent.data as u64;
        self.ended |= sent.done;
        if sent.done
            && let Outbound::Body(_, stream) = std::mem::replace(&mut self.outbound, Outbound::Done(None))
        {
            self.outbound = Outbound::Done(Some(stream));
        }
        Poll::Ready(Ok(sent.taken))
    }

    /// Takes bytes of a tunnel, as many as the client has room for.
    fn poll_tunnel(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Outbound::Tunnel(stream) = &mut self.outbound else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        stream.reserve_capacity(bytes.len());
        let mut room = stream.capacity();
        while room == 0 {
            let Some(Ok(_)) = ready!(stream.poll_capacity(cx)) else {
                self.gone = true;
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            };
            room = stream.capacity();
        }
        let now = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.shared.account.worth(now.len() as u64);
        self.given += now.len() as u64;
        let piece = Piece::new(Bytes::copy_from_slice(now), &self.queue);
        stream.send_data(piece, false).map_err(io::Error::other)?;
        Poll::Ready(Ok(now.len()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.give(buf) {
                return Poll::Ready(Ok(()));
            }
            // One half of a tunnel lives on when the other has ended.
            let answered = matches!(this.outbound, Outbound::Done(_)) && this.switch != Switch::Done;
            // A stream carries one request: behind its answer, once that is out, there is nothing.
            if (answered && this.is_out()) || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if answered {
                this.wait(cx);
            }
            if this.inbound == Inbound::Done && this.switch == Switch::Done {
                return Poll::Ready(Ok(()));
            }
            if answered || this.inbound == Inbound::Done || this.switch == Switch::Asked {
                // That a client sends no more says nothing here; that it wants nothing more, does.
                ready!(this.poll_gone(cx));
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            match ready!(this.body.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => this.came(data),
                Some(Err(_)) => {
                    this.gone = true;
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                None => {
                    if this.inbound == Inbound::Chunked {
                        // Whether they go on is decided where all trailers are.
                        let Ok(trailers) = ready!(this.body.poll_trailers(cx)) else {
                            this.gone = true;
                            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                        };
                        this.inbox.ended(trailers.as_ref());
                    }
                    this.inbound = Inbound::Done;
                }
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.outbound {
            _ if bytes.is_empty() => Poll::Ready(Ok(0)),
            Outbound::Head(_) => Poll::Ready(this.take_head(bytes)),
            Outbound::Tunnel(_) => this.poll_tunnel(cx, bytes),
            Outbound::Body(..) | Outbound::Done(_) => this.poll_body(cx, bytes),
        }
    }

    /// Waits until the kernel has what was written, as far as that can be said of a connection that others share.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // What the client let go of was not sent, though nothing waits any more.
        if this.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if this.is_out() {
            return Poll::Ready(Ok(()));
        }
        if this.shared.progress.is_over() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        this.wait(cx);
        Poll::Pending
    }

    /// Ends our half of a tunnel. Otherwise there is nothing to be said beside the end of the answer, and nobody may be
    /// waited for.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Outbound::Tunnel(stream) = &mut this.outbound {
            let piece = Piece::new(Bytes::new(), &this.queue);
            stream.send_data(piece, true).map_err(io::Error::other)?;
            this.ended = true;
            if let Outbound::Tunnel(stream) = std::mem::replace(&mut this.outbound, Outbound::Done(None)) {
                this.outbound = Outbound::Done(Some(stream));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let by_reset = self.gone || self.poll_gone(&mut cx).is_ready();
        self.shared.account.ended(by_reset);
        if self.cut.get() && !by_reset {
            // Drops what is queued; the connection and its other streams go on.
            self.respond.send_reset(Reason::CANCEL);
        }
        if self.cuttable.get() {
            self.shared.progress.forget(self.number());
            if self.cut.get() {
                // What the library has encoded it writes all the same.
                self.shared.cuts.add(self.number());
            }
        }
    }
}
