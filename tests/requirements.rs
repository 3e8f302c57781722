//! Which tests show which requirement of `docs/requirements.md`: of the gateway's own by the ids that they bear as comments
//! directly above them, `// GW-07`; of a product's by their names, `p17_04_access_ends…`. Printed as a table by
//! `scripts/requirements`.
//!
//! It fails where an id has no test, where something that is said not to be built has one, and where an id stands above
//! anything but a test. A product's line is shown only by a test over sockets, in `tests/requirements`; what bears its id
//! elsewhere is printed beside it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests"
)]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What a line of the page says.
struct Wanted {
    what: String,
    remark: String,
}

impl Wanted {
    /// Nothing of it is here.
    fn is_not_built(&self) -> bool {
        self.remark == "*not built*"
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The ids of the page, in its order.
fn wanted() -> BTreeMap<String, Wanted> {
    let page = std::fs::read_to_string(root().join("docs/requirements.md")).unwrap();
    let rows = page.lines().filter(|line| {
        let cell = line.strip_prefix("| ").and_then(|rest| rest.split(' ').next());
        cell.is_some_and(|id| prefixes().any(|prefix| id.starts_with(&format!("{prefix}-"))))
    });
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [id, what, remark] = cells[..] else { panic!("three cells make a row: {row}") };
        (id.to_owned(), Wanted { what: what.to_owned(), remark: remark.to_owned() })
    })
    .collect()
}

/// The products, by the prefix of their lines.
const PRODUCTS: [&str; 5] = ["P17", "CEL", "PFC", "PFP", "PRA"];

fn prefixes() -> impl Iterator<Item = &'static str> {
    PRODUCTS.into_iter().chain(["GW"])
}

/// The ids that a test's name begins with: `p17_12_20_a_grant…` is of P17-12 and P17-20.
fn named(name: &str) -> Vec<String> {
    let mut words = name.split('_');
    let Some(prefix) = words.next().map(str::to_uppercase).filter(|word| PRODUCTS.contains(&word.as_str()))
    else {
        return Vec::new();
    };
    let number = |word: &&str| word.len() == 2 && word.bytes().all(|b| b.is_ascii_digit());
    words.take_while(number).map(|number| format!("{prefix}-{number}")).collect()
}

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The name of the function whose attributes and head begin here.
fn function(lines: &[&str]) -> Option<String> {
    let mut is_test = false;
    for line in lines {
        let line = line.trim();
        if line.starts_with("#[") || line.starts_with("//") {
            is_test |= line.contains("test]") || line.contains("test(");
            continue;
        }
        let head =
            line.trim_start_matches("pub(crate) ").trim_start_matches("pub ").trim_start_matches("async ");
        let name = head.strip_prefix("fn ")?.split(['(', '<']).next()?;
        return is_test.then(|| name.to_owned());
    }
    None
}

/// Tests by id, and ids that stand above none.
fn borne() -> (BTreeMap<String, Vec<String>>, Vec<String>) {
    let mut files = Vec::new();
    sources(&root().join("tests"), &mut files);
    sources(&root().join("src"), &mut files);
    files.sort();
    let (mut found, mut lost): (BTreeMap<String, Vec<String>>, Vec<String>) = (BTreeMap::new(), Vec::new());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let place = file.strip_prefix(root()).unwrap().display().to_string();
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            if line.trim().starts_with("#[") && line.contains("test]") {
                let name = function(&lines[at..]).unwrap_or_default();
                for id in named(&name) {
                    found.entry(id).or_default().push(format!("{place}: {name}"));
                }
            }
            let Some(ids) = line.trim().strip_prefix("// GW-") else { continue };
            match function(&lines[at..]) {
                Some(name) => {
                    for id in format!("GW-{ids}").split([',', ' ']).filter(|id| !id.is_empty()) {
                        found.entry(id.to_owned()).or_default().push(format!("{place}: {name}"));
                    }
                }
                None => lost.push(format!("{place}:{}: `{}` stands above no test", at + 1, line.trim())),
            }
        }
    }
    (found, lost)
}

#[test]
fn every_requirement_has_a_test_that_bears_its_id() {
    let (wanted, (found, mut faults)) = (wanted(), borne());
    assert!(wanted.len() >= 18, "the page lost its table");
    println!("\n| id | tests | |\n| --- | --- | --- |");
    for (id, Wanted { what, remark }) in &wanted {
        let none = Vec::new();
        let tests = found.get(id).unwrap_or(&none);
        println!("| {id} | {what} | {remark} |");
        for test in tests {
            println!("| | `{test}` | |");
        }
        let counts = |test: &&String| id.starts_with("GW-") || test.starts_with("tests/requirements/");
        match (tests.iter().filter(counts).count() == 0, wanted[id].is_not_built()) {
            (true, false) => faults.push(format!("{id} has no test: {what}")),
            (false, true) => {
                faults.push(format!("{id} has tests, and docs/requirements.md says that it is not built"))
            }
            (true, true) | (false, false) => {}
        }
    }
    for id in found.keys().filter(|id| !wanted.contains_key(*id)) {
        faults.push(format!("{id} is borne by a test and stands in no row of docs/requirements.md"));
    }
    for product in PRODUCTS {
        let begins = |id: &&String| id.starts_with(&format!("{product}-"));
        let is_there = found.values().flatten().any(|test| {
            test.starts_with("tests/requirements/")
                && test.contains(&format!(": {}_", product.to_lowercase()))
        });
        if is_there && wanted.keys().filter(begins).count() == 0 {
            faults.push(format!("{product} has tests and no row in docs/requirements.md"));
        }
    }
    let built = wanted.values().filter(|wanted| !wanted.is_not_built()).count();
    println!(
        "\n{} tests show {built} of {} requirements.",
        found.values().map(Vec::len).sum::<usize>(),
        wanted.len()
    );
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn an_id_counts_only_directly_above_a_test() {
    let name = |text: &str| function(&text.lines().collect::<Vec<_>>());
    assert_eq!(name("// GW-01\n#[test]\nfn it_holds() {\n"), Some("it_holds".to_owned()));
    assert_eq!(name("// GW-01\n#[tokio::test]\nasync fn it_holds() {\n"), Some("it_holds".to_owned()));
    assert_eq!(name("// GW-01\nfn helper() {\n"), None);
    assert_eq!(name("// GW-01\n\n#[test]\nfn far_away() {\n"), None);
    assert_eq!(name("// GW-01\nconst X: u8 = 1;\n"), None);
}

#[test]
fn the_name_of_a_test_says_which_lines_of_a_product_it_shows() {
    assert_eq!(named("p17_04_access_ends_after_five_calendar_days"), ["P17-04"]);
    assert_eq!(named("p17_12_20_a_grant_reaches_beyond"), ["P17-12", "P17-20"]);
    assert_eq!(named("pfp_08_20_000_cards"), ["PFP-08", "PFP-20"]);
    for none in ["p18_04_something", "p17_a_thing", "a_p17_04", "gw_07_it_holds"] {
        assert_eq!(named(none), Vec::<String>::new(), "{none}");
    }
}
