//! `join`: what holds when two copies of one document disagree (law 8).
//!
//! A copy carries the newest states it knows ("heads") and the ids of its last changes. A state whose change the other
//! copy remembers, and does not itself hold as newest, is an ancestor and drops out; what remains stands side by side.
//! What *holds* of states side by side is worked out by [`narrowest`]: each field takes the narrower value, `ended`
//! beats active, and fields that can never differ end the document when they do. Keeping the states apart until
//! somebody changes the document is what makes the result independent of the order of joining.
//!
//! Never here: when to join, or how a store heals ([`crate::state`], [`crate::engine`]).

use super::{
    ChangeId, End, EndCause, Member, Presence, Timestamp,
    consent::{Consent, Ladder},
    document::{Document, FORMAT, Grant, Grantee, Head, REMEMBERED, Session, Stored, Tenant},
    erasable,
    granting::Delegation,
    request::ApprovalRule,
};

/// Joins two copies of one document. Commutative, associative, idempotent, as long as neither is further behind than
/// [`REMEMBERED`] changes; beyond that the result may be narrower, never wider.
pub fn join(a: &Stored, b: &Stored) -> Stored {
    let mut heads: Vec<Head> = Vec::new();
    for (mine, other) in [(a, b), (b, a)] {
        for head in &mine.heads {
            let newest_there = other.heads.iter().any(|h| h.change == head.change);
            let outgrown = other.changes.contains(&head.change) && !newest_there;
            match heads.iter_mut().find(|h| h.change == head.change) {
                Some(known) => erasable::as_both_know(&mut known.document, &head.document),
                None if outgrown => {}
                None => heads.push(head.clone()),
            }
        }
    }
    heads.sort_by(|x, y| y.change.cmp(&x.change));
    let mut changes: Vec<ChangeId> = a.changes.iter().chain(&b.changes).cloned().collect();
    trim(&mut changes);
    Stored { format: FORMAT, version: a.version.max(b.version), changes, heads }
}

/// What is known of a document after a later state of the same history: the later one alone, which rests on all that came before it, however
/// long ago that was. Of one that is not later, or of which that is not known, see [`join()`].
pub fn succeed(known: &Stored, later: &Stored) -> Stored {
    if later.version > known.version { later.clone() } else { join(known, later) }
}

/// Sorts, drops repeats and keeps the greatest [`REMEMBERED`]. Change ids rise with time.
pub(super) fn trim(changes: &mut Vec<ChangeId>) {
    changes.sort_by(|x, y| y.cmp(x));
    changes.dedup();
    changes.truncate(REMEMBERED);
}

/// What holds of the states that stand side by side; `None` when there is none, or when they are not of one kind.
pub fn narrowest(stored: &Stored, ladder: &Ladder) -> Option<Document> {
    let mut heads = stored.heads.iter();
    // Greatest change first: of fields without an order, the later one's value stays.
    let mut result = heads.next()?.document.clone();
    for head in heads {
        result = match (result, &head.document) {
            (Document::Tenant(a), Document::Tenant(b)) => Document::Tenant(tenant(a, b, ladder)),
            (Document::Grant(a), Document::Grant(b)) => Document::Grant(grant(a, b)),
            (Document::Session(a), Document::Session(b)) => Document::Session(session(a, b)),
            (Document::Presence(a), Document::Presence(b)) => Document::Presence(presence(a, b)),
            (Document::Member(a), Document::Member(b)) => Document::Member(member(a, b)),
            (Document::Request(a), Document::Request(b)) => {
                Document::Request(a.narrower(b, |level| ladder.rank(level)))
            }
            (Document::Made(a), Document::Made(b)) => Document::Made(a.meet(b)),
            (Document::Grantor(a), Document::Grantor(b)) => Document::Grantor(a.meet(b)),
            (Document::Role(a), Document::Role(b)) => Document::Role(a.meet(b)),
            (Document::Resource(a), Document::Resource(b)) => Document::Resource(a.meet(b)),
            (Document::Joined(a), Document::Joined(b)) => Document::Joined(a.meet(b)),
            (Document::Tally(a), Document::Tally(b)) => Document::Tally(a.meet(b)),
            (Document::Stop(a), Document::Stop(b)) => Document::Stop(a.meet(b)),
            _ => return None,
        };
    }
    Some(result)
}

