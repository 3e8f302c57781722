//! What is known here of the history of a part, in the process: up to where it was followed, and as of where else documents of it are
//! known.
//!
//! What is followed is a chain: each change comes after the one before. What was made or loaded is known out of turn, as of the
//! place that the store answered: a *claim*. It may be of another history than the chain, since a fail-over may lie between, so it
//! stands apart until the chain reaches it with the same line, or until a store was found to have all of them: whoever asks a store
//! names its [`Grounds`], so an answer means that its history goes through them, and one claim stands for them from then on. Hence
//! there are never more claims than answers that came while one was under way.
//!
//! Where what is known is forgotten and the part begun anew, a new *stretch* of following begins. What was read in one says nothing in the
//! next: documents of two histories may bear the same version.
//!
//! Never here: whether a part is trusted ([`super`]), what is known on disk ([`super::super::shadow::Seen`]).

use std::collections::{BTreeMap, VecDeque};

use uuid::Uuid;

use super::{super::Part, Line};

/// How many of the changes last put in force are remembered with their lines: an answer may tell of one that was passed while
/// it was on its way.
const REMEMBERED: usize = 128;

/// What a gateway knows of a part rests on: what the store's history has to go through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grounds {
    /// The store's id and epoch, as seen last.
    pub expected: Option<(Uuid, u32)>,
    /// The place followed to, and its line; [`Line::NONE`] where that is not known.
    pub followed: (u64, Line),
    /// Other places as of which something is known, each with its line; in order.
    pub claims: Vec<(u64, Line)>,
    /// In which stretch of following that was so.
    pub stretch: u64,
    /// Whether what is known has to be forgotten, or just is.
    pub leaving: bool,
}

impl Grounds {
    /// The highest place as of which something is known.
    pub fn top(&self) -> u64 {
        self.claims.last().map_or(self.followed.0, |(number, _)| self.followed.0.max(*number))
    }
}

/// In which stretch of following each part was when somebody began to read; none where it was just being left. What they read is of that one or
/// a later one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stretches(Box<[Option<u64>]>);

impl FromIterator<Option<u64>> for Stretches {
    fn from_iter<I: IntoIterator<Item = Option<u64>>>(parts: I) -> Self {
        Stretches(parts.into_iter().collect())
    }
}

impl Stretches {
    /// Whether all that was read of a part since is of the stretch that it is in by these grounds.
    pub fn hold(&self, part: Part, grounds: &Grounds) -> bool {
        let since = self.0.get(usize::from(part.0)).copied().unwrap_or(Some(0));
        !grounds.leaving && since == Some(grounds.stretch)
    }
}

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The changes put in force last, oldest first; the last one is the place followed to.
    followed: VecDeque<(u64, Line)>,
    claims: BTreeMap<u64, Line>,
    /// What was known is being forgotten, and where the chain begins anew is not said yet.
    leaving: bool,
    /// Two histories are known, and no one grounds name both: what is known has to be forgotten.
    torn: bool,
    /// How often it was left.
    stretch: u64,
}

impl History {
    /// The place followed to, and its line.
    pub(super) fn place(&self) -> (u64, Line) {
        self.followed.back().copied().unwrap_or((0, Line::NONE))
    }

    pub(super) fn leaving(&self) -> bool {
        self.leaving || self.torn
    }

    pub(super) fn stretch(&self) -> u64 {
        self.stretch
    }

    pub(super) fn grounds(&self, expected: Option<(Uuid, u32)>) -> Grounds {
        let claims = self.claims.iter().map(|(number, line)| (*number, *line)).collect();
        let (stretch, leaving) = (self.stretch, self.leaving());
        Grounds { expected, followed: self.place(), claims, stretch, leaving }
    }

    /// The line of a place of the chain, as far as it is remembered.
    pub(super) fn line_at(&mut self, number: u64) -> Option<&mut Line> {
        self.followed.iter_mut().rev().find(|at| at.0 == number).map(|at| &mut at.1)
    }

    /// The line of a place, in turn or not, as far as it is remembered; [`Line::NONE`] where it is not.
    pub(super) fn known_at(&mut self, number: u64) -> Line {
        let known = self.line_at(number).copied().filter(|known| *known != Line::NONE);
        known.or_else(|| self.claims.get(&number).copied()).unwrap_or_default()
    }

    /// The next change of the chain is in force; or, where it is not the next, the chain begins anew here. `false`: something known
    /// out of turn is of another history.
    pub(super) fn follow(&mut self, number: u64, line: Line) -> bool {
        if self.place().0.checked_add(1) != Some(number) {
            // Not what follows: the lines before it are of no use.
            self.followed.clear();
        }
        if self.followed.len() >= REMEMBERED {
            self.followed.pop_front();
        }
        self.followed.push_back((number, line));
        self.leaving = false;
        let agrees = line == Line::NONE || self.claims.remove(&number).is_none_or(|claimed| claimed == line);
        self.torn |= !agrees;
        agrees
    }

    /// Something of another history than the chain's came to be known.
    pub(super) fn tear(&mut self) {
        self.torn = true;
    }

    /// A store whose history goes through all of these answered as of a place, or no more than that it does. `false`, and nothing is
    /// noted: what it answered is of another history than the chain by now, or than another answer.
    pub(super) fn proved(&mut self, grounds: &Grounds, answered: Option<(u64, Line)>) -> bool {
        let now = grounds.stretch == self.stretch;
        let claims: &[(u64, Line)] = if now { &grounds.claims } else { &[] };
        let all = claims.last().copied().into_iter().chain(answered).max_by_key(|(number, _)| *number);
        // All of it is on the way to the place that was followed to then; and every history goes through its beginning.
        let passed =
            |number| number == 0 || now && number <= grounds.followed.0 && grounds.followed.1 != Line::NONE;
        let apart = all.filter(|(number, _)| !passed(*number));
        let known = apart.map_or(Line::NONE, |(number, _)| self.known_at(number));
        if apart.is_some_and(|(_, line)| known != Line::NONE && known != line) {
            return false;
        }
        // What another answer has proved since, with a later place, is none again.
        let stands = apart.filter(|at| answered == Some(*at) || self.claims.get(&at.0) == Some(&at.1));
        for (number, line) in claims {
            if self.claims.get(number) == Some(line) {
                self.claims.remove(number);
            }
        }
        if let Some((number, line)) = stands
            && self.line_at(number).is_none_or(|known| *known == Line::NONE)
        {
            self.claims.insert(number, line);
        }
        true
    }

    /// What is known of the part is about to be forgotten.
    pub(super) fn leave(&mut self) {
        self.leaving |= !self.followed.is_empty() || !self.claims.is_empty();
        self.torn = false;
        self.stretch += 1;
        self.followed.clear();
        self.claims.clear();
    }
}
