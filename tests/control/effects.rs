//! What follows from creations, on a real engine: done, queued and done later, by this life or the next; once, however often it is
//! told; and for whom nothing follows.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering::SeqCst},
    task::{Context, Waker},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use postern::{
    engine::{
        Admission, Answer, End, Maker, Report,
        knock::{Knock, Name, Outer, Particulars, Path, Who},
    },
    identity::VerifiedSubject,
    policy::{
        Catalogue, Creates, Effect, Rule,
        creates::{IdFrom, Unread},
        routes::Template,
    },
};
use serde_json::{Value, json};

use super::{
    resources::{BOARD, push, rules},
    support::{Wish, World},
};

const BOARDS: usize = 0;
const CARDS: usize = 1;
const NOTES: usize = 2;

/// Whoever makes a board or a note is its lead, and an auditor, who is a member of none, becomes a clerk by it; cards are made on boards.
fn map(catalogue: &Catalogue) -> Vec<Rule> {
    let rule = |name: &str, resource: Option<&str>, creates: Creates| Rule {
        name: name.to_owned(),
        permissions: vec![
            catalogue.id(if name == "POST /notes" { "support:read" } else { "orders:read" }).unwrap(),
        ],
        public: false,
        resource: resource.map(|kind| kind.parse().unwrap()),
        within: Default::default(),
        upstream: 0,
        effect: None,
        record: true,
        environments: Default::default(),
        narrow: None,
        whole_only: false,
        plans: None,
        creates: Some(Box::new(creates)),
    };
    let id = || IdFrom::Location(Template::parse("/things/{id}").unwrap());
    let becomes = [("auditor".parse().unwrap(), "order_clerk".parse().unwrap())].into();
    let board =
        Creates { kind: "board".parse().unwrap(), id: id(), role: Some("lead".parse().unwrap()), becomes };
    let card = Creates { kind: "card".parse().unwrap(), id: id(), role: None, becomes: Default::default() };
    // Clerks may not make notes, so whoever makes one may not make another.
    let note = board.clone();
    vec![
        rule("POST /boards", None, board),
        rule("POST /boards/{board}/cards", Some("board"), card),
        rule("POST /notes", None, note),
    ]
}

async fn world() -> World {
    World::with(Wish { resources: rules, rules: map, seats: &["order_clerk"], ..Wish::default() }).await
}

async fn row(world: &World, sub: &str, roles: Value) {
    let path = format!("/v1/tenants/acme/members/rows.{}", URL_SAFE_NO_PAD.encode(sub));
    push(world, &path, json!({"roles": roles})).await.is(200);
}

fn known(who: &Who) -> Arc<VerifiedSubject> {
    let Who::Known(subject) = who else { panic!("not a verified caller") };
    Arc::clone(subject)
}

/// An exchange on one of the routes, admitted.
async fn begun(world: &World, who: &Who, rule: usize, on: Option<&str>) -> (Admission, Maker) {
    begun_in("acme", world, who, rule, on).await
}

async fn begun_in(
    tenant: &str,
    world: &World,
    who: &Who,
    rule: usize,
    on: Option<&str>,
) -> (Admission, Maker) {
    let knock = Knock {
        emergency: postern::policy::Brought::Nothing,
        policy: world.engine.policy(),
        path: Path::Rule(rule),
        tenant: Name::As(tenant.into()),
        environment: Name::As("production".into()),
        resource: on.map(Arc::from),
        within: Outer::default(),
        session: Name::Missing,
        does: Effect::Write,
        client: None,
        ticket: Name::Missing,
        asked: None,
    };
    let subject = known(who);
    let Answer::Admitted(admission) =
        world.engine.admit(knock.clone(), Arc::clone(&subject), &Particulars::default()).await
    else {
        panic!("not admitted")
    };
    let maker = Maker::new(&world.engine, &admission, &knock, &subject).unwrap();
    maker.said();
    (admission, maker)
}

fn over(admission: Admission) -> String {
    let exchange = admission.live().unwrap().exchange.to_string();
    admission.finish(&Report {
        end: End::Complete,
        status: Some(201),
        sent: 0,
        received: 0,
        fault: None,
        server: None,
    });
    exchange
}

/// One exchange that makes this; its outcome.
async fn made(world: &World, who: &Who, rule: usize, on: Option<&str>, id: &str) -> Value {
    let (admission, maker) = begun(world, who, rule, on).await;
    maker.made(id.parse().unwrap()).await;
    outcome(world, &over(admission)).await
}

