//! Healing: how a part of a store that forgot, went back or has two histories is made whole again from what gateways know
//! (law 8, decision 0026).
//!
//! Lives here: what a store has to offer for it ([`Heal`]), what a gateway has to bring ([`Known`]), the machine that
//! says what a gateway does next ([`next()`]), one step of doing it ([`Healing::turn`]), and the same from ledger files
//! ([`Recollection`]).
//!
//! The one thing that all of it rests on: *line and place agree with the store* means *what this gateway knows is in the
//! store*. Joining makes that true again; nothing else is remembered of who has joined. What a healing has reached is written
//! in the store beside the head, in the same history: a fail-over that loses the head's mark, a page or a word
//! also loses the claim that it was there.
//!
//! Never here: a beat, a majority ([`super::lease`]), what two states give together ([`crate::model::join`]), a clock.

mod next;
mod recollection;
mod turn;

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::model::{Key, Stored, Version};

use super::{Answer, Found, Part, StoreFault, lease::Line, shadow::ShadowFault};

pub use super::shadow::Seen;
pub use next::{Look, Next, Standing, next, standing};
pub use recollection::Recollection;
pub use turn::{HealFault, Healer, Healing, Turned, joined_in};

/// What the head of a part says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The store's id.
    pub id: Uuid,
    /// The ids of the stores that this one was made from: what is known of those belongs into it.
    pub was: Vec<Uuid>,
    /// Raised by every healing.
    pub epoch: u32,
    /// The newest place.
    pub number: u64,
    /// The line there.
    pub line: Line,
    /// The healing that goes on, if one does: nobody trusts the part, and it takes no change.
    pub round: Option<Round>,
}

/// A healing that goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Round {
    /// Names it; nobody else ever has this name.
    pub name: String,
    /// The epoch that the part gets when it is trusted again.
    pub coming: u32,
    /// Whether the head was gone: everything below it may be, too.
    pub lost: bool,
    /// Who is waited for.
    pub awaited: BTreeSet<String>,
    /// Who has joined, and whether what they brought had no beginning missing ([`Seen::whole`]).
    pub joined: BTreeMap<String, bool>,
    /// Rises with every page and word: who is slow is waited for, who is gone is not.
    pub progress: u64,
}

impl Round {
    /// Those that are waited for and have not joined.
    pub fn missing(&self) -> BTreeSet<String> {
        let missing = self.awaited.iter().filter(|gateway| !self.joined.contains_key(*gateway));
        missing.cloned().collect()
    }
}

/// How far one gateway has come, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The attempt. Another attempt begins at the beginning.
    pub attempt: String,
    /// Up to which key.
    pub at: Reached,
}

/// How far an attempt has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// Up to this key.
    Key(Key),
    /// All of it is in the store.
    End,
}

/// What a gateway sees of a part, as of one instant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sight {
    /// The head; `None` where there is none.
    pub head: Option<Head>,
    /// The line at the place that was asked for; [`Line::NONE`] where it is not (or no longer) kept.
    pub line_at: Line,
    /// How far the gateway that asks has come.
    pub cursor: Option<Cursor>,
}

/// Under what a gateway joins. Where the head says something else by then, nothing is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Under {
    /// In a healing, with others.
    Round(String),
    /// Alone, into a part that others trust: what it brings is a change like any other.
    Sound(u32),
}

/// Calls a part suspect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marking {
    /// The epoch of the sound head that is to be marked; `None` where it is missing and to be made anew.
    pub expected: Option<u32>,
    /// The store's id, for a head that is made anew.
    pub id: Uuid,
    /// The highest epoch that this gateway saw: the coming one is above it.
    pub epoch: u32,
    /// The highest place that it saw: places go on above it.
    pub number: u64,
    /// Whom to wait for.
    pub awaited: BTreeSet<String>,
    /// The name of the healing.
    pub round: String,
}

/// Writes a page of what a gateway knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Putting {
    /// Whose it is.
    pub gateway: String,
    /// Of which attempt.
    pub attempt: String,
    /// Under what.
    pub under: Under,
    /// Where the attempt has to be; `None` begins it, and takes back that the gateway had joined.
    pub from: Option<Key>,
    /// Where it is then.
    pub to: Reached,
    /// The highest epoch that this gateway saw: the coming one is above it.
    pub epoch: u32,
    /// Whom it knows that would have to be waited for.
    pub awaited: BTreeSet<String>,
    /// The place and the line as of which the documents of the page were loaded: what is not written is there in that history.
    pub read: (u64, Line),
    /// Names the change; nobody else ever has this name.
    pub change: String,
    /// The documents with the versions that are to be replaced ([`Version::NONE`] where there is none), each at most once.
    pub write: Vec<(Key, Version, Stored)>,
}

