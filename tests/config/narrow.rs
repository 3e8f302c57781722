//! How answers are narrowed: what is written, what it means, and what is wrong about it.

use super::{BASE, load, marked, with};

const ORDERS: &str = "permission: orders:read }";

/// The first route with this behind its permission.
fn narrowed(written: &str) -> String {
    with(ORDERS, &format!("permission: orders:read, {written} }}"))
}

#[test]
fn a_filter_says_what_is_where() {
    let text =
        narrowed("narrow: { filter: { type: orders, list: /data/orders, id: /id, keep: [/page, /data/x] } }");
    let settings = load(&text).unwrap().0;
    let rule = &settings.policy.rules[0];
    let narrow = rule.narrow.as_deref().unwrap();
    assert_eq!(narrow.kind().unwrap().as_str(), "orders");
    assert_eq!(
        narrow.shape().unwrap().to_string(),
        r#"{"data":{"orders":list;"x":keep;};"page":keep;} of "/id", others do not"#
    );
    // Each item is asked for what the route asks for, and is not a list itself.
    assert_eq!((&narrow.item.permissions, narrow.item.narrow.is_none()), (&rule.permissions, true));
    let named = |text: &str| load(text).unwrap().0.policy.fingerprint;
    let other = narrowed("narrow: { filter: { type: orders, list: /data/orders, id: /id, keep: [/page] } }");
    assert!(named(&text) != named(&other) && named(&text) != named(BASE), "the policy's name covers it");
    let text = narrowed("narrow: { filter: { type: orders, list: \"\", id: \"\" } }");
    let settings = load(&text).unwrap().0;
    let shape = settings.policy.rules[0].narrow.as_ref().unwrap().shape().unwrap().to_string();
    assert_eq!(shape, r#"list of "", others do not"#);
    let text =
        narrowed("effect: read, narrow: { filter: { type: orders, list: /o, id: /id, drop: /total } }")
            .replace("GET /t/{tenant}/orders\"", "POST /t/{tenant}/find\"");
    let settings = load(&text).unwrap().0;
    let shape = settings.policy.rules[0].narrow.as_ref().unwrap().shape().unwrap().to_string();
    assert_eq!(shape, r#"{"o":list;"total":drop;} of "/id", others pass"#);
}

#[test]
fn a_route_may_refuse_whoever_may_see_some_of_it_only() {
    let text = narrowed("narrow: refuse");
    let settings = load(&text).unwrap().0;
    let rule = &settings.policy.rules[0];
    assert_eq!((rule.whole_only, rule.narrow.is_none()), (true, true));
    let base = load(BASE).unwrap().0.policy;
    assert!(!base.rules[0].whole_only && base.fingerprint != settings.policy.fingerprint);
    // What writes, and what becomes a tunnel, is refused so too.
    for (methods, more) in [("DELETE", ""), ("GET", "upgrade: websocket, ")] {
        let text = narrowed(&format!("{more}narrow: refuse"))
            .replace("GET /t/{tenant}/orders\"", &format!("{methods} /t/{{tenant}}/find\""))
            .replace("permission: orders:read", "permission: orders:write");
        assert!(load(&text).unwrap().0.policy.rules[0].whole_only, "{methods}");
    }
}

#[test]
fn what_cannot_be_narrowed_so_is_told_where_it_stands() {
    let cases = [
        ("narrow: ⟦{ }", "missing_key"),
        ("narrow: ⟦refused", "unknown_word"),
        ("narrow: ⟦[refuse]", "wrong_type"),
        ("narrow: { ⟦refuse: true, filter: { type: orders, list: /o, id: /id } }", "unknown_key"),
        ("narrow: { filter: ⟦{ list: /o, id: /id } }", "missing_key"),
        ("narrow: { filter: ⟦{ type: orders, id: /id } }", "missing_key"),
        ("narrow: { filter: ⟦{ type: orders, list: /o } }", "missing_key"),
        ("narrow: { filter: { type: ⟦order, list: /o, id: /id } }", "unknown_word"),
        ("narrow: { filter: { type: orders, list: ⟦o, id: /id } }", "bad_value"),
        ("narrow: { filter: { type: orders, list: /o, id: ⟦/i~d } }", "bad_value"),
        ("narrow: { filter: { type: orders, list: /o, id: /id, keep: [/a, ⟦b] } }", "bad_value"),
        ("narrow: { filter: { type: orders, list: /o, id: /id, keep: ⟦[/a, /a/b] } }", "bad_value"),
        ("narrow: { filter: { type: orders, list: /o, id: /id, drop: ⟦/o } }", "bad_value"),
        ("narrow: { filter: { type: orders, list: \"\", id: /id, keep: ⟦/o } }", "bad_value"),
        ("narrow: { filter: { type: orders, list: /o, id: /id, keep: /a, drop: ⟦/b } }", "one_of"),
        ("narrow: { filter: { type: orders, list: /o, id: /id, ⟦hide: /b } }", "unknown_key"),
        ("effect: write, narrow: ⟦{ filter: { type: orders, list: /o, id: /id } }", "bad_value"),
        (
            "upgrade: websocket, effect: read, narrow: ⟦{ filter: { type: orders, list: /o, id: /id } }",
            "one_of",
        ),
    ];
    for (written, code) in cases {
        let (text, line, column) = marked(&narrowed(written));
        let faults = load(&text).expect_err(written);
        let found: Vec<_> = faults.faults().iter().map(|f| (f.code.as_str(), f.line, f.column)).collect();
        assert_eq!(found, [(code, line, column)], "{written}\n{faults}");
        assert!(faults.faults().iter().all(|fault| !fault.hint.is_empty()));
    }
    let public = "{ route: \"GET /public/{*rest}\", public: true";
    let (text, line, column) = marked(&with(
        public,
        &format!("{public}, narrow: ⟦{{ filter: {{ type: orders, list: /o, id: /id }} }}"),
    ));
    let faults = load(&text).unwrap_err();
    let found: Vec<_> = faults.faults().iter().map(|f| (f.code.as_str(), f.line, f.column)).collect();
    assert_eq!(found, [("one_of", line, column)], "{faults}");
}

const TYPES: &str =
    "members: { unmapped: refuse }\nresource_types:\n  board: {}\n  card: { parent: board }\n";

/// A list on a board, with this behind its permission.
fn on_board(written: &str) -> String {
    with(
        "GET /t/{tenant}/orders\", permission: orders:read }",
        &format!(
            "GET /t/{{tenant}}/b/{{board}}\", permission: orders:read, resource: {{ type: board, id: board }}, {written} }}"
        ),
    )
    .replace("members: { unmapped: refuse }\n", TYPES)
}

#[test]
fn a_query_says_how_the_application_is_asked() {
    let text = on_board("narrow: { query: { visible_to: \"{subject}\", \"f[of]\": \"x-{tenant}\" } }");
    let settings = load(&text).unwrap().0;
    let rule = &settings.policy.rules[0];
    let narrow = rule.narrow.as_deref().unwrap();
    assert_eq!((narrow.how.code(), narrow.kind().unwrap().as_str()), ("query", "card"));
    assert!(narrow.shape().is_none() && !rule.whole_only);
    assert_eq!(narrow.item.permissions, rule.permissions);
    let asked: Vec<_> = settings.routes[0].query.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(asked, ["visible_to", "f[of]"]);
    let named = |text: &str| load(text).unwrap().0.policy.fingerprint;
    let others = [
        "narrow: { query: { visible_to: \"{tenant}\", \"f[of]\": \"x-{tenant}\" } }",
        "narrow: { query: { visible_to: \"{subject}\" } }",
        "narrow: { query: { mine: \"{subject}\" } }",
        "narrow: { filter: { type: card, list: /cards, id: /id } }",
        "narrow: refuse",
    ];
    let names: std::collections::BTreeSet<_> =
        others.iter().map(|other| named(&on_board(other))).chain([named(&text)]).collect();
    assert_eq!(names.len(), 6, "the policy's name covers it");
    // Where several lie in it, one is named.
    let two = |written: &str| on_board(written).replace("  card: {", "  note: { parent: board }\n  card: {");
    let kind = |text: &str| {
        load(text).unwrap().0.policy.rules[0].narrow.as_ref().unwrap().kind().unwrap().to_string()
    };
    for named in ["note", "card"] {
        assert_eq!(kind(&two(&format!("narrow: {{ query: {{ a: \"1\" }}, type: {named} }}"))), named);
    }
    let (text, line, column) = marked(&two("narrow: ⟦{ query: { a: \"1\" } }"));
    let faults = load(&text).unwrap_err();
    let found: Vec<_> = faults.faults().iter().map(|f| (f.code.as_str(), f.line, f.column)).collect();
    assert_eq!(found, [("missing_key", line, column)], "{faults}");
}

#[test]
fn what_no_application_can_be_asked_is_told_where_it_stands() {
    let cases = [
        ("narrow: { query: ⟦{ } }", "bad_value"),
        ("narrow: { query: ⟦[a] }", "wrong_type"),
        ("narrow: { query: { ⟦a b: x } }", "bad_value"),
        ("narrow: { query: { ⟦_a: x } }", "bad_value"),
        ("narrow: { query: { a: x, ⟦A: x } }", "duplicate_name"),
        ("narrow: { query: { visible_to: x, ⟦visibleTo: x } }", "duplicate_name"),
        ("narrow: { query: { a: x, ⟦\"a[b]\": x } }", "duplicate_name"),
        ("narrow: { query: { a: ⟦\"\" } }", "bad_value"),
        ("narrow: { query: { a: \"{⟦session}\" } }", "unknown_word"),
        ("narrow: { query: { a: \"{⟦actor}\" } }", "unknown_word"),
        ("narrow: { query: { a: \"{⟦person}\" } }", "unknown_word"),
        ("narrow: { query: { a: \"⟦{subject\" } }", "bad_value"),
        ("narrow: { query: { a: x }, type: ⟦board }", "bad_value"),
        ("narrow: { query: { a: x }, type: ⟦bord }", "unknown_word"),
        ("narrow: { query: { a: x }, filter: ⟦{ type: card, list: /o, id: /id } }", "one_of"),
        ("narrow: { type: ⟦card, filter: { type: card, list: /o, id: /id } }", "one_of"),
        ("narrow: ⟦{ type: card }", "missing_key"),
        ("effect: write, narrow: ⟦{ query: { a: x } }", "bad_value"),
        ("upgrade: websocket, effect: read, narrow: ⟦{ query: { a: x } }", "one_of"),
    ];
    for (written, code) in cases {
        let (text, line, column) = marked(&on_board(written));
        let faults = load(&text).expect_err(written);
        let found: Vec<_> = faults.faults().iter().map(|f| (f.code.as_str(), f.line, f.column)).collect();
        assert!(found.contains(&(code, line, column)) && found.len() <= 2, "{written}\n{faults}");
        assert!(faults.faults().iter().all(|fault| !fault.hint.is_empty()));
    }
    // What is asked for in a body is not the gateway's to write; and where no resource is named, nobody is narrowed.
    let search = on_board("effect: read, narrow: ⟦{ query: { a: x } }")
        .replace("GET /t/{tenant}/b/", "POST /t/{tenant}/b/");
    let nowhere = narrowed("narrow: ⟦{ query: { a: x } }").replace("members: { unmapped: refuse }\n", TYPES);
    let empty = narrowed("resource: { type: orders, id: tenant }, narrow: ⟦{ query: { a: x } }");
    for (written, code) in [(search, "bad_value"), (nowhere, "missing_key"), (empty, "bad_value")] {
        let (text, line, column) = marked(&written);
        let faults = load(&text).expect_err(&written);
        let found: Vec<_> = faults.faults().iter().map(|f| (f.code.as_str(), f.line, f.column)).collect();
        assert_eq!(found, [(code, line, column)], "{written}\n{faults}");
    }
}

/// Cards lie on boards; `restricted` sees those of its own only, `lead` all.
const SOME: &str = "  admin: { allow: \"*:*\" }
  lead: { at: board, allow: \"orders:*\" }
  restricted: { at: board, allow: orders:write, own: orders:read }
  above: { at: shelf, allow: orders:write, assigned: orders:read }
  beside: { at: board, allow: users:manage, own: orders:write }
";
const SHELVES: &str = "members: { unmapped: refuse }
resource_types:
  shelf: {}
  board: { parent: shelf }
  card: { parent: board }
  note: { parent: board }
";

#[test]
fn a_route_that_some_roles_reach_in_part_and_that_is_not_narrowed_is_told() {
    let told = |route: &str| {
        let text = with("{ route: \"GET /t/{tenant}/orders\", permission: orders:read }", route)
            .replace("  admin: { allow: \"*:*\" }\n", SOME)
            .replace("members: { unmapped: refuse }\n", SHELVES);
        let (text, line, column) = if route.contains('⟦') { marked(&text) } else { (text, 0, 0) };
        let warnings = load(&text).unwrap_or_else(|faults| panic!("{faults}")).1;
        let ours: Vec<_> = warnings.into_iter().filter(|one| one.code.as_str() == "not_narrowed").collect();
        assert!(ours.iter().all(|one| (one.line, one.column) == (line, column)), "{route}: {ours:?}");
        ours.into_iter().map(|one| one.message).collect::<Vec<_>>()
    };
    let on_board = |methods: &str, more: &str| {
        format!(
            "{{ route: ⟦\"{methods} /t/{{tenant}}/b/{{board}}\", resource: {{ type: board, id: board }}, {more} }}"
        )
    };
    let plain = |text: String| text.replace('⟦', "");
    let all = told(&on_board("GET", "permission: orders:read"));
    assert_eq!(
        all,
        [
            "closed to `above`, `restricted`: what these roles hold on a condition only is about `card`, `note`, and nothing \
             says how what is shown of a whole `board` is narrowed to those"
        ]
    );
    let writes = told(&on_board("POST", "permission: orders:write"));
    let [one] = writes.as_slice() else { panic!("{writes:?}") };
    assert!(one.starts_with("closed to `beside`:") && one.ends_with("acts on a whole `board`"), "{one}");
    // Narrowed or closed on purpose it is well; narrowed to what they do not speak of it is not.
    for narrow in [
        "refuse",
        "{ filter: { type: card, list: /a, id: /id } }",
        "{ query: { of: \"{subject}\" }, type: note }",
    ] {
        let route = plain(on_board("GET", &format!("permission: orders:read, narrow: {narrow}")));
        assert_eq!(told(&route), Vec::<String>::new(), "{narrow}");
    }
    let other = "permission: orders:read, narrow: { filter: { type: shelf, list: /a, id: /id } }";
    let other = told(&on_board("GET", other));
    assert!(matches!(other.as_slice(), [one] if one.ends_with("this is narrowed to `shelf`")), "{other:?}");
    // The thing itself, what asks for more than they ever have, what is open to everybody, and what acts on no resource.
    for route in [
        "{ route: \"GET /t/{tenant}/c/{card}\", resource: { type: card, id: card }, permission: orders:read }",
        "{ route: \"GET /t/{tenant}/b/{board}\", resource: { type: board, id: board }, permission: [orders:read, users:manage] }",
        "{ route: \"GET /t/{tenant}/b/{board}\", resource: { type: board, id: board }, public: true }",
        "{ route: \"GET /t/{tenant}/orders\", permission: orders:read }",
    ] {
        assert_eq!(told(route), Vec::<String>::new(), "{route}");
    }
    // What lies above their rows.
    let shelf = "{ route: ⟦\"GET /t/{tenant}/s/{shelf}\", resource: { type: shelf, id: shelf }, permission: orders:read }";
    let shelf = told(shelf);
    assert!(matches!(shelf.as_slice(), [one] if one.starts_with("closed to `above`:")), "{shelf:?}");
}
