//! The things of the application: what can be read, made, changed and removed, and by whom it was.

use super::*;

#[tokio::test]
async fn orders_are_listed_made_changed_pulled_anew_and_removed() {
    let stage = Stage::new().await;
    let list = stage.ask("GET", "/t/acme/api/orders", None).await.json();
    assert_eq!(list["orders"].as_array().unwrap().len(), 7);
    let order = stage.ask("GET", "/t/acme/api/orders/ord-1042", None).await.json();
    assert_eq!(order["customer"]["name"], "Grace Lindqvist");
    assert_eq!((&order["total"], &order["currency"]), (&json!("298.00"), &json!("USD")));
    assert_eq!(order["placed_at"], "2026-05-14T06:28:00Z");
    let held = stage.ask("GET", "/t/acme/api/orders?status=on_hold", None).await.json();
    assert_eq!(held["orders"].as_array().unwrap().len(), 1);
    assert_eq!(stage.ask("GET", "/t/acme/api/orders?status=lost", None).await.code(), "bad_query");

    let customer = json!({"name": "N", "email": "n@mail.example", "city": "C", "country": "US"});
    let new = json!({"customer": customer, "lines": [{"sku": "LAMP-H", "quantity": 3}]});
    let made = stage.ask("POST", "/t/acme/api/orders", Some(new)).await;
    assert_eq!(made.status, 201);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let address = format!("/t/acme/api/orders/{id}");
    assert!(made.head.contains(&format!("location: {address}")), "{}", made.head);
    assert_eq!((&made.json()["total"], &made.json()["changed_by"]), (&json!("73.50"), &json!("alice")));

    stage.pass(60);
    let mut claims = stage.claims("PATCH", &address);
    claims["act"] = json!({"sub": "sam"});
    let changed = stage.ask_as(&claims, "PATCH", &address, Some(json!({"status": "shipped"}))).await.json();
    assert_eq!((&changed["status"], &changed["changed_by"]), (&json!("shipped"), &json!("alice (by sam)")));
    assert_eq!(changed["changed_at"], "2026-05-14T06:41:00Z");

    let pulled = stage.ask("POST", "/t/acme/api/orders/ord-1042/repull", None).await;
    assert_eq!((pulled.status, &pulled.json()["pulls"]), (202, &json!(2)));
    assert_eq!(pulled.json()["job"]["kind"], "repull_order");

    let removed = stage.ask("DELETE", &address, None).await;
    assert_eq!((removed.status, removed.body.len()), (204, 0));
    assert_eq!(stage.ask("GET", &address, None).await.code(), "not_found");
    assert_eq!(stage.ask("DELETE", &address, None).await.code(), "not_found");
}

#[tokio::test]
async fn mappings_show_which_are_built_in_and_only_custom_ones_are_made() {
    let stage = Stage::new().await;
    let base = "/t/acme/api/mappings";
    for (query, count) in [("", 5), ("?kind=built_in", 3), ("?kind=custom", 2)] {
        let list = stage.ask("GET", &format!("{base}{query}"), None).await.json();
        assert_eq!(list["mappings"].as_array().unwrap().len(), count, "{query}");
    }
    let new = json!({"name": "Size", "from": "shop.size", "to": "warehouse.size", "table": {"L": "42"}});
    let made = stage.ask("POST", base, Some(new)).await.json();
    assert_eq!((&made["kind"], &made["created_by"]), (&json!("custom"), &json!("alice")));
    let cheat = json!({"name": "x", "from": "a", "to": "b", "kind": "built_in"});
    let heard = stage.ask("POST", base, Some(cheat)).await;
    assert_eq!((heard.status, heard.code().as_str()), (400, "bad_json"));

    let address = format!("{base}/{}", made["id"].as_str().unwrap());
    let changed = stage.ask("PATCH", &address, Some(json!({"enabled": false}))).await.json();
    assert_eq!(
        (&changed["enabled"], &changed["name"], &changed["table"]["L"]),
        (&json!(false), &json!("Size"), &json!("42"))
    );
    assert_eq!(stage.ask("DELETE", &address, None).await.status, 204);
    assert_eq!(stage.ask("PATCH", &address, Some(json!({}))).await.status, 404);
}

