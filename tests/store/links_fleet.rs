//! Links by Sentinels and to a Cluster: fail-overs under load.
//!
//! Never here: one server ([`crate::links`]).

use std::time::Instant;

use crate::{
    links_rig::{Load, PARTS, Rig, all, head, heads, local, of},
    sentinel::{Sentinel, free_port},
    servers::{Server, until},
};
use postern::state::{
    Age, Part, Parts, ServerFault,
    redis::{Options, Servers},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fail_over_by_sentinels_is_followed_under_load() {
    let primary = Server::start(&[]);
    heads(&primary);
    let replicas = [primary.replica(&[]), primary.replica(&[])];
    let sentinels = Sentinel::three(primary.port);
    let servers = Servers::Sentinel {
        name: "gate".to_owned(),
        addresses: sentinels.iter().map(|sentinel| local(sentinel.port)).collect(),
    };
    let rig = Rig::known(Options { copies: 3, ..of(servers) }).await;
    assert_eq!(rig.at(Part(0)).unwrap().address, local(primary.port));
    let callers = Load::start(&rig.links, all());
    rig.until("they are answered", || callers.good() > 100).await;
    let (begun, old) = (Instant::now(), primary.port);
    primary.freeze();
    let frozen = rig.now();
    rig.refused("the old primary is given up").await;
    rig.until("a new primary is linked", || {
        rig.links.at(Part(0)).is_ok_and(|ready| ready.address != local(old))
    })
    .await;
    let linked = begun.elapsed();
    let before = callers.good();
    rig.until("they are answered by the new one", || callers.good() > before + 100).await;
    assert!(replicas.iter().any(|one| rig.at(Part(0)).is_ok_and(|ready| ready.address == local(one.port))));
    rig.fresh("a majority confirms it, without the old one").await;
    let known = begun.elapsed();
    assert!(frozen < rig.leases.known(Part(0)).unwrap());
    let (good, bad, longest) = callers.end().await;
    println!(
        "sentinel: linked after {linked:?}, known after {known:?}; {good} answered, {bad} refused, longest {longest:?}"
    );
    assert!(longest.as_millis() < 1000 && rig.age() < Age::Never, "{longest:?}");
    // Two of three is a majority, one of three is none.
    let [first, second, third] = sentinels;
    drop(first);
    rig.fresh("two sentinels are enough").await;
    drop((second, third));
    rig.fresh("a link that holds needs no sentinel").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_without_a_majority_name_no_primary() {
    let primary = Server::start(&[]);
    heads(&primary);
    let sentinel = Sentinel::of(primary.port);
    until("the sentinel is up", || !sentinel.told().is_empty());
    let addresses = vec![local(sentinel.port), local(free_port()), local(free_port())];
    let rig = Rig::start(of(Servers::Sentinel { name: "gate".into(), addresses: addresses.clone() }));
    let said = rig.troubled(ServerFault::Unknown).await;
    assert!(said.contains("of 3 sentinels 1 named") && rig.at(Part(0)).is_err(), "{said}");
    let addresses = vec![local(sentinel.port)];
    let rig = Rig::start(of(Servers::Sentinel { name: "other".into(), addresses: addresses.clone() }));
    rig.troubled(ServerFault::Unknown).await;
    Rig::known(of(Servers::Sentinel { name: "gate".into(), addresses })).await;
}

fn node() -> Server {
    Server::start(&[
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        "1000",
        "--cluster-require-full-coverage",
        "no",
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_serves_the_other_masters_parts_while_one_fails_over() {
    let masters = [node(), node(), node()];
    let replica = node();
    for (at, (master, range)) in masters.iter().zip([(0, 5460), (5461, 10922), (10923, 16383)]).enumerate() {
        let told = master.tell(&["CLUSTER", "ADDSLOTSRANGE", &range.0.to_string(), &range.1.to_string()]);
        assert_eq!(told, "+OK");
        master.tell(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
    }
    for other in masters[1..].iter().chain([&replica]) {
        masters[0].tell(&["CLUSTER", "MEET", "127.0.0.1", &other.port.to_string()]);
    }
    let first = masters[0].tell(&["CLUSTER", "MYID"]);
    for server in masters.iter().chain([&replica]) {
        until("the cluster is whole", || {
            let info = server.tell(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:4")
        });
    }
    until("the replica follows", || {
        replica.tell(&["CLUSTER", "REPLICATE", &first]);
        replica.tell(&["INFO", "replication"]).contains("master_link_status:up")
    });
    until("all know of the replica", || {
        masters.iter().all(|master| master.tell(&["CLUSTER", "NODES"]).contains("slave"))
    });
    // Each part lies on the server that has its slot.
    let slot = |part: u16| -> u16 {
        let told = masters[0].tell(&["CLUSTER", "KEYSLOT", &format!("postern:{{p{part:02}}}:head")]);
        told.trim_start_matches(':').parse().unwrap()
    };
    let owner = |part: u16| usize::from(slot(part) > 5460) + usize::from(slot(part) > 10922);
    let mut parts = [Parts::NONE; 3];
    for part in 0..PARTS {
        head(&masters[owner(part)], part, 0, 0);
        parts[owner(part)] = parts[owner(part)].with(Part(part));
    }
    assert!(parts.iter().all(|parts| !parts.is_empty()), "a test of three masters: {parts:?}");
    until("the replica has the heads", || replica.tell(&["DBSIZE"]) == masters[0].tell(&["DBSIZE"]));
    let seeds = vec![local(masters[2].port), local(masters[0].port)];
    let rig = Rig::known(Options { copies: 1, ..of(Servers::Cluster(seeds)) }).await;
    assert!(!rig.links.one_server());
    for part in all().each() {
        assert_eq!(rig.at(part).unwrap().address, local(masters[owner(part.0)].port));
    }
    let others = parts[1].and(parts[2]);
    let (lost, kept) = (Load::start(&rig.links, parts[0]), Load::start(&rig.links, others));
    rig.until("they are answered", || lost.good() > 50 && kept.good() > 50).await;
    let begun = Instant::now();
    let [gone, second, third] = masters;
    drop(gone);
    let part = parts[0].each().next().unwrap();
    rig.until("the part is refused", || rig.at(part).is_err()).await;
    let noticed = begun.elapsed();
    rig.until("its replica is linked", || {
        rig.links.at(part).is_ok_and(|ready| ready.address == local(replica.port))
    })
    .await;
    let linked = begun.elapsed();
    rig.fresh("all parts are known").await;
    let ((good, bad, longest), (_, others_bad, others_longest)) = (lost.end().await, kept.end().await);
    println!(
        "cluster: noticed after {noticed:?}, linked after {linked:?}; {good} answered, {bad} refused, longest {longest:?}; \
         the others' longest {others_longest:?}, {others_bad} refused"
    );
    assert_eq!(others_bad, 0, "one failed master shuts out nobody else");
    assert!(longest.as_millis() < 1000 && bad > 0);
    // A part that moves is found where it is.
    let moving = parts[1].each().next().unwrap();
    let number = slot_of(&second, moving).to_string();
    let id = third.tell(&["CLUSTER", "MYID"]);
    let key = format!("postern:{{p{:02}}}:head", moving.0);
    second.tell(&["DEL", &format!("postern:{{p{:02}}}:beat", moving.0)]);
    second.tell(&["CLUSTER", "SETSLOT", &number, "MIGRATING", &id]);
    third.tell(&["CLUSTER", "SETSLOT", &number, "IMPORTING", &second.tell(&["CLUSTER", "MYID"])]);
    let port = third.port.to_string();
    let beat = format!("postern:{{p{:02}}}:beat", moving.0);
    second.tell(&["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS", &key, &beat]);
    for server in [&third, &second] {
        server.tell(&["CLUSTER", "SETSLOT", &number, "NODE", &id]);
    }
    rig.until("it is found where it is", || {
        rig.links.at(moving).is_ok_and(|ready| ready.address == local(third.port))
    })
    .await;
    rig.fresh("all parts are known").await;
}

fn slot_of(server: &Server, part: Part) -> u16 {
    let told = server.tell(&["CLUSTER", "KEYSLOT", &format!("postern:{{p{:02}}}:head", part.0)]);
    told.trim_start_matches(':').parse().unwrap()
}
