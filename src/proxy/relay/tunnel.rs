//! Both directions of a connection that became another protocol. Every byte passes the gate, so whatever ends a permit
//! ends the tunnel; each side's end is handed on as it comes.
//!
//! Never here: what the bytes mean. A word to the client of why it was cut would have to stand behind bytes that may be
//! under way still, so there is none: a tunnel that is cut is reset.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::Instant,
};

use crate::proxy::{
    gate::{Broken, Gate},
    patience::{Patience, TooSlow},
    socket::Half,
    turns::Turns,
};

use super::{PIECE, Tally, Trouble};

/// How long a tunnel may be silent in both directions, where the route says nothing else.
pub(super) const IDLE: Duration = Duration::from_secs(5 * 60);
/// How much is held for a direction in which little comes.
const LITTLE: usize = 1 << 10;

/// The four ends of it.
pub(super) struct Ends<'c, 'd, 'u, 'v> {
    pub(super) from_client: Half<'c, 'd>,
    pub(super) to_client: Half<'c, 'd>,
    pub(super) from_upstream: Half<'u, 'v>,
    pub(super) to_upstream: Half<'u, 'v>,
}

/// Where a direction broke.
enum Stuck {
    Reading(Broken),
    Writing(Broken),
    WritingTooSlow,
    Silent,
}

/// What holds for one direction.
struct Pipe<'a> {
    gate: Gate<'a>,
    turns: &'a Rc<Turns>,
    idle: Duration,
    write_timeout: Duration,
    /// When either side last sent anything, or took it.
    last: &'a Cell<Instant>,
}

/// Runs until both sides have ended. `inbox` and `first` are what has come already.
#[expect(clippy::too_many_arguments, reason = "both directions at once")]
pub(super) async fn tunnel(
    gate: Gate<'_>,
    turns: &Rc<Turns>,
    ends: Ends<'_, '_, '_, '_>,
    inbox: &mut Vec<u8>,
    first: Vec<u8>,
    idle: Duration,
    write_timeout: Duration,
    tally: &Tally,
) -> Result<(), Trouble> {
    let Ends { mut from_client, mut to_client, mut from_upstream, mut to_upstream } = ends;
    let last = Cell::new(Instant::now());
    let application_ended = Cell::new(false);
    let pipe = Pipe { gate, turns, idle, write_timeout, last: &last };
    let ahead = std::mem::take(inbox);
    add(&tally.received, ahead.len());
    let up = async {
        let taken = |count| add(&tally.received, count);
        match pipe.run(&mut from_client, &mut to_upstream, ahead, taken, |_| {}).await {
            Ok(()) => Ok(()),
            Err(Stuck::Reading(Broken::Cut) | Stuck::Writing(Broken::Cut)) => Err(Trouble::Cut),
            // Whoever was told of the end may just go.
            Err(Stuck::Reading(Broken::Gone)) if application_ended.get() => Ok(()),
            Err(Stuck::Reading(Broken::Gone)) => Err(Trouble::ClientGone),
            // Its last words may still be on their way: the other direction says whether it ended or was lost.
            Err(Stuck::Writing(Broken::Gone)) => Ok(()),
            Err(Stuck::WritingTooSlow) => Err(Trouble::Upstream("upstream_reads_too_slowly")),
            Err(Stuck::Silent) => Err(Trouble::Silent("tunnel_idle")),
        }
    };
    let down = async {
        let handed = |count| add(&tally.sent, count);
        match pipe.run(&mut from_upstream, &mut to_client, first, |_| {}, handed).await {
            Ok(()) => {
                application_ended.set(true);
                Ok(())
            }
            Err(Stuck::Reading(broken)) => Err(Trouble::of_upstream(broken)),
            Err(Stuck::Writing(broken)) => Err(Trouble::of_client(broken)),
            Err(Stuck::WritingTooSlow) => Err(Trouble::Client("client_reads_too_slowly")),
            Err(Stuck::Silent) => Err(Trouble::Silent("tunnel_idle")),
        }
    };
    tokio::try_join!(up, down).map(|((), ())| ())
}

fn add(count: &Cell<u64>, more: usize) {
    count.set(count.get() + more as u64);
}

impl Pipe<'_> {
    /// Moves bytes until there are no more, and hands the end on.
    async fn run<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &self,
        from: &mut R,
        to: &mut W,
        mut buffer: Vec<u8>,
        taken: impl Fn(usize),
        handed: impl Fn(usize),
    ) -> Result<(), Stuck> {
        let mut patience = Patience::new();
        loop {
            if !buffer.is_empty() {
                let writing = self.gate.write_both(to, &buffer, &[], |count| {
                    self.last.set(Instant::now());
                    handed(count);
                });
                match patience.wait(self.write_timeout, writing).await {
                    Ok(written) => written.map_err(Stuck::Writing)?,
                    Err(TooSlow) => return Err(Stuck::WritingTooSlow),
                }
            }
            // Whoever is silent holds little; where a buffer was filled, more is likely to come.
            let filled = !buffer.is_empty() && buffer.len() == buffer.capacity();
            let room = if filled { PIECE } else { LITTLE };
            if buffer.capacity() != room {
                buffer = Vec::with_capacity(room);
            }
            buffer.clear();
            let count = self.read(from, &mut buffer, &mut patience).await?;
            if count == 0 {
                return self.end(to, &mut patience).await;
            }
            taken(count);
            self.turns.turn().await;
        }
    }

    /// Waits for more while either direction is alive.
    async fn read<R: AsyncRead + Unpin>(
        &self,
        from: &mut R,
        buffer: &mut Vec<u8>,
        patience: &mut Patience,
    ) -> Result<usize, Stuck> {
        loop {
            let left = self.idle.saturating_sub(self.last.get().elapsed());
            match patience.wait(left, self.gate.read(from, buffer)).await {
                Ok(read) => {
                    self.last.set(Instant::now());
                    return read.map_err(Stuck::Reading);
                }
                Err(TooSlow) if self.last.get().elapsed() >= self.idle => return Err(Stuck::Silent),
                Err(TooSlow) => {}
            }
        }
    }

    async fn end<W: AsyncWrite + Unpin>(&self, to: &mut W, patience: &mut Patience) -> Result<(), Stuck> {
        self.gate.look().map_err(Stuck::Writing)?;
        let ending = async {
            tokio::select! {
                biased;
                _ = self.gate.cut() => Err(Stuck::Writing(Broken::Cut)),
                // Where it is gone already, there is nobody to be told.
                _ = to.shutdown() => Ok(()),
            }
        };
        patience.wait(self.write_timeout, ending).await.unwrap_or(Err(Stuck::WritingTooSlow))
    }
}
