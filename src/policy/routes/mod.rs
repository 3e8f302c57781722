//! The route map compiled: which route owns a request, by host, method and canonical path.
//!
//! Lives here: templates, the proof that each request has one owner, the look-up, and its explanation. The most specific
//! template wins, decided from the left: at the first segment in which two differ, literal beats parameter beats tail; a
//! host's own routes come before those for every host. The path decides first, then the method: a path whose owner does
//! not name the method is [`Match::MethodNotMapped`], never handed to a less specific route; a path that some back-ends
//! would take for a mapped one is [`Match::Twin`], which is nobody's.
//!
//! Never here: what a route demands. A look-up collects; [`Match::None`] is a fact for `decide` (law 3).

mod edges;
mod explain;
mod rewrite;
mod states;
mod template;
#[cfg(test)]
mod tests;
mod trie;

use std::collections::HashSet;

use http::Method;

pub use explain::{Candidate, Explanation, Standing};
pub use rewrite::{Cover, Prefix, PrefixFault, Rewrite, RewriteFault};
pub use template::{MAX_LITERAL, MAX_PARAMETERS, Segment, Template, TemplateFault, TemplateProblem};

use crate::policy::path::{CanonicalPath, case_twin};
use edges::{Edge, Edges, Found};
use states::{State, TWIN};
use trie::{Terminal, Trie};

/// One route as the configuration declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSpec {
    /// The host it holds for, in lower case without port; `None` is every host.
    pub host: Option<String>,
    /// The methods it owns; `GET` brings `HEAD` along where no route of the same shape names it (rule 12).
    pub methods: Vec<Method>,
    /// The paths it owns.
    pub template: Template,
    /// What a look-up answers with. Several specifications may share one.
    pub id: u32,
}

/// Whether two spellings that some back-ends take for one may mean two things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Twins {
    /// A request that equals a more specific template but for this matches nothing.
    #[default]
    Refuse,
    /// The back-end is known to tell them apart, as Postern does.
    Distinct,
}

/// What the configuration says of the back-end's reading. The default trusts it in nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TableRules {
    /// `/Users` beside the literal `/users`.
    pub case_twins: Twins,
    /// `/users/` beside `/users`.
    pub slash_twins: Twins,
}

/// Why a route map does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteFault {
    /// Two routes own the same request.
    #[error("routes {a} and {b} both own `{witness}`; take the method or the template from one of them")]
    Conflict {
        /// The id of the earlier route.
        a: u32,
        /// The id of the later route.
        b: u32,
        /// A request that both own: method, host if any, path.
        witness: String,
    },
    /// Two literals at one place differ in case only.
    #[error(
        "routes {a} and {b} differ in case only: `{witness}`; some servers take these for one, so spell them alike or declare case as distinct"
    )]
    CaseTwins {
        /// The id of one route.
        a: u32,
        /// The id of the other.
        b: u32,
        /// The two beginnings of paths.
        witness: String,
    },
    /// Other templates leave nothing to this one.
    #[error("route {id} never matches: more specific templates own all that `{template}` covers; remove it")]
    NeverReached {
        /// The route's id.
        id: u32,
        /// Its template.
        template: String,
    },
    /// A route without methods.
    #[error("route {id} names no method; name each that it owns")]
    NoMethod {
        /// The route's id.
        id: u32,
    },
    /// `TRACE` and `CONNECT` are always refused (rule 12).
    #[error("route {id} names `{method}`, which is always refused; remove it")]
    RefusedMethod {
        /// The route's id.
        id: u32,
        /// The method.
        method: Method,
    },
    /// The host is not written as it is compared.
    #[error(
        "route {id} names the host `{host}`; write it in lower-case ASCII, without port, wildcard or trailing dot"
    )]
    Host {
        /// The route's id.
        id: u32,
        /// The host as written.
        host: String,
    },
    /// The templates overlap in more ways than the table can hold.
    #[error("the templates overlap in too many ways; use fewer parameters beside literals at the same depth")]
    TooEntangled,
}

/// Who owns a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Match {
    /// The route with this id.
    Route(u32),
    /// Some route owns the path, but none of its shape names the method.
    MethodNotMapped,
    /// No route owns the path, but a back-end that ignores case or the last slash would take it for one that is owned.
    Twin,
    /// No route owns the path.
    None,
}

/// The values of a matched route's parameters, as places in the path, in the order of [`Template::names`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Params {
    places: [(u16, u16); MAX_PARAMETERS],
    count: u8,
}

