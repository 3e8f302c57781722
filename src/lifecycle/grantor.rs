//! How what is known of a grant's giver is kept up: their token was seen again, or they gave another grant (rule 5).
//!
//! What a token takes away counts at once; what it adds, and that it was seen at all, is written down now and then, so that
//! whoever passes often writes little. What was seen may so be taken for older than it is, never for newer.
//!
//! Never here: whose tokens are looked at and when ([`crate::engine`]); what follows from what is known ([`crate::policy`]).

use std::collections::BTreeSet;

use crate::{
    model::{Document, Grantor, Key, RoleName, Subject, SubjectKind, TenantId, Timestamp},
    policy::{Policy, rows::remembered_until},
};

use super::{Actor, Change, Event, Moment, Refusal, Stop};

/// That somebody was seen is written down when this part of their memory has passed.
const PARTS: i64 = 24;
/// That they can do more than before, sooner, in milliseconds.
const WIDER_MS: i64 = 300_000;

/// Tokens that name one thing after the other are told apart up to this many; beyond, nothing is known for a while.
const MOST_SETS: usize = 8;

const DAY_MS: i64 = 86_400_000;

/// How often a token's being seen is written down, in milliseconds.
pub fn written_every_ms(policy: &Policy) -> i64 {
    (policy.grantor_memory_ms / PARTS).max(1)
}

/// What a token that was seen comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing that has to be written down now.
    Nothing,
    /// It no longer names what was known: that is taken away, and nothing added.
    Less(Grantor),
    /// What it says counts from now on.
    Anew(Grantor),
}

/// Compares a token that is seen now with what is known. `needed`: until when somebody needs to know.
pub fn seen(
    known: Option<&Grantor>,
    roles: &[RoleName],
    needed: Timestamp,
    now: Timestamp,
    policy: &Policy,
) -> Seen {
    let roles: BTreeSet<RoleName> = roles.iter().cloned().collect();
    let anew = |roles, needed| Seen::Anew(Grantor { roles: [roles].into(), seen: now, needed });
    let Some(known) = known else { return anew(roles, needed) };
    let needed = needed.max(known.needed);
    if now < remembered_until(known, policy) {
        // Whatever one of the sets gives, the token gives too, so nothing that is known is gone.
        if !known.roles.iter().any(|known| known.is_subset(&roles)) {
            let roles = if known.roles.len() < MOST_SETS {
                known.roles.iter().cloned().chain([roles]).collect()
            } else {
                BTreeSet::from([BTreeSet::new()])
            };
            return Seen::Less(Grantor { roles, ..known.clone() });
        }
        let every = written_every_ms(policy);
        let same = known.roles.len() == 1 && known.roles.contains(&roles);
        let every = if same { every } else { every.min(WIDER_MS) };
        if now.ms_since(known.seen) < every {
            return Seen::Nothing;
        }
    }
    anew(roles, needed)
}

/// A giver's own token was seen.
pub(super) fn see(at: &Moment<'_>, id: &TenantId, needed: Timestamp) -> Result<Change, Stop> {
    let subject = match at.actor {
        Actor::Subject(subject) if subject.acting => return Err(Refusal::Acting.into()),
        Actor::Subject(subject)
            if subject.kind == SubjectKind::Member && subject.tenant.as_ref() == Some(id) =>
        {
            subject
        }
        Actor::Subject(_) | Actor::Configuration | Actor::Clock | Actor::Application => {
            return Err(Refusal::NotFound("member").into());
        }
    };
    if in_rows(at, subject) {
        return Ok(Change::NOTHING);
    }
    let known = at.facts.grantor(id.as_str(), &subject.id)?;
    let (document, narrows) = match seen(known, &subject.roles, needed, at.now, at.policy) {
        Seen::Nothing => return Ok(Change::NOTHING),
        Seen::Less(document) => (document, true),
        Seen::Anew(document) => (document, false),
    };
    let event = Event::GrantorSeen { grantor: subject.id.clone(), roles: subject.roles.clone() };
    let key = Key::Grantor(id.clone(), subject.id.clone());
    Ok(Change { documents: vec![(key, Document::Grantor(document))], events: vec![event], narrows })
}

/// What somebody's own token says as they give, kept beside the grant; `None` where a row says it, or where it is known
/// already: whoever gives much at once is not held up by their own memory.
pub(super) fn gives(
    at: &Moment<'_>,
    id: &TenantId,
    giver: &Subject,
    until: Timestamp,
) -> Result<Option<(Key, Document)>, Stop> {
    if in_rows(at, giver) {
        return Ok(None);
    }
    let roles = BTreeSet::from([giver.roles.iter().cloned().collect()]);
    let known = at.facts.grantor(id.as_str(), &giver.id)?;
    let enough = known.is_some_and(|known| {
        known.roles == roles
            && until <= known.needed
            && at.now.ms_since(known.seen) < written_every_ms(at.policy)
    });
    if enough {
        return Ok(None);
    }
    // A little longer, so that the next grant of today needs nothing more.
    let until = until.plus_ms(DAY_MS);
    let needed = known.map_or(until, |known| known.needed.max(until));
    let document = Grantor { roles, seen: at.now, needed };
    Ok(Some((Key::Grantor(id.clone(), giver.id.clone()), Document::Grantor(document))))
}

fn in_rows(at: &Moment<'_>, subject: &Subject) -> bool {
    at.policy.callers.by_row.contains(&subject.id.issuer)
}
