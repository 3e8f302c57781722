use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::*;
use crate::{
    audit::{
        own::Filters,
        record::{self, Lead},
        tree::Hash,
    },
    model::TenantId,
};

const LOG: &str = "example.com/gw2";

fn record_of(seq: u64, log: &str, rest: &str) -> Recorded {
    let mut line = Vec::new();
    let lead = Lead {
        log,
        seq,
        batch: seq,
        at_ms: 1_000 + i64::try_from(seq).unwrap(),
        kind: "change.intent",
        session: None,
        opens: None,
        closes: None,
        prev: Hash::ZERO,
    };
    record::push_lead(&mut line, &lead);
    line.extend_from_slice(rest.as_bytes());
    line.push(b'}');
    let leaf = record::parse(&line).unwrap().hash().hex();
    Recorded {
        seq,
        leaf,
        record: RawValue::from_string(String::from_utf8(line).unwrap()).unwrap(),
        open: None,
    }
}

fn own(seq: u64) -> Recorded {
    record_of(seq, LOG, ",\"tenant\":\"acme\"")
}

fn asked() -> Asked {
    let tenant = TenantId::new("acme").unwrap();
    Asked {
        filters: Filters { tenant, kind: None, session: None, of: None, since: None },
        begin: None,
        places: BTreeMap::from([(Mark::of(LOG), 4)]),
        limit: 3,
    }
}

fn answer(items: Vec<Recorded>) -> Part {
    Part { gateway: "gw2".into(), log: LOG.into(), size: 20, items, next: 20, complete: true, until: None }
}

fn judged(change: impl FnOnce(&mut Part)) -> Result<Ledger, PeerFault> {
    let mut answered = answer(vec![own(5), own(9)]);
    change(&mut answered);
    part(answered, &asked(), "gw2", LOG)
}

#[test]
fn what_fits_is_believed_and_bears_its_times() {
    let ledger = judged(|_| {}).unwrap();
    let times: Vec<i64> = ledger.items.iter().map(|(at, _)| *at).collect();
    assert_eq!((times, ledger.next, ledger.complete), (vec![1_005, 1_009], 20, true));
}

#[test]
fn records_that_were_not_asked_for_are_told_from_what_cannot_be_read() {
    for rest in [
        ",\"tenant\":\"globex\"",
        "",
        ",\"about\":{\"tenant\":\"acme\"}",
        ",\"tenant\":\"acme-west\"",
        ",\"tenant\":null,\"reason\":\"acme\"",
    ] {
        let fault = judged(|part| part.items.push(record_of(12, LOG, rest))).unwrap_err();
        assert_eq!(fault, PeerFault::NotAsked, "{rest}");
    }
    let mut late = asked();
    late.filters.since = Some(1_006);
    assert_eq!(part(answer(vec![own(5)]), &late, "gw2", LOG).unwrap_err(), PeerFault::NotAsked);
}

#[test]
fn what_contradicts_itself_is_not_believed() {
    type Change = fn(&mut Part);
    let malformed: &[(&str, Change)] = &[
        ("a record before the place", |part| part.items.insert(0, own(3))),
        ("a record twice", |part| part.items.push(own(9))),
        ("out of order", |part| part.items.reverse()),
        ("a record behind the end", |part| part.items.push(own(20))),
        ("another place than the record's", |part| part.items[0].seq = 6),
        ("another hash", |part| part.items[0].leaf = "0".repeat(64)),
        ("another record than the hash's", |part| part.items[0].record = own(6).record),
        ("of another log", |part| part.items.push(record_of(12, "example.com/gw1", ",\"tenant\":\"acme\""))),
        ("no record", |part| part.items[0].record = RawValue::from_string("{}".to_owned()).unwrap()),
        ("values to erase within it", |part| {
            let text = own(5).record.get().replace("\"tenant\"", "\"open\":1,\"tenant\"");
            part.items[0].record = RawValue::from_string(text).unwrap();
        }),
        ("a line break in a record", |part| {
            let text = own(5).record.get().replace(",\"tenant\"", ",\n\n\"tenant\"");
            part.items[0].record = RawValue::from_string(text).unwrap();
        }),
        ("a line break beside it", |part| {
            part.items[0].open =
                Some(RawValue::from_string("[\n\nevent: end\n\n]".replace("event: end", "1")).unwrap());
        }),
        ("more than was asked for", |part| part.items.extend([own(10), own(11)])),
        ("further than there is", |part| part.next = 21),
        ("back", |part| part.next = 3),
        ("all and not all", |part| part.next = 19),
        ("not a step", |part| {
            (part.next, part.complete, part.until, part.items) = (4, false, Some(0), vec![])
        }),
        ("no word of how far", |part| part.complete = false),
    ];
    for (what, change) in malformed {
        let fault = judged(*change).err();
        assert!(matches!(fault, Some(PeerFault::Malformed(_))), "{what}: {fault:?}");
    }
    assert_eq!(judged(|part| part.gateway = "gw3".into()).unwrap_err(), PeerFault::OtherGateway);
    assert_eq!(judged(|part| part.log = "example.com/gw1".into()).unwrap_err(), PeerFault::OtherLog);
}

#[test]
fn whoever_is_asked_says_their_name_and_a_log_that_can_be_one() {
    let answers = |gateway: &str, log: &str| {
        who(&Who { gateway: gateway.into(), log: log.into(), size: 0 }, "gw2").err()
    };
    assert_eq!(answers("gw2", LOG), None);
    assert_eq!(answers("gw1", LOG), Some(PeerFault::OtherGateway));
    for log in ["", "a\"b", "a b", "a\nb"] {
        assert!(matches!(answers("gw2", log), Some(PeerFault::Malformed(_))), "{log:?}");
    }
}

#[test]
fn a_mark_is_written_in_one_way() {
    let mark = Mark::of(LOG);
    let text = serde_json::to_string(&mark).unwrap();
    assert_eq!(serde_json::from_str::<Mark>(&text).unwrap(), mark);
    assert_ne!(mark, Mark::of("example.com/gw1"));
    for bad in ["\"\"", "\"1\"", "\"+000000000000001\"", "\"000000000000000G\"", "\"00000000000000AB\"", "1"]
    {
        assert!(serde_json::from_str::<Mark>(bad).is_err(), "{bad}");
    }
}
