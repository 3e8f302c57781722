//! An answer of which only some items pass: read as it comes, each item asked for, and framed anew.
//!
//! Nothing leaves before the first bytes of what passes are there, so that an answer that cannot be narrowed is one that was
//! never begun, as far as that can be; behind it the connection is reset, for an orderly end would be taken for the list's.
//!
//! Never here: what passes (see [`narrow`](crate::proxy::narrow)), or who may see what (see [`Sight`]).

use tokio::io::AsyncWrite;

use crate::{
    engine::Sight,
    policy::narrow::ListShape,
    proxy::{
        core::Core,
        gate::{Broken, Gate},
        narrow::{
            Filter, NarrowFault,
            head::{self, Body},
        },
        patience::Patience,
        socket::Half,
        wire::{
            BodyReader, BodyWriter, Framing, Known, KnownSet, NameSet, ResponseEdit, ResponseHead,
            client_framing, write_response,
        },
    },
};

use super::{
    PIECE, Tally, Trouble, Upto, binds,
    down::{Answer, Down, Piece, connection, no_store, send},
    room::{arrival, room},
};

/// Bytes of what passes that are awaited before an answer begins, unless it is over sooner.
const FIRST: usize = 4 << 10;

/// So many items are a piece of their own, and take a turn: thousands fit into what is read at once, and each is decided.
const ITEMS: usize = 16;

/// By what an answer is narrowed.
pub(in crate::proxy) struct Narrowed<'a> {
    pub(in crate::proxy) shape: &'a ListShape,
    pub(in crate::proxy) sight: Sight,
}

/// What has come of an answer: its head, and its bytes, of which the first so many are the head.
pub(super) struct Came {
    pub(super) buffer: Vec<u8>,
    pub(super) at: usize,
    pub(super) head: ResponseHead,
}

fn fault(fault: NarrowFault) -> Trouble {
    Trouble::Upstream(fault.code())
}

#[expect(clippy::too_many_arguments, reason = "one direction, from socket to socket")]
pub(super) async fn pass_on<W: AsyncWrite + Unpin>(
    core: &Core,
    gate: Gate<'_>,
    from: &mut Half<'_, '_>,
    to: &mut W,
    answer: &Answer<'_>,
    narrowed: &Narrowed<'_>,
    patience: &mut Patience,
    tally: &Tally,
    out: &mut Vec<u8>,
    came: Came,
) -> Result<Down, Trouble> {
    let Came { mut buffer, mut at, head } = came;
    tally.status.set(Some(head.status()));
    let view = head.view(&buffer);
    let body = head::body(&view).map_err(fault)?;
    let bound = binds::response(&view);
    let framing = head.framing(answer.head_request);
    let told = match body {
        _ if answer.head_request => Framing::None,
        Body::Filtered => client_framing(Framing::Chunked, answer.version),
        Body::Withheld => Framing::Length(0),
    };
    let closes = told == Framing::UntilClose;
    let upto =
        if answer.keep_alive && !closes && tally.uploaded.get() { Upto::Reusable } else { Upto::Close };
    let drop = if answer.as_staff { KnownSet::of(&[Known::SetCookie]) } else { KnownSet::EMPTY };
    let no_store = no_store();
    let edit = ResponseEdit {
        drop,
        drop_names: NameSet::empty(),
        only: Some(head::passes(body)),
        framing: told,
        connection: connection(&upto, answer.version),
        add: &no_store,
    };
    out.clear();
    write_response(out, &view, &edit);
    let mut reader = BodyReader::new(framing);
    if answer.head_request || body == Body::Withheld {
        let piece = Piece { first: out, second: &[], lead: out.len(), body: 0 };
        send(gate, to, &piece, patience, answer.write_timeout, tally).await?;
        // What the application says beside its status is not read, so its connection serves nobody else.
        let reusable =
            reader.is_done() && buffer.len() == at && head.keep_alive(answer.head_request) && !bound;
        core.give_back(buffer);
        core.give_back_head(head);
        return Ok(Down::Answered(upto, reusable));
    }
    let mut lead = out.len();
    let mut writer = BodyWriter::new(told);
    let mut filter = Filter::new(narrowed.shape);
    let mut passes = Vec::new();
    let mut closed = false;
    loop {
        narrowed.sight.refresh();
        while !reader.is_done()
            && let Some(rest) = buffer.get(at..)
            && !rest.is_empty()
        {
            let step = reader.advance(rest).map_err(|fault| Trouble::Upstream(fault.code()))?;
            let data = rest.get(step.data).unwrap_or_default();
            look_at(core, gate, &mut filter, &narrowed.sight, data, &mut passes).await?;
            at += step.consumed;
        }
        let over = closed || reader.is_done();
        if over {
            filter.finish().map_err(fault)?;
        }
        if over || passes.len() >= if lead > 0 { FIRST } else { 1 } {
            let frame = writer.frame(passes.len()).map_err(|_| Trouble::Upstream("body_length"))?;
            out.extend_from_slice(frame.before());
            out.extend_from_slice(&passes);
            out.extend_from_slice(frame.after());
            if over {
                out.extend_from_slice(writer.finish().map_err(|_| Trouble::Upstream("body_length"))?);
            }
            let piece = Piece { first: out, second: &[], lead, body: passes.len() };
            send(gate, to, &piece, patience, answer.write_timeout, tally).await?;
            out.clear();
            passes.clear();
            lead = 0;
        }
        if over {
            break;
        }
        buffer.clear();
        at = 0;
        arrival(core, gate, from, &mut buffer).await;
        core.turns().turn().await;
        room(core, gate, from, &mut buffer, PIECE).await;
        match gate.read(from, &mut buffer).await {
            Ok(0) => {
                reader.end().map_err(|fault| Trouble::Upstream(fault.code()))?;
                closed = true;
            }
            Ok(_) => {}
            Err(broken) => return Err(Trouble::of_upstream(broken)),
        }
    }
    let in_step = buffer.len() == at && framing != Framing::UntilClose;
    let reusable = in_step && head.keep_alive(answer.head_request) && !bound;
    core.give_back(buffer);
    core.give_back_head(head);
    Ok(Down::Answered(upto, reusable))
}

/// Has the filter take all of it, and answers what it asks.
async fn look_at(
    core: &Core,
    gate: Gate<'_>,
    filter: &mut Filter<'_>,
    sight: &Sight,
    mut data: &[u8],
    passes: &mut Vec<u8>,
) -> Result<(), Trouble> {
    for number in 1usize.. {
        let fed = filter.feed(data, passes).map_err(fault)?;
        let Some(id) = filter.asked() else { break };
        // An application may be asked about it: whoever ends this does not wait for that.
        let sees = tokio::select! {
            biased;
            sees = sight.sees(id) => sees,
            _ = gate.cut() => return Err(Trouble::of_upstream(Broken::Cut)),
        };
        filter.answer(sees, passes);
        data = data.get(fed.taken..).unwrap_or_default();
        if number % ITEMS == 0 {
            core.turns().turn().await;
        }
    }
    Ok(())
}
