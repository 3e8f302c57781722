//! What a route's requests make: what is written, what it means, and what is wrong about it.

use postern::policy::creates::IdFrom;

use super::{BASE, load, marked, with};

const ADMIN: &str = "  admin: { allow: \"*:*\" }\n";
const TYPES: &str = "  admin: { allow: \"*:*\" }
  guest: { allow: orders:write, joins: false }
  person: { allow: \"orders:*\", seat: true }
  reader: { allow: orders:read }
  lead: { at: board, allow: \"orders:*\" }
  hand: { at: card, allow: orders:read }
resource_types:
  board: {}
  card: { parent: board }
";
const ORDERS: &str = "  - { route: \"GET /t/{tenant}/orders\", permission: orders:read }\n";

/// The base with types, roles at them, members' roles in rows, and a route of this kind.
fn line(route: &str) -> String {
    let text = with(ADMIN, TYPES).replace(ORDERS, &format!("{ORDERS}  - {{ {route} }}\n"));
    text.replacen("    kind: member\n", "    kind: member\n    roles: rows\n", 1)
}

fn made(written: &str) -> String {
    line(&format!("route: \"POST /t/{{tenant}}/boards\", permission: orders:write, {written}"))
}

// PFC-07
// PFP-04
#[test]
fn a_route_says_what_it_creates_and_what_follows() {
    let text = made(
        "creates: { type: board, id: { location: \"/t/{tenant}/boards/{board}\" }, role: lead, becomes: { guest: person } }",
    );
    let settings = load(&text).unwrap().0;
    let rule = &settings.policy.rules[1];
    // Whoever makes something is recorded.
    assert!(rule.record);
    let creates = rule.creates.as_deref().unwrap();
    assert_eq!(
        creates.to_string(),
        "board by location /t/{tenant}/boards/{board}, role lead, guest becomes person"
    );
    let named = |text: &str| load(text).unwrap().0.policy.fingerprint;
    let plain = made("creates: { type: card, id: { json: /data/id } }");
    let settings = load(&plain).unwrap().0;
    let creates = settings.policy.rules[1].creates.as_deref().unwrap();
    assert!(matches!(&creates.id, IdFrom::Json(pointer) if pointer.to_string() == "/data/id"));
    assert!(creates.role.is_none() && creates.becomes.is_empty());
    assert!(named(&text) != named(&plain) && named(&made("record: true")) != named(&plain));
    assert!(load(BASE).unwrap().0.policy.rules.iter().all(|rule| rule.creates.is_none()));
}

#[test]
fn what_cannot_be_learned_so_is_told_where_it_stands() {
    let id = "id: { json: /id }";
    let cases = [
        ("creates: ⟦{ }".to_owned(), vec!["missing_key", "missing_key"]),
        (format!("creates: {{ type: ⟦pipe, {id} }}"), vec!["unknown_word"]),
        (format!("creates: {{ type: ⟦orders, {id} }}"), vec!["unknown_word"]),
        ("creates: ⟦{ type: board }".into(), vec!["missing_key"]),
        ("creates: { type: board, id: ⟦{ } }".into(), vec!["one_of"]),
        ("creates: { type: board, id: ⟦{ json: /id, location: \"/b/{b}\" } }".into(), vec!["one_of"]),
        ("creates: { type: board, id: { json: ⟦id } }".into(), vec!["bad_value"]),
        ("creates: { type: board, id: { json: ⟦\"\" } }".into(), vec!["bad_value"]),
        ("creates: { type: board, id: { location: ⟦\"/boards\" } }".into(), vec!["bad_value"]),
        ("creates: { type: board, id: { location: ⟦\"/t/{t}/b/{b}\" } }".into(), vec!["bad_value"]),
        ("creates: { type: board, id: { location: ⟦\"/t/{tenant}/b\" } }".into(), vec!["bad_value"]),
        ("creates: { type: board, id: { location: ⟦\"/t/{tenant}/{a}/{b}\" } }".into(), vec!["bad_value"]),
        ("creates: ⟦{ type: board, id: { location: \"/t/acme/boards/{b}\" } }".into(), vec!["bad_value"]),
        ("creates: { type: board, id: { location: ⟦\"/boards/{*b}\" } }".into(), vec!["bad_value"]),
        ("creates: { type: board, id: { location: \"/boards/b⟦{b}\" } }".into(), vec!["bad_route"]),
        (format!("creates: {{ type: board, {id}, role: ⟦hand }}"), vec!["unknown_role"]),
        (format!("creates: {{ type: board, {id}, role: ⟦admin }}"), vec!["unknown_role"]),
        (format!("creates: {{ type: board, {id}, becomes: {{ ⟦gast: person }} }}"), vec!["unknown_role"]),
        (format!("creates: {{ type: board, {id}, becomes: {{ guest: ⟦lead }} }}"), vec!["unknown_role"]),
        (format!("creates: {{ type: board, {id}, becomes: {{ guest: ⟦guest }} }}"), vec!["bad_value"]),
        (format!("creates: {{ type: board, {id}, becomes: {{ guest: ⟦reader }} }}"), vec!["bad_value"]),
        (format!("creates: {{ type: board, {id}, ⟦name: x }}"), vec!["unknown_key"]),
        (format!("effect: read, creates: ⟦{{ type: board, {id} }}"), vec!["bad_value"]),
        (
            format!(
                "effect: read, narrow: {{ filter: {{ type: orders, list: /o, id: /i }} }}, creates: ⟦{{ type: board, {id} }}"
            ),
            vec!["one_of"],
        ),
    ];
    let told = |text: &str, codes: &[&str]| {
        let (text, line, column) = marked(text);
        let faults = load(&text).expect_err(&text);
        let found: Vec<_> = faults.faults().iter().map(|f| (f.code.as_str(), f.line, f.column)).collect();
        let wanted: Vec<_> = codes.iter().map(|code| (*code, line, column)).collect();
        assert_eq!(found, wanted, "{faults}");
        assert!(faults.faults().iter().all(|fault| !fault.hint.is_empty()));
    };
    for (written, codes) in &cases {
        told(&made(written), codes);
    }
    let creates = format!("creates: ⟦{{ type: board, {id} }}");
    told(&line(&format!("route: \"POST /b\", public: true, {creates}")), &["one_of"]);
    told(
        &line(&format!("route: \"GET,POST /t/{{tenant}}/b\", permission: orders:write, {creates}")),
        &["bad_value"],
    );
    told(
        &line(&format!(
            "route: \"GET /t/{{tenant}}/b\", permission: orders:write, upgrade: websocket, {creates}"
        )),
        &["one_of"],
    );
    // Where roles stand in tokens nothing changes them.
    let text = made(&format!("creates: {{ type: board, {id}, becomes: ⟦{{ guest: person }} }}"));
    told(&text.replacen("    roles: rows\n", "", 1), &["bad_value"]);
}
