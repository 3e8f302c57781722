//! What every store promises, as functions over a store: `tests/store/on_embedded.rs` runs them on the embedded one, and
//! `tests/store/on_redis.rs` on Redis. Each function is given a store of its own, empty but for its mark.

use std::sync::Arc;

use postern::{
    model::{Document, Key, Kind, Reach, Stop, Stored, Timestamp, Version},
    state::{Commit, CommitFault, Committed, DOCUMENT_MOST, Entry, Part, Refusal, Store, StoreFault},
};

use crate::make::*;

/// The part in which everything below a tenant lies.
fn part(store: &Arc<dyn Store>, tenant: &str) -> Part {
    store.part_of(&tenant_key(tenant))
}

async fn one(store: &Arc<dyn Store>, key: &Key) -> Option<Stored> {
    let mut found = store.load(std::slice::from_ref(key)).await.unwrap();
    assert_eq!(found.len(), 1);
    found.remove(0).map(Result::unwrap)
}

/// All changes after a place, page by page.
pub(crate) async fn told_after(
    store: &Arc<impl Store + ?Sized>,
    part: Part,
    mut position: u64,
) -> Vec<Entry> {
    let mut told: Vec<Entry> = Vec::new();
    loop {
        let page = store.changes_after(part, position, 1000).await.unwrap();
        let Some(last) = page.last() else { return told };
        position = last.place.number;
        told.extend(page);
    }
}

pub(crate) async fn made(store: &Arc<dyn Store>, keys: Vec<(Key, postern::model::Document)>) {
    for (key, document) in keys {
        store.commit(step(fresh(), &key, None, document)).await.unwrap();
    }
}

pub(crate) async fn a_commit_is_read_back_whole(store: &Arc<dyn Store>) {
    let documents = vec![
        (tenant_key("a"), tenant("read")),
        (grant_key("a", "g"), grant(5_000)),
        (session_key("a", "s"), session(9_000, None)),
        (presence_key("a", "anna|x y"), presence()),
        (made_key("a", "anna|x y"), made_under(&[("k", 9)])),
        (role_key("a", "anna"), role()),
        (resource_key("a", "b1"), resource()),
        (joined_key("a", "b1", "anna|x y"), joined()),
        (tally_key("a", "b1"), tally()),
    ];
    let commit = several(fresh(), documents);
    let done = store.commit(commit.clone()).await.unwrap();
    assert_eq!((done.place.number, done.repeated), (1, false));
    let mut keys: Vec<Key> = commit.write.iter().map(|(key, _)| key.clone()).collect();
    keys.insert(1, session_key("a", "none"));
    let found = store.load(&keys).await.unwrap();
    assert!(found[1].is_none(), "what is not there is none");
    let found: Vec<Stored> = found.into_iter().flatten().map(Result::unwrap).collect();
    assert_eq!(found, commit.write.into_iter().map(|(_, stored)| stored).collect::<Vec<_>>());
    assert_eq!(store.mark(part(store, "a")).await.unwrap().position, 1);
}

pub(crate) async fn a_commit_that_conflicts_leaves_nothing(store: &Arc<dyn Store>) {
    made(store, vec![(tenant_key("a"), tenant("read"))]).await;
    let mut commit =
        several(fresh(), vec![(session_key("a", "s"), session(9, None)), (grant_key("a", "g"), grant(9))]);
    commit.read.push((tenant_key("a"), Version::NONE));
    assert_eq!(store.commit(commit.clone()).await, Err(CommitFault::Conflict(vec![tenant_key("a")])));
    assert_eq!(one(store, &session_key("a", "s")).await, None);
    assert_eq!(one(store, &grant_key("a", "g")).await, None);
    assert_eq!(store.asked(part(store, "a"), &commit.change).await, Ok(None));
    assert_eq!(store.due(at(100), None, 10).await.whole().unwrap(), vec![]);
    assert_eq!(*store.newest(part(store, "a")).borrow(), 1);
    assert_eq!(told_after(store, part(store, "a"), 0).await.len(), 1);
}

pub(crate) async fn what_was_read_must_still_be_so(store: &Arc<dyn Store>) {
    let key = tenant_key("a");
    made(store, vec![(key.clone(), tenant("full"))]).await;
    let seen = one(store, &key).await.unwrap();
    // Somebody lowers the consent after it was read and before the session starts.
    store.commit(step(fresh(), &key, Some(&seen), tenant("block"))).await.unwrap();
    let mut start = several(fresh(), vec![(session_key("a", "s"), session(9, None))]);
    start.read.push((key.clone(), seen.version));
    assert_eq!(store.commit(start).await, Err(CommitFault::Conflict(vec![key])));
}

