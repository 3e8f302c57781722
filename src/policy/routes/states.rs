//! The tree compiled to states, so that a look-up never turns back.
//!
//! Lives here: the subset construction. A state is the ordered list of all places in the tree that a path read so far can
//! stand at, the most specific first; so one step for each segment follows all of them at once and backtracking is
//! impossible by construction, whatever a client sends. How many states that takes depends on the configuration alone and
//! is bounded. Never here: the tree's own rules, or the look-up.

use std::collections::{BTreeMap, HashMap};

use super::{
    RouteFault, Twins,
    edges::Edge,
    trie::{NONE, Node, Trie},
};

/// The room that compiling may take, in places and branches of all states together. A map of 10,000 routes takes some
/// 50,000; templates that need more overlap too much.
pub(super) const MAX_ROOM: usize = 1 << 20;
/// The state in which nothing can match any more.
pub(super) const DEAD: u32 = u32::MAX;
/// In place of a terminal: the path is the twin of one that has one.
pub(super) const TWIN: u32 = u32::MAX - 1;

/// One state of the compiled table.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    /// Where any segment leads that is no literal here.
    pub(super) other: u32,
    /// The terminals of a path that ends here, without and with a slash.
    pub(super) ends: [u32; 2],
    /// Whether some segments lead elsewhere than to `other`.
    pub(super) branches: bool,
    /// Whether a tail has taken all that follows.
    pub(super) sink: bool,
}

/// A place in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Node(u32),
    /// Inside the tail of this terminal.
    Tail(u32),
}

pub(super) struct Compiled<'t> {
    pub(super) states: Vec<State>,
    pub(super) edges: Vec<Edge<'t>>,
    /// The state to start in for each host, and for all others.
    pub(super) hosts: Vec<(&'t str, u32)>,
    pub(super) start: u32,
}

/// A state found, whose own branches may still be open.
struct Found<'t> {
    places: Vec<Place>,
    /// From which state and by which segment it was first reached.
    reached: Option<(u32, &'t str)>,
}

struct Compiler<'t> {
    trie: &'t Trie,
    slash_twins: Twins,
    known: HashMap<Vec<Place>, u32>,
    found: Vec<Found<'t>>,
    room: usize,
}

pub(super) fn compile(
    trie: &Trie,
    case_twins: Twins,
    slash_twins: Twins,
) -> Result<Compiled<'_>, Vec<RouteFault>> {
    let mut compiler =
        Compiler { trie, slash_twins, known: HashMap::new(), found: Vec::new(), room: MAX_ROOM };
    let common = trie.roots.get(&None).map(|&root| Place::Node(root));
    let start = compiler.state(common.into_iter().collect(), None);
    // A host's own routes come before those for every host.
    let mut hosts: Vec<(&str, u32)> =
        trie.roots.iter().filter_map(|(host, &root)| Some((host.as_deref()?, root))).collect();
    hosts.sort_unstable();
    for (_, root) in &mut hosts {
        *root = compiler.state([Place::Node(*root)].into_iter().chain(common).collect(), None);
    }
    let (mut states, mut edges, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(places) = compiler.found.get(states.len()).map(|state| state.places.clone()) {
        let from = u32::try_from(states.len()).unwrap_or(DEAD);
        let labels = compiler.labels(&places);
        if case_twins == Twins::Refuse {
            compiler.find_case_twins(from, &labels, &mut faults);
        }
        let sink = matches!(places.as_slice(), [Place::Tail(_), ..]);
        let other = if sink { from } else { compiler.step(from, &places, None) };
        for label in labels.keys() {
            let to = compiler.step(from, &places, Some(label));
            compiler.room = compiler.room.saturating_sub(1);
            if compiler.room == 0 {
                return Err(vec![RouteFault::TooEntangled]);
            }
            edges.push(Edge { from, label, to });
        }
        if compiler.room == 0 {
            return Err(vec![RouteFault::TooEntangled]);
        }
        let ends = [false, true].map(|slash| compiler.end(&places, slash));
        states.push(State { other, ends, branches: !labels.is_empty(), sink });
    }
    if faults.is_empty() { Ok(Compiled { states, edges, hosts, start }) } else { Err(faults) }
}

