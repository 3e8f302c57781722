//! That nothing of one history is gone by in another, whenever they part.

use proptest::prelude::*;

use super::*;

#[test]
fn what_was_read_before_a_part_was_begun_anew_says_nothing_after_it() {
    let leases = Leases::of(64);
    let holds = |since: &Stretches| since.hold(P, &leases.grounds(P));
    leases.in_force(P, 1, line(1));
    let (first, asked) = (leases.stretches(), leases.grounds(P));
    assert!(holds(&first) && Stretches::default().hold(P, &leases.grounds(P)));
    leases.leave(P);
    // Cells still show what is about to be forgotten.
    let between = leases.stretches();
    assert!(!holds(&first) && !holds(&between));
    leases.in_force(P, 5, line(5));
    assert!(!holds(&first) && !holds(&between) && holds(&leases.stretches()));
    assert!(
        holds(&first.clone()) == holds(&first) && first.hold(Part(4), &leases.grounds(Part(4))),
        "of another part"
    );
    // Nor does an answer that was under way; what was asked since does.
    assert!(!leases.loaded(P, &asked, (1, line(1))) && !leases.loaded(P, &asked, (7, line(7))));
    assert!(leases.loaded(P, &leases.grounds(P), (7, line(7))));
    assert_eq!((leases.grounds(P).claims, leases.suspicion(P)), (vec![(7, line(7))], None));
    // A change that was made meanwhile has documents here: what follows rests on it.
    leases.proved(P, &asked, Some((1, line(1))));
    assert_eq!(leases.grounds(P).claims, [(1, line(1)), (7, line(7))]);
}

#[test]
fn what_a_later_answer_proved_is_no_ground_again_by_an_earlier_one() {
    let leases = Leases::of(64);
    leases.in_force(P, 1, line(1));
    assert!(leases.loaded(P, &leases.grounds(P), (3, line(3))));
    // A beat and a load are under way at once, and the load is answered first.
    let asked = leases.grounds(P);
    assert!(leases.loaded(P, &asked, (5, line(5))));
    leases.proved(P, &asked, None);
    assert_eq!(leases.grounds(P).claims, [(5, line(5))]);
}

#[test]
fn what_an_old_primary_loads_is_refused_and_nothing_is_suspected_for_it() {
    let leases = Leases::of(64);
    leases.in_force(P, 1, line(1));
    let asked = leases.grounds(P);
    assert!(leases.loaded(P, &asked, (3, line(3))));
    leases.in_force(P, 2, line(2));
    for place in [(2, line(92)), (3, line(93))] {
        assert!(!leases.loaded(P, &asked, place));
        assert_eq!((leases.grounds(P).claims, leases.suspicion(P)), (vec![(3, line(3))], None));
    }
    // What a majority confirmed is another matter: then two histories are known.
    leases.proved(P, &asked, Some((2, line(92))));
    assert_eq!(leases.suspicion(P), Some(Suspicion::Forked));
    assert!(leases.leaving(P) && !Stretches::default().hold(P, &leases.grounds(P)));
}

/// What a gateway has in hand while histories part, and the question of a change: with the histories that it is of, which nothing here
/// compares.
#[derive(Default)]
struct Hand {
    /// What the cells show.
    cells: Vec<Lines>,
    /// How often they were emptied.
    emptied: usize,
    /// What changes were decided on.
    decided: Vec<(Vec<Lines>, Stretches)>,
    /// Loads under way.
    late: Vec<(Grounds, Lines, Stretches, usize)>,
}

impl Hand {
    /// The answer of a load is here: the cells keep it unless they were emptied meanwhile; whoever asked by themselves has it anyway.
    fn loaded(
        &mut self,
        leases: &Leases,
        (grounds, history, since, emptied): (Grounds, Lines, Stretches, usize),
    ) {
        let place = (history.len() as u64, history.last().map_or(Line::NONE, |at| line(*at)));
        if !leases.loaded(P, &grounds, place) {
            return;
        }
        if emptied == self.emptied {
            self.cells.push(history.clone());
        }
        self.decided.push((vec![history], since));
    }
}

