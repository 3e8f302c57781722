//! No detour around the ceiling: what a closed route owns in an application is reached by no other host, no other prefix
//! and no other upstream of the same address.
//!
//! On one host the map's own order settles it: the more specific route owns the request. Between hosts, or after a rewrite,
//! the application gets the same request under two rules, and the laxer one would be the way around. A detour is a
//! request that the closed route would own if the application's view were the map: where the two templates differ first,
//! the closed one is the more specific, or they do not differ. (A more specific route on another host is the map's own
//! exception, as it would be on one host.)

use std::collections::BTreeMap;

use http::Method;

use super::{Broken, Line, Request, closed};
use crate::policy::{
    Policy,
    path::CanonicalPath,
    routes::{Match, Params, RouteTable, Segment, Template},
};

/// How many places in the tree all closed routes together may look at.
const MAX_STEPS: usize = 4_000_000;
/// A host that no route names.
const ELSEWHERE: &str = "elsewhere.invalid";

/// All routes as the application sees them, by segments.
#[derive(Default)]
struct Node {
    literals: BTreeMap<Box<str>, usize>,
    parameter: Option<usize>,
    tails: Vec<usize>,
    ends: [Vec<usize>; 2],
}

pub(super) fn passed(policy: &Policy, lines: &[Line<'_>], table: &RouteTable) -> Vec<Broken> {
    let shut: Vec<bool> = lines.iter().map(|line| closed(policy, line.rule)).collect();
    let mut applications: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (number, line) in lines.iter().enumerate() {
        if let Some(application) = line.application {
            applications.entry(application).or_default().push(number);
        }
    }
    let mut broken = Vec::new();
    let mut steps = 0;
    for numbers in applications.values() {
        // With one host and one upstream the map's own order settles everything.
        let way = |number: &usize| lines.get(*number).map(|line| (line.host, line.rule.upstream));
        let first = numbers.first().and_then(way);
        if numbers.iter().all(|number| way(number) == first) || !numbers.iter().any(|n| at(&shut, *n)) {
            continue;
        }
        let forwarded: BTreeMap<usize, Template> = numbers
            .iter()
            .filter_map(|number| {
                let line = lines.get(*number)?;
                Some((*number, line.rewrite.template(line.template)?))
            })
            .collect();
        let tree = grow(&forwarded);
        let longest = |templates: &mut dyn Iterator<Item = &Template>| {
            templates.map(|template| template.segments().len()).max().unwrap_or(0)
        };
        // Behind a longer path than this no route can tell how long it is.
        let deepest = longest(&mut lines.iter().map(|line| line.template)) + longest(&mut forwarded.values());
        for (number, template) in forwarded.iter().filter(|(number, _)| at(&shut, **number)) {
            let Some(line) = lines.get(*number) else { continue };
            let mut others = Vec::new();
            meet(&tree, 0, template.segments(), template, &mut others, &mut steps);
            if steps > MAX_STEPS {
                broken.push(Broken::TooEntangled { closed: *number });
                return broken;
            }
            others.sort_unstable();
            others.dedup();
            let detour = others.into_iter().filter(|other| !at(&shut, *other)).find_map(|other| {
                let (by, seen) = (lines.get(other)?, forwarded.get(&other)?);
                if (by.host, by.rule.upstream) == (line.host, line.rule.upstream)
                    || rank(seen) < rank(template)
                {
                    return None;
                }
                let method = shared(line, by)?;
                let host = by.host.unwrap_or(ELSEWHERE);
                let own = Match::Route(u32::try_from(other).ok()?);
                meetings(template, seen, table.filler(), deepest).into_iter().find_map(|path| {
                    let asked = by.rewrite.undone(&path)?;
                    let canonical = CanonicalPath::of(asked.as_bytes()).ok()?;
                    (table.lookup(host, method, &canonical, &mut Params::new()) == own).then(|| {
                        Broken::CeilingPassed {
                            closed: *number,
                            by: other,
                            forwarded: (asked != path).then_some(path),
                            request: Request {
                                method: method.clone(),
                                host: Some(host.to_owned()),
                                path: asked,
                            },
                        }
                    })
                })
            });
            broken.extend(detour);
        }
    }
    broken
}

fn at(list: &[bool], number: usize) -> bool {
    list.get(number).copied().unwrap_or(false)
}

fn grow(templates: &BTreeMap<usize, Template>) -> Vec<Node> {
    let mut nodes = vec![Node::default()];
    for (number, template) in templates {
        let mut here = 0;
        let mut tail = false;
        for segment in template.segments() {
            let fresh = nodes.len();
            let Some(node) = nodes.get_mut(here) else { break };
            here = match segment {
                Segment::Literal(literal) => *node.literals.entry(literal.clone()).or_insert(fresh),
                Segment::Parameter(_) => *node.parameter.get_or_insert(fresh),
                Segment::Tail(_) => {
                    node.tails.push(*number);
                    tail = true;
                    break;
                }
            };
            if here == fresh {
                nodes.push(Node::default());
            }
        }
        if !tail && let Some(node) = nodes.get_mut(here) {
            let [bare, slashed] = &mut node.ends;
            if template.has_trailing_slash() { slashed.push(*number) } else { bare.push(*number) }
        }
    }
    nodes
}

/// Everything that shares a path with the rest of a template, from this node on.
fn meet(
    tree: &[Node],
    here: usize,
    rest: &[Segment],
    whole: &Template,
    found: &mut Vec<usize>,
    steps: &mut usize,
) {
    let Some(node) = tree.get(here) else { return };
    *steps += 1;
    if *steps > MAX_STEPS {
        return;
    }
    let Some((first, behind)) = rest.split_first() else {
        let [bare, slashed] = &node.ends;
        found.extend(if whole.has_trailing_slash() { slashed } else { bare });
        return;
    };
    found.extend(&node.tails);
    match first {
        Segment::Literal(literal) => {
            for next in node.literals.get(literal).into_iter().chain(&node.parameter) {
                meet(tree, *next, behind, whole, found, steps);
            }
        }
        Segment::Parameter(_) => {
            for next in node.literals.values().chain(&node.parameter) {
                meet(tree, *next, behind, whole, found, steps);
            }
        }
        Segment::Tail(_) => {
            for next in node.literals.values().chain(&node.parameter) {
                if let Some(next) = tree.get(*next) {
                    found.extend(next.ends.iter().flatten());
                }
                // The tail goes on as long as there is something to meet.
                meet(tree, *next, rest, whole, found, steps);
            }
        }
    }
}

/// The order in which routes own requests: literal, parameter, tail, from the left.
fn rank(template: &Template) -> Vec<u8> {
    let kind = |segment: &Segment| match segment {
        Segment::Literal(_) => 0,
        Segment::Parameter(_) => 1,
        Segment::Tail(_) => 2,
    };
    template.segments().iter().map(kind).collect()
}

/// A method that both own; `GET` brings `HEAD` along, and what only `HEAD` shares is `HEAD`. Any will do: whom a path belongs
/// to does not depend on the method.
fn shared<'l>(closed: &'l Line<'_>, by: &'l Line<'_>) -> Option<&'l Method> {
    let owns = |line: &Line<'_>, method: &Method| {
        line.methods.contains(method) || *method == Method::HEAD && line.methods.contains(&Method::GET)
    };
    let both = |method: &&Method| owns(closed, method) && owns(by, method);
    closed.methods.iter().chain(by.methods).find(both)
}

