//! One case through one gateway: what is answered, what arrives, and that nothing is left behind.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use std::{io::Write as _, net::Shutdown};

use crate::{
    backends::Backend,
    client::{Client, Ending, Reply},
    format::{Case, unescaped},
    upstream::Seen,
    world::*,
};

/// What the gateway writes by itself, judged apart from what a client sent.
const OWN: [&str; 6] =
    ["host", "content-length", "transfer-encoding", "postern-assertion", "x-remote-user", "authorization"];

/// What support may never do, and where: closed by the ceiling, whatever a tenant consents to.
pub const FORBIDDEN: [&str; 2] = ["/t/acme/users", "/t/acme/api/users"];

pub struct Judge {
    pub world: World,
    pub admin: String,
    pub staff: String,
    pub expired: String,
    pub session: String,
    models: Vec<Backend>,
    /// Requests of staff that arrived, in order: each must have exactly one intent.
    recorded: Vec<String>,
    innocents: usize,
}

impl Judge {
    pub fn new(plan: Plan) -> Judge {
        // One core: so that the connection to the application that a case used is the one that the next request gets.
        let world = World::of(plan.edit("workers: 2", "workers: 1"));
        let admin = world.people.admin("acme");
        let staff = world.people.staff("sam");
        let mut old = world.people.staff_claims("sam");
        for name in ["iat", "exp"] {
            old[name] = (old[name].as_i64().unwrap() - 90_000).into();
        }
        let expired = world.people.keys.vendor.sign("at+jwt", &old).unwrap();
        let session = world.start_session("acme", &staff).as_str().to_owned();
        Judge {
            world,
            admin,
            staff,
            expired,
            session,
            models: Backend::all(),
            recorded: Vec::new(),
            innocents: 0,
        }
    }

    pub fn fill(&self) -> [(&str, &str); 4] {
        [
            ("{admin}", &self.admin),
            ("{staff}", &self.staff),
            ("{expired}", &self.expired),
            ("{session}", &self.session),
        ]
    }

    /// Sends a case, in these pieces, and looks at everything that came of it. What is wrong, if anything.
    pub fn judge(&mut self, case: &Case, pieces: &[&[u8]]) -> Result<(), String> {
        let before = self.world.upstream.seen().len();
        let received = self.world.upstream.received();
        let mut client = self.world.client();
        for piece in pieces {
            // The gateway may close before it has read everything that was wrong.
            if client.stream.write_all(piece).is_err() {
                break;
            }
        }
        let mut wanted = Vec::new();
        let (mut closed, mut cut) = (false, false);
        for verdict in &case.expected {
            let words: Vec<&str> = verdict.splitn(2, ' ').collect();
            let (verb, rest) = (words[0], words.get(1).copied().unwrap_or_default());
            match verb {
                "closed" => {
                    while client.inbox.is_empty() && client.more() == Ending::Open {}
                    if !client.inbox.is_empty() {
                        return Err(format!("one answer more: {}", String::from_utf8_lossy(&client.inbox)));
                    }
                    closed = true;
                }
                "forward" => {
                    let reply = last_reply(&mut client, rest.starts_with("HEAD "));
                    if reply.status != 200 {
                        return Err(format!("{} {}, not forwarded", reply.status, reply.code()));
                    }
                    wanted.push(rest.to_owned());
                }
                "answer" => {
                    let reply = last_reply(&mut client, false);
                    if reply.status.to_string() != rest {
                        return Err(format!("{} {}", reply.status, reply.code()));
                    }
                }
                "refuse" | "cut" => {
                    let reply = last_reply(&mut client, false);
                    let told = format!("{} {}", reply.status, reply.code());
                    if told != rest {
                        return Err(told);
                    }
                    cut |= verb == "cut";
                }
                other => panic!("{}: no verdict: {other}", case.id),
            }
        }
        if !closed {
            wanted.push(self.innocent(&mut client)?);
        }
        if cut {
            // Half a request leaves its connection behind; what is still unread there is none of the next case's.
            self.world.upstream.settled();
        }
        let arrived = self.world.upstream.seen()[before..].to_vec();
        // A connection that carried something is kept for the next one, so the next one shows what was left on it.
        let mut fresh = self.world.client();
        self.innocent(&mut fresh)?;

        let (whole, broken): (Vec<&Seen>, Vec<&Seen>) = arrived.iter().partition(|seen| is_whole(seen));
        if whole.len() != wanted.len() {
            return Err(format!("{} requests arrived, not {}: {arrived:?}", whole.len(), wanted.len()));
        }
        if !broken.is_empty() && !cut {
            return Err(format!("half a request arrived: {broken:?}"));
        }
        let mut lists = case.arrives.iter();
        for (seen, wanted) in whole.iter().zip(&wanted) {
            let innocent = wanted.contains("do=echo");
            let list = if innocent { None } else { lists.next() };
            self.clean(seen, wanted, list.map_or(&[][..], Vec::as_slice))?;
        }
        for seen in broken {
            self.note(seen)?;
        }
        // Every byte that came belongs to a request that was looked at.
        let bytes: usize =
            self.world.upstream.seen()[before..].iter().map(|seen| seen.head.len() + seen.body.len()).sum();
        let came = self.world.upstream.received() - received;
        if !cut && came != bytes as u64 {
            return Err(format!("{came} bytes arrived, {bytes} of them in requests"));
        }
        Ok(())
    }

