//! The house rules that the compiler does not know, read off the sources: which room may import which, no input or
//! output on the ground, a header on every module file, files that can be read in one sitting, nothing left open, and
//! nothing in the repository that only one machine knows.
//!
//! A rule that has to be broken gets a line in one of the lists of exceptions below, with its reason. A line that is no
//! longer needed fails too, so that the lists stay short.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Each room, and the rooms that it may import. Arrows point down only; two rooms of one layer never know each other,
/// except on the ground, where they stand in this order.
const ROOMS: &[(&str, u8, &[&str])] = &[
    ("model", 0, &[]),
    ("policy", 0, &["model"]),
    ("lifecycle", 0, &["model", "policy"]),
    ("identity", 1, &["model", "policy", "lifecycle"]),
    ("state", 1, &["model", "policy", "lifecycle"]),
    ("audit", 1, &["model", "policy", "lifecycle"]),
    ("net", 1, &[]),
    ("engine", 2, &["model", "policy", "lifecycle", "identity", "state", "audit"]),
    ("webhook", 2, &["model", "lifecycle", "audit", "net"]),
    ("fleet", 2, &["model", "audit", "net"]),
    ("proxy", 3, &["model", "policy", "lifecycle", "identity", "state", "audit", "net", "engine"]),
    ("control", 3, &["model", "policy", "lifecycle", "identity", "state", "audit", "engine", "fleet"]),
    ("config", 4, &["model", "policy", "lifecycle", "net"]),
    ("app", 5, EVERYTHING),
    ("cli", 5, EVERYTHING),
    ("demo", 5, EVERYTHING),
    ("main", 5, EVERYTHING),
];

const EVERYTHING: &[&str] = &[
    "model",
    "policy",
    "lifecycle",
    "identity",
    "state",
    "audit",
    "net",
    "engine",
    "webhook",
    "fleet",
    "proxy",
    "control",
    "config",
    "app",
    "cli",
    "demo",
];

/// Arrows that the table does not have: from a folder or file, to which room, and why.
const ARROWS: &[(&str, &str, &str)] = &[(
    "src/config/resolve/upstreams.rs",
    "proxy",
    "which hosts may be sent is the codec's to say; a second grammar here took what the codec refuses",
)];

/// Words that mean input, output, waiting, or a clock. The ground is handed everything that it looks at.
const NOT_ON_THE_GROUND: &[&str] = &[
    "async",
    "await",
    "tokio",
    "hyper",
    "axum",
    "redb",
    "redis",
    "rustls",
    "socket2",
    "rustix",
    "tracing",
    "SystemTime",
    "Instant",
    "Utc::now",
    "Local::now",
    "Mutex",
    "RwLock",
    "Condvar",
    "OnceLock",
    "LazyLock",
    "thread_local",
    "getrandom",
    "now_v7",
    "new_v4",
];

/// Modules of the standard library that the ground does without.
const STD_NOT_ON_THE_GROUND: &[&str] = &["fs", "net", "env", "io", "process", "thread", "os", "time", "path"];

/// Lines of a file, tests apart.
const LONGEST: usize = 500;

/// Files that are longer, and why they are one thing.
const LONG: &[(&str, &str)] = &[];

/// Texts that only look like a machine's paths.
const NO_MACHINE: &[(&str, &str)] = &[("src/policy/routes/tests.rs", "the path of a request")];

struct Source {
    /// From the root of the repository, with `/`.
    path: String,
    text: String,
    /// The text without comments, strings and unit tests.
    code: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        let skipped = ["target", ".git", "node_modules"].iter().any(|skip| name == *skip);
        match entry.file_type().unwrap() {
            _ if skipped => {}
            kind if kind.is_dir() => walk(&entry.path(), found),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

fn name_of(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/")
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        walk(&root().join(folder), &mut paths);
    }
    paths.sort();
    let rust = paths.into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
    rust.map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = without_tests(&bare(&text));
        Source { path: name_of(&path), text, code }
    })
    .collect()
}

/// Files that are unit tests as a whole.
fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
}

fn product() -> Vec<Source> {
    sources(&["src"]).into_iter().filter(|source| !is_test(&source.path)).collect()
}

