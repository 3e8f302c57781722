//! The ledger from outside: what is written, what is found again, and how tampering is named by both verifiers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests"
)]

mod ledger;

use std::fs;
use std::path::{Path, PathBuf};

use ledger::*;
use postern::audit::journal::disk::RealDisk;
use postern::audit::read::Records;
use postern::audit::verify::{Report, What, verify};
use postern::audit::{Options, VerifyingKey};

#[test]
fn a_ledger_of_three_segments_verifies_and_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    three_segments(dir.path());
    let report = verify(&ledger::ledger(dir.path()), &public(dir.path())).unwrap();
    println!("{report}");
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.size, report.signed, report.segments), (18, 18, 3));
    assert_eq!(report.kinds["access.intent"], 9);
    assert_eq!(report.kinds["segment"], 3);
    let open: Vec<&str> = report.open_intents.iter().map(|i| i.id.as_str()).collect();
    assert_eq!(open, ["x-2", "x-5", "x-8"]);

    let mut records = Records::open(&ledger::ledger(dir.path())).unwrap();
    let mut seqs = Vec::new();
    while let Some(seq) = records.next(|line, _, _| line.lead.seq).unwrap() {
        seqs.push(seq);
    }
    assert_eq!(seqs, (0..18).collect::<Vec<u64>>());
}

#[test]
fn opening_again_finds_open_intents_in_older_segments() {
    let dir = tempfile::tempdir().unwrap();
    three_segments(dir.path());
    let (journal, recovered) = open(dir.path());
    assert!(!recovered.fresh);
    assert_eq!(recovered.last_at_ms, Some(START_MS + 8));
    assert_eq!(recovered.dropped_tail_bytes, 0);
    let ids: Vec<&str> = recovered.open_intents.iter().map(|i| i.id.as_str()).collect();
    assert_eq!(ids, ["x-2", "x-5", "x-8"]);
    for intent in &recovered.open_intents {
        assert!(intent.line.contains(&format!("\"opens\":\"{}\"", intent.id)));
        let file =
            fs::read_to_string(ledger::ledger(dir.path()).join(format!("{:08}.jsonl", intent.seq / 6 + 1)))
                .unwrap();
        assert!(file.lines().any(|line| line == intent.line));
    }
    journal.append_blocking(outcome(2)).unwrap();
    journal.close();
    drop(journal);
    let (_journal, recovered) = open(dir.path());
    assert_eq!(recovered.open_intents.len(), 2);
}

#[test]
fn a_ledger_verifies_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let small = Options { segment_bytes: 64 << 10, max_record: 8 << 10, ..options(dir.path()) };
    let (journal, _) = open_with(small, dir.path(), std::sync::Arc::new(RealDisk)).unwrap();
    journal.append_blocking(intent(0)).unwrap();
    let key = public(dir.path());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut n = 1;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                journal.append_blocking(intent(n)).unwrap();
                n += 1;
            }
            n
        });
        let mut sizes = Vec::new();
        let mut segments = 0;
        // Until it has gone from segment to segment under the verifier's eyes.
        while sizes.len() < 30 || segments < 4 {
            let report = verify(&ledger::ledger(dir.path()), &key).unwrap();
            assert!(report.is_clean(), "{report}");
            sizes.push(report.size);
            segments = report.segments;
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let written = writer.join().unwrap();
        assert!(sizes.is_sorted() && sizes.last().unwrap() <= &(written + segments), "{sizes:?}");
    });
}

#[test]
fn a_closed_segment_keeps_no_room_behind_its_end() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    three_segments(dir.path());
    for number in 1..=3 {
        let path = ledger::ledger(dir.path()).join(format!("{number:08}.jsonl"));
        assert!(fs::metadata(path).unwrap().blocks() * 512 <= 16 << 10);
    }
}

#[test]
fn a_second_process_is_told_that_the_ledger_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let (_journal, recovered) = open(dir.path());
    assert!(recovered.fresh);
    let again = open_with(options(dir.path()), dir.path(), std::sync::Arc::new(RealDisk));
    assert!(matches!(again, Err(postern::audit::OpenError::Locked(_))));
}

// --- tampering -----------------------------------------------------------------------------------------------------

/// One change to a ledger, and what must be said of it.
struct Case {
    name: String,
    /// The files of the changed ledger that differ; `None` is a file removed.
    files: Vec<(String, Option<Vec<u8>>)>,
    /// File, line, first and last record, and which of these words must be said.
    expect: Expect,
}

