//! A browser's question whether a page of another origin may ask (CORS preflight): recognised here, and answered from the
//! configuration where the map says so. It names nobody and opens nothing.
//!
//! Never here: the headers that a page then needs in the answer itself; those are the application's.

use http::Method;

use super::wire::{Known, RequestView};

/// How preflights are answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cors {
    /// The origins that may ask, as browsers write them.
    pub origins: Vec<String>,
    /// The request headers that they may send, separated by commas.
    pub headers: String,
    /// Whether they may send cookies.
    pub credentials: bool,
    /// Seconds that a browser may remember the answer.
    pub max_age: String,
}

/// What becomes of preflights for a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preflight {
    /// The gateway answers.
    Answer,
    /// The application answers.
    Forward,
    /// They are requests like any other.
    #[default]
    Refuse,
}

/// A preflight: who asks, and for which method.
#[derive(Debug, Clone)]
pub(super) struct Question<'a> {
    pub(super) origin: &'a [u8],
    pub(super) method: Method,
}

/// The question that a request is, if it is one: `OPTIONS` without a body, with one origin and one method.
pub(super) fn question<'a>(request: &RequestView<'a>, method: &Method) -> Option<Question<'a>> {
    if *method != Method::OPTIONS || request.head().framing().has_body() {
        return None;
    }
    let asked = one(request, b"access-control-request-method")?;
    let origin = one(request, b"origin")?;
    let method = Method::from_bytes(asked).ok().filter(|asked| *asked != Method::OPTIONS)?;
    Some(Question { origin, method })
}

fn one<'a>(request: &RequestView<'a>, name: &[u8]) -> Option<&'a [u8]> {
    let named = |known: Known| !matches!(known, Known::Authorization | Known::Cookie);
    let mut found = request
        .fields()
        .filter(|field| named(field.known) && field.name.eq_ignore_ascii_case(name) && !field.lookalike);
    match (found.next(), found.next()) {
        (Some(field), None) if !field.named_by_connection => Some(field.value),
        (_, _) => None,
    }
}

impl Cors {
    /// The lines of the answer; `None` where this origin may not ask.
    pub(super) fn answer(&self, question: &Question<'_>) -> Option<Vec<(&'static str, String)>> {
        let origin = self.origins.iter().find(|origin| origin.as_bytes() == question.origin)?;
        let mut lines = vec![
            ("Access-Control-Allow-Origin", origin.clone()),
            ("Access-Control-Allow-Methods", question.method.to_string()),
            ("Access-Control-Max-Age", self.max_age.clone()),
            ("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers".to_owned()),
        ];
        if !self.headers.is_empty() {
            lines.push(("Access-Control-Allow-Headers", self.headers.clone()));
        }
        if self.credentials {
            lines.push(("Access-Control-Allow-Credentials", "true".to_owned()));
        }
        Some(lines)
    }
}
