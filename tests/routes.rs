//! The compiled route table against a plain reading of the rules, and against `wayfind`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "routes/proofs.rs"]
mod proofs;

use http::Method;
use postern::policy::{
    path::CanonicalPath,
    routes::{Match, Params, RouteSpec, RouteTable, Segment, Standing, TableRules, Template, Twins},
};
use proptest::{prelude::*, sample::select};

const HOSTS: [&str; 3] = ["one.example", "two.example", "three.example"];

fn method() -> impl Strategy<Value = Method> {
    select(vec![Method::GET, Method::HEAD, Method::POST, Method::from_bytes(b"PURGE").unwrap()])
}

/// Few words, so that templates meet and overlap all the time.
fn template() -> impl Strategy<Value = Template> {
    let segment = prop_oneof![4 => select(vec!["a", "b", "ab", "B", "strasse"]).prop_map(str::to_owned), 3 => Just("{}".to_owned())];
    (prop::collection::vec(segment, 0..5), select(vec!["", "", "", "/", "/{*rest}"])).prop_map(
        |(segments, end)| {
            let mut text = String::new();
            for (number, segment) in segments.iter().enumerate() {
                text += &format!("/{}", segment.replace("{}", &format!("{{p{number}}}")));
            }
            text += end;
            Template::parse(if text.is_empty() { "/" } else { &text }).unwrap()
        },
    )
}

fn specs() -> impl Strategy<Value = Vec<RouteSpec>> {
    let host =
        prop_oneof![3 => Just(None), 1 => select(HOSTS[..2].to_vec()).prop_map(|host| Some(host.to_owned()))];
    let route = (host, prop::collection::vec(method(), 1..3), template());
    prop::collection::vec(route, 1..14).prop_map(|routes| {
        (0..)
            .zip(routes)
            .map(|(id, (host, mut methods, template))| {
                methods.dedup();
                RouteSpec { host, methods, template, id }
            })
            .collect()
    })
}

fn path() -> impl Strategy<Value = String> {
    let segment = select(vec!["a", "b", "ab", "A", "B", "Ab", "c", "{p0}", "stra%C3%9Fe"]);
    (prop::collection::vec(segment, 0..7), any::<bool>()).prop_map(|(segments, slash)| {
        let mut text: String =
            segments.iter().map(|segment| format!("/{}", segment.replace(['{', '}'], ""))).collect();
        if slash || text.is_empty() {
            text.push('/');
        }
        text
    })
}

fn rules() -> impl Strategy<Value = TableRules> {
    let twins = || select(vec![Twins::Refuse, Twins::Distinct]);
    (twins(), twins()).prop_map(|(case_twins, slash_twins)| TableRules { case_twins, slash_twins })
}

/// Keeps those routes that the table takes together.
fn sound(specs: Vec<RouteSpec>, rules: TableRules) -> (Vec<RouteSpec>, RouteTable) {
    let mut kept = Vec::new();
    for spec in specs {
        kept.push(spec);
        if RouteTable::build_under(kept.clone(), rules).is_err() {
            kept.pop();
        }
    }
    let table = RouteTable::build_under(kept.clone(), rules).unwrap();
    (kept, table)
}

fn look(table: &RouteTable, host: &str, method: &Method, path: &str) -> (Match, Vec<String>) {
    let path = CanonicalPath::of(path.as_bytes()).unwrap();
    let mut params = Params::new();
    let found = table.lookup(host, method, &path, &mut params);
    (found, (0..params.len()).map(|number| params.get(&path, number).unwrap().to_owned()).collect())
}

/// Host first, then from the left: literal, parameter, tail.
fn rank(spec: &RouteSpec) -> (bool, Vec<u8>) {
    let kind = |segment: &Segment| match segment {
        Segment::Literal(_) => 0,
        Segment::Parameter(_) => 1,
        Segment::Tail(_) => 2,
    };
    (spec.host.is_none(), spec.template.segments().iter().map(kind).collect())
}

fn twin(literal: &str, segment: &str) -> bool {
    literal != segment && segment.replace("%C3%9F", "ss").eq_ignore_ascii_case(literal)
}

