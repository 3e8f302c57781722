//! What a request says about itself: tenant, environment, session, token. Collecting never refuses; what is missing,
//! doubled or contradictory is a fact that the decision is told.

use std::{net::IpAddr, sync::Arc};

use crate::{
    engine::knock::{Who, address_of},
    model::{Subject, SubjectKind, Timestamp},
    policy::{
        Around, Brought, Named, Policy, Route,
        path::CanonicalPath,
        resources::Outer,
        routes::{Match, Params},
    },
};

use super::{
    routing::{Binding, Label, Routing, Source},
    wire::{Field, Known, RequestView, canonical_eq},
};

/// What the map says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mapped<'a> {
    /// For the decision.
    pub(super) route: Route<'a>,
    /// The rule's number.
    pub(super) rule: Option<usize>,
    /// What the rule means here.
    pub(super) binding: Option<&'a Binding>,
}

impl<'a> Mapped<'a> {
    /// What the path names at these places; two that differ are unclear.
    pub(super) fn named(
        &self,
        places: fn(&Binding) -> &[usize],
        path: &CanonicalPath<'a>,
        params: &Params,
    ) -> Named<'a> {
        let places = self.binding.map(places).unwrap_or_default();
        agreed(places.iter().map(|place| params.get(path, *place).map_or(Named::Missing, Named::As)))
    }

    /// The resource that the path names.
    pub(super) fn resource(&self, path: &CanonicalPath<'a>, params: &Params) -> Option<&'a str> {
        self.binding.and_then(|binding| binding.resource).and_then(|place| params.get(path, place))
    }

    /// What the path names of those that it lies in.
    pub(super) fn within(&self, path: &CanonicalPath<'a>, params: &Params) -> Outer<'a> {
        let mut outer = Outer::default();
        let places = self.binding.map(|binding| binding.within.as_slice()).unwrap_or_default();
        for (slot, place) in outer.iter_mut().zip(places) {
            *slot = params.get(path, *place);
        }
        outer
    }
}

/// Asks the map.
pub(super) fn route<'a>(
    routing: &'a Routing,
    host: &str,
    method: &http::Method,
    path: &CanonicalPath<'_>,
    params: &mut Params,
) -> Mapped<'a> {
    match routing.table.lookup(host, method, path, params) {
        Match::Route(id) => {
            let binding = usize::try_from(id).ok().and_then(|id| routing.bindings.get(id));
            let rule = binding.and_then(|binding| routing.policy.rules.get(binding.rule));
            match (rule, binding) {
                (Some(rule), Some(binding)) => {
                    Mapped { route: Route::Mapped(rule), rule: Some(binding.rule), binding: Some(binding) }
                }
                // A table that names a route which is not there owns nothing.
                (_, _) => Mapped { route: Route::Unmapped, rule: None, binding: None },
            }
        }
        Match::MethodNotMapped => Mapped { route: Route::Method, rule: None, binding: None },
        Match::Twin => Mapped { route: Route::Twin, rule: None, binding: None },
        Match::None => Mapped { route: Route::Unmapped, rule: None, binding: None },
    }
}

/// Everything that names a tenant must name the same one. The token's claim speaks where nothing else does; where
/// something does, the decision compares it with the claim, and a difference is somebody else's tenant.
pub(super) fn tenant<'a>(
    routing: &'a Routing,
    request: &RequestView<'a>,
    host: &'a str,
    in_path: Named<'a>,
    subject: Option<&'a Subject>,
) -> Named<'a> {
    let named = agreed(routing.tenant.iter().map(|source| match source {
        Source::Path => in_path,
        Source::Header(name) => header(request, name),
        Source::Host(labels) => label(labels, host, &Label::Tenant),
        Source::Claim => Named::Missing,
        Source::Fixed(tenant) => Named::As(tenant),
    }));
    match (named, subject.and_then(|subject| subject.tenant.as_ref())) {
        (Named::Missing, Some(claimed)) if routing.tenant.contains(&Source::Claim) => {
            Named::As(claimed.as_str())
        }
        (named, _) => named,
    }
}

/// Everything that names an environment must name the same one; the default where nothing does.
pub(super) fn environment<'a>(
    routing: &'a Routing,
    request: &RequestView<'a>,
    host: &'a str,
    in_path: Named<'a>,
    subject: Option<&'a Subject>,
) -> Named<'a> {
    let named = agreed(routing.environment.iter().map(|source| {
        match source {
            Source::Path => in_path,
            Source::Header(name) => header(request, name),
            Source::Host(labels) => label(labels, host, &Label::Environment),
            Source::Claim => subject
                .and_then(|subject| subject.environment.as_ref())
                .map_or(Named::Missing, |environment| Named::As(environment.as_str())),
            Source::Fixed(environment) => Named::As(environment),
        }
    }));
    match named {
        Named::Missing => Named::As(&routing.default_environment),
        named => named,
    }
}

fn agreed<'a>(all: impl Iterator<Item = Named<'a>>) -> Named<'a> {
    let mut found = Named::Missing;
    for one in all {
        found = match (found, one) {
            (Named::Unclear, _) | (_, Named::Unclear) => return Named::Unclear,
            (Named::Missing, named) => named,
            (found, Named::Missing) => found,
            (Named::As(a), Named::As(b)) if a == b => found,
            (Named::As(_), Named::As(_)) => return Named::Unclear,
        };
    }
    found
}

/// The label that a pattern has at the place of `wanted`; a host of another shape names nothing.
fn label<'a>(labels: &[Label], host: &'a str, wanted: &Label) -> Named<'a> {
    let mut found = Named::Missing;
    let mut parts = host.split('.');
    for label in labels {
        let Some(part) = parts.next() else { return Named::Missing };
        match label {
            Label::Literal(literal) if !part.eq_ignore_ascii_case(literal) => return Named::Missing,
            Label::Literal(_) => {}
            Label::Tenant | Label::Environment if label == wanted => found = Named::As(part),
            Label::Tenant | Label::Environment => {}
        }
    }
    if parts.next().is_some() { Named::Missing } else { found }
}