#[derive(Clone)]
struct Expect {
    what: &'static [What],
    place: Option<(String, u64)>,
    record: Option<u64>,
}

struct Original {
    dir: PathBuf,
    segments: Vec<(String, Vec<Vec<u8>>)>,
}

impl Original {
    fn read(dir: &Path) -> Original {
        let mut segments = Vec::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "jsonl") {
                let bytes = fs::read(&path).unwrap();
                let lines = bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
                segments.push((path.file_name().unwrap().to_str().unwrap().to_owned(), lines));
            }
        }
        segments.sort();
        Original { dir: dir.to_owned(), segments }
    }

    /// Every line with its file, its number in it and its sequence number.
    fn lines(&self) -> Vec<(usize, usize, u64)> {
        let mut all = Vec::new();
        for (s, (_, lines)) in self.segments.iter().enumerate() {
            for l in 0..lines.len() {
                all.push((s, l, all.len() as u64));
            }
        }
        all
    }

    fn with(&self, segment: usize, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<(String, Option<Vec<u8>>)> {
        let (name, mut lines) = self.segments[segment].clone();
        change(&mut lines);
        vec![(name, Some(lines.concat()))]
    }

    fn write(&self, to: &Path, case: &Case) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(&self.dir).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("reserve") {
                continue;
            }
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
        for (name, content) in &case.files {
            match content {
                Some(bytes) => fs::write(to.join(name), bytes).unwrap(),
                None => fs::remove_file(to.join(name)).unwrap(),
            }
        }
    }
}

fn at(original: &Original, segment: usize, line: usize) -> Option<(String, u64)> {
    Some((original.segments[segment].0.clone(), line as u64 + 1))
}

/// What an attacker without the key can do to make lines fit again: new `prev` members from here on.
fn rechain(lines: &mut [(usize, Vec<u8>)], from: usize) {
    for i in from.max(1)..lines.len() {
        let before = lines[i - 1].1.clone();
        let hash = postern::audit::record::parse(before.strip_suffix(b"\n").unwrap()).unwrap().hash().hex();
        let text = String::from_utf8(lines[i].1.clone()).unwrap();
        let start = text.find("\"prev\":\"").unwrap() + 8;
        let mut new = text.clone();
        new.replace_range(start..start + 64, &hash);
        lines[i].1 = new.into_bytes();
    }
}

