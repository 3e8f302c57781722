//! Nobody consents to themselves: a person of a tenant who is staff too does not use what they gave there.

use serde_json::json;

use super::support::World;

// GW-14
#[tokio::test]
async fn who_gave_consent_or_a_grant_as_a_person_of_the_tenant_does_not_enter_by_it_as_staff() {
    let world = World::new().await;
    let address = json!({"email": "Anna@Vendor.example", "email_verified": true});
    let (by_sub, by_mail) =
        (world.member("acme", "anna", &["admin"]), world.member_with("acme", "m-17", &["admin"], address));
    let unverified = json!({"email": "anna@vendor.example", "email_verified": false});
    let unproven = world.member_with("acme", "m-18", &["admin"], unverified);
    let path = "/v1/tenants/acme/consent";
    let anna = world.agent("anna");
    let mut levels = ["full", "limited_edit"].into_iter().cycle();
    for (giver, refused) in [(&by_sub, true), (&by_mail, true), (&unproven, false)] {
        world.put("PUT", path, json!({"level": levels.next()}), giver).await.is(200);
        let entered = world.start("acme", &anna).await;
        if refused {
            entered.refused(403, "self_granted");
        } else {
            entered.is(201);
        }
        world.started("acme", &world.agent("ben")).await;
        let body = json!({
            "environment": "production", "to": "support", "role": "viewer", "scope": "everything", "for": "1d",
        });
        let grant = world.put("POST", "/v1/tenants/acme/grants", body, giver).await.is(201).body;
        let grant = grant["grant"]["id"].as_str().unwrap();
        let entered = world.enter_by("acme", grant, &anna).await;
        if refused {
            entered.refused(403, "self_granted");
        } else {
            entered.is(201);
        }
        world.enter_by("acme", grant, &world.agent("ben")).await.is(201);
    }
    // The auditor reads whose it was; nobody reads the address of a tenant's person.
    let record = world.record(|record| record["reason"] == "self_granted").await;
    assert_eq!(record["detail"], "given by members|anna");
    let text = serde_json::to_string(&world.records()).unwrap();
    let proven: String = world
        .records()
        .into_iter()
        .map(|mut record| {
            record.as_object_mut().unwrap().remove("open");
            record.to_string()
        })
        .collect();
    assert!(!proven.contains("anna@vendor.example"), "in the proven part");
    // What is kept of the member stands there as a digest, and in no other way.
    assert!(text.contains("grantor_mail") && !text.contains("Anna@Vendor.example"));
    let by_member = |record: &&serde_json::Value| record["subject"]["sub"] == "m-17";
    let records = world.records();
    let own: Vec<_> = records.iter().filter(by_member).collect();
    assert!(!own.is_empty() && own.iter().all(|record| !record["open"].to_string().contains("anna@vendor")));
}

// GW-14
#[tokio::test]
async fn an_address_that_only_the_row_says_is_theirs_too() {
    let world = World::new().await;
    let (rita, sam) = (world.rower("acme", "u-42"), world.agent("sam"));
    let path = "/v1/tenants/acme/members/rows.dS00Mg";
    let row = json!({"roles": ["admin"], "email": "sam@vendor.example"});
    world.put("PUT", path, row, &world.crm()).await.is(200);
    let consent = "/v1/tenants/acme/consent";
    world.put("PUT", consent, json!({"level": "full"}), &rita).await.is(200);
    world.start("acme", &sam).await.refused(403, "self_granted");
    world.started("acme", &world.agent("ben")).await;
    let body = json!({
        "environment": "production", "to": "support", "role": "viewer", "scope": "everything", "for": "1d",
    });
    let grant = world.put("POST", "/v1/tenants/acme/grants", body, &rita).await.is(201).body;
    let grant = grant["grant"]["id"].as_str().unwrap();
    world.enter_by("acme", grant, &sam).await.refused(403, "self_granted");
    world.enter_by("acme", grant, &world.agent("ben")).await.is(201);
    // A request of theirs they do not approve, nor do they enter where they waived approval.
    world.consent("acme", "limited_edit").await;
    world
        .put("PUT", "/v1/tenants/acme/approval", json!({"required": true}), &world.admin("acme"))
        .await
        .is(200);
    let ask = json!({"environment": "production", "level": "read_only", "reason": "order 7 is stuck"});
    let asked = world.put("POST", "/v1/tenants/acme/requests", ask, &sam).await.is(201).body;
    let request = format!("/v1/tenants/acme/requests/{}", asked["request"]["id"].as_str().unwrap());
    world.put("PATCH", &request, json!({"approve": {}}), &rita).await.refused(403, "self_granted");
    world.put("PUT", "/v1/tenants/acme/approval", json!({"required": false}), &rita).await.is(200);
    world.start("acme", &sam).await.refused(403, "self_granted");
    // What they take away is no gift, and waits for no row.
    world.put("PUT", consent, json!({"level": "block"}), &rita).await.is(200);
}

// GW-14
#[tokio::test]
async fn who_lifted_the_tenants_own_switch_does_not_enter_by_it() {
    let world = World::new().await;
    let path = "/v1/tenants/acme/stop";
    let twin = world.member("acme", "anna", &["admin"]);
    world
        .put("PUT", path, json!({"stopped": true, "reason": "an audit"}), &world.admin("acme"))
        .await
        .is(200);
    world.put("PUT", path, json!({"stopped": false, "reason": "never mind"}), &twin).await.is(200);
    world.clock.advance(1);
    world.start("acme", &world.agent("anna")).await.refused(403, "self_granted");
    let grant = world.granted("acme", json!("support"), "viewer").await;
    world.enter_by("acme", &grant, &world.agent("anna")).await.refused(403, "self_granted");
    world.started("acme", &world.agent("ben")).await;
    for stopped in [true, false] {
        world
            .put("PUT", path, json!({"stopped": stopped, "reason": "anew"}), &world.admin("acme"))
            .await
            .is(200);
    }
    world.clock.advance(1);
    world.started("acme", &world.agent("anna")).await;
}