fn tenant(a: Tenant, b: &Tenant, ladder: &Ladder) -> Tenant {
    let mut consent = a.consent.meet(&b.consent, ladder);
    if a.parent != b.parent {
        // A parent is fixed at registration; two of them cannot both be true, so nothing is open.
        let lowest = ladder.at(0).map(|level| level.name.clone());
        consent = Consent {
            cap: lowest.or(consent.cap),
            by: consent.by,
            closed_at: Some(Timestamp::MAX),
            ..Consent::nothing()
        };
    }
    let environments = a.environments.intersection(&b.environments).cloned().collect();
    let mut taken = a.taken;
    for (environment, at) in &b.taken {
        let known = taken.entry(environment.clone()).or_insert(*at);
        *known = (*known).max(*at);
    }
    let stop = a.stop.meet(&b.stop);
    // Whoever of the two asks for approval does; where neither does, who waived it stays remembered.
    let approval = match (a.approval, &b.approval) {
        (Some(a), Some(b)) => Some(ApprovalRule {
            required: a.required || b.required,
            by: a.by.union(&b.by).cloned().collect(),
        }),
        (one, other) => one.or_else(|| other.clone()),
    };
    let (removed, life) = (a.removed.max(b.removed), a.life.max(b.life));
    let closings = a.closings.meet(&b.closings);
    let delegation = Delegation::meet(a.delegation, b.delegation.as_ref());
    // An index must not lose what it points at: a role that was narrowed in one history stays so.
    let roles = a.roles.union(&b.roles).cloned().collect();
    let seat_limit = [a.seat_limit, b.seat_limit].into_iter().flatten().min();
    Tenant {
        environments,
        consent,
        taken,
        removed,
        approval,
        stop,
        life,
        closings,
        delegation,
        roles,
        seat_limit,
        ..a
    }
}

fn grant(mut a: Grant, b: &Grant) -> Grant {
    // An address that was erased in one history is the one that the other still has.
    if b.to == Grantee::Erased && matches!(a.to, Grantee::Email(_)) {
        a.to = Grantee::Erased;
    }
    let same_address = a.to == Grantee::Erased && matches!(b.to, Grantee::Email(_));
    let same = a.environment == b.environment
        && (a.to == b.to || same_address)
        && a.role == b.role
        && a.act_as == b.act_as
        && a.scope == b.scope
        && a.grantor == b.grantor
        && a.given_as == b.given_as
        && a.given == b.given
        && (a.bound.is_none() || b.bound.is_none() || a.bound == b.bound);
    let ended = earlier(a.ended, b.ended.as_ref(), same, a.given);
    let bound = a.bound.or_else(|| b.bound.clone());
    let grantor_mail = a.grantor_mail.or_else(|| b.grantor_mail.clone());
    let grantor_row_mail = a.grantor_row_mail.or_else(|| b.grantor_row_mail.clone());
    let prolonged_by = a.prolonged_by.union(&b.prolonged_by).cloned().collect();
    Grant { until: a.until.min(b.until), ended, bound, grantor_mail, grantor_row_mail, prolonged_by, ..a }
}

fn session(a: Session, b: &Session) -> Session {
    let same = a.subject == b.subject
        && a.environment == b.environment
        && a.basis == b.basis
        && a.role == b.role
        && a.started == b.started;
    let same = same && a.request == b.request && a.within == b.within;
    let ended = earlier(a.ended, b.ended.as_ref(), same, a.started);
    let rights = a.rights.into_iter().filter(|right| b.rights.binary_search(right).is_ok()).collect();
    let givers = a.givers.union(&b.givers).cloned().collect();
    let above = a.above.union(&b.above).cloned().collect();
    Session { deadline: a.deadline.min(b.deadline), ended, rights, givers, above, ..a }
}

/// An index must not lose what it points at; whether that is any good is decided from the sessions themselves.
fn presence(mut a: Presence, b: &Presence) -> Presence {
    a.requests.extend(b.requests.iter().cloned());
    a.lent.extend(b.lent.iter().cloned());
    a.asked = a.asked.max(b.asked);
    // Whoever is kept out in one history is; what began until the later of two is over.
    a.barred = a.barred.max(b.barred.clone());
    a.closed_at = a.closed_at.max(b.closed_at);
    a.lifted_by.extend(b.lifted_by.iter().cloned());
    a.sessions.extend(b.sessions.iter().map(|(id, environment)| (id.clone(), environment.clone())));
    a
}

/// Whoever is suspended or gone in one history is; an address that differs finds nobody.
fn member(a: Member, b: &Member) -> Member {
    Member {
        roles: a.roles.intersection(&b.roles).cloned().collect(),
        suspended: a.suspended || b.suspended,
        email: a.email.filter(|email| b.email.as_ref() == Some(email)),
        removed: a.removed.max(b.removed),
        away: a.away.max(b.away),
        life: a.life.min(b.life),
        left: a.left.max(b.left),
        seat: a.seat || b.seat,
    }
}

fn earlier(a: Option<End>, b: Option<&End>, same: bool, begin: Timestamp) -> Option<End> {
    let conflict = (!same).then_some(End { at: begin, cause: EndCause::Conflict, by: None });
    [a, b.cloned(), conflict].into_iter().flatten().min()
}