fn cases(original: &Original, every_byte: bool) -> Vec<Case> {
    use What::*;
    let mut cases = Vec::new();
    let mut add = |name: String, files, what: &'static [What], place, record| {
        cases.push(Case { name, files, expect: Expect { what, place, record } });
    };
    let all = original.lines();
    let last = all.len() - 1;
    for &(s, l, seq) in &all {
        let line = &original.segments[s].1[l];
        let here = at(original, s, l);
        let positions: Vec<usize> = if every_byte {
            (seq as usize % 4..line.len()).step_by(4).collect()
        } else {
            let text = String::from_utf8_lossy(line);
            let mut positions = vec![0, 5, line.len() - 2, line.len() - 1];
            for name in [
                "\"log\":\"",
                "\"seq\":",
                "\"batch\":",
                "\"at\":\"20",
                "\"kind\":\"",
                "\"sseq\":",
                "\"opens\":\"",
                "\"closes\":\"",
                "\"prev\":\"",
                "\"note\":\"",
                "\"digests\":[{\"person\":\"",
                "\"open\":[{\"salt\":\"",
                "\"email\":\"agent",
                "\"frontier\":[\"",
                "\"lines\":",
                "\"segment\":",
                "\"sessions\":{\"s-0\":",
            ] {
                positions.extend(text.rfind(name).map(|at| at + name.len()));
            }
            positions
        };
        for byte in positions {
            let files = original.with(s, |lines| lines[l][byte] ^= 1);
            add(
                format!("flip {s}/{l}/{byte}"),
                files,
                &[Altered, Open, Header, SessionGap, CutOff],
                here.clone(),
                Some(seq),
            );
        }
        let files = original.with(s, |lines| lines[l].insert(20, b'\n'));
        add(format!("split {s}/{l}"), files, &[Altered], here.clone(), Some(seq));
        let files = original.with(s, |lines| drop(lines.remove(l)));
        add(
            format!("drop {s}/{l}"),
            files,
            if seq == last as u64 { &[CutOff] } else { &[Dropped] },
            None,
            Some(seq),
        );
        let files = original.with(s, |lines| lines.insert(l, lines[l].clone()));
        add(
            format!("duplicate {s}/{l}"),
            files,
            &[Inserted],
            Some((original.segments[s].0.clone(), l as u64 + 2)),
            None,
        );
        let (fs, fl, _) = all[(seq as usize + 7) % all.len()];
        let foreign = original.segments[fs].1[fl].clone();
        if !(fs == s && fl == l + 1) {
            let files = original.with(s, |lines| lines.insert(l + 1, foreign.clone()));
            add(
                format!("copy {fs}/{fl} behind {s}/{l}"),
                files,
                &[Inserted],
                Some((original.segments[s].0.clone(), l as u64 + 2)),
                None,
            );
        }
        let files = original.with(s, |lines| {
            // A forged record that takes the next place and names the right hash.
            let parsed = postern::audit::record::parse(lines[l].strip_suffix(b"\n").unwrap()).unwrap();
            let forged = format!(
                "{{\"v\":1,\"log\":\"{ORIGIN}\",\"seq\":{},\"batch\":{},\"at\":\"2023-11-14T22:13:20.000Z\",\"kind\":\"forged\",\"prev\":\"{}\"}}\n",
                seq + 1, seq + 1, parsed.hash()
            );
            lines.insert(l + 1, forged.into_bytes());
        });
        let behind = Some((original.segments[s].0.clone(), l as u64 + 2));
        if seq < last as u64 {
            add(format!("forge behind {s}/{l}"), files, &[Inserted], behind, None);
        }
        let files = original.with(s, |lines| lines.insert(l + 1, b"{\"v\":1}\n".to_vec()));
        add(
            format!("rubbish behind {s}/{l}"),
            files,
            &[Inserted],
            Some((original.segments[s].0.clone(), l as u64 + 2)),
            None,
        );
        if l + 1 < original.segments[s].1.len() {
            let files = original.with(s, |lines| lines.swap(l, l + 1));
            add(format!("swap {s}/{l}"), files, &[Reordered], None, Some(seq));
        }
        // The end of the log cut off here, whole lines and in the middle of one.
        let mut files = original.with(s, |lines| lines.truncate(l));
        let mut torn = original.with(s, |lines| {
            lines.truncate(l + 1);
            let half = lines[l].len() / 2;
            lines[l].truncate(half);
        });
        for (name, _) in &original.segments[s + 1..] {
            files.push((name.clone(), None));
            torn.push((name.clone(), None));
        }
        add(format!("cut before {s}/{l}"), files, &[CutOff], None, Some(seq));
        add(format!("cut within {s}/{l}"), torn, &[CutOff], here.clone(), Some(seq));
        // The same with every `prev` behind it made to fit.
        let mut lines: Vec<(usize, Vec<u8>)> = original
            .segments
            .iter()
            .enumerate()
            .flat_map(|(s, (_, lines))| lines.iter().map(move |line| (s, line.clone())))
            .collect();
        let text = String::from_utf8(lines[seq as usize].1.clone()).unwrap();
        let changed = text.replacen("22:13:20", "22:13:21", 1);
        assert_ne!(text, changed);
        lines[seq as usize].1 = changed.into_bytes();
        rechain(&mut lines, seq as usize + 1);
        let files = original
            .segments
            .iter()
            .enumerate()
            .map(|(s, (name, _))| {
                let of = lines.iter().filter(|(of, _)| *of == s).flat_map(|(_, line)| line.clone()).collect();
                (name.clone(), Some(of))
            })
            .collect();
        add(format!("rechain {s}/{l}"), files, &[Mismatch, Altered], here, Some(seq));
    }
    let mut first = 0;
    for (s, (name, lines)) in original.segments.iter().enumerate() {
        let what: &'static [What] = if s + 1 == original.segments.len() { &[CutOff] } else { &[Dropped] };
        add(format!("remove {name}"), vec![(name.clone(), None)], what, None, Some(first));
        first += lines.len() as u64;
    }
    let checkpoint = fs::read(original.dir.join("checkpoint")).unwrap();
    add(
        "no checkpoint".into(),
        vec![("checkpoint".into(), None)],
        &[Checkpoint],
        Some(("checkpoint".into(), 0)),
        None,
    );
    for byte in (0..checkpoint.len()).step_by(if every_byte { 1 } else { 29 }) {
        let mut bytes = checkpoint.clone();
        bytes[byte] ^= 1;
        add(
            format!("checkpoint {byte}"),
            vec![("checkpoint".into(), Some(bytes))],
            &[Checkpoint],
            Some(("checkpoint".into(), 1)),
            None,
        );
    }
    let history = String::from_utf8(fs::read(original.dir.join("00000002.checkpoints")).unwrap()).unwrap();
    let old = history.lines().take(5).map(|l| format!("{l}\n")).collect::<String>().into_bytes();
    add(
        "an older checkpoint put back".into(),
        vec![("checkpoint".into(), Some(old))],
        &[Checkpoint],
        Some(("checkpoint".into(), 2)),
        None,
    );
    cases
}