    /// Somebody else's request, on this connection; the answer must be the one to it.
    fn innocent(&mut self, client: &mut Client) -> Result<String, String> {
        self.innocents += 1;
        let target = self.last_innocent();
        client.send(request("GET", &target, &self.admin, ""));
        let reply = client.reply();
        if (reply.status, reply.text()) != (200, target.clone()) {
            return Err(format!("an innocent request got {} {}", reply.status, reply.text()));
        }
        Ok(format!("GET {target}"))
    }

    fn last_innocent(&self) -> String {
        format!("/t/acme/orders?do=echo&innocent={}", self.innocents)
    }

    /// What arrived is what was decided on, said by the gateway alone.
    pub fn clean(&mut self, seen: &Seen, wanted: &str, arrives: &[String]) -> Result<(), String> {
        let mut parts = wanted.splitn(3, ' ');
        let (method, target) = (parts.next().unwrap(), parts.next().unwrap());
        let line = format!("{method} {target} HTTP/1.1");
        if seen.line() != line {
            return Err(format!("`{}` arrived, not `{line}`", seen.line()));
        }
        let body = decoded(seen)?;
        let wanted_body = parts.next().map(unescaped).unwrap_or_default();
        if body != wanted_body {
            return Err(format!("the body `{}` arrived", body.escape_ascii()));
        }
        let framings = seen.values("content-length").len() + seen.values("transfer-encoding").len();
        if seen.values("host").len() != 1 || framings > 1 {
            return Err(format!("framed or addressed twice: {}", seen.head));
        }
        // Names and values byte for byte, in order; those that the gateway writes apart.
        let lines: Vec<&str> = seen.head.split("\r\n").skip(1).filter(|line| !line.is_empty()).collect();
        let others: Vec<&str> = lines
            .iter()
            .copied()
            .filter(|line| !OWN.contains(&line.split(':').next().unwrap().to_ascii_lowercase().as_str()))
            .collect();
        let expected: Vec<String> =
            arrives.iter().map(|line| String::from_utf8_lossy(&unescaped(line)).into_owned()).collect();
        let expected: Vec<String> =
            expected.into_iter().map(|line| if line.ends_with(':') { line + " " } else { line }).collect();
        if others != expected {
            return Err(format!("with the lines {others:?}, not {expected:?}"));
        }
        if lines.len() != seen.head.matches('\n').count() - 2 {
            return Err(format!("lines that are none: {}", seen.head.escape_debug()));
        }
        self.spoken_for(seen, method, target)?;
        self.note(seen)
    }

