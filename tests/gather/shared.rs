//! Gateways that share a store in Redis find each other in it.

use serde_json::{Value, json};

use crate::{servers::Server, stage::Fleet, world::until};

fn names(page: &Value) -> Vec<&str> {
    let mut names: Vec<&str> =
        page["ledgers"].as_array().unwrap().iter().filter_map(|ledger| ledger["gateway"].as_str()).collect();
    names.sort_unstable();
    names
}

#[test]
fn who_the_others_are_stands_in_the_store_and_stays_there() {
    let redis = Server::start(&[]);
    let fleet = Fleet::new();
    let admin = fleet.people().admin("acme");
    let one = fleet.one_on(redis.port, "gw1", true);
    let mut two = fleet.one_on(redis.port, "gw2", false);
    for asked in [&one, &two] {
        until("both ledgers are read", || names(&asked.page("", &admin)) == ["gw1", "gw2"]);
        assert_eq!(asked.page("", &admin)["missing"], json!([]));
    }
    // What one gateway recorded is read at the other.
    one.consent(fleet.people(), "acme", "full");
    let told = |page: &Value| page["items"].to_string().contains("consent_changed");
    until("it is read at the other", || told(&two.page("", &admin)));
    two.stop();
    let page = one.page("", &admin);
    assert_eq!(
        (names(&page), &page["missing"], &page["complete"]),
        (vec!["gw1"], &json!(["gw2"]), &json!(false))
    );
    // Who starts while the store is gone does not know who there is, and says so.
    drop(redis);
    let page = one.page("", &admin);
    assert_eq!(page["missing"], json!(["gw2"]), "who was known is known still");
}
