//! Making a store, which nothing but an operator does (`postern state init`).
//!
//! The head of the first part decides the store's id: whoever makes it first, all others go on with it. All heads are
//! made before the first is opened, so that a making that was interrupted is told from a store that lost a part.
//!
//! Never here: making a store from what gateways or ledgers know.

use std::time::Duration;

use ::redis::Value;
use uuid::Uuid;

use crate::state::{Mark, Part, StoreFault};

use super::{
    RedisStore, keys,
    options::{Options, OptionsFault},
    said::{self, text, word},
    scripts::{self, Call},
};

/// How long an answer may take at least: nobody waits behind it, and a server that was just started flushes slowly.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `init` found or made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initialised {
    /// A new store.
    Made(Mark),
    /// A store that was there already; nothing was changed.
    There(Mark),
}

/// Why no store was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InitFault {
    /// The options cannot be used.
    #[error(transparent)]
    Options(#[from] OptionsFault),
    /// A server does not do what was asked.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// Parts of two stores.
    #[error(
        "part {part} belongs to the store {found}, the first part to {first}; give each store a prefix or a server of its own"
    )]
    Mixed {
        /// Which part.
        part: u16,
        /// Whose it is.
        found: String,
        /// Whose the first one is.
        first: String,
    },
    /// A store that lost a part.
    #[error(
        "part {part} has no mark but others have: the store lost it; start the gateways that know it, or run `postern state rebuild`"
    )]
    Lost {
        /// Which part.
        part: u16,
    },
    /// Something is left of a store.
    #[error(
        "`{key}` is left of a store that lost its mark; start the gateways that know it, run `postern state rebuild`, or take another prefix"
    )]
    Remains {
        /// What there is.
        key: String,
    },
}

/// What one part has.
enum Head {
    None,
    New(Uuid),
    Good(Uuid),
    Strange(StoreFault),
    Remains(String),
}

impl RedisStore {
    /// Makes a store where there is none: all its parts, confirmed by a majority. Goes on with one whose making was
    /// interrupted, and leaves one that is there as it is.
    pub async fn init(options: Options) -> Result<Initialised, InitFault> {
        options.check()?;
        let patience = options.connect_timeout.saturating_mul(3);
        let options = Options { timeout: options.timeout.max(PATIENCE), ..options };
        let runtime = tokio::runtime::Handle::current();
        let store = RedisStore::start(options, &runtime, std::sync::Arc::new(|| 0));
        store.connected(patience).await?;
        store.make().await
    }

    /// Waits until all parts can be reached.
    async fn connected(&self, patience: Duration) -> Result<(), StoreFault> {
        let all = async || loop {
            if self.names.parts().all(|part| self.links.at(part).is_ok()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        match tokio::time::timeout(patience, all()).await {
            Ok(()) => Ok(()),
            Err(_) => {
                let fault = self.names.parts().find_map(|part| self.links.at(part).err());
                fault.map_or(Ok(()), Err)
            }
        }
    }

    async fn make(&self) -> Result<Initialised, InitFault> {
        let mut heads = Vec::new();
        for part in self.names.parts() {
            heads.push(self.head(part, Uuid::nil(), "look").await?);
        }
        for head in &heads {
            match head {
                Head::Strange(fault) => return Err(fault.clone().into()),
                Head::Remains(key) => return Err(InitFault::Remains { key: key.clone() }),
                Head::None | Head::New(_) | Head::Good(_) => {}
            }
        }
        let begun = heads.iter().find_map(|head| match head {
            Head::New(id) | Head::Good(id) => Some(*id),
            Head::None | Head::Strange(_) | Head::Remains(_) => None,
        });
        for (head, part) in heads.iter().zip(0..) {
            if let (Head::New(id) | Head::Good(id), Some(first)) = (head, begun)
                && *id != first
            {
                return Err(InitFault::Mixed { part, found: id.to_string(), first: first.to_string() });
            }
        }
        let open = heads.iter().filter(|head| matches!(head, Head::Good(_))).count();
        if open > 0
            && let Some((part, _)) = (0..).zip(&heads).find(|(_, head)| matches!(head, Head::None))
        {
            return Err(InitFault::Lost { part });
        }
        if open == heads.len() {
            return Ok(Initialised::There(self.mark_of(Part::FIRST).await?));
        }
        // Whoever makes the first part gives the store its id.
        let mine = begun.unwrap_or_else(Uuid::now_v7);
        let mut id = mine;
        for part in self.names.parts() {
            match self.head(part, id, "make").await? {
                Head::New(found) | Head::Good(found) if part == Part::FIRST => id = found,
                Head::New(found) | Head::Good(found) if found == id => {}
                Head::New(found) | Head::Good(found) => {
                    let (found, first) = (found.to_string(), id.to_string());
                    return Err(InitFault::Mixed { part: part.0, found, first });
                }
                Head::Strange(fault) => return Err(fault.into()),
                Head::Remains(key) => return Err(InitFault::Remains { key }),
                Head::None => return Err(said::senseless("a part that is not made").into()),
            }
        }
        for part in self.names.parts() {
            match self.head(part, id, "open").await? {
                Head::Good(found) if found == id => {}
                _ => return Err(InitFault::Lost { part: part.0 }),
            }
        }
        Ok(Initialised::Made(self.mark_of(Part::FIRST).await?))
    }

    /// What the head of a part is, after what was done to it.
    async fn head(&self, part: Part, id: Uuid, what: &str) -> Result<Head, StoreFault> {
        let all = ["head", "feed", "ids", "line", "keys", "due", "asks"];
        let call = Call::new(&scripts::INIT, all.map(|what| self.names.of(part, what)).to_vec());
        let call = call.arg(id.to_string()).number(self.names.count()).number(keys::FORMAT).arg(what);
        let value = if what == "look" {
            self.read_raw(part, call).await?
        } else {
            self.write_raw(part, call).await?
        };
        let Value::Array(rows) = value else { return Err(said::senseless("no list")) };
        let found = || Uuid::parse_str(&word(rows.get(1)));
        Ok(match rows.first().and_then(text) {
            Some(b"none") => Head::None,
            Some(b"made") => Head::New(id),
            Some(b"opened") => Head::Good(id),
            Some(b"remains") => Head::Remains(word(rows.get(1))),
            Some(b"there") => {
                let (format, parts, state) = (word(rows.get(2)), word(rows.get(3)), word(rows.get(4)));
                if format != keys::FORMAT.to_string() {
                    Head::Strange(said::layout(format))
                } else if parts != self.names.count().to_string() {
                    Head::Strange(StoreFault::Parts { found: parts, known: self.names.count() })
                } else {
                    match (found(), state.as_str()) {
                        (Ok(id), "new") => Head::New(id),
                        (Ok(id), _) => Head::Good(id),
                        (Err(_), _) => Head::Strange(StoreFault::PartDamaged {
                            part: part.0,
                            detail: "its id cannot be read".to_owned(),
                        }),
                    }
                }
            }
            _ => return Err(said::senseless("a word that nobody knows")),
        })
    }
}
