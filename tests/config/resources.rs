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