/// Blanks comments and the insides of strings; lines stay where they are.
fn bare(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    let blank = |c: char| if c == '\n' { '\n' } else { ' ' };
    while i < chars.len() {
        let rest = &chars[i..];
        if rest.starts_with(&['/', '/']) {
            while i < chars.len() && chars[i] != '\n' {
                out.push(' ');
                i += 1;
            }
        } else if rest.starts_with(&['/', '*']) {
            let mut depth = 0;
            while i < chars.len() {
                let (opens, closes) =
                    (chars[i..].starts_with(&['/', '*']), chars[i..].starts_with(&['*', '/']));
                depth = if opens {
                    depth + 1
                } else if closes {
                    depth - 1
                } else {
                    depth
                };
                let step = if opens || closes { 2 } else { 1 };
                chars[i..i + step].iter().for_each(|c| out.push(blank(*c)));
                i += step;
                if depth == 0 {
                    break;
                }
            }
        } else if let Some(hashes) = raw_string(&chars, i) {
            let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            i += hashes + 2;
            out.push('"');
            while i < chars.len() && !chars[i..].starts_with(&end) {
                out.push(blank(chars[i]));
                i += 1;
            }
            out.push('"');
            i += end.len();
        } else if chars[i] == '"' {
            out.push('"');
            i += 1;
            while i < chars.len() && chars[i] != '"' {
                let step = if chars[i] == '\\' { 2 } else { 1 };
                chars[i..(i + step).min(chars.len())].iter().for_each(|c| out.push(blank(*c)));
                i += step;
            }
            out.push('"');
            i += 1;
        } else if chars[i] == '\'' && (rest.get(1) == Some(&'\\') || rest.get(2) == Some(&'\'')) {
            // A character, not a lifetime: over to its closing quote.
            let from = if rest[1] == '\\' { 3 } else { 2 };
            let length = rest[from..].iter().position(|c| *c == '\'').map_or(1, |at| at + from + 1);
            rest[..length].iter().for_each(|c| out.push(blank(*c)));
            i += length;
        } else {
            out.push(chars[i]);
            i += 1;
        }
    }
    out
}

/// The count of `#` where a raw string begins.
fn raw_string(chars: &[char], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).map(|b| chars[b]);
    if chars[at] != 'r' || before.is_some_and(|c| c == '_' || (c.is_alphanumeric() && c != 'b')) {
        return None;
    }
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    (chars.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

/// Cuts out `#[cfg(test)]` modules with a body.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(from) = out.find("#[cfg(test)]\nmod ") {
        let rest = &out[from..];
        let (Some(open), Some(stop)) = (rest.find('{'), rest.find([';', '{'])) else { break };
        let to = if rest.as_bytes()[stop] == b';' { stop + 1 } else { open + closing(&rest[open..]) };
        let blank: String = rest[..to].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(from..from + to, &blank);
    }
    out
}

