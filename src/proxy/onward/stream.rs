//! One stream towards an application, as if it were a connection of HTTP/1.1 that carries one request: the head and body that
//! our writer wrote go out as HEADERS and DATA, what comes back is read by our reader. In between nothing knows that it is
//! HTTP/2: the same gate for each byte, the same records.
//!
//! Never here: what the bytes mean to anybody but the two protocols, which connection it is.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use h2::{Reason, RecvStream, SendStream, client::ResponseFuture};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    lines::Ticket,
    translate::{request, response},
};
use crate::proxy::{
    http2::pieces::{Inbound, Inbox, Piece, Queue, poll_send},
    relay::MOST_INTERIM,
    wire::{BodyReader, Limits, Parsed, RequestHead},
};

/// Heads that we wrote ourselves: whatever a client was allowed, and our own lines.
const LIMITS: Limits = Limits {
    max_head: 1 << 20,
    max_target: 1 << 20,
    max_fields: 10_000,
    max_name: 16 << 10,
    max_value: 1 << 20,
};
/// How long what a connection has begun to write of a stream may take to be written when the stream is taken back.
const RETRACTING: Duration = Duration::from_millis(500);
/// How long the end of a stream may take behind a whole answer.
const RESTING: Duration = Duration::from_secs(1);

/// How far the request is.
enum Outbound {
    /// Its head is still to come, or part of it.
    Head(Vec<u8>),
    /// Its body.
    Body(BodyReader, SendStream<Piece>),
    /// All of it was given to the connection.
    Done(SendStream<Piece>),
}

/// How far the answer is.
enum Answer {
    /// Nothing was asked.
    None,
    /// Its head is awaited.
    Head(Box<ResponseFuture>, usize),
    /// Its body.
    Body(RecvStream, Inbound),
}

/// See the module's header.
pub(in crate::proxy) struct Onward {
    outbound: Outbound,
    answer: Answer,
    inbox: Inbox,
    queue: Rc<Queue>,
    /// Bytes of the body, and whether its end, were given to the connection.
    given: u64,
    ended: bool,
    /// Bytes of the answer's body that were announced and have not come.
    announced: u64,
    head_request: bool,
    trailers: bool,
    /// The application said, or its silence proves, that it did nothing with it.
    unprocessed: Cell<bool>,
    /// Counts on its connection until this is dropped.
    ticket: Ticket,
}

impl Onward {
    pub(super) fn new(ticket: Ticket, trailers: bool) -> Onward {
        Onward {
            outbound: Outbound::Head(Vec::new()),
            answer: Answer::None,
            inbox: Inbox::default(),
            queue: Rc::default(),
            given: 0,
            ended: false,
            announced: 0,
            head_request: false,
            trailers,
            unprocessed: Cell::new(false),
            ticket,
        }
    }

    /// Whether the application has proved that it did nothing with the request: it refused the stream, or it goes away and
    /// named an earlier one as the last that it looks at (RFC 9113, 8.7).
    pub(in crate::proxy) fn is_unprocessed(&self) -> bool {
        self.unprocessed.get()
    }

    fn failed(&self, fault: &h2::Error) -> io::Error {
        let refused = fault.is_reset() && fault.reason() == Some(Reason::REFUSED_STREAM);
        if fault.is_remote() && (fault.is_go_away() || refused) {
            self.unprocessed.set(true);
        }
        io::ErrorKind::ConnectionReset.into()
    }

    /// Whether the kernel has all that was written.
    fn is_with_kernel(&self) -> bool {
        match &self.outbound {
            Outbound::Head(_) => true,
            Outbound::Body(_, stream) | Outbound::Done(stream) => {
                self.ticket.progress().has(stream.stream_id().as_u32(), self.given, self.ended)
            }
        }
    }

