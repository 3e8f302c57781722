//! What a request asked, kept for what is decided of it later: again, when something changes; and item by item, where some of the
//! answer's items pass and not all.
//!
//! Never here: deciding.

use std::{cell::Cell, sync::Arc};

use crate::{
    engine::{
        Maker, Sight,
        knock::{Knock, Name, Path, Who, outer_of},
    },
    policy::{Ask, Effect, Route, Rule, creates::IdFrom, narrow::How},
    proxy::{
        collect::Mapped,
        relay::{Making, Narrowed},
        routing::Routing,
        wire::{Known, KnownSet, RequestView},
    },
};

use super::outgoing::{Own, Unsent};

/// Lines of a head that are the gateway's own.
type Lines<'a> = Vec<(&'a str, String)>;

/// How an answer is narrowed.
pub(super) enum Narrowing<'a> {
    /// It passes as it comes.
    Not,
    /// Item by item.
    Here(Box<Narrowed<'a>>),
    /// By the application, which is asked for this target.
    There(String),
}

/// How the answer is narrowed, where it has to be. `query` is what the client sent behind the path.
pub(super) fn narrowed<'a>(
    own: &Own<'a>,
    routing: &Routing,
    mapped: &Mapped<'_>,
    query: &str,
) -> Result<Narrowing<'a>, Unsent> {
    if !own.admission.narrowed() {
        return Ok(Narrowing::Not);
    }
    let parameters = mapped.binding.map(|binding| binding.query.as_slice()).unwrap_or_default();
    match (own.ask.route, own.who) {
        (Route::Mapped(Rule { narrow: Some(narrow), .. }), Who::Known(subject)) => match &narrow.how {
            How::Filter(shape) => {
                let knock = knock(routing, own.ask, mapped);
                let sight = Sight::new(own.core.engine(), own.admission, knock, subject);
                Ok(Narrowing::Here(Box::new(Narrowed { shape, sight })))
            }
            How::Query if !parameters.is_empty() => {
                let most = routing.limits.max_target;
                own.narrowed_target(subject, parameters, query, most).map(Narrowing::There)
            }
            How::Query => Err(undecided()),
        },
        // Nothing says how, so it is not sent at all.
        _ => Err(undecided()),
    }
}

fn undecided() -> Unsent {
    Unsent::new(503, "undecided", "the gateway could not come to a decision")
}

/// What the exchange may make in the application, where its route creates something.
pub(super) fn making<'a>(
    own: &Own<'a>,
    routing: &Routing,
    request: &RequestView<'a>,
    mapped: &Mapped<'_>,
    lines: &mut Lines<'_>,
    untold: &mut KnownSet,
) -> Result<Option<Box<Making<'a>>>, Unsent> {
    if !matches!(own.ask.route, Route::Mapped(Rule { creates: Some(_), .. })) {
        return Ok(None);
    }
    let maker = match own.who {
        Who::Known(subject) => {
            Maker::new(own.core.engine(), own.admission, &knock(routing, own.ask, mapped), subject)
        }
        Who::Nobody | Who::Refused(_) | Who::Unverifiable => None,
    };
    // Without a record nothing would be known of what it makes, so it is not sent at all.
    let maker = maker.ok_or_else(undecided)?;
    if matches!(maker.id(), IdFrom::Json(_)) {
        uncoded(KnownSet::of(&[Known::AcceptEncoding]), lines, untold);
    }
    let named = request.host().map_or("", |authority| authority.as_str());
    let told = own.upstream.host.as_deref().unwrap_or(&own.upstream.authority);
    let (hosts, rules) = ([named, told], routing.paths);
    Ok(Some(Box::new(Making { maker, hosts, rules, alone: Cell::new(false) })))
}

/// Has the application answer without a coding, and hear nothing of the headers of `less`.
pub(super) fn uncoded(less: KnownSet, lines: &mut Lines<'_>, untold: &mut KnownSet) {
    *untold = untold.union(less);
    lines.push(("accept-encoding", "identity".to_owned()));
}

/// The same with what the request does by its method, and by what it wants its connection to become (rule 12): it matters to
/// those alone whom a first look does not let pass.
pub(super) fn doing<'a>(
    ask: Ask<'a>,
    request: &RequestView<'_>,
    method: &http::Method,
    mapped: &Mapped<'_>,
    must_switch: bool,
) -> Ask<'a> {
    let upgrades = mapped.binding.is_some_and(|binding| binding.upgrade) && request.head().upgrade();
    Ask { does: if must_switch || upgrades { Effect::Write } else { Effect::of(method) }, ..ask }
}

/// What is asked, owned.
pub(super) fn knock(routing: &Routing, ask: &Ask<'_>, mapped: &Mapped<'_>) -> Knock {
    Knock {
        policy: Arc::clone(&routing.policy),
        path: match (mapped.rule, mapped.route) {
            (Some(rule), _) => Path::Rule(rule),
            (None, Route::Method) => Path::Method,
            (None, Route::Twin) => Path::Twin,
            (None, Route::Mapped(_) | Route::Unmapped) => Path::Unmapped,
        },
        tenant: Name::of(ask.tenant),
        environment: Name::of(ask.environment),
        resource: ask.resource.map(Arc::from),
        within: outer_of(ask.within),
        session: Name::of(ask.session),
        emergency: ask.emergency.clone(),
        does: ask.does,
        client: ask.around.client,
        ticket: Name::of(ask.around.ticket),
        asked: None,
    }
}
