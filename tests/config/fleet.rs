//! How the gateways of a fleet ask each other: what it means, and what is wrong with it, where.

use std::{collections::BTreeMap, path::Path, sync::LazyLock};

use postern::config::{self, ConfigFaults, Settings, Severity, Warning, resolve::FleetSettings};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

use super::{BASE, files, marked, with};

const STATE: &str = "state: { redis: { url: \"redis://redis-0\" }, shadow: shadow.redb }";
const GOOD: &str = "fleet: { listen: \"0.0.0.0:9443\", address: \"gw1.internal:9443\", certificate: gw1.pem, key: { file: gw1.key }, ca: fleet.pem }";

/// The files: an authority, a good certificate, and others that each lack something.
static FILES: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let authority = || {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
    };
    let ((own, fleet), (foreign, others)) = (authority(), authority());
    let mut files = files();
    let mut put = |name: &str, text: String| files.insert(format!("/etc/postern/{name}"), text.into_bytes());
    put("fleet.pem", own);
    put("others.pem", foreign);
    let key = KeyPair::generate().unwrap();
    put("gw1.key", key.serialize_pem());
    put("gw2.key", KeyPair::generate().unwrap().serialize_pem());
    let named = |names: &[&str]| {
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
    };
    put("gw1.pem", named(&["gw1.internal", "::1"]).signed_by(&key, &fleet).unwrap().pem());
    put("stray.pem", named(&["gw1.internal"]).signed_by(&key, &others).unwrap().pem());
    let mut over = named(&["gw1.internal"]);
    (over.not_before, over.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
    put("over.pem", over.signed_by(&key, &fleet).unwrap().pem());
    for (name, purpose) in [
        ("server.pem", ExtendedKeyUsagePurpose::ServerAuth),
        ("client.pem", ExtendedKeyUsagePurpose::ClientAuth),
    ] {
        let mut params = named(&["gw1.internal"]);
        params.extended_key_usages = vec![purpose];
        put(name, params.signed_by(&key, &fleet).unwrap().pem());
    }
    files
});

fn read(text: &str) -> Result<(Settings, Vec<Warning>), ConfigFaults> {
    config::load_bytes(Path::new("/etc/postern/postern.yaml"), text.as_bytes(), &*FILES)
}

fn load(text: &str) -> Result<Settings, ConfigFaults> {
    read(text).map(|(settings, _)| settings)
}

/// A configuration with a shared store and this beside it.
fn fleet(text: &str) -> String {
    format!("{}\n{text}\n", with("state: { path: state.redb }", STATE))
}

#[test]
fn a_fleet_means_what_it_says() {
    let settings = load(&fleet(GOOD)).unwrap();
    let FleetSettings { listen, address, timeout_ms, .. } = settings.fleet.as_ref().unwrap();
    assert_eq!((listen.to_string().as_str(), address.as_str()), ("0.0.0.0:9443", "gw1.internal:9443"));
    assert_eq!(*timeout_ms, 2_000);
    // How gateways ask each other is no rule: the policy is the same.
    assert_eq!(load(BASE).unwrap().policy.fingerprint, settings.policy.fingerprint);
    assert!(load(BASE).unwrap().fleet.is_none());
    let other = GOOD.replace("gw1.internal:9443", "[::1]:9444").replace("ca:", "timeout: 300ms, ca:");
    let settings = load(&fleet(&other)).unwrap().fleet.unwrap();
    assert_eq!((settings.address.as_str(), settings.timeout_ms), ("[::1]:9444", 300));
}

#[test]
fn gateways_that_share_a_store_and_ask_nobody_are_warned() {
    let (_, warnings) = read(&fleet("")).unwrap();
    let told: Vec<_> = warnings.iter().filter(|w| w.message.contains("its own ledger alone")).collect();
    assert_eq!(told.len(), 1, "{warnings:#?}");
    assert_eq!(told[0].code.as_str(), "unused");
    for text in [fleet(GOOD), BASE.to_owned()] {
        let (_, warnings) = read(&text).unwrap();
        assert!(!warnings.iter().any(|w| w.message.contains("its own ledger alone")), "{warnings:#?}");
    }
}

