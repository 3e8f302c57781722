//! Pages of a tenant's record from all ledgers: whole, in order, resumed at any gateway, and honest about who is missing.

use std::time::{Duration, Instant};

use postern::{
    audit::{Body, Draft},
    engine::new_id,
    lifecycle::{Command, Until, WantedBasis},
    model::{GrantId, Grantee, RoleName, Scope, SessionId, Span, Timestamp},
};
use serde_json::{Value, json};

use crate::{
    fake::deaf,
    stage::*,
    vouched::Authority,
    world::{block, production, tenant},
};

/// Three gateways at which `acme` and another tenant were busy in turns.
fn three() -> (Fleet, [One; 3]) {
    let fleet = Fleet::new();
    let all = ["gw1", "gw2", "gw3"].map(|name| fleet.one(name));
    for (round, level) in ["full", "block", "edit", "read_only"].iter().enumerate() {
        for one in &all {
            one.consent(fleet.people(), "acme", level);
            if round % 2 == 0 {
                one.consent(fleet.people(), "globex", level);
            }
        }
    }
    (fleet, all)
}

/// By time, then ledger, then place; within a ledger by place.
fn in_order(items: &[Value]) -> bool {
    let key = |item: &Value| {
        let at = item["record"]["at"].as_str().unwrap().to_owned();
        (at, place(item).0, place(item).1)
    };
    items.iter().map(key).collect::<Vec<_>>().is_sorted()
}

/// What each ledger alone holds of the tenant, in no order.
fn alone(all: &[&One], token: &str) -> Vec<(String, u64)> {
    let mut places = Vec::new();
    for one in all {
        for item in one.all("&ledger=own", token).0 {
            assert_eq!(item["record"]["log"], log_of(&one.name));
            places.push((log_of(&one.name), item["seq"].as_u64().unwrap()));
        }
    }
    places.sort();
    places
}

// GW-11
#[test]
fn what_a_tenant_reads_holds_what_all_gateways_recorded() {
    let (fleet, all) = three();
    let admin = fleet.people().admin("acme");
    let [one, two, three] = &all;
    let whole = one.page("?limit=200", &admin);
    let items = whole["items"].as_array().unwrap();
    assert!(in_order(items) && items.len() > 24, "{}", items.len());
    assert!(items.iter().all(|item| item["record"]["tenant"] == "acme"));
    let ledgers: Vec<_> = whole["ledgers"].as_array().unwrap().iter().map(|l| l["gateway"].clone()).collect();
    assert_eq!((ledgers, &whole["missing"]), (vec![json!("gw1"), json!("gw2"), json!("gw3")], &json!([])));
    assert_eq!((&whole["complete"], &whole["log"]), (&json!(true), &json!("example.com/gw1")));
    let mut places: Vec<_> = items.iter().map(place).collect();
    places.sort();
    assert_eq!(places, alone(&[one, two, three], &admin));
    // Page by page, and each page at another gateway, it is the same in the same order.
    for limit in [1, 4, 7] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        for asked in all.iter().cycle().take(200) {
            let page = asked.page(&format!("?limit={limit}{after}"), &admin);
            seen.extend(page["items"].as_array().unwrap().iter().cloned());
            after = format!("&after={}", page["next"].as_str().unwrap());
            if page["complete"] == true {
                break;
            }
        }
        assert_eq!(&seen, items, "{limit} at a time");
    }
    // Narrowed as one ledger is.
    for query in ["&kind=change.outcome", "&since=2031-01-01T00:00:00Z"] {
        let kept = one.all(query, &admin).0;
        let wanted = |item: &&Value| query.contains("kind") && item["record"]["kind"] == "change.outcome";
        assert_eq!(kept.iter().collect::<Vec<_>>(), items.iter().filter(wanted).collect::<Vec<_>>());
    }
    // Alone it is as without a fleet.
    let own = one.page("?ledger=own", &admin);
    assert!(own.get("ledgers").is_none() && own.get("missing").is_none(), "{own}");
    assert!(own["items"][0].get("log").is_none());
    for bad in ["?ledger=all", "?ledger=", "?ledger=own&ledger=own"] {
        assert_eq!(one.ask("GET", &format!("{AUDIT}{bad}"), &admin, "").code(), "query_malformed", "{bad}");
    }
    assert!(one.metric("postern_fleet_answers_total{gateway=\"gw2\",what=\"answered\"}") > 0);
    assert!(two.metric("postern_fleet_asked_total{what=\"served\"}") > 0);
}

