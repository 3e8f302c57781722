//! Whoever may publish on the channel of a store's changes, and is no gateway: another application's user, say (Redis 6.2 lets every user
//! publish everywhere). What they say is in no decision, no cell and no shadow, shuts out nobody, and holds up no end.

use std::time::{Duration, Instant};

use postern::{
    engine::{hooks::Hooks, new_id},
    model::Key,
    state::{Part, Shadow},
};

use crate::{
    calls::Watch,
    rig::Fleet,
    servers::Server,
    under::{Run, begin, counting},
    world::*,
};

/// No gateway: all that it does is to publish.
struct Stranger<'s> {
    server: &'s Server,
    channel: String,
}

impl Stranger<'_> {
    fn of(server: &Server) -> Stranger<'_> {
        let id = server.tell(&["HGET", "postern:{p00}:head", "id"]);
        Stranger { server, channel: format!("postern:{id}:moved") }
    }

    /// Says something to all gateways that listen there; how many connections heard it.
    fn says(&self, payload: &[u8]) -> usize {
        let told = self.server.tell_bytes(&[b"PUBLISH", self.channel.as_bytes(), payload]);
        told.trim_start_matches(':').parse().unwrap()
    }
}

/// A part as it is in Redis: its number, the place of its newest change, and the line there.
fn head(server: &Server, part: u16) -> (u64, String) {
    let told = server.tell(&["HMGET", &format!("postern:{{p{part:02}}}:head"), "number", "line"]);
    let (number, line) = told.split_once('\n').unwrap();
    (number.parse().unwrap(), line.to_owned())
}

/// The document of a tenant: the part that it lies in, its name there, its version and its bytes.
fn tenant_in(server: &Server, id: &str) -> (u16, String, String, String) {
    let keys = server.tell(&["KEYS", "postern:{p*}:d:*"]);
    let found = keys.lines().find_map(|key| {
        let bytes = server.tell(&["GET", key]);
        let name = key.split_once("}:d:").unwrap().1;
        let part = key.split_once("{p").unwrap().1[..2].parse().unwrap();
        let (version, json) = bytes.split_once('\n')?;
        // Behind the id stands which kind of document it is.
        let said: String = name.chars().filter(|char| char.is_ascii_graphic()).collect();
        (said == id && json.contains('{')).then(|| (part, name.to_owned(), version.to_owned(), bytes.clone()))
    });
    found.unwrap_or_else(|| panic!("{keys}"))
}

/// A change, told whole, as if it had been made next.
fn whole(part: u16, (number, line): &(u64, String), change: &str, name: &str, bytes: &str) -> String {
    let after = "f".repeat(20);
    let (names, sizes) = (name.len(), bytes.len());
    format!("{part} {} {line} {after} {change} 1700000000000 1\n{names} {sizes}\n{name}{bytes}", number + 1)
}

fn writes(gateway: &World, token: &str) -> u16 {
    gateway.ask("PUT", "/t/acme/orders/o1", token, "Content-Length: 0\r\n").status
}

/// Support was let in to everything and then to reading alone. Somebody says that it may write again, as the next change, in the form in which changes
/// lie in the feed.
#[test]
fn a_change_that_somebody_made_up_is_nowhere() {
    let fleet = Fleet::start(2);
    let a = &fleet.gateways[0];
    let (agent, admin) = (a.people.staff("sam"), a.people.admin("acme"));
    a.done(World::consent("acme", "full"), &admin);
    a.start_session("acme", &agent);
    fleet.knows_of_session(&agent);
    a.done(World::consent("acme", "read_only"), &admin);
    for gateway in &fleet.gateways {
        until("nobody writes any more", || writes(gateway, &agent) == 403);
    }
    let (part, name, version, bytes) = tenant_in(&fleet.redis, "acme");
    let number: u64 = version.strip_prefix("0.").unwrap().parse().unwrap();
    let change = new_id("chg", a.now()).unwrap();
    let last = bytes.split_once("\"changes\":[\"").unwrap().1.split('"').next().unwrap();
    let mut forged = bytes.clone();
    // The next version of the document, by another change, whole and well-formed.
    for (from, to) in [
        (format!("0.{number}\n"), format!("0.{}\n", number + 1)),
        (format!("\"number\":{number}}}"), format!("\"number\":{}}}", number + 1)),
        (last.to_owned(), change.clone()),
        ("read_only".to_owned(), "full".to_owned()),
    ] {
        assert!(forged.contains(&from), "{from}: {forged}");
        forged = forged.replace(&from, &to);
    }
    let stranger = Stranger::of(&fleet.redis);
    let place = head(&fleet.redis, part);
    assert_eq!(stranger.says(whole(part, &place, &change, &name, &forged).as_bytes()), 2);
    stranger.says(format!("{part} {}", place.0 + 1).as_bytes());
    // Long enough for several beats, and for what is written behind the feed to be on disk.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2_500) {
        for gateway in &fleet.gateways {
            assert_eq!(writes(gateway, &agent), 403);
            assert_eq!(gateway.get("/t/acme/orders", &agent).status, 200);
        }
    }
    assert_eq!(head(&fleet.redis, part), place);
    // What is true travels as before.
    a.done(World::consent("acme", "block"), &admin);
    until("it is known", || fleet.gateways[1].get("/t/acme/orders", &agent).status == 403);
    let all: Vec<_> = fleet.gateways.iter().map(|gateway| gateway.data.join("shadow.redb")).collect();
    let keys = std::sync::Arc::clone(&a.keys_dir);
    fleet.finish();
    for path in all {
        let shadow = Shadow::open(&path).unwrap();
        let known = shadow.get(Part(part), &Key::Tenant(tenant("acme"))).unwrap().unwrap();
        let told = format!("{known:?}");
        assert!(told.contains("LevelName(block)") && !told.contains(&change), "{told}");
        assert_eq!(known.heads.len(), 1, "there was one history: {told}");
    }
    drop(keys);
}