    /// Who it is, the gateway says, and only the gateway.
    fn spoken_for(&self, seen: &Seen, method: &str, target: &str) -> Result<(), String> {
        let told = seen.values("x-remote-user");
        let assertions = seen.values("postern-assertion");
        let tokens = seen.values("authorization");
        let staff = told == ["sam"];
        if told.len() > 1 || assertions.len() > 1 || staff && (!tokens.is_empty() || assertions.is_empty()) {
            return Err(format!("identity: {}", seen.head));
        }
        if told.is_empty() && !assertions.is_empty() {
            return Err("an assertion about nobody".to_owned());
        }
        for token in tokens {
            if token.split(' ').next_back() != Some(self.admin.as_str()) && !told.is_empty() {
                return Err("somebody else's token arrived".to_owned());
            }
        }
        for assertion in assertions {
            let claims = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1).unwrap()).unwrap();
            let claims: Value = serde_json::from_slice(&claims).unwrap();
            let path = target.split('?').next().unwrap();
            if claims["method"] != method || claims["path"] != path || claims["sub"] != told[0] {
                return Err(format!("the assertion is about another request: {claims}"));
            }
        }
        Ok(())
    }

    /// Remembers what has to have a record, and asks every kind of back-end what it takes the path for.
    pub fn note(&mut self, seen: &Seen) -> Result<(), String> {
        let told = seen.values("x-remote-user");
        let mut words = seen.line().split(' ');
        let method = words.next().unwrap_or_default();
        let path = words.next().and_then(|target| target.split('?').next()).unwrap_or_default();
        if told == ["sam"] {
            self.recorded.push(format!("{method} {path}"));
        }
        if told.first().is_some_and(|name| name != "sam") {
            return Ok(());
        }
        for model in &self.models {
            let reads = model.reads(path.as_bytes());
            if FORBIDDEN.iter().any(|forbidden| forbidden.as_bytes() == reads) {
                return Err(format!("`{path}` reached what is forbidden, as {model:?} reads it"));
            }
        }
        Ok(())
    }

    /// Ends the gateway; its ledger is whole and holds exactly one intent for each request of staff that arrived.
    pub fn finish(self) {
        until("nothing runs any more", || self.world.gateway().engine().registry().is_empty());
        let recorded = self.recorded;
        let intents: Vec<String> = self
            .world
            .finish()
            .iter()
            .filter(|record| record["kind"] == "access.intent")
            .map(|record| {
                format!("{} {}", record["method"].as_str().unwrap(), record["path"].as_str().unwrap())
            })
            .collect();
        assert_eq!(intents, recorded, "one intent for each request of staff, and no other");
    }
}

fn last_reply(client: &mut Client, head_request: bool) -> Reply {
    loop {
        let reply = client.reply_to(head_request);
        if reply.status != 100 {
            return reply;
        }
    }
}

/// Whether all of a request arrived that its head announced.
fn is_whole(seen: &Seen) -> bool {
    if seen.values("transfer-encoding").iter().any(|coding| coding == "chunked") {
        return seen.body.ends_with(b"0\r\n\r\n");
    }
    let length = seen.values("content-length").first().map_or(0, |length| length.parse().unwrap());
    seen.body.len() == length
}

/// The body as data: chunks in the one form that the gateway writes, without extension or trailer.
fn decoded(seen: &Seen) -> Result<Vec<u8>, String> {
    if seen.values("transfer-encoding").is_empty() {
        return Ok(seen.body.clone());
    }
    let mut data = Vec::new();
    let mut rest = seen.body.as_slice();
    loop {
        let at = rest.windows(2).position(|two| two == b"\r\n").ok_or("a chunk without a line end")?;
        let size = std::str::from_utf8(&rest[..at]).map_err(|_| "a chunk size that is none")?;
        let plain = size.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = usize::from_str_radix(size, 16).map_err(|_| format!("a chunk size `{size}`"))?;
        if !plain || size.len() > 1 && size.starts_with('0') {
            return Err(format!("a chunk size `{size}`"));
        }
        let end = at + 2 + number;
        if rest.get(end..end + 2) != Some(b"\r\n") {
            return Err("a chunk that does not end".to_owned());
        }
        data.extend_from_slice(&rest[at + 2..end]);
        rest = &rest[end + 2..];
        if number == 0 {
            return if rest.is_empty() { Ok(data) } else { Err("bytes behind the body".to_owned()) };
        }
    }
}

/// Half-closes, and reads whatever comes to the end.
pub fn all_that_comes(client: &mut Client) -> Vec<u8> {
    let _ = client.stream.shutdown(Shutdown::Write);
    while client.more() == Ending::Open {}
    std::mem::take(&mut client.inbox)
}
