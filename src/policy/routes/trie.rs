//! The templates as a tree of segments, and what two routes may not both own.
//!
//! Lives here: insertion, and with it the proof "one owner per host, method and path": two routes of the same shape meet in
//! one [`Terminal`], and routes of different shapes never tie, since at the first segment in which they differ literal
//! beats parameter beats tail. Never here: matching; the tree is compiled to states first.

use std::collections::{BTreeMap, HashMap};

use http::Method;

use super::{RouteFault, RouteSpec, template::Segment};

pub(super) const NONE: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) literals: BTreeMap<Box<str>, u32>,
    pub(super) parameter: Option<u32>,
    /// The terminal of `{*…}` here.
    pub(super) tail: Option<u32>,
    /// The terminals of paths that end here, without and with a slash.
    pub(super) ends: [Option<u32>; 2],
    /// The id of the first route that came by, for messages.
    pub(super) first: u32,
}

/// The routes that share one shape: one for each method.
#[derive(Debug)]
pub(super) struct Terminal {
    /// Positions in the table's routes, by [`known`] method.
    known: [u32; KNOWN],
    other: Vec<(Method, u32)>,
}

const KNOWN: usize = 7;

#[inline]
fn known(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::OPTIONS => 6,
        _ => KNOWN,
    }
}

impl Terminal {
    fn new() -> Self {
        Self { known: [NONE; KNOWN], other: Vec::new() }
    }

    /// The position of the route that owns this method here. `HEAD` needs what `GET` needs unless declared (rule 12).
    #[inline]
    pub(super) fn route(&self, method: &Method) -> Option<usize> {
        let route = match self.known.get(known(method)) {
            Some(&NONE) if *method == Method::HEAD => self.known.first().copied(),
            Some(&route) => Some(route),
            None => self.other.iter().find(|(other, _)| other == method).map(|&(_, route)| route),
        };
        route.filter(|&route| route != NONE).map(|route| route as usize)
    }

    /// Gives the method to the route, or says who has it.
    fn claim(&mut self, method: &Method, route: u32) -> Option<u32> {
        match self.known.get_mut(known(method)) {
            Some(slot) if *slot == NONE => *slot = route,
            Some(slot) => return Some(*slot),
            None => match self.other.iter().find(|(other, _)| other == method) {
                Some(&(_, owner)) => return Some(owner),
                None => self.other.push((method.clone(), route)),
            },
        }
        None
    }

    pub(super) fn routes(&self) -> impl Iterator<Item = usize> {
        let known = self.known.iter().copied().filter(|&route| route != NONE);
        known.chain(self.other.iter().map(|&(_, route)| route)).map(|route| route as usize)
    }
}

#[derive(Debug, Default)]
pub(super) struct Trie {
    pub(super) nodes: Vec<Node>,
    pub(super) terminals: Vec<Terminal>,
    /// The root of the routes for each host; `None` holds for every host.
    pub(super) roots: HashMap<Option<String>, u32>,
    /// A segment that equals no literal of any template, whatever the case: it stands for "anything" in witnesses.
    pub(super) filler: String,
}

impl Trie {
    pub(super) fn grow(specs: &[RouteSpec]) -> (Self, Vec<RouteFault>) {
        let mut trie = Self { filler: filler(specs), ..Self::default() };
        let mut faults = Vec::new();
        for (position, spec) in (0_u32..).zip(specs) {
            let terminal = trie.terminal(spec);
            let Some(terminal) = trie.terminals.get_mut(terminal as usize) else { continue };
            for method in &spec.methods {
                let Some(owner) = terminal.claim(method, position) else { continue };
                let host = spec.host.as_deref().unwrap_or_default();
                faults.push(RouteFault::Conflict {
                    a: specs.get(owner as usize).map_or(spec.id, |owner| owner.id),
                    b: spec.id,
                    witness: format!("{method} {host}{}", spec.template.example(&trie.filler)),
                });
            }
        }
        (trie, faults)
    }

    /// The terminal of the route's shape, made if need be.
    fn terminal(&mut self, spec: &RouteSpec) -> u32 {
        let mut at = match self.roots.get(&spec.host) {
            Some(&root) => root,
            None => {
                let root = self.node(spec.id);
                self.roots.insert(spec.host.clone(), root);
                root
            }
        };
        for segment in spec.template.segments() {
            let fresh = u32::try_from(self.nodes.len()).unwrap_or(NONE);
            let Some(node) = self.nodes.get_mut(at as usize) else { break };
            at = match segment {
                Segment::Literal(literal) => match node.literals.get(literal) {
                    Some(&child) => child,
                    None => {
                        node.literals.insert(literal.clone(), fresh);
                        self.node(spec.id)
                    }
                },
                Segment::Parameter(_) => match node.parameter {
                    Some(child) => child,
                    None => {
                        node.parameter = Some(fresh);
                        self.node(spec.id)
                    }
                },
                Segment::Tail(_) => {
                    return *node.tail.get_or_insert_with(|| new_terminal(&mut self.terminals));
                }
            };
        }
        let Some(node) = self.nodes.get_mut(at as usize) else { return NONE };
        let [bare, slash] = &mut node.ends;
        let end = if spec.template.has_trailing_slash() { slash } else { bare };
        *end.get_or_insert_with(|| new_terminal(&mut self.terminals))
    }

    fn node(&mut self, first: u32) -> u32 {
        let number = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        self.nodes.push(Node { first, ..Node::default() });
        number
    }
}

fn new_terminal(terminals: &mut Vec<Terminal>) -> u32 {
    let number = u32::try_from(terminals.len()).unwrap_or(NONE);
    terminals.push(Terminal::new());
    number
}

fn filler(specs: &[RouteSpec]) -> String {
    let taken: std::collections::HashSet<String> = specs
        .iter()
        .flat_map(|spec| spec.template.segments())
        .filter_map(|segment| match segment {
            Segment::Literal(literal) => Some(literal.to_ascii_lowercase()),
            Segment::Parameter(_) | Segment::Tail(_) => None,
        })
        .collect();
    (1_u64..).map(|n| format!("x{n}")).find(|name| !taken.contains(name)).unwrap_or_default()
}
