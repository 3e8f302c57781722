use std::sync::Arc;

use super::*;
use crate::model::{ChangeId, Consent, Document, EnvironmentId, LevelName, Tenant, TenantId, Version, Zone};

const P: Part = Part(3);

fn key(name: &str) -> Key {
    Key::Tenant(TenantId::new(name).unwrap())
}

fn after(before: Option<&Stored>, change: &str, level: &str) -> Stored {
    let consent = Consent::own(LevelName::new(level).unwrap());
    let environments = [EnvironmentId::new("production").unwrap()].into();
    let document = Document::Tenant(Tenant::new(None, Zone::UTC, environments, consent));
    Stored::after(before, ChangeId::new(change).unwrap(), document)
}

fn line(number: u64) -> Line {
    Line::parse(format!("{number:020x}").as_bytes()).unwrap()
}

fn note(shadow: &Shadow, name: &str, stored: &Stored, number: u64) {
    let documents = [(key(name), stored.clone())];
    shadow.follow(P, &documents, number, line(number));
}

fn code(result: Result<Shadow, ShadowFault>) -> &'static str {
    result.unwrap_err().code()
}

#[test]
fn what_was_noted_is_there_at_once_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shadow");
    let shadow = Shadow::open(&path).unwrap();
    assert!(shadow.made());
    assert_eq!(shadow.seen(P), None);
    let first = after(None, "c1", "full");
    let second = after(Some(&first), "c2", "block");
    shadow.committed(P, &[(key("b"), first.clone())], 9, line(9));
    note(&shadow, "b", &first, 1);
    assert_eq!(shadow.get(P, &key("b")).unwrap(), Some(first.clone()));
    shadow.flush().unwrap();
    note(&shadow, "b", &second, 2);
    note(&shadow, "a", &first, 3);
    shadow.meet("g1");
    shadow.meet("g2");
    let page = vec![(key("a"), first.clone()), (key("b"), second.clone())];
    assert_eq!(shadow.page(P, None, 9).unwrap(), page);
    assert_eq!(shadow.page(P, Some(&key("a")), 9).unwrap(), page[1..]);
    assert_eq!(shadow.page(P, None, 1).unwrap(), page[..1]);
    assert_eq!(shadow.page(Part(2), None, 9).unwrap(), []);
    let seen = shadow.seen(P).unwrap();
    assert_eq!((seen.number, seen.line), (3, line(3)));
    assert_eq!(code(Shadow::open(&path)), "shadow_locked");
    drop(shadow);

    let shadow = Arc::new(Shadow::open(&path).unwrap());
    assert!(!shadow.made());
    assert_eq!(shadow.page(P, None, 9).unwrap(), page);
    assert_eq!(shadow.seen(P), Some(Seen { recent: Default::default(), ..seen }));
    assert_eq!(Known::gateways(&shadow), ["g1", "g2"].map(str::to_owned).into());
}

// GW-04
#[test]
fn a_newer_state_is_never_replaced_by_an_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let shadow = Shadow::open(&dir.path().join("shadow")).unwrap();
    let first = after(None, "c1", "full");
    let second = after(Some(&first), "c2", "block");
    let other = after(Some(&first), "c3", "full");
    for flushed in [false, true] {
        note(&shadow, "a", &second, 2);
        if flushed {
            shadow.flush().unwrap();
        }
        note(&shadow, "a", &first, 1);
        assert_eq!(shadow.get(P, &key("a")).unwrap(), Some(second.clone()));
    }
    assert_eq!(shadow.seen(P).unwrap().number, 2);
    note(&shadow, "a", &other, 3);
    let both = join(&second, &other);
    assert_eq!(both.heads.len(), 2);
    assert_eq!(shadow.page(P, None, 1).unwrap(), [(key("a"), both.clone())]);
    shadow.flush().unwrap();
    assert_eq!(shadow.get(P, &key("a")).unwrap(), Some(both));
}

