//! What a check hands over has one minter: nobody makes a permit, a verified subject, a receipt, a canonical path or an
//! admission by hand, and an admission is spent once.
//!
//! To write the expected messages anew: `TRYBUILD=overwrite cargo test --test must_not_compile`.

#[test]
fn proofs_have_one_minter() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