#[tokio::test]
async fn integrations_are_configured_run_added_and_removed() {
    let stage = Stage::new().await;
    let base = "/t/acme/api/integrations";
    let settings = format!("{base}/erp/settings");
    let mut wanted = stage.ask("GET", &settings, None).await.json();
    wanted["every_minutes"] = json!(5);
    assert_eq!(stage.ask("PUT", &settings, Some(wanted.clone())).await.status, 200);
    assert_eq!(stage.ask("GET", &format!("{base}/erp"), None).await.json()["settings"], wanted);
    wanted["every_minutes"] = json!(0);
    assert_eq!(stage.ask("PUT", &settings, Some(wanted.clone())).await.code(), "invalid");
    wanted.as_object_mut().unwrap().remove("every_minutes");
    assert_eq!(stage.ask("PUT", &settings, Some(wanted.clone())).await.code(), "bad_json");

    let run = stage.ask("POST", &format!("{base}/erp/run"), None).await;
    assert_eq!((run.status, &run.json()["job"]["kind"]), (202, &json!("push_invoices")));
    assert_eq!(stage.ask("GET", &format!("{base}/erp"), None).await.json()["last_run_by"], "alice");
    wanted["every_minutes"] = json!(5);
    wanted["enabled"] = json!(false);
    stage.ask("PUT", &settings, Some(wanted.clone())).await;
    assert_eq!(stage.ask("POST", &format!("{base}/erp/run"), None).await.code(), "switched_off");

    let new = json!({"name": "Second shop", "system": "web_shop", "settings": wanted});
    let made = stage.ask("POST", base, Some(new)).await;
    assert_eq!(made.status, 201);
    let address = format!("{base}/{}", made.json()["id"].as_str().unwrap());
    assert_eq!(stage.ask("DELETE", &address, None).await.status, 204);
    assert_eq!(stage.ask("GET", base, None).await.json()["integrations"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn job_advances_with_the_clock_and_can_be_paused_and_cancelled() {
    let stage = Stage::new().await;
    let made = stage.ask("POST", "/t/acme/api/jobs", Some(json!({"kind": "push_stock"}))).await;
    assert_eq!(
        (made.status, &made.json()["state"], &made.json()["percent"]),
        (201, &json!("running"), &json!(0))
    );
    let address = format!("/t/acme/api/jobs/{}", made.json()["id"].as_str().unwrap());
    stage.pass(9);
    assert_eq!(stage.ask("GET", &address, None).await.json()["percent"], 20);
    stage.ask("PATCH", &address, Some(json!({"state": "paused"}))).await;
    stage.pass(3600);
    let paused = stage.ask("GET", &address, None).await.json();
    assert_eq!((&paused["state"], &paused["percent"]), (&json!("paused"), &json!(20)));
    stage.ask("PATCH", &address, Some(json!({"state": "running"}))).await;
    assert_eq!(stage.ask("PATCH", &address, Some(json!({"state": "done"}))).await.code(), "invalid");
    stage.pass(36);
    let done = stage.ask("GET", &address, None).await.json();
    assert_eq!((&done["state"], &done["percent"]), (&json!("done"), &json!(100)));
    assert_eq!(stage.ask("PATCH", &address, Some(json!({"state": "cancelled"}))).await.code(), "job_ended");
    assert_eq!(stage.ask("DELETE", &address, None).await.status, 204);
    assert_eq!(stage.ask("GET", "/t/acme/api/jobs", None).await.json()["jobs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn users_are_added_once_and_given_roles() {
    let stage = Stage::new().await;
    let new = json!({"name": "Eve Adams", "email": "eve@acme.example", "role": "viewer"});
    let made = stage.ask("POST", "/t/acme/api/users", Some(new.clone())).await;
    assert_eq!(made.status, 201);
    assert_eq!(stage.ask("POST", "/t/acme/api/users", Some(new)).await.code(), "user_exists");
    let address = format!("/t/acme/api/users/{}/role", made.json()["id"].as_str().unwrap());
    let changed = stage.ask("PUT", &address, Some(json!({"role": "admin"}))).await.json();
    assert_eq!(changed["role"], "admin");
    assert_eq!(stage.ask("PUT", &address, Some(json!({"role": "emperor"}))).await.code(), "bad_json");
    let list = stage.ask("GET", "/t/acme/api/users", None).await.json();
    assert_eq!(list["users"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn tenants_and_environments_share_nothing() {
    let stage = Stage::new().await;
    assert_eq!(stage.ask("GET", "/t/acme/api/orders/ord-5107", None).await.status, 404);
    assert_eq!(stage.ask("GET", "/t/acme-eu/api/orders/ord-1042", None).await.status, 404);
    let european = stage.ask("GET", "/t/acme-eu/api/orders/ord-5107", None).await.json();
    assert_eq!((&european["customer"]["city"], &european["currency"]), (&json!("Lyon"), &json!("EUR")));
    let target = "/t/acme/api/orders/ord-2";
    let mut claims = stage.claims("DELETE", target);
    claims["env"] = json!("sandbox");
    assert_eq!(stage.ask_as(&claims, "DELETE", target, None).await.status, 204);
    claims["method"] = json!("GET");
    assert_eq!(stage.ask_as(&claims, "GET", target, None).await.status, 404);
    let target = "/t/acme-eu/api/orders/ord-2";
    let mut claims = stage.claims("GET", target);
    claims["env"] = json!("sandbox");
    assert_eq!(
        stage.ask_as(&claims, "GET", target, None).await.status,
        200,
        "the sandbox of the other tenant"
    );
}

#[tokio::test]
async fn what_cannot_be_done_is_said_with_a_code() {
    let stage = Stage::new().await;
    let heard = stage.ask("PUT", "/t/acme/api/orders", Some(json!({}))).await;
    assert_eq!((heard.status, heard.code().as_str()), (405, "method_not_allowed"));
    assert!(heard.head.contains("allow: get, head, post"), "{}", heard.head);
    for target in
        ["/", "/t/acme", "/t/acme/api", "/t/acme/api/orders/", "/t/acme/api/orders/x/y", "/t/acme/admin"]
    {
        let mut claims = stage.claims("GET", target);
        claims["tenant"] = json!("acme");
        assert_eq!(stage.ask_as(&claims, "GET", target, None).await.status, 404, "{target}");
    }
    let target = "/t/acme/api/orders/ord-1042";
    let unknown = stage.ask("PATCH", target, Some(json!({"status": "shipped", "totl": "0"}))).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (400, "bad_json"));
    assert_eq!(stage.ask("GET", target, None).await.json()["status"], "new", "nothing was changed");
    let large = json!({"note": "x".repeat(70_000)});
    assert_eq!(stage.ask("PATCH", target, Some(large)).await.code(), "too_large");
    let new = json!({"customer": {"name": "N", "email": "e", "city": "C", "country": "US"}, "lines": []});
    assert_eq!(stage.ask("POST", "/t/acme/api/orders", Some(new)).await.code(), "invalid");
    assert_eq!(stage.ask("GET", "/t/acme/api/exports/fast.bin?bytes=-1", None).await.code(), "bad_query");
}

#[tokio::test]
async fn whoami_names_the_headers_that_reached_it() {
    let stage = Stage::new().await;
    let target = "/t/acme/api/whoami";
    let token = stage.sign(&stage.claims("GET", target));
    let headers = format!("Postern-Assertion: {token}\r\nX-User: mallory\r\n");
    let told = stage.raw("GET", target, &headers, "").await.json();
    assert_eq!(
        told["headers_heard"],
        json!(["connection", "content-length", "host", "postern-assertion", "x-user"])
    );
    assert_eq!(told["person"], "alice", "a header claims, the assertion proves");
}

#[tokio::test]
async fn page_shows_orders_and_the_onlooker_and_runs_nothing_it_was_fed() {
    let stage = Stage::new().await;
    let evil = json!({"note": "<script>alert('x')</script> & more"});
    stage.ask("PATCH", "/t/acme/api/orders/ord-1042", Some(evil)).await;
    let mut claims = stage.claims("GET", "/t/acme/");
    claims["kind"] = json!("staff");
    claims["sub"] = json!("\"><img src=x>");
    let heard = stage.ask_as(&claims, "GET", "/t/acme/", None).await;
    let page = String::from_utf8(heard.body).unwrap();
    assert!(heard.head.contains("content-security-policy: default-src 'none'"));
    assert!(
        page.contains("Grace Lindqvist") && page.contains("Orders of Acme Outdoor, production"),
        "{page}"
    );
    assert!(page.contains("class=\"who staff\""));
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; more"));
    assert!(page.contains("&quot;&gt;&lt;img src=x&gt;"));
    assert!(!page.contains("<script") && !page.contains("<img"));
}

#[tokio::test]
async fn head_answers_like_get_without_a_body() {
    let stage = Stage::new().await;
    let got = stage.ask("GET", "/t/acme/api/orders", None).await;
    let heard = stage.ask("HEAD", "/t/acme/api/orders", None).await;
    assert_eq!((heard.status, heard.body.len()), (200, 0));
    assert!(heard.head.contains(&format!("content-length: {}\r\n", got.body.len())), "{}", heard.head);
    assert_eq!(stage.last().end, crate::demo::sample::End::Complete);
}

#[tokio::test]
async fn where_it_stands_in_it_keeps_what_it_is_given_below_its_path() {
    let stage = Stage::standing_in().await;
    let list = "/orgs/acme/boards";
    // Nothing of it yet: it says what it was asked.
    assert_eq!(stage.ask("GET", list, None).await.json()["asked"], "GET /orgs/acme/boards");
    let json = "Content-Type: application/json\r\n";
    let with = async |method: &str, path: &str, body: Value| {
        let headers = format!("Postern-Assertion: {}\r\n{json}", stage.sign(&stage.claims(method, path)));
        stage.raw(method, path, &headers, &body.to_string()).await
    };
    let made = with("POST", list, json!({"name": "first", "id": "mine"})).await;
    assert_eq!((made.status, made.json()), (201, json!({"id": "board-1", "name": "first"})));
    let place = format!("{list}/board-1");
    assert!(made.head.contains(&format!("location: {place}")), "{}", made.head);
    with("POST", &format!("{place}/cards"), json!({"title": "a card"})).await;
    assert_eq!(
        stage.ask("GET", list, None).await.json(),
        json!({"boards": [{"id": "board-1", "name": "first"}]}),
        "what lies below is not of the list"
    );
    let changed = with("PUT", &place, json!({"name": "other", "id": "mine"})).await.json();
    assert_eq!(changed, json!({"id": "board-1", "name": "other"}));
    assert_eq!(stage.ask("GET", &place, None).await.json(), changed);
    assert_eq!(stage.ask("DELETE", &place, None).await.status, 204);
    assert_eq!(stage.ask("GET", &place, None).await.json()["asked"], "GET /orgs/acme/boards/board-1");
    // Another tenant's path is none of theirs.
    let mut claims = stage.claims("GET", "/orgs/globex/boards");
    claims["tenant"] = json!("acme");
    assert_eq!(stage.ask_as(&claims, "GET", "/orgs/globex/boards", None).await.status, 403);
}
