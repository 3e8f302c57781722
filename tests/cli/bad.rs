//! What is missing, there already, or damaged: told in a line, and nothing is lost.

use std::fs;

use super::*;

const INIT: &[&str] = &["state", "init", "--config", "postern.yaml"];
const RUN: &[&str] = &["run", "--config", "postern.yaml"];

#[test]
fn a_gateway_without_a_beginning_does_not_make_one() {
    let place = Place::new();
    place.run(RUN).fails_saying("`postern state init` begins both");
    assert!(!place.file("state.redb").exists() && !place.file("ledger").exists());
}

#[test]
fn a_store_begins_once() {
    let place = Place::new();
    assert!(place.run(INIT).with(0).contains("an empty store begins at"));
    assert!(!place.file("ledger").exists());
    let before = fs::read(place.file("state.redb")).unwrap();
    place.run(INIT).fails_saying("exists already");
    assert_eq!(fs::read(place.file("state.redb")).unwrap(), before);
}

#[test]
fn what_runs_each_time_begins_a_store_once_and_never_makes_a_lost_one_empty() {
    let place = Place::new();
    let each_time = &[INIT, &["--if-none"]].concat();
    assert!(place.run(each_time).with(0).contains("an empty store begins at"));
    let before = fs::read(place.file("state.redb")).unwrap();
    let said = place.run(each_time).with(0);
    assert!(said.starts_with("nothing is begun: ") && said.contains("exists already"), "{said}");
    assert_eq!(fs::read(place.file("state.redb")).unwrap(), before);
    // A store that is gone beside its ledger is no beginning.
    assert_eq!(Running::start(&place, &[]).stop(), 0);
    fs::remove_file(place.file("state.redb")).unwrap();
    assert!(place.run(each_time).with(0).contains("nothing is begun: there is a ledger at"));
    assert!(!place.file("state.redb").exists());
    // What is no answer to the question stays a fault.
    fs::remove_file(place.file("ledger.key")).unwrap();
    place.run(each_time).fails_saying("ledger.key");
}

#[test]
fn a_store_is_not_begun_beside_a_ledger_but_rebuilt_from_it() {
    let place = Place::begun();
    assert_eq!(Running::start(&place, &[]).stop(), 0);
    place.run(INIT).fails_saying("exists already");
    fs::remove_file(place.file("state.redb")).unwrap();
    let came = place.run(INIT);
    assert!(!came.err.contains("does not verify"), "nothing was verified: {}", came.err);
    came.fails_saying("there is a ledger at");
    assert!(!place.file("state.redb").exists());
    assert_eq!(Running::start(&place, &[]).stop(), 0);
    assert!(fs::read_to_string(place.file("run.err")).unwrap().contains("rebuilt from the ledger"));
}

#[test]
fn what_is_rebuilt_is_a_store_in_redis_from_ledgers_with_their_keys() {
    let place = Place::begun();
    let rebuild = ["state", "rebuild", "--config", "postern.yaml"];
    place.run(&rebuild).fails_saying("rebuilt from its ledger by `postern run`");
    place.run(&[&rebuild[..], &["--ledger", "elsewhere"]].concat()).fails_saying("write `DIR=KEY`");
    place.run(&[&rebuild[..], &["--ledger", "elsewhere=none"]].concat()).fails_saying("`none`");
    place.configure(
        "state: { path: state.redb }",
        "state: { redis: { url: \"redis://127.0.0.1:1\" }, shadow: shadow.redb }",
    );
    place.run(&rebuild).fails_saying("the ledgers have no changes");
    assert!(!place.file("shadow.redb").exists());
}

#[test]
fn files_that_are_missing_or_no_such_thing_are_named() {
    let place = Place::begun();
    place.run(&["check", "--config", "none.yaml"]).fails_saying("none.yaml: error[unreadable]");
    place.run(&["audit", "verify", "none", "--key", "ledger.pub"]).fails_saying("`none`");
    place.run(&["audit", "verify", "ledger", "--key", "none"]).fails_saying("`none`");
    place.run(&["audit", "verify", "ledger", "--key", "ledger.key"]).fails_saying("not a verifying key");
    place.run(&["audit", "query", "none"]).fails_saying("`none`");
    let mint = ["token", "mint", "--issuer", "i", "--audience", "a", "--subject", "s", "--key"];
    place.run(&[&mint[..], &["none.pem"]].concat()).fails_saying("`none.pem`");
    place.run(&[&mint[..], &["postern.yaml"]].concat()).fails_saying("PKCS#8");
    fs::remove_file(place.file("ledger.key")).unwrap();
    place.run(RUN).fails_saying("error[secret_unreadable]");
    assert!(!place.file("ledger").exists());
}

#[test]
fn a_damaged_store_is_told_and_left_alone() {
    let place = Place::begun();
    fs::write(place.file("state.redb"), b"this is no store").unwrap();
    let came = place.run(RUN);
    assert_eq!((came.status, came.out.as_str()), (1, ""));
    assert!(came.err.starts_with("error: ") && came.err.contains("state.redb"), "{}", came.err);
    assert_eq!(fs::read(place.file("state.redb")).unwrap(), b"this is no store");
}

#[test]
fn check_tells_of_webhooks_and_nothing_that_is_secret() {
    let place = Place::new();
    let secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    fs::write(place.file("hook.secret"), secret).unwrap();
    let hook = "webhooks:\n  - { name: ops, url: \"http://127.0.0.1:9/T0PSECRET\", secret: { file: hook.secret }, tenants: acme }\n";
    place.configure("gateway: test\n", &format!("gateway: test\n{hook}"));
    let told = place.run(&["check", "--config", "postern.yaml"]).with(0);
    assert!(
        told.contains("  ops              127.0.0.1:9, of acme: consent_changed, consent_fell, glass_broken"),
        "{told}"
    );
    assert!(!told.contains("T0PSECRET") && !told.contains("MDEy"), "{told}");
    // An authority that TLS cannot use, or none at all, is found here and not when something is to be told.
    fs::write(place.file("ca.pem"), "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n")
        .unwrap();
    place.configure(
        "\"http://127.0.0.1:9/T0PSECRET\"",
        "\"https://127.0.0.1:9/T0PSECRET\", ca: { file: ca.pem }",
    );
    let came = place.run(&["check", "--config", "postern.yaml"]);
    assert!(
        came.err.contains("webhook `ops`: `ca`: TLS cannot use it") && !came.err.contains("T0PSECRET"),
        "{}",
        came.err
    );
}

#[test]
fn a_store_in_a_file_has_nobody_to_retire() {
    let place = Place::begun();
    let args = ["state", "retire", "gw3", "--config", "postern.yaml", "--by", "olga", "--reason", "gone"];
    let came = place.run(&args);
    assert_eq!((came.status, came.out.as_str()), (1, ""));
    assert!(
        came.err.contains("error: a store in a file has one gateway, so there is none to retire"),
        "{}",
        came.err
    );
}
