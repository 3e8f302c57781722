//! The demo is what newcomers see first: its walk must be green.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use postern::demo::{Demo, Options, PRESETS};

#[test]
fn the_walk_through_the_demo_is_green() {
    let dir = tempfile::tempdir().unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let options = Options { dir: &dir.path().join("demo"), listen: any, operations: any, preset: None };
    let demo = Demo::start(options).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut out = Vec::new();
    let good = runtime.block_on(demo.walk(&mut out)).unwrap();
    let text = String::from_utf8(out).unwrap();
    println!("{text}");
    let mut tour = Vec::new();
    demo.print_tour(&mut tour).unwrap();
    println!("{}", String::from_utf8(tour).unwrap());
    demo.stop();
    assert!(good, "{text}");
}

#[test]
fn the_walk_of_each_preset_is_green() {
    let any = "127.0.0.1:0".parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for preset in PRESETS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("demo");
        let demo =
            Demo::start(Options { dir: &path, listen: any, operations: any, preset: Some(preset) }).unwrap();
        let mut out = Vec::new();
        let good = runtime.block_on(demo.walk(&mut out)).unwrap();
        let text = String::from_utf8(out).unwrap();
        println!("{}\n{text}", preset.name);
        let mut tour = Vec::new();
        demo.print_tour(&mut tour).unwrap();
        assert!(String::from_utf8(tour).unwrap().contains("These people"));
        demo.stop();
        assert!(good, "{}: {text}", preset.name);
    }
}

#[test]
fn the_demo_writes_into_a_folder_of_its_own_that_only_its_owner_reads() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let options = Options { dir: &dir.path().join("demo"), listen: any, operations: any, preset: None };
    Demo::start(options).unwrap().stop();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(options.dir), 0o700);
    let key = options.dir.join("assertion.pem");
    assert_eq!(mode(&key), 0o600);
    assert_eq!(mode(&options.dir.join("sam.token")), 0o600);
    let before = std::fs::read(&key).unwrap();
    let fault = Demo::start(options).err().unwrap().to_string();
    assert!(fault.contains("is there already"), "{fault}");
    assert_eq!(std::fs::read(&key).unwrap(), before);
}
