//! PFP: every way to a card counts.

use serde_json::{Value, json};

use super::{Acme, NOON, acme_with, app, cards_of, staffed};

/// Somebody of restricted view, with a card of his own, one that is assigned to him, and others.
fn with_cards() -> Acme {
    let acme = staffed();
    acme.card("own", "p1", Some("vic"), &[]);
    acme.card("given", "p1", Some("mo"), &["mo", "vic"]);
    acme.card("other", "p1", Some("mo"), &[]);
    acme
}

const ALL: [&str; 4] = ["own", "given", "other", "never-heard-of"];

/// The list of the pipe's cards with everything that tells of more than it shows.
fn telling() -> String {
    let list: Value = serde_json::from_str(&cards_of(&ALL)).unwrap();
    json!({"total": 4, "cards": list["cards"], "next": "after-other", "facets": {"mo": 2}}).to_string()
}

#[test]
fn pfp_16_what_is_theirs_holds_on_every_way_to_a_card_and_what_cannot_be_narrowed_is_refused() {
    let acme = with_cards();
    // Lists, search and export show theirs, and nothing tells of the rest.
    acme.world.upstream.answers(
        "GET /orgs/acme/pipes/p1/cards",
        "200 OK\r\nContent-Type: application/json\r\nETag: \"a\"\r\nX-Total-Count: 4\r\nLink: <?after=other>; rel=next",
        &telling(),
    );
    let list = acme.answer("vic", "GET", "pipes/p1/cards");
    assert_eq!(list.text(), cards_of(&["own", "given"]));
    for gone in ["etag", "x-total-count", "link", "content-length"] {
        assert!(list.values(gone).is_empty(), "{}", list.head);
    }
    let hits: Vec<Value> = ALL.iter().map(|id| json!({"score": 1, "card": {"id": id}})).collect();
    acme.says("POST pipes/p1/search", &json!({"count": 4, "hits": hits}).to_string());
    let found = acme.answer("vic", "POST", "pipes/p1/search");
    let theirs: Vec<Value> = ["own", "given"].map(|id| json!({"score": 1, "card": {"id": id}})).into();
    assert_eq!(serde_json::from_slice::<Value>(&found.body).unwrap(), json!({"hits": theirs}));
    let rows: Vec<Value> = ALL.iter().map(|id| json!({"id": id})).collect();
    acme.says("GET pipes/p1/export.json", &json!(rows).to_string());
    let export = acme.answer("vic", "GET", "pipes/p1/export.json");
    assert_eq!(
        serde_json::from_slice::<Value>(&export.body).unwrap(),
        json!([{"id": "own"}, {"id": "given"}])
    );
    // What the application counts and exports for one person it is asked to count for him, and for nobody whom he names.
    for below in ["count", "export.csv"] {
        let seen = acme.asks("vic", "GET", &format!("pipes/p1/{below}?by=phase")).unwrap();
        assert_eq!(seen.line(), format!("GET /orgs/acme/pipes/p1/{below}?visible_to=vic&by=phase HTTP/1.1"));
        for sent in ["visible_to=mo", "Visible_To=mo", "visible_to=vic&visible_to=mo", "visible%5Fto=mo"] {
            let code = acme.asks("vic", "GET", &format!("pipes/p1/{below}?{sent}")).unwrap_err();
            assert_eq!(code, "narrow_parameter_sent", "{sent}");
        }
        let seen = acme.asks("mo", "GET", &format!("pipes/p1/{below}")).unwrap();
        assert_eq!(seen.line(), format!("GET /orgs/acme/pipes/p1/{below} HTTP/1.1"));
    }
    // What lies at a card goes with it.
    for below in ["attachments/7", "comments"] {
        acme.can("vic", "GET", &format!("pipes/p1/cards/own/{below}"));
        acme.cannot("vic", "GET", &format!("pipes/p1/cards/other/{below}"));
    }
    // What shows more than can be told apart is refused, of their own card too.
    for below in ["events", "reports/7", "cards/own/connections"] {
        acme.cannot("vic", "GET", &format!("pipes/p1/{below}"));
        acme.can("mo", "GET", &format!("pipes/p1/{below}"));
    }
    // Whoever sees all of it gets what the application said.
    assert_eq!(acme.answer("mo", "GET", "pipes/p1/cards").text(), telling());

    // It ends with the assignment.
    acme.card("given", "p1", Some("mo"), &["mo"]);
    acme.cannot("vic", "GET", "pipes/p1/cards/given");
    assert_eq!(acme.answer("vic", "GET", "pipes/p1/cards").text(), cards_of(&["own"]));
    // Who made a card is no client's to say: not as a fact, and not in what is sent of it.
    for sub in ["vic", "mo", "ada", "sue"] {
        let body = json!({"parent": "p1", "creator": app("vic")});
        acme.api("PUT", &super::at("card/other"), &acme.who(sub), body).refused(403, "not_allowed");
    }
    let body = r#"{"creator":"vic","created_by":{"sub":"vic"}}"#;
    let more = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    for path in ["/orgs/acme/pipes/p1/cards/own", "/orgs/acme/pipes/p1/cards"] {
        let method = if path.ends_with("own") { "PUT" } else { "POST" };
        let mut client = acme.world.client();
        client.send(crate::world::request(method, path, &acme.who("vic"), &more) + body);
        assert_eq!(client.reply().status, 200);
    }
    acme.cannot("vic", "GET", "pipes/p1/cards/other");
    acme.can("vic", "GET", "pipes/p1/cards/own");
    acme.0.finish();
}

