//! The kill switches: how support access is ended at one stroke, kept ended, and let go on (GW-13).
//!
//! A tenant's administrators have one over their own tenant, the operators of the configuration have them over a person,
//! a tenant and everything. Each side lifts its own. An operator who is stopped is none any more until another one lifts
//! that; only what somebody set over themselves they lift themselves. So whoever stopped another one last can always
//! lift: by no order of stops does everybody lock everybody out.
//!
//! Never here: what a switch does to a session (`policy::emergency`).

use crate::{
    model::{Document, Halt, Key, Reach, Side, Stop as KillSwitch, Subject, SubjectKind, Tenant, TenantId},
    policy::{Lack, SUPPORT_MANAGE, emergency::Halted},
};

use super::{Actor, Change, Event, Moment, Refusal, Stop, session::reasoned};

/// Which switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Switch {
    /// A tenant's own.
    Own(TenantId),
    /// One of the operators'.
    Operators(Reach),
}

impl Switch {
    /// The tenant that it concerns; none where it concerns them all.
    pub fn tenant(&self) -> Option<&TenantId> {
        match self {
            Switch::Own(tenant) | Switch::Operators(Reach::Tenant(tenant)) => Some(tenant),
            Switch::Operators(Reach::All | Reach::Person(_)) => None,
        }
    }

    fn reach(&self) -> Reach {
        match self {
            Switch::Own(tenant) => Reach::Tenant(tenant.clone()),
            Switch::Operators(reach) => reach.clone(),
        }
    }

    fn side(&self) -> Side {
        match self {
            Switch::Own(_) => Side::Tenant,
            Switch::Operators(_) => Side::Operators,
        }
    }
}

/// Refuses what begins while a switch is set.
pub(super) fn not_stopped(halted: Halted) -> Result<(), Refusal> {
    match halted.now {
        Some(side) => Err(Refusal::Stopped(side)),
        None => Ok(()),
    }
}

/// Sets a switch. Repeating it changes nothing.
pub(super) fn set(at: &Moment<'_>, switch: &Switch, reason: &str) -> Result<Change, Stop> {
    match switch {
        Switch::Own(id) => {
            let by = at.administrator(id, SUPPORT_MANAGE)?;
            reasoned(reason)?;
            let Some(tenant) = at.facts.tenant(id.as_str())? else {
                return Err(Refusal::NotFound("tenant").into());
            };
            if tenant.stop.set.is_some() {
                return Ok(Change::NOTHING);
            }
            let stop = stopped(at, &tenant.stop, halt(at, by, reason, false));
            Ok(own(switch, id, Tenant { stop, ..tenant.clone() }, reason, true))
        }
        Switch::Operators(reach) => set_by_operator(at, switch, reach, reason),
    }
}

fn set_by_operator(at: &Moment<'_>, switch: &Switch, reach: &Reach, reason: &str) -> Result<Change, Stop> {
    let by = operator(at)?;
    reasoned(reason)?;
    let themselves = matches!(reach, Reach::Person(person) if *person == by.id);
    if !themselves && known(at.facts.stop_of_person(&by.id))?.is_some_and(|stop| stop.set.is_some()) {
        return Err(Refusal::Stopped(Side::Operators).into());
    }
    match reach {
        Reach::All => {}
        Reach::Person(person) if at.policy.emergency.staff.contains(&person.issuer) => {}
        Reach::Person(person) => return Err(Refusal::IssuerUnknown(person.issuer.clone()).into()),
        // A slip of the pen would stop nobody.
        Reach::Tenant(id) => match at.facts.tenant(id.as_str()) {
            Ok(None) => return Err(Refusal::NotFound("tenant").into()),
            Ok(Some(_)) | Err(Lack::Unavailable) => {}
            Err(lack) => return Err(lack.into()),
        },
    }
    // What cannot be read is no reason to wait: it is joined with what is there, and set beats lifted.
    let all = known(at.facts.stop_of_all())?.cloned().unwrap_or_default();
    let before = match reach {
        Reach::All => all.clone(),
        Reach::Tenant(id) => known(at.facts.stop_of_tenant(id.as_str()))?.cloned().unwrap_or_default(),
        Reach::Person(person) => known(at.facts.stop_of_person(person))?.cloned().unwrap_or_default(),
    };
    // What somebody set over themselves, they could lift themselves; another one's takes its place.
    if before.set.as_ref().is_some_and(|set| !set.own || themselves) {
        return Ok(Change::NOTHING);
    }
    let mut documents = Vec::new();
    if *reach != Reach::All && !all.others {
        documents.push((Key::Stop(Reach::All), Document::Stop(KillSwitch { others: true, ..all })));
    }
    let after = stopped(at, &before, halt(at, by, reason, themselves));
    documents.push((Key::Stop(reach.clone()), Document::Stop(after)));
    Ok(Change { documents, events: vec![event(switch, reason, true)], narrows: true })
}

