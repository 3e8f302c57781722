//! Who passes, who does not, and what the application hears.

use crate::world::*;

#[test]
fn a_member_reads_and_writes_by_their_role() {
    let world = World::start();
    let admin = world.people.admin("acme");
    let reader = world.people.member("rita", "acme", &["read_only"]);
    assert_eq!(world.get("/t/acme/orders", &admin).text(), "hello");
    assert_eq!(world.get("/t/acme/orders", &reader).status, 200);
    let put = world.ask("PUT", "/t/acme/orders/7?do=taken", &admin, "Content-Length: 5\r\n\r\nhello");
    assert_eq!((put.status, put.text()), (200, "5".to_owned()));
    let refused = world.ask("PUT", "/t/acme/orders/7?do=taken", &reader, "Content-Length: 0\r\n");
    assert_eq!((refused.status, refused.code()), (403, "permission_missing".to_owned()));
    assert_eq!(world.upstream.seen().len(), 3);
    let records = world.finish();
    assert!(records.iter().all(|record| record["kind"] != "access.intent"), "members are not recorded");
}

#[test]
fn staff_without_a_session_reach_nothing_and_with_one_what_the_tenant_consented_to() {
    let world = World::start();
    let agent = world.people.staff("sam");
    let refused = world.get("/t/acme/orders", &agent);
    assert_eq!((refused.status, refused.code()), (403, "session_missing".to_owned()));
    assert!(world.upstream.seen().is_empty());
    let session = world.start_session("acme", &agent);
    let read = world.get("/t/acme/orders", &agent);
    assert_eq!((read.status, read.text()), (200, "hello".to_owned()));
    assert_eq!(read.values("cache-control"), ["no-store"]);
    let write = world.ask("PUT", "/t/acme/orders/7", &agent, "Content-Length: 5\r\n\r\nhello");
    assert_eq!((write.status, write.code()), (403, "permission_missing".to_owned()));
    assert_eq!(world.upstream.seen().len(), 1);
    world.done(World::end("acme", &session), &world.people.admin("acme"));
    assert_eq!(world.get("/t/acme/orders", &agent).code(), "session_missing");
    let named = world.ask("GET", "/t/acme/orders", &agent, &format!("Postern-Session: {session}\r\n"));
    assert_eq!(named.code(), "session_ended");
    let outcome = world.last_outcome();
    assert_eq!((outcome["end"].as_str(), outcome["sent"].as_u64()), (Some("complete"), Some(5)));
    world.finish();
}