/// Says that everything a gateway knows is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saying {
    /// Who says so.
    pub gateway: String,
    /// Under what.
    pub under: Under,
    /// How that is so.
    pub proof: Proof,
    /// Whether what it knows has no beginning missing ([`Seen::whole`]).
    pub whole: bool,
    /// The highest epoch that it saw.
    pub epoch: u32,
    /// The highest place that it saw: places go on above it.
    pub number: u64,
    /// Whom it knows that would have to be waited for.
    pub awaited: BTreeSet<String>,
    /// Names the place that is taken where [`Saying::number`] is ahead; nobody else ever has this name.
    pub change: String,
}

/// How a gateway's knowledge is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// This attempt has come to its end.
    Pages(String),
    /// The history up to this place has this line.
    Line(u64, Line),
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It is done.
    Yes,
    /// Head, cursor or a document was no longer as it has to be, and nothing was done: look again.
    Moved,
}

/// Documents that were asked for, as of one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Each, or that there is none.
    pub found: Vec<Option<Found>>,
    /// The place.
    pub number: u64,
    /// The line there.
    pub line: Line,
}

/// Asks for a page of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copying {
    /// The epoch of the sound head.
    pub epoch: u32,
    /// Up to where its history is known.
    pub number: u64,
    /// The line there.
    pub line: Line,
    /// After which document; `None` begins.
    pub after: Option<Key>,
    /// How many documents at most.
    pub limit: usize,
}

/// A page of what a part holds, as of one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The documents, by key.
    pub documents: Vec<(Key, Found)>,
    /// The place.
    pub number: u64,
    /// The line there.
    pub line: Line,
}

/// What a store has to offer to be healed: each of these is one atomic step on the primary of the part, with everything it
/// checks. An answer that was lost harms nothing: each may be done again, by anybody.
///
/// None of them has to be confirmed by a majority. Trust comes from a beat that is, and what a beat confirms, it confirms with all
/// that came before it.
pub trait Heal: Send + Sync {
    /// What a gateway sees of a part: head, healing, its own cursor, and the line at a place.
    fn sight<'a>(&'a self, part: Part, place: u64, gateway: &'a str)
    -> Answer<'a, Result<Sight, StoreFault>>;

    /// Marks a part as suspect, or makes the head of a lost one, suspect: if the head is sound and of the epoch that was expected, or
    /// missing as expected. The mark takes a place above every one that was seen, with a line that no other history has.
    fn mark(&self, part: Part, marking: Marking) -> Answer<'_, Result<Done, StoreFault>>;

    /// The documents of these keys as they are, also in a suspect part, and as of which place.
    fn load<'a>(&'a self, part: Part, keys: &'a [Key]) -> Answer<'a, Result<Loaded, StoreFault>>;

    /// Writes a page if the head and the gateway's cursor are as told, its history is the one that the page was loaded from, and every
    /// document that is written has the version that is to be replaced;
    /// sets the cursor. What is written takes a place, and is told in the feed.
    fn put(&self, part: Part, putting: Putting) -> Answer<'_, Result<Done, StoreFault>>;

    /// Writes down that a gateway has joined, if the head and its proof hold; the place and the line as of which that is so,
    /// `None` where they do not.
    fn say_joined(&self, part: Part, saying: Saying) -> Answer<'_, Result<Option<(u64, Line)>, StoreFault>>;

    /// Ends a healing: if it is still that one, somebody with nothing missing has joined where the head was lost, and everybody
    /// awaited has who is not among these that were retired, or the time to wait for them is over.
    fn trust<'a>(
        &'a self,
        part: Part,
        round: &'a str,
        over: bool,
        retired: &'a BTreeSet<String>,
    ) -> Answer<'a, Result<Done, StoreFault>>;

    /// A page of the part, if it is sound and its history goes on from where the gateway that asks has seen it.
    fn page(&self, part: Part, copying: Copying) -> Answer<'_, Result<Option<Page>, StoreFault>>;
}

/// What a gateway brings: its shadow ([`super::shadow::Shadow`]), or what ledgers have ([`Recollection`]).
pub trait Known: Send + Sync {
    /// Up to where it saw a part; `None` where it never did.
    fn seen(&self, part: Part) -> Option<Seen>;

    /// The gateways that it knows of.
    fn gateways(&self) -> BTreeSet<String>;

    /// Those that an operator took out of the fleet, as far as it knows: whoever else names them, they do not come.
    fn retired(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// The documents that follow a key, by key, at most so many; none where there are no more.
    fn documents<'a>(
        &'a self,
        part: Part,
        after: Option<&'a Key>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<(Key, Stored)>, ShadowFault>>;

    /// Takes in documents as of a place of a part that holds what is known here.
    fn note(&self, part: Part, documents: &[(Key, Stored)], number: u64, line: Line);

    /// From now on this place stands for what is known; not done where something else was seen since.
    fn take_up(&self, part: Part, from: Option<&Seen>, to: Seen) -> bool;
}