impl Params {
    /// Holds nothing yet.
    pub const fn new() -> Self {
        Self { places: [(0, 0); MAX_PARAMETERS], count: 0 }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The value of the parameter of this number as it stands in the path that was looked up;
    /// [`decoded`](crate::policy::path::decoded) reads it.
    pub fn get<'a>(&self, path: &CanonicalPath<'a>, number: usize) -> Option<&'a str> {
        let &(start, end) = self.places.get(..self.len())?.get(number)?;
        path.as_str().get(usize::from(start)..usize::from(end))
    }

    fn push(&mut self, start: usize, end: usize) {
        let (Some(slot), Ok(start), Ok(end)) =
            (self.places.get_mut(usize::from(self.count)), u16::try_from(start), u16::try_from(end))
        else {
            return;
        };
        *slot = (start, end);
        self.count += 1;
    }
}

/// A route as the look-up needs it.
#[derive(Debug)]
struct Owner {
    id: u32,
    /// The numbers of the segments that are parameters.
    parameters: Box<[u8]>,
    /// The number of the segment at which a tail starts.
    tail: Option<u8>,
}

/// The compiled route map.
#[derive(Debug)]
pub struct RouteTable {
    states: Box<[State]>,
    edges: Edges,
    hosts: Edges,
    any_host: bool,
    start: u32,
    terminals: Box<[Terminal]>,
    owners: Box<[Owner]>,
    rules: TableRules,
    filler: String,
    /// For [`RouteTable::explain`] alone.
    specs: Box<[RouteSpec]>,
}

impl RouteTable {
    /// Compiles a route map for a back-end about which nothing is known.
    ///
    /// # Errors
    /// All faults at once.
    pub fn build(specs: Vec<RouteSpec>) -> Result<Self, Vec<RouteFault>> {
        Self::build_under(specs, TableRules::default())
    }

    /// Compiles a route map under the rules of a configuration.
    ///
    /// # Errors
    /// All faults at once; those that only show in the whole follow when each route is sound by itself.
    pub fn build_under(specs: Vec<RouteSpec>, rules: TableRules) -> Result<Self, Vec<RouteFault>> {
        let faults: Vec<RouteFault> = specs.iter().flat_map(sound).collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let (trie, faults) = Trie::grow(&specs);
        if !faults.is_empty() {
            return Err(faults);
        }
        let compiled = states::compile(&trie, rules.case_twins, rules.slash_twins)?;
        let faults = unreached(&specs, &trie, &compiled.states);
        if !faults.is_empty() {
            return Err(faults);
        }
        let hosts: Vec<Edge<'_>> =
            compiled.hosts.iter().map(|&(label, to)| Edge { from: 0, label, to }).collect();
        let (Some(edges), Some(host_edges)) =
            (Edges::build(&compiled.edges, rules.case_twins == Twins::Refuse), Edges::build(&hosts, true))
        else {
            return Err(vec![RouteFault::TooEntangled]);
        };
        Ok(Self {
            states: compiled.states.into(),
            edges,
            any_host: hosts.is_empty(),
            hosts: host_edges,
            start: compiled.start,
            owners: specs.iter().map(Owner::of).collect(),
            terminals: trie.terminals.into(),
            filler: trie.filler,
            rules,
            specs: specs.into(),
        })
    }

    /// Finds the one owner of a request and where its parameters stand. One step for each segment, no allocation, no way
    /// back; each step looks at a fixed number of places at most.
    ///
    /// `host` is the request's host without port and without trailing dot, in any case; intake sees to it.
    pub fn lookup(
        &self,
        host: &str,
        method: &Method,
        path: &CanonicalPath<'_>,
        params: &mut Params,
    ) -> Match {
        params.count = 0;
        let terminal = match self.walk(host, path) {
            Ok(Some(terminal)) => terminal,
            Ok(None) => return Match::None,
            Err(IsTwin) => return Match::Twin,
        };
        let Some(owner) = terminal.route(method).and_then(|route| self.owners.get(route)) else {
            return Match::MethodNotMapped;
        };
        for &number in &owner.parameters {
            if let Some(range) = path.range(usize::from(number)) {
                params.push(range.start, range.end);
            }
        }
        if let Some(range) = owner.tail.and_then(|number| path.range(usize::from(number))) {
            params.push(range.start, path.as_str().len());
        }
        Match::Route(owner.id)
    }

