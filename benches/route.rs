//! What the canonical path and the route look-up cost: `cargo bench --bench route`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "benches"
)]

use divan::{Bencher, black_box, counter::ItemsCount};
use http::Method;
use postern::{
    model::{Ladder, Level, Span},
    policy::{
        Catalogue, OnLower, PermissionSet, Policy, Role, Rule,
        path::CanonicalPath,
        proofs::{Line, prove},
        routes::{Match, Params, Rewrite, RouteSpec, RouteTable, Segment, Template},
    },
};

/// Shows allocations beside the times: a look-up has none.
#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// An application's map: below each tenant resources with list, item and action, an escape to a tail, and a few public
/// routes; about a quarter of the routes lie one level deeper.
fn specs(count: u32) -> Vec<RouteSpec> {
    let words = ["orders", "users", "mappings", "integrations", "invoices", "cards", "pipes", "reports"];
    let mut specs = Vec::new();
    let mut add = |method: Method, template: String| {
        let id = u32::try_from(specs.len()).unwrap();
        specs.push(RouteSpec {
            host: None,
            methods: vec![method],
            template: Template::parse(&template).unwrap(),
            id,
        });
    };
    add(Method::GET, "/t/{tenant}/{*rest}".into());
    add(Method::GET, "/assets/{*rest}".into());
    let mut n = 0;
    while n * 4 + 6 <= count {
        let word = words[n as usize % words.len()];
        let area = n / 64;
        add(Method::GET, format!("/t/{{tenant}}/area{area}/{word}{n}"));
        add(Method::GET, format!("/t/{{tenant}}/area{area}/{word}{n}/{{item}}"));
        add(Method::PUT, format!("/t/{{tenant}}/area{area}/{word}{n}/{{item}}"));
        add(Method::POST, format!("/t/{{tenant}}/area{area}/{word}{n}/{{item}}/archive"));
        n += 1;
    }
    specs
}

/// Requests that spread over the whole map, so that no cache holds one branch only.
fn requests(count: u32) -> Vec<String> {
    let words = ["orders", "users", "mappings", "integrations", "invoices", "cards", "pipes", "reports"];
    let resources = ((count - 2) / 4).max(1);
    (0..1024_u32)
        .map(|i| {
            let n = i.wrapping_mul(2_654_435_761) % resources;
            format!("/t/tenant-{}/area{}/{}{n}/8f14e45f-{i}", i % 97, n / 64, words[n as usize % words.len()])
        })
        .collect()
}

const SIZES: [u32; 3] = [10, 1_000, 10_000];

#[divan::bench(args = SIZES)]
fn lookup(bencher: Bencher<'_, '_>, count: u32) {
    let table = RouteTable::build(specs(count)).unwrap();
    let texts = requests(count);
    let paths: Vec<CanonicalPath<'_>> =
        texts.iter().map(|text| CanonicalPath::of(text.as_bytes()).unwrap()).collect();
    bencher.counter(ItemsCount::new(paths.len())).bench_local(|| {
        let mut params = Params::new();
        for path in &paths {
            let found = table.lookup("app.example", &Method::GET, black_box(path), &mut params);
            assert!(matches!(found, Match::Route(_)));
            black_box(&params);
        }
    });
}

/// A map over many hosts, each with its own tails, parameters and literals beside those for every host.
fn hosted(count: u32) -> Vec<RouteSpec> {
    let hosts = (count / 50).max(1);
    let template = |host: u32, n: u32| match n % 5 {
        0 => format!("/files/{{tenant}}/area{n}/{{*rest}}"),
        1 => format!("/t/{{tenant}}/area{n}/{{item}}/{{*rest}}"),
        2 => format!("/t/{{tenant}}/area{n}"),
        3 => format!("/t/{{tenant}}/area{n}/{{item}}"),
        _ => format!("/host{host}/area{n}"),
    };
    (0..count)
        .map(|id| RouteSpec {
            host: (id % 10 != 9).then(|| format!("app{}.example", id % hosts)),
            methods: vec![Method::GET, Method::POST],
            template: Template::parse(&template(id % hosts, id / hosts)).unwrap(),
            id,
        })
        .collect()
}

