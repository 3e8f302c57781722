//! From the application back to the client.

use std::time::Duration;

use tokio::io::AsyncWrite;

use crate::proxy::{
    core::Core,
    gate::Gate,
    patience::{Patience, TooSlow},
    socket::Half,
    upgrade::{self, Handshake},
    wire::{
        ClientConnection, Framing, Known, KnownSet, Name, NameSet, Parsed, ResponseEdit, ResponseHead, Value,
        Version, client_framing, write_response,
    },
};

use super::{
    MOST_INTERIM, Making, NO_ANSWER, Narrowed, PIECE, Tally, Trouble, Upto, binds,
    body::Body,
    created::{self, Behind},
    narrowed::{Came, pass_on},
    room::{arrival, room},
};

/// How much is read at once of a body that comes faster than that; framed anew it is no longer than 64 KiB.
const LARGE_PIECE: usize = (64 << 10) - FRAMES;
/// How much longer a piece may become when it is framed anew: chunks that came are as long in our words, so it is one more.
const FRAMES: usize = 64;

pub(super) struct Answer<'a> {
    pub(super) head_request: bool,
    pub(super) version: Version,
    pub(super) keep_alive: bool,
    pub(super) as_staff: bool,
    pub(super) unstored: bool,
    pub(super) timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) upgrade: Option<&'a Handshake>,
    /// Where trailers go on: names that do not.
    pub(super) trailers: Option<[&'a NameSet; 2]>,
    pub(super) must_switch: bool,
    pub(super) narrowed: Option<&'a Narrowed<'a>>,
    pub(super) making: Option<&'a Making<'a>>,
}

/// How an answer ended.
pub(super) enum Down {
    /// Whole: how far the client's connection is good, and whether the application's is.
    Answered(Upto, bool),
    /// Both connections are a tunnel now; what the application sent behind its head.
    Switched(Vec<u8>),
}

#[expect(clippy::too_many_arguments, reason = "one direction, from socket to socket")]
pub(super) async fn download<W: AsyncWrite + Unpin>(
    core: &Core,
    gate: Gate<'_>,
    from: &mut Half<'_, '_>,
    to: &mut W,
    answer: &Answer<'_>,
    patience: &mut Patience,
    tally: &Tally,
    out: &mut Vec<u8>,
) -> Result<Down, Trouble> {
    let mut buffer = Vec::new();
    let mut head = core.response_head();
    let limits = core.response_limits();
    let mut interim = 0;
    let len = loop {
        match head.parse(&buffer, &limits) {
            Ok(Parsed::Complete { len }) if head.is_informational() => {
                interim += 1;
                if head.status() == 101
                    && let Some(handshake) = answer.upgrade
                {
                    if !handshake.is_granted_by(&head.view(&buffer)) {
                        return Err(Trouble::Upstream("upstream_upgrade_wrong"));
                    }
                    tally.status.set(Some(101));
                    write_answer(core, out, &buffer, &head, answer, Framing::None, &Upto::Close);
                    let piece = Piece { first: out, second: &[], lead: out.len(), body: 0 };
                    send(gate, to, &piece, patience, answer.write_timeout, tally).await?;
                    buffer.drain(..len);
                    core.give_back_head(head);
                    return Ok(Down::Switched(buffer));
                }
                if head.status() == 101 {
                    return Err(Trouble::Upstream("upstream_switched_unasked"));
                }
                if interim > MOST_INTERIM {
                    return Err(Trouble::Upstream("upstream_interim_answers"));
                }
                buffer.drain(..len);
                head.clear();
            }
            Ok(Parsed::Complete { len }) => break len,
            Ok(Parsed::Partial) => {
                let waiting = tally.uploaded.get() || tally.given_up.get();
                let coming = async {
                    room(core, gate, from, &mut buffer, PIECE).await;
                    gate.read(from, &mut buffer).await
                };
                match patience.wait(answer.timeout, coming).await {
                    Ok(Ok(0)) if buffer.is_empty() => return Err(Trouble::Upstream("upstream_closed")),
                    Ok(Ok(0)) => return Err(Trouble::Upstream("upstream_head_cut_off")),
                    Ok(Ok(_)) => {}
                    Ok(Err(broken)) => return Err(Trouble::of_upstream(broken)),
                    Err(TooSlow) if waiting => return Err(Trouble::UpstreamSlow(NO_ANSWER)),
                    // The time for an answer counts from the end of the request, which has time limits of its own.
                    Err(TooSlow) => {}
                }
            }
            Err(fault) => return Err(Trouble::Upstream(fault.code())),
        }
    };
    if answer.must_switch && (200..300).contains(&head.status()) {
        return Err(Trouble::Upstream("upstream_upgrade_refused"));
    }
    tally.status.set(Some(head.status()));
    if let Some(narrowed) = answer.narrowed {
        let came = Came { buffer, at: len, head };
        return pass_on(core, gate, from, to, answer, narrowed, patience, tally, out, came).await;
    }
    let behind = match answer.making {
        Some(making) => {
            created::look(core, gate, from, making, answer, &head, &mut buffer, len, patience).await?
        }
        None => Behind::Open,
    };
    let framing = head.framing(answer.head_request);
    let told = client_framing(framing, answer.version);
    let closes = told == Framing::UntilClose;
    let upto =
        if answer.keep_alive && !closes && tally.uploaded.get() { Upto::Reusable } else { Upto::Close };
    write_answer(core, out, &buffer, &head, answer, told, &upto);
    let bound = binds::response(&head.view(&buffer));
    // Of what stands in `out`: how much comes before the body, and how much is body.
    let (mut lead, mut held) = (out.len(), 0);
    let mut body = Body::new(framing, told, u64::MAX, answer.trailers);
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
                let piece = Piece { first: out, second: data, lead, body: held + data.len() };
                send(gate, to, &piece, patience, answer.write_timeout, tally).await?;
                out.clear();
                (lead, held) = (0, 0);
            } else {
                if data.len() > PIECE / 2 {
                    // Grown step by step it would be twice as long as what it holds.
                    out.reserve_exact(rest.len() + FRAMES);
                }
                out.extend_from_slice(data);
                out.extend_from_slice(frame.after());
                held += data.len();
            }
            at += step.consumed;
        }
        if body.reader.is_done() {
            break;
        }
        if !out.is_empty() {
            let piece = Piece { first: out, second: &[], lead, body: held };
            send(gate, to, &piece, patience, answer.write_timeout, tally).await?;
            out.clear();
            (lead, held) = (0, 0);
        }
        match behind {
            Behind::Open => {}
            Behind::Ended => {
                body.reader.end().map_err(|fault| Trouble::Upstream(fault.code()))?;
                break;
            }
            Behind::Broken(broken) => return Err(Trouble::of_upstream(broken)),
        }
        // Where a whole piece was there to be read, more is likely to be: fewer and larger steps.
        let piece = if buffer.len() == buffer.capacity() { LARGE_PIECE } else { PIECE };
        buffer.clear();
        at = 0;
        arrival(core, gate, from, &mut buffer).await;
        core.turns().turn().await;
        room(core, gate, from, &mut buffer, piece).await;
        match gate.read(from, &mut buffer).await {
            Ok(0) => {
                body.reader.end().map_err(|fault| Trouble::Upstream(fault.code()))?;
                break;
            }
            Ok(_) => {}
            Err(broken) => return Err(Trouble::of_upstream(broken)),
        }
    }
    body.finish(out).map_err(Trouble::Upstream)?;
    let piece = Piece { first: out, second: &[], lead, body: held };
    send(gate, to, &piece, patience, answer.write_timeout, tally).await?;
    let in_step = buffer.len() == at && framing != Framing::UntilClose;
    let reusable = in_step && head.keep_alive(answer.head_request) && !bound;
    core.give_back(buffer);
    core.give_back_head(head);
    Ok(Down::Answered(upto, reusable))
}