fn judge(case: &Case, findings: &[(String, String, u64, u64, u64)]) -> Result<(), String> {
    let Expect { what, place, record } = &case.expect;
    let Some((code, file, line, first, last)) = findings.first() else {
        return Err(format!("{}: nothing was found", case.name));
    };
    let what_fits = what.iter().any(|w| w.code() == code);
    let place_fits = place.as_ref().is_none_or(|(f, l)| f == file && l == line);
    let record_fits =
        record.is_none_or(|r| (*first..=*last).contains(&r) && (first == &r || code == "cut_off"));
    if what_fits && place_fits && record_fits {
        return Ok(());
    }
    Err(format!("{}: expected {what:?} {place:?} {record:?}, found {findings:?}", case.name))
}

fn told(report: &Report) -> Vec<(String, String, u64, u64, u64)> {
    report
        .findings
        .iter()
        .map(|f| (f.what.code().to_owned(), f.file.clone(), f.line, f.first, f.last))
        .collect()
}

fn check_rust(original: &Original, cases: &[Case], key: &VerifyingKey, to: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    for (n, case) in cases.iter().enumerate() {
        let dir = to.join(n.to_string());
        original.write(&dir, case);
        let report = verify(&dir, key).unwrap();
        wrong.extend(judge(case, &told(&report)).err());
        if cases.len() > 1000 {
            fs::remove_dir_all(&dir).unwrap();
        }
    }
    wrong
}

/// What the verifier in Python says, in the same form, of one ledger after the other.
fn python(key: &VerifyingKey, dirs: &[PathBuf]) -> Vec<serde_json::Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit_verifier.py");
    let output = std::process::Command::new("python3")
        .arg(script)
        .arg(key.to_text())
        .args(dirs)
        .output()
        .expect("python3 is needed to run the second verifier; install it");
    let text = String::from_utf8(output.stdout).unwrap();
    let reports: Vec<_> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(reports.len(), dirs.len(), "{}", String::from_utf8_lossy(&output.stderr));
    reports
}

// GW-07
#[test]
fn both_verifiers_name_every_changed_line() {
    let dir = tempfile::tempdir().unwrap();
    three_segments(dir.path());
    let original = Original::read(&ledger::ledger(dir.path()));
    let key = public(dir.path());
    let cases = cases(&original, false);
    assert!(cases.len() > 300, "{}", cases.len());
    let dirs: Vec<PathBuf> = (0..cases.len()).map(|n| dir.path().join(format!("cases/{n}"))).collect();
    let mut wrong = check_rust(&original, &cases, &key, &dir.path().join("cases"));
    for (case, report) in cases.iter().zip(python(&key, &dirs)) {
        let found: Vec<(String, String, u64, u64, u64)> =
            serde_json::from_value(report["findings"].clone()).unwrap();
        wrong.extend(judge(case, &found).err().map(|e| format!("python: {e}")));
    }
    assert!(
        wrong.is_empty(),
        "{} of {} wrong:\n{}",
        wrong.len(),
        cases.len(),
        wrong[..wrong.len().min(40)].join("\n")
    );
}

#[test]
fn both_verifiers_agree_on_an_untouched_ledger() {
    let dir = tempfile::tempdir().unwrap();
    three_segments(dir.path());
    let key = public(dir.path());
    let ours = verify(&ledger::ledger(dir.path()), &key).unwrap();
    let theirs = python(&key, &[ledger::ledger(dir.path())]).remove(0);
    assert_eq!(theirs["findings"], serde_json::json!([]));
    assert_eq!(theirs["size"], ours.size);
    assert_eq!(theirs["signed"], ours.signed);
    assert_eq!(theirs["root"], ours.root.unwrap().hex());
    assert_eq!(theirs["checkpoints"], ours.checkpoints);
    assert_eq!(theirs["kinds"], serde_json::to_value(&ours.kinds).unwrap());
    let open: Vec<&str> = ours.open_intents.iter().map(|i| i.id.as_str()).collect();
    assert_eq!(theirs["open_intents"], serde_json::json!(open));
}