pub(crate) async fn what_was_absent_must_still_be_absent(store: &Arc<dyn Store>) {
    let mut first = several(fresh(), vec![(session_key("a", "s"), session(9, None))]);
    first.read.push((grant_key("a", "g"), Version::NONE));
    let mut second = several(fresh(), vec![(session_key("a", "t"), session(9, None))]);
    second.read.push((grant_key("a", "g"), Version::NONE));
    store.commit(first).await.unwrap();
    made(store, vec![(grant_key("a", "g"), grant(9))]).await;
    assert_eq!(store.commit(second).await, Err(CommitFault::Conflict(vec![grant_key("a", "g")])));
    // And the other way round: what was there as read, and is not.
    let mut third = several(fresh(), vec![(session_key("a", "u"), session(9, None))]);
    third.read.push((grant_key("a", "h"), Version::NONE.next()));
    assert_eq!(store.commit(third).await, Err(CommitFault::Conflict(vec![grant_key("a", "h")])));
}

pub(crate) async fn a_repeat_is_recognised_and_changes_nothing(store: &Arc<dyn Store>) {
    let key = tenant_key("a");
    let commit = step(fresh(), &key, None, tenant("read"));
    let first = store.commit(commit.clone()).await.unwrap();
    let before = one(store, &key).await.unwrap();
    let later = step(fresh(), &key, Some(&before), tenant("block"));
    store.commit(later).await.unwrap();
    let again = store.commit(commit.clone()).await.unwrap();
    assert_eq!(again, Committed { repeated: true, ..first });
    assert_eq!(one(store, &key).await.unwrap().heads[0].document, tenant("block"));
    assert_eq!(store.asked(part(store, "a"), &commit.change).await, Ok(Some(again)));
    assert_eq!(store.asked(part(store, "a"), &fresh()).await, Ok(None));
    let told = told_after(store, part(store, "a"), 0).await;
    assert_eq!(told.iter().map(|entry| entry.place.number).collect::<Vec<u64>>(), [1, 2]);
    // As of where it is known, whoever says so.
    assert_eq!(told[0].line, first.line);
    let mark = store.mark(part(store, "a")).await.unwrap();
    assert_eq!((mark.position, mark.line), (2, told[1].line));
}

