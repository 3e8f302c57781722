//! What one core verified lately, so that a known token costs a look-up instead of a signature check.
//!
//! One table, open addressing, one entry in one place: a hit touches the entry, the token beside it and the subject's
//! count, nothing else. The whole token is compared, never only a hash; the token's times and the verifier's epoch are
//! looked at on each hit; keys that are too old verify nothing, also nothing that is kept. The bounds (entries and bytes) are kept by a clock hand that gives an entry used since it
//! last came by a second chance, and does a bounded amount of work for each new entry.
//!
//! Only verified tokens enter, so a flood of bad ones evicts nothing. Of refused tokens a few are remembered aside, and
//! only where the signature was bad: that is the one refusal that costs cryptography. The hash takes the end of the
//! token (the signature) and a random seed, so nobody can aim at one place of the table.
//!
//! Never here: sharing between cores (that is what `&mut` says), a clock.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
};

use super::{VerifiedSubject, Verifier, claims::Window, fault::TokenFault};
use crate::model::Timestamp;

/// Bounds of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// The most tokens kept.
    pub max_entries: usize,
    /// The most bytes kept, as far as they are counted: tokens, subjects, the table's entries.
    pub max_bytes: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { max_entries: 65_536, max_bytes: 64 << 20 }
    }
}

/// How often the cache knew the token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Tokens that were known and held.
    pub hits: u64,
    /// Tokens that had to be verified.
    pub misses: u64,
    /// Tokens that were known to be badly signed.
    pub refused: u64,
    /// Entries that made room for others.
    pub evicted: u64,
}

/// How many entries the hand passes before it takes one that was used.
const MAX_SWEEP: usize = 64;
/// How many badly signed tokens are remembered, and up to which length.
const REFUSED_SLOTS: usize = 64;
const REFUSED_MAX_BYTES: usize = 2048;
/// The table starts small; it is at most half full, so a probe ends soon.
const FIRST_SLOTS: usize = 64;

const _: () = assert!(size_of::<Option<Entry>>() == 64);

/// One core's cache of verified tokens.
#[derive(Debug)]
pub struct TokenCache {
    /// A power of two of places, at least twice as many as entries.
    slots: Vec<Option<Entry>>,
    len: usize,
    bytes: usize,
    hand: usize,
    limits: CacheLimits,
    seed: [u64; 2],
    refused: Vec<Option<Refused>>,
    counts: CacheCounts,
}

/// One line of the processor's cache, so that a probe touches one.
#[derive(Debug)]
#[repr(align(64))]
struct Entry {
    hash: u64,
    token: Box<[u8]>,
    subject: Arc<VerifiedSubject>,
    window: Window,
    epoch: u64,
    used: bool,
}

#[derive(Debug)]
struct Refused {
    token: Box<[u8]>,
    epoch: u64,
}

impl Entry {
    fn good(&self, epoch: u64, now: Timestamp) -> bool {
        self.epoch == epoch && self.window.holds(now)
    }

    fn weight(&self) -> usize {
        let subject = self.subject.subject();
        let texts = subject.id.sub.len()
            + subject.email.as_ref().map_or(0, |email| email.len())
            + subject.tenant.as_ref().map_or(0, |tenant| tenant.as_str().len())
            + subject.roles.iter().map(|role| role.as_str().len() + 32).sum::<usize>();
        2 * size_of::<Option<Entry>>() + self.token.len() + size_of::<VerifiedSubject>() + texts
    }
}

impl TokenCache {
    /// An empty cache with its own random seed.
    pub fn new(limits: CacheLimits) -> Self {
        let random = || RandomState::new().build_hasher().finish();
        Self {
            slots: empty(FIRST_SLOTS),
            len: 0,
            bytes: 0,
            hand: 0,
            limits,
            // An odd multiplier is never zero and loses no bit.
            seed: [random(), random() | 1],
            refused: std::iter::repeat_with(|| None).take(REFUSED_SLOTS).collect(),
            counts: CacheCounts::default(),
        }
    }

    /// The subject of a token: from the cache, where it is known, holds now and was verified by this very verifier;
    /// else by verifying it.
    pub fn resolve(
        &mut self,
        verifier: &Verifier,
        token: &[u8],
        now: Timestamp,
    ) -> Result<Arc<VerifiedSubject>, TokenFault> {
        let hash = self.hash(token);
        if let Some(at) = self.find(hash, token) {
            if let Some(Some(entry)) = self.slots.get_mut(at)
                && entry.good(verifier.epoch(), now)
            {
                entry.used = true;
                self.counts.hits += 1;
                return Ok(Arc::clone(&entry.subject));
            }
            if let Some(subject) = self.renew(at, verifier, now) {
                return Ok(subject);
            }
            self.remove(at);
        }
        self.verify(verifier, hash, token, now)
    }

    /// How many tokens are kept.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no token is kept.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes that are counted against the bound.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How often the cache helped.
    pub fn counts(&self) -> CacheCounts {
        self.counts
    }

    /// Takes over an entry that an earlier verifier made, where its issuer's keys still vouch for it: keys that were
    /// fetched again, or came to those that were there, cost nobody a signature check.
    #[cold]
    #[inline(never)]
    fn renew(&mut self, at: usize, verifier: &Verifier, now: Timestamp) -> Option<Arc<VerifiedSubject>> {
        let Some(Some(entry)) = self.slots.get_mut(at) else { return None };
        if entry.epoch == verifier.epoch()
            || !entry.window.holds(now)
            || !verifier.still_vouches(&entry.subject)
        {
            return None;
        }
        entry.epoch = verifier.epoch();
        entry.used = true;
        self.counts.hits += 1;
        Some(Arc::clone(&entry.subject))
    }