/// A replacement in a good one, the first character that is to blame marked, and the code.
const CASES: &[(&str, &str, &str)] = &[
    (GOOD, "fleet: ⟦{}", "missing_key"),
    ("listen: \"0.0.0.0:9443\"", "listen: ⟦\"9443\"", "bad_value"),
    ("listen: \"0.0.0.0:9443\"", "listen: ⟦\"0.0.0.0:9090\"", "same_address"),
    ("\"gw1.internal:9443\"", "⟦gw1.internal", "bad_value"),
    ("\"gw1.internal:9443\"", "⟦\"https://gw1.internal:9443\"", "bad_value"),
    ("\"gw1.internal:9443\"", "⟦\"gw1.internal:0\"", "bad_value"),
    ("\"gw1.internal:9443\"", "⟦\"gw1.internal:+1\"", "bad_value"),
    ("\"gw1.internal:9443\"", "⟦\"a@gw1.internal:9443\"", "bad_value"),
    ("\"gw1.internal:9443\"", "⟦\"0.0.0.0:9443\"", "bad_value"),
    ("\"gw1.internal:9443\"", "⟦\"[::]:9443\"", "bad_value"),
    (
        "address: \"gw1.internal:9443\", certificate: gw1.pem",
        "address: \"gw2.internal:9443\", certificate: ⟦gw1.pem",
        "bad_certificate",
    ),
    ("certificate: gw1.pem", "certificate: ⟦no-such.pem", "secret_unreadable"),
    ("certificate: gw1.pem", "certificate: ⟦gw1.key", "bad_certificate"),
    ("certificate: gw1.pem", "certificate: ⟦stray.pem", "bad_certificate"),
    ("certificate: gw1.pem", "certificate: ⟦over.pem", "bad_certificate"),
    ("certificate: gw1.pem", "certificate: ⟦server.pem", "bad_certificate"),
    ("certificate: gw1.pem", "certificate: ⟦client.pem", "bad_certificate"),
    (
        "certificate: gw1.pem, key: { file: gw1.key }",
        "certificate: ⟦gw1.pem, key: { file: gw2.key }",
        "bad_certificate",
    ),
    (
        "certificate: gw1.pem, key: { file: gw1.key }, ca: fleet.pem",
        "certificate: ⟦gw1.pem, key: { file: gw1.key }, ca: others.pem",
        "bad_certificate",
    ),
    ("ca: fleet.pem", "ca: ⟦gw1.key", "bad_certificate"),
    ("ca: fleet.pem", "ca: fleet.pem, timeout: ⟦10ms", "out_of_range"),
    ("ca: fleet.pem", "ca: fleet.pem, timeout: ⟦1m", "out_of_range"),
    ("ca: fleet.pem", "ca: fleet.pem, ⟦token: abc", "unknown_key"),
];

#[test]
fn each_slip_is_told_where_it_is() {
    let mut wrong = Vec::new();
    for (from, to, code) in CASES {
        assert_eq!(GOOD.matches(from).count(), 1, "`{from}`");
        let (text, line, column) = marked(&fleet(&GOOD.replace(from, to)));
        let Err(faults) = load(&text) else {
            wrong.push(format!("{to:?} passes, {code} is wanted"));
            continue;
        };
        let mut found: Vec<_> = faults.faults().iter().map(|f| (f.code.as_str(), f.line, f.column)).collect();
        // Of an empty one each key is missing, at the same place.
        found.dedup();
        if found != [(*code, line, column)] {
            wrong.push(format!("{to:?}: wanted {code} at {line}:{column}, found {found:?}\n{faults}"));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn a_fleet_needs_a_store_that_gateways_share() {
    let faults = load(&format!("{BASE}\n{GOOD}\n")).unwrap_err().to_string();
    assert!(faults.contains("find each other in the store that they share"), "{faults}");
    assert!(faults.contains("state: { redis"), "{faults}");
}

#[test]
fn what_local_play_needs_is_not_for_a_fleet_that_others_reach() {
    let with_clock = |text: &str| fleet(&format!("{text}\ndangerous: {{ clock: true }}"));
    let faults = load(&with_clock(GOOD)).unwrap_err();
    let errors: Vec<_> = faults.faults().iter().filter(|fault| fault.severity == Severity::Error).collect();
    assert_eq!(errors.len(), 1, "{faults}");
    assert_eq!(errors[0].code.as_str(), "dangerous");
    assert!(errors[0].message.contains("other gateways ask this one at 0.0.0.0:9443"), "{faults}");
    assert!(load(&with_clock(&GOOD.replace("0.0.0.0:9443", "127.0.0.1:9443"))).is_ok());
}
