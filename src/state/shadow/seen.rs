//! Up to where a gateway saw a part.
//!
//! What is followed is a chain: each change comes after the one before. What is known out of turn (an own change that
//! was just made, a page that was copied) is a *claim*: it may be of another history than the chain, since a fail-over
//! may lie between, and stands apart until the chain reaches it with the same line.
//!
//! Never here: what that means for the store ([`super::super::healing`]).

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::super::lease::Line;

/// How many places are remembered with their lines: a claim may come when the chain has passed it.
const REMEMBERED: usize = 128;

/// Up to where a gateway saw a part. All that it knows of the part is in every store whose history has this line at this
/// place, as long as there are no claims and nothing is torn.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// The store's id; none where only a ledger told of the part.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub store: Option<Uuid>,
    /// The highest epoch.
    pub epoch: u32,
    /// The place up to which it was followed: follow from here.
    pub number: u64,
    /// The line there; [`Line::NONE`] where it is not known, and nothing can be proved by it.
    #[serde(serialize_with = "write_line", deserialize_with = "read_line")]
    pub line: Line,
    /// What is known as of other places, above that one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default, with = "claims")]
    pub claims: BTreeMap<u64, Line>,
    /// Two histories are known: no store has both until they are joined.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub torn: bool,
    /// Whether the shadow has the part from its beginning, or a whole copy of it: who misses that makes no head anew.
    pub whole: bool,
    /// Whether changes were jumped over since: the part is to be copied.
    pub gaps: bool,
    /// How often that happened.
    pub jumps: u32,
    /// The last places of the chain.
    #[serde(skip)]
    pub recent: VecDeque<(u64, Line)>,
}

impl Seen {
    /// The highest place that is known.
    pub fn top(&self) -> u64 {
        self.claims.last_key_value().map_or(self.number, |(number, _)| self.number.max(*number))
    }

    /// Something is known as of this place, out of turn.
    pub fn claim(&mut self, number: u64, line: Line) {
        if number == 0 {
            return;
        }
        if number > self.number {
            self.torn |= *self.claims.entry(number).or_insert(line) != line;
            if line == Line::NONE || self.claims.len() > REMEMBERED {
                self.unprove();
            }
            return;
        }
        match self.line_at(number) {
            Some(known) => self.torn |= known != line,
            None => self.unprove(),
        }
    }

    /// The next change of the chain, of a store that has this chain's line where it ends. Where that is not the next place,
    /// what lies between was jumped over.
    pub fn follow(&mut self, number: u64, line: Line) {
        if number <= self.number {
            // Told again.
            self.torn |= self.line_at(number).is_some_and(|known| known != line);
            return;
        }
        if number != self.number + 1 {
            self.skip();
        }
        self.go_on(number, line);
    }

    /// The same of a later place, where nothing is told of what lies between: it is jumped over, also where it is but one change.
    pub fn jump(&mut self, number: u64, line: Line) {
        if number > self.number {
            self.skip();
            self.go_on(number, line);
        }
    }

    fn skip(&mut self) {
        self.gaps = true;
        self.jumps = self.jumps.wrapping_add(1);
        self.recent.clear();
    }

    fn go_on(&mut self, number: u64, line: Line) {
        self.torn |= self.claims.remove(&number).is_some_and(|claimed| claimed != line);
        if self.line != Line::NONE || self.number == 0 {
            self.line = line;
        }
        self.number = number;
        self.recent.push_back((number, line));
        if self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
        if self.claims.first_key_value().is_some_and(|(claimed, _)| *claimed < number) {
            self.unprove();
        }
    }

    /// Something is known that the shadow had lost: a change at this place, or at an unknown one.
    pub fn topped_up(&mut self, number: Option<u64>, epoch: u32) {
        self.number = self.number.max(number.unwrap_or(0)).max(1);
        self.epoch = self.epoch.max(epoch);
        self.unprove();
    }

    /// Whether a store that has this line at this place has all that is known.
    pub fn proves(&self) -> bool {
        self.claims.is_empty() && !self.torn && (self.line != Line::NONE || self.number == 0)
    }

    fn line_at(&self, number: u64) -> Option<Line> {
        let recent = self.recent.iter().rev().find(|(at, _)| *at == number).map(|(_, line)| *line);
        recent.or((number == self.number).then_some(self.line)).filter(|line| *line != Line::NONE)
    }

    /// Nothing proves any more that a store has what is known here.
    fn unprove(&mut self) {
        self.number = self.top();
        self.line = Line::NONE;
        self.claims.clear();
        self.recent.clear();
        self.gaps = true;
    }
}

fn write_line<S: Serializer>(line: &Line, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(line.as_str())
}

fn read_line<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Line, D::Error> {
    parsed(&String::deserialize(deserializer)?)
}

fn parsed<E: serde::de::Error>(text: &str) -> Result<Line, E> {
    Line::parse(text.as_bytes()).ok_or_else(|| E::custom("a line has twenty hexadecimal digits"))
}

mod claims {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        claims: &BTreeMap<u64, Line>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(claims.iter().map(|(number, line)| (number, line.as_str())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<u64, Line>, D::Error> {
        let claims = Vec::<(u64, String)>::deserialize(deserializer)?;
        claims.into_iter().map(|(number, text)| Ok((number, parsed(&text)?))).collect()
    }
}
