//! The laws of `join`: order-free over real histories with forks, a descendant beats its ancestor, and what holds of a
//! fork is never wider than either side, field by field and through `decide`.
//!
//! Every history keeps the true ancestors of each change beside it, which no stored document has.

use std::collections::{BTreeMap, BTreeSet};

use postern::{
    model::{
        Approval, Bar, Basis, ChangeId, Consent, Delegation, Document, End, EndCause, ExchangeId, GivenAs,
        Giver, Grant, Grantee, Grantor, Halt, Invitation, Joined, Key, Ladder, Learned, Level, Member, Over,
        Presence, Raise, Reach, Remark, Request, RequestEnd, Resource, ResourceRef, Scope, Session, Span,
        Speaker, Stop, Stored, Subject, Tally, Tenant, TenantRole, Within, Zone,
        document::{FORMAT, REMEMBERED},
        erasable::without_address,
        join::{join, narrowest},
        once::{Kept, Made, Once, Thing},
    },
    policy::Caller,
};
use proptest::{collection::vec, prelude::*};

use crate::{histories::Dice, world::*};

type Heads = BTreeSet<ChangeId>;

fn ladder() -> Ladder {
    let plain = Plain::new(true);
    let levels = plain.ladder.iter();
    Ladder::new(levels.map(|(name, of)| Level { name: level(name), role: of.as_deref().map(role) }).collect())
}

/// Copies of one document on three gateways, and the true ancestry of every change.
struct Copies {
    copies: Vec<Stored>,
    ancestors: BTreeMap<ChangeId, Heads>,
    count: u64,
}

impl Copies {
    fn new(document: Document) -> Self {
        let first = change(0);
        let stored = Stored::after(None, first.clone(), document);
        Self { copies: vec![stored; 3], ancestors: [(first, Heads::new())].into(), count: 0 }
    }

    fn change(&mut self, at: usize, dice: &mut Dice) {
        self.count += 1;
        let id = change(self.count);
        let before = &self.copies[at];
        let mut document = narrowest(before, &ladder()).unwrap();
        mutate(dice, &mut document);
        let mut above = Heads::new();
        for head in &before.heads {
            above.insert(head.change.clone());
            above.extend(self.ancestors[&head.change].iter().cloned());
        }
        self.ancestors.insert(id.clone(), above);
        let after = Stored::after(Some(before), id, document);
        assert!(after.version > before.version);
        self.copies[at] = after;
    }

    fn pull(&mut self, to: usize, from: usize) {
        self.copies[to] = join(&self.copies[to], &self.copies[from]);
    }

    /// A copy that was rebuilt from a ledger out of which addresses were erased.
    fn erase(&mut self, at: usize) {
        for head in &mut self.copies[at].heads {
            if let Some((less, _)) = without_address(&head.document) {
                head.document = less;
            }
        }
    }

    /// The heads that no other head descends from: what a join has to keep, by the true ancestry.
    fn newest(&self, of: &[&Stored]) -> Heads {
        let all: Heads = of.iter().flat_map(|stored| heads(stored)).collect();
        all.iter().filter(|h| !all.iter().any(|other| self.ancestors[other].contains(*h))).cloned().collect()
    }
}

fn change(n: u64) -> ChangeId {
    ChangeId::new(&format!("c{n:06}")).unwrap()
}

fn heads(stored: &Stored) -> Heads {
    stored.heads.iter().map(|head| head.change.clone()).collect()
}

fn exchange(dice: &mut Dice) -> ExchangeId {
    format!("exc_{}", dice.below(20)).parse().unwrap()
}

fn board(id: &str) -> ResourceRef {
    ResourceRef { kind: "board".parse().unwrap(), id: id.parse().unwrap() }
}