/// All routes at once, the most specific first, crossing out from segment to segment.
fn naive(
    specs: &[RouteSpec],
    rules: TableRules,
    host: &str,
    method: &Method,
    path: &str,
) -> (Match, Vec<String>) {
    let slash = path.ends_with('/');
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let mut alive: Vec<&RouteSpec> =
        specs.iter().filter(|spec| spec.host.as_deref().is_none_or(|own| own == host)).collect();
    alive.sort_by_key(|spec| rank(spec));
    for (number, segment) in segments.iter().enumerate() {
        let mut next: Vec<&RouteSpec> = Vec::new();
        let mut tail: Option<(bool, Vec<u8>)> = None;
        for spec in alive {
            // Behind a tail, only routes of its own shape (for other methods) count.
            if tail.as_ref().is_some_and(|tail| *tail != rank(spec)) {
                break;
            }
            let kinds = spec.template.segments();
            match kinds.get(number) {
                Some(Segment::Literal(literal)) if literal.as_ref() == *segment => next.push(spec),
                Some(Segment::Literal(literal))
                    if rules.case_twins == Twins::Refuse && twin(literal, segment) =>
                {
                    return (Match::Twin, vec![]);
                }
                Some(Segment::Literal(_)) => {}
                Some(Segment::Parameter(_)) => next.push(spec),
                Some(Segment::Tail(_)) => {
                    tail = Some(rank(spec));
                    next.push(spec);
                }
                None if matches!(kinds.last(), Some(Segment::Tail(_))) => {
                    tail = Some(rank(spec));
                    next.push(spec);
                }
                None => {}
            }
        }
        alive = next;
    }
    let tailed = |spec: &RouteSpec| matches!(spec.template.segments().last(), Some(Segment::Tail(_)));
    let ended = |spec: &&RouteSpec| {
        let length = spec.template.segments().len();
        if tailed(spec) { length <= segments.len() } else { length == segments.len() }
    };
    let alive: Vec<&RouteSpec> = alive.into_iter().filter(ended).collect();
    let mut shapes: Vec<_> = alive.iter().map(|spec| rank(spec)).collect();
    shapes.dedup();
    for shape in shapes {
        let same: Vec<&&RouteSpec> = alive.iter().filter(|spec| rank(spec) == shape).collect();
        let fits: Vec<_> =
            same.iter().filter(|spec| tailed(spec) || spec.template.has_trailing_slash() == slash).collect();
        if fits.is_empty() {
            if rules.slash_twins == Twins::Refuse {
                return (Match::Twin, vec![]);
            }
            continue;
        }
        let own = |wanted: &Method| fits.iter().find(|spec| spec.methods.contains(wanted));
        let owner = own(method).or_else(|| own(&Method::GET).filter(|_| *method == Method::HEAD));
        let Some(owner) = owner else { return (Match::MethodNotMapped, vec![]) };
        let mut values = Vec::new();
        for (number, segment) in owner.template.segments().iter().enumerate() {
            match segment {
                Segment::Literal(_) => {}
                Segment::Parameter(_) => values.push(segments[number].to_owned()),
                Segment::Tail(_) => {
                    values.push(segments[number..].join("/") + if slash { "/" } else { "" });
                }
            }
        }
        return (Match::Route(owner.id), values);
    }
    (Match::None, vec![])
}

fn in_wayfind(template: &str) -> String {
    template.replace('{', "<").replace('}', ">")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn table_agrees_with_the_plain_reading(
        specs in specs(),
        rules in rules(),
        requests in prop::collection::vec((select(HOSTS.to_vec()), method(), path()), 30),
    ) {
        let (specs, table) = sound(specs, rules);
        for (host, method, path) in requests {
            prop_assert_eq!(
                look(&table, host, &method, &path),
                naive(&specs, rules, host, &method, &path),
                "{} {}{} in {:#?}", method, host, path,
                specs.iter().map(|s| (s.id, &s.host, &s.methods, s.template.as_str())).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn table_agrees_with_wayfind(
        templates in prop::collection::vec(template(), 1..14),
        paths in prop::collection::vec(path(), 30),
    ) {
        let distinct = TableRules { case_twins: Twins::Distinct, slash_twins: Twins::Distinct };
        let spec = |(id, template)| RouteSpec { host: None, methods: vec![Method::GET], template, id };
        let (specs, table) = sound((0..).zip(templates).map(spec).collect(), distinct);
        let mut builder = wayfind::RouterBuilder::new();
        for spec in &specs {
            builder.insert(&in_wayfind(spec.template.as_str()), spec.id).unwrap();
        }
        let router = builder.build();
        for path in paths {
            let theirs = router.search(&path).map_or((Match::None, vec![]), |found| {
                let values = found.parameters().iter().map(|(_, value)| (*value).to_owned()).collect();
                (Match::Route(*found.data()), values)
            });
            prop_assert_eq!(
                look(&table, "", &Method::GET, &path), theirs,
                "{} in {:?}", path, specs.iter().map(|s| s.template.as_str()).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn conflict_is_witnessed_by_a_request_that_both_own(specs in specs()) {
        use postern::policy::routes::RouteFault;
        let Err(faults) = RouteTable::build(specs.clone()) else { return Ok(()) };
        for fault in faults {
            let RouteFault::Conflict { a, b, witness } = fault else { continue };
            let (method, target) = witness.split_once(' ').unwrap();
            let (host, path) = target.split_at(target.find('/').unwrap());
            for id in [a, b] {
                let alone: Vec<RouteSpec> = specs.iter().filter(|spec| spec.id == id).cloned().map(|mut spec| {
                    spec.methods.sort_by_key(|method| method.as_str().to_owned());
                    spec.methods.dedup();
                    spec
                }).collect();
                let table = RouteTable::build(alone).unwrap();
                prop_assert_eq!(look(&table, host, &method.parse().unwrap(), path).0, Match::Route(id), "{}", &witness);
            }
        }
    }

    #[test]
    fn explanation_names_the_owner_and_nobody_else(
        specs in specs(),
        rules in rules(),
        requests in prop::collection::vec((select(HOSTS.to_vec()), method(), path()), 10),
    ) {
        let (_, table) = sound(specs, rules);
        for (host, method, path) in requests {
            let path = CanonicalPath::of(path.as_bytes()).unwrap();
            let explanation = table.explain(host, &method, &path);
            let owners: Vec<u32> = explanation
                .candidates
                .iter()
                .filter(|candidate| candidate.standing == Standing::Owns)
                .map(|candidate| candidate.spec.id)
                .collect();
            match explanation.outcome {
                Match::Route(id) => prop_assert_eq!(owners, vec![id]),
                Match::MethodNotMapped | Match::Twin | Match::None => prop_assert!(owners.is_empty()),
            }
        }
    }

    #[test]
    fn arbitrary_text_never_panics_the_template_parser(text in "\\PC{0,40}", nasty in "[/{}*a.%;]{0,24}") {
        for text in [text, nasty] {
            if let Err(fault) = Template::parse(&text) {
                prop_assert!(fault.column >= 1 && fault.column - 1 + fault.length <= text.len().max(1));
            }
        }
    }
}