/// Places that no part will ever have: staff are served all along, and ends travel before any beat tells of them.
#[test]
fn a_place_that_no_part_has_harms_nothing() {
    let (hooks, count) = counting();
    let seldom = |name: &str| if name == "b" { hooks.clone() } else { Hooks::default() };
    let fleet = Fleet::beating("2s", 2, seldom);
    let (a, b) = (&fleet.gateways[0], &fleet.gateways[1]);
    let agent = a.people.staff("sam");
    a.done(World::consent("acme", "full"), &a.people.admin("acme"));
    let stranger = Stranger::of(&fleet.redis);
    let mut took = Vec::new();
    for _ in 0..5 {
        let session = a.start_session("acme", &agent);
        fleet.knows_of_session(&agent);
        for part in 0..64 {
            // One after the other, and once more what follows on that: where somebody reckons with it, it runs over.
            for number in [u64::MAX - 1, u64::MAX, u64::MAX] {
                let place = (number - 1, "e".repeat(20));
                stranger.says(whole(part, &place, "chg_1", "", "").replace(" 1\n0 0\n", " 0\n").as_bytes());
                assert_eq!(stranger.says(format!("{part} {number}").as_bytes()), 2);
            }
        }
        let mut under = begin(b, Run::Events, &agent, &count);
        for gateway in &fleet.gateways {
            assert_eq!(gateway.get("/t/acme/orders", &agent).status, 200);
        }
        let begun = Instant::now();
        a.done(World::end("acme", &session), &a.people.admin("acme"));
        under.ending();
        took.push(begun.elapsed());
        b.upstream.release_those();
    }
    took.sort();
    println!("from the asking to the cut elsewhere, while places are made up: {took:?}");
    assert!(took[2] < Duration::from_millis(700), "beats come every 2 s: {took:?}");
    fleet.finish();
}

/// Whatever is said again and again, the store is asked a bounded number of times, ends travel meanwhile, and no link is lost.
#[test]
fn whoever_says_much_makes_nobody_ask_much() {
    let fleet = Fleet::start(2);
    let (a, b) = (&fleet.gateways[0], &fleet.gateways[1]);
    let (agent, admin) = (a.people.staff("sam"), a.people.admin("acme"));
    a.done(World::consent("acme", "full"), &admin);
    let session = a.start_session("acme", &agent);
    fleet.knows_of_session(&agent);
    let stranger = Stranger::of(&fleet.redis);
    let (part, ..) = tenant_in(&fleet.redis, "acme");
    let watch = Watch::of(&fleet.redis);
    let begun = Instant::now();
    let mut said = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        said += stranger.says(format!("{part} {}", u64::MAX - said as u64).as_bytes());
    }
    let secs = begun.elapsed().as_secs_f64();
    a.done(World::end("acme", &session), &admin);
    until("it is known", || b.get("/t/acme/orders", &agent).status == 403);
    let asked = watch.end();
    println!("{said} pushes heard in {secs:.1} s: {asked:?}");
    let following = asked.get("following").copied().unwrap_or_default();
    assert!(following > 0 && (following as f64) < 200.0 * secs, "{following} questions for {said} pushes");
    // Nothing of this is a change, and nothing ends the connection that hears it.
    let (long, mut binary) = (vec![b'7'; 8 << 20], (0..=255).cycle().take(4_096).collect::<Vec<u8>>());
    binary.extend_from_slice(b"\n\0\r\n");
    for payload in
        [b"".as_slice(), b" ", b"0", b"0 ", b"0 x", b"0 -1", b"99 7", b"0 7 8", b"-1 7", &long, &binary]
    {
        assert_eq!(stranger.says(payload), 2);
    }
    assert_eq!(stranger.says(format!("{part} 18446744073709551616").as_bytes()), 2);
    a.start_session("acme", &agent);
    fleet.knows_of_session(&agent);
    assert_eq!(stranger.says(b"over"), 2);
    fleet.finish();
}
