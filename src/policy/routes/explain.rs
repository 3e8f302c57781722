//! Why a request has the owner it has, for `postern explain`.
//!
//! Lives here: a plain reading of all routes, one after another, apart from the compiled table. Never here: the answer
//! itself; that is the look-up's, so that what is explained is what happens.

use std::fmt;

use http::Method;

use super::{Match, Params, RouteSpec, RouteTable, template::Segment};
use crate::policy::path::{CanonicalPath, decoded};

/// How a candidate stands to the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It owns the request.
    Owns,
    /// Its template matches, but it does not name the method.
    OtherMethod,
    /// Its template matches, and a more specific one is preferred or stands in the way.
    LessSpecific,
    /// Its template would match if letter case did not count.
    CaseTwin,
    /// Its template would match but for the last slash.
    SlashTwin,
}

/// A route that covers the request's path, or nearly does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate<'t> {
    /// The route as declared.
    pub spec: &'t RouteSpec,
    /// How it stands to the request.
    pub standing: Standing,
}

/// The answer of a look-up with the routes that came into question, the most specific first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation<'t> {
    /// What [`RouteTable::lookup`] says.
    pub outcome: Match,
    /// The routes that came into question.
    pub candidates: Vec<Candidate<'t>>,
}

/// How a template covers a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cover {
    Exact,
    CaseTwin,
    SlashTwin,
}

impl RouteTable {
    /// Looks the request up and lists every route whose template covers the path, or would for a back-end that ignores
    /// case or the last slash. Takes time in proportion to the number of routes.
    pub fn explain(&self, host: &str, method: &Method, path: &CanonicalPath<'_>) -> Explanation<'_> {
        let outcome = self.lookup(host, method, path, &mut Params::new());
        let mut covering: Vec<(&RouteSpec, Cover)> = self
            .specs
            .iter()
            .filter(|spec| spec.host.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(host)))
            .filter_map(|spec| Some((spec, cover(spec, path)?)))
            .collect();
        covering.sort_by_key(|(spec, _)| specificity(spec));
        let mut owned = false;
        let candidates = covering
            .into_iter()
            .map(|(spec, cover)| {
                let standing = match cover {
                    Cover::CaseTwin => Standing::CaseTwin,
                    Cover::SlashTwin => Standing::SlashTwin,
                    Cover::Exact if !names(spec, method) => Standing::OtherMethod,
                    Cover::Exact if outcome == Match::Route(spec.id) && !owned => {
                        owned = true;
                        Standing::Owns
                    }
                    Cover::Exact => Standing::LessSpecific,
                };
                Candidate { spec, standing }
            })
            .collect();
        Explanation { outcome, candidates }
    }
}

/// Host first, then each segment: literal before parameter before tail.
fn specificity(spec: &RouteSpec) -> (bool, Vec<u8>) {
    let kinds = spec.template.segments().iter().map(|segment| match segment {
        Segment::Literal(_) => 0,
        Segment::Parameter(_) => 1,
        Segment::Tail(_) => 2,
    });
    (spec.host.is_none(), kinds.collect())
}

fn names(spec: &RouteSpec, method: &Method) -> bool {
    spec.methods.contains(method) || *method == Method::HEAD && spec.methods.contains(&Method::GET)
}

fn cover(spec: &RouteSpec, path: &CanonicalPath<'_>) -> Option<Cover> {
    let mut cover = Cover::Exact;
    let mut segments = path.segments();
    for wanted in spec.template.segments() {
        let segment = segments.next()?;
        match wanted {
            Segment::Tail(_) => return Some(cover),
            Segment::Literal(literal) if literal.as_ref() == segment => {}
            Segment::Literal(literal) if folded(literal) == folded(segment) => cover = Cover::CaseTwin,
            Segment::Literal(_) => return None,
            Segment::Parameter(_) => {}
        }
    }
    if segments.next().is_some() {
        return None;
    }
    if cover == Cover::Exact && spec.template.has_trailing_slash() != path.has_trailing_slash() {
        cover = Cover::SlashTwin;
    }
    Some(cover)
}

/// Both ways of case mapping, as the widest back-end would fold.
fn folded(segment: &str) -> String {
    decoded(segment).replace('İ', "i").to_uppercase().to_lowercase()
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            Match::Route(id) => writeln!(f, "route {id} owns the request")?,
            Match::MethodNotMapped => writeln!(f, "the path is mapped, the method is not")?,
            Match::Twin => writeln!(f, "the path differs from a mapped one in case or its last slash only")?,
            Match::None => writeln!(f, "no route owns the path")?,
        }
        for Candidate { spec, standing } in &self.candidates {
            let methods: Vec<&str> = spec.methods.iter().map(Method::as_str).collect();
            let host = spec.host.as_deref().unwrap_or_default();
            let standing = match standing {
                Standing::Owns => "owns the request",
                Standing::OtherMethod => "covers the path, does not name the method",
                Standing::LessSpecific => "covers the path, something more specific comes first",
                Standing::CaseTwin => "differs in letter case only, so nothing less specific may match",
                Standing::SlashTwin => "differs in the last slash only, so nothing less specific may match",
            };
            writeln!(f, "  route {}: {} {host}{}: {standing}", spec.id, methods.join(","), spec.template)?;
        }
        Ok(())
    }
}