async fn outcome(world: &World, exchange: &str) -> Value {
    world.record(|record| record["kind"] == "access.outcome" && record["exchange"] == exchange).await
}

async fn seen(world: &World, path: &str) -> Value {
    world.get(&format!("/v1/tenants/acme/resources/{path}"), &world.crm()).await.body
}

async fn learned(world: &World, exchange: &Value) -> Value {
    let is = |event: &Value| event["event"] == "resource_learned" && event["exchange"] == *exchange;
    let of = |record: &Value| {
        let outcome = record["kind"] == "change.outcome" && record["outcome"] == "stored";
        outcome.then(|| record["events"].as_array()?.iter().find(|event| is(event)).cloned()).flatten()
    };
    of(&world.record(|record| of(record).is_some()).await).unwrap()
}

// PFC-07
#[tokio::test]
async fn what_the_store_could_not_take_is_due_in_the_ledger_and_done_once_later() {
    let world = world().await;
    row(&world, "gina", json!(["auditor"])).await;
    let gina = world.rower("acme", "gina");
    world.store.no_commits.store(true, SeqCst);
    let told = made(&world, &gina, BOARDS, None, "b7").await;
    assert_eq!((&told["effect"], world.engine.effects_queued()), (&json!("queued"), 1));
    let due = world.record(|record| record["kind"] == "effect.due").await;
    assert_eq!((&due["made"]["resource"]["id"], &due["opens"]), (&json!("b7"), &due["effect"]));
    assert_eq!(world.engine.effects_once().await, 1);
    world.store.no_commits.store(false, SeqCst);
    assert_eq!(world.engine.effects_once().await, 0);
    let closed = world.record(|record| record["kind"] == "effect.outcome").await;
    assert_eq!(
        (&closed["closes"], &closed["outcome"], &closed["exchange"]),
        (&due["effect"], &json!("done"), &told["exchange"])
    );
    let board = seen(&world, "board/b7").await;
    assert_eq!((&board["creator"]["sub"], &board["members"]["all"]), (&json!("gina"), &json!(1)));
    let path = format!("/v1/tenants/acme/members/rows.{}", URL_SAFE_NO_PAD.encode("gina"));
    let row = world.get(&path, &world.crm()).await;
    assert_eq!(row.body["roles"], json!(["order_clerk"]));
    assert_eq!(world.engine.effects()[0], ("done", 1));
}

// PFC-18
#[tokio::test]
async fn while_the_store_takes_nothing_a_round_tries_one_of_what_is_due_and_each_in_its_turn() {
    let world = world().await;
    row(&world, "gina", json!(["auditor"])).await;
    let gina = world.rower("acme", "gina");
    world.store.no_commits.store(true, SeqCst);
    for id in ["b7", "b8", "b9"] {
        assert_eq!(made(&world, &gina, BOARDS, None, id).await["effect"], "queued");
    }
    let tried = || -> Vec<Value> {
        let all = world.records().into_iter().filter(|record| record["kind"] == "change.intent");
        let learned = all.filter(|record| record["command"] == "learn_resource");
        learned.map(|record| record["events"][0]["resource"]["id"].clone()).collect()
    };
    let before = tried().len();
    for _ in 0..4 {
        assert_eq!(world.engine.effects_once().await, 3);
    }
    assert_eq!(tried().get(before..).unwrap(), ["b7", "b8", "b9", "b7"]);
    world.store.no_commits.store(false, SeqCst);
    assert_eq!(world.engine.effects_once().await, 0);
}

