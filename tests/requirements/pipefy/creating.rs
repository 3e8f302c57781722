//! PFC: what follows from making a pipe or a database, and only from having made it.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::{Acme, acme, acme_with, app, at};
use crate::{
    client::{Client, Ending},
    world::{request, until},
};

const MADE: &str = "201 Created\r\nContent-Type: application/json";

/// The application makes what it is asked to, and says that it is called so.
fn makes(acme: &Acme, what: &str, id: &str) {
    acme.world.upstream.answers(
        &format!("POST /orgs/acme/{what}"),
        MADE,
        &format!(r#"{{"id":"{id}","name":"Purchases"}}"#),
    );
}

/// What somebody is in the company.
#[track_caller]
fn is(acme: &Acme, sub: &str) -> Value {
    acme.get("/v1/tenants/acme/rights?environment=production", &acme.who(sub)).is(200).body["roles"].clone()
}

/// The events of the change that a thing was learned in.
fn learned(acme: &Acme, id: &str) -> Vec<Value> {
    let all = acme.events("resource_learned");
    let (_, record) = all.iter().find(|(event, _)| event["resource"]["id"] == id).unwrap();
    record["events"].as_array().unwrap().clone()
}

#[test]
fn pfc_07_a_guest_who_makes_a_pipe_where_the_company_lets_them_becomes_a_member_and_that_is_recorded() {
    let acme = acme();
    makes(&acme, "pipes", "p7");
    acme.cannot("gus", "POST", "pipes");
    acme.adjust("sue", "company_guest", &["pipes:create"]).is(200);
    assert_eq!((is(&acme, "gus"), acme.seats()), (json!(["company_guest"]), 5));
    let made = acme.answer("gus", "POST", "pipes");
    assert_eq!(made.status, 201, "{}", made.text());
    // With the answer: a member, who takes a seat, and the admin of that pipe.
    assert_eq!((is(&acme, "gus"), acme.seats()), (json!(["member"]), 6));
    acme.can("gus", "POST", "reports");
    acme.can("gus", "PUT", "pipes/p7/settings");
    acme.cannot("gus", "GET", "pipes/p1");
    let (gus, pipe) = (app("gus"), json!({"type": "pipe", "id": "p7"}));
    let intents = acme.world.of_kind("access.intent");
    let intent = intents.iter().find(|intent| intent["subject"]["sub"] == "gus").unwrap();
    let exchange = &intent["exchange"];
    assert_eq!(
        learned(&acme, "p7"),
        [
            json!({"event": "resource_learned", "resource": pipe, "exchange": exchange, "creator": gus}),
            json!({"event": "member_became", "member": gus, "roles": ["member"], "was": ["company_guest"],
                "exchange": exchange}),
            json!({"event": "seats_changed", "from": 5, "to": 6}),
            json!({"event": "resource_joined", "resource": pipe, "member": gus, "role": "pipe_admin"}),
        ]
    );
    // Also where members make none: what she made is answered whole, and she makes no other.
    acme.adjust("sue", "member", &["company_reports:create"]).is(200);
    acme.row("gina", &["company_guest"]).is(200);
    makes(&acme, "pipes", "p9");
    let made = acme.answer("gina", "POST", "pipes");
    assert_eq!((made.status, made.text().as_str()), (201, r#"{"id":"p9","name":"Purchases"}"#));
    assert_eq!(is(&acme, "gina"), json!(["member"]));
    let outcome = acme.world.last_outcome();
    assert_eq!((&outcome["end"], &outcome["effect"]), (&json!("complete"), &json!("done")));
    acme.can("gina", "PUT", "pipes/p9/settings");
    acme.cannot("gina", "POST", "pipes");
    // Who is no guest stays what they are; an external guest makes none.
    makes(&acme, "pipes", "p8");
    assert_eq!(acme.answer("adam", "POST", "pipes").status, 201);
    assert_eq!(is(&acme, "adam"), json!(["admin"]));
    acme.cannot("xena", "POST", "pipes");
    acme.0.finish();
}

#[test]
fn pfc_18_who_makes_a_pipe_or_database_is_its_admin_once_it_is_made() {
    let acme = acme();
    acme.adjust("sue", "company_guest", &["pipes:create"]).is(200);
    // The application makes nothing: nobody is anything by that.
    for status in ["409 Conflict", "422 Unprocessable", "500 Oops", "202 Accepted"] {
        acme.world.upstream.answers("POST /orgs/acme/pipes", status, "");
        assert_eq!(acme.answer("gus", "POST", "pipes").status.to_string(), status[..3]);
    }
    // Nobody hears what it did: shown as open, and nobody becomes anything.
    let lost = acme.ask("POST", "/orgs/acme/databases?do=hang-up", &acme.who("mia"));
    assert_eq!(lost.status, 502);
    let outcome = acme.world.last_outcome();
    assert_eq!((&outcome["end"], &outcome["effect"]), (&json!("upstream_failed"), &json!("open")));
    assert_eq!((is(&acme, "gus"), acme.seats()), (json!(["company_guest"]), 5));
    assert!(acme.events("resource_learned").is_empty() && acme.events("member_became").is_empty());

    for (sub, what, id, role, settings) in [
        ("mia", "pipes", "p7", "pipe_admin", "pipes/p7/settings"),
        ("max", "databases", "d7", "database_admin", "databases/d7/settings"),
        ("sue", "databases", "d8", "database_admin", "databases/d8/settings"),
    ] {
        acme.cannot(sub, "PUT", settings);
        makes(&acme, what, id);
        assert_eq!(acme.answer(sub, "POST", what).status, 201);
        acme.can(sub, "PUT", settings);
        acme.cannot("moe", "PUT", settings);
        let kind = what.strip_suffix('s').unwrap();
        let resource = format!("{kind}/{id}");
        assert_eq!(acme.members(&acme.who(sub), &resource), [(sub.to_owned(), role.to_owned())]);
        assert_eq!(acme.get(&at(&resource), &acme.provisioner()).is(200).body["visibility"], "private");
        let events = learned(&acme, id);
        let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(names, ["resource_learned", "resource_joined"]);
    }
    // That it says so again to somebody else makes them nothing there.
    makes(&acme, "pipes", "p7");
    assert_eq!(acme.answer("max", "POST", "pipes").status, 201);
    acme.cannot("max", "PUT", "pipes/p7/settings");
    acme.0.finish();
}

#[test]
fn pfc_18_an_outcome_that_was_lost_in_a_crash_is_shown_as_open_and_changes_nobody() {
    let wall = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let mut acme = acme_with(wall, &[]);
    acme.adjust("sue", "company_guest", &["pipes:create"]).is(200);
    let gus = acme.who("gus");
    // The same state, served by a process of its own, which is killed while the application has the request in hand.
    acme.0.world.gateway.take().unwrap().stop();
    let file = acme.0.world.data.join("postern.yaml");
    std::fs::write(&file, acme.0.world.configuration()).unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_postern"))
        .args(["run", "--watch", "0", "--log-level", "error", "--config"])
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    let address = line.trim().rsplit('/').next().unwrap().parse().unwrap();
    let mut client = Client::connect(address);
    client.send(request("POST", "/orgs/acme/pipes?do=stall", &gus, "Content-Length: 0\r\n"));
    until("the application has it", || {
        acme.0.world.upstream.seen().iter().any(|seen| seen.line().contains("do=stall"))
    });
    process.kill().unwrap();
    process.wait().unwrap();
    assert_ne!(client.more(), Ending::Open);
    acme.0.clock.set(wall + 60_000);
    acme.0.world.up();
    let outcome = acme.world.last_outcome();
    assert_eq!(
        (&outcome["end"], &outcome["fault"], &outcome["effect"]),
        (&json!("unknown"), &json!("gateway_stopped"), &json!("open")),
        "{outcome}"
    );
    assert_eq!((is(&acme, "gus"), acme.seats()), (json!(["company_guest"]), 5));
    assert!(acme.events("resource_learned").is_empty() && acme.events("member_became").is_empty());
    // What was made after all the application says, and what he then is.
    acme.push("pipe/p7", json!({"creator": app("gus")})).is(200);
    acme.row("gus", &["member"]).is(200);
    acme.put("pipe/p7", "gus", "pipe_admin").is(200);
    acme.can("gus", "PUT", "pipes/p7/settings");
    acme.0.finish();
}
