//! Links to one server, with everything that can be the matter with it: what callers got, and how long they waited for it.
//!
//! Never here: Sentinels and Clusters ([`crate::links_fleet`]), what a store asks over a link.

use std::time::{Duration, Instant};

use postern::state::{
    Age, Part, Parts, RedisStore, ServerFault, Store, Suspicion,
    redis::{Options, Tls},
};

use crate::{
    links_rig::{AT_ONCE, Load, PARTS, Rig, STORE, Wire, all, head, heads, line, load, local, one},
    make::*,
    servers::{Server, at, open, until},
};

/// How long a command may take in these tests, and a little for a machine that does much else.
const LIMIT: Duration = Duration::from_millis(500);
const SLACK: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_is_known_as_of_the_sending_of_its_last_beat() {
    let server = Server::start(&[]);
    heads(&server);
    let rig = Rig::start(one(server.port));
    assert_eq!(rig.age(), Age::Never, "nothing is known before the first beat");
    rig.fresh("all parts are known").await;
    let (known, now) = (rig.leases.known(Part(3)).unwrap(), rig.now());
    assert!(known <= now && rig.links.one_server());
    rig.fresh("it goes on").await;
    assert!(rig.leases.known(Part(3)) > Some(known));
    let (store, boot) = rig.links.fleet_time().unwrap();
    assert!(store > 1_700_000_000_000 && boot <= rig.now());
    assert_eq!(rig.at(Part(0)).unwrap().confirmed(Part(0)).await, Ok(true));
    assert_eq!(rig.links.told(Part(0)).unwrap().id.to_string(), STORE);
    assert!(rig.links.at(Part(PARTS)).is_err(), "no part of this store");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_renewed_before_everything_up_to_the_head_is_in_force() {
    let server = Server::start(&[]);
    heads(&server);
    head(&server, 2, 0, 3);
    let rig = Rig::start(one(server.port));
    let others = all().without(Part(2));
    rig.until("the others are known", || rig.leases.age(others, rig.now()) < Age::Never).await;
    rig.until("the head is told", || *rig.links.newest(Part(2)).borrow() == 3).await;
    for number in 1..=3 {
        assert_eq!(rig.leases.known(Part(2)), None, "before change {number} is in force");
        rig.leases.in_force(Part(2), number, line(number));
    }
    assert!(rig.leases.known(Part(2)).is_some(), "the beats that waited count when the last is");
    let moved = rig.links.moved();
    head(&server, 2, 0, 4);
    rig.until("a beat told it", || *rig.links.newest(Part(2)).borrow() == 4).await;
    assert!(moved.has_changed().unwrap());
}

fn publish(server: &Server, payload: &[u8]) {
    server.tell_bytes(&[b"PUBLISH", format!("postern:{STORE}:moved").as_bytes(), payload]);
}

/// Whoever waits for a part hears that somebody says something of it.
async fn woken(newest: &mut tokio::sync::watch::Receiver<u64>) {
    tokio::time::timeout(Duration::from_secs(20), newest.changed()).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_listens_hears_of_a_change_within_moments() {
    let server = Server::start(&[]);
    heads(&server);
    let rig = Rig::known(Options { beat: Duration::from_secs(5), ..one(server.port) }).await;
    let mut times = Vec::new();
    for number in 1..=50 {
        let mut newest = rig.links.newest(Part(1));
        let begun = Instant::now();
        publish(&server, format!("1 {number}").as_bytes());
        woken(&mut newest).await;
        times.push(begun.elapsed());
    }
    times.sort();
    println!("push: p50 {:?}, max {:?}", times[25], times[49]);
    assert!(times[25] < Duration::from_millis(50), "beats come every 5 s here");
    assert_eq!(*rig.links.newest(Part(1)).borrow(), 0, "what somebody says is no knowledge");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_says_wakes_and_is_not_believed() {
    let server = Server::start(&[]);
    heads(&server);
    let rig = Rig::known(Options { beat: Duration::from_secs(5), ..one(server.port) }).await;
    let ready = rig.links.at(Part(1)).unwrap();
    (1..=5).for_each(|number| rig.leases.in_force(Part(1), number, line(number)));
    let (mut newest, mut marker) = (rig.links.newest(Part(1)), rig.links.newest(Part(2)));
    let whole = format!("1 6 {} {} chg_6 1700000000000 0\n", line(5), line(6));
    let long = [b"1 6".as_slice(), &vec![b'0'; 4 << 20]].concat();
    let binary: Vec<u8> = (0..=255).chain(*b"1 6").collect();
    // Neither what is none, nor what is in force here.
    for payload in
        [b"".as_slice(), b"1", b"1 ", b"1 x", b"1 6 ", b"9 6", whole.as_bytes(), &long, &binary, b"1 5"]
    {
        publish(&server, payload);
    }
    publish(&server, b"2 1");
    woken(&mut marker).await;
    assert!(!newest.has_changed().unwrap(), "what came before has been heard");
    for number in [u64::MAX, u64::MAX - 1, 6, u64::MAX, 7] {
        publish(&server, format!("1 {number}").as_bytes());
        woken(&mut newest).await;
        assert_eq!(*newest.borrow(), 0);
    }
    assert!(std::sync::Arc::ptr_eq(&ready, &rig.links.at(Part(1)).unwrap()) && ready.holds());
    assert_eq!(rig.leases.suspicion(Part(1)), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_gateway_commits_is_said_without_what_changed() {
    let server = Server::start(&[]);
    let options = Options { beat: Duration::from_secs(60), ..at(server.port) };
    RedisStore::init(options.clone()).await.unwrap();
    let (here, there) = (open(options.clone()).await, open(options).await);
    let key = tenant_key("a");
    let part = here.part_of(&key);
    let (mut newest, mut moved) = (there.newest(part), there.moved());
    let mut before = None;
    for number in 1..=3 {
        let commit = step(fresh(), &key, before.as_ref(), tenant("read"));
        assert_eq!(here.commit(commit.clone()).await.unwrap().place, part.at(number));
        before = commit.write.into_iter().next().map(|(_, stored)| stored);
        woken(&mut newest).await;
    }
    // Told behind that of the part.
    let told = moved.wait_for(|count| *count >= 3);
    tokio::time::timeout(Duration::from_secs(20), told).await.unwrap().unwrap();
    assert_eq!(*newest.borrow(), 0, "nobody told how many there are");
    assert_eq!(there.changes_after(part, 0, 1).await.unwrap().len(), 1);
    assert_eq!(*newest.borrow(), 3, "whoever reads a page and not the last is told");
    let told = there.changes_after(part, 0, 10).await.unwrap();
    assert_eq!(told.iter().map(|entry| entry.place.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(told[2].documents, [(key.clone(), Ok(before.unwrap()))]);
    let late = open(at(server.port)).await;
    assert_eq!(late.changes_after(part, 0, 10).await.unwrap(), told);
    // What is in force renews, as of a beat that told no more than that.
    for entry in &told {
        late.leases().in_force(part, entry.place.number, entry.line);
    }
    let leases = late.leases();
    until("it is known", || leases.known(part).is_some());
    assert_eq!(leases.suspicion(part), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_contradicts_what_was_seen_makes_its_part_suspect_and_no_other() {
    let server = Server::start(&[]);
    heads(&server);
    (0..5).for_each(|part| head(&server, part, 1, 9));
    let rig = Rig::start(one(server.port));
    (0..5).for_each(|part| (1..=9).for_each(|number| rig.leases.in_force(Part(part), number, line(number))));
    rig.fresh("all parts are known").await;
    let key = |part: u16| format!("postern:{{p{part:02}}}:head");
    server.tell(&["DEL", &key(0)]);
    server.tell(&["HSET", &key(1), "epoch", "0"]);
    server.tell(&["HSET", &key(2), "number", "8"]);
    server.tell(&["HSET", &key(3), "line", line(7).as_str()]);
    server.tell(&["HSET", &key(4), "epoch", "2"]);
    server.tell(&["HSET", &key(5), "id", "0192f0c1-0000-7000-8000-000000000000"]);
    server.tell(&["HSET", &key(6), "state", "suspect"]);
    let expected = [
        (0, Suspicion::Unmarked),
        (1, Suspicion::EpochBehind),
        (2, Suspicion::PlaceBehind),
        (3, Suspicion::Forked),
        (4, Suspicion::HealedByOthers),
        (5, Suspicion::OtherStore),
        (6, Suspicion::Marked),
    ];
    let mut doubts = rig.leases.doubts();
    let found = doubts.wait_for(|parts| parts.count() == 7);
    tokio::time::timeout(Duration::from_secs(20), found).await.unwrap().unwrap();
    for (part, why) in expected {
        assert_eq!(rig.leases.suspicion(Part(part)), Some(why), "part {part}");
        assert_eq!(rig.leases.age(Parts::of(Part(part)), rig.now()), Age::Suspect);
    }
    assert!(rig.leases.age(Parts::of(Part(7)), rig.now()) < Age::Never);
    assert!(rig.at(Part(0)).is_ok(), "a suspect part is still linked: somebody has to heal it");
    // What heals says what is expected from now on, and that it is trusted.
    server.tell(&["HSET", &key(4), "epoch", "2"]);
    rig.leases.expect(Part(4), STORE.parse().unwrap(), 2);
    rig.leases.suspect(Part(4), None);
    assert!(rig.leases.leaving(Part(4)), "what was known was of before");
    rig.leases.in_force(Part(4), 9, line(9));
    let since = rig.now();
    rig.until("the healed part is known", || rig.leases.known(Part(4)) > Some(since)).await;
    assert!(rig.leases.age(Parts::of(Part(4)), rig.now()) < Age::Never);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_never_made_is_suspect_until_it_is() {
    let server = Server::start(&[]);
    let rig = Rig::start(one(server.port));
    rig.until("the heads are missed", || rig.leases.suspicion(Part(0)) == Some(Suspicion::Unmarked)).await;
    assert_eq!(rig.age(), Age::Suspect);
    heads(&server);
    rig.fresh("nothing was lost").await;
    assert!(rig.age() < Age::Never);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_a_server_that_refuses_are_refused_at_once() {
    let gone = Server::start(&[]);
    let port = gone.port;
    drop(gone);
    let rig = Rig::start(one(port));
    let said = rig.troubled(ServerFault::Unreachable).await;
    assert!(said.contains(&port.to_string()), "{said}");
    let callers = Load::start(&rig.links, all());
    rig.until("a thousand asked", || callers.bad() > 1000).await;
    let (good, _, longest) = callers.end().await;
    println!("refused: longest {longest:?}");
    assert!(good == 0 && longest < AT_ONCE, "{good} answered, longest {longest:?}");
    assert_eq!(rig.age(), Age::Never);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_becomes_slow_holds_callers_for_one_time_out_and_then_none() {
    let server = Server::start(&[]);
    heads(&server);
    let wire = Wire::to(server.port).await;
    let rig = Rig::known(one(wire.port)).await;
    wire.slow(Duration::from_secs(5));
    let callers = Load::start(&rig.links, all());
    rig.refused("the link is withdrawn").await;
    let (before, begun) = (callers.bad(), rig.now());
    rig.until("they are refused", || callers.bad() > before + 500).await;
    assert!(rig.leases.known(Part(0)) < Some(begun), "nothing is renewed");
    assert!(rig.at(Part(0)).is_err(), "a connection that is as slow is none");
    wire.slow(Duration::ZERO);
    rig.fresh("it is as fast as before").await;
    let (good, bad, longest) = callers.end().await;
    println!("slow: {good} answered, {bad} refused, longest {longest:?}");
    assert!(longest < LIMIT + SLACK, "{longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_ends_leases_and_holds_nobody() {
    let server = Server::start(&[]);
    heads(&server);
    let rig = Rig::known(one(server.port)).await;
    let callers = Load::start(&rig.links, all());
    rig.until("they are answered", || callers.good() > 100).await;
    server.freeze();
    let frozen = rig.now();
    rig.refused("the link is withdrawn").await;
    let noticed = rig.now() - frozen;
    let before = callers.bad();
    rig.until("they are refused", || callers.bad() > before + 500).await;
    assert!(rig.leases.known(Part(0)) <= Some(frozen + 1), "counted from the sending");
    server.thaw();
    rig.fresh("it goes on").await;
    let (good, bad, longest) = callers.end().await;
    println!("frozen: noticed after {noticed} ms; {good} answered, {bad} refused, longest {longest:?}");
    assert!(longest < LIMIT + SLACK, "{longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_flaps_is_made_again_each_time_and_nobody_waits_for_it() {
    let server = Server::start(&[]);
    heads(&server);
    let wire = Wire::to(server.port).await;
    let rig = Rig::known(one(wire.port)).await;
    let callers = Load::start(&rig.links, all());
    for _ in 0..10 {
        wire.cut();
        rig.refused("the link is withdrawn").await;
        wire.refuse(true);
        rig.troubled(ServerFault::Unreachable).await;
        wire.refuse(false);
        rig.fresh("it is linked again").await;
        let before = callers.good();
        rig.until("they are answered", || callers.good() > before).await;
    }
    let (good, bad, longest) = callers.end().await;
    println!("flapping: {good} answered, {bad} refused, longest {longest:?}");
    assert!(good >= 10 && bad >= 10 && longest < LIMIT, "{longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_is_trusted_again_and_one_that_forgot_is_not() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    heads(&server);
    let rig = Rig::known(one(server.port)).await;
    let callers = Load::start(&rig.links, all());
    rig.until("they are answered", || callers.good() > 100).await;
    server.restart();
    rig.fresh("it is linked again").await;
    let (_, bad, longest) = callers.end().await;
    println!("restarted: {bad} refused, longest {longest:?}");
    assert!(bad > 0 && longest < LIMIT + SLACK, "{longest:?}");
    assert!(rig.age() < Age::Never);
    server.tell(&["FLUSHALL"]);
    server.restart();
    rig.until("it is suspect", || rig.age() == Age::Suspect).await;
    assert_eq!(rig.leases.suspicion(Part(0)), Some(Suspicion::Unmarked));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_and_a_missing_permission_are_told_apart() {
    let server = Server::start(&["--requirepass", "geheim"]);
    heads(&server);
    let rig = Rig::start(Options { password: Some("falsch".to_owned().into()), ..one(server.port) });
    let said = rig.troubled(ServerFault::Password).await;
    assert!(!said.contains("falsch") && rig.at(Part(0)).is_err(), "{said}");
    let rig = Rig::start(one(server.port));
    rig.troubled(ServerFault::Password).await;
    let right = Options { password: Some("geheim".to_owned().into()), ..one(server.port) };
    Rig::known(right.clone()).await;
    // Just what links need of one server.
    let mut rules = vec!["on", ">w", "~postern:*", "&postern:*", "-@all"];
    rules.extend([
        "+hello",
        "+role",
        "+info",
        "+script|load",
        "+eval",
        "+evalsha",
        "+time",
        "+wait",
        "+subscribe",
    ]);
    rules.extend(["+hmget", "+zrangebyscore", "+pexpire", "+set"]);
    assert_eq!(server.tell(&[&["ACL", "SETUSER", "gate"][..], &rules].concat()), "+OK");
    let user = |password: &str| Options {
        user: Some("gate".into()),
        password: Some(password.to_owned().into()),
        ..right.clone()
    };
    let rig = Rig::known(user("w")).await;
    rig.until("it is said", || rig.links.warnings().iter().any(|text| text.contains("cannot be seen"))).await;
    server.tell(&["ACL", "SETUSER", "blind", "on", ">w", "~other:*", "&postern:*", "+@all"]);
    let rig = Rig::start(Options { user: Some("blind".into()), ..user("w") });
    rig.troubled(ServerFault::Permission).await;
    assert_eq!(rig.age(), Age::Never, "nothing was read, so nothing is known");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_no_primary_also_where_it_became_one_in_between() {
    let server = Server::start(&[]);
    heads(&server);
    let replica = server.replica(&[]);
    let rig = Rig::start(one(replica.port));
    rig.troubled(ServerFault::ReadOnly).await;
    assert!(rig.at(Part(0)).is_err() && rig.age() == Age::Never);
    replica.tell(&["REPLICAOF", "NO", "ONE"]);
    rig.fresh("it was promoted").await;
    let port = server.port.to_string();
    replica.tell(&["REPLICAOF", "127.0.0.1", &port]);
    let before = rig.now();
    rig.refused("it was demoted").await;
    assert!(rig.leases.known(Part(0)) <= Some(before + 1000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_without_its_majority_answers_and_renews_nothing() {
    let server = Server::start(&[]);
    heads(&server);
    let replica = server.replica(&[]);
    let rig = Rig::known(Options { copies: 2, ..one(server.port) }).await;
    assert_eq!(rig.at(Part(0)).unwrap().confirmed(Part(0)).await, Ok(true));
    replica.freeze();
    rig.troubled(ServerFault::Unconfirmed).await;
    let (known, callers) = (rig.leases.known(Part(0)), Load::start(&rig.links, all()));
    rig.until("they are answered", || callers.good() > 200).await;
    assert_eq!(rig.at(Part(0)).unwrap().confirmed(Part(0)).await, Ok(false));
    let (good, bad, longest) = callers.end().await;
    println!("isolated: {good} answered, {bad} refused, longest {longest:?}");
    assert_eq!((bad, rig.leases.known(Part(0))), (0, known), "loads may answer, leases end");
    replica.thaw();
    rig.fresh("its replica is back").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_primary_that_contradicts_what_was_seen_is_not_linked_and_makes_nothing_suspect() {
    let server = Server::start(&[]);
    heads(&server);
    let replica = server.replica(&[]);
    let rig = Rig::start(Options { copies: 2, ..one(server.port) });
    rig.fresh("all parts are known").await;
    drop(replica);
    rig.troubled(ServerFault::Unconfirmed).await;
    // Elsewhere, where there was a majority, this gateway has followed to change 7.
    rig.leases.in_force(Part(0), 7, line(7));
    rig.troubled(ServerFault::Outdated).await;
    assert!(rig.at(Part(0)).is_err() && rig.leases.suspicion(Part(0)).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_memory_and_one_without_scripts_still_beats() {
    let server = Server::start(&[]);
    heads(&server);
    let rig = Rig::known(one(server.port)).await;
    server.tell(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(server.tell(&["SET", "x", "y"]).contains("OOM"));
    rig.fresh("only an expiry is moved").await;
    server.tell(&["SCRIPT", "FLUSH"]);
    rig.fresh("the script is loaded again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_is_set_to_lose_is_said() {
    let server = Server::start(&["--maxmemory-policy", "allkeys-lru"]);
    heads(&server);
    let rig = Rig::known(one(server.port)).await;
    rig.until("it is said", || rig.links.warnings().len() == 2).await;
    let said = rig.links.warnings();
    assert!(said[0].contains("a restart empties it") && said[1].contains("allkeys-lru"), "{said:?}");
    assert!(said.iter().all(|text| text.contains(&local(server.port).to_string())), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_links_leave_no_connection_and_no_task_behind() {
    let server = Server::start(&[]);
    heads(&server);
    let rig = Rig::known(one(server.port)).await;
    let clients = || server.tell(&["CLIENT", "LIST"]).trim_end().lines().count();
    assert_eq!(clients(), 5, "loads, commits, beats, pushes, and whoever asks");
    let (links, held) = (rig.links, rig.leases);
    let kept = links.at(Part(0)).unwrap();
    drop(links);
    until("all connections are closed", || clients() == 1);
    assert!(!kept.holds());
    let known = held.known(Part(0));
    tokio::time::timeout(Duration::from_secs(2), kept.end()).await.unwrap();
    assert_eq!(held.known(Part(0)), known);
}

/// An authority, and a certificate of it for these names, as PEM.
fn certified(names: &[&str]) -> (String, String, String) {
    let authority = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "the authority of a test");
    let ca = params.self_signed(&authority).unwrap();
    let issuer = rcgen::Issuer::from_params(&params, &authority);
    let key = rcgen::KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let own = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    (ca.pem(), own.pem(), key.serialize_pem())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_the_servers_authority_and_name_are_checked_and_ours_where_it_asks() {
    let (ca, certificate, key) = certified(&["127.0.0.1"]);
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ca_file, certificate_file, key_file) =
        (file("ca", &ca), file("certificate", &certificate), file("key", &key));
    // One port in the clear, by which the test speaks to it, and one by TLS.
    let port = crate::sentinel::free_port();
    let text = port.to_string();
    let server = Server::start(&[
        "--tls-port",
        &text,
        "--tls-ca-cert-file",
        &ca_file,
        "--tls-cert-file",
        &certificate_file,
        "--tls-key-file",
        &key_file,
        "--tls-auth-clients",
        "yes",
    ]);
    heads(&server);
    let own = Some((certificate.into_bytes(), key.into_bytes().into()));
    let with = |roots: &str, own| Options {
        tls: Some(Tls { roots: Some(roots.as_bytes().to_vec()), own }),
        ..one(port)
    };
    let rig = Rig::known(with(&ca, own.clone())).await;
    assert!(load(&rig.links, Part(0)).await.1);
    let rig = Rig::start(with(&certified(&["127.0.0.1"]).0, own.clone()));
    rig.troubled(ServerFault::Tls).await;
    assert!(rig.at(Part(0)).is_err(), "another authority");
    let localhost = postern::state::redis::Address { host: "localhost".into(), port };
    let servers = postern::state::redis::Servers::One(localhost);
    let rig = Rig::start(Options { servers, ..with(&ca, own) });
    rig.troubled(ServerFault::Tls).await;
    let rig = Rig::start(with(&ca, None));
    rig.until("without a certificate of ours", || rig.links.trouble(Part(0)).is_some()).await;
    assert!(rig.at(Part(0)).is_err());
}
