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
use postern::policy::{
    path::CanonicalPath,
    routes::{Match, Params, RouteSpec, RouteTable, Template},
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
