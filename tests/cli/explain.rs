//! `check` and `explain`: what a configuration comes to, and what it means for a request.

use std::fs;

use super::*;

const CHECK: &[&str] = &["check", "--config", "postern.yaml"];

#[test]
fn a_good_configuration_is_summed_up() {
    let place = Place::new();
    let came = place.run(CHECK);
    assert_eq!(came.err, "");
    // The fingerprint covers the keys, which are new each time.
    let text: Vec<String> = came.with(0).lines().map(str::to_owned).collect();
    let fingerprint = text.iter().find_map(|line| line.strip_prefix("policy ")).unwrap();
    assert!(fingerprint.len() >= 32 && fingerprint.bytes().all(|b| b.is_ascii_hexdigit()));
    let rest: Vec<&str> =
        text.iter().map(String::as_str).filter(|line| !line.starts_with("policy ")).collect();
    golden("check.txt", &(rest.join("\n") + "\n"));
}

#[test]
fn who_may_do_what_is_a_table() {
    let place = Place::new();
    golden("grid.txt", &place.run(&["check", "--config", "postern.yaml", "--grid"]).with(0));
}

#[test]
fn what_tenants_may_say_of_roles_stands_in_summary_table_and_explanation() {
    let place = Place::new();
    let own = "  admin: { allow: \"*:*\" }\n  clerk: { allow: [\"orders:read\"], adjustable: true }\n\
               tenant_roles: { permission: users:manage, most: 5, plans: [gold, unlimited] }";
    place.configure("  admin: { allow: \"*:*\" }", own);
    let summary = place.run(CHECK).with(0);
    for line in [
        "  adjustable by each tenant: clerk",
        "  up to 5 more of each tenant's own",
        "  said in the tenant by users:manage, in the plans gold, unlimited",
    ] {
        assert!(summary.lines().any(|told| told == line), "`{line}` is not in: {summary}");
    }
    let table = place.run(&["check", "--config", "postern.yaml", "--grid"]).with(0);
    assert!(table.contains("\nadjustable by each tenant: clerk\n"), "{table}");
    let explain = |more: &[&str]| {
        let args = ["explain", "--config", "postern.yaml", "GET", "/t/acme/orders"];
        place.run(&[&args, more].concat()).with(0)
    };
    let note = "as the configuration has the role; a tenant may have adjusted it";
    for whom in [&["--member-role", "clerk"], &["--role", "clerk"]] {
        let told = explain(whom);
        assert!(told.contains("passes (") && told.contains(note), "{told}");
    }
    assert!(!explain(&["--member-role", "admin"]).contains(note));
}

#[test]
fn what_is_looked_up_stands_in_the_summary() {
    let place = Place::new();
    let types = "  admin: { allow: \"*:*\" }\nresource_types:\n  board: {}\n  card:\n    parent: board\n    look_up: { path: \"/in/{tenant}/cards/{card}\", creator: /by, assignees: /to/*, parent: /board, for: 90s }\n";
    place.configure("  admin: { allow: \"*:*\" }\n", types);
    let summary = place.run(CHECK).with(0);
    let told = "looked up where nobody pushed it\n  card             parent, creator, assignees, at app/in/{tenant}/cards/{card}, for 1m 30s each\n";
    assert!(summary.contains(told), "{summary}");
}

