//! The live record of all gateways in one stream: as it happens, resumed anywhere, and honest about who is missing.

use std::{sync::Arc, sync::atomic::Ordering::SeqCst, time::Duration};

use serde_json::{Value, json};

use crate::{
    client::{Client, Ending},
    fake::{fake, item, who},
    stage::*,
    world::{request, until},
};

const STREAM: &str = "/_postern/v1/tenants/acme/audit/stream";

/// An event: its id, its name, its data.
type Event = (Option<String>, String, Value);

struct Reader {
    client: Client,
    /// Events that were taken already.
    taken: usize,
}

impl Reader {
    fn open(one: &One, token: &str, more: &str) -> Reader {
        let mut client = Client::connect(one.gateway().address());
        client.send(request("GET", STREAM, token, more));
        let head = client.head();
        assert!(head.contains(" 200 "), "{head}");
        Reader { client, taken: 0 }
    }

    /// All that came, without the framing.
    fn events(&self) -> Vec<Event> {
        let (mut text, mut rest) = (Vec::new(), self.client.inbox.as_slice());
        while let Some(at) = rest.windows(2).position(|w| w == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..at]).unwrap(), 16).unwrap();
            let Some(chunk) = rest.get(at + 2..at + 2 + size) else { break };
            text.extend_from_slice(chunk);
            rest = rest.get(at + 4 + size..).unwrap_or_default();
        }
        let text = String::from_utf8(text).unwrap();
        let mut all = Vec::new();
        for event in text.split("\n\n").filter(|event| event.contains("event: ")) {
            let field =
                |name: &str| event.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
            let data = serde_json::from_str(&field("data: ").unwrap()).unwrap();
            all.push((field("id: "), field("event: ").unwrap(), data));
        }
        all
    }

    /// The next event of this name; others are passed over.
    fn next(&mut self, name: &str) -> Event {
        loop {
            let events = self.events();
            while let Some(event) = events.get(self.taken) {
                self.taken += 1;
                if event.1 == name {
                    return event.clone();
                }
            }
            assert_eq!(self.client.more(), Ending::Open, "{events:?}");
        }
    }

    fn records(&mut self, count: usize) -> Vec<(String, Value)> {
        (0..count).map(|_| self.next("record")).map(|(id, _, data)| (id.unwrap(), data)).collect()
    }
}

// GW-11
#[test]
fn what_any_gateway_records_is_told_as_it_happens_and_goes_on_at_another() {
    let fleet = Fleet::new();
    let [one, two, mut three] = ["gw1", "gw2", "gw3"].map(|name| fleet.one(name));
    let admin = fleet.people().admin("acme");
    let mut reader = Reader::open(&one, &admin, "");
    let told = reader.next("ledgers").2;
    assert_eq!(told["missing"], json!([]));
    assert_eq!(told["ledgers"].as_array().unwrap().len(), 3, "{told}");
    let mut seen = Vec::new();
    for asked in [&two, &three, &one, &two] {
        asked.consent(fleet.people(), "globex", "full");
        asked.consent(fleet.people(), "acme", if seen.len() % 4 == 0 { "full" } else { "block" });
        let came = reader.records(2);
        for (_, item) in &came {
            assert_eq!(
                (&item["log"], &item["record"]["tenant"]),
                (&json!(log_of(&asked.name)), &json!("acme"))
            );
        }
        seen.extend(came);
    }
    // Each as a page shows it.
    let page = one.page("?limit=200", &admin);
    assert!(seen.iter().all(|(_, item)| page["items"].as_array().unwrap().contains(item)));
    // One that stops is named, and so are the others that go on.
    three.consent(fleet.people(), "acme", "edit");
    let missed_by_nobody = reader.records(2);
    three.stop();
    let told = reader.next("ledgers").2;
    assert_eq!(told["missing"], json!(["gw3"]));
    assert_eq!(told["ledgers"].as_array().unwrap().len(), 2, "{told}");
    two.consent(fleet.people(), "acme", "edit");
    seen.extend(missed_by_nobody);
    seen.extend(reader.records(2));
    // When it is back it goes on where it was; nothing comes twice.
    fleet.up(&mut three);
    assert_eq!(reader.next("ledgers").2["missing"], json!([]));
    three.consent(fleet.people(), "acme", "read_only");
    // What it writes when it starts comes as well; until the outcome of that change.
    let mut change = Value::Null;
    loop {
        let (id, item) = reader.records(1).remove(0);
        assert_eq!(item["log"], "example.com/gw3", "{item}");
        if item["record"]["command"] == "set_consent" {
            change = item["record"]["change"].clone();
        }
        let last = item["record"]["kind"] == "change.outcome" && item["record"]["change"] == change;
        seen.push((id, item));
        if last {
            break;
        }
    }
    let places: std::collections::BTreeSet<_> = seen.iter().map(|(_, item)| place(item)).collect();
    assert_eq!(places.len(), seen.len(), "a record came twice");
    // Its reader goes on at another gateway behind the fourth event: the rest comes again, whichever ledger it is of.
    drop(reader);
    let mut reader = Reader::open(&two, &admin, &format!("Last-Event-ID: {}\r\n", seen[3].0));
    let mut rest: Vec<_> = reader.records(seen.len() - 4).iter().map(|(_, item)| place(item)).collect();
    let mut wanted: Vec<_> = seen[4..].iter().map(|(_, item)| place(item)).collect();
    rest.sort();
    wanted.sort();
    assert_eq!(rest, wanted);
    // And a page's place is one of the stream too.
    drop(reader);
    let next = page["next"].as_str().unwrap();
    let mut reader = Reader::open(&three, &admin, &format!("Last-Event-ID: {next}\r\n"));
    let known: Vec<_> = page["items"].as_array().unwrap().iter().map(place).collect();
    assert!(reader.records(4).iter().all(|(_, item)| !known.contains(&place(item))));
    // One that is retired is told of as that, and no longer as missing.
    drop(reader);
    let mut reader = Reader::open(&one, &admin, "");
    let told = reader.next("ledgers").2;
    assert!(told.get("retired").is_none(), "{told}");
    three.stop();
    assert_eq!(reader.next("ledgers").2["missing"], json!(["gw3"]));
    fleet.known.retire("gw3");
    let told = reader.next("ledgers").2;
    assert_eq!((&told["missing"], &told["retired"][0]["gateway"]), (&json!([]), &json!("gw3")));
}

