//! What a request asked, kept for what is decided of it later: again, when something changes; and item by item, where some of the
//! answer's items pass and not all.
//!
//! Never here: deciding.

use std::{cell::Cell, sync::Arc};

use crate::{
    engine::{
        Admission, Maker, Sight,
        knock::{Knock, Name, Path, Who, outer_of},
    },
    policy::{Ask, Route, Rule},
    proxy::{
        collect::Mapped,
        core::Core,
        relay::{Making, Narrowed},
        routing::{Routing, Upstream},
        wire::RequestView,
    },
};

use super::outgoing::Unsent;

/// By what the answer is narrowed, where it has to be.
pub(super) fn narrowed<'a>(
    core: &Core,
    routing: &Routing,
    ask: &Ask<'a>,
    mapped: &Mapped<'_>,
    who: &Who,
    admission: &Admission,
) -> Result<Option<Narrowed<'a>>, Unsent> {
    if !admission.narrowed() {
        return Ok(None);
    }
    match (ask.route, who) {
        (Route::Mapped(Rule { narrow: Some(narrow), .. }), Who::Known(subject)) => {
            let sight = Sight::new(core.engine(), admission, knock(routing, ask, mapped), subject);
            Ok(Some(Narrowed { shape: &narrow.shape, sight }))
        }
        // Nothing says how, so it is not sent at all.
        _ => Err(Unsent::new(503, "undecided", "the gateway could not come to a decision")),
    }
}

/// What the exchange may make in the application, where its route creates something.
#[expect(clippy::too_many_arguments, reason = "who asks, what, and whom")]
pub(super) fn making<'a>(
    core: &Core,
    routing: &Routing,
    request: &RequestView<'a>,
    upstream: &'a Upstream,
    ask: &Ask<'_>,
    mapped: &Mapped<'_>,
    who: &Who,
    admission: &Admission,
) -> Result<Option<Making<'a>>, Unsent> {
    if !matches!(ask.route, Route::Mapped(Rule { creates: Some(_), .. })) {
        return Ok(None);
    }
    let maker = match who {
        Who::Known(subject) => Maker::new(core.engine(), admission, &knock(routing, ask, mapped), subject),
        Who::Nobody | Who::Refused(_) | Who::Unverifiable => None,
    };
    // Without a record nothing would be known of what it makes, so it is not sent at all.
    let maker =
        maker.ok_or_else(|| Unsent::new(503, "undecided", "the gateway could not come to a decision"))?;
    let named = request.host().map_or("", |authority| authority.as_str());
    let told = upstream.host.as_deref().unwrap_or(&upstream.authority);
    Ok(Some(Making { maker, hosts: [named, told], rules: routing.paths, alone: Cell::new(false) }))
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
        client: ask.around.client,
        ticket: Name::of(ask.around.ticket),
        asked: None,
    }
}
