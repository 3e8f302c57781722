//! The list of resources: to whom each shows itself, page by page, and what a cursor gives away.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use postern::engine::knock::Who;
use serde_json::{Value, json};

use super::{
    resources::{join, push, world},
    support::World,
};

const LIST: &str = "/v1/tenants/acme/resources/board";

/// All that the list shows, and the cursors on the way.
async fn listed(world: &World, limit: usize, who: &Who) -> (Vec<Value>, Vec<String>) {
    let (mut seen, mut cursors) = (Vec::new(), Vec::new());
    let mut next = String::new();
    loop {
        let page = world.get(&format!("{LIST}?limit={limit}{next}"), who).await.is(200).body;
        let items = page["items"].as_array().unwrap().clone();
        assert!(items.len() <= limit);
        seen.extend(items);
        match page["next"].as_str() {
            Some(cursor) => next = format!("&after={cursor}"),
            None => return (seen, cursors),
        }
        cursors.push(next.trim_start_matches("&after=").to_owned());
    }
}

fn ids(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["id"].as_str().unwrap()).collect()
}

// PFP-12
// PFP-13
#[tokio::test]
async fn a_resource_is_listed_to_whom_it_shows_itself_and_to_nobody_else() {
    let world = world().await;
    let crm = world.crm();
    for (id, visibility) in [("0", "private"), ("b2", "public"), ("b3", "private"), ("b4", "private")] {
        push(&world, &format!("{LIST}/{id}"), json!({"visibility": visibility})).await.is(200);
    }
    for kind in ["boar", "boards", "card"] {
        let _ = world.put("PUT", &format!("/v1/tenants/acme/resources/{kind}/b9"), json!({}), &crm).await;
    }
    join(&world, "ben", "sender", &crm).await.is(200);
    let put = async |board: &str, body: Value| {
        let path = super::resources::of("members", "ben").replace("/b1/", &format!("/{board}/"));
        world.put("PUT", &path, body, &crm).await.is(200)
    };
    put("b3", json!({"role": "hand", "invited": true})).await;
    let [ben, vera, clark, anna] =
        [("ben", "nobody"), ("vera", "viewer"), ("clark", "order_clerk"), ("anna", "admin")]
            .map(|(sub, role)| world.member("acme", sub, &[role]));
    let all = listed(&world, 2, &crm).await.0;
    assert_eq!(ids(&all), ["0", "b1", "b2", "b3", "b4"]);
    assert_eq!(all[2], json!({"type": "board", "id": "b2", "visibility": "public"}));
    assert_eq!(ids(&listed(&world, 2, &anna).await.0), ["0", "b1", "b2", "b3", "b4"]);
    let of_ben = listed(&world, 1, &ben).await.0;
    assert_eq!(
        of_ben,
        [
            json!({"type": "board", "id": "b1", "visibility": "private", "role": "sender"}),
            json!({"type": "board", "id": "b3", "visibility": "private", "invited": "hand"}),
        ]
    );
    assert_eq!(ids(&listed(&world, 50, &vera).await.0), ["b2"]);
    assert_eq!(
        ids(&listed(&world, 3, &clark).await.0),
        ["0", "b1", "b2", "b3", "b4"],
        "whoever may enter sees them"
    );
    // What is gone is gone, and what he leaves does not show itself any more.
    world.delete(&format!("{LIST}/b2"), &crm).await.is(200);
    world.delete(&super::resources::of("members", "ben"), &ben).await.is(200);
    assert_eq!(ids(&listed(&world, 2, &ben).await.0), ["b3"]);
    assert_eq!(ids(&listed(&world, 2, &vera).await.0), Vec::<&str>::new());
    assert_eq!(ids(&listed(&world, 2, &crm).await.0), ["0", "b1", "b3", "b4"]);
    // Not for staff, nor for another tenant's people; nor is there a list of what no configuration knows.
    for who in [&world.agent("anna"), &world.admin("globex"), &world.service_with("narrow", json!({}))] {
        world.get(LIST, who).await.refused(403, "not_allowed");
    }
    world.get("/v1/tenants/acme/resources/shelf", &ben).await.refused(422, "resource_type_unknown");
    world.put("PUT", LIST, json!({}), &crm).await.refused(405, "method_not_allowed");
}

