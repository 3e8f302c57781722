//! The demo is what newcomers see first: its walk must be green.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use postern::demo::{Demo, Options};

#[test]
fn the_walk_through_the_demo_is_green() {
    let dir = tempfile::tempdir().unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let demo = Demo::start(Options { dir: &dir.path().join("demo"), listen: any, operations: any }).unwrap();
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
