//! Peers that are slow, odd or old: what each wait costs them, and what their connections are good for afterwards.

use std::{net::Shutdown, sync::atomic::Ordering::SeqCst};

use crate::{
    client::{Client, Ending},
    world::{Plan, World, request, until},
};

fn connections(world: &World) -> u64 {
    world.upstream.notes.connections.load(SeqCst)
}

#[test]
fn a_get_with_a_body_is_refused_before_anything_goes_out() {
    let world = World::start();
    let rita = world.people.member("rita", "acme", &["read_only"]);
    let mut client = world.client();
    let inner = "DELETE /t/acme/orders HTTP/1.1\r\nHost: h\r\n\r\n";
    let more = format!("Content-Length: {}\r\n", inner.len());
    client.send(request("GET", "/t/acme/orders", &rita, &more) + inner);
    let reply = client.reply();
    assert_eq!((reply.status, reply.code().as_str()), (400, "body_unexpected"));
    assert_eq!(client.read_out().1, 0, "what stood behind it is no request");
    assert_eq!(world.upstream.received(), 0);
    world.finish();
}

#[test]
fn the_outcome_never_says_less_than_left() {
    let world = World::start();
    let agent = world.people.staff("sam");
    let session = world.start_session("acme", &agent);
    let mut client = Client::narrow(world.gateway().address());
    client.send(request("GET", "/t/acme/download?do=bytes&n=50000000", &agent, ""));
    client.head();
    until("the buffers fill", || {
        let before = world.upstream.notes.sent.load(SeqCst);
        std::thread::sleep(std::time::Duration::from_millis(50));
        before > 0 && world.upstream.notes.sent.load(SeqCst) == before
    });
    world.done(World::end("acme", &session), &world.people.admin("acme"));
    let (ending, came) = client.read_out();
    assert_eq!(ending, Ending::Reset);
    let sent = world.last_outcome()["sent"].as_u64().unwrap();
    assert!(sent >= came && came > 0, "{came} bytes came, the record says {sent}");
    world.finish();
}

#[test]
fn a_client_that_leaves_an_answer_under_way_is_noticed_though_its_upload_was_given_up() {
    let world = World::of(Plan::default().edit("body_idle: 5s", "body_idle: 500ms"));
    let eva = world.people.member("eva", "acme", &["editor"]);
    let mut client = world.client();
    client.send(request("POST", "/t/acme/orders?do=refuse-and-stay", &eva, "Content-Length: 1000000000\r\n"));
    assert!(client.head().starts_with("HTTP/1.1 413"));
    let piece = vec![0u8; 64 << 10];
    // The application takes no more, so nothing more is taken here either.
    let stream = client.stream.try_clone().unwrap();
    stream.set_write_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    let mut stream = stream;
    let _ = (0..128).try_for_each(|_| std::io::Write::write_all(&mut stream, &piece));
    drop((client, stream));
    until("both are let go of", || world.gateway().counters().connections.load(SeqCst) == 0);
    world.upstream.release();
    world.finish();
}

#[test]
fn a_login_of_a_connection_is_never_shared() {
    let world = World::of(Plan::default().edit("workers: 2", "workers: 1"));
    let rita = world.people.member("rita", "acme", &["read_only"]);
    for _ in 0..2 {
        assert_eq!(world.get("/t/acme/orders", &rita).status, 200);
    }
    assert_eq!(connections(&world), 1, "others are");
    assert_eq!(world.get("/t/acme/orders?do=negotiate", &rita).status, 401);
    assert_eq!(world.get("/t/acme/orders", &rita).status, 200);
    assert_eq!(connections(&world), 2);
    let mut client = world.client();
    client.send("GET /public/a HTTP/1.1\r\nHost: h\r\nAuthorization: NTLM TlRMTVNTUAAB\r\n\r\n");
    assert_eq!(client.reply().status, 200);
    assert_eq!(world.get("/t/acme/orders", &rita).status, 200);
    assert_eq!(connections(&world), 3);
    world.finish();
}

#[test]
fn nothing_that_staff_see_may_be_kept_on_the_way() {
    let world = World::start();
    let agent = world.people.staff("sam");
    world.start_session("acme", &agent);
    let reply = world.get("/t/acme/orders?do=cached", &agent);
    assert_eq!(reply.values("cache-control"), ["no-store"]);
    let rita = world.people.member("rita", "acme", &["read_only"]);
    let theirs = world.get("/t/acme/orders?do=cached", &rita);
    for name in ["x-accel-expires", "cdn-cache-control", "surrogate-control", "surrogate_key", "expires"] {
        assert!(reply.values(name).is_empty(), "{name}");
        assert_eq!(theirs.values(name).len(), 1, "{name}");
    }
    world.finish();
}