#[test]
fn erasing_personal_values_anywhere_leaves_a_ledger_that_verifies() {
    let dir = tempfile::tempdir().unwrap();
    three_segments(dir.path());
    let original = Original::read(&ledger::ledger(dir.path()));
    let key = public(dir.path());
    let mut dirs = Vec::new();
    for (s, l, seq) in original.lines() {
        let text = String::from_utf8(original.segments[s].1[l].clone()).unwrap();
        let Some((leaf, open)) = text.split_once(",\"open\":") else { continue };
        let second = open.find("},{").unwrap();
        let without_name = open.replacen(",\"name\":\"Ada \\\"Q\\\" Ünal\"", "", 1);
        assert_ne!(open, without_name);
        let variants = [
            format!("{leaf}}}\n"),
            format!("{leaf},\"open\":[null{}", &open[second + 1..]),
            format!("{leaf},\"open\":[null,null]}}\n"),
            format!("{leaf},\"open\":{without_name}"),
        ];
        for (n, line) in variants.into_iter().enumerate() {
            let files = original.with(s, |lines| lines[l] = line.into_bytes());
            let to = dir.path().join(format!("erased/{seq}-{n}"));
            let expect = Expect { what: &[], place: None, record: None };
            original.write(&to, &Case { name: String::new(), files, expect });
            let report = verify(&to, &key).unwrap();
            assert!(report.is_clean(), "{seq} {n}: {report}");
            dirs.push(to);
        }
    }
    assert_eq!(dirs.len(), 36);
    for report in python(&key, &dirs) {
        assert_eq!(report["findings"], serde_json::json!([]), "{report}");
    }
}

/// Of a name that is there twice readers take one value each: such a record says two things.
#[test]
fn both_verifiers_refuse_personal_values_that_are_named_twice() {
    let dir = tempfile::tempdir().unwrap();
    three_segments(dir.path());
    let original = Original::read(&ledger::ledger(dir.path()));
    let key = public(dir.path());
    let (s, l, _) = original
        .lines()
        .into_iter()
        .find(|(s, l, _)| String::from_utf8_lossy(&original.segments[*s].1[*l]).contains("\"open\":[{"))
        .unwrap();
    let text = String::from_utf8(original.segments[s].1[l].clone()).unwrap();
    let (leaf, open) = text.split_once(",\"open\":[{").unwrap();
    let twice = format!("{leaf},\"open\":[{{\"email\":\"mallory@evil.example\",{open}");
    let files = original.with(s, |lines| lines[l] = twice.into_bytes());
    let to = dir.path().join("twice");
    let expect = Expect { what: &[], place: None, record: None };
    original.write(&to, &Case { name: String::new(), files, expect });
    let report = verify(&to, &key).unwrap();
    assert!(report.findings.iter().any(|f| f.what == What::Open), "{report}");
    let theirs = python(&key, &[to]).remove(0);
    assert_eq!(theirs["findings"][0][0], "open", "{theirs}");
}

#[test]
fn both_verifiers_name_a_segment_without_lines() {
    let dir = tempfile::tempdir().unwrap();
    three_segments(dir.path());
    let at = ledger::ledger(dir.path());
    fs::write(at.join("00000004.jsonl"), "").unwrap();
    let key = public(dir.path());
    let report = verify(&at, &key).unwrap();
    let found = told(&report);
    assert_eq!(found.len(), 1, "{report}");
    assert_eq!((found[0].0.as_str(), found[0].1.as_str()), ("header", "00000004.jsonl"));
    let theirs: Vec<(String, String, u64, u64, u64)> =
        serde_json::from_value(python(&key, std::slice::from_ref(&at)).remove(0)["findings"].clone())
            .unwrap();
    assert_eq!(theirs, found);
    let opened = open_with(options(dir.path()), dir.path(), std::sync::Arc::new(RealDisk));
    assert!(opened.is_err(), "and it is not gone on from");
}

#[test]
fn every_changed_line_is_named() {
    let dir = tempfile::tempdir().unwrap();
    three_segments(dir.path());
    let original = Original::read(&ledger::ledger(dir.path()));
    let cases = cases(&original, true);
    assert!(cases.len() > 1500, "{}", cases.len());
    let wrong = check_rust(&original, &cases, &public(dir.path()), &dir.path().join("cases"));
    assert!(
        wrong.is_empty(),
        "{} of {} wrong:\n{}",
        wrong.len(),
        cases.len(),
        wrong[..wrong.len().min(40)].join("\n")
    );
}