/// The paths that both templates match, one of each kind that a third could tell apart. What neither names is filled with
/// what no route names, so that as few as can be match it besides; where both go on for ever, a third may own the short paths
/// alone, the long ones, or those with a slash.
fn meetings(a: &Template, b: &Template, filler: &str, deepest: usize) -> Vec<String> {
    let shortest = a.segments().len().max(b.segments().len());
    let tailed = |template: &Template| matches!(template.segments().last(), Some(Segment::Tail(_)));
    if tailed(a) && tailed(b) {
        let lengths = shortest..=deepest.max(shortest).saturating_add(1);
        return lengths
            .flat_map(|length| [false, true].map(|slash| meeting(a, b, filler, length, slash)))
            .collect();
    }
    let slash = [a, b].iter().any(|template| !tailed(template) && template.has_trailing_slash());
    vec![meeting(a, b, filler, shortest, slash)]
}

/// A path of this many segments that both templates match.
fn meeting(a: &Template, b: &Template, filler: &str, segments: usize, slash: bool) -> String {
    let part = |template: &Template, number: usize| match template.segments().get(number) {
        Some(Segment::Literal(literal)) => Some(literal.to_string()),
        Some(Segment::Parameter(_) | Segment::Tail(_)) | None => None,
    };
    let mut path = String::new();
    for number in 0..segments {
        path.push('/');
        path.push_str(&part(a, number).or_else(|| part(b, number)).unwrap_or_else(|| filler.to_owned()));
    }
    if slash || path.is_empty() {
        path.push('/');
    }
    path
}