fn first(kind: usize) -> Document {
    match kind {
        0 => Document::Tenant(Tenant::new(
            Some(tid("acme")),
            Zone::UTC,
            ENVIRONMENTS.map(eid).into(),
            Consent::own(level("full")),
        )),
        1 => Document::Grant(Grant {
            environment: eid("production"),
            to: Grantee::Email("anna@vendor.example".into()),
            bound: Some(staff("anna").id),
            role: Some(role("administrator")),
            act_as: None,
            scope: Scope::Everything,
            grantor: admin("beta").id,
            grantor_mail: None,
            grantor_row_mail: None,
            prolonged_by: Default::default(),
            given_as: Default::default(),
            given: at(50),
            until: at(5_000),
            ended: None,
        }),
        2 => Document::Session(session(Basis::Consent(level("full")))),
        5 => Document::Member(Member {
            roles: ["administrator", "clerk"].map(role).into(),
            suspended: false,
            email: Some("beta-admin@beta.example".into()),
            removed: None,
            away: None,
            life: 0,
            left: 0,
            seat: false,
        }),
        3 => Document::Stop(Stop::default()),
        7 => Document::Made(Made { kept: [(once(0).key, kept(0, 0, 500))].into() }),
        4 => Document::Presence(Presence {
            sessions: [(sid("s1"), eid("production"))].into(),
            requests: [rid("r1")].into(),
            lent: [gid("g1")].into(),
            asked: None,
            ..Presence::default()
        }),
        9 => Document::Role(TenantRole {
            permissions: ["orders:read", "orders:write", "jobs:run"].map(|name| name.parse().unwrap()).into(),
            own: true,
            by: Default::default(),
            granted: [(gid("g1"), at(5_000))].into(),
            removed: None,
            life: 0,
        }),
        10 => Document::Resource(Resource {
            parent: Some(board("b1")),
            creator: Some(admin("beta").id),
            assignees: ["anna", "ben"].map(|sub| staff(sub).id).into(),
            public: true,
            ..Resource::default()
        }),
        11 => Document::Joined(Joined {
            bounds: Default::default(),
            role: role("lead"),
            since: at(100),
            removed: None,
            life: 0,
            left: 0,
            by: Default::default(),
            invited: None,
        }),
        12 => {
            Document::Tally(Tally { roles: [(role("lead"), 2), (role("hand"), 5)].into(), seats: 3, life: 0 })
        }
        6 => Document::Grantor(Grantor {
            roles: [[role("administrator"), role("clerk")].into()].into(),
            seen: at(100),
            needed: at(5_000),
        }),
        _ => Document::Request(Request {
            asker: Giver::of(&staff("anna"), None, "r"),
            environment: eid("production"),
            level: level("full"),
            reason: "an order is stuck".into(),
            ticket: None,
            lasts: Span::Millis(3_000),
            asked: at(100),
            expires: at(900),
            talk: Vec::new(),
            approval: Some(approval(&mut Dice::new(1))),
            over: None,
        }),
    }
}

fn once(number: usize) -> Once {
    Once::of(&tid("beta"), &staff("anna").id, &format!("key {number}"), ("POST", "/"), b"{}")
}

/// What a key made: this grant, remembered until then.
fn kept(number: usize, grant: usize, until: i64) -> Kept {
    let (change, made) = (change(grant as u64), Thing::Grant(gid(&format!("g{grant}"))));
    Kept { until: at(until), change, made, asked: once(number).asked }
}

fn approval(dice: &mut Dice) -> Approval {
    Approval {
        by: Giver::of(&admin("beta"), None, "r"),
        at: at(120),
        level: level(dice.pick(&["read_only", "full", "unheard_of"])),
        lasts: Span::Millis([1_000, 3_000][dice.below(2)]),
        until: at(200 + 100 * i64::try_from(dice.below(3)).unwrap()),
    }
}

fn session(basis: Basis) -> Session {
    Session {
        subject: staff("anna").id,
        environment: eid("production"),
        basis,
        role: Some(role("administrator")),
        rights: ["mappings:write", "orders:read", "orders:write", "users:read"]
            .map(|p| p.parse().unwrap())
            .to_vec(),
        within: None,
        reason: "an order is stuck".into(),
        ticket: None,
        request: None,
        givers: Default::default(),
        above: Default::default(),
        started: at(100),
        deadline: at(4_000),
        ended: None,
    }
}

fn an_end(dice: &mut Dice) -> Option<End> {
    let cause = [EndCause::Removed, EndCause::Expired, EndCause::Withdrawn][dice.below(3)];
    let by = dice.one_in(2).then(|| admin("beta").id);
    dice.one_in(3).then(|| End { at: at(150 + i64::try_from(dice.below(3)).unwrap()), cause, by })
}

/// A kill switch is set or lifted; its mark only ever rises.
fn switch(dice: &mut Dice, stop: &mut Stop) {
    let now = at(98 + i64::try_from(dice.below(4)).unwrap());
    stop.closed_at = stop.closed_at.max(Some(now));
    stop.others |= dice.one_in(4);
    stop.set = dice.one_in(2).then(|| Halt {
        own: dice.one_in(2),
        since: now,
        by: staff(dice.pick(&OPERATORS)).id,
        reason: "something is wrong".into(),
    });
}

/// Now and then anna herself, as a person of the tenant.
fn some_givers(dice: &mut Dice) -> BTreeSet<Giver> {
    let mail = |address: &str| Subject { email: Some(address.into()), ..admin("beta") };
    match dice.below(6) {
        0 => [Giver::of(&member("beta", "anna", &[]), None, "a")].into(),
        1 => [Giver::of(&mail("anna@vendor.example"), None, "b")].into(),
        2 => [Giver::of(&admin("beta"), None, "c"), Giver::of(&mail("ben@vendor.example"), None, "d")].into(),
        _ => BTreeSet::new(),
    }
}

/// The way by grants is closed, or others than administrators let give or not; a mark only ever rises.
fn close_or_let(dice: &mut Dice, tenant: &mut Tenant) {
    let now = at(48 + i64::try_from(dice.below(4)).unwrap());
    match dice.below(4) {
        0 => tenant.closings.plan = tenant.closings.plan.max(Some(now)),
        1 => {
            let known = tenant.closings.environments.entry(eid(dice.pick(&ENVIRONMENTS))).or_insert(now);
            *known = (*known).max(now);
        }
        _ => {
            let before = tenant.delegation.as_ref().and_then(|setting| setting.off);
            let off = before.max(dice.one_in(2).then_some(now));
            tenant.delegation = Some(Delegation { allowed: !dice.one_in(3), off, by: some_givers(dice) });
        }
    }
}

