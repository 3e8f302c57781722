//! The default ceiling on the way of a request (GW-10): closed to support in every role, open to members, and open to
//! support where the configuration says so and why.

use crate::world::*;

const EMPTY: &str = "Content-Length: 0\r\n";

// GW-10
#[test]
fn support_makes_no_users_at_any_level_unless_the_configuration_opens_that() {
    let by_default = Plan::default().edit("ceiling: [\"users:manage\"]\n", "");
    let opened = "ceiling: { open: [ { permission: users:manage, because: we run it for them } ] }\n";
    let opened = Plan::default().edit("ceiling: [\"users:manage\"]\n", opened);
    for (plan, expected) in [(by_default, 403), (opened, 200)] {
        let world = World::of(plan);
        let (admin, agent) = (world.people.admin("acme"), world.people.staff("sam"));
        world.done(World::consent("acme", "full"), &admin);
        world.start_session("acme", &agent);
        let reply = world.ask("POST", "/t/acme/users", &agent, EMPTY);
        assert_eq!(reply.status, expected);
        if expected == 403 {
            assert_eq!(reply.code(), "ceiling");
            assert_eq!(world.upstream.received(), 0);
        }
        // Reading, and whatever else the level gives, is as it was; members are none of its business.
        assert_eq!(world.get("/t/acme/orders", &agent).status, 200);
        assert_eq!(world.ask("POST", "/t/acme/users", &admin, EMPTY).status, 200);
        world.finish();
    }
}
