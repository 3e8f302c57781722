//! Configurations: whatever is written, the answer is settings or faults with a place in the text, and neither prints
//! a secret.
#![no_main]

use std::{collections::BTreeMap, path::Path, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use postern::config::{self, Look};

/// In every file that may hold a secret, and nowhere else.
const SECRET: &str = "c2VjcmV0LXRoYXQtbm9ib2R5LWd1ZXNzZXM";
const PUBLIC: &str =
    r#"{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b"},{"kty":"OKP","crv":"Ed25519","x":"a"}]}"#;

static FILES: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n");
    let private = format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","x":"a","y":"b","d":"{SECRET}"}}]}}"#);
    let oct = format!(r#"{{"keys":[{{"kty":"oct","k":"{SECRET}"}}]}}"#);
    let note = format!("PRIVATE+KEY+example.com/postern/main+00000000+{SECRET}");
    [
        ("/etc/postern/ledger.key", note),
        ("/etc/postern/assertion.pem", pem.clone()),
        ("/etc/postern/vendor.jwks.json", PUBLIC.to_owned()),
        ("/etc/postern/app.jwks.json", PUBLIC.to_owned()),
        ("/etc/postern/private.jwks.json", private),
        ("/etc/postern/secret.jwks.json", oct),
        ("/etc/postern/private.pem", pem.clone()),
        ("$ASSERTION_KEY", pem),
    ]
    .map(|(name, text)| (name.to_owned(), text.into_bytes()))
    .into()
});

fuzz_target!(|input: &[u8]| {
    let lines = input.split(|byte| *byte == b'\n').count();
    match config::load_bytes(Path::new("/etc/postern/postern.yaml"), input, &*FILES) {
        Ok((settings, warnings)) => {
            let printed = format!("{settings:?}{warnings:?}");
            assert!(!printed.contains(SECRET), "settings print a secret");
            assert!(!settings.gateway.is_empty());
        }
        Err(faults) => {
            assert!(!faults.faults().is_empty(), "refused without a reason");
            for fault in faults.faults() {
                assert!(fault.line <= lines, "line {} of {lines}", fault.line);
            }
            let mut printed = format!("{faults:?}{faults}");
            for fancy in [false, true] {
                printed += &config::render(&faults, Look { fancy, width: 80 });
            }
            assert!(!printed.contains(SECRET), "faults print a secret");
        }
    }
});
