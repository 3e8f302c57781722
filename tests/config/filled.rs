//! Variables inside of names, addresses and paths: so that the gateways of a fleet share one file.

use std::{collections::BTreeMap, path::Path};

use postern::config::{self, ConfigFaults, Settings, resolve::StateSettings};

use super::{BASE, files, marked, with};

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Settings, ConfigFaults> {
    let mut files: BTreeMap<_, _> = files();
    files.extend(variables.iter().map(|(name, value)| (format!("${name}"), value.as_bytes().to_vec())));
    let key = files["/etc/postern/ledger.key"].clone();
    files.insert("/etc/postern/keys/postern-0.key".to_owned(), key);
    config::load_bytes(Path::new("/etc/postern/postern.yaml"), text.as_bytes(), &files)
        .map(|(settings, _)| settings)
}

fn edited(edits: &[(&str, &str)]) -> String {
    edits.iter().fold(BASE.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "`{from}`");
        text.replace(from, to)
    })
}

#[test]
fn names_and_paths_hold_what_the_variable_holds() {
    let text = edited(&[
        ("gateway: main", "gateway: \"${POD_NAME}\""),
        ("path: state.redb", "path: \"/var/lib/${APP_1}/${POD_NAME}.redb\""),
        ("file: ledger.key", "file: \"keys/${POD_NAME}.key\""),
        ("origin: example.com/postern/main", "origin: \"example.com/postern/${POD_NAME}\""),
    ]);
    let settings = load(&text, &[("POD_NAME", "postern-0"), ("APP_1", "postern")]).unwrap();
    assert_eq!(settings.gateway, "postern-0");
    assert_eq!(settings.ledger.origin, "example.com/postern/postern-0");
    assert_eq!(settings.ledger.key.expose(), b"ledger-key");
    match &settings.state {
        StateSettings::File(path) => assert_eq!(path, Path::new("/var/lib/postern/postern-0.redb")),
        StateSettings::Redis(_) => panic!("a file"),
    }
    // What is filled in is a value and never YAML.
    let held = "x-${APP_1}";
    let settings = load(&with("path: state.redb", "path: \"a/${B}\""), &[("B", held)]).unwrap();
    assert_eq!(settings.state.file(), Path::new("/etc/postern/a/x-${APP_1}"));
    let fault = load(&text, &[("POD_NAME", "a\nlisten: b"), ("APP_1", "p")]).unwrap_err();
    assert!(fault.to_string().contains("cannot be the name of a gateway"), "{fault}");
}

#[test]
fn a_variable_that_cannot_be_had_is_told_where_it_is_named() {
    for (written, message) in [
        ("\"a-⟦${NO_SUCH}\"", "the variable `NO_SUCH` cannot be used: it is not set"),
        ("\"a-⟦${EMPTY}\"", "the variable `EMPTY` is empty"),
        ("⟦\"${}\"", "`${` begins no name of a variable here"),
        ("⟦\"a-${POD_NAME\"", "`${` begins no name of a variable here"),
        ("⟦\"${1ST}\"", "`${` begins no name of a variable here"),
        ("⟦\"${A:-b}\"", "`${` begins no name of a variable here"),
    ] {
        let (text, line, column) = marked(&with("gateway: main", &format!("gateway: {written}")));
        let faults = load(&text, &[("EMPTY", ""), ("POD_NAME", "a")]).unwrap_err();
        let told = faults.faults();
        assert_eq!(told.len(), 1, "{faults}");
        let place = (told[0].line, told[0].column, told[0].code.as_str());
        assert_eq!(place, (line, column, "bad_variable"), "{faults}");
        assert_eq!(told[0].message, message);
    }
}

#[test]
fn a_dollar_alone_is_a_dollar() {
    let settings = load(&with("gateway: main", "gateway: a$b"), &[]).unwrap();
    assert_eq!(settings.gateway, "a$b");
}
