//! Tests of the room as a whole, with keys made at run time.
#![allow(clippy::as_conversions, reason = "tests")]

mod bad_tokens;
mod batch;
mod cache;
mod fetched;
mod good_tokens;
mod keys;
mod mint;
mod properties;
mod times;

#[path = "../../../tests/corpus/test_key.rs"]
mod test_key;

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;
use crate::model::{IssuerName, SubjectKind};
use test_key::*;

fn now() -> Timestamp {
    Timestamp::from_ms(NOW * 1000)
}

fn jwks(keys: &[Value]) -> KeySource {
    KeySource::Jwks(json!({ "keys": keys }).to_string())
}

fn asymmetric() -> Vec<Algorithm> {
    Algorithm::ALL.iter().copied().filter(|algorithm| !algorithm.is_hmac()).collect()
}

fn issuer(kind: SubjectKind) -> IssuerOptions {
    let (name, iss) = match kind {
        SubjectKind::Staff => ("staff", STAFF),
        SubjectKind::Member => ("members", MEMBERS),
        SubjectKind::Service => ("services", "https://services.example/"),
    };
    let name = IssuerName::new(name).unwrap();
    let mut options = IssuerOptions::new(name, iss, kind, AUDIENCE, jwks(&all_keys()));
    options.algorithms = asymmetric();
    options.claims.environment = ClaimPath::parse("environment").ok();
    options
}

/// One staff issuer and one issuer of members, with the same keys.
fn verifier() -> Verifier {
    Verifier::new(vec![issuer(SubjectKind::Staff), issuer(SubjectKind::Member)], Limits::default()).unwrap()
}

fn verifier_of(change: impl FnOnce(&mut IssuerOptions)) -> Verifier {
    let mut options = issuer(SubjectKind::Staff);
    change(&mut options);
    Verifier::new(vec![options], Limits::default()).unwrap()
}
