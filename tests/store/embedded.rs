//! What only the embedded store promises: about its file, its disk, its queue, and being rebuilt.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use postern::{
    model::{Key, Kind, Ladder, Stored, Version},
    policy::Fact,
    state::{
        Cells, CommitFault, Embedded, OpenFault, Part, Store, StoreFault, Unreadable,
        embedded::{FileDisk, Hints, Retention},
    },
};
use redb::TableDefinition;

use crate::make::*;

const DOCUMENTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("documents");
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    (directory, path)
}

fn fault(path: &Path) -> OpenFault {
    Embedded::open(path).map(drop).unwrap_err()
}

/// A store with so many sessions of one tenant.
async fn filled(path: &Path, sessions: usize) {
    Embedded::init(path).unwrap();
    let store = Embedded::open(path).unwrap();
    for number in 0..sessions {
        let key = session_key("a", &format!("s{number}"));
        store.commit(step(fresh(), &key, None, session(9, None))).await.unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn what_is_no_whole_store_is_told_apart_and_left_as_it_was() {
    let (directory, path) = place();
    filled(&path, 200).await;
    let whole = fs::read(&path).unwrap();
    let mut cases: Vec<(String, Vec<u8>, &str)> = vec![
        ("zero length".into(), Vec::new(), "state_empty"),
        ("text".into(), b"listen: 127.0.0.1:8080\n".to_vec(), "state_foreign"),
        ("zeros".into(), vec![0; 8192], "state_foreign"),
        ("three bytes of a store".into(), whole[..3].to_vec(), "state_damaged"),
        ("the head of a store alone".into(), whole[..100].to_vec(), "state_damaged"),
        ("one byte short".into(), whole[..whole.len() - 1].to_vec(), "state_damaged"),
    ];
    for eighth in 1..8 {
        let cut = whole.len() * eighth / 8;
        cases.push((format!("cut off at {eighth}/8"), whole[..cut].to_vec(), "state_damaged"));
    }
    // A flip where documents are.
    let marker = b"\"reason\":\"a ticket\"";
    let text = whole.windows(marker.len()).position(|window| window == marker).unwrap();
    let mut flipped = whole.clone();
    flipped[text + 12] ^= 0x20;
    cases.push(("a flip in a document".into(), flipped, "state_damaged"));
    for (name, bytes, code) in cases {
        let path = directory.path().join("case");
        fs::write(&path, &bytes).unwrap();
        let Err(fault) = Embedded::open(&path) else { panic!("{name} is opened") };
        assert_eq!(fault.code(), code, "{name}: {fault}");
        assert!(fs::read(&path).unwrap() == bytes, "{name} was changed");
        assert!(matches!(Embedded::init(&path), Err(OpenFault::Exists(_))), "{name}");
        assert!(fs::read(&path).unwrap() == bytes, "{name} was changed");
    }
    assert!(matches!(fault(&directory.path().join("none")), OpenFault::Missing(_)));
    assert!(!directory.path().join("none").exists(), "opening makes nothing");
    assert_eq!(fault(directory.path()).code(), "state_foreign");
    Embedded::open(&path).unwrap().close().await;
}

#[tokio::test]
async fn no_flipped_bit_of_the_head_loses_anything_unseen() {
    let (directory, path) = place();
    filled(&path, 20).await;
    let whole = fs::read(&path).unwrap();
    let copy = directory.path().join("copy");
    let mut refused = 0;
    for bit in 0..320 * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&copy, &flipped).unwrap();
        match Embedded::open(&copy) {
            Err(fault) => {
                assert!(["state_damaged", "state_foreign"].contains(&fault.code()), "bit {bit}: {fault}");
                assert!(fs::read(&copy).unwrap() == flipped, "bit {bit}: changed");
                refused += 1;
            }
            Ok(store) => {
                assert_eq!(store.mark(Part::FIRST).await.unwrap().position, 20, "bit {bit}");
                store.close().await;
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

#[tokio::test]
async fn no_flipped_byte_of_a_document_is_served() {
    let (directory, path) = place();
    filled(&path, 20).await;
    let whole = fs::read(&path).unwrap();
    let copy = directory.path().join("copy");
    let marker = b"\"deadline\":";
    let places: Vec<usize> = whole
        .windows(marker.len())
        .enumerate()
        .filter(|(_, window)| window == marker)
        .map(|(at, _)| at + marker.len() + 5)
        .collect();
    assert!(places.len() >= 20);
    let keys: Vec<Key> = (0..20).map(|number| session_key("a", &format!("s{number}"))).collect();
    let mut refused = 0;
    for at in places {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&copy, &flipped).unwrap();
        match Embedded::open(&copy) {
            Err(fault) => {
                assert_eq!(fault.code(), "state_damaged");
                refused += 1;
            }
            // A page that is no longer in use.
            Ok(store) => {
                for found in store.load(&keys).await.unwrap() {
                    assert_eq!(found.unwrap().unwrap().heads[0].document, session(9, None));
                }
                store.close().await;
            }
        }
    }
    assert!(refused >= 20, "{refused}");
}

#[tokio::test]
async fn a_store_without_its_mark_or_of_another_layout_is_not_opened() {
    let (directory, path) = place();
    filled(&path, 1).await;
    let edit = |name: &str, mark: Option<&str>| {
        let path_of = directory.path().join(name);
        fs::copy(&path, &path_of).unwrap();
        let database = redb::Database::open(&path_of).unwrap();
        let write = database.begin_write().unwrap();
        {
            let mut meta = write.open_table(META).unwrap();
            match mark {
                Some(text) => drop(meta.insert("mark", text.as_bytes()).unwrap()),
                None => drop(meta.remove("mark").unwrap()),
            }
        }
        write.commit().unwrap();
        drop(database);
        fault(&path_of)
    };
    assert!(matches!(edit("unmarked", None), OpenFault::Unmarked(_)));
    assert!(matches!(edit("newer", Some(r#"{"layout":2,"new":true}"#)), OpenFault::Layout { found: 2, .. }));
    assert_eq!(edit("garbage", Some("{")).code(), "state_damaged");
    let empty = directory.path().join("empty");
    drop(redb::Database::create(&empty).unwrap());
    assert!(matches!(fault(&empty), OpenFault::Unmarked(_)));
}

#[tokio::test]
async fn one_file_has_one_handle() {
    let (_directory, path) = place();
    filled(&path, 1).await;
    let store = Embedded::open(&path).unwrap();
    assert!(matches!(fault(&path), OpenFault::Locked(_)));
    store.commit(step(fresh(), &tenant_key("a"), None, tenant("read"))).await.unwrap();
    store.close().await;
    Embedded::open(&path).unwrap().close().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_neither_absent_nor_a_default() {
    let (_directory, path) = place();
    filled(&path, 3).await;
    let database = redb::Database::open(&path).unwrap();
    let write = database.begin_write().unwrap();
    {
        let mut documents = write.open_table(DOCUMENTS).unwrap();
        documents.insert(b"\x03a\0s0".as_slice(), br#"{"format":2,"shape":"unknown"}"#.as_slice()).unwrap();
        documents.insert(b"\x03a\0s1".as_slice(), br#"{"format":1,"version":"#.as_slice()).unwrap();
        let grant = Stored::after(None, fresh(), grant(9));
        documents.insert(b"\x03a\0s2".as_slice(), serde_json::to_vec(&grant).unwrap().as_slice()).unwrap();
    }
    write.commit().unwrap();
    drop(database);
    let store = Arc::new(Embedded::open(&path).unwrap());
    let keys: Vec<Key> = (0..4).map(|number| session_key("a", &format!("s{number}"))).collect();
    let found = store.load(&keys).await.unwrap();
    assert_eq!(found[0], Some(Err(Unreadable::Newer { key: keys[0].clone(), found: 2, known: 1 })));
    assert!(matches!(&found[1], Some(Err(Unreadable::Damaged { .. }))));
    assert!(matches!(&found[2], Some(Err(Unreadable::Damaged { .. }))), "a grant is no session");
    assert_eq!(found[3], None);
    let listed = store.list(&tenant_id("a"), Kind::Session, None, 10).await.unwrap();
    assert_eq!(
        listed.iter().map(|(key, found)| (key, found.is_err())).collect::<Vec<_>>(),
        vec![(&keys[0], true), (&keys[1], true), (&keys[2], true)]
    );
    let cells = Cells::new(store.clone(), Ladder::new(Vec::new()), 100);
    for key in &keys[..3] {
        assert_eq!(cells.fact(key).await, Fact::Unavailable);
        assert_eq!(cells.hit(key), None);
        // Nor is it overwritten, by whoever takes it for absent.
        let refused = store.commit(step(fresh(), key, None, session(9, None))).await;
        assert!(matches!(refused, Err(CommitFault::Unavailable(StoreFault::Unreadable(_)))), "{refused:?}");
    }
    store.commit(step(fresh(), &keys[3], None, session(9, None))).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn closing_waits_for_what_is_queued_and_takes_nothing_more() {
    let (_directory, path) = place();
    Embedded::init(&path).unwrap();
    let store = Embedded::open(&path).unwrap();
    let commits: Vec<_> = (0..500)
        .map(|number| step(fresh(), &session_key("a", &format!("s{number}")), None, session(9, None)))
        .collect();
    let answers: Vec<_> = commits.iter().map(|commit| store.commit(commit.clone())).collect();
    store.close().await;
    for answer in answers {
        assert!(!answer.await.unwrap().repeated);
    }
    let refused = store.commit(step(fresh(), &tenant_key("a"), None, tenant("read"))).await;
    assert_eq!(refused, Err(CommitFault::Unavailable(StoreFault::Closed)));
    assert_eq!(store.load(&[tenant_key("a")]).await, Err(StoreFault::Closed));
    assert_eq!(store.asked(Part::FIRST, &commits[0].change).await, Err(StoreFault::Closed));
    store.close().await;
    let store = Embedded::open(&path).unwrap();
    assert_eq!(store.mark(Part::FIRST).await.unwrap().position, 500);
    for commit in &commits {
        assert!(store.asked(Part::FIRST, &commit.change).await.unwrap().is_some());
    }
    store.close().await;
}

#[tokio::test]
async fn old_changes_are_forgotten_only_past_both_bounds() {
    let (_directory, path) = place();
    Embedded::init(&path).unwrap();
    let retention = Retention { changes: 10, ms: 1_000 };
    let store = Embedded::open_on(Arc::new(FileDisk(path.clone())), &path, retention).unwrap();
    let mut ids = Vec::new();
    let mut commit = async |number: usize, ms: i64| {
        let key = session_key("a", &format!("s{number}"));
        let mut commit = step(fresh(), &key, None, session(9, None));
        commit.at = at(ms);
        ids.push(commit.change.clone());
        store.commit(commit).await.unwrap();
    };
    for number in 0..30 {
        commit(number, 1_000).await;
    }
    // Many, but not old.
    assert_eq!(store.changes_after(Part::FIRST, 0, 100).await.unwrap().len(), 30);
    commit(30, 2_000).await;
    assert_eq!(store.changes_after(Part::FIRST, 0, 100).await.unwrap().len(), 31);
    // Old, and more than ten.
    commit(31, 2_001).await;
    assert_eq!(
        store.changes_after(Part::FIRST, 0, 100).await,
        Err(StoreFault::FeedForgotten { asked: 0, oldest: 22 }),
    );
    assert_eq!(store.changes_after(Part::FIRST, 22, 100).await.unwrap().len(), 10);
    // Older still, but only ten are left.
    commit(32, 900_000).await;
    assert_eq!(store.changes_after(Part::FIRST, 23, 100).await.unwrap().len(), 10);
    assert_eq!(store.asked(Part::FIRST, &ids[22]).await, Ok(None));
    assert_eq!(numbered(store.asked(Part::FIRST, &ids[23]).await), Ok(Some(24)));
    store.close().await;
}

fn ladder() -> Ladder {
    Ladder::new(Vec::new())
}

#[tokio::test]
async fn a_store_is_rebuilt_from_copies_of_its_documents() {
    let (directory, path) = place();
    let key = session_key("a", "s");
    let first = Stored::after(None, change("c1"), session(300, None));
    let second = Stored::after(Some(&first), change("c2"), session(200, None));
    let mut forked = Stored::after(Some(&first), change("c3"), session(300, Some(150)));
    forked.version.epoch = 4;
    let other = Stored::after(None, change("c4"), tenant("read"));
    // Old copies among them, in no order.
    let copies = vec![
        (key.clone(), second.clone()),
        (tenant_key("a"), other.clone()),
        (key.clone(), first.clone()),
        (key.clone(), forked.clone()),
        (key.clone(), second.clone()),
    ];
    let mark = Embedded::rebuild(&path, copies.into_iter(), Hints { epoch: 2, position: 77 }).unwrap();
    assert_eq!((mark.epoch, mark.position, mark.rebuilt), (5, 77, true));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
    let store = Embedded::open(&path).unwrap();
    assert_eq!(store.mark(Part::FIRST).await.unwrap(), mark);
    let found = store.load(&[key.clone(), tenant_key("a")]).await.unwrap();
    let session_found = found[0].clone().unwrap().unwrap();
    assert_eq!(session_found.heads.len(), 2, "the fork stands side by side");
    assert_eq!(session_found.version, Version { epoch: 5, number: 2 });
    let holds = postern::model::join::narrowest(&session_found, &ladder()).unwrap();
    assert_eq!(holds.due(), None, "ended on one side is ended");
    assert_eq!(found[1].clone().unwrap().unwrap().version, Version { epoch: 5, number: 1 });
    assert_eq!(store.due(at(999), None, 10).await.whole(), Ok(vec![]));
    for id in ["c1", "c2", "c3", "c4"] {
        assert_eq!(
            numbered(store.asked(Part::FIRST, &change(id)).await),
            Ok(Some(77)),
            "a change that documents remember"
        );
    }
    assert_eq!(store.asked(Part::FIRST, &change("c5")).await, Ok(None));
    assert_eq!(store.changes_after(Part::FIRST, 77, 10).await, Ok(vec![]));
    assert_eq!(
        store.changes_after(Part::FIRST, 76, 10).await,
        Err(StoreFault::FeedForgotten { asked: 76, oldest: 77 })
    );
    let done =
        store.commit(step(change("c6"), &key, Some(&session_found), session(100, None))).await.unwrap();
    assert_eq!(done.place.number, 78);
    assert_eq!(store.due(at(999), None, 10).await.whole(), Ok(vec![(at(100), key)]));
    store.close().await;
    // Never over a file, and another store than the first.
    let before = fs::read(&path).unwrap();
    let again = Embedded::rebuild(&path, std::iter::empty(), Hints::default());
    assert!(matches!(again, Err(OpenFault::Exists(_))));
    assert!(fs::read(&path).unwrap() == before);
    let second = directory.path().join("second");
    assert_ne!(Embedded::rebuild(&second, std::iter::empty(), Hints::default()).unwrap().id, mark.id);
}

#[tokio::test]
async fn a_large_rebuild_keeps_every_document() {
    let (_directory, path) = place();
    let documents = (0..2_500).map(|number| {
        let stored = Stored::after(None, fresh(), session(number + 1, None));
        (session_key(&format!("t{}", number % 7), &format!("s{number}")), stored)
    });
    Embedded::rebuild(&path, documents, Hints::default()).unwrap();
    let store = Embedded::open(&path).unwrap();
    let (mut found, mut after) = (0, None);
    loop {
        let page = store.due(at(i64::MAX), after.as_ref(), 400).await.whole().unwrap();
        let Some(last) = page.last() else { break };
        found += page.len();
        after = Some(last.clone());
    }
    assert_eq!(found, 2_500);
    let page = store.list(&tenant_id("t3"), Kind::Session, None, 1000).await.unwrap();
    assert_eq!(page.len(), 357);
    for (_, stored) in page {
        assert_eq!(stored.unwrap().version, Version { epoch: 1, number: 1 });
    }
    store.close().await;
}

#[test]
fn a_store_that_cannot_be_made_leaves_nothing() {
    let (directory, path) = place();
    let mut damaged = Stored::after(None, fresh(), session(9, None));
    damaged.heads.clear();
    let documents = vec![(session_key("a", "s"), damaged)];
    let fault = Embedded::rebuild(&path, documents.into_iter(), Hints::default()).unwrap_err();
    assert_eq!(fault.code(), "state_document");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    let fault = Embedded::init(&directory.path().join("no/such/directory")).unwrap_err();
    assert_eq!(fault.code(), "state_io");
}
