//! Exchanges of every kind that are under way, from the client's end.
//!
//! Never here: what ends them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use postern::engine::hooks::Hooks;

use crate::{
    client::{Client, Ending},
    world::{World, request, until},
};

/// Counts every byte of staff exchanges that passes the gateway.
pub fn counting() -> (Hooks, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&count);
    let bytes = Arc::new(move |_: &postern::model::ExchangeId, bytes: usize| {
        seen.fetch_add(bytes as u64, SeqCst);
    });
    (Hooks { bytes: Some(bytes), ..Hooks::default() }, count)
}

/// Bytes that may be in hand when the clock moves: one hand-over may have looked at it just before (law 7), and none is larger.
pub const IN_HAND: u64 = 64 << 10;

/// What kind of exchange is under way when the end comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    Download,
    /// The client reads nothing, so every buffer on the way is full.
    FullDownload,
    Events,
    Upload,
    /// The application reads nothing.
    FullUpload,
    /// Admitted, and the application has not answered.
    Waiting,
}

pub const RUNS: [Run; 6] =
    [Run::Download, Run::FullDownload, Run::Events, Run::Upload, Run::FullUpload, Run::Waiting];

/// An exchange under way, from the client's end.
pub struct Under {
    pub client: Client,
    /// Writes for as long as it can, and tells how that ended: an error of a socket is told once, to whoever asks first.
    pub writer: Option<std::thread::JoinHandle<std::io::ErrorKind>>,
}

impl Under {
    /// Reads to the end; how it ended, and what the kernels still held.
    pub fn ending(&mut self) -> (Ending, u64) {
        let (how, held) = self.client.read_out();
        let written = self.writer.take().map(|writer| writer.join().unwrap());
        let reset = written == Some(std::io::ErrorKind::ConnectionReset);
        (if reset { Ending::Reset } else { how }, held)
    }
}

/// Begins one, and comes back when bytes flow, or no more can.
pub fn begin(world: &World, run: Run, token: &str, count: &AtomicU64) -> Under {
    let mut writer = None;
    let mut client = match run {
        Run::FullDownload => Client::narrow(world.gateway().address()),
        _ => world.client(),
    };
    let before = count.load(SeqCst);
    let flowing = |least: u64| until("bytes flow", || count.load(SeqCst) >= before + least);
    match run {
        Run::Download => {
            client.send(request("GET", "/t/acme/download?do=forever", token, ""));
            client.head();
            flowing(100_000);
        }
        Run::FullDownload => {
            client.send(request("GET", "/t/acme/download?do=forever", token, ""));
            stands_still(count, before + 10_000);
        }
        Run::Events => {
            client.send(request("GET", "/t/acme/download?do=events", token, ""));
            client.head();
            while client.inbox.len() < 13 {
                assert_eq!(client.more(), Ending::Open);
            }
            // A hand-over is counted when it is done, which may be after the client has seen it.
            stands_still(count, before + 13);
        }
        Run::Upload | Run::FullUpload => {
            let deed = if run == Run::Upload { "sip" } else { "stall" };
            let head = request(
                "POST",
                &format!("/t/acme/orders?do={deed}"),
                token,
                "Content-Length: 1000000000\r\n",
            );
            client.send(head);
            let mut stream = client.stream.try_clone().unwrap();
            writer = Some(std::thread::spawn(move || {
                let piece = vec![7u8; 16 << 10];
                loop {
                    if let Err(fault) = std::io::Write::write_all(&mut stream, &piece) {
                        return fault.kind();
                    }
                }
            }));
            if run == Run::Upload { flowing(100_000) } else { stands_still(count, before + 10_000) }
        }
        Run::Waiting => {
            let seen = world.upstream.seen().len();
            client.send(request("GET", "/t/acme/orders?do=stall", token, ""));
            until("it arrives", || world.upstream.seen().len() > seen);
        }
    }
    Under { client, writer }
}

/// Waits until so much has passed and then nothing more does for a while: every buffer is full.
pub fn stands_still(count: &AtomicU64, least: u64) {
    let deadline = Instant::now() + crate::client::PATIENCE;
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let now = count.load(SeqCst);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if now >= least && since.elapsed() > Duration::from_millis(60) {
            return;
        }
        assert!(Instant::now() < deadline, "the buffers never fill: {now}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