    #[cold]
    #[inline(never)]
    fn verify(
        &mut self,
        verifier: &Verifier,
        hash: u64,
        token: &[u8],
        now: Timestamp,
    ) -> Result<Arc<VerifiedSubject>, TokenFault> {
        let aside = usize::try_from(hash >> 32).unwrap_or(0) % REFUSED_SLOTS;
        if let Some(Some(known)) = self.refused.get(aside)
            && known.epoch == verifier.epoch()
            && *known.token == *token
        {
            self.counts.refused += 1;
            return Err(TokenFault::Signature);
        }
        self.counts.misses += 1;
        let subject = verifier.verify(token, now).inspect_err(|fault| {
            if *fault == TokenFault::Signature
                && token.len() <= REFUSED_MAX_BYTES
                && let Some(place) = self.refused.get_mut(aside)
            {
                *place = Some(Refused { token: token.into(), epoch: verifier.epoch() });
            }
        })?;
        let entry = Entry {
            hash,
            token: token.into(),
            subject: Arc::clone(&subject),
            window: subject.window.until_at_most(subject.keys_until),
            epoch: verifier.epoch(),
            used: false,
        };
        self.insert(entry, now);
        Ok(subject)
    }

    /// The place of that token.
    fn find(&self, hash: u64, token: &[u8]) -> Option<usize> {
        let mut at = self.home(hash);
        while let Some(Some(entry)) = self.slots.get(at) {
            if entry.hash == hash && *entry.token == *token {
                return Some(at);
            }
            at = self.next(at);
        }
        None
    }

    fn insert(&mut self, entry: Entry, now: Timestamp) {
        let weight = entry.weight();
        if weight > self.limits.max_bytes || self.limits.max_entries == 0 {
            return;
        }
        while self.len >= self.limits.max_entries || self.bytes + weight > self.limits.max_bytes {
            self.evict(entry.epoch, now);
        }
        if (self.len + 1) * 2 > self.slots.len() {
            let larger = empty(self.slots.len() * 2);
            let old = std::mem::replace(&mut self.slots, larger);
            self.hand = 0;
            old.into_iter().flatten().for_each(|entry| self.place(entry));
        }
        self.len += 1;
        self.bytes += weight;
        self.place(entry);
    }

    fn place(&mut self, entry: Entry) {
        let mut at = self.home(entry.hash);
        while let Some(Some(_)) = self.slots.get(at) {
            at = self.next(at);
        }
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Some(entry);
        }
    }

    /// Takes one entry away: one that no longer holds or was not used since the hand last came by, or, after enough
    /// used ones, whichever comes next. Only called while there is an entry.
    fn evict(&mut self, epoch: u64, now: Timestamp) {
        let mut passed = 0;
        loop {
            match self.slots.get_mut(self.hand) {
                Some(Some(entry)) if entry.used && entry.good(epoch, now) && passed < MAX_SWEEP => {
                    entry.used = false;
                    passed += 1;
                }
                Some(Some(_)) => {
                    self.counts.evicted += 1;
                    return self.remove(self.hand);
                }
                _ => {}
            }
            self.hand = self.next(self.hand);
        }
    }

    /// Empties a place and moves up whoever was pushed past it, so that every probe still ends at the first gap.
    fn remove(&mut self, at: usize) {
        let Some(entry) = self.slots.get_mut(at).and_then(Option::take) else { return };
        self.len -= 1;
        self.bytes -= entry.weight();
        let mask = self.slots.len() - 1;
        let (mut gap, mut next) = (at, self.next(at));
        while let Some(Some(entry)) = self.slots.get(next) {
            let from_home = next.wrapping_sub(self.home(entry.hash)) & mask;
            let from_gap = next.wrapping_sub(gap) & mask;
            if from_home >= from_gap {
                self.slots.swap(gap, next);
                gap = next;
            }
            next = self.next(next);
        }
    }

    /// Each entry is found where it lies, and the sums are right.
    #[cfg(test)]
    pub(super) fn assert_sound(&self) {
        let entries: Vec<(usize, &Entry)> = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(at, slot)| slot.as_ref().map(|entry| (at, entry)))
            .collect();
        for (at, entry) in &entries {
            assert_eq!(self.find(entry.hash, &entry.token), Some(*at), "an entry that no probe reaches");
        }
        assert_eq!(entries.len(), self.len);
        assert_eq!(entries.iter().map(|(_, entry)| entry.weight()).sum::<usize>(), self.bytes);
        assert!(self.len * 2 <= self.slots.len());
    }

    fn home(&self, hash: u64) -> usize {
        // The table is never larger than memory, so the low bits are all that is wanted.
        (hash as usize) & (self.slots.len() - 1)
    }

    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }

    /// A seeded hash of the token's last 32 bytes and its length.
    fn hash(&self, token: &[u8]) -> u64 {
        let tail: [u8; 32] = match token.last_chunk::<32>() {
            Some(tail) => *tail,
            None => {
                let mut padded = [0; 32];
                padded.iter_mut().zip(token).for_each(|(to, from)| *to = *from);
                padded
            }
        };
        let [start, multiplier] = self.seed;
        let (words, _) = tail.as_chunks::<8>();
        words.iter().fold(start ^ token.len() as u64, |hash, word| {
            let product = u128::from(hash ^ u64::from_le_bytes(*word)) * u128::from(multiplier);
            (product as u64) ^ ((product >> 64) as u64)
        })
    }
}

fn empty(slots: usize) -> Vec<Option<Entry>> {
    std::iter::repeat_with(|| None).take(slots).collect()
}