// GW-11
#[test]
fn a_gateway_that_stopped_is_named_and_its_part_comes_when_it_is_back() {
    let (fleet, [one, two, mut three]) = three();
    let admin = fleet.people().admin("acme");
    let (before, after) = one.all("", &admin);
    for one in [&one, &three] {
        one.consent(fleet.people(), "acme", "full");
    }
    let written = three.all("&ledger=own", &admin).0;
    three.stop();
    let page = one.page(&format!("?limit=200{after}"), &admin);
    assert_eq!((&page["missing"], &page["complete"]), (&json!(["gw3"]), &json!(false)));
    assert_eq!(page["ledgers"].as_array().unwrap().len(), 2);
    let items = page["items"].as_array().unwrap();
    assert!(!items.is_empty() && items.iter().all(|item| item["log"] == "example.com/gw1"), "{page:#}");
    assert!(one.metric("postern_fleet_answers_total{gateway=\"gw3\",what=\"connect\"}") > 0);
    // Read from the beginning nothing of it is there either, and nothing pretends that it was.
    let part = two.page("?limit=200", &admin);
    assert_eq!(part["missing"], json!(["gw3"]));
    fleet.up(&mut three);
    let back = two.page(&format!("?limit=200&after={}", page["next"].as_str().unwrap()), &admin);
    assert_eq!((&back["missing"], &back["complete"]), (&json!([]), &json!(true)));
    let came: Vec<_> = back["items"].as_array().unwrap().iter().map(place).collect();
    let known: Vec<_> = before.iter().map(place).collect();
    let missed = written.iter().map(|item| ("example.com/gw3".to_owned(), item["seq"].as_u64().unwrap()));
    let missed: Vec<_> = missed.filter(|place| !known.contains(place)).collect();
    assert!(!missed.is_empty() && came.starts_with(&missed), "{came:?} {missed:?}");
    assert!(came.iter().all(|place| !known.contains(place)), "nothing comes twice");
    // One that an operator has retired is asked no more, and a place in its ledger is in nobody's way.
    three.stop();
    fleet.known.retire("gw3");
    let page = one.page(&format!("?limit=200&after={}", back["next"].as_str().unwrap()), &admin);
    assert_eq!((&page["missing"], &page["complete"]), (&json!([]), &json!(true)));
    // That there was one is told for good.
    let gone = json!([{"gateway": "gw3", "at": "1970-01-01T00:00:00.007Z", "archive": "s3://ledgers/gw3"}]);
    assert_eq!(page["retired"], gone);
    assert!(before.iter().all(|item| item.get("retired").is_none()));
}

#[test]
fn whoever_hangs_holds_up_nobody_beyond_the_time() {
    let mut fleet = Fleet::new();
    fleet.timeout_ms = 400;
    let [one, two] = ["gw1", "gw2"].map(|name| fleet.one(name));
    two.consent(fleet.people(), "acme", "full");
    // One that takes connections and says nothing, one that not even does that.
    let (_deaf, address) = deaf();
    fleet.known.name("gw3", address);
    let silent = crate::fake::fake(fleet.sides().0, std::sync::Arc::new(|_, _| None));
    fleet.known.name("gw4", silent.address);
    let admin = fleet.people().admin("acme");
    one.page("?limit=200", &admin);
    let begun = Instant::now();
    let page = one.page("?limit=200", &admin);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(390) && took < Duration::from_secs(3), "{took:?}");
    assert_eq!(page["missing"], json!(["gw3", "gw4"]));
    assert!(page["items"].as_array().unwrap().iter().any(|item| item["log"] == "example.com/gw2"));
    for name in ["gw3", "gw4"] {
        assert!(one.metric(&format!("postern_fleet_answers_total{{gateway=\"{name}\",what=\"slow\"}}")) >= 2);
    }
}

