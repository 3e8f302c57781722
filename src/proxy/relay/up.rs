//! From the client to the application, and the watch over a client that waits.

use std::time::Duration;

use tokio::io::AsyncWrite;

use crate::proxy::{
    core::Core,
    gate::Gate,
    pace::Pace,
    patience::{Patience, TooSlow},
    socket::Half,
};

use super::{
    PIECE, Tally, Trouble,
    body::Body,
    room::{arrival, room},
};

/// Pipelined bytes that are taken while an answer is awaited.
const AHEAD: usize = 16 << 10;
/// How much is read at once of what was not asked for yet.
const LITTLE: usize = 1 << 10;
/// How often a client from which nothing more is read is looked at.
const LOOK: Duration = Duration::from_secs(1);

#[expect(clippy::too_many_arguments, reason = "one direction, from socket to socket")]
pub(super) async fn upload<W: AsyncWrite + Unpin>(
    core: &Core,
    gate: Gate<'_>,
    from: &mut Half<'_, '_>,
    inbox: &mut Vec<u8>,
    to: &mut W,
    body: &mut Body<'_>,
    mut pace: Pace,
    most: Duration,
    tally: &Tally,
) -> Result<(), Trouble> {
    let mut patience = Patience::new();
    loop {
        let too_slow = |_: TooSlow| Trouble::Client("body_too_slow");
        pace.wait(&mut patience, arrival(core, gate, from, inbox)).await.map_err(too_slow)?;
        // No time of the client's: it has sent.
        core.turns().turn().await;
        let coming = async {
            room(core, gate, from, inbox, PIECE).await;
            gate.read(from, inbox).await
        };
        match pace.wait(&mut patience, coming).await.map_err(too_slow)? {
            Ok(0) => return Err(Trouble::ClientGone),
            Ok(_) => tally.followed.set(true),
            Err(broken) => return Err(Trouble::of_client(broken)),
        }
        let mut out = core.buffer();
        let before = tally.received.get();
        let whole = body.take(inbox, &mut out, tally).map_err(Trouble::Client)?;
        pace.came(tally.received.get() - before);
        match patience.wait(most, gate.write(to, &out)).await {
            Ok(written) => written.map_err(Trouble::of_upstream)?,
            Err(TooSlow) => return Err(Trouble::Upstream("upstream_reads_too_slowly")),
        }
        core.give_back(out);
        if whole {
            tally.uploaded.set(true);
            return Ok(());
        }
    }
}

/// Takes what nobody wants any more and throws it away: only behind it does the client's end come.
pub(super) async fn drain(
    core: &Core,
    gate: Gate<'_>,
    from: &mut Half<'_, '_>,
    inbox: &mut Vec<u8>,
) -> Trouble {
    loop {
        inbox.clear();
        room(core, gate, from, inbox, PIECE).await;
        match gate.read(from, inbox).await {
            Ok(0) => return Trouble::ClientGone,
            Ok(_) => {}
            Err(broken) => return Trouble::of_client(broken),
        }
    }
}

/// Watches a client that waits for its answer, and says how that ended; what it sends on is kept, up to a bound.
pub(super) async fn watch(
    core: &Core,
    gate: Gate<'_>,
    from: &mut Half<'_, '_>,
    inbox: &mut Vec<u8>,
) -> Trouble {
    while inbox.len() < AHEAD {
        room(core, gate, from, inbox, LITTLE).await;
        match gate.read(from, inbox).await {
            Ok(0) => return Trouble::ClientGone,
            Ok(_) => {}
            Err(broken) => return Trouble::of_client(broken),
        }
    }
    // Nothing more is read from it, so it is asked at intervals whether it has hung up.
    while !from.hung_up() {
        tokio::time::sleep(LOOK).await;
    }
    Trouble::ClientGone
}
