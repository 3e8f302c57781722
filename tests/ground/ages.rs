//! What is known too long ago says neither yes nor no (rule 9), beside the same worlds in which everything is known as it is.

use postern::{
    model::{Basis, SubjectKind},
    policy::{Age, Caller, Decision},
};
use proptest::{collection::vec, prelude::*};

use crate::{
    histories::{Dice, a_request, caller, play},
    world::*,
};

/// Whether it is decided in a session by break-glass, as far as anybody can tell from the documents.
fn by_glass(decided: &Decided) -> bool {
    let allowed = matches!(&decided.decision, Decision::Allow(permit)
        if permit.staff().is_some_and(|staff| matches!(staff.basis, Basis::BreakGlass(_))));
    let read = decided.asked.iter().any(|key| match decided.facts.get(key) {
        Some(postern::policy::Fact::Found(found)) => matches!(&found.document,
            postern::model::Document::Session(session) if matches!(session.basis, Basis::BreakGlass(_))),
        _ => false,
    });
    allowed || read
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_too_old_is_gone_by_in_neither_way_and_what_needs_no_document_is_decided_as_ever(
        immediate in any::<bool>(),
        steps in vec((any::<u64>(), 0..800u16), 1..40),
        asks in vec(any::<u64>(), 24),
    ) {
        let policy = Plain::new(immediate).compile();
        let (mut world, naive, now) = play(&policy, &steps);
        for seed in asks {
            let (request, subject) = a_request(&mut Dice::new(seed), &naive);
            let caller = caller(&subject);
            let member = matches!(caller, Caller::Known(subject) if subject.kind == SubjectKind::Member);
            let mut decide = |age| {
                world.age = age;
                world.decide(&request, caller, now, &policy)
            };
            let whole = decide(Age::Now);
            let documents = !whole.asked.is_empty();
            // A writer's bound is a second; whoever broke the glass is decided on nothing that is old at all.
            let young = decide(Age::Known(1_000));
            if !by_glass(&whole) {
                prop_assert_eq!(&young.decision, &whole.decision);
            } else {
                prop_assert!(young.code() == "state_stale" || young.decision == whole.decision);
                prop_assert!(!(young.allowed() && young.code() == "session_by_break_glass"));
            }
            for (age, staff, members) in [
                (Age::Known(1_001), Some("state_stale"), None),
                (Age::Never, Some("state_stale"), Some("state_stale")),
                (Age::Suspect, Some("state_suspect"), None),
            ] {
                let decided = decide(age);
                match (if member { members } else { staff }).filter(|_| documents) {
                    Some(code) => prop_assert_eq!(decided.code(), code, "{:?}: {:?}", age, request),
                    None => prop_assert_eq!(&decided.decision, &whole.decision, "{:?}: {:?}", age, request),
                }
            }
        }
    }
}
