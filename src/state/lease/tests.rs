//! What leases promise, in examples and as properties.

mod histories;

use proptest::prelude::*;

use super::*;

const P: Part = Part(3);

fn line(number: u64) -> Line {
    Line::parse(format!("{number:020x}").as_bytes()).unwrap()
}

fn age(leases: &Leases, now: i64) -> Age {
    leases.age(Parts::of(P), now)
}

#[test]
fn an_embedded_store_is_known_at_any_time_and_another_never_until_a_beat() {
    assert_eq!(Leases::always().age(Parts::of(P), i64::MAX), Age::NONE);
    let leases = Leases::of(64);
    assert_eq!(age(&leases, 5), Age::Never);
    assert_eq!(leases.age(Parts::NONE, 5), Age::NONE, "what rests on nothing of the store");
    leases.renew(P, 100);
    assert_eq!(age(&leases, 130), Age::Known(30));
    assert_eq!(age(&leases, 90), Age::Known(0));
    assert_eq!(leases.age(Parts::of(P).with(Part(4)), 130), Age::Never);
    assert_eq!(leases.age(Parts::of(Part(64)), 130), Age::Never);
    assert_eq!(Leases::of(8).age(Parts::of(Part(8)), 130), Age::Never);
}

#[test]
fn a_renewal_waits_for_everything_up_to_the_head_it_told() {
    let leases = Leases::of(64);
    leases.in_force(P, 10, Line::NONE);
    assert_eq!(leases.renew_up_to(P, 100, 10, line(10)), Renewal::Given, "it takes the line where it began");
    assert_eq!(leases.followed(P), (10, line(10)));
    assert_eq!(leases.renew_up_to(P, 200, 12, line(12)), Renewal::Kept);
    assert_eq!(leases.renew_up_to(P, 300, 13, line(13)), Renewal::Kept);
    leases.in_force(P, 11, line(11));
    assert_eq!(leases.known(P), Some(100));
    leases.in_force(P, 12, line(12));
    assert_eq!(leases.known(P), Some(200));
    leases.in_force(P, 13, line(13));
    leases.in_force(P, 14, line(14));
    assert_eq!(leases.known(P), Some(300));
    assert_eq!(leases.renew_up_to(P, 400, 13, line(13)), Renewal::Given, "passed, and its line remembered");
    assert_eq!(leases.renew_up_to(P, 350, 14, line(14)), Renewal::Given);
    assert_eq!(leases.known(P), Some(400), "an older answer that comes late lowers nothing");
}

#[test]
fn an_empty_part_is_known_by_its_beat_alone() {
    let leases = Leases::of(1);
    assert_eq!(leases.renew_up_to(Part(0), 7, 0, Line::NONE), Renewal::Given);
    assert_eq!(leases.age(Parts::of(Part(0)), 9), Age::Known(2));
}

#[test]
fn another_line_at_the_place_followed_to_is_a_fork_whichever_comes_first() {
    let leases = Leases::of(64);
    leases.in_force(P, 10, line(10));
    assert_eq!(leases.renew_up_to(P, 100, 10, line(99)), Renewal::Forked);
    assert_eq!((leases.known(P), leases.suspicion(P)), (None, Some(Suspicion::Forked)));
    let leases = Leases::of(64);
    leases.in_force(P, 10, line(10));
    leases.renew_up_to(P, 100, 11, line(99));
    leases.in_force(P, 11, line(11));
    assert_eq!((leases.known(P), leases.suspicion(P)), (None, Some(Suspicion::Forked)));
    assert_eq!(age(&leases, 100), Age::Suspect);
}

#[test]
fn what_was_passed_without_a_trace_renews_nothing() {
    let leases = Leases::of(64);
    leases.in_force(P, 10, line(10));
    leases.renew_up_to(P, 100, 11, line(11));
    leases.in_force(P, 20, line(20));
    assert_eq!(leases.known(P), None);
    assert_eq!(leases.renew_up_to(P, 100, 15, line(15)), Renewal::Passed);
    assert_eq!(leases.renew_up_to(P, 100, 20, line(20)), Renewal::Given);
}

#[test]
fn suspicion_beats_everything_keeps_its_first_reason_and_is_announced() {
    let leases = Leases::of(64);
    let mut doubts = leases.doubts();
    leases.renew(P, 100);
    leases.suspect(P, Some(Suspicion::PlaceBehind));
    leases.suspect(P, Some(Suspicion::Unmarked));
    assert_eq!(leases.suspicion(P), Some(Suspicion::PlaceBehind));
    assert_eq!(leases.age(Parts::first(64), 100), Age::Suspect, "worse than never");
    assert!(doubts.has_changed().unwrap() && doubts.borrow_and_update().contains(P));
    leases.renew(P, 200);
    assert_eq!(age(&leases, 200), Age::Suspect);
    leases.suspect(P, None);
    assert_eq!((age(&leases, 200), leases.suspicion(P)), (Age::Known(0), None));
    assert!(doubts.borrow_and_update().is_empty());
}

