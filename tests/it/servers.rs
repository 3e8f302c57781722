//! Several servers of one application: who is asked, who is left out, and that no request is said twice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use crate::{
    client::{Client, Reply},
    farm::{Mood, Server, Swamp},
    world::*,
};

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

const ONE: &str = "  app:\n    url:";

/// What stands instead of [`ONE`] for these servers, with more said of them.
fn written(servers: &[String], more: &str) -> &'static str {
    let list = servers.iter().map(|server| format!("\"{server}\"")).collect::<Vec<_>>().join(", ");
    leak(format!("  app:\n    servers: [{list}]\n    {more}\n    # url:"))
}

/// A world whose application has these servers.
fn world_of(servers: &[String], more: &str) -> World {
    World::of(Plan::default().edit(ONE, written(servers, more)))
}

fn farm(count: usize) -> Vec<Server> {
    (0..count).map(Server::start).collect()
}

fn at(farm: &[Server]) -> Vec<String> {
    farm.iter().map(|server| format!("http://{}", server.address)).collect()
}

/// One metric's value.
fn metric(world: &World, name: &str, server: &str) -> u64 {
    let mut client = Client::connect(world.gateway().operations());
    client.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    let text = client.reply().text();
    let line = text
        .lines()
        .find(|line| line.starts_with(name) && line.contains(server))
        .unwrap_or_else(|| panic!("no `{name}` of `{server}` in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn up(world: &World, server: &Server) -> bool {
    metric(world, "postern_server_up", &server.address.to_string()) == 1
}

/// Asks until told to stop; every answer, by the number of its request.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<Vec<(usize, Reply)>>>,
    pub count: Arc<AtomicUsize>,
}

impl Load {
    fn start(world: &World, threads: usize) -> Load {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (address, admin) = (world.gateway().address(), world.people.admin("acme"));
        let threads = (0..threads)
            .map(|_| {
                let (stop, count, admin) = (Arc::clone(&stop), Arc::clone(&count), admin.clone());
                std::thread::spawn(move || {
                    let mut client = Client::connect(address);
                    let mut all = Vec::new();
                    while !stop.load(SeqCst) {
                        let number = count.fetch_add(1, SeqCst);
                        let (method, more) =
                            if number % 2 == 0 { ("GET", "") } else { ("POST", "Content-Length: 0\r\n") };
                        let target = format!("/t/acme/orders?number={number}");
                        let reply = client.send(request(method, &target, &admin, more)).reply();
                        if reply.values("connection").iter().any(|value| value == "close") {
                            client = Client::connect(address);
                        }
                        all.push((number, reply));
                    }
                    all
                })
            })
            .collect();
        Load { stop, threads, count }
    }

    fn after(&self, more: usize) {
        let from = self.count.load(SeqCst);
        until("requests are answered", || self.count.load(SeqCst) >= from + more);
    }

    fn end(self) -> Vec<(usize, Reply)> {
        self.stop.store(true, SeqCst);
        self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    }
}

fn times_seen(farm: &[Server], number: usize) -> usize {
    let target = format!("/t/acme/orders?number={number}");
    farm.iter().map(|server| server.seen().get(&target).copied().unwrap_or(0)).sum()
}

#[test]
fn one_of_three_killed_and_brought_back_under_load_fails_nothing_but_what_was_said_to_it() {
    let mut farm = farm(3);
    let world = world_of(&at(&farm), "eject: { after: 1, first: 100ms, most: 200ms }");
    let load = Load::start(&world, 8);
    load.after(500);
    let mut most_failed = 0;
    for round in 0..3 {
        most_failed += farm[round % 3].kill();
        load.after(500);
        assert!(!up(&world, &farm[round % 3]), "it is left out");
        farm[round % 3].again();
        until("it is asked again", || up(&world, &farm[round % 3]));
        load.after(300);
    }
    let all = load.end();
    let (good, bad): (Vec<_>, Vec<_>) = all.iter().partition(|(_, reply)| reply.status == 200);
    println!("{} good, {} failed of {most_failed} connections that were lost", good.len(), bad.len());
    assert!(bad.len() <= most_failed, "{} failed, {most_failed} connections were lost", bad.len());
    for (number, reply) in &bad {
        // What had been said when the server died, and nothing else.
        assert_eq!(reply.status, 502);
        assert!(["upstream_gone", "upstream_closed"].contains(&reply.code().as_str()), "{}", reply.code());
        assert!(times_seen(&farm, *number) <= 1);
    }
    for (number, _) in &good {
        assert_eq!(times_seen(&farm, *number), 1, "request {number}");
    }
    assert!(farm.iter().all(|server| server.requests() > 50), "each has its share");
    world.finish();
}

#[test]
fn a_server_killed_between_requests_fails_none() {
    let farm = farm(3);
    let world = world_of(&at(&farm), "eject: { first: 60s }");
    let admin = world.people.admin("acme");
    let mut client = world.client();
    for (round, server) in farm.iter().enumerate() {
        for number in 0..40 {
            let target = format!("/t/acme/orders?number={}", round * 40 + number);
            let (method, more) =
                if number % 2 == 0 { ("GET", "") } else { ("POST", "Content-Length: 0\r\n") };
            let reply = client.send(request(method, &target, &admin, more)).reply();
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        if round < 2 {
            server.kill();
        }
    }
    for number in 0..120 {
        assert_eq!(times_seen(&farm, number), 1, "request {number}");
    }
    assert_eq!(
        metric(&world, "postern_retries_total", ""),
        3 + 3,
        "each was tried three times, then left out"
    );
    world.finish();
}

// GW-07
#[test]
fn the_record_of_staff_names_the_server_that_was_asked_and_there_is_one_record() {
    let farm = farm(2);
    let world = world_of(&at(&farm), "eject: { after: 0 }");
    let agent = world.people.staff("sam");
    world.start_session("acme", &agent);
    farm[0].kill();
    for _ in 0..6 {
        let reply = world.get("/t/acme/orders", &agent);
        assert_eq!((reply.status, reply.text().as_str()), (200, "1"));
    }
    assert_eq!(world.of_kind("access.intent").len(), 6);
    assert!(world.of_kind("access.intent").iter().all(|intent| intent["upstream"] == "app"));
    until("all are over", || world.of_kind("access.outcome").len() == 6);
    for outcome in world.of_kind("access.outcome") {
        assert_eq!(outcome["server"], farm[1].address.to_string());
    }
    world.finish();
}

#[test]
fn with_all_servers_down_each_request_is_tried_at_once_and_the_first_back_is_found() {
    let mut farm = farm(4);
    let world = world_of(&at(&farm), "eject: { after: 1, first: 60s }");
    let admin = world.people.admin("acme");
    for server in &farm {
        server.kill();
    }
    for _ in 0..20 {
        let began = Instant::now();
        let reply = world.get("/t/acme/orders", &admin);
        assert_eq!((reply.status, reply.code()), (502, "upstream_unreachable".to_owned()));
        assert!(began.elapsed() < Duration::from_secs(3), "nothing is waited for");
    }
    assert!(farm.iter().all(|server| !up(&world, server)));
    farm[2].again();
    // Nothing waits for the end of a minute: where none is in, the least bad is asked.
    until("somebody is reached", || world.get("/t/acme/orders", &admin).status == 200);
    until("it is in", || up(&world, &farm[2]));
    for _ in 0..10 {
        assert_eq!(world.get("/t/acme/orders", &admin).text(), "2");
    }
    world.finish();
}

#[test]
fn a_server_that_takes_no_connection_costs_one_wait_and_is_left_out() {
    let (farm, swamp) = (farm(1), Swamp::new());
    let mut servers = at(&farm);
    servers.push(format!("http://{}", swamp.address));
    let quick = ("connect_timeout: 1s", "connect_timeout: 300ms");
    let more = "eject: { after: 1, first: 30s }";
    let world = World::of(Plan::default().edit(ONE, written(&servers, more)).edit(quick.0, quick.1));
    let admin = world.people.admin("acme");
    for _ in 0..40 {
        assert_eq!(world.get("/t/acme/orders", &admin).status, 200);
    }
    let waited = metric(&world, "postern_server_unreached_total", &swamp.address.to_string());
    assert_eq!(waited, 1, "requests that waited for it");
    assert_eq!(metric(&world, "postern_server_up", &swamp.address.to_string()), 0);
    world.finish();
    // Alone, it is what the client hears of.
    let alone = written(&[format!("http://{}", swamp.address)], "");
    let world = World::of(Plan::default().edit(ONE, alone).edit(quick.0, quick.1));
    let reply = world.get("/t/acme/orders", &world.people.admin("acme"));
    assert_eq!((reply.status, reply.code()), (504, "upstream_connect_timeout".to_owned()));
    world.finish();
}

#[test]
fn checks_put_a_server_out_and_bring_it_back_whatever_is_wrong_with_it() {
    let farm = farm(2);
    let check = "health: { path: \"/healthz?deep=1\", every: 100ms, timeout: 150ms, unhealthy_after: 2 }";
    let world = world_of(&at(&farm), check);
    let admin = world.people.admin("acme");
    for mood in [Mood::Fails, Mood::Hangs, Mood::Garbage, Mood::Redirects, Mood::HangsUp, Mood::Interim] {
        farm[0].mood(mood);
        until("it is left out", || !up(&world, &farm[0]));
        for _ in 0..10 {
            assert_eq!(world.get("/t/acme/orders", &admin).text(), "1", "{mood:?}");
        }
        farm[0].mood(Mood::Well);
        until("it is asked again", || up(&world, &farm[0]));
        until("it gets requests", || world.get("/t/acme/orders", &admin).text() == "0");
    }
    assert!(up(&world, &farm[1]));
    assert!(farm[1].checks() > 4);
    let head = farm[1].asked().pop().unwrap();
    assert!(head.starts_with("GET /healthz?deep=1 HTTP/1.1\r\n"), "{head}");
    assert!(
        !head.to_lowercase().contains("authorization") && !head.to_lowercase().contains("postern-assertion")
    );
    // With none that is well, the application is not closed.
    farm[0].mood(Mood::Fails);
    farm[1].mood(Mood::Fails);
    until("all are left out", || farm.iter().all(|server| !up(&world, server)));
    assert_eq!(world.get("/t/acme/orders", &admin).status, 200);
    world.finish();
}

#[test]
fn a_reload_keeps_what_is_known_of_servers_that_stay_and_asks_new_ones() {
    let farm = farm(3);
    let two = at(&farm[..2]);
    let world = world_of(&two, "eject: { after: 1, first: 60s }");
    let admin = world.people.admin("acme");
    farm[0].kill();
    until("it is left out", || {
        world.get("/t/acme/orders", &admin);
        !up(&world, &farm[0])
    });
    let before = metric(&world, "postern_server_unreached_total", &farm[0].address.to_string());
    let edit = written(&at(&farm), "eject: { after: 1, first: 60s }");
    let all = settings(world.keys_dir.path(), &world.data, world.upstream.address, &[(ONE, edit)]);
    world.gateway().apply(all).unwrap();
    assert!(!up(&world, &farm[0]), "it is not asked anew for a reload");
    assert_eq!(metric(&world, "postern_server_unreached_total", &farm[0].address.to_string()), before);
    let mut got = [0; 3];
    for _ in 0..60 {
        got[world.get("/t/acme/orders", &admin).text().parse::<usize>().unwrap()] += 1;
    }
    assert!(got[0] == 0 && got[1] > 5 && got[2] > 5, "{got:?}");
    world.finish();
}

#[test]
fn a_socket_of_this_machine_may_stand_beside_servers_of_the_network() {
    let (farm, place) = (farm(1), tempfile::TempDir::new().unwrap());
    let path = place.path().join("app.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for mut stream in listener.incoming().flatten() {
            let count = Arc::clone(&count);
            std::thread::spawn(move || {
                let mut piece = [0u8; 8192];
                while stream.read(&mut piece).is_ok_and(|read| read > 0) {
                    count.fetch_add(1, SeqCst);
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix").unwrap();
                }
            });
        }
    });
    let world = world_of(&[at(&farm)[0].clone(), format!("unix:{}", path.display())], "");
    let admin = world.people.admin("acme");
    for _ in 0..40 {
        assert_eq!(world.get("/t/acme/orders", &admin).status, 200);
    }
    assert!(asked.load(SeqCst) > 5 && farm[0].requests() > 5);
    world.finish();
}