// PFC-18
#[tokio::test]
async fn what_is_due_when_the_gateway_stops_is_done_by_its_next_start_once() {
    let world = world().await;
    row(&world, "gina", json!(["auditor"])).await;
    let gina = world.rower("acme", "gina");
    // It is committed, and nobody hears of it: the next life finds it done.
    world.store.no_answers.store(true, SeqCst);
    let told = made(&world, &gina, BOARDS, None, "b7").await;
    assert_eq!(told["effect"], "queued");
    world.store.no_answers.store(false, SeqCst);
    world.store.no_commits.store(true, SeqCst);
    assert_eq!(made(&world, &gina, BOARDS, None, "b8").await["effect"], "queued");
    let world = world.restarted().await;
    assert_eq!(world.engine.effects_queued(), 2);
    assert_eq!(
        world.engine.effects_once().await,
        2 - usize::from(seen(&world, "board/b7").await["creator"].is_object())
    );
    world.store.no_commits.store(false, SeqCst);
    assert_eq!(world.engine.effects_once().await, 0);
    for board in ["board/b7", "board/b8"] {
        let board = seen(&world, board).await;
        assert_eq!(
            (&board["creator"]["sub"], &board["members"]["all"]),
            (&json!("gina"), &json!(1)),
            "{board}"
        );
    }
    let count = |name: &str| {
        let outcomes = world.records().into_iter().filter(|record| record["kind"] == "change.outcome");
        let events = outcomes.filter_map(|record| record["events"].as_array().cloned()).flatten();
        events.filter(|event| event["event"] == name).count()
    };
    assert_eq!((count("resource_joined"), count("member_became")), (2, 1));
    for due in world.records().into_iter().filter(|record| record["kind"] == "effect.due") {
        let closed = world.record(|record| record["closes"] == due["effect"]).await;
        assert_eq!((&closed["outcome"], &closed["settled"]), (&json!("done"), &json!(true)));
    }
    // A third life finds nothing to do.
    let world = world.restarted().await;
    assert_eq!((world.engine.effects_queued(), world.recovered.open_intents.len()), (0, 0));
}

// PFP-04
#[tokio::test]
async fn the_first_answer_counts_and_what_another_contradicts_is_unknown_for_good() {
    let world = world().await;
    push(&world, BOARD, json!({})).await.is(200);
    push(&world, "/v1/tenants/acme/resources/board/b2", json!({})).await.is(200);
    let [anna, ben] = ["anna", "ben"].map(|sub| world.member("acme", sub, &["viewer"]));
    assert_eq!(made(&world, &anna, CARDS, Some("b1"), "c1").await["effect"], "done");
    assert_eq!(seen(&world, "card/c1").await["creator"]["sub"], "anna");
    // The same again, by another exchange: nothing changes.
    assert_eq!(made(&world, &anna, CARDS, Some("b1"), "c1").await["effect"], "done");
    let told = made(&world, &ben, CARDS, Some("b1"), "c1").await;
    let event = learned(&world, &told["exchange"]).await;
    assert_eq!((&event["unclear"], &event["creator"]), (&json!(["creator"]), &Value::Null));
    let now = seen(&world, "card/c1").await;
    assert_eq!((&now["creator"], &now["parent"]["id"]), (&Value::Null, &json!("b1")));
    // A third that agrees with the first does not bring it back; the parent goes the same way.
    made(&world, &anna, CARDS, Some("b1"), "c1").await;
    assert_eq!(seen(&world, "card/c1").await["creator"], Value::Null);
    let told = made(&world, &anna, CARDS, Some("b2"), "c1").await;
    assert_eq!(learned(&world, &told["exchange"]).await["unclear"], json!(["creator", "parent"]));
    made(&world, &anna, CARDS, Some("b1"), "c1").await;
    let now = seen(&world, "card/c1").await;
    assert_eq!((&now["creator"], &now["parent"]), (&Value::Null, &Value::Null));
    // What a service says replaces all of it, and no answer changes that.
    let said = json!({"parent": "b1", "creator": {"issuer": "members", "sub": "anna"}});
    push(&world, "/v1/tenants/acme/resources/card/c1", said).await.is(200);
    let told = made(&world, &ben, CARDS, Some("b2"), "c1").await;
    assert_eq!((&told["effect"], &told["effect_fault"]), (&json!("refused"), &json!("resource_pushed")));
    let now = seen(&world, "card/c1").await;
    assert_eq!((&now["creator"]["sub"], &now["parent"]["id"]), (&json!("anna"), &json!("b1")));
    world.delete("/v1/tenants/acme/resources/card/c1", &world.crm()).await.is(200);
    let told = made(&world, &ben, CARDS, Some("b1"), "c1").await;
    assert_eq!(told["effect_fault"], "resource_removed");
    // A contradiction takes away at once, whatever the store can take.
    made(&world, &anna, CARDS, Some("b1"), "c2").await;
    world.store.no_commits.store(true, SeqCst);
    assert_eq!(made(&world, &ben, CARDS, Some("b1"), "c2").await["effect"], "done");
    assert_eq!(seen(&world, "card/c2").await["creator"], Value::Null);
    world.store.no_commits.store(false, SeqCst);
    world.engine.mend_once().await;
    assert_eq!((world.engine.pending(), &seen(&world, "card/c2").await["creator"]), (0, &Value::Null));
}