#[test]
fn a_session_by_a_grant_is_known_at_gateways_that_never_heard_whose_it_is() {
    let fleet = Fleet::new();
    let [one, two, three] = ["gw1", "gw2", "gw3"].map(|name| fleet.one(name));
    let people = fleet.people();
    let admin = people.admin("acme");
    let now = Timestamp::from_ms(people.now_ms());
    let id = |kind: &str| new_id(kind, now).unwrap();
    let (grant, other) = (GrantId::new(&id("gra")).unwrap(), GrantId::new(&id("gra")).unwrap());
    let engine = one.gateway().engine();
    for grant in [&grant, &other] {
        let command = Command::MakeGrant {
            tenant: tenant("acme"),
            grant: grant.clone(),
            environment: production(),
            to: Grantee::Support,
            role: RoleName::new("editor").unwrap(),
            scope: Scope::Everything,
            until: Until::For(Span::CalendarDays(3)),
        };
        block(engine.change(command, people.giver(&admin))).unwrap();
    }
    let start = |grant: &GrantId| {
        let session = SessionId::new(&id("ses")).unwrap();
        let command = Command::StartSession {
            tenant: tenant("acme"),
            session: session.clone(),
            environment: production(),
            basis: WantedBasis::Grant(grant.clone()),
            reason: "as agreed".to_owned(),
            ticket: None,
            lasts: None,
        };
        block(engine.change(command, people.giver(&people.staff("sam")))).unwrap();
        session
    };
    let (session, elsewhere) = (start(&grant), start(&other));
    // At another gateway something is recorded of both, which names no grant.
    let journal = two.gateway().engine().journal();
    for session in [&session, &elsewhere] {
        let body = Body::of(&json!({"tenant": "acme", "what": "something of that session"})).unwrap();
        let draft = Draft { session: Some(session.to_string()), ..Draft::new("test.note", now.ms(), body) };
        journal.append_blocking(draft).unwrap();
    }
    for asked in [&one, &two, &three] {
        let items = asked.all(&format!("&grant={grant}"), &admin).0;
        let of = |log: &str| items.iter().filter(|item| item["log"] == log).collect::<Vec<_>>();
        assert!(of("example.com/gw1").len() >= 3, "{items:#?}");
        let there = of("example.com/gw2");
        assert_eq!(there.len(), 1, "{there:#?}");
        assert_eq!(there[0]["record"]["session"], json!(session.as_str()));
    }
}

#[test]
fn certificates_are_changed_while_everything_runs() {
    let fleet = Fleet::new();
    let [one, two] = ["gw1", "gw2"].map(|name| fleet.one(name));
    let admin = fleet.people().admin("acme");
    assert_eq!(one.page("", &admin)["missing"], json!([]));
    let next = Authority::new();
    let sides = || sides(&next.sign(&["127.0.0.1"]), &next.certificate.pem());
    one.gateway().apply(fleet.settings(&one, sides())).unwrap();
    // A connection that was kept is not used again under another authority.
    assert_eq!(one.page("", &admin)["missing"], json!(["gw2"]));
    assert!(one.metric("postern_fleet_answers_total{gateway=\"gw2\",what=\"tls\"}") > 0);
    two.gateway().apply(fleet.settings(&two, sides())).unwrap();
    for asked in [&one, &two] {
        assert_eq!(asked.page("", &admin)["missing"], json!([]));
    }
    // Where a gateway is asked is for a start to say.
    let mut settings = fleet.settings(&one, sides());
    settings.fleet.as_mut().unwrap().address = "127.0.0.1:2".to_owned();
    assert!(one.gateway().apply(settings).unwrap_err().to_string().contains("`fleet`"));
    let mut settings = fleet.settings(&one, sides());
    settings.fleet = None;
    assert!(one.gateway().apply(settings).unwrap_err().to_string().contains("`fleet`"));
}
