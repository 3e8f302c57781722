//! What a gateway does next for one part, from what it sees and what it knows. Pure.
//!
//! Never here: doing it ([`super::turn`]).

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::model::Key;

use super::{Marking, Proof, Reached, Round, Saying, Seen, Sight, Under};

/// In how many milliseconds who follows has got further.
const SOON_MS: i64 = 20;

/// What the machine looks at.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The part as the store has it; its line is that at [`Seen::number`].
    pub sight: &'a Sight,
    /// What this gateway saw of it.
    pub seen: Option<&'a Seen>,
    /// Its name.
    pub me: &'a str,
    /// The gateways that it knows of.
    pub gateways: &'a BTreeSet<String>,
    /// On the clock that never runs back, in milliseconds.
    pub now_ms: i64,
    /// How long a healing is waited for that does not get on, in milliseconds.
    pub grace_ms: i64,
    /// A name that nobody else ever has, and not used before.
    pub fresh: &'a str,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the part is sound and holds what this gateway knows.
    Serve,
    /// From now on the place of the head stands for what is known here.
    TakeUp(Seen),
    /// Call the part suspect.
    Mark(Marking),
    /// Join the page after this key; `None` begins.
    Join {
        /// Under what.
        under: Under,
        /// Of which attempt.
        attempt: String,
        /// After which key.
        from: Option<Key>,
    },
    /// Say that all is joined.
    Say(Saying),
    /// End the healing.
    Trust {
        /// Which one.
        round: String,
        /// Whether the time to wait for others is over.
        over: bool,
    },
    /// Look again, at the latest then.
    Wait {
        /// On the clock that never runs back, in milliseconds.
        until_ms: i64,
    },
    /// The head is missing and this gateway cannot make one: somebody who knows has to come, or an operator.
    Lost,
    /// It is another store than the one that this gateway's shadow is of. Neither may be mixed with the other: an operator has to say.
    OtherStore(Uuid),
}

/// What one gateway remembers of a healing between two looks. Lost by a crash without harm.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Memory {
    attempt: Option<Attempt>,
    quiet: Option<Quiet>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Attempt {
    name: String,
    under: Under,
    /// What was seen when it began. Whatever came to be known since is not proved by it.
    seen: Seen,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Quiet {
    round: String,
    progress: u64,
    since_ms: i64,
}

/// How what a gateway saw stands to what the store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The store's history goes on from it: all that is known here is in the store.
    Agrees,
    /// The store ends before it, or is of an older epoch.
    Behind,
    /// The store had other changes up to there.
    Forked,
    /// The store can no longer say, or the gateway cannot.
    Unknown,
    /// The store's history goes on from where this gateway followed to, and reaches what it knows out of turn: follow first.
    Ahead,
}

/// Compares. A gateway that saw no change yet knows nothing that could be missing.
pub fn standing(sight: &Sight, seen: Option<&Seen>) -> Standing {
    let (Some(head), Some(seen)) = (&sight.head, seen) else { return Standing::Agrees };
    if seen.store.is_some_and(|id| id != head.id) {
        return Standing::Unknown;
    }
    if head.epoch < seen.epoch || head.number < seen.top() {
        return Standing::Behind;
    }
    if seen.torn {
        return Standing::Forked;
    }
    let agrees = if seen.claims.is_empty() { Standing::Agrees } else { Standing::Ahead };
    if seen.number == 0 {
        return agrees;
    }
    let at = if head.number == seen.number { head.line } else { sight.line_at };
    match (seen.line, at) {
        (mine, its) if mine == super::Line::NONE || its == super::Line::NONE => Standing::Unknown,
        (mine, its) if mine == its => agrees,
        _ => Standing::Forked,
    }
}

/// What a gateway does next for one part.
pub fn next(look: &Look<'_>, healing: &mut super::Healing) -> Next {
    decide(look, &mut healing.memory)
}