// PFC-18
#[tokio::test]
async fn a_service_that_was_faster_keeps_its_word_and_its_creator_gets_the_role_once() {
    let world = world().await;
    row(&world, "gina", json!(["auditor"])).await;
    let gina = world.rower("acme", "gina");
    let creator = json!({"creator": {"issuer": "rows", "sub": "gina"}, "visibility": "public"});
    push(&world, "/v1/tenants/acme/resources/board/b5", creator).await.is(200);
    assert_eq!(made(&world, &gina, BOARDS, None, "b5").await["effect"], "done");
    let board = seen(&world, "board/b5").await;
    assert_eq!((&board["visibility"], &board["members"]["all"]), (&json!("public"), &json!(1)));
    // Taken back it stays so.
    let member =
        format!("/v1/tenants/acme/resources/board/b5/members/rows.{}", URL_SAFE_NO_PAD.encode("gina"));
    world.delete(&member, &world.crm()).await.is(200);
    let told = made(&world, &gina, BOARDS, None, "b5").await;
    assert_eq!(told["effect_fault"], "resource_pushed");
    assert_eq!(seen(&world, "board/b5").await["members"]["all"], 0);
    // Another creator, or none: nothing follows.
    push(&world, BOARD, json!({})).await.is(200);
    assert_eq!(made(&world, &gina, BOARDS, None, "b1").await["effect_fault"], "resource_pushed");
}

// PFC-07
#[tokio::test]
async fn who_is_no_member_or_acts_gets_nothing_and_what_they_made_is_known() {
    let world = world().await;
    row(&world, "gina", json!(["auditor"])).await;
    row(&world, "wanda", json!(["auditor", "admin"])).await;
    let agent = world.agent("sam");
    world.started("acme", &agent).await;
    let acting = world.member_with("acme", "anna", &["viewer"], json!({"act": {"sub": "robot"}}));
    let apart = world.member("acme", "otto", &["auditor"]);
    for (who, id, creator, withheld) in [
        (&agent, "b10", Value::Null, "not_member"),
        (&acting, "b11", json!("anna"), "acting"),
        // Of a token's roles nothing changes, and one of them keeps apart.
        (&apart, "b12", json!("otto"), "kept_apart"),
    ] {
        let told = made(&world, who, BOARDS, None, id).await;
        assert_eq!(told["effect"], "done");
        assert_eq!(learned(&world, &told["exchange"]).await["withheld"], withheld);
        let board = seen(&world, &format!("board/{id}")).await;
        assert_eq!((&board["creator"]["sub"], &board["members"]["all"]), (&creator, &json!(0)), "{id}");
    }
    // The vendor's people as somebody: that one made it, and gets nothing by it.
    let vera = world.member("acme", "vera", &["viewer"]);
    let lent = json!({"environment": "production", "for": "1d"});
    let lent = world.put("PUT", "/v1/tenants/acme/login-access/help_desk", lent, &vera).await.is(201);
    let nora = world.agent("nora");
    let body = json!({"environment": "production", "basis": {"act_as": lent.body["confirmation"]}, "reason": "as agreed"});
    world.put("POST", "/v1/tenants/acme/sessions", body, &nora).await.is(201);
    let told = made(&world, &nora, BOARDS, None, "b13").await;
    assert_eq!(learned(&world, &told["exchange"]).await["withheld"], "acting");
    assert_eq!(seen(&world, "board/b13").await["creator"]["sub"], "vera");
    // Suspended meanwhile: what they made is known, and nothing follows.
    let gina = world.rower("acme", "gina");
    let (admission, maker) = begun(&world, &gina, BOARDS, None).await;
    let path = format!("/v1/tenants/acme/members/rows.{}", URL_SAFE_NO_PAD.encode("gina"));
    push(&world, &path, json!({"roles": ["auditor"], "suspended": true})).await;
    maker.made("b14".parse().unwrap()).await;
    let told = outcome(&world, &over(admission)).await;
    assert_eq!(learned(&world, &told["exchange"]).await["withheld"], "not_member");
}