/// Whose secrets stay here, and to whom no cookie and nothing cacheable comes back: staff, and whoever brings a token that
/// was refused, since it may have been theirs (rule 13).
pub(super) fn treated_as_staff(who: &Who) -> bool {
    match who {
        Who::Known(subject) => matches!(subject.kind, SubjectKind::Staff | SubjectKind::Service),
        Who::Refused(_) | Who::Unverifiable => true,
        Who::Nobody => false,
    }
}

/// The session that the request names.
pub(super) fn session<'a>(request: &RequestView<'a>) -> Named<'a> {
    one(request.fields().filter(|field| field.known == Known::PosternSession))
}

/// What staff bring for an emergency. Verified for those alone whom it could let in: nobody else's costs a signature.
pub(super) fn emergency(
    request: &RequestView<'_>,
    routing: &Routing,
    subject: Option<&Subject>,
    wall: Timestamp,
) -> Brought {
    let Some(subject) = subject.filter(|subject| subject.kind == SubjectKind::Staff) else {
        return Brought::Nothing;
    };
    let token = match one(request.fields().filter(|field| field.known == Known::PosternEmergency)) {
        Named::Missing => return Brought::Nothing,
        Named::Unclear => return Brought::Unclear,
        Named::As(token) => token,
    };
    match &routing.emergency {
        Some(verifier) if routing.policy.break_glass(&subject.id).is_some() => {
            match verifier.verify(token.as_bytes(), wall) {
                Ok(token) => Brought::Token(Arc::new(token)),
                Err(fault) => Brought::Refused(fault.code()),
            }
        }
        // It is told why not before anything is said of this.
        Some(_) | None => Brought::Unclear,
    }
}

/// What staff conditions look at.
pub(super) fn around<'a>(request: &RequestView<'a>, policy: &Policy, client: IpAddr) -> Around<'a> {
    Around { client: Some(address_of(client)), ticket: ticket(request, policy), asked: None }
}

/// The ticket, where the configuration has a header for it.
fn ticket<'a>(request: &RequestView<'a>, policy: &Policy) -> Named<'a> {
    policy.conditions.ticket_header().map_or(Named::Missing, |name| header(request, name))
}

/// The bearer token. Whatever follows the scheme is one, and nothing at all a bad one: who says `Bearer` is not nobody.
/// Only spaces stand between the two (RFC 9110, 11.4): behind a tab is a bad token, since an application may see none.
pub(super) fn bearer<'a>(request: &RequestView<'a>) -> Option<&'a [u8]> {
    let value = request.find(Known::Authorization)?;
    let end = value.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(value.len());
    let (scheme, token) = value.split_at_checked(end)?;
    let spaces = token.iter().take_while(|byte| **byte == b' ').count();
    scheme.eq_ignore_ascii_case(b"bearer").then(|| token.get(spaces..).unwrap_or_default())
}

/// The token that a request brings, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// None at all.
    Missing,
    /// In `Authorization`.
    Bearer(&'a [u8]),
    /// In the cookie of that name.
    Cookie(&'a str, &'a [u8]),
    /// Several that differ: which one counts must not depend on an order.
    Several,
}

/// The token of a request. Of its cookies only those are looked at that may carry one.
pub(super) fn token<'a>(request: &RequestView<'a>, cookies: &'a [String]) -> Token<'a> {
    let bearer = bearer(request);
    let mut found: Option<(&'a str, &'a [u8])> = None;
    if !cookies.is_empty() {
        let lines = request.fields().filter(|field| field.known == Known::Cookie && !field.lookalike);
        for pair in lines.flat_map(|field| field.value.split(|byte| *byte == b';')) {
            let Some((name, value)) = pair.iter().position(|byte| *byte == b'=').and_then(|at| {
                let (name, value) = pair.split_at_checked(at)?;
                Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
            }) else {
                continue;
            };
            let Some(name) = cookies.iter().find(|cookie| cookie.as_bytes() == name) else { continue };
            match found {
                // An application empties a cookie before the browser forgets it.
                _ if value.is_empty() => {}
                None => found = Some((name, value)),
                Some((_, known)) if known == value => {}
                Some(_) => return Token::Several,
            }
        }
    }
    match (bearer, found) {
        (None, None) => Token::Missing,
        (Some(bearer), Some((_, cookie))) if bearer != cookie => Token::Several,
        (Some(bearer), _) => Token::Bearer(bearer),
        (None, Some((name, token))) => Token::Cookie(name, token),
    }
}

fn header<'a>(request: &RequestView<'a>, name: &str) -> Named<'a> {
    one(request.fields().filter(|field| canonical_eq(field.name, name.as_bytes())))
}

/// One plain value, or none; a second one, an odd spelling of the name, or bytes beyond ASCII are unclear.
fn one<'a>(mut fields: impl Iterator<Item = Field<'a>>) -> Named<'a> {
    match (fields.next(), fields.next()) {
        (None, _) => Named::Missing,
        (Some(field), None) if !field.lookalike && !field.named_by_connection => {
            std::str::from_utf8(field.value).map_or(Named::Unclear, Named::As)
        }
        (Some(_), _) => Named::Unclear,
    }
}

/// The host without port and trailing dot.
pub(super) fn host<'a>(request: &RequestView<'a>) -> &'a str {
    let whole = request.host().map_or("", |authority| authority.as_str());
    let host = match whole.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) | None => whole,
    };
    host.strip_suffix('.').unwrap_or(host)
}
