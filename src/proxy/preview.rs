//! What the data plane would collect about a request, without a connection: for `postern explain`.
//!
//! The same code reads and collects here as on the wire, so that what is explained is what happens. Never here: a
//! reading of its own.

use crate::{
    model::Subject,
    policy::{Around, Ask, Brought, Effect, path::CanonicalPath, routes::Params},
};

use super::{
    collect,
    intake::{self, Unreadable},
    routing::Routing,
    wire::{HeadFault, Parsed, RequestHead, RequestView},
};

/// Why a request is refused before anything is collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The status that a client gets.
    pub status: u16,
    /// The stable code.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
}

impl From<Unreadable> for Refused {
    fn from(fault: Unreadable) -> Self {
        Refused { status: fault.status(), code: fault.code(), message: fault.message() }
    }
}

/// A request as the gateway reads it.
#[derive(Debug)]
pub struct Preview<'a> {
    /// The host that routes are looked up by.
    pub host: &'a str,
    /// The method.
    pub method: http::Method,
    /// The one path.
    pub path: CanonicalPath<'a>,
    /// It is the gateway's own: below the reserved prefix.
    pub inside: bool,
    /// The number of the rule that owns it.
    pub rule: Option<usize>,
    /// The upstream that it goes to.
    pub upstream: Option<usize>,
    /// What is decided on.
    pub ask: Ask<'a>,
}

/// Reads a whole head from `bytes`.
///
/// # Errors
/// [`Refused`] as a client would be told.
pub fn head(head: &mut RequestHead, bytes: &[u8], routing: &Routing) -> Result<(), Refused> {
    match head.parse(bytes, &routing.limits) {
        Ok(Parsed::Complete { len }) if len == bytes.len() => Ok(()),
        // Something that ends the head early was smuggled into it.
        Ok(Parsed::Complete { .. } | Parsed::Partial) => Err(Unreadable::Head(HeadFault::RequestLine).into()),
        Err(fault) => Err(Unreadable::Head(fault).into()),
    }
}

/// The bearer token that the request carries.
pub fn bearer<'a>(request: &RequestView<'a>) -> Option<&'a [u8]> {
    collect::bearer(request)
}

/// Collects what the request says, as it would be collected for this subject.
///
/// # Errors
/// [`Refused`] as a client would be told.
pub fn preview<'a>(
    routing: &'a Routing,
    request: &RequestView<'a>,
    subject: Option<&'a Subject>,
) -> Result<Preview<'a>, Refused> {
    let target = intake::target(request, routing.paths)?;
    let method = http::Method::from_bytes(request.method_name()).map_err(|_| Refused {
        status: 400,
        code: "method_malformed",
        message: "no such method".to_owned(),
    })?;
    let host = collect::host(request);
    let mut params = Params::new();
    let mapped = collect::route(routing, host, &method, &target.path, &mut params);
    let in_path = |places| mapped.named(places, &target.path, &params);
    Ok(Preview {
        host,
        inside: target.path.as_str().starts_with(&routing.prefix),
        rule: mapped.rule,
        upstream: mapped.binding.map(|binding| binding.upstream).or(routing.unmapped_upstream),
        ask: Ask {
            route: mapped.route,
            tenant: collect::tenant(routing, request, host, in_path(|b| &b.tenant), subject),
            environment: collect::environment(routing, request, host, in_path(|b| &b.environment), subject),
            resource: mapped.resource(&target.path, &params),
            within: mapped.within(&target.path, &params),
            session: collect::session(request),
            around: Around::default(),
            emergency: &Brought::Nothing,
            clock_behind: false,
            does: Effect::Write,
        },
        method,
        path: target.path,
    })
}