#[divan::bench(args = SIZES)]
fn lookup_hosts_and_tails(bencher: Bencher<'_, '_>, count: u32) {
    let specs: Vec<RouteSpec> = hosted(count)
        .into_iter()
        .scan(std::collections::HashSet::new(), |seen, spec| {
            Some(seen.insert((spec.host.clone(), spec.template.as_str().to_owned())).then_some(spec))
        })
        .flatten()
        .collect();
    let table = RouteTable::build(specs.clone()).unwrap();
    let texts: Vec<(String, String)> = (0..1024_usize)
        .map(|i| {
            let spec = &specs[i.wrapping_mul(2_654_435_761) % specs.len()];
            let mut path = String::new();
            for segment in spec.template.segments() {
                path.push('/');
                match segment {
                    Segment::Literal(literal) => path.push_str(literal),
                    Segment::Parameter(_) => path.push_str(&format!("v-{i}")),
                    Segment::Tail(_) => path.push_str("2026/11/report.pdf"),
                }
            }
            (spec.host.clone().unwrap_or_else(|| "elsewhere.example".to_owned()), path)
        })
        .collect();
    let requests: Vec<(&str, CanonicalPath<'_>)> = texts
        .iter()
        .map(|(host, path)| (host.as_str(), CanonicalPath::of(path.as_bytes()).unwrap()))
        .collect();
    bencher.counter(ItemsCount::new(requests.len())).bench_local(|| {
        let mut params = Params::new();
        for (host, path) in &requests {
            let found = table.lookup(host, &Method::GET, black_box(path), &mut params);
            assert!(matches!(found, Match::Route(_)));
            black_box(&params);
        }
    });
}

/// What a map costs to prove: half of its routes are closed, and each of them has neighbours on another host.
#[divan::bench(args = SIZES)]
fn proofs(bencher: Bencher<'_, '_>, count: u32) {
    let mut specs = specs(count / 2);
    let other: Vec<RouteSpec> =
        specs.iter().cloned().map(|spec| RouteSpec { host: Some("b.example".into()), ..spec }).collect();
    specs.extend(other);
    for (id, spec) in (0..).zip(&mut specs) {
        spec.id = id;
    }
    let (policy, rules) = closed(specs.len());
    let rewrite = Rewrite::default();
    bencher.bench_local(|| {
        let table = RouteTable::build(specs.clone()).unwrap();
        let lines: Vec<Line<'_>> = specs
            .iter()
            .zip(&rules)
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
        let broken = prove(&policy, &lines, &table, &["read_only".parse().unwrap()].into());
        assert!(broken.is_empty(), "{:?}", broken.first());
    });
}

/// A policy of twenty roles under which every rule of half the map asks for what the ceiling closes, on both hosts alike.
fn closed(count: usize) -> (Policy, Vec<Rule>) {
    let catalogue = Catalogue::new(["x:manage", "x:read", "x:write"].map(|name| name.parse().unwrap()));
    let id = |name: &str| catalogue.id(name).unwrap();
    let mut ceiling = PermissionSet::default();
    ceiling.insert(id("x:manage"));
    let mut reads = PermissionSet::default();
    reads.insert(id("x:read"));
    let roles = (0..20)
        .map(|n| {
            (
                format!("role{n}").parse().unwrap(),
                Role { permissions: reads.clone(), adjustable: false, seat: false, plans: None },
            )
        })
        .collect();
    let level = |name: &str, role: Option<&str>| Level {
        name: name.parse().unwrap(),
        role: role.map(|role| role.parse().unwrap()),
    };
    let rules = (0..count)
        .map(|n| Rule {
            name: String::new(),
            permissions: vec![if (n % (count / 2)).is_multiple_of(2) {
                id("x:manage")
            } else {
                id("x:write")
            }],
            public: false,
            resource: None,
            within: Default::default(),
            upstream: 0,
            effect: None,
            record: false,
            environments: Default::default(),
            plans: None,
            narrow: None,
            whole_only: false,
            creates: None,
        })
        .collect();
    let policy = Policy {
        fingerprint: String::new(),
        ceiling,
        roles,
        resources: Default::default(),
        tenant_roles: Default::default(),
        ladder: Ladder::new(vec![level("block", None), level("read_only", Some("role1"))]),
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
        environments: Default::default(),
        callers: Default::default(),
        rules: Vec::new(),
        catalogue,
    };
    (policy, rules)
}

#[divan::bench(args = SIZES)]
fn path_and_lookup(bencher: Bencher<'_, '_>, count: u32) {
    let table = RouteTable::build(specs(count)).unwrap();
    let texts = requests(count);
    bencher.counter(ItemsCount::new(texts.len())).bench_local(|| {
        let mut params = Params::new();
        for text in &texts {
            let path = CanonicalPath::of(black_box(text.as_bytes())).unwrap();
            black_box(table.lookup("app.example", &Method::GET, &path, &mut params));
            black_box(&params);
        }
    });
}

/// The same requests and map in `wayfind`, which finds no methods, hosts or twins.
#[divan::bench(args = SIZES)]
fn wayfind(bencher: Bencher<'_, '_>, count: u32) {
    let mut builder = wayfind::RouterBuilder::new();
    for spec in specs(count) {
        let _same_path_other_method =
            builder.insert(&spec.template.as_str().replace('{', "<").replace('}', ">"), spec.id);
    }
    let router = builder.build();
    let texts = requests(count);
    bencher.counter(ItemsCount::new(texts.len())).bench_local(|| {
        for text in &texts {
            black_box(router.search(black_box(text))).unwrap();
        }
    });
}

#[divan::bench(args = ["/", "/t/acme/api/orders/8f14e45f-0042", "/t/acme/files/caf%C3%A9%20menu.pdf"])]
fn canonical_path(text: &str) -> usize {
    CanonicalPath::of(black_box(text.as_bytes())).unwrap().segment_count()
}

/// The costliest paths that a client can send to the large map; the first is refused at its end.
#[divan::bench(args = ["one segment of 8 KiB", "64 parameters", "64 near literals", "2,700 escapes", "refused at the end"])]
fn hostile(bencher: Bencher<'_, '_>, kind: &str) {
    let table = RouteTable::build(specs(10_000)).unwrap();
    let text = match kind {
        "one segment of 8 KiB" => format!("/t/{}", "a".repeat(8_189)),
        "64 parameters" => format!("/t/x/area0{}", "/%C3%9F".repeat(61)),
        "64 near literals" => format!("/t/x/area0{}", "/orders0".repeat(61)),
        "2,700 escapes" => format!("/t/x{}", "%C3%9F".repeat(1_360)),
        _ => format!("/t/x/{}%2F", "a".repeat(8_000)),
    };
    bencher.bench_local(|| {
        let path = CanonicalPath::of(black_box(text.as_bytes()));
        black_box(path.map(|path| table.lookup("app.example", &Method::GET, &path, &mut Params::new())))
    });
}

#[divan::bench(args = [10_000])]
fn build(count: u32) -> RouteTable {
    RouteTable::build(specs(count)).unwrap()
}