/// The length of a text up to the bracket that closes its first one.
fn closing(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Where a word stands as a word of its own.
fn places(code: &str, word: &str) -> Vec<usize> {
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(|at| !code[..*at].chars().next_back().is_some_and(is_word))
        .filter(|at| !code[at + word.len()..].chars().next().is_some_and(is_word))
        .collect()
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// All that is named right below a root: `std::fs`, `std::{fs, io::Read}`, with its line.
fn below(code: &str, root: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for at in places(code, root) {
        let Some(rest) = code[at + root.len()..].strip_prefix("::") else { continue };
        let word = |text: &str| text.trim_start().chars().take_while(|c| is_word(*c)).collect::<String>();
        if !rest.starts_with('{') {
            found.push((word(rest), line_of(code, at)));
            continue;
        }
        let group = &rest[1..closing(rest) - 1];
        let mut depth = 0;
        let mut from = 0;
        for (i, c) in group.char_indices().chain([(group.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    let name = word(&group[from..i]);
                    if !name.is_empty() {
                        found.push((name, line_of(code, at)));
                    }
                    from = i + 1;
                }
                _ => {}
            }
        }
    }
    found
}

/// The room of a file: `src/policy/decide.rs` is in `policy`.
fn room(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (name != "lib").then_some(name)
}

fn report(what: &str, faults: &[String]) {
    assert!(faults.is_empty(), "\n{what}\n\n{}\n", faults.join("\n"));
}

#[test]
fn arrows_between_rooms_point_down_only() {
    let rooms: BTreeMap<_, _> = ROOMS.iter().map(|(name, layer, down)| (*name, (*layer, *down))).collect();
    let mut faults = Vec::new();
    let mut used = BTreeSet::new();
    let all = product();
    for source in &all {
        let Some(from) = room(&source.path) else { continue };
        let Some((layer, down)) = rooms.get(from) else {
            faults.push(format!("{}: the room `{from}` has no line in ROOMS; give it a layer", source.path));
            continue;
        };
        let named = below(&source.code, "crate").into_iter().chain(below(&source.code, "postern"));
        for (to, line) in named.filter(|(to, _)| rooms.contains_key(to.as_str())) {
            if to == from || down.contains(&to.as_str()) {
                continue;
            }
            let exception =
                ARROWS.iter().position(|(place, room, _)| source.path.starts_with(place) && *room == to);
            match exception {
                Some(at) => drop(used.insert(at)),
                None => faults.push(format!(
                    "{}:{line}: `{from}` (layer {layer}) imports `{to}` (layer {}); it may import {}",
                    source.path,
                    rooms[to.as_str()].0,
                    if down.is_empty() { "no other room".into() } else { format!("`{}`", down.join("`, `")) },
                )),
            }
        }
        // Out of the room by way of `super`: the arrows above could not see it.
        let depth = source.path.trim_end_matches("/mod.rs").matches('/').count();
        let chain = "super::".repeat(depth);
        for (at, _) in source.code.match_indices(&chain) {
            if from != "main" && !source.code[..at].ends_with("super::") {
                faults.push(format!(
                    "{}:{}: leaves its room by `super`; write `crate::…`",
                    source.path,
                    line_of(&source.code, at)
                ));
            }
        }
    }
    let sample = all.iter().filter(|source| source.path.starts_with("src/demo/sample"));
    for source in sample {
        for (to, line) in below(&source.code, "crate").into_iter().filter(|(to, _)| to != "demo") {
            faults.push(format!(
                "{}:{line}: the sample application belongs to nobody here; it imports `{to}`",
                source.path
            ));
        }
    }
    report(
        "Arrows between the rooms point down only (the table in src/lib.rs; ROOMS in tests/architecture.rs). What two rooms \
         share belongs below both; what needs a room above is handed in by it.",
        &faults,
    );
    for (at, (place, to, reason)) in ARROWS.iter().enumerate() {
        assert!(reason.len() > 20, "say why {place} imports {to}");
        assert!(used.contains(&at), "{place} no longer imports {to}: take the line out of ARROWS");
    }
}

#[test]
fn every_room_of_the_library_has_its_layer() {
    let lib = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let known: BTreeSet<&str> = ROOMS.iter().map(|(name, ..)| *name).collect();
    for line in lib.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let name = line.trim_end_matches(';');
        assert!(
            known.contains(name),
            "the room `{name}` has no line in ROOMS of tests/architecture.rs; give it a layer"
        );
        assert!(lib.contains(&format!("[`{name}`]")), "the table of rooms in src/lib.rs leaves out `{name}`");
    }
    for (name, layer, down) in ROOMS {
        for below in *down {
            let its = ROOMS.iter().find(|(other, ..)| other == below).unwrap().1;
            assert!(
                its < *layer || *layer == 0 || *layer == 5,
                "`{name}` may not import `{below}` of its own layer or above"
            );
        }
    }
}

#[test]
fn the_ground_knows_no_input_or_output_no_waiting_and_no_clock() {
    let mut faults = Vec::new();
    let mut seen = 0;
    for source in product() {
        if !matches!(room(&source.path), Some("model" | "policy" | "lifecycle")) {
            continue;
        }
        seen += 1;
        for word in NOT_ON_THE_GROUND {
            for at in places(&source.code, word) {
                faults.push(format!("{}:{}: `{word}`", source.path, line_of(&source.code, at)));
            }
        }
        for (name, line) in below(&source.code, "std") {
            if STD_NOT_ON_THE_GROUND.contains(&name.as_str()) {
                faults.push(format!("{}:{line}: `std::{name}`", source.path));
            }
        }
    }
    assert!(seen > 20, "the ground was not found");
    report(
        "Layer 0 is pure: documents, requests and the time are arguments, so that every rule can be asked again and tested \
         without a machine. Do this in layer 1 or above and hand the result in.",
        &faults,
    );
}

#[test]
fn every_module_file_says_what_lives_in_it() {
    let mut faults = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        let unit = source.path.starts_with("src/") && is_test(&source.path);
        let fixture = source.path.starts_with("tests/ui/");
        let first = source.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        if !unit && !fixture && (!first.starts_with("//! ") || first.len() < 12) {
            faults.push(source.path);
        }
    }
    report("Every module file opens with `//!`: what lives here, and what never will.", &faults);
}

#[test]
fn every_file_can_be_read_in_one_sitting() {
    let mut faults = Vec::new();
    let mut long = BTreeSet::new();
    for source in product() {
        // A `mod tests` at the bottom is not counted.
        let lines = source.text.lines().zip(source.code.lines());
        let end =
            source.text.find("#[cfg(test)]\nmod tests {").map_or(usize::MAX, |at| line_of(&source.text, at));
        let count = lines.take(end).count();
        if count <= LONGEST {
            continue;
        }
        if LONG.iter().any(|(path, _)| *path == source.path) {
            long.insert(source.path);
        } else {
            faults.push(format!("{}: {count} lines", source.path));
        }
    }
    report(
        &format!(
            "A file is one thing and has at most {LONGEST} lines; make two of it, or say in LONG why it is one."
        ),
        &faults,
    );
    for (path, reason) in LONG {
        assert!(reason.len() > 20 && long.contains(*path), "{path} is short enough now: take it out of LONG");
    }
}