#[test]
fn pfp_18_what_was_just_sent_may_be_repeated_and_nothing_later_shows_it() {
    let acme = staffed();
    let sent = r#"{"id":"hers","title":"a request","from":"fay"}"#;
    acme.world.upstream.answers(
        "POST /orgs/acme/pipes/p1/start-form",
        "201 Created\r\nContent-Type: application/json\r\nLocation: /orgs/acme/pipes/p1/cards/hers",
        sent,
    );
    let made = acme.answer("fay", "POST", "pipes/p1/start-form");
    assert_eq!((made.status, made.text().as_str()), (201, sent));
    // Known as hers, with that answer, and assigned to her later: she sees none of it all the same.
    let told = acme.get(&super::at("card/hers"), &acme.provisioner()).is(200).body;
    assert_eq!((&told["creator"], &told["parent"]["id"]), (&app("fay"), &json!("p1")));
    acme.cannot("fay", "GET", "pipes/p1/cards/hers");
    acme.card("hers", "p1", Some("fay"), &["fay"]);
    acme.says("GET pipes/p1/cards", &cards_of(&["hers"]));
    acme.says("GET pipes/p1/cards/hers", sent);
    for below in ["cards", "cards/hers", "cards/hers/comments", "export.json", "count", "events"] {
        acme.cannot("fay", "GET", &format!("pipes/p1/{below}"));
    }
    acme.cannot("fay", "PUT", "pipes/p1/cards/hers");
    // It is there, for whoever may see it.
    assert_eq!(acme.answer("mo", "GET", "pipes/p1/cards/hers").text(), sent);
    acme.0.finish();
}

const LOOKED_UP: (&str, &str) = (
    "\n  card: { parent: pipe }\n",
    "\n  card: { parent: pipe, look_up: { path: \"/internal/{tenant}/cards/{card}\", id: /id, creator: /creator/id, assignees: /assignees/*/id, parent: /pipe/id } }\n",
);

