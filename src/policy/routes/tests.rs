//! What the table promises, one sentence each; the differential tests are in `tests/routes.rs`.

use super::*;

fn spec(id: u32, methods: &str, target: &str) -> RouteSpec {
    let at = target.find('/').unwrap();
    let (host, template) = target.split_at(at);
    RouteSpec {
        host: (!host.is_empty()).then(|| host.to_owned()),
        methods: methods.split(',').filter(|m| !m.is_empty()).map(|m| m.parse().unwrap()).collect(),
        template: Template::parse(template).unwrap(),
        id,
    }
}

fn gets(targets: &[&str]) -> Vec<RouteSpec> {
    (0..).zip(targets).map(|(id, target)| spec(id, "GET", target)).collect()
}

fn table(targets: &[&str]) -> RouteTable {
    RouteTable::build(gets(targets)).unwrap()
}

fn faults(targets: &[&str]) -> Vec<String> {
    RouteTable::build(gets(targets)).unwrap_err().iter().map(ToString::to_string).collect()
}

fn look(table: &RouteTable, method: &str, target: &str) -> (Match, Vec<String>) {
    let at = target.find('/').unwrap();
    let (host, path) = target.split_at(at);
    let path = CanonicalPath::of(path.as_bytes()).unwrap();
    let mut params = Params::new();
    let found = table.lookup(host, &method.parse().unwrap(), &path, &mut params);
    (found, (0..params.len()).map(|n| params.get(&path, n).unwrap().to_owned()).collect())
}

fn get(table: &RouteTable, target: &str) -> Match {
    look(table, "GET", target).0
}

#[test]
fn template_faults_name_the_column() {
    for (text, column, message) in [
        ("", 1, "starts with"),
        ("a", 1, "starts with"),
        ("//", 2, "empty segment"),
        ("/a//b", 4, "empty segment"),
        ("/a/./b", 4, "`.`"),
        ("/a/b.", 4, "`.`"),
        ("/a b", 3, "` `"),
        ("/a%20b", 3, "`%`"),
        ("/a;b", 3, "`;`"),
        ("/café", 5, "`é`"),
        ("/a/x{b}", 5, "whole segment"),
        ("/a/{b}x", 4, "whole segment"),
        ("/a/{b}{c}", 4, "whole segment"),
        ("/a/{}", 4, "name matches"),
        ("/a/{B}", 4, "name matches"),
        ("/a/{*}", 4, "name matches"),
        ("/{a}/{a}", 6, "stands twice"),
        ("/{a}/{*a}", 6, "stands twice"),
        ("/{*a}/b", 6, "nothing follows"),
        ("/{*a}/", 6, "nothing follows"),
    ] {
        let fault = Template::parse(text).unwrap_err();
        assert_eq!(fault.column, column, "{text}: {fault}");
        assert!(fault.to_string().contains(message), "{text}: {fault}");
    }
    assert!(Template::parse(&"/{a}".repeat(2)).is_err());
    let many: String = (0..=MAX_PARAMETERS).map(|n| format!("/{{p{n}}}")).collect();
    assert_eq!(Template::parse(&many).unwrap_err().problem, TemplateProblem::TooManyParameters);
    assert_eq!(Template::parse(&"/a".repeat(65)).unwrap_err().problem, TemplateProblem::TooManySegments);
    assert_eq!(
        Template::parse(&format!("/{}", "a".repeat(256))).unwrap_err().problem,
        TemplateProblem::TooLong
    );
}

#[test]
fn template_keeps_names_and_slash() {
    let template = Template::parse("/t/{tenant}/f/{*rest}").unwrap();
    assert_eq!(template.names().collect::<Vec<_>>(), ["tenant", "rest"]);
    assert!(!template.has_trailing_slash());
    assert!(Template::parse("/a/").unwrap().has_trailing_slash());
    assert!(Template::parse("/").unwrap().segments().is_empty());
}

