//! What lies below tenants: what the file may say of it, and what it then means.

use super::{BASE, load, marked, with};
use postern::{
    model::{RoleName, Span},
    policy::ResourceRules,
};

const ADMIN: &str = "  admin: { allow: \"*:*\" }\n";
const ROUTE: &str = "GET /t/{tenant}/orders\", permission: orders:read }";

/// Boards, cards on them; a lead, and one who works with what is theirs.
const TYPES: &str = "  admin: { allow: \"*:*\" }
  lead: { at: board, allow: \"*:*\", except: \"users:*\", keep_one: true }
  narrow: { at: board, allow: orders:read, own: orders:write, assigned: [orders:write] }
  guest: { allow: orders:read, joins: false }
resource_types:
  board: { manage: users:manage, list: orders:read }
  card: { parent: board }
  shelf: {}
";

fn types(from: &str, to: &str) -> String {
    assert!(TYPES.contains(from), "{from}");
    with(ADMIN, &TYPES.replace(from, to))
}

#[test]
fn without_a_word_nothing_lies_below_tenants() {
    let (settings, _) = load(BASE).unwrap();
    assert_eq!(settings.policy.resources, ResourceRules::default());
}

#[test]
fn types_and_the_roles_held_there_are_part_of_the_policy() {
    let (settings, _) = load(&with(ADMIN, TYPES)).unwrap();
    let policy = &settings.policy;
    let rules = &policy.resources;
    let (board, card) = ("board".parse().unwrap(), "card".parse().unwrap());
    assert_eq!((rules.parent(&card), rules.parent(&board)), (Some(&board), None));
    let id = |name: &str| policy.catalogue.id(name).unwrap();
    assert_eq!(rules.types[&board].manage, Some(id("users:manage")));
    assert_eq!(rules.types[&board].list, Some(id("orders:read")));
    let [lead, narrow] = ["lead", "narrow"].map(|name| &rules.roles[name]);
    assert!(lead.keep_one && lead.permissions.contains(id("orders:write")));
    assert!(!lead.permissions.contains(id("users:manage")));
    assert!(narrow.own.contains(id("orders:write")) && !narrow.permissions.contains(id("orders:write")));
    assert!(narrow.assigned.contains(id("orders:write")) && !narrow.keep_one);
    assert!(rules.role_at(&"lead".parse().unwrap(), &board).is_some());
    assert!(rules.role_at(&"lead".parse().unwrap(), &card).is_none());
    // Their names mean nothing in the tenant; one that keeps apart does.
    assert!(policy.role(&"lead".parse().unwrap()).is_none());
    assert!(policy.role(&"guest".parse().unwrap()).is_some());
    let reached = |rules: &ResourceRules, roles: &[&str]| {
        let roles: Vec<RoleName> = roles.iter().map(|name| name.parse().unwrap()).collect();
        [&board, &card].map(|kind| rules.joins_of(&roles).reach(kind))
    };
    assert_eq!((reached(rules, &["guest"]), reached(rules, &["admin"])), ([false; 2], [true; 2]));
    // Of some types only; of several roles each counts.
    for only in ["[card]", "card"] {
        let (some, _) = load(&types("joins: false", &format!("joins: {only}"))).unwrap();
        assert_eq!(reached(&some.policy.resources, &["guest"]), [false, true], "{only}");
        assert_eq!(reached(&some.policy.resources, &["admin", "guest"]), [false, true], "{only}");
        assert_ne!(some.policy.fingerprint, policy.fingerprint, "{only}");
    }
    let (all, _) = load(&types("joins: false", "joins: true")).unwrap();
    assert_eq!(reached(&all.policy.resources, &["guest"]), [true; 2]);
    let (told, _) = load(
        &types("joins: false", "joins: [board]")
            .replace("list: orders:read", "list: orders:read, enter: { guest: lead }"),
    )
    .unwrap();
    assert_eq!(told.policy.resources.types[&board].enter.len(), 1);
    let (base, _) = load(BASE).unwrap();
    assert_ne!(base.policy.fingerprint, policy.fingerprint);
    let (open, _) =
        load(&types("list: orders:read", "list: orders:read, join: { admin: lead }, enter: { admin: lead }"))
            .unwrap();
    let board_rule = &open.policy.resources.types[&board];
    assert_eq!((board_rule.join.len(), &board_rule.join), (1, &board_rule.enter));
    assert_ne!(open.policy.fingerprint, policy.fingerprint);
    let (seated, _) = load(&types("joins: false", "joins: false, seat: true")).unwrap();
    assert!(seated.policy.role(&"guest".parse().unwrap()).unwrap().seat);
    assert_ne!(seated.policy.fingerprint, policy.fingerprint);
    // What conditions speak of: that in which nothing lies, or what is named.
    assert_eq!((narrow.of.iter().collect::<Vec<_>>(), lead.of.len()), (vec![&card], 0));
    let (named, _) = load(&types("own: orders:write", "of: board, own: orders:write")).unwrap();
    let of = &named.policy.resources.roles["narrow"].of;
    assert_eq!(of.iter().collect::<Vec<_>>(), [&board]);
    assert_ne!(named.policy.fingerprint, policy.fingerprint);
    let (short, _) = load(&types("list: orders:read", "list: orders:read, invitations: 3d")).unwrap();
    let lasts = short.policy.resources.types[&board].invitation_lasts();
    let usual = rules.types[&board].invitation_lasts();
    assert_eq!((lasts, usual), (Span::Millis(3 * 86_400_000), Span::CalendarDays(14)));
    assert_ne!(short.policy.fingerprint, policy.fingerprint);
    for to in ["keep_one: false", "keep_one: true, plans: [gold, iron]"] {
        let (other, _) = load(&types("keep_one: true", to)).unwrap();
        assert_ne!(other.policy.fingerprint, policy.fingerprint, "{to}");
    }
}

#[test]
fn what_is_wrong_of_it_is_told_where_it_stands() {
    let cases = [
        ("{ parent: board }", "{ parent: ⟦bord }", "unknown_word"),
        ("{ parent: board }", "{ parent: ⟦card }", "parent_cycle"),
        ("{ at: board, allow: \"*:*\"", "{ at: ⟦table, allow: \"*:*\"", "unknown_word"),
        ("manage: users:manage", "manage: ⟦users:shred", "unknown_permission"),
        ("own: orders:write", "own: ⟦orders:shred", "unknown_permission"),
        ("own: orders:write", "of: ⟦bord, own: orders:write", "unknown_word"),
        ("own: orders:write", "of: ⟦shelf, own: orders:write", "bad_value"),
        ("keep_one: true", "keep_one: true, of: ⟦card", "unused"),
        ("joins: false", "of: ⟦card", "bad_value"),
        ("list: orders:read", "list: orders:read, join: { ⟦nobody: lead }", "unknown_role"),
        ("list: orders:read", "list: orders:read, join: { admin: ⟦admin }", "unknown_role"),
        ("list: orders:read", "list: orders:read, enter: { ⟦guest: lead }", "bad_value"),
        ("joins: false", "joins: ⟦[]", "bad_value"),
        ("joins: false", "joins: [⟦bord]", "unknown_word"),
        ("joins: false", "joins: [card, ⟦card]", "duplicate_name"),
        ("joins: false", "joins: ⟦no", "wrong_type"),
        ("joins: false", "joins: ⟦5", "wrong_type"),
        ("list: orders:read", "list: orders:read, invitations: ⟦5s", "out_of_range"),
        ("keep_one: true", "keep_one: true, plans: ⟦[]", "bad_value"),
        ("keep_one: true", "keep_one: true, plans: [gold, ⟦gold]", "duplicate_name"),
        ("keep_one: true", "keep_one: true, adjustable: ⟦true", "bad_value"),
        ("keep_one: true", "keep_one: true, joins: ⟦false", "bad_value"),
        ("keep_one: true", "keep_one: true, seat: ⟦true", "bad_value"),
        ("  card: { parent: board }", "  card: { parent: board }\n  ⟦tenant: {}", "reserved_name"),
        ("joins: false", "keep_one: ⟦true", "bad_value"),
        ("joins: false", "own: ⟦orders:write", "bad_value"),
        ("joins: false", "assigned: ⟦orders:write", "bad_value"),
        ("  card: { parent: board }", "  card: { parent: board, ⟦members: 5 }", "unknown_key"),
        ("  card: { parent: board }", "  ⟦Card: { parent: board }", "bad_value"),
    ];
    for (from, to, code) in cases {
        found(&types(from, to), code);
    }
    let deep =
        "  card: { parent: board }\n  c3: { parent: card }\n  c4: { parent: c3 }\n  c5: { parent: ⟦c4 }\n";
    found(&types("  card: { parent: board }\n", deep), "parents_too_deep");
    // Neither a level nor break-glass gives what is held at resources.
    let text = with(ADMIN, TYPES).replace("level: full, role: admin", "level: full, role: ⟦lead");
    found(&text, "unknown_role");
}

const LOOK_UP: &str = "  card:
    parent: board
    look_up:
      path: /in/{tenant}/cards/{card}
      id: /id
      creator: /made/by
      assignees: /to/*/id
      parent: /board
      for: 20s
";

#[test]
fn a_type_says_how_its_resources_are_looked_up() {
    let load_with =
        |edit: &dyn Fn(&str) -> String| load(&types("  card: { parent: board }\n", &edit(LOOK_UP)));
    let (settings, _) = load_with(&|text| text.to_owned()).unwrap();
    let policy = &settings.policy;
    assert!(policy.resources.looks_up());
    let look_up = policy.resources.types["card"].look_up.as_deref().unwrap();
    assert_eq!(look_up.target(&"acme".parse().unwrap(), &"c.7~x".parse().unwrap()), "/in/acme/cards/c.7~x");
    assert_eq!((look_up.for_ms, look_up.within_ms, look_up.upstream), (20_000, 500, 0));
    assert_eq!(look_up.issuer.as_ref().unwrap().as_str(), "app");
    let assignees = look_up.assignees.as_ref().unwrap();
    assert_eq!(assignees.at.to_string(), "/to");
    assert_eq!(assignees.item.as_ref().unwrap().to_string(), "/id");
    // All of it is in the fingerprint.
    let mut names = std::collections::BTreeSet::from([policy.fingerprint.clone()]);
    for (from, to) in [
        ("/in/", "/out/"),
        ("      id: /id\n", ""),
        ("id: /id\n", "id: /id\n      tenant: /org\n"),
        ("/made/by", "/made/by/id"),
        ("/to/*/id", "/to/*"),
        ("/to/*/id", "/to/id"),
        ("parent: /board\n", "parent: /board/id\n"),
        ("20s", "21s"),
        ("20s\n", "20s\n      within: 400ms\n"),
        ("      creator: /made/by\n", ""),
    ] {
        let (other, _) = load_with(&|text| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        })
        .unwrap();
        assert!(names.insert(other.policy.fingerprint), "{from} -> {to}");
    }
    // Whose it is may stand in the answer, and the path then not name it.
    let by_answer = |text: &str| text.replace("/in/{tenant}/", "/in/").replace("id: /id\n", "tenant: /org\n");
    assert!(load_with(&by_answer).is_ok());
    let parent_alone = |text: &str| text.replace("      creator: /made/by\n      assignees: /to/*/id\n", "");
    let (alone, _) = load_with(&parent_alone).unwrap();
    assert_eq!(alone.policy.resources.types["card"].look_up.as_deref().unwrap().issuer, None);
}