#[test]
fn nothing_is_left_open() {
    let mut faults = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        for (what, advice) in [
            ("#[ignore]", "say why: `#[ignore = \"...\"]`"),
            ("todo!", "finish it, or leave it out"),
            ("dbg!", "take it out"),
            // A test's double may say what it is never asked.
            ("unimplemented!", "finish it, or leave it out"),
        ] {
            if what == "unimplemented!" && !source.path.starts_with("src/") {
                continue;
            }
            for (at, _) in source.code.match_indices(what) {
                faults.push(format!("{}:{}: `{what}`: {advice}", source.path, line_of(&source.code, at)));
            }
        }
    }
    report("What is here is finished; what is not finished is not here.", &faults);
}

#[test]
fn the_repository_knows_no_machine() {
    // In pieces, so that this file does not find itself.
    let needles = [
        ["/wo", "rk/wt"],
        ["/wo", "rk/main"],
        ["/wo", "rk/shared"],
        ["/ho", "me/"],
        ["/Us", "ers/"],
        ["/ro", "ot/"],
        ["crates", ".io/api"],
        ["static.crates", ".io"],
        ["index.crates", ".io"],
        ["registry.npm", "js.org"],
        ["files.python", "hosted.org"],
        ["proxy.go", "lang.org"],
        ["arti", "factory"],
    ]
    .map(|parts| parts.concat());
    let mut files = Vec::new();
    walk(&root(), &mut files);
    let mut faults = Vec::new();
    assert!(files.len() > 100);
    for path in files {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        if NO_MACHINE.iter().any(|(known, _)| *known == name_of(&path)) {
            continue;
        }
        for (n, line) in text.lines().enumerate() {
            for needle in needles.iter().filter(|needle| line.contains(needle.as_str())) {
                faults.push(format!("{}:{}: `{needle}`", name_of(&path), n + 1));
            }
        }
    }
    report(
        "The project speaks of itself alone: no path of one machine, no address of one registry.",
        &faults,
    );
}

#[test]
fn the_reader_of_sources_reads_as_the_compiler_does() {
    let text = "use crate::{model::{Key, Tenant}, policy, // crate::engine\n state::Store};\nlet s = \"crate::proxy\"; let c = '\"'; \
                let r = r#\"crate::cli \" \"#; /* crate::app */ fn f<'a>(x: &'a str) { crate::audit::go(x) }\n#[cfg(test)]\nmod tests { \
                use crate::config; }\nuse std::fs;";
    let code = without_tests(&bare(text));
    let names: Vec<_> = below(&code, "crate").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["model", "policy", "state", "audit"]);
    assert_eq!(below(&code, "std"), [("fs".to_owned(), 6)]);
    assert_eq!(places("async fn asynchronous() { x.r#async }", "async").len(), 2);
    assert_eq!(room("src/policy/decide.rs"), Some("policy"));
    assert_eq!(room("src/lib.rs"), None);
}

/// What follows `law ` or `rule ` as numbers: `9`, `9 and 10`, `6 to 8`.
fn cited(text: &str, word: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for (at, _) in text.match_indices(word) {
        let before = text[..at].chars().next_back().is_some_and(char::is_alphanumeric);
        let rest = text[at + word.len()..].trim_start_matches('s');
        let Some(mut rest) = rest.strip_prefix(' ').filter(|_| !before) else { continue };
        loop {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let Ok(number) = rest[..digits].parse() else { break };
            numbers.push(number);
            rest = &rest[digits..];
            let Some(more) = [" and ", ", ", " to "].iter().find_map(|and| rest.strip_prefix(and)) else {
                break;
            };
            rest = more;
        }
    }
    numbers
}

#[test]
fn each_law_and_rule_that_is_cited_is_written_down() {
    assert_eq!(cited("(law 7), laws 9 and 10; flaw 3; law of 4; law 12.", "law"), [7, 9, 10, 12]);
    let page = std::fs::read_to_string(root().join("docs/laws.md")).unwrap();
    let laws =
        page.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse::<u32>().ok());
    let rules = page.lines().filter_map(|line| line.split_once(". ")?.0.parse::<u32>().ok());
    let (laws, rules): (BTreeSet<u32>, BTreeSet<u32>) = (laws.collect(), rules.collect());
    assert_eq!(laws, (1..=12).collect());
    assert_eq!(rules, (1..=19).collect());
    let mut found = 0;
    for source in product() {
        for (word, known) in [("law", &laws), ("rule", &rules)] {
            for number in cited(&source.text, word) {
                found += 1;
                assert!(known.contains(&number), "{}: {word} {number} is not in docs/laws.md", source.path);
            }
        }
    }
    assert!(found > 100, "{found} citations: the search is broken");
}