/// Lifts a switch. What it ended stays ended.
pub(super) fn lift(at: &Moment<'_>, switch: &Switch, reason: &str) -> Result<Change, Stop> {
    match switch {
        Switch::Own(id) => {
            let by = at.administrator(id, SUPPORT_MANAGE)?;
            reasoned(reason)?;
            let Some(tenant) = at.facts.tenant(id.as_str())? else {
                return Err(Refusal::NotFound("tenant").into());
            };
            if tenant.stop.set.is_none() {
                return Ok(Change::NOTHING);
            }
            at.reaches_all(&tenant.environments)?;
            let by = at.giver(id, by, &format!("tenant/{id}/stop@{}", at.now.ms()))?;
            let stop = KillSwitch { lifted_by: [by].into(), ..lifted(at, &tenant.stop) };
            Ok(own(switch, id, Tenant { stop, ..tenant.clone() }, reason, false))
        }
        Switch::Operators(reach) => {
            let by = operator(at)?;
            reasoned(reason)?;
            if let Some(set) = at.facts.stop_of_person(&by.id)?.and_then(|stop| stop.set.as_ref()) {
                let themselves = matches!(reach, Reach::Person(person) if *person == by.id);
                if !(themselves && set.own) {
                    return Err(Refusal::Stopped(Side::Operators).into());
                }
            }
            let before = match reach {
                Reach::All => at.facts.stop_of_all()?,
                Reach::Tenant(id) => at.facts.stop_of_tenant(id.as_str())?,
                Reach::Person(person) => at.facts.stop_of_person(person)?,
            };
            let Some(before) = before.filter(|stop| stop.set.is_some()) else { return Ok(Change::NOTHING) };
            at.reaches_all(&at.policy.environments)?;
            let documents = vec![(Key::Stop(reach.clone()), Document::Stop(lifted(at, before)))];
            Ok(Change { documents, events: vec![event(switch, reason, false)], narrows: false })
        }
    }
}

/// The operator, by the configuration; before anything is looked up.
fn operator<'a>(at: &Moment<'a>) -> Result<&'a Subject, Refusal> {
    match at.actor {
        Actor::Subject(subject) if subject.acting => Err(Refusal::Acting),
        Actor::Subject(subject)
            if subject.kind == SubjectKind::Staff && at.policy.emergency.operators.contains(&subject.id) =>
        {
            Ok(subject)
        }
        Actor::Subject(_) | Actor::Configuration | Actor::Clock | Actor::Application => {
            Err(Refusal::NotOperator)
        }
    }
}

/// Of a switch that is to be set: what cannot be read counts as not there.
fn known(stop: Result<Option<&KillSwitch>, Lack>) -> Result<Option<&KillSwitch>, Lack> {
    match stop {
        Err(Lack::Unavailable) => Ok(None),
        known => known,
    }
}

fn halt(at: &Moment<'_>, by: &Subject, reason: &str, own: bool) -> Halt {
    Halt { own, since: at.now, by: by.id.clone(), reason: reason.to_owned() }
}

/// What began in the millisecond of a stop is over; what begins in that of its end is new.
fn stopped(at: &Moment<'_>, before: &KillSwitch, halt: Halt) -> KillSwitch {
    let closed_at = before.closed_at.max(Some(at.now));
    KillSwitch { set: Some(halt), closed_at, others: before.others, lifted_by: Default::default() }
}

fn lifted(at: &Moment<'_>, before: &KillSwitch) -> KillSwitch {
    let closed_at = before.closed_at.max(Some(at.now.plus_ms(-1)));
    KillSwitch { set: None, closed_at, others: before.others, lifted_by: Default::default() }
}

fn own(switch: &Switch, id: &TenantId, tenant: Tenant, reason: &str, narrows: bool) -> Change {
    Change {
        documents: vec![(Key::Tenant(id.clone()), Document::Tenant(tenant))],
        events: vec![event(switch, reason, narrows)],
        narrows,
    }
}

fn event(switch: &Switch, reason: &str, set: bool) -> Event {
    let (reach, side, reason) = (switch.reach(), switch.side(), reason.to_owned());
    if set {
        Event::SupportStopped { reach, side, reason }
    } else {
        Event::SupportLetGoOn { reach, side, reason }
    }
}
