use super::*;

fn item(seq: u64) -> Recorded {
    let record = RawValue::from_string(format!("{{\"seq\":{seq}}}")).unwrap();
    Recorded { seq, leaf: String::new(), record, open: None }
}

/// A ledger with items of these times, every second record being one; `until` where it was not read to its end.
fn ledger(log: &str, times: &[i64], until: Option<i64>) -> Ledger {
    let items: Vec<_> = (0u64..).zip(times).map(|(n, at)| (*at, item(2 * n + 1))).collect();
    let next = 2 * times.len() as u64 + 2;
    Ledger {
        gateway: log.to_uppercase(),
        log: log.to_owned(),
        size: if until.is_some() { next + 100 } else { next },
        items,
        next,
        complete: until.is_none(),
        until,
        of: None,
    }
}

/// The merged items as `log seq`, the places, what is complete.
fn merged(mut ledgers: Vec<Ledger>, limit: usize) -> (Vec<String>, Vec<u64>, Vec<bool>) {
    let merged = merge(&mut ledgers, limit);
    let items = merged.items.iter().map(|(n, item)| format!("{} {}", ledgers[*n].log, item.seq)).collect();
    (items, merged.next, merged.complete)
}

#[test]
fn ledgers_are_merged_by_time_then_ledger_then_place() {
    let three = || {
        vec![ledger("b", &[10, 20, 20], None), ledger("a", &[10, 30], None), ledger("c", &[5, 20, 40], None)]
    };
    let all = ["c 1", "a 1", "b 1", "b 3", "b 5", "c 3", "a 3", "c 5"].map(str::to_owned);
    assert_eq!(merged(three(), 100), (all.to_vec(), vec![8, 6, 8], vec![true, true, true]));
    // What there is no room for is where it goes on, in its own ledger.
    let (items, next, complete) = merged(three(), 4);
    assert_eq!((items, next, complete), (all[..4].to_vec(), vec![5, 3, 3], vec![false, false, false]));
    let (items, next, complete) = merged(three(), 6);
    assert_eq!((items, next, complete), (all[..6].to_vec(), vec![8, 3, 5], vec![true, false, false]));
}

#[test]
fn nothing_is_shown_before_what_an_unread_ledger_may_still_have() {
    // `a` was read up to the time 15 and has nothing up to there: of `b` only what is not later is shown.
    let two = || vec![ledger("b", &[10, 15, 16, 20], None), ledger("a", &[], Some(15))];
    let (items, next, complete) = merged(two(), 100);
    assert_eq!(items, ["b 1", "b 3"]);
    assert_eq!((next, complete), (vec![5, 2], vec![false, false]));
    // With items of its own it holds up the others behind the last of them.
    let (items, next, _) = merged(vec![ledger("b", &[10, 50], None), ledger("a", &[20, 30], Some(40))], 100);
    assert_eq!((items.as_slice(), next), (["b 1", "a 1", "a 3"].map(str::to_owned).as_slice(), vec![3, 6]));
}

#[test]
fn a_ledgers_own_order_stays_where_its_clock_was_set_back() {
    let (items, ..) = merged(vec![ledger("a", &[30, 10, 20], None), ledger("b", &[15, 40], None)], 100);
    assert_eq!(items, ["b 1", "a 1", "a 3", "a 5", "b 3"]);
}

#[test]
fn page_by_page_each_record_comes_once_and_in_the_same_order() {
    let times: [&[i64]; 3] = [&[1, 4, 4, 9, 12, 30], &[2, 4, 8, 8, 31], &[0, 4, 4, 40]];
    let whole = || {
        let logs = ["a", "b", "c"].iter().zip(times);
        logs.map(|(log, times)| ledger(log, times, None)).collect::<Vec<_>>()
    };
    let (all, ..) = merged(whole(), 100);
    assert_eq!(all.len(), 15);
    for limit in 1..16 {
        let (mut seen, mut places) = (Vec::new(), vec![0; 3]);
        for _ in 0..16 {
            let mut rest = whole();
            for (ledger, place) in rest.iter_mut().zip(&places) {
                // Each answers so many behind its place, as a gateway does.
                ledger.items.retain(|(_, item)| item.seq >= *place);
                if ledger.items.len() > limit {
                    ledger.items.truncate(limit);
                    let (at, last) = ledger.items.last().unwrap();
                    (ledger.until, ledger.next, ledger.complete) = (Some(*at), last.seq + 1, false);
                }
            }
            let (items, next, _) = merged(rest, limit);
            seen.extend(items);
            places = next;
        }
        assert_eq!(seen, all, "{limit} at a time");
    }
}