pub(crate) async fn of_concurrent_commits_one_wins_each_version(store: &Arc<dyn Store>) {
    const TASKS: u64 = 64;
    let key = tenant_key("a");
    made(store, vec![(key.clone(), tenant("read"))]).await;
    // All at once on the same version: exactly one.
    let seen = one(store, &key).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let (store, commit) = (Arc::clone(store), step(fresh(), &key, Some(&seen), tenant("read")));
        tasks.spawn(async move { store.commit(commit).await });
    }
    let results = tasks.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let conflict = Err(CommitFault::Conflict(vec![key.clone()]));
    assert_eq!(results.iter().filter(|result| **result == conflict).count(), 63);
    // Each until it got through: none is lost.
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let (store, key) = (Arc::clone(store), key.clone());
        tasks.spawn(async move {
            let id = fresh();
            loop {
                let seen = one(&store, &key).await.unwrap();
                match store.commit(step(id.clone(), &key, Some(&seen), tenant("read"))).await {
                    Ok(done) => return (id, done),
                    Err(CommitFault::Conflict(_) | CommitFault::Unavailable(StoreFault::Busy)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        });
    }
    let done = tasks.join_all().await;
    assert!(done.iter().all(|(_, done)| !done.repeated));
    assert_eq!(one(store, &key).await.unwrap().version.number, 2 + TASKS);
    let told = told_after(store, part(store, "a"), 2).await;
    let mut versions = Vec::new();
    for (entry, position) in told.iter().zip(3..) {
        assert_eq!(entry.place.number, position);
        let (_, place) = done.iter().find(|(id, _)| *id == entry.change).unwrap();
        assert_eq!(place.place.number, position);
        versions.push(entry.documents[0].1.as_ref().unwrap().version.number);
    }
    assert_eq!(versions, (3..3 + TASKS).collect::<Vec<_>>(), "the feed tells the versions in their order");
}

pub(crate) async fn the_feed_has_no_gaps_and_no_other_order(store: &Arc<dyn Store>) {
    const CHANGES: u64 = 200;
    let mut newest = store.newest(part(store, "a"));
    assert_eq!(*newest.borrow_and_update(), 0);
    let writers: Vec<_> = (0..4u64)
        .map(|writer| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                for number in 0..CHANGES / 4 {
                    let key = session_key("a", &format!("s{writer}-{number}"));
                    store.commit(step(fresh(), &key, None, session(9, None))).await.unwrap();
                }
            })
        })
        .collect();
    // A reader that follows while it is written.
    let (mut seen, mut keys) = (0, std::collections::BTreeSet::new());
    while seen < CHANGES {
        newest.wait_for(|position| *position > seen).await.unwrap();
        let entries = store.changes_after(part(store, "a"), seen, 7).await.unwrap();
        assert!(!entries.is_empty() && entries.len() <= 7, "what is announced can be read");
        for entry in entries {
            assert_eq!(entry.place.number, seen + 1);
            seen = entry.place.number;
            assert_eq!(entry.at, at(1_000));
            let (key, found) = &entry.documents[0];
            assert_eq!(found.as_ref().unwrap(), &one(store, key).await.unwrap());
            assert!(keys.insert(key.clone()), "told twice");
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(keys.len(), 200);
    assert_eq!(store.changes_after(part(store, "a"), CHANGES, 10).await, Ok(vec![]));
    assert_eq!(
        store.changes_after(part(store, "a"), CHANGES + 1, 10).await,
        Err(StoreFault::WentBack { asked: CHANGES + 1, newest: CHANGES })
    );
}

pub(crate) async fn a_listing_is_in_order_and_goes_on_from_its_cursor(store: &Arc<dyn Store>) {
    let names = ["s1", "s10", "s2", "S", "a.b", "a~", "a-", "a", "b", "0"];
    for name in names {
        made(store, vec![(session_key("t", name), session(9, None)), (grant_key("t", name), grant(9))]).await;
    }
    let mut expected: Vec<Key> = names.iter().map(|name| session_key("t", name)).collect();
    expected.sort();
    let t = tenant_id("t");
    for limit in [1, 3, 10, 100] {
        let mut found: Vec<Key> = Vec::new();
        loop {
            let page = store.list(&t, Kind::Session, found.last(), limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            found.extend(page.into_iter().map(|(key, _)| key));
        }
        assert_eq!(found, expected, "by {limit}");
    }
    // A cursor need not exist, and one of another kind or tenant opens nothing else.
    let from = session_key("t", "a0");
    let page = store.list(&t, Kind::Session, Some(&from), 100).await.unwrap();
    assert_eq!(page.first().map(|(key, _)| key.clone()), Some(session_key("t", "a~")));
    let page = store.list(&t, Kind::Session, Some(&presence_key("t", "x")), 100).await.unwrap();
    assert_eq!(page, vec![]);
    let page = store.list(&t, Kind::Session, Some(&grant_key("t", "x")), 100).await.unwrap();
    assert_eq!(page.len(), names.len());
    assert_eq!(store.list(&t, Kind::Presence, None, 100).await.unwrap(), vec![]);
    assert_eq!(store.list(&t, Kind::Session, None, 0).await.unwrap(), vec![]);
}

pub(crate) async fn tenants_are_listed_in_order(store: &Arc<dyn Store>) {
    let names = ["a", "a.b", "a~", "A", "b", "a-1", "aa"];
    for name in names {
        made(store, vec![(tenant_key(name), tenant("read")), (session_key(name, "s"), session(9, None))])
            .await;
    }
    let mut expected: Vec<_> = names.iter().map(|name| tenant_id(name)).collect();
    expected.sort();
    let mut found = Vec::new();
    loop {
        let page = store.list_tenants(found.last(), 3).await.whole().unwrap();
        if page.is_empty() {
            break;
        }
        found.extend(page.into_iter().map(|(tenant, stored)| {
            assert_eq!(stored.unwrap().heads[0].document, super::make::tenant("read"));
            tenant
        }));
    }
    assert_eq!(found, expected);
}

/// More than any part has of them, so that a page needs several of each part; in pages of all sizes nothing is left out,
/// told twice or out of order, and a page is full while there are more.
pub(crate) async fn listings_of_all_parts_are_in_one_order(store: &Arc<dyn Store>) {
    let names: Vec<String> = (0..150).map(|number| format!("t{number}")).collect();
    for (name, at) in names.iter().zip(0..) {
        let grantor = (grantor_key(name, "adele"), grantor());
        made(store, vec![(tenant_key(name), tenant("read")), grantor]).await;
        made(store, vec![(session_key(name, "s"), session(at % 7, None))]).await;
    }
    let mut expected: Vec<_> = names.iter().map(|name| tenant_id(name)).collect();
    expected.sort();
    let givers: Vec<Key> = expected.iter().map(|tenant| grantor_key(tenant.as_str(), "adele")).collect();
    let mut due: Vec<(Timestamp, Key)> =
        names.iter().zip(0..).map(|(name, at)| (self::at(at % 7), session_key(name, "s"))).collect();
    due.sort();
    for limit in [1, 2, 7, 100, 1000] {
        let (mut tenants, mut grantors, mut fallen) = (Vec::new(), Vec::new(), Vec::new());
        for done in (0..names.len()).step_by(limit) {
            let full = limit.min(names.len() - done);
            let page = store.list_tenants(tenants.last(), limit).await.whole().unwrap();
            tenants.extend(page.into_iter().map(|(tenant, _)| tenant));
            let page = store.list_grantors(grantors.last(), limit).await.whole().unwrap();
            grantors.extend(page.into_iter().map(|(key, found)| {
                assert_eq!(found.unwrap().heads[0].document, grantor());
                key
            }));
            fallen.extend(store.due(at(9), fallen.last(), limit).await.whole().unwrap());
            assert_eq!([tenants.len(), grantors.len(), fallen.len()], [done + full; 3], "by {limit}");
        }
        assert_eq!((&tenants, &grantors, &fallen), (&expected, &givers, &due), "by {limit}");
        assert_eq!(store.list_tenants(tenants.last(), limit).await.whole().unwrap(), vec![]);
        assert_eq!(store.list_grantors(grantors.last(), limit).await.whole().unwrap(), vec![]);
        assert_eq!(store.due(at(9), fallen.last(), limit).await.whole().unwrap(), vec![]);
    }
}

pub(crate) async fn tenants_are_islands(store: &Arc<dyn Store>) {
    let names = ["a", "a.b", "a~", "a-", "a_", "aa", "A", "ab", "a0", "b"];
    for name in names {
        made(
            store,
            vec![
                (tenant_key(name), tenant("read")),
                (session_key(name, "s"), session(9, None)),
                (grant_key(name, "g"), grant(9)),
                (presence_key(name, "p"), presence()),
                (made_key(name, "p"), made_under(&[("k", 9)])),
                (role_key(name, "p"), role()),
                (resource_key(name, "p"), resource()),
                (joined_key(name, "p", "p"), joined()),
                (tally_key(name, "p"), tally()),
            ],
        )
        .await;
    }
    for name in names {
        let own = tenant_id(name);
        for (kind, key) in [
            (Kind::Tenant, tenant_key(name)),
            (Kind::Session, session_key(name, "s")),
            (Kind::Grant, grant_key(name, "g")),
            (Kind::Presence, presence_key(name, "p")),
            (Kind::Made, made_key(name, "p")),
            (Kind::Role, role_key(name, "p")),
            (Kind::Resource, resource_key(name, "p")),
            (Kind::Joined, joined_key(name, "p", "p")),
            (Kind::Tally, tally_key(name, "p")),
        ] {
            let found = store.list(&own, kind, None, 100).await.unwrap();
            assert_eq!(found.iter().map(|(key, _)| key).collect::<Vec<_>>(), vec![&key]);
            // Nor does a cursor lead out of it, from any other tenant.
            for other in names {
                let cursor = session_key(other, "0");
                let found = store.list(&own, kind, Some(&cursor), 100).await.unwrap();
                assert!(found.iter().all(|(found, _)| *found == key), "{name} from {other}: {found:?}");
            }
        }
    }
}

pub(crate) async fn deadlines_follow_the_documents(store: &Arc<dyn Store>) {
    let (s, t, g) = (session_key("a", "s"), session_key("b", "t"), grant_key("a", "g"));
    made(
        store,
        vec![(s.clone(), session(300, None)), (t.clone(), session(100, None)), (g.clone(), grant(200))],
    )
    .await;
    made(store, vec![(tenant_key("a"), tenant("read"))]).await;
    let all = vec![(at(100), t.clone()), (at(200), g.clone()), (at(300), s.clone())];
    assert_eq!(store.due(at(1_000), None, 10).await.whole().unwrap(), all);
    assert_eq!(store.due(at(200), None, 10).await.whole().unwrap(), all[..2], "until is included");
    assert_eq!(store.due(at(99), None, 10).await.whole().unwrap(), vec![]);
    assert_eq!(store.due(at(1_000), None, 2).await.whole().unwrap(), all[..2]);
    assert_eq!(store.due(at(1_000), Some(&all[1]), 10).await.whole().unwrap(), all[2..]);
    assert_eq!(store.due(at(150), Some(&all[1]), 10).await.whole().unwrap(), vec![]);
    // A deadline moves, an end takes it away.
    let seen = one(store, &s).await.unwrap();
    store.commit(step(fresh(), &s, Some(&seen), session(50, None))).await.unwrap();
    let seen = one(store, &t).await.unwrap();
    store.commit(step(fresh(), &t, Some(&seen), session(100, Some(60)))).await.unwrap();
    assert_eq!(
        store.due(at(1_000), None, 10).await.whole().unwrap(),
        vec![(at(50), s.clone()), (at(200), g.clone())]
    );
    // Reading a document leaves its deadline alone.
    let seen = one(store, &s).await.unwrap();
    let mut commit = several(fresh(), vec![(session_key("a", "u"), session(70, Some(60)))]);
    commit.read.push((s.clone(), seen.version));
    store.commit(commit).await.unwrap();
    assert_eq!(store.due(at(1_000), None, 10).await.whole().unwrap(), vec![(at(50), s), (at(200), g)]);
}

pub(crate) async fn what_was_made_under_keys_is_stored_with_it_and_due_with_the_last_key(
    store: &Arc<dyn Store>,
) {
    let (g, m) = (grant_key("a", "g"), made_key("a", "anna"));
    // Two creations read the same state of it; the second finds nothing of its own stored.
    let first = several(fresh(), vec![(g.clone(), grant(900)), (m.clone(), made_under(&[("k", 300)]))]);
    let second =
        several(fresh(), vec![(grant_key("a", "h"), grant(900)), (m.clone(), made_under(&[("k", 301)]))]);
    store.commit(first).await.unwrap();
    assert_eq!(store.commit(second).await, Err(CommitFault::Conflict(vec![m.clone()])));
    assert_eq!(one(store, &grant_key("a", "h")).await, None);
    assert_eq!(store.due(at(899), None, 10).await.whole().unwrap(), vec![(at(300), m.clone())]);
    let seen = one(store, &m).await.unwrap();
    assert_eq!(seen.heads[0].document, made_under(&[("k", 300)]));
    store.commit(step(fresh(), &m, Some(&seen), made_under(&[("k", 300), ("l", 500)]))).await.unwrap();
    assert_eq!(store.due(at(899), None, 10).await.whole().unwrap(), vec![(at(500), m.clone())]);
    let seen = one(store, &m).await.unwrap();
    store.commit(step(fresh(), &m, Some(&seen), made_under(&[]))).await.unwrap();
    assert_eq!(store.due(at(899), None, 10).await.whole().unwrap(), vec![]);
}

pub(crate) async fn of_states_side_by_side_the_earliest_deadline_counts(store: &Arc<dyn Store>) {
    let key = session_key("a", "s");
    let one = Stored::after(None, change("fork-a"), session(300, None));
    let other = Stored::after(None, change("fork-b"), session(200, None));
    let joined = postern::model::join::join(&one, &other);
    assert_eq!(joined.heads.len(), 2);
    let commit = Commit {
        since: Default::default(),
        change: fresh(),
        at: at(1),
        read: vec![(key.clone(), Version::NONE)],
        write: vec![(key.clone(), joined.clone())],
    };
    store.commit(commit).await.unwrap();
    assert_eq!(self::one(store, &key).await, Some(joined.clone()));
    assert_eq!(store.due(at(999), None, 10).await.whole().unwrap(), vec![(at(200), key.clone())]);
    store.commit(step(fresh(), &key, Some(&joined), session(250, None))).await.unwrap();
    assert_eq!(store.due(at(999), None, 10).await.whole().unwrap(), vec![(at(250), key)]);
}

pub(crate) async fn large_documents_pass_up_to_the_bound(store: &Arc<dyn Store>) {
    let key = session_key("a", "s");
    let long = "\"x".repeat(DOCUMENT_MOST / 4);
    let commit = step(fresh(), &key, None, session_about(&long, 9, None));
    store.commit(commit.clone()).await.unwrap();
    assert_eq!(one(store, &key).await.as_ref(), Some(&commit.write[0].1));
    assert_eq!(
        store.changes_after(part(store, "a"), 0, 1).await.unwrap()[0].documents[0].1.as_ref(),
        Ok(&commit.write[0].1)
    );
    let longer = "x".repeat(DOCUMENT_MOST);
    let refused =
        store.commit(step(fresh(), &session_key("a", "t"), None, session_about(&longer, 9, None))).await;
    assert!(matches!(refused, Err(CommitFault::Refused(Refusal::TooLarge { .. }))), "{refused:?}");
    assert_eq!(one(store, &session_key("a", "t")).await, None);
}

pub(crate) async fn a_commit_put_together_wrongly_is_refused(store: &Arc<dyn Store>) {
    let key = tenant_key("a");
    made(store, vec![(key.clone(), tenant("read"))]).await;
    let seen = one(store, &key).await.unwrap();
    let good = step(fresh(), &key, Some(&seen), tenant("block"));
    let refused = async |edit: &dyn Fn(&mut Commit)| {
        let mut commit = good.clone();
        edit(&mut commit);
        match store.commit(commit).await {
            Err(CommitFault::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(&|c| c.write.clear()).await, Refusal::Empty);
    assert_eq!(refused(&|c| c.read.clear()).await, Refusal::Unread(key.clone()));
    assert_eq!(refused(&|c| c.read.push(c.read[0].clone())).await, Refusal::Twice(key.clone()));
    assert_eq!(refused(&|c| c.write.push(c.write[0].clone())).await, Refusal::Twice(key.clone()));
    assert_eq!(refused(&|c| c.write[0].1.version = seen.version).await, Refusal::NotRaised(key.clone()));
    assert_eq!(refused(&|c| c.write[0].1.heads[0].document = grant(9)).await, Refusal::Mismatch(key.clone()));
    assert_eq!(refused(&|c| c.write[0].1.heads.clear()).await, Refusal::Mismatch(key.clone()));
    assert_eq!(refused(&|c| c.write[0].1.format = 2).await, Refusal::Mismatch(key.clone()));
    let many = |c: &mut Commit| {
        c.read.extend((0..2000).map(|i| (session_key("a", &format!("s{i}")), Version::NONE)));
    };
    assert_eq!(refused(&many).await, Refusal::TooMany(2001));
    assert_eq!(one(store, &key).await, Some(seen));
    // The id of a refused change is still free.
    assert!(!store.commit(good.clone()).await.unwrap().repeated);
}

pub(crate) async fn an_abandoned_commit_is_settled_before_it_is_asked_for(store: &Arc<dyn Store>) {
    for round in 0..50 {
        let key = session_key("a", &format!("s{round}"));
        let commit = step(fresh(), &key, None, session(9, None));
        let id = commit.change.clone();
        drop(store.commit(commit));
        let asked = store.asked(part(store, "a"), &id).await.unwrap();
        let there = one(store, &key).await;
        assert_eq!(asked.is_some(), there.is_some(), "what was asked for changes no more");
    }
}

pub(crate) async fn what_is_written_together_lies_together(store: &Arc<dyn Store>) {
    let (a, b) = apart(store);
    made(store, vec![(tenant_key(&b), tenant("read"))]).await;
    // What is only read may lie anywhere.
    let seen = one(store, &tenant_key(&b)).await.unwrap();
    let mut start = several(fresh(), vec![(session_key(&a, "s"), session(9, None))]);
    start.read.push((tenant_key(&b), seen.version));
    start.read.push((grant_key(&b, "none"), Version::NONE));
    store.commit(start).await.unwrap();
    store.commit(step(fresh(), &tenant_key(&b), Some(&seen), tenant("block"))).await.unwrap();
    let mut late = several(fresh(), vec![(session_key(&a, "t"), session(9, None))]);
    late.read.push((tenant_key(&b), seen.version));
    assert_eq!(store.commit(late).await, Err(CommitFault::Conflict(vec![tenant_key(&b)])));
    assert_eq!(one(store, &session_key(&a, "t")).await, None);
    // What is written may not, where a store has several parts.
    let both = several(
        fresh(),
        vec![(session_key(&a, "u"), session(9, None)), (session_key(&b, "u"), session(9, None))],
    );
    let answer = store.commit(both.clone()).await;
    if store.parts() == 1 {
        assert!(answer.is_ok());
        return;
    }
    assert_eq!(answer, Err(CommitFault::Refused(Refusal::Parts(session_key(&b, "u")))));
    assert_eq!(one(store, &session_key(&a, "u")).await, None);
    assert_eq!(store.asked(part(store, &a), &both.change).await, Ok(None));
}

/// Two tenants, of different parts where there are several.
fn apart(store: &Arc<dyn Store>) -> (String, String) {
    let first = "t0".to_owned();
    let others = (1..1000).map(|number| format!("t{number}"));
    let other =
        others.into_iter().find(|name| store.parts() == 1 || part(store, name) != part(store, &first));
    (first, other.unwrap())
}

pub(crate) async fn parts_have_histories_of_their_own(store: &Arc<dyn Store>) {
    let (a, b) = apart(store);
    made(store, vec![(tenant_key(&a), tenant("read")), (tenant_key(&b), tenant("read"))]).await;
    let marks = [&a, &b].map(|name| part(store, name));
    let first = store.mark(marks[0]).await.unwrap();
    let second = store.mark(marks[1]).await.unwrap();
    assert_eq!(first.id, second.id, "one store has one id");
    let each = if store.parts() == 1 { 2 } else { 1 };
    assert_eq!((first.position, second.position), (each, each));
    for part in (0..store.parts()).map(Part).filter(|part| !marks.contains(part)) {
        assert_eq!(store.mark(part).await.unwrap().position, 0);
        assert_eq!(store.changes_after(part, 0, 10).await, Ok(vec![]));
    }
    // Documents of several parts come in the order that was asked for, twice where it was asked for twice.
    let keys = [&b, &a, &b].map(|name| tenant_key(name));
    let found = store.load(&keys).await.unwrap();
    let there: Vec<bool> = found.iter().map(|found| matches!(found, Some(Ok(_)))).collect();
    assert_eq!(there, [true, true, true]);
    assert_eq!(found[0], found[2]);
    assert_eq!(store.confirmed(&keys).await.unwrap(), found);
    assert_eq!(store.load(&[]).await, Ok(vec![]));
}

pub(crate) async fn of_equal_deadlines_the_cursor_loses_none(store: &Arc<dyn Store>) {
    let mut expected = Vec::new();
    for tenant in ["a", "b", "t1", "t2", "t3"] {
        for number in 0..6 {
            let (key, deadline) = (session_key(tenant, &format!("s{number}")), 100 + number / 3);
            made(store, vec![(key.clone(), session(deadline, None))]).await;
            expected.push((at(deadline), key));
        }
    }
    expected.sort();
    for limit in [1, 2, 7, 30] {
        let mut found: Vec<(postern::model::Timestamp, Key)> = Vec::new();
        loop {
            let page = store.due(at(500), found.last(), limit).await.whole().unwrap();
            assert!(
                page.len() == limit.min(expected.len() - found.len()),
                "a page is full unless it is the last"
            );
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, expected, "by {limit}");
    }
    // A cursor need not exist.
    let from = (at(100), session_key("b", "s00"));
    let page = store.due(at(500), Some(&from), 100).await.whole().unwrap();
    assert_eq!(page, expected.iter().filter(|row| **row > from).cloned().collect::<Vec<_>>());
}

pub(crate) async fn kill_switches_are_listed_and_are_no_tenants(store: &Arc<dyn Store>) {
    let reaches = [
        Reach::All,
        Reach::Tenant(tenant_id("a")),
        Reach::Tenant(tenant_id("b")),
        Reach::Person(subject("x y")),
    ];
    let keys = reaches.map(Key::Stop);
    for key in &keys {
        made(store, vec![(key.clone(), Document::Stop(Stop::default()))]).await;
    }
    made(store, vec![(tenant_key("a"), tenant("read"))]).await;
    let mut found: Vec<Key> = Vec::new();
    loop {
        let page = store.list_stops(found.last(), 3).await.unwrap();
        if page.is_empty() {
            break;
        }
        found.extend(page.into_iter().map(|(key, found)| {
            assert!(found.is_ok());
            key
        }));
    }
    assert_eq!(found, keys);
    assert_eq!(store.list_tenants(None, 10).await.whole().unwrap().len(), 1);
}
