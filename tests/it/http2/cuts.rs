//! The end reaches single streams (law 6): from the moment that a removal is answered no byte of the session's streams is
//! taken or handed on, and everybody else's on the same connection go on.

use std::sync::atomic::Ordering::SeqCst;

use super::{
    frames::*,
    peer::{Peer, SOON, clear, more, send_all},
};
use crate::{
    cuts::{counting, stands_still},
    upstream::pattern,
    world::*,
};

#[test]
fn a_removal_resets_the_streams_of_its_session_and_no_other() {
    let (hooks, count) = counting();
    let world = clear(Plan::default().hooks(hooks));
    let (agent, admin) = (world.people.staff("sam"), world.people.admin("acme"));
    world.done(World::consent("acme", "edit"), &admin);
    let session = world.start_session("acme", &agent);
    let peer = Peer::connect(world.gateway().address());
    // A member's stream that goes on all along.
    let (response, _) = peer.begin("GET", "/t/acme/orders?do=forever", &admin, &[], true);
    let mut members = peer.within(response).unwrap().into_body();
    // Staff: a download that is read, one that is not, an upload, one that waits.
    let (response, _) = peer.begin("GET", "/t/acme/download?do=forever", &agent, &[], true);
    let mut read = peer.within(response).unwrap().into_body();
    let (response, _) = peer.begin("GET", "/t/acme/download?do=forever", &agent, &[], true);
    let mut unread = peer.within(response).unwrap().into_body();
    let (upload, mut sending) = peer.begin("POST", "/t/acme/orders?do=sip", &agent, &[], false);
    let seen = world.upstream.seen().len();
    let (waiting, _) = peer.begin("GET", "/t/acme/orders?do=stall", &agent, &[], true);
    until("it arrives", || world.upstream.seen().len() > seen);
    let uploading = peer.rt.spawn(async move {
        let piece = pattern(16 << 10);
        loop {
            if let Err(fault) = send_all(&mut sending, &piece, false).await {
                return fault;
            }
            if let std::task::Poll::Ready(reset) =
                std::future::poll_fn(|cx| std::task::Poll::Ready(sending.poll_reset(cx))).await
            {
                return h2::Error::from(reset.unwrap());
            }
        }
    });
    let before = count.load(SeqCst);
    let mut taken = 0;
    while taken < 300_000 {
        taken += peer.within(more(&mut read)).unwrap().unwrap().len();
        peer.within(more(&mut members)).unwrap().unwrap();
    }
    until("bytes flow", || count.load(SeqCst) > before + 300_000);

    world.done(World::end("acme", &session), &admin);
    let at_answer = count.load(SeqCst);
    // Every one of them is reset; what the client had not read by then is printed apart.
    let mut held = 0;
    for body in [&mut read, &mut unread] {
        let fault = loop {
            match peer.within(more(body)) {
                Ok(Some(data)) => held += data.len(),
                Ok(None) => panic!("an orderly end"),
                Err(fault) => break fault,
            }
        };
        assert_eq!(fault.reason(), Some(h2::Reason::CANCEL));
    }
    println!("{held} bytes of two downloads were under way when the removal was answered");
    assert_eq!(peer.answer(waiting).unwrap_err().reason(), Some(h2::Reason::CANCEL));
    assert_eq!(peer.answer(upload).unwrap_err().reason(), Some(h2::Reason::CANCEL));
    let ended = peer.rt.block_on(async { tokio::time::timeout(SOON, uploading).await });
    assert_eq!(ended.expect("the upload ends").unwrap().reason(), Some(h2::Reason::CANCEL));
    // The member's goes on, for much longer than any buffer lasts.
    let mut on = 0;
    while on < 8 << 20 {
        on += peer.within(more(&mut members)).unwrap().unwrap().len();
    }
    assert_eq!(count.load(SeqCst), at_answer, "no byte of staff passes behind the answer");
    assert_eq!(peer.get("/t/acme/orders", &agent).status, 403);
    assert_eq!(peer.get("/t/acme/orders", &admin).status, 200);
    let cut: Vec<_> = world.of_kind("access.outcome");
    assert_eq!(cut.iter().filter(|record| record["end"] == "cut").count(), 4, "{cut:?}");
    assert!(cut.iter().all(|record| record["cut_by"]["reason"] == "session_ended"), "{cut:?}");
    drop((members, peer));
    world.finish();
}

#[test]
fn a_client_that_takes_nothing_holds_up_no_removal() {
    let (hooks, count) = counting();
    let world = clear(Plan::default().hooks(hooks));
    let (agent, admin) = (world.people.staff("sam"), world.people.admin("acme"));
    let session = world.start_session("acme", &agent);
    let mut raw = Raw::connect(world.gateway().address());
    // All the room that HTTP/2 can give, and nobody who reads: every buffer on the way is full.
    raw.send(&frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]));
    raw.send(&frame(8, 0, 0, &0x7fff_0000_u32.to_be_bytes()));
    let bearer = format!("Bearer {agent}");
    let mut lines = get("/t/acme/download?do=forever");
    lines.push(("authorization", &bearer));
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&lines)));
    stands_still(&count, 100_000);
    let began = std::time::Instant::now();
    world.done(World::end("acme", &session), &admin);
    let took = began.elapsed();
    let at_answer = count.load(SeqCst);
    let mut held = 0;
    let reason = loop {
        let frame = raw.frame().expect("the connection lives");
        match frame.kind {
            DATA => held += frame.payload.len() as u64,
            RST_STREAM => break frame.reason(),
            _ => {}
        }
    };
    println!("the removal took {took:?}; {at_answer} bytes had been handed on, kernels held {held} of them");
    assert_eq!(reason, 8);
    assert!(held <= at_answer);
    assert_eq!(count.load(SeqCst), at_answer);
    // The connection is as good as before.
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &fields(&get("/public/page"))));
    assert_eq!(raw.outcome(3).unwrap().unwrap(), b"hello");
    assert_eq!(world.last_outcome()["end"], "cut");
    world.finish();
}