fn write_answer(
    core: &Core,
    out: &mut Vec<u8>,
    bytes: &[u8],
    head: &ResponseHead,
    answer: &Answer<'_>,
    told: Framing,
    upto: &Upto,
) {
    let connection = match upgrade::protocol() {
        Some(protocol) if head.status() == 101 => ClientConnection::Upgrade(protocol),
        _ => connection(upto, answer.version),
    };
    let no_store = no_store();
    let cookies = if answer.as_staff { KnownSet::of(&[Known::SetCookie]) } else { KnownSet::EMPTY };
    let (drop, drop_names, add) = if answer.unstored {
        (cookies.union(KnownSet::of(&[Known::CacheControl])), core.caching(), no_store.as_slice())
    } else {
        (cookies, NameSet::empty(), &[][..])
    };
    let framing = match (head.declared(), answer.version) {
        // Announced of a body that does not follow, in words that HTTP/1.0 does not have.
        (Framing::Chunked, Version::Http10) => Framing::None,
        (declared, _) if answer.head_request || head.status() == 304 => declared,
        _ => told,
    };
    out.clear();
    let edit = ResponseEdit { drop, drop_names, only: None, framing, connection, add };
    write_response(out, &head.view(bytes), &edit);
}

/// What is said about the client's connection.
pub(super) fn connection(upto: &Upto, version: Version) -> ClientConnection<'static> {
    match (upto, version) {
        (Upto::Close, _) => ClientConnection::Close,
        (Upto::Reusable, Version::Http10) => ClientConnection::KeepAlive,
        (Upto::Reusable, Version::Http11) => ClientConnection::Open,
    }
}

/// The line of what nobody may keep.
pub(super) fn no_store() -> Vec<(Name<'static>, Value<'static>)> {
    let line = [(Name::new("Cache-Control"), Value::ascii("no-store"))];
    line.iter().filter_map(|(name, value)| Some(((*name)?, (*value)?))).collect()
}

/// Bytes on their way to the client.
pub(super) struct Piece<'a> {
    pub(super) first: &'a [u8],
    pub(super) second: &'a [u8],
    /// Bytes in front that are no body.
    pub(super) lead: usize,
    /// How many of the others are.
    pub(super) body: usize,
}

/// Sends it. Body is counted as the kernel takes it, frames behind the first one as if they were body until all of it is
/// gone: never less than what left.
pub(super) async fn send<W: AsyncWrite + Unpin>(
    gate: Gate<'_>,
    to: &mut W,
    piece: &Piece<'_>,
    patience: &mut Patience,
    most: Duration,
    tally: &Tally,
) -> Result<(), Trouble> {
    if piece.first.is_empty() && piece.second.is_empty() {
        return Ok(());
    }
    let before = tally.sent.get();
    let mut gone = 0usize;
    tally.started.set(true);
    let handed = |count| {
        gone += count;
        let body = gone.saturating_sub(piece.lead).min(piece.body);
        tally.sent.set(before + body as u64);
    };
    match patience.wait(most, gate.write_both(to, piece.first, piece.second, handed)).await {
        Ok(written) => written.map_err(Trouble::of_client),
        Err(TooSlow) => Err(Trouble::Client("client_reads_too_slowly")),
    }
}