// PFC-07
#[tokio::test]
async fn a_guest_stays_one_where_no_seat_is_left_and_is_no_lead_then() {
    let world = world().await;
    let whole = json!({"zone": "UTC", "environments": ["production"], "seat_limit": 1});
    push(&world, "/v1/tenants/initech", whole).await.is(201);
    let knows = |sub: &str| format!("/v1/tenants/initech/members/rows.{}", URL_SAFE_NO_PAD.encode(sub));
    let mut told = Vec::new();
    for (sub, id) in [("gina", "b1"), ("gerd", "b2")] {
        push(&world, &knows(sub), json!({"roles": ["auditor"]})).await.is(200);
        let (admission, maker) =
            begun_in("initech", &world, &world.rower("initech", sub), BOARDS, None).await;
        maker.made(id.parse().unwrap()).await;
        told.push(learned(&world, &outcome(&world, &over(admission)).await["exchange"]).await);
    }
    assert_eq!((&told[0]["withheld"], &told[1]["withheld"]), (&Value::Null, &json!("seats_full")));
    let roles = |row: Value| row["roles"].clone();
    let crm = world.crm();
    assert_eq!(roles(world.get(&knows("gina"), &crm).await.body), json!(["order_clerk"]));
    assert_eq!(roles(world.get(&knows("gerd"), &crm).await.body), json!(["auditor"]));
    let board = world.get("/v1/tenants/initech/resources/board/b2", &crm).await.body;
    assert_eq!((&board["creator"]["sub"], &board["members"]["all"]), (&json!("gerd"), &json!(0)));
}

#[tokio::test]
async fn what_cannot_be_told_is_counted_and_said() {
    let world = world().await;
    let anna = world.member("acme", "anna", &["viewer"]);
    let (admission, maker) = begun(&world, &anna, BOARDS, None).await;
    maker.unknown(Unread::IdTwice);
    let told = outcome(&world, &over(admission)).await;
    assert_eq!((&told["effect"], &told["effect_fault"]), (&json!("unknown"), &json!("id_twice")));
    let (admission, _) = begun(&world, &anna, BOARDS, None).await;
    assert_eq!(outcome(&world, &over(admission)).await["effect"], "open");
    let (admission, maker) = begun(&world, &anna, BOARDS, None).await;
    maker.nothing();
    assert_eq!(outcome(&world, &over(admission)).await["effect"], Value::Null);
    assert_eq!(
        world.engine.effects(),
        [("done", 0), ("refused", 0), ("unknown", 1), ("open", 1), ("dropped", 0)]
    );
}