#[test]
fn what_is_wrong_of_a_look_up_is_told_where_it_stands() {
    for (from, to, code) in [
        (
            "      path: /in/{tenant}/cards/{card}\n",
            "      upstream: ⟦up\n      path: /in/{tenant}/cards/{card}\n",
            "unknown_upstream",
        ),
        ("/in/{tenant}/cards/{card}", "/in/{tenant}/cards/{⟦crad}", "unknown_word"),
        ("/in/{tenant}/cards/{card}", "⟦/in/{tenant}/cards", "bad_value"),
        ("/in/{tenant}/cards/{card}", "⟦/in/cards/{card}", "bad_value"),
        ("/in/{tenant}/cards/{card}", "⟦/in/{tenant}{card}", "bad_value"),
        ("/in/{tenant}/cards/{card}", "⟦/in/{tenant}-{card}", "bad_value"),
        ("/in/{tenant}/cards/{card}", "⟦/in/t.{tenant}/cards/{card}", "bad_value"),
        ("/in/{tenant}/cards/{card}", "⟦in/{tenant}/cards/{card}", "bad_value"),
        ("/in/{tenant}/cards/{card}", "⟦/in/{tenant}//cards/{card}", "bad_value"),
        ("/in/{tenant}/cards/{card}", "⟦/in/../{tenant}/{card}", "bad_value"),
        ("/in/{tenant}/cards/{card}", "⟦/in/%2e/{tenant}/{card}", "bad_value"),
        ("/in/{tenant}/cards/{card}", "⟦/in/{tenant}/{card}?x=1", "bad_value"),
        ("/in/{tenant}/cards/{card}", "/in/{tenant}/⟦{card", "bad_value"),
        ("      path: /in/{tenant}/cards/{card}\n      id: /id\n", "      ⟦id: /id\n", "missing_key"),
        ("/made/by", "⟦made/by", "bad_value"),
        ("/made/by", "⟦/made/~2", "bad_value"),
        ("/made/by", "⟦/made/*/by", "bad_value"),
        ("/made/by", "⟦\"\"", "bad_value"),
        ("/to/*/id", "⟦/to/*/x/*/id", "bad_value"),
        ("/to/*/id", "⟦to/*", "bad_value"),
        ("for: 20s", "for: ⟦6m", "out_of_range"),
        ("for: 20s", "for: ⟦500ms", "out_of_range"),
        ("for: 20s", "for: 20s\n      within: ⟦6s", "out_of_range"),
        ("for: 20s", "for: 2s\n      within: ⟦2s", "out_of_range"),
        ("for: 20s", "issuer: ⟦ap", "unknown_issuer"),
        ("for: 20s", "issuer: ⟦vendor", "bad_value"),
        ("for: 20s", "⟦every: 20s", "unknown_key"),
        (
            "      creator: /made/by\n      assignees: /to/*/id\n      parent: /board\n      for: 20s\n",
            "",
            "one_of",
        ),
    ] {
        assert!(LOOK_UP.contains(from), "{from}");
        let mut text = LOOK_UP.replacen(from, to, 1);
        if !text.contains('⟦') {
            text = text.replace("      path", "      ⟦path");
        }
        found(&types("  card: { parent: board }\n", &text), code);
    }
    // Where nothing can be had of it.
    let on_top = LOOK_UP.replace("    parent: board\n", "").replace("parent: /board", "parent: ⟦/board");
    found(&types("  card: { parent: board }\n", &on_top), "bad_value");
    let useless = LOOK_UP
        .replace("    parent: board\n", "")
        .replace("      parent: /board\n", "")
        .replace("      path", "      ⟦path");
    found(&types("  card: { parent: board }\n", &useless), "unused");
    let nobody = LOOK_UP
        .replace("      creator: /made/by\n      assignees: /to/*/id\n", "")
        .replace("for: 20s", "issuer: ⟦app");
    found(&types("  card: { parent: board }\n", &nobody), "unused");
}

