//! Stored documents: what is read is written back the same; two copies join in any order to the same, and what then
//! holds is never wider than either.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use postern::model::{
    Document, Key, Ladder, Level, LevelName, RoleName, Stored,
    document::{FORMAT, REMEMBERED},
    join::{join, narrowest},
};

static LADDER: LazyLock<Ladder> = LazyLock::new(|| {
    let level = |name: &str, role: Option<&str>| Level {
        name: LevelName::new(name).expect("a name"),
        role: role.map(|role| RoleName::new(role).expect("a name")),
    };
    Ladder::new(vec![level("block", None), level("read_only", Some("reader")), level("full", Some("admin"))])
});

fn read(bytes: &[u8]) -> Option<Stored> {
    let stored: Stored = serde_json::from_slice(bytes).ok()?;
    assert_eq!(stored.format, FORMAT, "no other format is read");
    let text = serde_json::to_vec(&stored).expect("what is read can be written");
    assert_eq!(serde_json::from_slice::<Stored>(&text).expect("and read again"), stored);
    Some(stored)
}

/// As the gateway itself writes them: sorted, each change once, the last change a newest state, and the changes of all
/// newest states among those remembered.
fn is_ours(stored: &Stored) -> bool {
    let heads: Vec<_> = stored.heads.iter().map(|head| &head.change).collect();
    !heads.is_empty()
        && heads.windows(2).all(|two| two[0] > two[1])
        && stored.changes.windows(2).all(|two| two[0] > two[1])
        && stored.changes.len() < REMEMBERED / 2
        && stored.changes.first() == heads.first().copied()
        && heads.iter().all(|change| stored.changes.contains(change))
        && stored.heads.iter().all(|head| head.document.kind() == stored.heads[0].document.kind())
        && stored.heads.iter().all(|head| match &head.document {
            Document::Session(session) => session.rights.is_sorted(),
            _ => true,
        })
}

/// One change makes one state, wherever it is remembered.
fn agree(a: &Stored, b: &Stored) -> bool {
    a.heads.iter().all(|x| b.heads.iter().all(|y| x.change != y.change || x.document == y.document))
}

fn never_wider(holds: &Document, than: &Document) {
    match (holds, than) {
        (Document::Session(holds), Document::Session(than)) => {
            assert!(holds.deadline <= than.deadline);
            assert!(holds.ended.is_some() || than.ended.is_none());
            assert!(holds.rights.iter().all(|right| than.rights.contains(right)));
        }
        (Document::Grant(holds), Document::Grant(than)) => {
            assert!(holds.until <= than.until);
            assert!(holds.ended.is_some() || than.ended.is_none());
        }
        (Document::Tenant(holds), Document::Tenant(than)) => {
            assert!(holds.environments.is_subset(&than.environments));
            assert!(holds.consent.closed_at >= than.consent.closed_at);
            assert!(holds.removed >= than.removed);
            assert!(than.taken.iter().all(|(name, at)| holds.taken.get(name).is_some_and(|later| later >= at)));
            let rank = |cap: &Option<LevelName>| cap.as_ref().map(|cap| LADDER.rank(cap));
            if let (Some(holds), Some(than)) = (rank(&holds.consent.cap), rank(&than.consent.cap)) {
                assert!(holds <= than);
            }
            if let Some(holds) = &holds.consent.raised {
                let than = than.consent.raised.as_ref().expect("a raise holds where both sides have one");
                assert!(holds.until <= than.until && LADDER.rank(&holds.level) <= LADDER.rank(&than.level));
            }
        }
        (Document::Presence(holds), Document::Presence(than)) => {
            assert!(than.sessions.keys().all(|session| holds.sessions.contains_key(session)));
        }
        (Document::Request(holds), Document::Request(than)) => {
            assert!(holds.expires <= than.expires);
            assert!(holds.over.is_some() || than.over.is_none());
            assert!(holds.approval.is_none() || than.approval.is_some());
        }
        (Document::Member(holds), Document::Member(than)) => {
            assert!(holds.roles.is_subset(&than.roles));
            assert!(holds.suspended || !than.suspended);
            assert!(holds.removed >= than.removed);
        }
        (Document::Made(holds), Document::Made(than)) => {
            assert!(than.kept.iter().all(|(key, kept)| {
                holds.kept.get(key).is_some_and(|ours| ours.until >= kept.until)
            }));
        }
        (Document::Grantor(holds), Document::Grantor(than)) => {
            assert!(holds.roles.is_superset(&than.roles) && holds.seen <= than.seen);
        }
        (Document::Role(holds), Document::Role(than)) => {
            assert!(holds.permissions.is_subset(&than.permissions));
            assert!(holds.own == than.own || holds.permissions.is_empty());
            assert!(holds.removed >= than.removed && holds.by.is_superset(&than.by));
        }
        (Document::Resource(holds), Document::Resource(than)) => {
            assert!(holds.parent.is_none() || holds.parent == than.parent);
            assert!(holds.creator.is_none() || holds.creator == than.creator);
            assert!(holds.assignees.is_subset(&than.assignees) && (than.public || !holds.public));
            assert!(holds.removed >= than.removed && holds.life >= than.life);
        }
        (Document::Joined(holds), Document::Joined(than)) => {
            let same = (&holds.role, holds.life, holds.left) == (&than.role, than.life, than.left);
            assert!(holds.removed >= than.removed && (same || holds.removed.is_some()));
        }
        (Document::Tally(holds), Document::Tally(than)) => {
            assert!(holds.life >= than.life);
            let fewer = holds.roles.iter().all(|(role, number)| *number <= than.of(role));
            assert!(holds.life > than.life || fewer);
        }
        (Document::Stop(holds), Document::Stop(than)) => {
            assert!(holds.set.is_some() || than.set.is_none());
            assert!(holds.closed_at >= than.closed_at);
        }
        _ => panic!("the kind changed"),
    }
}

fuzz_target!(|input: &[u8]| {
    if let Ok(key) = serde_json::from_slice::<Key>(input) {
        let text = serde_json::to_vec(&key).expect("a key can be written");
        assert_eq!(serde_json::from_slice::<Key>(&text).expect("and read"), key);
    }
    let mut copies = input.split(|byte| *byte == b'\n').filter_map(read);
    let Some(a) = copies.next() else { return };
    let _ = narrowest(&a, &LADDER);
    let b = copies.next().unwrap_or_else(|| a.clone());
    let joined = join(&a, &b);
    assert!(joined.changes.len() <= REMEMBERED);
    let holds = narrowest(&joined, &LADDER);
    // That the order of several joins plays no part holds of histories that can be; `tests/ground` makes such.
    if !(is_ours(&a) && is_ours(&b) && agree(&a, &b)) {
        return;
    }
    assert_eq!(join(&a, &a), a, "joined to itself");
    assert_eq!(join(&b, &a), joined, "in the other order");
    assert_eq!(join(&joined, &b), joined, "joined again");
    if a.heads[0].document.kind() == b.heads[0].document.kind() {
        let holds = holds.expect("of one kind something holds");
        for head in &joined.heads {
            never_wider(&holds, &head.document);
        }
    }
});
