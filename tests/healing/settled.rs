//! What the machine says next, case by case: what is waited for, what is never done, and how long.

use std::collections::BTreeSet;

use postern::state::{
    Line,
    healing::{Cursor, Head, Healing, Look, Next, Proof, Reached, Round, Seen, Sight, Under, next},
};
use uuid::Uuid;

use crate::model::line_of;

const STORE: Uuid = Uuid::from_u128(1);
const GRACE: i64 = 30_000;

fn line(number: u64) -> Line {
    line_of(&[&number.to_string()])
}

fn head(epoch: u32, number: u64) -> Head {
    Head { id: STORE, was: Vec::new(), epoch, number, line: line(number), round: None }
}

fn seen(epoch: u32, number: u64) -> Seen {
    let line = line(number);
    Seen { store: Some(STORE), epoch, number, line, whole: true, ..Seen::default() }
}

/// What a store of this head shows to somebody who saw this, where it goes on from there.
fn sight(head: Head, seen: &Seen) -> Sight {
    Sight { head: Some(head), line_at: seen.line, cursor: None }
}

fn at(sight: &Sight, seen: Option<&Seen>, now_ms: i64, healing: &mut Healing) -> Next {
    let gateways: BTreeSet<String> = ["me", "other"].map(str::to_owned).into();
    let look = Look { sight, seen, me: "me", gateways: &gateways, now_ms, grace_ms: GRACE, fresh: "fresh" };
    next(&look, healing)
}

fn once(sight: &Sight, seen: Option<&Seen>) -> Next {
    at(sight, seen, 0, &mut Healing::default())
}

fn round(lost: bool, joined: &[(&str, bool)], progress: u64) -> Round {
    Round {
        name: "r".to_owned(),
        coming: 3,
        lost,
        awaited: ["me", "other"].map(str::to_owned).into(),
        joined: joined.iter().map(|(name, whole)| ((*name).to_owned(), *whole)).collect(),
        progress,
    }
}

#[test]
fn a_history_that_goes_on_is_served() {
    let seen = seen(2, 5);
    assert_eq!(once(&sight(head(2, 5), &seen), Some(&seen)), Next::Serve);
    assert_eq!(once(&sight(head(2, 9), &seen), Some(&seen)), Next::Serve);
    // Only the epoch is new.
    let Next::TakeUp(to) = once(&sight(head(3, 9), &seen), Some(&seen)) else { panic!() };
    assert_eq!(to, Seen { epoch: 3, ..seen });
}

// GW-04
#[test]
fn what_went_back_or_forked_is_marked() {
    let mine = seen(2, 5);
    let forked = Sight { line_at: line(99), ..sight(head(2, 9), &mine) };
    for (sight, number) in [(sight(head(2, 4), &mine), 5), (sight(head(1, 9), &mine), 5), (forked, 5)] {
        let Next::Mark(marking) = once(&sight, Some(&mine)) else { panic!("{sight:?}") };
        assert_eq!((marking.epoch, marking.number, marking.id), (2, number, STORE));
        assert_eq!(marking.expected, sight.head.map(|head| head.epoch));
        assert_eq!(marking.awaited, ["me", "other"].map(str::to_owned).into());
    }
    // Where others have healed it since, it is this gateway that is late.
    let behind = Seen { epoch: 1, ..mine.clone() };
    let next = once(&Sight { line_at: line(99), ..sight(head(2, 9), &mine) }, Some(&behind));
    assert!(matches!(next, Next::Join { under: Under::Sound(2), from: None, .. }), "{next:?}");
    // What can no longer be compared is no fault of the store, and no proof.
    for (mine, at) in [(mine.clone(), Line::NONE), (Seen { line: Line::NONE, ..mine }, line(5))] {
        let next = once(&Sight { line_at: at, ..sight(head(2, 9), &mine) }, Some(&mine));
        assert!(matches!(next, Next::Join { under: Under::Sound(2), from: None, .. }), "{next:?}");
    }
}

// GW-04
#[test]
fn who_misses_something_makes_no_head_anew() {
    let gone = Sight::default();
    let mine = seen(2, 5);
    let Next::Mark(marking) = once(&gone, Some(&mine)) else { panic!() };
    assert_eq!((marking.expected, marking.epoch, marking.number), (None, 2, 5));
    for unfit in [None, Some(Seen { whole: false, ..mine.clone() }), Some(Seen { store: None, ..mine })] {
        assert_eq!(once(&gone, unfit.as_ref()), Next::Lost);
    }
}