fn mutate(dice: &mut Dice, document: &mut Document) {
    let later = |dice: &mut Dice| at(200 + 500 * i64::try_from(dice.below(4)).unwrap());
    match document {
        Document::Stop(stop) => switch(dice, stop),
        Document::Resource(resource) => match dice.below(9) {
            0 => resource.parent = dice.one_in(2).then(|| board(dice.pick(&["b1", "b2"]))),
            1 => resource.creator = dice.one_in(2).then(|| staff(dice.pick(&STAFF)).id),
            2 => drop(resource.assignees.pop_first()),
            3 => drop(resource.assignees.insert(staff(dice.pick(&STAFF)).id)),
            4 => resource.public = dice.one_in(2),
            5 => resource.removed = dice.one_in(2).then(|| later(dice)),
            6 => resource.learned = dice.one_in(3).then(|| Learned::of(exchange(dice))),
            7 => {
                if let Some(learned) = resource.learned.take() {
                    resource.creator = resource.creator.take().filter(|_| dice.one_in(2));
                    let unclear = resource.creator.is_none();
                    resource.learned =
                        Some(Learned { creator_unclear: unclear, ..learned.and(exchange(dice)) });
                }
            }
            _ => resource.life += 1,
        },
        Document::Joined(row) => match dice.below(7) {
            5 => {
                let held = dice.one_in(2).then(|| role(dice.pick(&["lead", "hand"])));
                row.invited = Some(Invitation { until: later(dice), held });
            }
            6 => row.invited = None,
            0 => row.role = role(dice.pick(&["lead", "hand"])),
            1 => row.removed = dice.one_in(2).then(|| later(dice)),
            2 => row.life += 1,
            3 => drop(row.by.insert(Giver::of(&admin("beta"), None, "j"))),
            _ => row.left += 1,
        },
        Document::Tally(tally) => match dice.below(6) {
            0 => tally.life += 1,
            5 => tally.seats = dice.below(9) as u64,
            1 | 2 => tally.add(&role(dice.pick(&["lead", "hand"]))),
            _ => tally.take(&role(dice.pick(&["lead", "hand"]))),
        },
        Document::Tenant(tenant) => match dice.below(16) {
            13..=15 => close_or_let(dice, tenant),
            12 => switch(dice, &mut tenant.stop),
            9 => tenant.removed = tenant.removed.or(dice.one_in(3).then(|| later(dice))),
            10 => drop(
                tenant
                    .taken
                    .insert(eid(dice.pick(&ENVIRONMENTS)), at(98 + i64::try_from(dice.below(4)).unwrap())),
            ),
            11 if dice.one_in(2) => tenant.seat_limit = dice.one_in(2).then(|| dice.below(9) as u64),
            11 => tenant.plan = dice.one_in(2).then(|| "gold".parse().unwrap()),
            0 => tenant.environments = [eid("production")].into(),
            1 => tenant.environments = ENVIRONMENTS.map(eid).into(),
            2 if dice.one_in(3) => tenant.parent = Some(tid("other")),
            3 => tenant.zone = Zone::named(dice.pick(&["Europe/Berlin", "UTC"])).unwrap(),
            _ => {
                let closed_at = tenant
                    .consent
                    .closed_at
                    .max(dice.one_in(2).then(|| at(98 + i64::try_from(dice.below(4)).unwrap())));
                let cap =
                    level(dice.pick(&["block", "read_only", "limited_edit", "full", "unheard_of", "other"]));
                tenant.consent = match dice.below(6) {
                    0 => Consent::inherited(),
                    1 => Consent { cap: Some(cap), ..Consent::inherited() },
                    2 if dice.one_in(3) => Consent { inherit: false, ..Consent::inherited() },
                    _ => Consent::own(cap),
                };
                tenant.consent.closed_at = closed_at;
                tenant.consent.raised = dice.one_in(2).then(|| Raise {
                    level: level(dice.pick(&["limited_edit", "full", "unheard_of"])),
                    until: later(dice),
                    by: some_givers(dice),
                });
                tenant.consent.by = some_givers(dice);
            }
        },
        Document::Grant(grant) => match dice.below(7) {
            6 if dice.one_in(3) => grant.given_as = [GivenAs::Member, GivenAs::Allowed][dice.below(2)],
            0 => grant.ended = grant.ended.clone().or_else(|| an_end(dice)),
            1 => grant.bound = [None, Some(staff("anna").id), Some(staff("ben").id)][dice.below(3)].clone(),
            2 if dice.one_in(3) => grant.role = Some(role(dice.pick(&["reader", "administrator"]))),
            // No change does that; a copy that was tampered with may say so.
            2 if dice.one_in(3) => {
                (grant.role, grant.act_as) = (None, Some(postern::model::ActAs::default()));
            }
            3 if dice.one_in(3) => {
                grant.scope = Scope::Resources([("orders".parse().unwrap(), "o1".parse().unwrap())].into());
            }
            4 if dice.one_in(3) => grant.prolonged_by = some_givers(dice),
            _ => grant.until = later(dice),
        },
        Document::Session(session) => match dice.below(6) {
            5 if dice.one_in(3) => {
                session.within = Some(Within { scope: Scope::Everything, rights: Default::default() });
            }
            0 | 1 => session.ended = session.ended.clone().or_else(|| an_end(dice)),
            2 if dice.one_in(3) => session.givers = some_givers(dice),
            2 => session.rights.retain(|_| !dice.one_in(4)),
            3 if dice.one_in(3) => session.subject = staff(dice.pick(&STAFF)).id,
            _ => session.deadline = later(dice),
        },
        Document::Request(request) => match dice.below(6) {
            0 => request.approval = None,
            1 => request.approval = Some(approval(dice)),
            2 => {
                let cause = [RequestEnd::Refused, RequestEnd::Used][dice.below(2)];
                let when = at(150 + i64::try_from(dice.below(3)).unwrap());
                let over = Over { at: when, cause, by: None, reason: None, session: None };
                request.over = request.over.clone().or(Some(over));
            }
            3 => request.expires = later(dice),
            4 if dice.one_in(3) => request.level = level("read_only"),
            _ => request.talk.push(Remark {
                at: at(130),
                from: Speaker::Tenant,
                by: admin("beta").id,
                text: "why".into(),
            }),
        },
        Document::Member(member) => match dice.below(6) {
            5 => member.away = member.away.max(Some(at(48 + i64::try_from(dice.below(4)).unwrap()))),
            0 => drop(member.roles.pop_first()),
            1 => drop(member.roles.insert(role(dice.pick(&["administrator", "clerk", "reader"])))),
            2 => member.suspended = dice.one_in(2),
            3 => member.email = dice.one_in(2).then(|| dice.pick(&["a@b", "c@d"]).into()),
            _ => member.removed = dice.one_in(3).then(|| later(dice)),
        },
        Document::Made(made) => match dice.below(4) {
            0 => *made = made.at(later(dice)),
            _ => {
                let (number, grant) = (dice.below(5), dice.below(50));
                let until = 200 + 500 * i64::try_from(dice.below(4)).unwrap();
                made.kept.entry(once(number).key).or_insert_with(|| kept(number, grant, until));
            }
        },
        Document::Role(role) => match dice.below(6) {
            0 => drop(role.permissions.pop_first()),
            1 => drop(role.permissions.insert(dice.pick(&PERMISSIONS).parse().unwrap())),
            2 => role.removed = dice.one_in(3).then(|| later(dice)),
            3 => role.granted = [(gid(dice.pick(&["g1", "g2"])), later(dice))].into(),
            4 => role.by = [Giver::of(&member("beta", dice.pick(&STAFF), &[]), None, "r")].into(),
            _ => role.own = !dice.one_in(3),
        },
        Document::Grantor(grantor) => match dice.below(3) {
            0 => grantor.roles = [[role(dice.pick(&["administrator", "clerk", "reader"]))].into()].into(),
            1 => drop(grantor.roles.insert([role(dice.pick(&["administrator", "clerk", "reader"]))].into())),
            _ => grantor.seen = at(-23_000 + 100 * i64::try_from(dice.below(9)).unwrap()),
        },
        Document::Presence(presence) if dice.one_in(3) => match presence.barred.take() {
            Some(_) => presence.lifted_by = [Giver::of(&admin("beta"), None, "l")].into(),
            None => {
                let bar = Bar { at: at(100 * i64::try_from(dice.below(20)).unwrap()), by: admin("beta").id };
                presence.closed_at = presence.closed_at.max(Some(bar.at));
                presence.barred = Some(bar);
                presence.lifted_by.clear();
            }
        },
        Document::Presence(presence) => {
            let id = sid(&format!("s{}", dice.below(5)));
            if presence.sessions.remove(&id).is_none() {
                presence.sessions.insert(id, eid(dice.pick(&ENVIRONMENTS)));
            }
        }
    }
}

