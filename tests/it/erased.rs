//! What tells who somebody is stands beside the part of a ledger that is proven: it comes back from there into a store
//! that is rebuilt, and where it was erased the ledger still verifies and the store gives less.

use std::sync::Arc;

use postern::{
    engine::{hooks::Step, new_id},
    lifecycle::{Command, Until, WantedBasis},
    model::{Document, GrantId, Grantee, Key, RoleName, Scope, SessionId, Span, join::narrowest},
};

use crate::{child::Child, client::Client, world::*};

const ANNA: &str = "anna@vendor.example";

fn grant_to(world: &World, address: &str) -> GrantId {
    let grant = GrantId::new(&new_id("gra", world.now()).unwrap()).unwrap();
    let command = Command::MakeGrant {
        tenant: tenant("acme"),
        grant: grant.clone(),
        environment: production(),
        to: Grantee::Email(Arc::from(address)),
        role: RoleName::new("editor").unwrap(),
        scope: Scope::Everything,
        until: Until::For(Span::CalendarDays(30)),
    };
    world.done(command, &world.people.admin("acme"));
    grant
}

fn enter(world: &World, grant: &GrantId, agent: &str) -> Result<SessionId, &'static str> {
    let session = SessionId::new(&new_id("ses", world.now()).unwrap()).unwrap();
    let command = Command::StartSession {
        tenant: tenant("acme"),
        session: session.clone(),
        environment: production(),
        basis: WantedBasis::Grant(grant.clone()),
        reason: "as agreed".to_owned(),
        ticket: None,
        lasts: None,
    };
    world.change(command, &world.people.staff(agent)).map(|_| session).map_err(|fault| fault.code())
}

fn stored(world: &World, grant: &GrantId) -> postern::model::Grant {
    let engine = world.gateway().engine();
    let key = Key::Grant(tenant("acme"), grant.clone());
    let found = block(engine.store().load(&[key])).unwrap().pop().unwrap().unwrap().unwrap();
    let Some(Document::Grant(grant)) = narrowest(&found, &engine.policy().ladder) else {
        panic!("{found:?}")
    };
    grant
}

fn rest(world: &mut World) {
    until("every intent has its outcome", || world.gateway().engine().journal().status().open_intents == 0);
    world.gateway.take().unwrap().stop();
}

