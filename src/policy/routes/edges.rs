//! The literal branches of all states in one flat table: (state, segment) to state.
//!
//! Lives here: a hash table whose longest search is fixed when it is built. Its keys come from the configuration, what is
//! looked up comes from the client, so no secret seed and no luck is relied on: [`PROBES`] slots are looked at, whatever
//! is asked for. Never here: what the states mean.

/// The number of slots that a look-up may touch. A table that needs more is built again with another seed or more room.
const PROBES: usize = 16;
const NO_KEY: u32 = u32::MAX;
/// Sets the bit in which ASCII letters of either case differ, in eight bytes at once.
const FOLD: u64 = 0x2020_2020_2020_2020;
/// Odd numbers with well-mixed bits (from the fractions of the square roots of 2 and 3).
const MIX: [u64; 2] = [0x6A09_E667_F3BC_C909, 0xBB67_AE85_84CA_A73B];

/// A branch to store.
pub(super) struct Edge<'t> {
    pub(super) from: u32,
    pub(super) label: &'t str,
    pub(super) to: u32,
}

/// What a look-up found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The very label.
    Exact(u32),
    /// A label that differs in case only; a table that keeps cases apart never says so.
    Twin,
    Absent,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    tag: u32,
    from: u32,
    to: u32,
    key: u32,
    length: u16,
}

const EMPTY: Slot = Slot { tag: 0, from: 0, to: 0, key: NO_KEY, length: 0 };

#[derive(Debug)]
pub(super) struct Edges {
    slots: Box<[Slot]>,
    keys: Box<[u8]>,
    longest: usize,
    shift: u32,
    seed: u64,
    fold: u64,
}

impl Edges {
    /// Builds the table; `fold` finds labels that differ in case only. `None` if no arrangement keeps the bound, which
    /// takes a label stored twice.
    pub(super) fn build(edges: &[Edge<'_>], fold: bool) -> Option<Self> {
        let mut table = Self {
            slots: Box::default(),
            keys: Box::default(),
            longest: edges.iter().map(|edge| edge.label.len()).max().unwrap_or(0),
            shift: 0,
            seed: 0,
            fold: if fold { FOLD } else { 0 },
        };
        let mut bits = (edges.len() * 2).next_power_of_two().max(8).trailing_zeros();
        for attempt in 1_u64..=48 {
            table.seed = attempt.wrapping_mul(MIX[1]);
            table.shift = 64 - bits;
            if table.arrange(edges, bits) {
                return Some(table);
            }
            if attempt % 8 == 0 {
                bits += 1;
            }
        }
        None
    }

    /// Places the edges in the order of their home slots, each in its own or the next free one.
    fn arrange(&mut self, edges: &[Edge<'_>], bits: u32) -> bool {
        let mut homes: Vec<(u64, &Edge<'_>)> =
            edges.iter().map(|edge| (self.hash(edge.from, edge.label.as_bytes()), edge)).collect();
        homes.sort_unstable_by_key(|&(hash, _)| hash);
        let mut slots = vec![EMPTY; (1 << bits) + PROBES];
        let mut keys = Vec::new();
        let mut free = 0;
        for (hash, edge) in homes {
            let home = self.home(hash);
            let at = home.max(free);
            let (Ok(key), Ok(length)) = (u32::try_from(keys.len()), u16::try_from(edge.label.len())) else {
                return false;
            };
            match slots.get_mut(at) {
                Some(slot) if at - home < PROBES => {
                    *slot = Slot { tag: tag(hash), from: edge.from, to: edge.to, key, length };
                }
                _ => return false,
            }
            keys.extend_from_slice(edge.label.as_bytes());
            free = at + 1;
        }
        self.slots = slots.into();
        self.keys = keys.into();
        true
    }

    #[inline]
    pub(super) fn find(&self, from: u32, segment: &[u8]) -> Found {
        if segment.len() > self.longest {
            return Found::Absent;
        }
        let hash = self.hash(from, segment);
        let home = self.home(hash);
        let mut found = Found::Absent;
        for slot in self.slots.get(home..home + PROBES).unwrap_or_default() {
            if slot.key == NO_KEY {
                break;
            }
            if slot.tag != tag(hash) || slot.from != from || usize::from(slot.length) != segment.len() {
                continue;
            }
            let key = slot.key as usize;
            let label = self.keys.get(key..key + segment.len()).unwrap_or_default();
            if label == segment {
                return Found::Exact(slot.to);
            }
            if self.fold != 0 && label.eq_ignore_ascii_case(segment) {
                found = Found::Twin;
            }
        }
        found
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        (hash >> self.shift) as usize
    }

    #[inline]
    fn hash(&self, from: u32, segment: &[u8]) -> u64 {
        let mut hash = mix(self.seed ^ u64::from(from) ^ ((segment.len() as u64) << 32), MIX[0]);
        if let Some(last) = segment.last_chunk::<8>() {
            let (words, _) = segment.as_chunks::<8>();
            for word in words {
                hash = mix(hash ^ (u64::from_le_bytes(*word) | self.fold), MIX[1]);
            }
            mix(hash ^ (u64::from_le_bytes(*last) | self.fold), MIX[0])
        } else {
            mix(hash ^ (short(segment) | self.fold), MIX[1])
        }
    }
}

/// Up to seven bytes as one number; the length is mixed in elsewhere.
#[inline]
fn short(segment: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (segment.first_chunk::<4>(), segment.last_chunk::<4>()) {
        return u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last));
    }
    let byte = |at: usize| u64::from(segment.get(at).copied().unwrap_or(0));
    byte(0) | byte(1) << 8 | byte(2) << 16
}

#[inline]
fn mix(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ ((product >> 64) as u64)
}

#[inline]
fn tag(hash: u64) -> u32 {
    hash as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_is_found_and_nothing_else() {
        let labels: Vec<String> = (0..5_000).map(|n| format!("{}{n}", "x".repeat(n % 23))).collect();
        let edges: Vec<Edge<'_>> = (0_u32..)
            .zip(&labels)
            .flat_map(|(n, label)| {
                [(n % 7, n), (n % 7 + 7, n + 1)].map(|(from, to)| Edge { from, label, to })
            })
            .collect();
        let table = Edges::build(&edges, true).unwrap();
        for edge in &edges {
            assert_eq!(table.find(edge.from, edge.label.as_bytes()), Found::Exact(edge.to));
            assert_eq!(table.find(edge.from + 20, edge.label.as_bytes()), Found::Absent);
            assert_eq!(table.find(edge.from, format!("{}!", edge.label).as_bytes()), Found::Absent);
        }
    }

    #[test]
    fn twin_is_told_apart_only_when_folding() {
        let edges = [Edge { from: 0, label: "Orders", to: 1 }];
        let folding = Edges::build(&edges, true).unwrap();
        assert_eq!(folding.find(0, b"Orders"), Found::Exact(1));
        assert_eq!(folding.find(0, b"oRDERS"), Found::Twin);
        let exact = Edges::build(&edges, false).unwrap();
        assert_eq!(exact.find(0, b"oRDERS"), Found::Absent);
    }

    #[test]
    fn label_stored_twice_many_times_is_refused() {
        let edges: Vec<Edge<'_>> = (0..100).map(|to| Edge { from: 0, label: "same", to }).collect();
        assert!(Edges::build(&edges, true).is_none());
    }

    #[test]
    fn empty_table_finds_nothing() {
        let table = Edges::build(&[], true).unwrap();
        assert_eq!(table.find(0, b""), Found::Absent);
        assert_eq!(table.find(0, b"a"), Found::Absent);
    }
}