/// Random changes and pulls.
fn play(kind: usize, steps: &[u64]) -> Copies {
    let mut copies = Copies::new(first(kind));
    for seed in steps {
        let mut dice = Dice::new(*seed);
        let (a, b) = (dice.below(3), dice.below(3));
        match (dice.one_in(3), dice.one_in(6)) {
            (true, _) => copies.pull(a, b),
            (false, true) => copies.erase(a),
            (false, false) => copies.change(a, &mut dice),
        }
    }
    copies
}

/// The level in force at an instant for a tenant of this consent whose parent stands at `parent`.
fn in_force(consent: &Consent, parent: usize, ladder: &Ladder, now: i64) -> usize {
    let raise = consent.raise_at(at(now)).map_or(0, |raise| ladder.rank(&raise.level));
    raise.max(chosen(consent, parent, ladder))
}

fn chosen(consent: &Consent, parent: usize, ladder: &Ladder) -> usize {
    match (consent.inherit, &consent.cap) {
        (false, None) => 0,
        (true, None) => parent,
        (false, Some(cap)) => ladder.rank(cap),
        (true, Some(cap)) => ladder.rank(cap).min(parent),
    }
}

/// `narrow` opens nothing that `wide` does not open.
fn is_within(narrow: &Document, wide: &Document) -> bool {
    let over = |a: &Option<End>, b: &Option<End>| match (a, b) {
        (_, None) => true,
        (Some(a), Some(b)) => a.at <= b.at,
        (None, Some(_)) => false,
    };
    let stays = |a: &Stop, b: &Stop| {
        a.closed_at >= b.closed_at && (a.set.is_some() || b.set.is_none()) && (a.others || !b.others)
    };
    let lets = |a: &Tenant, b: &Tenant| {
        let off = |tenant: &Tenant| tenant.delegation.as_ref().and_then(|setting| setting.off);
        let on = |tenant: &Tenant| tenant.delegation.as_ref().is_some_and(|setting| setting.allowed);
        let marks = |tenant: &Tenant| tenant.closings.environments.clone();
        let most = |tenant: &Tenant| tenant.seat_limit.unwrap_or(u64::MAX);
        (on(b) || !on(a))
            && most(a) <= most(b)
            && off(a) >= off(b)
            && a.closings.plan >= b.closings.plan
            && marks(b).iter().all(|(e, at)| marks(a).get(e).is_some_and(|later| at <= later))
    };
    match (narrow, wide) {
        (Document::Stop(a), Document::Stop(b)) => stays(a, b),
        (Document::Resource(a), Document::Resource(b)) => {
            (a.parent.is_none() || a.parent == b.parent)
                && (a.creator.is_none() || a.creator == b.creator)
                && a.assignees.is_subset(&b.assignees)
                && (b.public || !a.public)
                && a.learned.as_ref().is_none_or(|a| {
                    b.learned.as_ref().is_some_and(|b| {
                        a.creator_unclear >= b.creator_unclear && a.parent_unclear >= b.parent_unclear
                    })
                })
                && a.removed >= b.removed
                && a.life >= b.life
                && a.tenant_life <= b.tenant_life
        }
        (Document::Joined(a), Document::Joined(b)) => {
            let held = |row: &Joined| row.invited.as_ref().map(|invited| invited.held.clone());
            let until = |row: &Joined| row.invited.as_ref().map(|invited| invited.until);
            let same = (&a.role, a.life, a.left, held(a)) == (&b.role, b.life, b.left, held(b));
            let same = same && until(a) <= until(b);
            let bounds = |row: &Joined| row.bounds().cloned().collect::<BTreeSet<_>>();
            a.removed >= b.removed
                && a.by.is_superset(&b.by)
                && (same || a.removed.is_some())
                && bounds(a).is_superset(&bounds(b))
        }
        (Document::Tally(a), Document::Tally(b)) => {
            a.life > b.life || (a.life == b.life && a.roles.iter().all(|(name, n)| *n <= b.of(name)))
        }
        (Document::Tenant(a), Document::Tenant(b)) => {
            let ladder = ladder();
            (0..4).all(|p| {
                // Of another parent nothing is known.
                let highest = if a.parent == b.parent { p } else { 3 };
                [100, 199, 200, 699, 700, 5_000].into_iter().all(|now| {
                    in_force(&a.consent, highest, &ladder, now) <= in_force(&b.consent, p, &ladder, now)
                })
            }) && a.consent.closed_at >= b.consent.closed_at
                && stays(&a.stop, &b.stop)
                && a.environments.is_subset(&b.environments)
                && a.removed >= b.removed
                && lets(a, b)
                && b.taken.iter().all(|(e, at)| a.taken.get(e).is_some_and(|later| at <= later))
        }
        (Document::Grant(a), Document::Grant(b)) => {
            let to = a.to == b.to || matches!((&a.to, &b.to), (Grantee::Erased, Grantee::Email(_)));
            let same = (&a.role, &a.act_as, &a.scope, &a.environment, a.given_as)
                == (&b.role, &b.act_as, &b.scope, &b.environment, b.given_as)
                && (b.bound.is_none() || a.bound == b.bound)
                && to;
            a.until <= b.until && over(&a.ended, &b.ended) && (same || a.ended.is_some())
        }
        (Document::Session(a), Document::Session(b)) => {
            let same = (&a.subject, &a.environment, &a.basis, &a.within)
                == (&b.subject, &b.environment, &b.basis, &b.within);
            a.deadline <= b.deadline
                && a.rights.iter().all(|right| b.rights.contains(right))
                && over(&a.ended, &b.ended)
                && (same || a.ended.is_some())
        }
        (Document::Member(a), Document::Member(b)) => {
            a.roles.is_subset(&b.roles)
                && (a.suspended || !b.suspended)
                && a.removed >= b.removed
                && a.away >= b.away
                && (a.email.is_none() || a.email == b.email)
        }
        (Document::Role(a), Document::Role(b)) => {
            a.permissions.is_subset(&b.permissions)
                && (a.own == b.own || a.permissions.is_empty())
                && a.removed >= b.removed
                && a.by.is_superset(&b.by)
                && b.granted.iter().all(|(grant, until)| a.granted.get(grant) >= Some(until))
        }
        (Document::Grantor(a), Document::Grantor(b)) => a.roles.is_superset(&b.roles) && a.seen <= b.seen,
        // An index has to point at everything; it opens nothing.
        (Document::Request(a), Document::Request(b)) => {
            let ladder = ladder();
            let same = (&a.asker, &a.level, a.lasts) == (&b.asker, &b.level, b.lasts);
            let approved = match (&a.approval, &b.approval) {
                (None, _) => true,
                (Some(a), Some(b)) => {
                    a.until <= b.until
                        && ladder.rank(&a.level) <= ladder.rank(&b.level)
                        && a.lasts.end(at(0), Zone::UTC) <= b.lasts.end(at(0), Zone::UTC)
                }
                (Some(_), None) => false,
            };
            a.expires <= b.expires
                && approved
                && (b.over.is_none() || a.over.is_some())
                && (same || a.over.is_some())
        }
        // Whatever either remembers is remembered, for as long: so nothing is made once more.
        (Document::Made(a), Document::Made(b)) => {
            b.kept.iter().all(|(key, kept)| a.kept.get(key).is_some_and(|ours| kept.until <= ours.until))
        }
        (Document::Presence(a), Document::Presence(b)) => {
            // Whoever is kept out by either is, and what either ended stays ended.
            b.sessions.keys().all(|id| a.sessions.contains_key(id))
                && b.lent.is_subset(&a.lent)
                && (b.barred.is_none() || a.barred.is_some())
                && a.closed_at >= b.closed_at
                && a.lifted_by.is_superset(&b.lifted_by)
        }
        _ => false,
    }
}

