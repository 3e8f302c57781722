//! The default ceiling: what it closes, how it is opened, and what is told of it.

use super::{load, marked, with};
use postern::{
    config::{Settings, Warning},
    policy::PermissionSet,
};

/// The base with these permissions instead of its own, and this ceiling; its routes ask for what is left.
fn text(permissions: &str, ceiling: &str) -> String {
    with("permissions: [orders:read, orders:write, users:manage]", &format!("permissions: [{permissions}]"))
        .replace("ceiling: [\"users:manage\"]\n", ceiling)
}

const ALL: &str = "orders:read, orders:write, users:manage, users:read, webhooks:create, api_keys:create, \
                   api_keys:list, schedules:write, secrets:read, reports:schedule";

fn good(text: &str) -> (Settings, Vec<Warning>) {
    load(text).unwrap_or_else(|faults| panic!("{faults}"))
}

fn names(settings: &Settings, set: &PermissionSet) -> Vec<String> {
    let all = settings.policy.catalogue.iter();
    all.filter(|(id, _)| set.contains(*id)).map(|(_, name)| name.to_string()).collect()
}

/// What staff can do in the role of the highest level, which holds everything.
fn at_full(settings: &Settings) -> Vec<String> {
    let role = settings.policy.role_at(2).unwrap();
    settings.policy.staff_rights(role).iter().map(ToString::to_string).collect()
}

/// The permissions that no route asks for are odd, which is not what this is about.
fn codes(warnings: &[Warning]) -> Vec<&'static str> {
    warnings.iter().map(|warning| warning.code.as_str()).filter(|code| *code != "unused").collect()
}

const CLOSED: [&str; 6] = [
    "api_keys:create",
    "reports:schedule",
    "schedules:write",
    "secrets:read",
    "users:manage",
    "webhooks:create",
];

// GW-10
#[test]
fn without_a_word_about_it_what_would_outlive_a_session_is_closed() {
    for ceiling in ["", "ceiling: []\n", "ceiling: {}\n", "ceiling: { deny: [] }\n"] {
        let (settings, warnings) = good(&text(ALL, ceiling));
        assert_eq!(codes(&warnings), [""; 0], "{ceiling}");
        assert_eq!(names(&settings, &settings.policy.ceiling), CLOSED, "{ceiling}");
        assert_eq!(settings.policy.ceiling, settings.ceiling.by_default);
        assert_eq!(at_full(&settings), ["api_keys:list", "orders:read", "orders:write", "users:read"]);
        // Members are none of its business.
        let create = settings.policy.catalogue.id("api_keys:create").unwrap();
        assert!(settings.policy.roles["admin"].permissions.contains(create));
    }
    // A catalogue that has nothing of the kind is no fault.
    let (settings, _) = good(&text("orders:read, orders:write, users:manage", ""));
    assert_eq!(names(&settings, &settings.policy.ceiling), ["users:manage"]);
}

// GW-10
#[test]
fn what_the_file_denies_comes_on_top_in_either_spelling() {
    for ceiling in
        ["ceiling: [\"orders:write\", \"users:*\"]\n", "ceiling: { deny: [\"orders:write\", \"users:*\"] }\n"]
    {
        let (settings, _) = good(&text(ALL, ceiling));
        let closed = names(&settings, &settings.policy.ceiling);
        assert_eq!(closed.len(), CLOSED.len() + 2, "{closed:?}");
        assert!(CLOSED.iter().all(|name| closed.contains(&(*name).to_owned())));
        // What the file says itself is not told as a default.
        let by_default = names(&settings, &settings.ceiling.by_default);
        assert_eq!(by_default.len(), CLOSED.len() - 1);
        assert!(!by_default.contains(&"users:manage".to_owned()));
    }
}