fn decide(look: &Look<'_>, memory: &mut Memory) -> Next {
    let Some(head) = &look.sight.head else {
        return match look.seen {
            Some(Seen { store: Some(id), whole: true, .. }) => Next::Mark(marking(look, None, *id)),
            _ => Next::Lost,
        };
    };
    if let Some(id) = look.seen.and_then(|seen| seen.store)
        && id != head.id
        && !head.was.contains(&id)
    {
        return Next::OtherStore(head.id);
    }
    let standing = standing(look.sight, look.seen);
    if let Some(round) = &head.round {
        return in_round(look, memory, round, standing);
    }
    memory.quiet = None;
    let here = Seen {
        store: Some(head.id),
        epoch: head.epoch,
        number: head.number,
        line: head.line,
        // Who is there from the beginning misses nothing.
        whole: head.number == 0,
        gaps: head.number > 0,
        ..Seen::default()
    };
    match (look.seen, standing) {
        (None, _) => Next::TakeUp(here),
        (Some(seen), Standing::Agrees) => {
            memory.attempt = None;
            if seen.store == Some(head.id) && seen.epoch == head.epoch {
                return Next::Serve;
            }
            // What was joined while others healed is proved by the line; only the epoch is new. Whoever made a change before it looked
            // at the part for the first time knows that one alone, and copies the rest.
            let gaps = seen.gaps || !seen.whole;
            Next::TakeUp(Seen { store: Some(head.id), epoch: head.epoch, gaps, ..seen.clone() })
        }
        (Some(_), Standing::Ahead) => soon(look),
        (Some(seen), Standing::Behind | Standing::Forked) if seen.epoch >= head.epoch => {
            Next::Mark(marking(look, Some(head.epoch), head.id))
        }
        // Others have healed it since, or nobody can say: this gateway joins what it knows before it serves.
        (Some(seen), _) => join(look, memory, Under::Sound(head.epoch), seen),
    }
}

fn in_round(look: &Look<'_>, memory: &mut Memory, round: &Round, standing: Standing) -> Next {
    let under = Under::Round(round.name.clone());
    match (look.seen, standing) {
        (_, Standing::Agrees) if round.joined.contains_key(look.me) => wait_or_trust(look, memory, round),
        (seen, Standing::Agrees) => {
            let (number, line) = seen.map_or((0, super::Line::NONE), |seen| (seen.number, seen.line));
            Next::Say(saying(look, under, Proof::Line(number, line)))
        }
        (Some(_), Standing::Ahead) => soon(look),
        (None, _) => Next::Say(saying(look, under, Proof::Line(0, super::Line::NONE))),
        (Some(seen), _) => join(look, memory, under, seen),
    }
}

fn join(look: &Look<'_>, memory: &mut Memory, under: Under, seen: &Seen) -> Next {
    let going = memory.attempt.as_ref().filter(|attempt| attempt.under == under && attempt.seen == *seen);
    // What the store does not have of it does not count, whatever was answered before.
    let cursor = look.sight.cursor.as_ref();
    let cursor = cursor.filter(|cursor| going.is_some_and(|attempt| attempt.name == cursor.attempt));
    let Some(cursor) = cursor else {
        let name = look.fresh.to_owned();
        memory.attempt = Some(Attempt { name: name.clone(), under: under.clone(), seen: seen.clone() });
        return Next::Join { under, attempt: name, from: None };
    };
    match &cursor.at {
        Reached::Key(after) => {
            Next::Join { under, attempt: cursor.attempt.clone(), from: Some(after.clone()) }
        }
        Reached::End => Next::Say(saying(look, under, Proof::Pages(cursor.attempt.clone()))),
    }
}

fn wait_or_trust(look: &Look<'_>, memory: &mut Memory, round: &Round) -> Next {
    let known = round.joined.values().any(|whole| *whole);
    if round.lost && !known {
        // Nobody here knows how it began: what nobody here saw change would be read as never set.
        return Next::Wait { until_ms: look.now_ms.saturating_add(look.grace_ms) };
    }
    if round.awaited.iter().all(|gateway| round.joined.contains_key(gateway)) {
        return Next::Trust { round: round.name.clone(), over: false };
    }
    let quiet = memory
        .quiet
        .take()
        .filter(|quiet| quiet.round == round.name && quiet.progress == round.progress)
        .unwrap_or_else(|| Quiet {
            round: round.name.clone(),
            progress: round.progress,
            since_ms: look.now_ms,
        });
    let until_ms = quiet.since_ms.saturating_add(look.grace_ms);
    memory.quiet = Some(quiet);
    if look.now_ms >= until_ms {
        return Next::Trust { round: round.name.clone(), over: true };
    }
    Next::Wait { until_ms }
}

fn soon(look: &Look<'_>) -> Next {
    Next::Wait { until_ms: look.now_ms.saturating_add(SOON_MS) }
}

fn awaited(look: &Look<'_>) -> BTreeSet<String> {
    let mut awaited = look.gateways.clone();
    awaited.insert(look.me.to_owned());
    awaited
}

fn marking(look: &Look<'_>, expected: Option<u32>, id: Uuid) -> Marking {
    let (epoch, number) = look.seen.map_or((0, 0), |seen| (seen.epoch, seen.top()));
    Marking { expected, id, epoch, number, awaited: awaited(look), round: look.fresh.to_owned() }
}

fn saying(look: &Look<'_>, under: Under, proof: Proof) -> Saying {
    let (whole, epoch, number) = look.seen.map_or((false, 0, 0), |seen| (seen.whole, seen.epoch, seen.top()));
    Saying {
        gateway: look.me.to_owned(),
        under,
        proof,
        whole,
        epoch,
        number,
        awaited: awaited(look),
        change: look.fresh.to_owned(),
    }
}