#[test]
fn literal_with_a_delimiter_needs_clients_that_send_it_raw() {
    use crate::policy::path::{Delimiters, PathFault, PathRules};
    let template = Template::parse("/{project}/users:export").unwrap();
    assert_eq!(template.fault_under(PathRules::default()), None);
    let encoded = PathRules { delimiters: Delimiters::Encoded, ..PathRules::default() };
    assert_eq!(template.fault_under(encoded), Some(PathFault::RawDelimiter));
}

#[test]
fn literal_beats_parameter_beats_tail() {
    let table = table(&["/a/b", "/a/{x}", "/a/{*rest}", "/a/{x}/c", "/"]);
    assert_eq!(look(&table, "GET", "/a/b"), (Match::Route(0), vec![]));
    assert_eq!(look(&table, "GET", "/a/z"), (Match::Route(1), vec!["z".into()]));
    assert_eq!(look(&table, "GET", "/a/z/y"), (Match::Route(2), vec!["z/y".into()]));
    assert_eq!(look(&table, "GET", "/a/z/y/"), (Match::Route(2), vec!["z/y/".into()]));
    assert_eq!(look(&table, "GET", "/a/b/c"), (Match::Route(3), vec!["b".into()]));
    assert_eq!(get(&table, "/"), Match::Route(4));
    assert_eq!(get(&table, "/a"), Match::None);
    assert_eq!(get(&table, "/a/"), Match::None);
}

#[test]
fn leftmost_difference_decides() {
    let table = table(&["/a/{x}/{y}", "/{x}/b/c"]);
    assert_eq!(get(&table, "/a/b/c"), Match::Route(0));
    assert_eq!(get(&table, "/z/b/c"), Match::Route(1));
}

#[test]
fn head_needs_what_get_needs_unless_declared() {
    let table = RouteTable::build(vec![
        spec(1, "GET", "/a"),
        spec(2, "GET", "/b"),
        spec(3, "HEAD", "/b"),
        spec(4, "POST,REPORT", "/c"),
    ])
    .unwrap();
    assert_eq!(look(&table, "HEAD", "/a").0, Match::Route(1));
    assert_eq!(look(&table, "HEAD", "/b").0, Match::Route(3));
    assert_eq!(look(&table, "HEAD", "/c").0, Match::MethodNotMapped);
    assert_eq!(look(&table, "REPORT", "/c").0, Match::Route(4));
    assert_eq!(look(&table, "PROPFIND", "/c").0, Match::MethodNotMapped);
}

#[test]
fn path_decides_before_the_method() {
    let table = RouteTable::build(vec![spec(1, "POST", "/orders/search"), spec(2, "GET", "/orders/{order}")])
        .unwrap();
    assert_eq!(look(&table, "GET", "/orders/search").0, Match::MethodNotMapped);
    assert_eq!(look(&table, "GET", "/orders/7").0, Match::Route(2));
}

#[test]
fn hosts_come_first_and_fall_back_to_all() {
    let table = table(&["/a/b", "one.example/a/{x}", "two.example/{*rest}", "/c"]);
    assert_eq!(get(&table, "/a/b"), Match::Route(0));
    assert_eq!(get(&table, "three.example/a/b"), Match::Route(0));
    assert_eq!(get(&table, "one.example/a/b"), Match::Route(1));
    assert_eq!(get(&table, "ONE.example/a/b"), Match::Route(1));
    assert_eq!(get(&table, "one.example/c"), Match::Route(3));
    assert_eq!(get(&table, "two.example/c"), Match::Route(2));
    assert_eq!(get(&table, &format!("{}/c", "h".repeat(300))), Match::Route(3));
}

