//! The ceiling against a plain reading: no host, and no request, reaches what a closed route would own.

use std::collections::BTreeSet;

use http::Method;
use postern::{
    model::{Ladder, Level, Span},
    policy::{
        Catalogue, OnLower, PermissionSet, Policy, Rule,
        path::CanonicalPath,
        proofs::{Broken, Line, prove},
        routes::{Match, Params, Rewrite, RouteSpec, RouteTable, TableRules, Template, Twins},
    },
};
use proptest::prelude::*;

use super::{HOSTS, path, rank, sound, specs};

const DISTINCT: TableRules = TableRules { case_twins: Twins::Distinct, slash_twins: Twins::Distinct };

/// Two permissions, one of them above the ceiling.
fn policy() -> Policy {
    let catalogue = Catalogue::new(["users:manage", "users:read"].map(|name| name.parse().unwrap()));
    let mut ceiling = PermissionSet::default();
    ceiling.insert(catalogue.id("users:manage").unwrap());
    Policy {
        fingerprint: String::new(),
        catalogue,
        roles: Default::default(),
        resources: Default::default(),
        tenant_roles: Default::default(),
        ceiling,
        ladder: Ladder::new(vec![Level { name: "block".parse().unwrap(), role: None }]),
        default_level: "block".parse().unwrap(),
        on_lower: OnLower::Immediate,
        session_lasts: Span::Millis(1),
        sessions: Default::default(),
        grant_most: None,
        granting: Default::default(),
        grantor_memory_ms: postern::policy::GRANTOR_MEMORY_MS,
        approvals: Default::default(),
        login_access: Default::default(),
        max_exchange_ms: 1,
        staleness: Default::default(),
        emergency: Default::default(),
        conditions: Default::default(),
        members_unmapped: false,
        environments: BTreeSet::new(),
        callers: Default::default(),
        rules: Vec::new(),
    }
}

fn rules(policy: &Policy, closed: &[bool]) -> Vec<Rule> {
    closed
        .iter()
        .map(|closed| Rule {
            name: String::new(),
            permissions: vec![
                policy.catalogue.id(if *closed { "users:manage" } else { "users:read" }).unwrap(),
            ],
            public: false,
            resource: None,
            within: Default::default(),
            upstream: 0,
            effect: None,
            record: false,
            environments: BTreeSet::new(),
            plans: None,
            narrow: None,
            whole_only: false,
            creates: None,
        })
        .collect()
}

fn broken(policy: &Policy, specs: &[RouteSpec], rules: &[Rule], table: &RouteTable) -> Vec<Broken> {
    let rewrite = Rewrite::default();
    let lines: Vec<Line<'_>> = specs
        .iter()
        .zip(rules)
        .map(|(spec, rule)| Line {
            upgrade: false,
            host: spec.host.as_deref(),
            methods: &spec.methods,
            template: &spec.template,
            rule,
            rewrite: &rewrite,
            application: Some(0),
        })
        .collect();
    prove(policy, &lines, table, &BTreeSet::new())
}

/// Whether a template matches a path, read plainly.
fn matches(spec: &RouteSpec, path: &str) -> bool {
    let alone = RouteSpec { host: None, methods: vec![Method::GET], ..spec.clone() };
    let table = RouteTable::build_under(vec![alone], DISTINCT).unwrap();
    let path = CanonicalPath::of(path.as_bytes()).unwrap();
    table.lookup("", &Method::GET, &path, &mut Params::new()) != Match::None
}

fn owns(spec: &RouteSpec, method: &Method) -> bool {
    spec.methods.contains(method) || *method == Method::HEAD && spec.methods.contains(&Method::GET)
}

/// The requests by which a map of (host, methods, template) leads around its first route, which is closed.
fn detours(map: &[(Option<&str>, &[Method], &str)]) -> Vec<String> {
    let specs: Vec<RouteSpec> = (0..)
        .zip(map)
        .map(|(id, (host, methods, template))| RouteSpec {
            host: host.map(str::to_owned),
            methods: methods.to_vec(),
            template: Template::parse(template).unwrap(),
            id,
        })
        .collect();
    let table = RouteTable::build_under(specs.clone(), DISTINCT).unwrap();
    let policy = policy();
    let closed: Vec<bool> = (0..specs.len()).map(|number| number == 0).collect();
    broken(&policy, &specs, &rules(&policy, &closed), &table)
        .iter()
        .map(|fault| match fault {
            Broken::CeilingPassed { closed: 0, request, .. } => request.to_string(),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// What a third route owns of the two is no detour; the rest still is.
#[test]
fn detour_is_found_where_a_third_route_owns_the_short_paths() {
    let get = [Method::GET];
    let all = ("one.example", "/{*rest}");
    let lengths = [(Some(all.0), &get[..], all.1), (None, &get, "/{page}"), (None, &get, "/{*rest}")];
    assert_eq!(detours(&lengths), ["GET elsewhere.invalid/x1/"]);
    let slashes = [&lengths[..], &[(None, &get, "/{page}/")]].concat();
    assert_eq!(detours(&slashes), ["GET elsewhere.invalid/x1/x1"]);
    // A more specific route is the map's own exception.
    let exceptions =
        [&lengths[..1], &[(None, &get[..], "/{page}"), (None, &get, "/{page}/{*rest}")]].concat();
    assert!(detours(&exceptions).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn whoever_finds_a_way_around_the_ceiling_finds_it_reported(
        specs in specs(),
        closed in prop::collection::vec(any::<bool>(), 14),
        requests in prop::collection::vec((prop::sample::select(HOSTS.to_vec()), super::method(), path()), 40),
    ) {
        let (mut specs, _) = sound(specs, DISTINCT);
        for (number, spec) in (0..).zip(&mut specs) {
            spec.id = number;
        }
        let table = RouteTable::build_under(specs.clone(), DISTINCT).unwrap();
        let policy = policy();
        let rules = rules(&policy, &closed[..specs.len()]);
        let broken = broken(&policy, &specs, &rules, &table);
        for fault in &broken {
            // Each witness is a request that passes, and that a closed route of another host matches.
            let Broken::CeilingPassed { closed: shut, by, request, forwarded: None } = fault else { panic!("{fault:?}") };
            let canonical = CanonicalPath::of(request.path.as_bytes()).unwrap();
            let owner = table.lookup(request.host.as_deref().unwrap(), &request.method, &canonical, &mut Params::new());
            prop_assert_eq!(owner, Match::Route(u32::try_from(*by).unwrap()));
            prop_assert!(!closed[*by] && closed[*shut] && matches(&specs[*shut], &request.path), "{}", request);
        }
        for (host, method, text) in requests {
            let canonical = CanonicalPath::of(text.as_bytes()).unwrap();
            let Match::Route(by) = table.lookup(host, &method, &canonical, &mut Params::new()) else { continue };
            let by = usize::try_from(by).unwrap();
            if closed[by] { continue }
            let around = specs.iter().enumerate().any(|(number, spec)| {
                closed[number]
                    && spec.host != specs[by].host
                    && owns(spec, &method)
                    && matches(spec, &text)
                    && rank(spec).1 <= rank(&specs[by]).1
            });
            if around {
                prop_assert!(!broken.is_empty(), "{method} {host}{text}");
            }
        }
    }
}
