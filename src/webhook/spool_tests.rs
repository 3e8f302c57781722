use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::audit::{
    body::Body,
    journal::{Draft, Journal, Options, disk::RealDisk},
    note::SigningKey,
};

const ORIGIN: &str = "example.com/spool";

fn wanted() -> Wanted {
    Wanted { events: ["approval_changed", "request_questioned"].into(), tenants: None }
}

struct Ledger {
    dir: tempfile::TempDir,
    key: SigningKey,
    journal: Option<Journal>,
    written: usize,
}

impl Ledger {
    fn begin() -> Ledger {
        let mut ledger = Ledger {
            dir: tempfile::tempdir().unwrap(),
            key: SigningKey::generate(ORIGIN).unwrap(),
            journal: None,
            written: 0,
        };
        ledger.open();
        ledger
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("ledger")
    }

    fn open(&mut self) {
        let options = Options {
            segment_bytes: 64 << 10,
            reserve_bytes: 64 << 10,
            max_record: 16 << 10,
            ..Options::new(self.path(), ORIGIN.to_owned())
        };
        let key = SigningKey::parse(self.key.to_text().unwrap().trim()).unwrap();
        let (journal, _) = Journal::open(options, key, Arc::new(|| 1_000), Arc::new(RealDisk)).unwrap();
        self.journal = Some(journal);
    }

    /// As after a crash in the middle of a write: half a line that was never acknowledged.
    fn crash(&mut self) {
        self.journal.take().unwrap().close();
        let last = *crate::audit::read::segments(&self.path()).unwrap().last().unwrap();
        let path = self.path().join(crate::audit::read::segment_name(last));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"v\":1,\"log\":\"example.com/spool\",\"seq\":9");
        std::fs::write(&path, bytes).unwrap();
        self.open();
    }

    fn append(&self, kind: &'static str, body: &Value) {
        let body = Body::of(body).unwrap();
        self.journal.as_ref().unwrap().append_blocking(Draft::new(kind, 1_000, body)).unwrap();
    }

    fn size(&self) -> u64 {
        self.journal.as_ref().unwrap().status().size
    }

    /// One change with two events that are wanted and one that is not, and accesses around it.
    fn change(&mut self) {
        let change = format!("chg_{}", self.written);
        self.written += 1;
        self.append(
            "access.outcome",
            &json!({ "exchange": "e", "tenant": "acme", "path": "x".repeat(3_000) }),
        );
        self.append(
            "change.outcome",
            &json!({ "change": change, "tenant": "acme", "outcome": "stored", "events": [
                { "event": "approval_changed", "required": true }, { "event": "tenant_registered" },
                { "event": "request_questioned", "request": "req_1" }], "documents": [] }),
        );
        self.append("access.outcome", &json!({ "exchange": "e", "tenant": "acme" }));
    }

    fn expected(&self) -> Vec<String> {
        (0..self.written).flat_map(|n| [format!("chg_{n}-0"), format!("chg_{n}-2")]).collect()
    }
}

fn ids(stretch: &Stretch) -> Vec<String> {
    stretch.messages.iter().map(|message| message.id.clone()).collect()
}

// GW-11
#[test]
fn reading_on_bit_by_bit_finds_what_reading_at_once_does_over_segments_and_crashes() {
    let mut ledger = Ledger::begin();
    let (mut at, mut place, mut found) = (0, None, Vec::new());
    let of = |stretch: &Stretch| -> Vec<(u64, String)> {
        stretch.messages.iter().map(|message| (message.seq, message.id.clone())).collect()
    };
    for round in 0..60 {
        ledger.change();
        if round % 20 == 19 {
            ledger.crash();
        }
        // Not always up to the end: what is not durable yet stays for the next look.
        let size = ledger.size() - u64::from(round % 3 == 0);
        while at < size {
            let stretch = read_on(&ledger.path(), &wanted(), (at, 0), place, size).unwrap();
            assert!(stretch.messages.iter().all(|message| message.seq < size));
            assert!(stretch.next > at, "it goes on");
            found.extend(of(&stretch));
            (at, place) = (stretch.next, stretch.place);
        }
        assert_eq!(at, size);
    }
    let rest = read_on(&ledger.path(), &wanted(), (at, 0), place, ledger.size()).unwrap();
    found.extend(of(&rest));
    assert!(found.iter().map(|(_, id)| id).eq(&ledger.expected()), "{found:?}");
    assert!(crate::audit::read::segments(&ledger.path()).unwrap().len() > 3);
    // And without a place, as after a restart, from anywhere.
    for from in 0..ledger.size() {
        let (mut at, mut again) = (from, Vec::new());
        while at < ledger.size() {
            let stretch = read_on(&ledger.path(), &wanted(), (at, 0), None, ledger.size()).unwrap();
            again.extend(of(&stretch));
            at = stretch.next;
        }
        let behind: Vec<_> = found.iter().filter(|(seq, _)| *seq >= from).cloned().collect();
        assert_eq!(again, behind, "{from}");
    }
}

#[test]
fn of_a_record_whose_first_event_is_over_the_others_are_found() {
    let mut ledger = Ledger::begin();
    ledger.change();
    let all = read_on(&ledger.path(), &wanted(), (0, 0), None, ledger.size()).unwrap();
    let seq = all.messages[0].seq;
    for (told, expected) in
        [(0, vec!["chg_0-0", "chg_0-2"]), (1, vec!["chg_0-2"]), (2, vec!["chg_0-2"]), (3, vec![])]
    {
        let rest = read_on(&ledger.path(), &wanted(), (seq, told), None, ledger.size()).unwrap();
        assert_eq!(ids(&rest), expected, "{told}");
        assert_eq!(rest.next, ledger.size());
    }
}

#[test]
fn one_look_is_bounded_however_much_there_is() {
    let mut ledger = Ledger::begin();
    for _ in 0..100 {
        ledger.change();
    }
    let first = read_on(&ledger.path(), &wanted(), (0, 0), None, ledger.size()).unwrap();
    assert_eq!(first.messages.len(), MOST);
    assert!(first.next < ledger.size());
}