#[test]
fn pfp_04_16_whose_a_card_is_may_be_asked_of_the_application_and_what_it_does_not_say_is_no() {
    let acme = acme_with(NOON, &[LOOKED_UP]);
    for (sub, role) in [("mia", "restricted_view"), ("max", "pipe_member")] {
        acme.put("pipe/p1", sub, role).is(200);
    }
    let tell = |id: &str, pipe: &str, creator: &str, assignees: &[&str]| {
        let assignees: Vec<Value> = assignees.iter().map(|sub| json!({"id": sub})).collect();
        let card =
            json!({"id": id, "pipe": {"id": pipe}, "creator": {"id": creator}, "assignees": assignees});
        acme.world.upstream.answers(
            &format!("GET /internal/acme/cards/{id}"),
            "200 OK\r\nContent-Type: application/json",
            &card.to_string(),
        );
    };
    tell("own", "p1", "mia", &[]);
    tell("given", "p1", "max", &["moe", "mia"]);
    tell("other", "p1", "max", &["max"]);
    tell("elsewhere", "p2", "mia", &["mia"]);
    let get = |card: &str| acme.answer("mia", "GET", &format!("pipes/p1/cards/{card}")).status;
    // Of the last one the application says nothing that can be read.
    for (card, status) in [("own", 200), ("given", 200), ("other", 403), ("elsewhere", 403), ("unread", 403)]
    {
        assert_eq!(get(card), status, "{card}");
    }
    acme.says("GET pipes/p1/cards", &cards_of(&["own", "given", "other", "elsewhere", "unread"]));
    assert_eq!(acme.answer("mia", "GET", "pipes/p1/cards").text(), cards_of(&["own", "given"]));
    // The question names nobody, and the application is asked by the gateway itself.
    let asked = acme.world.upstream.seen();
    let asked = asked.iter().find(|seen| seen.line().contains("/internal/acme/cards/own")).unwrap();
    assert!(asked.values("Authorization").is_empty());
    assert_eq!(crate::stage::asserted(asked)["kind"], "gateway");
    // It ends with the assignment: at once where it is pushed, else when the answer counts no more.
    tell("given", "p1", "max", &["moe"]);
    acme.clock.advance(10_000);
    assert_eq!(get("given"), 403);
    acme.push("card/own", json!({"parent": "p1", "creator": app("max")})).is(200);
    assert_eq!(get("own"), 403);
    acme.0.finish();
}

#[test]
fn pfp_16_who_made_a_card_is_learned_from_the_applications_answer_and_two_answers_that_differ_are_none() {
    let acme = staffed();
    let makes = |id: &str, body: &Value| {
        let mut body = body.clone();
        body["id"] = json!(id);
        let head = "201 Created\r\nContent-Type: application/json";
        acme.world.upstream.answers("POST /orgs/acme/pipes/p1/cards", head, &body.to_string());
    };
    // Made by him, whatever the answer says of who made it.
    makes("new", &json!({"creator": "mo", "title": "a chair"}));
    assert_eq!(acme.answer("vic", "POST", "pipes/p1/cards").status, 201);
    acme.can("vic", "GET", "pipes/p1/cards/new");
    acme.can("vic", "PUT", "pipes/p1/cards/new");
    acme.says("GET pipes/p1/cards", &cards_of(&["new", "other"]));
    assert_eq!(acme.answer("vic", "GET", "pipes/p1/cards").text(), cards_of(&["new"]));
    let learned = acme.events("resource_learned");
    let (event, record) = &learned[0];
    assert_eq!(
        (&event["resource"], &event["creator"], &event["parent"]["id"], &record["tenant"]),
        (&json!({"type": "card", "id": "new"}), &app("vic"), &json!("p1"), &json!("acme"))
    );
    // Another's is not his.
    makes("of-mo", &json!({"creator": "vic"}));
    assert_eq!(acme.answer("mo", "POST", "pipes/p1/cards").status, 201);
    acme.cannot("vic", "GET", "pipes/p1/cards/of-mo");
    // Who says that they made what somebody else made is not believed, and neither is the other from then on, until the
    // application says whose it is.
    makes("new", &json!({}));
    assert_eq!(acme.answer("mo", "POST", "pipes/p1/cards").status, 201);
    acme.cannot("vic", "GET", "pipes/p1/cards/new");
    acme.can("mo", "GET", "pipes/p1/cards/new");
    acme.card("new", "p1", Some("vic"), &[]);
    acme.can("vic", "GET", "pipes/p1/cards/new");
    // What support makes is nobody's.
    let level = json!({"level": "assist"});
    acme.api("PUT", "/v1/tenants/acme/consent", &acme.who("sue"), level).is(200);
    let sam = acme.agent_with("sam", &json!({"groups": ["support"]}));
    acme.enter("acme", &sam).is(201);
    assert_eq!(acme.reaches("POST", "/orgs/acme/pipes/p1/cards", &sam).unwrap_err(), "permission_missing");
    let head = "201 Created\r\nContent-Type: application/json";
    acme.world.upstream.answers("POST /orgs/acme/pipes/p1/cards/new/comments", head, r#"{"id":"k1"}"#);
    assert_eq!(acme.ask("POST", "/orgs/acme/pipes/p1/cards/new/comments", &sam).status, 201);
    let told = acme.get(&super::at("comment/k1"), &acme.provisioner()).is(200).body;
    assert_eq!((&told["creator"], &told["parent"]["id"]), (&Value::Null, &json!("new")));
    acme.0.finish();
}