#[test]
fn a_new_epoch_forgets_renewals_that_wait() {
    let leases = Leases::of(64);
    let id = Uuid::from_u128(1);
    leases.expect(P, id, 1);
    leases.renew_up_to(P, 100, 1, line(1));
    leases.expect(P, id, 1);
    leases.in_force(P, 1, line(1));
    assert_eq!(leases.known(P), Some(100));
    leases.renew_up_to(P, 200, 2, line(2));
    leases.expect(P, id, 2);
    leases.in_force(P, 2, line(2));
    assert_eq!((leases.known(P), leases.expected(P)), (Some(100), Some((id, 2))));
}

#[test]
fn what_is_known_out_of_turn_stands_apart_until_it_is_reached() {
    let leases = Leases::of(64);
    leases.in_force(P, 1, line(1));
    let none = leases.grounds(P);
    assert_eq!((none.followed, none.claims.as_slice()), ((1, line(1)), &[][..]));
    // Three answers that were under way at once, and one that says nothing new.
    leases.proved(P, &none, Some((3, line(3))));
    leases.proved(P, &none, Some((5, line(5))));
    leases.proved(P, &none, Some((4, line(4))));
    leases.proved(P, &none, Some((1, line(1))));
    let three = leases.grounds(P);
    assert_eq!((three.claims.len(), three.top()), (3, 5));
    // A change whose store was found to have all of them stands for them.
    leases.proved(P, &three, Some((7, line(7))));
    assert_eq!(leases.grounds(P).claims, [(7, line(7))]);
    // A beat that says no more than that it has them leaves the highest.
    leases.proved(P, &none, Some((6, line(6))));
    leases.proved(P, &leases.grounds(P), None);
    assert_eq!(leases.grounds(P).claims, [(7, line(7))]);
    (2..=7).for_each(|number| leases.in_force(P, number, line(number)));
    assert_eq!((leases.grounds(P).claims, leases.suspicion(P)), (vec![], None));
    // An answer that comes when it was passed long ago is settled by the next one.
    (8..=500).for_each(|number| leases.in_force(P, number, line(number)));
    leases.proved(P, &none, Some((8, line(8))));
    assert_eq!(leases.grounds(P).claims, [(8, line(8))]);
    leases.proved(P, &leases.grounds(P), None);
    assert_eq!((leases.grounds(P).claims, leases.suspicion(P)), (vec![], None));
}

#[test]
fn what_is_known_out_of_turn_and_is_of_another_history_makes_the_part_suspect() {
    let of = || {
        let leases = Leases::of(64);
        leases.in_force(P, 1, line(1));
        leases
    };
    // Reached by the chain; by another answer; passed by the chain.
    let chain = of();
    chain.proved(P, &chain.grounds(P), Some((3, line(99))));
    chain.in_force(P, 2, line(2));
    assert_eq!(chain.suspicion(P), None);
    chain.in_force(P, 3, line(3));
    let answers = of();
    let before = answers.grounds(P);
    answers.proved(P, &before, Some((3, line(3))));
    answers.proved(P, &before, Some((3, line(99))));
    let passed = of();
    let before = passed.grounds(P);
    passed.in_force(P, 2, line(2));
    passed.proved(P, &before, Some((2, line(99))));
    for leases in [&chain, &answers, &passed] {
        assert_eq!(leases.suspicion(P), Some(Suspicion::Forked));
    }
    // A renewal that waits for that place is none.
    let waits = of();
    waits.proved(P, &waits.grounds(P), Some((2, line(99))));
    assert_eq!(waits.renew_up_to(P, 100, 2, line(2)), Renewal::Kept);
    waits.in_force(P, 2, line(2));
    assert_eq!((waits.known(P), waits.suspicion(P)), (None, Some(Suspicion::Forked)));
}

#[test]
fn what_is_to_be_forgotten_renews_nothing_until_it_is_followed_anew() {
    let id = Uuid::from_u128(1);
    let known = || {
        let leases = Leases::of(64);
        leases.expect(P, id, 1);
        leases.in_force(P, 1, line(1));
        leases.proved(P, &leases.grounds(P), Some((2, line(2))));
        leases
    };
    let (left, healed) = (known(), known());
    left.leave(P);
    healed.expect(P, id, 2);
    for leases in [left, healed] {
        assert!(leases.leaving(P));
        assert_eq!((leases.grounds(P).followed, leases.grounds(P).claims.len()), ((0, Line::NONE), 0));
        assert_eq!(leases.renew_up_to(P, 100, 0, Line::NONE), Renewal::Kept);
        leases.proved(P, &leases.grounds(P), Some((9, line(9))));
        leases.in_force(P, 8, line(8));
        assert!(!leases.leaving(P));
        assert_eq!(leases.grounds(P).claims, [(9, line(9))], "what was loaded meanwhile counts");
        assert_eq!(leases.renew_up_to(P, 200, 8, line(8)), Renewal::Given);
    }
    // Of a part that is suspect what was known stays known.
    let suspect = known();
    suspect.suspect(P, Some(Suspicion::Forked));
    assert_eq!((suspect.leaving(P), suspect.grounds(P).claims.len()), (false, 1));
    // Where nothing was known there is nothing to forget.
    let new = Leases::of(64);
    new.suspect(P, Some(Suspicion::Unmarked));
    new.suspect(P, None);
    new.expect(P, id, 1);
    assert!(!new.leaving(P));
}

