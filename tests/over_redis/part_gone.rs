//! A master of a Cluster that nobody takes the place of: what falls due in the parts of the others is written down all the while, and what
//! is the matter is said once, not each time that it is met.
//!
//! Never here: a master whose replica takes its place ([`crate::fail_over`]).

use std::time::{Duration, Instant};

use postern::{
    engine::hooks::Hooks,
    lifecycle::WantedBasis,
    model::{Key, Reach, Span},
};

use crate::{
    chaos::get,
    fail_over::{MORE, TENANTS, cluster, master_of, seeds},
    process::{Process, written},
    rig::{plan, prepared, serving},
    watch::{ask, lone},
    world::*,
};

/// How long the session lasts whose end is waited for, and how long after that a sweep may take to write it down.
const LASTS: Duration = Duration::from_secs(3);
const SWEPT: Duration = Duration::from_secs(4);

#[test]
fn what_falls_due_elsewhere_is_written_down_while_a_master_is_gone() {
    let nodes = cluster(0);
    let servers = seeds(&nodes);
    let mut gateways = prepared(2, |name| {
        plan(name, &servers, "", Hooks::default()).edit("- { id: globex, zone: UTC }", MORE)
    });
    let beside = gateways.pop().unwrap();
    let gateways = serving(gateways);
    let a = &gateways[0];
    // The other one in a process of its own, so that what it says can be read.
    let config = written(&beside);
    let process = Process::start(&config);
    let stranger = lone("GET", "/t/acme/orders", &a.people.staff("stranger"), "");
    until("it serves staff", || ask(process.address, &stranger).status == 403);
    let said =
        |line: &str| std::fs::read_to_string(config.with_extension("log")).unwrap().matches(line).count();

    let store = a.gateway().engine().store();
    let gone = (master_of(&nodes, store, &Key::Stop(Reach::All)) + 1) % 3;
    let on_others = |id: &&&str| master_of(&nodes, store, &Key::Tenant(tenant(id))) != gone;
    let kept = TENANTS.iter().find(on_others).unwrap();
    let agent = a.people.staff("sam");
    a.done(World::consent(kept, "full"), &a.people.admin(kept));
    let lasts = Span::Millis(i64::try_from(LASTS.as_millis()).unwrap());
    let session = a.session_on(kept, &agent, WantedBasis::Consent, Some(lasts));
    let begun = Instant::now();
    nodes[gone].freeze();

    let ends = || {
        let all = a.records().into_iter().chain(beside.records());
        let ended = |record: &serde_json::Value| {
            record["kind"] == "change.outcome"
                && record["outcome"] == "stored"
                && record["events"][0]["event"] == "session_ended"
                && record["events"][0]["session"] == session.as_str()
        };
        all.filter(ended).count()
    };
    until("the end is written down", || ends() > 0);
    let took = begun.elapsed();
    assert!(took < LASTS + SWEPT, "{took:?}");
    assert_eq!(ends(), 1, "by one of them");

    // It is told by its name, and so is what all of them are set to lose.
    let metrics = get(process.operations, "/metrics");
    for (at, node) in nodes.iter().enumerate() {
        let up = format!(
            "\npostern_state_link_up{{server=\"127.0.0.1:{}\"}} {}\n",
            node.port,
            u64::from(at != gone)
        );
        assert!(metrics.contains(&up), "{metrics}");
    }
    let value = |name: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
    };
    assert!(value("postern_state_links_lost_total") > 0, "{metrics}");
    let ready = get(process.operations, "/readyz");
    let not = format!("\nservers of the store: 2 of 3 linked, not 127.0.0.1:{}\n", nodes[gone].port);
    assert!(ready.contains(&not), "{ready}");
    let told = ready.lines().filter(|line| line.starts_with("warning: redis `127.0.0.1:")).count() as u64;
    assert!(told > 0 && told == value("postern_state_warnings"), "{ready}{metrics}");

    // Sweeps go on meanwhile, once a second.
    until("it has been met often", || begun.elapsed() > LASTS + SWEPT);
    assert_eq!(said("what has fallen due cannot be read"), 1);
    assert_eq!(said("what falls due is read again"), 0);
    nodes[gone].thaw();
    until("all is read again", || said("what falls due is read again") == 1);
    until("all are linked again", || {
        get(process.operations, "/readyz").contains("\nservers of the store: 3 of 3 linked\n")
    });
    assert_eq!(said("what has fallen due cannot be read"), 1);
    // Set right, nobody is warned any more.
    nodes
        .iter()
        .for_each(|node| drop(node.tell(&["CONFIG", "SET", "appendonly", "yes", "appendfsync", "always"])));
    until("nothing is warned of", || !get(process.operations, "/readyz").contains("\nwarning: "));
    assert!(get(process.operations, "/metrics").contains("\npostern_state_warnings 0\n"));
    assert_eq!(process.stop(), Some(0));
    beside.prove();
    gateways.into_iter().for_each(|gateway| drop(gateway.finish()));
}
