//! Help, versions, and command lines that cannot be read.

use std::{fs, process::Stdio};

use super::*;

const COMMANDS: &[&[&str]] = &[
    &[],
    &["run"],
    &["check"],
    &["explain"],
    &["routes"],
    &["routes", "import"],
    &["routes", "coverage"],
    &["token"],
    &["token", "key"],
    &["token", "mint"],
    &["token", "verify"],
    &["audit"],
    &["audit", "key"],
    &["audit", "verify"],
    &["audit", "query"],
    &["break-glass"],
    &["state"],
    &["state", "init"],
    &["state", "rebuild"],
    &["state", "accept-clock"],
    &["state", "retire"],
    &["demo"],
    &["demo", "application"],
];

#[test]
fn every_command_has_help_that_names_the_exit_statuses() {
    let here = Path::new(".");
    for command in COMMANDS {
        let came = run(here, &[command, &["--help"][..]].concat());
        assert_eq!(came.err, "", "{command:?}");
        let help = came.with(0);
        assert!(help.contains("Usage: postern") && help.contains("Exit status:"), "{command:?}: {help}");
    }
    assert!(run(here, &["--version"]).with(0).starts_with("postern "));
}

#[test]
fn what_cannot_be_read_has_status_2_and_does_nothing() {
    let here = Path::new(".");
    for args in [
        &[][..],
        &["nonsense"],
        &["run"],
        &["check"],
        &["check", "--config"],
        &["token", "verify"],
        &["token", "verify", "--batch", "--config", "x"],
        &["token", "verify", "--config", "x", "--allow-hmac", "t"],
        &[
            "token",
            "mint",
            "--key",
            "k",
            "--issuer",
            "i",
            "--audience",
            "a",
            "--subject",
            "s",
            "--claim",
            "x",
        ],
        &[
            "token",
            "mint",
            "--key",
            "k",
            "--issuer",
            "i",
            "--audience",
            "a",
            "--subject",
            "s",
            "--claim",
            "x:=[",
        ],
        &[
            "token",
            "mint",
            "--key",
            "k",
            "--issuer",
            "i",
            "--audience",
            "a",
            "--subject",
            "s",
            "--lifetime",
            "5",
        ],
        &["audit", "query", "x", "--since", "yesterday"],
        &["explain", "--config", "x", "GET", "/", "--header", "a: b\r\nc: d"],
        &["explain", "--config", "x", "GET", "/ HTTP/1.1\r\nX: y"],
        &["explain", "--config", "x", "GET", "/", "--role", "a", "--level", "b"],
        &["explain", "--config", "x", "GET", "/", "--role", "a", "--break-glass"],
        &["run", "--config", "x", "--log", "loud"],
        &["state", "retire", "gw3", "--config", "x", "--by", "olga"],
        &["state", "retire", "--config", "x", "--by", "olga", "--reason", "gone"],
    ] {
        let came = run(here, args);
        assert_eq!(came.status, 2, "{args:?}: {}", came.err);
        assert_eq!(came.out, "");
        assert!(!came.err.is_empty());
    }
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    for args in [&["check", "--schema"][..], &["--help"], &["token", "mint", "--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = postern(Path::new("."), args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), err.as_ref()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn an_output_that_cannot_be_written_is_one() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output =
        postern(Path::new("."), &["check", "--schema"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(err.starts_with("error: standard output:") && !err.contains("panicked"), "{err}");
}

#[test]
fn the_schema_is_the_published_one() {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/postern.schema.json");
    let told = run(Path::new("."), &["check", "--schema"]).with(0);
    assert!(told == fs::read_to_string(published).unwrap(), "`postern check --schema` writes another one");
}