impl<'t> Compiler<'t> {
    fn node(&self, number: u32) -> Option<&'t Node> {
        self.trie.nodes.get(number as usize)
    }

    /// The number of the state with these places, made if need be.
    fn state(&mut self, places: Vec<Place>, reached: Option<(u32, &'t str)>) -> u32 {
        if places.is_empty() {
            return DEAD;
        }
        if let Some(&state) = self.known.get(&places) {
            return state;
        }
        let state = u32::try_from(self.found.len()).unwrap_or(DEAD);
        self.room = self.room.saturating_sub(places.len());
        self.known.insert(places.clone(), state);
        self.found.push(Found { places, reached });
        state
    }

    /// All literals that lead on from here, each with the node it belongs to.
    fn labels(&self, places: &[Place]) -> BTreeMap<&'t str, &'t Node> {
        let mut labels = BTreeMap::new();
        for place in places {
            let Place::Node(number) = place else { break };
            let Some(node) = self.node(*number) else { continue };
            for (literal, child) in &node.literals {
                if let Some(child) = self.node(*child) {
                    labels.entry(literal.as_ref()).or_insert(child);
                }
            }
            if node.tail.is_some() {
                break;
            }
        }
        labels
    }

    /// Where the places lead by one segment; `None` is a segment that no literal here equals. A tail takes whatever
    /// comes, so nothing less specific than it is worth following.
    fn step(&mut self, from: u32, places: &[Place], segment: Option<&'t str>) -> u32 {
        let mut next = Vec::new();
        for place in places {
            match *place {
                Place::Tail(_) => {
                    next.push(*place);
                    break;
                }
                Place::Node(number) => {
                    let Some(node) = self.node(number) else { continue };
                    next.extend(
                        segment
                            .and_then(|literal| node.literals.get(literal))
                            .map(|&child| Place::Node(child)),
                    );
                    next.extend(node.parameter.map(Place::Node));
                    if let Some(terminal) = node.tail {
                        next.push(Place::Tail(terminal));
                        break;
                    }
                }
            }
        }
        let filler: &'t str = &self.trie.filler;
        self.state(next, Some((from, segment.unwrap_or(filler))))
    }

    /// The terminal of a path that ends here. A more specific template that differs in the last slash only hides those
    /// below it: a back-end that ignores the slash would take the path for its own.
    fn end(&self, places: &[Place], slash: bool) -> u32 {
        for place in places {
            match *place {
                Place::Tail(terminal) => return terminal,
                Place::Node(number) => {
                    let [bare, slashed] = self.node(number).map_or([None, None], |node| node.ends);
                    let (mine, twin) = if slash { (slashed, bare) } else { (bare, slashed) };
                    if let Some(terminal) = mine {
                        return terminal;
                    }
                    if twin.is_some() && self.slash_twins == Twins::Refuse {
                        return TWIN;
                    }
                }
            }
        }
        NONE
    }

    fn find_case_twins(
        &self,
        state: u32,
        labels: &BTreeMap<&'t str, &'t Node>,
        faults: &mut Vec<RouteFault>,
    ) {
        let mut folded: HashMap<String, (&str, u32)> = HashMap::new();
        for (label, node) in labels {
            let Some((other, first)) = folded.insert(label.to_ascii_lowercase(), (label, node.first)) else {
                continue;
            };
            let prefix = self.witness(state);
            faults.push(RouteFault::CaseTwins {
                a: first,
                b: node.first,
                witness: format!("{prefix}/{other} and {prefix}/{label}"),
            });
        }
    }

    /// A path prefix that leads to this state.
    fn witness(&self, state: u32) -> String {
        let mut segments = Vec::new();
        let mut at = state;
        while let Some((from, segment)) = self.found.get(at as usize).and_then(|state| state.reached.as_ref())
        {
            segments.push(*segment);
            at = *from;
        }
        segments.iter().rev().fold(String::new(), |path, segment| path + "/" + segment)
    }
}
