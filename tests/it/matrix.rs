//! Every kind of open exchange against every way in which it ends (law 6): with zero bytes behind the answer, and the
//! reason in its record. The table is printed.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use postern::{
    engine::new_id,
    lifecycle::{Command, Switch, Until, WantedBasis},
    model::{IssuerName, Reach, SessionId, Span, SubjectRef},
};

use crate::{
    client::{Client, Ending},
    cuts::{IN_HAND, Run, Under, begin, counting},
    http2::peer::{Peer, more},
    reload::{FromFile, NEVER},
    world::*,
};

/// What is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Download,
    Events,
    Upload,
    WebSocket,
    Http2Stream,
}

const KINDS: [Kind; 5] = [Kind::Download, Kind::Events, Kind::Upload, Kind::WebSocket, Kind::Http2Stream];

/// What ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Removal,
    Expiry,
    LoweredConsent,
    ChangedRole,
    TenantStops,
    PersonStopped,
    TenantStopped,
    AllStopped,
    GlassRemoved,
    GlassExpired,
    GlassWithdrawn,
}

const WAYS: [Way; 11] = [
    Way::Removal,
    Way::Expiry,
    Way::LoweredConsent,
    Way::ChangedRole,
    Way::TenantStops,
    Way::PersonStopped,
    Way::TenantStopped,
    Way::AllStopped,
    Way::GlassRemoved,
    Way::GlassExpired,
    Way::GlassWithdrawn,
];

impl Way {
    fn reason(self) -> &'static str {
        match self {
            Way::Removal | Way::GlassRemoved => "session_ended",
            Way::Expiry | Way::GlassExpired => "session_expired",
            Way::LoweredConsent => "consent_withdrawn",
            Way::ChangedRole => "permission_missing",
            Way::TenantStops | Way::PersonStopped | Way::TenantStopped | Way::AllStopped => "stopped",
            Way::GlassWithdrawn => "break_glass_withdrawn",
        }
    }

    fn by_glass(self) -> bool {
        matches!(self, Way::GlassRemoved | Way::GlassExpired | Way::GlassWithdrawn)
    }

    /// It comes with another configuration.
    fn by_file(self) -> bool {
        matches!(self, Way::ChangedRole | Way::GlassWithdrawn)
    }

    /// Nothing is answered: the clock ends it.
    fn by_clock(self) -> bool {
        matches!(self, Way::Expiry | Way::GlassExpired)
    }
}

const HELPER: &str = "  helper: { allow: \"orders:*\" }\n";
const GLASS: &str = "\nbreak_glass: { operators: [{ issuer: vendor, sub: sam }], role: editor, last: 30m }\n";

fn edits(kind: Kind) -> Vec<(&'static str, &'static str)> {
    let mut edits = vec![
        (
            "routes:\n",
            "routes:\n  - { route: \"GET /t/{tenant}/socket\", permission: orders:write, upgrade: websocket }\n",
        ),
        ("  editor: {", "  helper: { allow: \"orders:*\" }\n  editor: {"),
        (
            "members: { unmapped: refuse }",
            "members: { unmapped: refuse }\nstops: { operators: [{ issuer: vendor, sub: olga }] }\nbreak_glass: { operators: [{ issuer: vendor, sub: sam }], role: editor, last: 30m }\n",
        ),
    ];
    if kind == Kind::Http2Stream {
        edits.push(("workers: 2", "workers: 2\nhttp2: prior_knowledge"));
    }
    edits
}

/// A gateway, started from a file where that is to change.
enum Ground {
    Plain(Box<World>, Arc<ManualClock>),
    File(Box<FromFile>),
}

impl Ground {
    fn world(&self) -> &World {
        match self {
            Ground::Plain(world, _) => world,
            Ground::File(file) => &file.world,
        }
    }

    fn of(kind: Kind, way: Way) -> (Ground, Arc<AtomicU64>) {
        let (hooks, count) = counting();
        let edits = edits(kind);
        if way.by_file() {
            return (Ground::File(Box::new(FromFile::start(hooks, NEVER, &edits))), count);
        }
        let clock = ManualClock::at(NOON);
        let plan = Plan { edits, ..Plan::default() }.hooks(hooks).clock(&clock);
        (Ground::Plain(Box::new(World::of(plan)), clock), count)
    }
}

/// Enters, as the way asks for it.
fn enter(world: &World, way: Way, agent: &str) -> SessionId {
    if way.by_glass() {
        // What a tenant consents to plays no part.
        world.done(World::consent("acme", "block"), &world.people.admin("acme"));
        let session = SessionId::new(&new_id("ses", world.now()).unwrap()).unwrap();
        let command = Command::BreakGlass {
            tenant: tenant("acme"),
            session: session.clone(),
            environment: production(),
            reason: "the platform is down".to_owned(),
            incident: "INC-7".to_owned(),
            cause: "stability".to_owned(),
            lasts: None,
        };
        world.done(command, agent);
        return session;
    }
    if way == Way::ChangedRole {
        let grant = world.make_grant("acme", "helper", Until::For(Span::Millis(3_600_000)));
        return world.session_on("acme", agent, WantedBasis::Grant(grant), None);
    }
    world.done(World::consent("acme", "full"), &world.people.admin("acme"));
    world.session_on("acme", agent, WantedBasis::Consent, Some(Span::Millis(1_800_000)))
}

