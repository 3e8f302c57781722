//! `postern routes`: maps from OpenAPI documents, good, odd and hostile.

use std::fs;

use super::*;

const SHOP: &str = include_str!("routes/shop.yaml");
const SMALL: &str = include_str!("routes/small.json");

fn place_with(name: &str, text: &str) -> Place {
    let place = Place::new();
    fs::write(place.file(name), text).unwrap();
    place
}

/// The configuration with an imported map in the place of its own, tenants named by the token or a header.
fn merged(place: &Place, map: &str) {
    let text = fs::read_to_string(place.file("postern.yaml")).unwrap();
    let (before, _) = text.split_once("routes:\n").unwrap();
    let before = before
        .replace("permissions: [orders:read, orders:write, users:manage]\n", "")
        .replace("ceiling: [users:manage]\n", "")
        .replace("from: { path: tenant }", "from: { header: X-Tenant }");
    fs::write(place.file("postern.yaml"), format!("{before}{map}")).unwrap();
}

// GW-03
#[test]
fn a_document_becomes_a_map_that_passes_the_check() {
    let place = place_with("shop.yaml", SHOP);
    let map = place.run(&["routes", "import", "shop.yaml"]).with(1);
    golden("routes/shop.txt", &map);
    merged(&place, &map);
    place.run(&["check", "--config", "postern.yaml"]).with(0);
    let came = place.run(&["routes", "coverage", "--config", "postern.yaml", "shop.yaml"]);
    golden("routes/shop-coverage.txt", &came.with(1));
}

#[test]
fn base_host_and_upstream_come_from_the_command_line() {
    let place = place_with("small.json", SMALL);
    let args =
        ["routes", "import", "--base", "/api/", "--host", "app.example", "--upstream", "app", "small.json"];
    let map = place.run(&args).with(1);
    golden("routes/small.txt", &map);
    merged(&place, &map);
    place.run(&["check", "--config", "postern.yaml"]).with(0);
}

#[test]
fn coverage_says_what_the_map_does_not_own_and_what_nobody_asks_for() {
    let place = place_with("small.json", SMALL);
    let args = ["routes", "coverage", "--config", "postern.yaml", "small.json"];
    golden("routes/coverage.txt", &place.run(&args).with(1));
    golden("routes/coverage.json", &place.run(&[&args[..], &["--json"]].concat()).with(1));
    let whole = SMALL
        .replace("\t\t\"/t/{tenant}/parcels\": {\"get\": {}},\n", "")
        .replace("\t\t\"/t/{tenant}/a b\": {\"get\": {}},\n", "")
        .replace(", \"post\": {\"operationId\": \"create\"}", "");
    fs::write(place.file("small.json"), whole).unwrap();
    let out = place.run(&args).with(0);
    assert!(!out.contains("without a route\n") && out.contains("`POST /t/{tenant}/users`, line"), "{out}");
}

#[test]
fn a_route_of_another_host_does_not_cover() {
    let place = place_with("one.yaml", "openapi: 3.0.0\npaths: { /health: { get: {} } }\n");
    place.configure("route: \"GET /health\"", "host: a.example, route: \"GET /health\"");
    let args = ["routes", "coverage", "--config", "postern.yaml", "one.yaml"];
    place.run(&args).with(0);
    place.run(&[&args[..], &["--host", "A.example"]].concat()).with(0);
    place.run(&[&args[..], &["--host", "b.example"]].concat()).with(1);
}

#[test]
fn documents_that_are_none_are_refused_with_a_reason() {
    let place = Place::new();
    for (text, reason) in [
        ("openapi: 3.2.0\n", "3.0 and 3.1"),
        ("swagger: '2.0'\n", "Swagger 2"),
        ("a: b\n", "no key `openapi`"),
        ("openapi: 3.0.0\npaths: []\n", "`paths` is no mapping"),
        ("openapi: 3.0.0\npaths: {/a: {get: {}}, /a: {get: {}}}\n", "`/a` stands twice"),
        ("{\"openapi\": \"3.0.0\", \"paths\": {\"/a\": {\"get\": {}, \"get\": {}}}}", "`get` stands twice"),
        ("openapi: 3.0.0\nopenapi: 3.1.0\n", "`openapi` stands twice"),
        ("openapi: [\n", "no YAML"),
        ("", "no key `openapi`"),
    ] {
        fs::write(place.file("bad"), text).unwrap();
        place.run(&["routes", "import", "bad"]).fails_saying(reason);
    }
    place.run(&["routes", "import", "missing.yaml"]).fails_saying("missing.yaml");
}

