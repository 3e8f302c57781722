//! What fails, and what members, staff and break-glass get then.

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use crate::{
    client::Ending,
    rig::Fleet,
    under::{Run, begin, counting},
    world::*,
};

/// What a read is answered with; `None`: it was cut on the way.
fn status(gateway: &World, token: &str) -> Option<u16> {
    let mut stream = std::net::TcpStream::connect(gateway.gateway().address()).unwrap();
    stream.write_all(request("GET", "/t/acme/orders", token, "Connection: close\r\n").as_bytes()).unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).ok()?;
    String::from_utf8_lossy(&text).split(' ').nth(1)?.parse().ok()
}

/// Without Redis: members go on; staff are decided from what is known, for as long as that may be, and then cut and refused; when it is
/// back all goes on by itself.
#[test]
fn a_redis_that_is_gone_shuts_out_staff_in_time_and_members_never() {
    let (hooks, count) = counting();
    let mut fleet = Fleet::with(2, "", |name| if name == "b" { hooks.clone() } else { Default::default() });
    let agent = fleet.gateways[0].people.staff("sam");
    let member = fleet.gateways[0].people.admin("acme");
    let a = &fleet.gateways[0];
    a.done(World::consent("acme", "full"), &member);
    a.start_session("acme", &agent);
    fleet.knows_of_session(&agent);
    let mut events = begin(&fleet.gateways[1], Run::Events, &agent, &count);
    let mut upload = begin(&fleet.gateways[1], Run::Upload, &agent, &count);
    fleet.redis.freeze();
    let frozen = Instant::now();
    let b = &fleet.gateways[1];
    assert_eq!(upload.ending().0, Ending::Reset);
    let wrote = frozen.elapsed();
    assert_eq!(events.ending().0, Ending::Reset);
    let read = frozen.elapsed();
    println!("frozen: an upload was cut after {wrote:?}, a stream of events after {read:?}");
    assert!(wrote < Duration::from_millis(1_800), "{wrote:?}");
    assert!(read > Duration::from_millis(4_000) && read < Duration::from_millis(6_000), "{read:?}");
    for gateway in &fleet.gateways {
        // The one may have heard of the store a beat later than the other.
        until("reading is refused too", || status(gateway, &agent) == Some(503));
        let begun = Instant::now();
        let refused = gateway.get("/t/acme/orders", &agent);
        assert_eq!((refused.status, refused.code().as_str()), (503, "state_stale"), "{}", refused.head);
        assert_eq!(gateway.get("/t/acme/orders", &member).status, 200);
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    let outcome = b.last_outcome();
    assert_eq!(outcome["cut_by"]["reason"], "state_stale", "{outcome}");
    fleet.redis.thaw();
    fleet.knows_of_session(&agent);
    // Killed, it comes back as it was on its disk: here with nothing. Nobody takes that for a new store.
    fleet.redis.restart();
    for gateway in &fleet.gateways {
        until("staff are refused", || status(gateway, &agent) == Some(503));
        assert_eq!(gateway.get("/t/acme/orders", &member).status, 200);
    }
}
