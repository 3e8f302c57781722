//! What things are called in Redis.
//!
//! With the prefix `postern`, of part 7:
//!
//! | key | what |
//! | --- | --- |
//! | `postern:{p07}:head` | a hash: `id` of the store, `epoch`, `number` and `line` of the newest change, `state`, `format`, `parts` of the store, `first` change of the feed, `asks` so far; `rebuilt` where it was; `bare` up to where there was no document; `was`, the ids of stores that it was made from |
//! | `postern:{p07}:feed` | a stream with ids `<number>-0`: `change`, `at`, `line`, then each document's name and bytes |
//! | `postern:{p07}:ids` | a hash from change id to number |
//! | `postern:{p07}:line` | a sorted set by number: `<change> <line> <at>` |
//! | `postern:{p07}:keys` | a sorted set of all documents' names, in the order of their bytes |
//! | `postern:{p07}:due` | a sorted set of names by deadline |
//! | `postern:{p07}:asks` | a sorted set of change ids that somebody asked for and that were not made, by ticket |
//! | `postern:{p07}:heal` | a hash, while the part is healed or somebody joins late ([`super::heal`]) |
//! | `postern:{p01}:bound:<name>` | a sorted set of ids by ms, in the part of the kill switches; it expires ([`super::bound`]) |
//! | `postern:{p00}:gateways` | a hash from gateway to `<ms> <address>`, of the first part alone ([`super::gateways`]) |
//! | `postern:{p00}:runs` | a hash from `<process> <gateway>` to `<first beat> <last beat>`; beside it `` (no name), the newest beat of all |
//! | `postern:{p00}:retired` | a hash from `<ms> <gateway>` to what was said of it as JSON, and from `+<ms> <gateway>` to who recorded it |
//! | `postern:{p07}:beat` | what beats and loads that a majority confirms move, so that it has something to confirm; means nothing, and comes back when it is gone |
//! | `postern:{p07}:d:<name>` | a document |
//! | `postern:<store id>:moved` | the channel of pushes, for all parts |
//!
//! A `state` is `new` while the store is being made, `good`, or `suspect` (decision 0026).
//!
//! Never here: what a document's name is made of ([`crate::state::codec`]).

use crate::{
    model::Key,
    state::{Part, codec},
};

/// The layout that this build reads and writes.
pub(super) const FORMAT: u32 = 1;

/// What the keys of one store are called.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
    parts: u16,
}

impl Names {
    pub(super) fn new(prefix: &str, parts: u16) -> Self {
        Self { prefix: prefix.to_owned(), parts }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        (0..self.parts).map(Part)
    }

    /// How many there are.
    pub(super) fn count(&self) -> u16 {
        self.parts
    }

    /// The part of what is the vendor's and no tenant's.
    pub(super) fn vendor(&self) -> Part {
        part_of("", self.parts)
    }

    /// The part that a document lies in.
    pub(super) fn part_of(&self, key: &Key) -> Part {
        match key {
            Key::Stop(_) => self.vendor(),
            other => part_of(other.tenant().map_or("", |tenant| tenant.as_str()), self.parts),
        }
    }

    pub(super) fn of(&self, part: Part, what: &str) -> Vec<u8> {
        format!("{}:{{p{:02}}}:{what}", self.prefix, part.0).into_bytes()
    }

    /// The key of a document from its name.
    pub(super) fn named(&self, part: Part, name: &[u8]) -> Vec<u8> {
        let mut bytes = self.of(part, "d:");
        bytes.extend_from_slice(name);
        bytes
    }

    pub(super) fn document(&self, part: Part, key: &Key) -> Vec<u8> {
        self.named(part, &codec::key(key))
    }

    /// How long a document's key is without its name.
    pub(super) fn skip(&self) -> usize {
        self.of(Part::FIRST, "d:").len()
    }
}

/// The part of a tenant: FNV-1a of its name, folded, modulo the number of parts. It never changes: documents would be
/// looked for where they are not.
fn part_of(name: &str, parts: u16) -> Part {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let folded = hash ^ (hash >> 32);
    let part = folded % u64::from(parts.max(1));
    Part(u16::try_from(part).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Reach, TenantId};

    #[test]
    fn a_tenant_lies_where_it_always_lay() {
        let found: Vec<u16> = ["", "a", "b", "acme", "Acme", "globex", "t-000001", "0b5e1f3c", "a.b~c_d-e"]
            .iter()
            .map(|name| part_of(name, 64).0)
            .collect();
        assert_eq!(found, PINNED);
        assert_eq!(part_of("acme", 1), Part::FIRST);
    }

    const PINNED: [u16; 9] = [1, 0, 41, 12, 36, 57, 28, 56, 26];

    #[test]
    fn tenants_are_spread_over_all_parts() {
        let mut counts = [0_u32; 64];
        for number in 0..64_000 {
            counts[usize::from(part_of(&format!("tenant-{number}"), 64).0)] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn all_of_a_tenant_lies_in_one_part_and_all_kill_switches_in_one() {
        let names = Names::new("postern", 64);
        let tenant = TenantId::new("acme").unwrap();
        assert_eq!(names.part_of(&Key::Tenant(tenant.clone())), part_of("acme", 64));
        let stops = part_of("", 64);
        assert_eq!(names.part_of(&Key::Stop(Reach::All)), stops);
        assert_eq!(names.part_of(&Key::Stop(Reach::Tenant(tenant))), stops);
    }

    #[test]
    fn keys_are_called_as_it_is_written_down() {
        let names = Names::new("postern", 64);
        let key = Key::Tenant(TenantId::new("acme").unwrap());
        assert_eq!(names.of(Part(7), "head"), b"postern:{p07}:head");
        assert_eq!(names.document(Part(7), &key), b"postern:{p07}:d:\x01acme\0");
        assert_eq!(names.skip(), b"postern:{p07}:d:".len());
    }
}
