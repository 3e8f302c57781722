//! A tenant's standing choice how far support may go, and the ladder of levels it chooses from.
//!
//! Never here: what a level's role may do (that is [`crate::policy`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Giver, LevelName, RoleName, Timestamp, Veiled};

/// The ladder of consent levels, lowest first. The configuration makes it; the lowest level gives nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder {
    levels: Vec<Level>,
    /// Further names of levels, under which they can be chosen: each with the one by which its level is stored and shown.
    also: BTreeMap<LevelName, LevelName>,
}

/// One step of the ladder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Its name, as stored and as shown to people.
    pub name: LevelName,
    /// The role that support gets at this level; `None` closes the way through consent.
    pub role: Option<RoleName>,
}

/// A place on the ladder; 0 is the lowest.
pub type Rank = usize;

impl Ladder {
    /// A ladder of these levels, lowest first.
    pub fn new(levels: Vec<Level>) -> Self {
        Self { levels, also: BTreeMap::new() }
    }

    /// The same with further names, each of a level of this ladder.
    #[must_use]
    pub fn also_named(self, also: BTreeMap<LevelName, LevelName>) -> Self {
        Self { also, ..self }
    }

    /// The further names of a level.
    pub fn other_names(&self, name: &LevelName) -> impl Iterator<Item = &LevelName> {
        self.also.iter().filter(move |(_, of)| *of == name).map(|(other, _)| other)
    }

    /// The name by which a level is stored and shown, under whichever of its names somebody chose it.
    pub fn named(&self, name: &LevelName) -> Option<&LevelName> {
        let name = self.also.get(name).unwrap_or(name);
        self.levels.iter().map(|level| &level.name).find(|known| *known == name)
    }

    /// All levels, lowest first.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Where a level stands. A name that this ladder does not know gives nothing: it ranks lowest.
    pub fn rank(&self, name: &LevelName) -> Rank {
        let known = self.named(name);
        self.levels.iter().position(|level| Some(&level.name) == known).unwrap_or(0)
    }

    /// The level at a rank.
    pub fn at(&self, rank: Rank) -> Option<&Level> {
        self.levels.get(rank)
    }

    /// The role that a rank gives; `None` where it gives nothing.
    pub fn role_at(&self, rank: Rank) -> Option<&RoleName> {
        self.levels.get(rank).and_then(|level| level.role.as_ref())
    }

    /// Whether this ladder has a level of that name.
    pub fn knows(&self, name: &LevelName) -> bool {
        self.named(name).is_some()
    }
}

/// A level that a tenant gave for a while (GW-15). It only ever raises: what is in force until then is the higher of it
/// and of the standing choice, so that its end takes away and gives nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raise {
    /// The level.
    pub level: LevelName,
    /// From when on it is nothing, whether that was written down or not.
    pub until: Timestamp,
    /// Who gave it; several where a fork was joined.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub by: BTreeSet<Giver>,
}

/// What a tenant chose. What is in force is worked out along the chain of parents at each decision, never stored
/// (rule 6): the lower of `cap` and, where `inherit` is set, of what is in force at the parent; while a raise runs,
/// the higher of that and the raise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// Whether the parent's level binds this tenant.
    pub inherit: bool,
    /// The tenant's own level. Absent when it only inherits. Both are set where a fork was joined.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cap: Option<LevelName>,
    /// Beside the standing choice: a level until a date, after which the choice above is in force again.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub raised: Option<Raise>,
    /// Who made the choice that stands; several where a fork was joined, nobody where it is the configuration's.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub by: BTreeSet<Giver>,
    /// Of a tenant that was removed: who further up had given what stands.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub above: BTreeSet<Veiled>,
    /// The last instant at which the level in force was seen to give nothing: sessions by consent that began before
    /// it stay ended even when the level rises again (law 4).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub closed_at: Option<Timestamp>,
}

impl Consent {
    /// A level of the tenant's own.
    pub fn own(level: LevelName) -> Self {
        Self { inherit: false, cap: Some(level), ..Self::nothing() }
    }

    /// Whatever the parent has.
    pub fn inherited() -> Self {
        Self { inherit: true, ..Self::nothing() }
    }

    /// Neither a level nor a parent to follow.
    pub fn nothing() -> Self {
        let (by, above) = (BTreeSet::new(), BTreeSet::new());
        Self { inherit: false, cap: None, raised: None, by, above, closed_at: None }
    }

    /// Whether neither a level nor a parent is chosen: nothing was consented to.
    pub fn is_nothing(&self) -> bool {
        !self.inherit && self.cap.is_none()
    }

    /// The raise that runs at this instant.
    pub fn raise_at(&self, now: Timestamp) -> Option<&Raise> {
        self.raised.as_ref().filter(|raise| now < raise.until)
    }

    /// The same without its raise.
    #[must_use]
    pub fn standing(&self) -> Consent {
        Consent { raised: None, ..self.clone() }
    }

    /// The narrower of two choices: both caps bind, and the parent's where either inherits. A raise holds where both
    /// have one beside the same standing choice: the lower level, until the earlier end. Beside another choice it could be in force
    /// where the choice was, and let in whom that shut out, who may stand further up. Who gave one that does not hold as it
    /// stood counts as having chosen.
    #[must_use]
    pub fn meet(&self, other: &Consent, ladder: &Ladder) -> Consent {
        if self.is_nothing() || other.is_nothing() {
            return Consent { closed_at: self.closed_at.max(other.closed_at), ..Consent::nothing() };
        }
        // Of two names of the same rank (both unknown, say) the lesser name, so that order plays no part.
        let lower = |a: &LevelName, b: &LevelName| {
            if (ladder.rank(a), a) <= (ladder.rank(b), b) { a.clone() } else { b.clone() }
        };
        let cap = match (&self.cap, &other.cap) {
            (Some(a), Some(b)) => Some(lower(a, b)),
            (Some(one), None) | (None, Some(one)) => Some(one.clone()),
            (None, None) => None,
        };
        let raised = match (&self.raised, &other.raised) {
            (Some(a), Some(b)) if (self.inherit, &self.cap) == (other.inherit, &other.cap) => {
                let by = a.by.union(&b.by).cloned().collect();
                Some(Raise { level: lower(&a.level, &b.level), until: a.until.min(b.until), by })
            }
            (Some(_) | None, _) => None,
        };
        let as_it_stood = [&self.raised, &other.raised].into_iter().all(|before| *before == raised);
        let mut by: BTreeSet<Giver> = self.by.union(&other.by).cloned().collect();
        if !as_it_stood {
            // Whoever a raise shut out, because they gave it themselves, is not let in by its going.
            by.extend([&self.raised, &other.raised].into_iter().flatten().flat_map(|raise| raise.by.clone()));
        }
        Consent {
            inherit: self.inherit || other.inherit,
            cap,
            raised,
            by,
            above: self.above.union(&other.above).cloned().collect(),
            closed_at: self.closed_at.max(other.closed_at),
        }
    }
}