/// Every line of the ledger as it stands on disk.
fn lines(world: &World) -> Vec<String> {
    let mut files: Vec<_> =
        std::fs::read_dir(world.ledger_dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    files
        .iter()
        .flat_map(|file| {
            std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

/// Takes `open` out of every line, as `docs/ledger-format.md` allows.
fn erase(world: &World) -> usize {
    let mut erased = 0;
    for entry in std::fs::read_dir(world.ledger_dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let mut less = String::new();
        for line in text.lines() {
            match line.split_once(",\"open\":") {
                Some((leaf, _)) => {
                    erased += 1;
                    less.push_str(leaf);
                    less.push_str("}\n");
                }
                None => {
                    less.push_str(line);
                    less.push('\n');
                }
            }
        }
        std::fs::write(&path, less).unwrap();
    }
    erased
}

/// The second verifier, in Python, finds nothing wrong.
fn python_agrees(world: &World) {
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit_verifier.py");
    let output = std::process::Command::new("python3")
        .arg(script)
        .arg(world.people.keys.ledger.to_text())
        .arg(world.ledger_dir())
        .output()
        .expect("python3 is needed to run the second verifier; install it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn addresses_are_found_wherever_they_stand() {
    let found = |value: serde_json::Value| address_in(&value).unwrap_or_default();
    assert_eq!(found(serde_json::json!({"a": [{"b": "to anna@vendor.example now"}]})), ANNA);
    assert_eq!(found(serde_json::json!({"path": ANNA, "salt": "grant/acme/g@1764"})), "");
}

#[test]
fn an_address_stands_beside_the_proof_and_comes_back_from_there() {
    let mut world = World::start();
    let (unused, used) = (grant_to(&world, ANNA), grant_to(&world, "ben@vendor.example"));
    enter(&world, &used, "ben").unwrap();
    let before = [stored(&world, &unused), stored(&world, &used)];
    rest(&mut world);
    assert!(lines(&world).iter().any(|line| line.contains(ANNA)), "it is there, where it can be erased");
    // `prove` finds it in no proven part.
    world.prove();
    python_agrees(&world);
    std::fs::remove_file(world.data.join("state.redb")).unwrap();
    world.up();
    assert_eq!([stored(&world, &unused), stored(&world, &used)], before);
    assert_eq!(enter(&world, &unused, "carl"), Err("not_found"), "it is hers alone");
    enter(&world, &unused, "anna").unwrap();
    assert_eq!(enter(&world, &used, "anna"), Err("not_found"));
    world.finish();
}

#[test]
fn where_addresses_were_erased_the_ledger_verifies_and_the_rebuilt_store_gives_less() {
    let mut world = World::start();
    let (unused, used) = (grant_to(&world, ANNA), grant_to(&world, "ben@vendor.example"));
    enter(&world, &used, "ben").unwrap();
    rest(&mut world);
    assert!(erase(&world) > 4);
    assert!(
        lines(&world).iter().all(|line| !line.contains("vendor.example\"")),
        "nothing is left of anybody"
    );
    world.prove();
    python_agrees(&world);
    std::fs::remove_file(world.data.join("state.redb")).unwrap();
    world.up();
    assert_eq!(stored(&world, &unused).to, Grantee::Erased);
    for agent in ["anna", "ben", "carl"] {
        assert_eq!(enter(&world, &unused, agent), Err("not_found"), "{agent}: nobody had used it");
    }
    // Whoever was the first keeps it; nobody else is found by any address.
    enter(&world, &used, "ben").unwrap();
    assert_eq!(enter(&world, &used, "anna"), Err("not_found"));
    let seen = world.ask(
        "GET",
        &format!("/_postern/v1/tenants/acme/grants/{unused}"),
        &world.people.admin("acme"),
        "",
    );
    assert!(seen.text().contains("\"to\":\"erased\""), "{}", seen.text());
    world.finish();
}

#[test]
fn what_was_put_in_the_place_of_an_address_is_taken_for_nothing() {
    let mut world = World::start();
    let grant = grant_to(&world, ANNA);
    rest(&mut world);
    let first = world.ledger_dir().join("00000001.jsonl");
    let text = std::fs::read_to_string(&first).unwrap();
    assert!(text.contains(ANNA));
    std::fs::write(&first, text.replace(ANNA, "evil@vendor.example")).unwrap();
    std::fs::remove_file(world.data.join("state.redb")).unwrap();
    let fault = world.try_up().unwrap_err().to_string();
    assert!(fault.contains("does not verify"), "{fault}");
    // What reads it without verifying all of it does not believe it either.
    let mut records = postern::audit::read::Records::open(&world.ledger_dir()).unwrap();
    let mut seen = 0;
    while let Some(documents) =
        records.next(|line, _, _| postern::engine::documents_in(line).unwrap()).unwrap()
    {
        for (key, stored) in documents {
            if key == Key::Grant(tenant("acme"), grant.clone()) {
                let Document::Grant(found) = &stored.heads[0].document else { panic!("{stored:?}") };
                assert_eq!(found.to, Grantee::Erased);
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 1);
}

// GW-04
#[test]
fn a_withdrawal_killed_between_record_and_store_is_carried_on_with_its_address_or_without() {
    for erased in [false, true] {
        let mut world = World::start();
        let grant = grant_to(&world, ANNA);
        let admin = world.people.admin("acme");
        rest(&mut world);
        let mut child = Child::start(&world, Some(Step::ChangeRecorded), "die");
        child.tell("arm");
        child.hear("armed");
        let mut client = Client::connect(child.address);
        client.send(request("DELETE", &format!("/_postern/v1/tenants/acme/grants/{grant}"), &admin, ""));
        assert_ne!(client.more(), crate::client::Ending::Open, "nothing is answered");
        child.gone();
        if erased {
            erase(&world);
        }
        world.up();
        until("what was recorded is carried on", || world.gateway().engine().pending() == 0);
        let found = stored(&world, &grant);
        assert!(found.ended.is_some(), "{found:?}");
        let wanted = if erased { Grantee::Erased } else { Grantee::Email(ANNA.into()) };
        assert_eq!(found.to, wanted);
        world.finish();
    }
}

/// Ledgers of earlier builds hold the address in the document itself.
#[test]
fn documents_with_an_address_in_them_are_still_read() {
    let stored =
        r#"{"format":1,"version":{"epoch":0,"number":1},"changes":["chg_1"],"heads":[{"change":"chg_1",
        "document":{"grant":{"environment":"production","to":{"email":"anna@vendor.example"},"role":"editor",
        "scope":"everything","grantor":{"issuer":"app","sub":"acme-admin"},"given":"2026-01-01T00:00:00.000Z",
        "until":"2026-02-01T00:00:00.000Z"}}}]}"#
            .replace("\n        ", "");
    let key = r#"{"grant":["acme","gra_1"]}"#;
    let zeros = "0".repeat(64);
    let line = format!(
        r#"{{"v":1,"log":"l","seq":0,"batch":0,"at":"2026-01-01T00:00:00.000Z","kind":"change.outcome","prev":"{zeros}","change":"chg_1","outcome":"stored","documents":[[{key},{stored}]]}}"#
    );
    let line = postern::audit::record::parse(line.as_bytes()).unwrap();
    let documents = postern::engine::documents_in(&line).unwrap();
    let Document::Grant(grant) = &documents[0].1.heads[0].document else { panic!("{documents:?}") };
    assert_eq!(grant.to, Grantee::Email(ANNA.into()));
}
