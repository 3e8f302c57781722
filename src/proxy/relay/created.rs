//! The answer of an application to a request that may create something: looked at before its head goes on, so that whoever
//! made it can use it with their next request. Nothing of it is taken away: what was read of its body passes on as it came.
//!
//! Never here: what follows from it (see [`Maker`]).

use std::{cell::Cell, time::Duration};

use crate::{
    engine::Maker,
    policy::{
        creates::{IdFrom, Unread, id_in_location, id_of},
        narrow::Pointer,
        path::PathRules,
        routes::Template,
    },
    proxy::{
        core::Core,
        gate::{Broken, Gate},
        narrow::{NarrowFault, head::plain_json, one::text_at},
        patience::Patience,
        socket::Half,
        wire::{BodyReader, Framing, Known, ResponseHead, ResponseView},
    },
};

use super::{PIECE, Trouble, down::Answer, room::room};

/// Bytes of a body that are looked through for an identifier.
const MOST_BODY: usize = 64 << 10;
/// The same with its frames: a body that comes byte by byte is as long as that.
const MOST_FRAMED: usize = 8 * MOST_BODY;
/// How long a body is waited for, once its head has come; less where the route gives its answers less.
const MOST_WAIT: Duration = Duration::from_secs(5);

/// What may be made by an exchange.
pub(in crate::proxy) struct Making<'a> {
    pub(in crate::proxy) maker: Maker,
    /// The host that was asked: as the client named it, and as the application hears it.
    pub(in crate::proxy) hosts: [&'a str; 2],
    pub(in crate::proxy) rules: PathRules,
    /// The client has gone: the answer is awaited for what follows from it alone.
    pub(in crate::proxy) alone: Cell<bool>,
}

/// How the application's connection stands behind what was read of a body.
pub(super) enum Behind {
    /// More may come.
    Open,
    /// It has ended.
    Ended,
    /// It broke.
    Broken(Broken),
}

/// Looks at an answer whose head has come: `buffer` holds it, and so many bytes of it are the head. More of the body may stand
/// there afterwards. Answers when what follows is in force, or on its way.
#[expect(clippy::too_many_arguments, reason = "an answer in hand, and where it comes from")]
pub(super) async fn look(
    core: &Core,
    gate: Gate<'_>,
    from: &mut Half<'_, '_>,
    making: &Making<'_>,
    answer: &Answer<'_>,
    head: &ResponseHead,
    buffer: &mut Vec<u8>,
    at: usize,
    patience: &mut Patience,
) -> Result<Behind, Trouble> {
    // No other status says for sure that something was made; a fault of the application's does not say that nothing was.
    if head.status() != 201 {
        if head.status() < 500 {
            making.maker.nothing();
        }
        return if making.alone.get() { Err(Trouble::ClientGone) } else { Ok(Behind::Open) };
    }
    let mut behind = Behind::Open;
    let id = match making.maker.id() {
        IdFrom::Location(template) => in_location(&head.view(buffer), template, making),
        IdFrom::Json(pointer) => match plain_json(&head.view(buffer)) {
            Err(NarrowFault::Coded) => Err(Unread::Coded),
            Err(_) => Err(Unread::NotJson),
            Ok(()) => {
                let framing = head.framing(answer.head_request);
                let reading = in_body(core, gate, from, buffer, at, framing, pointer, &mut behind);
                let most = MOST_WAIT.min(answer.timeout);
                patience.wait(most, reading).await.unwrap_or(Err(Unread::TooSlow))
            }
        },
    };
    if let Behind::Broken(Broken::Cut) = behind {
        return Err(Trouble::Cut);
    }
    match id {
        Err(why) => making.maker.unknown(why),
        Ok(id) => tokio::select! {
            biased;
            () = making.maker.made(id) => {}
            // It goes on by itself; whoever cuts waits for the sockets.
            _ = gate.cut() => return Err(Trouble::Cut),
        },
    }
    if making.alone.get() { Err(Trouble::ClientGone) } else { Ok(behind) }
}

fn in_location(
    view: &ResponseView<'_>,
    template: &Template,
    making: &Making<'_>,
) -> Result<crate::model::ResourceId, Unread> {
    let mut lines = view.fields().filter(|field| field.known == Known::Location);
    match (lines.next(), lines.next()) {
        (None, _) => Err(Unread::LocationMissing),
        (Some(field), None) if !field.lookalike => {
            id_in_location(template, field.value, making.maker.tenant(), &making.hosts, making.rules)
        }
        (Some(_), None) => Err(Unread::LocationUnlike),
        (Some(_), Some(_)) => Err(Unread::LocationTwice),
    }
}

/// Reads the body into `buffer` until it is whole, and what stands in it at that place.
#[expect(clippy::too_many_arguments, reason = "a body in its framing, and where it comes from")]
async fn in_body(
    core: &Core,
    gate: Gate<'_>,
    from: &mut Half<'_, '_>,
    buffer: &mut Vec<u8>,
    head: usize,
    framing: Framing,
    pointer: &Pointer,
    behind: &mut Behind,
) -> Result<crate::model::ResourceId, Unread> {
    let mut reader = BodyReader::new(framing);
    let (mut body, mut at) = (Vec::new(), head);
    while !reader.is_done() {
        let rest = buffer.get(at..).unwrap_or_default();
        if !rest.is_empty() {
            let step = reader.advance(rest).map_err(|_| Unread::Unreadable)?;
            body.extend_from_slice(rest.get(step.data.clone()).unwrap_or_default());
            at += step.consumed;
            if body.len() > MOST_BODY {
                return Err(Unread::TooLarge);
            }
            continue;
        }
        if at - head > MOST_FRAMED {
            return Err(Unread::TooLarge);
        }
        room(core, gate, from, buffer, PIECE).await;
        match gate.read(from, buffer).await {
            Ok(0) => {
                *behind = Behind::Ended;
                reader.end().map_err(|_| Unread::Unreadable)?;
                break;
            }
            Ok(_) => {}
            Err(broken) => {
                *behind = Behind::Broken(broken);
                return Err(Unread::Unreadable);
            }
        }
    }
    id_of(&text_at(pointer, &body)?)
}
