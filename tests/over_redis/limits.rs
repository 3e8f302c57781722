//! What must hold over all gateways of a fleet: how often an operator tries to break the glass, and that what bears one key is made once.

use std::time::{Duration, Instant};

use postern::engine::hooks::Hooks;
use serde_json::{Value, json};

use crate::{client::Reply, rig::Fleet, world::*};

const GLASS: (&str, &str) = (
    "tenants:\n  from",
    "break_glass: { operators: [{ issuer: vendor, sub: olga }, { issuer: vendor, sub: otto }], role: admin, attempts: 4 }\ntenants:\n  from",
);

/// A machine that does much else is no store that does not answer.
const PATIENT: (&str, &str) = ("redis: { url:", "redis: { timeout: 2s, url:");

fn post(world: &World, path: &str, body: &Value, token: &str, more: &str) -> Reply {
    let body = body.to_string();
    let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\n{more}", body.len());
    let mut client = world.client();
    client.send(request("POST", &format!("/_postern/v1{path}"), token, &head) + &body);
    client.reply_to(false)
}

fn enter(world: &World, tenant: &str, token: &str) -> Reply {
    let body = json!({"environment": "production", "reason": "all is lost", "incident": "INC-4711", "cause": "integrity"});
    post(world, &format!("/tenants/{tenant}/break-glass"), &body, token, "")
}

fn told(reply: &Reply) -> (u16, String) {
    (reply.status, reply.code())
}

fn said(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn attempts_at_break_glass_count_over_all_gateways_together() {
    let fleet = Fleet::edited(3, "", &[GLASS, PATIENT], |_| Hooks::default());
    let [a, b, c] = &fleet.gateways[..] else { panic!() };
    let olga = a.people.staff("olga");
    for gateway in [a, b, c, a] {
        assert_eq!(told(&enter(gateway, "nowhere", &olga)), said(404, "not_found"));
    }
    for gateway in [a, b, c] {
        let refused = enter(gateway, "acme", &olga);
        assert_eq!(told(&refused), said(429, "too_many_attempts"));
        let after: u32 = refused.values("retry-after")[0].parse().unwrap();
        assert!((3_500..=3_601).contains(&after), "{after}");
    }
    // Each operator has their own.
    assert_eq!(enter(b, "acme", &a.people.staff("otto")).status, 201);
    fleet.finish();
}

/// A store that stands still takes nobody's attempts away, holds nobody up for long, and the own count bounds on.
#[test]
fn what_the_store_could_not_do_is_no_attempt_and_the_own_count_bounds_without_it() {
    let fleet = Fleet::edited(2, "", &[GLASS, PATIENT], |_| Hooks::default());
    let [a, b] = &fleet.gateways[..] else { panic!() };
    let (olga, otto) = (a.people.staff("olga"), a.people.staff("otto"));
    for _ in 0..3 {
        assert_eq!(told(&enter(a, "nowhere", &otto)), said(404, "not_found"));
    }
    fleet.redis.freeze();
    for _ in 0..5 {
        let begun = Instant::now();
        let reply = enter(a, "globex", &olga);
        assert_eq!(reply.status, 503, "{}", reply.text());
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
    fleet.redis.thaw();
    let admin = a.people.admin("acme");
    for (gateway, level) in [(a, "full"), (b, "edit")] {
        until("the store is back", || gateway.change(World::consent("acme", level), &admin).is_ok());
    }
    // None of the five counts, neither here nor there; what another gateway heard of counts on.
    assert_eq!(enter(b, "globex", &olga).status, 201);
    assert_eq!(told(&enter(a, "nowhere", &olga)), said(404, "not_found"));
    assert_eq!(told(&enter(b, "nowhere", &otto)), said(404, "not_found"));
    for gateway in [a, b] {
        assert_eq!(told(&enter(gateway, "nowhere", &otto)), said(429, "too_many_attempts"));
    }
    fleet.finish();
}

#[test]
fn what_bears_one_key_is_made_once_whichever_gateway_hears_of_it() {
    let fleet = Fleet::start(2);
    let [a, b] = &fleet.gateways[..] else { panic!() };
    let admin = a.people.admin("acme");
    let grant = json!({"environment": "production", "to": "support", "role": "editor", "scope": "everything", "for": "10d"});
    let make = |gateway: &World, key: &str| {
        post(gateway, "/tenants/acme/grants", &grant, &admin, &format!("Idempotency-Key: \"{key}\"\r\n"))
    };
    let id = |reply: &Reply| -> String {
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        body["grant"]["id"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
    };
    let first = make(a, "8e03978e-40d5-43e8-bc93-6894a57f9324");
    let again = make(b, "8e03978e-40d5-43e8-bc93-6894a57f9324");
    assert_eq!((first.status, again.status, id(&first)), (201, 201, id(&again)), "{}", again.text());
    assert_eq!(again.values("idempotent-replayed"), ["true"]);
    // At the same time at both, several times.
    for round in 0..5 {
        let key = format!("at-once-{round}");
        let both: Vec<Reply> = std::thread::scope(|scope| {
            let made = [a, b].map(|gateway| scope.spawn(|| make(gateway, &key)));
            made.map(|made| made.join().unwrap()).into()
        });
        let made: Vec<String> = both.iter().filter(|reply| reply.status == 201).map(id).collect();
        assert!(!made.is_empty() && made.iter().all(|one| *one == made[0]), "{made:?}");
        for reply in both.iter().filter(|reply| reply.status != 201) {
            // Who is told to come again finds what the other one made.
            assert_eq!(told(reply), said(503, "contended"));
            assert_eq!(id(&make(b, &key)), made[0]);
        }
    }
    let listed = a.get("/_postern/v1/tenants/acme/grants?state=all", &admin);
    let listed: Value = serde_json::from_slice(&listed.body).unwrap();
    assert_eq!(listed["items"].as_array().unwrap().len(), 6, "{listed}");
    fleet.finish();
}
