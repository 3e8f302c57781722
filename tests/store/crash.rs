//! `kill -9` under load: what was acknowledged is there, what is there is whole. And a second process is locked out.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use postern::{
    model::{Document, Key, Stored},
    state::{Commit, Embedded, OpenFault, Part, Store},
};

use crate::make::*;

const PLACE: &str = "POSTERN_TEST_STORE";
const TASKS: usize = 8;
const ROUNDS: u64 = 25;

fn keys(task: usize) -> (Key, Key) {
    (session_key("a", &format!("s{task}")), grant_key("a", &format!("g{task}")))
}

/// Both documents say the same number; a torn commit would show.
fn both(task: usize, number: i64, before: Option<&[Stored; 2]>) -> Commit {
    let (session, grant) = keys(task);
    let id = change(&format!("c{task}-{number:08}"));
    let first = step(id.clone(), &session, before.map(|b| &b[0]), super::make::session(number, None));
    let mut commit = step(id, &grant, before.map(|b| &b[1]), super::make::grant(number));
    commit.read.extend(first.read);
    commit.write.extend(first.write);
    commit
}

fn numbers(stored: &[Stored; 2]) -> (i64, i64) {
    let Document::Session(session) = &stored[0].heads[0].document else { panic!() };
    let Document::Grant(grant) = &stored[1].heads[0].document else { panic!() };
    (session.deadline.ms(), grant.until.ms())
}

async fn state(store: &dyn Store, task: usize) -> Option<[Stored; 2]> {
    let (session, grant) = keys(task);
    let found = store.load(&[session, grant]).await.unwrap();
    let found: Vec<Stored> = found.into_iter().flatten().map(Result::unwrap).collect();
    match found.len() {
        0 => None,
        2 => Some(found.try_into().unwrap()),
        _ => panic!("a torn commit"),
    }
}

/// The process that is killed. Run by the tests below, by name.
#[test]
#[ignore = "it is the child of the tests in this file"]
fn child() {
    let Some(path) = std::env::var_os(PLACE) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(Embedded::open(Path::new(&path)).unwrap());
        say("open");
        for task in 0..TASKS {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut before = state(&*store, task).await;
                loop {
                    let number = before.as_ref().map_or(0, |stored| numbers(stored).0) + 1;
                    let commit = both(task, number, before.as_ref());
                    store.commit(commit.clone()).await.unwrap();
                    say(&format!("{task} {number}"));
                    let mut written = commit.write.into_iter().map(|(_, stored)| stored);
                    let (grant, session) = (written.next().unwrap(), written.next().unwrap());
                    before = Some([session, grant]);
                }
            });
        }
        std::future::pending::<()>().await;
    });
}

/// One line that the parent reads, whole or not at all.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n@{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

fn spawn(path: &Path) -> (Child, impl Iterator<Item = String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(PLACE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut lines = lines.filter_map(|line| line.strip_prefix('@').map(str::to_owned));
    assert_eq!(lines.next().as_deref(), Some("open"));
    (child, lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9_and_nothing_is_torn() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    Embedded::init(&path).unwrap();
    let mut acknowledged: BTreeMap<usize, i64> = BTreeMap::new();
    let mut total = 0;
    for round in 0..ROUNDS {
        let (mut process, mut lines) = spawn(&path);
        let mut note = |line: String| {
            let (task, number) = line.split_once(' ').unwrap();
            let (task, number) = (task.parse().unwrap(), number.parse().unwrap());
            let before = acknowledged.insert(task, number);
            assert!(before.is_none_or(|before| before < number));
            total += 1;
        };
        for _ in 0..20 + (round * 37) % 150 {
            note(lines.next().unwrap());
        }
        process.kill().unwrap();
        process.wait().unwrap();
        // What was still in the pipe was acknowledged too.
        lines.for_each(&mut note);
        let store = Embedded::open(&path).unwrap();
        let mut sum = 0;
        for task in 0..TASKS {
            let floor = acknowledged.get(&task).copied().unwrap_or(0);
            let number = match state(&store, task).await {
                None => 0,
                Some(stored) => {
                    let (session, grant) = numbers(&stored);
                    assert_eq!(session, grant, "a torn commit");
                    assert_eq!(stored[0].version.number, session as u64);
                    session
                }
            };
            assert!(number == floor || number == floor + 1, "task {task}: {number} after {floor}");
            for known in
                [1, floor / 2, floor, number].into_iter().filter(|known| (1..=number).contains(known))
            {
                let place = store.asked(Part::FIRST, &change(&format!("c{task}-{known:08}"))).await.unwrap();
                assert!(place.is_some(), "an acknowledged change is not known");
            }
            assert_eq!(
                store.asked(Part::FIRST, &change(&format!("c{task}-{:08}", number + 1))).await,
                Ok(None)
            );
            sum += number as u64;
            acknowledged.insert(task, number);
        }
        // The feed tells each change once, and the deadlines are those of the documents.
        assert_eq!(store.mark(Part::FIRST).await.unwrap().position, sum);
        let mut seen = 0;
        while seen < sum {
            for entry in store.changes_after(Part::FIRST, seen, 500).await.unwrap() {
                seen += 1;
                assert_eq!(entry.place.number, seen);
            }
        }
        assert_eq!(store.due(at(i64::MAX), None, 1000).await.whole().unwrap().len(), live(&acknowledged) * 2);
        store.close().await;
    }
    println!("{total} acknowledged changes in {ROUNDS} rounds");
}

fn live(acknowledged: &BTreeMap<usize, i64>) -> usize {
    acknowledged.values().filter(|number| **number > 0).count()
}

#[tokio::test]
async fn a_second_process_is_locked_out_and_disturbs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    Embedded::init(&path).unwrap();
    let (mut process, mut lines) = spawn(&path);
    let fault = Embedded::open(&path).unwrap_err();
    assert!(matches!(fault, OpenFault::Locked(_)), "{fault}");
    assert!(matches!(Embedded::init(&path), Err(OpenFault::Exists(_))));
    for _ in 0..50 {
        assert!(lines.next().is_some(), "the first goes on");
    }
    process.kill().unwrap();
    process.wait().unwrap();
    Embedded::open(&path).unwrap().close().await;
}
