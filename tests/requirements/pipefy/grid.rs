//! Both matrices, cell by cell: as the sources print them, written here by hand; as `postern check --grid` prints them of the
//! preset; and as a running gateway decides them, asked over sockets with real tokens.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Acme, IN_P1, PRESET, acme, app, staffed};
use crate::stage::checked;

/// The company's matrix, line by line: its name here, and how it stands with super admin, admin, member, company guest and
/// external guest. What is asked of the application for each stands beside it.
const COMPANY: [(&str, &str, &[&str]); 11] = [
    ("people:invite", "x x . . .", &["POST people"]),
    ("people:remove", "x x . . .", &["DELETE people/7"]),
    ("people:read", "x x . . .", &["GET people"]),
    ("admin_dashboard:use", "x x . . .", &["GET admin-dashboard", "PUT admin-dashboard/permissions"]),
    ("company_reports:create", "x x x . .", &["POST reports"]),
    ("company_activities:read", "x x . . .", &["GET activities"]),
    ("pipes:create", "x x x . .", &["POST pipes"]),
    ("pipes:delete", "x x . . .", &["DELETE pipes/p1", "DELETE pipes/p2"]),
    ("databases:create", "x x x . .", &["POST databases"]),
    ("databases:delete", "x x . . .", &["DELETE databases/d1"]),
    (
        "automations:manage",
        "x x . . .",
        &["GET automations", "POST automations", "PUT automations/a1", "DELETE automations/a1"],
    ),
];
const COMPANY_ROLES: [&str; 5] = ["super_admin", "admin", "member", "company_guest", "external_guest"];
const COMPANY_PEOPLE: [&str; 5] = ["sue", "adam", "mia", "gus", "xena"];

/// The matrix of a pipe: read-only, restricted view, start form only, pipe member, pipe admin. `b`: what they made and what is
/// assigned to them; `m`: what they made. In what is asked `{card}` stands for a card of theirs, one that is assigned to them,
/// and one of somebody else's; `{comment}` for a comment of theirs and for two of somebody else's.
const PIPE: [(&str, &str, &[&str]); 21] = [
    ("pipes:read", "x x . x x", &["GET pipes/p1", "GET pipes/p1/phases"]),
    ("cards:create", ". x . x x", &["POST pipes/p1/cards"]),
    ("cards:read", "x b . x x", &["GET pipes/p1/cards/{card}"]),
    ("cards:update", ". b . x x", &["PUT pipes/p1/cards/{card}"]),
    ("cards:move", ". . . x x", &["POST pipes/p1/cards/{card}/move"]),
    ("cards:assign", ". . . x x", &["PUT pipes/p1/cards/{card}/assignees"]),
    ("cards:delete", ". . . . x", &["DELETE pipes/p1/cards/{card}"]),
    ("comments:read", "x b . x x", &["GET pipes/p1/cards/{card}/comments"]),
    ("comments:create", "x b . x x", &["POST pipes/p1/cards/{card}/comments"]),
    ("comments:update", "m . . m x", &["PUT pipes/p1/cards/{comment}"]),
    ("comments:delete", "m . . m x", &["DELETE pipes/p1/cards/{comment}"]),
    ("attachments:read", "x b . x x", &["GET pipes/p1/cards/{card}/attachments/7"]),
    ("attachments:add", ". b . x x", &["POST pipes/p1/cards/{card}/attachments"]),
    ("forms:read", ". x x x x", &["GET pipes/p1/start-form"]),
    ("forms:submit", ". x x x x", &["POST pipes/p1/start-form"]),
    ("forms:update", ". . . . x", &["PUT pipes/p1/start-form"]),
    ("pipe_settings:update", ". . . . x", &["PUT pipes/p1/settings", "PUT pipes/p1/phases/7"]),
    ("pipe_people:read", "x x . x x", &["GET pipes/p1/people"]),
    ("pipe_people:manage", ". . . . x", &["PUT pipes/p1/people/7", "DELETE pipes/p1/people/7"]),
    ("pipe_reports:manage", ". . . . x", &["POST pipes/p1/reports", "DELETE pipes/p1/reports/7"]),
    (
        "pipe_automations:manage",
        ". . . . x",
        &[
            "GET pipes/p1/automations",
            "POST pipes/p1/automations",
            "PUT pipes/p1/automations/7",
            "DELETE pipes/p1/automations/7",
        ],
    ),
];

/// What `postern check --grid` prints of the preset.
fn printed() -> String {
    let (code, said) = checked("pipefy.yaml", PRESET, &["check", "--grid"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("warning"), "{said}");
    said
}

/// A table of it by its first word, as cells by permission, of these columns.
fn table(text: &str, first: &str, columns: &[&str]) -> BTreeMap<String, String> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&format!("{first}  ")));
    let heads: Vec<&str> = lines.next().unwrap_or_else(|| panic!("no table {first}: {text}"))[first.len()..]
        .split_whitespace()
        .collect();
    let places: Vec<usize> =
        columns.iter().map(|name| heads.iter().position(|head| head == name).unwrap()).collect();
    let rows = lines.take_while(|line| !line.is_empty()).map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let cells: Vec<&str> = places.iter().map(|place| words[place + 1]).collect();
        (words[0].to_owned(), cells.join(" "))
    });
    rows.collect()
}