#[test]
fn pages_go_in_the_order_of_keys_whether_in_memory_or_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let shadow = Shadow::open(&dir.path().join("shadow")).unwrap();
    let names: Vec<String> = (0..40).map(|n| format!("t{n:02}")).collect();
    for (n, name) in names.iter().enumerate() {
        if n % 3 == 0 {
            note(&shadow, name, &after(None, "c1", "full"), n as u64);
        }
    }
    shadow.flush().unwrap();
    for (n, name) in names.iter().enumerate() {
        if n % 3 != 0 || n % 5 == 0 {
            note(&shadow, name, &after(None, "c1", "full"), n as u64);
        }
    }
    for size in [1, 2, 7, 100] {
        let (mut found, mut last) = (Vec::new(), None);
        loop {
            let page = shadow.page(P, last.as_ref(), size).unwrap();
            let short = page.len() < size;
            found.extend(page.into_iter().map(|(key, _)| key));
            if short {
                break;
            }
            last = found.last().cloned();
        }
        assert_eq!(found, names.iter().map(|name| key(name)).collect::<Vec<_>>());
    }
}

#[test]
fn what_is_damaged_empty_foreign_or_newer_is_said_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shadow");
    for bytes in [&b""[..], b"hello", b"redb\x1A\x0A\xA9\x0D\x0Ahello"] {
        std::fs::write(&path, bytes).unwrap();
        let fault = Shadow::open(&path).unwrap_err();
        assert_eq!(fault.code(), "shadow_damaged", "{fault}");
        assert!(fault.to_string().contains("move it away"), "{fault}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
    std::fs::remove_file(&path).unwrap();
    let shadow = Shadow::open(&path).unwrap();
    for n in 0..200 {
        note(&shadow, &format!("t{n}"), &after(None, "c1", "full"), n);
    }
    drop(shadow);
    let whole = std::fs::read(&path).unwrap();
    for cut in [whole.len() / 2, 5000] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert_eq!(code(Shadow::open(&path)), "shadow_damaged");
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(Shadow::open(&path).unwrap().page(P, None, 1000).unwrap().len(), 200);

    // A redb file of somebody else, and one of a later layout.
    let table: redb::TableDefinition<&str, &[u8]> = redb::TableDefinition::new("meta");
    for (label, expected) in [(None, "shadow_damaged"), (Some(r#"{"shadow":9}"#), "shadow_layout")] {
        std::fs::remove_file(&path).unwrap();
        let database = redb::Database::create(&path).unwrap();
        if let Some(label) = label {
            let write = database.begin_write().unwrap();
            write.open_table(table).unwrap().insert("label", label.as_bytes()).unwrap();
            write.commit().unwrap();
        }
        drop(database);
        assert_eq!(code(Shadow::open(&path)), expected);
    }
    std::fs::create_dir(dir.path().join("d")).unwrap();
    assert!(Shadow::open(&dir.path().join("d")).is_err());
    assert_eq!(code(Shadow::open(&dir.path().join("no/such"))), "shadow_io");
}

// GW-04
#[test]
fn what_a_crash_lost_comes_back_from_the_ledger_and_has_to_be_joined() {
    let dir = tempfile::tempdir().unwrap();
    let shadow = Shadow::open(&dir.path().join("shadow")).unwrap();
    let first = after(None, "c1", "full");
    let mut second = after(Some(&first), "c2", "block");
    second.version = Version { epoch: 2, number: 2 };
    note(&shadow, "a", &first, 4);
    let recorded =
        |number, stored: &Stored| Recorded { part: P, number, documents: vec![(key("a"), stored.clone())] };
    // What it has is no news.
    assert_eq!(shadow.top_up([recorded(Some(4), &first)]).unwrap(), 0);
    assert_eq!(shadow.seen(P).unwrap().line, line(4));
    let changes = [recorded(Some(4), &first), recorded(Some(7), &second), recorded(Some(4), &first)];
    assert_eq!(shadow.top_up(changes).unwrap(), 1);
    assert_eq!(shadow.get(P, &key("a")).unwrap(), Some(second.clone()));
    let seen = shadow.seen(P).unwrap();
    assert_eq!((seen.number, seen.line, seen.epoch, seen.gaps), (7, Line::NONE, 2, true));
    // A gateway that lost its shadow knows of no store, and something all the same.
    let other = Recorded { part: Part(5), ..recorded(None, &second) };
    assert_eq!(shadow.top_up([other]).unwrap(), 1);
    let seen = shadow.seen(Part(5)).unwrap();
    assert_eq!((seen.store, seen.number, seen.line, seen.whole), (None, 1, Line::NONE, false));
}

#[test]
fn what_is_known_out_of_turn_counts_when_the_chain_has_reached_it() {
    let mut seen = Seen { number: 5, line: line(5), ..Seen::default() };
    seen.claim(7, line(7));
    assert_eq!((seen.number, seen.top()), (5, 7));
    seen.follow(6, line(6));
    seen.follow(7, line(7));
    assert_eq!((seen.number, seen.line, seen.claims.len()), (7, line(7), 0));
    // The chain was faster.
    seen.claim(6, line(6));
    assert!(!seen.torn && seen.line == line(7));
    let mut torn = seen.clone();
    torn.claim(6, line(9));
    assert!(torn.torn);
    let mut torn = seen.clone();
    torn.claim(8, line(9));
    torn.follow(8, line(8));
    assert!(torn.torn);
    // What cannot be compared proves nothing.
    let mut jumped = seen.clone();
    jumped.claim(8, line(8));
    jumped.follow(10, line(10));
    assert_eq!((jumped.number, jumped.line, jumped.gaps, jumped.jumps), (10, Line::NONE, true, 1));
    let mut old = seen;
    old.claim(3, line(3));
    assert_eq!((old.number, old.line), (7, Line::NONE));
}

#[test]
fn another_place_is_taken_up_only_if_nothing_was_seen_since() {
    let dir = tempfile::tempdir().unwrap();
    let shadow = Arc::new(Shadow::open(&dir.path().join("shadow")).unwrap());
    let before = Known::seen(&shadow, P);
    note(&shadow, "a", &after(None, "c1", "full"), 1);
    let to = Seen { number: 9, line: line(9), whole: true, ..Seen::default() };
    assert!(!shadow.take_up(P, before.as_ref(), to.clone()));
    assert!(shadow.take_up(P, shadow.seen(P).as_ref(), to.clone()));
    assert_eq!(shadow.seen(P), Some(to));
}

/// Notes and crashes at any point: what was flushed is there, and no place is claimed without its documents.
#[test]
fn a_shadow_never_claims_a_place_whose_documents_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shadow");
    let copy = dir.path().join("copy");
    let shadow = Shadow::open(&path).unwrap();
    for n in 1..=300u64 {
        note(&shadow, &format!("t{n:03}"), &after(None, "c1", "full"), n);
        if n % 100 == 0 {
            shadow.flush().unwrap();
            std::fs::copy(&path, &copy).unwrap();
            let opened = Shadow::open(&copy).unwrap();
            let number = opened.seen(P).map_or(0, |seen| seen.number);
            assert_eq!(number, n);
            assert_eq!(opened.page(P, None, 1000).unwrap().len() as u64, number);
            drop(opened);
            std::fs::remove_file(&copy).unwrap();
        }
    }
}

/// A disk that takes nothing for a while, and somebody who copies a large store: they wait, and nothing is jumped over.
#[test]
fn who_copies_waits_for_the_disk_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let shadow = Arc::new(Shadow::open(&dir.path().join("shadow")).unwrap());
    let stored = after(None, "c1", "full");
    shadow.follow(P, &[], 1, line(1));
    shadow.flush().unwrap();
    let held = shadow.shared.base.held();
    let mut copied = 0;
    while !shadow.is_behind() {
        let page: Vec<_> =
            (copied..copied + 256).map(|n| (key(&format!("org-{n:07}")), stored.clone())).collect();
        Known::note(&shadow, P, &page, 1, line(1));
        copied += 256;
        assert!(copied < 1_000_000, "nobody says that the disk is behind");
    }
    assert!(shadow.shared.lock().buffer.layer.bytes < MOST / 2);
    assert!(!shadow.seen(P).unwrap().gaps, "something was jumped over");
    held.abort().unwrap();
    shadow.flush().unwrap();
    assert!(!shadow.is_behind());
    assert_eq!(shadow.get(P, &key(&format!("org-{:07}", copied - 1))).unwrap(), Some(stored));
}

/// The first state of a tenant, which is at `block`, and one so long after it that it remembers it no more.
fn long_apart() -> (Stored, Stored) {
    let first = after(None, "c00", "block");
    let last = (1..=40).fold(first.clone(), |before, n| after(Some(&before), &format!("c{n:02}"), "full"));
    assert!(!last.remembers(&first.heads[0].change));
    (first, last)
}

#[test]
fn a_copied_page_takes_the_place_of_what_is_long_outdated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shadow");
    let shadow = Arc::new(Shadow::open(&path).unwrap());
    let (first, last) = long_apart();
    let now = |shadow: &Shadow, name: &str| {
        let page = shadow.page(P, None, 9).unwrap();
        let found = page.into_iter().find(|(of, _)| *of == key(name)).unwrap().1;
        assert_eq!(shadow.get(P, &key(name)).unwrap().unwrap(), found);
        found
    };
    // One of them lies in the file, one only in memory.
    note(&shadow, "a", &first, 1);
    shadow.flush().unwrap();
    note(&shadow, "b", &first, 2);
    Known::note(&shadow, P, &[(key("a"), last.clone()), (key("b"), last.clone())], 2, line(2));
    for name in ["a", "b"] {
        assert_eq!(now(&shadow, name), last);
    }
    // A change of this gateway's own may come before an older page does.
    let own = after(Some(&last), "c99", "read_only");
    note(&shadow, "b", &own, 3);
    Known::note(&shadow, P, &[(key("b"), last.clone())], 2, line(2));
    shadow.flush().unwrap();
    assert_eq!((now(&shadow, "a"), now(&shadow, "b")), (last.clone(), own.clone()));
    drop(shadow);
    let shadow = Shadow::open(&path).unwrap();
    assert_eq!((now(&shadow, "a"), now(&shadow, "b")), (last, own));
}