// GW-10
#[test]
fn one_permission_is_opened_by_its_name_and_with_a_reason() {
    let ceiling =
        "ceiling: { open: [ { permission: webhooks:create, because: \" set up with the customer \" } ] }\n";
    let (settings, warnings) = good(&text(ALL, ceiling));
    assert_eq!(codes(&warnings), [""; 0]);
    let opened: Vec<_> =
        settings.ceiling.opened.iter().map(|(name, why)| (name.as_str(), why.as_str())).collect();
    assert_eq!(opened, [("webhooks:create", "set up with the customer")]);
    assert!(at_full(&settings).contains(&"webhooks:create".to_owned()));
    let closed = names(&settings, &settings.policy.ceiling);
    assert_eq!(closed.len(), CLOSED.len() - 1);
    // Another fingerprint: another policy.
    assert_ne!(settings.policy.fingerprint, good(&text(ALL, "")).0.policy.fingerprint);
}

#[test]
fn what_opens_too_much_nothing_or_without_a_reason_is_told_at_its_place() {
    let open = |one: &str| format!("ceiling: {{ open: [ {one} ] }}\n");
    let cases = [
        (open("⟦{ permission: webhooks:create }"), "missing_key"),
        (open("⟦{ because: x }"), "missing_key"),
        (open("{ permission: webhooks:create, because: ⟦\"  \" }"), "bad_value"),
        (open("{ permission: webhooks:create, because: ⟦\"a\\nb\" }"), "bad_value"),
        (open(&format!("{{ permission: webhooks:create, because: ⟦{} }}", "x".repeat(301))), "bad_value"),
        (open("{ permission: ⟦\"webhooks:*\", because: x }"), "bad_value"),
        (open("{ permission: ⟦webhooks:craete, because: x }"), "unknown_permission"),
        (open("{ permission: ⟦support:manage, because: x }"), "reserved_name"),
        (
            open("{ permission: webhooks:create, because: x }, { permission: ⟦webhooks:create, because: z }"),
            "duplicate_name",
        ),
        (
            "ceiling: { deny: [users:manage], open: [ { permission: ⟦users:manage, because: x } ] }\n"
                .to_owned(),
            "bad_value",
        ),
        ("ceiling: { ⟦opne: [] }\n".to_owned(), "unknown_key"),
        ("ceiling: ⟦users:manage\n".to_owned(), "wrong_type"),
        ("ceiling: { deny: ⟦users:manage }\n".to_owned(), "wrong_type"),
        ("ceiling: [⟦1]\n".to_owned(), "wrong_type"),
    ];
    for (ceiling, code) in cases {
        let (text, line, column) = marked(&text(ALL, &ceiling));
        let faults = load(&text).expect_err(&ceiling);
        let found = faults.faults().iter().map(|f| (f.code.as_str(), f.line, f.column));
        // That no route asks for some of these is odd, which is not what this is about.
        let found: Vec<_> = found.filter(|(code, ..)| *code != "unused").collect();
        assert_eq!(found, [(code, line, column)], "{ceiling}\n{faults}");
    }
}

#[test]
fn a_role_of_support_that_names_what_is_closed_is_warned_of() {
    let open = "ceiling: { open: [ { permission: webhooks:create, because: x } ] }\n";
    let named = |ceiling: &str| {
        text(ALL, ceiling).replace(
            "admin: { allow: \"*:*\" }",
            "admin: { allow: [\"*:read\", \"orders:*\", webhooks:create, schedules:write] }",
        )
    };
    assert_eq!(codes(&good(&named("")).1), ["ceiling_takes", "ceiling_takes"]);
    assert_eq!(codes(&good(&named(open)).1), ["ceiling_takes"]);
    // Whoever closes it in so many words knows.
    let denied = "ceiling: [webhooks:create, schedules:write]\n";
    assert_eq!(codes(&good(&named(denied)).1), [""; 0]);
    // Roles of members hold what they hold, and a pattern means what there is.
    let members = text(ALL, "").replace("roles:\n", "roles:\n  clerk: { allow: [webhooks:create] }\n");
    assert_eq!(codes(&good(&members).1), [""; 0]);
    // What opens nothing.
    let needless = "ceiling: { open: [ { permission: orders:write, because: x } ] }\n";
    let (settings, warnings) = good(&text(ALL, needless));
    assert!(warnings.iter().any(|warning| warning.message.contains("opens nothing")), "{warnings:?}");
    assert_eq!(settings.ceiling.opened, []);
}
