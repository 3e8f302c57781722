//! Decisions on documents that no history need have made: what another build, a fork, or a broken store might hand
//! over. Both implementations read the same documents and must agree.

use std::collections::BTreeSet;

use postern::{
    model::{Basis, Consent, Document, End, EndCause, Giver, Grantee, Key, Presence, Raise, Scope},
    policy::{Decision, Due},
};
use proptest::{collection::vec, prelude::*};

use crate::{
    histories::{Dice, a_request, caller, open_levels, play, policies},
    naive::Naive,
    world::*,
};

/// Now and then somebody of the tenant who is staff too.
fn some_givers(dice: &mut Dice) -> BTreeSet<Giver> {
    match dice.below(6) {
        0 => [Giver::of(&member("acme", dice.pick(&STAFF), &[]), None, "a")].into(),
        1 => [Giver::of(&twin("acme"), None, "b")].into(),
        2 => [Giver::of(&admin("acme"), None, "c")].into(),
        _ => BTreeSet::new(),
    }
}

/// Puts something else into one document, or takes it away.
fn tamper(dice: &mut Dice, world: &mut World, now: i64, policy: &postern::policy::Policy) {
    let keys: Vec<Key> = world.docs.keys().cloned().collect();
    let key = keys[dice.below(keys.len())].clone();
    if dice.one_in(10) {
        world.docs.remove(&key);
        return;
    }
    let near = |dice: &mut Dice| at(now - 1 + i64::try_from(dice.below(3)).unwrap());
    let end = |dice: &mut Dice| {
        use EndCause::{ClockAccepted, Conflict, Ended, Expired, Removed, Replaced, Stopped, Withdrawn};
        let causes = [Expired, Ended, Removed, Withdrawn, Replaced, Stopped, Conflict, ClockAccepted];
        let cause = causes[dice.below(8)];
        dice.one_in(2).then(|| End { at: near(dice), cause, by: None })
    };
    let mut document = world.document(&key, policy).unwrap();
    match &mut document {
        Document::Tenant(tenant) => match dice.below(4) {
            0 => {
                tenant.consent = Consent {
                    inherit: dice.one_in(2),
                    cap: dice
                        .one_in(2)
                        .then(|| level(dice.pick(&["block", "read_only", "full", "enhanced"]))),
                    raised: dice.one_in(2).then(|| Raise {
                        level: level(dice.pick(&["block", "limited_edit", "full", "enhanced"])),
                        until: near(dice),
                        by: some_givers(dice),
                    }),
                    by: some_givers(dice),
                    above: some_givers(dice).iter().map(|giver| giver.veiled("t")).collect(),
                    closed_at: dice.one_in(2).then(|| near(dice)),
                };
            }
            // A cycle of parents among them.
            1 => tenant.parent = Some(tid(dice.pick(&TENANTS))),
            2 if dice.one_in(2) => tenant.removed = Some(near(dice)),
            2 if dice.one_in(2) => drop(tenant.taken.insert(eid(dice.pick(&ENVIRONMENTS)), near(dice))),
            2 => tenant.parent = None,
            _ => tenant.environments = [eid(dice.pick(&["sandbox", "moon"]))].into(),
        },
        Document::Grant(grant) => match dice.below(7) {
            6 => grant.prolonged_by = some_givers(dice),
            0 => grant.until = near(dice),
            1 => grant.ended = end(dice),
            2 => grant.bound = dice.one_in(2).then(|| staff(dice.pick(&STAFF)).id),
            3 if dice.one_in(3) => grant.to = Grantee::Erased,
            3 => grant.to = Grantee::Email("anna@vendor.example".into()),
            4 => grant.environment = eid(dice.pick(&ENVIRONMENTS)),
            _ => grant.scope = Scope::Resources([("orders".parse().unwrap(), "o2".parse().unwrap())].into()),
        },
        Document::Session(session) => match dice.below(7) {
            6 => session.givers = some_givers(dice),
            0 => session.deadline = near(dice),
            1 => session.ended = end(dice),
            2 => session.role = Some(role(dice.pick(&ROLES))),
            3 => session.rights.retain(|_| dice.one_in(2)),
            4 => session.started = near(dice),
            5 if dice.one_in(2) => {
                let glass = postern::model::Glass {
                    cause: "stability".into(),
                    incident: "INC-1".into(),
                    reason: "why".into(),
                };
                session.basis = Basis::BreakGlass(glass);
            }
            _ => {
                let grants: Vec<_> = keys
                    .iter()
                    .filter_map(|key| match key {
                        Key::Grant(_, grant) => Some(grant.clone()),
                        _ => None,
                    })
                    .collect();
                session.basis = match grants.len() {
                    0 => Basis::Consent(level("full")),
                    n => Basis::Grant(grants[dice.below(n)].clone()),
                };
            }
        },
        Document::Member(member) => match dice.below(3) {
            0 => member.suspended = !member.suspended,
            1 => member.removed = dice.one_in(2).then(|| near(dice)),
            _ => member.roles = [role(dice.pick(&ROLES))].into(),
        },
        Document::Resource(_) | Document::Joined(_) | Document::Tally(_) => {
            panic!("what lies below tenants has histories of its own")
        }
        Document::Role(told) => match dice.below(5) {
            0 => told.removed = dice.one_in(2).then(|| near(dice)),
            1 => told.own = !told.own,
            2 => told.life += 1,
            3 => told.by = some_givers(dice),
            _ => told.permissions = [dice.pick(&PERMISSIONS).parse().unwrap()].into(),
        },
        Document::Grantor(grantor) => match dice.below(3) {
            0 => grantor.seen = at(near(dice).ms() - policy.grantor_memory_ms),
            1 => grantor.seen = near(dice),
            _ => drop(grantor.roles.insert([role(dice.pick(&ROLES))].into())),
        },
        Document::Stop(stop) => match dice.below(3) {
            0 => stop.set = None,
            1 => stop.closed_at = dice.one_in(2).then(|| near(dice)),
            _ => stop.others = dice.one_in(2),
        },
        // Nobody's rights hang on it.
        Document::Made(_) => {}
        // Somebody else's session, or one that is not there, in an index.
        Document::Request(request) => match dice.below(3) {
            0 => request.expires = near(dice),
            1 => request.approval = None,
            _ => request.level = level("enhanced"),
        },
        Document::Presence(Presence { sessions, .. }) => {
            for key in &keys {
                if let Key::Session(_, id) = key
                    && let Some(Document::Session(session)) = world.document(key, policy)
                {
                    sessions.insert(id.clone(), session.environment);
                }
            }
            sessions.insert(sid("s-none"), eid("production"));
        }
    }
    world.put(key, document);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn both_implementations_agree_on_whatever_documents_say(
        plain in policies(),
        steps in vec((any::<u64>(), 0..400u16), 1..30),
        changes in vec(any::<u64>(), 0..8),
        asks in vec(any::<u64>(), 24),
    ) {
        let policy = plain.compile();
        let (mut world, _, now) = play(&policy, &steps);
        for seed in changes {
            tamper(&mut Dice::new(seed), &mut world, now, &policy);
        }
        let documents = world.documents(&policy);
        let naive = Naive::read(&documents, &open_levels(&policy), now);
        for seed in asks {
            let (request, subject) = a_request(&mut Dice::new(seed), &naive);
            let decided = world.decide(&request, caller(&subject), now, &policy);
            let objections = naive.objections(&plain, &request, caller(&subject), now);
            if decided.allowed() {
                prop_assert!(objections.is_empty(), "against {:?}: {:?} by {:?}", objections, request, subject);
            } else {
                prop_assert!(objections.contains(decided.code()),
                    "{} is not in {:?}: {:?} by {:?}", decided.code(), objections, request, subject);
            }
            let again = world.decide(&request, caller(&subject), now, &policy);
            prop_assert_eq!(&again.decision, &decided.decision);
            // Time only ever takes away, where nothing else changes.
            if let Decision::Allow(permit) = &decided.decision
                && let Some(staff) = permit.staff()
            {
                let over = staff.deadline.at.ms();
                let named = Request { session: Name::of(staff.session.as_str()), ..request.clone() };
                let due = staff.deadline.due;
                prop_assert_eq!(world.decide(&named, caller(&subject), over - 1, &policy).allowed(), true);
                let then = world.decide(&named, caller(&subject), over, &policy);
                prop_assert!(matches!(due, Due::Exchange | Due::Consent) || !then.allowed());
                // A level that falls by the clock is decided again at that instant.
                let later = Naive::read(&documents, &open_levels(&policy), over);
                let objections = later.objections(&plain, &named, caller(&subject), over);
                prop_assert_eq!(then.allowed(), objections.is_empty(), "{} against {:?}", then.code(), objections);
            }
        }
    }
}
