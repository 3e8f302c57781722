//! The corpora that stand beside this file (`README.md` says how they are written), sent through a gateway over real
//! sockets and judged by what the application behind it received: nothing, or exactly the requests that were decided on,
//! each clean, each with its record, and nothing left over on either side for the next one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    unreachable_pub,
    dead_code,
    missing_docs,
    reason = "tests"
)]

#[path = "../paths/backends.rs"]
mod backends;
mod bad_tokens;
#[path = "../it/client.rs"]
mod client;
mod format;
mod http1;
mod judge;
mod paths;
#[path = "../paths/corpus.rs"]
mod spellings;
mod test_key;
mod tokens;
#[path = "../it/upstream.rs"]
mod upstream;
#[path = "../it/world.rs"]
mod world;

/// Generated files are written anew when this variable is set, and compared with what is generated when it is not.
const WRITE: &str = "POSTERN_WRITE_CORPUS";

fn writing() -> bool {
    std::env::var_os(WRITE).is_some()
}

/// A generated file is what its generator makes, or is written so.
fn generated(path: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(path);
    if writing() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let stands = std::fs::read_to_string(&path).unwrap();
    assert!(
        stands == text,
        "{} is not what is generated; run the tests with {WRITE}=1 and look at the difference",
        path.display()
    );
}
