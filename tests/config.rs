//! The configuration, as people get it right and wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "config/broken.rs"]
mod broken;
#[path = "config/ceiling.rs"]
mod ceiling;
#[path = "config/creates.rs"]
mod creates;
#[path = "config/filled.rs"]
mod filled;
#[path = "config/fleet.rs"]
mod fleet;
#[path = "config/hostile.rs"]
mod hostile;
#[path = "config/meaning.rs"]
mod meaning;
#[path = "config/narrow.rs"]
mod narrow;
#[path = "config/resources.rs"]
mod resources;
#[path = "config/roles.rs"]
mod roles;
#[path = "config/routes.rs"]
mod routes;
#[path = "config/state.rs"]
mod state;
#[path = "config/webhooks.rs"]
mod webhooks;

use std::{collections::BTreeMap, path::Path};

use postern::config::{self, ConfigFaults, Settings, Warning};

/// A small configuration that is right. Broken ones differ from it in one place.
const BASE: &str = include_str!("config/base.yaml");

const ES256_SET: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b"}]}"#;
const PEM: &str = "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n";

fn files() -> BTreeMap<String, Vec<u8>> {
    [
        ("/etc/postern/ledger.key", "ledger-key"),
        ("/etc/postern/assertion.pem", "assertion-key"),
        ("/etc/postern/empty.pem", " \n"),
        ("/etc/postern/vendor.jwks.json", ES256_SET),
        (
            "/etc/postern/app.jwks.json",
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"a"},{"kty":"EC","crv":"P-256"}]}"#,
        ),
        (
            "/etc/postern/private.jwks.json",
            r#"{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b","d":"c"}]}"#,
        ),
        ("/etc/postern/secret.jwks.json", r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#),
        ("/etc/postern/none.jwks.json", r#"{"keys":[]}"#),
        ("/etc/postern/other.json", r#"{"key":1}"#),
        ("/etc/postern/words.txt", "not a key"),
        ("/etc/postern/public.pem", PEM),
        ("/etc/postern/private.pem", "-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----\n"),
        ("/etc/postern/a.secret", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n"),
        ("/etc/postern/short.secret", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="),
        ("/etc/postern/bare.secret", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
        ("/etc/postern/odd.secret", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkw!!"),
        ("$HOOK_SECRET", "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU"),
        ("$ASSERTION_KEY", "from-the-environment"),
    ]
    .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
    .into()
}

fn load(text: &str) -> Result<(Settings, Vec<Warning>), ConfigFaults> {
    config::load_bytes(Path::new("/etc/postern/postern.yaml"), text.as_bytes(), &files())
}

/// The base with one piece exchanged.
fn with(from: &str, to: &str) -> String {
    assert_eq!(BASE.matches(from).count(), 1, "`{from}` must stand once in the base");
    BASE.replace(from, to)
}

/// Takes the marks `⟦` and `⟧` out of a text and says at which line and column the first stood.
fn marked(text: &str) -> (String, usize, usize) {
    let at = text.find('⟦').unwrap_or_else(|| panic!("no mark in {text}"));
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    (text.replace(['⟦', '⟧'], ""), line, column)
}