#[test]
fn conflict_is_shown_by_a_request_that_both_own() {
    assert_eq!(
        faults(&["/t/{tenant}/x1/{a}", "/t/{id}/x1/{b}"]),
        ["routes 0 and 1 both own `GET /t/x2/x1/x2`; take the method or the template from one of them"]
    );
    let faults = RouteTable::build(vec![
        spec(1, "GET,POST", "h.example/a/{*r}"),
        spec(2, "POST,GET", "h.example/a/{*s}"),
        spec(3, "POST", "/a/{*s}"),
    ])
    .unwrap_err();
    let witnesses: Vec<&str> = faults
        .iter()
        .map(|fault| match fault {
            RouteFault::Conflict { a: 1, b: 2, witness } => witness.as_str(),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(witnesses, ["POST h.example/a/x1", "GET h.example/a/x1"]);
    assert!(RouteTable::build(vec![spec(1, "PURGE", "/a"), spec(2, "PURGE", "/a")]).is_err());
}

#[test]
fn same_shape_with_other_method_or_slash_is_no_conflict() {
    let table = RouteTable::build(vec![
        spec(1, "GET", "/a/{x}"),
        spec(2, "PUT", "/a/{other}"),
        spec(3, "GET", "/a/{x}/"),
    ])
    .unwrap();
    assert_eq!(look(&table, "PUT", "/a/1"), (Match::Route(2), vec!["1".into()]));
    assert_eq!(get(&table, "/a/1/"), Match::Route(3));
    assert_eq!(look(&table, "PUT", "/a/1/").0, Match::MethodNotMapped);
}

#[test]
fn unsound_routes_are_all_named() {
    let faults = RouteTable::build(vec![
        spec(1, "", "/a"),
        spec(2, "TRACE,CONNECT", "/b"),
        spec(3, "GET", "Host.example/c"),
        spec(4, "GET", "h.example./c"),
        spec(5, "GET", "h.example:80/c"),
    ])
    .unwrap_err();
    let text: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(text.len(), 6, "{text:?}");
    assert!(text.iter().all(|message| !message.contains('\n')));
}

#[test]
fn route_that_never_matches_is_refused() {
    assert_eq!(
        faults(&["/a/{x}", "/a/{x}/", "/a/{x}/{*r}", "/a/{*rest}"]),
        ["route 3 never matches: more specific templates own all that `/a/{*rest}` covers; remove it"]
    );
    assert!(
        RouteTable::build(gets(&["/a/{x}", "/a/{x}/{*r}", "/a/{*rest}"])).is_err(),
        "the slash twin hides it"
    );
}

#[test]
fn case_twin_of_a_literal_matches_nothing() {
    let targets = ["/t/{tenant}/api/users", "/t/{tenant}/api/{thing}", "/{*rest}", "/address", "/{x}"];
    let strict = table(&targets);
    for path in
        ["/t/a/api/Users", "/t/a/api/USERS", "/T/a/api/users", "/t/a/API/users", "/addre%C3%9F", "/ADDRESS"]
    {
        assert_eq!(get(&strict, path), Match::Twin, "{path}");
    }
    assert_eq!(get(&strict, "/t/a/api/users"), Match::Route(0));
    assert_eq!(get(&strict, "/t/A/api/orders"), Match::Route(1));
    assert_eq!(get(&strict, "/stra%C3%9Fe"), Match::Route(4));
    let rules = TableRules { case_twins: Twins::Distinct, ..TableRules::default() };
    let distinct = RouteTable::build_under(gets(&targets), rules).unwrap();
    assert_eq!(get(&distinct, "/t/a/api/Users"), Match::Route(1));
    assert_eq!(get(&distinct, "/addre%C3%9F"), Match::Route(4));
}

#[test]
fn literals_that_differ_in_case_only_are_refused() {
    assert_eq!(
        faults(&["/t/{x}/Users/a", "/t/{y}/users/b"]),
        [
            "routes 0 and 1 differ in case only: `/t/x1/Users and /t/x1/users`; some servers take these for one, so spell \
          them alike or declare case as distinct"
        ]
    );
    assert_eq!(faults(&["/users/me", "/{x}/ME"]).len(), 1, "they meet below `/users`");
    assert!(RouteTable::build(gets(&["/a/users", "/b/Users"])).is_ok());
    let rules = TableRules { case_twins: Twins::Distinct, ..TableRules::default() };
    let table = RouteTable::build_under(gets(&["/users", "/Users"]), rules).unwrap();
    assert_eq!((get(&table, "/users"), get(&table, "/Users")), (Match::Route(0), Match::Route(1)));
}

#[test]
fn slash_twin_of_a_template_matches_nothing() {
    let targets = ["/users", "/docs/", "/both", "/both/", "/{*rest}"];
    let strict = table(&targets);
    assert_eq!(get(&strict, "/users/"), Match::Twin);
    assert_eq!(get(&strict, "/docs"), Match::Twin);
    assert_eq!(get(&strict, "/both"), Match::Route(2));
    assert_eq!(get(&strict, "/both/"), Match::Route(3));
    assert_eq!(get(&strict, "/other/"), Match::Route(4));
    let rules = TableRules { slash_twins: Twins::Distinct, ..TableRules::default() };
    let distinct = RouteTable::build_under(gets(&targets), rules).unwrap();
    assert_eq!(get(&distinct, "/users/"), Match::Route(4));
}

#[test]
fn map_that_overlaps_without_bound_is_refused() {
    // Literals at any four of twenty depths, parameters elsewhere: about a million sets of places.
    let mut specs = Vec::new();
    for chosen in (0_u32..1 << 20).filter(|chosen| chosen.count_ones() == 4) {
        let template: String = (0..20)
            .map(|at| if chosen >> at & 1 == 1 { "/a".to_owned() } else { format!("/{{p{at}}}") })
            .collect();
        specs.push(spec(chosen, "GET", &template));
    }
    assert_eq!(RouteTable::build(specs).unwrap_err(), [RouteFault::TooEntangled]);
}

#[test]
fn ordinary_large_map_compiles_in_a_tenth_of_the_room() {
    let mut specs = vec![spec(0, "GET", "/t/{tenant}/{*rest}")];
    for id in 1..10_000 {
        specs.push(spec(id, "GET", &format!("/t/{{tenant}}/api/r{id}/{{item}}")));
    }
    let (trie, faults) = Trie::grow(&specs);
    assert!(faults.is_empty());
    let compiled =
        states::compile(&trie, Twins::Refuse, Twins::Refuse).unwrap_or_else(|_| panic!("compiles"));
    assert!(compiled.states.len() + compiled.edges.len() < states::MAX_ROOM / 10);
}

#[test]
fn empty_table_matches_nothing() {
    let table = RouteTable::build(Vec::new()).unwrap();
    assert!(table.is_empty());
    assert_eq!(get(&table, "/"), Match::None);
    assert_eq!(get(&table, "/a"), Match::None);
}

#[test]
fn explanation_lists_who_came_into_question() {
    let table = RouteTable::build(vec![
        spec(1, "POST", "/t/{tenant}/users"),
        spec(2, "GET", "/t/{tenant}/{thing}"),
        spec(3, "GET", "/{*rest}"),
        spec(4, "GET", "/t/{tenant}/users/"),
        spec(5, "GET", "other.example/t/{tenant}/users"),
    ])
    .unwrap();
    let explain = |method: &str, path: &str| {
        let path = CanonicalPath::of(path.as_bytes()).unwrap();
        table.explain("h.example", &method.parse().unwrap(), &path).to_string()
    };
    assert_eq!(
        explain("GET", "/t/a/users"),
        "the path is mapped, the method is not\n  \
           route 1: POST /t/{tenant}/users: covers the path, does not name the method\n  \
           route 4: GET /t/{tenant}/users/: differs in the last slash only, so nothing less specific may match\n  \
           route 2: GET /t/{tenant}/{thing}: covers the path, something more specific comes first\n  \
           route 3: GET /{*rest}: covers the path, something more specific comes first\n"
    );
    assert!(
        explain("GET", "/t/a/USERS")
            .starts_with("the path differs from a mapped one in case or its last slash only\n  route 1: POST /t/{tenant}/users: differs in letter case")
    );
    assert!(explain("HEAD", "/t/a/orders").contains("route 2: GET /t/{tenant}/{thing}: owns the request"));
}