#[tokio::test]
async fn who_is_kept_apart_sees_neither_a_resource_nor_the_row_that_they_had_there() {
    let world = world().await;
    join(&world, "ben", "hand", &world.crm()).await.is(200);
    let own = super::resources::of("members", "ben");
    let [ben, apart] = [&[][..], &["auditor"]].map(|roles| world.member("acme", "ben", roles));
    assert_eq!(world.get(&own, &ben).await.is(200).body["role"], "hand");
    assert_eq!(ids(&listed(&world, 50, &ben).await.0), ["b1"]);
    world.get(&own, &apart).await.refused(403, "not_allowed");
    assert_eq!(ids(&listed(&world, 50, &apart).await.0), Vec::<&str>::new());
    // A type at which no role is held and that nobody joins shows nothing, and nothing is looked for.
    push(&world, "/v1/tenants/acme/resources/card/c1", json!({"visibility": "public"})).await.is(200);
    let page = world.get("/v1/tenants/acme/resources/card", &apart).await.is(200).body;
    assert_eq!(page, json!({"items": [], "next": null}));
}

#[tokio::test]
async fn a_list_goes_on_behind_what_it_hides_without_naming_it() {
    let world = world().await;
    world.get(LIST, &world.crm()).await.is(200);
    // Three among far more than one call looks at.
    for number in 0..1_250 {
        let visibility = if [3, 700, 1_249].contains(&number) { "public" } else { "private" };
        push(&world, &format!("{LIST}/x{number:04}"), json!({"visibility": visibility})).await.is(200);
    }
    let (vera, victor) =
        (world.member("acme", "vera", &["viewer"]), world.member("acme", "victor", &["viewer"]));
    let (seen, cursors) = listed(&world, 50, &vera).await;
    assert_eq!(ids(&seen), ["x0003", "x0700", "x1249"]);
    assert_eq!(cursors.len(), 2, "each call looks at so many and no more");
    let plain = |cursor: &String| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).unwrap()).unwrap()
    };
    for (cursor, shown) in cursors.iter().zip(["x0003", "x0700"]) {
        assert_eq!(plain(cursor)["k"], shown, "what can be read of a cursor is what was shown");
    }
    // Who can be shown none of the type is told so at once, however many there are.
    let apart = world.member("acme", "otto", &["auditor"]);
    assert_eq!(listed(&world, 50, &apart).await, (vec![], vec![]));
    // Nobody else goes on by it, and nobody begins where nothing shows itself to them: where a page ends would say what is there.
    let after = |mark: Value| format!("{LIST}?after={}", URL_SAFE_NO_PAD.encode(mark.to_string()));
    let page = world.get(&format!("{LIST}?after={}", cursors[1]), &vera).await.is(200).body;
    assert_eq!(ids(page["items"].as_array().unwrap()), ["x1249"]);
    let of_other = world.get(&format!("{LIST}?after={}", cursors[0]), &victor).await.is(200).body;
    assert_eq!(
        ids(of_other["items"].as_array().unwrap()),
        Vec::<&str>::new(),
        "it goes on behind what was shown"
    );
    assert_eq!(plain(&of_other["next"].as_str().unwrap().to_owned())["k"], "x0003");
    for hidden in ["x0004", "x2000"] {
        world.get(&after(json!({"k": hidden})), &vera).await.refused(400, "query_malformed");
    }
    // Gateways that came later cannot open it, and lose nothing.
    let world = world.restarted().await;
    let vera = world.member("acme", "vera", &["viewer"]);
    let mut seen = Vec::new();
    let mut next = cursors[1].clone();
    for _ in 0..4 {
        let page = world.get(&format!("{LIST}?after={next}"), &vera).await.is(200).body;
        seen.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(cursor) => next = cursor.to_owned(),
            None => break,
        }
    }
    assert_eq!(ids(&seen), ["x1249"]);
    let crm = world.crm();
    assert_eq!(listed(&world, 200, &crm).await.0.len(), 1_251);
    let _ = crm;
}