// GW-04
#[test]
fn a_new_shadow_takes_each_change_of_a_ledger_for_later_than_those_before() {
    let dir = tempfile::tempdir().unwrap();
    let (first, last) = long_apart();
    let recorded =
        |stored: &Stored| Recorded { part: P, number: None, documents: vec![(key("a"), stored.clone())] };
    let shadow = Shadow::open(&dir.path().join("shadow")).unwrap();
    shadow.top_up([recorded(&first), recorded(&last)]).unwrap();
    assert_eq!(shadow.get(P, &key("a")).unwrap(), Some(last));
}

#[test]
fn it_says_how_much_of_the_ledger_is_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shadow");
    let records = Arc::new(std::sync::atomic::AtomicU64::new(7));
    let opened = || {
        let shadow = Shadow::open(&path).unwrap();
        let told = shadow.recorded();
        let records = Arc::clone(&records);
        shadow.beside(move || records.load(std::sync::atomic::Ordering::SeqCst));
        (shadow, told)
    };
    let (shadow, told) = opened();
    assert_eq!(told, None);
    shadow.flush().unwrap();
    assert_eq!(shadow.recorded(), Some(7));
    records.store(9, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(shadow.recorded(), Some(7), "nothing was written since");
    // It ends in order.
    drop(shadow);
    let (shadow, told) = opened();
    assert_eq!(told, Some(9));
    // What found no room is in no file: the ledger is read again from where all was.
    records.store(12, std::sync::atomic::Ordering::SeqCst);
    shadow.shared.lock().left_out = true;
    note(&shadow, "a", &after(None, "c1", "full"), 1);
    shadow.flush().unwrap();
    drop(shadow);
    assert_eq!(opened().1, Some(9));
}