#[tokio::test]
async fn what_was_heard_is_no_open_question_when_its_exchange_is_cut_meanwhile() {
    let world = world().await;
    row(&world, "gina", json!(["auditor"])).await;
    let (admission, maker) = begun(&world, &world.rower("acme", "gina"), BOARDS, None).await;
    // It is under way from here on, and the exchange ends first.
    let mut making = Box::pin(maker.made("b7".parse().unwrap()));
    assert!(making.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let exchange = over(admission);
    making.await;
    assert_eq!(outcome(&world, &exchange).await["effect"], "queued");
    assert_eq!(learned(&world, &json!(exchange)).await["resource"]["id"], "b7");
    assert_eq!(world.engine.effects()[..4], [("done", 1), ("refused", 0), ("unknown", 0), ("open", 0)]);
}

#[tokio::test]
async fn what_waited_is_done_in_no_other_life_of_its_tenant_or_of_whoever_made_it() {
    let world = world().await;
    let whole = json!({"zone": "UTC", "environments": ["production"]});
    push(&world, "/v1/tenants/initech", whole.clone()).await.is(201);
    let gina = URL_SAFE_NO_PAD.encode("gina");
    let roles = json!({"roles": ["auditor"]});
    let mut due = Vec::new();
    for (tenant, id) in [("initech", "b7"), ("acme", "b8")] {
        push(&world, &format!("/v1/tenants/{tenant}/members/rows.{gina}"), roles.clone()).await.is(200);
        let (admission, maker) = begun_in(tenant, &world, &world.rower(tenant, "gina"), BOARDS, None).await;
        world.store.no_commits.store(true, SeqCst);
        maker.made(id.parse().unwrap()).await;
        world.store.no_commits.store(false, SeqCst);
        let told = outcome(&world, &over(admission)).await;
        assert_eq!(told["effect"], "queued");
        due.push(told["exchange"].clone());
    }
    // Another customer has that name by then, and another person, perhaps, that subject.
    let crm = world.crm();
    world.delete("/v1/tenants/initech", &crm).await.is(200);
    push(&world, "/v1/tenants/initech", whole).await.is(201);
    world.delete(&format!("/v1/tenants/acme/members/rows.{gina}"), &crm).await.is(200);
    for tenant in ["initech", "acme"] {
        push(&world, &format!("/v1/tenants/{tenant}/members/rows.{gina}"), roles.clone()).await.is(200);
    }
    assert_eq!(world.engine.effects_once().await, 0);
    let of = |exchange: Value| {
        move |record: &Value| record["kind"] == "effect.outcome" && record["exchange"] == exchange
    };
    let told = world.record(of(due[0].clone())).await;
    assert_eq!((&told["outcome"], &told["reason"]), (&json!("refused"), &json!("tenant_removed")));
    world.get("/v1/tenants/initech/resources/board/b7", &crm).await.is(404);
    assert_eq!(world.record(of(due[1].clone())).await["outcome"], "done");
    assert_eq!(learned(&world, &due[1]).await["withheld"], "left_since");
    assert_eq!(seen(&world, "board/b8").await["members"]["all"], 0);
    for tenant in ["initech", "acme"] {
        let row = world.get(&format!("/v1/tenants/{tenant}/members/rows.{gina}"), &crm).await;
        assert_eq!(row.body["roles"], json!(["auditor"]), "{tenant}");
    }
}

#[tokio::test]
async fn a_repeat_of_what_was_done_beside_a_service_is_done() {
    let world = world().await;
    row(&world, "gina", json!(["auditor"])).await;
    let creator = json!({"creator": {"issuer": "rows", "sub": "gina"}});
    push(&world, "/v1/tenants/acme/resources/board/b5", creator).await.is(200);
    // It is committed, and nobody hears of it.
    world.store.no_answers.store(true, SeqCst);
    let told = made(&world, &world.rower("acme", "gina"), BOARDS, None, "b5").await;
    assert_eq!(told["effect"], "queued");
    world.store.no_answers.store(false, SeqCst);
    assert_eq!(world.engine.effects_once().await, 0);
    let closed = world.record(|record| record["kind"] == "effect.outcome").await;
    assert_eq!((&closed["outcome"], &closed["reason"]), (&json!("done"), &Value::Null));
    assert_eq!(seen(&world, "board/b5").await["members"]["all"], 1);
}

#[tokio::test]
async fn what_is_told_again_has_nobody_decided_again() {
    let world = world().await;
    push(&world, BOARD, json!({})).await.is(200);
    let (agent, anna) = (world.agent("sam"), world.member("acme", "anna", &["viewer"]));
    world.started("acme", &agent).await;
    let (admission, _) = begun(&world, &agent, CARDS, Some("b1")).await;
    assert_eq!(made(&world, &anna, CARDS, Some("b1"), "c1").await["effect"], "done");
    let live = Arc::clone(admission.live().unwrap());
    let woken = || pin!(live.fuse.woken()).poll(&mut Context::from_waker(Waker::noop())).is_ready();
    while woken() {}
    assert_eq!(made(&world, &anna, CARDS, Some("b1"), "c1").await["effect"], "done");
    assert!(!woken());
    // What changes the tenant does.
    push(&world, "/v1/tenants/acme/resources/board/b1", json!({"visibility": "public"})).await.is(200);
    over(admission);
}

#[tokio::test]
async fn whoever_becomes_another_by_a_creation_has_its_answer_and_what_others_take_cuts_it() {
    let world = world().await;
    row(&world, "gina", json!(["auditor"])).await;
    let gina = world.rower("acme", "gina");
    let (admission, maker) = begun(&world, &gina, NOTES, None).await;
    let (other, _) = begun(&world, &gina, NOTES, None).await;
    let burnt = |admission: &Admission| admission.live().unwrap().fuse.burnt();
    // Another exchange of theirs is none that made them so.
    let cut = async {
        while burnt(&other).is_none() {
            tokio::task::yield_now().await;
        }
        let cut = burnt(&other).unwrap();
        over(other);
        cut
    };
    let ((), cut) = tokio::join!(maker.made("n1".parse().unwrap()), cut);
    assert_eq!(cut.reason.code(), "permission_missing");
    assert_eq!(burnt(&admission), None);
    let path = format!("/v1/tenants/acme/members/rows.{}", URL_SAFE_NO_PAD.encode("gina"));
    assert_eq!(world.get(&path, &world.crm()).await.body["roles"], json!(["order_clerk"]));
    push(&world, &path, json!({"roles": ["viewer"]})).await;
    assert_eq!(burnt(&admission).unwrap().reason.code(), "permission_missing");
    assert_eq!(outcome(&world, &over(admission)).await["effect"], "done");
}
