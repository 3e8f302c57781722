//! How a tenant chooses how far support may go, for good or until a date, and how a date that passed is written down.
//!
//! Never here: what a level allows ([`crate::policy`]).

use std::collections::BTreeSet;

use crate::{
    model::{Consent, Document, Giver, Key, Raise, Tenant, TenantId, Version},
    policy::{
        Lack, SUPPORT_MANAGE,
        level::{InForce, in_force, leads},
    },
};

use super::{Change, Choice, Event, Moment, Refusal, Stop, Until, grant};

/// Sets the choice: by an administrator of the tenant itself, not of its parent, and by no staff. With `until` the
/// choice that stands is kept, and the level holds beside it until then.
pub(super) fn set(
    at: &Moment<'_>,
    id: &TenantId,
    choice: &Choice,
    until: Option<Until>,
    expected: Option<Version>,
) -> Result<Change, Stop> {
    let by = at.administrator(id, SUPPORT_MANAGE)?;
    let key = Key::Tenant(id.clone());
    let Some(known) = at.facts.tenant(id.as_str())? else { return Err(Refusal::NotFound("tenant").into()) };
    at.still_there(known)?;
    at.as_seen(&key, expected)?;
    // Of a raise that is over nothing is left but to say so.
    let (tenant, fell) = match over(at, known)? {
        Some((tenant, event)) => (tenant, Some(event)),
        None => (known.clone(), None),
    };
    let (giver, unknown) = at.giver_if_known(id, by, &format!("{key}@{}", at.now.ms()))?;
    let wanted = wanted(at, &tenant, choice, until, [giver].into())?;
    if same(&wanted, &tenant.consent) {
        return Ok(Change::NOTHING);
    }
    // A tenant that lowers its level never waits for a parent that cannot be read: the chain counts as closed until
    // now (rule 6), so what ran by it ends.
    let before = known_or_closed(in_force(&tenant, at.facts, at.policy, at.now))?;
    let mut changed = Tenant { consent: wanted, ..tenant.clone() };
    let after = in_force(&changed, at.facts, at.policy, at.now)?.rank;
    // What ran while nothing was open stays ended (law 4), also when the level rises again. A mark that was inherited
    // until now is kept, so that leaving the parent brings nothing back. What starts in the millisecond of a rise is
    // new; what started in the millisecond of a fall is over.
    let closed = |rank| at.policy.ladder.role_at(rank).is_none();
    let mark = match (closed(before.rank), closed(after)) {
        (_, true) => Some(at.now),
        (true, false) => Some(at.now.plus_ms(-1)),
        (false, false) => None,
    };
    let within = within(at, &changed.consent, &tenant.consent);
    changed.consent.closed_at = tenant.consent.closed_at.max(before.closed_at).max(mark);
    // At an equal level a tenant leaves or joins its parent, which takes nothing away; a level of its own that gives
    // nothing takes away whatever there was, and so does a raise that ends sooner.
    let course = course(at, &changed, &tenant)?;
    let less = (!changed.consent.inherit && closed(after))
        || (course.never_more && (after < before.rank || (after == before.rank && within)));
    if !less {
        at.reaches_all(&tenant.environments)?;
    }
    // In this gateway's memory both bind: what that would cut beyond what was chosen waits to be stored like what gives.
    let narrows = less && course.as_both;
    if let Some(unknown) = unknown.filter(|_| !narrows) {
        return Err(unknown.into());
    }
    let event = Event::ConsentChanged {
        from: at.level(before.rank),
        to: at.level(after),
        inherit: changed.consent.inherit,
        until: changed.consent.raised.as_ref().map(|raise| raise.until),
    };
    let events = fell.into_iter().chain([event]).collect();
    Ok(Change { documents: vec![(key, Document::Tenant(changed))], events, narrows })
}

/// What the tenant would have chosen then. Its marks stay as they are.
fn wanted(
    at: &Moment<'_>,
    tenant: &Tenant,
    choice: &Choice,
    until: Option<Until>,
    by: BTreeSet<Giver>,
) -> Result<Consent, Stop> {
    let closed_at = tenant.consent.closed_at;
    // Stored under its own name, whichever of its names was said.
    let named = match choice {
        Choice::Level(level) => match at.policy.ladder.named(level) {
            Some(own) => Choice::Level(own.clone()),
            None => return Err(Refusal::LevelUnknown(level.clone()).into()),
        },
        Choice::Inherit => Choice::Inherit,
    };
    let level = match (&named, until) {
        (Choice::Inherit, _) if !leads(tenant, at.facts)? => return Err(Refusal::NothingToInherit.into()),
        (Choice::Inherit, None) => return Ok(Consent { closed_at, by, ..Consent::inherited() }),
        (Choice::Level(level), None) => return Ok(Consent { closed_at, by, ..Consent::own(level.clone()) }),
        (Choice::Inherit, Some(_)) => None,
        (Choice::Level(level), Some(_)) => Some(level),
    };
    let standing = Tenant { consent: tenant.consent.standing(), ..tenant.clone() };
    let below = in_force(&standing, at.facts, at.policy, at.now)?;
    let (Some(level), Some(until)) = (level, until) else {
        return Err(Refusal::NotRaised { in_force: at.level(below.rank) }.into());
    };
    if at.policy.ladder.rank(level) <= below.rank {
        return Err(Refusal::NotRaised { in_force: at.level(below.rank) }.into());
    }
    let until = grant::checked(at, until, tenant.zone)?;
    Ok(Consent { raised: Some(Raise { level: level.clone(), until, by }), ..standing.consent })
}

