//! The seam to the support API: its small body is taken whole, the call is handed inside, its answer is written.
//!
//! Never here: what the API answers ([`crate::control`]).

use tokio::io::AsyncReadExt;

use crate::{
    engine::knock::Who,
    proxy::{
        core::Core,
        counters::Counters,
        inside::{InsideAnswer, InsideCall, Pieces},
        pace::Pace,
        relay::Next,
        respond::Told,
        routing::Routing,
        wire::{
            BodyReader, CONTINUE, ClientConnection, Framing, Known, Name as HeaderName, RequestView,
            SimpleResponse, Value, client_framing, write_simple_response, write_stream_head,
        },
    },
};

use super::{Connection, PIECE};

impl Connection {
    /// Answers a request below the reserved prefix.
    pub(super) async fn inside(
        &mut self,
        core: &Core,
        routing: &Routing,
        request: &RequestView<'_>,
        whole: &str,
        who: Who,
    ) -> Next {
        Counters::add(&core.counters().inside);
        // Of somebody whom nobody vouches for no body is taken: the answer is the same whatever stands in it.
        let known = matches!(who, Who::Known(_));
        let body = match known {
            true => self.whole_body(routing, request).await,
            false => Ok(Vec::new()),
        };
        let body = match body {
            Ok(body) => body,
            Err(Some(told)) => return self.refuse(core, request, &told).await,
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
            return self.refuse(core, request, &told).await;
        };
        let call = InsideCall { request: call, who, client: self.client };
        let InsideAnswer { response: answered, pieces } = (core.shared().inside)(call).await;
        let again = core.keeps(request.head()) && (known || !request.head().framing().has_body());
        let head_request = request.method_name() == b"HEAD";
        let pieces = pieces.filter(|_| !head_request);
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
        if let Some(pieces) = pieces {
            let framing = client_framing(Framing::Chunked, request.head().version());
            let close = ClientConnection::Close;
            write_stream_head(&mut out, content_type, &extra, framing, close);
            if let Some(note) = &mut self.note {
                note.answered(answered.status().as_u16());
            }
            let begun = self.say(&out).await;
            core.give_back(out);
            if begun {
                self.pieces(core, pieces, framing).await;
            }
            return Next::Close;
        }
        write_simple_response(
            &mut out,
            &SimpleResponse {
                status: answered.status().as_u16(),
                content_type,
                extra: &extra,
                body: answered.body(),
                head_request,
                connection: if again { ClientConnection::Open } else { ClientConnection::Close },
            },
        );
        if let Some(note) = &mut self.note {
            note.answered(answered.status().as_u16());
        }
        let written = self.say(&out).await;
        core.give_back(out);
        if written && again { Next::Again } else { Next::Close }
    }

    /// Writes a body in pieces until it is over, nobody reads it, or the gateway stops. Whoever takes nothing for the time
    /// of an answer is let go of.
    async fn pieces(&mut self, core: &Core, mut pieces: Box<dyn Pieces>, framing: Framing) {
        let chunked = framing == Framing::Chunked;
        let mut watching = true;
        loop {
            let piece = tokio::select! {
                biased;
                () = core.stopped() => None,
                read = self.stream.read_buf(&mut self.inbox), if watching => match read {
                    Ok(0) | Err(_) => return,
                    // Another request, ahead of its time: it is not answered any more.
                    Ok(_) => {
                        watching = false;
                        continue;
                    }
                },
                piece = pieces.next() => piece,
            };
            let Some(piece) = piece else { break };
            let said = if chunked {
                let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
                chunk.extend_from_slice(&piece);
                chunk.extend_from_slice(b"\r\n");
                self.say(&chunk).await
            } else {
                self.say(&piece).await
            };
            if !said {
                return;
            }
        }
        if chunked {
            let _ = self.say(b"0\r\n\r\n").await;
        }
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
        if let Framing::Length(length) = request.head().framing()
            && usize::try_from(length).map_or(true, |length| length > routing.api_body)
        {
            return Err(too_large());
        }
        if request.head().expect_continue() && !reader.is_done() && !self.say(CONTINUE).await {
            return Err(None);
        }
        let mut body = Vec::new();
        let mut pace = Pace::new(routing.body_rate, routing.body_timeout);
        // How much of the inbox was taken: it is emptied once for each read, not once for each chunk.
        let mut at = 0;
        while !reader.is_done() {
            if self.inbox.len() == at {
                self.inbox.clear();
                at = 0;
                self.inbox.reserve(PIECE);
                let read = self.stream.read_buf(&mut self.inbox);
                match pace.wait(&mut self.patience, read).await {
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
            let rest = self.inbox.get(at..).unwrap_or_default();
            let step = reader
                .advance(rest)
                .map_err(|fault| Some(Told::plain(400, fault.code(), fault.to_string())))?;
            pace.came(step.data.len() as u64);
            body.extend_from_slice(rest.get(step.data.clone()).unwrap_or_default());
            at += step.consumed;
            if body.len() > routing.api_body {
                return Err(too_large());
            }
        }
        self.inbox.drain(..at);
        Ok(body)
    }
}
