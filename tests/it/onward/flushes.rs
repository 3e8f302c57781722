//! Applications that flush: frames of HTTP/2 that say nothing are no harm to anybody, and no sign of life.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use super::{
    PLAIN, URL,
    raw::{DATA, HEADERS, application, frame},
};
use crate::{client::Ending, world::*};

#[test]
fn an_application_that_flushes_with_empty_frames_serves_on_and_on() {
    let (address, connections) = application(|mut line| {
        loop {
            let stream = line.request()?;
            let empty = frame(DATA, 0, stream, &[]);
            let mut answer = frame(HEADERS, 0x4, stream, &[0x88]);
            answer.extend(empty.repeat(10));
            answer.extend(frame(DATA, 0, stream, b"hel"));
            answer.extend(empty.repeat(10));
            answer.extend(frame(DATA, 0, stream, b"lo"));
            answer.extend(empty.repeat(5));
            // Cut in the middle of one of them, too.
            let (now, later) = answer.split_at(answer.len() - 13);
            line.say(now)?;
            line.say(later)?;
            line.say(&frame(DATA, 0x1, stream, &[]))?;
        }
    });
    let plan =
        Plan { upstream: Some(address), ..Plan::default() }.edit(URL, PLAIN).edit("workers: 2", "workers: 1");
    let world = World::of(plan);
    let admin = world.people.admin("acme");
    for number in 0..40 {
        let reply = world.get("/t/acme/orders", &admin);
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"), "{number}");
    }
    assert_eq!(connections.load(SeqCst), 1, "a thousand of them on one connection");
    world.finish();
}

#[test]
fn an_application_that_sends_nothing_but_empty_frames_is_hung_up_on() {
    let ended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ended);
    let (address, connections) = application(move |mut line| {
        let stream = line.request()?;
        line.say(&frame(HEADERS, 0x4, stream, &[0x88]))?;
        let many = frame(DATA, 0, stream, &[]).repeat(1000);
        while line.say(&many).is_some() {}
        told.store(true, SeqCst);
        None
    });
    let plan =
        Plan { upstream: Some(address), ..Plan::default() }.edit(URL, PLAIN).edit("workers: 2", "workers: 1");
    let world = World::of(plan);
    let mut client = world.client();
    client.send(request("GET", "/t/acme/orders", &world.people.admin("acme"), ""));
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    // The connection, not the one stream.
    until("it is hung up on", || ended.load(SeqCst));
    assert_ne!(client.read_out().0, Ending::Open);
    assert_eq!(connections.load(SeqCst), 1);
    world.finish();
}