/// What `anna` may do where `document` is one of four that her session rests on and the others are good.
fn opened(document: &Document) -> BTreeSet<String> {
    let mut plain = Plain::new(true);
    let of_role = matches!(document, Document::Role(_));
    let of_tenant = matches!(document, Document::Tenant(_));
    (plain.own_roles, plain.adjustable) = (2, vec!["clerk".into()]);
    let policy = plain.compile();
    let grant =
        of_role || matches!(document, Document::Grant(_) | Document::Member(_) | Document::Grantor(_));
    let basis = if grant { Basis::Grant(gid("g1")) } else { Basis::Consent(level("full")) };
    let mut docs = BTreeMap::from([
        (Key::Tenant(tid("acme")), first(0)),
        (Key::Tenant(tid("beta")), first(0)),
        (Key::Session(tid("beta"), sid("s1")), Document::Session(session(basis))),
    ]);
    if let Some(Document::Tenant(acme)) = docs.get_mut(&Key::Tenant(tid("acme"))) {
        acme.parent = None;
    }
    let key = match document {
        Document::Tenant(_) => Key::Tenant(tid("beta")),
        Document::Grant(_) => Key::Grant(tid("beta"), gid("g1")),
        Document::Member(_) => Key::Member(tid("beta"), admin("beta").id),
        Document::Grantor(_) => Key::Grantor(tid("beta"), admin("beta").id),
        Document::Role(_) => Key::Role(tid("beta"), role("helper")),
        Document::Stop(_) => Key::Stop(Reach::All),
        Document::Session(_)
        | Document::Presence(_)
        | Document::Request(_)
        | Document::Made(_)
        | Document::Resource(_)
        | Document::Joined(_)
        | Document::Tally(_) => Key::Session(tid("beta"), sid("s1")),
    };
    let mut document = document.clone();
    if let Document::Grant(grant) = &mut document {
        // A grant that nobody used yet is open to whoever comes first, anna among them: she is let in to compare.
        grant.bound.get_or_insert(staff("anna").id);
    }
    docs.insert(Key::Grant(tid("beta"), gid("g1")), first(1));
    docs.insert(Key::Grantor(tid("beta"), admin("beta").id), first(6));
    docs.insert(key, document);
    if of_role {
        // Everybody's is that of the tenant's own, listed.
        for known in docs.values_mut() {
            match known {
                Document::Tenant(tenant) => tenant.roles = [role("helper")].into(),
                Document::Grant(grant) => grant.role = Some(role("helper")),
                Document::Session(session) => session.role = Some(role("helper")),
                _ => {}
            }
        }
    }
    // By what somebody gave who is no administrator, while they may.
    if !of_tenant && let Some(Document::Tenant(beta)) = docs.get_mut(&Key::Tenant(tid("beta"))) {
        beta.delegation = Some(Delegation { allowed: true, off: None, by: BTreeSet::new() });
    }
    let Document::Grant(allowed) = first(1) else { panic!() };
    let to = Grantee::Subject(staff("ben").id);
    let allowed = Grant { to, bound: None, given_as: GivenAs::Allowed, ..allowed };
    docs.insert(Key::Grant(tid("beta"), gid("g3")), Document::Grant(allowed));
    let by_that = Session { subject: staff("ben").id, ..session(Basis::Grant(gid("g3"))) };
    docs.insert(Key::Session(tid("beta"), sid("s3")), Document::Session(by_that));
    // One that follows the tenant.
    let follows =
        Tenant::new(Some(tid("beta")), Zone::UTC, ENVIRONMENTS.map(eid).into(), Consent::inherited());
    docs.insert(Key::Tenant(tid("gamma")), Document::Tenant(follows));
    // Of somebody who is never among those who chose: whom their own choices shut out is another matter (GW-14).
    let by_consent = Session { subject: staff("cleo").id, ..session(Basis::Consent(level("full"))) };
    docs.insert(Key::Session(tid("gamma"), sid("s2")), Document::Session(by_consent));
    let world = World::of(docs);
    let mut open = BTreeSet::new();
    for permission in PERMISSIONS {
        for now in [149, 151, 300, 800, 1_800] {
            let request = crate::world::Request::simple("beta", permission).inside("s1");
            if world.decide(&request, Caller::Known(&staff("anna")), now, &policy).allowed() {
                open.insert(format!("{permission} at {now}"));
            }
            let theirs = crate::world::Request::simple("beta", permission).inside("s3");
            if world.decide(&theirs, Caller::Known(&staff("ben")), now, &policy).allowed() {
                open.insert(format!("{permission} by a member at {now}"));
            }
            let below = crate::world::Request::simple("gamma", permission).inside("s2");
            let cleo = Subject { email: None, ..staff("cleo") };
            if world.decide(&below, Caller::Known(&cleo), now, &policy).allowed() {
                open.insert(format!("{permission} below at {now}"));
            }
        }
    }
    open
}