#[test]
fn a_route_names_what_its_resource_lies_in_nearest_first() {
    let route = |resource: &str| {
        let line = format!(
            "GET /t/{{tenant}}/b/{{board}}/c/{{card}}\", permission: orders:read, resource: {resource} }}\n  - {{ route: \"{ROUTE}"
        );
        with(ADMIN, TYPES).replace(ROUTE, &line)
    };
    let whole = "{ type: card, id: card, within: { type: board, id: board }, checked: true }";
    let (settings, _) = load(&route(whole)).unwrap();
    let entry = settings.routes.iter().find(|entry| entry.template.as_str().contains("{card}")).unwrap();
    let rule = &settings.policy.rules[entry.rule];
    assert_eq!(rule.within.types, ["board".parse().unwrap()]);
    assert!(rule.within.checked);
    assert_eq!(entry.within_parameters, ["board"]);
    for (resource, code) in [
        ("{ type: card, id: card, within: { type: ⟦card, id: board } }", "bad_value"),
        ("{ type: board, id: board, within: { type: ⟦card, id: card } }", "bad_value"),
        ("{ type: card, id: card, within: { type: board, id: ⟦bord } }", "missing_parameter"),
        ("{ type: card, id: card, checked: ⟦true }", "unused"),
        ("{ type: ⟦table, id: card }", "unknown_word"),
    ] {
        found(&route(resource), code);
    }
}

fn found(text: &str, code: &str) {
    let (text, line, column) = marked(text);
    let told: Vec<_> = match load(&text) {
        Ok((_, warnings)) => {
            warnings.into_iter().map(|told| (told.code.as_str(), told.line, told.column)).collect()
        }
        Err(faults) => {
            faults.faults().iter().map(|told| (told.code.as_str(), told.line, told.column)).collect()
        }
    };
    assert!(told.contains(&(code, line, column)), "{code} at {line}:{column} is not in {told:?}\n{text}");
}