    /// A segment that equals no literal of any template, whatever the case: it stands for "anything" in witnesses.
    pub fn filler(&self) -> &str {
        &self.filler
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    #[inline]
    fn walk(&self, host: &str, path: &CanonicalPath<'_>) -> Result<Option<&Terminal>, IsTwin> {
        let text = path.as_str().as_bytes();
        let mut number = self.start_for(host);
        let Some(mut state) = self.states.get(number as usize) else { return Ok(None) };
        for range in path.ranges() {
            if state.sink {
                break;
            }
            number = if state.branches {
                self.branch(number, state, text.get(range).unwrap_or_default())?
            } else {
                state.other
            };
            let Some(next) = self.states.get(number as usize) else { return Ok(None) };
            state = next;
        }
        let [bare, slashed] = state.ends;
        match if path.has_trailing_slash() { slashed } else { bare } {
            TWIN => Err(IsTwin),
            end => Ok(self.terminals.get(end as usize)),
        }
    }

    #[inline]
    fn start_for(&self, host: &str) -> u32 {
        if self.any_host {
            return self.start;
        }
        let mut lower = [0_u8; MAX_HOST];
        let Some(lower) = lower.get_mut(..host.len()) else { return self.start };
        lower.copy_from_slice(host.as_bytes());
        lower.make_ascii_lowercase();
        match self.hosts.find(0, lower) {
            Found::Exact(start) => start,
            Found::Twin | Found::Absent => self.start,
        }
    }

    /// One step where literals branch off, unless the segment is the twin of one.
    #[inline]
    fn branch(&self, number: u32, state: &State, segment: &[u8]) -> Result<u32, IsTwin> {
        match self.edges.find(number, segment) {
            Found::Exact(next) => Ok(next),
            Found::Twin => Err(IsTwin),
            Found::Absent if segment.contains(&b'%') && self.is_twin(number, segment) => Err(IsTwin),
            Found::Absent => Ok(state.other),
        }
    }

    /// Whether case mapping beyond ASCII makes the segment equal to a literal here.
    #[cold]
    fn is_twin(&self, number: u32, segment: &[u8]) -> bool {
        let mut buffer = [0_u8; MAX_LITERAL];
        self.rules.case_twins == Twins::Refuse
            && case_twin(segment, &mut buffer)
                .is_some_and(|twin| self.edges.find(number, twin) != Found::Absent)
    }
}

/// Some back-ends would take the path for another one that is mapped.
struct IsTwin;

/// The longest host name (RFC 1035).
const MAX_HOST: usize = 253;

impl Owner {
    fn of(spec: &RouteSpec) -> Self {
        let number = |wanted: fn(&Segment) -> bool| {
            (0_u8..)
                .zip(spec.template.segments())
                .filter(move |(_, segment)| wanted(segment))
                .map(|(at, _)| at)
        };
        Self {
            id: spec.id,
            parameters: number(|segment| matches!(segment, Segment::Parameter(_))).collect(),
            tail: number(|segment| matches!(segment, Segment::Tail(_))).next(),
        }
    }
}

/// What is wrong with a route by itself.
fn sound(spec: &RouteSpec) -> Vec<RouteFault> {
    let id = spec.id;
    let mut faults = Vec::new();
    if spec.methods.is_empty() {
        faults.push(RouteFault::NoMethod { id });
    }
    for method in spec.methods.iter().filter(|method| matches!(**method, Method::TRACE | Method::CONNECT)) {
        faults.push(RouteFault::RefusedMethod { id, method: method.clone() });
    }
    if let Some(host) = spec.host.as_ref().filter(|host| !canonical_host(host)) {
        faults.push(RouteFault::Host { id, host: host.clone() });
    }
    faults
}

fn canonical_host(host: &str) -> bool {
    host.len() <= MAX_HOST
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// Routes whose terminal no path can end in.
fn unreached(specs: &[RouteSpec], trie: &Trie, states: &[State]) -> Vec<RouteFault> {
    let reached: HashSet<u32> = states.iter().flat_map(|state| state.ends).collect();
    (0_u32..)
        .zip(&trie.terminals)
        .filter(|(number, _)| !reached.contains(number))
        .flat_map(|(_, terminal)| terminal.routes().collect::<HashSet<_>>())
        .filter_map(|route| specs.get(route))
        .map(|spec| RouteFault::NeverReached { id: spec.id, template: spec.template.as_str().to_owned() })
        .collect()
}