fn laws_of_what_holds(joined: &Stored) {
    let holds = narrowest(joined, &ladder()).unwrap();
    for head in &joined.heads {
        assert!(is_within(&holds, &head.document), "{holds:?} is wider than {:?}", head.document);
        if !matches!(holds, Document::Presence(_) | Document::Request(_) | Document::Made(_)) {
            assert!(
                opened(&holds).is_subset(&opened(&head.document)),
                "{holds:?} opens more than {:?}",
                head.document
            );
        }
    }
}

#[test]
fn whom_a_raise_of_their_own_shuts_out_is_let_in_by_no_fork() {
    let with = |raised: Option<i64>| {
        let Document::Tenant(mut tenant) = first(0) else { panic!("a tenant") };
        tenant.consent.raised = raised.map(|until| Raise {
            level: level("full"),
            until: at(until),
            by: [Giver::of(&member("beta", "anna", &[]), None, "a")].into(),
        });
        tenant.consent.cap = Some(level("read_only"));
        tenant
    };
    let joined = |a: &Tenant, b: &Tenant| {
        let consent = a.consent.meet(&b.consent, &ladder());
        Document::Tenant(Tenant { consent, ..a.clone() })
    };
    // Gone on one side, and ending sooner on one side.
    for (one, other) in [(with(Some(1_000)), with(None)), (with(Some(1_000)), with(Some(200)))] {
        for holds in [joined(&one, &other), joined(&other, &one)] {
            for head in [&one, &other] {
                let head = Document::Tenant(head.clone());
                assert!(opened(&holds).is_subset(&opened(&head)), "{holds:?} opens more than {head:?}");
            }
        }
    }
    // The same raise beside two choices: where it was not in force, its rise shuts out whoever the choice did.
    let beside = |inherit: bool, cap: Option<&str>| {
        let mut tenant = with(Some(1_000));
        (tenant.consent.inherit, tenant.consent.cap) = (inherit, cap.map(level));
        tenant.consent.raised.as_mut().unwrap().level = level("limited_edit");
        tenant.consent.by = [Giver::of(&member("beta", "beta-admin", &[]), None, "b")].into();
        tenant
    };
    for other in [beside(false, Some("block")), beside(false, Some("full")), beside(true, Some("read_only"))]
    {
        let one = beside(true, None);
        for holds in [joined(&one, &other), joined(&other, &one)] {
            for head in [&one, &other] {
                let head = Document::Tenant(head.clone());
                assert!(opened(&holds).is_subset(&opened(&head)), "{holds:?} opens more than {head:?}");
            }
        }
    }
    assert_eq!(with(Some(9)).consent.meet(&with(Some(9)).consent, &ladder()), with(Some(9)).consent);
}

