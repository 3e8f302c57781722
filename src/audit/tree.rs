//! The Merkle tree of RFC 6962: hashes, the compact range that the writer carries, proofs and their verification.
//!
//! Pure mathematics. Never here: files, records, signatures.

use std::fmt;
use std::ops::Range;

use aws_lc_rs::digest::{self, Context, SHA256};

/// A SHA-256 hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What `prev` says in the first line of a log.
    pub const ZERO: Hash = Hash([0; 32]);

    /// Appends the 64 lower-case hexadecimal digits to `out`.
    pub fn push_hex(&self, out: &mut Vec<u8>) {
        push_hex(&self.0, out);
    }

    /// The 64 lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        let mut out = Vec::with_capacity(64);
        self.push_hex(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    /// Reads 64 lower-case hexadecimal digits; anything else is `None`, so that a hash has one spelling.
    pub fn from_hex(text: &[u8]) -> Option<Hash> {
        let bytes = bytes_from_hex(text)?;
        Some(Hash(<[u8; 32]>::try_from(bytes.as_slice()).ok()?))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl serde::Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.hex())
    }
}

impl<'de> serde::Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Hash, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        Hash::from_hex(text.as_bytes())
            .ok_or_else(|| serde::de::Error::custom("a hash is 64 lower-case hexadecimal digits"))
    }
}

/// Appends bytes as lower-case hexadecimal digits.
pub(crate) fn push_hex(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.push(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
        }
    }
}

/// Reads lower-case hexadecimal digits.
pub(crate) fn bytes_from_hex(text: &[u8]) -> Option<Vec<u8>> {
    fn digit(c: u8) -> Option<u8> {
        match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        }
    }
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// SHA-256 of several pieces, one after the other.
pub(crate) fn sha256(pieces: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for piece in pieces {
        context.update(piece);
    }
    finish(context)
}

fn finish(context: Context) -> Hash {
    let mut hash = [0; 32];
    let digest = context.finish();
    for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    Hash(hash)
}

/// The hash of a leaf: `SHA-256(0x00 ‖ leaf)`.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    sha256(&[&[0], leaf])
}

/// The hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], &left.0, &right.0])
}

/// The root of the empty tree: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(digest::digest(&SHA256, b"").as_ref()) {
        *to = *from;
    }
    Hash(hash)
}

/// A tree of which only the roots of its perfect subtrees are kept, the largest first: enough to append to it and
/// to know its root, at one hash for each set bit of its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    nodes: Vec<Hash>,
}

impl Frontier {
    /// The empty tree.
    pub fn new() -> Frontier {
        Frontier::default()
    }

    /// A tree as a segment header tells it; `None` when the number of hashes does not fit the size.
    pub fn from_parts(size: u64, nodes: Vec<Hash>) -> Option<Frontier> {
        (nodes.len() == size.count_ones() as usize).then_some(Frontier { size, nodes })
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect subtrees, largest first.
    pub fn nodes(&self) -> &[Hash] {
        &self.nodes
    }

    /// Appends a leaf by its leaf hash.
    pub fn push(&mut self, leaf: Hash) {
        self.size += 1;
        let mut node = leaf;
        for _ in 0..self.size.trailing_zeros() {
            if let Some(left) = self.nodes.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.nodes.push(node);
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        let mut nodes = self.nodes.iter().rev();
        let Some(last) = nodes.next() else { return empty_root() };
        nodes.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// The root over these leaf hashes.
pub fn root_of(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::new();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    frontier.root()
}

/// The largest power of two below `n`; `n` is at least 2.
fn split(n: u64) -> u64 {
    1 << (63 - (n - 1).leading_zeros())
}

/// The audit path of leaf `index` in the tree of `size` leaves (RFC 6962, 2.1.1), lowest node first.
///
/// `root` answers with the root over a range of leaves; it is asked for one range a level. `None` when there is no
/// such leaf.
pub fn prove_inclusion<E>(
    index: u64,
    size: u64,
    mut root: impl FnMut(Range<u64>) -> Result<Hash, E>,
) -> Result<Option<Vec<Hash>>, E> {
    if index >= size {
        return Ok(None);
    }
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(root(middle..end)?);
            end = middle;
        } else {
            path.push(root(start..middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(Some(path))
}

/// The proof that the tree of `old` leaves is a beginning of the tree of `new` leaves (RFC 6962, 2.1.2).
///
/// `None` unless `0 < old <= new`.
pub fn prove_consistency<E>(
    old: u64,
    new: u64,
    mut root: impl FnMut(Range<u64>) -> Result<Hash, E>,
) -> Result<Option<Vec<Hash>>, E> {
    if old == 0 || old > new {
        return Ok(None);
    }
    let (mut start, mut end) = (0, new);
    let mut proof = Vec::new();
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            proof.push(root(middle..end)?);
            end = middle;
        } else {
            proof.push(root(start..middle)?);
            start = middle;
        }
    }
    if start != 0 {
        proof.push(root(start..end)?);
    }
    proof.reverse();
    Ok(Some(proof))
}

/// Whether `proof` shows `leaf` at `index` in the tree of `size` leaves with this root (RFC 9162, 2.1.3.2).
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for step in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(step, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, step);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether `proof` shows the tree of `old` leaves to be a beginning of that of `new` leaves (RFC 9162, 2.1.4.2).
pub fn verify_consistency(old: u64, old_root: &Hash, new: u64, new_root: &Hash, proof: &[Hash]) -> bool {
    if old == 0 || old > new {
        return false;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    let mut steps = proof.iter();
    let first = if old.is_power_of_two() { Some(old_root) } else { steps.next() };
    let Some(first) = first else { return false };
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut left, mut whole) = (*first, *first);
    for step in steps {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            left = node_hash(step, &left);
            whole = node_hash(step, &whole);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            whole = node_hash(&whole, step);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && left == *old_root && whole == *new_root
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