proptest! {
    /// Whatever a part was begun anew from, and whenever, nobody makes a change of one history on what was read of another, though all their
    /// versions are the same.
    #[test]
    fn no_change_is_made_on_what_was_read_of_another_history(
        steps in proptest::collection::vec((0u8..13, 0usize..3), 1..160),
    ) {
        let leases = Leases::of(64);
        let mut servers: Vec<Lines> = vec![Vec::new(); 3];
        let (mut fresh, mut hand, mut forgotten) = (1_000, Hand::default(), true);
        for (what, which) in steps {
            let (grounds, since) = (leases.grounds(P), leases.stretches());
            let server = servers[which].clone();
            let has = answer(&server, &grounds).is_some();
            match what {
                0 | 1 => {
                    fresh += 1;
                    servers[which].push(fresh);
                }
                2 => servers[which] = servers[(which + 1) % 3].clone(),
                3 if has => hand.loaded(&leases, (grounds, server, since, hand.emptied)),
                4 if has => hand.late.push((grounds, server, since, hand.emptied)),
                5 => {
                    if let Some(load) = hand.late.pop() {
                        hand.loaded(&leases, load);
                    }
                }
                6 | 7 => hand.decided.push((hand.cells.clone(), since)),
                8 => {
                    let next = grounds.followed.0 as usize;
                    if let (true, false, Some(at)) = (has, grounds.leaving, server.get(next)) {
                        leases.in_force(P, next as u64 + 1, line(*at));
                        hand.cells.push(server[..=next].to_vec());
                    }
                }
                9 => {
                    leases.leave(P);
                    forgotten = false;
                }
                10 => {
                    hand.cells.clear();
                    hand.emptied += 1;
                    forgotten = true;
                }
                11 if forgotten && grounds.followed.0 == 0 => {
                    if let Some(last) = server.last() {
                        leases.in_force(P, server.len() as u64, line(*last));
                    }
                }
                _ => {
                    let decided = hand.decided.iter().filter(|(_, since)| has && since.hold(P, &grounds));
                    for (facts, _) in decided {
                        let known = facts.iter().all(|history| server.starts_with(history));
                        prop_assert!(known, "{facts:?} on {server:?}, which shows {grounds:?}");
                    }
                }
            }
        }
    }
}

/// A store's history: the lines of its places, from the first.
type Lines = Vec<u64>;

/// What came of asking a server, under what was known when it was asked.
fn answer(server: &Lines, grounds: &Grounds) -> Option<(u64, Line)> {
    let known = [grounds.followed].into_iter().chain(grounds.claims.iter().copied());
    let has = |(number, known): (u64, Line)| {
        number == 0 || server.get(number as usize - 1).is_some_and(|at| line(*at) == known)
    };
    let number = server.len() as u64;
    known.into_iter().all(has).then(|| (number, server.last().map_or(Line::NONE, |at| line(*at))))
}

proptest! {
    /// Whatever was answered is on the way to something that the next question names, or the part is suspect.
    #[test]
    fn nothing_known_is_left_out_of_the_grounds(steps in proptest::collection::vec((0u8..7, 0usize..3), 1..120)) {
        let leases = Leases::of(64);
        let mut servers: Vec<Lines> = vec![Vec::new(); 3];
        let mut fresh = 1_000;
        // Each line names the history up to it, so it says what lies on the way.
        let mut before: std::collections::BTreeMap<u64, Lines> = Default::default();
        let mut known: Vec<u64> = Vec::new();
        let mut late: Vec<(Grounds, u64, Line)> = Vec::new();
        let number_of = |text: Line| u64::from_str_radix(text.as_str(), 16).ok();
        for (what, which) in steps {
            let grounds = leases.grounds(P);
            match what {
                0 | 1 => {
                    fresh += 1;
                    servers[which].push(fresh);
                    before.insert(fresh, servers[which].clone());
                }
                2 => servers[which] = servers[(which + 1) % 3].clone(),
                3 => {
                    if let Some((number, at)) = answer(&servers[which], &grounds)
                        && leases.loaded(P, &grounds, (number, at))
                    {
                        known.extend(number_of(at));
                    }
                }
                4 => {
                    if let Some((number, at)) = answer(&servers[which], &grounds) {
                        late.push((grounds, number, at));
                    } else if let Some((grounds, number, at)) = late.pop() {
                        leases.proved(P, &grounds, Some((number, at)));
                        known.extend(number_of(at));
                    }
                }
                5 => {
                    let next = grounds.followed.0 as usize;
                    if let (Some(_), Some(at)) = (answer(&servers[which], &grounds), servers[which].get(next)) {
                        leases.in_force(P, next as u64 + 1, line(*at));
                        known.push(*at);
                    }
                }
                _ => {
                    if answer(&servers[which], &grounds).is_some() {
                        leases.proved(P, &grounds, None);
                    }
                }
            }
            if leases.suspicion(P).is_some() {
                break;
            }
            let grounds = leases.grounds(P);
            let named = [grounds.followed].into_iter().chain(grounds.claims).filter_map(|(_, at)| number_of(at));
            let ways: Vec<&Lines> = named.filter_map(|at| before.get(&at)).collect();
            for at in &known {
                prop_assert!(ways.iter().any(|way| way.contains(at)), "{at} is left out");
            }
        }
    }
}
