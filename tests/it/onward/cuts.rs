//! The end reaches streams towards applications (law 6): they are reset at once, and everybody else's go on.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use h2::Reason;

use super::{GRPC, URL, application::Application};
use crate::{
    cuts::counting,
    http2::peer::{Peer, more, send_all},
    upstream::pattern,
    world::*,
};

// GW-05
#[test]
fn a_removal_resets_the_streams_towards_the_application_and_no_byte_follows() {
    let (hooks, count) = counting();
    let application = Application::start();
    let plan = Plan { upstream: Some(application.address), ..Plan::default() };
    let one = ("workers: 2", "workers: 1\nhttp2: prior_knowledge");
    // The member is silent for a while.
    let patient = ("body_idle: 5s", "body_idle: 60s");
    let plan = plan.hooks(hooks).edit(URL, GRPC).edit(one.0, one.1).edit(patient.0, patient.1);
    let world = World::of(plan);
    let (agent, admin) = (world.people.staff("sam"), world.people.admin("acme"));
    world.done(World::consent("acme", "edit"), &admin);
    let session = world.start_session("acme", &agent);
    let peer = Peer::connect(world.gateway().address());
    // A member's call in both directions, which goes on all along.
    let (answer, mut members) = peer.begin("POST", "/t/acme/orders?do=echo", &admin, &[], false);
    let mut back = peer.within(answer).unwrap().into_body();
    // Staff: a download, an upload, and one that waits.
    let (answer, _) = peer.begin("GET", "/t/acme/download?do=forever", &agent, &[], true);
    let mut download = peer.within(answer).unwrap().into_body();
    let (upload, mut sending) = peer.begin("POST", "/t/acme/orders?do=sip", &agent, &[], false);
    let (waiting, _) = peer.begin("GET", "/t/acme/orders?do=stall", &agent, &[], true);
    until("all have arrived", || application.seen().len() == 4);
    let uploading = peer.rt.spawn(async move {
        let piece = pattern(16 << 10);
        while send_all(&mut sending, &piece, false).await.is_ok() {
            let reset = std::future::poll_fn(|cx| std::task::Poll::Ready(sending.poll_reset(cx))).await;
            if reset.is_ready() {
                return;
            }
        }
    });
    while application.received() < 500_000 {
        peer.within(more(&mut download)).unwrap().unwrap();
    }
    world.done(World::end("acme", &session), &admin);
    let (handed, received) = (count.load(SeqCst), application.received());
    until("the application is told", || application.resets().len() >= 3);
    assert!(
        application.resets().iter().all(|reason| *reason == Reason::CANCEL),
        "{:?}",
        application.resets()
    );
    let held = application.received() - received;
    println!("{held} bytes of the upload were under way when the removal was answered");
    let _ = peer.rt.block_on(async { tokio::time::timeout(Duration::from_secs(2), uploading).await });
    assert_eq!(peer.answer(waiting).unwrap_err().reason(), Some(Reason::CANCEL));
    assert_eq!(peer.answer(upload).unwrap_err().reason(), Some(Reason::CANCEL));
    let after = application.received();
    // The member's goes on, on the same connection.
    for _ in 0..50 {
        peer.within(send_all(&mut members, &pattern(1000), false)).unwrap();
        let mut taken = 0;
        while taken < 1000 {
            taken += peer.within(more(&mut back)).unwrap().unwrap().len();
        }
    }
    assert_eq!(application.received(), after + 50_000, "nothing else came");
    assert_eq!(count.load(SeqCst), handed, "no byte of staff passes behind the answer");
    assert_eq!(application.connections(), 1);
    until("all are recorded", || world.of_kind("access.outcome").len() == 3);
    let cut = world.of_kind("access.outcome");
    assert!(cut.iter().all(|record| record["end"] == "cut"), "{cut:?}");
    assert!(cut.iter().all(|record| record["cut_by"]["reason"] == "session_ended"), "{cut:?}");
    drop((members, back, download, peer));
    world.finish();
}

#[test]
fn a_client_that_goes_away_takes_its_stream_with_it() {
    let application = Application::start();
    let plan = Plan { upstream: Some(application.address), ..Plan::default() };
    let world = World::of(plan.edit(URL, GRPC).edit("workers: 2", "workers: 1"));
    let agent = world.people.staff("sam");
    world.start_session("acme", &agent);
    let mut client = world.client();
    client.send(request("GET", "/t/acme/orders?do=stall", &agent, ""));
    until("it has arrived", || application.seen().len() == 1);
    drop(client);
    until("the application is told", || application.resets() == [Reason::CANCEL]);
    assert_eq!(world.last_outcome()["end"], "client_gone");
    // The connection is as good as before.
    assert_eq!(world.get("/t/acme/orders", &agent).status, 200);
    assert_eq!(application.last().connection, application.seen()[0].connection);
    world.finish();
}