#[test]
fn what_a_link_was_told_is_not_waited_for_when_it_ended() {
    let leases = Leases::of(64);
    leases.in_force(P, 1, line(1));
    leases.renew_up_to(P, 100, 2, line(2));
    leases.unlinked(Parts::of(P));
    leases.in_force(P, 2, line(2));
    assert_eq!(leases.known(P), None);
}

#[test]
fn a_follower_that_stays_behind_is_still_renewed_by_the_beats_it_reaches() {
    let leases = Leases::of(64);
    for beat in 1..=100 {
        leases.renew_up_to(
            P,
            beat,
            u64::try_from(beat).unwrap() * 10,
            line(u64::try_from(beat).unwrap() * 10),
        );
    }
    (1..=20).for_each(|number| leases.in_force(P, number, line(number)));
    assert_eq!(leases.known(P), Some(2));
    (21..=1000).for_each(|number| leases.in_force(P, number, line(number)));
    assert_eq!(leases.known(P), Some(100));
}

#[test]
fn sets_of_parts_hold_what_was_put_in() {
    let set: Parts = [Part(0), Part(63), Part(7)].into_iter().collect();
    assert_eq!(set.each().collect::<Vec<_>>(), [Part(0), Part(7), Part(63)]);
    assert_eq!((set.count(), set.contains(Part(8)), Parts::first(64).count()), (3, false, 64));
    assert_eq!(Parts::first(2).each().collect::<Vec<_>>(), [Part(0), Part(1)]);
    assert!(set.without(Part(0)).without(Part(7)).without(Part(63)).is_empty());
    assert_eq!(Parts::of(Part(64)), Parts::first(64), "what no store has stands for all");
}

#[test]
fn lines_are_twenty_digits_or_nothing() {
    assert_eq!(Line::parse(b""), Some(Line::NONE));
    assert_eq!(line(255).as_str(), "000000000000000000ff");
    assert_eq!((Line::parse(b"ff"), Line::parse(&[b'F'; 20]), Line::NONE.as_str()), (None, None, ""));
}

#[test]
fn every_suspicion_has_a_code_and_comes_back_from_its_number() {
    let mut codes: Vec<_> = Suspicion::ALL.iter().map(|why| why.code()).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), Suspicion::ALL.len());
    assert!(Suspicion::ALL.iter().all(|why| Suspicion::from_number(*why as u8) == Some(*why)));
    assert_eq!(Suspicion::from_number(0), None);
}

proptest! {
    #[test]
    fn a_lease_only_rises_and_a_set_is_as_old_as_its_oldest(
        renewals in prop::collection::vec((0u16..8, 0i64..1000), 0..60),
        asked in prop::collection::vec(0u16..8, 1..8),
    ) {
        let leases = Leases::of(8);
        let mut model = [None::<i64>; 8];
        for (part, sent) in renewals {
            leases.renew(Part(part), sent);
            let slot = &mut model[usize::from(part)];
            *slot = (*slot).max(Some(sent));
            prop_assert_eq!(leases.known(Part(part)), *slot);
        }
        let parts: Parts = asked.iter().copied().map(Part).collect();
        let oldest = asked.iter().map(|part| model[usize::from(*part)]).min().unwrap();
        let expected = oldest.map_or(Age::Never, |known| Age::Known(u64::try_from(1000 - known).unwrap()));
        prop_assert_eq!(leases.age(parts, 1000), expected);
    }

    /// Against a follower that applies one change after the other and beats that tell any head in any order of
    /// answering: a part is never known as of a beat whose head is not in force, or whose line was another.
    #[test]
    fn no_beat_counts_before_its_changes_are_in_force(steps in prop::collection::vec((any::<bool>(), 0u64..6, any::<bool>()), 0..120)) {
        let leases = Leases::of(1);
        let part = Part(0);
        let (mut followed, mut now, mut right) = (0u64, 0i64, Vec::new());
        for (beat, ahead, lie) in steps {
            now += 1;
            if beat {
                let head = followed + ahead;
                let told = if lie && head > 0 { line(head + 1_000_000) } else { line(head) };
                right.push((now, head, told == line(head) || head == 0));
                leases.renew_up_to(part, now, head, if head == 0 { Line::NONE } else { told });
            } else {
                followed += 1;
                leases.in_force(part, followed, line(followed));
            }
            if let Some(known) = leases.known(part) {
                let good = right.iter().any(|(sent, head, honest)| *sent == known && *head <= followed && *honest);
                prop_assert!(good, "known as of {known}, followed to {followed}");
            }
        }
    }
}
