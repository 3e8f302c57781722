//! One copy of one part, as a server holds it: what each atomic step of a healing does, in plain words. The scripts for Redis do
//! the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use postern::{
    model::{Key, Stored, Version},
    state::{
        Line,
        healing::{
            Copying, Cursor, Done, Head, Marking, Page, Proof, Putting, Reached, Round, Saying, Sight, Under,
        },
    },
};
use uuid::Uuid;

use crate::world::Broken;

/// A change as the feed tells it.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) number: u64,
    pub(crate) line: Line,
    pub(crate) documents: Vec<(Key, Stored)>,
}

/// See the module's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Copied {
    pub(crate) head: Option<Head>,
    pub(crate) documents: BTreeMap<Key, Arc<Stored>>,
    lines: BTreeMap<u64, Line>,
    pub(crate) feed: Vec<Arc<Told>>,
    cursors: BTreeMap<String, Cursor>,
    /// The truth beside it, of the same history: what who has joined knew then.
    pub(crate) brought: BTreeMap<String, Arc<BTreeSet<usize>>>,
    /// Of a head that was made anew: nobody with nothing missing has joined yet.
    pub(crate) unvouched: bool,
}

pub(crate) fn line_of(parts: &[&str]) -> Line {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    Line::parse(format!("{:020x}", hasher.finish()).as_bytes()).unwrap()
}

impl Copied {
    /// What `postern state init` makes.
    pub(crate) fn init(id: Uuid) -> Self {
        let head = Head { id, was: Vec::new(), epoch: 0, number: 0, line: Line::NONE, round: None };
        Self { head: Some(head), ..Self::default() }
    }

    pub(crate) fn line_at(&self, number: u64) -> Line {
        self.lines.get(&number).copied().unwrap_or(Line::NONE)
    }

    pub(crate) fn sight(&self, place: u64, gateway: &str) -> Sight {
        Sight {
            head: self.head.clone(),
            line_at: self.line_at(place),
            cursor: self.cursors.get(gateway).cloned(),
        }
    }

    fn advance(&mut self, at_least: u64, change: &str, documents: Vec<(Key, Stored)>) {
        let head = self.head.as_mut().unwrap();
        head.number = head.number.max(at_least) + 1;
        head.line = line_of(&[head.line.as_str(), change]);
        self.lines.insert(head.number, head.line);
        for (key, stored) in &documents {
            self.documents.insert(key.clone(), Arc::new(stored.clone()));
        }
        self.feed.push(Arc::new(Told { number: head.number, line: head.line, documents }));
    }

    fn version(&self, key: &Key) -> Version {
        self.documents.get(key).map_or(Version::NONE, |stored| stored.version)
    }

    /// A change, as anybody makes one.
    pub(crate) fn commit(&mut self, change: &str, key: &Key, read: Version, stored: Stored) -> bool {
        let sound = self.head.as_ref().is_some_and(|head| head.round.is_none());
        if !sound || self.version(key) != read {
            return false;
        }
        self.advance(0, change, vec![(key.clone(), stored)]);
        true
    }

    pub(crate) fn mark(&mut self, marking: &Marking, broken: Broken) -> Done {
        let lost = match (&self.head, marking.expected) {
            (None, None) => true,
            (Some(head), Some(epoch)) if head.round.is_none() && head.epoch == epoch => false,
            _ => return Done::Moved,
        };
        if lost {
            self.lines.clear();
            self.feed.clear();
            self.cursors.clear();
            self.unvouched = true;
            let (id, epoch) = (marking.id, marking.epoch);
            self.head = Some(Head {
                id,
                was: Vec::new(),
                epoch,
                number: marking.number,
                line: Line::NONE,
                round: None,
            });
        }
        if !(lost && broken.old_line) {
            self.advance(marking.number, &marking.round, Vec::new());
        }
        let head = self.head.as_mut().unwrap();
        head.round = Some(Round {
            name: marking.round.clone(),
            coming: head.epoch.max(marking.epoch) + 1,
            lost,
            awaited: marking.awaited.clone(),
            ..Round::default()
        });
        Done::Yes
    }

    /// The round, or nothing for a sound part; `None` where it is under something else by now.
    fn under(&mut self, under: &Under) -> Option<Option<&mut Round>> {
        let head = self.head.as_mut()?;
        let epoch = head.epoch;
        match (under, head.round.as_mut()) {
            (Under::Round(name), Some(round)) if round.name == *name => Some(Some(round)),
            (Under::Sound(sound), None) if epoch == *sound => Some(None),
            _ => None,
        }
    }

