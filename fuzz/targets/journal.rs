//! The journal's recovery: a genuine ledger of three segments, changed as the input says. Whatever was changed is named
//! by the verifier, and a gateway that opens it neither panics nor takes for whole what is not.
#![no_main]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    dead_code,
    reason = "no gateway"
)]

#[path = "../../tests/ledger/mod.rs"]
mod ledger;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use libfuzzer_sys::fuzz_target;
use postern::audit::{
    Journal, Options, SigningKey, VerifyingKey,
    journal::disk::RealDisk,
    record,
    verify::{Report, verify},
};
use tempfile::TempDir;

type Files = BTreeMap<String, Vec<u8>>;

struct Genuine {
    key: String,
    public: VerifyingKey,
    files: Files,
    size: u64,
}

/// Where a file system in memory is, so that flushing costs nothing.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { TempDir::new().unwrap() }
}

static GENUINE: LazyLock<Genuine> = LazyLock::new(|| {
    let dir = scratch();
    ledger::three_segments(dir.path());
    let key = ledger::key(dir.path());
    let files: Files = fs::read_dir(ledger::ledger(dir.path()))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("reserve") && !path.ends_with("lock"))
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect();
    let public = key.verifying_key().clone();
    let report = verify(&ledger::ledger(dir.path()), &public).unwrap();
    assert!(report.is_clean() && report.unsigned().is_empty());
    Genuine { key: key.to_text().unwrap().to_string(), public, files, size: report.size }
});

/// The names of segments, the histories of checkpoints, and the latest one, in a fixed order.
fn names() -> Vec<&'static str> {
    GENUINE.files.keys().map(String::as_str).collect()
}

/// Lines with their ends.
fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// Applies the script: steps of five bytes (file, deed, place, value); bytes behind a `0xff` are inserted text.
fn changed(script: &[u8]) -> Files {
    let mut files = GENUINE.files.clone();
    let names = names();
    let (steps, text) = match script.iter().position(|byte| *byte == 0xff) {
        Some(at) => (&script[..at], &script[at + 1..]),
        None => (script, &b""[..]),
    };
    for step in steps.chunks_exact(5).take(6) {
        let name = names[usize::from(step[0]) % names.len()];
        let place = usize::from(u16::from_be_bytes([step[2], step[3]]));
        let Some(file) = files.get_mut(name) else { continue };
        if file.is_empty() {
            continue;
        }
        let at = place % file.len();
        let mut rows = lines(file);
        let row = place % rows.len();
        match step[1] % 9 {
            0 => file[at] ^= step[4],
            1 => file.truncate(at),
            2 => {
                rows.remove(row);
                *file = rows.concat();
            }
            3 => {
                rows.insert(row, rows[row].clone());
                *file = rows.concat();
            }
            4 => {
                let other = (row + 1) % rows.len();
                rows.swap(row, other);
                *file = rows.concat();
            }
            5 => drop(file.splice(at..at, text.iter().copied())),
            6 => file.extend_from_slice(text),
            7 => {
                files.remove(name);
            }
            _ => {
                let other = names[usize::from(step[4]) % names.len()];
                if let Some(bytes) = GENUINE.files.get(other) {
                    files.insert(name.to_owned(), bytes.clone());
                }
            }
        }
    }
    files
}

fn write(dir: &Path, files: &Files) {
    fs::create_dir(dir).unwrap();
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

fn proven(dir: &Path) -> Option<Report> {
    let report = verify(dir, &GENUINE.public).ok()?;
    let _ = report.to_string();
    Some(report)
}

/// What may be changed without being named: a torn last line, which was never acknowledged, and older checkpoints, as
/// long as the latest one, which has a file of its own and covers every record, is there and says the same (a note may
/// bear several signatures, one of them twice).
fn is_tolerated(files: &Files) -> bool {
    let latest = |files: &Files| {
        let note = String::from_utf8(files.get("checkpoint")?.clone()).ok()?;
        GENUINE.public.open(&note).ok().map(str::to_owned)
    };
    records_are_whole(files) && latest(files) == latest(&GENUINE.files)
}

/// Every record is there as it was. A latest checkpoint that somebody took away is missed by the verifier, and written
/// anew by a gateway that goes on: all that it said stands in the histories too.
fn records_are_whole(files: &Files) -> bool {
    let segments: Vec<&String> = GENUINE.files.keys().filter(|name| name.ends_with(".jsonl")).collect();
    GENUINE.files.iter().all(|(name, genuine)| match files.get(name) {
        Some(now) if now == genuine => true,
        Some(now) if Some(&name) == segments.last() => {
            now.strip_prefix(genuine.as_slice()).is_some_and(|tail| !tail.contains(&b'\n'))
        }
        _ => !name.ends_with(".jsonl"),
    })
}

fuzz_target!(|input: &[u8]| {
    let Some((mode, rest)) = input.split_first() else { return };
    if mode & 3 == 3 {
        if let Ok(line) = record::parse(rest) {
            let _ = (line.hash(), line.leaf_json());
            assert!(rest.starts_with(line.leaf.as_bytes()));
        }
        return;
    }
    let files = changed(rest);
    let scratch = scratch();
    let dir: PathBuf = scratch.path().join("ledger");
    write(&dir, &files);
    let before = proven(&dir);
    if files == GENUINE.files {
        assert!(before.as_ref().is_some_and(Report::is_clean));
    }
    if let Some(report) = before.as_ref().filter(|report| report.is_clean()) {
        assert!(is_tolerated(&files), "changed, and not named:\n{report}");
        assert_eq!(report.size, GENUINE.size);
    }
    if mode & 1 == 0 {
        return;
    }
    let options = Options {
        segment_bytes: 64 << 10,
        reserve_bytes: 64 << 10,
        max_record: 8 << 10,
        ..Options::new(dir.clone(), ledger::ORIGIN.to_owned())
    };
    let key = SigningKey::parse(&GENUINE.key).unwrap();
    let opened = Journal::open(options, key, ledger::ManualClock::new().clock(), Arc::new(RealDisk));
    let (journal, recovered) = match opened {
        Ok(opened) => opened,
        Err(fault) => {
            assert!(files != GENUINE.files, "a whole ledger is not opened: {fault}");
            return;
        }
    };
    assert!(recovered.open_intents.len() as u64 <= GENUINE.size);
    if files.keys().any(|name| name.ends_with(".jsonl")) {
        assert!(!recovered.fresh, "records, and taken for a new ledger");
    }
    journal.append_blocking(ledger::intent(1000)).unwrap();
    journal.close();
    drop(journal);
    // Going on covers nothing up, and breaks nothing.
    let after = proven(&dir).expect("what was opened can be read");
    if before.is_some_and(|report| report.is_clean()) {
        assert!(after.is_clean() && after.size > GENUINE.size, "{after}");
    }
    assert!(!after.is_clean() || records_are_whole(&files), "records changed, and covered up:\n{after}");
});
