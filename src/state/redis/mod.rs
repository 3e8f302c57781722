//! A store in Redis, shared by the gateways of a fleet: 64 parts, each with its own history, and one script for a change
//! (decision 0024). Redis 6.2 or later, or Valkey.
//!
//! Nobody waits for a server that is not there: every command has a time-out, and what cannot be sent is refused at once.
//! A store is made by [`RedisStore::init`] and by nothing else; a part without its head has forgotten, and answers
//! nothing.
//!
//! Never here: a rule, a clock, what is cached in front of it ([`super::cells`]), what is done about a store that forgot.

mod asks;
mod beat;
mod bound;
mod commit;
mod compared;
mod dial;
mod finder;
mod gateways;
mod gather;
mod heal;
mod init;
mod keys;
pub mod links;
mod listing;
mod merged;
mod options;
mod push;
mod said;
mod scripts;
mod settings;
mod store;
mod supervise;
mod tls;
mod value;

use std::sync::{Arc, OnceLock};

use tokio::{runtime::Handle, sync::watch};
use uuid::Uuid;

use self::{asks::Asks, keys::Names};
use super::{Grounds, Leases, Line, Part, StoreFault};

pub use beat::Told;
pub use gateways::{Announced, Farewell, Listed, Retired, Retiring, Run};
pub use init::{InitFault, Initialised};
pub use links::{Clock, Links, Ready};
pub use options::{Address, Kept, Options, OptionsFault, PARTS, PREFIX, Servers, Tls};

/// A store in Redis.
pub struct RedisStore {
    options: Options,
    names: Names,
    links: Arc<Links>,
    /// The store's id, once a part said it.
    id: OnceLock<Uuid>,
    asks: Asks,
    leases: Arc<Leases>,
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
    pub fn start(options: Options, runtime: &Handle, clock: Clock) -> Arc<RedisStore> {
        let leases = Leases::of(options.parts);
        RedisStore::start_knowing(options, leases, runtime, clock)
    }

    /// The same where something is known of it: the first beat is compared with that.
    pub fn start_knowing(
        options: Options,
        leases: Arc<Leases>,
        runtime: &Handle,
        clock: Clock,
    ) -> Arc<RedisStore> {
        let names = Names::new(&options.prefix, options.parts);
        Arc::new(RedisStore {
            links: Links::start(options.clone(), Arc::clone(&leases), clock, runtime),
            id: OnceLock::new(),
            asks: Asks::default(),
            leases,
            names,
            options,
        })
    }

    /// The links to its servers: what they are set to lose, what is the matter with them, their time.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Rises whenever the newest place of any part does.
    pub fn moved(&self) -> watch::Receiver<u64> {
        self.links.moved()
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

    /// What is known here of a part, as every script compares it before it answers or does anything.
    fn seen(part: Part, grounds: &Grounds) -> String {
        let epoch = grounds.expected.map_or(0, |(_, epoch)| epoch);
        let followed = Some(&grounds.followed).filter(|(number, _)| *number > 0);
        let mut seen = format!("{} {epoch}", part.0);
        for (number, line) in followed.into_iter().chain(&grounds.claims) {
            let line = if *line == Line::NONE { "-" } else { line.as_str() };
            seen.push_str(&format!(" {number} {line}"));
        }
        seen
    }
}