    pub(crate) fn put(
        &mut self,
        putting: &Putting,
        kept_apart: Option<&mut BTreeMap<String, Cursor>>,
    ) -> Done {
        let own = kept_apart.is_none();
        let mut apart = kept_apart;
        if let Some(from) = &putting.from {
            let needed = Cursor { attempt: putting.attempt.clone(), at: Reached::Key(from.clone()) };
            let found = match &apart {
                Some(apart) => apart.get(&putting.gateway),
                None => self.cursors.get(&putting.gateway),
            };
            if found != Some(&needed) {
                return Done::Moved;
            }
        }
        let (number, line) = putting.read;
        if number > 0 && self.line_at(number) != line {
            return Done::Moved;
        }
        if putting.write.iter().any(|(key, version, _)| self.version(key) != *version) {
            return Done::Moved;
        }
        let Some(round) = self.under(&putting.under) else { return Done::Moved };
        if let Some(round) = round {
            round.coming = round.coming.max(putting.epoch + 1);
            round.awaited.extend(putting.awaited.iter().cloned());
            round.progress += 1;
            if putting.from.is_none() {
                round.joined.remove(&putting.gateway);
            }
        }
        if !putting.write.is_empty() {
            let documents = putting.write.iter().map(|(key, _, stored)| (key.clone(), stored.clone()));
            self.advance(0, &putting.change, documents.collect());
        }
        let cursor = Cursor { attempt: putting.attempt.clone(), at: putting.to.clone() };
        let cursors = if own { &mut self.cursors } else { apart.as_mut().unwrap() };
        cursors.insert(putting.gateway.clone(), cursor);
        Done::Yes
    }

    pub(crate) fn say_joined(
        &mut self,
        saying: &Saying,
        broken: Broken,
        apart: Option<&BTreeMap<String, Cursor>>,
    ) -> Option<(u64, Line)> {
        let head = self.head.as_ref()?;
        let proved = match &saying.proof {
            Proof::Pages(attempt) => {
                let found = apart.unwrap_or(&self.cursors).get(&saying.gateway);
                found == Some(&Cursor { attempt: attempt.clone(), at: Reached::End })
            }
            Proof::Line(0, _) => true,
            Proof::Line(number, line) => {
                broken.places_only && head.number >= *number || self.line_at(*number) == *line
            }
        };
        let under = self.under(&saying.under);
        let (true, Some(round)) = (proved, under) else { return None };
        let joined_whole = round.is_some() && saying.whole;
        if let Some(round) = round {
            round.coming = round.coming.max(saying.epoch + 1);
            round.awaited.extend(saying.awaited.iter().cloned());
            round.joined.insert(saying.gateway.clone(), saying.whole || broken.all_whole);
            round.progress += 1;
        }
        self.unvouched &= !joined_whole;
        if self.head.as_ref().is_some_and(|head| head.number < saying.number) {
            self.advance(saying.number, &saying.change, Vec::new());
        }
        self.head.as_ref().map(|head| (head.number, head.line))
    }

    pub(crate) fn trust(&mut self, name: &str, over: bool, retired: &BTreeSet<String>) -> Done {
        let Some(head) = &mut self.head else { return Done::Moved };
        let Some(round) = head.round.as_ref().filter(|round| round.name == name) else { return Done::Moved };
        let known = !round.lost || round.joined.values().any(|whole| *whole);
        let all = round.awaited.iter().all(|one| round.joined.contains_key(one) || retired.contains(one));
        if !known || !(all || over) || round.joined.is_empty() {
            return Done::Moved;
        }
        head.epoch = round.coming;
        head.round = None;
        self.cursors.clear();
        Done::Yes
    }

    pub(crate) fn page(&self, copying: &Copying) -> Option<Page> {
        let head = self.head.as_ref()?;
        let proved = copying.number == 0 || self.line_at(copying.number) == copying.line;
        if head.round.is_some() || head.epoch != copying.epoch || !proved {
            return None;
        }
        let from = copying.after.as_ref().map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let rows = self.documents.range((from, std::ops::Bound::Unbounded)).take(copying.limit);
        Some(Page {
            documents: rows.map(|(key, stored)| (key.clone(), Ok((**stored).clone()))).collect(),
            number: head.number,
            line: head.line,
        })
    }
}