/// Ends it; back when that is answered.
fn end(ground: &Ground, way: Way, session: &SessionId) {
    let world = ground.world();
    let admin = world.people.admin("acme");
    let olga = world.people.staff("olga");
    let stop = |switch| Command::Stop { switch, reason: "something is wrong".to_owned() };
    let sam = SubjectRef { issuer: IssuerName::new("vendor").unwrap(), sub: "sam".into() };
    match (way, ground) {
        (Way::Removal | Way::GlassRemoved, _) => world.done(World::end("acme", session), &admin),
        (Way::LoweredConsent, _) => world.done(World::consent("acme", "block"), &admin),
        (Way::TenantStops, _) => world.done(stop(Switch::Own(tenant("acme"))), &admin),
        (Way::PersonStopped, _) => world.done(stop(Switch::Operators(Reach::Person(sam))), &olga),
        (Way::TenantStopped, _) => world.done(stop(Switch::Operators(Reach::Tenant(tenant("acme")))), &olga),
        (Way::AllStopped, _) => world.done(stop(Switch::Operators(Reach::All)), &olga),
        (Way::ChangedRole, Ground::File(file)) => {
            file.reload(&[(HELPER, "  helper: { allow: \"users:manage\" }\n")]).unwrap();
        }
        (Way::GlassWithdrawn, Ground::File(file)) => file.reload(&[(GLASS, "\n")]).unwrap(),
        (Way::Expiry | Way::GlassExpired, Ground::Plain(_, clock)) => clock.advance(1_800_000),
        _ => panic!("{way:?} takes another ground"),
    }
}

/// An open exchange, seen from the client.
enum Open {
    First(Under),
    Stream(Peer, h2::RecvStream),
}

impl Open {
    fn of(world: &World, kind: Kind, agent: &str, count: &AtomicU64) -> Open {
        let run = match kind {
            Kind::Download => Run::Download,
            Kind::Events => Run::Events,
            Kind::Upload => Run::Upload,
            Kind::WebSocket => return Open::First(tunnel(world, agent, count)),
            Kind::Http2Stream => {
                let before = count.load(SeqCst);
                let peer = Peer::connect(world.gateway().address());
                let (response, _) = peer.begin("GET", "/t/acme/download?do=forever", agent, &[], true);
                let mut body = peer.within(response).unwrap().into_body();
                let mut taken = 0;
                while taken < 200_000 {
                    taken += peer.within(more(&mut body)).unwrap().unwrap().len();
                }
                until("bytes flow", || count.load(SeqCst) > before + 200_000);
                return Open::Stream(peer, body);
            }
        };
        Open::First(begin(world, run, agent, count))
    }

    /// Reads to the end, which is a reset.
    fn is_reset(&mut self) -> bool {
        match self {
            Open::First(under) => under.ending().0 == Ending::Reset,
            Open::Stream(peer, body) => loop {
                match peer.within(more(body)) {
                    Ok(Some(_)) => {}
                    Ok(None) => return false,
                    Err(fault) => return fault.reason() == Some(h2::Reason::CANCEL),
                }
            },
        }
    }
}

fn tunnel(world: &World, agent: &str, count: &AtomicU64) -> Under {
    let before = count.load(SeqCst);
    let mut client: Client = world.client();
    let lines = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Version: 13\r\n";
    client.send(request("GET", "/t/acme/socket?do=socket-forever", agent, lines));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    until("bytes flow", || count.load(SeqCst) > before + 50_000);
    Under { client, writer: None }
}

/// Bytes that passed the gateway behind the answer; of an end by the clock, which nobody answers, behind its move.
fn cell(kind: Kind, way: Way) -> u64 {
    let (ground, count) = Ground::of(kind, way);
    let world = ground.world();
    let agent = world.people.staff("sam");
    let session = enter(world, way, &agent);
    let mut open = Open::of(world, kind, &agent, &count);
    end(&ground, way, &session);
    let answered = count.load(SeqCst);
    assert!(open.is_reset(), "{kind:?} on {way:?} is reset, not drained");
    let outcome = world.last_outcome();
    let after = count.load(SeqCst) - answered;
    assert_eq!(outcome["end"], "cut", "{kind:?} on {way:?}: {outcome}");
    assert_eq!(outcome["cut_by"]["reason"], way.reason(), "{kind:?} on {way:?}: {outcome}");
    drop(open);
    match ground {
        Ground::Plain(world, _) => drop(world.finish()),
        Ground::File(file) => drop(file.world.finish()),
    }
    after
}

// GW-05
// GW-06
// GW-13
#[test]
fn every_kind_of_open_exchange_is_cut_by_every_way_in_which_it_ends() {
    let mut table = format!("{:<16}", "bytes after");
    for kind in KINDS {
        table += &format!("{:>14}", format!("{kind:?}"));
    }
    for way in WAYS {
        table += &format!("\n{:<16}", format!("{way:?}"));
        for kind in KINDS {
            let after = cell(kind, way);
            table += &format!("{after:>14}");
            if way.by_clock() {
                assert!(after <= IN_HAND, "{kind:?} on {way:?}: {after} bytes");
            } else {
                assert_eq!(after, 0, "{kind:?} on {way:?}: bytes passed behind the answer");
            }
        }
    }
    println!("{table}");
}
