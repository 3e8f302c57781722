//! What leases promise, in examples and as properties.

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