/// Whether nothing changes, whoever says it: who chose first has chosen.
fn same(a: &Consent, b: &Consent) -> bool {
    let raise = |raise: &Option<Raise>| raise.as_ref().map(|raise| (raise.level.clone(), raise.until));
    (a.inherit, &a.cap, raise(&a.raised)) == (b.inherit, &b.cap, raise(&b.raised))
}

/// How a new choice compares with the old one from now on, as far as time alone moves them.
struct Course {
    /// At no instant it comes to more: also when what was raised, here or further up, has fallen.
    never_more: bool,
    /// At each instant it comes to the same as both together.
    as_both: bool,
}

fn course(at: &Moment<'_>, new: &Tenant, old: &Tenant) -> Result<Course, Lack> {
    let both = Tenant { consent: new.consent.meet(&old.consent, &at.policy.ladder), ..new.clone() };
    let mut course = Course { never_more: true, as_both: true };
    let mut then = at.now;
    loop {
        let then_known = |tenant| known_or_closed(in_force(tenant, at.facts, at.policy, then));
        let (is, was, both) = (then_known(new)?, then_known(old)?, then_known(&both)?);
        course.never_more &= is.rank <= was.rank;
        course.as_both &= is.rank == both.rank;
        // Each raise ends once, so this comes to an end.
        match [is.falls, was.falls].into_iter().flatten().filter(|next| *next > then).min() {
            Some(next) => then = next,
            None => return Ok(course),
        }
    }
}

/// Whether the same choice stands, with no more of a raise beside it than before.
fn within(at: &Moment<'_>, new: &Consent, old: &Consent) -> bool {
    let raise = match (&new.raised, &old.raised) {
        (None, _) => true,
        (Some(new), Some(old)) => {
            new.until <= old.until && at.policy.ladder.rank(&new.level) <= at.policy.ladder.rank(&old.level)
        }
        (Some(_), None) => false,
    };
    raise && (new.inherit, &new.cap) == (old.inherit, &old.cap)
}

/// Writes down that a raise is over, with the instant at which the level fell. Repeating it changes nothing.
pub(super) fn fall(at: &Moment<'_>, id: &TenantId) -> Result<Change, Stop> {
    let Some(known) = at.facts.tenant(id.as_str())? else { return Err(Refusal::NotFound("tenant").into()) };
    match (over(at, known)?, &known.consent.raised) {
        (Some((tenant, event)), _) => Ok(Change {
            documents: vec![(Key::Tenant(id.clone()), Document::Tenant(tenant))],
            events: vec![event],
            narrows: true,
        }),
        (None, Some(raise)) => Err(Refusal::NotDue(raise.until).into()),
        (None, None) => Ok(Change::NOTHING),
    }
}

/// The tenant without its raise, where that is over; and the event that says so.
fn over(at: &Moment<'_>, tenant: &Tenant) -> Result<Option<(Tenant, Event)>, Lack> {
    let until = match &tenant.consent.raised {
        Some(raise) if raise.until <= at.now => raise.until,
        Some(_) | None => return Ok(None),
    };
    let before = in_force(tenant, at.facts, at.policy, until.plus_ms(-1));
    let before = known_or_closed(before)?.rank;
    let mut fallen = Tenant { consent: tenant.consent.standing(), ..tenant.clone() };
    let after = known_or_closed(in_force(&fallen, at.facts, at.policy, until))?.rank;
    if at.policy.ladder.role_at(after).is_none() {
        fallen.consent.closed_at = fallen.consent.closed_at.max(Some(until));
    }
    let event = Event::ConsentFell { from: at.level(before), to: at.level(after), at: until };
    Ok(Some((fallen, event)))
}

/// A chain that cannot be read whole counts as closed (rule 6).
fn known_or_closed(known: Result<InForce<'_>, Lack>) -> Result<InForce<'_>, Lack> {
    match known {
        Err(Lack::Unavailable) => Ok(InForce::CLOSED),
        known => known,
    }
}
