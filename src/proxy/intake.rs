//! What is refused before anything is collected: requests that can be read in two ways (laws 9 and 10).
//!
//! The head's own syntax is [`super::wire`]'s; here it is the path and the query behind it.

use crate::policy::path::{CanonicalPath, PathFault, PathRules, QueryFault, query_ok};

use super::wire::{HeadFault, RequestView};

/// Why a request cannot be read in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    Head(HeadFault),
    Path(PathFault),
    Query(QueryFault),
}

impl Unreadable {
    pub(super) fn code(self) -> &'static str {
        match self {
            Unreadable::Head(fault) => fault.code(),
            Unreadable::Path(fault) => fault.code(),
            Unreadable::Query(fault) => fault.code(),
        }
    }

    pub(super) fn status(self) -> u16 {
        match self {
            Unreadable::Head(fault) => fault.status(),
            Unreadable::Path(_) | Unreadable::Query(_) => 400,
        }
    }

    pub(super) fn message(self) -> String {
        match self {
            Unreadable::Head(fault) => fault.to_string(),
            Unreadable::Path(fault) => fault.to_string(),
            Unreadable::Query(fault) => fault.to_string(),
        }
    }
}

/// The target of a request, read in one way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// The one path: matched and forwarded.
    pub(super) path: CanonicalPath<'a>,
    /// Path and query, byte for byte as forwarded.
    pub(super) whole: &'a str,
}

impl<'a> Target<'a> {
    /// What follows the path: nothing, or `?` and the query.
    pub(super) fn query(&self) -> &'a str {
        self.whole.get(self.path.as_str().len()..).unwrap_or_default()
    }
}

/// Reads the target.
pub(super) fn target<'a>(request: &RequestView<'a>, rules: PathRules) -> Result<Target<'a>, Unreadable> {
    let raw = request.path_and_query();
    let at = raw.iter().position(|byte| *byte == b'?');
    let (path, query) = match at {
        Some(at) => (raw.get(..at).unwrap_or_default(), raw.get(at + 1..).unwrap_or_default()),
        None => (raw, &b""[..]),
    };
    let path = CanonicalPath::under(path, rules).map_err(Unreadable::Path)?;
    query_ok(query).map_err(Unreadable::Query)?;
    // Both parts are ASCII, or they would have been refused.
    let whole = std::str::from_utf8(raw).map_err(|_| Unreadable::Path(PathFault::NotRooted))?;
    Ok(Target { path, whole })
}