    /// Whether the application, or the whole connection, has let go of it.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.outbound {
            Outbound::Head(_) => Poll::Ready(()),
            Outbound::Body(_, stream) | Outbound::Done(stream) => stream.poll_reset(cx).map(|_| ()),
        }
    }

    /// Takes back what the application has not got, before anybody is told that nothing more passes. What the connection has
    /// begun to write it may write for a moment: the others could not be read behind half a frame, and a head that is queued
    /// cannot be unqueued. Where the kernel does not take it, it takes nothing of anybody's: the connection is given up, and
    /// not a byte leaves on it any more.
    pub(in crate::proxy) async fn retract(&mut self) {
        let nobody = &mut Context::from_waker(Waker::noop());
        if self.is_with_kernel() || self.poll_over(nobody).is_ready() {
            return;
        }
        let (Outbound::Body(_, stream) | Outbound::Done(stream)) = &mut self.outbound else { return };
        stream.send_reset(Reason::CANCEL);
        let number = stream.stream_id().as_u32();
        let written = poll_fn(|cx| {
            let progress = self.ticket.progress();
            progress.wait(cx);
            // Where both sides had ended it already, no reset follows.
            if progress.has_reset(number) || progress.has(number, self.given, self.ended) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        if tokio::time::timeout(RETRACTING, written).await.is_err() {
            self.ticket.give_up();
        }
    }

    /// No answer came in time.
    pub(in crate::proxy) fn doubt(&self) {
        self.ticket.doubt();
    }

    /// Lets go of a stream whose answer is whole. Its end may be on its way in a frame of its own; whoever is reset instead
    /// counts that against us.
    pub(in crate::proxy) fn rest(mut self) {
        let whole = matches!(&self.answer, Answer::Body(body, _) if !body.is_end_stream());
        if whole && self.announced == 0 && matches!(self.outbound, Outbound::Done(_)) {
            tokio::task::spawn_local(async move {
                let _ = tokio::time::timeout(RESTING, poll_fn(|cx| self.poll_end(cx))).await;
            });
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Answer::Body(body, _) = &mut self.answer else { return Poll::Ready(()) };
        while let Some(Ok(data)) = ready!(body.poll_data(cx)) {
            if !data.is_empty() {
                break;
            }
        }
        Poll::Ready(())
    }

    /// Takes bytes of the request's head; how many. Sends it once it is whole.
    fn take_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Outbound::Head(before) = &mut self.outbound else { return Ok(0) };
        let had = before.len();
        before.extend_from_slice(bytes);
        let mut head = RequestHead::new();
        let Parsed::Complete { len } = head.parse(before, &LIMITS).map_err(io::Error::other)? else {
            return Ok(bytes.len());
        };
        let text = std::mem::take(before);
        let view = head.view(&text);
        self.head_request = view.method_name() == b"HEAD";
        let request = request(&view, self.ticket.is_secure(), self.trailers)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        let reader = BodyReader::keeping_trailers(head.framing());
        let whole = reader.is_done();
        let (answer, stream) = self.ticket.begin(request, whole).map_err(|_| io::ErrorKind::BrokenPipe)?;
        self.answer = Answer::Head(Box::new(answer), 0);
        self.ended = whole;
        self.outbound = if whole { Outbound::Done(stream) } else { Outbound::Body(reader, stream) };
        Ok(len.saturating_sub(had))
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Outbound::Body(reader, stream) = &mut self.outbound else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let sent = match ready!(poll_send(reader, stream, &self.queue, cx, bytes)) {
            Ok(sent) => sent,
            Err(fault) => {
                // Why it takes no more is told where its answer would be.
                if let Answer::Head(answer, _) = &mut self.answer
                    && let Poll::Ready(Err(why)) = Pin::new(&mut **answer).poll(cx)
                {
                    self.failed(&why);
                    self.answer = Answer::None;
                }
                return Poll::Ready(Err(fault));
            }
        };
        self.given += sent.data as u64;
        self.ended |= sent.done;
        if sent.done
            && let Outbound::Body(_, stream) =
                std::mem::replace(&mut self.outbound, Outbound::Head(Vec::new()))
        {
            self.outbound = Outbound::Done(stream);
        }
        Poll::Ready(Ok(sent.taken))
    }

    /// More of the answer for the inbox; `false` at its end.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match &mut self.answer {
            Answer::None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            Answer::Head(answer, interim) => {
                while let Poll::Ready(Some(told)) = answer.poll_informational(cx) {
                    *interim += 1;
                    if told.is_err() || *interim > MOST_INTERIM {
                        break;
                    }
                }
                if *interim > MOST_INTERIM {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                match ready!(Pin::new(&mut **answer).poll(cx)) {
                    Ok(answer) => {
                        let (parts, body) = answer.into_parts();
                        let ended = body.is_end_stream();
                        let inbound = response(self.inbox.head(), &parts, ended, self.head_request);
                        self.announced = match inbound {
                            Inbound::Raw => announced(&parts.headers),
                            Inbound::Chunked | Inbound::Done => 0,
                        };
                        self.answer = Answer::Body(body, inbound);
                        Poll::Ready(Ok(true))
                    }
                    Err(fault) => Poll::Ready(Err(self.failed(&fault))),
                }
            }
            Answer::Body(_, Inbound::Done) => Poll::Ready(Ok(false)),
            Answer::Body(body, inbound) => {
                match ready!(body.poll_data(cx)) {
                    Some(Ok(data)) if data.is_empty() => {}
                    Some(Ok(data)) => {
                        self.announced = self.announced.saturating_sub(data.len() as u64);
                        self.inbox.came(data, *inbound == Inbound::Chunked);
                    }
                    Some(Err(_)) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                    None => {
                        if *inbound == Inbound::Chunked {
                            let trailers =
                                ready!(body.poll_trailers(cx)).map_err(|_| io::ErrorKind::ConnectionReset)?;
                            self.inbox.ended(trailers.as_ref());
                        }
                        *inbound = Inbound::Done;
                    }
                }
                Poll::Ready(Ok(true))
            }
        }
    }
}

impl AsyncRead for Onward {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let (any, data) = this.inbox.give(buf);
            if let Answer::Body(body, _) = &mut this.answer
                && data > 0
            {
                // The application may send as much more as was taken; a stream that is over owes nothing.
                let _ = body.flow_control().release_capacity(data);
            }
            if any || buf.remaining() == 0 || !ready!(this.poll_answer(cx))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Onward {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.outbound {
            _ if bytes.is_empty() => Poll::Ready(Ok(0)),
            Outbound::Head(_) => Poll::Ready(this.take_head(bytes)),
            Outbound::Body(..) | Outbound::Done(_) => this.poll_body(cx, bytes),
        }
    }

    /// Waits until the kernel has what was written, its head too. What a stream held that is over is gone, which is told
    /// where its answer is read.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_with_kernel() || this.poll_over(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        this.ticket.progress().wait(cx);
        Poll::Pending
    }

    /// There is nothing to be said beside the end of the request.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The length that an answer announces.
fn announced(headers: &http::HeaderMap) -> u64 {
    let length = headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or_default()
}

impl Drop for Onward {
    fn drop(&mut self) {
        if let Outbound::Body(_, stream) | Outbound::Done(stream) = &mut self.outbound {
            self.ticket.progress().forget(stream.stream_id().as_u32());
            // Drops what is queued, in this moment; the connection and its other streams go on. Of a stream that both sides
            // have ended nothing is said.
            stream.send_reset(Reason::CANCEL);
        }
    }
}