fn format_laws(stored: &Stored) {
    let text = serde_json::to_string(stored).unwrap();
    assert_eq!(&serde_json::from_str::<Stored>(&text).unwrap(), stored);
    assert_eq!(serde_json::to_string(&serde_json::from_str::<Stored>(&text).unwrap()).unwrap(), text);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn join_is_order_free_and_repeatable(kind in 0..13usize, steps in vec(any::<u64>(), 0..28)) {
        let copies = play(kind, &steps);
        let [a, b, c] = &copies.copies[..] else { panic!() };
        for x in [a, b, c] {
            prop_assert_eq!(&join(x, x), x);
            for y in [a, b, c] {
                let joined = join(x, y);
                prop_assert_eq!(&joined, &join(y, x));
                // Joining again whatever went into it changes nothing.
                prop_assert_eq!(&join(&joined, x), &joined);
                prop_assert_eq!(&join(y, &joined), &joined);
                // A descendant beats its ancestor, and nothing else is ever dropped.
                prop_assert_eq!(heads(&joined), copies.newest(&[x, y]));
                for z in [a, b, c] {
                    prop_assert_eq!(&join(&joined, z), &join(x, &join(y, z)));
                }
            }
        }
        format_laws(&join(a, &join(b, c)));
    }

    #[test]
    fn what_holds_of_a_fork_is_never_wider_than_either_side(kind in 0..13usize, steps in vec(any::<u64>(), 0..28)) {
        let copies = play(kind, &steps);
        let [a, b, c] = &copies.copies[..] else { panic!() };
        laws_of_what_holds(&join(a, b));
        laws_of_what_holds(&join(a, &join(b, c)));
    }

    #[test]
    fn past_what_is_remembered_nothing_is_lost_and_nothing_gets_wider(
        kind in 0..13usize, steps in vec(any::<u64>(), 60..140),
    ) {
        let copies = play(kind, &steps);
        for x in &copies.copies {
            prop_assert!(x.changes.len() <= REMEMBERED);
            for y in &copies.copies {
                let joined = join(x, y);
                prop_assert_eq!(&joined, &join(y, x));
                prop_assert!(copies.newest(&[x, y]).is_subset(&heads(&joined)));
                laws_of_what_holds(&joined);
                // The next change settles it, and is held to be the newest by everybody.
                let after = Stored::after(Some(&joined), change(999_999), first(kind));
                prop_assert!(heads(&joined).iter().all(|head| after.remembers(head) || !after.changes.contains(head)));
                prop_assert!(heads(&join(&after, x)).contains(&change(999_999)));
            }
        }
    }
}