#[test]
fn another_store_is_left_alone() {
    let mine = Seen { store: Some(Uuid::from_u128(9)), ..seen(2, 5) };
    assert_eq!(once(&sight(head(2, 9), &mine), Some(&mine)), Next::OtherStore(STORE));
    let marked = Head { round: Some(round(false, &[], 0)), ..head(2, 9) };
    assert_eq!(once(&sight(marked, &mine), Some(&mine)), Next::OtherStore(STORE));
    // One that was made from it takes in what is known of it.
    let made = Head { was: vec![Uuid::from_u128(9)], ..head(0, 1) };
    let next = once(&sight(made, &mine), Some(&mine));
    assert!(matches!(next, Next::Join { under: Under::Sound(0), .. }), "{next:?}");
}

#[test]
fn who_does_not_come_is_waited_for_as_long_as_nothing_goes_on() {
    let mine = seen(2, 5);
    let mut healing = Healing::default();
    let with = |progress| {
        let round = round(false, &[("me", true)], progress);
        sight(Head { round: Some(round), ..head(2, 5) }, &mine)
    };
    assert_eq!(at(&with(1), Some(&mine), 1_000, &mut healing), Next::Wait { until_ms: 31_000 });
    assert_eq!(at(&with(1), Some(&mine), 30_999, &mut healing), Next::Wait { until_ms: 31_000 });
    // Somebody is slow, and gets on.
    assert_eq!(at(&with(2), Some(&mine), 31_000, &mut healing), Next::Wait { until_ms: 61_000 });
    let trust = |over| Next::Trust { round: "r".to_owned(), over };
    assert_eq!(at(&with(2), Some(&mine), 61_000, &mut healing), trust(true));
    let all = round(false, &[("me", true), ("other", false)], 3);
    let all = sight(Head { round: Some(all), ..head(2, 5) }, &mine);
    assert_eq!(at(&all, Some(&mine), 0, &mut Healing::default()), trust(false));
    // A lost head is waited for, however long, until somebody comes who misses nothing.
    let partial = Seen { whole: false, ..mine.clone() };
    let nobody = round(true, &[("me", false), ("other", false)], 3);
    let nobody = sight(Head { round: Some(nobody), ..head(2, 5) }, &partial);
    let mut healing = Healing::default();
    for now_ms in [0, 100_000, 10_000_000] {
        let next = at(&nobody, Some(&partial), now_ms, &mut healing);
        assert!(matches!(next, Next::Wait { .. }), "{next:?}");
    }
}

#[test]
fn an_attempt_goes_on_only_from_where_the_store_has_it() {
    let mine = seen(2, 5);
    let mut healing = Healing::default();
    let key = crate::world::words().keys[1].clone();
    let with = |cursor: Option<(&str, Reached)>| Sight {
        cursor: cursor.map(|(attempt, at)| Cursor { attempt: attempt.to_owned(), at }),
        line_at: line(99),
        ..sight(Head { round: Some(round(false, &[], 0)), ..head(2, 9) }, &mine)
    };
    let begins = at(&with(None), Some(&mine), 0, &mut healing);
    assert!(matches!(&begins, Next::Join { attempt, from: None, .. } if attempt == "fresh"), "{begins:?}");
    let goes_on = at(&with(Some(("fresh", Reached::Key(key.clone())))), Some(&mine), 0, &mut healing);
    assert!(matches!(&goes_on, Next::Join { from: Some(from), .. } if *from == key), "{goes_on:?}");
    // An attempt of before a crash, or none at all where a fail-over lost it: from the beginning.
    for lost in [None, Some(("earlier", Reached::End))] {
        let next = at(&with(lost), Some(&mine), 0, &mut healing);
        assert!(matches!(&next, Next::Join { from: None, .. }), "{next:?}");
    }
    let Next::Say(saying) = at(&with(Some(("fresh", Reached::End))), Some(&mine), 0, &mut healing) else {
        panic!()
    };
    assert_eq!(saying.proof, Proof::Pages("fresh".to_owned()));
    // What came to be known meanwhile is not proved by it.
    let more = Seen { number: 6, ..mine.clone() };
    let next = at(&with(Some(("fresh", Reached::End))), Some(&more), 0, &mut healing);
    assert!(matches!(&next, Next::Join { from: None, .. }), "{next:?}");
    // Who has joined, and whose line the store does not have, joins again.
    let joined = Head { round: Some(round(false, &[("me", true)], 1)), ..head(2, 9) };
    let next = once(&Sight { line_at: line(99), ..sight(joined, &mine) }, Some(&mine));
    assert!(matches!(&next, Next::Join { under: Under::Round(_), from: None, .. }), "{next:?}");
}