/// A cell of the running gateway: what of these is let through, by marks of which all have to agree.
fn mark(what: &str, cells: &[&'static str]) -> &'static str {
    assert!(cells.windows(2).all(|two| two[0] == two[1]), "{what} is one right, and is decided as {cells:?}");
    cells[0]
}

fn passes(acme: &Acme, sub: &str, request: &str) -> bool {
    let (method, below) = request.split_once(' ').unwrap();
    match acme.asks(sub, method, below) {
        Ok(_) => true,
        Err(code) => {
            assert_eq!(code, "permission_missing", "{sub} {request}");
            false
        }
    }
}

#[test]
fn pfc_02_the_companys_matrix_is_the_sources_cell_by_cell() {
    let grid = printed();
    let mut of_file = table(&grid, "permission", &COMPANY_ROLES);
    // Beside the eleven lines a role of a company holds nothing but the administration of support access.
    of_file.retain(|name, cells| COMPANY.iter().any(|(line, ..)| line == name) || cells.contains('x'));
    let support = |name: &str, cells: &str| (name.to_owned(), cells.to_owned());
    let mut expected: BTreeMap<String, String> =
        COMPANY.iter().map(|(name, cells, _)| ((*name).to_owned(), (*cells).to_owned())).collect();
    let of_source = expected.clone();
    expected.extend([support("support:manage", "x . . . ."), support("support:read", "x x . . .")]);
    assert_eq!(of_file, expected);

    let acme = acme();
    let mut of_gateway = BTreeMap::new();
    for (name, _, requests) in COMPANY {
        let cells = COMPANY_PEOPLE.map(|sub| {
            let marks: Vec<_> =
                requests.iter().map(|request| if passes(&acme, sub, request) { "x" } else { "." }).collect();
            mark(name, &marks)
        });
        of_gateway.insert(name.to_owned(), cells.join(" "));
    }
    assert_eq!(of_gateway, of_source);
    acme.0.finish();
}

#[test]
fn pfp_03_04_05_06_07_14_15_the_matrix_of_a_pipe_is_the_sources_cell_by_cell() {
    let of_source: BTreeMap<String, String> =
        PIPE.iter().map(|(name, cells, _)| ((*name).to_owned(), (*cells).to_owned())).collect();
    let roles = IN_P1.map(|(_, role)| role);
    let of_file = table(&printed(), "at pipe", &roles);
    let told = |name: &str| of_file.get(name).map(String::as_str).unwrap_or_default();
    for (name, cells) in &of_source {
        assert_eq!(told(name), cells, "{name}");
    }
    // What the sources do not speak of: reports are seen by who sees all cards, settings by who changes them.
    let rest: Vec<&String> = of_file.keys().filter(|name| !of_source.contains_key(*name)).collect();
    assert_eq!(rest, ["pipe_reports:read", "pipe_settings:read"]);
    assert_eq!((told("pipe_reports:read"), told("pipe_settings:read")), ("x . . x x", ". . . . x"));

    let acme = staffed();
    acme.card("other", "p1", Some("mia"), &[]);
    let comment = |id: &str, card: &str, creator: &str| {
        acme.push(&format!("comment/{id}"), json!({"parent": card, "creator": app(creator)})).is(200);
    };
    comment("other", "other", "mia");
    for (sub, _) in IN_P1 {
        acme.card(&format!("own-{sub}"), "p1", Some(sub), &[]);
        acme.card(&format!("for-{sub}"), "p1", Some("mia"), &[sub]);
        comment(&format!("own-{sub}"), "other", sub);
        comment(&format!("for-{sub}"), &format!("for-{sub}"), "mia");
    }
    let mut of_gateway = BTreeMap::new();
    for (name, _, requests) in PIPE {
        let cells = IN_P1.map(|(sub, _)| {
            let one = |request: &&str| {
                let put = |card: &str, comment: &str| {
                    passes(&acme, sub, &request.replace("{card}", card).replace("{comment}", comment))
                };
                let own = put(&format!("own-{sub}"), &format!("other/comments/own-{sub}"));
                let given = put(&format!("for-{sub}"), &format!("for-{sub}/comments/for-{sub}"));
                let other = put("other", "other/comments/other");
                match (own, given, other) {
                    (true, true, true) => "x",
                    (true, true, false) => "b",
                    (true, false, false) => "m",
                    (false, false, false) => ".",
                    odd => panic!("{sub} {request}: {odd:?}"),
                }
            };
            mark(name, &requests.iter().map(one).collect::<Vec<_>>())
        });
        of_gateway.insert(name.to_owned(), cells.join(" "));
    }
    assert_eq!(of_gateway, of_source);
    acme.0.finish();
}