#[test]
fn a_copy_thirty_one_changes_behind_is_an_ancestor_and_one_more_makes_it_a_fork() {
    for (behind, expected) in [(REMEMBERED - 1, 1), (REMEMBERED, 2)] {
        let mut copies = Copies::new(first(2));
        for _ in 0..behind {
            copies.change(0, &mut Dice::new(7));
        }
        let joined = join(&copies.copies[0], &copies.copies[1]);
        assert_eq!(joined.heads.len(), expected, "{behind} changes behind");
        laws_of_what_holds(&joined);
    }
}

#[test]
fn an_end_beats_activity_on_either_side_of_a_fork() {
    let mut copies = Copies::new(first(2));
    copies.copies[0] = Stored::after(Some(&copies.copies[0]), change(1), {
        let Document::Session(mut session) = first(2) else { panic!() };
        session.ended = Some(End { at: at(200), cause: EndCause::Removed, by: None });
        Document::Session(session)
    });
    copies.copies[1] = Stored::after(Some(&copies.copies[1]), change(2), first(2));
    let joined = join(&copies.copies[0], &copies.copies[1]);
    let Some(Document::Session(holds)) = narrowest(&joined, &ladder()) else { panic!() };
    assert_eq!(holds.ended.map(|end| end.cause), Some(EndCause::Removed));
    assert!(
        opened(&Document::Session(session(Basis::Consent(level("full"))))).len() > 3,
        "the other side was open"
    );
}

#[test]
fn heads_of_two_kinds_hold_nothing() {
    let mut stored = Stored::after(None, change(1), first(0));
    stored.heads.extend(Stored::after(None, change(2), first(1)).heads);
    assert_eq!(narrowest(&stored, &ladder()), None);
    stored.heads.clear();
    assert_eq!(narrowest(&stored, &ladder()), None);
}

/// Every object of a stored document with one member more, but for the map of an index.
fn with_a_stranger(value: &serde_json::Value, path: &str, found: &mut Vec<(String, serde_json::Value)>) {
    match value {
        serde_json::Value::Object(members) => {
            if !path.ends_with("/sessions") {
                let mut more = members.clone();
                more.insert("stranger".into(), serde_json::json!(1));
                found.push((path.to_owned(), more.into()));
            }
            for (name, inner) in members {
                let from = found.len();
                with_a_stranger(inner, &format!("{path}/{name}"), found);
                for (_, changed) in &mut found[from..] {
                    let mut whole = members.clone();
                    whole.insert(name.clone(), changed.take());
                    *changed = whole.into();
                }
            }
        }
        serde_json::Value::Array(items) => {
            for (i, inner) in items.iter().enumerate() {
                let from = found.len();
                with_a_stranger(inner, &format!("{path}/{i}"), found);
                for (_, changed) in &mut found[from..] {
                    let mut whole = items.clone();
                    whole[i] = changed.take();
                    *changed = whole.into();
                }
            }
        }
        _ => {}
    }
}

#[test]
fn unknown_fields_are_refused_at_every_depth_and_so_is_another_format() {
    for kind in 0..8 {
        let mut document = first(kind);
        if let Document::Stop(stop) = &mut document {
            switch(&mut Dice::new(1), stop);
        }
        if let Document::Session(session) = &mut document {
            session.ended = Some(End { at: at(200), cause: EndCause::Removed, by: Some(staff("ben").id) });
        }
        let stored = Stored::after(None, change(1), document);
        format_laws(&stored);
        let value = serde_json::to_value(&stored).unwrap();
        let mut strangers = Vec::new();
        with_a_stranger(&value, "", &mut strangers);
        assert!(strangers.len() >= 5);
        for (path, changed) in strangers {
            assert!(
                serde_json::from_value::<Stored>(changed.clone()).is_err(),
                "a stranger at `{path}` of {changed}"
            );
        }
        for format in [0, FORMAT + 1] {
            let mut other = value.clone();
            other["format"] = format.into();
            assert!(serde_json::from_value::<Stored>(other).is_err(), "format {format}");
        }
    }
}
