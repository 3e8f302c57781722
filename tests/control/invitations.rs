//! Invitations to resources: who sees them, who takes them up, and what the record says of it.

use serde_json::{Value, json};

use super::{
    resources::{BOARD, join, of, push, world},
    support::{Answer, DAY, World},
};
use postern::engine::knock::Who;

async fn invite(world: &World, sub: &str, body: Value, who: &Who) -> Answer {
    world.put("PUT", &of("members", sub), body, who).await
}

fn first(answer: &Answer) -> &Value {
    &answer.body["outcome"]["events"][0]["event"]
}

// PFP-02
// PFP-13
#[tokio::test]
async fn a_private_board_shows_itself_to_whom_is_invited_who_joins_in_the_role_of_the_invitation() {
    let world = world().await;
    let crm = world.crm();
    join(&world, "lena", "lead", &crm).await.is(200);
    let [lena, ivo, eve] = ["lena", "ivo", "eve"].map(|sub| world.member("acme", sub, &[]));
    let own = of("members", "ivo");
    world.get(BOARD, &ivo).await.refused(403, "not_allowed");
    let told = invite(&world, "ivo", json!({"role": "hand", "invited": true}), &lena).await.is(200);
    let member = &told.body["member"];
    assert_eq!(
        (first(&told), &member["role"], &member["invited"]),
        (&json!("resource_invited"), &json!("hand"), &json!(true))
    );
    // 14 days of the calendar of Berlin, over the change of its clocks.
    assert_eq!(member["until"], "2026-04-10T10:00:00.000Z");
    // Whoever is invited sees that it is there, what they are invited to, and nothing of its members.
    assert_eq!(
        world.get(BOARD, &ivo).await.is(200).body,
        json!({"type": "board", "id": "b1", "visibility": "private"})
    );
    assert_eq!(world.get(&own, &ivo).await.is(200).body["role"], "hand");
    world.get(&format!("{BOARD}/members"), &ivo).await.refused(403, "not_allowed");
    world.get(&of("members", "lena"), &ivo).await.refused(403, "not_allowed");
    world.get(BOARD, &eve).await.refused(403, "not_allowed");
    world.get(&own, &eve).await.refused(403, "not_allowed");
    world.get(&of("members", "eve"), &eve).await.refused(403, "not_allowed");
    // The list shows it to whoever sees the members.
    let items = world.get(&format!("{BOARD}/members"), &lena).await.is(200).body["items"].clone();
    let told: Vec<_> =
        items.as_array().unwrap().iter().map(|item| (&item["person"]["sub"], &item["invited"])).collect();
    assert_eq!(told, [(&json!("ivo"), &json!(true)), (&json!("lena"), &Value::Null)]);
    // Neither in another role nor by anybody else.
    join(&world, "ivo", "lead", &ivo).await.refused(403, "not_allowed");
    join(&world, "ivo", "hand", &eve).await.refused(403, "not_allowed");
    let joined = join(&world, "ivo", "hand", &ivo).await.is(200);
    assert_eq!(
        (first(&joined), &joined.body["member"]["invited"]),
        (&json!("resource_joined"), &Value::Null)
    );
    world.get(&format!("{BOARD}/members"), &ivo).await.is(200);
    invite(&world, "ivo", json!({"role": "sender", "invited": true}), &lena)
        .await
        .refused(409, "member_already");
    let written = world.record(|record| record["command"] == "invite_to_resource").await;
    assert_eq!(written["events"][0]["until"], "2026-04-10T10:00:00.000Z");
}

#[tokio::test]
async fn an_invitation_is_declined_taken_back_or_over_and_then_the_board_is_as_if_it_were_not() {
    let world = world().await;
    let crm = world.crm();
    join(&world, "lena", "lead", &crm).await.is(200);
    let [lena, ivo] = ["lena", "ivo"].map(|sub| world.member("acme", sub, &[]));
    let own = of("members", "ivo");
    let gone = async || {
        for path in [BOARD, &own] {
            world.get(path, &ivo).await.refused(403, "not_allowed");
        }
        join(&world, "ivo", "hand", &ivo).await.refused(403, "not_allowed");
        assert_eq!(
            world.get(&format!("{BOARD}/members"), &lena).await.is(200).body["items"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    };
    for who in [&ivo, &lena, &crm] {
        invite(&world, "ivo", json!({"role": "hand", "invited": true}), &lena).await.is(200);
        let told = world.delete(&own, who).await.is(200);
        assert_eq!(first(&told), "resource_uninvited");
        gone().await;
    }
    invite(&world, "ivo", json!({"role": "hand", "invited": true, "for": "2d"}), &lena).await.is(200);
    world.clock.advance(2 * DAY - 1);
    world.get(BOARD, &ivo).await.is(200);
    world.clock.advance(1);
    gone().await;
    assert_eq!(world.get(&own, &lena).await.is(200).body["former"], true);
    // It is found again after a start, and given anew.
    invite(&world, "ivo", json!({"role": "hand", "invited": true, "for": "2d"}), &crm).await.is(200);
    let world = world.restarted().await;
    world.get(BOARD, &ivo).await.is(200);
    join(&world, "ivo", "hand", &ivo).await.is(200);
}

#[tokio::test]
async fn what_an_invitation_cannot_say_is_told() {
    let world = world().await;
    let crm = world.crm();
    let ivo = world.member("acme", "ivo", &[]);
    for (more, status, code) in [
        (json!({"for": "15 calendar days"}), 422, "too_far"),
        (json!({"until": "2026-01-01T00:00:00Z"}), 422, "not_in_future"),
        (json!({"for": "2d", "date": "2026-04-01"}), 400, "body_malformed"),
        (json!({"invited": "yes"}), 400, "body_malformed"),
        (json!({"role": "viewer"}), 422, "role_not_here"),
    ] {
        let mut body = json!({"role": "hand", "invited": true});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        invite(&world, "ivo", body, &crm).await.refused(status, code);
    }
    invite(&world, "ivo", json!({"role": "hand", "for": "2d"}), &crm).await.refused(400, "body_malformed");
    // Whoever may not know is told one thing, whether the board is there or not.
    let body = json!({"role": "hand", "invited": true});
    let told = [BOARD, "/v1/tenants/acme/resources/board/b9"].map(|board| {
        let path = of("members", "ivo").replace(BOARD, board);
        let (world, ivo, body) = (&world, &ivo, body.clone());
        async move { world.put("PUT", &path, body, ivo).await.refused(403, "not_allowed").body }
    });
    let [there, nowhere] = told;
    assert_eq!(there.await, nowhere.await);
    // By visibility too they may come in: then it is one thing or the other.
    push(&world, BOARD, json!({"visibility": "public"})).await.is(200);
    let vera = world.member("acme", "vera", &["viewer"]);
    invite(&world, "vera", json!({"role": "lead", "invited": true}), &crm).await.is(200);
    join(&world, "vera", "hand", &vera).await.is(200);
    join(&world, "vera", "lead", &vera).await.refused(403, "not_allowed");
}
