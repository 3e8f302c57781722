//! Features by a tenant's plan: who would pass does not where the plan lacks the route, and what runs ends with the plan.

use std::sync::atomic::Ordering::SeqCst;

use crate::{
    client::Ending,
    cuts::counting,
    services::{call, program, with_services},
    world::*,
};

const DOWNLOAD: (&str, &str) = (
    "{ route: \"GET /t/{tenant}/download\", permission: orders:read }",
    "{ route: \"GET /t/{tenant}/download\", permission: orders:read, plans: [gold, platinum] }",
);

fn tenant(plan: Option<&str>) -> String {
    let plan = plan.map_or_else(String::new, |plan| format!(r#", "plan": "{plan}""#));
    format!(r#"{{"zone":"UTC","environments":["production"]{plan}}}"#)
}

#[test]
fn a_route_is_had_by_the_plans_that_have_it_by_members_and_staff_alike() {
    let (hooks, count) = counting();
    let world = World::of(with_services(Plan::default()).edit(DOWNLOAD.0, DOWNLOAD.1).hooks(hooks));
    let (crm, agent) = (program(&world, "crm"), world.people.staff("sam"));
    let push = |plan| {
        let reply = call(&world, "PUT", "/tenants/initech", &crm, &tenant(plan));
        assert!(matches!(reply.status, 200 | 201), "{}", reply.text());
    };
    push(None);
    world.start_session("initech", &agent);
    let admin = world.people.member("ann", "initech", &["admin"]);
    let nobody = world.people.member("ned", "initech", &[]);
    let download = "/t/initech/download";
    for plan in [None, Some("iron"), Some("Gold")] {
        push(plan);
        for token in [&admin, &agent] {
            let refused = world.get(download, token);
            assert_eq!((refused.status, refused.code().as_str()), (403, "route_not_in_plan"), "{plan:?}");
            assert_eq!(world.get("/t/initech/orders", token).status, 200, "other routes are had");
        }
        // Who may not anyway learns nothing of the plan.
        assert_eq!(world.get(download, &nobody).code(), "permission_missing");
    }
    assert!(world.upstream.seen().iter().all(|seen| !seen.line().contains("/download")));
    push(Some("gold"));
    for token in [&admin, &agent] {
        assert_eq!(world.get(download, token).status, 200);
    }
    assert_eq!(world.get(download, &nobody).code(), "permission_missing");
    // What an agent has under way is over with the plan, before that is answered.
    let before = count.load(SeqCst);
    let mut client = world.client();
    client.send(request("GET", &format!("{download}?do=forever"), &agent, ""));
    assert!(client.head().contains(" 200 "));
    until("bytes flow", || count.load(SeqCst) > before + 100_000);
    let cut = || world.of_kind("access.outcome").iter().filter(|outcome| outcome["end"] == "cut").count();
    push(Some("platinum"));
    assert_eq!(cut(), 0, "another plan that has it");
    push(None);
    let answered = count.load(SeqCst);
    assert_eq!(client.read_out().0, Ending::Reset);
    assert_eq!((count.load(SeqCst), cut()), (answered, 1), "bytes passed after the answer");
    assert_eq!(world.last_outcome()["cut_by"]["reason"], "route_not_in_plan");
    world.finish();
}
