//! The live record over sockets: pieces as they come, resumed, and let go of.

use serde_json::Value;

use crate::{
    client::{Client, Ending},
    world::*,
};

fn follow(world: &World, token: &str, more: &str) -> Client {
    let mut client = world.client();
    client.send(request("GET", "/_postern/v1/tenants/acme/audit/stream", token, more));
    let head = client.head().to_lowercase();
    assert!(head.contains(" 200 ") && head.contains("content-type: text/event-stream"), "{head}");
    assert!(
        head.contains("transfer-encoding: chunked") && head.contains("cache-control: no-store"),
        "{head}"
    );
    client
}

/// Reads until the text has so many records; the last one's place.
fn records_in(client: &mut Client, count: usize) -> (u64, String) {
    loop {
        let text = String::from_utf8_lossy(&client.inbox).into_owned();
        let ids: Vec<u64> = text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect();
        if ids.len() >= count && text.ends_with("\n\n\r\n") {
            return (ids[count - 1], text);
        }
        assert_eq!(client.more(), Ending::Open, "{text}");
    }
}

// GW-11
#[test]
fn a_tenant_sees_an_entry_the_moment_it_happens_and_goes_on_after_a_break() {
    let mut world = World::start();
    let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
    let mut client = follow(&world, &admin, "");
    let session = world.start_session("acme", &agent);
    let (last, text) = records_in(&mut client, 2);
    assert!(text.contains("session_started") && text.contains(session.as_str()), "{text}");
    drop(client);
    world.done(World::end("acme", &session), &admin);
    // A restart ends every stream in order; its reader goes on where it was.
    let mut client = follow(&world, &admin, &format!("Last-Event-ID: {last}\r\n"));
    let (_, text) = records_in(&mut client, 2);
    assert!(text.contains("session_ended") && !text.contains("session_started"), "{text}");
    let stopping = std::thread::spawn({
        let gateway = world.gateway.take().unwrap();
        move || gateway.stop()
    });
    while client.more() == Ending::Open {}
    assert!(client.inbox.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&client.inbox));
    stopping.join().unwrap();
    world.up();
    let mut client = follow(&world, &admin, &format!("Last-Event-ID: {last}\r\n"));
    records_in(&mut client, 2);
    drop(client);
    // Whoever hangs up leaves their place to others at once.
    for _ in 0..12 {
        until("there is a place", || {
            let mut client = world.client();
            client.send(request("GET", "/_postern/v1/tenants/acme/audit/stream", &admin, ""));
            client.head().contains(" 200 ")
        });
    }
    world.finish();
}

#[test]
fn asked_for_its_head_alone_the_stream_is_over_at_once() {
    let world = World::start();
    let reply = world.ask("HEAD", "/_postern/v1/tenants/acme/audit/stream", &world.people.admin("acme"), "");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.values("content-type"), ["text/event-stream"]);
    let refused = world.get("/_postern/v1/tenants/acme/audit/stream", &world.people.admin("globex"));
    let problem: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(problem["code"], "not_allowed");
    world.finish();
}