#[test]
fn hostile_documents_end_quickly_and_steer_no_terminal() {
    let place = Place::new();
    // Sparse: nothing of it is on the disk, and no more than the bound is read.
    fs::File::create(place.file("huge")).unwrap().set_len(100 << 20).unwrap();
    place.run(&["routes", "import", "huge"]).fails_saying("larger than");
    for deep in ["[".repeat(1 << 20), "{\"a\":".repeat(1 << 20), "a: ".to_owned() + &"[".repeat(1 << 20)] {
        fs::write(place.file("deep"), deep).unwrap();
        place.run(&["routes", "import", "deep"]).fails_saying("deep");
    }
    let laughs = (1..64).fold("openapi: 3.0.0\na0: &a0 [x, x, x]\n".to_owned(), |text, n| {
        let before = n - 1;
        format!("{text}a{n}: &a{n} [*a{before}, *a{before}, *a{before}]\n")
    });
    fs::write(place.file("laughs"), laughs).unwrap();
    place.run(&["routes", "import", "laughs"]).fails_saying("laughs");

    // References in circles of two, and through each other's parts.
    let circles = "openapi: 3.1.0\npaths:\n  /a: { $ref: '#/paths/~1b' }\n  /b: { $ref: '#/paths/~1a' }\n  /c: { get: { $ref: '#/paths/~1c/get' } }\n";
    fs::write(place.file("circles"), circles).unwrap();
    let map = place.run(&["routes", "import", "circles"]).with(0);
    assert_eq!(map.matches("in a circle").count(), 3, "{map}");

    // Names that would end a comment, a string, or take over the screen.
    let names = r##"{"openapi":"3.0.0","info":{"title":"x\u001b[2J\n\u0085\u2028permissions: [a:b]"},"paths":{
        "/a\n  - { route: \"GET /{*all}\", public: true }":{"get":{}},
        "/b":{"get":{"operationId":"x\", public: true, name: \"y","tags":["t\u202e\nroutes:"]},
              "po\nst":{}},
        "/c\u0007":{"get":{"security":[]}}}}"##;
    fs::write(place.file("names"), names).unwrap();
    let map = place.run(&["routes", "import", "names"]).with(1);
    assert!(
        map.chars().all(|c| c == '\n' || !c.is_control() && !('\u{2000}'..'\u{2070}').contains(&c)),
        "{map:?}"
    );
    assert_eq!(map.matches("\n  - {").count(), 1, "{map}");
    assert!(
        !map.contains("\n  - { route: \"GET /{*all}\"")
            && !map.lines().any(|line| line.trim_start().starts_with("permissions: [a")),
        "{map}"
    );
    merged(&place, &map);
    place.run(&["check", "--config", "postern.yaml"]).with(0);
}

#[test]
fn paths_that_the_gateway_refuses_are_told_and_left_out() {
    let place = Place::new();
    let bad = [
        "/a//b",
        "/a/../b",
        "/a/.",
        "/a.",
        "/a;v=1",
        "/a%2Fb",
        "/a%41",
        "/a b",
        "/a\\\\b",
        "a/b",
        "/a?b=c",
        "/a#b",
        "/{x}.json",
        "/{x}{y}",
        "/caf\u{e9}",
        "/%00",
    ];
    let paths: Vec<String> = bad.iter().map(|path| format!("\"{path}\": {{\"get\": {{}}}}")).collect();
    let text = format!("{{\"openapi\": \"3.0.0\", \"paths\": {{{}}}}}", paths.join(","));
    fs::write(place.file("paths.json"), text).unwrap();
    let map = place.run(&["routes", "import", "paths.json"]).with(1);
    assert_eq!(map.matches("# not mapped: GET ").count(), bad.len(), "{map}");
    assert!(map.ends_with("routes: []\n"), "{map}");
}
