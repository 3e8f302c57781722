//! Spellings of a forbidden path, sent to a gateway whose map invites them in by every other door, and judged by what
//! back-ends that decode, merge, strip and fold in their own ways would make of what arrived.

use std::{collections::BTreeMap, io::Write as _};

use crate::{
    format::{cases, escaped},
    generated,
    judge::Judge,
    spellings::{GUARDED, spellings},
    world::{Plan, request},
    writing,
};

/// Beside the guarded literal stand a parameter, tails, and a route that is open to everybody.
const MAP: &str = r#"  - { route: "GET /t/{tenant}/api/users", permission: users:manage }
  - { route: "GET /t/{tenant}/api/{thing}", permission: orders:read }
  - { route: "GET /t/{tenant}/{*rest}", permission: orders:read }
  - { route: "GET /{*rest}", public: true }
"#;
const PUBLIC: &str = "  - { route: \"GET /public/{*rest}\", public: true }\n";

const HEADER: &str = "\
# Spellings of one forbidden path: what stands between `GET ` and ` HTTP/1.1`. The format is described in ../README.md.
# Written by the generator in tests/paths/corpus.rs; every spelling is read as the path by at least one back-end of
# tests/paths/backends.rs, or nearly so. `forward` means that it goes on as another path, which none of them takes for it.
";

#[test]
fn no_spelling_of_a_forbidden_path_reaches_it() {
    let mut judge = Judge::new(Plan::default().edit(PUBLIC, MAP));
    let refused = judge.world.get(GUARDED, &judge.staff);
    assert_eq!((refused.status, refused.code().as_str()), (403, "ceiling"), "the path itself is forbidden");
    let known: BTreeMap<Vec<u8>, String> = cases(include_str!("paths/forbidden.txt"), &[])
        .into_iter()
        .map(|case| (case.bytes(), case.expected.join(" ; ")))
        .collect();
    let all = spellings();
    assert!(all.len() >= 500, "{} spellings", all.len());
    let mut text = HEADER.to_owned();
    let mut wrong = Vec::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (number, spelling) in all.iter().enumerate() {
        let before = judge.world.upstream.seen().len();
        let mut client = judge.world.client();
        let rest = request("GET", "", &judge.staff, "");
        let sent = [b"GET ", spelling.as_slice(), rest.strip_prefix("GET ").unwrap().as_bytes()].concat();
        client.stream.write_all(&sent).unwrap();
        let reply = client.reply();
        let verdict = match reply.status {
            200 => "forward".to_owned(),
            status => format!("refuse {status} {}", reply.code()),
        };
        *counts.entry(verdict.clone()).or_default() += 1;
        for seen in &judge.world.upstream.seen()[before..] {
            if let Err(fault) = judge.note(seen) {
                wrong.push(format!("`{}`: {fault}", spelling.escape_ascii()));
            }
        }
        if !writing() && known.get(spelling) != Some(&verdict) {
            wrong.push(format!("`{}`: {verdict}, not {:?}", spelling.escape_ascii(), known.get(spelling)));
        }
        text += &format!("\n=== p{:04} | {verdict}\n{}\n", number + 1, escaped(spelling));
    }
    println!("{} spellings: {counts:#?}", all.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
    generated("paths/forbidden.txt", &text);
    judge.finish();
}
