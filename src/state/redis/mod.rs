//! A store in Redis, shared by the gateways of a fleet: 64 parts, each with its own history, and one script for a change
//! (decision 0024). Redis 6.2 or later, or Valkey.
//!
//! Nobody waits for a server that is not there: every command has a time-out, and what cannot be sent is refused at once.
//! A store is made by [`RedisStore::init`] and by nothing else; a part without its head has forgotten, and answers
//! nothing.
//!
//! Never here: a rule, a clock, what is cached in front of it ([`super::cells`]), what is done about a store that forgot.

mod asks;
mod commit;
mod heal;
mod init;
mod keys;
mod links;
mod listing;
mod options;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the format of pushes stands beside the script that makes them")
)]
mod push;
mod said;
mod scripts;
mod store;
mod value;

use std::sync::{Arc, OnceLock};

use tokio::{runtime::Handle, sync::watch};
use uuid::Uuid;

use self::{asks::Asks, keys::Names, links::Links};
use super::{Leases, Part, StoreFault};

pub use init::{InitFault, Initialised};
pub use options::{Address, Kept, Options, OptionsFault, PARTS, PREFIX, Servers, Tls};

/// A store in Redis.
pub struct RedisStore {
    options: Options,
    names: Names,
    links: Arc<Links>,
    /// The store's id, once a part said it.
    id: OnceLock<Uuid>,
    /// What is known of each part.
    parts: Vec<Seen>,
    moved: watch::Sender<u64>,
    asks: Asks,
    leases: Arc<Leases>,
}

/// The newest place of a part that is known here.
struct Seen {
    newest: watch::Sender<u64>,
    /// Epoch and number, as of the newest place that was acknowledged.
    place: std::sync::Mutex<(u64, u64)>,
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStore").field("options", &self.options).finish_non_exhaustive()
    }
}

impl RedisStore {
    /// A store that connects by itself, and connects anew for as long as it is held. Until then it refuses everything.
    ///
    /// `clock` tells milliseconds of the boot clock.
    pub fn start(
        options: Options,
        runtime: &Handle,
        clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    ) -> Arc<RedisStore> {
        let names = Names::new(&options.prefix, options.parts);
        let seen = |_| Seen { newest: watch::Sender::new(0), place: std::sync::Mutex::new((0, 0)) };
        drop(clock);
        Arc::new(RedisStore {
            links: Links::start(&options, runtime),
            id: OnceLock::new(),
            parts: names.parts().map(seen).collect(),
            moved: watch::Sender::new(0),
            asks: Asks::default(),
            leases: Leases::of(options.parts),
            names,
            options,
        })
    }

    /// Rises whenever the newest place of any part does.
    pub fn moved(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// Takes the store's id from the first part that says it; another one is another store.
    fn learn(&self, id: &str) -> Result<(), StoreFault> {
        let Ok(found) = Uuid::parse_str(id) else {
            return Err(StoreFault::Damaged { detail: "its mark holds no id".to_owned() });
        };
        if *self.id.get_or_init(|| found) == found { Ok(()) } else { Err(self.replaced(id.to_owned())) }
    }

    fn replaced(&self, found: String) -> StoreFault {
        let known = self.id.get().map(ToString::to_string).unwrap_or_default();
        StoreFault::Replaced { found, known }
    }

    /// Epoch and number of the newest place known of a part; a store that is behind it lost something.
    fn seen(&self, part: Part) -> (u64, u64) {
        let seen = self.parts.get(usize::from(part.0));
        seen.map_or((0, 0), |seen| *seen.place.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// A place of a part was acknowledged.
    fn raise(&self, part: Part, epoch: u64, number: u64) {
        let Some(seen) = self.parts.get(usize::from(part.0)) else { return };
        let risen = {
            let mut place = seen.place.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let risen = (epoch, number) > *place;
            if risen {
                *place = (epoch, number);
            }
            risen
        };
        if risen {
            seen.newest.send_if_modified(|newest| {
                let higher = number > *newest;
                *newest = number.max(*newest);
                higher
            });
            self.moved.send_modify(|moved| *moved = moved.wrapping_add(1));
        }
    }

    fn newest_of(&self, part: Part) -> watch::Receiver<u64> {
        match self.parts.get(usize::from(part.0)) {
            Some(seen) => seen.newest.subscribe(),
            None => watch::channel(0).1,
        }
    }
}