#[test]
fn the_support_api_takes_no_body_from_nobody() {
    let world = World::start();
    for token in ["", "nonsense"] {
        let mut client = world.client();
        // Not a byte of the body is sent: the answer must not wait for it.
        client.send(request("POST", "/_postern/v1/tenants/acme/grants", token, "Content-Length: 100\r\n"));
        assert_eq!(client.reply().status, 401);
        let (ending, rest) = client.read_out();
        assert_eq!((ending, rest), (Ending::Closed, 0));
    }
    world.finish();
}

#[test]
fn a_connection_too_many_is_told_so() {
    let world = World::of(Plan::default().edit("limits: { ", "limits: { connections: 1, "));
    let rita = world.people.member("rita", "acme", &["read_only"]);
    let mut first = world.client();
    first.send(request("GET", "/t/acme/orders", &rita, ""));
    assert_eq!(first.reply().status, 200);
    let reply = world.client().reply();
    assert_eq!((reply.status, reply.code().as_str()), (503, "too_many_connections"));
    drop(first);
    until("there is room again", || {
        let mut client = world.client();
        // Whoever is turned away may find the connection gone while writing.
        let _ = std::io::Write::write_all(
            &mut client.stream,
            request("GET", "/t/acme/orders", &rita, "").as_bytes(),
        );
        matches!(client.more(), Ending::Open) && client.inbox.starts_with(b"HTTP/1.1 200")
    });
    world.finish();
}

#[test]
fn an_answer_whose_client_left_early_has_no_orderly_end() {
    let world = World::start();
    let rita = world.people.member("rita", "acme", &["read_only"]);
    let mut client = world.client();
    client.send(format!(
        "GET /t/acme/orders?do=events HTTP/1.0\r\nHost: h\r\nAuthorization: Bearer {rita}\r\n\r\n"
    ));
    assert!(client.head().starts_with("HTTP/1.1 200"));
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read_out().0, Ending::Reset, "an orderly end would end the body");
    world.finish();
}

#[test]
fn an_old_client_hears_of_no_chunks_in_answer_to_head() {
    let world = World::start();
    let rita = world.people.member("rita", "acme", &["read_only"]);
    for (version, chunks) in [("1.0", 0), ("1.1", 1)] {
        let mut client = world.client();
        client.send(format!(
            "HEAD /t/acme/orders?do=chunked-head HTTP/{version}\r\nHost: h\r\nAuthorization: Bearer {rita}\r\n\r\n"
        ));
        let reply = client.reply_to(true);
        assert_eq!(reply.values("transfer-encoding").len(), chunks, "{version}");
    }
    world.finish();
}

#[test]
fn a_token_behind_a_tab_is_a_bad_one_and_a_refused_one_is_treated_as_staffs_both_ways() {
    let world = World::start();
    let sam = world.people.staff("sam");
    for credentials in [
        format!("Bearer\t{sam}"),
        format!("bearer  {sam}"),
        "Bearer\tnonsense".to_owned(),
        "Bearer".to_owned(),
    ] {
        let mut client = world.client();
        client.send(format!(
            "GET /public/a?do=cookie HTTP/1.1\r\nHost: h\r\nAuthorization: {credentials}\r\nCookie: sid=secret\r\n\r\n"
        ));
        let reply = client.reply();
        assert_eq!(reply.status, 200);
        assert!(reply.values("set-cookie").is_empty(), "{credentials}");
        let seen = world.upstream.last();
        assert!(seen.values("authorization").is_empty() && seen.values("cookie").is_empty(), "{credentials}");
    }
    world.finish();
}

#[test]
fn the_metric_counts_tokens_that_had_to_be_verified() {
    let world = World::start();
    let counted = || world.gateway().counters().verified.load(SeqCst);
    let before = counted();
    let mut client = world.client();
    for _ in 0..3 {
        client.send(request("GET", "/t/acme/orders", &world.people.staff("sam"), ""));
        client.reply();
    }
    assert!((1..=3).contains(&(counted() - before)));
    world.finish();
}