#[test]
fn alone_the_stream_is_as_without_a_fleet() {
    let fleet = Fleet::new();
    let [one, two] = ["gw1", "gw2"].map(|name| fleet.one(name));
    let admin = fleet.people().admin("acme");
    let mut client = Client::connect(one.gateway().address());
    client.send(request("GET", &format!("{STREAM}?ledger=own"), &admin, ""));
    assert!(client.head().contains(" 200 "));
    two.consent(fleet.people(), "acme", "full");
    one.consent(fleet.people(), "acme", "full");
    let mut reader = Reader { client, taken: 0 };
    for (id, item) in reader.records(2) {
        assert_eq!(id, item["seq"].to_string());
        assert!(item.get("log").is_none(), "{item}");
    }
    assert!(reader.events().iter().all(|(_, name, _)| name == "record"));
    // A place of one is none of the other.
    for (query, last) in [("", "5"), ("?ledger=own", "AAAA"), ("?last_event_id=5", "")] {
        let more = if last.is_empty() { String::new() } else { format!("Last-Event-ID: {last}\r\n") };
        let reply = one.ask("GET", &format!("{STREAM}{query}"), &admin, &more);
        assert_eq!((reply.status, reply.code().as_str()), (400, "query_malformed"), "{query} {last}");
    }
}

#[test]
fn whoever_reads_slowly_costs_the_memory_of_a_piece() {
    const COUNT: u64 = 600;
    let fleet = Fleet::new();
    let one = fleet.one("gw1");
    let (log, now) = ("example.com/gw4", fleet.people().now_ms());
    // Sixty mebibytes, as fast as somebody takes them.
    let mut stream = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for seq in 1..=COUNT {
        let padded = item(log, seq, now, &format!("acme\",\"padding\":\"{}", "x".repeat(100 << 10)));
        let line = format!(
            "{{\"gateway\":\"gw4\",\"log\":\"{log}\",\"size\":{},\"items\":[{padded}],\"next\":{},\"complete\":false,\"until\":{now}}}\n",
            COUNT + 10,
            seq + 1
        );
        stream.extend_from_slice(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes());
    }
    let whole = stream.len();
    let script = move |path: &str, _: &Value| match path {
        "/v1/who" => Some(who("gw4", log)),
        _ => Some(stream.clone()),
    };
    let peer = fake(fleet.sides().0, Arc::new(script));
    fleet.known.name("gw4", peer.address);
    let mut client = Client::connect(one.gateway().address());
    client.send(request("GET", STREAM, &fleet.people().admin("acme"), ""));
    assert!(client.head().contains(" 200 "));
    // It is taken no faster than it is read: all that is on the way is in the sockets' buffers.
    let mut last = 0;
    until("it stands still", || {
        std::thread::sleep(Duration::from_millis(300));
        let taken = peer.written.load(SeqCst);
        std::mem::replace(&mut last, taken) == taken && taken > 0
    });
    assert!(last < whole / 3 * 2, "{last} of {whole}");
    // And all of it comes, in order, when it is read.
    let (mut seen, mut rest) = (Vec::new(), Vec::new());
    const BEFORE: &[u8] = b"data: {\"log\":\"example.com/gw4\",\"seq\":";
    while (seen.len() as u64) < COUNT {
        assert_eq!(client.more(), Ending::Open);
        rest.append(&mut client.inbox);
        while let Some(at) = rest.windows(BEFORE.len()).position(|w| w == BEFORE) {
            let number = &rest[at + BEFORE.len()..];
            let Some(end) = number.iter().position(|byte| *byte == b',') else { break };
            seen.push(std::str::from_utf8(&number[..end]).unwrap().parse::<u64>().unwrap());
            rest.drain(..at + BEFORE.len());
        }
        // What was searched and holds no beginning is not searched again.
        rest.drain(..rest.len().saturating_sub(200));
    }
    assert_eq!(seen, (1..=COUNT).collect::<Vec<_>>());
}
