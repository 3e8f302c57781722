//! Roles that tenants adjust and define: what the file may say of them, and what it then means.

use super::{BASE, load, marked, with};
use postern::policy::{SUPPORT_MANAGE, TenantRoles};

const CLERK: &str = "  admin: { allow: \"*:*\" }\n  clerk: { allow: \"orders:*\", adjustable: true }\n";

fn role(of: &str) -> String {
    with("  admin: { allow: \"*:*\" }\n", of)
}

fn add(text: &str) -> String {
    role(&format!("{CLERK}{text}"))
}

#[test]
fn without_a_word_roles_are_the_same_for_all_tenants() {
    let (settings, _) = load(BASE).unwrap();
    assert_eq!(settings.policy.tenant_roles, TenantRoles::default());
    assert_eq!(
        (settings.policy.tenant_roles.most, settings.policy.tenant_roles.permission()),
        (0, SUPPORT_MANAGE)
    );
    assert!(settings.policy.roles.values().all(|role| !role.adjustable));
    // The same said aloud is the same configuration.
    let aloud = role("  admin: { allow: \"*:*\", adjustable: false }\n");
    assert_eq!(load(&aloud).unwrap().0.policy.fingerprint, settings.policy.fingerprint);
}

#[test]
fn what_tenants_may_say_of_roles_is_part_of_the_policy() {
    let (base, _) = load(BASE).unwrap();
    let (adjustable, warnings) = load(&add("")).unwrap();
    assert!(warnings.iter().all(|warning| warning.code.as_str() != "adjustable_for_staff"));
    let policy = &adjustable.policy;
    assert!(policy.roles["clerk"].adjustable && !policy.roles["admin"].adjustable);
    assert!(policy.is_told(&"clerk".parse().unwrap()) && !policy.is_told(&"own".parse().unwrap()));
    let (own, _) =
        load(&add("tenant_roles: { permission: orders:write, plans: [business, Enterprise] }\n")).unwrap();
    let roles = &own.policy.tenant_roles;
    assert_eq!((roles.permission(), roles.most), ("orders:write", 50));
    assert!(roles.in_plan(Some(&"Enterprise".parse().unwrap())));
    assert!(!roles.in_plan(Some(&"enterprise".parse().unwrap())) && !roles.in_plan(None));
    assert!(own.policy.is_told(&"own".parse().unwrap()) && !own.policy.is_told(&"admin".parse().unwrap()));
    let names = [&base, &adjustable, &own].map(|settings| settings.policy.fingerprint.clone());
    assert!(names[0] != names[1] && names[1] != names[2], "{names:?}");
    // None of its own, and one that is adjustable.
    let (none, warnings) = load(&add("tenant_roles: { most: 0 }\n")).unwrap();
    assert_eq!(none.policy.tenant_roles.most, 0);
    assert!(!warnings.iter().any(|warning| warning.message.contains("says nothing")), "{warnings:?}");
}

#[test]
fn what_is_wrong_of_it_is_told_where_it_stands() {
    let cases = [
        (
            "  admin: { allow: \"*:*\" }\n",
            "  admin: { allow: \"*:*\", adjustable: ⟦perhaps }\n",
            "wrong_type",
        ),
        (
            "sessions: { last: 8h }",
            "tenant_roles: { permission: ⟦orders:shred }\nsessions: { last: 8h }",
            "unknown_permission",
        ),
        ("sessions: { last: 8h }", "tenant_roles: { most: ⟦101 }\nsessions: { last: 8h }", "out_of_range"),
        ("sessions: { last: 8h }", "tenant_roles: { plans: ⟦[] }\nsessions: { last: 8h }", "bad_value"),
        (
            "sessions: { last: 8h }",
            "tenant_roles: { plans: [gold, ⟦gold] }\nsessions: { last: 8h }",
            "duplicate_name",
        ),
        (
            "sessions: { last: 8h }",
            "tenant_roles: { plans: [⟦\"a b\"] }\nsessions: { last: 8h }",
            "bad_value",
        ),
        ("sessions: { last: 8h }", "tenant_roles: { ⟦roles: 5 }\nsessions: { last: 8h }", "unknown_key"),
        ("sessions: { last: 8h }", "tenant_roles: ⟦{ most: 0 }\nsessions: { last: 8h }", "unused"),
    ];
    for (from, to, code) in cases {
        found(&with(from, to), code);
    }
    // Levels rise for every tenant alike, and in an emergency nobody's adjustment counts.
    let text =
        BASE.replace("  admin: { allow: \"*:*\" }\n", "  admin: { allow: \"*:*\", adjustable: true }\n");
    found(&text.replace("level: full, role: admin", "level: full, role: ⟦admin"), "adjustable_for_staff");
    let glass = "break_glass: { operators: [ { issuer: vendor, sub: olga } ], role: ⟦clerk }\n";
    found(&add(glass), "adjustable_for_staff");
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
