//! What the map says nothing of, where members may pass: nobody gets what is mapped by another spelling, and the
//! application hears no other tenant than the token's.

use crate::world::{Plan, World};

fn open_world() -> World {
    World::of(Plan::default().edit("members: { unmapped: refuse }", "members: { unmapped: allow }").edit(
        "headers: { X-Remote-User: \"{subject}\" }",
        "assert: everyone\n    headers: { X-Tenant: \"{tenant}\" }",
    ))
}

#[test]
fn another_spelling_or_method_of_a_mapped_path_opens_nothing_to_members() {
    let world = open_world();
    let guest = world.people.member("gina", "acme", &[]);
    for (method, target, code) in [
        ("GET", "/t/acme/orders", "permission_missing"),
        ("GET", "/t/acme/Orders", "route_twin"),
        ("GET", "/T/acme/orders", "route_twin"),
        ("GET", "/t/acme/orders/", "route_twin"),
        ("GET", "/t/globex/orders/", "route_twin"),
        ("FOO", "/t/acme/orders", "method_unmapped"),
        ("FOO", "/t/globex/orders", "method_unmapped"),
    ] {
        let reply = world.ask(method, target, &guest, "");
        assert_eq!((reply.status, reply.code().as_str()), (403, code), "{method} {target}");
    }
    assert_eq!(world.upstream.received(), 0);
    world.finish();
}

#[test]
fn where_the_map_is_silent_the_application_hears_the_tenant_of_the_token() {
    let world = open_world();
    let guest = world.people.member("gina", "acme", &[]);
    assert_eq!(world.get("/about", &guest).status, 200);
    assert_eq!(world.upstream.last().values("x-tenant"), ["acme"]);
    world.finish();
}

#[test]
fn two_tenants_in_one_path_are_no_tenant() {
    let world = World::of(
        Plan::default().edit("from: { path: tenant }", "from: [{ path: tenant }, { path: org }]").edit(
            "routes:\n",
            "routes:\n  - { route: \"GET /o/{org}/t/{tenant}\", permission: orders:read }\n",
        ),
    );
    let rita = world.people.member("rita", "acme", &["read_only"]);
    for target in ["/o/globex/t/acme", "/o/acme/t/globex"] {
        assert_eq!(world.get(target, &rita).code(), "tenant_unclear", "{target}");
    }
    assert_eq!(world.get("/o/globex/t/globex", &rita).code(), "tenant_foreign");
    assert_eq!(world.upstream.received(), 0);
    assert_eq!(world.get("/o/acme/t/acme", &rita).status, 200);
    world.finish();
}