/// Orders lie on boards, which have members.
const BOARDS: &str = "  admin: { allow: \"*:*\" }
  lead: { at: board, allow: \"orders:*\" }
  hand: { at: board, allow: orders:read }
  narrow: { at: board, allow: users:manage, own: orders:write, assigned: [orders:read] }
  buyer: { at: orders, allow: orders:write }
resource_types: { board: {}, orders: { parent: board } }";

#[test]
fn what_roles_at_resources_give_stands_in_table_and_explanation() {
    let place = Place::new();
    place.configure("  admin: { allow: \"*:*\" }", BOARDS);
    let table = place.run(&["check", "--config", "postern.yaml", "--grid"]).with(0);
    let board = "at board      hand  lead  narrow\n\
                 orders:read    x     x      a\n\
                 orders:write   .     x      m\n\
                 users:manage   .     .      x\n";
    assert!(table.contains(board), "{table}");
    assert!(table.contains("at orders     buyer\norders:write    x\n"), "{table}");
    let told = explain(&place, &["GET", "/t/acme/orders/7"]).with(0);
    let at = "members at   orders: buyer";
    assert!(!told.contains(at), "{told}");
    assert!(
        told.contains("\nmembers at   board: hand, lead, narrow (with what is assigned to them)\n"),
        "{told}"
    );
    let told = explain(&place, &["PUT", "/t/acme/orders/7"]).with(0);
    let line = format!("\n{at}; board: lead, narrow (with what they made)\n");
    assert!(told.contains(&line), "{told}");
    for (role, status) in [("lead", 0), ("buyer", 0), ("hand", 1), ("narrow", 1)] {
        let told = explain(&place, &["PUT", "/t/acme/orders/7", "--resource-role", role]).with(status);
        let passes = told.contains(&format!("a member with `{role}` at the resource: passes (member_role)"));
        assert_eq!(passes, status == 0, "{told}");
    }
    // Where the route names no resource, no row counts; and names are looked for where they mean something.
    explain(&place, &["GET", "/t/acme/orders", "--resource-role", "lead"]).with(1);
    explain(&place, &["GET", "/t/acme/orders", "--member-role", "lead"]).fails("there is no role `lead`");
    let known = "there is no role `admin` at resources; there are buyer, hand, lead, narrow";
    explain(&place, &["GET", "/t/acme/orders", "--resource-role", "admin"]).fails(known);
}

/// Lists on a board, narrowed in each way.
const LISTS: &str = "  - { route: \"GET /t/{tenant}/orders\", permission: orders:read }
  - { route: \"GET /t/{tenant}/b/{board}/list\", permission: orders:read, resource: { type: board, id: board }, narrow: { filter: { type: orders, list: /all, id: /id } } }
  - { route: \"GET /t/{tenant}/b/{board}/report\", permission: orders:read, resource: { type: board, id: board }, narrow: { query: { visible_to: \"{subject}\", of: \"x-{tenant}\" } } }
  - { route: \"GET /t/{tenant}/b/{board}/dump\", permission: orders:read, resource: { type: board, id: board }, narrow: refuse }
  - { route: \"GET /t/{tenant}/b/{board}/count\", permission: orders:read, resource: { type: board, id: board } }";

#[test]
fn how_routes_are_narrowed_stands_in_table_and_explanation_and_where_they_should_be_is_told() {
    let place = Place::new();
    place.configure("  admin: { allow: \"*:*\" }", BOARDS);
    place.configure("  - { route: \"GET /t/{tenant}/orders\", permission: orders:read }", LISTS);
    let came = place.run(&["check", "--config", "postern.yaml", "--grid"]);
    let warned = came.err.clone();
    assert!(warned.contains("not_narrowed") && warned.contains("postern.yaml:"), "{warned}");
    assert!(warned.contains("GET /t/{tenant}/b/{board}/count"), "{warned}");
    assert_eq!(warned.matches("closed to `narrow`").count(), 1, "{warned}");
    let table = came.with(0);
    assert!(table.contains("\nmade or assigned: narrow of orders\n"), "{table}");
    let narrowed = "\nnarrowed                          for whoever may see some only\n\
        GET /t/{tenant}/b/{board}/list    to the orders that may be seen, in the gateway: {\"all\":list;} of \"/id\", others do not\n\
        GET /t/{tenant}/b/{board}/report  to the orders that may be seen, by the application: visible_to={subject}, of=x-{tenant}\n\
        GET /t/{tenant}/b/{board}/dump    refused to whoever may see some of it only\n";
    assert!(table.ends_with(narrowed), "{table}");
    let some = "hand, lead, narrow (narrowed to the orders that are theirs)";
    for (path, how, at) in [
        ("list", "in the gateway: {\"all\":list;} of \"/id\"", some),
        ("report", "by the application: visible_to={subject}, of=x-{tenant}", some),
        ("dump", "refused to whoever may see some of it only", "hand, lead"),
    ] {
        let told = explain(&place, &["GET", &format!("/t/acme/b/b1/{path}")]).with(0);
        let line = told.lines().find(|line| line.starts_with("narrowed ")).unwrap();
        assert!(line.contains(how) && told.contains(&format!("\nmembers at   board: {at}\n")), "{told}");
    }
    let told = explain(&place, &["GET", "/t/acme/b/b1/count"]).with(0);
    assert!(!told.contains("narrowed") && told.contains("members at   board: hand, lead\n"), "{told}");
    let of = |role: &str, status| {
        explain(&place, &["GET", "/t/acme/b/b1/list", "--resource-role", role]).with(status)
    };
    let some = "passes (member_role), with an answer narrowed to what they may see\n";
    assert!(of("narrow", 0).contains(some) && of("lead", 0).contains("passes (member_role)\n"));
    // Of a document of the application's, which of its operations are.
    let paths = r#"{"openapi": "3.0.0", "info": {"title": "t"}, "paths": {"/t/{tenant}/b/{board}/list": {"get": {}}, "/t/{tenant}/b/{board}/report": {"get": {}}, "/t/{tenant}/b/{board}/count": {"get": {}}}}"#;
    fs::write(place.file("api.json"), paths).unwrap();
    let args = ["routes", "coverage", "--config", "postern.yaml", "api.json"];
    let told = place.run(&args).with(0);
    assert!(told.contains("\n      2  of the owned narrowed for whoever may see some only\n"), "{told}");
    let told: serde_json::Value =
        serde_json::from_str(&place.run(&[&args[..], &["--json"]].concat()).with(0)).unwrap();
    let of: Vec<_> =
        told["operations"].as_array().unwrap().iter().map(|one| &one["route"]["narrow"]).collect();
    assert_eq!(of, [&"filter".into(), &"query".into(), &serde_json::Value::Null]);
}

#[test]
fn what_a_route_creates_stands_in_summary_and_explanation() {
    let place = Place::new();
    let users = "POST /t/{tenant}/users\", permission: users:manage";
    let creates = "POST /t/{tenant}/boards\", permission: users:manage, creates: { type: board, role: lead, id: { location: \"/t/acme/boards/{board}\" } }";
    let more = format!("{creates} }}\n  - {{ route: \"{users}");
    place.configure("  admin: { allow: \"*:*\" }", BOARDS);
    place.configure(users, &more);
    let line = "board by location /t/acme/boards/{board}, role lead";
    let summary = place.run(CHECK).with(0);
    assert!(
        summary.contains(&format!("\ncreations\n  POST /t/{{tenant}}/boards\n    {line}\n")),
        "{summary}"
    );
    let told = explain(&place, &["POST", "/t/acme/boards"]).with(0);
    assert!(told.contains(&format!("creates      {line}; where the application answers 201\n")), "{told}");
}

#[test]
fn what_is_dangerous_stands_in_the_summary() {
    let place = Place::new();
    place.configure("sessions: { last: 8h }", "sessions: { last: 8h }\ndangerous: { clock: true }");
    let came = place.run(CHECK);
    assert!(came.err.contains("`dangerous.clock` is on"), "{}", came.err);
    let out = came.with(0);
    assert!(out.contains("fine, with a warning") && out.contains("DANGEROUS: clock"), "{out}");
}

#[test]
fn broken_keys_beside_a_good_one_are_told() {
    let place = Place::begun();
    let set = fs::read_to_string(place.file("app.jwks.json")).unwrap();
    let broken =
        r#"{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b"},{"kty":"EC","crv":"P-256","kid":"2"},"#;
    // A key for something else is well.
    let other = r#"{"kty":"EC","crv":"secp256k1","x":"a","y":"b"},"#;
    fs::write(place.file("app.jwks.json"), set.replacen("{\"keys\":[", &[broken, other].concat(), 1))
        .unwrap();
    let came = place.run(CHECK);
    let told = came.err.lines().filter(|line| line.contains("issuer `app`: key ")).count();
    assert!(told == 2 && came.err.contains("tokens signed with it are refused"), "{}", came.err);
    assert!(came.with(0).contains("fine, with 2 warnings"));
    assert_eq!(Running::start(&place, &[]).stop(), 0);
    let logged = fs::read_to_string(place.file("run.err")).unwrap();
    assert_eq!(logged.matches("issuer `app`: key ").count(), 2, "{logged}");
}

#[test]
fn all_faults_are_told_at_once_with_their_places() {
    let place = Place::new();
    place.configure("route: \"GET /health\"", "route: \"GET /t/{tenant}/orders\"");
    place.configure("sessions: { last: 8h }", "sessions: { last: 8 hours }\nsesions: {}");
    place.configure("key: { file: ledger.key }", "key: { file: lost.key }");
    place.configure("ceiling: [users:manage]", "ceiling: [users:mange]");
    let came = place.run(CHECK);
    assert_eq!((came.status, came.out.as_str()), (1, ""));
    golden("broken.txt", &came.err);
}

#[test]
fn what_only_building_proves_is_told_with_its_place_beside_what_reading_finds() {
    let place = Place::new();
    place.configure("origin: example.com/cli", "origin: example.com/other");
    place.configure("sessions: { last: 8h }", "sessions: { last: 8 hours }");
    fs::write(place.file("assertion.pem"), "no key\n").unwrap();
    fs::write(place.file("ca.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    let fetched = "keys: { url: \"https://id.app.example/keys\", ca: { file: ca.pem } }";
    place.configure("keys: { file: app.jwks.json }", fetched);
    let came = place.run(CHECK);
    assert_eq!((came.status, came.out.as_str()), (1, ""));
    golden("unbuilt.txt", &came.err);
    // The gateway itself tells all of it too.
    place.configure("sessions: { last: 8 hours }", "sessions: { last: 8h }");
    place.run(&["state", "init", "--config", "postern.yaml"]).with(0);
    let came = place.run(&["run", "--config", "postern.yaml"]);
    assert_eq!(came.err.matches("postern.yaml:").count(), 3, "{}", came.err);
}

#[test]
fn keys_that_cannot_be_used_are_faults_of_the_configuration() {
    let place = Place::new();
    fs::write(place.file("assertion.pem"), "no key\n").unwrap();
    fs::write(place.file("app.jwks.json"), r#"{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b"}]}"#)
        .unwrap();
    place.configure("origin: example.com/cli", "origin: example.com/other");
    let came = place.run(CHECK);
    assert_eq!((came.status, came.out.as_str()), (1, ""));
    golden("keys.txt", &came.err);
}

fn explain(place: &Place, args: &[&str]) -> Came {
    place.run(&[&["explain", "--config", "postern.yaml"], args].concat())
}

// GW-10
#[test]
fn what_is_closed_by_default_is_named_as_that_and_what_is_open_with_its_reason() {
    let place = Place::new();
    let question = ["POST", "/t/acme/users", "--role", "admin"];
    let by_default = "by the default ceiling, which `ceiling.open` opens with a reason: users:manage";
    // Written out, it is no default.
    assert!(!explain(&place, &question).with(1).contains(by_default));
    assert!(!place.run(CHECK).with(0).contains("by default"));
    place.configure("ceiling: [users:manage]\n", "");
    let told = explain(&place, &question).with(1);
    assert!(told.contains("closed to support at every level and by every grant: users:manage"), "{told}");
    assert!(told.contains(by_default), "{told}");
    let told = place.run(CHECK).with(0);
    assert!(told.contains("\nceiling: users:manage, support:*\n  by default       users:manage\n"), "{told}");
    let open = "ceiling: { open: [ { permission: users:manage, because: we run it for them } ] }\n";
    place.configure("consent:\n", &format!("{open}consent:\n"));
    let told = explain(&place, &question).with(0);
    assert!(told.contains("not reached"), "{told}");
    let told = place.run(CHECK).with(0);
    let lines = "\nceiling: nothing, support:*\n  opened           users:manage: we run it for them\n";
    assert!(told.contains(lines), "{told}");
}

// GW-03
#[test]
fn explanations_of_all_kinds_of_requests() {
    let place = Place::new();
    let questions: &[(&[&str], i32)] = &[
        (&["GET", "/t/acme/orders/7"], 0),
        (&["GET", "/t/acme/orders/7", "--role", "read_only"], 0),
        (&["HEAD", "/t/acme/orders/7", "--level", "read_only"], 0),
        (&["PUT", "/t/acme/orders/7", "--level", "read_only"], 1),
        (&["PUT", "/t/acme/orders/7", "--level", "block"], 1),
        (&["POST", "/t/acme/users", "--role", "admin"], 1),
        (&["POST", "/t/acme/users", "--member-role", "admin"], 0),
        (&["GET", "/health"], 0),
        (&["GET", "/nowhere"], 1),
        (&["DELETE", "/t/acme/orders"], 1),
        (&["GET", "/t/acme/Orders"], 1),
        (&["GET", "/t/acme//orders"], 1),
        (&["GET", "/t/acme/%6frders"], 1),
        (&["GET", "/t/acme/orders/../users"], 1),
        (&["GET", "/t/acme/orders", "--header", "X-Environment: staging"], 1),
        (&["GET", "/t/acme/orders", "--header", "X_Environment: sandbox"], 1),
        (&["GET", "/t/acme/orders", "--header", "Transfer-Encoding: gzip"], 1),
        (&["GET", "/t/acme/orders x"], 1),
        (&["GET", "/_postern/v1/sessions"], 0),
    ];
    let mut text = String::new();
    for (question, status) in questions {
        let came = explain(&place, question);
        assert_eq!(came.err, "");
        text.push_str(&format!("$ postern explain {}\n", question.join(" ").escape_debug()));
        text.push_str(&came.with(*status));
        text.push('\n');
    }
    golden("explain.txt", &text);
}

#[test]
fn a_token_is_verified_and_decided_on() {
    let place = Place::new();
    let told = |token: String, path: &str, status| {
        fs::write(place.file("token"), token).unwrap();
        explain(&place, &["GET", path, "--token", "token"]).with(status)
    };
    let last = |text: String| text.lines().last().unwrap().to_owned();
    assert_eq!(
        last(told(place.ada("admin"), "/t/acme/orders", 0)),
        "app|ada, member of acme with the roles [admin]: passes (member_role)"
    );
    assert!(last(told(place.ada("admin"), "/t/other/orders", 1)).contains("403 tenant_foreign"));
    assert!(last(told(place.ada("nothing"), "/t/acme/orders", 1)).contains("403 permission_missing"));
    assert!(last(told(place.sam(), "/t/acme/orders", 0)).contains("depends on their sessions or rows"));
    assert!(last(told("x.y.z".into(), "/t/acme/orders", 1)).contains("401 token_invalid [token_"));
}

const GLASS: &str = "break_glass: { operators: [{ issuer: vendor, sub: sam }], role: admin }\nconsent:\n";

// GW-06
#[test]
fn explanations_of_break_glass() {
    let place = Place::new();
    explain(&place, &["GET", "/health", "--break-glass"]).fails("the configuration has no `break_glass`");
    place.configure("consent:\n", GLASS);
    fs::write(place.file("sam"), place.sam()).unwrap();
    fs::write(place.file("ada"), place.ada("admin")).unwrap();
    fs::write(place.file("nobody"), "x.y.z").unwrap();
    let mut text = String::new();
    let mut ask = |question: &[&str], status| {
        let came = explain(&place, question);
        assert_eq!(came.err, "");
        text.push_str(&format!("$ postern explain {}\n{}\n", question.join(" "), came.with(status)));
    };
    ask(&["PUT", "/t/acme/orders/7", "--break-glass"], 0);
    // Whose sessions are not known here is told what they could have.
    ask(&["PUT", "/t/acme/orders/7", "--token", "sam"], 0);
    ask(&["POST", "/t/acme/users", "--break-glass", "--token", "sam"], 1);
    ask(&["PUT", "/t/acme/orders/7", "--break-glass", "--token", "ada"], 1);
    ask(&["PUT", "/t/acme/orders/7", "--break-glass", "--token", "nobody"], 1);
    ask(&["GET", "/nowhere", "--break-glass"], 1);
    ask(&["GET", "/t/acme/orders", "--break-glass", "--header", "X-Environment: moon"], 1);
    ask(&["GET", "/health", "--break-glass"], 0);
    let glass = "role: read_only, last: 20m, require: { acr: gold } }\nconsent:\n";
    place.configure("role: admin }\nconsent:\n", glass);
    ask(&["PUT", "/t/acme/orders/7", "--break-glass"], 1);
    ask(&["GET", "/t/acme/orders/7", "--break-glass"], 0);
    place.configure("sessions: { last: 8h }", "sessions: { last: 8h }\nstaff: { require: { acr: silver } }");
    ask(&["GET", "/t/acme/orders/7", "--break-glass"], 0);
    golden("glass.txt", &text);
}

#[test]
fn names_that_the_configuration_does_not_know_are_told() {
    let place = Place::new();
    explain(&place, &["GET", "/health", "--role", "boss"]).fails("there is no role `boss`");
    explain(&place, &["GET", "/health", "--level", "boss"]).fails("there is no consent level `boss`");
}

impl Came {
    fn fails(self, text: &str) {
        assert_eq!(self.status, 1);
        assert!(self.err.contains(text), "{}", self.err);
    }
}

#[test]
fn the_plans_that_have_a_route_stand_in_its_explanation() {
    let place = Place::new();
    let route = "{ route: \"GET /t/{tenant}/orders\", permission: orders:read";
    place.configure(&format!("{route} }}"), &format!("{route}, plans: [gold, iron] }}"));
    let told = explain(&place, &["GET", "/t/acme/orders", "--member-role", "read_only"]).with(0);
    let line = "\nplans        gold, iron only; what follows is said of a tenant with one of them\n";
    assert!(told.contains(line), "{told}");
    assert!(told.contains("a member with `read_only`: passes (member_role)"), "{told}");
    let told = explain(&place, &["GET", "/t/acme/orders", "--role", "read_only"]).with(0);
    assert!(told.contains("passes (session_by_grant)"), "{told}");
}
