//! Following the other gateways' ledgers as they are written: one task for each, which goes on where it was when it has lost its
//! gateway. One piece waits at most for whoever reads, so that a slow reader costs the memory of one.
//!
//! Never here: who reads, merging.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

use super::{
    Fleet, Ledger, Peer, PeerFault, check,
    words::{Asked, BEYOND, FOLLOW, LINE_BYTES, Mark, Part},
};

/// How often somebody who is followed says at least that they are there.
pub(super) const BEAT: Duration = Duration::from_secs(1);
/// How long to wait before a gateway that was lost is looked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// What happened.
#[derive(Debug)]
pub enum News {
    /// A gateway is there.
    There {
        /// Which.
        gateway: String,
        /// Its log.
        log: String,
    },
    /// It is not, or not any more: it is looked for.
    Lost {
        /// Which.
        gateway: String,
    },
    /// More of its ledger.
    More(Ledger),
}

/// Follows all other gateways for one reader, until it is dropped.
pub struct Follower {
    fleet: Arc<Fleet>,
    asked: Asked,
    tasks: JoinSet<()>,
    running: BTreeMap<String, (Peer, AbortHandle)>,
    into: mpsc::Sender<News>,
    out: mpsc::Receiver<News>,
}

impl Follower {
    /// Nothing is followed before [`Follower::look_around`].
    pub fn new(fleet: Arc<Fleet>, asked: Asked) -> Follower {
        let (into, out) = mpsc::channel(1);
        Follower { fleet, asked, tasks: JoinSet::new(), running: BTreeMap::new(), into, out }
    }

    /// Looks who the others are by now, and follows them from these places on; answers their names.
    pub fn look_around(&mut self, places: &BTreeMap<Mark, u64>) -> Vec<String> {
        let others = self.fleet.others();
        self.running.retain(|_, (known, task)| {
            let stays = others.iter().any(|peer| peer.name == known.name && peer.address == known.address);
            if !stays {
                task.abort();
            }
            stays
        });
        for peer in &others {
            if self.running.contains_key(&peer.name) {
                continue;
            }
            let mut asked = self.asked.clone();
            asked.places.clone_from(places);
            let keeping = keep_following(Arc::clone(&self.fleet), peer.clone(), asked, self.into.clone());
            let task = self.tasks.spawn_on(keeping, &self.fleet.background);
            self.running.insert(peer.name.clone(), (peer.clone(), task));
        }
        others.into_iter().map(|peer| peer.name).collect()
    }

    /// What happened already and is not taken yet, if anything.
    pub fn heard(&mut self) -> Option<News> {
        self.out.try_recv().ok()
    }

    /// The next that happens. May be dropped and called again at any time: nothing is lost.
    pub async fn next(&mut self) -> News {
        match self.out.recv().await {
            Some(news) => news,
            // It holds an end of its own, so there is always one.
            None => std::future::pending().await,
        }
    }
}

async fn keep_following(fleet: Arc<Fleet>, peer: Peer, mut asked: Asked, into: mpsc::Sender<News>) {
    loop {
        let fault = follow(&fleet, &peer, &mut asked, &into).await;
        fleet.counts.missed(&peer, &fault);
        if into.send(News::Lost { gateway: peer.name.clone() }).await.is_err() {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Follows a gateway until it is lost.
async fn follow(fleet: &Fleet, peer: &Peer, asked: &mut Asked, into: &mpsc::Sender<News>) -> PeerFault {
    let link = fleet.link.load_full();
    let putting = tokio::time::timeout(link.timeout, fleet.put(peer, FOLLOW, asked, &link));
    let (line, response) = match putting.await {
        Ok(Ok(put)) => put,
        Ok(Err(fault)) => return fault,
        Err(_) => return PeerFault::Slow,
    };
    let mut lines = Lines { body: response.into_body(), read: Vec::new(), searched: 0 };
    let mut there = false;
    loop {
        let part = match tokio::time::timeout(BEAT + link.timeout, lines.next()).await {
            Ok(Ok(part)) => part,
            Ok(Err(fault)) => return fault,
            Err(_) => return PeerFault::Slow,
        };
        let ledger = match check::part(part, asked, &peer.name, &line.log) {
            Ok(ledger) => ledger,
            Err(fault) => return fault,
        };
        asked.places.insert(Mark::of(&line.log), ledger.next);
        asked.filters.of.clone_from(&ledger.of);
        if !there {
            there = true;
            fleet.counts.answered(peer);
            let news = News::There { gateway: peer.name.clone(), log: line.log.clone() };
            if into.send(news).await.is_err() {
                return PeerFault::Slow;
            }
        }
        if into.send(News::More(ledger)).await.is_err() {
            return PeerFault::Slow;
        }
    }
}

/// A body, line by line.
struct Lines {
    body: Incoming,
    read: Vec<u8>,
    /// So much of it holds no end of a line.
    searched: usize,
}

impl Lines {
    async fn next(&mut self) -> Result<Part, PeerFault> {
        loop {
            let end = self.read.iter().skip(self.searched).position(|byte| *byte == b'\n');
            if let Some(end) = end.map(|end| end + self.searched) {
                let rest = self.read.split_off(end + 1);
                let line = std::mem::replace(&mut self.read, rest);
                self.searched = 0;
                return serde_json::from_slice(&line)
                    .map_err(|_| PeerFault::Malformed("a line is none of what is followed"));
            }
            self.searched = self.read.len();
            if self.searched > LINE_BYTES + BEYOND {
                return Err(PeerFault::Huge);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.read.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                Some(Err(fault)) => return Err(PeerFault::Broken(fault.to_string())),
                None => return Err(PeerFault::Broken("it ended".to_owned())),
            }
        }
    }
}
