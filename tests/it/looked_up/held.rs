//! What hangs on a look-up while the application hangs: it holds, and nothing that narrows, no reload and no other exchange waits
//! for it; and what is under way does not fall for what others ask.

use super::*;

/// `count` streams of clara's, each on a card of hers that only the application tells of. The clock stands after the last.
fn streams(world: &World, application: &Application, count: usize) -> Vec<Client> {
    let clara = world.people.member("clara", "acme", &[]);
    (0..count)
        .map(|number| {
            application.card(&format!("s{number}"), "b1", "lena", &["clara"]);
            let mut client = world.client();
            client.send(request("GET", &format!("/t/acme/c/s{number}/stream"), &clara, ""));
            assert!(client.head().contains(" 200 "));
            client
        })
        .collect()
}

fn hang(application: &Application, count: usize) {
    for number in 0..count {
        let say = Say::Held(card(&format!("s{number}"), "b1", "lena", &["clara"]));
        application.says(&format!("/internal/acme/cards/s{number}"), say);
    }
}

/// Takes in what is on its way, and sees that nothing more comes.
fn holds(client: &mut Client) {
    client.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut piece = vec![0; 64 << 10];
    loop {
        match client.stream.read(&mut piece) {
            Ok(0) => panic!("it is over"),
            Ok(_) => assert!(Instant::now() < deadline, "bytes go on coming"),
            Err(fault) => {
                assert!(
                    matches!(fault.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
                    "{fault}"
                );
                break;
            }
        }
    }
    client.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
}

fn flows(client: &mut Client) {
    client.inbox.clear();
    until("bytes flow on", || client.more() == Ending::Open && client.inbox.len() > 1000);
}

#[test]
fn a_reload_and_what_narrows_wait_for_no_application_that_hangs() {
    let (world, application) = stage_within(None, "5s");
    let mut clients = streams(&world, &application, 6);
    hang(&application, 6);
    // A reload forgets what was answered: each would have to be asked for, and holds meanwhile.
    let mut edits = world.edits.clone();
    edits.push(("for: 10s", "for: 60s"));
    let began = Instant::now();
    world.gateway().apply(settings(world.keys_dir.path(), &world.data, application.address, &edits)).unwrap();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // So with whatever touches them in that time.
    let admin = world.people.admin("acme");
    let began = Instant::now();
    world.done(World::consent("acme", "block"), &admin);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    for client in &mut clients {
        holds(client);
    }
    application.go_on();
    for client in &mut clients {
        flows(client);
    }
    drop(clients);
    world.finish();
}

// CEL-15
#[test]
fn a_grant_that_is_taken_back_cuts_while_the_application_hangs() {
    let clock = ManualClock::at(NOON);
    let (world, application) = stage_within(Some(&clock), "5s");
    application.card("g0", "b1", "lena", &[]);
    let (agent, admin) = (world.people.staff("sam"), world.people.admin("acme"));
    let body = json!({"environment": "production", "to": {"subject": {"issuer": "vendor", "sub": "sam"}}, "role": "admin",
        "scope": {"resources": [{"type": "board", "id": "b1"}]}, "for": "1h"});
    let made = call(&world, "POST", "/tenants/acme/grants", &admin, &body.to_string());
    let made: Value = serde_json::from_slice(&made.body).unwrap();
    let grant: postern::model::GrantId = made["grant"]["id"].as_str().unwrap().parse().unwrap();
    world.session_on("acme", &agent, WantedBasis::Grant(grant.clone()), None);
    let mut client = world.client();
    client.send(request("GET", "/t/acme/c/g0/stream", &agent, ""));
    assert!(client.head().contains(" 200 "));
    let others = streams(&world, &application, 6);
    hang(&application, 6);
    application.says("/internal/acme/cards/g0", Say::Held(card("g0", "b1", "lena", &[])));
    let asked = application.asked();
    clock.advance(10_000);
    until("all are asked for", || application.asked() == asked + 7);
    let began = Instant::now();
    let gone = call(&world, "DELETE", &format!("/tenants/acme/grants/{grant}"), &admin, "");
    assert_eq!(gone.status, 200, "{}", gone.text());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(client.read_out().0, Ending::Reset);
    application.go_on();
    drop(others);
    world.finish();
}

#[test]
fn no_number_of_requests_cuts_what_is_under_way() {
    let clock = ManualClock::at(NOON);
    let (world, application) = stage_within(Some(&clock), "3s");
    let mut clients = streams(&world, &application, 4);
    // Two people who take all places of the tenant, and all its turns.
    for number in 0..50 {
        application.says(&format!("/internal/acme/cards/f{number}"), Say::Never);
        application.says(&format!("/internal/acme/cards/g{number}"), Say::Never);
    }
    let mut flood: Vec<Client> = Vec::new();
    for (name, sub) in [("f", "mia"), ("g", "lena")] {
        let token = world.people.member(sub, "acme", &[]);
        for number in 0..50 {
            let mut client = world.client();
            client.send(request("GET", &format!("/t/acme/c/{name}{number}"), &token, ""));
            flood.push(client);
        }
        // One person has half of them at most.
        until("the rest is turned away", || metric(&world, "busy") >= if name == "f" { 18 } else { 36 });
    }
    clock.advance(10_000);
    for client in &mut clients {
        flows(client);
    }
    assert!(flood.iter_mut().all(|client| client.reply().code() == NO));
    assert_eq!(metric(&world, "busy") + metric(&world, "slow"), 100);
    for client in &mut clients {
        flows(client);
    }
    drop(clients);
    world.finish();
}

#[test]
fn a_question_of_the_map_before_answers_nobody_who_asks_by_the_next() {
    let (world, application) = stage_within(None, "5s");
    application.says("/internal/acme/cards/c1", Say::Held(card("c1", "b1", "clara", &[])));
    let clara = world.people.member("clara", "acme", &[]);
    let mut before = world.client();
    before.send(request("GET", "/t/acme/c/c1", &clara, ""));
    until("it is asked", || application.asked() == 1);
    let mut edits = world.edits.clone();
    edits.push(("creator: /created_by/id", "creator: /board/id"));
    world.gateway().apply(settings(world.keys_dir.path(), &world.data, application.address, &edits)).unwrap();
    let mut after = world.client();
    after.send(request("GET", "/t/acme/c/c1", &clara, ""));
    until("it is asked by the new map", || application.asked() == 2);
    application.go_on();
    assert_eq!(what(&after.reply()), NO);
    // Whoever asked by the map before was decided on by it.
    before.reply();
    world.finish();
}

#[test]
fn a_look_up_that_gives_a_server_less_time_says_nothing_of_its_health() {
    // It takes everybody's connections, and TLS takes it a while.
    let (config, authority) = crate::vouched::side(&["127.0.0.1"]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(400)).await;
                let _ = acceptor.accept(stream).await;
            });
        }
    });
    let plan =
        with_services(Plan::default()).edit("\"members:push\"", "\"members:push\", \"resources:push\"");
    let plan = plan.edit("permissions: [orders:read,", "permissions: [notes:see, orders:read,");
    let mut world =
        World::prepared(plan.edit(ROLES.0, ROLES.1).edit("WITHIN", "60ms").edit(ROUTES.0, ROUTES.1));
    std::fs::write(world.keys_dir.path().join("ca.pem"), authority).unwrap();
    let from = format!("url: \"http://{}\"", world.upstream.address);
    let to = format!("ca: KEYS/ca.pem\n    url: \"https://{address}\"");
    world.edits.push((from.leak(), to.leak()));
    postern::app::init_state(&world.data.join("state.redb"), &world.data.join("ledger")).unwrap();
    world.up();
    push(&world, "acme", "board/b1", "{}");
    row(&world, "b1", "clara", "hand");
    for number in 0..6 {
        assert_eq!(get(&world, &format!("c/c{number}"), "clara"), NO);
    }
    assert_eq!(metric(&world, "slow") + metric(&world, "unreachable"), 6);
    let mut client = Client::connect(world.gateway().operations());
    client.send("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let text = client.reply().text();
    let lines: Vec<&str> =
        text.lines().filter(|line| line.starts_with("postern_server_unreached_total{")).collect();
    assert!(!lines.is_empty() && lines.iter().all(|line| line.ends_with(" 0")), "{lines:?}");
    world.finish();
}
